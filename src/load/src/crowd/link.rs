//! One connection of a member: QUIC below, the session above, nothing else. Pure.

use std::time::{Duration, Instant};

use bytes::Bytes;
use nearport_session::{Client, ClientConfig, Closing, Event as SessionEvent, Outbox};
use nearport_wire::body::Hello;
use nearport_wire::close::CloseCode;
use quinn_proto::{
    Connection, ConnectionError, ConnectionHandle, Dir, Event, ReadError, StreamEvent, StreamId, VarInt,
};

use super::agenda::Armed;
use super::pipes::Outgoing;

/// Datagrams that one connection may send in one step.
const DATAGRAMS_PER_STEP: usize = 20;

/// A connection whose member has another one, or none any more: it only says its last words.
pub(super) const NOBODY: u32 = u32::MAX;

/// What a request to join waits for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) id: u64,
    pub(super) at: Instant,
}

/// See the module documentation. What each datagram touches comes first.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Link {
    /// Its member, or [`NOBODY`].
    pub(super) seat: u32,
    /// Its socket.
    pub(super) pipe: u16,
    /// It stands in the list of those to step.
    pub(super) touched: bool,
    /// It has said good-bye.
    pub(super) leaving: bool,
    /// QUIC has ended.
    pub(super) lost: bool,
    pub(super) armed: Armed,
    main: Option<StreamId>,
    /// The bulk lane's own stream, once it is used.
    bulk: Option<StreamId>,
    session: Option<Client>,
    quic: Connection,
    pub(super) handle: ConnectionHandle,
    pub(super) began: Instant,
    /// When the log-in, or the good-bye, has taken too long.
    pub(super) due: Option<Instant>,
    /// When to ask for the room again.
    pub(super) ask_at: Option<Instant>,
    pub(super) asked: Option<Asked>,
    /// Until QUIC is up.
    hello: Option<Box<Hello>>,
    datagrams: bool,
    answer_timeout: Duration,
}

/// What a link needs beside its connection.
pub(super) struct Start {
    pub(super) seat: u32,
    pub(super) pipe: u16,
    pub(super) hello: Hello,
    /// Whether this side has any use for datagrams.
    pub(super) datagrams: bool,
    /// When the log-in began, and when it has taken too long.
    pub(super) began: Instant,
    pub(super) due: Instant,
}

impl Link {
    pub(super) fn new(start: Start, handle: ConnectionHandle, quic: Connection) -> Self {
        Self {
            seat: start.seat,
            pipe: start.pipe,
            touched: false,
            leaving: false,
            lost: false,
            armed: Armed::default(),
            main: None,
            bulk: None,
            session: None,
            quic,
            handle,
            began: start.began,
            due: Some(start.due),
            ask_at: None,
            asked: None,
            hello: Some(Box::new(start.hello)),
            datagrams: start.datagrams,
            answer_timeout: ClientConfig::default().answer_timeout,
        }
    }

    /// The connection, for what the endpoint has for it.
    pub(super) fn quic(&mut self) -> &mut Connection {
        &mut self.quic
    }

    /// The session, once there is one and until it has ended.
    pub(super) fn session(&mut self) -> Option<&mut Client> {
        self.session.as_mut()
    }

    pub(super) fn is_live(&self) -> bool {
        self.session.as_ref().is_some_and(Client::is_live)
    }

    /// The next thing that the session tells.
    pub(super) fn poll_event(&mut self) -> Option<SessionEvent> {
        self.session.as_mut()?.poll_event()
    }

    /// Takes what QUIC has. An end before there is a session is returned.
    pub(super) fn read(&mut self, now: Instant) -> Option<Closing> {
        while let Some(event) = self.quic.poll() {
            match event {
                Event::Connected => self.open(now),
                Event::ConnectionLost { reason } => {
                    self.lost = true;
                    let closing = closing_of(&reason);
                    match &mut self.session {
                        Some(session) => session.handle_disconnect(closing),
                        None => return Some(closing),
                    }
                }
                Event::Stream(StreamEvent::Readable { id }) => self.read_stream(id, now),
                Event::Stream(StreamEvent::Stopped { id, .. }) if Some(id) == self.main => {
                    self.end("the server stopped reading");
                }
                Event::DatagramReceived => {
                    while let Some(datagram) = self.quic.datagrams().recv() {
                        if let Some(session) = &mut self.session {
                            session.handle_datagram(now, datagram);
                        }
                    }
                }
                _ => {}
            }
        }
        None
    }

    /// QUIC is up: opens the main stream and begins the session on it.
    fn open(&mut self, now: Instant) {
        let Some(hello) = self.hello.take() else { return };
        // A server without a stream for us does not speak our protocol; the log-in's time runs out.
        self.main = self.quic.streams().open(Dir::Bi);
        let datagram_bytes_max = self.quic.datagrams().max_size().filter(|_| self.datagrams);
        let answer_timeout = self.answer_timeout;
        let config =
            ClientConfig { answer_timeout, bulk_stream: true, datagram_bytes_max, ..ClientConfig::default() };
        self.session = Some(Client::new(config, &hello, now));
    }

