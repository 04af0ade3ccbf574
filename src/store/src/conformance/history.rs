//! The suite of the trait `HistoryTx`.

use nearport_chat::directory::history::{HistoryKey, HistoryRow};
use nearport_chat::directory::{Directory, DirectoryError};
use nearport_chat::key::{AppId, Talk};

use super::people::{read, write};

pub(super) fn all(make: impl Fn() -> Box<dyn Directory>) {
    a_row_reads_back_and_is_replaced(&*make());
    the_next_hour_is_behind_the_newest(&*make());
    what_was_begun_and_left_comes_first(&*make());
    apps_and_talks_are_apart(&*make());
    old_rows_come_in_the_order_of_their_hours(&*make());
    what_fails_leaves_no_row(&*make());
}

const APP: AppId = AppId(u32::MAX);

/// The largest number that a column holds.
const NUMBER_MAX: u64 = i64::MAX.unsigned_abs();

fn pairs(hour: u64) -> HistoryKey {
    HistoryKey { app: APP, talk: Talk::Pairs, hour }
}

/// A file that was begun at a time and is complete at another, or not: 0.
fn file(started_ms: u64, done_ms: u64) -> HistoryRow {
    HistoryRow { started_ms, done_ms, ..HistoryRow::default() }
}

fn put(directory: &dyn Directory, key: HistoryKey, row: &HistoryRow) {
    write(directory, |tx| tx.put_history(&key, row));
}

fn a_row_reads_back_and_is_replaced(directory: &dyn Directory) {
    let begun = file(1_000, 0);
    let done = HistoryRow {
        media: "wörd/'1.gz".to_owned(),
        started_ms: NUMBER_MAX - 1,
        done_ms: NUMBER_MAX - 2,
        messages: NUMBER_MAX - 3,
        bytes: NUMBER_MAX - 4,
        md5: "d41d8cd98f00b204e9800998ecf8427e".to_owned(),
        gzip_bytes: NUMBER_MAX - 5,
        gzip_md5: "0123456789abcdef0123456789abcdef".to_owned(),
    };
    for hour in [0, 7, NUMBER_MAX] {
        let row = || read(directory, |tx| tx.history(&pairs(hour)));
        assert_eq!(row(), None);
        for written in [&begun, &done, &done, &begun, &done] {
            put(directory, pairs(hour), written);
            assert_eq!(row().as_ref(), Some(written), "hour {hour}");
        }
    }
    write(directory, |tx| tx.remove_history(&pairs(7)));
    let there = |hour| read(directory, |tx| tx.history(&pairs(hour))).is_some();
    assert_eq!([0, 7, NUMBER_MAX].map(there), [true, false, true]);
    write(directory, |tx| tx.remove_history(&pairs(7)));
}

/// The next hour, if what was begun before `stale_ms` is begun anew.
fn next(directory: &dyn Directory, stale_ms: u64) -> Option<u64> {
    read(directory, |tx| tx.next_history(APP, Talk::Pairs, stale_ms))
}

fn the_next_hour_is_behind_the_newest(directory: &dyn Directory) {
    assert_eq!(next(directory, u64::MAX), None);
    for (hour, behind) in [(0, 1), (5, 6), (3, 6), (NUMBER_MAX, NUMBER_MAX + 1)] {
        put(directory, pairs(hour), &file(1_000, 2_000));
        assert_eq!(next(directory, u64::MAX), Some(behind), "with hour {hour}");
    }
    write(directory, |tx| tx.remove_history(&pairs(NUMBER_MAX)));
    assert_eq!(next(directory, u64::MAX), Some(6));
}

