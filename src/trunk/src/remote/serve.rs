//! The backend's end of a remote link.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::{CHUNK_BYTES, Timing, UP_BOUND, clear, log_end, read_messages, wrong_way};
use crate::codec::{self, Message};
use crate::{Backend, Down, Link, Owner, SessionId, Stream, Up, Waker};

/// Messages taken from the backend at once.
const DOWNS_PER_CALL: usize = 256;

/// How long messages that the backend had no room for wait before they are offered again.
const UPS_RETRY: Duration = Duration::from_millis(2);

/// How long the closes of a broken link's sessions are offered to a backend that has no room.
const CLOSES_MAX: Duration = Duration::from_secs(5);

/// A remote link that is being served. Dropping it ends the link at once.
#[derive(Debug)]
pub struct Served {
    mailbox: Arc<Mailbox>,
    stream: Stream,
    threads: Vec<JoinHandle<()>>,
}

/// Serves the edge at the other end of `stream`: opens a link of `backend` and carries its messages.
///
/// If the stream breaks, every session that it left open is closed towards the backend. `name` begins the threads' names.
///
/// # Errors
/// Of the operating system, for the socket's timeouts and the threads.
pub fn serve(stream: impl Into<Stream>, name: &str, backend: &dyn Backend) -> io::Result<Served> {
    serve_with(stream.into(), name, backend, Timing::LOCAL, None)
}

/// What a link between hosts has beside one inside a host.
pub(crate) struct Exclusive {
    /// It carries sessions of this owner only.
    pub(crate) owner: Owner,
    /// Counts the links that are up.
    pub(crate) links: metrics::Gauge,
}

/// As [`serve`], for a stream on which both have said who they are: see [`Exclusive`].
pub(crate) fn serve_with(
    stream: Stream,
    name: &str,
    backend: &dyn Backend,
    timing: Timing,
    between_hosts: Option<Exclusive>,
) -> io::Result<Served> {
    let owner = between_hosts.as_ref().map(|link| link.owner);
    stream.prepare(timing.silence)?;
    let mailbox = Arc::new(Mailbox::default());
    let link = backend.link({
        let mailbox = mailbox.clone();
        Waker::new(move || mailbox.wake())
    });
    let mut served =
        Served { mailbox: mailbox.clone(), stream: stream.try_clone()?, threads: Vec::with_capacity(2) };
    let (mut input, reading) = (stream.try_clone()?, mailbox.clone());
    served.spawn(format!("{name}-up"), move || {
        log_end(read_ups(&mut input, &reading, timing.silence, owner));
        reading.end();
    })?;
    served.spawn(format!("{name}-down"), move || {
        let mut output = stream;
        between_hosts.iter().for_each(|link| link.links.increment(1.0));
        let mut pump = Pump {
            link,
            mailbox: &mailbox,
            heartbeat: timing.heartbeat,
            pending: Vec::new(),
            sessions: BTreeSet::new(),
        };
        let outcome = pump.run(&mut output, owner.is_some());
        // After its last word the edge may go without another; writing then fails, and nothing is lost.
        log_end(outcome.or_else(|error| if mailbox.lock().finished { Ok(()) } else { Err(error) }));
        // Wakes the reader, and tells the other side.
        let _ = output.shutdown(Shutdown::Both);
        pump.close_sessions();
        // The backend's end of the link goes before anybody hears that it has gone.
        drop(pump);
        between_hosts.iter().for_each(|link| link.links.decrement(1.0));
        mailbox.change(|state| state.closed = true);
    })?;
    Ok(served)
}

impl Served {
    /// Waits until the edge has said that nothing follows and all of it is with the backend, or the link is over. `false`: not
    /// in time.
    #[must_use]
    pub fn wait_for_finish(&self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        let state = self.mailbox.lock();
        let not_yet = |state: &mut State| !state.handed_on;
        let waited = self.mailbox.changed.wait_timeout_while(state, left, not_yet);
        waited.unwrap_or_else(PoisonError::into_inner).0.handed_on
    }

