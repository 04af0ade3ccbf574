//! How much of what is said in a room goes out, and whose.
//!
//! A bucket of one second's worth. While less is said than that, everything goes out at once. When more is said, what goes out is
//! chosen by class and by sender, without holding anything back: each class leaves a part of the bucket to those above it, so that
//! likes wait for a bucket half full while gifts take the last tokens; and a sender that has had its share of the
//! last second (the rate, divided by those who spoke) goes first.

use std::collections::HashMap;

use nearport_wire::Class;

use crate::key::UserKey;

/// What must be left in the bucket for the classes above, in tenths of it.
const FLOORS: [u64; Class::COUNT] = [0, 1, 2, 5];

/// Senders of a second that are told apart. Those beyond it go by class alone.
const SENDERS_MAX: usize = 4096;

/// Parts of a token: one millisecond at one message a second.
const TOKEN: u64 = 1000;

/// A second of senders: what each has had.
#[derive(Debug, Default)]
struct Second {
    had: HashMap<UserKey, u32>,
    asked: u64,
}

/// The rate of one room.
#[derive(Debug)]
pub(super) struct Rate {
    per_s: u64,
    tokens: u64,
    at_ms: u64,
    /// When the present second began.
    second_ms: u64,
    now: Second,
    before: Second,
}

impl Rate {
    /// `per_s` messages in a second; 0: any number.
    pub(super) fn new(per_s: u32, now_ms: u64) -> Self {
        let per_s = u64::from(per_s);
        Self {
            per_s,
            tokens: per_s * TOKEN,
            at_ms: now_ms,
            second_ms: now_ms,
            now: Second::default(),
            before: Second::default(),
        }
    }

    /// Whether a message goes out.
    pub(super) fn offer(&mut self, class: Class, sender: &UserKey, now_ms: u64) -> bool {
        if self.per_s == 0 {
            return true;
        }
        let now_ms = self.pass(now_ms);
        let left = 1000 - (now_ms - self.second_ms);
        self.now.asked += 1;
        let asked = self.now.asked + self.before.asked * left / 1000;
        let room = self.now.had.len() < SENDERS_MAX;
        let had = match self.now.had.get(sender) {
            Some(had) => Some(u64::from(*had)),
            None if room => {
                self.now.had.insert(sender.clone(), 0);
                Some(0)
            }
            None => None,
        };
        let mut floor = 0;
        if asked > self.per_s {
            let earlier = self.before.had.get(sender).map_or(0, |had| u64::from(*had));
            let speakers = self.now.had.len().max(self.before.had.len()) as u64;
            let share = (self.per_s / speakers.max(1)).max(1);
            if had.is_some_and(|had| had + earlier * left / 1000 >= share) {
                return false;
            }
            floor = self.per_s * TOKEN / 10 * FLOORS[class.index()];
        }
        if self.tokens < floor + TOKEN {
            return false;
        }
        self.tokens -= TOKEN;
        if let Some(had) = self.now.had.get_mut(sender) {
            *had += 1;
        }
        true
    }

    /// Time goes on; a clock that goes back stands still. Returns the time.
    fn pass(&mut self, now_ms: u64) -> u64 {
        let now_ms = now_ms.max(self.at_ms);
        let gained = (now_ms - self.at_ms).saturating_mul(self.per_s);
        self.tokens = self.tokens.saturating_add(gained).min(self.per_s * TOKEN);
        self.at_ms = now_ms;
        let seconds = (now_ms - self.second_ms) / 1000;
        if seconds > 0 {
            self.second_ms += seconds * 1000;
            let ended = std::mem::take(&mut self.now);
            self.before = if seconds == 1 { ended } else { Second::default() };
        }
        now_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::AppId;
    use proptest::prelude::*;

    fn user(n: u32) -> UserKey {
        UserKey::new(AppId(1), &format!("u{n}")).unwrap()
    }

    /// What goes out of `per_s` messages each of these senders and classes say, evenly, in each of ten seconds.
    fn run(rate: u32, speakers: &[(u32, Class, u32)]) -> Vec<usize> {
        let mut bucket = Rate::new(rate, 0);
        let mut out = vec![0; speakers.len()];
        for ms in 0..10_000u64 {
            for (n, (who, class, per_s)) in speakers.iter().enumerate() {
                let per_s = u64::from(*per_s);
                let due = (ms + 1) * per_s / 1000 - ms * per_s / 1000;
                out[n] += (0..due).filter(|_| bucket.offer(*class, &user(*who), ms)).count();
            }
        }
        out
    }

    #[test]
    fn what_is_within_the_rate_goes_out_all_of_it_even_at_once() {
        let mut bucket = Rate::new(40, 0);
        assert!((0..40).all(|n| bucket.offer(Class::Like, &user(n), 0)));
        assert!(!bucket.offer(Class::System, &user(1), 0), "past the rate even the most important goes");
        assert_eq!(run(40, &[(1, Class::Like, 20), (2, Class::Chat, 20)]), [200, 200]);
        assert_eq!(run(0, &[(1, Class::Like, 900)]), [9000], "no rate");
    }

    #[test]
    fn more_important_classes_come_first_and_the_rest_is_used() {
        let likes: Vec<_> = (0..50).map(|n| (n, Class::Like, 4)).collect();
        let speakers =
            [&[(100, Class::Gift, 1), (101, Class::Chat, 1), (102, Class::Chat, 1)], &likes[..]].concat();
        let out = run(40, &speakers);
        assert_eq!(out[..3], [10, 10, 10]);
        let likes: usize = out[3..].iter().sum();
        assert!((330..=400).contains(&likes), "{likes}");
    }

    #[test]
    fn who_says_most_goes_first_and_the_others_are_heard() {
        let out = run(40, &[(1, Class::Chat, 500), (2, Class::Chat, 10), (3, Class::Chat, 3)]);
        assert!(out[1] >= 95 && out[2] >= 28, "{out:?}");
        assert!((120..=320).contains(&out[0]), "{out:?}");
        // Alone it may use all.
        let alone = run(40, &[(1, Class::Chat, 500)]);
        assert!((350..=440).contains(&alone[0]), "{alone:?}");
    }

    proptest! {
        #[test]
        fn no_more_goes_out_than_a_second_and_what_has_passed(
            offers in proptest::collection::vec((0u8..4, 0u32..5, 0u64..200), 0..300),
        ) {
            let mut bucket = Rate::new(10, 0);
            let (mut now, mut out) = (0, 0);
            for (class, who, wait) in offers {
                now += wait;
                out += u64::from(bucket.offer(Class::of(class.into()), &user(who), now));
                prop_assert!(out * 1000 <= 10_000 + now * 10);
            }
        }
    }
}
