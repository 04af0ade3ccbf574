//! The trait [`Ledger`]: what is written per message. Engines live in `nearport-store`.
//!
//! The ledger is the truth of the promise: nothing is acknowledged before [`Ledger::commit`] has returned, and
//! sequence numbers are given out by the same atomic batch that inserts the message. One thread commits; any
//! number of threads read; one more may trim.
//!
//! Words: a conversation's **floor** is the last sequence number that was trimmed away, 0 if none was: messages above it
//! are there without holes, up to the **head**. Its **change log** numbers what was changed after it was sent, from 1: each
//! changed message stands in it once, under the number of its last change.

mod outbox;

use std::time::Duration;

use bytes::Bytes;

use crate::key::{AppId, ConvKey, Talk, UserKey};

pub use outbox::{Outbound, OutboxEntry, Settle, Settled, Shelf};

/// Most items in one [`Batch`], of all kinds but what goes into the outbox along with a request, which is one entry for each. A writer
/// that has more waiting commits several batches.
pub const BATCH_ITEMS_MAX: usize = 2048;

/// Messages with [`Edit::uncounted`] that are left out of one [`Span`] without [`Span::own`]. More of them in what a user has not read
/// are rare, and look like unread ones.
pub const TAKEN_BACK_MAX: usize = 1_000;

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
    /// It is unread for nobody: [`Ledger::uncounted`].
    pub uncounted: bool,
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
    /// The message that it moves with, as an index of [`Batch::appends`]: not at all if that is a duplicate. `None`: it moves by
    /// itself. Of [`Batch::resets`] all do.
    pub append: Option<usize>,
}

/// Which cursor of a user.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CursorName {
    /// How far a device has shown the user log. Device names have 1 to 32 bytes.
    Device(Box<str>),
    /// How far the user has read a conversation: a conversation sequence number.
    Read(ConvKey),
    /// How far a device has shown a conversation that is in no user log: a group.
    Shown(Box<str>, ConvKey),
    /// The user has deleted the history of a conversation up to here, for oneself.
    Cleared(ConvKey),
    /// When the user has sent something to a group last: milliseconds since the Unix epoch.
    Spoke(ConvKey),
}

/// A message that gets another body: an edit, or what a recall leaves of it.
#[derive(Debug, Clone)]
pub struct Edit {
    /// The conversation of the message.
    pub conv: ConvKey,
    /// The message.
    pub seq: u64,
    /// What stands in its place. Its time stays.
    pub body: Bytes,
    /// User logs that get one more entry pointing at the message, so that devices that have shown it hear of the change.
    pub logs: Vec<UserKey>,
    /// From now on it is unread for nobody, as if it had been sent so: it was taken back.
    pub uncounted: bool,
}

/// A message that a user deletes for oneself: it stays, and [`Ledger::hidden`] names it. Idempotent; of a message that
/// is not there nothing is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hide {
    /// Who does not want to see it.
    pub user: UserKey,
    /// The conversation of the message.
    pub conv: ConvKey,
    /// The message.
    pub seq: u64,
}

/// A user confirms to have read one message. Idempotent; of a message that is not there nothing is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The conversation of the message.
    pub conv: ConvKey,
    /// The message.
    pub seq: u64,
    /// Who has read it.
    pub user: UserKey,
}

/// What one [`Ledger::commit`] writes: everything or nothing. Edits, hides and receipts are about messages of earlier
/// batches: one of the same batch is not there for them.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Messages, in the order in which sequence numbers are given out.
    pub appends: Vec<Append>,
    /// Changes of messages, in the order in which numbers of change logs are given out. Positions in user logs follow
    /// those of the appends.
    pub edits: Vec<Edit>,
    /// Messages that users delete for themselves.
    pub hides: Vec<Hide>,
    /// Messages that users have read.
    pub receipts: Vec<Receipt>,
    /// Cursor moves.
    pub cursors: Vec<CursorMove>,
    /// Cursors that are set where an administrator says, forward or back; carried out behind [`Self::cursors`].
    pub resets: Vec<CursorMove>,
    /// What back ends are to be told, in the order in which numbers are given out.
    pub outbox: Vec<Outbound>,
    /// What became of what they were to be told; carried out behind [`Self::outbox`]. Each entry is named once.
    pub settles: Vec<Settle>,
}

