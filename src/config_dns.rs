//! Settings of the DNS responder.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::time::Duration;

use nearport_locate::dns::{Setup, SetupError, THREADS_MAX, Text};
use serde::{Deserialize, Serialize};

use crate::duration;

/// Addresses that are listened on at most: each has threads and buffers of its own.
const LISTEN_MAX: usize = 8;

/// `dns.*`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in KEYS, where `config explain` finds it")]
pub struct Dns {
    pub listen: Vec<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    pub ns: Vec<NameServer>,
    pub names: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
    #[serde(with = "duration::text")]
    pub ttl: Duration,
    #[serde(with = "duration::text")]
    pub zone_ttl: Duration,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<NonZeroU16>,
    pub rate: u16,
}

/// A name server of the zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NameServer {
    /// Its name, relative to the zone unless it ends in a dot.
    pub name: String,
    /// Its addresses, if it is inside the zone.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
}

impl Default for Dns {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            zone: None,
            ns: Vec::new(),
            names: vec!["im".into()],
            contact: None,
            ttl: Duration::from_secs(30),
            zone_ttl: Duration::from_hours(1),
            threads: None,
            rate: 1_000,
        }
    }
}

impl Dns {
    /// The zone, if one is configured.
    pub(crate) fn setup(&self) -> Result<Option<Setup>, SetupError> {
        let Some(zone) = &self.zone else { return Ok(None) };
        let seconds = |duration: Duration| u32::try_from(duration.as_secs()).unwrap_or(u32::MAX);
        let text = Text {
            zone,
            servers: self.ns.iter().map(|ns| (ns.name.as_str(), &ns.addresses[..])).collect(),
            names: self.names.iter().map(String::as_str).collect(),
            contact: self.contact.as_deref(),
            ttl_s: seconds(self.ttl),
            zone_ttl_s: seconds(self.zone_ttl),
        };
        Setup::new(&text).map(Some)
    }

    /// Rules beyond single types.
    pub(crate) fn check(&self) -> Result<(), (&'static str, String)> {
        if self.zone.is_none() && !self.listen.is_empty() {
            return Err(("dns.listen", "it needs dns.zone beside it".into()));
        }
        if self.listen.len() > LISTEN_MAX {
            return Err(("dns.listen", format!("must be at most {LISTEN_MAX} addresses")));
        }
        // Below, resolvers ask too often; above, clients are sent to a PoP that is gone for too long.
        if !(Duration::from_secs(20)..=Duration::from_secs(60)).contains(&self.ttl) {
            return Err(("dns.ttl", "must be 20s to 60s".into()));
        }
        if !(Duration::from_mins(1)..=Duration::from_hours(48)).contains(&self.zone_ttl) {
            return Err(("dns.zone_ttl", "must be 1m to 2d".into()));
        }
        if self.threads.is_some_and(|threads| usize::from(threads.get()) > THREADS_MAX) {
            return Err(("dns.threads", format!("must be at most {THREADS_MAX}")));
        }
        match self.setup() {
            Ok(_) => Ok(()),
            Err(SetupError { key, reason }) => {
                let keys = ["dns.zone", "dns.ns", "dns.names", "dns.contact"];
                let full = keys.into_iter().find(|full| full.strip_prefix("dns.") == Some(key));
                Err((full.unwrap_or("dns.zone"), reason))
            }
        }
    }
}
