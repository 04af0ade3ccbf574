//! Connections come and go.

use super::*;
use nearport_session::ServerLimits;
use nearport_wire::close::Return;

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
fn a_live_session_that_is_doubted_answers_or_ends() {
    let mut world = World::live(config());
    let heartbeat = world.core.poll_timeout().unwrap();
    world.core.reconnect_now(world.now);
    world.exchange();
    assert_eq!((world.core.state(), world.core.poll_timeout()), (State::Live, Some(heartbeat)));
    assert!(world.events().is_empty());
    // The server is gone and nobody says so.
    world.peer = None;
    world.core.reconnect_now(world.now);
    while world.core.state() == State::Live {
        world.wait();
    }
    assert!(matches!(world.events()[..], [Event::Disconnected { code: CloseCode::LOST, .. }]));
    assert!(world.now < heartbeat);
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

/// Asked to leave at once, to these places.
fn go_away(world: &mut World, slot: Duration, targets: &[body::Endpoint]) {
    world.peer.as_mut().unwrap().server.go_away(CloseCode::GOING_AWAY, slot, targets);
    world.down();
    assert!(matches!(world.events()[..], [Event::GoAway { .. }]));
}

#[test]
fn asked_to_leave_it_prepares_after_the_slot_waits_for_answers_and_moves() {
    let mut world = World::live(config());
    world.ledger.token_ttl_s = 100;
    world.incoming("1");
    assert_eq!(world.shown(), ["1"]);
    world.ledger.mute = true;
    world.post("in flight");
    world.up();
    let place = body::Endpoint { address: "192.0.2.1:4433".into(), server_name: String::new() };
    let named = body::Endpoint { server_name: "b.example".into(), ..place.clone() };
    let bad = body::Endpoint { address: "nowhere".into(), ..place.clone() };
    go_away(&mut world, SECOND / 4, &[bad, place.clone(), named]);
    let referrals = [None, Some("b.example".to_owned())]
        .map(|name| Referral { address: place.address.parse().unwrap(), name });
    assert_eq!(world.core.referrals(), referrals);
    world.wait();
    assert_eq!(world.core.poll_transport(), Some(TransportAction::Prepare));
    assert_eq!(world.core.state(), State::Live, "the session goes on meanwhile");
    world.post("on the old one still");
    assert_eq!(world.ledger.attempts.len() + usize::from(world.up()), 2);
    world.core.handle_prepared(world.now, Path::one_stream(Transport::Tls));
    // Answers are missing: the next message waits for the next session.
    world.post("on the new one");
    assert!(!world.up());
    assert_eq!(world.core.poll_transport(), None);
    world.ledger.mute = false;
    let mut old = world.peer.take().unwrap();
    for id in 1..=2 {
        old.server.reply(Lane::Chat, Kind::REPLY, id, &prost::Message::encode_to_vec(&body::Sent::default()));
    }
    world.peer = Some(old);
    world.down();
    // The session has moved, and the old connection had read more than it needed for that.
    let late = world.ledger.incoming("late");
    world.core.handle_bytes(world.now, late.clone());
    world.core.handle_bulk_bytes(world.now, late.clone());
    world.core.handle_datagram(world.now, late);
    assert_eq!(world.core.poll_transport(), Some(TransportAction::Switch));
    let parting = world.core.take_parting();
    let mut old = world.peer.replace(Peer::new(world.now)).unwrap();
    for chunk in parting {
        let _ = old.handle_bytes(&mut world.ledger, world.now, chunk);
    }
    assert!(world.ledger.acked >= 1, "what is shown was told with the good-bye");
    world.exchange();
    let events = world.events();
    assert!(
        events.iter().all(|event| matches!(
            event,
            Event::Message(_)
                | Event::Connected { .. }
                | Event::CaughtUp
                | Event::Sent { .. }
                | Event::GoAway { .. }
        )),
        "{events:?}"
    );
    let late =
        events.iter().filter(|event| matches!(event, Event::Message(message) if message.text() == "late"));
    assert_eq!(late.count(), 1);
    assert_eq!(world.core.path(), Some(Path::one_stream(Transport::Tls)));
    assert_eq!(world.core.referrals(), []);
    assert_eq!(world.ledger.texts("bob"), ["in flight", "on the old one still", "on the new one"]);
    assert_eq!(world.ledger.attempts.len(), 3, "nothing was sent twice");
}

#[test]
fn what_is_not_answered_in_time_goes_with_it() {
    let mut world = World::live(config());
    world.ledger.mute = true;
    world.post("1");
    world.up();
    go_away(&mut world, Duration::ZERO, &[]);
    world.core.handle_timeout(world.now);
    assert_eq!(world.core.poll_transport(), Some(TransportAction::Prepare));
    world.core.handle_prepared(world.now, Path::one_stream(Transport::Quic));
    world.ledger.mute = false;
    world.wait();
    assert_eq!(world.core.poll_transport(), Some(TransportAction::Switch));
    world.peer = Some(Peer::new(world.now));
    world.exchange();
    assert_eq!((world.ledger.texts("bob"), world.core.unacknowledged()), (vec!["1".to_owned()], 0));
}

#[test]
fn without_a_second_connection_it_says_good_bye_and_is_back_at_once() {
    let mut world = World::live(config());
    go_away(&mut world, 2 * SECOND, &[]);
    assert_eq!(world.core.poll_timeout(), Some(world.now + 2 * SECOND));
    world.wait();
    let left = world.now;
    assert_eq!(world.core.poll_transport(), Some(TransportAction::Prepare));
    world.core.handle_prepare_failed(world.now);
    assert_eq!(world.core.poll_transport(), Some(TransportAction::Disconnect(CloseCode::BYE)));
    world.connect();
    assert_eq!(world.now, left);
    // Asked again at once: it takes its time.
    world.events();
    world.peer.as_mut().unwrap().server.go_away(CloseCode::GOING_AWAY, Duration::ZERO, &[]);
    world.down();
    assert!(matches!(world.events()[..], [Event::GoAway { slot, .. }] if !slot.is_zero()));
}

#[test]
fn a_server_that_is_lost_within_its_window_is_come_back_to_within_it() {
    let mut longest = Duration::ZERO;
    for seed in 0..50 {
        let mut world = World::new(CoreConfig { seed, ..config() });
        world.ledger.return_window_ms = 20_000;
        world.connect();
        world.events();
        world.lose(CloseCode::LOST);
        assert!(world.core.returns_with_crowd());
        let events = world.events();
        let [Event::Disconnected { retry_in, .. }] = events[..] else { panic!("{events:?}") };
        assert!(retry_in <= 20 * SECOND);
        longest = longest.max(retry_in);
        // The window is for the crowd of one loss, not for what follows.
        world.now = world.core.poll_timeout().unwrap();
        world.core.handle_timeout(world.now);
        world.lose(CloseCode::LOST);
        assert!(matches!(world.events()[..], [Event::Disconnected { retry_in, .. }] if retry_in <= SECOND));
        assert!(world.core.returns_with_crowd(), "the others are still there");
        world.connect();
        assert!(!world.core.returns_with_crowd());
    }
    assert!(longest > 15 * SECOND, "{longest:?}");
    // A path that died is nobody else's.
    let mut world = World::new(config());
    world.ledger.return_window_ms = 20_000;
    world.connect();
    world.events();
    world.core.handle_path_dead(world.now, Closing::new(CloseCode::LOST, "silence"));
    assert!(!world.core.returns_with_crowd());
    assert!(
        matches!(world.events()[..], [Event::Disconnected { retry_in, .. }] if retry_in <= backoff::BASE)
    );
}

#[test]
fn the_application_hears_that_the_backend_is_away_and_back() {
    let mut world = World::new(config());
    world.connect();
    world.events();
    for (away, event) in [(true, Event::Away), (false, Event::Back)] {
        world.peer.as_mut().unwrap().server.tell_away(away, &ServerLimits::default());
        world.down();
        assert_eq!(world.events(), [event]);
    }
}

#[test]
fn a_window_that_is_told_later_counts_instead() {
    let longest = |window_ms| {
        longest_wait(|world| {
            world.peer.as_mut().unwrap().server.tell_return_window(window_ms, &ServerLimits::default());
            world.down();
            world.lose(CloseCode::LOST);
        })
    };
    assert!((45 * SECOND..=50 * SECOND).contains(&longest(50_000)));
    assert!(longest(0) <= backoff::BASE, "there is no crowd any more");
}

/// How long a core waits that was given a window of 20 s and then went through `what`, at the longest of many.
fn longest_wait(what: impl Fn(&mut World)) -> Duration {
    let wait = |seed| {
        let mut world = World::new(CoreConfig { seed, ..config() });
        world.ledger.return_window_ms = 20_000;
        world.connect();
        world.events();
        what(&mut world);
        let waits = world.events().into_iter().filter_map(|event| match event {
            Event::Disconnected { retry_in, .. } => Some(retry_in),
            _ => None,
        });
        waits.last().expect("it is disconnected")
    };
    (0..50).map(wait).max().unwrap()
}

#[test]
fn only_what_befalls_a_crowd_is_come_back_from_within_the_window() {
    assert!(longest_wait(|world| world.lose(CloseCode::GOING_AWAY)) > 15 * SECOND, "closed without a slot");
    for alone in [CloseCode::SLOW, CloseCode::TIMEOUT] {
        assert!(longest_wait(|world| world.lose(alone)) <= SECOND, "{alone}");
    }
    let left = longest_wait(|world| {
        go_away(world, Duration::ZERO, &[]);
        world.core.handle_timeout(world.now);
        assert_eq!(world.core.poll_transport(), Some(TransportAction::Prepare));
        world.core.handle_prepared(world.now, Path::one_stream(Transport::Quic));
        assert_eq!(world.core.poll_transport(), Some(TransportAction::Switch));
        world.core.handle_disconnected(world.now, Closing::new(CloseCode::LOST, "the new one"));
    });
    assert!(left <= SECOND, "it had its slot: {left:?}");
    let moved = longest_wait(|world| {
        world.core.network_changed(world.now, false);
        world.core.handle_disconnected(world.now, Closing::new(CloseCode::LOST, "no network yet"));
    });
    assert!(moved <= SECOND, "its own network has changed: {moved:?}");
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
    let history =
        world.core.request_history(now, user("alice"), HistoryQuery::new(HistoryRange::Newest, 10)).unwrap();
    let echo =
        world.core.request_other(now, Lane::Chat, Kind::ECHO, Bytes::from_static(b"x"), false).unwrap();
    world.core.poll_output().take();
    world.lose(CloseCode::LOST);
    assert_eq!(world.core.poll_answer(), Some(Answer::Request { id: echo, result: Err(Failure::Lost) }));
    world.connect();
    let Some(Answer::Request { id, result: Ok(Reply::History(page)) }) = world.core.poll_answer() else {
        panic!()
    };
    assert_eq!((id, page.messages.len(), page.complete), (history, 1, true));
    let echo =
        world.core.request_other(now, Lane::Chat, Kind::ECHO, Bytes::from_static(b"x"), false).unwrap();
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
    let id = world.core.send_with(world.now, user("alice"), text("x"), SendOptions::default(), true).unwrap();
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

/// A process that begins in the middle of the log, with a message that was changed before it was read here.
#[test]
fn a_changed_message_is_new_after_a_restart_if_it_was_never_shown() {
    let mut world = World::new(CoreConfig { cursor: Some(1), ..config() });
    for what in ["old", "new"] {
        world.ledger.incoming(what);
    }
    let changed = |at: usize, edit, first, world: &World| {
        let delivery = world.ledger.log[at].clone();
        body::Delivery { edit, first, ..delivery }
    };
    let entries = [changed(1, 2, true, &world), changed(1, 2, false, &world), changed(0, 1, false, &world)];
    world.ledger.log.truncate(1);
    world.ledger.log.extend(entries);
    world.connect();
    let seen: Vec<_> = world
        .events()
        .into_iter()
        .filter_map(|event| match event {
            Event::Message(message) => Some((message.text(), true)),
            Event::Edited(message) => Some((message.text(), false)),
            _ => None,
        })
        .collect();
    assert_eq!(seen, [("new".to_owned(), true), ("old".to_owned(), false)]);
}
