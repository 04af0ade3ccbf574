//! TLS of a link between hosts: 1.3 only, and both sides prove who they are.
//!
//! One private CA signs for one cluster. What a certificate is for stands in its names and its extended key usage: a core's is for
//! [`CORE_NAME`] and serverAuth, an edge's for [`edge_name`] of its node and clientAuth. So an edge cannot pose as a core or
//! as another edge, and a certificate of any other CA is nobody's. The steering link between edges and locators (`nearport-steer`) uses the
//! same CA and the same handshake with names and an application protocol of its own.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection};

/// The name in a core's certificate. Never looked up anywhere.
pub const CORE_NAME: &str = "core.trunk.nearport.internal";

/// The name in a locator's certificate.
pub const LOCATE_NAME: &str = "locate.trunk.nearport.internal";

/// The protocol on the link, for whoever looks at the handshake.
const ALPN: &[u8] = b"np-trunk";

/// The name in the certificate of a node's edge.
#[must_use]
pub fn edge_name(node: u16) -> String {
    format!("edge-{node}.trunk.nearport.internal")
}

/// TLS of an edge, which trusts `roots` and shows `own`.
///
/// # Errors
/// Of rustls, if the provider has no TLS 1.3.
pub fn edge_config(
    provider: Arc<CryptoProvider>,
    roots: RootCertStore,
    own: CertifiedKey,
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots);
    let mut config = config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    // Links are few and live long, and each is to prove itself anew.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// TLS of a core, which lets in whom `roots` vouch for and shows `own`.
///
/// # Errors
/// Of rustls, if there is no root or the provider has no TLS 1.3.
pub fn core_config(
    provider: Arc<CryptoProvider>,
    roots: RootCertStore,
    own: CertifiedKey,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// Whether `certificate` is for `name`.
#[must_use]
pub fn is_for(certificate: &CertificateDer<'_>, name: &str) -> bool {
    let Ok(name) = ServerName::try_from(name) else { return false };
    ParsedCertificate::try_from(certificate)
        .is_ok_and(|parsed| rustls::client::verify_server_name(&parsed, &name).is_ok())
}

/// The edge's side of a handshake with whoever has a certificate for `name`. Blocks until `deadline` at most.
///
/// # Errors
/// Of the socket, or why the other side is not who it should be.
pub fn connect(
    socket: &mut TcpStream,
    config: &Arc<ClientConfig>,
    name: &'static str,
    deadline: Instant,
) -> io::Result<Connection> {
    let name = ServerName::try_from(name).map_err(io::Error::other)?;
    let connection = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
    shake_hands(socket, connection.into(), deadline)
}

/// The other side of a handshake. Blocks until `deadline` at most.
///
/// # Errors
/// Of the socket, or why the edge is none of this cluster.
pub fn accept(
    socket: &mut TcpStream,
    config: &Arc<ServerConfig>,
    deadline: Instant,
) -> io::Result<Connection> {
    let connection = ServerConnection::new(config.clone()).map_err(io::Error::other)?;
    shake_hands(socket, connection.into(), deadline)
}

/// The whole handshake takes no longer than `deadline`, whatever the other side trickles.
fn shake_hands(
    socket: &mut TcpStream,
    mut connection: Connection,
    deadline: Instant,
) -> io::Result<Connection> {
    while connection.is_handshaking() {
        while connection.wants_write() {
            socket.set_write_timeout(Some(left(deadline)?))?;
            connection.write_tls(socket)?;
        }
        if !connection.is_handshaking() {
            break;
        }
        socket.set_read_timeout(Some(left(deadline)?))?;
        if connection.read_tls(socket)? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "hung up in the handshake"));
        }
        if let Err(error) = connection.process_new_packets() {
            // The alert says why.
            let _ = connection.write_tls(socket);
            return Err(io::Error::other(error));
        }
    }
    while connection.wants_write() {
        connection.write_tls(socket)?;
    }
    Ok(connection)
}

/// What is left until `deadline`, for a socket's timeout, which must not be zero.
///
/// # Errors
/// Nothing is left.
pub fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    match left.is_zero() {
        true => Err(io::Error::new(io::ErrorKind::TimedOut, "the handshake took too long")),
        false => Ok(left),
    }
}
