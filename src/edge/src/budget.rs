//! The memory for output that waits to be read, of all sessions of a shard together.
//!
//! Each session has bounds of its own, but 65,536 slow readers at theirs would be too much. So a shard adds up what waits,
//! and takes from those who are slow before there is none for those who read:
//!
//! | of the budget | what happens |
//! | --- | --- |
//! | up to a half | nothing: each session's own bounds hold |
//! | above a half | [`Level::Thin`]: live pushes go only to who has read everything; QUIC takes less in advance |
//! | above three quarters | [`Level::Hold`]: other pushes too, the rest is behind |
//! | all | [`Level::Shed`]: those with most waiting are closed with SLOW, until a tenth is free |
//!
//! The budget of a process is divided among its shards evenly: shards share nothing, not even a counter.

/// How short the memory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// There is enough.
    Calm,
    /// Live pushes are thinned out.
    Thin,
    /// All pushes are held back from who has something waiting.
    Hold,
    /// The slowest have to go.
    Shed,
}

/// What waits, and what may.
#[derive(Debug)]
pub struct Budget {
    max: usize,
    used: usize,
}

impl Budget {
    /// A budget of `max` bytes.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { max, used: 0 }
    }

    /// Bytes that wait.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used
    }

    /// What waits for one session was `before` bytes and is `after`.
    pub fn change(&mut self, before: usize, after: usize) {
        debug_assert!(self.used >= before, "a session gives back what it never had");
        self.used = self.used.saturating_sub(before) + after;
    }

    /// How short the memory is.
    #[must_use]
    pub fn level(&self) -> Level {
        match self.used {
            used if used <= self.max / 2 => Level::Calm,
            used if used <= self.max / 4 * 3 => Level::Thin,
            used if used <= self.max => Level::Hold,
            _ => Level::Shed,
        }
    }

    /// Which of `sessions`, with what waits for each, have to go: those with the most, as few as give a tenth of the
    /// budget free. So the next time is a tenth of the budget away, whatever the look at all sessions costs. `leaving`:
    /// bytes that are about to be free whatever is done.
    #[must_use]
    pub fn shed(&self, sessions: impl Iterator<Item = (u32, usize)>, leaving: usize) -> Vec<u32> {
        let mut excess = self.used.saturating_sub(self.max / 10 * 9).saturating_sub(leaving);
        let mut sessions: Vec<_> = sessions.filter(|(_, bytes)| *bytes > 0).collect();
        sessions.sort_unstable_by_key(|(index, bytes)| (std::cmp::Reverse(*bytes), *index));
        let mut shed = Vec::new();
        for (index, bytes) in sessions {
            if excess == 0 {
                break;
            }
            shed.push(index);
            excess = excess.saturating_sub(bytes);
        }
        shed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn levels_follow_what_waits() {
        let mut budget = Budget::new(1000);
        for (used, level) in [
            (0, Level::Calm),
            (500, Level::Calm),
            (501, Level::Thin),
            (750, Level::Thin),
            (751, Level::Hold),
            (1000, Level::Hold),
            (1001, Level::Shed),
        ] {
            budget.change(budget.used(), used);
            assert_eq!(budget.level(), level, "{used}");
        }
    }

    #[test]
    fn the_largest_go_and_no_more_than_needed() {
        let mut budget = Budget::new(1000);
        budget.change(0, 1100);
        let sessions = [(1, 10), (2, 150), (3, 0), (4, 800), (5, 140)];
        assert_eq!(budget.shed(sessions.into_iter(), 0), [4]);
        assert_eq!(budget.shed(sessions.into_iter(), 200), [0u32; 0], "it will be enough");
        let even = (0..110).map(|index| (index, 10));
        assert_eq!(budget.shed(even, 0).len(), 20, "until a tenth is free");
    }

    proptest! {
        #[test]
        fn what_stays_fits(sizes in proptest::collection::vec(0usize..500, 0..60)) {
            let mut budget = Budget::new(1000);
            let sessions: Vec<(u32, usize)> = (0..).zip(sizes).collect();
            sessions.iter().for_each(|(_, bytes)| budget.change(0, *bytes));
            if budget.level() == Level::Shed {
                let shed = budget.shed(sessions.iter().copied(), 0);
                for (index, bytes) in &sessions {
                    if shed.contains(index) {
                        budget.change(*bytes, 0);
                    }
                }
                prop_assert!(budget.used() <= 900);
                let least = shed.iter().map(|index| sessions[*index as usize].1).min();
                let kept = sessions.iter().filter(|(index, _)| !shed.contains(index)).map(|(_, bytes)| *bytes).max();
                prop_assert!(least >= kept, "{least:?} {kept:?}");
            }
        }
    }
}
