//! UDP sockets under the QUIC endpoints, and who was heard on them.

use std::collections::HashMap;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, Endpoint, EndpointConfig, Runtime as _, TokioRuntime, UdpPoller};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::Notify;

/// Sockets of the process, one pool per address family.
#[derive(Debug)]
pub(super) struct Sockets {
    per_family: usize,
    buffer_bytes: usize,
    pools: Mutex<[Pool; 2]>,
    sightings: Arc<Sightings>,
}

/// Sockets of one address family, made when they are first needed.
#[derive(Debug, Default)]
struct Pool {
    endpoints: Vec<(Endpoint, Arc<Backlog>)>,
    turn: usize,
}

impl Sockets {
    pub(super) fn new(per_family: usize, buffer_bytes: usize) -> Self {
        let (pools, sightings) = (Mutex::default(), Arc::default());
        Self { per_family: per_family.max(1), buffer_bytes, pools, sightings }
    }

    /// The next socket in turn, and how far it is read. Needs a tokio runtime.
    pub(super) fn endpoint(&self, server: SocketAddr) -> io::Result<(Endpoint, Arc<Backlog>)> {
        let mut pools = self.pools();
        let pool = &mut pools[usize::from(server.is_ipv6())];
        let at = pool.turn % self.per_family;
        pool.turn = pool.turn.wrapping_add(1);
        if let Some(endpoint) = pool.endpoints.get(at) {
            return Ok(endpoint.clone());
        }
        let backlog = Arc::new(Backlog::new());
        let socket = self.bind(server.is_ipv6(), &backlog)?;
        let (config, runtime) = (EndpointConfig::default(), Arc::new(TokioRuntime));
        let endpoint = Endpoint::new_with_abstract_socket(config, None, socket, runtime)?;
        pool.endpoints.push((endpoint.clone(), Arc::clone(&backlog)));
        Ok((endpoint, backlog))
    }

    /// The socket broke; the next attempt makes another.
    pub(super) fn discard(&self, server: SocketAddr, broken: &Endpoint) {
        let local = broken.local_addr().ok();
        let pool = &mut self.pools()[usize::from(server.is_ipv6())];
        pool.endpoints.retain(|(endpoint, _)| endpoint.local_addr().ok() != local);
    }

    /// New sockets under the endpoints: their connections go on from there, and say so to their servers at once. An
    /// endpoint that gets none is given up.
    pub(super) fn rebind(&self) -> io::Result<()> {
        let mut failure = None;
        for (family, pool) in self.pools().iter_mut().enumerate() {
            pool.endpoints.retain(|(endpoint, backlog)| {
                let bound = self.bind(family == 1, backlog);
                let rebound = bound.and_then(|socket| endpoint.rebind_abstract(socket));
                rebound.map_err(|error| failure = Some(error)).is_ok()
            });
        }
        failure.map_or(Ok(()), Err)
    }

    /// Watches for a packet from `server`.
    pub(super) fn watch(&self, server: SocketAddr) -> Sighting {
        let notify = Arc::new(Notify::new());
        self.sightings.wanted.fetch_add(1, Ordering::Relaxed);
        self.sightings.lock().entry(server).or_default().push(Arc::clone(&notify));
        Sighting { server, notify, sightings: Arc::clone(&self.sightings) }
    }

