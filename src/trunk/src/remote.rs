//! A link between two processes: the messages of the seam over an ordered byte stream.
//!
//! ```text
//!   shard ── RemoteLink ── writer ───► stream ───► reader ── pump ── Link of the backend
//!                  └────── reader ◄─── stream ◄─────────────────┘
//! ```
//!
//! Two threads at either end. Each writes what has gathered with one call, says a heartbeat when it has nothing to say, and
//! takes the other side for dead after a time of silence. Bounds and their answers are those of [`crate::local`]: the
//! shard gets back what has no room on the way up, publishes are dropped and `lost` is told on the way down. The edge's
//! reader never waits for anybody, so a slow shard does not hold the backend up.
//!
//! The stream is a Unix socket so far. The threads know only `Read` and `Write`, and the [`crate::codec`] knows
//! neither.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::BytesMut;

use crate::codec::{self, Decoder, Message, PREAMBLE_BYTES};
use crate::local::DownQueue;
use crate::queue::{Bound, Receiver, Sender, Waited, bounded};
use crate::{Down, Link, Received, Up, Waker};

mod serve;
#[cfg(test)]
mod tests;

pub use serve::{Served, serve};

/// What may wait on the way up: as much as the queues of a backend inside the process take.
const UP_BOUND: Bound = Bound { items: 16_384, bytes: 16 << 20 };

/// Messages written with one call at most.
const BATCH_ITEMS: usize = 1_024;

/// Bytes read or gathered for writing at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Who has said nothing for this long says a heartbeat.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(2);

/// Who hears nothing, or cannot write, for this long gives the link up. A Unix socket tells at once when a process
/// dies; this is for one that is stopped.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// The edge's end.
///
/// Dropping it says what was sent already and ends the link; it waits for its threads, at most `SILENCE_MAX` if the
/// other side reads no more.
#[derive(Debug)]
pub struct RemoteLink {
    up: Option<Sender<Up>>,
    down: DownQueue,
    ended: Arc<AtomicBool>,
    stream: UnixStream,
    threads: Vec<JoinHandle<()>>,
    /// Kept to save an allocation per call.
    batch: VecDeque<(Up, usize)>,
}

impl RemoteLink {
    /// Starts the threads of a link whose other end is given to [`serve`]. `name` begins the threads' names.
    ///
    /// # Errors
    /// Of the operating system, for the socket's timeouts and the threads.
    pub fn start(stream: UnixStream, name: &str, waker: Waker) -> io::Result<Self> {
        prepare(&stream)?;
        let (sender, receiver) = bounded(UP_BOUND);
        let ended = Arc::new(AtomicBool::new(false));
        let mut link = Self {
            up: Some(sender),
            down: DownQueue::new(waker.clone()),
            ended: ended.clone(),
            stream: stream.try_clone()?,
            threads: Vec::new(),
            batch: VecDeque::new(),
        };
        let (mut input, down) = (stream.try_clone()?, link.down.clone());
        link.spawn(format!("{name}-down"), move || {
            log_end(read_downs(&mut input, &down));
            ended.store(true, Ordering::Release);
            let _ = input.shutdown(Shutdown::Both);
            waker.wake();
        })?;
        link.spawn(format!("{name}-up"), move || {
            let mut output = stream;
            if let Err(error) = write_ups(&mut output, &receiver) {
                log_end(Err(error));
                // The reader notices too.
                let _ = output.shutdown(Shutdown::Both);
            } else {
                let _ = output.shutdown(Shutdown::Write);
            }
        })?;
        Ok(link)
    }

    fn spawn(&mut self, name: String, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.threads.push(std::thread::Builder::new().name(name).spawn(run)?);
        Ok(())
    }
}

impl Link for RemoteLink {
    fn send(&mut self, ups: &mut Vec<Up>) {
        let Some(sender) = &self.up else { return };
        self.batch.extend(ups.drain(..).map(|up| {
            let cost = up.cost();
            (up, cost)
        }));
        sender.push_batch(&mut self.batch);
        ups.extend(self.batch.drain(..).map(|(up, _)| up));
    }

    fn recv(&mut self, downs: &mut Vec<Down>, max: usize) -> Received {
        // Looked at first: what came before the end is in the queue by then.
        let ended = self.ended.load(Ordering::Acquire);
        let received = self.down.recv(downs, max);
        Received { ended: ended && !received.more, ..received }
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
        let _ = self.stream.shutdown(Shutdown::Both);
        let _ = threads.next().map(JoinHandle::join);
    }
}

/// Both ends say who they are, then never wait longer than [`SILENCE_MAX`].
fn prepare(stream: &UnixStream) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    stream.set_write_timeout(Some(SILENCE_MAX))
}

fn write_ups(output: &mut impl Write, ups: &Receiver<Up>) -> io::Result<()> {
    let mut out = BytesMut::from(&codec::preamble()[..]);
    let mut batch = Vec::new();
    loop {
        output.write_all(&out)?;
        clear(&mut out);
        match ups.wait(&mut batch, BATCH_ITEMS, HEARTBEAT_EVERY) {
            Waited::Items => batch.drain(..).for_each(|up| codec::encode_up(&up, &mut out)),
            Waited::Timeout => codec::encode(&Message::Heartbeat, &mut out),
            Waited::Closed => {
                codec::encode(&Message::Finished, &mut out);
                return output.write_all(&out);
            }
        }
    }
}

fn read_downs(input: &mut impl Read, down: &DownQueue) -> io::Result<()> {
    let mut batch = Vec::new();
    read_messages(input, |messages| {
        for message in messages.drain(..) {
            match message {
                Message::Down(message) => batch.push(message),
                Message::Lost => down.mark_lost(),
                Message::Heartbeat => {}
                Message::Up(_) | Message::Finished => return Err(wrong_way()),
            }
        }
        down.push_batch(&mut batch);
        Ok(())
    })
}

/// Reads to the end of the stream and gives what each read brought, in order.
fn read_messages(
    input: &mut impl Read,
    mut take: impl FnMut(&mut Vec<Message>) -> io::Result<()>,
) -> io::Result<()> {
    let mut preamble = [0; PREAMBLE_BYTES];
    input.read_exact(&mut preamble)?;
    codec::agree(&preamble).map_err(io::Error::other)?;
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
