//! Groups in the conversation list.

use bytes::Bytes;
use nearport_chat::Config;
use nearport_chat::key::{AppId, ConvKey};
use nearport_chat::ledger::{Append, IdemKey};
use nearport_chat::posts::Post;
use nearport_trunk::SessionId;
use nearport_wire::Kind;
use nearport_wire::body::people_answer::Answer;
use nearport_wire::body::people_call::Call;
use nearport_wire::body::{self, Disturb, GroupCall, GroupCreate, group_call, target};
use prost::Message as _;

use super::{ask, desk, world};
use crate::world::{APP, World, user};

/// Makes a group of alice's with bob in it.
fn create(world: &mut World, session: SessionId, kind: &str, id: &str) {
    let create = GroupCreate {
        r#type: kind.into(),
        name: "team".into(),
        group: id.into(),
        members: vec![body::GroupNewMember { user: "bob".into(), ..body::GroupNewMember::default() }],
        ..GroupCreate::default()
    };
    let call = GroupCall { call: Some(group_call::Call::Create(create)) };
    let frame = world.frame(session, Kind::GROUP, 3, call.encode_to_vec());
    desk(world, &mut vec![frame]);
    let downs = world.received(0);
    let reply = downs.iter().find(|down| matches!(down, nearport_trunk::Down::Reply { .. })).unwrap();
    crate::world::answer::<body::GroupAnswer>(reply).unwrap();
}

/// A message to a group, as another thread hands it to the writer.
fn say(world: &mut World, id: &str, n: u8) {
    let idem = IdemKey { sender: user("alice"), client_msg_id: [n; 16] };
    let conv = ConvKey::group(AppId(APP), id).unwrap();
    let body: Bytes =
        body::Message { from: "alice".into(), ..body::Message::default() }.encode_to_vec().into();
    world.now_ms += 1000;
    let append = Append { conv, idem, logs: Vec::new(), time_ms: world.now_ms, body, uncounted: false };
    assert!(world.shared.posts().push(vec![Post { append, done: None }]).is_empty());
    world.write(Vec::new());
    world.received(0);
}

fn list(world: &mut World, session: SessionId) -> (Vec<(String, u64, Disturb)>, u64) {
    let Ok(Answer::Conversations(page)) =
        ask(world, session, Call::ConversationList(body::ConversationList::default()))
    else {
        panic!()
    };
    let one = |it: &body::Conversation| match it.with.clone().unwrap().target.unwrap() {
        target::Target::Group(id) => (id, it.unread, it.mute()),
        other => panic!("{other:?}"),
    };
    (page.conversations.iter().map(one).collect(), page.unread)
}

#[test]
fn a_group_is_listed_for_whom_it_is_visible_and_counted_as_its_type_says() {
    let mut world = world(Config::default());
    let (alice, bob, carol) = (world.login("alice", "a"), world.login("bob", "b"), world.login("carol", "c"));
    world.received(0);
    for (kind, id) in [("Public", "p"), ("Meeting", "m"), ("Work", "w")] {
        create(&mut world, alice, kind, id);
    }
    world.write(Vec::new());
    world.received(0);
    let before = list(&mut world, bob).1;
    for n in 1..=2 {
        say(&mut world, "p", n);
    }
    say(&mut world, "m", 3);
    let (seen, unread) = list(&mut world, bob);
    let names: Vec<_> = seen.iter().map(|(id, ..)| id.as_str()).collect();
    assert_eq!(names, ["m", "p"], "by the last message; a Work group is not seen before its first one");
    assert_eq!(seen[0].1, 0, "a meeting counts nothing");
    assert_eq!(unread, before + 2);
    assert_eq!(list(&mut world, carol).0, [], "not a member");

    let edit = body::GroupMemberEdit {
        group: "p".into(),
        user: "bob".into(),
        reception: body::GroupReception::Quiet.into(),
        ..body::GroupMemberEdit::default()
    };
    let call = GroupCall { call: Some(group_call::Call::EditMember(edit)) };
    let frame = world.frame(bob, Kind::GROUP, 3, call.encode_to_vec());
    desk(&mut world, &mut vec![frame]);
    world.received(0);
    let (seen, unread) = list(&mut world, bob);
    assert_eq!((seen[1].2, unread), (Disturb::Quiet, 0), "do not disturb is the member's own MsgFlag");
}
