//! Streams (RFC 7766): for answers that do not fit into a datagram, and for those who are to show that they are who they say.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::respond::{STREAM_BYTES_MAX, Transport};
use super::responder::Responder;
use crate::network::Network;

/// Connections at once; more wait in the kernel's backlog.
const CONNECTIONS_MAX: usize = 256;
/// Connections of one network at once; more are closed.
const NETWORK_CONNECTIONS_MAX: usize = 32;
/// How long a connection may be silent, and how long a query may take to come (RFC 7766, 6.2.3).
const IDLE_MAX: Duration = Duration::from_secs(10);
/// The same while more than half of the places are taken.
const IDLE_CROWDED_MAX: Duration = Duration::from_secs(2);
/// How long an answer may take to be read.
const WRITE_MAX: Duration = Duration::from_secs(5);
/// Queries of one connection; then the client comes again.
const QUERIES_MAX: usize = 1_000;
/// Octets of a query; one that says more is no query.
const QUERY_BYTES_MAX: usize = 4_096;
/// How long accepting rests when the process has no descriptors.
const REST: Duration = Duration::from_millis(100);

/// Serves until it is dropped, which ends all connections.
pub(crate) async fn run(listener: TcpListener, responder: Arc<Responder>, places: Arc<Semaphore>) {
    let networks = Arc::new(Networks::default());
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        // Never closed.
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                responder.metrics.accept_errors.increment(1);
                tracing::debug!(%error, "dns: accept");
                tokio::time::sleep(REST).await;
                continue;
            }
        };
        let ip = peer.ip().to_canonical();
        let Some(guest) = networks.enter(ip) else {
            responder.metrics.crowded.increment(1);
            continue;
        };
        let (responder, places) = (responder.clone(), places.clone());
        connections.spawn(async move {
            responder.metrics.connections.increment(1.0);
            // What went wrong with one client is that client's business.
            let _ = connection(stream, ip, &responder, &places).await;
            responder.metrics.connections.decrement(1.0);
            drop((place, guest));
        });
    }
}

/// Room for all listeners together.
pub(crate) fn places() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(CONNECTIONS_MAX))
}

/// Answers one after the other: queries that were sent ahead wait in the socket, so they cost nothing here.
async fn connection(
    stream: TcpStream,
    ip: IpAddr,
    responder: &Responder,
    places: &Semaphore,
) -> io::Result<()> {
    let _ = stream.set_nodelay(true);
    let mut stream = BufReader::with_capacity(QUERY_BYTES_MAX, stream);
    let (mut query, mut out) = (Vec::new(), vec![0; 2 + STREAM_BYTES_MAX]);
    for _ in 0..QUERIES_MAX {
        let crowded = places.available_permits() < CONNECTIONS_MAX / 2;
        let patience = if crowded { IDLE_CROWDED_MAX } else { IDLE_MAX };
        let read = timeout(patience, async {
            let length = usize::from(stream.read_u16().await?);
            if length > QUERY_BYTES_MAX {
                return Err(io::ErrorKind::InvalidData.into());
            }
            query.resize(length, 0);
            stream.read_exact(&mut query).await
        });
        read.await??;
        let answered = responder.answer(&query, ip, Transport::Stream, &mut out[2..]);
        // Who sends what is no query has nothing to ask.
        let Some(answered) = answered else { return Ok(()) };
        let length = u16::try_from(answered.bytes).unwrap_or(u16::MAX);
        out[..2].copy_from_slice(&length.to_be_bytes());
        timeout(WRITE_MAX, stream.get_mut().write_all(&out[..2 + answered.bytes])).await??;
    }
    stream.get_mut().shutdown().await
}

/// How many connections each network has; not more entries than there are connections.
#[derive(Debug, Default)]
struct Networks(Mutex<HashMap<Network, usize>>);

impl Networks {
    /// A place among those of the network, until it is dropped.
    fn enter(self: &Arc<Self>, ip: IpAddr) -> Option<Guest> {
        let network = Network::of(ip);
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(network).or_default();
        if *count >= NETWORK_CONNECTIONS_MAX {
            return None;
        }
        *count += 1;
        Some(Guest { networks: self.clone(), network })
    }
}

struct Guest {
    networks: Arc<Networks>,
    network: Network,
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut open = self.networks.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.network);
            }
        }
    }
}

/// A listener for `addr` that does not block.
pub(crate) fn bind(addr: SocketAddr) -> io::Result<std::net::TcpListener> {
    let kind = socket2::Type::STREAM;
    let socket =
        socket2::Socket::new(socket2::Domain::for_address(addr), kind, Some(socket2::Protocol::TCP))?;
    // Connections of the last process that wait for their end do not keep the next one from the port.
    socket.set_reuse_address(true)?;
    if addr.is_ipv6() {
        socket.set_only_v6(addr.ip() != std::net::Ipv6Addr::UNSPECIFIED)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(1_024)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_its_places_and_gets_them_back() {
        let networks = Arc::new(Networks::default());
        let ip = |last: usize| IpAddr::from([192, 0, 2, u8::try_from(last).unwrap()]);
        let mut guests: Vec<_> = (0..NETWORK_CONNECTIONS_MAX).map(|at| networks.enter(ip(at))).collect();
        assert!(guests.iter().all(Option::is_some) && networks.enter(ip(77)).is_none());
        assert!(networks.enter("198.51.100.1".parse().unwrap()).is_some(), "another one's are its own");
        guests.pop();
        assert!(networks.enter(ip(77)).is_some());
        drop(guests);
        assert!(networks.0.lock().unwrap().is_empty());
    }
}
