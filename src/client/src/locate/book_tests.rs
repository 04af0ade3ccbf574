use super::*;
use proptest::prelude::*;

const HOME: &str = "192.0.2.9";

fn address(host: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], 4433))
}

fn candidate(host: u8) -> Candidate {
    Candidate { pop: format!("pop-{host}"), ..Candidate::at("pop.example", address(host)) }
}

fn answer(hosts: &[u8], ttl_s: u64) -> Answer {
    let candidates = hosts.iter().map(|host| candidate(*host)).collect();
    Answer { candidates, ttl_s, country: Some("SG".into()), ..Answer::default() }
}

fn edge(host: u8) -> Edge {
    candidate(host).edges().remove(0)
}

fn hosts(edges: &[Edge]) -> Vec<u8> {
    let last =
        |edge: &Edge| edge.address.to_string().trim_end_matches(":4433").rsplit_once('.').unwrap().1.parse();
    edges.iter().map(|edge| last(edge).unwrap()).collect()
}

fn pops(hosts: &[u8]) -> Vec<String> {
    hosts.iter().map(|host| format!("pop-{host}")).collect()
}

/// What would be written now.
fn text(book: &mut Book) -> Option<String> {
    book.changes().map(|kept| kept.text().unwrap())
}

/// Hosts of [`Outlook::Straight`], and whether a new answer is wanted.
fn straight(book: &mut Book, at: Option<&Edge>, unix_s: u64, now: Instant) -> Option<(Vec<u8>, bool)> {
    match book.outlook(HOME, at, unix_s, now) {
        Outlook::Straight { edges, ask } => Some((hosts(&edges), ask)),
        Outlook::Race(_) | Outlook::Ask => None,
    }
}

#[test]
fn the_first_visit_asks_and_races_and_later_ones_go_straight() {
    let (mut book, now) = (Book::default(), Instant::now());
    assert!(matches!(book.outlook(HOME, None, 1_000, now), Outlook::Ask));
    book.answered(HOME, answer(&[1, 2, 3], 60), 1_000, now);
    assert!(matches!(book.outlook(HOME, None, 1_000, now), Outlook::Race(_)));
    book.raced(HOME, pops(&[3, 1]), true);
    assert_eq!(straight(&mut book, None, 1_059, now), Some((vec![3, 1, 2], false)));
    assert!(matches!(book.outlook("elsewhere", None, 1_000, now), Outlook::Ask), "another network");
    // By another process too.
    let kept = text(&mut book).unwrap();
    assert!(!book.has_changed() && text(&mut book).is_none(), "nothing is new");
    let mut book = Book::read(kept.as_bytes());
    assert_eq!(straight(&mut book, None, 1_059, now), Some((vec![3, 1, 2], false)));
    assert_eq!(book.country("elsewhere").as_deref(), Some("SG"));
}

#[test]
fn a_winner_that_is_no_candidate_any_more_is_dropped_once_the_answer_is_fresh() {
    let (mut book, now) = (Book::default(), Instant::now());
    book.answered(HOME, answer(&[1, 2], 60), 1_000, now);
    book.raced(HOME, pops(&[1, 2]), true);
    let later = now + Duration::from_mins(5);
    // Out of date: still straight there, and a new answer is wanted.
    assert_eq!(straight(&mut book, None, 2_000, later), Some((vec![1, 2], true)));
    book.answered(HOME, answer(&[2, 3], 60), 2_000, later);
    assert!(matches!(book.outlook(HOME, None, 2_001, later), Outlook::Race(_)), "the winner is gone");
    // The session that lives stays where it is in the meantime, and comes back there.
    assert_eq!(straight(&mut book, Some(&edge(2)), 2_001, later), Some((vec![2, 3], false)));
    // A clock that goes back makes no answer last longer.
    book.raced(HOME, pops(&[2, 3]), true);
    assert_eq!(straight(&mut book, None, 1_000, later + ASK_AGAIN), Some((vec![2, 3], true)));
    assert!(matches!(book.outlook(HOME, None, 2_001 + STALE_S_MAX, later), Outlook::Ask), "too old");
}

#[test]
fn a_pop_that_asks_to_leave_is_passed_for_a_while_and_stays_the_winner() {
    let (mut book, now) = (Book::default(), Instant::now());
    book.answered(HOME, answer(&[1, 2, 3], 600), 1_000, now);
    book.raced(HOME, pops(&[1, 2, 3]), true);
    book.avoid(address(1), false, now);
    assert_eq!(straight(&mut book, Some(&edge(1)), 1_000, now), Some((vec![2, 3, 1], false)));
    book.landed(HOME, &edge(2));
    assert_eq!(straight(&mut book, Some(&edge(2)), 1_000, now), Some((vec![2, 3, 1], false)));
    assert_eq!(straight(&mut book, None, 1_001, now + AVOID_LEFT), Some((vec![1, 2, 3], false)));
}

