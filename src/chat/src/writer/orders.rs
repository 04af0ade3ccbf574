//! What back ends want written about groups: messages by the rate of the group, imports, and cursors.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use aws_lc_rs::digest;
use bytes::Bytes;
use nearport_wire::body::{Delivery, Message};
use nearport_wire::code::group as code;
use serde_json::{Map, Value};

use super::told::hex;
use super::{Prepared, Writer, rates};
use crate::callback::{Callbacks, Command, Event, Origin, group_fields};
use crate::downs::Downs;
use crate::group::{Group, SharedGroup, gone_at};
use crate::kept::{Audience, seal};
use crate::key::{GroupKey, UserKey};
use crate::lately::KNOWN_FOR_MS;
use crate::ledger::{Append, Appended, BATCH_ITEMS_MAX, IdemKey};
use crate::posts::orders::{GroupOrder, GroupSaid, GroupSaying, Imported, Outcome, Said as Hears};
use crate::reply::{Failure, With, no_groups, unreadable};
use crate::room::{self, Said, Saying};

/// What is told once the commit has returned.
pub(super) enum Ordered {
    /// The next of the batch's appends, to a group.
    Said(SharedGroup, Hears),
    /// As many of the batch's appends as there are places left open, of which nobody is told.
    Imported(Vec<Option<Outcome>>, Imported),
    /// Goes out without being stored.
    Online { group: GroupKey, from: UserKey, time_ms: u64, message: Bytes, done: Hears },
    /// Cursors.
    Marked(Box<dyn FnOnce(bool) + Send>),
}

/// A message that may be sent.
struct Allowed {
    saying: GroupSaying,
    group: SharedGroup,
    receipts: bool,
    room: bool,
    class: usize,
    per_s: u32,
}

impl Writer {
    /// Takes what back ends have handed over, as far as the batch has room. Behind all else: [`Writer::finish`] counts on it.
    pub(super) fn prepare_orders(&mut self, now_ms: u64, prepared: &mut Prepared, out: &mut Downs) {
        let room = BATCH_ITEMS_MAX.saturating_sub(self.acks.len() + prepared.batch.items());
        let (mut sayings, mut imports) = (Vec::new(), Vec::new());
        for order in self.shared.posts.take_orders(room) {
            match order {
                GroupOrder::Say(saying) => sayings.push(*saying),
                GroupOrder::Imports { messages, done } => imports.push((messages, done)),
                GroupOrder::Marks { moves, back, done } => {
                    match back {
                        true => prepared.batch.resets.extend(moves),
                        false => prepared.batch.cursors.extend(moves),
                    }
                    prepared.ordered.push(Ordered::Marked(done));
                }
            }
        }
        self.import_all(imports, prepared);
        if !sayings.is_empty() {
            self.say_all(sayings, now_ms, prepared, out);
        }
    }

    fn say_all(&mut self, sayings: Vec<GroupSaying>, now_ms: u64, prepared: &mut Prepared, out: &mut Downs) {
        let time_ms = self.last_time_ms;
        let keys: Vec<_> = sayings.iter().map(|saying| saying.group.clone()).collect();
        let found = match self.shared.groups.find_homes(&keys) {
            Ok(found) => found,
            Err(error) => return refuse_all(sayings, &no_groups(&error)),
        };
        // Known by one of two windows of five minutes, the present one and the one before.
        let ids = sayings.iter().flat_map(|saying| {
            let key =
                |window| IdemKey { sender: saying.from.clone(), client_msg_id: message_id(saying, window) };
            [key(time_ms / KNOWN_FOR_MS), key((time_ms / KNOWN_FOR_MS).saturating_sub(1))]
        });
        let ids: Vec<_> = ids.collect();
        let repeats = match self.shared.ledger.duplicates(&ids) {
            Ok(repeats) => repeats,
            Err(error) => return refuse_all(sayings, &unreadable(&error)),
        };
        let mut allowed = Vec::with_capacity(sayings.len());
        for ((saying, group), repeats) in sayings.into_iter().zip(found).zip(repeats.chunks(2)) {
            let first = repeats.iter().flatten().find(|first| first.time_ms + KNOWN_FOR_MS > time_ms);
            let known = || GroupSaid { seq: 0, time_ms };
            let unstored = (saying.from.clone(), saying.group.clone(), saying.random);
            if let Some(Appended { seq, time_ms, .. }) = first {
                self.shared.metrics.duplicates.increment(1);
                (saying.done)(Ok(GroupSaid { seq: *seq, time_ms: *time_ms }));
            } else if self.unstored.get(&unstored, time_ms).is_some() {
                self.shared.metrics.duplicates.increment(1);
                (saying.done)(Ok(known()));
            } else {
                let outcome = match &group {
                    Some(group) => may_say(group, &saying, now_ms).map(|parts| (group.clone(), parts)),
                    None => Err(gone_at(&saying.group)),
                };
                match outcome {
                    Ok((group, (receipts, room, per_s))) => {
                        let class = rates::class(saying.priority);
                        allowed.push(Allowed { saying, group, receipts, room, class, per_s });
                    }
                    Err(failure) => {
                        saying.refused(&self.shared.callbacks, group.as_ref(), &failure, time_ms);
                        (saying.done)(Err(failure));
                    }
                }
            }
        }
        let taken = self.rate(&allowed, now_ms);
        for (allowed, taken) in allowed.into_iter().zip(taken) {
            let Allowed { saying, group, receipts, room, .. } = allowed;
            if room || saying.online_only {
                let key = (saying.from.clone(), saying.group.clone(), saying.random);
                // Twice at once.
                if self.unstored.get(&key, time_ms).is_some() {
                    (saying.done)(Ok(GroupSaid { seq: 0, time_ms }));
                    continue;
                }
                if taken {
                    self.unstored.note(key, (), time_ms);
                }
            }
            if room {
                self.say_in_room(saying, &group, prepared, out);
            } else if taken {
                self.store(saying, group, receipts, prepared);
            } else {
                self.shared.metrics.over_rate.increment(1);
                saying.refused(&self.shared.callbacks, Some(&group), &over_rate(), time_ms);
                (saying.done)(Err(over_rate()));
            }
        }
    }

