//! A shard, clients and a clock, without a socket.

use std::collections::BTreeMap;
use std::sync::Mutex;

use bytes::Bytes;
use nearport_session::Closing;
use nearport_trunk::{Down, Identity, Received, Topic};
use nearport_wire::close::CloseCode;
use nearport_wire::{Decoder, Frame, Kind, Lane, Limits, body, code};
use prost::Message as _;
use quinn_proto::crypto::rustls::QuicClientConfig;
use quinn_proto::{ClientConfig, Connection, DatagramEvent, Dir, Event, StreamEvent, StreamId, VarInt};
use rustls_pki_types::PrivateKeyDer;

use super::*;

use crate::cid::Owner;
use crate::keys::{KeyRing, Keys, Secret};
use crate::quic;

/// A backend that accepts everybody and remembers what came up; a test plays its part.
#[derive(Debug, Clone, Default)]
struct Script(Arc<Mutex<ScriptState>>);

#[derive(Debug, Default)]
struct ScriptState {
    ups: Vec<Up>,
    downs: Vec<Down>,
    full: bool,
    lost: bool,
    /// Whom the next accepted hello is from.
    identity: Option<Identity>,
    /// Told that nothing follows.
    finished: bool,
    ended: bool,
}

impl Script {
    fn state(&self) -> std::sync::MutexGuard<'_, ScriptState> {
        self.0.lock().unwrap()
    }

    fn sessions(&self) -> Vec<SessionId> {
        let state = self.state();
        state
            .ups
            .iter()
            .filter_map(|up| if let Up::Open { session, .. } = up { Some(*session) } else { None })
            .collect()
    }

    fn closed(&self) -> Vec<SessionId> {
        let state = self.state();
        state
            .ups
            .iter()
            .filter_map(|up| if let Up::Close { session } = up { Some(*session) } else { None })
            .collect()
    }
}

impl Link for Script {
    fn send(&mut self, ups: &mut Vec<Up>) {
        let mut state = self.state();
        if state.full {
            return;
        }
        for up in ups.drain(..) {
            if let Up::Open { session, .. } = up {
                let topics = vec![Topic::from(&b"all"[..])];
                let identity = state.identity.clone().map(Box::new);
                state.downs.push(Down::Accept { session, welcome: Bytes::new(), topics, identity });
            }
            state.ups.push(up);
        }
    }

    fn recv(&mut self, downs: &mut Vec<Down>, max: usize) -> Received {
        let mut state = self.state();
        let count = max.min(state.downs.len());
        downs.extend(state.downs.drain(..count));
        let more = !state.downs.is_empty();
        Received { more, lost: std::mem::take(&mut state.lost), ended: state.ended && !more }
    }

    fn finish(&mut self) {
        self.state().finished = true;
    }
}

struct Peer {
    endpoint: Endpoint,
    handle: ConnectionHandle,
    quic: Connection,
    stream: Option<StreamId>,
    decoders: BTreeMap<StreamId, Decoder>,
    /// What came on streams that carry no frames of ours: those that the server opened, and those that a test puts here.
    raw: BTreeMap<StreamId, Vec<u8>>,
    /// Streams that the server reads no more.
    stopped: Vec<StreamId>,
    /// Its session is one of WebTransport.
    web: bool,
    frames: Vec<Frame>,
    /// What came in datagrams.
    datagrams: Vec<Frame>,
    /// Those of them that had not come on a stream by then.
    datagrams_first: usize,
    lost: Option<quinn_proto::ConnectionError>,
    /// It reads no stream.
    deaf: bool,
}

/// One shard and its clients, by port.
struct World {
    shard: Shard,
    script: Script,
    peers: BTreeMap<u16, Peer>,
    now: Instant,
    client_config: ClientConfig,
    client_tls: rustls::ClientConfig,
    server_tls: rustls::ServerConfig,
    config: ShardConfig,
    keys: Keys,
    /// One datagram of so many to a client is lost; 0: none.
    lost_one_in: u32,
    /// Datagrams to clients so far.
    delivered: u32,
}

impl World {
    fn new(session: ServerLimits) -> Self {
        Self::with(session, Admission::default())
    }

