//! Byte streams in memory: the shard on one side, rustls' client on the other, and a socket that takes as much as a test
//! says.

use std::io::{Read as _, Write as _};

use proptest::prelude::*;
use rustls::ClientConnection;

use super::*;
/// A client with its end of a socket.
struct Client {
    index: u32,
    tls: ClientConnection,
    /// Speaks WebSocket, whose frames it reads by `web`.
    web: Option<Vec<u8>>,
    decoder: Decoder,
    frames: Vec<Frame>,
    /// Bytes that the socket takes; it is full after them.
    room: usize,
    /// What the shard wants done with the socket.
    fate: SocketFate,
}

const UPGRADE: &[u8] = b"GET /np HTTP/1.1\r\nHost: edge\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: np.1\r\n\r\n";

impl World {
    fn open(&mut self, web: bool) -> Option<Client> {
        let peer = SocketAddr::from(([192, 0, 2, 1], 1));
        let index = self.shard.open_stream(self.now, peer, false)?;
        let mut config = self.client_tls.clone();
        config.alpn_protocols = vec![if web { b"http/1.1".to_vec() } else { b"np/1".to_vec() }];
        let mut tls = ClientConnection::new(Arc::new(config), "edge".try_into().unwrap()).unwrap();
        tls.set_buffer_limit(None);
        Some(Client {
            index,
            tls,
            web: web.then(Vec::new),
            decoder: Decoder::new(Limits::client()),
            frames: Vec::new(),
            room: usize::MAX,
            fate: SocketFate::Keep,
        })
    }

    /// A byte stream that has said hello and is live.
    fn login_stream(&mut self, web: bool) -> Client {
        let mut client = self.open(web).unwrap();
        self.exchange(&mut client);
        if web {
            client.tls.writer().write_all(UPGRADE).unwrap();
            self.exchange(&mut client);
        }
        client.send(&Frame::new(Lane::Control, Kind::HELLO, 0, Bytes::new()));
        self.exchange(&mut client);
        assert_eq!(client.take(), [Kind::WELCOME]);
        client
    }

    /// Runs turns and serves the sockets of `client`, whose ciphertext goes to the shard in one piece, until nothing moves.
    fn exchange(&mut self, client: &mut Client) {
        self.exchange_in(client, usize::MAX);
    }

    fn exchange_in(&mut self, client: &mut Client, cut: usize) {
        loop {
            let mut bytes = Vec::new();
            while client.tls.wants_write() {
                client.tls.write_tls(&mut bytes).unwrap();
            }
            for piece in bytes.chunks_mut(cut) {
                self.shard.read_stream(self.now, client.index, piece);
            }
            self.run();
            let moved = self.serve(client);
            if bytes.is_empty() && !moved {
                return;
            }
        }
    }

    /// Serves all sockets as a driver does. Returns whether a byte moved.
    fn serve(&mut self, client: &mut Client) -> bool {
        let mut moved = false;
        while let Some(index) = self.shard.poll_stream() {
            assert_eq!(index, client.index, "one client is served at a time");
            let (room, mut came) = (&mut client.room, Vec::new());
            let fate = self.shard.write_stream(self.now, index, |bytes| {
                let taken = bytes.len().min(*room);
                *room -= if *room == usize::MAX { 0 } else { taken };
                came.extend_from_slice(&bytes[..taken]);
                Some(taken)
            });
            moved |= !came.is_empty();
            // The client's buffers are bounded too.
            let mut rest = &came[..];
            while !rest.is_empty() {
                client.tls.read_tls(&mut rest).unwrap();
                client.tls.process_new_packets().unwrap();
                client.read();
            }
            if fate != SocketFate::Keep {
                client.fate = fate;
            }
            if fate == SocketFate::Drop {
                self.shard.drop_stream(index);
            }
        }
        moved
    }

    /// The socket takes so many bytes more.
    fn make_room(&mut self, client: &mut Client, room: usize) {
        client.room = room;
        self.shard.unblock_stream(client.index);
        self.exchange(client);
    }

    /// Lets time pass for byte streams, at most `at_most`.
    fn pass_streams(&mut self, client: &mut Client, at_most: Duration) {
        let end = self.now + at_most;
        while self.now < end {
            let soon = self.now + Duration::from_millis(1);
            self.now = self.shard.poll_timeout().map_or(end, |at| at.clamp(soon, end));
            self.run();
            self.serve(client);
        }
    }
}

