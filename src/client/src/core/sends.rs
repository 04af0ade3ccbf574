//! The outbox: messages without an acknowledgement, in the order in which the application gave them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::error::QueueFull;
use crate::event::Target;

/// Sends that wait for an answer at once; half of the session's request window, so pages and other requests
/// always find room.
pub(crate) const IN_FLIGHT_MAX: usize = 64;

/// A message, encoded once: every attempt is the same bytes.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) body: Bytes,
    /// Never sent twice.
    pub(crate) online_only: bool,
    /// Somebody waits for the outcome; otherwise it is an event.
    pub(crate) awaited: bool,
    pub(crate) to: Target,
    first_sent: Option<Instant>,
}

/// The outbox. Items are known by their counter, which rises.
#[derive(Debug)]
pub(crate) struct Sends {
    next: u64,
    items: BTreeMap<u64, Item>,
    /// Items that are not in flight.
    queued: BTreeSet<u64>,
    bytes: usize,
    /// Nothing is sent before.
    hold_until: Option<Instant>,
    /// The newest item that the server asked to try again. Until it is settled only one send is in flight, so
    /// that newer ones do not overtake it once more.
    probe: Option<u64>,
}

impl Sends {
    pub(crate) fn new() -> Self {
        Self {
            next: 1,
            items: BTreeMap::new(),
            queued: BTreeSet::new(),
            bytes: 0,
            hold_until: None,
            probe: None,
        }
    }

    /// The counter that the next item gets.
    pub(crate) fn next_counter(&self) -> u64 {
        self.next
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether one more item of this size fits.
    pub(crate) fn check_room(
        &self,
        body: usize,
        items_max: usize,
        bytes_max: usize,
    ) -> Result<(), QueueFull> {
        if self.items.len() < items_max && self.bytes + body <= bytes_max {
            return Ok(());
        }
        Err(QueueFull { entries: self.items.len(), bytes: self.bytes })
    }

    pub(crate) fn push(&mut self, body: Bytes, online_only: bool, awaited: bool, to: Target) {
        let counter = self.next;
        self.next += 1;
        self.bytes += body.len();
        self.items.insert(counter, Item { body, online_only, awaited, to, first_sent: None });
        self.queued.insert(counter);
    }

    /// The next item to send, if the window is open.
    pub(crate) fn next_to_send(&self, now: Instant) -> Option<(u64, &Item)> {
        let window = if self.probe.is_some() { 1 } else { IN_FLIGHT_MAX };
        let in_flight = self.items.len() - self.queued.len();
        if in_flight >= window || self.hold_until.is_some_and(|until| now < until) {
            return None;
        }
        let counter = *self.queued.first()?;
        Some((counter, self.items.get(&counter)?))
    }

    pub(crate) fn mark_sent(&mut self, counter: u64, now: Instant) {
        self.queued.remove(&counter);
        if let Some(item) = self.items.get_mut(&counter) {
            item.first_sent.get_or_insert(now);
        }
    }

    /// Takes the oldest waiting item if its first attempt is longer ago than `retry_for`.
    pub(crate) fn take_expired(&mut self, now: Instant, retry_for: Duration) -> Option<(u64, Item)> {
        let counter = *self.queued.first()?;
        let first_sent = self.items.get(&counter)?.first_sent?;
        if now < first_sent + retry_for {
            return None;
        }
        self.settle(counter).map(|item| (counter, item))
    }

    pub(crate) fn get(&self, counter: u64) -> Option<&Item> {
        self.items.get(&counter)
    }

    /// The item is done, well or not: it leaves the outbox.
    pub(crate) fn settle(&mut self, counter: u64) -> Option<Item> {
        let item = self.items.remove(&counter)?;
        self.queued.remove(&counter);
        self.bytes -= item.body.len();
        if self.probe == Some(counter) {
            self.probe = None;
        }
        Some(item)
    }

    /// The item is to be tried again, and nothing before `at`.
    pub(crate) fn retry(&mut self, counter: u64, at: Instant) {
        if self.items.contains_key(&counter) {
            self.queued.insert(counter);
            self.probe = self.probe.max(Some(counter));
            self.hold_until = Some(self.hold_until.map_or(at, |until| until.max(at)));
        }
    }

    /// The connection is gone: everything waits again, in order. Returns the online-only items, which are not
    /// tried twice.
    pub(crate) fn connection_lost(&mut self) -> Vec<(u64, Item)> {
        self.queued = self.items.keys().copied().collect();
        self.hold_until = None;
        self.probe = None;
        let lost: Vec<u64> =
            self.items.iter().filter(|(_, item)| item.online_only).map(|(c, _)| *c).collect();
        lost.into_iter().filter_map(|counter| Some((counter, self.settle(counter)?))).collect()
    }

    /// Empties the outbox.
    pub(crate) fn take_all(&mut self) -> BTreeMap<u64, Item> {
        self.queued.clear();
        self.bytes = 0;
        self.probe = None;
        std::mem::take(&mut self.items)
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.hold_until.filter(|_| !self.queued.is_empty())
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.hold_until.is_some_and(|until| until <= now) {
            self.hold_until = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_opens_when_the_last_of_the_refused_is_settled() {
        let (mut sends, now) = (Sends::new(), Instant::now());
        for _ in 0..4 {
            sends.push(Bytes::from_static(b"x"), false, false, Target::User(String::new()));
        }
        sends.mark_sent(1, now);
        sends.mark_sent(2, now);
        // Answers may come in any order.
        sends.retry(2, now);
        sends.retry(1, now);
        for counter in [1, 2] {
            assert_eq!(sends.next_to_send(now).map(|(next, _)| next), Some(counter));
            sends.mark_sent(counter, now);
            assert!(sends.next_to_send(now).is_none(), "one at a time");
            sends.settle(counter);
        }
        sends.mark_sent(3, now);
        assert_eq!(sends.next_to_send(now).map(|(next, _)| next), Some(4));
    }
}