    fn with(session: ServerLimits, admission: Admission) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let certified = rcgen::generate_simple_self_signed(["edge".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
        let key = provider.key_provider.load_private_key(key).unwrap();
        let chain = rustls::sign::CertifiedKey::new(vec![certified.cert.der().clone()], key);
        let tls = quic::tls_config(provider.clone(), Arc::new(rustls::sign::SingleCertAndKey::from(chain)))
            .unwrap();
        let keys = Keys::derive(&[1; 32]);
        let owner = Owner { node: 1, shard: 0, generation: 1 };
        let config = ShardConfig {
            index: 0,
            generation: 1,
            endpoint: Arc::new(quic::endpoint_config(&keys, owner, Some([2; 32]))),
            stream_tls: stream_tls(&tls),
            server: Arc::new(quic::server_config(tls.clone(), &keys, quic::ACK_DELAY).unwrap()),
            session: Arc::new(session),
            resume: ResumeConfig {
                keys: keys.clone(),
                ttl: Duration::from_hours(24),
                unix_time: Duration::from_secs(1_800_000_000),
            },
            admission,
        };
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certified.cert.der().clone()).unwrap();
        let mut client = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.alpn_protocols = vec![nearport_wire::ALPN.to_vec()];
        let client_tls = client.clone();
        let mut client_config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(client).unwrap()));
        // Silence is the server's to judge.
        let mut patient = quinn_proto::TransportConfig::default();
        patient.max_idle_timeout(None);
        client_config.transport_config(Arc::new(patient));
        let (script, now) = (Script::default(), Instant::now());
        let shard = Shard::new(config.clone(), Box::new(script.clone()), now);
        Self {
            shard,
            script,
            peers: BTreeMap::new(),
            now,
            client_config,
            client_tls,
            server_tls: tls,
            config,
            keys,
            lost_one_in: 0,
            delivered: 0,
        }
    }

    /// The process dies without a word; the next one has the secrets as they are now.
    fn restart(&mut self, generation: u32) {
        let owner = Owner { node: 1, shard: 0, generation };
        self.config.endpoint = Arc::new(quic::endpoint_config(&self.keys, owner, Some([3; 32])));
        self.shard = Shard::new(self.config.clone(), Box::new(self.script.clone()), self.now);
    }

    /// The shard's next start asks clients to acknowledge within `ack_delay`.
    fn set_ack_delay(&mut self, ack_delay: Duration) {
        self.config.server =
            Arc::new(quic::server_config(self.server_tls.clone(), &self.keys, ack_delay).unwrap());
        self.restart(self.config.generation);
    }

    fn rotate(&self, epoch: u32) {
        let secret = |epoch| Secret { epoch, bytes: [u8::try_from(epoch).unwrap() + 1; 32] };
        self.keys.replace(KeyRing::new(&secret(epoch), Some(&secret(epoch - 1))).unwrap()).unwrap();
    }

    /// A client that has said hello and is live.
    fn login(&mut self, port: u16) {
        self.hello(port, Bytes::new());
        assert_eq!(self.take(port), [Kind::WELCOME]);
    }

    /// A client that has said hello.
    fn hello(&mut self, port: u16, hello: Bytes) {
        self.connect(port);
        self.send(port, Frame::new(Lane::Control, Kind::HELLO, 0, hello));
    }

    /// A client with a stream.
    fn connect(&mut self, port: u16) {
        self.connect_quic(port, self.client_config.clone());
        // None for a connection that was refused.
        let stream = self.peers.get_mut(&port).unwrap().quic.streams().open(Dir::Bi);
        self.peers.get_mut(&port).unwrap().stream = stream;
    }

    /// A client without a stream.
    fn connect_quic(&mut self, port: u16, config: ClientConfig) {
        let keys = Keys::derive(&[9; 32]);
        let mut endpoint = Endpoint::new(Arc::new(EndpointConfig::new(keys.reset_key())), None, false, None);
        let to = SocketAddr::from(([127, 0, 0, 1], 4433));
        let (handle, quic) = endpoint.connect(self.now, config, to, "edge").unwrap();
        let peer = Peer {
            endpoint,
            handle,
            quic,
            stream: None,
            decoders: BTreeMap::new(),
            raw: BTreeMap::new(),
            stopped: Vec::new(),
            web: false,
            frames: Vec::new(),
            datagrams: Vec::new(),
            datagrams_first: 0,
            lost: None,
            deaf: false,
        };
        self.peers.insert(port, peer);
        self.run();
    }

    fn send(&mut self, port: u16, frame: Frame) {
        self.send_raw(port, &frame.encode());
    }

    fn send_raw(&mut self, port: u16, bytes: &[u8]) {
        self.send_on(port, self.peers[&port].stream.unwrap(), bytes);
    }

    fn open_stream(&mut self, port: u16) -> StreamId {
        self.peers.get_mut(&port).unwrap().quic.streams().open(Dir::Bi).unwrap()
    }

    fn send_on(&mut self, port: u16, stream: StreamId, bytes: &[u8]) {
        let peer = self.peers.get_mut(&port).unwrap();
        assert_eq!(peer.quic.send_stream(stream).write(bytes).unwrap(), bytes.len());
        self.run();
    }

    /// Kinds received since the last call.
    fn take(&mut self, port: u16) -> Vec<Kind> {
        self.peers.get_mut(&port).unwrap().frames.drain(..).map(|frame| frame.kind).collect()
    }

    fn close_code(&self, port: u16) -> Option<CloseCode> {
        match self.peers[&port].lost.as_ref()? {
            quinn_proto::ConnectionError::ApplicationClosed(close) => {
                Some(CloseCode(u32::try_from(close.error_code.into_inner()).unwrap()))
            }
            other => panic!("{other}"),
        }
    }

    /// Moves datagrams both ways until nobody has anything to say; time stands still.
    fn run(&mut self) {
        loop {
            let mut idle = true;
            let ports: Vec<u16> = self.peers.keys().copied().collect();
            for port in ports {
                let from = SocketAddr::from(([127, 0, 0, 1], port));
                let peer = self.peers.get_mut(&port).unwrap();
                let mut datagrams = Vec::new();
                loop {
                    let mut buffer = Vec::new();
                    if peer.quic.poll_transmit(self.now, 1, &mut buffer).is_none() {
                        break;
                    }
                    datagrams.push(buffer);
                }
                idle &= datagrams.is_empty();
                for datagram in datagrams {
                    self.shard.handle_datagram(self.now, from, None, &datagram);
                }
            }
            self.shard.turn(self.now);
            self.shard.handshakes(self.now, false);
            while self.shard.has_work() {
                self.shard.turn(self.now);
                self.shard.handshakes(self.now, false);
            }
            while let Some((to, datagram)) = self.shard.transmits().pop() {
                idle = false;
                self.delivered += 1;
                if self.lost_one_in > 0 && self.delivered.is_multiple_of(self.lost_one_in) {
                    continue;
                }
                if let Some(peer) = self.peers.get_mut(&to.port()) {
                    peer.receive(self.now, &datagram);
                }
            }
            if idle {
                return;
            }
        }
    }

    /// Lets time pass from one deadline to the next, the shard's and the clients', at most `at_most`.
    fn pass(&mut self, at_most: Duration) {
        let end = self.now + at_most;
        while self.now < end {
            let deadlines = self.peers.values_mut().filter_map(|peer| peer.quic.poll_timeout());
            let next = deadlines.chain(self.shard.poll_timeout()).min();
            self.now = next.map_or(end, |at| at.clamp(self.now + Duration::from_millis(1), end));
            for peer in self.peers.values_mut() {
                peer.quic.handle_timeout(self.now);
            }
            self.run();
        }
    }
}

