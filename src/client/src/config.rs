//! Who logs in where, and with which bounds.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

pub use nearport_wire::body::Platform;

use crate::core::CoreConfig;
use crate::locate::Locator;
use crate::transport::Transport;

/// The cursor that stands behind everything: the client gets what comes after its first login, and no old message.
/// The server clamps it to the newest position.
pub const FROM_NOW: u64 = u64::MAX;

/// When the server is told what this device has shown. Until then another login of the device gets it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// By the client. A message counts as shown when the application asks for the event behind it (or flushes, or
    /// closes); positions travel together.
    Auto {
        /// Tell at once when this many positions wait.
        every: u32,
        /// Tell this long after the first of them at the latest.
        within: Duration,
    },
    /// By the application, with [`Client::acknowledge`](crate::Client::acknowledge).
    Manual,
}

impl Default for Acks {
    /// Every 32, within 500 ms: at most that much comes again after a crash, for two small frames a second at most
    /// at a low rate.
    fn default() -> Self {
        Self::Auto { every: 32, within: Duration::from_millis(500) }
    }
}

/// Whether a client follows the user's groups, and where it begins in those whose cursor neither it nor the server knows.
/// In every group that the user joins later it begins there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Follow {
    /// It asks for nothing and shows nothing of groups.
    Nothing,
    /// A device that logs in for the first time begins with what comes next; else as the server remembers. With
    /// [`FROM_NOW`] it always begins with what comes next.
    #[default]
    Remembered,
    /// With the first message that the user may see. For few groups, or short ones: all of them are fetched.
    SinceJoined,
}

/// Where a device stands in a group: what it has shown.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupCursor {
    /// Which group.
    pub group: String,
    /// Newest message.
    pub seq: u64,
    /// Newest change of a message (an edit, a recall), as the group counts them.
    pub edit: u64,
}

/// Which events the application takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Receive {
    /// All. The application must keep asking for events: while many wait, the client does not read from its
    /// connection, so answers wait too.
    #[default]
    Everything,
    /// No message, transient or read event, and nothing is acknowledged: for a program that only sends. Use it with
    /// [`FROM_NOW`], or the log is fetched only to be thrown away.
    Nothing,
}

/// Bounds of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Messages without an acknowledgement, waiting or in flight; one more is refused.
    pub outbox_messages_max: usize,
    /// Their encoded bytes; more are refused.
    pub outbox_bytes_max: usize,
    /// Other requests without an answer, waiting or in flight; one more is refused.
    pub requests_max: usize,
    /// Events that wait for the application; at this many, or at [`Self::events_bytes_max`], the client stops
    /// reading. One chunk of input may go past it.
    pub events_max: usize,
    /// Bytes of messages that wait for the application.
    pub events_bytes_max: usize,
    /// Time for a transport to come up.
    pub connect_timeout: Duration,
    /// Time for the answer to a hello, a ping or a request.
    pub answer_timeout: Duration,
    /// How long a message is tried again after its first attempt. Must be shorter than the time for which the server
    /// remembers ids (7 days), or a message could be stored twice.
    pub retry_for: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            outbox_messages_max: 1000,
            outbox_bytes_max: 4 << 20,
            requests_max: 64,
            events_max: 512,
            events_bytes_max: 1 << 20,
            connect_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(10),
            retry_for: Duration::from_hours(6 * 24),
        }
    }
}

/// What a process may keep so that its successor goes on where it stood. Whoever has the token can log in as this user
/// and device until it expires: keep it as a password.
#[derive(Clone, PartialEq, Eq)]
pub struct ResumeState {
    /// Stands for the UserSig.
    pub token: Vec<u8>,
    /// Until when, by the clock of this device.
    pub good_until: SystemTime,
    /// Position up to which this device has shown the user's log.
    pub cursor: u64,
    /// The same for the user's groups.
    pub groups: Vec<GroupCursor>,
}

impl ResumeState {
    fn for_core(self) -> (Bytes, Duration) {
        // A clock that was moved makes the token seem older or younger; the server knows better, and the UserSig is there.
        let good_for = self.good_until.duration_since(SystemTime::now()).unwrap_or_default();
        (self.token.into(), good_for)
    }
}

impl fmt::Debug for ResumeState {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResumeState")
            .field("good_until", &self.good_until)
            .field("cursor", &self.cursor)
            .finish_non_exhaustive()
    }
}

/// What carries sessions unless the application says otherwise: best first.
const TRANSPORTS: [Transport; 3] = [Transport::Quic, Transport::Tls, Transport::WebSocket];

