//! After the commit: answers, then publishes.

use std::sync::PoisonError;

use bytes::Bytes;
use nearport_wire::body::{Amended, Empty, Sent};
use nearport_wire::{Kind, code};
use prost::Message as _;

use super::orders::Ordered;
use super::publish::{Publisher, Shared};
use super::{Online, Order, Posted, Prepared, What, Writer};
use crate::downs::Downs;
use crate::group::SharedGroup;
use crate::kept::Kept;
use crate::key::{ConvKind, GroupKey, UserKey};
use crate::ledger::{Append, Appended, Committed, LedgerError};
use crate::msg_key::MsgKey;
use crate::numbers::Spoken;
use crate::posts::GroupSaid;
use crate::posts::orders::Outcome;
use crate::reply::{Failure, ReplyTo, unreadable};

/// When a client whose message could not be stored tries again. The ledger needs an operator or a restart.
const STORE_RETRY_MS: u32 = 5000;

impl Writer {
    /// Answers the requests of `prepared` and publishes what is new.
    ///
    /// After an error every request that had something to store gets ERROR 20005 and nothing of it is published: its
    /// messages may or may not exist, and the same `client_msg_id` later finds out. Online-only messages go out in
    /// either case, they promise nothing.
    pub fn finish(&mut self, prepared: Prepared, outcome: Result<Committed, LedgerError>, out: &mut Downs) {
        let Prepared {
            mut batch, told_from, pending, orders, posts, changes, acts, unstored, ordered, ..
        } = prepared;
        let metrics = &self.shared.metrics;
        let mut failed = None;
        let outcome = outcome.and_then(|Committed { appended, edited }| {
            // An engine that answers less than it was asked must not leave a request without an answer.
            let (want, got) = ((batch.appends.len(), batch.edits.len()), (appended.len(), edited.len()));
            if want == got {
                Ok((appended, edited))
            } else {
                Err(LedgerError::Io(format!("{got:?} outcomes for {want:?} appends and edits")))
            }
        });
        let outcome = match outcome {
            Ok(outcome) => {
                let items = batch.items();
                if items > 0 {
                    metrics.commit_items.record(items as f64);
                }
                // Most commits have none, and need not take the lock.
                if pending.iter().any(Option::is_some) {
                    self.shared.callbacks.stored(pending.into_iter().flatten());
                }
                Some(outcome)
            }
            Err(error) => {
                tracing::error!(%error, messages = batch.appends.len(), items = batch.items(), "commit failed");
                metrics.not_stored.increment(batch.appends.len() as u64);
                let events = batch.outbox.split_off(told_from).into_iter().zip(pending).collect();
                let settles = std::mem::take(&mut batch.settles);
                self.shared.callbacks.give_back(events, settles, self.last_time_ms);
                failed = Some(error);
                None
            }
        };
        let is_stored = outcome.is_some();
        if is_stored && batch.has_outbound() {
            self.shared.callbacks.committed();
        }
        let (appended, edited) = outcome.unwrap_or_default();
        let failure =
            Failure::later(code::INTERNAL, "the store takes no writes, try again later", STORE_RETRY_MS);
        let mut stored = batch.appends.iter().zip(&appended);
        let mut edits = batch.edits.iter().zip(&edited);
        if is_stored {
            // Groups that hid until now have their first message. In front of the registry's lock: the desk takes that one
            // while it reads a group.
            for order in &orders {
                if let What::GroupSend { group, .. } = &order.what {
                    group.read().unwrap_or_else(PoisonError::into_inner).activate();
                }
            }
            for ordered in &ordered {
                if let Ordered::Said(group, _) = ordered {
                    group.read().unwrap_or_else(PoisonError::into_inner).activate();
                }
            }
        }
        let mut repeats = self.repeats(&orders);
        let audiences = self.audiences(&orders, &ordered);
        let mut audiences = audiences.into_iter();
        let mut spoken = Vec::new();
        let mut registry = self.shared.registry();
        let mut publisher = Publisher { registry: &mut registry, links: Vec::new(), count: 0, out };
        // What other threads have said stands in front of all requests.
        for (append, done) in unstored {
            metrics.online_only.increment(1);
            if let Some(done) = done {
                let place =
                    Appended { seq: 0, time_ms: append.time_ms, positions: Vec::new(), duplicate: false };
                done(Ok(&place));
            }
            if append.conv.is_pushes() {
                publisher.pushed(&append, &[], append.time_ms);
                continue;
            }
            if append.conv.is_pair() {
                spoken.push(to_users(&append.idem.sender, &append.logs));
            }
            let mut delivery = Shared::new(Kept::open(&append.body).message, 0, append.time_ms, 0);
            append.logs.iter().for_each(|owner| publisher.message(owner, 0, None, &mut delivery));
        }
        for Posted { done, spoken: counts } in posts {
            match (&failed, stored.next()) {
                (None, Some((append, outcome))) => {
                    if counts && !outcome.duplicate {
                        spoken.push(to_users(&append.idem.sender, &append.logs));
                    }
                    if let Some(done) = done {
                        done(Ok(outcome));
                    }
                    publisher.appended(append, outcome, None);
                }
                (Some(error), _) => {
                    if let Some(done) = done {
                        done(Err(error));
                    }
                }
                (None, None) => unreachable!("as many outcomes as appends, counted above"),
            }
        }
        for Order { reply_to, what } in orders {
            let down = audiences.next().unwrap_or_default();
            match what {
                What::OnlineOnly { random, time_ms, to, message, sender } => {
                    metrics.online_only.increment(1);
                    spoken.push(match &to {
                        Online::Users(users) => to_users(&sender, users),
                        Online::Group(group) => Spoken::to_group(&sender, group, down),
                    });
                    reply_to.unstored(random, time_ms, publisher.out);
                    let message = Kept::open(&message).message;
                    publisher.online(&to, &mut Shared::new(message, 0, time_ms, 0), reply_to.session);
                }
                What::Dropped { random, time_ms, idem, refused } => {
                    let first = match (&mut repeats, idem) {
                        (_, None) => None,
                        (Ok(repeats), Some(_)) => repeats.next().flatten(),
                        (Err(failure), Some(_)) => {
                            reply_to.fail(failure, metrics, publisher.out);
                            continue;
                        }
                    };
                    match (first, refused) {
                        (Some(first), _) => {
                            metrics.duplicates.increment(1);
                            reply_to.sent(random, &first, publisher.out);
                        }
                        (None, Some((refused, told))) => {
                            if let Some((app, event)) = told {
                                self.shared.callbacks.tell(app, &event, time_ms);
                            }
                            reply_to.fail(&refused, metrics, publisher.out);
                        }
                        (None, None) => {
                            metrics.over_rate.increment(1);
                            reply_to.unstored(random, time_ms, publisher.out);
                        }
                    }
                }
                _ if !is_stored => {
                    #[cfg(nearport_bug = "ack_before_commit")]
                    if matches!(what, What::Send { .. } | What::GroupSend { .. }) {
                        continue;
                    }
                    reply_to.fail(&failure, metrics, publisher.out);
                }
                What::Send { random } | What::GroupSend { random, .. } => {
                    let (append, done) = stored.next().expect("one append per Send order, counted above");
                    if done.duplicate {
                        metrics.duplicates.increment(1)
                    } else {
                        metrics.stored.increment(1);
                        spoken.push(said(append, down));
                    }
                    #[cfg(not(nearport_bug = "ack_before_commit"))]
                    reply_to.sent(random, done, publisher.out);
                    #[cfg(nearport_bug = "ack_before_commit")]
                    let _ = random;
                    publisher.appended(append, done, Some(reply_to.session));
                }
                What::Change(changing) => {
                    let (edit, done) = edits.next().expect("one edit per Change order, counted above");
                    let Some(done) = done else {
                        // It was there when the batch was prepared: trimmed meanwhile.
                        let gone = if edit.conv.is_group() {
                            code::group::RECALL_NOT_FOUND
                        } else {
                            code::NO_MESSAGE
                        };
                        reply_to.fail(
                            &Failure::new(gone, "the message is not kept any more"),
                            metrics,
                            publisher.out,
                        );
                        continue;
                    };
                    metrics.changes.increment(1);
                    let amended =
                        Amended { edit: done.edit, time_ms: changing.changed_ms, ..Amended::default() };
                    reply_to.reply(amended.encode_to_vec().into(), publisher.out);
                    publisher.changed(edit, &changing, done);
                }
                What::Amended { amended, events } => {
                    reply_to.reply(amended.encode_to_vec().into(), publisher.out);
                    for (user, event) in &events {
                        publisher.event(user, event, Some(reply_to.session));
                    }
                }
                What::MarkRead { reader, with, seq } => {
                    reply_to.reply(Empty {}.encode_to_vec().into(), publisher.out);
                    if seq > 0 {
                        publisher.read(&reader, &with, seq, Some(reply_to.session));
                    }
                }
                What::Flush => reply_to.reply(Bytes::new(), publisher.out),
            }
        }
        // What administrators change and do stands behind them.
        for (changing, done) in changes {
            match (is_stored, edits.next()) {
                (true, Some((edit, Some(outcome)))) => {
                    metrics.changes.increment(1);
                    done(Ok(outcome.edit));
                    publisher.changed(edit, &changing, outcome);
                }
                (true, Some((edit, None))) if edit.conv.is_group() => {
                    done(Err(code::group::RECALL_NOT_FOUND));
                }
                (true, Some((_, None))) => done(Err(code::NO_MESSAGE)),
                (true, None) => unreachable!("as many outcomes as edits, counted above"),
                (false, _) => done(Err(code::INTERNAL)),
            }
        }
        for (what, done) in acts {
            if !is_stored {
                done(Err(failure.clone()));
                continue;
            }
            match what {
                What::Amended { amended, events } => {
                    done(Ok(amended));
                    events.iter().for_each(|(user, event)| publisher.event(user, event, None));
                }
                What::MarkRead { reader, with, seq } => {
                    done(Ok(Amended { seq, ..Amended::default() }));
                    if seq > 0 {
                        publisher.read(&reader, &with, seq, None);
                    }
                }
                _ => unreachable!("acts are marks and cursors"),
            }
        }
        for ordered in ordered {
            let down = audiences.next().unwrap_or_default();
            match ordered {
                Ordered::Said(_, done) if !is_stored => done(Err(failure.clone())),
                Ordered::Said(_, done) => {
                    let (append, outcome) = stored.next().expect("one append per message, counted above");
                    match outcome.duplicate {
                        true => metrics.duplicates.increment(1),
                        false => {
                            metrics.stored.increment(1);
                            spoken.push(said(append, down));
                        }
                    }
                    done(Ok(GroupSaid { seq: outcome.seq, time_ms: outcome.time_ms }));
                    publisher.appended(append, outcome, None);
                }
                Ordered::Imported(places, done) => match &failed {
                    Some(error) => done(Err(error)),
                    None => {
                        let mut next = || {
                            let (_, outcome) =
                                stored.next().expect("one append per open place, counted above");
                            Outcome::Stands(outcome.clone())
                        };
                        done(Ok(places.into_iter().map(|place| place.unwrap_or_else(&mut next)).collect()));
                    }
                },
                Ordered::Online { group, from, time_ms, message, done } => {
                    metrics.online_only.increment(1);
                    spoken.push(Spoken::to_group(&from, &group, down));
                    done(Ok(GroupSaid { seq: 0, time_ms }));
                    let mut delivery = Shared::new(Kept::open(&message).message, 0, time_ms, 0);
                    publisher.group(&group.topic(), Kind::GROUP_PUSH, 0, &mut delivery, None);
                }
                Ordered::Marked(done) => done(is_stored),
            }
        }
        metrics.publishes.increment(publisher.count);
        drop(registry);
        self.shared.numbers.spoken(&spoken, self.last_time_ms);
    }

