//! A running node: settings in, a listening process out.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nearport_api::{Check, Health, OpsServer, Recorder};
use nearport_chat::directory::Directory;
use nearport_chat::{Chat, Clock};
use nearport_edge::{Edge, KeyRing, RingError};
use nearport_store::{FjallLedger, LockError, SqliteDirectory, StoreLock};
use nearport_trunk::Backend;
use nearport_trunk::echo::Echo;

use crate::acme::{self, Acme};
use crate::config::Config;
use crate::first_run::{self, ClientFile, DataError, Layout, RunFile};
use crate::reload::Reloads;
use crate::tls::{self, Certificates, Resolver, TlsError};

/// How long a start waits for the lock of another process, and how often it looks.
const LOCK_WAIT: Duration = Duration::from_secs(2);
const LOCK_RETRY: Duration = Duration::from_millis(20);

/// What answers the clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BackendKind {
    /// Accounts and messages, on disk.
    #[default]
    Chat,
    /// Every login is accepted and every request comes back: for measuring the edge alone.
    Echo,
}

/// Why a node did not start, or did not end cleanly.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The data directory.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Another server uses the data directory.
    #[error("{0}: stop it, or choose another directory with --data")]
    Locked(LockError),
    /// The certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A port that another process has.
    #[error("{addr} is in use by another process: stop it or set {key}")]
    AddrInUse {
        /// The address.
        addr: SocketAddr,
        /// The key that changes it.
        key: &'static str,
    },
    /// The ledger or the directory, or the backend on top of them.
    #[error(transparent)]
    Chat(#[from] nearport_chat::Error),
    /// The gateway.
    #[error("edge: {0}")]
    Edge(nearport_edge::Error),
    /// The operations server.
    #[error(transparent)]
    Ops(nearport_api::Error),
    /// A thread of the node had panicked.
    #[error("a thread did not end cleanly: {0}")]
    Unclean(String),
}

/// A node that listens. [`Node::run`] keeps it until it is told to leave; dropping it closes every connection at
/// once.
#[derive(Debug)]
pub struct Node {
    // Fields are dropped in this order: nobody is served without a backend, and the lock goes last.
    ops: OpsServer,
    edge: Arc<Edge>,
    chat: Option<Arc<Chat>>,
    certificates: Arc<Certificates>,
    acme: Option<Acme>,
    health: Arc<Health>,
    drain_delay: Duration,
    drain_within: Duration,
    client_file: PathBuf,
    first_start: bool,
    reloads: Arc<Reloads>,
    _lock: StoreLock,
}

impl Node {
    /// Makes what the data directory lacks, opens the store and binds every listener. `client.toml` and `run.toml` are
    /// in place when it returns.
    ///
    /// Handles of metrics are made here, so `recorder` proves that there is something to count into. Blocks its thread
    /// while the store recovers.
    ///
    /// # Errors
    /// See [`Error`]; nothing is left running then.
    pub async fn start(config: &Config, backend: BackendKind, recorder: Recorder) -> Result<Self, Error> {
        let layout = Layout(config.data.clone());
        layout.make()?;
        let lock = acquire(&config.data).await?;
        let issued = acme::certificate_file(&config.acme, &config.data);
        let listen = config.edge.listen.ip();
        let certificates = Certificates::open(&config.tls, listen, issued.as_deref(), SystemTime::now())?;
        let acme = Acme::new(&config.acme, &config.data, &certificates);
        let directory = SqliteDirectory::open(&layout.directory()).map_err(DataError::from)?;
        let directory: Arc<dyn Directory> = Arc::new(directory);
        let app = first_run::first_app(&*directory, now_ms())?;
        let first_start = !layout.client_file().exists();

        let chat = match backend {
            BackendKind::Chat => Some(Arc::new(start_chat(config, &layout, directory)?)),
            BackendKind::Echo => None,
        };
        if let (true, Some(chat)) = (first_start, &chat) {
            chat.register(app.id, &first_run::FIRST_USERS)?;
        }
        let edge = match &chat {
            Some(chat) => start_edge(config, &layout, certificates.resolver(), &**chat)?,
            None => {
                // It is there to be measured, by few sessions as by many.
                let mut measured = config.clone();
                measured.edge.session_rate = 0;
                start_edge(&measured, &layout, certificates.resolver(), &Echo::default())?
            }
        };
        let edge = Arc::new(edge);
        let mut reloads = Reloads::default();
        reload_secret(&mut reloads, &layout, &edge);
        certificates.reload_with(&mut reloads);
        if let Some(acme) = &acme {
            acme.reload_with(&mut reloads);
        }
        let health = Arc::new(Health::new(checks(&edge, chat.as_ref())));
        let ops =
            OpsServer::bind(config.ops.listen, health.clone(), recorder).await.map_err(
                |error| match error {
                    nearport_api::Error::AddrInUse(addr) => Error::AddrInUse { addr, key: "ops.listen" },
                    other => Error::Ops(other),
                },
            )?;

        let bound = edge.local_addr();
        layout.write_run_file(&RunFile { pid: std::process::id(), edge: bound, ops: ops.local_addr() })?;
        layout.write_client_file(&ClientFile {
            server: first_run::dialled(bound).to_string(),
            ca: certificates.ca(),
            app: app.id.0,
            key: app.secret,
        })?;
        tracing::info!(edge = %bound, ops = %ops.local_addr(), ?backend, steered = edge.is_steered(), "listening");
        Ok(Self {
            ops,
            edge,
            chat,
            certificates,
            acme,
            health,
            drain_delay: config.drain.delay,
            drain_within: config.drain.within,
            client_file: layout.client_file(),
            first_start,
            reloads: Arc::new(reloads),
            _lock: lock,
        })
    }

