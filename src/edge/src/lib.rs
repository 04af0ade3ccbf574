//! The gateway: long connections at a PoP, in front of any backend.
//!
//! An [`Edge`] is a group of shards, one thread each. A [`shard::Shard`] is a pure engine that owns a QUIC endpoint
//! (quinn-proto, driven by us), its connections, sessions, topics and timers; a driver around it owns the UDP socket
//! and the clock. Shards share nothing on the message path: the kernel steers each datagram by its connection id
//! ([`cid`]) to the socket of the shard that owns the connection, and the backend is reached over one
//! [`nearport_trunk::Link`] per shard.
//!
//! The edge never decodes what a client and its backend say to each other, and never depends on a backend. The one body
//! that it looks into is the hello, for the token that lets a device come back ([`resume`]).

pub mod admission;
pub mod budget;
pub mod cid;
mod driver;
mod forward;
mod handover;
mod keys;
pub mod quic;
pub mod resume;
mod seal;
pub mod shard;
mod socket;
mod stats;
pub mod tickets;
pub mod watchdog;
mod wheel;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nearport_session::Closing;
pub use nearport_session::ServerLimits;
use nearport_trunk::Backend;
use nearport_wire::close::CloseCode;

use driver::{Control, Shared, Sockets, TcpConfig};
pub use forward::forwarding_pair;
use handover::Handles;
pub use handover::{Attachment, Inherited};
pub use keys::{KeyRing, Keys, RingError, Secret};
use shard::{Admission, Departure, ResumeConfig, ShardConfig};
pub use shard::{Cidr, CidrError};
pub use stats::Stats;

/// What an edge needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// UDP address, and TCP with the same port; port 0 lets the system choose. A host with several addresses should name
    /// one: replies to a wildcard leave from the address that the routing table prefers.
    pub listen: SocketAddr,
    /// Whether clients may come by TLS over TCP and by WebSocket too.
    pub tcp: bool,
    /// Load balancers in front of the TCP port that tell their clients' addresses by PROXY protocol v2. A connection from
    /// one of these must begin with its header; from anybody else the header is not read.
    pub proxy_protocol_from: Vec<Cidr>,
    /// Threads, 1 to 32.
    pub shards: usize,
    /// The cluster's secrets: connection ids, reset tokens, address tokens, tickets and resume tokens come from them.
    pub keys: KeyRing,
    /// Number of this host in its cluster, of its own among all edges that a backend serves.
    pub node: u16,
    /// How long clients are kept without a backend; [`shard::BACKEND_AWAY_MAX`] inside one host.
    pub backend_away_max: Duration,
    /// Which start of this host's edge this is, larger each time; keep it on disk. Packets of connections of an
    /// earlier one are answered with a stateless reset, so that clients come back at once after a crash.
    pub generation: u32,
    /// Whether the kernel is asked to steer datagrams to their shard. Without it, as on a kernel that refuses the
    /// filter, shards hand datagrams over in user space.
    pub kernel_steering: bool,
    /// Bounds of sessions.
    pub session: ServerLimits,
    /// Bounds of admission, per shard.
    pub admission: Admission,
    /// How long a resume token is good; zero: none are given.
    pub resume_ttl: Duration,
    /// How long QUIC clients that can be told so may wait with an acknowledgement; zero: as long as they like, which is 25 ms
    /// with most.
    pub ack_delay: Duration,
}

/// What can go wrong when an edge starts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// TLS cannot be set up.
    #[error("tls: {0}")]
    Tls(String),
    /// Another program has the port.
    #[error("{0} is in use by another process")]
    AddrInUse(SocketAddr),
    /// The number of shards is not 1 to 32.
    #[error("{0} shards: must be 1 to 32")]
    Shards(usize),
    /// A shard's thread does not do what it is told.
    #[error("shard {0} does not answer")]
    Stuck(usize),
    /// Any other error of the operating system.
    #[error("{0}: {1}")]
    Io(&'static str, io::Error),
}

