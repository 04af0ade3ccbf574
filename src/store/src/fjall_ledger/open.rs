//! The start of a ledger: lock, look at the watermark and the journals, and only then let fjall recover.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, OnceLock};

use nearport_chat::key::{ConvKey, ConvKind};
use nearport_chat::ledger::LedgerError;

use super::journal::{self, Verdict};
use super::keys::{self, COMMIT_KEY, Commit, StoreId};
use super::metrics::Metrics;
use super::options::{Keyspaces, Options, open_database};
use super::owners::Owners;
use super::watermark::{Record, Watermark};
use super::{FjallLedger, Writer, is_full, read};
use crate::lock::StoreLock;

/// fjall writes this file last when it makes a database.
const FJALL_MARKER: &str = "version";

const WHAT_TO_DO: &str =
    "restore the store from a backup, or open it once with `accept_missing_commits` to go on without them";

pub(super) fn open(dir: &Path, options: Options) -> Result<FjallLedger, LedgerError> {
    std::fs::create_dir_all(dir).map_err(io_error)?;
    let lock = StoreLock::acquire(dir)?;
    let db_dir = dir.join("db");
    let has_db = db_dir.join(FJALL_MARKER).try_exists().map_err(io_error)?;
    let watermark = open_watermark(dir, has_db, &options)?;
    let unflushed_bytes = match &watermark {
        Some(watermark) if has_db => check_journals(&db_dir, watermark.record(), &options)?,
        // Half made when a crash came: nothing was ever acknowledged, and fjall would trip over its own files.
        Some(_) if db_dir.try_exists().map_err(io_error)? => {
            std::fs::remove_dir_all(&db_dir).map_err(io_error)?;
            0
        }
        _ => 0,
    };

    let db = open_database(&db_dir, &options).map_err(|error| open_error(&error))?;
    let keyspaces = Keyspaces::open(&db).map_err(|error| open_error(&error))?;
    let row = keyspaces.meta.get(COMMIT_KEY).map_err(|error| open_error(&error))?;
    let unreadable = || LedgerError::Damaged("the commit row is unreadable".to_owned());
    let row = row.map(|value| Commit::decode(&value).ok_or_else(unreadable)).transpose()?;
    let watermark = check_commits(dir, watermark, row, &options)?;
    let record = watermark.record();
    let last = row.unwrap_or(Commit { number: 0, store: record.store, next_user: 0, next_conv: 0 });
    let ledger = FjallLedger {
        trimming: Mutex::new(()),
        amendments: AtomicU64::new(0),
        writer: Mutex::new(Writer {
            last,
            watermark,
            convs: Owners::new(options.owners_max),
            users: Owners::new(options.owners_max),
            unflushed_bytes,
            key: Vec::new(),
            value: Vec::new(),
            seen: HashMap::new(),
            moved: HashMap::new(),
            skipped: HashMap::new(),
            outbox: HashMap::new(),
            flusher: None,
        }),
        keyspaces,
        db,
        dir: dir.to_owned(),
        options,
        stopped: OnceLock::new(),
        metrics: Metrics::new(),
        _lock: lock,
    };
    ledger.add_pairs()?;
    Ok(ledger)
}

impl FjallLedger {
    /// Adds the rows of `pairs` to a store from before there were any; all in one commit, so that there are all or none.
    fn add_pairs(&self) -> Result<(), LedgerError> {
        if !self.keyspaces.pairs.is_empty().map_err(|e| read::error(&e))? {
            return Ok(());
        }
        let mut writer = self.writer();
        let mut rows = self.rows(0);
        for name in self.keyspaces.ids.prefix(b"n") {
            let name = name.value().map_err(|e| read::error(&e))?;
            let conv = ConvKey::from_bytes(&name)
                .ok_or_else(|| LedgerError::Damaged("a name is unreadable".to_owned()))?;
            let ConvKind::Pair(a, b) = conv.kind() else { continue };
            for user in std::iter::once(&a).chain((a != b).then_some(&b)) {
                if let Some(id) = self.user_id(user)? {
                    rows.insert(&self.keyspaces.pairs, &keys::pair_key(id, conv.as_bytes()), &[]);
                }
            }
        }
        self.seal(&mut writer, rows)
    }
}

