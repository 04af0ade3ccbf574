use proptest::prelude::*;

use super::*;
use crate::Action;
use nearport_wire::{Decoder, Frame, Limits};

fn limits() -> ServerLimits {
    ServerLimits {
        requests_per_s: 10,
        requests_burst: 5,
        live_bytes_max: 400,
        push_bytes_max: 1000,
        output_bytes_max: 2000,
        slow_timeout: Duration::from_secs(60),
        ..ServerLimits::default()
    }
}

fn frame(lane: Lane, kind: Kind, id: u64, len: usize) -> Bytes {
    Frame::new(lane, kind, id, vec![0; len].into()).encode()
}

fn live(now: Instant) -> Server {
    let mut server = Server::new(&limits(), now);
    server.handle_bytes(frame(Lane::Control, Kind::HELLO, 0, 0));
    server.poll_action(&limits(), now).unwrap();
    server.accept(b"");
    server.poll_output().take();
    server.settle(&limits(), now).unwrap();
    server
}

/// How many of `count` requests reach the backend at `now`.
fn taken(server: &mut Server, now: Instant, count: u64) -> u64 {
    (0..count).for_each(|id| server.handle_bytes(frame(Lane::Chat, Kind::ECHO, id, 0)));
    let mut taken = 0;
    while let Some(action) = server.poll_action(&limits(), now).unwrap() {
        taken += u64::from(matches!(action, Action::Request(_)));
    }
    taken
}

fn written(server: &mut Server) -> Vec<Frame> {
    let mut decoder = Decoder::new(Limits::client());
    server.poll_output().take().into_iter().for_each(|bytes| decoder.feed(bytes));
    std::iter::from_fn(|| decoder.next_frame().unwrap()).collect()
}

#[test]
fn requests_above_the_rate_are_answered_here_and_taken_when_they_were_told_to_come() {
    let start = Instant::now();
    let mut server = live(start);
    assert_eq!(taken(&mut server, start, 8), 5);
    assert_eq!(server.take_limited(), 3);
    let refused = written(&mut server);
    assert_eq!(refused.iter().map(|frame| frame.id).collect::<Vec<_>>(), [5, 6, 7]);
    let error = body::Error::decode(refused[0].body.clone()).unwrap();
    assert_eq!((error.code, error.retry_after_ms), (code::TOO_MANY_REQUESTS, 351));
    // There would be room for two, but what was refused comes first.
    assert_eq!(taken(&mut server, start + Duration::from_millis(250), 1), 0);
    let later = start + Duration::from_millis(error.retry_after_ms.into());
    assert_eq!(taken(&mut server, later, 4), 3, "the rate's worth");
    assert_eq!(taken(&mut server, start + Duration::from_secs(60), 9), 5, "and the burst after a silence");
    assert_eq!(server.requests, 13, "a refused request is answered: it does not wait for the backend");
}

#[test]
fn a_rate_of_zero_is_none() {
    let (now, mut server) = (Instant::now(), live(Instant::now()));
    let limits = ServerLimits { requests_per_s: 0, requests_max: u32::MAX, ..limits() };
    (0..1000).for_each(|id| server.handle_bytes(frame(Lane::Chat, Kind::ECHO, id, 0)));
    assert!((0..1000).all(|_| server.poll_action(&limits, now).unwrap().is_some()));
}

/// Pushes of a class until one more cannot come, 20 bytes each; how many came.
fn fill(server: &mut Server, class: Class) -> usize {
    let push = frame(Lane::Live, Kind::LIVE, class.id(), 16);
    let taken: Vec<bool> = (0..100).map(|_| server.push_live(class, &push, &limits())).collect();
    taken.iter().filter(|taken| **taken).count()
}

#[test]
fn likes_go_first_then_chat_then_gifts_and_each_that_is_left_out_is_told() {
    let mut server = live(Instant::now());
    // Of 400 bytes: up to 50 all, up to 100 every second one, and so on; the one that passes a bound still comes.
    let came = [Class::Like, Class::Chat, Class::Gift, Class::System].map(|class| fill(&mut server, class));
    assert_eq!(came, [6, 4, 5, 4], "up to about 120, 220, 320 and 400 bytes");
    assert!(server.push(Lane::Chat, &frame(Lane::Chat, Kind::PUSH, 0, 500), &limits()), "chat goes on");
    let frames = written(&mut server);
    let told: u64 = frames.iter().filter(|frame| frame.kind == Kind::FOLDED).map(|frame| frame.id).sum();
    let live = frames.iter().filter(|frame| frame.kind == Kind::LIVE).count() as u64;
    let rest = written(&mut server);
    assert_eq!(rest.len(), 1, "and not behind: {rest:?}");
    assert_eq!((live, live + told + rest[0].id), (19, 400), "each came or was told");
    assert!(written(&mut server).is_empty());
}

#[test]
fn between_two_bounds_every_second_one_of_a_class_comes() {
    let mut server = live(Instant::now());
    server.reply(Lane::Chat, Kind::REPLY, 1, &[0; 60]);
    let push = frame(Lane::Live, Kind::LIVE, 3, 1);
    let taken: Vec<bool> = (0..6).map(|_| server.push_live(Class::Like, &push, &limits())).collect();
    assert_eq!(taken, [false, true, false, true, false, true]);
    assert!((0..3).all(|_| server.push_live(Class::Chat, &push, &limits())), "chat has more room");
}

