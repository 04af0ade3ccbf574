//! What the back ends of Apps hear of, and decide: callbacks of the public contract.
//!
//! **After** something happened an [`Event`] goes into the outbox of the ledger: with a message in one commit, otherwise with the
//! writer's next one. Whoever tells back ends reads it there ([`Callbacks::listen`]) and says what became of it
//! ([`Callbacks::settle`]). **Before** something happens the back end may be asked ([`Ask`]); the request waits in a `gate` meanwhile,
//! and no thread does.
//!
//! Nothing here sends anything: that is the crate `nearport-callback`.

mod command;
mod event;
pub(crate) mod gate;
pub mod guard;
pub(crate) mod pending;
mod settings;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use metrics::{Counter, counter};
use nearport_wire::body::{Content, Element};
use serde_json::{Map, Value};

pub use command::{Command, Commands};
pub use event::{Event, Origin, platform_name};
pub(crate) use settings::TOKEN_BYTES_MAX;
pub use settings::{CONCURRENCY_MAX, CallbackSettings, OnFailure, Token, url};

use crate::directory::events::{EventId, PendingEvent};
use crate::key::{AppId, GroupKey};
use crate::ledger::{Outbound, Settle};
use crate::numbers::Numbers;
use crate::reply::Failure;
use crate::writer::edited;

/// Events that wait for the writer. What finds no room is lost, and counted: only events that are not about a message wait here.
const EVENTS_MAX: usize = 65_536;
/// Settlements that wait for the writer. One that finds no room is told again later.
const SETTLES_MAX: usize = 65_536;
/// Settlements alone cost a commit at most this often, or when so many wait.
const SETTLE_DELAY_MS: u64 = 50;
const SETTLES_PER_COMMIT: usize = 256;
/// How long what was in a commit that failed waits for another one.
const AGAIN_MS: u64 = 1000;

/// Which events of which Apps are told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Switches {
    /// Of Apps that are not named in [`Self::apps`].
    pub default: Commands,
    /// Of single Apps.
    pub apps: BTreeMap<u32, Commands>,
}

impl Switches {
    fn has(&self, app: AppId, command: Command) -> bool {
        self.apps.get(&app.0).unwrap_or(&self.default).has(command)
    }

    fn is_empty(&self) -> bool {
        self.default.is_empty() && self.apps.values().all(|commands| commands.is_empty())
    }
}

/// What of a message a back end replaces; `None`: it stays.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Replaced {
    /// What it says.
    pub elements: Option<Vec<Element>>,
    /// What goes along.
    pub cloud_custom_data: Option<String>,
}

/// What a back end says of something that is about to happen.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It happens.
    Go {
        /// A message says this instead.
        content: Option<Box<Replaced>>,
        /// These are left out, each with a code: invitees, friends to be added.
        refused: Vec<(String, u32, String)>,
    },
    /// It does not.
    Refuse {
        /// For the client.
        code: u32,
        /// For people.
        info: String,
    },
    /// It does not, and the client is told that it did.
    Drop,
}

impl Verdict {
    /// It happens as it was asked for.
    pub const GO: Self = Self::Go { content: None, refused: Vec::new() };

    /// Carries it out on the content of a message. `false`: nobody gets it, and its sender is told that it was sent.
    ///
    /// # Errors
    /// The refusal; also of a new content that is too long.
    pub(crate) fn on(self, content: &mut Content) -> Result<bool, Failure> {
        match self {
            Self::Go { content: None, .. } => Ok(true),
            Self::Go { content: Some(new), .. } => {
                let Replaced { elements, cloud_custom_data } = *new;
                let old = std::mem::take(content);
                *content = edited(old, elements.unwrap_or_default(), cloud_custom_data)?;
                Ok(true)
            }
            Self::Refuse { code, info } => Err(Failure::new(code, info)),
            Self::Drop => Ok(false),
        }
    }
}

/// What the contract says of a message that was delivered.
pub(crate) const SUCCEEDED: &str = "send msg succeed";

