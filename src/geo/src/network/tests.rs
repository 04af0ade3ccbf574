use super::*;
use crate::map::Live;

fn pop(index: usize) -> PopIndex {
    PopIndex::new(index).unwrap()
}

fn at(second: u64) -> Duration {
    Duration::from_secs(second)
}

fn report(sessions: u32, capacity: u32) -> Report {
    Report { sessions, capacity, draining: false }
}

#[test]
fn who_hears_nothing_names_everybody() {
    let mut network = Network::new(3);
    assert_eq!(network.live(at(0)), Live::all(PopSet::first(3)));
    for index in 0..3 {
        network.sent_many(pop(index), 1_000_000);
    }
    assert_eq!(network.live(at(1)), Live::all(PopSet::first(3)), "of no capacity, so nobody is full");
    let state = network.state(pop(0), at(1));
    assert_eq!((state.standing, state.share, state.report), (Standing::Up, 1.0, None));
    // Beside the table nothing happens.
    network.vote(99, pop(0), false, at(1));
    network.vote(0, pop(9), false, at(1));
    network.report(pop(9), report(1, 1), at(1));
    network.order(pop(9), Order { drained: true, weight: 0.0 });
    assert_eq!(network.live(at(2)), Live::all(PopSet::first(3)));
    assert_eq!(network.state(pop(9), at(2)).standing, Standing::Down);
}

#[test]
fn orders_and_drains_hold_at_once_and_reports_grow_old() {
    let mut network = Network::new(3);
    network.order(pop(0), Order { drained: true, weight: 1.0 });
    network.order(pop(1), Order { drained: false, weight: 0.5 });
    network.report(pop(2), Report { draining: true, ..report(10, 100) }, at(0));
    let live = network.live(at(0));
    assert_eq!(live.up.iter().map(PopIndex::get).collect::<Vec<_>>(), [1]);
    assert!((live.share(pop(1)) - 0.5).abs() < 0.001);
    assert_eq!(network.state(pop(2), at(1)).share, 0.0);
    let live = network.live(at(31));
    assert!(live.up.has(pop(2)), "what it said is too old to count");
    assert_eq!(network.state(pop(2), at(31)).report, None);
    for weight in [f32::NAN, -1.0] {
        network.order(pop(1), Order { drained: false, weight });
        assert_eq!(network.live(at(32)).share(pop(1)), 0.0);
    }
    network.order(pop(1), Order { drained: false, weight: 7.0 });
    assert_eq!(network.live(at(33)).share(pop(1)), 1.0);
}

#[test]
fn a_pop_at_its_bound_is_named_to_fewer_and_then_to_nobody() {
    let mut network = Network::new(4);
    let mut share_of = |sessions: u32, sent: u32, second: u64| {
        for index in 1..4 {
            network.report(pop(index), report(800, 1_000), at(second));
        }
        network.report(pop(0), report(sessions, 1_000), at(second));
        network.sent_many(pop(0), sent);
        network.live(at(second)).share(pop(0))
    };
    assert_eq!(share_of(700, 10, 0), 1.0);
    // 100 came in this second and there is room for 90.
    let share = share_of(810, 100, 1);
    assert!((0.8..1.0).contains(&share), "{share}");
    assert_eq!(share_of(1_000, 0, 2), 0.0);
    assert_eq!(share_of(1_000, 0, 3), 0.0);
    // Room for ten of a hundred that are still expected.
    let share = share_of(990, 0, 4);
    assert!((0.01..0.3).contains(&share), "{share}");
}

#[test]
fn another_table_keeps_what_is_known_by_id() {
    let table = |ids: &[&str]| {
        let one = |id: &&str| {
            format!(
                "[[pop]]\nid = \"{id}\"\nplace = \"P\"\ncountry = \"SG\"\ncontinent = \"AS\"\nlat = 1.0\nlon = 2.0\n"
            )
        };
        PopTable::parse(&ids.iter().map(one).collect::<String>()).unwrap()
    };
    let (old, new) = (table(&["a", "b", "c"]), table(&["c", "d", "a"]));
    let mut network = Network::new(3);
    network.order(pop(2), Order { drained: true, weight: 1.0 });
    network.report(pop(0), report(7, 10), at(0));
    let mut network = network.renumbered(&old, &new);
    assert_eq!(network.live(at(1)).up.iter().map(PopIndex::get).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(network.state(pop(2), at(1)).report, Some(report(7, 10)));
    assert_eq!(network.len(), 3);
}
