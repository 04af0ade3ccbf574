//! The messages of the seam as bytes, for a link between two processes. Pure: no I/O, no clock.
//!
//! Each side begins with a preamble, which settles the version; then messages follow each other:
//!
//! ```text
//! preamble = "nptrunk" 0 oldest:u16 newest:u16         ; versions that this side speaks
//! message  = length:u32 kind:u8 fields                 ; length counts kind and fields
//! ```
//!
//! Integers are big-endian, lengths inside a message are varints of RFC 9000 §16, the last field takes the rest.
//! Both ends come from this repository and agree on a version, so a kind or a field that does not fit is an error and
//! ends the link; nothing is skipped.

use std::net::{IpAddr, SocketAddr};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use nearport_wire::close::CloseCode;
use nearport_wire::{Kind, Lane, decode_varint, encode_varint};

use crate::{Down, Identity, SessionId, Topic, Up};

/// The versions that this code speaks, oldest and newest. Version 2 has [`Down::Share`], which a backend says to links of that version
/// only. Version 3 has `platform` in [`Up::Adopt`] and `lost_ms` in [`Up::Close`]: an edge says them to backends of that version only.
pub const VERSIONS: (u16, u16) = (1, 3);

/// The first version in which an edge hands on what is for several of its shards.
pub const SHARING_SINCE: u16 = 2;

/// The first version in which an edge says what platform an adopted session has, and which sessions were lost.
pub const LOST_SINCE: u16 = 3;

/// `lost_ms` of a session that was not lost.
const CLOSED: u32 = u32::MAX;

/// Length of a preamble.
pub const PREAMBLE_BYTES: usize = 12;

const MAGIC: [u8; 8] = *b"nptrunk\0";

/// Longest message. The largest body that a backend may answer with has 256 KiB; a welcome with what was missed and
/// its topics stays far below.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;

const OPEN: u8 = 0x01;
const FRAME: u8 = 0x02;
const ACK: u8 = 0x03;
const CLOSE: u8 = 0x04;
const ADOPT: u8 = 0x05;
const ACCEPT: u8 = 0x41;
const ADOPTED: u8 = 0x42;
const REJECT: u8 = 0x43;
const REPLY: u8 = 0x44;
const PUBLISH: u8 = 0x45;
const JOIN: u8 = 0x46;
const LEAVE: u8 = 0x47;
const KICK: u8 = 0x48;
const SHARE: u8 = 0x49;
const HEARTBEAT: u8 = 0x80;
const LOST: u8 = 0x81;
const FINISHED: u8 = 0x82;

/// Why bytes are not a link's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The other side does not begin as a trunk does.
    #[error("the other side does not speak the trunk protocol")]
    NotATrunk,
    /// No version in common.
    #[error("the other side speaks trunk versions {oldest} to {newest}, this one {} to {}", VERSIONS.0, VERSIONS.1)]
    Version {
        /// The other side's oldest.
        oldest: u16,
        /// The other side's newest.
        newest: u16,
    },
    /// A length above [`MESSAGE_BYTES_MAX`], or zero.
    #[error("a message of {0} bytes")]
    Length(usize),
    /// An unknown kind.
    #[error("unknown message kind {0:#04x}")]
    Kind(u8),
    /// Fields that are not what their kind says.
    #[error("malformed message of kind {0:#04x}")]
    Malformed(u8),
}

/// What a link carries.
#[derive(Debug, Clone)]
pub enum Message {
    /// Edge to backend.
    Up(Up),
    /// Backend to edge.
    Down(Down),
    /// Nothing to say, but alive.
    Heartbeat,
    /// Backend to edge: publishes were dropped because a queue was full.
    Lost,
    /// Edge to backend: nothing follows, see [`crate::Link::finish`]. A stream that ends without it was broken.
    Finished,
}

/// What this side sends first.
#[must_use]
pub fn preamble() -> [u8; PREAMBLE_BYTES] {
    preamble_of(VERSIONS)
}

fn preamble_of((oldest, newest): (u16, u16)) -> [u8; PREAMBLE_BYTES] {
    let mut out = [0; PREAMBLE_BYTES];
    out[..8].copy_from_slice(&MAGIC);
    out[8..10].copy_from_slice(&oldest.to_be_bytes());
    out[10..].copy_from_slice(&newest.to_be_bytes());
    out
}

