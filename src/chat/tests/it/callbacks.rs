//! What back ends hear of and decide, core by core: the back end is a list of questions that the test answers when it likes.

use std::sync::{Arc, Mutex};

use nearport_chat::callback::{
    Ask, Busy, Command, Commands, Decided, Event, Origin, Question, Replaced, Switches, Verdict,
};
use nearport_chat::key::AppId;
use nearport_chat::ledger::{LedgerError, PageLimit, Settle, Settled, Shelf};
use nearport_trunk::local::LinkId;
use nearport_trunk::{SessionId, Up};
use nearport_wire::Kind;
use nearport_wire::body::{
    self, FriendAddItem, GroupCall, GroupCreate, GroupInvite, GroupJoinOption, PeopleAnswer, PeopleCall,
    Sent, group_answer, group_call, people_answer, people_call,
};
use prost::Message as _;
use serde_json::{Map, Value, json};

use crate::world::{Seen, World, answer, app, seen, send, text_content, user};

type Open = Arc<Mutex<Vec<(Question, Decided)>>>;

struct Asked {
    open: Open,
    busy: bool,
}

impl Ask for Asked {
    fn ask(&self, question: Question, decided: Decided) -> Result<(), Busy> {
        if self.busy {
            return Err(Busy(decided));
        }
        self.open.lock().unwrap().push((question, decided));
        Ok(())
    }
}

/// A world whose back end wants all, alice and bob in it, and the questions to it.
fn world(commands: &[Command], busy: bool) -> (World, SessionId, SessionId, Open) {
    let mut world = World::new();
    let open = Open::default();
    let default = commands.iter().copied().collect::<Commands>();
    world.shared.callbacks().switch(Switches { default, ..Switches::default() });
    world.shared.callbacks().ask_by(Arc::new(Asked { open: open.clone(), busy }));
    let (alice, bob) = (world.login("alice", "phone"), world.login("bob", "phone"));
    world.received(0);
    (world, alice, bob, open)
}

/// Answers the oldest question.
fn decide(open: &Open, verdict: Verdict) {
    let (_, decided) = open.lock().unwrap().remove(0);
    decided(verdict);
}

/// What the outbox has: command and fields.
fn told(world: &World) -> Vec<(String, Map<String, Value>, u64)> {
    let limit = PageLimit { entries: 100, bytes: usize::MAX };
    let entries = world.ledger.outbox(AppId(app().id.0), Shelf::Waiting, 0, limit).unwrap();
    let read = |entry: nearport_chat::ledger::OutboxEntry| {
        let event = Event::read(entry.body).unwrap();
        (event.command.clone(), event.fields(), entry.seq)
    };
    entries.into_iter().map(read).collect()
}

#[test]
fn a_message_waits_with_what_is_behind_it_and_nobody_else_does() {
    let (mut world, alice, bob, open) = world(&[Command::PairBeforeSend], false);
    let batch = vec![
        world.text(alice, "bob", 1, 1),
        world.frame(alice, Kind::FLUSH, 2, Vec::new()),
        world.frame(bob, Kind::FLUSH, 3, Vec::new()),
    ];
    world.write(batch);
    assert_eq!(seen(&world.received(0)), [Seen::Reply(bob, 3)]);
    assert_eq!(open.lock().unwrap().len(), 1);
    let later = world.text(alice, "bob", 2, 4);
    world.write(vec![later]);
    assert_eq!(open.lock().unwrap().len(), 1, "one question of a session at a time");
    decide(&open, Verdict::GO);
    world.write(Vec::new());
    let got = seen(&world.received(0));
    assert!(got.contains(&Seen::Reply(alice, 1)) && got.contains(&Seen::Reply(alice, 2)), "{got:?}");
    assert!(!got.contains(&Seen::Reply(alice, 4)), "{got:?}");
    decide(&open, Verdict::GO);
    world.write(Vec::new());
    assert!(seen(&world.received(0)).contains(&Seen::Reply(alice, 4)));
    // One that was stored is not asked about again.
    let again = world.text(alice, "bob", 1, 5);
    world.write(vec![again]);
    assert_eq!(seen(&world.received(0)), [Seen::Reply(alice, 5)]);
    assert!(open.lock().unwrap().is_empty());
}

