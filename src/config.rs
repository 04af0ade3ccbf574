//! Settings of a node: one struct per part, every key with its default and what it is for.
//!
//! The path of a field is its key: `edge.listen` in a file is `NEARPORT__EDGE__LISTEN` in the environment and
//! `--set edge.listen=ADDR` on the command line. `config_load` merges these layers; nothing else reads the
//! environment.

use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::path::PathBuf;
use std::time::Duration;

use nearport_edge::Cidr;
use nearport_edge::cid::SHARDS_MAX;
use nearport_edge::shard::Admission;
use serde::{Deserialize, Serialize};

use crate::{cidrs, duration, node_drain};

/// Longest life of a resume token.
const RESUME_TTL_MAX: Duration = Duration::from_hours(30 * 24);

/// Longest window for coming back: clients follow no longer one.
const RETURN_WINDOW_MAX: Duration = Duration::from_secs(60);

/// All settings. `Default` is what a node without any file runs with: loopback only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Directory of everything that is kept; see [`KEYS`] for this and all following fields.
    pub data: PathBuf,
    /// The gateway.
    pub edge: Edge,
    /// Its certificates.
    pub tls: Tls,
    /// Where to get certificates from.
    pub acme: Acme,
    /// The operations server.
    pub ops: Ops,
    /// The ledger's engine.
    pub store: Store,
    /// The chat backend.
    pub chat: Chat,
    /// Leaving.
    pub drain: Drain,
    /// What is logged, and how.
    pub log: Log,
}

/// `edge.*`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in KEYS, where `config explain` finds it")]
pub struct Edge {
    pub listen: SocketAddr,
    pub tcp: bool,
    #[serde(with = "cidrs")]
    pub proxy_protocol_from: Vec<Cidr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shards: Option<NonZeroU16>,
    pub connections_max: usize,
    #[serde(with = "duration::text")]
    pub resume_ttl: Duration,
    pub prefix_rate: u32,
    pub prefix_connections_max: u32,
    pub session_rate: u32,
    pub session_burst: u32,
    pub output_bytes_max: usize,
    pub hedge: Hedge,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handshakes_per_s: Option<NonZeroU32>,
    #[serde(with = "duration::text")]
    pub return_window_max: Duration,
    #[serde(with = "duration::text")]
    pub ack_delay: Duration,
}

impl Edge {
    /// Bounds of the edge's sessions.
    #[must_use]
    pub fn session(&self) -> nearport_edge::ServerLimits {
        let mut limits = nearport_edge::ServerLimits {
            requests_per_s: self.session_rate,
            requests_burst: self.session_burst,
            ..nearport_edge::ServerLimits::default()
        };
        if self.hedge == Hedge::Off {
            limits.hedge_bytes_max = 0;
        }
        limits
    }
}

/// Whether small chat frames are repeated in datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hedge {
    /// On connections whose path loses packets.
    Auto,
    /// Never.
    Off,
}

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

/// `ops.*`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in KEYS, where `config explain` finds it")]
pub struct Ops {
    pub listen: SocketAddr,
}

/// `store.*`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in KEYS, where `config explain` finds it")]
pub struct Store {
    pub cache_bytes: u64,
    pub flush_bytes: u64,
    pub accept_missing_commits: bool,
}

/// `chat.*`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in KEYS, where `config explain` finds it")]
pub struct Chat {
    #[serde(with = "duration::text")]
    pub heartbeat: Duration,
    #[serde(with = "duration::text")]
    pub ack_delay: Duration,
    pub user_sessions_max: usize,
    pub app_sessions_max: usize,
    pub login_failures_max: u32,
}

/// `drain.*`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in KEYS, where `config explain` finds it")]
pub struct Drain {
    #[serde(with = "duration::text")]
    pub delay: Duration,
    #[serde(with = "duration::text")]
    pub within: Duration,
    pub targets: Vec<String>,
}

/// `log.*`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in KEYS, where `config explain` finds it")]
pub struct Log {
    pub level: String,
    pub format: LogFormat,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// One JSON object per line.
    Json,
    /// For people.
    Text,
}

/// One key, for `config explain` and for the nearest-key hint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// The dotted path.
    pub name: &'static str,
    /// What it is for, and what it costs.
    pub doc: &'static str,
}