impl Client {
    fn send(&mut self, frame: &Frame) {
        let bytes = frame.encode();
        if self.web.is_none() {
            return self.tls.writer().write_all(&bytes).unwrap();
        }
        let mut header = vec![0x82];
        match u16::try_from(bytes.len()).unwrap() {
            short @ ..126 => header.push(0x80 | u8::try_from(short).unwrap()),
            long => {
                header.push(0x80 | 126);
                header.extend(long.to_be_bytes());
            }
        }
        header.extend([0; 4]);
        self.tls.writer().write_all(&[&header[..], &bytes].concat()).unwrap();
    }

    fn read(&mut self) {
        let mut plain = Vec::new();
        // WouldBlock, or an end without close_notify: what came is in `plain`.
        let _ = self.tls.reader().read_to_end(&mut plain);
        let stream = match &mut self.web {
            None => plain,
            Some(held) => {
                held.extend(plain);
                unwrap(held)
            }
        };
        self.decoder.feed(stream.into());
        while let Some(frame) = self.decoder.next_frame().unwrap() {
            self.frames.push(frame);
        }
    }

    fn take(&mut self) -> Vec<Kind> {
        self.frames.drain(..).map(|frame| frame.kind).collect()
    }
}

/// The payloads of whole binary messages of a server; the answer to the upgrade and control frames are skipped.
fn unwrap(held: &mut Vec<u8>) -> Vec<u8> {
    let mut stream = Vec::new();
    if held.starts_with(b"HTTP/1.1 4") {
        held.clear();
    }
    if held.starts_with(b"HTTP/1.1 101 ") {
        let end = held.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        held.drain(..end + 4);
    }
    loop {
        let (header, length) = match held.get(1) {
            Some(126) if held.len() >= 4 => (4, usize::from(u16::from_be_bytes([held[2], held[3]]))),
            Some(length @ ..126) => (2, usize::from(*length)),
            _ => return stream,
        };
        if held.len() < header + length {
            return stream;
        }
        let is_data = held[0] == 0x82;
        let frame = held.drain(..header + length);
        stream.extend(frame.skip(header).filter(|_| is_data));
    }
}

#[test]
fn a_byte_stream_is_a_session_like_any_other() {
    for web in [false, true] {
        let mut world = World::new(ServerLimits::default());
        world.login(1);
        let mut client = world.login_stream(web);
        client.send(&request(5));
        world.exchange(&mut client);
        let session = world.script.sessions()[1];
        let up = world.script.state().ups.pop();
        assert!(matches!(up, Some(Up::Frame { session: s, id: 5, .. }) if s == session));
        let reply = Down::Reply { session, lane: Lane::Chat, kind: Kind::REPLY, id: 5, body: Bytes::new() };
        world.script.state().downs.extend([reply, publish(3, None)]);
        world.exchange(&mut client);
        assert_eq!((client.take(), world.take(1)), (vec![Kind::REPLY, Kind::PUSH], vec![Kind::PUSH]));
        let stats = world.shard.stats();
        assert_eq!((stats.sessions, stats.connections, stats.handshakes), (2, 2, 0));
        assert_eq!((stats.connections_tls, stats.connections_websocket), (u64::from(!web), u64::from(web)));
    }
}

#[test]
fn the_end_of_a_socket_is_a_good_bye_and_silence_is_none() {
    let ends = |world: &World| {
        let state = world.script.state();
        let end = |up: &Up| if let Up::Close { lost_ms, .. } = up { Some(*lost_ms) } else { None };
        state.ups.iter().filter_map(end).collect::<Vec<_>>()
    };
    for (web, silence_s) in [(false, 75), (true, 60)] {
        let mut world = World::new(ServerLimits::default());
        let client = world.login_stream(web);
        world.shard.end_stream(client.index);
        world.run();
        assert_eq!(ends(&world), [None], "FIN");

        let mut world = World::new(ServerLimits::default());
        let client = world.login_stream(web);
        world.shard.drop_stream(client.index);
        world.run();
        assert_eq!(ends(&world), [None], "RST");

        let mut world = World::new(ServerLimits::default());
        let mut client = world.login_stream(web);
        client.send(&Frame::new(Lane::Control, Kind::PING, 1, Bytes::new()));
        world.exchange(&mut client);
        world.pass_streams(&mut client, Duration::from_secs(silence_s - 1));
        assert_eq!(ends(&world), []);
        world.pass_streams(&mut client, Duration::from_secs(2));
        assert_eq!(ends(&world), [Some(u32::try_from(silence_s * 1000).unwrap())]);
    }
}

