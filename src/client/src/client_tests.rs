//! The SDK over real sockets, against a server of a few lines: high-level quinn and the pure session machine.

use super::*;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use crate::event::{text, user};
use crate::house::{ALL, Doors, House};
use crate::network::{NetworkConfig, Tuning};
use crate::transport::Transport;

/// A test that hangs shall fail, not wait for ever. No outcome depends on it.
const LONG: Duration = Duration::from_secs(60);

fn config(address: SocketAddr) -> Config {
    Config::new(address, "localhost", 1, "bob", "sig")
}

async fn next_message(client: &Client) -> String {
    loop {
        match tokio::time::timeout(LONG, client.next_event()).await.expect("an event") {
            Some(Event::Message(message)) => return message.text(),
            Some(_) => {}
            None => panic!("the client stopped"),
        }
    }
}

#[tokio::test]
async fn two_way_traffic_and_a_good_bye() {
    for transport in [Transport::Quic, Transport::Tls, Transport::WebSocket] {
        traffic_over(transport).await;
    }
}

async fn traffic_over(transport: Transport) {
    let house = House::new();
    let server = house.start(0, ALL);
    let config = Config { transports: vec![transport], ..config(server.address) };
    let client = Client::connect(&house.network(), config);
    client.ready(LONG).await.unwrap();
    let connected = client.try_next_event();
    assert!(matches!(connected, Some(Event::Connected { transport: over, .. }) if over == transport));
    let sent = client.send(user("alice"), text("hi")).await.unwrap();
    assert_eq!((sent.seq, sent.duplicate), (1, false));
    house.incoming("hello bob");
    assert_eq!(next_message(&client).await, "hello bob");
    client.flush().await.unwrap();
    assert_eq!(house.ledger().acked, 2);
    let page = client.history(user("alice"), HistoryRange::Newest, 10).await.unwrap();
    let texts: Vec<String> = page.messages.iter().map(crate::event::Message::text).collect();
    assert_eq!(texts, ["hello bob", "hi"]);
    // A page on QUIC takes a stream of its own, which an idle session does not have.
    assert_eq!(house.sides.load(Ordering::SeqCst), usize::from(transport == Transport::Quic));
    client.mark_read(user("alice"), 2).await.unwrap();
    // More than one write takes, so it is cut somewhere.
    let long = "x".repeat(10_000);
    let posts = (0..50).map(|_| client.send(user("alice"), text(&*long)));
    for post in posts {
        post.await.unwrap();
    }
    let echo = client.request(Lane::Chat, Kind::ECHO, Bytes::from_static(b"ping")).await.unwrap();
    assert_eq!(echo, "ping");
    let refused = client.request(Lane::Control, Kind::HELLO, Bytes::new()).await;
    assert!(matches!(refused, Err(RequestError::NotARequest { .. })));
    tokio::time::timeout(LONG, client.close()).await.unwrap();
    assert_eq!(client.state(), State::Stopped);
    assert_eq!(*house.left.lock().unwrap(), [(transport, CloseCode::BYE)]);
    while client.next_event().await.is_some() {}
    server.crash();
}

#[tokio::test]
async fn a_restart_of_the_server_costs_nothing_that_was_sent() {
    let house = House::new();
    let server = house.start(0, ALL);
    let address = server.address;
    let mut impatient = config(address);
    impatient.limits.answer_timeout = Duration::from_secs(1);
    let client = Client::connect(&house.network(), impatient);
    client.ready(LONG).await.unwrap();
    client.send(user("alice"), text("before")).await.unwrap();
    server.crash();
    // Sent into the void: the missing answer shows the loss, and the message waits for the next login.
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.send(user("alice"), text("during")).await }
    });
    house.ledger().incoming("missed");
    let server = house.start(address.port(), ALL);
    tokio::time::timeout(LONG, waiting).await.unwrap().unwrap().unwrap();
    assert_eq!(house.ledger().texts("bob"), ["before", "during"]);
    assert_eq!(next_message(&client).await, "missed");
    drop(client);
    server.crash();
}

