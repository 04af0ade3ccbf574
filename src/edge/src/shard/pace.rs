//! How fast rooms are visited while somebody else waits for an answer.
//!
//! A message for one passes two shards, the backend's thread and the disk, and meets on each shard the turn that is under way. With a room of 10,000 members on
//! each of two shards, and as many clients of theirs on the same two cores, four fifths of the time of the slowest 2 % of those messages passed in front of those turns and
//! within them (decision 0008). Shorter turns do away with a part of it. The rest is that a burst of 10,000 visits takes every core for as long as it lasts, and
//! the others get theirs in slices of the system's: 4 ms each.
//!
//! So beside requests a turn visits few, and where others want the core too, a pause follows. The burst is stretched into the time that there is until the
//! next one, as a rule; what comes meanwhile goes along. Where cores were short the room's last members had their messages sooner
//! than in a burst, 0.7 instead of 1.1 s, and those in the middle a tenth later.

use std::time::{Duration, Instant};

use crate::socket::BATCH;

/// Members of live rooms that are visited in one turn, about half a millisecond of work: so long a message of somebody else waits at most
/// for a room of any size.
const VISITS_PER_TURN: usize = 64;

/// The same while more datagrams wait in the socket than the turn has read: an eighth of what it read, so that the socket empties.
const VISITS_IN_BACKLOG: usize = BATCH / 8;

/// The same beside requests, and as many acknowledgements that wait are worked on.
const VISITS_BESIDE: usize = 16;

/// Beside requests, where cores are short, all members who wait are visited in so many turns, if [`VISITS_PER_TURN`] are enough for that.
const TURNS_OF_A_ROUND: usize = 512;

/// The least pause between two visits. The timer counts milliseconds, so it is one on average.
const PAUSE: Duration = Duration::from_micros(500);

/// After it handed something to the backend, or got something from there that is not for a room, a shard that is busy with one is *beside requests*, and gives its core away
/// between turns for so long. A request is a chain of threads (backend, disk, client) that each want a core for a moment, and the system lets
/// who computes finish its slice before each of them (Linux's EEVDF); where the disk's threads wait too, a commit takes many such slices.
const BESIDE: Duration = Duration::from_millis(50);

/// Others want the core if it takes so long until it comes back.
const SHORT_FROM: Duration = Duration::from_micros(100);

/// For so long after that.
const SHORT: Duration = Duration::from_millis(100);

/// See the module documentation.
#[derive(Debug, Default)]
pub(super) struct Pace {
    handed_on_at: Option<Instant>,
    /// When the core was last away for others.
    away_at: Option<Instant>,
    /// The next visit is not before this.
    visit_at: Option<Instant>,
}

impl Pace {
    /// The shard handed something to the backend, or got something from there that is not for a room.
    pub(super) fn handed_on(&mut self, now: Instant) {
        self.handed_on_at = Some(now);
    }

    /// Whether somebody may wait for an answer.
    pub(super) fn is_beside_requests(&self, now: Instant) -> bool {
        self.handed_on_at.is_some_and(|at| now < at + BESIDE)
    }

    /// The core was given away and came back after `took`.
    pub(super) fn gave_way(&mut self, now: Instant, took: Duration) {
        if took >= SHORT_FROM {
            self.away_at = Some(now);
        }
    }

    /// Whether a visit is not too early.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.visit_at.is_none_or(|at| now >= at)
    }

    /// When the next visit is due, if not at once.
    pub(super) fn next(&self) -> Option<Instant> {
        self.visit_at
    }

    /// How many members to visit, of so many who wait. `backlog`: more datagrams wait in the socket, so be quick.
    pub(super) fn visits(&mut self, now: Instant, waiting: usize, backlog: bool) -> usize {
        if !self.is_due(now) {
            return 0;
        }
        self.visit_at = None;
        let most = if backlog { VISITS_IN_BACKLOG } else { VISITS_PER_TURN };
        if !self.is_beside_requests(now) {
            return most;
        }
        let mut visits = VISITS_BESIDE;
        if self.away_at.is_some_and(|at| now < at + SHORT) {
            self.visit_at = Some(now + PAUSE);
            visits = (waiting / TURNS_OF_A_ROUND).clamp(VISITS_BESIDE, VISITS_PER_TURN);
        }
        if backlog { visits / 2 } else { visits }
    }

    /// How many datagrams a turn works on in all, as far as acknowledgements can wait.
    pub(super) fn batch(&self, now: Instant) -> usize {
        if self.is_beside_requests(now) { VISITS_BESIDE } else { BATCH }
    }
}

#[cfg(test)]
mod tests;
