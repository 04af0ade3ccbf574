//! What the server is told of what was shown: many groups in one word, not at once, and again where it may not know.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Groups, RETRY_MIN, Room};

/// Within this the server learns what was shown: a device that is started anew without a memory of its own shows as much
/// again. Each time costs a durable write for each device, so it is no shorter.
pub(super) const SHOWN_WITHIN: Duration = Duration::from_secs(10);

/// Groups in one word: with names of 48 bytes well below the limit of a request.
const BATCH: usize = 100;

/// See the module documentation.
#[derive(Debug, Default)]
pub(super) struct Telling {
    /// Groups in which the server does not know yet what was shown.
    groups: BTreeSet<Arc<str>>,
    /// When that is due, if any is there.
    at: Option<Instant>,
    under_way: bool,
}

impl Telling {
    /// More was shown: the server hears of it with what else is shown meanwhile.
    pub(super) fn note(&mut self, group: Arc<str>, now: Instant) {
        self.groups.insert(group);
        self.at.get_or_insert(now + SHOWN_WITHIN);
    }

    /// The server is to hear of this group, and of all others, at this time.
    pub(super) fn note_for(&mut self, group: Arc<str>, at: Instant) {
        self.groups.insert(group);
        self.at = Some(at);
    }

    /// There is nothing to tell of this group any more.
    pub(super) fn forget(&mut self, group: &Arc<str>) {
        self.groups.remove(group);
    }

    /// What is to be told now, as `shown` says of each group, if anything is due; `at_once` does not wait for company. [`Self::done`] follows.
    pub(super) fn take(
        &mut self,
        now: Instant,
        at_once: bool,
        shown: impl Fn(&Arc<str>) -> Option<u64>,
    ) -> Option<Vec<(Arc<str>, u64)>> {
        let due = at_once || self.at.is_some_and(|at| at <= now);
        if self.under_way || !due || self.groups.is_empty() {
            return None;
        }
        let batch: Vec<_> = self.groups.iter().take(BATCH).cloned().collect();
        batch.iter().for_each(|group| self.forget(group));
        if self.groups.is_empty() {
            self.at = None;
        }
        let told = batch.into_iter().filter_map(|group| shown(&group).map(|seq| (group, seq)));
        let told: Vec<_> = told.collect();
        self.under_way = !told.is_empty();
        self.under_way.then_some(told)
    }

    /// The answer to the last word came, or none will.
    pub(super) fn done(&mut self) {
        self.under_way = false;
    }

    /// Whether the server has still to be told something, or is being told.
    pub(super) fn is_open(&self) -> bool {
        self.under_way || !self.groups.is_empty()
    }

    /// When [`Self::take`] gives something.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.at.filter(|_| !self.under_way && !self.groups.is_empty())
    }
}

impl<T> Groups<T> {
    /// What the server is to know about what was shown, if that is due; `at_once` does not wait for company. Answer with
    /// [`Self::told`].
    pub(crate) fn take_shown(&mut self, now: Instant, at_once: bool) -> Option<Vec<(Arc<str>, u64)>> {
        let rooms = &self.rooms;
        let shown = |group: &Arc<str>| rooms.get(group).filter(|room| room.untold()).map(Room::shown);
        self.telling.take(now, at_once, shown)
    }

    /// The server knows, or (`false`) may not know.
    pub(crate) fn told(&mut self, now: Instant, shown: &[(Arc<str>, u64)], knows: bool) {
        self.telling.done();
        for (group, seq) in shown {
            let Some(room) = self.rooms.get_mut(group) else { continue };
            if knows {
                room.told = room.told.max(Some(*seq));
            } else {
                self.telling.note_for(Arc::clone(group), now + RETRY_MIN);
            }
        }
    }

    /// Whether the server has still to be told what was shown, or is being told.
    pub(crate) fn has_untold(&self) -> bool {
        self.telling.is_open()
    }
}
