//! WebTransport, by a client made by hand.

use quinn_proto::ConnectionError;
use web_transport_proto::{Capsule, ConnectResponse, Settings};

use super::*;

/// A request for `path`, as the bytes of its HEADERS frame: literal field lines only.
fn request_for(path: &str, method: &str) -> Vec<u8> {
    let mut fields = vec![(":method", method), (":scheme", "https"), (":authority", "edge"), (":path", path)];
    if method == "CONNECT" {
        fields.push((":protocol", "webtransport"));
    }
    let mut section = vec![0, 0];
    for (name, value) in fields {
        match name.len().checked_sub(7) {
            Some(over) => section.extend_from_slice(&[0x27, u8::try_from(over).unwrap()]),
            None => section.push(0x20 | u8::try_from(name.len()).unwrap()),
        }
        section.extend_from_slice(name.as_bytes());
        section.push(u8::try_from(value.len()).unwrap());
        section.extend_from_slice(value.as_bytes());
    }
    [&[1, 0x40, u8::try_from(section.len()).unwrap()][..], &section].concat()
}

impl World {
    /// A client that has shaken hands for `h3` and said its settings.
    fn web(&mut self, port: u16) {
        let mut tls = self.client_tls.clone();
        tls.alpn_protocols = vec![b"h3".to_vec()];
        let config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
        self.connect_quic(port, config);
        self.peers.get_mut(&port).unwrap().web = true;
        let control = self.open_uni(port);
        let mut settings = Settings::default();
        settings.enable_webtransport(1);
        let mut bytes = Vec::new();
        settings.encode(&mut bytes);
        self.send_on(port, control, &bytes);
    }

    fn open_uni(&mut self, port: u16) -> StreamId {
        self.peers.get_mut(&port).unwrap().quic.streams().open(Dir::Uni).unwrap()
    }

    /// Opens a stream that is not of the session.
    fn open_raw(&mut self, port: u16) -> StreamId {
        let id = self.open_stream(port);
        self.peers.get_mut(&port).unwrap().raw.insert(id, Vec::new());
        id
    }

    /// The status that a request gets.
    fn ask(&mut self, port: u16, request: &[u8]) -> (StreamId, Option<u16>) {
        let id = self.open_raw(port);
        self.send_on(port, id, request);
        (id, self.status(port, id))
    }

    fn status(&self, port: u16, id: StreamId) -> Option<u16> {
        use web_transport_proto::ConnectError;
        match ConnectResponse::decode(&mut &self.peers[&port].raw[&id][..]) {
            Ok(response) => Some(response.status.as_u16()),
            Err(ConnectError::WrongStatus(status)) => status.map(|status| status.as_u16()),
            Err(_) => None,
        }
    }

    /// A stream of the session whose CONNECT is stream 0.
    fn open_web_stream(&mut self, port: u16, bytes: &[u8]) -> StreamId {
        let id = self.open_stream(port);
        self.send_on(port, id, &[&[0x40, 0x41, 0][..], bytes].concat());
        id
    }

    /// A live session; its CONNECT stream.
    pub(super) fn login_web(&mut self, port: u16) -> StreamId {
        self.web(port);
        let (connect, status) = self.ask(port, &request_for("/np", "CONNECT"));
        assert_eq!(status, Some(200));
        let main = self.open_web_stream(port, &hello());
        self.peers.get_mut(&port).unwrap().stream = Some(main);
        assert_eq!(self.take(port), [Kind::WELCOME]);
        connect
    }

    /// The code of QUIC's close.
    fn quic_code(&self, port: u16) -> Option<u64> {
        match self.peers[&port].lost.as_ref()? {
            ConnectionError::ApplicationClosed(close) => Some(close.error_code.into_inner()),
            other => panic!("{other}"),
        }
    }
}

fn hello() -> Bytes {
    Frame::new(Lane::Control, Kind::HELLO, 0, Bytes::new()).encode()
}

