//! What a session is: requests, pushes, rules and their ends, keys, panics, a backend without room.

use super::*;

#[test]
fn a_request_goes_up_undecoded_and_its_reply_comes_down() {
    let mut world = World::new(ServerLimits::default());
    world.login(1);
    world.send(1, request(5));
    let session = world.script.sessions()[0];
    let up = world.script.state().ups.pop();
    assert!(
        matches!(up, Some(Up::Frame { session: s, id: 5, kind: Kind::ECHO, body, .. }) if s == session && body == "body")
    );
    let reply = Down::Reply { session, lane: Lane::Chat, kind: Kind::REPLY, id: 5, body: Bytes::new() };
    world.script.state().downs.push(reply);
    world.run();
    assert_eq!(world.take(1), [Kind::REPLY]);
}

#[test]
fn a_publish_reaches_members_but_not_who_is_excepted_or_gone() {
    let mut world = World::new(ServerLimits::default());
    (1..=3).for_each(|port| world.login(port));
    let sessions = world.script.sessions();
    world.send(3, Frame::new(Lane::Control, Kind::CLOSE, 0, Bytes::new()));
    assert_eq!(world.script.closed(), [sessions[2]]);
    world.script.state().downs.push(publish(9, Some(sessions[0])));
    world.run();
    assert_eq!((world.take(1), world.take(2)), (vec![], vec![Kind::PUSH]));
    assert_eq!(world.shard.stats().sessions, 2);
}

#[test]
fn a_fan_out_larger_than_a_turn_reaches_everybody() {
    let mut world = World::new(ServerLimits::default());
    let ports = 1..=u16::try_from(FAN_OUT_PER_TURN + 40).unwrap();
    ports.clone().for_each(|port| world.login(port));
    let before = world.shard.stats().turns;
    world.script.state().downs.push(publish(1, None));
    world.run();
    assert!(ports.clone().all(|port| world.take(port) == [Kind::PUSH]));
    assert!(world.shard.stats().turns > before + 1, "more than one turn");
}

#[test]
fn each_broken_rule_closes_with_its_code_and_the_neighbour_lives_on() {
    let long = [&[0x80, 0x10, 0, 0][..], &[1, 0x20, 0]].concat(); // 2^20 bytes announced
    let cases: [(&[u8], CloseCode); 5] = [
        (&long, CloseCode::FRAME_TOO_LONG),
        (&[0, 9, 0x20, 0], CloseCode::BAD_FRAME),
        (&[0, 0, 0xee, 0], CloseCode::BAD_KIND),
        (&[0, 0, 0x01, 0], CloseCode::OUT_OF_TURN),
        (&[0, 0, 0x07, 0], CloseCode::BYE),
    ];
    let mut world = World::new(ServerLimits::default());
    world.login(99);
    for (port, (bytes, code)) in (1..).zip(cases) {
        world.login(port);
        world.send_raw(port, bytes);
        assert_eq!(world.take(port), [Kind::CLOSE], "{code}");
        assert_eq!(world.close_code(port), Some(code));
    }
    assert_eq!(world.script.closed().len(), cases.len(), "the backend hears of each");
    world.script.state().downs.push(publish(1, None));
    world.run();
    assert_eq!(world.take(99), [Kind::PUSH]);
}

#[test]
fn keys_are_updated_by_either_side_long_after_the_handshake() {
    let mut world = World::new(ServerLimits::default());
    world.login(1);
    for id in 0..3 {
        world.pass(Duration::from_secs(2)); // keys of the phase before are dropped
        crate::quic::drop_all_contexts();
        world.peers.get_mut(&1).unwrap().quic.force_key_update();
        world.send(1, Frame::new(Lane::Control, Kind::PING, id, Bytes::new()));
        assert_eq!(world.take(1), [Kind::PONG]);
        world.pass(Duration::from_secs(2));
        let session = world.script.sessions()[0];
        let (index, _) = world.shard.find(session).unwrap();
        world.shard.quic_mut(index).unwrap().quic.force_key_update();
        world.script.state().downs.push(publish(1, None));
        world.run();
        assert_eq!(world.take(1), [Kind::PUSH]);
    }
}

