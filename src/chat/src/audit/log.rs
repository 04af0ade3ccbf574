//! [`AuditLog`]: how a running process writes its records.
//!
//! Whoever acts asks for room first ([`AuditLog::permit`]), acts, and waits for the record ([`Permit::record`]) before anybody hears that
//! the act was done. What waits is written together, in one transaction. If the store takes nothing, acts are refused before
//! they begin; records of those that were under way are kept and written when it does again.
//!
//! What anybody can bring about, refused logins above all, is bounded: the first ones of a minute have a record each, the others are
//! counted, and at the end of the minute each count is a record. A crash loses the counts of its minute and nothing that was
//! acknowledged.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::{Counter, Gauge, Unit, counter, describe_counter, describe_gauge, gauge};

use super::{Entry, Marks};
use crate::admin::Pending;
use crate::admin::pending::Done;
use crate::directory::{Directory, DirectoryError};

/// Acts that may wait for their record at once; more are refused before they begin.
const WAITING_MAX: usize = 4096;

/// Records in one transaction.
const BATCH_MAX: usize = 512;

/// A new look at a store that took nothing; also the longest sleep of the thread.
const RETRY: Duration = Duration::from_secs(1);

/// The length of a count.
const WINDOW_MS: u64 = 60_000;

/// Refused logins that have a record each in a minute: of one App, and in all.
const REFUSED_OF_APP: u32 = 10;
const REFUSED_IN_ALL: u32 = 60;

/// Counts that run at once; what else there is goes into one without a name.
const COUNTS_MAX: usize = 1024;

/// Records that go together when they are old: a segment.
pub const SEGMENT: u64 = 4096;

/// How often it is looked for segments that are too old or too many.
const TRIM_EVERY_MS: u64 = 60_000;

/// Settings of the log.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// A record for each message that a back end sends, instead of counts.
    pub messages: bool,
    /// Days for which records are kept; 0: as long as there is room.
    pub retention_days: u32,
    /// Records that are kept, about 400 bytes each; the oldest go, [`SEGMENT`] at a time. 0: all.
    pub records_max: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { messages: false, retention_days: 400, records_max: 2_000_000 }
    }
}

/// Why an act may not begin, or cannot be acknowledged: its record is not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the audit log cannot be written, try again")]
pub struct NotWritten;

/// The log of one process. See the module documentation.
pub struct AuditLog {
    directory: Arc<dyn Directory>,
    config: Config,
    queue: Mutex<Queue>,
    wake: Condvar,
    /// Permits and records that wait.
    waiting: AtomicUsize,
    counts: Mutex<Counts>,
    metrics: Metrics,
}

#[derive(Default)]
struct Queue {
    entries: VecDeque<Waiting>,
    /// The store took nothing when it was tried last.
    failing: bool,
    ended: bool,
}

struct Waiting {
    entry: Entry,
    /// Whoever waits for it; nobody does for counts, and for what was told already that it failed.
    done: Option<Done<Result<(), NotWritten>>>,
    /// It counts in `waiting`.
    permitted: bool,
}

#[derive(Default)]
struct Counts {
    window: u64,
    refused: BTreeMap<u32, u32>,
    refused_in_all: u32,
    counts: BTreeMap<What, Sum>,
    trimmed_ms: u64,
}

/// What a count is of.
type What = (u32, String, String, u32);

#[derive(Default)]
struct Sum {
    count: u64,
    first_ms: u64,
    last_ms: u64,
}

struct Metrics {
    head: Gauge,
    records: Gauge,
    written: Counter,
    failures: Counter,
    folded: Counter,
}

impl AuditLog {
    /// Over a store; [`Self::run`] writes.
    #[must_use]
    pub fn new(directory: Arc<dyn Directory>, config: Config) -> Self {
        describe_gauge!("nearport_audit_head", Unit::Count, "Number of the newest audit record.");
        describe_gauge!("nearport_audit_records", Unit::Count, "Audit records that are kept.");
        describe_counter!(
            "nearport_audit_records_total",
            Unit::Count,
            "Audit records that this process wrote."
        );
        describe_counter!(
            "nearport_audit_failures_total",
            Unit::Count,
            "Writes of the audit log that failed."
        );
        describe_counter!(
            "nearport_audit_folded_total",
            Unit::Count,
            "Events that are in the audit log as part of a count."
        );
        let metrics = Metrics {
            head: gauge!("nearport_audit_head"),
            records: gauge!("nearport_audit_records"),
            written: counter!("nearport_audit_records_total"),
            failures: counter!("nearport_audit_failures_total"),
            folded: counter!("nearport_audit_folded_total"),
        };
        Self {
            directory,
            config,
            queue: Mutex::default(),
            wake: Condvar::new(),
            waiting: AtomicUsize::new(0),
            counts: Mutex::default(),
            metrics,
        }
    }

