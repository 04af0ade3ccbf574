use std::time::Instant;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

fn limits() -> ServerLimits {
    ServerLimits { requests_per_s: 0, ..ServerLimits::default() }
}

fn live() -> Server {
    let mut server = Server::new(&limits(), Instant::now());
    server.handle_bytes(Frame::new(Lane::Control, Kind::HELLO, 0, Bytes::new()).encode());
    take(&mut server);
    server.accept(b"");
    server.poll_output().take();
    server
}

fn take(server: &mut Server) -> Vec<u64> {
    let mut ids = Vec::new();
    while let Some(action) = server.poll_action(&limits(), Instant::now()).unwrap() {
        if let Action::Request(request) = action {
            ids.push(request.id);
        }
    }
    ids
}

fn datagram(server: &mut Server, frames: &[Frame]) -> Vec<u64> {
    let mut ids = Vec::new();
    let bytes: Vec<u8> = frames.iter().flat_map(|frame| frame.encode().to_vec()).collect();
    server.handle_datagram(bytes.into(), &limits(), Instant::now(), |action| {
        let Action::Request(request) = action else { panic!("{action:?}") };
        ids.push(request.id);
    });
    ids
}

fn send(id: u64) -> Frame {
    Frame::new(Lane::Chat, Kind::SEND, id, b"hello"[..].into())
}

fn hedge(previous: u64, request: &Frame) -> Frame {
    Frame::new(Lane::Chat, Kind::HEDGE, previous, request.encode())
}

proptest! {
    /// Against the simplest model, the list of what the client sent: hedges lost, doubled and delivered in any order
    /// between the chunks of the stream change when a request is carried out, never whether, how often or in
    /// which order.
    #[test]
    fn whatever_happens_to_the_hedges_requests_are_carried_out_once_and_in_order(
        steps in proptest::collection::vec(1u64..5, 1..40),
        others in proptest::collection::vec(any::<bool>(), 40),
        deliveries in proptest::collection::vec((any::<bool>(), any::<proptest::sample::Index>(), 1usize..40), 0..200),
    ) {
        let mut server = live();
        let (mut ids, mut stream, mut hedges) = (Vec::new(), Vec::new(), Vec::new());
        for (step, other) in steps.iter().zip(others) {
            let previous = ids.last().copied().unwrap_or(0);
            let request = send(previous + step);
            stream.extend_from_slice(&request.encode());
            if other {
                // Requests of other lanes and acknowledgements on the same stream are no part of the order.
                stream.extend_from_slice(&Frame::new(Lane::Bulk, Kind::SYNC, previous, Bytes::new()).encode());
                stream.extend_from_slice(&Frame::new(Lane::Control, Kind::ACK, 1, Bytes::new()).encode());
            }
            hedges.push(hedge(previous, &request));
            ids.push(request.id);
        }
        let mut stream = Bytes::from(stream);
        let mut carried_out = Vec::new();
        let on_chat = |server: &mut Server| {
            let mut ids = Vec::new();
            while let Some(action) = server.poll_action(&limits(), Instant::now()).unwrap() {
                match action {
                    Action::Request(request) if request.lane == Lane::Chat => ids.push(request.id),
                    _ => {}
                }
            }
            ids
        };
        for (by_hedge, which, len) in deliveries {
            if by_hedge {
                carried_out.extend(datagram(&mut server, &[which.get(&hedges).clone()]));
            } else {
                server.handle_bytes(stream.split_to(len.min(stream.len())));
                carried_out.extend(on_chat(&mut server));
            }
            prop_assert!(ids.starts_with(&carried_out), "{:?} of {:?}", carried_out, ids);
            (0..carried_out.len()).for_each(|_| server.reply(Lane::Chat, Kind::REPLY, 0, b""));
            server.poll_output().take();
        }
        server.handle_bytes(stream);
        carried_out.extend(on_chat(&mut server));
        prop_assert_eq!(carried_out, ids);
    }
}

