//! What the SDK tells the application.

use std::fmt;
use std::time::Duration;

use nearport_session as session;
use nearport_wire::body;
use nearport_wire::close::CloseCode;

use crate::transport::Transport;

pub use nearport_wire::body::Content;
pub use nearport_wire::body::target::Target;
pub use nearport_wire::body::{
    Changed, Element, GroupEvent, LiveFrame, Mentions, Notice, PeopleEvent, Priority, Recalled, SendControl,
    Tip,
};

/// The name of a message before the server has given it a place: `client_msg_id` on the wire.
///
/// Eight bytes that are random per [`Core`](crate::core::Core) and a big-endian counter from 1, so ids of one core
/// rise in the order of sending.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MsgId([u8; 16]);

impl MsgId {
    pub(crate) fn new(instance: [u8; 8], counter: u64) -> Self {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&instance);
        bytes[8..].copy_from_slice(&counter.to_be_bytes());
        Self(bytes)
    }

    /// The id as it goes over the wire.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for MsgId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for MsgId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MsgId({self})")
    }
}

/// Names a request other than a send: what [`Core`](crate::core::Core) returns for it and answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub(crate) u64);

/// What happened, in the order in which to show it.
///
/// `Message`s come once each, in the order of the user's log. Outcomes of posted messages (`Sent`, `Failed`) come in
/// the order of the server's answers.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// Logged in.
    Connected {
        /// What carries the session.
        transport: Transport,
        /// The log goes on where this client stood. `false` at the first login, and when the server's log is
        /// shorter than what this client has seen: it is another log then.
        resumed: bool,
        /// The position after which messages follow.
        cursor: u64,
        /// Newest position of the user's log. Messages up to it are old ones.
        head: u64,
        /// Server clock, Unix milliseconds.
        time_ms: u64,
    },
    /// Everything that was in the log at login has been given. Once per login.
    CaughtUp,
    /// A message for this device.
    Message(Message),
    /// A message that was shown before has other words now: the whole of it, as it is. Of one that this device does not know it
    /// is all there is: show it in its place.
    Edited(Message),
    /// A message that was shown before was taken back: [`Message::recalled`] says by whom. Its content is gone.
    Recalled(Message),
    /// A system notice: somebody applied, the user was invited, removed, made an administrator. Stored like a message,
    /// and in the user's log like one.
    Notice {
        /// What happened.
        notice: Notice,
        /// The message that brings it.
        message: Message,
    },
    /// Somebody confirmed to have read messages that need receipts.
    Receipts {
        /// In which conversation.
        with: Target,
        /// Who.
        user: String,
        /// Which messages.
        seqs: Vec<u64>,
    },
    /// This user deleted messages on another device.
    Hidden {
        /// In which conversation.
        with: Target,
        /// Which messages.
        seqs: Vec<u64>,
    },
    /// This user deleted the history of a conversation on another device.
    Cleared {
        /// Which conversation.
        with: Target,
        /// Up to this message.
        seq: u64,
    },
    /// Something about a group changed that is no message.
    Group(GroupEvent),
    /// A profile, a relation, a presence or the conversation list changed.
    People(PeopleEvent),
    /// A message of a live room, which is stored nowhere, or how many there were.
    Live {
        /// What was said, and what the room has taken so far.
        frame: LiveFrame,
        /// What of the room this client did not get since its session came.
        missed: LiveMissed,
    },
    /// This client cannot go back into a live room that it was in: it was dismissed, say, while the client was away.
    LiveLeft {
        /// Which.
        room: String,
        /// What the server says.
        failure: Failure,
    },
    /// An online-only message: `position` and `seq` are 0, it is not stored and never comes again.
    Transient(Message),
    /// A posted message is on the server's disk.
    Sent {
        /// What [`Client::post`](crate::Client::post) returned.
        id: MsgId,
        /// Its place.
        sent: Sent,
    },
    /// A posted message will not be sent again. If an earlier attempt went without an answer, it may exist all the
    /// same.
    Failed {
        /// What [`Client::post`](crate::Client::post) returned.
        id: MsgId,
        /// Why.
        failure: Failure,
    },
    /// Somebody has read a conversation up to a seq: the peer, or this user on another device.
    Read {
        /// Whose cursor moved.
        user: String,
        /// The conversation, from `user`'s point of view: with this user if it is the peer who has read.
        with: Target,
        /// Read up to here.
        seq: u64,
    },
    /// The server asks to leave; the client does so by itself after the slot, and comes back at once.
    GoAway {
        /// Why.
        code: CloseCode,
        /// How long from now.
        slot: Duration,
    },
    /// The session stands, but what is behind the server is away: messages wait, requests fail with 60018.
    Away,
    /// It is back. Also said by the next [`Self::Connected`].
    Back,
    /// The connection is gone, or an attempt failed. The client comes back by itself.
    Disconnected {
        /// Why.
        code: CloseCode,
        /// For people.
        reason: String,
        /// When the next attempt begins.
        retry_in: Duration,
    },
    /// The client does not come back by itself. Nothing follows unless it is told to reconnect.
    Stopped {
        /// Why.
        code: CloseCode,
        /// For people.
        reason: String,
    },
}

