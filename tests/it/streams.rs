//! TLS over TCP and WebSocket on real sockets with the echo backend: what works, what is refused, and that the neighbour
//! goes on.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use nearport_edge::Config;
use nearport_session::ServerLimits;
use nearport_trunk::echo::Echo;
use nearport_trunk::{Backend, Down, Link, Received, Sharing, Up, Waker};
use nearport_wire::close::CloseCode;
use nearport_wire::{Frame, Kind, Lane};
use rustix::process::{Resource, Rlimit, getrlimit, prlimit};
use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_websockets::Message;

use crate::node::Node;
use crate::raw::Server;
use crate::raw_stream::{CARRIERS, Carrier, Door, RawStream};

fn impatient() -> ServerLimits {
    ServerLimits { frame_timeout: Duration::from_millis(300), ..ServerLimits::default() }
}

/// Any number of requests in a second.
fn unhurried() -> ServerLimits {
    ServerLimits { requests_per_s: 0, ..ServerLimits::default() }
}

/// Everything that comes until the connection ends, in whatever way.
async fn rest(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Vec<u8> {
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all).await;
    all
}

#[tokio::test]
async fn all_transports_share_topics_on_all_shards() {
    let server = Server::start(2, ServerLimits::default(), &Echo::default());
    let door = server.door();
    let endpoint = server.client();
    let mut quic = server.login(&endpoint, "quic").await;
    let mut clients = Vec::new();
    for n in 0..20 {
        clients.push(door.login(CARRIERS[n % 2], &format!("user{n}")).await);
    }
    for client in &mut clients {
        client.echo(1).await;
    }
    let body = Bytes::from_static(b"to all");
    clients[0].send(Frame::new(Lane::Chat, Kind::BROADCAST, 2, body.clone())).await;
    let push = Frame::new(Lane::Chat, Kind::PUSH, 0, body);
    for client in &mut clients {
        let mut frame = client.next().await.unwrap();
        if frame.kind == Kind::REPLY {
            frame = client.next().await.unwrap();
        }
        assert_eq!(frame, push);
    }
    assert_eq!(quic.next().await.unwrap(), push);
    let stats = server.edge.stop();
    let sum = |figure: fn(&nearport_edge::Stats) -> u64| stats.iter().map(figure).sum::<u64>();
    assert_eq!((sum(|s| s.tls_handshakes), sum(|s| s.websocket_upgrades), sum(|s| s.accepted)), (20, 10, 1));
}

#[tokio::test]
async fn a_large_message_and_many_small_ones_come_whole() {
    let server = Server::start(1, ServerLimits::default(), &Echo::default());
    let door = server.door();
    for carrier in CARRIERS {
        let mut client = door.login(carrier, "user").await;
        let large = Bytes::from(vec![7; 16 * 1024]);
        for id in 1..=200 {
            let body = if id % 4 == 0 { large.clone() } else { Bytes::from(format!("{id}")) };
            client.send(Frame::new(Lane::Chat, Kind::ECHO, id, body)).await;
        }
        for id in 1..=200 {
            let frame = client.next().await.unwrap();
            assert_eq!((frame.kind, frame.id), (Kind::REPLY, id));
            assert!(id % 4 != 0 || frame.body == large);
        }
    }
}

