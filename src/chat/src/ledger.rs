//! The trait [`Ledger`]: what is written per message. Engines live in `nearport-store`.
//!
//! The ledger is the truth of the promise: nothing is acknowledged before [`Ledger::commit`] has returned, and
//! sequence numbers are given out by the same atomic batch that inserts the message. One thread commits; any
//! number of threads read.

use bytes::Bytes;

use crate::key::{ConvKey, UserKey};

/// Most items in one [`Batch`]. A writer that has more waiting commits several batches.
pub const BATCH_ITEMS_MAX: usize = 2048;

/// A message to append.
#[derive(Debug, Clone)]
pub struct Append {
    /// The conversation that gives the message its sequence number.
    pub conv: ConvKey,
    /// Who sent it and the sender's own id of it: the same pair never makes a second message.
    pub idem: IdemKey,
    /// User logs that get one entry pointing at the message: both sides of a pair, nobody for a group.
    /// A user twice (a note to oneself) is given once.
    pub logs: Vec<UserKey>,
    /// Server time of the message, milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// The message as `wire` encodes it. The ledger does not look inside.
    pub body: Bytes,
}

/// Idempotency key: lives as long as the message that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdemKey {
    /// The sender.
    pub sender: UserKey,
    /// `client_msg_id`, 16 bytes that the client chose.
    pub client_msg_id: [u8; 16],
}

/// A read position that moves forward; a move back is ignored.
#[derive(Debug, Clone)]
pub struct CursorMove {
    /// Whose cursor.
    pub user: UserKey,
    /// Which of the user's cursors.
    pub name: CursorName,
    /// The new position; kept only if larger than the stored one.
    pub position: u64,
}

/// Which cursor of a user.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CursorName {
    /// How far a device has shown the user log. Device names have 1 to 32 bytes.
    Device(Box<str>),
    /// How far the user has read a conversation: a conversation sequence number.
    Read(ConvKey),
}

/// What one [`Ledger::commit`] writes: everything or nothing.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Messages, in the order in which sequence numbers are given out.
    pub appends: Vec<Append>,
    /// Cursor moves.
    pub cursors: Vec<CursorMove>,
}

/// What became of one [`Append`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// Position in the conversation, from 1 without holes.
    pub seq: u64,
    /// Time of the message: the first one's for a duplicate.
    pub time_ms: u64,
    /// Position in each log of [`Append::logs`], in that order, from 1 without holes. Empty for a duplicate.
    pub positions: Vec<u64>,
    /// The idempotency key was known: nothing was written, `seq` and `time_ms` are the first message's.
    pub duplicate: bool,
}

/// A stored message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Position in the conversation.
    pub seq: u64,
    /// Server time in milliseconds.
    pub time_ms: u64,
    /// The bytes given to [`Append::body`].
    pub body: Bytes,
}

/// An entry of a user log with the message it points at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Position in the user log.
    pub position: u64,
    /// The conversation of the message.
    pub conv: ConvKey,
    /// The message.
    pub entry: Entry,
}

/// A page in either direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// Messages with `seq > after`, smallest first.
    After(u64),
    /// Messages with `seq < before`, largest first. `u64::MAX` starts at the newest.
    Before(u64),
}

/// Bounds of one page. A page holds at least one entry if there is one, whatever its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLimit {
    /// Most entries.
    pub entries: usize,
    /// Bytes of bodies after which the page ends.
    pub bytes: usize,
}

/// Why the ledger did not do as asked. After an error of [`Ledger::commit`] nothing of the batch may be
/// acknowledged; whether it exists is unknown until the next start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// No space left. The ledger takes no more writes until it is opened again.
    #[error("the disk is full: {0}")]
    Full(String),
    /// A write or sync failed earlier. It is never retried: what the disk holds is unknown (the fsync lesson of
    /// PostgreSQL, 2018). Reads go on; writes need a restart.
    #[error("the ledger stopped taking writes after an error: {0}")]
    Failed(String),
    /// Acknowledged commits are missing, or stored bytes do not make sense.
    #[error("the ledger is damaged: {0}")]
    Damaged(String),
    /// Another process holds the store.
    #[error("the store is in use by another process: {0}")]
    Locked(String),
    /// Any other error of the operating system.
    #[error("ledger i/o: {0}")]
    Io(String),
}

/// What is written per message. See the module documentation for who may call what.
///
/// No read shows anything of a commit that a crash could still undo: a client would show a message whose place another
/// one takes later. And a log entry is never seen without its message.
pub trait Ledger: Send + Sync + std::fmt::Debug {
    /// Writes the batch atomically and durably; outcomes stand in the order of [`Batch::appends`].
    ///
    /// Guarantee: when this returns `Ok`, the batch survives a crash of the process, the kernel and the machine
    /// (fsync or quorum). Duplicates are found across batches and inside one. Only one thread calls this.
    ///
    /// # Errors
    /// See [`LedgerError`]. After an error every later commit fails too, until the ledger is opened again.
    fn commit(&self, batch: &Batch) -> Result<Vec<Appended>, LedgerError>;

    /// A page of a conversation. Sees every commit that returned before the call.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] or [`LedgerError::Io`].
    fn read(&self, conv: &ConvKey, range: Range, limit: PageLimit) -> Result<Vec<Entry>, LedgerError>;

    /// The largest sequence number of a conversation, 0 if it has no message.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] or [`LedgerError::Io`].
    fn head(&self, conv: &ConvKey) -> Result<u64, LedgerError>;

    /// A page of a user log, entries with `position > after`, smallest first, with their messages.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] or [`LedgerError::Io`].
    fn read_log(&self, user: &UserKey, after: u64, limit: PageLimit) -> Result<Vec<LogEntry>, LedgerError>;

    /// The largest position of a user log, 0 if it is empty.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] or [`LedgerError::Io`].
    fn log_head(&self, user: &UserKey) -> Result<u64, LedgerError>;

    /// The position of a cursor, if it was ever moved.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] or [`LedgerError::Io`].
    fn cursor(&self, user: &UserKey, name: &CursorName) -> Result<Option<u64>, LedgerError>;

    /// Whether commits can succeed: `Err` says why not. Cheap; `/readyz` calls it.
    ///
    /// # Errors
    /// The error that stopped writes.
    fn writable(&self) -> Result<(), LedgerError>;
}
