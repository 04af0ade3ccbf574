//! Engines that count, watch, and fail on demand.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use nearport_chat::audit::{Entry as Act, Mark, Marks, Record};
use nearport_chat::directory::events::PendingEvent;
use nearport_chat::directory::numbers::{DayNumbers, NumbersBatch};
use nearport_chat::directory::people::PeopleWork;
use nearport_chat::directory::{
    Account, Accounts, App, AppKey, AppStore, AppsState, AuditStore, Counted, DirectoryError, GroupStore,
    Joined, JoinedTopic, ListPlace, ListedGroup, NumberStore, PeopleStore,
};
use nearport_chat::group::{GroupChange, GroupRecord};
use nearport_chat::key::{AppId, ConvKey, GroupKey, Talk, UserKey};
use nearport_chat::ledger::{
    Appended, Batch, Committed, CursorName, Entry, Heads, IdemKey, Ledger, LedgerError, LogEntry,
    OutboxEntry, PageLimit, Range, Retention, Shelf, Span, TrimBudget, TrimPlace, Trimmed, Walked,
};
use nearport_chat::shared::Shared;
use nearport_store::{MemoryDirectory, MemoryLedger};
use nearport_trunk::Down;
use nearport_trunk::local::DownQueue;

use crate::world::{APP, START_MS, directory};
/// A directory that counts, fails on demand, and may kick alice right after it was asked about her.
#[derive(Debug)]
pub(crate) struct Meddler {
    inner: MemoryDirectory,
    pub(super) app_reads: AtomicUsize,
    pub(super) registered: Mutex<Vec<usize>>,
    pub(crate) broken: AtomicBool,
    read_only: AtomicBool,
    /// The next batch of numbers is added, and nobody hears of it.
    pub(crate) answers_lost: AtomicBool,
    /// Rows of groups that were written.
    pub(crate) rows: AtomicUsize,
    /// Looks for groups.
    pub(crate) group_looks: AtomicUsize,
    pub(super) kick_through: OnceLock<Shared>,
    kicked: AtomicBool,
}

impl Meddler {
    pub(crate) fn new() -> Self {
        Self {
            inner: directory(),
            app_reads: AtomicUsize::new(0),
            registered: Mutex::default(),
            broken: AtomicBool::new(false),
            read_only: AtomicBool::new(false),
            answers_lost: AtomicBool::new(false),
            rows: AtomicUsize::new(0),
            group_looks: AtomicUsize::new(0),
            kick_through: OnceLock::new(),
            kicked: AtomicBool::new(false),
        }
    }

    /// From here on changes of groups fail, or no more.
    pub(crate) fn read_only(&self, read_only: bool) {
        self.read_only.store(read_only, Ordering::Relaxed);
    }

    fn check(&self) -> Result<(), DirectoryError> {
        if self.broken.load(Ordering::Relaxed) {
            Err(DirectoryError::Engine("broken".into()))
        } else {
            Ok(())
        }
    }
}

impl Accounts for Meddler {
    fn apps(&self) -> Result<Vec<App>, DirectoryError> {
        self.inner.apps()
    }

    fn create_app(&self, app: &App) -> Result<(), DirectoryError> {
        self.inner.create_app(app)
    }

    fn accounts(&self, keys: &[UserKey]) -> Result<Vec<Option<Account>>, DirectoryError> {
        self.check()?;
        let answer = self.inner.accounts(keys);
        if let Some(shared) = self.kick_through.get()
            && !self.kicked.swap(true, Ordering::Relaxed)
        {
            assert_eq!(shared.kick_user(AppId(APP), "alice", START_MS).unwrap(), 0, "no session yet");
        }
        answer
    }

    fn members(
        &self,
        app: AppId,
        names: (&str, &str),
        made_ms: u64,
        limit: u32,
    ) -> Result<Vec<UserKey>, DirectoryError> {
        self.inner.members(app, names, made_ms, limit)
    }

    fn register(&self, accounts: &[Account]) -> Result<Vec<UserKey>, DirectoryError> {
        self.check()?;
        self.registered.lock().unwrap().push(accounts.len());
        self.inner.register(accounts)
    }

    fn import(&self, accounts: &[Account]) -> Result<(), DirectoryError> {
        self.inner.import(accounts)
    }

    fn delete_account(&self, key: &UserKey, now_ms: u64) -> Result<bool, DirectoryError> {
        self.inner.delete_account(key, now_ms)
    }

    fn set_valid_from(&self, key: &UserKey, unix_s: u64) -> Result<(), DirectoryError> {
        self.inner.set_valid_from(key, unix_s)
    }

    fn set_mutes(
        &self,
        key: &UserKey,
        users: Option<u64>,
        groups: Option<u64>,
    ) -> Result<(), DirectoryError> {
        self.inner.set_mutes(key, users, groups)
    }
}

