//! HTTP/3 as far as WebTransport needs it: what the streams of a client say, as machines that take bytes.
//!
//! RFC 9114 (HTTP/3), RFC 9204 (QPACK, without its dynamic table), RFC 9220 (extended CONNECT), RFC 9297 (capsules and
//! datagrams), draft-ietf-webtrans-http3. What is unknown is skipped, as these ask for.

use bytes::{Buf, Bytes, BytesMut};
use web_transport_proto::{
    Capsule, CapsuleError, ConnectError, ConnectRequest, ConnectResponse, Frame, Setting, Settings,
    SettingsError, StreamUni, VarInt,
};

/// The path of our WebTransport sessions.
const PATH: &str = "/np";

/// Bytes of a request's header, or of SETTINGS with what is in front, that are kept. Browsers send under 500.
const HEADERS_BYTES_MAX: usize = 8 * 1024;

/// Bytes of a capsule that are kept: the longest of use closes the session with a reason of 1,024 bytes.
const CAPSULE_BYTES_MAX: usize = 2 * 1024;

/// What breaks the whole connection: an HTTP/3 error code and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Error {
    pub(super) code: u32,
    pub(super) reason: &'static str,
}

/// Error codes of RFC 9114 §8.1, RFC 9204 §6 and RFC 9297 §5.2.
pub(super) mod code {
    pub(crate) const NO_ERROR: u32 = 0x100;
    pub(crate) const STREAM_CREATION_ERROR: u32 = 0x103;
    pub(crate) const CLOSED_CRITICAL_STREAM: u32 = 0x104;
    pub(crate) const FRAME_UNEXPECTED: u32 = 0x105;
    pub(crate) const EXCESSIVE_LOAD: u32 = 0x107;
    pub(crate) const ID_ERROR: u32 = 0x108;
    pub(crate) const SETTINGS_ERROR: u32 = 0x109;
    pub(crate) const MISSING_SETTINGS: u32 = 0x10a;
    pub(crate) const REQUEST_REJECTED: u32 = 0x10b;
    pub(crate) const QPACK_DECOMPRESSION_FAILED: u32 = 0x200;
    pub(crate) const DATAGRAM_ERROR: u32 = 0x33;
}

fn error<T>(code: u32, reason: &'static str) -> Result<T, Error> {
    Err(Error { code, reason })
}

/// What the server says on its control stream: one WebTransport session, datagrams.
pub(super) fn settings() -> Vec<u8> {
    let mut settings = Settings::default();
    settings.enable_webtransport(1);
    let mut bytes = Vec::new();
    settings.encode(&mut bytes);
    bytes
}

/// An answer to a request.
pub(super) fn response(status: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    let status = http_status(status);
    // Fails for a sub-protocol that is no header value, and there is none.
    let _ = ConnectResponse::new(status).encode(&mut bytes);
    bytes
}

fn http_status(status: u16) -> web_transport_proto::http::StatusCode {
    web_transport_proto::http::StatusCode::from_u16(status).expect("a constant of ours")
}

/// The end of a session, as a DATA frame for the stream of its CONNECT. `reason` is cut to what the draft allows.
pub(super) fn close_session(code: u32, reason: &str) -> Vec<u8> {
    let end = reason.floor_char_boundary(reason.len().min(1024));
    let mut capsule = Vec::new();
    Capsule::CloseWebTransportSession { code, reason: reason[..end].to_owned() }.encode(&mut capsule);
    let mut bytes = Vec::new();
    Frame::DATA.encode(&mut bytes);
    VarInt::from_u32(u32::try_from(capsule.len()).expect("1 KiB")).encode(&mut bytes);
    bytes.extend_from_slice(&capsule);
    bytes
}

/// A datagram of a session, RFC 9297 §2.1: a quarter of the session's id, then the payload.
pub(super) fn datagram(session: u64, payload: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(VarInt::MAX_SIZE + payload.len());
    nearport_wire::encode_varint(session / 4, &mut bytes);
    bytes.extend_from_slice(payload);
    bytes.freeze()
}

/// The session and the payload of a datagram.
///
/// # Errors
/// DATAGRAM_ERROR without a session's number.
pub(super) fn read_datagram(mut bytes: Bytes) -> Result<(u64, Bytes), Error> {
    match nearport_wire::decode_varint(&bytes) {
        Some((quarter, len)) if quarter < 1 << 60 => {
            bytes.advance(len);
            Ok((quarter * 4, bytes))
        }
        _ => error(code::DATAGRAM_ERROR, "a datagram without a session"),
    }
}

/// A stream of the client in one direction.
#[derive(Debug)]
pub(super) enum Uni {
    /// Its type, and of a control stream the SETTINGS, are not complete.
    Start(BytesMut),
    /// The rest of the client's control stream, or a QPACK stream: nothing in them matters to us, but they must stay open.
    Critical,
}

/// What a stream in one direction turned out to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UniSays {
    /// Nothing, or nothing yet.
    Nothing,
    /// The client's settings.
    Settings {
        /// It takes HTTP datagrams.
        datagrams: bool,
    },
    /// A stream of no use: stop reading it.
    Useless,
    /// A WebTransport stream in one direction, which a session of ours has no use for.
    WebTransport,
}

impl Uni {
    pub(super) fn new() -> Self {
        Self::Start(BytesMut::new())
    }

