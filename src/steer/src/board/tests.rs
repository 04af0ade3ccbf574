//! A locator's view of a network that is told in calls.

use super::*;
use crate::message::VERSIONS;
use crate::order::tests::Word;
use nearport_geo::PopSet;
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);

fn table(ids: &[&str]) -> Arc<PopTable> {
    let pop = |(number, id): (usize, &&str)| {
        format!(
            "[[pop]]\nid = \"{id}\"\nplace = \"{id}\"\ncountry = \"SG\"\ncontinent = \"AS\"\nlat = {number}.0\nlon = 100.0\n\
             capacity = 1000\nendpoints = {{ quic = \"192.0.2.{number}:4433\" }}\n"
        )
    };
    let text: String = ids.iter().enumerate().map(pop).collect();
    Arc::new(PopTable::parse(&text).unwrap())
}

fn board(ids: &[&str]) -> Board {
    Board::new(table(ids), Vec::new(), Arc::new(Word(1)))
}

fn hello(node: u16, pop: &str, instance: u64) -> Hello {
    Hello { versions: VERSIONS, program: "1".to_owned(), node, pop: pop.to_owned(), instance }
}

fn join(board: &mut Board, node: u16, pop: &str) -> u64 {
    board.join(&hello(node, pop, u64::from(node))).unwrap().0
}

fn report(sessions: u32, capacity: Option<u32>, draining: bool) -> Report {
    Report { sessions, capacity, draining }
}

fn set(board: &Board, ids: &[&str]) -> PopSet {
    ids.iter().map(|id| board.table().find(id).unwrap()).collect()
}

fn row(board: &Board, pop: &str, now: Duration) -> Row {
    board.rows(now).into_iter().find(|row| row.pop == pop).unwrap()
}

/// Somebody brings orders. Says how many count now, and how many were none of this network.
fn bring(board: &mut Board, orders: Vec<Sealed>) -> (usize, usize) {
    let news = board.news(orders);
    let count = news.len();
    let proven: Vec<Proven> = news.into_iter().filter_map(|sealed| sealed.prove(&**board.seal())).collect();
    let forged = count - proven.len();
    let (taken, refused) = board.merge(proven);
    (taken, refused + forged)
}

/// A second of checks by the locator and all its edges; `down` are not seen.
fn check(board: &mut Board, links: &[u64], down: &[&str], now: Duration) {
    let ids: Vec<String> = board.table().pops().iter().map(|pop| pop.id.clone()).collect();
    for id in &ids {
        board.saw(id, !down.contains(&id.as_str()), now);
    }
    let votes: Vec<_> =
        ids.iter().map(|pop| Vote { pop: pop.clone(), good: !down.contains(&pop.as_str()) }).collect();
    for link in links {
        board.votes(*link, &votes, now);
    }
}

#[test]
fn a_pop_whose_edge_died_is_out_with_the_third_failure_of_the_others() {
    let mut board = board(&["a", "b", "c"]);
    let links = [("a", 1), ("b", 2), ("c", 3)].map(|(pop, node)| join(&mut board, node, pop));
    for second in 1..=20 {
        check(&mut board, &links, &[], SECOND * second);
    }
    board.leave(links[0]);
    for second in 21..=23 {
        assert_eq!(board.live(SECOND * second).up, set(&board, &["a", "b", "c"]), "{second}");
        check(&mut board, &links[1..], &["a"], SECOND * second);
    }
    assert_eq!(board.live(SECOND * 23).up, set(&board, &["b", "c"]));
    let a = row(&board, "a", SECOND * 23);
    assert_eq!((a.state, a.edges, a.votes, a.votes_down), (State::Held, 0, 3, 3));
    assert!(a.held_ms.is_some_and(|held| held > 25_000));
}