/// Fields that all events about a message to a group of the type `kind` have, beside `more`.
pub(crate) fn group_fields(
    group: &GroupKey,
    kind: &str,
    operator: &str,
    online_only: bool,
    mut more: Map<String, Value>,
) -> Value {
    more.insert("GroupId".into(), group.home().id().into());
    if group.is_topic() {
        more.insert("TopicId".into(), group.id().into());
    }
    more.insert("Type".into(), kind.into());
    more.insert("Operator_Account".into(), operator.into());
    more.insert("OnlineOnlyFlag".into(), u8::from(online_only).into());
    Value::Object(more)
}

/// Something that a back end is asked about.
#[derive(Debug, Clone)]
pub struct Question {
    /// Whose back end.
    pub app: AppId,
    /// Which event.
    pub command: Command,
    /// What happens. A message has no sequence number yet: `seq` is the one that it would get now.
    pub event: Event,
    /// See [`Self::event`].
    pub seq: u64,
    /// Now, milliseconds.
    pub time_ms: u64,
}

/// Hears the verdict, once, on any thread; it must not wait for anything.
pub type Decided = Box<dyn FnOnce(Verdict) + Send>;

/// Asks back ends.
pub trait Ask: Send + Sync {
    /// Asks, and gives the verdict within a bounded time whatever happens. Does not wait.
    ///
    /// # Errors
    /// [`Busy`] if too many questions are open.
    fn ask(&self, question: Question, decided: Decided) -> Result<(), Busy>;
}

/// Too many questions are open: who was to hear the verdict comes back.
pub struct Busy(pub Decided);

impl fmt::Debug for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Busy")
    }
}

/// Verdicts for one of the threads, by their tickets.
#[derive(Default)]
pub(crate) struct Verdicts {
    come: Mutex<Vec<(u64, Verdict)>>,
    wake: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl Verdicts {
    fn come(&self, ticket: u64, verdict: Verdict) {
        lock(&self.come).push((ticket, verdict));
        if let Some(wake) = self.wake.get() {
            wake();
        }
    }

    /// All that have come, in that order.
    pub(crate) fn take(&self) -> Vec<(u64, Verdict)> {
        std::mem::take(&mut *lock(&self.come))
    }

    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.come).is_empty()
    }

    /// What wakes the thread; said once.
    pub(crate) fn wake_by(&self, wake: impl Fn() + Send + Sync + 'static) {
        let _ = self.wake.set(Box::new(wake));
    }
}

/// An event, and its name if the directory has it too.
struct Wait {
    outbound: Outbound,
    id: Option<EventId>,
}

/// What waits for the writer.
#[derive(Default)]
struct Waiting {
    events: VecDeque<Wait>,
    /// Names of those whose rows in the directory are to go, for the outbox has them. Settlements wait for that: what is neither there
    /// nor in the outbox was told.
    stored: Vec<EventId>,
    /// Rows are being removed.
    removing: bool,
    settles: VecDeque<Settle>,
    /// When the first of the settlements came, on the clock of the writer: set at its next look.
    settles_since_ms: Option<u64>,
    /// A commit that had some of it has failed: not before this.
    again_ms: Option<u64>,
    /// The next commit is the last one.
    ending: bool,
}

impl Waiting {
    /// `false`: there is no room.
    fn push(&mut self, event: Wait) -> bool {
        let is_room = self.events.len() < EVENTS_MAX;
        if is_room {
            self.events.push_back(event);
        }
        is_room
    }

    fn may_settle(&self) -> bool {
        self.ending || self.stored.is_empty() && !self.removing
    }
}

