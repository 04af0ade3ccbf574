//! The client's end of one session: from the hello to the close of one transport connection.
//!
//! It numbers requests, times them out, keeps the heartbeat, follows the user log through a [`Tracker`] and asks
//! for pages by itself. What outlives a connection (the outbox of unacknowledged sends, the cursor, when to come
//! back) belongs to the caller.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use nearport_wire::body::{self, Hello, Welcome};
use nearport_wire::close::CloseCode;
use nearport_wire::{Decoder, Kind, Lane, Limits, encode_into};
use prost::Message as _;

use crate::tracker::Tracker;
use crate::{Closing, Outbox};
use datagrams::PATIENCE;
use hedges::Hedges;

mod datagrams;
mod hedges;
mod pages;

/// Requests that may wait for an answer at once; half of what the server allows.
pub const REQUESTS_MAX: usize = 128;

/// Bounds of a client session, and what its transport can do.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// How long a request, a ping or the hello may stay without an answer.
    pub answer_timeout: Duration,
    /// Wait before a failed page is asked for again.
    pub page_retry: Duration,
    /// The bulk lane has a stream of its own: [`Client::poll_bulk_output`], [`Client::handle_bulk_bytes`].
    pub bulk_stream: bool,
    /// Largest datagram that the transport takes; `None` without datagrams.
    pub datagram_bytes_max: Option<usize>,
}

impl Default for ClientConfig {
    /// One stream for everything.
    fn default() -> Self {
        Self {
            answer_timeout: Duration::from_secs(10),
            page_retry: Duration::from_secs(1),
            bulk_stream: false,
            datagram_bytes_max: None,
        }
    }
}

/// What happened, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Logged in. What the welcome brought as missed follows as [`Event::Entry`].
    Live(Welcome),
    /// Position `position` of the user log: each comes once, in order. `delivery` is `None` for this session's own
    /// send, whose content the caller has.
    Entry {
        /// User log position.
        position: u64,
        /// An encoded `Delivery`.
        delivery: Option<body::Delivery>,
    },
    /// Everything up to the newest known position has been given.
    CaughtUp,
    /// An online-only message.
    Transient(body::Delivery),
    /// Somebody moved a read cursor.
    Read(body::ReadEvent),
    /// A message of a group, or a change of one, as it was pushed: a hint, like every push.
    Group {
        /// Position in the group.
        seq: u64,
        /// The message.
        delivery: body::Delivery,
    },
    /// Pushes were dropped. The session itself sees to the user log.
    Behind,
    /// Something else of interest: an encoded `Event`.
    Hint(Bytes),
    /// A message of a live room: an encoded `LiveFrame`.
    LiveFrame {
        /// Its class.
        class: u64,
        /// The frame's body.
        body: Bytes,
    },
    /// So many messages of live rooms were left out since the last such event, because this client reads too slowly.
    Folded(u64),
    /// The answer to a request of the caller.
    Answer {
        /// What [`Client::request`] returned.
        id: u64,
        /// The reply's body, or why there is none.
        result: Result<Bytes, Failure>,
    },
    /// The server is about to close; leave after the slot.
    GoAway {
        /// A close code.
        reason: CloseCode,
        /// How long from now.
        slot: Duration,
        /// Where to go, best first; empty: the same server.
        targets: Vec<body::Endpoint>,
    },
    /// What [`Welcome::return_window_ms`] said is now this; zero: nothing.
    ReturnWindow(Duration),
    /// The backend is away: requests will be refused until it is back (`false`).
    Away(bool),
    /// The session ended. Nothing follows.
    Closed {
        /// Why.
        closing: Closing,
        /// Wish of the server, zero if none.
        retry_after: Duration,
    },
}

/// A request without a reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The server answered with an error.
    #[error("{code}: {info}")]
    Refused {
        /// Error code of the public contract.
        code: u32,
        /// For people.
        info: String,
        /// When to try again; zero: the same request gives the same answer.
        retry_after: Duration,
    },
    /// No answer in time. The request may or may not have been carried out.
    #[error("no answer in time")]
    Timeout,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Opening,
    Live,
    Closed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Caller,
    Page,
}

/// The bulk lane's own stream.
#[derive(Debug)]
struct Bulk {
    decoder: Decoder,
    outbox: Outbox,
}

