//! Steering in a process: what one that locates knows of the network, and what an edge says and is told.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use nearport_edge::Edge;
use nearport_geo::PopTable;
use nearport_geo::map::Live;
use nearport_locate::{Service, Signer};
use nearport_steer::board::Board;
use nearport_steer::checker::Outcome;
use nearport_steer::dial::{Dial, Dialers};
use nearport_steer::listen::Listener;
use nearport_steer::locator::{Locator, Sink};
use nearport_steer::message::{Hello, VERSIONS};
use nearport_steer::{Order, Post, Report, Seal, Sealed, Target, post, prober};
use nearport_wire::body::Endpoint;
use tokio::sync::{Notify, watch};
use tokio::time::MissedTickBehavior;

use crate::config::Config;
use crate::control::{Answer, Channel, PopOrder};
use crate::control_server::refuse;
use crate::files;
use crate::first_run::{self, Layout};
use crate::node::{Error, bind_when_free, now_ms};
use crate::reload::Reloads;
use crate::trunk_tls;

/// Where a process that locates keeps the orders that it knows.
const ORDERS_FILE: &str = "orders.json";

/// How often an edge says how it is, and answers hear how full PoPs are.
const TICK: Duration = Duration::from_secs(1);

/// PoPs that leaving clients are sent to.
const ELSEWHERE: usize = 3;

/// Orders are sealed with the key that signs maps: every process that locates has it, and no edge.
#[derive(Debug)]
struct MapKey(Arc<Signer>);

impl Seal for MapKey {
    fn seal(&self, text: &[u8]) -> Vec<u8> {
        self.0.seal(text)
    }

    fn is_sealed(&self, text: &[u8], seal: &[u8]) -> bool {
        self.0.is_sealed(text, seal)
    }
}

/// What the board says goes to whoever answers, and orders to the disk.
#[derive(Debug)]
struct Hear {
    service: Weak<Service>,
    orders: PathBuf,
    given: Arc<Notify>,
}

impl Sink for Hear {
    fn live(&self, live: Live, table: &Arc<PopTable>) {
        // One by another table is not taken; the next tick brings that table.
        self.service.upgrade().map(|service| service.set_live(live, table));
    }

    fn orders(&self, orders: &[Sealed]) {
        let kept = serde_json::to_vec_pretty(orders).map_err(|error| error.to_string()).and_then(|json| {
            files::replace(&self.orders, &json, files::PRIVATE).map_err(|error| error.to_string())
        });
        if let Err(error) = kept {
            tracing::error!(error, "orders for PoPs are not kept over a restart of this process");
        }
        self.given.notify_one();
    }
}

/// The network as a process that locates sees it.
#[derive(Debug)]
pub(crate) struct Steering {
    locator: Locator,
    given: Arc<Notify>,
    /// None: no edges are expected, and nobody is checked.
    listen: Option<Listen>,
    /// The edge of the same process.
    own: Option<Arc<Steered>>,
}

#[derive(Debug)]
struct Listen {
    address: SocketAddr,
    /// None: another process still has the address.
    socket: Option<TcpListener>,
    tls: watch::Sender<Arc<rustls::ServerConfig>>,
    silence: Duration,
}

