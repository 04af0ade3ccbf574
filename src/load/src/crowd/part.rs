//! The members of one thread, as a pure machine: datagrams and the time in, datagrams out, and what the members live through told to a
//! [`Witness`].
//!
//! Each turn is one pass over the connections that were touched: QUIC's events, the session's, what the session says, what QUIC
//! sends, the next deadline. Nothing else runs for a message.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use nearport_session::{Closing, Event, Failure};
use nearport_wire::body::{GroupAnswer, Hello, LiveCounts, group_answer::Answer};
use nearport_wire::close::CloseCode;
use nearport_wire::{Kind, Lane};
use prost::Message as _;
use quinn_proto::{ConnectionHandle, DatagramEvent, Endpoint, EndpointConfig};

use super::agenda::Agenda;
use super::link::{Asked, Link, NOBODY, Start, is_due};
use super::pipes::Outgoing;
use super::{News, Plan, Witness};

/// How long a good-bye may take.
const GOOD_BYE: Duration = Duration::from_secs(5);

/// Wait before the room is asked for again, if the server names none.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// A member: where it is.
#[derive(Debug, Clone, Copy, Default)]
struct Seat {
    link: Option<u32>,
    /// When it first tried to log in.
    began: Option<Instant>,
    /// Has been logged in, and has been in the room.
    logged_in: bool,
    joined: bool,
    /// Has lost a session and come back, which it does once.
    returned: bool,
    gone: bool,
}

/// Members join, one after the other.
#[derive(Debug)]
struct Joins {
    begun: Instant,
    /// In a second; `None`: as fast as they are answered.
    rate: Option<f64>,
    next: usize,
}

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Part {
    plan: Arc<Plan>,
    /// Their numbers among all members.
    members: Range<usize>,
    /// Members that may log in, or leave, at once; and that may join.
    logins_max: usize,
    joins_max: usize,
    endpoint: Endpoint,
    /// By the endpoint's handle.
    links: Vec<Option<Box<Link>>>,
    seats: Vec<Seat>,
    pipes: usize,
    agenda: Agenda,
    out: Outgoing,
    touched: Vec<u32>,
    due: Vec<u32>,
    response: Vec<u8>,
    to_log_in: VecDeque<u32>,
    logging_in: usize,
    joins: Option<Joins>,
    joining: usize,
    /// The next to say good-bye, once they leave.
    leaver: Option<usize>,
    leaving: usize,
    news: News,
}

impl Part {
    /// `pipes`: sockets, which the members take in turn.
    pub(super) fn new(
        plan: Arc<Plan>,
        members: Range<usize>,
        pipes: usize,
        threads: usize,
        now: Instant,
    ) -> Self {
        let seats = vec![Seat::default(); members.len()];
        Self {
            logins_max: plan.logins_max.div_ceil(threads),
            joins_max: plan.joins_max.div_ceil(threads),
            plan,
            members,
            endpoint: Endpoint::new(Arc::new(EndpointConfig::default()), None, false, None),
            links: Vec::new(),
            to_log_in: VecDeque::new(),
            seats,
            pipes,
            agenda: Agenda::new(now),
            out: Outgoing::new(pipes),
            touched: Vec::new(),
            due: Vec::new(),
            response: Vec::new(),
            logging_in: 0,
            joins: None,
            joining: 0,
            leaver: None,
            leaving: 0,
            news: News::default(),
        }
    }

    /// All members log in.
    pub(super) fn log_in(&mut self) {
        self.to_log_in = (0u32..).take(self.seats.len()).collect();
    }

    /// All members join the room, so many in a second.
    pub(super) fn join(&mut self, rate: Option<f64>, now: Instant) {
        self.joins = Some(Joins { begun: now, rate, next: 0 });
    }

    /// All members say good-bye.
    pub(super) fn leave(&mut self) {
        self.to_log_in.clear();
        self.leaver = Some(0);
    }

    /// What happened since the last call.
    pub(super) fn take_news(&mut self) -> News {
        std::mem::take(&mut self.news)
    }

    /// What is to be sent.
    pub(super) fn outgoing(&mut self) -> &mut Outgoing {
        &mut self.out
    }