/// A running edge. Dropping it stops it without a drain.
#[derive(Debug)]
pub struct Edge {
    address: SocketAddr,
    steered: bool,
    keys: Keys,
    handles: Handles,
    shards: Vec<Arc<Shared>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Edge {
    /// Binds the sockets of both protocols and starts the shards. `tls` comes from [`quic::tls_config`]; the cluster's tickets are added
    /// here.
    ///
    /// # Errors
    /// See [`Error`]; nothing is left running then.
    pub fn start(config: &Config, tls: rustls::ServerConfig, backend: &dyn Backend) -> Result<Self, Error> {
        if !(1..=cid::SHARDS_MAX).contains(&config.shards) {
            return Err(Error::Shards(config.shards));
        }
        let bound = socket::bind_all(config.listen, config.shards, config.kernel_steering, config.tcp);
        let socket::Bound { udp, steered, tcp } = bound.map_err(|error| {
            if error.kind() == io::ErrorKind::AddrInUse {
                Error::AddrInUse(config.listen)
            } else {
                Error::Io("bind the edge's port", error)
            }
        })?;
        if !steered {
            tracing::warn!("the kernel does not steer: datagrams are handed over in user space");
        }
        Self::start_on(config, Inherited { udp, tcp, steered, reading: true }, tls, backend)
    }

    /// As [`Self::start`], on sockets of another process: `config.listen` and `config.kernel_steering` do not count.
    ///
    /// # Errors
    /// See [`Error`]; nothing is left running then.
    pub fn start_on(
        config: &Config,
        inherited: Inherited,
        mut tls: rustls::ServerConfig,
        backend: &dyn Backend,
    ) -> Result<Self, Error> {
        let Inherited { udp, tcp, steered, reading } = inherited;
        if !(1..=cid::SHARDS_MAX).contains(&udp.len()) {
            return Err(Error::Shards(udp.len()));
        }
        let keys = Keys::new(config.keys.clone());
        tickets::install(&mut tls, &keys);
        let stream_tls = shard::stream_tls(&tls);
        let server = Arc::new(quic::server_config(tls, &keys, config.ack_delay)?);
        let session = Arc::new(config.session.clone());
        let address = udp[0].local_addr().map_err(|error| Error::Io("read the bound address", error))?;
        let handles =
            Handles::of(&udp, &tcp).map_err(|error| Error::Io("duplicate a socket's descriptor", error))?;

        // Drawn anew at each start: nobody can learn where networks stand in the gate's tables.
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let core = (cores as f32 / udp.len() as f32).min(1.0);
        let admission = Admission { key: random_key()?, core, ..config.admission };
        let (shards, threads) = ((0..udp.len()).map(|_| Arc::default()).collect(), Mutex::default());
        let edge = Self { address, steered, keys: keys.clone(), handles, shards, threads };
        let trusted: Arc<[Cidr]> = config.proxy_protocol_from.clone().into();
        let mut listeners = tcp.into_iter();
        for (index, udp) in udp.into_iter().enumerate() {
            let tcp = listeners.next().map(|listener| TcpConfig { listener, trusted: trusted.clone() });
            let index = u8::try_from(index).expect("at most 32 shards");
            let owner = cid::Owner { node: config.node, shard: index, generation: config.generation };
            let shard = ShardConfig {
                index,
                node: config.node,
                generation: config.generation,
                backend_away_max: config.backend_away_max,
                endpoint: Arc::new(quic::endpoint_config(&keys, owner, None)),
                server: server.clone(),
                stream_tls: stream_tls.clone(),
                session: session.clone(),
                resume: ResumeConfig {
                    keys: keys.clone(),
                    ttl: config.resume_ttl,
                    unix_time: driver::unix_time(),
                },
                admission,
            };
            let shared = edge.shards.clone();
            let link = backend.link(shared[usize::from(index)].waker());
            let thread = std::thread::Builder::new()
                .name(format!("edge-{index}"))
                .spawn(move || driver::run(shard, owner, link, Sockets { udp, tcp, reading }, &shared))
                .map_err(|error| Error::Io("start a shard's thread", error))?;
            edge.threads().push(thread);
        }
        Ok(edge)
    }

    /// The bound address, of UDP and TCP.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Whether the kernel steers datagrams to their shard.
    #[must_use]
    pub fn is_steered(&self) -> bool {
        self.steered
    }

    /// Takes new secrets into use at once, for everything that is made from now on. Sessions go on; what clients hold
    /// of the epoch before stays good until the next rotation.
    ///
    /// # Errors
    /// [`RingError::Changed`] and [`RingError::Older`]: the keys in use stay.
    pub fn rotate(&self, ring: KeyRing) -> Result<(), RingError> {
        self.keys.replace(ring)
    }

    /// The secrets in use.
    #[must_use]
    pub fn keys(&self) -> KeyRing {
        self.keys.ring()
    }

    /// Figures of each shard, at most a second old.
    #[must_use]
    pub fn stats(&self) -> Vec<Stats> {
        self.shards.iter().map(|shard| shard.stats()).collect()
    }

    /// Live sessions, at most a second old.
    #[must_use]
    pub fn sessions(&self) -> u64 {
        self.stats().iter().map(|stats| stats.sessions).sum()
    }

    /// Whether every shard's thread runs. A shard that died takes no new clients: restart the process.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.threads().iter().all(|thread| !thread.is_finished())
    }

    /// Takes no new connection, asks every client to leave within the first half of `within`, and waits until all
    /// have left or the time is up. Blocks the calling thread. Returns the number of sessions left.
    pub fn drain(&self, within: Duration) -> u64 {
        self.leave(&Departure { within: within / 2, ..Departure::default() });
        self.wait_for_empty(Instant::now() + within)
    }

    /// Closes what is left with GOING_AWAY and waits for the threads. Returns their last figures.
    pub fn stop(self) -> Vec<Stats> {
        self.close();
        self.stats()
    }

    /// As [`Self::stop`], for an edge that others hold too: it does nothing any more then. A second call does nothing.
    pub fn close(&self) {
        for shard in &self.shards {
            shard.control(Control::Stop(going_away()));
        }
        for thread in std::mem::take(&mut *self.threads()) {
            // A shard that panicked has logged it; the others still want their goodbye.
            let _ = thread.join();
        }
    }

    fn threads(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn going_away() -> Closing {
    Closing::new(CloseCode::GOING_AWAY, "the server is going away")
}

fn random_key() -> Result<[u64; 2], Error> {
    let mut bytes = [[0; 8]; 2];
    for bytes in &mut bytes {
        let filled = aws_lc_rs::rand::fill(bytes);
        filled.map_err(|_| Error::Io("draw a random key", io::Error::other("no randomness")))?;
    }
    Ok(bytes.map(u64::from_ne_bytes))
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.close();
    }
}
