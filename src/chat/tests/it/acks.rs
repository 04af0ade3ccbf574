use nearport_chat::key::ConvKey;
use nearport_chat::ledger::CursorName;
use nearport_trunk::Down;
use nearport_wire::Kind;
use nearport_wire::body::{MarkRead, ReadEvent};
use prost::Message as _;

use crate::world::{Seen, World, seen, to_user, user};

fn stored(world: &World, device: &str) -> Option<u64> {
    world.ledger.cursor(&user("bob"), &CursorName::Device(device.into())).unwrap()
}

/// Alice has sent bob three messages; bob is there with two devices.
fn world() -> (World, [nearport_trunk::SessionId; 3]) {
    let mut world = World::new();
    let sessions = [("alice", "phone"), ("bob", "phone"), ("bob", "laptop")];
    let sessions = sessions.map(|(name, device)| world.login(name, device));
    let batch = (1..=3).map(|id| world.text(sessions[0], "bob", id, 1)).collect();
    world.write(batch);
    world.received(0);
    (world, sessions)
}

#[test]
fn an_ack_waits_for_a_commit_or_its_deadline() {
    let (mut world, [alice, bob, _]) = world();
    let batch = vec![world.ack(bob, 1)];
    world.write(batch);
    assert_eq!((stored(&world, "phone"), world.writer.deadline_ms()), (None, Some(world.now_ms + 1000)));
    let text = world.text(alice, "bob", 4, 1);
    world.write(vec![text]);
    assert_eq!(
        (stored(&world, "phone"), world.writer.deadline_ms()),
        (Some(1), None),
        "joined the message's commit"
    );

    let batch = vec![world.ack(bob, 3), world.ack(bob, 2)];
    world.write(batch);
    world.now_ms += 999;
    world.write(Vec::new());
    assert_eq!(stored(&world, "phone"), Some(1));
    world.now_ms += 1;
    world.write(Vec::new());
    assert_eq!(stored(&world, "phone"), Some(3), "the largest of what was acknowledged");
}

#[test]
fn a_flush_is_answered_when_the_acks_before_it_are_stored() {
    let (mut world, [_, bob, laptop]) = world();
    let batch = vec![world.ack(bob, 2), world.ack(laptop, 1), world.frame(bob, Kind::FLUSH, 7, "")];
    world.write(batch);
    assert_eq!(seen(&world.received(0)), [Seen::Reply(bob, 7)]);
    assert_eq!((stored(&world, "phone"), stored(&world, "laptop")), (Some(2), Some(1)));
    let batch = vec![world.frame(bob, Kind::FLUSH, 8, "")];
    world.write(batch);
    assert_eq!(seen(&world.received(0)), [Seen::Reply(bob, 8)], "nothing waits, answered all the same");
}

#[test]
fn an_ack_beyond_the_log_hides_no_later_message() {
    let (mut world, [alice, bob, _]) = world();
    let batch = vec![world.ack(bob, 1000), world.frame(bob, Kind::FLUSH, 1, "")];
    world.write(batch);
    assert_eq!(stored(&world, "phone"), Some(3));
    let text = world.text(alice, "bob", 9, 1);
    world.write(vec![text]);
    let hello = world.hello("bob", "phone");
    let (_, welcome) = world.login_at(0, &hello);
    assert_eq!((welcome.cursor, welcome.head), (3, 4));
}

#[test]
fn a_read_mark_moves_forward_and_both_sides_hear_of_it() {
    let (mut world, [alice, bob, laptop]) = world();
    let mut mark = |seq| {
        let body = MarkRead { with: Some(to_user("alice")), seq }.encode_to_vec();
        let frame = world.frame(bob, Kind::MARK_READ, seq, body);
        world.write(vec![frame]);
        let conv = ConvKey::pair(&user("alice"), &user("bob"));
        let cursor = world.ledger.cursor(&user("bob"), &CursorName::Read(conv)).unwrap();
        (cursor, world.received(0))
    };
    let (cursor, downs) = mark(2);
    assert_eq!(cursor, Some(2));
    let want = [
        Seen::Reply(bob, 2),
        Seen::Publish('b', Kind::READ_EVENT, 0, bob),
        Seen::Publish('a', Kind::READ_EVENT, 0, bob),
    ];
    assert_eq!(seen(&downs), want);
    let Down::Publish { body, .. } = &downs[2] else { panic!("{downs:?}") };
    let event = ReadEvent { user: "bob".into(), peer: "alice".into(), seq: 2, ..ReadEvent::default() };
    assert_eq!(ReadEvent::decode(body.clone()).unwrap(), event);
    assert_eq!(mark(1).0, Some(2), "never back");
    assert_eq!(mark(99).0, Some(3), "never beyond the last message");
    assert_eq!(mark(0).1.len(), 1, "nothing to tell");
    let _ = (alice, laptop);
}
