use std::time::Duration;

use super::*;

/// Twelve handshakes a second with proof, three without.
fn limits() -> Admission {
    Admission { prefix_rate: 12, prefix_connections_max: 3, handshakes_soft: 100, ..Admission::default() }
}

struct World {
    gate: Gate,
    now: Instant,
}

impl World {
    fn new(limits: Admission) -> Self {
        let now = Instant::now();
        Self { gate: Gate::new(limits, now), now }
    }

    fn offer(&mut self, ip: [u8; 4], port: u16, source: &[u8], has_token: bool) {
        let remote = SocketAddr::from((ip, port));
        self.gate.offer(
            self.now,
            remote,
            None,
            &[0; 1200],
            Initial { destination: &[7; 8], source, has_token },
        );
    }

    /// Ports of what one turn gives out.
    fn turn(&mut self, pressure: Pressure) -> Vec<u16> {
        self.gate.begin_turn(pressure);
        std::iter::from_fn(|| self.gate.take()).map(|waiting| waiting.remote.port()).collect()
    }

    /// What a beginning from here comes to, unless it is dropped before.
    fn verdict(&mut self, ip: [u8; 4], port: u16, load: Load, validated: bool) -> Option<Verdict> {
        self.offer(ip, port, &port.to_be_bytes(), validated);
        self.gate.begin_turn(Pressure::Idle);
        let waiting = self.gate.take()?;
        Some(self.gate.judge(self.now, &waiting, load, validated, !validated))
    }
}

const HERE: [u8; 4] = [192, 0, 2, 1];
const THERE: [u8; 4] = [198, 51, 100, 1];

#[test]
fn a_turn_takes_few_and_what_was_begun_first() {
    let mut world = World::new(Admission::default());
    for port in 1..=6 {
        world.offer(HERE, port, b"", false);
    }
    assert_eq!(world.turn(Pressure::Live), [1, 2]);
    // The second half of the hello of port 6 goes before the beginnings that wait.
    world.offer(HERE, 6, b"", false);
    assert_eq!(world.turn(Pressure::Backlog), [6]);
    assert_eq!(world.turn(Pressure::Idle), [3, 4, 5, 6]);
    assert!(!world.gate.has_work());
    assert_eq!(world.turn(Pressure::Idle), [0u16; 0]);
}

#[test]
fn the_queue_is_short_and_a_flood_of_beginnings_does_not_fill_that_of_the_begun() {
    let mut world = World::new(Admission { prefix_rate: 0, ..Admission::default() });
    for port in 0..1000 {
        world.offer(HERE, port, b"", false);
    }
    assert_eq!(world.gate.counts().queue_full, 1000 - 256);
    world.offer(HERE, 3, b"", false);
    assert_eq!(world.gate.counts().queue_full, 1000 - 256, "this one goes on");
    assert_eq!(world.turn(Pressure::Backlog), [3]);
}

#[test]
fn a_network_goes_without_proof_then_with_proof_and_then_not_at_all() {
    let mut world = World::new(limits());
    let load = Load::default();
    let mut verdicts = |ports: std::ops::Range<u16>, validated| {
        ports.map(|port| world.verdict(HERE, port, load, validated)).collect::<Vec<_>>()
    };
    assert_eq!(verdicts(0..6, false), [Some(Verdict::Accept); 6]);
    assert_eq!(verdicts(6..8, false), [Some(Verdict::Retry); 2]);
    let proved = verdicts(100..125, true);
    assert_eq!(proved[..24], [Some(Verdict::Accept); 24]);
    assert_eq!(proved[24..], [Some(Verdict::Ignore)]);
    // 27 looks so far, of 96.
    let noise = verdicts(200..400, false);
    assert_eq!(noise[..69], [Some(Verdict::Retry); 69]);
    assert_eq!(noise[69..], [None; 131], "dropped before anything is computed");
    assert_eq!(world.verdict(THERE, 1, load, false), Some(Verdict::Accept), "another network");
    world.now += Duration::from_secs(1);
    let mut verdicts = |ports: std::ops::Range<u16>, validated| {
        ports.map(|port| world.verdict(HERE, port, load, validated)).collect::<Vec<_>>()
    };
    assert_eq!(verdicts(500..504, false)[..3], [Some(Verdict::Accept); 3], "a second later");
    assert_eq!(verdicts(600..612, true), [Some(Verdict::Accept); 12]);
}

#[test]
fn many_beginnings_under_one_address_and_id_pay_each() {
    let mut world = World::new(limits());
    let mut verdicts = Vec::new();
    for _ in 0..40 {
        world.offer(HERE, 1, b"same", false);
        world.gate.begin_turn(Pressure::Idle);
        if let Some(waiting) = world.gate.take() {
            verdicts.push(world.gate.judge(world.now, &waiting, Load::default(), false, true));
        }
    }
    let accepted = verdicts.iter().filter(|verdict| **verdict == Verdict::Accept).count();
    assert_eq!(accepted, 6, "{verdicts:?}");
}

