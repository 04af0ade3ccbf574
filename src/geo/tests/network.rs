//! A network in a simulation: 32 PoPs, checkers that ask them as real ones do, edges that report, and clients of real cities that
//! are answered by the map. Virtual time and seeds, so that a run is the same each time.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::OnceLock;
use std::time::Duration;

use nearport_geo::map::{Client, Live, Map, Sources, Why};
use nearport_geo::model::{Model, Target, Tuning};
use nearport_geo::network::{Network, Order, Report};
use nearport_geo::{Coordinates, Dice, PopIndex, PopSet, PopTable, World};

#[path = "network/crowd.rs"]
mod crowd;

const POPS: usize = 32;
/// How often a checker asks a PoP, and how long it waits; what fails is asked again at once.
const EVERY_MS: u64 = 1_000;
const ANSWER_MS: u64 = 700;
/// Longest way of a vote to the locator.
const LINK_MS: u64 = 100;
/// How often the locator looks.
const LOOK_MS: u64 = 200;

const HOUR_MS: u64 = 3_600_000;

pub(crate) struct Earth {
    pub(crate) table: PopTable,
    pub(crate) world: World,
    pub(crate) map: Map,
}

/// Compiled once for all tests.
pub(crate) fn earth() -> &'static Earth {
    static EARTH: OnceLock<Earth> = OnceLock::new();
    EARTH.get_or_init(|| {
        let table = PopTable::parse(include_str!("../../../geo/pops.toml")).unwrap();
        let world = World::shipped().unwrap();
        let places: Vec<_> = table.pops().iter().map(Target::from).collect();
        let model = Model::fit(&places, &[], Tuning::default(), Duration::ZERO);
        let map = Map::compile(&Sources::new(&table, &world, &model));
        assert_eq!(table.len(), POPS);
        Earth { table, world, map }
    })
}

pub(crate) fn pop(index: usize) -> PopIndex {
    PopIndex::new(index).unwrap()
}

pub(crate) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// What a checker sees of a PoP at a time.
type Answers<'a> = &'a mut dyn FnMut(u64, usize, usize) -> bool;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A vote arrives at the locator.
    Vote {
        checker: usize,
        pop: usize,
        good: bool,
    },
    /// A checker asks; the second it belongs to began then.
    Ask {
        checker: usize,
        pop: usize,
        second: u64,
    },
    Look,
}

/// Checkers, their links, and the locator.
pub(crate) struct Watch {
    pub(crate) network: Network,
    pub(crate) live: Live,
    pub(crate) now: u64,
    queue: BinaryHeap<Reverse<(u64, u64, Event)>>,
    serial: u64,
    dice: Dice,
    /// When the set of PoPs that are up changed, and to what.
    pub(crate) changes: Vec<(u64, PopSet)>,
}

impl Watch {
    /// Checkers that begin at moments of their own, as the seed has it.
    pub(crate) fn new(checkers: usize, seed: u64) -> Self {
        let mut network = Network::new(POPS);
        let live = network.live(Duration::ZERO);
        let mut watch = Self {
            network,
            live,
            now: 0,
            queue: BinaryHeap::new(),
            serial: 0,
            dice: Dice::new(seed),
            changes: Vec::new(),
        };
        for checker in 0..checkers {
            for pop in 0..POPS {
                let at = watch.below(EVERY_MS);
                watch.push(at, Event::Ask { checker, pop, second: at });
            }
        }
        let at = watch.below(LOOK_MS);
        watch.push(at, Event::Look);
        watch
    }

    fn below(&mut self, below: u64) -> u64 {
        u64::try_from(self.dice.below(usize::try_from(below).unwrap())).unwrap()
    }

    fn push(&mut self, at: u64, event: Event) {
        self.serial += 1;
        self.queue.push(Reverse((at, self.serial, event)));
    }

    /// Runs until a time. `answers` says whether a PoP answers a checker that asks it at a time.
    pub(crate) fn run(&mut self, until: u64, answers: Answers<'_>) {
        while let Some(Reverse((at, _, event))) =
            self.queue.peek().copied().filter(|Reverse((at, ..))| *at <= until)
        {
            self.queue.pop();
            self.now = at;
            match event {
                Event::Vote { checker, pop: index, good } => {
                    self.network.vote(checker, pop(index), good, ms(at));
                }
                Event::Ask { checker, pop, second } => {
                    let good = answers(at, checker, pop);
                    // A round trip, or as long as it waits.
                    let known = at + if good { 5 + self.below(300) } else { ANSWER_MS };
                    let link = 1 + self.below(LINK_MS);
                    self.push(known + link, Event::Vote { checker, pop, good });
                    let next = second + EVERY_MS;
                    let (at, second) = match good {
                        true => (next, next),
                        // At once; the seconds go on from there.
                        false => (known, known.max(next)),
                    };
                    self.push(at, Event::Ask { checker, pop, second: if good { second } else { at } });
                }
                Event::Look => {
                    let live = self.network.live(ms(at));
                    if live.up != self.live.up {
                        self.changes.push((at, live.up));
                    }
                    self.live = live;
                    self.push(at + LOOK_MS, Event::Look);
                }
            }
        }
        self.now = until;
    }

    pub(crate) fn look(&mut self) {
        self.live = self.network.live(ms(self.now));
    }
}