#[test]
fn who_stays_a_little_behind_is_told_all_the_same() {
    let mut server = live(Instant::now());
    fill(&mut server, Class::System);
    // It takes one after the other and never catches up.
    let push = frame(Lane::Live, Kind::LIVE, 0, 16);
    let mut told = 0;
    for _ in 0..4 {
        let outbox = server.poll_output();
        let first = outbox.chunks()[0].len();
        outbox.chunks()[0] = Bytes::new();
        outbox.written(1, first);
        server.push_live(Class::System, &push, &limits());
        let frames = server.poll_output().chunks().iter().map(|bytes| bytes[2]);
        told = told.max(frames.filter(|kind| *kind == Kind::FOLDED.0).count());
    }
    assert_eq!(told, 1);
}

#[test]
fn a_session_that_is_behind_catches_up_before_it_gets_live_pushes() {
    let mut server = live(Instant::now());
    server.push(Lane::Chat, &frame(Lane::Chat, Kind::PUSH, 1, 60), &limits());
    server.mark_behind();
    let push = frame(Lane::Live, Kind::LIVE, 0, 16);
    assert!(!server.push_live(Class::System, &push, &limits()));
    let frames = [written(&mut server), written(&mut server), written(&mut server)].concat();
    let kinds: Vec<_> = frames.iter().map(|frame| (frame.kind, frame.id)).collect();
    assert_eq!(kinds, [(Kind::PUSH, 1), (Kind::BEHIND, 0), (Kind::FOLDED, 1)]);
    assert!(server.push_live(Class::System, &push, &limits()));
}

#[test]
fn one_live_push_of_any_size_goes_to_who_has_read_everything() {
    let mut server = live(Instant::now());
    let limits = ServerLimits { live_bytes_max: 0, ..limits() };
    assert!(server.push(Lane::Live, &frame(Lane::Live, Kind::PUSH, 0, 600), &limits));
    assert!(!server.push(Lane::Live, &frame(Lane::Live, Kind::PUSH, 0, 1), &limits));
}

#[test]
fn who_reads_nothing_for_too_long_is_closed_and_who_reads_slowly_is_not() {
    let start = Instant::now();
    let mut server = live(start);
    server.push(Lane::Chat, &frame(Lane::Chat, Kind::PUSH, 1, 100), &limits());
    server.settle(&limits(), start).unwrap();
    let later = start + Duration::from_secs(59);
    server.poll_output().written(0, 0);
    server.settle(&limits(), later).unwrap();
    assert_eq!(server.poll_timeout(), Some(start + Duration::from_secs(60)));
    // Ten bytes went: the time begins anew.
    let rest = server.poll_output().chunks()[0].split_off(10);
    server.poll_output().chunks()[0] = rest;
    server.poll_output().written(0, 10);
    server.settle(&limits(), later).unwrap();
    server.handle_bytes(frame(Lane::Control, Kind::PING, 1, 0));
    server.poll_action(&limits(), later).unwrap();
    assert_eq!(server.handle_timeout(start + Duration::from_secs(60)), Ok(()));
    let due = later + Duration::from_secs(60);
    assert_eq!(server.poll_timeout(), Some(due));
    let closing = server.handle_timeout(due).unwrap_err();
    assert_eq!(closing.code, CloseCode::SLOW);
    server.close(&closing, Duration::ZERO);
    assert!(server.poll_output().is_empty(), "nothing is kept for who does not read, not even the good-bye");
}

#[test]
fn a_silence_of_the_server_is_no_slowness_of_the_client() {
    let start = Instant::now();
    let server = live(start);
    assert_eq!(server.poll_timeout(), Some(start + limits().idle_timeout));
}

#[test]
fn answers_that_nobody_reads_end_the_session() {
    let now = Instant::now();
    let mut server = live(now);
    for id in 0..10 {
        server.reply(Lane::Bulk, Kind::REPLY, id, &[0; 100]);
        server.settle(&limits(), now).unwrap();
    }
    for id in 10..20 {
        server.reply(Lane::Bulk, Kind::REPLY, id, &[0; 100]);
    }
    assert_eq!(server.settle(&limits(), now).unwrap_err().code, CloseCode::SLOW);
}

proptest! {
    #[test]
    fn whatever_comes_no_more_waits_than_the_bounds(
        steps in proptest::collection::vec((0u8..6, 0usize..300), 0..200),
    ) {
        let now = Instant::now();
        let mut server = live(now);
        for (step, len) in steps {
            match step {
                0 => drop(server.push_live(Class::of(len as u64 % 4), &frame(Lane::Live, Kind::LIVE, 0, len), &limits())),
                1 => drop(server.push(Lane::Chat, &frame(Lane::Chat, Kind::PUSH, 1, len), &limits())),
                2 => server.reply(Lane::Chat, Kind::REPLY, 1, &vec![0; len]),
                3 => drop(taken(&mut server, now, 3)),
                4 => {
                    server.handle_bytes(frame(Lane::Control, Kind::PING, 7, 0));
                    server.poll_action(&limits(), now).unwrap();
                }
                _ => drop(server.poll_output().take()),
            }
            if let Err(closing) = server.settle(&limits(), now) {
                server.close(&closing, Duration::ZERO);
            }
            prop_assert!(server.output_cost() <= limits().output_bytes_max);
        }
    }
}