#[tokio::test]
async fn refused_credentials_are_told_and_new_ones_taken() {
    let house = House::new();
    let server = house.start(0, ALL);
    let client = Client::connect(&house.network(), config(server.address));
    client.ready(LONG).await.unwrap();
    house.ledger().mute = true;
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.send(user("alice"), text("x")).await }
    });
    while client.unacknowledged() == 0 {
        tokio::task::yield_now().await;
    }
    house.order_close(CloseCode::UNAUTHORIZED, "70001 expired");
    let told = tokio::time::timeout(LONG, waiting).await.unwrap().unwrap();
    let stopped = SendError::Stopped { code: CloseCode::UNAUTHORIZED, reason: "70001 expired".into() };
    assert_eq!(told, Err(stopped));
    let ready = client.ready(LONG).await;
    assert!(matches!(ready, Err(ConnectError::Stopped { code: CloseCode::UNAUTHORIZED, .. })));
    house.ledger().mute = false;
    client.renew_usersig("fresh");
    client.ready(LONG).await.unwrap();
    assert_eq!(house.ledger().hellos.last().unwrap().usersig, "fresh");
    tokio::time::timeout(LONG, client.close()).await.unwrap();
    server.crash();
}

#[tokio::test]
async fn a_server_of_another_protocol_stops_it_and_an_unknown_authority_is_named() {
    let house = House::new();
    let server = house.start(0, Doors { alpn: b"np/9", ..ALL });
    // A proxy might speak HTTP in front of an old server: WebSocket would be tried, and found.
    let transports = vec![Transport::Quic, Transport::Tls];
    let client = Client::connect(&house.network(), Config { transports, ..config(server.address) });
    let ready = client.ready(LONG).await;
    assert!(matches!(ready, Err(ConnectError::Stopped { code: CloseCode::VERSION, .. })), "{ready:?}");
    server.crash();

    let server = house.start(0, ALL);
    let stranger = Client::connect(&House::new().network(), config(server.address));
    let reason = loop {
        match tokio::time::timeout(LONG, stranger.next_event()).await.unwrap() {
            Some(Event::Disconnected { reason, .. }) => break reason,
            other => assert!(other.is_some()),
        }
    };
    assert!(reason.contains("certificate"), "{reason}");
    drop(stranger);
    server.crash();
}

#[tokio::test]
async fn the_last_handle_says_good_bye() {
    let house = House::new();
    let server = house.start(0, ALL);
    let client = Client::connect(&house.network(), config(server.address));
    client.ready(LONG).await.unwrap();
    let other = client.clone();
    drop(client);
    other.send(user("alice"), text("still here")).await.unwrap();
    let shared = Arc::downgrade(other.shared());
    drop(other);
    let task_ends = async {
        while shared.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, task_ends).await.expect("the task ends");
    tokio::time::timeout(LONG, server.endpoint.as_ref().unwrap().wait_idle()).await.unwrap();
    assert_eq!(*house.left.lock().unwrap(), [(Transport::Quic, CloseCode::BYE)]);
    server.crash();
}

#[test]
fn a_ca_file_without_a_certificate_is_refused() {
    assert!(NetworkConfig::from_ca_pem(b"nothing here").is_err());
}

#[tokio::test]
async fn online_only_messages_take_datagrams_both_ways() {
    let house = House::new();
    let server = house.start(0, ALL);
    let client = Client::connect(&house.network(), config(server.address));
    client.ready(LONG).await.unwrap();
    assert!(matches!(client.next_event().await, Some(Event::Connected { .. })));
    assert_eq!(client.next_event().await, Some(Event::CaughtUp));
    client.post_online_only(user("alice"), text("typing")).unwrap();
    // Its answer shows that it came.
    assert!(matches!(client.next_event().await, Some(Event::Sent { sent, .. }) if sent.seq == 0));
    assert_eq!(house.datagrams.lock().unwrap().len(), 1);
    // Too long for a datagram: it takes the stream.
    client.post_online_only(user("alice"), text("x".repeat(2000))).unwrap();
    assert!(matches!(client.next_event().await, Some(Event::Sent { .. })));
    assert_eq!(house.datagrams.lock().unwrap().len(), 1);

    let message = nearport_wire::body::Message { from: "alice".into(), ..Default::default() };
    let delivery = nearport_wire::body::Delivery { message: Some(message), ..Default::default() };
    let push =
        nearport_wire::Frame::new(Lane::Chat, Kind::PUSH, 0, prost::Message::encode_to_vec(&delivery).into());
    house.send_datagram(push.encode());
    assert!(matches!(client.next_event().await, Some(Event::Transient(message)) if message.from == "alice"));
    drop(client);
    server.crash();
}

