//! How connections begin, and how few of them when many want to.

use super::*;

/// The first datagram of a client that wants to begin.
fn initial(world: &World) -> Vec<u8> {
    let keys = Keys::derive(&[9; 32]);
    let mut endpoint = Endpoint::new(Arc::new(EndpointConfig::new(keys.reset_key())), None, false, None);
    let to = SocketAddr::from(([127, 0, 0, 1], 4433));
    let (_, mut quic) = endpoint.connect(world.now, world.client_config.clone(), to, "edge").unwrap();
    let mut datagram = Vec::new();
    let _ = quic.poll_transmit(world.now, 1, &mut datagram).unwrap();
    datagram
}

#[test]
fn a_hello_behind_the_last_handshake_message_does_not_overtake_it() {
    let mut world = World::new(ServerLimits::default());
    world.dial(1, world.client_config.clone());
    world.round_trip(1);
    // The client knows its keys now: what ends the handshake and the hello leave together, in two datagrams.
    let peer = world.peers.get_mut(&1).unwrap();
    let stream = peer.quic.streams().open(Dir::Bi).unwrap();
    let hello = Frame::new(Lane::Control, Kind::HELLO, 0, vec![0; 1_100].into()).encode();
    assert_eq!(peer.quic.send_stream(stream).write(&hello).unwrap(), hello.len());
    world.round_trip(1);
    assert_eq!(world.script.sessions().len(), 1);
}

#[test]
fn a_hello_of_which_one_half_was_sent_a_retry_begins_no_connection_with_the_other() {
    let mut world =
        World::with(ServerLimits::default(), Admission { handshakes_soft: 1, ..Admission::default() });
    world.dial(2, world.client_config.clone());
    world.round_trip(2);
    world.dial(1, world.client_config.clone());
    let [first, second] = [(); 2].map(|()| {
        let (mut datagram, now) = (Vec::new(), world.now);
        let quic = &mut world.peers.get_mut(&1).unwrap().quic;
        let _ = quic.poll_transmit(now, 1, &mut datagram).expect("a post-quantum key share takes two");
        datagram
    });
    let from = SocketAddr::from(([127, 0, 0, 1], 1));
    world.shard.handle_datagram(world.now, from, None, &first);
    world.shard.handshakes(world.now, false);
    assert_eq!((world.shard.stats().accepted, world.shard.stats().retries), (1, 1));
    let (_, retry) = world.shard.transmits().pop().unwrap();
    // There is room again before its other half comes.
    world.round_trip(2);
    world.round_trip(2);
    assert_eq!(world.shard.stats().handshakes, 0);
    world.shard.handle_datagram(world.now, from, None, &second);
    world.shard.handshakes(world.now, false);
    assert_eq!(world.shard.stats().accepted, 1);
    let now = world.now;
    world.peers.get_mut(&1).unwrap().receive(now, &retry);
    world.run();
    assert!(!world.peers[&1].quic.is_handshaking());
    assert_eq!(world.shard.stats().accepted, 2);
}

#[test]
fn what_no_client_sends_gets_no_answer() {
    let mut world = World::new(ServerLimits::default());
    let good = initial(&world);
    let mut version = good.clone();
    version[4] = 2;
    let mut negotiation = good.clone();
    negotiation[1..5].fill(0);
    let cases = [good[..1199].to_vec(), version, negotiation, vec![0xc0; 30], vec![], vec![0x40; 40]];
    for datagram in cases {
        world.shard.handle_datagram(world.now, SocketAddr::from(([192, 0, 2, 1], 5)), None, &datagram);
    }
    world.run();
    assert!(world.shard.transmits().is_empty());
    let stats = world.shard.stats();
    assert_eq!((stats.datagrams_out, stats.connections), (0, 0));
    assert_eq!((stats.gate.short, stats.gate.version, stats.gate.form), (1, 3, 1));
}