impl Peer {
    fn receive(&mut self, now: Instant, datagram: &[u8]) {
        let server = SocketAddr::from(([127, 0, 0, 1], 4433));
        let event = self.endpoint.handle(now, server, None, None, datagram.into(), &mut Vec::new());
        if let Some(DatagramEvent::ConnectionEvent(_, event)) = event {
            self.quic.handle_event(event);
        }
        while let Some(event) = self.quic.poll_endpoint_events() {
            if let Some(event) = self.endpoint.handle_event(self.handle, event) {
                self.quic.handle_event(event);
            }
        }
        while let Some(event) = self.quic.poll() {
            match event {
                Event::ConnectionLost { reason } => self.lost = Some(reason),
                Event::Stream(StreamEvent::Opened { dir }) => {
                    while let Some(id) = self.quic.streams().accept(dir) {
                        self.raw.insert(id, Vec::new());
                        self.read_raw(id);
                    }
                }
                Event::Stream(StreamEvent::Readable { id }) if self.raw.contains_key(&id) => {
                    self.read_raw(id);
                }
                Event::Stream(StreamEvent::Readable { .. }) if self.deaf => {}
                Event::Stream(StreamEvent::Readable { id }) => {
                    let decoder = self.decoders.entry(id).or_insert_with(|| Decoder::new(Limits::client()));
                    let mut stream = self.quic.recv_stream(id);
                    let mut chunks = stream.read(true).unwrap();
                    while let Ok(Some(chunk)) = chunks.next(usize::MAX) {
                        decoder.feed(chunk.bytes);
                        while let Some(frame) = decoder.next_frame().unwrap() {
                            self.frames.push(frame);
                        }
                    }
                    let _ = chunks.finalize();
                }
                Event::Stream(StreamEvent::Stopped { id, .. }) => {
                    // As RFC 9000 §3.5 asks; `stopped` says so to a test all the same.
                    let _ = self.quic.send_stream(id).reset(VarInt::from_u32(0));
                    self.stopped.push(id);
                }
                Event::DatagramReceived => {
                    while let Some(mut datagram) = self.quic.datagrams().recv() {
                        if self.web {
                            assert_eq!(datagram.split_to(1)[..], [0], "a quarter of the session's id");
                        }
                        let mut decoder = Decoder::new(Limits::client());
                        decoder.feed(datagram);
                        let frame = decoder.next_frame().unwrap().unwrap();
                        self.datagrams_first +=
                            usize::from(!self.frames.iter().any(|seen| seen.id == frame.id));
                        self.datagrams.push(frame);
                    }
                }
                _ => {}
            }
        }
    }

