//! What is QUIC's in a connection: the quinn-proto connection and the stream that carries the session.

use std::time::Instant;

use bytes::Bytes;
use nearport_session::{Closing, Server};
use nearport_wire::close::CloseCode;
use quinn_proto::{Connection, Dir, Event, ReadError, StreamEvent, StreamId, VarInt, WriteError};

use super::conn::{End, Sink};
use super::transmits::Transmits;

/// Datagrams that one connection may send in one turn; the rest waits for the next, behind the others.
const DATAGRAMS_PER_TURN: usize = 20;

/// The reason phrase rides in a CONNECTION_CLOSE frame, which must fit a packet.
const CLOSE_REASON_BYTES_MAX: usize = 256;

/// A session's QUIC connection.
#[derive(Debug)]
pub(crate) struct QuicTransport {
    pub(crate) quic: Connection,
    /// The handshake is not done.
    handshaking: bool,
    /// The one stream that carries the session, once the client opened it.
    stream: Option<StreamId>,
    /// The stream took no more bytes; wait for `Writable`.
    blocked: bool,
    /// QUIC is closed with this once the stream data in front of it is on its way.
    close: Option<Box<Closing>>,
}

impl QuicTransport {
    pub(crate) fn new(quic: Connection) -> Self {
        Self { quic, handshaking: true, stream: None, blocked: false, close: None }
    }

    /// Whether the handshake is not done.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.handshaking
    }

    /// Takes what QUIC has: events and stream data. Call it again after an error was dealt with: it goes on behind
    /// the event that ended the session.
    pub(crate) fn read(&mut self, sink: &mut Sink<'_>) -> Result<(), End> {
        while let Some(event) = self.quic.poll() {
            self.handle_event(event, sink)?;
        }
        Ok(())
    }

    fn handle_event(&mut self, event: Event, sink: &mut Sink<'_>) -> Result<(), End> {
        match event {
            Event::Connected => self.handshaking = false,
            Event::ConnectionLost { .. } => return Err(End::Lost),
            Event::Stream(StreamEvent::Opened { dir }) => {
                while let Some(id) = self.quic.streams().accept(dir) {
                    if dir == Dir::Uni || self.stream.is_some() {
                        let reason = "a second stream: a session has one bidirectional stream";
                        return Err(Closing::new(CloseCode::BAD_STREAM, reason).into());
                    }
                    self.stream = Some(id);
                    // Data that came with the opening frame raises no event of its own.
                    self.read_stream(id, sink)?;
                }
            }
            Event::Stream(StreamEvent::Readable { id }) => self.read_stream(id, sink)?,
            Event::Stream(StreamEvent::Writable { .. }) => self.blocked = false,
            Event::Stream(StreamEvent::Stopped { .. }) => {
                return Err(Closing::new(CloseCode::LOST, "the client stopped reading its stream").into());
            }
            _ => {}
        }
        Ok(())
    }

    fn read_stream(&mut self, id: StreamId, sink: &mut Sink<'_>) -> Result<(), End> {
        if sink.is_ended() {
            return Ok(());
        }
        let peer = self.quic.remote_address();
        let mut stream = self.quic.recv_stream(id);
        let Ok(mut chunks) = stream.read(true) else { return Ok(()) };
        // The stream's window bounds what this loop can read.
        let outcome = loop {
            match chunks.next(usize::MAX) {
                Ok(Some(chunk)) => {
                    if let Err(closing) = sink.take(chunk.bytes, peer) {
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
        outcome.map_err(End::from)
    }

    /// Writes what the session has to say into the stream.
    pub(crate) fn write(&mut self, session: &mut Server) {
        let Some(id) = self.stream else { return };
        while !self.blocked {
            let outbox = session.poll_output();
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

    /// Closes QUIC once what the session has said, its CLOSE frame last, is on its way.
    pub(crate) fn close(&mut self, closing: Closing, session: &mut Server) {
        self.write(session);
        self.close = Some(Box::new(closing));
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.quic.poll_timeout().is_some_and(|at| at <= now) {
            self.quic.handle_timeout(now);
        }
    }

    pub(crate) fn poll_timeout(&mut self) -> Option<Instant> {
        self.quic.poll_timeout()
    }
}