#[test]
fn a_good_bye_is_written_the_socket_shut_and_dropped() {
    for (web, polite) in [(false, true), (false, false), (true, true)] {
        let mut world = World::new(ServerLimits::default());
        let mut client = world.login_stream(web);
        client.send(&Frame::new(Lane::Control, Kind::CLOSE, 0, Bytes::new()));
        world.exchange(&mut client);
        assert_eq!((client.take(), client.fate), (vec![Kind::CLOSE], SocketFate::ShutDown));
        assert!(client.tls.process_new_packets().unwrap().peer_has_closed(), "close_notify");
        assert_eq!(world.script.closed().len(), 1);
        assert_eq!(world.shard.stats().connections, 1, "it lingers");
        if polite {
            world.shard.end_stream(client.index);
            world.exchange(&mut client);
        } else {
            // What it still sends is nobody's.
            world.shard.read_stream(world.now, client.index, &mut [9; 100]);
            world.pass_streams(&mut client, Duration::from_secs(2));
        }
        assert_eq!((client.fate, world.shard.stats().connections), (SocketFate::Drop, 0));
        assert_eq!(world.shard.stats().connections_tls + world.shard.stats().connections_websocket, 0);
    }
}

#[test]
fn pushes_for_a_full_socket_are_dropped_at_the_bound_and_it_is_told() {
    for web in [false, true] {
        let mut world = World::new(ServerLimits::default());
        let mut client = world.login_stream(web);
        client.room = 0;
        for id in 1..=2_000 {
            world.script.state().downs.push(publish(id, None));
            world.exchange(&mut client);
        }
        let stats = world.shard.stats();
        assert!(stats.pushes_dropped > 1_000 && stats.pushes > 500, "{stats:?}");
        world.make_room(&mut client, usize::MAX);
        let kinds = client.take();
        assert_eq!(kinds.len() as u64, stats.pushes + 1);
        assert_eq!(kinds.last(), Some(&Kind::BEHIND));
        // From here on pushes come again.
        world.script.state().downs.push(publish(1, None));
        world.exchange(&mut client);
        assert_eq!(client.take(), [Kind::PUSH]);
    }
}

#[test]
fn who_does_not_read_answers_is_not_read() {
    let mut world = World::new(ServerLimits::default());
    let mut client = world.login_stream(false);
    let session = world.script.sessions()[0];
    client.room = 0;
    for id in 1..=8 {
        assert!(world.shard.reads_stream(client.index), "before answer {id}");
        let body = vec![7; 16 * 1024].into();
        let reply = Down::Reply { session, lane: Lane::Chat, kind: Kind::REPLY, id, body };
        world.script.state().downs.push(reply);
        world.exchange(&mut client);
    }
    assert!(!world.shard.reads_stream(client.index));
    world.make_room(&mut client, usize::MAX);
    assert!(world.shard.reads_stream(client.index));
    assert_eq!(client.take().len(), 8);
}

#[test]
fn a_socket_that_takes_nothing_for_long_is_dropped_one_that_takes_a_little_is_not() {
    let mut world = World::new(ServerLimits::default());
    let mut client = world.login_stream(false);
    client.room = 10;
    world.script.state().downs.push(publish(1, None));
    world.exchange(&mut client);
    world.pass_streams(&mut client, Duration::from_secs(25));
    world.make_room(&mut client, 10);
    world.pass_streams(&mut client, Duration::from_secs(25));
    assert_eq!(client.fate, SocketFate::Keep);
    world.pass_streams(&mut client, Duration::from_secs(6));
    assert_eq!((client.fate, world.script.closed().len()), (SocketFate::Drop, 1));
    let stats = world.shard.stats();
    assert_eq!((stats.slow_closes, stats.output_bytes, stats.sessions), (1, 0, 0), "slow, as one on QUIC is");
}

