//! Live rooms: what is published to thousands at once must not hold up what is for one.
//!
//! A push of the live lane goes round among the members of its topic ([`super::topics`]), a bounded number of them in each turn, when
//! what the turn had for others is at the socket. Each is written in the same breath, while its state is in the cache. Under
//! load several pushes reach a member with one visit and, as a rule, in one datagram.
//!
//! A member answers what it gets with an acknowledgement of its own. Were as many visited in a turn as datagrams are read in one, an
//! overloaded shard would bring as much into its socket as it takes out, and messages of others would wait there, or be dropped, for
//! as long as the room is hot. So few are visited while more waits to be read: the room is late then, and thins out, and they are not.

use std::time::{Duration, Instant};

use bytes::Bytes;
use nearport_trunk::Topic;
use nearport_wire::Class;

use super::Shard;
use super::conn::Touched;

/// Members of live rooms that are visited in one turn, about half a millisecond of work: so long a message of somebody else waits at most
/// for a room of any size.
const VISITS_PER_TURN: usize = 64;

/// The same while more datagrams wait in the socket than the turn has read: an eighth of what it read, so that the socket empties.
const VISITS_IN_BACKLOG: usize = crate::socket::BATCH / 8;

/// After it handed something to the backend, or got something from there that is not for a room, a shard that is busy with one gives its core away
/// between turns for so long. A request is a chain of threads (backend, disk, client) that each want a core for a moment, and the system lets
/// who computes finish its slice before each of them (Linux's EEVDF); where the disk's threads wait too, a commit takes many such slices.
const GIVES_WAY: Duration = Duration::from_millis(50);

impl Shard {
    /// Whether others are to have the core before the next turn.
    #[must_use]
    pub fn gives_way(&self, now: Instant) -> bool {
        let busy = self.topics.has_rounds() || !self.aside.is_empty();
        busy && self.handed_on_at.is_some_and(|at| now < at + GIVES_WAY)
    }

    /// Encoded once, shared by every member on this shard.
    pub(super) fn publish_live(&mut self, topic: &Topic, class: Class, frame: Bytes) {
        if !self.topics.send_round(topic, class, frame) {
            self.stats.rounds_dropped += 1;
        }
    }

    /// Visits the next members of live rooms. Call it after the datagrams of [`Self::turn`] were sent, and send what it adds.
    /// `backlog`: more datagrams wait in the socket, so be quick.
    pub fn visit_rooms(&mut self, now: Instant, backlog: bool) {
        if !self.topics.has_rounds() {
            return;
        }
        let count = if backlog { VISITS_IN_BACKLOG } else { VISITS_PER_TURN };
        let mut visited = std::mem::take(&mut self.visited);
        let limits = self.squeezed.at(self.budget.level(), &self.config.session);
        let (conns, stats) = (&mut self.conns, &mut self.stats);
        self.topics.visit(count, |index, class, frame| {
            let Some(conn) = conns.get_mut(index) else { return };
            if !conn.session.is_live() {
                return;
            }
            if conn.session.push_live(*class, frame, limits) {
                stats.pushes += 1;
            } else {
                stats.pushes_folded += 1;
            }
            if visited.last() != Some(&index) {
                visited.push(index);
            }
        });
        self.visiting = true;
        for index in visited.drain(..) {
            // Who is in the next turn in any case is written there.
            if self.conns.get_mut(index).is_some_and(|conn| conn.touched != Touched::Prompt) {
                self.write_alone(index, now);
            }
        }
        self.visiting = false;
        self.visited = visited;
    }
}
