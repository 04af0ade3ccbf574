//! The map: compiled in a slow loop, asked without allocation.
//!
//! Everything that takes thought is done when a [`Map`] is compiled: a ranked list and its round trips for each measured
//! prefix, network operator, position, country and continent. An answer is a look-up, then a filter by what is up *now*
//! ([`Live`]), and an order by cost among a handful.

use std::net::IpAddr;

use crate::choose::{CANDIDATES_MAX, Ranked};
use crate::dice::mix;
use crate::model::Line;
use crate::place::{Continent, Coordinates, Country, Degree};
use crate::prefixes::{Prefix, Prefixes};
use crate::table::{POPS_MAX, PopIndex, PopSet};

mod compile;
mod explain;
mod export;

pub use compile::{NetworkSite, PrefixSite, Sources};
pub use explain::{Explained, Explanation, Verdict};

/// Round trips that differ by less than this are equally good: a client's own key orders them.
pub const BAND_MS: f32 = 5.0;

/// PoPs of a cell that clients are asked to probe in turn: those that come next, least known first.
pub(crate) const POOL: usize = 6;

/// Of those, as many as a client is asked to probe at once.
pub const PROBES: usize = 2;

/// What a cell is; the narrower first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// A prefix that measured.
    Prefix,
    /// An autonomous system that measured, in one country and, where positions are known, at one degree.
    Asn,
    /// A degree of latitude and longitude.
    Position,
    /// A country.
    Country,
    /// A continent.
    Continent,
    /// Nothing is known of the client.
    Everybody,
}

impl Level {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Prefix, Self::Asn, Self::Position, Self::Country, Self::Continent, Self::Everybody];

    /// The name in answers and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Prefix => "prefix",
            Self::Asn => "asn",
            Self::Position => "position",
            Self::Country => "country",
            Self::Continent => "continent",
            Self::Everybody => "everybody",
        }
    }
}

/// What is known of a client.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Client {
    /// Its address; the unspecified one is in no cell of a prefix.
    pub address: IpAddr,
    /// Its autonomous system.
    pub asn: Option<u32>,
    /// Its position.
    pub at: Option<Coordinates>,
    /// Its country.
    pub country: Option<Country>,
    /// Its continent, for who is in no country of the world's files.
    pub continent: Option<Continent>,
}

impl Client {
    /// An address and no more.
    #[must_use]
    pub fn new(address: IpAddr) -> Self {
        Self { address, asn: None, at: None, country: None, continent: None }
    }

    /// Where it is, as cells have it.
    #[must_use]
    pub fn place(&self) -> Place {
        Place { country: self.country, degree: self.at.map(Degree::of) }
    }
}

/// A country, and the degree in it where that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// `None`: unknown.
    pub country: Option<Country>,
    /// `None`: unknown.
    pub degree: Option<Degree>,
}

impl Place {
    /// A number below 2^27 that no other place has; above 0 for one that has a country or a degree.
    #[must_use]
    pub fn number(self) -> u32 {
        let country = self.country.map_or(0, |country| u32::try_from(country.number() + 1).unwrap_or(0));
        country << 17 | self.degree.map_or(0, |degree| degree.number() + 1)
    }

    /// The one with this number; of 0, one of which nothing is known.
    #[must_use]
    pub fn from_number(number: u32) -> Self {
        let country = usize::try_from(number >> 17).ok().and_then(|country| country.checked_sub(1));
        let degree = (number & 0x1_ffff).checked_sub(1);
        Self { country: country.and_then(Country::from_number), degree: degree.and_then(Degree::from_number) }
    }
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
    /// What orders them, in milliseconds: round trip and the operator's bias; all that are held for equally good have the
    /// cost of the best, also when they were so in the map before and are not much worse now.
    cost_ms: [f32; CANDIDATES_MAX],
    /// The wider cell (below `first_prefix`) that knows all PoPs; its own number if it does itself.
    wide: u32,
}

/// What changes faster than a map: some words and two tables, replaced as a whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Live {
    /// PoPs that are up and not drained.
    pub up: PopSet,
    /// PoPs at their bound: taken only when nothing else is up.
    pub full: PopSet,
    /// By PoP: milliseconds that load puts on it.
    pub penalty_ms: [f32; POPS_MAX],
    /// PoPs that are named to a part of their clients only.
    thinned: PopSet,
    /// By PoP, for those: which part, of 65,536.
    shares: [u16; POPS_MAX],
}

impl Live {
    /// All up, nobody loaded.
    #[must_use]
    pub fn all(up: PopSet) -> Self {
        Self {
            up,
            full: PopSet::NONE,
            penalty_ms: [0.0; POPS_MAX],
            thinned: PopSet::NONE,
            shares: [0; POPS_MAX],
        }
    }

    /// Names a PoP to this share of its clients only, always the same ones; to nobody at 0, if anything else is up.
    pub fn thin(&mut self, pop: PopIndex, share: f32) {
        self.full.remove(pop);
        self.thinned.remove(pop);
        if share <= 0.0 {
            self.full.insert(pop);
        } else if share < 1.0 {
            self.thinned.insert(pop);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 65,535")]
            let share = (share * 65_536.0) as u16;
            self.shares[pop.get()] = share;
        }
    }

