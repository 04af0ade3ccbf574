//! The wire: frames, bodies, close codes and error codes of protocol `np/1`.
//!
//! Only this crate knows the byte layout; `docs/protocol.md` is its normative text and the hex vectors there are
//! replayed by this crate's tests. It does no I/O, keeps no state and reads no clock, so the edge, the SDK, the
//! simulator and the fuzzers share it.
//!
//! ```
//! use nearport_wire::{Decoder, Frame, Kind, Lane, Limits};
//!
//! let ping = Frame::new(Lane::Control, Kind::PING, 7, bytes::Bytes::new());
//! let mut decoder = Decoder::new(Limits::default());
//! decoder.feed(ping.encode());
//! assert_eq!(decoder.next_frame()?, Some(ping));
//! assert_eq!(decoder.next_frame()?, None); // needs more bytes
//! # Ok::<(), nearport_wire::FrameError>(())
//! ```

pub mod body;
pub mod close;
pub mod code;
mod content;
mod frame;
mod live;
pub mod probe;
mod varint;

pub use content::{
    CONTENT_BYTES_MAX, ContentError, LIFE_TIME_MAX_S, MENTIONS_MAX, check_content, check_mentions,
};
pub use frame::{Decoder, Frame, FrameError, Kind, Lane, Limits, encode_into};
pub use live::Class;
pub use varint::{VARINT_MAX, decode as decode_varint, encode as encode_varint};

/// Application protocol of QUIC and TLS connections (RFC 7301).
pub const ALPN: &[u8] = b"np/1";
