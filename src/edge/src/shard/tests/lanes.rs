//! Lanes on streams of their own.

use super::*;

fn sync(id: u64) -> Frame {
    Frame::new(Lane::Bulk, Kind::SYNC, id, Bytes::new())
}

fn reply(session: SessionId, lane: Lane, id: u64, len: usize) -> Down {
    Down::Reply { session, lane, kind: Kind::REPLY, id, body: vec![7; len].into() }
}

#[test]
fn a_lane_with_a_stream_of_its_own_is_answered_there() {
    let mut world = World::new(ServerLimits::default());
    world.login(1);
    let session = world.script.sessions()[0];
    let side = world.open_stream(1);
    world.send_on(1, side, &sync(5).encode());
    world.script.state().downs.extend([reply(session, Lane::Bulk, 5, 10), reply(session, Lane::Chat, 6, 10)]);
    world.run();
    let on = |world: &World, stream| world.peers[&1].decoders.contains_key(&stream);
    assert!(on(&world, side));
    assert_eq!(world.take(1), [Kind::REPLY, Kind::REPLY]);
    // The client ends its half: the server ends its own, and the lane is back on the main stream.
    world.peers.get_mut(&1).unwrap().quic.send_stream(side).finish().unwrap();
    world.run();
    assert_eq!(world.peers.get_mut(&1).unwrap().quic.streams().send_streams(), 1);
    world.peers.get_mut(&1).unwrap().decoders.remove(&side);
    world.script.state().downs.push(reply(session, Lane::Bulk, 7, 10));
    world.run();
    assert_eq!(world.take(1), [Kind::REPLY]);
    assert!(!on(&world, side));
    // And it may have another stream, as often as it likes.
    for id in 8..40 {
        let side = world.open_stream(1);
        world.send_on(1, side, &sync(id).encode());
        world.peers.get_mut(&1).unwrap().quic.send_stream(side).finish().unwrap();
        world.run();
    }
    assert_eq!(world.script.state().ups.len(), 1 + 1 + 32);
    assert_eq!(world.close_code(1), None);
}

#[test]
fn each_misuse_of_a_stream_closes_with_its_code() {
    let control = Frame::new(Lane::Control, Kind::PING, 1, Bytes::new());
    let chat = Frame::new(Lane::Chat, Kind::SEND, 1, Bytes::new());
    let cases: [(&[&[Frame]], CloseCode); 3] = [
        (&[&[control]], CloseCode::BAD_STREAM),
        (&[&[sync(1)], &[sync(2)]], CloseCode::BAD_STREAM),
        (&[&[sync(1), chat]], CloseCode::BAD_STREAM),
    ];
    let mut world = World::new(ServerLimits::default());
    for (port, (streams, code)) in (1..).zip(cases) {
        world.login(port);
        for frames in streams {
            let side = world.open_stream(port);
            frames.iter().for_each(|frame| world.send_on(port, side, &frame.encode()));
        }
        assert_eq!(world.close_code(port), Some(code), "case {port}");
    }
    world.login(9);
    let peer = world.peers.get_mut(&9).unwrap();
    let uni = peer.quic.streams().open(Dir::Uni).unwrap();
    peer.quic.send_stream(uni).write(b"x").unwrap();
    world.run();
    assert_eq!(world.close_code(9), Some(CloseCode::BAD_STREAM));
}

#[test]
fn the_end_of_the_main_stream_ends_the_session_and_that_of_a_side_stream_does_not() {
    let mut world = World::new(ServerLimits::default());
    type End = fn(&mut Connection, StreamId);
    let cases: [(End, CloseCode); 3] = [
        (|quic, id| quic.send_stream(id).finish().unwrap(), CloseCode::BYE),
        (|quic, id| quic.send_stream(id).reset(VarInt::from_u32(0)).unwrap(), CloseCode::LOST),
        (|quic, id| quic.recv_stream(id).stop(VarInt::from_u32(0)).unwrap(), CloseCode::LOST),
    ];
    for (port, (end, code)) in (1..).zip(cases) {
        world.login(port);
        let side = world.open_stream(port);
        world.send_on(port, side, &sync(1).encode());
        end(&mut world.peers.get_mut(&port).unwrap().quic, side);
        world.run();
        world.send(port, Frame::new(Lane::Bulk, Kind::PING, 1, Bytes::new()));
        assert_eq!(world.take(port), [Kind::PONG], "the lane is back");
        let main = world.peers[&port].stream.unwrap();
        end(&mut world.peers.get_mut(&port).unwrap().quic, main);
        world.run();
        assert_eq!(world.close_code(port), Some(code));
    }
}

/// Datagrams that the server makes from a reply of `len` bytes on the chat lane until the client has it, while a page of
/// 200 KB is on its way.
fn datagrams_until_the_reply(own_stream: bool, len: usize) -> usize {
    let mut world = World::new(ServerLimits::default());
    world.login(1);
    let session = world.script.sessions()[0];
    let stream = if own_stream { world.open_stream(1) } else { world.peers[&1].stream.unwrap() };
    world.send_on(1, stream, &sync(1).encode());
    world.script.state().downs.push(reply(session, Lane::Bulk, 1, 200_000));
    let from = SocketAddr::from(([127, 0, 0, 1], 1));
    let (mut before, mut after) = (None::<usize>, 0);
    for datagram in 0.. {
        world.shard.turn(world.now);
        while world.shard.has_work() {
            world.shard.turn(world.now);
        }
        if datagram == 5 {
            // Early: most of what QUIC has of the page waits for the congestion window.
            world.script.state().downs.push(reply(session, Lane::Chat, 2, len));
            before = Some(world.shard.transmits().len());
            world.shard.turn(world.now);
        }
        let (_, bytes) =
            world.shard.transmits().pop().expect("the client acknowledges, so there is more to send");
        if let Some(before) = &mut before {
            match before.checked_sub(1) {
                Some(less) => *before = less,
                None => after += 1,
            }
        }
        let peer = world.peers.get_mut(&1).unwrap();
        peer.receive(world.now, &bytes);
        if peer.frames.iter().any(|frame| frame.id == 2) {
            break;
        }
        loop {
            let mut answer = Vec::new();
            if peer.quic.poll_transmit(world.now, 1, &mut answer).is_none() {
                break;
            }
            world.shard.handle_datagram(world.now, from, None, &answer);
        }
    }
    after
}

#[test]
fn a_page_on_its_way_does_not_delay_a_message() {
    let push = datagrams_until_the_reply(true, 100);
    assert!(push <= 1, "{push} datagrams of the page went first");
    let long = datagrams_until_the_reply(true, 20_000);
    assert!(long <= 20, "{long} datagrams: the page took its share of them");
    let shared = datagrams_until_the_reply(false, 100);
    assert!(shared > 50, "the measure shows the difference: {shared}");
}

#[test]
fn more_than_the_send_window_reaches_a_client_that_reads() {
    let mut world = World::new(ServerLimits::default());
    world.login(1);
    let session = world.script.sessions()[0];
    let side = world.open_stream(1);
    world.send_on(1, side, &sync(1).encode());
    for id in 1..4 {
        world.script.state().downs.push(reply(session, Lane::Bulk, id, 200_000));
        world.script.state().downs.push(reply(session, Lane::Chat, id, 200_000));
    }
    world.run();
    world.pass(Duration::from_secs(1)); // the last acknowledgements
    assert_eq!(world.take(1), [Kind::REPLY; 6]);
}
