use super::*;
use nearport_wire::Frame;
use nearport_wire::body::{Delivery, LogEntry};

fn client(now: Instant) -> Client {
    let mut client = Client::new(ClientConfig::default(), &Hello::default(), now);
    assert_eq!(sent(&mut client), [Kind::HELLO]);
    client
}

fn live(now: Instant, cursor: u64, head: u64) -> Client {
    let mut client = client(now);
    feed(
        &mut client,
        now,
        Kind::WELCOME,
        0,
        &Welcome { cursor, head, heartbeat_ms: 25_000, ..Welcome::default() },
    );
    client
}

fn feed(client: &mut Client, now: Instant, kind: Kind, id: u64, body: &impl prost::Message) {
    client.handle_bytes(now, Frame::new(Lane::Chat, kind, id, body.encode_to_vec().into()).encode());
}

fn sent(client: &mut Client) -> Vec<Kind> {
    client.poll_output().take().iter().map(|frame| Kind(frame[frame_header(frame)])).collect()
}

/// Index of the kind byte: after the length and the lane.
fn frame_header(frame: &Bytes) -> usize {
    nearport_wire::decode_varint(frame).unwrap().1 + 1
}

fn events(client: &mut Client) -> Vec<Event> {
    std::iter::from_fn(|| client.poll_event()).collect()
}

fn positions(client: &mut Client) -> Vec<u64> {
    let entries = events(client).into_iter();
    entries
        .filter_map(|e| if let Event::Entry { position, .. } = e { Some(position) } else { None })
        .collect()
}

fn page(range: std::ops::RangeInclusive<u64>, head: u64, complete: bool) -> SyncPage {
    let entry = |position| LogEntry { position, delivery: Some(Delivery::default()) };
    SyncPage { entries: range.map(entry).collect(), head, complete }
}

#[test]
fn what_was_missed_comes_by_pages_and_pushes_in_between_are_not_shown_twice() {
    let now = Instant::now();
    let mut client = live(now, 3, 6);
    assert_eq!(sent(&mut client), [Kind::SYNC]);
    feed(&mut client, now, Kind::PUSH, 7, &Delivery::default());
    assert_eq!(positions(&mut client), [0u64; 0], "7 waits for 4 to 6");
    feed(&mut client, now, Kind::REPLY, 1, &page(4..=5, 6, false));
    assert_eq!(positions(&mut client), [4, 5]);
    assert_eq!(sent(&mut client), [Kind::SYNC]);
    feed(&mut client, now, Kind::REPLY, 2, &page(6..=7, 7, true));
    let got = events(&mut client);
    assert!(matches!(
        got[..],
        [Event::Entry { position: 6, .. }, Event::Entry { position: 7, .. }, Event::CaughtUp]
    ));
    feed(&mut client, now, Kind::PUSH, 7, &Delivery::default());
    assert_eq!(positions(&mut client), [0u64; 0]);
    assert_eq!(sent(&mut client), []);
}

#[test]
fn a_welcome_that_holds_what_was_missed_needs_no_page() {
    let now = Instant::now();
    let welcomed = |missed| {
        let mut client = client(now);
        let welcome = Welcome { cursor: 3, head: 6, missed: Some(missed), ..Welcome::default() };
        feed(&mut client, now, Kind::WELCOME, 0, &welcome);
        client
    };
    let mut all = welcomed(page(4..=6, 6, true));
    assert_eq!(sent(&mut all), []);
    let got = events(&mut all);
    assert!(matches!(&got[0], Event::Live(welcome) if welcome.missed.is_none() && welcome.head == 6));
    assert!(matches!(
        got[1..],
        [Event::Entry { position: 4, .. }, .., Event::Entry { position: 6, .. }, Event::CaughtUp]
    ));
    feed(&mut all, now, Kind::PUSH, 6, &Delivery::default());
    assert_eq!(positions(&mut all), [0u64; 0], "no entry comes twice");

    let mut some = welcomed(page(4..=5, 6, false));
    assert_eq!(sent(&mut some), [Kind::SYNC]);
    assert_eq!(positions(&mut some), [4, 5]);
    feed(&mut some, now, Kind::REPLY, 1, &page(6..=6, 6, true));
    assert_eq!(positions(&mut some), [6]);
}

