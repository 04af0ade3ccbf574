//! Messages to groups: who may send them, and which of them the group's rate takes.

use std::collections::{BTreeMap, HashMap};
use std::sync::PoisonError;

use nearport_wire::body::Delivery;
use nearport_wire::code::group as code;

use super::request::{Amend, Request, Send, To};
use super::{Asked, Online, Prepared, What, Writer, rates};
use crate::actor::Actor;
use crate::callback::Origin;
use crate::downs::Downs;
use crate::group::{Group, SharedGroup, gone_at};
use crate::kept::{Audience, seal};
use crate::key::{GroupKey, UserKey};
use crate::ledger::{Append, IdemKey};
use crate::numbers::Spoken;
use crate::reply::{Failure, ReplyTo, no_groups};
use crate::room::{self, Said, Saying};

/// The group that a request is about, which exists and in which the asker may do what is asked for.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) group: SharedGroup,
    /// Of a message: whether the group's rate takes it.
    taken: bool,
    /// Of a message: nothing of it is stored.
    online_only: bool,
    /// Of a message: its receipts are kept.
    receipts: bool,
    /// A live room, which has members, rate and books of its own.
    pub(super) room: bool,
}

/// Messages of one batch to one group.
#[derive(Default)]
struct Together {
    per_s: u32,
    /// Places among the requests, and classes.
    at: Vec<usize>,
    classes: Vec<usize>,
}

impl Writer {
    /// The groups that requests are about, in the order of the requests; empty if none is about one. One look into the cache for
    /// all.
    pub(super) fn places(&mut self, asked: &[Asked], now_ms: u64) -> Vec<Option<Result<Place, Failure>>> {
        let keys: Vec<GroupKey> = asked.iter().filter_map(|asked| asked.request.group()).cloned().collect();
        if keys.is_empty() {
            return Vec::new();
        }
        let found = self.shared.groups.find_homes(&keys);
        let failure = found.as_ref().err().map(no_groups);
        let groups: HashMap<GroupKey, SharedGroup> = keys
            .iter()
            .cloned()
            .zip(found.iter().flatten())
            .filter_map(|(key, group)| Some((key, group.clone()?)))
            .collect();
        let mut together: BTreeMap<GroupKey, Together> = BTreeMap::new();
        let mut places: Vec<_> = asked
            .iter()
            .enumerate()
            .map(|(at, asked)| {
                let key = asked.request.group()?;
                if let Some(failure) = &failure {
                    return Some(Err(failure.clone()));
                }
                let Some(shared) = groups.get(key) else { return Some(Err(gone_at(key))) };
                let group = shared.read().unwrap_or_else(PoisonError::into_inner);
                let place = match &asked.request {
                    Request::Send(send) => {
                        let room = !group.kind().stored_members;
                        let present = room && self.shared.rooms.is_in(key, &asked.user);
                        let place = send_place((key, shared), &group, &asked.user, present, send, now_ms);
                        if place.is_ok() && !room {
                            let together = together.entry(key.clone()).or_default();
                            together.per_s = group.kind().messages_per_s;
                            together.at.push(at);
                            together.classes.push(rates::class(send.priority));
                        }
                        place
                    }
                    request => known((key, shared), &group, &asked.user, request),
                };
                Some(place)
            })
            .collect();
        for (key, Together { per_s, at, classes }) in together {
            let taken = self.rates.take(&key, per_s, now_ms, &classes);
            for (at, taken) in at.into_iter().zip(taken) {
                if let Some(Some(Ok(place))) = places.get_mut(at) {
                    place.taken = taken;
                }
            }
        }
        places
    }

