//! Connections come and go.

use super::*;

#[test]
fn refused_credentials_stop_it_until_they_change_and_the_outbox_waits() {
    let mut world = World::live(config());
    world.post("1");
    world.lose(CloseCode::UNAUTHORIZED);
    assert!(matches!(world.events()[..], [Event::Stopped { code: CloseCode::UNAUTHORIZED, .. }]));
    assert_eq!((world.core.state(), world.core.poll_timeout()), (State::Stopped, None));
    assert_eq!(world.core.poll_transport(), None);
    assert_eq!(world.core.send(world.now, user("alice"), text("2"), false), Err(PostError::Stopped));
    world.core.renew_usersig("new".into());
    world.core.reconnect_now(world.now);
    world.connect();
    assert_eq!(world.ledger.hellos.last().unwrap().usersig, "new");
    assert_eq!(world.ledger.texts("bob"), ["1"]);
}

#[test]
fn every_code_does_what_its_range_says() {
    for code in CloseCode::ALL {
        let mut world = World::live(config());
        let id = world.post("1");
        world.lose(*code);
        let events = world.events();
        let stops = matches!(code.returns(), Return::No | Return::AfterChange);
        assert_eq!(world.core.state() == State::Stopped, stops, "{code}");
        let failed = events.iter().any(|e| matches!(e, Event::Failed { id: got, .. } if *got == id));
        assert_eq!(failed, code.returns() == Return::No, "{code}");
    }
}

#[test]
fn the_servers_wish_is_a_floor_and_a_long_session_makes_the_next_return_short() {
    let mut world = World::live(config());
    let closing = Closing::new(CloseCode::BUSY, "later");
    let peer = world.peer.as_mut().unwrap();
    peer.server.close(&closing, 5 * SECOND);
    world.down();
    assert_eq!(world.core.poll_transport(), Some(TransportAction::Disconnect(CloseCode::BUSY)));
    let events = world.events();
    assert!(matches!(events[..], [Event::Disconnected { retry_in, .. }] if retry_in > 5 * SECOND));

    for _ in 0..8 {
        world.connect();
        world.lose(CloseCode::LOST);
    }
    world.connect();
    world.now += 31 * SECOND;
    world.events();
    world.lose(CloseCode::LOST);
    assert!(
        matches!(world.events()[..], [Event::Disconnected { retry_in, .. }] if retry_in <= backoff::BASE)
    );
}

#[test]
fn an_attempt_has_its_own_time() {
    let mut world = World::new(config());
    assert_eq!(world.core.poll_transport(), Some(TransportAction::Connect));
    world.wait();
    assert_eq!(world.core.poll_transport(), Some(TransportAction::Disconnect(CloseCode::LOST)));
    assert_eq!(world.core.state(), State::Backoff);
    world.core.reconnect_now(world.now);
    world.connect();
}

#[test]
fn asked_to_leave_it_leaves_after_the_slot_and_is_back_at_once() {
    let mut world = World::live(config());
    world.peer.as_mut().unwrap().server.go_away(CloseCode::GOING_AWAY, 2 * SECOND, &[]);
    world.down();
    assert!(matches!(world.events()[..], [Event::GoAway { .. }]));
    assert_eq!(world.core.poll_timeout(), Some(world.now + 2 * SECOND));
    world.wait();
    let left = world.now;
    assert_eq!(world.core.poll_transport(), Some(TransportAction::Disconnect(CloseCode::GOING_AWAY)));
    world.connect();
    assert_eq!(world.now, left);
}

#[test]
fn a_dead_path_is_noticed_by_the_first_request_without_an_answer() {
    let mut world = World::live(config());
    world.post("1");
    world.peer = None; // packets vanish
    world.wait();
    assert_eq!(world.core.poll_transport(), Some(TransportAction::Disconnect(CloseCode::LOST)));
    world.connect();
    assert_eq!(world.ledger.texts("bob"), ["1"]);
}

#[test]
fn a_slow_server_that_still_talks_is_kept_and_asked_again() {
    let mut world = World::live(config());
    world.ledger.mute = true;
    world.post("1");
    world.up();
    world.now += 9 * SECOND;
    world.incoming("hello");
    world.now += 2 * SECOND;
    world.core.handle_timeout(world.now);
    world.ledger.mute = false;
    world.exchange();
    assert_eq!(world.core.state(), State::Live);
    assert_eq!(world.ledger.attempts, ["1", "1"]);
    assert_eq!(world.ledger.texts("bob"), ["1"]);
    assert_eq!(world.core.unacknowledged(), 0);
}

