//! What a crash may cost: nothing that was acknowledged, or a start that refuses.
//!
//! The promise, on the counting load: after a crash the store holds exactly the first `n` batches, whole, with `n`
//! at least the number of commits that had returned, or it refuses to open and says how many are missing.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nearport_chat::ledger::{Ledger, LedgerError};
use nearport_store::{FjallLedger, Options};

use crate::support::{check, copy_dir, counting_batch, journal, open, used_bytes, write};

fn truncate(path: &Path, len: u64) {
    OpenOptions::new().write(true).open(path).unwrap().set_len(len).unwrap();
}

fn flip(path: &Path, at: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x40], at).unwrap();
}

fn accepting() -> Options {
    let mut options = Options::default();
    options.accept_missing_commits = true;
    options
}

fn damage(result: Result<FjallLedger, LedgerError>) -> String {
    match result {
        Err(LedgerError::Damaged(reason)) => reason,
        other => panic!("not refused as damaged: {other:?}"),
    }
}

/// A closed store with `commits` batches, and the watermark file as it was after `acknowledged` of them: the state
/// on disk when a process dies in commit `acknowledged + 1`.
fn store(dir: &Path, acknowledged: u64, commits: u64) -> std::path::PathBuf {
    let path = dir.join("store");
    let ledger = open(&path).unwrap();
    write(&ledger, 1..=acknowledged);
    let watermark = std::fs::read(path.join("watermark")).unwrap();
    write(&ledger, acknowledged + 1..=commits);
    drop(ledger);
    std::fs::write(path.join("watermark"), watermark).unwrap();
    path
}

#[test]
fn a_copy_of_a_live_store_opens_with_everything_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let live = dir.path().join("live");
    let mut options = Options::default();
    options.flush_bytes = 20_000;
    let ledger = FjallLedger::open(&live, options.clone()).unwrap();
    for round in 1..=12u64 {
        let commits = round * 17;
        write(&ledger, commits - 16..=commits);
        // No writer is active, but fjall's flushes and compactions are: the copy sees files come and go, as a
        // machine that loses power does. A file that went during the copy makes the copy useless, not the store.
        let copy = dir.path().join(format!("copy{round}"));
        while ledger.writable().is_ok() {
            let status = Command::new("cp")
                .args(["-r", "--sparse=always"])
                .args([&live, &copy])
                .stderr(Stdio::null())
                .status();
            if status.unwrap().success() {
                break;
            }
            std::fs::remove_dir_all(&copy).unwrap();
        }
        match FjallLedger::open(&copy, options.clone()) {
            Ok(copied) => {
                assert_eq!(copied.commit_number(), commits);
                check(&copied, commits);
            }
            // The copy is not one moment: a flush in the middle of it can tear it. Then it must not open.
            Err(error) => assert!(matches!(error, LedgerError::Damaged(_) | LedgerError::Io(_)), "{error}"),
        }
        std::fs::remove_dir_all(&copy).unwrap();
    }
    check(&ledger, 12 * 17);
}

#[test]
fn a_journal_cut_at_every_byte_of_an_unacknowledged_commit_loses_that_commit_only() {
    const ACKNOWLEDGED: u64 = 20;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let ledger = open(&path).unwrap();
    write(&ledger, 1..=ACKNOWLEDGED);
    let watermark = std::fs::read(path.join("watermark")).unwrap();
    let start = used_bytes(&journal(&path));
    write(&ledger, ACKNOWLEDGED + 1..=ACKNOWLEDGED + 1);
    let end = used_bytes(&journal(&path));
    drop(ledger);
    std::fs::write(path.join("watermark"), watermark).unwrap();

    assert!(end - start < 1_200, "the test opens a store per length");
    // Every byte of the last two rows and of the end marker, every third before: about 400 of 1,000.
    let lengths = (start..end - 120).step_by(3).chain(end - 120..=end);
    for len in lengths {
        let copy = dir.path().join("copy");
        copy_dir(&path, &copy);
        truncate(&journal(&copy), len);
        if len % 2 == 0 {
            // As fjall leaves it: the file is longer than what was written.
            truncate(&journal(&copy), end + 4096);
        }
        let ledger = open(&copy).unwrap_or_else(|error| panic!("cut at {len} of {start}..={end}: {error}"));
        let commits = ACKNOWLEDGED + u64::from(len == end);
        assert_eq!(ledger.commit_number(), commits, "cut at {len} of {start}..={end}");
        check(&ledger, commits);
        if len % 16 == 0 || len == end {
            // The store goes on from there, across another start.
            write(&ledger, commits + 1..=commits + 2);
            drop(ledger);
            check(&open(&copy).unwrap(), commits + 2);
        } else {
            drop(ledger);
        }
        std::fs::remove_dir_all(&copy).unwrap();
    }
}

#[test]
fn a_journal_cut_before_an_acknowledged_commit_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = store(dir.path(), 20, 20);
    let end = used_bytes(&journal(&path));
    for len in (0..end).step_by(usize::try_from(end / 60).unwrap()).chain([end - 1]) {
        let copy = dir.path().join("copy");
        copy_dir(&path, &copy);
        truncate(&journal(&copy), len);
        let reason = damage(open(&copy));
        assert!(reason.contains("commit 20 was acknowledged"), "cut at {len}: {reason}");
        assert!(reason.contains("accept_missing_commits"), "{reason}");
        damage(open(&copy));
        // Once accepted, the store is whole again up to the cut, and later starts are quiet.
        let ledger = FjallLedger::open(&copy, accepting()).unwrap();
        let kept = ledger.commit_number();
        assert!(kept < 20);
        check(&ledger, kept);
        write(&ledger, kept + 1..=kept + 3);
        drop(ledger);
        check(&open(&copy).unwrap(), kept + 3);
        std::fs::remove_dir_all(&copy).unwrap();
    }
}

