//! Everything of the network that changes faster than a map: who is up, how full, and what the operator orders.
//!
//! ```text
//! checkers ── vote ──▶ ┐
//! edges ── report ───▶ ├ Network ── live ──▶ what geo::map::Map::decide takes
//! operator ── order ─▶ │
//! answers ── sent ───▶ ┘
//! ```
//!
//! A pure state machine: whoever holds it feeds in what comes over its links with the time at which it came, asks for
//! [`Network::live`] about each second, and hands that to whoever answers. A locator that hears nothing names everybody.

use std::time::Duration;

use crate::health::{Health, Standing, Votes};
use crate::load::{self, Load};
use crate::map::Live;
use crate::table::{POPS_MAX, PopIndex, PopSet, PopTable};

/// A report says nothing any more after this: its edges are gone or cannot reach us, and how full they are is unknown.
pub const REPORT_GOOD: Duration = Duration::from_secs(30);

/// Arrivals are averaged over looks that lie at least this far apart.
const LOOK_MIN: Duration = Duration::from_millis(200);

/// A smaller part of all clients says too little of the whole.
const OFFERED_MIN: f64 = 0.05;

/// What the edges of a PoP say of themselves, together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Sessions now.
    pub sessions: u32,
    /// Sessions that they take; 0 counts as unknown.
    pub capacity: u32,
    /// They are leaving: nobody new is to come.
    pub draining: bool,
}

/// What an operator wants of a PoP.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Order {
    /// Nobody new is sent there.
    pub drained: bool,
    /// The share of its clients and of its capacity that it gets, 0 to 1.
    pub weight: f32,
}

impl Default for Order {
    fn default() -> Self {
        Self { drained: false, weight: 1.0 }
    }
}

/// One PoP as an operator sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PopState {
    /// Up, down, held down, or in its slow start.
    pub standing: Standing,
    /// What the checkers see.
    pub votes: Votes,
    /// What its edges said last, if that was not too long ago.
    pub report: Option<Report>,
    /// What the operator ordered.
    pub order: Order,
    /// Of the clients that would be sent there, how many are: 0 to 1. Health, drain, weight and load together.
    pub share: f32,
}

#[derive(Debug, Clone, Copy, Default)]
struct Pop {
    report: Option<(Report, Duration)>,
    order: Order,
    /// Answers that named it first since its last report.
    sent: f64,
    /// The same since the last look.
    sent_now: f64,
    /// Arrivals a second if it were named to all, the larger of what we sent and what its reports grew by; halves with each
    /// look that sees none.
    arrivals: f64,
    /// The share of clients to which it was named since the last look.
    offered: f64,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Network {
    health: Health,
    pops: Vec<Pop>,
    looked: Option<Duration>,
    /// Time between the last two looks.
    turn: Duration,
}

impl Network {
    /// A network of so many PoPs (at most [`POPS_MAX`]): all up, nobody loaded, no orders.
    #[must_use]
    pub fn new(pops: usize) -> Self {
        let pops = pops.min(POPS_MAX);
        Self {
            health: Health::new(pops),
            pops: vec![Pop::default(); pops],
            looked: None,
            turn: Duration::from_secs(1),
        }
    }

    /// The same for a table that takes the place of another: PoPs keep what is known of them by their ids.
    #[must_use]
    pub fn renumbered(&self, old: &PopTable, new: &PopTable) -> Self {
        let from = |pop: PopIndex| new.place_in(pop, old);
        let pop = |index| self.pops.get(from(PopIndex::new(index)?)?.get()).copied();
        Self {
            health: self.health.renumbered(new.len(), from),
            pops: (0..new.len()).map(|index| pop(index).unwrap_or_default()).collect(),
            ..self.clone()
        }
    }

    /// How many PoPs there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pops.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pops.is_empty()
    }

    /// A checker (a number below [`crate::health::CHECKERS_MAX`]) looked at a PoP. Unknown PoPs and checkers say nothing.
    pub fn vote(&mut self, checker: usize, pop: PopIndex, good: bool, now: Duration) {
        self.health.checked(checker, pop, good, now);
    }

    /// The edges of a PoP said how they are. Good for [`REPORT_GOOD`].
    pub fn report(&mut self, pop: PopIndex, report: Report, now: Duration) {
        let Some(pop) = self.pops.get_mut(pop.get()) else { return };
        if let Some((before, at)) = pop.report {
            // Others send clients too: what came is what the sessions grew by.
            let seconds = now.saturating_sub(at).as_secs_f64();
            if seconds >= LOOK_MIN.as_secs_f64() {
                let grown = f64::from(report.sessions.saturating_sub(before.sessions)) / seconds;
                pop.arrivals = pop.arrivals.max(grown);
            }
        }
        pop.report = Some((report, now));
        pop.sent = 0.0;
    }

