//! What back ends call, with the turns of the cores in the hands of the test.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use nearport_chat::Config;
use nearport_chat::admin::{
    Admin, Asker, Callbacks, Historic, HistoricTo, Import, ImportMessage, MsgKey, Outgoing,
};
use nearport_chat::directory::GroupStore as _;
use nearport_chat::key::{AppId, ConvKey, GroupKey};
use nearport_chat::ledger::{PageLimit, Range};
use nearport_store::MemoryLedger;
use nearport_wire::Kind;
use nearport_wire::body::{self, GroupCreate, GroupNewMember, Priority, Target, group_call::Call, target};
use prost::Message as _;

use crate::login::Meddler;
use crate::world::{APP, START_MS, World, directory, send, text_content, user};

fn admin(world: &World) -> (Admin, Asker) {
    let asker = Asker { app: AppId(APP), admin: "administrator".into(), peer: None };
    let now_ms = world.now_ms;
    (world.shared.admin(Arc::new(move || now_ms)), asker)
}

/// Looks whether something has come to its end.
fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

#[test]
fn what_back_ends_ask_for_leaves_the_desk_time_for_others() {
    let config = Config { desk_batch_items: 4, ..Config::default() };
    let mut world = World::over(Arc::new(MemoryLedger::new()), Arc::new(directory()), config);
    let (admin, asker) = admin(&world);
    let mut asked: Vec<_> = (0..10).map(|_| admin.import_accounts(&asker, Vec::new())).collect();
    for left in [6, 2, 0] {
        world.desk(Vec::new());
        asked.retain_mut(|asked| poll(pin!(asked)).is_none());
        assert_eq!(asked.len(), left);
    }
}

