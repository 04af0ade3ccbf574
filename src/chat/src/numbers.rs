//! What happens in a day, by App: gathered where it happens, added to the directory every ten seconds.
//!
//! There are [counts](Count), which are added, [crowds](Crowd), of which each member counts once ([`Sketch`]), and the most users online
//! at once. Days are those of UTC. Whoever counts takes one short lock; nobody waits for a store but the thread that writes
//! (`Numbers::run`).
//!
//! **Once.** A batch has a number of its process and is kept until the store has it; the store takes it once. So numbers are neither
//! lost nor doubled by a store that fails, by a restart (which writes what is left) or by several processes; what a crash takes
//! is what came since the last batch. Reasons and figures: `docs/decisions/0013-numbers.md`.

mod sketch;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::{Counter, Gauge, Unit, counter, describe_counter, describe_gauge, gauge};

use crate::directory::numbers::{NumbersAdd, NumbersBatch};
use crate::directory::{Directory, DirectoryError};
use crate::key::{AppId, GroupKey, UserKey};
pub use sketch::{Sketch, hash};

/// Milliseconds of a day, and of a minute.
pub const DAY_MS: u64 = 86_400_000;
const MINUTE_MS: u64 = 60_000;

/// Days that are kept: those that the contract shows, and one that has just ended elsewhere on earth.
pub const DAYS_KEPT: u32 = 31;

/// How often what was counted is written.
const WRITE_EVERY: Duration = Duration::from_secs(10);

/// Days of Apps that are counted at once, at most 41 KB each (five sketches of 8 KB). What comes beyond is lost, and counted; the
/// thread writes at once and makes room.
const BOOKS_MAX: usize = 1_024;

macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$item_doc:meta])* $item:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$item_doc])* $item,)*
        }

        impl $name {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$item,)*];

            /// Under which it is stored.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$item => $text,)*
                }
            }

            /// Of a stored name; `None`: one of another version.
            #[must_use]
            pub fn find(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|known| known.name() == name)
            }
        }
    };
}

named! {
    /// What is added up.
    Count {
        /// Messages to users that were taken.
        PairUp = "c2c_up",
        /// The same, by how many each was for.
        PairDown = "c2c_down",
        /// Messages to groups and live rooms that were taken.
        GroupUp = "group_up",
        /// The same, by how many members each was for.
        GroupDown = "group_down",
        /// Sessions that were accepted.
        Logins = "logins",
        /// Friendships, seen from one side, that came to be.
        ChainUp = "chain_up",
        /// The same that ended.
        ChainDown = "chain_down",
        /// Members that came to groups which were there.
        GroupJoins = "group_joins",
        /// Members that left, or were removed from, groups that went on.
        GroupQuits = "group_quits",
        /// New groups.
        GroupsMade = "groups_made",
        /// Groups that ended.
        GroupsEnded = "groups_ended",
        /// Requests to the back end of the App.
        CallbacksAsked = "callbacks_asked",
        /// Those that it has answered.
        CallbacksAnswered = "callbacks_answered",
    }
}

named! {
    /// What is counted once each.
    Crowd {
        /// Users who were online, or for whom something was sent.
        Active = "active",
        /// Users who logged in.
        LoggedIn = "logged_in",
        /// Users who have sent to users.
        PairSenders = "c2c_senders",
        /// Users who have sent to groups.
        GroupSenders = "group_senders",
        /// Groups that had messages.
        Groups = "groups",
    }
}

/// The day of a time, since the Unix epoch.
#[must_use]
pub fn day_of(time_ms: u64) -> u32 {
    u32::try_from(time_ms / DAY_MS).unwrap_or(u32::MAX)
}

/// A message that was taken.
#[derive(Debug, Clone)]
pub(crate) struct Spoken {
    app: AppId,
    sender: u64,
    /// `None`: to a user.
    group: Option<u64>,
    /// For how many it is.
    down: u64,
}