    /// The bound UDP address of the edge.
    #[must_use]
    pub fn edge_addr(&self) -> SocketAddr {
        self.edge.local_addr()
    }

    /// The bound TCP address of the operations server.
    #[must_use]
    pub fn ops_addr(&self) -> SocketAddr {
        self.ops.local_addr()
    }

    /// Where client commands read how to connect.
    #[must_use]
    pub fn client_file(&self) -> &std::path::Path {
        &self.client_file
    }

    /// Whether this start was the first one of the data directory.
    #[must_use]
    pub fn is_first_start(&self) -> bool {
        self.first_start
    }

    /// What SIGHUP makes the node read again.
    pub(crate) fn reloads(&self) -> Arc<Reloads> {
        self.reloads.clone()
    }

    /// Serves until `leave` is ready, then leaves in phases: `/readyz` says no for `drain.delay`, clients are asked to
    /// go within `drain.within`, the rest is closed, the backend finishes what it holds, the store is closed.
    ///
    /// Not cancel safe: a dropped future closes every connection at once.
    ///
    /// # Errors
    /// [`Error::Ops`] if the operations server stopped by itself, [`Error::Unclean`] if a thread panicked.
    pub async fn run(self, leave: impl Future<Output = ()>) -> Result<(), Error> {
        let Self { ops, edge, chat, certificates, acme, health, drain_delay, drain_within, .. } = self;
        let leaving = async move {
            leave.await;
            health.withdraw("draining");
            tracing::info!(sessions = edge.sessions(), "leaving");
            tokio::time::sleep(drain_delay).await;
            let stopping = tokio::task::spawn_blocking(move || stop(edge, chat.as_deref(), drain_within));
            stopping.await.unwrap_or_else(|panic| Err(Error::Unclean(panic.to_string())))
        };
        tokio::select! {
            served = ops.run() => served.map_err(Error::Ops),
            left = leaving => left,
            never = certificates.keep() => match never {},
            Some(never) = async { Some(acme?.keep().await) } => match never {},
        }
    }
}

/// Blocks until everything has ended.
fn stop(edge: Arc<Edge>, chat: Option<&Chat>, within: Duration) -> Result<(), Error> {
    let left = edge.drain(within);
    if left > 0 {
        tracing::warn!(sessions = left, "closing sessions that did not leave in time");
    }
    // Joins the shards; a check of readiness may hold the edge a moment longer.
    drop(edge);
    chat.map_or(Ok(()), Chat::shutdown).map_err(|error| Error::Unclean(error.to_string()))?;
    tracing::info!("left");
    Ok(())
}

/// Takes the data directory's lock. A process that was just killed may still hold it for a moment, and what starts
/// a server again at once must not fail for that.
async fn acquire(data: &Path) -> Result<StoreLock, Error> {
    let deadline = tokio::time::Instant::now() + LOCK_WAIT;
    loop {
        match StoreLock::acquire(data) {
            Err(LockError::Held { .. }) if tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(LOCK_RETRY).await;
            }
            outcome => return outcome.map_err(Error::Locked),
        }
    }
}

