//! What answers are made of: one set of things that belong together, replaced as a whole.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use nearport_geo::map::{
    Client, Decision, Explanation, Live, Map, NetworkSite, PROBES, Place as Spot, PrefixSite, Sources,
};
use nearport_geo::model::{Measured, Model, Site, Target, Tuning};
use nearport_geo::prefixes::Prefix;
use nearport_geo::{Coordinates, Degree, Pop, PopIndex, PopTable, World, signed};

use crate::databases::Set;
use crate::mmdb::Place;
use crate::voices::{Cell, Everything, OfNetwork, OfPrefix, Said};

/// Degrees of latitude and longitude that have a cell of their own; clients elsewhere are answered by their country.
pub const POSITIONS_MAX: usize = 1_024;

/// As many of them are for degrees that were asked for, however many have measured: or new ones would never be heard of.
const WANTED_MIN: usize = POSITIONS_MAX / 4;

/// Databases, PoPs, the map of them and who is up: of one moment, so that an index means the same in all of them.
#[derive(Debug, Clone)]
pub struct Current {
    pub(crate) set: Set,
    pub(crate) table: Arc<PopTable>,
    pub(crate) world: Arc<World>,
    pub(crate) map: Arc<Map>,
    pub(crate) live: Live,
    /// A later one has a larger one.
    pub(crate) serial: u64,
}

/// What the slow loop knows when it makes the next one.
#[derive(Debug)]
pub(crate) struct Ingredients<'a> {
    pub(crate) set: Set,
    pub(crate) table: Arc<PopTable>,
    pub(crate) world: Arc<World>,
    /// What was measured, on the clock of `now`.
    pub(crate) said: &'a Everything,
    /// Degrees that were asked for.
    pub(crate) wanted: Vec<Spot>,
    pub(crate) previous: Option<&'a Current>,
    pub(crate) now: Duration,
    pub(crate) serial: u64,
}

impl Ingredients<'_> {
    /// Nothing measured, nothing asked for, nothing before.
    pub(crate) fn new(set: Set, table: Arc<PopTable>, world: Arc<World>) -> Self {
        static NOTHING: Everything = Everything::NOTHING;
        let (now, serial) = (Duration::ZERO, 0);
        Self { set, table, world, said: &NOTHING, wanted: Vec::new(), previous: None, now, serial }
    }
}

impl Current {
    /// Compiles the map. Takes some hundred milliseconds where many have measured.
    pub(crate) fn build(from: Ingredients<'_>) -> Self {
        let Ingredients { set, table, world, said, wanted, previous, now, serial } = from;
        let at: Vec<_> = table.pops().iter().map(Target::from).collect();
        let sites: Vec<_> =
            said.cells.iter().filter_map(|(cell, said)| site(&world, *cell, said, at.len())).collect();
        let model = Model::fit(&at, &sites, Tuning::default(), now);
        let positions = positions(&said.cells, wanted);
        let same = previous.filter(|previous| previous.table == table);
        let networks: Vec<NetworkSite> = said.networks.iter().map(network).collect();
        let prefixes: Vec<PrefixSite> = said.prefixes.iter().filter_map(prefix).collect();
        let map = Map::compile(&Sources {
            positions: &positions,
            networks: &networks,
            prefixes: &prefixes,
            previous: same.map(|previous| &*previous.map),
            ..Sources::new(&table, &world, &model)
        });
        let live = match previous {
            None => Live::all(table.all()),
            Some(previous) => previous.live_for(&table),
        };
        Self { set, table, world, map: Arc::new(map), live, serial }
    }

    /// Who is up, as another table numbers it.
    pub(crate) fn live_for(&self, table: &PopTable) -> Live {
        if *table == *self.table {
            return self.live.clone();
        }
        self.live.renumbered(table.all(), |pop| table.place_in(pop, &self.table))
    }

    /// The PoPs.
    #[must_use]
    pub fn table(&self) -> &PopTable {
        &self.table
    }

