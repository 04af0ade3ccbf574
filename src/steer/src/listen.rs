//! The locator's side of the steering link, and its [`Board`] for all threads that know something.
//!
//! Each link has two threads: one reads and tells the board, the other says each second that the locator is here, and at once what is
//! new. Whenever what answers need to know has changed, the [`Sink`] has it before anything else happens.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};
use nearport_geo::map::Live;
use nearport_geo::{PopSet, PopTable};
use nearport_trunk::Stream;
use nearport_trunk::listen::wake;
use nearport_trunk::tls::{accept, edge_name, is_for, left};
use rustls::ServerConfig;

use crate::board::{Board, Row, State as Standing, Wish};
use crate::link::{self, HANDSHAKE_MAX, TICK};
use crate::message::{Down, Hello, Report, Target, Up};
use crate::order::{Order, Proven, Seal, Sealed};

/// Handshakes under way; more are closed at once, and their edges come again.
const HANDSHAKES_MAX: usize = 64;

/// Pause when the system gives no descriptor.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Who hears what the board says. Called while the board is locked: what is said later is said later here.
pub trait Sink: Send + Sync + fmt::Debug {
    /// Who is up and how full, by the indices of this table.
    fn live(&self, live: Live, table: &Arc<PopTable>);

    /// All orders, to be kept over a restart.
    fn orders(&self, orders: &[Sealed]);
}

/// A locator. Cheap to clone; it lives as long as one of its clones.
#[derive(Clone)]
pub struct Locator(Arc<Shared>);

struct Shared {
    begun: Instant,
    state: Mutex<State>,
    news: Condvar,
    sink: Box<dyn Sink>,
    seal: Arc<dyn Seal>,
    metrics: Metrics,
}

struct State {
    board: Board,
    /// Who was up when the sink heard it last; `None`: it is to hear it anew.
    last: Option<PopSet>,
    /// The versions that were told.
    told: (u64, u64),
    /// By link, as long as the board has it: to be cut when another takes its place, or at the end. What is not here reads and
    /// writes no more.
    streams: BTreeMap<u64, Stream>,
}

struct Metrics {
    edges: Gauge,
    voters: Gauge,
    made: Counter,
    refused: Counter,
    votes: Counter,
    unheard: Counter,
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
    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those of the orders that are news and were given in this network. Seals are checked with nothing locked, since an edge can
    /// bring any number of forged ones.
    fn proven(&self, orders: Vec<Sealed>) -> Vec<Proven> {
        let news = self.state().board.news(orders);
        let count = news.len();
        let proven: Vec<Proven> = news.into_iter().filter_map(|sealed| sealed.prove(&*self.seal)).collect();
        self.metrics.forged.increment((count - proven.len()) as u64);
        proven
    }

    fn merge(&self, state: &mut State, orders: Vec<Proven>) {
        let (taken, refused) = state.board.merge(orders);
        self.metrics.orders.increment(taken as u64);
        self.metrics.forged.increment(refused as u64);
    }

