//! One connection of a shard: its session, whatever transport carries it, and the steps between them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use nearport_session::{Action, Closing, Server, ServerLimits};
use nearport_trunk::{SessionId, Up};
use nearport_wire::close::{CloseCode, Return};

use super::deferred::AT_REST;
use super::quic::QuicTransport;
use super::returning::Told;
use super::stream::{Carrier, StreamTransport};
use super::topics::Joined;
use super::transmits::Transmits;
use crate::admission::Prefix;
use crate::stats::Stats;
use crate::wheel::Armed;

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
    /// How it came to carry frames, once it does.
    pub(crate) carrier: Option<Carrier>,
}

/// What carries a session. Boxed apart, so that a connection is as small as its transport allows.
#[derive(Debug)]
pub(crate) enum Transport {
    Quic(Box<QuicTransport>),
    Stream(Box<StreamTransport>),
}

/// A client connection with its session.
///
/// Its fields lie in the order in which they stand here: what each datagram touches comes first, in as few cache lines as it
/// takes. With more connections than the cache holds, each line costs as much as a hundred instructions.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Conn {
    pub(crate) transport: Transport,
    pub(crate) id: SessionId,
    /// In which list of connections to step it stands.
    pub(crate) touched: Touched,
    /// The session is over; the transport says good-bye.
    pub(crate) ended: bool,
    /// What its hello says of its platform, for the next backend; 0 if nothing.
    pub(crate) platform: u8,
    /// What the shard's counts say about it; see [`super::Shard::account`].
    pub(crate) counted: Phase,
    /// What its client knows about coming back.
    pub(super) told: Told,
    /// What the shard's budget says about it.
    pub(crate) counted_output: usize,
    pub(crate) armed: Armed,
    pub(crate) session: Server,
    /// The network that it began from and counts for, wherever it has moved.
    pub(crate) prefix: Option<Prefix>,
    pub(crate) joined: Joined,
    /// Who it is, as the backend said when it accepted: for the next backend. Packed, because most never need it.
    pub(crate) identity: Option<Box<[u8]>>,
    /// For the test of what a panic costs.
    #[cfg(test)]
    pub(crate) panic_in_read: bool,
}

/// Why a transport stopped reading.
#[derive(Debug)]
pub(crate) enum End {
    /// The session has to be closed.
    Close(Closing),
    /// The transport is gone; there is nobody to say good-bye to.
    Lost,
    /// The same: nothing came for too long.
    Silent,
}

impl From<Closing> for End {
    fn from(closing: Closing) -> Self {
        Self::Close(closing)
    }
}

/// Where a transport puts the bytes that it reads: through the session, up to the backend.
pub(crate) struct Sink<'a> {
    pub(crate) session: &'a mut Server,
    pub(crate) limits: &'a ServerLimits,
    pub(crate) now: Instant,
    /// HEDGE frames that came, and those of them that brought a request before its stream did.
    hedges_received: u64,
    hedges_used: u64,
    ended: bool,
    id: SessionId,
    ups: &'a mut Vec<Up>,
}

impl<'a> Sink<'a> {
    fn new(
        session: &'a mut Server,
        (id, ended): (SessionId, bool),
        limits: &'a ServerLimits,
        now: Instant,
        ups: &'a mut Vec<Up>,
    ) -> Self {
        Self { session, limits, now, hedges_received: 0, hedges_used: 0, ended, id, ups }
    }

    /// Whether the session is over: what still comes is nobody's.
    pub(crate) fn is_ended(&self) -> bool {
        self.ended
    }

    /// Passes bytes of the session's main stream on.
    ///
    /// # Errors
    /// [`Closing`] if the client broke a rule or said good-bye.
    pub(crate) fn take(&mut self, chunk: Bytes, peer: SocketAddr) -> Result<(), Closing> {
        self.take_from(None, chunk, peer)
    }

    /// Passes bytes of a stream on: of the main stream, or of the side stream with this number.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub(crate) fn take_from(
        &mut self,
        side: Option<u8>,
        chunk: Bytes,
        peer: SocketAddr,
    ) -> Result<(), Closing> {
        match side {
            None => self.session.handle_bytes(chunk),
            Some(number) => self.session.handle_side_bytes(number, chunk),
        }
        while let Some(action) = self.session.poll_action(self.limits, self.now)? {
            self.ups.push(up(self.id, action, peer));
        }
        Ok(())
    }

    /// Passes a datagram on.
    pub(crate) fn take_datagram(&mut self, datagram: Bytes, peer: SocketAddr) {
        if !self.ended {
            let (id, ups) = (self.id, &mut *self.ups);
            let taken = self.session.handle_datagram(datagram, self.limits, self.now, |action| {
                ups.push(up(id, action, peer));
            });
            self.hedges_received += u64::from(taken.hedges);
            self.hedges_used += u64::from(taken.hedges_used);
        }
    }
}

