mod engines;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock};

use nearport_chat::Config;
use nearport_chat::directory::App;
use nearport_chat::key::AppId;
use nearport_chat::ledger::{Batch, CursorMove, CursorName};
use nearport_store::MemoryLedger;
use nearport_trunk::local::{DownQueue, LinkId};
use nearport_trunk::{Down, Up, Waker};
use nearport_wire::Kind;
use nearport_wire::body::{Empty, Hello};
use nearport_wire::close::CloseCode;

pub(crate) use engines::Meddler;
use engines::{Unreadable, Watcher};

use crate::world::{APP, Seen, World, app, directory, seen, user};

#[test]
fn each_bad_hello_has_its_close_code_and_number() {
    let mut world = World::new();
    let disabled = App { id: AppId(2), disabled: true, ..app() };
    world.directory.create_app(&disabled).unwrap();
    let good = world.hello("alice", "phone");
    type Spoil = fn(&mut Hello);
    let cases: [(Spoil, CloseCode, u32); 11] = [
        (|h| h.app = 99, CloseCode::NO_APP, 70020),
        (|h| h.app = 2, CloseCode::NO_APP, 60016),
        (|h| h.user = String::new(), CloseCode::BAD_BODY, 70402),
        (|h| h.user = "a".repeat(33), CloseCode::BAD_BODY, 70402),
        (|h| h.device = "tab\t".into(), CloseCode::BAD_BODY, 70402),
        (|h| h.device = String::new(), CloseCode::BAD_BODY, 70402),
        (|h| h.client = "c".repeat(65), CloseCode::BAD_BODY, 70402),
        (|h| h.user = "bob".into(), CloseCode::UNAUTHORIZED, 70013),
        (|h| h.usersig = String::new(), CloseCode::UNAUTHORIZED, 70002),
        (|h| h.usersig = "!!!!".into(), CloseCode::UNAUTHORIZED, 70003),
        (|h| h.usersig = h.usersig[..h.usersig.len() - 8].into(), CloseCode::UNAUTHORIZED, 70005),
    ];
    for (spoil, close, number) in cases {
        let mut hello = good.clone();
        spoil(&mut hello);
        assert_eq!(world.refused(&hello), (close, number), "{hello:?}");
    }
    let mut expired = world.hello("alice", "phone");
    world.now_ms += 86_400_000;
    expired.device = "tablet".into();
    assert_eq!(world.refused(&expired), (CloseCode::UNAUTHORIZED, 70001));

    let peer = "192.0.2.1:1".parse().unwrap();
    let noise = Up::Open {
        session: nearport_trunk::SessionId(900),
        hello: vec![0xff; 9].into(),
        peer,
        vouched: None,
    };
    world.front(vec![(LinkId(0), noise)]);
    let downs = world.received(0);
    assert!(
        matches!(&downs[..], [Down::Reject { code: CloseCode::BAD_BODY, reason, .. }] if reason.starts_with("70402 ")),
        "{downs:?}"
    );
}

#[test]
fn a_first_login_registers_and_the_session_starts_where_the_device_left_off() {
    let mut world = World::new();
    let alice = world.login("alice", "phone");
    let dave = world.hello("dave", "phone");
    let (dave, welcome) = world.login_at(0, &dave);
    assert_eq!((welcome.head, welcome.cursor, welcome.heartbeat_ms), (0, 0, 25_000));
    assert!(world.directory.accounts(&[user("dave")]).unwrap()[0].is_some());
    for id in 1..=3 {
        let text = world.text(alice, "dave", id, 1);
        world.write(vec![text]);
    }
    let batch = vec![world.ack(dave, 2), world.frame(dave, Kind::FLUSH, 9, "")];
    world.write(batch);
    world.received(0);

    let cursor = |world: &mut World, device: &str, given: Option<u64>| {
        let hello = Hello { cursor: given, ..world.hello("dave", device) };
        let welcome = world.login_at(1, &hello).1;
        assert_eq!(welcome.head, 3);
        welcome.cursor
    };
    assert_eq!(cursor(&mut world, "phone", None), 2, "what the server remembers");
    assert_eq!(cursor(&mut world, "tablet", None), 0, "a new device");
    assert_eq!(cursor(&mut world, "phone", Some(1)), 1, "the client's own memory wins");
    assert_eq!(cursor(&mut world, "phone", Some(4)), 3, "nothing lies beyond the head");
}

