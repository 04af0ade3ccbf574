//! Packets on their way.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::Duration;

/// Things that are due later, in the order in which they are due; those due at the same time in the order in which they
/// came. Bounded in number and in bytes.
#[derive(Debug)]
pub struct DelayLine<T> {
    heap: BinaryHeap<Entry<T>>,
    next: u64,
    bytes: usize,
    items_max: usize,
    bytes_max: usize,
}

/// The line holds as much as it may. The packet is dropped, as a router without memory would.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the line is full")]
pub struct LineFull;

#[derive(Debug)]
struct Entry<T> {
    at: Duration,
    number: u64,
    bytes: usize,
    item: T,
}

impl<T> DelayLine<T> {
    /// An empty line that holds at most so many items and bytes.
    #[must_use]
    pub fn new(items_max: usize, bytes_max: usize) -> Self {
        Self { heap: BinaryHeap::new(), next: 0, bytes: 0, items_max, bytes_max }
    }

    /// Puts in what is due at `at` and counts as `bytes`.
    ///
    /// # Errors
    /// [`LineFull`]; the item is gone.
    pub fn push(&mut self, at: Duration, bytes: usize, item: T) -> Result<(), LineFull> {
        let sum = self.bytes.saturating_add(bytes);
        if self.heap.len() >= self.items_max || sum > self.bytes_max {
            return Err(LineFull);
        }
        self.bytes = sum;
        self.heap.push(Entry { at, number: self.next, bytes, item });
        self.next += 1;
        Ok(())
    }

    /// Takes out the first that is due.
    pub fn pop(&mut self, now: Duration) -> Option<T> {
        self.heap.peek().filter(|entry| entry.at <= now)?;
        let entry = self.heap.pop()?;
        self.bytes -= entry.bytes;
        Some(entry.item)
    }

    /// When the next is due.
    #[must_use]
    pub fn due(&self) -> Option<Duration> {
        self.heap.peek().map(|entry| entry.at)
    }

    /// Items on their way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether nothing is on its way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}

/// The heap gives the greatest: what is due first is greatest.
impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl<T> Eq for Entry<T> {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn full_is_full() {
        let mut line = DelayLine::new(2, 100);
        line.push(ms(1), 60, 'a').unwrap();
        assert_eq!(line.push(ms(1), 41, 'b'), Err(LineFull), "bytes");
        line.push(ms(1), 40, 'c').unwrap();
        assert_eq!(line.push(ms(1), 0, 'd'), Err(LineFull), "items");
        assert_eq!(line.pop(ms(1)), Some('a'));
        line.push(ms(1), 60, 'e').unwrap();
    }

    proptest! {
        #[test]
        fn each_comes_once_when_it_is_due_and_equals_keep_their_order(times in prop::collection::vec(0u64..20, 0..60)) {
            let mut line = DelayLine::new(times.len(), usize::MAX);
            for (number, at) in times.iter().enumerate() {
                line.push(ms(*at), number, number).unwrap();
            }
            let mut want: Vec<(u64, usize)> = times.iter().copied().zip(0..).collect();
            want.sort_unstable();
            let mut got = Vec::new();
            for now in 0..20 {
                prop_assert!(line.due().is_none_or(|due| due >= ms(now)));
                while let Some(number) = line.pop(ms(now)) {
                    got.push((now, number));
                }
            }
            prop_assert_eq!(got, want);
            prop_assert!(line.is_empty() && line.bytes == 0);
        }
    }
}
