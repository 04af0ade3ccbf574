//! TLS of a simulated world, made so that no size and no step depends on chance.
//!
//! The randomness inside rustls cannot be seeded, so it must not matter: X25519 and Ed25519 give shares and signatures
//! of one length, the key and the certificate are constants, and tickets are off. What still differs between two runs
//! of one seed is the content of encrypted packets, which nothing in a world looks at.

use std::sync::Arc;

use nearport_edge::quic::tls_config;
use quinn_proto::crypto::rustls::QuicClientConfig;
use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::ResolvesServerCert;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// The name in the certificate.
pub(crate) const SERVER_NAME: &str = "localhost";

/// PKCS#8 version 1 of an Ed25519 key up to its 32 secret bytes (RFC 8410 §7).
const ED25519_PKCS8: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// Both ends' TLS. One serves all worlds of a process.
#[derive(Clone)]
pub struct Tls {
    pub(crate) server: rustls::ServerConfig,
    pub(crate) client: Arc<QuicClientConfig>,
}

impl Tls {
    /// The same at every call, in every process.
    #[must_use]
    pub fn new() -> Self {
        let provider = Arc::new(CryptoProvider {
            kx_groups: vec![aws_lc_rs::kx_group::X25519],
            ..aws_lc_rs::default_provider()
        });
        let (certificate, key) = identity();

        let signer = provider.key_provider.load_private_key(key).expect("an Ed25519 key");
        let certified = CertifiedKey::new(vec![certificate.clone()], signer);
        let resolver: Arc<dyn ResolvesServerCert> = Arc::new(SingleCertAndKey::from(certified));
        let server = tls_config(provider.clone(), resolver).expect("the provider has TLS 1.3");

        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate).expect("our own certificate");
        let mut client = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("the provider has TLS 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.alpn_protocols = vec![nearport_wire::ALPN.to_vec()];
        client.resumption = rustls::client::Resumption::disabled();
        let client =
            QuicClientConfig::try_from(client).expect("the provider has AES-128 for initial packets");
        Self { server, client: Arc::new(client) }
    }
}

impl Default for Tls {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

fn identity() -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let der = [&ED25519_PKCS8[..], &[0x5a; 32]].concat();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(der));
    let pair = KeyPair::try_from(&key).expect("a well-formed Ed25519 key");
    let mut params = CertificateParams::new(vec![SERVER_NAME.to_owned()]).expect("a DNS name");
    params.serial_number = Some(1.into());
    let certificate = params.self_signed(&pair).expect("signing with our own key");
    (certificate.into(), key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_identity_is_a_constant() {
        assert_eq!(identity().0, identity().0, "Ed25519 signs without chance, and nothing else differs");
    }
}