    /// Takes bytes.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<UniSays, Error> {
        let Self::Start(buffer) = self else { return Ok(UniSays::Nothing) };
        buffer.extend_from_slice(bytes);
        let Ok(kind) = StreamUni::decode(&mut &buffer[..]) else { return Ok(UniSays::Nothing) };
        match kind {
            StreamUni::CONTROL => {}
            StreamUni::QPACK_ENCODER | StreamUni::QPACK_DECODER => {
                *self = Self::Critical;
                return Ok(UniSays::Nothing);
            }
            StreamUni::WEBTRANSPORT => return Ok(UniSays::WebTransport),
            StreamUni::PUSH => return error(code::STREAM_CREATION_ERROR, "a client does not push"),
            _ => return Ok(UniSays::Useless),
        }
        match Settings::decode(&mut &buffer[..]) {
            Ok(settings) => {
                *self = Self::Critical;
                let is_on = |setting| settings.get(&setting).is_some_and(|on| on.into_inner() == 1);
                let datagrams = is_on(Setting::ENABLE_DATAGRAM) || is_on(Setting::ENABLE_DATAGRAM_DEPRECATED);
                Ok(UniSays::Settings { datagrams })
            }
            Err(SettingsError::UnexpectedEnd) if buffer.len() <= HEADERS_BYTES_MAX => Ok(UniSays::Nothing),
            Err(SettingsError::UnexpectedEnd | SettingsError::FrameTooLarge) => {
                error(code::EXCESSIVE_LOAD, "settings too long")
            }
            Err(SettingsError::UnexpectedFrame(_)) => {
                error(code::MISSING_SETTINGS, "a control stream begins with settings")
            }
            Err(_) => error(code::SETTINGS_ERROR, "settings that cannot be read"),
        }
    }
}

/// A stream of the client in both directions, until it is known what for.
#[derive(Debug, Default)]
pub(super) struct Bidi(BytesMut);

/// What a stream in both directions is for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BidiIs {
    /// A stream of this session; the rest belongs to it.
    WebTransport {
        /// The stream id of the session's CONNECT.
        session: u64,
        rest: Bytes,
    },
    /// The CONNECT of a session of ours; the rest are frames behind it.
    Connect { rest: Bytes },
    /// Any other request, and the status to answer with.
    Refused(u16),
}

impl Bidi {
    /// Takes bytes; `None` if more are needed.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<Option<BidiIs>, Error> {
        self.0.extend_from_slice(bytes);
        let mut rest = &self.0[..];
        match Frame::decode(&mut rest) {
            Err(_) => return Ok(None),
            Ok(Frame::WEBTRANSPORT) => {
                let Ok(session) = VarInt::decode(&mut rest) else { return Ok(None) };
                let rest = Bytes::copy_from_slice(rest);
                return Ok(Some(BidiIs::WebTransport { session: session.into_inner(), rest }));
            }
            Ok(_) => {}
        }
        let mut rest = &self.0[..];
        let refused = match ConnectRequest::decode(&mut rest) {
            Ok(request) if request.url.path() == PATH => {
                return Ok(Some(BidiIs::Connect { rest: Bytes::copy_from_slice(rest) }));
            }
            Ok(_) | Err(ConnectError::WrongMethod(_) | ConnectError::WrongProtocol(_)) => 404,
            Err(ConnectError::UnexpectedEnd) if self.0.len() <= HEADERS_BYTES_MAX => return Ok(None),
            Err(
                ConnectError::UnexpectedEnd
                | ConnectError::FieldSectionTooLarge
                | ConnectError::FrameTooLarge,
            ) => 431,
            Err(ConnectError::UnexpectedFrame(_)) => {
                return error(code::FRAME_UNEXPECTED, "a request begins with its headers");
            }
            Err(ConnectError::QpackError(_)) => {
                return error(code::QPACK_DECOMPRESSION_FAILED, "headers that cannot be read");
            }
            Err(_) => 400,
        };
        Ok(Some(BidiIs::Refused(refused)))
    }
}

/// The frames behind a CONNECT, and the capsules in them.
#[derive(Debug, Default)]
pub(super) struct Capsules {
    /// The front of a frame's header.
    header: BytesMut,
    /// What is left of a frame, and whether it is DATA.
    left: u64,
    is_data: bool,
    /// The front of a capsule.
    capsule: BytesMut,
}

impl Capsules {
    /// Takes bytes. Returns whether the client closed the session.
    pub(super) fn feed(&mut self, mut bytes: Bytes) -> Result<bool, Error> {
        while !bytes.is_empty() {
            if self.left == 0 {
                // One octet at a time: a header has at most 16, and there are few of them.
                self.header.extend_from_slice(&bytes.split_to(1));
                let mut header = &self.header[..];
                let (Ok(frame), Ok(len)) = (Frame::decode(&mut header), VarInt::decode(&mut header)) else {
                    continue;
                };
                (self.left, self.is_data) = (len.into_inner(), frame == Frame::DATA);
                self.header.clear();
                continue;
            }
            let len = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
            let part = bytes.split_to(len);
            self.left -= len as u64;
            if self.is_data && self.take_data(&part)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn take_data(&mut self, part: &[u8]) -> Result<bool, Error> {
        self.capsule.extend_from_slice(part);
        loop {
            let mut rest = &self.capsule[..];
            if rest.is_empty() {
                return Ok(false);
            }
            match Capsule::decode(&mut rest) {
                Ok(Capsule::CloseWebTransportSession { .. }) => return Ok(true),
                Ok(_) => {
                    let used = self.capsule.len() - rest.len();
                    self.capsule.advance(used);
                }
                // A capsule that closes and is too short, or that has no valid text, is the end as well.
                Err(CapsuleError::InvalidUtf8) => return Ok(true),
                Err(_) if self.capsule.len() <= CAPSULE_BYTES_MAX => return Ok(false),
                Err(_) => return error(code::EXCESSIVE_LOAD, "a capsule too long"),
            }
        }
    }
}

#[cfg(test)]
#[path = "h3_tests.rs"]
mod tests;
