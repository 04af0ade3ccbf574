//! What to run, against whom.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

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
}

/// How the clients connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// QUIC version 1.
    Quic,
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
    /// Clients, each with its own connection and user: `load-0`, `load-1`, … A second run at the same time takes
    /// the sessions of the first. Default 100; `chat` wants an even number.
    pub connections: u32,
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
    /// UDP sockets that the clients share. Default 8: one port's queue in the kernel has an end.
    pub sockets: usize,
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
    /// PEM file with the certificate authority, as read.
    pub ca_pem: Vec<u8>,
    /// App (`sdkappid`).
    pub app: u32,
    /// Signs a UserSig for a user. Called once per client, between logins.
    pub usersig: Box<dyn Fn(&str) -> String + Send + Sync>,
}

/// Longest text of a message: an encoded content may have 12 KiB, and its frame around the text needs a few bytes.
const MESSAGE_BYTES_MAX: usize = 12 * 1024 - 16;

/// More than this is likely a typing mistake, and a process would run out of memory (about 40 KB each).
const CONNECTIONS_MAX: u32 = 200_000;

impl Options {
    /// Defaults for a scenario.
    #[must_use]
    pub fn new(scenario: Scenario) -> Self {
        Self {
            scenario,
            transport: Transport::Quic,
            connections: 100,
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
            seed: 1,
            commit: None,
        }
    }

    /// Whether the options make sense together; [`run`](crate::run) asks by itself.
    ///
    /// # Errors
    /// [`Error::Options`] with the first that does not.
    pub fn check(&self) -> Result<(), Error> {
        let sends = matches!(self.scenario, Scenario::Echo | Scenario::Chat);
        let wrong = if !(1..=CONNECTIONS_MAX).contains(&self.connections) {
            format!("connections must be 1 to {CONNECTIONS_MAX}, not {}", self.connections)
        } else if self.scenario == Scenario::Chat && !self.connections.is_multiple_of(2) {
            format!("scenario chat works in pairs: connections must be even, not {}", self.connections)
        } else if sends && self.rate == 0 {
            "rate must be at least 1".into()
        } else if self.scenario != Scenario::Connect && self.duration.is_zero() {
            "duration must be longer than zero".into()
        } else if self.message_bytes > MESSAGE_BYTES_MAX {
            format!("message_bytes must be at most {MESSAGE_BYTES_MAX}, not {}", self.message_bytes)
        } else if self.logins_max == 0 || self.sockets == 0 {
            "logins_max and sockets must be at least 1".into()
        } else {
            return Ok(());
        };
        Err(Error::Options(wrong))
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
    pub const ALL: [Self; 4] = [Self::Connect, Self::Idle, Self::Echo, Self::Chat];

    /// As on the command line and in the report.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Idle => "idle",
            Self::Echo => "echo",
            Self::Chat => "chat",
        }
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

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quic => f.write_str("quic"),
        }
    }
}

impl FromStr for Transport {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "quic" => Ok(Self::Quic),
            _ => Err(Error::Options(format!("unknown transport {name:?}: known is quic"))),
        }
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
        let cases: [(&str, Spoil); 7] = [
            ("connections must be 1", |o| o.connections = 0),
            ("connections must be 1", |o| o.connections = CONNECTIONS_MAX + 1),
            ("pairs", |o| o.connections = 3),
            ("rate", |o| o.rate = 0),
            ("duration", |o| o.duration = Duration::ZERO),
            ("message_bytes", |o| o.message_bytes = 12 * 1024),
            ("sockets", |o| o.sockets = 0),
        ];
        for (words, spoil) in cases {
            let mut options = Options::new(Scenario::Chat);
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
        assert_eq!("quic".parse::<Transport>().unwrap(), Transport::Quic);
        assert!("Chat".parse::<Scenario>().unwrap_err().to_string().contains("connect, idle, echo, chat"));
        assert!("tls".parse::<Transport>().is_err());
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
