//! A WebTransport session on a QUIC connection: which of the connection's streams are the session's.
//!
//! The client's first WebTransport stream is the main stream and further ones bind lanes, as on plain QUIC; [`Lanes`] has them
//! from where they are known for what they are. A connection carries one session.

use std::time::{Duration, Instant};

use bytes::Bytes;
use nearport_session::Closing;
use nearport_wire::close::CloseCode;
use quinn_proto::{Connection, Dir, ReadError, StreamId, VarInt};

use super::h3::{self, Bidi, BidiIs, Capsules, Uni, UniSays};
use super::lanes::Lanes;
use crate::shard::conn::{End, Sink};

/// Streams that a client may have open at once: the CONNECT, the main stream, one for each lane, and one for a
/// request that is refused.
const BIDI_STREAMS: u32 = 6;

/// How long a client has to close the connection itself after the capsule that ends its session. Even when it has
/// acknowledged the capsule and ended its side of the CONNECT, QUIC's close right behind makes a browser report a lost connection
/// in place of the code and the reason (Chromium 156, one time in three).
const CLOSE_PATIENCE: Duration = Duration::from_secs(3);

/// HTTP/3's side of a connection.
#[derive(Debug, Default)]
pub(super) struct Web {
    /// Streams in one direction. A type that is no use is not kept, so few are here.
    unis: Vec<(StreamId, Uni)>,
    /// Streams in both directions, in the order in which they were opened, of which it is not known what they are for, or whose
    /// session is not known yet.
    undecided: Vec<(StreamId, Undecided)>,
    /// The session's CONNECT stream.
    connect: Option<(StreamId, Capsules)>,
    /// The client takes HTTP datagrams.
    datagrams: bool,
    /// What to close QUIC with, if not with NO_ERROR.
    error: Option<u32>,
    closing: CloseState,
}

#[derive(Debug)]
enum Undecided {
    Reading(Bidi),
    /// A stream of the session with this id, which has no CONNECT yet.
    Waiting(u64, Bytes),
}

/// How far the end of a session has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum CloseState {
    #[default]
    Open,
    /// The capsule that closes the session is written.
    Said,
    /// And the client has until then to close the connection.
    Waiting(Instant),
    /// Nobody is left who would.
    Done,
}

impl Web {
    /// The handshake is complete: says what we offer.
    pub(super) fn start(quic: &mut Connection) -> Result<Self, End> {
        let mut web = Self::default();
        quic.set_max_concurrent_streams(Dir::Bi, VarInt::from_u32(BIDI_STREAMS));
        let settings = h3::settings();
        let control = quic.streams().open(Dir::Uni);
        let written = control.and_then(|id| quic.send_stream(id).write(&settings).ok());
        if written != Some(settings.len()) {
            // RFC 9114 §6.2 asks a client for three streams and 1,024 bytes on each.
            return web.fail(h3::Error {
                code: h3::code::STREAM_CREATION_ERROR,
                reason: "no room for the control stream",
            });
        }
        Ok(web)
    }

    /// Whether the client has opened its session.
    pub(super) fn has_session(&self) -> bool {
        self.connect.is_some()
    }

    /// Ends the connection with an error of HTTP/3.
    fn fail<T>(&mut self, error: h3::Error) -> Result<T, End> {
        self.error = Some(error.code);
        self.closing = CloseState::Done;
        Err(Closing::new(CloseCode::BAD_STREAM, error.reason).into())
    }

    /// The client opened streams.
    pub(super) fn opened(
        &mut self,
        quic: &mut Connection,
        dir: Dir,
        lanes: &mut Lanes,
        sink: &mut Sink<'_>,
    ) -> Result<(), End> {
        while let Some(id) = quic.streams().accept(dir) {
            match dir {
                Dir::Uni => {
                    self.unis.push((id, Uni::new()));
                    self.read_uni(quic, id)?;
                }
                Dir::Bi => self.undecided.push((id, Undecided::Reading(Bidi::default()))),
            }
        }
        self.decide(quic, lanes, sink)
    }

    /// A stream that is not among the lanes has bytes.
    pub(super) fn readable(
        &mut self,
        quic: &mut Connection,
        id: StreamId,
        lanes: &mut Lanes,
        sink: &mut Sink<'_>,
    ) -> Result<(), End> {
        match id.dir() {
            Dir::Uni => self.read_uni(quic, id),
            Dir::Bi if self.connect.as_ref().is_some_and(|(connect, _)| *connect == id) => {
                self.read_connect(quic)
            }
            Dir::Bi => self.decide(quic, lanes, sink),
        }
    }

