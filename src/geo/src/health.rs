//! Which PoPs are in the answers: votes of checkers, slow start, hold-down.
//!
//! A checker pings every PoP each second. A PoP is out when a majority of the checkers that are heard has seen
//! [`DOWN_AFTER`] failures in a row: a lost packet here and there moves nobody, and one checker that is cut off moves
//! nobody either. It is in again after [`UP_AFTER`] successes with a majority, then takes its share slowly. Each time
//! that it goes out again soon, it stays out twice as long.

use std::time::Duration;

use crate::table::{POPS_MAX, PopIndex, PopSet};

/// Failures in a row after which a checker holds a PoP for down.
pub const DOWN_AFTER: u8 = 3;

/// Successes in a row after which a checker holds it for up again.
pub const UP_AFTER: u8 = 10;

/// The first hold-down, and the longest.
const HOLD: (Duration, Duration) = (Duration::from_secs(30), Duration::from_mins(15));

/// Up this long, a PoP's past is forgotten.
const FORGIVEN_AFTER: Duration = Duration::from_mins(30);

/// From a tenth of its share to all of it.
const SLOW_START: Duration = Duration::from_mins(1);

/// A checker that said nothing for this long has no vote.
const HEARD_WITHIN: Duration = Duration::from_secs(5);

/// Checkers at most: each is a bit of a vote.
pub const CHECKERS_MAX: usize = 16;

#[derive(Debug, Clone, Copy)]
enum State {
    Up {
        since: Duration,
    },
    /// Not in the answers until `held`, however healthy.
    Down {
        held: Duration,
    },
}

#[derive(Debug, Clone, Copy)]
struct Watched {
    state: State,
    /// By checker: results in a row, below 0 failures.
    streaks: [i8; CHECKERS_MAX],
    /// By checker: whether it holds the PoP for down.
    down: [bool; CHECKERS_MAX],
    hold: Duration,
}

/// The health of all PoPs. All start up: a service that knows nothing yet names everybody.
#[derive(Debug, Clone)]
pub struct Health {
    pops: Vec<Watched>,
    heard: [Option<Duration>; CHECKERS_MAX],
}

impl Health {
    /// Health of the first `pops` PoPs of a table.
    #[must_use]
    pub fn new(pops: usize) -> Self {
        let up = Watched {
            state: State::Up { since: Duration::ZERO },
            streaks: [0; CHECKERS_MAX],
            down: [false; CHECKERS_MAX],
            hold: HOLD.0,
        };
        Self { pops: vec![up; pops.min(POPS_MAX)], heard: [None; CHECKERS_MAX] }
    }

    /// A checker's result. True if the set of PoPs that are up has changed by it. Unknown PoPs and checkers say nothing.
    pub fn checked(&mut self, checker: usize, pop: PopIndex, good: bool, now: Duration) -> bool {
        let (Some(heard), Some(watched)) = (self.heard.get_mut(checker), self.pops.get_mut(pop.get())) else {
            return false;
        };
        *heard = Some(now);
        let streak = &mut watched.streaks[checker];
        *streak =
            if good { streak.max(&mut 0).saturating_add(1) } else { (*streak).min(0).saturating_sub(1) };
        if streak.unsigned_abs() >= DOWN_AFTER && !good {
            watched.down[checker] = true;
        } else if streak.unsigned_abs() >= UP_AFTER && good {
            watched.down[checker] = false;
        }
        let mut votes = (0, 0);
        for (heard, down) in self.heard.iter().zip(watched.down) {
            if heard.is_some_and(|heard| now.saturating_sub(heard) <= HEARD_WITHIN) {
                votes.0 += 1;
                votes.1 += u32::from(down);
            }
        }
        let down = votes.1 * 2 > votes.0;
        watched.turn(down, now)
    }

    /// The PoPs that are up.
    #[must_use]
    pub fn up(&self) -> PopSet {
        let up = self.pops.iter().enumerate().filter(|(_, pop)| matches!(pop.state, State::Up { .. }));
        up.filter_map(|(index, _)| PopIndex::new(index)).collect()
    }

    /// The share of its capacity that a PoP may take now: 0 down, 0.1 to 1 in its first minute.
    #[must_use]
    pub fn share(&self, pop: PopIndex, now: Duration) -> f64 {
        match self.pops.get(pop.get()).map(|pop| pop.state) {
            // Up from the start is up for ever.
            Some(State::Up { since }) if since.is_zero() => 1.0,
            Some(State::Up { since }) => {
                let grown = now.saturating_sub(since).as_secs_f64() / SLOW_START.as_secs_f64();
                0.1 + 0.9 * grown.min(1.0)
            }
            _ => 0.0,
        }
    }
}

impl Watched {
    fn turn(&mut self, down: bool, now: Duration) -> bool {
        match self.state {
            State::Up { since } if down => {
                if now.saturating_sub(since) >= FORGIVEN_AFTER {
                    self.hold = HOLD.0;
                }
                self.state = State::Down { held: now + self.hold };
                self.hold = (self.hold * 2).min(HOLD.1);
                true
            }
            State::Down { held } if !down && now >= held => {
                self.state = State::Up { since: now };
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Dice;

    const CHECKERS: usize = 3;

    /// Checks all 32 PoPs each second and returns when the answers changed.
    fn run(seconds: u64, good: &mut dyn FnMut(u64, usize, usize) -> bool) -> (Health, Vec<u64>) {
        let mut health = Health::new(32);
        let mut changes = Vec::new();
        for second in 1..=seconds {
            let before = health.up();
            for checker in 0..CHECKERS {
                for pop in 0..32 {
                    let good = good(second, checker, pop);
                    health.checked(checker, PopIndex::new(pop).unwrap(), good, Duration::from_secs(second));
                }
            }
            if health.up() != before {
                changes.push(second);
            }
        }
        (health, changes)
    }

    #[test]
    fn a_pop_that_fails_is_out_with_the_third_check_and_comes_back_slowly() {
        let (health, changes) = run(100, &mut |second, _, pop| pop != 7 || !(11..40).contains(&second));
        // Dead after the check of second 10: out at 13, 3 s later. Held until 43, healthy from 49.
        assert_eq!(changes, [13, 49]);
        let seven = PopIndex::new(7).unwrap();
        assert!((health.share(seven, Duration::from_secs(49)) - 0.1).abs() < 1e-9);
        assert!((health.share(seven, Duration::from_secs(79)) - 0.55).abs() < 1e-9);
        assert!((health.share(seven, Duration::from_secs(200)) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn lost_probes_evict_nobody() {
        for seed in 0..4 {
            let mut dice = Dice::new(seed);
            let (_, changes) = run(3600, &mut |_, _, _| dice.share() >= 0.05);
            assert!(changes.is_empty(), "seed {seed}: {changes:?}");
        }
    }

    #[test]
    fn one_checker_that_is_cut_off_evicts_nobody() {
        let (_, changes) = run(600, &mut |_, checker, _| checker != 1);
        assert!(changes.is_empty(), "{changes:?}");
    }

    #[test]
    fn a_pop_that_flaps_changes_the_answers_five_times_an_hour_at_most() {
        // Ten seconds up, ten down; and at half of that.
        for half in [5, 10] {
            let (_, changes) = run(3600, &mut |second, _, pop| pop != 7 || second / half % 2 == 0);
            assert!(!changes.is_empty() && changes.len() <= 5, "{half}: {changes:?}");
        }
    }
}