/// What the backend hears of an action.
fn up(session: SessionId, action: Action, peer: SocketAddr) -> Up {
    match action {
        Action::Open(hello) => Up::Open { session, hello, peer, vouched: None },
        Action::Request(frame) => {
            Up::Frame { session, lane: frame.lane, kind: frame.kind, id: frame.id, body: frame.body }
        }
        Action::Ack(position) => Up::Ack { session, position },
    }
}

impl Conn {
    pub(crate) fn new(transport: Transport, id: SessionId, limits: &ServerLimits, now: Instant) -> Self {
        Self {
            transport,
            session: Server::new(limits, now),
            id,
            joined: Joined::default(),
            identity: None,
            platform: 0,
            armed: Armed::default(),
            touched: Touched::No,
            counted: Phase { handshaking: true, live: false, ended: false, carrier: None },
            prefix: None,
            told: Told::default(),
            counted_output: 0,
            ended: false,
            #[cfg(test)]
            panic_in_read: false,
        }
    }

    /// How far it has come.
    pub(crate) fn phase(&self) -> Phase {
        let (handshaking, carrier) = match &self.transport {
            Transport::Quic(quic) => {
                (quic.is_handshaking(), quic.is_webtransport().then_some(Carrier::WebTransport))
            }
            Transport::Stream(stream) => (stream.is_handshaking(), stream.carrier()),
        };
        Phase {
            handshaking: handshaking && !self.ended,
            live: self.session.is_live() && !self.ended,
            ended: self.ended,
            carrier,
        }
    }

    /// Whether its client is in a browser, as far as its transport tells.
    pub(crate) fn is_web(&self) -> bool {
        matches!(self.counted.carrier, Some(Carrier::WebSocket | Carrier::WebTransport))
    }

    /// Takes what the transport has, as messages for the backend.
    pub(crate) fn read(&mut self, limits: &ServerLimits, now: Instant, ups: &mut Vec<Up>, stats: &mut Stats) {
        #[cfg(test)]
        assert!(!self.panic_in_read, "injected");
        loop {
            let mut sink = Sink::new(&mut self.session, (self.id, self.ended), limits, now, ups);
            // A byte stream is read when its bytes come.
            let Transport::Quic(quic) = &mut self.transport else { return };
            let read = quic.read(&mut sink);
            stats.hedges_received += sink.hedges_received;
            stats.hedges_used += sink.hedges_used;
            match read.and_then(|()| if self.ended { Ok(()) } else { quic.watch(now).map_err(End::from) }) {
                Ok(()) => return,
                Err(end) => {
                    stats.abuses +=
                        u64::from(matches!(&end, End::Close(end) if end.code == CloseCode::ABUSE));
                    match end {
                        End::Silent => self.end(Some(self.session.silence(limits, now)), ups),
                        end => self.ended_by(end, ups),
                    }
                }
            }
        }
    }

    /// Takes bytes of a byte stream, as messages for the backend.
    pub(crate) fn read_stream(
        &mut self,
        bytes: &mut [u8],
        limits: &ServerLimits,
        now: Instant,
        ups: &mut Vec<Up>,
        stats: &mut Stats,
    ) {
        #[cfg(test)]
        assert!(!self.panic_in_read, "injected");
        let Transport::Stream(stream) = &mut self.transport else { return };
        let mut sink = Sink::new(&mut self.session, (self.id, self.ended), limits, now, ups);
        if let Err(end) = stream.read(bytes, &mut sink, stats) {
            self.ended_by(end, ups);
        }
    }

    /// The client ended its side of a byte stream.
    pub(crate) fn end_stream(&mut self, ups: &mut Vec<Up>) {
        if let Transport::Stream(stream) = &mut self.transport
            && let Err(end) = stream.read_end()
        {
            self.ended_by(end, ups);
        }
    }

    /// Ends the session as its transport says: its client has left, or broken a rule.
    fn ended_by(&mut self, end: End, ups: &mut Vec<Up>) {
        match end {
            End::Lost | End::Silent => self.end(None, ups),
            End::Close(closing) => {
                tracing::debug!(session = ?self.id, code = %closing.code, reason = closing.reason, "session ended");
                self.break_off(closing, Duration::ZERO, None, ups);
            }
        }
    }

    /// Writes what the session has to say into QUIC. A byte stream is written when its socket is.
    /// `squeezed`: QUIC is to take little in advance.
    pub(crate) fn write(&mut self, limits: &ServerLimits, now: Instant, squeezed: bool, stats: &mut Stats) {
        if let Transport::Quic(quic) = &mut self.transport {
            quic.write(&mut self.session, limits, now, squeezed);
            stats.hedges_sent += quic.take_hedges_sent();
        }
    }

    /// Bytes that are kept for the client because it has not read, or not acknowledged, what came before.
    pub(crate) fn output_cost(&self) -> usize {
        let transport = match &self.transport {
            Transport::Quic(quic) => quic.output_cost(),
            Transport::Stream(stream) => stream.unsent_bytes(),
        };
        self.session.output_cost() + transport
    }

