//! Which transport carries the session: a race between candidates, as a pure machine.
//!
//! ```text
//!            nothing from the server for a while, or the one before failed
//!   waiting ───────────────────────────────────────────────────────────────► dialling
//!                                                                               │ transport up
//!      the hello moves: no welcome for a while, another one is up               ▼
//!   dropped ◄──────────────────────────────────────────── said hello ◄──────── up
//!                                                             │ welcome
//!                                                             ▼
//!                                                            won: the others are dropped
//! ```
//!
//! The winner is whoever brings the application's welcome, because proxies and captive portals accept connections
//! that lead nowhere. A second hello of the same device ends the session of the first, so only one candidate at a
//! time has said hello; it keeps that right for [`HELLO_PATIENCE`], then another one that is up gets it and the first
//! is dropped, whatever the server may still send on it.
//!
//! The times: TCP starts after 100 ms without a packet from the server, as in curl's rule for HTTP/3; the next TCP
//! candidate 250 ms later, the attempt delay of RFC 8305 §5. A server that answers on UDP and does not finish the
//! handshake is given a second, which a lost packet and its repetition fit in.

use std::time::{Duration, Instant};

use nearport_session::Closing;
use nearport_wire::close::CloseCode;

use crate::transport::Transport;

/// Silence on UDP after which TCP starts.
pub(crate) const QUIET: Duration = Duration::from_millis(100);

/// The same after QUIC died without a word: long enough for a server that is near and only restarted, so that a crowd
/// does not come back twice each.
pub(crate) const QUIET_AFTER_DEATH: Duration = Duration::from_millis(20);

/// Time for a TCP candidate to come up before the next one starts.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Time for a QUIC handshake whose server has shown signs of life, and for the welcome, before the next candidate
/// starts.
const STALL: Duration = Duration::from_secs(1);

/// Time for the welcome before the hello moves to another candidate that is up. On a bad path a hello or its answer
/// is repeated after a second at most; three such losses in a row are rarer than a path that swallows data.
const HELLO_PATIENCE: Duration = Duration::from_secs(3);

/// How a race begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Who runs, best first, each once.
    pub(crate) candidates: Vec<Transport>,
    /// Silence on UDP after which the next candidate starts: [`QUIET`], or [`QUIET_AFTER_DEATH`].
    pub(crate) quiet: Duration,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// A UDP packet came from the server since the race began.
    Packet,
    /// A transport is up.
    Up(Transport),
    /// An attempt failed, or a transport that was up was lost.
    Failed(Transport, Closing),
    /// The welcome came on the candidate that said hello.
    Welcome,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Bring the transport up.
    Dial(Transport),
    /// Say hello on it: it is up.
    Hello(Transport),
    /// Close it, or give up the attempt.
    Drop(Transport),
    /// Nobody is left, or the server has given its verdict. The race is over.
    Lose(Closing),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Waiting,
    Dialling(Instant),
    Up,
    Hello(Instant),
    Gone,
}

/// See the module documentation. After every input: take the actions, then wait for input or [`Race::poll_timeout`].
#[derive(Debug)]
pub(crate) struct Race {
    runners: Vec<(Transport, State)>,
    quiet: Duration,
    /// The server has been heard on UDP.
    heard: bool,
    over: bool,
    failures: Vec<Closing>,
    /// When the last candidate failed.
    failed_at: Option<Instant>,
    actions: Vec<Action>,
}

impl Race {
    pub(crate) fn new(plan: Plan, now: Instant) -> Self {
        let Plan { candidates, quiet } = plan;
        let runners: Vec<_> = candidates.into_iter().map(|transport| (transport, State::Waiting)).collect();
        let mut race = Self {
            failures: Vec::with_capacity(runners.len()),
            runners,
            quiet,
            heard: false,
            over: false,
            failed_at: None,
            actions: Vec::new(),
        };
        race.advance(now);
        race
    }