#[tokio::test]
async fn each_kind_of_bad_frame_has_its_close_code_on_both() {
    let server = Server::start(1, impatient(), &Echo::default());
    let door = server.door();
    let mut neighbour = door.login(Carrier::Tls, "neighbour").await;
    let cases: [(&str, &[u8], CloseCode); 6] = [
        ("an oversize frame", &[0x80, 0, 0x40, 1], CloseCode::FRAME_TOO_LONG),
        ("an unknown kind", &[0, 0, 0xee, 0], CloseCode::BAD_KIND),
        ("a lane out of range", &[0, 7, 0x20, 0], CloseCode::BAD_FRAME),
        ("a second hello", &[0, 0, 1, 0], CloseCode::OUT_OF_TURN),
        ("half a frame and then silence", &[60, 1, 0x20], CloseCode::TIMEOUT),
        ("good-bye", &[0, 0, 7, 0], CloseCode::BYE),
    ];
    for carrier in CARRIERS {
        for (name, bytes, code) in cases {
            let mut client = door.login(carrier, "bad").await;
            client.send_bytes(bytes).await;
            assert_eq!(client.close_code().await, code, "{carrier:?}: {name}");
            if carrier == Carrier::WebSocket {
                let (status, reason) = client.web_close.clone().expect("a close frame");
                assert_eq!(status, if code == CloseCode::BYE { 1000 } else { 4000 }, "{name}");
                assert!(reason.starts_with(&format!("{} ", code.0)), "{name}: {reason}");
            }
        }
    }
    neighbour.echo(1).await;
}

/// A frame of a client, whose mask is zero.
fn frame(first: u8, second: u8, rest: &[u8]) -> Vec<u8> {
    [&[first, second][..], rest].concat()
}

#[tokio::test]
async fn each_broken_rule_of_websockets_has_its_status() {
    let server = Server::start(1, impatient(), &Echo::default());
    let door = server.door();
    let mut neighbour = door.login(Carrier::WebSocket, "neighbour").await;
    let cases: [(&str, u16, Vec<u8>); 8] = [
        ("no mask", 1002, frame(0x82, 1, b"x")),
        ("a reserved bit", 1002, frame(0xc2, 0x80, &[0; 4])),
        ("text", 1003, frame(0x81, 0x80, &[0; 4])),
        ("an unknown opcode", 1002, frame(0x83, 0x80, &[0; 4])),
        ("a continuation of nothing", 1002, frame(0x80, 0x80, &[0; 4])),
        ("a fragmented ping", 1002, frame(0x09, 0x80, &[0; 4])),
        ("a frame of 1 GiB", 1009, frame(0x82, 0xff, &[0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0])),
        ("half a header and then silence", 4000, vec![0x82]),
    ];
    for (name, status, bytes) in cases {
        let mut client = door.login(Carrier::WebSocket, "bad").await;
        client.socket().write_all(&bytes).await.unwrap();
        client.socket().flush().await.unwrap();
        let code = client.close_code().await;
        let expected = if status == 4000 { CloseCode::TIMEOUT } else { CloseCode::BAD_FRAME };
        assert_eq!(code, expected, "{name}");
        assert_eq!(client.web_close.as_ref().map(|close| close.0), Some(status), "{name}");
    }
    neighbour.echo(1).await;
}

#[tokio::test]
async fn a_websocket_is_pinged_fragmented_and_closed_as_the_rfc_says() {
    let server = Server::start(1, ServerLimits::default(), &Echo::default());
    let door = server.door();
    let mut client = door.login(Carrier::WebSocket, "user").await;
    client.send_message(Message::ping(&b"are you there"[..])).await;
    let pong = client.next_message().await.unwrap();
    assert!(pong.is_pong() && &pong.as_payload()[..] == b"are you there");
    // One frame of the session in three fragments, with a ping in between.
    let echo = Frame::new(Lane::Chat, Kind::ECHO, 9, Bytes::from_static(b"abc")).encode();
    let (front, back) = echo.split_at(3);
    let part = |first: u8, payload: &[u8]| {
        frame(first, 0x80 | u8::try_from(payload.len()).unwrap(), &[&[0; 4], payload].concat())
    };
    let bytes = [part(0x02, front), part(0x89, b"p"), part(0x00, b""), part(0x80, back)].concat();
    client.socket().write_all(&bytes).await.unwrap();
    client.socket().flush().await.unwrap();
    assert_eq!(client.next().await.unwrap().body, "abc");
    client.send_message(Message::close(None, "")).await;
    assert_eq!(client.close_code().await, CloseCode::BYE);
    assert_eq!(client.web_close.as_ref().map(|close| close.0), Some(1000));
}

const UPGRADE: &str = "GET /np HTTP/1.1\r\nHost: edge\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Protocol: np.1\r\n\r\n";