#[test]
fn verdicts_are_carried_out() {
    let (mut world, alice, _, open) = world(&[Command::PairBeforeSend, Command::PairAfterSend], false);
    let ask = |world: &mut World, n: u8| {
        let frame = world.text(alice, "bob", n, n.into());
        world.write(vec![frame]);
    };
    ask(&mut world, 1);
    decide(&open, Verdict::Refuse { code: 120_005, info: "no".into() });
    world.write(Vec::new());
    assert_eq!(seen(&world.received(0)), [Seen::Error(alice, 1, 120_005)]);
    ask(&mut world, 2);
    decide(&open, Verdict::Drop);
    world.write(Vec::new());
    let dropped: Sent = answer(&world.received(0)[0]).unwrap();
    assert_eq!(dropped.seq, 0);
    assert_eq!(world.ledger.log_head(&user("bob")).unwrap(), 0);
    assert!(told(&world).is_empty());
    ask(&mut world, 3);
    let elements = Some(text_content("***").elements);
    let replaced = Replaced { elements, cloud_custom_data: None };
    decide(&open, Verdict::Go { content: Some(Box::new(replaced)), refused: Vec::new() });
    world.write(Vec::new());
    world.received(0);
    let stored =
        world.ledger.entry(&nearport_chat::key::ConvKey::pair(&user("alice"), &user("bob")), 1).unwrap();
    let message = body::Message::decode(stored.unwrap().body).unwrap();
    assert_eq!(message.content, Some(text_content("***")));
    let told = told(&world);
    assert_eq!((told.len(), told[0].0.as_str(), told[0].2), (1, "C2C.CallbackAfterSendMsg", 1));
}

#[test]
fn where_too_many_questions_are_open_a_message_is_refused_to_come_again() {
    let (mut world, alice, ..) = world(&[Command::PairBeforeSend], true);
    let frame = world.text(alice, "bob", 1, 1);
    world.write(vec![frame]);
    assert_eq!(seen(&world.received(0)), [Seen::Error(alice, 1, 60018)]);
}

#[test]
fn what_is_refused_here_is_not_asked_about_and_told_with_its_code() {
    let (mut world, alice, _, open) = world(&[Command::PairBeforeSend, Command::PairAfterSend], false);
    let frame = world.text(alice, "nobody", 1, 1);
    world.write(vec![frame]);
    assert_eq!(seen(&world.received(0)), [Seen::Error(alice, 1, 20003)]);
    assert!(open.lock().unwrap().is_empty());
    let told = told(&world);
    assert_eq!((&told[0].1["SendMsgResult"], &told[0].1["UnreadMsgNum"]), (&20003.into(), &(-1).into()));
}

/// The store takes nothing.
fn fail(world: &mut World) {
    let prepared = world.writer.prepare(&mut Vec::new(), world.now_ms, &mut world.downs);
    let failed = Err(LedgerError::Io("pulled out".into()));
    world.writer.finish(prepared, failed, &mut world.downs);
}

#[test]
fn what_was_in_a_commit_that_failed_is_in_a_later_one() {
    let (mut world, _, _, _) = world(&[], false);
    let event = |n: u32| Event::new(Command::StateChange, b"alice", Origin::default(), &json!({ "n": n }));
    let callbacks = world.shared.callbacks().clone();
    callbacks.tell_now(app().id, &event(1));
    callbacks.tell_now(app().id, &event(2));
    fail(&mut world);
    callbacks.tell_now(app().id, &event(3));
    world.write(Vec::new());
    assert_eq!(told(&world).len(), 0, "not at once: the store has to come back");
    assert_eq!(world.writer.deadline_ms(), Some(world.now_ms + 1000));
    world.now_ms += 1000;
    world.write(Vec::new());
    let numbers =
        |world: &World| told(world).iter().map(|(_, fields, _)| fields["n"].clone()).collect::<Vec<_>>();
    assert_eq!(numbers(&world), [1, 2, 3]);

    // What became of one.
    let told_one = Settle { app: app().id, number: 1, what: Settled::Told };
    assert_eq!(callbacks.settle(vec![told_one]), 1);
    fail(&mut world);
    world.now_ms += 50;
    fail(&mut world);
    assert_eq!(numbers(&world), [1, 2, 3]);
    for _ in 0..2 {
        world.now_ms += 1000;
        world.write(Vec::new());
    }
    assert_eq!(numbers(&world), [2, 3]);
}

