//! The process's sockets and TLS settings, shared by all clients.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quinn::{Endpoint, EndpointConfig, TokioRuntime};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use socket2::{Domain, Protocol, Socket, Type};

use crate::error::NetworkError;

mod dial;
mod tls;

pub(crate) use dial::Edge;
use tls::TlsConfigs;

/// Key exchange groups that a client offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyExchange {
    /// X25519MLKEM768 first (safe against recorded traffic and a later quantum computer), then the classic groups.
    #[default]
    HybridFirst,
    /// X25519 alone: about 40 µs less per handshake on either side, for benchmarks.
    X25519,
}

/// Settings of a [`Network`].
#[derive(Debug, Clone)]
pub struct NetworkConfig {
    /// Certificate authorities that may vouch for a server.
    pub roots: RootCertStore,
    /// UDP sockets per address family; clients are spread over them in turn. One is enough for an application; a
    /// load test takes a few, as one port's queue in the kernel has an end.
    pub sockets: usize,
    /// Send and receive buffer asked for per socket, in bytes; the kernel cuts it to its own limit. The kernel's
    /// default (208 KiB) drops datagrams when thousands of clients are pushed to at once.
    pub socket_buffer_bytes: usize,
    /// Key exchange.
    pub key_exchange: KeyExchange,
    /// Resume TLS sessions with the server's tickets. 0-RTT is never used.
    pub resumption: bool,
}

impl NetworkConfig {
    /// One socket, trust in `roots` alone.
    #[must_use]
    pub fn new(roots: RootCertStore) -> Self {
        Self {
            roots,
            sockets: 1,
            socket_buffer_bytes: 4 << 20,
            key_exchange: KeyExchange::default(),
            resumption: true,
        }
    }

    /// One socket, trust in the certificates of a PEM file.
    ///
    /// # Errors
    /// [`NetworkError::Roots`] if it holds none, or one that cannot be read.
    pub fn from_ca_pem(pem: &[u8]) -> Result<Self, NetworkError> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| NetworkError::Roots(error.to_string()))?;
            roots.add(certificate).map_err(|error| NetworkError::Roots(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(NetworkError::Roots("no certificate in the pem file".into()));
        }
        Ok(Self::new(roots))
    }
}

/// A pool of client sockets. Clones share it; the sockets close when the last clone and the last client are gone.
#[derive(Debug, Clone)]
pub struct Network {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    tls: TlsConfigs,
    /// Cloned for each connection: the clones share address validation tokens.
    quic: quinn::ClientConfig,
    sockets: usize,
    socket_buffer_bytes: usize,
    pools: Mutex<[Pool; 2]>,
}

/// Sockets of one address family, made when they are first needed.
#[derive(Debug, Default)]
struct Pool {
    endpoints: Vec<Endpoint>,
    turn: usize,
}

impl Network {
    /// A pool without sockets yet: they are bound at the first connection of their address family.
    ///
    /// # Errors
    /// [`NetworkError::Tls`].
    pub fn new(config: NetworkConfig) -> Result<Self, NetworkError> {
        let tls = TlsConfigs::new(&config)?;
        let mut quic = quinn::ClientConfig::new(Arc::clone(&tls.quic) as Arc<_>);
        quic.transport_config(Arc::new(tls::transport()));
        let shared = Shared {
            tls,
            quic,
            sockets: config.sockets.max(1),
            socket_buffer_bytes: config.socket_buffer_bytes,
            pools: Mutex::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The next socket in turn. Needs a tokio runtime.
    fn endpoint(&self, server: SocketAddr) -> io::Result<Endpoint> {
        let mut pools = self.pools();
        let pool = &mut pools[usize::from(server.is_ipv6())];
        let at = pool.turn % self.shared.sockets;
        pool.turn = pool.turn.wrapping_add(1);
        if let Some(endpoint) = pool.endpoints.get(at) {
            return Ok(endpoint.clone());
        }
        let socket = bind(server, self.shared.socket_buffer_bytes)?;
        let endpoint = Endpoint::new(EndpointConfig::default(), None, socket, Arc::new(TokioRuntime))?;
        pool.endpoints.push(endpoint.clone());
        Ok(endpoint)
    }

    /// The socket broke; the next attempt makes another.
    fn discard(&self, server: SocketAddr, broken: &Endpoint) {
        let local = broken.local_addr().ok();
        let pool = &mut self.pools()[usize::from(server.is_ipv6())];
        pool.endpoints.retain(|endpoint| endpoint.local_addr().ok() != local);
    }

    fn pools(&self) -> MutexGuard<'_, [Pool; 2]> {
        self.shared.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bind(server: SocketAddr, buffer_bytes: usize) -> io::Result<UdpSocket> {
    let any = match server {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = Socket::new(Domain::for_address(any), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_recv_buffer_size(buffer_bytes)?;
    socket.set_send_buffer_size(buffer_bytes)?;
    socket.bind(&any.into())?;
    Ok(socket.into())
}
