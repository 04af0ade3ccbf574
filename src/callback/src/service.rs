//! The shell: a thread with a runtime of its own, on which back ends are told and asked.
//!
//! Each App with a back end has a **line**: a task that reads its shelf of the outbox in pages and lets a [`Queue`] decide. What is
//! settled goes to the writer, which carries it out with one of its next commits; a crash before that tells it again.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nearport_chat::Clock;
use nearport_chat::callback::{Callbacks, Event};
use nearport_chat::key::AppId;
use nearport_chat::ledger::{Ledger, LedgerError, OutboxEntry, PageLimit, Settle, Settled, Shelf};
use prost::Message as _;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::ask::{Asker, BackEnds, Shared};
use crate::dice::Dice;
use crate::metrics::Metrics;
use crate::queue::{Config, Fate, Outcome, Queue};
use crate::render::{About, Elements, render};
use crate::sender::Failed;
use crate::target::Targets;
use crate::verdict;

/// Entries of an App's outbox. The oldest of what is beyond is given up.
pub const WAITING_MAX: u64 = 1_000_000;
/// Entries of an App that are kept after they were given up. The oldest of what is beyond is forgotten.
pub const DEAD_MAX: u64 = 100_000;

/// Bounds of one read of the outbox.
const PAGE_ENTRIES: usize = 256;
const PAGE_BYTES: usize = 2 << 20;

/// How often new Apps are looked for, and how long is waited after a read that failed.
const APPS_EVERY: Duration = Duration::from_secs(2);
const READ_AGAIN: Duration = Duration::from_secs(1);
/// Threads for reads of the ledger and look-ups of names.
const BLOCKING_MAX: usize = 32;
/// How long the end waits for them.
const END_MAX: Duration = Duration::from_secs(5);

/// How often a line looks at what has become too old, if nothing else happens.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// The unread count of a user, over all pairs; `None` if it cannot be told. Blocks.
pub type Unread = Arc<dyn Fn(AppId, &str) -> Option<u64> + Send + Sync>;

/// What a service is made of.
pub struct Start {
    /// Where events come from, and settlements go.
    pub callbacks: Arc<Callbacks>,
    /// Where the outbox is.
    pub ledger: Arc<dyn Ledger>,
    /// All Apps.
    pub apps: Arc<dyn Fn() -> Vec<AppId> + Send + Sync>,
    /// The time.
    pub clock: Clock,
    /// `MsgBody`.
    pub elements: Elements,
    /// `UnreadMsgNum`.
    pub unread: Unread,
    /// Bounds of each line; `concurrency` and `retry` of its target take the place of theirs.
    pub queue: Config,
}

impl std::fmt::Debug for Start {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Start").field("queue", &self.queue).finish_non_exhaustive()
    }
}

/// Tells and asks as long as it lives. Dropping it ends what is under way, and waits for reads of the ledger.
#[derive(Debug)]
pub struct Service {
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
    switch: Switch,
}

/// Says which back ends there are. Cheap to clone; of no effect when the service has ended.
#[derive(Debug, Clone)]
pub struct Switch {
    back_ends: watch::Sender<Arc<BackEnds>>,
    callbacks: Arc<Callbacks>,
    metrics: Arc<Metrics>,
}

impl Switch {
    /// These are told and asked from now on, and no others. One that has not changed keeps its connections. What waits for an App that has none
    /// any more is told when it has one again.
    pub fn to(&self, targets: &Targets) {
        self.back_ends.send_modify(|now| *now = Arc::new(BackEnds::new(targets, now, &self.metrics)));
        self.callbacks.switch(targets.switches());
    }
}