    /// The same for another table: `from` says which PoP of the old one a PoP of the new one was; a new one is up.
    #[must_use]
    pub fn renumbered(&self, pops: PopSet, from: impl Fn(PopIndex) -> Option<PopIndex>) -> Self {
        let mut live = Self::all(pops);
        for (pop, old) in pops.iter().filter_map(|pop| Some((pop, from(pop)?))) {
            if !self.up.has(old) {
                live.up.remove(pop);
            }
            live.thin(pop, self.share(old));
            live.penalty_ms[pop.get()] = self.penalty_ms[old.get()];
        }
        live
    }

    /// The share of its clients to which a PoP is named, not asking whether it is up.
    #[must_use]
    pub fn share(&self, pop: PopIndex) -> f32 {
        match (self.full.has(pop), self.thinned.has(pop)) {
            (true, _) => 0.0,
            (_, true) => f32::from(self.shares[pop.get()]) / 65_536.0,
            _ => 1.0,
        }
    }

    /// Those that are not named to the client with this key.
    fn withheld(&self, key: u64) -> PopSet {
        // Another hash than the one that orders: or it would always be the last ones that are withheld.
        let named =
            |pop: PopIndex| mix(key ^ mix(!(pop.get() as u64))) >> 48 < u64::from(self.shares[pop.get()]);
        self.thinned.iter().filter(|pop| !named(*pop)).fold(self.full, |mut set, pop| {
            set.insert(pop);
            set
        })
    }
}

/// Why an answer is what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Candidates of the cell that are up and have room.
    Best,
    /// Everything that is up and allowed is at its bound.
    Full,
    /// None of the cell's is usable: the next others that are.
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
    /// Everybody first, those of prefixes last.
    cells: Vec<Cell>,
    /// How many cells are not of a prefix.
    first_prefix: usize,
    /// Of the cells of prefixes, in their order.
    prefix_of: Vec<Prefix>,
    /// By [`Country::number`]; `u32::MAX` is none.
    countries: Vec<u32>,
    /// In the order of [`Continent::ALL`].
    continents: [u32; 7],
    /// Cells of positions and autonomous systems by [`key_of`], sorted.
    keyed: Vec<(u64, u32)>,
    /// By cell that is not of a prefix: all usable PoPs by expected round trip.
    orders: Vec<Order>,
    /// By the same: those to learn about.
    pools: Vec<Ranked>,
    bias_ms: [f32; POPS_MAX],
    line: Line,
}

/// PoPs in an order; those beyond `len` mean nothing.
#[derive(Debug, Clone, Copy)]
struct Order {
    pops: [u8; POPS_MAX],
    len: u8,
}

impl Order {
    fn iter(&self) -> impl Iterator<Item = PopIndex> + '_ {
        self.pops[..usize::from(self.len)].iter().filter_map(|pop| PopIndex::new(usize::from(*pop)))
    }
}

/// The key of an autonomous system (0: none) at a place.
fn key_of(asn: u32, place: Place) -> u64 {
    u64::from(asn) << 32 | u64::from(place.number())
}

impl Map {
    /// The cell of a client: the narrowest that there is.
    #[must_use]
    pub fn cell(&self, client: &Client) -> &Cell {
        &self.cells[self.prefixes.get(client.address).unwrap_or_else(|| self.wide(client)) as usize]
    }

    /// The cell of a client without regard to its prefix.
    fn wide(&self, client: &Client) -> u32 {
        let place = client.place();
        let by_asn = || self.keyed(key_of(client.asn.filter(|asn| *asn != 0)?, place));
        let by_position = || place.degree.and_then(|_| self.keyed(key_of(0, place)));
        let by_country = || {
            client.country.map(|country| self.countries[country.number()]).filter(|cell| *cell != u32::MAX)
        };
        let by_continent = || client.continent.map(|continent| self.continents[continent as usize]);
        by_asn().or_else(by_position).or_else(by_country).or_else(by_continent).unwrap_or(0)
    }

    fn keyed(&self, key: u64) -> Option<u32> {
        let at = self.keyed.binary_search_by_key(&key, |(key, _)| *key).ok()?;
        self.keyed.get(at).map(|(_, cell)| *cell)
    }

    /// The degree that a client's position is in, if the map has no cell for it: to be compiled into the next one.
    #[must_use]
    pub fn wants(&self, client: &Client) -> Option<Place> {
        let place = client.place();
        place.degree?;
        self.keyed(key_of(0, place)).is_none().then_some(place)
    }

    /// The scope of what [`Map::cell`] says by prefix, for DNS. See [`Prefixes::scope`].
    #[must_use]
    pub fn scope(&self, address: IpAddr) -> u8 {
        self.prefixes.scope(address)
    }

    /// PoPs that are in its answers: those with endpoints.
    #[must_use]
    pub fn pops(&self) -> PopSet {
        self.pops
    }

