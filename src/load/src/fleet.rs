//! The clients of a run: logs them in with bounded concurrency, passes on their events, says good-bye.
//!
//! One task per client, from its login to its end. Each client stands for a device of its own, so they share sockets
//! but no TLS tickets: every login pays for a whole handshake.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nearport_client::{
    Client, Config, Event, FROM_NOW, Failure, Follow, Network, NetworkConfig, RequestError, Transport,
};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use crate::Error;
use crate::crowd::Count;
use crate::latency::Latency;
use crate::options::{Credentials, Options, Scenario};
use crate::progress::Progress;
use crate::report::Connect;
use crate::stop::Stop;

/// How long the last acknowledgements of a client may take to reach the server's disk.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(60);

/// What a scenario does with the events of its clients. Called from the clients' tasks: must not block.
pub(crate) trait Listener: Send + Sync + 'static {
    /// Client `index` has told something. The first `Connected` is the login.
    fn event(&self, index: usize, event: Event);

    /// Client `index` could not put its acknowledgements on the server's disk.
    fn flush_failed(&self, index: usize, reason: String) {
        let _ = (index, reason);
    }
}

/// What every client calls its device, and itself.
pub(crate) const DEVICE: &str = "load";
pub(crate) const CLIENT: &str = concat!("nearport-load/", env!("CARGO_PKG_VERSION"));

/// How clients leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Farewell {
    /// Not yet.
    Stay,
    /// At once.
    Close,
    /// After a round trip behind everything that the server has pushed, which shows late duplicates too, and which
    /// puts the device's cursor on disk.
    FlushAndClose,
}

/// Logged-in clients. Dropped, their tasks end and they say good-bye without waiting.
#[derive(Debug)]
pub(crate) struct Fleet {
    tasks: JoinSet<()>,
    farewell: watch::Sender<Farewell>,
    networks: Vec<Network>,
}

/// How the logins went.
#[derive(Debug)]
pub(crate) struct Logins {
    /// By index; `None` for a client that could not log in.
    pub(crate) clients: Vec<Option<Client>>,
    pub(crate) latency: Latency,
    /// From the first login begun to the last one finished.
    pub(crate) took: Duration,
    pub(crate) failed: u64,
    pub(crate) first_failure: Option<String>,
    /// Told to stop before the end.
    pub(crate) interrupted: bool,
    /// Clients of other kinds that are in, and that were to be.
    others: (usize, usize),
}

/// The name of the user of client `index`.
pub(crate) fn user_name(users: &str, index: usize) -> String {
    format!("{users}-{index}")
}

/// What the tasks share.
struct Common {
    /// Clients take them in turn.
    networks: Vec<Network>,
    /// The edge, or a relay before it.
    server: SocketAddr,
    /// Empty: what the SDK uses by itself.
    users: String,
    transports: Vec<Transport>,
    credentials: Arc<Credentials>,
    login_timeout: Duration,
    follow: Follow,
    /// Logins, and later good-byes, under way.
    gate: Semaphore,
}

/// The outcome of one login.
type Outcome = (usize, Result<(Client, Duration), String>);

impl Fleet {
    /// Logs in all clients of `options` at `server`. Returns when each has succeeded or failed, or `stop` was asked for.
    ///
    /// # Errors
    /// Sockets or certificates cannot be used.
    pub(crate) async fn log_in(
        options: &Options,
        credentials: &Arc<Credentials>,
        server: SocketAddr,
        listener: &Arc<impl Listener>,
        stop: &mut Stop,
        progress: &Progress,
    ) -> Result<(Self, Logins), Error> {
        let common = Arc::new(Common {
            networks: networks(options, credentials)?,
            server,
            users: options.users.clone(),
            transports: options.transport.only().into_iter().collect(),
            credentials: Arc::clone(credentials),
            login_timeout: options.login_timeout,
            follow: if options.scenario == Scenario::Group { Follow::Remembered } else { Follow::Nothing },
            gate: Semaphore::new(options.logins_max),
        });
        let count = options.connections as usize;
        let (farewell, farewells) = watch::channel(Farewell::Stay);
        let (outcomes, mut outcomes_in) = mpsc::channel(options.logins_max);
        let mut tasks = JoinSet::new();
        progress.begin("logins", count as u64);
        let start = Instant::now();
        for index in 0..count {
            let (common, listener) = (Arc::clone(&common), Arc::clone(listener));
            tasks.spawn(member(index, common, listener, outcomes.clone(), farewells.clone()));
        }
        drop(outcomes);
        let mut logins = Logins::none(count);
        loop {
            tokio::select! {
                biased;
                () = stop.asked(1) => {
                    logins.interrupted = true;
                    break;
                }
                outcome = outcomes_in.recv() => match outcome {
                    Some(outcome) => logins.take(outcome),
                    None => break,
                },
            }
            progress.advance();
        }
        logins.took = start.elapsed();
        let networks = common.networks.clone();
        Ok((Self { tasks, farewell, networks }, logins))
    }