    fn read_stream(&mut self, id: StreamId, now: Instant) {
        let Some(session) = &mut self.session else { return };
        let bulk = self.bulk == Some(id);
        let mut stream = self.quic.recv_stream(id);
        let Ok(mut chunks) = stream.read(true) else { return };
        // The stream's window bounds what comes.
        let over = loop {
            match chunks.next(usize::MAX) {
                Ok(Some(chunk)) if bulk => session.handle_bulk_bytes(now, chunk.bytes),
                Ok(Some(chunk)) => session.handle_bytes(now, chunk.bytes),
                Err(ReadError::Blocked) => break false,
                Ok(None) | Err(ReadError::Reset(_)) => break true,
            }
        };
        // A window update leaves with what is sent next.
        let _ = chunks.finalize();
        if over {
            self.end("the server ended the stream");
        }
    }

    fn end(&mut self, why: &str) {
        if let Some(session) = &mut self.session {
            session.handle_disconnect(Closing::new(CloseCode::LOST, why));
        }
    }

    /// Writes what the session has to say into QUIC.
    pub(super) fn write(&mut self) {
        let Some(session) = &mut self.session else { return };
        if let Some(main) = self.main {
            write_stream(&mut self.quic, main, session.poll_output());
        }
        while let Some(datagram) = session.poll_datagram() {
            // One that does not fit is lost, as any may be.
            let _ = self.quic.datagrams().send(datagram, true);
        }
        if let Some(outbox) = session.poll_bulk_output().filter(|outbox| !outbox.is_empty()) {
            if self.bulk.is_none() {
                self.bulk = self.quic.streams().open(Dir::Bi);
            }
            if let Some(bulk) = self.bulk {
                write_stream(&mut self.quic, bulk, outbox);
            }
        }
    }

    /// Collects datagrams. `true`: there are more.
    pub(super) fn transmit(&mut self, now: Instant, out: &mut Outgoing) -> bool {
        for _ in 0..DATAGRAMS_PER_STEP {
            let mut buffer = out.buffer();
            if self.quic.poll_transmit(now, 1, &mut buffer).is_none() {
                out.recycle(buffer);
                return false;
            }
            out.push(self.pipe, buffer);
        }
        true
    }

    /// The session says good-bye; the server ends the connection.
    pub(super) fn say_good_bye(&mut self, now: Instant, within: Duration) {
        self.leaving = true;
        (self.due, self.ask_at) = (Some(now + within), None);
        if let Some(session) = &mut self.session {
            session.close(now);
        }
        self.write();
        self.session = None;
        if let Some(main) = self.main {
            let _ = self.quic.send_stream(main).finish();
        }
    }

    /// The session is over and nobody sits here any more: QUIC says so, if it still can.
    pub(super) fn abandon(&mut self, now: Instant, code: CloseCode) {
        (self.seat, self.session, self.due, self.ask_at, self.asked) = (NOBODY, None, None, None, None);
        if !self.lost {
            self.quic.close(now, VarInt::from_u32(code.0), Bytes::new());
        }
    }

    /// Does what is due in QUIC and in the session.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.quic.poll_timeout().is_some_and(|at| at <= now) {
            self.quic.handle_timeout(now);
        }
        if let Some(session) = self.session.as_mut().filter(|session| is_due(session.poll_timeout(), now)) {
            session.handle_timeout(now);
        }
    }

    /// When to look at it again.
    pub(super) fn deadline(&mut self) -> Option<Instant> {
        let session = self.session.as_ref().and_then(Client::poll_timeout);
        [self.quic.poll_timeout(), session, self.due, self.ask_at].into_iter().flatten().min()
    }
}

/// Whether a deadline has come.
pub(super) fn is_due(deadline: Option<Instant>, now: Instant) -> bool {
    deadline.is_some_and(|at| at <= now)
}

/// What QUIC does not take waits: every step tries again.
fn write_stream(quic: &mut Connection, id: StreamId, outbox: &mut Outbox) {
    while !outbox.is_empty() {
        let Ok(written) = quic.send_stream(id).write_chunks(outbox.chunks()) else { return };
        outbox.written(written.chunks, written.bytes);
    }
}

/// What the end of a connection means to its session.
fn closing_of(error: &ConnectionError) -> Closing {
    let code = match error {
        ConnectionError::ApplicationClosed(close) => {
            let code = u32::try_from(close.error_code.into_inner()).unwrap_or(u32::MAX);
            return Closing::new(CloseCode(code), String::from_utf8_lossy(&close.reason));
        }
        ConnectionError::VersionMismatch => CloseCode::VERSION,
        ConnectionError::ConnectionClosed(_) | ConnectionError::TransportError(_) => CloseCode::UNAVAILABLE,
        ConnectionError::Reset
        | ConnectionError::TimedOut
        | ConnectionError::LocallyClosed
        | ConnectionError::CidsExhausted => CloseCode::LOST,
    };
    Closing::new(code, error.to_string())
}
