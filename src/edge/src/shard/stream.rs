//! What is a byte stream's in a connection: TLS 1.3 over TCP, and in it the frames directly or a WebSocket.
//!
//! ```text
//!  (PROXY header) → TLS handshake ─ ALPN np/1 ─────────────► frames ────┐
//!                        │                                              ├─► closing → lingering → gone
//!                        └─ ALPN http/1.1 or none → GET /np → WebSocket ┘
//! ```
//!
//! The session counts its time for the hello from the accept, over all that lies before it, so that who dawdles in any
//! step is gone after the same ten seconds. Input is opened where the driver read it and handed on at once; output is
//! sealed when the socket can take it, one record ahead at most. So a connection at rest holds no buffer, and one that
//! does not read holds what its session may hold and one record.

pub(super) mod http;
mod payload;
pub(super) mod proxy;
pub(super) mod record;
pub(super) mod tls;
pub(super) mod websocket;

use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use nearport_session::{Closing, Server, ServerLimits};
use nearport_wire::close::CloseCode;
use rustls::ServerConfig;

use super::conn::{End, Sink};
use crate::stats::Stats;
use http::Refusal;
use payload::{WebSocket, seal, seal_frames};
use record::PLAINTEXT_BYTES_MAX;
use tls::{Item, Speech, Tls};

/// Bytes that one connection may write in one turn; the rest waits for the next, behind the others.
const WRITE_BYTES_PER_TURN: usize = 4 * PLAINTEXT_BYTES_MAX;

/// Output that waits above which the connection is not read: its own requests made it. Beyond what the session keeps of
/// pushes.
const REPLY_BYTES_MAX: usize = 64 * 1024;

/// How long a socket may take nothing while something waits for it. A network that comes back within this time lost
/// nothing; after it, memory is better spent on others, and the client comes back with its cursor.
const STALL_MAX: Duration = Duration::from_secs(30);

/// Time for the last bytes of a connection that is closed.
const FLUSH_MAX: Duration = Duration::from_secs(5);

/// Time for the client to close its side after ours. Closing at once could destroy what it has not read: a reset follows
/// when it still sends.
const LINGER: Duration = Duration::from_secs(1);

/// What the driver has to do with a socket after [`super::Shard::write_stream`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketFate {
    /// Keep it.
    Keep,
    /// Shut its writing side down; go on reading, to see its end.
    ShutDown,
    /// Drop it, then call [`super::Shard::drop_stream`].
    Drop,
}

/// How a connection came to carry frames, if it is not one of QUIC with our own protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carrier {
    Tls,
    WebSocket,
    WebTransport,
}

/// What a PROXY header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proxied {
    /// There is none, or it names nobody: the socket's peer is the client.
    No,
    /// It is not complete; all input was taken.
    Incomplete,
    /// Who the client is. Given once.
    Client(IpAddr),
    /// There should be one, and it cannot be read.
    Refused,
}

/// A session's TCP connection, without its socket.
#[derive(Debug)]
pub(crate) struct StreamTransport {
    /// The client's address: the socket's, or what a trusted proxy says.
    peer: SocketAddr,
    tls: Tls,
    layer: Layer,
    stage: Stage,
    /// The socket took less than it was offered; wait until it is writable.
    blocked: bool,
    /// It stands in the shard's list of connections to write.
    pub(crate) queued: bool,
    /// Sealed and not taken by the socket: at most what one write had too much, and a handshake's flight.
    unsent: Vec<u8>,
    unsent_at: usize,
    /// The client's side of the socket ended.
    read_ended: bool,
    /// When the rest of a record must have come.
    read_by: Option<Instant>,
    /// When the full socket must have taken something.
    write_by: Option<Instant>,
}

/// What the bytes mean.
#[derive(Debug)]
enum Layer {
    /// A PROXY header that is not complete.
    Proxy(Vec<u8>),
    /// TLS shakes hands.
    Handshake,
    /// A request that is not complete.
    Http(Vec<u8>),
    Frames,
    WebSocket(Box<WebSocket>),
}

#[derive(Debug)]
enum Stage {
    Open,
    /// What the session has left is written, then the good-bye.
    Closing(Box<Goodbye>),
    /// All is written; the client closes its side, at the latest by then.
    Lingering(Instant),
    /// The socket is to be dropped.
    Gone,
}

#[derive(Debug, Default)]
struct Goodbye {
    /// Why the session ended, where the client is to hear of it.
    closing: Option<Closing>,
    said: bool,
    /// When it must be out.
    by: Option<Instant>,
}

