//! What back ends want written about groups.

use nearport_wire::body::{Content, Mentions, Priority, SendControl};

use crate::admin::{Asker, Callbacks};
use crate::key::{GroupKey, UserKey};
use crate::ledger::{Append, Appended, CursorMove, IdemKey, LedgerError};
use crate::reply::Failure;

/// Something for the writer that it answers.
pub(crate) enum GroupOrder {
    /// A message, under the rate of its group.
    Say(Box<GroupSaying>),
    /// Messages at their own times, of which nobody is told: those of a conversation oldest first. At most [`IMPORTS_MAX`].
    Imports {
        /// What is stored.
        messages: Vec<Importing>,
        /// Hears of them after the commit, in the order of `messages`.
        done: Imported,
    },
    /// Read cursors of users. At most [`MARKS_MAX`].
    Marks {
        /// Where they are to stand.
        moves: Vec<CursorMove>,
        /// Also if that is back; else they only go forward, like all cursors.
        back: bool,
        /// Hears whether they are stored.
        done: Box<dyn FnOnce(bool) + Send>,
    },
}

/// Cursors of one order.
pub(crate) const MARKS_MAX: usize = 300;

/// Messages of one order of imports: two of them make a batch.
pub(crate) const IMPORTS_MAX: usize = 1000;

/// A message of another system.
pub(crate) struct Importing {
    /// Its time is whole seconds, as the other system has it.
    pub(crate) append: Append,
    /// The key under which the same message of the other side would be known.
    pub(crate) mirrored: Option<IdemKey>,
}

/// What became of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It stands there: since now, or since before if it is a duplicate.
    Stands(Appended),
    /// It is older than what its conversation has, and is not stored.
    Older,
}

/// Hears what became of messages, on the writer's thread.
pub(crate) type Imported = Box<dyn FnOnce(Result<Vec<Outcome>, &LedgerError>) + Send>;

impl GroupOrder {
    /// How many items of a batch it takes.
    pub(crate) fn items(&self) -> usize {
        match self {
            Self::Say(_) => 1,
            Self::Imports { messages, .. } => messages.len(),
            Self::Marks { moves, .. } => moves.len(),
        }
    }
}

/// A message of a back end to a group.
pub(crate) struct GroupSaying {
    pub(crate) group: GroupKey,
    /// In whose name; need not be a member.
    pub(crate) from: UserKey,
    /// Told again within five minutes it is the same message.
    pub(crate) random: u32,
    pub(crate) content: Content,
    pub(crate) priority: Priority,
    pub(crate) online_only: bool,
    pub(crate) need_receipt: bool,
    pub(crate) mentions: Option<Mentions>,
    pub(crate) control: Option<SendControl>,
    pub(crate) offline_push: String,
    pub(crate) extensible: bool,
    /// Who calls.
    pub(crate) asker: Asker,
    /// What back ends hear of it.
    pub(crate) callbacks: Callbacks,
    pub(crate) done: Said,
}

/// Hears what became of a message.
pub(crate) type Said = Box<dyn FnOnce(Result<GroupSaid, Failure>) + Send>;

/// A message that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupSaid {
    /// Its place; 0: it is not stored.
    pub seq: u64,
    /// Its time, milliseconds.
    pub time_ms: u64,
}
