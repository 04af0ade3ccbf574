//! The outbox: order, bounds, retries, outcomes.

use super::*;

#[test]
fn what_was_sent_in_vain_goes_out_again_in_order_with_the_same_ids() {
    let mut world = World::live(config());
    let ids = ["1", "2", "3"].map(|what| world.post(what));
    world.lose(CloseCode::LOST);
    assert!(matches!(world.events()[..], [Event::Disconnected { code: CloseCode::LOST, .. }]));
    let late = world.post("4");
    world.connect();
    assert_eq!(world.ledger.texts("bob"), ["1", "2", "3", "4"]);
    let events = world.events();
    assert!(matches!(events[0], Event::Connected { resumed: true, .. }));
    assert_eq!(sent_ids(&events), [ids[0], ids[1], ids[2], late]);
    assert_eq!(world.core.unacknowledged(), 0);
}

#[test]
fn a_lost_answer_is_made_up_for_by_the_own_entry_which_is_not_shown() {
    let mut world = World::live(config());
    let id = world.post("mine");
    world.up(); // stored, and the answer is lost
    world.lose(CloseCode::LOST);
    world.incoming("theirs");
    world.connect();
    let events = world.events();
    assert_eq!(sent_ids(&events), [id]);
    let place =
        events.iter().find_map(|e| if let Event::Sent { sent, .. } = e { Some(sent.seq) } else { None });
    assert_eq!(place, Some(1));
    let shown: Vec<_> = events.iter().filter(|e| matches!(e, Event::Message(_))).collect();
    assert!(
        matches!(shown[..], [Event::Message(message)] if message.text() == "theirs" && message.position == 2)
    );
    assert_eq!(world.ledger.log.len(), 2, "stored once");
}

#[test]
fn the_log_settles_a_send_whose_answer_is_missing() {
    let mut world = World::live(config());
    world.ledger.mute = true;
    let id = world.post("mine");
    world.up();
    let entry = world.ledger.push(1);
    world.peer.as_mut().unwrap().push(&entry);
    world.down();
    assert_eq!(sent_ids(&world.events()), [id]);
    assert_eq!(world.core.unacknowledged(), 0);
}

#[test]
fn a_full_outbox_says_so_and_takes_more_after_an_acknowledgement() {
    let mut limits = Limits { outbox_messages_max: 3, ..Limits::default() };
    let mut world = World::live(CoreConfig { limits: limits.clone(), ..config() });
    for n in 1..=3 {
        world.post(&n.to_string());
    }
    let refused = world.core.send(world.now, user("alice"), text("4"), false);
    assert!(matches!(refused, Err(PostError::QueueFull(QueueFull { entries: 3, .. }))), "{refused:?}");
    world.exchange();
    world.post("4");

    limits = Limits { outbox_bytes_max: 100, ..Limits::default() };
    let mut world = World::live(CoreConfig { limits, ..config() });
    world.post(&"x".repeat(50));
    let refused = world.core.send(world.now, user("alice"), text("y".repeat(50)), false);
    assert!(matches!(refused, Err(PostError::QueueFull(_))), "{refused:?}");
}

#[test]
fn what_would_end_the_session_is_refused_here() {
    let mut world = World::live(config());
    let now = world.now;
    let long = world.core.send(now, user("alice"), text("x".repeat(13_000)), false);
    assert!(matches!(long, Err(PostError::Content(_))), "{long:?}");
    let nobody = world.core.send(now, user(""), text("hi"), false);
    assert_eq!(nobody, Err(PostError::Target(0)));
    let hello = world.core.request_other(now, Lane::Control, Kind::HELLO, Bytes::new(), false);
    assert_eq!(hello, Err(RequestError::NotARequest { kind: 1, bytes: 0 }));
}

#[test]
fn at_most_64_are_in_flight() {
    let mut world = World::live(config());
    for n in 0..70 {
        world.post(&n.to_string());
    }
    world.ledger.mute = true;
    world.up();
    assert_eq!(world.ledger.attempts.len(), 64);
}

