//! Who takes pushes to users.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use aws_lc_rs::digest;
use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};

use super::LIFE_TIME_MAX_S;
use super::condition::Condition;
use crate::admin::Pending;
use crate::directory::DirectoryError;
use crate::directory::push::{Attrs, PushPlace, PushRow};
use crate::key::{AppId, ConvKey, UserKey};
use crate::ledger::{Append, Appended, IdemKey, LedgerError};
use crate::posts::{Letter, Post};
use crate::shared::Shared;

/// Accounts of a page. A page is one item of a commit, with a row for each of them: what others write meanwhile waits for it.
const PAGE: u32 = 128;

/// Behind all names: they are printable ASCII.
const END: &str = "\u{7f}";

/// Rest after a page of which nobody was chosen, milliseconds: each is a few transactions of the directory, and others want theirs
/// in between.
const EMPTY_REST_MS: u64 = 5;

/// When it is looked again whether there are pushes that another core has taken, or that could not be read.
const LOOK: Duration = Duration::from_secs(10);

/// When something that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// The same of a page for which the writer had no room.
const NO_ROOM: Duration = Duration::from_millis(100);

/// Takes pushes to users: a turn does one thing and waits for nobody. See [`super`].
#[derive(Debug)]
pub struct Courier {
    shared: Shared,
    numbers: Numbers,
    /// Whose push had the last page: the next App has the next one.
    last: Option<AppId>,
    /// Apps that had a page since it began again with the first App, and in the round before that: so many have a push under way.
    round: u32,
    round_before: u32,
    /// When the next page may go, milliseconds.
    free_at_ms: u64,
    flight: Option<Flight>,
    /// For who is online, for which there was no room.
    unsaid: Vec<Letter>,
}

/// A page that is with the writer.
struct Flight {
    app: AppId,
    number: u64,
    from: PushPlace,
    to: PushPlace,
    count: usize,
    begun_ms: u64,
    pending: Pending<bool>,
}

impl std::fmt::Debug for Flight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Flight").field("to", &self.to).field("count", &self.count).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Numbers {
    open: Gauge,
    pages: Counter,
    users: Counter,
    failures: Counter,
    page_seconds: Histogram,
}

impl Courier {
    /// Of a backend.
    #[must_use]
    pub fn new(shared: Shared) -> Self {
        describe_gauge!(
            "nearport_chat_pushes_open",
            Unit::Count,
            "Apps with a push to all members under way"
        );
        describe_counter!(
            "nearport_chat_push_pages_total",
            Unit::Count,
            "pages of accounts that pushes have gone through"
        );
        describe_counter!("nearport_chat_push_users_total", Unit::Count, "users to whom pushes were sent");
        describe_counter!(
            "nearport_chat_push_failures_total",
            Unit::Count,
            "pages of pushes that are tried again"
        );
        describe_histogram!(
            "nearport_chat_push_page_seconds",
            Unit::Seconds,
            "from handing a page of a push to the writer until it is on disk"
        );
        let numbers = Numbers {
            open: gauge!("nearport_chat_pushes_open"),
            pages: counter!("nearport_chat_push_pages_total"),
            users: counter!("nearport_chat_push_users_total"),
            failures: counter!("nearport_chat_push_failures_total"),
            page_seconds: histogram!("nearport_chat_push_page_seconds"),
        };
        Self {
            shared,
            numbers,
            last: None,
            round: 0,
            round_before: 0,
            free_at_ms: 0,
            flight: None,
            unsaid: Vec::new(),
        }
    }

    /// Does what is next, and says when it wants to be called again if nobody wakes it before.
    pub fn turn(&mut self, now_ms: u64) -> Duration {
        match self.next(now_ms) {
            Ok(wait) => wait,
            Err(error) => {
                tracing::warn!(%error, "a push cannot go on; tried again");
                self.numbers.failures.increment(1);
                RETRY
            }
        }
    }

