//! The map: compiled in a slow loop, asked without allocation.
//!
//! Everything that takes thought is done when a [`Map`] is compiled: a ranked list and its round trips for each
//! country, continent and measured prefix. An answer is a look-up, then a filter by what is up *now* ([`Live`]), and
//! an order by cost among a handful.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::choose::{CANDIDATES_MAX, Ranked, choose};
use crate::dice::mix;
use crate::model::{Model, Origin};
use crate::place::{Continent, Country};
use crate::prefixes::{Prefix, Prefixes};
use crate::table::{POPS_MAX, PopIndex, PopSet, PopTable};
use crate::world::{Land, World};

/// Round trips that differ by less than this are equally good: a client's own key orders them.
pub const BAND_MS: f32 = 5.0;

/// A country whose people live farther from their mean position than this is wide, and gets five candidates.
const WIDE_KM: f64 = 500.0;

/// Cities that stand for a country at most when a map is compiled: more change no set and cost time.
const CITIES_MAX: usize = 8;

/// The k of n/(n+k) of a prefix against its country.
const SHRINK_PREFIX: f32 = 1.0;

/// What a cell is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// A prefix that measured.
    Prefix,
    /// A country.
    Country,
    /// A continent.
    Continent,
    /// Nothing is known of the client.
    World,
}

/// Clients that are answered alike.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cell {
    /// What it is.
    pub level: Level,
    /// How many candidates an answer names.
    pub size: u8,
    /// The candidates and their reserves, in the order in which they are taken.
    pub ranked: Ranked,
    /// Expected round trips, in milliseconds, in the same order.
    pub rtt_ms: [f32; CANDIDATES_MAX],
}

/// What a prefix measured.
#[derive(Debug, Clone)]
pub struct PrefixSite {
    /// The network.
    pub prefix: Prefix,
    /// Its country, if known.
    pub country: Option<Country>,
    /// PoP, milliseconds, clients behind it.
    pub measured: Vec<(PopIndex, f32, f32)>,
}

/// What changes faster than a map: one word and one table, replaced as a whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Live {
    /// PoPs that are up and not drained.
    pub up: PopSet,
    /// PoPs at their bound: taken only when nothing else is up.
    pub full: PopSet,
    /// By PoP: milliseconds that load and operator put on it.
    pub penalty_ms: [f32; POPS_MAX],
}

impl Live {
    /// All up, nobody loaded.
    #[must_use]
    pub fn all(up: PopSet) -> Self {
        Self { up, full: PopSet::NONE, penalty_ms: [0.0; POPS_MAX] }
    }
}

/// Why an answer is what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Candidates of the cell that are up and have room.
    Best,
    /// Everything that is up and allowed is at its bound.
    Full,
    /// None of the cell's is usable: others that are up, allowed and, if there is one, not full.
    Elsewhere,
    /// Nothing that is allowed is up: the cell's own list, as if it were (fail static).
    Static,
}

/// An answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decision {
    /// Best first. Empty only if nothing is allowed.
    pub ranked: Ranked,
    /// What decided.
    pub level: Level,
    /// Which stage of the filter gave the list.
    pub why: Why,
}

/// A compiled map.
#[derive(Debug, Clone)]
pub struct Map {
    pops: PopSet,
    prefixes: Prefixes,
    cells: Vec<Cell>,
    /// By [`Country::number`]; `u32::MAX` is none.
    countries: Vec<u32>,
    /// In the order of [`Continent::ALL`].
    continents: [u32; 7],
}