#[test]
fn a_second_login_of_a_device_ends_the_first_session() {
    let mut world = World::new();
    let hello = world.hello("alice", "phone");
    let (first, _) = world.login_at(0, &hello);
    let (second, _) = world.open(1, &hello);
    let kicked = world.received(0);
    assert!(
        matches!(kicked[..], [Down::Kick { session, code: CloseCode::KICKED, .. }] if session == first),
        "{kicked:?}"
    );
    // The close that follows takes nothing from the successor, and frames on their way are dropped.
    let batch =
        vec![(LinkId(0), Up::Close { session: first, lost_ms: None }), world.frame(first, Kind::SYNC, 1, "")];
    world.front(batch);
    let batch = vec![world.text(first, "bob", 1, 1), world.text(second, "bob", 2, 2)];
    world.write(batch);
    assert_eq!(seen(&world.received(0)), []);
    assert_eq!(seen(&world.received(1)), [Seen::Reply(second, 2)]);
}

#[test]
fn two_logins_of_a_device_in_one_batch_leave_the_later_one() {
    let mut world = World::new();
    let hello = world.hello("alice", "phone");
    let (first, up1) = world.open_up(0, &hello);
    let (second, up2) = world.open_up(0, &hello);
    world.front(vec![up1, up2]);
    let downs = world.received(0);
    let [Down::Join { session: a, .. }, Down::Reject { session: b, code, .. }, Down::Join { .. }, accept] =
        &downs[..]
    else {
        panic!("{downs:?}")
    };
    assert_eq!((*a, *b, *code), (first, first, CloseCode::KICKED), "not accepted yet, so refused");
    assert!(matches!(accept, Down::Accept { session, .. } if *session == second));
}

#[test]
fn a_login_beyond_the_bound_ends_the_users_oldest_session() {
    let config = Config { user_sessions_max: 2, ..Config::default() };
    let mut world = World::over(Arc::new(MemoryLedger::new()), Arc::new(directory()), config);
    let oldest = world.login("alice", "1");
    world.login("alice", "2");
    let hello = world.hello("alice", "3");
    let (_, downs) = world.open(0, &hello);
    assert!(matches!(downs[0], Down::Kick { session, .. } if session == oldest), "{downs:?}");
}

#[test]
fn a_login_to_a_full_app_is_told_when_to_come_back_and_a_device_that_is_in_stays_in() {
    let config = Config { app_sessions_max: 2, ..Config::default() };
    let mut world = World::over(Arc::new(MemoryLedger::new()), Arc::new(directory()), config);
    world.login("alice", "phone");
    let bob = world.login("bob", "phone");
    let hello = world.hello("carol", "phone");
    let (_, downs) = world.open(0, &hello);
    assert!(
        matches!(&downs[..], [Down::Reject { code: CloseCode::BUSY, reason, retry_after_ms: 5_000, .. }] if reason.starts_with("60018 ")),
        "{downs:?}"
    );
    world.login("alice", "phone");
    let closed = vec![(LinkId(0), Up::Close { session: bob, lost_ms: None })];
    world.front(closed);
    world.login("carol", "phone");
}

#[test]
fn refused_usersigs_are_counted_per_user() {
    let mut world = World::new();
    let bad = Hello { usersig: "AAAA".into(), ..world.hello("alice", "phone") };
    for _ in 0..20 {
        assert_eq!(world.refused(&bad), (CloseCode::UNAUTHORIZED, 70005));
    }
    assert_eq!(world.refused(&bad), (CloseCode::BUSY, 70050));
    let good = world.hello("alice", "phone");
    assert_eq!(world.refused(&good), (CloseCode::BUSY, 70050), "the contract says: after a minute");
    world.login("bob", "phone");
    world.now_ms += 60_000;
    world.login("alice", "phone");
}

#[test]
fn a_kick_ends_sessions_and_withdraws_older_usersigs() {
    let mut world = World::new();
    let hello = world.hello("alice", "phone");
    let (session, _) = world.login_at(0, &hello);
    assert!(world.shared.kick_user(AppId(APP), "nobody", world.now_ms).is_err());
    assert_eq!(world.shared.kick_user(AppId(APP), "alice", world.now_ms).unwrap(), 1);
    assert!(matches!(world.received(0)[..], [Down::Kick { session: kicked, .. }] if kicked == session));
    assert_eq!(world.refused(&hello), (CloseCode::UNAUTHORIZED, 70001));
    world.now_ms += 60_000;
    world.login("alice", "phone");
}