    fn next(&mut self, now_ms: u64) -> Result<Duration, DirectoryError> {
        if let Some(flight) = &mut self.flight {
            let waker = Waker::from(self.shared.pushes.clone());
            return match Pin::new(&mut flight.pending).poll(&mut Context::from_waker(&waker)) {
                Poll::Pending => Ok(LOOK),
                Poll::Ready(stored) => self.landed(stored == Some(true), now_ms),
            };
        }
        if !self.unsaid.is_empty() {
            return match self.shared.posts.offer(std::mem::take(&mut self.unsaid)) {
                Ok(()) => Ok(Duration::ZERO),
                Err(letters) => {
                    self.unsaid = letters;
                    Ok(NO_ROOM)
                }
            };
        }
        if now_ms < self.free_at_ms {
            return Ok(Duration::from_millis(self.free_at_ms - now_ms));
        }
        let last = self.last;
        let (mut open, mut is_round) = (None, false);
        self.shared.directory.read_people(&mut |tx| {
            open = tx.open_push(last)?;
            is_round = open.is_none();
            if is_round && last.is_some() {
                open = tx.open_push(None)?;
            }
            Ok(())
        })?;
        if is_round {
            self.round_before = std::mem::take(&mut self.round);
        }
        let Some((app, push)) = open else {
            self.round_before = 0;
            self.numbers.open.set(0.0);
            return Ok(LOOK);
        };
        self.round = self.round.saturating_add(1);
        self.numbers.open.set(f64::from(self.round.max(self.round_before)));
        self.last = Some(app);
        self.page(app, push, now_ms)
    }

    /// A page is on disk, or not.
    fn landed(&mut self, stored: bool, now_ms: u64) -> Result<Duration, DirectoryError> {
        let Some(flight) = self.flight.take() else { return Ok(Duration::ZERO) };
        if !stored {
            self.numbers.failures.increment(1);
            return Ok(RETRY);
        }
        self.numbers.page_seconds.record(now_ms.saturating_sub(flight.begun_ms) as f64 / 1000.0);
        self.moved(flight.app, flight.number, &flight.from, &flight.to)?;
        self.sent(flight.count, flight.begun_ms);
        Ok(Duration::ZERO)
    }

    /// So many have got a message: as many more have to wait for theirs.
    fn sent(&mut self, count: usize, begun_ms: u64) {
        self.numbers.pages.increment(1);
        self.numbers.users.increment(count as u64);
        let rest_ms = 1000 * count as u64 / u64::from(self.shared.config.push.accounts_per_s.max(1));
        self.free_at_ms = self.free_at_ms.max(begun_ms) + rest_ms;
    }