#[test]
fn a_flood_of_initials_costs_a_turn_a_few_and_live_sessions_are_answered_before() {
    let mut world = World::new(ServerLimits::default());
    world.login(1);
    let session = world.script.sessions()[0];
    for n in 0..2000u16 {
        // Each from a network of its own: only the budget of the turn stands in the way.
        let [high, low] = n.to_be_bytes();
        let from = SocketAddr::from(([10, high, low, 1], 9));
        let datagram = initial(&world);
        world.shard.handle_datagram(world.now, from, None, &datagram);
    }
    let peer = world.peers.get_mut(&1).unwrap();
    let stream = peer.stream.unwrap();
    peer.quic.send_stream(stream).write(&request(7).encode()).unwrap();
    let mut datagram = Vec::new();
    let _ = peer.quic.poll_transmit(world.now, 1, &mut datagram).unwrap();
    world.shard.handle_datagram(world.now, SocketAddr::from(([127, 0, 0, 1], 1)), None, &datagram);
    let reply = Down::Reply { session, lane: Lane::Chat, kind: Kind::REPLY, id: 7, body: Bytes::new() };
    world.script.state().downs.push(reply);

    world.shard.turn(world.now);
    let mut answered = Vec::new();
    while let Some((to, _)) = world.shard.transmits().pop() {
        answered.push(to.port());
    }
    assert_eq!(answered, [1], "the live one, and nobody before it");
    assert_eq!(world.shard.stats().accepted, 1);
    world.shard.handshakes(world.now, false);
    assert_eq!(world.shard.stats().accepted, 1 + 2, "two Initials in a turn that served somebody");
    world.shard.turn(world.now);
    world.shard.handshakes(world.now, true);
    assert_eq!(world.shard.stats().accepted, 1 + 2 + 1, "one while more waits in the socket");
    world.run();
    assert_eq!(world.shard.stats().accepted, 1 + 256, "the queue's worth; the rest would be repeated");
    assert_eq!(world.shard.stats().gate.queue_full, 2000 - 256);
}

#[test]
fn a_network_gives_its_connections_back() {
    let admission = Admission { prefix_connections_max: 2, limit_loopback: true, ..Admission::default() };
    let mut world = World::with(ServerLimits::default(), admission);
    (1..=2).for_each(|port| world.login(port));
    let datagram = initial(&world);
    let from = SocketAddr::from(([127, 0, 0, 1], 3));
    world.shard.handle_datagram(world.now, from, None, &datagram);
    world.run();
    let stats = world.shard.stats();
    assert_eq!((stats.accepted, stats.ignored, stats.gate.prefix_full), (2, 1, 1));
    world.send(1, Frame::new(Lane::Control, Kind::CLOSE, 0, Bytes::new()));
    world.pass(Duration::from_secs(3));
    assert_eq!(world.shard.stats().connections, 1);
    world.login(3);
}

#[test]
fn half_open_connections_are_gone_when_the_hello_is_due() {
    let mut world = World::new(ServerLimits::default());
    for n in 0..100 {
        let datagram = initial(&world);
        world.shard.handle_datagram(world.now, SocketAddr::from(([10, 0, n, 1], 9)), None, &datagram);
    }
    world.run();
    assert_eq!(world.shard.stats().handshakes, 100);
    world.pass(Duration::from_secs(11));
    assert_eq!(world.shard.stats().handshakes, 0);
    world.pass(Duration::from_secs(3));
    assert_eq!(world.shard.stats().connections, 0);
}

#[test]
fn a_client_that_pings_and_pings_is_sent_away_and_one_that_moves_is_not() {
    let mut world = World::new(ServerLimits::default());
    (1..=2).for_each(|port| world.login(port));
    for n in 0..1200 {
        world.peers.get_mut(&1).unwrap().quic.ping();
        if n % 40 == 0 {
            // As after a change of network: another connection id, and the old one is given back.
            world.peers.get_mut(&2).unwrap().quic.local_address_changed();
            world.send(2, request(n));
        }
        world.run();
        world.now += Duration::from_millis(1);
    }
    assert_eq!(world.close_code(1), Some(CloseCode::ABUSE));
    assert_eq!(world.close_code(2), None);
    assert_eq!(world.shard.stats().abuses, 1);
}

#[test]
fn clients_are_asked_once_to_acknowledge_soon_or_not_at_all() {
    let mut world = World::new(ServerLimits::default());
    for (ack_delay, asked) in [(Duration::from_millis(10), 1), (Duration::ZERO, 0)] {
        world.set_ack_delay(ack_delay);
        world.login(1);
        assert_eq!(world.peers[&1].quic.stats().frame_rx.ack_frequency, asked, "{ack_delay:?}");
    }
}
