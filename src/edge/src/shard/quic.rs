//! What is QUIC's in a connection: the quinn-proto connection, the streams of the session, its datagrams.

mod h3;
mod hedger;
mod lanes;
mod unproved;
mod web;

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use nearport_session::{Closing, Server, ServerLimits};
use nearport_wire::close::CloseCode;
use quinn_proto::{Connection, ConnectionError, Dir, Event, StreamEvent, VarInt};

use super::conn::{End, Sink};
use super::deferred::AT_REST;
use super::transmits::Transmits;
use crate::quic::Protocol;
use crate::watchdog::Watch;
use hedger::Hedger;
use lanes::Lanes;
pub(crate) use lanes::SEND_WINDOW;
pub(crate) use unproved::{Arrival, Unproved};
use web::Web;

/// Datagrams that one connection may send in one turn; the rest waits for the next, behind the others.
const DATAGRAMS_PER_TURN: usize = 20;

/// The reason phrase rides in a CONNECTION_CLOSE frame, which must fit a packet.
const CLOSE_REASON_BYTES_MAX: usize = 256;

/// A session's QUIC connection. The order of its fields is as in [`super::conn::Conn`].
#[derive(Debug)]
#[repr(C)]
pub(crate) struct QuicTransport {
    /// Whether the client makes work and nothing else.
    pub(crate) watch: Watch,
    /// The handshake is not done.
    handshaking: bool,
    /// As long as the client's address is not proved.
    unproved: Option<Box<Unproved>>,
    /// The client speaks HTTP/3: the session is one of WebTransport.
    web: Option<Box<Web>>,
    /// QUIC is closed with this once the stream data in front of it is on its way.
    close: Option<Box<Closing>>,
    hedger: Hedger,
    lanes: Lanes,
    pub(crate) quic: Connection,
}

impl QuicTransport {
    pub(crate) fn new(quic: Connection, unproved: Option<Unproved>, now: Instant) -> Self {
        Self {
            quic,
            handshaking: true,
            lanes: Lanes::default(),
            hedger: Hedger::new(now),
            web: None,
            watch: Watch::default(),
            close: None,
            unproved: unproved.map(Box::new),
        }
    }

    /// A datagram of this connection is about to be handled.
    pub(crate) fn arrived(&mut self, remote: SocketAddr, arrival: Arrival) {
        self.watch.count_datagram();
        if let Some(unproved) = &mut self.unproved
            && remote == self.quic.remote_address()
            && unproved.arrived(arrival)
        {
            self.unproved = None;
        }
    }

