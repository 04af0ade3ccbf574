//! The fate of each packet.

use std::time::Duration;

use crate::rng::Rng;
use crate::spec::{Burst, Chance, Conditions, Rate, Spec};

/// Which way a packet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Client to server.
    Up,
    /// Server to client.
    Down,
}

/// What a packet carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// UDP, and so QUIC.
    Udp,
    /// TCP.
    Tcp,
    /// Anything else.
    Other,
}

impl Protocol {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Other => "other",
        }
    }
}

/// As much of a packet as the network looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// Length of the IP packet, headers included.
    pub bytes: usize,
    /// What it carries.
    pub protocol: Protocol,
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It arrives.
    Arrives {
        /// When, since the path exists.
        at: Duration,
        /// When it arrives a second time.
        again: Option<Duration>,
    },
    /// It does not.
    Dropped(Cause),
}

/// Why a packet does not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Black hole or outage.
    Closed,
    /// Longer than what passes. A router would say so (ICMP); who moves the packets may.
    TooLong {
        /// What passes.
        mtu: usize,
    },
    /// The queue before a narrow link is full.
    QueueFull,
    /// Lost on its own.
    Lost,
    /// Lost in a burst.
    LostInBurst,
}

/// What became of the packets of one direction. `sent` is the sum of `arrived` and everything dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Given to the path.
    pub sent: u64,
    /// Those that arrive, each counted once.
    pub arrived: u64,
    /// Bytes of these.
    pub arrived_bytes: u64,
    /// Lost on their own.
    pub lost: u64,
    /// Lost in bursts.
    pub lost_in_bursts: u64,
    /// Black holes and outages.
    pub closed: u64,
    /// Longer than what passes.
    pub too_long: u64,
    /// The queue was full.
    pub queue_full: u64,
    /// Held back, so that others overtake.
    pub held_back: u64,
    /// Arriving twice.
    pub repeated: u64,
}

impl Counts {
    fn dropped(&mut self, cause: Cause) {
        *match cause {
            Cause::Closed => &mut self.closed,
            Cause::TooLong { .. } => &mut self.too_long,
            Cause::QueueFull => &mut self.queue_full,
            Cause::Lost => &mut self.lost,
            Cause::LostInBurst => &mut self.lost_in_bursts,
        } += 1;
    }
}

/// A network between a client and a server, both directions.
#[derive(Debug)]
pub struct Path {
    up: Side,
    down: Side,
    rebind: Option<Duration>,
}

impl Path {
    /// A path at its time zero.
    #[must_use]
    pub fn new(spec: &Spec) -> Self {
        let mut dice = Rng::new(spec.seed);
        // A generator for each direction: what goes one way does not change the fate of what goes the other.
        let (up, down) = (dice.fork(1), dice.fork(2));
        Self {
            up: Side::new(spec.up.clone(), up),
            down: Side::new(spec.down.clone(), down),
            rebind: spec.rebind,
        }
    }

    /// A packet enters at `now`. Times of one direction must not fall.
    pub fn send(&mut self, now: Duration, direction: Direction, packet: Packet) -> Fate {
        match direction {
            Direction::Up => self.up.send(now, packet),
            Direction::Down => self.down.send(now, packet),
        }
    }

    /// Changes both directions from now on. Dice, counts and what waits before a narrow link stay.
    pub fn set(&mut self, up: Conditions, down: Conditions) {
        (self.up.conditions, self.down.conditions) = (up, down);
    }

    /// Which of its mappings a NAT uses at a time: it rises each time the NAT forgets.
    #[must_use]
    pub fn mapping(&self, now: Duration) -> u64 {
        self.rebind
            .map_or(0, |every| u64::try_from(now.as_nanos() / every.as_nanos().max(1)).unwrap_or(u64::MAX))
    }

    /// What happened so far.
    #[must_use]
    pub fn counts(&self, direction: Direction) -> Counts {
        match direction {
            Direction::Up => self.up.counts,
            Direction::Down => self.down.counts,
        }
    }
}