/// One session. See the module documentation.
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    decoder: Decoder,
    outbox: Outbox,
    /// The bulk lane's own stream, in use since its first request.
    bulk: Option<Box<Bulk>>,
    datagrams: VecDeque<Bytes>,
    hedges: Hedges,
    state: State,
    events: VecDeque<Event>,
    tracker: Tracker<body::Delivery>,
    next_id: u64,
    /// Ids rise and every request has the same time, so the first is the next to time out.
    requests: BTreeMap<u64, (Owner, Instant)>,
    page_in_flight: bool,
    /// The page in flight may be too old.
    page_again: bool,
    page_retry_at: Option<Instant>,
    /// When an entry from a datagram has waited long enough for those in front of it.
    gap_due: Option<Instant>,
    patience: Duration,
    caught_up_told: bool,
    heartbeat: Duration,
    last_written: Instant,
    last_received: Instant,
    /// When the answer to the hello or to the last ping is overdue.
    answer_due: Option<Instant>,
}

impl Client {
    /// A session on a transport that has just come up; the hello waits in the output.
    #[must_use]
    pub fn new(config: ClientConfig, hello: &Hello, now: Instant) -> Self {
        let mut client = Self {
            decoder: Decoder::new(Limits::client()),
            outbox: Outbox::default(),
            bulk: None,
            datagrams: VecDeque::new(),
            hedges: Hedges::default(),
            state: State::Opening,
            events: VecDeque::new(),
            tracker: Tracker::new(hello.cursor.unwrap_or(0), 0),
            next_id: 1,
            requests: BTreeMap::new(),
            page_in_flight: false,
            page_again: false,
            page_retry_at: None,
            gap_due: None,
            patience: PATIENCE,
            caught_up_told: false,
            heartbeat: Duration::from_secs(25),
            last_written: now,
            last_received: now,
            answer_due: Some(now + config.answer_timeout),
            config,
        };
        client.write(now, Lane::Control, Kind::HELLO, 0, &hello.encode_to_vec());
        client
    }