/// The version to speak with the side that sent `theirs`: the newest in common.
///
/// # Errors
/// [`CodecError::NotATrunk`], [`CodecError::Version`].
pub fn agree(theirs: &[u8; PREAMBLE_BYTES]) -> Result<u16, CodecError> {
    let [.., a, b, c, d] = *theirs;
    let (oldest, newest) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    if theirs[..8] != MAGIC {
        return Err(CodecError::NotATrunk);
    }
    let common = newest.min(VERSIONS.1);
    if common < oldest || common < VERSIONS.0 {
        return Err(CodecError::Version { oldest, newest });
    }
    Ok(common)
}

/// Appends a message.
pub fn encode(message: &Message, out: &mut BytesMut) {
    match message {
        Message::Up(up) => encode_up(up, VERSIONS.1, out),
        Message::Down(down) => encode_down(down, out),
        Message::Heartbeat => framed(HEARTBEAT, out, |_| {}),
        Message::Lost => framed(LOST, out, |_| {}),
        Message::Finished => framed(FINISHED, out, |_| {}),
    }
}

/// Appends a message of an edge, as `version` has it.
pub fn encode_up(up: &Up, version: u16, out: &mut BytesMut) {
    match up {
        Up::Open { session, hello, peer, vouched } => framed(OPEN, out, |out| {
            out.put_u64(session.0);
            put_address(*peer, out);
            put_option(vouched.as_deref(), out, put_identity);
            out.put_slice(hello);
        }),
        Up::Frame { session, lane, kind, id, body } => framed(FRAME, out, |out| {
            out.put_u64(session.0);
            put_head(*lane, *kind, *id, out);
            out.put_slice(body);
        }),
        Up::Ack { session, position } => framed(ACK, out, |out| {
            out.put_u64(session.0);
            out.put_u64(*position);
        }),
        Up::Adopt { session, identity, platform } => framed(ADOPT, out, |out| {
            out.put_u64(session.0);
            put_identity(identity, out);
            if version >= LOST_SINCE {
                out.put_u8(*platform);
            }
        }),
        Up::Close { session, lost_ms } => framed(CLOSE, out, |out| {
            out.put_u64(session.0);
            if version >= LOST_SINCE {
                out.put_u32(lost_ms.map_or(CLOSED, |ms| ms.min(CLOSED - 1)));
            }
        }),
    }
}

/// Appends a message of a backend.
pub fn encode_down(down: &Down, out: &mut BytesMut) {
    match down {
        Down::Accept { session, welcome, topics, identity } => framed(ACCEPT, out, |out| {
            out.put_u64(session.0);
            put_option(identity.as_deref(), out, put_identity);
            put_topics(topics, out);
            out.put_slice(welcome);
        }),
        Down::Adopted { session, topics } => framed(ADOPTED, out, |out| {
            out.put_u64(session.0);
            put_topics(topics, out);
        }),
        Down::Reject { session, code, reason, retry_after_ms } => framed(REJECT, out, |out| {
            out.put_u32(*retry_after_ms);
            put_end(*session, *code, reason, out);
        }),
        Down::Kick { session, code, reason } => {
            framed(KICK, out, |out| put_end(*session, *code, reason, out));
        }
        Down::Reply { session, lane, kind, id, body } => framed(REPLY, out, |out| {
            out.put_u64(session.0);
            put_head(*lane, *kind, *id, out);
            out.put_slice(body);
        }),
        Down::Publish { topic, lane, kind, id, body, except } => framed(PUBLISH, out, |out| {
            put_bytes(&topic.0, out);
            put_head(*lane, *kind, *id, out);
            put_option(except.as_ref(), out, |session, out| out.put_u64(session.0));
            out.put_slice(body);
        }),
        Down::Share { shards, topic, lane, kind, id, body } => framed(SHARE, out, |out| {
            out.put_u32(*shards);
            put_bytes(&topic.0, out);
            put_head(*lane, *kind, *id, out);
            out.put_slice(body);
        }),
        Down::Join { session, topic } => framed(JOIN, out, |out| {
            out.put_u64(session.0);
            out.put_slice(&topic.0);
        }),
        Down::Leave { session, topic } => framed(LEAVE, out, |out| {
            out.put_u64(session.0);
            out.put_slice(&topic.0);
        }),
    }
}