#[test]
fn requests_are_asked_again_after_a_reconnect_except_unknown_ones() {
    let mut world = World::live(config());
    world.incoming("1");
    let now = world.now;
    let history = world.core.request_history(now, user("alice"), HistoryRange::Newest, 10).unwrap();
    let echo = world.core.request_other(now, Lane::Chat, Kind::ECHO, Bytes::from_static(b"x")).unwrap();
    world.core.poll_output().take();
    world.lose(CloseCode::LOST);
    assert_eq!(world.core.poll_answer(), Some(Answer::Request { id: echo, result: Err(Failure::Lost) }));
    world.connect();
    let Some(Answer::Request { id, result: Ok(Reply::History(page)) }) = world.core.poll_answer() else {
        panic!()
    };
    assert_eq!((id, page.messages.len(), page.complete), (history, 1, true));
    let echo = world.core.request_other(now, Lane::Chat, Kind::ECHO, Bytes::from_static(b"x")).unwrap();
    world.exchange();
    let answer = Answer::Request { id: echo, result: Ok(Reply::Body(Bytes::from_static(b"x"))) };
    assert_eq!(world.core.poll_answer(), Some(answer));
}

#[test]
fn closing_acknowledges_says_good_bye_and_settles_everything() {
    let mut world = World::live(config());
    world.incoming("1");
    assert_eq!(world.shown(), ["1"]);
    world.ledger.mute = true;
    let id = world.core.send_awaited(world.now, user("alice"), text("x"), false).unwrap();
    world.core.close(world.now);
    assert_eq!(world.core.poll_transport(), Some(TransportAction::Disconnect(CloseCode::BYE)));
    world.up();
    assert_eq!(world.ledger.acked, 1);
    assert_eq!(world.core.poll_answer(), Some(Answer::Send { id, result: Err(Failure::Stopped) }));
    assert!(matches!(world.events()[..], [Event::Stopped { code: CloseCode::BYE, .. }]));
    assert_eq!(world.core.poll_timeout(), None);
}

#[test]
fn no_secret_in_debug_output() {
    let mut world = World::new(CoreConfig { usersig: "eJwSECRET".into(), ..config() });
    world.ledger.token_ttl_s = 60;
    world.connect();
    let text = format!("{:?}", world.core);
    assert!(!text.contains("SECRET") && !text.contains("token 1"), "{text}");
}

/// What the hellos showed: UserSig and token.
fn shown_to(ledger: &Ledger) -> Vec<(String, String)> {
    let shown = |hello: &Hello| (hello.usersig.clone(), String::from_utf8_lossy(&hello.resume).into_owned());
    ledger.hellos.iter().map(shown).collect()
}

fn by_usersig() -> (String, String) {
    ("sig".to_owned(), String::new())
}

fn by_token(number: u32) -> (String, String) {
    (String::new(), format!("token {number}"))
}

#[test]
fn the_newest_token_opens_the_next_session_until_its_time_is_over() {
    let mut world = World::new(config());
    world.ledger.token_ttl_s = 100;
    world.connect();
    for _ in 0..2 {
        world.lose(CloseCode::LOST);
        world.connect();
    }
    assert_eq!(shown_to(&world.ledger), [by_usersig(), by_token(1), by_token(2)]);
    world.now += 101 * SECOND;
    world.lose(CloseCode::LOST);
    world.ledger.token_ttl_s = 0;
    world.connect();
    world.lose(CloseCode::LOST);
    world.connect();
    assert_eq!(shown_to(&world.ledger)[3..], [by_usersig(), by_usersig()], "expired, then none was given");
}

#[test]
fn a_refused_token_is_dropped_and_the_usersig_tried_at_once_and_once() {
    let mut world = World::new(config());
    world.ledger.token_ttl_s = 100;
    world.connect();
    world.post("1");
    world.lose(CloseCode::LOST);
    world.ledger.refuse_tokens = true;
    world.events();
    world.now = world.core.poll_timeout().unwrap();
    world.core.handle_timeout(world.now);
    assert_eq!(world.core.poll_transport(), Some(TransportAction::Connect));
    world.core.handle_connected(world.now, Path::one_stream(Transport::Quic));
    world.peer = Some(Peer::new(world.now));
    world.exchange();
    assert!(matches!(
        world.events()[..],
        [Event::Disconnected { code: CloseCode::UNAUTHORIZED, retry_in: Duration::ZERO, .. }]
    ));
    assert_eq!(world.core.poll_transport(), Some(TransportAction::Disconnect(CloseCode::UNAUTHORIZED)));
    assert_eq!(world.core.poll_timeout(), Some(world.now), "without a wait");
    world.connect();
    assert_eq!(shown_to(&world.ledger), [by_usersig(), by_token(1), by_usersig()]);
    assert_eq!(world.ledger.texts("bob"), ["1"]);
    // The UserSig refused as well: that is the end.
    world.lose(CloseCode::UNAUTHORIZED);
    assert_eq!(world.core.state(), State::Stopped);
}