    /// Whether each message of a back end has a record.
    #[must_use]
    pub fn messages(&self) -> bool {
        self.config.messages
    }

    /// Room for the record of an act that has not begun. `entry` says what is about to be done.
    ///
    /// # Errors
    /// [`NotWritten`]: the store takes nothing, or too many wait.
    pub fn permit(self: &Arc<Self>, entry: Entry) -> Result<Permit, NotWritten> {
        let queue = self.queue();
        let full = self.waiting.load(Ordering::Acquire) >= WAITING_MAX;
        if full || queue.failing || queue.ended {
            return Err(NotWritten);
        }
        self.waiting.fetch_add(1, Ordering::AcqRel);
        Ok(Permit { log: self.clone(), entry: Some(entry) })
    }

    /// A login that was refused: a record of its own, or part of a count.
    pub fn refused(&self, entry: Entry) {
        let now_ms = entry.time_ms;
        let due = {
            let mut counts = self.counts();
            let due = counts.turn(now_ms);
            let of_app = counts.refused.get(&entry.app).copied().unwrap_or(0);
            if of_app >= REFUSED_OF_APP || counts.refused_in_all >= REFUSED_IN_ALL {
                self.metrics.folded.increment(1);
                counts.add((entry.app, String::new(), entry.act, entry.code), now_ms);
                self.push(due);
                return;
            }
            counts.refused_in_all += 1;
            *counts.refused.entry(entry.app).or_insert(0) += 1;
            due
        };
        self.push(due.into_iter().chain([entry]));
    }

    /// Something that is counted and has no record of its own.
    pub fn count(&self, app: u32, who: &str, act: String, code: u32, now_ms: u64) {
        self.metrics.folded.increment(1);
        let due = {
            let mut counts = self.counts();
            let due = counts.turn(now_ms);
            counts.add((app, who.to_owned(), act, code), now_ms);
            due
        };
        self.push(due);
    }

    /// Puts records into the queue that nobody waits for. Above the bound they are lost and counted.
    fn push(&self, entries: impl IntoIterator<Item = Entry>) {
        let mut queue = self.queue();
        for entry in entries {
            if queue.entries.len() >= WAITING_MAX {
                self.metrics.failures.increment(1);
                continue;
            }
            queue.entries.push_back(Waiting { entry, done: None, permitted: false });
        }
        if !queue.entries.is_empty() {
            self.wake.notify_one();
        }
    }

    /// What has a permit has room.
    fn queue_permitted(&self, entry: Entry, done: Option<Done<Result<(), NotWritten>>>) {
        let mut queue = self.queue();
        queue.entries.push_back(Waiting { entry, done, permitted: true });
        self.wake.notify_one();
    }

    /// Writes what waits, for as long as the log is not ended. `clock` gives Unix milliseconds.
    pub fn run(&self, clock: &dyn Fn() -> u64) {
        loop {
            let (batch, ended) = {
                let mut queue = self.queue();
                if (queue.entries.is_empty() || queue.failing) && !queue.ended {
                    queue = self.wake.wait_timeout(queue, RETRY).unwrap_or_else(PoisonError::into_inner).0;
                }
                let take = queue.entries.len().min(BATCH_MAX);
                (queue.entries.drain(..take).collect::<Vec<_>>(), queue.ended)
            };
            let now_ms = clock();
            if batch.is_empty() {
                let due = if ended { self.counts().end() } else { self.counts().turn(now_ms) };
                if ended && due.is_empty() {
                    return;
                }
                self.push(due);
                self.trim(now_ms);
                continue;
            }
            let written = self.write(batch);
            if ended && !written {
                return;
            }
        }
    }

    /// Writes one batch. What failed goes back to the front, and whoever waits hears of it.
    fn write(&self, batch: Vec<Waiting>) -> bool {
        let entries: Vec<_> = batch.iter().map(|waiting| waiting.entry.clone()).collect();
        let outcome = self.directory.audit_append(&entries);
        let failing = outcome.is_err();
        match &outcome {
            Ok(head) => {
                self.metrics.written.increment(entries.len() as u64);
                self.metrics.head.set(head.seq as f64);
            }
            Err(error) => {
                tracing::error!(%error, "the audit log cannot be written, acts of administrators are refused");
                self.metrics.failures.increment(1);
            }
        }
        let permits = batch.iter().filter(|waiting| waiting.permitted).count();
        self.waiting.fetch_sub(permits, Ordering::AcqRel);
        let mut told = Vec::new();
        let mut queue = self.queue();
        queue.failing = failing;
        for Waiting { entry, done, .. } in batch.into_iter().rev() {
            told.extend(done);
            if failing {
                queue.entries.push_front(Waiting { entry, done: None, permitted: false });
            }
        }
        drop(queue);
        // Last, so that whoever hears of it finds the log as it says.
        for done in told.into_iter().rev() {
            done.tell(outcome.as_ref().map(|_| ()).map_err(|_| NotWritten));
        }
        !failing
    }

