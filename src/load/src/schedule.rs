//! When each message is due and who sends it: the open loop, without a clock.
//!
//! A schedule has exactly `rate x duration` messages, whatever its pattern, so that two runs with the same options
//! offer the same work. Times are nanoseconds since the start of the schedule and never fall.

use std::time::Duration;

use crate::options::Pattern;

/// One message that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Due {
    /// Nanoseconds since the start of the schedule.
    pub(crate) at_ns: u64,
    /// Index of the client that sends it.
    pub(crate) sender: usize,
}

/// An iterator over all messages of a run.
#[derive(Debug)]
pub(crate) struct Schedule {
    pattern: Pattern,
    per_s: u32,
    length_ns: u64,
    senders: usize,
    total: u64,
    made: u64,
    /// Part of the length that has gone by, 0 to 1; for [`Pattern::Poisson`].
    elapsed: f64,
    dice: Dice,
}

impl Schedule {
    /// `per_s` messages per second for `length`, from `senders` clients (at least one).
    pub(crate) fn new(pattern: Pattern, per_s: u32, length: Duration, senders: usize, seed: u64) -> Self {
        assert!(senders > 0, "somebody must send");
        let length_ns = saturating_ns(length);
        let total = u128::from(per_s) * u128::from(length_ns) / NS_PER_S;
        Self {
            pattern,
            per_s,
            length_ns,
            senders,
            total: u64::try_from(total).unwrap_or(u64::MAX),
            made: 0,
            elapsed: 0.0,
            dice: Dice(seed),
        }
    }

    /// Messages in the whole schedule.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Time from the start to the end of the last interval.
    pub(crate) fn length(&self) -> Duration {
        Duration::from_nanos(self.length_ns)
    }

    fn fixed(&self) -> Due {
        let at = u128::from(self.made) * NS_PER_S / u128::from(self.per_s);
        let sender = self.made % self.senders as u64;
        Due {
            at_ns: u64::try_from(at).unwrap_or(u64::MAX),
            sender: usize::try_from(sender).expect("below a usize"),
        }
    }

    /// Arrivals of a Poisson process, given how many there are, are sorted uniform draws. They come one at a time:
    /// the smallest of the `left` draws that remain lies at `1 - U^(1/left)` of the interval that remains.
    fn poisson(&mut self) -> Due {
        let left = (self.total - self.made) as f64;
        let gap = -(self.dice.unit().ln() / left).exp_m1();
        self.elapsed += (1.0 - self.elapsed) * gap;
        Due { at_ns: part_of(self.elapsed, self.length_ns), sender: self.dice.below(self.senders) }
    }
}

impl Iterator for Schedule {
    type Item = Due;

    fn next(&mut self) -> Option<Due> {
        if self.made == self.total {
            return None;
        }
        let due = match self.pattern {
            Pattern::Fixed => self.fixed(),
            Pattern::Poisson => self.poisson(),
        };
        self.made += 1;
        Some(due)
    }
}

const NS_PER_S: u128 = 1_000_000_000;

/// Nanoseconds, as far as they fit (584 years).
pub(crate) fn saturating_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// `part` of `whole`, always below `whole`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "float to integer casts saturate"
)]
fn part_of(part: f64, whole: u64) -> u64 {
    ((part * whole as f64) as u64).min(whole.saturating_sub(1))
}

/// SplitMix64 (Steele, Lea, Flood 2014): the same seed gives the same schedule on every machine.
#[derive(Debug, Clone)]
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Above 0, at most 1, so that its logarithm is finite.
    fn unit(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    fn below(&mut self, bound: usize) -> usize {
        let scaled = (u128::from(self.next()) * bound as u128) >> 64;
        usize::try_from(scaled).expect("below a usize")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pattern() -> impl Strategy<Value = Pattern> {
        prop_oneof![Just(Pattern::Fixed), Just(Pattern::Poisson)]
    }

    proptest! {
        #[test]
        fn the_total_is_rate_times_duration_and_times_rise_within_it(
            pattern in pattern(), per_s in 1u32..5_000, ms in 0u64..3_000, senders in 1usize..50, seed: u64,
        ) {
            let schedule = Schedule::new(pattern, per_s, Duration::from_millis(ms), senders, seed);
            let total = u64::from(per_s) * ms / 1_000;
            prop_assert_eq!(schedule.total(), total);
            let dues: Vec<Due> = schedule.collect();
            prop_assert_eq!(dues.len() as u64, total);
            prop_assert!(dues.is_sorted_by_key(|due| due.at_ns));
            prop_assert!(dues.iter().all(|due| due.at_ns < ms * 1_000_000 && due.sender < senders));
        }

        #[test]
        fn fixed_times_are_exact(per_s in 1u32..100_000, k in 0u64..5_000_000, senders in 1usize..50) {
            let mut schedule = Schedule::new(Pattern::Fixed, per_s, Duration::from_hours(2000), senders, 0);
            schedule.made = k;
            let due = schedule.next().unwrap();
            // In whole seconds and the rest, so that it is another formula than the one it checks.
            let (s, rest) = (k / u64::from(per_s), k % u64::from(per_s));
            prop_assert_eq!(due.at_ns, s * 1_000_000_000 + rest * 1_000_000_000 / u64::from(per_s));
            prop_assert_eq!(due.sender as u64, k % senders as u64);
        }

        #[test]
        fn the_same_seed_gives_the_same_schedule(seed: u64) {
            let schedule = || Schedule::new(Pattern::Poisson, 500, Duration::from_secs(1), 7, seed);
            prop_assert!(schedule().eq(schedule()));
        }
    }

    #[test]
    fn poisson_arrivals_are_uniform_over_time_and_senders() {
        let schedule = Schedule::new(Pattern::Poisson, 10_000, Duration::from_secs(10), 10, 42);
        let (mut seconds, mut senders, mut gaps_below_mean) = ([0u32; 10], [0u32; 10], 0u32);
        let mut last = 0;
        for due in schedule {
            seconds[usize::try_from(due.at_ns / 1_000_000_000).unwrap()] += 1;
            senders[due.sender] += 1;
            gaps_below_mean += u32::from(due.at_ns - last < 100_000);
            last = due.at_ns;
        }
        // 10,000 each with a standard deviation of 95: five of them either way.
        assert!(
            seconds.iter().chain(&senders).all(|count| count.abs_diff(10_000) < 475),
            "{seconds:?} {senders:?}"
        );
        // Exponential gaps: 1 - 1/e of them are below the mean; of fixed ones half would be, of uniform ones others.
        assert!(gaps_below_mean.abs_diff(63_212) < 800, "{gaps_below_mean}");
    }
}