#[tokio::test]
async fn each_wrong_request_is_answered_and_closed() {
    let server = Server::start(1, impatient(), &Echo::default());
    let door = server.door();
    let mut neighbour = door.login(Carrier::WebSocket, "neighbour").await;
    let cases = [
        ("404 ", UPGRADE.replace("/np", "/other")),
        ("405 ", UPGRADE.replace("GET", "PUT")),
        ("426 ", UPGRADE.replace("Upgrade: websocket\r\n", "")),
        ("400 ", UPGRADE.replace("np.1", "chat")),
        ("400 ", "\0\0\0\0\r\n\r\n".to_owned()),
        ("431 ", UPGRADE.replace("edge", &"e".repeat(10_000))),
        ("431 ", UPGRADE.replace("Host", &"X: y\r\n".repeat(70))),
        ("408 ", UPGRADE[..40].to_owned()),
    ];
    for (status, request) in &cases {
        // No protocol name means HTTP too.
        for alpn in [&b"http/1.1"[..], b""] {
            let mut tls = door.tls(alpn).await;
            tls.write_all(request.as_bytes()).await.unwrap();
            tls.flush().await.unwrap();
            let answer = String::from_utf8(rest(&mut tls).await).unwrap();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request:.60}: {answer}");
            assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
        }
    }
    neighbour.echo(1).await;
    let refused: u64 = server.edge.stop().iter().map(|stats| stats.upgrade_refusals).sum();
    assert_eq!(refused, 14, "a request that is not complete is none");
}

#[tokio::test]
async fn who_dawdles_in_any_step_is_gone() {
    let server = Server::start(1, impatient(), &Echo::default());
    let door = server.door();
    let mut neighbour = door.login(Carrier::Tls, "neighbour").await;
    let mut silent = door.tcp().await;
    assert_eq!(rest(&mut silent).await, b"");

    let mut half_hello = door.tcp().await;
    half_hello.write_all(&[22, 3, 1, 2, 0, 1, 0, 1, 0xfc]).await.unwrap();
    assert_eq!(rest(&mut half_hello).await, b"");

    let mut no_hello = door.open(Carrier::Tls).await;
    assert_eq!(no_hello.close_code().await, CloseCode::TIMEOUT);
    let mut no_hello = door.open(Carrier::WebSocket).await;
    assert_eq!(no_hello.close_code().await, CloseCode::TIMEOUT);

    // A request octet by octet, which never ends.
    let mut drip = door.tls(b"http/1.1").await;
    let mut sent = UPGRADE.as_bytes()[..UPGRADE.len() - 2].iter().cycle();
    let answer = loop {
        let _ = drip.write_all(&[*sent.next().unwrap()]).await;
        let _ = drip.flush().await;
        let mut answer = [0; 12];
        match tokio::time::timeout(Duration::from_millis(5), drip.read(&mut answer)).await {
            Ok(Ok(count)) => break answer[..count].to_vec(),
            Ok(Err(error)) => panic!("{error}"),
            Err(_) => {}
        }
    };
    assert_eq!(answer, b"HTTP/1.1 408");

    // The front of a TLS record in mid-session.
    let mut half_record = door.login(Carrier::Tls, "half").await;
    half_record.socket().get_mut().0.write_all(&[23, 3, 3, 1, 0, 9, 9]).await.unwrap();
    assert_eq!(half_record.close_code().await, CloseCode::TIMEOUT);
    neighbour.echo(1).await;
}

