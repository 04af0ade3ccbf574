//! The slow loop's part: from a model to a [`Map`].

use std::collections::BTreeMap;

use super::{BAND_MS, Cell, Client, Level, Map, Order, POOL, Place, key_of};
use crate::choose::{CANDIDATES_MAX, Ranked, choose};
use crate::model::{Model, Origin};
use crate::place::{Continent, Country};
use crate::prefixes::{Prefix, Prefixes};
use crate::table::{POPS_MAX, PopIndex, PopSet, PopTable};
use crate::world::{Land, World};

/// A country whose people live farther from their mean position than this is wide, and gets five candidates.
const WIDE_KM: f64 = 500.0;

/// Cities that stand for a country at most when a map is compiled: more change no set and cost time.
const CITIES_MAX: usize = 8;

/// The k of n/(n+k) of a prefix against its autonomous system or place, and of that against its place.
const SHRINK: f32 = 1.0;

/// A client is moved by a new map only if it gains more than this, in milliseconds …
const GAIN_MS: f32 = BAND_MS;

/// … and more than this part of what it has.
const GAIN_PART: f32 = 0.1;

/// What a prefix measured.
#[derive(Debug, Clone)]
pub struct PrefixSite {
    /// The network.
    pub prefix: Prefix,
    /// What is known of its clients; the address is one of its own.
    pub client: Client,
    /// PoP, milliseconds, clients behind it.
    pub measured: Vec<(PopIndex, f32, f32)>,
}

/// What the clients of one autonomous system at one place measured.
#[derive(Debug, Clone)]
pub struct NetworkSite {
    /// Its number.
    pub asn: u32,
    /// Where.
    pub place: Place,
    /// PoP, milliseconds, clients behind it.
    pub measured: Vec<(PopIndex, f32, f32)>,
}

/// What a map is compiled from.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    /// The PoPs.
    pub table: &'a PopTable,
    /// Countries and cities.
    pub world: &'a World,
    /// What was learned.
    pub model: &'a Model,
    /// Degrees that get a cell of their own.
    pub positions: &'a [Place],
    /// Autonomous systems that measured.
    pub networks: &'a [NetworkSite],
    /// Prefixes that measured.
    pub prefixes: &'a [PrefixSite],
    /// The map that this one takes the place of, if it is of the same table: who is well off stays.
    pub previous: Option<&'a Map>,
}

impl<'a> Sources<'a> {
    /// A map of countries and continents only, as if there had been none before.
    #[must_use]
    pub fn new(table: &'a PopTable, world: &'a World, model: &'a Model) -> Self {
        Self { table, world, model, positions: &[], networks: &[], prefixes: &[], previous: None }
    }
}

/// A map while it is compiled.
struct Compiler<'a> {
    sources: Sources<'a>,
    domains: Vec<u16>,
    bias: Vec<f32>,
    map: Map,
    /// By cell that is not of a prefix.
    means: Vec<[f32; POPS_MAX]>,
}

impl Map {
    /// Compiles a map. PoPs without an endpoint are in no answer, unless no PoP has one.
    #[must_use]
    pub fn compile(sources: &Sources<'_>) -> Self {
        let (table, world) = (sources.table, sources.world);
        let pops = table.listed();
        let mut domain_of = BTreeMap::new();
        let domains = table.pops().iter().map(|pop| {
            let next = u16::try_from(domain_of.len()).unwrap_or(0);
            *domain_of.entry(pop.failure_domain.as_str()).or_insert(next)
        });
        let domains: Vec<u16> = domains.collect();
        let bias: Vec<f32> = table.pops().iter().map(|pop| pop.bias_ms).collect();
        let mut bias_ms = [0.0; POPS_MAX];
        bias_ms[..bias.len()].copy_from_slice(&bias);
        let mut compiler = Compiler {
            sources: *sources,
            domains,
            bias,
            map: Self {
                pops,
                prefixes: Prefixes::build(Vec::new()),
                cells: Vec::new(),
                first_prefix: 0,
                prefix_of: Vec::with_capacity(sources.prefixes.len()),
                countries: vec![u32::MAX; Country::NUMBERS],
                continents: [0; 7],
                keyed: Vec::with_capacity(sources.positions.len() + sources.networks.len()),
                orders: Vec::new(),
                pools: Vec::new(),
                bias_ms,
                line: sources.model.line(),
            },
            means: Vec::new(),
        };
        let everyone: Vec<&Land> = world.lands().iter().collect();
        compiler.regions(&everyone);
        compiler.positions();
        compiler.networks();
        compiler.prefixes();
        compiler.map
    }
}