    fn read_uni(&mut self, quic: &mut Connection, id: StreamId) -> Result<(), End> {
        loop {
            let Some(at) = self.unis.iter().position(|(uni, _)| *uni == id) else { return Ok(()) };
            let says = match next_chunk(quic, id) {
                Chunk::Nothing => return Ok(()),
                Chunk::Bytes(bytes) => match self.unis[at].1.feed(&bytes) {
                    Ok(says) => says,
                    Err(error) => return self.fail(error),
                },
                Chunk::End | Chunk::Reset => {
                    let (_, uni) = self.unis.swap_remove(at);
                    if matches!(uni, Uni::Critical) {
                        let reason = "a stream ended that must stay open";
                        return self.fail(h3::Error { code: h3::code::CLOSED_CRITICAL_STREAM, reason });
                    }
                    return Ok(());
                }
            };
            match says {
                UniSays::Nothing => {}
                UniSays::Settings { datagrams } => self.datagrams = datagrams,
                UniSays::Useless => {
                    self.unis.swap_remove(at);
                    // Fails only for a stream that has ended.
                    let _ = quic.recv_stream(id).stop(VarInt::from_u32(h3::code::STREAM_CREATION_ERROR));
                }
                UniSays::WebTransport => {
                    let reason = "a stream in one direction: there is no use for it";
                    return Err(Closing::new(CloseCode::BAD_STREAM, reason).into());
                }
            }
        }
    }

    /// Finds out what streams are for. Until the session has its main stream a stream is not looked at before those in
    /// front of it, so that packets out of order cannot make another one the main stream.
    fn decide(&mut self, quic: &mut Connection, lanes: &mut Lanes, sink: &mut Sink<'_>) -> Result<(), End> {
        let mut at = 0;
        while at < self.undecided.len() {
            let id = self.undecided[at].0;
            match self.decide_one(quic, at) {
                Ok(None) if lanes.has_main() => at += 1,
                // The CONNECT may stand behind the first stream of its session.
                Ok(None) if matches!(self.undecided[at].1, Undecided::Waiting(..)) => at += 1,
                Ok(None) => return Ok(()),
                Ok(Some(BidiIs::WebTransport { rest, .. })) => {
                    self.undecided.remove(at);
                    lanes.open(quic, id, sink)?;
                    lanes.take(quic, id, rest, sink)?;
                    lanes.read(quic, id, sink)?;
                }
                Ok(Some(BidiIs::Connect { rest })) => {
                    self.undecided.remove(at);
                    self.accept(quic, id, rest)?;
                    // Streams of the session that came in front of it.
                    at = 0;
                }
                Ok(Some(BidiIs::Refused(status))) => {
                    self.undecided.remove(at);
                    refuse(quic, id, status);
                }
                Err(error) => return self.fail(error),
            }
        }
        Ok(())
    }

    /// What one stream is for; `None` if that is not known yet.
    fn decide_one(&mut self, quic: &mut Connection, at: usize) -> Result<Option<BidiIs>, h3::Error> {
        let connect = self.connect.as_ref().map(|(id, _)| u64::from(*id));
        let (id, undecided) = &mut self.undecided[at];
        let is = match undecided {
            Undecided::Waiting(session, rest) => {
                Some(BidiIs::WebTransport { session: *session, rest: rest.clone() })
            }
            Undecided::Reading(bidi) => loop {
                match next_chunk(quic, *id) {
                    Chunk::Nothing => break None,
                    Chunk::Bytes(bytes) => {
                        if let Some(is) = bidi.feed(&bytes)? {
                            break Some(is);
                        }
                    }
                    Chunk::End | Chunk::Reset => break Some(BidiIs::Refused(400)),
                }
            },
        };
        match (is, connect) {
            (Some(BidiIs::WebTransport { session, rest }), None) => {
                *undecided = Undecided::Waiting(session, rest);
                Ok(None)
            }
            (Some(BidiIs::WebTransport { session, .. }), Some(connect)) if session != connect => {
                Err(h3::Error { code: h3::code::ID_ERROR, reason: "a stream of a session that is not here" })
            }
            (is, _) => Ok(is),
        }
    }

    /// Accepts a session, if there is none yet.
    fn accept(&mut self, quic: &mut Connection, id: StreamId, rest: Bytes) -> Result<(), End> {
        if self.connect.is_some() {
            let code = VarInt::from_u32(h3::code::REQUEST_REJECTED);
            let _ = quic.send_stream(id).reset(code);
            let _ = quic.recv_stream(id).stop(code);
            return Ok(());
        }
        let response = h3::response(200);
        let mut stream = quic.send_stream(id);
        // In front of all lanes: nothing moves before it.
        let _ = stream.set_priority(3);
        if stream.write(&response).ok() != Some(response.len()) {
            let reason = "no room for the answer";
            return self.fail(h3::Error { code: h3::code::EXCESSIVE_LOAD, reason });
        }
        self.connect = Some((id, Capsules::default()));
        self.take_capsules(rest)?;
        self.read_connect(quic)
    }

