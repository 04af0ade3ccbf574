//! What this client got of live rooms, and so what it did not get.
//!
//! Nothing of a live room is stored, and a member may not get everything: above the room's rate messages are folded, and a slow
//! reader is spared what it has no time for. Each frame brings what the room has taken in all, by class, itself included. Less what
//! came here, that is what this client missed, exactly. A membership is bound to its session, so the books begin with each, and the rooms
//! that the application has joined are joined again: with each session, and after BEHIND.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use nearport_session as session;
use nearport_wire::body::{self, LiveCounts, group_answer::Answer, group_call::Call};
use nearport_wire::{Class, Kind, Lane};
use prost::Message as _;

use super::{Asked, Core};
use crate::event::{Event, LiveMissed, LiveNumbers};

/// Wait before a room is asked for again, if the server names none.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Rooms with books. A client is in one or two; of those beyond the first in the alphabet begin anew.
const ROOMS_MAX: usize = 64;

type Counts = [u64; Class::COUNT];

/// The rooms of a client.
#[derive(Debug, Default)]
pub(super) struct LiveRooms {
    /// Of this session.
    books: BTreeMap<String, Books>,
    /// Where the application is, over sessions.
    joined: BTreeSet<String>,
    /// Of those the ones that are to be joined again.
    wanted: BTreeSet<String>,
    /// Not before.
    wanted_at: Option<Instant>,
}

#[derive(Debug, Default)]
struct Books {
    /// Which life of the room.
    since_ms: u64,
    /// The one before it, 0 if there was none. Its last frames may still be on the way when the room is joined again.
    former_ms: u64,
    /// What the room had taken before the first frame that came here.
    before: Counts,
    /// What of it it had folded.
    folded_before: Counts,
    /// By the last frame.
    taken: Counts,
    folded: Counts,
    got: Counts,
    /// The application is not there any more: they begin anew when it comes back.
    left: bool,
}

/// What counts that are heard are to the books.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    /// The books begin with them.
    First,
    Next,
    /// Of the life before: nothing.
    Late,
}

fn counts(from: &[u64]) -> Counts {
    let mut out = Counts::default();
    out.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
    out
}

/// Of two frames the one that was overtaken says less than is known.
fn raise(known: &mut Counts, by: Counts) {
    known.iter_mut().zip(by).for_each(|(known, by)| *known = by.max(*known));
}

/// Of two places where the books may begin the earlier one counts.
fn lower(known: &mut Counts, by: Counts) {
    known.iter_mut().zip(by).for_each(|(known, by)| *known = by.min(*known));
}

impl LiveRooms {
    /// A frame of `class` came. Returns what was missed so far.
    pub(super) fn take(&mut self, room: &str, class: Class, counts: Option<&LiveCounts>) -> LiveMissed {
        let Some(books) = self.books(room) else { return LiveMissed::default() };
        books.take(class, counts);
        books.missed()
    }

    /// The answer to a join: what comes after its counts is on the books.
    pub(super) fn answered(&mut self, room: &str, answer: Bytes) {
        if let Ok(body::GroupAnswer { answer: Some(Answer::Join(outcome)) }) =
            body::GroupAnswer::decode(answer)
            && let Some(counts) = outcome.live.and_then(|live| live.counts)
        {
            self.begin(room, &counts);
        }
    }

    /// The session is in a room, which stood at `counts` then.
    fn begin(&mut self, room: &str, counts: &LiveCounts) {
        if let Some(books) = self.books(room) {
            books.begin(counts);
        }
    }

    fn books(&mut self, room: &str) -> Option<&mut Books> {
        if !self.books.contains_key(room) {
            if self.books.len() >= ROOMS_MAX {
                self.books.pop_first();
            }
            self.books.insert(room.to_owned(), Books::default());
        }
        self.books.get_mut(room)
    }

    /// The session is over.
    pub(super) fn forget(&mut self) {
        self.books.clear();
        self.wanted.clear();
    }

    /// The server may not know that this session is in any room.
    pub(super) fn want_again(&mut self) {
        (self.wanted, self.wanted_at) = (self.joined.clone(), None);
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.wanted_at.filter(|_| !self.wanted.is_empty())
    }
}

impl Core {
    /// The application wants to be in a live room, or is in it: it is joined again with each session. `false`: that was so before.
    pub fn enter_live_room(&mut self, room: &str) -> bool {
        self.live_rooms.joined.insert(room.to_owned())
    }