impl Compiler<'_> {
    /// Everybody, the continents, the countries.
    fn regions(&mut self, everyone: &[&Land]) {
        let nobody = Client::new(std::net::Ipv4Addr::UNSPECIFIED.into());
        self.region(&largest(everyone), Level::Everybody, 5, &nobody);
        for (index, continent) in Continent::ALL.into_iter().enumerate() {
            let lands: Vec<&Land> =
                everyone.iter().copied().filter(|land| land.continent == continent).collect();
            if !lands.is_empty() {
                let client = Client { continent: Some(continent), ..nobody };
                self.map.continents[index] = self.region(&largest(&lands), Level::Continent, 5, &client);
            }
        }
        for land in everyone {
            let size = if land.spread_km > WIDE_KM { 5 } else { 3 };
            let client = Client { country: Some(land.country), continent: Some(land.continent), ..nobody };
            self.map.countries[land.country.number()] =
                self.region(&cities(land), Level::Country, size, &client);
        }
    }

    fn positions(&mut self) {
        let nobody = Client::new(std::net::Ipv4Addr::UNSPECIFIED.into());
        for place in self.sources.positions {
            let Some(at) = place.degree.map(crate::Degree::centre) else { continue };
            let land = place.country.and_then(|country| self.sources.world.land(country));
            let continent = land.map(|land| land.continent);
            let client = Client { at: Some(at), country: place.country, continent, ..nobody };
            let origin = Origin { country: place.country, continent, at };
            let cell = self.region(&[(origin, 1.0)], Level::Position, 3, &client);
            self.map.keyed.push((key_of(0, *place), cell));
        }
        self.map.keyed.sort_unstable();
    }

    fn networks(&mut self) {
        let nobody = Client::new(std::net::Ipv4Addr::UNSPECIFIED.into());
        let mut keyed = Vec::with_capacity(self.sources.networks.len());
        for site in self.sources.networks {
            let at = site.place.degree.map(crate::Degree::centre);
            let client = Client { at, country: site.place.country, asn: Some(site.asn), ..nobody };
            let place = self.map.wide(&Client { asn: None, ..client });
            let means = drawn(&self.means[place as usize], &site.measured);
            let pool = self.map.pools[place as usize];
            let ranked = self.least(&means);
            let cell = self.cell(Level::Asn, 3, ranked, &means, &client);
            self.map.pools.push(pool);
            self.order(&means);
            keyed.push((key_of(site.asn, site.place), self.push(cell, means)));
        }
        self.map.keyed.extend(keyed);
        self.map.keyed.sort_unstable();
    }

    fn prefixes(&mut self) {
        self.map.first_prefix = self.map.cells.len();
        self.map.cells.reserve(self.sources.prefixes.len());
        let mut entries = Vec::with_capacity(self.sources.prefixes.len());
        for site in self.sources.prefixes {
            let wide = self.map.wide(&site.client);
            let means = drawn(&self.means[wide as usize], &site.measured);
            let ranked = self.least(&means);
            let cell = self.cell(Level::Prefix, 3, ranked, &means, &site.client);
            entries.push((site.prefix, u32::try_from(self.map.cells.len()).unwrap_or(0)));
            self.map.prefix_of.push(site.prefix);
            self.map.cells.push(Cell { wide, ..cell });
        }
        self.map.prefixes = Prefixes::build(entries);
    }

    /// A cell that stands for people in several places, or for what may happen in one.
    fn region(&mut self, origins: &[(Origin, f64)], level: Level, size: u8, client: &Client) -> u32 {
        let model = self.sources.model;
        let mut scenarios = Vec::new();
        for (origin, share) in origins {
            model.scenarios(origin, *share, &mut scenarios);
        }
        let mut means = [0.0_f32; POPS_MAX];
        let whole: f32 = scenarios.iter().map(|scenario| scenario.weight).sum();
        for scenario in &scenarios {
            for (mean, rtt) in means.iter_mut().zip(&scenario.rtt_ms) {
                *mean += scenario.weight / whole.max(f32::MIN_POSITIVE) * rtt;
            }
        }
        let chosen = choose(&scenarios, self.map.pops, size.into(), &self.bias, &self.domains).set();
        let order = self.order(&means);
        // Who takes only one takes the best of the set by itself.
        let first = order.iter().filter(|pop| chosen.has(*pop));
        let ranked = first.chain(order.iter().filter(|pop| !chosen.has(*pop))).collect();
        // Of those that come next, the ones of which least is known.
        let evidence = origins.first().map(|(origin, _)| model.evidence(origin)).unwrap_or_default();
        let mut pool: Vec<PopIndex> = order.iter().filter(|pop| !chosen.has(*pop)).take(POOL).collect();
        let known = |pop: &PopIndex| evidence.get(pop.get()).copied().unwrap_or(0.0);
        pool.sort_by(|a, b| known(a).total_cmp(&known(b)));
        self.map.pools.push(pool.into_iter().collect());
        let cell = self.cell(level, size, ranked, &means, client);
        self.push(cell, means)
    }

    fn push(&mut self, cell: Cell, means: [f32; POPS_MAX]) -> u32 {
        let index = u32::try_from(self.map.cells.len()).unwrap_or(0);
        self.map.cells.push(Cell { wide: index, ..cell });
        self.means.push(means);
        index
    }

    /// All usable PoPs by cost, for those who find a whole list unusable.
    fn order(&mut self, means: &[f32; POPS_MAX]) -> Order {
        let cost = |pop: &PopIndex| means[pop.get()] + self.bias[pop.get()];
        let mut all: Vec<PopIndex> = self.map.pops.iter().collect();
        all.sort_by(|a, b| cost(a).total_cmp(&cost(b)));
        let mut order = Order { pops: [0; POPS_MAX], len: u8::try_from(all.len()).unwrap_or(0) };
        for (place, pop) in order.pops.iter_mut().zip(&all) {
            *place = u8::try_from(pop.get()).unwrap_or(0);
        }
        self.map.orders.push(order);
        order
    }

    /// A cell, with regard to where its clients are sent now.
    fn cell(&self, level: Level, size: u8, ranked: Ranked, means: &[f32; POPS_MAX], client: &Client) -> Cell {
        let cost = |pop: PopIndex| means[pop.get()] + self.bias[pop.get()];
        let best = ranked.iter().take(size.into()).map(cost).fold(f32::INFINITY, f32::min);
        let before = self.sources.previous.map(|map| map.cell(client));
        // Not so much worse than the best that anybody is to be moved for it.
        let good = |pop: &PopIndex| {
            self.map.pops.has(*pop) && cost(*pop) - best <= GAIN_MS.max(GAIN_PART * cost(*pop))
        };
        let kept = before.and_then(|cell| cell.ranked.first()).filter(good);
        let first = kept.or_else(|| ranked.first());
        let mut list: Ranked = first.into_iter().collect();
        ranked.iter().filter(|pop| Some(*pop) != first).for_each(|pop| list.push(pop));
        // Equally good are those within the band; while the first stays, of those only who was so before, and for longer.
        let set: PopSet = list.iter().take(size.into()).collect();
        let mut equals: PopSet = match before.filter(|_| kept.is_some()) {
            Some(before) => before.equals().and(set).iter().filter(good).collect(),
            None => set.iter().filter(|pop| cost(*pop) <= best + BAND_MS).collect(),
        };
        first.into_iter().for_each(|pop| equals.insert(pop));
        let mut cell = Cell {
            level,
            size,
            ranked: list,
            rtt_ms: [0.0; CANDIDATES_MAX],
            cost_ms: [0.0; CANDIDATES_MAX],
            wide: 0,
        };
        for (place, pop) in list.iter().enumerate() {
            cell.rtt_ms[place] = means[pop.get()];
            // Whoever is not one of the equals stays outside the band, however near it has come.
            cell.cost_ms[place] =
                if equals.has(pop) { best } else { cost(pop).max(best + BAND_MS + OUTSIDE_MS) };
        }
        cell
    }

    /// The least means, with another failure domain in the third place if the first three share one.
    fn least(&self, means: &[f32; POPS_MAX]) -> Ranked {
        let mut order = [(f32::INFINITY, 0_u8); POPS_MAX];
        let mut count = 0;
        for pop in self.map.pops.iter() {
            order[count] = (means[pop.get()] + self.bias[pop.get()], u8::try_from(pop.get()).unwrap_or(0));
            count += 1;
        }
        let order = &mut order[..count];
        let by_cost = |a: &(f32, u8), b: &(f32, u8)| a.0.total_cmp(&b.0);
        if order.len() > CANDIDATES_MAX {
            order.select_nth_unstable_by(CANDIDATES_MAX, by_cost);
        }
        let kept = order.len().min(CANDIDATES_MAX);
        let order = &mut order[..kept];
        order.sort_unstable_by(by_cost);
        let domain = |place: usize| order.get(place).map(|(_, pop)| self.domains[usize::from(*pop)]);
        let alike = kept > 3 && domain(0) == domain(1) && domain(1) == domain(2);
        if let Some(other) = (3..kept).find(|place| alike && domain(*place) != domain(0)) {
            order[2..=other].rotate_right(1);
        }
        order.iter().filter_map(|(_, pop)| PopIndex::new(usize::from(*pop))).collect()
    }
}

impl Cell {
    /// Those that are held for equally good.
    fn equals(&self) -> PopSet {
        let best = self.cost_ms.iter().take(self.ranked.len()).copied().fold(f32::INFINITY, f32::min);
        let near = self.ranked.iter().zip(self.cost_ms).filter(|(_, cost)| *cost <= best + BAND_MS);
        near.map(|(pop, _)| pop).collect()
    }
}

/// As far beyond the band as rounding needs.
const OUTSIDE_MS: f32 = 0.01;

/// What was measured, drawn to what the wider cell expects.
fn drawn(parent: &[f32; POPS_MAX], measured: &[(PopIndex, f32, f32)]) -> [f32; POPS_MAX] {
    let mut means = *parent;
    for (pop, ms, clients) in measured {
        let mean = &mut means[pop.get()];
        *mean = (clients * ms + SHRINK * *mean) / (clients + SHRINK);
    }
    means
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
