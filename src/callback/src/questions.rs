//! What one back end is asked, as long as it answers.
//!
//! Each question to a back end that hangs costs its two seconds, and somebody who waits. After [`BOUNDS`]'s failures in a row questions take
//! what is configured for a failure at once, and of those that come one at a time goes out as a probe, until one is answered.
//!
//! Only silence counts as a failure: no answer in time, or no connection. A bad answer costs nobody any time; and if it counted, who has
//! found a message that the back end stumbles over could switch its checks off for everybody, or keep them off. To a probe it says that somebody is there.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use metrics::Gauge;

use crate::breaker::{Bounds, Breaker, Hold};
use crate::dice::Dice;
use crate::sender::Failed;

/// As for what is told, but a target that is back is found sooner: until then everybody gets what is configured.
pub(crate) const BOUNDS: Bounds = Bounds { failures_max: 5, pause_ms: 500, pause_max_ms: 5000 };

/// The breaker of one back end. Cheap: a short lock for each question.
#[derive(Debug)]
pub(crate) struct Questions {
    inner: Mutex<Inner>,
    /// A clock that is set does not hold anybody up.
    began: Instant,
    open: Gauge,
}

#[derive(Debug)]
struct Inner {
    breaker: Breaker,
    next: u64,
    /// Numbers up to here were sent before it closed last: what they come to is about the time before.
    before: u64,
    dice: Dice,
}

/// What a question came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Answered,
    Badly,
    Silent,
    /// Never asked, or nobody waited for the answer.
    Dropped,
}

impl Questions {
    /// Nothing was asked yet. `open` counts those that are held for down.
    pub(crate) fn new(open: Gauge) -> Arc<Self> {
        let inner = Inner { breaker: Breaker::new(BOUNDS), next: 0, before: 0, dice: Dice::new(0) };
        Arc::new(Self { inner: Mutex::new(inner), began: Instant::now(), open })
    }

    /// Whether one that came now would not be sent.
    pub(crate) fn holds(&self) -> bool {
        match self.lock().breaker.hold() {
            Hold::Closed => false,
            Hold::Until(due) => self.now_ms() < due,
            Hold::Probing => true,
        }
    }

    /// One is about to be sent; `None`: it must not be.
    pub(crate) fn begin(self: &Arc<Self>) -> Option<Asked> {
        let now_ms = self.now_ms();
        let mut inner = self.lock();
        inner.next += 1;
        let number = inner.next;
        inner.breaker.send(number, now_ms).then(|| Asked { of: self.clone(), number, done: false })
    }

    fn done(&self, number: u64, outcome: Outcome) {
        let now_ms = self.now_ms();
        let mut inner = self.lock();
        if number <= inner.before {
            return;
        }
        let good = match (outcome, inner.breaker.is_probe(number)) {
            (Outcome::Answered, _) | (Outcome::Badly, true) => true,
            (Outcome::Silent, _) | (Outcome::Dropped, true) => false,
            (Outcome::Badly | Outcome::Dropped, false) => return,
        };
        let (was_open, dice) = (inner.breaker.is_open(), inner.dice.roll());
        inner.breaker.done(number, good, now_ms, dice);
        match (was_open, inner.breaker.is_open()) {
            (false, true) => {
                self.open.increment(1.0);
                tracing::warn!("a back end answers no question and is held for down: only probes are sent");
            }
            (true, false) => {
                inner.before = inner.next;
                self.open.decrement(1.0);
                tracing::info!("a back end answers questions again");
            }
            _ => {}
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Questions {
    fn drop(&mut self) {
        if self.lock().breaker.is_open() {
            self.open.decrement(1.0);
        }
    }
}

/// A question that is under way. One that is dropped without an outcome was no good probe, and else nothing.
#[derive(Debug)]
pub(crate) struct Asked {
    of: Arc<Questions>,
    number: u64,
    done: bool,
}

impl Asked {
    /// How it went.
    pub(crate) fn done(mut self, outcome: Result<(), &Failed>) {
        self.done = true;
        let outcome = match outcome {
            Ok(()) => Outcome::Answered,
            Err(failed) if failed.is_answer() => Outcome::Badly,
            Err(_) => Outcome::Silent,
        };
        self.of.done(self.number, outcome);
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if !self.done {
            self.of.done(self.number, Outcome::Dropped);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn questions() -> Arc<Questions> {
        Questions::new(Gauge::noop())
    }

    fn ask(questions: &Arc<Questions>, outcome: Result<(), &Failed>) {
        questions.begin().expect("it may be asked").done(outcome);
    }

    #[test]
    fn silence_counts_and_bad_answers_do_not() {
        let questions = questions();
        for _ in 0..20 {
            ask(&questions, Err(&Failed::Status(500)));
            ask(&questions, Err(&Failed::Garbage("x".into())));
        }
        for _ in 1..BOUNDS.failures_max {
            ask(&questions, Err(&Failed::Late));
        }
        // One more would be too many, and a good answer begins anew.
        ask(&questions, Ok(()));
        for _ in 1..BOUNDS.failures_max {
            ask(&questions, Err(&Failed::Unreachable("x".into())));
            ask(&questions, Err(&Failed::TooLong));
        }
        drop(questions.begin().expect("it may be asked"));
        assert!(!questions.holds(), "the end of a node says nothing of the back end");
        ask(&questions, Err(&Failed::Late));
        assert!(questions.holds() && questions.begin().is_none());
    }

    /// A probe that is dropped leaves it open, and does not stay in the way; one that is answered, however badly, closes it.
    #[test]
    fn a_probe_that_is_dropped_is_over_and_any_answer_to_one_closes_it() {
        let questions = questions();
        let late = questions.begin().expect("it may be asked");
        let open = || (0..BOUNDS.failures_max).for_each(|_| ask(&questions, Err(&Failed::Late)));
        open();
        let probe = |questions: &Arc<Questions>| {
            let mut inner = questions.lock();
            inner.next += 1;
            let number = inner.next;
            assert!(inner.breaker.send(number, u64::MAX / 2));
            Asked { of: questions.clone(), number, done: false }
        };
        drop(probe(&questions));
        probe(&questions).done(Err(&Failed::Late));
        assert!(questions.begin().is_none());
        probe(&questions).done(Err(&Failed::Status(503)));
        // What was sent before says nothing any more: these four and it would be five.
        (1..BOUNDS.failures_max).for_each(|_| ask(&questions, Err(&Failed::Late)));
        late.done(Err(&Failed::Late));
        assert!(!questions.holds());
        ask(&questions, Err(&Failed::Late));
        assert!(questions.holds());
        probe(&questions).done(Ok(()));
        assert!(questions.begin().is_some());
    }
}