    /// Which of the messages the rates of their groups take. Live rooms have rates of their own.
    fn rate(&mut self, allowed: &[Allowed], now_ms: u64) -> Vec<bool> {
        let mut together: BTreeMap<GroupKey, (u32, Vec<usize>, Vec<usize>)> = BTreeMap::new();
        for (at, allowed) in allowed.iter().enumerate().filter(|(_, allowed)| !allowed.room) {
            let group = together.entry(allowed.saying.group.clone()).or_default();
            group.0 = allowed.per_s;
            group.1.push(at);
            group.2.push(allowed.class);
        }
        let mut all = vec![false; allowed.len()];
        for (key, (per_s, at, classes)) in together {
            for (at, taken) in at.into_iter().zip(self.rates.take(&key, per_s, now_ms, &classes)) {
                all[at] = taken;
            }
        }
        all
    }

    fn say_in_room(
        &mut self,
        saying: GroupSaying,
        group: &SharedGroup,
        prepared: &mut Prepared,
        out: &mut Downs,
    ) {
        let (time_ms, metrics) = (self.last_time_ms, &self.shared.metrics);
        let key = (saying.from.clone(), saying.group.clone(), saying.random);
        // Repeats are known above: one that was refused for the rate may be tried again, so each attempt has its own id.
        let attempt = self.shared.groups.next_number() | 1 << 63;
        let (class, id) = (room::class_of(saying.priority), message_id(&saying, attempt));
        let message = Message { client_msg_id: id.to_vec().into(), ..saying.message() };
        let event = saying.event(&self.shared.callbacks, group, &message);
        let delivery = Delivery { message: Some(message), time_ms, ..Delivery::default() };
        let said = Saying { from: &saying.from, class, exempt: false, client_msg_id: id, delivery };
        let outcome = match self.shared.rooms.say(&saying.group, said, time_ms, out) {
            Said::Folded => {
                metrics.over_rate.increment(1);
                saying.refused(&self.shared.callbacks, Some(group), &over_rate(), time_ms);
                Err(over_rate())
            }
            Said::Out | Said::Again => {
                metrics.online_only.increment(1);
                self.count_in_room(&saying.from, &saying.group);
                let outbound = event.map(|event| event.outbound(saying.asker.app, None, time_ms));
                prepared.batch.outbox.extend(outbound);
                self.unstored.note(key, (), time_ms);
                Ok(GroupSaid { seq: 0, time_ms })
            }
        };
        (saying.done)(outcome);
    }

    fn store(&self, saying: GroupSaying, group: SharedGroup, receipts: bool, prepared: &mut Prepared) {
        let time_ms = self.last_time_ms;
        let id = message_id(&saying, time_ms / KNOWN_FOR_MS);
        let online_only = saying.online_only;
        let uncounted = saying.control.as_ref().is_some_and(|control| control.no_unread);
        let message =
            Message { client_msg_id: id.to_vec().into(), need_receipt: receipts, ..saying.message() };
        let event = saying.event(&self.shared.callbacks, &group, &message);
        let append = (!online_only).then_some(prepared.batch.appends.len());
        let outbound = event.map(|event| event.outbound(saying.asker.app, append, time_ms));
        prepared.batch.outbox.extend(outbound);
        let GroupSaying { group: key, from, done, .. } = saying;
        let body = seal(&message, Audience::All);
        if online_only {
            prepared.ordered.push(Ordered::Online { group: key, from, time_ms, message: body, done });
            return;
        }
        let idem = IdemKey { sender: from, client_msg_id: id };
        let conv = key.conv();
        prepared.batch.appends.push(Append { conv, idem, logs: Vec::new(), time_ms, body, uncounted });
        prepared.ordered.push(Ordered::Said(group, done));
    }
}

