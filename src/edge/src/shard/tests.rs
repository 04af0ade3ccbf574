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
            .filter_map(|up| if let Up::Close { session, .. } = up { Some(*session) } else { None })
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

/// All that a driver does in a turn.
fn turn(shard: &mut Shard, now: Instant) {
    shard.turn(now);
    shard.take_aside(now);
    shard.visit_rooms(now, false);
    shard.handshakes(now, false);
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
            node: 1,
            generation: 1,
            backend_away_max: BACKEND_AWAY_MAX,
            endpoint: Arc::new(quic::endpoint_config(&keys, owner, Some([2; 32]))),
            stream_tls: stream_tls(&tls),
            server: Arc::new(quic::server_config(tls.clone(), &keys, Duration::ZERO).unwrap()),
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
        self.dial(port, config);
        self.run();
    }

    /// A client that has sent nothing yet.
    fn dial(&mut self, port: u16, config: ClientConfig) {
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

    /// What a client has to send reaches the shard within one turn, and what that answers reaches the client.
    fn round_trip(&mut self, port: u16) {
        let peer = self.peers.get_mut(&port).unwrap();
        let from = SocketAddr::from(([127, 0, 0, 1], port));
        let mut buffer = Vec::new();
        while peer.quic.poll_transmit(self.now, 1, &mut buffer).is_some() {
            self.shard.handle_datagram(self.now, from, None, &std::mem::take(&mut buffer));
        }
        turn(&mut self.shard, self.now);
        while self.shard.has_work() || self.shard.has_handshakes() {
            turn(&mut self.shard, self.now);
        }
        while let Some((_, datagram)) = self.shard.transmits().pop() {
            peer.receive(self.now, &datagram);
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
            turn(&mut self.shard, self.now);
            while self.shard.has_work() {
                turn(&mut self.shard, self.now);
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

fn live(class: u64, len: usize) -> Down {
    let (topic, body) = (Topic::from(&b"all"[..]), vec![7; len].into());
    Down::Publish { topic, lane: Lane::Live, kind: Kind::LIVE, id: class, body, except: None }
}

#[path = "tests/datagrams.rs"]
mod datagrams;
#[path = "tests/deferred.rs"]
mod deferred;
#[path = "tests/ends.rs"]
mod ends;
#[path = "tests/handshakes.rs"]
mod handshakes;
#[path = "tests/lanes.rs"]
mod lanes;
#[path = "tests/leaving.rs"]
mod leaving;
#[path = "tests/live.rs"]
mod live;
#[path = "tests/output.rs"]
mod output;
#[path = "tests/probes.rs"]
mod probes;
#[path = "tests/resume.rs"]
mod resume;
#[path = "tests/returns.rs"]
mod returns;
#[path = "tests/sessions.rs"]
mod sessions;
#[path = "tests/streams.rs"]
mod streams;
#[path = "tests/switch.rs"]
mod switch;
#[path = "tests/web.rs"]
mod web;