#[test]
fn a_message_to_try_again_is_not_overtaken_by_newer_ones() {
    let mut world = World::live(config());
    world.ledger.refusals = [refusal(3000), refusal(3000)].into();
    world.post("1");
    world.exchange();
    world.post("2");
    world.post("3");
    world.exchange();
    assert_eq!(world.ledger.attempts, ["1"], "newer ones wait");
    assert_eq!(world.core.poll_timeout(), Some(world.now + 3 * SECOND));
    world.wait();
    world.exchange();
    assert_eq!(world.ledger.attempts, ["1", "1"], "and are not sent along with the second attempt");
    world.wait();
    world.exchange();
    assert_eq!(world.ledger.texts("bob"), ["1", "2", "3"]);
}

#[test]
fn none_of_several_messages_to_try_again_is_overtaken() {
    let mut world = World::live(config());
    world.ledger.refusals = [refusal(1000), refusal(1000), None, refusal(1000)].into();
    world.post("1");
    world.post("2");
    world.exchange();
    world.post("3");
    while world.core.unacknowledged() > 0 {
        world.wait();
        world.exchange();
    }
    assert_eq!(world.ledger.attempts, ["1", "2", "1", "2", "2", "3"]);
}

#[test]
fn a_final_refusal_fails_and_the_next_one_goes_on() {
    let mut world = World::live(config());
    world.ledger.refusals = [refusal(0)].into();
    let first = world.post("1");
    let second = world.post("2");
    world.exchange();
    let events = world.events();
    assert!(matches!(&events[..], [
        Event::Failed { id, failure: Failure::Refused { code: 20004, .. } },
        Event::Sent { id: sent, .. },
    ] if *id == first && *sent == second));
}

#[test]
fn an_awaited_outcome_is_an_answer_and_no_event() {
    let mut world = World::live(config());
    let id = world.core.send_with(world.now, user("alice"), text("1"), SendOptions::default(), true).unwrap();
    world.exchange();
    assert!(matches!(world.core.poll_answer(), Some(Answer::Send { id: got, result: Ok(_) }) if got == id));
    assert_eq!(world.events(), []);
}

#[test]
fn online_only_messages_are_sent_at_most_once_and_not_kept() {
    let mut world = World::live(config());
    world.core.send(world.now, user("alice"), text("typing"), true).unwrap();
    world.up();
    world.lose(CloseCode::LOST);
    assert!(matches!(
        world.events()[..],
        [Event::Failed { failure: Failure::Lost, .. }, Event::Disconnected { .. }]
    ));
    let offline = world.core.send(world.now, user("alice"), text("typing"), true);
    assert_eq!(offline, Err(PostError::Offline));
    world.connect();
    assert_eq!(world.ledger.attempts.len(), 1);
}

#[test]
fn a_message_whose_answer_was_lost_is_settled_by_the_welcome_and_not_sent_again() {
    let mut world = World::live(config());
    world.ledger.mute = true;
    let id = world.post("1");
    world.up();
    world.lose(CloseCode::LOST);
    world.ledger.mute = false;
    world.connect();
    assert_eq!(sent_ids(&world.events()), [id]);
    assert_eq!(world.ledger.attempts, ["1"], "the log told before a second attempt");
}

#[test]
fn a_message_is_not_tried_for_longer_than_the_server_remembers_it() {
    let mut world = World::live(config());
    world.post("old");
    // Sent, and lost on the way: the server's log does not have it.
    world.core.poll_output().take();
    world.lose(CloseCode::LOST);
    world.now += Limits::default().retry_for;
    let fresh = world.post("never tried before");
    world.core.handle_timeout(world.now);
    world.connect();
    let events = world.events();
    assert!(
        events.iter().any(|e| matches!(e, Event::Failed { failure: Failure::Expired, .. })),
        "{events:?}"
    );
    assert_eq!(sent_ids(&events), [fresh]);
}
