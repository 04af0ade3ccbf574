//! Who may begin a handshake, decided before its cryptography.
//!
//! A handshake costs about a thousand times what a message costs, and anybody can ask for one. So the Initials of a
//! shard take a way of their own:
//!
//! 1. [`classify`] looks at the first octets. Packets of live connections pass at the price of a comparison; what no
//!    honest client sends is dropped without an answer.
//! 2. [`Gate::offer`] puts an Initial into one of two short queues: those of handshakes that were let in go first, new
//!    ones pay from the bucket of their network ([`Prefix`]) or are marked to prove their address first.
//! 3. After the turn's live connections have been served and their datagrams sent, [`Gate::take`] gives out as many as
//!    the turn's budget allows. So a flood fills the queue, and the others wait for a fraction of a millisecond at most.
//! 4. [`Gate::judge`] says what becomes of one that turned out to begin a connection: accept, Retry, or ignore.
//!
//! Nothing here is refused with an answer: an ignored client repeats its Initial by itself, with back-off.

mod classify;
mod flows;
mod prefixes;
mod returns;

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::BytesMut;

pub use classify::{Class, Dropped, Initial, classify};
use flows::Flows;
pub use prefixes::Prefix;
use prefixes::{Prefixes, Rate, Toll};
use returns::Returns;

/// Initials that wait in each of the two queues; more are dropped and repeated by their clients. At 0.25 ms each
/// they are 64 ms of work. Worst case of memory: 512 × 2 KiB.
const WAITING_MAX: usize = 256;

/// What the Initials of a turn may cost, in units of about 30 µs.
const BUDGET_IDLE: u32 = 32;
const BUDGET_LIVE: u32 = 16;
const BUDGET_BACKLOG: u32 = 8;

/// What an Initial costs: up to a key exchange and a signature. What turns out to be less is given back.
const COST: u32 = 8;
/// Keys of the first packet and one tag, for a Retry or for nothing.
const COST_LOOK: u32 = 1;

/// Bounds of admission, per shard. They are checked before the cryptography of a new connection.
#[derive(Debug, Clone, Copy)]
pub struct Admission {
    /// Connections; above, a new one is ignored and its client tries another way.
    pub connections_max: usize,
    /// Handshakes in progress above which an unvalidated client must first return a Retry token.
    pub handshakes_soft: usize,
    /// Handshakes in progress above which new ones are ignored: the client repeats its Initial later.
    pub handshakes_hard: usize,
    /// Handshakes in a second of one network (/24 or /56) that has proved its address, with two seconds' worth at once.
    /// A quarter of it goes without proof; beyond that a client must return a Retry token, so that a forged address
    /// locks nobody out. 0: unlimited.
    pub prefix_rate: u32,
    /// Connections of one network. 0: unlimited.
    pub prefix_connections_max: u32,
    /// Bytes that may wait to be read by the clients of the shard, see [`crate::budget`].
    pub output_bytes_max: usize,
    /// Handshakes that the shard makes in a second while a crowd comes back; `None`: as their cost was measured. It
    /// makes the window for coming back that clients are told.
    pub returns_per_s: Option<u32>,
    /// Longest such window; zero: none is told.
    pub return_window_max: Duration,
    /// How much of a core the shard has. An [`crate::Edge`] fills it in.
    pub core: f32,
    /// Whether this host itself is a network like others. It is not by default: what comes from a loopback address was
    /// not forged by a stranger, and a proxy or a load generator on the host is many clients.
    pub limit_loopback: bool,
    /// Where networks stand in the tables. An [`crate::Edge`] draws one of its own; a shard in a simulation gets the same
    /// one and gives the same run.
    pub key: [u64; 2],
}

impl Default for Admission {
    /// 65,536 connections of 20 KB are 1.3 GB per shard. A handshake takes a round trip and 0.25 ms of CPU, so 512
    /// at once are what a core does in 128 ms; 4,096 are a second, after which clients give up anyway. A network may
    /// have an eighth of a core's handshakes, which brings the 10,000 users behind a large NAT back in 20 s, and a quarter
    /// of the connections. 128 MiB of output are 2,048 slow readers at the bound of their pushes.
    fn default() -> Self {
        Self {
            connections_max: 65_536,
            handshakes_soft: 512,
            handshakes_hard: 4_096,
            prefix_rate: 500,
            prefix_connections_max: 16_384,
            output_bytes_max: 128 << 20,
            returns_per_s: None,
            return_window_max: Duration::from_secs(60),
            core: 1.0,
            limit_loopback: false,
            key: [0; 2],
        }
    }
}