impl Service {
    /// Starts the thread. Nobody is told or asked anything before [`Switch::to`] says who.
    ///
    /// # Errors
    /// What the system says of a thread or its runtime.
    pub fn start(start: Start) -> std::io::Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            // Names are looked up there too: one App's resolver that hangs is not to hold up the others.
            .max_blocking_threads(BLOCKING_MAX)
            .thread_name("callback-read")
            .build()?;
        let metrics = Arc::new(Metrics::new());
        let (back_ends, switched) = watch::channel(Arc::<BackEnds>::default());
        let switch = Switch { back_ends, callbacks: start.callbacks.clone(), metrics: metrics.clone() };
        let asker = Asker::new(
            runtime.handle().clone(),
            switched.clone(),
            start.elements,
            metrics.clone(),
            start.callbacks.clone(),
        );
        start.callbacks.ask_by(Arc::new(asker));
        let (woken, wakes) = watch::channel(0u64);
        start.callbacks.listen(move || woken.send_modify(|count| *count = count.wrapping_add(1)));
        let run = move || {
            runtime.block_on(lines(start, switched, metrics, wakes, stopped));
            // Without it the end would wait for a resolver that hangs. Reads of the ledger take milliseconds.
            runtime.shutdown_timeout(END_MAX);
        };
        let thread = std::thread::Builder::new().name("callbacks".to_owned()).spawn(run)?;
        Ok(Self { stop, thread: Some(thread), switch })
    }

    /// For whoever knows which back ends there are.
    #[must_use]
    pub fn switch(&self) -> Switch {
        self.switch.clone()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that calls back ends panicked");
        }
    }
}

/// Starts a line for each App that has a back end, until it is to stop.
async fn lines(
    start: Start,
    mut switched: watch::Receiver<Arc<BackEnds>>,
    metrics: Arc<Metrics>,
    wakes: watch::Receiver<u64>,
    mut stopped: watch::Receiver<bool>,
) {
    let (mut known, mut running) = (BTreeSet::new(), JoinSet::new());
    loop {
        let back_ends = switched.borrow_and_update().clone();
        let apps = if back_ends.is_empty() { Vec::new() } else { (start.apps)() };
        for app in apps {
            if back_ends.of(app).is_none() || !known.insert(app.0) {
                continue;
            }
            let mut line = Line {
                app,
                back_end: None,
                switched: switched.clone(),
                ledger: start.ledger.clone(),
                callbacks: start.callbacks.clone(),
                clock: start.clock.clone(),
                elements: start.elements,
                unread: start.unread.clone(),
                metrics: metrics.clone(),
                queue: Queue::new(start.queue),
                entries: HashMap::new(),
                after: 0,
                settles: Vec::new(),
                died: 0,
                shown: (0.0, false),
                dice: Dice::new(app.0),
            };
            line.switch();
            running.spawn(line.run(wakes.clone()));
        }
        tokio::select! {
            _ = stopped.changed() => break,
            Ok(()) = switched.changed() => {}
            () = tokio::time::sleep(APPS_EVERY) => {}
        }
    }
    running.shutdown().await;
}

/// The events of one App on their way.
struct Line {
    app: AppId,
    /// `None`: what there is waits.
    back_end: Option<Shared>,
    switched: watch::Receiver<Arc<BackEnds>>,
    ledger: Arc<dyn Ledger>,
    callbacks: Arc<Callbacks>,
    clock: Clock,
    elements: Elements,
    unread: Unread,
    metrics: Arc<Metrics>,
    queue: Queue,
    /// What the queue holds.
    entries: HashMap<u64, (OutboxEntry, Event)>,
    /// Read up to here.
    after: u64,
    /// For the writer, as soon as it has room.
    settles: Vec<Settle>,
    /// Given up since the dead were counted.
    died: u64,
    /// What the gauges say of this line.
    shown: (f64, bool),
    dice: Dice,
}

type Told = (u64, Result<(), Failed>);