#[test]
fn soft_asks_for_proof_and_hard_ignores() {
    let mut world = World::new(Admission { prefix_rate: 0, ..limits() });
    let hard = world.gate.limits.handshakes_hard;
    for (handshakes, validated, verdict) in [
        (99, false, Verdict::Accept),
        (100, false, Verdict::Retry),
        (100, true, Verdict::Accept),
        (hard, false, Verdict::Ignore),
        (hard, true, Verdict::Ignore),
    ] {
        let load = Load { connections: 0, handshakes };
        assert_eq!(world.verdict(HERE, 1, load, validated), Some(verdict), "{handshakes} {validated}");
    }
    // A client that shows a token of ours for a second time cannot be asked again.
    world.offer(HERE, 9, b"", true);
    world.gate.begin_turn(Pressure::Idle);
    let waiting = world.gate.take().unwrap();
    let verdict = world.gate.judge(world.now, &waiting, Load::default(), false, false);
    assert_eq!(verdict, Verdict::Ignore);
}

#[test]
fn a_hello_of_two_datagrams_is_sent_one_retry_and_its_repetition_another() {
    let mut world = World::new(limits());
    let busy = Load { connections: 0, handshakes: 100 };
    let mut verdicts = |after_ms| {
        world.now += Duration::from_millis(after_ms);
        [(); 2].map(|()| world.verdict(HERE, 1, busy, false))
    };
    assert_eq!(verdicts(0), [Some(Verdict::Retry), Some(Verdict::Ignore)]);
    assert_eq!(verdicts(49), [Some(Verdict::Ignore); 2]);
    assert_eq!(verdicts(11), [Some(Verdict::Retry), Some(Verdict::Ignore)]);
    assert_eq!(world.verdict(HERE, 2, busy, false), Some(Verdict::Retry), "another client");
}

#[test]
fn who_was_sent_a_retry_is_not_let_in_without_it_though_there_is_room_again() {
    let mut world = World::new(limits());
    let busy = Load { connections: 0, handshakes: 100 };
    assert_eq!(world.verdict(HERE, 1, busy, false), Some(Verdict::Retry));
    let mut verdict = |after_ms, validated| {
        world.now += Duration::from_millis(after_ms);
        world.verdict(HERE, 1, Load::default(), validated)
    };
    assert_eq!(verdict(0, false), Some(Verdict::Ignore), "the other half of its hello");
    assert_eq!(verdict(1_000, false), Some(Verdict::Retry), "it was lost");
    assert_eq!(verdict(5, true), Some(Verdict::Accept));
}

#[test]
fn a_flow_whose_connection_is_not_found_begins_anew() {
    let mut world = World::new(limits());
    let remote = SocketAddr::from((HERE, 1));
    assert_eq!(world.verdict(HERE, 1, Load::default(), false), Some(Verdict::Accept));
    let source = 1u16.to_be_bytes();
    let is_let_in = |gate: &mut Gate| {
        gate.is_let_in(
            world.now,
            remote,
            Initial { destination: &[7; 8], source: &source, has_token: true },
            |_| true,
        )
    };
    assert!(is_let_in(&mut world.gate));
    world.gate.not_let_in(remote, &source);
    assert!(!is_let_in(&mut world.gate));
    assert_eq!(world.verdict(HERE, 1, Load::default(), true), Some(Verdict::Accept));
}

#[test]
fn connections_of_a_network_have_a_bound_on_every_transport() {
    let mut world = World::new(limits());
    let (load, ip) = (Load::default(), IpAddr::from(HERE));
    let opened: Vec<_> = (0..3).map(|_| world.gate.opened(ip)).collect();
    assert_eq!(world.verdict(HERE, 1, load, true), Some(Verdict::Ignore));
    assert_eq!(world.gate.accept_stream(world.now, Some(ip), load), Verdict::Ignore);
    assert_eq!(world.gate.accept_stream(world.now, Some(THERE.into()), load), Verdict::Accept);
    assert_eq!(world.gate.counts().prefix_full, 2);
    world.gate.closed(opened[0]);
    assert_eq!(world.gate.accept_stream(world.now, Some(ip), load), Verdict::Accept);
    opened[1..].iter().for_each(|prefix| world.gate.closed(*prefix));
    assert!(world.gate.connections.is_empty(), "nothing is kept of a network without connections");
}

#[test]
fn streams_pay_like_proved_handshakes() {
    let mut world = World::new(limits());
    let mut accept = |now| world.gate.accept_stream(now, Some(HERE.into()), Load::default());
    assert!((0..24).all(|_| accept(world.now) == Verdict::Accept));
    assert_eq!(accept(world.now), Verdict::Ignore);
    assert_eq!(accept(world.now + Duration::from_secs(1)), Verdict::Accept);
    let full = Load { connections: Admission::default().connections_max, handshakes: 0 };
    assert_eq!(world.gate.accept_stream(world.now, Some(THERE.into()), full), Verdict::Ignore);
}

#[test]
fn this_host_is_no_network_unless_it_is_told_so() {
    for (limit_loopback, accepted) in [(false, 100), (true, 24)] {
        let mut world = World::new(Admission { limit_loopback, ..limits() });
        let mut accept = || world.gate.accept_stream(world.now, Some([127, 0, 0, 1].into()), Load::default());
        assert_eq!((0..100).filter(|_| accept() == Verdict::Accept).count(), accepted);
    }
}
