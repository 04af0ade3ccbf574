//! Requests of kind PEOPLE: what the wire says, as calls of the domain in [`crate::people`], and back.

pub(crate) mod conversations;
mod relations;

use bytes::Bytes;
use nearport_trunk::{Down, SessionId};
use nearport_wire::body::people_answer::Answer;
use nearport_wire::body::people_call::Call;
use nearport_wire::body::{self, Empty, PeopleAnswer, PeopleCall};
use nearport_wire::{Kind, Lane, Limits, code};
use prost::Message as _;

use super::Caller;
use crate::actor::Actor;
use crate::callback::{Event, Origin};
use crate::downs::Downs;
use crate::people::{Effects, Items, Told, codes, profiles, sequences};
use crate::reply::{Failure, decode};
use crate::shared::Shared;

/// Users told of something in one go, while the registry is locked.
const TOLD_AT_ONCE: usize = 256;

/// Carries out a request and gives the body of its reply.
pub(crate) fn answer(
    shared: &Shared,
    caller: &Caller,
    body: Bytes,
    now_ms: u64,
    out: &mut Downs,
) -> Result<Bytes, Failure> {
    let call: PeopleCall = decode(body, "people")?;
    let Some(call) = call.call else {
        return Err(Failure::new(
            code::UNKNOWN_REQUEST,
            "this server does not know such a call about people",
        ));
    };
    let mut effects = Effects::told_by(&shared.callbacks, caller.origin, now_ms);
    let answer = carry_out(shared, caller, &caller.actor(), call, now_ms, &mut effects);
    // Also after a failure: what was noted has happened.
    publish(shared, effects, caller.session(), caller.origin, out);
    let body = PeopleAnswer { answer: Some(answer?) }.encode_to_vec();
    // Only what is read and has no pages is ever so long: profiles and friends by name.
    if body.len() > Limits::client().body_bytes_max {
        let info = format!("the answer would have {} bytes: ask about fewer at once", body.len());
        return Err(Failure::new(code::CONTENT_TOO_LONG, info));
    }
    Ok(body.into())
}

fn carry_out(
    shared: &Shared,
    caller: &Caller,
    actor: &Actor<'_>,
    call: Call,
    now_ms: u64,
    effects: &mut Effects,
) -> Result<Answer, Failure> {
    let (people, user) = (&*shared.people, caller.user(code::BAD_REQUEST)?);
    match call {
        Call::ProfileGet(call) => {
            let found = people.profiles(actor, user.app(), &call.users, &call.tags)?;
            let one = |(name, profile): (&String, profiles::Profile)| match profile {
                Ok(fields) => body::UserProfile {
                    user: name.clone(),
                    fields: fields.iter().map(|(tag, value)| profiles::to_wire(tag, value)).collect(),
                    code: 0,
                },
                Err(failure) => {
                    body::UserProfile { user: name.clone(), fields: Vec::new(), code: failure.code }
                }
            };
            let profiles = call.users.iter().zip(found).map(one).collect();
            Ok(Answer::Profiles(body::UserProfiles { profiles }))
        }
        Call::ProfileSet(call) => {
            let fields = profiles::from_wire(call.fields, codes::PROFILE_BAD)?;
            people.set_profile(actor, user, &fields, effects)?;
            Ok(done())
        }
        Call::StatusSet(call) => {
            shared.set_status_text(user, &call.text, now_ms, effects)?;
            Ok(done())
        }
        Call::StatusGet(call) => {
            let statuses = shared.statuses(user.app(), &call.users, now_ms)?;
            Ok(Answer::Statuses(body::UserStatuses { statuses }))
        }
        Call::StatusSubscribe(call) => {
            let statuses = shared.watch(user, &call.users, &call.stop, call.stop_all, now_ms)?;
            Ok(Answer::Statuses(body::UserStatuses { statuses }))
        }
        Call::LogOut(_) => {
            shared.registry().log_out(caller.seat(code::BAD_REQUEST)?.session);
            Ok(done())
        }
        call @ (Call::ConversationList(_)
        | Call::ConversationGet(_)
        | Call::ConversationPin(_)
        | Call::ConversationMark(_)
        | Call::ConversationMute(_)
        | Call::ConversationDraft(_)
        | Call::ConversationDelete(_)
        | Call::ConversationGroupCreate(_)
        | Call::ConversationGroupDelete(_)
        | Call::ConversationGroupRename(_)
        | Call::ConversationGroupMembers(_)
        | Call::ConversationGroupList(_)
        | Call::UnreadTotal(_)) => conversations::carry_out(shared, user, call, now_ms, effects),
        call => relations::carry_out(people, actor, user, call, now_ms, effects),
    }
}

fn done() -> Answer {
    Answer::Done(Empty {})
}

fn results(items: Items) -> Answer {
    let one =
        |item: crate::people::Item| body::PeopleResult { id: item.id, code: item.code, info: item.info };
    Answer::Results(body::PeopleResults {
        sequences: Some(sequences(&items.head)),
        items: items.items.into_iter().map(one).collect(),
    })
}

/// Sends events to all devices of those whom they concern but `except`, which has its reply. Back ends hear of the others of them, by
/// who asks from `origin`.
pub(crate) fn publish(
    shared: &Shared,
    effects: Effects,
    except: Option<SessionId>,
    origin: Origin,
    out: &mut Downs,
) {
    for (app, count, n) in effects.counted {
        shared.numbers.count_now(app, count, n);
    }
    shared.callbacks.tell_pending(effects.pending);
    for Told { command, user, fields, origin: own } in effects.told {
        if shared.callbacks.wants(user.app(), command) {
            let origin = own.unwrap_or(origin);
            shared.callbacks.tell_now(user.app(), &Event::new(command, user.as_bytes(), origin, &fields));
        }
    }
    let mut links = Vec::new();
    for (users, event) in effects.events {
        let mut encoded = None;
        for some in users.chunks(TOLD_AT_ONCE) {
            let mut registry = shared.registry();
            for user in some {
                registry.reach(user, 0, except, &mut links);
                let Some(topic) = registry.topic(user).filter(|_| !links.is_empty()) else { continue };
                let body = encoded.get_or_insert_with(|| {
                    let event = body::Event { event: Some(body::event::Event::People(event.clone())) };
                    Bytes::from(event.encode_to_vec())
                });
                shared.metrics.publishes.increment(links.len() as u64);
                for link in &links {
                    let (topic, body) = (topic.clone(), body.clone());
                    let (lane, kind) = (Lane::Chat, Kind::EVENT);
                    out.push(*link, Down::Publish { topic, lane, kind, id: 0, body, except });
                }
            }
        }
    }
}