    /// For how many each message to a group is, in the order of `orders` and then of `ordered`: members but the sender. In front of the
    /// registry's lock, as everything that reads a group.
    fn audiences(&self, orders: &[Order], ordered: &[Ordered]) -> Vec<u64> {
        let but_one = |group: &SharedGroup| {
            let group = group.read().unwrap_or_else(PoisonError::into_inner);
            group.member_count().saturating_sub(1) as u64
        };
        // A topic is for the members of its community.
        let known = |key: &GroupKey| {
            self.shared.groups.find_home(key).ok().flatten().map_or(0, |group| but_one(&group))
        };
        let of_order = |order: &Order| match &order.what {
            What::GroupSend { group, .. } => but_one(group),
            What::OnlineOnly { to: Online::Group(key), .. } => known(key),
            _ => 0,
        };
        let of_ordered = |ordered: &Ordered| match ordered {
            Ordered::Said(group, _) => but_one(group),
            Ordered::Online { group, .. } => known(group),
            _ => 0,
        };
        orders.iter().map(of_order).chain(ordered.iter().map(of_ordered)).collect()
    }

    /// Of the messages that were not taken, in order: those that were stored before, for their first answer was lost.
    /// Looked up after the commit, for the first one may stand in the same batch.
    fn repeats(&self, orders: &[Order]) -> Result<std::vec::IntoIter<Option<Appended>>, Failure> {
        let key = |order: &Order| match &order.what {
            What::Dropped { idem, .. } => idem.clone(),
            _ => None,
        };
        let keys: Vec<_> = orders.iter().filter_map(key).collect();
        if keys.is_empty() {
            return Ok(Vec::new().into_iter());
        }
        let found = self.shared.ledger.duplicates(&keys).map_err(|error| unreadable(&error))?;
        Ok(found.into_iter())
    }

