//! What a welcome says about coming back after a crash.

use super::*;
use nearport_wire::body::Welcome;

fn window_ms(world: &mut World, port: u16) -> u32 {
    world.hello(port, Bytes::from_static(b"hello"));
    let frame = world.peers.get_mut(&port).unwrap().frames.pop().unwrap();
    assert_eq!(frame.kind, Kind::WELCOME);
    Welcome::decode(frame.body).unwrap().return_window_ms
}

fn world(admission: Admission) -> World {
    World::with(ServerLimits::default(), admission)
}

#[test]
fn a_welcome_says_how_long_the_sessions_that_there_are_need_to_come_back() {
    let mut world = world(Admission { returns_per_s: Some(8), ..Admission::default() });
    let windows: Vec<_> = (1..=4).map(|port| window_ms(&mut world, port)).collect();
    assert_eq!(windows, [0, 250, 375, 500], "a short one is not worth saying");
    let stats = world.shard.stats();
    assert_eq!((stats.sessions, stats.return_window_ms), (4, 625), "for the next that comes");
    // Who is gone does not come back.
    world.peers.get_mut(&1).unwrap().quic.close(world.now, VarInt::from_u32(1000), Bytes::new());
    world.run();
    assert_eq!(window_ms(&mut world, 5), 500);
}

/// What a PING brings: windows for coming back beside its PONG.
fn windows_beside_pong(world: &mut World, port: u16) -> Vec<u64> {
    world.send(port, Frame::new(Lane::Control, Kind::PING, 7, Bytes::new()));
    let mut frames = std::mem::take(&mut world.peers.get_mut(&port).unwrap().frames);
    assert_eq!((frames[0].kind, frames[0].id), (Kind::PONG, 7));
    frames.remove(0);
    let windows = frames.iter().map(|frame| {
        assert_eq!((frame.lane, frame.kind), (Lane::Control, Kind::RETURN_WINDOW));
        frame.id
    });
    windows.collect()
}

#[test]
fn a_crowd_that_grows_or_shrinks_is_told_beside_what_it_hears_anyway() {
    let mut world = world(Admission { returns_per_s: Some(8), ..Admission::default() });
    let a_second_later = |world: &mut World| {
        world.now += Duration::from_secs(1);
        world.shard.turn(world.now);
    };
    let windows: Vec<_> = (1..=6).map(|port| window_ms(&mut world, port)).collect();
    assert_eq!(windows[0], 0, "nobody else was there");
    a_second_later(&mut world);
    assert_eq!(world.take(1), [], "no packet for it alone");
    assert_eq!(windows_beside_pong(&mut world, 1), [750]);
    assert_eq!(windows_beside_pong(&mut world, 6), [0u64; 0], "it knows");
    assert_eq!(window_ms(&mut world, 7), 875);
    a_second_later(&mut world);
    assert_eq!(windows_beside_pong(&mut world, 1), [0u64; 0], "a sixth more is no news");
    assert_eq!(windows_beside_pong(&mut world, 2), [875]);
    // Beside any other frame too.
    world.send(3, Frame::new(Lane::Chat, Kind::ECHO, 1, Bytes::new()));
    let [session] = world.script.sessions()[2..3] else { panic!() };
    let body = Bytes::new();
    world.script.state().downs.push(Down::Reply {
        session,
        lane: Lane::Chat,
        kind: Kind::REPLY,
        id: 1,
        body,
    });
    world.run();
    assert_eq!(world.take(3), [Kind::REPLY, Kind::RETURN_WINDOW]);
    // Nobody is left who would come back.
    for port in 2..=7 {
        world.peers.get_mut(&port).unwrap().quic.close(world.now, VarInt::from_u32(1000), Bytes::new());
    }
    world.run();
    assert_eq!(windows_beside_pong(&mut world, 1), [0u64; 0], "not looked at twice in a second");
    a_second_later(&mut world);
    assert_eq!(windows_beside_pong(&mut world, 1), [0]);
}

#[test]
fn dear_handshakes_make_it_long_and_a_network_that_is_held_back_needs_its_own_time() {
    let mut world = world(Admission { limit_loopback: true, prefix_rate: 1_000, ..Admission::default() });
    assert_eq!(window_ms(&mut world, 1), 0);
    for _ in 0..1_000 {
        world.shard.handshakes_took(Duration::from_millis(150), 1);
    }
    let cost = world.shard.stats().handshake_cost_ns;
    assert!((19_900_000..=20_000_000).contains(&cost), "the most that is believed: {cost}");
    let window = world.shard.gate.return_window(100, None);
    assert_eq!(window.as_secs_f32().round(), 10.0, "{window:?}");

    let network = Admission { limit_loopback: true, prefix_rate: 2, ..Admission::default() };
    let mut gate = Gate::new(network, world.now);
    let [office, host] =
        [[192, 0, 2, 1], [127, 0, 0, 1]].map(|ip| (0..21).map(|_| gate.opened(ip.into())).last());
    assert_eq!(gate.return_window(1, office), Duration::from_millis(8_500), "21, of which 4 come at once");
    assert_eq!(gate.return_window(1, host), gate.return_window(1, office));
    let mut gate = Gate::new(Admission { limit_loopback: false, ..network }, world.now);
    let host = (0..21).map(|_| gate.opened([127, 0, 0, 1].into())).last();
    assert_eq!(gate.return_window(1, host), Duration::ZERO, "it is not held back");
}

#[test]
fn a_backend_that_refuses_says_when_to_come_back() {
    let mut world = world(Admission::default());
    world.login(1);
    let [session] = world.script.sessions()[..] else { panic!() };
    let (code, reason) = (CloseCode::BUSY, "70050 too many".to_owned());
    world.script.state().downs.push(Down::Reject { session, code, reason, retry_after_ms: 7_000 });
    world.run();
    let frame = world.peers.get_mut(&1).unwrap().frames.pop().unwrap();
    let close = body::Close::decode(frame.body).unwrap();
    assert_eq!((close.code, close.retry_after_ms), (CloseCode::BUSY.0, 7_000));
}
