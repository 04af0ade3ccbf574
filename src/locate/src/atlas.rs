//! Who is sent where: built by a slow loop, asked by every request.
//!
//! For each country the PoPs that cover its cities, in order, and behind them all the others by expected round trip, so that an answer
//! is never short because some are down. Where a position is known, the same is worked out for that degree of latitude and longitude
//! when it is first asked for, and kept. Nothing changes in an atlas but that memory: a new one takes its place.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nearport_geo::choose::choose;
use nearport_geo::model::{Measured, Model, Origin, Scenario, Site, Tuning};
use nearport_geo::{Continent, Coordinates, Country, PopIndex, PopSet, PopTable, World};

use crate::mmdb::Place;
use crate::voices::{Cell, Said};

/// Candidates where people live close together.
pub const CANDIDATES: usize = 3;
/// Candidates of a country whose people live far apart, as long as no position is known.
pub const CANDIDATES_WIDE: usize = 5;
/// From this spread on a country is wide, in kilometres.
const WIDE_KM: f64 = 500.0;
/// PoPs that clients are asked to probe, besides their candidates.
pub const PROBES: usize = 2;
/// PoPs that may be good and of which too little is known: probes are taken from them in turn.
const PROBE_POOL: usize = 6;
/// Degrees that are kept; more are worked out each time.
const DEGREES_MAX: usize = 16_384;

/// What decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Latitude and longitude, to a degree.
    Position,
    /// The country.
    Country,
    /// Nothing is known of the client: the set for everybody.
    Everybody,
}

impl Level {
    /// The name in answers and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Position => "position",
            Self::Country => "country",
            Self::Everybody => "everybody",
        }
    }
}

/// Where one kind of client is sent.
#[derive(Debug, Clone)]
struct Entry {
    level: Level,
    /// How many candidates it gets.
    size: usize,
    /// The chosen ones, best first, then all others by expected round trip.
    order: Vec<PopIndex>,
    /// Those to learn about.
    pool: Vec<PopIndex>,
    /// Expected round trip by PoP, in milliseconds.
    expected_ms: Vec<f32>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// What decided.
    pub level: Level,
    /// Candidates, best first, at least one.
    pub pops: Vec<PopIndex>,
    /// PoPs to measure in the background.
    pub probe: Vec<PopIndex>,
    /// Whether every PoP is down: then the answer is as if none were, since whoever is wrong about that is the observer.
    pub fail_static: bool,
    /// Expected round trip by PoP, in milliseconds.
    pub expected_ms: Vec<f32>,
}

/// See the module.
#[derive(Debug)]
pub struct Atlas {
    table: Arc<PopTable>,
    world: Arc<World>,
    model: Model,
    domains: Vec<u16>,
    /// PoPs with an endpoint, or all when no PoP has one.
    usable: PopSet,
    live: PopSet,
    /// By [`Country::number`].
    countries: Vec<Option<Arc<Entry>>>,
    everybody: Arc<Entry>,
    degrees: Mutex<HashMap<Cell, Arc<Entry>>>,
    serial: u64,
}

