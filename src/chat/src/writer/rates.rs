//! How many messages a group takes in a second, and whose go first above that.
//!
//! A group has a bucket that fills at its rate and holds one second's worth, so the rate is an average over a second and a group that was
//! silent takes that many at once. Of the messages that come together, those of higher priority are taken first. Over time each class
//! leaves in the bucket what the classes above it offer in a second, at most half of the bucket: likes cannot
//! use up what the next gift needs, and a group without gifts leaves nothing.

use std::collections::HashMap;

use nearport_wire::body::Priority;

use crate::key::GroupKey;

/// Classes in the order in which they are taken.
pub(crate) const CLASSES: usize = 4;

/// Groups whose rates are remembered. One that is forgotten starts with a full bucket, so it may go a second's worth over.
const GROUPS_MAX: usize = 16_384;

/// Class of a priority: 0 goes first.
pub(crate) fn class(priority: Priority) -> usize {
    match priority {
        Priority::High => 0,
        Priority::Default | Priority::Normal => 1,
        Priority::Low => 2,
        Priority::Lowest => 3,
    }
}

/// What became of the messages of one group, by class: high, normal, low, lowest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GroupBooks {
    /// Taken: stored, or delivered if they are online-only.
    pub taken: [u64; CLASSES],
    /// Above the rate: their senders were told that they were sent, and that is all.
    pub dropped: [u64; CLASSES],
}

/// The rates of the groups that had messages of late. Two generations: a full young one becomes the old one, whose groups are
/// forgotten unless they have more messages.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    young: HashMap<GroupKey, Rate>,
    old: HashMap<GroupKey, Rate>,
}

#[derive(Debug, Clone)]
struct Rate {
    /// Thousandths of a message.
    level: u64,
    /// When that was, milliseconds.
    at_ms: u64,
    /// Messages of each class in the second that `at_ms` is in, and in the one before.
    second: u64,
    offered: [u64; CLASSES],
    offered_before: [u64; CLASSES],
    books: GroupBooks,
}

impl Rate {
    fn full(per_s: u32, now_ms: u64) -> Self {
        Self {
            level: u64::from(per_s) * 1000,
            at_ms: now_ms,
            second: now_ms / 1000,
            offered: [0; CLASSES],
            offered_before: [0; CLASSES],
            books: GroupBooks::default(),
        }
    }

    fn fill(&mut self, per_s: u32, now_ms: u64) {
        // A clock that was set back gives nothing until it has caught up, at most what one second gives.
        let passed_ms = now_ms.saturating_sub(self.at_ms).min(1000);
        let most = u64::from(per_s) * 1000;
        self.level = (self.level + passed_ms * u64::from(per_s)).min(most);
        self.at_ms = now_ms;
        let second = now_ms / 1000;
        if second != self.second {
            self.offered_before = if second == self.second + 1 { self.offered } else { [0; CLASSES] };
            self.offered = [0; CLASSES];
            self.second = second;
        }
    }

    /// What each class leaves for those above it.
    fn reserves(&self, per_s: u32) -> [u64; CLASSES] {
        let mut above = 0;
        std::array::from_fn(|class| {
            let reserve = above;
            above += self.offered[class].max(self.offered_before[class]);
            reserve.min(u64::from(per_s) / 2) * 1000
        })
    }
}

impl Rates {
    /// Messages of one group that came together, by class, in the order in which they came: which of them are taken.
    pub(crate) fn take(&mut self, group: &GroupKey, per_s: u32, now_ms: u64, classes: &[usize]) -> Vec<bool> {
        let rate = self.rate(group, per_s, now_ms);
        rate.fill(per_s, now_ms);
        let reserves = rate.reserves(per_s);
        let mut taken = vec![false; classes.len()];
        for (class, reserve) in reserves.into_iter().enumerate() {
            for at in (0..classes.len()).filter(|at| classes[*at] == class) {
                rate.offered[class] += 1;
                if rate.level >= reserve + 1000 {
                    rate.level -= 1000;
                    rate.books.taken[class] += 1;
                    taken[at] = true;
                } else {
                    rate.books.dropped[class] += 1;
                }
            }
        }
        taken
    }

    /// What became of a group's messages, if any is remembered.
    pub(crate) fn books(&self, group: &GroupKey) -> Option<GroupBooks> {
        self.young.get(group).or_else(|| self.old.get(group)).map(|rate| rate.books)
    }