#[test]
fn a_good_bye_that_a_full_socket_does_not_take_is_given_up() {
    let mut world = World::new(ServerLimits::default());
    let mut client = world.login_stream(true);
    client.room = 0;
    world.script.state().downs.push(publish(1, None));
    world.exchange(&mut client);
    world.shard.close_all(&Closing::new(CloseCode::GOING_AWAY, "the server is going away"));
    world.exchange(&mut client);
    assert_eq!((client.fate, world.script.closed().len()), (SocketFate::Keep, 1));
    world.pass_streams(&mut client, Duration::from_secs(6));
    assert_eq!(client.fate, SocketFate::Drop);
    assert!(world.shard.is_empty());
}

#[test]
fn a_panic_in_a_byte_stream_costs_its_socket_only() {
    for web in [false, true] {
        let mut world = World::new(ServerLimits::default());
        world.login(1);
        world.login_web(2);
        let mut neighbour = world.login_stream(!web);
        let mut client = world.login_stream(web);
        let sessions = world.script.sessions();
        world.shard.conns.get_mut(client.index).unwrap().panic_in_read = true;
        client.send(&request(1));
        world.exchange(&mut client);
        assert_eq!((client.fate, world.shard.stats().panics), (SocketFate::Drop, 1));
        assert_eq!(world.script.closed(), sessions[3..]);
        world.script.state().downs.push(publish(1, None));
        world.exchange(&mut neighbour);
        assert_eq!((world.take(1), world.take(2), neighbour.take()), everybody(Kind::PUSH));
        let stats = world.shard.stats();
        assert_eq!((stats.connections, stats.sessions), (3, 3));
        assert_eq!(stats.connections_tls + stats.connections_websocket, 1);
        // Its number is free and good.
        assert_eq!(world.login_stream(web).index, client.index);
    }
}

fn everybody(kind: Kind) -> (Vec<Kind>, Vec<Kind>, Vec<Kind>) {
    (vec![kind], vec![kind], vec![kind])
}

#[test]
fn a_number_is_used_again_and_means_another_session() {
    let mut world = World::new(ServerLimits::default());
    let client = world.login_stream(false);
    let first = world.script.sessions()[0];
    // The socket broke.
    world.shard.drop_stream(client.index);
    world.run();
    assert_eq!(world.script.closed(), [first]);
    let mut next = world.login_stream(false);
    assert_eq!(next.index, client.index);
    let stale =
        Down::Reply { session: first, lane: Lane::Chat, kind: Kind::REPLY, id: 1, body: Bytes::new() };
    world.script.state().downs.push(stale);
    world.exchange(&mut next);
    assert_eq!(next.take(), []);
}

#[test]
fn no_hello_in_time_ends_every_step_before_it() {
    let limits = ServerLimits::default();
    // Nothing at all; half a handshake; a handshake; a half and a whole request.
    for step in 0..5 {
        let mut world = World::new(limits.clone());
        let mut client = world.open(step > 2).unwrap();
        match step {
            0 => {}
            1 => world.shard.read_stream(world.now, client.index, &mut [22, 3, 1, 1, 0, 1]),
            _ => world.exchange(&mut client),
        }
        if step > 2 {
            client.tls.writer().write_all(if step == 3 { &UPGRADE[..50] } else { UPGRADE }).unwrap();
            world.exchange(&mut client);
        }
        world.pass_streams(&mut client, limits.frame_timeout - Duration::from_millis(10));
        assert_eq!(client.fate, SocketFate::Keep, "step {step}");
        assert_eq!(world.shard.stats().handshakes, u64::from(step != 2 && step != 4), "step {step}");
        world.pass_streams(&mut client, Duration::from_secs(2));
        assert_eq!(client.fate, SocketFate::Drop, "step {step}");
        assert!(world.shard.is_empty());
        assert_eq!(world.script.closed(), [], "the backend never heard of it");
    }
}

#[test]
fn half_a_record_is_given_time_from_its_first_byte() {
    let mut world = World::new(ServerLimits::default());
    let mut client = world.login_stream(false);
    world.shard.read_stream(world.now, client.index, &mut [23, 3, 3, 1]);
    world.pass_streams(&mut client, Duration::from_secs(6));
    world.shard.read_stream(world.now, client.index, &mut [0; 9]);
    world.pass_streams(&mut client, Duration::from_secs(5));
    assert_eq!(client.take(), [Kind::CLOSE]);
}

