//! The suite of the trait `EventTx`, and of groups that are changed with events.

use bytes::Bytes;
use nearport_chat::directory::events::PendingEvent;
use nearport_chat::directory::{Directory, DirectoryError};
use nearport_chat::key::AppId;

use super::groups::{change, create, get, key};
use super::people::{read, write};

pub(super) fn all(make: impl Fn() -> Box<dyn Directory>) {
    an_event_comes_back_as_it_was_added(&*make());
    events_of_all_apps_stand_in_the_order_of_adding(&*make());
    an_id_is_there_once(&*make());
    what_is_removed_is_gone(&*make());
    what_fails_leaves_no_event(&*make());
    groups_and_events_are_written_together(&*make());
}

fn event(number: u8) -> PendingEvent {
    // Not in the order of their ids, nor of their times.
    let mut id = [0xff; 16];
    id[0] = number.reverse_bits();
    PendingEvent {
        id,
        app: AppId(u32::from(number % 3)),
        time_ms: 1_000 - u64::from(number),
        body: vec![number].into(),
    }
}

fn events(numbers: &[u8]) -> Vec<PendingEvent> {
    numbers.iter().map(|number| event(*number)).collect()
}

fn add(directory: &dyn Directory, numbers: &[u8]) {
    write(directory, |tx| tx.add_events(&events(numbers)));
}

/// The first of those that are there.
fn first(directory: &dyn Directory, limit: u32) -> Vec<PendingEvent> {
    read(directory, |tx| tx.events(limit))
}

fn there(directory: &dyn Directory) -> Vec<PendingEvent> {
    first(directory, u32::MAX)
}

fn an_event_comes_back_as_it_was_added(directory: &dyn Directory) {
    assert!(there(directory).is_empty());
    let all = [
        PendingEvent {
            id: [0; 16],
            app: AppId(u32::MAX),
            time_ms: i64::MAX.unsigned_abs(),
            body: (0..=u8::MAX).collect::<Vec<_>>().into(),
        },
        PendingEvent { id: [0xff; 16], app: AppId(0), time_ms: 0, body: Bytes::new() },
    ];
    write(directory, |tx| tx.add_events(&all));
    assert_eq!(there(directory), all);
}

fn events_of_all_apps_stand_in_the_order_of_adding(directory: &dyn Directory) {
    add(directory, &[5, 1, 9]);
    add(directory, &[]);
    add(directory, &[2]);
    write(directory, |tx| {
        tx.add_events(&events(&[8, 3]))?;
        tx.add_events(&events(&[7]))?;
        // The same transaction sees them.
        assert_eq!(tx.events(9)?, events(&[5, 1, 9, 2, 8, 3, 7]));
        Ok(())
    });
    let all = events(&[5, 1, 9, 2, 8, 3, 7]);
    for limit in [0, 1, 4, 7, 8, u32::MAX] {
        assert_eq!(first(directory, limit), all[..all.len().min(limit as usize)], "at most {limit}");
    }
}

fn an_id_is_there_once(directory: &dyn Directory) {
    add(directory, &[4, 2]);
    let other = PendingEvent { app: AppId(77), time_ms: 77, body: vec![77].into(), ..event(4) };
    write(directory, |tx| tx.add_events(&[other.clone(), event(1), event(2), event(1)]));
    assert_eq!(there(directory), events(&[4, 2, 1]), "the first stays, where it stands");
    // Once it is gone, the id is as good as a new one.
    write(directory, |tx| tx.remove_events(&[other.id]));
    write(directory, |tx| tx.add_events(std::slice::from_ref(&other)));
    assert_eq!(there(directory), [event(2), event(1), other]);
}

fn what_is_removed_is_gone(directory: &dyn Directory) {
    let remove = |numbers: &[u8]| {
        let ids: Vec<_> = numbers.iter().map(|number| event(*number).id).collect();
        write(directory, |tx| tx.remove_events(&ids));
    };
    remove(&[1]);
    add(directory, &[1, 2, 3, 4, 5]);
    remove(&[]);
    remove(&[4, 99, 2, 4]);
    assert_eq!(there(directory), events(&[1, 3, 5]));
    assert_eq!(first(directory, 2), events(&[1, 3]));
    remove(&[5]);
    add(directory, &[6, 4]);
    assert_eq!(there(directory), events(&[1, 3, 6, 4]), "behind those that are there");
    remove(&[1, 3, 4, 6]);
    assert!(there(directory).is_empty());
    add(directory, &[9, 8]);
    assert_eq!(there(directory), events(&[9, 8]));
}

fn what_fails_leaves_no_event(directory: &dyn Directory) {
    add(directory, &[1]);
    let failed = directory.write_people(&mut |tx| {
        tx.add_events(&events(&[2, 3]))?;
        tx.remove_events(&[event(1).id])?;
        Err(DirectoryError::Abandoned)
    });
    assert!(matches!(failed, Err(DirectoryError::Abandoned)));
    assert_eq!(there(directory), events(&[1]));
}

fn groups_and_events_are_written_together(directory: &dyn Directory) {
    let (one, two) = (key(1, "one"), key(1, "two"));
    add(directory, &[1]);
    let made = [change(&one, vec![create("Public", 5)])];
    directory.change_groups_and_tell(&made, &events(&[3, 1, 2])).expect("writes");
    assert!(get(directory, &one).is_some());
    assert_eq!(there(directory), events(&[1, 3, 2]));

    let taken = [change(&two, vec![create("Public", 6)]), change(&one, vec![create("Public", 7)])];
    directory.change_groups_and_tell(&taken, &events(&[4, 5])).expect_err("the id is taken");
    assert!(get(directory, &two).is_none());
    assert_eq!(there(directory), events(&[1, 3, 2]));

    directory.change_groups_and_tell(&taken[..1], &[]).expect("writes");
    directory.change_groups_and_tell(&[], &events(&[6])).expect("writes");
    assert!(get(directory, &two).is_some());
    assert_eq!(there(directory), events(&[1, 3, 2, 6]));
}
