//! The edge on real sockets with the echo backend, against high-level quinn: another implementation looks at the wire.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use nearport_edge::admission::{Admission, Gate};
use nearport_session::ServerLimits;
use nearport_trunk::echo::Echo;
use nearport_wire::close::CloseCode;
use nearport_wire::{Frame, Kind, Lane};

use crate::raw::Server;

#[tokio::test]
async fn connections_spread_over_the_shards_and_survive_a_change_of_address() {
    let server = Server::start(2, ServerLimits::default(), &Echo::default());
    let endpoint = server.client();
    let mut clients = Vec::new();
    for n in 0..32 {
        clients.push(server.login(&endpoint, &format!("user{n}")).await);
    }
    for client in &mut clients {
        client.echo(1).await;
    }
    // Every client moves to another port at once, as behind a NAT that forgot them.
    endpoint.rebind(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
    for client in &mut clients {
        client.echo(2).await;
        client.echo(3).await;
    }
    let steered = server.edge.is_steered();
    let stats = server.edge.stop();
    assert!(stats.iter().all(|shard| shard.accepted > 0), "one shard had nothing to do: {stats:?}");
    assert_eq!(stats.iter().map(|shard| shard.accepted).sum::<u64>(), 32);
    let handed_over: u64 = stats.iter().map(|shard| shard.handed_over).sum();
    assert!(!steered || handed_over == 0, "the kernel steers, yet {handed_over} datagrams were handed over");
}

#[tokio::test]
async fn without_the_kernels_steering_shards_hand_datagrams_over() {
    let server = Server::start_with(2, ServerLimits::default(), &Echo::default(), false);
    assert!(!server.edge.is_steered());
    // One client socket is one flow: the kernel gives all of it to one shard, half belongs to the other.
    let endpoint = server.client();
    for n in 0..16 {
        server.login(&endpoint, &format!("user{n}")).await.echo(1).await;
    }
    let stats = server.edge.stop();
    assert!(stats.iter().all(|shard| shard.accepted > 0), "{stats:?}");
    assert!(stats.iter().any(|shard| shard.handed_over > 0), "{stats:?}");
    assert!(stats.iter().all(|shard| shard.hand_over_dropped == 0), "{stats:?}");
}

#[tokio::test]
async fn what_a_handshake_costs_is_measured_where_it_is_made() {
    let server = Server::start(1, ServerLimits::default(), &Echo::default());
    let guess = Gate::new(Admission::default(), Instant::now()).handshake_cost().as_nanos();
    let endpoint = server.client();
    for n in 0..40 {
        server.login(&endpoint, &format!("user{n}")).await;
    }
    let cost = u128::from(server.edge.stop()[0].handshake_cost_ns);
    assert!(cost != guess && cost >= 20_000, "{guess} {cost}");
}

#[tokio::test]
async fn a_broadcast_reaches_every_session_of_every_shard() {
    let server = Server::start(2, ServerLimits::default(), &Echo::default());
    let endpoint = server.client();
    let mut clients = Vec::new();
    for n in 0..40 {
        clients.push(server.login(&endpoint, &format!("user{n}")).await);
    }
    let body = bytes::Bytes::from_static(b"to all");
    clients[0].send(Frame::new(Lane::Chat, Kind::BROADCAST, 1, body.clone())).await;
    for (n, client) in clients.iter_mut().enumerate() {
        let mut frame = client.next().await.unwrap();
        if n == 0 && frame.kind == Kind::REPLY {
            frame = client.next().await.unwrap();
        }
        assert_eq!(frame, Frame::new(Lane::Chat, Kind::PUSH, 0, body.clone()), "client {n}");
    }
}

#[tokio::test]
async fn each_kind_of_bad_input_has_its_close_code_and_the_neighbour_goes_on() {
    let session = ServerLimits { frame_timeout: Duration::from_millis(200), ..ServerLimits::default() };
    let server = Server::start(1, session, &Echo::default());
    let endpoint = server.client();
    let mut neighbour = server.login(&endpoint, "neighbour").await;
    let cases: [(&str, &[u8], CloseCode); 6] = [
        ("an oversize frame", &[0x80, 0, 0x40, 1], CloseCode::FRAME_TOO_LONG),
        ("an unknown kind", &[0, 0, 0xee, 0], CloseCode::BAD_KIND),
        ("a lane out of range", &[0, 7, 0x20, 0], CloseCode::BAD_FRAME),
        ("a second hello", &[0, 0, 1, 0], CloseCode::OUT_OF_TURN),
        ("half a frame and then silence", &[60, 1, 0x20], CloseCode::TIMEOUT),
        ("good-bye", &[0, 0, 7, 0], CloseCode::BYE),
    ];
    for (name, bytes, code) in cases {
        let mut client = server.login(&endpoint, "bad").await;
        client.send_bytes(bytes).await;
        let close = client.next().await;
        assert!(
            matches!(&close, Ok(frame) if frame.kind == Kind::CLOSE) || close == Err(code),
            "{name}: {close:?}"
        );
        assert_eq!(client.close_code().await, code, "{name}");
    }
    let silent = server.connect(&endpoint).await;
    assert_eq!(silent.close_code().await, CloseCode::TIMEOUT, "no hello at all");
    neighbour.echo(1).await;
}

#[tokio::test]
async fn a_request_that_the_backend_does_not_know_is_an_error_and_no_close() {
    let server = Server::start(1, ServerLimits::default(), &Echo::default());
    let mut client = server.login(&server.client(), "user").await;
    client.send(Frame::new(Lane::Chat, Kind(0x7f), 9, bytes::Bytes::new())).await;
    let frame = client.next().await.unwrap();
    assert_eq!((frame.kind, frame.id), (Kind::ERROR, 9));
    client.echo(10).await;
}

#[tokio::test]
async fn drain_sends_everybody_away_and_says_when_they_are_gone() {
    let server = Server::start(2, ServerLimits::default(), &Echo::default());
    let endpoint = server.client();
    let mut clients = Vec::new();
    for n in 0..8 {
        clients.push(server.login(&endpoint, &format!("user{n}")).await);
    }
    let server = std::sync::Arc::new(server);
    let draining = server.clone();
    let drain = tokio::task::spawn_blocking(move || draining.edge.drain(Duration::from_secs(30)));
    for client in &mut clients {
        assert_eq!(client.next().await.unwrap().kind, Kind::GO_AWAY);
        client.send(Frame::new(Lane::Control, Kind::CLOSE, 0, bytes::Bytes::new())).await;
        assert_eq!(client.close_code().await, CloseCode::BYE);
    }
    assert_eq!(drain.await.unwrap(), 0);
}