#[tokio::test]
async fn what_is_no_tls_is_answered_by_an_alert_and_closed() {
    let server = Server::start(1, ServerLimits::default(), &Echo::default());
    let door = server.door();
    let mut neighbour = door.login(Carrier::Tls, "neighbour").await;
    for noise in [&b"GET / HTTP/1.1\r\nHost: edge\r\n\r\n"[..], &[0xff; 600], &[22, 3, 1, 0, 4, 9, 0, 0, 0]] {
        let mut tcp = door.tcp().await;
        tcp.write_all(noise).await.unwrap();
        let answer = rest(&mut tcp).await;
        assert_eq!((answer[0], answer.len()), (21, 7), "one alert: {answer:?}");
    }
    // In mid-session too.
    let mut client = door.login(Carrier::Tls, "bad").await;
    client.socket().get_mut().0.write_all(&[23, 3, 3, 0, 40].repeat(9)).await.unwrap();
    let mut got = [0; 16];
    assert!(client.socket().read(&mut got).await.is_err(), "an alert");
    neighbour.echo(1).await;
    let failures: u64 = server.edge.stop().iter().map(|stats| stats.tls_failures).sum();
    assert_eq!(failures, 4);
}

#[tokio::test]
async fn a_client_that_ends_its_side_or_resets_is_gone_for_the_backend() {
    let backend = Watched::default();
    let server = Server::start(1, ServerLimits::default(), &backend);
    let door = server.door();
    let mut half = door.login(Carrier::Tls, "half").await;
    // The end of TCP without that of TLS: perhaps cut off by somebody.
    SockRef::from(half.socket().get_ref().0).shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(half.close_code().await, CloseCode::LOST);
    let mut polite = door.login(Carrier::Tls, "polite").await;
    polite.socket().shutdown().await.unwrap();
    assert_eq!(polite.close_code().await, CloseCode::BYE);
    let mut rude = door.login(Carrier::WebSocket, "rude").await;
    SockRef::from(rude.socket().get_ref().0).set_linger(Some(Duration::ZERO)).unwrap();
    drop(rude);
    backend.closes(3).await;
    door.login(Carrier::Tls, "next").await.echo(1).await;
}

#[tokio::test]
async fn a_client_that_asks_and_does_not_read_is_not_read_either() {
    let server = Server::start(1, unhurried(), &Echo::default());
    let door = server.door();
    for carrier in CARRIERS {
        let mut neighbour = door.login(carrier, "neighbour").await;
        let mut client = door.login(carrier, "deaf").await;
        // 64 MiB of answers, of which the server may keep 128 KiB, and the kernels what their buffers hold.
        let body = Bytes::from(vec![7; 16 * 1024]);
        let (mut sent, total) = (0, 4_096);
        while sent < total {
            let frame = Frame::new(Lane::Chat, Kind::ECHO, sent + 1, body.clone());
            match tokio::time::timeout(Duration::from_millis(500), client.send(frame)).await {
                Ok(()) => sent += 1,
                Err(_) => break,
            }
        }
        assert!(sent < total, "{carrier:?}: everything was taken from a client that reads nothing");
        neighbour.echo(1).await;
        for id in 1..=sent {
            assert_eq!(client.next().await.map(|frame| frame.id), Some(id), "{carrier:?}");
        }
    }
}

#[tokio::test]
async fn pushes_to_a_client_that_does_not_read_are_dropped_and_it_is_told() {
    let server = Server::start(1, unhurried(), &Echo::default());
    let door = server.door();
    for carrier in CARRIERS {
        let mut slow = door.login(carrier, "slow").await;
        let mut loud = door.login(carrier, "loud").await;
        let body = Bytes::from(vec![7; 16 * 1024]);
        // More than the kernel's buffers and the session take.
        for id in 1..=1_000 {
            loud.send(Frame::new(Lane::Chat, Kind::BROADCAST, id, body.clone())).await;
            while loud.next().await.unwrap().kind != Kind::REPLY {}
        }
        let mut pushes = 0;
        loop {
            match slow.next().await.unwrap().kind {
                Kind::PUSH => pushes += 1,
                Kind::BEHIND => break,
                kind => panic!("{kind:?}"),
            }
        }
        assert!(pushes < 1_000, "{carrier:?}");
        slow.echo(1).await;
    }
}

