//! A shard: one thread's share of the edge, as a pure engine.
//!
//! It owns a QUIC endpoint, its connections and sessions, the topic table and the timers, and touches no socket and
//! no clock: a driver feeds it datagrams and the time and carries its datagrams away. So a whole shard also runs
//! inside the simulator.
//!
//! One turn, after any number of [`Shard::handle_datagram`], the short ones of which may wait a while, and acknowledgements for something else to do with
//! their connection:
//! 1. what the backend sent down is applied, and a publish fans out to its members;
//! 2. timers that are due fire;
//! 3. each touched connection is read; requests go up to the backend, whose answers may come down at once;
//! 4. each touched connection writes and hands over its datagrams.
//!
//! Then, behind the turn's datagrams, [`Shard::take_aside`] works on short ones that wait, [`Shard::visit_rooms`] gives a few members of live rooms
//! what goes round there, and
//! [`Shard::handshakes`] works on what wants to begin.
//!
//! Reading all before writing any lets an acknowledgement, a reply and a push share a packet. The work of a turn is
//! bounded: connections that only have a fan-out to deliver wait in a queue of their own and are taken a few at a
//! time, so that a message to a large room does not delay the others. Each connection's step runs under
//! `catch_unwind`: a panic costs that connection and nobody else.

mod accounts;
mod aside;
mod conn;
mod conns;
mod deferred;
mod handshakes;
mod leaving;
mod live;
mod output;
mod pace;
mod quic;
mod returning;
mod seam;
mod stream;
mod streams;
mod switch;
mod topics;
mod transmits;
mod vouch;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use nearport_session::ServerLimits;
use nearport_trunk::{Down, Link, SessionId, Up};
use quinn_proto::{ConnectionHandle, Endpoint, EndpointConfig, ServerConfig};

pub use crate::admission::Admission;
use crate::admission::{Class, Gate, classify};
use crate::budget::Budget;
use crate::cid::{Owner, ShardCids};
use crate::quic::{CONTEXT_PARTS, sweep_contexts};
use crate::stats::Stats;
use crate::wheel::Wheel;
use aside::Aside;
use conn::{Touched, Transport};
use conns::Conns;
pub(crate) use conns::STREAM_BIT;
use deferred::{ACK_BYTES_MAX, Ack, Deferred};
pub use leaving::Departure;
use leaving::Leaving;
use output::Squeezed;
use pace::Pace;
use quic::QuicTransport;
pub(crate) use quic::SEND_WINDOW;
use returning::millis;
pub use stream::SocketFate;
pub use stream::proxy::{Cidr, CidrError};
pub use streams::stream_tls;
pub use switch::BACKEND_AWAY_MAX;
use switch::{Backing, Interrupted, Parked};
use topics::Topics;
pub use transmits::Transmits;
pub use vouch::ResumeConfig;
use vouch::WallClock;

/// Connections with nothing but a fan-out that are stepped in one turn, beside all that were touched otherwise.
const FAN_OUT_PER_TURN: usize = 128;

/// Probes are not answered while so many datagrams wait for the socket: as many as one turn reads. Whoever probes repeats it.
const PROBES_WAITING_MAX: usize = 64;

/// How long closes that the backend had no room for wait before they are offered again.
const UPS_RETRY: Duration = Duration::from_millis(5);

/// A key's context that nobody used for this long is dropped soon, and a client's window for coming back compared with what it
/// should be. Making a context again costs half a microsecond, which is nothing once a second.
const SECOND: Duration = Duration::from_secs(1);

/// Of what a second sweeps of contexts, a turn takes so much at most: a millisecond's work with as many as there may be.
const SWEPT_PER_TURN: usize = CONTEXT_PARTS / 32;

