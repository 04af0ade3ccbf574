//! The conversation list.

use nearport_chat::Config;
use nearport_chat::people::Config as People;
use nearport_trunk::SessionId;
use nearport_wire::Kind;
use nearport_wire::body::people_answer::Answer;
use nearport_wire::body::people_call::Call;
use nearport_wire::body::people_event::Event;
use nearport_wire::body::{self, Disturb, Target};
use prost::Message as _;

use super::{ask, ask_all, names, world};
use crate::world::{World, to_user};

fn list(world: &mut World, session: SessionId, call: body::ConversationList) -> body::ConversationPage {
    match ask(world, session, Call::ConversationList(call)) {
        Ok(Answer::Conversations(page)) => page,
        other => panic!("{other:?}"),
    }
}

fn peers(page: &body::ConversationPage) -> Vec<String> {
    let name = |it: &body::Conversation| match it.with.clone().unwrap().target.unwrap() {
        body::target::Target::User(name) => name,
        other => panic!("{other:?}"),
    };
    page.conversations.iter().map(name).collect()
}

fn to_group(id: &str) -> Target {
    Target { target: Some(body::target::Target::Group(id.to_owned())) }
}

fn say(world: &mut World, from: SessionId, to: &str, id: u8) {
    world.now_ms += 1000;
    let message = world.text(from, to, id, u64::from(id));
    world.write(vec![message]);
    world.received(0);
}

fn read(world: &mut World, session: SessionId, with: &str, seq: u64) {
    let body = body::MarkRead { with: Some(to_user(with)), seq }.encode_to_vec();
    let mark = world.frame(session, Kind::MARK_READ, 9, body);
    world.write(vec![mark]);
    world.received(0);
}

fn some() -> (World, SessionId, SessionId) {
    let mut world = world(Config::default());
    let (alice, bob, carol) = (world.login("alice", "a"), world.login("bob", "b"), world.login("carol", "c"));
    world.login("alice", "tablet");
    world.received(0);
    for id in 1..=3 {
        say(&mut world, bob, "alice", id);
    }
    say(&mut world, carol, "alice", 1);
    (world, alice, bob)
}

#[test]
fn the_list_is_by_the_last_message_with_what_was_not_read() {
    let (mut world, alice, bob) = some();
    let page = list(&mut world, alice, body::ConversationList::default());
    assert_eq!(peers(&page), ["carol", "bob"]);
    let unread: Vec<_> = page.conversations.iter().map(|it| it.unread).collect();
    assert_eq!((unread, page.unread, page.complete), (vec![1, 3], 4, true));
    let last = page.conversations[1].last.as_ref().unwrap();
    assert_eq!((last.seq, last.message.as_ref().unwrap().from.as_str()), (3, "bob"));
    read(&mut world, alice, "bob", 2);
    let total = ask(&mut world, alice, Call::UnreadTotal(body::UnreadTotal {}));
    assert_eq!(total, Ok(Answer::Unread(body::UnreadCount { count: 2 })));
    say(&mut world, bob, "alice", 4);
    let first = list(&mut world, alice, body::ConversationList { limit: 1, ..Default::default() });
    assert_eq!((peers(&first), first.complete), (names(&["bob"]), false));
    let after = body::ConversationList { after: first.next, ..Default::default() };
    let second = list(&mut world, alice, after);
    assert_eq!((peers(&second), second.complete), (names(&["carol"]), true));
    let get = Call::ConversationGet(body::ConversationGet { with: vec![to_user("carol"), to_user("dave")] });
    let Ok(Answer::Conversations(found)) = ask(&mut world, alice, get) else { panic!() };
    assert_eq!(peers(&found), ["carol"], "those that are there");
}

