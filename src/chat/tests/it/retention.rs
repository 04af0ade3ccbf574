use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use nearport_chat::Config;
use nearport_chat::ledger::{Ledger, TrimPlace};
use nearport_chat::retention::{Retention, Trimmer};
use nearport_store::MemoryLedger;
use nearport_wire::Kind;
use nearport_wire::body::{History, HistoryPage, Sync, SyncPage};

use crate::world::{World, directory, to_user, user};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

#[test]
fn a_device_that_was_away_for_longer_than_messages_are_kept_comes_to_the_end() {
    let ledger = MemoryLedger::new();
    let mut world = World::over(Arc::new(ledger.clone()), Arc::new(directory()), Config::default());
    let (alice, bob) = (world.login("alice", "phone"), world.login("bob", "phone"));
    for id in 1..=4 {
        let text = world.text(alice, "bob", id, 1);
        world.write(vec![text]);
        world.now_ms += DAY_MS;
    }
    world.received(0);
    let retention = Retention { days: 2, ..Retention::default() };
    let trim = |now_ms| {
        let mut place = TrimPlace::default();
        while retention.step(&ledger, now_ms, &mut place).unwrap().next.is_some() {}
    };
    trim(world.now_ms);
    let page: SyncPage = world.ask(bob, Kind::SYNC, &Sync { after: 0, limit: 9 }).unwrap();
    let positions: Vec<_> = page.entries.iter().map(|entry| entry.position).collect();
    assert_eq!((positions, page.head, page.complete), (vec![3, 4], 4, true));
    let history = |world: &mut World, after, before| -> (usize, bool) {
        let asked = History { with: Some(to_user("alice")), after, before, limit: 9, ..History::default() };
        let page: HistoryPage = world.ask(bob, Kind::HISTORY, &asked).unwrap();
        (page.deliveries.len(), page.complete)
    };
    assert_eq!(history(&mut world, None, 0), (2, true), "down to what is kept");
    assert_eq!(history(&mut world, Some(0), 0), (2, true));

    trim(world.now_ms + 9 * DAY_MS);
    // Nothing is left, and whoever asks hears that this is the end: without it a client would ask for ever.
    let page: SyncPage = world.ask(bob, Kind::SYNC, &Sync { after: 1, limit: 9 }).unwrap();
    assert_eq!((page.entries.len(), page.head, page.complete), (0, 4, true));
    assert_eq!(history(&mut world, None, 0), (0, true));
    assert_eq!(history(&mut world, Some(1), 0), (0, true));
}

#[test]
fn the_trimmer_works_by_itself_and_ends_when_it_is_dropped() {
    let ledger = MemoryLedger::new();
    let mut world = World::over(Arc::new(ledger.clone()), Arc::new(directory()), Config::default());
    let alice = world.login("alice", "phone");
    let text = world.text(alice, "bob", 1, 1);
    world.write(vec![text]);
    let pair = nearport_chat::key::ConvKey::pair(&user("alice"), &user("bob"));
    let (asked, time) = sync_channel(2);
    let now_ms = world.now_ms + 8 * DAY_MS;
    // The clock tells when a step begins: at the second the first is over.
    let clock = move || {
        let _ = asked.try_send(());
        now_ms
    };
    let retention = Retention { pause: Duration::ZERO, ..Retention::default() };
    let trimmer = Trimmer::start(Arc::new(ledger.clone()), Arc::new(clock), retention).unwrap();
    time.recv().unwrap();
    time.recv().unwrap();
    drop(trimmer);
    assert_eq!(ledger.heads(&[pair]).unwrap()[0].floor, 1);
    let kept = Retention { days: 0, group_days: 0, ..retention };
    let idle = Trimmer::start(Arc::new(ledger), Arc::new(|| 0), kept).unwrap();
    drop(idle);
}
