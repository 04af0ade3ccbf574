//! How bad a network is.

use std::fmt;
use std::time::Duration;

use crate::path::Protocol;

/// MTU steps, and closed windows, of one direction; more are refused.
pub const WINDOWS_MAX: usize = 16;

/// A probability in parts of a million, so that it prints as it was read and compares equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord, Hash)]
pub struct Chance(u32);

impl Chance {
    /// Never.
    pub const NEVER: Self = Self(0);
    /// Always.
    pub const ALWAYS: Self = Self(1_000_000);

    /// Parts of a million; more than all of them counts as [`Self::ALWAYS`].
    #[must_use]
    pub const fn ppm(ppm: u32) -> Self {
        Self(if ppm > Self::ALWAYS.0 { Self::ALWAYS.0 } else { ppm })
    }

    /// Whole percents; more than a hundred count as [`Self::ALWAYS`].
    #[must_use]
    pub const fn percent(percent: u32) -> Self {
        Self::ppm(percent.saturating_mul(10_000))
    }

    /// Parts of a million.
    #[must_use]
    pub const fn as_ppm(self) -> u32 {
        self.0
    }

    /// 0 to 1.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        f64::from(self.0) / 1e6
    }
}

/// Percent, with as many decimals as it has.
impl fmt::Display for Chance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 10_000, self.0 % 10_000);
        let text = format!("{whole}.{rest:04}");
        write!(f, "{}%", text.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// Loss in bursts: the two-state model of Gilbert (1960) and Elliott (1963), with a step per packet as in Linux's `netem`.
///
/// In the good state nothing is lost by it. It turns bad with probability `p` and good again with `r` at each packet, so a
/// bad state lasts `1/r` packets on average and a share `p / (p + r)` of packets falls into one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Burst {
    mean: Chance,
    packets: u32,
    bad_loss: Chance,
}

impl Burst {
    /// Packets of a burst, if nothing else is said.
    pub const PACKETS: u32 = 5;

    /// From what people say: the share of all packets that is lost, how many packets a burst lasts on average, and the
    /// loss within one. `None` if no such model exists: the mean is not below the loss within a burst, a burst lasts less than
    /// one packet, or the good times between bursts would.
    #[must_use]
    pub fn new(mean: Chance, packets: u32, bad_loss: Chance) -> Option<Self> {
        let burst = Self { mean, packets, bad_loss };
        let exists = (1..=100_000).contains(&packets) && mean < bad_loss;
        (exists && burst.p_ppm() <= u64::from(Chance::ALWAYS.0)).then_some(burst)
    }

    /// mean = `bad_loss` * p / (p + r), solved for p, rounded.
    fn p_ppm(self) -> u64 {
        let divisor = u64::from(self.bad_loss.0 - self.mean.0);
        (u64::from(self.mean.0) * u64::from(self.r().0) + divisor / 2) / divisor
    }

    /// Good to bad.
    #[must_use]
    pub fn p(self) -> Chance {
        Chance::ppm(u32::try_from(self.p_ppm()).unwrap_or(u32::MAX))
    }

    /// Bad to good.
    #[must_use]
    pub fn r(self) -> Chance {
        Chance(Chance::ALWAYS.0 / self.packets)
    }

    /// Share of all packets that is lost in the long run.
    #[must_use]
    pub fn mean(self) -> Chance {
        self.mean
    }

    /// Packets that a bad state lasts on average.
    #[must_use]
    pub fn packets(self) -> u32 {
        self.packets
    }

    /// Loss in the bad state.
    #[must_use]
    pub fn bad_loss(self) -> Chance {
        self.bad_loss
    }
}

/// A narrow link: packets leave one after the other, and wait in a queue of bounded length. What does not fit into the
/// queue is dropped (tail drop).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Bits per second; not 0.
    pub bits_per_s: u64,
    /// Bytes that may wait, the packet on the link included.
    pub queue_bytes: u64,
}

impl Rate {
    /// A link with a usual queue: 250 ms, and 16,384 bytes at least, so that a flight of a handshake fits.
    #[must_use]
    pub fn new(bits_per_s: u64) -> Self {
        Self { bits_per_s, queue_bytes: (bits_per_s / 8 / 4).max(16_384) }
    }
}

/// From a time on, IP packets above a size are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MtuStep {
    /// Since the path exists.
    pub from: Duration,
    /// Largest IP packet that passes, headers included.
    pub bytes: usize,
}

/// A time in which packets vanish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    /// Since the path exists.
    pub from: Duration,
    /// Exclusive; `None`: for ever.
    pub until: Option<Duration>,
    /// Which packets; `None`: all.
    pub protocol: Option<Protocol>,
}

