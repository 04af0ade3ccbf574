//! Clients that are asked to leave.

use super::*;

#[test]
fn who_comes_in_late_is_asked_to_leave_too_and_a_drain_can_be_undone() {
    let mut world = World::new(ServerLimits::default());
    world.connect(1);
    let targets: Arc<[_]> = [body::Endpoint { address: "192.0.2.1:1".into(), ..Default::default() }].into();
    let departure = Departure { within: Duration::from_secs(8), targets: targets.clone(), accept: false };
    world.shard.drain(&departure, world.now);
    // Its handshake was done; its hello comes after the others were told, and gets the middle of what is left.
    world.send(1, Frame::new(Lane::Control, Kind::HELLO, 0, Bytes::new()));
    let away = body::GoAway::decode(world.peers[&1].frames[1].body.clone()).unwrap();
    assert_eq!((away.slot_ms, &away.targets[..]), (4000, &targets[..]));
    assert_eq!(world.take(1), [Kind::WELCOME, Kind::GO_AWAY]);

    world.shard.undrain();
    world.login(2);
    world.shard.drain(&Departure { accept: true, ..departure }, world.now);
    assert_eq!(world.take(2), [], "in a moment");
    world.run();
    assert_eq!(world.take(2), [Kind::GO_AWAY]);
    world.hello(3, Bytes::new());
    assert_eq!(world.take(3), [Kind::WELCOME, Kind::GO_AWAY], "it had begun here, it gets in");
}

#[test]
fn drain_spreads_the_clients_and_refuses_new_ones() {
    let mut world = World::new(ServerLimits::default());
    (1..=4).for_each(|port| world.login(port));
    let endpoint = |port: u16| body::Endpoint { address: format!("192.0.2.1:{port}"), ..Default::default() };
    let targets: Arc<[_]> = [endpoint(1), endpoint(2)].into();
    let departure = Departure { within: Duration::from_secs(8), targets: targets.clone(), accept: false };
    world.shard.drain(&departure, world.now);
    world.run();
    let mut slots: Vec<u32> = (1..=4)
        .map(|port| {
            let frame = world.peers.get_mut(&port).unwrap().frames.pop().unwrap();
            let away = body::GoAway::decode(frame.body).unwrap();
            assert_eq!(away.targets[..], targets[..]);
            away.slot_ms
        })
        .collect();
    slots.sort_unstable();
    assert_eq!(slots, [0, 2000, 4000, 6000]);
    world.connect(5);
    assert!(world.peers[&5].lost.is_some(), "refused");
    world.shard.close_all(&Closing::new(CloseCode::GOING_AWAY, "bye"));
    world.run();
    assert_eq!(world.close_code(4), Some(CloseCode::GOING_AWAY));
    assert_eq!(world.shard.stats().sessions, 0);
}
