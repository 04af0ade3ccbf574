//! What all servers and the client have in common: sockets, certificate, TLS.
//!
//! Every handshake is TLS 1.3 with X25519 and an ECDSA P-256 certificate. The client offers nothing else and keeps no
//! tickets, so a handshake is a full one whatever the server supports.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{EndpointConfig, TokioRuntime, TransportConfig, VarInt};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use socket2::{Domain, Protocol, Socket, Type};

/// All three servers select it. A and B would take any.
pub(crate) const ALPN: &[u8] = b"np/1";

/// The name in the certificate.
pub(crate) const SERVER_NAME: &str = "localhost";

/// Sockets of the client: connections spread over several source ports, as the kernel and the servers' batching
/// would see them from outside, and few enough for the default limit of open files.
pub(crate) const CLIENT_SOCKETS: usize = 8;

/// Threads of N and B, each with its own socket and endpoint; A takes what its runtime takes, one per core. Fixed, so
/// that figures of different machines compare.
pub(crate) const SHARDS: u8 = 2;

/// Both buffers of every socket. The kernel's default (208 KiB) drops datagrams of a fan-out to 5,000.
pub(crate) const SOCKET_BUFFER: usize = 4 << 20;

/// A loopback socket with large buffers; port 0 takes a free one.
pub(crate) fn udp_socket(port: u16, reuse_port: bool) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    socket.set_send_buffer_size(SOCKET_BUFFER)?;
    socket.set_reuse_port(reuse_port)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    Ok(socket.into())
}

/// A key pair that one server process made for itself.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) key: PrivateKeyDer<'static>,
}

impl Identity {
    /// ECDSA P-256, self-signed, for [`SERVER_NAME`].
    pub(crate) fn generate() -> Result<Self> {
        let made = rcgen::generate_simple_self_signed([SERVER_NAME.to_owned()]).context("no certificate")?;
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        Ok(Self { certificate: made.cert.der().clone(), key: key.into() })
    }
}

/// TLS of peers A and B. No session tickets, because the edge sends none either.
pub(crate) fn server_tls(identity: Identity) -> Result<QuicServerConfig> {
    let mut tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![identity.certificate], identity.key)?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    tls.send_tls13_tickets = 0;
    Ok(tls.try_into()?)
}

/// TLS of the client, the same towards every server.
pub(crate) fn client_tls(certificate: CertificateDer<'static>) -> Result<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).context("the server's certificate is unusable")?;
    let mut tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![ALPN.to_vec()];
    tls.resumption = rustls::client::Resumption::disabled();
    Ok(tls)
}

/// TLS and transport of the client; `window` is what a server may send on a stream before the client reads.
fn client_config(certificate: CertificateDer<'static>, window: Option<u32>) -> Result<quinn::ClientConfig> {
    let tls = client_tls(certificate)?;
    let mut transport = TransportConfig::default();
    // Small, so that 5,000 client connections leave the caches to the server; and no probes for a larger MTU, which
    // would be the client's, not the server's, idea of what to measure.
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(4))
        .max_concurrent_uni_streams(VarInt::from_u32(4))
        .datagram_receive_buffer_size(None)
        .mtu_discovery_config(None);
    if let Some(window) = window {
        transport.stream_receive_window(VarInt::from_u32(window));
    }
    let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

/// The client's endpoints, [`CLIENT_SOCKETS`] of them. Needs a tokio runtime.
pub(crate) fn client_endpoints(certificate: CertificateDer<'static>) -> Result<Vec<quinn::Endpoint>> {
    (0..CLIENT_SOCKETS).map(|_| client_endpoint(certificate.clone(), None)).collect()
}

/// One endpoint; `window` is what a server may send on a stream before the client reads, quinn's 1.25 MB without it.
pub(crate) fn client_endpoint(
    certificate: CertificateDer<'static>,
    window: Option<u32>,
) -> Result<quinn::Endpoint> {
    let socket = udp_socket(0, false)?;
    let mut endpoint = quinn::Endpoint::new(EndpointConfig::default(), None, socket, Arc::new(TokioRuntime))?;
    endpoint.set_default_client_config(client_config(certificate, window)?);
    Ok(endpoint)
}

/// The only key exchange of the bench is X25519: the hybrid that the edge prefers by default costs all of them the
/// same 40 us.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider { kx_groups: vec![aws_lc_rs::kx_group::X25519], ..aws_lc_rs::default_provider() })
}
