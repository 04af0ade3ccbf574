//! What an edge has to say to its locators, and what they told it. No I/O; threads of its links wait here for news.
//!
//! Nothing is queued for a locator: its link asks for what is so now, and for the votes since it asked last. One that does not read
//! misses votes.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::message::{Report, Target, VOTES_MAX, Vote};
use crate::order::{Merged, Order, Orders, Sealed};

/// Who is told what locators say. Called with nothing locked.
pub trait Listener: Send + Sync + std::fmt::Debug {
    /// PoPs to check, in place of those before.
    fn table(&self, targets: Vec<Target>);

    /// What is ordered for this edge's own PoP. Said again whenever it changes.
    fn order(&self, order: &Order);
}

/// See the module.
#[derive(Debug)]
pub struct Post {
    pop: String,
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct State {
    report: Report,
    votes: VecDeque<Vote>,
    /// How many votes there were before the first of those.
    before: u64,
    orders: Orders,
    /// Rises with each change of the orders.
    version: u64,
    /// Rises with what is not to wait for the next second.
    urgent: u64,
    stopped: bool,
}

/// What a link has said already.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mark {
    votes: u64,
    orders: u64,
    urgent: u64,
}

/// What a link has to say now.
#[derive(Debug, Default, PartialEq)]
pub struct News {
    /// How the edge is.
    pub report: Report,
    /// What it saw since.
    pub votes: Vec<Vote>,
    /// All orders, if there is one that the link has not said.
    pub orders: Vec<Sealed>,
}

impl Post {
    /// The post of an edge of this PoP.
    #[must_use]
    pub fn new(pop: &str) -> Self {
        Self { pop: pop.to_owned(), state: Mutex::default(), news: Condvar::new() }
    }

    /// The PoP.
    #[must_use]
    pub fn pop(&self) -> &str {
        &self.pop
    }

    /// How the edge is. It is said within a second; that it drains, at once.
    pub fn report(&self, report: Report) {
        let mut state = self.state();
        if state.report.draining != report.draining {
            state.urgent += 1;
            self.news.notify_all();
        }
        state.report = report;
    }

    /// What the edge says of itself.
    #[must_use]
    pub fn last_report(&self) -> Report {
        self.state().report
    }

    /// It saw a PoP. A failure is said at once.
    pub fn saw(&self, pop: &str, good: bool) {
        if pop == self.pop {
            return;
        }
        let mut state = self.state();
        if state.votes.len() >= VOTES_MAX {
            state.votes.pop_front();
            state.before += 1;
        }
        state.votes.push_back(Vote { pop: pop.to_owned(), good });
        if !good {
            state.urgent += 1;
            self.news.notify_all();
        }
    }

    /// Orders of a locator; an edge believes whom it has dialled. Returns the one for its own PoP, if that is another now.
    pub fn merge(&self, orders: Vec<Sealed>) -> Option<Order> {
        let mut state = self.state();
        let mut own = None;
        for sealed in orders {
            let order = sealed.order.clone();
            if state.orders.merge(sealed) == Merged::Taken {
                state.version += 1;
                if order.pop == self.pop {
                    own = Some(order);
                }
            }
        }
        self.news.notify_all();
        own
    }

    /// All orders that it knows.
    #[must_use]
    pub fn orders(&self) -> Vec<Sealed> {
        self.state().orders.all()
    }

    /// Waits until there is something that the link has not said and that is not to wait, or until `patience` ends. `None`: the edge
    /// stops.
    #[must_use]
    pub fn wait(&self, mark: &mut Mark, patience: Duration) -> Option<News> {
        let state = self.state();
        let nothing =
            |state: &mut State| !state.stopped && state.version == mark.orders && state.urgent == mark.urgent;
        let (state, _) =
            self.news.wait_timeout_while(state, patience, nothing).unwrap_or_else(PoisonError::into_inner);
        if state.stopped {
            return None;
        }
        let skip = usize::try_from(mark.votes.saturating_sub(state.before)).unwrap_or(usize::MAX);
        let votes = state.votes.iter().skip(skip).cloned().collect();
        let orders = if state.version == mark.orders { Vec::new() } else { state.orders.all() };
        *mark = Mark {
            votes: state.before + state.votes.len() as u64,
            orders: state.version,
            urgent: state.urgent,
        };
        Some(News { report: state.report, votes, orders })
    }

