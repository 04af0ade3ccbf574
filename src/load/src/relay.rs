//! A bad network for UDP inside this process: a relay on loopback that loses, delays and repeats the datagrams of the
//! clients, and forgets their addresses as a NAT does.
//!
//! ```text
//!   client sockets ──► relay's socket ── path of each flow ──► a socket for each flow ──► server
//! ```
//!
//! A flow is one socket of the clients. It has a path and a socket towards the server of its own; when its NAT mapping
//! ends, the next datagram of the client leaves from a new socket, so the server sees another address, and what still
//! comes for the old one is gone.
//!
//! One thread, which waits with a nanosecond timeout: a datagram leaves within the kernel's timer slack (50 µs) of its time
//! on an idle machine.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nearport_impair::{Counts, DelayLine, Direction, Fate, Packet, Path, Protocol, Spec};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use serde::Serialize;
use socket2::{Domain, Socket, Type};

use crate::schedule::saturating_ns;

/// Flows at a time; one more takes the place of the one that was silent for longest.
const FLOWS_MAX: usize = 20_000;

/// Datagrams on their way; more are dropped and counted.
const LINE_PACKETS_MAX: usize = 100_000;
const LINE_BYTES_MAX: usize = 64 << 20;

/// Datagrams read from one socket in one go.
const BATCH: usize = 64;

/// Sockets with something to read, looked at in one go.
const EVENTS: usize = 256;

const DATAGRAM_BYTES_MAX: usize = 64 * 1024;

/// Asked for, for the relay's own socket: all clients share it.
const BUFFER_BYTES: usize = 8 << 20;

/// Names of sockets in epoll: flows count from 2.
const STOP: u64 = 0;
const CLIENTS: u64 = 1;

/// What the relay did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct RelayCounts {
    /// Datagrams from clients.
    pub up: u64,
    /// Of these: lost, by chance, bursts, black holes, full queues or because they were too long.
    pub up_lost: u64,
    /// Datagrams from the server.
    pub down: u64,
    /// Of these: lost.
    pub down_lost: u64,
    /// Sockets of clients that were seen.
    pub flows: u64,
    /// Changes of address, over all flows.
    pub rebinds: u64,
    /// Changes of the flow that had the fewest.
    pub rebinds_min: u64,
    /// Dropped because of the relay's own bounds, not of the network that was asked for.
    pub overrun: u64,
}

/// A running relay: a bad network for UDP between clients on this machine and a server. Ends when dropped.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    start: Instant,
    shared: Arc<Shared>,
    /// Its end tells the thread to stop.
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    counts: Mutex<RelayCounts>,
    /// Since when the NAT forgets, in nanoseconds of the relay's time.
    forgets_from: AtomicU64,
}

/// Not yet.
const NEVER: u64 = u64::MAX;

impl Relay {
    /// Starts a relay to `server`. Time zero of `spec` is now, but its NAT forgets nothing before [`Self::forget`].
    ///
    /// # Errors
    /// The operating system gives no socket or no thread.
    pub fn start(server: SocketAddr, spec: Spec) -> io::Result<Self> {
        let clients = socket(server, BUFFER_BYTES)?;
        let here = match server {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::LOCALHOST, 0)),
        };
        clients.bind(&here.into())?;
        let clients = UdpSocket::from(clients);
        let address = clients.local_addr()?;
        let (stopped, stop) = io::pipe()?;
        let stopped = OwnedFd::from(stopped);
        let poller = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&poller, &stopped, epoll::EventData::new_u64(STOP), epoll::EventFlags::IN)?;
        epoll::add(&poller, &clients, epoll::EventData::new_u64(CLIENTS), epoll::EventFlags::IN)?;
        let shared = Arc::new(Shared { counts: Mutex::default(), forgets_from: AtomicU64::new(NEVER) });
        let start = Instant::now();
        let mut relay = Running {
            server,
            spec,
            clients,
            poller,
            start,
            flows: HashMap::new(),
            by_client: HashMap::new(),
            next: CLIENTS + 1,
            line: DelayLine::new(LINE_PACKETS_MAX, LINE_BYTES_MAX),
            former: RelayCounts { rebinds_min: u64::MAX, ..RelayCounts::default() },
            shared: Arc::clone(&shared),
        };
        let thread = std::thread::Builder::new().name("load-relay".to_owned()).spawn(move || {
            relay.run();
            drop(stopped);
        })?;
        Ok(Self { address, start, shared, stop: Some(OwnedFd::from(stop)), thread: Some(thread) })
    }

    /// Where clients connect instead of to the server.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on the NAT forgets as often as its network says.
    pub fn forget(&self) {
        self.shared.forgets_from.store(saturating_ns(self.start.elapsed()), Ordering::Relaxed);
    }

    /// Ends it and says what it did.
    #[must_use]
    pub fn stop(mut self) -> RelayCounts {
        self.end();
        *lock(&self.shared.counts)
    }

    fn end(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It only fails if the thread panicked, which has printed its message.
            let _ = thread.join();
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.end();
    }
}