    fn read_raw(&mut self, id: StreamId) {
        let mut stream = self.quic.recv_stream(id);
        let mut chunks = stream.read(true).unwrap();
        while let Ok(Some(chunk)) = chunks.next(usize::MAX) {
            self.raw.entry(id).or_default().extend_from_slice(&chunk.bytes);
        }
        let _ = chunks.finalize();
    }
}

fn request(id: u64) -> Frame {
    Frame::new(Lane::Chat, Kind::ECHO, id, Bytes::from_static(b"body"))
}

fn publish(id: u64, except: Option<SessionId>) -> Down {
    let topic = Topic::from(&b"all"[..]);
    Down::Publish { topic, lane: Lane::Chat, kind: Kind::PUSH, id, body: vec![7; 100].into(), except }
}

#[test]
fn a_request_goes_up_undecoded_and_its_reply_comes_down() {
    let mut world = World::new(ServerLimits::default());
    world.login(1);
    world.send(1, request(5));
    let session = world.script.sessions()[0];
    let up = world.script.state().ups.pop();
    assert!(
        matches!(up, Some(Up::Frame { session: s, id: 5, kind: Kind::ECHO, body, .. }) if s == session && body == "body")
    );
    let reply = Down::Reply { session, lane: Lane::Chat, kind: Kind::REPLY, id: 5, body: Bytes::new() };
    world.script.state().downs.push(reply);
    world.run();
    assert_eq!(world.take(1), [Kind::REPLY]);
}

#[test]
fn a_publish_reaches_members_but_not_who_is_excepted_or_gone() {
    let mut world = World::new(ServerLimits::default());
    (1..=3).for_each(|port| world.login(port));
    let sessions = world.script.sessions();
    world.send(3, Frame::new(Lane::Control, Kind::CLOSE, 0, Bytes::new()));
    assert_eq!(world.script.closed(), [sessions[2]]);
    world.script.state().downs.push(publish(9, Some(sessions[0])));
    world.run();
    assert_eq!((world.take(1), world.take(2)), (vec![], vec![Kind::PUSH]));
    assert_eq!(world.shard.stats().sessions, 2);
}

#[test]
fn a_fan_out_larger_than_a_turn_reaches_everybody() {
    let mut world = World::new(ServerLimits::default());
    let ports = 1..=u16::try_from(FAN_OUT_PER_TURN + 40).unwrap();
    ports.clone().for_each(|port| world.login(port));
    let before = world.shard.stats().turns;
    world.script.state().downs.push(publish(1, None));
    world.run();
    assert!(ports.clone().all(|port| world.take(port) == [Kind::PUSH]));
    assert!(world.shard.stats().turns > before + 1, "more than one turn");
}