    /// Where a link begins: what was seen before it is stale.
    #[must_use]
    pub fn begin(&self) -> Mark {
        let state = self.state();
        Mark { votes: state.before + state.votes.len() as u64, orders: 0, urgent: state.urgent }
    }

    /// The edge stops: nobody waits any more.
    pub fn stop(&self) {
        self.state().stopped = true;
        self.news.notify_all();
    }

    /// Waits for the end of the edge, at most for `patience`. Returns whether it goes on.
    #[must_use]
    pub fn pause(&self, patience: Duration) -> bool {
        let state = self.state();
        let waited = self.news.wait_timeout_while(state, patience, |state| !state.stopped);
        !waited.unwrap_or_else(PoisonError::into_inner).0.stopped
    }

    /// Something is to be said at once: a link has ended, for example, and its writer is to notice.
    pub(crate) fn wake(&self) {
        self.state().urgent += 1;
        self.news.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::tests::{Word, order};

    const NOW: Duration = Duration::ZERO;
    const STUCK: Duration = Duration::from_secs(60);

    #[test]
    fn a_link_says_each_vote_once_and_one_that_falls_behind_misses_the_oldest() {
        let post = Post::new("a");
        post.saw("b", true);
        let (mut early, mut late) = (post.begin(), post.begin());
        assert_eq!(post.wait(&mut early, NOW).unwrap().votes, [], "from before the link");
        post.saw("a", true);
        post.saw("b", false);
        let said = post.wait(&mut early, NOW).unwrap().votes;
        assert_eq!(said, [Vote { pop: "b".to_owned(), good: false }]);
        assert_eq!(post.wait(&mut early, NOW).unwrap().votes, []);
        for number in 0..VOTES_MAX + 10 {
            post.saw(&format!("p{number}"), true);
        }
        let said = post.wait(&mut late, NOW).unwrap().votes;
        assert_eq!((said.len(), said[0].pop.as_str()), (VOTES_MAX, "p10"));
        assert_eq!(post.wait(&mut early, NOW).unwrap().votes.len(), VOTES_MAX);
    }

    #[test]
    fn orders_are_said_to_every_link_and_the_own_one_is_told() {
        let post = Post::new("a");
        let (one, other) =
            (Sealed::new(order("a", true, 2), &Word(1)), Sealed::new(order("b", true, 2), &Word(1)));
        let mut mark = post.begin();
        assert_eq!(post.wait(&mut mark, NOW).unwrap().orders, []);
        assert_eq!(post.merge(vec![one.clone(), other.clone()]), Some(one.order.clone()));
        assert_eq!(post.wait(&mut mark, STUCK).unwrap().orders, [one.clone(), other.clone()]);
        assert_eq!(post.merge(vec![one.clone()]), None, "known");
        assert_eq!(post.merge(vec![Sealed::new(order("a", false, 1), &Word(1))]), None, "older");
        assert_eq!(post.wait(&mut mark, NOW).unwrap().orders, []);
        // A link that comes later hears them all.
        assert_eq!(post.wait(&mut post.begin(), STUCK).unwrap().orders, [one, other]);
    }

    #[test]
    fn failures_and_drains_do_not_wait_and_the_end_wakes_everybody() {
        let post = Post::new("a");
        let mut mark = post.begin();
        post.saw("b", false);
        assert_eq!(post.wait(&mut mark, STUCK).unwrap().votes.len(), 1);
        post.report(Report { draining: true, sessions: 3, capacity: None });
        assert!(post.wait(&mut mark, STUCK).unwrap().report.draining);
        assert!(post.pause(NOW));
        post.stop();
        assert!(!post.pause(STUCK));
        assert_eq!(post.wait(&mut mark, STUCK), None);
    }
}