/// The watermark, made for a new store. `None` means: lost, and the operator accepted that.
fn open_watermark(dir: &Path, has_db: bool, options: &Options) -> Result<Option<Watermark>, LedgerError> {
    let path = dir.join("watermark");
    let found = path.try_exists().map_err(io_error)?;
    if !found && !has_db {
        let record = Record { store: new_store_id().map_err(io_error)?, base: 0, number: 0 };
        let watermark = Watermark::create(&path, record).map_err(io_error)?;
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(io_error)?;
        return Ok(Some(watermark));
    }
    let watermark = if found { Watermark::open(&path).map_err(io_error)? } else { None };
    match watermark {
        // Torn while it was being made, before fjall's files: the store is new.
        None if !has_db => {
            std::fs::remove_file(&path).map_err(io_error)?;
            open_watermark(dir, has_db, options)
        }
        None if !options.accept_missing_commits => Err(LedgerError::Damaged(format!(
            "{} is missing or unreadable, so nobody can tell whether acknowledged commits are missing; {WHAT_TO_DO}",
            path.display()
        ))),
        Some(watermark) if !has_db && watermark.record().number > 0 && !options.accept_missing_commits => {
            Err(LedgerError::Damaged(format!(
                "all {} acknowledged commits are missing from {}; {WHAT_TO_DO}",
                watermark.record().number,
                dir.join("db").display()
            )))
        }
        watermark => Ok(watermark),
    }
}

/// Looks at the journals and returns the bytes of the newest one, which recovery will put back into memory.
fn check_journals(db_dir: &Path, record: Record, options: &Options) -> Result<u64, LedgerError> {
    let journals = journal::read_all(db_dir, &record.store).map_err(io_error)?;
    let Some(newest) = journals.last() else { return Ok(0) };
    let bytes = newest.content.readable as u64;
    match journal::judge(&journals, record.base, record.number) {
        Verdict::Sound => Ok(bytes),
        Verdict::Cut { certain } => {
            tracing::warn!(journal = %newest.path.display(), at = bytes, "cutting off a torn commit");
            if !certain {
                journal::keep_copy(newest).map_err(io_error)?;
            }
            journal::cut(newest).map_err(io_error)?;
            Ok(bytes)
        }
        Verdict::Damaged(reason) if options.accept_missing_commits => {
            tracing::warn!(%reason, "opening a damaged store, as asked");
            for journal in journals.iter().filter(|journal| journal.content.tail != journal::Tail::Clean) {
                journal::keep_copy(journal).and_then(|()| journal::cut(journal)).map_err(io_error)?;
            }
            Ok(bytes)
        }
        Verdict::Damaged(reason) => Err(LedgerError::Damaged(format!("{reason}; {WHAT_TO_DO}"))),
    }
}

/// Compares what fjall recovered with the watermark, and brings the watermark up to it.
fn check_commits(
    dir: &Path,
    watermark: Option<Watermark>,
    row: Option<Commit>,
    options: &Options,
) -> Result<Watermark, LedgerError> {
    let stored = row.map_or(0, |row| row.number);
    let Some(mut watermark) = watermark else {
        let store = row.map_or_else(new_store_id, |row| Ok(row.store)).map_err(io_error)?;
        return Watermark::create(&dir.join("watermark"), Record { store, base: stored, number: stored })
            .map_err(io_error);
    };
    let record = watermark.record();
    if row.is_some_and(|row| row.store != record.store) {
        return Err(LedgerError::Damaged(
            "the watermark belongs to another store; restore both from the same backup".to_owned(),
        ));
    }
    if options.accept_missing_commits {
        watermark.accept(stored).map_err(io_error)?;
    } else if stored < record.number {
        return Err(LedgerError::Damaged(format!(
            "the store ends at commit {stored}, but commit {} was acknowledged: {} commits are missing; {WHAT_TO_DO}",
            record.number,
            record.number - stored
        )));
    } else if stored > record.number {
        watermark.advance(stored, std::time::Instant::now(), std::time::Duration::ZERO).map_err(io_error)?;
    }
    Ok(watermark)
}

fn new_store_id() -> io::Result<StoreId> {
    let mut id = StoreId::default();
    File::open("/dev/urandom")?.read_exact(&mut id)?;
    Ok(id)
}

#[expect(clippy::needless_pass_by_value, reason = "shape of `map_err`")]
pub(super) fn io_error(error: io::Error) -> LedgerError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => LedgerError::Full(error.to_string()),
        _ => LedgerError::Io(error.to_string()),
    }
}

pub(super) fn open_error(error: &fjall::Error) -> LedgerError {
    match error {
        error if is_full(error) => LedgerError::Full(error.to_string()),
        fjall::Error::Locked => LedgerError::Locked(error.to_string()),
        fjall::Error::Io(_) | fjall::Error::Storage(fjall::LsmError::Io(_)) => {
            LedgerError::Io(error.to_string())
        }
        _ => LedgerError::Damaged(format!("{error}; {WHAT_TO_DO}")),
    }
}
