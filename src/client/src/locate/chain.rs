//! In which order a client asks for its PoPs, as a pure machine.
//!
//! ```text
//!   https ──► doh ──► resolver ──► map ──► list
//!        │       │            │       │
//!        └───────┴────────────┴───────┴─── the next begins when this one has failed, or has brought nothing for a second
//! ```
//!
//! The first answer ends the chain, whichever step it is of; what still runs is given up. A step has servers, tried in the order in
//! which they are given: the next begins when the one before has failed, or after [`TRY_STAGGER`], and each has [`TRY_MAX`]. So
//! everything that can hang has hung for three seconds when the map of the disk is taken. Every failure is kept for the error.

use std::fmt;
use std::time::{Duration, Instant};

/// Time for a step to bring an answer before the next one starts beside it. A handshake over TCP and TLS and the answer are
/// three round trips, and a lost packet is repeated after a second: whoever has this much behind it is rarely coming.
pub(crate) const STEP_STAGGER: Duration = Duration::from_secs(1);

/// Time for a server before the next one of its step starts beside it: the attempt delay of RFC 8305 §5.
pub(crate) const TRY_STAGGER: Duration = Duration::from_millis(250);

/// Time for one server.
pub(crate) const TRY_MAX: Duration = Duration::from_secs(4);

/// Where an answer can come from, in the order of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// The addressing service by HTTPS.
    Https,
    /// Records by DNS over HTTPS.
    Doh,
    /// Records by the system's resolver.
    Resolver,
    /// The signed map on the disk.
    Map,
    /// The list that came with the application.
    List,
}

impl Source {
    /// Every source, in the order of the chain.
    pub const ALL: [Self; 5] = [Self::Https, Self::Doh, Self::Resolver, Self::Map, Self::List];
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Https => "https",
            Self::Doh => "doh",
            Self::Resolver => "resolver",
            Self::Map => "map",
            Self::List => "list",
        })
    }
}

/// Why a step brought nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepFailure {
    /// Which step.
    pub source: Source,
    /// For people: which server, and what happened.
    pub reason: String,
}

impl fmt::Display for StepFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.source, self.reason)
    }
}

/// One server of one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Try {
    pub(crate) source: Source,
    /// Which of its servers.
    pub(crate) server: usize,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Ask.
    Start(Try),
    /// Stop asking.
    Cancel(Try),
    /// This one's answer is the one: the chain is over.
    Take(Try),
    /// Nobody is left, and why.
    Fail(Vec<StepFailure>),
}

#[derive(Debug)]
struct Step {
    source: Source,
    servers: usize,
    /// When its first server was asked.
    begun: Option<Instant>,
    /// When its last server so far was asked.
    last: Option<Instant>,
    next: usize,
    running: Vec<(usize, Instant)>,
    failures: Vec<String>,
}

impl Step {
    fn is_over(&self) -> bool {
        self.begun.is_some() && self.running.is_empty() && self.next == self.servers
    }
}

/// See the module documentation. After every input: take the actions, then wait for input or [`Chain::poll_timeout`].
#[derive(Debug)]
pub(crate) struct Chain {
    steps: Vec<Step>,
    over: bool,
    actions: Vec<Action>,
}

impl Chain {
    /// `steps` are the sources that are configured with the number of their servers, none of them zero. At least one.
    pub(crate) fn new(steps: &[(Source, usize)], now: Instant) -> Self {
        let step = |&(source, servers): &(Source, usize)| Step {
            source,
            servers,
            begun: None,
            last: None,
            next: 0,
            running: Vec::new(),
            failures: Vec::new(),
        };
        let mut chain = Self { steps: steps.iter().map(step).collect(), over: false, actions: Vec::new() };
        chain.advance(now);
        chain
    }

    /// A server has answered: that is the end.
    pub(crate) fn answered(&mut self, tried: Try) {
        if self.over || !self.stop(tried) {
            return;
        }
        self.over = true;
        for step in &mut self.steps {
            let cancelled = step.running.drain(..);
            self.actions
                .extend(cancelled.map(|(server, _)| Action::Cancel(Try { source: step.source, server })));
        }
        self.actions.push(Action::Take(tried));
    }

    /// A server has failed, or what it said is of no use.
    pub(crate) fn failed(&mut self, now: Instant, tried: Try, reason: String) {
        if self.over || !self.stop(tried) {
            return;
        }
        if let Some(step) = self.step(tried.source) {
            step.failures.push(reason);
        }
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
        let ends = self.steps.iter().flat_map(|step| step.running.iter().map(|(_, since)| *since + TRY_MAX));
        let starts = self.steps.iter().filter_map(|step| {
            (step.begun.is_some() && step.next < step.servers)
                .then(|| step.last.map(|at| at + TRY_STAGGER))?
        });
        let next = self.next_step().and_then(|(_, at)| at);
        ends.chain(starts).chain(next).min()
    }

    fn step(&mut self, source: Source) -> Option<&mut Step> {
        self.steps.iter_mut().find(|step| step.source == source)
    }

    /// Takes a server out of those that run; false if it was not among them.
    fn stop(&mut self, tried: Try) -> bool {
        let Some(step) = self.step(tried.source) else { return false };
        let at = step.running.iter().position(|(server, _)| *server == tried.server);
        at.map(|at| step.running.swap_remove(at)).is_some()
    }

    /// The step that begins next, and when: `None` for at once.
    fn next_step(&self) -> Option<(usize, Option<Instant>)> {
        let at = self.steps.iter().position(|step| step.begun.is_none())?;
        // Those before it hold it back, each for a time of its own, until it has failed.
        let held = self.steps[..at].iter().filter(|step| !step.is_over());
        Some((at, held.filter_map(|step| step.begun).max().map(|begun| begun + STEP_STAGGER)))
    }

    fn advance(&mut self, now: Instant) {
        if self.over {
            return;
        }
        for step in &mut self.steps {
            let source = step.source;
            while let Some(at) = step.running.iter().position(|(_, since)| *since + TRY_MAX <= now) {
                let (server, _) = step.running.swap_remove(at);
                step.failures.push(format!("no answer within {} s", TRY_MAX.as_secs()));
                self.actions.push(Action::Cancel(Try { source, server }));
            }
        }
        // Servers of steps that have begun, then a step whose turn it is; its failures later bring the next one.
        loop {
            for step in &mut self.steps {
                let due = |step: &Step| {
                    let patience = step.last.is_none_or(|last| last + TRY_STAGGER <= now);
                    step.begun.is_some() && step.next < step.servers && (step.running.is_empty() || patience)
                };
                while due(step) {
                    let server = step.next;
                    step.next += 1;
                    step.last = Some(now);
                    step.running.push((server, now));
                    self.actions.push(Action::Start(Try { source: step.source, server }));
                }
            }
            match self.next_step() {
                Some((at, start)) if start.is_none_or(|start| start <= now) => {
                    self.steps[at].begun = Some(now);
                }
                _ => break,
            }
        }
        if self.steps.iter().all(Step::is_over) {
            self.over = true;
            let failures = self
                .steps
                .iter()
                .map(|step| StepFailure { source: step.source, reason: step.failures.join("; ") });
            self.actions.push(Action::Fail(failures.collect()));
        }
    }
}

#[cfg(test)]
#[path = "chain_tests.rs"]
mod tests;