impl Line {
    async fn run(mut self, mut wakes: watch::Receiver<u64>) {
        let (mut tasks, mut more) = (JoinSet::<Told>::new(), true);
        loop {
            let mut pause = LOOK_EVERY;
            if more && self.queue.room() > 0 {
                match self.load().await {
                    Ok(there_is_more) => more = there_is_more,
                    Err(error) => {
                        tracing::error!(app = self.app.0, %error, "cannot read the outbox");
                        pause = READ_AGAIN;
                    }
                }
                if more && pause == LOOK_EVERY && self.queue.room() > 0 {
                    continue;
                }
            }
            self.hand_over();
            let now_ms = (self.clock)();
            while let Some(back_end) = self.back_end.clone()
                && let Some(number) = self.queue.next(now_ms)
            {
                self.tell(number, back_end, &mut tasks);
            }
            self.show();
            if let Some(due) = self.queue.deadline_ms().filter(|_| self.back_end.is_some()) {
                pause = pause.min(Duration::from_millis(due.saturating_sub(now_ms).max(1)));
            }
            if !self.settles.is_empty() {
                pause = pause.min(Duration::from_millis(50));
            }
            tokio::select! {
                changed = wakes.changed() => match changed {
                    Ok(()) => more = true,
                    // The backend is gone.
                    Err(_) => return,
                },
                Ok(()) = self.switched.changed() => self.switch(),
                Some(told) = tasks.join_next(), if !tasks.is_empty() => self.told(told),
                () = tokio::time::sleep(pause) => {
                    let now_ms = (self.clock)();
                    for number in self.queue.expire(now_ms) {
                        self.give_up(number, "it is too old");
                    }
                    // A full window reads nothing, and what is behind it grows all the same.
                    if self.queue.room() == 0 {
                        let app = self.app;
                        match self.read(move |ledger| ledger.outbox_last(app, Shelf::Waiting)).await {
                            Ok(last) => self.bound(last),
                            Err(error) => tracing::error!(app = app.0, %error, "cannot read the outbox"),
                        }
                        more = true;
                    }
                }
            }
            while let Some(told) = tasks.try_join_next() {
                self.told(told);
            }
        }
    }

    /// Takes the back end that the App has now.
    fn switch(&mut self) {
        let now = self.switched.borrow_and_update().of(self.app).cloned();
        let same = match (&self.back_end, &now) {
            (Some(before), Some(now)) => Arc::ptr_eq(before, now),
            (None, None) => true,
            _ => false,
        };
        if let Some(back_end) = now.as_ref().filter(|_| !same) {
            self.queue.switch(back_end.target.concurrency, back_end.target.retry);
        }
        self.back_end = now;
    }

    /// Reads the next page. Whether there may be another one.
    async fn load(&mut self) -> Result<bool, LedgerError> {
        let limit = PageLimit { entries: self.queue.room().min(PAGE_ENTRIES), bytes: PAGE_BYTES };
        let (app, after, died) = (self.app, self.after, self.died);
        let page = self
            .read(move |ledger| {
                let page = ledger.outbox(app, Shelf::Waiting, after, limit)?;
                let last = ledger.outbox_last(app, Shelf::Waiting)?;
                let dead = if died > 0 { too_many_dead(ledger, app)? } else { Vec::new() };
                Ok((page, last, dead))
            })
            .await?;
        let (page, last, dead) = page;
        self.died = 0;
        self.metrics.forgotten.increment(dead.len() as u64);
        let forgotten = |number| Settle { app, number, what: Settled::Forgotten };
        self.settles.extend(dead.into_iter().map(forgotten));
        let more = !page.is_empty();
        for entry in page {
            self.after = self.after.max(entry.number);
            let number = entry.number;
            match Event::decode(entry.body.clone()) {
                Ok(event) => {
                    self.queue.push(number, event.key.clone(), entry.time_ms, entry.body.len());
                    self.entries.insert(number, (entry, event));
                }
                Err(error) => self.give_up(number, &format!("it is unreadable: {error}")),
            }
        }
        self.bound(last);
        Ok(more)
    }