    fn read_connect(&mut self, quic: &mut Connection) -> Result<(), End> {
        while let Some((id, _)) = &self.connect {
            match next_chunk(quic, *id) {
                Chunk::Nothing => return Ok(()),
                Chunk::Bytes(bytes) => self.take_capsules(bytes)?,
                Chunk::End => return self.gone(CloseCode::BYE, "the client ended the session"),
                Chunk::Reset => return self.gone(CloseCode::LOST, "the client reset the session"),
            }
        }
        Ok(())
    }

    fn take_capsules(&mut self, bytes: Bytes) -> Result<(), End> {
        let Some((_, capsules)) = &mut self.connect else { return Ok(()) };
        match capsules.feed(bytes) {
            Ok(false) => Ok(()),
            Ok(true) => self.gone(CloseCode::BYE, "the client closed the session"),
            Err(error) => self.fail(error),
        }
    }

    /// The client has left the session: nobody reads what we would say.
    fn gone(&mut self, code: CloseCode, reason: &'static str) -> Result<(), End> {
        self.closing = CloseState::Done;
        Err(Closing::new(code, reason).into())
    }

    /// The client reads a stream no more that is not among the lanes.
    pub(super) fn stopped(&mut self, id: StreamId) -> Result<(), End> {
        if self.connect.as_ref().is_some_and(|(connect, _)| *connect == id) {
            return self.gone(CloseCode::LOST, "the client stopped reading the session");
        }
        if id.dir() == Dir::Uni {
            let reason = "the control stream was stopped";
            return self.fail(h3::Error { code: h3::code::CLOSED_CRITICAL_STREAM, reason });
        }
        Ok(())
    }

    /// The payload of a datagram of the session.
    pub(super) fn read_datagram(&mut self, datagram: Bytes) -> Result<Option<Bytes>, End> {
        match h3::read_datagram(datagram) {
            Ok((session, payload)) => {
                let is_ours = self.connect.as_ref().is_some_and(|(id, _)| u64::from(*id) == session);
                Ok(is_ours.then_some(payload))
            }
            Err(error) => self.fail(error),
        }
    }

    /// A datagram for the session, if the client takes them.
    pub(super) fn datagram(&self, payload: &[u8]) -> Option<Bytes> {
        let (id, _) = self.connect.as_ref().filter(|_| self.datagrams)?;
        Some(h3::datagram(u64::from(*id), payload))
    }

    /// Tells the client why the session ends, behind all that its streams have to say.
    pub(super) fn close(&mut self, quic: &mut Connection, closing: &Closing) {
        if self.closing != CloseState::Open {
            return;
        }
        self.closing = CloseState::Done;
        let Some((id, _)) = &self.connect else { return };
        let capsule = h3::close_session(closing.code.0, &closing.reason);
        let mut stream = quic.send_stream(*id);
        let _ = stream.set_priority(-1);
        if stream.write(&capsule).ok() == Some(capsule.len()) && stream.finish().is_ok() {
            self.closing = CloseState::Said;
        }
    }

    /// Whether QUIC may be closed: its close would take from the client what it has not read. Starts the clock.
    pub(super) fn may_close(&mut self, now: Instant) -> bool {
        match self.closing {
            CloseState::Open | CloseState::Done => true,
            CloseState::Said => {
                self.closing = CloseState::Waiting(now + CLOSE_PATIENCE);
                false
            }
            CloseState::Waiting(until) => now >= until,
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        if let CloseState::Waiting(until) = self.closing { Some(until) } else { None }
    }

    /// What to close QUIC with.
    pub(super) fn close_code(&self) -> u32 {
        self.error.unwrap_or(h3::code::NO_ERROR)
    }
}

/// Answers a request that is none of ours and reads no more of it.
fn refuse(quic: &mut Connection, id: StreamId, status: u16) {
    // What does not fit or is closed already is the client's loss.
    let mut stream = quic.send_stream(id);
    let _ = stream.write(&h3::response(status));
    let _ = stream.finish();
    let _ = quic.recv_stream(id).stop(VarInt::from_u32(h3::code::NO_ERROR));
}

enum Chunk {
    Nothing,
    Bytes(Bytes),
    End,
    Reset,
}

/// The next bytes of a stream. One at a time, as what they say decides who reads on.
fn next_chunk(quic: &mut Connection, id: StreamId) -> Chunk {
    let mut stream = quic.recv_stream(id);
    let Ok(mut chunks) = stream.read(true) else { return Chunk::Nothing };
    let chunk = match chunks.next(usize::MAX) {
        Ok(Some(chunk)) => Chunk::Bytes(chunk.bytes),
        Ok(None) => Chunk::End,
        Err(ReadError::Blocked) => Chunk::Nothing,
        Err(ReadError::Reset(_)) => Chunk::Reset,
    };
    let _ = chunks.finalize();
    chunk
}
