use std::sync::Arc;

use nearport_chat::Config;
use nearport_chat::ledger::LedgerError;
use nearport_store::MemoryLedger;
use nearport_trunk::Down;
use nearport_wire::Kind;
use nearport_wire::body::{self, Content, Custom, Delivery, Element, Sent, Target, element, target};
use prost::Message as _;

use crate::world::{START_MS, Seen, World, answer, directory, seen, send, text_content, to_user};

fn sent(downs: &[Down]) -> Vec<Sent> {
    let replies = downs.iter().filter(|down| matches!(down, Down::Reply { .. }));
    replies.map(|down| answer(down).unwrap()).collect()
}

fn custom() -> Element {
    Element::from(element::Element::Custom(Custom::default()))
}

fn group() -> Target {
    Target { target: Some(target::Target::Group("g".into())) }
}

#[test]
fn each_bad_request_has_its_code() {
    let mut world = World::new();
    let alice = world.login("alice", "phone");
    world.received(0);
    type Spoil = fn(&mut body::Send);

    let cases: [(Spoil, u32); 11] = [
        (|s| s.client_msg_id = vec![1; 15].into(), 20001),
        (|s| s.client_msg_id = vec![1; 17].into(), 20001),
        (|s| s.to = None, 20001),
        (|s| s.to = Some(Target { target: None }), 20001),
        (|s| s.to = Some(to_user("nobody")), 20003),
        (|s| s.to = Some(to_user("")), 20003),
        (|s| s.to = Some(to_user("b\u{f6}b")), 20003),
        (|s| s.to = Some(group()), 10010),
        (|s| s.content = None, 90002),
        (|s| s.content = Some(Content { elements: vec![custom(), custom()], ..Content::default() }), 90002),
        (|s| s.content = Some(text_content(&"x".repeat(12_289))), 80002),
    ];
    for (spoil, code) in cases {
        let mut request = send("bob", 1);
        spoil(&mut request);
        let frame = world.frame(alice, Kind::SEND, 5, request.encode_to_vec());
        world.write(vec![frame]);
        assert_eq!(seen(&world.received(0)), [Seen::Error(alice, 5, code)], "{request:?}");
    }
    let noise = [Kind::SEND, Kind::MARK_READ].map(|kind| world.frame(alice, kind, 6, vec![0xff; 5]));
    world.write(noise.into());
    assert_eq!(seen(&world.received(0)), [Seen::Error(alice, 6, 20001); 2]);
    assert_eq!(world.ledger.log_head(&crate::world::user("alice")).unwrap(), 0);
}

#[test]
fn other_devices_get_the_message_and_the_sending_session_does_not() {
    let mut world = World::new();
    let alice = world.login("alice", "phone");
    let batch = vec![world.text(alice, "bob", 1, 1)];
    world.received(0);
    world.write(batch);
    assert_eq!(seen(&world.received(0)), [Seen::Reply(alice, 1)], "nobody else is there");

    let laptop = world.hello("alice", "laptop");
    world.login_at(1, &laptop);
    let bob = world.hello("bob", "phone");
    world.login_at(1, &bob);
    let batch = vec![world.text(alice, "bob", 2, 2)];
    world.write(batch);
    let downs = world.received(0);
    assert_eq!(seen(&downs), [Seen::Reply(alice, 2)], "no publish where only the sender is interested");
    let acknowledged = &sent(&downs)[0];
    let random = u32::from_be_bytes([2; 4]);
    let want = Sent {
        seq: 2,
        time_ms: START_MS,
        msg_key: format!("2_{random}_{}", START_MS / 1000),
        duplicate: false,
        position: 2,
    };
    assert_eq!(*acknowledged, want);

    let downs = world.received(1);
    let pushes = [Seen::Publish('a', Kind::PUSH, 2, alice), Seen::Publish('b', Kind::PUSH, 2, alice)];
    assert_eq!(seen(&downs), pushes);
    let Down::Publish { body, .. } = &downs[1] else { panic!("{downs:?}") };
    let delivery = Delivery::decode(body.clone()).unwrap();
    let message = delivery.message.unwrap();
    assert_eq!((delivery.seq, delivery.time_ms, message.from.as_str()), (2, START_MS, "alice"));
    assert_eq!(message.content.unwrap(), text_content("hi"));
    assert_eq!(&message.client_msg_id[..], [2; 16]);
}

#[test]
fn a_note_to_oneself_takes_one_place() {
    let mut world = World::new();
    let phone = world.login("alice", "phone");
    world.login("alice", "laptop");
    world.received(0);
    let note = world.text(phone, "alice", 1, 1);
    world.write(vec![note]);
    assert_eq!(seen(&world.received(0)), [Seen::Reply(phone, 1), Seen::Publish('a', Kind::PUSH, 1, phone)]);
}

#[test]
fn duplicates_in_one_batch_and_across_batches_and_restarts_are_said_and_not_published() {
    let mut world = World::new();
    let alice = world.login("alice", "phone");
    world.login("bob", "phone");
    world.received(0);
    let batch = vec![world.text(alice, "bob", 1, 1), world.text(alice, "bob", 1, 2)];
    world.write(batch);
    let downs = world.received(0);
    let want = [Seen::Reply(alice, 1), Seen::Publish('b', Kind::PUSH, 1, alice), Seen::Reply(alice, 2)];
    assert_eq!(seen(&downs), want);
    let first = sent(&downs)[0].clone();
    let again = Sent { duplicate: true, position: 0, ..first.clone() };
    assert_eq!(sent(&downs)[1], again);

    world.now_ms += 5000;
    let batch = vec![world.text(alice, "bob", 1, 3)];
    world.write(batch);
    let downs = world.received(0);
    assert_eq!(seen(&downs), [Seen::Reply(alice, 3)]);
    assert_eq!(sent(&downs)[0], again, "time and key are the first one's");

    world.restart();
    let alice = world.login("alice", "phone");
    let batch = vec![world.text(alice, "bob", 1, 4)];
    world.received(0);
    world.write(batch);
    assert_eq!(sent(&world.received(0)), [again]);
}