impl Steering {
    /// Reads the orders that were kept and binds `steer.listen`, if it is set. With `late` an address that is in use is bound as soon as
    /// it is free.
    pub(crate) fn open(
        config: &Config,
        layout: &Layout,
        service: &Arc<Service>,
        key: Arc<Signer>,
        late: bool,
    ) -> Result<Self, Error> {
        let orders = layout.0.join(ORDERS_FILE);
        let kept = kept(&orders);
        let given = Arc::new(Notify::new());
        let board = Board::new(service.table(), kept, Arc::new(MapKey(key)));
        let hear = Hear { service: Arc::downgrade(service), orders, given: given.clone() };
        let locator = Locator::new(board, Box::new(hear));
        // From the first answer on nobody is sent where nobody is to be.
        locator.tick(&service.table(), std::iter::empty());
        let listen = config.steer.listen.map(|address| {
            let tls = watch::Sender::new(trunk_tls::locate(config)?);
            let socket = match TcpListener::bind(address) {
                Ok(socket) => Some(socket),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && late => None,
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    return Err(Error::AddrInUse { addr: address, key: "steer.listen" });
                }
                Err(error) => return Err(Error::Steer(format!("steer.listen: {error}"))),
            };
            let address = socket.as_ref().map_or(Ok(address), TcpListener::local_addr);
            let address = address.map_err(|error| Error::Steer(format!("steer.listen: {error}")))?;
            Ok(Listen { address, socket, tls, silence: config.trunk.silence })
        });
        Ok(Self { locator, given, listen: listen.transpose()?, own: None })
    }

    /// For whoever asks.
    pub(crate) fn locator(&self) -> &Locator {
        &self.locator
    }

    /// Where edges report to, if they do.
    pub(crate) fn addr(&self) -> Option<SocketAddr> {
        self.listen.as_ref().map(|listen| listen.address)
    }

    /// This process's edge reports here, and hears what is seen.
    pub(crate) fn join(&mut self, own: Arc<Steered>) {
        self.own = Some(own);
    }

    /// What SIGHUP makes it read again. Holds nothing alive.
    pub(crate) fn reload_with(&self, reloads: &mut Reloads, config: &Config) {
        let Some(listen) = &self.listen else { return };
        let (tls, config) = (listen.tls.clone(), config.clone());
        reloads.add("steer", move || {
            tls.send_replace(trunk_tls::locate(&config).map_err(|error| error.to_string())?);
            Ok("for the next link".to_owned())
        });
    }

    /// Takes edges, checks PoPs and tells the service, for as long as it is polled.
    ///
    /// Cancel safe: dropping it ends the links.
    ///
    /// # Errors
    /// Of the operating system.
    pub(crate) async fn keep(self, service: Arc<Service>) -> io::Result<Infallible> {
        let Self { locator, given, listen, own } = self;
        let (targets, seen) = watch::channel(locator.targets());
        let checks = listen.is_some();
        let (saw, heard) = (locator.clone(), own.clone());
        let checking = async move {
            if !checks {
                return std::future::pending().await;
            }
            let saw = move |outcome: &Outcome| {
                saw.saw(&outcome.pop, outcome.rtt.is_some());
                if let Some(own) = &heard {
                    own.saw(outcome);
                }
            };
            prober::run(seen, saw).await
        };
        let ticking = async {
            let mut ticks = tokio::time::interval(TICK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = ticks.tick() => locator.tick(&service.table(), service.take_sent()),
                    // The edge of this process learns at once what it is to do.
                    () = given.notified() => {}
                }
                let now = locator.targets();
                if let Some(own) = &own {
                    own.report_to(&locator, &now);
                }
                targets.send_if_modified(|before| std::mem::replace(before, now) != *before);
            }
        };
        tokio::select! {
            stopped = take_links(listen, locator.clone()) => stopped,
            stopped = checking => stopped,
            never = ticking => never,
        }
    }
}

async fn take_links(listen: Option<Listen>, locator: Locator) -> io::Result<Infallible> {
    let Some(Listen { address, socket, tls, silence }) = listen else {
        return std::future::pending().await;
    };
    let in_use = |error: &io::Error| error.kind() == io::ErrorKind::AddrInUse;
    let socket = match socket {
        Some(socket) => socket,
        None => bind_when_free(|| std::future::ready(TcpListener::bind(address)), in_use).await?,
    };
    let mut changed = tls.subscribe();
    let listener = Listener::start(socket, tls.borrow().clone(), locator, silence)?;
    tracing::info!(steer = %listener.local_addr(), "edges report here");
    loop {
        if changed.changed().await.is_ok() {
            listener.set_tls(changed.borrow_and_update().clone());
        }
    }
}

fn kept(path: &std::path::Path) -> Vec<Sealed> {
    let read = files::read_if_there(path).map_err(|error| error.to_string());
    let read = read.and_then(|json| match json {
        Some(json) => serde_json::from_slice(&json).map_err(|error| format!("{}: {error}", path.display())),
        None => Ok(Vec::new()),
    });
    read.unwrap_or_else(|error| {
        tracing::error!(error, "orders for PoPs that were kept cannot be read; edges may bring them back");
        Vec::new()
    })
}

/// An edge that is steered: what it says of itself and of others, and what it is told.
#[derive(Debug)]
pub(crate) struct Steered {
    post: Arc<Post>,
    hello: Hello,
    capacity: Option<u32>,
    edge: Weak<Edge>,
    told: Arc<Told>,
    /// It says how it is by itself: there is no locator in its process that asks.
    reports: bool,
    /// It checks by itself: there is none that does.
    checks: bool,
    dialers: Option<Arc<Dialers>>,
}

/// What it was told, and where else there is somebody.
#[derive(Debug)]
struct Told {
    targets: watch::Sender<Vec<Target>>,
    order: watch::Sender<Option<Order>>,
    /// By PoP: where it answered last, and how far away that is.
    near: Mutex<BTreeMap<String, (SocketAddr, Duration)>>,
}