impl Batch {
    /// How many things it asks for, of every kind. What the outbox gets with a message is counted with the message, and so is
    /// what moves with it.
    #[must_use]
    pub fn items(&self) -> usize {
        let Self { appends, edits, hides, receipts, cursors, resets, outbox: _, settles } = self;
        let cursors = cursors.iter().filter(|moved| moved.append.is_none()).count();
        let marks = hides.len() + receipts.len() + cursors + resets.len();
        appends.len() + edits.len() + marks + self.events() + settles.len()
    }

    /// How many of them are in the outbox and not about messages of the batch.
    #[must_use]
    pub fn events(&self) -> usize {
        self.outbox.iter().filter(|outbound| outbound.append.is_none()).count()
    }

    /// What of [`Self::cursors`] moves, given what became of the messages.
    pub fn moves<'a>(&'a self, done: &Committed) -> impl Iterator<Item = &'a CursorMove> {
        // With a duplicate it has moved before.
        let is_new = move |at: usize| done.appended.get(at).is_some_and(|done| !done.duplicate);
        self.cursors.iter().filter(move |cursor| cursor.append.is_none_or(is_new))
    }

    /// Whether it may put something into the outbox that waits to be told.
    #[must_use]
    pub fn has_outbound(&self) -> bool {
        !self.outbox.is_empty() || self.settles.iter().any(|settle| settle.what == Settled::Again)
    }

    /// Whether it asks for nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items() == 0
    }
}

/// What became of a [`Batch`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Committed {
    /// One for each of [`Batch::appends`], in that order.
    pub appended: Vec<Appended>,
    /// One for each of [`Batch::edits`], in that order. `None`: there is no such message, and nothing was written.
    pub edited: Vec<Option<Edited>>,
}

/// What became of one [`Edit`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edited {
    /// Number of the change in the change log of the conversation, from 1.
    pub edit: u64,
    /// Position in each log of [`Edit::logs`], in that order.
    pub positions: Vec<u64>,
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

impl Appended {
    /// Of a duplicate, whose first message has this place.
    #[must_use]
    pub fn duplicate_of(seq: u64, time_ms: u64) -> Self {
        Self { seq, time_ms, positions: Vec::new(), duplicate: true }
    }
}

/// A stored message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Position in the conversation.
    pub seq: u64,
    /// Server time in milliseconds.
    pub time_ms: u64,
    /// Number of its last change in the change log of its conversation; 0: it is as it was sent.
    pub edit: u64,
    /// The bytes given to [`Append::body`], or to the last [`Edit::body`].
    pub body: Bytes,
}

/// The ends of a conversation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Heads {
    /// The largest sequence number ever given out, 0 if none was.
    pub seq: u64,
    /// The largest number of the change log ever given out, 0 if none was.
    pub edit: u64,
    /// Time of the message `seq`, also when it was trimmed; 0 if there never was one.
    pub time_ms: u64,
    /// Messages up to here were trimmed. `seq` at most.
    pub floor: u64,
}

/// What a user has deleted for oneself of a conversation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deleted {
    /// All messages up to here: [`CursorName::Cleared`].
    pub cleared: u64,
    /// Single messages, smallest first.
    pub hidden: Vec<u64>,
}

/// Messages of a conversation, of which it is asked how many are not unread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The conversation.
    pub conv: ConvKey,
    /// The first message.
    pub first: u64,
    /// The last one, included.
    pub last: u64,
    /// Those that the user has sent are not unread for her either. Then each message of the span is looked at.
    pub own: bool,
}

/// An entry of a user log with the message it points at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Position in the user log.
    pub position: u64,
    /// It stands here because it was sent, not because an [`Edit`] tells of it. `false` also where that was not kept.
    pub first: bool,
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

/// What one [`Ledger::walk`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Walked {
    /// Conversations with a message that is new enough, in the order of their keys.
    pub convs: Vec<ConvKey>,
    /// The last one that was looked at: the next step begins behind it. `None`: there are no more.
    pub next: Option<ConvKey>,
}

/// What of each conversation is to be kept: messages older than this time, in milliseconds since the Unix epoch, may go. 0
/// keeps everything.
pub type Retention<'a> = &'a dyn Fn(&ConvKey) -> u64;

/// Bounds of one [`Ledger::trim`]. A step takes one message, with all that belongs to it, whatever its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrimBudget {
    /// Rows that are removed, about: a message has four and those of its receipts.
    pub rows: usize,
    /// After this time no more conversations and users are looked at.
    pub time: Duration,
}

/// How far a trim has come. Another engine does not understand it; it stays good over a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrimPlace(pub Vec<u8>);

