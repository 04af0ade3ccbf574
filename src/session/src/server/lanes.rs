//! Side streams: a lane with a stream of its own, so that a long page does not hold back a message.
//!
//! The first frame on a side stream binds its lane, never control. From then on the lane's frames of the server go on
//! it, and the client may send no other lane's there. What the client sent of the lane on the main stream before may still arrive there,
//! so the main stream takes every lane at any time. When the client ends the stream or resets its half, the server writes what
//! waits, ends its half too, and the lane is back on the main stream.

use std::time::Instant;

use bytes::Bytes;
use nearport_wire::close::CloseCode;
use nearport_wire::{Decoder, Frame, Lane};

use super::{Server, ServerLimits, State, broken};
use crate::{Closing, Outbox};

/// Side streams of a session: one for each lane but control.
pub const SIDES_MAX: usize = 3;

/// Which stream is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    Main,
    Side(u8),
}

/// All side streams, by the number that the transport gave them.
#[derive(Debug)]
pub(super) struct Sides {
    streams: [Option<Side>; SIDES_MAX],
    /// When the silence of the whole session runs out; [`Server::deadline`] is the earliest of this and of the half
    /// frames.
    idle_due: Instant,
    /// When the half frame on the main stream runs out.
    main_half_due: Option<Instant>,
}

#[derive(Debug)]
struct Side {
    decoder: Decoder,
    outbox: Outbox,
    /// `None` until the first frame.
    lane: Option<Lane>,
    half_due: Option<Instant>,
    /// The client has ended its half: what waits is written, nothing is added.
    ended: bool,
}

impl Sides {
    fn get(&self, number: u8) -> Option<&Side> {
        self.streams.get(usize::from(number))?.as_ref()
    }

    fn get_mut(&mut self, number: u8) -> Option<&mut Side> {
        self.streams.get_mut(usize::from(number))?.as_mut()
    }

    fn iter(&self) -> impl Iterator<Item = &Side> {
        self.streams.iter().flatten()
    }

    fn half_due(&mut self, reading: Reading) -> Option<&mut Option<Instant>> {
        match reading {
            Reading::Main => Some(&mut self.main_half_due),
            Reading::Side(number) => self.get_mut(number).map(|side| &mut side.half_due),
        }
    }

    fn half_dues(&self) -> impl Iterator<Item = Instant> {
        self.iter().filter_map(|side| side.half_due).chain(self.main_half_due)
    }

    /// When the silence runs out.
    pub(super) fn idle_due(&self) -> Instant {
        self.idle_due
    }

    fn deadline(&self) -> Instant {
        self.half_dues().fold(self.idle_due, Instant::min)
    }
}

impl Server {
    /// The client opened a side stream; the transport numbers it, below [`SIDES_MAX`], and gives no number to two streams at
    /// once.
    pub fn open_side(&mut self, number: u8, limits: &ServerLimits, now: Instant) {
        let mid_frame = self.decoder.is_mid_frame();
        let (deadline, idle) = (self.deadline, now + limits.idle_timeout);
        let sides = self.sides.get_or_insert_with(|| {
            Box::new(Sides {
                streams: [None, None, None],
                idle_due: if mid_frame { idle } else { deadline },
                main_half_due: mid_frame.then_some(deadline),
            })
        });
        if let Some(slot) = sides.streams.get_mut(usize::from(number)) {
            *slot = Some(Side {
                decoder: Decoder::new(limits.frame),
                outbox: Outbox::default(),
                lane: None,
                half_due: None,
                ended: false,
            });
        }
    }

    /// Takes bytes of a side stream. Call [`Self::poll_action`] until `None` before the next.
    pub fn handle_side_bytes(&mut self, number: u8, chunk: Bytes) {
        self.reading = Reading::Side(number);
        if let Some(side) = self.sides.as_mut().and_then(|sides| sides.get_mut(number)) {
            side.decoder.feed(chunk);
        }
    }

    /// The lane that a side stream is bound to.
    #[must_use]
    pub fn lane_of_side(&self, number: u8) -> Option<Lane> {
        self.sides.as_ref()?.get(number)?.lane
    }

    /// The client ended its half of a side stream, or reset it: the lane goes back to the main stream. What waits for
    /// the side stream still goes there; call [`Self::close_side`] when it is written.
    ///
    /// # Errors
    /// [`Closing`] with BAD_FRAME if the stream ended inside a frame. One that was reset may.
    pub fn end_side(&mut self, number: u8, reset: bool) -> Result<(), Closing> {
        if let Some(side) = self.sides.as_mut().and_then(|sides| sides.get_mut(number)) {
            if side.decoder.is_mid_frame() && !reset {
                return Err(Closing::new(CloseCode::BAD_FRAME, "a stream ended inside a frame"));
            }
            side.ended = true;
            side.half_due = None;
        }
        Ok(())
    }

    /// Whether a side stream was ended by the client and everything for it is written.
    #[must_use]
    pub fn is_side_done(&self, number: u8) -> bool {
        let side = self.sides.as_ref().and_then(|sides| sides.get(number));
        side.is_some_and(|side| side.ended && side.outbox.is_empty())
    }

    /// A side stream is gone. What waited for it is lost with it; if there was any, the client is told to sync.
    pub fn close_side(&mut self, number: u8) {
        let Some(sides) = &mut self.sides else { return };
        let side = sides.streams.get_mut(usize::from(number)).and_then(Option::take);
        self.behind |= side.is_some_and(|side| !side.outbox.is_empty());
        self.deadline = sides.deadline();
        if sides.iter().next().is_none() {
            self.sides = None;
        }
    }

