//! Which entry of an App's outbox is told when: a pure core of (event, now).
//!
//! It holds a window of the outbox. [`Queue::push`] brings entries in the order of their numbers, [`Queue::next`] says what to send
//! now, [`Queue::done`] hears how it went and says what becomes of the entry, [`Queue::deadline_ms`] when to look again.
//!
//! - Of each key one entry is under way at most, and they go in order: the next one waits until the one before was told or given up.
//! - At most [`Config::concurrency`] are under way.
//! - After a failure its key waits, twice as long each time up to a bound, and between half of that and all of it, by the dice.
//! - After [`Config::failures_max`] failures in a row the [`Breaker`] opens: nothing is sent but, after a pause that grows the same way,
//!   one probe. Its success closes the breaker.
//! - An entry is given up when the target has answered it badly [`Config::tries_max`] times, or when it is older than
//!   [`Config::age_max_ms`]. A target that cannot be reached costs no tries: only age counts then.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use bytes::Bytes;

use crate::breaker::{Bounds, Breaker, Hold};

/// Bounds of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Requests under way at once.
    pub concurrency: usize,
    /// Entries that are held; what is beyond stays in the outbox.
    pub window: usize,
    /// Bytes of the same.
    pub window_bytes: usize,
    /// Failures in a row that open the breaker.
    pub failures_max: u32,
    /// First pause, of a key and of the breaker.
    pub pause_ms: u64,
    /// Longest pause.
    pub pause_max_ms: u64,
    /// Bad answers after which an entry is given up. 1: nothing is told twice.
    pub tries_max: u32,
    /// An entry that failed and is older than this is given up.
    pub age_max_ms: u64,
    /// Whether a target that cannot be reached is tried again. If not, what finds it so is given up.
    pub retry: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            concurrency: 16,
            window: 1024,
            window_bytes: 8 << 20,
            failures_max: 5,
            pause_ms: 200,
            pause_max_ms: 30_000,
            tries_max: 16,
            age_max_ms: 24 * 3_600_000,
            retry: true,
        }
    }
}

impl Config {
    fn bounds(&self) -> Bounds {
        let Self { failures_max, pause_ms, pause_max_ms, .. } = *self;
        Bounds { failures_max, pause_ms, pause_max_ms }
    }
}

/// How a request went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered well.
    Told,
    /// It was answered, but not well.
    Bad,
    /// It was not answered in time, or could not be sent.
    Unreachable,
}

/// What becomes of an entry that was under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It was told.
    Told,
    /// It is given up.
    Dead,
    /// It is sent again.
    Again,
}

#[derive(Debug)]
struct Slot {
    key: Bytes,
    time_ms: u64,
    bytes: usize,
    /// Bad answers.
    tries: u32,
    /// Failures of either kind.
    failures: u32,
}

/// See the module documentation.
#[derive(Debug)]
pub struct Queue {
    config: Config,
    slots: BTreeMap<u64, Slot>,
    bytes: usize,
    /// Of each key, in order; the first one is ready, waiting or under way.
    keys: HashMap<Bytes, VecDeque<u64>>,
    ready: BTreeSet<u64>,
    waiting: BTreeSet<(u64, u64)>,
    under_way: BTreeSet<u64>,
    breaker: Breaker,
}