/// Every key, in the order in which they are explained.
pub const KEYS: &[Key] = &[
    Key { name: "data", doc: "directory of the store, the cluster secret and client.toml" },
    Key { name: "edge.listen", doc: "address of the gateway, UDP and TCP; port 0 takes any free one" },
    Key { name: "edge.tcp", doc: "whether clients without UDP may come by TLS over TCP and by WebSocket" },
    Key {
        name: "edge.proxy_protocol_from",
        doc: "ranges of load balancers that begin TCP connections with PROXY protocol v2, which they then must",
    },
    Key { name: "edge.shards", doc: "threads with their own socket, 1 to 32; unset: one per core" },
    Key { name: "edge.connections_max", doc: "connections of one shard, about 20 KB each; more are ignored" },
    Key {
        name: "edge.resume_ttl",
        doc: "how long a device may come back without its UserSig, but never longer than that is good; 0s: never",
    },
    Key {
        name: "edge.prefix_rate",
        doc: "handshakes that a shard begins in a second for one network (/24, /56); loopback and 0: unlimited",
    },
    Key {
        name: "edge.prefix_connections_max",
        doc: "connections of one network on one shard; more are ignored; loopback and 0: unlimited",
    },
    Key {
        name: "edge.session_rate",
        doc: "requests of one session in a second; more are answered with 60018 and a time to come back; 0: unlimited",
    },
    Key { name: "edge.session_burst", doc: "requests of one session at once, after a silence" },
    Key {
        name: "edge.output_bytes_max",
        doc: "memory for what clients have not read, of all sessions; the slowest are closed when it is used up",
    },
    Key {
        name: "edge.hedge",
        doc: "auto: on QUIC connections that lose 2 % of their packets, small chat frames go a second time as datagrams; off: never",
    },
    Key {
        name: "edge.handshakes_per_s",
        doc: "handshakes of the whole node in a second when a crowd comes back after a crash: clients are told a window \
              of (sessions / this) to do so; unset: by what a handshake costs here, as measured, on half of the cores",
    },
    Key {
        name: "edge.return_window_max",
        doc: "longest window that clients are told to come back in after a crash, at most 60s; 0s: none is told",
    },
    Key {
        name: "edge.ack_delay",
        doc: "how long QUIC clients are asked to wait with an acknowledgement; 0s: as long as they like (25ms), which delays the repetition of lost messages",
    },
    Key {
        name: "tls.cert",
        doc: "PEM chain of the gateway, its own certificate first; clients that ask for no or for an unknown name get \
              it. With neither tls.cert nor tls.dir nor acme.*: a certificate of the development CA",
    },
    Key { name: "tls.key", doc: "PEM private key of tls.cert (PKCS#8, SEC1 or PKCS#1, without passphrase)" },
    Key {
        name: "tls.dir",
        doc: "directory of further certificates, chosen by the name that a client asks for (SNI): NAME.crt with \
              NAME.key, or folders NAME/ with tls.crt and tls.key (Kubernetes) or fullchain.pem and privkey.pem \
              (certbot); at most 1,000. Without tls.cert the first one by file name is for clients that ask for none",
    },
    Key {
        name: "tls.poll",
        doc: "how often certificate files are looked at; what has changed is taken for new connections, as on SIGHUP",
    },
    Key { name: "tls.dev_dir", doc: "directory of the development CA, made at the first start" },
    Key {
        name: "acme.directory",
        doc: "https:// address of an ACME directory that issues and renews the certificate, such as Let's Encrypt's \
              https://acme-v02.api.letsencrypt.org/directory; setting it agrees to its terms of service",
    },
    Key {
        name: "acme.names",
        doc: "names for that certificate, for example [\"chat.example.org\"]: no wildcards, no addresses; each must \
              lead to this node alone, or to a proxy that passes the challenge on",
    },
    Key { name: "acme.email", doc: "mail address that the directory may write to" },
    Key {
        name: "acme.challenge",
        doc: "http-01: the directory comes to port 80 of each name; tls-alpn-01: to port 443, which must lead to the \
              edge's TCP port",
    },
    Key {
        name: "acme.http_listen",
        doc: "TCP address that answers http-01, open only while an order is under way; ports below 1024 need \
              CAP_NET_BIND_SERVICE",
    },
    Key { name: "acme.ca", doc: "PEM file of the CA of a private directory; unset: what this system trusts" },
    Key { name: "ops.listen", doc: "TCP address of /livez, /readyz and /metrics: for operators only" },
    Key { name: "store.cache_bytes", doc: "memory for recently read blocks of the ledger" },
    Key {
        name: "store.flush_bytes",
        doc: "rows in memory before they become files: larger means less compaction, a longer start after a crash",
    },
    Key {
        name: "store.accept_missing_commits",
        doc: "open a ledger although acknowledged commits are missing, for one start, knowing that they stay missing",
    },
    Key {
        name: "chat.heartbeat",
        doc: "silence after which a client pings; NATs forget a UDP flow after 30s",
    },
    Key {
        name: "chat.ack_delay",
        doc: "longest time that a device's read position waits for a commit to share",
    },
    Key {
        name: "chat.user_sessions_max",
        doc: "devices of one user that are online; one more ends the oldest",
    },
    Key {
        name: "chat.app_sessions_max",
        doc: "sessions of one App; a login above is refused with BUSY and told to come back in 5s; 0: unlimited",
    },
    Key {
        name: "chat.login_failures_max",
        doc: "refused logins of one user in a minute before answer 70050",
    },
    Key {
        name: "drain.delay",
        doc: "how long /readyz says no before clients are sent away, for a load balancer",
    },
    Key { name: "drain.within", doc: "longest wait for clients to leave before they are closed" },
    Key {
        name: "drain.targets",
        doc: "where leaving clients are sent, best first, [\"IP:PORT\", \"IP:PORT/NAME\"]; empty: they come back here",
    },
    Key {
        name: "log.level",
        doc: "error, warn, info, debug, trace, or directives such as info,nearport_edge=debug",
    },
    Key { name: "log.format", doc: "auto (text on a terminal, JSON elsewhere), json or text" },
];

