//! Which file is next, and the steps that make it.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::time::Duration;

use metrics::{Counter, Gauge, Unit, counter, describe_counter, describe_gauge, gauge};
use nearport_wire::body::{Message, element};

use super::{Files, HOUR_MS, HistoryKey, HistoryRow, KEPT_HOURS, Made, Said, Sheet};
use crate::directory::DirectoryError;
use crate::kept::Kept;
use crate::key::{AppId, ConvKey, Talk};
use crate::ledger::{LedgerError, PageLimit, Range};
use crate::msg_key::MsgKey;
use crate::shared::Shared;

/// From the end of an hour until its file is begun: what was sent in it is stored by then, on clocks that differ.
const DELAY_MS: u64 = 60_000;

/// Conversations that one step looks at: some ten milliseconds.
const LOOKS: usize = 1_000;

/// Messages that one step reads.
const PAGE: PageLimit = PageLimit { entries: 500, bytes: 1 << 20 };

/// Messages that are read of a conversation at first: of most that is all, and of an hour that is long over most have none.
const FIRST: PageLimit = PageLimit { entries: 8, ..PAGE };

/// After this time without a sign of life somebody else's file is begun anew.
const STALE_MS: u64 = 600_000;

/// A sign of life comes so often.
const SIGN_MS: u64 = 60_000;

/// All Apps are looked at again after so long: what another process left is found by it.
const LOOK_MS: u64 = 300_000;

/// When it is looked whether an hour is over.
const IDLE: Duration = Duration::from_secs(10);

/// After a failure: the stores may be away.
const RETRY: Duration = Duration::from_secs(60);

/// Old files that one step removes.
const OLD: u32 = 16;

/// Makes files, one after the other. Whoever has it calls [`Self::turn`] again and again.
pub struct Maker {
    shared: Shared,
    files: Box<dyn Files>,
    numbers: Numbers,
    /// Apps that are to be looked at.
    todo: VecDeque<(AppId, Talk)>,
    /// When they were put there, and which hour was the last one that was over.
    looked: Option<(u64, u64)>,
    /// Old files may be there.
    old: bool,
    work: Option<Work>,
}

struct Numbers {
    files: Counter,
    messages: Counter,
    failures: Counter,
    removed: Counter,
    behind: Gauge,
}

/// A file under way.
struct Work {
    key: HistoryKey,
    /// The last hour that was over when it was begun.
    last: u64,
    sheet: Box<dyn Sheet>,
    media: String,
    signed_ms: u64,
    /// Where the walk goes on.
    walk: Walk,
    /// The time of the earliest message behind its hour that was seen, milliseconds.
    next_ms: u64,
    convs: VecDeque<ConvKey>,
    /// The conversation that is being read, and up to which place it was.
    at: Option<(ConvKey, u64, PageLimit)>,
    messages: u64,
}

enum Walk {
    From(Option<ConvKey>),
    Over,
}

/// Why a step did not succeed.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("the file: {0}")]
    File(#[from] io::Error),
}

impl fmt::Debug for Maker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Maker").field("key", &self.work.as_ref().map(|work| work.key)).finish_non_exhaustive()
    }
}

impl Maker {
    /// Over the stores of a backend.
    #[must_use]
    pub fn new(shared: Shared, files: Box<dyn Files>) -> Self {
        let numbers = Numbers::new();
        Self { shared, files, numbers, todo: VecDeque::new(), looked: None, old: true, work: None }
    }

    /// Does what is next, and says after which time it wants to be called again. Blocks for some looks into the stores.
    pub fn turn(&mut self, now_ms: u64) -> Duration {
        match self.next(now_ms) {
            Ok(wait) => wait,
            Err(error) => {
                let key = self.work.as_ref().map(|work| work.key);
                tracing::warn!(%error, ?key, "a history file cannot be made; tried again");
                self.numbers.failures.increment(1);
                if let Some(work) = self.work.take() {
                    self.release(&work.key, &work.media, &work.media);
                }
                RETRY
            }
        }
    }

