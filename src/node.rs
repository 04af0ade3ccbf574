//! A running node: settings in, a listening process out.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nearport_api::{Check, Health, OpsServer, Recorder};
use nearport_chat::directory::App;
use nearport_edge::{Edge, Inherited, KeyRing, RingError};
use nearport_media::Media;
use nearport_store::LockError;

use crate::acme::{self, Acme};
use crate::config::Config;
use crate::control::ControlError;
use crate::control_server::ControlServer;
use crate::files::FileError;
use crate::first_run::{self, ClientFile, DataError, Layout, RunFile};
use crate::node_api;
use crate::node_backend::Slot;
use crate::node_give::Estate;
use crate::node_locate::{Locate, LocateError};
use crate::node_media;
use crate::node_predecessor::Predecessor;
use crate::node_run::{Ended, Orders, Running};
use crate::node_steer::Steered;
use crate::node_take::{Inheritance, Taken, announce};
use crate::reload::Reloads;
use crate::tls::{self, Certificates, Resolver, TlsError};
use crate::trunk_tls;

/// How long a start waits for the lock of another process.
pub(crate) const LOCK_WAIT: Duration = Duration::from_secs(2);

/// What answers the clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BackendKind {
    /// Accounts and messages, on disk.
    #[default]
    Chat,
    /// Every login is accepted and every request comes back: for measuring the edge alone.
    Echo,
    /// A core on another host, over the trunk: this process is an edge and keeps nothing.
    Core,
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
    /// A setting without which another, or a role, cannot work.
    #[error("{0} is not set: {1} needs it")]
    Missing(&'static str, &'static str),
    /// The settings of the database, or files that they name.
    #[error("storage.postgres: {0}")]
    Storage(nearport_store::BadUrl),
    /// The link between edge and core.
    #[error("trunk: {0}")]
    Trunk(std::io::Error),
    /// The store of files.
    #[error("media: {0}")]
    Media(String),
    /// Callbacks.
    #[error("callbacks: {0}")]
    Callback(String),
    /// The addressing service.
    #[error(transparent)]
    Locate(#[from] LocateError),
    /// The steering link.
    #[error("{0}")]
    Steer(String),
    /// The gateway.
    #[error("edge: {0}")]
    Edge(nearport_edge::Error),
    /// The operations server.
    #[error(transparent)]
    Ops(nearport_api::Error),
    /// The process that runs did not let this one take over.
    #[error("take-over: {0}")]
    TakeOver(ControlError),
    /// The control socket.
    #[error("control socket: {0}")]
    Control(FileError),
    /// The process that had taken over has died, and the last clients of this one had to be closed.
    #[error("the process that took over has gone")]
    Orphaned,
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
    control: ControlServer,
    estate: Estate,
    predecessors: Vec<Predecessor>,
    certificates: Arc<Certificates>,
    acme: Option<Acme>,
    locate: Option<Locate>,
    steered: Option<Arc<Steered>>,
    health: Arc<Health>,
    client_file: PathBuf,
    first_start: bool,
    reloads: Arc<Reloads>,
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
        let first_start = backend != BackendKind::Core && !layout.client_file().exists();
        if backend == BackendKind::Core {
            can_be_an_edge(config, &layout)?;
        }
        let (slot, app) = Slot::open(config, backend, LOCK_WAIT)?;
        let media = media_of(config, backend, &layout, &slot)?;
        let tls = Tls::open(config, config.edge.listen.ip())?;
        let generation = layout.next_generation(&[])?;
        let edge = start_edge(config, &layout, tls.certificates.resolver(), generation, None, &slot)?;
        let estate = Estate::new(config, generation, edge, slot);
        let health = Arc::new(Health::new(checks(&estate)));
        let ops = bind_ops(config, health.clone(), recorder).await?;
        // Edges have none: what they see is told to those that locate.
        let locate = match backend {
            BackendKind::Core => None,
            _ => {
                let (resolver, edge) = (Some(tls.resolver()), Some(estate.edge.local_addr()));
                Some(Locate::open(config, &layout, resolver, edge, false).await?)
            }
        };
        let parts = Parts { estate, predecessors: Vec::new(), health, ops, app, tls, locate, media };
        parts.announce(&layout, first_start)
    }

    /// Takes the listeners and the store over from the process that runs on the data directory. Its sessions stay with it
    /// until their clients have left, on the backend of this one.
    ///
    /// Blocks its thread while the store opens.
    ///
    /// # Errors
    /// See [`Error`]; nothing is left running then, and the other process goes on as if nothing had been.
    pub async fn take_over(config: &Config, backend: BackendKind, recorder: Recorder) -> Result<Self, Error> {
        let layout = Layout(config.data.clone());
        let inheritance = Inheritance::claim(config, backend).map_err(Error::TakeOver)?;
        // All that can fail is tried before anything is disturbed.
        let tls = Tls::open(config, config.edge.listen.ip())?;
        ring(&layout)?;
        // Its address is free when the other process has let go.
        let (resolver, edge) = (Some(tls.resolver()), Some(inheritance.offer.edge));
        let locate = Some(Locate::open(config, &layout, resolver, edge, true).await?);
        tracing::info!(
            from = inheritance.offer.pid,
            generation = inheritance.offer.generation,
            "taking over"
        );
        let Taken { sockets, ops, mut predecessors, watch } = inheritance.take().map_err(Error::TakeOver)?;

        let (slot, app) = Slot::open(config, backend, LOCK_WAIT)?;
        let media = media_of(config, backend, &layout, &slot)?;
        let alive: Vec<_> = predecessors.iter().map(|predecessor| predecessor.generation).collect();
        let generation = layout.next_generation(&alive)?;
        let edge =
            start_edge(config, &layout, tls.certificates.resolver(), generation, Some(sockets), &slot)?;
        let estate = Estate::new(config, generation, edge, slot);
        attach_all(&estate, &mut predecessors)?;
        let health = Arc::new(Health::new(checks(&estate)));
        let ops = OpsServer::on(ops, health.clone(), recorder).map_err(Error::Ops)?;
        // From here on there is no way back for the others.
        watch.end();
        announce(&predecessors).map_err(Error::TakeOver)?;
        estate.edge.read(true);
        let parts = Parts { estate, predecessors, health, ops, app, tls, locate, media };
        parts.announce(&layout, false)
    }

    /// The bound UDP address of the edge.
    #[must_use]
    pub fn edge_addr(&self) -> SocketAddr {
        self.estate.edge.local_addr()
    }

    /// The bound TCP address of the operations server.
    #[must_use]
    pub fn ops_addr(&self) -> SocketAddr {
        self.ops.local_addr()
    }

    /// The address of the HTTP API; edges have none.
    #[must_use]
    pub fn api_addr(&self) -> Option<SocketAddr> {
        self.locate.as_ref().map(Locate::addr)
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
    /// Meanwhile it does what the control socket asks for. A process that takes over ends it too, when its clients have
    /// left.
    ///
    /// Not cancel safe: a dropped future closes every connection at once.
    ///
    /// # Errors
    /// [`Error::Ops`] if the operations server stopped by itself, [`Error::Unclean`] if a thread panicked,
    /// [`Error::Orphaned`], or why a hand-over that failed could not be taken back.
    pub async fn run(self, leave: impl Future<Output = ()>) -> Result<(), Error> {
        let Self { ops, control, estate, predecessors, certificates, acme, locate, steered, health, .. } =
            self;
        tokio::pin!(leave);
        let gate = acme.as_ref().map(Acme::gate).unwrap_or_default();
        let orders = Orders::new(steered.as_ref(), locate.as_ref().map(Locate::steering));
        let running = Running::new(ops, control, estate, predecessors, health, gate, orders);
        let ended = tokio::select! {
            ended = running.run(&mut leave) => ended?,
            never = certificates.keep() => match never {},
            Some(never) = async { Some(acme?.keep().await) } => match never {},
            Some(stopped) = async { Some(locate?.keep().await) } => match stopped.map_err(Error::Ops)? {},
            Some(stopped) = async { Some(steered?.keep().await) } => {
                match stopped.map_err(|error| Error::Steer(error.to_string()))? {}
            }
        };
        // Certificates are the other process's business by then.
        match ended {
            Ended::Left => Ok(()),
            Ended::HandedOver(retired) => retired.run(leave).await,
        }
    }
}

