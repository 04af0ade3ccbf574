//! Certificates and handshakes for the tests of this module.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{CertificateParams, KeyPair};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, ServerConfig, ServerConnection, SignatureScheme,
};

use crate::tls::provider;
use crate::tls_pem::Certificate;
use crate::tls_resolver::{ACME_ALPN, Resolver};

pub(crate) fn days(days: u64) -> Duration {
    Duration::from_hours(24 * days)
}

/// A self-signed certificate and its key, as text.
pub(crate) struct Made {
    pub(crate) chain: String,
    pub(crate) key: String,
}

impl Made {
    pub(crate) fn new(names: &[&str]) -> Self {
        Self::with_life(names, SystemTime::now(), days(90))
    }

    pub(crate) fn with_life(names: &[&str], from: SystemTime, life: Duration) -> Self {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        let from = from.duration_since(UNIX_EPOCH).unwrap();
        params.not_before = rcgen::date_time_ymd(1970, 1, 1) + from;
        params.not_after = params.not_before + life;
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        Self { chain: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
    }

    pub(crate) fn certificate(&self) -> Certificate {
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        Certificate::from_pem(&self.chain, key).unwrap()
    }

    pub(crate) fn der(&self) -> Vec<u8> {
        CertificateDer::from_pem_slice(self.chain.as_bytes()).unwrap().to_vec()
    }
}

/// The certificate that a client sees which asks for `name` and offers `alpn`, in memory.
pub(crate) fn handshake(resolver: &Arc<Resolver>, name: &str, alpn: &[&[u8]]) -> Result<Vec<u8>, String> {
    let tls13 = &[&rustls::version::TLS13];
    let server = ServerConfig::builder_with_provider(provider()).with_protocol_versions(tls13).unwrap();
    let mut server = server.with_no_client_auth().with_cert_resolver(Arc::clone(resolver) as _);
    server.alpn_protocols = vec![b"np/1".to_vec(), ACME_ALPN.to_vec()];
    let client = ClientConfig::builder_with_provider(provider()).with_protocol_versions(tls13).unwrap();
    let client = client.dangerous().with_custom_certificate_verifier(Arc::new(Anybody));
    let mut client = client.with_no_client_auth();
    client.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets().map_err(|error| error.to_string())?;
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        client.read_tls(&mut wire.as_slice()).unwrap();
        client.process_new_packets().map_err(|error| error.to_string())?;
    }
    if let [only] = alpn {
        assert_eq!(client.alpn_protocol(), Some(*only), "RFC 8737 §3: the server must select it");
    }
    Ok(client.peer_certificates().unwrap()[0].to_vec())
}

/// Trusts whatever it sees: these tests look at what is served, not at who signed it.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.3 only".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
