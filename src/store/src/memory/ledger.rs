//! [`MemoryLedger`].

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use nearport_chat::key::{ConvKey, UserKey};
use nearport_chat::ledger::{
    Appended, Batch, CursorName, Entry, Ledger, LedgerError, LogEntry, PageLimit, Range,
};

/// A ledger in memory that models a disk. Clones share it.
///
/// A commit is first written, then synced; readers see it from the sync on, as with the durable engine. The two
/// steps can be taken apart with [`MemoryLedger::split_commit`], so that a simulation lets time pass between them,
/// and [`MemoryLedger::crash`] forgets what was written and not synced. Iteration order never depends on a hash.
#[derive(Debug, Clone, Default)]
pub struct MemoryLedger(Arc<Mutex<Disk>>);

#[derive(Debug, Default)]
struct Disk {
    synced: Image,
    /// At most one commit is written and not synced: one thread commits.
    written: Option<Changes>,
    /// Counts crashes. A pending commit of an earlier life must not come back.
    life: u64,
    fail_next: Option<LedgerError>,
    stopped: Option<String>,
    stopped_full: bool,
}

#[derive(Debug, Default)]
struct Image {
    messages: BTreeMap<(ConvKey, u64), (u64, Bytes)>,
    idem: BTreeMap<(UserKey, [u8; 16]), (u64, u64)>,
    logs: BTreeMap<(UserKey, u64), (ConvKey, u64)>,
    cursors: BTreeMap<(UserKey, CursorName), u64>,
}

/// The rows that one commit adds, and what it answers.
#[derive(Debug, Default)]
struct Changes {
    rows: Image,
    outcomes: Vec<Appended>,
}

impl Image {
    fn head(&self, conv: &ConvKey) -> u64 {
        let all = (conv.clone(), 0)..=(conv.clone(), u64::MAX);
        self.messages.range(all).next_back().map_or(0, |((_, seq), _)| *seq)
    }

    fn log_head(&self, user: &UserKey) -> u64 {
        let all = (user.clone(), 0)..=(user.clone(), u64::MAX);
        self.logs.range(all).next_back().map_or(0, |((_, position), _)| *position)
    }

    fn entry(&self, conv: &ConvKey, seq: u64) -> Option<Entry> {
        let (time_ms, body) = self.messages.get(&(conv.clone(), seq))?;
        Some(Entry { seq, time_ms: *time_ms, body: body.clone() })
    }

    fn plan(&self, batch: &Batch) -> Changes {
        let mut new = Changes::default();
        for append in &batch.appends {
            let idem = (append.idem.sender.clone(), append.idem.client_msg_id);
            if let Some(&(seq, time_ms)) = self.idem.get(&idem).or_else(|| new.rows.idem.get(&idem)) {
                new.outcomes.push(Appended { seq, time_ms, positions: Vec::new(), duplicate: true });
                continue;
            }
            let seq = self.head(&append.conv).max(new.rows.head(&append.conv)) + 1;
            new.rows.messages.insert((append.conv.clone(), seq), (append.time_ms, append.body.clone()));
            new.rows.idem.insert(idem, (seq, append.time_ms));
            let mut positions = Vec::new();
            for user in &append.logs {
                let position = self.log_head(user).max(new.rows.log_head(user)) + 1;
                new.rows.logs.insert((user.clone(), position), (append.conv.clone(), seq));
                positions.push(position);
            }
            new.outcomes.push(Appended { seq, time_ms: append.time_ms, positions, duplicate: false });
        }
        for cursor in &batch.cursors {
            let key = (cursor.user.clone(), cursor.name.clone());
            let stored = self.cursors.get(&key).max(new.rows.cursors.get(&key));
            if stored.is_none_or(|stored| cursor.position > *stored) {
                new.rows.cursors.insert(key, cursor.position);
            }
        }
        new
    }

    fn apply(&mut self, mut rows: Self) {
        self.messages.append(&mut rows.messages);
        self.idem.append(&mut rows.idem);
        self.logs.append(&mut rows.logs);
        self.cursors.append(&mut rows.cursors);
    }
}

impl Disk {
    fn writable(&self) -> Result<(), LedgerError> {
        match &self.stopped {
            Some(reason) if self.stopped_full => Err(LedgerError::Full(reason.clone())),
            Some(reason) => Err(LedgerError::Failed(reason.clone())),
            None => Ok(()),
        }
    }
}

