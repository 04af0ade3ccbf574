//! What clients and the final reader saw, in order: the only thing that the checker judges.
//!
//! The simulator writes these records, and so can any driver of real processes: nothing here knows where they come
//! from. The shape is Jepsen's (invoke, ok, fail, info) plus what a chat adds: what was shown, on which device.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::checker::Seen;

/// `client_msg_id`: the sender's own name of a message, the same in every attempt.
pub type MsgId = [u8; 16];

/// Stands behind what a message said at first when it was edited; a number follows.
pub const EDITED: char = '~';

/// A device of a user.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Who {
    /// The user.
    pub user: Arc<str>,
    /// The device's name; unique for this user.
    pub device: Arc<str>,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Since the start of the run.
    pub at: Duration,
    /// On which device. For [`What::Stored`], whose log was read; for [`What::Fault`], anything.
    pub who: Who,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The user pressed send.
    Invoke {
        /// The message.
        id: MsgId,
        /// The other side of the conversation.
        to: Arc<str>,
        /// What it says; unique in a run, so that a mix-up shows.
        content: Arc<str>,
    },
    /// The server acknowledged it.
    Ok {
        /// The message.
        id: MsgId,
        /// Its place in the conversation.
        seq: u64,
    },
    /// The server refused it for good: it must not exist.
    Fail {
        /// The message.
        id: MsgId,
        /// The server's error code.
        code: u32,
    },
    /// The device forgot it before an answer came: it may or may not exist.
    Info {
        /// The message.
        id: MsgId,
    },
    /// The device showed a message to its user.
    Shown {
        /// Its place in the user's log.
        position: u64,
        /// The message.
        message: Message,
    },
    /// The device told its user that a message says something else now, with [`EDITED`] behind what it said at first.
    Changed {
        /// Place of the change in the user's log.
        position: u64,
        /// The message as it is now.
        message: Message,
    },
    /// The device's software started again. What it showed is on its disk, or was lost with it: the next
    /// [`What::Resumed`] says up to which position it still knows.
    Restarted,
    /// A session began: the device will be shown what comes after `cursor`.
    Resumed {
        /// Position in the user's log.
        cursor: u64,
    },
    /// The final reader found this entry in the log of `who.user`, after everything else.
    Stored {
        /// Its place in the log.
        position: u64,
        /// The message.
        message: Message,
    },
    /// A fault was injected.
    Fault {
        /// Its kind.
        kind: &'static str,
    },
    /// Something happened in a group, or was found there.
    Group {
        /// Which.
        group: Arc<str>,
        /// What.
        seen: Seen,
    },
    /// The final reader found an entry in the log of `who.user` that is no message of a user: a system notice, or a change of a message.
    Noticed {
        /// Its place in the log.
        position: u64,
    },
}

/// A message as a reader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The message.
    pub id: MsgId,
    /// Its sender.
    pub from: Arc<str>,
    /// The other side.
    pub to: Arc<str>,
    /// What it says.
    pub content: Arc<str>,
    /// Its place in the conversation.
    pub seq: u64,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.user, self.device)
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>10.6} {} {}", self.at.as_secs_f64(), self.who, self.what)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invoke { id, to, content } => write!(f, "invoke {} to {to} {content:?}", short(id)),
            Self::Ok { id, seq } => write!(f, "ok {} seq {seq}", short(id)),
            Self::Fail { id, code } => write!(f, "fail {} code {code}", short(id)),
            Self::Info { id } => write!(f, "info {}", short(id)),
            Self::Shown { position, message } => write!(f, "shown at {position}: {message}"),
            Self::Changed { position, message } => write!(f, "changed at {position}: {message}"),
            Self::Restarted => f.write_str("restarted"),
            Self::Resumed { cursor } => write!(f, "resumed after {cursor}"),
            Self::Stored { position, message } => write!(f, "stored at {position}: {message}"),
            Self::Fault { kind } => write!(f, "fault {kind}"),
            Self::Group { group, seen } => write!(f, "in {group}: {seen:?}"),
            Self::Noticed { position } => write!(f, "notice or change stored at {position}"),
        }
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}>{} seq {} {:?}", short(&self.id), self.from, self.to, self.seq, self.content)
    }
}

/// The part of an id that tells messages of one run apart for a reader: four bytes of the sender, then its count.
pub(crate) fn short(id: &MsgId) -> String {
    let number = u64::from_be_bytes([id[8], id[9], id[10], id[11], id[12], id[13], id[14], id[15]]);
    format!("{:02x}{:02x}{:02x}{:02x}-{number}", id[0], id[1], id[2], id[3])
}
