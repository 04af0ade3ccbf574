//! What happens to messages of pairs after they were sent, and what of it is seen by whom.

use nearport_trunk::{Down, SessionId};
use nearport_wire::Kind;
use nearport_wire::body::{
    self, Amend, Amended, Delivery, Event, History, HistoryPage, MarkRead, ReaderPage, Readers, Sent,
    SyncPage, Target, amend, event, target,
};
use prost::Message as _;

use crate::world::{Seen, World, answer, seen, send, text_content, to_user, user};

const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 24 * 60 * MINUTE_MS;

fn history(with: &str) -> History {
    History { with: Some(to_user(with)), limit: 200, ..History::default() }
}

fn recall(with: &str, seq: u64) -> amend::Amend {
    amend::Amend::Recall(body::Recall { with: Some(to_user(with)), seq, reason: "oops".into() })
}

fn edit(with: &str, seq: u64, text: &str) -> amend::Amend {
    amend::Amend::Edit(body::Edit {
        with: Some(to_user(with)),
        seq,
        elements: text_content(text).elements,
        cloud_custom_data: None,
    })
}

fn hide(with: &str, seqs: &[u64]) -> amend::Amend {
    amend::Amend::Hide(body::Hide { with: Some(to_user(with)), seqs: seqs.to_vec() })
}

fn receipts(with: &str, seqs: &[u64]) -> amend::Amend {
    amend::Amend::Receipts(body::Receipts { with: Some(to_user(with)), seqs: seqs.to_vec() })
}

/// A turn with one request; its answer, and all that came down on the two links.
fn ask<M: prost::Message + Default>(
    world: &mut World,
    session: SessionId,
    kind: Kind,
    body: &impl prost::Message,
) -> (Result<M, u32>, Vec<Down>) {
    let frame = world.frame(session, kind, 9, body.encode_to_vec());
    world.write(vec![frame]);
    let mut downs = world.received(0);
    downs.extend(world.received(1));
    let at = downs.iter().position(|down| matches!(down, Down::Reply { session: to, .. } if *to == session));
    (answer(&downs[at.expect("an answer")]), downs)
}

fn amended(world: &mut World, session: SessionId, what: amend::Amend) -> (Result<Amended, u32>, Vec<Down>) {
    ask(world, session, Kind::AMEND, &Amend { amend: Some(what) })
}

fn events(downs: &[Down]) -> Vec<(char, Event)> {
    let event = |down: &Down| match down {
        Down::Publish { topic, kind: Kind::EVENT, body, .. } => {
            Some((char::from(topic.0[4]), Event::decode(body.clone()).unwrap()))
        }
        _ => None,
    };
    downs.iter().filter_map(event).collect()
}

/// Alice (link 0) and bob (link 1); alice has sent `count` messages.
fn world(count: u8) -> (World, SessionId, SessionId) {
    let mut world = World::new();
    let alice = world.login("alice", "phone");
    let hello = world.hello("bob", "phone");
    let (bob, _) = world.login_at(1, &hello);
    for id in 1..=count {
        let text = world.text(alice, "bob", id, 1);
        world.write(vec![text]);
    }
    world.received(0);
    world.received(1);
    (world, alice, bob)
}

fn page(world: &mut World, session: SessionId, request: &History) -> HistoryPage {
    let frame = world.frame(session, Kind::HISTORY, 7, request.encode_to_vec());
    world.front(vec![frame]);
    let mut downs = world.received(0);
    downs.extend(world.received(1));
    answer(&downs[0]).unwrap()
}

fn seqs(page: &HistoryPage) -> Vec<u64> {
    page.deliveries.iter().map(|delivery| delivery.seq).collect()
}

/// Positions of the log and what is shown at each.
fn log(world: &mut World, session: SessionId) -> Vec<(u64, Option<Delivery>)> {
    let request = body::Sync { after: 0, limit: 200 };
    let frame = world.frame(session, Kind::SYNC, 7, request.encode_to_vec());
    world.front(vec![frame]);
    let mut downs = world.received(0);
    downs.extend(world.received(1));
    let page: SyncPage = answer(&downs[0]).unwrap();
    page.entries.into_iter().map(|entry| (entry.position, entry.delivery)).collect()
}

