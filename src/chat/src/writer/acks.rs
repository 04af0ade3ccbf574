//! Acks that wait for a commit to join.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::key::UserKey;
use crate::ledger::{BATCH_ITEMS_MAX, CursorMove, CursorName};

/// Devices whose acks may wait. Beyond it they are due, so a batch never exceeds [`BATCH_ITEMS_MAX`]: this many, what requests of
/// one turn ask for, and some posts.
const WAITING_MAX: usize = BATCH_ITEMS_MAX * 3 / 8;

/// The newest ack of each device since the last commit. Ordered, so that equal input makes equal batches.
#[derive(Debug)]
pub(super) struct Acks {
    delay_ms: u64,
    waiting: BTreeMap<(UserKey, Arc<str>), u64>,
    /// When they are to be committed at the latest. Set while any is waiting.
    due_ms: Option<u64>,
}

impl Acks {
    pub(super) fn new(delay_ms: u64) -> Self {
        Self { delay_ms, waiting: BTreeMap::new(), due_ms: None }
    }

    /// Notes that `device` has shown everything up to `position`.
    pub(super) fn add(&mut self, user: &UserKey, device: &Arc<str>, position: u64, now_ms: u64) {
        if position == 0 {
            return;
        }
        let latest_ms = now_ms.saturating_add(self.delay_ms);
        // The smaller one: a clock that was set back must not make acks wait longer.
        self.due_ms = Some(self.due_ms.map_or(latest_ms, |due_ms| due_ms.min(latest_ms)));
        let newest = self.waiting.entry((user.clone(), device.clone())).or_default();
        *newest = position.max(*newest);
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// When waiting acks are due.
    pub(super) fn deadline_ms(&self) -> Option<u64> {
        self.due_ms
    }

    /// Whether they have waited long enough, or are too many.
    pub(super) fn is_due(&self, now_ms: u64) -> bool {
        self.waiting.len() > WAITING_MAX || self.due_ms.is_some_and(|due_ms| now_ms >= due_ms)
    }

    /// Makes them due.
    pub(super) fn expire(&mut self) {
        self.due_ms = self.due_ms.map(|_| 0);
    }

    /// Moves all into `cursors`.
    pub(super) fn take(&mut self, cursors: &mut Vec<CursorMove>) {
        self.due_ms = None;
        let moves = std::mem::take(&mut self.waiting).into_iter();
        cursors.extend(moves.map(|((user, device), position)| {
            let name = CursorName::Device(device.as_ref().into());
            CursorMove { user, name, position, append: None }
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::AppId;

    #[test]
    fn one_move_per_device_due_by_time_or_number() {
        let user = UserKey::new(AppId(1), "alice").unwrap();
        let device = |n: usize| Arc::<str>::from(n.to_string());
        let mut acks = Acks::new(1000);
        acks.add(&user, &device(0), 0, 50);
        assert_eq!(acks.deadline_ms(), None, "nothing is shown, nothing to store");
        acks.add(&user, &device(0), 7, 100);
        acks.add(&user, &device(0), 5, 600);
        assert_eq!(acks.deadline_ms(), Some(1100), "the first one's");
        assert!(!acks.is_due(1099) && acks.is_due(1100));
        let mut cursors = Vec::new();
        acks.take(&mut cursors);
        assert_eq!(cursors.iter().map(|cursor| cursor.position).collect::<Vec<_>>(), [7]);
        assert!(!acks.is_due(u64::MAX));

        for n in 0..=WAITING_MAX {
            assert!(!acks.is_due(0), "{n}");
            acks.add(&user, &device(n), 1, 0);
        }
        assert!(acks.is_due(0));
    }
}
