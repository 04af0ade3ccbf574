use nearport_trunk::local::LinkId;
use nearport_trunk::{SessionId, Up};
use nearport_wire::body::{Empty, History, HistoryPage, MarkRead, Sync, SyncPage, Target, target};
use nearport_wire::{Kind, Lane};
use prost::Message as _;

use crate::world::{Seen, World, seen, send, text_content, to_user};

/// Alice and bob have exchanged `count` messages, alice the odd ones.
fn world(count: u8) -> (World, SessionId, SessionId) {
    let mut world = World::new();
    let (alice, bob) = (world.login("alice", "phone"), world.login("bob", "phone"));
    for id in 1..=count {
        let text =
            if id % 2 == 1 { world.text(alice, "bob", id, 1) } else { world.text(bob, "alice", id, 1) };
        world.write(vec![text]);
    }
    world.received(0);
    (world, alice, bob)
}

fn sync(world: &mut World, session: SessionId, after: u64, limit: u32) -> (Vec<u64>, u64, bool) {
    let page: SyncPage = world.ask(session, Kind::SYNC, &Sync { after, limit }).unwrap();
    (page.entries.iter().map(|entry| entry.position).collect(), page.head, page.complete)
}

#[test]
fn sync_pages_have_no_holes_and_say_when_they_are_the_last() {
    let (mut world, alice, _) = world(5);
    assert_eq!(sync(&mut world, alice, 0, 2), (vec![1, 2], 5, false));
    assert_eq!(sync(&mut world, alice, 2, 2), (vec![3, 4], 5, false));
    assert_eq!(sync(&mut world, alice, 4, 2), (vec![5], 5, true));
    assert_eq!(sync(&mut world, alice, 5, 2), (vec![], 5, true));
    assert_eq!(sync(&mut world, alice, 6, 2), (vec![], 5, true), "beyond the head");
    assert_eq!(sync(&mut world, alice, u64::MAX, 2), (vec![], 5, true));
    assert_eq!(sync(&mut world, alice, 0, 0), (vec![1], 5, false), "a limit of 0 is 1");
    assert_eq!(sync(&mut world, alice, 0, u32::MAX), ((1..=5).collect(), 5, true), "and a large one 200");
}

#[test]
fn a_page_ends_by_bytes_and_fits_what_a_client_reads() {
    let (mut world, alice, _) = world(0);
    for id in 1..=40 {
        let mut large = send("bob", id);
        large.content = Some(text_content(&"x".repeat(12_000)));
        let frame = world.frame(alice, Kind::SEND, 1, large.encode_to_vec());
        world.write(vec![frame]);
    }
    world.received(0);
    let page: SyncPage = world.ask(alice, Kind::SYNC, &Sync { after: 0, limit: 200 }).unwrap();
    assert!(!page.complete && page.entries.len() < 40);
    assert!(
        page.encoded_len() > 200 * 1024
            && page.encoded_len() < nearport_wire::Limits::client().body_bytes_max
    );
}

#[test]
fn history_goes_both_ways_with_its_marks() {
    let (mut world, alice, bob) = world(5);
    let read = MarkRead { with: Some(to_user("alice")), seq: 3 };
    let frame = world.frame(bob, Kind::MARK_READ, 1, read.encode_to_vec());
    world.write(vec![frame]);
    world.received(0);
    let mut page = |session, with: &str, before, after, limit| {
        let request = History { with: Some(to_user(with)), before, after, limit, ..History::default() };
        let page: HistoryPage = world.ask(session, Kind::HISTORY, &request).unwrap();
        let seqs: Vec<_> = page.deliveries.iter().map(|delivery| delivery.seq).collect();
        (seqs, page.complete, page.head, page.read, page.peer_read)
    };
    assert_eq!(page(alice, "bob", 0, None, 2), (vec![5, 4], false, 5, 0, 3));
    assert_eq!(page(bob, "alice", 4, None, 9), (vec![3, 2, 1], true, 5, 3, 0));
    assert_eq!(page(alice, "bob", 1, None, 9), (vec![], true, 5, 0, 3));
    assert_eq!(page(alice, "bob", 0, Some(3), 1), (vec![4], false, 5, 0, 3));
    assert_eq!(page(alice, "bob", 0, Some(3), 9), (vec![4, 5], true, 5, 0, 3));
    assert_eq!(page(alice, "carol", 0, None, 9), (vec![], true, 0, 0, 0));
}

#[test]
fn each_bad_question_has_its_code() {
    let (mut world, alice, _) = world(1);
    let group = Target { target: Some(target::Target::Group("g".into())) };
    for (with, code) in [(Some(group), 10010), (Some(to_user("")), 20003), (None, 20001)] {
        let request = History { with, limit: 1, ..History::default() };
        assert_eq!(world.ask::<Empty>(alice, Kind::HISTORY, &request), Err(code), "{request:?}");
    }
    assert_eq!(world.ask::<Empty>(alice, Kind(0x7f), &Empty {}), Err(60009));
    let frame = world.frame(alice, Kind::SYNC, 3, vec![0xff; 3]);
    let body = vec![].into();
    let stray = Up::Frame { session: SessionId(999), lane: Lane::Bulk, kind: Kind::SYNC, id: 4, body };
    world.front(vec![(LinkId(0), stray), frame]);
    assert_eq!(seen(&world.received(0)), [Seen::Error(alice, 3, 20001)]);
}

#[test]
fn answers_come_before_the_close_of_the_same_batch_and_none_after() {
    let (mut world, alice, _) = world(1);
    let close = (LinkId(0), Up::Close { session: alice, lost_ms: None });
    let batch = vec![world.frame(alice, Kind::SYNC, 1, ""), close, world.frame(alice, Kind::SYNC, 2, "")];
    world.front(batch);
    assert_eq!(seen(&world.received(0)), [Seen::Reply(alice, 1)]);
}
