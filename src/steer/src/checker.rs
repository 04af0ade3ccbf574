//! Who is checked when, and what came of it. Pure: time and randomness come in, datagrams and connections go out as [`Action`]s.
//!
//! Each PoP is asked once a second, all at different moments, whether it is there ([`nearport_wire::probe`]). What does not answer within
//! [`ANSWER_MAX`] has failed, and is asked again at once, at its next address: a PoP that has died has failed three times within
//! 3.1 seconds, wherever in its second it died. Where QUIC was never heard, because it is off there or UDP does not pass, a TCP connection
//! that comes up counts as an answer. Where it was heard before, it does not: the kernel of a host whose edge hangs takes connections.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use nearport_wire::probe::Probe;

/// How often each PoP is checked.
pub const EVERY: Duration = Duration::from_secs(1);

/// An answer that takes longer counts as none: twice the longest round trips on earth.
pub const ANSWER_MAX: Duration = Duration::from_millis(700);

/// A PoP as it is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its name.
    pub pop: String,
    /// It speaks QUIC.
    pub udp: bool,
    /// Where; none: its name was not found. Nothing is said about a PoP that never had one.
    pub addresses: Vec<SocketAddr>,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Send [`Probe::packet`].
    Probe {
        /// Where to.
        to: SocketAddr,
        /// Which.
        probe: Probe,
    },
    /// Connect, and say with [`Checker::connected`] if it worked; then close it.
    Connect {
        /// Where to.
        to: SocketAddr,
        /// For the answer.
        ticket: u64,
    },
}

/// A check that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Of which PoP.
    pub pop: String,
    /// At which of its addresses.
    pub at: SocketAddr,
    /// How long the answer took; `None`: it did not come.
    pub rtt: Option<Duration>,
}

#[derive(Debug)]
struct Watched {
    place: Place,
    /// Which of its addresses.
    at: usize,
    /// QUIC was heard from it.
    heard: bool,
    due: Duration,
    /// The last check, and whether nothing has come of it yet.
    last: Option<Check>,
    waiting: bool,
}

#[derive(Debug, Clone, Copy)]
struct Check {
    since: Duration,
    to: SocketAddr,
    probe: Option<Probe>,
    ticket: Option<u64>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Checker {
    watched: BTreeMap<String, Watched>,
    tickets: u64,
    outcomes: Vec<Outcome>,
}

impl Checker {
    /// Checks these from now on. A PoP that has an address of before is not disturbed: what is known of it stays, and so does the
    /// address that is asked. One without any, since its name was not found this time, is checked where it was.
    pub fn watch(&mut self, places: Vec<Place>, now: Duration) {
        let mut former = std::mem::take(&mut self.watched);
        let count = u32::try_from(places.len().max(1)).unwrap_or(u32::MAX);
        for (number, place) in (0_u32..).zip(places) {
            let pop = place.pop.clone();
            let kept = former.remove(&pop).and_then(|watched| watched.moved_to(&place));
            let fresh = || Watched {
                place,
                at: 0,
                heard: false,
                // Spread over the second, so that they do not go out in one burst.
                due: now + EVERY * number / count,
                last: None,
                waiting: false,
            };
            self.watched.insert(pop, kept.unwrap_or_else(fresh));
        }
    }

    /// Does what is due. `random` gives sixteen octets that nobody can guess.
    pub fn poll(&mut self, now: Duration, mut random: impl FnMut() -> [u8; 16], actions: &mut Vec<Action>) {
        let Self { watched, tickets, outcomes } = self;
        for watched in watched.values_mut() {
            if let Some(check) = watched.last
                && watched.waiting
                && now >= check.since + ANSWER_MAX
            {
                outcomes.push(watched.over(check, None));
                watched.at = (watched.at + 1) % watched.place.addresses.len().max(1);
                watched.due = now;
            }
            if watched.waiting || now < watched.due {
                continue;
            }
            // From when it was due, so that the rhythm stays; after a pause of the process it begins anew.
            let next = watched.due + EVERY;
            watched.due = if next > now { next } else { now + EVERY };
            let Some(to) = watched.place.addresses.get(watched.at).copied() else { continue };
            let probe = watched.place.udp.then(|| Probe::new(random()));
            let ticket = (!watched.heard).then(|| {
                *tickets += 1;
                *tickets
            });
            watched.last = Some(Check { since: now, to, probe, ticket });
            watched.waiting = true;
            actions.extend(probe.map(|probe| Action::Probe { to, probe }));
            actions.extend(ticket.map(|ticket| Action::Connect { to, ticket }));
        }
    }

