//! A race with its runners: the shell around [`Race`].

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use nearport_session::Closing;
use nearport_wire::close::{CloseCode, Return};
use tokio::time::timeout;
use tracing::debug;

use crate::link::Link;
use crate::locate::Locator;
use crate::memory::Place;
use crate::network::{Edge, Network, Sighting};
use crate::race::{Action, Event, Race};
use crate::tasks::{Task, first, until};
use crate::transport::Transport;

/// How long a QUIC handshake may go on beside a session over TCP before it counts as failed. Enough for three
/// repetitions of its first packet.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an edge that is not the last one may take to bring a transport up.
const EDGE_TIMEOUT: Duration = Duration::from_secs(2);

type Dial = Task<Result<Link, Closing>>;

/// An attempt to get a session: at one edge after the other, over whatever transport.
pub(crate) struct Attempt {
    network: Network,
    transports: Vec<Transport>,
    /// Edges that come next if this one fails.
    rest: VecDeque<Edge>,
    /// Learns which of them fail, and knows the order of the rest.
    locator: Option<Locator>,
    pace: Pace,
    heat: Heat,
}

/// What is known beforehand about how fast a server answers, where that is not as usual.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pace {
    /// How long TCP waits for QUIC at the first edge.
    pub(crate) quiet: Option<Duration>,
    /// What QUIC takes for the round trip at first, instead of that of the last visit.
    pub(crate) rtt: Option<Duration>,
}

impl Pace {
    /// Among a crowd that comes back to a server after a crash. Its answers wait behind those to the others, which
    /// nobody is to take for a loss: in a storm of 10,000 that came back at once and repeated their first packets as after a
    /// usual round trip, there were 56,000 Retries.
    pub(crate) const CROWD: Self =
        Self { quiet: Some(Duration::from_secs(1)), rtt: Some(Duration::from_millis(333)) };
}

/// A race at one edge.
struct Heat {
    race: Race,
    edge: Edge,
    place: Place,
    /// Round trip of the last visit, or what is assumed.
    rtt: Option<Duration>,
    dials: Vec<(Transport, Dial)>,
    up: Vec<(Transport, Link)>,
    sighting: Sighting,
    /// Whose link the driver has.
    speaker: Option<Transport>,
    quic: Quic,
    /// When the next edge gets its turn, unless a transport is up.
    give_up_at: Option<Instant>,
}

/// What the driver has to do.
pub(crate) enum Step {
    /// Say hello on this link; a link of this attempt that it has is to be dropped.
    Hello(Link),
    /// Nobody is left.
    Lose(Closing),
}

/// What the race showed about QUIC.
pub(crate) enum Quic {
    /// It did not run.
    Untried,
    /// It failed, or was too slow to get the hello.
    Failed,
    /// Its handshake goes on.
    Dialling(Dial),
    /// Its handshake went through.
    Works,
}

impl Attempt {
    /// Starts at `edge`. Needs a tokio runtime.
    pub(crate) fn new(
        network: Network,
        transports: Vec<Transport>,
        edge: Edge,
        rest: VecDeque<Edge>,
        locator: Option<Locator>,
        pace: Pace,
    ) -> Self {
        let heat = Heat::new(&network, &transports, edge, !rest.is_empty(), pace);
        Self { network, transports, rest, locator, pace, heat }
    }

    /// The edge that is being tried, seen from here.
    pub(crate) fn place(&self) -> &Place {
        &self.heat.place
    }

    pub(crate) fn edge(&self) -> &Edge {
        &self.heat.edge
    }

    /// Runs the races until the driver has something to do. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Step {
        loop {
            let step = self.heat.next(&self.network).await;
            let Step::Lose(closing) = step else { return step };
            // What an edge says about the credentials the next one says as well.
            let final_word = matches!(closing.code.returns(), Return::No | Return::AfterChange);
            if let Some(locator) = self.locator.as_ref().filter(|_| !final_word) {
                locator.failed(&self.heat.edge);
                locator.sort(self.rest.make_contiguous());
            }
            match self.rest.pop_front().filter(|_| !final_word) {
                Some(edge) => {
                    debug!(edge = %self.heat.edge.address, reason = closing.reason, "on to the next edge");
                    let pace = Pace { quiet: None, ..self.pace };
                    self.heat = Heat::new(&self.network, &self.transports, edge, !self.rest.is_empty(), pace);
                }
                None => return Step::Lose(closing),
            }
        }
    }

    /// The link that said hello is lost.
    pub(crate) fn lost(&mut self, closing: Closing) {
        self.heat.lost(closing);
    }

    /// The welcome came: the race is over. Tells what it showed about QUIC.
    pub(crate) fn won(self) -> Quic {
        self.heat.won()
    }
}

