//! Which PoPs are in the answers: votes of checkers, slow start, hold-down.
//!
//! A checker pings every PoP each second and says how it went. A PoP is out when a majority of the checkers that are heard
//! sees [`DOWN_AFTER`] failures in a row *now*, and all together see enough of them: one success takes a checker's word
//! back, so lost packets move nobody, and where two of three have to say it against the third it takes them longer. It is in again after [`UP_AFTER`] successes in a row with a majority, then takes its share slowly.
//!
//! Who goes out again soon stays out twice as long, and from then on has to be seen healthy for all of that time: whoever flaps
//! faster than that stays out.
//!
//! A checker that sees no PoP at all has no vote: it is its own link that is cut. If it is right, nobody is up, and then
//! answers are as if all were.

use std::time::Duration;

use crate::table::{POPS_MAX, PopIndex, PopSet};

/// Failures in a row after which a checker holds a PoP for down.
pub const DOWN_AFTER: u8 = 3;

/// Failures in a row, of all checkers together, below which nobody goes out: with one or two checkers, and with more. One alone needs
/// six in a row; two need six together, three and more nine. Of 32 PoPs that lose every twentieth packet one checker sees three
/// lost in a row 14 times an hour, and six once in three weeks; two of three see three each once in a week, and nine together never. A majority of
/// five has seen nine in any case.
const EVIDENCE: (u32, u32) = (6, 9);

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

/// Checkers at most: more have no vote.
pub const CHECKERS_MAX: usize = 16;

/// Where a PoP stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Standing {
    /// In the answers with all of its share.
    Up,
    /// In the answers with this part of its share, 0.1 to 1.
    SlowStart(f32),
    /// Not in the answers: checkers do not see it, or have not seen it for long enough.
    Down,
    /// Not in the answers before this moment, however healthy.
    Held(Duration),
}

/// The checkers that are heard, and what they see of one PoP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Votes {
    /// Checkers with a vote.
    pub heard: u32,
    /// Those that have seen [`DOWN_AFTER`] failures in a row.
    pub down: u32,
    /// Those that have seen [`UP_AFTER`] successes in a row.
    pub up: u32,
    /// Failures in a row, of all of them.
    failures: u32,
}

impl Votes {
    fn evict(self) -> bool {
        let evidence = (u32::from(DOWN_AFTER) * self.heard).clamp(EVIDENCE.0, EVIDENCE.1);
        self.down * 2 > self.heard && self.failures >= evidence
    }

    fn admit(self) -> bool {
        self.up * 2 > self.heard
    }
}

#[derive(Debug, Clone, Copy)]
enum State {
    Up {
        since: Duration,
    },
    /// Not in the answers until `held`, however healthy.
    Down {
        held: Duration,
        /// The hold-down that starts anew whenever the checkers see it down meanwhile; none the first time.
        clean: Duration,
    },
}

#[derive(Debug, Clone, Copy)]
struct Watched {
    state: State,
    /// By checker: results in a row, below 0 failures; 0 before the first.
    streaks: [i8; CHECKERS_MAX],
    /// How long it is out the next time.
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
        Self { pops: vec![Watched::NEW; pops.min(POPS_MAX)], heard: [None; CHECKERS_MAX] }
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
        let votes = self.votes(pop, now);
        self.pops.get_mut(pop.get()).is_some_and(|watched| watched.turn(votes, now))
    }

    /// What the checkers see of a PoP.
    #[must_use]
    pub fn votes(&self, pop: PopIndex, now: Duration) -> Votes {
        let mut votes = Votes::default();
        let Some(watched) = self.pops.get(pop.get()) else { return votes };
        for (checker, (heard, streak)) in self.heard.iter().zip(watched.streaks).enumerate() {
            let fresh = heard.is_some_and(|heard| now.saturating_sub(heard) <= HEARD_WITHIN);
            // One that has never looked at this PoP, or sees none at all, cannot say.
            if !fresh || streak == 0 || !self.sees(checker) {
                continue;
            }
            let (good, length) = (streak > 0, streak.unsigned_abs());
            votes.heard += 1;
            votes.down += u32::from(!good && length >= DOWN_AFTER);
            votes.up += u32::from(good && length >= UP_AFTER);
            votes.failures += if good { 0 } else { u32::from(length) };
        }
        votes
    }

    /// Whether a checker's last look at any PoP was good.
    fn sees(&self, checker: usize) -> bool {
        self.pops.iter().any(|pop| pop.streaks[checker] > 0)
    }

    /// The PoPs that are up.
    #[must_use]
    pub fn up(&self) -> PopSet {
        let up = self.pops.iter().enumerate().filter(|(_, pop)| matches!(pop.state, State::Up { .. }));
        up.filter_map(|(index, _)| PopIndex::new(index)).collect()
    }

    /// Where a PoP stands; [`Standing::Down`] for one that there is not.
    #[must_use]
    pub fn standing(&self, pop: PopIndex, now: Duration) -> Standing {
        match self.pops.get(pop.get()).map(|pop| pop.state) {
            // Up from the start is up for ever.
            Some(State::Up { since }) if since.is_zero() || now.saturating_sub(since) >= SLOW_START => {
                Standing::Up
            }
            Some(State::Up { since }) => {
                let grown = now.saturating_sub(since).as_secs_f32() / SLOW_START.as_secs_f32();
                Standing::SlowStart(0.1 + 0.9 * grown)
            }
            Some(State::Down { held, .. }) if now < held => Standing::Held(held),
            _ => Standing::Down,
        }
    }

    /// The share of its capacity that a PoP may take now: 0 down, 0.1 to 1 in its first minute.
    #[must_use]
    pub fn share(&self, pop: PopIndex, now: Duration) -> f32 {
        match self.standing(pop, now) {
            Standing::Up => 1.0,
            Standing::SlowStart(share) => share,
            Standing::Down | Standing::Held(_) => 0.0,
        }
    }

    /// The same for another table: `from` says which PoP of the old one a PoP of the new one was.
    #[must_use]
    pub fn renumbered(&self, pops: usize, from: impl Fn(PopIndex) -> Option<PopIndex>) -> Self {
        let old = |index| self.pops.get(from(PopIndex::new(index)?)?.get()).copied();
        let pops = (0..pops.min(POPS_MAX)).map(|index| old(index).unwrap_or(Watched::NEW));
        Self { pops: pops.collect(), heard: self.heard }
    }
}

impl Watched {
    const NEW: Self =
        Self { state: State::Up { since: Duration::ZERO }, streaks: [0; CHECKERS_MAX], hold: HOLD.0 };

    fn turn(&mut self, votes: Votes, now: Duration) -> bool {
        match &mut self.state {
            State::Up { since } if votes.evict() => {
                if now.saturating_sub(*since) >= FORGIVEN_AFTER {
                    self.hold = HOLD.0;
                }
                let clean = if self.hold == HOLD.0 { Duration::ZERO } else { self.hold };
                self.state = State::Down { held: now + self.hold, clean };
                self.hold = (self.hold * 2).min(HOLD.1);
                true
            }
            State::Down { held, clean } if votes.evict() => {
                *held = (*held).max(now + *clean);
                false
            }
            State::Down { held, .. } if votes.admit() && now >= *held => {
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
        assert!((health.share(seven, Duration::from_secs(49)) - 0.1).abs() < 1e-6);
        assert!((health.share(seven, Duration::from_secs(79)) - 0.55).abs() < 1e-6);
        assert!((health.share(seven, Duration::from_secs(200)) - 1.0).abs() < 1e-6);
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