fn start_chat(config: &Config, layout: &Layout, directory: Arc<dyn Directory>) -> Result<Chat, Error> {
    let mut options = nearport_store::Options::default();
    options.cache_bytes = config.store.cache_bytes;
    options.flush_bytes = config.store.flush_bytes;
    options.accept_missing_commits = config.store.accept_missing_commits;
    let ledger = FjallLedger::open(&layout.ledger(), options).map_err(nearport_chat::Error::from)?;
    let clock: Clock = Arc::new(now_ms);
    Ok(Chat::start(Arc::new(ledger), directory, clock, config.chat.backend())?)
}

fn start_edge(
    config: &Config,
    layout: &Layout,
    certificates: Arc<Resolver>,
    backend: &dyn Backend,
) -> Result<Edge, Error> {
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let shards = config.edge.shards.map_or_else(cores, |shards| usize::from(NonZeroU16::get(shards)));
    let edge = nearport_edge::Config {
        listen: config.edge.listen,
        tcp: config.edge.tcp,
        proxy_protocol_from: config.edge.proxy_protocol_from.clone(),
        shards: shards.min(nearport_edge::cid::SHARDS_MAX),
        keys: ring(layout)?,
        resume_ttl: config.edge.resume_ttl,
        node: 0,
        generation: layout.next_generation()?,
        kernel_steering: true,
        session: config.edge.session(),
        admission: nearport_edge::shard::Admission {
            connections_max: config.edge.connections_max,
            prefix_rate: config.edge.prefix_rate,
            prefix_connections_max: config.edge.prefix_connections_max,
            output_bytes_max: config.edge.output_bytes_max / shards,
            ..Default::default()
        },
    };
    let tls = nearport_edge::quic::tls_config(tls::provider(), certificates);
    Edge::start(&edge, tls.map_err(Error::Edge)?, backend).map_err(|error| match error {
        nearport_edge::Error::AddrInUse(addr) => Error::AddrInUse { addr, key: "edge.listen" },
        other => Error::Edge(other),
    })
}

/// The keys of the secrets in the data directory.
fn ring(layout: &Layout) -> Result<KeyRing, DataError> {
    let file = layout.secret()?;
    if file.ignored() > 0 {
        tracing::info!(ignored = file.ignored(), "older secrets are in the file: only the last two count");
    }
    let content =
        |error: RingError| DataError::Content { path: layout.secret_file(), reason: error.to_string() };
    file.ring().map_err(content)
}

/// Holds nothing alive, as [`checks`].
fn reload_secret(reloads: &mut Reloads, layout: &Layout, edge: &Arc<Edge>) {
    let (layout, edge) = (layout.clone(), Arc::downgrade(edge));
    reloads.add("secret", move || {
        let edge = edge.upgrade().ok_or("the edge has stopped")?;
        edge.rotate(ring(&layout).map_err(|error| error.to_string())?).map_err(|error| error.to_string())?;
        let epochs: Vec<_> = edge
            .keys()
            .fingerprints()
            .map(|(epoch, fingerprint)| format!("epoch {epoch} {fingerprint}"))
            .collect();
        Ok(epochs.join(", "))
    });
}

/// The checks hold nothing alive: a node that leaves takes its parts apart while `/readyz` still answers.
fn checks(edge: &Arc<Edge>, chat: Option<&Arc<Chat>>) -> Vec<Check> {
    fn alive<T>(part: &Weak<T>, check: impl Fn(&T) -> Result<(), String>) -> Result<(), String> {
        part.upgrade().map_or_else(|| Err("stopped".to_owned()), |part| check(&part))
    }
    let edge = Arc::downgrade(edge);
    let healthy = |edge: &Edge| {
        if edge.is_healthy() { Ok(()) } else { Err("a shard has ended: restart the process".to_owned()) }
    };
    let mut checks = vec![Check::new("edge", move || alive(&edge, healthy))];
    if let Some(chat) = chat {
        let chat = Arc::downgrade(chat);
        checks.push(Check::new("store", move || alive(&chat, Chat::ready)));
    }
    checks
}

/// Milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