    /// A datagram came. Only an answer to the last probe of a PoP, from where that was sent, counts.
    pub fn answered(&mut self, from: SocketAddr, datagram: &[u8], now: Duration) {
        let Some(answered) = Probe::answered(datagram) else { return };
        let ours = |check: &Check| {
            check.probe == Some(answered) && same(check.to, from) && now < check.since + ANSWER_MAX
        };
        let Some((watched, check)) = self.of(ours) else { return };
        watched.heard = true;
        // A connection may have been faster.
        if watched.waiting {
            let outcome = watched.over(check, Some(now));
            self.outcomes.push(outcome);
        }
    }

    /// A connection is there, or is not.
    pub fn connected(&mut self, ticket: u64, worked: bool, now: Duration) {
        let ours = |check: &Check| check.ticket == Some(ticket) && now < check.since + ANSWER_MAX;
        let Some((watched, check)) = self.of(ours) else { return };
        // One that failed leaves the check to its probe, or to its time.
        if watched.waiting && worked {
            let outcome = watched.over(check, Some(now));
            self.outcomes.push(outcome);
        }
    }

    /// The PoP whose last check is `ours`.
    fn of(&mut self, ours: impl Fn(&Check) -> bool) -> Option<(&mut Watched, Check)> {
        self.watched.values_mut().find_map(|watched| {
            let check = watched.last.filter(|check| ours(check))?;
            Some((watched, check))
        })
    }

    /// What has come of checks since the last call.
    pub fn outcomes(&mut self) -> Vec<Outcome> {
        std::mem::take(&mut self.outcomes)
    }

    /// When [`Self::poll`] has something to do.
    #[must_use]
    pub fn next(&self) -> Option<Duration> {
        let at = |watched: &Watched| match watched.last.filter(|_| watched.waiting) {
            Some(check) => check.since + ANSWER_MAX,
            None => watched.due,
        };
        self.watched.values().map(at).min()
    }
}

impl Watched {
    /// The same PoP at the addresses that it has now, whatever order they come in; `None` if there is nothing to keep.
    fn moved_to(mut self, place: &Place) -> Option<Self> {
        if self.place.udp != place.udp {
            return None;
        }
        if place.addresses.is_empty() {
            return Some(self);
        }
        if !self.place.addresses.iter().any(|address| place.addresses.contains(address)) {
            return None;
        }
        let asked = self.place.addresses.get(self.at);
        self.at = place.addresses.iter().position(|address| Some(address) == asked).unwrap_or(0);
        self.place.addresses.clone_from(&place.addresses);
        Some(self)
    }

    /// The end of the check under way: an answer at this time, or none.
    fn over(&mut self, check: Check, answered: Option<Duration>) -> Outcome {
        self.waiting = false;
        let rtt = answered.map(|at| at.saturating_sub(check.since));
        Outcome { pop: self.place.pop.clone(), at: check.to, rtt }
    }
}

/// Whether two addresses are one: a socket for both families shows IPv4 in IPv6.
fn same(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port() && a.ip().to_canonical() == b.ip().to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nearport_wire::probe;
    use proptest::prelude::*;

    const STEP: Duration = Duration::from_millis(10);

    /// What a PoP does at a time: answers probes, takes connections.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    enum Pop {
        Well,
        /// Its process is gone: nothing answers, connections are refused.
        Dead,
        /// Its process hangs: the kernel takes connections.
        Hung,
        /// UDP does not pass.
        TcpOnly,
    }

