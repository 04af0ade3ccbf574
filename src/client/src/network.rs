//! The process's sockets and TLS settings, shared by all clients.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nearport_session::Closing;
use nearport_wire::ALPN;
use nearport_wire::close::CloseCode;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{
    ConnectError, Connection, ConnectionError, Endpoint, EndpointConfig, IdleTimeout, RecvStream, SendStream,
};
use quinn::{TokioRuntime, TransportConfig, VarInt};
use rustls::RootCertStore;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use socket2::{Domain, Protocol, Socket, Type};

use crate::error::NetworkError;

/// Silence after which QUIC gives up. Above the server's 75 s, so that the session protocol decides.
const IDLE_TIMEOUT_MS: u32 = 90_000;

/// Unread bytes that the server may have on the way. A page of 256 KiB takes two round trips; a hundred thousand
/// clients in one process stay small.
const RECEIVE_WINDOW: u32 = 128 * 1024;

/// Unacknowledged bytes of our own.
const SEND_WINDOW: u64 = 256 * 1024;

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
    client: quinn::ClientConfig,
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

/// A connection with its one stream.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) connection: Connection,
    pub(crate) send: SendStream,
    pub(crate) recv: RecvStream,
}

impl Network {
    /// A pool without sockets yet: they are bound at the first connection of their address family.
    ///
    /// # Errors
    /// [`NetworkError::Tls`].
    pub fn new(config: NetworkConfig) -> Result<Self, NetworkError> {
        let shared = Shared {
            client: client_config(&config)?,
            sockets: config.sockets.max(1),
            socket_buffer_bytes: config.socket_buffer_bytes,
            pools: Mutex::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Opens a connection and its stream. Dropped early, the attempt is given up.
    pub(crate) async fn dial(self, server: SocketAddr, server_name: Arc<str>) -> Result<Link, Closing> {
        let connecting = self.begin(server, &server_name)?;
        let connection = connecting.await.map_err(closing_of)?;
        let (send, recv) = connection.open_bi().await.map_err(closing_of)?;
        Ok(Link { connection, send, recv })
    }

    fn begin(&self, server: SocketAddr, server_name: &str) -> Result<quinn::Connecting, Closing> {
        let unavailable = |error: String| Closing::new(CloseCode::UNAVAILABLE, error);
        let endpoint = self.endpoint(server).map_err(|error| unavailable(format!("udp socket: {error}")))?;
        endpoint.connect_with(self.shared.client.clone(), server, server_name).map_err(|error| {
            if error == ConnectError::EndpointStopping {
                self.discard(server, &endpoint);
            }
            unavailable(error.to_string())
        })
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

fn client_config(config: &NetworkConfig) -> Result<quinn::ClientConfig, NetworkError> {
    let mut provider = aws_lc_rs::default_provider();
    match config.key_exchange {
        KeyExchange::HybridFirst => {}
        KeyExchange::X25519 => provider.kx_groups = vec![aws_lc_rs::kx_group::X25519],
    }
    let mut tls = rustls::ClientConfig::builder_with_provider(Arc::<CryptoProvider>::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(config.roots.clone())
        .with_no_client_auth();
    tls.alpn_protocols = vec![ALPN.to_vec()];
    if !config.resumption {
        tls.resumption = rustls::client::Resumption::disabled();
    }
    let tls = QuicClientConfig::try_from(tls)
        .map_err(|_| rustls::Error::General("no cipher suite for quic initial packets".into()))?;
    let mut transport = TransportConfig::default();
    // The client opens the one stream that np/1 has. quinn allocates for every stream that the peer may open.
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(RECEIVE_WINDOW))
        .receive_window(VarInt::from_u32(RECEIVE_WINDOW))
        .send_window(SEND_WINDOW)
        .datagram_receive_buffer_size(None)
        .keep_alive_interval(None)
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_TIMEOUT_MS))))
        .mtu_discovery_config(None);
    let mut client = quinn::ClientConfig::new(Arc::new(tls));
    client.transport_config(Arc::new(transport));
    Ok(client)
}

/// What the end of a connection means to the session.
pub(crate) fn closing_of(error: ConnectionError) -> Closing {
    /// RFC 9001 §4.8: 0x0100 plus the TLS alert; 120 is `no_application_protocol`.
    const NO_APPLICATION_PROTOCOL: u64 = 0x100 + 120;
    match error {
        ConnectionError::ApplicationClosed(close) => {
            let code = u32::try_from(close.error_code.into_inner()).unwrap_or(u32::MAX);
            Closing::new(CloseCode(code), String::from_utf8_lossy(&close.reason))
        }
        ConnectionError::VersionMismatch => Closing::new(CloseCode::VERSION, error.to_string()),
        ConnectionError::ConnectionClosed(ref close) => {
            let version = u64::from(close.error_code) == NO_APPLICATION_PROTOCOL;
            let code = if version { CloseCode::VERSION } else { CloseCode::UNAVAILABLE };
            Closing::new(code, error.to_string())
        }
        // Also a certificate that is not trusted: later, because a captive portal causes it too.
        ConnectionError::TransportError(_) => Closing::new(CloseCode::UNAVAILABLE, error.to_string()),
        ConnectionError::Reset
        | ConnectionError::TimedOut
        | ConnectionError::LocallyClosed
        | ConnectionError::CidsExhausted => Closing::new(CloseCode::LOST, error.to_string()),
    }
}