    fn rate(&mut self, group: &GroupKey, per_s: u32, now_ms: u64) -> &mut Rate {
        if !self.young.contains_key(group) {
            let rate = self.old.remove(group).unwrap_or_else(|| Rate::full(per_s, now_ms));
            if self.young.len() >= GROUPS_MAX / 2 {
                self.old = std::mem::take(&mut self.young);
            }
            self.young.insert(group.clone(), rate);
        }
        self.young.get_mut(group).expect("inserted above")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::key::AppId;

    const NORMAL: usize = 1;

    fn group(n: usize) -> GroupKey {
        GroupKey::new(AppId(1), &n.to_string()).unwrap()
    }

    fn count(taken: &[bool]) -> usize {
        taken.iter().filter(|taken| **taken).count()
    }

    #[test]
    fn exactly_the_rate_passes_whole_however_it_is_spread() {
        let mut rates = Rates::default();
        for n in 0..400u64 {
            // 40 a second, with a jitter of up to 20 ms.
            let now_ms = 10_000 + n * 25 + n * 7 % 20;
            assert_eq!(rates.take(&group(0), 40, now_ms, &[NORMAL]), [true], "{n}");
        }
        assert_eq!(rates.books(&group(0)), Some(GroupBooks { taken: [0, 400, 0, 0], dropped: [0; 4] }));
    }

    #[test]
    fn twice_the_rate_passes_by_half() {
        let mut rates = Rates::default();
        let mut taken = 0;
        for n in 0..800u64 {
            taken += count(&rates.take(&group(0), 40, 10_000 + n * 25 / 2, &[NORMAL]));
        }
        // Ten seconds and what the bucket held.
        assert_eq!(taken, 440 - 1);
    }

    #[test]
    fn of_what_comes_together_the_higher_class_is_taken_first() {
        let mut rates = Rates::default();
        let classes: Vec<_> = (0..90).map(|n| [2, 1, 0][n / 30]).collect();
        let taken = rates.take(&group(0), 40, 5000, &classes);
        assert_eq!([count(&taken[..30]), count(&taken[30..60]), count(&taken[60..])], [0, 10, 30]);
        let books = rates.books(&group(0)).unwrap();
        assert_eq!((books.taken, books.dropped), ([30, 10, 0, 0], [0, 20, 30, 0]));
    }

    #[test]
    fn gifts_get_through_a_flood_of_likes_that_comes_one_by_one() {
        let mut rates = Rates::default();
        let (mut gifts, mut likes) = (0, 0);
        for n in 0..5000u64 {
            let now_ms = 20_000 + n * 2;
            likes += count(&rates.take(&group(0), 40, now_ms, &[2]));
            if n % 50 == 0 && n >= 500 {
                gifts += count(&rates.take(&group(0), 40, now_ms, &[0]));
            }
        }
        assert!(gifts >= 88, "of 90 gifts in nine seconds {gifts} got through");
        assert!(gifts + likes <= 440, "{gifts} gifts, {likes} likes");
    }

    proptest! {
        #[test]
        fn never_more_than_the_rate_and_one_bucket(
            steps in proptest::collection::vec((0u64..400, proptest::collection::vec(0usize..CLASSES, 1..40)), 1..80),
        ) {
            let (mut rates, mut now_ms, mut total) = (Rates::default(), 7000, 0);
            for (wait_ms, classes) in steps {
                now_ms += wait_ms;
                total += count(&rates.take(&group(0), 40, now_ms, &classes));
                prop_assert!(total as u64 <= 40 + (now_ms - 7000) * 40 / 1000);
            }
        }
    }

    #[test]
    fn the_memory_is_bounded_and_keeps_who_goes_on() {
        let mut rates = Rates::default();
        for n in 0..40_000 {
            rates.take(&group(n), 40, 5000, &[NORMAL]);
            rates.take(&group(0), 40, 5000, &[NORMAL]);
            assert!(rates.young.len() + rates.old.len() <= GROUPS_MAX);
        }
        let books = rates.books(&group(0)).unwrap();
        assert_eq!(books.taken[NORMAL], 40);
        assert_eq!(books.dropped[NORMAL], 39_961);
    }
}