    /// Its number; a later one has a larger one.
    #[must_use]
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// What a client may measure in the background: up, not in its answer, and little known. `turn` is any number that changes from
    /// time to time and from network to network: it decides which are its own.
    pub(crate) fn probes(
        &self,
        client: &Client,
        app: Option<u32>,
        decision: &Decision,
        turn: u64,
    ) -> Vec<PopIndex> {
        let usable = self.map.pops().and(self.table.allowed(app, client.country));
        let up = self.live.up.and(usable);
        let up = if up.is_empty() { usable } else { up };
        let rest = up.without(decision.ranked.set());
        let pool = self.map.pool(self.map.cell(client));
        let rest: Vec<_> = pool.iter().filter(|pop| rest.has(*pop)).collect();
        let start = usize::try_from(turn % rest.len().max(1) as u64).unwrap_or_default();
        rest.iter().cycle().skip(start).take(PROBES.min(rest.len())).copied().collect()
    }

    /// Where a client with this key, of this App, is sent. Does not allocate.
    #[must_use]
    pub fn decide(&self, client: &Client, key: u64, app: Option<u32>) -> Decision {
        let allowed = self.table.allowed(app, client.country);
        self.map.decide(self.map.cell(client), key, &self.live, allowed)
    }

    /// Why it is answered as it is.
    #[must_use]
    pub fn explain(&self, client: &Client, key: u64, app: Option<u32>) -> Explanation {
        let allowed = self.table.allowed(app, client.country);
        self.map.explain((&self.table, &self.world), client, key, &self.live, allowed)
    }

    /// The shortest round trip that light allows between a client and a PoP, in milliseconds.
    #[must_use]
    pub fn floor_ms(&self, client: &Client, pop: &Pop) -> Option<f64> {
        self.world.floor_ms(client.at, client.country, pop.at)
    }

    /// The map for who cannot ask.
    pub(crate) fn export(&self, made_s: u64, good_until_s: u64) -> signed::Map {
        self.map.export(&self.table, &self.world, self.serial, made_s, good_until_s)
    }
}

/// A client as maps know it. Does not allocate.
pub(crate) fn client_of(address: Option<IpAddr>, place: &Place) -> Client {
    Client {
        address: address.map_or_else(|| Ipv4Addr::UNSPECIFIED.into(), |address| address.to_canonical()),
        asn: place.asn,
        at: place.position.and_then(|(lat, lon)| Coordinates::new(lat, lon)),
        country: place.country_str().and_then(|code| code.parse().ok()),
        continent: place.continent,
    }
}

/// The cell that a client's measurements count for; `None` without a country.
pub(crate) fn cell_of(place: &Place) -> Option<Cell> {
    let at = place.position.and_then(|(lat, lon)| Coordinates::new(lat, lon));
    Some(Cell { country: place.country?, degree: at.map(|at| Degree::of(at).corner()) })
}

/// The degrees that get a cell, at most [`POSITIONS_MAX`]: those that measured, most voices first, then those that were asked for.
fn positions(said: &[(Cell, Vec<Said>)], wanted: Vec<Spot>) -> Vec<Spot> {
    let voices = |said: &[Said]| said.iter().map(|said| said.voices).max().unwrap_or_default();
    let measured = said.iter().map(|(cell, said)| (Reverse(voices(said)), spot(*cell)));
    let mut measured: Vec<_> = measured.filter(|(_, spot)| spot.degree.is_some()).collect();
    // Stable: of equals the same ones are taken each time.
    measured.sort_by_key(|(voices, _)| *voices);
    let mut positions: Vec<Spot> = measured.into_iter().map(|(_, spot)| spot).collect();
    let mut seen: HashSet<Spot> = positions.iter().copied().collect();
    let wanted: Vec<Spot> = wanted.into_iter().filter(|spot| seen.insert(*spot)).collect();
    positions.truncate(POSITIONS_MAX - wanted.len().min(WANTED_MIN));
    positions.extend(wanted);
    positions.truncate(POSITIONS_MAX);
    positions
}

