use super::*;
use crate::model::{Model, Tuning};
use crate::{PopTable, World};
use proptest::prelude::*;
use std::sync::OnceLock;
use std::time::Duration;

const TABLE: &str = include_str!("../../../../geo/pops.toml");

fn shipped() -> &'static (PopTable, Map) {
    static MAP: OnceLock<(PopTable, Map)> = OnceLock::new();
    MAP.get_or_init(|| {
        let table = PopTable::parse(TABLE).unwrap();
        let places: Vec<_> = table.pops().iter().map(|pop| pop.at).collect();
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
