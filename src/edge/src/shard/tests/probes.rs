//! Whether somebody is there.

use nearport_wire::probe::Probe;

use super::*;

fn from(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

#[test]
fn a_probe_is_answered_at_once_and_leaves_nothing_behind() {
    let mut world = World::new(ServerLimits::default());
    let probe = Probe::new([7; 16]);
    world.shard.handle_datagram(world.now, from(9), None, &probe.packet());
    assert!(!world.shard.has_work(), "it waits for no turn");
    let (to, answer) = world.shard.transmits().pop().expect("an answer");
    assert_eq!(to, from(9));
    assert!(Probe::answered(&answer) == Some(probe) && answer.len() < 64, "{answer:?}");
    assert!(world.shard.transmits().is_empty() && world.shard.is_empty());
    let stats = world.shard.stats();
    assert_eq!((stats.probes, stats.probes_dropped, stats.handshakes), (1, 0, 0));
}

#[test]
fn a_flood_of_probes_is_answered_as_far_as_the_socket_takes_it() {
    let mut world = World::new(ServerLimits::default());
    for _ in 0..2 {
        for port in 1..=100 {
            world.shard.handle_datagram(world.now, from(port), None, &Probe::new([1; 16]).packet());
        }
        assert_eq!(std::iter::from_fn(|| world.shard.transmits().pop()).count(), 64);
    }
    assert_eq!((world.shard.stats().probes, world.shard.stats().probes_dropped), (128, 72));
}

#[test]
fn a_draining_shard_answers_probes() {
    let mut world = World::new(ServerLimits::default());
    world.shard.drain(&Departure::default(), world.now);
    let probe = Probe::new([7; 16]);
    world.shard.handle_datagram(world.now, from(9), None, &probe.packet());
    assert!(world.shard.transmits().pop().is_some_and(|(_, answer)| Probe::answered(&answer) == Some(probe)));
}
