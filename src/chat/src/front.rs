//! The reading half of the backend: sessions come and go, pages are read.
//!
//! [`Front`] is a synchronous core: a batch and the time go in, messages for the links come out.
//!
//! **Subscribing without a gap.** A session must not miss a message that is stored while it logs in. So a login goes in
//! this order, and the writer publishes only after its commit has returned:
//!
//! 1. with the registry locked: add the session, so that the writer sees interest, and push `Join` to the link;
//! 2. read the head of the user log, and the first entries behind the session's cursor;
//! 3. with the registry locked: push `Accept` with that head and those entries.
//!
//! A message committed before step 2 is below the head, and comes with the welcome or by the client's first sync. One committed after
//! step 2 is published after step 1, so its publish stands behind `Join` in the link's queue and the shard
//! delivers it, or marks the session behind if it comes before `Accept`.

mod adopt;
mod guests;
mod history;
mod login;
mod media;
mod pages;
pub(crate) mod readers;
mod topics;
mod view;

use bytes::Bytes;
use nearport_trunk::Up;
use nearport_trunk::local::LinkId;
use nearport_wire::{Kind, code};

use crate::downs::Downs;
use crate::key::UserKey;
use crate::reply::{Failure, ReplyTo};
use crate::shared::Shared;
use crate::throttle::Throttle;

use login::Vetted;

/// Opens and closes sessions and answers SYNC, HISTORY and READERS. See the module documentation.
#[derive(Debug)]
pub struct Front {
    shared: Shared,
    throttle: Throttle,
}

/// A request with the user who asks.
struct Question {
    reply_to: ReplyTo,
    user: UserKey,
    kind: Kind,
    body: Bytes,
}

impl Front {
    /// A front that has refused nobody yet.
    #[must_use]
    pub fn new(shared: Shared) -> Self {
        let config = &shared.config;
        let throttle = Throttle::new(config.login_failures_max, config.login_failures_tracked);
        Self { shared, throttle }
    }

    /// Handles `Open`, `Adopt`, `Close` and every request that only reads, and leaves `batch` empty. Answers go to `out`,
    /// which is flushed in between where order matters; the caller flushes the rest.
    ///
    /// Adoptions and logins are handled before the rest: of one session nothing can stand before its `Open` or `Adopt`. Frames of a
    /// session that has ended are dropped and counted.
    pub fn handle(&mut self, batch: &mut Vec<(LinkId, Up)>, now_ms: u64, out: &mut Downs) {
        if batch.is_empty() {
            return;
        }
        self.shared.metrics.front_batch.record(batch.len() as f64);
        let (mut candidates, mut adopted, mut rest) = (Vec::new(), Vec::new(), Vec::new());
        let mut guests = Vec::new();
        for (link, up) in batch.drain(..) {
            match up {
                Up::Adopt { session, identity, platform } => {
                    adopted.push((link, session, identity, platform));
                }
                Up::Open { session, hello, peer, vouched } => {
                    match self.vet(link, session, hello, peer, vouched, now_ms) {
                        Ok(Vetted::User(candidate)) => candidates.push(candidate),
                        Ok(Vetted::Guest(guest)) => guests.push(guest),
                        Err(refusal) => self.refuse(link, session, &refusal, out),
                    }
                }
                other => rest.push((link, other)),
            }
        }
        if !adopted.is_empty() {
            self.adopt(adopted, out);
        }
        if !candidates.is_empty() {
            self.admit(candidates, now_ms, out);
        }
        if !guests.is_empty() {
            self.admit_guests(guests, now_ms, out);
        }
        for question in self.resolve(rest, now_ms, out) {
            self.answer(question, now_ms, out);
        }
    }

    /// Takes closed sessions out and finds out who asks.
    fn resolve(&self, rest: Vec<(LinkId, Up)>, now_ms: u64, out: &mut Downs) -> Vec<Question> {
        let metrics = &self.shared.metrics;
        let mut questions = Vec::with_capacity(rest.len());
        let mut registry = self.shared.registry();
        for (link, up) in rest {
            match up {
                Up::Frame { session, lane, kind, id, body } => match registry.session_on(session, link) {
                    Some(known) => {
                        let reply_to = ReplyTo { link, session, lane, id };
                        if known.user.is_guest() {
                            reply_to.fail(&Failure::not_logged_in(), metrics, out);
                        } else {
                            questions.push(Question { reply_to, user: known.user.clone(), kind, body });
                        }
                    }
                    None => metrics.strays.increment(1),
                },
                Up::Close { session, lost_ms } => {
                    let Some(known) = registry.session_on(session, link) else { continue };
                    let stays_ms = self.shared.settings(known.user.app()).config.presence_ms(known.platform);
                    match lost_ms.map(|lost_ms| stays_ms.saturating_sub(lost_ms.into())) {
                        None | Some(0) => drop(registry.remove(session)),
                        Some(left_ms) => registry.lose(session, now_ms + left_ms),
                    }
                }
                // Opens and adoptions were taken out above, acks go to the writer.
                Up::Open { .. } | Up::Adopt { .. } | Up::Ack { .. } => metrics.strays.increment(1),
            }
        }
        metrics.sessions.set(registry.len() as f64);
        metrics.guests.set(registry.guests() as f64);
        questions
    }

    fn answer(&self, question: Question, now_ms: u64, out: &mut Downs) {
        let Question { reply_to, user, kind, body } = question;
        let answer = match kind {
            Kind::SYNC => self.sync(&user, body, now_ms),
            Kind::HISTORY => self.history(&user, body, now_ms),
            Kind::READERS => self.readers(&user, body),
            Kind::MEDIA => self.media(&user, body, now_ms),
            Kind(kind) => {
                Err(Failure::new(code::UNKNOWN_REQUEST, format!("unknown request kind {kind:#04x}")))
            }
        };
        match answer {
            Ok(body) => reply_to.reply(body, out),
            Err(failure) => reply_to.fail(&failure, &self.shared.metrics, out),
        }
    }
}