    /// The application is not in a live room any more.
    pub fn leave_live_room(&mut self, room: &str) {
        self.live_rooms.joined.remove(room);
        self.live_rooms.wanted.remove(room);
        if let Some(books) = self.live_rooms.books.get_mut(room) {
            books.left = true;
        }
    }

    /// Joins rooms again.
    pub(super) fn pump_live_rooms(&mut self, now: Instant) {
        if self.live_rooms.wanted_at.is_some_and(|at| now < at) {
            return;
        }
        self.live_rooms.wanted_at = None;
        while let Some(room) = self.live_rooms.wanted.first() {
            let Some(session) = &mut self.session else { return };
            let call = Call::Join(body::GroupJoin { group: room.clone(), text: String::new() });
            let body = body::GroupCall { call: Some(call) }.encode_to_vec();
            let Some(id) = session.request(now, Lane::Bulk, Kind::GROUP, &body) else { return };
            if let Some(room) = self.live_rooms.wanted.pop_first() {
                self.asked.insert(id, Asked::Rejoin(room));
            }
        }
    }

    pub(super) fn take_rejoin(
        &mut self,
        now: Instant,
        room: String,
        result: Result<Bytes, session::Failure>,
    ) {
        let failure = match result {
            Ok(answer) => return self.live_rooms.answered(&room, answer),
            Err(failure) => failure,
        };
        if !self.live_rooms.joined.contains(&room) {
            return;
        }
        match &failure {
            session::Failure::Refused { retry_after, .. } if retry_after.is_zero() => {
                self.leave_live_room(&room);
                self.inbox.tell(Event::LiveLeft { room, failure: failure.into() });
            }
            session::Failure::Refused { .. } | session::Failure::Timeout => {
                let wait = match &failure {
                    session::Failure::Refused { retry_after, .. } => *retry_after,
                    session::Failure::Timeout => RETRY_AFTER,
                };
                self.live_rooms.wanted.insert(room);
                self.live_rooms.wanted_at = Some(now + wait);
                self.suspect(now, &failure);
            }
        }
    }
}

impl Books {
    fn take(&mut self, class: Class, counts: Option<&LiveCounts>) {
        match counts.map(|counts| self.hear(counts)) {
            Some(Heard::Late) => return,
            // The frame itself is counted there.
            Some(Heard::First) => {
                self.before[class.index()] = self.before[class.index()].saturating_sub(1);
            }
            Some(Heard::Next) | None => {}
        }
        self.got[class.index()] += 1;
    }

    /// The session is a member since the room stood at `said`. Frames may have overtaken this answer; what was left out before the
    /// first of them is on the books too.
    fn begin(&mut self, said: &LiveCounts) {
        if self.left && said.since_ms == self.since_ms {
            *self = Self::at(said, self.former_ms);
        } else if self.hear(said) == Heard::Next {
            lower(&mut self.before, counts(&said.taken));
            lower(&mut self.folded_before, counts(&said.folded));
        }
    }

    /// The room stands at `said`.
    fn hear(&mut self, said: &LiveCounts) -> Heard {
        if self.former_ms != 0 && said.since_ms == self.former_ms {
            return Heard::Late;
        }
        if said.since_ms != self.since_ms {
            *self = Self::at(said, self.since_ms);
            return Heard::First;
        }
        raise(&mut self.taken, counts(&said.taken));
        raise(&mut self.folded, counts(&said.folded));
        Heard::Next
    }

    /// Books that begin where the room stands at `said`, after a life `former_ms` of it.
    fn at(said: &LiveCounts, former_ms: u64) -> Self {
        let (taken, folded) = (counts(&said.taken), counts(&said.folded));
        Self {
            since_ms: said.since_ms,
            former_ms,
            before: taken,
            folded_before: folded,
            taken,
            folded,
            ..Self::default()
        }
    }

    fn missed(&self) -> LiveMissed {
        let folded = |at: usize| self.folded[at].saturating_sub(self.folded_before[at]);
        let left_out = |at: usize| {
            let out = self.taken[at].saturating_sub(self.before[at]).saturating_sub(folded(at));
            out.saturating_sub(self.got[at])
        };
        LiveMissed { folded: numbers(folded), left_out: numbers(left_out) }
    }
}

