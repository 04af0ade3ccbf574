//! When a back end is held for down: a pure core of (event, now), for what one is told and for what one is asked.
//!
//! - After [`Bounds::failures_max`] failures in a row it **opens**: nothing is sent.
//! - When a pause is over, one request may go as a **probe**; nothing else does until it is known how that went. A failure opens it again,
//!   for twice as long up to a bound, and between half of that and all of it by the dice.
//! - A probe that succeeds **closes** it. What was sent before it opened says nothing until then.

/// Bounds of a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Failures in a row that open it.
    pub failures_max: u32,
    /// First pause, milliseconds.
    pub pause_ms: u64,
    /// Longest pause, milliseconds.
    pub pause_max_ms: u64,
}

impl Bounds {
    /// Doubles with each failure, up to the bound; between half of it and all.
    pub(crate) fn pause(&self, failures: u32, dice: u64) -> u64 {
        let doubled = self.pause_ms.saturating_mul(1 << failures.saturating_sub(1).min(20));
        let most = doubled.clamp(1, self.pause_max_ms.max(1));
        most - dice % (most / 2 + 1)
    }
}

/// Whether something may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Everything may.
    Closed,
    /// Nothing may before this, and one probe from then on.
    Until(u64),
    /// Nothing may until the probe is done.
    Probing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { until_ms: u64, opened: u32 },
    Probing { number: u64, opened: u32 },
}

/// See the module documentation.
#[derive(Debug)]
pub struct Breaker {
    bounds: Bounds,
    state: State,
}

impl Breaker {
    /// A closed one.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, state: State::Closed { failures: 0 } }
    }

    /// Whether something may be sent.
    #[must_use]
    pub fn hold(&self) -> Hold {
        match self.state {
            State::Closed { .. } => Hold::Closed,
            State::Open { until_ms, .. } => Hold::Until(until_ms),
            State::Probing { .. } => Hold::Probing,
        }
    }

    /// Whether the target is held for down.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.hold() != Hold::Closed
    }

    /// Whether this request is the probe.
    #[must_use]
    pub fn is_probe(&self, request: u64) -> bool {
        matches!(self.state, State::Probing { number, .. } if number == request)
    }

    /// Request `number` is sent. `false`: it must not be, and nothing has changed.
    pub fn send(&mut self, number: u64, now_ms: u64) -> bool {
        match self.state {
            State::Closed { .. } => true,
            State::Open { until_ms, opened } if now_ms >= until_ms => {
                self.state = State::Probing { number, opened };
                true
            }
            State::Open { .. } | State::Probing { .. } => false,
        }
    }

    /// How request `number` went. `dice` is anything that differs from call to call. Whether it has closed by this.
    pub fn done(&mut self, number: u64, good: bool, now_ms: u64, dice: u64) -> bool {
        let is_probe = self.is_probe(number);
        self.state = match self.state {
            State::Closed { .. } if good => State::Closed { failures: 0 },
            State::Closed { failures } if failures + 1 < self.bounds.failures_max => {
                State::Closed { failures: failures + 1 }
            }
            State::Closed { .. } => self.open(1, now_ms, dice),
            State::Probing { .. } if is_probe && good => State::Closed { failures: 0 },
            State::Probing { opened, .. } if is_probe => self.open(opened.saturating_add(1), now_ms, dice),
            // Sent before it opened.
            other => other,
        };
        is_probe && good
    }

    fn open(&self, opened: u32, now_ms: u64, dice: u64) -> State {
        State::Open { until_ms: now_ms.saturating_add(self.bounds.pause(opened, dice)), opened }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: Bounds = Bounds { failures_max: 3, pause_ms: 100, pause_max_ms: 1000 };

    #[test]
    fn failures_in_a_row_open_it_and_only_a_good_probe_closes_it() {
        let mut breaker = Breaker::new(BOUNDS);
        for (number, good) in [(1, false), (2, false), (3, true), (4, false), (5, false)] {
            assert!(breaker.send(number, 0) && !breaker.done(number, good, 0, 0));
        }
        assert_eq!(breaker.hold(), Hold::Closed, "never three in a row");
        assert!(breaker.send(6, 0) && breaker.send(7, 0));
        breaker.done(6, false, 10, 0);
        assert_eq!(breaker.hold(), Hold::Until(110));
        assert!(!breaker.done(7, true, 20, 0), "it was sent before");
        assert_eq!(breaker.hold(), Hold::Until(110));
        assert!(!breaker.send(8, 109));
        assert!(breaker.send(8, 110));
        assert_eq!((breaker.hold(), breaker.send(9, 9999)), (Hold::Probing, false), "one at a time");
        assert!(!breaker.done(7, false, 120, 0) && breaker.is_probe(8));
        breaker.done(8, false, 150, 0);
        assert_eq!(breaker.hold(), Hold::Until(350), "twice as long");
        assert!(breaker.send(10, 400));
        assert!(breaker.done(10, true, 410, 0));
        assert_eq!(breaker.hold(), Hold::Closed);
        // And it begins to count anew.
        assert!(breaker.send(11, 420) && !breaker.done(11, false, 430, 0));
        assert!(!breaker.is_open());
    }

    #[test]
    fn pauses_double_up_to_their_bound_with_the_dice_in_the_upper_half() {
        let most = |failures| BOUNDS.pause(failures, 0);
        assert_eq!([most(1), most(2), most(3), most(5), most(u32::MAX)], [100, 200, 400, 1000, 1000]);
        for dice in [1, 77, u64::MAX] {
            assert!((100..=200).contains(&BOUNDS.pause(2, dice)));
        }
    }

    proptest! {
        /// Whatever fails whenever: while it is open one request at most is under way that was sent since, no pause is longer than its
        /// bound, and a target that is well is back after one probe.
        #[test]
        fn one_probe_at_a_time_and_it_comes_back(steps in proptest::collection::vec((0..600u64, 0..4u8, any::<u8>()), 0..200)) {
            let mut breaker = Breaker::new(BOUNDS);
            let (mut now, mut next, mut old, mut probe) = (0, 0, Vec::new(), None);
            for (later, what, dice) in steps {
                now += later;
                if let Hold::Until(until) = breaker.hold() {
                    prop_assert!(until <= now + BOUNDS.pause_max_ms);
                }
                if what < 2 {
                    next += 1;
                    let open = breaker.is_open();
                    if breaker.send(next, now) {
                        match open {
                            true => prop_assert_eq!(probe.replace(next), None),
                            false => old.push(next),
                        }
                    }
                    continue;
                }
                let number = match probe.take() {
                    Some(number) if dice % 2 == 0 => number,
                    kept => {
                        probe = kept;
                        let Some(number) = old.pop() else { continue };
                        number
                    }
                };
                breaker.done(number, what == 3, now, dice.into());
            }
            if let Some(number) = probe {
                breaker.done(number, false, now, 0);
            }
            now += BOUNDS.pause_max_ms;
            prop_assert!(breaker.send(next + 1, now));
            breaker.done(next + 1, true, now, 0);
            prop_assert!(!breaker.is_open());
        }
    }
}
