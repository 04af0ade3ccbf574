//! Events that the outbox of the ledger does not have yet.

use nearport_chat::directory::DirectoryError;
use nearport_chat::directory::events::{EventId, EventTx, PendingEvent};
use nearport_chat::key::AppId;

use super::people::PeopleRows;
use super::{Row, Tx, params, params_each};

/// [`EventTx::add_events`], for the areas whose transactions are not of people.
pub(super) fn add(tx: &mut dyn Tx, events: &[PendingEvent]) -> Result<(), DirectoryError> {
    // Most transactions have none: no round trip for them.
    if events.is_empty() {
        return Ok(());
    }
    let rows = params_each(events, |PendingEvent { id, app, time_ms, body }| {
        Ok(params![id[..], app.0, time_ms, body].into())
    })?;
    tx.execute_each(
        "INSERT INTO pending_events (id, app_id, time_ms, body) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING",
        &rows,
    )?;
    Ok(())
}

impl EventTx for PeopleRows<'_> {
    fn add_events(&mut self, events: &[PendingEvent]) -> Result<(), DirectoryError> {
        add(self.0, events)
    }

    fn events(&mut self, limit: u32) -> Result<Vec<PendingEvent>, DirectoryError> {
        let rows = self.0.query(
            "SELECT id, app_id, time_ms, body FROM pending_events ORDER BY number LIMIT $1",
            &params![limit],
        )?;
        rows.iter().map(event).collect()
    }

    fn remove_events(&mut self, ids: &[EventId]) -> Result<(), DirectoryError> {
        if ids.is_empty() {
            return Ok(());
        }
        let rows = params_each(ids, |id| Ok(params![id[..]].into()))?;
        self.0.execute_each("DELETE FROM pending_events WHERE id = $1", &rows)?;
        Ok(())
    }
}

fn event(row: &Row) -> Result<PendingEvent, DirectoryError> {
    let id = row.blob(0)?;
    let wrong = |_: std::array::TryFromSliceError| {
        DirectoryError::Engine(format!("the id of an event has {} bytes", id.len()))
    };
    let id: EventId = id.try_into().map_err(wrong)?;
    Ok(PendingEvent { id, app: AppId(row.int(1)?), time_ms: row.int(2)?, body: row.blob(3)?.to_vec().into() })
}
