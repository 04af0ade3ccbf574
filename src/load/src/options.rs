//! What to run, against whom.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use nearport_client::{Locator, NetworkConfig};
use nearport_impair::Spec;
use serde::Serialize;

use crate::payload::HEADER_BYTES_MAX;

mod checks;
mod names;

/// What the clients do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scenario {
    /// Log in as fast as the server allows, then leave. Measures logins.
    Connect,
    /// Log in and stay without a word but heartbeats. Measures the server's memory per session.
    Idle,
    /// Requests that the `echo` backend answers by themselves. Measures the edge without storage.
    Echo,
    /// Users in pairs write to each other. Measures durable messages and checks that each arrives once, in order.
    Chat,
    /// `chat` at a low rate, for bad networks: what carries the sessions over time, how often and how fast clients come
    /// back.
    Weak,
    /// `chat` while every client changes its address again and again, as behind a NAT that forgets. Counts the sessions
    /// that live through it.
    Roam,
    /// `chat` while the server dies and comes back. Measures how long it takes until every client is back.
    Storm,
    /// Groups with many members, of whom some are online and write. Checks that each message reaches every member online once, in
    /// order, and counts the rows that it costs.
    Group,
    /// A live room with many members in which a few speak, and beside it users in pairs, if wanted. Checks that each member gets what the
    /// room did not fold.
    Live,
    /// Questions of many networks to the addressing service over HTTP. Measures answers.
    Locate,
}

/// How the clients connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// QUIC version 1.
    Quic,
    /// TLS 1.3 over TCP.
    Tls,
    /// WebSocket over HTTPS.
    Ws,
    /// WebTransport over HTTP/3.
    Wt,
    /// Whatever comes through first, as applications do it.
    Auto,
}

/// Who changes the clients' addresses (`roam`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RebindBy {
    /// A NAT that forgets, each client at a time of its own: clients do not notice.
    #[default]
    Nat,
    /// The clients themselves, as when a device changes its network: the SDK takes new sockets and asks the server. A tenth of the
    /// clients at a time.
    Client,
}

/// A part of the SDK's tuning for bad networks that a run can do without, to see what it buys
/// ([`nearport_client::Tuning`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tuned {
    /// Second copies of small messages as datagrams on lossy paths, in both directions.
    Hedging,
    /// The round trip of the last visit as the first guess of the next one.
    RttMemory,
    /// A guess of 100 ms without a last visit: QUIC's own 333 ms instead, and no memory.
    InitialRtt,
}

/// How important something is that is said in a live room (`live`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LiveClass {
    /// High priority.
    Gift,
    /// Text.
    Chat,
    /// Low priority.
    Like,
}

/// When messages are due within the rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pattern {
    /// Independent of each other, as those of many people are: exponential gaps, random senders.
    #[default]
    Poisson,
    /// Evenly spaced, senders in turn.
    Fixed,
}