    /// Whether the handshake is not done.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.handshaking
    }

    /// Whether it carries a WebTransport session.
    pub(crate) fn is_webtransport(&self) -> bool {
        self.web.as_ref().is_some_and(|web| web.has_session())
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
            Event::Connected => {
                self.handshaking = false;
                let protocol = self.quic.crypto_session().handshake_data();
                let protocol = protocol.and_then(|data| data.downcast_ref().copied());
                if protocol == Some(Protocol::H3) {
                    self.web = Some(Box::new(Web::start(&mut self.quic)?));
                }
            }
            Event::ConnectionLost { reason: ConnectionError::TimedOut } => return Err(End::Silent),
            Event::ConnectionLost { .. } => return Err(End::Lost),
            Event::Stream(event) => self.handle_stream_event(event, sink)?,
            Event::DatagramReceived => {
                let peer = self.quic.remote_address();
                while let Some(datagram) = self.quic.datagrams().recv() {
                    let payload = match &mut self.web {
                        None => Some(datagram),
                        Some(web) => web.read_datagram(datagram)?,
                    };
                    if let Some(payload) = payload {
                        sink.take_datagram(payload, peer);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn handle_stream_event(&mut self, event: StreamEvent, sink: &mut Sink<'_>) -> Result<(), End> {
        if let StreamEvent::Writable { id } = event {
            self.lanes.unblock(id);
            return Ok(());
        }
        // What WebTransport has to say is little, and does not wait for what the lanes have in flight.
        self.lanes.lift(&mut self.quic);
        let outcome = self.handle_other_event(event, sink);
        self.lanes.watch(&mut self.quic);
        outcome
    }

    fn handle_other_event(&mut self, event: StreamEvent, sink: &mut Sink<'_>) -> Result<(), End> {
        let (quic, lanes) = (&mut self.quic, &mut self.lanes);
        match (event, &mut self.web) {
            // The session is over: nobody looks at what still comes.
            _ if sink.is_ended() => {}
            (StreamEvent::Opened { dir }, Some(web)) => web.opened(quic, dir, lanes, sink)?,
            (StreamEvent::Opened { dir }, None) => {
                while let Some(id) = quic.streams().accept(dir) {
                    if dir == Dir::Uni {
                        let reason = "a stream in one direction: there is no use for it";
                        return Err(Closing::new(CloseCode::BAD_STREAM, reason).into());
                    }
                    lanes.open(quic, id, sink)?;
                    // Data that came with the opening frame raises no event of its own.
                    lanes.read(quic, id, sink)?;
                }
            }
            (StreamEvent::Readable { id }, Some(web)) if !lanes.has(id) => {
                web.readable(quic, id, lanes, sink)?
            }
            (StreamEvent::Readable { id }, _) => lanes.read(quic, id, sink)?,
            (StreamEvent::Stopped { id, .. }, Some(web)) if !lanes.has(id) => web.stopped(id)?,
            (StreamEvent::Stopped { id, .. }, _) => lanes.stopped(quic, id, sink.session)?,
            _ => {}
        }
        Ok(())
    }

    /// Looks at what the client has sent of late.
    ///
    /// # Errors
    /// [`Closing`] with ABUSE if it was much and carried nothing.
    pub(crate) fn watch(&mut self, now: Instant) -> Result<(), Closing> {
        if self.watch.is_due(now) && self.watch.sample(now, &self.quic.stats()) {
            let reason = "more path challenges, connection ids, streams, resets, pings or acknowledgements than a client needs";
            return Err(Closing::new(CloseCode::ABUSE, reason));
        }
        Ok(())
    }

    /// Writes what the session has to say into its streams.
    pub(crate) fn write(
        &mut self,
        session: &mut Server,
        limits: &ServerLimits,
        now: Instant,
        squeezed: bool,
    ) {
        self.hedger.write(&mut self.quic, session, limits, now);
        self.lanes.write(&mut self.quic, session, squeezed);
    }

    /// Bytes that QUIC may hold because they are not acknowledged.
    pub(crate) fn output_cost(&self) -> usize {
        self.lanes.held_bytes()
    }

    /// Copies of frames sent as datagrams since the last call.
    pub(crate) fn take_hedges_sent(&mut self) -> u64 {
        self.hedger.take_sent()
    }

    /// Sends a frame that may be lost as a datagram. Returns whether it could: the client takes datagrams, and the
    /// frame fits. At the bound of what waits the oldest is dropped.
    pub(crate) fn send_datagram(&mut self, frame: &Bytes) -> bool {
        send_datagram(&mut self.quic, self.web.as_deref(), frame.clone(), true)
    }

    /// Collects datagrams. Returns whether more are left for the next turn.
    pub(crate) fn transmit(&mut self, now: Instant, transmits: &mut Transmits) -> bool {
        for _ in 0..DATAGRAMS_PER_TURN {
            let mut buffer = transmits.buffer();
            // What waits for credit goes when the next datagram of the client brings some.
            let may_send = self.unproved.as_ref().is_none_or(|unproved| unproved.may_send());
            match if may_send { self.quic.poll_transmit(now, 1, &mut buffer) } else { None } {
                Some(transmit) => {
                    if let Some(unproved) = &mut self.unproved {
                        unproved.sent(buffer.len());
                    }
                    self.hedger.count_datagram();
                    transmits.push(transmit.destination, buffer);
                }
                None => {
                    transmits.recycle(buffer);
                    if self.web.as_mut().is_some_and(|web| self.close.is_some() && !web.may_close(now)) {
                        return false;
                    }
                    let Some(closing) = self.close.take() else { return false };
                    // QUIC drops stream data when it closes: the CLOSE frame had to go first. It may still be
                    // lost, which is why the code and the reason stand in CONNECTION_CLOSE too.
                    let reason = closing.reason.as_bytes();
                    let reason = &reason[..reason.len().min(CLOSE_REASON_BYTES_MAX)];
                    let code = self.web.as_ref().map_or(closing.code.0, |web| web.close_code());
                    let code = VarInt::from_u32(code);
                    self.quic.close(now, code, Bytes::copy_from_slice(reason));
                }
            }
        }
        true
    }

    /// Closes QUIC once what the session has said, its CLOSE frame last, is on its way.
    pub(crate) fn close(&mut self, closing: Closing, session: &mut Server) {
        self.lanes.write(&mut self.quic, session, false);
        self.lanes.lift(&mut self.quic);
        if let Some(web) = &mut self.web {
            web.close(&mut self.quic, &closing);
        }
        self.close = Some(Box::new(closing));
    }

    /// Whether an acknowledgement may wait. Not that of a stream's end: the client may open another one when it has come.
    pub(crate) fn may_defer(&mut self, now: Instant) -> bool {
        if self.lanes.is_ending() && self.is_at_rest(now) {
            self.lanes.all_known();
        }
        self.lanes.has_main() && !self.lanes.is_ending()
    }

    /// Whether nothing is under way that the client has not acknowledged: the loss timer is not set, or far away.
    pub(crate) fn is_at_rest(&mut self, now: Instant) -> bool {
        self.quic.poll_timeout().is_none_or(|at| at > now + AT_REST)
    }

    /// Whether nothing but the loss timer is about to happen.
    pub(crate) fn expects_one_ack(&mut self, now: Instant) -> bool {
        !self.is_at_rest(now)
            && !self.handshaking
            && self.unproved.is_none()
            && self.close.is_none()
            && !self.lanes.is_ending()
            && !self.hedger.is_active()
            && self.web.as_ref().is_none_or(|web| web.poll_timeout().is_none())
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.quic.poll_timeout().is_some_and(|at| at <= now) {
            self.quic.handle_timeout(now);
        }
        let (quic, web) = (&mut self.quic, self.web.as_deref());
        self.hedger.handle_timeout(now, |frame| send_datagram(quic, web, frame, false));
    }

    pub(crate) fn poll_timeout(&mut self) -> Option<Instant> {
        let web = self.web.as_ref().and_then(|web| web.poll_timeout());
        [self.quic.poll_timeout(), self.hedger.poll_timeout(), web].into_iter().flatten().min()
    }
}

/// Sends frames as a datagram, WebTransport's if it is one. `drop`: an older one makes room.
fn send_datagram(quic: &mut Connection, web: Option<&Web>, frames: Bytes, drop: bool) -> bool {
    let datagram = match web {
        None => Some(frames),
        Some(web) => web.datagram(&frames),
    };
    datagram.is_some_and(|datagram| quic.datagrams().send(datagram, drop).is_ok())
}
