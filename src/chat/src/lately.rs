//! What was said of late: the public contract drops what back ends say twice within five minutes.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// How long something is known.
pub(crate) const KNOWN_FOR_MS: u64 = 300_000;

/// Most things that are known. Above it the oldest is forgotten early.
const KNOWN_MAX: usize = 16_384;

/// Keys with what became of them, for five minutes.
#[derive(Debug)]
pub(crate) struct Lately<K, V> {
    known: HashMap<K, (u64, V)>,
    order: VecDeque<(u64, K)>,
}

impl<K, V> Default for Lately<K, V> {
    fn default() -> Self {
        Self { known: HashMap::new(), order: VecDeque::new() }
    }
}

impl<K: Clone + Eq + Hash, V> Lately<K, V> {
    /// What became of `key`, if it was noted within the last five minutes.
    pub(crate) fn get(&mut self, key: &K, now_ms: u64) -> Option<&V> {
        while let Some((at_ms, _)) = self.order.front()
            && at_ms + KNOWN_FOR_MS <= now_ms
        {
            self.forget_oldest();
        }
        self.known.get(key).map(|(_, value)| value)
    }

    /// Notes what became of `key`.
    pub(crate) fn note(&mut self, key: K, value: V, now_ms: u64) {
        if self.order.len() >= KNOWN_MAX {
            self.forget_oldest();
        }
        self.known.insert(key.clone(), (now_ms, value));
        self.order.push_back((now_ms, key));
    }

    fn forget_oldest(&mut self) {
        if let Some((at_ms, key)) = self.order.pop_front()
            && self.known.get(&key).is_some_and(|(noted_ms, _)| *noted_ms == at_ms)
        {
            self.known.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thing_is_known_for_five_minutes_and_the_memory_is_bounded() {
        let mut lately = Lately::default();
        lately.note(1, 'a', 1000);
        assert_eq!(lately.get(&1, 300_999), Some(&'a'));
        assert_eq!(lately.get(&1, 301_000), None);
        for n in 0..2 * KNOWN_MAX {
            lately.note(n, 'b', 400_000);
        }
        assert_eq!((lately.known.len(), lately.order.len()), (KNOWN_MAX, KNOWN_MAX));
        assert_eq!(lately.get(&(2 * KNOWN_MAX - 1), 400_000), Some(&'b'));
        assert_eq!(lately.get(&0, 400_000), None);
    }
}