impl Spoken {
    pub(crate) fn to_users(sender: &UserKey, down: u64) -> Self {
        Self { app: sender.app(), sender: hash(sender.as_bytes()), group: None, down }
    }

    pub(crate) fn to_group(sender: &UserKey, group: &GroupKey, down: u64) -> Self {
        // A community counts once, whatever topics of it they are in.
        let group = hash(group.home().as_bytes());
        Self { app: sender.app(), sender: hash(sender.as_bytes()), group: Some(group), down }
    }
}

/// Users of an App who are online.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Online {
    pub(crate) now: u64,
    /// The most since this was asked last.
    pub(crate) most: u64,
}

/// One day of one App.
#[derive(Debug, Default)]
struct Book {
    counts: [u64; Count::ALL.len()],
    /// What was written stays, so that who comes again changes nothing.
    crowds: [Sketch; Crowd::ALL.len()],
    changed: [bool; Crowd::ALL.len()],
    online_most: u64,
    online_written: u64,
}

impl Book {
    fn count(&mut self, what: Count, n: u64) {
        let count = &mut self.counts[what as usize];
        *count = count.saturating_add(n);
    }

    fn meet(&mut self, crowd: Crowd, hash: u64) {
        self.changed[crowd as usize] |= self.crowds[crowd as usize].add(hash);
    }

    /// What is to be written; `None`: nothing.
    fn take(&mut self, app: AppId, day: u32) -> Option<NumbersAdd> {
        let counts = std::mem::take(&mut self.counts);
        let counts = Count::ALL.iter().copied().zip(counts).filter(|(_, n)| *n > 0).collect::<Vec<_>>();
        let changed = std::mem::take(&mut self.changed);
        let crowds = Crowd::ALL.iter().copied().filter(|crowd| changed[*crowd as usize]);
        let crowds: Vec<_> = crowds.map(|crowd| (crowd, self.crowds[crowd as usize].clone())).collect();
        let more = self.online_most > self.online_written;
        self.online_written = self.online_most;
        let online_most = if more { self.online_most } else { 0 };
        let something = more || !counts.is_empty() || !crowds.is_empty();
        something.then_some(NumbersAdd { app, day, counts, crowds, online_most })
    }
}

/// What is being written.
#[derive(Debug, Default)]
struct Writing {
    /// Drawn at the first batch.
    writer: Option<[u8; 16]>,
    number: u64,
    /// Not known to be stored.
    pending: Option<NumbersBatch>,
    /// The minute whose users were noted last; `None`: this process has just begun, perhaps behind another one.
    minute: Option<u64>,
    /// The day on which days were forgotten last.
    forgot: u32,
}

