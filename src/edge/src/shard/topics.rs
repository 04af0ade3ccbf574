//! Who on this shard listens to what.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use nearport_trunk::Topic;
use nearport_wire::Class;

/// Bytes of live pushes that wait for their round in one topic, and in all. A frame is left out for everybody on the shard from a
/// share of either on that depends on its class.
const PENDING_BYTES_MAX: usize = 256 * 1024;
const ALL_PENDING_BYTES_MAX: usize = 8 << 20;

/// What share of [`PENDING_BYTES_MAX`] may be taken when a frame of a class still comes, in eighths.
const PENDING_SHARES: [usize; Class::COUNT] = [8, 7, 6, 4];

/// What a waiting frame costs beside its bytes.
const FRAME_COST: usize = 64;

/// Topic → connections that joined. Joining and leaving are O(1) whatever the size of the topic; the order of
/// members does not depend on a hash, so a simulated shard is repeatable.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    members: HashMap<Topic, Members>,
    /// Topics with a round under way, each once.
    rounds: VecDeque<Topic>,
    /// Bytes of the frames that wait in them.
    pending: usize,
    /// Members who are to be visited in the rounds under way.
    left: usize,
}

#[derive(Debug, Default)]
struct Members {
    conns: Vec<u32>,
    /// While live pushes go round.
    round: Option<Box<Round>>,
}

/// Live pushes that go round among the members of a topic, a few members in each turn of the shard.
///
/// A round goes from the last member to the first and gives each all that it has not got, so that what comes while a round is under way
/// costs no visit of its own. From behind, because whoever leaves is replaced by the last one: that one has been visited, and what it has
/// got is known.
#[derive(Debug)]
struct Round {
    /// Beside each member: the number of the last frame that it got, or that came before it.
    got: Vec<u32>,
    /// The frames, numbered without holes; the last one is number `last`.
    frames: VecDeque<(Class, Bytes)>,
    bytes: usize,
    last: u32,
    /// Members before this one have not been visited.
    at: usize,
    /// Frames up to this number are with everybody when the round ends.
    until: u32,
}

/// The topics of one connection, with its place in each member list.
#[derive(Debug, Default)]
pub(crate) struct Joined(Vec<(Topic, u32)>);

impl Topics {
    /// Adds `conn`; a second time changes nothing. It gets no live push that came before.
    pub(crate) fn join(&mut self, conn: u32, joined: &mut Joined, topic: Topic) {
        if joined.0.iter().any(|(have, _)| *have == topic) {
            return;
        }
        let members = self.members.entry(topic.clone()).or_default();
        joined.0.push((topic, u32::try_from(members.conns.len()).expect("connections are numbered by u32")));
        members.conns.push(conn);
        if let Some(round) = &mut members.round {
            round.got.push(round.last);
        }
    }

    /// Removes `conn` from one topic. `moved` is called if another member took its place in the list and must
    /// learn its new place: see [`Joined::moved`].
    pub(crate) fn leave(&mut self, joined: &mut Joined, topic: &Topic, moved: impl FnOnce(u32, &Topic, u32)) {
        let Some(at) = joined.0.iter().position(|(have, _)| have == topic) else { return };
        let (topic, place) = joined.0.swap_remove(at);
        let Some(members) = self.members.get_mut(&topic) else { return };
        members.conns.swap_remove(place as usize);
        if let Some(round) = &mut members.round {
            round.got.swap_remove(place as usize);
            let at = round.at.min(members.conns.len());
            self.left -= std::mem::replace(&mut round.at, at) - at;
        }
        match members.conns.get(place as usize) {
            Some(other) => moved(*other, &topic, place),
            None if members.conns.is_empty() => {
                let gone = self.members.remove(&topic).and_then(|members| members.round);
                self.pending -= gone.map_or(0, |round| round.bytes);
            }
            None => {}
        }
    }

    /// The members of a topic.
    pub(crate) fn members(&self, topic: &Topic) -> &[u32] {
        self.members.get(topic).map_or(&[], |members| members.conns.as_slice())
    }

