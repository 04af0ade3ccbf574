//! Answers to requests.

use std::borrow::Cow;

use bytes::Bytes;
use nearport_trunk::local::LinkId;
use nearport_trunk::{Down, SessionId};
use nearport_wire::body::{self, Target, target};
use nearport_wire::{Kind, Lane, code};
use prost::Message;

use crate::downs::Downs;
use crate::key::UserKey;
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
    /// A failure that repeating does not mend.
    pub(crate) fn new(code: u32, info: impl Into<Cow<'static, str>>) -> Self {
        Self { code, info: info.into(), retry_after_ms: 0 }
    }

    /// A failure that may be gone after `retry_after_ms`.
    pub(crate) fn later(code: u32, info: &'static str, retry_after_ms: u32) -> Self {
        Self { code, info: info.into(), retry_after_ms }
    }

    /// A read of the store failed; the log has the reason.
    pub(crate) fn unreadable() -> Self {
        Self::later(code::INTERNAL, "the store cannot be read, try again", 1000)
    }
}

/// Decodes a request body.
pub(crate) fn decode<M: Message + Default>(body: Bytes, what: &'static str) -> Result<M, Failure> {
    M::decode(body).map_err(|error| Failure::new(code::BAD_REQUEST, format!("{what}: {error}")))
}

/// The other side of a 1:1 conversation. Whether it is registered is not looked at.
pub(crate) fn peer(user: &UserKey, target: Option<Target>) -> Result<UserKey, Failure> {
    match target.and_then(|target| target.target) {
        Some(target::Target::User(name)) => UserKey::new(user.app(), &name)
            .map_err(|error| Failure::new(code::BAD_PEER, format!("the other user: {error}"))),
        Some(target::Target::Group(_)) => {
            Err(Failure::new(code::NO_GROUP, "the group does not exist: this server has no groups"))
        }
        Some(target::Target::Notices(_)) | None => {
            Err(Failure::new(code::BAD_REQUEST, "no user is named to talk to"))
        }
    }
}
