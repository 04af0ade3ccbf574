//! Frames: the unit on a lane, the same on every transport.
//!
//! ```text
//! length: varint | lane: u8 | kind: u8 | id: varint | body: length bytes
//! ```
//!
//! `length` counts the body only, so a frame with an empty body and a small id takes four bytes.

use bytes::{Buf, Bytes, BytesMut};

use crate::varint;

/// An ordered channel of a session. On QUIC a lane may have a stream of its own; the byte is there everywhere so
/// that one stream can carry them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Lane {
    /// Session frames.
    Control = 0,
    /// Messages and their replies.
    Chat = 1,
    /// History and sync pages.
    Bulk = 2,
    /// Live-room traffic, which may be thinned.
    Live = 3,
}

impl Lane {
    /// The lane with this number.
    #[must_use]
    pub fn from_u8(value: u8) -> Option<Self> {
        Some(match value {
            0 => Self::Control,
            1 => Self::Chat,
            2 => Self::Bulk,
            3 => Self::Live,
            _ => return None,
        })
    }
}

/// What a frame is. The range says who reads it, so that an edge forwards requests that are younger than itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kind(pub u8);

impl Kind {
    /// Client's first frame; body `Hello`.
    pub const HELLO: Self = Self(0x01);
    /// Server's answer; body `Welcome`.
    pub const WELCOME: Self = Self(0x02);
    /// Either side; empty body; answered by a PONG with the same id.
    pub const PING: Self = Self(0x03);
    /// Answer to a PING.
    pub const PONG: Self = Self(0x04);
    /// Client: everything up to position `id` of the user log is shown. Empty body.
    pub const ACK: Self = Self(0x05);
    /// Server: leave soon; body `GoAway`.
    pub const GO_AWAY: Self = Self(0x06);
    /// Either side: last frame; body `Close`.
    pub const CLOSE: Self = Self(0x07);
    /// Server: pushes were dropped, sync from your cursor. Empty body; `id` 0.
    pub const BEHIND: Self = Self(0x08);
    /// Client, in a datagram only: a copy of a request on the chat lane; `id` is that of the chat request before it,
    /// body the encoded request frame.
    pub const HEDGE: Self = Self(0x09);
    /// Server: request `id` succeeded; the body depends on the request.
    pub const REPLY: Self = Self(0x10);
    /// Server: request `id` failed; body `Error`.
    pub const ERROR: Self = Self(0x11);
    /// Server: position `id` of the user log, or 0 for an online-only message; body `Delivery`.
    pub const PUSH: Self = Self(0x12);
    /// Server: a read cursor moved; body `ReadEvent`; `id` 0.
    pub const READ_EVENT: Self = Self(0x13);
    /// Server: `id` pushes of the live lane were left out since the last such frame, for want of speed. Empty body.
    pub const FOLDED: Self = Self(0x14);
    /// Server: `id` milliseconds are the new `Welcome.return_window_ms`. Empty body.
    pub const RETURN_WINDOW: Self = Self(0x15);
    /// Server: `id` 1: the backend is away and requests will be refused; 0: it is back. Empty body.
    pub const AWAY: Self = Self(0x16);
    /// Server: something that a client may want to know, and finds by asking if it misses it; body `Event`; `id` 0.
    pub const EVENT: Self = Self(0x17);
    /// Server: message `id` of a group's conversation; body `Delivery`.
    pub const GROUP_PUSH: Self = Self(0x18);
    /// Server, on the live lane: something in a live room; `id` is its [`crate::Class`] (0 system, 1 gift, 2 chat, 3 like); body `LiveFrame`.
    pub const LIVE: Self = Self(0x19);
    /// Request: body `Send`, reply `Sent`.
    pub const SEND: Self = Self(0x20);
    /// Request: body `Sync`, reply `SyncPage`.
    pub const SYNC: Self = Self(0x21);
    /// Request: body `History`, reply `HistoryPage`.
    pub const HISTORY: Self = Self(0x22);
    /// Request: body `MarkRead`, reply `Empty`.
    pub const MARK_READ: Self = Self(0x23);
    /// Request: empty body; the reply comes when every ACK sent before is on disk.
    pub const FLUSH: Self = Self(0x24);
    /// Request: changes what is stored of messages (recall, edit, receipts …); body `Amend`, reply `Amended`.
    pub const AMEND: Self = Self(0x25);
    /// Request: groups; body `GroupCall`, reply `GroupAnswer`.
    pub const GROUP: Self = Self(0x26);
    /// Request: profiles, relations, presence, the list of conversations; body `PeopleCall`, reply `PeopleAnswer`.
    pub const PEOPLE: Self = Self(0x27);
    /// Request: files; body `MediaCall`, reply `MediaAnswer`.
    pub const MEDIA: Self = Self(0x28);
    /// Request: who has read what needs receipts; body `Readers`, reply `ReaderPage`.
    pub const READERS: Self = Self(0x29);
    /// Request of the `echo` backend: the reply has the request's body.
    pub const ECHO: Self = Self(0x70);
    /// Request of the `echo` backend: every session gets the body as a PUSH with id 0.
    pub const BROADCAST: Self = Self(0x71);