fn numbers(of: impl Fn(usize) -> u64) -> LiveNumbers {
    LiveNumbers {
        system: of(Class::System.index()),
        gift: of(Class::Gift.index()),
        chat: of(Class::Chat.index()),
        like: of(Class::Like.index()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counts(taken: Counts) -> LiveCounts {
        LiveCounts { taken: taken.to_vec(), since_ms: 7, ..LiveCounts::default() }
    }

    fn all(numbers: LiveNumbers) -> Counts {
        [numbers.system, numbers.gift, numbers.chat, numbers.like]
    }

    proptest! {
        /// Whatever is folded, and left out on the way, the next frame that comes accounts for it.
        #[test]
        fn what_came_and_what_was_missed_is_all(
            joined in any::<bool>(),
            frames in proptest::collection::vec((0u64..4, 0u8..3), 1..100),
        ) {
            let (mut rooms, mut taken, mut folded) = (LiveRooms::default(), [5, 4, 3, 2], [1, 0, 2, 0]);
            let say = |taken, folded: Counts| LiveCounts { folded: folded.to_vec(), ..counts(taken) };
            // Since when, and what became of it: came, left out, folded.
            let mut since = joined.then(|| {
                rooms.begin("r", &say(taken, folded));
                [Counts::default(); 3]
            });
            for (class, outcome) in frames {
                let at = Class::of(class).index();
                taken[at] += 1;
                folded[at] += u64::from(outcome == 2);
                if outcome == 0 {
                    since.get_or_insert_default();
                }
                if let Some(since) = &mut since {
                    since[usize::from(outcome)][at] += 1;
                }
                if outcome == 0 {
                    let missed = rooms.take("r", Class::of(class), Some(&say(taken, folded)));
                    let [_, left_out, folded] = since.unwrap();
                    prop_assert_eq!((all(missed.left_out), all(missed.folded)), (left_out, folded));
                }
            }
        }
    }

    #[test]
    fn an_answer_that_was_overtaken_says_where_the_books_begin() {
        let mut rooms = LiveRooms::default();
        let say = |chat, folded| LiveCounts { folded: vec![0, 0, folded, 0], ..counts([0, 0, chat, 9]) };
        // 11 was left out, 12 folded, 13 has come.
        assert_eq!(rooms.take("r", Class::Chat, Some(&say(13, 5))), LiveMissed::default());
        rooms.begin("r", &say(10, 4));
        let missed = rooms.take("r", Class::Chat, Some(&say(14, 5)));
        assert_eq!((missed.left_out.chat, missed.folded.chat, missed.left_out.like), (1, 1, 0));
        // Who joins again in the same session begins nothing, but for who has left in between.
        rooms.begin("r", &say(20, 5));
        assert_eq!(rooms.take("r", Class::Chat, Some(&say(21, 5))).left_out.chat, 7);
        rooms.books.get_mut("r").unwrap().left = true;
        rooms.take("r", Class::Chat, Some(&say(22, 5)));
        rooms.begin("r", &say(30, 6));
        assert_eq!(rooms.take("r", Class::Chat, Some(&say(31, 6))), LiveMissed::default());
    }

    #[test]
    fn another_life_of_the_room_and_a_new_session_begin_new_books() {
        let mut rooms = LiveRooms::default();
        rooms.take("r", Class::Chat, Some(&counts([0, 0, 9, 0])));
        assert_eq!(rooms.take("r", Class::Chat, Some(&counts([0, 0, 12, 0]))).left_out.chat, 2);
        let younger = LiveCounts { since_ms: 8, ..counts([0, 0, 1, 5]) };
        assert_eq!(rooms.take("r", Class::Chat, Some(&younger)), LiveMissed::default());
        // A frame of the life before was still on the way: it is on neither account, and begins nothing.
        assert_eq!(rooms.take("r", Class::Chat, Some(&counts([0, 0, 13, 0]))), LiveMissed::default());
        let next = LiveCounts { since_ms: 8, ..counts([0, 0, 1, 7]) };
        assert_eq!(rooms.take("r", Class::Like, Some(&next)).left_out.like, 1);
        rooms.forget();
        assert_eq!(rooms.take("r", Class::Chat, Some(&counts([0, 0, 99, 9]))), LiveMissed::default());
        for room in 0..200 {
            rooms.take(&format!("{room}"), Class::Like, None);
        }
        assert!(rooms.books.len() <= ROOMS_MAX);
    }
}
