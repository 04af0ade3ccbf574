//! History files, with the turns of their maker in the hands of the test, and files in memory.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nearport_chat::Config;
use nearport_chat::history::{Files, HOUR_MS, HistoryKey, HistoryRow, KEPT_HOURS, Made, Maker, Said, Sheet};
use nearport_chat::key::{AppId, ConvKind, Talk};
use nearport_store::MemoryLedger;
use nearport_trunk::SessionId;
use nearport_wire::Kind;
use nearport_wire::body::{Amend, GroupCall, GroupCreate, Recall, Target, amend, group_call::Call, target};
use prost::Message as _;

use crate::world::{APP, START_MS, World, directory, send, to_user};

/// The first whole hour of a world.
const HOUR: u64 = START_MS / HOUR_MS + 1;
const MINUTE_MS: u64 = 60_000;

/// What is in the store, by name: whose it is and its messages as `from>to#id`.
type Stored = BTreeMap<String, (HistoryKey, Vec<String>)>;

#[derive(Debug, Default)]
struct Kept {
    stored: Stored,
    begun: usize,
    /// So many are not taken when they are whole.
    fail: usize,
    /// The process is killed when the next one is whole.
    kill: bool,
    /// None can be removed.
    stuck: bool,
}

#[derive(Debug, Clone, Default)]
struct Store(Arc<Mutex<Kept>>);

impl Store {
    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files for Store {
    fn begin(&self, key: &HistoryKey, _now_ms: u64) -> io::Result<Box<dyn Sheet>> {
        let mut kept = self.kept();
        kept.begun += 1;
        let media = format!("file {}", kept.begun);
        Ok(Box::new(Page { store: self.clone(), media, key: *key, lines: Vec::new() }))
    }

    fn remove(&self, app: AppId, media: &str) -> io::Result<()> {
        if self.kept().stuck {
            return Err(io::Error::other("the store does not answer"));
        }
        if let Some((key, _)) = self.kept().stored.remove(media) {
            assert_eq!(key.app, app);
        }
        Ok(())
    }
}

struct Page {
    store: Store,
    media: String,
    key: HistoryKey,
    lines: Vec<String>,
}

impl Sheet for Page {
    fn media(&self) -> String {
        self.media.clone()
    }

    fn add(&mut self, said: &Said) -> io::Result<()> {
        let to = match said.conv.kind() {
            ConvKind::Pair(a, b) => if a.name() == said.message.from { b } else { a }.name().to_owned(),
            ConvKind::Group(group) => format!("{}/{}", group.id(), said.key.seq),
            other => panic!("nobody says something in {other:?}"),
        };
        self.lines.push(format!("{}>{to}#{}", said.message.from, said.key.random & 0xff));
        Ok(())
    }

    fn finish(self: Box<Self>) -> io::Result<Made> {
        let mut kept = self.store.kept();
        if kept.fail > 0 {
            kept.fail -= 1;
            return Err(io::Error::other("the store is full"));
        }
        let bytes = self.lines.len() as u64;
        kept.stored.insert(self.media, (self.key, self.lines));
        assert!(!std::mem::take(&mut kept.kill), "killed");
        Ok(Made { bytes, ..Made::default() })
    }
}

struct Scene {
    world: World,
    store: Store,
    maker: Maker,
    sent: u8,
}

impl Scene {
    /// The files of the hours before are made.
    fn new(config: Config) -> Self {
        let scene = Self::first(config);
        let row = HistoryRow { done_ms: 1, ..HistoryRow::default() };
        let made = |talk| (HistoryKey { app: AppId(APP), talk, hour: HOUR - 1 }, row.clone());
        let rows = Talk::ALL.map(made);
        let put = rows.each_ref();
        scene
            .world
            .directory
            .write_people(&mut |tx| put.iter().try_for_each(|(key, row)| tx.put_history(key, row)))
            .unwrap();
        scene
    }

    /// None was ever made.
    fn first(config: Config) -> Self {
        let mut world = World::over(Arc::new(MemoryLedger::new()), Arc::new(directory()), config);
        world.now_ms = HOUR * HOUR_MS;
        let store = Store::default();
        let maker = Maker::new(world.shared.clone(), Box::new(store.clone()));
        Self { world, store, maker, sent: 0 }
    }

    /// Another process on the same stores.
    fn other(&self) -> Maker {
        Maker::new(self.world.shared.clone(), Box::new(self.store.clone()))
    }