/// A message of the user's log, or of a conversation's history.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Message {
    /// Position in the user's log, from 1; 0 in a history page and for an online-only message.
    pub position: u64,
    /// Position in the conversation, from 1; 0 for an online-only message.
    pub seq: u64,
    /// Server time, Unix milliseconds.
    pub time_ms: u64,
    /// Who sent it. This user's own name for a message from another device of theirs.
    pub from: String,
    /// To whom; `None` only if the server did not say.
    pub to: Option<Target>,
    /// What it says.
    pub content: Content,
    /// Key of the public contract: `{seq}_{random}_{unix seconds}`. Empty for an online-only message.
    pub msg_key: String,
    /// The sender's id of it.
    pub client_msg_id: Vec<u8>,
    /// Number of its newest change in the conversation's change log; 0: it is as it was sent.
    pub edit: u64,
    /// It was taken back: by whom and when.
    pub recalled: Option<Recalled>,
    /// Its content is not the one that was sent: by whom and when it was changed.
    pub changed: Option<Changed>,
    /// Its sender wants to know who has read it: [`Client::confirm_read`](crate::Client::confirm_read).
    pub need_receipt: bool,
    /// Who is meant by "@".
    pub mentions: Option<Mentions>,
    /// How important it is, in a group.
    pub priority: Priority,
    /// What it leaves alone: who counts what is unread, or shows the last message of a conversation, passes it over.
    pub control: Option<SendControl>,
    /// In a page of history, for its sender: how many have confirmed to have read it.
    pub receipts: u32,
}

impl Message {
    pub(crate) fn from_delivery(position: u64, delivery: body::Delivery) -> Self {
        let body::Delivery { message, seq, time_ms, edit, receipts, first: _ } = delivery;
        let message = message.unwrap_or_default();
        let priority = message.priority();
        let body::Message {
            from,
            to,
            client_msg_id,
            content,
            need_receipt,
            mentions,
            control,
            recalled,
            changed,
            key,
            ..
        } = message;
        let msg_key = match key {
            _ if seq == 0 => String::new(),
            Some(body::MessageKey { seq, random, time_s }) => format!("{seq}_{random}_{time_s}"),
            None => msg_key(seq, &client_msg_id, time_ms),
        };
        Self {
            position,
            seq,
            time_ms,
            from,
            to: to.and_then(|to| to.target),
            content: content.unwrap_or_default(),
            msg_key,
            // A copy: the original is a slice that would keep a whole datagram alive.
            client_msg_id: client_msg_id.to_vec(),
            edit,
            recalled,
            changed,
            need_receipt,
            mentions,
            priority,
            control,
            receipts,
        }
    }

    /// The group that it was sent to.
    #[must_use]
    pub fn group(&self) -> Option<&str> {
        if let Some(Target::Group(group)) = &self.to { Some(group) } else { None }
    }

    /// What happened in the group, if that is what the message tells.
    #[must_use]
    pub fn tip(&self) -> Option<&Tip> {
        self.content.elements.iter().find_map(|element| match &element.element {
            Some(body::element::Element::Tip(tip)) => Some(tip),
            _ => None,
        })
    }

    /// The system notice that it brings.
    #[must_use]
    pub fn notice(&self) -> Option<&Notice> {
        self.content.elements.iter().find_map(|element| match &element.element {
            Some(body::element::Element::Notice(notice)) => Some(notice),
            _ => None,
        })
    }

    /// The text of the message: its text elements, one after the other.
    #[must_use]
    pub fn text(&self) -> String {
        let texts = self.content.elements.iter().filter_map(|element| match &element.element {
            Some(body::element::Element::Text(text)) => Some(text.text.as_str()),
            _ => None,
        });
        texts.collect()
    }
}

impl From<body::Delivery> for Message {
    /// A message outside of the user's log: the last one of a conversation in the list, say.
    fn from(delivery: body::Delivery) -> Self {
        Self::from_delivery(0, delivery)
    }
}

/// The place that the server gave to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Position in the conversation; 0 for a message that is not stored: an online-only one, one to a live room, or one above the rate
    /// of its group, which counts as sent and reaches nobody.
    pub seq: u64,
    /// Server time, Unix milliseconds.
    pub time_ms: u64,
    /// Key of the public contract: `{seq}_{random}_{unix seconds}`.
    pub msg_key: String,
    /// An earlier attempt had been stored and its answer was lost.
    pub duplicate: bool,
}

impl From<body::Sent> for Sent {
    fn from(sent: body::Sent) -> Self {
        Self { seq: sent.seq, time_ms: sent.time_ms, msg_key: sent.msg_key, duplicate: sent.duplicate }
    }
}

/// `{seq}_{random}_{unix seconds}`; `random` is the first four bytes of the client's id, big-endian.
pub(crate) fn msg_key(seq: u64, client_msg_id: &[u8], time_ms: u64) -> String {
    let random = client_msg_id.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
    format!("{seq}_{random}_{}", time_ms / 1000)
}