fn spot(cell: Cell) -> Spot {
    let country = std::str::from_utf8(&cell.country).ok().and_then(|code| code.parse().ok());
    Spot { country, degree: cell.degree.and_then(|(lat, lon)| Degree::new(lat, lon)) }
}

/// What an operator's clients in one place measured, as the map reads it.
fn network(of: &OfNetwork) -> NetworkSite {
    let measured = of.said.iter().filter_map(|said| {
        let clients = u16::try_from(said.voices).unwrap_or(u16::MAX);
        Some((PopIndex::new(said.pop.into())?, said.rtt_ms, clients.into()))
    });
    NetworkSite { asn: of.asn, place: spot(of.cell), measured: measured.collect() }
}

/// The same for one network. Its own word is one client's, however often it was said: it speaks for itself alone.
fn prefix(of: &OfPrefix) -> Option<PrefixSite> {
    let spot = spot(of.cell);
    let client = Client {
        asn: of.asn,
        at: spot.degree.map(Degree::centre),
        country: spot.country,
        ..Client::new(of.network.address())
    };
    let measured = of.said.iter().filter_map(|(pop, ms)| Some((PopIndex::new((*pop).into())?, *ms, 1.0)));
    let prefix = Prefix::new(of.network.address(), of.network.bits())?;
    Some(PrefixSite { prefix, client, measured: measured.collect() })
}

/// What a cell says, as the model reads it. `None` for a country that is not in the world's files.
fn site(world: &World, cell: Cell, said: &[Said], pops: usize) -> Option<Site> {
    let spot = spot(cell);
    let land = world.land(spot.country?)?;
    let mut measured = vec![None; pops];
    for said in said {
        if let Some(place) = measured.get_mut(usize::from(said.pop)) {
            let clients = f64::from(u32::try_from(said.voices).unwrap_or(u32::MAX));
            let at = Duration::from_secs(said.at_s);
            *place = Some(Measured { rtt_ms: said.rtt_ms.into(), clients, at });
        }
    }
    let at = spot.degree.map_or(land.at, Degree::centre);
    Some(Site { country: land.country, continent: land.continent, at, measured })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn degrees_with_most_voices_have_a_cell_and_new_ones_find_a_place() {
        let cell = |country: &[u8; 2], number: usize| {
            let (lat, lon) = (number / 150, number % 150);
            Cell {
                country: *country,
                degree: Some((i16::try_from(lat).unwrap(), i16::try_from(lon).unwrap())),
            }
        };
        let said = |voices| {
            vec![
                Said { pop: 0, rtt_ms: 9.0, voices: 3, at_s: 0 },
                Said { pop: 1, rtt_ms: 9.0, voices, at_s: 0 },
            ]
        };
        let few = (0..2_000).map(|number| (cell(b"AR", number), said(3)));
        let many = (0..700).map(|number| (cell(b"ZW", number), said(40)));
        let country = Cell { country: *b"SG", degree: None };
        let cells: Vec<_> = few.chain([(country, said(48))]).chain(many).collect();
        let asked = |count| (0..count).map(|number| spot(cell(b"SG", number))).collect::<Vec<_>>();
        let of = |positions: &[Spot], code: &str| {
            positions.iter().filter(|spot| spot.country == code.parse().ok()).count()
        };
        let shares = |wanted: usize| {
            let positions = positions(&cells, asked(wanted));
            assert!(positions.iter().all(|spot| spot.degree.is_some()));
            (of(&positions, "ZW"), of(&positions, "AR"), of(&positions, "SG"))
        };
        assert_eq!(shares(0), (700, 324, 0));
        assert_eq!(shares(100), (700, 224, 100));
        assert_eq!(shares(1_000), (700, 68, 256));
        // Who was asked for and has measured counts once; what nobody needs is for others.
        let positions = positions(&cells[..10], [asked(2_000), vec![spot(cells[0].0)]].concat());
        assert_eq!((of(&positions, "AR"), positions.len()), (10, POSITIONS_MAX));
    }
}
