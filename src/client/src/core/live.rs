//! The live half of a core: what its session says, what goes into it, and the session's clock.

use std::time::{Duration, Instant};

use bytes::Bytes;
use nearport_session::{self as session, Closing};
use nearport_wire::body;
use nearport_wire::close::CloseCode;
use nearport_wire::{Kind, Lane};
use prost::Message as _;

use super::pairs::Class;
use super::requests::Request;
use super::sends::Item;
use super::{Answer, Asked, Core, State};
use crate::event::{Event, Failure, Message, MsgId, RequestId, Sent, Target, msg_key};
use crate::transport::Transport;

/// While input is paused the session's own heartbeat rests, because its answers are not read. A frame this often
/// keeps the server (75 s of silence) from giving up.
pub(super) const PAUSED_HEARTBEAT: Duration = Duration::from_secs(20);

/// Own messages whose entries in the log have not been reached. As many as may be in flight, and then some.
const OWN_PLACES_MAX: usize = 1024;

impl Core {
    pub(super) fn drain_session(&mut self, now: Instant) {
        while let Some(event) = self.session.as_mut().and_then(session::Client::poll_event) {
            match event {
                session::Event::Live(welcome) => self.go_live(now, &welcome),
                session::Event::Entry { position, delivery } => self.take_entry(position, delivery),
                session::Event::CaughtUp => self.inbox.tell(Event::CaughtUp),
                session::Event::Transient(delivery) => {
                    let bytes = delivery.encoded_len();
                    self.inbox.hint(Event::Transient(Message::from_delivery(0, delivery)), bytes);
                }
                session::Event::Read(body::ReadEvent { user, peer, seq, group, notices }) => {
                    let bytes = user.len() + peer.len() + group.len();
                    let with = match (notices, group.is_empty()) {
                        (true, _) => Target::Notices(true),
                        (false, false) => Target::Group(group),
                        (false, true) => Target::User(peer),
                    };
                    self.inbox.hint(Event::Read { user, with, seq }, bytes);
                }
                session::Event::Group { seq, delivery } => self.take_group_push(now, seq, delivery),
                session::Event::Behind => {
                    self.groups_behind();
                    self.live_rooms.want_again();
                }
                session::Event::Hint(hint) => self.take_hint(now, hint),
                session::Event::LiveFrame { class, body } => self.take_live_frame(class, body),
                // The counts of the next frame of each room say it by class.
                session::Event::Folded(_) => {}
                session::Event::Answer { id, result } => match self.asked.remove(&id) {
                    Some(Asked::Send(counter)) => self.take_send_answer(now, counter, result),
                    Some(Asked::Request(request)) => self.take_answer(now, request, result),
                    Some(Asked::Rejoin(room)) => self.take_rejoin(now, room, result),
                    Some(Asked::Pull(pull)) => self.take_pull(now, &pull, result),
                    Some(Asked::Shown(shown)) => self.take_shown_answer(now, &shown, &result),
                    None => {}
                },
                session::Event::GoAway { reason, slot, targets } => {
                    self.go_away(now, reason, slot, targets);
                }
                session::Event::Away(true) => self.inbox.tell(Event::Away),
                session::Event::Away(false) => self.inbox.tell(Event::Back),
                session::Event::ReturnWindow(window) => self.set_return_window(window),
                session::Event::Closed { closing, retry_after } => {
                    self.disconnect = Some(closing.code);
                    self.end(now, closing, retry_after);
                }
            }
        }
    }

    fn go_live(&mut self, now: Instant, welcome: &body::Welcome) {
        // A cursor other than ours: the log is shorter than what we have seen, so it is another log (a new data
        // directory). Its entries are new whatever their positions.
        let resumed = self.was_live && self.cursor == Some(welcome.cursor);
        let from_server = self.cursor.is_none();
        self.inbox.start(welcome.cursor, resumed, from_server);
        self.cursor = Some(welcome.cursor);
        self.resume.keep(now, welcome);
        self.state = State::Live;
        self.was_live = true;
        self.live_since = Some(now);
        self.backoff.welcomed();
        self.set_return_window(Duration::from_millis(welcome.return_window_ms.into()));
        self.crowded = false;
        self.referrals.clear();
        self.inbox.tell(Event::Connected {
            transport: self.path.map_or(Transport::Quic, |path| path.transport),
            resumed,
            cursor: welcome.cursor,
            head: welcome.head,
            time_ms: welcome.time_ms,
        });
        if !resumed {
            self.pairs.begin(welcome.cursor == 0);
            self.own_places.clear();
        }
        self.begin_following(welcome.cursor, from_server);
        self.live_rooms.want_again();
    }

    fn set_return_window(&mut self, window: Duration) {
        self.return_window = Some(window).filter(|window| !window.is_zero());
    }

