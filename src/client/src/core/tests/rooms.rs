//! Live rooms over sessions, and requests that are asked again.

use super::*;
use nearport_wire::{Class, code};

fn refused(code: u32, retry_after_ms: u32) -> Option<body::Error> {
    Some(body::Error { code, info: String::new(), retry_after_ms })
}

#[test]
fn rooms_are_joined_again_with_each_session_and_after_behind() {
    let mut world = World::live(config());
    assert!(world.core.enter_live_room("a") && world.core.enter_live_room("b"));
    assert!(!world.core.enter_live_room("b"));
    let joins = |world: &mut World| std::mem::take(&mut world.ledger.joins);
    assert!(joins(&mut world).is_empty(), "the application asks for the first time");
    world.lose(CloseCode::LOST);
    world.connect();
    assert_eq!(joins(&mut world), ["a", "b"]);
    let mut behind = bytes::BytesMut::new();
    nearport_wire::encode_into(Lane::Chat, Kind::BEHIND, 0, &[], &mut behind);
    world.peer.as_mut().unwrap().push(&behind.freeze());
    world.exchange();
    assert_eq!(joins(&mut world), ["a", "b"]);
    world.core.leave_live_room("a");
    world.lose(CloseCode::LOST);
    world.connect();
    assert_eq!(joins(&mut world), ["b"]);
}

#[test]
fn a_room_that_is_refused_is_left_and_one_that_is_busy_asked_again() {
    let mut world = World::live(config());
    world.core.enter_live_room("a");
    world.core.enter_live_room("b");
    world.lose(CloseCode::LOST);
    world.ledger.refusals = [refused(code::group::GONE, 0), refused(60018, 500)].into();
    world.connect();
    let left = world.events().into_iter().filter_map(|event| match event {
        Event::LiveLeft { room, .. } => Some(room),
        _ => None,
    });
    assert_eq!(left.collect::<Vec<_>>(), ["a"]);
    let begun = world.now;
    world.wait();
    world.exchange();
    assert_eq!(
        (world.now - begun, &world.ledger.joins[..]),
        (SECOND / 2, &["a", "b", "b"].map(String::from)[..])
    );
    world.lose(CloseCode::LOST);
    world.connect();
    assert_eq!(world.ledger.joins[3..], ["b"]);
}

#[test]
fn what_is_left_out_behind_the_answer_to_a_join_is_on_the_books() {
    let counts = |chat| body::LiveCounts { taken: vec![0, 0, chat, 0], since_ms: 7, ..Default::default() };
    let mut world = World::live(config());
    world.ledger.counts = Some(counts(10));
    let join = body::GroupJoin { group: "a".into(), text: String::new() };
    let call = body::GroupCall { call: Some(body::group_call::Call::Join(join)) };
    let call = prost::Message::encode_to_vec(&call).into();
    world.core.request_other(world.now, Lane::Bulk, Kind::GROUP, call, true).unwrap();
    world.exchange();
    // Two did not come.
    let frame = body::LiveFrame { room: "a".into(), counts: Some(counts(13)), ..Default::default() };
    let (frame, mut bytes) = (prost::Message::encode_to_vec(&frame), bytes::BytesMut::new());
    nearport_wire::encode_into(Lane::Live, Kind::LIVE, Class::Chat.id(), &frame, &mut bytes);
    world.peer.as_mut().unwrap().push(&bytes.freeze());
    world.exchange();
    let missed: Vec<_> = world
        .events()
        .into_iter()
        .filter_map(|event| match event {
            Event::Live { missed, .. } => Some(missed.left_out.chat),
            _ => None,
        })
        .collect();
    assert_eq!(missed, [2]);
}

#[test]
fn a_recall_whose_answer_was_lost_is_done_when_it_is_refused_as_done() {
    let recall = body::Recall { with: None, seq: 1, reason: String::new() };
    let amends = [
        (body::amend::Amend::Recall(recall), true),
        (body::amend::Amend::Edit(body::Edit::default()), false),
    ];
    for (amend, done) in amends {
        for lost in [true, false] {
            let mut world = World::live(config());
            let body: Bytes =
                prost::Message::encode_to_vec(&body::Amend { amend: Some(amend.clone()) }).into();
            world.ledger.mute = lost;
            world.ledger.refusals =
                [None, refused(code::RECALLED, 0)].into_iter().skip(usize::from(!lost)).collect();
            let id = world.core.request_other(world.now, Lane::Chat, Kind::AMEND, body, true).unwrap();
            world.exchange();
            if lost {
                world.lose(CloseCode::LOST);
                world.ledger.mute = false;
                world.connect();
            }
            let Some(Answer::Request { id: answered, result }) = world.core.poll_answer() else { panic!() };
            assert_eq!((answered, result.is_ok()), (id, done && lost), "{lost}");
        }
    }
}
