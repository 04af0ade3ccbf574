//! Settings of certificates: files of one's own, and orders from an ACME directory.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::duration;

/// `tls.*`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in KEYS, where `config explain` finds it")]
pub struct Tls {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<PathBuf>,
    #[serde(with = "duration::text")]
    pub poll: Duration,
    pub dev_dir: PathBuf,
}

/// `acme.*`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in KEYS, where `config explain` finds it")]
pub struct Acme {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    pub names: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    pub challenge: Challenge,
    pub http_listen: SocketAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
}

/// How a directory sees that a name is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Challenge {
    /// It fetches a text from port 80.
    #[serde(rename = "http-01")]
    Http01,
    /// It makes a TLS handshake on port 443.
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
}

impl std::fmt::Display for Challenge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Http01 => "http-01",
            Self::TlsAlpn01 => "tls-alpn-01",
        })
    }
}

impl Default for Tls {
    fn default() -> Self {
        Self { cert: None, key: None, dir: None, poll: Duration::from_secs(10), dev_dir: "certs/dev".into() }
    }
}

impl Tls {
    pub(crate) fn check(&self) -> Result<(), (&'static str, String)> {
        match (&self.cert, &self.key) {
            (Some(_), None) => return Err(("tls.cert", "it needs tls.key beside it".into())),
            (None, Some(_)) => return Err(("tls.key", "it needs tls.cert beside it".into())),
            _ => {}
        }
        if !(Duration::from_millis(100)..=Duration::from_hours(24)).contains(&self.poll) {
            return Err(("tls.poll", "must be 100ms to 1d".into()));
        }
        Ok(())
    }
}

impl Default for Acme {
    fn default() -> Self {
        Self {
            directory: None,
            names: Vec::new(),
            email: None,
            challenge: Challenge::Http01,
            http_listen: SocketAddr::from(([0, 0, 0, 0], 80)),
            ca: None,
        }
    }
}

impl Acme {
    /// Names that one order may have, which is what public directories accept.
    const NAMES_MAX: usize = 100;

    pub(crate) fn check(&self) -> Result<(), (&'static str, String)> {
        let Some(directory) = &self.directory else {
            return match self.names.is_empty() {
                true => Ok(()),
                false => Err(("acme.names", "they need acme.directory beside them".into())),
            };
        };
        if !directory.starts_with("https://") {
            return Err(("acme.directory", "must begin with https://".into()));
        }
        if !(1..=Self::NAMES_MAX).contains(&self.names.len()) {
            return Err(("acme.names", format!("must be 1 to {} names", Self::NAMES_MAX)));
        }
        for name in &self.names {
            let why = match rustls::pki_types::ServerName::try_from(name.as_str()) {
                _ if name.starts_with("*.") => {
                    "wildcards need a DNS challenge, which is not supported: list the names"
                }
                Ok(rustls::pki_types::ServerName::DnsName(_))
                    if name.contains('.') && !name.ends_with('.') =>
                {
                    continue;
                }
                Ok(rustls::pki_types::ServerName::IpAddress(_)) => {
                    "addresses are not supported: give it a name"
                }
                _ => "not the full name of a host",
            };
            return Err(("acme.names", format!("`{name}`: {why}")));
        }
        match &self.email {
            Some(email) if !email.contains('@') => Err(("acme.email", "not a mail address".into())),
            _ => Ok(()),
        }
    }
}