    /// What the clients connect through; more than one if they move at different times.
    pub(crate) fn networks(&self) -> &[Network] {
        &self.networks
    }

    /// Lets all clients say good-bye; with `flush`, after a last round trip. Returns when all have, or at the second
    /// wish to stop.
    pub(crate) async fn close(mut self, flush: bool, stop: &mut Stop, progress: &Progress) {
        progress.begin("good-byes", self.tasks.len() as u64);
        let farewell = if flush { Farewell::FlushAndClose } else { Farewell::Close };
        self.farewell.send_replace(farewell);
        loop {
            tokio::select! {
                biased;
                () = stop.asked(2) => return,
                done = self.tasks.join_next() => match done {
                    // A task that panicked has printed why, and its client's messages are missing in the books.
                    Some(_) => progress.advance(),
                    None => return,
                },
            }
        }
    }
}

impl Logins {
    fn none(count: usize) -> Self {
        Self {
            clients: std::iter::repeat_with(|| None).take(count).collect(),
            latency: Latency::new(),
            took: Duration::ZERO,
            failed: 0,
            first_failure: None,
            interrupted: false,
            others: (0, 0),
        }
    }

    /// Adds the logins of clients that are no clients of the SDK, which came after these.
    pub(crate) fn add(&mut self, count: &Count) {
        self.latency.add(&count.latency);
        self.took += count.took;
        self.failed += count.failed as u64;
        self.first_failure = self.first_failure.take().or_else(|| count.first_failure.clone());
        self.others.0 += count.done;
        self.others.1 += count.done + count.failed;
    }

    fn take(&mut self, (index, result): Outcome) {
        match result {
            Ok((client, took)) => {
                self.latency.record(took);
                self.clients[index] = Some(client);
            }
            Err(reason) => {
                self.failed += 1;
                self.first_failure.get_or_insert(reason);
            }
        }
    }

    /// Clients that are in.
    pub(crate) fn succeeded(&self) -> usize {
        self.clients.iter().flatten().count() + self.others.0
    }

    /// All clients of the SDK, if all are in, of other kinds too.
    ///
    /// # Errors
    /// [`Error::Login`], or [`Error::Interrupted`].
    pub(crate) fn all(&self) -> Result<Vec<Client>, Error> {
        if self.interrupted {
            return Err(Error::Interrupted);
        }
        let clients: Vec<Client> = self.clients.iter().flatten().cloned().collect();
        if clients.len() == self.clients.len() && self.others.0 == self.others.1 {
            Ok(clients)
        } else {
            Err(self.too_few())
        }
    }

    /// The error that says how many are in and why one is not.
    pub(crate) fn too_few(&self) -> Error {
        Error::Login {
            logged_in: self.succeeded(),
            wanted: self.clients.len() + self.others.1,
            first: self.first_failure.clone().unwrap_or_else(|| "a client's task ended".into()),
        }
    }

    /// For the report.
    pub(crate) fn connect(&self) -> Connect {
        let succeeded = self.succeeded();
        let quantiles = self.latency.quantiles();
        let per_s =
            (succeeded > 0).then(|| crate::report::rounded(succeeded as f64 / self.took.as_secs_f64()));
        Connect {
            per_s,
            p50_ms: quantiles.p50,
            p99_ms: quantiles.p99,
            p95_ms: quantiles.p95,
            max_ms: quantiles.max,
        }
    }
}