    /// Whether the welcome came and the session has not ended.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.state == State::Live
    }

    /// The last position given as [`Event::Entry`].
    #[must_use]
    pub fn cursor(&self) -> u64 {
        self.tracker.cursor()
    }

    /// Requests of the caller and pages that wait for an answer.
    #[must_use]
    pub fn requests_in_flight(&self) -> usize {
        self.requests.len()
    }

    /// Whether the hello, a ping or a request waits for an answer.
    #[must_use]
    pub fn awaits_answer(&self) -> bool {
        self.state != State::Closed && (self.answer_due.is_some() || !self.requests.is_empty())
    }

    /// Takes bytes of the main stream.
    pub fn handle_bytes(&mut self, now: Instant, chunk: Bytes) {
        self.decoder.feed(chunk);
        self.read_frames(now, |client| Some(&mut client.decoder));
    }

    /// Takes bytes of the bulk lane's own stream.
    pub fn handle_bulk_bytes(&mut self, now: Instant, chunk: Bytes) {
        if let Some(bulk) = &mut self.bulk {
            bulk.decoder.feed(chunk);
        }
        self.read_frames(now, |client| client.bulk.as_mut().map(|bulk| &mut bulk.decoder));
    }

    fn read_frames(&mut self, now: Instant, decoder: impl Fn(&mut Self) -> Option<&mut Decoder>) {
        self.last_received = now;
        while self.state != State::Closed {
            let Some(decoder) = decoder(self) else { return };
            match decoder.next_frame() {
                Ok(Some(frame)) => {
                    if let Err(closing) = self.handle_frame(now, frame.kind, frame.id, frame.body) {
                        self.end(closing, Duration::ZERO);
                    }
                }
                Ok(None) => break,
                Err(error) => self.end(Closing::new(CloseCode::BAD_FRAME, error.to_string()), Duration::ZERO),
            }
        }
    }

    /// The transport ended without a CLOSE frame.
    pub fn handle_disconnect(&mut self, closing: Closing) {
        self.end(closing, Duration::ZERO);
    }

    /// Sends a request; its [`Event::Answer`] carries the returned id.
    ///
    /// `None` if the session is not live or [`REQUESTS_MAX`] requests wait already: try again after an answer.
    pub fn request(&mut self, now: Instant, lane: Lane, kind: Kind, body: &[u8]) -> Option<u64> {
        (self.state == State::Live && self.requests.len() < REQUESTS_MAX)
            .then(|| self.send_request(now, Owner::Caller, lane, kind, body))
    }

    /// Says that everything up to `position` is shown on this device.
    pub fn acknowledge(&mut self, now: Instant, position: u64) {
        if self.state == State::Live {
            self.write(now, Lane::Control, Kind::ACK, position, &[]);
        }
    }

    /// The reply to this device's own send named its place in the user log: nothing to show, but the cursor moves.
    pub fn own_entry(&mut self, now: Instant, position: u64) {
        if position > 0 && self.state == State::Live {
            // The reply may have come in a datagram.
            let patient = self.config.datagram_bytes_max.is_some();
            self.arrive(now, position, None, patient);
        }
    }

    /// Asks for what lies beyond the cursor: the reply to a repeated send does not name its place in the user log,
    /// so the cursor would stay behind this device's own entry until somebody else writes.
    pub fn catch_up(&mut self, now: Instant) {
        if self.state == State::Live {
            self.ask_for_younger_page(now);
        }
    }

    /// Asks at once whether the server still hears, for instance after a change of the network. Without an answer
    /// within `within` the session ends with LOST.
    pub fn ping(&mut self, now: Instant, within: Duration) {
        if self.state == State::Live {
            let due = now + within;
            self.answer_due = Some(self.answer_due.map_or(due, |planned| planned.min(due)));
            self.write(now, Lane::Control, Kind::PING, 0, &[]);
        }
    }

    /// Says good-bye. The caller closes the transport once the output is written.
    pub fn close(&mut self, now: Instant) {
        if self.state != State::Closed {
            let body = body::Close { code: CloseCode::BYE.0, ..body::Close::default() };
            self.write(now, Lane::Control, Kind::CLOSE, 0, &body.encode_to_vec());
            self.end(Closing::new(CloseCode::BYE, "closed by the client"), Duration::ZERO);
        }
    }

    /// What waits to be written on the main stream.
    pub fn poll_output(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// What waits to be written on the bulk lane's own stream, if that is in use.
    pub fn poll_bulk_output(&mut self) -> Option<&mut Outbox> {
        self.bulk.as_mut().map(|bulk| &mut bulk.outbox)
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Self::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.state == State::Closed {
            return None;
        }
        let heartbeat = (self.state == State::Live).then(|| self.last_written + self.heartbeat);
        let request = self.requests.first_key_value().map(|(_, (_, due))| *due);
        let dues = [self.answer_due, self.page_retry_at, self.gap_due, heartbeat, request];
        dues.into_iter().chain([self.hedges.poll_timeout()]).flatten().min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.state == State::Closed {
            return;
        }
        if self.answer_due.is_some_and(|due| due <= now) {
            // Whatever comes shows that the path lives: a server with much to write answers a ping late.
            let quiet_until = self.last_received + self.config.answer_timeout;
            if self.state == State::Live && quiet_until > now {
                self.answer_due = Some(quiet_until);
                return self.handle_timeout(now);
            }
            let what = if self.state == State::Live { "ping" } else { "hello" };
            let closing = Closing::new(CloseCode::LOST, format!("no answer to the {what}"));
            return self.end(closing, Duration::ZERO);
        }
        while let Some(first) = self.requests.first_entry().filter(|first| first.get().1 <= now) {
            let (id, (owner, _)) = first.remove_entry();
            self.handle_answer(now, id, owner, Err(Failure::Timeout));
        }
        self.queue_hedges(now);
        if self.gap_due.is_some_and(|due| due <= now) {
            self.gap_due = None;
            if self.tracker.is_behind() {
                self.ask_for_page(now);
            }
        }
        if self.page_retry_at.is_some_and(|at| at <= now) {
            self.page_retry_at = None;
            self.ask_for_page(now);
        }
        if self.state == State::Live && self.last_written + self.heartbeat <= now {
            self.answer_due.get_or_insert(now + self.config.answer_timeout);
            self.write(now, Lane::Control, Kind::PING, 0, &[]);
        }
    }

    fn handle_frame(&mut self, now: Instant, kind: Kind, id: u64, body: Bytes) -> Result<(), Closing> {
        match (self.state, kind) {
            (State::Opening, Kind::WELCOME) => self.handle_welcome(now, decode::<Welcome>(body)?),
            (_, Kind::PONG) => self.answer_due = None,
            (_, Kind::PING) => {
                self.write(now, Lane::Control, Kind::PONG, id, &[]);
            }
            (_, Kind::CLOSE) => {
                let close: body::Close = decode(body)?;
                let retry_after = Duration::from_millis(close.retry_after_ms.into());
                self.end(Closing::new(CloseCode(close.code), close.reason), retry_after);
            }
            (_, Kind::GO_AWAY) => {
                let away: body::GoAway = decode(body)?;
                let slot = Duration::from_millis(away.slot_ms.into());
                let reason = CloseCode(away.reason);
                self.events.push_back(Event::GoAway { reason, slot, targets: away.targets });
            }
            (State::Live, Kind::REPLY) => self.finish(now, id, Ok(body)),
            (State::Live, Kind::ERROR) => {
                let error = decode(body)?;
                self.finish(now, id, Err(refused(error)));
            }
            (State::Live, Kind::PUSH) if id == 0 => self.events.push_back(Event::Transient(decode(body)?)),
            (State::Live, Kind::PUSH) => {
                let delivery = decode(body)?;
                self.arrive(now, id, Some(delivery), false);
            }
            (State::Live, Kind::READ_EVENT) => self.events.push_back(Event::Read(decode(body)?)),
            (State::Live, Kind::BEHIND) => {
                self.events.push_back(Event::Behind);
                self.ask_for_younger_page(now);
            }
            (State::Live, Kind::GROUP_PUSH) => {
                self.events.push_back(Event::Group { seq: id, delivery: decode(body)? });
            }
            (State::Live, Kind::EVENT) => self.events.push_back(Event::Hint(body)),
            (State::Live, Kind::LIVE) => self.events.push_back(Event::LiveFrame { class: id, body }),
            (State::Live, Kind::FOLDED) => self.events.push_back(Event::Folded(id)),
            (State::Live, Kind::RETURN_WINDOW) => {
                self.events.push_back(Event::ReturnWindow(Duration::from_millis(id)));
            }
            (State::Live, Kind::AWAY) => self.events.push_back(Event::Away(id != 0)),
            (State::Live, kind) if kind.is_push() => {} // from a younger server: a hint that we do not know
            (_, kind) => {
                let reason = format!("frame kind {:#04x} out of turn", kind.0);
                return Err(Closing::new(CloseCode::BAD_KIND, reason));
            }
        }
        Ok(())
    }

    fn handle_welcome(&mut self, now: Instant, mut welcome: Welcome) {
        self.state = State::Live;
        self.answer_due = None;
        if welcome.heartbeat_ms > 0 {
            self.heartbeat = Duration::from_millis(welcome.heartbeat_ms.into());
        }
        self.tracker = Tracker::new(welcome.cursor, welcome.head);
        let missed = welcome.missed.take();
        self.events.push_back(Event::Live(welcome));
        match missed {
            Some(page) => self.take_page(now, page),
            None if self.tracker.is_behind() => self.ask_for_page(now),
            None => self.tell_caught_up(),
        }
    }

    fn send_request(&mut self, now: Instant, owner: Owner, lane: Lane, kind: Kind, body: &[u8]) -> u64 {
        let id = self.new_request(now, owner);
        let frame = self.write(now, lane, kind, id, body);
        if lane == Lane::Chat {
            self.hedges.sent(now, kind, id, &frame);
        }
        id
    }

    fn new_request(&mut self, now: Instant, owner: Owner) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.requests.insert(id, (owner, now + self.config.answer_timeout));
        id
    }

    fn finish(&mut self, now: Instant, id: u64, result: Result<Bytes, Failure>) {
        // An answer after its time-out is nobody's any more.
        if let Some((owner, _)) = self.requests.remove(&id) {
            self.handle_answer(now, id, owner, result);
        }
    }

    fn handle_answer(&mut self, now: Instant, id: u64, owner: Owner, result: Result<Bytes, Failure>) {
        match owner {
            Owner::Page => self.handle_page(now, result),
            Owner::Caller => self.events.push_back(Event::Answer { id, result }),
        }
    }

    fn end(&mut self, closing: Closing, retry_after: Duration) {
        if self.state != State::Closed {
            self.state = State::Closed;
            self.events.push_back(Event::Closed { closing, retry_after });
        }
    }

    fn write(&mut self, now: Instant, lane: Lane, kind: Kind, id: u64, body: &[u8]) -> Bytes {
        let mut frame = BytesMut::new();
        encode_into(lane, kind, id, body, &mut frame);
        let frame = frame.freeze();
        let outbox = match lane {
            Lane::Bulk if self.config.bulk_stream => {
                let new =
                    || Box::new(Bulk { decoder: Decoder::new(Limits::client()), outbox: Outbox::default() });
                &mut self.bulk.get_or_insert_with(new).outbox
            }
            _ => &mut self.outbox,
        };
        outbox.push(frame.clone());
        self.last_written = now;
        frame
    }
}

fn refused(error: body::Error) -> Failure {
    let retry_after = Duration::from_millis(error.retry_after_ms.into());
    Failure::Refused { code: error.code, info: error.info, retry_after }
}

fn decode<M: prost::Message + Default>(body: Bytes) -> Result<M, Closing> {
    M::decode(body).map_err(|error| Closing::new(CloseCode::BAD_BODY, error.to_string()))
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