/// What a client is started with.
///
/// ```
/// use nearport_client::{Config, FROM_NOW};
///
/// let mut config = Config::new("127.0.0.1:4433".parse()?, "localhost", 1400000000, "alice", "eJw…");
/// config.device = "laptop".into();
/// config.cursor = Some(FROM_NOW);
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone)]
pub struct Config {
    /// Address of the edge, for UDP and TCP alike. Not looked at with [`Self::locate`].
    pub server: SocketAddr,
    /// Name in the edge's certificate: a host name or an IP address. Not looked at with [`Self::locate`].
    pub server_name: String,
    /// Finds the edge, instead of `server`: the nearest of several.
    pub locate: Option<Locator>,
    /// What may carry the session, best first. Empty: the default, which is
    /// QUIC, TLS, WebSocket.
    pub transports: Vec<Transport>,
    /// App (`sdkappid`).
    pub app: u32,
    /// User, 1 to 32 bytes of printable ASCII.
    pub user: String,
    /// Device, 1 to 32 bytes of printable ASCII. Another login of the same user and device ends this one.
    pub device: String,
    /// Kind of device.
    pub platform: Platform,
    /// Proof that the App lets this user in.
    pub usersig: String,
    /// Name and version of the application, for the server's logs; at most 64 bytes.
    pub client: String,
    /// Position of the user's log that this device has shown, if the application keeps it; `None` takes the
    /// server's memory of this device, [`FROM_NOW`] skips what is there.
    pub cursor: Option<u64>,
    /// What [`Client::resume_state`](crate::Client::resume_state) gave an earlier process of this user and device: the
    /// login needs no UserSig as long as it is good, and `cursor`, if that is `None`, is taken from it. When it is
    /// refused, the UserSig is used.
    pub resume: Option<ResumeState>,
    /// Whether to follow the user's groups.
    pub follow: Follow,
    /// What this device has shown of the user's groups, if the application keeps it, or else what `resume` says; what is not named
    /// is as [`Self::follow`] says.
    pub groups: Vec<GroupCursor>,
    /// When to acknowledge.
    pub acks: Acks,
    /// Which events to give.
    pub receive: Receive,
    /// Bounds.
    pub limits: Limits,
    /// Seed of message ids and back-off. `None` (use this outside of tests) takes one from the operating system;
    /// two clients of one user with the same seed would mistake each other's messages for their own.
    pub seed: Option<u64>,
}

impl Config {
    /// A configuration with device `default`, the server's cursor, automatic acknowledgements and default bounds.
    #[must_use]
    pub fn new(
        server: SocketAddr,
        server_name: impl Into<String>,
        app: u32,
        user: impl Into<String>,
        usersig: impl Into<String>,
    ) -> Self {
        Self {
            server,
            server_name: server_name.into(),
            locate: None,
            transports: TRANSPORTS.to_vec(),
            app,
            user: user.into(),
            device: "default".into(),
            platform: Platform::Other,
            usersig: usersig.into(),
            client: concat!("nearport-rust/", env!("CARGO_PKG_VERSION")).into(),
            cursor: None,
            resume: None,
            follow: Follow::default(),
            groups: Vec::new(),
            acks: Acks::default(),
            receive: Receive::default(),
            limits: Limits::default(),
            seed: None,
        }
    }

    /// Of a guest: somebody without an account, as browsers have them, who hears live rooms and may do nothing else. Over the
    /// transports of browsers; servers let guests in only if they are told to.
    #[must_use]
    pub fn guest(server: SocketAddr, server_name: impl Into<String>, app: u32) -> Self {
        Self {
            transports: vec![Transport::WebSocket, Transport::WebTransport],
            platform: Platform::Web,
            cursor: Some(FROM_NOW),
            follow: Follow::Nothing,
            ..Self::new(server, server_name, app, "", "")
        }
    }

    /// As [`Self::new`], with the edge that `locator` finds.
    #[must_use]
    pub fn located(locator: &Locator, app: u32, user: impl Into<String>, usersig: impl Into<String>) -> Self {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        Self { locate: Some(locator.clone()), ..Self::new(nowhere, "", app, user, usersig) }
    }

    /// What may carry the session, each once, best first.
    pub(crate) fn transports(&self) -> Vec<Transport> {
        let wanted = if self.transports.is_empty() { &TRANSPORTS[..] } else { &self.transports };
        let mut transports = Vec::with_capacity(wanted.len());
        for transport in wanted {
            if !transports.contains(transport) {
                transports.push(*transport);
            }
        }
        transports
    }

    /// The part that the core needs.
    pub(crate) fn core(mut self, seed: u64) -> CoreConfig {
        if let (true, Some(state)) = (self.groups.is_empty(), &mut self.resume) {
            self.groups = std::mem::take(&mut state.groups);
        }
        CoreConfig {
            app: self.app,
            user: self.user,
            device: self.device,
            platform: self.platform,
            usersig: self.usersig,
            client: self.client,
            cursor: self.cursor.or_else(|| self.resume.as_ref().map(|state| state.cursor)),
            resume: self.resume.map(ResumeState::for_core),
            follow: self.follow,
            groups: self.groups,
            acks: self.acks,
            receive: self.receive,
            limits: self.limits,
            seed,
        }
    }
}

impl fmt::Debug for Config {
    /// Without the UserSig: configurations end up in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("server", &self.server)
            .field("server_name", &self.server_name)
            .field("locate", &self.locate)
            .field("transports", &self.transports)
            .field("app", &self.app)
            .field("user", &self.user)
            .field("device", &self.device)
            .field("platform", &self.platform)
            .field("cursor", &self.cursor)
            .field("follow", &self.follow)
            .field("acks", &self.acks)
            .field("receive", &self.receive)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
