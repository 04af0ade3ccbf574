//! What to run, against whom.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use nearport_client::{Locator, NetworkConfig, Tuning};
use nearport_impair::Spec;
use serde::Serialize;

use crate::Error;
use crate::payload::HEADER_BYTES_MAX;

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

impl FromStr for LiveClass {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "gift" => Ok(Self::Gift),
            "chat" => Ok(Self::Chat),
            "like" => Ok(Self::Like),
            _ => Err(Error::Options(format!("unknown class {name:?}: known are gift, chat, like"))),
        }
    }
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
    /// UDP sockets that the clients share. Default: 8, as one port's queue in the kernel has an end; in `weak` and `roam` one
    /// for each client, as each device has a path and a NAT of its own.
    pub sockets: usize,
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

/// Below this the relay would make sockets faster than packets.
const REBIND_PERIOD_MIN: Duration = Duration::from_millis(200);

/// More than this is likely a typing mistake, and a process would run out of memory (about 40 KB each).
const CONNECTIONS_MAX: u32 = 200_000;

/// Networks that ask, unless told otherwise.
const NETWORKS: u32 = 10_000;

/// Beyond this networks would meet in one /24.
const NETWORKS_MAX: u32 = 1_000_000;

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
            sockets: 8,
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
        let own_socket_each = matches!(self.scenario, Scenario::Weak | Scenario::Roam);
        self.connections = connections;
        if own_socket_each {
            self.sockets = connections as usize;
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

    /// Whether the options make sense together; [`run`](crate::run) asks by itself.
    ///
    /// # Errors
    /// [`Error::Options`] with the first that does not.
    pub fn check(&self) -> Result<(), Error> {
        let scenario = self.scenario;
        let sends = matches!(scenario, Scenario::Echo | Scenario::Locate | Scenario::Group | Scenario::Live)
            || scenario.is_chat();
        let only_for =
            |option: &str, of: Scenario| format!("{option} belongs to scenario {of}, not {scenario}");
        let wrong = if !(1..=CONNECTIONS_MAX).contains(&self.connections) {
            format!("connections must be 1 to {CONNECTIONS_MAX}, not {}", self.connections)
        } else if scenario.is_chat() && !self.connections.is_multiple_of(2) {
            format!("scenario {scenario} works in pairs: connections must be even, not {}", self.connections)
        } else if sends && self.rate == 0 {
            "rate must be at least 1".into()
        } else if scenario != Scenario::Connect && self.duration.is_zero() {
            "duration must be longer than zero".into()
        } else if scenario != Scenario::Live && (self.chat_rate > 0 || self.join_rate > 0) {
            only_for("join_rate and chat_rate", Scenario::Live)
        } else if scenario != Scenario::Live && !self.classes.is_empty() {
            only_for("classes", Scenario::Live)
        } else if self.chat_rate > 0
            && (self.chat_connections == 0 || !self.chat_connections.is_multiple_of(2))
        {
            format!("chat_connections must be even, not {}", self.chat_connections)
        } else if self.chat_rate > 0 && self.quiet.is_zero() {
            "quiet must be longer than zero".into()
        } else if self.message_bytes > MESSAGE_BYTES_MAX {
            format!("message_bytes must be at most {MESSAGE_BYTES_MAX}, not {}", self.message_bytes)
        } else if self.logins_max == 0 || self.sockets == 0 {
            "logins_max and sockets must be at least 1".into()
        } else if scenario == Scenario::Group && (self.groups == 0 || self.online < 2) {
            "a group scenario has at least one group, and two of its members online".into()
        } else if scenario == Scenario::Group && self.members < self.online {
            format!("{} members online are more than there are members, {}", self.online, self.members)
        } else if scenario == Scenario::Group && self.connections != self.groups.saturating_mul(self.online) {
            "scenario group connects every member online: set groups and online instead of connections".into()
        } else if scenario == Scenario::Group && self.hot_rate == Some(0) {
            "hot_rate must be at least 1".into()
        } else if scenario != Scenario::Group && self.hot_rate.is_some() {
            only_for("hot_rate", Scenario::Group)
        } else if scenario != Scenario::Locate && self.api.is_some() {
            only_for("api", Scenario::Locate)
        } else if scenario != Scenario::Locate && self.networks.is_some() {
            only_for("networks", Scenario::Locate)
        } else if scenario == Scenario::Locate && self.impair.is_some() {
            "impair works on UDP, and scenario locate asks over TCP".into()
        } else if !(1..=NETWORKS_MAX).contains(&self.networks()) {
            format!("networks must be 1 to {NETWORKS_MAX}, not {}", self.networks())
        } else if self.impair.is_some() && !self.transport.is_udp() {
            format!(
                "impair works on UDP: a relay can lose no packets of {}, because TCP sends them again below it. Packets of TCP are \
                 lost in the laboratory: cargo bench --bench matrix",
                self.transport
            )
        } else if scenario == Scenario::Roam && !self.transport.is_udp() {
            format!(
                "scenario roam changes addresses, which no connection of {} survives: use quic or wt",
                self.transport
            )
        } else if scenario == Scenario::Roam && !(1..=1_000).contains(&self.rebinds) {
            format!("rebinds must be 1 to 1000, not {}", self.rebinds)
        } else if scenario == Scenario::Roam && self.rebind_period() < REBIND_PERIOD_MIN {
            format!(
                "{} rebinds in {:?} are more than one each {REBIND_PERIOD_MIN:?}",
                self.rebinds, self.duration
            )
        } else if scenario == Scenario::Roam && self.impair.as_ref().is_some_and(|spec| spec.rebind.is_some())
        {
            "scenario roam sets rebind by itself: leave it out of impair".into()
        } else if scenario != Scenario::Storm && self.kill_after.is_some() {
            only_for("kill_after", Scenario::Storm)
        } else if scenario != Scenario::Storm && self.restart_cmd.is_some() {
            only_for("restart_cmd", Scenario::Storm)
        } else if self.kill_after.is_some() && self.server_pid.is_none() {
            "kill_after needs server_pid, the process to kill".into()
        } else if self.kill_after.is_some_and(|after| after >= self.duration) {
            "kill_after must be shorter than duration".into()
        } else if self.restart_cmd.is_some() && self.kill_after.is_none() {
            "restart_cmd needs kill_after: who kills the server by hand also starts it".into()
        } else if self.notice.is_some() && self.kill_after.is_none() {
            "notice needs kill_after: it counts from there".into()
        } else {
            return Ok(());
        };
        Err(Error::Options(wrong))
    }

    /// Networks that ask (`locate`).
    pub(crate) fn networks(&self) -> u32 {
        self.networks.unwrap_or(NETWORKS)
    }

    /// Classes of what is said, in turn (`live`).
    pub(crate) fn live_classes(&self) -> Vec<LiveClass> {
        if self.classes.is_empty() { vec![LiveClass::Chat] } else { self.classes.clone() }
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

impl Scenario {
    /// Every scenario.
    pub const ALL: [Self; 10] = [
        Self::Connect,
        Self::Idle,
        Self::Echo,
        Self::Chat,
        Self::Group,
        Self::Weak,
        Self::Roam,
        Self::Storm,
        Self::Live,
        Self::Locate,
    ];

    /// As on the command line and in the report.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Idle => "idle",
            Self::Echo => "echo",
            Self::Chat => "chat",
            Self::Group => "group",
            Self::Weak => "weak",
            Self::Roam => "roam",
            Self::Storm => "storm",
            Self::Live => "live",
            Self::Locate => "locate",
        }
    }

    /// Whether users in pairs write to each other.
    pub(crate) fn is_chat(self) -> bool {
        matches!(self, Self::Chat | Self::Weak | Self::Roam | Self::Storm)
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Scenario {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|scenario| scenario.name() == name).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            Error::Options(format!("unknown scenario {name:?}: known are {known}"))
        })
    }
}

