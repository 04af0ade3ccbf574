//! What is measured, for how long, and what it should come to.

use std::time::Duration;

/// Connections of the *crowd*: idle memory, open loop and the larger fan-out.
pub(crate) const CROWD: usize = 5_000;

/// Connections of the closed loop and the smaller fan-out.
pub(crate) const WAITING: usize = 1_000;

/// Open loop: messages per second over all connections of the crowd.
pub(crate) const OPEN_LOOP_PER_S: f64 = 10_000.0;

/// Handshakes under way at once: enough to keep two cores busy, too few to queue for longer than quinn's initial
/// retransmission timer (1 s).
pub(crate) const HANDSHAKES_IN_FLIGHT: usize = 64;

/// One question that the bench answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Case {
    EchoClosed,
    EchoOpen,
    Idle,
    Handshake,
    FanoutCrowd,
    FanoutWaiting,
}

impl Case {
    pub(crate) const ALL: [Self; 6] = [
        Self::EchoClosed,
        Self::EchoOpen,
        Self::Idle,
        Self::Handshake,
        Self::FanoutCrowd,
        Self::FanoutWaiting,
    ];

    /// As given to `--only` and in the JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::EchoClosed => "echo-closed",
            Self::EchoOpen => "echo-open",
            Self::Idle => "idle",
            Self::Handshake => "handshake",
            Self::FanoutCrowd => "fanout-5000",
            Self::FanoutWaiting => "fanout-1000",
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
            Self::FanoutWaiting => "fan-out of one 200 B message to 1,000 connections, 10/s",
        }
    }

    /// What the case reports, the figure with a target first.
    pub(crate) fn measures(self) -> &'static [Measure] {
        use Measure::{CpuUs, Datagrams, P50Ms, P99Ms, PacerLagP99Ms, PerSecond, RssBytes};
        match self {
            Self::EchoClosed => &[CpuUs, PerSecond, Datagrams, P50Ms, P99Ms],
            Self::EchoOpen => &[CpuUs, Datagrams, P50Ms, P99Ms, PacerLagP99Ms],
            Self::Idle => &[RssBytes],
            Self::Handshake => &[CpuUs, PerSecond, Datagrams],
            Self::FanoutCrowd | Self::FanoutWaiting => &[CpuUs, Datagrams, P50Ms, P99Ms],
        }
    }

    /// The most that N / A may be for the case's first measure. Source: DESIGN §12, where a bare driver of the same
    /// shape measured 0.53, 0.78, 0.49, 0.83 and 0.58.
    pub(crate) fn target_against_default(self) -> Option<f64> {
        match self {
            Self::EchoClosed | Self::FanoutCrowd => Some(0.70),
            Self::EchoOpen => Some(0.95),
            Self::Idle => Some(0.60),
            Self::Handshake => Some(1.0),
            Self::FanoutWaiting => None,
        }
    }
}

/// One figure of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Measure {
    /// Server CPU per message, delivery or handshake.
    CpuUs,
    /// Messages or handshakes per second; client and server share the machine.
    PerSecond,
    /// UDP datagrams in both directions, as the client counts them: most of a message's cost (DESIGN §12).
    Datagrams,
    /// Growth of the server's resident memory per connection.
    RssBytes,
    /// From the intended send time to the arrival at the client.
    P50Ms,
    P99Ms,
    /// How late the generator itself was: what of the latency is not the server's.
    PacerLagP99Ms,
}

impl Measure {
    /// As in the JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CpuUs => "server_cpu_us",
            Self::PerSecond => "per_s",
            Self::Datagrams => "datagrams",
            Self::RssBytes => "server_rss_bytes",
            Self::P50Ms => "p50_ms",
            Self::P99Ms => "p99_ms",
            Self::PacerLagP99Ms => "generator_lag_p99_ms",
        }
    }

    /// As in the table.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::CpuUs => "server CPU us each",
            Self::PerSecond => "per second",
            Self::Datagrams => "datagrams each, both ways",
            Self::RssBytes => "server RSS bytes each",
            Self::P50Ms => "p50 ms",
            Self::P99Ms => "p99 ms",
            Self::PacerLagP99Ms => "generator's own lag, p99 ms",
        }
    }

    /// Digits after the point in the table.
    pub(crate) fn digits(self) -> usize {
        match self {
            Self::CpuUs => 1,
            Self::PerSecond | Self::RssBytes => 0,
            Self::Datagrams | Self::P50Ms | Self::P99Ms | Self::PacerLagP99Ms => 2,
        }
    }
}

/// Durations and repeats of one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) repeats: usize,
    /// Load before a window opens: caches, congestion windows and batching reach their steady state.
    pub(crate) warm_up: Duration,
    /// Measured time of one case on one server.
    pub(crate) window: Duration,
    /// Resident memory counts as settled when two readings this far apart are equal.
    pub(crate) settle: Duration,
}

impl Plan {
    /// About eight minutes for three servers.
    pub(crate) fn full() -> Self {
        Self {
            repeats: 5,
            warm_up: Duration::from_secs(1),
            window: Duration::from_secs(3),
            settle: Duration::from_secs(1),
        }
    }

    /// Under a minute for three servers.
    pub(crate) fn quick() -> Self {
        Self {
            repeats: 1,
            warm_up: Duration::from_millis(300),
            window: Duration::from_secs(1),
            settle: Duration::from_millis(300),
        }
    }
}
