//! The edge's side of the trunk between hosts: one link per shard to the core, made again whenever it ends.
//!
//! A thread per shard dials, shakes hands, says hello, gives the link to its shard and waits for the link's end. While there is
//! no link the shard keeps its clients. After failures it waits a random time below a bound that doubles, so that the shards
//! of many edges do not come back to a restarted core in one instant.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};
use rustls::ClientConfig;

use crate::hello::{self, ANSWER_BYTES, Hello};
use crate::remote::{RemoteLink, Timing};
use crate::siblings::{Seat, Siblings};
use crate::{Link, Stream, Waker, tls};

/// Longest wait for a TCP connection to one address.
const CONNECT_MAX: Duration = Duration::from_secs(3);

/// Longest handshake, the core's answer to the hello included.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);

/// The bound of the random wait: at first, and at most.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3));

/// How often a thread that waits for its link's end looks whether it is to stop.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Addresses of the core's name that are tried in one attempt.
const ADDRESSES_MAX: usize = 8;

/// Who dials whom.
#[derive(Debug, Clone)]
pub struct Dial {
    /// `HOST:PORT` of the core; a name is looked up at each attempt.
    pub core: String,
    /// Of [`tls::edge_config`].
    pub tls: Arc<ClientConfig>,
    /// This edge's node.
    pub node: u16,
    /// Which start of it.
    pub generation: u32,
    /// Drawn at random at the start of the process.
    pub instance: u64,
    /// When a link is given up.
    pub timing: Timing,
}

/// Takes a link for a shard.
pub type Attach = Arc<dyn Fn(usize, Box<dyn Link>) + Send + Sync>;

/// The threads that keep an edge's shards linked. Dropping it ends them; links that are there live on at their shards.
pub struct Dialers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    dial: Mutex<Dial>,
    attach: Attach,
    linked: AtomicUsize,
    /// All shards of this process.
    siblings: Arc<Siblings>,
    metrics: Metrics,
    /// Links made so far.
    made: AtomicUsize,
    /// What the last attempt that failed failed for.
    problem: Mutex<String>,
    stop: Mutex<bool>,
    stopped: Condvar,
}

struct Metrics {
    links: Gauge,
    made: Counter,
    failures: Counter,
}

impl Metrics {
    fn new() -> Self {
        describe_gauge!("nearport_trunk_links", "Links between edge and core that are up.");
        describe_counter!("nearport_trunk_links_made_total", "Links between edge and core that came up.");
        describe_counter!("nearport_trunk_dial_failures_total", "Attempts to link to the core that failed.");
        Self {
            links: gauge!("nearport_trunk_links"),
            made: counter!("nearport_trunk_links_made_total"),
            failures: counter!("nearport_trunk_dial_failures_total"),
        }
    }
}

impl Dialers {
    /// Starts a thread for each shard; `wakers` are those of the shards, in their order.
    ///
    /// # Errors
    /// Of the operating system, for the threads.
    pub fn start(dial: Dial, wakers: Vec<Waker>, attach: Attach) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            dial: Mutex::new(dial),
            attach,
            linked: AtomicUsize::new(0),
            siblings: Arc::default(),
            metrics: Metrics::new(),
            made: AtomicUsize::new(0),
            problem: Mutex::new("not connected yet".to_owned()),
            stop: Mutex::new(false),
            stopped: Condvar::new(),
        });
        let mut dialers = Self { shared: shared.clone(), threads: Vec::with_capacity(wakers.len()) };
        for (shard, waker) in wakers.into_iter().enumerate() {
            let shared = shared.clone();
            let thread = std::thread::Builder::new().name(format!("dial-{shard}"));
            dialers.threads.push(thread.spawn(move || keep(&shared, shard, &waker))?);
        }
        Ok(dialers)
    }

    /// Whether every shard has its link.
    ///
    /// # Errors
    /// What the last failed attempt failed for.
    pub fn ready(&self) -> Result<(), String> {
        let linked = self.linked();
        if linked == self.threads.len() {
            return Ok(());
        }
        let problem = self.shared.problem.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Err(format!("{linked} of {} links to the core: {problem}", self.threads.len()))
    }

    /// Shards that have a link now.
    #[must_use]
    pub fn linked(&self) -> usize {
        self.shared.linked.load(Ordering::Relaxed)
    }

    /// Links made since the start.
    #[must_use]
    pub fn made(&self) -> usize {
        self.shared.made.load(Ordering::Relaxed)
    }

    /// Shows other certificates from the next link on.
    pub fn set_tls(&self, tls: Arc<ClientConfig>) {
        self.shared.dial().tls = tls;
    }
}