#[test]
fn a_pop_that_fails_is_out_of_the_answers_within_three_and_a_half_seconds() {
    let mut worst = 0;
    for seed in 0..60 {
        let mut dice = Dice::new(1_000 + seed);
        let (checkers, dead) = (3 + dice.below(3), dice.below(POPS));
        let failed = 20_000 + u64::try_from(dice.below(1_000)).unwrap();
        let mut watch = Watch::new(checkers, seed);
        watch.run(60_000, &mut |now, _, pop| pop != dead || now < failed);
        let (out, up) = watch.changes[0];
        assert!(!up.has(pop(dead)) && up.len() == POPS - 1 && watch.changes.len() == 1, "seed {seed}");
        assert!(
            out > failed && out - failed <= 3_500,
            "seed {seed}, {checkers} checkers: {} ms",
            out - failed
        );
        worst = worst.max(out - failed);
        // And out of the answers is what it is out of: of all countries.
        for land in earth().world.lands() {
            let client = Client { country: Some(land.country), ..Client::new([192, 0, 2, 1].into()) };
            let cell = earth().map.cell(&client);
            let answer = earth().map.decide(cell, seed, &watch.live, earth().table.all());
            assert!(!answer.ranked.set().has(pop(dead)) && answer.ranked.len() >= 3);
        }
    }
    println!("a PoP that fails: out after {worst} ms at worst of 60 runs");
}

#[test]
fn one_probe_in_twenty_lost_for_an_hour_evicts_nobody() {
    for seed in 0..10 {
        let mut loss = Dice::new(5_000 + seed);
        let mut watch = Watch::new(3 + usize::try_from(seed).unwrap() % 3, seed);
        watch.run(HOUR_MS, &mut |_, _, _| loss.share() >= 0.05);
        assert!(watch.changes.is_empty(), "seed {seed}: {:?}", watch.changes);
    }
}

#[test]
fn a_pop_that_flaps_for_an_hour_changes_the_answers_five_times_at_most() {
    let mut most = 0;
    for seed in 0..12 {
        let mut dice = Dice::new(seed);
        let offset = u64::try_from(dice.below(20_000)).unwrap();
        let mut watch = Watch::new(3 + usize::try_from(seed).unwrap() % 3, seed);
        watch.run(HOUR_MS, &mut |now, _, pop| pop != 7 || (now + offset) / 10_000 % 2 == 0);
        let changes = watch.changes.len();
        assert!((1..=5).contains(&changes), "seed {seed}: {changes}");
        most = most.max(changes);
    }
    println!("a PoP that flaps: {most} changes in an hour at most of 12 runs");
}

#[test]
fn a_checker_that_is_cut_off_and_a_minority_that_lies_move_nobody() {
    for seed in 0..8 {
        // One that sees nobody, from then on; alone, too, since it is then the one that is wrong.
        for checkers in [1, 2, 3, 5] {
            let mut watch = Watch::new(checkers, seed);
            watch.run(600_000, &mut |now, checker, _| checker != 0 || now < 50_000);
            assert!(watch.changes.is_empty(), "seed {seed}, {checkers} checkers: {:?}", watch.changes);
        }
        // Those that say of eight PoPs that they are down, and of others that they are up.
        for (checkers, liars) in [(3, 1), (4, 1), (5, 2)] {
            let mut watch = Watch::new(checkers, seed);
            watch.run(600_000, &mut |_, checker, pop| checker >= liars || pop % 4 != 0);
            assert!(watch.changes.is_empty(), "seed {seed}, {liars} of {checkers} lie: {:?}", watch.changes);
        }
        // Nor do they keep one in that is down.
        let mut watch = Watch::new(5, seed);
        watch.run(60_000, &mut |now, checker, pop| pop != 9 || now < 20_000 || checker < 2);
        assert!(
            watch.changes[0].0 < 25_000 && !watch.changes[0].1.has(pop(9)),
            "seed {seed}: {:?}",
            watch.changes
        );
    }
}

#[test]
fn when_all_are_down_answers_are_as_if_none_were() {
    let earth = earth();
    let answers = |live: &Live| -> Vec<_> {
        let lands = earth.world.lands().iter();
        let one = |land: &nearport_geo::world::Land| {
            let client = Client { country: Some(land.country), ..Client::new([192, 0, 2, 1].into()) };
            earth.map.decide(earth.map.cell(&client), 7, live, earth.table.all())
        };
        lands.map(one).collect()
    };
    let well: Vec<_> = answers(&Live::all(earth.table.all())).iter().map(|answer| answer.ranked).collect();
    // Seen by checkers that see nothing else either, and ordered.
    let mut watch = Watch::new(3, 1);
    watch.run(120_000, &mut |now, _, _| now < 30_000);
    let seen: Vec<_> = answers(&watch.live).iter().map(|answer| answer.ranked).collect();
    assert_eq!(seen, well);
    for index in 0..POPS {
        watch.network.order(pop(index), Order { drained: true, weight: 1.0 });
    }
    watch.look();
    let ordered = answers(&watch.live);
    assert!(ordered.iter().all(|answer| answer.why == Why::Static));
    assert_eq!(ordered.iter().map(|answer| answer.ranked).collect::<Vec<_>>(), well);
    // One after another, seen by checkers that still see the others: the last ones are answered by.
    let mut watch = Watch::new(3, 2);
    watch.run(400_000, &mut |now, _, pop| now < 30_000 + 10_000 * u64::try_from(pop).unwrap() || pop == 31);
    assert_eq!(watch.live.up.iter().map(PopIndex::get).collect::<Vec<_>>(), [31]);
    assert!(answers(&watch.live).iter().all(|answer| answer.ranked.first() == Some(pop(31))));
}

/// What a PoP says of itself.
pub(crate) fn report(sessions: u32, capacity: u32) -> Report {
    Report { sessions, capacity, draining: false }
}
