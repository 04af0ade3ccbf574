//! The virtual clock and what is to happen: events in order of their time, and of their making when times are equal.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

/// Unix time at the start of every run, in milliseconds: 2026-11-01 00:00:00 UTC. A constant, so that two runs of one
/// seed sign and store the same bytes.
pub const START_UNIX_MS: u64 = 1_793_491_200_000;

/// Time since the start of the world.
pub type Time = Duration;

/// Events that wait, and the time.
///
/// Time moves only in [`Agenda::next`]. `Instant`s, which production code wants, are the start plus the virtual time:
/// the start differs from run to run, the differences never do.
#[derive(Debug)]
pub struct Agenda<E> {
    start: Instant,
    now: Time,
    made: u64,
    waiting: BinaryHeap<Reverse<Waiting<E>>>,
}

#[derive(Debug)]
struct Waiting<E> {
    at: Time,
    made: u64,
    event: E,
}

impl<E> Agenda<E> {
    /// An empty agenda at time zero.
    #[must_use]
    pub fn new() -> Self {
        Self { start: Instant::now(), now: Time::ZERO, made: 0, waiting: BinaryHeap::new() }
    }

    /// The virtual time.
    #[must_use]
    pub fn now(&self) -> Time {
        self.now
    }

    /// The virtual time as production code takes it.
    #[must_use]
    pub fn instant(&self) -> Instant {
        self.start + self.now
    }

    /// The virtual wall clock, milliseconds since the Unix epoch.
    #[must_use]
    pub fn unix_ms(&self) -> u64 {
        START_UNIX_MS + u64::try_from(self.now.as_millis()).expect("a run takes minutes")
    }

    /// When an `Instant` of production code is.
    #[must_use]
    pub fn time_of(&self, instant: Instant) -> Time {
        instant.saturating_duration_since(self.start)
    }

    /// Adds an event; one in the past happens now.
    pub fn at(&mut self, at: Time, event: E) {
        self.made += 1;
        self.waiting.push(Reverse(Waiting { at: at.max(self.now), made: self.made, event }));
    }

    /// Adds an event `delay` from now.
    pub fn after(&mut self, delay: Duration, event: E) {
        self.at(self.now + delay, event);
    }

    /// The next event, if it is due by `until`; the clock moves to it. Otherwise the clock moves to `until`.
    pub fn next(&mut self, until: Time) -> Option<E> {
        if self.waiting.peek().is_none_or(|Reverse(first)| first.at > until) {
            self.now = self.now.max(until);
            return None;
        }
        let Reverse(first) = self.waiting.pop()?;
        self.now = first.at;
        Some(first.event)
    }

    /// Events that wait.
    pub fn waiting(&self) -> impl Iterator<Item = &E> {
        self.waiting.iter().map(|Reverse(waiting)| &waiting.event)
    }
}

impl<E> Default for Agenda<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E> PartialEq for Waiting<E> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.made) == (other.at, other.made)
    }
}

impl<E> Eq for Waiting<E> {}

impl<E> PartialOrd for Waiting<E> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Waiting<E> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.made).cmp(&(other.at, other.made))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_then_by_making_and_the_clock_follows() {
        let ms = Duration::from_millis;
        let mut agenda = Agenda::new();
        agenda.at(ms(5), "c");
        agenda.at(ms(2), "a");
        agenda.at(ms(5), "d");
        agenda.at(ms(2), "b");
        let mut order = Vec::new();
        while let Some(event) = agenda.next(ms(4)) {
            order.push((agenda.now(), event));
        }
        assert_eq!(order, [(ms(2), "a"), (ms(2), "b")]);
        assert_eq!(agenda.now(), ms(4), "nothing is due: the clock moves to the limit");
        agenda.at(ms(1), "late");
        assert_eq!(agenda.next(ms(9)), Some("late"));
        assert_eq!((agenda.now(), agenda.unix_ms()), (ms(4), START_UNIX_MS + 4));
        assert_eq!(agenda.next(ms(9)), Some("c"));
        assert_eq!(agenda.next(ms(9)), Some("d"));
    }
}