#[test]
fn reading_and_recalling_are_told() {
    let (mut world, alice, bob, _) = world(&[Command::PairAfterReport, Command::PairAfterWithdraw], false);
    let frame = world.text(alice, "bob", 1, 1);
    world.write(vec![frame]);
    let mark = body::MarkRead { with: Some(crate::world::to_user("alice")), seq: 1 };
    let recall = body::Recall { with: Some(crate::world::to_user("bob")), seq: 1, reason: String::new() };
    let amend = body::Amend { amend: Some(body::amend::Amend::Recall(recall)) };
    let batch = vec![
        world.frame(bob, Kind::MARK_READ, 2, mark.encode_to_vec()),
        world.frame(alice, Kind::AMEND, 3, amend.encode_to_vec()),
    ];
    world.write(batch);
    let told = told(&world);
    let commands: Vec<_> = told.iter().map(|told| told.0.as_str()).collect();
    assert_eq!(commands, ["C2C.CallbackAfterMsgReport", "C2C.CallbackAfterMsgWithDraw"]);
    assert_eq!((&told[0].1["Report_Account"], &told[0].1["Peer_Account"]), (&"bob".into(), &"alice".into()));
    assert_eq!((&told[1].1["From_Account"], &told[1].1["To_Account"]), (&"alice".into(), &"bob".into()));
}

#[test]
fn a_group_tells_its_life_and_asks_before() {
    let (mut world, alice, bob, open) = world(Command::ALL, false);
    let call = |world: &mut World, from: SessionId, call: group_call::Call| {
        let frame = world.frame(from, Kind::GROUP, 9, GroupCall { call: Some(call) }.encode_to_vec());
        world.desk(vec![frame]);
    };
    let create = GroupCreate {
        r#type: "Public".into(),
        name: "g".into(),
        group: "g".into(),
        join: GroupJoinOption::GroupJoinFree.into(),
        ..GroupCreate::default()
    };
    call(&mut world, alice, group_call::Call::Create(create.clone()));
    assert_eq!(open.lock().unwrap()[0].0.event.fields()["CreateGroupNum"], 0);
    decide(&open, Verdict::Refuse { code: 10_123, info: "no".into() });
    world.desk(Vec::new());
    assert_eq!(seen(&world.received(0)), [Seen::Error(alice, 9, 10_123)]);
    call(&mut world, alice, group_call::Call::Create(create));
    decide(&open, Verdict::GO);
    world.desk(Vec::new());
    let join = body::GroupJoin { group: "g".into(), text: String::new() };
    call(&mut world, bob, group_call::Call::Join(join));
    decide(&open, Verdict::GO);
    world.desk(Vec::new());
    world.received(0);
    let invite = GroupInvite { group: "g".into(), users: vec!["carol".into()], ..GroupInvite::default() };
    call(&mut world, alice, group_call::Call::Invite(invite));
    decide(&open, Verdict::Go { content: None, refused: vec![("carol".into(), 10016, String::new())] });
    world.desk(Vec::new());
    let refused = world.received(0);
    let invited: body::GroupAnswer = answer(&refused[0]).unwrap();
    let Some(group_answer::Answer::Invited(invited)) = invited.answer else { panic!() };
    assert_eq!((invited.items.len(), invited.items[0].result), (1, 0));
    call(&mut world, bob, group_call::Call::Quit(body::GroupRef { group: "g".into() }));
    call(&mut world, alice, group_call::Call::Dismiss(body::GroupRef { group: "g".into() }));
    world.write(Vec::new());
    let told = told(&world);
    let of_group: Vec<_> =
        told.iter().filter(|told| told.0.starts_with("Group.")).map(|told| told.0.as_str()).collect();
    assert_eq!(
        of_group,
        [
            "Group.CallbackAfterCreateGroup",
            "Group.CallbackAfterNewMemberJoin",
            "Group.CallbackAfterMemberExit",
            "Group.CallbackAfterGroupDestroyed"
        ]
    );
    let joined = told.iter().find(|told| told.0.ends_with("NewMemberJoin")).unwrap();
    assert_eq!(
        (&joined.1["JoinType"], &joined.1["NewMemberList"][0]["Member_Account"]),
        (&"Apply".into(), &"bob".into())
    );
    let left = told.iter().find(|told| told.0.ends_with("MemberExit")).unwrap();
    assert_eq!(left.1["ExitType"], "Quit");
}