impl MemoryLedger {
    /// An empty ledger.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the batch without syncing it: the first half of a commit. Nothing may be acknowledged yet.
    ///
    /// # Errors
    /// As [`Ledger::commit`]; [`LedgerError::Failed`] also when another commit is written and not synced.
    pub fn split_commit(&self, batch: &Batch) -> Result<PendingCommit, LedgerError> {
        let mut disk = self.disk();
        disk.writable()?;
        if let Some(error) = disk.fail_next.take() {
            disk.stopped_full = matches!(error, LedgerError::Full(_));
            disk.stopped = Some(match &error {
                LedgerError::Full(reason) => reason.clone(),
                other => other.to_string(),
            });
            return Err(error);
        }
        if disk.written.is_some() {
            return Err(LedgerError::Failed("two commits at once".to_owned()));
        }
        disk.written = Some(disk.synced.plan(batch));
        Ok(PendingCommit { ledger: self.clone(), life: disk.life })
    }

    /// The process dies: what was not synced is gone, and a stopped ledger takes writes again.
    pub fn crash(&self) {
        let mut disk = self.disk();
        disk.written = None;
        disk.restart();
    }

    /// As [`MemoryLedger::crash`], but the disk had taken the unsynced commit in time, although nobody waited for it.
    pub fn crash_after_write(&self) {
        let mut disk = self.disk();
        if let Some(changes) = disk.written.take() {
            disk.synced.apply(changes.rows);
        }
        disk.restart();
    }

    /// Lets the next commit fail with `error`; as with every engine, all later ones fail too, until a crash.
    pub fn fail_next(&self, error: LedgerError) {
        self.disk().fail_next = Some(error);
    }
}

impl Disk {
    fn restart(&mut self) {
        self.life += 1;
        self.fail_next = None;
        self.stopped = None;
    }
}

/// A commit that is written and not yet synced. Dropping it leaves it so, as when its process died; then only
/// [`MemoryLedger::crash`] helps.
#[derive(Debug)]
#[must_use = "an unsynced commit blocks every later one"]
pub struct PendingCommit {
    ledger: MemoryLedger,
    life: u64,
}

impl PendingCommit {
    /// Makes the commit durable and visible, and returns what became of each append.
    ///
    /// # Panics
    /// If the ledger crashed in between: a process that died cannot see its sync return.
    #[must_use]
    pub fn sync(self) -> Vec<Appended> {
        let mut disk = self.ledger.disk();
        assert_eq!(disk.life, self.life, "the process that wrote this commit died before the sync");
        let Changes { rows, outcomes } = disk.written.take().expect("only a crash or this call takes it");
        disk.synced.apply(rows);
        outcomes
    }
}

/// Collects entries until the page is full: at least one, whatever its size.
fn fill<T>(entries: impl Iterator<Item = T>, limit: PageLimit, size: impl Fn(&T) -> usize) -> Vec<T> {
    let (mut page, mut bytes) = (Vec::new(), 0);
    for entry in entries {
        bytes += size(&entry);
        page.push(entry);
        if page.len() >= limit.entries || bytes >= limit.bytes {
            break;
        }
    }
    page
}

impl Ledger for MemoryLedger {
    fn commit(&self, batch: &Batch) -> Result<Vec<Appended>, LedgerError> {
        Ok(self.split_commit(batch)?.sync())
    }

    fn read(&self, conv: &ConvKey, range: Range, limit: PageLimit) -> Result<Vec<Entry>, LedgerError> {
        let disk = self.disk();
        let at = |seq: u64| (conv.clone(), seq);
        let entry = |((_, seq), (time_ms, body)): (&(ConvKey, u64), &(u64, Bytes))| Entry {
            seq: *seq,
            time_ms: *time_ms,
            body: body.clone(),
        };
        let messages = &disk.synced.messages;
        let size = |entry: &Entry| entry.body.len();
        Ok(match range {
            Range::After(u64::MAX) => Vec::new(),
            Range::After(seq) => {
                let rows = messages.range((Bound::Excluded(at(seq)), Bound::Included(at(u64::MAX))));
                fill(rows.map(entry), limit, size)
            }
            Range::Before(seq) => fill(messages.range(at(0)..at(seq)).rev().map(entry), limit, size),
        })
    }

