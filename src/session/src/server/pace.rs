//! How much of the server one session may use: requests in a second, bytes that wait for it, and how long they may wait.
//!
//! A reader that is too slow goes down a ladder: pushes of the live lane are thinned out by class and counted, then pushes are
//! dropped and the session is behind, and when nothing moves for too long, or too much waits, it is closed with SLOW.
//! It may come back at once and syncs.

use std::time::{Duration, Instant};

use bytes::Bytes;
use nearport_wire::close::CloseCode;
use nearport_wire::{Class, Kind, Lane, body, code};
use prost::Message as _;

use super::{Server, ServerLimits, State};
use crate::Closing;

/// What a waiting frame costs beside its bytes: its place in the list and its allocation.
const FRAME_COST: usize = 64;

/// After a request was refused, further ones are refused too for this long, or half the burst if that is shorter: what a
/// client had sent already before it heard of it must not overtake what was refused.
const HOLD: Duration = Duration::from_millis(500);

/// What may wait when a push of a class still comes: every second one from the first figure on, none above the second, in eighths
/// of [`ServerLimits::live_bytes_max`]. Each class leaves room to those above it, so that a gift reaches somebody who is
/// too slow for the likes before it.
const LADDER: [(usize, usize); Class::COUNT] = [(8, 8), (4, 6), (2, 4), (1, 2)];

/// So many left out are told at the next live push, although the client has not caught up: one that is a little too slow for
/// ever never would.
const FOLDED_TOLD: u32 = 32;

/// The pace of one session.
#[derive(Debug)]
pub(super) struct Pace {
    /// When the requests taken so far are paid for (the generic cell rate algorithm, ITU-T I.371).
    paid_at: Instant,
    /// When the session is closed unless something moves before; `None` while nothing waits.
    slow_due: Option<Instant>,
    /// Live pushes left out since the client was last told.
    folded: u32,
    /// Which classes leave the next one out where every second one is kept, a bit for each.
    alternate: u8,
    /// Requests refused since [`Server::take_limited`].
    limited: u32,
    /// The last request was refused.
    holding: bool,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { paid_at: now, slow_due: None, folded: 0, alternate: 0, limited: 0, holding: false }
    }

    /// Takes a request, or says how long to wait until one would be taken.
    fn take(&mut self, limits: &ServerLimits, now: Instant) -> Result<(), Duration> {
        let Some(cost) = Duration::from_secs(1).checked_div(limits.requests_per_s) else { return Ok(()) };
        let burst = cost * limits.requests_burst.max(1);
        let paid_at = self.paid_at.max(now) + cost;
        let latest = now + burst - if self.holding { HOLD.min(burst / 2) } else { Duration::ZERO };
        self.holding = paid_at > latest;
        if self.holding {
            return Err(paid_at + HOLD.min(burst / 2) - (now + burst));
        }
        self.paid_at = paid_at;
        Ok(())
    }
}

impl Server {
    /// Whether the rate allows one more request. If not, `Some` is how long to wait.
    pub(super) fn over_rate(&mut self, limits: &ServerLimits, now: Instant) -> Option<Duration> {
        let wait = self.pace.take(limits, now).err();
        self.pace.limited += u32::from(wait.is_some());
        wait
    }

    /// Answers a request that comes too early. It does not reach the backend.
    pub(super) fn refuse_early(&mut self, lane: Lane, id: u64, wait: Duration) {
        // Rounded up: a client that comes back then finds room.
        let retry_after_ms = u32::try_from(wait.as_millis() + 1).unwrap_or(u32::MAX);
        let info = "too many requests in a second: send again later".to_owned();
        let error = body::Error { code: code::TOO_MANY_REQUESTS, info, retry_after_ms };
        let _ = self.write(lane, Kind::ERROR, id, &error.encode_to_vec());
    }

    /// Requests refused for their rate since the last call.
    pub fn take_limited(&mut self) -> u32 {
        std::mem::take(&mut self.pace.limited)
    }

    /// Writes an already encoded push of the live lane, or leaves it out and counts it. Returns whether it was written.
    ///
    /// It never marks the session behind: what is said in a live room is told once, and nobody asks for it again.
    pub fn push_live(&mut self, class: Class, frame: &Bytes, limits: &ServerLimits) -> bool {
        if self.state != State::Live {
            return false;
        }
        if self.behind || self.folds(class, frame.len(), limits) {
            // Who is behind is to catch up with what it cannot do without, first.
            self.pace.folded = self.pace.folded.saturating_add(1);
            return false;
        }
        if self.pace.folded >= FOLDED_TOLD {
            self.write_folded();
        }
        self.outbox_of(Lane::Live).push(frame.clone());
        true
    }

    /// Whether a push is left out, so that the rest arrives while it is news.
    fn folds(&mut self, class: Class, bytes: usize, limits: &ServerLimits) -> bool {
        let (waiting, max) = (self.pushes_wait_behind(), limits.live_bytes_max);
        let (halved, none) = LADDER[class.index()];
        if waiting == 0 || waiting <= max / 8 * halved && waiting + bytes <= max {
            return false;
        }
        if waiting > max / 8 * none || waiting + bytes > max {
            return true;
        }
        let bit = 1 << class.index();
        self.pace.alternate ^= bit;
        self.pace.alternate & bit != 0
    }

    /// Tells a client that has caught up how many live pushes it did not get.
    pub(super) fn tell_folded(&mut self) {
        if self.pace.folded > 0 && self.state == State::Live && self.pushes_wait_behind() == 0 {
            self.write_folded();
        }
    }

    fn write_folded(&mut self) {
        let folded = std::mem::take(&mut self.pace.folded);
        let _ = self.write(Lane::Live, Kind::FOLDED, folded.into(), &[]);
    }

    pub(super) fn has_folded(&self) -> bool {
        self.pace.folded > 0 && self.state == State::Live
    }

    /// Throws away what waits. For a session that has ended and whose client does not read the rest.
    pub fn discard(&mut self) {
        let _ = self.discard_output();
    }

    /// What waits to be written costs so many bytes, small frames at what they hold beside their content.
    #[must_use]
    pub fn output_cost(&self) -> usize {
        self.outboxes().map(|outbox| outbox.bytes() + outbox.len() * FRAME_COST).sum()
    }

    /// Looks at what is left after the transport took what it could.
    ///
    /// # Errors
    /// [`Closing`] with SLOW if more waits than [`ServerLimits::output_bytes_max`].
    pub fn settle(&mut self, limits: &ServerLimits, now: Instant) -> Result<(), Closing> {
        let moved = self.take_moved();
        if self.state == State::Closed || self.outboxes().all(|outbox| outbox.is_empty()) {
            self.pace.slow_due = None;
            return Ok(());
        }
        if moved || self.pace.slow_due.is_none() {
            self.pace.slow_due = Some(now + limits.slow_timeout);
        }
        if self.output_cost() > limits.output_bytes_max {
            let reason = format!("more than {} bytes wait to be read", limits.output_bytes_max);
            return Err(Closing::new(CloseCode::SLOW, reason));
        }
        Ok(())
    }

    /// When it is too late for something to move.
    pub(super) fn slow_due(&self) -> Option<Instant> {
        self.pace.slow_due
    }
}

#[cfg(test)]
#[path = "pace_tests.rs"]
mod tests;
