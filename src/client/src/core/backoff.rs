//! When to come back: exponential back-off with full jitter, from a seeded generator.
//!
//! Full jitter (a uniform draw below the ceiling) spreads a crowd that lost the same edge at the same moment best:
//! "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.

use std::time::Duration;

use nearport_wire::close::Return;

/// Ceiling of the first delay.
pub(crate) const BASE: Duration = Duration::from_millis(250);

/// Ceiling of every delay after a loss: the server did not say that it is in trouble, and people wait. A crowd that lost
/// its server is spread over these seconds by the time it has tried five times.
pub(crate) const CAP: Duration = Duration::from_secs(8);

/// Ceiling of every delay when the server said to come later.
pub(crate) const CAP_LATER: Duration = Duration::from_secs(30);

/// A session that lived this long was a good one: the next failure is a first failure. Shorter ones count half, so that a
/// server that dies every few seconds is not waited for longer and longer, and one that dies of the crowd is not run over.
pub(crate) const HEALTHY_AFTER: Duration = Duration::from_secs(10);

/// Longest window for coming back that is followed.
const WINDOW_MAX: Duration = Duration::from_mins(1);

/// Longest wish of a server that is followed.
const FLOOR_MAX: Duration = Duration::from_hours(1);

/// Steps that [`Return::Later`] starts up the ladder: its first ceiling is one second.
const LATER_STEPS: u32 = 2;

/// Failures in a row, and the dice.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    failures: u32,
    /// Times that the server asked to leave, since the last good session.
    moves: u32,
    dice: SplitMix,
}

impl Backoff {
    pub(crate) fn new(dice: SplitMix) -> Self {
        Self { failures: 0, moves: 0, dice }
    }

    /// Forget what went wrong: the session was good, or the application knows that the network is back.
    pub(crate) fn reset(&mut self) {
        (self.failures, self.moves) = (0, 0);
    }

    /// A login succeeded.
    pub(crate) fn welcomed(&mut self) {
        self.failures /= 2;
    }

    /// The wait before the next attempt, never zero. `floor` is the server's wish.
    pub(crate) fn next(&mut self, returns: Return, floor: Duration) -> Duration {
        floor.min(FLOOR_MAX) + self.draw(returns, Duration::ZERO)
    }

    /// The wait after a live session was lost: at a random time within the window that the server gave at login, sized
    /// for its crowd.
    pub(crate) fn next_within(&mut self, window: Duration) -> Duration {
        self.draw(Return::Now, window.min(WINDOW_MAX))
    }

    fn draw(&mut self, returns: Return, at_least: Duration) -> Duration {
        let (start, cap) = if returns == Return::Now { (0, CAP) } else { (LATER_STEPS, CAP_LATER) };
        let step = self.failures.saturating_add(start).min(16);
        self.failures = self.failures.saturating_add(1);
        let ceiling = (BASE * (1 << step)).min(cap).max(at_least);
        jitter(self.dice.next(), ceiling)
    }

    /// The wait after the server asked to leave: none for the first time, the ladder if it keeps asking.
    pub(crate) fn next_after_go_away(&mut self) -> Duration {
        let before = self.moves;
        self.moves = self.moves.saturating_add(1);
        match before {
            0 => Duration::ZERO,
            _ => jitter(self.dice.next(), (BASE * (1 << before.min(16))).min(CAP_LATER)),
        }
    }
}

/// A roll of the dice as a time above zero, up to `ceiling`.
fn jitter(roll: u64, ceiling: Duration) -> Duration {
    let ceiling_us = u64::try_from(ceiling.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(1 + roll % ceiling_us)
}

/// SplitMix64 (Steele, Lea, Flood 2014): eight bytes of state are enough to spread clients.
#[derive(Debug, Clone)]
pub(crate) struct SplitMix(pub(crate) u64);

impl SplitMix {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
#[path = "backoff_tests.rs"]
mod tests;