#[test]
fn a_recalled_message_is_gone_for_both_and_says_so() {
    let (mut world, alice, bob) = world(2);
    let (done, downs) = amended(&mut world, alice, recall("bob", 1));
    assert_eq!(done.unwrap().edit, 1);
    // Alice's own session too: her log has grown.
    let pushes: Vec<_> = seen_publishes(&downs);
    assert_eq!(pushes, [('a', Kind::PUSH, 3), ('b', Kind::PUSH, 3)]);
    let Down::Publish { body, .. } = downs.last().unwrap() else { panic!("{downs:?}") };
    let delivery = Delivery::decode(body.clone()).unwrap();
    assert_eq!((delivery.seq, delivery.edit), (1, 1));
    let recalled = delivery.message.unwrap();
    assert_eq!((recalled.content, recalled.recalled.unwrap().by), (None, "alice".into()));

    for session in [alice, bob] {
        let name = if session == alice { "bob" } else { "alice" };
        let page = page(&mut world, session, &history(name));
        assert_eq!((seqs(&page), page.edit), (vec![2, 1], 1));
        let message = page.deliveries[1].message.clone().unwrap();
        assert_eq!((message.content, message.recalled.unwrap().reason), (None, "oops".into()));
        let log = log(&mut world, session);
        assert_eq!(log.len(), 3, "both messages and the change");
        assert!(log.iter().filter(|(at, _)| *at != 2).all(|(_, delivery)| {
            delivery.as_ref().unwrap().message.as_ref().unwrap().recalled.is_some()
        }));
    }
}

fn seen_publishes(downs: &[Down]) -> Vec<(char, Kind, u64)> {
    let see = |down: &Down| match down {
        Down::Publish { topic, kind, id, .. } => Some((char::from(topic.0[4]), *kind, *id)),
        _ => None,
    };
    downs.iter().filter_map(see).collect()
}

#[test]
fn who_may_not_recall_or_edit_is_told_why() {
    let (mut world, alice, bob) = world(2);
    let long = "x".repeat(257);
    let refused = |world: &mut World, session, what| amended(world, session, what).0.unwrap_err();
    assert_eq!(refused(&mut world, bob, recall("alice", 1)), 20022, "another one's");
    assert_eq!(refused(&mut world, bob, edit("alice", 1, "no")), 20022);
    assert_eq!(refused(&mut world, alice, recall("bob", 3)), 20022, "beyond the end");
    assert_eq!(refused(&mut world, alice, recall("bob", 0)), 20022);
    assert_eq!(refused(&mut world, alice, recall("bob", u64::MAX)), 20022);
    assert_eq!(refused(&mut world, alice, recall("carol", 1)), 20022, "another conversation");
    assert_eq!(refused(&mut world, alice, recall("", 1)), 20003);
    assert_eq!(refused(&mut world, alice, edit("bob", 1, &"x".repeat(12_289))), 80002);
    let reason = body::Recall { with: Some(to_user("bob")), seq: 1, reason: long };
    assert_eq!(refused(&mut world, alice, amend::Amend::Recall(reason)), 20001);
    let empty = body::Edit { with: Some(to_user("bob")), seq: 1, ..body::Edit::default() };
    assert_eq!(refused(&mut world, alice, amend::Amend::Edit(empty)), 90002);
    let tip = body::Element::from(body::element::Element::Tip(body::Tip::default()));
    let tip = body::Edit { with: Some(to_user("bob")), seq: 1, elements: vec![tip], ..body::Edit::default() };
    assert_eq!(refused(&mut world, alice, amend::Amend::Edit(tip)), 90002);
    let notices = Some(Target { target: Some(target::Target::Notices(true)) });
    let notices = body::Recall { with: notices, seq: 1, reason: String::new() };
    assert_eq!(refused(&mut world, alice, amend::Amend::Recall(notices)), 20022);
    assert_eq!(ask::<Amended>(&mut world, alice, Kind::AMEND, &Amend::default()).0, Err(20001));

    assert!(amended(&mut world, alice, recall("bob", 1)).0.is_ok());
    assert_eq!(refused(&mut world, alice, recall("bob", 1)), 20023);
    assert_eq!(refused(&mut world, alice, edit("bob", 1, "no")), 20023);
    world.now_ms += 2 * MINUTE_MS;
    assert!(amended(&mut world, alice, edit("bob", 2, "in time")).0.is_ok());
    world.now_ms += 1;
    assert_eq!(refused(&mut world, alice, recall("bob", 2)), 20016);
    world.now_ms += DAY_MS;
    assert_eq!(refused(&mut world, alice, edit("bob", 2, "no")), 20016);
}