#[test]
fn friends_are_asked_about_and_told_of() {
    let (mut world, alice, _, open) = world(Command::ALL, false);
    let item = |user: &str| FriendAddItem {
        user: user.into(),
        source: "AddSource_Type_Android".into(),
        ..FriendAddItem::default()
    };
    let add = body::FriendAdd { items: vec![item("bob"), item("carol")], ..body::FriendAdd::default() };
    let call = PeopleCall { call: Some(people_call::Call::FriendAdd(add)) };
    let frame = world.frame(alice, Kind::PEOPLE, 9, call.encode_to_vec());
    world.desk(vec![frame]);
    assert_eq!(open.lock().unwrap()[0].0.event.fields()["FriendItem"][1]["To_Account"], "carol");
    decide(&open, Verdict::Go { content: None, refused: vec![("carol".into(), 38_001, "no".into())] });
    world.desk(Vec::new());
    let downs = world.received(0);
    let reply = downs.iter().find(|down| matches!(down, nearport_trunk::Down::Reply { .. })).unwrap();
    let results: PeopleAnswer = answer(reply).unwrap();
    let Some(people_answer::Answer::Results(results)) = results.answer else { panic!() };
    let codes: Vec<_> = results.items.iter().map(|item| (item.id.as_str(), item.code)).collect();
    assert_eq!(codes, [("bob", 0), ("carol", 38_001)]);
    world.write(Vec::new());
    let told = told(&world);
    let made = told.iter().find(|told| told.0 == "Sns.CallbackFriendAdd").unwrap();
    assert_eq!(made.1["PairList"].as_array().unwrap().len(), 2, "each has the other");
    assert_eq!((&made.1["ClientCmd"], &made.1["ForceFlag"]), (&"friend_add".into(), &0.into()));
    assert_eq!(told.iter().filter(|told| told.0 == "State.StateChange").count(), 2, "alice and bob came");
    let _ = send("bob", 1);
}

