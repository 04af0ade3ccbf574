//! The locator's side of the steering link: sockets, handshakes, and the threads of links.
//!
//! Each link has two threads: one reads and tells the board, the other says each second that the locator is here, and at once what is
//! new.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nearport_trunk::Stream;
use nearport_trunk::listen::wake;
use nearport_trunk::tls::{accept, edge_name, is_for, left};
use rustls::ServerConfig;

use crate::link::{self, HANDSHAKE_MAX, TICK};
use crate::locator::{Locator, Shared};
use crate::message::{Down, Up};

/// Handshakes under way; more are closed at once, and their edges come again.
const HANDSHAKES_MAX: usize = 64;

/// Pause when the system gives no descriptor.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Takes links of edges. Dropping it ends them all.
pub struct Listener {
    address: SocketAddr,
    accepting: Arc<Accepting>,
    thread: Option<JoinHandle<()>>,
}

struct Accepting {
    locator: Locator,
    tls: Mutex<Arc<ServerConfig>>,
    silence: Duration,
    /// By number: sockets that are not linked yet, to be cut at the end.
    handshakes: Mutex<BTreeMap<u64, TcpStream>>,
    came: AtomicU64,
    stopped: Mutex<bool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Listener {
    /// Serves whoever comes to `socket`. `tls` is of [`crate::tls::listen_config`].
    ///
    /// # Errors
    /// Of the operating system.
    pub fn start(
        socket: TcpListener,
        tls: Arc<ServerConfig>,
        locator: Locator,
        silence: Duration,
    ) -> io::Result<Self> {
        let address = socket.local_addr()?;
        let accepting = Arc::new(Accepting {
            locator,
            tls: Mutex::new(tls),
            silence,
            handshakes: Mutex::default(),
            came: AtomicU64::new(0),
            stopped: Mutex::new(false),
            threads: Mutex::default(),
        });
        let shared = accepting.clone();
        let thread = std::thread::Builder::new().name("steer-accept".to_owned());
        let thread = thread.spawn(move || accept_all(&socket, &shared))?;
        Ok(Self { address, accepting, thread: Some(thread) })
    }

    /// The bound address.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Shows other certificates, and trusts other roots, from the next link on.
    pub fn set_tls(&self, tls: Arc<ServerConfig>) {
        *self.accepting.tls.lock().unwrap_or_else(PoisonError::into_inner) = tls;
    }
}

impl Accepting {
    fn is_stopped(&self) -> bool {
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handshakes(&self) -> MutexGuard<'_, BTreeMap<u64, TcpStream>> {
        self.handshakes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn threads(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        *self.accepting.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        let woken = wake(self.address);
        if let Some(thread) = self.thread.take().filter(|_| woken) {
            let _ = thread.join();
        }
        let shared = &self.accepting.locator.0;
        shared.state().streams.values().for_each(Stream::cut);
        shared.news.notify_all();
        for socket in self.accepting.handshakes().values() {
            let _ = socket.shutdown(std::net::Shutdown::Both);
        }
        for thread in std::mem::take(&mut *self.accepting.threads()) {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("address", &self.address).finish_non_exhaustive()
    }
}

fn accept_all(socket: &TcpListener, accepting: &Arc<Accepting>) {
    loop {
        let accepted = socket.accept();
        if accepting.is_stopped() {
            return;
        }
        match accepted {
            Ok((stream, peer)) => begin(stream, peer, accepting),
            Err(error) => {
                tracing::warn!(%error, "steer: cannot accept");
                std::thread::park_timeout(ACCEPT_RETRY);
            }
        }
    }
}

/// A handshake may take its time, and so has a thread of its own, which the link keeps.
fn begin(socket: TcpStream, peer: SocketAddr, accepting: &Arc<Accepting>) {
    let refused = &accepting.locator.0.metrics.refused;
    let number = accepting.came.fetch_add(1, Ordering::Relaxed);
    {
        let mut handshakes = accepting.handshakes();
        if handshakes.len() >= HANDSHAKES_MAX {
            refused.increment(1);
            return tracing::warn!(%peer, "steer: too many handshakes at once");
        }
        match socket.try_clone() {
            Ok(socket) => handshakes.insert(number, socket),
            Err(error) => return tracing::warn!(%error, "steer: no descriptor for a link"),
        };
    }
    let own = accepting.clone();
    let run = move || {
        let taken = take(socket, &own);
        own.handshakes().remove(&number);
        match taken {
            Ok((stream, link, node)) => serve(stream, link, node, peer, &own),
            Err(error) => {
                own.locator.0.metrics.refused.increment(1);
                let error = link::why(&error);
                tracing::warn!(%peer, error, "steer: no link");
            }
        }
    };
    match std::thread::Builder::new().name("steer-read".to_owned()).spawn(run) {
        Ok(thread) => {
            let mut threads = accepting.threads();
            threads.retain(|thread| !thread.is_finished());
            threads.push(thread);
        }
        Err(error) => {
            accepting.handshakes().remove(&number);
            tracing::warn!(%error, "steer: no thread for a link");
        }
    }
}

/// Shakes hands and hears the hello. Returns the link's stream, number and node.
fn take(mut socket: TcpStream, accepting: &Accepting) -> io::Result<(Stream, u64, u16)> {
    let deadline = Instant::now() + HANDSHAKE_MAX;
    socket.set_nodelay(true)?;
    let config = accepting.tls.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let connection = accept(&mut socket, &config, deadline)?;
    let certificate = connection.peer_certificates().and_then(|chain| chain.first()).cloned();
    let mut stream = Stream::tls(socket, connection);
    stream.prepare(left(deadline)?)?;
    let Up::Hello(hello) = link::read::<Up>(&mut stream, left(deadline)?)? else {
        return Err(io::Error::other("it does not begin with a hello"));
    };
    let node = hello.node;
    let name = edge_name(node);
    let proven = certificate.is_some_and(|certificate| is_for(&certificate, &name));
    let verdict = hello.agree().map_err(|error| error.to_string()).and_then(|version| match proven {
        true => Ok(version),
        false => Err(format!("the certificate is not for node {node}, whose name is {name}")),
    });
    let joined = verdict.and_then(|version| {
        let cutter = stream.try_clone().map_err(|error| error.to_string())?;
        let shared = &accepting.locator.0;
        let mut state = shared.state();
        let (link, former) = state.board.join(&hello)?;
        // In one step: from now on a newer link of this edge, or a table without its PoP, finds what to cut.
        state.streams.insert(link, cutter);
        if let Some(former) = former.and_then(|former| state.streams.remove(&former)) {
            former.cut();
            shared.news.notify_all();
        }
        shared.changed(&mut state);
        Ok((version, link))
    });
    match joined {
        Ok((version, link)) => {
            let ready = link::write(&mut stream, &Down::Welcome { version })
                .and_then(|()| stream.prepare(accepting.silence));
            match ready {
                Ok(()) => Ok((stream, link, node)),
                Err(error) => {
                    end(&accepting.locator.0, link);
                    Err(error)
                }
            }
        }
        Err(reason) => {
            link::write(&mut stream, &Down::refused(&reason))?;
            let _ = stream.shutdown(std::net::Shutdown::Write);
            Err(io::Error::other(format!("node {node}: {reason}")))
        }
    }
}

fn end(shared: &Shared, link: u64) {
    let mut state = shared.state();
    state.streams.remove(&link);
    state.board.leave(link);
    shared.changed(&mut state);
    // Its writer sees that the link is no more.
    shared.news.notify_all();
}

/// Reads until the link ends; another thread writes meanwhile.
fn serve(mut stream: Stream, link: u64, node: u16, peer: SocketAddr, accepting: &Accepting) {
    let shared = &*accepting.locator.0;
    shared.metrics.made.increment(1);
    tracing::info!(%peer, node, "steer: an edge is linked");
    let error = match stream.try_clone() {
        Err(error) => {
            end(shared, link);
            error
        }
        Ok(writer) => std::thread::scope(|scope| {
            let builder = std::thread::Builder::new().name("steer-write".to_owned());
            if let Err(error) = builder.spawn_scoped(scope, || write(shared, writer, link, accepting)) {
                end(shared, link);
                return error;
            }
            let error = read(shared, &mut stream, link, accepting);
            stream.cut();
            end(shared, link);
            error
        }),
    };
    if !accepting.is_stopped() {
        let error = link::why(&error);
        tracing::warn!(%peer, node, error, "steer: the link of an edge has ended");
    }
}

fn read(shared: &Shared, stream: &mut Stream, link: u64, accepting: &Accepting) -> io::Error {
    loop {
        let mut up = match link::read::<Up>(stream, accepting.silence) {
            Ok(up) => up,
            Err(error) => return error,
        };
        let proven = match &mut up {
            Up::Orders(orders) => shared.proven(std::mem::take(orders)),
            _ => Vec::new(),
        };
        let mut state = shared.state();
        if !state.streams.contains_key(&link) {
            return io::Error::other("another link of this edge has taken its place");
        }
        let now = shared.now();
        match up {
            Up::Hello(_) => return io::Error::other("a second hello"),
            Up::Report(report) => state.board.report(link, report, now),
            Up::Votes(votes) => {
                let count = votes.len() as u64;
                let heard = state.board.votes(link, &votes, now);
                if heard {
                    shared.metrics.votes.increment(count)
                } else {
                    shared.metrics.unheard.increment(count)
                }
            }
            Up::Orders(_) => shared.merge(&mut state, proven),
        }
        shared.changed(&mut state);
    }
}

/// Says each second that the locator is here, and what is new at once.
fn write(shared: &Shared, mut stream: Stream, link: u64, accepting: &Accepting) {
    let mut said = (0, 0);
    let mut beat = Instant::now();
    loop {
        let mut state = shared.state();
        let (orders, targets) = loop {
            if accepting.is_stopped() || !state.streams.contains_key(&link) {
                drop(state);
                stream.cut();
                return;
            }
            let versions = state.board.versions();
            if versions != said {
                let orders = (versions.0 != said.0).then(|| state.board.orders());
                let targets = (versions.1 != said.1).then(|| state.board.targets());
                said = versions;
                break (orders, targets);
            }
            let wait = TICK.saturating_sub(beat.elapsed());
            if wait.is_zero() {
                break (None, None);
            }
            state = shared.news.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        };
        drop(state);
        beat = Instant::now();
        let silent = orders.is_none() && targets.is_none();
        let mut messages = targets.map(Down::Table).into_iter().chain(orders.map(Down::Orders));
        let written = match silent {
            true => link::write(&mut stream, &Down::Alive),
            false => messages.try_for_each(|message| link::write(&mut stream, &message)),
        };
        if written.is_err() {
            // The reader finds out.
            stream.cut();
            return;
        }
    }
}

#[cfg(test)]
mod tests;