/// What is there once a node serves.
struct Parts {
    estate: Estate,
    predecessors: Vec<Predecessor>,
    health: Arc<Health>,
    ops: OpsServer,
    /// None: Apps are kept elsewhere.
    app: Option<App>,
    tls: Tls,
    locate: Option<Locate>,
    media: Option<Arc<Media>>,
}

/// The certificates and who gets new ones.
#[derive(Debug)]
pub(crate) struct Tls {
    pub(crate) certificates: Arc<Certificates>,
    acme: Option<Acme>,
}

impl Tls {
    /// `listen` is an address that clients come to.
    pub(crate) fn open(config: &Config, listen: IpAddr) -> Result<Self, Error> {
        let issued = acme::certificate_file(&config.acme, &config.data);
        let certificates = Certificates::open(&config.tls, listen, issued.as_deref(), SystemTime::now())?;
        let acme = Acme::new(&config.acme, &config.data, &certificates);
        Ok(Self { certificates, acme })
    }

    pub(crate) fn resolver(&self) -> Arc<Resolver> {
        self.certificates.resolver()
    }

    /// What SIGHUP makes it read again.
    pub(crate) fn reload_with(&self, reloads: &mut Reloads) {
        self.certificates.reload_with(reloads);
        if let Some(acme) = &self.acme {
            acme.reload_with(reloads);
        }
    }

