use super::datagrams::DATAGRAMS_MAX;
use super::*;
use nearport_wire::Frame;
use nearport_wire::body::SyncPage;
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
    // A page, its end, and no third: a client that asks for ever stays open here.
    for _ in 0..3 {
        now = client.poll_timeout().unwrap_or(now);
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

/// A client of a transport with streams and datagrams.
fn wide(now: Instant) -> Client {
    let config =
        ClientConfig { bulk_stream: true, datagram_bytes_max: Some(1100), ..ClientConfig::default() };
    let mut client = Client::new(config, &Hello::default(), now);
    feed(&mut client, now, Kind::WELCOME, 0, &Welcome { cursor: 3, head: 3, ..Welcome::default() });
    client.poll_output().take();
    events(&mut client);
    client
}

fn datagram(client: &mut Client, now: Instant, kind: Kind, id: u64, body: &impl prost::Message) {
    client.handle_datagram(now, Frame::new(Lane::Chat, kind, id, body.encode_to_vec().into()).encode());
}

fn decode_frame(bytes: Bytes) -> Frame {
    let mut decoder = Decoder::new(Limits::client());
    decoder.feed(bytes);
    let frame = decoder.next_frame().unwrap().unwrap();
    assert_eq!(decoder.next_frame(), Ok(None));
    frame
}

const MS: Duration = Duration::from_millis(1);

#[test]
fn bulk_requests_and_their_pages_have_a_stream_of_their_own() {
    let now = Instant::now();
    let mut client = wide(now);
    assert!(client.poll_bulk_output().is_none(), "an idle session has one stream");
    feed(&mut client, now, Kind::BEHIND, 0, &body::Empty {});
    assert_eq!(sent(&mut client), [0u8; 0].map(Kind));
    let sync = decode_frame(client.poll_bulk_output().unwrap().take().concat().into());
    assert_eq!((sync.lane, sync.kind), (Lane::Bulk, Kind::SYNC));
    // Each stream is cut into frames by itself: half a page, a push in between, the other half.
    let page = Frame::new(Lane::Bulk, Kind::REPLY, sync.id, page(4..=5, 5, true).encode_to_vec().into());
    let page = page.encode();
    client.handle_bulk_bytes(now, page.slice(..9));
    feed(&mut client, now, Kind::PUSH, 6, &Delivery::default());
    client.handle_bulk_bytes(now, page.slice(9..));
    assert_eq!(positions(&mut client), [4, 5, 6]);
    client.handle_bulk_bytes(now, Bytes::from_static(&[0, 9, 9, 9]));
    assert!(
        matches!(&events(&mut client)[..], [Event::Closed { closing, .. }] if closing.code == CloseCode::BAD_FRAME)
    );
}

#[test]
fn what_comes_twice_counts_once_and_a_push_from_a_datagram_waits_a_little() {
    let now = Instant::now();
    let mut client = wide(now);
    datagram(&mut client, now, Kind::PUSH, 5, &Delivery::default());
    assert_eq!(positions(&mut client), [0u64; 0]);
    assert!(client.poll_bulk_output().is_none(), "4 is likely on the stream");
    feed(&mut client, now, Kind::PUSH, 4, &Delivery::default());
    feed(&mut client, now, Kind::PUSH, 5, &Delivery::default());
    assert_eq!(positions(&mut client), [4, 5]);
    assert_eq!(client.gap_due, None);

    datagram(&mut client, now, Kind::PUSH, 7, &Delivery::default());
    assert_eq!(client.poll_timeout(), Some(now + PATIENCE));
    client.handle_timeout(now + PATIENCE);
    let sync = decode_frame(client.poll_bulk_output().unwrap().take().concat().into());
    assert_eq!(sync.kind, Kind::SYNC);

    let id = client.request(now, Lane::Chat, Kind::SEND, b"x").unwrap();
    datagram(&mut client, now, Kind::REPLY, id, &body::Sent::default());
    feed(&mut client, now, Kind::REPLY, id, &body::Sent::default());
    assert!(matches!(events(&mut client)[..], [Event::Answer { .. }]));
    // Rubbish in a datagram is nobody's fault.
    client.handle_datagram(now, Bytes::from_static(&[0xff; 40]));
    datagram(&mut client, now, Kind::CLOSE, 0, &body::Close { code: 4000, ..body::Close::default() });
    datagram(&mut client, now, Kind::PUSH, 0, &Delivery::default());
    assert!(matches!(events(&mut client)[..], [Event::Transient(_)]));
    assert!(client.is_live());
}

#[test]
fn small_sends_are_copied_a_little_later_while_the_path_is_lossy() {
    let now = Instant::now();
    let mut client = wide(now);
    client.request(now, Lane::Chat, Kind::SEND, b"no copy").unwrap();
    client.set_path(80 * MS, true);
    let first = client.request(now, Lane::Chat, Kind::SEND, b"a").unwrap();
    let read = client.request(now, Lane::Chat, Kind::MARK_READ, b"r").unwrap();
    let second = client.request(now + MS, Lane::Chat, Kind::SEND, b"b").unwrap();
    client.request(now + MS, Lane::Chat, Kind::SEND, &[0; 2000]).unwrap();
    assert_eq!(client.poll_timeout(), Some(now + 10 * MS));
    client.handle_timeout(now + 9 * MS);
    assert_eq!(client.poll_datagram(), None);
    client.handle_timeout(now + 11 * MS);
    let hedges: Vec<Frame> = std::iter::from_fn(|| client.poll_datagram()).map(decode_frame).collect();
    let inner: Vec<Frame> = hedges.iter().map(|hedge| decode_frame(hedge.body.clone())).collect();
    assert!(hedges.iter().all(|hedge| (hedge.lane, hedge.kind) == (Lane::Chat, Kind::HEDGE)));
    assert_eq!(hedges.iter().map(|hedge| hedge.id).collect::<Vec<_>>(), [first - 1, read]);
    assert_eq!(
        inner.iter().map(|frame| (frame.kind, frame.id)).collect::<Vec<_>>(),
        [(Kind::SEND, first), (Kind::SEND, second)]
    );
    // What is answered needs no copy, and a good path none at all.
    let third = client.request(now, Lane::Chat, Kind::SEND, b"c").unwrap();
    feed(&mut client, now, Kind::REPLY, third, &body::Sent::default());
    client.handle_timeout(now + 60 * MS);
    assert_eq!(client.poll_datagram(), None);
    client.request(now, Lane::Chat, Kind::SEND, b"d").unwrap();
    client.set_path(80 * MS, false);
    client.handle_timeout(now + 60 * MS);
    assert_eq!(client.poll_datagram(), None);
}

#[test]
fn an_online_only_message_takes_a_datagram_if_it_fits_and_does_not_count_as_the_request_before() {
    let now = Instant::now();
    let mut client = wide(now);
    client.set_path(8 * MS, true);
    let id = client.request_in_datagram(now, Kind::SEND, b"typing").unwrap();
    let frame = decode_frame(client.poll_datagram().unwrap());
    assert_eq!(
        (frame.lane, frame.kind, frame.id, &frame.body[..]),
        (Lane::Chat, Kind::SEND, id, &b"typing"[..])
    );
    assert_eq!(client.request_in_datagram(now, Kind::SEND, &[0; 1100]), None);
    client.request(now, Lane::Chat, Kind::SEND, b"a").unwrap();
    client.handle_timeout(now + 5 * MS);
    assert_eq!(decode_frame(client.poll_datagram().unwrap()).id, 0, "first on the lane's stream");
    for _ in 0..DATAGRAMS_MAX {
        client.request_in_datagram(now, Kind::SEND, b"typing").unwrap();
    }
    assert_eq!(client.request_in_datagram(now, Kind::SEND, b"typing"), None);
    assert_eq!(live(now, 0, 0).request_in_datagram(now, Kind::SEND, b"typing"), None, "one stream only");
}

#[test]
fn a_ping_is_not_overdue_while_something_comes() {
    let now = Instant::now();
    let mut client = live(now, 3, 3);
    let beat = now + Duration::from_secs(25);
    client.handle_timeout(beat);
    let due = beat + Duration::from_secs(10);
    feed(&mut client, due - MS, Kind::PUSH, 4, &Delivery::default());
    client.handle_timeout(due);
    assert!(client.is_live());
    client.handle_timeout(due - MS + Duration::from_secs(10));
    assert!(!client.is_live());
}

#[test]
fn a_page_that_was_asked_for_before_pushes_were_dropped_may_not_hold_them() {
    let now = Instant::now();
    let mut client = wide(now);
    feed(&mut client, now, Kind::BEHIND, 0, &body::Empty {});
    let first = decode_frame(client.poll_bulk_output().unwrap().take().concat().into());
    // The page is read; then 5 is dropped and the client told so, which overtakes the page on the other stream.
    feed(&mut client, now, Kind::BEHIND, 0, &body::Empty {});
    let reply =
        |id, page: &SyncPage| Frame::new(Lane::Bulk, Kind::REPLY, id, page.encode_to_vec().into()).encode();
    client.handle_bulk_bytes(now, reply(first.id, &page(4..=4, 4, true)));
    assert_eq!(positions(&mut client), [4]);
    let second = decode_frame(client.poll_bulk_output().unwrap().take().concat().into());
    assert_eq!(second.kind, Kind::SYNC);
    client.handle_bulk_bytes(now, reply(second.id, &page(5..=5, 5, true)));
    assert_eq!(positions(&mut client), [5]);
    assert!(client.poll_bulk_output().unwrap().is_empty(), "and that is enough");
}
