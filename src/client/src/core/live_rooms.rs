//! What this client got of live rooms, and so what it did not get.
//!
//! Nothing of a live room is stored, and a member may not get everything: above the room's rate messages are folded, and a slow
//! reader is spared what it has no time for. Each frame brings what the room has taken in all, by class, itself included. Less what
//! came here, that is what this client missed, exactly. A membership is bound to its session, so the books begin with each.

use std::collections::BTreeMap;

use nearport_wire::Class;
use nearport_wire::body::LiveCounts;

use crate::event::LiveMissed;

/// Rooms with books. A client is in one or two; of those beyond the first in the alphabet begin anew.
const ROOMS_MAX: usize = 64;

type Counts = [u64; Class::COUNT];

/// The rooms of a session.
#[derive(Debug, Default)]
pub(super) struct LiveRooms(BTreeMap<String, Books>);

#[derive(Debug, Default)]
struct Books {
    /// Which life of the room.
    since_ms: u64,
    /// What the room had taken before the first frame that came here.
    before: Counts,
    /// By the last frame.
    taken: Counts,
    got: Counts,
}

impl LiveRooms {
    /// A frame of `class` came. Returns what was missed so far.
    pub(super) fn take(&mut self, room: &str, class: Class, counts: Option<&LiveCounts>) -> LiveMissed {
        if !self.0.contains_key(room) {
            if self.0.len() >= ROOMS_MAX {
                self.0.pop_first();
            }
            self.0.insert(room.to_owned(), Books::default());
        }
        let Some(books) = self.0.get_mut(room) else { return LiveMissed::default() };
        books.take(class, counts);
        books.missed()
    }

    /// The session is over.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}

impl Books {
    fn take(&mut self, class: Class, counts: Option<&LiveCounts>) {
        if let Some(counts) = counts {
            let mut taken = Counts::default();
            taken.iter_mut().zip(&counts.taken).for_each(|(to, from)| *to = *from);
            if counts.since_ms != self.since_ms {
                *self = Self { since_ms: counts.since_ms, before: taken, ..Self::default() };
                self.before[class.index()] = taken[class.index()].saturating_sub(1);
            }
            // A frame that was overtaken says less than is known.
            self.taken.iter_mut().zip(taken).for_each(|(to, from)| *to = from.max(*to));
        }
        self.got[class.index()] += 1;
    }

    fn missed(&self) -> LiveMissed {
        let of = |class: Class| {
            let at = class.index();
            (self.taken[at] - self.before[at].min(self.taken[at])).saturating_sub(self.got[at])
        };
        LiveMissed {
            system: of(Class::System),
            gift: of(Class::Gift),
            chat: of(Class::Chat),
            like: of(Class::Like),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counts(taken: Counts) -> LiveCounts {
        LiveCounts { taken: taken.to_vec(), since_ms: 7, ..LiveCounts::default() }
    }

    proptest! {
        /// Whatever is left out on the way, the next frame that comes accounts for it.
        #[test]
        fn what_came_and_what_was_missed_is_all(frames in proptest::collection::vec((0u64..4, any::<bool>()), 1..100)) {
            let (mut rooms, mut taken, mut got) = (LiveRooms::default(), [5, 4, 3, 2], Counts::default());
            let mut begun = None;
            for (class, comes) in frames {
                let class = Class::of(class);
                taken[class.index()] += 1;
                if !comes {
                    continue;
                }
                let before = *begun.get_or_insert_with(|| {
                    let mut before = taken;
                    before[class.index()] -= 1;
                    before
                });
                got[class.index()] += 1;
                let missed = rooms.take("r", class, Some(&counts(taken)));
                let missed = [missed.system, missed.gift, missed.chat, missed.like];
                for at in 0..4 {
                    prop_assert_eq!(before[at] + got[at] + missed[at], taken[at]);
                }
            }
        }
    }

    #[test]
    fn another_life_of_the_room_and_a_new_session_begin_new_books() {
        let mut rooms = LiveRooms::default();
        rooms.take("r", Class::Chat, Some(&counts([0, 0, 9, 0])));
        assert_eq!(rooms.take("r", Class::Chat, Some(&counts([0, 0, 12, 0]))).chat, 2);
        let younger = LiveCounts { since_ms: 8, ..counts([0, 0, 1, 5]) };
        assert_eq!(rooms.take("r", Class::Chat, Some(&younger)), LiveMissed::default());
        rooms.forget();
        assert_eq!(rooms.take("r", Class::Chat, Some(&counts([0, 0, 99, 9]))), LiveMissed::default());
        for room in 0..200 {
            rooms.take(&format!("{room}"), Class::Like, None);
        }
        assert!(rooms.0.len() <= ROOMS_MAX);
    }
}