    fn page(&mut self, app: AppId, push: PushRow, now_ms: u64) -> Result<Duration, DirectoryError> {
        let PushRow { number, created_ms, life_time_s, mut place, .. } = push;
        let life_s = if life_time_s == 0 { LIFE_TIME_MAX_S } else { life_time_s };
        let over = now_ms > created_ms.saturating_add(u64::from(life_s) * 1000);
        // Whoever switches pushes off ends those that are under way.
        let off = !self.shared.settings(app).config.push.enabled;
        let condition = match push.condition.is_empty() {
            true => Ok(None),
            false => serde_json::from_str::<Condition>(&push.condition).map(Some),
        };
        let sender = UserKey::new(app, &push.from);
        let (condition, sender) = match (condition, sender) {
            (Ok(condition), Ok(sender)) if !over && !off => (condition, sender),
            (condition, _) => {
                // Never to more than it was meant for.
                tracing::warn!(
                    app = app.0,
                    number,
                    over,
                    off,
                    unreadable = condition.is_err(),
                    "a push ends early"
                );
                let done = PushPlace { until: String::new(), done_ms: now_ms.max(1), ..place.clone() };
                self.moved(app, number, &place, &done)?;
                return Ok(Duration::ZERO);
            }
        };
        let directory = self.shared.directory.clone();
        let members =
            |after: &str, until: &str, limit| directory.members(app, (after, until), created_ms, limit);
        let end_of = |after: &str| {
            let last = members(after, END, PAGE)?.pop();
            Ok::<_, DirectoryError>(last.map(|user| user.name().to_owned()).unwrap_or_default())
        };
        if place.until.is_empty() {
            let until = end_of(&place.after)?;
            let done_ms = if until.is_empty() { now_ms.max(1) } else { 0 };
            let planned = PushPlace { until, done_ms, ..place.clone() };
            if !self.moved(app, number, &place, &planned)? || done_ms > 0 {
                return Ok(Duration::ZERO);
            }
            place = planned;
        }
        let users = members(&place.after, &place.until, u32::MAX)?;
        let mut chosen = match &condition {
            Some(condition) => self.chosen(users, condition)?,
            None => users,
        };
        if life_time_s == 0 {
            let registry = self.shared.registry();
            chosen.retain(|user| !registry.platforms(user).is_empty());
        }
        let until = end_of(&place.until)?;
        let to = PushPlace {
            after: place.until.clone(),
            done_ms: if until.is_empty() { now_ms.max(1) } else { 0 },
            until,
            sent: place.sent + chosen.len() as u64,
        };
        let count = chosen.len();
        if count == 0 {
            self.moved(app, number, &place, &to)?;
            self.sent(0, now_ms);
            self.free_at_ms = self.free_at_ms.max(now_ms + EMPTY_REST_MS);
            return Ok(Duration::from_millis(EMPTY_REST_MS));
        }
        let conv = ConvKey::pushes(app);
        let client_msg_id = page_id(&conv, (number, created_ms), &place.after);
        let idem = IdemKey { sender, client_msg_id };
        let append = Append { conv, idem, logs: chosen, time_ms: 0, body: push.message, uncounted: false };
        if life_time_s == 0 {
            // Nothing of it is stored, so the place is: at worst a page goes out to nobody, never twice.
            if self.moved(app, number, &place, &to)? {
                self.unsaid.push(letter(Post { append, done: None }, true));
                self.sent(count, now_ms);
            }
            return Ok(Duration::ZERO);
        }
        let (pending, done) = Pending::new();
        let done = Box::new(move |outcome: Result<&Appended, &LedgerError>| done.tell(outcome.is_ok()));
        match self.shared.posts.offer(vec![letter(Post { append, done: Some(done) }, false)]) {
            Ok(()) => {
                self.flight = Some(Flight { app, number, from: place, to, count, begun_ms: now_ms, pending });
                Ok(Duration::ZERO)
            }
            Err(_) => Ok(NO_ROOM),
        }
    }

    /// Those that are meant.
    fn chosen(&self, users: Vec<UserKey>, condition: &Condition) -> Result<Vec<UserKey>, DirectoryError> {
        let (mut tags, mut attrs) = (Vec::new(), Vec::new());
        self.shared.directory.read_people(&mut |tx| {
            match condition {
                Condition::Tags { .. } => tags = tx.tags(&users)?,
                Condition::Attrs { .. } => attrs = tx.attrs(&users)?,
            }
            Ok(())
        })?;
        tags.resize(users.len(), Vec::new());
        attrs.resize(users.len(), Attrs::new());
        let all = users.into_iter().zip(tags.iter().zip(&attrs));
        Ok(all.filter(|(_, (tags, attrs))| condition.means(tags, attrs)).map(|(user, _)| user).collect())
    }

    /// Moves a push that is where it was. `false`: another core has moved it.
    fn moved(
        &self,
        app: AppId,
        number: u64,
        from: &PushPlace,
        to: &PushPlace,
    ) -> Result<bool, DirectoryError> {
        let mut moved = false;
        self.shared.directory.write_people(&mut |tx| {
            moved = tx.move_push(app, number, from, to)?;
            Ok(())
        })?;
        Ok(moved)
    }
}

fn letter(post: Post, online_only: bool) -> Letter {
    Letter { post, online_only, imported: None, told: None }
}

/// The idempotency key of a page: which push, and where the page begins.
fn page_id(conv: &ConvKey, (number, created_ms): (u64, u64), after: &str) -> [u8; 16] {
    let mut digest = digest::Context::new(&digest::SHA256);
    digest.update(conv.as_bytes());
    digest.update(&number.to_be_bytes());
    digest.update(&created_ms.to_be_bytes());
    digest.update(after.as_bytes());
    let mut id = [0; 16];
    id.copy_from_slice(&digest.finish().as_ref()[..16]);
    id
}