#[tokio::test]
async fn drain_and_stop_are_told_on_both() {
    let server = Server::start(2, ServerLimits::default(), &Echo::default());
    let door = server.door();
    let mut clients = Vec::new();
    for n in 0..8 {
        clients.push(door.login(CARRIERS[n % 2], &format!("user{n}")).await);
    }
    let mut stubborn = door.login(Carrier::WebSocket, "stubborn").await;
    let server = Arc::new(server);
    let draining = server.clone();
    let drain = tokio::task::spawn_blocking(move || draining.edge.drain(Duration::from_secs(3)));
    for client in &mut clients {
        assert_eq!(client.next().await.unwrap().kind, Kind::GO_AWAY);
        client.send(Frame::new(Lane::Control, Kind::CLOSE, 0, Bytes::new())).await;
        assert_eq!(client.close_code().await, CloseCode::BYE);
    }
    assert_eq!(stubborn.next().await.unwrap().kind, Kind::GO_AWAY);
    // New ones are sent away at once.
    let mut late = door.tcp().await;
    assert_eq!(rest(&mut late).await, b"");
    assert_eq!(drain.await.unwrap(), 1);
    let server = Arc::into_inner(server).expect("nobody else has it");
    tokio::task::spawn_blocking(move || server.edge.stop()).await.unwrap();
    assert_eq!(stubborn.close_code().await, CloseCode::GOING_AWAY);
    assert_eq!(stubborn.web_close.map(|close| close.0), Some(4000));
}

/// The header of a proxy for a client at `203.0.113.7:4711`.
const PROXY_HEADER: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x07\x7f\x00\x00\x01\x12\x67\x01\xbb";

#[tokio::test]
async fn a_trusted_proxy_tells_the_clients_address_and_has_to() {
    let backend = Watched::default();
    let trusted = vec!["127.0.0.0/8".parse().unwrap()];
    let server = Server::start_config(&backend, |config| Config { proxy_protocol_from: trusted, ..config });
    let door = server.door();
    // In one piece with what follows, and octet by octet.
    for pieces in [1, PROXY_HEADER.len()] {
        let mut tcp = door.tcp().await;
        tcp.set_nodelay(true).unwrap();
        for piece in PROXY_HEADER.chunks(PROXY_HEADER.len() / pieces) {
            tcp.write_all(piece).await.unwrap();
        }
        let mut client = RawStream::on_tls(door.tls_on(tcp, b"np/1").await.unwrap());
        client.hello("proxied").await;
        client.echo(1).await;
        assert_eq!(backend.peers().pop(), Some("203.0.113.7:4711".parse().unwrap()));
    }
    // A health check of the proxy's own.
    let mut tcp = door.tcp().await;
    tcp.write_all(b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00").await.unwrap();
    let own = tcp.local_addr().unwrap();
    let mut client = RawStream::on_tls(door.tls_on(tcp, b"np/1").await.unwrap());
    client.hello("health").await;
    assert_eq!(backend.peers().pop(), Some(own));
    // Without a header, or with one that cannot be read, there is no answer at all.
    for bad in [
        &b"\x16\x03\x01\x00\x05"[..],
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x12\0\0",
    ] {
        let mut tcp = door.tcp().await;
        tcp.write_all(bad).await.unwrap();
        assert_eq!(rest(&mut tcp).await, b"");
    }
    client.echo(1).await;
    assert_eq!(server.edge.stop()[0].proxy_refusals, 3);
}

#[tokio::test]
async fn from_anybody_else_a_proxy_header_is_no_tls() {
    let trusted = vec!["10.0.0.0/8".parse().unwrap()];
    let server =
        Server::start_config(&Echo::default(), |config| Config { proxy_protocol_from: trusted, ..config });
    let door = server.door();
    let mut tcp = door.tcp().await;
    tcp.write_all(PROXY_HEADER).await.unwrap();
    assert_eq!(rest(&mut tcp).await.first(), Some(&21), "an alert");
    door.login(Carrier::Tls, "plain").await.echo(1).await;
}

#[tokio::test]
async fn a_certificate_challenge_ends_with_its_handshake() {
    let server = Server::start(1, ServerLimits::default(), &Echo::default());
    let mut tls = server.door().tls(b"acme-tls/1").await;
    let mut got = Vec::new();
    // An end by close_notify: anything else would be an error.
    assert_eq!(tls.read_to_end(&mut got).await.unwrap(), 0);
}

#[tokio::test]
async fn without_tcp_nobody_listens() {
    let server = Server::start_config(&Echo::default(), |config| Config { tcp: false, ..config });
    let error = TcpStream::connect(server.edge.local_addr()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    server.login(&server.client(), "user").await.echo(1).await;
}

/// The real program with no descriptor left: who is in goes on, who waits gets in when there is room.
#[tokio::test]
async fn want_of_descriptors_costs_only_new_connections() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), &["--backend", "echo", "--set", "edge.shards=1"]);
    let door = Door::of(&node, dir.path());
    let mut early = door.login(Carrier::Tls, "early").await;
    let pid = rustix::process::Pid::from_raw(node.pid().try_into().unwrap());
    let used = std::fs::read_dir(format!("/proc/{}/fd", node.pid())).unwrap().count() as u64;
    let maximum = getrlimit(Resource::Nofile).maximum;
    let before = prlimit(pid, Resource::Nofile, Rlimit { current: Some(used + 4), maximum }).unwrap();
    let mut waiting = Vec::new();
    for _ in 0..20 {
        waiting.push(TcpStream::connect(node.edge).await.unwrap());
    }
    let log = || std::fs::read_to_string(dir.path().join("serve.log")).unwrap();
    while !log().contains("no new TCP connections for now") {
        early.echo(1).await;
    }
    early.echo(2).await;
    prlimit(pid, Resource::Nofile, before).unwrap();
    drop(waiting.drain(..10));
    // Who waited in the kernel's queue is served now.
    let client = door.tls_on(waiting.pop().unwrap(), b"np/1").await.unwrap();
    let mut client = RawStream::on_tls(client);
    client.hello("patient").await;
    client.echo(1).await;
    early.echo(3).await;
    // Figures are published once a second, while something happens.
    let counted = || {
        let metrics = node.get("/metrics").1;
        let line = metrics.lines().find(|line| line.starts_with("nearport_edge_accept_errors_total"));
        !line.unwrap().ends_with(" 0")
    };
    while !counted() {
        early.echo(4).await;
    }
}

