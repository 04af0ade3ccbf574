//! TLS of a steering link: as the trunk's, with an application protocol of its own, so that a trunk's port refuses it in the handshake.

use std::sync::Arc;

use nearport_trunk::tls::{core_config, edge_config};
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

const ALPN: &[u8] = b"np-steer";

/// TLS of an edge, which trusts `roots` and shows `own`.
///
/// # Errors
/// As [`edge_config`].
pub fn dial_config(
    provider: Arc<CryptoProvider>,
    roots: RootCertStore,
    own: CertifiedKey,
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let mut config = edge_config(provider, roots, own)?;
    Arc::make_mut(&mut config).alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

/// TLS of a locator, which lets in whom `roots` vouch for and shows `own`.
///
/// # Errors
/// As [`core_config`].
pub fn listen_config(
    provider: Arc<CryptoProvider>,
    roots: RootCertStore,
    own: CertifiedKey,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = core_config(provider, roots, own)?;
    Arc::make_mut(&mut config).alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}