    fn next(&mut self, now_ms: u64) -> Result<Duration, Failed> {
        let Some(mut work) = self.work.take() else { return self.choose(now_ms) };
        // It is there again whatever happens, so that a failure lets go of it.
        let done = self.step(&mut work, now_ms);
        let HistoryKey { app, talk, .. } = work.key;
        match done {
            Ok(Step::On) => self.work = Some(work),
            Ok(Step::Whole) => {
                self.finish(work, now_ms)?;
                self.todo.push_front((app, talk));
            }
            // Somebody else has begun it anew.
            Ok(Step::Lost) => self.todo.push_front((app, talk)),
            Err(error) => {
                self.work = Some(work);
                return Err(error);
            }
        }
        Ok(Duration::ZERO)
    }

    /// Which file is next.
    fn choose(&mut self, now_ms: u64) -> Result<Duration, Failed> {
        let over = (now_ms.saturating_sub(DELAY_MS) / HOUR_MS).saturating_sub(1);
        let first = (over + 1).saturating_sub(KEPT_HOURS);
        if std::mem::take(&mut self.old) {
            // One that cannot be removed now is met again at the next look, and keeps nobody waiting until then.
            self.old = self.remove_old(first)?;
            return Ok(Duration::ZERO);
        }
        // It comes back when there may be more of it to do. What fails does not: the others do not wait for it.
        let Some((app, talk)) = self.todo.pop_front() else {
            let again = self.looked.is_none_or(|(at_ms, hour)| hour < over || now_ms >= at_ms + LOOK_MS);
            if !again {
                self.numbers.behind.set(0.0);
                return Ok(IDLE);
            }
            self.looked = Some((now_ms, over));
            self.old = true;
            let apps = self.shared.app_ids().into_iter();
            self.todo = apps.flat_map(|app| Talk::ALL.map(|talk| (app, talk))).collect();
            return Ok(Duration::ZERO);
        };
        if !self.shared.settings(app).config.history_files {
            return Ok(Duration::ZERO);
        }
        let stale_ms = now_ms.saturating_sub(STALE_MS);
        let mut hour = 0;
        self.shared.directory.read_people(&mut |tx| {
            hour = tx.next_history(app, talk, stale_ms)?.unwrap_or(first).max(first);
            Ok(())
        })?;
        let behind_ms = (over + 1).saturating_sub(hour) * HOUR_MS;
        self.numbers.behind.set(behind_ms as f64 / 1000.0);
        if hour > over {
            return Ok(Duration::ZERO);
        }
        self.begin(HistoryKey { app, talk, hour }, over, now_ms)
    }

    /// Says that this process makes it, and begins.
    fn begin(&mut self, key: HistoryKey, last: u64, now_ms: u64) -> Result<Duration, Failed> {
        let sheet = self.files.begin(&key, now_ms)?;
        let media = sheet.media();
        let row = HistoryRow { media: media.clone(), started_ms: now_ms, ..HistoryRow::default() };
        let stale_ms = now_ms.saturating_sub(STALE_MS);
        let (mut is_mine, mut former) = (false, None);
        self.shared.directory.write_people(&mut |tx| {
            let known = tx.history(&key)?;
            is_mine = known.as_ref().is_none_or(|row| row.done_ms == 0 && row.started_ms < stale_ms);
            former = known.map(|row| row.media).filter(|media| !media.is_empty());
            if is_mine { tx.put_history(&key, &row) } else { Ok(()) }
        })?;
        if !is_mine {
            self.todo.push_front((key.app, key.talk));
            return Ok(Duration::ZERO);
        }
        let walk = Walk::From(None);
        let (next_ms, convs, at) = (u64::MAX, VecDeque::new(), None);
        let mine = media.clone();
        self.work = Some(Work {
            key,
            last,
            sheet,
            media: mine,
            signed_ms: now_ms,
            walk,
            next_ms,
            convs,
            at,
            messages: 0,
        });
        // It may have been whole when its maker died.
        if let Some(former) = former
            && let Err(error) = self.files.remove(key.app, &former)
        {
            // Its name must not get lost.
            self.work = None;
            self.release(&key, &media, &former);
            return Err(error.into());
        }
        Ok(Duration::ZERO)
    }