impl post::Listener for Told {
    fn table(&self, targets: Vec<Target>) {
        self.targets.send_if_modified(|before| std::mem::replace(before, targets) != *before);
    }

    fn order(&self, order: &Order) {
        self.order.send_replace(Some(order.clone()));
        tracing::info!(pop = order.pop, drained = order.drained, by = order.by, "ordered");
    }
}

impl Told {
    fn near(&self) -> MutexGuard<'_, BTreeMap<String, (SocketAddr, Duration)>> {
        self.near.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Steered {
    /// Begins to dial the locators; `None` if the edge belongs to no PoP. With `locator` there is one in the same process.
    pub(crate) fn open(
        config: &Config,
        edge: &Arc<Edge>,
        locator: Option<&Steering>,
        reloads: &mut Reloads,
    ) -> Result<Option<Arc<Self>>, Error> {
        let Some(pop) = &config.steer.pop else { return Ok(None) };
        if config.steer.locators.is_empty() && locator.is_none() {
            return Err(Error::Missing("steer.locators", "steer.pop"));
        }
        let hello = Hello {
            versions: VERSIONS,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            node: config.edge.node,
            pop: pop.clone(),
            instance: first_run::random_u64()?,
        };
        let told = Told {
            targets: watch::Sender::default(),
            order: watch::Sender::default(),
            near: Mutex::default(),
        };
        let mut own = Self {
            post: Arc::new(Post::new(pop)),
            hello,
            capacity: config.steer.capacity,
            edge: Arc::downgrade(edge),
            told: Arc::new(told),
            reports: locator.is_none(),
            checks: locator.is_none_or(|locator| locator.listen.is_none()),
            dialers: None,
        };
        if let Some(steering) = locator {
            // A PoP that is in no table is found out here.
            let joined = steering.locator.local_report(&own.hello, own.report(), Vec::new());
            joined.map_err(Error::Steer)?;
        }
        if !config.steer.locators.is_empty() {
            let dial = Dial {
                tls: trunk_tls::steered(config)?,
                hello: own.hello.clone(),
                silence: config.trunk.silence,
            };
            let started = Dialers::start(dial, &config.steer.locators, own.post.clone(), own.told.clone());
            let dialers = Arc::new(started.map_err(|error| Error::Steer(error.to_string()))?);
            let (shown, config) = (Arc::downgrade(&dialers), config.clone());
            reloads.add("steer links", move || {
                let dialers = shown.upgrade().ok_or("the edge has stopped")?;
                dialers.set_tls(trunk_tls::steered(&config).map_err(|error| error.to_string())?);
                Ok("for the next link".to_owned())
            });
            own.dialers = Some(dialers);
        }
        Ok(Some(Arc::new(own)))
    }

    /// What is ordered for this edge's PoP.
    pub(crate) fn orders(&self) -> watch::Receiver<Option<Order>> {
        self.told.order.subscribe()
    }

    /// The nearest PoPs that answer and that nobody wants empty, for clients that are to leave.
    pub(crate) fn elsewhere(&self) -> Vec<Endpoint> {
        let closed: Vec<String> = self
            .post
            .orders()
            .into_iter()
            .map(|sealed| sealed.order)
            .filter(|order| order.drained || order.weight == 0)
            .map(|order| order.pop)
            .collect();
        elsewhere(&self.hello.pop, &self.told.near(), &self.told.targets.borrow(), &closed)
    }

    fn report(&self) -> Report {
        let Some(edge) = self.edge.upgrade() else {
            return Report { draining: true, ..self.post.last_report() };
        };
        let stats = edge.stats();
        let sessions: u64 = stats.iter().map(|stats| stats.sessions).sum();
        Report {
            sessions: u32::try_from(sessions).unwrap_or(u32::MAX),
            capacity: self.capacity,
            draining: stats.iter().any(|stats| stats.draining),
        }
    }

    fn saw(&self, outcome: &Outcome) {
        match outcome.rtt {
            Some(rtt) => self.told.near().insert(outcome.pop.clone(), (outcome.at, rtt)),
            None => self.told.near().remove(&outcome.pop),
        };
        self.post.saw(&outcome.pop, outcome.rtt.is_some());
    }

    /// To the locator of the same process.
    fn report_to(&self, locator: &Locator, targets: &[Target]) {
        let report = self.report();
        self.post.report(report);
        post::Listener::table(&*self.told, targets.to_vec());
        // A table without this edge's PoP: the others go on without it.
        let orders = locator.local_report(&self.hello, report, self.post.orders()).unwrap_or_default();
        if let Some(order) = self.post.merge(orders) {
            post::Listener::order(&*self.told, &order);
        }
    }

    /// Says each second how the edge is, and checks the other PoPs, for as long as it is polled.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// Of the operating system.
    pub(crate) async fn keep(self: Arc<Self>) -> io::Result<Infallible> {
        let checking = async {
            if !self.checks || self.dialers.is_none() {
                return std::future::pending().await;
            }
            prober::run(self.told.targets.subscribe(), |outcome| self.saw(outcome)).await
        };
        let reporting = async {
            if !self.reports {
                return std::future::pending().await;
            }
            let mut ticks = tokio::time::interval(TICK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                self.post.report(self.report());
            }
        };
        tokio::select! {
            stopped = checking => stopped,
            never = reporting => never,
        }
    }
}

/// By distance from here, which for its clients is a good guess. If nobody answers the checks, they are to blame rather than all of the others:
/// then those whose addresses the table has, in its order.
fn elsewhere(
    own: &str,
    near: &BTreeMap<String, (SocketAddr, Duration)>,
    targets: &[Target],
    closed: &[String],
) -> Vec<Endpoint> {
    let open = |pop: &str| pop != own && !closed.iter().any(|closed| closed == pop);
    let mut found: Vec<(Duration, SocketAddr, &str)> = Vec::new();
    for Target { pop, endpoint, addresses, .. } in targets.iter().filter(|target| open(&target.pop)) {
        let Some((host, port)) = prober::split(endpoint) else { continue };
        let known = host.parse().ok().or_else(|| addresses.first().copied());
        match near.get(pop) {
            Some((at, rtt)) => found.push((*rtt, *at, host)),
            None => found.extend(known.map(|ip| (Duration::MAX, SocketAddr::new(ip, port), host))),
        }
    }
    if found.iter().any(|(rtt, ..)| *rtt < Duration::MAX) {
        found.retain(|(rtt, ..)| *rtt < Duration::MAX);
    }
    // Stable: those at no known distance stay in the table's order.
    found.sort_by_key(|(rtt, ..)| *rtt);
    found
        .into_iter()
        .map(|(_, at, host)| Endpoint { address: at.to_string(), server_name: host.to_owned() })
        .take(ELSEWHERE)
        .collect()
}

/// Answers `nearport pop`.
pub(crate) fn answer(locator: Option<&Locator>, order: Option<PopOrder>, channel: &Channel) {
    let Some(locator) = locator else {
        return refuse(channel, "this process does not locate: ask one with --role locate or all");
    };
    if let Some(PopOrder { pop, wish, by }) = order {
        if let Err(reason) = locator.wish(&pop, wish, &by, now_ms()) {
            return refuse(channel, &reason);
        }
        tracing::info!(pop, ?wish, by, "ordered");
    }
    let _ = channel.send(&Answer::Pops { rows: locator.rows(), edges: locator.edges() }, &[]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_leave_for_the_nearest_that_answer_and_are_open() {
        let target = |pop: &str, endpoint: &str, addresses: &[&str]| Target {
            pop: pop.to_owned(),
            endpoint: endpoint.to_owned(),
            udp: true,
            addresses: addresses.iter().map(|ip| ip.parse().unwrap()).collect(),
        };
        let targets = [
            target("own", "192.0.2.9:1", &[]),
            target("far", "far.example:4433", &["192.0.2.1", "192.0.2.2"]),
            target("shut", "192.0.2.3:4433", &[]),
            target("near", "192.0.2.4:4433", &[]),
            target("dead", "192.0.2.5:4433", &[]),
            target("unresolved", "name.example:4433", &[]),
        ];
        let closed = ["shut".to_owned()];
        let seen =
            |pop: &str, at: &str, ms| (pop.to_owned(), (at.parse().unwrap(), Duration::from_millis(ms)));
        let near = BTreeMap::from([
            seen("own", "192.0.2.9:1", 0),
            seen("far", "192.0.2.2:4433", 90),
            seen("near", "192.0.2.4:4433", 9),
            seen("shut", "192.0.2.3:4433", 1),
            seen("gone", "192.0.2.6:4433", 1),
        ]);
        let shown = |near: &BTreeMap<_, _>| -> Vec<String> {
            let found = elsewhere("own", near, &targets, &closed);
            found.into_iter().map(|place| format!("{}/{}", place.address, place.server_name)).collect()
        };
        assert_eq!(shown(&near), ["192.0.2.4:4433/192.0.2.4", "192.0.2.2:4433/far.example"]);
        // Nobody answers: the table's word, as far as it goes.
        assert_eq!(
            shown(&BTreeMap::new()),
            ["192.0.2.1:4433/far.example", "192.0.2.4:4433/192.0.2.4", "192.0.2.5:4433/192.0.2.5"]
        );
    }
}