fn lock(counts: &Mutex<RelayCounts>) -> MutexGuard<'_, RelayCounts> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the thread owns.
struct Running {
    server: SocketAddr,
    spec: Spec,
    clients: UdpSocket,
    poller: OwnedFd,
    start: Instant,
    flows: HashMap<u64, Flow>,
    by_client: HashMap<SocketAddr, u64>,
    next: u64,
    line: DelayLine<InFlight>,
    /// Flows that are gone, and what belongs to none.
    former: RelayCounts,
    shared: Arc<Shared>,
}

struct Flow {
    client: SocketAddr,
    upstream: UdpSocket,
    path: Path,
    /// Added to the time when the NAT is asked, so that not all clients move at once.
    phase: Duration,
    mapping: u64,
    rebinds: u64,
    last: Duration,
}

struct InFlight {
    flow: u64,
    direction: Direction,
    datagram: Box<[u8]>,
}

impl Running {
    fn run(&mut self) {
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        let mut events = Vec::with_capacity(EVENTS);
        loop {
            while let Some(item) = self.line.pop(self.start.elapsed()) {
                self.leave(&item);
            }
            let wait = self.line.due().map(|due| due.saturating_sub(self.start.elapsed()));
            let wait = wait.and_then(|wait| Timespec::try_from(wait).ok());
            events.clear();
            // An interrupted wait is a short one.
            let _ = epoll::wait(&self.poller, spare_capacity(&mut events), wait.as_ref());
            for event in &events {
                match event.data.u64() {
                    STOP => {
                        *lock(&self.shared.counts) = self.counts();
                        return;
                    }
                    CLIENTS => self.read_clients(&mut buffer),
                    flow => self.read_server(flow, &mut buffer),
                }
            }
        }
    }

    fn read_clients(&mut self, buffer: &mut [u8]) {
        for _ in 0..BATCH {
            let (length, client) = match self.clients.recv_from(buffer) {
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => continue, // an ICMP message about one client is nothing to the others
            };
            match self.flow_of(client) {
                Ok(flow) => self.enter(flow, Direction::Up, &buffer[..length]),
                Err(_) => self.former.overrun += 1,
            }
        }
    }