#[test]
fn of_two_changes_in_one_batch_the_second_sees_the_first() {
    let (mut world, alice, _) = world(1);
    let frame = |world: &World, id, what| {
        world.frame(alice, Kind::AMEND, id, Amend { amend: Some(what) }.encode_to_vec())
    };
    let data = body::Edit {
        with: Some(to_user("bob")),
        seq: 1,
        elements: Vec::new(),
        cloud_custom_data: Some("data".into()),
    };
    let batch = [
        frame(&world, 1, edit("bob", 1, "changed")),
        frame(&world, 2, amend::Amend::Edit(data)),
        frame(&world, 3, recall("bob", 1)),
        frame(&world, 4, recall("bob", 1)),
    ];
    world.write(batch[..2].to_vec());
    world.received(0);
    world.received(1);
    let page = page(&mut world, alice, &history("bob"));
    let message = page.deliveries[0].message.clone().unwrap();
    let content = message.content.unwrap();
    assert_eq!(
        (content.elements, content.cloud_custom_data),
        (text_content("changed").elements, "data".into())
    );
    assert_eq!((page.edit, message.changed.unwrap().by), (2, "alice".into()));
    world.received(0);
    world.write(batch[2..].to_vec());
    let downs = world.received(0);
    let answers: Vec<_> =
        seen(&downs.into_iter().filter(|down| matches!(down, Down::Reply { .. })).collect::<Vec<_>>());
    assert_eq!(answers, [Seen::Error(alice, 4, 20023), Seen::Reply(alice, 3)]);
}

#[test]
fn what_is_hidden_or_cleared_is_gone_for_its_user_alone() {
    let (mut world, alice, bob) = world(5);
    world.login("bob", "laptop");
    world.received(0);
    let (done, downs) = amended(&mut world, bob, hide("alice", &[2, 0, 9]));
    assert_eq!(done.unwrap().invalid, [0, 9]);
    let hidden = body::Hidden { with: Some(to_user("alice")), seqs: vec![2] };
    assert_eq!(events(&downs), [('b', Event { event: Some(event::Event::Hidden(hidden)) })]);
    assert_eq!(seqs(&page(&mut world, bob, &history("alice"))), [5, 4, 3, 1]);
    assert_eq!(seqs(&page(&mut world, alice, &history("bob"))), [5, 4, 3, 2, 1]);
    let shown: Vec<_> =
        log(&mut world, bob).into_iter().map(|(at, delivery)| (at, delivery.is_some())).collect();
    assert_eq!(shown, [(1, true), (2, false), (3, true), (4, true), (5, true)], "its place stays");

    let thirty_one = (1..=31).collect::<Vec<_>>();
    assert_eq!(amended(&mut world, bob, hide("alice", &thirty_one)).0, Err(20001));

    let clear = |seq| amend::Amend::Clear(body::Clear { with: Some(to_user("alice")), seq });
    let (done, _) = amended(&mut world, bob, clear(3));
    assert_eq!(done.unwrap().seq, 3);
    let page_of = page(&mut world, bob, &history("alice"));
    assert_eq!((seqs(&page_of), page_of.complete), (vec![5, 4], true));
    let forward = History { after: Some(0), ..history("alice") };
    assert_eq!(seqs(&page(&mut world, bob, &forward)), [4, 5]);
    assert_eq!(amended(&mut world, bob, clear(0)).0.unwrap().seq, 5);
    assert_eq!(seqs(&page(&mut world, bob, &history("alice"))), [0; 0]);
    assert_eq!(amended(&mut world, bob, clear(u64::MAX)).0.unwrap().seq, 5, "not beyond the end");
    let text = world.text(alice, "bob", 9, 1);
    world.write(vec![text]);
    world.received(0);
    world.received(1);
    assert_eq!(seqs(&page(&mut world, bob, &history("alice"))), [6]);
    assert_eq!(seqs(&page(&mut world, alice, &history("bob"))).len(), 6);
}

