//! A timer wheel for connection deadlines: 1 ms ticks, lazy.
//!
//! Deadlines of a connection move with almost every packet. Moving an entry each time would cost more than the
//! packet, so entries are only promises to look: when one comes due, the owner compares with the real deadline and
//! is put back if it is later. Each connection has at most one near entry (acknowledgements, loss) and one far one
//! (idle, heartbeat) that count; a far entry survives the near ones, so a message does not leave a stale entry
//! behind.

use std::time::{Duration, Instant};

const SLOTS: usize = 256;
const LEVELS: usize = 3;
const WORDS: usize = SLOTS / 64;

/// A deadline nearer than this uses the near entry: all but idle and heartbeat.
const NEAR_TICKS: u64 = 2_000;

/// The entries of one owner. Lives with the owner, so that the wheel needs no map.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Armed {
    near: Option<u64>,
    far: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    owner: u32,
    tick: u64,
}

/// The wheel. Reaches 4.6 hours; later deadlines wait in its last slot and are put back.
#[derive(Debug)]
pub(crate) struct Wheel {
    epoch: Instant,
    /// The next tick to expire.
    now: u64,
    levels: [Vec<Vec<Entry>>; LEVELS],
    /// One bit per slot of the first level.
    occupied: [u64; WORDS],
    len: usize,
}

impl Wheel {
    pub(crate) fn new(epoch: Instant) -> Self {
        let level = || (0..SLOTS).map(|_| Vec::new()).collect();
        Self { epoch, now: 0, levels: [level(), level(), level()], occupied: [0; WORDS], len: 0 }
    }

    /// Sees to it that `owner` is looked at by `deadline`, at most 1 ms later.
    pub(crate) fn arm(&mut self, owner: u32, armed: &mut Armed, deadline: Instant) {
        let tick = self.tick_at_or_after(deadline).max(self.now);
        let slot = if tick - self.now < NEAR_TICKS { &mut armed.near } else { &mut armed.far };
        let covered = slot.is_some_and(|at| at <= tick);
        if !covered {
            *slot = Some(tick);
            self.insert(Entry { owner, tick });
        }
    }

    /// Gives every owner that is due at `now` to `out`, as (owner, tick). The owner passes the tick to
    /// [`Armed::fired`] and arms again if its deadline has not come.
    pub(crate) fn expire(&mut self, now: Instant, out: &mut Vec<(u32, u64)>) {
        let target = self.tick_before_or_at(now);
        while self.now <= target {
            if self.len == 0 {
                self.now = target + 1;
                return;
            }
            let slot = slot_of(self.now, 0);
            if slot == 0 {
                self.cascade();
            }
            let due = std::mem::take(&mut self.levels[0][slot]);
            self.len -= due.len();
            out.extend(due.iter().map(|entry| (entry.owner, entry.tick)));
            self.occupied[slot / 64] &= !(1 << (slot % 64));
            self.now += 1;
        }
    }

    /// When the next entry may be due; never late, sometimes early (at the edge of the first level).
    pub(crate) fn next(&self) -> Option<Instant> {
        if self.len == 0 {
            return None;
        }
        let from = slot_of(self.now, 0);
        // If `now` stands on slot 0 the next cascade has not run yet: look at once when it comes due.
        let tick = if from == 0 { Some(0) } else { self.first_occupied(from).map(|slot| slot - from) };
        let ticks = tick.unwrap_or(SLOTS - from) as u64;
        Some(self.epoch + Duration::from_millis(self.now + ticks))
    }

    fn first_occupied(&self, from: usize) -> Option<usize> {
        let mut word = from / 64;
        let mut bits = self.occupied[word] & (u64::MAX << (from % 64));
        loop {
            if bits != 0 {
                return Some(word * 64 + bits.trailing_zeros() as usize);
            }
            word += 1;
            bits = *self.occupied.get(word)?;
        }
    }

    /// Moves the next slots of the upper levels down. Called when the first level starts over.
    fn cascade(&mut self) {
        for level in 1..LEVELS {
            let slot = slot_of(self.now, level);
            let entries = std::mem::take(&mut self.levels[level][slot]);
            self.len -= entries.len();
            entries.into_iter().for_each(|entry| self.insert(entry));
            if slot != 0 {
                break;
            }
        }
    }