/// How busy the shard is, for the budget of its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pressure {
    /// No live connection had anything to do.
    Idle,
    /// Live connections were served in this turn; more of them may arrive while handshakes are worked on.
    Live,
    /// More datagrams wait in the socket: they are to be read soon, for live ones stand among them.
    Backlog,
}

/// How full the shard is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Load {
    /// Connections, of every transport.
    pub connections: usize,
    /// Handshakes in progress.
    pub handshakes: usize,
}

/// What becomes of a beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is let in.
    Accept,
    /// The client must return a token from its address first. Only for QUIC.
    Retry,
    /// Nothing is answered; a TCP connection is closed.
    Ignore,
}

/// An Initial that waits for its turn.
#[derive(Debug)]
pub struct Waiting {
    /// Where it came from.
    pub remote: SocketAddr,
    /// The address it was sent to, if known.
    pub local_ip: Option<IpAddr>,
    /// The whole datagram.
    pub data: BytesMut,
    /// See [`Flows::print`].
    flow: u64,
    /// It went on with a handshake that was let in, and has not paid.
    goes_on: bool,
    must_prove: bool,
}

/// What happened at the gate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Initials in less than 1200 bytes.
    pub short: u64,
    /// Packets of another version.
    pub version: u64,
    /// What is no packet for a server.
    pub form: u64,
    /// Initials that found the queue full.
    pub queue_full: u64,
    /// Beginnings, QUIC's and TCP's, of a network that used up its rate.
    pub prefix_rate: u64,
    /// Beginnings of a network that has as many connections as it may.
    pub prefix_full: u64,
    /// Beginnings above the bounds of the shard.
    pub shard_full: u64,
}

/// The gate of a shard.
#[derive(Debug)]
pub struct Gate {
    limits: Admission,
    start: Instant,
    prefixes: Prefixes,
    flows: Flows,
    /// Exact, for a bound that holds. Bounded by the connections of the shard; asked for one key, never walked.
    connections: HashMap<Prefix, u32>,
    /// Of handshakes that were let in.
    begun: VecDeque<Waiting>,
    new: VecDeque<Waiting>,
    budget: u32,
    returns: Returns,
    counts: Counts,
}

impl Gate {
    /// A gate that has seen nobody yet.
    #[must_use]
    pub fn new(limits: Admission, now: Instant) -> Self {
        // u32 to f32: exact below 16 million, and nobody needs more.
        let rate = limits.prefix_rate as f32;
        let share = |of: f32| Rate { per_s: rate * of, burst: (rate * of * 2.0).max(1.0) };
        Self {
            limits,
            start: now,
            prefixes: Prefixes::new(limits.key, [share(0.25), share(4.0), share(1.0)]),
            flows: Flows::new(limits.key),
            connections: HashMap::new(),
            begun: VecDeque::new(),
            new: VecDeque::new(),
            budget: 0,
            returns: Returns::new(limits.returns_per_s, limits.core, limits.return_window_max),
            counts: Counts::default(),
        }
    }

    /// Counts a datagram that [`classify`] dropped.
    pub fn dropped(&mut self, why: Dropped) {
        *match why {
            Dropped::Short => &mut self.counts.short,
            Dropped::Version => &mut self.counts.version,
            Dropped::Form => &mut self.counts.form,
        } += 1;
    }

    /// Whether an Initial belongs to a connection that was let in: it has nothing to wait for, and what the client sent
    /// behind it must not overtake it. A 1-RTT packet that comes before the client's last handshake message is lost, which
    /// costs the login a probe timeout. `is_ours` tells an id of ours; it is asked last, for a flood is to cost no key.
    pub fn is_let_in(
        &mut self,
        now: Instant,
        remote: SocketAddr,
        initial: Initial<'_>,
        is_ours: impl FnOnce(&[u8]) -> bool,
    ) -> bool {
        let flow = self.flows.print(remote, initial.source);
        self.flows.is_accepted(flow) && is_ours(initial.destination) && self.flows.goes_on(self.ms(now), flow)
    }