    /// Requests are forwarded to the backend undecoded and answered by REPLY or ERROR with the same id.
    #[must_use]
    pub fn is_request(self) -> bool {
        (0x20..0x80).contains(&self.0)
    }

    /// Pushes come from the backend without being asked for.
    #[must_use]
    pub fn is_push(self) -> bool {
        (0x12..0x20).contains(&self.0)
    }
}

/// A frame. `id` is the request id of requests, replies and errors, the user log position of PUSH and ACK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Which lane it belongs to.
    pub lane: Lane,
    /// What it is.
    pub kind: Kind,
    /// Request id or position, at most 2^62 - 1.
    pub id: u64,
    /// Undecoded body.
    pub body: Bytes,
}

impl Frame {
    /// A frame from its parts.
    #[must_use]
    pub fn new(lane: Lane, kind: Kind, id: u64, body: Bytes) -> Self {
        Self { lane, kind, id, body }
    }

    /// The frame as bytes of its own.
    ///
    /// # Panics
    /// If `id` exceeds 2^62 - 1.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(HEADER_BYTES_MAX + self.body.len());
        encode_into(self.lane, self.kind, self.id, &self.body, &mut out);
        out.freeze()
    }
}

/// Appends a frame to `out`.
///
/// # Panics
/// If `id` exceeds 2^62 - 1.
pub fn encode_into(lane: Lane, kind: Kind, id: u64, body: &[u8], out: &mut BytesMut) {
    out.reserve(HEADER_BYTES_MAX + body.len());
    varint::encode(body.len() as u64, out);
    out.extend_from_slice(&[lane as u8, kind.0]);
    varint::encode(id, out);
    out.extend_from_slice(body);
}

/// Longest header: two 8-byte varints, lane and kind.
const HEADER_BYTES_MAX: usize = 18;

/// Bounds that a reader checks before it allocates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest body. 16 KiB holds the largest message (12 KiB) with room for ids; a reader of pages uses
    /// [`Limits::client`].
    pub body_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body_bytes_max: 16 * 1024 }
    }
}

impl Limits {
    /// What a client reads: pages of up to 256 KiB.
    #[must_use]
    pub fn client() -> Self {
        Self { body_bytes_max: 256 * 1024 }
    }
}

/// Bytes that are not a frame. The session ends: a byte stream has no way back to a frame border.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length field exceeds the limit.
    #[error("frame body of {length} bytes exceeds the limit of {limit}")]
    TooLong {
        /// What the header announced.
        length: u64,
        /// [`Limits::body_bytes_max`].
        limit: usize,
    },
    /// Lane numbers are 0 to 3.
    #[error("unknown lane {0}")]
    Lane(u8),
}

/// Cuts a byte stream into frames.
///
/// A frame that arrives in one chunk is a slice of that chunk; only a frame that is split is copied. The buffer
/// never holds more than one incomplete frame and the rest of the last chunk.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    /// Front of an incomplete frame. Empty most of the time: then it owns no memory.
    partial: BytesMut,
    chunk: Bytes,
}

struct Header {
    lane: Lane,
    kind: Kind,
    id: u64,
    header_len: usize,
    body_len: usize,
}

