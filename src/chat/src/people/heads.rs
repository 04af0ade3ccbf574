//! The counters of the users that one transaction concerns.

use std::collections::{BTreeMap, BTreeSet};

use super::Stop;
use crate::directory::people::{PeopleTx, RelationHead};
use crate::key::UserKey;

/// Locked counters, and which parts have changed. A part's sequence grows once per transaction, however much of it
/// changed.
#[derive(Debug)]
pub(super) struct Heads(BTreeMap<UserKey, Held>);

#[derive(Debug, Default)]
struct Held {
    head: RelationHead,
    changed: Changed,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Changed {
    standard: bool,
    custom: bool,
    blocks: bool,
    groups: bool,
    applications: bool,
}

impl Heads {
    /// Locks `users`, in the order of their keys: two transactions never wait for each other.
    pub(super) fn lock(tx: &mut dyn PeopleTx, users: &BTreeSet<UserKey>) -> Result<Self, Stop> {
        let mut held = BTreeMap::new();
        for user in users {
            let head = tx.lock_relations(user)?;
            held.insert(user.clone(), Held { head, changed: Changed::default() });
        }
        Ok(Self(held))
    }

    pub(super) fn holds(&self, user: &UserKey) -> bool {
        self.0.contains_key(user)
    }

    pub(super) fn get(&self, user: &UserKey) -> RelationHead {
        self.0.get(user).map(|held| held.head).unwrap_or_default()
    }

    fn held(&mut self, user: &UserKey) -> &mut Held {
        self.0.get_mut(user).expect("whoever changes a user has locked her")
    }

    /// A friend came or went, or a standard field of one was changed.
    pub(super) fn friends(&mut self, user: &UserKey, more: i32) {
        let held = self.held(user);
        held.head.friends = held.head.friends.saturating_add_signed(more);
        held.changed.standard = true;
    }

    pub(super) fn custom(&mut self, user: &UserKey) {
        self.held(user).changed.custom = true;
    }

    pub(super) fn groups(&mut self, user: &UserKey) {
        self.held(user).changed.groups = true;
    }

    pub(super) fn blocks(&mut self, user: &UserKey, more: i32) {
        let held = self.held(user);
        held.head.blocks = held.head.blocks.saturating_add_signed(more);
        held.changed.blocks = true;
    }

    pub(super) fn applications(&mut self, user: &UserKey) {
        self.held(user).changed.applications = true;
    }

    /// The number of the user's next application, sent or received.
    pub(super) fn next_application(&mut self, user: &UserKey) -> u64 {
        let held = self.held(user);
        held.head.applications_seq += 1;
        held.head.applications_seq
    }

    pub(super) fn read_applications(&mut self, user: &UserKey, id: u64) {
        let held = self.held(user);
        let id = id.min(held.head.applications_seq);
        if id > held.head.applications_read {
            held.head.applications_read = id;
            held.changed.applications = true;
        }
    }

    /// Moves the sequences of what has changed and writes them. Gives the counters of those who have changed.
    pub(super) fn store(self, tx: &mut dyn PeopleTx) -> Result<BTreeMap<UserKey, RelationHead>, Stop> {
        let mut stored = BTreeMap::new();
        for (user, Held { mut head, changed }) in self.0 {
            if changed == Changed::default() {
                continue;
            }
            head.standard_seq += u64::from(changed.standard);
            head.custom_seq += u64::from(changed.custom);
            head.blocks_seq += u64::from(changed.blocks);
            head.groups_seq += u64::from(changed.groups);
            head.applications_seq += u64::from(changed.applications);
            tx.set_relation_head(&user, &head)?;
            stored.insert(user, head);
        }
        Ok(stored)
    }
}