#[test]
fn an_account_leaves_its_groups_in_steps_and_a_failure_is_gone_on_from() {
    const GROUPS: usize = 120;
    let meddler = Arc::new(Meddler::new());
    let mut world = World::over(Arc::new(MemoryLedger::new()), meddler.clone(), Config::default());
    let (admin, asker) = admin(&world);
    let member = |name: &str| GroupNewMember { user: name.into(), ..GroupNewMember::default() };
    let create = |n| {
        let (group, r#type, name) = (format!("g{n}"), "Public".into(), "name".into());
        let members = vec![member("alice"), member("bob")];
        Call::Create(GroupCreate { group, r#type, name, members, ..GroupCreate::default() })
    };
    let created = admin.groups(&asker, (0..GROUPS).map(create).collect());
    world.desk(Vec::new());
    assert!(created.into_iter().all(|created| created.wait().is_some_and(|answer| answer.is_ok())));
    let groups_of = |name: &str| meddler.groups_of(&[user(name)]).unwrap()[0].len();
    assert_eq!(groups_of("alice"), GROUPS);

    let mut delete = Box::pin(admin.delete_account(&asker, "alice"));
    assert!(poll(delete.as_mut()).is_none());
    world.desk(Vec::new());
    let left = groups_of("alice");
    assert!(0 < left && left < GROUPS, "one step: {left}");
    meddler.read_only(true);
    assert!(poll(delete.as_mut()).is_none());
    world.desk(Vec::new());
    let outcome = poll(delete.as_mut()).flatten().expect("a refusal");
    assert_eq!(outcome.unwrap_err().code, 70500);
    assert_eq!(groups_of("alice"), left, "what failed has changed nothing");

    meddler.read_only(false);
    let mut delete = Box::pin(admin.delete_account(&asker, "alice"));
    let outcome = (0..100).find_map(|_| {
        world.desk(Vec::new());
        poll(delete.as_mut())
    });
    assert_eq!(outcome, Some(Some(Ok(()))));
    assert_eq!((groups_of("alice"), groups_of("bob")), (0, GROUPS));
    assert_eq!(admin.accounts_exist(AppId(APP), &["alice".into(), "bob".into()]), Ok(vec![false, true]));
}

/// Times of a conversation, oldest place first.
fn times(world: &World, conv: &ConvKey) -> Vec<u64> {
    let limit = PageLimit { entries: 100, bytes: usize::MAX };
    let entries = world.ledger.read(conv, Range::After(0), limit).unwrap();
    entries.iter().map(|entry| entry.time_ms).collect()
}

#[test]
fn an_imported_message_does_not_stand_behind_a_later_one_of_its_turn() {
    let mut world = World::new();
    world.now_ms += 100_000;
    let alice = world.login("alice", "phone");
    let (admin, _) = admin(&world);
    let import = |random: u32, at_ms: u64| {
        let outgoing = Outgoing {
            from: user("bob"),
            key: MsgKey { seq: 1, random, time_s: at_ms / 1000 },
            content: text_content("then"),
            control: None,
            need_receipt: false,
            life_time_s: 0,
            offline_push: String::new(),
            extensible: false,
            for_sender: true,
            online_only: false,
            callbacks: Callbacks::default(),
        };
        admin.import_message(&outgoing, &user("alice"), Import::Live)
    };
    let imported = [import(1, START_MS + 50_000), import(2, START_MS + 60_000)];
    world.write(vec![world.text(alice, "bob", 1, 1)]);
    assert!(imported.into_iter().all(|imported| imported.wait() == Some(Ok(()))));
    let conv = ConvKey::pair(&user("alice"), &user("bob"));
    assert_eq!(times(&world, &conv), [50_000, 60_000, 100_000].map(|after| START_MS + after));
    // One of the past that comes now stands behind all that there is.
    let late = import(3, START_MS + 55_000);
    world.write(Vec::new());
    assert_eq!(late.wait(), Some(Ok(())));
    assert_eq!(times(&world, &conv)[3], START_MS + 100_000);
}

#[test]
fn times_of_a_group_do_not_go_back_for_an_import() {
    let mut world = World::new();
    let alice = world.login("alice", "phone");
    let (admin_then, asker) = admin(&world);
    let (group, r#type, name) = ("g".to_owned(), "Public".into(), "name".into());
    let members = vec![GroupNewMember { user: "alice".into(), ..GroupNewMember::default() }];
    let create = GroupCreate { group, r#type, name, members, ..GroupCreate::default() };
    let created = admin_then.groups(&asker, vec![Call::Create(create)]);
    world.desk(Vec::new());
    assert!(created.into_iter().all(|created| created.wait().is_some_and(|answer| answer.is_ok())));

    world.now_ms += 100_000;
    let (admin, _) = admin(&world);
    let message = ImportMessage {
        from: "bob".into(),
        time_s: (START_MS + 50_000) / 1000,
        random: Some(1),
        content: text_content("then"),
        priority: Priority::default(),
    };
    let importer = std::thread::spawn(move || admin.import_messages(AppId(APP), "g", vec![message]));
    while world.shared.posts().is_empty() {
        std::thread::yield_now();
    }
    // Meanwhile somebody has said something.
    let to = Some(Target { target: Some(target::Target::Group("g".into())) });
    let said = body::Send { to, ..send("", 1) };
    world.write(vec![world.frame(alice, Kind::SEND, 1, said.encode_to_vec())]);
    assert_eq!(importer.join().unwrap(), Ok(vec![Err(10004)]), "the newest of the group is younger now");
    let times = times(&world, &GroupKey::new(AppId(APP), "g").unwrap().conv());
    assert!(times.is_sorted() && !times.is_empty(), "{times:?}");
}

fn historic(to: HistoricTo, from: &str, after_s: u64, random: u32, words: &str) -> Historic {
    let (from, time_s, content) = (from.to_owned(), START_MS / 1000 + after_s, text_content(words));
    Historic { to, from, time_s, seq: 0, random: Some(random), content, priority: Priority::default() }
}

/// Places and whether they were known; codes of what was refused.
fn bring(world: &mut World, admin: &Admin, messages: Vec<Historic>) -> Vec<Result<(u64, bool), u32>> {
    let brought = admin.bring_history(AppId(APP), messages).unwrap();
    world.write(Vec::new());
    let outcomes = brought.wait().unwrap().into_iter();
    outcomes.map(|it| it.map(|it| (it.seq, it.repeated)).map_err(|failure| failure.code)).collect()
}

#[test]
fn history_that_comes_again_is_found_wherever_its_conversation_is_by_now() {
    let mut world = World::new();
    let (admin_then, asker) = admin(&world);
    let (group, r#type, name) = ("g".to_owned(), "Public".into(), "name".into());
    let create = GroupCreate { group, r#type, name, ..GroupCreate::default() };
    let created = admin_then.import_group(&asker, create, Some(START_MS / 1000));
    world.desk(Vec::new());
    assert!(created.wait().is_some_and(|answer| answer.is_ok()));
    world.now_ms += 1_000_000;
    let (admin, _) = admin(&world);
    let group =
        |from, after_s, random, words| historic(HistoricTo::Group("g".into()), from, after_s, random, words);
    let pair =
        |from, to: &str, after_s, random| historic(HistoricTo::User(to.into()), from, after_s, random, "x");
    let first = || vec![group("alice", 10, 1, "a"), group("bob", 11, 1, "b"), pair("alice", "bob", 10, 1)];
    assert_eq!(bring(&mut world, &admin, first()), [Ok((1, false)), Ok((2, false)), Ok((1, false))]);
    // An older one has no place any more; the same ones have theirs, and so has the one that the other side has.
    let again = [
        first(),
        vec![group("alice", 10, 2, "late"), pair("bob", "alice", 10, 1), pair("bob", "alice", 9, 2)],
    ]
    .concat();
    let outcomes = bring(&mut world, &admin, again);
    assert_eq!(
        outcomes,
        [Ok((1, true)), Ok((2, true)), Ok((1, true)), Err(10004), Ok((1, true)), Err(10004)],
    );
    // Within one call: twice the same, then one that has fallen behind.
    let twice = vec![group("alice", 20, 7, "c"), group("alice", 20, 7, "c"), group("bob", 19, 7, "d")];
    assert_eq!(bring(&mut world, &admin, twice), [Ok((3, false)), Ok((3, true)), Err(10004)]);
    // Without a random it is what is said that tells them apart.
    let nameless = |words| Historic { random: None, ..group("alice", 30, 0, words) };
    let outcomes = bring(&mut world, &admin, vec![nameless("one"), nameless("two"), nameless("one")]);
    assert_eq!(outcomes, [Ok((4, false)), Ok((5, false)), Ok((4, true))]);

    let looked =
        admin.look_for_history(AppId(APP), [first(), vec![group("bob", 12, 9, "never")]].concat(), |_| true);
    let looked: Vec<_> = looked.unwrap();
    assert!(looked[..3].iter().all(|looked| looked.found.is_some_and(|found| found.digest == looked.digest)));
    assert!(looked[3].found.is_none());
    assert_eq!(admin.doubled(&looked[0].conv, 1, 5), Ok(0));
    let other = admin.look_for_history(AppId(APP), vec![group("alice", 10, 1, "other")], |_| true).unwrap();
    assert!(
        other[0].found.is_some_and(|found| found.digest != other[0].digest),
        "the same key, another message"
    );
}
