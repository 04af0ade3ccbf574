//! Pushes to all members, with the turns of the courier and of the writer in the hands of the test.

use std::sync::Arc;
use std::time::Duration;

use nearport_chat::Config;
use nearport_chat::admin::{Chosen, NamesOf, Push};
use nearport_chat::directory::{Account, Accounts as _, Directory, Mutes};
use nearport_chat::key::{AppId, ConvKey};
use nearport_chat::ledger::Ledger;
use nearport_chat::pushes::{self, Courier};
use nearport_store::{MemoryDirectory, MemoryLedger};
use nearport_trunk::{Down, SessionId};
use nearport_wire::Kind;
use nearport_wire::body::{Delivery, Sync, SyncPage};
use prost::Message as _;

use crate::world::{APP, START_MS, World, directory, text_content, to_user, user};

const DAY_MS: u64 = 86_400_000;

fn config() -> Config {
    let push =
        pushes::Config { enabled: true, per_day: 5, accounts_per_s: 1_000_000, ..pushes::Config::default() };
    Config { push, ..Config::default() }
}

/// A backend with a courier.
struct Scene {
    world: World,
    courier: Courier,
}

impl Scene {
    fn over(ledger: Arc<dyn Ledger>, directory: Arc<dyn Directory>, config: Config) -> Self {
        let world = World::over(ledger, directory, config);
        let courier = Courier::new(world.shared.clone());
        Self { world, courier }
    }

    /// With alice, bob and carol, and so many others.
    fn of(others: usize, config: Config) -> Self {
        let directory = directory();
        directory.register(&members(others)).unwrap();
        Self::over(Arc::new(MemoryLedger::new()), Arc::new(directory), config)
    }

    /// A new process over the same stores.
    fn restart(&mut self) {
        self.world.restart();
        self.courier = Courier::new(self.world.shared.clone());
    }

    fn push(&mut self, random: u32, life_time_s: u32, chosen: Option<Chosen>) -> Result<String, u32> {
        let push = Push {
            from: user("admin"),
            random,
            content: text_content("to all"),
            life_time_s,
            offline_push: String::new(),
            chosen,
        };
        let now_ms = self.world.now_ms;
        let pushed = self.world.shared.admin(Arc::new(move || now_ms)).push(push);
        self.world.desk(Vec::new());
        pushed.wait().expect("an outcome").map_err(|failure| failure.code)
    }

    /// A turn of the courier, then one of the writer. When the courier has something to do again; a short rest goes by.
    fn step(&mut self) -> Duration {
        let wait = self.courier.turn(self.world.now_ms);
        self.world.write(Vec::new());
        if wait < Duration::from_secs(10) {
            self.world.now_ms += u64::try_from(wait.as_millis()).unwrap();
        }
        wait
    }

    /// Until nothing is under way. Time goes by where the courier waits for it.
    fn run(&mut self) {
        let mut idle = 0;
        for _ in 0..100_000 {
            let wait = self.step();
            // It says the same while a page is with the writer.
            idle = if wait >= Duration::from_secs(10) { idle + 1 } else { 0 };
            if idle == 2 {
                return;
            }
        }
        panic!("a push does not end");
    }

    /// How many entries each has in the log, of those who are members: the numbers that there are.
    fn entries(&self) -> Vec<u64> {
        let members = self.world.directory.members(AppId(APP), ("", "~~"), u64::MAX, u32::MAX).unwrap();
        let mut entries: Vec<_> =
            members.iter().map(|user| self.world.ledger.log_head(user).unwrap()).collect();
        entries.sort_unstable();
        entries.dedup();
        entries
    }

    fn log(&mut self, session: SessionId) -> Vec<Option<Delivery>> {
        let page: SyncPage = self.world.ask(session, Kind::SYNC, &Sync { after: 0, limit: 100 }).unwrap();
        page.entries.into_iter().map(|entry| entry.delivery).collect()
    }