    fn read_server(&mut self, flow: u64, buffer: &mut [u8]) {
        for _ in 0..BATCH {
            let Some(upstream) = self.flows.get(&flow).map(|flow| &flow.upstream) else { return };
            match upstream.recv(buffer) {
                Ok(length) => self.enter(flow, Direction::Down, &buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => {} // refused, because the server is away
            }
        }
    }

    fn enter(&mut self, id: u64, direction: Direction, datagram: &[u8]) {
        let now = self.start.elapsed();
        let Some(flow) = self.flows.get_mut(&id) else { return };
        flow.last = now;
        let headers = if self.server.is_ipv4() { 28 } else { 48 };
        let packet = Packet { bytes: datagram.len() + headers, protocol: Protocol::Udp };
        if let Fate::Arrives { at, again } = flow.path.send(now, direction, packet) {
            for at in [Some(at), again].into_iter().flatten() {
                let item = InFlight { flow: id, direction, datagram: datagram.into() };
                if self.line.push(at, datagram.len(), item).is_err() {
                    self.former.overrun += 1;
                }
            }
        }
    }

    /// A datagram is due. What no socket takes is lost, as on any network.
    fn leave(&mut self, item: &InFlight) {
        let Some(flow) = self.flows.get_mut(&item.flow) else { return };
        match item.direction {
            Direction::Up => {
                let from = Duration::from_nanos(self.shared.forgets_from.load(Ordering::Relaxed));
                let since = self.start.elapsed().checked_sub(from);
                let mapping = since.map_or(0, |since| flow.path.mapping(since + flow.phase));
                if mapping != flow.mapping {
                    match upstream(&self.poller, item.flow, self.server) {
                        Ok(socket) => {
                            flow.upstream = socket; // the old one is closed, and epoll forgets it
                            flow.rebinds += 1;
                            flow.mapping = mapping;
                        }
                        Err(_) => self.former.overrun += 1,
                    }
                }
                let _ = flow.upstream.send(&item.datagram);
            }
            Direction::Down => {
                let _ = self.clients.send_to(&item.datagram, flow.client);
            }
        }
    }

    /// The flow of a client's socket, a new one if need be.
    fn flow_of(&mut self, client: SocketAddr) -> io::Result<u64> {
        if let Some(flow) = self.by_client.get(&client) {
            return Ok(*flow);
        }
        if self.flows.len() >= FLOWS_MAX {
            let oldest = self.flows.iter().min_by_key(|(_, flow)| flow.last).map(|(id, _)| *id);
            oldest.into_iter().for_each(|id| self.forget(id));
        }
        let id = self.next;
        let upstream = upstream(&self.poller, id, self.server)?;
        self.next += 1;
        self.former.flows += 1;
        let seed = self.spec.seed.wrapping_add(id);
        let path = Path::new(&Spec { seed, ..self.spec.clone() });
        // Golden-ratio steps spread any number of flows evenly.
        let turn = (id as f64 * 0.618_033_988_749_895).fract();
        let phase = self.spec.rebind.unwrap_or_default().mul_f64(turn);
        let now = self.start.elapsed();
        self.flows.insert(id, Flow { client, upstream, path, phase, mapping: 0, rebinds: 0, last: now });
        self.by_client.insert(client, id);
        Ok(id)
    }

    fn forget(&mut self, id: u64) {
        if let Some(flow) = self.flows.remove(&id) {
            self.by_client.remove(&flow.client);
            flow.add_to(&mut self.former);
        }
    }

    fn counts(&self) -> RelayCounts {
        let mut counts = self.former;
        self.flows.values().for_each(|flow| flow.add_to(&mut counts));
        if counts.flows == 0 {
            counts.rebinds_min = 0;
        }
        counts
    }
}

impl Flow {
    fn add_to(&self, counts: &mut RelayCounts) {
        let lost = |counts: Counts| counts.sent - counts.arrived;
        let (up, down) = (self.path.counts(Direction::Up), self.path.counts(Direction::Down));
        counts.up += up.sent;
        counts.up_lost += lost(up);
        counts.down += down.sent;
        counts.down_lost += lost(down);
        counts.rebinds += self.rebinds;
        counts.rebinds_min = counts.rebinds_min.min(self.rebinds);
    }
}

/// A socket towards the server, which epoll knows by the flow.
fn upstream(poller: &OwnedFd, flow: u64, server: SocketAddr) -> io::Result<UdpSocket> {
    let socket = socket(server, 256 << 10)?;
    socket.connect(&server.into())?;
    epoll::add(poller, &socket, epoll::EventData::new_u64(flow), epoll::EventFlags::IN)?;
    Ok(socket.into())
}

fn socket(server: SocketAddr, buffer_bytes: usize) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(server), Type::DGRAM, None)?;
    socket.set_recv_buffer_size(buffer_bytes)?;
    socket.set_send_buffer_size(buffer_bytes)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// After this long something is stuck.
    const STUCK: Duration = Duration::from_secs(30);

    /// A server's socket and a client's, with a relay in between.
    fn relayed(words: &str) -> (UdpSocket, UdpSocket, Relay) {
        let [server, client] = [(); 2].map(|()| {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            socket.set_read_timeout(Some(STUCK)).unwrap();
            socket
        });
        let relay = Relay::start(server.local_addr().unwrap(), words.parse().unwrap()).unwrap();
        client.connect(relay.address()).unwrap();
        (server, client, relay)
    }

    fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
        let mut buffer = [0; 2_000];
        let (length, from) = socket.recv_from(&mut buffer).unwrap();
        (buffer[..length].to_vec(), from)
    }

    #[test]
    fn datagrams_pass_both_ways_in_order() {
        let (server, client, relay) = relayed("delay=1ms");
        for n in 0..50u8 {
            client.send(&[n; 700]).unwrap();
        }
        for n in 0..50u8 {
            let (datagram, from) = receive(&server);
            assert_eq!(datagram, [n; 700]);
            server.send_to(&[n], from).unwrap();
            assert_eq!(receive(&client).0, [n]);
        }
        let counts = relay.stop();
        let want = RelayCounts { up: 50, down: 50, flows: 1, ..RelayCounts::default() };
        assert_eq!(counts, want);
    }

    #[test]
    fn what_is_lost_is_counted_and_headers_count_for_the_mtu() {
        let (server, client, relay) = relayed("up.mtu=128,down.loss=100%");
        client.send(&[1; 101]).unwrap();
        client.send(&[2; 100]).unwrap();
        let (datagram, from) = receive(&server);
        assert_eq!(datagram, [2; 100], "28 bytes of headers make the other one too long");
        for _ in 0..3 {
            server.send_to(b"lost", from).unwrap();
        }
        // The relay reads them in their order; a datagram of the client behind them comes through.
        client.send(&[3; 1]).unwrap();
        receive(&server);
        client.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        assert!(client.recv(&mut [0; 10]).is_err());
        let counts = relay.stop();
        assert_eq!((counts.up, counts.up_lost, counts.down, counts.down_lost), (3, 1, 3, 3));
    }

    #[test]
    fn a_forgotten_mapping_is_another_address_and_the_old_one_is_dead() {
        let (server, client, relay) = relayed("rebind=100ms");
        client.send(b"not yet").unwrap();
        let (_, first) = receive(&server);
        relay.forget();
        let mut addresses = BTreeSet::from([first]);
        let (mut old, begun) = (None, Instant::now());
        while addresses.len() < 3 {
            assert!(begun.elapsed() < STUCK, "always from the same address");
            client.send(b"here").unwrap();
            let (_, from) = receive(&server);
            addresses.insert(from);
            old.get_or_insert(from);
        }
        server.send_to(b"too late", old.unwrap()).unwrap();
        let counts = relay.stop();
        assert!(counts.rebinds >= 2 && counts.rebinds == counts.rebinds_min, "{counts:?}");
        assert_eq!((counts.flows, counts.down), (1, 0), "nobody has the old address");
    }
}
