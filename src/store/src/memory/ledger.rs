//! [`MemoryLedger`].

mod image;
mod trim;
mod walk;

use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nearport_chat::key::{AppId, ConvKey, Talk, UserKey};
use nearport_chat::ledger::{
    Appended, Batch, Committed, CursorName, Entry, Heads, IdemKey, Ledger, LedgerError, LogEntry,
    OutboxEntry, PageLimit, Range, Retention, Shelf, Span, TrimBudget, TrimPlace, Trimmed, Walked,
};

use self::image::{Changes, Image, Message, all, last};

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
            disk.synced.apply(changes);
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
    /// Makes the commit durable and visible, and returns what became of it.
    ///
    /// # Panics
    /// If the ledger crashed in between: a process that died cannot see its sync return.
    #[must_use]
    pub fn sync(self) -> Committed {
        let mut disk = self.ledger.disk();
        assert_eq!(disk.life, self.life, "the process that wrote this commit died before the sync");
        let changes = disk.written.take().expect("only a crash or this call takes it");
        disk.synced.apply(changes)
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
    fn commit(&self, batch: &Batch) -> Result<Committed, LedgerError> {
        Ok(self.split_commit(batch)?.sync())
    }

    fn duplicates(&self, keys: &[IdemKey]) -> Result<Vec<Option<Appended>>, LedgerError> {
        let disk = self.disk();
        let found = keys.iter().map(|key| disk.synced.idem.get(&(key.sender.clone(), key.client_msg_id)));
        Ok(found.map(|place| place.map(|(seq, time_ms)| Appended::duplicate_of(*seq, *time_ms))).collect())
    }

    fn read(&self, conv: &ConvKey, range: Range, limit: PageLimit) -> Result<Vec<Entry>, LedgerError> {
        let disk = self.disk();
        let at = |seq: u64| (conv.clone(), seq);
        let entry = |((_, seq), message): (&(ConvKey, u64), &Message)| message.entry(*seq);
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

    fn entry(&self, conv: &ConvKey, seq: u64) -> Result<Option<Entry>, LedgerError> {
        Ok(self.disk().synced.entry(conv, seq))
    }

    fn head(&self, conv: &ConvKey) -> Result<u64, LedgerError> {
        Ok(self.disk().synced.head(conv))
    }

    fn heads(&self, convs: &[ConvKey]) -> Result<Vec<Heads>, LedgerError> {
        let disk = self.disk();
        Ok(convs.iter().map(|conv| disk.synced.heads(conv)).collect())
    }

    fn seq_at(&self, conv: &ConvKey, time_ms: u64) -> Result<u64, LedgerError> {
        let disk = self.disk();
        let mut messages = disk.synced.messages.range(all(conv));
        let found = messages.find(|(_, message)| message.time_ms >= time_ms);
        Ok(found.map_or_else(|| disk.synced.head(conv) + 1, |((_, seq), _)| *seq))
    }

    fn edits(&self, conv: &ConvKey, after: u64, limit: usize) -> Result<Vec<(u64, u64)>, LedgerError> {
        let disk = self.disk();
        let range = (Bound::Excluded((conv.clone(), after)), Bound::Included((conv.clone(), u64::MAX)));
        let rows = disk.synced.edits.range(range).map(|((_, edit), seq)| (*edit, *seq));
        Ok(rows.take(limit.max(1)).collect())
    }

    fn edit_head(&self, conv: &ConvKey) -> Result<u64, LedgerError> {
        Ok(self.disk().synced.edit_head(conv))
    }

    fn hidden(&self, user: &UserKey, conv: &ConvKey, first: u64, last: u64) -> Result<Vec<u64>, LedgerError> {
        if first > last {
            return Ok(Vec::new());
        }
        let disk = self.disk();
        let seqs = disk.synced.hides.get(&(user.clone(), conv.clone())).into_iter();
        Ok(seqs.flat_map(|seqs| seqs.range(first..=last)).copied().collect())
    }

    fn uncounted(&self, user: &UserKey, spans: &[Span]) -> Result<Vec<u64>, LedgerError> {
        let disk = self.disk();
        let count = |span: &Span| {
            if span.first > span.last {
                return 0;
            }
            let (first, last) = ((span.conv.clone(), span.first), (span.conv.clone(), span.last));
            let messages = disk.synced.messages.range(first..=last).map(|(_, message)| message);
            let not = |message: &&Message| message.uncounted || (span.own && message.idem.sender == *user);
            messages.filter(not).count() as u64
        };
        Ok(spans.iter().map(count).collect())
    }

    fn receipts(
        &self,
        conv: &ConvKey,
        seq: u64,
        after: Option<&UserKey>,
        limit: usize,
    ) -> Result<Vec<UserKey>, LedgerError> {
        let disk = self.disk();
        let readers = disk.synced.receipts.get(&(conv.clone(), seq)).into_iter().flatten();
        let readers = readers.filter(|user| after.is_none_or(|after| *user > after));
        Ok(readers.take(limit.max(1)).cloned().collect())
    }

    fn receipt_count(&self, conv: &ConvKey, seq: u64) -> Result<u64, LedgerError> {
        Ok(self.disk().synced.receipts.get(&(conv.clone(), seq)).map_or(0, |readers| readers.len() as u64))
    }

    fn conversations(
        &self,
        user: &UserKey,
        after: Option<&ConvKey>,
        limit: usize,
    ) -> Result<Vec<ConvKey>, LedgerError> {
        let disk = self.disk();
        let convs = disk.synced.conversations.get(user).into_iter().flatten();
        let convs = convs.filter(|conv| after.is_none_or(|after| *conv > after));
        Ok(convs.take(limit.max(1)).cloned().collect())
    }

    fn walk(
        &self,
        app: AppId,
        talk: Talk,
        after: Option<&ConvKey>,
        since_ms: u64,
        looks: usize,
    ) -> Result<Walked, LedgerError> {
        Ok(self.disk().synced.walk(app, talk, after, since_ms, looks))
    }

    fn read_log(&self, user: &UserKey, after: u64, limit: PageLimit) -> Result<Vec<LogEntry>, LedgerError> {
        let Some(first) = after.checked_add(1) else { return Ok(Vec::new()) };
        let disk = self.disk();
        let rows = disk.synced.logs.range((user.clone(), first)..=(user.clone(), u64::MAX));
        let entries = rows.filter_map(|((_, position), (conv, seq, first))| {
            let entry = disk.synced.entry(conv, *seq);
            let trimmed = *seq <= disk.synced.floor(conv).seq;
            assert!(entry.is_some() || trimmed, "one commit adds a log entry and its message");
            Some(LogEntry { position: *position, first: *first, conv: conv.clone(), entry: entry? })
        });
        Ok(fill(entries, limit, |entry| entry.entry.body.len()))
    }

    fn log_head(&self, user: &UserKey) -> Result<u64, LedgerError> {
        Ok(self.disk().synced.log_head(user))
    }

    fn cursor(&self, user: &UserKey, name: &CursorName) -> Result<Option<u64>, LedgerError> {
        Ok(self.disk().synced.cursors.get(&(user.clone(), name.clone())).copied())
    }

    fn outbox(
        &self,
        app: AppId,
        shelf: Shelf,
        after: u64,
        limit: PageLimit,
    ) -> Result<Vec<OutboxEntry>, LedgerError> {
        let disk = self.disk();
        let shelf = (app, shelf);
        let rows =
            disk.synced.outbox.range((Bound::Excluded((shelf, after)), Bound::Included((shelf, u64::MAX))));
        Ok(fill(rows.map(|(_, entry)| entry.clone()), limit, |entry| entry.body.len()))
    }

    fn outbox_last(&self, app: AppId, shelf: Shelf) -> Result<u64, LedgerError> {
        Ok(last(&self.disk().synced.outbox, &(app, shelf)))
    }

    fn trim(
        &self,
        retention: Retention<'_>,
        from: &TrimPlace,
        budget: TrimBudget,
    ) -> Result<Trimmed, LedgerError> {
        let mut disk = self.disk();
        disk.writable()?;
        // A commit that is written was planned on the rows as they are: it goes first.
        if disk.written.is_some() {
            return Ok(Trimmed { next: Some(from.clone()), ..Trimmed::default() });
        }
        Ok(disk.synced.trim(retention, from, budget.rows))
    }

    fn writable(&self) -> Result<(), LedgerError> {
        self.disk().writable()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
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
            uncounted: false,
        };
        (conv, Batch { appends: vec![append], ..Batch::default() })
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
        assert!(!synced.appended[0].duplicate, "the crashed commit left nothing");
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
        assert!(ledger.commit(&batch).unwrap().appended[0].duplicate);
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
        assert_eq!(ledger.commit(&note(2).1).unwrap().appended[0].seq, 2);
    }
}
