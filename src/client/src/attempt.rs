//! A race with its runners: the shell around [`Race`].

use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use nearport_session::Closing;
use nearport_wire::close::CloseCode;
use tokio::time::{sleep_until, timeout};
use tracing::debug;

use crate::link::Link;
use crate::network::{Edge, Network, Sighting};
use crate::race::{Action, Event, Plan, Race};
use crate::transport::Transport;

/// How long a QUIC handshake may go on beside a session over TCP before it counts as failed. Enough for three
/// repetitions of its first packet.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

type Dial = Pin<Box<dyn Future<Output = Result<Link, Closing>> + Send>>;

/// An attempt to get a session, over whatever transport.
pub(crate) struct Attempt {
    race: Race,
    network: Network,
    edge: Edge,
    rtt: Option<Duration>,
    dials: Vec<(Transport, Dial)>,
    up: Vec<(Transport, Link)>,
    sighting: Sighting,
    /// Whose link the driver has.
    speaker: Option<Transport>,
    quic: Quic,
}

/// What the driver has to do.
pub(crate) enum Step {
    /// Say hello on this link; a link that it has is to be dropped.
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
    /// Starts a race. `rtt` is the round trip of the last visit. Needs a tokio runtime.
    pub(crate) fn new(network: Network, edge: Edge, plan: Plan, rtt: Option<Duration>) -> Self {
        // Watches before the first packet leaves.
        let sighting = network.watch(edge.address);
        Self {
            race: Race::new(plan, Instant::now()),
            network,
            edge,
            rtt,
            dials: Vec::new(),
            up: Vec::new(),
            sighting,
            speaker: None,
            quic: Quic::Untried,
        }
    }

    /// Runs the race until the driver has something to do. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Step {
        loop {
            if let Some(step) = self.take_actions() {
                return step;
            }
            let deadline = self.race.poll_timeout();
            let due = async {
                match deadline {
                    Some(at) => sleep_until(at.into()).await,
                    None => pending().await,
                }
            };
            let event = tokio::select! {
                biased;
                (transport, outcome) = first(&mut self.dials) => Some(self.dialled(transport, outcome)),
                () = self.sighting.seen() => Some(Event::Packet),
                () = due => None,
            };
            match event {
                Some(event) => self.race.handle(Instant::now(), event),
                None => self.race.handle_timeout(Instant::now()),
            }
        }
    }

    /// The link that said hello is lost.
    pub(crate) fn lost(&mut self, closing: Closing) {
        if let Some(transport) = self.speaker.take() {
            self.note_failure(transport);
            self.race.handle(Instant::now(), Event::Failed(transport, closing));
        }
    }

    /// The welcome came: the race is over. Tells what it showed about QUIC.
    pub(crate) fn won(mut self) -> Quic {
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

    fn take_actions(&mut self) -> Option<Step> {
        while let Some(action) = self.race.poll_action() {
            match action {
                Action::Dial(transport) => {
                    let dial = self.network.clone().dial(self.edge.clone(), transport, self.rtt);
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

/// The first attempt to end; it leaves the list. Cancel-safe.
async fn first(dials: &mut Vec<(Transport, Dial)>) -> (Transport, Result<Link, Closing>) {
    let (at, outcome) = poll_fn(|cx| {
        for (at, (_, dial)) in dials.iter_mut().enumerate() {
            if let Poll::Ready(outcome) = dial.as_mut().poll(cx) {
                return Poll::Ready((at, outcome));
            }
        }
        Poll::Pending
    })
    .await;
    (dials.swap_remove(at).0, outcome)
}

/// Lets a QUIC handshake end and closes what it made. Returns whether QUIC works.
pub(crate) async fn probe(dial: impl Future<Output = Result<Link, Closing>>) -> bool {
    let Ok(Ok(link)) = timeout(PROBE_TIMEOUT, dial).await else { return false };
    link.abandon(CloseCode::BYE);
    true
}