/// What one [`Ledger::trim`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// Where the next step goes on. `None`: this one has come to the end.
    pub next: Option<TrimPlace>,
    /// Messages removed.
    pub messages: u64,
    /// Entries of user logs removed.
    pub log_entries: u64,
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
    /// The database is elsewhere and cannot be reached, or gave up half way. Nothing of it is stopped: the next commit
    /// connects again.
    #[error("the ledger's database is not there: {0}")]
    Unavailable(String),
    /// Any other error of the operating system.
    #[error("ledger i/o: {0}")]
    Io(String),
}

/// What is written per message. See the module documentation for who may call what.
///
/// No read shows anything of a commit that a crash could still undo: a client would show a message whose place another
/// one takes later. And a log entry is never seen without its message.
pub trait Ledger: Send + Sync + std::fmt::Debug {
    /// Writes the batch atomically and durably.
    ///
    /// Guarantee: when this returns `Ok`, the batch survives a crash of the process, the kernel and the machine
    /// (fsync or quorum). Duplicates are found across batches and inside one. Only one thread calls this.
    ///
    /// # Errors
    /// See [`LedgerError`]. After an error every later commit fails too, until the ledger is opened again; only after
    /// [`LedgerError::Unavailable`] a later one may do.
    fn commit(&self, batch: &Batch) -> Result<Committed, LedgerError>;

    /// What [`Self::commit`] would answer for a message with each of these idempotency keys, in the order of `keys`, if it is a
    /// duplicate; `None`: no message has the key.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] or [`LedgerError::Io`].
    fn duplicates(&self, keys: &[IdemKey]) -> Result<Vec<Option<Appended>>, LedgerError>;

    /// A page of a conversation. What was trimmed is left out. Sees every commit that returned before the call.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] or [`LedgerError::Io`].
    fn read(&self, conv: &ConvKey, range: Range, limit: PageLimit) -> Result<Vec<Entry>, LedgerError>;

    /// One message; `None` if it was never written, or trimmed.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] or [`LedgerError::Io`].
    fn entry(&self, conv: &ConvKey, seq: u64) -> Result<Option<Entry>, LedgerError>;

    /// The largest sequence number ever given out in a conversation, 0 if none was. A trim does not change it.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] or [`LedgerError::Io`].
    fn head(&self, conv: &ConvKey) -> Result<u64, LedgerError>;

    /// The ends of several conversations, in the order of `convs`.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] or [`LedgerError::Io`].
    fn heads(&self, convs: &[ConvKey]) -> Result<Vec<Heads>, LedgerError>;

    /// The first sequence number whose message is not older than `time_ms`; behind the head if all are, above the floor if
    /// none is. Times of a conversation do not go back as long as its server's clock does not; where they do, any such
    /// place may be the answer.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] or [`LedgerError::Io`].
    fn seq_at(&self, conv: &ConvKey, time_ms: u64) -> Result<u64, LedgerError>;

    /// Changes with a number above `after`, smallest first, at most `limit` (and at least one if there is one): number and
    /// sequence number of the message. A message that was changed several times stands at its last change only, a trimmed
    /// one not at all, so numbers may be missing.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] or [`LedgerError::Io`].
    fn edits(&self, conv: &ConvKey, after: u64, limit: usize) -> Result<Vec<(u64, u64)>, LedgerError>;

    /// The largest number ever given out in a change log, 0 if none was. A trim does not change it.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] or [`LedgerError::Io`].
    fn edit_head(&self, conv: &ConvKey) -> Result<u64, LedgerError>;

    /// Which messages between `first` and `last`, both included, a user has deleted for oneself, smallest first. Trimmed
    /// ones may be among them.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] or [`LedgerError::Io`].
    fn hidden(&self, user: &UserKey, conv: &ConvKey, first: u64, last: u64) -> Result<Vec<u64>, LedgerError>;

    /// What a user has deleted for oneself of several conversations, of each between two messages as in [`Self::hidden`]. In the
    /// order of `ranges`. An engine to which each question is a way to go answers all of them at once.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] or [`LedgerError::Io`].
    fn deleted(&self, user: &UserKey, ranges: &[(ConvKey, u64, u64)]) -> Result<Vec<Deleted>, LedgerError> {
        let one = |(conv, first, last): &(ConvKey, u64, u64)| {
            let cleared = self.cursor(user, &CursorName::Cleared(conv.clone()))?.unwrap_or_default();
            Ok(Deleted { cleared, hidden: self.hidden(user, conv, *first, *last)? })
        };
        ranges.iter().map(one).collect()
    }

