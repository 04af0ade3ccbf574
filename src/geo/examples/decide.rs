//! How fast the map answers and is compiled: prints figures, asserts none.
//!
//! `cargo run --release -p nearport-geo --example decide [PLACES [POSITIONS]]`: places that measured (100), degrees with a cell (0)

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use nearport_geo::map::{Client, Live, Map, Place, PrefixSite, Sources};
use nearport_geo::model::{Measured, Model, Site, Target, Tuning};
use nearport_geo::prefixes::Prefix;
use nearport_geo::{Country, Degree, Dice, PopIndex, PopTable, World};

const PREFIXES: usize = 100_000;
const DECISIONS: usize = 2_000_000;

fn main() {
    let table = PopTable::parse(include_str!("../../../geo/pops.toml")).expect("the shipped table");
    let world = World::shipped().expect("the shipped world");
    let mut dice = Dice::new(1);
    let mut numbers = std::env::args().skip(1).filter_map(|number| number.parse().ok());
    let (many, degrees) = (numbers.next().unwrap_or(100), numbers.next().unwrap_or(0));
    let places: Vec<_> = table.pops().iter().map(Target::from).collect();
    let countries: Vec<Country> = world.lands().iter().map(|land| land.country).collect();
    let sites: Vec<Site> = (0..many).map(|_| site(&world, &table, &mut dice)).collect();
    let positions: Vec<Place> = (0..degrees)
        .map(|_| {
            let land = &world.lands()[dice.below(world.lands().len())];
            let at = land.cities[dice.below(land.cities.len())].at;
            Place { country: Some(land.country), degree: Some(Degree::of(at)) }
        })
        .collect();
    let mut addresses = Vec::with_capacity(PREFIXES);
    let measured: Vec<PrefixSite> = (0..PREFIXES)
        .map(|_| {
            let address = IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(dice.roll() >> 32).unwrap_or(0)));
            addresses.push(address);
            let country = countries.get(dice.below(countries.len())).copied();
            let pops = (0..5).filter_map(|_| PopIndex::new(dice.below(table.len())));
            PrefixSite {
                prefix: Prefix::new(address, 24).expect("24 of 32 bits"),
                client: Client { country, ..Client::new(address) },
                measured: pops.map(|pop| (pop, 40.0, 3.0)).collect(),
            }
        })
        .collect();

    let mut rebuilds = Vec::new();
    let mut map = None;
    for _ in 0..5 {
        let started = Instant::now();
        let model = Model::fit(&places, &sites, Tuning::default(), Duration::ZERO);
        let fitted = started.elapsed();
        map = Some(Map::compile(&Sources {
            prefixes: &measured,
            positions: &positions,
            ..Sources::new(&table, &world, &model)
        }));
        rebuilds.push((started.elapsed(), fitted));
    }
    rebuilds.sort_unstable();
    let (whole, fit) = rebuilds[rebuilds.len() / 2];
    println!(
        "rebuild: {:.1} ms (of it the model {:.1} ms), {} PoPs, {} countries, {many} places, {degrees} positions, {PREFIXES} prefixes",
        whole.as_secs_f64() * 1e3,
        fit.as_secs_f64() * 1e3,
        table.len(),
        countries.len(),
    );

    let Some(map) = map else { return };
    let live = Live::all(table.all());
    // Half of the clients from prefixes that measured, half from anywhere, all with a country.
    let asked: Vec<(Client, u64)> = (0..1 << 16)
        .map(|n| {
            let address = if n % 2 == 0 {
                addresses[dice.below(addresses.len())]
            } else {
                IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(dice.roll() >> 32).unwrap_or(0)))
            };
            let country = countries.get(dice.below(countries.len())).copied();
            (Client { country, ..Client::new(address) }, dice.roll())
        })
        .collect();
    let decide = |n: usize| {
        let (client, key) = &asked[n % asked.len()];
        map.decide(map.cell(client), *key, &live, table.all())
    };
    let started = Instant::now();
    let mut named = 0;
    for n in 0..DECISIONS {
        named += decide(n).ranked.len();
    }
    let rate = f64::from(u32::try_from(DECISIONS).unwrap_or(0)) / started.elapsed().as_secs_f64() / 1e6;
    let mut times = Vec::with_capacity(DECISIONS / 10);
    for n in 0..DECISIONS / 10 {
        let started = Instant::now();
        named += decide(n).ranked.len();
        times.push(started.elapsed());
    }
    times.sort_unstable();
    let at = |share: usize| times[times.len() * share / 100].as_nanos();
    println!("decision: {rate:.2} M/s on one core, p50 {} ns, p99 {} ns ({named} named)", at(50), at(99));
}

fn site(world: &World, table: &PopTable, dice: &mut Dice) -> Site {
    let land = &world.lands()[dice.below(world.lands().len())];
    let city = &land.cities[dice.below(land.cities.len())];
    let measured = table.pops().iter().map(|pop| {
        let rtt_ms = 15.0 + city.at.km_to(pop.at) * 0.017 + dice.share() * 40.0;
        Some(Measured { rtt_ms, clients: 1.0, at: Duration::ZERO })
    });
    Site { country: land.country, continent: land.continent, at: city.at, measured: measured.collect() }
}
