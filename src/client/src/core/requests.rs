//! Requests other than sends. Those that may be carried out twice are asked again after a reconnect.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use nearport_session as session;
use nearport_wire::{Kind, Lane, body, code};
use prost::Message as _;

use crate::error::QueueFull;
use crate::event::{HistoryPage, HistoryQuery, HistoryRange, RequestId, Target};

/// A request.
#[derive(Debug, Clone)]
pub(crate) enum Request {
    History {
        with: Target,
        query: HistoryQuery,
    },
    MarkRead {
        with: Target,
        seq: u64,
    },
    Flush,
    /// `repeatable`: it does the same the second time.
    Other {
        lane: Lane,
        kind: Kind,
        body: Bytes,
        repeatable: bool,
    },
}

/// A good answer.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Reply {
    /// To a history request.
    History(HistoryPage),
    /// To a request whose reply says no more than that.
    Done,
    /// To a request of another kind: the reply's body.
    Body(Bytes),
}

impl Request {
    /// Lane, kind and body of its frame.
    pub(crate) fn frame(&self) -> (Lane, Kind, Bytes) {
        let target = |target: &Target| Some(body::Target { target: Some(target.clone()) });
        match self {
            Self::History { with, query } => {
                let HistoryQuery { range, limit, from_ms, to_ms } = *query;
                let (before, after) = match range {
                    HistoryRange::Newest => (0, None),
                    HistoryRange::Before(seq) => (seq, None),
                    HistoryRange::After(seq) => (0, Some(seq)),
                };
                let with = target(with);
                let body = body::History { with, before, after, limit, from_ms, to_ms, changes_after: None };
                (Lane::Bulk, Kind::HISTORY, body.encode_to_vec().into())
            }
            Self::MarkRead { with, seq } => {
                let body = body::MarkRead { with: target(with), seq: *seq };
                (Lane::Chat, Kind::MARK_READ, body.encode_to_vec().into())
            }
            Self::Flush => (Lane::Control, Kind::FLUSH, Bytes::new()),
            Self::Other { lane, kind, body, .. } => (*lane, *kind, body.clone()),
        }
    }

    /// Reads the reply's body.
    pub(crate) fn read_reply(&self, reply: Bytes) -> Result<Reply, prost::DecodeError> {
        Ok(match self {
            Self::History { .. } => Reply::History(body::HistoryPage::decode(reply)?.into()),
            Self::MarkRead { .. } | Self::Flush => Reply::Done,
            Self::Other { .. } => Reply::Body(reply),
        })
    }

    /// Whether a failure says that this was done before.
    pub(crate) fn is_done(&self, failure: &session::Failure) -> bool {
        let Self::Other { kind: Kind::AMEND, body, .. } = self else { return false };
        let done = matches!(
            failure,
            session::Failure::Refused { code: code::RECALLED | code::group::RECALL_IMPOSSIBLE, .. }
        );
        let amend = || body::Amend::decode(body.clone()).ok()?.amend;
        done && matches!(amend(), Some(body::amend::Amend::Recall(_)))
    }

    /// Which group it joins.
    pub(crate) fn joins(&self) -> Option<String> {
        let Self::Other { kind: Kind::GROUP, body, .. } = self else { return None };
        match body::GroupCall::decode(body.clone()).ok()?.call? {
            body::group_call::Call::Join(join) => Some(join.group),
            _ => None,
        }
    }

    fn is_repeatable(&self) -> bool {
        !matches!(self, Self::Other { repeatable: false, .. })
    }
}

/// Requests that wait or are in flight.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    next: u64,
    open: BTreeMap<RequestId, Request>,
    queued: BTreeSet<RequestId>,
    /// Asked before, by a session that has ended without an answer.
    repeated: BTreeSet<RequestId>,
}

impl Requests {
    pub(crate) fn push(&mut self, request: Request, max: usize) -> Result<RequestId, QueueFull> {
        if self.open.len() >= max {
            return Err(QueueFull { entries: self.open.len(), bytes: 0 });
        }
        self.next += 1;
        let id = RequestId(self.next);
        self.open.insert(id, request);
        self.queued.insert(id);
        Ok(id)
    }

    pub(crate) fn next_to_send(&self) -> Option<(RequestId, &Request)> {
        let id = *self.queued.first()?;
        Some((id, self.open.get(&id)?))
    }

    pub(crate) fn mark_sent(&mut self, id: RequestId) {
        self.queued.remove(&id);
    }

    pub(crate) fn settle(&mut self, id: RequestId) -> Option<Request> {
        self.queued.remove(&id);
        self.repeated.remove(&id);
        self.open.remove(&id)
    }

    pub(crate) fn is_repeated(&self, id: RequestId) -> bool {
        self.repeated.contains(&id)
    }

    /// The connection is gone. Returns what cannot be asked again.
    pub(crate) fn connection_lost(&mut self) -> Vec<RequestId> {
        let lost =
            self.open.iter().filter(|(id, request)| !request.is_repeatable() && !self.queued.contains(id));
        let lost: Vec<RequestId> = lost.map(|(id, _)| *id).collect();
        for id in &lost {
            self.open.remove(id);
        }
        self.repeated.extend(self.open.keys().filter(|id| !self.queued.contains(id)));
        self.queued = self.open.keys().copied().collect();
        lost
    }

    /// Empties the queue.
    pub(crate) fn take_all(&mut self) -> Vec<RequestId> {
        self.queued.clear();
        self.repeated.clear();
        std::mem::take(&mut self.open).into_keys().collect()
    }
}