    /// Those of which too little is known, least known first: what a client of the cell may be asked to probe.
    #[must_use]
    pub fn pool(&self, cell: &Cell) -> Ranked {
        self.pools[cell.wide as usize]
    }

    /// A number for a client's cell, to count what is given to each.
    #[must_use]
    pub fn cell_number(&self, client: &Client) -> u64 {
        match self.cell(client).level {
            Level::Prefix => {
                let octets = match client.address {
                    IpAddr::V4(v4) => u64::from(v4.to_bits() >> 8),
                    IpAddr::V6(v6) => u64::try_from(v6.to_bits() >> 80).unwrap_or(0),
                };
                mix(octets ^ 1 << 63)
            }
            Level::Asn => key_of(client.asn.unwrap_or(0), client.place()),
            Level::Position => key_of(0, client.place()),
            Level::Country => key_of(0, Place { degree: None, ..client.place() }),
            Level::Continent => client.continent.map_or(0, |continent| u64::MAX - continent as u64),
            Level::Everybody => 0,
        }
    }

    /// Answers a client. `allowed` is what policy, residency and capabilities leave; `key` is the client's own, so that
    /// it is sent the same way each time. Does not allocate.
    #[must_use]
    pub fn decide(&self, cell: &Cell, key: u64, live: &Live, allowed: PopSet) -> Decision {
        let allowed = allowed.and(self.pops);
        let up = live.up.and(allowed);
        let roomy = up.without(live.withheld(key));
        let found = |ranked, why| Decision { ranked, level: cell.level, why };
        for (usable, why) in [(roomy, Why::Best), (up, Why::Full)] {
            // A bound that gives way to the nearest is none: who finds the whole list full goes farther first.
            let mut ranked = order(cell, key, live, usable);
            let why = if ranked.is_empty() { Why::Elsewhere } else { why };
            self.fill(&mut ranked, cell, usable);
            if !ranked.is_empty() {
                return found(ranked, why);
            }
        }
        let mut ranked = order(cell, key, live, allowed);
        self.fill(&mut ranked, cell, allowed);
        found(ranked, Why::Static)
    }

    /// Makes a list as long as the cell's answers are, by the wider cell's order.
    fn fill(&self, ranked: &mut Ranked, cell: &Cell, usable: PopSet) {
        let wanted = usize::from(cell.size).min(usable.len());
        if ranked.len() < wanted {
            let others = usable.without(ranked.set());
            let next = self.orders[cell.wide as usize].iter().filter(|pop| others.has(*pop));
            next.take(wanted - ranked.len()).for_each(|pop| ranked.push(pop));
        }
    }
}

/// One of a cell's list while it is put in order.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    /// With the penalty.
    cost: f32,
    penalty: f32,
    /// Its rank in the client's own order of equals.
    weight: u64,
    pop: PopIndex,
}

/// The first of a cell's list that are usable, by cost; within [`BAND_MS`] of the best by rendezvous hash.
fn order(cell: &Cell, key: u64, live: &Live, usable: PopSet) -> Ranked {
    let nobody = Candidate { cost: 0.0, penalty: 0.0, weight: 0, pop: PopIndex::FIRST };
    let mut chosen = [nobody; CANDIDATES_MAX];
    let (mut count, mut loaded) = (0, false);
    for (pop, cost) in cell.ranked.iter().zip(cell.cost_ms) {
        if usable.has(pop) {
            let penalty = live.penalty_ms[pop.get()];
            loaded |= penalty > 0.0;
            chosen[count] = Candidate { cost: cost + penalty, penalty, weight: 0, pop };
            count += 1;
        }
    }
    let size = count.min(cell.size.into());
    if loaded {
        relieve(&mut chosen[..count], size);
    }
    let chosen = &mut chosen[..size];
    let best = chosen.iter().map(|one| one.cost).fold(f32::INFINITY, f32::min);
    for one in &mut *chosen {
        one.weight = mix(key ^ mix(one.pop.get() as u64));
    }
    chosen.sort_unstable_by(|a, b| match (a.cost <= best + BAND_MS, b.cost <= best + BAND_MS) {
        (true, true) => b.weight.cmp(&a.weight),
        (true, false) => std::cmp::Ordering::Less,
        (false, true) => std::cmp::Ordering::Greater,
        (false, false) => a.cost.total_cmp(&b.cost),
    });
    chosen.iter().map(|one| one.pop).collect()
}

/// Puts reserves in the places of those that load has made dearer: the client races all that it is told, so an order
/// alone would relieve nobody. Who bears no load keeps its place, which it may have for a part of the country only.
fn relieve(chosen: &mut [Candidate], size: usize) {
    let (set, reserves) = chosen.split_at_mut(size);
    for one in set.iter_mut().filter(|one| one.penalty > 0.0) {
        let cheapest = reserves.iter_mut().min_by(|a, b| a.cost.total_cmp(&b.cost));
        if let Some(reserve) = cheapest.filter(|reserve| reserve.cost + BAND_MS < one.cost) {
            std::mem::swap(one, reserve);
        }
    }
}

#[cfg(test)]
mod tests;