#[test]
fn without_any_edge_everybody_is_named_but_for_what_is_ordered() {
    let mut board = board(&["a", "b", "c"]);
    let links = [join(&mut board, 1, "a"), join(&mut board, 2, "b")];
    for second in 1..=10 {
        check(&mut board, &links, &["c"], SECOND * second);
    }
    assert_eq!(board.live(SECOND * 10).up, set(&board, &["a", "b"]));
    board.wish("a", Wish::Drain { force: false }, "ann", 5, SECOND * 10).unwrap();
    board.leave(links[0]);
    assert_eq!(board.live(SECOND * 10).up, set(&board, &["b"]), "one is still linked");
    board.leave(links[1]);
    assert_eq!(board.live(SECOND * 11).up, set(&board, &["b", "c"]));
    // Its own checker alone moves nobody, however long it sees nothing of the others.
    for second in 11..=60 {
        check(&mut board, &[], &["b", "c"], SECOND * second);
    }
    assert_eq!(board.live(SECOND * 60).up, set(&board, &["b", "c"]));
}

#[test]
fn a_pop_has_one_vote_and_none_about_itself() {
    let mut board = board(&["a", "b", "c"]);
    let first = join(&mut board, 1, "a");
    let second = join(&mut board, 2, "a");
    let vote = |pop: &str| vec![Vote { pop: pop.to_owned(), good: false }];
    assert!(board.votes(first, &vote("b"), SECOND));
    assert!(!board.votes(second, &vote("b"), SECOND), "the PoP has its vote");
    board.votes(first, &vote("a"), SECOND);
    board.votes(first, &vote("nowhere"), SECOND);
    // It sees something, else it had no vote at all.
    board.votes(first, &[Vote { pop: "c".to_owned(), good: true }], SECOND);
    assert_eq!((row(&board, "a", SECOND).votes, row(&board, "b", SECOND).votes), (0, 1));
    board.leave(first);
    assert!(board.votes(second, &vote("b"), SECOND), "it takes the place of the one that left");
    assert!(!board.votes(first, &vote("b"), SECOND), "a link that has ended says nothing");
}