impl AppStore for Meddler {
    fn apps_version(&self) -> Result<u64, DirectoryError> {
        self.app_reads.fetch_add(1, Ordering::Relaxed);
        self.check()?;
        self.inner.apps_version()
    }
    fn apps_state(&self) -> Result<AppsState, DirectoryError> {
        self.check()?;
        self.inner.apps_state()
    }
    fn add_app_key(&self, app: AppId, key: &AppKey, act: &Act) -> Result<(), DirectoryError> {
        self.inner.add_app_key(app, key, act)
    }
    fn withdraw_app_key(&self, app: AppId, name: &str, from_s: u64, act: &Act) -> Result<(), DirectoryError> {
        self.inner.withdraw_app_key(app, name, from_s, act)
    }
    fn set_app_settings(
        &self,
        app: AppId,
        changes: &[(&str, Option<&str>)],
        act: &Act,
    ) -> Result<(), DirectoryError> {
        self.inner.set_app_settings(app, changes, act)
    }
}

impl AuditStore for Meddler {
    fn audit_append(&self, entries: &[Act]) -> Result<Mark, DirectoryError> {
        self.check()?;
        self.inner.audit_append(entries)
    }
    fn audit_marks(&self) -> Result<Marks, DirectoryError> {
        self.inner.audit_marks()
    }
    fn audit_read(&self, after: u64, limit: usize) -> Result<Vec<Record>, DirectoryError> {
        self.inner.audit_read(after, limit)
    }
    fn audit_trim(&self, seq: u64, act: &Act) -> Result<(), DirectoryError> {
        self.inner.audit_trim(seq, act)
    }
}

impl NumberStore for Meddler {
    fn add_numbers(&self, batch: &NumbersBatch) -> Result<(), DirectoryError> {
        self.check()?;
        self.inner.add_numbers(batch)?;
        if self.answers_lost.swap(false, Ordering::Relaxed) {
            return Err(DirectoryError::Unavailable("the answer was lost".into()));
        }
        Ok(())
    }
    fn numbers(&self, app: AppId, from: u32, to: u32) -> Result<Vec<DayNumbers>, DirectoryError> {
        self.inner.numbers(app, from, to)
    }
    fn accounts_made_before(&self, app: AppId, times_ms: &[u64]) -> Result<Vec<u64>, DirectoryError> {
        self.inner.accounts_made_before(app, times_ms)
    }
}

impl PeopleStore for Meddler {
    fn read_people(&self, work: &mut PeopleWork<'_>) -> Result<(), DirectoryError> {
        self.check()?;
        self.inner.read_people(work)
    }
    fn write_people(&self, work: &mut PeopleWork<'_>) -> Result<(), DirectoryError> {
        self.check()?;
        self.inner.write_people(work)
    }
}

impl GroupStore for Meddler {
    fn groups(&self, keys: &[GroupKey]) -> Result<Vec<Option<GroupRecord>>, DirectoryError> {
        self.group_looks.fetch_add(1, Ordering::Relaxed);
        self.inner.groups(keys)
    }
    fn groups_of(&self, users: &[UserKey]) -> Result<Vec<Vec<Joined>>, DirectoryError> {
        self.inner.groups_of(users)
    }
    fn count_groups_of(&self, users: &[UserKey]) -> Result<Vec<u32>, DirectoryError> {
        self.inner.count_groups_of(users)
    }
    fn topics_of(&self, user: &UserKey, limit: usize) -> Result<Vec<JoinedTopic>, DirectoryError> {
        self.inner.topics_of(user, limit)
    }
    fn count_topics(&self, app: AppId) -> Result<u64, DirectoryError> {
        self.inner.count_topics(app)
    }
    fn change_groups_and_tell(
        &self,
        changes: &[GroupChange],
        events: &[PendingEvent],
    ) -> Result<(), DirectoryError> {
        if self.read_only.load(Ordering::Relaxed) {
            return Err(DirectoryError::Engine("read only".into()));
        }
        let rows: usize = changes.iter().map(|change| change.changes.len()).sum();
        self.rows.fetch_add(rows, Ordering::Relaxed);
        self.inner.change_groups_and_tell(changes, events)
    }
    fn count_groups(&self, app: AppId, which: Counted<'_>) -> Result<u64, DirectoryError> {
        self.inner.count_groups(app, which)
    }
    fn list_groups(
        &self,
        app: AppId,
        kind: Option<&str>,
        from: ListPlace,
        limit: usize,
    ) -> Result<Vec<ListedGroup>, DirectoryError> {
        self.inner.list_groups(app, kind, from, limit)
    }
}

