//! Asks back ends before something happens.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use nearport_chat::callback::{Ask, Busy, Callbacks, Command, Decided, OnFailure, Question, Verdict};
use nearport_chat::key::AppId;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};

use crate::metrics::Metrics;
use crate::questions::{Asked, Questions};
use crate::render::{About, Elements, render};
use crate::sender::{Failed, Sender};
use crate::target::{Target, Targets};
use crate::verdict;

/// Questions that are open at once, to all back ends. One that is beyond is not asked: its request is refused as busy.
const OPEN_MAX: usize = 1024;

/// Of those, to the back end of one App: one that always takes its time takes nobody else's place.
const OPEN_OF_ONE_MAX: usize = 256;

/// A back end, and how it is reached. One for each target: connections and failures of one are no other's.
#[derive(Debug)]
pub(crate) struct BackEnd {
    pub(crate) target: Target,
    pub(crate) sender: Sender,
    pub(crate) questions: Arc<Questions>,
    /// Room for questions to it.
    open: Arc<Semaphore>,
}

pub(crate) type Shared = Arc<BackEnd>;

/// All back ends.
#[derive(Debug, Default)]
pub(crate) struct BackEnds {
    default: Option<Shared>,
    apps: BTreeMap<u32, Option<Shared>>,
}

impl BackEnds {
    /// Those of `targets`. One that was there before goes on with its connections and with what is known of it.
    pub(crate) fn new(targets: &Targets, before: &Self, metrics: &Metrics) -> Self {
        let shared = |app: Option<u32>, target: &Arc<Target>| -> Shared {
            let same = app.map_or(&before.default, |app| before.apps.get(&app).unwrap_or(&None));
            match same {
                Some(back_end) if back_end.target == **target => back_end.clone(),
                _ => Arc::new(BackEnd {
                    target: Target::clone(target),
                    sender: Sender::new(target),
                    questions: Questions::new(metrics.open_questions.clone()),
                    open: Arc::new(Semaphore::new(app.map_or(OPEN_MAX, |_| OPEN_OF_ONE_MAX))),
                }),
            }
        };
        let of_app = |(app, target): (&u32, &Option<Arc<Target>>)| {
            (*app, target.as_ref().map(|target| shared(Some(*app), target)))
        };
        Self {
            default: targets.default.as_ref().map(|target| shared(None, target)),
            apps: targets.apps.iter().map(of_app).collect(),
        }
    }

    pub(crate) fn of(&self, app: AppId) -> Option<&Shared> {
        self.apps.get(&app.0).unwrap_or(&self.default).as_ref()
    }

    /// Whether there are none at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.default.is_none() && self.apps.values().all(Option::is_none)
    }
}

/// Asks on a runtime, whose threads wait for the answers.
pub(crate) struct Asker {
    pub(crate) runtime: Handle,
    back_ends: watch::Receiver<Arc<BackEnds>>,
    pub(crate) elements: Elements,
    pub(crate) metrics: Arc<Metrics>,
    callbacks: Arc<Callbacks>,
    open: Arc<Semaphore>,
}

impl Asker {
    pub(crate) fn new(
        runtime: Handle,
        back_ends: watch::Receiver<Arc<BackEnds>>,
        elements: Elements,
        metrics: Arc<Metrics>,
        callbacks: Arc<Callbacks>,
    ) -> Self {
        Self { runtime, back_ends, elements, metrics, callbacks, open: Arc::new(Semaphore::new(OPEN_MAX)) }
    }
}

impl fmt::Debug for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asker").field("open", &self.open).finish_non_exhaustive()
    }
}

/// Whoever waits hears a verdict, also when the task that asks is dropped half way because the node ends.
struct Deciding {
    decided: Option<Decided>,
    command: Command,
    on_failure: OnFailure,
}

impl Deciding {
    fn tell(mut self, verdict: Verdict) {
        if let Some(decided) = self.decided.take() {
            decided(verdict);
        }
    }
}

impl Drop for Deciding {
    fn drop(&mut self) {
        if let Some(decided) = self.decided.take() {
            decided(verdict::failed(self.command, self.on_failure));
        }
    }
}

impl Ask for Asker {
    fn ask(&self, question: Question, decided: Decided) -> Result<(), Busy> {
        let Some(back_end) = self.back_ends.borrow().of(question.app).cloned() else {
            decided(Verdict::GO);
            return Ok(());
        };
        let (command, on_failure) = (question.command, back_end.target.on_failure);
        let held = |decided: Decided| {
            self.metrics.held.increment(1);
            decided(verdict::failed(command, on_failure));
            Ok(())
        };
        // One that is held for down takes nobody's place.
        if back_end.questions.holds() {
            return held(decided);
        }
        let places = (back_end.open.clone().try_acquire_owned(), self.open.clone().try_acquire_owned());
        let (Ok(own), Ok(shared)) = places else {
            self.metrics.busy.increment(1);
            return Err(Busy(decided));
        };
        let (elements, metrics, callbacks) = (self.elements, self.metrics.clone(), self.callbacks.clone());
        let Some(asked) = back_end.questions.begin() else { return held(decided) };
        let deciding = Deciding { decided: Some(decided), command, on_failure };
        // Ends by itself within `TIME_MAX`, and is bounded in number: the runtime's end drops it.
        self.runtime.spawn(async move {
            let _places = (own, shared);
            let started = Instant::now();
            let answer = exchange(&back_end, &question, elements, asked).await;
            metrics.question_seconds.record(started.elapsed());
            callbacks.exchanged(question.app, answer.is_ok());
            match answer {
                Ok(verdict) => {
                    metrics.answered.increment(1);
                    deciding.tell(verdict);
                }
                Err(failed) => {
                    metrics.unanswered.increment(1);
                    tracing::warn!(app = question.app.0, %command, %failed, "a back end gives no answer");
                    deciding.tell(verdict::failed(command, on_failure));
                }
            }
        });
        Ok(())
    }
}

async fn exchange(
    back_end: &BackEnd,
    question: &Question,
    elements: Elements,
    asked: Asked,
) -> Result<Verdict, Failed> {
    let Question { app, command, event, seq, time_ms } = question;
    let about = About { app: *app, seq: *seq, time_ms: *time_ms, unread: None };
    let rendered = render(event, about, &back_end.target, elements, *time_ms).map_err(Failed::Garbage)?;
    let body = back_end.sender.send(&rendered).await;
    let answer = body.and_then(|body| verdict::read(*command, &body, elements).map_err(Failed::Garbage));
    asked.done(answer.as_ref().map(|_| ()));
    answer
}
