//! A link between two processes: the messages of the seam over an ordered byte stream.
//!
//! ```text
//!   shard ── RemoteLink ─(writer)──► stream ───► reader ─(pump)── Link of the backend
//!                  └────── reader ◄─── stream ◄────── pump ◄──────────────┘
//! ```
//!
//! Two threads at either end. What goes up needs neither the edge's writer nor the core's pump as long as nothing stands in
//! front of it: the shard writes to the socket itself, without waiting, and the core's reader hands it to the backend itself. The
//! threads in brackets take over when the socket or the backend has no room, or when two come at once. Each write is of all
//! that has gathered. A side says a heartbeat when it has nothing to say, and takes the other for dead after a time of
//! silence. Bounds and their answers are those of [`crate::local`]: the
//! shard gets back what has no room on the way up, publishes are dropped and `lost` is told on the way down. The edge's
//! reader never waits for anybody, so a slow shard does not hold the backend up.
//!
//! The stream is a Unix socket or TLS over TCP ([`Stream`]). The threads know only `Read` and `Write`, and the
//! [`crate::codec`] knows neither.
//!
//! A link may break at any time, with requests under way. The edge's end keeps books of them (`crate::books`): what will
//! never be answered is answered by the link itself before it says that it has ended, so nothing waits for a timeout. The
//! same books bound what one session may have under way, so that its surplus is refused to it alone.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::BytesMut;

use crate::books::Books;
use crate::codec::{self, Decoder, Message, PREAMBLE_BYTES};
use crate::local::DownQueue;
use crate::queue::{Bound, Receiver, Sender, Waited, bounded};
use crate::siblings::Seat;
use crate::{Down, Link, Received, Stream, Up, Waker};

mod serve;
#[cfg(test)]
mod tests;

pub(crate) use serve::{Exclusive, serve_with};
pub use serve::{Served, serve};

/// What may wait on the way up: as much as the queues of a backend inside the process take.
const UP_BOUND: Bound = Bound { items: 16_384, bytes: 16 << 20 };

/// Messages written with one call at most.
const BATCH_ITEMS: usize = 1_024;

/// Bytes read or gathered for writing at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// When a side speaks though it has nothing to say, and when it gives up on the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Who has said nothing for this long says a heartbeat.
    pub heartbeat: Duration,
    /// Who hears nothing, or cannot write, for this long gives the link up.
    pub silence: Duration,
}

impl Timing {
    /// Between processes of one host: a socket tells at once when one dies; this is for one that is stopped.
    pub const LOCAL: Self = Self { heartbeat: Duration::from_secs(2), silence: Duration::from_secs(15) };

    /// Between hosts: a network that is cut says nothing at all.
    #[must_use]
    pub fn between_hosts(silence: Duration) -> Self {
        Self { heartbeat: (silence / 4).min(Duration::from_secs(1)), silence }
    }
}

/// In what time clients may ask again whose requests a broken link has answered.
pub const RETRY_AFTER: Duration = Duration::from_millis(crate::books::RETRY_AFTER_MS as u64);

/// Whether a link has ended, for whoever is to make the next one.
#[derive(Debug, Clone, Default)]
pub struct Ended(Arc<(AtomicBool, Mutex<bool>, Condvar)>);

impl Ended {
    fn is_set(&self) -> bool {
        self.0.0.load(Ordering::Acquire)
    }

    fn set(&self) {
        self.0.0.store(true, Ordering::Release);
        *self.0.1.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.2.notify_all();
    }

