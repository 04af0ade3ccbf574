//! Which PoP is nearest: a race of the cheapest packets, as a pure machine.
//!
//! All candidates are asked at once, for a stagger would give the first one the race: by a probe over UDP (`nearport_wire::probe`), and
//! where nobody has answered one within [`TCP_AFTER`], by a connect over TCP too. The first to answer wins, at once; the others
//! are listened to until [`OVER_AFTER`], for the order of the reserves and for the report. A probe that is lost is repeated
//! [`SENDS`] times; each is a new one, so that a round trip is that of the packet which was answered.

use std::time::{Duration, Instant};

/// Silence on UDP after which TCP is tried: as for a session ([`crate::race::QUIET`]).
pub(crate) const TCP_AFTER: Duration = crate::race::QUIET;

/// When the packets of a probe leave.
const SENDS: [Duration; 3] = [Duration::ZERO, Duration::from_millis(250), Duration::from_millis(750)];

/// How long the last answer is waited for.
pub(crate) const OVER_AFTER: Duration = Duration::from_millis(1_500);

/// Candidates that may run: one address of each family of each PoP.
pub(crate) const RUNNERS_MAX: usize = 2 * super::answer::CANDIDATES_MAX;

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Send this one a probe.
    Probe(usize),
    /// Connect to this one over TCP.
    Connect(usize),
    /// This one is nearest. Said once at most.
    Won(usize),
    /// Nobody else is waited for. Said once, last.
    Over,
}

#[derive(Debug, Default)]
struct Runner {
    sent: usize,
    connecting: bool,
    rtt: Option<Duration>,
    /// Behind the others: it was left or did not answer a moment ago.
    avoided: bool,
}

/// See the module documentation. After every input: take the actions, then wait for input or [`Contest::poll_timeout`].
#[derive(Debug)]
pub(crate) struct Contest {
    runners: Vec<Runner>,
    begun: Instant,
    /// Answers that came over UDP.
    heard: bool,
    /// In the order in which they answered.
    order: Vec<usize>,
    won: bool,
    over: bool,
    actions: Vec<Action>,
}

impl Contest {
    /// A race among `avoided.len()` candidates, at most [`RUNNERS_MAX`]; those marked do not win while another may.
    pub(crate) fn new(avoided: &[bool], now: Instant) -> Self {
        let runner = |avoided: &bool| Runner { avoided: *avoided, ..Runner::default() };
        let mut contest = Self {
            runners: avoided.iter().take(RUNNERS_MAX).map(runner).collect(),
            begun: now,
            heard: false,
            order: Vec::new(),
            won: false,
            over: false,
            actions: Vec::new(),
        };
        contest.advance(now);
        contest
    }

    /// How many take part.
    pub(crate) fn runners(&self) -> usize {
        self.runners.len()
    }

    /// An answer came, `rtt` after what it answers. `udp`: to a probe.
    pub(crate) fn answered(&mut self, now: Instant, runner: usize, rtt: Duration, udp: bool) {
        let Some(it) = self.runners.get_mut(runner).filter(|it| it.rtt.is_none()) else { return };
        if self.over {
            return;
        }
        it.rtt = Some(rtt);
        self.heard |= udp;
        self.order.push(runner);
        self.advance(now);
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
    }

    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        (!self.actions.is_empty()).then(|| self.actions.remove(0))
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        if self.over {
            return None;
        }
        let silent = || self.runners.iter().filter(|runner| runner.rtt.is_none());
        let sends = silent().filter_map(|runner| SENDS.get(runner.sent)).copied();
        let connects = silent().any(|runner| !runner.connecting) && !self.heard;
        let next = sends.chain(connects.then_some(TCP_AFTER)).chain([OVER_AFTER]).min();
        next.map(|after| self.begun + after)
    }

    /// Who has answered, nearest first, those to be avoided behind the others. By round trips and not by arrival: an answer to a
    /// repeated probe comes late from however near.
    pub(crate) fn order(&self) -> Vec<usize> {
        let mut order = self.order.clone();
        order.sort_by_key(|at| (self.runners[*at].avoided, self.runners[*at].rtt));
        order
    }

    /// Its round trip, if it has answered.
    pub(crate) fn rtt(&self, runner: usize) -> Option<Duration> {
        self.runners.get(runner)?.rtt
    }

    fn advance(&mut self, now: Instant) {
        if self.over {
            return;
        }
        let since = now.saturating_duration_since(self.begun);
        let ends = since >= OVER_AFTER || self.runners.iter().all(|runner| runner.rtt.is_some());
        // One that is to be avoided is better than none: once all have had their time.
        let winner = self.order().first().copied().filter(|at| ends || !self.runners[*at].avoided);
        if let Some(winner) = winner.filter(|_| !self.won) {
            self.won = true;
            self.actions.push(Action::Won(winner));
        }
        if ends {
            self.over = true;
            self.actions.push(Action::Over);
            return;
        }
        for (at, runner) in self.runners.iter_mut().enumerate().filter(|(_, runner)| runner.rtt.is_none()) {
            if SENDS.get(runner.sent).is_some_and(|send| *send <= since) {
                runner.sent += 1;
                self.actions.push(Action::Probe(at));
            }
            if !runner.connecting && !self.heard && since >= TCP_AFTER {
                runner.connecting = true;
                self.actions.push(Action::Connect(at));
            }
        }
    }
}

#[cfg(test)]
#[path = "contest_tests.rs"]
mod tests;