    /// So many milliseconds after the beginning of the first hour.
    fn at(&mut self, ms: u64) {
        self.world.now_ms = HOUR * HOUR_MS + ms;
    }

    fn say(&mut self, from: SessionId, to: Target) -> u8 {
        self.sent += 1;
        let body = nearport_wire::body::Send { to: Some(to), ..send("", self.sent) };
        let frame = self.world.frame(from, Kind::SEND, 1, body.encode_to_vec());
        self.world.write(vec![frame]);
        self.sent
    }

    /// Until it rests; time stands still.
    fn run(&mut self) {
        for _ in 0..10_000 {
            if self.maker.turn(self.world.now_ms) >= Duration::from_secs(10) {
                return;
            }
        }
        panic!("it does not end");
    }

    /// What is in the file of an hour after the first one, as the directory knows it.
    fn file(&self, talk: Talk, hour: u64) -> Option<Vec<String>> {
        let row = self.row(talk, hour)?;
        let kept = self.store.kept();
        let (key, lines) = kept.stored.get(&row.media)?;
        assert_eq!((key.talk, key.hour, row.messages), (talk, HOUR + hour, lines.len() as u64));
        assert!(row.done_ms > 0);
        Some(lines.clone())
    }

    fn row(&self, talk: Talk, hour: u64) -> Option<HistoryRow> {
        let key = HistoryKey { app: AppId(APP), talk, hour: HOUR + hour };
        let mut row = None;
        self.world
            .directory
            .read_people(&mut |tx| {
                row = tx.history(&key)?;
                Ok(())
            })
            .unwrap();
        row
    }
}

fn to_group(group: &str) -> Target {
    Target { target: Some(target::Target::Group(group.to_owned())) }
}

#[test]
fn an_hour_has_what_was_said_in_it_to_the_millisecond() {
    let mut scene = Scene::new(Config::default());
    let [alice, bob] = ["alice", "bob"].map(|name| scene.world.login(name, "phone"));
    let create = GroupCreate {
        r#type: "Public".into(),
        group: "g".into(),
        name: "g".into(),
        ..GroupCreate::default()
    };
    let call = GroupCall { call: Some(Call::Create(create)) };
    let frame = scene.world.frame(alice, Kind::GROUP, 1, call.encode_to_vec());
    scene.world.desk(vec![frame]);
    for ms in [0, HOUR_MS - 1, HOUR_MS, 2 * HOUR_MS] {
        scene.at(ms);
        scene.say(alice, to_user("bob"));
        scene.say(alice, to_group("g"));
    }
    scene.say(bob, to_user("carol"));
    let group = |place: u64, id: u64| format!("alice>g/{place}#{id}");
    // The tip that the group was made is nobody's word, and has a place.
    let first =
        scene.world.ledger.head(&nearport_chat::key::ConvKey::group(AppId(APP), "g").unwrap()).unwrap() - 3;

    // Not before a minute after its end.
    scene.at(HOUR_MS + MINUTE_MS - 1);
    scene.run();
    assert_eq!((scene.file(Talk::Pairs, 0), scene.row(Talk::Pairs, 0)), (None, None));
    scene.at(HOUR_MS + MINUTE_MS);
    scene.run();
    assert_eq!(scene.file(Talk::Pairs, 0).unwrap(), ["alice>bob#1", "alice>bob#3"]);
    assert_eq!(scene.file(Talk::Groups, 0).unwrap(), [group(first, 2), group(first + 1, 4)]);
    assert_eq!(scene.row(Talk::Pairs, 1), None);
    scene.at(3 * HOUR_MS + MINUTE_MS);
    scene.run();
    assert_eq!(scene.file(Talk::Pairs, 1).unwrap(), ["alice>bob#5"]);
    // One conversation after the other.
    assert_eq!(scene.file(Talk::Pairs, 2).unwrap(), ["bob>carol#9", "alice>bob#7"]);
    assert_eq!(scene.file(Talk::Groups, 2).unwrap(), [group(first + 3, 8)]);
    assert_eq!(scene.store.kept().stored.len(), 6, "three hours");
}

#[test]
fn what_was_taken_back_is_not_in_it_and_an_app_may_want_none() {
    let mut scene = Scene::new(Config::default());
    let alice = scene.world.login("alice", "phone");
    scene.say(alice, to_user("bob"));
    scene.say(alice, to_user("bob"));
    let recall = Recall { with: Some(to_user("bob")), seq: 1, ..Recall::default() };
    let amend = Amend { amend: Some(amend::Amend::Recall(recall)) };
    let frame = scene.world.frame(alice, Kind::AMEND, 2, amend.encode_to_vec());
    scene.world.write(vec![frame]);
    scene.at(HOUR_MS + MINUTE_MS);
    scene.run();
    assert_eq!(scene.file(Talk::Pairs, 0).unwrap(), ["alice>bob#2"]);

    let none = vec![("history_files".to_owned(), "false".to_owned())];
    let mut scene = Scene::new(Config { apps: [(APP, none)].into(), ..Config::default() });
    let alice = scene.world.login("alice", "phone");
    scene.say(alice, to_user("bob"));
    scene.at(HOUR_MS + MINUTE_MS);
    scene.run();
    assert_eq!((scene.store.kept().begun, scene.row(Talk::Pairs, 0)), (0, None));
}

#[test]
fn hours_in_which_nothing_was_said_cost_one_look() {
    let mut scene = Scene::first(Config::default());
    let alice = scene.world.login("alice", "phone");
    scene.say(alice, to_user("bob"));
    scene.at(100 * HOUR_MS + MINUTE_MS);
    scene.run();
    // The first hour that is kept and that of the message; of groups the first one alone.
    let begun = scene.store.kept().begun;
    assert_eq!(begun, 3);
    assert!(scene.file(Talk::Pairs, 0).is_some());
    let rows = |scene: &Scene| (1..=100).filter(|hour| scene.row(Talk::Pairs, *hour).is_some()).count();
    assert_eq!(rows(&scene), 1, "up to now");
    assert!(scene.row(Talk::Pairs, 99).is_some_and(|row| row.media.is_empty() && row.done_ms > 0));
    scene.at(101 * HOUR_MS + MINUTE_MS);
    scene.run();
    assert_eq!(scene.store.kept().begun, begun + 2, "pairs and groups");
    scene.run();
    scene.at(101 * HOUR_MS + 10 * MINUTE_MS);
    scene.run();
    assert_eq!(scene.store.kept().begun, begun + 2);

    // What is said after a long silence is in its hour.
    scene.at(200 * HOUR_MS + 5);
    for _ in 0..40 {
        scene.say(alice, to_user("bob"));
    }
    scene.at(203 * HOUR_MS + MINUTE_MS);
    scene.run();
    assert_eq!(scene.file(Talk::Pairs, 200).unwrap().len(), 40);
    assert_eq!(scene.store.kept().begun, begun + 5);
}

#[test]
fn what_one_leaves_another_begins_anew_when_it_has_been_silent_for_ten_minutes() {
    let whole = {
        let mut scene = told();
        let mut turns = 0;
        while scene.file(Talk::Pairs, 0).is_none() {
            scene.maker.turn(scene.world.now_ms);
            turns += 1;
        }
        turns
    };
    for turns in 0..whole {
        let mut scene = told();
        for _ in 0..turns {
            scene.maker.turn(scene.world.now_ms);
        }
        scene.maker = scene.other();
        let is_begun = scene.row(Talk::Pairs, 0).is_some();
        scene.run();
        assert_eq!(scene.file(Talk::Pairs, 0).is_some(), !is_begun, "{turns}: somebody may be at it");
        scene.world.now_ms += 10 * MINUTE_MS;
        scene.run();
        scene.world.now_ms += 10 * MINUTE_MS + 1;
        scene.run();
        assert_eq!(scene.file(Talk::Pairs, 0).unwrap(), ["alice>bob#1"], "{turns}");
        assert_eq!(scene.store.kept().stored.len(), 1, "{turns}");
    }

    // The file was in the store already, and nobody had written that down.
    let mut scene = told();
    scene.store.kept().kill = true;
    let killed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| scene.run()));
    assert!(killed.is_err() && scene.store.kept().stored.len() == 1);
    scene.maker = scene.other();
    scene.world.now_ms += 11 * MINUTE_MS;
    scene.run();
    assert_eq!(scene.file(Talk::Pairs, 0).unwrap(), ["alice>bob#1"]);
    assert_eq!(scene.store.kept().stored.len(), 1, "nothing is left of the first try");
}