#[test]
fn bounds_and_drain_refuse_at_the_door() {
    let admission = Admission { connections_max: 2, ..Admission::default() };
    let mut world = World::with(ServerLimits::default(), admission);
    let _two = [world.login_stream(false), world.login_stream(true)];
    assert!(world.open(false).is_none());
    assert_eq!(world.shard.stats().streams_refused, 1);
    let mut world = World::new(ServerLimits::default());
    let mut client = world.login_stream(false);
    let departure = Departure { within: Duration::from_secs(1), ..Departure::default() };
    world.shard.drain(&departure, world.now);
    assert!(world.open(false).is_none());
    world.exchange(&mut client);
    assert_eq!(client.take(), [Kind::GO_AWAY]);
}

#[test]
fn behind_a_proxy_the_clients_network_counts() {
    let admission = Admission { prefix_connections_max: 1, ..Admission::default() };
    let mut world = World::with(ServerLimits::default(), admission);
    let proxy = SocketAddr::from(([10, 0, 0, 1], 1));
    let open = |world: &mut World, last: u8| {
        let index = world.shard.open_stream(world.now, proxy, true).expect("a proxy is many clients");
        let mut header = *b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x07\x7f\0\0\x01\x12\x67\x01\xbb";
        header[18] = last;
        world.shard.read_stream(world.now, index, &mut header);
        world.run();
        let mut fate = SocketFate::Keep;
        while let Some(index) = world.shard.poll_stream() {
            fate = world.shard.write_stream(world.now, index, |bytes| Some(bytes.len()));
        }
        (index, fate)
    };
    let (first, fate) = open(&mut world, 1);
    assert_eq!(fate, SocketFate::Keep);
    assert_eq!(open(&mut world, 1).1, SocketFate::Drop, "a second one of the same network");
    assert_eq!(open(&mut world, 2).1, SocketFate::Keep, "another network");
    world.shard.drop_stream(first);
    assert_eq!(open(&mut world, 1).1, SocketFate::Keep);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// However the network cuts what the client sends and however little the socket takes at a time, requests and
    /// answers come whole and in order.
    #[test]
    fn any_cut_and_any_room_gives_the_same_frames(
        web in any::<bool>(),
        sizes in proptest::collection::vec(prop_oneof![0usize..200, 5_000usize..16_000], 1..8),
        cut in prop_oneof![1usize..60, 1_000usize..20_000],
        rooms in proptest::collection::vec(prop_oneof![0usize..40, 1_000usize..40_000], 1..8),
    ) {
        let mut world = World::new(ServerLimits::default());
        let mut client = world.login_stream(web);
        let session = world.script.sessions()[0];
        let body = |id: u64, size: usize| Bytes::from(vec![u8::try_from(id).unwrap(); size]);
        // A body that is not what it was counts as empty: its octets would fill pages.
        let short = |id: u64, came: Bytes| (id, if came == body(id, came.len()) { came.len() } else { 0 });
        let sent: Vec<(u64, usize)> = (1..).zip(sizes).collect();
        for (id, size) in &sent {
            client.send(&Frame::new(Lane::Chat, Kind::ECHO, *id, body(*id, *size)));
        }
        client.room = rooms[0];
        world.exchange_in(&mut client, cut);
        let came: Vec<(u64, usize)> = world.script.state().ups.drain(..).filter_map(|up| match up {
            Up::Frame { id, body, .. } => Some(short(id, body)),
            _ => None,
        }).collect();
        prop_assert_eq!(&came, &sent);
        for (id, size) in came {
            let body = body(id, size);
            let reply = Down::Reply { session, lane: Lane::Chat, kind: Kind::REPLY, id, body };
            world.script.state().downs.push(reply);
            world.exchange(&mut client);
        }
        // A socket that never takes anything would be dropped.
        let rooms = rooms.iter().map(|room| room + 1);
        for room in rooms.cycle().take(200_000) {
            if client.frames.len() == sent.len() { break; }
            world.make_room(&mut client, room);
        }
        let got: Vec<_> = client.frames.drain(..).map(|frame| short(frame.id, frame.body)).collect();
        prop_assert_eq!(got, sent);
    }
}