#[test]
fn a_session_lives_on_webtransport_with_its_lanes_and_datagrams() {
    let mut world = World::new(ServerLimits::default());
    let connect = world.login_web(1);
    let raw = &world.peers[&1].raw;
    let settings = raw.iter().find(|(id, _)| **id != connect).map(|(_, bytes)| bytes.clone()).unwrap();
    assert_eq!(Settings::decode(&mut &settings[..]).unwrap().supports_webtransport(), 1);

    assert_eq!(world.shard.stats().connections_webtransport, 1);
    world.send(1, request(5));
    let session = world.script.sessions()[0];
    let bulk = world.open_web_stream(1, &Frame::new(Lane::Bulk, Kind::SYNC, 6, Bytes::new()).encode());
    for (lane, id) in [(Lane::Chat, 5), (Lane::Bulk, 6)] {
        let reply = Down::Reply { session, lane, kind: Kind::REPLY, id, body: Bytes::new() };
        world.script.state().downs.push(reply);
    }
    world.script.state().downs.extend([publish(7, None), publish(0, None)]);
    world.run();
    let mut kinds = world.take(1);
    kinds.sort_by_key(|kind| kind.0);
    assert_eq!(kinds, [Kind::REPLY, Kind::REPLY, Kind::PUSH]);
    assert!(world.peers[&1].decoders.contains_key(&bulk), "the bulk lane's answer came on its stream");
    assert_eq!(world.peers[&1].datagrams.len(), 1);
    let ping = Frame::new(Lane::Control, Kind::PING, 1, Bytes::new()).encode();
    for session in [0u8, 9] {
        let datagram = [&[session][..], &ping].concat();
        world.peers.get_mut(&1).unwrap().quic.datagrams().send(datagram.into(), false).unwrap();
        world.run();
    }
    assert_eq!(world.take(1), [Kind::PONG], "and none for a session that is not here");

    // The client closes: a capsule in a DATA frame.
    let mut capsule = Vec::new();
    Capsule::CloseWebTransportSession { code: 0, reason: "done".into() }.encode(&mut capsule);
    let data = [&[0, u8::try_from(capsule.len()).unwrap()][..], &capsule].concat();
    world.send_on(1, connect, &data);
    assert_eq!(world.script.closed(), [session]);
    assert_eq!(world.quic_code(1), Some(0x100));
    world.pass(Duration::from_secs(1));
    assert_eq!(world.shard.stats().connections_webtransport, 0);
}

#[test]
fn streams_that_overtake_their_connect_wait_for_it_and_the_first_is_the_main_stream() {
    let mut world = World::new(ServerLimits::default());
    world.web(1);
    let connect = world.open_raw(1);
    let main = world.open_stream(1);
    // The second stream's bytes come first, then those of the first, then the CONNECT, byte by byte.
    let side = world.open_web_stream(1, &Frame::new(Lane::Bulk, Kind::PING, 1, Bytes::new()).encode());
    world.send_on(1, main, &[&[0x40, 0x41, 0][..], &hello()].concat());
    assert_eq!(world.script.sessions(), []);
    for byte in request_for("/np", "CONNECT") {
        world.send_on(1, connect, &[byte]);
    }
    assert_eq!(world.status(1, connect), Some(200));
    let kinds = world.take(1);
    assert!(kinds.contains(&Kind::WELCOME) && kinds.contains(&Kind::PONG), "{kinds:?}");
    let decoders: Vec<_> = world.peers[&1].decoders.keys().copied().collect();
    assert_eq!(decoders, [main, side]);

    // The session is there, and its second stream overtakes its first.
    let mut world = World::new(ServerLimits::default());
    world.web(1);
    assert_eq!(world.ask(1, &request_for("/np", "CONNECT")).1, Some(200));
    let main = world.open_stream(1);
    let side = world.open_web_stream(1, &Frame::new(Lane::Bulk, Kind::PING, 1, Bytes::new()).encode());
    world.send_on(1, main, &[&[0x40, 0x41, 0][..], &hello()].concat());
    let decoders: Vec<_> = world.peers[&1].decoders.keys().copied().collect();
    assert_eq!(decoders, [main, side]);

    // The same when the CONNECT is a later stream than those of its session.
    let mut world = World::new(ServerLimits::default());
    world.web(1);
    let (main, side, connect) = (world.open_stream(1), world.open_stream(1), world.open_raw(1));
    assert_eq!(u64::from(connect), 8);
    let ping = Frame::new(Lane::Live, Kind::PING, 1, Bytes::new()).encode();
    world.send_on(1, side, &[&[0x40, 0x41, 8][..], &ping].concat());
    world.send_on(1, main, &[&[0x40, 0x41, 8][..], &hello()].concat());
    world.send_on(1, connect, &request_for("/np", "CONNECT"));
    let decoders: Vec<_> = world.peers[&1].decoders.keys().copied().collect();
    assert_eq!(decoders, [main, side]);
}

#[test]
fn the_server_says_why_it_closes_and_leaves_the_rest_to_the_client() {
    let kick = |world: &World| {
        let session = *world.script.sessions().last().unwrap();
        let kick = Down::Kick { session, code: CloseCode::KICKED, reason: "elsewhere".into() };
        world.script.state().downs.push(kick);
    };
    let mut world = World::new(ServerLimits::default());
    let connect = world.login_web(1);
    kick(&world);
    world.run();
    assert_eq!(world.take(1), [Kind::CLOSE]);
    let said = &world.peers[&1].raw[&connect];
    assert!(said.windows(9).any(|window| window == b"elsewhere"));
    world.peers.get_mut(&1).unwrap().quic.send_stream(connect).finish().unwrap();
    world.pass(Duration::from_secs(2));
    assert_eq!(world.quic_code(1), None, "it is for the client to close now");
    world.pass(Duration::from_secs(2));
    assert_eq!(world.quic_code(1), Some(0x100), "H3_NO_ERROR");
}

