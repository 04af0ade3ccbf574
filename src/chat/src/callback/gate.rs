//! Requests that wait for the back end of their App, and those behind them.
//!
//! [`Gate`] keeps, per session, the request about which somebody was asked and all that came later, so that a session's requests stay
//! in order. It decides nothing and knows no clock: who asks gives a verdict within its time, whatever happens.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Requests of one session that wait.
const SESSION_MAX: usize = 64;
/// Requests that wait in all.
const TOTAL_MAX: usize = 8192;

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct Gate<K, T> {
    sessions: HashMap<K, VecDeque<T>>,
    asked: HashMap<u64, K>,
    total: usize,
    /// The ticket of the next question.
    next: u64,
}

impl<K, T> Default for Gate<K, T> {
    fn default() -> Self {
        Self { sessions: HashMap::new(), asked: HashMap::new(), total: 0, next: 1 }
    }
}

impl<K: Copy + Eq + Hash, T> Gate<K, T> {
    /// Whether requests of this session wait: the next one waits behind them.
    pub(crate) fn holds(&self, session: K) -> bool {
        self.sessions.contains_key(&session)
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Requests that wait.
    pub(crate) fn len(&self) -> usize {
        self.total
    }

    /// Puts a request behind those of its session that wait.
    ///
    /// # Errors
    /// The request, if too many wait or none of its session does.
    pub(crate) fn hold(&mut self, session: K, request: T) -> Result<(), T> {
        if self.total >= TOTAL_MAX {
            return Err(request);
        }
        match self.sessions.get_mut(&session) {
            Some(queue) if queue.len() < SESSION_MAX => queue.push_back(request),
            _ => return Err(request),
        }
        self.total += 1;
        Ok(())
    }

    /// Keeps a request about which somebody is asked, and gives the ticket to ask with. Nothing of its session may wait.
    ///
    /// # Errors
    /// The request, if too many wait.
    pub(crate) fn ask(&mut self, session: K, request: T) -> Result<u64, T> {
        if self.total >= TOTAL_MAX || self.holds(session) {
            return Err(request);
        }
        let ticket = self.next;
        self.next += 1;
        self.total += 1;
        self.sessions.insert(session, VecDeque::from([request]));
        self.asked.insert(ticket, session);
        Ok(ticket)
    }

    /// The answer has come: everything of the session, in order, beginning with what was asked about. Empty for a ticket that was
    /// answered before.
    pub(crate) fn open(&mut self, ticket: u64) -> VecDeque<T> {
        let Some(session) = self.asked.remove(&ticket) else { return VecDeque::new() };
        let queue = self.sessions.remove(&session).unwrap_or_default();
        self.total -= queue.len();
        queue
    }

    /// Gives everything up, session by session in the order of their questions.
    pub(crate) fn clear(&mut self) -> Vec<T> {
        let mut tickets: Vec<_> = self.asked.keys().copied().collect();
        tickets.sort_unstable();
        tickets.into_iter().flat_map(|ticket| self.open(ticket)).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_comes_behind_a_question_waits_and_comes_out_in_order() {
        let mut gate = Gate::<u8, u32>::default();
        assert_eq!(gate.hold(1, 10), Err(10), "nothing of it waits");
        let ticket = gate.ask(1, 10).unwrap();
        gate.hold(1, 11).unwrap();
        assert_eq!(gate.ask(1, 12), Err(12), "one question of a session at a time");
        let other = gate.ask(2, 20).unwrap();
        assert_eq!(gate.open(ticket), [10, 11]);
        assert_eq!(gate.open(ticket), [0u32; 0], "once");
        assert!(!gate.holds(1) && gate.holds(2));
        assert_eq!(gate.open(other), [20]);
        assert!(gate.is_empty());
    }

    #[test]
    fn it_is_bounded_per_session_and_in_all() {
        let mut gate = Gate::<u32, usize>::default();
        let ticket = gate.ask(0, 0).unwrap();
        for at in 1..SESSION_MAX {
            gate.hold(0, at).unwrap();
        }
        assert_eq!(gate.hold(0, 99), Err(99));
        assert_eq!(gate.open(ticket).len(), SESSION_MAX);
        for session in 0..u32::try_from(TOTAL_MAX).unwrap() {
            gate.ask(session, 1).unwrap();
        }
        assert_eq!(gate.ask(u32::MAX, 2), Err(2));
        assert_eq!(gate.hold(3, 2), Err(2));
        assert_eq!(gate.clear().len(), TOTAL_MAX);
        assert!(gate.is_empty());
    }

    proptest! {
        /// Whatever is asked, held and answered in whichever order: of each session everything comes out once, in order.
        #[test]
        fn sessions_keep_their_order(steps in proptest::collection::vec((0..4u8, any::<bool>(), any::<u8>()), 0..200)) {
            let mut gate = Gate::<u8, (u8, u32)>::default();
            let (mut tickets, mut out, mut sent) = (Vec::new(), Vec::new(), 0u32);
            for (session, answer, pick) in steps {
                if answer && !tickets.is_empty() {
                    let ticket = tickets.swap_remove(usize::from(pick) % tickets.len());
                    out.extend(gate.open(ticket));
                    continue;
                }
                sent += 1;
                match gate.holds(session) {
                    true => gate.hold(session, (session, sent)).unwrap(),
                    false => tickets.push(gate.ask(session, (session, sent)).unwrap()),
                }
            }
            out.extend(gate.clear());
            prop_assert_eq!(out.len(), sent as usize);
            for session in 0..4 {
                let of: Vec<_> = out.iter().filter(|(of, _)| *of == session).map(|(_, n)| *n).collect();
                prop_assert!(of.is_sorted());
            }
        }
    }
}
