use super::*;
use crate::model::{Measured, Model, Site, Target, Tuning};
use crate::{PopTable, World};
use proptest::prelude::*;
use std::sync::OnceLock;
use std::time::Duration;

const TABLE: &str = include_str!("../../../../geo/pops.toml");

fn shipped() -> &'static (PopTable, Map) {
    static MAP: OnceLock<(PopTable, Map)> = OnceLock::new();
    MAP.get_or_init(|| {
        let table = PopTable::parse(TABLE).unwrap();
        let places: Vec<_> = table.pops().iter().map(Target::from).collect();
        let model = Model::fit(&places, &[], Tuning::default(), Duration::ZERO);
        let lagos = table.find("ng-lagos").unwrap();
        let site = PrefixSite {
            prefix: Prefix::new(address("192.0.2.0"), 24).unwrap(),
            client: Client { country: "DE".parse().ok(), ..Client::new(address("192.0.2.0")) },
            measured: vec![(lagos, 1.0, 50.0)],
        };
        let world = World::shipped().unwrap();
        let map = Map::compile(&Sources { prefixes: &[site], ..Sources::new(&table, &world, &model) });
        (table, map)
    })
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn client(at: &str, country: &str) -> Client {
    Client { country: country.parse().ok(), ..Client::new(address(at)) }
}

fn cell(country: &str) -> &'static Cell {
    shipped().1.cell(&client("198.51.100.1", country))
}

#[test]
fn the_longest_that_is_known_decides() {
    let (table, map) = shipped();
    let live = Live::all(table.all());
    let first = |cell: &Cell| {
        let ranked = map.decide(cell, 1, &live, table.all()).ranked;
        table.get(ranked.first().unwrap()).unwrap().id.as_str()
    };
    assert_eq!(first(cell("SG")), "sg-singapore");
    assert_eq!(first(map.cell(&client("192.0.2.77", "SG"))), "ng-lagos");
    let african = Client { continent: Some(Continent::Africa), ..Client::new(address("192.0.3.77")) };
    assert_eq!(map.cell(&african).level, Level::Continent);
    assert_eq!(map.cell(&client("10.0.0.1", "ZZ")).level, Level::Everybody);
    assert_eq!((cell("US").size, cell("SG").size), (5, 3));
    assert!(map.scope(address("192.0.2.77")) == 24 && map.scope(address("10.0.0.1")) < 24);
}

#[test]
fn what_is_down_full_or_forbidden_is_not_named_and_all_down_is_answered() {
    let (table, map) = shipped();
    let mut live = Live::all(table.all());
    let all = table.all();
    let decide = |live: &Live, allowed| map.decide(cell("SG"), 1, live, allowed);
    let best = decide(&live, all).ranked.first().unwrap();
    live.full.insert(best);
    assert!(!decide(&live, all).ranked.set().has(best));
    live.full = all;
    assert_eq!(decide(&live, all).why, Why::Full);
    live.up.remove(best);
    assert!(!decide(&live, all).ranked.set().has(best));
    live.up = PopSet::NONE;
    let last = decide(&live, all);
    assert_eq!((last.why, last.ranked.len()), (Why::Static, 3));
    let only = PopIndex::new(31).unwrap();
    let one: PopSet = [only].into_iter().collect();
    assert_eq!(decide(&Live::all(all), one).ranked.first(), Some(only));
    assert!(decide(&live, PopSet::NONE).ranked.is_empty());
}

proptest! {
    #[test]
    fn an_answer_is_allowed_up_and_sticky(up in any::<u64>(), allowed in any::<u64>(), key in any::<u64>(), lost in 0..32_usize) {
        let (table, map) = shipped();
        let set = |bits: u64| -> PopSet { table.all().iter().filter(|pop| bits >> pop.get() & 1 == 1).collect() };
        let (live, allowed) = (Live::all(set(up)), set(allowed));
        let cell = cell("DE");
        let answer = map.decide(cell, key, &live, allowed);
        prop_assert_eq!(answer, map.decide(cell, key, &live, allowed));
        let usable = set(up).and(allowed);
        prop_assert_eq!(answer.ranked.is_empty(), allowed.is_empty());
        if !usable.is_empty() {
            prop_assert!(answer.ranked.set().without(usable).is_empty());
        }
        // Rendezvous: who loses a PoP that is not its first keeps its first.
        let lost = PopIndex::new(lost).unwrap();
        let mut fewer = live.clone();
        fewer.up.remove(lost);
        if answer.why == Why::Best && answer.ranked.first() != Some(lost) {
            let after = map.decide(cell, key, &fewer, allowed);
            let kept = answer.ranked.first();
            let newcomer = after.ranked.set().without(answer.ranked.set());
            prop_assert!(after.ranked.first() == kept || newcomer.has(after.ranked.first().unwrap()));
        }
    }
}