    /// An entry of the user's log: each comes once, in order.
    fn take_entry(&mut self, position: u64, delivery: Option<body::Delivery>) {
        self.cursor = Some(position);
        let place = self.own_places.remove(&position);
        // Without a delivery: the answer to an own send named the place before the log did.
        let Some(delivery) = delivery else {
            if let Some((peer, seq)) = place {
                self.pairs.own(&peer, seq);
            }
            return self.inbox.own_entry(position);
        };
        let peer = self.other_side(&delivery);
        let class = self.pairs.classify(&peer, delivery.seq, (delivery.edit, delivery.first));
        let own = self.own_counter(&delivery);
        // Without its answer an own message may have changed before this core learned its number.
        if let Some(counter) =
            own.filter(|counter| class == Class::Message || self.sends.get(*counter).is_some())
        {
            self.inbox.own_entry(position);
            return self.settle_by_log(counter, &delivery);
        }
        let bytes = delivery.encoded_len();
        match class {
            Class::Message => {
                let event = Event::new_message(Message::from_delivery(position, delivery));
                self.inbox.logged(position, event, bytes);
            }
            Class::Change => {
                let event = Event::changed(Message::from_delivery(position, delivery));
                self.inbox.logged(position, event, bytes);
            }
            Class::Known => self.inbox.own_entry(position),
        }
    }

    /// An answer may overtake the entries in front of its own: until those came, the number says nothing about them.
    fn note_own_place(&mut self, peer: String, sent: &body::Sent) {
        if sent.position > self.cursor.unwrap_or(0) {
            if self.own_places.len() >= OWN_PLACES_MAX {
                self.own_places.pop_first();
            }
            self.own_places.insert(sent.position, (peer, sent.seq));
        }
    }

    /// Who is at the other side of the conversation; empty for the user's notices.
    fn other_side(&self, delivery: &body::Delivery) -> String {
        let Some(message) = &delivery.message else { return String::new() };
        match message.to.as_ref().and_then(|to| to.target.as_ref()) {
            Some(Target::User(to)) if message.from == self.config.user => to.clone(),
            Some(Target::Notices(_)) => String::new(),
            _ => message.from.clone(),
        }
    }

    /// The counter of a message that this core sent. The prefix alone is no proof: every receiver has seen it.
    pub(super) fn own_counter(&self, delivery: &body::Delivery) -> Option<u64> {
        let message = delivery.message.as_ref().filter(|message| message.from == self.config.user)?;
        let (instance, counter) = message.client_msg_id.split_first_chunk::<8>()?;
        (*instance == self.instance).then_some(())?;
        Some(u64::from_be_bytes(counter.try_into().ok()?))
    }

    /// An own message stands in the log: its answer was lost, or is still on its way.
    pub(super) fn settle_by_log(&mut self, counter: u64, delivery: &body::Delivery) {
        if let Some(item) = self.sends.settle(counter) {
            let id = MsgId::new(self.instance, counter);
            let msg_key = msg_key(delivery.seq, id.as_bytes(), delivery.time_ms);
            let sent = Sent { seq: delivery.seq, time_ms: delivery.time_ms, msg_key, duplicate: false };
            self.report(counter, &item, Ok(sent));
        }
    }

    fn take_send_answer(&mut self, now: Instant, counter: u64, result: Result<Bytes, session::Failure>) {
        let failure = match result.map(body::Sent::decode) {
            Ok(Ok(sent)) => {
                self.last_refusal = None;
                match self.sends.get(counter).map(|item| item.to.clone()) {
                    Some(Target::Group(group)) => self.own_group_message(now, &group, sent.seq),
                    Some(Target::User(user)) => {
                        self.note_own_place(user, &sent);
                        if let Some(session) = &mut self.session {
                            session.own_entry(now, sent.position);
                            if sent.duplicate {
                                session.catch_up(now);
                            }
                        }
                    }
                    Some(Target::Notices(_)) | None => {}
                }
                if let Some(item) = self.sends.settle(counter) {
                    self.report(counter, &item, Ok(sent.into()));
                }
                return;
            }
            Ok(Err(error)) => {
                return self.break_off(now, Closing::new(CloseCode::BAD_BODY, error.to_string()));
            }
            Err(failure) => failure,
        };
        let retry_in = match &failure {
            session::Failure::Timeout => Some(Duration::ZERO),
            session::Failure::Refused { retry_after, .. } => {
                Some(*retry_after).filter(|after| !after.is_zero())
            }
        };
        let online_only = self.sends.get(counter).is_none_or(|item| item.online_only);
        match retry_in.filter(|_| !online_only) {
            Some(retry_in) => {
                self.sends.retry(counter, now + retry_in);
                if matches!(failure, session::Failure::Refused { .. }) {
                    self.last_refusal = Some(failure.clone().into());
                }
            }
            None => {
                if let Some(item) = self.sends.settle(counter) {
                    self.report(counter, &item, Err(failure.clone().into()));
                }
            }
        }
        self.suspect(now, &failure);
    }

