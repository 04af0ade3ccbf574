//! A bounded store of things that can be made again.

/// Places that are kept, however few are in use.
const KEPT: usize = 512;

/// Parts that [`Contexts::sweep`] counts a pass in.
pub(crate) const PARTS: usize = 64;

/// The room is given back when less than one place of so many is in use.
const SPARSE: usize = 8;

/// Contexts by key id. A key remembers where its context was last, so a look-up is one comparison.
///
/// At the bound the next one that was not used of late makes room (a clock). What was not used between two passes of
/// [`Contexts::sweep`] goes then. Neither loses anything: it is made again when it is needed.
#[derive(Debug)]
pub(super) struct Contexts<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    hand: usize,
    /// How far the sweep's pass has come.
    swept: usize,
    max: usize,
}

#[derive(Debug)]
struct Slot<T> {
    /// Whose it is; 0: free.
    owner: u64,
    used: bool,
    context: Option<T>,
}

impl<T> Contexts<T> {
    /// A store for at most `max`, which must not be 0.
    pub(super) const fn new(max: usize) -> Self {
        Self { slots: Vec::new(), free: Vec::new(), hand: 0, swept: 0, max }
    }

    /// The context of `owner`, which was at `place` the last time, and where it is now. `owner` is not 0.
    pub(super) fn get(&mut self, owner: u64, place: u32, make: impl FnOnce() -> T) -> (u32, &T) {
        let is_there = self.slots.get(place as usize).is_some_and(|slot| slot.owner == owner);
        let place = if is_there { place } else { self.room() };
        let slot = &mut self.slots[place as usize];
        (slot.owner, slot.used) = (owner, true);
        if !is_there {
            slot.context = None;
        }
        (place, slot.context.get_or_insert_with(make))
    }

    /// Drops the context of a key that is gone.
    pub(super) fn remove(&mut self, owner: u64, place: u32) {
        if self.slots.get(place as usize).is_some_and(|slot| slot.owner == owner) {
            self.empty(place);
        }
    }

    /// Goes so many [`PARTS`] further and drops what was not used since it last came by. Dropping one takes half a microsecond, and
    /// all those of a room of thousands at once, 20 ms, held up everybody else. Behind the last one, where few are left of many, those too: then the room that they
    /// stand in is given back, and who is in use is made again.
    pub(super) fn sweep(&mut self, parts: usize) {
        let len = self.slots.len();
        let from = if self.swept < len { self.swept } else { 0 };
        self.swept = len.min(from + len.div_ceil(PARTS) * parts);
        for place in from..self.swept {
            let slot = &mut self.slots[place];
            if !std::mem::take(&mut slot.used) && slot.owner != 0 {
                self.empty(number(place));
            }
        }
        let left = len - self.free.len();
        if self.swept == len && len > KEPT && left < len / SPARSE {
            *self = Self::new(self.max);
        }
    }

    fn empty(&mut self, place: u32) {
        self.slots[place as usize] = Slot { owner: 0, used: false, context: None };
        self.free.push(place);
    }

    fn room(&mut self) -> u32 {
        if let Some(place) = self.free.pop() {
            return place;
        }
        if self.slots.len() < self.max {
            self.slots.push(Slot { owner: 0, used: false, context: None });
            return number(self.slots.len() - 1);
        }
        loop {
            self.hand = (self.hand + 1) % self.slots.len();
            if !std::mem::take(&mut self.slots[self.hand].used) {
                return number(self.hand);
            }
        }
    }
}

fn number(place: usize) -> u32 {
    u32::try_from(place).expect("a store of far fewer")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever is asked for, dropped and aged, a key gets the context made for it, and the bound holds.
        #[test]
        fn everybody_gets_the_context_of_their_own(
            steps in proptest::collection::vec((1u64..20, 0u8..12), 0..400), max in 1usize..12,
        ) {
            let mut contexts = Contexts::new(max);
            let mut places = [0u32; 20];
            for (owner, step) in steps {
                let place = &mut places[usize::try_from(owner).unwrap()];
                match step {
                    0 => contexts.sweep(usize::try_from(owner).unwrap()),
                    1 => contexts.remove(owner, *place),
                    _ => {
                        let (now_at, context) = contexts.get(owner, *place, || owner);
                        prop_assert_eq!(*context, owner);
                        *place = now_at;
                    }
                }
                prop_assert!(contexts.slots.len() <= max);
                let held = contexts.slots.iter().filter(|slot| slot.context.is_some()).count();
                prop_assert_eq!(held + contexts.free.len(), contexts.slots.len());
            }
        }
    }

    #[test]
    fn what_is_used_stays_and_the_rest_goes() {
        let mut contexts = Contexts::new(3);
        let mut made = 0;
        let mut get = |contexts: &mut Contexts<u32>, owner, place| {
            contexts
                .get(owner, place, || {
                    made += 1;
                    made
                })
                .0
        };
        let places: Vec<u32> = (1..=3).map(|owner| get(&mut contexts, owner, 0)).collect();
        contexts.sweep(PARTS);
        get(&mut contexts, 2, places[1]);
        contexts.sweep(PARTS);
        assert_eq!(get(&mut contexts, 2, places[1]), places[1]);
        assert_eq!(contexts.free.len(), 2);
        assert_eq!(made, 3);
    }

    #[test]
    fn a_pass_takes_so_many_steps_and_none_of_them_more_than_its_part() {
        let mut contexts = Contexts::new(10_000);
        let places: Vec<u32> = (1..=6_400).map(|owner| contexts.get(owner, 0, || owner).0).collect();
        (0..PARTS).for_each(|_| contexts.sweep(1));
        assert_eq!(contexts.free.len(), 0, "all were in use");
        contexts.get(6_400, places[6_399], || panic!("it is there"));
        for step in 1..PARTS {
            contexts.sweep(1);
            assert_eq!(contexts.free.len(), step * 100);
        }
        contexts.get(1, 0, || 1);
        contexts.sweep(1);
        assert_eq!(contexts.slots.len(), 0, "two are left of 6,400");
    }

    #[test]
    fn the_room_of_a_storm_is_given_back_and_who_is_in_use_goes_on() {
        let mut contexts = Contexts::new(10_000);
        let places: Vec<u32> = (1..=5_000).map(|owner| contexts.get(owner, 0, || owner).0).collect();
        contexts.sweep(PARTS);
        assert_eq!(contexts.slots.len(), 5_000);
        for (owner, place) in (1..=600).zip(&places) {
            contexts.get(owner, *place, || panic!("it is there"));
        }
        contexts.sweep(PARTS);
        assert_eq!(contexts.slots.len(), 0, "fewer than an eighth");
        let (place, context) = contexts.get(7, places[6], || 70);
        assert_eq!((place, *context), (0, 70));
        contexts.remove(7, place);
        contexts.remove(8, places[7]);
        assert_eq!(contexts.free, [0]);
    }
}