#[test]
fn a_datagram_may_hold_pings_sends_and_hedges_and_nothing_else_does_anything() {
    let mut server = live();
    let of = |lane, kind| Frame::new(lane, kind, 1, Bytes::new());
    let nothing = [
        of(Lane::Control, Kind::HELLO),
        of(Lane::Control, Kind::CLOSE),
        of(Lane::Control, Kind::ACK),
        of(Lane::Bulk, Kind::SYNC),
        of(Lane::Chat, Kind::PUSH),
        of(Lane::Chat, Kind(0xee)),
        hedge(0, &of(Lane::Bulk, Kind::SEND)),
        hedge(0, &of(Lane::Chat, Kind::FLUSH)),
        hedge(0, &of(Lane::Chat, Kind::PING)),
        hedge(1, &send(2)),
        hedge(0, &send(0)),
        Frame::new(Lane::Chat, Kind::HEDGE, 0, [send(1).encode(), send(2).encode()].concat().into()),
        Frame::new(Lane::Chat, Kind::HEDGE, 0, send(1).encode().slice(..4)),
        Frame::new(Lane::Chat, Kind::HEDGE, 0, Bytes::new()),
    ];
    assert_eq!(datagram(&mut server, &nothing), [0; 0]);
    assert!(server.poll_output().is_empty());
    assert_eq!(datagram(&mut server, &[of(Lane::Chat, Kind::PING), send(70), hedge(0, &send(1))]), [70, 1]);
    assert_eq!(server.poll_output().take(), [of(Lane::Chat, Kind::PONG).encode()]);
    let noise = Bytes::from_static(&[0x80, 0xff, 0xff, 0xff, 9, 9, 9]);
    server.handle_datagram(noise, &limits(), Instant::now(), |action| panic!("{action:?}"));
    assert!(server.is_live());
}

#[test]
fn before_the_welcome_a_datagram_is_nothing_and_on_a_stream_a_hedge_is_a_bad_kind() {
    let mut server = Server::new(&limits(), Instant::now());
    assert_eq!(datagram(&mut server, &[send(1)]), [0; 0]);
    let mut server = live();
    server.handle_bytes(hedge(0, &send(1)).encode());
    let closing = server.poll_action(&limits(), Instant::now()).unwrap_err();
    assert_eq!(closing.code, nearport_wire::close::CloseCode::BAD_KIND);
}

#[test]
fn at_the_bound_of_requests_datagrams_are_dropped_and_the_stream_decides() {
    let mut server = live();
    let max = u64::from(limits().requests_max);
    for id in 1..=max {
        server.handle_bytes(send(id).encode());
        assert_eq!(take(&mut server), [id]);
    }
    assert_eq!(datagram(&mut server, &[hedge(max, &send(max + 1)), send(max + 1)]), [0; 0]);
    server.reply(Lane::Chat, Kind::REPLY, 1, b"");
    server.handle_bytes(send(max + 1).encode());
    assert_eq!(take(&mut server), [max + 1], "the hedge that was dropped has not used the request up");
}

#[test]
fn a_client_that_never_hedges_numbers_as_it_likes() {
    let mut server = live();
    for id in [9, 3, 3, 0] {
        server.handle_bytes(send(id).encode());
        assert_eq!(take(&mut server), [id]);
    }
}

#[test]
fn small_chat_frames_are_copied_while_it_is_asked_for() {
    let mut server = live();
    let push = |len: usize| Frame::new(Lane::Chat, Kind::PUSH, 9, vec![0; len].into()).encode();
    server.push(Lane::Chat, &push(10), &limits());
    assert!(server.take_copies().is_empty());
    server.set_hedging(true, &limits());
    server.push(Lane::Chat, &push(10), &limits());
    server.push(Lane::Chat, &push(900), &limits());
    server.push(Lane::Live, &push(10), &limits());
    server.reply(Lane::Chat, Kind::REPLY, 4, b"");
    server.reply(Lane::Chat, Kind::ERROR, 5, b"");
    server.reply(Lane::Bulk, Kind::REPLY, 6, b"");
    server.go_away(nearport_wire::close::CloseCode::GOING_AWAY, std::time::Duration::ZERO, &[]);
    let kinds: Vec<Kind> = server.take_copies().iter().map(|frame| Kind(frame[2])).collect();
    assert_eq!(kinds, [Kind::PUSH, Kind::REPLY, Kind::ERROR]);
    assert!(server.take_copies().is_empty());
    (0..100).for_each(|id| server.reply(Lane::Chat, Kind::REPLY, id, b""));
    assert_eq!(server.take_copies().len(), COPIES_MAX);
    server.set_hedging(false, &limits());
    server.reply(Lane::Chat, Kind::REPLY, 4, b"");
    assert!(server.take_copies().is_empty());
    server.set_hedging(true, &ServerLimits { hedge_bytes_max: 0, ..limits() });
    server.reply(Lane::Chat, Kind::REPLY, 4, b"");
    assert!(server.take_copies().is_empty());
}
