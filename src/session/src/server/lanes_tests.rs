use std::time::Duration;

use nearport_wire::{Kind, Limits};
use proptest::prelude::*;

use super::*;
use crate::Action;

fn limits() -> ServerLimits {
    ServerLimits { push_bytes_max: 100, ..ServerLimits::default() }
}

fn frame(lane: Lane, kind: Kind, id: u64) -> Bytes {
    Frame::new(lane, kind, id, vec![7; usize::try_from(id).unwrap() % 50].into()).encode()
}

/// A live session that has been read dry.
fn live() -> Server {
    let mut server = Server::new(&limits(), Instant::now());
    server.handle_bytes(Frame::new(Lane::Control, Kind::HELLO, 0, Bytes::new()).encode());
    drain(&mut server).unwrap();
    server.accept(b"");
    server.poll_output().take();
    server
}

fn drain(server: &mut Server) -> Result<Vec<Action>, CloseCode> {
    let mut actions = Vec::new();
    while let Some(action) = server.poll_action(&limits(), Instant::now()).map_err(|closing| closing.code)? {
        actions.push(action);
    }
    Ok(actions)
}

fn side(server: &mut Server, number: u8, bytes: Bytes) -> Result<Vec<Action>, CloseCode> {
    server.handle_side_bytes(number, bytes);
    drain(server)
}

fn kinds(bytes: Vec<Bytes>) -> Vec<Kind> {
    bytes.iter().map(|frame| Kind(frame[2])).collect()
}

/// One stream of a test: which lane, its bytes, how far they went.
struct Stream {
    lane: Lane,
    ids: Vec<u64>,
    bytes: Bytes,
}

proptest! {
    /// Requests of each lane come out in the order in which they were sent, and the answers go back on the lane's
    /// stream in the order in which they were given, however the streams' chunks are cut and mixed.
    #[test]
    fn any_mix_of_chunks_over_streams_keeps_the_order_of_each_lane(
        counts in proptest::array::uniform4(1u64..12),
        chunks in proptest::collection::vec((0usize..4, 1usize..90), 1..120),
    ) {
        let mut server = live();
        let lanes = [Lane::Control, Lane::Chat, Lane::Bulk, Lane::Live];
        let mut streams: Vec<Stream> = lanes.iter().zip(counts).map(|(lane, count)| {
            let ids: Vec<u64> = (1..=count).map(|n| n * 4 + *lane as u64).collect();
            let bytes: Vec<u8> = ids.iter().flat_map(|id| frame(*lane, Kind::ECHO, *id).to_vec()).collect();
            Stream { lane: *lane, ids, bytes: bytes.into() }
        }).collect();
        (0..3).for_each(|number| server.open_side(number, &limits(), Instant::now()));
        let mut taken: Vec<(Lane, u64)> = Vec::new();
        let rest = (0..4).map(|at| (at, usize::MAX));
        for (at, len) in chunks.into_iter().chain(rest) {
            let stream = &mut streams[at];
            let chunk = stream.bytes.split_to(len.min(stream.bytes.len()));
            match u8::try_from(at).unwrap().checked_sub(1) {
                None => server.handle_bytes(chunk),
                Some(number) => server.handle_side_bytes(number, chunk),
            }
            while let Some(action) = server.poll_action(&limits(), Instant::now()).unwrap() {
                let Action::Request(request) = action else { panic!("{action:?}") };
                server.reply(request.lane, Kind::REPLY, request.id, &request.body);
                taken.push((request.lane, request.id));
            }
        }
        let mut written = vec![server.poll_output().take()];
        written.extend((0..3).map(|number| server.poll_side_output(number).unwrap().take()));
        for (stream, written) in streams.iter().zip(written) {
            let of_lane: Vec<u64> = taken.iter().filter(|(lane, _)| *lane == stream.lane).map(|(_, id)| *id).collect();
            prop_assert_eq!(&of_lane, &stream.ids);
            let mut decoder = Decoder::new(Limits::client());
            decoder.feed(written.concat().into());
            let mut answered = Vec::new();
            while let Some(answer) = decoder.next_frame().unwrap() {
                prop_assert_eq!(answer.lane, stream.lane);
                answered.push(answer.id);
            }
            prop_assert_eq!(&answered, &stream.ids);
        }
    }
}

#[test]
fn each_misuse_of_a_stream_has_its_code() {
    let bad = Err(CloseCode::BAD_STREAM);
    let open = || {
        let mut server = live();
        (0..3).for_each(|number| server.open_side(number, &limits(), Instant::now()));
        side(&mut server, 1, frame(Lane::Bulk, Kind::SYNC, 1)).unwrap();
        server
    };
    assert_eq!(side(&mut open(), 0, frame(Lane::Control, Kind::PING, 1)), bad, "control on a stream");
    assert_eq!(side(&mut open(), 0, frame(Lane::Bulk, Kind::SYNC, 2)), bad, "a second stream for a lane");
    assert_eq!(side(&mut open(), 1, frame(Lane::Chat, Kind::SEND, 2)), bad, "another lane");
    let mut server = open();
    side(&mut server, 0, frame(Lane::Live, Kind::ECHO, 30).slice(..5)).unwrap();
    assert_eq!(server.end_side(0, false).unwrap_err().code, CloseCode::BAD_FRAME);
    assert_eq!(server.end_side(0, true), Ok(()));
    let mut server = Server::new(&limits(), Instant::now());
    server.open_side(0, &limits(), Instant::now());
    assert_eq!(side(&mut server, 0, frame(Lane::Bulk, Kind::SYNC, 1)), Err(CloseCode::OUT_OF_TURN));
}

