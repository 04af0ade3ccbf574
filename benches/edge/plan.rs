//! What is measured, for how long, and what it should come to.

use std::path::PathBuf;
use std::time::Duration;

use crate::Server;
pub(crate) use crate::measure::Measure;

/// Connections of the *crowd*: idle memory, open loop and the larger fan-out.
pub(crate) const CROWD: usize = 5_000;

/// Connections of the closed loop, of the smaller fan-out and of the durable pairs.
pub(crate) const WAITING: usize = 1_000;

/// Messages that always wait for the bare ledger's acknowledgement in its closed loop (DESIGN §12).
pub(crate) const LEDGER_IN_FLIGHT: usize = 64;

/// The most that one durable message may cost D over the sum of [`DURABLE_PARTS`].
pub(crate) const DURABLE_RATIO_MAX: f64 = 1.2;

/// The most that D's acknowledgement may take at half of its highest rate, 99th percentile.
pub(crate) const DURABLE_ACK_P99_MS_MAX: f64 = 5.0;

/// What a durable message is made of, as others do each part.
pub(crate) const DURABLE_PARTS: [(Case, Server, &str); 3] = [
    (Case::EchoClosed, Server::Default, "A's echo"),
    (Case::FanoutWaiting, Server::Default, "A's delivery"),
    (Case::Durable, Server::Ledger, "L's row"),
];

/// Open loop: messages per second over all connections of the crowd.
pub(crate) const OPEN_LOOP_PER_S: f64 = 10_000.0;

/// Handshakes under way at once: enough to keep two cores busy, too few to queue for longer than quinn's initial
/// retransmission timer (1 s).
pub(crate) const HANDSHAKES_IN_FLIGHT: usize = 64;

/// Users who are logged in while the server is flooded, and what they send together.
pub(crate) const FLOOD_USERS: usize = 400;
pub(crate) const FLOOD_USERS_PER_S: f64 = 1_000.0;

/// Handshakes that a flood begins, in capacities of the server.
pub(crate) const FLOOD: f64 = 3.0;

/// The most that their 99th percentile may grow by (issue 3).
pub(crate) const FLOOD_RATIO_MAX: f64 = 3.0;

/// Readers of the case with clients that never read, and how many of those come: one in a hundred of all.
pub(crate) const SLOW_READERS: usize = 990;
pub(crate) const SLOW: usize = 10;

/// The most that CPU and 99th percentile of the readers may grow by (issue 3).
pub(crate) const SLOW_RATIO_MAX: f64 = 1.1;

/// One question that the bench answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Case {
    EchoClosed,
    EchoOpen,
    Idle,
    Handshake,
    FanoutCrowd,
    FanoutLive,
    FanoutWaiting,
    Flood,
    Slow,
    Durable,
    DurableHalf,
}

impl Case {
    pub(crate) const ALL: [Self; 11] = [
        Self::EchoClosed,
        Self::EchoOpen,
        Self::Idle,
        Self::Handshake,
        Self::FanoutCrowd,
        Self::FanoutLive,
        Self::FanoutWaiting,
        Self::Flood,
        Self::Slow,
        Self::Durable,
        Self::DurableHalf,
    ];