impl GroupSaying {
    /// As it would be sent, without what the group has to do with it.
    pub(crate) fn message(&self) -> Message {
        let mut client_msg_id = vec![0; 16];
        client_msg_id[..4].copy_from_slice(&self.random.to_be_bytes());
        Message {
            from: self.from.name().to_owned(),
            to: Some(With::Group(self.group.clone()).target()),
            client_msg_id: client_msg_id.into(),
            content: Some(self.content.clone()),
            priority: self.priority.into(),
            mentions: self.mentions.clone(),
            control: self.control,
            offline_push: self.offline_push.clone(),
            extensible: self.extensible,
            ..Message::default()
        }
    }

    /// What callbacks say of it: the type of its group, and whether it is not stored although others there are.
    pub(crate) fn shown(&self, group: Option<&SharedGroup>) -> (String, bool) {
        let Some(group) = group else { return (String::new(), self.online_only) };
        let group = group.read().unwrap_or_else(PoisonError::into_inner);
        (group.kind().name.to_owned(), self.online_only && group.kind().stored_members)
    }

    /// What the back end hears once it is sent, if it wants to and may.
    fn event(&self, callbacks: &Callbacks, group: &SharedGroup, message: &Message) -> Option<Event> {
        let command = Command::GroupAfterSend;
        if self.callbacks.no_after || !callbacks.wants(self.asker.app, command) {
            return None;
        }
        let (kind, online_only) = self.shown(Some(group));
        let id = Map::from_iter([("MsgId".to_owned(), hex(&message.client_msg_id).into())]);
        let fields = group_fields(&self.group, &kind, &self.asker.admin, online_only, id);
        let conv = self.group.conv();
        Some(Event::new(command, conv.as_bytes(), self.asker.origin(), &fields).about(message))
    }

    /// The back end hears that it was not sent, if it wants to and may.
    pub(crate) fn refused(
        &self,
        callbacks: &Callbacks,
        group: Option<&SharedGroup>,
        failure: &Failure,
        now_ms: u64,
    ) {
        let command = Command::GroupSendException;
        if self.callbacks.no_after || !callbacks.wants(self.asker.app, command) {
            return;
        }
        let (kind, online_only) = self.shown(group);
        let why = [("ErrorCode", failure.code.into()), ("ErrorInfo", (*failure.info).into())];
        let why = why.map(|(name, value): (&str, Value)| (name.to_owned(), value));
        let fields = group_fields(&self.group, &kind, &self.asker.admin, online_only, Map::from_iter(why));
        // The contract has no address for it.
        let event = Event::new(command, self.group.conv().as_bytes(), Origin::REST, &fields);
        callbacks.tell(self.asker.app, &event.about(&self.message()), now_ms);
    }
}

/// The id of a message: what the back end called random, then which group and which five minutes, or which attempt.
fn message_id(saying: &GroupSaying, window: u64) -> [u8; 16] {
    let mut digest = digest::Context::new(&digest::SHA256);
    digest.update(b"back end");
    digest.update(&window.to_be_bytes());
    digest.update(saying.group.as_bytes());
    let mut id = [0; 16];
    id[..4].copy_from_slice(&saying.random.to_be_bytes());
    id[4..].copy_from_slice(&digest.finish().as_ref()[..12]);
    id
}

/// Whether the group takes it: receipts, a live room, messages in a second.
pub(crate) fn may_say(
    shared: &SharedGroup,
    saying: &GroupSaying,
    now_ms: u64,
) -> Result<(bool, bool, u32), Failure> {
    let group: &Group = &shared.read().unwrap_or_else(PoisonError::into_inner);
    group.check_back_end_send(&saying.group, &saying.from, now_ms)?;
    let kind = group.kind();
    let denied = |info: &'static str| Err(Failure::new(code::NO_PERMISSION, info));
    if (saying.online_only && kind.history || saying.control.is_some()) && !kind.message_controls {
        return denied("groups of this type know no messages that are not stored or not counted");
    }
    if saying.mentions.as_ref().is_some_and(|mentions| mentions.all) && !kind.mention_all {
        return denied("nobody means all in groups of this type");
    }
    if saying.need_receipt && !kind.receipts {
        return denied("messages to groups of this type have no receipts");
    }
    let few = group.member_count() <= kind.receipts_members_max as usize;
    let receipts = saying.need_receipt && few && !saying.online_only;
    Ok((receipts, !kind.stored_members, kind.messages_per_s))
}

fn refuse_all(sayings: Vec<GroupSaying>, failure: &Failure) {
    for saying in sayings {
        (saying.done)(Err(failure.clone()));
    }
}

fn over_rate() -> Failure {
    Failure::later(code::MESSAGE_RATE, "the group has as many messages as it may in a second", 1000)
}