#[test]
fn settings_are_kept_and_told_to_the_other_devices() {
    let (mut world, alice, _) = some();
    let with = || vec![to_user("bob")];
    let calls = [
        Call::ConversationPin(body::ConversationPin { with: with(), pinned: true }),
        Call::ConversationMark(body::ConversationMark { with: with(), set: 1 | 1 << 40, clear: 2 }),
        Call::ConversationMute(body::ConversationMute { with: with(), mute: Disturb::Quiet as i32 }),
        Call::ConversationDraft(body::ConversationDraft {
            with: Some(to_user("bob")), text: "wörds".into()
        }),
        Call::ConversationGroupCreate(body::ConversationGroupCreate { name: "work".into(), with: with() }),
    ];
    for (call, sequence) in calls.into_iter().zip(1..) {
        let (answer, events) = ask_all(&mut world, alice, call);
        answer.unwrap();
        let told = matches!(&events[..], [(name, Event::Conversation(it))] if name == "alice" && it.sequence == sequence);
        assert!(told, "{events:?}");
    }
    world.restart();
    let alice = world.login("alice", "a");
    let page = list(&mut world, alice, body::ConversationList::default());
    assert_eq!(peers(&page), ["bob", "carol"], "pinned ones first");
    let bob = &page.conversations[0];
    assert!(bob.pinned_ms > 0 && bob.draft_ms > 0);
    assert_eq!((bob.marks, bob.mute(), bob.draft.as_str()), (1 | 1 << 40, Disturb::Quiet, "wörds"));
    assert_eq!(bob.groups, ["work"]);
    assert_eq!((page.sequence, page.unread), (5, 1), "what is muted is not in the total");
    for wanted in [
        body::ConversationList { group: "work".into(), ..Default::default() },
        body::ConversationList { marks: 1, ..Default::default() },
    ] {
        assert_eq!(peers(&list(&mut world, alice, wanted)), ["bob"]);
    }
}

#[test]
fn a_deleted_conversation_comes_back_with_its_next_message() {
    let (mut world, alice, bob) = some();
    let pin = Call::ConversationPin(body::ConversationPin { with: vec![to_user("bob")], pinned: true });
    ask(&mut world, alice, pin).unwrap();
    let delete = Call::ConversationDelete(body::ConversationDelete { with: vec![to_user("bob")] });
    ask(&mut world, alice, delete).unwrap();
    assert_eq!(peers(&list(&mut world, alice, body::ConversationList::default())), ["carol"]);
    assert_eq!(
        peers(&list(&mut world, bob, body::ConversationList::default())),
        ["alice"],
        "the peer has it"
    );
    say(&mut world, bob, "alice", 7);
    let page = list(&mut world, alice, body::ConversationList::default());
    assert_eq!(peers(&page), ["bob", "carol"]);
    assert_eq!(page.conversations[0].pinned_ms, 0, "its settings are gone");
}

fn unread(page: &body::ConversationPage) -> Vec<(String, u64)> {
    peers(page).into_iter().zip(page.conversations.iter().map(|it| it.unread)).collect()
}

fn say_with(world: &mut World, from: SessionId, id: u8, no_unread: bool, no_last_message: bool) {
    world.now_ms += 1000;
    let control = Some(body::SendControl { no_unread, no_last_message });
    let send = body::Send { control, ..crate::world::send("alice", id) };
    let message = world.frame(from, Kind::SEND, u64::from(id), send.encode_to_vec());
    world.write(vec![message]);
    world.received(0);
}

