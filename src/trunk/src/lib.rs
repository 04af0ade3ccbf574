//! The seam between edge and backend.
//!
//! An edge shard talks to its backend over a [`Link`]: plain messages [`Up`] and [`Down`], bounded queues, no call
//! that waits. The edge never looks into a frame's body and the backend never sees a connection, so either side
//! can be replaced. Three kinds of backend exist: `chat`, [`echo`] here, and whatever a user writes.
//!
//! A link is [`local`], inside one process, or [`remote`], to another one: the same messages as bytes ([`codec`]), over a
//! Unix socket or over TLS between hosts ([`dial`] at the edge, [`listen`] at the core). What
//! happens at each bound is stated where the bound is: [`Link::send`] for the way up, [`local::DownQueue`] for the way
//! down, and it is the same for both.

mod books;
pub mod codec;
pub mod dial;
pub mod echo;
pub mod hello;
pub mod listen;
pub mod local;
mod message;
pub mod queue;
pub mod remote;
mod siblings;
mod stream;
pub mod tls;

use std::fmt;
use std::sync::Arc;

pub use message::{CONNECTIONS_MAX, Down, EdgeId, Identity, Owner, SessionId, Sharing, Topic, Up};
pub use stream::Stream;

/// Makes links. One backend serves all shards of a process.
pub trait Backend: Send + Sync + fmt::Debug {
    /// Opens the link of one shard. `waker` is called whenever [`Link::recv`] has something after it had nothing.
    fn link(&self, waker: Waker) -> Box<dyn Link>;

    /// The same for a shard that shares what it is given with others of its edge process ([`Down::Share`]). A backend that never
    /// says one thing to several shards gives a link as any other; there is no default, for what wraps a backend would forget it.
    fn link_sharing(&self, waker: Waker, sharing: Sharing) -> Box<dyn Link>;
}

/// A shard's end of the seam. Neither method blocks.
pub trait Link: Send + fmt::Debug {
    /// Hands messages up, in order. What the backend has no room for stays in `ups`; the shard answers it:
    /// a request with ERROR 60018 (busy), an open with close code BUSY, an ack is dropped (the next one covers
    /// it), a close and an adoption are offered again.
    fn send(&mut self, ups: &mut Vec<Up>);

    /// Moves what came down, at most about `max` messages, to the end of `downs`.
    fn recv(&mut self, downs: &mut Vec<Down>, max: usize) -> Received;

    /// Says that nothing follows: what was sent is carried out, and what it is answered with still comes down. A link
    /// to another process then ends ([`Received::ended`]) when the backend has said everything; inside one process
    /// there is nothing to say.
    fn finish(&mut self) {}
}

/// What [`Link::recv`] left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Received {
    /// More is waiting; the waker will not be called for it.
    pub more: bool,
    /// Publishes were dropped since the last call because the queue was full: every session of the shard is
    /// behind and is told to sync.
    pub lost: bool,
    /// The link has ended, everything that came over it has been taken, and nothing will come any more. What was sent
    /// last may not have arrived. A link inside one process never says so.
    pub ended: bool,
}

/// Wakes a shard. Cheap to clone and to call; calls may coalesce.
#[derive(Clone)]
pub struct Waker(Arc<dyn Fn() + Send + Sync>);

impl Waker {
    /// A waker that calls `wake`.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(wake))
    }

    /// A waker that does nothing, for a shard that is polled anyway.
    #[must_use]
    pub fn noop() -> Self {
        Self::new(|| {})
    }

    /// Wakes the shard.
    pub fn wake(&self) {
        (self.0)();
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waker")
    }
}