#[test]
fn pages_go_on_over_what_is_hidden() {
    let (mut world, _, bob) = world(100);
    for at in (1..=90).step_by(30) {
        assert!(amended(&mut world, bob, hide("alice", &(at..at + 30).collect::<Vec<_>>())).0.is_ok());
    }
    let mut request = History { limit: 4, ..history("alice") };
    let mut got = Vec::new();
    for _ in 0..100 {
        let page = page(&mut world, bob, &request);
        got.extend(seqs(&page));
        if page.complete {
            break;
        }
        request.before = page.next;
    }
    assert_eq!(got, (91..=100).rev().collect::<Vec<_>>());
    let mut request = History { limit: 4, after: Some(0), ..history("alice") };
    got.clear();
    for _ in 0..100 {
        let page = page(&mut world, bob, &request);
        got.extend(seqs(&page));
        if page.complete {
            break;
        }
        request.after = Some(page.next);
    }
    assert_eq!(got, (91..=100).collect::<Vec<_>>());
}

#[test]
fn a_receipt_tells_the_sender_once_it_is_stored() {
    let (mut world, alice, bob) = world(1);
    let with_receipt = body::Send { need_receipt: true, ..send("bob", 9) };
    let (sent, _) = ask::<Sent>(&mut world, alice, Kind::SEND, &with_receipt);
    assert_eq!(sent.unwrap().seq, 2);
    let readers = |world: &mut World, session, with: &str, seqs: &[u64]| {
        let request = Readers { with: Some(to_user(with)), seqs: seqs.to_vec(), ..Readers::default() };
        let frame = world.frame(session, Kind::READERS, 7, request.encode_to_vec());
        world.front(vec![frame]);
        let mut downs = world.received(0);
        downs.extend(world.received(1));
        answer::<ReaderPage>(&downs[0]).map(|page| page.counts)
    };
    let count = |read| vec![body::ReadCount { seq: 2, read, unread: 1 - read }];
    assert_eq!(readers(&mut world, alice, "bob", &[1, 2, 3]), Ok(count(0)));
    // Not asked for, one's own, not there.
    let (done, downs) = amended(&mut world, bob, receipts("alice", &[1, 2, 3]));
    assert_eq!(done.unwrap().invalid, [1, 3]);
    let receipted = body::Receipted { with: Some(to_user("bob")), user: "bob".into(), seqs: vec![2] };
    assert_eq!(events(&downs), [('a', Event { event: Some(event::Event::Receipted(receipted)) })]);
    assert_eq!(amended(&mut world, alice, receipts("bob", &[2])).0.unwrap().invalid, [2], "not one's own");
    assert_eq!(readers(&mut world, alice, "bob", &[2]), Ok(count(1)));
    assert_eq!(readers(&mut world, bob, "alice", &[2]), Err(20022), "the sender alone asks");
    assert_eq!(readers(&mut world, alice, "bob", &[1]), Err(20022));
    assert_eq!(readers(&mut world, alice, "bob", &(1..=31).collect::<Vec<_>>()), Err(20001));
    assert_eq!(page(&mut world, alice, &history("bob")).deliveries[0].receipts, 1);
    assert_eq!(page(&mut world, bob, &history("alice")).deliveries[0].receipts, 0);
    assert_eq!(amended(&mut world, bob, receipts("alice", &(1..=31).collect::<Vec<_>>())).0, Err(20001));
}