#[test]
fn a_gap_a_behind_and_a_failed_page_each_lead_to_a_page() {
    let now = Instant::now();
    let mut client = live(now, 3, 3);
    feed(&mut client, now, Kind::PUSH, 5, &Delivery::default());
    feed(&mut client, now, Kind::PUSH, 6, &Delivery::default());
    assert_eq!(sent(&mut client), [Kind::SYNC], "one page at a time");
    let refusal = body::Error { code: 20004, ..body::Error::default() };
    feed(&mut client, now, Kind::ERROR, 1, &refusal);
    assert_eq!(sent(&mut client), []);
    let later = client.poll_timeout().unwrap();
    client.handle_timeout(later);
    assert_eq!(sent(&mut client), [Kind::SYNC]);
    feed(&mut client, later, Kind::REPLY, 2, &page(4..=4, 6, false));
    assert_eq!(positions(&mut client), [4, 5, 6]);
    assert_eq!(sent(&mut client), [Kind::SYNC], "an incomplete page may have more behind it");
    feed(&mut client, later, Kind::REPLY, 3, &SyncPage { head: 6, complete: true, ..SyncPage::default() });
    feed(&mut client, later, Kind::BEHIND, 0, &body::Empty {});
    assert_eq!(sent(&mut client), [Kind::SYNC]);
}

#[test]
fn a_page_without_an_answer_is_asked_for_again_unless_nothing_comes_at_all() {
    let now = Instant::now();
    let mut client = live(now, 3, 6);
    let due = client.poll_timeout().unwrap();
    feed(&mut client, due - Duration::from_secs(1), Kind::PUSH, 7, &Delivery::default());
    client.handle_timeout(due);
    client.handle_timeout(client.poll_timeout().unwrap());
    assert_eq!(sent(&mut client), [Kind::SYNC, Kind::SYNC], "the server talks: it is only slow");
    let mut now = due;
    while client.poll_timeout().is_some() {
        now = client.poll_timeout().unwrap();
        client.handle_timeout(now);
    }
    assert_eq!(now, due + Duration::from_secs(11), "the first page without an answer ends it");
    let last = events(&mut client).pop();
    assert!(matches!(last, Some(Event::Closed { closing, .. }) if closing.code == CloseCode::LOST));
}

#[test]
fn heartbeat_asks_and_silence_ends() {
    let now = Instant::now();
    let mut client = live(now, 0, 0);
    let beat = client.poll_timeout().unwrap();
    assert_eq!(beat, now + Duration::from_secs(25));
    client.handle_timeout(beat);
    assert_eq!(sent(&mut client), [Kind::PING]);
    feed(&mut client, beat, Kind::PONG, 0, &body::Empty {});
    let beat = client.poll_timeout().unwrap();
    client.handle_timeout(beat);
    let overdue = client.poll_timeout().unwrap();
    client.handle_timeout(overdue);
    let last = events(&mut client).pop();
    assert!(matches!(last, Some(Event::Closed { closing, .. }) if closing.code == CloseCode::LOST));
    assert_eq!(client.poll_timeout(), None);
}

#[test]
fn a_request_times_out_once_and_its_late_answer_is_nobodys() {
    let now = Instant::now();
    let mut client = live(now, 0, 0);
    let id = client.request(now, Lane::Chat, Kind::SEND, b"x").unwrap();
    let due = client.poll_timeout().unwrap();
    client.handle_timeout(due);
    feed(&mut client, due, Kind::REPLY, id, &body::Empty {});
    let answers: Vec<_> =
        events(&mut client).into_iter().filter(|e| matches!(e, Event::Answer { .. })).collect();
    assert_eq!(answers, [Event::Answer { id, result: Err(Failure::Timeout) }]);
}

#[test]
fn requests_are_bounded_and_need_a_live_session() {
    let now = Instant::now();
    assert_eq!(client(now).request(now, Lane::Chat, Kind::SEND, b""), None);
    let mut client = live(now, 0, 0);
    let taken = std::iter::from_fn(|| client.request(now, Lane::Chat, Kind::SEND, b"")).count();
    assert_eq!(taken, REQUESTS_MAX);
}

#[test]
fn a_server_that_breaks_the_protocol_is_left() {
    let now = Instant::now();
    let mut client = live(now, 0, 0);
    feed(&mut client, now, Kind::WELCOME, 0, &Welcome::default());
    let last = events(&mut client).pop();
    assert!(matches!(last, Some(Event::Closed { closing, .. }) if closing.code == CloseCode::BAD_KIND));
}

#[test]
fn catching_up_asks_for_one_page() {
    let now = Instant::now();
    let mut client = live(now, 3, 3);
    client.catch_up(now);
    client.catch_up(now);
    assert_eq!(sent(&mut client), [Kind::SYNC]);
}
