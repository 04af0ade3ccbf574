//! A copy of a ledger that takes commits meanwhile.
//!
//! fjall 3 has no checkpoints, and copying its files while it flushes and compacts tears them. So a copy is made of rows: one
//! snapshot over all keyspaces, which is the state after one commit, is read in order and written as tables of a new
//! database. It costs one pass over the rows and takes no lock that a commit waits for; the snapshot keeps rows that
//! are replaced meanwhile on disk until it is done.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use fjall::Readable;
use nearport_chat::ledger::LedgerError;

use super::keys::{COMMIT_KEY, Commit};
use super::options::{Keyspaces, open_database};
use super::watermark::{Record, Watermark};
use super::{FjallLedger, read};

/// What a copy holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// The commit after which it was taken.
    pub commit: u64,
    /// Messages.
    pub messages: u64,
    /// Rows of every kind.
    pub rows: u64,
}

/// Rows between two looks at whether to stop.
const LOOK_ROWS: u64 = 1024;

impl FjallLedger {
    /// Writes the ledger, as it is after one commit, to the new directory `to`; on disk when it returns. Any number of
    /// commits and reads go on beside it. Ends early with an error when `stop` becomes true.
    ///
    /// # Errors
    /// [`LedgerError::Io`] or [`LedgerError::Full`] of the target, [`LedgerError::Damaged`] for rows that cannot be read. What
    /// was written of the copy then is no ledger: it has no watermark.
    pub fn copy_to(&self, to: &Path, stop: &AtomicBool) -> Result<Copied, LedgerError> {
        let io = |error: std::io::Error| super::open::io_error(error);
        std::fs::create_dir(to).map_err(io)?;
        let snapshot = self.db.snapshot();
        let row = snapshot.get(&self.keyspaces.meta, COMMIT_KEY).map_err(|e| read::error(&e))?;
        let unreadable = || LedgerError::Damaged("the commit row is unreadable".to_owned());
        let store = self.writer().watermark.record().store;
        let commit = match row {
            Some(row) => Commit::decode(&row).ok_or_else(unreadable)?,
            None => Commit { number: 0, store, next_user: 0, next_conv: 0 },
        };
        let mut copied = Copied { commit: commit.number, messages: 0, rows: 0 };
        let failed = |error: fjall::Error| super::open::open_error(&error);
        let db = open_database(&to.join("db"), &self.options).map_err(failed)?;
        let copies = Keyspaces::open(&db).map_err(failed)?;
        for (from, into) in self.keyspaces.all().into_iter().zip(copies.all()) {
            let before = copied.rows;
            let mut rows = snapshot.iter(from).peekable();
            if rows.peek().is_none() {
                continue;
            }
            let mut tables = into.start_ingestion().map_err(failed)?;
            for row in rows {
                if copied.rows.is_multiple_of(LOOK_ROWS) && stop.load(Ordering::Acquire) {
                    return Err(LedgerError::Io("the copy was stopped".to_owned()));
                }
                let (key, value) = row.into_inner().map_err(|e| read::error(&e))?;
                tables.write(key, value).map_err(failed)?;
                copied.rows += 1;
            }
            tables.finish().map_err(failed)?;
            if from.name() == self.keyspaces.messages.name() {
                copied.messages = copied.rows - before;
            }
        }
        drop((copies, db));
        sync(&to.join("db")).map_err(io)?;
        // Last: without it nothing opens the copy.
        let record = Record { store: commit.store, base: commit.number, number: commit.number };
        Watermark::create(&to.join("watermark"), record).map_err(io)?;
        sync(to).map_err(io)?;
        Ok(copied)
    }
}

/// Makes a directory with all that is below it durable.
fn sync(path: &Path) -> std::io::Result<()> {
    if path.is_dir() {
        for entry in std::fs::read_dir(path)? {
            sync(&entry?.path())?;
        }
    }
    File::open(path)?.sync_all()
}
