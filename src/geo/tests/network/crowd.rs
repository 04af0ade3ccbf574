//! A hundred thousand clients who come one after another and go where they are sent: load, slow start, drain and weights.

use super::*;

const CLIENTS: usize = 100_000;

/// Arrivals in a second of the simulation.
const ARRIVALS: usize = 500;

/// Who comes: a city, and its own key.
#[derive(Debug, Clone, Copy)]
struct Person {
    client: Client,
    at: Coordinates,
    key: u64,
}

/// People as the world's cities have them.
fn crowd(count: usize, seed: u64, only: Option<&str>) -> Vec<Person> {
    let mut dice = Dice::new(seed);
    let world = &earth().world;
    let lands: Vec<_> =
        world.lands().iter().filter(|land| only.is_none_or(|only| land.country.as_str() == only)).collect();
    let mut ends = Vec::with_capacity(lands.len());
    let total = lands.iter().fold(0.0, |sum, land| {
        ends.push(sum + land.people);
        sum + land.people
    });
    let mut people = Vec::with_capacity(count);
    for _ in 0..count {
        let wanted = dice.share() * total;
        let land = lands[ends.partition_point(|end| *end <= wanted).min(lands.len() - 1)];
        let mut share = dice.share();
        let city = land.cities.iter().find(|city| {
            share -= city.share;
            share < 0.0
        });
        let client = Client { country: Some(land.country), ..Client::new([192, 0, 2, 1].into()) };
        people.push(Person { client, at: city.unwrap_or(&land.cities[0]).at, key: dice.roll() });
    }
    people
}

impl Person {
    /// What it sees of a PoP: the line, and what is its country's own.
    fn rtt(&self, pop: PopIndex) -> f64 {
        let country = self.client.country.map_or(0, |country| country.number());
        let detour = Dice::new(u64::try_from(country * 64 + pop.get()).unwrap()).share();
        15.0 + 0.017 * self.at.km_to(earth().table.get(pop).unwrap().at) + 30.0 * detour * detour
    }

    /// It races all that are named.
    fn winner(&self, live: &Live) -> PopIndex {
        let map = &earth().map;
        let named = map.decide(map.cell(&self.client), self.key, live, earth().table.all()).ranked;
        named.iter().min_by(|a, b| self.rtt(*a).total_cmp(&self.rtt(*b))).unwrap()
    }

    fn first(&self, live: &Live) -> PopIndex {
        let map = &earth().map;
        map.decide(map.cell(&self.client), self.key, live, earth().table.all()).ranked.first().unwrap()
    }
}

/// How many of a crowd each PoP gets.
fn counts(people: &[Person], live: &Live, choose: fn(&Person, &Live) -> PopIndex) -> Vec<u32> {
    let mut counts = vec![0_u32; POPS];
    people.iter().for_each(|person| counts[choose(person, live).get()] += 1);
    counts
}

fn everybody_up() -> Live {
    Live::all(earth().table.all())
}

/// PoPs are built for what they get on other days and are four fifths full then. Today so many more come from one country that
/// the PoP of most of them is wanted by twice as many as it takes.
#[test]
fn a_region_at_twice_its_capacity_fills_no_pop_beyond_a_quarter_above_its_share() {
    for country in ["BR", "JP", "ZA"] {
        surge(country, "race", Person::winner);
        surge(country, "take the first", Person::first);
    }
}