    /// What was published to users: to whom, at which position, and the message.
    fn published(&mut self) -> Vec<(String, u64, Delivery)> {
        let downs = self.world.received(0).into_iter();
        let publish = |down| match down {
            Down::Publish { topic, kind: Kind::PUSH, id, body, .. } => {
                let name = String::from_utf8(topic.0[4..].to_vec()).unwrap();
                Some((name, id, Delivery::decode(body).unwrap()))
            }
            _ => None,
        };
        downs.filter_map(publish).collect()
    }
}

/// Accounts with names in front of and behind those of the others.
fn members(count: usize) -> Vec<Account> {
    let name = |n: usize| if n.is_multiple_of(2) { format!("U{n:05}") } else { format!("z{n:05}") };
    let account =
        |n| Account { key: user(&name(n)), created_ms: START_MS, valid_from_s: 0, mutes: Mutes::default() };
    (0..count).map(account).collect()
}

#[test]
fn each_has_it_once_at_a_place_in_the_log_and_in_no_conversation() {
    let mut scene = Scene::of(300, config());
    scene.world.login("alice", "phone");
    scene.world.received(0);
    scene.push(7, 3600, None).unwrap();
    scene.run();
    assert_eq!(scene.entries(), [1]);
    let published = scene.published();
    let [(name, position, delivery)] = &published[..] else { panic!("{published:?}") };
    assert_eq!((name.as_str(), *position, delivery.seq), ("alice", 1, 0));
    let message = delivery.message.as_ref().unwrap();
    assert_eq!((message.from.as_str(), &message.to), ("admin", &Some(to_user("alice"))));
    assert_eq!(message.key.as_ref().unwrap().random, 7);

    // Who comes later finds it in the log, as if it were for her alone.
    let bob = scene.world.login("bob", "phone");
    scene.world.received(0);
    let log = scene.log(bob);
    let [Some(delivery)] = &log[..] else { panic!("{log:?}") };
    assert_eq!((delivery.seq, &delivery.message.as_ref().unwrap().to), (0, &Some(to_user("bob"))));

    // No conversation of hers has it, and nothing is unread.
    for name in ["alice", "bob"] {
        assert_eq!(scene.world.ledger.head(&ConvKey::pair(&user("admin"), &user(name))).unwrap(), 0);
        assert_eq!(scene.world.ledger.conversations(&user(name), None, 9).unwrap(), []);
    }
    // 303 accounts are three pages, each with one message.
    assert_eq!(scene.world.ledger.head(&ConvKey::pushes(AppId(APP))).unwrap(), 3);

    // Who joins later has none; a second push is behind the first one.
    scene.world.now_ms += 1000;
    let dave = Account { created_ms: scene.world.now_ms, key: user("dave"), ..members(1).remove(0) };
    scene.world.directory.register(&[dave]).unwrap();
    scene.run();
    assert_eq!(scene.entries(), [0, 1]);
    scene.push(8, 3600, None).unwrap();
    scene.run();
    assert_eq!(scene.entries(), [1, 2]);
}

#[test]
fn who_comes_after_its_life_finds_its_place_empty() {
    let mut scene = Scene::of(0, config());
    scene.push(7, 10, None).unwrap();
    scene.run();
    scene.world.now_ms += 10_000;
    let alice = scene.world.login("alice", "phone");
    scene.world.received(0);
    assert!(matches!(scene.log(alice)[..], [Some(_)]));
    scene.world.now_ms += 1;
    assert_eq!(scene.log(alice), [None]);

    // One that could not go on while it lived ends.
    scene.push(8, 10, None).unwrap();
    scene.world.now_ms += 10_001;
    scene.run();
    assert_eq!(scene.entries(), [1]);
}

