//! Connections over TCP that stop in the middle of something and stay.

use std::time::Instant;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::arena::Arena;
use crate::node::STUCK;
use crate::raw_stream::Door;

/// Connections that stop at each place.
const OF_EACH: usize = 32;

/// What they may add: each is a buffer of a record at most, a TLS handshake or its keys, and 8 KiB of a request.
const SLOW_KIB_MAX: u64 = 16 * 1024;

/// The header of a proxy for a client at `203.0.113.7:4711`.
const PROXY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x07\x7f\x00\x00\x01\x12\x67\x01\xbb";

/// The front of a record with a hello of 512 bytes.
const HALF_HELLO: &[u8] = &[22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];

const HALF_REQUEST: &[u8] = b"GET /np HTTP/1.1\r\nHost: localhost\r\nX: ";

/// Where a connection stops.
#[derive(Debug, Clone, Copy)]
enum Stop {
    /// Not a byte.
    Silent,
    HalfProxyHeader,
    /// A proxy that opens connections and has no client for them.
    ProxyHeader,
    HalfHello,
    /// TLS, and no frame.
    Tls,
    /// TLS, and half a frame.
    HalfFrame,
    HalfRequest,
    /// TLS, and the front of a record.
    HalfRecord,
}

const STOPS: [Stop; 8] = [
    Stop::Silent,
    Stop::HalfProxyHeader,
    Stop::ProxyHeader,
    Stop::HalfHello,
    Stop::Tls,
    Stop::HalfFrame,
    Stop::HalfRequest,
    Stop::HalfRecord,
];

/// Goes as far as `stop` and then reads until the server has enough.
async fn dawdle(door: Door, stop: Stop) {
    let mut tcp = door.tcp().await;
    let header = match stop {
        Stop::Silent => 0,
        Stop::HalfProxyHeader => 20,
        _ => PROXY.len(),
    };
    tcp.write_all(&PROXY[..header]).await.unwrap();
    let (alpn, bytes): (&[u8], &[u8]) = match stop {
        Stop::Silent | Stop::HalfProxyHeader | Stop::ProxyHeader => return rest(tcp).await,
        Stop::HalfHello => {
            tcp.write_all(HALF_HELLO).await.unwrap();
            return rest(tcp).await;
        }
        Stop::Tls | Stop::HalfRecord => (b"np/1", b""),
        Stop::HalfFrame => (b"np/1", &[60, 1, 0x20]),
        Stop::HalfRequest => (b"http/1.1", HALF_REQUEST),
    };
    let mut tls = door.tls_on(tcp, alpn).await.unwrap();
    tls.write_all(bytes).await.unwrap();
    tls.flush().await.unwrap();
    if let Stop::HalfRecord = stop {
        tls.get_mut().0.write_all(&[23, 3, 3, 1, 0, 9, 9]).await.unwrap();
    }
    let _ = tls.read_to_end(&mut Vec::new()).await;
}

async fn rest(mut tcp: TcpStream) {
    // An end, an alert and an end, or a reset.
    let _ = tcp.read_to_end(&mut Vec::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_stops_half_way_is_gone_in_time_and_costs_little_until_then() {
    let from_here = "edge.proxy_protocol_from=[\"127.0.0.0/8\"]";
    let mut arena = Arena::start(&["--set", "edge.shards=1", "--set", from_here]).await;
    let door = Door::of(&arena.node, arena.path());
    let mut dawdlers = JoinSet::new();
    for stop in STOPS.into_iter().cycle().take(STOPS.len() * OF_EACH) {
        dawdlers.spawn(dawdle(door.clone(), stop));
    }
    let all = (STOPS.len() * OF_EACH) as u64;
    arena
        .talk_until("all of them half way", |figures| {
            figures.sum("nearport_edge_streams_accepted_total") == all
                && figures.sum("nearport_edge_tls_handshakes_total") == all / 2
        })
        .await;
    // Nobody ends but by the server's patience.
    let begun = Instant::now();
    while !dawdlers.is_empty() {
        assert!(begun.elapsed() < STUCK, "{} are still there", dawdlers.len());
        arena.talk().await;
        while let Some(ended) = dawdlers.try_join_next() {
            ended.unwrap();
        }
    }
    let figures = arena
        .talk_until("only the two are left", |figures| figures.sum("nearport_edge_connections") == 2)
        .await;
    assert_eq!(figures.sum("nearport_edge_streams_refused_total"), 0);
    arena.end("half-open connections", SLOW_KIB_MAX).await;
}