    /// Takes a datagram of a socket. Call [`Self::turn`] after some of them.
    pub(super) fn handle_datagram(&mut self, pipe: u16, datagram: &[u8], now: Instant) {
        let (server, bytes) = (self.plan.server, BytesMut::from(datagram));
        match self.endpoint.handle(now, server, None, None, bytes, &mut self.response) {
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                let index = index_of(handle);
                if let Some(link) = self.links.get_mut(handle.0).and_then(Option::as_mut) {
                    link.quic().handle_event(event);
                    touch(&mut self.touched, index, link);
                }
            }
            // A reset for who takes us for somebody else.
            Some(DatagramEvent::Response(transmit)) => {
                let mut buffer = self.out.buffer();
                buffer.extend_from_slice(&self.response[..transmit.size]);
                self.out.push(pipe, buffer);
            }
            Some(DatagramEvent::NewConnection(_)) | None => {}
        }
        self.response.clear();
    }

    /// Does what there is to do. Afterwards send what is in [`Self::outgoing`], and wait for a datagram or
    /// [`Self::poll_timeout`].
    pub(super) fn turn(&mut self, now: Instant, witness: &mut impl Witness) {
        self.fire(now);
        self.serve(now, witness);
    }

    /// The same without what is due: what waits in a socket may be what it waits for.
    pub(super) fn serve(&mut self, now: Instant, witness: &mut impl Witness) {
        loop {
            self.begin_log_ins(now);
            self.begin_joins(now);
            self.begin_good_byes(now);
            if self.touched.is_empty() {
                return;
            }
            let mut touched = std::mem::take(&mut self.touched);
            for index in touched.drain(..) {
                self.step(index, now, witness);
            }
            // Whoever has more to send, or left room for the next, has its turn at once.
            if self.touched.is_empty() {
                self.touched = touched;
            }
        }
    }

    /// When to call [`Self::turn`] without a datagram.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let join = self
            .joins
            .as_ref()
            .filter(|joins| self.joining < self.joins_max && joins.next < self.seats.len());
        let join = join.and_then(|joins| {
            let rate = joins.rate?;
            Some(joins.begun + Duration::from_secs_f64(joins.next as f64 / rate))
        });
        [self.agenda.next(), join].into_iter().flatten().min()
    }

    fn fire(&mut self, now: Instant) {
        self.agenda.expire(now, &mut self.due);
        for index in self.due.drain(..) {
            let Some(link) = self.links.get_mut(index as usize).and_then(Option::as_mut) else { continue };
            match link.deadline() {
                Some(at) if at <= now => {
                    link.handle_timeout(now);
                    touch(&mut self.touched, index, link);
                }
                Some(at) => self.agenda.arm(index, &mut link.armed, at),
                None => {}
            }
        }
    }

    fn begin_log_ins(&mut self, now: Instant) {
        while self.logging_in < self.logins_max
            && let Some(seat) = self.to_log_in.pop_front()
        {
            let plan = &self.plan;
            let connected = self.endpoint.connect(now, plan.quic.clone(), plan.server, &plan.server_name);
            let (handle, quic) = match connected {
                Ok(connected) => connected,
                Err(error) => {
                    let closing = Closing::new(CloseCode::UNAVAILABLE, error.to_string());
                    self.refused(seat, &closing);
                    continue;
                }
            };
            let user = crate::fleet::user_name(&plan.users, self.members.start + seat as usize);
            let hello = Hello {
                app: plan.credentials.app,
                usersig: (plan.credentials.usersig)(&user),
                user,
                device: crate::fleet::DEVICE.into(),
                client: crate::fleet::CLIENT.into(),
                // What earlier runs left in the user's log is not for this one.
                cursor: Some(nearport_client::FROM_NOW),
                ..Hello::default()
            };
            let pipe = u16::try_from(seat as usize % self.pipes).expect("checked when they were bound");
            let place = &mut self.seats[seat as usize];
            // Of the first log-in, which may take several attempts, or of the one that brings it back.
            let began = if place.logged_in { now } else { *place.began.get_or_insert(now) };
            let due = began + plan.login_timeout;
            let start = Start { seat, pipe, hello, datagrams: plan.datagrams, began, due };
            let mut link = Box::new(Link::new(start, handle, quic));
            let index = index_of(handle);
            touch(&mut self.touched, index, &mut link);
            if self.links.len() <= handle.0 {
                self.links.resize_with(handle.0 + 1, || None);
            }
            self.links[handle.0] = Some(link);
            self.seats[seat as usize].link = Some(index);
            self.logging_in += 1;
        }
    }

    fn begin_joins(&mut self, now: Instant) {
        let Some(joins) = &mut self.joins else { return };
        let due = match joins.rate {
            None => self.seats.len(),
            Some(rate) => {
                let elapsed = now.saturating_duration_since(joins.begun).as_secs_f64();
                let due = Duration::from_secs_f64((elapsed * rate).min(1e9)).as_secs() + 1;
                usize::try_from(due).unwrap_or(usize::MAX).min(self.seats.len())
            }
        };
        while joins.next < due && self.joining < self.joins_max {
            let seat = &mut self.seats[joins.next];
            joins.next += 1;
            if seat.gone {
                self.news.joins.fail(|| "the session has ended".into());
            }
            // Who is not logged in at the moment joins when it is.
            let Some(index) = seat.link else { continue };
            if let Some(link) = self.links[index as usize].as_mut().filter(|link| link.is_live()) {
                self.joining += usize::from(ask(link, &self.plan, now));
                touch(&mut self.touched, index, link);
            }
        }
    }

    fn begin_good_byes(&mut self, now: Instant) {
        let Some(mut next) = self.leaver else { return };
        while next < self.seats.len() && self.leaving < self.logins_max {
            let seat = self.seats[next];
            next += 1;
            match seat.link.and_then(|index| Some((index, self.links[index as usize].as_mut()?))) {
                Some((index, link)) => {
                    self.logging_in -= usize::from(!link.is_live());
                    self.leaving += 1;
                    link.say_good_bye(now, GOOD_BYE);
                    touch(&mut self.touched, index, link);
                }
                None => self.news.left += 1,
            }
        }
        self.leaver = Some(next);
    }

    /// One connection has its turn.
    fn step(&mut self, index: u32, now: Instant, witness: &mut impl Witness) {
        let Some(mut link) = self.links[index as usize].take() else { return };
        link.touched = false;
        if let Some(closing) = link.read(now) {
            self.end(&mut link, &closing, now, witness);
        }
        while let Some(event) = link.poll_event() {
            self.handle(&mut link, event, now, witness);
        }
        if link.leaving && link.seat != NOBODY && (link.lost || is_due(link.due, now)) {
            self.seats[link.seat as usize].link = None;
            (self.leaving, self.news.left) = (self.leaving - 1, self.news.left + 1);
            link.abandon(now, CloseCode::BYE);
        } else if is_due(link.due, now) {
            self.end(&mut link, &Closing::new(CloseCode::LOST, "no log-in in its time"), now, witness);
        } else if is_due(link.ask_at, now) {
            link.ask_at = None;
            self.joining += usize::from(ask(&mut link, &self.plan, now));
        }
        link.write();
        let more = link.transmit(now, &mut self.out);
        let Some(news) = self.exchange(&mut link) else { return };
        if more || news {
            touch(&mut self.touched, index, &mut link);
        }
        if let Some(at) = link.deadline() {
            self.agenda.arm(index, &mut link.armed, at);
        }
        self.links[index as usize] = Some(link);
    }

    /// Carries events between a connection and the endpoint. `None`: the connection is done with; `true`: it has got one.
    fn exchange(&mut self, link: &mut Link) -> Option<bool> {
        let mut news = false;
        while let Some(event) = link.quic().poll_endpoint_events() {
            let drained = event.is_drained();
            if let Some(event) = self.endpoint.handle_event(link.handle, event) {
                link.quic().handle_event(event);
                news = true;
            }
            if drained {
                return None;
            }
        }
        Some(news)
    }

    fn handle(&mut self, link: &mut Link, event: Event, now: Instant, witness: &mut impl Witness) {
        match event {
            Event::LiveFrame { body, .. } => witness.heard(link.seat as usize, &body),
            Event::Live(_) => self.logged_in(link, now, witness),
            Event::Answer { id, result } => self.answered(link, id, result, now, witness),
            // The server may not know any more that this session is in a room.
            Event::Behind if self.seats[link.seat as usize].joined => link.ask_at = Some(now),
            Event::Entry { position, .. } => {
                if let Some(session) = link.session() {
                    session.acknowledge(now, position);
                }
            }
            Event::Closed { closing, .. } => self.end(link, &closing, now, witness),
            _ => {}
        }
    }

    fn logged_in(&mut self, link: &mut Link, now: Instant, witness: &mut impl Witness) {
        let number = link.seat as usize;
        link.due = None;
        self.logging_in -= 1;
        let seat = &mut self.seats[number];
        if !std::mem::replace(&mut seat.logged_in, true) {
            self.news.logins.took.push(now.saturating_duration_since(link.began));
        }
        witness.connected(number);
        if self.joins.as_ref().is_some_and(|joins| joins.next > number) {
            self.joining += usize::from(ask(link, &self.plan, now));
        }
    }

    /// The answer to a request for the room.
    fn answered(
        &mut self,
        link: &mut Link,
        id: u64,
        result: Result<Bytes, Failure>,
        now: Instant,
        witness: &mut impl Witness,
    ) {
        let Some(asked) = link.asked.take_if(|asked| asked.id == id) else { return };
        self.joining -= 1;
        let seat = &mut self.seats[link.seat as usize];
        match result.map(|body| counts_of(body).ok_or("an answer that says nothing of a live room")) {
            Ok(Ok(counts)) => {
                let first = !std::mem::replace(&mut seat.joined, true);
                if first {
                    self.news.joins.took.push(now.saturating_duration_since(asked.at));
                }
                witness.joined(link.seat as usize, &counts, first);
            }
            Ok(Err(why)) if !seat.joined => self.news.joins.fail(|| why.into()),
            Ok(Err(why)) => witness.failed(why.into()),
            Err(failure) if !seat.joined => self.news.joins.fail(|| failure.to_string()),
            Err(Failure::Refused { code, info, retry_after }) if retry_after.is_zero() => {
                witness.failed(format!("cannot go back: {code}: {info}"));
            }
            Err(Failure::Refused { retry_after, .. }) => link.ask_at = Some(now + retry_after),
            Err(Failure::Timeout) => link.ask_at = Some(now + ASK_AGAIN),
        }
    }

    /// The session, or the attempt, has ended. A member comes back once.
    fn end(&mut self, link: &mut Link, closing: &Closing, now: Instant, witness: &mut impl Witness) {
        let number = link.seat;
        if number == NOBODY || link.leaving {
            return;
        }
        self.logging_in -= usize::from(link.due.is_some());
        self.joining -= usize::from(link.asked.is_some());
        link.abandon(now, CloseCode::LOST);
        let seat = &mut self.seats[number as usize];
        seat.link = None;
        if !seat.logged_in {
            // Who was not heard tries again as long as there is time. Any other end is an answer.
            let until = seat.began.map(|began| began + self.plan.login_timeout);
            match closing.code == CloseCode::LOST && until.is_some_and(|until| now < until) {
                true => self.to_log_in.push_back(number),
                false => self.refused(number, closing),
            }
            return;
        }
        let returns = !std::mem::replace(&mut seat.returned, true) && self.leaver.is_none();
        witness.lost(number as usize, closing, !returns);
        if returns {
            self.to_log_in.push_back(number);
        } else {
            self.gone(number, "the session has ended");
        }
    }

    /// A member could not log in for the first time.
    fn refused(&mut self, seat: u32, closing: &Closing) {
        self.news.logins.fail(|| format!("{}: {}", closing.code, closing.reason));
        self.gone(seat, "never logged in");
    }

    fn gone(&mut self, seat: u32, why: &str) {
        let number = seat as usize;
        self.seats[number].gone = true;
        if self.joins.as_ref().is_some_and(|joins| joins.next > number) && !self.seats[number].joined {
            self.news.joins.fail(|| why.into());
        }
    }
}

/// Asks for the room. Returns whether it could.
fn ask(link: &mut Link, plan: &Plan, now: Instant) -> bool {
    if link.asked.is_some() {
        return false;
    }
    let Some(session) = link.session() else { return false };
    let id = session.request(now, Lane::Bulk, Kind::GROUP, &plan.join);
    link.asked = id.map(|id| Asked { id, at: now });
    id.is_some()
}

fn touch(touched: &mut Vec<u32>, index: u32, link: &mut Link) {
    if !std::mem::replace(&mut link.touched, true) {
        touched.push(index);
    }
}

fn counts_of(body: Bytes) -> Option<LiveCounts> {
    match GroupAnswer::decode(body).ok()?.answer? {
        Answer::Join(outcome) => outcome.live?.counts,
        _ => None,
    }
}

fn index_of(handle: ConnectionHandle) -> u32 {
    u32::try_from(handle.0).expect("members are fewer")
}

#[cfg(test)]
#[path = "part_tests.rs"]
mod tests;
