//! Certificates: the operator's own, those of an ACME directory, or those of a development CA that the first start makes.
//!
//! [`Certificates`] knows the sources and looks at them again and again; [`Resolver`] is what the edge asks at each
//! handshake. The development CA exists so that a fresh clone runs with real TLS verification in both directions of
//! use: client commands trust `ca.pem` and nothing else. Its key stays beside it, readable by this user only, to renew
//! the server certificate; a production node is given certificates of its own (`certs/README.md`).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;

pub(crate) use crate::tls_certificates::{Certificates, inspect};
pub(crate) use crate::tls_dev::{check as check_dev, throwaway};
pub(crate) use crate::tls_resolver::Resolver;
pub(crate) use crate::tls_roots::system_roots;

use crate::files::FileError;

/// Why there is no certificate to serve with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file is not what it should be.
    #[error("{}: {reason}", path.display())]
    Pem {
        /// Which file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The API's TLS.
    #[error("tls of the api: {0}")]
    Https(String),
    /// The CA could not sign.
    #[error("development ca: {0}")]
    Make(#[from] rcgen::Error),
}

/// The provider of all cryptography in this process.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// HTTPS of the API, by TLS 1.3 and with the certificates of `resolver`. One ticket: clients ask rarely.
///
/// # Errors
/// The provider has no TLS 1.3.
pub(crate) fn https_config(resolver: Arc<Resolver>) -> Result<ServerConfig, TlsError> {
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| TlsError::Https(error.to_string()))?;
    let mut config = config.with_no_client_auth().with_cert_resolver(resolver);
    config.send_tls13_tickets = 1;
    Ok(config)
}

pub(crate) fn pem_error(path: &Path, reason: impl ToString) -> TlsError {
    TlsError::Pem { path: path.to_owned(), reason: reason.to_string() }
}
