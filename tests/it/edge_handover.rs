//! Two edges on the same sockets: the first hands over to the second, as two processes do.

use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use bytes::Bytes;
use nearport_edge::shard::Departure;
use nearport_edge::{Attachment, forwarding_pair};
use nearport_session::ServerLimits;
use nearport_trunk::Backend;
use nearport_trunk::echo::Echo;
use nearport_trunk::remote::{RemoteLink, Served, serve};
use nearport_wire::close::CloseCode;
use nearport_wire::{Frame, Kind, Lane};

use crate::node::STUCK;
use crate::raw::{Raw, Server};
use crate::raw_stream::CARRIERS;

/// Sessions of `from` go on with `backend`, their packets come over `to`.
fn attach(from: &Server, generation: u32, to: &Server, backend: &dyn Backend) -> Vec<Served> {
    let (mut served, mut attachments, mut ways) = (Vec::new(), Vec::new(), Vec::new());
    for shard in 0..from.edge.shards() {
        let (edge, core) = UnixStream::pair().unwrap();
        let (near, far) = forwarding_pair().unwrap();
        served.push(serve(core, "core", backend).unwrap());
        let link = RemoteLink::start(edge, "link", from.edge.waker(shard)).unwrap();
        attachments.push(Attachment { link: Box::new(link), inlet: Some(far) });
        ways.push(near);
    }
    to.edge.forward(generation, ways);
    from.edge.attach(attachments, Instant::now() + STUCK).unwrap();
    served
}

/// The next frame that is not a BEHIND.
async fn next(client: &mut Raw) -> Frame {
    loop {
        match client.next().await.unwrap() {
            behind if behind.kind == Kind::BEHIND => {}
            frame => return frame,
        }
    }
}

async fn echo(client: &mut Raw, id: u64) {
    let body = Bytes::from(format!("echo {id}"));
    client.send(Frame::new(Lane::Chat, Kind::ECHO, id, body.clone())).await;
    assert_eq!(next(client).await, Frame::new(Lane::Chat, Kind::REPLY, id, body));
}