    struct World {
        checker: Checker,
        now: Duration,
        random: u8,
        /// Datagrams and connections under way: when, from where, what.
        coming: Vec<(Duration, SocketAddr, Option<Vec<u8>>, u64)>,
        rtt: Duration,
        sent: Vec<(Duration, Action)>,
        outcomes: Vec<(Duration, Outcome)>,
    }

    impl World {
        fn new(places: Vec<Place>, rtt_ms: u64) -> Self {
            let mut checker = Checker::default();
            checker.watch(places, Duration::ZERO);
            Self {
                checker,
                now: Duration::ZERO,
                random: 0,
                coming: Vec::new(),
                rtt: Duration::from_millis(rtt_ms),
                sent: Vec::new(),
                outcomes: Vec::new(),
            }
        }

        fn run(&mut self, until_ms: u64, pop: &dyn Fn(SocketAddr, Duration) -> Pop) {
            while self.now < Duration::from_millis(until_ms) {
                let mut actions = Vec::new();
                let random = &mut self.random;
                let dice = || {
                    *random = random.wrapping_add(1);
                    [*random; 16]
                };
                self.checker.poll(self.now, dice, &mut actions);
                for action in actions {
                    self.sent.push((self.now, action));
                    let at = self.now + self.rtt;
                    match action {
                        Action::Probe { to, probe } if pop(to, self.now) == Pop::Well => {
                            let mut answer = Vec::new();
                            assert!(probe::answer(&probe.packet(), &mut answer));
                            self.coming.push((at, to, Some(answer), 0));
                        }
                        Action::Connect { to, ticket } if pop(to, self.now) != Pop::Dead => {
                            self.coming.push((at, to, None, ticket));
                        }
                        Action::Connect { ticket, .. } => self.checker.connected(ticket, false, self.now),
                        Action::Probe { .. } => {}
                    }
                }
                self.now += STEP;
                let now = self.now;
                let (due, later) =
                    std::mem::take(&mut self.coming).into_iter().partition(|(at, ..)| *at <= now);
                self.coming = later;
                let due: Vec<(Duration, SocketAddr, Option<Vec<u8>>, u64)> = due;
                for (_, from, datagram, ticket) in due {
                    match datagram {
                        Some(datagram) => self.checker.answered(from, &datagram, now),
                        None => self.checker.connected(ticket, true, now),
                    }
                }
                self.outcomes.extend(self.checker.outcomes().into_iter().map(|outcome| (now, outcome)));
            }
        }

        fn good(&self) -> Vec<bool> {
            self.outcomes.iter().map(|(_, outcome)| outcome.rtt.is_some()).collect()
        }
    }