#[test]
fn half_a_frame_and_then_silence_ends_the_session_in_time() {
    let mut world = World::new(ServerLimits::default());
    world.login(1);
    world.send_raw(1, &[60, 1, 0x20]);
    world.pass(Duration::from_secs(9));
    assert_eq!(world.close_code(1), None);
    world.pass(Duration::from_secs(2));
    assert_eq!(world.close_code(1), Some(CloseCode::TIMEOUT));
}

#[test]
fn a_panic_costs_one_connection() {
    let mut world = World::new(ServerLimits::default());
    (1..=2).for_each(|port| world.login(port));
    let sessions = world.script.sessions();
    let (index, _) = world.shard.find(sessions[0]).unwrap();
    world.shard.conns.get_mut(index).unwrap().panic_in_read = true;
    world.send(1, request(1));
    world.script.state().downs.push(publish(1, None));
    world.run();
    assert_eq!((world.take(1), world.take(2)), (vec![], vec![Kind::PUSH]));
    assert_eq!(world.script.closed(), [sessions[0]]);
    let stats = world.shard.stats();
    assert_eq!((stats.panics, stats.sessions, stats.connections), (1, 1, 1));
    // The client's next packet belongs to a connection of ours that is dead: a reset tells it at once.
    world.peers.get_mut(&1).unwrap().quic.ping();
    world.run();
    assert!(matches!(world.peers[&1].lost, Some(quinn_proto::ConnectionError::Reset)));
}

#[test]
fn a_rotation_leaves_sessions_alone_and_their_resets_right() {
    let mut world = World::new(ServerLimits::default());
    for port in 1..=3 {
        world.login(port);
    }
    // Everybody lives on, whatever becomes of the secret their ids were made with.
    for epoch in 1..=3 {
        world.rotate(epoch);
        world.script.state().downs.push(publish(u64::from(epoch), None));
        world.run();
        assert!((1..=3).all(|port| world.take(port) == [Kind::PUSH]), "epoch {epoch}");
    }
    world.login(4);
    world.rotate(4);
    world.restart(2);
    for port in [1, 4] {
        world.peers.get_mut(&port).unwrap().quic.ping();
        world.run();
    }
    // Client 4 has ids of the epoch before: its reset is signed with that key. Nobody has the key of client 1's any
    // more, so nothing proves that they were ours.
    assert!(matches!(world.peers[&4].lost, Some(quinn_proto::ConnectionError::Reset)));
    assert!(world.peers[&1].lost.is_none());
}

#[test]
fn a_full_backend_answers_busy_and_no_close_is_lost() {
    let mut world = World::new(ServerLimits::default());
    world.login(1);
    world.login(2);
    let sessions = world.script.sessions();
    world.script.state().full = true;
    world.send(1, request(1));
    let peer = world.peers.get_mut(&1).unwrap();
    let error = peer.frames.pop().unwrap();
    assert_eq!((error.kind, error.id), (Kind::ERROR, 1));
    assert_eq!(body::Error::decode(error.body).unwrap().code, code::TOO_MANY_REQUESTS);
    let peer = world.peers.get_mut(&2).unwrap();
    peer.quic.close(world.now, VarInt::from_u32(0), Bytes::new());
    world.run();
    assert_eq!(world.script.closed(), [], "the close waits for room, without spinning");
    world.script.state().full = false;
    world.pass(UPS_RETRY);
    assert_eq!(world.script.closed(), [sessions[1]]);
}

#[test]
fn a_lost_publish_tells_every_session_to_sync() {
    let mut world = World::new(ServerLimits::default());
    world.login(1);
    world.script.state().lost = true;
    world.run();
    assert_eq!(world.take(1), [Kind::BEHIND]);
}