    fn head(&self, conv: &ConvKey) -> Result<u64, LedgerError> {
        Ok(self.disk().synced.head(conv))
    }

    fn read_log(&self, user: &UserKey, after: u64, limit: PageLimit) -> Result<Vec<LogEntry>, LedgerError> {
        let Some(first) = after.checked_add(1) else { return Ok(Vec::new()) };
        let disk = self.disk();
        let rows = disk.synced.logs.range((user.clone(), first)..=(user.clone(), u64::MAX));
        let entries = rows.map(|((_, position), (conv, seq))| LogEntry {
            position: *position,
            conv: conv.clone(),
            entry: disk.synced.entry(conv, *seq).expect("one commit adds a log entry and its message"),
        });
        Ok(fill(entries, limit, |entry| entry.entry.body.len()))
    }

    fn log_head(&self, user: &UserKey) -> Result<u64, LedgerError> {
        Ok(self.disk().synced.log_head(user))
    }

    fn cursor(&self, user: &UserKey, name: &CursorName) -> Result<Option<u64>, LedgerError> {
        Ok(self.disk().synced.cursors.get(&(user.clone(), name.clone())).copied())
    }

    fn writable(&self) -> Result<(), LedgerError> {
        self.disk().writable()
    }
}

#[cfg(test)]
mod tests {
    use nearport_chat::key::AppId;
    use nearport_chat::ledger::{Append, IdemKey};

    use super::*;

    const ALL: PageLimit = PageLimit { entries: 100, bytes: usize::MAX };

    fn note(id: u8) -> (ConvKey, Batch) {
        let user = UserKey::new(AppId(1), "alice").unwrap();
        let conv = ConvKey::pair(&user, &user);
        let append = Append {
            conv: conv.clone(),
            idem: IdemKey { sender: user.clone(), client_msg_id: [id; 16] },
            logs: vec![user],
            time_ms: 1,
            body: Bytes::from_static(b"note"),
        };
        (conv, Batch { appends: vec![append], cursors: Vec::new() })
    }

    #[test]
    fn an_unsynced_commit_is_unseen_and_a_crash_forgets_it() {
        let ledger = MemoryLedger::new();
        let (conv, batch) = note(1);
        let pending = ledger.split_commit(&batch).unwrap();
        assert_eq!(ledger.head(&conv).unwrap(), 0);
        assert!(matches!(ledger.commit(&batch), Err(LedgerError::Failed(_))), "one at a time");
        ledger.crash();
        drop(pending);
        assert_eq!(ledger.head(&conv).unwrap(), 0);
        let synced = ledger.split_commit(&batch).unwrap().sync();
        assert!(!synced[0].duplicate, "the crashed commit left nothing");
        ledger.crash();
        assert_eq!(ledger.read(&conv, Range::After(0), ALL).unwrap().len(), 1);
    }

    #[test]
    fn the_disk_may_have_taken_a_commit_that_nobody_waited_for() {
        let ledger = MemoryLedger::new();
        let (conv, batch) = note(1);
        let _lost_with_its_process = ledger.split_commit(&batch).unwrap();
        ledger.crash_after_write();
        assert_eq!(ledger.head(&conv).unwrap(), 1);
        assert!(ledger.commit(&batch).unwrap()[0].duplicate);
    }

    #[test]
    #[should_panic(expected = "died before the sync")]
    fn a_sync_never_returns_to_a_dead_process() {
        let ledger = MemoryLedger::new();
        let pending = ledger.split_commit(&note(1).1).unwrap();
        ledger.crash();
        let _ = pending.sync();
    }

    #[test]
    fn an_error_stops_writes_until_the_next_start() {
        let ledger = MemoryLedger::new();
        let (conv, batch) = note(1);
        ledger.commit(&batch).unwrap();
        ledger.fail_next(LedgerError::Full("no space".to_owned()));
        for _ in 0..2 {
            assert!(matches!(ledger.commit(&note(2).1), Err(LedgerError::Full(_))));
        }
        assert!(matches!(ledger.writable(), Err(LedgerError::Full(_))));
        assert_eq!(ledger.head(&conv).unwrap(), 1, "reads go on");
        ledger.crash();
        ledger.writable().unwrap();
        assert_eq!(ledger.commit(&note(2).1).unwrap()[0].seq, 2);
    }
}