/// Who is in a live room and goes without a word is told of when twenty seconds have passed, and again when she is back.
#[test]
fn a_live_room_tells_who_comes_goes_and_comes_back() {
    let (mut world, alice, bob, _) = world(
        &[
            Command::AfterNewMember,
            Command::AfterMemberExit,
            Command::MemberStateChange,
            Command::GroupAfterSend,
        ],
        false,
    );
    let call = |world: &mut World, from: SessionId, call: group_call::Call| {
        let frame = world.frame(from, Kind::GROUP, 9, GroupCall { call: Some(call) }.encode_to_vec());
        world.desk(vec![frame]);
    };
    let create = GroupCreate {
        r#type: "AVChatRoom".into(),
        name: "stage".into(),
        group: "stage".into(),
        ..GroupCreate::default()
    };
    let join = || group_call::Call::Join(body::GroupJoin { group: "stage".into(), text: String::new() });
    call(&mut world, alice, group_call::Call::Create(create));
    call(&mut world, alice, join());
    call(&mut world, bob, join());
    let names = |world: &mut World| {
        world.write(Vec::new());
        let told: Vec<_> = told(world);
        let of = |(command, fields, _): &(String, Map<String, Value>, u64)| {
            let lists = ["NewMemberList", "ExitMemberList", "MemberList"];
            let list = lists.iter().find_map(|name| fields.get(*name)).unwrap();
            let event = fields.get("EventType").and_then(Value::as_str).unwrap_or_default();
            format!("{command} {event} {}", list[0]["Member_Account"].as_str().unwrap())
        };
        told.iter().map(of).collect::<Vec<_>>()
    };
    let joined = ["Group.CallbackAfterNewMemberJoin  alice", "Group.CallbackAfterNewMemberJoin  bob"];
    assert_eq!(names(&mut world), joined);
    world.front(vec![(LinkId(0), Up::Close { session: bob, lost_ms: Some(0) })]);
    let rooms = |world: &mut World| world.shared.turn_rooms(world.now_ms, &mut world.downs);
    rooms(&mut world);
    world.now_ms += 19_000;
    rooms(&mut world);
    assert_eq!(names(&mut world).len(), 2, "she may come back");
    world.now_ms += 1_250;
    rooms(&mut world);
    assert_eq!(names(&mut world)[2..], ["Group.CallbackOnMemberStateChange Offline bob"]);
    let bob = world.login("bob", "tablet");
    call(&mut world, bob, join());
    call(&mut world, bob, group_call::Call::Quit(body::GroupRef { group: "stage".into() }));
    let ban = body::GroupBan {
        group: "stage".into(),
        users: vec!["bob".into()],
        seconds: 9,
        ..body::GroupBan::default()
    };
    call(&mut world, bob, join());
    call(&mut world, alice, group_call::Call::Ban(ban));
    assert_eq!(
        names(&mut world)[3..],
        [
            "Group.CallbackOnMemberStateChange Online bob",
            "Group.CallbackAfterMemberExit  bob",
            "Group.CallbackAfterNewMemberJoin  bob",
            "Group.CallbackAfterMemberExit  bob",
        ]
    );
}

/// A member who is muted is refused without a question.
#[test]
fn a_back_end_is_not_asked_about_who_may_not_speak() {
    let (mut world, alice, bob, open) =
        world(&[Command::GroupBeforeSend, Command::GroupSendException], false);
    let call = |world: &mut World, from: SessionId, call: group_call::Call| {
        let frame = world.frame(from, Kind::GROUP, 9, GroupCall { call: Some(call) }.encode_to_vec());
        world.desk(vec![frame]);
        world.received(0);
    };
    let create = GroupCreate {
        r#type: "Public".into(),
        name: "g".into(),
        group: "g".into(),
        join: GroupJoinOption::GroupJoinFree.into(),
        ..GroupCreate::default()
    };
    call(&mut world, alice, group_call::Call::Create(create));
    call(&mut world, bob, group_call::Call::Join(body::GroupJoin { group: "g".into(), text: String::new() }));
    let mute = body::GroupMute { group: "g".into(), users: vec!["bob".into()], seconds: 60 };
    call(&mut world, alice, group_call::Call::Mute(mute));
    let say = |world: &mut World, from: SessionId, n: u8| {
        let mut message = send("bob", n);
        message.to = Some(body::Target { target: Some(body::target::Target::Group("g".into())) });
        let frame = world.frame(from, Kind::SEND, n.into(), message.encode_to_vec());
        world.write(vec![frame]);
    };
    say(&mut world, bob, 1);
    assert_eq!(seen(&world.received(0)), [Seen::Error(bob, 1, 10017)]);
    assert!(open.lock().unwrap().is_empty(), "nobody is asked");
    world.write(Vec::new());
    assert_eq!(
        (told(&world)[0].0.as_str(), &told(&world)[0].1["ErrorCode"]),
        ("Group.CallbackSendMsgException", &10017.into())
    );
    say(&mut world, alice, 2);
    assert_eq!(open.lock().unwrap().len(), 1);
}
