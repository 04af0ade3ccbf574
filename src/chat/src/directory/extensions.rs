//! Rows of message extensions: pairs of a key and a value that users and back ends put on a message of a pair.

use super::DirectoryError;
use crate::key::ConvKey;

/// A pair on a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExtensionRow {
    /// At most 100 bytes.
    pub key: String,
    /// At most 1,000 bytes; empty: it was deleted.
    pub value: String,
    /// Number of its last change among those of the message.
    pub seq: u64,
}

/// How often the extensions of a message have changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExtensionHead {
    /// Number of the last change; 0: there was none.
    pub latest: u64,
    /// All that has this number or a smaller one was cleared.
    pub clear: u64,
}

/// Rows of message extensions, in a transaction of [`super::people::PeopleStore`].
pub trait ExtensionTx {
    /// The counters of a message.
    ///
    /// # Errors
    /// [`DirectoryError`] of the engine, as for all methods here.
    fn extension_head(&mut self, conv: &ConvKey, message: u64) -> Result<ExtensionHead, DirectoryError>;

    /// The same, locked until the transaction ends. A message without any has counters from then on, made at `now_ms`.
    ///
    /// # Errors
    /// See [`Self::extension_head`].
    fn lock_extensions(
        &mut self,
        conv: &ConvKey,
        message: u64,
        now_ms: u64,
    ) -> Result<ExtensionHead, DirectoryError>;

    /// Sets the counters of a message that is locked.
    ///
    /// # Errors
    /// See [`Self::extension_head`].
    fn set_extension_head(
        &mut self,
        conv: &ConvKey,
        message: u64,
        head: ExtensionHead,
    ) -> Result<(), DirectoryError>;

    /// Pairs with a number above `after`, by number, `limit` at most.
    ///
    /// # Errors
    /// See [`Self::extension_head`].
    fn extensions(
        &mut self,
        conv: &ConvKey,
        message: u64,
        after: u64,
        limit: u32,
    ) -> Result<Vec<ExtensionRow>, DirectoryError>;

    /// Writes a pair.
    ///
    /// # Errors
    /// See [`Self::extension_head`].
    fn put_extension(
        &mut self,
        conv: &ConvKey,
        message: u64,
        row: &ExtensionRow,
    ) -> Result<(), DirectoryError>;

    /// Takes all pairs of a message away.
    ///
    /// # Errors
    /// See [`Self::extension_head`].
    fn clear_extensions(&mut self, conv: &ConvKey, message: u64) -> Result<(), DirectoryError>;

    /// Takes all away of messages whose first pair is older than `before_ms`, `limit` messages at most: history does not keep them
    /// any more.
    ///
    /// # Errors
    /// See [`Self::extension_head`].
    fn trim_extensions(&mut self, before_ms: u64, limit: u32) -> Result<(), DirectoryError>;
}
