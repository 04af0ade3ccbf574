//! Settings of the HTTP API and of the addressing service behind it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use nearport_edge::Cidr;
use serde::{Deserialize, Serialize};

use crate::{cidrs, duration};

/// `api.*`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in KEYS, where `config explain` finds it")]
pub struct Api {
    pub listen: SocketAddr,
    pub tls: ApiTls,
}

/// When the API speaks TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ApiTls {
    /// Wherever others than this machine can come.
    Auto,
    /// On loopback too.
    Always,
    /// A proxy in front does.
    Never,
}

/// `locate.*`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in KEYS, where `config explain` finds it")]
pub struct Locate {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub databases: Option<Vec<PathBuf>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pops: Option<PathBuf>,
    #[serde(with = "cidrs")]
    pub forwarders: Vec<Cidr>,
    pub forwarded_header: ForwardedHeader,
    #[serde(with = "duration::text")]
    pub ttl: Duration,
    #[serde(with = "duration::text")]
    pub poll: Duration,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub map_key: Option<PathBuf>,
}

/// The header that forwarders write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`
    XForwardedFor,
    /// `Forwarded` (RFC 7239)
    Forwarded,
}

impl From<ForwardedHeader> for nearport_locate::forwarded::Header {
    fn from(header: ForwardedHeader) -> Self {
        match header {
            ForwardedHeader::XForwardedFor => Self::XForwardedFor,
            ForwardedHeader::Forwarded => Self::Forwarded,
        }
    }
}

impl Default for Api {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 8080)), tls: ApiTls::Auto }
    }
}

impl Api {
    /// Whether it speaks TLS.
    #[must_use]
    pub fn speaks_tls(&self) -> bool {
        match self.tls {
            ApiTls::Auto => !self.listen.ip().is_loopback(),
            ApiTls::Always => true,
            ApiTls::Never => false,
        }
    }
}

impl Default for Locate {
    fn default() -> Self {
        Self {
            databases: None,
            pops: None,
            forwarders: Vec::new(),
            forwarded_header: ForwardedHeader::XForwardedFor,
            ttl: Duration::from_mins(5),
            poll: Duration::from_secs(10),
            map_key: None,
        }
    }
}

impl Locate {
    /// Rules beyond single types.
    pub(crate) fn check(&self) -> Result<(), (&'static str, String)> {
        let files = self.databases.as_ref().map_or(0, Vec::len);
        if files > nearport_locate::databases::FILES_MAX {
            let most = nearport_locate::databases::FILES_MAX;
            return Err(("locate.databases", format!("must be at most {most} files")));
        }
        if !(Duration::from_secs(10)..=Duration::from_hours(24)).contains(&self.ttl) {
            return Err(("locate.ttl", "must be 10s to 1d".into()));
        }
        if !(Duration::from_secs(1)..=Duration::from_hours(1)).contains(&self.poll) {
            return Err(("locate.poll", "must be 1s to 1h".into()));
        }
        Ok(())
    }
}