#[tokio::test]
async fn without_datagrams_everything_takes_the_stream() {
    let house = House::new();
    let server = house.start(0, ALL);
    let tuning = Tuning { datagrams: false, ..Tuning::default() };
    let network = Network::new(NetworkConfig { tuning, ..house.network_config() }).unwrap();
    let client = Client::connect(&network, config(server.address));
    client.ready(LONG).await.unwrap();
    while client.next_event().await != Some(Event::CaughtUp) {}
    client.post_online_only(user("alice"), text("typing")).unwrap();
    assert!(matches!(client.next_event().await, Some(Event::Sent { sent, .. }) if sent.seq == 0));
    assert_eq!(house.datagrams.lock().unwrap().len(), 0);
    drop(client);
    server.crash();
}

#[tokio::test]
async fn asked_to_leave_it_moves_to_where_it_was_sent_without_a_gap() {
    for transport in [Transport::Quic, Transport::WebSocket] {
        let house = House::new();
        house.ledger().token_ttl_s = 60;
        let (first, second) = (house.start(0, ALL), house.start(0, ALL));
        let config = Config { transports: vec![transport], ..config(first.address) };
        let client = Client::connect(&house.network(), config);
        client.ready(LONG).await.unwrap();
        while client.next_event().await != Some(Event::CaughtUp) {}
        // Nobody listens at the first target.
        let nowhere = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        house.order_away(Duration::from_millis(20), &[nowhere, second.address]);
        let mut sent = 0;
        let moved = loop {
            client.send(user("alice"), text(format!("{sent}"))).await.unwrap();
            sent += 1;
            match client.try_next_event() {
                Some(Event::Connected { resumed, transport: over, .. }) => break (resumed, over),
                Some(Event::GoAway { .. }) | None => {}
                Some(other) => panic!("{other:?}"),
            }
        };
        assert_eq!(moved, (true, transport));
        client.send(user("alice"), text(format!("{sent}"))).await.unwrap();
        // The old session ended with a good-bye, and the new one needed no UserSig.
        while house.left.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(*house.left.lock().unwrap(), [(transport, CloseCode::BYE)]);
        let texts: Vec<String> = (0..=sent).map(|n| n.to_string()).collect();
        assert_eq!(house.ledger().texts("bob"), texts);
        assert_eq!(house.ledger().attempts.len(), texts.len(), "nothing was sent twice");
        assert!(house.ledger().hellos[1].usersig.is_empty());
        first.crash();
        client.send(user("alice"), text("the first is gone")).await.unwrap();
        drop(client);
        second.crash();
    }
}

#[tokio::test]
async fn a_kept_token_and_cursor_open_the_next_process() {
    let house = House::new();
    house.ledger().token_ttl_s = 60;
    let server = house.start(0, ALL);
    let client = Client::connect(&house.network(), config(server.address));
    client.ready(LONG).await.unwrap();
    house.incoming("shown");
    assert_eq!(next_message(&client).await, "shown");
    house.incoming("next");
    assert_eq!(next_message(&client).await, "next");
    let kept = client.resume_state().unwrap();
    assert_eq!(kept.cursor, 1, "the second message is being looked at");
    assert!(!format!("{kept:?}").contains("116"), "{kept:?}");
    client.close().await;
    house.ledger().acked = 0;
    let config = Config { resume: Some(kept), usersig: String::new(), ..config(server.address) };
    let client = Client::connect(&house.network(), config);
    assert_eq!(next_message(&client).await, "next");
    drop(client);
    server.crash();
}
