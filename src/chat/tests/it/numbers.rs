//! Numbers of days: what is counted is added once, whatever the store does.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use nearport_chat::Config;
use nearport_chat::directory::numbers::DayNumbers;
use nearport_chat::key::AppId;
use nearport_chat::numbers::{Count, Crowd, DAY_MS, day_of};
use nearport_store::MemoryLedger;

use crate::login::Meddler;
use crate::world::{APP, START_MS, World};

fn day(world: &World, day: u32) -> DayNumbers {
    let known = world.directory.numbers(AppId(APP), day, day).unwrap().pop();
    known.unwrap_or_else(|| DayNumbers::none(day))
}

/// Messages to users and those whom they were for, and users who sent them.
fn said(day: &DayNumbers) -> (u64, u64, u64) {
    let count = |what: Count| day.counts[what as usize];
    (count(Count::PairUp), count(Count::PairDown), day.crowds[Crowd::PairSenders as usize].count())
}

#[test]
fn a_store_that_fails_or_does_not_answer_loses_and_doubles_nothing() {
    let directory = Arc::new(Meddler::new());
    let mut world = World::over(Arc::new(MemoryLedger::new()), directory.clone(), Config::default());
    let today = day_of(START_MS);
    let alice = world.login("alice", "phone");
    world.write(vec![world.text(alice, "bob", 1, 1), world.text(alice, "bob", 1, 2)]);
    assert_eq!(said(&day(&world, today)), (0, 0, 0), "nobody has written");

    directory.broken.store(true, Ordering::Relaxed);
    world.shared.write_numbers(world.now_ms).unwrap_err();
    world.write(vec![world.text(alice, "alice", 2, 3)]);
    world.shared.write_numbers(world.now_ms).unwrap_err();
    directory.broken.store(false, Ordering::Relaxed);
    world.shared.write_numbers(world.now_ms).unwrap();
    assert_eq!(
        said(&day(&world, today)),
        (2, 1, 1),
        "a repeat is none, and a note to oneself is for nobody else"
    );

    world.write(vec![world.text(alice, "bob", 3, 4)]);
    directory.answers_lost.store(true, Ordering::Relaxed);
    world.shared.write_numbers(world.now_ms).unwrap_err();
    world.write(vec![world.text(alice, "bob", 4, 5)]);
    world.shared.write_numbers(world.now_ms).unwrap();
    world.shared.write_numbers(world.now_ms).unwrap();
    assert_eq!(said(&day(&world, today)), (4, 3, 1));

    // Another process adds to it, and who was there is no second one.
    world.restart();
    let alice = world.login("alice", "phone");
    world.write(vec![world.text(alice, "bob", 5, 1)]);
    world.shared.write_numbers(world.now_ms).unwrap();
    let known = day(&world, today);
    assert_eq!(said(&known), (5, 4, 1));
    assert_eq!(
        (known.counts[Count::Logins as usize], known.crowds[Crowd::LoggedIn as usize].count()),
        (2, 1)
    );
}

#[test]
fn a_day_ends_at_midnight_and_who_stays_is_there_on_both() {
    let mut world = World::new();
    let alice = world.login("alice", "phone");
    let bob = world.login("bob", "phone");
    world.login("bob", "tablet");
    let today = day_of(START_MS);
    world.write(vec![world.text(alice, "bob", 1, 1)]);
    world.now_ms = (u64::from(today) + 1) * DAY_MS - 1;
    world.write(vec![world.text(bob, "alice", 2, 1)]);
    world.now_ms += 1;
    world.write(vec![world.text(bob, "alice", 3, 2)]);
    world.shared.write_numbers(world.now_ms).unwrap();
    let [before, after] = [today, today + 1].map(|number| day(&world, number));
    assert_eq!((said(&before), said(&after)), ((2, 2, 2), (1, 1, 1)));
    let active = |day: &DayNumbers| day.crowds[Crowd::Active as usize].count();
    assert_eq!((active(&before), active(&after)), (2, 2), "alice only listens on the second day");
    assert_eq!(after.online_most, 2, "users, not devices");
    assert_eq!((before.counts[Count::Logins as usize], after.counts[Count::Logins as usize]), (3, 0));
}
