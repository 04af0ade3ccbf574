//! Live rooms: rounds, and what they leave to others.

use super::*;

/// Whom the datagrams that wait are for, in order.
fn told(world: &mut World) -> Vec<u16> {
    let datagrams = std::iter::from_fn(|| world.shard.transmits().pop());
    let told: Vec<_> = datagrams.collect();
    for (to, datagram) in &told {
        world.peers.get_mut(&to.port()).unwrap().receive(world.now, datagram);
    }
    told.into_iter().map(|(to, _)| to.port()).collect()
}

#[test]
fn a_large_room_is_served_behind_a_message_for_one_a_few_members_a_turn() {
    let mut world = World::new(ServerLimits::default());
    let ports = 1..=150;
    ports.clone().for_each(|port| world.login(port));
    let session = world.script.sessions()[7];
    let reply = Down::Reply { session, lane: Lane::Chat, kind: Kind::REPLY, id: 9, body: Bytes::new() };
    world.script.state().downs.extend([live(0, 100), live(2, 100), reply]);
    world.shard.turn(world.now);
    assert_eq!(told(&mut world), [8], "who has an answer waits for nobody");
    world.shard.visit_rooms(world.now, false);
    assert_eq!(told(&mut world).len(), 16, "few, for somebody else was answered");
    world.run();
    for port in ports {
        let mut kinds = world.take(port);
        kinds.retain(|kind| *kind != Kind::REPLY);
        assert_eq!(kinds, [Kind::LIVE; 2], "{port}");
    }
    assert_eq!(world.shard.stats().pushes, 300);
    assert!(!world.shard.has_work());
}

#[test]
fn while_more_waits_to_be_read_a_room_gets_less_than_it_answers() {
    let mut world = World::new(ServerLimits::default());
    (1..=150).for_each(|port| world.login(port));
    world.script.state().downs.push(live(0, 100));
    world.shard.turn(world.now);
    world.shard.visit_rooms(world.now, true);
    assert_eq!(told(&mut world).len(), 8, "an eighth of what a turn reads");
    assert!(world.shard.has_work());
    world.run();
    assert!((1..=150).all(|port| world.take(port) == [Kind::LIVE]), "each once");
}

#[test]
fn who_leaves_or_comes_during_a_round_gets_what_is_for_it_and_the_others_all() {
    let mut world = World::new(ServerLimits::default());
    (1..=150).for_each(|port| world.login(port));
    world.pass(Duration::from_secs(1));
    world.script.state().downs.push(live(2, 100));
    world.shard.turn(world.now);
    world.shard.visit_rooms(world.now, false);
    let served = told(&mut world);
    assert_eq!(served.len(), 64);
    // The first in the list goes, and its place is taken by one that was served.
    let gone = world.script.sessions()[0];
    let (code, reason) = (CloseCode::KICKED, String::new());
    world.script.state().downs.push(Down::Kick { session: gone, code, reason });
    world.login(200);
    world.run();
    assert_eq!(world.take(1), [Kind::CLOSE]);
    assert!((2..=150).all(|port| world.take(port) == [Kind::LIVE]), "each once");
    assert_eq!(world.take(200), [], "it came after");
}

#[test]
fn a_slow_member_loses_likes_first_and_is_told_how_many() {
    let mut world = World::new(ServerLimits { live_bytes_max: 8_000, ..ServerLimits::default() });
    world.login(1);
    let (slow, _) = world.shard.find(world.script.sessions()[0]).unwrap();
    // Its packets vanish until QUIC takes no more, and a quarter of what may wait does.
    let gone = world.peers.remove(&1).unwrap();
    while world.shard.conns.get_mut(slow).unwrap().session.output_bytes() <= 2_000 {
        world.script.state().downs.push(live(0, 1_000));
        world.run();
    }
    let mut folded = |class| {
        let before = world.shard.stats();
        (0..8).for_each(|_| world.script.state().downs.push(live(class, 100)));
        world.run();
        world.shard.stats().pushes_folded - before.pushes_folded
    };
    assert_eq!([3, 2, 0].map(&mut folded), [8, 4, 0], "likes, chat, system");
    // It is back, and is told what it has not got.
    world.peers.insert(1, gone);
    world.pass(Duration::from_secs(20));
    let frames = std::mem::take(&mut world.peers.get_mut(&1).unwrap().frames);
    let told = frames.iter().map(|frame| match frame.kind {
        Kind::LIVE => (1, 0),
        Kind::FOLDED => (0, frame.id),
        kind => panic!("{kind:?}"),
    });
    let (came, told) = told.fold((0, 0), |sum, frame| (sum.0 + frame.0, sum.1 + frame.1));
    assert_eq!((came, told), (world.shard.stats().pushes, 12));
}

