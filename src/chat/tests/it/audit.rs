//! The writer of the audit log: groups, floods, a store that takes nothing, the end of what is kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nearport_chat::audit::log::{AuditLog, Config, NotWritten, SEGMENT};
use nearport_chat::audit::{Entry, Verifier};
use nearport_chat::directory::AuditStore as _;
use nearport_store::MemoryDirectory;

const MINUTE: u64 = 60_000;

fn entry(act: &str, time_ms: u64) -> Entry {
    Entry { act: act.to_owned(), app: 1, code: 7, time_ms, ..Entry::default() }
}

fn records(directory: &MemoryDirectory) -> Vec<Entry> {
    let marks = directory.audit_marks().unwrap();
    let all = directory.audit_read(0, usize::MAX).unwrap();
    let (mut verifier, mut broken) = (Verifier::new(marks, None), Vec::new());
    all.iter().for_each(|record| verifier.take(record, &mut broken));
    verifier.end(&mut broken);
    assert_eq!(broken, []);
    all.iter().map(|record| record.entry().unwrap().1).collect()
}

/// Runs `act` beside the thread that writes, whose clock is what `act` sets.
fn with_log(config: Config, act: impl FnOnce(&MemoryDirectory, &Arc<AuditLog>, &AtomicU64)) -> Vec<Entry> {
    let directory = MemoryDirectory::new();
    let log = Arc::new(AuditLog::new(Arc::new(directory.clone()), config));
    let now_ms = AtomicU64::new(10 * MINUTE);
    std::thread::scope(|scope| {
        scope.spawn(|| log.run(&|| now_ms.load(Ordering::Relaxed)));
        let _end = End(&log);
        act(&directory, &log, &now_ms);
    });
    records(&directory)
}

/// Ends the log also when a test fails, which would wait for its thread else.
struct End<'a>(&'a AuditLog);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

#[test]
fn an_act_is_recorded_before_it_is_acknowledged_and_one_that_nobody_waits_for_too() {
    let all = with_log(Config::default(), |directory, log, _| {
        let permits: Vec<_> = (0..100).map(|n| log.permit(entry("act", n)).unwrap()).collect();
        assert_eq!(records(directory), [], "nothing is done yet");
        let told: Vec<_> = permits.into_iter().map(|permit| permit.record(3)).collect();
        assert!(told.into_iter().all(|told| told.wait() == Some(Ok(()))));
        assert_eq!(records(directory).len(), 100);
        drop(log.permit(entry("left", 0)).unwrap());
    });
    assert_eq!((all[0].code, all.len()), (3, 101));
    assert_eq!(all[100].detail["outcome"], "nobody waited for it");
}

#[test]
fn a_store_that_takes_nothing_keeps_acts_from_beginning_and_gets_what_waits() {
    let all = with_log(Config::default(), |directory, log, _| {
        directory.fail_audit(true);
        let permit = log.permit(entry("under way", 0)).unwrap();
        assert_eq!(permit.record(0).wait(), Some(Err(NotWritten)));
        assert_eq!(log.permit(entry("next", 0)).unwrap_err(), NotWritten);
        log.refused(entry("login", 0));
        directory.fail_audit(false);
        let next = loop {
            match log.permit(entry("next", 0)) {
                Ok(permit) => break permit,
                Err(NotWritten) => std::thread::yield_now(),
            }
        };
        assert_eq!(next.record(0).wait(), Some(Ok(())));
    });
    let acts: Vec<_> = all.iter().map(|entry| entry.act.as_str()).collect();
    assert_eq!(acts, ["under way", "login", "next"], "in their order, each once");
}

#[test]
fn acts_have_a_bound() {
    with_log(Config::default(), |_, log, _| {
        let held: Vec<_> = (0..4096).map(|n| log.permit(entry("act", n)).unwrap()).collect();
        assert_eq!(log.permit(entry("one more", 0)).unwrap_err(), NotWritten);
        let told: Vec<_> = held.into_iter().map(|permit| permit.record(0)).collect();
        assert!(told.into_iter().all(|told| told.wait() == Some(Ok(()))));
        log.permit(entry("again", 0)).unwrap();
    });
}

#[test]
fn a_flood_of_refused_logins_is_a_few_records_and_a_count() {
    let all = with_log(Config::default(), |_, log, _| {
        for n in 0..100_000 {
            let app = u32::try_from(n % 7).unwrap();
            log.refused(Entry {
                app,
                who: format!("eve{n}"),
                ..entry("login refused", 10 * MINUTE + n % 1000)
            });
        }
        // The next minute.
        log.refused(entry("login refused", 11 * MINUTE));
    });
    let (counts, single): (Vec<_>, Vec<_>) = all.iter().partition(|entry| entry.detail.contains_key("count"));
    assert_eq!((single.len(), counts.len()), (61, 7));
    assert!(counts.iter().all(|count| count.who.is_empty()), "names are anybody's to make up");
    let folded: u64 = counts.iter().map(|count| count.detail["count"].parse::<u64>().unwrap()).sum();
    assert_eq!(folded + 60, 100_000, "none is forgotten");
}

#[test]
fn what_is_counted_has_a_record_when_the_minute_or_the_process_ends() {
    let all = with_log(Config::default(), |_, log, _| {
        for n in 0..5 {
            log.count(1, "admin", "rest openim/sendmsg".to_owned(), 0, 10 * MINUTE + n);
        }
        log.count(1, "admin", "rest openim/sendmsg".to_owned(), 0, 11 * MINUTE);
        // More than are counted apart.
        for n in 0..2000 {
            log.count(1, &format!("admin{n}"), "x".to_owned(), 0, 11 * MINUTE);
        }
    });
    let count = |entry: &Entry| entry.detail["count"].parse::<u64>().unwrap();
    assert_eq!((count(&all[0]), &*all[0].detail["since_ms"], all[0].time_ms), (5, "600000", 600_004));
    assert_eq!(all.iter().map(count).sum::<u64>(), 2006);
    assert!(all.len() <= 1 + 1025, "{}", all.len());
}

#[test]
fn what_is_too_much_or_too_old_goes_by_segments_and_the_rest_holds() {
    let day = 86_400_000;
    let many: Vec<_> = (0..3 * SEGMENT + 10).map(|n| entry("old", n)).collect();
    for (config, now_ms, left) in [
        (Config { records_max: 2 * SEGMENT, retention_days: 0, ..Config::default() }, day, 2 * SEGMENT),
        (Config { records_max: 0, retention_days: 1, ..Config::default() }, 3 * day, SEGMENT),
        (Config { records_max: 0, retention_days: 0, ..Config::default() }, 300 * day, 4 * SEGMENT),
    ] {
        let directory = MemoryDirectory::new();
        directory.audit_append(&many).unwrap();
        let log = AuditLog::new(Arc::new(directory.clone()), config.clone());
        std::thread::scope(|scope| {
            scope.spawn(|| log.run(&|| now_ms));
            let kept = || {
                let marks = directory.audit_marks().unwrap();
                marks.head.seq - marks.floor.seq
            };
            while kept() > left {
                std::thread::yield_now();
            }
            log.end();
        });
        let all = records(&directory);
        let trims: Vec<_> = all.iter().filter(|entry| entry.act == "audit trim").collect();
        let marks = directory.audit_marks().unwrap();
        assert_eq!(marks.floor.seq, SEGMENT * trims.len() as u64, "{config:?}");
        assert!(all.len() as u64 >= 10, "{config:?}");
        if let Some(last) = trims.last() {
            assert_eq!(last.detail["floor_hash"], marks.floor.hash.to_string());
        }
    }
}
