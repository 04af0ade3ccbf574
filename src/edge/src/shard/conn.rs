//! One connection of a shard: the QUIC connection, its session, and the steps between them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use nearport_session::{Action, Closing, Server, ServerLimits};
use nearport_trunk::{SessionId, Up};
use nearport_wire::close::CloseCode;
use quinn_proto::{Connection, Dir, Event, ReadError, StreamEvent, StreamId, VarInt, WriteError};

use super::topics::Joined;
use super::transmits::Transmits;
use crate::wheel::Armed;

/// Datagrams that one connection may send in one turn; the rest waits for the next, behind the others.
const DATAGRAMS_PER_TURN: usize = 20;

/// The reason phrase rides in a CONNECTION_CLOSE frame, which must fit a packet.
const CLOSE_REASON_BYTES_MAX: usize = 256;

/// In which list of connections to step a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Touched {
    No,
    /// Something was published to it.
    FanOut,
    /// A datagram, a timer or an answer came.
    Prompt,
}

/// How far a connection has come, for the shard's counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Phase {
    pub(crate) handshaking: bool,
    pub(crate) live: bool,
    pub(crate) ended: bool,
}

/// A client connection with its session.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) quic: Connection,
    pub(crate) session: Server,
    pub(crate) id: SessionId,
    pub(crate) joined: Joined,
    pub(crate) armed: Armed,
    /// In which list of connections to step it stands.
    pub(crate) touched: Touched,
    /// What the shard's counts say about it; see [`super::Shard::account`].
    pub(crate) counted: Phase,
    /// The handshake is not done.
    handshaking: bool,
    /// The session is over; QUIC drains.
    pub(crate) ended: bool,
    /// The one stream that carries the session, once the client opened it.
    stream: Option<StreamId>,
    /// The stream took no more bytes; wait for `Writable`.
    blocked: bool,
    /// QUIC is closed with this once the stream data in front of it is on its way.
    close: Option<Box<Closing>>,
    /// For the test of what a panic costs.
    #[cfg(test)]
    pub(crate) panic_in_read: bool,
}

impl Conn {
    pub(crate) fn new(quic: Connection, id: SessionId, limits: &ServerLimits, now: Instant) -> Self {
        Self {
            quic,
            session: Server::new(limits, now),
            id,
            joined: Joined::default(),
            armed: Armed::default(),
            touched: Touched::No,
            counted: Phase { handshaking: true, live: false, ended: false },
            handshaking: true,
            ended: false,
            stream: None,
            blocked: false,
            close: None,
            #[cfg(test)]
            panic_in_read: false,
        }
    }

    /// How far it has come.
    pub(crate) fn phase(&self) -> Phase {
        Phase {
            handshaking: self.handshaking && !self.ended,
            live: self.session.is_live() && !self.ended,
            ended: self.ended,
        }
    }

    /// Takes what QUIC has: events and stream data, as messages for the backend.
    pub(crate) fn read(&mut self, limits: &ServerLimits, now: Instant, ups: &mut Vec<Up>) {
        #[cfg(test)]
        assert!(!self.panic_in_read, "injected");
        while let Some(event) = self.quic.poll() {
            if let Err(closing) = self.handle_event(event, limits, now, ups) {
                self.close(closing, Duration::ZERO, ups);
            }
        }
    }

    fn handle_event(
        &mut self,
        event: Event,
        limits: &ServerLimits,
        now: Instant,
        ups: &mut Vec<Up>,
    ) -> Result<(), Closing> {
        match event {
            Event::Connected => self.handshaking = false,
            Event::ConnectionLost { .. } => self.end(ups),
            Event::Stream(StreamEvent::Opened { dir }) => {
                while let Some(id) = self.quic.streams().accept(dir) {
                    if dir == Dir::Uni || self.stream.is_some() {
                        let reason = "a second stream: a session has one bidirectional stream";
                        return Err(Closing::new(CloseCode::BAD_STREAM, reason));
                    }
                    self.stream = Some(id);
                    // Data that came with the opening frame raises no event of its own.
                    self.read_stream(id, limits, now, ups)?;
                }
            }
            Event::Stream(StreamEvent::Readable { id }) => self.read_stream(id, limits, now, ups)?,
            Event::Stream(StreamEvent::Writable { .. }) => self.blocked = false,
            Event::Stream(StreamEvent::Stopped { .. }) => {
                return Err(Closing::new(CloseCode::LOST, "the client stopped reading its stream"));
            }
            _ => {}
        }
        Ok(())
    }