/// Which messages count and move a conversation up: not one's own, not those with a control, not those of who is blocked.
#[test]
fn what_does_not_concern_the_user_is_neither_counted_nor_moves_the_list() {
    let (mut world, alice, bob) = some();
    let pair = |name: &str, count| (name.to_owned(), count);
    let default = body::ConversationList::default;
    assert_eq!(unread(&list(&mut world, bob, default())), [pair("alice", 0)], "one's own");
    say_with(&mut world, bob, 11, true, false);
    assert_eq!(unread(&list(&mut world, alice, default())), [pair("bob", 3), pair("carol", 1)]);
    let carol = world.login("carol", "c2");
    world.received(0);
    say_with(&mut world, carol, 12, false, true);
    assert_eq!(unread(&list(&mut world, alice, default())), [pair("bob", 3), pair("carol", 2)]);

    ask(&mut world, alice, Call::BlockAdd(body::BlockAdd { users: names(&["carol"]) })).unwrap();
    say(&mut world, carol, "alice", 13);
    let page = list(&mut world, alice, default());
    assert_eq!(unread(&page), [pair("bob", 3), pair("carol", 2)], "she does not get it");
    assert_eq!(page.unread, 5);
    assert_eq!(peers(&list(&mut world, carol, default())), ["alice"]);
    let delete = Call::ConversationDelete(body::ConversationDelete { with: vec![to_user("carol")] });
    ask(&mut world, alice, delete).unwrap();
    say(&mut world, carol, "alice", 14);
    assert_eq!(peers(&list(&mut world, alice, default())), ["bob"], "it does not come back for that");
    read(&mut world, alice, "bob", 4);
    assert_eq!(list(&mut world, alice, default()).unread, 0);
}

/// More than are looked at.
#[test]
fn of_many_messages_the_newest_are_looked_at() {
    let (mut world, alice, bob) = some();
    for id in 4..=120 {
        say_with(&mut world, bob, id, id > 110, false);
    }
    let page = list(&mut world, alice, body::ConversationList::default());
    assert_eq!(unread(&page)[0], ("bob".to_owned(), 110));
    read(&mut world, alice, "bob", 5);
    let page = list(&mut world, alice, body::ConversationList::default());
    assert_eq!(unread(&page)[0], ("bob".to_owned(), 105));
    // What is taken back does not count, also where nothing is looked at.
    for (id, seq) in [(121, 119), (122, 20)] {
        let recall = body::Recall { with: Some(to_user("alice")), seq, reason: String::new() };
        let amend = body::Amend { amend: Some(body::amend::Amend::Recall(recall)) };
        let recall = world.frame(bob, Kind::AMEND, id, amend.encode_to_vec());
        world.write(vec![recall]);
        world.received(0);
    }
    let page = list(&mut world, alice, body::ConversationList::default());
    assert_eq!(unread(&page)[0], ("bob".to_owned(), 104), "119 was sent so as not to count");
}

/// What was sent so as not to count does not, however far back it lies; what shows is found behind what does not.
#[test]
fn messages_with_a_control_are_left_out_however_many_they_are() {
    let (mut world, alice, bob) = some();
    // Seqs 4 to 120: every second one counts, none of the last 40 shows.
    for id in 4..=120 {
        say_with(&mut world, bob, id, id % 2 == 0, id > 80);
    }
    let page = list(&mut world, alice, body::ConversationList::default());
    assert_eq!(unread(&page)[0], ("bob".to_owned(), 3 + 58));
    assert_eq!(page.conversations[0].last.as_ref().unwrap().seq, 80);
    let shown_ms = page.conversations[0].last.as_ref().unwrap().time_ms;
    assert_eq!(page.conversations[0].time_ms, shown_ms, "where it stands in the list");
    read(&mut world, alice, "bob", 10);
    let page = list(&mut world, alice, body::ConversationList::default());
    assert_eq!(unread(&page)[0], ("bob".to_owned(), 55));
}

#[test]
fn a_page_ends_before_what_a_client_reads() {
    let mut world = world(Config::default());
    let alice = world.login("alice", "a");
    for n in 0..100 {
        let name = format!("u{n}");
        world.login(&name, "d");
        say(&mut world, alice, &name, n);
        let draft = body::ConversationDraft { with: Some(to_user(&name)), text: "x".repeat(2048) };
        ask(&mut world, alice, Call::ConversationDraft(draft)).unwrap();
    }
    let first = list(&mut world, alice, body::ConversationList::default());
    assert!(first.encoded_len() < 256 * 1024 && !first.complete);
    let after = body::ConversationList { after: first.next.clone(), ..Default::default() };
    let second = list(&mut world, alice, after);
    let all: std::collections::BTreeSet<_> = peers(&first).into_iter().chain(peers(&second)).collect();
    assert_eq!((all.len(), second.complete), (100, true));
    let with = (0..100).map(|n| to_user(&format!("u{n}"))).collect();
    let get = Call::ConversationGet(body::ConversationGet { with });
    assert_eq!(ask(&mut world, alice, get).unwrap_err(), 51006);
}