    /// Nothing more comes: [`Self::run`] writes what is left and returns.
    pub fn end(&self) {
        self.queue().ended = true;
        self.wake.notify_all();
    }

    /// Removes one segment that is too old or too many, now and then.
    fn trim(&self, now_ms: u64) {
        {
            let mut counts = self.counts();
            if now_ms.abs_diff(counts.trimmed_ms) < TRIM_EVERY_MS {
                return;
            }
            counts.trimmed_ms = now_ms;
        }
        loop {
            match trim(&*self.directory, &self.config, now_ms) {
                Ok((marks, more)) => {
                    self.metrics.head.set(marks.head.seq as f64);
                    self.metrics.records.set((marks.head.seq - marks.floor.seq) as f64);
                    if !more {
                        return;
                    }
                }
                Err(error) => return tracing::warn!(%error, "old records of the audit log stay"),
            }
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes the oldest segment if it is to go. Gives the marks from before, and whether it went.
fn trim(directory: &dyn Directory, config: &Config, now_ms: u64) -> Result<(Marks, bool), DirectoryError> {
    let marks = directory.audit_marks()?;
    let end = marks.floor.seq + SEGMENT;
    if marks.head.seq <= end {
        return Ok((marks, false));
    }
    let too_many = config.records_max > 0 && marks.head.seq - marks.floor.seq > config.records_max;
    let too_old = || -> Result<bool, DirectoryError> {
        if config.retention_days == 0 {
            return Ok(false);
        }
        let newest = directory.audit_read(end - 1, 1)?;
        let newest_ms = newest.first().and_then(|record| record.entry().ok()).map(|(_, entry)| entry.time_ms);
        let kept_ms = u64::from(config.retention_days) * 86_400_000;
        Ok(newest_ms.is_some_and(|time_ms| time_ms.saturating_add(kept_ms) < now_ms))
    };
    if !too_many && !too_old()? {
        return Ok((marks, false));
    }
    let entry = Entry { time_ms: now_ms, who: "nearport".to_owned(), ..Entry::default() };
    directory.audit_trim(end, &entry.with("why", if too_many { "records_max" } else { "retention_days" }))?;
    Ok((marks, true))
}

/// Room for one record. Dropped without [`Self::record`], because whoever asked has gone, it leaves a record that says so: the act may
/// have been done all the same.
pub struct Permit {
    log: Arc<AuditLog>,
    entry: Option<Entry>,
}

impl Permit {
    /// The record of what was done, and how it went. The act is acknowledged when this has come back with `Ok`. Dropping that leaves
    /// the record in the queue.
    pub fn record(mut self, code: u32) -> Pending<Result<(), NotWritten>> {
        let (pending, done) = Pending::new();
        if let Some(entry) = self.entry.take() {
            self.log.queue_permitted(Entry { code, ..entry }, Some(done));
        }
        pending
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(entry) = self.entry.take() {
            self.log.queue_permitted(entry.with("outcome", "nobody waited for it"), None);
        }
    }
}

impl Counts {
    /// The counts of the minute that is over, as records.
    fn turn(&mut self, now_ms: u64) -> Vec<Entry> {
        let window = now_ms / WINDOW_MS;
        if window == self.window {
            return Vec::new();
        }
        self.window = window;
        self.end()
    }

    fn end(&mut self) -> Vec<Entry> {
        self.refused.clear();
        self.refused_in_all = 0;
        let entry = |((app, who, act, code), sum): (What, Sum)| {
            let Sum { count, first_ms, last_ms } = sum;
            Entry { time_ms: last_ms, app, who, act, code, ..Entry::default() }
                .with("count", count.to_string())
                .with("since_ms", first_ms.to_string())
        };
        std::mem::take(&mut self.counts).into_iter().map(entry).collect()
    }

    fn add(&mut self, what: What, now_ms: u64) {
        let what = if self.counts.len() >= COUNTS_MAX && !self.counts.contains_key(&what) {
            (0, String::new(), "more than can be counted apart".to_owned(), 0)
        } else {
            what
        };
        let sum = self.counts.entry(what).or_insert(Sum { count: 0, first_ms: now_ms, last_ms: now_ms });
        sum.count += 1;
        sum.last_ms = sum.last_ms.max(now_ms);
    }
}

impl fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditLog").field("config", &self.config).finish_non_exhaustive()
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Permit")
    }
}
