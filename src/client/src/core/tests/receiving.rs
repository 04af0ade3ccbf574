//! The log: shown once, acknowledged after it was shown, bounded.

use super::*;
use crate::event::msg_key;

#[test]
fn the_key_made_from_an_entry_is_the_one_of_the_contract() {
    assert_eq!(msg_key(12, &[0, 0, 1, 2, 9, 9], 1_700_000_000_999), "12_258_1700000000");
}

#[test]
fn somebody_who_copies_our_ids_neither_hides_messages_nor_acknowledges_ours() {
    let mut world = World::live(config());
    world.ledger.mute = true;
    let id = world.post("mine");
    let forged = body::Message {
        from: "mallory".into(),
        to: None,
        client_msg_id: Bytes::copy_from_slice(id.as_bytes()),
        content: Some(text("forged")),
        ..body::Message::default()
    };
    let mut other = Ledger::default();
    let (position, _) = other.append(forged);
    world.peer.as_mut().unwrap().push(&other.push(position));
    world.down();
    assert_eq!(world.shown(), ["forged"]);
    assert_eq!(world.core.unacknowledged(), 1);
}

#[test]
fn an_acknowledgement_waits_for_the_application_and_for_company() {
    let mut world = World::live(config());
    world.incoming("1");
    world.incoming("2");
    assert_eq!(
        world.core.poll_timeout(),
        Some(world.now + 25 * SECOND),
        "nothing is shown yet: only the heartbeat"
    );
    assert!(matches!(world.core.poll_event(), Some(Event::Message(_))));
    world.core.handle_timeout(world.now + SECOND);
    world.exchange();
    assert_eq!(world.ledger.acked, 0, "the application is looking at the first message");
    assert!(matches!(world.core.poll_event(), Some(Event::Message(_))));
    world.wait();
    world.exchange();
    assert_eq!(world.ledger.acked, 1);
    let flush = world.core.flush(world.now).unwrap();
    world.exchange();
    assert_eq!(world.ledger.acked, 2, "a flush says that the application is done with what it took");
    let answer = Answer::Request { id: flush, result: Ok(Reply::Done) };
    assert_eq!(world.core.poll_answer(), Some(answer));
}

#[test]
fn thirty_two_positions_are_acknowledged_at_once() {
    let mut world = World::live(config());
    for n in 0..32 {
        world.incoming(&n.to_string());
    }
    world.events();
    world.core.handle_timeout(world.now);
    world.exchange();
    assert_eq!(world.ledger.acked, 32);
}

#[test]
fn manual_acknowledgements_are_the_applications_and_cover_own_entries() {
    let mut world = World::live(CoreConfig { acks: Acks::Manual, ..config() });
    world.incoming("1");
    world.post("mine");
    world.exchange();
    world.incoming("3");
    assert_eq!(world.shown(), ["1", "3"]);
    world.core.handle_timeout(world.now + 20 * SECOND);
    world.exchange();
    assert_eq!(world.ledger.acked, 0);
    world.core.acknowledge(world.now, 1);
    world.exchange();
    assert_eq!(world.ledger.acked, 1);
    world.core.acknowledge(world.now, 99);
    world.exchange();
    assert_eq!(world.ledger.acked, 3);
}

#[test]
fn a_lost_acknowledgement_is_repeated_after_the_next_login() {
    let mut world = World::live(config());
    world.incoming("1");
    world.events();
    world.now += SECOND;
    world.core.handle_timeout(world.now);
    world.core.poll_output().take(); // the acknowledgement, lost
    world.lose(CloseCode::LOST);
    world.connect();
    world.now += SECOND;
    world.core.handle_timeout(world.now);
    world.exchange();
    assert_eq!(world.ledger.acked, 1);
}

#[test]
fn a_reconnect_goes_on_where_it_stood_and_another_log_starts_afresh() {
    let mut world = World::live(config());
    world.incoming("1");
    assert_eq!(world.shown(), ["1"]);
    world.lose(CloseCode::LOST);
    world.incoming("2");
    world.connect();
    assert_eq!(world.ledger.hellos.last().unwrap().cursor, Some(1));
    assert_eq!(world.shown(), ["2"]);
    world.lose(CloseCode::LOST);
    world.ledger = Ledger::default();
    world.connect();
    assert!(matches!(world.events()[1], Event::Connected { resumed: false, cursor: 0, .. }));
    world.incoming("new");
    assert_eq!(world.shown(), ["new"]);
}

#[test]
fn an_application_that_takes_no_events_pauses_input_and_keeps_its_session() {
    let limits = Limits { events_max: 5, ..Limits::default() };
    let mut world = World::live(CoreConfig { limits, ..config() });
    for n in 0..9 {
        world.incoming(&n.to_string());
        if !world.core.wants_input() {
            break;
        }
    }
    assert!(!world.core.wants_input());
    world.post("answered, but the answer waits");
    world.up();
    // The shell does not read any more. Three minutes of signs of life keep the server content.
    let until = world.now + 180 * SECOND;
    while world.now < until {
        world.wait();
        assert!(world.up(), "a frame at every deadline");
        world.peer.as_mut().unwrap().server.handle_timeout(world.now).unwrap();
    }
    assert_eq!(world.core.state(), State::Live);
    assert_eq!(world.shown().len(), 5);
    assert!(world.core.wants_input());
    world.core.handle_timeout(world.now);
    world.exchange();
    assert_eq!(world.core.state(), State::Live);
    assert_eq!((world.core.unacknowledged(), world.ledger.attempts.len()), (0, 1));
}

#[test]
fn a_full_queue_does_not_keep_it_from_logging_in() {
    let limits = Limits { events_max: 1, ..Limits::default() };
    let mut world = World::live(CoreConfig { limits, ..config() });
    world.incoming("1");
    world.lose(CloseCode::LOST);
    world.wait();
    world.core.handle_connected(world.now, Path::one_stream(Transport::Quic));
    assert!(world.core.wants_input(), "the welcome");
    world.core.reconnect_now(world.now);
    assert_eq!(world.core.poll_transport(), Some(TransportAction::Connect));
    world.peer = Some(Peer::new(world.now));
    world.exchange();
    assert_eq!((world.core.state(), world.core.wants_input()), (State::Live, false));
}

#[test]
fn with_a_full_queue_a_flapping_connection_adds_no_events() {
    let limits = Limits { events_max: 5, ..Limits::default() };
    let mut world = World::live(CoreConfig { limits, ..config() });
    for n in 0..5 {
        world.incoming(&n.to_string());
    }
    for _ in 0..50 {
        world.lose(CloseCode::LOST);
        world.connect();
    }
    let events = world.events();
    assert!(events.len() <= 8, "{} events", events.len());
    let messages = events.iter().filter(|e| matches!(e, Event::Message(_))).count();
    assert_eq!(messages, 5);
}

#[test]
fn a_program_that_only_sends_gets_and_acknowledges_nothing() {
    let mut world =
        World::new(CoreConfig { receive: Receive::Nothing, cursor: Some(crate::FROM_NOW), ..config() });
    for n in 0..10 {
        world.ledger.incoming(&n.to_string());
    }
    world.connect();
    world.post("mine");
    world.incoming("later");
    world.now += SECOND;
    world.core.handle_timeout(world.now);
    world.exchange();
    assert_eq!(world.shown(), [""; 0]);
    assert_eq!(world.ledger.acked, 0);
    assert_eq!(world.core.cursor(), Some(12));
}