impl Map {
    /// Compiles a map. `bias_ms` is what an operator adds to each PoP's cost.
    #[must_use]
    pub fn compile(
        table: &PopTable,
        world: &World,
        model: &Model,
        bias_ms: &[f32],
        sites: &[PrefixSite],
    ) -> Self {
        let pops = table.len();
        let mut bias: Vec<f32> = bias_ms.iter().copied().take(pops).collect();
        bias.resize(pops, 0.0);
        let mut domain_of = BTreeMap::new();
        let domains = table.pops().iter().map(|pop| {
            let next = u16::try_from(domain_of.len()).unwrap_or(0);
            *domain_of.entry(pop.failure_domain.as_str()).or_insert(next)
        });
        let domains: Vec<u16> = domains.collect();
        let set = |origins: &[(Origin, f64)], level: Level, size: u8| -> (Cell, Vec<f32>) {
            let mut scenarios = Vec::new();
            let mut means = vec![0.0_f32; pops];
            for (origin, share) in origins {
                model.scenarios(origin, *share, &mut scenarios);
            }
            for scenario in &scenarios {
                for (mean, rtt) in means.iter_mut().zip(&scenario.rtt_ms) {
                    *mean += scenario.weight * rtt;
                }
            }
            let mut ranked = choose(&scenarios, table.all(), size.into(), &bias, &domains);
            let cost = |pop: &PopIndex| means[pop.get()] + bias[pop.get()];
            let mut left: Vec<PopIndex> = table.all().without(ranked.set()).iter().collect();
            left.sort_by(|a, b| cost(a).total_cmp(&cost(b)));
            left.into_iter().for_each(|pop| ranked.push(pop));
            (cell(level, size, ranked, &means), means)
        };
        let mut map = Self {
            pops: table.all(),
            prefixes: Prefixes::build(Vec::new()),
            cells: Vec::with_capacity(world.lands().len() + sites.len() + 8),
            countries: vec![u32::MAX; Country::NUMBERS],
            continents: [0; 7],
        };
        let everyone: Vec<&Land> = world.lands().iter().collect();
        let (anyone, anyone_means) = set(&largest(&everyone), Level::World, 5);
        map.cells.push(anyone);
        for (index, continent) in Continent::ALL.into_iter().enumerate() {
            let lands: Vec<&Land> =
                everyone.iter().copied().filter(|land| land.continent == continent).collect();
            if !lands.is_empty() {
                map.continents[index] = map.push(set(&largest(&lands), Level::Continent, 5).0);
            }
        }
        let mut means_of: BTreeMap<Country, Vec<f32>> = BTreeMap::new();
        for land in world.lands() {
            let size = if land.spread_km > WIDE_KM { 5 } else { 3 };
            let (cell, means) = set(&cities(land), Level::Country, size);
            map.countries[land.country.number()] = map.push(cell);
            means_of.insert(land.country, means);
        }
        let mut entries = Vec::with_capacity(sites.len());
        for site in sites {
            let country = site.country.and_then(|country| means_of.get(&country));
            let mut means = [f32::INFINITY; POPS_MAX];
            means[..pops].copy_from_slice(country.unwrap_or(&anyone_means));
            for (pop, ms, clients) in &site.measured {
                let mean = &mut means[pop.get()];
                *mean = (clients * ms + SHRINK_PREFIX * *mean) / (clients + SHRINK_PREFIX);
            }
            let ranked = least(&means[..pops], &bias, &domains);
            entries.push((site.prefix, map.push(cell(Level::Prefix, 3, ranked, &means))));
        }
        map.prefixes = Prefixes::build(entries);
        map
    }

    fn push(&mut self, cell: Cell) -> u32 {
        self.cells.push(cell);
        u32::try_from(self.cells.len() - 1).unwrap_or(0)
    }

    /// The cell of a client: its measured prefix, else its country, else its continent, else the world.
    #[must_use]
    pub fn cell(&self, address: IpAddr, country: Option<Country>, continent: Option<Continent>) -> &Cell {
        let by_country =
            || country.map(|country| self.countries[country.number()]).filter(|cell| *cell != u32::MAX);
        let by_continent = || continent.map(|continent| self.continents[continent as usize]);
        let cell = self.prefixes.get(address).or_else(by_country).or_else(by_continent).unwrap_or(0);
        &self.cells[cell as usize]
    }

    /// The scope of what [`Map::cell`] says by prefix, for DNS. See [`Prefixes::scope`].
    #[must_use]
    pub fn scope(&self, address: IpAddr) -> u8 {
        self.prefixes.scope(address)
    }

    /// Answers a client. `allowed` is what policy, residency and capabilities leave; `key` is the client's own, so that
    /// it is sent the same way each time. Does not allocate.
    #[must_use]
    pub fn decide(&self, cell: &Cell, key: u64, live: &Live, allowed: PopSet) -> Decision {
        let allowed = allowed.and(self.pops);
        let up = live.up.and(allowed);
        let roomy = up.without(live.full);
        // A bound that gives way to the nearest is none: who finds the whole list full goes farther.
        let stages = [
            (cell, roomy, Why::Best),
            (&self.cells[0], roomy, Why::Elsewhere),
            (cell, up, Why::Full),
            (&self.cells[0], up, Why::Elsewhere),
        ];
        for (list, usable, why) in stages {
            let mut ranked = order(list, key, live, usable);
            if ranked.is_empty() && why == Why::Elsewhere {
                ranked = usable.iter().take(3).collect();
            }
            if !ranked.is_empty() {
                return Decision { ranked, level: list.level, why };
            }
        }
        let mut ranked = order(cell, key, live, allowed);
        if ranked.is_empty() {
            ranked = allowed.iter().take(3).collect();
        }
        Decision { ranked, level: cell.level, why: Why::Static }
    }
}