    /// Whether the group of a message takes it, whatever its rate says.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn taken_by_group(&self, asked: &Asked, now_ms: u64) -> Result<(), Failure> {
        let Request::Send(send) = &asked.request else { return Ok(()) };
        let To::Group(key) = &send.to else { return Ok(()) };
        let found = self.shared.groups.find_home(key).map_err(|error| no_groups(&error))?;
        let shared = found.ok_or_else(|| gone_at(key))?;
        let group = shared.read().unwrap_or_else(PoisonError::into_inner);
        let present = !group.kind().stored_members && self.shared.rooms.is_in(key, &asked.user);
        send_place((key, &shared), &group, &asked.user, present, send, now_ms).map(drop)
    }

    /// Says it in a live room. Nothing of it is stored, so it waits for no commit.
    pub(super) fn say(
        &self,
        reply_to: ReplyTo,
        (sender, origin): (&UserKey, Origin),
        send: Send,
        prepared: &mut Prepared,
        out: &mut Downs,
    ) {
        let (time_ms, metrics) = (self.last_time_ms, &self.shared.metrics);
        let To::Group(key) = send.to.clone() else { unreachable!("a room is a group") };
        reply_to.unstored(send.random(), time_ms, out);
        let told = self.tell_sent(sender, &send, origin, None);
        let (class, client_msg_id) = (room::class_of(send.priority), send.client_msg_id);
        let message = Some(send.into_message(sender));
        let delivery = Delivery { message, time_ms, ..Delivery::default() };
        let saying = Saying { from: sender, class, exempt: false, client_msg_id, delivery };
        match self.shared.rooms.say(&key, saying, time_ms, out) {
            Said::Out => {
                metrics.online_only.increment(1);
                self.count_in_room(sender, &key);
                prepared.batch.outbox.extend(told);
            }
            Said::Folded => metrics.over_rate.increment(1),
            Said::Again => metrics.duplicates.increment(1),
        }
    }

    /// Something was said in a live room.
    pub(super) fn count_in_room(&self, sender: &UserKey, room: &GroupKey) {
        let others = self.shared.rooms.online(room).saturating_sub(1);
        let spoken = Spoken::to_group(sender, room, others.into());
        self.shared.numbers.spoken(&[spoken], self.last_time_ms);
    }

    pub(super) fn group_send(
        &self,
        sender: UserKey,
        send: Send,
        place: Place,
        origin: Origin,
        prepared: &mut Prepared,
    ) -> What {
        let time_ms = self.last_time_ms;
        let To::Group(key) = &send.to else { unreachable!("a message to a user has no place") };
        let (random, client_msg_id, key) = (send.random(), send.client_msg_id, key.clone());
        let idem = IdemKey { sender: sender.clone(), client_msg_id };
        if !place.taken {
            let idem = (!place.online_only).then_some(idem);
            return What::Dropped { random, time_ms, idem, refused: None };
        }
        let send = Send { need_receipt: place.receipts, ..send };
        let uncounted = send.is_uncounted();
        let append = (!place.online_only).then_some(prepared.batch.appends.len());
        prepared.batch.outbox.extend(self.tell_sent(&sender, &send, origin, append));
        let body = seal(&send.into_message(&sender), Audience::All);
        if place.online_only {
            return What::OnlineOnly { random, time_ms, to: Online::Group(key), message: body, sender };
        }
        // One row, whatever the size of the group.
        prepared.batch.appends.push(Append {
            conv: key.conv(),
            idem,
            logs: Vec::new(),
            time_ms,
            body,
            uncounted,
        });
        What::GroupSend { random, group: place.group }
    }
}

fn send_place(
    (at, shared): (&GroupKey, &SharedGroup),
    group: &Group,
    user: &UserKey,
    present: bool,
    send: &Send,
    now_ms: u64,
) -> Result<Place, Failure> {
    group.check_send(at, user, present, now_ms)?;
    let kind = group.kind();
    let denied = |info: &'static str| Err(Failure::new(code::NO_PERMISSION, info));
    if (send.online_only || send.control.is_some()) && !kind.message_controls {
        return denied("groups of this type know no messages that are not stored or not counted");
    }
    if send.mentions.as_ref().is_some_and(|mentions| mentions.all) && !kind.mention_all {
        return denied("nobody means all in groups of this type");
    }
    if send.need_receipt && !kind.receipts {
        return denied("messages to groups of this type have no receipts");
    }
    let few = group.member_count() <= kind.receipts_members_max as usize;
    Ok(Place {
        group: shared.clone(),
        taken: false,
        online_only: send.online_only || !kind.history,
        // In a larger group nobody waits for them.
        receipts: send.need_receipt && few && !send.online_only,
        room: !kind.stored_members,
    })
}

fn known(
    (at, shared): (&GroupKey, &SharedGroup),
    group: &Group,
    user: &UserKey,
    request: &Request,
) -> Result<Place, Failure> {
    group.visible(Actor::User(user))?;
    // What the type has not comes before who one is: nobody is a stored member of a live room.
    let kind = group.kind();
    match request {
        Request::Amend(Amend::Change(_)) if !kind.recall => {
            let info = "messages of this type of group are not recalled";
            return Err(Failure::new(code::RECALL_NOT_OFFERED, info));
        }
        Request::Amend(Amend::Hide { .. } | Amend::Clear { .. }) if !kind.history => {
            let info = "groups of this type keep no messages";
            return Err(Failure::new(code::DELETE_NOT_OFFERED, info));
        }
        _ => {}
    }
    if group.history_after(at, user).is_none() {
        return Err(Failure::new(code::NO_PERMISSION, "only members do that"));
    }
    Ok(Place { group: shared.clone(), taken: false, online_only: false, receipts: false, room: false })
}