impl Queue {
    /// An empty one.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            slots: BTreeMap::new(),
            bytes: 0,
            keys: HashMap::new(),
            ready: BTreeSet::new(),
            waiting: BTreeSet::new(),
            under_way: BTreeSet::new(),
            breaker: Breaker::new(config.bounds()),
        }
    }

    /// The target is another one: nothing is held against it, and it is told as these say.
    pub fn switch(&mut self, concurrency: usize, retry: bool) {
        (self.config.concurrency, self.config.retry) = (concurrency, retry);
        self.breaker = Breaker::new(self.config.bounds());
        self.end_pauses();
    }

    fn end_pauses(&mut self) {
        self.ready.extend(std::mem::take(&mut self.waiting).into_iter().map(|(_, number)| number));
    }

    /// How many more entries it takes.
    #[must_use]
    pub fn room(&self) -> usize {
        if self.bytes >= self.config.window_bytes {
            return 0;
        }
        self.config.window.saturating_sub(self.slots.len())
    }

    /// Entries that it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Requests under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// Whether the target is held for down.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.breaker.is_open()
    }

    /// Adds an entry, whose number is larger than all before. One that it has is left alone.
    pub fn push(&mut self, number: u64, key: Bytes, time_ms: u64, bytes: usize) {
        if self.slots.contains_key(&number) {
            return;
        }
        let of_key = self.keys.entry(key.clone()).or_default();
        if of_key.is_empty() {
            self.ready.insert(number);
        }
        of_key.push_back(number);
        self.bytes += bytes;
        self.slots.insert(number, Slot { key, time_ms, bytes, tries: 0, failures: 0 });
    }

    /// The next entry to be sent now; it is under way from here on.
    pub fn next(&mut self, now_ms: u64) -> Option<u64> {
        if self.under_way.len() >= self.config.concurrency.max(1) {
            return None;
        }
        let probing = match self.breaker.hold() {
            Hold::Closed => false,
            Hold::Until(due) if now_ms >= due => true,
            Hold::Until(_) | Hold::Probing => return None,
        };
        while let Some(&(due, number)) = self.waiting.first() {
            // The pause of the target is over: that of its keys too.
            if due > now_ms && !probing {
                break;
            }
            self.waiting.pop_first();
            self.ready.insert(number);
        }
        let number = self.ready.pop_first()?;
        self.under_way.insert(number);
        let may = self.breaker.send(number, now_ms);
        debug_assert!(may, "it was asked before");
        Some(number)
    }

    /// How the request for an entry went. `dice` is anything that differs from call to call.
    pub fn done(&mut self, number: u64, outcome: Outcome, now_ms: u64, dice: u64) -> Fate {
        if !self.under_way.remove(&number) {
            debug_assert!(false, "entry {number} is not under way");
            return Fate::Again;
        }
        if self.breaker.done(number, outcome == Outcome::Told, now_ms, dice) {
            // It is back: what waits for its own pause need not.
            self.end_pauses();
        }
        let Self { config, slots, .. } = self;
        let Some(slot) = slots.get_mut(&number) else { return Fate::Again };
        match outcome {
            Outcome::Told => {
                self.take(number);
                return Fate::Told;
            }
            Outcome::Bad => slot.tries += 1,
            Outcome::Unreachable => {}
        }
        slot.failures += 1;
        let old = now_ms.saturating_sub(slot.time_ms) > config.age_max_ms;
        if old || !config.retry || slot.tries >= config.tries_max {
            self.take(number);
            return Fate::Dead;
        }
        let due = now_ms + config.bounds().pause(slot.failures, dice);
        self.waiting.insert((due, number));
        Fate::Again
    }

    /// Takes out what is too old and not under way: the target is away for longer than things are kept.
    pub fn expire(&mut self, now_ms: u64) -> Vec<u64> {
        let old = |(number, slot): (&u64, &Slot)| {
            let old = now_ms.saturating_sub(slot.time_ms) > self.config.age_max_ms;
            (old && (slot.failures > 0 || self.is_open())).then_some(*number)
        };
        let mut old: Vec<_> = self.slots.iter().filter_map(old).collect();
        old.retain(|number| !self.under_way.contains(number));
        old.iter().for_each(|number| self.take(*number));
        old
    }

    /// Takes out the `count` first entries that are not under way: there are too many in the outbox.
    pub fn shed(&mut self, count: usize) -> Vec<u64> {
        let numbers = self.slots.keys().filter(|number| !self.under_way.contains(number));
        let numbers: Vec<_> = numbers.take(count).copied().collect();
        numbers.iter().for_each(|number| self.take(*number));
        numbers
    }

    /// Removes an entry; the next one of its key is ready if it was the first.
    fn take(&mut self, number: u64) {
        let Some(slot) = self.slots.remove(&number) else { return };
        self.bytes -= slot.bytes;
        self.ready.remove(&number);
        self.waiting.retain(|(_, waiting)| *waiting != number);
        let Some(of_key) = self.keys.get_mut(&slot.key) else { return };
        let was_first = of_key.front() == Some(&number);
        of_key.retain(|of_key| *of_key != number);
        match of_key.front() {
            None => drop(self.keys.remove(&slot.key)),
            Some(next) if was_first => drop(self.ready.insert(*next)),
            Some(_) => {}
        }
    }

    /// When [`Self::next`] may have something although nothing else happens.
    #[must_use]
    pub fn deadline_ms(&self) -> Option<u64> {
        let has = !self.ready.is_empty() || !self.waiting.is_empty();
        match self.breaker.hold() {
            Hold::Until(due) => has.then_some(due),
            Hold::Probing => None,
            Hold::Closed if self.ready.is_empty() => self.waiting.first().map(|(due, _)| *due),
            // With something ready it is the number under way that holds it up.
            Hold::Closed => None,
        }
    }
}

#[cfg(test)]
mod tests;
