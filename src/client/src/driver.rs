//! The one task of a client: it moves bytes and time between a [`Core`](crate::core::Core) and a [`Link`], and lets
//! transports race for the next link.

use std::collections::VecDeque;
use std::future::pending;
use std::pin::Pin;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use nearport_session::Closing;
use nearport_wire::close::CloseCode;
use tokio::sync::watch;
use tokio::time::{Sleep, sleep_until};
use tracing::debug;

use crate::attempt::{Attempt, Pace, Quic, Step, probe};
use crate::client::{Inner, Shared};
use crate::core::{State, TransportAction};
use crate::link::{CHUNKS, Link, Progress, Unwritten};
use crate::locate::{LocateError, Locator, referred};
use crate::loss::Loss;
use crate::memory::Place;
use crate::network::{Edge, Network, Whereabouts};
use crate::race::QUIET_AFTER_DEATH;
use crate::silence::{Silence, Verdict};
use crate::transport::Transport;

/// Time between two looks at a path, so that a busy connection does not pay for them.
const SAMPLE_EVERY: Duration = Duration::from_millis(250);

type Task<T> = Pin<Box<dyn Future<Output = T> + Send>>;

pub(crate) struct Driver {
    shared: Arc<Shared>,
    network: Network,
    whereabouts: watch::Receiver<Whereabouts>,
    edge: Edge,
    /// Finds edges instead of that one.
    locator: Option<Locator>,
    /// It is under way: an attempt follows.
    finding: Option<Task<Result<Vec<Edge>, LocateError>>>,
    /// Where the last session was opened.
    visited: Option<Edge>,
    transports: Vec<Transport>,
    /// Where the link leads, and seen from where.
    at: (Edge, Place),
    attempt: Option<Attempt>,
    /// The attempt is for the connection after this one, and as far as that is up.
    preparing: Option<Option<Link>>,
    link: Option<Link>,
    unwritten: Unwritten,
    silence: Silence,
    loss: Loss,
    /// When the path is looked at again.
    sample_at: Option<Instant>,
    /// QUIC died without a word: the next attempt does not wait for it.
    quic_died: bool,
    /// The last link, saying good-bye.
    leaving: Option<Task<()>>,
    /// QUIC being tried beside a session over TCP.
    probe: Option<Task<bool>>,
    timer: Pin<Box<Sleep>>,
}

/// What the core wants after a turn.
struct Turn {
    actions: [Option<TransportAction>; 2],
    wants_input: bool,
    deadline: Option<Instant>,
    /// Stopped, and no handle is left that could start it again.
    done: bool,
}

/// What woke the task.
enum Input {
    Nothing,
    Found(Result<Vec<Edge>, LocateError>),
    Attempt(Step),
    Link(Progress),
    Left,
    Probed(bool),
    Moved,
}

impl Driver {
    pub(crate) fn new(
        shared: Arc<Shared>,
        network: Network,
        edge: Edge,
        locator: Option<Locator>,
        transports: Vec<Transport>,
    ) -> Self {
        Self {
            shared,
            whereabouts: network.whereabouts(),
            at: (edge.clone(), network.place(edge.address)),
            transports: network.usable(&transports),
            network,
            edge,
            locator,
            finding: None,
            visited: None,
            attempt: None,
            preparing: None,
            link: None,
            unwritten: Unwritten::default(),
            silence: Silence::default(),
            loss: Loss::default(),
            sample_at: None,
            quic_died: false,
            leaving: None,
            probe: None,
            timer: Box::pin(sleep_until(tokio::time::Instant::now())),
        }
    }

    pub(crate) async fn run(mut self) {
        let mut chunks: [Bytes; CHUNKS] = Default::default();
        loop {
            let turn = self.turn();
            for action in turn.actions.into_iter().flatten() {
                match action {
                    TransportAction::Connect => self.begin_attempt(),
                    TransportAction::Disconnect(code) => self.hang_up(code),
                    TransportAction::Prepare => {
                        if let Some(locator) = &self.locator {
                            locator.left(&self.at.0);
                        }
                        self.begin_attempt();
                        self.preparing = Some(None);
                    }
                    TransportAction::Switch => self.switch(),
                }
            }
            if turn.actions[0].is_some() {
                self.feed(|_, _| {});
                continue;
            }
            if turn.done && self.leaving.is_none() {
                return;
            }
            let input = self.wait(&turn, &mut chunks).await;
            self.handle(input, &mut chunks);
        }
    }

