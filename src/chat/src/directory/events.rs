//! Events for back ends that are written with what they tell of, until the outbox of the ledger has them.

use bytes::Bytes;

use super::DirectoryError;
use crate::key::AppId;

/// The name of an event, which no other has.
pub type EventId = [u8; 16];

/// An event that happened with what one transaction writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingEvent {
    /// Its name, which stands in `body` too.
    pub id: EventId,
    /// Whose back end is told.
    pub app: AppId,
    /// When it happened, milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// [`Event`](crate::callback::Event), encoded. The directory does not look inside.
    pub body: Bytes,
}

/// Rows of one transaction.
pub trait EventTx {
    /// Adds events behind those that are there, in this order.
    ///
    /// # Errors
    /// [`DirectoryError`] of the engine, as for all methods here.
    fn add_events(&mut self, events: &[PendingEvent]) -> Result<(), DirectoryError>;

    /// Those that are there, of all Apps, in the order in which they were added, `limit` at most.
    ///
    /// # Errors
    /// See [`Self::add_events`].
    fn events(&mut self, limit: u32) -> Result<Vec<PendingEvent>, DirectoryError>;

    /// Removes events; those that are not there are left alone.
    ///
    /// # Errors
    /// See [`Self::add_events`].
    fn remove_events(&mut self, ids: &[EventId]) -> Result<(), DirectoryError>;
}
