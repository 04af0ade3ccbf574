//! Exactly once, in order: turns pushes and pages of a user log into a gapless run of entries.
//!
//! Pushes are hints. The tracker passes on the entry that follows its cursor, drops what it has seen, holds a
//! bounded number of entries that came early, and says when a page is needed.

use std::collections::BTreeMap;

/// Early entries that are held; more are dropped, the page brings them.
const HELD_MAX: usize = 256;

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// It and perhaps held ones behind it are ready: [`Tracker::pop_ready`].
    Ready,
    /// Seen before.
    Duplicate,
    /// Something before it is missing: ask for a page.
    Gap,
}

/// A position in a user log and what is known beyond it. `T` is the entry; `None` stands for an entry that has
/// nothing to show: a message of this device's own, or one that is not to be shown any more.
#[derive(Debug, Clone)]
pub struct Tracker<T> {
    cursor: u64,
    /// Largest position that is known to exist.
    known: u64,
    held: BTreeMap<u64, Option<T>>,
}

impl<T> Tracker<T> {
    /// A tracker behind which everything up to `cursor` is shown, of a log that reaches `head` at least.
    #[must_use]
    pub fn new(cursor: u64, head: u64) -> Self {
        Self { cursor, known: head.max(cursor), held: BTreeMap::new() }
    }

    /// The last position that was passed on.
    #[must_use]
    pub fn cursor(&self) -> u64 {
        self.cursor
    }

    /// Whether entries are known to exist beyond the cursor: a page is needed.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.known > self.cursor
    }

    /// An entry came by push (or, as `None`, in the reply to this device's own send).
    pub fn arrive(&mut self, position: u64, entry: Option<T>) -> Arrival {
        self.known = self.known.max(position);
        if position <= self.cursor {
            return Arrival::Duplicate;
        }
        if position == self.cursor + 1 || self.held.len() < HELD_MAX {
            self.held.entry(position).or_insert(entry);
        }
        if self.held.contains_key(&(self.cursor + 1)) { Arrival::Ready } else { Arrival::Gap }
    }

    /// An entry of a page. Pages are the log itself: a hole in front of the first entry was trimmed there and is
    /// jumped over. `None`: there is nothing to show, whatever a push has said before.
    pub fn arrive_in_page(&mut self, position: u64, entry: Option<T>) {
        if position <= self.cursor {
            return;
        }
        self.known = self.known.max(position);
        if position > self.cursor + 1
            && self.held.first_key_value().is_none_or(|(first, _)| *first >= position)
        {
            self.cursor = position - 1;
        }
        if entry.is_some() {
            self.held.entry(position).or_insert(entry);
        } else {
            self.held.insert(position, None);
        }
    }

    /// The page ended with the log: nothing beyond `head` existed, and what lies between the page's last entry and `head`
    /// was trimmed. To be called when the page's entries are passed on; then there may be more to pass on.
    pub fn complete(&mut self, head: u64) {
        if self.held.first_key_value().is_none_or(|(first, _)| *first > head) {
            self.cursor = self.cursor.max(head);
        }
        self.known = self.known.min(head.max(self.cursor));
        if let Some((last, _)) = self.held.last_key_value() {
            self.known = self.known.max(*last);
        }
    }

    /// The next entry in order: its position, and its content unless this device has it.
    pub fn pop_ready(&mut self) -> Option<(u64, Option<T>)> {
        let first = self.held.first_entry()?;
        if *first.key() != self.cursor + 1 {
            return None;
        }
        self.cursor += 1;
        Some((self.cursor, first.remove()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn drain(tracker: &mut Tracker<u64>, out: &mut Vec<u64>) {
        while let Some((position, entry)) = tracker.pop_ready() {
            assert_eq!(entry, Some(position * 10));
            out.push(position);
        }
    }

    proptest! {
        /// Pushes may be lost, doubled and reordered; with pages on demand every entry comes once, in order.
        #[test]
        fn any_pushes_and_pages_give_the_log_once_in_order(
            head in 0u64..600, cursor in 0u64..20, page in 1u64..50,
            pushes in proptest::collection::vec(1u64..600, 0..300),
        ) {
            let cursor = cursor.min(head);
            let mut tracker = Tracker::new(cursor, cursor);
            let mut shown = Vec::new();
            for position in pushes.into_iter().filter(|p| *p <= head) {
                let arrival = tracker.arrive(position, Some(position * 10));
                drain(&mut tracker, &mut shown);
                if arrival == Arrival::Gap {
                    prop_assert!(tracker.is_behind());
                    let after = tracker.cursor();
                    for p in after + 1..=(after + page).min(head) {
                        tracker.arrive_in_page(p, Some(p * 10));
                    }
                    drain(&mut tracker, &mut shown);
                }
                prop_assert!(tracker.held.len() <= HELD_MAX + 1);
            }
            while tracker.cursor() < head {
                let after = tracker.cursor();
                for p in after + 1..=(after + page).min(head) {
                    tracker.arrive_in_page(p, Some(p * 10));
                }
                tracker.complete(head);
                drain(&mut tracker, &mut shown);
            }
            prop_assert!(!tracker.is_behind());
            prop_assert_eq!(shown, (cursor + 1..=head).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_trimmed_log_is_jumped_and_a_false_gap_ends() {
        let mut tracker = Tracker::new(3, 9);
        tracker.arrive_in_page(8, Some(80));
        tracker.arrive_in_page(9, Some(90));
        let mut shown = Vec::new();
        drain(&mut tracker, &mut shown);
        assert_eq!(shown, [8, 9]);
        let mut tracker = Tracker::<u64>::new(3, 9);
        tracker.complete(3);
        assert!(!tracker.is_behind(), "the log says that nothing is there: do not ask for ever");
        let mut tracker = Tracker::new(3, 9);
        tracker.arrive(10, Some(100));
        tracker.complete(9);
        drain(&mut tracker, &mut shown);
        assert_eq!(shown, [8, 9, 10]);
        assert!(!tracker.is_behind(), "everything up to the head is gone, and what follows it is shown");
    }

    #[test]
    fn a_page_that_ends_with_nothing_to_show_moves_the_cursor_all_the_same() {
        let mut tracker = Tracker::new(3, 6);
        tracker.arrive(5, Some(50));
        for (position, entry) in [(4, Some(40)), (5, None), (6, None)] {
            tracker.arrive_in_page(position, entry);
        }
        tracker.complete(6);
        let ready: Vec<_> = std::iter::from_fn(|| tracker.pop_ready()).collect();
        assert_eq!(ready, [(4, Some(40)), (5, None), (6, None)]);
        assert!(!tracker.is_behind());
    }

    #[test]
    fn the_own_message_moves_the_cursor_without_being_shown() {
        let mut tracker = Tracker::<u64>::new(3, 3);
        assert_eq!(tracker.arrive(4, None), Arrival::Ready);
        assert_eq!(tracker.pop_ready(), Some((4, None)));
        assert_eq!(tracker.cursor(), 4);
    }
}