#[test]
fn requests_that_are_none_of_ours_are_answered_and_the_connection_stays() {
    let mut world = World::new(ServerLimits::default());
    world.web(1);
    for (request, status) in
        [(request_for("/", "GET"), 404), (request_for("/other", "CONNECT"), 404), (vec![1, 2, 0, 0], 400)]
    {
        for _ in 0..10 {
            assert_eq!(world.ask(1, &request).1, Some(status));
            world.pass(Duration::from_millis(50)); // acknowledgements, which give streams back
        }
    }
    // So do streams with types that nobody knows.
    for _ in 0..10 {
        let grease = world.open_uni(1);
        world.send_on(1, grease, &[0x21, 7, 7]);
        assert_eq!(world.peers.get_mut(&1).unwrap().stopped.pop(), Some(grease));
    }
    let (connect, status) = world.ask(1, &request_for("/np", "CONNECT"));
    assert_eq!(status, Some(200));
    let (_, second) = world.ask(1, &request_for("/np", "CONNECT"));
    assert_eq!(second, None, "one session in a connection");
    assert_eq!(world.quic_code(1), None);
    world.peers.get_mut(&1).unwrap().quic.send_stream(connect).finish().unwrap();
    world.run();
    assert_eq!(world.quic_code(1), Some(0x100), "the end of its CONNECT is the end of the session");
}

#[test]
fn what_breaks_http_ends_the_connection_with_its_code() {
    type Break = fn(&mut World, StreamId);
    let cases: [(&str, Break, u64); 6] = [
        ("DATA in front of headers", |world, _| _ = world.ask(1, &[0, 1, 1]), 0x105),
        ("headers that cannot be read", |world, _| _ = world.ask(1, &[1, 3, 0, 0, 0x80]), 0x200),
        (
            "a stream of another session",
            |world, _| {
                let id = world.open_stream(1);
                world.send_on(1, id, &[0x40, 0x41, 8]);
            },
            0x108,
        ),
        (
            "a second control stream without settings",
            |world, _| {
                let id = world.open_uni(1);
                world.send_on(1, id, &[0, 7, 0]);
            },
            0x10a,
        ),
        (
            "the end of a QPACK stream",
            |world, _| {
                let id = world.open_uni(1);
                world.send_on(1, id, &[2]);
                world.peers.get_mut(&1).unwrap().quic.send_stream(id).finish().unwrap();
                world.run();
            },
            0x104,
        ),
        (
            "a datagram without a session",
            |world, _| {
                let datagram = Bytes::from_static(&[0xc0]);
                world.peers.get_mut(&1).unwrap().quic.datagrams().send(datagram, false).unwrap();
                world.run();
            },
            0x33,
        ),
    ];
    for (name, breaks, code) in cases {
        let mut world = World::new(ServerLimits::default());
        let connect = world.login_web(1);
        breaks(&mut world, connect);
        // As short as an acknowledgement, some of these wait until that comes.
        world.pass(Duration::from_millis(60));
        assert_eq!(world.quic_code(1), Some(code), "{name}");
        assert_eq!(world.script.closed().len(), 1, "{name}");
    }
    // What breaks our own rules only ends the session, with our code.
    let mut world = World::new(ServerLimits::default());
    let connect = world.login_web(1);
    let uni = world.open_uni(1);
    world.send_on(1, uni, &[0x40, 0x54, 0]);
    world.pass(Duration::from_secs(4));
    assert_eq!(world.quic_code(1), Some(0x100));
    let code = CloseCode::BAD_STREAM.0.to_be_bytes();
    assert!(world.peers[&1].raw[&connect].windows(4).any(|window| window == code));
}

#[test]
fn a_connection_without_a_session_ends_in_time() {
    let mut world = World::new(ServerLimits::default());
    world.web(1);
    world.web(2);
    let (_, status) = world.ask(2, &request_for("/np", "CONNECT"));
    assert_eq!(status, Some(200));
    world.pass(Duration::from_secs(9));
    assert_eq!((world.quic_code(1), world.quic_code(2)), (None, None));
    world.pass(Duration::from_secs(5)); // three of them for the client to close
    assert_eq!((world.quic_code(1), world.quic_code(2)), (Some(0x100), Some(0x100)));
}

#[test]
fn a_panic_in_a_webtransport_session_costs_that_connection_only() {
    let mut world = World::new(ServerLimits::default());
    world.login_web(1);
    world.login_web(2);
    world.login(3);
    let sessions = world.script.sessions();
    let (index, _) = world.shard.find(sessions[0]).unwrap();
    world.shard.conns.get_mut(index).unwrap().panic_in_read = true;
    world.send(1, request(1));
    world.script.state().downs.push(publish(1, None));
    world.run();
    assert_eq!((world.take(1), world.take(2), world.take(3)), (vec![], vec![Kind::PUSH], vec![Kind::PUSH]));
    assert_eq!(world.script.closed(), [sessions[0]]);
    let stats = world.shard.stats();
    assert_eq!((stats.panics, stats.sessions, stats.connections), (1, 2, 2));
    assert_eq!(stats.connections_webtransport, 1);
    // As of any connection of ours that is gone: its next packet draws a reset.
    world.peers.get_mut(&1).unwrap().quic.ping();
    world.run();
    assert!(matches!(world.peers[&1].lost, Some(ConnectionError::Reset)));
}