    /// As given to `--only` and in the JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::EchoClosed => "echo-closed",
            Self::EchoOpen => "echo-open",
            Self::Idle => "idle",
            Self::Handshake => "handshake",
            Self::FanoutCrowd => "fanout-5000",
            Self::FanoutLive => "fanout-live",
            Self::FanoutWaiting => "fanout-1000",
            Self::Flood => "flood",
            Self::Slow => "slow",
            Self::Durable => "durable",
            Self::DurableHalf => "durable-half",
        }
    }

    /// The case as the table explains it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::EchoClosed => "echo of 200 B, closed loop: 1,000 connections, each waiting for its reply",
            Self::EchoOpen => "echo of 200 B, open loop: Poisson 10,000/s over 5,000 connections",
            Self::Idle => "idle: 5,000 connections after one echo each",
            Self::Handshake => "full handshake (TLS 1.3, X25519, ECDSA P-256), first reply, close",
            Self::FanoutCrowd => "fan-out of one 200 B message to 5,000 connections, 2/s",
            Self::FanoutLive => "live room: fan-out of one 200 B message to 5,000 members, 2/s",
            Self::FanoutWaiting => "fan-out of one 200 B message to 1,000 connections, 10/s",
            Self::Flood => {
                "400 users at 1,000 messages/s together, quiet and during 3 x as many handshakes as the server can do"
            }
            Self::Slow => {
                "fan-out of one 200 B message to 990 connections, 10/s, with and without 10 that never read"
            }
            Self::Durable => {
                "durable 1:1 message of 200 B, closed loop: D 1,000 connections, each waiting for its acknowledgement; L 64 rows"
            }
            Self::DurableHalf => "durable 1:1 message of 200 B, open loop: Poisson, half of D's highest rate",
        }
    }

    /// Who is measured.
    pub(crate) fn servers(self) -> &'static [Server] {
        match self {
            Self::Durable | Self::DurableHalf => &[Server::Durable, Server::Ledger],
            // B writes a broadcast to one connection after the other: the first that does not read stops it.
            Self::Slow => &[Server::Nearport, Server::Default],
            _ => &[Server::Nearport, Server::Default, Server::Tuned],
        }
    }

    /// What else must be measured in the same repeat, for its load or its verdict.
    pub(crate) fn needs(self) -> Vec<(Self, Server)> {
        match self {
            Self::Durable => DURABLE_PARTS.iter().map(|(case, server, _)| (*case, *server)).collect(),
            Self::DurableHalf => [Self::Durable, Self::DurableHalf]
                .into_iter()
                .flat_map(|case| [(case, Server::Durable), (case, Server::Ledger)])
                .collect(),
            _ => Vec::new(),
        }
    }

    /// What the case reports, the figure with a target first.
    pub(crate) fn measures(self) -> &'static [Measure] {
        use Measure::{
            AckP50Ms, AckP99Ms, BesideCpuUs, BesideP50Ms, BesideP99Ms, BesideRssMib, CapacityPerS,
            ClientCores, CpuUs, Datagrams, DeliveryP50Ms, DeliveryP99Ms, FloodCores, FloodPerS,
            FloodedLogins, FloodedP50Ms, FloodedP99Ms, FloodedRatio, FloodedRssMib, LoginP50Ms, OnsetP99Ms,
            OtherCpuUs, P50Ms, P99Ms, PacerLagP99Ms, PerSecond, QuietCpuUs, QuietLogins, QuietP50Ms,
            QuietP99Ms, QuietRssMib, RssBytes, ServerCores, ShardsCpuUs, SlowCpuRatio, SlowP99Ratio,
            WriterCpuUs,
        };
        match self {
            Self::EchoClosed => &[CpuUs, PerSecond, Datagrams, P50Ms, P99Ms],
            Self::EchoOpen => &[CpuUs, Datagrams, P50Ms, P99Ms, PacerLagP99Ms],
            Self::Idle => &[RssBytes],
            Self::Handshake => &[CpuUs, PerSecond, Datagrams],
            Self::FanoutCrowd | Self::FanoutLive | Self::FanoutWaiting => &[CpuUs, Datagrams, P50Ms, P99Ms],
            Self::Flood => &[
                FloodedRatio,
                QuietP50Ms,
                QuietP99Ms,
                FloodedP50Ms,
                FloodedP99Ms,
                OnsetP99Ms,
                PacerLagP99Ms,
                CapacityPerS,
                FloodPerS,
                FloodCores,
                ClientCores,
                ServerCores,
                QuietLogins,
                FloodedLogins,
                LoginP50Ms,
                QuietRssMib,
                FloodedRssMib,
            ],
            Self::Slow => &[
                SlowCpuRatio,
                SlowP99Ratio,
                QuietCpuUs,
                BesideCpuUs,
                QuietP50Ms,
                BesideP50Ms,
                QuietP99Ms,
                BesideP99Ms,
                QuietRssMib,
                BesideRssMib,
            ],
            Self::Durable => &[
                CpuUs,
                ShardsCpuUs,
                WriterCpuUs,
                OtherCpuUs,
                ServerCores,
                ClientCores,
                PerSecond,
                Datagrams,
                AckP50Ms,
                AckP99Ms,
                DeliveryP50Ms,
                DeliveryP99Ms,
            ],
            Self::DurableHalf => &[
                AckP99Ms,
                AckP50Ms,
                DeliveryP50Ms,
                DeliveryP99Ms,
                PerSecond,
                CpuUs,
                ShardsCpuUs,
                WriterCpuUs,
                OtherCpuUs,
                ServerCores,
                ClientCores,
                Datagrams,
                PacerLagP99Ms,
            ],
        }
    }

    /// The most that N / A and N / B may be for the case's first measure. A bare driver of the same shape measured 0.53,
    /// 0.78, 0.49, 0.83 and 0.58 against A.
    pub(crate) fn targets(self) -> [Option<f64>; 2] {
        match self {
            Self::EchoClosed => [Some(0.60), Some(0.65)],
            Self::EchoOpen => [Some(0.85), Some(0.90)],
            Self::Idle => [Some(0.60), Some(0.70)],
            Self::Handshake => [Some(0.90), None],
            Self::FanoutCrowd | Self::FanoutLive => [Some(0.60), Some(0.70)],
            Self::FanoutWaiting | Self::Flood | Self::Slow | Self::Durable | Self::DurableHalf => [None; 2],
        }
    }
}

/// Durations and repeats of one run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) repeats: usize,
    /// Load before a window opens: caches, congestion windows and batching reach their steady state.
    pub(crate) warm_up: Duration,
    /// Measured time of one case on one server.
    pub(crate) window: Duration,
    /// Resident memory counts as settled when two readings this far apart are equal.
    pub(crate) settle: Duration,
    /// What is done by number rather than by time is divided by this.
    pub(crate) shortened: u32,
    /// Where durable servers keep their data, each run in a fresh directory.
    pub(crate) dir: PathBuf,
}

impl Plan {
    /// About ten minutes for all servers.
    pub(crate) fn full(dir: PathBuf) -> Self {
        Self {
            repeats: 5,
            warm_up: Duration::from_secs(1),
            window: Duration::from_secs(3),
            settle: Duration::from_secs(1),
            shortened: 1,
            dir,
        }
    }

    /// About a minute for all servers.
    pub(crate) fn quick(dir: PathBuf) -> Self {
        Self {
            repeats: 1,
            warm_up: Duration::from_millis(300),
            window: Duration::from_secs(1),
            settle: Duration::from_millis(300),
            shortened: 10,
            dir,
        }
    }
}