    /// An Initial that was let in belongs to no connection: its client follows a Retry, or the connection is gone. What it
    /// repeats begins anew, through the queue.
    pub fn not_let_in(&mut self, remote: SocketAddr, source: &[u8]) {
        let flow = self.flows.print(remote, source);
        self.flows.forget(flow);
    }

    /// Takes an Initial into the queue, if there is room and its network may.
    pub fn offer(
        &mut self,
        now: Instant,
        remote: SocketAddr,
        local_ip: Option<IpAddr>,
        datagram: &[u8],
        initial: Initial<'_>,
    ) {
        let now_ms = self.ms(now);
        let flow = self.flows.print(remote, initial.source);
        let goes_on = self.flows.goes_on(now_ms, flow);
        let queue = if goes_on { &self.begun } else { &self.new };
        if queue.len() >= WAITING_MAX {
            self.counts.queue_full += 1;
            return;
        }
        let mut must_prove = false;
        if !goes_on {
            // Who has a token shows it; who has none may go without one while the bucket lasts. Both cost a look
            // at least, and a flood from one network stops here.
            must_prove = initial.has_token || !self.charge(now_ms, remote.ip(), Toll::Unproved);
            if must_prove && !self.charge(now_ms, remote.ip(), Toll::Look) {
                self.counts.prefix_rate += 1;
                return;
            }
            self.flows.begin(now_ms, flow);
        }
        let waiting = Waiting { remote, local_ip, data: datagram.into(), flow, goes_on, must_prove };
        if goes_on { self.begun.push_back(waiting) } else { self.new.push_back(waiting) }
    }

    /// Whether an Initial waits.
    #[must_use]
    pub fn has_work(&self) -> bool {
        !self.begun.is_empty() || !self.new.is_empty()
    }

    /// Begins the Initials of one turn.
    pub fn begin_turn(&mut self, pressure: Pressure) {
        self.budget = match pressure {
            Pressure::Idle => BUDGET_IDLE,
            Pressure::Live => BUDGET_LIVE,
            Pressure::Backlog => BUDGET_BACKLOG,
        };
    }

    /// The next Initial for the endpoint, or `None` if no more is to be done in this turn.
    pub fn take(&mut self) -> Option<Waiting> {
        self.budget = self.budget.checked_sub(COST)?;
        self.begun.pop_front().or_else(|| self.new.pop_front())
    }

    /// An Initial began a connection: what becomes of it. `validated`: it returned a good token; `may_retry`: a Retry
    /// was not sent to it before.
    pub fn judge(
        &mut self,
        now: Instant,
        waiting: &Waiting,
        load: Load,
        validated: bool,
        may_retry: bool,
    ) -> Verdict {
        let verdict = self.verdict(now, waiting, load, validated, may_retry);
        if verdict == Verdict::Accept {
            self.flows.accepted(waiting.flow);
        } else {
            self.budget += COST - COST_LOOK;
        }
        verdict
    }

    fn verdict(
        &mut self,
        now: Instant,
        waiting: &Waiting,
        load: Load,
        validated: bool,
        may_retry: bool,
    ) -> Verdict {
        let (now_ms, ip) = (self.ms(now), waiting.remote.ip());
        if self.is_shard_full(load) || self.is_prefix_full(ip) {
            return Verdict::Ignore;
        }
        if validated {
            return self.accept_proved(now_ms, ip);
        }
        // One that only goes on does not begin: this is another beginning under the same address and id.
        let must_prove = waiting.must_prove
            || self.flows.was_retried(waiting.flow)
            || load.handshakes >= self.limits.handshakes_soft
            || waiting.goes_on && !self.charge(now_ms, ip, Toll::Unproved);
        match (must_prove, may_retry) {
            (false, _) => Verdict::Accept,
            (true, true) if self.flows.may_retry(now_ms, waiting.flow) => Verdict::Retry,
            (true, _) => Verdict::Ignore,
        }
    }