    fn step(&self, work: &mut Work, now_ms: u64) -> Result<Step, Failed> {
        if now_ms >= work.signed_ms + SIGN_MS {
            if !self.sign(work, now_ms)? {
                return Ok(Step::Lost);
            }
            work.signed_ms = now_ms;
        }
        if let Some((conv, seq, page)) = work.at.take() {
            work.at = self.read(work, &conv, seq, page)?.map(|seq| (conv, seq, PAGE));
            return Ok(Step::On);
        }
        let from_ms = work.key.hour * HOUR_MS;
        if let Some(conv) = work.convs.pop_front() {
            let first = self.shared.ledger.seq_at(&conv, from_ms)?;
            work.at = Some((conv, first.saturating_sub(1), FIRST));
            return Ok(Step::On);
        }
        let Walk::From(after) = &work.walk else { return Ok(Step::Whole) };
        let HistoryKey { app, talk, .. } = work.key;
        let found = self.shared.ledger.walk(app, talk, after.as_ref(), from_ms, LOOKS)?;
        work.convs = found.convs.into();
        work.walk = found.next.map_or(Walk::Over, |next| Walk::From(Some(next)));
        Ok(Step::On)
    }

    /// Reads on behind a place. Gives the next one, if there may be more of the hour.
    fn read(
        &self,
        work: &mut Work,
        conv: &ConvKey,
        after: u64,
        page: PageLimit,
    ) -> Result<Option<u64>, Failed> {
        let hour = work.key.hour * HOUR_MS..(work.key.hour + 1) * HOUR_MS;
        let entries = self.shared.ledger.read(conv, Range::After(after), page)?;
        let behind = entries.iter().map(|entry| entry.time_ms).find(|time_ms| *time_ms >= hour.end);
        work.next_ms = work.next_ms.min(behind.unwrap_or(u64::MAX));
        let Some(last) = entries.last().map(|entry| (entry.seq, entry.time_ms)) else { return Ok(None) };
        for entry in entries.iter().filter(|entry| hour.contains(&entry.time_ms)) {
            let Ok(message) = Kept::open(&entry.body).decode() else { continue };
            if !is_said(&message) {
                continue;
            }
            let mut key = MsgKey::of(&message, entry.seq, entry.time_ms);
            if conv.is_group() {
                key.seq = entry.seq;
            }
            work.sheet.add(&Said { conv: conv.clone(), key, message })?;
            work.messages += 1;
        }
        Ok(Some(last.0).filter(|_| last.1 < hour.end))
    }

    /// A sign of life. `false`: somebody else has it.
    fn sign(&self, work: &Work, now_ms: u64) -> Result<bool, Failed> {
        let mut is_mine = false;
        self.shared.directory.write_people(&mut |tx| {
            let known = tx.history(&work.key)?.filter(|row| row.media == work.media && row.done_ms == 0);
            is_mine = known.is_some();
            match known {
                Some(row) => tx.put_history(&work.key, &HistoryRow { started_ms: now_ms, ..row }),
                None => Ok(()),
            }
        })?;
        Ok(is_mine)
    }