    /// How many messages of each span are not unread for `user`: those with [`Append::uncounted`] or [`Edit::uncounted`], and where
    /// [`Span::own`] says so those that she has sent; none twice. In the order of `spans`. What was trimmed is not there.
    ///
    /// A message that counts pays nothing for it. One that was sent so as not to has one more row, with how many there were; so a span
    /// without `own` costs two looks whatever its length, and one for each message that was taken back later, of which it leaves out
    /// [`TAKEN_BACK_MAX`] at most.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] or [`LedgerError::Io`].
    fn uncounted(&self, user: &UserKey, spans: &[Span]) -> Result<Vec<u64>, LedgerError>;

    /// Who has confirmed to have read a message: users above `after` in the order of their keys, at most `limit` (and at
    /// least one if there is one).
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] or [`LedgerError::Io`].
    fn receipts(
        &self,
        conv: &ConvKey,
        seq: u64,
        after: Option<&UserKey>,
        limit: usize,
    ) -> Result<Vec<UserKey>, LedgerError>;

    /// How many have confirmed to have read a message. Costs the same for one and for thousands.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] or [`LedgerError::Io`].
    fn receipt_count(&self, conv: &ConvKey, seq: u64) -> Result<u64, LedgerError>;

    /// The pairs that a user is in and that ever had a message, above `after` in the order of their keys, at most `limit`
    /// (and at least one if there is one). A trim does not change them.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] or [`LedgerError::Io`].
    fn conversations(
        &self,
        user: &UserKey,
        after: Option<&ConvKey>,
        limit: usize,
    ) -> Result<Vec<ConvKey>, LedgerError>;

    /// One bounded step over the conversations of an App where people talk: `looks` of them (and at least one if there is one) in the
    /// order of their keys, above `after` or from the first one on. Names those whose newest message, also if it was trimmed, is of
    /// `since_ms` or later.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] or [`LedgerError::Io`].
    fn walk(
        &self,
        app: AppId,
        talk: Talk,
        after: Option<&ConvKey>,
        since_ms: u64,
        looks: usize,
    ) -> Result<Walked, LedgerError>;

    /// A page of a user log, entries with `position > after`, smallest first, with their messages as they are now.
    /// Entries whose message was trimmed are left out, so positions may be missing.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] or [`LedgerError::Io`].
    fn read_log(&self, user: &UserKey, after: u64, limit: PageLimit) -> Result<Vec<LogEntry>, LedgerError>;

    /// The largest position ever given out in a user log, 0 if none was. A trim does not change it.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] or [`LedgerError::Io`].
    fn log_head(&self, user: &UserKey) -> Result<u64, LedgerError>;

    /// The position of a cursor, if it was ever moved.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] or [`LedgerError::Io`].
    fn cursor(&self, user: &UserKey, name: &CursorName) -> Result<Option<u64>, LedgerError>;

    /// Several of a user's cursors, in the order of `names`. An engine to which each question is a way to go answers all of them at
    /// once.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] or [`LedgerError::Io`].
    fn cursors(&self, user: &UserKey, names: &[CursorName]) -> Result<Vec<Option<u64>>, LedgerError> {
        names.iter().map(|name| self.cursor(user, name)).collect()
    }

    /// Entries of a shelf of an App's outbox with a number above `after`, smallest first.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] or [`LedgerError::Io`].
    fn outbox(
        &self,
        app: AppId,
        shelf: Shelf,
        after: u64,
        limit: PageLimit,
    ) -> Result<Vec<OutboxEntry>, LedgerError>;

    /// The largest number that stands on a shelf; 0 if it is empty. With the first entry it says about how many there are.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] or [`LedgerError::Io`].
    fn outbox_last(&self, app: AppId, shelf: Shelf) -> Result<u64, LedgerError>;

    /// One bounded step of removing what is older than `retention` says: from the front of each conversation its messages,
    /// with idempotency keys, changes and receipts; then, of each user, what pointed at them. Heads and positions stay as
    /// they were. Begins at `from` ([`TrimPlace::default`] is the start) and says where the next step goes on.
    ///
    /// May run beside commits and reads; one thread at a time calls it. What a step removed, it has removed durably.
    ///
    /// # Errors
    /// As [`Self::commit`].
    fn trim(
        &self,
        retention: Retention<'_>,
        from: &TrimPlace,
        budget: TrimBudget,
    ) -> Result<Trimmed, LedgerError>;

    /// Whether commits can succeed: `Err` says why not. Cheap; `/readyz` calls it.
    ///
    /// # Errors
    /// The error that stopped writes.
    fn writable(&self) -> Result<(), LedgerError>;
}