    /// Whether the link is over.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Breaks the link, and waits until all its sessions are closed towards the backend. `false`: not in time.
    pub(crate) fn break_off(&self, deadline: Instant) -> bool {
        self.stream.cut();
        let state = self.mailbox.lock();
        let left = deadline.saturating_duration_since(Instant::now());
        let waited = self.mailbox.changed.wait_timeout_while(state, left, |state| !state.closed);
        waited.unwrap_or_else(PoisonError::into_inner).0.closed
    }

    /// Sends what the backend has still said and ends the link. Call it when the backend has ended.
    pub fn finish(mut self) {
        self.mailbox.stop(Stop::AfterDowns);
        // The pump.
        let _ = self.threads.pop().map(JoinHandle::join);
    }

    fn spawn(&mut self, name: String, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.threads.push(std::thread::Builder::new().name(name).spawn(run)?);
        Ok(())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.mailbox.stop(Stop::Now);
        self.stream.cut();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
enum Stop {
    #[default]
    No,
    AfterDowns,
    Now,
}

#[derive(Debug, Default)]
struct State {
    ups: Vec<Up>,
    bytes: usize,
    /// The backend's link has something.
    woken: bool,
    /// The edge said that nothing follows.
    finished: bool,
    /// The stream is over.
    ended: bool,
    /// Nothing is left of what the edge has sent.
    handed_on: bool,
    /// The backend knows that all sessions of the link are over.
    closed: bool,
    stop: Stop,
}

impl State {
    fn is_full(&self) -> bool {
        self.ups.len() >= UP_BOUND.items || self.bytes >= UP_BOUND.bytes
    }
}

/// Between the reader, the pump and whoever owns them.
#[derive(Debug, Default)]
struct Mailbox {
    state: Mutex<State>,
    changed: Condvar,
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn wake(&self) {
        // Called for every batch of the backend: not worth a wake-up if one is on its way.
        let mut state = self.lock();
        if !std::mem::replace(&mut state.woken, true) {
            drop(state);
            self.changed.notify_all();
        }
    }

    fn end(&self) {
        self.change(|state| state.ended = true);
    }

    fn stop(&self, stop: Stop) {
        self.change(|state| state.stop = state.stop.max(stop));
    }
}

fn read_ups(
    input: &mut impl Read,
    mailbox: &Mailbox,
    patience: Duration,
    owner: Option<Owner>,
) -> io::Result<()> {
    read_messages(input, owner.is_some(), |messages| {
        let mut state = mailbox.lock();
        for message in messages.drain(..) {
            match message {
                Message::Up(up) if owner.is_some_and(|owner| up.session().owner() != owner) => {
                    return Err(io::Error::other(format!(
                        "{:?} is not a session of this edge",
                        up.session()
                    )));
                }
                Message::Up(up) => {
                    // A full mailbox stops the stream, and the edge then answers for itself.
                    let full = |state: &mut State| state.is_full() && state.stop == Stop::No;
                    while full(&mut state) {
                        mailbox.changed.notify_all();
                        let waited = mailbox.changed.wait_timeout_while(state, patience, full);
                        state = waited.unwrap_or_else(PoisonError::into_inner).0;
                    }
                    state.bytes += up.cost();
                    state.ups.push(up);
                }
                Message::Finished => state.finished = true,
                Message::Heartbeat => {}
                Message::Down(_) | Message::Lost => return Err(wrong_way()),
            }
        }
        drop(state);
        mailbox.changed.notify_all();
        Ok(())
    })
}

/// Carries messages between the mailbox, the backend's link and the stream.
struct Pump<'a> {
    link: Box<dyn Link>,
    mailbox: &'a Mailbox,
    heartbeat: Duration,
    /// What the backend had no room for. No more is taken from the mailbox meanwhile.
    pending: Vec<Up>,
    /// Opened or adopted over this link and not closed.
    sessions: BTreeSet<SessionId>,
}

impl Pump<'_> {
    fn run(&mut self, output: &mut impl Write, greeted: bool) -> io::Result<()> {
        if !greeted {
            output.write_all(&codec::preamble())?;
        }
        let mut out = BytesMut::new();
        let mut said = Instant::now();
        loop {
            let (ended, stop) = self.wait(said);
            self.link.send(&mut self.pending);
            if self.pending.is_empty() && ended {
                self.mailbox.change(|state| state.handed_on |= state.ups.is_empty());
            }
            self.take_downs(&mut out, output)?;
            if !out.is_empty() {
                output.write_all(&out)?;
                clear(&mut out);
                said = Instant::now();
            }
            match stop {
                // The backend has ended: what it said is out.
                Stop::AfterDowns | Stop::Now => return Ok(()),
                Stop::No if ended && !self.mailbox.lock().finished => return Ok(()),
                Stop::No => {}
            }
            if said.elapsed() >= self.heartbeat {
                codec::encode(&Message::Heartbeat, &mut out);
            }
        }
    }

