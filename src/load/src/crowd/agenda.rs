//! When to look at which connection again: two rings of slots, lazy.
//!
//! Deadlines of a connection move with almost every packet, so an entry is only a promise to look: who is looked at too early is
//! entered again. A connection has one near entry at most that counts (acknowledgements, loss) and one far one (heartbeat,
//! silence); the far one stays while near ones come and go, so that a message leaves nothing behind.

use std::time::{Duration, Instant};

/// Near entries: a slot is a millisecond.
const NEAR: (u64, usize) = (1, 1024);

/// Far entries: a slot is half a second, so that who is looked at then is still near, and they reach two minutes. A later deadline
/// waits in the last slot.
const FAR: (u64, usize) = (512, 256);

/// The entries of a connection that count. Kept with it, so that the agenda needs no map.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Armed {
    near: Option<u64>,
    far: Option<u64>,
}

#[derive(Debug)]
struct Ring {
    tick_ms: u64,
    /// The next tick to come due.
    now: u64,
    slots: Vec<Vec<u32>>,
    len: usize,
}

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Agenda {
    epoch: Instant,
    near: Ring,
    far: Ring,
}

impl Ring {
    fn new((tick_ms, slots): (u64, usize)) -> Self {
        Self { tick_ms, now: 0, slots: std::iter::repeat_with(Vec::new).take(slots).collect(), len: 0 }
    }

    fn slot(&self, tick: u64) -> usize {
        usize::try_from(tick % self.slots.len() as u64).expect("a slot")
    }

    /// Enters `owner` at `tick`, which must not be past, or as late as the ring reaches, unless an earlier entry counts.
    fn enter(&mut self, owner: u32, armed: &mut Option<u64>, tick: u64) {
        let tick = tick.clamp(self.now, self.now + self.slots.len() as u64 - 1);
        if armed.is_none_or(|at| at < self.now || at > tick) {
            *armed = Some(tick);
            let slot = self.slot(tick);
            self.slots[slot].push(owner);
            self.len += 1;
        }
    }

    fn expire(&mut self, until: u64, out: &mut Vec<u32>) {
        let end = until + 1;
        // Once around is everything.
        let ticks = end.saturating_sub(self.now).min(self.slots.len() as u64);
        for tick in self.now..self.now + ticks {
            if self.len == 0 {
                break;
            }
            let slot = self.slot(tick);
            self.len -= self.slots[slot].len();
            out.append(&mut self.slots[slot]);
        }
        self.now = self.now.max(end);
    }

    /// When the first entry comes due, in milliseconds.
    fn next_ms(&self) -> Option<u64> {
        let ticks = self.now..self.now + self.slots.len() as u64;
        let mut ticks = ticks.take_while(|_| self.len > 0);
        ticks.find(|tick| !self.slots[self.slot(*tick)].is_empty()).map(|tick| tick * self.tick_ms)
    }
}

impl Agenda {
    pub(super) fn new(epoch: Instant) -> Self {
        Self { epoch, near: Ring::new(NEAR), far: Ring::new(FAR) }
    }

    /// Sees to it that `owner` is looked at by `deadline`, at most a millisecond later.
    pub(super) fn arm(&mut self, owner: u32, armed: &mut Armed, deadline: Instant) {
        let ms = millis(deadline.saturating_duration_since(self.epoch) + Duration::from_nanos(999_999));
        if ms < self.near.now + NEAR.1 as u64 {
            self.near.enter(owner, &mut armed.near, ms);
        } else {
            // Early rather than late: then it is near.
            self.far.enter(owner, &mut armed.far, ms / FAR.0);
        }
    }

    /// Gives everybody who is to be looked at by `now`; some twice.
    pub(super) fn expire(&mut self, now: Instant, out: &mut Vec<u32>) {
        let ms = millis(now.saturating_duration_since(self.epoch));
        self.near.expire(ms, out);
        self.far.expire(ms / FAR.0, out);
    }

    /// When somebody is to be looked at next.
    pub(super) fn next(&self) -> Option<Instant> {
        let next = [self.near.next_ms(), self.far.next_ms()].into_iter().flatten().min()?;
        Some(self.epoch + Duration::from_millis(next))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever the deadlines, how they move and how late one looks: nobody is looked at late.
        #[test]
        fn nobody_is_looked_at_late(
            moves in proptest::collection::vec((0u32..20, 0u64..300_000), 1..200),
            steps in proptest::collection::vec(0u64..3_000, 200),
        ) {
            let epoch = Instant::now();
            let (mut agenda, mut now) = (Agenda::new(epoch), epoch);
            let (mut armed, mut deadlines) = ([Armed::default(); 20], [None; 20]);
            let mut due = Vec::new();
            for ((owner, ms), step) in moves.into_iter().zip(steps) {
                let deadline = now + Duration::from_micros(ms * 500);
                deadlines[owner as usize] = Some(deadline);
                agenda.arm(owner, &mut armed[owner as usize], deadline);
                let earliest = deadlines.iter().flatten().min().unwrap();
                prop_assert!(agenda.next().unwrap() <= *earliest + Duration::from_millis(1));
                now += Duration::from_millis(step);
                agenda.expire(now, &mut due);
                for owner in due.drain(..) {
                    let index = owner as usize;
                    match deadlines[index] {
                        Some(deadline) if deadline <= now => deadlines[index] = None,
                        Some(deadline) => agenda.arm(owner, &mut armed[index], deadline),
                        None => {}
                    }
                }
                for deadline in deadlines.iter().flatten() {
                    prop_assert!(*deadline + Duration::from_millis(1) > now);
                }
            }
        }
    }

    #[test]
    fn a_thousand_messages_leave_two_entries() {
        let mut now = Instant::now();
        let (mut agenda, mut armed, mut due) = (Agenda::new(now), Armed::default(), Vec::new());
        for _ in 0..1_000 {
            now += Duration::from_millis(50);
            agenda.expire(now, &mut due);
            due.clear();
            agenda.arm(1, &mut armed, now + Duration::from_secs(75)); // silence
            agenda.arm(1, &mut armed, now + Duration::from_millis(25)); // acknowledgement
        }
        assert!(agenda.near.len + agenda.far.len <= 2, "{agenda:?}");
    }
}
