//! The part of the backend that changes the directory: groups, and what people say about themselves and each other.
//!
//! [`Desk`] is a synchronous core like [`Front`](crate::front::Front): a batch and the time go in, messages for the links
//! come out. Requests are carried out one after the other, in the order in which they came. What a request writes is on disk
//! before it is answered; messages that it brings about (tips, notices) go to the writer as
//! [`Post`](crate::posts::Post)s.

pub(crate) mod group;
pub(crate) mod people;

use std::sync::Arc;

use bytes::Bytes;
use nearport_trunk::local::LinkId;
use nearport_trunk::{SessionId, Up};
use nearport_wire::{Kind, code};

use crate::downs::Downs;
use crate::key::UserKey;
use crate::reply::{Failure, ReplyTo};
use crate::shared::Shared;

/// Carries out GROUP and PEOPLE. See the module documentation.
#[derive(Debug)]
pub struct Desk {
    shared: Shared,
}

/// Who asks, over which session.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) user: UserKey,
    pub(crate) device: Arc<str>,
    pub(crate) session: SessionId,
    pub(crate) link: LinkId,
}

impl Desk {
    /// A desk with nothing on it.
    #[must_use]
    pub fn new(shared: Shared) -> Self {
        Self { shared }
    }

    /// Looks at who came and went, then handles all requests of `batch` and leaves it empty. Called twice a second even if
    /// nothing has come. Frames of a session that has ended are dropped and counted.
    pub fn handle(&mut self, batch: &mut Vec<(LinkId, Up)>, now_ms: u64, out: &mut Downs) {
        let effects = self.shared.look_at_presence(now_ms);
        people::publish(&self.shared, effects, None, out);
        if batch.is_empty() {
            return;
        }
        let metrics = self.shared.metrics.clone();
        metrics.desk_batch.record(batch.len() as f64);
        let mut groups = Vec::new();
        for (link, up) in batch.drain(..) {
            let Up::Frame { session, lane, kind, id, body } = up else {
                metrics.strays.increment(1);
                continue;
            };
            let known = self
                .shared
                .registry()
                .session_on(session, link)
                .map(|known| (known.user.clone(), known.device.clone()));
            let Some((user, device)) = known else {
                metrics.strays.increment(1);
                continue;
            };
            let caller = Caller { user, device, session, link };
            let reply_to = ReplyTo { link, session, lane, id };
            if kind == Kind::GROUP {
                groups.push(group::Call { caller, reply_to, body });
                continue;
            }
            self.groups(&mut groups, now_ms, out);
            match self.answer(&caller, kind, body, now_ms, out) {
                Ok(body) => reply_to.reply(body, out),
                Err(failure) => reply_to.fail(&failure, &metrics, out),
            }
        }
        self.groups(&mut groups, now_ms, out);
    }

    /// Requests about groups that stand in a row are written together.
    fn groups(&self, calls: &mut Vec<group::Call>, now_ms: u64, out: &mut Downs) {
        if !calls.is_empty() {
            group::handle(&self.shared, std::mem::take(calls), now_ms, out);
        }
    }

    fn answer(
        &mut self,
        caller: &Caller,
        kind: Kind,
        body: Bytes,
        now_ms: u64,
        out: &mut Downs,
    ) -> Result<Bytes, Failure> {
        match kind {
            Kind::PEOPLE => people::answer(&self.shared, caller, body, now_ms, out),
            Kind(kind) => {
                Err(Failure::new(code::UNKNOWN_REQUEST, format!("unknown request kind {kind:#04x}")))
            }
        }
    }
}
