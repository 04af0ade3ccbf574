//! The server's end of TLS 1.3 as a machine without buffers of its own: ciphertext in, plaintext out, and back.
//!
//! The handshake is rustls', by its unbuffered API. Once it is over, what a connection still needs goes to
//! [`record::Traffic`] and the rest is given back; see there why.

use std::fmt;
use std::mem;
use std::sync::Arc;

use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError};
use rustls::{HandshakeKind, ServerConfig};

use super::record::{self, Alert, HEADER_BYTES, Traffic};

/// Ciphertext of a handshake that may wait for the rest of a message. A hello with a post-quantum key share and a ticket
/// takes about 2 KiB; a client has nothing else to say.
const HANDSHAKE_BYTES_MAX: usize = 32 * 1024;

/// Room to encode one handshake record; tried again with what it asks for.
const FLIGHT_BYTES: usize = 2 * 1024;

/// What the client speaks behind the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speech {
    /// ALPN `np/1`: the frames.
    Frames,
    /// ALPN `http/1.1`, or none at all: a request for a WebSocket.
    Http,
    /// ALPN `acme-tls/1` (RFC 8737): the certificate was the answer; the connection ends.
    Challenge,
}

/// ALPN of the challenge by which a certificate authority checks who has the port.
pub(crate) const ACME_ALPN: &[u8] = b"acme-tls/1";
pub(crate) const HTTP_ALPN: &[u8] = b"http/1.1";

/// How a handshake ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Established {
    pub(crate) speech: Speech,
    /// A ticket spared the certificate.
    pub(crate) resumed: bool,
}

/// Why a connection ends. What had to be said to the client about it is written already.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum Failure {
    #[error("handshake: {0}")]
    Handshake(rustls::Error),
    #[error("more than {HANDSHAKE_BYTES_MAX} octets in the handshake")]
    HandshakeTooLong,
    #[error(transparent)]
    Record(#[from] record::Broken),
}

