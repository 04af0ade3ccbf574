//! The core's side of the trunk between hosts: takes links of edges and serves them.
//!
//! An edge proves its node by its certificate before anything that it says counts. A link that comes again (its edge lost the one
//! before, which this side may not have noticed yet) takes the place of the former only when the backend has heard that all
//! sessions of that one are over: their adoption over the new one comes after.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};
use rustls::ServerConfig;

use crate::hello::{self, HELLO_BYTES, Hello};
use crate::remote::{Exclusive, Served, Timing, serve_with};
use crate::{Backend, EdgeId, Owner, Sharing, Stream, codec, tls};

/// Longest handshake, the hello included.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);

/// Handshakes under way; more are closed at once, and their edges come again.
const HANDSHAKES_MAX: usize = 64;

/// Links at once: 32 edges of 32 shards.
const LINKS_MAX: usize = 1_024;

/// How long the end of a link that is replaced may take.
const REPLACE_MAX: Duration = Duration::from_secs(6);

/// Pause when the system gives no descriptor.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Takes links. Dropping it ends them all at once.
pub struct Listener {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    tls: Mutex<Arc<ServerConfig>>,
    backend: Arc<dyn Backend>,
    timing: Timing,
    stop: AtomicBool,
    handshakes: AtomicUsize,
    links: Mutex<HashMap<Owner, Taken>>,
    metrics: Metrics,
    /// Links taken and refused since the start.
    taken: AtomicUsize,
    refused: AtomicUsize,
}

struct Metrics {
    links: Gauge,
    made: Counter,
    refused: Counter,
}

impl Metrics {
    fn new() -> Self {
        describe_gauge!("nearport_trunk_links", "Links between edge and core that are up.");
        describe_counter!("nearport_trunk_links_made_total", "Links between edge and core that came up.");
        describe_counter!(
            "nearport_trunk_links_refused_total",
            "Connections to the trunk that became no link."
        );
        Self {
            links: gauge!("nearport_trunk_links"),
            made: counter!("nearport_trunk_links_made_total"),
            refused: counter!("nearport_trunk_links_refused_total"),
        }
    }
}

#[derive(Debug)]
struct Taken {
    hello: Hello,
    peer: SocketAddr,
    served: Arc<Served>,
}

/// Wakes the thread that accepts at this address of ours, by a connection. Returns whether it is woken, and so can be waited for.
#[must_use]
pub fn wake(address: SocketAddr) -> bool {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    TcpStream::connect_timeout(&SocketAddr::new(ip, address.port()), ACCEPT_RETRY).is_ok()
}

impl Listener {
    /// Serves whoever comes to `socket` with `backend`. `tls` is of [`tls::core_config`].
    ///
    /// # Errors
    /// Of the operating system.
    pub fn start(
        socket: TcpListener,
        tls: Arc<ServerConfig>,
        backend: Arc<dyn Backend>,
        timing: Timing,
    ) -> io::Result<Self> {
        let address = socket.local_addr()?;
        let shared = Arc::new(Shared {
            tls: Mutex::new(tls),
            backend,
            timing,
            stop: AtomicBool::new(false),
            handshakes: AtomicUsize::new(0),
            links: Mutex::default(),
            metrics: Metrics::new(),
            taken: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
        });
        let accepting = shared.clone();
        let thread = std::thread::Builder::new().name("trunk-accept".to_owned());
        let thread = thread.spawn(move || accept(&socket, &accepting))?;
        Ok(Self { address, shared, thread: Mutex::new(Some(thread)) })
    }

    /// The bound address.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Links that are served now.
    #[must_use]
    pub fn links(&self) -> usize {
        self.shared.links().values().filter(|taken| !taken.served.is_ended()).count()
    }