fn what_was_begun_and_left_comes_first(directory: &dyn Directory) {
    for (hour, row) in (10..).zip([file(1_000, 2_000), file(5_000, 0), file(3_000, 0), file(1_000, 9_000)]) {
        put(directory, pairs(hour), &row);
    }
    for (stale_ms, hour) in [(0, 14), (3_000, 14), (3_001, 12), (5_000, 12), (5_001, 11), (u64::MAX, 11)] {
        assert_eq!(next(directory, stale_ms), Some(hour), "begun before {stale_ms}");
    }
    put(directory, pairs(11), &file(5_000, 6_000));
    assert_eq!(next(directory, u64::MAX), Some(12));
    put(directory, pairs(12), &file(8_000, 0));
    assert_eq!(next(directory, 8_000), Some(14), "begun anew");
    put(directory, pairs(14), &file(8_000, 0));
    assert_eq!(next(directory, 8_000), Some(15), "one behind it that is being made");
}

fn apps_and_talks_are_apart(directory: &dyn Directory) {
    let elsewhere = [
        HistoryKey { talk: Talk::Groups, ..pairs(5) },
        HistoryKey { app: AppId(1), ..pairs(5) },
        HistoryKey { app: AppId(1), talk: Talk::Groups, hour: 5 },
    ];
    for (bytes, key) in (1..).zip(elsewhere) {
        put(directory, key, &HistoryRow { bytes, ..file(1_000, 0) });
    }
    assert_eq!(next(directory, u64::MAX), None);
    put(directory, pairs(8), &file(1_000, 2_000));
    assert_eq!(next(directory, u64::MAX), Some(9));
    read(directory, |tx| {
        assert_eq!(tx.history(&pairs(5))?, None);
        for (bytes, key) in (1..).zip(elsewhere) {
            assert_eq!(tx.history(&key)?, Some(HistoryRow { bytes, ..file(1_000, 0) }));
            assert_eq!(tx.next_history(key.app, key.talk, u64::MAX)?, Some(5));
            assert_eq!(tx.next_history(key.app, key.talk, 0)?, Some(6));
        }
        assert_eq!(tx.next_history(AppId(2), Talk::Pairs, u64::MAX)?, None);
        Ok(())
    });
    write(directory, |tx| tx.remove_history(&elsewhere[1]));
    let there = |key| read(directory, |tx| tx.history(&key)).is_some();
    assert_eq!(elsewhere.map(there), [true, false, true]);
}

fn old_rows_come_in_the_order_of_their_hours(directory: &dyn Directory) {
    let key = |app, talk, hour| HistoryKey { app, talk, hour };
    let (other, named) = (AppId(1), |hour: u64| format!("file {hour}"));
    let keys = [
        key(APP, Talk::Pairs, 1),
        key(other, Talk::Pairs, 2),
        key(other, Talk::Groups, 2),
        key(APP, Talk::Pairs, 2),
        key(other, Talk::Groups, 3),
        key(APP, Talk::Groups, 9),
    ];
    for key in keys.iter().rev() {
        put(directory, *key, &HistoryRow { media: named(key.hour), ..file(1_000, 0) });
    }
    let old = |hour, limit| read(directory, |tx| tx.old_history(hour, limit));
    let all = keys.map(|key| (key, named(key.hour)));
    for (hour, rows) in [(0, 0), (1, 0), (2, 1), (3, 4), (4, 5), (9, 5), (10, 6), (u64::MAX, 6)] {
        assert_eq!(old(hour, 100), all[..rows], "in front of {hour}");
    }
    assert_eq!(old(u64::MAX, 3), all[..3]);
    assert_eq!(old(2, 3), all[..1]);
    write(directory, |tx| keys[..3].iter().try_for_each(|key| tx.remove_history(key)));
    assert_eq!(old(u64::MAX, 2), all[3..5]);
}

fn what_fails_leaves_no_row(directory: &dyn Directory) {
    put(directory, pairs(1), &file(1_000, 0));
    let failed = directory.write_people(&mut |tx| {
        tx.put_history(&pairs(1), &file(1_000, 2_000))?;
        tx.put_history(&pairs(2), &file(1_000, 0))?;
        Err(DirectoryError::Abandoned)
    });
    assert!(matches!(failed, Err(DirectoryError::Abandoned)));
    let rows = read(directory, |tx| Ok((tx.history(&pairs(1))?, tx.history(&pairs(2))?)));
    assert_eq!(rows, (Some(file(1_000, 0)), None));
}