/// One direction.
#[derive(Debug)]
struct Side {
    conditions: Conditions,
    dice: Rng,
    /// The state of the burst model.
    bad: bool,
    /// When the narrow link has sent everything that waits.
    busy_until: Duration,
    /// The latest arrival of a packet that was not held back.
    latest: Duration,
    counts: Counts,
}

impl Side {
    fn new(conditions: Conditions, dice: Rng) -> Self {
        Self {
            conditions,
            dice,
            bad: false,
            busy_until: Duration::ZERO,
            latest: Duration::ZERO,
            counts: Counts::default(),
        }
    }

    fn send(&mut self, now: Duration, packet: Packet) -> Fate {
        self.counts.sent += 1;
        match self.pass(now, packet) {
            Ok(at) => {
                self.counts.arrived += 1;
                self.counts.arrived_bytes += packet.bytes as u64;
                let again = self
                    .happens(self.conditions.duplicate)
                    .then(|| at + self.up_to(self.conditions.hold_back));
                self.counts.repeated += u64::from(again.is_some());
                Fate::Arrives { at, again }
            }
            Err(cause) => {
                self.counts.dropped(cause);
                Fate::Dropped(cause)
            }
        }
    }

    /// When the packet arrives.
    fn pass(&mut self, now: Duration, packet: Packet) -> Result<Duration, Cause> {
        if self.conditions.is_closed(now, packet.protocol) {
            return Err(Cause::Closed);
        }
        if let Some(mtu) = self.conditions.mtu_at(now).filter(|mtu| packet.bytes > *mtu) {
            return Err(Cause::TooLong { mtu });
        }
        // Before loss: what is lost on a radio link has used its time all the same.
        let left = match self.conditions.rate {
            Some(rate) => self.queue(now, packet.bytes, rate).ok_or(Cause::QueueFull)?,
            None => now,
        };
        if let Some(burst) = self.conditions.burst
            && self.lost_in_burst(burst)
        {
            return Err(Cause::LostInBurst);
        }
        if self.happens(self.conditions.loss) {
            return Err(Cause::Lost);
        }
        let mut at = left + self.conditions.delay + self.up_to(self.conditions.jitter);
        if !self.conditions.order_free {
            at = at.max(self.latest);
        }
        self.latest = self.latest.max(at);
        if self.happens(self.conditions.reorder) {
            self.counts.held_back += 1;
            at += self.conditions.hold_back;
        }
        Ok(at)
    }

    /// When the packet has left a narrow link; `None` if it does not fit into the queue.
    fn queue(&mut self, now: Duration, bytes: usize, rate: Rate) -> Option<Duration> {
        let start = self.busy_until.max(now);
        let waiting = ((start - now).as_nanos() * u128::from(rate.bits_per_s)).div_ceil(8 * NS_PER_S);
        if waiting + bytes as u128 > u128::from(rate.queue_bytes) {
            return None;
        }
        let takes = (bytes as u128 * 8 * NS_PER_S).div_ceil(u128::from(rate.bits_per_s.max(1)));
        self.busy_until = start + Duration::from_nanos(u64::try_from(takes).unwrap_or(u64::MAX));
        Some(self.busy_until)
    }

    fn lost_in_burst(&mut self, burst: Burst) -> bool {
        let turns = if self.bad { burst.r() } else { burst.p() };
        self.bad ^= self.happens(turns);
        self.bad && self.happens(burst.bad_loss())
    }

    fn happens(&mut self, chance: Chance) -> bool {
        chance != Chance::NEVER && self.dice.within(0..=999_999) < u64::from(chance.as_ppm())
    }

    /// Evenly spread from zero to `longest`.
    fn up_to(&mut self, longest: Duration) -> Duration {
        if longest.is_zero() { longest } else { self.dice.duration(Duration::ZERO..=longest) }
    }
}

const NS_PER_S: u128 = 1_000_000_000;

#[cfg(test)]
#[path = "path_tests.rs"]
mod tests;
