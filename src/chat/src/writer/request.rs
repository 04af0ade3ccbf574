//! Requests that write, decoded and checked as far as their own bytes allow.

use bytes::Bytes;
use nearport_wire::body::{self, Content, Element, Mentions, Priority, SendControl, ShownGroup, amend};
use nearport_wire::{LIFE_TIME_MAX_S, check_content, check_mentions, code};
use prost::Message as _;

use crate::key::{GroupKey, UserKey};
use crate::reply::{Failure, With, decode};

/// Messages that one AMEND names at most, of the public contract.
pub(super) const SEQS_MAX: usize = 30;

/// Groups of one SHOWN.
const SHOWN_MAX: usize = 100;

/// Longest reason of a recall, in bytes.
const REASON_BYTES_MAX: usize = 256;

/// A request for the writer.
#[derive(Debug)]
pub(super) enum Request {
    Send(Box<Send>),
    MarkRead(MarkRead),
    Amend(Amend),
    Flush,
}

/// Where a message goes.
#[derive(Debug, Clone)]
pub(super) enum To {
    User(UserKey),
    Group(GroupKey),
}

/// A message to somebody whose name is well formed.
#[derive(Debug)]
pub(super) struct Send {
    pub(super) to: To,
    pub(super) client_msg_id: [u8; 16],
    pub(super) content: Content,
    pub(super) online_only: bool,
    pub(super) priority: Priority,
    pub(super) need_receipt: bool,
    pub(super) mentions: Option<Mentions>,
    pub(super) control: Option<SendControl>,
    pub(super) life_time_s: u32,
}

/// The conversation is read up to `seq`.
#[derive(Debug)]
pub(super) struct MarkRead {
    pub(super) with: With,
    pub(super) seq: u64,
}

/// A change of what is there.
#[derive(Debug)]
pub(super) enum Amend {
    Change(Change),
    Hide { with: With, seqs: Vec<u64> },
    Clear { with: With, seq: u64 },
    Receipts { with: With, seqs: Vec<u64> },
    Shown(Vec<(GroupKey, u64)>),
}

/// A recall or an edit.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) with: With,
    pub(super) seq: u64,
    pub(super) what: ChangeWhat,
}

/// What becomes of the message.
#[derive(Debug)]
pub(super) enum ChangeWhat {
    Recall { reason: String },
    Edit { elements: Vec<Element>, cloud_custom_data: Option<String> },
}

/// To whom something is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SaidTo {
    User,
    /// A live room too.
    Group,
}

impl Request {
    /// Where it says something. An edit does as a message does; what is taken back says nothing.
    pub(super) fn said_to(&self) -> Option<SaidTo> {
        match self {
            Self::Send(send) => Some(match &send.to {
                To::User(_) => SaidTo::User,
                To::Group(_) => SaidTo::Group,
            }),
            Self::Amend(Amend::Change(Change { with, what: ChangeWhat::Edit { .. }, .. })) => {
                Some(match with {
                    With::Group(_) => SaidTo::Group,
                    With::User(_) | With::Notices => SaidTo::User,
                })
            }
            Self::Amend(_) | Self::MarkRead(_) | Self::Flush => None,
        }
    }

    /// The other user, who must be registered.
    pub(super) fn peer(&self) -> Option<&UserKey> {
        match self {
            Self::Send(send) => match &send.to {
                To::User(peer) => Some(peer),
                To::Group(_) => None,
            },
            Self::MarkRead(MarkRead { with: With::User(peer), .. }) => Some(peer),
            // What names a message that exists is about users who exist.
            Self::MarkRead(_) | Self::Amend(_) | Self::Flush => None,
        }
    }

    /// The group that must exist, with the asker in it.
    pub(super) fn group(&self) -> Option<&GroupKey> {
        let with = match self {
            Self::Send(send) => match &send.to {
                To::Group(group) => return Some(group),
                To::User(_) => return None,
            },
            Self::MarkRead(mark) => &mark.with,
            Self::Amend(
                Amend::Hide { with, .. } | Amend::Clear { with, .. } | Amend::Receipts { with, .. },
            ) => with,
            Self::Amend(Amend::Change(change)) => &change.with,
            Self::Amend(Amend::Shown(_)) | Self::Flush => return None,
        };
        match with {
            With::Group(group) => Some(group),
            With::User(_) | With::Notices => None,
        }
    }
}

/// Decodes and checks a SEND of `sender`.
pub(super) fn send(sender: &UserKey, body: Bytes) -> Result<Box<Send>, Failure> {
    let send: body::Send = decode(body, "send")?;
    let client_msg_id = <[u8; 16]>::try_from(&send.client_msg_id[..])
        .map_err(|_| Failure::new(code::BAD_REQUEST, "client_msg_id must have 16 bytes"))?;
    let to = match With::of(sender, send.to)? {
        With::User(peer) => To::User(peer),
        With::Group(group) => To::Group(group),
        With::Notices => return Err(Failure::new(code::BAD_REQUEST, "only the system sends notices")),
    };
    // An absent content is the same as one without elements: the check below says so.
    let content = send.content.unwrap_or_default();
    checked(&content)?;
    if send.life_time_s > LIFE_TIME_MAX_S {
        return Err(Failure::new(code::LIFE_TOO_LONG, "a message lives at most 604800 seconds"));
    }
    let bad_priority = |_| Failure::new(code::BAD_REQUEST, "a priority is 0 to 4");
    let priority = Priority::try_from(send.priority).map_err(bad_priority)?;
    let (mut need_receipt, mut mentions) = (send.need_receipt, send.mentions);
    match &to {
        // Nobody else is there to be meant, and nobody confirms to oneself.
        To::User(peer) => (need_receipt, mentions) = (need_receipt && peer != sender, None),
        To::Group(_) => mentions.as_ref().map_or(Ok(()), |mentions| check_mentioned(sender, mentions))?,
    }
    Ok(Box::new(Send {
        to,
        client_msg_id,
        content,
        online_only: send.online_only,
        priority,
        need_receipt,
        mentions,
        control: send.control.filter(|control| *control != SendControl::default()),
        life_time_s: send.life_time_s,
    }))
}