#[test]
fn whenever_the_process_dies_each_has_it_once() {
    // Two turns before the first page, some of which each page takes, and what is left after the last one.
    for steps in 0..14 {
        for half in [false, true] {
            let mut scene = Scene::of(300, config());
            scene.push(7, 3600, None).unwrap();
            for _ in 0..steps {
                scene.step();
            }
            if half {
                // What it has handed over is lost with it.
                scene.courier.turn(scene.world.now_ms);
            }
            scene.restart();
            // Meanwhile one of each end of the names has gone, and others have come.
            for name in ["U00000", "U00200", "z00299"] {
                scene.world.directory.delete_account(&user(name), scene.world.now_ms).unwrap();
            }
            let new = |name: &str| Account {
                key: user(name),
                created_ms: scene.world.now_ms + 1,
                ..members(1).remove(0)
            };
            scene.world.directory.register(&[new("A0"), new("U00001x"), new("zz")]).unwrap();
            scene.run();
            let newcomers =
                ["A0", "U00001x", "zz"].map(|name| scene.world.ledger.log_head(&user(name)).unwrap());
            assert_eq!(newcomers, [0; 3], "{steps} {half}");
            for name in ["A0", "U00001x", "zz"] {
                scene.world.directory.delete_account(&user(name), scene.world.now_ms).unwrap();
            }
            assert_eq!(scene.entries(), [1], "{steps} {half}");
        }
    }
}

#[test]
fn who_is_online_hears_what_is_not_stored_and_after_a_crash_nobody_twice() {
    for steps in 0..8 {
        let mut scene = Scene::of(300, config());
        scene.push(7, 0, None).unwrap();
        scene.world.login("alice", "phone");
        scene.world.received(0);
        for _ in 0..steps {
            scene.step();
        }
        let before = scene.published().len();
        scene.restart();
        scene.world.login("alice", "phone");
        scene.world.received(0);
        scene.run();
        let after = scene.published();
        // In two steps alice's page is written down and handed to nobody yet: it is not sent again.
        assert_eq!(before + after.len(), usize::from(steps != 2), "{steps}");
        assert!(after.iter().all(|(_, position, delivery)| (*position, delivery.seq) == (0, 0)));
        assert_eq!(scene.entries(), [0]);
    }
}

#[test]
fn tags_and_attributes_choose() {
    let mut scene = Scene::of(300, config());
    let now_ms = scene.world.now_ms;
    let admin = scene.world.shared.admin(Arc::new(move || now_ms));
    let tagged = |user: &str, tags: &[&str]| NamesOf {
        user: user.to_owned(),
        names: tags.iter().map(|tag| (*tag).to_owned()).collect(),
    };
    let tags = vec![tagged("alice", &["a", "b"]), tagged("U00298", &["a"]), tagged("z00299", &["c"])];
    let added = admin.add_tags(AppId(APP), tags);
    scene.world.desk(Vec::new());
    assert_eq!(added.wait(), Some(Ok(())));
    let list = |tags: &[&str]| tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>();
    let heads = |scene: &Scene| {
        ["alice", "U00298", "z00299", "bob"].map(|name| scene.world.ledger.log_head(&user(name)).unwrap())
    };
    scene.push(1, 60, Some(Chosen::Tags { or: list(&["a", "c"]), and: Vec::new() })).unwrap();
    scene.run();
    assert_eq!(heads(&scene), [1, 1, 1, 0]);
    scene.world.now_ms += 1000;
    scene.push(2, 60, Some(Chosen::Tags { or: list(&["a", "c"]), and: list(&["b"]) })).unwrap();
    scene.run();
    assert_eq!(heads(&scene), [2, 1, 1, 0]);
    let nameless = Chosen::Attrs { or: [("city".to_owned(), "oslo".to_owned())].into(), and: [].into() };
    assert_eq!(scene.push(3, 60, Some(nameless)), Err(90033));
}

