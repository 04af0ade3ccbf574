//! Copies of small sends that leave as datagrams, a little after the stream's own copy.
//!
//! On a lossy path a lost packet costs a message one and a half round trips at best. The copy travels in another
//! packet, so both must be lost for that to happen. The server takes whichever comes first and drops the other.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use nearport_wire::{Kind, Lane, encode_into};

/// Largest frame that is copied: with the headers around it, it fits in the smallest packet that QUIC allows.
pub(super) const HEDGED_BYTES_MAX: usize = 900;

/// Copies that wait for their time; more are not made, the stream carries the message in any case.
const WAITING_MAX: usize = 64;

/// Copies on their way, and the numbers that order them.
#[derive(Debug, Default)]
pub(super) struct Hedges {
    /// How long after the stream's copy; `None` makes none.
    delay: Option<Duration>,
    /// In the order of sending, which is that of time.
    waiting: VecDeque<Waiting>,
    /// The last request on the chat lane's stream.
    last: u64,
}

#[derive(Debug)]
struct Waiting {
    at: Instant,
    /// The request before it.
    previous: u64,
    id: u64,
    frame: Bytes,
}

impl Hedges {
    pub(super) fn set_delay(&mut self, delay: Option<Duration>) {
        self.delay = delay;
        if delay.is_none() {
            self.waiting.clear();
        }
    }

    /// A request went out on the chat lane's stream.
    pub(super) fn sent(&mut self, now: Instant, kind: Kind, id: u64, frame: &Bytes) {
        let previous = std::mem::replace(&mut self.last, id);
        let Some(delay) = self.delay else { return };
        let fits = frame.len() <= HEDGED_BYTES_MAX && self.waiting.len() < WAITING_MAX;
        if kind == Kind::SEND && fits {
            // A delay that has become shorter does not let a copy overtake an earlier one.
            let at = self.waiting.back().map_or(now + delay, |last| last.at.max(now + delay));
            self.waiting.push_back(Waiting { at, previous, id, frame: frame.clone() });
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.waiting.front().map(|first| first.at)
    }

    /// The next copy whose time has come, unless its request is answered already.
    pub(super) fn next_due(&mut self, now: Instant, is_open: impl Fn(u64) -> bool) -> Option<Bytes> {
        loop {
            let first = self.waiting.pop_front_if(|first| first.at <= now)?;
            if is_open(first.id) {
                let mut hedge = BytesMut::new();
                encode_into(Lane::Chat, Kind::HEDGE, first.previous, &first.frame, &mut hedge);
                return Some(hedge.freeze());
            }
        }
    }
}