    fn address(number: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, number], 4433))
    }

    fn place(number: u8) -> Place {
        Place { pop: format!("pop-{number:02}"), udp: true, addresses: vec![address(number)] }
    }

    #[test]
    fn each_pop_is_checked_once_a_second_and_not_all_at_once() {
        let mut world = World::new((0..32).map(place).collect(), 40);
        world.run(10_010, &|_, _| Pop::Well);
        assert_eq!(world.outcomes.len(), 320);
        assert!(world.outcomes.iter().all(|(_, outcome)| outcome.rtt == Some(Duration::from_millis(40))));
        let probes = world.sent.iter().filter(|(_, action)| matches!(action, Action::Probe { .. }));
        let connects = world.sent.len() - probes.clone().count();
        assert_eq!(connects, 32, "a PoP that was heard over QUIC is not asked over TCP");
        let mut bursts = std::collections::BTreeMap::new();
        probes.for_each(|(at, _)| *bursts.entry(*at).or_insert(0) += 1);
        assert!(bursts.values().all(|count| *count <= 2), "{bursts:?}");
    }

    #[test]
    fn a_dead_pop_has_failed_three_times_within_3100_ms_wherever_in_its_second_it_died() {
        for kind in [Pop::Dead, Pop::Hung] {
            for died_ms in (5_000..6_000).step_by(70) {
                let mut world = World::new(vec![place(1)], 300);
                let died = Duration::from_millis(died_ms);
                world.run(9_000, &|_, now| if now < died { Pop::Well } else { kind });
                let third = world.outcomes.iter().filter(|(_, outcome)| outcome.rtt.is_none()).nth(2);
                let (at, _) = third.expect("three failures");
                assert!(*at <= died + Duration::from_millis(3_110), "{kind:?} {died_ms}: {at:?}");
            }
        }
    }

    #[test]
    fn a_pop_without_udp_counts_by_its_connections() {
        let mut world = World::new(vec![place(1)], 20);
        world.run(5_000, &|_, now| if now.as_secs() < 3 { Pop::TcpOnly } else { Pop::Dead });
        assert_eq!(world.good()[..3], [true; 3]);
        assert!(world.good()[3..].len() >= 2 && world.good()[3..].iter().all(|good| !good));
        // One that speaks no QUIC is not asked in it.
        let mut world = World::new(vec![Place { udp: false, ..place(1) }], 20);
        world.run(3_000, &|_, _| Pop::Well);
        assert!(world.sent.iter().all(|(_, action)| matches!(action, Action::Connect { .. })));
        assert_eq!(world.good(), [true; 3]);
    }

    #[test]
    fn after_a_failure_the_next_address_is_asked_and_kept_while_it_answers() {
        let both = Place { addresses: vec![address(1), address(2)], ..place(1) };
        let mut world = World::new(vec![both], 20);
        world.run(4_000, &|to, _| if to == address(1) { Pop::Dead } else { Pop::Well });
        assert_eq!(world.good(), [false, true, true, true, true]);
    }

    #[test]
    fn only_the_answer_to_the_last_probe_from_where_it_went_counts() {
        let mut checker = Checker::default();
        checker.watch(vec![place(1)], Duration::ZERO);
        let mut actions = Vec::new();
        checker.poll(Duration::ZERO, || [9; 16], &mut actions);
        let mut answer = Vec::new();
        assert!(probe::answer(&Probe::new([9; 16]).packet(), &mut answer));
        let mut forged = Vec::new();
        assert!(probe::answer(&Probe::new([8; 16]).packet(), &mut forged));
        checker.answered(address(1), &forged, STEP);
        checker.answered(address(2), &answer, STEP);
        checker.answered(address(1), b"noise", STEP);
        checker.connected(77, true, STEP);
        assert_eq!(checker.outcomes(), []);
        checker.answered(address(1), &answer, STEP);
        checker.answered(address(1), &answer, STEP);
        assert_eq!(checker.outcomes().len(), 1, "once");
        // Too late is not at all.
        checker.poll(EVERY, || [10; 16], &mut actions);
        let mut late = Vec::new();
        assert!(probe::answer(&Probe::new([10; 16]).packet(), &mut late));
        checker.answered(address(1), &late, EVERY + ANSWER_MAX);
        assert_eq!(checker.outcomes(), []);
    }

    #[test]
    fn what_stays_in_the_table_is_not_disturbed_and_what_has_no_address_yet_says_nothing() {
        let mut world = World::new(vec![place(1), Place { addresses: Vec::new(), ..place(2) }], 20);
        world.run(2_500, &|_, _| Pop::Well);
        assert_eq!(world.outcomes.len(), 3);
        world.checker.watch(vec![place(1), place(3)], world.now);
        let connects = |world: &World| {
            world
                .sent
                .iter()
                .filter(|(_, a)| matches!(a, Action::Connect { to, .. } if *to == address(1)))
                .count()
        };
        world.run(5_500, &|_, _| Pop::Well);
        assert_eq!(connects(&world), 1, "it is still known to speak QUIC");
        assert!(world.outcomes.iter().any(|(_, outcome)| outcome.pop == "pop-03"));
        world.checker.watch(Vec::new(), world.now);
        assert_eq!(world.checker.next(), None);
    }

    /// Two addresses, in either order.
    fn both(turned: bool) -> Place {
        let addresses = if turned { [address(2), address(1)] } else { [address(1), address(2)] };
        Place { addresses: addresses.to_vec(), ..place(1) }
    }

    #[test]
    fn addresses_in_another_order_change_nothing() {
        let mut world = World::new(vec![both(false)], 20);
        world.run(3_500, &|_, _| Pop::Well);
        world.checker.watch(vec![both(true)], world.now);
        world.run(6_500, &|_, _| Pop::Well);
        assert!(world.outcomes.iter().all(|(_, outcome)| outcome.at == address(1)), "{:?}", world.outcomes);
        let connects = world.sent.iter().filter(|(_, action)| matches!(action, Action::Connect { .. }));
        assert_eq!(connects.count(), 1, "it is still known to speak QUIC");
        // It hangs: whatever order its addresses come in, connections that its kernel takes are no answers.
        for turn in 7..12_u64 {
            world.checker.watch(vec![both(turn % 2 == 0)], world.now);
            world.run(turn * 1_000, &|_, _| Pop::Hung);
        }
        let late = world.outcomes.iter().filter(|(at, _)| *at > Duration::from_millis(7_300));
        assert!(
            late.clone().count() > 3 && late.clone().all(|(_, outcome)| outcome.rtt.is_none()),
            "{late:?}"
        );
        // One of the two goes, and another one comes.
        let next = Place { addresses: vec![address(2), address(3)], ..place(1) };
        world.checker.watch(vec![next], world.now);
        let before = world.sent.len();
        world.run(15_000, &|_, _| Pop::Hung);
        let asked = &world.sent[before..];
        assert!(asked.iter().all(|(_, action)| matches!(action, Action::Probe { .. })), "{asked:?}");
        assert!(asked.iter().any(|(_, a)| matches!(a, Action::Probe { to, .. } if *to == address(3))));
        // What has no address of before may be another host altogether.
        world.checker.watch(vec![Place { addresses: vec![address(4)], ..place(1) }], world.now);
        world.run(17_500, &|_, _| Pop::TcpOnly);
        assert!(world.good().ends_with(&[true, true]), "{:?}", world.good());
    }

    #[test]
    fn a_name_that_is_not_found_for_a_while_is_checked_where_it_was() {
        let mut world = World::new(vec![both(false)], 20);
        world.run(2_500, &|_, _| Pop::Well);
        world.checker.watch(vec![Place { addresses: Vec::new(), ..place(1) }], world.now);
        world.run(4_500, &|_, _| Pop::Well);
        assert_eq!(world.good(), [true; 5]);
        world.run(8_500, &|_, _| Pop::Hung);
        assert!(world.good().ends_with(&[false; 4]), "{:?}", world.good());
        world.checker.watch(vec![both(true)], world.now);
        world.run(12_500, &|_, _| Pop::Hung);
        assert!(world.good().ends_with(&[false; 7]), "{:?}", world.good());
    }

    proptest! {
        /// Whatever the network does: no check without an end, no PoP forgotten, none asked more often than its bound.
        #[test]
        fn checks_go_on_whatever_comes_back(
            states in proptest::collection::vec(0..4_u8, 40), rtt_ms in 0..1_500_u64, pops in 1..5_u8,
        ) {
            let mut world = World::new((0..pops).map(place).collect(), rtt_ms);
            let state = |to: SocketAddr, now: Duration| {
                let octet = match to.ip() { std::net::IpAddr::V4(ip) => ip.octets()[3], std::net::IpAddr::V6(_) => 0 };
                match states[(usize::try_from(now.as_secs()).unwrap() * 7 + usize::from(octet)) % states.len()] {
                    0 => Pop::Well,
                    1 => Pop::Dead,
                    2 => Pop::Hung,
                    _ => Pop::TcpOnly,
                }
            };
            world.run(20_000, &state);
            for pop in 0..pops {
                let count = world.outcomes.iter().filter(|(_, outcome)| outcome.pop == place(pop).pop).count();
                prop_assert!((18..=30).contains(&count), "{pop}: {count}");
            }
            prop_assert!(world.checker.next().is_some_and(|next| next <= world.now + EVERY));
        }
    }
}
