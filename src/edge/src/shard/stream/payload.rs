//! How frames lie in TLS records: directly, or as the messages of a WebSocket.

use std::net::SocketAddr;

use bytes::Bytes;
use nearport_session::{Closing, Outbox};
use nearport_wire::close::CloseCode;

use super::record::{PLAINTEXT_BYTES_MAX, Traffic};
use super::websocket;
use crate::shard::conn::{End, Sink};

#[derive(Debug, Default)]
pub(super) struct WebSocket {
    pub(super) decoder: websocket::Decoder,
    /// The answer to the last ping; to earlier ones none is needed (RFC 6455 §5.5.3).
    pub(super) pong: Option<Vec<u8>>,
    /// The status of a broken rule, for the close frame.
    status: Option<u16>,
}

impl WebSocket {
    pub(super) fn read(
        &mut self,
        mut input: &mut [u8],
        peer: SocketAddr,
        sink: &mut Sink<'_>,
    ) -> Result<(), End> {
        loop {
            match self.decoder.next(&mut input) {
                Ok(Some(websocket::Item::Data(data))) => sink.take(Bytes::copy_from_slice(data), peer)?,
                Ok(Some(websocket::Item::Ping(payload))) => self.pong = Some(payload),
                Ok(Some(websocket::Item::Close(status))) => {
                    let status = status.map_or_else(String::new, |status| format!(" with status {status}"));
                    let reason = format!("the client closed its WebSocket{status}");
                    return Err(Closing::new(CloseCode::BYE, reason).into());
                }
                Ok(None) => return Ok(()),
                Err(broken) => {
                    self.status = Some(broken.status);
                    return Err(Closing::new(CloseCode::BAD_FRAME, format!("WebSocket: {broken}")).into());
                }
            }
        }
    }

    /// What waits, as one message in one record.
    pub(super) fn seal(&mut self, traffic: &mut Traffic, outbox: &mut Outbox, out: &mut Vec<u8>) {
        if self.pong.is_none() && outbox.is_empty() {
            return;
        }
        seal(traffic, out, |out| {
            let pong = self.pong.take().map_or_else(Vec::new, |payload| websocket::pong(&payload));
            out.extend_from_slice(&pong);
            let room = PLAINTEXT_BYTES_MAX - pong.len() - websocket::HEADER_OUT_BYTES_MAX;
            let length = outbox.bytes().min(room);
            if length > 0 {
                websocket::message_header(length, |header| out.extend_from_slice(header));
                take(outbox, length, out);
            }
        });
    }

    /// The close frame. A code of the session stands in its reason: only 4000 to 4999 are free for codes of one's own.
    pub(super) fn close(&self, closing: &Closing) -> Vec<u8> {
        let own =
            if closing.code == CloseCode::BYE { websocket::STATUS_NORMAL } else { websocket::STATUS_SESSION };
        websocket::close(self.status.unwrap_or(own), &format!("{} {}", closing.code.0, closing.reason))
    }
}

pub(super) fn seal_frames(traffic: &mut Traffic, outbox: &mut Outbox, out: &mut Vec<u8>) {
    let length = outbox.bytes().min(PLAINTEXT_BYTES_MAX);
    if length > 0 {
        seal(traffic, out, |out| take(outbox, length, out));
    }
}

/// One record of what `write` appends.
pub(super) fn seal(traffic: &mut Traffic, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = traffic.begin(out);
    write(out);
    traffic.seal(start, out);
}

/// Moves `length` bytes from the front of what waits behind `out`.
fn take(outbox: &mut Outbox, length: usize, out: &mut Vec<u8>) {
    let (mut left, mut whole) = (length, 0);
    for chunk in outbox.chunks() {
        if chunk.len() > left {
            out.extend_from_slice(&chunk.split_to(left));
            break;
        }
        left -= chunk.len();
        whole += 1;
        out.extend_from_slice(chunk);
    }
    outbox.written(whole, length);
}