fn surge(country: &str, how: &str, choose: fn(&Person, &Live) -> PopIndex) {
    let usual = crowd(CLIENTS * 19 / 20, 1, None);
    let natural = counts(&usual, &everybody_up(), choose);
    let capacity: Vec<u32> = natural.iter().map(|natural| (natural * 5 / 4).max(400)).collect();
    let sample = counts(&crowd(2_000, 2, Some(country)), &everybody_up(), choose);
    let home = (0..POPS).max_by_key(|pop| sample[*pop]).unwrap();
    let missing = (2 * capacity[home] - natural[home]) * 2_000 / sample[home];
    let more = crowd(usize::try_from(missing).unwrap(), 3, Some(country));
    let mut people: Vec<Person> = usual.iter().chain(&more).copied().collect();
    Dice::new(4).shuffle(&mut people);

    let mut network = Network::new(POPS);
    let mut sessions = [0_u32; POPS];
    let (mut extra, mut moved) = (0.0, 0_u32);
    for (second, coming) in (0..).zip(people.chunks(ARRIVALS)) {
        let now = Duration::from_secs(second);
        for index in 0..POPS {
            network.report(pop(index), report(sessions[index], capacity[index]), now);
        }
        let live = network.live(now);
        for person in coming {
            let (went, wanted) = (choose(person, &live), choose(person, &everybody_up()));
            network.sent(person.first(&live));
            sessions[went.get()] += 1;
            extra += person.rtt(went) - person.rtt(wanted);
            moved += u32::from(went != wanted);
        }
    }
    let all: u32 = sessions.iter().sum();
    let whole: u32 = capacity.iter().sum();
    let part = |index: usize| {
        let fair = f64::from(all) * f64::from(capacity[index]) / f64::from(whole);
        f64::from(sessions[index]) / fair
    };
    let id = |index: usize| earth().table.get(pop(index)).unwrap().id.as_str();
    let fullest = (0..POPS).max_by(|a, b| part(*a).total_cmp(&part(*b))).unwrap();
    let extra = extra / f64::from(all);
    println!(
        "{} is wanted by twice what it takes, clients {how}: {all} clients, {:.1} % go elsewhere, {extra:.2} ms more in the mean, \
         {:.2} of its fair share at most ({})",
        id(home),
        100.0 * f64::from(moved) / f64::from(all),
        part(fullest),
        id(fullest),
    );
    for index in 0..POPS {
        assert!(part(index) <= 1.25, "{}: {:.2} of its fair share", id(index), part(index));
    }
    assert!(extra < 15.0, "{extra} ms");
    assert!(
        sessions[home] * 10 > capacity[home] * 9,
        "what it takes it gets: {} of {}",
        sessions[home],
        capacity[home]
    );
}

#[test]
fn a_pop_that_comes_back_is_not_stampeded() {
    let people = crowd(5_000, 7, None);
    let natural = counts(&people, &everybody_up(), Person::winner);
    let back = (0..POPS).max_by_key(|pop| natural[*pop]).unwrap();
    let mut watch = Watch::new(3, 3);
    let mut alive = |now: u64, _: usize, pop: usize| pop != back || !(20_000..60_000).contains(&now);
    let mut shares = Vec::new();
    let mut returned = None;
    for second in 1..=180_u64 {
        watch.run(second * 1_000, &mut alive);
        if watch.changes.len() < 2 {
            continue;
        }
        let since = second - *returned.get_or_insert(second);
        let part = f64::from(counts(&people, &watch.live, Person::winner)[back]) / f64::from(natural[back]);
        shares.push((since, part));
    }
    let at = |since: u64| shares.iter().find(|(second, _)| *second == since).unwrap().1;
    println!(
        "slow start: {:.2} of its clients at once, {:.2} after 30 s, {:.2} after 60 s",
        at(0),
        at(30),
        at(62)
    );
    assert!(at(0) < 0.2 && (0.4..0.7).contains(&at(30)) && at(62) == 1.0);
    assert!(shares.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{shares:?}");
    assert_eq!(watch.changes.len(), 2);
}

#[test]
fn a_drain_holds_at_the_next_look_and_a_weight_is_a_share_of_clients() {
    let people = crowd(20_000, 9, None);
    let natural = counts(&people, &everybody_up(), Person::first);
    let busiest = (0..POPS).max_by_key(|pop| natural[*pop]).unwrap();
    let mut network = Network::new(POPS);
    let mut of = |order: Order| {
        network.order(pop(busiest), order);
        let live = network.live(Duration::from_secs(1));
        let of = |choose| counts(&people, &live, choose)[busiest];
        (of(Person::first), of(Person::winner))
    };
    let (whole, raced) = of(Order::default());
    assert_eq!(whole, natural[busiest]);
    let (half, raced_half) = of(Order { drained: false, weight: 0.5 });
    assert!((0.45..0.55).contains(&(f64::from(half) / f64::from(whole))), "{half} of {whole}");
    assert!(
        (0.45..0.55).contains(&(f64::from(raced_half) / f64::from(raced))),
        "{raced_half} of {raced}, raced"
    );
    assert_eq!(of(Order { drained: true, weight: 1.0 }), (0, 0));
    assert_eq!(of(Order { drained: false, weight: 0.0 }), (0, 0));
    assert_eq!(of(Order::default()), (whole, raced));
}
