//! Live rooms: what is published to thousands at once must not hold up what is for one.
//!
//! A push of the live lane goes round among the members of its topic ([`super::topics`]), a bounded number of them in each turn, behind
//! the connections that something else touched. Each is written in the same breath, while its state is in the cache. Under
//! load several pushes reach a member with one visit and, as a rule, in one datagram.

use std::time::Instant;

use bytes::Bytes;
use nearport_trunk::Topic;
use nearport_wire::Class;

use super::Shard;
use super::conn::Touched;

/// Members of live rooms that are visited in one turn, about half a millisecond of work: so long a message of somebody else waits at most
/// for a room of any size.
const VISITS_PER_TURN: usize = 64;

impl Shard {
    /// Encoded once, shared by every member on this shard.
    pub(super) fn publish_live(&mut self, topic: &Topic, class: Class, frame: Bytes) {
        if !self.topics.send_round(topic, class, frame) {
            self.stats.rounds_dropped += 1;
        }
    }

    /// Visits the next members of live rooms.
    pub(super) fn turn_live(&mut self, now: Instant) {
        if !self.topics.has_rounds() {
            return;
        }
        let mut visited = std::mem::take(&mut self.visited);
        let limits = self.squeezed.at(self.budget.level(), &self.config.session);
        let (conns, stats) = (&mut self.conns, &mut self.stats);
        self.topics.visit(VISITS_PER_TURN, |index, class, frame| {
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
        for index in visited.drain(..) {
            // Who is in the next turn in any case is written there.
            if self.conns.get_mut(index).is_some_and(|conn| conn.touched != Touched::Prompt) {
                self.write(index, now);
            }
        }
        self.visited = visited;
    }
}