/// What a shard is made of.
#[derive(Debug, Clone)]
pub struct ShardConfig {
    /// Its number, below 32.
    pub index: u8,
    /// Number of this host in its cluster. Session ids hold it, so that they are unique among all edges of a backend.
    pub node: u16,
    /// Which start of this host's edge this is, see [`crate::cid::Owner`]. Session ids hold it modulo 8, so that they are
    /// unique among processes that hand over to each other.
    pub generation: u32,
    /// How long clients are kept without a backend.
    pub backend_away_max: Duration,
    /// QUIC endpoint: reset key, connection ids, seed.
    pub endpoint: Arc<EndpointConfig>,
    /// QUIC server: TLS, transport.
    pub server: Arc<ServerConfig>,
    /// TLS of byte streams: [`stream_tls`].
    pub stream_tls: Arc<rustls::ServerConfig>,
    /// Bounds of sessions.
    pub session: Arc<ServerLimits>,
    /// Bounds of admission.
    pub admission: Admission,
    /// Resume tokens.
    pub resume: ResumeConfig,
}

/// Why a connection is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// It was touched.
    Turn,
    /// It is a member of a live room.
    Visit,
}

/// One shard. See the module documentation for the order of calls.
#[derive(Debug)]
pub struct Shard {
    config: ShardConfig,
    endpoint: Endpoint,
    conns: Conns,
    link: Box<dyn Link>,
    backing: Backing,
    parked: Parked,
    interrupted: Interrupted,
    topics: Topics,
    wheel: Wheel,
    /// Touched by a datagram, a timer or an answer.
    prompt: Vec<u32>,
    /// Touched by a fan-out only.
    fan_out: VecDeque<u32>,
    transmits: Transmits,
    /// Short datagrams that wait behind others.
    aside: Aside,
    /// Acknowledgements that wait for their connection to be touched.
    deferred: Deferred<Ack>,
    ups: Vec<Up>,
    downs: Vec<Down>,
    due: Vec<(u32, u64)>,
    /// Connections that this turn steps.
    turn: Vec<u32>,
    /// Members of live rooms that this turn visits.
    visited: Vec<u32>,
    /// Byte streams whose sockets the driver has to look at.
    sockets: VecDeque<u32>,
    /// Where records of byte streams are sealed on their way to the socket.
    scratch: Vec<u8>,
    more_downs: bool,
    /// The backend was full: what waits in `ups` is offered again then.
    retry_ups_at: Option<Instant>,
    /// When windows are compared.
    second_at: Instant,
    /// When it last looked for key contexts that nobody used of late.
    swept_at: Instant,
    /// See [`returning`].
    returns_tick: u8,
    next_session: u64,
    gate: Gate,
    /// To tell our ids from others.
    cids: ShardCids,
    budget: Budget,
    /// [`ShardConfig::session`] for clients in browsers.
    web_limits: ServerLimits,
    squeezed: Squeezed,
    handshaking: usize,
    pace: Pace,
    /// The last turn served a live session.
    served_live: bool,
    /// No new connection is taken.
    draining: bool,
    leaving: Option<Leaving>,
    clock: WallClock,
    /// Time of the last turn.
    now: Instant,
    stats: Stats,
}

impl Shard {
    /// A shard without connections.
    #[must_use]
    pub fn new(config: ShardConfig, link: Box<dyn Link>, now: Instant) -> Self {
        // MTU discovery is off in our transport, so the flag for it does not matter.
        let endpoint = Endpoint::new(config.endpoint.clone(), Some(config.server.clone()), false, None);
        let clock = WallClock::new(now, config.resume.unix_time);
        Self {
            gate: Gate::new(config.admission, now),
            cids: ShardCids::new(
                &config.resume.keys,
                Owner { node: config.node, shard: config.index, generation: config.generation },
                0,
            ),
            budget: Budget::new(config.admission.output_bytes_max),
            squeezed: Squeezed::new(&config.session),
            web_limits: config.session.web(),
            config,
            endpoint,
            conns: Conns::default(),
            link,
            backing: Backing::Attached,
            parked: Parked::default(),
            interrupted: Interrupted::default(),
            topics: Topics::default(),
            wheel: Wheel::new(now),
            prompt: Vec::new(),
            fan_out: VecDeque::new(),
            transmits: Transmits::default(),
            aside: Aside::default(),
            deferred: Deferred::default(),
            ups: Vec::new(),
            downs: Vec::new(),
            due: Vec::new(),
            turn: Vec::new(),
            visited: Vec::new(),
            sockets: VecDeque::new(),
            scratch: Vec::new(),
            more_downs: false,
            retry_ups_at: None,
            second_at: now + SECOND,
            swept_at: now,
            returns_tick: 0,
            next_session: 0,
            handshaking: 0,
            pace: Pace::default(),
            served_live: false,
            draining: false,
            leaving: None,
            clock,
            now,
            stats: Stats::default(),
        }
    }

