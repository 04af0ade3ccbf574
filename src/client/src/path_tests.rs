//! Paths that break and change, over real sockets.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::house::{ALL, Doors, House};
use crate::relay::Relay;
use crate::{Client, Config, Event, Network, NetworkConfig, State, Transport, text, user};

/// A test that hangs shall fail, not wait for ever. No outcome depends on it.
const LONG: Duration = Duration::from_secs(60);

fn config(address: SocketAddr) -> Config {
    Config::new(address, "localhost", 1, "bob", "sig")
}

/// The transport of the next login.
async fn connected(client: &Client) -> Transport {
    loop {
        match tokio::time::timeout(LONG, client.next_event()).await.expect("an event") {
            Some(Event::Connected { transport, .. }) => return transport,
            Some(_) => {}
            None => panic!("the client stopped"),
        }
    }
}

#[tokio::test]
async fn where_udp_vanishes_tls_carries_the_session_and_is_remembered() {
    let house = House::new();
    let server = house.start(0, ALL);
    let relay = Relay::start(server.address, false, true).await;
    let network = house.network();
    let client = Client::connect(&network, config(relay.address));
    assert_eq!(connected(&client).await, Transport::Tls);
    client.send(user("alice"), text("hi")).await.unwrap();
    client.close().await;
    assert_eq!(house.ledger().texts("bob"), ["hi"]);

    // QUIC is known to fail: TLS goes first, and nothing is sent over UDP.
    let place = network.place(relay.address);
    network.memory().quic_failed(&place, Instant::now());
    relay.gates.udp.store(true, Ordering::SeqCst);
    let client = Client::connect(&network, config(relay.address));
    assert_eq!(connected(&client).await, Transport::Tls);
    assert_eq!(relay.gates.sources.load(Ordering::SeqCst), 0);

    // The hour is over: QUIC is probed beside the session, which does not notice; the next login uses it.
    network.memory().expire(&place);
    client.send(user("alice"), text("still here")).await.unwrap();
    while network.memory().plan(&place, &[Transport::Quic], Instant::now()).candidates.is_empty()
        || network.memory().probe_at(&place).is_some()
        || relay.gates.sources.load(Ordering::SeqCst) == 0
    {
        tokio::task::yield_now().await;
    }
    client.send(user("alice"), text("on tls")).await.unwrap();
    while let Some(event) = client.try_next_event() {
        assert!(!matches!(event, Event::Connected { .. } | Event::Disconnected { .. }), "{event:?}");
    }
    client.network_changed(None);
    assert_eq!(connected(&client).await, Transport::Quic);
    client.close().await;
    server.crash();
}

#[tokio::test]
async fn udp_that_is_cut_in_mid_session_costs_no_message() {
    let house = House::new();
    let server = house.start(0, ALL);
    let relay = Relay::start(server.address, true, true).await;
    let client = Client::connect(&house.network(), config(relay.address));
    assert_eq!(connected(&client).await, Transport::Quic);
    client.send(user("alice"), text("1")).await.unwrap();
    relay.gates.udp.store(false, Ordering::SeqCst);
    // The answers that do not come show it, seconds before they are late.
    client.send(user("alice"), text("2")).await.unwrap();
    assert_eq!(connected(&client).await, Transport::Tls);
    assert_eq!(house.ledger().texts("bob"), ["1", "2"]);
    client.close().await;
    server.crash();
}

#[tokio::test]
async fn a_new_socket_keeps_a_quic_session_and_a_tcp_session_comes_back_at_once() {
    for transport in [Transport::Quic, Transport::Tls] {
        let house = House::new();
        let server = house.start(0, ALL);
        let relay = Relay::start(server.address, true, true).await;
        let network = house.network();
        let config = Config { transports: vec![transport], ..config(relay.address) };
        let client = Client::connect(&network, config);
        assert_eq!(connected(&client).await, transport);
        client.send(user("alice"), text("1")).await.unwrap();
        network.rebind().unwrap();
        if transport == Transport::Tls {
            assert_eq!(connected(&client).await, transport);
        }
        client.send(user("alice"), text("2")).await.unwrap();
        let gates = &relay.gates;
        let moved = if transport == Transport::Quic { &gates.sources } else { &gates.connections };
        assert_eq!(moved.load(Ordering::SeqCst), 2);
        let events: Vec<Event> = std::iter::from_fn(|| client.try_next_event()).collect();
        assert!(!events.iter().any(|event| matches!(event, Event::Disconnected { .. })), "{events:?}");
        assert_eq!(house.ledger().texts("bob"), ["1", "2"]);
        client.close().await;
        server.crash();
    }
}

