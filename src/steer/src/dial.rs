//! The edge's side of the steering link: one to each locator, made again whenever it ends.
//!
//! A thread per locator dials, says hello and then reads; another writes. A locator that is away, refuses or does not read concerns
//! nobody but its own two threads.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};
use nearport_trunk::Stream;
use nearport_trunk::dial::{back_off, connect_to};
use nearport_trunk::tls::{LOCATE_NAME, connect, left};
use rustls::ClientConfig;

use crate::link::{self, HANDSHAKE_MAX, TICK};
use crate::message::{Down, Hello, Up, VERSIONS};
use crate::post::{Listener, Mark, Post};

/// Locators that an edge is linked to.
pub const LOCATORS_MAX: usize = 8;

/// Who dials.
#[derive(Debug, Clone)]
pub struct Dial {
    /// Of [`crate::tls::dial_config`].
    pub tls: Arc<ClientConfig>,
    /// How this edge presents itself.
    pub hello: Hello,
    /// A link on which nothing comes for this long is given up.
    pub silence: Duration,
}

/// The threads that keep an edge linked. Dropping it ends them and their links.
pub struct Dialers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    dial: Mutex<Dial>,
    post: Arc<Post>,
    listener: Arc<dyn Listener>,
    /// By locator that it is linked to: its stream, to be cut at the end.
    streams: Mutex<BTreeMap<String, Stream>>,
    /// By locator: why there is no link, as it was logged.
    problems: Mutex<BTreeMap<String, String>>,
    metrics: Metrics,
}

struct Metrics {
    links: Gauge,
    made: Counter,
    failures: Counter,
}

impl Metrics {
    fn new() -> Self {
        describe_gauge!("nearport_steer_links", "Steering links that are up.");
        describe_counter!("nearport_steer_links_made_total", "Steering links that came up.");
        describe_counter!("nearport_steer_dial_failures_total", "Attempts to link to a locator that failed.");
        Self {
            links: gauge!("nearport_steer_links"),
            made: counter!("nearport_steer_links_made_total"),
            failures: counter!("nearport_steer_dial_failures_total"),
        }
    }
}