impl StreamTransport {
    /// A connection that was just accepted. `proxied`: its peer is a proxy that tells the client's address.
    ///
    /// # Errors
    /// rustls' error for a configuration that cannot serve.
    pub(crate) fn new(
        peer: SocketAddr,
        proxied: bool,
        tls: Arc<ServerConfig>,
    ) -> Result<Self, rustls::Error> {
        Ok(Self {
            peer,
            tls: Tls::new(tls)?,
            layer: if proxied { Layer::Proxy(Vec::new()) } else { Layer::Handshake },
            stage: Stage::Open,
            blocked: false,
            queued: false,
            unsent: Vec::new(),
            unsent_at: 0,
            read_ended: false,
            read_by: None,
            write_by: None,
        })
    }

    /// Whether no frame can come yet.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.carrier().is_none()
    }

    /// What carries the frames, once something does.
    pub(crate) fn carrier(&self) -> Option<Carrier> {
        match self.layer {
            Layer::Frames => Some(Carrier::Tls),
            Layer::WebSocket(_) => Some(Carrier::WebSocket),
            _ => None,
        }
    }

    /// Takes bytes of the socket, which are decrypted in place. Once the session is over they are nobody's.
    pub(crate) fn read(
        &mut self,
        input: &mut [u8],
        sink: &mut Sink<'_>,
        stats: &mut Stats,
    ) -> Result<(), End> {
        if !matches!(self.stage, Stage::Open) {
            return Ok(());
        }
        let outcome = self.read_tls(input, sink, stats);
        self.read_by = if self.owes_bytes() {
            // The first byte starts the clock; more of the same record does not.
            self.read_by.or(Some(sink.now + sink.limits.frame_timeout))
        } else {
            None
        };
        outcome
    }

    /// Whether the client began something that takes memory here and has not finished it.
    fn owes_bytes(&self) -> bool {
        let owes_frame = matches!(&self.layer, Layer::WebSocket(web) if web.decoder.is_mid_header());
        self.tls.is_mid_record() || owes_frame
    }

    /// Takes the PROXY header, of a connection that has to begin with one. `input` goes on behind it.
    pub(crate) fn read_proxy(&mut self, input: &mut &mut [u8]) -> Proxied {
        let Layer::Proxy(held) = &mut self.layer else { return Proxied::No };
        let had = held.len();
        let take = input.len().min(proxy::HEADER_BYTES_MAX - had);
        held.extend_from_slice(&input[..take]);
        match proxy::parse(held) {
            Ok(None) => Proxied::Incomplete,
            Ok(Some(header)) => {
                self.layer = Layer::Handshake;
                // What was held before was no whole header, so its end lies in `input`.
                *input = &mut mem::take(input)[header.bytes - had..];
                match header.client {
                    Some(client) => {
                        self.peer = client;
                        Proxied::Client(client.ip())
                    }
                    None => Proxied::No,
                }
            }
            Err(refusal) => {
                tracing::debug!(peer = %self.peer, %refusal, "proxy header refused");
                Proxied::Refused
            }
        }
    }

    /// Drops the connection without a word.
    pub(crate) fn abort(&mut self) {
        self.stage = Stage::Gone;
    }

    fn read_tls(&mut self, mut input: &mut [u8], sink: &mut Sink<'_>, stats: &mut Stats) -> Result<(), End> {
        let peer = self.peer;
        loop {
            let Self { tls, layer, unsent, .. } = self;
            let item = match tls.next(&mut input, unsent) {
                Ok(Some(item)) => item,
                Ok(None) => break,
                Err(failure) => {
                    tls.fail(&failure, unsent);
                    tracing::debug!(%peer, %failure, "tls failed");
                    stats.tls_failures += 1;
                    self.leave();
                    return Err(End::Lost);
                }
            };
            match (item, layer) {
                (Item::Established(established), layer) => {
                    stats.tls_handshakes += 1;
                    stats.tls_resumed += u64::from(established.resumed);
                    match established.speech {
                        Speech::Frames => *layer = Layer::Frames,
                        Speech::Http => *layer = Layer::Http(Vec::new()),
                        Speech::Challenge => {
                            tracing::debug!(%peer, "certificate challenge answered");
                            self.leave();
                            return Err(End::Lost);
                        }
                    }
                }
                (Item::Data(plain), Layer::Frames) => sink.take(Bytes::copy_from_slice(plain), peer)?,
                (Item::Data(plain), Layer::WebSocket(web)) => web.read(plain, peer, sink)?,
                (Item::Data(plain), Layer::Http(held)) => {
                    held.extend_from_slice(plain);
                    self.read_http(sink, stats)?;
                }
                // TLS gives data behind the handshake only.
                (Item::Data(_), Layer::Proxy(_) | Layer::Handshake) => {}
            }
        }
        if self.tls.is_peer_closed() {
            return Err(Closing::new(CloseCode::BYE, "the client closed TLS").into());
        }
        Ok(())
    }

    fn read_http(&mut self, sink: &mut Sink<'_>, stats: &mut Stats) -> Result<(), End> {
        let Layer::Http(held) = &mut self.layer else { return Ok(()) };
        match http::parse(held) {
            Ok(None) => Ok(()),
            Ok(Some(upgrade)) => {
                let mut held = mem::take(held);
                let mut web = Box::<WebSocket>::default();
                stats.websocket_upgrades += 1;
                self.say(&upgrade.response);
                // A client has to wait for the answer before it sends frames; one that did not is understood all the same.
                let outcome = web.read(&mut held[upgrade.bytes..], self.peer, sink);
                self.layer = Layer::WebSocket(web);
                outcome
            }
            Err(refusal) => {
                stats.upgrade_refusals += 1;
                self.refuse(refusal);
                Err(End::Lost)
            }
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        tracing::debug!(peer = %self.peer, status = refusal.status(), "upgrade refused");
        self.say(&refusal.response());
        self.leave();
    }

    /// Seals `plain`, of one record at most, behind what waits already.
    fn say(&mut self, plain: &[u8]) {
        if let Some(traffic) = self.tls.traffic() {
            seal(traffic, &mut self.unsent, |out| out.extend_from_slice(plain));
        }
    }

    /// The client's side of the socket ended. It may still read.
    pub(crate) fn read_end(&mut self) -> Result<(), End> {
        self.read_ended = true;
        match self.stage {
            Stage::Open if self.is_handshaking() => {
                self.stage = Stage::Gone;
                Err(End::Lost)
            }
            Stage::Open => Err(Closing::new(CloseCode::LOST, "the client ended its connection").into()),
            Stage::Lingering(_) => {
                self.stage = Stage::Gone;
                Ok(())
            }
            Stage::Closing(_) | Stage::Gone => Ok(()),
        }
    }

    /// Whether the socket should be read. Not while the answers to what was read wait in large amount: who does not read
    /// them gets no more, and costs no more.
    pub(crate) fn wants_read(&self, session: &Server, limits: &ServerLimits) -> bool {
        let waiting = session.output_bytes() + self.unsent.len();
        !self.blocked || waiting <= limits.push_bytes_max + REPLY_BYTES_MAX
    }

    /// Sealed bytes that the socket did not take.
    pub(crate) fn unsent_bytes(&self) -> usize {
        self.unsent.len()
    }

    /// Whether the driver has to look at the socket.
    pub(crate) fn wants_write(&self, session: &Server) -> bool {
        match &self.stage {
            Stage::Gone => true,
            _ if self.blocked => false,
            Stage::Closing(_) => true,
            Stage::Open | Stage::Lingering(_) => !self.unsent.is_empty() || self.has_output(session),
        }
    }

    fn has_output(&self, session: &Server) -> bool {
        match &self.layer {
            Layer::Frames => session.has_output() || self.tls.has_output(),
            Layer::WebSocket(web) => session.has_output() || self.tls.has_output() || web.pong.is_some(),
            _ => false,
        }
    }

    /// The socket takes bytes again. Returns whether that was waited for.
    pub(crate) fn unblock(&mut self) -> bool {
        mem::take(&mut self.blocked)
    }

    /// Writes what there is, as far as the socket takes it: `put` says how many bytes it took (fewer than offered: it is
    /// full), or `None` if it is broken. `scratch` is where records are sealed. The second value says that more is left
    /// for the next turn.
    pub(crate) fn write(
        &mut self,
        session: &mut Server,
        now: Instant,
        scratch: &mut Vec<u8>,
        mut put: impl FnMut(&[u8]) -> Option<usize>,
    ) -> (SocketFate, bool) {
        let mut budget = WRITE_BYTES_PER_TURN;
        loop {
            if matches!(self.stage, Stage::Gone) {
                return (SocketFate::Drop, false);
            }
            if self.blocked {
                return (SocketFate::Keep, false);
            }
            if !self.unsent.is_empty() {
                let taken = put(&self.unsent[self.unsent_at..]);
                self.unsent_at += taken.unwrap_or(0);
                let all = self.unsent_at == self.unsent.len();
                if all {
                    self.unsent = Vec::new();
                    self.unsent_at = 0;
                }
                self.took(taken, all, now);
                continue;
            }
            if budget == 0 {
                return (SocketFate::Keep, true);
            }
            scratch.clear();
            self.seal_next(session, scratch);
            if scratch.is_empty() {
                return (self.finish(now), false);
            }
            budget = budget.saturating_sub(scratch.len());
            let taken = put(scratch);
            let all = taken == Some(scratch.len());
            if !all {
                self.unsent = scratch[taken.unwrap_or(0)..].to_vec();
            }
            self.took(taken, all, now);
        }
    }

    /// The socket took so many bytes, all that it was offered or not.
    fn took(&mut self, taken: Option<usize>, all: bool, now: Instant) {
        let Some(taken) = taken else {
            self.stage = Stage::Gone;
            return;
        };
        self.blocked = !all;
        if taken > 0 || all {
            self.write_by = None;
        }
        if !all && self.write_by.is_none() {
            self.write_by = Some(now + STALL_MAX);
        }
    }

    /// Seals what comes next, one record of it.
    fn seal_next(&mut self, session: &mut Server, out: &mut Vec<u8>) {
        if let Some(traffic) = self.tls.traffic() {
            traffic.poll(out);
            match &mut self.layer {
                Layer::Frames => seal_frames(traffic, session.poll_output(), out),
                Layer::WebSocket(web) => web.seal(traffic, session.poll_output(), out),
                _ => {}
            }
        }
        if out.is_empty()
            && let Stage::Closing(goodbye) = &mut self.stage
            && !mem::replace(&mut goodbye.said, true)
        {
            let closing = goodbye.closing.as_ref();
            if let (Some(traffic), Some(closing)) = (self.tls.traffic(), closing) {
                let words = match &self.layer {
                    Layer::WebSocket(web) => Some(web.close(closing)),
                    Layer::Http(_) => Some(Refusal::of(closing.code).response()),
                    _ => None,
                };
                if let Some(words) = words {
                    seal(traffic, out, |out| out.extend_from_slice(&words));
                }
            }
            self.tls.close(out);
        }
    }

    /// Everything is written: what that means for a connection that closes.
    fn finish(&mut self, now: Instant) -> SocketFate {
        if !matches!(self.stage, Stage::Closing(_)) {
            return SocketFate::Keep;
        }
        // A client whose handshake failed, or that has ended its side, has nothing more to say.
        if self.read_ended {
            self.stage = Stage::Gone;
            return SocketFate::Drop;
        }
        self.stage = Stage::Lingering(now + LINGER);
        SocketFate::ShutDown
    }

    /// The session ended; its last frames go out, then the good-bye.
    pub(crate) fn close(&mut self, closing: Closing) {
        if matches!(self.stage, Stage::Open) {
            // Before TLS is up there is no way to say anything.
            self.stage = if self.tls.is_handshaking() {
                Stage::Gone
            } else {
                Stage::Closing(Box::new(Goodbye { closing: Some(closing), ..Goodbye::default() }))
            };
        }
    }

    /// The connection ends without a word of the session.
    fn leave(&mut self) {
        self.stage = Stage::Closing(Box::default());
    }

    /// Does what is due.
    ///
    /// # Errors
    /// [`End`] if that ends the session.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Result<(), End> {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        match &self.stage {
            Stage::Open if due(self.write_by) => {
                // Behind what the socket does not take nobody would read a good-bye.
                self.stage = Stage::Gone;
                return Err(Closing::new(CloseCode::SLOW, "the socket took nothing for 30 s").into());
            }
            Stage::Open if due(self.read_by) => {
                let reason = "half a TLS record or WebSocket frame and then silence";
                return Err(Closing::new(CloseCode::TIMEOUT, reason).into());
            }
            Stage::Closing(goodbye) if due(goodbye.by) => self.stage = Stage::Gone,
            Stage::Lingering(by) if *by <= now => self.stage = Stage::Gone,
            _ => {}
        }
        Ok(())
    }

    /// When [`Self::handle_timeout`] has to be called next. The clock of a good-bye starts here.
    pub(crate) fn poll_timeout(&mut self, now: Instant) -> Option<Instant> {
        match &mut self.stage {
            Stage::Open => [self.read_by, self.write_by].into_iter().flatten().min(),
            Stage::Closing(goodbye) => Some(*goodbye.by.get_or_insert(now + FLUSH_MAX)),
            Stage::Lingering(by) => Some(*by),
            Stage::Gone => None,
        }
    }
}
