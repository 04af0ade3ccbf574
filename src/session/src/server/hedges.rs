//! Copies of frames in datagrams, both ways.
//!
//! What the client copies are requests, which get through when the packet with the stream's copy is lost. A HEDGE names the chat request that the client sent before the one it carries. The request is taken from the hedge
//! only if that one was the last taken, so no hedge overtakes another request; and the stream's copy is
//! dropped when it comes, because ids on the chat lane rise and its id is not above the last one taken from a hedge. A client that
//! never hedges may number its requests as it likes.

use std::time::Instant;

use bytes::Bytes;
use nearport_wire::{Decoder, Frame, Kind, Lane};

use super::{Action, Server, ServerLimits};

/// What the chat lane's requests have come to, by id.
#[derive(Debug, Default)]
pub(super) struct Hedges {
    /// The last request taken, 0 before the first.
    last: u64,
    /// The last one of them that came in a hedge, 0 if none did.
    hedged: u64,
}

impl Hedges {
    /// A request came on the stream. Whether it is to be carried out: it did not come in a hedge before.
    pub(super) fn take_from_stream(&mut self, id: u64) -> bool {
        if cfg!(nearport_bug = "hedge_twice") {
            return true;
        }
        let is_new = self.hedged == 0 || id > self.hedged;
        if is_new {
            self.last = id;
        }
        is_new
    }

    /// Whether the request `id` in a hedge is the one after all that were taken.
    fn follows(&self, previous: u64, id: u64) -> bool {
        previous == self.last && id > previous
    }

    fn take_from_hedge(&mut self, id: u64) {
        (self.last, self.hedged) = (id, id);
    }
}

/// Copies that one turn may make; what is written beyond them goes on the stream alone.
const COPIES_MAX: usize = 32;

/// Frames of the chat lane that were written since the transport last took the copies.
#[derive(Debug)]
pub(super) struct Copies {
    frames: Vec<Bytes>,
    bytes_max: usize,
}

impl Server {
    /// The path has begun to lose packets, or has stopped: whether small frames of the chat lane (pushes, replies and
    /// errors) are copied for [`Self::take_copies`]. The client drops what it has seen.
    pub fn set_hedging(&mut self, on: bool, limits: &ServerLimits) {
        let bytes_max = limits.hedge_bytes_max;
        self.copies = (on && bytes_max > 0).then(|| Box::new(Copies { frames: Vec::new(), bytes_max }));
    }

    /// What is to be sent a second time.
    pub fn take_copies(&mut self) -> Vec<Bytes> {
        self.copies.as_mut().map_or_else(Vec::new, |copies| std::mem::take(&mut copies.frames))
    }

    pub(super) fn copy(&mut self, lane: Lane, frame: &Bytes) {
        if let Some(copies) = &mut self.copies
            && lane == Lane::Chat
            && frame.len() <= copies.bytes_max
            && copies.frames.len() < COPIES_MAX
        {
            copies.frames.push(frame.clone());
        }
    }

    /// What a HEDGE asks for, if it is its turn. At the bound of requests a hedge is dropped: the stream's copy decides.
    pub(super) fn take_hedge(&mut self, hedge: Frame, limits: &ServerLimits, now: Instant) -> Option<Action> {
        let mut inside = Decoder::new(limits.frame);
        inside.feed(hedge.body);
        let request = inside.next_frame().ok().flatten()?;
        let is_whole = matches!(inside.next_frame(), Ok(None)) && !inside.is_mid_frame();
        // A FLUSH waits for acknowledgements that were sent before it, which a datagram could overtake.
        let is_fit = request.kind.is_request() && request.kind != Kind::FLUSH && request.lane == Lane::Chat;
        if !is_whole || !is_fit || !self.hedges.follows(hedge.id, request.id) {
            return None;
        }
        let id = request.id;
        let action = self.take_request(request, limits, now)?;
        self.hedges.take_from_hedge(id);
        Some(action)
    }

    /// A request that came in a datagram, outside the order of its lane. Above the bounds it is lost, as a datagram may be.
    pub(super) fn take_request(
        &mut self,
        request: Frame,
        limits: &ServerLimits,
        now: Instant,
    ) -> Option<Action> {
        if self.requests >= limits.requests_max || self.over_rate(limits, now).is_some() {
            return None;
        }
        self.requests += 1;
        Some(Action::Request(request))
    }
}

#[cfg(test)]
#[path = "hedges_tests.rs"]
mod tests;
