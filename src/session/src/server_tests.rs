use super::*;
use proptest::prelude::*;

fn limits() -> ServerLimits {
    ServerLimits { requests_max: 2, push_bytes_max: 100, ..ServerLimits::default() }
}

fn frame(kind: Kind, id: u64) -> Bytes {
    Frame::new(Lane::Chat, kind, id, Bytes::new()).encode()
}

/// A server that was fed `kinds`, with everything it did until it stopped.
fn run(server: &mut Server, kinds: &[Kind]) -> Result<Vec<Action>, CloseCode> {
    let mut actions = Vec::new();
    for kind in kinds {
        server.handle_bytes(frame(*kind, 1));
        while let Some(action) = server.poll_action(&limits(), Instant::now()).map_err(|c| c.code)? {
            if matches!(action, Action::Open(_)) {
                server.accept(b"");
            }
            actions.push(action);
        }
    }
    Ok(actions)
}

fn live() -> Server {
    let mut server = Server::new(&limits(), Instant::now());
    run(&mut server, &[Kind::HELLO]).unwrap();
    server.poll_output().take();
    server
}

#[test]
fn every_frame_out_of_turn_has_its_code() {
    let fresh = || Server::new(&limits(), Instant::now());
    for (kinds, code) in [
        (&[Kind::SEND][..], CloseCode::OUT_OF_TURN),
        (&[Kind::PING], CloseCode::OUT_OF_TURN),
        (&[Kind::HELLO, Kind::HELLO], CloseCode::OUT_OF_TURN),
        (&[Kind::HELLO, Kind::WELCOME], CloseCode::BAD_KIND),
        (&[Kind::HELLO, Kind::PUSH], CloseCode::BAD_KIND),
        (&[Kind::HELLO, Kind(0xff)], CloseCode::BAD_KIND),
        (&[Kind::HELLO, Kind::CLOSE], CloseCode::BYE),
        (&[Kind::HELLO, Kind::SEND, Kind::SEND, Kind::SEND], CloseCode::TOO_MANY_REQUESTS),
    ] {
        assert_eq!(run(&mut fresh(), kinds), Err(code), "{kinds:?}");
    }
    // A request kind that is younger than this edge is the backend's to answer.
    assert!(run(&mut fresh(), &[Kind::HELLO, Kind(0x7f)]).is_ok());
}

#[test]
fn requests_before_the_welcome_are_out_of_turn_and_pings_are_not() {
    let mut server = Server::new(&limits(), Instant::now());
    server.handle_bytes([frame(Kind::HELLO, 0), frame(Kind::PING, 5)].concat().into());
    let now = Instant::now();
    assert!(matches!(server.poll_action(&limits(), now), Ok(Some(Action::Open(_)))));
    assert_eq!(server.poll_action(&limits(), now), Ok(None));
    assert_eq!(server.poll_output().take(), [Frame::new(Lane::Chat, Kind::PONG, 5, Bytes::new()).encode()]);
    server.handle_bytes(frame(Kind::SEND, 1));
    assert_eq!(server.poll_action(&limits(), now).unwrap_err().code, CloseCode::OUT_OF_TURN);
}

#[test]
fn a_slow_reader_loses_pushes_keeps_replies_and_is_told_once() {
    let mut server = live();
    let push = Frame::new(Lane::Chat, Kind::PUSH, 9, vec![0; 60].into()).encode();
    assert!(server.push(Lane::Chat, &push, &limits()));
    assert!(!server.push(Lane::Chat, &push, &limits()), "the second passes 100 bytes");
    server.reply(Lane::Chat, Kind::REPLY, 4, b"ok");
    let written = server.poll_output().take();
    assert_eq!(written.len(), 2, "push and reply; not yet told while something waited");
    let behind = Frame::new(Lane::Control, Kind::BEHIND, 0, Bytes::new()).encode();
    assert_eq!(server.poll_output().take(), [behind]);
    assert!(server.poll_output().is_empty());
}

