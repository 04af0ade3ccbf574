//! A disk that fills up: commits fail as `Full`, reads go on, and everything acknowledged is there later.

use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use nearport_chat::key::ConvKey;
use nearport_chat::ledger::{Batch, Ledger, LedgerError, Range};
use nearport_store::{FjallLedger, Options};

use crate::support::{ALL, pair_message, user};

/// A small file system in memory, unmounted when dropped.
struct Mount(PathBuf);

impl Mount {
    fn new(at: &Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let options = format!("size={size}");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(at).output();
        match mount {
            Ok(output) if output.status.success() => Some(Self(at.to_owned())),
            Ok(output) => {
                println!("skipped, cannot mount: {}", String::from_utf8_lossy(&output.stderr).trim());
                None
            }
            Err(error) => {
                println!("skipped, cannot run mount: {error}");
                None
            }
        }
    }

    fn resize(&self, size: &str) {
        let options = format!("remount,size={size}");
        assert!(Command::new("mount").args(["-o", &options]).arg(&self.0).status().unwrap().success());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn batch(number: u64) -> Batch {
    let body = Bytes::from(vec![u8::try_from(number % 251).unwrap(); 20_000]);
    Batch { appends: vec![pair_message(1, 2, number, body)], ..Batch::default() }
}

/// Fills the disk and returns how many commits were acknowledged.
fn fill(ledger: &FjallLedger) -> u64 {
    for number in 1..10_000 {
        match ledger.commit(&batch(number)) {
            Ok(_) => {}
            Err(error) => {
                assert!(matches!(error, LedgerError::Full(_)), "commit {number}: {error}");
                return number - 1;
            }
        }
    }
    panic!("the disk never filled up");
}

fn fills_up(name: &str, size: &str, flush_bytes: u64) {
    let dir = tempfile::tempdir().unwrap();
    let Some(mount) = Mount::new(&dir.path().join(name), size) else { return };
    let store = mount.0.join("store");
    let mut options = Options::default();
    options.flush_bytes = flush_bytes;
    let ledger = FjallLedger::open(&store, options.clone()).unwrap();
    let conv = ConvKey::pair(&user(1), &user(2));
    let acked = fill(&ledger);
    assert!(acked > 10);

    for _ in 0..3 {
        let again = ledger.commit(&batch(acked + 1)).unwrap_err();
        assert!(matches!(again, LedgerError::Full(_)), "{again}");
    }
    assert!(matches!(ledger.writable(), Err(LedgerError::Full(_))));
    assert_eq!(ledger.head(&conv).unwrap(), acked);
    assert_eq!(ledger.read(&conv, Range::Before(u64::MAX), ALL).unwrap().len() as u64, acked);

    // Space alone is not enough: what the disk holds is unknown until the store is opened again.
    mount.resize("500m");
    let still = ledger.commit(&batch(acked + 1)).unwrap_err();
    assert!(matches!(still, LedgerError::Full(_)), "{still}");
    drop(ledger);

    let ledger = FjallLedger::open(&store, options).unwrap();
    let head = ledger.head(&conv).unwrap();
    assert!((acked..=acked + 1).contains(&head), "{head} messages, {acked} acknowledged");
    // The one commit that failed may exist. Sending it again settles it without a second message.
    let settled = ledger.commit(&batch(acked + 1)).unwrap().appended;
    assert_eq!((settled[0].seq, settled[0].duplicate), (acked + 1, head == acked + 1));
    assert_eq!(ledger.commit(&batch(acked + 2)).unwrap().appended[0].seq, acked + 2);
    assert_eq!(ledger.read(&conv, Range::After(0), ALL).unwrap().len() as u64, acked + 2);
}

#[test]
fn in_the_journal() {
    fills_up("journal", "20m", 1 << 30);
}

#[test]
fn in_a_flush() {
    fills_up("flush", "20m", 6 << 20);
}