/// Length and kind, then what `fields` writes.
fn framed(kind: u8, out: &mut BytesMut, fields: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_u32(0);
    out.put_u8(kind);
    fields(out);
    let length = u32::try_from(out.len() - start - 4).expect("bodies have bounds far below 4 GiB");
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

fn put_head(lane: Lane, kind: Kind, id: u64, out: &mut BytesMut) {
    out.put_u8(lane as u8);
    out.put_u8(kind.0);
    out.put_u64(id);
}

fn put_end(session: SessionId, code: CloseCode, reason: &str, out: &mut BytesMut) {
    out.put_u64(session.0);
    out.put_u32(code.0);
    out.put_slice(reason.as_bytes());
}

fn put_bytes(bytes: &[u8], out: &mut BytesMut) {
    encode_varint(bytes.len() as u64, out);
    out.put_slice(bytes);
}

fn put_option<T: ?Sized>(value: Option<&T>, out: &mut BytesMut, put: impl FnOnce(&T, &mut BytesMut)) {
    out.put_u8(u8::from(value.is_some()));
    if let Some(value) = value {
        put(value, out);
    }
}

fn put_topics(topics: &[Topic], out: &mut BytesMut) {
    encode_varint(topics.len() as u64, out);
    topics.iter().for_each(|topic| put_bytes(&topic.0, out));
}

fn put_address(address: SocketAddr, out: &mut BytesMut) {
    match address.ip() {
        IpAddr::V4(ip) => {
            out.put_u8(4);
            out.put_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out.put_u8(6);
            out.put_slice(&ip.octets());
        }
    }
    out.put_u16(address.port());
}

pub(crate) fn put_identity(identity: &Identity, out: &mut BytesMut) {
    out.put_u32(identity.app);
    put_bytes(identity.user.as_bytes(), out);
    put_bytes(identity.device.as_bytes(), out);
    out.put_u64(identity.issued_s);
    out.put_u64(identity.expires_s);
}

pub(crate) fn read_identity(packed: &[u8]) -> Option<Identity> {
    let mut fields = Fields(Bytes::copy_from_slice(packed));
    fields.identity().filter(|_| fields.0.is_empty())
}

/// Splits a byte stream into messages.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
}

impl Decoder {
    /// Where the next bytes of the stream go, behind those that are there. Bodies are slices of it, not copies.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next message, or `None` if more bytes are needed.
    ///
    /// # Errors
    /// [`CodecError`]; the stream cannot be read on.
    pub fn next_message(&mut self) -> Result<Option<Message>, CodecError> {
        let Some(length) = self.buffer.first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(*length) as usize;
        if length == 0 || length > MESSAGE_BYTES_MAX {
            return Err(CodecError::Length(length));
        }
        if self.buffer.len() < 4 + length {
            return Ok(None);
        }
        self.buffer.advance(4);
        let mut fields = Fields(self.buffer.split_to(length).freeze());
        let kind = fields.0.get_u8();
        if !matches!(kind, OPEN..=ADOPT | ACCEPT..=SHARE | HEARTBEAT..=FINISHED) {
            return Err(CodecError::Kind(kind));
        }
        let message = fields.message(kind).filter(|_| fields.0.is_empty());
        message.map(Some).ok_or(CodecError::Malformed(kind))
    }
}

/// The fields of one message; every reader gives `None` at a field that is cut off or out of range.
struct Fields(Bytes);

