//! Events that are written with what they tell of: none is lost, whenever the process dies, and none comes twice.

use nearport_chat::callback::{Command, Commands, Event, Switches};
use nearport_chat::ledger::{LedgerError, OutboxEntry, PageLimit, Settle, Settled, Shelf};
use nearport_trunk::SessionId;
use nearport_wire::Kind;
use nearport_wire::body::{self, FriendAddItem, GroupCall, GroupCreate, PeopleCall, group_call, people_call};
use prost::Message as _;

use crate::world::{World, app};

const WANTED: [Command; 4] =
    [Command::AfterCreateGroup, Command::FriendAdd, Command::BlackListAdd, Command::PortraitSet];

fn world() -> (World, SessionId) {
    let mut world = World::new();
    switch(&world);
    let alice = world.login("alice", "phone");
    world.received(0);
    (world, alice)
}

fn switch(world: &World) {
    let default = WANTED.into_iter().collect::<Commands>();
    world.shared.callbacks().switch(Switches { default, ..Switches::default() });
}

/// A new process over the same stores.
fn restart(world: &mut World) {
    world.restart();
    switch(world);
    world.shared.tell_left().unwrap();
}

fn create(group: &str) -> (Kind, Vec<u8>) {
    let (group, name) = (group.to_owned(), "name".to_owned());
    let call = GroupCreate { r#type: "Public".into(), group, name, ..GroupCreate::default() };
    (Kind::GROUP, GroupCall { call: Some(group_call::Call::Create(call)) }.encode_to_vec())
}

fn people(call: people_call::Call) -> (Kind, Vec<u8>) {
    (Kind::PEOPLE, PeopleCall { call: Some(call) }.encode_to_vec())
}

/// One of each: what they write, and the desk's turn behind which the writer has had none.
fn happen(world: &mut World, alice: SessionId) {
    let befriend = FriendAddItem { user: "bob".into(), ..FriendAddItem::default() };
    let block = body::BlockAdd { users: vec!["carol".into()] };
    let nick = body::TagValue {
        tag: "Tag_Profile_IM_Nick".into(),
        value: Some(body::tag_value::Value::Text("Al".into())),
    };
    let calls = [
        create("first"),
        people(people_call::Call::FriendAdd(body::FriendAdd {
            items: vec![befriend],
            ..body::FriendAdd::default()
        })),
        people(people_call::Call::BlockAdd(block)),
        people(people_call::Call::ProfileSet(body::ProfileSet { fields: vec![nick] })),
        create("second"),
    ];
    let frames = calls.into_iter().map(|(kind, body)| world.frame(alice, kind, 1, body));
    let mut batch = frames.collect();
    world.desk.handle(&mut batch, world.now_ms, &mut world.downs);
    world.downs.flush();
}

const HAPPENED: [&str; 5] = [
    "Group.CallbackAfterCreateGroup",
    "Sns.CallbackFriendAdd",
    "Sns.CallbackBlackListAdd",
    "Profile.CallbackPortraitSet",
    "Group.CallbackAfterCreateGroup",
];

fn outbox(world: &World) -> Vec<OutboxEntry> {
    let limit = PageLimit { entries: 100, bytes: usize::MAX };
    world.ledger.outbox(app().id, Shelf::Waiting, 0, limit).unwrap()
}

fn told(world: &World) -> Vec<String> {
    outbox(world).into_iter().map(|entry| Event::read(entry.body).unwrap().command).collect()
}

/// Rows that the directory has.
fn rows(world: &World) -> usize {
    let mut rows = 0;
    world
        .directory
        .read_people(&mut |tx| {
            rows = tx.events(100)?.len();
            Ok(())
        })
        .unwrap();
    rows
}

/// A turn of the desk in which nobody asks for anything, half a second later.
fn idle(world: &mut World) {
    world.now_ms += 500;
    world.desk.handle(&mut Vec::new(), world.now_ms, &mut world.downs);
}

/// Back ends were told everything.
fn settle(world: &mut World) {
    let settles = outbox(world);
    let settles =
        settles.iter().map(|entry| Settle { app: app().id, number: entry.number, what: Settled::Told });
    world.shared.callbacks().settle(settles.collect());
    for _ in 0..2 {
        world.now_ms += 1000;
        world.write(Vec::new());
    }
}

#[test]
fn whenever_the_process_dies_each_is_told_once_and_in_order() {
    let turns: [fn(&mut World); 4] = [|_| {}, |world| world.write(Vec::new()), idle, settle];
    for died_after in 0..turns.len() {
        let (mut world, alice) = world();
        happen(&mut world, alice);
        assert_eq!((told(&world).len(), rows(&world)), (0, 5));
        for turn in &turns[..=died_after] {
            turn(&mut world);
        }
        restart(&mut world);
        world.write(Vec::new());
        let left = if died_after == 3 { &[][..] } else { &HAPPENED[..] };
        assert_eq!(told(&world), left, "{died_after}");
        idle(&mut world);
        assert_eq!(rows(&world), 0, "{died_after}");
        // What comes later stands behind them, and a further start finds nothing.
        let (kind, body) = create("third");
        let alice = world.login("alice", "phone");
        let frame = world.frame(alice, kind, 1, body);
        world.desk(vec![frame]);
        idle(&mut world);
        restart(&mut world);
        world.write(Vec::new());
        assert_eq!(told(&world), [left, &HAPPENED[..1]].concat(), "{died_after}");
    }
}

#[test]
fn an_entry_stays_in_the_outbox_until_its_row_is_gone() {
    let (mut world, alice) = world();
    happen(&mut world, alice);
    world.write(Vec::new());
    settle(&mut world);
    assert_eq!((told(&world).len(), rows(&world)), (5, 5));
    assert_eq!(world.writer.deadline_ms(), None, "it does not ask for turns in vain");
    idle(&mut world);
    assert_eq!((told(&world).len(), rows(&world)), (5, 0));
    for _ in 0..2 {
        world.write(Vec::new());
        world.now_ms += 50;
    }
    assert_eq!(told(&world).len(), 0);
}

#[test]
fn the_row_stays_when_the_ledger_takes_nothing() {
    let (mut world, alice) = world();
    happen(&mut world, alice);
    let prepared = world.writer.prepare(&mut Vec::new(), world.now_ms, &mut world.downs);
    world.writer.finish(prepared, Err(LedgerError::Io("pulled out".into())), &mut world.downs);
    idle(&mut world);
    assert_eq!((told(&world).len(), rows(&world)), (0, 5));
    world.now_ms += 1000;
    world.write(Vec::new());
    idle(&mut world);
    assert_eq!((told(&world), rows(&world)), (HAPPENED.map(str::to_owned).to_vec(), 0));
}

#[test]
fn nothing_is_written_for_who_wants_to_hear_nothing() {
    let (mut world, alice) = world();
    world.shared.callbacks().switch(Switches::default());
    happen(&mut world, alice);
    assert_eq!(rows(&world), 0);
}