    /// Waits for something to do and takes what came up. Returns whether the edge sends no more, and whether to stop.
    fn wait(&mut self, said: Instant) -> (bool, Stop) {
        let patience = match self.pending.is_empty() {
            true => self.heartbeat.saturating_sub(said.elapsed()),
            false => UPS_RETRY,
        };
        let blocked = !self.pending.is_empty();
        let idle = |state: &mut State| {
            let over = (state.ended || state.finished) && !state.handed_on;
            !state.woken && state.stop == Stop::No && (blocked || (state.ups.is_empty() && !over))
        };
        let state = self.mailbox.lock();
        let waited = self.mailbox.changed.wait_timeout_while(state, patience, idle);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.woken = false;
        if self.pending.is_empty() && !state.ups.is_empty() {
            self.pending = std::mem::take(&mut state.ups);
            state.bytes = 0;
            for up in &self.pending {
                match up {
                    Up::Open { session, .. } | Up::Adopt { session, .. } => self.sessions.insert(*session),
                    Up::Close { session } => self.sessions.remove(session),
                    Up::Frame { .. } | Up::Ack { .. } => true,
                };
            }
        }
        let result = (state.ended || state.finished, state.stop);
        drop(state);
        self.mailbox.changed.notify_all();
        result
    }

    fn take_downs(&mut self, out: &mut BytesMut, output: &mut impl Write) -> io::Result<()> {
        let mut downs: Vec<Down> = Vec::new();
        loop {
            let received = self.link.recv(&mut downs, DOWNS_PER_CALL);
            downs.drain(..).for_each(|down| codec::encode_down(&down, out));
            if received.lost {
                codec::encode(&Message::Lost, out);
            }
            if !received.more {
                return Ok(());
            }
            if out.len() >= CHUNK_BYTES {
                output.write_all(out)?;
                clear(out);
            }
        }
    }

    /// The link is over: the backend need not keep its sessions. What it has still said to them is dropped.
    fn close_sessions(&mut self) {
        let mut closes: Vec<_> =
            std::mem::take(&mut self.sessions).into_iter().map(|session| Up::Close { session }).collect();
        self.pending.append(&mut closes);
        let deadline = Instant::now() + CLOSES_MAX;
        let mut downs = Vec::new();
        loop {
            self.link.send(&mut self.pending);
            while self.link.recv(&mut downs, DOWNS_PER_CALL).more {
                downs.clear();
            }
            downs.clear();
            let state = self.mailbox.lock();
            if self.pending.is_empty() || state.stop != Stop::No || Instant::now() >= deadline {
                return;
            }
            let never = |state: &mut State| state.stop == Stop::No;
            let _ = self.mailbox.changed.wait_timeout_while(state, UPS_RETRY, never);
        }
    }
}