impl Fields {
    fn message(&mut self, kind: u8) -> Option<Message> {
        Some(match kind {
            OPEN => {
                let (session, peer) = (self.session()?, self.address()?);
                let vouched = self.option(Self::identity)?.map(Box::new);
                Message::Up(Up::Open { session, hello: self.rest(), peer, vouched })
            }
            FRAME => {
                let session = self.session()?;
                let (lane, kind, id) = self.head()?;
                Message::Up(Up::Frame { session, lane, kind, id, body: self.rest() })
            }
            ACK => Message::Up(Up::Ack { session: self.session()?, position: self.u64()? }),
            CLOSE => {
                let session = self.session()?;
                // Of an older edge, which does not tell.
                let lost_ms = if self.0.is_empty() { CLOSED } else { self.u32()? };
                Message::Up(Up::Close { session, lost_ms: (lost_ms != CLOSED).then_some(lost_ms) })
            }
            ADOPT => {
                let (session, identity) = (self.session()?, Box::new(self.identity()?));
                let platform = if self.0.is_empty() { 0 } else { self.u8()? };
                Message::Up(Up::Adopt { session, identity, platform })
            }
            ACCEPT => {
                let session = self.session()?;
                let identity = self.option(Self::identity)?.map(Box::new);
                let topics = self.topics()?;
                Message::Down(Down::Accept { session, welcome: self.rest(), topics, identity })
            }
            ADOPTED => Message::Down(Down::Adopted { session: self.session()?, topics: self.topics()? }),
            REJECT => {
                let retry_after_ms = self.u32()?;
                let (session, code, reason) = self.end()?;
                Message::Down(Down::Reject { session, code, reason, retry_after_ms })
            }
            KICK => {
                let (session, code, reason) = self.end()?;
                Message::Down(Down::Kick { session, code, reason })
            }
            REPLY => {
                let session = self.session()?;
                let (lane, kind, id) = self.head()?;
                Message::Down(Down::Reply { session, lane, kind, id, body: self.rest() })
            }
            PUBLISH => {
                let topic = Topic::from(&self.bytes()?[..]);
                let (lane, kind, id) = self.head()?;
                let except = self.option(Self::session)?;
                Message::Down(Down::Publish { topic, lane, kind, id, body: self.rest(), except })
            }
            SHARE => {
                let (shards, topic) = (self.u32()?, Topic::from(&self.bytes()?[..]));
                let (lane, kind, id) = self.head()?;
                Message::Down(Down::Share { shards, topic, lane, kind, id, body: self.rest() })
            }
            JOIN => {
                let session = self.session()?;
                Message::Down(Down::Join { session, topic: Topic::from(&self.rest()[..]) })
            }
            LEAVE => {
                let session = self.session()?;
                Message::Down(Down::Leave { session, topic: Topic::from(&self.rest()[..]) })
            }
            HEARTBEAT => Message::Heartbeat,
            LOST => Message::Lost,
            FINISHED => Message::Finished,
            _ => return None,
        })
    }

    fn rest(&mut self) -> Bytes {
        std::mem::take(&mut self.0)
    }

    fn take(&mut self, count: usize) -> Option<Bytes> {
        (count <= self.0.len()).then(|| self.0.split_to(count))
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let bytes = *self.0.first_chunk::<N>()?;
        self.0.advance(N);
        Some(bytes)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn varint(&mut self) -> Option<usize> {
        let (value, len) = decode_varint(&self.0)?;
        self.0.advance(len);
        usize::try_from(value).ok()
    }

    fn bytes(&mut self) -> Option<Bytes> {
        let count = self.varint()?;
        self.take(count)
    }

    fn text(&mut self) -> Option<String> {
        std::str::from_utf8(&self.bytes()?).map(str::to_owned).ok()
    }

    fn session(&mut self) -> Option<SessionId> {
        self.u64().map(SessionId)
    }

    fn head(&mut self) -> Option<(Lane, Kind, u64)> {
        Some((Lane::from_u8(self.u8()?)?, Kind(self.u8()?), self.u64()?))
    }

    fn end(&mut self) -> Option<(SessionId, CloseCode, String)> {
        let (session, code) = (self.session()?, CloseCode(self.u32()?));
        let reason = std::str::from_utf8(&self.rest()).ok()?.to_owned();
        Some((session, code, reason))
    }

    fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        match self.u8()? {
            0 => Some(None),
            1 => read(self).map(Some),
            _ => None,
        }
    }

    /// Each topic takes a byte at least, so the message's length bounds their number.
    fn topics(&mut self) -> Option<Vec<Topic>> {
        let count = self.varint()?;
        let mut topics = Vec::with_capacity(count.min(self.0.len()).min(64));
        for _ in 0..count {
            topics.push(Topic::from(&self.bytes()?[..]));
        }
        Some(topics)
    }

    fn address(&mut self) -> Option<SocketAddr> {
        let ip = match self.u8()? {
            4 => IpAddr::from(self.array::<4>()?),
            6 => IpAddr::from(self.array::<16>()?),
            _ => return None,
        };
        Some(SocketAddr::new(ip, self.array().map(u16::from_be_bytes)?))
    }

    fn identity(&mut self) -> Option<Identity> {
        let (app, user, device) = (self.u32()?, self.text()?, self.text()?);
        Some(Identity { app, user, device, issued_s: self.u64()?, expires_s: self.u64()? })
    }
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