impl Shared {
    fn dial(&self) -> MutexGuard<'_, Dial> {
        self.dial.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits, at most for `patience`. Returns whether to go on.
    fn pause(&self, patience: Duration) -> bool {
        let stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.stopped.wait_timeout_while(stop, patience, |stop| !*stop);
        !*waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Drop for Dialers {
    fn drop(&mut self) {
        *self.shared.stop.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.shared.stopped.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Dialers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialers").field("linked", &self.linked()).finish_non_exhaustive()
    }
}

fn keep(shared: &Shared, shard: usize, waker: &Waker) {
    let mut failures = 0;
    let mut told = String::new();
    while shared.pause(Duration::ZERO) {
        let dial = shared.dial().clone();
        match link(&dial, shard, waker, &shared.siblings) {
            Ok(link) => {
                tracing::info!(shard, core = dial.core, "linked to the core");
                (failures, told) = (0, String::new());
                let ended = link.ended();
                shared.linked.fetch_add(1, Ordering::Relaxed);
                shared.metrics.links.increment(1.0);
                shared.metrics.made.increment(1);
                shared.made.fetch_add(1, Ordering::Relaxed);
                (shared.attach)(shard, Box::new(link));
                while !ended.wait(LOOK_EVERY) {
                    if !shared.pause(Duration::ZERO) {
                        return;
                    }
                }
                shared.linked.fetch_sub(1, Ordering::Relaxed);
                shared.metrics.links.decrement(1.0);
                tracing::warn!(shard, core = dial.core, "the link to the core has ended");
                "the link has ended"
                    .clone_into(&mut shared.problem.lock().unwrap_or_else(PoisonError::into_inner));
            }
            Err(error) => {
                failures += 1;
                shared.metrics.failures.increment(1);
                let reason = error.to_string();
                // Each reason once, not at each attempt.
                if reason != told {
                    tracing::warn!(
                        shard,
                        core = dial.core,
                        error = reason,
                        "no link to the core, trying again"
                    );
                    shared.problem.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&reason);
                    told = reason;
                }
            }
        }
        if !shared.pause(back_off(failures)) {
            return;
        }
    }
}

/// A random time below the bound of this many failures in a row.
#[must_use]
pub fn back_off(failures: u32) -> Duration {
    let bound = BACK_OFF.0.saturating_mul(1 << failures.min(8)).min(BACK_OFF.1);
    // Keyed at random in each instance: even enough for spreading edges, and no generator to carry along.
    let dice = RandomState::new().hash_one(failures) >> 32;
    bound.mul_f64(dice as f64 / f64::from(u32::MAX))
}

fn link(dial: &Dial, shard: usize, waker: &Waker, siblings: &Arc<Siblings>) -> io::Result<RemoteLink> {
    let mut socket = connect_to(&dial.core)?;
    socket.set_nodelay(true)?;
    let deadline = Instant::now() + HANDSHAKE_MAX;
    let connection = tls::connect(&mut socket, &dial.tls, tls::CORE_NAME, deadline)?;
    let limits = socket.try_clone()?;
    let mut stream = Stream::tls(socket, connection);
    let hello = Hello {
        node: dial.node,
        generation: dial.generation,
        shard: u8::try_from(shard).map_err(io::Error::other)?,
        instance: dial.instance,
    };
    limits.set_write_timeout(Some(tls::left(deadline)?))?;
    stream.write_all(&hello.encode())?;
    limits.set_read_timeout(Some(tls::left(deadline)?))?;
    let mut answer = [0; ANSWER_BYTES];
    stream.read_exact(&mut answer)?;
    let (version, refused, length) = hello::read_answer(&answer).map_err(io::Error::other)?;
    let mut reason = vec![0; length];
    stream.read_exact(&mut reason)?;
    if refused {
        return Err(io::Error::other(format!("refused: {}", String::from_utf8_lossy(&reason))));
    }
    let seat = Seat { siblings: siblings.clone(), shard: hello.shard, version };
    RemoteLink::start_with(stream, &format!("link-{shard}"), waker.clone(), dial.timing, Some(seat))
}

/// Connects to `HOST:PORT`, one address after the other. Blocks for some seconds at most, and for as long as the name takes.
///
/// # Errors
/// Of the last address, or of the name.
pub fn connect_to(host: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let addresses: Vec<SocketAddr> = host.to_socket_addrs()?.take(ADDRESSES_MAX).collect();
    for address in addresses {
        match TcpStream::connect_timeout(&address, CONNECT_MAX) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The link of a shard that has none yet: it takes nothing and says that it has ended, so that the shard waits.
#[derive(Debug, Clone, Copy, Default)]
pub struct NotYet;

impl Link for NotYet {
    fn send(&mut self, _: &mut Vec<crate::Up>) {}

    fn recv(&mut self, _: &mut Vec<crate::Down>, _: usize) -> crate::Received {
        crate::Received { ended: true, ..crate::Received::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_differ() {
        for failures in 0..40 {
            let bound = (BACK_OFF.0 * (1 << failures.min(8))).min(BACK_OFF.1);
            assert!(back_off(failures) <= bound);
        }
        let waits: std::collections::BTreeSet<_> = (0..50).map(|_| back_off(9)).collect();
        assert!(waits.len() > 40, "{waits:?}");
    }
}
