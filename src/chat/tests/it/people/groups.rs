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
use nearport_wire::body::{self, Disturb, GroupCall, GroupCreate, Mention, Mentions, group_call, target};
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
    mention(world, id, n, None);
}

fn mention(world: &mut World, id: &str, n: u8, mentions: Option<Mentions>) {
    let idem = IdemKey { sender: user("alice"), client_msg_id: [n; 16] };
    let conv = ConvKey::group(AppId(APP), id).unwrap();
    let message = body::Message { from: "alice".into(), mentions, ..body::Message::default() };
    let body: Bytes = message.encode_to_vec().into();
    world.now_ms += 1000;
    let append = Append { conv, idem, logs: Vec::new(), time_ms: world.now_ms, body, uncounted: false };
    assert!(world.shared.posts().push(vec![Post { append, done: None }]).is_empty());
    world.write(Vec::new());
    world.received(0);
}

fn page(world: &mut World, session: SessionId) -> body::ConversationPage {
    match ask(world, session, Call::ConversationList(body::ConversationList::default())) {
        Ok(Answer::Conversations(page)) => page,
        other => panic!("{other:?}"),
    }
}

fn list(world: &mut World, session: SessionId) -> (Vec<(String, u64, Disturb)>, u64) {
    let page = page(world, session);
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

#[test]
fn who_is_meant_by_an_at_sign_sees_it_until_it_is_read() {
    let mut world = world(Config::default());
    let (alice, bob) = (world.login("alice", "a"), world.login("bob", "b"));
    world.received(0);
    for (kind, id) in [("Public", "p"), ("Meeting", "m")] {
        create(&mut world, alice, kind, id);
    }
    let mentioned = |world: &mut World, session, at: usize| {
        let page = page(world, session);
        (page.conversations[at].head, page.conversations[at].mentions.clone())
    };
    let me = |names: &[&str], all| {
        Some(Mentions { users: names.iter().map(|name| (*name).to_owned()).collect(), all })
    };
    mention(&mut world, "m", 1, me(&["bob"], false));
    for (n, mentions) in [
        (2, me(&["carol", "bob"], false)),
        (3, me(&["carol"], false)),
        (4, me(&[], true)),
        (5, me(&["bob"], true)),
        (6, None),
    ] {
        mention(&mut world, "p", n, mentions);
    }
    let (head, seen) = mentioned(&mut world, bob, 0);
    let is = |seq, me, all| Mention { seq, me, all };
    assert_eq!(seen, [is(head - 1, true, true), is(head - 2, false, true), is(head - 4, true, false)]);
    let meeting = mentioned(&mut world, bob, 1);
    assert_eq!(meeting.1, [is(meeting.0, true, false)], "also where nothing is counted");
    assert_eq!(mentioned(&mut world, alice, 0).1, [], "one's own");

    let with = || body::Target { target: Some(target::Target::Group("p".into())) };
    let recall = body::Recall { with: Some(with()), seq: head - 1, reason: String::new() };
    let amend = body::Amend { amend: Some(body::amend::Amend::Recall(recall)) };
    let read = body::MarkRead { with: Some(with()), seq: head - 4 };
    let frames = vec![
        world.frame(alice, Kind::AMEND, 8, amend.encode_to_vec()),
        world.frame(bob, Kind::MARK_READ, 8, read.encode_to_vec()),
    ];
    world.write(frames);
    world.received(0);
    assert_eq!(mentioned(&mut world, bob, 0).1, [is(head - 2, false, true)], "what is left of it");
    for n in 7..20 {
        mention(&mut world, "p", n, me(&["bob"], false));
    }
    let (head, seen) = mentioned(&mut world, bob, 0);
    assert_eq!((seen.len(), seen[0].seq), (10, head), "the newest ones");
}