fn checked(content: &Content) -> Result<(), Failure> {
    check_content(content, content.encoded_len())
        .map_err(|error| Failure::new(error.code(), error.to_string()))
}

fn check_mentioned(sender: &UserKey, mentions: &Mentions) -> Result<(), Failure> {
    check_mentions(mentions).map_err(|count| {
        Failure::new(code::group::MENTIONS_MAX, format!("{count} users are meant, 30 may be"))
    })?;
    for name in &mentions.users {
        UserKey::new(sender.app(), name).map_err(|error| {
            Failure::new(code::group::BAD_PARAMETER, format!("one of those who are meant: {error}"))
        })?;
    }
    Ok(())
}

/// Decodes and checks a MARK_READ of `reader`.
pub(super) fn mark_read(reader: &UserKey, body: Bytes) -> Result<MarkRead, Failure> {
    let mark: body::MarkRead = decode(body, "mark read")?;
    Ok(MarkRead { with: With::of(reader, mark.with)?, seq: mark.seq })
}

/// Decodes and checks an AMEND of `user`.
pub(super) fn amend(user: &UserKey, body: Bytes) -> Result<Amend, Failure> {
    let amend: body::Amend = decode(body, "amend")?;
    let nothing = || Failure::new(code::BAD_REQUEST, "amend: nothing is asked for that this server knows");
    Ok(match amend.amend.ok_or_else(nothing)? {
        amend::Amend::Recall(body::Recall { with, seq, reason }) => {
            if reason.len() > REASON_BYTES_MAX {
                return Err(Failure::new(code::BAD_REQUEST, "the reason of a recall has at most 256 bytes"));
            }
            Amend::Change(Change { with: With::of(user, with)?, seq, what: ChangeWhat::Recall { reason } })
        }
        amend::Amend::Edit(body::Edit { with, seq, elements, cloud_custom_data }) => {
            if elements.is_empty() && cloud_custom_data.is_none() {
                return Err(Failure::new(
                    code::BAD_CONTENT,
                    "an edit changes elements, cloud custom data or both",
                ));
            }
            let what = ChangeWhat::Edit { elements, cloud_custom_data };
            Amend::Change(Change { with: With::of(user, with)?, seq, what })
        }
        amend::Amend::Hide(body::Hide { with, seqs }) => {
            let with = With::of(user, with)?;
            let too_many = match with {
                With::Group(_) => code::group::DELETE_TOO_MANY,
                With::User(_) | With::Notices => code::BAD_REQUEST,
            };
            Amend::Hide { seqs: some(seqs, too_many)?, with }
        }
        amend::Amend::Clear(body::Clear { with, seq }) => Amend::Clear { with: With::of(user, with)?, seq },
        amend::Amend::Receipts(body::Receipts { with, seqs }) => {
            let with = With::of(user, with)?;
            let too_many = match with {
                With::Group(_) => code::group::BAD_PARAMETER,
                With::User(_) | With::Notices => code::BAD_REQUEST,
            };
            Amend::Receipts { seqs: some(seqs, too_many)?, with }
        }
        amend::Amend::Shown(body::Shown { groups }) => {
            if groups.len() > SHOWN_MAX {
                return Err(Failure::new(code::group::BAD_PARAMETER, "at most 100 groups are shown at once"));
            }
            let key = |ShownGroup { group, seq }: ShownGroup| {
                GroupKey::new(user.app(), &group)
                    .map(|group| (group, seq))
                    .map_err(|error| Failure::new(code::group::BAD_ID, format!("the group: {error}")))
            };
            Amend::Shown(groups.into_iter().map(key).collect::<Result<_, _>>()?)
        }
    })
}

/// Seqs in ascending order, each once.
fn some(mut seqs: Vec<u64>, too_many: u32) -> Result<Vec<u64>, Failure> {
    if seqs.len() > SEQS_MAX {
        return Err(Failure::new(too_many, "at most 30 messages at once"));
    }
    seqs.sort_unstable();
    seqs.dedup();
    Ok(seqs)
}

/// What an edited message says then.
pub(crate) fn edited(
    content: Content,
    elements: Vec<Element>,
    cloud_custom_data: Option<String>,
) -> Result<Content, Failure> {
    let content = Content {
        elements: if elements.is_empty() { content.elements } else { elements },
        cloud_custom_data: cloud_custom_data.unwrap_or(content.cloud_custom_data),
    };
    checked(&content)?;
    Ok(content)
}