    fn take_answer(&mut self, now: Instant, id: RequestId, result: Result<Bytes, session::Failure>) {
        let repeated = self.requests.is_repeated(id);
        let Some(request) = self.requests.settle(id) else { return };
        let result = match result {
            // The first try was carried out and its answer lost.
            Err(failure) if repeated && request.is_done(&failure) => Ok(Bytes::new()),
            result => result,
        };
        if let (Ok(reply), Some(room)) = (&result, request.joins()) {
            self.live_rooms.answered(&room, reply.clone());
        }
        let timed_out = result.as_ref().err().cloned();
        let result = match result.map(|reply| request.read_reply(reply)) {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(error)) => {
                return self.break_off(now, Closing::new(CloseCode::BAD_BODY, error.to_string()));
            }
            Err(failure) => Err(failure.into()),
        };
        self.answers.push_back(Answer::Request { id, result });
        if let Some(failure) = timed_out {
            self.suspect(now, &failure);
        }
    }

    /// A request went without an answer, and so did everything else: the path is dead. The heartbeat would not
    /// notice, because requests that are tried again keep it from asking.
    pub(super) fn suspect(&mut self, now: Instant, failure: &session::Failure) {
        let silent = now >= self.last_received + self.config.limits.answer_timeout;
        if *failure == session::Failure::Timeout && silent && self.state == State::Live {
            self.break_off(now, Closing::new(CloseCode::LOST, "no answer to a request, nor anything else"));
        }
    }

    pub(super) fn report(&mut self, counter: u64, item: &Item, result: Result<Sent, Failure>) {
        let id = MsgId::new(self.instance, counter);
        match result {
            result if item.awaited => self.answers.push_back(Answer::Send { id, result }),
            Ok(sent) => self.inbox.tell(Event::Sent { id, sent }),
            Err(failure) => self.inbox.tell(Event::Failed { id, failure }),
        }
    }

    /// Hands to the session what it takes.
    pub(super) fn pump(&mut self, now: Instant) {
        if self.state != State::Live || self.is_draining() {
            return;
        }
        while let Some((counter, item)) = self.sends.take_expired(now, self.config.limits.retry_for) {
            self.report(counter, &item, Err(Failure::Expired));
        }
        let Some(session) = &mut self.session else { return };
        while let Some((counter, item)) = self.sends.next_to_send(now) {
            // What may be lost does not wait behind what may not.
            let in_datagram =
                item.online_only.then(|| session.request_in_datagram(now, Kind::SEND, &item.body)).flatten();
            let id = in_datagram.or_else(|| session.request(now, Lane::Chat, Kind::SEND, &item.body));
            let Some(id) = id else { break };
            self.asked.insert(id, Asked::Send(counter));
            self.sends.mark_sent(counter, now);
        }
        self.pump_requests(now);
        let Some(session) = &mut self.session else { return };
        if let Some(position) = self.inbox.take_ack(now, false) {
            session.acknowledge(now, position);
        }
        self.pump_live_rooms(now);
        self.pump_groups(now);
    }

    fn pump_requests(&mut self, now: Instant) {
        while let Some((request_id, request)) = self.requests.next_to_send() {
            let flush = matches!(request, Request::Flush);
            // What was shown of groups travels in a request of its own, which has to be answered before.
            if flush && self.follows && self.groups.has_untold() {
                self.tell_shown(now, true);
                if self.groups.has_untold() {
                    return;
                }
                continue;
            }
            let Some(session) = &mut self.session else { return };
            if let Some(position) = self.inbox.take_ack(now, flush) {
                session.acknowledge(now, position);
            }
            let (lane, kind, body) = request.frame();
            let Some(id) = session.request(now, lane, kind, &body) else { return };
            self.asked.insert(id, Asked::Request(request_id));
            self.requests.mark_sent(request_id);
        }
    }

    /// Input flows again: what waited in the transport gets the time of an answer before it counts as late.
    pub(super) fn resume(&mut self, now: Instant) {
        if self.paused_beat.is_some() && self.inbox.has_room() {
            self.paused_beat = None;
            self.session_rests_until = Some(now + self.config.limits.answer_timeout);
        }
    }

    pub(super) fn session_timeout(&self) -> Option<Instant> {
        let timeout = self.session.as_ref()?.poll_timeout()?;
        let rested = self.session_rests_until.map_or(timeout, |until| timeout.max(until));
        Some(self.paused_beat.unwrap_or(rested))
    }

    pub(super) fn handle_session_timeout(&mut self, now: Instant) {
        if self.session_timeout().is_none_or(|timeout| now < timeout) {
            return;
        }
        let Some(session) = &mut self.session else { return };
        if self.paused_beat.is_some() {
            session.acknowledge(now, self.inbox.ack_position());
            self.paused_beat = Some(now + PAUSED_HEARTBEAT);
        } else {
            self.session_rests_until = None;
            session.handle_timeout(now);
            self.drain_session(now);
        }
    }
}