    /// What waits to be written on a side stream.
    pub fn poll_side_output(&mut self, number: u8) -> Option<&mut Outbox> {
        self.sides.as_mut()?.get_mut(number).map(|side| &mut side.outbox)
    }

    /// Bytes that wait to be written, on all streams.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.outbox.bytes() + self.sides_bytes(|_| true)
    }

    /// Bytes that wait on streams with pushes. A page that waits on the bulk lane's own stream is bounded by the
    /// number of requests and delays no push.
    pub(super) fn pushes_wait_behind(&self) -> usize {
        self.outbox.bytes() + self.sides_bytes(|side| side.lane != Some(Lane::Bulk))
    }

    /// All that waits.
    pub(super) fn outboxes(&self) -> impl Iterator<Item = &Outbox> {
        let sides = self.sides.iter().flat_map(|sides| sides.iter().map(|side| &side.outbox));
        std::iter::once(&self.outbox).chain(sides)
    }

    fn outboxes_mut(&mut self) -> impl Iterator<Item = &mut Outbox> {
        let sides = self.sides.iter_mut().flat_map(|sides| sides.streams.iter_mut().flatten());
        std::iter::once(&mut self.outbox).chain(sides.map(|side| &mut side.outbox))
    }

    /// Whether the transport has taken anything since the last call.
    pub(super) fn take_moved(&mut self) -> bool {
        let mut moved = false;
        self.outboxes_mut().for_each(|outbox| moved |= outbox.take_moved());
        moved
    }

    /// Throws away what waits. Returns whether there was any.
    pub(super) fn discard_output(&mut self) -> bool {
        let mut any = false;
        self.outboxes_mut().for_each(|outbox| any |= !outbox.take().is_empty());
        any
    }

    fn sides_bytes(&self, of: impl Fn(&Side) -> bool) -> usize {
        let sides = self.sides.as_ref();
        sides.map_or(0, |sides| sides.iter().filter(|side| of(side)).map(|side| side.outbox.bytes()).sum())
    }

    /// Where frames of a lane go.
    pub(super) fn outbox_of(&mut self, lane: Lane) -> &mut Outbox {
        let sides = self.sides.as_mut();
        let side = sides.and_then(|sides| {
            sides.streams.iter_mut().flatten().find(|side| side.lane == Some(lane) && !side.ended)
        });
        side.map_or(&mut self.outbox, |side| &mut side.outbox)
    }

    /// The next frame of the stream that is being read.
    pub(super) fn next_frame(&mut self) -> Result<Option<Frame>, Closing> {
        let Reading::Side(number) = self.reading else {
            return self.decoder.next_frame().map_err(|error| broken(&error));
        };
        let Some(sides) = &mut self.sides else { return Ok(None) };
        let Some(side) = sides.get_mut(number) else { return Ok(None) };
        let Some(frame) = side.decoder.next_frame().map_err(|error| broken(&error))? else {
            return Ok(None);
        };
        if side.lane == Some(frame.lane) {
            return Ok(Some(frame));
        }
        let bad = |reason| Err(Closing::new(CloseCode::BAD_STREAM, reason));
        if side.lane.is_some() {
            return bad("a frame of another lane than that of its stream");
        }
        if frame.lane == Lane::Control {
            return bad("the control lane stays on the main stream");
        }
        if sides.iter().any(|side| side.lane == Some(frame.lane) && !side.ended) {
            return bad("a second stream for a lane");
        }
        if let Some(side) = sides.get_mut(number) {
            side.lane = Some(frame.lane);
        }
        Ok(Some(frame))
    }

    /// A frame is complete: the silence starts over, and so does the time for the stream's next frame.
    pub(super) fn heard_frame(&mut self, limits: &ServerLimits, now: Instant) {
        self.deadline = now + limits.idle_timeout;
        if let Some(sides) = &mut self.sides {
            sides.idle_due = self.deadline;
            if let Some(half_due) = sides.half_due(self.reading) {
                *half_due = None;
            }
            self.deadline = sides.deadline();
        }
    }

    /// A datagram ends the silence, but wins a half frame no time.
    pub(super) fn heard_datagram(&mut self, limits: &ServerLimits, now: Instant) {
        let idle_due = now + limits.idle_timeout;
        if let Some(sides) = &mut self.sides {
            sides.idle_due = idle_due;
            self.deadline = sides.deadline();
        } else if !self.decoder.is_mid_frame() {
            self.deadline = idle_due;
        }
    }

    /// No more frames in what came. The first byte of a frame starts the clock; more of it does not.
    pub(super) fn drained(&mut self, limits: &ServerLimits, now: Instant) {
        let due = now + limits.frame_timeout;
        let reading = self.reading;
        match &mut self.sides {
            None if self.decoder.is_mid_frame() => self.deadline = self.deadline.min(due),
            None => {}
            Some(sides) => {
                let mid_frame = match reading {
                    Reading::Main => self.decoder.is_mid_frame(),
                    Reading::Side(number) => {
                        sides.get(number).is_some_and(|side| side.decoder.is_mid_frame())
                    }
                };
                if let (true, Some(half_due)) = (mid_frame, sides.half_due(reading)) {
                    half_due.get_or_insert(due);
                }
                self.deadline = sides.deadline();
            }
        }
    }

    /// Whether it is a half frame whose time is up.
    pub(super) fn is_half_frame_due(&self, now: Instant) -> bool {
        match &self.sides {
            None => self.decoder.is_mid_frame() && self.state != State::Hello,
            Some(sides) => sides.half_dues().any(|due| due <= now),
        }
    }
}

#[cfg(test)]
#[path = "lanes_tests.rs"]
mod tests;