    fn insert(&mut self, entry: Entry) {
        let distance = entry.tick.saturating_sub(self.now);
        let level = (0..LEVELS).find(|level| distance < reach(*level)).unwrap_or(LEVELS - 1);
        let tick = entry.tick.clamp(self.now, self.now + reach(LEVELS - 1) - 1);
        let slot = slot_of(tick, level);
        if level == 0 {
            self.occupied[slot / 64] |= 1 << (slot % 64);
        }
        self.levels[level][slot].push(entry);
        self.len += 1;
    }

    fn tick_at_or_after(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.epoch);
        millis(since + Duration::from_nanos(999_999))
    }

    fn tick_before_or_at(&self, at: Instant) -> u64 {
        millis(at.saturating_duration_since(self.epoch))
    }
}

impl Armed {
    /// An entry of this owner came due.
    pub(crate) fn fired(&mut self, tick: u64) {
        for slot in [&mut self.near, &mut self.far] {
            if *slot == Some(tick) {
                *slot = None;
            }
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Ticks that a level and those below it reach.
fn reach(level: usize) -> u64 {
    (SLOTS as u64).pow(u32::try_from(level).expect("three levels") + 1)
}

fn slot_of(tick: u64, level: usize) -> usize {
    usize::try_from(tick >> (8 * level) & 0xff).expect("below 256")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against the simple model: an owner is looked at no earlier than promised deadlines allow and at most one
        /// tick after its deadline, whatever the steps.
        #[test]
        fn every_deadline_is_met_within_a_tick(
            deadlines in proptest::collection::vec((0u64..20_000_000, 0u64..300_000), 1..40),
            step in 1u64..5_000,
        ) {
            let epoch = Instant::now();
            let mut wheel = Wheel::new(epoch);
            let at = |us: u64| epoch + Duration::from_micros(us);
            let mut armed = vec![Armed::default(); deadlines.len()];
            let mut left: Vec<Option<Instant>> = Vec::new();
            for ((owner, armed), (near_ms, far_us)) in (0u32..).zip(&mut armed).zip(&deadlines) {
                let deadline = at(near_ms % 300_000 * 1000 / 7 + far_us);
                wheel.arm(owner, armed, deadline);
                left.push(Some(deadline));
            }
            let (mut now, mut out) = (epoch, Vec::new());
            while left.iter().any(Option::is_some) {
                let next = wheel.next().expect("owners are left");
                let earliest = left.iter().flatten().min().unwrap();
                prop_assert!(next <= *earliest + Duration::from_millis(1));
                // Sometimes sleep to the promise, sometimes wake early.
                now = next.max(now).min(now + Duration::from_millis(step));
                wheel.expire(now, &mut out);
                for (owner, tick) in out.drain(..) {
                    let index = owner as usize;
                    armed[index].fired(tick);
                    match left[index] {
                        Some(deadline) if deadline <= now => left[index] = None,
                        Some(deadline) => wheel.arm(owner, &mut armed[index], deadline),
                        None => {}
                    }
                }
                for deadline in left.iter().flatten() {
                    prop_assert!(*deadline + Duration::from_millis(1) > now, "overdue");
                }
                now += Duration::from_micros(1);
            }
        }
    }

    #[test]
    fn a_thousand_messages_leave_one_far_entry() {
        let epoch = Instant::now();
        let mut wheel = Wheel::new(epoch);
        let (mut armed, mut out) = (Armed::default(), Vec::new());
        for message in 0..1000u64 {
            let now = epoch + Duration::from_millis(message * 50);
            wheel.expire(now, &mut out);
            out.drain(..).for_each(|(_, tick)| armed.fired(tick));
            wheel.arm(1, &mut armed, now + Duration::from_secs(75)); // idle
            wheel.arm(1, &mut armed, now + Duration::from_millis(25)); // acknowledgement
        }
        assert!(wheel.len <= 2, "{} entries", wheel.len);
    }

    #[test]
    fn a_deadline_beyond_the_reach_is_kept() {
        let epoch = Instant::now();
        let mut wheel = Wheel::new(epoch);
        let mut armed = Armed::default();
        let deadline = epoch + Duration::from_secs(6 * 3600);
        wheel.arm(1, &mut armed, deadline);
        let mut out = Vec::new();
        wheel.expire(epoch + Duration::from_secs(5 * 3600), &mut out);
        for (owner, tick) in out.drain(..) {
            armed.fired(tick);
            wheel.arm(owner, &mut armed, deadline);
        }
        wheel.expire(deadline + Duration::from_millis(1), &mut out);
        assert!(!out.is_empty());
    }
}