/// The hub of callbacks: who is told what, and what is on its way. Shared by all threads of the backend and by whoever tells.
#[derive(Default)]
pub struct Callbacks {
    switches: RwLock<Arc<Switches>>,
    /// Whether anything is switched on: nobody pays for what nobody wants.
    any: AtomicBool,
    waiting: Mutex<Waiting>,
    ask: OnceLock<Arc<dyn Ask>>,
    listener: OnceLock<Box<dyn Fn() + Send + Sync>>,
    wake_writer: OnceLock<Box<dyn Fn() + Send + Sync>>,
    pub(crate) writer: Arc<Verdicts>,
    pub(crate) desk: Arc<Verdicts>,
    lost: OnceLock<Counter>,
    numbers: Option<Arc<Numbers>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Callbacks {
    /// One whose exchanges with back ends are counted.
    pub(crate) fn counted_by(numbers: Arc<Numbers>) -> Self {
        Self { numbers: Some(numbers), ..Self::default() }
    }

    /// A request to the back end of an App has gone out, and was answered or not.
    pub fn exchanged(&self, app: AppId, answered: bool) {
        if let Some(numbers) = &self.numbers {
            numbers.called_back(app, answered);
        }
    }

    /// Replaces what is told, from the next request on.
    pub fn switch(&self, switches: Switches) {
        let any = !switches.is_empty();
        *self.switches.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(switches);
        self.any.store(any, Ordering::Release);
    }

    /// Whether the back end of `app` wants to hear of `command`.
    #[must_use]
    pub fn wants(&self, app: AppId, command: Command) -> bool {
        self.any.load(Ordering::Acquire)
            && self.switches.read().unwrap_or_else(PoisonError::into_inner).has(app, command)
    }

    /// Who asks back ends. The first one stays; without one nobody is asked and everything happens.
    pub fn ask_by(&self, ask: Arc<dyn Ask>) {
        let _ = self.ask.set(ask);
    }

    /// What is called after a commit that has put something into the outbox: on the writer's thread, so it must not wait. The
    /// first one stays.
    pub fn listen(&self, listener: impl Fn() + Send + Sync + 'static) {
        let _ = self.listener.set(Box::new(listener));
    }

    /// Puts an event into the outbox, with the writer's next commit. Nothing waits; a crash before that commit loses it: for what is
    /// nowhere else than in memory, either.
    pub fn tell(&self, app: AppId, event: &Event, time_ms: u64) {
        if !lock(&self.waiting).push(Wait { outbound: event.outbound(app, None, time_ms), id: None }) {
            return self.lose(1);
        }
        self.wake_writer();
    }

    /// The same of events that were written with what they tell of: a crash loses none. What finds no room is told after the next start.
    pub(crate) fn tell_pending(&self, events: Vec<PendingEvent>) {
        if events.is_empty() {
            return;
        }
        {
            let mut waiting = lock(&self.waiting);
            for PendingEvent { id, app, time_ms, body } in events {
                let outbound = Outbound { app, append: None, time_ms, body };
                if !waiting.push(Wait { outbound, id: Some(id) }) {
                    counter!("nearport_callback_events_total", "outcome" => "later").increment(1);
                }
            }
        }
        self.wake_writer();
    }

    /// The outbox has these: their rows may go.
    pub(crate) fn stored(&self, ids: impl IntoIterator<Item = EventId>) {
        lock(&self.waiting).stored.extend(ids);
    }

    pub(crate) fn count_stored(&self) -> usize {
        lock(&self.waiting).stored.len()
    }

    /// Whose rows are to go now; say [`Self::removed`] then.
    pub(crate) fn take_stored(&self) -> Vec<EventId> {
        let mut waiting = lock(&self.waiting);
        waiting.removing = !waiting.stored.is_empty();
        std::mem::take(&mut waiting.stored)
    }

    /// They are gone, or (`failed`) are to go later.
    pub(crate) fn removed(&self, failed: Vec<EventId>) {
        {
            let mut waiting = lock(&self.waiting);
            waiting.removing = false;
            waiting.stored.extend(failed);
        }
        self.wake_writer();
    }

    fn lose(&self, events: usize) {
        let lost = || counter!("nearport_callback_events_total", "outcome" => "lost");
        self.lost.get_or_init(lost).increment(events as u64);
    }

    /// The same, by the writer's clock.
    pub fn tell_now(&self, app: AppId, event: &Event) {
        self.tell(app, event, 0);
    }

    /// Says what became of entries of the outbox; carried out with one of the writer's next commits. Gives how many found room:
    /// what did not is still there.
    pub fn settle(&self, settles: Vec<Settle>) -> usize {
        let taken = {
            let mut waiting = lock(&self.waiting);
            let room = SETTLES_MAX.saturating_sub(waiting.settles.len()).min(settles.len());
            waiting.settles.extend(settles.into_iter().take(room));
            room
        };
        self.wake_writer();
        taken
    }

    /// Asks the back end of an App, if it wants to be; `decided` hears [`Verdict::GO`] at once if not.
    ///
    /// # Errors
    /// [`Busy`].
    pub fn ask(&self, question: Question, decided: Decided) -> Result<(), Busy> {
        match self.ask.get() {
            Some(ask) if self.wants(question.app, question.command) => ask.ask(question, decided),
            _ => {
                decided(Verdict::GO);
                Ok(())
            }
        }
    }

    /// The same for one of the threads, which finds the verdict among `to`. `false`: too many questions are open.
    pub(crate) fn ask_for(&self, to: &Arc<Verdicts>, ticket: u64, question: Question) -> bool {
        let to = to.clone();
        self.ask(question, Box::new(move |verdict| to.come(ticket, verdict))).is_ok()
    }

    /// When the writer is to look here even if nothing else comes.
    pub(crate) fn deadline_ms(&self, last_ms: u64) -> Option<u64> {
        let waiting = lock(&self.waiting);
        if let Some(again_ms) = waiting.again_ms.filter(|_| self.writer.is_empty()) {
            return Some(again_ms);
        }
        if !waiting.events.is_empty() || !self.writer.is_empty() {
            return Some(0);
        }
        if !waiting.may_settle() {
            return None;
        }
        if waiting.settles.len() >= SETTLES_PER_COMMIT {
            return Some(0);
        }
        let since = waiting.settles_since_ms.unwrap_or(last_ms);
        (!waiting.settles.is_empty()).then_some(since + SETTLE_DELAY_MS)
    }

    /// Moves what waits into a batch that has room for `room` more items: events always, settlements if the batch has something
    /// anyway, or if they are due. Gives the names of the events, of those that have one.
    pub(crate) fn take(
        &self,
        room: usize,
        now_ms: u64,
        batch: &mut crate::ledger::Batch,
    ) -> Vec<Option<EventId>> {
        let mut waiting = lock(&self.waiting);
        if waiting.again_ms.is_some_and(|again_ms| now_ms < again_ms) {
            return Vec::new();
        }
        waiting.again_ms = None;
        let events = waiting.events.len().min(room);
        let mut ids = Vec::with_capacity(events);
        batch.outbox.extend(waiting.events.drain(..events).map(|Wait { mut outbound, id }| {
            if outbound.time_ms == 0 {
                outbound.time_ms = now_ms;
            }
            ids.push(id);
            outbound
        }));
        if waiting.settles.is_empty() || !waiting.may_settle() {
            return ids;
        }
        let since = *waiting.settles_since_ms.get_or_insert(now_ms);
        let due = waiting.settles.len() >= SETTLES_PER_COMMIT || now_ms >= since + SETTLE_DELAY_MS;
        if due || !batch.is_empty() {
            let settles = waiting.settles.len().min(room - events);
            batch.settles.extend(waiting.settles.drain(..settles));
            waiting.settles_since_ms = None;
        }
        ids
    }

    /// What [`Self::take`] moved into a batch whose commit has failed: it comes again in a second. Whether the commit was done after all nobody knows: then
    /// it is told twice.
    pub(crate) fn give_back(
        &self,
        events: Vec<(Outbound, Option<EventId>)>,
        settles: Vec<Settle>,
        now_ms: u64,
    ) {
        if events.is_empty() && settles.is_empty() {
            return;
        }
        let mut waiting = lock(&self.waiting);
        if waiting.ending {
            drop(waiting);
            // What the directory has is told after the next start.
            return self.lose(events.iter().filter(|(_, id)| id.is_none()).count());
        }
        waiting.again_ms = Some(now_ms + AGAIN_MS);
        // Beyond their bounds by what one batch holds.
        let events = events.into_iter().rev().map(|(outbound, id)| Wait { outbound, id });
        events.for_each(|event| waiting.events.push_front(event));
        settles.into_iter().rev().for_each(|settle| waiting.settles.push_front(settle));
    }

    /// Makes all due, and says whether anything waits: for a shutdown. What fails from now on is lost, and counted.
    pub(crate) fn expire(&self) -> bool {
        let mut waiting = lock(&self.waiting);
        (waiting.again_ms, waiting.ending) = (None, true);
        waiting.settles_since_ms = Some(0);
        !waiting.events.is_empty() || !waiting.settles.is_empty()
    }

    /// A commit has put something into the outbox.
    pub(crate) fn committed(&self) {
        if let Some(listener) = self.listener.get() {
            listener();
        }
    }

    pub(crate) fn wake_writer_by(&self, wake: impl Fn() + Send + Sync + Clone + 'static) {
        self.writer.wake_by(wake.clone());
        let _ = self.wake_writer.set(Box::new(wake));
    }

    pub(crate) fn wake_desk_by(&self, wake: impl Fn() + Send + Sync + 'static) {
        self.desk.wake_by(wake);
    }

    fn wake_writer(&self) {
        if let Some(wake) = self.wake_writer.get() {
            wake();
        }
    }
}

impl fmt::Debug for Callbacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callbacks").field("any", &self.any).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::ledger::{Batch, Settled};