/// The first of a cell's list that are usable, by cost; within [`BAND_MS`] of the best by rendezvous hash.
fn order(cell: &Cell, key: u64, live: &Live, usable: PopSet) -> Ranked {
    let mut chosen = [(0.0_f32, 0_u64, None); CANDIDATES_MAX];
    let mut count = 0;
    for (pop, rtt) in cell.ranked.iter().zip(cell.rtt_ms) {
        if usable.has(pop) && count < usize::from(cell.size) {
            let weight = mix(key ^ mix(pop.get() as u64));
            chosen[count] = (rtt + live.penalty_ms[pop.get()], weight, Some(pop));
            count += 1;
        }
    }
    let chosen = &mut chosen[..count];
    let best = chosen.iter().map(|(cost, _, _)| *cost).fold(f32::INFINITY, f32::min);
    chosen.sort_unstable_by(|(a, key_a, _), (b, key_b, _)| {
        let (near_a, near_b) = (*a <= best + BAND_MS, *b <= best + BAND_MS);
        match (near_a, near_b) {
            (true, true) => key_b.cmp(key_a),
            (true, false) => std::cmp::Ordering::Less,
            (false, true) => std::cmp::Ordering::Greater,
            (false, false) => a.total_cmp(b),
        }
    });
    chosen.iter().filter_map(|(_, _, pop)| *pop).collect()
}

fn cell(level: Level, size: u8, ranked: Ranked, means: &[f32]) -> Cell {
    let mut rtt_ms = [0.0; CANDIDATES_MAX];
    for (rtt, pop) in rtt_ms.iter_mut().zip(ranked.iter()) {
        *rtt = means[pop.get()];
    }
    Cell { level, size, ranked, rtt_ms }
}

/// The least means, with another failure domain in the third place if the first two share one.
fn least(means: &[f32], bias: &[f32], domains: &[u16]) -> Ranked {
    let mut order = [(f32::INFINITY, 0_u8); POPS_MAX];
    for ((slot, index), (mean, bias)) in order.iter_mut().zip(0_u8..).zip(means.iter().zip(bias)) {
        *slot = (mean + bias, index);
    }
    let order = &mut order[..means.len()];
    let by_cost = |a: &(f32, u8), b: &(f32, u8)| a.0.total_cmp(&b.0);
    if order.len() > CANDIDATES_MAX {
        order.select_nth_unstable_by(CANDIDATES_MAX, by_cost);
    }
    let kept = order.len().min(CANDIDATES_MAX);
    let order = &mut order[..kept];
    order.sort_unstable_by(by_cost);
    let domain = |place: usize| order.get(place).map(|(_, pop)| domains[usize::from(*pop)]);
    let alike = kept > 3 && domain(0) == domain(1) && domain(1) == domain(2);
    if let Some(other) = (3..kept).find(|place| alike && domain(*place) != domain(0)) {
        order[2..=other].rotate_right(1);
    }
    order.iter().filter_map(|(_, pop)| PopIndex::new(usize::from(*pop))).collect()
}

/// The largest cities of a country with their shares.
fn cities(land: &Land) -> Vec<(Origin, f64)> {
    let mut cities = land.cities.clone();
    cities.sort_by(|a, b| b.share.total_cmp(&a.share));
    cities.truncate(CITIES_MAX);
    let total: f64 = cities.iter().map(|city| city.share).sum();
    let origin = |at| Origin { country: Some(land.country), continent: Some(land.continent), at };
    cities.iter().map(|city| (origin(city.at), city.share / total)).collect()
}

/// The largest countries with their shares, as if all lived in the largest city.
fn largest(lands: &[&Land]) -> Vec<(Origin, f64)> {
    let mut lands = lands.to_vec();
    lands.sort_by(|a, b| b.people.total_cmp(&a.people));
    lands.truncate(2 * CITIES_MAX);
    let total: f64 = lands.iter().map(|land| land.people.max(1.0)).sum();
    let one = |land: &&Land| cities(land).first().map(|(origin, _)| (*origin, land.people.max(1.0) / total));
    lands.iter().filter_map(one).collect()
}

#[cfg(test)]
mod tests;
