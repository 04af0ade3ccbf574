//! The messages of the load generator, and how they travel.
//!
//! A payload is 200 bytes, whatever the server: `broadcast: u8 (0xFF or 0) | stamp: u64 big endian | zeros`. The stamp
//! is the intended send time in nanoseconds since the start of the generator's clock; it comes back with the echo,
//! so no side needs a table of what is under way.

use std::fmt;

use anyhow::{Context as _, Result, bail};
use bytes::{Buf as _, Bytes, BytesMut};

/// Bytes of a payload.
pub(crate) const PAYLOAD: usize = PAYLOAD_U16 as usize;
const PAYLOAD_U16: u16 = 200;

/// First byte of a payload that peers A and B send to all their connections.
pub(crate) const BROADCAST: u8 = 0xFF;

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Send it back to me.
    Echo,
    /// Send it once to every connection of the server, me included.
    Broadcast,
    /// The same, as a message of a live room with all connections in it. To A and B it is a broadcast.
    Live,
}

/// One complete unit from the server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// The answer to [`Codec::hello`].
    Welcome,
    /// An echo or a broadcast.
    Payload(Bytes),
    /// Something that the load does not wait for.
    Other,
}

/// How one server's messages look on its one long-lived bidirectional stream.
pub(crate) trait Codec: fmt::Debug + Send + Sync + 'static {
    /// Appends what connection `link` says first and returns true, if the server must welcome it before it may ask.
    fn hello(&self, link: usize, out: &mut BytesMut) -> bool;

    /// Appends one request. `id` counts up from 1 on each connection.
    fn request(&self, request: Request, id: u64, payload: &[u8; PAYLOAD], out: &mut BytesMut);

    /// A decoder for one connection.
    fn decoder(&self) -> Box<dyn Decode>;
}

/// Cuts what one connection receives into units.
pub(crate) trait Decode: fmt::Debug + Send {
    /// Takes what the stream delivered. Call [`Self::next_unit`] until `None` before the next chunk.
    fn feed(&mut self, chunk: Bytes);

    /// The next complete unit.
    ///
    /// # Errors
    /// The server refused something or does not speak this codec.
    fn next_unit(&mut self) -> Result<Option<Unit>>;
}

/// Codec of A and B: `length: u16 big endian | payload`.
#[derive(Debug)]
pub(crate) struct Plain;

impl Codec for Plain {
    fn hello(&self, _link: usize, _out: &mut BytesMut) -> bool {
        false
    }

    fn request(&self, _request: Request, _id: u64, payload: &[u8; PAYLOAD], out: &mut BytesMut) {
        out.extend_from_slice(&PAYLOAD_U16.to_be_bytes());
        out.extend_from_slice(payload);
    }

    fn decoder(&self) -> Box<dyn Decode> {
        Box::new(PlainDecoder::default())
    }
}

#[derive(Debug, Default)]
struct PlainDecoder {
    bytes: BytesMut,
}

impl Decode for PlainDecoder {
    fn feed(&mut self, chunk: Bytes) {
        self.bytes.extend_from_slice(&chunk);
    }

    fn next_unit(&mut self) -> Result<Option<Unit>> {
        let Some(payload) = first_plain(&self.bytes) else { return Ok(None) };
        let length = payload.len();
        self.bytes.advance(2);
        Ok(Some(Unit::Payload(self.bytes.split_to(length).freeze())))
    }
}

/// The payload at the front of `input`, `None` while it is incomplete.
pub(crate) fn first_plain(input: &[u8]) -> Option<&[u8]> {
    let (length, rest) = input.split_first_chunk()?;
    rest.get(..usize::from(u16::from_be_bytes(*length)))
}

/// Receive side of peers A and B: cuts a byte stream into runs of complete messages.
#[derive(Debug, Default)]
pub(crate) struct Deframer {
    rest: Vec<u8>,
}

impl Deframer {
    /// Takes what the stream delivered; returns everything complete so far, length prefixes included.
    pub(crate) fn push(&mut self, chunk: &[u8]) -> Vec<u8> {
        self.rest.extend_from_slice(chunk);
        let mut complete = 0;
        while let Some(payload) = first_plain(&self.rest[complete..]) {
            complete += 2 + payload.len();
        }
        let rest = self.rest.split_off(complete);
        std::mem::replace(&mut self.rest, rest)
    }
}

/// The messages of a run that [`Deframer::push`] returned, each with its length prefix, and whether it asks for a
/// broadcast.
pub(crate) fn messages(run: &[u8]) -> impl Iterator<Item = (&[u8], bool)> {
    let mut rest = run;
    std::iter::from_fn(move || {
        let payload = first_plain(rest)?;
        let (message, tail) = rest.split_at(2 + payload.len());
        rest = tail;
        Some((message, payload.first() == Some(&BROADCAST)))
    })
}

/// A payload that asks for `request` and carries `stamp_ns`.
pub(crate) fn payload(request: Request, stamp_ns: u64) -> [u8; PAYLOAD] {
    let mut payload = [0; PAYLOAD];
    payload[0] = if request == Request::Echo { 0 } else { BROADCAST };
    payload[1..9].copy_from_slice(&stamp_ns.to_be_bytes());
    payload
}

/// The stamp of a payload that came back.
///
/// # Errors
/// The payload does not have the length that was sent.
pub(crate) fn stamp_ns(payload: &[u8]) -> Result<u64> {
    if payload.len() != PAYLOAD {
        bail!("{PAYLOAD} bytes were sent, {} came back", payload.len());
    }
    let stamp = payload[1..].first_chunk().context("payload without a stamp")?;
    Ok(u64::from_be_bytes(*stamp))
}