impl Tuned {
    /// Every part.
    pub const ALL: [Self; 3] = [Self::Hedging, Self::RttMemory, Self::InitialRtt];

    /// As on the command line and in the report.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hedging => "hedging",
            Self::RttMemory => "rtt-memory",
            Self::InitialRtt => "initial-rtt",
        }
    }

    /// Takes it out.
    pub(crate) fn remove_from(self, tuning: &mut Tuning) {
        match self {
            Self::Hedging => tuning.datagrams = false,
            Self::RttMemory => tuning.remembered_rtt = false,
            Self::InitialRtt => (tuning.remembered_rtt, tuning.initial_rtt) = (false, None),
        }
    }
}

impl FromStr for Tuned {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|part| part.name() == name).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            Error::Options(format!("unknown {name:?}: known are {known}"))
        })
    }
}

impl FromStr for RebindBy {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "nat" => Ok(Self::Nat),
            "client" => Ok(Self::Client),
            _ => Err(Error::Options(format!("unknown {name:?}: known are nat, client"))),
        }
    }
}

impl Transport {
    /// Every way.
    pub const ALL: [Self; 5] = [Self::Quic, Self::Tls, Self::Ws, Self::Wt, Self::Auto];

    /// As on the command line and in the report.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.only().map_or("auto", nearport_client::Transport::name)
    }

    /// Whether all of it goes over UDP.
    #[must_use]
    pub fn is_udp(self) -> bool {
        self.only().is_some_and(nearport_client::Transport::is_udp)
    }

    /// The one transport that clients may use; `None`: what the SDK uses by itself.
    pub(crate) fn only(self) -> Option<nearport_client::Transport> {
        use nearport_client::Transport as Sdk;
        match self {
            Self::Quic => Some(Sdk::Quic),
            Self::Tls => Some(Sdk::Tls),
            Self::Ws => Some(Sdk::WebSocket),
            Self::Wt => Some(Sdk::WebTransport),
            Self::Auto => None,
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Transport {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|transport| transport.name() == name).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            Error::Options(format!("unknown transport {name:?}: known are {known}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use nearport_client::core::{Core, CoreConfig};
    use nearport_client::{Acks, Limits, Platform, Receive, text, user};

    use super::*;

    #[test]
    fn each_mistake_has_its_words() {
        assert!(Scenario::ALL.into_iter().all(|scenario| Options::new(scenario).check().is_ok()));
        type Spoil = fn(&mut Options);
        let cases: [(Scenario, &str, Spoil); 25] = [
            (Scenario::Group, "two of its members", |o| o.set_groups(3, 9, 1)),
            (Scenario::Group, "more than there are members", |o| o.set_groups(3, 4, 5)),
            (Scenario::Group, "instead of connections", |o| o.connections = 7),
            (Scenario::Group, "hot_rate must be", |o| o.hot_rate = Some(0)),
            (Scenario::Chat, "hot_rate belongs to", |o| o.hot_rate = Some(1)),
            (Scenario::Chat, "connections must be 1", |o| o.connections = 0),
            (Scenario::Chat, "connections must be 1", |o| o.connections = CONNECTIONS_MAX + 1),
            (Scenario::Chat, "pairs", |o| o.connections = 3),
            (Scenario::Weak, "scenario weak works in pairs", |o| o.connections = 3),
            (Scenario::Chat, "rate", |o| o.rate = 0),
            (Scenario::Chat, "duration", |o| o.duration = Duration::ZERO),
            (Scenario::Chat, "message_bytes", |o| o.message_bytes = 12 * 1024),
            (Scenario::Chat, "sockets", |o| o.sockets = 0),
            (Scenario::Weak, "cargo bench --bench matrix", |o| {
                (o.transport, o.impair) = (Transport::Tls, Some(Spec::default()));
            }),
            (Scenario::Roam, "use quic or wt", |o| o.transport = Transport::Auto),
            (Scenario::Roam, "rebinds must be 1", |o| o.rebinds = 0),
            (Scenario::Roam, "more than one each 200ms", |o| o.rebinds = 1_000),
            (Scenario::Chat, "kill_after belongs to scenario storm, not chat", |o| {
                o.kill_after = Some(o.duration)
            }),
            (Scenario::Echo, "api belongs to scenario locate, not echo", |o| {
                o.api = Some(SocketAddr::from(([127, 0, 0, 1], 1)));
            }),
            (Scenario::Weak, "networks belongs to scenario locate, not weak", |o| o.networks = Some(5)),
            (Scenario::Locate, "networks must be 1 to 1000000, not 0", |o| o.networks = Some(0)),
            (Scenario::Storm, "needs server_pid", |o| o.kill_after = Some(o.duration)),
            (Scenario::Storm, "shorter than duration", |o| {
                (o.kill_after, o.server_pid) = (Some(o.duration), Some(1));
            }),
            (Scenario::Storm, "restart_cmd needs kill_after", |o| o.restart_cmd = Some("true".into())),
            (Scenario::Storm, "notice needs kill_after", |o| o.notice = Some(o.duration)),
        ];
        for (scenario, words, spoil) in cases {
            let mut options = Options::new(scenario);
            spoil(&mut options);
            let error = options.check().unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn names_read_back() {
        for scenario in Scenario::ALL {
            assert_eq!(scenario.name().parse::<Scenario>().unwrap(), scenario);
        }
        for part in Tuned::ALL {
            assert_eq!(part.name().parse::<Tuned>().unwrap(), part);
        }
        for transport in Transport::ALL {
            assert_eq!(transport.name().parse::<Transport>().unwrap(), transport);
        }
        assert!(
            "Chat"
                .parse::<Scenario>()
                .unwrap_err()
                .to_string()
                .contains("connect, idle, echo, chat, group, weak")
        );
        assert!("udp".parse::<Transport>().unwrap_err().to_string().contains("quic, tls, ws, wt, auto"));
    }

    #[test]
    fn the_sdk_takes_the_longest_text_and_only_a_little_more_is_refused() {
        let now = std::time::Instant::now();
        let core = CoreConfig {
            app: 1,
            user: "load-0".into(),
            device: "load".into(),
            platform: Platform::Other,
            usersig: String::new(),
            client: String::new(),
            cursor: None,
            resume: None,
            follow: nearport_client::Follow::Nothing,
            groups: Vec::new(),
            acks: Acks::default(),
            receive: Receive::default(),
            limits: Limits::default(),
            seed: 1,
        };
        let mut core = Core::new(core, now);
        let mut post = |bytes: usize| core.send(now, user("load-1"), text("x".repeat(bytes)), false);
        post(MESSAGE_BYTES_MAX).unwrap();
        post(MESSAGE_BYTES_MAX + 16).unwrap_err();
    }
}
