//! The audit log as it is kept.

use super::DirectoryError;
use crate::audit::{Entry, Mark, Marks, Record};

/// Records in a chain, see [`crate::audit`].
pub trait AuditStore: Send + Sync + std::fmt::Debug {
    /// Appends records in one durable transaction and gives the new head. Processes that share the store share the chain.
    ///
    /// # Errors
    /// [`DirectoryError`] of the engine; then none was appended, but for [`DirectoryError::Unavailable`], which does not know.
    fn audit_append(&self, entries: &[Entry]) -> Result<Mark, DirectoryError>;

    /// Where the chain begins and ends.
    ///
    /// # Errors
    /// [`DirectoryError`] of the engine.
    fn audit_marks(&self) -> Result<Marks, DirectoryError>;

    /// Up to `limit` records behind `after`, as they are kept.
    ///
    /// # Errors
    /// [`DirectoryError`] of the engine.
    fn audit_read(&self, after: u64, limit: usize) -> Result<Vec<Record>, DirectoryError>;

    /// Removes the records up to `seq`, moves the floor there and appends a record that says so, made of `act`, in one transaction.
    /// Does nothing if there is no record `seq`.
    ///
    /// # Errors
    /// [`DirectoryError`] of the engine; then nothing has changed.
    fn audit_trim(&self, seq: u64, act: &Entry) -> Result<(), DirectoryError>;
}
