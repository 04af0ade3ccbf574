//! A locator: its [`Board`] for all threads that know something.
//!
//! Whenever what answers need to know has changed, the [`Sink`] has it before anything else happens.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};
use nearport_geo::map::Live;
use nearport_geo::{PopSet, PopTable};
use nearport_trunk::Stream;

use crate::board::{Board, Row, State as Standing, Wish};
use crate::message::{Hello, Report, Target};
use crate::order::{Order, Proven, Seal, Sealed};

/// Who hears what the board says. Called while the board is locked: what is said later is said later here.
pub trait Sink: Send + Sync + fmt::Debug {
    /// Who is up and how full, by the indices of this table.
    fn live(&self, live: Live, table: &Arc<PopTable>);

    /// All orders, to be kept over a restart.
    fn orders(&self, orders: &[Sealed]);
}

/// A locator. Cheap to clone; it lives as long as one of its clones.
#[derive(Clone)]
pub struct Locator(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    begun: Instant,
    state: Mutex<State>,
    pub(crate) news: Condvar,
    sink: Box<dyn Sink>,
    seal: Arc<dyn Seal>,
    pub(crate) metrics: Metrics,
}

pub(crate) struct State {
    pub(crate) board: Board,
    /// Who was up when the sink heard it last; `None`: it is to hear it anew.
    pub(crate) last: Option<PopSet>,
    /// The versions that were told.
    pub(crate) told: (u64, u64),
    /// By link, as long as the board has it: to be cut when another takes its place, or at the end. What is not here reads and
    /// writes no more.
    pub(crate) streams: BTreeMap<u64, Stream>,
}

pub(crate) struct Metrics {
    edges: Gauge,
    voters: Gauge,
    pub(crate) made: Counter,
    pub(crate) refused: Counter,
    pub(crate) votes: Counter,
    pub(crate) unheard: Counter,
    orders: Counter,
    forged: Counter,
}

impl Metrics {
    fn new() -> Self {
        describe_gauge!("nearport_steer_edges", "Edges that are linked to this locator.");
        describe_gauge!("nearport_steer_voters", "Edges among them whose checks count.");
        describe_counter!("nearport_steer_links_made_total", "Steering links that came up.");
        describe_counter!(
            "nearport_steer_links_refused_total",
            "Connections to steer.listen that became no link."
        );
        describe_counter!("nearport_steer_votes_total", "Checks of edges that count.");
        describe_counter!(
            "nearport_steer_votes_ignored_total",
            "Checks of edges without a vote: their PoP has one already, or there are too many."
        );
        describe_counter!("nearport_steer_orders_total", "Orders that were taken, given here or elsewhere.");
        describe_counter!(
            "nearport_steer_orders_refused_total",
            "Orders that edges brought and that no locator of this network gave."
        );
        describe_gauge!("nearport_pop_up", "1: clients are sent to the PoP.");
        describe_gauge!("nearport_pop_sessions", "Sessions of the PoP's edges, as they said last.");
        describe_gauge!("nearport_pop_votes_down", "Checkers that see the PoP down.");
        Self {
            edges: gauge!("nearport_steer_edges"),
            voters: gauge!("nearport_steer_voters"),
            made: counter!("nearport_steer_links_made_total"),
            refused: counter!("nearport_steer_links_refused_total"),
            votes: counter!("nearport_steer_votes_total"),
            unheard: counter!("nearport_steer_votes_ignored_total"),
            orders: counter!("nearport_steer_orders_total"),
            forged: counter!("nearport_steer_orders_refused_total"),
        }
    }
}

impl Locator {
    /// A locator with this board.
    #[must_use]
    pub fn new(board: Board, sink: Box<dyn Sink>) -> Self {
        let seal = board.seal().clone();
        let state = State { told: board.versions(), board, last: None, streams: BTreeMap::new() };
        let shared = Shared {
            seal,
            begun: Instant::now(),
            state: Mutex::new(state),
            news: Condvar::new(),
            sink,
            metrics: Metrics::new(),
        };
        Self(Arc::new(shared))
    }