    /// To where the last server sent us, then to the one of the configuration, or to those that are found.
    fn begin_attempt(&mut self) {
        (self.attempt, self.finding, self.preparing) = (None, None, None);
        let referrals = self.shared.lock().core.referrals().to_vec();
        let in_use = if self.locator.is_some() { &self.at.0.name } else { &self.edge.name };
        let edges = referrals.into_iter().map(|referral| {
            Edge::new(referral.address, referral.name.map_or_else(|| Arc::clone(in_use), Arc::from))
        });
        let mut edges: Vec<Edge> = edges.collect();
        let Some(locator) = &self.locator else {
            edges.push(self.edge.clone());
            return self.attempt_at(edges.into());
        };
        match locator.ready(&self.network, self.visited.as_ref()) {
            Some(known) => edges = referred(edges, known),
            None if edges.is_empty() => {
                let finding = locator.clone().find(self.network.clone(), self.visited.clone());
                self.finding = Some(Box::pin(finding));
                return;
            }
            None => {}
        }
        self.attempt_at(edges.into());
    }

    /// `edges` come in this order.
    fn attempt_at(&mut self, mut edges: VecDeque<Edge>) {
        let crowded = self.shared.lock().core.returns_with_crowd();
        let first = edges.pop_front().unwrap_or_else(|| self.edge.clone());
        let pace = match std::mem::take(&mut self.quic_died) {
            true => Pace { quiet: Some(QUIET_AFTER_DEATH), ..Pace::default() },
            false if crowded => Pace::CROWD,
            false => Pace::default(),
        };
        let (network, transports, locator) =
            (self.network.clone(), self.transports.clone(), self.locator.clone());
        self.attempt = Some(Attempt::new(network, transports, first, edges, locator, pace));
    }

    /// Lets the core do what is due and collects what it wants.
    fn turn(&mut self) -> Turn {
        let now = Instant::now();
        if let Some(closing) = self.find_dead(now) {
            self.shared.lock().core.handle_path_dead(now, closing.clone());
            self.lose(closing);
        }
        self.start_probe(now);
        let shared = Arc::clone(&self.shared);
        let mut inner = shared.lock();
        inner.core.handle_timeout(now);
        let actions = [inner.core.poll_transport(), inner.core.poll_transport()];
        // The output of a session that is being left belongs to its link; without a link nothing can take it.
        if self.link.is_some() && actions[0].is_none() {
            self.sample_path(now, &mut inner);
            self.unwritten.refill(&mut inner.core);
        }
        self.silence.awaits(now, self.link.is_some() && inner.core.awaits_answer());
        let deadline = inner.core.poll_timeout();
        let wants_input = inner.core.wants_input();
        inner.armed = deadline;
        inner.reading = wants_input;
        let done = inner.orphaned && inner.core.state() == State::Stopped;
        self.settle(inner);
        // What is not read is not silence.
        let silence = self.silence.poll_timeout().filter(|_| wants_input && self.is_quic());
        let deadline = [deadline, silence, self.probe_at()].into_iter().flatten().min();
        Turn { actions, wants_input, deadline, done }
    }

