//! Profiles, relations, presence and the conversation list, through the desk.

mod conversations;
mod groups;
mod presence;
mod profiles;
mod relations;

use std::sync::Arc;

use nearport_chat::Config;
use nearport_chat::desk::Desk;
use nearport_store::MemoryLedger;
use nearport_trunk::local::LinkId;
use nearport_trunk::{Down, SessionId};
use nearport_wire::Kind;
use nearport_wire::body::people_answer::Answer;
use nearport_wire::body::people_call::Call;
use nearport_wire::body::people_event::Event as PeopleEvent;
use nearport_wire::body::{self, Event, PeopleAnswer, PeopleCall, event};
use prost::Message as _;

use crate::world::{World, answer, directory};

pub(crate) fn world(config: Config) -> World {
    World::over(Arc::new(MemoryLedger::new()), Arc::new(directory()), config)
}

/// Asks the desk and gives its answer, with the events that others got, each with the name of whom it is for.
pub(crate) fn ask_all(
    world: &mut World,
    session: SessionId,
    call: Call,
) -> (Result<Answer, u32>, Vec<(String, PeopleEvent)>) {
    let body = PeopleCall { call: Some(call) }.encode_to_vec();
    let mut batch = vec![world.frame(session, Kind::PEOPLE, 5, body)];
    desk(world, &mut batch);
    let downs: Vec<_> = (0..2).flat_map(|link| world.received(link)).collect();
    let reply = downs.iter().find(|down| matches!(down, Down::Reply { .. })).expect("an answer");
    let reply = answer::<PeopleAnswer>(reply).map(|answer| answer.answer.expect("not empty"));
    (reply, events(&downs))
}

/// A turn of the desk.
pub(crate) fn desk(world: &mut World, batch: &mut Vec<(LinkId, nearport_trunk::Up)>) {
    let mut desk = Desk::new(world.shared.clone());
    desk.handle(batch, world.now_ms, &mut world.downs);
    world.downs.flush();
}

pub(crate) fn events(downs: &[Down]) -> Vec<(String, PeopleEvent)> {
    let one = |down: &Down| match down {
        Down::Publish { topic, kind: Kind::EVENT, body, .. } => {
            let name = String::from_utf8(topic.0[4..].to_vec()).unwrap();
            let Some(event::Event::People(event)) = Event::decode(body.clone()).unwrap().event else {
                return None;
            };
            Some((name, event.event.unwrap()))
        }
        _ => None,
    };
    downs.iter().filter_map(one).collect()
}

pub(crate) fn ask(world: &mut World, session: SessionId, call: Call) -> Result<Answer, u32> {
    ask_all(world, session, call).0
}

/// Codes of the items of a call.
pub(crate) fn codes(world: &mut World, session: SessionId, call: Call) -> Result<Vec<u32>, u32> {
    match ask(world, session, call)? {
        Answer::Results(results) => Ok(results.items.iter().map(|item| item.code).collect()),
        other => panic!("not results: {other:?}"),
    }
}

pub(crate) fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

pub(crate) fn text(tag: &str, text: &str) -> body::TagValue {
    body::TagValue { tag: tag.to_owned(), value: Some(body::tag_value::Value::Text(text.to_owned())) }
}

pub(crate) fn number(tag: &str, number: u64) -> body::TagValue {
    body::TagValue { tag: tag.to_owned(), value: Some(body::tag_value::Value::Number(number)) }
}