/// Passes all calls on; a macro keeps the wrappers below to what they are about.
macro_rules! pass_on {
    () => {
        fn commit(&self, batch: &Batch) -> Result<Committed, LedgerError> {
            self.inner.commit(batch)
        }
        fn duplicates(&self, keys: &[IdemKey]) -> Result<Vec<Option<Appended>>, LedgerError> {
            self.inner.duplicates(keys)
        }
        fn entry(&self, conv: &ConvKey, seq: u64) -> Result<Option<Entry>, LedgerError> {
            self.inner.entry(conv, seq)
        }
        fn heads(&self, convs: &[ConvKey]) -> Result<Vec<Heads>, LedgerError> {
            self.inner.heads(convs)
        }
        fn seq_at(&self, conv: &ConvKey, time_ms: u64) -> Result<u64, LedgerError> {
            self.inner.seq_at(conv, time_ms)
        }
        fn edits(&self, conv: &ConvKey, after: u64, limit: usize) -> Result<Vec<(u64, u64)>, LedgerError> {
            self.inner.edits(conv, after, limit)
        }
        fn edit_head(&self, conv: &ConvKey) -> Result<u64, LedgerError> {
            self.inner.edit_head(conv)
        }
        fn hidden(
            &self,
            user: &UserKey,
            conv: &ConvKey,
            first: u64,
            last: u64,
        ) -> Result<Vec<u64>, LedgerError> {
            self.inner.hidden(user, conv, first, last)
        }
        fn uncounted(&self, user: &UserKey, spans: &[Span]) -> Result<Vec<u64>, LedgerError> {
            self.inner.uncounted(user, spans)
        }
        fn receipts(
            &self,
            conv: &ConvKey,
            seq: u64,
            after: Option<&UserKey>,
            limit: usize,
        ) -> Result<Vec<UserKey>, LedgerError> {
            self.inner.receipts(conv, seq, after, limit)
        }
        fn receipt_count(&self, conv: &ConvKey, seq: u64) -> Result<u64, LedgerError> {
            self.inner.receipt_count(conv, seq)
        }
        fn conversations(
            &self,
            user: &UserKey,
            after: Option<&ConvKey>,
            limit: usize,
        ) -> Result<Vec<ConvKey>, LedgerError> {
            self.inner.conversations(user, after, limit)
        }
        fn walk(
            &self,
            app: AppId,
            talk: Talk,
            after: Option<&ConvKey>,
            since_ms: u64,
            looks: usize,
        ) -> Result<Walked, LedgerError> {
            self.inner.walk(app, talk, after, since_ms, looks)
        }
        fn outbox(
            &self,
            app: AppId,
            shelf: Shelf,
            after: u64,
            limit: PageLimit,
        ) -> Result<Vec<OutboxEntry>, LedgerError> {
            self.inner.outbox(app, shelf, after, limit)
        }
        fn outbox_last(&self, app: AppId, shelf: Shelf) -> Result<u64, LedgerError> {
            self.inner.outbox_last(app, shelf)
        }
        fn trim(
            &self,
            retention: Retention<'_>,
            from: &TrimPlace,
            budget: TrimBudget,
        ) -> Result<Trimmed, LedgerError> {
            self.inner.trim(retention, from, budget)
        }
        fn read(&self, conv: &ConvKey, range: Range, limit: PageLimit) -> Result<Vec<Entry>, LedgerError> {
            self.inner.read(conv, range, limit)
        }
        fn head(&self, conv: &ConvKey) -> Result<u64, LedgerError> {
            self.inner.head(conv)
        }
        fn read_log(
            &self,
            user: &UserKey,
            after: u64,
            limit: PageLimit,
        ) -> Result<Vec<LogEntry>, LedgerError> {
            self.inner.read_log(user, after, limit)
        }
        fn cursor(&self, user: &UserKey, name: &CursorName) -> Result<Option<u64>, LedgerError> {
            self.inner.cursor(user, name)
        }
        fn writable(&self) -> Result<(), LedgerError> {
            self.inner.writable()
        }
    };
}

/// Notes whether `Join` had reached the link when the head was read.
#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) inner: MemoryLedger,
    pub(super) queue: OnceLock<DownQueue>,
    pub(super) order: Mutex<Vec<&'static str>>,
}

impl Ledger for Watcher {
    pass_on!();

    fn log_head(&self, user: &UserKey) -> Result<u64, LedgerError> {
        let mut downs = Vec::new();
        self.queue.get().unwrap().recv(&mut downs, usize::MAX);
        let mut order = self.order.lock().unwrap();
        order.extend(
            downs.iter().map(|down| if matches!(down, Down::Join { .. }) { "join" } else { "other" }),
        );
        order.push("head");
        self.inner.log_head(user)
    }
}

/// Fails reads on demand.
#[derive(Debug, Default)]
pub(super) struct Unreadable {
    pub(super) inner: MemoryLedger,
    pub(super) broken: AtomicBool,
}

impl Ledger for Unreadable {
    pass_on!();

    fn log_head(&self, user: &UserKey) -> Result<u64, LedgerError> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(LedgerError::Io("broken".to_owned()));
        }
        self.inner.log_head(user)
    }
}