    /// Looks at the files and orders new certificates, for as long as the future is polled.
    pub(crate) async fn keep(self) -> Infallible {
        let Self { certificates, acme } = self;
        tokio::select! {
            never = certificates.keep() => never,
            Some(never) = async { Some(acme?.keep().await) } => never,
        }
    }
}

impl Parts {
    /// Tells where the node is: files for clients and operators, the control socket.
    fn announce(self, layout: &Layout, first_start: bool) -> Result<Node, Error> {
        let Self { mut estate, predecessors, health, ops, app, tls, mut locate, media } = self;
        let (bound, ops_addr) = (estate.edge.local_addr(), ops.local_addr());
        estate.ops = ops_addr;
        let mut reloads = Reloads::default();
        reload_secret(&mut reloads, layout, &estate.edge);
        tls.reload_with(&mut reloads);
        let Tls { certificates, acme } = tls;
        estate.backend.dial(&estate.config, estate.generation, &estate.edge, &mut reloads)?;
        if let Some(locate) = &locate {
            locate.reload_with(&mut reloads, layout, &estate.config);
        }
        if let (Some(locate), Some(media)) = (&mut locate, media) {
            let (scheme, addr) = (locate.scheme(), locate.addr());
            node_media::announce(&media, &estate.config, layout, scheme, addr, &mut reloads);
            locate.carry(media);
        }
        if let (Some(locate), BackendKind::Chat) = (&mut locate, estate.backend.kind()) {
            locate.answer_for(node_api::rest(&estate.config, &estate.backend));
        }
        let steering = locate.as_ref().map(Locate::steering);
        let steered = Steered::open(&estate.config, &estate.edge, steering, &mut reloads)?;
        if let (Some(locate), Some(own)) = (&mut locate, &steered) {
            locate.join(own.clone());
        }
        let api = locate.as_ref().map(Locate::addr);
        let dns = locate.as_ref().map(Locate::dns_addrs).unwrap_or_default();
        let control = ControlServer::bind(&layout.0).map_err(Error::Control)?;
        layout.write_run_file(&RunFile {
            pid: std::process::id(),
            edge: Some(bound),
            trunk: None,
            ops: ops_addr,
            api,
            dns,
        })?;
        if let Some(app) = app {
            layout.write_client_file(&ClientFile {
                server: first_run::dialled(bound).to_string(),
                ca: certificates.ca(),
                app: app.id.0,
                key: app.secret().map(str::to_owned),
                locate: None,
            })?;
        }
        let (by_kernel, backend) = (estate.edge.is_steered(), estate.backend.kind());
        let generation = estate.generation;
        tracing::info!(edge = %bound, ops = %ops_addr, ?api, ?backend, steered = by_kernel, generation, "listening");
        Ok(Node {
            ops,
            control,
            estate,
            predecessors,
            certificates,
            acme,
            locate,
            steered,
            health,
            client_file: layout.client_file(),
            first_start,
            reloads: Arc::new(reloads),
        })
    }
}

/// Files, where a backend answers for them.
fn media_of(
    config: &Config,
    backend: BackendKind,
    layout: &Layout,
    slot: &Slot,
) -> Result<Option<Arc<Media>>, Error> {
    if backend != BackendKind::Chat {
        return Ok(None);
    }
    let media = node_media::open(config, layout)?;
    if let Some(media) = &media {
        slot.serve_media(media)?;
    }
    Ok(media)
}

/// How often an address is tried that another process still has.
const BIND_AGAIN: Duration = Duration::from_millis(100);

/// Binds as soon as another process lets go of the address.
///
/// Cancel safe if `bind` is.
pub(crate) async fn bind_when_free<T, E, F: Future<Output = Result<T, E>>>(
    mut bind: impl FnMut() -> F,
    in_use: impl Fn(&E) -> bool,
) -> Result<T, E> {
    loop {
        match bind().await {
            Err(error) if in_use(&error) => tokio::time::sleep(BIND_AGAIN).await,
            outcome => return outcome,
        }
    }
}

pub(crate) async fn bind_ops(
    config: &Config,
    health: Arc<Health>,
    recorder: Recorder,
) -> Result<OpsServer, Error> {
    OpsServer::bind(config.ops.listen, health, recorder).await.map_err(|error| match error {
        nearport_api::Error::AddrInUse(addr) => Error::AddrInUse { addr, key: "ops.listen" },
        other => Error::Ops(other),
    })
}

