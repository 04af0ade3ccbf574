//! The process's sockets, TLS settings and experience with networks, shared by all clients.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::sync::watch;

use crate::error::NetworkError;
use crate::memory::{Memory, Place};
use crate::transport::Transport;

mod dial;
mod proxy;
mod tls;
mod tuning;
mod udp;

pub(crate) use dial::{Edge, Way};
pub use proxy::{BadProxy, Proxy};
use tls::TlsConfigs;
pub use tuning::Tuning;
use udp::Sockets;
pub(crate) use udp::{Backlog, Sighting};

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
    /// Proxy for TLS and WebSocket. With one, QUIC and WebTransport are not tried: they would go around it. The
    /// environment is not read.
    pub proxy: Option<Proxy>,
    /// What is done for bad networks; leave it as it is.
    pub tuning: Tuning,
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
            proxy: None,
            tuning: Tuning::default(),
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

    /// QUIC as the clients of a [`Network`] speak it, for whoever drives connections by other means: the load tool's crowds. The
    /// sockets are the caller's, and so is the round trip of the last visit, which is not known here.
    ///
    /// # Errors
    /// [`NetworkError::Tls`].
    pub fn quic(&self) -> Result<quinn::ClientConfig, NetworkError> {
        let mut config = quinn::ClientConfig::new(TlsConfigs::new(self)?.quic);
        config.transport_config(Arc::new(tls::transport(&self.tuning, None, false)));
        Ok(config)
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
    h3: quinn::ClientConfig,
    proxy: Option<Proxy>,
    tuning: Tuning,
    sockets: Sockets,
    memory: Mutex<Memory>,
    whereabouts: watch::Sender<Whereabouts>,
}

/// Which network the device is in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Whereabouts {
    /// What the application calls it.
    name: Option<Arc<str>>,
}

impl Network {
    /// A pool without sockets yet: they are bound at the first connection of their address family.
    ///
    /// # Errors
    /// [`NetworkError::Tls`].
    pub fn new(config: NetworkConfig) -> Result<Self, NetworkError> {
        let tls = TlsConfigs::new(&config)?;
        let shared = Shared {
            quic: quinn::ClientConfig::new(Arc::clone(&tls.quic) as Arc<_>),
            h3: quinn::ClientConfig::new(Arc::clone(&tls.h3) as Arc<_>),
            tls,
            proxy: config.proxy,
            tuning: config.tuning,
            sockets: Sockets::new(config.sockets, config.socket_buffer_bytes),
            memory: Mutex::default(),
            whereabouts: watch::Sender::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Tells all clients that the device is in another network, or has another address. Connections over QUIC go on
    /// from new sockets and ask their servers at once whether they still hear; those over TCP are given up and come back
    /// at once.
    ///
    /// `name` is what the application calls the network (a Wi-Fi's name, say, or "cellular"); what works there is
    /// remembered under it. `None` takes the local address instead.
    ///
    /// # Errors
    /// [`NetworkError::Socket`]: no new socket could be made. The clients are told all the same.
    pub fn changed(&self, name: Option<&str>) -> Result<(), NetworkError> {
        let rebound = self.shared.sockets.rebind();
        self.shared.whereabouts.send_replace(Whereabouts { name: name.map(Arc::from) });
        Ok(rebound?)
    }

    /// As [`Self::changed`], with the network named as before.
    ///
    /// # Errors
    /// As there.
    pub fn rebind(&self) -> Result<(), NetworkError> {
        let name = self.shared.whereabouts.borrow().name.clone();
        self.changed(name.as_deref())
    }

    /// Changes of the network from now on.
    pub(crate) fn whereabouts(&self) -> watch::Receiver<Whereabouts> {
        self.shared.whereabouts.subscribe()
    }

    /// Where a connection to `edge` would be made from.
    pub(crate) fn place(&self, edge: SocketAddr) -> Place {
        Place { network: self.name_towards([edge]), edge }
    }

    /// What the present network is called, as seen on the way to the first of `addresses` that there is a way to. Without any:
    /// to the internet, by an address that nobody has (RFC 5737), for nothing is sent.
    pub(crate) fn fingerprint(&self, addresses: impl IntoIterator<Item = SocketAddr>) -> Arc<str> {
        let nobody = SocketAddr::from(([192, 0, 2, 1], 443));
        self.name_towards(addresses.into_iter().chain([nobody]))
    }

    /// What the application calls the present network, or the local address on the way to the first of `addresses` that there is a way
    /// to. Without any nothing will work, and nothing is worth remembering under a better name than none.
    fn name_towards(&self, addresses: impl IntoIterator<Item = SocketAddr>) -> Arc<str> {
        if let Some(name) = self.shared.whereabouts.borrow().name.clone() {
            return name;
        }
        let local = addresses.into_iter().find_map(|address| udp::local_ip(address).ok());
        local.map_or_else(|| "".into(), |ip| ip.to_string().into())
    }

    /// Whether there is a way to an address at all. Sends nothing.
    pub(crate) fn has_way_to(address: SocketAddr) -> bool {
        udp::local_ip(address).is_ok()
    }

    /// Whether a proxy stands between this process and the internet.
    pub(crate) fn has_proxy(&self) -> bool {
        self.shared.proxy.is_some()
    }

    /// TLS for DNS over HTTPS.
    pub(crate) fn dns_tls(&self) -> rustls::ClientConfig {
        self.shared.tls.dns.clone()
    }

    pub(crate) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.shared.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those of `transports` that can be used.
    pub(crate) fn usable(&self, transports: &[Transport]) -> Vec<Transport> {
        let around = |transport: &Transport| self.shared.proxy.is_some() && transport.is_udp();
        transports.iter().copied().filter(|transport| !around(transport)).collect()
    }

    /// Watches for a UDP packet from `edge`.
    pub(crate) fn watch(&self, edge: SocketAddr) -> Sighting {
        self.shared.sockets.watch(edge)
    }

    /// Settings of a QUIC connection to an edge whose round trip was `rtt` at the last visit.
    fn quic_config(&self, h3: bool, rtt: Option<Duration>) -> quinn::ClientConfig {
        let mut config = if h3 { self.shared.h3.clone() } else { self.shared.quic.clone() };
        config.transport_config(Arc::new(tls::transport(&self.shared.tuning, rtt, h3)));
        config
    }
}