impl Atlas {
    /// Works an atlas out. `said` is what cells measured, `now` the clock that it was measured on; `live` are the PoPs to send
    /// anybody to. A later atlas has a larger `serial`.
    #[must_use]
    pub fn build(
        table: Arc<PopTable>,
        world: Arc<World>,
        said: &[(Cell, Vec<Said>)],
        live: PopSet,
        now: Duration,
        serial: u64,
    ) -> Self {
        let at: Vec<_> = table.pops().iter().map(|pop| pop.at).collect();
        let sites: Vec<_> =
            said.iter().filter_map(|(cell, said)| site(&world, *cell, said, at.len())).collect();
        let model = Model::fit(&at, &sites, Tuning::default(), now);
        let mut names: Vec<_> = table.pops().iter().map(|pop| pop.failure_domain.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let number = |name: &str| names.binary_search(&name).ok().and_then(|at| u16::try_from(at).ok());
        let domains = table.pops().iter().map(|pop| number(&pop.failure_domain).unwrap_or(0)).collect();
        let listed = table.select(|pop| pop.endpoints.by_name().next().is_some());
        let usable = if listed.is_empty() { table.all() } else { listed };
        let nothing = Entry {
            level: Level::Everybody,
            size: CANDIDATES,
            order: Vec::new(),
            pool: Vec::new(),
            expected_ms: Vec::new(),
        };
        let mut atlas = Self {
            table,
            world: world.clone(),
            model,
            domains,
            usable,
            live: live.and(usable),
            countries: vec![None; Country::NUMBERS],
            everybody: Arc::new(nothing),
            degrees: Mutex::default(),
            serial,
        };
        let mut everywhere = Vec::new();
        let people: f64 = world.lands().iter().map(|land| land.people).sum();
        for land in world.lands() {
            let mut scenarios = Vec::new();
            for city in &land.cities {
                let origin = origin(Some(land.country), Some(land.continent), city.at);
                atlas.model.scenarios(&origin, city.share, &mut scenarios);
            }
            let centre = origin(Some(land.country), Some(land.continent), land.at);
            let size = if land.spread_km > WIDE_KM { CANDIDATES_WIDE } else { CANDIDATES };
            atlas.countries[land.country.number()] =
                Some(Arc::new(atlas.entry(Level::Country, size, &scenarios, &centre)));
            // For everybody: each country at its mean position, by its people.
            atlas.model.scenarios(&centre, land.people / people.max(1.0), &mut everywhere);
        }
        let anywhere = origin(None, None, atlas.table.pops()[0].at);
        atlas.everybody = Arc::new(atlas.entry(Level::Everybody, CANDIDATES_WIDE, &everywhere, &anywhere));
        atlas
    }

    fn entry(&self, level: Level, size: usize, scenarios: &[Scenario], origin: &Origin) -> Entry {
        let count = self.table.len();
        let bias = vec![0.0; count];
        let allowed = if self.live.is_empty() { self.usable } else { self.live };
        let chosen = choose(scenarios, allowed, size, &bias, &self.domains);
        let mut expected_ms = vec![0.0_f32; count];
        let total: f32 = scenarios.iter().map(|scenario| scenario.weight).sum();
        for scenario in scenarios {
            for (sum, rtt) in expected_ms.iter_mut().zip(&scenario.rtt_ms) {
                *sum += scenario.weight / total.max(f32::MIN_POSITIVE) * rtt;
            }
        }
        let by_expected = |set: PopSet| {
            let mut pops: Vec<_> = set.iter().collect();
            pops.sort_by(|a, b| expected_ms[a.get()].total_cmp(&expected_ms[b.get()]));
            pops
        };
        let mut order: Vec<_> = chosen.iter().collect();
        order.extend(by_expected(self.usable.without(chosen.set())));
        // Of the next best, those of which least is known.
        let evidence = self.model.evidence(origin);
        let mut pool: Vec<_> = by_expected(allowed.without(chosen.set()));
        pool.truncate(PROBE_POOL);
        pool.sort_by(|a, b| evidence[a.get()].total_cmp(&evidence[b.get()]));
        Entry { level, size, order, pool, expected_ms }
    }

    /// Where a client is sent. `turn` is any number that changes from time to time: it decides which probes are its own.
    #[must_use]
    pub fn answer(&self, place: &Place, turn: u64) -> Answer {
        let entry = self.entry_of(place);
        let live = if self.live.is_empty() { self.usable } else { self.live };
        let pops: Vec<_> =
            entry.order.iter().copied().filter(|pop| live.has(*pop)).take(entry.size).collect();
        let rest: Vec<_> =
            entry.pool.iter().copied().filter(|pop| live.has(*pop) && !pops.contains(pop)).collect();
        let start = usize::try_from(turn % rest.len().max(1) as u64).unwrap_or_default();
        let probe = rest.iter().cycle().skip(start).take(PROBES.min(rest.len())).copied().collect();
        Answer {
            level: entry.level,
            pops,
            probe,
            fail_static: self.live.is_empty(),
            expected_ms: entry.expected_ms.clone(),
        }
    }

    fn entry_of(&self, place: &Place) -> Arc<Entry> {
        let country = place.country_str().and_then(|code| code.parse::<Country>().ok());
        let known = country.and_then(|country| self.countries[country.number()].clone());
        let at = place.position.and_then(|(lat, lon)| Coordinates::new(lat, lon));
        let Some(at) = at else { return known.unwrap_or_else(|| self.everybody.clone()) };
        let cell = Cell { country: place.country.unwrap_or_default(), degree: Some(degree(at)) };
        let degrees = || self.degrees.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = degrees().get(&cell) {
            return entry.clone();
        }
        let continent = country.and_then(|country| self.world.land(country)).map(|land| land.continent);
        let origin = origin(country, continent, centre(degree(at)).unwrap_or(at));
        let mut scenarios = Vec::new();
        self.model.scenarios(&origin, 1.0, &mut scenarios);
        let entry = Arc::new(self.entry(Level::Position, CANDIDATES, &scenarios, &origin));
        let mut degrees = degrees();
        if degrees.len() < DEGREES_MAX {
            degrees.insert(cell, entry.clone());
        }
        entry
    }

    /// The cell that a client's measurements count for; `None` without a country.
    #[must_use]
    pub fn cell(&self, place: &Place) -> Option<Cell> {
        let at = place.position.and_then(|(lat, lon)| Coordinates::new(lat, lon));
        Some(Cell { country: place.country?, degree: at.map(degree) })
    }

    /// The shortest round trip that light allows between a client and a PoP, in milliseconds: from the nearest place where the
    /// client may be. `None` where nothing is known of it.
    #[must_use]
    pub fn floor_ms(&self, place: &Place, pop: PopIndex) -> Option<f64> {
        /// As far as a database's position may be off, and as a city reaches.
        const SLACK_KM: f64 = 100.0;
        let pop = self.table.get(pop)?.at;
        let km = match place.position.and_then(|(lat, lon)| Coordinates::new(lat, lon)) {
            Some(at) => at.km_to(pop),
            None => {
                let country = place.country_str()?.parse().ok()?;
                let cities = &self.world.land(country)?.cities;
                cities.iter().map(|city| city.at.km_to(pop)).fold(f64::INFINITY, f64::min)
            }
        };
        // 200 km in a millisecond of fibre, there and back.
        Some((km - SLACK_KM).max(0.0) / 100.0)
    }

    /// The PoPs.
    #[must_use]
    pub fn table(&self) -> &PopTable {
        &self.table
    }

    /// PoPs that are sent to.
    #[must_use]
    pub fn live(&self) -> PopSet {
        self.live
    }

    /// Its number.
    #[must_use]
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// The map for who cannot ask: the same answers, of countries, for all PoPs that are usable.
    #[must_use]
    pub fn map(&self, made_s: u64, good_until_s: u64) -> nearport_geo::signed::Map {
        use nearport_geo::signed::{Map, MapPop};
        let pop = |pop: &nearport_geo::Pop| MapPop {
            id: pop.id.clone(),
            place: pop.place.clone(),
            country: pop.country.to_string(),
            lat: pop.at.lat(),
            lon: pop.at.lon(),
            endpoints: pop.endpoints.by_name().map(|(name, at)| (name.to_owned(), at.to_owned())).collect(),
            addresses: pop.addresses.clone(),
        };
        let list = |entry: &Entry| {
            let pops = entry.order.iter().take(entry.size);
            pops.filter_map(|pop| u8::try_from(pop.get()).ok()).collect::<Vec<_>>()
        };
        let lands = self.world.lands().iter();
        let countries = lands.filter_map(|land| {
            let entry = self.countries[land.country.number()].as_ref()?;
            Some((land.country.to_string(), list(entry)))
        });
        Map {
            version: 1,
            serial: self.serial,
            made_s,
            good_until_s,
            pops: self.table.pops().iter().map(pop).collect(),
            countries: countries.collect(),
            everywhere: list(&self.everybody),
        }
    }
}

fn origin(country: Option<Country>, continent: Option<Continent>, at: Coordinates) -> Origin {
    Origin { country, continent, at }
}

/// Whole degrees, rounded down.
fn degree(at: Coordinates) -> (i16, i16) {
    #[expect(clippy::cast_possible_truncation, reason = "at most 180")]
    let whole = |degrees: f64| degrees.floor() as i16;
    (whole(at.lat()), whole(at.lon()))
}

/// The middle of a degree.
fn centre((lat, lon): (i16, i16)) -> Option<Coordinates> {
    Coordinates::new((f64::from(lat) + 0.5).min(90.0), (f64::from(lon) + 0.5).min(180.0))
}

/// What a cell says, as the model reads it. `None` for a country that is not in the world's files.
fn site(world: &World, cell: Cell, said: &[Said], pops: usize) -> Option<Site> {
    let country: Country = std::str::from_utf8(&cell.country).ok()?.parse().ok()?;
    let land = world.land(country)?;
    let mut measured = vec![None; pops];
    for said in said {
        if let Some(place) = measured.get_mut(usize::from(said.pop)) {
            let clients = f64::from(u32::try_from(said.voices).unwrap_or(u32::MAX));
            let at = Duration::from_secs(said.at_s);
            *place = Some(Measured { rtt_ms: said.rtt_ms.into(), clients, at });
        }
    }
    let at = cell.degree.and_then(centre).unwrap_or(land.at);
    Some(Site { country, continent: land.continent, at, measured })
}
