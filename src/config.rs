//! Settings of a node: one struct per part, every key with its default and what it is for.
//!
//! The path of a field is its key: `edge.listen` in a file is `NEARPORT__EDGE__LISTEN` in the environment and
//! `--set edge.listen=ADDR` on the command line. `config_load` merges these layers; nothing else reads the
//! environment.

use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::path::PathBuf;
use std::time::Duration;

use nearport_chat::apps::RestLimits;
use nearport_chat::group::GroupConfig;
use nearport_edge::Cidr;
use nearport_edge::cid::SHARDS_MAX;
use nearport_edge::shard::Admission;
use nearport_steer::prober::split;
use serde::{Deserialize, Serialize};

pub use crate::config_apps::{AppEntry, Audit};
pub use crate::config_callback::Callback;
pub use crate::config_dns::{Dns, NameServer};
pub use crate::config_keys::{KEYS, Key};
pub use crate::config_locate::{Api, ApiTls, ForwardedHeader, Locate};
pub use crate::config_media::{Hidden, Media};
pub use crate::config_people::People;
pub use crate::config_push::Push;
pub use crate::config_rest::Rest;
pub use crate::config_steer::Steer;
pub use crate::config_storage::{Engine, Postgres, Storage};
pub use crate::config_tls::{Acme, Challenge, Tls};
use crate::{cidrs, config_apps, duration, node_drain};

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
    /// Which engines keep what is kept.
    pub storage: Storage,
    /// The embedded ledger's engine.
    pub store: Store,
    /// The chat backend.
    pub chat: Chat,
    /// The link between an edge and a core on different hosts.
    pub trunk: Trunk,
    /// The HTTP API.
    pub api: Api,
    /// What back ends of Apps call.
    pub rest: Rest,
    /// What Apps have other than `chat` and `rest` say.
    pub apps: Vec<AppEntry>,
    /// The audit log.
    pub audit: Audit,
    /// Files of messages.
    pub media: Media,
    /// Back ends of Apps that hear what happens.
    pub callback: Callback,
    /// Addressing.
    pub locate: Locate,
    /// The link between edges and processes that locate.
    pub steer: Steer,
    /// The DNS responder.
    pub dns: Dns,
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
    pub node: u16,
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
    pub guests_max: usize,
    pub guests_per_network: usize,
    pub multi_device: nearport_chat::MultiDevice,
    pub native_instances: usize,
    pub web_instances: usize,
    #[serde(with = "duration::text")]
    pub presence_native: Duration,
    #[serde(with = "duration::text")]
    pub presence_web: Duration,
    pub live_last_n: usize,
    pub login_failures_max: u32,
    #[serde(with = "duration::text")]
    pub recall_window: Duration,
    #[serde(with = "duration::text")]
    pub edit_window: Duration,
    pub roaming_days: u32,
    pub receipts: bool,
    pub retention_days: u32,
    pub group_retention_days: u32,
    pub history_files: bool,
    pub people: People,
    pub push: Push,
    pub groups: GroupConfig,
}

/// `trunk.*`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in KEYS, where `config explain` finds it")]
pub struct Trunk {
    pub listen: SocketAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub core: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    #[serde(with = "duration::text")]
    pub silence: Duration,
    #[serde(with = "duration::text")]
    pub away_max: Duration,
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

impl Default for Config {
    fn default() -> Self {
        Self {
            data: "data".into(),
            edge: Edge::default(),
            tls: Tls::default(),
            acme: Acme::default(),
            ops: Ops::default(),
            storage: Storage::default(),
            store: Store::default(),
            chat: Chat::default(),
            trunk: Trunk::default(),
            api: Api::default(),
            rest: Rest::default(),
            apps: Vec::new(),
            audit: Audit::default(),
            media: Media::default(),
            callback: Callback::default(),
            locate: Locate::default(),
            steer: Steer::default(),
            dns: Dns::default(),
            drain: Drain::default(),
            log: Log::default(),
        }
    }
}

impl Default for Edge {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 4433)),
            node: 0,
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
            ack_delay: Duration::ZERO,
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
        let retention = nearport_chat::retention::Retention::default();
        Self {
            heartbeat: Duration::from_millis(chat.heartbeat_ms.into()),
            ack_delay: Duration::from_millis(chat.ack_delay_ms),
            user_sessions_max: chat.user_sessions_max,
            app_sessions_max: chat.app_sessions_max,
            guests_max: chat.guests_max,
            guests_per_network: chat.guests_per_network,
            multi_device: chat.multi_device,
            native_instances: chat.native_instances,
            web_instances: chat.web_instances,
            presence_native: Duration::from_secs(chat.presence_native_s.into()),
            presence_web: Duration::from_secs(chat.presence_web_s.into()),
            live_last_n: chat.live_last_n,
            login_failures_max: chat.login_failures_max,
            recall_window: Duration::from_secs(chat.recall_window_s.into()),
            edit_window: Duration::from_secs(chat.edit_window_s.into()),
            roaming_days: chat.roaming_days,
            receipts: chat.receipts,
            retention_days: retention.days,
            group_retention_days: retention.group_days,
            history_files: chat.history_files,
            people: People::default(),
            push: Push::default(),
            groups: chat.groups,
        }
    }
}