    /// Sends a frame that may be lost as a datagram. Returns whether it could; its lane takes it then.
    pub(crate) fn send_datagram(&mut self, frame: &Bytes) -> bool {
        match &mut self.transport {
            Transport::Quic(quic) => self.session.is_live() && quic.send_datagram(frame),
            Transport::Stream(_) => false,
        }
    }

    /// Collects datagrams. Returns whether more are left for the next turn.
    pub(crate) fn transmit(&mut self, now: Instant, transmits: &mut Transmits) -> bool {
        match &mut self.transport {
            Transport::Quic(quic) => quic.transmit(now, transmits),
            Transport::Stream(_) => false,
        }
    }

    /// Ends the session from our side. Its client may still be there, and come back if the code says so.
    pub(crate) fn close(&mut self, closing: Closing, retry_after: Duration, ups: &mut Vec<Up>) {
        let returns = matches!(closing.code.returns(), Return::Now | Return::Later);
        self.break_off(closing, retry_after, returns.then_some(Duration::ZERO), ups);
    }

    fn break_off(
        &mut self,
        closing: Closing,
        retry_after: Duration,
        lost: Option<Duration>,
        ups: &mut Vec<Up>,
    ) {
        if !self.ended {
            self.end(lost, ups);
            self.say_bye(closing, retry_after);
        }
    }

    fn say_bye(&mut self, closing: Closing, retry_after: Duration) {
        self.session.close(&closing, retry_after);
        match &mut self.transport {
            Transport::Quic(quic) => quic.close(closing, &mut self.session),
            Transport::Stream(stream) => stream.close(closing),
        }
    }

    /// The session is over, whoever ended it: tells the backend once. `lost`: for how long nothing was heard of its client, which
    /// has not said so.
    pub(crate) fn end(&mut self, lost: Option<Duration>, ups: &mut Vec<Up>) {
        if !self.ended {
            self.ended = true;
            if self.session.was_opened() {
                let lost_ms = lost.map(|silence| u32::try_from(silence.as_millis()).unwrap_or(u32::MAX - 1));
                ups.push(Up::Close { session: self.id, lost_ms });
            }
        }
    }

    /// Does what is due in the transport and in the session.
    pub(crate) fn handle_timeout(
        &mut self,
        limits: &ServerLimits,
        now: Instant,
        ups: &mut Vec<Up>,
        stats: &mut Stats,
    ) {
        match &mut self.transport {
            Transport::Quic(quic) => quic.handle_timeout(now),
            Transport::Stream(stream) => {
                if let Err(end) = stream.handle_timeout(now) {
                    stats.slow_closes +=
                        u64::from(matches!(&end, End::Close(end) if end.code == CloseCode::SLOW));
                    match end {
                        // What stands still is as a network that has gone.
                        End::Close(closing) => self.close(closing, Duration::ZERO, ups),
                        end => self.ended_by(end, ups),
                    }
                }
            }
        }
        if !self.ended
            && let Err(closing) = self.session.handle_timeout(now)
        {
            stats.slow_closes += u64::from(closing.code == CloseCode::SLOW);
            let silence = match closing.code {
                CloseCode::LOST => limits.idle_timeout,
                _ => Duration::ZERO,
            };
            self.break_off(closing, Duration::ZERO, Some(silence), ups);
        }
    }

    /// Whether an acknowledgement of what it is about to send may wait.
    pub(crate) fn may_defer(&mut self, now: Instant) -> bool {
        match &mut self.transport {
            Transport::Quic(quic) => !self.ended && self.session.is_live() && quic.may_defer(now),
            Transport::Stream(_) => false,
        }
    }

    /// Whether nothing is under way to the client that it has not acknowledged.
    pub(crate) fn is_at_rest(&mut self, now: Instant) -> bool {
        match &mut self.transport {
            Transport::Quic(quic) => quic.is_at_rest(now),
            Transport::Stream(_) => false,
        }
    }

    /// Whether a connection that has sent one datagram has nothing to do before its acknowledgement comes.
    pub(crate) fn expects_one_ack(&mut self, now: Instant) -> bool {
        let session_rests = self.session.poll_timeout().is_none_or(|at| at > now + AT_REST);
        match &mut self.transport {
            Transport::Quic(quic) => session_rests && !self.session.has_output() && quic.expects_one_ack(now),
            Transport::Stream(_) => false,
        }
    }

    /// When [`Self::handle_timeout`] has to be called next.
    pub(crate) fn poll_timeout(&mut self, now: Instant) -> Option<Instant> {
        let session = if self.ended { None } else { self.session.poll_timeout() };
        let transport = match &mut self.transport {
            Transport::Quic(quic) => quic.poll_timeout(),
            Transport::Stream(stream) => stream.poll_timeout(now),
        };
        [transport, session].into_iter().flatten().min()
    }
}