impl Default for Config {
    fn default() -> Self {
        Self {
            data: "data".into(),
            edge: Edge::default(),
            tls: Tls::default(),
            acme: Acme::default(),
            ops: Ops::default(),
            store: Store::default(),
            chat: Chat::default(),
            drain: Drain::default(),
            log: Log::default(),
        }
    }
}

impl Default for Edge {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 4433)),
            tcp: true,
            proxy_protocol_from: Vec::new(),
            shards: None,
            connections_max: Admission::default().connections_max,
            resume_ttl: Duration::from_hours(24),
            prefix_rate: Admission::default().prefix_rate,
            prefix_connections_max: Admission::default().prefix_connections_max,
            session_rate: nearport_edge::ServerLimits::default().requests_per_s,
            session_burst: nearport_edge::ServerLimits::default().requests_burst,
            output_bytes_max: 256 << 20,
            hedge: Hedge::Auto,
            handshakes_per_s: None,
            return_window_max: Admission::default().return_window_max,
            ack_delay: nearport_edge::quic::ACK_DELAY,
        }
    }
}

impl Default for Tls {
    fn default() -> Self {
        Self { cert: None, key: None, dir: None, poll: Duration::from_secs(10), dev_dir: "certs/dev".into() }
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

    fn check(&self) -> Result<(), (&'static str, String)> {
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

impl Default for Ops {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 9090)) }
    }
}

impl Default for Store {
    fn default() -> Self {
        let engine = nearport_store::Options::default();
        Self {
            cache_bytes: engine.cache_bytes,
            flush_bytes: engine.flush_bytes,
            accept_missing_commits: engine.accept_missing_commits,
        }
    }
}

impl Default for Chat {
    fn default() -> Self {
        let chat = nearport_chat::Config::default();
        Self {
            heartbeat: Duration::from_millis(chat.heartbeat_ms.into()),
            ack_delay: Duration::from_millis(chat.ack_delay_ms),
            user_sessions_max: chat.user_sessions_max,
            app_sessions_max: chat.app_sessions_max,
            login_failures_max: chat.login_failures_max,
        }
    }
}

