//! The server's end of a WebSocket (RFC 6455): frames in, stream bytes out, and back.
//!
//! The payloads of binary messages, concatenated, are the stream; messages have no meaning of their own. So nothing
//! waits for the end of a message: a payload is unmasked where it lies and passed on as far as it has come, and the
//! codec owns no buffer but that of a control frame that is not complete. The other way, everything that is to be
//! written at one time is one unfragmented message.
//!
//! A library's codec would be one more buffer per connection in each direction, and a task to drive it.

use std::mem;

/// Largest frame. The stream has no use for large ones, but some libraries send a whole write as one frame.
const FRAME_BYTES_MAX: u64 = 1 << 20;

/// Largest payload of a control frame (§5.5).
const CONTROL_BYTES_MAX: usize = 125;

/// Longest frame header of a client: two octets, eight of length, four of mask.
const HEADER_BYTES_MAX: usize = 14;

/// The status of a close by a rule of the session: its own code stands in the reason, since the registry leaves
/// 4000-4999 only (§7.4.2).
pub(crate) const STATUS_SESSION: u16 = 4000;
pub(crate) const STATUS_NORMAL: u16 = 1000;
const STATUS_PROTOCOL: u16 = 1002;
const STATUS_UNSUPPORTED: u16 = 1003;
const STATUS_TOO_BIG: u16 = 1009;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;

mod opcode {
    pub(super) const CONTINUATION: u8 = 0x0;
    pub(super) const TEXT: u8 = 0x1;
    pub(super) const BINARY: u8 = 0x2;
    pub(super) const CLOSE: u8 = 0x8;
    pub(super) const PING: u8 = 0x9;
    pub(super) const PONG: u8 = 0xa;
}

/// A broken rule of RFC 6455: the status to close with, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct Broken {
    pub(crate) status: u16,
    pub(crate) reason: &'static str,
}

const fn broken(status: u16, reason: &'static str) -> Broken {
    Broken { status, reason }
}

/// What a client sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Item<'a> {
    /// Bytes of the stream, never empty.
    Data(&'a mut [u8]),
    /// To be answered by [`pong`] with the same payload.
    Ping(Vec<u8>),
    /// The client closes, with this status if it gave one; nothing comes after it.
    Close(Option<u16>),
}

/// Reads a client's frames. Holds at most a header and a control payload.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// The front of a header that is not complete.
    header: [u8; HEADER_BYTES_MAX],
    header_len: u8,
    /// Where in the mask the next octet of the payload stands.
    mask_at: u8,
    mask: [u8; 4],
    /// Octets of the current frame that have not come.
    left: u32,
    /// The opcode of the current frame, while it has one.
    current: Option<u8>,
    /// A message was begun by a frame without FIN: only continuations may follow.
    in_message: bool,
    closed: bool,
    /// Payload of a control frame.
    control: Vec<u8>,
}

