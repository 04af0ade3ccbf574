//! Users and conversations as the writer knows them: their ids and the last number given out in each.

use std::collections::HashMap;
use std::hash::Hash;

/// A bounded cache in two generations. When the young one is full, the old one is forgotten and the young one takes
/// its place; an entry that is used again moves back to the young one. So the cache holds at least the last
/// `generation_max` owners used and at most twice as many plus those of one batch, without a list to keep in order.
///
/// Nothing is forgotten inside a batch: what was changed is ahead of the engine until the batch is committed.
#[derive(Debug)]
pub(super) struct Owners<K, I> {
    young: HashMap<K, Owner<I>>,
    old: HashMap<K, Owner<I>>,
    generation_max: usize,
}

/// A user or a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner<I> {
    pub(super) id: I,
    /// The last number given out. `None`: not looked up yet, as a user may send without having a log.
    pub(super) head: Option<u64>,
}

impl<I> Owner<I> {
    /// Gives out the next number; `load` asks the engine for the head when it is not known yet.
    pub(super) fn next<E>(&mut self, load: impl FnOnce(&I) -> Result<u64, E>) -> Result<u64, E> {
        let head = match self.head {
            Some(head) => head,
            None => load(&self.id)?,
        };
        self.head = Some(head + 1);
        Ok(head + 1)
    }
}

impl<K: Hash + Eq + Clone, I> Owners<K, I> {
    pub(super) fn new(entries_max: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), generation_max: (entries_max / 2).max(1) }
    }

    /// Makes room. To be called between batches.
    pub(super) fn trim(&mut self) {
        if self.young.len() >= self.generation_max {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
    }

    /// The owner called `name`; `load` asks the engine, or makes one, when the cache does not know it.
    pub(super) fn of<E>(
        &mut self,
        name: &K,
        load: impl FnOnce() -> Result<Owner<I>, E>,
    ) -> Result<&mut Owner<I>, E> {
        if !self.young.contains_key(name) {
            let owner = match self.old.remove(name) {
                Some(owner) => owner,
                None => load()?,
            };
            self.young.insert(name.clone(), owner);
        }
        Ok(self.young.get_mut(name).expect("inserted above if it was missing"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives out a number of `name`, whose stored head is `stored`.
    fn next(owners: &mut Owners<u32, u32>, name: u32, stored: u64) -> u64 {
        let owner = owners.of(&name, || Ok::<_, ()>(Owner { id: name, head: None })).unwrap();
        owner.next(|_| Ok::<_, ()>(stored)).unwrap()
    }

    #[test]
    fn the_engine_is_asked_once_and_moves_are_kept() {
        let mut owners = Owners::new(4);
        assert_eq!(next(&mut owners, 1, 5), 6);
        assert_eq!(next(&mut owners, 1, 99), 7);
        assert_eq!(owners.of(&2, || Err("unreadable")), Err("unreadable"));
        let mut new = Owner { id: 7, head: None };
        assert_eq!(new.next(|id| Err(format!("no head of {id}"))), Err("no head of 7".to_owned()));
        assert_eq!(new.head, None);
    }

    #[test]
    fn entries_are_bounded_and_those_in_use_stay() {
        let mut owners = Owners::new(4);
        for name in 0..100 {
            owners.trim();
            next(&mut owners, name, 1);
            assert_eq!(next(&mut owners, 1000, 0), u64::from(name) + 1, "loaded once only");
            assert!(owners.young.len() + owners.old.len() <= 2 * 2 + 2);
        }
        assert_eq!(next(&mut owners, 0, 42), 43, "long unused, so forgotten");
    }

    #[test]
    fn a_batch_of_many_owners_forgets_nothing_that_it_changed() {
        let mut owners = Owners::new(4);
        owners.trim();
        for round in 1..=2 {
            for name in 0..100 {
                assert_eq!(next(&mut owners, name, 0), round);
            }
        }
    }
}
