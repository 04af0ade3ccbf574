//! An event on its way to the back end of its App: the bytes that the outbox keeps.

use std::net::IpAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use nearport_wire::body::{Message, Platform};
use prost::Message as _;
use serde_json::{Map, Value};

use super::Command;
use crate::directory::events::{EventId, PendingEvent};
use crate::key::AppId;
use crate::ledger::Outbound;

/// Behind whose request an event stands; said in the query of the request that tells of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Origin {
    /// Where the client is, as far as it is known: not of sessions that were taken over.
    pub ip: Option<IpAddr>,
    /// `OptPlatform`; empty: the event has none.
    pub platform: &'static str,
}

impl Origin {
    /// The back end of the App asked, from an address that is not known here.
    pub const REST: Self = Self::rest(None);
    /// Nobody did.
    pub const NONE: Self = Self { ip: None, platform: "" };

    /// The back end of the App asked.
    #[must_use]
    pub const fn rest(ip: Option<IpAddr>) -> Self {
        Self { ip, platform: "RESTAPI" }
    }

    /// A client did.
    #[must_use]
    pub fn client(ip: Option<IpAddr>, platform: Platform) -> Self {
        Self { ip, platform: platform_name(platform) }
    }
}

/// The name of a platform in the public contract.
#[must_use]
pub fn platform_name(platform: Platform) -> &'static str {
    match platform {
        Platform::Android => "Android",
        Platform::Iphone => "iOS",
        Platform::Ipad => "IPad",
        Platform::Windows => "Windows",
        Platform::Mac => "Mac",
        Platform::Web => "Web",
        Platform::Linux => "Linux",
        Platform::Other => "Unknown",
    }
}

/// An event: a name, fields, and for messages the message, which is rendered when it is told.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Event {
    /// [`Command::name`].
    #[prost(string, tag = "1")]
    pub command: String,
    /// Events of an App with the same key are told one after the other, in order.
    #[prost(bytes = "bytes", tag = "2")]
    pub key: Bytes,
    /// Where the client is, or empty.
    #[prost(string, tag = "3")]
    pub ip: String,
    /// [`Origin::platform`].
    #[prost(string, tag = "4")]
    pub platform: String,
    /// A JSON object: all fields but those of the message, without `CallbackCommand` and `EventTime`.
    #[prost(string, tag = "5")]
    pub fields: String,
    /// The message that it is about, as `wire` encodes it; empty for none. Its sequence number stands in the outbox.
    #[prost(bytes = "bytes", tag = "6")]
    pub message: Bytes,
    /// Whether the unread count of the user named here is told too.
    #[prost(string, tag = "7")]
    pub unread_of: String,
    /// [`PendingEvent::id`] of one that was written with what it tells of; empty for others.
    #[prost(bytes = "bytes", tag = "8")]
    pub id: Bytes,
}

impl Event {
    /// An event without a message. `fields` must be an object.
    #[must_use]
    pub fn new(command: Command, key: &[u8], origin: Origin, fields: &Value) -> Self {
        debug_assert!(fields.is_object(), "an event has fields");
        Self {
            command: command.name().to_owned(),
            key: Bytes::copy_from_slice(key),
            ip: origin.ip.map(|ip| ip.to_string()).unwrap_or_default(),
            platform: origin.platform.to_owned(),
            fields: fields.to_string(),
            message: Bytes::new(),
            unread_of: String::new(),
            id: Bytes::new(),
        }
    }

    /// The same, about a message.
    #[must_use]
    pub fn about(self, message: &Message) -> Self {
        Self { message: message.encode_to_vec().into(), ..self }
    }

    /// The same, with the unread count of a user.
    #[must_use]
    pub fn unread_of(self, user: &str) -> Self {
        Self { unread_of: user.to_owned(), ..self }
    }

    /// Reads what the outbox keeps; `None` for other bytes.
    #[must_use]
    pub fn read(bytes: Bytes) -> Option<Self> {
        Self::decode(bytes).ok()
    }

    /// Its fields.
    #[must_use]
    pub fn fields(&self) -> Map<String, Value> {
        serde_json::from_str(&self.fields).unwrap_or_default()
    }

    /// As the directory takes it, under a name that no other event has.
    #[must_use]
    pub fn pending(self, app: AppId, time_ms: u64) -> PendingEvent {
        let id = name();
        let body = Self { id: Bytes::copy_from_slice(&id), ..self }.encode_to_vec().into();
        PendingEvent { id, app, time_ms, body }
    }

    /// As the outbox takes it.
    #[must_use]
    pub fn outbound(&self, app: AppId, append: Option<usize>, time_ms: u64) -> Outbound {
        Outbound { app, append, time_ms, body: self.encode_to_vec().into() }
    }
}

/// The start of this process, and how many it has named.
fn name() -> EventId {
    static START: OnceLock<[u8; 8]> = OnceLock::new();
    static NAMED: AtomicU64 = AtomicU64::new(0);
    let start = START.get_or_init(|| {
        let mut start = [0; 8];
        // Without entropy names of an earlier start may come again, of which hardly one is still there.
        let _ = aws_lc_rs::rand::fill(&mut start);
        start
    });
    let mut name = [0; 16];
    name[..8].copy_from_slice(start);
    name[8..].copy_from_slice(&NAMED.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    name
}
