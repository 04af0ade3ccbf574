//! [`FjallLedger`]: the ledger on fjall 3, an LSM tree.
//!
//! A directory holds `LOCK` (one process), `db/` (fjall) and `watermark` (our count of acknowledged commits). One
//! commit is one fjall batch, synced before it returns; fjall's own default only reaches the page cache. The parts:
//!
//! - [`keys`]: the rows;
//! - [`journal`] and [`watermark`]: what makes a start notice that acknowledged commits are missing;
//! - [`open`]: the start, which brings them together;
//! - [`append`] and [`amend`]: what a batch writes;
//! - [`outbox`]: what back ends are to be told;
//! - [`read`]: the trait, with pages and heads;
//! - [`walk`]: the conversations of an App;
//! - [`trim`]: what has become too old;
//! - [`backup`] and [`check`]: a copy beside running commits, and whether a store makes sense;
//! - [`export`]: the rows as PostgreSQL has them;
//! - [`owners`]: the cache that saves a lookup and a seek per message.
//!
//! After any error of a commit the ledger refuses every later one: what the disk holds is unknown then. Reads go on.

mod amend;
mod append;
mod backup;
mod check;
mod export;
mod journal;
mod keys;
mod metrics;
mod open;
mod options;
mod outbox;
mod owners;
mod read;
mod trim;
mod walk;
mod watermark;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fjall::{Database, OwnedWriteBatch, PersistMode};
use nearport_chat::key::{AppId, ConvKey, UserKey};
use nearport_chat::ledger::{Batch, Committed, LedgerError, Shelf};

use self::append::Rows;
pub use self::backup::Copied;
pub use self::check::Checked;
pub(crate) use self::export::{Page, PageMax, Part, State};
use self::keys::{COMMIT_KEY, Commit, ConvId, UserId};
use self::metrics::Metrics;
use self::options::Keyspaces;
pub use self::options::Options;
pub(crate) use self::options::open_database;
use self::owners::Owners;
use self::watermark::Watermark;
use crate::lock::StoreLock;

/// The ledger on fjall. See the module documentation; made by [`FjallLedger::open`].
pub struct FjallLedger {
    // Fields drop in this order: the engine closes before the lock goes.
    writer: Mutex<Writer>,
    /// Held during a step of a trim: one at a time. Taken before `writer`.
    trimming: Mutex<()>,
    /// Counts commits that change what belongs to messages, with the writer's lock and when they are visible. A trim that
    /// has looked before one of them looks again.
    amendments: AtomicU64,
    keyspaces: Keyspaces,
    db: Database,
    dir: PathBuf,
    options: Options,
    stopped: OnceLock<Stopped>,
    metrics: Metrics,
    _lock: StoreLock,
}

/// State of the one thread that commits.
struct Writer {
    /// The commit row of the last durable commit; while a batch is built, with the ids that it gave out.
    last: Commit,
    watermark: Watermark,
    convs: Owners<ConvKey, ConvId>,
    users: Owners<UserKey, UserId>,
    /// Bytes of rows since the last flush was asked for.
    unflushed_bytes: u64,
    /// Reused between rows and commits.
    key: Vec<u8>,
    value: Vec<u8>,
    seen: HashMap<(UserId, [u8; 16]), (u64, u64)>,
    moved: HashMap<Vec<u8>, u64>,
    /// Messages of conversations that are unread for nobody, counting those of the batch.
    skipped: HashMap<ConvId, u64>,
    /// The last numbers that were given out in the outbox; read from the store when they are first asked for.
    outbox: HashMap<(AppId, Shelf), u64>,
    flusher: Option<Flusher>,
}

/// The thread that asks for a flush; dropping it waits for it.
struct Flusher(Option<JoinHandle<fjall::Result<()>>>);

impl Flusher {
    fn wait(mut self) -> fjall::Result<()> {
        self.0.take().map_or(Ok(()), |thread| thread.join().unwrap_or(Err(fjall::Error::Poisoned)))
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        if let Some(thread) = self.0.take() {
            // What it would say, the next start finds out.
            let _ = thread.join();
        }
    }
}

/// Why no more commits are taken.
#[derive(Debug)]
enum Stopped {
    Full(String),
    Failed(String),
}

impl Stopped {
    fn error(&self) -> LedgerError {
        match self {
            Self::Full(reason) => LedgerError::Full(reason.clone()),
            Self::Failed(reason) => LedgerError::Failed(reason.clone()),
        }
    }
}

/// Most sealed memtables and level-0 tables before a commit waits. Both lie below fjall's own thresholds (4 and 20),
/// where it sleeps in a loop that does not notice a dead worker: a disk that fills up would hang the writer for ever.
const SEALED_MAX: usize = 3;
const LEVEL0_TABLES_MAX: usize = 18;

