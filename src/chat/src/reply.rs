//! Answers to requests.

use std::borrow::Cow;

use bytes::Bytes;
use nearport_trunk::local::LinkId;
use nearport_trunk::{Down, SessionId};
use nearport_wire::body::{self, Target, target};
use nearport_wire::{Kind, Lane, code};
use prost::Message;

use crate::directory::DirectoryError;
use crate::downs::Downs;
use crate::key::{ConvKey, GroupKey, UserKey};
use crate::ledger::LedgerError;
use crate::metrics::Metrics;

/// Where the answer to a request goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReplyTo {
    pub(crate) link: LinkId,
    pub(crate) session: SessionId,
    pub(crate) lane: Lane,
    pub(crate) id: u64,
}

impl ReplyTo {
    /// Answers with REPLY and `body`.
    pub(crate) fn reply(self, body: Bytes, out: &mut Downs) {
        self.answer(Kind::REPLY, body, out);
    }

    /// Answers with ERROR.
    pub(crate) fn fail(self, failure: &Failure, metrics: &Metrics, out: &mut Downs) {
        metrics.error(failure.code);
        let error = body::Error {
            code: failure.code,
            info: failure.info.clone().into_owned(),
            retry_after_ms: failure.retry_after_ms,
        };
        self.answer(Kind::ERROR, error.encode_to_vec().into(), out);
    }

    fn answer(self, kind: Kind, body: Bytes, out: &mut Downs) {
        let Self { link, session, lane, id } = self;
        out.push(link, Down::Reply { session, lane, kind, id, body });
    }
}

/// Why a request failed, as its ERROR frame says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// A code of the public contract.
    pub code: u32,
    /// For people. Names no path and no other user.
    pub info: Cow<'static, str>,
    /// 0: the same request gives the same answer.
    pub retry_after_ms: u32,
}

impl Failure {
    /// A guest asks for what needs an account.
    pub(crate) fn not_logged_in() -> Self {
        Self::new(code::NOT_LOGGED_IN, "guests may only join live rooms and listen: log in for the rest")
    }

    /// A failure that repeating does not mend.
    pub(crate) fn new(code: u32, info: impl Into<Cow<'static, str>>) -> Self {
        Self { code, info: info.into(), retry_after_ms: 0 }
    }

    /// A failure that may be gone after `retry_after_ms`.
    pub(crate) fn later(code: u32, info: &'static str, retry_after_ms: u32) -> Self {
        Self { code, info: info.into(), retry_after_ms }
    }
}

/// A read of the ledger failed; the log has the reason.
pub(crate) fn unreadable(error: &LedgerError) -> Failure {
    tracing::error!(%error, "cannot read the ledger");
    Failure::later(code::INTERNAL, "the store cannot be read, try again", 1000)
}

/// Groups that a message or a page is about could not be read; the log has the reason.
pub(crate) fn no_groups(error: &DirectoryError) -> Failure {
    tracing::error!(%error, "cannot look groups up");
    Failure::later(code::group::INTERNAL, "groups cannot be looked up, try again", 1000)
}

/// Decodes a request body.
pub(crate) fn decode<M: Message + Default>(body: Bytes, what: &'static str) -> Result<M, Failure> {
    M::decode(body).map_err(|error| Failure::new(code::BAD_REQUEST, format!("{what}: {error}")))
}

/// Which conversation of a user a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum With {
    /// With another user, or with oneself. Whether they are registered is not looked at.
    User(UserKey),
    /// Of a group. Whether it exists is not looked at.
    Group(GroupKey),
    /// What the system tells the user.
    Notices,
}

impl With {
    /// Reads a target of `user`.
    pub(crate) fn of(user: &UserKey, target: Option<Target>) -> Result<Self, Failure> {
        match target.and_then(|target| target.target) {
            Some(target::Target::User(name)) => UserKey::new(user.app(), &name)
                .map(Self::User)
                .map_err(|error| Failure::new(code::BAD_PEER, format!("the other user: {error}"))),
            Some(target::Target::Group(id)) => GroupKey::new(user.app(), &id)
                .map(Self::Group)
                .map_err(|error| Failure::new(code::group::BAD_ID, format!("the group: {error}"))),
            Some(target::Target::Notices(true)) => Ok(Self::Notices),
            Some(target::Target::Notices(false)) | None => {
                Err(Failure::new(code::BAD_REQUEST, "no user or group is named"))
            }
        }
    }

    /// The conversation.
    pub(crate) fn conv(&self, user: &UserKey) -> ConvKey {
        match self {
            Self::User(peer) => ConvKey::pair(user, peer),
            Self::Group(group) => group.conv(),
            Self::Notices => ConvKey::notices(user),
        }
    }

    /// As the user names it.
    pub(crate) fn target(&self) -> Target {
        let target = match self {
            Self::User(peer) => target::Target::User(peer.name().to_owned()),
            Self::Group(group) => target::Target::Group(group.id().to_owned()),
            Self::Notices => target::Target::Notices(true),
        };
        Target { target: Some(target) }
    }
}