/// A word of the first hour, which is over.
fn told() -> Scene {
    let mut scene = Scene::new(Config::default());
    let alice = scene.world.login("alice", "phone");
    scene.say(alice, to_user("bob"));
    scene.at(HOUR_MS + MINUTE_MS);
    scene
}

#[test]
fn who_is_slow_keeps_it_by_signs_of_life_and_who_lost_it_leaves_nothing() {
    let mut scene = told();
    while scene.row(Talk::Pairs, 0).is_none() {
        scene.maker.turn(scene.world.now_ms);
    }
    let mut other = scene.other();
    // A turn every nine minutes is enough.
    for _ in 0..2 {
        scene.world.now_ms += 9 * MINUTE_MS;
        let media = scene.row(Talk::Pairs, 0).unwrap().media;
        scene.maker.turn(scene.world.now_ms);
        while other.turn(scene.world.now_ms) < Duration::from_secs(10) {}
        assert_eq!(scene.row(Talk::Pairs, 0).unwrap().media, media);
    }
    // None for longer is not.
    scene.world.now_ms += 11 * MINUTE_MS;
    while other.turn(scene.world.now_ms) < Duration::from_secs(10) {}
    assert_eq!(scene.file(Talk::Pairs, 0).unwrap(), ["alice>bob#1"]);
    scene.run();
    assert_eq!(scene.store.kept().stored.len(), 1);
    assert_eq!(scene.file(Talk::Pairs, 0).unwrap(), ["alice>bob#1"]);
}

