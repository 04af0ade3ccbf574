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
use crate::{Backend, Down, Link, Owner, SessionId, Sharing, Stream, Up, Waker};

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
    /// What it is given for several shards of its edge, that hands on.
    pub(crate) sharing: Option<Sharing>,
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
    let waker = Waker::new({
        let mailbox = mailbox.clone();
        move || mailbox.wake()
    });
    let link = match between_hosts.as_ref().and_then(|link| link.sharing) {
        Some(sharing) => backend.link_sharing(waker, sharing),
        None => backend.link(waker),
    };
    let mut served =
        Served { mailbox: mailbox.clone(), stream: stream.try_clone()?, threads: Vec::with_capacity(2) };
    let seat =
        Seat { link: Some(link), pending: Vec::new(), sessions: BTreeSet::new(), out: BytesMut::new() };
    let seat = Arc::new(Mutex::new(seat));
    let (mut input, reading, reader) = (stream.try_clone()?, mailbox.clone(), seat.clone());
    served.spawn(format!("{name}-up"), move || {
        log_end(read_ups(&mut input, &reading, &reader, timing.silence, owner));
        reading.end();
    })?;
    served.spawn(format!("{name}-down"), move || {
        let mut output = stream;
        between_hosts.iter().for_each(|link| link.links.increment(1.0));
        let pump = Pump { seat: &seat, mailbox: &mailbox, heartbeat: timing.heartbeat };
        let outcome = pump.run(&mut output, owner.is_some());
        // After its last word the edge may go without another; writing then fails, and nothing is lost.
        log_end(outcome.or_else(|error| if mailbox.lock().finished { Ok(()) } else { Err(error) }));
        // Wakes the reader, and tells the other side.
        let _ = output.shutdown(Shutdown::Both);
        // The backend's end of the link goes before anybody hears that it has gone.
        pump.close_sessions();
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

    /// Hands what was read to the backend in the reader's own thread, which spares a wake-up of the pump, if nothing waits in
    /// front of it. Returns whether it is taken.
    fn hand_past(&self, seat: &Mutex<Seat>, ups: &mut Vec<Up>) -> bool {
        // Held by a pump that takes what the backend says: not for long.
        let mut seat = lock(seat);
        if !seat.pending.is_empty() || seat.out.len() >= CHUNK_BYTES || !self.lock().ups.is_empty() {
            return false;
        }
        seat.hand_on(ups);
        // A backend that has an answer at once wakes nobody for it. The pump writes it; what there was no room for, it offers
        // again.
        if seat.take_downs() || !seat.out.is_empty() || !seat.pending.is_empty() {
            self.wake();
        }
        true
    }

    /// Leaves it to the pump. A full mailbox stops the stream, and the edge then answers for itself.
    fn push(&self, ups: &mut Vec<Up>, patience: Duration) {
        let mut state = self.lock();
        for up in ups.drain(..) {
            let full = |state: &mut State| state.is_full() && state.stop == Stop::No;
            while full(&mut state) {
                self.changed.notify_all();
                let waited = self.changed.wait_timeout_while(state, patience, full);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            state.bytes += up.cost();
            state.ups.push(up);
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Waits for something to do. `blocked`: the backend has no room, so what came up is nothing to do.
    fn wait(&self, patience: Duration, blocked: bool) {
        let idle = |state: &mut State| {
            let over = (state.ended || state.finished) && !state.handed_on;
            !state.woken && state.stop == Stop::No && (blocked || (state.ups.is_empty() && !over))
        };
        let waited = self.changed.wait_timeout_while(self.lock(), patience, idle);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Hands on what waits. Returns whether the edge sends no more, and whether to stop.
    fn take(&self, seat: &mut Seat) -> (bool, Stop) {
        let mut state = self.lock();
        state.woken = false;
        let mut ups = Vec::new();
        if seat.pending.is_empty() {
            ups = std::mem::take(&mut state.ups);
            state.bytes = 0;
        }
        let result = (state.ended || state.finished, state.stop);
        let freed = !ups.is_empty();
        drop(state);
        if freed {
            self.changed.notify_all();
        }
        seat.hand_on(&mut ups);
        result
    }
}

/// The backend's end of the link, with what belongs to it: held by the reader or the pump for one call.
struct Seat {
    /// `None`: the link is over, and what still comes up is nobody's.
    link: Option<Box<dyn Link>>,
    /// What the backend had no room for. It goes before everything else.
    pending: Vec<Up>,
    /// Opened or adopted over this link and not closed.
    sessions: BTreeSet<SessionId>,
    /// Encoded, for the stream: what the backend has answered while it was handed something.
    out: BytesMut,
}

impl Seat {
    /// Hands on what came up, in order, behind what was left; what there is no room for is left.
    fn hand_on(&mut self, ups: &mut Vec<Up>) {
        let Some(link) = &mut self.link else { return ups.clear() };
        for up in ups.iter() {
            match up {
                Up::Open { session, .. } | Up::Adopt { session, .. } => self.sessions.insert(*session),
                Up::Close { session, .. } => self.sessions.remove(session),
                Up::Frame { .. } | Up::Ack { .. } => true,
            };
        }
        self.pending.append(ups);
        link.send(&mut self.pending);
    }

    /// Takes what the backend says, up to about [`CHUNK_BYTES`] in all. Returns whether there is more.
    fn take_downs(&mut self) -> bool {
        let Some(link) = &mut self.link else { return false };
        let mut downs: Vec<Down> = Vec::new();
        loop {
            let received = link.recv(&mut downs, DOWNS_PER_CALL);
            downs.drain(..).for_each(|down| codec::encode_down(&down, &mut self.out));
            if received.lost {
                codec::encode(&Message::Lost, &mut self.out);
            }
            if !received.more || self.out.len() >= CHUNK_BYTES {
                return received.more;
            }
        }
    }
}

fn lock(seat: &Mutex<Seat>) -> MutexGuard<'_, Seat> {
    seat.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read_ups(
    input: &mut impl Read,
    mailbox: &Mailbox,
    seat: &Mutex<Seat>,
    patience: Duration,
    owner: Option<Owner>,
) -> io::Result<()> {
    let mut ups = Vec::new();
    // A backend says the same to every version that it is said to.
    let greeting = owner.is_none().then(|| std::sync::mpsc::sync_channel(1).0);
    read_messages(input, greeting, |messages| {
        let mut finished = false;
        for message in messages.drain(..) {
            match message {
                Message::Up(up) if owner.is_some_and(|owner| up.session().owner() != owner) => {
                    return Err(io::Error::other(format!(
                        "{:?} is not a session of this edge",
                        up.session()
                    )));
                }
                Message::Up(up) => ups.push(up),
                Message::Finished => finished = true,
                Message::Heartbeat => {}
                Message::Down(_) | Message::Lost => return Err(wrong_way()),
            }
        }
        if !mailbox.hand_past(seat, &mut ups) {
            mailbox.push(&mut ups, patience);
        }
        if finished {
            mailbox.change(|state| state.finished = true);
        }
        Ok(())
    })
}

/// Carries messages between the mailbox, the backend's link and the stream.
struct Pump<'a> {
    seat: &'a Mutex<Seat>,
    mailbox: &'a Mailbox,
    heartbeat: Duration,
}

impl Pump<'_> {
    fn run(&self, output: &mut impl Write, greeted: bool) -> io::Result<()> {
        if !greeted {
            output.write_all(&codec::preamble())?;
        }
        let mut out = BytesMut::new();
        let mut said = Instant::now();
        let mut blocked = false;
        loop {
            let patience = if blocked { UPS_RETRY } else { self.heartbeat.saturating_sub(said.elapsed()) };
            self.mailbox.wait(patience, blocked);
            let mut seat = lock(self.seat);
            let (ended, stop) = self.mailbox.take(&mut seat);
            blocked = !seat.pending.is_empty();
            if !blocked && ended {
                self.mailbox.change(|state| state.handed_on |= state.ups.is_empty());
            }
            loop {
                let more = seat.take_downs();
                std::mem::swap(&mut out, &mut seat.out);
                // The reader may have something for the backend meanwhile.
                drop(seat);
                if !out.is_empty() {
                    output.write_all(&out)?;
                    clear(&mut out);
                    said = Instant::now();
                }
                if !more {
                    break;
                }
                seat = lock(self.seat);
            }
            match stop {
                // The backend has ended: what it said is out.
                Stop::AfterDowns | Stop::Now => return Ok(()),
                Stop::No if ended && !self.mailbox.lock().finished => return Ok(()),
                Stop::No => {}
            }
            if said.elapsed() >= self.heartbeat {
                codec::encode(&Message::Heartbeat, &mut out);
                output.write_all(&out)?;
                clear(&mut out);
                said = Instant::now();
            }
        }
    }

    /// The link is over: the backend need not keep its sessions. What it has still said to them is dropped.
    fn close_sessions(&self) {
        let mut seat = lock(self.seat);
        let seat = &mut *seat;
        let Some(mut link) = seat.link.take() else { return };
        let closes = std::mem::take(&mut seat.sessions).into_iter();
        // Their clients are still there: the edge announces them again when it is back.
        let closes = closes.map(|session| Up::Close { session, lost_ms: Some(0) });
        seat.pending.extend(closes);
        let deadline = Instant::now() + CLOSES_MAX;
        let mut downs = Vec::new();
        loop {
            link.send(&mut seat.pending);
            while link.recv(&mut downs, DOWNS_PER_CALL).more {
                downs.clear();
            }
            downs.clear();
            let state = self.mailbox.lock();
            if seat.pending.is_empty() || state.stop != Stop::No || Instant::now() >= deadline {
                return;
            }
            let never = |state: &mut State| state.stop == Stop::No;
            let _ = self.mailbox.changed.wait_timeout_while(state, UPS_RETRY, never);
        }
    }
}