impl Decoder {
    /// A decoder at a frame border.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, partial: BytesMut::new(), chunk: Bytes::new() }
    }

    /// Adds the next bytes of the stream. Call [`Self::next_frame`] until it gives `None` before the next chunk.
    pub fn feed(&mut self, chunk: Bytes) {
        if self.chunk.is_empty() {
            self.chunk = chunk;
        } else {
            // Only a caller that did not drain comes here; correct all the same.
            let rest = std::mem::replace(&mut self.chunk, chunk);
            self.chunk = [&rest[..], &self.chunk[..]].concat().into();
        }
    }

    /// The next complete frame, or `None` if more bytes are needed.
    ///
    /// # Errors
    /// [`FrameError`] as soon as the header shows it, whatever is still missing.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        if self.partial.is_empty() {
            if self.chunk.is_empty() {
                return Ok(None);
            }
            let Some(header) = self.header(&self.chunk)? else {
                self.keep_rest();
                return Ok(None);
            };
            if self.chunk.len() < header.header_len + header.body_len {
                self.keep_rest();
                return Ok(None);
            }
            self.chunk.advance(header.header_len);
            let body = self.chunk.split_to(header.body_len);
            return Ok(Some(Frame { lane: header.lane, kind: header.kind, id: header.id, body }));
        }
        self.next_split_frame()
    }

    /// Whether the stream stands inside a frame: the peer owes us the rest of it.
    #[must_use]
    pub fn is_mid_frame(&self) -> bool {
        !self.partial.is_empty()
    }

    fn next_split_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        loop {
            let header = self.header(&self.partial)?;
            let want = header.as_ref().map_or(self.partial.len() + 1, |h| h.header_len + h.body_len);
            if let (Some(header), true) = (header, self.partial.len() >= want) {
                let mut frame = std::mem::take(&mut self.partial).freeze();
                frame.advance(header.header_len);
                return Ok(Some(Frame { lane: header.lane, kind: header.kind, id: header.id, body: frame }));
            }
            let take = (want - self.partial.len()).min(self.chunk.len());
            if take == 0 {
                return Ok(None);
            }
            let part = self.chunk.split_to(take);
            self.partial.extend_from_slice(&part);
        }
    }

    fn keep_rest(&mut self) {
        self.partial.extend_from_slice(&self.chunk);
        self.chunk = Bytes::new();
    }

    fn header(&self, bytes: &[u8]) -> Result<Option<Header>, FrameError> {
        let Some((length, at)) = varint::decode(bytes) else { return Ok(None) };
        let limit = self.limits.body_bytes_max;
        let body_len = usize::try_from(length).ok().filter(|len| *len <= limit);
        let Some(body_len) = body_len else { return Err(FrameError::TooLong { length, limit }) };
        let Some(lane) = bytes.get(at) else { return Ok(None) };
        let lane = Lane::from_u8(*lane).ok_or(FrameError::Lane(*lane))?;
        let Some(kind) = bytes.get(at + 1) else { return Ok(None) };
        let Some((id, id_len)) = varint::decode(&bytes[at + 2..]) else { return Ok(None) };
        Ok(Some(Header { lane, kind: Kind(*kind), id, header_len: at + 2 + id_len, body_len }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frames() -> impl Strategy<Value = Vec<Frame>> {
        let frame =
            (0u8..4, any::<u8>(), 0..=varint::VARINT_MAX, proptest::collection::vec(any::<u8>(), 0..300));
        let frame = frame.prop_map(|(lane, kind, id, body)| {
            Frame::new(Lane::from_u8(lane).unwrap(), Kind(kind), id, body.into())
        });
        proptest::collection::vec(frame, 0..8)
    }

    fn drain(decoder: &mut Decoder, out: &mut Vec<Frame>) {
        while let Some(frame) = decoder.next_frame().unwrap() {
            out.push(frame);
        }
    }

    proptest! {
        #[test]
        fn any_cut_of_the_stream_gives_the_same_frames(
            sent in frames(),
            cuts in proptest::collection::vec(1usize..40, 1..30),
        ) {
            let stream: Vec<u8> = sent.iter().flat_map(|f| f.encode().to_vec()).collect();
            let (mut decoder, mut got, mut at) = (Decoder::new(Limits::default()), Vec::new(), 0);
            for cut in cuts.iter().cycle() {
                if at == stream.len() { break; }
                let end = (at + cut).min(stream.len());
                decoder.feed(Bytes::copy_from_slice(&stream[at..end]));
                drain(&mut decoder, &mut got);
                at = end;
            }
            prop_assert_eq!(got, sent);
            prop_assert!(!decoder.is_mid_frame());
        }

        #[test]
        fn noise_never_panics_and_never_buffers_past_the_limit(noise in proptest::collection::vec(any::<u8>(), 0..600)) {
            let mut decoder = Decoder::new(Limits { body_bytes_max: 64 });
            for chunk in noise.chunks(7) {
                decoder.feed(Bytes::copy_from_slice(chunk));
                loop {
                    match decoder.next_frame() {
                        Ok(Some(frame)) => prop_assert!(frame.body.len() <= 64),
                        Ok(None) => break,
                        Err(_) => return Ok(()),
                    }
                }
                prop_assert!(decoder.partial.len() <= 64 + HEADER_BYTES_MAX);
            }
        }
    }

    #[test]
    fn the_length_is_refused_before_the_body_arrives() {
        let mut decoder = Decoder::new(Limits { body_bytes_max: 100 });
        let mut header = BytesMut::new();
        varint::encode(101, &mut header);
        decoder.feed(header.freeze());
        assert_eq!(decoder.next_frame(), Err(FrameError::TooLong { length: 101, limit: 100 }));
    }
}
