//! What is QUIC's in a connection: the quinn-proto connection, the streams of the session, its datagrams.

mod hedger;
mod lanes;

use std::time::Instant;

use bytes::Bytes;
use nearport_session::{Closing, Server, ServerLimits};
use nearport_wire::close::CloseCode;
use quinn_proto::{Connection, Dir, Event, StreamEvent, VarInt};

use super::conn::{End, Sink};
use super::transmits::Transmits;
use hedger::Hedger;
use lanes::Lanes;
pub(crate) use lanes::SEND_WINDOW;

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
    lanes: Lanes,
    hedger: Hedger,
    /// QUIC is closed with this once the stream data in front of it is on its way.
    close: Option<Box<Closing>>,
}

impl QuicTransport {
    pub(crate) fn new(quic: Connection, now: Instant) -> Self {
        Self { quic, handshaking: true, lanes: Lanes::default(), hedger: Hedger::new(now), close: None }
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
                    if dir == Dir::Uni {
                        let reason = "a stream in one direction: there is no use for it";
                        return Err(Closing::new(CloseCode::BAD_STREAM, reason).into());
                    }
                    self.lanes.open(&mut self.quic, id, sink)?;
                    // Data that came with the opening frame raises no event of its own.
                    self.lanes.read(&mut self.quic, id, sink)?;
                }
            }
            Event::Stream(StreamEvent::Readable { id }) => self.lanes.read(&mut self.quic, id, sink)?,
            Event::Stream(StreamEvent::Writable { id }) => self.lanes.unblock(id),
            Event::Stream(StreamEvent::Stopped { id, .. }) => {
                self.lanes.stopped(&mut self.quic, id, sink.session)?;
            }
            Event::DatagramReceived => {
                let peer = self.quic.remote_address();
                while let Some(datagram) = self.quic.datagrams().recv() {
                    sink.take_datagram(datagram, peer);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Writes what the session has to say into its streams.
    pub(crate) fn write(&mut self, session: &mut Server, limits: &ServerLimits, now: Instant) {
        self.hedger.write(&mut self.quic, session, limits, now);
        self.lanes.write(&mut self.quic, session);
    }

    /// Copies of frames sent as datagrams since the last call.
    pub(crate) fn take_hedges_sent(&mut self) -> u64 {
        self.hedger.take_sent()
    }

    /// Sends a frame that may be lost as a datagram. Returns whether it could: the client takes datagrams, and the
    /// frame fits. At the bound of what waits the oldest is dropped.
    pub(crate) fn send_datagram(&mut self, frame: &Bytes) -> bool {
        self.quic.datagrams().send(frame.clone(), true).is_ok()
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
        self.lanes.write(&mut self.quic, session);
        self.close = Some(Box::new(closing));
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.quic.poll_timeout().is_some_and(|at| at <= now) {
            self.quic.handle_timeout(now);
        }
        self.hedger.handle_timeout(&mut self.quic, now);
    }

    pub(crate) fn poll_timeout(&mut self) -> Option<Instant> {
        [self.quic.poll_timeout(), self.hedger.poll_timeout()].into_iter().flatten().min()
    }
}