impl Dialers {
    /// Starts a thread for each locator, `HOST:PORT`, at most [`LOCATORS_MAX`] of them.
    ///
    /// # Errors
    /// Of the operating system, for the threads.
    pub fn start(
        dial: Dial,
        locators: &[String],
        post: Arc<Post>,
        listener: Arc<dyn Listener>,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            dial: Mutex::new(dial),
            post,
            listener,
            streams: Mutex::default(),
            problems: Mutex::default(),
            metrics: Metrics::new(),
        });
        let mut dialers = Self { shared: shared.clone(), threads: Vec::new() };
        for (number, locator) in locators.iter().take(LOCATORS_MAX).cloned().enumerate() {
            let shared = shared.clone();
            let thread = std::thread::Builder::new().name(format!("steer-{number}"));
            dialers.threads.push(thread.spawn(move || keep(&shared, &locator))?);
        }
        Ok(dialers)
    }

    /// Locators that it is linked to.
    #[cfg(test)]
    pub(crate) fn linked(&self) -> usize {
        self.shared.streams().len()
    }

    /// By locator that it is not linked to: why, as far as it was tried.
    #[cfg(test)]
    pub(crate) fn problems(&self) -> BTreeMap<String, String> {
        self.shared.problems().clone()
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

    fn problems(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn streams(&self) -> MutexGuard<'_, BTreeMap<String, Stream>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Dialers {
    fn drop(&mut self) {
        self.shared.post.stop();
        self.shared.streams().values().for_each(Stream::cut);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Dialers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialers").field("linked", &self.shared.streams().keys()).finish_non_exhaustive()
    }
}

fn keep(shared: &Shared, locator: &str) {
    let mut failures = 0;
    while shared.post.pause(Duration::ZERO) {
        let dial = shared.dial().clone();
        match begin(&dial, locator) {
            Ok(stream) => {
                failures = 0;
                shared.problems().remove(locator);
                tracing::info!(locator, pop = shared.post.pop(), "linked to a locator");
                shared.metrics.made.increment(1);
                shared.metrics.links.increment(1.0);
                let error = run(shared, locator, stream, dial.silence);
                shared.metrics.links.decrement(1.0);
                if !shared.post.pause(Duration::ZERO) {
                    return;
                }
                let error = link::why(&error);
                tracing::warn!(locator, error, "the link to a locator has ended");
                shared.problems().insert(locator.to_owned(), error);
            }
            Err(error) => {
                failures += 1;
                shared.metrics.failures.increment(1);
                let reason = link::why(&error);
                // Each reason once, not at each attempt.
                if shared.problems().get(locator) != Some(&reason) {
                    tracing::warn!(locator, error = reason, "no link to a locator, trying again");
                    shared.problems().insert(locator.to_owned(), reason);
                }
            }
        }
        if !shared.post.pause(back_off(failures)) {
            return;
        }
    }
}

/// Dials and says hello.
fn begin(dial: &Dial, locator: &str) -> io::Result<Stream> {
    let mut socket = connect_to(locator)?;
    socket.set_nodelay(true)?;
    let deadline = Instant::now() + HANDSHAKE_MAX;
    let connection = connect(&mut socket, &dial.tls, LOCATE_NAME, deadline)?;
    let mut stream = Stream::tls(socket, connection);
    stream.prepare(left(deadline)?)?;
    link::write(&mut stream, &Up::Hello(dial.hello.clone()))?;
    match link::read::<Down>(&mut stream, left(deadline)?)? {
        Down::Welcome { version } if (VERSIONS.0..=VERSIONS.1).contains(&version) => {
            stream.prepare(dial.silence)?;
            Ok(stream)
        }
        Down::Welcome { version } => Err(io::Error::other(format!("welcomed in version {version}"))),
        Down::Refused { reason } => Err(io::Error::other(format!("refused: {reason}"))),
        _ => Err(io::Error::other("no answer to the hello")),
    }
}

/// Reads until the link ends; another thread writes meanwhile. Returns what ended it.
fn run(shared: &Shared, locator: &str, mut stream: Stream, silence: Duration) -> io::Error {
    let streams = stream.try_clone().and_then(|writer| Ok((writer, stream.try_clone()?)));
    let (writer, cutter) = match streams {
        Ok(streams) => streams,
        Err(error) => return error,
    };
    shared.streams().insert(locator.to_owned(), cutter);
    let over = AtomicBool::new(false);
    let error = std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().name("steer-write".to_owned());
        let (mark, over) = (shared.post.begin(), &over);
        if let Err(error) = builder.spawn_scoped(scope, move || write(&shared.post, writer, mark, over)) {
            return error;
        }
        let error = read(shared, &mut stream, silence);
        over.store(true, Ordering::Release);
        stream.cut();
        shared.post.wake();
        error
    });
    shared.streams().remove(locator);
    error
}

fn read(shared: &Shared, stream: &mut Stream, silence: Duration) -> io::Error {
    loop {
        match link::read(stream, silence) {
            Ok(Down::Table(targets)) => shared.listener.table(targets),
            Ok(Down::Orders(orders)) => {
                if let Some(order) = shared.post.merge(orders) {
                    shared.listener.order(&order);
                }
            }
            Ok(Down::Alive) => {}
            Ok(Down::Refused { reason }) => return io::Error::other(format!("sent away: {reason}")),
            Ok(Down::Welcome { .. }) => return io::Error::other("a second welcome"),
            Err(error) => return error,
        }
    }
}

/// Says each second how the edge is, and at once what cannot wait.
fn write(post: &Post, mut stream: Stream, mut mark: Mark, over: &AtomicBool) {
    let mut patience = Duration::ZERO;
    while let Some(news) = post.wait(&mut mark, patience) {
        patience = TICK;
        if over.load(Ordering::Acquire) {
            return;
        }
        let said = link::write(&mut stream, &Up::Report(news.report))
            .and_then(|()| match news.votes.is_empty() {
                true => Ok(()),
                false => link::write(&mut stream, &Up::Votes(news.votes)),
            })
            .and_then(|()| match news.orders.is_empty() {
                true => Ok(()),
                false => link::write(&mut stream, &Up::Orders(news.orders)),
            });
        if said.is_err() {
            // The reader finds out.
            stream.cut();
            return;
        }
    }
    let _ = stream.shutdown(std::net::Shutdown::Write);
}