#[test]
fn pings_of_a_client_that_reads_nothing_hold_no_more_than_the_bound() {
    let mut server = live();
    for id in 0..1000 {
        server.handle_bytes(frame(Kind::PING, id));
        assert_eq!(server.poll_action(&limits(), Instant::now()), Ok(None));
        server.handle_datagram(frame(Kind::PING, id), &limits(), Instant::now(), |_| ());
    }
    assert!(server.queued_bytes() < limits().push_bytes_max + 10);
    server.poll_output().take();
    run(&mut server, &[Kind::PING]).unwrap();
    assert_eq!(server.poll_output().take().len(), 1, "and gets its answer when it reads");
}

#[test]
fn a_window_for_coming_back_is_said_to_those_who_read() {
    let mut server = live();
    assert!(server.tell_return_window(3_000, &limits()));
    let told = Frame::new(Lane::Control, Kind::RETURN_WINDOW, 3_000, Bytes::new()).encode();
    assert_eq!(server.poll_output().take(), [told]);
    server.reply(Lane::Chat, Kind::REPLY, 1, &[0; 100]);
    assert!(!server.tell_return_window(4_000, &limits()), "it has not read the reply");
    assert!(!server.tell_away(true, &limits()));
    let mut opening = Server::new(&limits(), Instant::now());
    assert!(!opening.tell_return_window(3_000, &limits()) && !opening.tell_away(true, &limits()));
}

#[test]
fn a_push_before_the_welcome_is_dropped_and_marks_behind() {
    let mut server = Server::new(&limits(), Instant::now());
    server.handle_bytes(frame(Kind::HELLO, 0));
    server.poll_action(&limits(), Instant::now()).unwrap();
    assert!(!server.push(Lane::Chat, &frame(Kind::PUSH, 3), &limits()));
    assert!(server.poll_output().is_empty(), "nothing in front of the welcome");
    server.accept(b"");
    let kinds = |out: Vec<Bytes>| out.iter().map(|f| Kind(f[2])).collect::<Vec<_>>();
    assert_eq!(kinds(server.poll_output().take()), [Kind::WELCOME]);
    assert_eq!(kinds(server.poll_output().take()), [Kind::BEHIND]);
}

#[test]
fn timeouts_tell_a_missing_hello_from_half_a_frame_and_from_silence() {
    let start = Instant::now();
    let limits = limits();
    let late = start + limits.frame_timeout;
    let mut server = Server::new(&limits, start);
    assert_eq!(server.poll_timeout(), Some(late));
    assert_eq!(server.handle_timeout(start), Ok(()));
    assert_eq!(server.handle_timeout(late).unwrap_err().code, CloseCode::TIMEOUT);

    let mut server = live();
    server.handle_bytes(frame(Kind::SEND, 1).slice(..2));
    server.poll_action(&limits, start).unwrap();
    // More of the same frame does not win more time.
    server.handle_bytes(Bytes::from_static(&[Kind::SEND.0][..0]));
    server.poll_action(&limits, start + Duration::from_secs(9)).unwrap();
    assert_eq!(server.handle_timeout(late).unwrap_err().code, CloseCode::TIMEOUT);

    let mut server = live();
    let silent = server.poll_timeout().unwrap();
    assert_eq!(server.handle_timeout(silent).unwrap_err().code, CloseCode::LOST);
}

proptest! {
    #[test]
    fn any_bytes_give_actions_or_a_closing_but_never_a_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..400), cut in 1usize..50,
    ) {
        let mut server = Server::new(&limits(), Instant::now());
        for chunk in bytes.chunks(cut) {
            server.handle_bytes(Bytes::copy_from_slice(chunk));
            loop {
                match server.poll_action(&limits(), Instant::now()) {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(closing) => {
                        server.close(&closing, Duration::ZERO);
                        prop_assert!(!server.poll_output().is_empty());
                        return Ok(());
                    }
                }
            }
        }
    }
}