#[test]
fn a_life_that_is_over_is_not_told_of_late_and_stays_in_the_history() {
    let (mut world, alice, _) = world(0);
    let short = body::Send { life_time_s: 60, ..send("bob", 1) };
    assert!(ask::<Sent>(&mut world, alice, Kind::SEND, &short).0.is_ok());
    let too_long = body::Send { life_time_s: 604_801, ..send("bob", 2) };
    assert_eq!(ask::<Sent>(&mut world, alice, Kind::SEND, &too_long).0, Err(90026));
    let week = body::Send { life_time_s: 604_800, ..send("bob", 3) };
    assert!(ask::<Sent>(&mut world, alice, Kind::SEND, &week).0.is_ok());
    world.now_ms += MINUTE_MS;
    let login = |world: &mut World| {
        let hello = world.hello("bob", "laptop");
        let (_, welcome) = world.login_at(1, &hello);
        let entries = welcome.missed.unwrap().entries;
        entries.into_iter().map(|entry| (entry.position, entry.delivery.is_some())).collect::<Vec<_>>()
    };
    assert_eq!(login(&mut world), [(1, true), (2, true)]);
    world.now_ms += 1;
    assert_eq!(login(&mut world), [(1, false), (2, true)]);
    let hello = world.hello("bob", "laptop");
    let (bob, _) = world.login_at(1, &hello);
    world.received(1);
    assert_eq!(seqs(&page(&mut world, bob, &history("alice"))), [2, 1]);
}

#[test]
fn history_ends_at_the_roaming_days_and_goes_by_time() {
    let (mut world, alice, _) = world(0);
    let start_ms = world.now_ms;
    for day in 0..10 {
        world.now_ms = start_ms + day * DAY_MS;
        let text = world.text(alice, "bob", u8::try_from(day).unwrap() + 1, 1);
        world.write(vec![text]);
    }
    world.received(0);
    world.received(1);
    // Message n is from day n - 1; it is day 9, so those from day 2 on are shown.
    let all = page(&mut world, alice, &history("bob"));
    assert_eq!((seqs(&all), all.complete, all.head), ((3..=10).rev().collect(), true, 10));
    let forward = page(&mut world, alice, &History { after: Some(0), limit: 3, ..history("bob") });
    assert_eq!((seqs(&forward), forward.complete, forward.next), (vec![3, 4, 5], false, 5));
    let at = |day: u64| start_ms + day * DAY_MS;
    let ask = |from_ms, to_ms, after| History { from_ms, to_ms, after, ..history("bob") };
    let cases = [
        (ask(at(4), at(6), None), vec![7, 6, 5]),
        (ask(at(4), at(6), Some(0)), vec![5, 6, 7]),
        (ask(at(4) + 1, at(6) - 1, None), vec![6]),
        (ask(0, at(3), None), vec![4, 3]),
        (ask(at(8), 0, Some(0)), vec![9, 10]),
        (ask(at(20), 0, None), vec![]),
        (ask(at(6), at(4), Some(0)), vec![]),
        (ask(0, 1, None), vec![]),
    ];
    for (request, want) in cases {
        let page = page(&mut world, alice, &request);
        assert_eq!((seqs(&page), page.complete), (want, true), "{request:?}");
    }
    let shown =
        log(&mut world, alice).into_iter().map(|(_, delivery)| delivery.is_some()).collect::<Vec<_>>();
    assert_eq!(shown, [vec![false; 2], vec![true; 8]].concat());
}

#[test]
fn changes_come_in_their_order_and_each_message_once() {
    let (mut world, alice, bob) = world(3);
    for (seq, text) in [(3, "a"), (1, "b"), (3, "c")] {
        assert!(amended(&mut world, alice, edit("bob", seq, text)).0.is_ok());
    }
    let changes = |after| History { changes_after: Some(after), ..history("alice") };
    let all = page(&mut world, bob, &changes(0));
    let numbers: Vec<_> = all.deliveries.iter().map(|delivery| (delivery.seq, delivery.edit)).collect();
    assert_eq!((numbers, all.complete, all.next, all.edit), (vec![(1, 2), (3, 3)], true, 3, 3));
    let rest = page(&mut world, bob, &changes(2));
    assert_eq!(seqs(&rest), [3]);
    assert_eq!(seqs(&page(&mut world, bob, &changes(u64::MAX - 1))), [0; 0], "from the future");
    let one = page(&mut world, bob, &History { limit: 1, ..changes(0) });
    assert_eq!((seqs(&one), one.complete, one.next), (vec![1], false, 2));
}

