//! Load: how much a PoP's fullness costs, and where it stops.
//!
//! Consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam 2016): nobody takes more than
//! (1 + [`EPSILON`]) of its fair share, which is the sessions of all times its part of the capacity. Whoever is at its
//! bound is passed over; those who were sent there before stay.

use crate::map::Live;
use crate::table::{POPS_MAX, PopIndex, PopSet, PopTable};

/// How far above its fair share a PoP is filled.
pub const EPSILON: f64 = 0.25;

/// Below this part of its capacity, load costs nothing.
const FREE: f64 = 0.7;

/// Milliseconds at full capacity.
const FULL_MS: f64 = 50.0;

/// Sessions by PoP, between two reports of the edges counted by answers.
#[derive(Debug, Clone)]
pub struct Loads {
    capacity: Vec<f64>,
    sessions: Vec<f64>,
}

impl Loads {
    /// Nobody anywhere.
    #[must_use]
    pub fn new(table: &PopTable) -> Self {
        let capacity: Vec<f64> = table.pops().iter().map(|pop| f64::from(pop.capacity)).collect();
        Self { sessions: vec![0.0; capacity.len()], capacity }
    }

    /// An edge's report.
    pub fn reported(&mut self, pop: PopIndex, sessions: u32) {
        if let Some(slot) = self.sessions.get_mut(pop.get()) {
            *slot = f64::from(sessions);
        }
    }

    /// A client was sent to a PoP.
    pub fn sent(&mut self, pop: PopIndex) {
        if let Some(slot) = self.sessions.get_mut(pop.get()) {
            *slot += 1.0;
        }
    }

    /// The sessions at which a PoP is passed over, if all in `up` share what there is and `coming` more come.
    #[must_use]
    pub fn bound(&self, pop: PopIndex, up: PopSet, coming: f64) -> f64 {
        let sum = |list: &[f64]| -> f64 { up.iter().filter_map(|pop| list.get(pop.get())).sum() };
        let part = self.capacity.get(pop.get()).copied().unwrap_or(0.0) / sum(&self.capacity).max(1.0);
        (1.0 + EPSILON) * (sum(&self.sessions) + coming) * part
    }

    /// What a decision needs to know of load, written over what was there; does not allocate. `coming` are the clients
    /// that are expected before the next call: with few sessions, a bound by them alone would be below one.
    pub fn apply(&self, coming: f64, live: &mut Live) {
        live.full = PopSet::NONE;
        live.penalty_ms = [0.0; POPS_MAX];
        for pop in live.up.iter() {
            let (Some(sessions), Some(capacity)) =
                (self.sessions.get(pop.get()), self.capacity.get(pop.get()))
            else {
                continue;
            };
            if sessions + 1.0 > self.bound(pop, live.up, coming) {
                live.full.insert(pop);
            }
            live.penalty_ms[pop.get()] = penalty_ms(sessions / capacity);
        }
    }
}

/// What a part of capacity costs: nothing up to [`FREE`], then rising as the square.
#[expect(clippy::cast_possible_truncation, reason = "at most 50 times the square of a small number")]
fn penalty_ms(used: f64) -> f32 {
    let over = ((used - FREE) / (1.0 - FREE)).clamp(0.0, 10.0);
    (FULL_MS * over * over) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::Map;
    use crate::model::{Model, Tuning};
    use crate::{Dice, World};
    use std::time::Duration;

    #[test]
    fn load_costs_nothing_until_it_matters() {
        assert_eq!((penalty_ms(0.0), penalty_ms(0.7)), (0.0, 0.0));
        assert!(penalty_ms(0.85) > 5.0 && (penalty_ms(1.0) - 50.0).abs() < 0.01);
    }

    /// 100,000 clients over 32 PoPs, those of India twice what its PoP takes.
    #[test]
    fn a_region_at_twice_its_capacity_fills_no_pop_beyond_its_bound() {
        const CLIENTS: u32 = 100_000;
        let text = include_str!("../../../geo/pops.toml").replace("\nlat =", "\ncapacity = 4000\nlat =");
        let table = PopTable::parse(&text).unwrap();
        let world = World::shipped().unwrap();
        let places: Vec<_> = table.pops().iter().map(|pop| pop.at).collect();
        let model = Model::fit(&places, &[], Tuning::default(), Duration::ZERO);
        let map = Map::compile(&table, &world, &model, &[], &[]);
        let mut loads = Loads::new(&table);
        let mut live = Live::all(table.all());
        let mut dice = Dice::new(1);
        let address = "198.51.100.1".parse().unwrap();
        let mut homes: Vec<_> = table.pops().iter().map(|pop| pop.country).collect();
        homes.dedup();
        let mut overflowed = 0;
        for n in 0..CLIENTS {
            let country = if n < 8_000 { "IN".parse().unwrap() } else { homes[dice.below(homes.len())] };
            loads.apply(f64::from(CLIENTS - n), &mut live);
            let decision =
                map.decide(map.cell(address, Some(country), None), dice.roll(), &live, table.all());
            loads.sent(decision.ranked.first().unwrap());
            overflowed += u32::from(decision.why != crate::map::Why::Best);
        }
        let fair = f64::from(CLIENTS) / 32.0;
        for (pop, sessions) in table.pops().iter().zip(&loads.sessions) {
            assert!(*sessions <= 1.25 * fair + 1.0, "{}: {sessions} of {fair}", pop.id);
        }
        assert!(overflowed < CLIENTS / 2, "{overflowed}");
    }
}