    /// The operator wants something of a PoP. A weight outside 0 to 1 is taken for the nearer end.
    pub fn order(&mut self, pop: PopIndex, order: Order) {
        if let Some(pop) = self.pops.get_mut(pop.get()) {
            // NaN is no weight.
            let weight = if order.weight >= 0.0 { order.weight.min(1.0) } else { 0.0 };
            pop.order = Order { weight, ..order };
        }
    }

    /// An answer named it first: a client more, until the next report says better.
    pub fn sent(&mut self, pop: PopIndex) {
        self.sent_many(pop, 1);
    }

    /// The same for many answers, for who counts them.
    pub fn sent_many(&mut self, pop: PopIndex, answers: u32) {
        if let Some(pop) = self.pops.get_mut(pop.get()) {
            pop.sent += f64::from(answers);
            pop.sent_now += f64::from(answers);
        }
    }

    /// What answers need to know, as of now. To be called about each second: it is how arrivals are seen.
    pub fn live(&mut self, now: Duration) -> Live {
        let turn = now.saturating_sub(self.looked.unwrap_or(Duration::ZERO));
        if self.looked.is_none() || turn >= LOOK_MIN {
            if self.looked.is_some() {
                self.turn = turn.min(REPORT_GOOD);
            }
            self.looked = Some(now);
            for pop in &mut self.pops {
                // Of a PoP that was named to nobody nothing is seen: it is expected what was before.
                if pop.offered > 0.0 {
                    let came = pop.sent_now / self.turn.as_secs_f64().max(LOOK_MIN.as_secs_f64());
                    pop.arrivals = (came / pop.offered.max(OFFERED_MIN)).max(pop.arrivals / 2.0);
                }
                pop.sent_now = 0.0;
            }
        }
        let mut live = Live::all(self.open(now));
        let loads = live.up.iter().filter_map(|pop| self.load(pop, now));
        let all = load::sum(loads);
        for pop in live.up.iter() {
            let (share, penalty_ms) = self.share(pop, all, now);
            live.penalty_ms[pop.get()] = penalty_ms;
            live.thin(pop, share);
            if let Some(pop) = self.pops.get_mut(pop.get()) {
                pop.offered = share.into();
            }
        }
        live
    }

    /// One PoP for an operator; of one that there is not, [`Standing::Down`] and nothing.
    #[must_use]
    pub fn state(&self, pop: PopIndex, now: Duration) -> PopState {
        let open = self.open(now);
        let all = load::sum(open.iter().filter_map(|pop| self.load(pop, now)));
        PopState {
            standing: self.health.standing(pop, now),
            votes: self.health.votes(pop, now),
            report: self.fresh(pop, now),
            order: self.pops.get(pop.get()).map_or_else(Order::default, |pop| pop.order),
            share: if open.has(pop) { self.share(pop, all, now).0 } else { 0.0 },
        }
    }

    /// Those to which anybody is sent: up, and nobody wants them empty. Those of no weight are among them. Changes nothing, so it may be
    /// asked at any time.
    #[must_use]
    pub fn open(&self, now: Duration) -> PopSet {
        let leaving = |pop: &PopIndex| {
            let ordered = self.pops.get(pop.get()).is_some_and(|pop| pop.order.drained);
            ordered || self.fresh(*pop, now).is_some_and(|report| report.draining)
        };
        self.health.up().iter().filter(|pop| !leaving(pop)).collect()
    }

    /// Health, weight and load together; and what load costs, in milliseconds.
    fn share(&self, pop: PopIndex, all: (f64, f64), now: Duration) -> (f32, f32) {
        let weight = self.pops.get(pop.get()).map_or(1.0, |pop| pop.order.weight);
        let room = self.load(pop, now).map(|load| load.room(all));
        let (room, penalty_ms) = room.map_or((1.0, 0.0), |room| (room.share, room.penalty_ms));
        (self.health.share(pop, now) * weight * room, penalty_ms)
    }

    fn fresh(&self, pop: PopIndex, now: Duration) -> Option<Report> {
        let (report, at) = self.pops.get(pop.get())?.report?;
        (now.saturating_sub(at) <= REPORT_GOOD).then_some(report)
    }

    /// `None` where it is unknown: nothing bounds such a PoP, and it says nothing of the others' share.
    fn load(&self, index: PopIndex, now: Duration) -> Option<Load> {
        let pop = self.pops.get(index.get())?;
        let report = self.fresh(index, now)?;
        let capacity = f64::from(report.capacity) * f64::from(pop.order.weight);
        (capacity >= 1.0).then(|| Load {
            sessions: f64::from(report.sessions) + pop.sent,
            capacity,
            coming: pop.arrivals * self.turn.as_secs_f64(),
        })
    }
}

#[cfg(test)]
mod tests;