#[test]
fn online_only_is_delivered_and_leaves_no_trace() {
    let mut world = World::new();
    let alice = world.login("alice", "phone");
    world.login("alice", "laptop");
    world.login("bob", "phone");
    world.received(0);
    let typing = body::Send { online_only: true, ..send("bob", 1) };
    let batch = vec![world.frame(alice, Kind::SEND, 1, typing.encode_to_vec())];
    world.write(batch);
    let downs = world.received(0);
    let publishes = [Seen::Publish('a', Kind::PUSH, 0, alice), Seen::Publish('b', Kind::PUSH, 0, alice)];
    assert_eq!(seen(&downs), [&[Seen::Reply(alice, 1)][..], &publishes].concat());
    assert_eq!((sent(&downs)[0].seq, sent(&downs)[0].position), (0, 0));
    assert_eq!(world.ledger.log_head(&crate::world::user("bob")).unwrap(), 0);
    let stored = world.text(alice, "bob", 1, 2);
    world.write(vec![stored]);
    assert!(!sent(&world.received(0))[0].duplicate, "it took no idempotency key either");
}

#[test]
fn nothing_is_answered_before_the_commit() {
    let ledger = MemoryLedger::new();
    let mut world = World::over(Arc::new(ledger.clone()), Arc::new(directory()), Config::default());
    let alice = world.login("alice", "phone");
    world.login("bob", "phone");
    world.received(0);
    let mut batch = vec![
        world.text(alice, "bob", 1, 1),
        world.frame(alice, Kind::FLUSH, 2, ""),
        world.text(alice, "nobody", 2, 3),
    ];
    let prepared = world.writer.prepare(&mut batch, world.now_ms, &mut world.downs);
    world.downs.flush();
    assert_eq!(seen(&world.received(0)), [Seen::Error(alice, 3, 20003)], "a refusal promises nothing");
    let pending = ledger.split_commit(&prepared.batch).unwrap();
    let outcome = pending.sync();
    world.writer.finish(prepared, Ok(outcome), &mut world.downs);
    world.downs.flush();
    let want = [Seen::Reply(alice, 1), Seen::Publish('b', Kind::PUSH, 1, alice), Seen::Reply(alice, 2)];
    assert_eq!(seen(&world.received(0)), want);
}

#[test]
fn a_failed_commit_answers_every_request_and_acknowledges_nothing() {
    let ledger = MemoryLedger::new();
    let mut world = World::over(Arc::new(ledger.clone()), Arc::new(directory()), Config::default());
    let alice = world.login("alice", "phone");
    let bob = world.login("bob", "phone");
    let first = world.text(alice, "bob", 1, 1);
    world.write(vec![first]);
    world.received(0);

    ledger.fail_next(LedgerError::Full("no space".to_owned()));
    let read = body::MarkRead { with: Some(to_user("alice")), seq: 1 };
    let batch = vec![
        world.ack(bob, 1),
        world.text(alice, "bob", 2, 2),
        world.text(bob, "alice", 3, 3),
        world.frame(bob, Kind::MARK_READ, 4, read.encode_to_vec()),
        world.frame(bob, Kind::FLUSH, 5, ""),
    ];
    world.write(batch);
    let downs = world.received(0);
    let want = [(alice, 2), (bob, 3), (bob, 4), (bob, 5)].map(|(who, id)| Seen::Error(who, id, 20005));
    assert_eq!(seen(&downs), want);
    let Down::Reply { body, .. } = &downs[0] else { panic!("{downs:?}") };
    assert_eq!(body::Error::decode(body.clone()).unwrap().retry_after_ms, 5000);

    let page: body::SyncPage = world.ask(bob, Kind::SYNC, &body::Sync { after: 0, limit: 9 }).unwrap();
    assert_eq!((page.head, page.entries.len()), (1, 1), "reads go on");
    ledger.crash();
    let again = world.text(alice, "bob", 2, 6);
    world.write(vec![again]);
    assert!(!sent(&world.received(0))[0].duplicate, "the same id goes through after the restart");
}

#[test]
fn one_session_cannot_fill_a_commit() {
    let config = Config { session_sends_per_batch: 2, ..Config::default() };
    let mut world = World::over(Arc::new(MemoryLedger::new()), Arc::new(directory()), config);
    let alice = world.login("alice", "phone");
    let carol = world.login("carol", "phone");
    world.received(0);
    let mut batch: Vec<_> = (1..=3).map(|id| world.text(alice, "bob", id, u64::from(id))).collect();
    batch.push(world.text(carol, "bob", 9, 9));
    world.write(batch);
    let want =
        [Seen::Error(alice, 3, 60018), Seen::Reply(alice, 1), Seen::Reply(alice, 2), Seen::Reply(carol, 9)];
    assert_eq!(seen(&world.received(0)), want);
}

#[test]
fn message_times_never_go_back() {
    let mut world = World::new();
    let alice = world.login("alice", "phone");
    world.received(0);
    let mut times = Vec::new();
    for (id, clock_ms) in [(1, START_MS + 500), (2, START_MS - 100_000), (3, START_MS + 600)] {
        world.now_ms = clock_ms;
        let text = world.text(alice, "bob", id, 1);
        world.write(vec![text]);
        times.push(sent(&world.received(0))[0].time_ms - START_MS);
    }
    assert_eq!(times, [500, 500, 600]);
}