/// The echo backend with an eye on addresses and ends.
#[derive(Debug, Clone)]
struct Watched {
    echo: Echo,
    peers: Arc<Mutex<Vec<SocketAddr>>>,
    closed: Arc<tokio::sync::Semaphore>,
}

impl Default for Watched {
    fn default() -> Self {
        let closed = Arc::new(tokio::sync::Semaphore::new(0));
        Self { echo: Echo::default(), peers: Arc::default(), closed }
    }
}

impl Watched {
    fn peers(&self) -> Vec<SocketAddr> {
        self.peers.lock().unwrap().clone()
    }

    /// Waits until so many sessions have ended.
    async fn closes(&self, count: u32) {
        self.closed.acquire_many(count).await.unwrap().forget();
    }
}

impl Backend for Watched {
    fn link(&self, waker: Waker) -> Box<dyn Link> {
        Box::new(WatchedLink { watched: self.clone(), link: self.echo.link(waker) })
    }

    fn link_sharing(&self, waker: Waker, _: Sharing) -> Box<dyn Link> {
        self.link(waker)
    }
}

#[derive(Debug)]
struct WatchedLink {
    watched: Watched,
    link: Box<dyn Link>,
}

impl Link for WatchedLink {
    fn send(&mut self, ups: &mut Vec<Up>) {
        for up in &*ups {
            match up {
                Up::Open { peer, .. } => self.watched.peers.lock().unwrap().push(*peer),
                Up::Close { .. } => self.watched.closed.add_permits(1),
                _ => {}
            }
        }
        self.link.send(ups);
    }

    fn recv(&mut self, downs: &mut Vec<Down>, max: usize) -> Received {
        self.link.recv(downs, max)
    }
}