    /// The planted bug: says "stored" before anything is. The numbers are guessed from what is stored now.
    #[cfg(nearport_bug = "ack_before_commit")]
    pub(super) fn answer_too_early(&self, prepared: &Prepared, out: &mut Downs) {
        use std::collections::BTreeMap;
        let (mut heads, mut log_heads) = (BTreeMap::new(), BTreeMap::new());
        let mut appends = prepared.batch.appends.iter().skip(prepared.posts.len());
        for Order { reply_to, what } in &prepared.orders {
            let (What::Send { random } | What::GroupSend { random, .. }) = what else { continue };
            let append = appends.next().expect("one append per Send order");
            let ledger = &self.shared.ledger;
            let head =
                heads.entry(append.conv.clone()).or_insert_with(|| ledger.head(&append.conv).unwrap_or(0));
            *head += 1;
            let log = append.logs.first().map(|owner| {
                let log =
                    log_heads.entry(owner.clone()).or_insert_with(|| ledger.log_head(owner).unwrap_or(0));
                *log += 1;
                *log
            });
            let positions = log.into_iter().collect();
            let done = Appended { seq: *head, time_ms: append.time_ms, positions, duplicate: false };
            reply_to.sent(*random, &done, out);
        }
        out.flush();
    }
}

/// A message of users, which is for those who have it but its sender.
fn to_users(sender: &UserKey, logs: &[UserKey]) -> Spoken {
    Spoken::to_users(sender, logs.iter().filter(|owner| *owner != sender).count() as u64)
}

/// A stored message of a user.
fn said(append: &Append, down: u64) -> Spoken {
    match append.conv.kind() {
        ConvKind::Group(group) => Spoken::to_group(&append.idem.sender, &group, down),
        _ => to_users(&append.idem.sender, &append.logs),
    }
}

impl ReplyTo {
    /// What is said of a message that is not stored.
    pub(super) fn unstored(self, random: u32, time_ms: u64, out: &mut Downs) {
        let sent = Sent { time_ms, msg_key: msg_key(0, random, time_ms), ..Sent::default() };
        self.reply(sent.encode_to_vec().into(), out);
    }

    /// The acknowledgement of a stored message.
    fn sent(self, random: u32, done: &Appended, out: &mut Downs) {
        let sent = Sent {
            seq: done.seq,
            time_ms: done.time_ms,
            msg_key: msg_key(done.seq, random, done.time_ms),
            duplicate: done.duplicate,
            position: done.positions.first().copied().unwrap_or_default(),
        };
        self.reply(sent.encode_to_vec().into(), out);
    }
}

/// `MsgKey` of the public contract.
pub(super) fn msg_key(seq: u64, random: u32, time_ms: u64) -> String {
    MsgKey { seq, random, time_s: time_ms / 1000 }.to_string()
}