    /// Links taken, and connections refused, since the start.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.shared.taken.load(Ordering::Relaxed), self.shared.refused.load(Ordering::Relaxed))
    }

    /// Shows other certificates, and trusts other roots, from the next link on.
    pub fn set_tls(&self, tls: Arc<ServerConfig>) {
        *self.shared.tls.lock().unwrap_or_else(PoisonError::into_inner) = tls;
    }

    /// Takes no link any more; those that are there stay.
    pub fn close(&self) {
        self.shared.stop.store(true, Ordering::Release);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return };
        if wake(self.address) {
            let _ = thread.join();
        }
    }

    /// Sends every edge what the backend has still said and ends the links. Call it when the backend has ended.
    pub fn finish(&self) {
        self.close();
        let links = std::mem::take(&mut *self.shared.links());
        for taken in links.into_values() {
            if let Ok(served) = Arc::try_unwrap(taken.served) {
                served.finish();
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.close();
        let links = std::mem::take(&mut *self.shared.links());
        drop(links);
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Shared {
    fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        self.metrics.refused.increment(1);
    }

    fn links(&self) -> MutexGuard<'_, HashMap<Owner, Taken>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn accept(socket: &TcpListener, shared: &Arc<Shared>) {
    loop {
        let accepted = socket.accept();
        if shared.stop.load(Ordering::Acquire) {
            return;
        }
        match accepted {
            Ok((stream, peer)) => begin(stream, peer, shared),
            Err(error) => {
                tracing::warn!(%error, "trunk: cannot accept");
                std::thread::park_timeout(ACCEPT_RETRY);
            }
        }
    }
}

/// A handshake may take its time, and so has a thread of its own.
fn begin(stream: TcpStream, peer: SocketAddr, shared: &Arc<Shared>) {
    if shared.handshakes.fetch_add(1, Ordering::AcqRel) >= HANDSHAKES_MAX {
        shared.handshakes.fetch_sub(1, Ordering::AcqRel);
        shared.refuse();
        tracing::warn!(%peer, "trunk: too many handshakes at once");
        return;
    }
    let own = shared.clone();
    let run = move || {
        if let Err(error) = take(stream, peer, &own) {
            own.refuse();
            tracing::warn!(%peer, %error, "trunk: no link");
        }
        own.handshakes.fetch_sub(1, Ordering::AcqRel);
    };
    if let Err(error) = std::thread::Builder::new().name("trunk-hello".to_owned()).spawn(run) {
        shared.handshakes.fetch_sub(1, Ordering::AcqRel);
        tracing::warn!(%error, "trunk: no thread for a handshake");
    }
}

fn take(mut socket: TcpStream, peer: SocketAddr, shared: &Shared) -> io::Result<()> {
    let deadline = Instant::now() + HANDSHAKE_MAX;
    socket.set_nodelay(true)?;
    let config = shared.tls.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let connection = tls::accept(&mut socket, &config, deadline)?;
    let certificate = connection.peer_certificates().and_then(|chain| chain.first()).cloned();
    let limits = socket.try_clone()?;
    let mut stream = Stream::tls(socket, connection);
    limits.set_read_timeout(Some(tls::left(deadline)?))?;
    let mut bytes = [0; HELLO_BYTES];
    stream.read_exact(&mut bytes)?;
    let hello = match Hello::decode(&bytes) {
        Ok(hello) => hello,
        Err(error) => {
            // An edge of another version reads at least why.
            let _ = stream.write_all(&hello::answer(&Err(error.to_string())));
            return Err(io::Error::other(error));
        }
    };
    let name = tls::edge_name(hello.node);
    let proven = certificate.is_some_and(|certificate| tls::is_for(&certificate, &name));
    let verdict = match proven {
        true => make_room(&hello, shared),
        false => Err(format!("the certificate is not for node {}, whose name is {name}", hello.node)),
    };
    if let Err(reason) = verdict {
        stream.write_all(&hello::answer(&Err(reason.clone())))?;
        let _ = stream.shutdown(std::net::Shutdown::Write);
        return Err(io::Error::other(format!("node {} shard {}: {reason}", hello.node, hello.shard)));
    }
    // The place is taken before the edge hears that it may send.
    let mut links = shared.links();
    if shared.stop.load(Ordering::Acquire) || links.contains_key(&hello.owner()) {
        return Err(io::Error::other("another one was faster, or the core is leaving"));
    }
    stream.write_all(&hello::answer(&Ok(())))?;
    let Hello { node, generation, shard, instance } = hello;
    let shares = hello::version(&bytes).is_ok_and(|version| version >= codec::SHARING_SINCE);
    let sharing = shares.then_some(Sharing { edge: EdgeId { node, instance }, shard });
    let served = serve_with(
        stream,
        &format!("n{node}-{shard}"),
        &*shared.backend,
        shared.timing,
        Some(Exclusive { sharing, owner: hello.owner(), links: shared.metrics.links.clone() }),
    )?;
    links.insert(hello.owner(), Taken { hello, peer, served: Arc::new(served) });
    drop(links);
    shared.taken.fetch_add(1, Ordering::Relaxed);
    shared.metrics.made.increment(1);
    tracing::info!(%peer, node, generation, shard, "trunk: an edge is linked");
    Ok(())
}

/// Ends the link that this one takes the place of, and forgets those that are over.
fn make_room(hello: &Hello, shared: &Shared) -> Result<(), String> {
    let mut links = shared.links();
    let over: Vec<_> =
        links.iter().filter(|(_, taken)| taken.served.is_ended()).map(|(own, _)| *own).collect();
    let over: Vec<_> = over.into_iter().filter_map(|owner| links.remove(&owner)).collect();
    let former = match links.get(&hello.owner()) {
        Some(other) if other.hello.instance != hello.instance => {
            let Taken { peer, hello: other, .. } = other;
            return Err(format!(
                "node {} generation {} is linked from {peer}: each edge needs a number of its own (edge.node)",
                other.node, other.generation
            ));
        }
        Some(former) => Some(former.served.clone()),
        None if links.len() >= LINKS_MAX => return Err(format!("{LINKS_MAX} links are taken")),
        None => None,
    };
    drop(links);
    drop(over);
    if let Some(former) = former {
        if !former.break_off(Instant::now() + REPLACE_MAX) {
            return Err("the former link of this shard has not ended yet".to_owned());
        }
        let gone = shared.links().remove(&hello.owner());
        drop(former);
        drop(gone);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