/// An edge gets what it needs from others: the cluster's secret is not made here, for it must be the same on all edges.
fn can_be_an_edge(config: &Config, layout: &Layout) -> Result<(), Error> {
    if config.trunk.core.is_none() {
        return Err(Error::Missing("trunk.core", "--role edge"));
    }
    trunk_tls::edge(config)?;
    if !layout.secret_file().exists() {
        let reason = "is not there: an edge needs the cluster's secret. Copy it from another edge, or make the first one \
                      with `nearport secret rotate`";
        return Err(DataError::Content { path: layout.secret_file(), reason: reason.to_owned() }.into());
    }
    Ok(())
}

/// Gives every predecessor its links. The first one, which has just let go, must get them; one that has left since does not
/// matter.
fn attach_all(estate: &Estate, predecessors: &mut Vec<Predecessor>) -> Result<(), Error> {
    let mut first = true;
    let mut failed = None;
    predecessors.retain_mut(|predecessor| {
        let must = std::mem::take(&mut first);
        match predecessor.attach(&estate.edge, &*estate.backend) {
            Ok(()) => true,
            Err(error) => {
                let generation = predecessor.generation;
                tracing::warn!(generation, %error, "a process that drains was not attached");
                if must {
                    failed = Some(error);
                }
                false
            }
        }
    });
    failed.map_or(Ok(()), |error| Err(Error::TakeOver(error)))
}

fn start_edge(
    config: &Config,
    layout: &Layout,
    certificates: Arc<Resolver>,
    generation: u32,
    inherited: Option<Inherited>,
    backend: &Slot,
) -> Result<Edge, Error> {
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let wanted = || config.edge.shards.map_or_else(cores, |shards| usize::from(NonZeroU16::get(shards)));
    let shards = inherited.as_ref().map_or_else(wanted, |sockets| sockets.udp.len());
    let mut settings = config.edge.clone();
    if backend.kind() == BackendKind::Echo {
        // It is there to be measured, by few sessions as by many.
        settings.session_rate = 0;
    }
    let edge = nearport_edge::Config {
        listen: config.edge.listen,
        tcp: config.edge.tcp,
        proxy_protocol_from: config.edge.proxy_protocol_from.clone(),
        shards: shards.min(nearport_edge::cid::SHARDS_MAX),
        keys: ring(layout)?,
        resume_ttl: config.edge.resume_ttl,
        ack_delay: config.edge.ack_delay,
        node: config.edge.node,
        backend_away_max: match backend.kind() {
            BackendKind::Core => config.trunk.away_max,
            BackendKind::Chat | BackendKind::Echo => nearport_edge::shard::BACKEND_AWAY_MAX,
        },
        generation,
        kernel_steering: true,
        session: settings.session(),
        admission: nearport_edge::shard::Admission {
            connections_max: config.edge.connections_max,
            prefix_rate: config.edge.prefix_rate,
            prefix_connections_max: config.edge.prefix_connections_max,
            output_bytes_max: config.edge.output_bytes_max / shards,
            returns_per_s: config.edge.handshakes_per_s.map(|per_s| per_shard(per_s.get(), shards)),
            return_window_max: config.edge.return_window_max,
            ..Default::default()
        },
    };
    let tls = nearport_edge::quic::tls_config(tls::provider(), certificates);
    let tls = tls.map_err(Error::Edge)?;
    let started = match inherited {
        Some(sockets) => Edge::start_on(&edge, sockets, tls, backend),
        None => Edge::start(&edge, tls, backend),
    };
    started.map_err(|error| match error {
        nearport_edge::Error::AddrInUse(addr) => Error::AddrInUse { addr, key: "edge.listen" },
        other => Error::Edge(other),
    })
}

/// A shard's part of a rate, at least 1.
fn per_shard(per_s: u32, shards: usize) -> u32 {
    (per_s / u32::try_from(shards).unwrap_or(u32::MAX)).max(1)
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
fn checks(estate: &Estate) -> Vec<Check> {
    fn alive<T>(part: &Weak<T>, check: impl Fn(&T) -> Result<(), String>) -> Result<(), String> {
        part.upgrade().map_or_else(|| Err("stopped".to_owned()), |part| check(&part))
    }
    let (edge, backend) = (Arc::downgrade(&estate.edge), Arc::downgrade(&estate.backend));
    let healthy = |edge: &Edge| {
        if edge.is_healthy() { Ok(()) } else { Err("a shard has ended: restart the process".to_owned()) }
    };
    let mut checks = vec![Check::new("edge", move || alive(&edge, healthy))];
    match estate.backend.kind() {
        BackendKind::Chat => checks.push(Check::new("store", move || alive(&backend, Slot::ready))),
        BackendKind::Core => checks.push(Check::new("core", move || alive(&backend, Slot::ready))),
        BackendKind::Echo => {}
    }
    checks
}

/// Milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