#[test]
fn each_broken_rule_closes_with_its_code_and_the_neighbour_lives_on() {
    let long = [&[0x80, 0x10, 0, 0][..], &[1, 0x20, 0]].concat(); // 2^20 bytes announced
    let cases: [(&[u8], CloseCode); 5] = [
        (&long, CloseCode::FRAME_TOO_LONG),
        (&[0, 9, 0x20, 0], CloseCode::BAD_FRAME),
        (&[0, 0, 0xee, 0], CloseCode::BAD_KIND),
        (&[0, 0, 0x01, 0], CloseCode::OUT_OF_TURN),
        (&[0, 0, 0x07, 0], CloseCode::BYE),
    ];
    let mut world = World::new(ServerLimits::default());
    world.login(99);
    for (port, (bytes, code)) in (1..).zip(cases) {
        world.login(port);
        world.send_raw(port, bytes);
        assert_eq!(world.take(port), [Kind::CLOSE], "{code}");
        assert_eq!(world.close_code(port), Some(code));
    }
    assert_eq!(world.script.closed().len(), cases.len(), "the backend hears of each");
    world.script.state().downs.push(publish(1, None));
    world.run();
    assert_eq!(world.take(99), [Kind::PUSH]);
}

#[test]
fn keys_are_updated_by_either_side_long_after_the_handshake() {
    let mut world = World::new(ServerLimits::default());
    world.login(1);
    for id in 0..3 {
        world.pass(Duration::from_secs(2)); // contexts are dropped, and keys of the phase before
        world.peers.get_mut(&1).unwrap().quic.force_key_update();
        world.send(1, Frame::new(Lane::Control, Kind::PING, id, Bytes::new()));
        assert_eq!(world.take(1), [Kind::PONG]);
        world.pass(Duration::from_secs(2));
        let session = world.script.sessions()[0];
        let (index, _) = world.shard.find(session).unwrap();
        world.shard.quic_mut(index).unwrap().quic.force_key_update();
        world.script.state().downs.push(publish(1, None));
        world.run();
        assert_eq!(world.take(1), [Kind::PUSH]);
    }
}

#[test]
fn half_a_frame_and_then_silence_ends_the_session_in_time() {
    let mut world = World::new(ServerLimits::default());
    world.login(1);
    world.send_raw(1, &[60, 1, 0x20]);
    world.pass(Duration::from_secs(9));
    assert_eq!(world.close_code(1), None);
    world.pass(Duration::from_secs(2));
    assert_eq!(world.close_code(1), Some(CloseCode::TIMEOUT));
}

#[test]
fn a_panic_costs_one_connection() {
    let mut world = World::new(ServerLimits::default());
    (1..=2).for_each(|port| world.login(port));
    let sessions = world.script.sessions();
    let (index, _) = world.shard.find(sessions[0]).unwrap();
    world.shard.conns.get_mut(index).unwrap().panic_in_read = true;
    world.send(1, request(1));
    world.script.state().downs.push(publish(1, None));
    world.run();
    assert_eq!((world.take(1), world.take(2)), (vec![], vec![Kind::PUSH]));
    assert_eq!(world.script.closed(), [sessions[0]]);
    let stats = world.shard.stats();
    assert_eq!((stats.panics, stats.sessions, stats.connections), (1, 1, 1));
    // The client's next packet belongs to a connection of ours that is dead: a reset tells it at once.
    world.peers.get_mut(&1).unwrap().quic.ping();
    world.run();
    assert!(matches!(world.peers[&1].lost, Some(quinn_proto::ConnectionError::Reset)));
}

#[test]
fn a_rotation_leaves_sessions_alone_and_their_resets_right() {
    let mut world = World::new(ServerLimits::default());
    for port in 1..=3 {
        world.login(port);
    }
    // Everybody lives on, whatever becomes of the secret their ids were made with.
    for epoch in 1..=3 {
        world.rotate(epoch);
        world.script.state().downs.push(publish(u64::from(epoch), None));
        world.run();
        assert!((1..=3).all(|port| world.take(port) == [Kind::PUSH]), "epoch {epoch}");
    }
    world.login(4);
    world.rotate(4);
    world.restart(2);
    for port in [1, 4] {
        world.peers.get_mut(&port).unwrap().quic.ping();
        world.run();
    }
    // Client 4 has ids of the epoch before: its reset is signed with that key. Nobody has the key of client 1's any
    // more, so nothing proves that they were ours.
    assert!(matches!(world.peers[&4].lost, Some(quinn_proto::ConnectionError::Reset)));
    assert!(world.peers[&1].lost.is_none());
}