impl Event {
    /// What to tell of a message of the log that was not known.
    pub(crate) fn new_message(message: Message) -> Self {
        match message.notice() {
            Some(notice) => Self::Notice { notice: notice.clone(), message },
            None => Self::Message(message),
        }
    }

    /// What to tell of a message that was given before.
    pub(crate) fn changed(message: Message) -> Self {
        if message.recalled.is_some() { Self::Recalled(message) } else { Self::Edited(message) }
    }
}

/// Messages of a live room that a client did not get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LiveMissed {
    /// By the room, for everybody: more was said than its rate.
    pub folded: LiveNumbers,
    /// On the way to this client, which reads too slowly.
    pub left_out: LiveNumbers,
}

/// Messages of a live room, by class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LiveNumbers {
    /// Notices and tallies.
    pub system: u64,
    /// Gifts and other things of high priority.
    pub gift: u64,
    /// Talk.
    pub chat: u64,
    /// Likes and other things of low priority.
    pub like: u64,
}

/// What a message is sent with beside its content.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SendOptions {
    /// Not stored, only to devices that are online now, sent at most once.
    pub online_only: bool,
    /// In a group: who goes first above the group's rate.
    pub priority: Priority,
    /// Receivers confirm that they have read it: [`Client::readers`](crate::Client::readers).
    pub need_receipt: bool,
    /// In a group: who is meant by "@".
    pub mentions: Option<Mentions>,
    /// What it leaves alone: the count of unread messages, the last message of the conversation.
    pub control: Option<SendControl>,
    /// A device that comes later than this many seconds is not told of it; 0: as long as history is kept.
    pub life_time_s: u32,
}

/// The group of that name.
#[must_use]
pub fn group(name: impl Into<String>) -> Target {
    Target::Group(name.into())
}

/// Which part of a conversation to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistoryRange {
    /// The newest messages, newest first.
    Newest,
    /// Messages with a smaller seq, newest first.
    Before(u64),
    /// Messages with a larger seq, oldest first.
    After(u64),
}

/// What to read of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryQuery {
    /// From where, and in which direction.
    pub range: HistoryRange,
    /// 1 to 200 messages.
    pub limit: u32,
    /// Only messages of this time or later, Unix milliseconds.
    pub from_ms: u64,
    /// Only messages up to this time, it included; 0: no bound.
    pub to_ms: u64,
}

impl HistoryQuery {
    /// `limit` messages of whatever time.
    #[must_use]
    pub fn new(range: HistoryRange, limit: u32) -> Self {
        Self { range, limit, from_ms: 0, to_ms: 0 }
    }
}

/// A page of a conversation.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HistoryPage {
    /// In the order that the range says.
    pub messages: Vec<Message>,
    /// Nothing further in that direction.
    pub complete: bool,
    /// Newest seq of the conversation.
    pub head: u64,
    /// How far this user has read.
    pub read: u64,
    /// How far the peer has read (1:1).
    pub peer_read: u64,
    /// Where the next page begins, if it is not complete: its `Before` or `After`.
    pub next: u64,
    /// Newest number of the conversation's change log.
    pub edit: u64,
}

impl From<body::HistoryPage> for HistoryPage {
    fn from(page: body::HistoryPage) -> Self {
        let messages = page.deliveries.into_iter().map(|delivery| Message::from_delivery(0, delivery));
        Self {
            messages: messages.collect(),
            complete: page.complete,
            head: page.head,
            read: page.read,
            peer_read: page.peer_read,
            next: page.next,
            edit: page.edit,
        }
    }
}

/// Why a message or a request has no good answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The server refused.
    #[error("{code}: {info}")]
    Refused {
        /// Error code of the public contract.
        code: u32,
        /// For people.
        info: String,
        /// When to try again; zero: the same request gives the same answer. Sends with a time here are
        /// tried again by the client itself, so a failed send has zero.
        retry_after: Duration,
    },
    /// No answer in time. It may or may not have been carried out.
    #[error("no answer in time")]
    Timeout,
    /// The connection ended before the answer. It may or may not have been carried out.
    #[error("the connection ended before the answer")]
    Lost,
    /// It was tried for longer than the server remembers ids, so trying again could send it twice. It may or may
    /// not have been carried out.
    #[error("no answer for so long that trying again could send it twice")]
    Expired,
    /// The client was closed, or the server ended the session for good. It may or may not have been carried out.
    #[error("the client stopped before the answer")]
    Stopped,
}

impl From<session::Failure> for Failure {
    fn from(failure: session::Failure) -> Self {
        match failure {
            session::Failure::Refused { code, info, retry_after } => {
                Self::Refused { code, info, retry_after }
            }
            session::Failure::Timeout => Self::Timeout,
        }
    }
}

/// A content of one text element.
///
/// ```
/// let content = nearport_client::text("hi");
/// assert_eq!(content.elements.len(), 1);
/// ```
#[must_use]
pub fn text(text: impl Into<String>) -> Content {
    let element = body::element::Element::Text(body::Text { text: text.into() });
    Content { elements: vec![body::Element::from(element)], ..Content::default() }
}

/// The 1:1 conversation with a user.
#[must_use]
pub fn user(name: impl Into<String>) -> Target {
    Target::User(name.into())
}