    /// The file is whole.
    fn finish(&mut self, work: Work, now_ms: u64) -> Result<(), Failed> {
        let Work { key, last, sheet, media, next_ms, messages, .. } = work;
        let made = if messages > 0 { sheet.finish() } else { Ok(Made::default()) };
        let Made { bytes, md5, gzip_bytes, gzip_md5 } = match made {
            Ok(made) => made,
            Err(error) => {
                self.release(&key, &media, &media);
                return Err(error.into());
            }
        };
        let name = if messages > 0 { media.clone() } else { String::new() };
        let row = HistoryRow {
            media: name,
            started_ms: now_ms,
            done_ms: now_ms.max(1),
            messages,
            bytes,
            md5,
            gzip_bytes,
            gzip_md5,
        };
        let mut is_mine = false;
        self.shared.directory.write_people(&mut |tx| {
            is_mine = tx.history(&key)?.is_some_and(|row| row.media == media && row.done_ms == 0);
            if !is_mine {
                return Ok(());
            }
            tx.put_history(&key, &row)?;
            // In the hours up to the next message, or up to now, nothing was said: they are dealt with.
            let quiet = HistoryKey { hour: last.min((next_ms / HOUR_MS).saturating_sub(1)), ..key };
            if quiet.hour > key.hour && tx.history(&quiet)?.is_none() {
                let none = HistoryRow { started_ms: now_ms, done_ms: now_ms.max(1), ..HistoryRow::default() };
                tx.put_history(&quiet, &none)?;
            }
            Ok(())
        })?;
        if !is_mine {
            if messages > 0 {
                self.files.remove(key.app, &media)?;
            }
            return Ok(());
        }
        self.numbers.files.increment(u64::from(messages > 0));
        self.numbers.messages.increment(messages);
        Ok(())
    }

    /// After a failure: whoever comes next begins at once, and removes `left`.
    fn release(&self, key: &HistoryKey, media: &str, left: &str) {
        let released = self.shared.directory.write_people(&mut |tx| match tx
            .history(key)?
            .filter(|row| row.media == media && row.done_ms == 0)
        {
            Some(row) => tx.put_history(key, &HistoryRow { started_ms: 0, media: left.to_owned(), ..row }),
            None => Ok(()),
        });
        if let Err(error) = released {
            tracing::warn!(%error, ?key, "a history file that cannot be made stays begun for ten minutes");
        }
    }

    /// Whether there may be more.
    fn remove_old(&self, first: u64) -> Result<bool, Failed> {
        let mut old = Vec::new();
        self.shared.directory.read_people(&mut |tx| {
            old = tx.old_history(first, OLD)?;
            Ok(())
        })?;
        for (key, media) in &old {
            // The row last: what is cut off in between is found again.
            if !media.is_empty() {
                self.files.remove(key.app, media)?;
                self.numbers.removed.increment(1);
            }
            self.shared.directory.write_people(&mut |tx| tx.remove_history(key))?;
        }
        Ok(old.len() == OLD as usize)
    }
}

enum Step {
    On,
    Whole,
    Lost,
}

/// Whether somebody said it and has not taken it back: tips and notices are the server's.
fn is_said(message: &Message) -> bool {
    use element::Element::{Notice, Tip};
    let elements = message.content.iter().flat_map(|content| &content.elements);
    let mut of_server = elements.filter(|one| matches!(one.element, Some(Notice(_) | Tip(_))));
    message.recalled.is_none() && of_server.next().is_none()
}

impl Numbers {
    fn new() -> Self {
        describe_counter!("nearport_history_files_total", Unit::Count, "history files made");
        describe_counter!("nearport_history_messages_total", Unit::Count, "messages in history files made");
        describe_counter!(
            "nearport_history_failures_total",
            Unit::Count,
            "history files that failed; tried again"
        );
        describe_counter!(
            "nearport_history_removed_total",
            Unit::Count,
            "history files removed after seven days"
        );
        describe_gauge!(
            "nearport_history_behind_seconds",
            Unit::Seconds,
            "time that is over and whose history files are not made, of the App that is at work"
        );
        Self {
            files: counter!("nearport_history_files_total"),
            messages: counter!("nearport_history_messages_total"),
            failures: counter!("nearport_history_failures_total"),
            removed: counter!("nearport_history_removed_total"),
            behind: gauge!("nearport_history_behind_seconds"),
        }
    }
}