#[test]
fn a_flipped_byte_in_the_middle_of_the_journal_is_refused_and_what_follows_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    // The watermark lags by five, as after a power loss: here it alone would not notice.
    let path = store(dir.path(), 25, 30);
    let end = used_bytes(&journal(&path));
    let mut refused = 0;
    for at in (0..end * 4 / 5).step_by(usize::try_from(end / 200).unwrap()) {
        let copy = dir.path().join("copy");
        copy_dir(&path, &copy);
        flip(&journal(&copy), at);
        let before = std::fs::read(journal(&copy)).unwrap();
        let reason = damage(open(&copy));
        assert!(reason.contains(".jnl"), "byte {at}: {reason}");
        assert!(std::fs::read(journal(&copy)).unwrap() == before, "byte {at}: the evidence was changed");
        refused += 1;
        if at % 8 == 0 {
            let ledger = FjallLedger::open(&copy, accepting()).unwrap();
            check(&ledger, ledger.commit_number());
            assert!(journal(&copy).with_extension("jnl.damaged").exists());
        }
        std::fs::remove_dir_all(&copy).unwrap();
    }
    assert!(refused > 100);
}

#[test]
fn fjall_alone_drops_what_follows_a_flipped_byte_and_says_nothing() {
    // Why `journal` and `watermark` exist (fjall issue 311). When this fails, fjall has changed: look again.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let ledger = open(&path).unwrap();
    write(&ledger, 1..=10);
    let start_of_11 = used_bytes(&journal(&path));
    write(&ledger, 11..=30);
    drop(ledger);
    flip(&journal(&path), start_of_11);
    drop(fjall::Database::builder(path.join("db")).open().unwrap());
    assert_eq!(used_bytes(&journal(&path)), start_of_11, "commits 11 to 30 are gone");
    assert!(damage(open(&path)).contains("20 commits are missing"));
}

#[test]
fn a_lost_watermark_or_a_lost_database_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = store(dir.path(), 10, 10);
    let copy = dir.path().join("copy");

    copy_dir(&path, &copy);
    std::fs::remove_file(copy.join("watermark")).unwrap();
    assert!(damage(open(&copy)).contains("watermark is missing"));
    check(&FjallLedger::open(&copy, accepting()).unwrap(), 10);
    check(&open(&copy).unwrap(), 10);
    std::fs::remove_dir_all(&copy).unwrap();

    copy_dir(&path, &copy);
    std::fs::remove_dir_all(copy.join("db")).unwrap();
    assert!(damage(open(&copy)).contains("all 10 acknowledged commits are missing"));
    check(&FjallLedger::open(&copy, accepting()).unwrap(), 0);
    std::fs::remove_dir_all(&copy).unwrap();

    copy_dir(&path, &copy);
    let other = store(&dir.path().join("elsewhere"), 10, 10);
    std::fs::copy(other.join("watermark"), copy.join("watermark")).unwrap();
    damage(open(&copy));
}

#[test]
fn a_start_that_died_before_it_finished_is_taken_up_again() {
    let dir = tempfile::tempdir().unwrap();
    for half_made in ["", "db", "db/keyspaces", "db/0.jnl"] {
        let path = dir.path().join(format!("store{}", half_made.len()));
        drop(open(&path).unwrap());
        std::fs::remove_dir_all(path.join("db")).unwrap();
        if half_made.ends_with(".jnl") {
            std::fs::create_dir_all(path.join("db")).unwrap();
            std::fs::write(path.join(half_made), [0; 100]).unwrap();
        } else {
            std::fs::create_dir_all(path.join(half_made)).unwrap();
        }
        let ledger = open(&path).unwrap();
        write(&ledger, 1..=3);
        check(&ledger, 3);
    }
}

const WRITER_DIR: &str = "NEARPORT_TEST_WRITER_DIR";

/// Not a test of its own: what `twenty_kills_lose_nothing` runs in a child process, until that is killed.
#[test]
fn writer_until_killed() {
    let Some(dir) = std::env::var_os(WRITER_DIR) else { return };
    let mut options = Options::default();
    // Flushes, compactions and journals that come and go, every few hundred commits.
    options.flush_bytes = 300_000;
    let ledger = FjallLedger::open(Path::new(&dir), options).unwrap();
    let mut out = File::options().append(true).open("/proc/self/fd/1").unwrap();
    writeln!(out, "acked {}", ledger.commit_number()).unwrap();
    for number in ledger.commit_number() + 1.. {
        ledger.commit(&counting_batch(number)).unwrap();
        writeln!(out, "acked {number}").unwrap();
    }
}

#[test]
fn twenty_kills_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let mut acked = 0;
    for kill in 1..=20u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::writer_until_killed", "--nocapture"])
            .env(WRITER_DIR, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(|line| line.unwrap());
        let number =
            |line: String| line.rsplit_once("acked ").and_then(|(_, number)| number.parse::<u64>().ok());
        // Kill it after a different number of commits each time, and read on what it had said by then.
        for heard in lines.by_ref().filter_map(number).take(usize::try_from(kill * 13).unwrap()) {
            acked = acked.max(heard);
        }
        child.kill().unwrap();
        acked = lines.filter_map(number).fold(acked, u64::max);
        child.wait().unwrap();
        if kill % 5 == 0 {
            let ledger = open(&path).unwrap();
            let commits = ledger.commit_number();
            assert!((acked..=acked + 1).contains(&commits), "{commits} commits, {acked} acknowledged");
            check(&ledger, commits);
        }
    }
    assert!(acked >= 20);
}