/// How often a commit that waits for flushes looks again. fjall offers no event to wait for.
const STALL_POLL: Duration = Duration::from_millis(2);

impl FjallLedger {
    /// Opens the ledger in `dir`, or makes one there. The parent of `dir` must exist.
    ///
    /// Takes as long as it takes to read the journals twice: about two seconds for the usual most of 200 MB.
    ///
    /// # Errors
    /// [`LedgerError::Locked`] when another process has it open, [`LedgerError::Damaged`] when acknowledged commits
    /// are missing or the files make no sense (nothing is changed then), [`LedgerError::Full`] or
    /// [`LedgerError::Io`] otherwise.
    pub fn open(dir: &std::path::Path, options: Options) -> Result<Self, LedgerError> {
        open::open(dir, options)
    }

    /// Number of the last durable commit, from 1 in the order of commits; 0 for a new store.
    #[must_use]
    pub fn commit_number(&self) -> u64 {
        self.writer().last.number
    }

    /// Whether a compaction is running.
    #[must_use]
    pub fn compacting(&self) -> bool {
        self.db.active_compactions() > 0
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        // A panic in a commit leaves heads that ran ahead: `commit` has stopped the ledger before it can panic.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something that writes, if the ledger takes writes; whatever goes wrong with it stops the ledger.
    fn or_stop<T>(&self, write: impl FnOnce() -> Result<T, LedgerError>) -> Result<T, LedgerError> {
        if let Some(stopped) = self.stopped.get() {
            self.metrics.write_failures.increment(1);
            return Err(stopped.error());
        }
        let unwinding = StopOnUnwind(self);
        let result = write();
        std::mem::forget(unwinding);
        result.inspect_err(|error| {
            self.metrics.write_failures.increment(1);
            self.stop(error);
        })
    }

    fn stop(&self, error: &LedgerError) {
        let stopped = match error {
            LedgerError::Full(reason) => Stopped::Full(reason.clone()),
            other => Stopped::Failed(other.to_string()),
        };
        if self.stopped.set(stopped).is_ok() {
            tracing::error!(%error, "the ledger takes no more writes until the next start");
        }
    }

    /// Says what an error of the engine means for writes.
    fn write_error(&self, error: &fjall::Error) -> LedgerError {
        if is_full(error) {
            return LedgerError::Full(error.to_string());
        }
        // A flush or compaction failed in the background. fjall logs the cause and reports only that; a full disk
        // is by far the likeliest, and the operator can see to it.
        if matches!(error, fjall::Error::Poisoned)
            && let Ok(disk) = rustix::fs::statvfs(&self.dir)
            && disk.f_bavail.saturating_mul(disk.f_frsize) < self.options.flush_bytes
        {
            return LedgerError::Full("a flush or compaction failed for lack of space".to_owned());
        }
        LedgerError::Failed(error.to_string())
    }

    fn commit_batch(&self, batch: &Batch) -> Result<Committed, LedgerError> {
        let mut writer = self.writer();
        let started = Instant::now();
        let number = writer.last.number;
        let done = self.or_stop(|| self.write(&mut writer, batch))?;
        if writer.last.number > number {
            self.metrics.commits.increment(1);
            self.metrics.commit_seconds.record(started.elapsed());
            let written = done.appended.iter().filter(|appended| !appended.duplicate).count();
            self.metrics.messages.increment(written as u64);
            #[expect(clippy::cast_precision_loss, reason = "a batch has at most a few thousand items")]
            self.metrics.batch_items.record(batch.items() as f64);
        }
        Ok(done)
    }

    fn write(&self, writer: &mut Writer, batch: &Batch) -> Result<Committed, LedgerError> {
        self.wait_for_room()?;
        let mut out = self.rows(batch.appends.len() * 5 + (batch.items() - batch.appends.len()) * 2 + 1);
        writer.seen.clear();
        writer.moved.clear();
        writer.skipped.clear();
        writer.convs.trim();
        writer.users.trim();
        let mut done = Committed { appended: Vec::with_capacity(batch.appends.len()), edited: Vec::new() };
        for append in &batch.appends {
            let outcome = self.append(writer, append, batch.appends.len() > 1, &mut out)?;
            done.appended.push(outcome);
        }
        let Batch { edits, hides, receipts, .. } = batch;
        let amends = edits.len() + hides.len() + receipts.len() > 0;
        if amends {
            done.edited = self.amend(writer, batch, &mut out)?;
        }
        for cursor in batch.moves(&done) {
            keys::cursor(&mut writer.key, &cursor.user, &cursor.name);
            if let Some(position) = writer.moved.get_mut(&writer.key) {
                *position = cursor.position.max(*position);
            } else if self.cursor_at(&writer.key)?.is_none_or(|stored| cursor.position > stored) {
                writer.moved.insert(writer.key.clone(), cursor.position);
            }
        }
        for reset in &batch.resets {
            keys::cursor(&mut writer.key, &reset.user, &reset.name);
            writer.moved.insert(writer.key.clone(), reset.position);
        }
        for (key, position) in &writer.moved {
            out.insert(&self.keyspaces.cursors, key, &position.to_be_bytes());
        }
        self.put_outbox(writer, batch, &done, &mut out)?;
        self.seal(writer, out)?;
        if amends {
            self.amendments.fetch_add(1, Ordering::Release);
        }
        Ok(done)
    }

    fn rows(&self, capacity: usize) -> Rows {
        let batch = OwnedWriteBatch::with_capacity(self.db.clone(), capacity);
        Rows { batch: batch.durability(Some(PersistMode::SyncData)), bytes: 0 }
    }

    /// Makes a batch durable as the next commit. One without rows is none: duplicates and cursors that stay rest on what is
    /// visible, hence durable already.
    fn seal(&self, writer: &mut Writer, mut out: Rows) -> Result<(), LedgerError> {
        if out.batch.is_empty() {
            return Ok(());
        }
        let commit = Commit { number: writer.last.number + 1, ..writer.last };
        out.insert(&self.keyspaces.meta, COMMIT_KEY, &commit.encode());
        out.batch.commit().map_err(|error| self.write_error(&error))?;
        writer.last = commit;
        writer.unflushed_bytes += out.bytes;
        let synced = writer
            .watermark
            .advance(commit.number, Instant::now(), self.options.watermark_sync)
            .map_err(|error| LedgerError::Failed(format!("watermark: {error}")))?;
        if synced {
            self.metrics.watermark_syncs.increment(1);
        }
        if writer.unflushed_bytes >= self.options.flush_bytes {
            self.flush(writer)?;
            writer.unflushed_bytes = 0;
        }
        Ok(())
    }

    /// Asks for a flush of all keyspaces: only when all are flushed can fjall remove a journal.
    ///
    /// On a thread of its own, for asking also frees the memory of earlier flushes, hundreds of thousands of small
    /// allocations: 30 ms that the acknowledgements of a batch should not wait for.
    fn flush(&self, writer: &mut Writer) -> Result<(), LedgerError> {
        if let Some(earlier) = writer.flusher.take() {
            earlier.wait().map_err(|error| self.write_error(&error))?;
        }
        let keyspaces = self.keyspaces.clone();
        let work =
            move || keyspaces.all().into_iter().try_for_each(|keyspace| keyspace.rotate_memtable().map(drop));
        let thread = std::thread::Builder::new().name("ledger-flush".to_owned()).spawn(work);
        let thread = thread.map_err(|error| LedgerError::Failed(format!("flush thread: {error}")))?;
        writer.flusher = Some(Flusher(Some(thread)));
        Ok(())
    }

    /// Waits until flushes and compactions have caught up, and notices when they stopped for good.
    fn wait_for_room(&self) -> Result<(), LedgerError> {
        let late = || {
            self.keyspaces.all().into_iter().any(|keyspace| {
                keyspace.sealed_memtable_count() >= SEALED_MAX
                    || keyspace.l0_table_count() >= LEVEL0_TABLES_MAX
            })
        };
        if !late() {
            return Ok(());
        }
        let since = Instant::now();
        while late() {
            self.alive()?;
            std::thread::park_timeout(STALL_POLL);
        }
        self.metrics.stall_seconds.record(since.elapsed());
        Ok(())
    }

    /// Whether fjall's workers are alive. Persisting to the page cache when nothing is buffered is only that check.
    fn alive(&self) -> Result<(), LedgerError> {
        self.db.persist(PersistMode::Buffer).map_err(|error| self.write_error(&error))
    }
}

/// Whether the operating system had no space left for us.
fn is_full(error: &fjall::Error) -> bool {
    use std::io::ErrorKind;
    match error {
        fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) => {
            matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
        }
        _ => false,
    }
}

/// Stops the ledger when a commit panics: heads may have run ahead of the disk.
struct StopOnUnwind<'a>(&'a FjallLedger);

impl Drop for StopOnUnwind<'_> {
    fn drop(&mut self) {
        self.0.stop(&LedgerError::Failed("a commit panicked".to_owned()));
    }
}

impl std::fmt::Debug for FjallLedger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FjallLedger").field("dir", &self.dir).finish_non_exhaustive()
    }
}