    /// Takes one datagram. It is copied: a slice of a batch buffer that a stream retains would pin the whole batch.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        remote: SocketAddr,
        local_ip: Option<IpAddr>,
        datagram: &[u8],
    ) {
        self.stats.datagrams_in += 1;
        let class = classify(datagram);
        let pass = matches!(class, Class::Pass);
        if pass
            && datagram.len() <= ACK_BYTES_MAX
            && self.deferred.expects_any()
            && self.defer(now, remote, local_ip, datagram)
        {
            return;
        }
        if pass && self.aside.take(remote, local_ip, datagram) {
            self.stats.datagrams_aside += 1;
            return;
        }
        self.aside.note_prompt();
        match class {
            Class::Pass => {
                self.feed(now, remote, local_ip, BytesMut::from(datagram), None);
            }
            Class::Initial(initial)
                if self.gate.is_let_in(now, remote, initial, |id| self.cids.owner_of(id).is_some()) =>
            {
                if !self.feed(now, remote, local_ip, BytesMut::from(datagram), None) {
                    self.gate.not_let_in(remote, initial.source);
                }
            }
            Class::Initial(initial) => self.gate.offer(now, remote, local_ip, datagram, initial),
            Class::Probe => self.answer_probe(remote, datagram),
            Class::Drop(why) => self.gate.dropped(why),
        }
    }

    /// Says that somebody is here. It takes no state and no key, goes out with the turn's datagrams and is a thirtieth as long as
    /// what it answers, so that it needs no rate of its own, only a bound of what waits.
    fn answer_probe(&mut self, remote: SocketAddr, datagram: &[u8]) {
        let mut buffer = self.transmits.buffer();
        if self.transmits.len() < PROBES_WAITING_MAX && nearport_wire::probe::answer(datagram, &mut buffer) {
            self.stats.probes += 1;
            self.transmits.push(remote, buffer);
        } else {
            self.stats.probes_dropped += 1;
            self.transmits.recycle(buffer);
        }
    }

    /// Runs one turn; see the module documentation.
    pub fn turn(&mut self, now: Instant) {
        self.stats.turns += 1;
        self.now = now;
        self.served_live = false;
        self.take_downs();
        self.check_backing(now);
        self.fire_timers(now);
        self.take_deferred(now);
        self.turn.append(&mut self.prompt);
        self.turn_fan_out();
        self.step_turn(now);
        if now >= self.second_at {
            self.second_at = now + SECOND;
            self.tick_return_windows();
        }
        self.sweep_contexts(now);
    }

    /// Drops some of the contexts that were not used for a second. Who has no turn for long goes through them in half a minute.
    fn sweep_contexts(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.swept_at);
        let parts = passed.as_millis() * CONTEXT_PARTS as u128 / SECOND.as_millis();
        if parts > 0 {
            self.swept_at = now;
            sweep_contexts(usize::try_from(parts).map_or(SWEPT_PER_TURN, |parts| parts.min(SWEPT_PER_TURN)));
        }
    }

    /// Steps the connections of the turn: reads all, hands up what they said, writes all.
    fn step_turn(&mut self, now: Instant) {
        let turn = std::mem::take(&mut self.turn);
        for index in &turn {
            self.read(*index, now);
        }
        if !self.ups.is_empty() || self.retry_ups_at.is_some_and(|at| at <= now) {
            self.send_ups(now);
            self.take_downs();
        }
        for index in &turn {
            self.write(*index, now, Step::Turn);
        }
        // Answers that came within the turn touched connections outside it too.
        let late = std::mem::take(&mut self.prompt);
        for index in &late {
            self.write_alone(*index, now, Step::Turn);
        }
        self.turn = turn;
        self.turn.clear();
    }

    /// Datagrams to send.
    pub fn transmits(&mut self) -> &mut Transmits {
        &mut self.transmits
    }

    /// When [`Self::turn`] has to run next, if nothing else happens before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        [
            self.wheel.next(),
            self.deferred.next(),
            self.retry_ups_at,
            self.backing_deadline(),
            self.next_visit(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Whether another turn has work at once.
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.more_downs
            || !self.aside.is_empty()
            || self.has_deferred_due()
            || !self.prompt.is_empty()
            || !self.fan_out.is_empty()
            || self.has_visits()
            || self.has_new_ups()
            || self.gate.has_work()
    }

    /// Connections that ended while they were written left a close for the backend.
    fn has_new_ups(&self) -> bool {
        !self.ups.is_empty() && self.retry_ups_at.is_none()
    }

    /// Whether no connection is left, not even one that drains.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.connections() == 0
    }

    /// Figures since the start.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            connections: self.connections() as u64,
            handshakes: self.handshaking as u64,
            topics: self.topics.len() as u64,
            draining: self.is_draining(),
            aside: self.aside.len() as u64,
            deferred: self.deferred.len() as u64,
            gate: self.gate.counts(),
            output_bytes: self.budget.used() as u64,
            handshake_cost_ns: u64::try_from(self.gate.handshake_cost().as_nanos()).unwrap_or(u64::MAX),
            return_window_ms: u64::from(millis(self.gate.return_window(self.stats.sessions + 1, None))),
            ..self.stats
        }
    }

    /// Whether it takes no new connection, or sends its clients away.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining || self.leaving.is_some()
    }

    fn connections(&self) -> usize {
        self.endpoint.open_connections() + self.conns.streams()
    }

    /// The id of a new session.
    fn session_id(&mut self, index: u32) -> SessionId {
        self.next_session += 1;
        let ShardConfig { node, generation, index: shard, .. } = self.config;
        SessionId::new(nearport_trunk::Owner::new(node, generation, shard), self.next_session, index)
    }

    /// The QUIC side of a connection that is one of QUIC's.
    fn quic_mut(&mut self, index: u32) -> Option<&mut QuicTransport> {
        match &mut self.conns.get_mut(index)?.transport {
            Transport::Quic(quic) => Some(quic),
            Transport::Stream(_) => None,
        }
    }

    fn touch(&mut self, index: u32) {
        if let Some(conn) = self.conns.get_mut(index)
            && std::mem::replace(&mut conn.touched, Touched::Prompt) != Touched::Prompt
        {
            self.prompt.push(index);
        }
    }

    /// Adds a share of the fan-out queue to the turn. Who was touched promptly meanwhile has been served.
    fn turn_fan_out(&mut self) {
        for _ in 0..FAN_OUT_PER_TURN {
            let Some(index) = self.fan_out.pop_front() else { return };
            if self.conns.get_mut(index).is_some_and(|conn| conn.touched == Touched::FanOut) {
                self.turn.push(index);
            }
        }
    }

    fn fire_timers(&mut self, now: Instant) {
        let mut due = std::mem::take(&mut self.due);
        self.wheel.expire(now, &mut due);
        for (index, tick) in due.drain(..) {
            if self.deferred.takes_timer(index, tick) {
                continue;
            }
            if self.deferred.waits(index) && self.release(index) {
                self.touch(index);
            }
            let Some(conn) = self.conns.get_mut(index) else { continue };
            conn.armed.fired(tick);
            match conn.poll_timeout(now) {
                Some(at) if at <= now => {
                    let limits = if conn.is_web() { &self.web_limits } else { &self.config.session };
                    let (ups, stats) = (&mut self.ups, &mut self.stats);
                    match caught(|| conn.handle_timeout(limits, now, ups, stats)) {
                        Some(()) => {
                            self.account(index);
                            self.touch(index);
                        }
                        None => self.remove_panicked(index),
                    }
                }
                // The entry was early; the deadline moved on meanwhile.
                Some(at) => self.wheel.arm(index, &mut conn.armed, at),
                None => {}
            }
        }
        self.due = due;
    }

    /// First half of a step: QUIC events and stream data.
    fn read(&mut self, index: u32, now: Instant) {
        self.release(index);
        let Some(conn) = self.conns.get_mut(index) else { return };
        self.served_live |= conn.session.is_live();
        let limits = if conn.is_web() { &self.web_limits } else { &self.config.session };
        let (ups, stats) = (&mut self.ups, &mut self.stats);
        match caught(|| conn.read(limits, now, ups, stats)) {
            Some(()) => self.account(index),
            None => self.remove_panicked(index),
        }
    }

    /// The second half of a step whose first half is left out, unless something waits for the connection to be touched.
    fn write_alone(&mut self, index: u32, now: Instant, step: Step) {
        if self.release(index) {
            self.read(index, now);
        }
        self.write(index, now, step);
    }

    /// Second half of a step: session output, datagrams, endpoint events, the next deadline.
    fn write(&mut self, index: u32, now: Instant, step: Step) {
        let squeezed = self.is_squeezed();
        self.tell_return_window(index);
        self.tell_away(index);
        let Some(conn) = self.conns.get_mut(index) else { return };
        // A reply is followed by a request, which brings its acknowledgement along; a push by nothing.
        let visit = step == Step::Visit;
        let pushes = visit || conn.touched == Touched::FanOut;
        conn.touched = Touched::No;
        let rested = pushes && conn.is_at_rest(now);
        let defers = pushes && conn.may_defer(now) && (rested || visit);
        let queued = self.transmits.len();
        let (transmits, limits, stats) = (&mut self.transmits, &self.config.session, &mut self.stats);
        let stepped = caught(|| {
            conn.write(limits, now, squeezed, stats);
            conn.transmit(now, transmits)
        });
        let written = self.transmits.len() - queued;
        self.stats.datagrams_out += written as u64;
        if defers
            && written == 1
            && stepped == Some(false)
            && self.transmits.is_last_short()
            && conn.expects_one_ack(now)
        {
            self.deferred.expect(index, rested);
        }
        let Some(more) = stepped else { return self.remove_panicked(index) };
        self.account(index);
        self.settle(index, now);
        if self.exchange_events(index) || more {
            self.touch(index);
        }
        self.queue_socket(index);
        self.arm(index, now);
    }

    fn arm(&mut self, index: u32, now: Instant) {
        if let Some(conn) = self.conns.get_mut(index)
            && let Some(at) = conn.poll_timeout(now)
        {
            self.wheel.arm(index, &mut conn.armed, at);
        }
    }

    /// Carries events between a QUIC connection and the endpoint. Returns whether the connection got one.
    fn exchange_events(&mut self, index: u32) -> bool {
        let mut touched = false;
        loop {
            let Some(quic) = self.quic_mut(index) else { return false };
            let Some(event) = quic.quic.poll_endpoint_events() else { return touched };
            let drained = event.is_drained();
            let answer = self.endpoint.handle_event(ConnectionHandle(index as usize), event);
            if drained {
                self.remove(index);
                return false;
            }
            if let Some(event) = answer {
                // New connection ids for the client: without them it cannot change its address.
                let Some(quic) = self.quic_mut(index) else { return false };
                if caught(|| quic.quic.handle_event(event)).is_none() {
                    self.remove_panicked(index);
                    return false;
                }
                touched = true;
            }
        }
    }
}

/// Runs one step of a connection; `None` if it panicked. What the step touched beside the connection (lists of
/// messages and datagrams) is valid after every push.
fn caught<T>(step: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(step)).ok()
}

fn index_of(handle: ConnectionHandle) -> u32 {
    u32::try_from(handle.0).expect("at most 65,536 connections per shard")
}

#[cfg(test)]
#[path = "shard/tests.rs"]
mod tests;