#[test]
fn a_file_that_is_not_taken_is_made_again_in_the_next_round_and_keeps_nobody_waiting() {
    let mut scene = told();
    for round in 0..2 {
        scene.store.kept().fail = 1;
        scene.run();
        assert_eq!((scene.file(Talk::Pairs, 0), scene.store.kept().stored.len()), (None, 0));
        // Those behind it are dealt with, and it is not before the next look.
        scene.run();
        assert!(scene.row(Talk::Groups, 0).is_some_and(|row| row.done_ms > 0), "{round}");
        scene.run();
        assert_eq!(scene.file(Talk::Pairs, 0), None);
        scene.world.now_ms += 5 * MINUTE_MS;
    }
    scene.run();
    assert_eq!(scene.file(Talk::Pairs, 0).unwrap(), ["alice>bob#1"]);
}

#[test]
fn a_file_that_cannot_be_removed_is_met_again_and_keeps_nobody_waiting() {
    let mut scene = told();
    scene.run();
    // An old one: what is next is made all the same.
    scene.store.kept().stuck = true;
    scene.at((KEPT_HOURS + 1) * HOUR_MS + MINUTE_MS);
    for _ in 0..2 {
        scene.run();
    }
    assert!(scene.row(Talk::Pairs, KEPT_HOURS).is_some() && scene.store.kept().stored.len() == 1);
    scene.store.kept().stuck = false;
    scene.world.now_ms += 5 * MINUTE_MS;
    scene.run();
    assert_eq!((scene.row(Talk::Pairs, 0), scene.store.kept().stored.len()), (None, 0));

    // One that a maker left when it was killed.
    let mut scene = told();
    scene.store.kept().kill = true;
    let killed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| scene.run()));
    assert!(killed.is_err());
    scene.maker = scene.other();
    scene.store.kept().stuck = true;
    scene.world.now_ms += 11 * MINUTE_MS;
    scene.run();
    assert!(scene.row(Talk::Pairs, 0).is_some_and(|row| row.done_ms == 0));
    scene.store.kept().stuck = false;
    scene.world.now_ms += 5 * MINUTE_MS;
    for _ in 0..2 {
        scene.run();
    }
    assert_eq!(scene.file(Talk::Pairs, 0).unwrap(), ["alice>bob#1"]);
    assert_eq!(scene.store.kept().stored.len(), 1, "its name was not lost");
}

#[test]
fn it_is_kept_for_seven_days() {
    let mut scene = told();
    scene.run();
    scene.at((KEPT_HOURS + 1) * HOUR_MS + MINUTE_MS - 1);
    scene.run();
    assert!(scene.file(Talk::Pairs, 0).is_some());
    scene.world.now_ms += 1;
    scene.run();
    assert_eq!((scene.row(Talk::Pairs, 0), scene.store.kept().stored.len()), (None, 0));
    assert!(scene.row(Talk::Pairs, KEPT_HOURS).is_some(), "the next hour goes on behind this one");
}
