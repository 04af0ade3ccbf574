//! Rows of history files: what was said in an hour, of one App and in one kind of conversation.

use super::DirectoryError;
use crate::key::{AppId, Talk};

/// Which file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HistoryKey {
    /// Whose.
    pub app: AppId,
    /// What was said where.
    pub talk: Talk,
    /// When: hours since the Unix epoch, UTC.
    pub hour: u64,
}

/// A file, or one that is being made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HistoryRow {
    /// Its name in the store; empty: nothing was said.
    pub media: String,
    /// When it was begun, milliseconds since the Unix epoch.
    pub started_ms: u64,
    /// When it was complete, milliseconds since the Unix epoch; 0: it is being made.
    pub done_ms: u64,
    /// Messages in it.
    pub messages: u64,
    /// Octets of its text.
    pub bytes: u64,
    /// MD5 of its text, 32 hexadecimal digits; empty without a file.
    pub md5: String,
    /// Octets as it is stored.
    pub gzip_bytes: u64,
    /// MD5 of what is stored, as `md5`.
    pub gzip_md5: String,
}

/// Rows of one transaction.
pub trait HistoryTx {
    /// A row, if there is one.
    ///
    /// # Errors
    /// [`DirectoryError`] of the engine, as for all methods here.
    fn history(&mut self, key: &HistoryKey) -> Result<Option<HistoryRow>, DirectoryError>;

    /// Writes a row, in place of the one that is there.
    ///
    /// # Errors
    /// See [`Self::history`].
    fn put_history(&mut self, key: &HistoryKey, row: &HistoryRow) -> Result<(), DirectoryError>;

    /// The earliest hour whose file was begun before `stale_ms` and is not complete; if there is none, the hour behind the newest
    /// that has a row. `None`: no hour has one.
    ///
    /// # Errors
    /// See [`Self::history`].
    fn next_history(&mut self, app: AppId, talk: Talk, stale_ms: u64) -> Result<Option<u64>, DirectoryError>;

    /// Rows of hours in front of `hour`, of all Apps, the earliest first, `limit` at most: which, and the name in the store.
    ///
    /// # Errors
    /// See [`Self::history`].
    fn old_history(&mut self, hour: u64, limit: u32) -> Result<Vec<(HistoryKey, String)>, DirectoryError>;

    /// Removes a row, if it is there.
    ///
    /// # Errors
    /// See [`Self::history`].
    fn remove_history(&mut self, key: &HistoryKey) -> Result<(), DirectoryError>;
}