    const APP: AppId = AppId(1);

    #[test]
    fn what_is_switched_on_is_wanted_and_an_app_of_its_own_overrides_all_others() {
        let callbacks = Callbacks::default();
        assert!(!callbacks.wants(APP, Command::PairAfterSend));
        let default = [Command::PairAfterSend].into_iter().collect();
        let own = [Command::StateChange].into_iter().collect();
        callbacks.switch(Switches { default, apps: BTreeMap::from([(2, own)]) });
        assert!(callbacks.wants(APP, Command::PairAfterSend));
        assert!(!callbacks.wants(AppId(2), Command::PairAfterSend));
        assert!(callbacks.wants(AppId(2), Command::StateChange));
        callbacks.switch(Switches::default());
        assert!(!callbacks.wants(APP, Command::PairAfterSend));
    }

    #[test]
    fn settlements_wait_for_company_and_not_for_ever() {
        let callbacks = Callbacks::default();
        let settle = |number| Settle { app: APP, number, what: Settled::Told };
        assert_eq!(callbacks.deadline_ms(0), None);
        assert_eq!(callbacks.settle(vec![settle(1)]), 1);
        let mut batch = Batch::default();
        callbacks.take(10, 1000, &mut batch);
        assert!(batch.is_empty(), "it waits");
        assert_eq!(callbacks.deadline_ms(1000), Some(1050));
        callbacks.take(10, 1050, &mut batch);
        assert_eq!(batch.settles.len(), 1);
        // With something else it goes at once.
        callbacks.settle(vec![settle(2)]);
        let mut batch = Batch { outbox: vec![outbound()], ..Batch::default() };
        callbacks.take(10, 1060, &mut batch);
        assert_eq!(batch.settles.len(), 1);
        // Within the room.
        callbacks.settle((0..300).map(settle).collect());
        let mut batch = Batch::default();
        callbacks.take(10, 2000, &mut batch);
        assert_eq!(batch.settles.len(), 10);
    }

    fn outbound() -> Outbound {
        Outbound { app: APP, append: None, time_ms: 1, body: Bytes::new() }
    }

    #[test]
    fn more_events_than_fit_are_lost_and_settlements_stay_where_they_are() {
        let callbacks = Callbacks::default();
        let event = Event::new(Command::StateChange, b"", Origin::NONE, &serde_json::json!({}));
        for _ in 0..=EVENTS_MAX {
            callbacks.tell(APP, &event, 1);
        }
        assert_eq!(lock(&callbacks.waiting).events.len(), EVENTS_MAX);
        let settle = Settle { app: APP, number: 1, what: Settled::Told };
        assert_eq!(callbacks.settle(vec![settle; SETTLES_MAX + 5]), SETTLES_MAX);
    }
}
