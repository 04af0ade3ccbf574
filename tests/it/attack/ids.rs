//! Packets with connection ids that are forged, bent or copied.

use std::net::SocketAddr;

use nearport_client::{Transport, text, user};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::arena::Arena;
use super::datagrams::{Dice, received, socket_at};

/// Octets of a server's connection id.
const ID: std::ops::Range<usize> = 1..18;

/// Carries one client's datagrams, and shows its last packet of an established connection.
struct Tap {
    address: SocketAddr,
    last: watch::Receiver<Vec<u8>>,
    _carrying: JoinSet<()>,
}

impl Tap {
    async fn on(server: SocketAddr) -> Self {
        let outer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let inner = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        inner.connect(server).await.unwrap();
        let address = outer.local_addr().unwrap();
        let (sender, last) = watch::channel(Vec::new());
        let mut carrying = JoinSet::new();
        carrying.spawn(async move {
            let (mut up, mut down) = ([0; 2048], [0; 2048]);
            let mut client = None;
            loop {
                tokio::select! {
                    Ok((count, from)) = outer.recv_from(&mut up) => {
                        client = Some(from);
                        if up[0] & 0x80 == 0 {
                            sender.send_replace(up[..count].to_vec());
                        }
                        inner.send(&up[..count]).await.unwrap();
                    }
                    Ok(count) = inner.recv(&mut down) => {
                        outer.send_to(&down[..count], client.unwrap()).await.unwrap();
                    }
                }
            }
        });
        Self { address, last, _carrying: carrying }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_connection_id_reaches_nobody_and_is_never_answered() {
    let mut arena = Arena::start(&["--set", "edge.shards=2"]).await;
    let server = arena.node.edge;
    let tap = Tap::on(server).await;
    let dave = arena.access.at(tap.address).login("dave", &[Transport::Quic]).await;
    dave.send(user("alice"), text("over the tap")).await.unwrap();
    let genuine = tap.last.borrow().clone();
    let id = genuine[ID].to_vec();

    let mut dice = Dice::new(3);
    let mut forged = Vec::new();
    let mut forge = |id: &[u8], dice: &mut Dice| {
        for length in [22, 60, 1_200] {
            forged.push([&[0x40], id, &dice.bytes(length)].concat());
        }
        // The same in a long header: a Handshake packet.
        let mut long = vec![0xe0, 0, 0, 0, 1, 17];
        long.extend(id);
        long.extend([0, 0x44, 0x80]);
        long.extend(dice.bytes(1_150));
        forged.push(long);
    };
    // Made up, for each shard and epoch that the first octet can name.
    for hint in 0..=255 {
        let mut made_up = dice.bytes(17);
        made_up[0] = hint;
        forge(&made_up, &mut dice);
    }
    // Dave's, for every other shard, and with one bit of it wrong.
    for hint in 0..32 {
        let mut elsewhere = id.clone();
        elsewhere[0] ^= hint;
        if hint != 0 {
            forge(&elsewhere, &mut dice);
        }
    }
    for bit in 0..8 * id.len() {
        let mut bent = id.clone();
        bent[bit / 8] ^= 1 << (bit % 8);
        forge(&bent, &mut dice);
    }
    // Dave's own, around bytes that no key of his sealed, and a copy of what he really sent.
    forge(&id, &mut dice);
    forged.push(genuine);

    let before = arena.figures().sum("nearport_edge_datagrams_received_total");
    let strangers = [socket_at(3), socket_at(4)];
    // A few at a time: what the kernel's buffer has no room for proves nothing.
    for some in forged.chunks(32) {
        for (stranger, datagram) in strangers.iter().cycle().zip(some) {
            stranger.send_to(datagram, server).unwrap();
        }
        arena.talk().await;
    }
    let count = forged.len() as u64;
    let figures = arena
        .talk_until("all of them", |figures| {
            figures.sum("nearport_edge_datagrams_received_total") >= before + count
        })
        .await;
    for stranger in &strangers {
        assert_eq!(received(stranger), Vec::<Vec<u8>>::new());
    }
    assert_eq!(figures.sum("nearport_edge_connections"), 3);
    // The connection that they meant is where it was.
    dave.send(user("alice"), text("still over the tap")).await.unwrap();
    assert_eq!(arena.figures().sum("nearport_edge_sessions_closed_total"), 0);
    dave.close().await;
    arena.end("forged ids", 4 * 1024).await;
}