    /// Keeps what waits within its bound; `last` is the newest entry of the shelf.
    fn bound(&mut self, last: u64) {
        let first = self.entries.keys().min().copied().unwrap_or(last);
        let waiting = last.saturating_sub(first);
        if waiting > WAITING_MAX {
            let excess = usize::try_from(waiting - WAITING_MAX).unwrap_or(usize::MAX);
            for number in self.queue.shed(excess) {
                self.give_up(number, "too much is waiting");
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "a million at most, about")]
        let waiting = waiting as f64;
        self.metrics.waiting.increment(waiting - self.shown.0);
        self.shown.0 = waiting;
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Ledger) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let ledger = self.ledger.clone();
        let read = tokio::task::spawn_blocking(move || read(&*ledger)).await;
        read.unwrap_or_else(|panic| Err(LedgerError::Io(panic.to_string())))
    }

    /// Sends an entry on its way.
    fn tell(&self, number: u64, back_end: Shared, tasks: &mut JoinSet<Told>) {
        let Some((entry, event)) = self.entries.get(&number) else {
            debug_assert!(false, "the queue has entry {number} and the line has not");
            return;
        };
        let (event, elements) = (event.clone(), self.elements);
        let (unread, clock, metrics) = (self.unread.clone(), self.clock.clone(), self.metrics.clone());
        let callbacks = self.callbacks.clone();
        let mut about = About { app: self.app, seq: entry.seq, time_ms: entry.time_ms, unread: None };
        tasks.spawn(async move {
            if !event.unread_of.is_empty() {
                let (app, user) = (about.app, event.unread_of.clone());
                about.unread = tokio::task::spawn_blocking(move || unread(app, &user)).await.ok().flatten();
            }
            let started = Instant::now();
            let rendered = render(&event, about, &back_end.target, elements, clock());
            let outcome = match rendered.map_err(Failed::Garbage) {
                Ok(rendered) => back_end.sender.send(&rendered).await,
                Err(failed) => Err(failed),
            };
            metrics.event_seconds.record(started.elapsed());
            let heard = outcome.and_then(|body| verdict::heard(&body).map_err(Failed::Garbage));
            callbacks.exchanged(about.app, heard.is_ok());
            (number, heard)
        });
    }

    fn told(&mut self, told: Result<Told, tokio::task::JoinError>) {
        // A task that panicked leaves its entry under way: it is told after the next start.
        let Ok((number, outcome)) = told.inspect_err(|panic| tracing::error!(%panic, "a callback panicked"))
        else {
            return;
        };
        let how = match &outcome {
            Ok(()) => Outcome::Told,
            Err(failed) if failed.is_answer() => Outcome::Bad,
            Err(_) => Outcome::Unreachable,
        };
        let (now_ms, dice) = ((self.clock)(), self.dice.roll());
        let fate = self.queue.done(number, how, now_ms, dice);
        if let Err(failed) = &outcome {
            self.metrics.failed.increment(1);
            tracing::debug!(app = self.app.0, number, %failed, "a back end was not told");
        }
        match (fate, outcome) {
            (Fate::Told, _) => {
                self.metrics.told.increment(1);
                self.settle(number, Settled::Told);
            }
            (Fate::Dead, outcome) => {
                let reason = outcome.err().map(|failed| failed.to_string()).unwrap_or_default();
                self.give_up(number, &reason);
            }
            (Fate::Again, _) => {}
        }
    }

    fn give_up(&mut self, number: u64, reason: &str) {
        tracing::warn!(app = self.app.0, number, reason, "a back end is not told of an event");
        self.metrics.dead.increment(1);
        self.died += 1;
        let now_ms = (self.clock)();
        self.settle(number, Settled::Dead { now_ms, reason: reason.to_owned() });
    }

    fn settle(&mut self, number: u64, what: Settled) {
        self.entries.remove(&number);
        self.settles.push(Settle { app: self.app, number, what });
    }

    /// Gives settlements to the writer, as far as it has room.
    fn hand_over(&mut self) {
        if !self.settles.is_empty() {
            let taken = self.callbacks.settle(self.settles.clone());
            self.settles.drain(..taken);
        }
    }

    fn show(&mut self) {
        let open = self.queue.is_open();
        if open != self.shown.1 {
            self.metrics.open_events.increment(if open { 1.0 } else { -1.0 });
            match open {
                true => tracing::warn!(app = self.app.0, "a back end is held for down: only probes are sent"),
                false => tracing::info!(app = self.app.0, "a back end is back"),
            }
            self.shown.1 = open;
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.metrics.waiting.decrement(self.shown.0);
        if self.shown.1 {
            self.metrics.open_events.decrement(1.0);
        }
    }
}

/// The oldest of the dead, of which there are too many: numbers.
fn too_many_dead(ledger: &dyn Ledger, app: AppId) -> Result<Vec<u64>, LedgerError> {
    let last = ledger.outbox_last(app, Shelf::Dead)?;
    let first = ledger.outbox(app, Shelf::Dead, 0, PageLimit { entries: 1, bytes: 1 })?;
    let excess = first.first().map_or(0, |first| (last - first.number).saturating_sub(DEAD_MAX));
    if excess == 0 {
        return Ok(Vec::new());
    }
    let limit = PageLimit {
        entries: usize::try_from(excess).unwrap_or(PAGE_ENTRIES).min(PAGE_ENTRIES),
        bytes: PAGE_BYTES,
    };
    let oldest = ledger.outbox(app, Shelf::Dead, 0, limit)?;
    Ok(oldest.into_iter().map(|entry| entry.number).collect())
}