    /// To be called each second: takes the answers given since, and another table if there is one.
    pub fn tick(&self, table: &Arc<PopTable>, sent: impl Iterator<Item = (nearport_geo::PopIndex, u32)>) {
        let mut state = self.0.state();
        // What edges said before what they could not know of yet.
        state.board.tick(self.0.now());
        if !Arc::ptr_eq(state.board.table(), table) {
            // What was sent is counted by another table.
            sent.for_each(drop);
            let gone = state.board.set_table(table.clone());
            gone.iter().filter_map(|link| state.streams.get(link)).for_each(Stream::cut);
        } else {
            sent.for_each(|(pop, answers)| state.board.sent(pop, answers));
        }
        state.last = None;
        self.0.changed(&mut state);
        for row in state.board.rows(self.0.now()) {
            let up = matches!(row.state, Standing::Up | Standing::SlowStart) && !row.drained && !row.draining;
            gauge!("nearport_pop_up", "pop" => row.pop.clone()).set(f64::from(u8::from(up)));
            gauge!("nearport_pop_sessions", "pop" => row.pop.clone())
                .set(f64::from(row.sessions.unwrap_or(0)));
            gauge!("nearport_pop_votes_down", "pop" => row.pop).set(f64::from(row.votes_down));
        }
    }

    /// The locator's own checker saw a PoP.
    pub fn saw(&self, pop: &str, good: bool) {
        let mut state = self.0.state();
        state.board.saw(pop, good, self.0.now());
        self.0.changed(&mut state);
    }

    /// An operator wants something.
    ///
    /// # Errors
    /// See [`Board::wish`].
    pub fn wish(&self, pop: &str, wish: Wish, by: &str, unix_ms: u64) -> Result<(), String> {
        let mut state = self.0.state();
        state.board.wish(pop, wish, by, unix_ms, self.0.now())?;
        self.0.metrics.orders.increment(1);
        self.0.changed(&mut state);
        Ok(())
    }

    /// The whole network.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        self.0.state().board.rows(self.0.now())
    }

    /// The PoPs to check.
    #[must_use]
    pub fn targets(&self) -> Vec<Target> {
        self.0.state().board.targets()
    }

    /// How the edge of the same process is, and the orders that it was told by other locators. It has no vote, for the locator's own
    /// checker has. Returns all orders.
    ///
    /// # Errors
    /// See [`Board::join`].
    pub fn local_report(
        &self,
        hello: &Hello,
        report: Report,
        orders: Vec<Sealed>,
    ) -> Result<Vec<Sealed>, String> {
        let orders = self.0.proven(orders);
        let mut state = self.0.state();
        let (link, _) = state.board.join(hello)?;
        state.board.report(link, report, self.0.now());
        self.0.merge(&mut state, orders);
        self.0.changed(&mut state);
        Ok(state.board.orders())
    }

    /// The order for a PoP.
    #[must_use]
    pub fn order(&self, pop: &str) -> Option<Order> {
        self.0.state().board.order(pop).cloned()
    }

    /// Edges that are linked.
    #[must_use]
    pub fn edges(&self) -> usize {
        self.0.state().board.edges().0
    }
}

impl fmt::Debug for Locator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Locator").field("edges", &self.edges()).finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those of the orders that are news and were given in this network. Seals are checked with nothing locked, since an edge can
    /// bring any number of forged ones.
    pub(crate) fn proven(&self, orders: Vec<Sealed>) -> Vec<Proven> {
        let news = self.state().board.news(orders);
        let count = news.len();
        let proven: Vec<Proven> = news.into_iter().filter_map(|sealed| sealed.prove(&*self.seal)).collect();
        self.metrics.forged.increment((count - proven.len()) as u64);
        proven
    }

    pub(crate) fn merge(&self, state: &mut State, orders: Vec<Proven>) {
        let (taken, refused) = state.board.merge(orders);
        self.metrics.orders.increment(taken as u64);
        self.metrics.forged.increment(refused as u64);
    }

    /// Tells everybody what is new, and nobody what is not: this comes after every message of every edge.
    pub(crate) fn changed(&self, state: &mut State) {
        let News { live, orders, links } = state.news(self.now());
        if let Some(live) = live {
            self.sink.live(live, state.board.table());
        }
        if orders {
            self.sink.orders(&state.board.orders());
        }
        if links {
            self.news.notify_all();
        }
        let (edges, voters) = state.board.edges();
        self.metrics.edges.set(edges as f64);
        self.metrics.voters.set(voters as f64);
    }
}

/// What is new since it was asked last, and for whom.
pub(crate) struct News {
    /// For whoever answers: others are up than before.
    pub(crate) live: Option<Live>,
    /// For the disk.
    pub(crate) orders: bool,
    /// For the edges.
    pub(crate) links: bool,
}

impl State {
    pub(crate) fn news(&mut self, now: Duration) -> News {
        let up = self.board.up(now);
        let same = self.last.replace(up) == Some(up);
        // Not asked for without need: between two ticks it counts what was sent anew.
        let live = (!same).then(|| self.board.live(now));
        let versions = self.board.versions();
        let before = std::mem::replace(&mut self.told, versions);
        News { live, orders: versions.0 != before.0, links: versions != before }
    }
}
