//! Events that the outbox of the ledger does not have yet.

use nearport_chat::directory::DirectoryError;
use nearport_chat::directory::events::{EventId, EventTx, PendingEvent};

#[derive(Debug, Default, Clone)]
pub(super) struct Tables {
    /// In the order in which they were added.
    pending: Vec<PendingEvent>,
}

impl Tables {
    /// [`EventTx::add_events`], for the areas whose transactions are not of people.
    pub(super) fn add(&mut self, events: &[PendingEvent]) {
        for event in events {
            if self.pending.iter().all(|there| there.id != event.id) {
                self.pending.push(event.clone());
            }
        }
    }
}

impl EventTx for super::people::Tables {
    fn add_events(&mut self, events: &[PendingEvent]) -> Result<(), DirectoryError> {
        self.events.add(events);
        Ok(())
    }

    fn events(&mut self, limit: u32) -> Result<Vec<PendingEvent>, DirectoryError> {
        Ok(self.events.pending.iter().take(limit as usize).cloned().collect())
    }

    fn remove_events(&mut self, ids: &[EventId]) -> Result<(), DirectoryError> {
        self.events.pending.retain(|event| !ids.contains(&event.id));
        Ok(())
    }
}