    pub(crate) fn handle(&mut self, now: Instant, event: Event) {
        if self.over {
            return;
        }
        match event {
            Event::Packet => self.heard = true,
            Event::Up(transport) => {
                if let Some(state) = self.state(transport)
                    && matches!(state, State::Dialling(_))
                {
                    *state = State::Up;
                }
            }
            Event::Failed(transport, closing) => {
                self.failed_at = Some(now);
                self.fail(transport, closing);
            }
            Event::Welcome => {
                self.over = true;
                for (transport, state) in &self.runners {
                    if matches!(state, State::Dialling(_) | State::Up) {
                        self.actions.push(Action::Drop(*transport));
                    }
                }
            }
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
        let start = self.next_start().and_then(|(_, at)| at);
        [start, self.next_move(), self.give_up_at()].into_iter().flatten().min()
    }

    fn state(&mut self, transport: Transport) -> Option<&mut State> {
        self.runners.iter_mut().find(|(name, _)| *name == transport).map(|(_, state)| state)
    }

    fn fail(&mut self, transport: Transport, closing: Closing) {
        let Some(state) = self.state(transport) else { return };
        let before = std::mem::replace(state, State::Gone);
        match before {
            State::Waiting | State::Gone => *state = before,
            // What the application says there it says everywhere.
            State::Hello(_) if is_verdict(closing.code) => {
                self.over = true;
                self.drop_all();
                self.actions.push(Action::Lose(closing));
            }
            State::Dialling(_) | State::Up | State::Hello(_) => self.failures.push(closing),
        }
    }

    /// Does what is due.
    fn advance(&mut self, now: Instant) {
        if self.over {
            return;
        }
        while let Some((at, start)) = self.next_start() {
            if start.is_some_and(|start| now < start) {
                break;
            }
            self.runners[at].1 = State::Dialling(now);
            self.actions.push(Action::Dial(self.runners[at].0));
        }
        let speaker = self.runners.iter().position(|(_, state)| matches!(state, State::Hello(_)));
        let next = self.runners.iter().position(|(_, state)| *state == State::Up);
        if let Some(next) = next {
            let patient = self.hello_at().is_some_and(|at| now < at + HELLO_PATIENCE);
            if !patient {
                if let Some(speaker) = speaker {
                    self.runners[speaker].1 = State::Gone;
                    self.failures.push(Closing::new(CloseCode::LOST, "no answer to the hello"));
                    self.actions.push(Action::Drop(self.runners[speaker].0));
                }
                self.runners[next].1 = State::Hello(now);
                self.actions.push(Action::Hello(self.runners[next].0));
            }
        }
        if self.runners.iter().all(|(_, state)| *state == State::Gone) {
            self.over = true;
            self.actions.push(Action::Lose(most_telling(&self.failures)));
        } else if self.give_up_at().is_some_and(|at| at <= now) {
            self.over = true;
            self.drop_all();
            self.actions.push(Action::Lose(most_telling(&self.failures)));
        }
    }

    /// Every TCP candidate has failed and nothing was ever heard on UDP: the server is not there. A repeated first
    /// packet of this attempt would come later and later, so a new attempt is worth more.
    fn give_up_at(&self) -> Option<Instant> {
        let failed_at = self.failed_at?;
        let deaf = self.runners.iter().all(|(transport, state)| match state {
            State::Gone => true,
            State::Dialling(_) => transport.is_udp() && !self.heard,
            State::Waiting | State::Up | State::Hello(_) => false,
        });
        deaf.then(|| failed_at + STALL)
    }

    fn hello_at(&self) -> Option<Instant> {
        self.runners.iter().find_map(|(_, state)| match state {
            State::Hello(at) => Some(*at),
            _ => None,
        })
    }

    /// Who starts next, and when: `None` for at once.
    fn next_start(&self) -> Option<(usize, Option<Instant>)> {
        let at = self.runners.iter().position(|(_, state)| *state == State::Waiting)?;
        // One in reserve is enough.
        if self.runners.iter().any(|(_, state)| *state == State::Up) {
            return None;
        }
        // Whoever runs holds the next one back, each for a time of its own; who starts last decides.
        let held = self.runners.iter().filter_map(|(transport, state)| match state {
            State::Dialling(since) => Some(*since + self.patience(*transport)),
            State::Hello(since) => Some(*since + STALL),
            State::Up | State::Waiting | State::Gone => None,
        });
        Some((at, held.max()))
    }

    fn patience(&self, transport: Transport) -> Duration {
        match (transport.is_udp(), self.heard) {
            (true, true) => STALL,
            (true, false) => self.quiet,
            (false, _) => ATTEMPT_DELAY,
        }
    }

    /// When the hello moves, if another candidate is up.
    fn next_move(&self) -> Option<Instant> {
        let reserve = self.runners.iter().any(|(_, state)| *state == State::Up);
        self.hello_at().filter(|_| reserve).map(|at| at + HELLO_PATIENCE)
    }

    fn drop_all(&mut self) {
        for (transport, state) in &mut self.runners {
            if matches!(state, State::Dialling(_) | State::Up | State::Hello(_)) {
                *state = State::Gone;
                self.actions.push(Action::Drop(*transport));
            }
        }
    }
}

/// Whether a code was said by an edge or a backend of ours, not by a path.
fn is_verdict(code: CloseCode) -> bool {
    !matches!(code, CloseCode::LOST | CloseCode::UNAVAILABLE | CloseCode::VERSION)
}

/// Of all failures the one that helps most: a version that is not spoken ends the client for good, a refusal says
/// more than silence; otherwise the best candidate's.
fn most_telling(failures: &[Closing]) -> Closing {
    let of = |wanted: fn(&Closing) -> bool| failures.iter().find(|closing| wanted(closing));
    let found = of(|closing| closing.code == CloseCode::VERSION)
        .or_else(|| of(|closing| closing.code != CloseCode::LOST))
        .or_else(|| failures.first());
    found.cloned().unwrap_or_else(|| {
        Closing::new(CloseCode::UNAVAILABLE, "no transport to try: quic does not go through a proxy")
    })
}

#[cfg(test)]
#[path = "race_tests.rs"]
mod tests;