#[test]
fn an_administrator_changes_any_message_at_any_time() {
    use std::sync::{Arc, Mutex};

    use nearport_chat::key::ConvKey;
    use nearport_chat::posts::{AdminChange, AdminWhat};

    let (mut world, alice, _) = world(1);
    world.now_ms += 3 * DAY_MS;
    let conv = ConvKey::pair(&user("alice"), &user("bob"));
    let outcomes = Arc::new(Mutex::new(Vec::new()));
    let by = nearport_chat::admin::Asker {
        app: nearport_chat::key::AppId(1),
        admin: "administrator".into(),
        peer: None,
    };
    let change = |seq, what| {
        let outcomes = outcomes.clone();
        let done = Box::new(move |outcome| outcomes.lock().unwrap().push(outcome));
        AdminChange { conv: conv.clone(), seq, what, by: by.clone(), done }
    };
    let recall = || AdminWhat::Recall { reason: "rules".into() };
    let edit = AdminWhat::Edit { elements: text_content("fixed").elements, cloud_custom_data: None };
    for change in [change(1, edit), change(1, recall()), change(1, recall()), change(2, recall())] {
        world.shared.posts().change(change).unwrap();
    }
    world.write(Vec::new());
    let mut done = outcomes.lock().unwrap().clone();
    done.sort_unstable();
    assert_eq!(done, [Ok(1), Ok(2), Err(20022), Err(20023)]);
    world.received(0);
    world.received(1);
    let page = page(&mut world, alice, &history("bob"));
    let recalled = page.deliveries[0].message.clone().unwrap().recalled.unwrap();
    assert_eq!((recalled.by.as_str(), recalled.reason.as_str()), ("", "rules"));
}

#[test]
fn notices_are_read_and_marked_like_a_conversation() {
    let (mut world, alice, _) = world(1);
    let notices = || Some(Target { target: Some(target::Target::Notices(true)) });
    let mark = MarkRead { with: notices(), seq: 5 };
    assert!(ask::<body::Empty>(&mut world, alice, Kind::MARK_READ, &mark).0.is_ok());
    let empty = page(&mut world, alice, &History { with: notices(), limit: 9, ..History::default() });
    assert_eq!((seqs(&empty), empty.complete, empty.read), (vec![], true, 0), "clamped to what is there");
    let send = body::Send { to: notices(), ..send("bob", 8) };
    assert_eq!(ask::<Sent>(&mut world, alice, Kind::SEND, &send).0, Err(20001));
}

#[test]
fn a_session_amends_so_often_in_a_batch_and_the_batch_holds_so_much() {
    let (mut world, alice, _) = world(1);
    let frame = |world: &World, id| {
        world.frame(alice, Kind::AMEND, id, Amend { amend: Some(hide("bob", &[1])) }.encode_to_vec())
    };
    let batch = (1..=33).map(|id| frame(&world, id)).collect();
    world.write(batch);
    let downs = world.received(0);
    let refused: Vec<_> =
        seen(&downs).into_iter().filter(|seen| matches!(seen, Seen::Error(_, _, 60018))).collect();
    assert_eq!(refused, [Seen::Error(alice, 33, 60018)]);
}

#[test]
fn who_blocked_the_sender_gets_nothing_and_the_sender_does_not_know() {
    let (mut world, alice, bob) = world(1);
    let block = body::BlockAdd { users: vec!["alice".into()] };
    let call = body::PeopleCall { call: Some(body::people_call::Call::BlockAdd(block)) };
    let frame = world.frame(bob, Kind::PEOPLE, 5, call.encode_to_vec());
    world.desk(vec![frame]);
    world.received(0);
    world.received(1);
    let (sent, downs) = ask::<Sent>(&mut world, alice, Kind::SEND, &send("bob", 9));
    assert_eq!(sent.unwrap().seq, 2);
    assert_eq!(seen_publishes(&downs), []);
    assert_eq!(seqs(&page(&mut world, alice, &history("bob"))), [2, 1]);
    assert_eq!(seqs(&page(&mut world, bob, &history("alice"))), [1]);
    assert_eq!(log(&mut world, bob).len(), 1);
    assert_eq!(log(&mut world, alice).len(), 2);
    let raw = page(&mut world, alice, &history("bob")).deliveries[0].message.clone().unwrap();
    assert_eq!(raw.content.unwrap(), text_content("hi"));
    // What is done to it afterwards does not reach him either.
    let (done, downs) = amended(&mut world, alice, recall("bob", 2));
    assert!(done.is_ok());
    assert_eq!(seen_publishes(&downs), [('a', Kind::PUSH, 3)]);
    let (sent, downs) =
        ask::<Sent>(&mut world, alice, Kind::SEND, &body::Send { online_only: true, ..send("bob", 10) });
    assert!(sent.is_ok());
    assert_eq!(seen_publishes(&downs), []);
}