    /// Whether a TCP connection may begin. Its address is proved; the answer is never [`Verdict::Retry`]. An accepted
    /// one counts once it is [`Self::opened`]. `ip` is `None` for one that comes through a trusted proxy, whose client
    /// is not known yet.
    pub fn accept_stream(&mut self, now: Instant, ip: Option<IpAddr>, load: Load) -> Verdict {
        if self.is_shard_full(load) {
            return Verdict::Ignore;
        }
        match ip {
            Some(ip) if self.is_prefix_full(ip) => Verdict::Ignore,
            Some(ip) => self.accept_proved(self.ms(now), ip),
            None => Verdict::Accept,
        }
    }

    fn accept_proved(&mut self, now_ms: u32, ip: IpAddr) -> Verdict {
        if self.charge(now_ms, ip, Toll::Proved) {
            return Verdict::Accept;
        }
        self.counts.prefix_rate += 1;
        Verdict::Ignore
    }

    fn is_shard_full(&mut self, load: Load) -> bool {
        let Admission { connections_max, handshakes_hard, .. } = self.limits;
        let full = load.connections >= connections_max || load.handshakes >= handshakes_hard;
        self.counts.shard_full += u64::from(full);
        full
    }

    fn is_prefix_full(&mut self, ip: IpAddr) -> bool {
        let max = self.limits.prefix_connections_max;
        let full = max > 0
            && !self.is_exempt(ip)
            && self.connections.get(&Prefix::of(ip)).is_some_and(|count| *count >= max);
        self.counts.prefix_full += u64::from(full);
        full
    }

    /// A connection from `ip` was opened. Give what it returns back with [`Self::closed`] when the connection is gone,
    /// wherever its client has moved meanwhile.
    pub fn opened(&mut self, ip: IpAddr) -> Prefix {
        let prefix = Prefix::of(ip);
        *self.connections.entry(prefix).or_default() += 1;
        prefix
    }

    /// A connection is gone.
    pub fn closed(&mut self, prefix: Prefix) {
        if let Some(count) = self.connections.get_mut(&prefix) {
            *count -= 1;
            if *count == 0 {
                self.connections.remove(&prefix);
            }
        }
    }

    /// So many handshakes took so much CPU time. What is spent without beginning one counts for those that begin next.
    pub fn handshakes_took(&mut self, spent: Duration, begun: usize) {
        self.returns.record(spent, begun);
    }

    /// What a handshake costs, in CPU time.
    #[must_use]
    pub fn handshake_cost(&self) -> Duration {
        self.returns.cost()
    }

    /// In what time `sessions` and the connections of one of their networks can come back, should they all be lost at
    /// once. Zero: they need not be told, because clients spread over so much by themselves.
    #[must_use]
    pub fn return_window(&self, sessions: u64, network: Option<Prefix>) -> Duration {
        let Admission { prefix_rate: rate, .. } = self.limits;
        let network =
            network.filter(|network| rate > 0 && (self.limits.limit_loopback || !network.is_loopback()));
        // Two seconds' worth it has at once.
        let network = network.map_or(Duration::ZERO, |prefix| {
            let count = self.connections.get(&prefix).copied().unwrap_or_default();
            Duration::from_secs(1) * count.saturating_sub(rate.saturating_mul(2)) / rate
        });
        self.returns.window(sessions, network)
    }

    /// What happened so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    fn charge(&mut self, now_ms: u32, ip: IpAddr, toll: Toll) -> bool {
        self.limits.prefix_rate == 0
            || self.is_exempt(ip)
            || self.prefixes.charge(now_ms, Prefix::of(ip), toll)
    }

    fn is_exempt(&self, ip: IpAddr) -> bool {
        !self.limits.limit_loopback && ip.to_canonical().is_loopback()
    }

    /// Milliseconds since the start; wraps after 49 days, which the tables stand.
    #[expect(clippy::cast_possible_truncation, reason = "it is to wrap")]
    fn ms(&self, now: Instant) -> u32 {
        now.saturating_duration_since(self.start).as_millis() as u32
    }
}

#[cfg(test)]
#[path = "admission/tests.rs"]
mod tests;
