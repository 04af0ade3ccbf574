//! Where a client asks for its PoP.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use super::LocateError;
use super::chain::Source;

/// Servers, names and keys of each kind that are looked at; more are refused.
pub(crate) const SERVERS_MAX: usize = 16;

/// A server at a known address: nothing has to be resolved to reach it.
///
/// Written `IP:PORT/NAME`, or `IP:PORT` where the certificate has the address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    name: Option<String>,
}

impl Server {
    /// A server at `address` whose certificate has `name`.
    #[must_use]
    pub fn new(address: SocketAddr, name: impl Into<String>) -> Self {
        let name = name.into();
        Self { address, name: (name != address.ip().to_string()).then_some(name) }
    }

    /// The name in its certificate.
    #[must_use]
    pub fn name(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.address.ip().to_string())
    }
}

impl FromStr for Server {
    type Err = LocateError;

    fn from_str(text: &str) -> Result<Self, LocateError> {
        let bad = || {
            LocateError::Setting(format!(
                "`{text}`: write IP:PORT/NAME, for example 192.0.2.7:443/chat.example"
            ))
        };
        let (address, name) = match text.split_once('/') {
            Some((address, name)) => (address, Some(name)),
            None => (text, None),
        };
        let address: SocketAddr = address.parse().map_err(|_| bad())?;
        match name {
            None => Ok(Self { address, name: None }),
            Some(name) if is_host(name) && address.port() != 0 => Ok(Self::new(address, name)),
            Some(_) => Err(bad()),
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{}/{name}", self.address),
            None => self.address.fmt(f),
        }
    }
}

/// Where to ask, in the order of the chain. What is left empty is not a step of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocateConfig {
    /// The addressing service by HTTPS (`/v1/locate`), tried in random order.
    pub https: Vec<Server>,
    /// Servers of DNS over HTTPS (`/dns-query`), one's own or public ones, tried in random order.
    pub doh: Vec<Server>,
    /// Names whose HTTPS or SVCB records rank the PoPs, best first.
    pub names: Vec<String>,
    /// Targets of records count only at or below this name, for who can forge a record must not be able to send clients to a
    /// server of his own with a good certificate. `None`: at or below the name that was asked for.
    pub zone: Option<String>,
    /// Port of a name that has addresses and no such record.
    pub port: u16,
    /// Whether the system's resolver is asked for `names` too.
    pub system_resolver: bool,
    /// Public keys of maps (Ed25519): the current one, and during a change the next one.
    pub map_keys: Vec<[u8; 32]>,
    /// PoPs that the application comes with, best first.
    pub list: Vec<Server>,
    /// Directory for the signed map and for what was best in which network; `None`: only this process remembers.
    pub dir: Option<PathBuf>,
    /// Whether the service is told the round trips that were measured. Its operator learns this device's network (/24, /48) and how
    /// far it is from PoPs; not who it is.
    pub report: bool,
}

impl Default for LocateConfig {
    fn default() -> Self {
        Self {
            https: Vec::new(),
            doh: Vec::new(),
            names: Vec::new(),
            zone: None,
            port: 4433,
            system_resolver: true,
            map_keys: Vec::new(),
            list: Vec::new(),
            dir: None,
            report: true,
        }
    }
}

impl LocateConfig {
    /// Reads a public key of maps: 64 hex digits, as `map-key.pub` has them.
    ///
    /// # Errors
    /// [`LocateError::Setting`].
    pub fn map_key(hex: &str) -> Result<[u8; 32], LocateError> {
        let hex = hex.trim();
        let bad = || {
            LocateError::Setting(format!("map key `{hex}`: it must have 64 hex digits, as in map-key.pub"))
        };
        if hex.len() != 64 || !hex.is_ascii() {
            return Err(bad());
        }
        let mut key = [0; 32];
        for (octet, at) in key.iter_mut().zip((0..64).step_by(2)) {
            *octet = u8::from_str_radix(&hex[at..at + 2], 16).map_err(|_| bad())?;
        }
        Ok(key)
    }

