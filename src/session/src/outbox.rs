//! Frames that wait to be written, in order, with their size.

use bytes::Bytes;

/// Encoded frames on their way to the transport. The owner bounds it by [`Outbox::bytes`]; it holds no memory
/// while it is empty and unused.
#[derive(Debug, Default)]
pub struct Outbox {
    frames: Vec<Bytes>,
    bytes: usize,
    /// Some of it was taken.
    moved: bool,
}

impl Outbox {
    /// Appends an encoded frame.
    pub fn push(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        self.frames.push(frame);
    }

    /// Bytes waiting.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Frames waiting.
    #[must_use]
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether the transport took anything since the last call.
    pub(crate) fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// The waiting chunks. The transport takes bytes from the front by shortening or emptying them; call
    /// [`Self::written`] with their number afterwards.
    pub fn chunks(&mut self) -> &mut [Bytes] {
        &mut self.frames
    }

    /// Accounts for what the transport took: `chunks` whole chunks from the front (now empty) and `bytes` in all.
    pub fn written(&mut self, chunks: usize, bytes: usize) {
        self.frames.drain(..chunks);
        self.bytes -= bytes;
        self.moved |= bytes > 0;
        if self.frames.is_empty() && self.frames.capacity() > KEEP_CHUNKS {
            // A burst must not leave its high-water mark behind in every session.
            self.frames = Vec::new();
        }
    }

    /// Takes everything as one list, for transports without partial writes.
    pub fn take(&mut self) -> Vec<Bytes> {
        self.moved |= self.bytes > 0;
        self.bytes = 0;
        std::mem::take(&mut self.frames)
    }
}

/// Capacity that an empty outbox may keep: 128 bytes, so that a steady trickle does not allocate.
const KEEP_CHUNKS: usize = 4;
