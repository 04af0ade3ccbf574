//! What a server does for an address before that address is proved.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use nearport_edge::shard::Admission;
use nearport_edge::{Config, Stats};
use nearport_session::ServerLimits;
use nearport_trunk::echo::Echo;
use quinn_proto::{ConnectionError, TransportErrorCode};

use super::datagrams::{Beginning, is_retry, received, socket_at};
use crate::node::STUCK;
use crate::raw::{Raw, Server};

/// One datagram of the server.
fn next(socket: &UdpSocket) -> Vec<u8> {
    socket.set_nonblocking(false).unwrap();
    socket.set_read_timeout(Some(STUCK)).unwrap();
    let mut buffer = [0; 2048];
    let count = socket.recv(&mut buffer).unwrap();
    socket.set_nonblocking(true).unwrap();
    buffer[..count].to_vec()
}

/// The figures of the only shard, once they are as `wanted`: they are published once a second, while something happens.
async fn stats_when(server: &Server, neighbour: &mut Raw, wanted: impl Fn(&Stats) -> bool) -> Stats {
    let begun = Instant::now();
    loop {
        neighbour.echo(1).await;
        let stats = server.edge.stats()[0];
        if wanted(&stats) {
            return stats;
        }
        assert!(begun.elapsed() < STUCK, "{stats:?}");
    }
}

/// Asks for a token from `socket`. The client and its first datagram with the token.
fn with_token(server: SocketAddr, socket: &UdpSocket) -> (Beginning, Vec<u8>) {
    let mut client = Beginning::new(server);
    socket.send_to(&client.first, server).unwrap();
    let retry = next(socket);
    assert!(is_retry(&retry));
    client.receive(&retry);
    let proof = client.datagrams().remove(0);
    (client, proof)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_retry_token_is_good_for_the_address_that_asked_for_it_alone() {
    // Everybody is asked for a token.
    let admission = Admission { handshakes_soft: 0, ..Admission::default() };
    let session = ServerLimits { requests_per_s: 0, ..ServerLimits::default() };
    let server = Server::start_config(&Echo::default(), |config| Config { admission, session, ..config });
    let address = server.edge.local_addr();
    let mut neighbour = server.login(&server.client(), "neighbour").await;
    let owner = socket_at(1);
    let (mut client, proof) = with_token(address, &owner);

    // Another host, and another port of the same host, which may be another customer behind one address.
    let mut told = Vec::new();
    for thief in [socket_at(2), UdpSocket::bind("127.0.1.1:0").unwrap()] {
        thief.send_to(&proof, address).unwrap();
        told.push(next(&thief));
        let failures = told.len() as u64;
        let stats = stats_when(&server, &mut neighbour, |stats| stats.handshake_failures == failures).await;
        assert_eq!((stats.connections, stats.handshakes), (1, 0), "nothing is kept of it");
        assert_eq!(received(&thief), Vec::<Vec<u8>>::new(), "one answer and no more");
    }
    // A token of which one octet was changed proves nothing: its owner is asked again.
    let mut changed = proof.clone();
    let source_at = 6 + usize::from(proof[5]);
    let token_at = source_at + 1 + usize::from(proof[source_at]) + 2;
    changed[token_at + 9] ^= 1;
    owner.send_to(&changed, address).unwrap();
    assert!(is_retry(&next(&owner)));
    // Its owner gets in with it.
    owner.send_to(&proof, address).unwrap();
    let answer = next(&owner);
    assert!(!is_retry(&answer) && answer.len() > 1_000, "the server's hello");
    stats_when(&server, &mut neighbour, |stats| stats.connections == 2).await;
    // The thieves were told so, in less than they sent: the keys are those of the datagram that they copied.
    assert!(told.iter().all(|answer| answer.len() < proof.len() / 10), "{told:?}");
    client.receive(&told[0]);
    match client.lost() {
        Some(ConnectionError::ConnectionClosed(close)) => {
            assert_eq!(close.error_code, TransportErrorCode::INVALID_TOKEN)
        }
        other => panic!("{other:?}"),
    }
}

/// A certificate for so many names that its chain is longer than what a client's first datagrams allow.
fn long_certificate() -> (rcgen::Certificate, rcgen::KeyPair) {
    let names = (0..400).map(|n| format!("a-name-of-some-length-{n}.example"));
    let names = std::iter::once("edge".to_owned()).chain(names);
    let certified = rcgen::generate_simple_self_signed(names.collect::<Vec<_>>()).unwrap();
    (certified.cert, certified.signing_key)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_address_that_nobody_has_proved_gets_three_times_what_it_sent() {
    let (certificate, key) = long_certificate();
    let chain = certificate.der().len();
    let frame_timeout = Duration::from_secs(2);
    let session = ServerLimits { frame_timeout, requests_per_s: 0, ..ServerLimits::default() };
    let config = |config| Config { session, ..config };
    let server = Server::start_certified(&Echo::default(), &certificate, &key, config);
    let address = server.edge.local_addr();
    let mut neighbour = server.login(&server.client(), "neighbour").await;
    let large = Beginning::large(address);
    let whole = [&[large.first.clone()][..], &large.more].concat();
    assert!(whole.len() > 1, "a post-quantum hello has two datagrams");
    let hellos = [
        ("one datagram", vec![Beginning::new(address).first]),
        ("both datagrams of a large hello", whole),
        ("the first of two", vec![Beginning::large(address).first]),
        ("one, twice", vec![Beginning::new(address).first; 2]),
    ];
    let sockets: Vec<_> = (1..).zip(&hellos).map(|(third, _)| socket_at(third)).collect();
    for (socket, (_, datagrams)) in sockets.iter().zip(&hellos) {
        for datagram in datagrams {
            socket.send_to(datagram, address).unwrap();
        }
    }
    // Until the server has given each of them up: with repetitions, and whatever it says at the end.
    stats_when(&server, &mut neighbour, |stats| stats.accepted == 1 + hellos.len() as u64).await;
    let mut came = vec![0; hellos.len()];
    loop {
        for (socket, came) in sockets.iter().zip(&mut came) {
            *came += received(socket).iter().map(Vec::len).sum::<usize>();
        }
        if stats_when(&server, &mut neighbour, |_| true).await.connections == 1 {
            break;
        }
    }
    for ((name, datagrams), came) in hellos.iter().zip(came) {
        let sent: usize = datagrams.iter().map(Vec::len).sum();
        println!("{name}: {sent} bytes sent, {came} came back, of a chain of {chain}");
        assert!(came <= 3 * sent, "{name}: {came} bytes for {sent}");
        if *name != "the first of two" {
            assert!(
                came > 2 * sent && chain > 3 * sent,
                "{name}: the limit was not reached: {came} for {sent}"
            );
        }
    }
}
