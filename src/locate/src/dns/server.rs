//! Sockets and threads of the responder.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::responder::Responder;
use super::{tcp, udp};

/// Threads for one address at most.
pub const THREADS_MAX: usize = 32;

/// How often a thread without queries looks whether it is to stop.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// What the kernel is asked for; `net.core.rmem_max` may give less. Some thousand queries.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;
/// How often a free port of UDP is looked for that is free for TCP too.
const PORT_ATTEMPTS: usize = 16;

/// An address that cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("{addr}: {source}")]
pub struct BindError {
    /// Which one.
    pub addr: SocketAddr,
    /// Why.
    pub source: io::Error,
}

/// Sockets that are bound and not read yet.
#[derive(Debug)]
pub struct Bound(Vec<(SocketAddr, Vec<UdpSocket>, std::net::TcpListener)>);

impl Bound {
    /// Binds each address, for UDP with one socket for each thread (`None`: one for each core), and for TCP. Port 0 takes one that is
    /// free for both.
    ///
    /// # Errors
    /// [`BindError`] for the first one that cannot be had; then none is bound.
    pub fn bind(listen: &[SocketAddr], threads: Option<NonZeroUsize>) -> Result<Self, BindError> {
        let cores = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let threads = threads.unwrap_or_else(cores).get().min(THREADS_MAX);
        let one =
            |addr: &SocketAddr| bind(*addr, threads).map_err(|source| BindError { addr: *addr, source });
        listen.iter().map(one).collect::<Result<_, _>>().map(Self)
    }

    /// The addresses, in the order in which they were asked for.
    #[must_use]
    pub fn addrs(&self) -> Vec<SocketAddr> {
        self.0.iter().map(|(addr, ..)| *addr).collect()
    }
}

fn bind(addr: SocketAddr, threads: usize) -> io::Result<(SocketAddr, Vec<UdpSocket>, std::net::TcpListener)> {
    let mut attempts = if addr.port() == 0 { PORT_ATTEMPTS } else { 1 };
    loop {
        attempts -= 1;
        // A group would take in any process of the same user that binds the port. A plain socket first finds out whether somebody
        // has it.
        let probe = UdpSocket::bind(addr)?;
        let bound = probe.local_addr()?;
        drop(probe);
        let sockets = (0..threads).map(|_| datagrams(bound)).collect::<io::Result<Vec<_>>>()?;
        match tcp::bind(bound) {
            Ok(listener) => return Ok((bound, sockets, listener)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && attempts > 0 => {}
            Err(error) => return Err(error),
        }
    }
}

fn datagrams(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_port(true)?;
    if addr.is_ipv6() {
        socket.set_only_v6(addr.ip() != std::net::Ipv6Addr::UNSPECIFIED)?;
    }
    socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.set_read_timeout(Some(LOOK_EVERY))?;
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

/// Serves from its start until it is dropped.
#[derive(Debug)]
pub struct Server {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    listeners: Vec<std::net::TcpListener>,
    responder: Arc<Responder>,
}

impl Server {
    /// Starts the threads. `rate`: answers over UDP of one network in a second, of all threads; 0: unlimited.
    ///
    /// # Errors
    /// Of the operating system, if it has no threads.
    pub fn start(bound: Bound, responder: Arc<Responder>, rate: u16) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let listeners = Vec::with_capacity(bound.0.len());
        let mut server = Self { stop, threads: Vec::new(), listeners, responder };
        for (_, sockets, listener) in bound.0 {
            server.listeners.push(listener);
            // Each thread counts for itself: the kernel spreads a network's queries over them by their ports.
            let share = rate.div_ceil(u16::try_from(sockets.len()).unwrap_or(1).max(1));
            for socket in sockets {
                let (responder, stop) = (server.responder.clone(), server.stop.clone());
                let name = format!("dns-{}", server.threads.len());
                let run = move || udp::Worker::new(socket, share).run(&responder, &stop);
                server.threads.push(std::thread::Builder::new().name(name).spawn(run)?);
            }
        }
        Ok(server)
    }

    /// Serves TCP for as long as the future is polled.
    ///
    /// Cancel safe: dropping it ends all connections.
    ///
    /// # Errors
    /// Of the operating system, if a listener does not work at all.
    pub async fn run(&self) -> io::Result<Infallible> {
        let places = tcp::places();
        let mut serving = tokio::task::JoinSet::new();
        for listener in &self.listeners {
            let listener = tokio::net::TcpListener::from_std(listener.try_clone()?)?;
            serving.spawn(tcp::run(listener, self.responder.clone(), places.clone()));
        }
        while serving.join_next().await.is_some() {}
        std::future::pending().await
    }
}

impl Drop for Server {
    /// Waits for the threads, a fifth of a second at most.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