    fn bind(&self, ipv6: bool, backlog: &Arc<Backlog>) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let any = if ipv6 { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
        let any = SocketAddr::from((any, 0));
        let socket = Socket::new(Domain::for_address(any), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_recv_buffer_size(self.buffer_bytes)?;
        socket.set_send_buffer_size(self.buffer_bytes)?;
        socket.bind(&any.into())?;
        let socket = TokioRuntime.wrap_udp_socket(UdpSocket::from(socket))?;
        let (sightings, backlog) = (Arc::clone(&self.sightings), Arc::clone(backlog));
        Ok(Arc::new(Watched { socket, sightings, backlog }))
    }

    fn pools(&self) -> MutexGuard<'_, [Pool; 2]> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Address that packets to `server` leave from; says which network the device is in. Sends nothing.
pub(super) fn local_ip(server: SocketAddr) -> io::Result<IpAddr> {
    let any =
        if server.is_ipv6() { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    Ok(socket.local_addr()?.ip())
}

/// Who waits for a packet, by the address that it would come from. quinn does not tell whether a handshake in progress
/// has heard anything.
#[derive(Debug, Default)]
struct Sightings {
    /// Entries below: most of the time none, and then a packet costs one load.
    wanted: AtomicUsize,
    by_server: Mutex<HashMap<SocketAddr, Vec<Arc<Notify>>>>,
}

impl Sightings {
    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, Vec<Arc<Notify>>>> {
        self.by_server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, metas: &[RecvMeta]) {
        if self.wanted.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut by_server = self.lock();
        for meta in metas {
            for notify in by_server.remove(&meta.addr).unwrap_or_default() {
                self.wanted.fetch_sub(1, Ordering::Relaxed);
                notify.notify_one();
            }
        }
    }
}

/// One wait for a packet.
#[derive(Debug)]
pub(crate) struct Sighting {
    server: SocketAddr,
    notify: Arc<Notify>,
    sightings: Arc<Sightings>,
}

impl Sighting {
    /// Returns once, after a packet came. Cancel-safe.
    pub(crate) async fn seen(&self) {
        self.notify.notified().await;
    }
}

impl Drop for Sighting {
    fn drop(&mut self) {
        let mut by_server = self.sightings.lock();
        let Some(waiting) = by_server.get_mut(&self.server) else { return };
        let before = waiting.len();
        waiting.retain(|other| !Arc::ptr_eq(other, &self.notify));
        self.sightings.wanted.fetch_sub(before - waiting.len(), Ordering::Relaxed);
        if waiting.is_empty() {
            by_server.remove(&self.server);
        }
    }
}

/// How far a socket is read. When more comes than this process takes, packets wait in the kernel for seconds: who has not heard
/// of somebody meanwhile has not listened.
#[derive(Debug)]
pub(crate) struct Backlog {
    made: Instant,
    /// When the socket was last found empty, in microseconds since then; 0: there is nothing in it now.
    waits_since_us: AtomicU64,
}

impl Backlog {
    fn new() -> Self {
        Self { made: Instant::now(), waits_since_us: AtomicU64::new(0) }
    }

    /// A read brought something: there may be more.
    fn read(&self) {
        if self.waits_since_us.load(Ordering::Relaxed) == 0 {
            let us = u64::try_from(self.made.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.waits_since_us.store(us.max(1), Ordering::Relaxed);
        }
    }

    /// Nothing is left.
    fn empty(&self) {
        self.waits_since_us.store(0, Ordering::Relaxed);
    }

    /// All that had come by then was read.
    pub(crate) fn read_until(&self, now: Instant) -> Instant {
        match self.waits_since_us.load(Ordering::Relaxed) {
            0 => now,
            us => self.made + Duration::from_micros(us),
        }
    }
}

/// A socket that notes from whom it received, and how far it is read.
#[derive(Debug)]
struct Watched {
    socket: Arc<dyn AsyncUdpSocket>,
    sightings: Arc<Sightings>,
    backlog: Arc<Backlog>,
}

impl AsyncUdpSocket for Watched {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.socket).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.socket.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let received = self.socket.poll_recv(cx, buffers, metas);
        match &received {
            Poll::Ready(Ok(count)) => {
                self.sightings.note(&metas[..*count]);
                self.backlog.read();
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.backlog.empty(),
        }
        received
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.socket.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.socket.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.socket.may_fragment()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    fn meta(addr: SocketAddr) -> RecvMeta {
        RecvMeta { addr, len: 1, stride: 1, ecn: None, dst_ip: None }
    }

    #[tokio::test]
    async fn a_packet_wakes_those_who_wait_for_its_sender_and_is_forgotten() {
        let sockets = Sockets::new(1, 1 << 16);
        let [here, there] = [1, 2].map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let [one, two, other] = [here, here, there].map(|server| sockets.watch(server));
        let wanted = || sockets.sightings.wanted.load(Ordering::Relaxed);
        assert_eq!(wanted(), 3);
        sockets.sightings.note(&[meta(here), meta(here)]);
        one.seen().await;
        two.seen().await;
        assert_eq!(wanted(), 1);
        drop((one, two, other));
        assert_eq!((wanted(), sockets.sightings.lock().len()), (0, 0));
    }

    #[tokio::test]
    async fn a_socket_is_read_up_to_when_it_was_last_empty() {
        let (sockets, backlog) = (Sockets::new(1, 1 << 16), Arc::new(Backlog::new()));
        let socket = sockets.bind(false, &backlog).unwrap();
        let to = (Ipv4Addr::LOCALHOST, socket.local_addr().unwrap().port());
        let later = Instant::now() + Duration::from_secs(9);
        assert_eq!(backlog.read_until(later), later);
        let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        sender.send_to(b"x", to).unwrap();
        let (mut bytes, mut metas) = ([0; 64], [RecvMeta::default()]);
        let mut buffers = [IoSliceMut::new(&mut bytes)];
        poll_fn(|cx| socket.poll_recv(cx, &mut buffers, &mut metas)).await.unwrap();
        assert!(backlog.read_until(later) < later, "there may be more");
        let again = poll_fn(|cx| Poll::Ready(socket.poll_recv(cx, &mut buffers, &mut metas))).await;
        assert!(again.is_pending());
        assert_eq!(backlog.read_until(later), later);
    }
}