impl Chat {
    /// The backend's own settings.
    pub(crate) fn backend(&self) -> nearport_chat::Config {
        nearport_chat::Config {
            // Both were checked to be small.
            heartbeat_ms: u32::try_from(self.heartbeat.as_millis()).unwrap_or(u32::MAX),
            ack_delay_ms: u64::try_from(self.ack_delay.as_millis()).unwrap_or(u64::MAX),
            user_sessions_max: self.user_sessions_max,
            app_sessions_max: self.app_sessions_max,
            login_failures_max: self.login_failures_max,
            ..nearport_chat::Config::default()
        }
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self { delay: Duration::ZERO, within: Duration::from_secs(5), targets: Vec::new() }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::Auto }
    }
}

impl Config {
    /// Rules between or beyond single types: the key that is wrong, and why.
    pub(crate) fn check(&self) -> Result<(), (&'static str, String)> {
        let shards = self.edge.shards.map_or(1, NonZeroU16::get);
        if usize::from(shards) > SHARDS_MAX {
            return Err(("edge.shards", format!("{shards} is more than {SHARDS_MAX}")));
        }
        if self.edge.resume_ttl > RESUME_TTL_MAX {
            return Err(("edge.resume_ttl", "must be at most 30d: a lost device logs in until then".into()));
        }
        if self.edge.return_window_max > RETURN_WINDOW_MAX {
            return Err((
                "edge.return_window_max",
                "must be at most 60s: clients follow no longer one".into(),
            ));
        }
        match (&self.tls.cert, &self.tls.key) {
            (Some(_), None) => return Err(("tls.cert", "it needs tls.key beside it".into())),
            (None, Some(_)) => return Err(("tls.key", "it needs tls.cert beside it".into())),
            _ => {}
        }
        if !(Duration::from_millis(100)..=Duration::from_hours(24)).contains(&self.tls.poll) {
            return Err(("tls.poll", "must be 100ms to 1d".into()));
        }
        self.acme.check()?;
        if self.store.flush_bytes < 1 << 20 {
            return Err((
                "store.flush_bytes",
                "less than 1 MiB makes more files than the engine can merge".into(),
            ));
        }
        // Clients count as gone after 75 s of silence, which is to cover three heartbeats.
        if !(Duration::from_secs(1)..=Duration::from_secs(25)).contains(&self.chat.heartbeat) {
            return Err(("chat.heartbeat", "must be 1s to 25s".into()));
        }
        if self.chat.ack_delay > Duration::from_secs(60) {
            return Err(("chat.ack_delay", "must be at most 60s".into()));
        }
        if self.edge.session_burst == 0 {
            return Err(("edge.session_burst", "must be at least 1".into()));
        }
        // Each shard needs room for a few sessions at their own bounds.
        if self.edge.output_bytes_max / usize::from(shards) < 4 << 20 {
            return Err(("edge.output_bytes_max", "must be at least 4 MiB for each shard".into()));
        }
        if self.chat.user_sessions_max == 0 {
            return Err(("chat.user_sessions_max", "must be at least 1".into()));
        }
        if let Err(reason) = node_drain::targets(&self.drain.targets) {
            return Err(("drain.targets", reason));
        }
        if self.data.as_os_str().is_empty() {
            return Err(("data", "the path is empty".into()));
        }
        if let Err(error) = self.log.level.parse::<tracing_subscriber::filter::EnvFilter>() {
            return Err(("log.level", error.to_string()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(table: &toml::Table, prefix: &str, out: &mut Vec<String>) {
        for (name, value) in table {
            let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            match value {
                toml::Value::Table(inner) => leaves(inner, &path, out),
                _ => out.push(path),
            }
        }
    }

    #[test]
    fn every_field_is_a_documented_key_and_the_other_way_round() {
        let full = Config {
            edge: Edge {
                shards: NonZeroU16::new(2),
                handshakes_per_s: NonZeroU32::new(1000),
                ..Edge::default()
            },
            tls: Tls {
                cert: Some("a".into()),
                key: Some("b".into()),
                dir: Some("c".into()),
                ..Tls::default()
            },
            acme: Acme {
                directory: Some("d".into()),
                email: Some("e".into()),
                ca: Some("f".into()),
                ..Acme::default()
            },
            ..Config::default()
        };
        let mut fields = Vec::new();
        leaves(&toml::Table::try_from(full).unwrap(), "", &mut fields);
        fields.sort();
        let mut keys: Vec<_> = KEYS.iter().map(|key| key.name.to_owned()).collect();
        keys.sort();
        assert_eq!(fields, keys);
    }
}