impl Chat {
    /// What the ledger keeps.
    pub(crate) fn retention(&self) -> nearport_chat::retention::Retention {
        nearport_chat::retention::Retention {
            days: self.retention_days,
            group_days: self.group_retention_days,
            ..Default::default()
        }
    }

    fn backend(&self) -> nearport_chat::Config {
        nearport_chat::Config {
            // Both were checked to be small.
            heartbeat_ms: u32::try_from(self.heartbeat.as_millis()).unwrap_or(u32::MAX),
            ack_delay_ms: u64::try_from(self.ack_delay.as_millis()).unwrap_or(u64::MAX),
            user_sessions_max: self.user_sessions_max,
            app_sessions_max: self.app_sessions_max,
            guests_max: self.guests_max,
            guests_per_network: self.guests_per_network,
            multi_device: self.multi_device,
            native_instances: self.native_instances,
            web_instances: self.web_instances,
            presence_native_s: u32::try_from(self.presence_native.as_secs()).unwrap_or(u32::MAX),
            presence_web_s: u32::try_from(self.presence_web.as_secs()).unwrap_or(u32::MAX),
            live_last_n: self.live_last_n,
            login_failures_max: self.login_failures_max,
            recall_window_s: u32::try_from(self.recall_window.as_secs()).unwrap_or(u32::MAX),
            edit_window_s: u32::try_from(self.edit_window.as_secs()).unwrap_or(u32::MAX),
            roaming_days: self.roaming_days,
            receipts: self.receipts,
            history_files: self.history_files,
            people: self.people.backend(),
            push: self.push.backend(),
            groups: self.groups.clone(),
            ..nearport_chat::Config::default()
        }
    }
}

impl Default for Trunk {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 4434)),
            core: None,
            ca: None,
            cert: None,
            key: None,
            silence: Duration::from_secs(5),
            away_max: Duration::from_mins(10),
        }
    }
}

impl Trunk {
    fn check(&self) -> Result<(), (&'static str, String)> {
        if let Some(core) = self.core.as_ref().filter(|core| split(core).is_none()) {
            return Err(("trunk.core", format!("`{core}`: write HOST:PORT of the core's trunk.listen")));
        }
        // Below, a pause of a busy host ends links; above, clients have given their requests up before it is noticed.
        if !(Duration::from_secs(2)..=Duration::from_secs(60)).contains(&self.silence) {
            return Err(("trunk.silence", "must be 2s to 60s".into()));
        }
        if !(Duration::from_secs(10)..=Duration::from_hours(24)).contains(&self.away_max) {
            return Err(("trunk.away_max", "must be 10s to 1d".into()));
        }
        Ok(())
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
    /// Settings of the chat backend.
    pub(crate) fn backend(&self) -> nearport_chat::Config {
        nearport_chat::Config {
            rest: RestLimits {
                app_calls_per_s: self.rest.app_calls_per_s,
                command_rates: self.rest.command_rates,
            },
            callback: self.callback.backend(),
            apps: config_apps::backend(&self.apps),
            audit: self.audit.backend(),
            ..self.chat.backend()
        }
    }

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
        self.tls.check()?;
        self.acme.check()?;
        self.storage.check()?;
        self.locate.check()?;
        self.media.check()?;
        self.callback.check()?;
        self.steer.check()?;
        self.dns.check()?;
        self.trunk.check()?;
        if self.edge.connections_max > nearport_trunk::CONNECTIONS_MAX as usize {
            let most = nearport_trunk::CONNECTIONS_MAX;
            return Err((
                "edge.connections_max",
                format!("must be at most {most}: session ids hold no more"),
            ));
        }
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
        self.chat.groups.check()?;
        if self.chat.user_sessions_max == 0 {
            return Err(("chat.user_sessions_max", "must be at least 1".into()));
        }
        if self.chat.push.accounts_per_s == 0 {
            return Err(("chat.push.accounts_per_s", "must be at least 1".into()));
        }
        if let Err(reason) = self.chat.people.backend().check() {
            // The only values of it that can be wrong together.
            return Err(("chat.people.fields", reason));
        }
        self.audit.check()?;
        config_apps::check(&self.apps, &self.backend())?;
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