impl Decoder {
    /// The next item in front of `input`, which is shortened by what was read; `None` if all of it was.
    ///
    /// # Errors
    /// [`Broken`] as soon as an octet shows it.
    pub(crate) fn next<'a>(&mut self, input: &mut &'a mut [u8]) -> Result<Option<Item<'a>>, Broken> {
        loop {
            if self.closed {
                *input = &mut [];
                return Ok(None);
            }
            let Some(current) = self.current else {
                if !self.read_header(input)? {
                    return Ok(None);
                }
                continue;
            };
            let take = input.len().min(self.left as usize);
            let (payload, rest) = mem::take(input).split_at_mut(take);
            *input = rest;
            self.left -= u32::try_from(take).expect("not more than `left`");
            self.unmask(payload);
            if self.left == 0 {
                self.current = None;
            }
            if current & 0x8 == 0 {
                if !payload.is_empty() {
                    return Ok(Some(Item::Data(payload)));
                }
            } else {
                self.control.extend_from_slice(payload);
                if self.left == 0
                    && let Some(item) = self.finish_control(current)?
                {
                    return Ok(Some(item));
                }
            }
            if input.is_empty() && self.current.is_some() {
                return Ok(None);
            }
        }
    }

    /// Whether a frame header or a control frame is incomplete: the client owes the rest of it.
    pub(crate) fn is_mid_header(&self) -> bool {
        self.header_len > 0 || self.current.is_some_and(|opcode| opcode & 0x8 != 0)
    }

    /// Collects the header of the next frame. Returns whether it is complete.
    fn read_header(&mut self, input: &mut &mut [u8]) -> Result<bool, Broken> {
        loop {
            let have = usize::from(self.header_len);
            let need = self.header_need()?;
            if have == need {
                break;
            }
            let take = input.len().min(need - have);
            if take == 0 {
                return Ok(false);
            }
            let (part, rest) = mem::take(input).split_at_mut(take);
            *input = rest;
            self.header[have..have + take].copy_from_slice(part);
            self.header_len = u8::try_from(have + take).expect("at most 14");
        }
        self.begin_frame()?;
        Ok(true)
    }

    /// How long the header is, as far as it has come. Judges the first two octets once they are there.
    fn header_need(&self) -> Result<usize, Broken> {
        if self.header_len < 2 {
            return Ok(2);
        }
        let [first, second, ..] = self.header;
        if self.header_len == 2 {
            self.judge(first, second)?;
        }
        Ok(match second & 0x7f {
            126 => 8,
            127 => 14,
            _ => 6,
        })
    }

    fn judge(&self, first: u8, second: u8) -> Result<(), Broken> {
        let opcode = first & 0xf;
        if first & RESERVED != 0 {
            return Err(broken(STATUS_PROTOCOL, "a reserved bit is set: no extension was agreed"));
        }
        match opcode {
            opcode::TEXT => return Err(broken(STATUS_UNSUPPORTED, "text: only binary messages are taken")),
            opcode::CONTINUATION if !self.in_message => {
                return Err(broken(STATUS_PROTOCOL, "a continuation without a message"));
            }
            opcode::BINARY if self.in_message => {
                return Err(broken(STATUS_PROTOCOL, "a new message inside of another one"));
            }
            opcode::CONTINUATION | opcode::BINARY => {}
            opcode::CLOSE | opcode::PING | opcode::PONG => {
                if first & FIN == 0 || usize::from(second & 0x7f) > CONTROL_BYTES_MAX {
                    return Err(broken(
                        STATUS_PROTOCOL,
                        "a control frame that is fragmented or above 125 bytes",
                    ));
                }
            }
            _ => return Err(broken(STATUS_PROTOCOL, "an unknown opcode")),
        }
        if second & MASKED == 0 {
            return Err(broken(STATUS_PROTOCOL, "a frame without a mask"));
        }
        Ok(())
    }

    fn begin_frame(&mut self) -> Result<(), Broken> {
        let header = self.header;
        let have = usize::from(self.header_len);
        let (length, shortest) = match header[1] & 0x7f {
            126 => (u64::from(u16::from_be_bytes([header[2], header[3]])), 126),
            127 => {
                let octets: [u8; 8] = header[2..10].try_into().expect("eight octets");
                (u64::from_be_bytes(octets), 1 << 16)
            }
            length => (u64::from(length), 0),
        };
        if length < shortest {
            return Err(broken(STATUS_PROTOCOL, "a length that is not in its shortest form"));
        }
        if length > FRAME_BYTES_MAX {
            return Err(broken(STATUS_TOO_BIG, "a frame above 1 MiB"));
        }
        let opcode = header[0] & 0xf;
        if opcode & 0x8 == 0 {
            self.in_message = header[0] & FIN == 0;
        }
        self.left = u32::try_from(length).expect("at most 1 MiB");
        self.mask = header[have - 4..have].try_into().expect("four octets");
        self.mask_at = 0;
        self.header_len = 0;
        self.current = Some(opcode);
        Ok(())
    }

    /// Removes the mask of the next octets of the payload, eight at a time.
    fn unmask(&mut self, payload: &mut [u8]) {
        let at = usize::from(self.mask_at);
        let mut mask = self.mask;
        mask.rotate_left(at);
        let [a, b, c, d] = mask;
        let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
        let (chunks, rest) = payload.as_chunks_mut::<8>();
        for chunk in chunks {
            *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
        }
        rest.iter_mut().zip(mask.into_iter().cycle()).for_each(|(octet, mask)| *octet ^= mask);
        self.mask_at = u8::try_from((at + payload.len()) % 4).expect("below 4");
    }

    fn finish_control<'a>(&mut self, opcode: u8) -> Result<Option<Item<'a>>, Broken> {
        let payload = mem::take(&mut self.control);
        match opcode {
            opcode::PING => Ok(Some(Item::Ping(payload))),
            opcode::CLOSE => {
                self.closed = true;
                close_status(&payload).map(|status| Some(Item::Close(status)))
            }
            // An unasked pong is a heartbeat; the session has its own.
            _ => Ok(None),
        }
    }
}

/// The status in a close frame (§5.5.1, §7.4).
fn close_status(payload: &[u8]) -> Result<Option<u16>, Broken> {
    let Some((status, reason)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() {
            Ok(None)
        } else {
            Err(broken(STATUS_PROTOCOL, "a close frame with half a status"))
        };
    };
    let status = u16::from_be_bytes(*status);
    if !matches!(status, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(broken(STATUS_PROTOCOL, "a close frame with a status that must not be sent"));
    }
    if std::str::from_utf8(reason).is_err() {
        return Err(broken(1007, "a close reason that is not UTF-8"));
    }
    Ok(Some(status))
}

/// Longest header of a server's frame.
pub(crate) const HEADER_OUT_BYTES_MAX: usize = 10;

/// Appends the header of a message of `length` octets, which follow. A server does not mask.
pub(crate) fn message_header(length: usize, mut put: impl FnMut(&[u8])) {
    header(opcode::BINARY, length, &mut put);
}

fn header(opcode: u8, length: usize, put: &mut impl FnMut(&[u8])) {
    if let Ok(length) = u8::try_from(length)
        && length < 126
    {
        put(&[FIN | opcode, length]);
    } else if let Ok(length) = u16::try_from(length) {
        put(&[FIN | opcode, 126]);
        put(&length.to_be_bytes());
    } else {
        put(&[FIN | opcode, 127]);
        put(&(length as u64).to_be_bytes());
    }
}

/// The answer to a ping.
pub(crate) fn pong(payload: &[u8]) -> Vec<u8> {
    control(opcode::PONG, payload)
}

/// A close frame. The reason is cut to what fits, at the border of a character.
pub(crate) fn close(status: u16, reason: &str) -> Vec<u8> {
    let reason = &reason[..reason.floor_char_boundary(CONTROL_BYTES_MAX - 2)];
    control(opcode::CLOSE, &[&status.to_be_bytes(), reason.as_bytes()].concat())
}

fn control(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(2 + payload.len());
    header(opcode, payload.len(), &mut |part| frame.extend_from_slice(part));
    frame.extend_from_slice(payload);
    frame
}

#[cfg(test)]
#[path = "websocket_tests.rs"]
mod tests;
