//! Frames in datagrams.

use super::*;

fn send(id: u64) -> Frame {
    Frame::new(Lane::Chat, Kind::SEND, id, Bytes::from_static(b"hello"))
}

fn hedge(previous: u64, request: &Frame) -> Frame {
    Frame::new(Lane::Chat, Kind::HEDGE, previous, request.encode())
}

impl World {
    fn send_datagram(&mut self, port: u16, frame: &Frame) {
        let peer = self.peers.get_mut(&port).unwrap();
        peer.quic.datagrams().send(frame.encode(), false).unwrap();
        self.run();
    }

    /// Ids of the requests that went up.
    fn requests(&self) -> Vec<u64> {
        let state = self.script.state();
        state
            .ups
            .iter()
            .filter_map(|up| if let Up::Frame { id, .. } = up { Some(*id) } else { None })
            .collect()
    }
}

#[test]
fn an_online_only_push_comes_as_a_datagram_where_it_can() {
    let mut world = World::new(ServerLimits::default());
    world.login(1);
    let mut without = quinn_proto::TransportConfig::default();
    without.datagram_receive_buffer_size(None);
    world.client_config.transport_config(Arc::new(without));
    world.login(2);
    let long = |len| Down::Publish {
        topic: Topic::from(&b"all"[..]),
        lane: Lane::Live,
        kind: Kind::PUSH,
        id: 0,
        body: vec![7; len].into(),
        except: None,
    };
    world.script.state().downs.extend([publish(0, None), publish(1, None), long(3000)]);
    world.run();
    assert_eq!(world.take(1), [Kind::PUSH; 2], "one with a position, one too long");
    assert_eq!(world.peers[&1].datagrams.len(), 1);
    let frame = &world.peers[&1].datagrams[0];
    assert_eq!((frame.kind, frame.id, frame.body.len()), (Kind::PUSH, 0, 100));
    assert_eq!(world.take(2), [Kind::PUSH; 3]);
    let stats = world.shard.stats();
    assert_eq!((stats.pushes, stats.pushes_as_datagrams), (6, 1));
}

#[test]
fn a_hedge_brings_a_request_once_and_in_its_place() {
    let mut world = World::new(ServerLimits::default());
    world.login(1);
    world.send(1, send(1));
    world.send_datagram(1, &hedge(2, &send(3))); // overtakes 2
    world.send_datagram(1, &hedge(1, &send(2)));
    world.send_datagram(1, &hedge(1, &send(2)));
    world.send(1, send(2));
    world.send_datagram(1, &hedge(2, &send(3)));
    world.send(1, send(3));
    world.send(1, send(4));
    assert_eq!(world.requests(), [1, 2, 3, 4]);
    let stats = world.shard.stats();
    assert_eq!((stats.hedges_received, stats.hedges_used), (4, 2));
    assert_eq!(world.close_code(1), None);
}

#[test]
fn datagrams_before_the_welcome_are_nothing_and_an_online_message_needs_no_stream() {
    let mut world = World::new(ServerLimits::default());
    world.connect(1);
    world.send_datagram(1, &send(1));
    world.send_datagram(1, &Frame::new(Lane::Control, Kind::HELLO, 0, Bytes::new()));
    assert!(world.script.state().ups.is_empty());
    world.login(2);
    world.send_datagram(2, &send(9));
    assert_eq!(world.requests(), [9]);
    assert_eq!((world.close_code(1), world.close_code(2)), (None, None));
}

#[test]
fn a_flood_of_datagrams_costs_the_session_nothing() {
    let mut world = World::new(ServerLimits::default());
    world.login(1);
    let ping = Frame::new(Lane::Control, Kind::PING, 1, Bytes::new());
    let peer = world.peers.get_mut(&1).unwrap();
    for _ in 0..5_000 {
        peer.quic.datagrams().send(ping.encode(), true).unwrap();
    }
    world.run();
    assert!(!world.take(1).is_empty());
    assert_eq!(world.close_code(1), None);
}

/// A client that gets `count` pushes, 40 ms apart, and what became of them: pushes sent twice, and those of them that came
/// by datagram before they came on the stream.
fn pushes(world: &mut World, count: u64) -> (u64, usize) {
    world.login(1);
    for id in 1..=count {
        world.script.state().downs.push(publish(id, None));
        world.run();
        world.pass(Duration::from_millis(40));
        let peer = world.peers.get_mut(&1).unwrap();
        peer.quic.handle_timeout(world.now);
    }
    let peer = &world.peers[&1];
    assert!(peer.datagrams.iter().all(|frame| (frame.lane, frame.kind) == (Lane::Chat, Kind::PUSH)));
    (world.shard.stats().hedges_sent, peer.datagrams_first)
}

#[test]
fn while_the_path_loses_packets_pushes_are_sent_twice_and_otherwise_once() {
    let mut world = World::new(ServerLimits::default());
    assert_eq!(pushes(&mut world, 300), (0, 0), "nothing is lost");

    let mut world = World::new(ServerLimits::default());
    world.lost_one_in = 13;
    let (sent, first) = pushes(&mut world, 300);
    assert!(sent > 150, "{sent} of 300");
    assert!(first > 5, "{first} came by datagram first, because the stream's packet was lost");
    // The path is good again: after a while it stops.
    world.lost_one_in = 0;
    let count = |world: &mut World, ids| {
        let before = world.shard.stats().hedges_sent;
        for id in ids {
            world.script.state().downs.push(publish(id, None));
            world.run();
            world.pass(Duration::from_millis(40));
        }
        world.shard.stats().hedges_sent - before
    };
    count(&mut world, 301..900);
    assert_eq!(count(&mut world, 900..1000), 0);

    let mut world = World::new(ServerLimits { hedge_bytes_max: 0, ..ServerLimits::default() });
    world.lost_one_in = 13;
    assert_eq!(pushes(&mut world, 300), (0, 0), "it is off");
}

#[test]
fn a_copy_never_shares_the_packet_of_the_stream() {
    let mut world = World::new(ServerLimits::default());
    world.lost_one_in = 13;
    pushes(&mut world, 300);
    world.lost_one_in = 0;
    world.take(1);
    let frames = |world: &World| world.peers[&1].quic.stats().frame_rx;
    let before = frames(&world);
    world.script.state().downs.push(publish(301, None));
    world.run();
    assert_eq!(world.take(1), [Kind::PUSH]);
    assert_eq!(frames(&world).datagram, before.datagram, "the copy waits");
    world.pass(Duration::from_millis(20));
    assert_eq!(frames(&world).datagram, before.datagram + 1);
    assert_eq!(frames(&world).stream, before.stream + 1);
}