#[tokio::test]
async fn tickets_of_one_transport_resume_tls_on_another() {
    let house = House::new();
    let server = house.start(0, ALL);
    let network = house.network();
    for (transport, resumed) in [(Transport::Quic, 0), (Transport::Tls, 1), (Transport::WebSocket, 2)] {
        let client =
            Client::connect(&network, Config { transports: vec![transport], ..config(server.address) });
        assert_eq!(connected(&client).await, transport);
        client.send(user("alice"), text("hi")).await.unwrap();
        client.close().await;
        assert_eq!(*house.resumed.lock().unwrap(), resumed);
    }
    server.crash();
}

#[tokio::test]
async fn boxes_that_accept_and_say_nothing_end_the_attempt() {
    let house = House::new();
    let server = house.start(0, ALL);
    let relay = Relay::start(server.address, false, false).await;
    let mut config = config(relay.address);
    config.limits.connect_timeout = Duration::from_secs(1);
    let client = Client::connect(&house.network(), config);
    let reason = loop {
        match tokio::time::timeout(LONG, client.next_event()).await.unwrap() {
            Some(Event::Disconnected { reason, .. }) => break reason,
            other => assert!(other.is_some()),
        }
    };
    assert_eq!(reason, "no connection in time");
    // TLS and WebSocket were both tried.
    assert!(relay.gates.connections.load(Ordering::SeqCst) >= 2);
    drop(client);
    server.crash();
}

#[tokio::test]
async fn a_proxy_carries_tls_and_websocket_and_keeps_quic_at_home() {
    let house = House::new();
    let server = house.start(0, ALL);
    for (transports, over) in [
        (vec![Transport::Quic, Transport::Tls], Transport::Tls),
        (vec![Transport::Quic, Transport::WebSocket], Transport::WebSocket),
    ] {
        let (proxy, targets) = connect_proxy().await;
        let config = NetworkConfig { proxy: Some(proxy.parse().unwrap()), ..house.network_config() };
        let network = Network::new(config).unwrap();
        let client = Client::connect(&network, Config { transports, ..self::config(server.address) });
        assert_eq!(connected(&client).await, over);
        client.send(user("alice"), text("hi")).await.unwrap();
        client.close().await;
        assert_eq!(*targets.lock().unwrap(), [format!("localhost:{}", server.address.port())]);
    }
    let config =
        NetworkConfig { proxy: Some("http://127.0.0.1:1".parse().unwrap()), ..house.network_config() };
    let network = Network::new(config).unwrap();
    let client = Client::connect(
        &network,
        Config { transports: vec![Transport::Quic], ..self::config(server.address) },
    );
    let told = loop {
        match tokio::time::timeout(LONG, client.next_event()).await.unwrap() {
            Some(Event::Disconnected { reason, .. }) => break reason,
            other => assert!(other.is_some()),
        }
    };
    assert!(told.contains("proxy"), "{told}");
    server.crash();
}

/// A proxy that does what CONNECT asks for, and what it was asked for.
async fn connect_proxy() -> (String, std::sync::Arc<std::sync::Mutex<Vec<String>>>) {
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let targets = std::sync::Arc::<std::sync::Mutex<Vec<String>>>::default();
    let seen = std::sync::Arc::clone(&targets);
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let seen = std::sync::Arc::clone(&seen);
            tokio::spawn(async move {
                let mut near = BufReader::new(near);
                let mut lines = Vec::new();
                loop {
                    let mut line = String::new();
                    near.read_line(&mut line).await.unwrap();
                    if line == "\r\n" {
                        break;
                    }
                    lines.push(line);
                }
                let target = lines[0].split(' ').nth(1).unwrap().to_owned();
                let mut far = tokio::net::TcpStream::connect(&target).await.unwrap();
                seen.lock().unwrap().push(target);
                near.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                let _ = tokio::io::copy_bidirectional(near.get_mut(), &mut far).await;
            });
        }
    });
    (url, targets)
}

#[tokio::test]
async fn a_server_that_comes_back_is_found_over_whatever_it_offers() {
    let house = House::new();
    let server = house.start(0, ALL);
    let address = server.address;
    let client = Client::connect(&house.network(), config(address));
    assert_eq!(connected(&client).await, Transport::Quic);
    server.crash();
    let server = house.start(address.port(), Doors { udp: false, ..ALL });
    client.send(user("alice"), text("hi")).await.unwrap();
    assert_eq!(connected(&client).await, Transport::Tls);
    assert_eq!(client.state(), State::Live);
    drop(client);
    server.crash();
}
