//! What back ends want written about groups.

use nearport_wire::body::{Content, Mentions, Priority, SendControl};

use super::Done;
use crate::key::{GroupKey, UserKey};
use crate::ledger::{Append, CursorMove};
use crate::reply::Failure;

/// Something for the writer that it answers.
pub(crate) enum GroupOrder {
    /// A message, under the rate of its group.
    Say(Box<GroupSaying>),
    /// A message at its own time, of which nobody is told.
    Import {
        /// What is stored, as it stands.
        append: Append,
        /// Hears of it after the commit.
        done: Done,
    },
    /// Read cursors of users. At most [`MARKS_MAX`].
    Marks {
        /// Forward only, like all cursors.
        moves: Vec<CursorMove>,
        /// Hears whether they are stored.
        done: Box<dyn FnOnce(bool) + Send>,
    },
}

/// Cursors of one order.
pub(crate) const MARKS_MAX: usize = 300;

impl GroupOrder {
    /// How many items of a batch it takes.
    pub(crate) fn items(&self) -> usize {
        match self {
            Self::Say(_) | Self::Import { .. } => 1,
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