    fn read_stream(
        &mut self,
        id: StreamId,
        limits: &ServerLimits,
        now: Instant,
        ups: &mut Vec<Up>,
    ) -> Result<(), Closing> {
        if self.ended {
            return Ok(());
        }
        let peer = self.quic.remote_address();
        let mut stream = self.quic.recv_stream(id);
        let Ok(mut chunks) = stream.read(true) else { return Ok(()) };
        // The stream's window bounds what this loop can read.
        let outcome = loop {
            match chunks.next(usize::MAX) {
                Ok(Some(chunk)) => {
                    self.session.handle_bytes(chunk.bytes);
                    if let Err(closing) = act(&mut self.session, self.id, peer, limits, now, ups) {
                        break Err(closing);
                    }
                }
                Ok(None) => break Err(Closing::new(CloseCode::BYE, "the client finished its stream")),
                Err(ReadError::Blocked) => break Ok(()),
                Err(ReadError::Reset(_)) => {
                    break Err(Closing::new(CloseCode::LOST, "the client reset its stream"));
                }
            }
        };
        // A window update goes out with the next transmit in any case.
        let _ = chunks.finalize();
        outcome
    }

    /// Writes what the session has to say into the stream.
    pub(crate) fn write(&mut self) {
        let Some(id) = self.stream else { return };
        while !self.blocked {
            let outbox = self.session.poll_output();
            if outbox.is_empty() {
                return;
            }
            match self.quic.send_stream(id).write_chunks(outbox.chunks()) {
                Ok(written) => {
                    outbox.written(written.chunks, written.bytes);
                    self.blocked = !outbox.is_empty();
                }
                Err(WriteError::Blocked) => self.blocked = true,
                // Stopped or closed: the event that says so ends the session.
                Err(_) => drop(outbox.take()),
            }
        }
    }

    /// Collects datagrams. Returns whether more are left for the next turn.
    pub(crate) fn transmit(&mut self, now: Instant, transmits: &mut Transmits) -> bool {
        for _ in 0..DATAGRAMS_PER_TURN {
            let mut buffer = transmits.buffer();
            match self.quic.poll_transmit(now, 1, &mut buffer) {
                Some(transmit) => transmits.push(transmit.destination, buffer),
                None => {
                    transmits.recycle(buffer);
                    let Some(closing) = self.close.take() else { return false };
                    // QUIC drops stream data when it closes: the CLOSE frame had to go first. It may still be
                    // lost, which is why the code and the reason stand in CONNECTION_CLOSE too.
                    let reason = closing.reason.as_bytes();
                    let reason = &reason[..reason.len().min(CLOSE_REASON_BYTES_MAX)];
                    let code = VarInt::from_u32(closing.code.0);
                    self.quic.close(now, code, Bytes::copy_from_slice(reason));
                }
            }
        }
        true
    }

    /// Ends the session from our side.
    pub(crate) fn close(&mut self, closing: Closing, retry_after: Duration, ups: &mut Vec<Up>) {
        if !self.ended {
            self.end(ups);
            self.session.close(&closing, retry_after);
            self.write();
            self.close = Some(Box::new(closing));
        }
    }

    /// The session is over, whoever ended it: tells the backend once.
    pub(crate) fn end(&mut self, ups: &mut Vec<Up>) {
        if !self.ended {
            self.ended = true;
            if self.session.was_opened() {
                ups.push(Up::Close { session: self.id });
            }
        }
    }

    /// Does what is due in QUIC and in the session.
    pub(crate) fn handle_timeout(&mut self, now: Instant, ups: &mut Vec<Up>) {
        if self.quic.poll_timeout().is_some_and(|at| at <= now) {
            self.quic.handle_timeout(now);
        }
        if !self.ended
            && let Err(closing) = self.session.handle_timeout(now)
        {
            self.close(closing, Duration::ZERO, ups);
        }
    }

    /// When [`Self::handle_timeout`] has to be called next.
    pub(crate) fn poll_timeout(&mut self) -> Option<Instant> {
        let session = if self.ended { None } else { self.session.poll_timeout() };
        [self.quic.poll_timeout(), session].into_iter().flatten().min()
    }
}

/// Passes the session's actions on to the backend.
fn act(
    session: &mut Server,
    id: SessionId,
    peer: SocketAddr,
    limits: &ServerLimits,
    now: Instant,
    ups: &mut Vec<Up>,
) -> Result<(), Closing> {
    while let Some(action) = session.poll_action(limits, now)? {
        ups.push(match action {
            Action::Open(hello) => Up::Open { session: id, hello, peer, vouched: None },
            Action::Request(frame) => {
                Up::Frame { session: id, lane: frame.lane, kind: frame.kind, id: frame.id, body: frame.body }
            }
            Action::Ack(position) => Up::Ack { session: id, position },
        });
    }
    Ok(())
}