    /// Waits for the first thing to happen. Every branch is cancel-safe, so what loses the race loses nothing.
    async fn wait(&mut self, turn: &Turn, chunks: &mut [Bytes; CHUNKS]) -> Input {
        if let Some(deadline) = turn.deadline {
            let deadline = tokio::time::Instant::from_std(deadline);
            if self.timer.deadline() != deadline {
                self.timer.as_mut().reset(deadline);
            }
        }
        let progress = async {
            match &mut self.link {
                Some(link) => Input::Link(link.progress(turn.wants_input, &mut self.unwritten, chunks).await),
                None => pending().await,
            }
        };
        let attempt = async {
            match &mut self.attempt {
                Some(attempt) => Input::Attempt(attempt.next().await),
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.shared.wake.notified() => Input::Nothing,
            Ok(()) = self.whereabouts.changed() => Input::Moved,
            input = progress => input,
            found = done(&mut self.finding) => Input::Found(found),
            input = attempt => input,
            () = done(&mut self.leaving) => Input::Left,
            works = done(&mut self.probe) => Input::Probed(works),
            () = self.timer.as_mut(), if turn.deadline.is_some() => Input::Nothing,
        }
    }

    fn handle(&mut self, input: Input, chunks: &mut [Bytes; CHUNKS]) {
        match input {
            Input::Nothing | Input::Link(Progress::Wrote) => {}
            Input::Left => {
                self.leaving = None;
                self.feed(|_, _| {});
            }
            Input::Link(Progress::Read(count)) => {
                self.silence.heard(Instant::now());
                self.feed(|inner, now| {
                    for chunk in chunks.iter_mut().take(count) {
                        inner.core.handle_bytes(now, std::mem::take(chunk));
                    }
                });
                self.finish_attempt();
            }
            Input::Link(Progress::ReadBulk(count)) => {
                self.silence.heard(Instant::now());
                self.feed(|inner, now| {
                    for chunk in chunks.iter_mut().take(count) {
                        inner.core.handle_bulk_bytes(now, std::mem::take(chunk));
                    }
                });
            }
            Input::Link(Progress::Datagram(datagram)) => {
                self.silence.heard(Instant::now());
                self.feed(|inner, now| inner.core.handle_datagram(now, datagram));
            }
            Input::Link(Progress::Lost(closing)) => self.lose(closing),
            Input::Attempt(Step::Hello(link)) => {
                let path = link.path();
                if let Some(prepared) = &mut self.preparing {
                    *prepared = Some(link);
                    return self.feed(|inner, now| inner.core.handle_prepared(now, path));
                }
                self.take_up(link);
                self.feed(|inner, now| inner.core.handle_connected(now, path));
            }
            Input::Found(found) => {
                self.finding = None;
                match found {
                    Ok(edges) => self.attempt_at(edges.into()),
                    Err(error) => self.give_up(Closing::new(CloseCode::UNAVAILABLE, error.to_string())),
                }
            }
            Input::Attempt(Step::Lose(closing)) => {
                self.attempt = None;
                let nobody = matches!(closing.code, CloseCode::LOST | CloseCode::UNAVAILABLE);
                if let Some(locator) = self.locator.as_ref().filter(|_| nobody) {
                    locator.exhausted(&self.network);
                }
                self.give_up(closing);
            }
            Input::Probed(works) => {
                self.probe = None;
                let (mut memory, now) = (self.network.memory(), Instant::now());
                if works {
                    memory.quic_works(&self.at.1, now);
                } else {
                    memory.quic_failed(&self.at.1, now);
                }
            }
            Input::Moved => self.handle_moved(),
        }
    }

    /// The attempt is over, and nobody was reached.
    fn give_up(&mut self, closing: Closing) {
        match self.preparing.take() {
            Some(_) => self.feed(|inner, now| inner.core.handle_prepare_failed(now)),
            None => self.lose(closing),
        }
    }

    /// The link is the one to use from now on.
    fn take_up(&mut self, link: Link) {
        if let Some(attempt) = &self.attempt {
            self.at = (attempt.edge().clone(), attempt.place().clone());
        }
        self.shared.lock().edge = Some(self.at.0.address);
        if let Some(dropped) = self.link.replace(link) {
            dropped.abandon(CloseCode::LOST);
        }
        self.unwritten.clear();
        self.silence = Silence::default();
        self.loss = Loss::new(self.network.memory().was_lossy(&self.at.1));
        self.sample_at = None;
    }

    /// The session moves to the connection that was prepared.
    fn switch(&mut self) {
        self.part(CloseCode::BYE);
        match self.preparing.take().flatten() {
            Some(link) => self.take_up(link),
            // It was there when the core decided, and nobody takes it away in between.
            None => (self.attempt, self.finding) = (None, None),
        }
    }

    /// The link is gone, or there will be none. While others still run for it, the core does not hear of that.
    fn lose(&mut self, closing: Closing) {
        debug!(code = closing.code.0, reason = closing.reason, "connection lost");
        self.unwritten.clear();
        self.note_path();
        self.link = None;
        if self.preparing.take().is_some() {
            (self.attempt, self.finding) = (None, None);
        }
        if let Some(attempt) = &mut self.attempt {
            return attempt.lost(closing);
        }
        self.feed(|inner, now| inner.core.handle_disconnected(now, closing));
    }

    /// The race is over once the core is logged in.
    fn finish_attempt(&mut self) {
        let racing = self.attempt.is_some() && self.preparing.is_none();
        if !racing || self.shared.lock().core.state() != State::Live {
            return;
        }
        let (Some(attempt), Some(link)) = (self.attempt.take(), &self.link) else { return };
        let now = Instant::now();
        if let Some(locator) = &self.locator {
            locator.landed(&self.network, &self.at.0);
            self.visited = Some(self.at.0.clone());
        }
        let transport = link.path().transport;
        let mut memory = self.network.memory();
        memory.won(&self.at.1, transport, now);
        match attempt.won() {
            _ if transport.is_udp() => {}
            Quic::Untried => {}
            Quic::Works => memory.quic_works(&self.at.1, now),
            Quic::Failed => memory.quic_failed(&self.at.1, now),
            // It may have lost one packet only. What it does now decides where the next attempt begins.
            Quic::Dialling(dial) => self.probe = Some(Box::pin(probe(dial))),
        }
        drop(memory);
        self.note_path();
    }

    /// Tries QUIC beside a session over TCP, when the memory of its failure has run out.
    fn start_probe(&mut self, now: Instant) {
        if self.probe_at().is_some_and(|at| at <= now) && self.network.memory().take_probe(&self.at.1, now) {
            let rtt = self.network.memory().rtt(&self.at.1);
            let dial = self.network.clone().dial(self.at.0.clone(), Transport::Quic, rtt);
            self.probe = Some(Box::pin(probe(dial)));
        }
    }

    fn probe_at(&self) -> Option<Instant> {
        let over_tcp = self.attempt.is_none() && self.link.as_ref().is_some_and(|link| !link.is_udp());
        let wanted = over_tcp && self.probe.is_none() && self.transports.contains(&Transport::Quic);
        if wanted { self.network.memory().probe_at(&self.at.1) } else { None }
    }

    fn is_quic(&self) -> bool {
        self.link.as_ref().is_some_and(Link::is_udp)
    }

    /// Whether the path under a QUIC connection is dead.
    fn find_dead(&mut self, now: Instant) -> Option<Closing> {
        let link = self.link.as_ref().filter(|link| link.is_udp())?;
        let packets = || link.packets().unwrap_or_default();
        match self.silence.look(now, packets, link.rtt().unwrap_or_default()) {
            Verdict::Suspect => {
                self.shared.lock().core.probe_path(now);
                None
            }
            Verdict::Dead if !self.shared.lock().core.has_moved() => {
                // Whether QUIC or the server is gone shows the next attempt.
                self.quic_died = true;
                Some(Closing::new(CloseCode::LOST, "not a packet from the server"))
            }
            Verdict::Alive | Verdict::Dead => None,
        }
    }

    /// Another network, or another address in it.
    fn handle_moved(&mut self) {
        self.give_probe_back();
        // A race that began in the old network is run again; QUIC connections live on.
        let survives = (self.attempt.is_none() || self.preparing.is_some()) && self.is_quic();
        if survives {
            self.at.1 = self.network.place(self.at.0.address);
        }
        self.feed(|inner, now| inner.core.network_changed(now, survives));
    }

    fn give_probe_back(&mut self) {
        if self.probe.take().is_some() {
            self.network.memory().return_probe(&self.at.1);
        }
    }

    fn note_path(&self) {
        if let Some(rtt) = self.link.as_ref().and_then(Link::rtt) {
            self.network.memory().note_path(&self.at.1, rtt, self.loss.is_lossy());
        }
    }

    /// Looks at the path now and then, when something is to be sent.
    fn sample_path(&mut self, now: Instant, inner: &mut Inner) {
        let due = self.sample_at.is_none_or(|at| at <= now) && !inner.core.poll_output().is_empty();
        let Some(link) = self.link.as_ref().filter(|_| due) else { return };
        if let (Some(packets), Some(rtt)) = (link.packets(), link.rtt()) {
            self.loss.sample(packets);
            inner.core.set_path(rtt, self.loss.is_lossy());
        }
        self.sample_at = Some(now + SAMPLE_EVERY);
    }

    fn feed(&self, input: impl FnOnce(&mut Inner, Instant)) {
        let mut inner = self.shared.lock();
        input(&mut inner, Instant::now());
        inner.linked =
            self.link.is_some() || self.attempt.is_some() || self.finding.is_some() || self.leaving.is_some();
        self.settle(inner);
    }

    /// Hands out answers and wakes who waits for events.
    fn settle(&self, mut inner: MutexGuard<'_, Inner>) {
        inner.settle();
        let changed = inner.take_change();
        drop(inner);
        if changed {
            self.shared.changed.notify_waiters();
        }
    }

    /// Closes the connection, or gives up the attempt.
    fn hang_up(&mut self, code: CloseCode) {
        if let (Some(locator), Some(attempt), None, CloseCode::LOST) =
            (&self.locator, &self.attempt, &self.preparing, code)
        {
            // Its time is over: the next attempt begins with another.
            locator.failed(attempt.edge());
        }
        (self.attempt, self.finding, self.preparing) = (None, None, None);
        self.note_path();
        // The session found out by itself, by an answer that did not come.
        if code == CloseCode::LOST && self.is_quic() {
            self.quic_died = true;
        }
        self.part(code);
    }

    /// Lets the link go. A good-bye first writes what is left and lets the server close, for a bounded time and beside
    /// whatever comes next.
    fn part(&mut self, code: CloseCode) {
        let mut unwritten = std::mem::take(&mut self.unwritten);
        unwritten.main.append(&mut self.shared.lock().core.take_parting());
        if let Some(link) = self.link.take() {
            self.leaving = Some(Box::pin(link.close(unwritten, code)));
        }
    }
}

/// Ends with the task, if there is one. Cancel-safe.
async fn done<T>(task: &mut Option<Task<T>>) -> T {
    match task {
        Some(task) => task.await,
        None => pending().await,
    }
}

impl Drop for Driver {
    /// The task is over, in whatever way: nobody shall wait for it.
    fn drop(&mut self) {
        self.give_probe_back();
        let mut inner = self.shared.lock();
        inner.core.close(Instant::now());
        inner.linked = false;
        inner.settle();
        drop(inner);
        self.shared.changed.notify_waiters();
    }
}
