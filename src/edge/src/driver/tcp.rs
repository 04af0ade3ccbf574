//! The TCP sockets of a shard: accepting, reading, writing, in turn with everything else.
//!
//! All sockets stand in one epoll of their own, which is registered with the thread's runtime as one descriptor: a turn
//! has one wake-up, whatever its sockets have, and a connection costs the runtime nothing, neither a task nor a
//! registration. Events are edges; what an edge said is remembered until the socket says that it is empty.
//!
//! Work per turn is bounded for each socket and in all. Established connections go first; what shakes hands waits behind
//! them, a few in each turn, since a handshake costs as much as thirty messages.

mod young;

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{self, Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use tokio::io::unix::AsyncFd;

use self::young::Young;
use super::register;
use crate::shard::{Cidr, STREAM_BIT, Shard, SocketFate};

/// Events taken from the system at once.
const EVENTS_PER_TURN: usize = 256;

/// New connections taken in one turn: 64 cost 0.3 ms.
const ACCEPTS_PER_TURN: usize = 64;

/// Established connections read in one turn.
const READS_PER_TURN: usize = 64;

/// Connections in their handshake read in one turn: 8 cost 2 ms, as much as the others may wait.
const HANDSHAKES_PER_TURN: usize = 8;

/// Bytes read from one connection in one turn. One buffer serves all: what is read is handed on before the next read.
const READ_BYTES: usize = 64 * 1024;

/// Pause after the system had no descriptor or memory for a connection. Those that run go on; new ones wait in the
/// kernel's queue.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

const LISTENER: Token = Token(usize::MAX);

/// What a shard's TCP side is made of.
#[derive(Debug)]
pub(crate) struct TcpConfig {
    /// Its listener, not blocking.
    pub(crate) listener: net::TcpListener,
    /// Proxies that tell their clients' addresses.
    pub(crate) trusted: Arc<[Cidr]>,
}

pub(super) struct Tcp {
    poll: AsyncFd<Poll>,
    events: Events,
    /// `None`: another process listens.
    listener: Option<TcpListener>,
    /// Whether the listener is looked at.
    accepting: bool,
    trusted: Arc<[Cidr]>,
    /// The listener may have more.
    acceptable: bool,
    retry_accept_at: Option<Instant>,
    young: Young,
    /// The want of descriptors was logged and has not ended.
    starved: bool,
    sockets: Vec<Option<Socket>>,
    /// Established connections to read, in the order in which they became readable.
    established: VecDeque<u32>,
    /// The same for those in their handshake.
    fresh: VecDeque<u32>,
    buffer: Box<[u8]>,
    pub(super) accept_errors: u64,
}

struct Socket {
    stream: TcpStream,
    /// There may be something to read.
    readable: bool,
    /// It stands in a list of connections to read.
    queued: bool,
    /// The peer has ended its side; the end of what it sent has to be read.
    ending: bool,
    /// The end was read.
    ended: bool,
}

/// Waits until sockets have something; for ever without TCP. Cancel safe.
pub(super) async fn readable(tcp: Option<&Tcp>) -> io::Result<()> {
    match tcp {
        Some(tcp) => {
            tcp.poll.readable().await?.retain_ready();
            Ok(())
        }
        None => std::future::pending().await,
    }
}

impl Tcp {
    /// `accepting`: whether it takes connections from the start, see [`Self::set_accepting`].
    pub(super) fn new(config: TcpConfig, accepting: bool) -> io::Result<Self> {
        let mut tcp = Self {
            poll: register(Poll::new()?)?,
            events: Events::with_capacity(EVENTS_PER_TURN),
            listener: Some(TcpListener::from_std(config.listener)),
            accepting: false,
            trusted: config.trusted,
            acceptable: false,
            retry_accept_at: None,
            young: Young::default(),
            starved: false,
            sockets: Vec::new(),
            established: VecDeque::new(),
            fresh: VecDeque::new(),
            buffer: vec![0; READ_BYTES].into(),
            accept_errors: 0,
        };
        tcp.set_accepting(accepting)?;
        Ok(tcp)
    }

    /// Takes new connections, or leaves them in the kernel's queue for another process that has the listener too. Those
    /// that are established go on in either case.
    pub(super) fn set_accepting(&mut self, accepting: bool) -> io::Result<()> {
        let Some(listener) = &mut self.listener else { return Ok(()) };
        if accepting != self.accepting {
            let registry = self.poll.get_ref().registry();
            match accepting {
                true => registry.register(listener, LISTENER, Interest::READABLE)?,
                false => registry.deregister(listener)?,
            }
            self.accepting = accepting;
        }
        (self.acceptable, self.retry_accept_at) = (false, None);
        Ok(())
    }

    /// Never takes a new connection again.
    pub(super) fn close_listener(&mut self) {
        self.listener = None;
        (self.acceptable, self.retry_accept_at) = (false, None);
    }

    /// Whether another turn has work at once.
    pub(super) fn has_work(&self) -> bool {
        self.acceptable || !self.established.is_empty() || !self.fresh.is_empty()
    }

    /// When it has to run next, if nothing else happens before.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.retry_accept_at
    }

    /// Takes what sockets have. `waited`: the runtime was asked what is ready; if not, the system is asked directly.
    pub(super) fn receive(&mut self, shard: &mut Shard, now: Instant, waited: bool) {
        if !waited || self.is_flagged() {
            self.take_events(shard);
        }
        if self.retry_accept_at.is_some_and(|at| at <= now) {
            self.retry_accept_at = None;
            self.acceptable = true;
        }
        if self.acceptable {
            self.accept(shard, now);
        }
        // What is queued meanwhile waits for the next turn.
        for _ in 0..self.established.len().min(READS_PER_TURN) {
            let Some(index) = self.established.pop_front() else { break };
            self.read(shard, index, now);
        }
    }

    /// Whether [`Self::handshakes`] has something to do.
    pub(super) fn has_handshakes(&self) -> bool {
        !self.fresh.is_empty()
    }

    /// Reads what shakes hands, a few. Comes after [`Self::flush`]: live clients have their answers by then. Returns how
    /// many handshakes were finished.
    pub(super) fn handshakes(&mut self, shard: &mut Shard, now: Instant) -> usize {
        let before = shard.stream_handshakes();
        for _ in 0..self.fresh.len().min(HANDSHAKES_PER_TURN) {
            let Some(index) = self.fresh.pop_front() else { break };
            self.read(shard, index, now);
        }
        usize::try_from(shard.stream_handshakes() - before).unwrap_or(usize::MAX)
    }

    /// Serves the sockets that the turn had something for.
    pub(super) fn flush(&mut self, shard: &mut Shard, now: Instant) {
        while let Some(index) = shard.poll_stream() {
            let Some(socket) = self.sockets.get_mut(place(index)).and_then(Option::as_mut) else { continue };
            let stream = &mut socket.stream;
            match shard.write_stream(now, index, |bytes| write(stream, bytes)) {
                SocketFate::Keep => self.queue(shard, index),
                SocketFate::ShutDown => {
                    // It fails when the peer is gone, which reading finds out.
                    let _ = stream.shutdown(Shutdown::Write);
                    self.queue(shard, index);
                }
                SocketFate::Drop => self.drop_socket(shard, index),
            }
        }
    }

    /// Whether the runtime knows of an event.
    fn is_flagged(&self) -> bool {
        self.poll.try_io(tokio::io::Interest::READABLE, |_| Ok(())).is_ok()
    }

    fn take_events(&mut self, shard: &mut Shard) {
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        if let Err(error) = self.poll.get_mut().poll(&mut events, Some(Duration::ZERO)) {
            // Interrupted, or worse; the next turn asks again.
            tracing::debug!(%error, "poll");
        }
        let mut count = 0;
        for event in &events {
            count += 1;
            if event.token() == LISTENER {
                self.acceptable = true;
                continue;
            }
            let index = u32::try_from(event.token().0).expect("tokens are numbers of streams");
            // A socket that was dropped in this turn may still have an event.
            let Some(socket) = self.sockets.get_mut(place(index)).and_then(Option::as_mut) else { continue };
            if event.is_writable() {
                shard.unblock_stream(index);
            }
            if event.is_readable() || event.is_read_closed() || event.is_error() {
                socket.readable = !socket.ended || event.is_error();
                socket.ending |= event.is_read_closed() || event.is_error();
                self.queue(shard, index);
            }
        }
        self.events = events;
        if count < EVENTS_PER_TURN {
            // Nothing is left, and what comes raises a new edge of the outer epoll.
            let nothing = |_: &Poll| Err::<(), _>(io::ErrorKind::WouldBlock.into());
            let _ = self.poll.try_io(tokio::io::Interest::READABLE, nothing);
        }
    }

    fn accept(&mut self, shard: &mut Shard, now: Instant) {
        for _ in 0..ACCEPTS_PER_TURN {
            if !self.young.has_room(now, |index| shard.is_fresh_stream(index)) {
                self.acceptable = false;
                self.retry_accept_at = Some(now + young::RETRY);
                return;
            }
            let Some(listener) = self.listener.as_ref().filter(|_| self.accepting) else {
                self.acceptable = false;
                return;
            };
            match listener.accept() {
                Ok((stream, peer)) => {
                    if std::mem::take(&mut self.starved) {
                        tracing::info!("connections are accepted again");
                    }
                    self.insert(shard, now, stream, peer);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.acceptable = false;
                    return;
                }
                Err(error) if is_starvation(&error) => {
                    self.accept_errors += 1;
                    if !std::mem::replace(&mut self.starved, true) {
                        tracing::warn!(%error, "no new TCP connections for now: raise the limit of descriptors (ulimit -n)");
                    }
                    self.acceptable = false;
                    self.retry_accept_at = Some(now + ACCEPT_RETRY);
                    return;
                }
                // Of one connection that is gone already.
                Err(error) => tracing::debug!(%error, "accept"),
            }
        }
    }

    fn insert(&mut self, shard: &mut Shard, now: Instant, mut stream: TcpStream, peer: SocketAddr) {
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let proxied = self.trusted.iter().any(|range| range.contains(peer.ip()));
        // Without room the socket is dropped, which its client sees as an end.
        let Some(index) = shard.open_stream(now, peer, proxied) else { return };
        let interest = Interest::READABLE | Interest::WRITABLE;
        let token = Token(usize::try_from(index).expect("numbers fit"));
        if let Err(error) = self.poll.get_ref().registry().register(&mut stream, token, interest) {
            tracing::debug!(%error, "register");
            return shard.drop_stream(index);
        }
        let at = place(index);
        if self.sockets.len() <= at {
            self.sockets.resize_with(at + 1, || None);
        }
        self.young.insert(now, index);
        // What the client sent already raises an event of its own.
        self.sockets[at] =
            Some(Socket { stream, readable: false, queued: false, ending: false, ended: false });
    }

    /// Puts a socket on its list, if there is something to read and the shard wants it.
    fn queue(&mut self, shard: &mut Shard, index: u32) {
        let Some(socket) = self.sockets.get_mut(place(index)).and_then(Option::as_mut) else { return };
        if socket.readable && !socket.queued && shard.reads_stream(index) {
            socket.queued = true;
            let list = if shard.is_fresh_stream(index) { &mut self.fresh } else { &mut self.established };
            list.push_back(index);
        }
    }

    fn read(&mut self, shard: &mut Shard, index: u32, now: Instant) {
        let Some(socket) = self.sockets.get_mut(place(index)).and_then(Option::as_mut) else { return };
        socket.queued = false;
        match socket.stream.read(&mut self.buffer) {
            Ok(0) => {
                socket.readable = false;
                socket.ended = true;
                shard.end_stream(index);
            }
            Ok(count) => {
                // Less than there was room for: the socket is empty, unless its end is still to be read.
                socket.readable = count == self.buffer.len() || socket.ending;
                shard.read_stream(now, index, &mut self.buffer[..count]);
                self.queue(shard, index);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => socket.readable = false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.queue(shard, index),
            Err(error) => {
                tracing::debug!(%error, "read");
                self.drop_socket(shard, index);
            }
        }
    }

    /// Closing a descriptor takes it out of the epoll.
    fn drop_socket(&mut self, shard: &mut Shard, index: u32) {
        if self.sockets[place(index)].take().is_some() {
            shard.drop_stream(index);
        }
    }
}

fn place(index: u32) -> usize {
    (index & !STREAM_BIT) as usize
}

/// How many bytes the socket took; `None` if it is broken.
fn write(stream: &mut TcpStream, bytes: &[u8]) -> Option<usize> {
    loop {
        match stream.write(bytes) {
            Ok(count) => return Some(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Some(0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                tracing::debug!(%error, "write");
                return None;
            }
        }
    }
}

/// Whether the system lacks something for any new connection, rather than one connection having failed.
fn is_starvation(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}