/// What [`Tls::next`] gives.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Item<'a> {
    /// The handshake is over.
    Established(Established),
    /// Plaintext, never empty.
    Data(&'a mut [u8]),
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Tls(State);

enum State {
    Handshake(Box<Handshake>),
    Traffic(Box<Traffic>),
    Failed,
}

struct Handshake {
    rustls: UnbufferedServerConnection,
    /// Octets that rustls has not let go.
    held: Vec<u8>,
    /// How many of them it has been shown: always whole records, so that it opens nothing behind the handshake.
    shown: usize,
}

impl Tls {
    /// A connection at its first octet. `config` is one of [`config`].
    ///
    /// # Errors
    /// rustls' error for a configuration that cannot serve.
    pub(crate) fn new(config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        let rustls = UnbufferedServerConnection::new(config)?;
        Ok(Self(State::Handshake(Box::new(Handshake { rustls, held: Vec::new(), shown: 0 }))))
    }

    /// Whether the handshake is not over.
    pub(crate) fn is_handshaking(&self) -> bool {
        matches!(self.0, State::Handshake(_))
    }

    /// Whether the client has said that nothing more comes.
    pub(crate) fn is_peer_closed(&self) -> bool {
        matches!(&self.0, State::Traffic(traffic) if traffic.is_peer_closed())
    }

    /// Whether the client owes the rest of a record, which takes memory here.
    pub(crate) fn is_mid_record(&self) -> bool {
        matches!(&self.0, State::Traffic(traffic) if traffic.is_mid_record())
    }

    /// The next thing in front of `input`, or `None` if all of it was taken; call it until then. What is to be sent is
    /// appended to `out`.
    ///
    /// # Errors
    /// [`Failure`]: the connection is over; send what `out` has and close.
    pub(crate) fn next<'a, 'i: 'a>(
        &'a mut self,
        input: &mut &'i mut [u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<Item<'a>>, Failure> {
        if let State::Handshake(handshake) = &mut self.0 {
            let done = match handshake.drive(input, out) {
                Ok(done) => done,
                Err(failure) => {
                    self.0 = State::Failed;
                    return Err(failure);
                }
            };
            if !done {
                return Ok(None);
            }
            let State::Handshake(handshake) = mem::replace(&mut self.0, State::Failed) else {
                return Ok(None);
            };
            let (established, traffic) = handshake.finish()?;
            self.0 = State::Traffic(Box::new(traffic));
            return Ok(Some(Item::Established(established)));
        }
        let State::Traffic(traffic) = &mut self.0 else {
            *input = &mut [];
            return Ok(None);
        };
        match traffic.next(input) {
            Ok(plain) => Ok(plain.map(Item::Data)),
            Err(broken) => Err(broken.into()),
        }
    }

    /// Tells the client about a failure that [`Self::next`] gave, where it has not been told.
    pub(crate) fn fail(&mut self, failure: &Failure, out: &mut Vec<u8>) {
        if let (State::Traffic(traffic), Failure::Record(record::Broken { alert: Some(alert), .. })) =
            (&mut self.0, failure)
        {
            traffic.alert(*alert, out);
        }
        self.0 = State::Failed;
    }

    /// Whether something has to be said without being asked.
    pub(crate) fn has_output(&self) -> bool {
        matches!(&self.0, State::Traffic(traffic) if traffic.has_output())
    }

    /// The established connection, to write with.
    pub(crate) fn traffic(&mut self) -> Option<&mut Traffic> {
        match &mut self.0 {
            State::Traffic(traffic) => Some(traffic),
            _ => None,
        }
    }

    /// Says that nothing more comes from us, where that can be said.
    pub(crate) fn close(&mut self, out: &mut Vec<u8>) {
        if let State::Traffic(traffic) = &mut self.0 {
            traffic.alert(Alert::CloseNotify, out);
        }
        self.0 = State::Failed;
    }
}

impl Handshake {
    /// Takes all of `input` and moves on. Returns whether the handshake is over; what came behind it is in `held`.
    fn drive(&mut self, input: &mut &mut [u8], out: &mut Vec<u8>) -> Result<bool, Failure> {
        self.held.extend_from_slice(input);
        *input = &mut [];
        loop {
            let status = self.rustls.process_tls_records(&mut self.held[..self.shown]);
            let discard = status.discard;
            let mut blocked = false;
            match status.state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    encode(out, FLIGHT_BYTES, |room| data.encode(room));
                }
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::BlockedHandshake) => blocked = true,
                // Nothing of these comes before the handshake is over, and then we do not ask again.
                Ok(_) => blocked = true,
                Err(error) => {
                    self.held.drain(..discard);
                    self.shown -= discard;
                    self.last_words(out);
                    return Err(Failure::Handshake(error));
                }
            }
            self.held.drain(..discard);
            self.shown -= discard;
            if !self.rustls.is_handshaking() && !self.rustls.wants_write() {
                return Ok(true);
            }
            if blocked && !self.show_more() {
                return if self.held.len() > HANDSHAKE_BYTES_MAX {
                    Err(Failure::HandshakeTooLong)
                } else {
                    Ok(false)
                };
            }
        }
    }

    /// Shows rustls one more record, if one is complete. What is no record is shown too, to be refused.
    fn show_more(&mut self) -> bool {
        let hidden = &self.held[self.shown..];
        let Some(header) = hidden.first_chunk::<HEADER_BYTES>() else { return false };
        let is_record = (20..=23).contains(&header[0]) && header[1] == 3;
        let record = HEADER_BYTES + usize::from(u16::from_be_bytes([header[3], header[4]]));
        let show = if is_record { record } else { hidden.len() };
        let whole = show <= hidden.len();
        if whole {
            self.shown += show;
        }
        whole
    }

    /// The alert that goes with an error.
    fn last_words(&mut self, out: &mut Vec<u8>) {
        // What it had queued comes first: the rest of a flight, and one alert. It must not come to the bad octets a second
        // time, so it is asked for nothing else; and it remembers places in what it was shown, so it is shown the same.
        while self.rustls.wants_write() {
            let status = self.rustls.process_tls_records(&mut self.held[..self.shown]);
            let discard = status.discard;
            let Ok(ConnectionState::EncodeTlsData(mut data)) = status.state else { return };
            encode(out, FLIGHT_BYTES, |room| data.encode(room));
            self.held.drain(..discard);
            self.shown -= discard;
        }
    }

    fn finish(self) -> Result<(Established, Traffic), Failure> {
        let Self { rustls, held, .. } = self;
        let speech = match rustls.alpn_protocol() {
            Some(nearport_wire::ALPN) => Speech::Frames,
            Some(ACME_ALPN) => Speech::Challenge,
            _ => Speech::Http,
        };
        let resumed = rustls.handshake_kind() == Some(HandshakeKind::Resumed);
        let (secrets, schedule) = rustls.dangerous_into_kernel_connection().map_err(Failure::Handshake)?;
        let unknown = || Failure::Handshake(rustls::Error::General("unknown cipher suite".to_owned()));
        let traffic = Traffic::new(secrets, schedule, held).ok_or_else(unknown)?;
        Ok((Established { speech, resumed }, traffic))
    }
}

/// Appends what `write` encodes, with as much room as it asks for.
fn encode(out: &mut Vec<u8>, room: usize, mut write: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>) {
    let at = out.len();
    out.resize(at + room, 0);
    let written = match write(&mut out[at..]) {
        Err(EncodeError::InsufficientSize(error)) => {
            out.resize(at + error.required_size, 0);
            write(&mut out[at..]).unwrap_or(0)
        }
        written => written.unwrap_or(0),
    };
    out.truncate(at + written);
}

/// TLS for the TCP port, from that for QUIC: the same certificates, tickets and key exchange.
///
/// Secrets are extractable because [`record`] takes over after the handshake.
pub(crate) fn config(quic: &ServerConfig) -> Arc<ServerConfig> {
    let mut config = quic.clone();
    config.alpn_protocols = vec![nearport_wire::ALPN.to_vec(), HTTP_ALPN.to_vec(), ACME_ALPN.to_vec()];
    config.enable_secret_extraction = true;
    config.max_early_data_size = 0;
    Arc::new(config)
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handshake(handshake) => f.debug_tuple("Handshake").field(&handshake.held.len()).finish(),
            Self::Traffic(traffic) => f.debug_tuple("Traffic").field(traffic).finish(),
            Self::Failed => f.write_str("Failed"),
        }
    }
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
