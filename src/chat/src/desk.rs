//! The part of the backend that changes the directory: groups, and what people say about themselves and each other.
//!
//! [`Desk`] is a synchronous core like [`Front`](crate::front::Front): a batch and the time go in, messages for the links
//! come out. Requests are carried out one after the other, in the order in which they came. What a request writes is on disk
//! before it is answered; messages that it brings about (tips, notices) go to the writer as
//! [`Post`](crate::posts::Post)s.

pub(crate) mod ask;
pub(crate) mod group;
pub(crate) mod people;

use std::sync::Arc;

use bytes::Bytes;
use nearport_trunk::local::LinkId;
use nearport_trunk::{SessionId, Up};
use nearport_wire::{Kind, code};

use crate::actor::Actor;
use crate::callback::Origin;
use crate::callback::gate::Gate;
use crate::callback::pending::Sweep;
use crate::downs::Downs;
use crate::key::{AppId, UserKey};
use crate::reply::{Failure, ReplyTo};
use crate::shared::Shared;
use crate::tasks::Task;

use ask::Request;

/// Carries out GROUP and PEOPLE. See the module documentation.
#[derive(Debug)]
pub struct Desk {
    shared: Shared,
    /// Requests that wait for back ends.
    gate: Gate<SessionId, Request>,
    /// Rows of events that are in the outbox.
    sweep: Sweep,
}

/// Who asks.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) app: AppId,
    pub(crate) who: Who,
    /// `None`: the back end of the App asks, for itself or for a user.
    pub(crate) seat: Option<Seat>,
    /// Where it asks from.
    pub(crate) origin: Origin,
}

/// By whose rights.
#[derive(Debug, Clone)]
pub(crate) enum Who {
    User(UserKey),
    /// An administrator of the App, by name.
    Admin(Arc<str>),
}

/// Over which session.
#[derive(Debug, Clone)]
pub(crate) struct Seat {
    pub(crate) device: Arc<str>,
    pub(crate) session: SessionId,
    pub(crate) link: LinkId,
}

impl Caller {
    pub(crate) fn actor(&self) -> Actor<'_> {
        match &self.who {
            Who::User(user) => Actor::User(user),
            Who::Admin(name) => Actor::Admin(name),
        }
    }

    /// Who asks for herself.
    ///
    /// # Errors
    /// `code` for an administrator, who has to name a user.
    pub(crate) fn user(&self, code: u32) -> Result<&UserKey, Failure> {
        self.actor().user().ok_or_else(|| Failure::new(code, "this is asked by users, for themselves"))
    }

    /// Whether it is somebody without an account.
    pub(crate) fn is_guest(&self) -> bool {
        self.actor().user().is_some_and(UserKey::is_guest)
    }

    /// The session, for what is bound to one.
    ///
    /// # Errors
    /// `code` for the back end of the App.
    pub(crate) fn seat(&self, code: u32) -> Result<&Seat, Failure> {
        self.seat.as_ref().ok_or_else(|| Failure::new(code, "this is asked by clients, over their session"))
    }

    pub(crate) fn session(&self) -> Option<SessionId> {
        self.seat.as_ref().map(|seat| seat.session)
    }
}

impl Desk {
    /// A desk with nothing on it.
    #[must_use]
    pub fn new(shared: Shared) -> Self {
        Self { shared, gate: Gate::default(), sweep: Sweep::default() }
    }

    /// Looks at who came and went, then handles all requests of `batch` and leaves it empty. Called twice a second even if
    /// nothing has come. Frames of a session that has ended are dropped and counted.
    pub fn handle(&mut self, batch: &mut Vec<(LinkId, Up)>, now_ms: u64, out: &mut Downs) {
        let effects = self.shared.look_at_presence(now_ms);
        people::publish(&self.shared, effects, None, Origin::NONE, out);
        if !batch.is_empty() || !self.shared.callbacks.desk.is_empty() {
            self.requests(batch, now_ms, out);
        }
        self.tasks(now_ms, out);
        self.sweep.sweep(&self.shared, now_ms);
    }

    fn requests(&mut self, batch: &mut Vec<(LinkId, Up)>, now_ms: u64, out: &mut Downs) {
        let metrics = self.shared.metrics.clone();
        metrics.desk_batch.record(batch.len() as f64);
        let mut requests = self.released();
        for (link, up) in batch.drain(..) {
            let Up::Frame { session, lane, kind, id, body } = up else {
                metrics.strays.increment(1);
                continue;
            };
            let known = self
                .shared
                .registry()
                .session_on(session, link)
                .map(|known| (known.user.clone(), known.device.clone(), known.origin()));
            let Some((user, device, origin)) = known else {
                metrics.strays.increment(1);
                continue;
            };
            let seat = Some(Seat { device, session, link });
            let caller = Caller { app: user.app(), who: Who::User(user), seat, origin };
            let reply_to = ReplyTo { link, session, lane, id };
            requests.push(Request { caller, reply_to, kind, body, verdict: None });
        }
        let mut groups = Vec::new();
        for request in requests {
            let Some((request, refused)) = self.may_go(request, now_ms, out) else { continue };
            let Request { caller, reply_to, kind, body, .. } = request;
            if kind == Kind::GROUP {
                groups.push(group::Call::of_client(caller, reply_to, body, refused));
                continue;
            }
            if caller.is_guest() {
                reply_to.fail(&Failure::not_logged_in(), &metrics, out);
                continue;
            }
            self.groups(&mut groups, now_ms, out);
            let answer = match refused.is_empty() {
                true => self.answer(&caller, kind, body, now_ms, out),
                false => ask::people_without(self, &caller, body, refused, now_ms, out),
            };
            match answer {
                Ok(body) => reply_to.reply(body, out),
                Err(failure) => reply_to.fail(&failure, &metrics, out),
            }
        }
        self.groups(&mut groups, now_ms, out);
    }

    /// What the back ends of Apps ask for, as many as clients may in a turn. Calls about groups that stand in a row are written
    /// together.
    fn tasks(&self, now_ms: u64, out: &mut Downs) {
        let mut groups = Vec::new();
        for task in self.shared.tasks.take(self.shared.config.desk_batch_items) {
            match task {
                Task::Group(call) => groups.push(*call),
                Task::Do(work) => {
                    self.groups(&mut groups, now_ms, out);
                    work(&self.shared, now_ms, out);
                }
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
