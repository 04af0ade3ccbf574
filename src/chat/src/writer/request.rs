//! Requests that write, decoded and checked as far as their own bytes allow.

use bytes::Bytes;
use nearport_wire::body::{self, Content, Target, target};
use nearport_wire::{check_content, code};
use prost::Message as _;

use crate::key::UserKey;
use crate::reply::{Failure, decode, peer};

/// A request for the writer.
#[derive(Debug)]
pub(super) enum Request {
    Send(Send),
    MarkRead(MarkRead),
    Flush,
}

/// A message to a user whose name is well formed.
#[derive(Debug)]
pub(super) struct Send {
    pub(super) peer: UserKey,
    pub(super) client_msg_id: [u8; 16],
    pub(super) to: Target,
    pub(super) content: Content,
    pub(super) online_only: bool,
}

/// The conversation with `peer` is read up to `seq`.
#[derive(Debug)]
pub(super) struct MarkRead {
    pub(super) peer: UserKey,
    pub(super) seq: u64,
}

impl Request {
    /// The other user, who must be registered.
    pub(super) fn peer(&self) -> Option<&UserKey> {
        match self {
            Self::Send(send) => Some(&send.peer),
            Self::MarkRead(mark) => Some(&mark.peer),
            Self::Flush => None,
        }
    }
}

/// Decodes and checks a SEND of `sender`.
pub(super) fn send(sender: &UserKey, body: Bytes) -> Result<Send, Failure> {
    let send: body::Send = decode(body, "send")?;
    let client_msg_id = <[u8; 16]>::try_from(&send.client_msg_id[..])
        .map_err(|_| Failure::new(code::BAD_REQUEST, "client_msg_id must have 16 bytes"))?;
    let peer = peer(sender, send.to)?;
    // An absent content is the same as one without elements: the check below says so.
    let content = send.content.unwrap_or_default();
    check_content(&content, content.encoded_len())
        .map_err(|error| Failure::new(error.code(), error.to_string()))?;
    let to = Target { target: Some(target::Target::User(peer.name().to_owned())) };
    Ok(Send { peer, client_msg_id, to, content, online_only: send.online_only })
}

/// Decodes and checks a MARK_READ of `reader`.
pub(super) fn mark_read(reader: &UserKey, body: Bytes) -> Result<MarkRead, Failure> {
    let mark: body::MarkRead = decode(body, "mark read")?;
    Ok(MarkRead { peer: peer(reader, mark.with)?, seq: mark.seq })
}