#[test]
fn a_shard_with_a_room_gives_way_to_those_who_answer_a_request() {
    let mut world = World::new(ServerLimits::default());
    (1..=150).for_each(|port| world.login(port));
    world.pass(Duration::from_secs(1));
    assert!(!world.shard.gives_way(world.now), "nothing goes round");
    world.script.state().downs.push(live(2, 100));
    world.shard.turn(world.now);
    assert!(world.shard.has_work() && !world.shard.gives_way(world.now), "nobody waits for anything");
    let session = world.script.sessions()[7];
    let reply = Down::Reply { session, lane: Lane::Chat, kind: Kind::REPLY, id: 9, body: Bytes::new() };
    world.script.state().downs.push(reply);
    world.shard.turn(world.now);
    assert!(world.shard.gives_way(world.now));
    assert!(!world.shard.gives_way(world.now + Duration::from_millis(50)));
    world.run();
    assert!(!world.shard.gives_way(world.now));
}

#[test]
fn where_others_want_the_core_too_a_room_beside_requests_has_pauses() {
    let mut world = World::new(ServerLimits::default());
    (1..=150).for_each(|port| world.login(port));
    world.pass(Duration::from_secs(1));
    let session = world.script.sessions()[7];
    let reply = Down::Reply { session, lane: Lane::Chat, kind: Kind::REPLY, id: 9, body: Bytes::new() };
    world.script.state().downs.extend([reply, live(2, 100)]);
    world.shard.turn(world.now);
    assert_eq!(told(&mut world), [8]);
    assert!(world.shard.gives_way(world.now));
    world.shard.gave_way(world.now, Duration::from_millis(1));
    world.shard.visit_rooms(world.now, false);
    assert_eq!(told(&mut world).len(), 16);
    assert!(!world.shard.has_work(), "there is time for others");
    let due = world.now + Duration::from_micros(500);
    assert_eq!((world.shard.poll_timeout(), world.shard.stats().room_pauses), (Some(due), 1));
    world.now = due - Duration::from_nanos(1);
    turn(&mut world.shard, world.now);
    assert_eq!(told(&mut world).len(), 0);
    world.now = due;
    turn(&mut world.shard, world.now);
    assert_eq!(told(&mut world).len(), 16);
    // It goes on by its own deadlines, and then at once: nobody asks for anything any more.
    world.pass(Duration::from_millis(10));
    assert!((1..=150).filter(|port| *port != 8).all(|port| world.take(port) == [Kind::LIVE]), "each once");
    assert_eq!(world.take(8), [Kind::REPLY, Kind::LIVE]);
}

#[test]
fn in_a_crowd_a_request_is_not_behind_what_a_room_answers() {
    let mut world = World::new(ServerLimits::default());
    (1..=150).for_each(|port| world.login(port));
    world.pass(Duration::from_secs(1));
    // Two that are no room's: an acknowledgement of one, or of a room's message, may wait for the next in any case.
    for id in 1..=2 {
        world.script.state().downs.push(publish(id, None));
        while world.shard.has_work() || !world.script.state().downs.is_empty() {
            turn(&mut world.shard, world.now);
            told(&mut world);
        }
    }
    // Acknowledgements may wait for 25 ms; what is not acknowledged is sent again after one more.
    world.now += Duration::from_micros(25_500);
    let request = Frame::new(Lane::Chat, Kind::ECHO, 9, vec![7; 50].into());
    let peer = world.peers.get_mut(&150).unwrap();
    peer.quic.send_stream(peer.stream.unwrap()).write(&request.encode()).unwrap();
    assert!(world.shard.settle_backlog(true), "the turn before has not read everything");
    for (port, peer) in &mut world.peers {
        peer.quic.handle_timeout(world.now);
        let mut datagram = Vec::new();
        while peer.quic.poll_transmit(world.now, 1, &mut datagram).is_some() {
            let from = SocketAddr::from(([127, 0, 0, 1], *port));
            world.shard.handle_datagram(world.now, from, None, &std::mem::take(&mut datagram));
        }
    }
    let (before, heard) = (world.shard.stats(), world.script.state().ups.len());
    assert_eq!((before.aside, before.datagrams_aside), (149, 149));
    assert!(world.shard.settle_backlog(false), "they wait here");
    world.shard.turn(world.now);
    assert_eq!(world.script.state().ups.len(), heard + 1, "the request came last");
    assert_eq!(world.shard.stats().aside, 149, "nobody waits for those");
    world.shard.take_aside(world.now);
    assert_eq!(world.shard.stats().aside, 149 - 15, "a small batch in all, beside a request");
    while world.shard.has_work() {
        world.shard.turn(world.now);
        world.shard.take_aside(world.now);
    }
    assert_eq!(world.shard.stats().aside, 0);
    assert!(!world.shard.settle_backlog(false));
    let answers = told(&mut world);
    assert!(answers.iter().all(|port| *port == 150), "{answers:?}");
    let sent = world.shard.stats().datagrams_out;
    world.pass(Duration::from_secs(5));
    let sent = world.shard.stats().datagrams_out - sent;
    assert!(sent <= 1, "the request is acknowledged, and nothing is sent again: {sent}");
}