/// Four countries and five PoPs: a map is compiled in no time.
fn small() -> &'static (PopTable, World) {
    static SMALL: OnceLock<(PopTable, World)> = OnceLock::new();
    SMALL.get_or_init(|| {
        let pop = |id: &str, lat: f64, lon: f64, more: &str| {
            format!("[[pop]]\nid = \"{id}\"\nplace = \"P\"\ncountry = \"SG\"\ncontinent = \"AS\"\nlat = {lat:?}\nlon = {lon:?}\n{more}\n")
        };
        let places = [("a", 0.0, 0.0, ""), ("b", 1.0, 1.0, "bias_ms = 2"), ("c", 3.0, -2.0, ""), ("d", 10.0, 10.0, ""), ("e", 40.0, 40.0, "")];
        let table: String = places.iter().map(|(id, lat, lon, more)| pop(id, *lat, *lon, more)).collect();
        let countries = "country,continent,lat,lon,spread_km,population,name\n\
            AA,AF,0.5,0.5,10,1000,A\nBB,AF,3,3,700,2000,B\nCC,AS,30,30,10,500,C\nDD,EU,1,1,10,10,D\n";
        let cities = "country,lat,lon,thousands\nBB,0,0,10\nBB,9,9,20\n";
        (PopTable::parse(&table).unwrap(), World::parse(countries, cities).unwrap())
    })
}

/// What was measured in turn: country, PoP, milliseconds.
fn measurements() -> impl Strategy<Value = Vec<(usize, usize, f64)>> {
    prop::collection::vec((0..4_usize, 0..5_usize, 5.0..200.0_f64), 0..12)
}

fn next_map(measured: &[(usize, usize, f64)], previous: Option<&Map>) -> Map {
    let (table, world) = small();
    let places: Vec<_> = table.pops().iter().map(Target::from).collect();
    let sites = measured.iter().map(|(land, pop, rtt_ms)| {
        let land = &world.lands()[*land];
        let mut measured = vec![None; table.len()];
        measured[*pop] = Some(Measured { rtt_ms: *rtt_ms, clients: 30.0, at: Duration::ZERO });
        Site { country: land.country, continent: land.continent, at: land.at, measured }
    });
    let sites: Vec<_> = sites.collect();
    let model = Model::fit(&places, &sites, Tuning::default(), Duration::ZERO);
    Map::compile(&Sources { previous, ..Sources::new(table, world, &model) })
}

/// By PoP of a cell's set: what the cell expects and the bias.
fn costs(cell: &Cell) -> Vec<f32> {
    let mut costs = vec![f32::INFINITY; small().0.len()];
    for (pop, rtt) in cell.ranked.iter().take(cell.size.into()).zip(cell.rtt_ms) {
        costs[pop.get()] = rtt + small().0.get(pop).unwrap().bias_ms;
    }
    costs
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_new_map_moves_a_cell_only_for_a_gain(turns in prop::collection::vec(measurements(), 2..6), key in any::<u64>()) {
        let (table, world) = small();
        let live = Live::all(table.all());
        let mut maps: Vec<Map> = Vec::new();
        for measured in &turns {
            let map = next_map(measured, maps.last());
            for land in world.lands() {
                let client = client("192.0.2.1", land.country.as_str());
                let cell = map.cell(&client);
                let costs = costs(cell);
                let best = costs.iter().copied().fold(f32::INFINITY, f32::min);
                let worth = |pop: PopIndex| {
                    let cost = costs[pop.get()];
                    cost - best > 5.0_f32.max(0.1 * cost)
                };
                let Some(before) = maps.last() else { continue };
                let (old, new) = (before.cell(&client).ranked.first().unwrap(), cell.ranked.first().unwrap());
                // Moved if and only if it is worth it, and then to the best. (Less a rounding.)
                let margin = (costs[old.get()] - best - 5.0_f32.max(0.1 * costs[old.get()])).abs();
                if margin > 0.05 {
                    prop_assert_eq!(old != new, worth(old), "{:?} {:?} {:?}", old, new, costs);
                }
                if old != new {
                    prop_assert!(costs[new.get()] - best < 0.05);
                    continue;
                }
                // Nor is a client of it, within the band, whatever its key, if its PoP is still in the set.
                let first = |map: &Map| map.decide(map.cell(&client), key, &live, table.all()).ranked.first().unwrap();
                let (old, new) = (first(before), first(&map));
                let set: PopSet = cell.ranked.iter().take(cell.size.into()).collect();
                if old != new && set.has(old) {
                    prop_assert!(worth(old) || costs[old.get()] - best > 4.95, "{:?} {:?} {:?}", old, new, costs);
                }
            }
            maps.push(map);
        }
    }
}

