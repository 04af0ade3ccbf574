//! Datagrams that begin a connection, or look like it, from addresses that nobody has proved.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nearport_client::Transport;

use super::arena::Arena;
use super::datagrams::{Beginning, Dice, is_retry, long_header, received, socket_at};
use crate::node::STUCK;

/// What a flood may add to the server: 512 handshakes that nobody finishes, of 40 KiB in a build for debugging, and the two
/// queues in front of them, 512 datagrams of 2 KiB.
const FLOOD_KIB_MAX: u64 = 48 * 1024;

/// Something like an Initial of QUIC v1: right in all that can be read without a key.
fn noise(dice: &mut Dice) -> Vec<u8> {
    let mut datagram = long_header(0xc0, 1, &dice.bytes(8), &dice.bytes(8));
    let missing = 1200 - datagram.len();
    datagram.extend(dice.bytes(missing));
    datagram
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_forged_initials_meets_a_budget_and_then_retry() {
    let mut arena = Arena::start(&["--set", "edge.shards=1"]).await;
    let server = arena.node.edge;
    let sockets: Arc<Vec<_>> = Arc::new((1..=32).map(socket_at).collect());

    // Real hellos from clients that never answer, until the server wants to see a token first.
    let senders = sockets.clone();
    let (hellos, retries, bytes_back) = arena
        .talk_during(
            move || {
                let (mut retries, mut bytes_back) = (0, 0);
                for count in 1..=20_000 {
                    let socket = &senders[count % senders.len()];
                    socket.send_to(&Beginning::new(server).first, server).unwrap();
                    for datagram in received(socket) {
                        bytes_back += datagram.len();
                        retries += usize::from(is_retry(&datagram));
                    }
                    if retries >= 32 {
                        return (count, retries, bytes_back);
                    }
                }
                panic!("no Retry: {retries}");
            },
            10,
        )
        .await;
    assert!(hellos > 512, "a token was asked for after {hellos} hellos, {retries}");
    assert!(bytes_back <= 3 * 1200 * hellos, "{bytes_back} bytes for {hellos} hellos");

    // As much as this host can send, of what is not even a hello. Somebody new gets in all the same.
    let over = Arc::new(AtomicBool::new(false));
    let flood = std::thread::spawn({
        let over = over.clone();
        move || {
            let mut dice = Dice::new(1);
            let (mut sent, mut back) = (0usize, 0);
            while !over.load(Ordering::Relaxed) {
                let socket = &sockets[sent % sockets.len()];
                // A full buffer is the kernel's drop, which is one more.
                let _ = socket.send_to(&noise(&mut dice), server);
                sent += 1;
                back += received(socket).iter().map(Vec::len).sum::<usize>();
            }
            (sent, back)
        }
    });
    let carol = arena.access.login("carol", &[Transport::Quic]).await;
    for _ in 0..50 {
        arena.talk().await;
    }
    let flooded = arena.talk_until("drops of every kind", |figures| {
        figures.sum("nearport_edge_initials_overflowed_total") > 0
            && figures.sum("nearport_edge_handshake_failures_total") > 0
            && figures.sum("nearport_edge_retries_total") > 0
    });
    let figures = flooded.await;
    over.store(true, Ordering::Relaxed);
    let (sent, back) = flood.join().unwrap();
    assert!(
        back <= sent * 1200,
        "{back} bytes for {sent} datagrams: a Retry is smaller than what asked for it"
    );
    assert_eq!(
        figures.sum("nearport_edge_shard_full_refusals_total"),
        0,
        "Retry keeps the table from filling"
    );
    println!("{hellos} hellos, {sent} datagrams of noise, {back} bytes in answer");

    carol.close().await;
    // What nobody finished is forgotten when its hello is due.
    arena
        .talk_until("the end of the handshakes", |figures| figures.sum("nearport_edge_handshakes") == 0)
        .await;
    arena.end("forged Initials", FLOOD_KIB_MAX).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_client_sends_is_answered_by_nothing_at_all() {
    let mut arena = Arena::start(&["--set", "edge.shards=2"]).await;
    let server = arena.node.edge;
    let mut dice = Dice::new(2);
    let socket = socket_at(9);
    let good = Beginning::new(server).first;
    let (mut short, mut versions, mut malformed) = (0, 0, 0);
    let send = |datagram: &[u8], count: &mut u64| {
        socket.send_to(datagram, server).unwrap();
        *count += 1;
    };
    for length in [60, 100, 600, 1_000, 1_199] {
        send(&good[..length], &mut short);
    }
    // Greasing, Version Negotiation itself, a draft, QUIC v2; in small datagrams and in large ones, to which RFC 9000 would
    // allow a list of versions: there is one version, and only probes ask whether somebody is there.
    for version in [0, 0x1a2a_3a4a, 0xff00_001d, 0x6b33_43cf, u32::MAX] {
        for length in [40, 1_199, 1_200, 1_400, 9_000] {
            let mut datagram = long_header(0xc0, version, &dice.bytes(8), &dice.bytes(8));
            datagram.resize(length, 7);
            send(&datagram, &mut versions);
        }
    }
    let mut cut = |first: u8, ids: [usize; 2]| {
        let mut datagram = long_header(first, 1, &dice.bytes(ids[0]), &dice.bytes(ids[1]));
        datagram.resize(1_200, 0);
        datagram
    };
    // A destination id that no client may choose, ids that are too long, 0-RTT, Retry, Handshake to an id that is not ours.
    for datagram in [
        cut(0xc0, [7, 8]),
        cut(0xc0, [21, 8]),
        cut(0xc0, [8, 21]),
        cut(0xd0, [17, 8]),
        cut(0xf0, [17, 8]),
        cut(0xe0, [8, 8]),
        vec![0x80],
        vec![0xff; 4],
    ] {
        send(&datagram, &mut malformed);
    }
    let figures = arena
        .talk_until("all of them counted", |figures| {
            figures.sum("nearport_edge_short_initials_total") >= short
                && figures.sum("nearport_edge_unknown_versions_total") >= versions
                && figures.sum("nearport_edge_malformed_datagrams_total") >= malformed
        })
        .await;
    assert_eq!(figures.sum("nearport_edge_short_initials_total"), short);
    assert_eq!(figures.sum("nearport_edge_unknown_versions_total"), versions);
    assert_eq!(figures.sum("nearport_edge_malformed_datagrams_total"), malformed);
    assert_eq!(received(&socket), Vec::<Vec<u8>>::new());
    // The same socket is answered when it asks as a client does, so silence is not the socket's.
    socket.set_nonblocking(false).unwrap();
    socket.set_read_timeout(Some(STUCK)).unwrap();
    socket.send_to(&good, server).unwrap();
    assert!(socket.recv(&mut [0; 2048]).unwrap() > 0);
    arena.end("datagrams of no use", 8 * 1024).await;
}