/// What to run. [`Options::new`] has the defaults.
#[derive(Debug, Clone)]
pub struct Options {
    /// What the clients do.
    pub scenario: Scenario,
    /// How they connect.
    pub transport: Transport,
    /// Clients, each with its own connection and user: `load-0`, `load-1`, … Default 100; `chat` wants an even number.
    pub connections: u32,
    /// What the users' names begin with. A second run at the same time with the same names takes the sessions of the
    /// first. Default `load`.
    pub users: String,
    /// Messages per second over all clients (`echo`, `chat`). Default 1,000.
    pub rate: u32,
    /// When they are due.
    pub pattern: Pattern,
    /// Length of the measured window. Default 30 s.
    pub duration: Duration,
    /// Sending before the window begins, at the same rate. These messages are accounted for (sent, lost, …) but not in
    /// latencies, rates and CPU time. Default 0.
    pub warmup: Duration,
    /// Length of a message's text, in bytes; shorter ones than the header (about 60) are as long as that. Default
    /// 200, as in the design's own measurements.
    pub message_bytes: usize,
    /// Process of the server, if it runs on this machine: its CPU time and memory go into the report.
    pub server_pid: Option<u32>,
    /// Logins, and good-byes, under way at once. Default 256: enough to keep two cores of a server busy, few enough
    /// that none waits for its time-out.
    pub logins_max: usize,
    /// How long one login may take. Default 30 s.
    pub login_timeout: Duration,
    /// How long to wait, after the last message was due, for acknowledgements and deliveries that are still missing.
    /// It ends as soon as none is. Default 60 s: twice the longest back-off of a client whose server was away.
    pub drain_timeout: Duration,
    /// UDP sockets that the clients share. Default: 8, as one port's queue in the kernel has an end; in `live` one for 500 clients, to
    /// whom every message comes at the same time; in `weak` and `roam` one for each client, as each device has a path and a NAT
    /// of its own.
    pub sockets: usize,
    /// Threads that the clients run on. Default 1: a thread more costs each message something, and takes it from a server on the same
    /// machine. In `live` over QUIC: threads of those who only read along, at a lower priority.
    pub threads: usize,
    /// A bad network for UDP: the clients' datagrams go through a relay in this process. `None`: there is none, but in
    /// `roam`, where the relay is the NAT.
    pub impair: Option<Spec>,
    /// What the clients do without. Default: nothing.
    pub without: Vec<Tuned>,
    /// What clients ask the server to acknowledge within; theirs are the server's to ask for (`edge.ack_delay`). Default: nothing.
    pub ack_delay: Option<Duration>,
    /// How often each client changes its address (`roam`). Default 10.
    pub rebinds: u32,
    /// Who changes it (`roam`).
    pub rebind_by: RebindBy,
    /// Kill the server's process so long after the window has begun (`storm`). `None`: somebody else does it.
    pub kill_after: Option<Duration>,
    /// Shell command that starts the server again after it was killed (`storm`); it is ended with the run.
    pub restart_cmd: Option<String>,
    /// Clients learn of the server's death within this time, evenly (`storm`). `None`: TCP at once, UDP at its next
    /// heartbeat.
    pub notice: Option<Duration>,
    /// Address of the server's HTTP endpoint for operations: counters of the edge go into the report (`roam`).
    pub ops: Option<SocketAddr>,
    /// Address of the addressing service (`locate`), HTTP without TLS: a service or its proxy on this machine or next to it. This
    /// machine must be one of its forwarders. `None`: the server's address.
    pub api: Option<SocketAddr>,
    /// Networks that ask (`locate`), 1 to 1,000,000. `None`: 10,000; of each the service answers 50 in a second.
    pub networks: Option<u32>,
    /// Groups (`group`). Default 10.
    pub groups: u32,
    /// Members of each group, online or not (`group`). Default 2,000.
    pub members: u32,
    /// Members of each group that are online, each with its own connection (`group`): there are `groups` times as many
    /// connections. Default 200.
    pub online: u32,
    /// Messages per second in the first group instead of `rate`, which counts for each of the others (`group`).
    pub hot_rate: Option<u32>,
    /// Joins per second (`live`); 0, the default: as fast as the server takes them.
    pub join_rate: u32,
    /// Classes of what is said in the room, in turn (`live`). Empty, the default: talk.
    pub classes: Vec<LiveClass>,
    /// Messages per second between users in pairs, beside the room and before it (`live`). Default 0: none.
    pub chat_rate: u32,
    /// Users in pairs (`live`), an even number. Default 100.
    pub chat_connections: u32,
    /// How long the pairs are measured before anybody joins (`live`). Default 20 s.
    pub quiet: Duration,
    /// Seed of [`Pattern::Poisson`]. The same options give the same schedule. Default 1.
    pub seed: u64,
    /// What the program was built from, for the report.
    pub commit: Option<String>,
}

/// How to get in.
pub struct Credentials {
    /// Address of the edge.
    pub server: SocketAddr,
    /// Name in its certificate.
    pub server_name: String,
    /// Finds an edge instead, for each client.
    pub locate: Option<Locator>,
    /// Whom to trust. The number of sockets, resumption and the proxy are the load tool's.
    pub network: NetworkConfig,
    /// App (`sdkappid`).
    pub app: u32,
    /// Signs a UserSig for a user. Called once per client, between logins.
    pub usersig: Box<dyn Fn(&str) -> String + Send + Sync>,
}

/// Longest text of a message: an encoded content may have 12 KiB, and its frame around the text needs a few bytes.
const MESSAGE_BYTES_MAX: usize = 12 * 1024 - 16;

/// UDP sockets, unless told otherwise.
const SOCKETS: usize = 8;

/// Members of a live room on one socket. Its queue of 4 MiB (which the kernel doubles, and charges a small datagram with 1.3 to 2.3 KB) then
/// takes several messages to the whole room while nobody reads.
const LIVE_PER_SOCKET: u32 = 500;

/// Members of a live room that speak, in turn. They are the SDK's in any case.
pub(crate) const SPEAKERS_MAX: usize = 50;

/// Networks that ask, unless told otherwise.
const NETWORKS: u32 = 10_000;