/// How one direction treats packets. The default lets all pass at once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Conditions {
    /// Lost, each packet on its own.
    pub loss: Chance,
    /// Lost in bursts.
    pub burst: Option<Burst>,
    /// One way.
    pub delay: Duration,
    /// Added to it, evenly spread from zero.
    pub jitter: Duration,
    /// Whether jitter lets packets overtake each other. Most jitter of real links is queueing, which does not.
    pub order_free: bool,
    /// Held back by [`Self::hold_back`] more, so that later ones overtake.
    pub reorder: Chance,
    /// How much later a held-back packet comes, and how much later a repeated one at most.
    pub hold_back: Duration,
    /// Delivered twice.
    pub duplicate: Chance,
    /// A narrow link.
    pub rate: Option<Rate>,
    /// In order of time.
    pub mtu: Vec<MtuStep>,
    /// Black holes and outages.
    pub closed: Vec<Closed>,
}

impl Conditions {
    /// How much later than others a held-back packet comes, if nothing else is said.
    pub const HOLD_BACK: Duration = Duration::from_millis(20);

    /// The largest IP packet that passes at a time.
    #[must_use]
    pub fn mtu_at(&self, now: Duration) -> Option<usize> {
        self.mtu.iter().rev().find(|step| step.from <= now).map(|step| step.bytes)
    }

    /// Whether packets of a protocol vanish at a time.
    #[must_use]
    pub fn is_closed(&self, now: Duration, protocol: Protocol) -> bool {
        self.closed.iter().any(|closed| {
            closed.from <= now
                && closed.until.is_none_or(|until| now < until)
                && closed.protocol.is_none_or(|of| of == protocol)
        })
    }

    /// The words of this direction, each with `prefix`, behind those that `text` has.
    fn write(&self, prefix: &str, text: &mut Vec<String>) {
        let mut word = |name: &str, value: String| text.push(format!("{prefix}{name}={value}"));
        if self.loss != Chance::NEVER {
            word("loss", self.loss.to_string());
        }
        if let Some(burst) = self.burst {
            word("burst", format!("{}/{}/{}", burst.mean, burst.packets, burst.bad_loss));
        }
        if !self.delay.is_zero() {
            word("delay", shown(self.delay));
        }
        if !self.jitter.is_zero() {
            word("jitter", shown(self.jitter));
        }
        if self.order_free {
            word("order", "free".into());
        }
        let mut implied = Duration::ZERO;
        if self.duplicate != Chance::NEVER {
            word("dup", self.duplicate.to_string());
            implied = Self::HOLD_BACK;
        }
        // Behind `dup`, which has a time of its own where none is said.
        if self.reorder != Chance::NEVER || self.hold_back != implied {
            word("reorder", format!("{}/{}", self.reorder, shown(self.hold_back)));
        }
        if let Some(rate) = self.rate {
            word("rate", format!("{}/{}", shown_rate(rate.bits_per_s), rate.queue_bytes));
        }
        for step in &self.mtu {
            word("mtu", format!("{}{}", step.bytes, at(step.from)));
        }
        for closed in &self.closed {
            match (closed.protocol, closed.until) {
                (None, Some(until)) => {
                    word("outage", format!("{}{}", shown(until - closed.from), at(closed.from)))
                }
                (protocol, until) => {
                    let which = protocol.map_or("all", Protocol::name);
                    let until = until.map(|until| format!("..{}", shown(until))).unwrap_or_default();
                    let from =
                        if until.is_empty() { at(closed.from) } else { format!("@{}", shown(closed.from)) };
                    word("blackhole", format!("{which}{from}{until}"));
                }
            }
        }
    }
}

/// A whole network between a client and a server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Spec {
    /// Client to server.
    pub up: Conditions,
    /// Server to client.
    pub down: Conditions,
    /// How often a NAT on the client's side forgets its mappings: what comes behind has another address then.
    pub rebind: Option<Duration>,
    /// Of the dice.
    pub seed: u64,
}

/// As it is read. A network that does nothing is `clean`.
impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        if self.up == self.down {
            self.up.write("", &mut words);
        } else {
            self.up.write("up.", &mut words);
            self.down.write("down.", &mut words);
        }
        words.extend(self.rebind.map(|every| format!("rebind={}", shown(every))));
        if self.seed != 0 {
            words.push(format!("seed={}", self.seed));
        }
        if words.is_empty() {
            return f.write_str("clean");
        }
        f.write_str(&words.join(","))
    }
}

fn at(from: Duration) -> String {
    if from.is_zero() { String::new() } else { format!("@{}", shown(from)) }
}

/// The largest unit in which it is a whole number.
pub(crate) fn shown(duration: Duration) -> String {
    let ns = duration.as_nanos();
    let (unit, name) = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us")]
        .into_iter()
        .find(|(unit, _)| ns.is_multiple_of(*unit))
        .unwrap_or((1, "ns"));
    format!("{}{name}", ns / unit)
}

fn shown_rate(bits_per_s: u64) -> String {
    let (unit, name) = [(1_000_000_000, "gbit"), (1_000_000, "mbit"), (1_000, "kbit")]
        .into_iter()
        .find(|(unit, _)| bits_per_s.is_multiple_of(*unit))
        .unwrap_or((1, "bit"));
    format!("{}{name}", bits_per_s / unit)
}