    /// Tells everybody what is new, and nobody what is not: this comes after every message of every edge.
    fn changed(&self, state: &mut State) {
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
struct News {
    /// For whoever answers: others are up than before.
    live: Option<Live>,
    /// For the disk.
    orders: bool,
    /// For the edges.
    links: bool,
}

impl State {
    fn news(&mut self, now: Duration) -> News {
        let up = self.board.up(now);
        let same = self.last.replace(up) == Some(up);
        // Not asked for without need: between two ticks it counts what was sent anew.
        let live = (!same).then(|| self.board.live(now));
        let versions = self.board.versions();
        let before = std::mem::replace(&mut self.told, versions);
        News { live, orders: versions.0 != before.0, links: versions != before }
    }
}

/// Takes links of edges. Dropping it ends them all.
pub struct Listener {
    address: SocketAddr,
    accepting: Arc<Accepting>,
    thread: Option<JoinHandle<()>>,
}

struct Accepting {
    locator: Locator,
    tls: Mutex<Arc<ServerConfig>>,
    silence: Duration,
    /// By number: sockets that are not linked yet, to be cut at the end.
    handshakes: Mutex<BTreeMap<u64, TcpStream>>,
    came: AtomicU64,
    stopped: Mutex<bool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Listener {
    /// Serves whoever comes to `socket`. `tls` is of [`crate::tls::listen_config`].
    ///
    /// # Errors
    /// Of the operating system.
    pub fn start(
        socket: TcpListener,
        tls: Arc<ServerConfig>,
        locator: Locator,
        silence: Duration,
    ) -> io::Result<Self> {
        let address = socket.local_addr()?;
        let accepting = Arc::new(Accepting {
            locator,
            tls: Mutex::new(tls),
            silence,
            handshakes: Mutex::default(),
            came: AtomicU64::new(0),
            stopped: Mutex::new(false),
            threads: Mutex::default(),
        });
        let shared = accepting.clone();
        let thread = std::thread::Builder::new().name("steer-accept".to_owned());
        let thread = thread.spawn(move || accept_all(&socket, &shared))?;
        Ok(Self { address, accepting, thread: Some(thread) })
    }

    /// The bound address.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Shows other certificates, and trusts other roots, from the next link on.
    pub fn set_tls(&self, tls: Arc<ServerConfig>) {
        *self.accepting.tls.lock().unwrap_or_else(PoisonError::into_inner) = tls;
    }
}

impl Accepting {
    fn is_stopped(&self) -> bool {
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handshakes(&self) -> MutexGuard<'_, BTreeMap<u64, TcpStream>> {
        self.handshakes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn threads(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        *self.accepting.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        let woken = wake(self.address);
        if let Some(thread) = self.thread.take().filter(|_| woken) {
            let _ = thread.join();
        }
        let shared = &self.accepting.locator.0;
        shared.state().streams.values().for_each(Stream::cut);
        shared.news.notify_all();
        for socket in self.accepting.handshakes().values() {
            let _ = socket.shutdown(std::net::Shutdown::Both);
        }
        for thread in std::mem::take(&mut *self.accepting.threads()) {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("address", &self.address).finish_non_exhaustive()
    }
}

fn accept_all(socket: &TcpListener, accepting: &Arc<Accepting>) {
    loop {
        let accepted = socket.accept();
        if accepting.is_stopped() {
            return;
        }
        match accepted {
            Ok((stream, peer)) => begin(stream, peer, accepting),
            Err(error) => {
                tracing::warn!(%error, "steer: cannot accept");
                std::thread::park_timeout(ACCEPT_RETRY);
            }
        }
    }
}

/// A handshake may take its time, and so has a thread of its own, which the link keeps.
fn begin(socket: TcpStream, peer: SocketAddr, accepting: &Arc<Accepting>) {
    let refused = &accepting.locator.0.metrics.refused;
    let number = accepting.came.fetch_add(1, Ordering::Relaxed);
    {
        let mut handshakes = accepting.handshakes();
        if handshakes.len() >= HANDSHAKES_MAX {
            refused.increment(1);
            return tracing::warn!(%peer, "steer: too many handshakes at once");
        }
        match socket.try_clone() {
            Ok(socket) => handshakes.insert(number, socket),
            Err(error) => return tracing::warn!(%error, "steer: no descriptor for a link"),
        };
    }
    let own = accepting.clone();
    let run = move || {
        let taken = take(socket, &own);
        own.handshakes().remove(&number);
        match taken {
            Ok((stream, link, node)) => serve(stream, link, node, peer, &own),
            Err(error) => {
                own.locator.0.metrics.refused.increment(1);
                let error = link::why(&error);
                tracing::warn!(%peer, error, "steer: no link");
            }
        }
    };
    match std::thread::Builder::new().name("steer-read".to_owned()).spawn(run) {
        Ok(thread) => {
            let mut threads = accepting.threads();
            threads.retain(|thread| !thread.is_finished());
            threads.push(thread);
        }
        Err(error) => {
            accepting.handshakes().remove(&number);
            tracing::warn!(%error, "steer: no thread for a link");
        }
    }
}

/// Shakes hands and hears the hello. Returns the link's stream, number and node.
fn take(mut socket: TcpStream, accepting: &Accepting) -> io::Result<(Stream, u64, u16)> {
    let deadline = Instant::now() + HANDSHAKE_MAX;
    socket.set_nodelay(true)?;
    let config = accepting.tls.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let connection = accept(&mut socket, &config, deadline)?;
    let certificate = connection.peer_certificates().and_then(|chain| chain.first()).cloned();
    let mut stream = Stream::tls(socket, connection);
    stream.prepare(left(deadline)?)?;
    let Up::Hello(hello) = link::read::<Up>(&mut stream, left(deadline)?)? else {
        return Err(io::Error::other("it does not begin with a hello"));
    };
    let node = hello.node;
    let name = edge_name(node);
    let proven = certificate.is_some_and(|certificate| is_for(&certificate, &name));
    let verdict = hello.agree().map_err(|error| error.to_string()).and_then(|version| match proven {
        true => Ok(version),
        false => Err(format!("the certificate is not for node {node}, whose name is {name}")),
    });
    let joined = verdict.and_then(|version| {
        let cutter = stream.try_clone().map_err(|error| error.to_string())?;
        let shared = &accepting.locator.0;
        let mut state = shared.state();
        let (link, former) = state.board.join(&hello)?;
        // In one step: from now on a newer link of this edge, or a table without its PoP, finds what to cut.
        state.streams.insert(link, cutter);
        if let Some(former) = former.and_then(|former| state.streams.remove(&former)) {
            former.cut();
            shared.news.notify_all();
        }
        shared.changed(&mut state);
        Ok((version, link))
    });
    match joined {
        Ok((version, link)) => {
            let ready = link::write(&mut stream, &Down::Welcome { version })
                .and_then(|()| stream.prepare(accepting.silence));
            match ready {
                Ok(()) => Ok((stream, link, node)),
                Err(error) => {
                    end(&accepting.locator.0, link);
                    Err(error)
                }
            }
        }
        Err(reason) => {
            link::write(&mut stream, &Down::refused(&reason))?;
            let _ = stream.shutdown(std::net::Shutdown::Write);
            Err(io::Error::other(format!("node {node}: {reason}")))
        }
    }
}

fn end(shared: &Shared, link: u64) {
    let mut state = shared.state();
    state.streams.remove(&link);
    state.board.leave(link);
    shared.changed(&mut state);
    // Its writer sees that the link is no more.
    shared.news.notify_all();
}

/// Reads until the link ends; another thread writes meanwhile.
fn serve(mut stream: Stream, link: u64, node: u16, peer: SocketAddr, accepting: &Accepting) {
    let shared = &*accepting.locator.0;
    shared.metrics.made.increment(1);
    tracing::info!(%peer, node, "steer: an edge is linked");
    let error = match stream.try_clone() {
        Err(error) => {
            end(shared, link);
            error
        }
        Ok(writer) => std::thread::scope(|scope| {
            let builder = std::thread::Builder::new().name("steer-write".to_owned());
            if let Err(error) = builder.spawn_scoped(scope, || write(shared, writer, link, accepting)) {
                end(shared, link);
                return error;
            }
            let error = read(shared, &mut stream, link, accepting);
            stream.cut();
            end(shared, link);
            error
        }),
    };
    if !accepting.is_stopped() {
        let error = link::why(&error);
        tracing::warn!(%peer, node, error, "steer: the link of an edge has ended");
    }
}

fn read(shared: &Shared, stream: &mut Stream, link: u64, accepting: &Accepting) -> io::Error {
    loop {
        let mut up = match link::read::<Up>(stream, accepting.silence) {
            Ok(up) => up,
            Err(error) => return error,
        };
        let proven = match &mut up {
            Up::Orders(orders) => shared.proven(std::mem::take(orders)),
            _ => Vec::new(),
        };
        let mut state = shared.state();
        if !state.streams.contains_key(&link) {
            return io::Error::other("another link of this edge has taken its place");
        }
        let now = shared.now();
        match up {
            Up::Hello(_) => return io::Error::other("a second hello"),
            Up::Report(report) => state.board.report(link, report, now),
            Up::Votes(votes) => {
                let count = votes.len() as u64;
                let heard = state.board.votes(link, &votes, now);
                if heard {
                    shared.metrics.votes.increment(count)
                } else {
                    shared.metrics.unheard.increment(count)
                }
            }
            Up::Orders(_) => shared.merge(&mut state, proven),
        }
        shared.changed(&mut state);
    }
}

/// Says each second that the locator is here, and what is new at once.
fn write(shared: &Shared, mut stream: Stream, link: u64, accepting: &Accepting) {
    let mut said = (0, 0);
    let mut beat = Instant::now();
    loop {
        let mut state = shared.state();
        let (orders, targets) = loop {
            if accepting.is_stopped() || !state.streams.contains_key(&link) {
                drop(state);
                stream.cut();
                return;
            }
            let versions = state.board.versions();
            if versions != said {
                let orders = (versions.0 != said.0).then(|| state.board.orders());
                let targets = (versions.1 != said.1).then(|| state.board.targets());
                said = versions;
                break (orders, targets);
            }
            let wait = TICK.saturating_sub(beat.elapsed());
            if wait.is_zero() {
                break (None, None);
            }
            state = shared.news.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        };
        drop(state);
        beat = Instant::now();
        let silent = orders.is_none() && targets.is_none();
        let mut messages = targets.map(Down::Table).into_iter().chain(orders.map(Down::Orders));
        let written = match silent {
            true => link::write(&mut stream, &Down::Alive),
            false => messages.try_for_each(|message| link::write(&mut stream, &message)),
        };
        if written.is_err() {
            // The reader finds out.
            stream.cut();
            return;
        }
    }
}

#[cfg(test)]
mod tests;