/// Parts of the clients that move at different times.
const MOVING_PARTS: usize = 10;

fn networks(options: &Options, credentials: &Credentials) -> Result<Vec<Network>, Error> {
    let parts = if options.clients_move() { MOVING_PARTS.min(options.connections as usize) } else { 1 };
    let sockets = options.sockets.div_ceil(parts);
    let config = NetworkConfig { sockets, ..network_config(options, credentials) };
    (0..parts).map(|_| Ok(Network::new(config.clone())?)).collect()
}

/// What every client connects with.
pub(crate) fn network_config(options: &Options, credentials: &Credentials) -> NetworkConfig {
    let network = credentials.network.clone();
    let mut tuning = network.tuning;
    tuning.ack_delay = options.ack_delay.or(tuning.ack_delay);
    options.without.iter().for_each(|part| part.remove_from(&mut tuning));
    NetworkConfig { resumption: false, proxy: None, tuning, ..network }
}

/// The life of one client.
async fn member(
    index: usize,
    common: Arc<Common>,
    listener: Arc<impl Listener>,
    outcomes: mpsc::Sender<Outcome>,
    mut farewells: watch::Receiver<Farewell>,
) {
    let outcome = log_in(index, &common).await;
    let client = outcome.as_ref().ok().map(|(client, _)| client.clone());
    // Without a reader the run is over already.
    let sent = outcomes.send((index, outcome)).await;
    drop(outcomes);
    let (Some(client), Ok(())) = (client, sent) else { return };

    let farewell = loop {
        tokio::select! {
            event = client.next_event() => match event {
                Some(event) => listener.event(index, event),
                None => return, // stopped for good; the event before has said why
            },
            farewell = farewells.wait_for(|farewell| *farewell != Farewell::Stay) => {
                // The fleet is gone: there is nobody to flush for.
                break farewell.map_or(Farewell::Close, |farewell| *farewell);
            }
        }
    };
    let _permit = common.gate.acquire().await;
    if farewell == Farewell::FlushAndClose {
        flush(index, &client, &*listener).await;
    }
    client.close().await;
}

async fn log_in(index: usize, common: &Common) -> Result<(Client, Duration), String> {
    let _permit = common.gate.acquire().await;
    let credentials = &common.credentials;
    let user = user_name(&common.users, index);
    let usersig = (credentials.usersig)(&user);
    let mut config =
        Config::new(common.server, credentials.server_name.clone(), credentials.app, user, usersig);
    config.locate.clone_from(&credentials.locate);
    config.transports.clone_from(&common.transports);
    config.device = DEVICE.into();
    config.client = CLIENT.into();
    config.follow = common.follow;
    // What earlier runs left in the user's log is not for this one.
    config.cursor = Some(FROM_NOW);
    let start = Instant::now();
    let client = Client::connect(&common.networks[index % common.networks.len()], config);
    client.ready(common.login_timeout).await.map_err(|error| error.to_string())?;
    Ok((client, start.elapsed()))
}

/// A round trip behind everything that was pushed, taking the events that come with it.
async fn flush(index: usize, client: &Client, listener: &impl Listener) {
    // On a bad path one request may not get through in its time.
    let persistent = async {
        loop {
            match client.flush().await {
                Err(RequestError::Failed(Failure::Timeout)) => {}
                result => break result,
            }
        }
    };
    let flushed = tokio::time::timeout(FLUSH_TIMEOUT, persistent);
    tokio::pin!(flushed);
    let result = loop {
        tokio::select! {
            biased;
            result = &mut flushed => break result,
            Some(event) = client.next_event() => listener.event(index, event),
        }
    };
    while let Some(event) = client.try_next_event() {
        listener.event(index, event);
    }
    match result {
        Ok(Ok(())) => {}
        Ok(Err(error)) => listener.flush_failed(index, error.to_string()),
        Err(_) => listener.flush_failed(index, format!("no answer to the flush in {FLUSH_TIMEOUT:?}")),
    }
}
