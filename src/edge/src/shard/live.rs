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

use super::conn::Touched;
use super::{Shard, Step};

impl Shard {
    /// Whether others are to have the core before the next turn.
    #[must_use]
    pub fn gives_way(&self, now: Instant) -> bool {
        let busy = self.topics.has_rounds() || !self.aside.is_empty();
        busy && self.pace.is_beside_requests(now)
    }

    /// Others had the core, since [`Self::gives_way`], for `took`.
    pub fn gave_way(&mut self, now: Instant, took: Duration) {
        self.pace.gave_way(now, took);
    }

    /// Whether members of rooms are to be visited at once.
    pub(super) fn has_visits(&self) -> bool {
        self.topics.has_rounds() && self.pace.is_due(self.now)
    }

    /// When members of rooms are to be visited.
    pub(super) fn next_visit(&self) -> Option<Instant> {
        self.pace.next().filter(|_| self.topics.has_rounds())
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
        let count = self.pace.visits(now, self.topics.visits_left(), backlog);
        if count == 0 {
            return;
        }
        self.stats.room_pauses += u64::from(self.pace.next().is_some());
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
        for index in visited.drain(..) {
            // Who is in the next turn in any case is written there.
            if self.conns.get_mut(index).is_some_and(|conn| conn.touched != Touched::Prompt) {
                self.write_alone(index, now, Step::Visit);
            }
        }
        self.visited = visited;
    }
}