async fn logins(server: &Server, endpoint: &quinn::Endpoint, count: usize) -> Vec<Raw> {
    let mut clients = Vec::new();
    for n in 0..count {
        clients.push(server.login(endpoint, &format!("user{n}")).await);
    }
    clients
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_go_on_while_another_process_reads_the_sockets() {
    for steering in [true, false] {
        let old = Server::start_with(2, ServerLimits::default(), &Echo::default(), steering);
        let endpoint = old.client();
        let mut clients = logins(&old, &endpoint, 16).await;
        let mut streams = Vec::new();
        for carrier in CARRIERS {
            streams.push(old.door().login(carrier, "by tcp").await);
        }
        old.edge.freeze(Instant::now() + STUCK).unwrap();
        // In the gap: it waits in the kernel.
        let body = Bytes::from_static(b"in the gap");
        for client in &mut clients {
            client.send(Frame::new(Lane::Chat, Kind::ECHO, 1, body.clone())).await;
        }
        let backend = Echo::default();
        let new = old.successor(&backend);
        let served = attach(&old, 1, &new, &backend);
        new.edge.read(true);
        for client in &mut clients {
            assert_eq!(next(client).await, Frame::new(Lane::Chat, Kind::REPLY, 1, body.clone()));
        }
        // Byte streams stay where they are, the next ones come to the new process.
        old.edge.close_listeners();
        for (carrier, stream) in CARRIERS.into_iter().zip(&mut streams) {
            stream.send(Frame::new(Lane::Chat, Kind::ECHO, 1, body.clone())).await;
            while stream.next().await.unwrap() != Frame::new(Lane::Chat, Kind::REPLY, 1, body.clone()) {}
            new.door().login(carrier, "by tcp, late").await.echo(1).await;
        }
        // New ones get to the new process and hear what the others say.
        let mut late = new.login(&endpoint, "late").await;
        late.send(Frame::new(Lane::Chat, Kind::BROADCAST, 2, body.clone())).await;
        for client in &mut clients {
            assert_eq!(next(client).await, Frame::new(Lane::Chat, Kind::PUSH, 0, body.clone()));
        }
        // Every client moves to another address in the middle of it.
        endpoint.rebind(std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
        for client in &mut clients {
            echo(client, 3).await;
        }
        let foreign: u64 = old.edge.stats().iter().map(|shard| shard.foreign).sum();
        old.edge.leave(&Departure { within: Duration::ZERO, accept: true, ..Departure::default() });
        drop(streams);
        for client in &mut clients {
            assert_eq!(next(client).await.kind, Kind::GO_AWAY);
            client.send(Frame::new(Lane::Control, Kind::CLOSE, 0, Bytes::new())).await;
            assert_eq!(client.close_code().await, CloseCode::BYE);
        }
        assert_eq!(old.edge.wait_for_empty(Instant::now() + STUCK), 0);
        let old = old.edge.stop();
        assert!(foreign > 0 || old.iter().any(|shard| shard.foreign > 0), "{old:?}");
        drop(served);
        echo(&mut next_broadcast(late).await, 4).await;
        let new = new.edge.stop();
        assert_eq!(new.iter().map(|shard| shard.accepted).sum::<u64>(), 1, "{new:?}");
        assert_eq!(new.iter().map(|shard| shard.streams_accepted).sum::<u64>(), 2, "{new:?}");
        assert!(new.iter().any(|shard| shard.forwarded > 0), "{new:?}");
        assert!(new.iter().all(|shard| shard.forward_dropped == 0), "{new:?}");
    }
}

/// Takes what the client of a broadcast gets itself.
async fn next_broadcast(mut client: Raw) -> Raw {
    let mut kinds = [client.next().await.unwrap().kind, client.next().await.unwrap().kind];
    kinds.sort_by_key(|kind| kind.0);
    assert_eq!(kinds, [Kind::REPLY, Kind::PUSH]);
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn a_third_process_takes_over_while_the_first_still_has_clients() {
    let first = Server::start(2, ServerLimits::default(), &Echo::default());
    let endpoint = first.client();
    let mut of_first = logins(&first, &endpoint, 6).await;

    let backend = Echo::default();
    first.edge.freeze(Instant::now() + STUCK).unwrap();
    let second = first.successor(&backend);
    let served = attach(&first, 1, &second, &backend);
    second.edge.read(true);
    let mut of_second = logins(&second, &endpoint, 6).await;
    echo(&mut of_first[0], 1).await;

    second.edge.freeze(Instant::now() + STUCK).unwrap();
    first.edge.park(Instant::now() + STUCK).unwrap();
    for served in served {
        assert!(served.wait_for_finish(Instant::now() + STUCK));
        served.finish();
    }
    let backend = Echo::default();
    let third = second.successor(&backend);
    let _served = [attach(&first, 1, &third, &backend), attach(&second, 2, &third, &backend)];
    third.edge.read(true);
    let mut of_third = logins(&third, &endpoint, 6).await;
    for client in of_first.iter_mut().chain(&mut of_second).chain(&mut of_third) {
        echo(client, 2).await;
    }
    let accepted = |server: Server| server.edge.stop().iter().map(|shard| shard.accepted).sum::<u64>();
    assert_eq!([accepted(third), accepted(second), accepted(first)], [6, 6, 6]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_finds_no_successor_goes_on_himself() {
    let server = Server::start(2, ServerLimits::default(), &Echo::default());
    let endpoint = server.client();
    let mut clients = logins(&server, &endpoint, 4).await;
    for round in 0..3 {
        server.edge.freeze(Instant::now() + STUCK).unwrap();
        for client in &mut clients {
            client.send(Frame::new(Lane::Chat, Kind::ECHO, round, Bytes::new())).await;
        }
        let backend = Echo::default();
        let attachments =
            (0..2).map(|shard| Attachment { link: backend.link(server.edge.waker(shard)), inlet: None });
        server.edge.attach(attachments.collect(), Instant::now() + STUCK).unwrap();
        server.edge.read(true);
        for client in &mut clients {
            assert_eq!(next(client).await, Frame::new(Lane::Chat, Kind::REPLY, round, Bytes::new()));
        }
    }
    server.login(&endpoint, "late").await.echo(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_packets_are_neither_forwarded_nor_answered() {
    let old = Server::start(1, ServerLimits::default(), &Echo::default());
    let endpoint = old.client();
    let mut client = logins(&old, &endpoint, 1).await.remove(0);
    old.edge.freeze(Instant::now() + STUCK).unwrap();
    let backend = Echo::default();
    let new = old.successor(&backend);
    let _served = attach(&old, 1, &new, &backend);
    new.edge.read(true);
    echo(&mut client, 1).await;

    // Whoever sends packets with ids that are not ours, of whatever length, reaches nobody and gets nothing back.
    let stranger = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let before = old.edge.stats()[0].foreign;
    for round in 0..200u8 {
        let mut short = vec![round.wrapping_mul(37); 60];
        short[0] = 0x40;
        let mut long = vec![round.wrapping_mul(91); 1200];
        long[..6].copy_from_slice(&[0xc0, 0, 0, 0, 1, 17]);
        // Handshake packets and such: no Initials, which may be answered.
        long[0] = 0xe0;
        stranger.send_to(&short, new.edge.local_addr()).unwrap();
        stranger.send_to(&long, new.edge.local_addr()).unwrap();
    }
    for id in 2..20 {
        echo(&mut client, id).await;
    }
    stranger.set_nonblocking(true).unwrap();
    let mut buffer = [0; 2048];
    assert!(stranger.recv(&mut buffer).is_err(), "a forged packet was answered");
    let after = old.edge.stats()[0].foreign;
    assert!(after - before < 200, "forged packets were forwarded: {before} {after}");
}