impl Options {
    /// Defaults for a scenario.
    #[must_use]
    pub fn new(scenario: Scenario) -> Self {
        let defaults = Self {
            scenario,
            transport: Transport::Quic,
            connections: 100,
            users: "load".into(),
            rate: 1_000,
            pattern: Pattern::default(),
            duration: Duration::from_secs(30),
            warmup: Duration::ZERO,
            message_bytes: 200,
            server_pid: None,
            logins_max: 256,
            login_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(60),
            sockets: SOCKETS,
            threads: 1,
            impair: None,
            without: Vec::new(),
            ack_delay: None,
            rebinds: 10,
            rebind_by: RebindBy::default(),
            kill_after: None,
            restart_cmd: None,
            notice: None,
            ops: None,
            api: None,
            networks: None,
            groups: 10,
            members: 2_000,
            online: 200,
            hot_rate: None,
            join_rate: 0,
            classes: Vec::new(),
            chat_rate: 0,
            chat_connections: 100,
            quiet: Duration::from_secs(20),
            seed: 1,
            commit: None,
        };
        match scenario {
            Scenario::Connect | Scenario::Idle | Scenario::Echo | Scenario::Chat | Scenario::Locate => {
                defaults
            }
            Scenario::Group => Self { connections: 2_000, rate: 10, ..defaults },
            // Two messages a second from each: what is measured is the network, not a queue.
            Scenario::Weak => Self { connections: 40, rate: 80, logins_max: 8, sockets: 40, ..defaults },
            Scenario::Roam => Self { connections: 1_000, sockets: 1_000, ..defaults },
            // As many as read along in a room of some size, at the pace of people.
            Scenario::Live => Self { connections: 1_000, rate: 2, ..defaults },
            Scenario::Storm => Self { connections: 1_000, rate: 200, ..defaults },
        }
    }

    /// Changes the number of clients, and of the sockets that follow it.
    pub fn set_connections(&mut self, connections: u32) {
        self.connections = connections;
        match self.scenario {
            Scenario::Weak | Scenario::Roam => self.sockets = connections as usize,
            Scenario::Live => self.sockets = SOCKETS.max(connections.div_ceil(LIVE_PER_SOCKET) as usize),
            _ => {}
        }
    }

    /// Changes how many groups there are and who is in them, and the connections that follow from it.
    pub fn set_groups(&mut self, groups: u32, members: u32, online: u32) {
        (self.groups, self.members, self.online) = (groups, members, online);
        self.connections = groups.saturating_mul(online);
    }

    /// Messages per second over all clients.
    pub(crate) fn total_rate(&self) -> u32 {
        match self.scenario {
            Scenario::Group => {
                let first = self.hot_rate.unwrap_or(self.rate);
                self.rate.saturating_mul(self.groups.saturating_sub(1)).saturating_add(first)
            }
            _ => self.rate,
        }
    }

    /// Who sends, as far as a schedule has to tell them apart: clients, or in `group` units of the rate, each of one group.
    pub(crate) fn senders(&self) -> usize {
        match self.scenario {
            Scenario::Group => self.total_rate() as usize,
            _ => self.connections as usize,
        }
    }

    /// Networks that ask (`locate`).
    pub(crate) fn networks(&self) -> u32 {
        self.networks.unwrap_or(NETWORKS)
    }

    /// Classes of what is said, in turn (`live`).
    pub(crate) fn live_classes(&self) -> Vec<LiveClass> {
        if self.classes.is_empty() { vec![LiveClass::Chat] } else { self.classes.clone() }
    }

    /// Whether those who only read along in a live room do without the SDK (`crowd`). Everything but QUIC to one address is the
    /// SDK's to find its way with.
    pub(crate) fn has_crowd(&self, credentials: &Credentials) -> bool {
        let many = self.connections as usize > SPEAKERS_MAX;
        self.scenario == Scenario::Live
            && many
            && self.transport == Transport::Quic
            && credentials.locate.is_none()
    }

    /// Whether clients move by themselves.
    pub(crate) fn clients_move(&self) -> bool {
        self.scenario == Scenario::Roam && self.rebind_by == RebindBy::Client
    }

    /// Time between two changes of a client's address (`roam`).
    pub(crate) fn rebind_period(&self) -> Duration {
        self.duration / self.rebinds.max(1)
    }

    /// Length that a message's text really has at least.
    pub(crate) fn text_bytes(&self) -> usize {
        self.message_bytes.min(MESSAGE_BYTES_MAX)
    }
}

const _: () = assert!(HEADER_BYTES_MAX < MESSAGE_BYTES_MAX, "a header alone fits in a message");

impl fmt::Debug for Credentials {
    /// Without what signs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("server", &self.server)
            .field("server_name", &self.server_name)
            .field("app", &self.app)
            .finish_non_exhaustive()
    }
}