#[test]
fn where_only_friends_write_others_are_told_so() {
    let config = nearport_chat::Config {
        people: nearport_chat::people::Config {
            friend_check: true,
            block_silently: false,
            ..Default::default()
        },
        ..nearport_chat::Config::default()
    };
    let ledger = std::sync::Arc::new(nearport_store::MemoryLedger::new());
    let mut world = World::over(ledger, std::sync::Arc::new(crate::world::directory()), config);
    let alice = world.login("alice", "phone");
    let bob = world.login("bob", "phone");
    world.received(0);
    let people = |world: &mut World, session, call| {
        let call = body::PeopleCall { call: Some(call) };
        let frame = world.frame(session, Kind::PEOPLE, 5, call.encode_to_vec());
        world.desk(vec![frame]);
        world.received(0);
    };
    let add = |name: &str| {
        body::people_call::Call::FriendAdd(body::FriendAdd {
            items: vec![body::FriendAddItem {
                user: name.into(),
                source: "AddSource_Type_Test".into(),
                ..body::FriendAddItem::default()
            }],
            r#type: body::FriendAddType::Single.into(),
        })
    };
    let say = |world: &mut World, id| {
        ask::<Sent>(world, alice, Kind::SEND, &send("bob", id)).0.map(|sent| sent.seq)
    };
    assert_eq!(say(&mut world, 1), Err(20009));
    people(&mut world, alice, add("bob"));
    assert_eq!(say(&mut world, 2), Err(20010));
    people(&mut world, bob, add("alice"));
    assert_eq!(say(&mut world, 3), Ok(1));
    let block = body::BlockAdd { users: vec!["alice".into()] };
    people(&mut world, bob, body::people_call::Call::BlockAdd(block));
    assert_eq!(say(&mut world, 4), Err(20007));
}

#[test]
fn requests_that_ask_for_much_leave_room_for_all_others_of_their_batch() {
    let mut world = World::new();
    let senders: Vec<_> = (0..8).map(|n| world.login("alice", &n.to_string())).collect();
    for id in 1..=30 {
        let text = world.text(senders[0], "bob", id, 1);
        world.write(vec![text]);
    }
    let seqs: Vec<u64> = (1..=30).collect();
    let mut batch = Vec::new();
    for n in 0..40 {
        let amend = Amend { amend: Some(hide("bob", &seqs)) };
        batch.push(world.frame(senders[n % 8], Kind::AMEND, 1, amend.encode_to_vec()));
    }
    for n in 0..984_u16 {
        let mut client_msg_id = [9; 16];
        client_msg_id[..2].copy_from_slice(&n.to_be_bytes());
        let send = body::Send { client_msg_id: client_msg_id.to_vec().into(), ..send("bob", 0) };
        batch.push(world.frame(senders[usize::from(n % 8)], Kind::SEND, 2, send.encode_to_vec()));
    }
    world.received(0);
    let prepared = world.writer.prepare(&mut batch, world.now_ms, &mut world.downs);
    world.downs.flush();
    assert_eq!(prepared.batch.appends.len(), 984);
    assert!(prepared.batch.items() <= 1152, "{}", prepared.batch.items());
    let refused = world.received(0);
    assert!(refused.iter().all(|down| answer::<Amended>(down) == Err(60018)));
    assert_eq!(prepared.batch.hides.len(), 30 * (40 - refused.len()));
    assert!(!prepared.batch.hides.is_empty());
}