#[test]
fn settings_for_people_that_nobody_knows_are_bounded() {
    let mut world = world(Config::default());
    let alice = world.login("alice", "a");
    let mute = |world: &mut World, n: u32| {
        let with = (0..100).map(|m| to_user(&format!("{n}-{m}"))).collect();
        let mute = body::ConversationMute { with, mute: Disturb::Quiet as i32 };
        ask(world, alice, Call::ConversationMute(mute))
    };
    for n in 0..40 {
        assert!(mute(&mut world, n).is_ok());
    }
    assert_eq!(mute(&mut world, 40).unwrap_err(), 51008);
    assert!(mute(&mut world, 0).is_ok(), "no more than before");
}

/// Every code of conversations that applies.
#[test]
fn what_cannot_be_is_refused_with_its_code() {
    let people = People { pins_max: 1, marked_max: 1, conversation_groups_max: 1, ..People::default() };
    let mut world = world(Config { people, ..Config::default() });
    let alice = world.login("alice", "a");
    let pin = |with| Call::ConversationPin(body::ConversationPin { with, pinned: true });
    let mark = |with, set, clear| Call::ConversationMark(body::ConversationMark { with, set, clear });
    let create = |name: &str, with| {
        Call::ConversationGroupCreate(body::ConversationGroupCreate { name: name.to_owned(), with })
    };
    let many = || (0..101).map(|n| to_user(&n.to_string())).collect::<Vec<_>>();
    let rows = [
        (pin(vec![]), 51006),
        (pin(many()), 51006),
        (pin(vec![to_user("zw\u{200b}")]), 50002),
        (pin(vec![Target { target: None }]), 50002),
        (pin(vec![to_group("")]), 51007),
        (pin(vec![to_user("bob"), to_user("carol")]), 51012),
        (mark(vec![to_user("bob")], 1, 1), 50002),
        (mark(vec![to_user("bob")], 1 << 63, 0), 50002),
        (mark(vec![to_user("bob"), to_user("carol")], 1, 0), 51008),
        (mark(vec![to_user("bob")], 1, 0), 0),
        (create("", vec![]), 50002),
        (create(&"x".repeat(33), vec![]), 51011),
        (create("full", vec![to_user("carol")]), 51008),
        (create(&"x".repeat(32), vec![to_user("bob")]), 0),
        (create("two", vec![]), 51010),
        (Call::ConversationGroupDelete(body::ConversationGroupDelete { name: "none".into() }), 51009),
        (
            Call::ConversationGroupRename(body::ConversationGroupRename {
                name: "none".into(),
                new_name: "new".into(),
            }),
            51009,
        ),
        (
            Call::ConversationGroupMembers(body::ConversationGroupMembers {
                name: "none".into(),
                add: vec![to_user("bob")],
                remove: vec![],
            }),
            51009,
        ),
        (Call::ConversationMute(body::ConversationMute { with: vec![to_group("g")], mute: 1 }), 50002),
        (
            Call::ConversationDraft(body::ConversationDraft {
                with: Some(to_user("bob")),
                text: "x".repeat(2049),
            }),
            50002,
        ),
        (
            Call::ConversationDraft(body::ConversationDraft {
                with: Some(to_user("bob")),
                text: "x".repeat(2048),
            }),
            0,
        ),
    ];
    for (call, code) in rows {
        let answer = ask(&mut world, alice, call.clone()).map_or_else(|code| code, |_| 0);
        assert_eq!(answer, code, "{call:?}");
    }
}