#[test]
fn a_lane_whose_stream_ends_is_back_on_the_main_stream() {
    let mut server = live();
    let now = Instant::now();
    server.open_side(0, &limits(), now);
    side(
        &mut server,
        0,
        [frame(Lane::Bulk, Kind::SYNC, 1), frame(Lane::Bulk, Kind::SYNC, 2)].concat().into(),
    )
    .unwrap();
    server.reply(Lane::Bulk, Kind::REPLY, 1, b"page");
    server.end_side(0, false).unwrap();
    server.reply(Lane::Bulk, Kind::REPLY, 2, b"page");
    assert!(!server.is_side_done(0), "one answer still waits for the side stream");
    assert_eq!(kinds(server.poll_side_output(0).unwrap().take()), [Kind::REPLY]);
    assert_eq!(kinds(server.poll_output().take()), [Kind::REPLY]);
    assert!(server.is_side_done(0));
    // The lane may get another stream, even before the first is closed.
    server.open_side(1, &limits(), now);
    side(&mut server, 1, frame(Lane::Bulk, Kind::PING, 3)).unwrap();
    assert_eq!(kinds(server.poll_side_output(1).unwrap().take()), [Kind::PONG]);
    server.close_side(0);
    server.close_side(1);
    assert!(server.sides.is_none(), "and a session without side streams keeps nothing for them");
    assert!(server.poll_output().is_empty(), "nothing was lost, nothing to say");
}

#[test]
fn what_waited_for_a_stream_that_broke_is_lost_and_the_client_is_told() {
    let mut server = live();
    server.open_side(2, &limits(), Instant::now());
    side(&mut server, 2, frame(Lane::Live, Kind::PING, 1)).unwrap();
    server.close_side(2);
    assert_eq!(kinds(server.poll_output().take()), [Kind::BEHIND]);
}

#[test]
fn a_page_on_its_own_stream_takes_no_room_from_pushes_and_pushes_share_theirs() {
    let mut server = live();
    for (number, lane) in [(0, Lane::Bulk), (1, Lane::Live)] {
        server.open_side(number, &limits(), Instant::now());
        side(&mut server, number, frame(lane, Kind::PING, 1)).unwrap();
        server.poll_side_output(number).unwrap().take();
    }
    server.reply(Lane::Bulk, Kind::REPLY, 1, &[0; 5000]);
    let push = Frame::new(Lane::Live, Kind::PUSH, 9, vec![0; 60].into()).encode();
    assert!(server.push(Lane::Live, &push, &limits()));
    assert!(!server.push(Lane::Chat, &push, &limits()), "the two would pass 100 bytes");
    assert!(server.queued_bytes() > 5000);
    assert!(server.poll_output().is_empty(), "not yet told while a push waits");
    server.poll_side_output(1).unwrap().take();
    assert_eq!(kinds(server.poll_output().take()), [Kind::BEHIND]);
}

#[test]
fn half_a_frame_on_any_stream_runs_out_whatever_comes_on_the_others() {
    let second = Duration::from_secs(1);
    for half_on_side in [true, false] {
        let mut server = live();
        let start = Instant::now();
        server.open_side(0, &limits(), start);
        let half = frame(Lane::Bulk, Kind::SYNC, 40).slice(..9);
        let whole = frame(Lane::Bulk, Kind::PING, 1);
        let feed = |server: &mut Server, on_side, bytes: &Bytes, now| {
            if on_side {
                server.handle_side_bytes(0, bytes.clone())
            } else {
                server.handle_bytes(bytes.clone())
            }
            while server.poll_action(&limits(), now).unwrap().is_some() {}
        };
        feed(&mut server, half_on_side, &half, start);
        for seconds in 1..10 {
            let now = start + second * seconds;
            feed(&mut server, !half_on_side, &whole, now);
            feed(&mut server, half_on_side, &Bytes::from_static(b"x"), now);
            server.handle_datagram(frame(Lane::Chat, Kind::PING, 1), &limits(), now, |_| ());
            assert_eq!(server.handle_timeout(now), Ok(()));
        }
        let end = start + second * 10;
        assert_eq!(server.poll_timeout(), Some(end));
        assert_eq!(server.handle_timeout(end).unwrap_err().code, CloseCode::TIMEOUT);
    }
    // Without half frames the silence counts from the last frame, on whatever stream.
    let mut server = live();
    let start = Instant::now();
    server.open_side(0, &limits(), start);
    server.handle_side_bytes(0, frame(Lane::Bulk, Kind::PING, 1));
    while server.poll_action(&limits(), start + second * 5).unwrap().is_some() {}
    let end = start + second * 80;
    assert_eq!(server.poll_timeout(), Some(end));
    assert_eq!(server.handle_timeout(end).unwrap_err().code, CloseCode::LOST);
}