#[test]
fn narrower_cells_decide_before_wider_ones_and_each_is_drawn_to_the_next() {
    let (table, world) = small();
    let places: Vec<_> = table.pops().iter().map(Target::from).collect();
    let model = Model::fit(&places, &[], Tuning::default(), Duration::ZERO);
    let at = Coordinates::new(0.5, 0.5);
    let here = Client { at, asn: Some(7), ..client("192.0.2.9", "AA") };
    let far = |rtt| vec![(table.find("a").unwrap(), rtt, 3.0)];
    let network = NetworkSite { asn: 7, place: here.place(), measured: far(300.0) };
    let prefix =
        PrefixSite { prefix: Prefix::new(here.address, 24).unwrap(), client: here, measured: far(20.0) };
    let map = Map::compile(&Sources {
        positions: &[here.place()],
        networks: &[network],
        prefixes: &[prefix],
        ..Sources::new(table, world, &model)
    });
    let elsewhere = address("198.51.100.1");
    let rtt = |client: &Client| {
        let cell = map.cell(client);
        let found = cell.ranked.iter().zip(cell.rtt_ms).find(|(pop, _)| pop.get() == 0).unwrap();
        (cell.level, found.1)
    };
    let position = rtt(&Client { asn: None, address: elsewhere, ..here });
    let asn = rtt(&Client { address: elsewhere, ..here });
    let own = rtt(&here);
    assert_eq!([own.0, asn.0, position.0], [Level::Prefix, Level::Asn, Level::Position]);
    assert_eq!(rtt(&Client { at: None, address: elsewhere, ..here }).0, Level::Country, "of another place");
    assert_eq!(rtt(&Client { asn: Some(8), address: elsewhere, ..here }).0, Level::Position);
    // Three parts of what was measured and one of the parent.
    assert!((asn.1 - (3.0 * 300.0 + position.1) / 4.0).abs() < 0.1, "{asn:?} {position:?}");
    assert!((own.1 - (3.0 * 20.0 + asn.1) / 4.0).abs() < 0.1, "{own:?}");
    assert_eq!(
        map.wants(&Client { at: Coordinates::new(9.5, 9.5), ..here })
            .and_then(|place| place.degree)
            .map(|degree| degree.corner()),
        Some((9, 9))
    );
    assert_eq!(map.wants(&here), None);
    // Explained as what it is.
    let live = Live::all(table.all());
    let explained = map.explain((table, world), &here, 1, &live, table.all());
    assert_eq!((explained.level, explained.cell.as_str()), (Level::Prefix, "prefix 192.0.2.0/24"));
    assert_eq!(explained.pops.len(), table.len());
    let explained =
        map.explain((table, world), &Client { address: elsewhere, ..here }, 1, &live, table.all());
    assert_eq!(explained.cell, "AS7 in AA at 0, 0");
}

#[test]
fn a_loaded_candidate_gives_its_place_to_a_cheaper_reserve() {
    let (table, map) = shipped();
    let cell = cell("SG");
    let mut live = Live::all(table.all());
    let before = map.decide(cell, 1, &live, table.all()).ranked;
    let second = cell.ranked.iter().nth(1).unwrap();
    live.penalty_ms[second.get()] = 500.0;
    let after = map.decide(cell, 1, &live, table.all()).ranked;
    assert!(before.set().has(second) && !after.set().has(second) && after.len() == before.len());
    assert_eq!(after.first(), before.first());
}
