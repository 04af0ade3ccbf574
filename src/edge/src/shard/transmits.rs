//! Datagrams of one turn, waiting for the socket.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::socket::{BATCH, Outgoing};

/// Buffers kept for reuse: two batches, 2.5 KB each at most.
const SPARE_MAX: usize = 2 * BATCH;

/// A datagram below this is not full: the smallest maximum is 1,200 bytes (RFC 9000 §14).
const SHORT: usize = 1_100;

/// Outgoing datagrams in order. quinn-proto writes each from offset 0 of a `Vec` of its own, so there is one `Vec`
/// per datagram, and they are reused.
#[derive(Debug, Default)]
pub struct Transmits {
    queue: VecDeque<Outgoing>,
    spare: Vec<Vec<u8>>,
}

impl Transmits {
    /// An empty buffer to write a datagram into.
    pub(crate) fn buffer(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    /// Gives back a buffer that was not used.
    pub(crate) fn recycle(&mut self, mut buffer: Vec<u8>) {
        if self.spare.len() < SPARE_MAX {
            buffer.clear();
            self.spare.push(buffer);
        }
    }

    /// Queues a datagram.
    pub(crate) fn push(&mut self, to: SocketAddr, bytes: Vec<u8>) {
        self.queue.push_back(Outgoing { to, bytes });
    }

    /// The datagrams in front, contiguous, at most a batch.
    pub(crate) fn front(&mut self) -> &[Outgoing] {
        let contiguous = self.queue.as_slices().0.len();
        if contiguous < BATCH && contiguous < self.queue.len() {
            self.queue.make_contiguous();
        }
        let front = self.queue.as_slices().0;
        &front[..front.len().min(BATCH)]
    }

    /// Removes `count` datagrams from the front.
    pub(crate) fn sent(&mut self, count: usize) {
        for _ in 0..count {
            if let Some(outgoing) = self.queue.pop_front() {
                self.recycle(outgoing.bytes);
            }
        }
    }

    /// Takes the next datagram: its destination and its bytes.
    pub fn pop(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.queue.pop_front().map(|outgoing| (outgoing.to, outgoing.bytes))
    }

    /// Whether the last datagram has room left: its connection had no more to say.
    pub(crate) fn is_last_short(&self) -> bool {
        self.queue.back().is_some_and(|outgoing| outgoing.bytes.len() < SHORT)
    }

    /// Datagrams that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}
