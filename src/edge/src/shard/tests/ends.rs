//! What the backend hears of how a session ended: its client has left, or may still be there.

use super::*;

impl Script {
    /// `lost_ms` of the sessions that ended since the last call.
    fn ends(&self) -> Vec<Option<u32>> {
        let mut ends = Vec::new();
        self.state().ups.retain(|up| match up {
            Up::Close { lost_ms, .. } => {
                ends.push(*lost_ms);
                false
            }
            _ => true,
        });
        ends
    }
}

#[test]
fn a_client_that_leaves_has_said_so() {
    let mut world = World::new(ServerLimits::default());
    type Leave = fn(&mut World, u16);
    let leaves: [Leave; 4] = [
        |world, port| world.send(port, Frame::new(Lane::Control, Kind::CLOSE, 0, Bytes::new())),
        |world, port| {
            let peer = world.peers.get_mut(&port).unwrap();
            peer.quic.close(world.now, VarInt::from_u32(1000), Bytes::new());
            world.run();
        },
        |world, port| {
            let peer = world.peers.get_mut(&port).unwrap();
            peer.quic.send_stream(peer.stream.unwrap()).finish().unwrap();
            world.run();
        },
        // It broke a rule: it does not come back by itself.
        |world, port| world.send(port, Frame::new(Lane::Control, Kind::HELLO, 0, Bytes::new())),
    ];
    for (port, leave) in (1..).zip(leaves) {
        world.login(port);
        leave(&mut world, port);
        assert_eq!(world.script.ends(), [None], "case {port}");
    }
}

#[test]
fn a_client_that_falls_silent_is_lost_and_one_in_a_browser_sooner() {
    let mut world = World::new(ServerLimits::default());
    world.login(1);
    world.pass(Duration::from_secs(74));
    assert_eq!(world.script.ends(), []);
    world.pass(Duration::from_secs(2));
    assert_eq!(world.script.ends(), [Some(75_000)]);

    // This one's QUIC gives a silent connection up after 30 s, as those of browsers do; its last frame is what counts.
    world.login_web(2);
    world.send(2, Frame::new(Lane::Control, Kind::PING, 1, Bytes::new()));
    world.pass(Duration::from_secs(29));
    assert_eq!(world.script.ends(), []);
    world.pass(Duration::from_secs(4));
    let ends = world.script.ends();
    assert!(matches!(ends[..], [Some(29_000..=33_000)]), "{ends:?}");
}

#[test]
fn a_server_that_breaks_off_tells_by_its_code() {
    for (code, lost) in [
        (CloseCode::GOING_AWAY, Some(0)),
        (CloseCode::SLOW, Some(0)),
        (CloseCode::BUSY, Some(0)),
        (CloseCode::KICKED, None),
        (CloseCode::UNAUTHORIZED, None),
        (CloseCode::ABUSE, None),
    ] {
        let mut world = World::new(ServerLimits::default());
        world.login(1);
        world.shard.close_all(&Closing::new(code, "test"));
        world.run();
        assert_eq!(world.script.ends(), [lost], "{code}");
    }
}

#[test]
fn the_next_backend_hears_the_platform_of_the_hello() {
    let mut world = World::new(ServerLimits::default());
    let identity = Identity { app: 1, user: "alice".into(), device: "a".into(), issued_s: 2, expires_s: 3 };
    world.script.state().identity = Some(identity);
    for (port, platform) in
        [(1, body::Platform::Iphone), (2, body::Platform::Web), (3, body::Platform::Other)]
    {
        let hello = body::Hello { user: "alice".into(), platform: platform as i32, ..body::Hello::default() };
        world.hello(port, hello.encode_to_vec().into());
    }
    let next = Script::default();
    world.shard.switch_link(Box::new(next.clone()), world.now);
    world.run();
    let platform = |up: &Up| match up {
        Up::Adopt { platform, .. } => *platform,
        other => panic!("{other:?}"),
    };
    let mut told: Vec<_> = next.state().ups.iter().map(platform).collect();
    told.sort_unstable();
    assert_eq!(told, [0, 2, 6]);
}

/// Who names no user is a guest, and those come in browsers.
#[test]
fn a_guest_over_another_transport_than_those_of_browsers_is_refused_at_the_edge() {
    let mut world = World::new(ServerLimits::default());
    let hello = body::Hello { platform: body::Platform::Web.into(), ..body::Hello::default() };
    world.hello(1, hello.encode_to_vec().into());
    assert_eq!(world.close_code(1), Some(CloseCode::UNAUTHORIZED));
    assert!(world.script.state().ups.is_empty(), "the backend never heard of it");
    let hello = body::Hello { user: "alice".into(), ..hello };
    world.hello(2, hello.encode_to_vec().into());
    assert_eq!(world.take(2), [Kind::WELCOME]);
}
