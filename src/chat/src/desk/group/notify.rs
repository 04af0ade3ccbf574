//! What the back end of an App tells members who are online now, and nobody else.

use std::sync::PoisonError;

use bytes::Bytes;
use nearport_trunk::{Down, Topic};
use nearport_wire::body::{Delivery, Notice, element, target};
use nearport_wire::code::group as code;
use nearport_wire::{Class, Kind, Lane};
use prost::Message as _;

use super::turn::{SystemMessage, Turn, to_group};
use super::unreadable;
use crate::downs::Downs;
use crate::group::gone;
use crate::key::{GroupKey, UserKey};
use crate::reply::Failure;
use crate::room::Saying;
use crate::shared::Shared;

/// The notice that is the App's own, of the public contract.
const CUSTOM: u32 = 16;

/// Tells all members, or those of `to`, what `by` has to say.
pub(crate) fn notify(
    shared: &Shared,
    (by, key): (&str, &GroupKey),
    data: String,
    to: &[UserKey],
    now_ms: u64,
    out: &mut Downs,
) -> Result<(), Failure> {
    let group = shared.groups.find(key).map_err(|error| unreadable(&error))?.ok_or_else(gone)?;
    let group = group.read().unwrap_or_else(PoisonError::into_inner);
    let turn = Turn::new(shared, now_ms);
    let notice = Notice {
        r#type: CUSTOM,
        group: key.id().to_owned(),
        group_name: group.info().name.clone(),
        operator: by.to_owned(),
        data,
        ..Notice::default()
    };
    let said = |to| turn.system_says(key, to, element::Element::Notice(notice.clone()));
    let delivery = |message| Delivery { message: Some(message), time_ms: now_ms, ..Delivery::default() };
    if !group.kind().stored_members {
        if !to.is_empty() {
            return Err(Failure::new(code::BAD_PARAMETER, "a live room is told as a whole"));
        }
        if let Some(SystemMessage { sender, client_msg_id, message }) = said(to_group(key)) {
            let (class, delivery) = (Class::System, delivery(message));
            let saying = Saying { from: &sender, class, exempt: true, client_msg_id, delivery };
            shared.rooms.say(key, saying, now_ms, out);
        }
        return Ok(());
    }
    let mut links = Vec::new();
    if to.is_empty() {
        let Some(SystemMessage { message, .. }) = said(to_group(key)) else { return Ok(()) };
        let body = Bytes::from(delivery(message).encode_to_vec());
        shared.registry().reach_topic(&key.topic(), &mut links);
        for link in links {
            out.push(link, publish(key.topic(), Kind::GROUP_PUSH, body.clone()));
        }
        return Ok(());
    }
    for user in to.iter().filter(|user| group.member(user).is_some()) {
        let to = target::Target::User(user.name().to_owned());
        let Some(SystemMessage { message, .. }) = said(to) else { continue };
        let mut registry = shared.registry();
        let Some(topic) = registry.topic(user) else { continue };
        registry.reach(user, 0, None, &mut links);
        drop(registry);
        let body = Bytes::from(delivery(message).encode_to_vec());
        for link in links.drain(..) {
            out.push(link, publish(topic.clone(), Kind::PUSH, body.clone()));
        }
    }
    Ok(())
}

fn publish(topic: Topic, kind: Kind, body: Bytes) -> Down {
    Down::Publish { topic, lane: Lane::Chat, kind, id: 0, body, except: None }
}