    /// Waits for the end, at most for `patience`. Returns whether it has come.
    #[must_use]
    pub fn wait(&self, patience: Duration) -> bool {
        let ended = self.0.1.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.0.2.wait_timeout_while(ended, patience, |ended| !*ended);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// The edge's end.
///
/// Dropping it says what was sent already and ends the link; it waits for its threads, at most [`Timing::silence`] if the
/// other side reads no more, and not at all once the link has ended.
#[derive(Debug)]
pub struct RemoteLink {
    up: Option<Sender<Up>>,
    outlet: Arc<Mutex<Outlet>>,
    down: DownQueue,
    ended: Ended,
    books: Books,
    stream: Stream,
    threads: Vec<JoinHandle<()>>,
    /// Kept to save an allocation per call.
    batch: VecDeque<(Up, usize)>,
}

impl RemoteLink {
    /// Starts the threads of a link whose other end is given to [`serve`]. `name` begins the threads' names.
    ///
    /// # Errors
    /// Of the operating system, for the socket's timeouts and the threads.
    pub fn start(stream: impl Into<Stream>, name: &str, waker: Waker) -> io::Result<Self> {
        Self::start_with(stream.into(), name, waker, Timing::LOCAL, None)
    }

    /// As [`Self::start`]; with a seat among links of this process both preambles have passed already.
    pub(crate) fn start_with(
        stream: Stream,
        name: &str,
        waker: Waker,
        timing: Timing,
        seat: Option<Seat>,
    ) -> io::Result<Self> {
        let greeted = seat.is_some();
        stream.prepare(timing.silence)?;
        let (sender, receiver) = bounded(UP_BOUND);
        let ended = Ended::default();
        let mut output = Outlet {
            stream: stream.try_clone()?,
            version: seat.as_ref().map(|seat| seat.version),
            out: BytesMut::new(),
            said: Instant::now(),
        };
        if !greeted {
            output.out.extend_from_slice(&codec::preamble());
            output.stream.write_all(&output.out)?;
            output.out.clear();
        }
        let outlet = Arc::new(Mutex::new(output));
        let mut link = Self {
            up: Some(sender),
            outlet: outlet.clone(),
            down: DownQueue::new(waker.clone()),
            ended: ended.clone(),
            books: Books::default(),
            stream: stream.try_clone()?,
            threads: Vec::new(),
            batch: VecDeque::new(),
        };
        let (mut input, down) = (stream.try_clone()?, link.down.clone());
        if let Some(Seat { siblings, shard, .. }) = &seat {
            siblings.sit(*shard, down.clone());
        }
        let (greeting, greeted) = std::sync::mpsc::sync_channel(1);
        link.spawn(format!("{name}-down"), move || {
            log_end(read_downs(&mut input, &down, seat.as_ref(), greeting));
            let _ = input.shutdown(Shutdown::Both);
            ended.set();
            waker.wake();
        })?;
        link.spawn(format!("{name}-up"), move || {
            // What is said depends on whom it is said to. If nothing comes, the reader gives up in the same time.
            let version = || greeted.recv_timeout(timing.silence).ok();
            let known = lock(&outlet).version;
            let Some(version) = known.or_else(version) else { return };
            lock(&outlet).version = Some(version);
            let outcome = write_ups(&outlet, &receiver, timing.heartbeat, version);
            let stream = &mut lock(&outlet).stream;
            if let Err(error) = outcome {
                log_end(Err(error));
                // The reader notices too.
                let _ = stream.shutdown(Shutdown::Both);
            } else {
                let _ = stream.shutdown(Shutdown::Write);
            }
        })?;
        Ok(link)
    }

    /// Tells when the link has ended.
    #[must_use]
    pub fn ended(&self) -> Ended {
        self.ended.clone()
    }

    fn spawn(&mut self, name: String, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.threads.push(std::thread::Builder::new().name(name).spawn(run)?);
        Ok(())
    }
}

impl Link for RemoteLink {
    fn send(&mut self, ups: &mut Vec<Up>) {
        let Some(sender) = &self.up else { return };
        let mut refused = Vec::new();
        for up in ups.drain(..) {
            let cost = up.cost();
            match self.books.enter(&up, cost) {
                true => self.batch.push_back((up, cost)),
                false => refused.push(up),
            }
        }
        if !self.batch.is_empty() && !write_past(&self.outlet, sender, &mut self.batch) {
            sender.push_batch(&mut self.batch);
        }
        let books = &mut self.books;
        ups.extend(self.batch.drain(..).map(|(up, _)| up).inspect(|up| books.take_back(up)));
        ups.append(&mut refused);
    }

    fn recv(&mut self, downs: &mut Vec<Down>, max: usize) -> Received {
        // Looked at first: what came before the end is in the queue by then.
        let ended = self.ended.is_set();
        let first = downs.len();
        let received = self.down.recv(downs, max);
        downs[first..].iter().for_each(|down| self.books.settle(down));
        let ended = ended && !received.more;
        if ended {
            self.books.close(downs);
        }
        Received { ended, ..received }
    }

    fn finish(&mut self) {
        self.up = None;
    }
}

impl Drop for RemoteLink {
    fn drop(&mut self) {
        self.up = None;
        let mut threads = self.threads.drain(..).rev();
        // The writer first: it has the last words.
        let _ = threads.next().map(JoinHandle::join);
        self.stream.cut();
        let _ = threads.next().map(JoinHandle::join);
    }
}

/// The way up of a link: whoever holds it writes.
#[derive(Debug)]
struct Outlet {
    stream: Stream,
    /// What the other side speaks, once its preamble has come. Until then nothing is said.
    version: Option<u16>,
    /// Kept to save an allocation per call.
    out: BytesMut,
    /// When something was written last.
    said: Instant,
}

fn lock(outlet: &Mutex<Outlet>) -> MutexGuard<'_, Outlet> {
    outlet.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes a batch in the shard's own thread, which spares a wake-up of the writer, if nothing stands in front of it. What the
/// socket has no room for, the writer writes. Returns whether the batch is taken.
fn write_past(outlet: &Mutex<Outlet>, waiting: &Sender<Up>, batch: &mut VecDeque<(Up, usize)>) -> bool {
    // Held by a writer that waits for the socket, perhaps.
    let Ok(mut guard) = outlet.try_lock() else { return false };
    let Outlet { stream, version: Some(version), out, said } = &mut *guard else { return false };
    // Nothing comes into the queue meanwhile: only this thread puts something in.
    let bytes: usize = batch.iter().map(|(_, cost)| cost).sum();
    if stream.has_left() || !waiting.is_empty() || bytes > CHUNK_BYTES {
        return false;
    }
    batch.drain(..).for_each(|(up, _)| codec::encode_up(&up, *version, out));
    let outcome = stream.write_now(out);
    clear(out);
    *said = Instant::now();
    match outcome {
        Ok(true) => {}
        Ok(false) => waiting.nudge(),
        // The reader notices, and the books answer.
        Err(_) => stream.cut(),
    }
    true
}

fn write_ups(
    outlet: &Mutex<Outlet>,
    ups: &Receiver<Up>,
    heartbeat: Duration,
    version: u16,
) -> io::Result<()> {
    let mut batch = Vec::new();
    loop {
        let waited = ups.wait_ready(heartbeat);
        let mut guard = lock(outlet);
        let Outlet { stream, out, said, .. } = &mut *guard;
        stream.write_left()?;
        match waited {
            Waited::Items => {
                // Taken while the outlet is held: nothing overtakes it.
                ups.drain(&mut batch, BATCH_ITEMS);
                batch.drain(..).for_each(|up| codec::encode_up(&up, version, out));
            }
            Waited::Timeout if said.elapsed() >= heartbeat => codec::encode(&Message::Heartbeat, out),
            Waited::Timeout => {}
            Waited::Closed => codec::encode(&Message::Finished, out),
        }
        if !out.is_empty() {
            stream.write_all(out)?;
            clear(out);
            *said = Instant::now();
        }
        if waited == Waited::Closed {
            return Ok(());
        }
    }
}

fn read_downs(
    input: &mut impl Read,
    down: &DownQueue,
    seat: Option<&Seat>,
    greeting: SyncSender<u16>,
) -> io::Result<()> {
    let (mut batch, mut shared) = (Vec::new(), Vec::new());
    let greeting = seat.is_none().then_some(greeting);
    read_messages(input, greeting, |messages| {
        for message in messages.drain(..) {
            match message {
                Message::Down(Down::Share { shards, topic, lane, kind, id, body }) => {
                    let publish = Down::Publish { topic, lane, kind, id, body, except: None };
                    match seat {
                        Some(seat) if shards >> seat.shard & 1 == 0 => {}
                        _ => batch.push(publish.clone()),
                    }
                    shared.push((shards, publish));
                }
                Message::Down(message) => batch.push(message),
                Message::Lost => down.mark_lost(),
                Message::Heartbeat => {}
                Message::Up(_) | Message::Finished => return Err(wrong_way()),
            }
        }
        down.push_batch(&mut batch);
        if let Some(seat) = seat
            && !shared.is_empty()
        {
            seat.siblings.share(seat.shard, &shared);
        }
        shared.clear();
        Ok(())
    })
}

/// Reads to the end of the stream and gives what each read brought, in order. The other side's preamble stands in front of it if there is
/// somebody to tell the version to.
fn read_messages(
    input: &mut impl Read,
    greeting: Option<SyncSender<u16>>,
    mut take: impl FnMut(&mut Vec<Message>) -> io::Result<()>,
) -> io::Result<()> {
    if let Some(greeting) = greeting {
        let mut preamble = [0; PREAMBLE_BYTES];
        input.read_exact(&mut preamble)?;
        let version = codec::agree(&preamble).map_err(io::Error::other)?;
        // Whoever does not want to know has hung up.
        let _ = greeting.send(version);
    }
    let (mut decoder, mut messages) = (Decoder::default(), Vec::new());
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = match input.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the other side has gone silent"));
            }
            Err(error) => return Err(error),
        };
        decoder.buffer().extend_from_slice(&chunk[..read]);
        while let Some(message) = decoder.next_message().map_err(io::Error::other)? {
            messages.push(message);
        }
        take(&mut messages)?;
        messages.clear();
    }
}

fn wrong_way() -> io::Error {
    io::Error::other("a message that this side may not send")
}

/// Empties a buffer for the next batch, and gives the memory of an unusually large one back.
fn clear(out: &mut BytesMut) {
    if out.capacity() > 4 * CHUNK_BYTES {
        *out = BytesMut::new();
    }
    out.clear();
}

fn log_end(outcome: io::Result<()>) {
    match outcome {
        Ok(()) => tracing::debug!("trunk link ended"),
        Err(error) => tracing::warn!(%error, "trunk link broke"),
    }
}