/// The numbers of one process. See the module documentation.
pub struct Numbers {
    directory: Arc<dyn Directory>,
    books: Mutex<BTreeMap<(AppId, u32), Book>>,
    writing: Mutex<Writing>,
    /// The newest time that anybody has told, for those who have no clock.
    now_ms: AtomicU64,
    sleep: Mutex<Sleep>,
    wake: Condvar,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct Sleep {
    ended: bool,
    full: bool,
}

struct Metrics {
    written: Counter,
    failed: Counter,
    lost: Counter,
    books: Gauge,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Numbers {
    /// Over a store, with nothing counted.
    pub(crate) fn new(directory: Arc<dyn Directory>) -> Self {
        describe_counter!(
            "nearport_numbers_batches_total",
            Unit::Count,
            "Batches of numbers of days, by outcome."
        );
        describe_counter!(
            "nearport_numbers_lost_total",
            Unit::Count,
            "Events that were not counted: too many Apps at once."
        );
        describe_gauge!("nearport_numbers_books", Unit::Count, "Days of Apps whose numbers are in memory.");
        let batches =
            |outcome: &'static str| counter!("nearport_numbers_batches_total", "outcome" => outcome);
        let metrics = Metrics {
            written: batches("written"),
            failed: batches("failed"),
            lost: counter!("nearport_numbers_lost_total"),
            books: gauge!("nearport_numbers_books"),
        };
        Self {
            directory,
            books: Mutex::default(),
            writing: Mutex::default(),
            now_ms: AtomicU64::new(0),
            sleep: Mutex::default(),
            wake: Condvar::new(),
            metrics,
        }
    }

    /// Lets `note` count in the book of an App's day.
    fn book(&self, app: AppId, now_ms: u64, note: impl FnOnce(&mut Book)) {
        self.it_is(now_ms);
        let key = (app, day_of(now_ms));
        let mut books = lock(&self.books);
        if books.len() >= BOOKS_MAX && !books.contains_key(&key) {
            drop(books);
            self.metrics.lost.increment(1);
            lock(&self.sleep).full = true;
            self.wake.notify_all();
            return;
        }
        note(books.entry(key).or_default());
    }

    /// It has happened `n` times.
    pub(crate) fn count(&self, app: AppId, what: Count, n: u64, now_ms: u64) {
        if n > 0 {
            self.book(app, now_ms, |book| book.count(what, n));
        }
    }

    /// The same, by the newest time that is known: at most ten seconds old.
    pub(crate) fn count_now(&self, app: AppId, what: Count, n: u64) {
        self.count(app, what, n, self.now_ms.load(Ordering::Relaxed));
    }

    /// It is this time, for those who have no clock.
    pub(crate) fn it_is(&self, now_ms: u64) {
        self.now_ms.fetch_max(now_ms, Ordering::Relaxed);
    }

    /// A request to the back end of an App has gone out, and was answered or not.
    pub(crate) fn called_back(&self, app: AppId, answered: bool) {
        self.book(app, self.now_ms.load(Ordering::Relaxed), |book| {
            book.count(Count::CallbacksAsked, 1);
            book.count(Count::CallbacksAnswered, u64::from(answered));
        });
    }

    /// A session was accepted.
    pub(crate) fn logged_in(&self, user: &UserKey, now_ms: u64) {
        if user.is_guest() {
            return;
        }
        let who = hash(user.as_bytes());
        self.book(user.app(), now_ms, |book| {
            book.count(Count::Logins, 1);
            book.meet(Crowd::LoggedIn, who);
            book.meet(Crowd::Active, who);
        });
    }

    /// Users have sent something.
    pub(crate) fn spoken(&self, all: &[Spoken], now_ms: u64) {
        for Spoken { app, sender, group, down } in all {
            self.book(*app, now_ms, |book| {
                book.meet(Crowd::Active, *sender);
                let (up, downs, senders) = match group {
                    None => (Count::PairUp, Count::PairDown, Crowd::PairSenders),
                    Some(_) => (Count::GroupUp, Count::GroupDown, Crowd::GroupSenders),
                };
                book.count(up, 1);
                book.count(downs, *down);
                book.meet(senders, *sender);
                if let Some(group) = group {
                    book.meet(Crowd::Groups, *group);
                }
            });
        }
    }

    /// A session of this user came from another process.
    pub(crate) fn came_over(&self, user: &UserKey) {
        if !user.is_guest() {
            self.here(&[(user.app(), hash(user.as_bytes()))], self.now_ms.load(Ordering::Relaxed));
        }
    }

    /// These users are online.
    pub(crate) fn here(&self, users: &[(AppId, u64)], now_ms: u64) {
        for (app, who) in users {
            self.book(*app, now_ms, |book| book.meet(Crowd::Active, *who));
        }
    }

    /// Whether a day has begun since it was written last: then who is online is active on it.
    pub(crate) fn is_new_day(&self, now_ms: u64) -> bool {
        lock(&self.writing).forgot < day_of(now_ms)
    }

    /// Writes what was counted. `online` are the Apps of which somebody is or was online. Blocks.
    ///
    /// # Errors
    /// Those of the store. Nothing is lost: what was not written is written by a later call.
    pub(crate) fn write(&self, online: &[(AppId, Online)], now_ms: u64) -> Result<(), DirectoryError> {
        self.it_is(now_ms);
        for (app, online) in online {
            self.book(*app, now_ms, |book| book.online_most = book.online_most.max(online.most));
        }
        let mut writing = lock(&self.writing);
        self.deliver(&mut writing)?;
        let Some(batch) = self.batch(&mut writing, online, now_ms)? else { return Ok(()) };
        writing.pending = Some(batch);
        self.deliver(&mut writing)
    }

    fn deliver(&self, writing: &mut Writing) -> Result<(), DirectoryError> {
        let Some(batch) = &writing.pending else { return Ok(()) };
        match self.directory.add_numbers(batch) {
            Ok(()) => {
                writing.pending = None;
                self.metrics.written.increment(1);
                Ok(())
            }
            Err(error) => {
                self.metrics.failed.increment(1);
                Err(error)
            }
        }
    }

    fn batch(
        &self,
        writing: &mut Writing,
        online: &[(AppId, Online)],
        now_ms: u64,
    ) -> Result<Option<NumbersBatch>, DirectoryError> {
        let writer = match writing.writer {
            Some(writer) => writer,
            None => {
                let mut drawn = [0; 16];
                let failed = |_| DirectoryError::Engine("the system gives no random bytes".to_owned());
                aws_lc_rs::rand::fill(&mut drawn).map_err(failed)?;
                *writing.writer.insert(drawn)
            }
        };
        let (day, minute) = (day_of(now_ms), now_ms / MINUTE_MS);
        let adds: Vec<_> = {
            let mut books = lock(&self.books);
            let adds = books.iter_mut().filter_map(|((app, day), book)| book.take(*app, *day)).collect();
            // Days that have ended go; so do all where there are many. Nothing is lost: a book that begins anew is merged.
            let many = books.len() > BOOKS_MAX / 2;
            books.retain(|(_, of), _| !many && *of >= day);
            #[expect(clippy::cast_precision_loss, reason = "at most some thousands")]
            self.metrics.books.set(books.len() as f64);
            adds
        };
        // One that has just begun may stand behind another one that has noted this minute.
        let begins = writing.minute.is_some_and(|noted| noted < minute);
        let noted = if begins { online } else { &[] };
        let noted = noted.iter().filter(|(_, online)| online.now > 0);
        let online: Vec<_> = noted.map(|(app, online)| (*app, minute, online.now)).collect();
        writing.minute = Some(minute);
        let forget_before = (writing.forgot < day).then_some(day.saturating_sub(DAYS_KEPT));
        if adds.is_empty() && online.is_empty() {
            return Ok(None);
        }
        writing.forgot = day;
        writing.number += 1;
        Ok(Some(NumbersBatch { writer, number: writing.number, day, adds, online, forget_before }))
    }

    /// Calls `write` every ten seconds, until [`Self::end`], and once more then.
    pub(crate) fn run(&self, mut write: impl FnMut() -> Result<(), DirectoryError>) {
        let mut failing = false;
        loop {
            let ended = {
                // A store that takes nothing is not asked more often because there is no room.
                let waits = |sleep: &mut Sleep| !sleep.ended && (failing || !sleep.full);
                let slept = self.wake.wait_timeout_while(lock(&self.sleep), WRITE_EVERY, waits);
                let mut sleep = slept.unwrap_or_else(PoisonError::into_inner).0;
                sleep.full = false;
                sleep.ended
            };
            let written = write();
            failing = written.is_err();
            if let Err(error) = written {
                tracing::warn!(%error, "numbers of days cannot be written, tried again later");
            }
            if ended {
                return;
            }
        }
    }

    /// Ends [`Self::run`].
    pub(crate) fn end(&self) {
        lock(&self.sleep).ended = true;
        self.wake.notify_all();
    }
}

impl fmt::Debug for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Numbers")
    }
}
