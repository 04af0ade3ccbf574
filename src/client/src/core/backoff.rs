//! When to come back: exponential back-off with full jitter, from a seeded generator.
//!
//! Full jitter (a uniform draw below the ceiling) spreads a crowd that lost the same edge at the same moment best:
//! "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.

use std::time::Duration;

use nearport_wire::close::Return;

/// Ceiling of the first delay.
pub(crate) const BASE: Duration = Duration::from_millis(250);

/// Ceiling of every delay that the server did not ask for.
pub(crate) const CAP: Duration = Duration::from_secs(30);

/// A session that lived this long was a good one: the next failure is a first failure.
pub(crate) const HEALTHY_AFTER: Duration = Duration::from_secs(30);

/// Longest wish of a server that is followed.
const FLOOR_MAX: Duration = Duration::from_hours(1);

/// Steps that [`Return::Later`] starts up the ladder: its first ceiling is one second.
const LATER_STEPS: u32 = 2;

/// Failures in a row, and the dice.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    failures: u32,
    dice: SplitMix,
}

impl Backoff {
    pub(crate) fn new(dice: SplitMix) -> Self {
        Self { failures: 0, dice }
    }

    /// Forget what went wrong: the session was good, or the application knows that the network is back.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The wait before the next attempt, never zero. `floor` is the server's wish.
    pub(crate) fn next(&mut self, returns: Return, floor: Duration) -> Duration {
        let start = if returns == Return::Now { 0 } else { LATER_STEPS };
        let step = self.failures.saturating_add(start).min(16);
        self.failures = self.failures.saturating_add(1);
        let ceiling = (BASE * (1 << step)).min(CAP);
        floor.min(FLOOR_MAX) + jitter(self.dice.next(), ceiling)
    }

    /// The wait after the server asked to leave: none for the first time, the ladder if it keeps asking.
    pub(crate) fn next_after_go_away(&mut self) -> Duration {
        if self.failures == 0 {
            self.failures = 1;
            return Duration::ZERO;
        }
        self.next(Return::Now, Duration::ZERO)
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn delays_stay_between_the_floor_and_the_cap_above_it(
            seed: u64,
            failures in proptest::collection::vec((any::<bool>(), 0u64..100_000, any::<bool>()), 1..60),
        ) {
            let mut backoff = Backoff::new(SplitMix(seed));
            let mut in_a_row = 0u32;
            for (now, floor_ms, healthy) in failures {
                if healthy {
                    backoff.reset();
                    in_a_row = 0;
                }
                let floor = Duration::from_millis(floor_ms);
                let delay = backoff.next(if now { Return::Now } else { Return::Later }, floor);
                prop_assert!(delay > floor, "never at once after a failure");
                prop_assert!(delay <= floor + CAP);
                if now && in_a_row == 0 {
                    prop_assert!(delay <= floor + BASE, "the first return is short");
                }
                in_a_row += 1;
            }
        }
    }

    #[test]
    fn no_roll_gives_zero_or_more_than_the_ceiling() {
        assert_eq!(jitter(0, BASE), Duration::from_micros(1));
        assert_eq!(jitter(249_999, BASE), BASE);
        assert_eq!(jitter(250_000, BASE), Duration::from_micros(1));
    }

    #[test]
    fn ceilings_double_up_to_the_cap() {
        let mut longest = [Duration::ZERO; 10];
        for seed in 0..2000 {
            let mut backoff = Backoff::new(SplitMix(seed));
            for seen in &mut longest {
                *seen = backoff.next(Return::Now, Duration::ZERO).max(*seen);
            }
        }
        for (step, seen) in (0u32..).zip(longest) {
            let ceiling = (BASE * (1 << step)).min(CAP);
            assert!(seen <= ceiling && seen > ceiling * 9 / 10, "step {step}: {seen:?} of {ceiling:?}");
        }
    }

    #[test]
    fn a_server_that_keeps_saying_go_away_does_not_make_a_busy_loop() {
        let mut backoff = Backoff::new(SplitMix(1));
        assert_eq!(backoff.next_after_go_away(), Duration::ZERO);
        assert!((0..5).all(|_| !backoff.next_after_go_away().is_zero()));
    }
}