impl Heat {
    fn new(network: &Network, transports: &[Transport], edge: Edge, has_next: bool, pace: Pace) -> Self {
        let (place, now) = (network.place(edge.address), Instant::now());
        let memory = network.memory();
        let transports: Vec<_> = transports.iter().copied().filter(|way| edge.offers(*way)).collect();
        let mut plan = memory.plan(&place, &transports, now);
        let rtt = pace.rtt.or_else(|| memory.rtt(&place));
        drop(memory);
        plan.quiet = pace.quiet.unwrap_or(plan.quiet);
        Self {
            // Watches before the first packet leaves.
            sighting: network.watch(edge.address),
            race: Race::new(plan, now),
            edge,
            place,
            rtt,
            dials: Vec::new(),
            up: Vec::new(),
            speaker: None,
            quic: Quic::Untried,
            give_up_at: has_next.then(|| now + EDGE_TIMEOUT),
        }
    }

    /// Runs the race until the driver has something to do. Cancel-safe.
    async fn next(&mut self, network: &Network) -> Step {
        loop {
            if let Some(step) = self.take_actions(network) {
                self.give_up_at = None;
                return step;
            }
            if self.give_up_at.is_some_and(|at| at <= Instant::now()) {
                return Step::Lose(Closing::new(CloseCode::LOST, "no connection in time"));
            }
            let deadline = [self.race.poll_timeout(), self.give_up_at].into_iter().flatten().min();
            let event = tokio::select! {
                biased;
                (transport, outcome) = first(&mut self.dials) => Some(self.dialled(transport, outcome)),
                () = self.sighting.seen() => Some(Event::Packet),
                () = until(deadline) => None,
            };
            match event {
                Some(event) => self.race.handle(Instant::now(), event),
                None => self.race.handle_timeout(Instant::now()),
            }
        }
    }

    fn lost(&mut self, closing: Closing) {
        if let Some(transport) = self.speaker.take() {
            self.note_failure(transport);
            self.race.handle(Instant::now(), Event::Failed(transport, closing));
        }
    }

    fn won(mut self) -> Quic {
        self.race.handle(Instant::now(), Event::Welcome);
        let quic = self.dials.iter().position(|(transport, _)| *transport == Transport::Quic);
        match quic {
            Some(at) => Quic::Dialling(self.dials.swap_remove(at).1),
            None => self.quic,
        }
    }

    fn dialled(&mut self, transport: Transport, outcome: Result<Link, Closing>) -> Event {
        match outcome {
            Ok(link) => {
                if transport == Transport::Quic {
                    self.quic = Quic::Works;
                }
                self.up.push((transport, link));
                Event::Up(transport)
            }
            Err(closing) => {
                debug!(%transport, code = closing.code.0, reason = closing.reason, "no way through");
                self.note_failure(transport);
                Event::Failed(transport, closing)
            }
        }
    }

    fn note_failure(&mut self, transport: Transport) {
        if transport == Transport::Quic {
            self.quic = Quic::Failed;
        }
    }

    fn take_actions(&mut self, network: &Network) -> Option<Step> {
        while let Some(action) = self.race.poll_action() {
            match action {
                Action::Dial(transport) => {
                    let dial = network.clone().dial(self.edge.clone(), transport, self.rtt);
                    self.dials.push((transport, Box::pin(dial)));
                }
                Action::Hello(transport) => {
                    let at = self.up.iter().position(|(other, _)| *other == transport);
                    let Some(at) = at else { continue };
                    self.speaker = Some(transport);
                    return Some(Step::Hello(self.up.swap_remove(at).1));
                }
                Action::Drop(transport) => {
                    // The driver drops a link that it has when it gets the next one, or at the end.
                    if self.speaker == Some(transport) {
                        self.speaker = None;
                        self.note_failure(transport);
                    }
                    self.dials.retain(|(other, _)| *other != transport);
                    if let Some(at) = self.up.iter().position(|(other, _)| *other == transport) {
                        self.up.swap_remove(at).1.abandon(CloseCode::BYE);
                    }
                }
                Action::Lose(closing) => return Some(Step::Lose(closing)),
            }
        }
        None
    }
}

/// Lets a QUIC handshake end and closes what it made. Returns whether QUIC works.
pub(crate) async fn probe(dial: impl Future<Output = Result<Link, Closing>>) -> bool {
    let Ok(Ok(link)) = timeout(PROBE_TIMEOUT, dial).await else { return false };
    link.abandon(CloseCode::BYE);
    true
}