#[test]
fn of_two_families_the_one_that_has_worked_comes_first() {
    let (mut book, now) = (Book::default(), Instant::now());
    let mut both = answer(&[1, 2], 600);
    both.candidates[0].addresses.push("2001:db8::1".parse().unwrap());
    book.answered(HOME, both.clone(), 1_000, now);
    book.raced(HOME, pops(&[1, 2]), true);
    let first = |book: &mut Book| match book.outlook(HOME, None, 1_000, now) {
        Outlook::Straight { edges, .. } => edges[0].clone(),
        other => panic!("{other:?}"),
    };
    assert!(first(&mut book).address.is_ipv4());
    let v6 = both.candidates[0].edges().remove(1);
    book.landed(HOME, &v6);
    assert_eq!(first(&mut book).address, v6.address);
    let mut read = Book::read(text(&mut book).unwrap().as_bytes());
    assert_eq!(first(&mut read).address, v6.address);
    // A session somewhere else says nothing about it, and another race begins anew.
    book.landed(HOME, &edge(2));
    assert_eq!(first(&mut book).address, v6.address);
    book.raced(HOME, pops(&[1, 2]), true);
    assert!(first(&mut book).address.is_ipv4());
}

#[test]
fn of_the_pops_that_a_server_names_the_nearest_comes_first() {
    let named = |hosts: &[u8]| hosts.iter().map(|host| Edge::new(address(*host), "pop.example")).collect();
    let known = |hosts: &[u8]| hosts.iter().map(|host| edge(*host)).collect();
    let go = |there: &[u8], here: &[u8]| referred(named(there), known(here));
    assert_eq!(hosts(&go(&[3, 2], &[2, 3, 1])), [2, 3, 1]);
    assert_eq!(hosts(&go(&[9, 3, 8, 2], &[1, 2, 3])), [9, 2, 8, 3, 1], "strangers keep their places");
    assert_eq!(hosts(&go(&[2, 2], &[2, 1])), [2, 2, 1], "named twice");
    assert_eq!(hosts(&go(&[], &[2, 1])), [2, 1]);
    assert_eq!(hosts(&go(&[7], &[])), [7]);
    assert!(go(&[2], &[2])[0].ways.is_some(), "what is known of its transports is not forgotten");
}

#[test]
fn a_pop_that_cannot_be_reached_loses_its_place_to_the_next_race() {
    let (mut book, now) = (Book::default(), Instant::now());
    book.answered(HOME, answer(&[1, 2], 600), 1_000, now);
    book.raced(HOME, pops(&[1, 2]), true);
    book.avoid(address(1), true, now);
    book.landed(HOME, &edge(2));
    assert!(matches!(book.outlook(HOME, None, 1_000, now), Outlook::Race(_)));
    // Nobody is left: the chain, but not at once again while its answer is new.
    book.exhausted(HOME);
    assert!(matches!(book.outlook(HOME, None, 1_000, now), Outlook::Race(_)));
    assert!(matches!(book.outlook(HOME, None, 1_000, now + ASK_AGAIN), Outlook::Ask));
    book.answered(HOME, answer(&[1, 2], 600), 1_005, now + ASK_AGAIN);
    assert!(matches!(book.outlook(HOME, None, 1_006, now + ASK_AGAIN), Outlook::Race(_)));
}

#[test]
fn a_book_is_bounded_and_reads_nothing_that_it_did_not_write() {
    let (mut book, now) = (Book::default(), Instant::now());
    for network in 0..=NETWORKS_MAX {
        book.answered(&network.to_string(), answer(&[1], 60), 1_000, now);
        let _ = book.outlook("1", None, 1_000, now);
    }
    assert_eq!(book.entries.len(), NETWORKS_MAX);
    assert!(book.entries.contains_key("1") && !book.entries.contains_key("0"));
    for host in 0..=u8::try_from(AVOIDED_MAX).unwrap() {
        book.avoid(address(host), true, now);
    }
    assert_eq!(book.avoided.len(), AVOIDED_MAX);
    let text = text(&mut book).unwrap();
    assert!(text.len() < BOOK_BYTES_MAX);
    assert!(Book::read(text.replace("\"version\":1", "\"version\":2").as_bytes()).entries.is_empty());
    assert!(Book::read(b"{}").entries.is_empty() && Book::read(b"").entries.is_empty());
}

proptest! {
    /// Whatever is learnt in which order: an outlook never names a PoP that is no candidate, names each edge once, and never
    /// leads to one that is avoided while another is there.
    #[test]
    fn any_history_leads_to_candidates_and_past_those_to_be_avoided(
        steps in proptest::collection::vec((0..6_u8, 1..6_u8, 0..200_u64), 1..40),
    ) {
        let (mut book, begun) = (Book::default(), Instant::now());
        let (mut now, mut unix_s, mut named) = (begun, 1_000, Vec::new());
        for (what, host, later) in steps {
            now += Duration::from_secs(later);
            unix_s += later;
            match what {
                0 => {
                    named = (host..host + 3).collect();
                    book.answered(HOME, answer(&named, 100), unix_s, now);
                }
                1 => book.raced(HOME, pops(&[host]), true),
                2 => book.avoid(address(host), host % 2 == 0, now),
                3 => book.landed(HOME, &edge(host)),
                4 => book.exhausted(HOME),
                _ => book = Book::read(text(&mut book).unwrap_or_default().as_bytes()),
            }
            if let Outlook::Straight { edges, .. } = book.outlook(HOME, Some(&edge(host)), unix_s, now) {
                let mut seen = hosts(&edges);
                prop_assert!(seen.iter().all(|host| named.contains(host)));
                let avoided: Vec<_> = seen.iter().map(|host| book.is_avoided(address(*host))).collect();
                prop_assert!(avoided.is_sorted());
                seen.sort_unstable();
                seen.dedup();
                prop_assert_eq!(seen.len(), edges.len());
            }
        }
    }
}