#[test]
fn more_edges_than_votes_and_more_than_a_locator_takes() {
    let ids: Vec<String> = (0..40).map(|number| format!("p{number}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let mut board = board(&ids);
    for (node, pop) in (0..).zip(&ids) {
        let link = join(&mut board, node, pop);
        let has_vote = board.votes(link, &[], SECOND);
        assert_eq!(has_vote, usize::from(node) < CHECKERS_MAX - 1, "{node}");
    }
    for node in 40..256 {
        join(&mut board, node, "p1");
    }
    let refused = board.join(&hello(999, "p1", 1)).unwrap_err();
    assert!(refused.contains("256 edges are linked"), "{refused}");
    assert_eq!(board.edges(), (256, CHECKERS_MAX - 1));
}

#[test]
fn who_may_not_join_is_told_why() {
    let mut board = board(&["a", "b"]);
    let unknown = board.join(&hello(1, "z", 1)).unwrap_err();
    assert_eq!(unknown, "steer.pop of node 1: there is no PoP `z`; there are a, b");
    let (link, former) = board.join(&hello(1, "a", 1)).unwrap();
    assert_eq!(former, None);
    let twice = board.join(&hello(1, "b", 2)).unwrap_err();
    assert!(twice.contains("node 1 is linked already") && twice.contains("edge.node"), "{twice}");
    // The same edge again, before its former link was missed.
    let (again, former) = board.join(&hello(1, "a", 1)).unwrap();
    assert_eq!(former, Some(link));
    board.leave(link);
    assert_eq!(board.edges().0, 1);
    board.leave(again);
    assert_eq!(board.edges().0, 0);
}

#[test]
fn reports_of_a_pops_edges_are_summed_and_those_that_leave_count_as_sessions_only() {
    let mut board = board(&["a", "b"]);
    let (one, two) = (join(&mut board, 1, "a"), join(&mut board, 2, "a"));
    board.report(one, report(10, Some(100), false), SECOND);
    board.report(two, report(20, Some(300), false), SECOND);
    let seen = |board: &Board| {
        let a = row(board, "a", SECOND);
        (a.sessions, a.capacity, a.draining, a.edges)
    };
    assert_eq!(seen(&board), (Some(30), Some(400), false, 2));
    board.report(two, report(20, Some(300), true), SECOND);
    assert_eq!(seen(&board), (Some(30), Some(100), false, 2));
    board.report(one, report(10, None, false), SECOND);
    assert_eq!(seen(&board), (Some(30), Some(100), false, 2), "with the next tick");
    board.tick(SECOND);
    assert_eq!(seen(&board), (Some(30), Some(1000), false, 2), "the table's");
    board.report(one, report(10, None, true), SECOND);
    assert_eq!(seen(&board), (Some(30), Some(1000), true, 2));
    assert_eq!(board.live(SECOND).up, set(&board, &["b"]));
    board.report(two, report(u32::MAX, Some(u32::MAX), false), SECOND);
    assert_eq!(seen(&board), (Some(u32::MAX), Some(CAPACITY_MAX), false, 2));
    board.leave(two);
    assert_eq!(seen(&board), (Some(10), Some(1000), true, 1));
}

#[test]
fn many_edges_of_a_pop_are_seen_to_grow_as_one_with_as_many_sessions() {
    for count in [1_u32, 2, 6, 8, 40] {
        let (mut many, mut one) = (board(&["a", "b"]), board(&["a", "b"]));
        let links: Vec<u64> =
            (0..count).map(|node| join(&mut many, u16::try_from(node).unwrap(), "a")).collect();
        let link = join(&mut one, 1, "a");
        // Full soon; answers of this locator send nobody there, so that only reports tell.
        for second in 1..=5 {
            for (number, link) in (0..).zip(&links) {
                let now = SECOND * second + SECOND * number / count;
                many.report(*link, report(190 * second, Some(1_000), false), now);
            }
            one.report(link, report(190 * second * count, Some(1_000 * count), false), SECOND * second);
            let now = SECOND * (second + 1);
            many.tick(now);
            one.tick(now);
            let (many, one) = (many.live(now), one.live(now));
            assert_eq!(format!("{many:?}"), format!("{one:?}"), "{count} edges, {second} s");
            // Those that come within the next second fill it.
            assert!(second < 5 || many.share(PopIndex::new(0).unwrap()) < 0.6, "{many:?}");
        }
    }
}

#[test]
fn a_report_counts_for_as_long_as_it_is_good_and_no_tick_makes_it_younger() {
    let mut board = board(&["a", "b"]);
    let link = join(&mut board, 1, "a");
    board.report(link, report(5, None, false), SECOND);
    for second in 1..=60 {
        board.tick(SECOND * second);
    }
    assert_eq!(row(&board, "a", SECOND * 60).sessions, None);
    board.report(link, report(6, None, false), SECOND * 61);
    board.tick(SECOND * 61);
    assert_eq!(row(&board, "a", SECOND * 62).sessions, Some(6));
}

#[test]
fn the_last_pop_is_drained_by_force_only() {
    let mut board = board(&["a", "b"]);
    let said = board.wish("z", Wish::Undrain, "ann", 1, SECOND).unwrap_err();
    assert_eq!(said, "there is no PoP `z`; there are a, b");
    board.wish("a", Wish::Drain { force: false }, "ann", 1, SECOND).unwrap();
    board.wish("a", Wish::Drain { force: false }, "ann", 2, SECOND).unwrap();
    for wish in [Wish::Drain { force: false }, Wish::Weight { thousandths: 0, force: false }] {
        let said = board.wish("b", wish, "ann", 3, SECOND).unwrap_err();
        assert!(said.contains("b is the last PoP that is up") && said.contains("--force"), "{said}");
    }
    assert_eq!(board.live(SECOND).up, set(&board, &["b"]));
    board.wish("b", Wish::Weight { thousandths: 500, force: false }, "ann", 4, SECOND).unwrap();
    assert!((row(&board, "b", SECOND).weight - 0.5).abs() < 1e-6);
    assert!(board.wish("b", Wish::Weight { thousandths: 1_001, force: true }, "ann", 4, SECOND).is_err());
    board.wish("b", Wish::Drain { force: true }, "ann", 5, SECOND).unwrap();
    assert!(row(&board, "b", SECOND).drained);
    board.wish("a", Wish::Undrain, "ann", 6, SECOND).unwrap();
    assert_eq!(board.live(SECOND).up, set(&board, &["a"]));
}

#[test]
fn a_pop_of_no_weight_is_nobody_to_send_clients_to() {
    let mut board = board(&["a", "b", "c"]);
    board.wish("c", Wish::Drain { force: false }, "ann", 1, SECOND).unwrap();
    board.wish("a", Wish::Weight { thousandths: 0, force: false }, "ann", 1, SECOND).unwrap();
    for wish in [Wish::Drain { force: false }, Wish::Weight { thousandths: 0, force: false }] {
        let said = board.wish("b", wish, "ann", 2, SECOND).unwrap_err();
        assert!(said.contains("b is the last PoP that is up") && said.contains("--force"), "{said}");
    }
    board.wish("a", Wish::Drain { force: false }, "ann", 3, SECOND).unwrap();
    board.wish("a", Wish::Undrain, "ann", 4, SECOND).unwrap();
    assert!(board.wish("b", Wish::Drain { force: false }, "ann", 5, SECOND).is_err(), "still of no weight");
    board.wish("a", Wish::Weight { thousandths: 1, force: false }, "ann", 6, SECOND).unwrap();
    board.wish("b", Wish::Drain { force: false }, "ann", 7, SECOND).unwrap();
}

#[test]
fn orders_spread_over_edges_and_a_clock_that_is_ahead_does_not_win_for_ever() {
    let (mut one, mut two) = (board(&["a", "b"]), board(&["a", "b"]));
    one.wish("a", Wish::Drain { force: false }, "ann", 9_000_000, SECOND).unwrap();
    assert_eq!(bring(&mut two, one.orders()), (1, 0));
    assert_eq!(bring(&mut two, one.orders()), (0, 0), "known: so nothing goes round for ever");
    // The other locator's clock is far behind.
    two.wish("a", Wish::Undrain, "bob", 17, SECOND).unwrap();
    assert_eq!(bring(&mut one, two.orders()), (1, 0));
    assert_eq!(one.orders(), two.orders());
    assert!(!row(&one, "a", SECOND).drained);
    // One that nobody of this network gave.
    let mut forged = one.orders();
    forged[0].order.drained = true;
    forged[0].order.at_ms += 1;
    assert_eq!(bring(&mut two, forged), (0, 1));
    // Kept over a restart, and for a PoP that comes into the table later.
    let mut again = Board::new(table(&["b"]), one.orders(), Arc::new(Word(1)));
    two.wish("a", Wish::Drain { force: true }, "bob", 18, SECOND).unwrap();
    assert_eq!(bring(&mut again, two.orders()), (1, 0));
    again.set_table(table(&["b", "a"]));
    assert!(row(&again, "a", SECOND).drained);
}

#[test]
fn another_table_keeps_what_is_known_by_name() {
    let mut board = board(&["a", "b", "c"]);
    let links = [("a", 1), ("b", 2), ("c", 3)].map(|(pop, node)| join(&mut board, node, pop));
    board.report(links[2], report(7, None, false), SECOND);
    board.wish("b", Wish::Drain { force: false }, "ann", 1, SECOND).unwrap();
    let before = board.versions();
    assert_eq!(board.set_table(table(&["c", "d", "b"])), [links[0]]);
    assert_eq!(board.versions(), (before.0, before.1 + 1));
    assert_eq!(row(&board, "c", SECOND).sessions, Some(7));
    assert_eq!(row(&board, "c", SECOND).edges, 1);
    assert!(row(&board, "b", SECOND).drained);
    assert_eq!(board.targets().len(), 3);
    assert_eq!(board.targets()[0].endpoint, "192.0.2.0:4433");
}

#[derive(Debug, Clone)]
enum Step {
    Join(u16, u8, u64),
    Leave(u64),
    Report(u64, u32, bool),
    Votes(u64, u8, bool),
    Saw(u8, bool),
    Wish(u8, Wish),
    Table(u8),
    Tick,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let wish = prop_oneof![
        any::<bool>().prop_map(|force| Wish::Drain { force }),
        Just(Wish::Undrain),
        (0..1_200_u16, any::<bool>()).prop_map(|(thousandths, force)| Wish::Weight { thousandths, force }),
    ];
    let step = prop_oneof![
        (0..6_u16, 0..5_u8, 0..3_u64).prop_map(|(node, pop, instance)| Step::Join(node, pop, instance)),
        (0..12_u64).prop_map(Step::Leave),
        (0..12_u64, any::<u32>(), any::<bool>())
            .prop_map(|(link, sessions, draining)| Step::Report(link, sessions, draining)),
        (0..12_u64, 0..5_u8, any::<bool>()).prop_map(|(link, pop, good)| Step::Votes(link, pop, good)),
        (0..5_u8, any::<bool>()).prop_map(|(pop, good)| Step::Saw(pop, good)),
        (0..5_u8, wish).prop_map(|(pop, wish)| Step::Wish(pop, wish)),
        (0..3_u8).prop_map(Step::Table),
        Just(Step::Tick),
    ];
    proptest::collection::vec(step, 0..120)
}

proptest! {
    /// Whatever edges, checkers and operators do: what is drained is named by nobody, links and votes keep their bounds, and without an
    /// edge everybody else is named.
    #[test]
    fn a_board_keeps_its_rules(steps in steps()) {
        const TABLES: [&[&str]; 3] = [&["p0", "p1", "p2", "p3"], &["p3", "p1"], &["p2", "p4", "p0"]];
        let mut board = board(TABLES[0]);
        let name = |number: u8| format!("p{number}");
        for (number, step) in (1_u32..).zip(steps) {
            let now = Duration::from_millis(300) * number;
            match step {
                Step::Join(node, pop, instance) => { let _ = board.join(&hello(node, &name(pop), instance)); }
                Step::Leave(link) => board.leave(link),
                Step::Report(link, sessions, draining) => board.report(link, report(sessions, Some(sessions), draining), now),
                Step::Votes(link, pop, good) => { board.votes(link, &[Vote { pop: name(pop), good }], now); }
                Step::Saw(pop, good) => board.saw(&name(pop), good, now),
                Step::Wish(pop, wish) => { let _ = board.wish(&name(pop), wish, "ann", u64::from(number), now); }
                Step::Tick => board.tick(now),
                Step::Table(table_number) => { board.set_table(table(TABLES[usize::from(table_number)])); }
            }
            let up = board.up(now);
            let live = board.live(now);
            prop_assert_eq!(up, live.up);
            let rows = board.rows(now);
            prop_assert_eq!(rows.len(), board.table().len());
            let (edges, voters) = board.edges();
            prop_assert!(voters <= edges && edges <= 6);
            prop_assert_eq!(rows.iter().map(|row| row.edges).sum::<usize>(), edges);
            for (index, row) in rows.iter().enumerate() {
                let named = live.up.has(PopIndex::new(index).unwrap());
                prop_assert!(!(row.drained && named), "{row:?}");
                prop_assert!(edges > 0 || named || row.drained, "{row:?}");
            }
            let back = Board::new(board.table().clone(), board.orders(), Arc::new(Word(1)));
            prop_assert_eq!(back.orders(), board.orders());
        }
    }
}