    /// Topics with at least one member.
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// Sends a live push round among those who are members now: [`Self::visit`]. `false`: too much waits already for one of its class,
    /// nobody gets it.
    pub(crate) fn send_round(&mut self, topic: &Topic, class: Class, frame: Bytes) -> bool {
        let Some(members) = self.members.get_mut(topic) else { return true };
        let waiting = members.round.as_ref().map_or(0, |round| round.bytes);
        let cost = frame.len() + FRAME_COST;
        let share = |max: usize| max / 8 * PENDING_SHARES[class.index()];
        if waiting > 0
            && (waiting + cost > share(PENDING_BYTES_MAX)
                || self.pending + cost > share(ALL_PENDING_BYTES_MAX))
        {
            return false;
        }
        let round = members.round.get_or_insert_with(|| {
            self.rounds.push_back(topic.clone());
            self.left += members.conns.len();
            Box::new(Round::new(members.conns.len()))
        });
        round.frames.push_back((class, frame));
        round.bytes += cost;
        round.last += 1;
        if round.until == 0 {
            round.until = round.last;
        }
        self.pending += cost;
        true
    }

    /// Whether somebody has not got what goes round.
    pub(crate) fn has_rounds(&self) -> bool {
        !self.rounds.is_empty()
    }

    /// How many visits the rounds under way still take.
    pub(crate) fn visits_left(&self) -> usize {
        self.left
    }

    /// Visits up to `count` members, of one topic after the other, and gives each the frames that it has not got.
    pub(crate) fn visit(&mut self, mut count: usize, mut give: impl FnMut(u32, &Class, &Bytes)) {
        let mut topics = self.rounds.len();
        // Rooms share a turn evenly, whatever their size.
        let share = count.div_ceil(topics.max(1));
        while count > 0 && topics > 0 {
            topics -= 1;
            let Some(topic) = self.rounds.pop_front() else { return };
            // A topic whose members have all left took its round along.
            let Some(members) = self.members.get_mut(&topic) else { continue };
            let Some(round) = &mut members.round else { continue };
            for _ in 0..share.min(count).min(round.at) {
                count -= 1;
                self.left -= 1;
                round.visit(&members.conns, &mut give);
            }
            let begins = round.at == 0;
            if begins {
                self.pending -= round.end(members.conns.len());
            }
            if round.frames.is_empty() {
                members.round = None;
            } else {
                self.left += if begins { round.at } else { 0 };
                self.rounds.push_back(topic);
            }
        }
    }
}

impl Round {
    fn new(members: usize) -> Self {
        Self { got: vec![0; members], frames: VecDeque::new(), bytes: 0, last: 0, at: members, until: 0 }
    }

    /// Visits the next member.
    fn visit(&mut self, conns: &[u32], give: &mut impl FnMut(u32, &Class, &Bytes)) {
        self.at -= 1;
        let got = std::mem::replace(&mut self.got[self.at], self.last);
        let missing = (self.last - got) as usize;
        for (class, frame) in self.frames.iter().skip(self.frames.len().saturating_sub(missing)) {
            give(conns[self.at], class, frame);
        }
    }

    /// Everybody has been visited: forgets what everybody has, and begins anew if more has come. Returns the bytes that it forgot.
    fn end(&mut self, members: usize) -> usize {
        let rest = (self.last - self.until) as usize;
        let done = self.frames.drain(..self.frames.len() - rest);
        let forgotten = done.map(|(_, frame)| frame.len() + FRAME_COST).sum();
        self.bytes -= forgotten;
        (self.at, self.until) = (members, self.last);
        forgotten
    }
}

impl Joined {
    /// Another member left and this one took its place in the list.
    pub(crate) fn moved(&mut self, topic: &Topic, place: u32) {
        if let Some((_, have)) = self.0.iter_mut().find(|(have, _)| have == topic) {
            *have = place;
        }
    }

    /// Any topic that is still joined.
    pub(crate) fn first(&self) -> Option<Topic> {
        self.0.first().map(|(topic, _)| topic.clone())
    }
}

#[cfg(test)]
#[path = "topics_tests.rs"]
mod tests;