#[test]
fn a_full_backend_answers_busy_and_no_close_is_lost() {
    let mut world = World::new(ServerLimits::default());
    world.login(1);
    world.login(2);
    let sessions = world.script.sessions();
    world.script.state().full = true;
    world.send(1, request(1));
    let peer = world.peers.get_mut(&1).unwrap();
    let error = peer.frames.pop().unwrap();
    assert_eq!((error.kind, error.id), (Kind::ERROR, 1));
    assert_eq!(body::Error::decode(error.body).unwrap().code, code::TOO_MANY_REQUESTS);
    let peer = world.peers.get_mut(&2).unwrap();
    peer.quic.close(world.now, VarInt::from_u32(0), Bytes::new());
    world.run();
    assert_eq!(world.script.closed(), [], "the close waits for room, without spinning");
    world.script.state().full = false;
    world.pass(UPS_RETRY);
    assert_eq!(world.script.closed(), [sessions[1]]);
}

#[test]
fn a_lost_publish_tells_every_session_to_sync() {
    let mut world = World::new(ServerLimits::default());
    world.login(1);
    world.script.state().lost = true;
    world.run();
    assert_eq!(world.take(1), [Kind::BEHIND]);
}

#[test]
fn who_comes_in_late_is_asked_to_leave_too_and_a_drain_can_be_undone() {
    let mut world = World::new(ServerLimits::default());
    world.connect(1);
    let departure = Departure { within: Duration::from_secs(8), ..Departure::default() };
    world.shard.drain(&departure, world.now);
    // Its handshake was done; its hello comes after the others were told.
    world.send(1, Frame::new(Lane::Control, Kind::HELLO, 0, Bytes::new()));
    assert_eq!(world.take(1), [Kind::WELCOME, Kind::GO_AWAY]);

    world.shard.undrain();
    world.login(2);
    world.shard.drain(&Departure { accept: true, ..departure }, world.now);
    assert_eq!(world.take(2), [], "in a moment");
    world.run();
    assert_eq!(world.take(2), [Kind::GO_AWAY]);
    world.hello(3, Bytes::new());
    assert_eq!(world.take(3), [Kind::WELCOME, Kind::GO_AWAY], "it had begun here, it gets in");
}

#[test]
fn drain_spreads_the_clients_and_refuses_new_ones() {
    let mut world = World::new(ServerLimits::default());
    (1..=4).for_each(|port| world.login(port));
    let endpoint = |port: u16| body::Endpoint { address: format!("192.0.2.1:{port}"), ..Default::default() };
    let targets: Arc<[_]> = [endpoint(1), endpoint(2)].into();
    let departure = Departure { within: Duration::from_secs(8), targets: targets.clone(), accept: false };
    world.shard.drain(&departure, world.now);
    world.run();
    let mut slots: Vec<u32> = (1..=4)
        .map(|port| {
            let frame = world.peers.get_mut(&port).unwrap().frames.pop().unwrap();
            let away = body::GoAway::decode(frame.body).unwrap();
            assert_eq!(away.targets[..], targets[..]);
            away.slot_ms
        })
        .collect();
    slots.sort_unstable();
    assert_eq!(slots, [0, 2000, 4000, 6000]);
    world.connect(5);
    assert!(world.peers[&5].lost.is_some(), "refused");
    world.shard.close_all(&Closing::new(CloseCode::GOING_AWAY, "bye"));
    world.run();
    assert_eq!(world.close_code(4), Some(CloseCode::GOING_AWAY));
    assert_eq!(world.shard.stats().sessions, 0);
}

#[path = "tests/datagrams.rs"]
mod datagrams;
#[path = "tests/handshakes.rs"]
mod handshakes;
#[path = "tests/lanes.rs"]
mod lanes;
#[path = "tests/output.rs"]
mod output;
#[path = "tests/resume.rs"]
mod resume;
#[path = "tests/returns.rs"]
mod returns;
#[path = "tests/streams.rs"]
mod streams;
#[path = "tests/switch.rs"]
mod switch;
#[path = "tests/web.rs"]
mod web;