#[test]
fn a_repeat_is_the_first_one_and_each_limit_has_its_code() {
    let mut scene =
        Scene::of(0, Config { push: pushes::Config { waiting_max: 2, ..config().push }, ..config() });
    let first = scene.push(7, 3600, None).unwrap();
    assert_eq!(scene.push(8, 3600, None), Err(90024));
    scene.world.now_ms += 999;
    assert_eq!(scene.push(8, 3600, None), Err(90024));
    assert_eq!(scene.push(7, 0, None), Ok(first.clone()), "a repeat meets no limit");
    scene.world.now_ms += 1;
    scene.push(8, 3600, None).unwrap();
    scene.world.now_ms += 1000;
    assert_eq!(scene.push(9, 3600, None), Err(60018));
    scene.run();
    assert_eq!(scene.entries(), [2]);
    for random in [9, 10, 11] {
        scene.world.now_ms += 1000;
        scene.push(random, 3600, None).unwrap();
        scene.run();
    }
    scene.world.now_ms += 1000;
    assert_eq!(scene.push(12, 3600, None), Err(90047), "five a day");
    assert_eq!(scene.push(12, 604_801, None), Err(90026));
    scene.restart();
    assert_eq!(scene.push(7, 3600, None), Ok(first.clone()), "over a restart");
    scene.run();
    assert_eq!(scene.entries(), [5]);
    scene.world.now_ms += DAY_MS;
    scene.push(12, 604_800, None).unwrap();
    // Seven days after it the name is free.
    scene.world.now_ms = START_MS + 7 * DAY_MS;
    assert_eq!(scene.push(7, 3600, None), Ok(first.clone()));
    scene.world.now_ms += 1;
    assert_ne!(scene.push(7, 3600, None), Ok(first));
    scene.run();
    assert_eq!(scene.entries(), [7]);
}

#[test]
fn nothing_goes_out_where_pushes_are_off() {
    let off = Config { push: pushes::Config { enabled: false, ..config().push }, ..config() };
    assert_eq!(Scene::of(0, off.clone()).push(7, 60, None), Err(90045));
    // Whoever switches them off ends what is under way.
    let (ledger, directory) = (Arc::new(MemoryLedger::new()), Arc::new(directory()));
    directory.register(&members(300)).unwrap();
    let mut scene = Scene::over(ledger.clone(), directory.clone(), config());
    scene.push(7, 3600, None).unwrap();
    for _ in 0..3 {
        scene.step();
    }
    let mut scene = Scene::over(ledger.clone(), directory.clone(), off);
    scene.run();
    assert_eq!(scene.entries(), [0, 1], "one page had gone");
    let mut scene = Scene::over(ledger, directory, config());
    scene.run();
    assert_eq!(scene.entries(), [0, 1]);
}

#[test]
fn users_get_it_at_a_bounded_rate_and_apps_take_turns() {
    let slow = Config { push: pushes::Config { accounts_per_s: 128, ..config().push }, ..config() };
    let directory = directory();
    directory.register(&members(509)).unwrap();
    let mut scene = Scene::over(Arc::new(MemoryLedger::new()), Arc::new(directory), slow);
    scene.push(7, 3600, None).unwrap();
    scene.run();
    // 512 accounts, 128 of them a second, and the rest behind the last of them.
    assert_eq!((scene.entries(), scene.world.now_ms - START_MS), (vec![1], 4_000));

    let memory = MemoryDirectory::new();
    let of_app = |app: u32| {
        members(300).into_iter().map(move |account| {
            let key = nearport_chat::key::UserKey::new(AppId(app), account.key.name()).unwrap();
            Account { key, ..account }
        })
    };
    memory.register(&of_app(1).chain(of_app(2)).collect::<Vec<_>>()).unwrap();
    let mut scene = Scene::over(Arc::new(MemoryLedger::new()), Arc::new(memory), config());
    let admin = scene.world.shared.admin(Arc::new(|| START_MS));
    for app in [1, 2] {
        let from = nearport_chat::key::UserKey::new(AppId(app), "admin").unwrap();
        let content = text_content("to all");
        let push =
            Push { from, random: 7, content, life_time_s: 60, offline_push: String::new(), chosen: None };
        let pushed = admin.push(push);
        scene.world.desk(Vec::new());
        pushed.wait().unwrap().unwrap();
    }
    let pages = |scene: &Scene, app| scene.world.ledger.head(&ConvKey::pushes(AppId(app))).unwrap();
    loop {
        let (one, two) = (pages(&scene, 1), pages(&scene, 2));
        assert!(one.abs_diff(two) <= 1, "{one} and {two} pages");
        if (one, two) == (3, 3) {
            return;
        }
        scene.step();
        scene.world.now_ms += 1;
    }
}