    /// The steps of the chain that there are, each with its servers; `None` where a step has none.
    pub(crate) fn steps(&self) -> Vec<(Source, Vec<Option<Server>>)> {
        let all = |servers: &[Server]| servers.iter().cloned().map(Some).collect();
        let once = |is: bool| if is { vec![None] } else { Vec::new() };
        let named = !self.names.is_empty();
        let map = self.dir.is_some() && !self.map_keys.is_empty();
        let mut steps = vec![
            (Source::Https, all(&self.https)),
            (Source::Doh, if named { all(&self.doh) } else { Vec::new() }),
            (Source::Resolver, once(named && self.system_resolver)),
            (Source::Map, once(map)),
            (Source::List, once(!self.list.is_empty())),
        ];
        steps.retain(|(_, servers)| !servers.is_empty());
        steps
    }

    pub(crate) fn check(&self) -> Result<(), LocateError> {
        let bad = |why: String| Err(LocateError::Setting(why));
        let counts = [
            ("https", self.https.len()),
            ("doh", self.doh.len()),
            ("names", self.names.len()),
            ("map_keys", self.map_keys.len()),
            ("list", self.list.len()),
        ];
        if let Some((name, _)) = counts.iter().find(|(_, count)| *count > SERVERS_MAX) {
            return bad(format!("{name}: at most {SERVERS_MAX}"));
        }
        if self.steps().is_empty() {
            return bad("nowhere to ask: https, names, map_keys with a directory, or list".to_owned());
        }
        if !self.doh.is_empty() && self.names.is_empty() {
            return bad("doh: it needs names to ask for".to_owned());
        }
        if let Some(name) = self.names.iter().chain(&self.zone).find(|name| !is_host(name)) {
            return bad(format!("`{name}` is no host name"));
        }
        Ok(())
    }
}

fn is_host(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    name.parse::<IpAddr>().is_ok() || (name.len() <= 253 && name.trim_end_matches('.').split('.').all(label))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_addresses_with_names() {
        let server: Server = "192.0.2.7:8443/chat.example".parse().unwrap();
        assert_eq!((server.address.port(), server.name().as_str()), (8443, "chat.example"));
        assert_eq!(server.to_string().parse::<Server>().unwrap(), server);
        let nameless: Server = "[2001:db8::1]:1".parse().unwrap();
        assert_eq!(nameless.name(), "2001:db8::1");
        for bad in ["chat.example:1/x", "192.0.2.7", "192.0.2.7:1/", "192.0.2.7:1/a b", "192.0.2.7:1/a/b", ""]
        {
            assert!(bad.parse::<Server>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_leads_nowhere_is_refused_at_the_start() {
        let none = LocateConfig::default();
        assert!(none.check().unwrap_err().to_string().contains("nowhere to ask"));
        let server: Server = "192.0.2.7:1".parse().unwrap();
        let named = LocateConfig { names: vec!["np.example".into()], ..LocateConfig::default() };
        assert!(named.check().is_ok());
        assert!(LocateConfig { system_resolver: false, ..named.clone() }.check().is_err());
        assert!(LocateConfig { names: vec!["a b".into()], ..named.clone() }.check().is_err());
        assert!(LocateConfig { zone: Some("-".repeat(64)), ..named.clone() }.check().is_err());
        assert!(
            LocateConfig { doh: vec![server.clone()], list: vec![server.clone()], ..none.clone() }
                .check()
                .is_err()
        );
        assert!(LocateConfig { list: vec![server.clone(); 17], ..none.clone() }.check().is_err());
        assert!(LocateConfig { list: vec![server], ..none }.check().is_ok());
    }

    #[test]
    fn a_map_key_is_read_as_the_server_writes_it() {
        let key = LocateConfig::map_key(&format!("{}\n", "0f".repeat(32))).unwrap();
        assert_eq!(key, [15; 32]);
        for bad in ["", "0f", &"0g".repeat(32), &"\u{e9}".repeat(32)] {
            assert!(LocateConfig::map_key(bad).is_err());
        }
    }
}
