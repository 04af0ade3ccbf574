//! The commit watermark: how many commits were acknowledged, kept outside fjall.
//!
//! fjall cannot tell acknowledged commits that are missing from a torn tail that nobody was told about: it drops
//! both (fjall issue 311). So we keep our own count in a file beside it.
//!
//! The file has two slots of 48 bytes, at offsets 0 and 4096 (two pages, two device blocks), written in turn: a
//! torn write loses one, never both. A slot is, big endian:
//!
//! | bytes | what |
//! | --- | --- |
//! | 0-7 | `NPWMARK1` |
//! | 8-23 | store id |
//! | 24-31 | base: commits up to here are not checked for holes (see `accept`) |
//! | 32-39 | commit number |
//! | 40-47 | XXH3-64 of bytes 0-39 |
//!
//! The number is written after the commit is durable and before it is acknowledged, and synced now and then. After
//! a crash of the process the page cache still has it, so it is exact. After a power loss it may lag by what was
//! not synced yet. It never leads, so it never raises a false alarm.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use xxhash_rust::xxh3::xxh3_64;

use super::keys::StoreId;

const MAGIC: [u8; 8] = *b"NPWMARK1";
const SLOT_BYTES: usize = 48;
const SLOT_OFFSETS: [u64; 2] = [0, 4096];
const FILE_BYTES: usize = 8192;

/// What a slot says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) store: StoreId,
    pub(super) base: u64,
    pub(super) number: u64,
}

impl Record {
    fn encode(&self) -> [u8; SLOT_BYTES] {
        let mut slot = [0; SLOT_BYTES];
        slot[..8].copy_from_slice(&MAGIC);
        slot[8..24].copy_from_slice(&self.store);
        slot[24..32].copy_from_slice(&self.base.to_be_bytes());
        slot[32..40].copy_from_slice(&self.number.to_be_bytes());
        let sum = xxh3_64(&slot[..40]);
        slot[40..].copy_from_slice(&sum.to_be_bytes());
        slot
    }

    fn decode(slot: &[u8; SLOT_BYTES]) -> Option<Self> {
        let number = |at: usize| u64::from_be_bytes(slot[at..at + 8].try_into().expect("8 bytes of a slot"));
        let valid = slot[..8] == MAGIC && number(40) == xxh3_64(&slot[..40]);
        valid.then(|| Self {
            store: slot[8..24].try_into().expect("16 bytes of a slot"),
            base: number(24),
            number: number(32),
        })
    }
}

/// The open file.
#[derive(Debug)]
pub(super) struct Watermark {
    file: File,
    record: Record,
    unsynced_since: Option<Instant>,
}

impl Watermark {
    /// Makes the file, durable when this returns. The caller syncs the directory.
    pub(super) fn create(path: &Path, record: Record) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        // All blocks are allocated now: a full disk must not keep the watermark of a durable commit from being written.
        file.write_all_at(&[0; FILE_BYTES], 0)?;
        file.write_all_at(&record.encode(), SLOT_OFFSETS[0])?;
        file.write_all_at(&record.encode(), SLOT_OFFSETS[1])?;
        file.sync_all()?;
        Ok(Self { file, record, unsynced_since: None })
    }

    /// Opens the file. The inner `None` means that no slot is readable.
    pub(super) fn open(path: &Path) -> io::Result<Option<Self>> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let mut best: Option<Record> = None;
        for offset in SLOT_OFFSETS {
            let mut slot = [0; SLOT_BYTES];
            match file.read_exact_at(&mut slot, offset) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => continue,
                Err(error) => return Err(error),
            }
            let newer = |record: &Record| {
                best.is_none_or(|best| (record.base, record.number) > (best.base, best.number))
            };
            best = Record::decode(&slot).filter(newer).or(best);
        }
        Ok(best.map(|record| Self { file, record, unsynced_since: None }))
    }

    pub(super) fn record(&self) -> Record {
        self.record
    }

    /// Notes that commit `number` is durable. Syncs the file if the oldest unsynced note is `interval` old, and says
    /// whether it did.
    pub(super) fn advance(&mut self, number: u64, now: Instant, interval: Duration) -> io::Result<bool> {
        self.record.number = number;
        let slot = if number.is_multiple_of(2) { SLOT_OFFSETS[0] } else { SLOT_OFFSETS[1] };
        self.file.write_all_at(&self.record.encode(), slot)?;
        let since = *self.unsynced_since.get_or_insert(now);
        let due = now.duration_since(since) >= interval;
        if due {
            self.sync()?;
        }
        Ok(due)
    }

    /// Makes everything noted durable.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        self.unsynced_since = None;
        Ok(())
    }

    /// Takes `number` for the truth, whatever was noted before: the operator accepted that commits are missing.
    pub(super) fn accept(&mut self, number: u64) -> io::Result<()> {
        self.record.base = number;
        self.record.number = number;
        for offset in SLOT_OFFSETS {
            self.file.write_all_at(&self.record.encode(), offset)?;
            self.file.sync_data()?;
        }
        self.unsynced_since = None;
        Ok(())
    }
}

impl Drop for Watermark {
    fn drop(&mut self) {
        if self.unsynced_since.is_some()
            && let Err(error) = self.sync()
        {
            tracing::warn!(%error, "watermark not synced at close");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATER: Duration = Duration::from_secs(3600);

    fn written(path: &Path, commits: u64) -> Watermark {
        let mut mark = Watermark::create(path, Record { store: [7; 16], base: 0, number: 0 }).unwrap();
        let now = Instant::now();
        for number in 1..=commits {
            assert!(!mark.advance(number, now, LATER).unwrap());
        }
        mark
    }

    #[test]
    fn the_last_number_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("watermark");
        for commits in 0..5 {
            drop(written(&path, commits));
            assert_eq!(Watermark::open(&path).unwrap().unwrap().record().number, commits);
        }
    }

    #[test]
    fn a_torn_write_loses_the_newest_number_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("watermark");
        for torn_at in 0..SLOT_BYTES as u64 {
            let mark = written(&path, 9);
            // 10 goes to slot 0, over 8; its bytes from `torn_at` on never arrived.
            let mut slot = Record { number: 10, ..mark.record() }.encode();
            slot[usize::try_from(torn_at).unwrap()..].fill(0xEE);
            mark.file.write_all_at(&slot, SLOT_OFFSETS[0]).unwrap();
            drop(mark);
            assert_eq!(Watermark::open(&path).unwrap().unwrap().record().number, 9, "torn at {torn_at}");
        }
    }

    #[test]
    fn two_unreadable_slots_are_told_apart_from_a_new_store() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("watermark");
        drop(written(&path, 3));
        std::fs::write(&path, [0; 100]).unwrap();
        assert!(Watermark::open(&path).unwrap().is_none());
    }

    #[test]
    fn an_accepted_number_replaces_a_larger_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("watermark");
        written(&path, 9).accept(4).unwrap();
        let record = Watermark::open(&path).unwrap().unwrap().record();
        assert_eq!((record.base, record.number), (4, 4));
    }

    #[test]
    fn syncs_follow_the_interval() {
        let dir = tempfile::tempdir().unwrap();
        let mut mark = written(&dir.path().join("watermark"), 1);
        let start = mark.unsynced_since.unwrap();
        let second = Duration::from_secs(1);
        assert!(!mark.advance(2, start + second / 2, second).unwrap());
        assert!(mark.advance(3, start + second, second).unwrap());
        assert!(!mark.advance(4, start + second * 2, second).unwrap(), "counts from the first unsynced note");
    }
}