#[test]
fn an_unknown_app_is_looked_for_once_a_second_and_known_ones_stay_when_the_directory_fails() {
    let directory = Arc::new(Meddler::new());
    let mut world = World::over(Arc::new(MemoryLedger::new()), directory.clone(), Config::default());
    let unknown = Hello { app: 5, ..world.hello("alice", "phone") };
    for _ in 0..50 {
        assert_eq!(world.refused(&unknown), (CloseCode::NO_APP, 70020));
    }
    assert_eq!(directory.app_reads.load(Ordering::Relaxed), 1);
    world.now_ms += 1000;
    assert_eq!(world.refused(&unknown), (CloseCode::NO_APP, 70020));
    assert_eq!(directory.app_reads.load(Ordering::Relaxed), 2);
    world.login("alice", "phone");

    directory.broken.store(true, Ordering::Relaxed);
    world.now_ms += 60_000;
    assert_eq!(world.refused(&unknown), (CloseCode::UNAVAILABLE, 70500), "nobody knows");
    world.login("alice", "phone");
    let bob = world.hello("bob", "phone");
    assert_eq!(world.refused(&bob), (CloseCode::UNAVAILABLE, 70500), "not in the cache of accounts");
}

#[test]
fn new_accounts_of_a_batch_are_registered_in_one_transaction() {
    let directory = Arc::new(Meddler::new());
    let mut world = World::over(Arc::new(MemoryLedger::new()), directory.clone(), Config::default());
    let batch: Vec<_> = ["dave", "erin", "dave"]
        .iter()
        .map(|name| {
            let hello = world.hello(name, "phone");
            world.open_up(0, &hello).1
        })
        .collect();
    world.front(batch);
    assert_eq!(*directory.registered.lock().unwrap(), [2]);
}

#[test]
fn a_kick_in_the_middle_of_a_login_is_seen() {
    let directory = Arc::new(Meddler::new());
    let mut world = World::over(Arc::new(MemoryLedger::new()), directory.clone(), Config::default());
    assert!(directory.kick_through.set(world.shared.clone()).is_ok());
    let hello = world.hello("alice", "phone");
    assert_eq!(world.refused(&hello), (CloseCode::UNAUTHORIZED, 70001));
}

#[test]
fn join_is_in_the_queue_before_the_head_is_read() {
    let queue = DownQueue::new(Waker::noop());
    let ledger =
        Arc::new(Watcher { inner: MemoryLedger::new(), queue: OnceLock::new(), order: Mutex::default() });
    let mut world = World::over(ledger.clone(), Arc::new(directory()), Config::default());
    world.links.push(queue.clone());
    let link = world.shared.links().add(queue.clone());
    assert!(ledger.queue.set(queue).is_ok());
    let hello = world.hello("alice", "phone");
    let (_, up) = world.open_up(link.0, &hello);
    world.front(vec![up]);
    assert_eq!(*ledger.order.lock().unwrap(), ["join", "head"]);
    let downs = world.received(link.0);
    assert!(matches!(downs[..], [Down::Accept { .. }]), "{downs:?}");
}

#[test]
fn a_ledger_that_cannot_be_read_refuses_logins_and_leaves_no_session() {
    let ledger = Arc::new(Unreadable::default());
    let mut world = World::over(ledger.clone(), Arc::new(directory()), Config::default());
    let hello = world.hello("alice", "phone");
    ledger.broken.store(true, Ordering::Relaxed);
    let (session, downs) = world.open(0, &hello);
    assert!(
        matches!(downs[..], [Down::Join { .. }, Down::Reject { code: CloseCode::UNAVAILABLE, .. }]),
        "{downs:?}"
    );
    ledger.broken.store(false, Ordering::Relaxed);
    let frame = world.frame(session, Kind::SYNC, 1, "");
    world.front(vec![frame]);
    assert_eq!(seen(&world.received(0)), [], "frames of a refused session are dropped");
    let session = world.login("alice", "phone");
    ledger.broken.store(true, Ordering::Relaxed);
    assert_eq!(world.ask::<Empty>(session, Kind::SYNC, &Empty {}), Err(20005));
}

#[test]
fn a_stored_cursor_beyond_the_head_is_cut() {
    let mut world = World::new();
    let name = CursorName::Device("phone".into());
    let cursor = CursorMove { user: user("alice"), name, position: 9, append: None };
    world.ledger.commit(&Batch { cursors: vec![cursor], ..Batch::default() }).unwrap();
    let hello = world.hello("alice", "phone");
    assert_eq!(world.login_at(0, &hello).1.cursor, 0);
}
