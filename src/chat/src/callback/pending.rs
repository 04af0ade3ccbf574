//! Events that the directory has until the outbox has them: what is left of them after a crash, and when their rows go.
//!
//! What a transaction of the directory changes and what the ledger holds cannot be written at once. So an event stands in the directory
//! first, in the transaction of what it tells of ([`Event::pending`](super::Event::pending)); then the writer puts it into the outbox; then its row
//! goes, some at a time; and only then may the entry leave the outbox. So at a start a row whose name is not in the outbox is of an
//! event that never was there, and all are told, each once. Only where another core works on the same database may one that is just
//! on its way be told twice.

use std::collections::{BTreeMap, BTreeSet};

use metrics::counter;

use super::{EVENTS_MAX, Event};
use crate::directory::events::{EventId, PendingEvent};
use crate::error::Error;
use crate::key::AppId;
use crate::ledger::{LedgerError, PageLimit, Shelf};
use crate::shared::Shared;

/// Rows that are left for others to come.
const ROWS_AT_ONCE: usize = 256;
/// Or for so long, milliseconds.
const WITHIN_MS: u64 = 200;

/// The end of a shelf in which it is looked for: an entry whose row is still there came in the last moments.
const LOOKED_AT: u64 = 100_000;
const PAGE: PageLimit = PageLimit { entries: 1_000, bytes: 4 << 20 };

/// When rows were removed last.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    swept_ms: u64,
}

impl Sweep {
    /// Removes rows of events that the outbox has, if it is time. Blocks for a transaction.
    pub(crate) fn sweep(&mut self, shared: &Shared, now_ms: u64) {
        let waiting = shared.callbacks.count_stored();
        if waiting == 0 || waiting < ROWS_AT_ONCE && now_ms < self.swept_ms.saturating_add(WITHIN_MS) {
            return;
        }
        self.swept_ms = now_ms;
        shared.remove_told();
    }
}

impl Shared {
    /// Removes the rows of all events that the outbox has. What fails is tried again.
    pub(crate) fn remove_told(&self) {
        let ids = self.callbacks.take_stored();
        if ids.is_empty() {
            return;
        }
        let removed = self.directory.write_people(&mut |tx| tx.remove_events(&ids));
        let failed = match removed {
            Ok(()) => Vec::new(),
            Err(error) => {
                tracing::warn!(%error, events = ids.len(), "events that back ends were told cannot be removed; tried again");
                ids
            }
        };
        self.callbacks.removed(failed);
    }

    /// Has back ends told what a former process has written and not put into the outbox. Called once, before anything else is
    /// told. Blocks for some looks into the stores.
    ///
    /// # Errors
    /// Those of the stores.
    pub fn tell_left(&self) -> Result<(), Error> {
        let mut left = Vec::new();
        self.directory.read_people(&mut |tx| {
            left = tx.events(u32::try_from(EVENTS_MAX).unwrap_or(u32::MAX))?;
            Ok(())
        })?;
        if left.is_empty() {
            return Ok(());
        }
        let mut there = BTreeMap::new();
        for app in left.iter().map(|event| event.app).collect::<BTreeSet<_>>() {
            there.insert(app, self.named(app)?);
        }
        let is_there =
            |event: &PendingEvent| there.get(&event.app).is_some_and(|ids| ids.contains(&event.id));
        let (stored, left): (Vec<_>, Vec<_>) = left.into_iter().partition(is_there);
        tracing::info!(left = left.len(), stored = stored.len(), "events of a former process are told");
        counter!("nearport_callback_events_total", "outcome" => "left").increment(left.len() as u64);
        self.callbacks.stored(stored.into_iter().map(|event| event.id));
        self.callbacks.tell_pending(left);
        Ok(())
    }

    /// Names of the events that wait in an App's outbox.
    fn named(&self, app: AppId) -> Result<BTreeSet<EventId>, LedgerError> {
        let mut after = self.ledger.outbox_last(app, Shelf::Waiting)?.saturating_sub(LOOKED_AT);
        let mut names = BTreeSet::new();
        loop {
            let page = self.ledger.outbox(app, Shelf::Waiting, after, PAGE)?;
            let Some(last) = page.last() else { return Ok(names) };
            after = last.number;
            let named = page.into_iter().filter_map(|entry| Event::read(entry.body));
            names.extend(named.filter_map(|event| EventId::try_from(&event.id[..]).ok()));
        }
    }
}
