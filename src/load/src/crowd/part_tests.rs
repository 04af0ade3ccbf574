//! Members against a server of a few lines: real QUIC, real sessions, no socket, no clock.

use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};

use nearport_client::NetworkConfig;
use nearport_session::{Action, Server, ServerLimits};
use nearport_wire::Frame;
use nearport_wire::body::{GroupJoinOutcome, LiveJoined, SyncPage, Welcome};
use quinn_proto::crypto::rustls::QuicServerConfig;
use quinn_proto::{Connection, Dir, Event as QuicEvent, ServerConfig, StreamEvent, StreamId, VarInt};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;

use super::*;
use crate::options::Credentials;

const MEMBERS: usize = 7;
const PIPES: usize = 3;
/// Of log-ins.
const AT_ONCE: usize = 2;

/// What the members of a test lived through.
#[derive(Default)]
struct Seen {
    connected: [usize; MEMBERS],
    /// For the first time, and again.
    joined: [usize; MEMBERS],
    rejoined: [usize; MEMBERS],
    heard: Vec<Vec<Bytes>>,
    lost: Vec<(usize, CloseCode, bool)>,
    failed: Vec<String>,
}

impl Witness for Seen {
    fn connected(&mut self, member: usize) {
        self.connected[member] += 1;
    }

    fn lost(&mut self, member: usize, closing: &Closing, for_good: bool) {
        self.lost.push((member, closing.code, for_good));
    }

    fn joined(&mut self, member: usize, counts: &LiveCounts, first: bool) {
        assert_eq!(counts.taken, [1, 2, 3, 4]);
        *(if first { &mut self.joined[member] } else { &mut self.rejoined[member] }) += 1;
    }

    fn heard(&mut self, member: usize, body: &Bytes) {
        self.heard.resize_with(MEMBERS, Vec::new);
        self.heard[member].push(body.clone());
    }

    fn failed(&mut self, reason: String) {
        self.failed.push(reason);
    }
}

/// A connection at the server.
struct Guest {
    quic: Connection,
    session: Server,
    streams: Vec<StreamId>,
    user: String,
    in_room: bool,
}

/// What it does with a hello.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mood {
    Friendly,
    Refuses,
    Deaf,
}

struct House {
    endpoint: Endpoint,
    guests: HashMap<usize, Guest>,
    limits: ServerLimits,
    mood: Mood,
    /// Good-byes that it heard.
    byes: usize,
    /// Most handshakes and hellos at once.
    opening_max: usize,
}

impl House {
    fn new(certified: &rcgen::CertifiedKey<rcgen::KeyPair>) -> Self {
        let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
        let mut tls = rustls::ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certified.cert.der().clone()], key)
            .unwrap();
        tls.alpn_protocols = vec![nearport_wire::ALPN.to_vec()];
        let config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
        Self {
            endpoint: Endpoint::new(Arc::new(EndpointConfig::default()), Some(Arc::new(config)), false, None),
            guests: HashMap::new(),
            limits: ServerLimits::default(),
            mood: Mood::Friendly,
            byes: 0,
            opening_max: 0,
        }
    }

    fn handle_datagram(&mut self, from: SocketAddr, datagram: &[u8], now: Instant) {
        let mut response = Vec::new();
        match self.endpoint.handle(now, from, None, None, datagram.into(), &mut response) {
            Some(DatagramEvent::NewConnection(incoming)) => {
                let (handle, quic) = self.endpoint.accept(incoming, now, &mut response, None).unwrap();
                let (session, user) = (Server::new(&self.limits, now), String::new());
                self.guests
                    .insert(handle.0, Guest { quic, session, streams: Vec::new(), user, in_room: false });
            }
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                self.guests.get_mut(&handle.0).unwrap().quic.handle_event(event);
            }
            Some(DatagramEvent::Response(_)) | None => {}
        }
    }

    /// Everybody has its turn; returns what is to be sent.
    fn turn(&mut self, now: Instant) -> Vec<(SocketAddr, Vec<u8>)> {
        let (mut out, mut gone) = (Vec::new(), Vec::new());
        let opening =
            self.guests.values().filter(|guest| !guest.session.is_live() && !guest.quic.is_closed());
        self.opening_max = self.opening_max.max(opening.count());
        for (number, guest) in &mut self.guests {
            if guest.quic.poll_timeout().is_some_and(|at| at <= now) {
                guest.quic.handle_timeout(now);
            }
            self.byes += guest.read(&self.limits, self.mood, now);
            guest.write();
            let mut buffer = Vec::new();
            while guest.quic.poll_transmit(now, 1, &mut buffer).is_some() {
                out.push((guest.quic.remote_address(), std::mem::take(&mut buffer)));
            }
            while let Some(event) = guest.quic.poll_endpoint_events() {
                let drained = event.is_drained();
                if let Some(event) = self.endpoint.handle_event(ConnectionHandle(*number), event) {
                    guest.quic.handle_event(event);
                }
                if drained {
                    gone.push(*number);
                }
            }
        }
        gone.iter().for_each(|number| drop(self.guests.remove(number)));
        out
    }

    fn say(&mut self, body: &[u8]) {
        let frame = Frame::new(Lane::Live, Kind::LIVE, 2, Bytes::copy_from_slice(body)).encode();
        for guest in self.guests.values_mut().filter(|guest| guest.in_room && !guest.quic.is_closed()) {
            assert!(guest.session.push(Lane::Live, &frame, &self.limits));
        }
    }

    fn guest(&mut self, user: &str) -> &mut Guest {
        let mut guests = self.guests.values_mut();
        guests.find(|guest| guest.user == user && !guest.quic.is_closed()).unwrap()
    }
}

impl Guest {
    fn read(&mut self, limits: &ServerLimits, mood: Mood, now: Instant) -> usize {
        let mut byes = 0;
        while let Some(event) = self.quic.poll() {
            let id = match event {
                QuicEvent::Stream(StreamEvent::Opened { .. }) => {
                    let id = self.quic.streams().accept(Dir::Bi).unwrap();
                    if !self.streams.is_empty() {
                        self.session.open_side(0, limits, now);
                    }
                    self.streams.push(id);
                    id
                }
                QuicEvent::Stream(StreamEvent::Readable { id }) => id,
                _ => continue,
            };
            let mut stream = self.quic.recv_stream(id);
            let Ok(mut chunks) = stream.read(true) else { continue };
            let mut bytes = Vec::new();
            while let Ok(Some(chunk)) = chunks.next(usize::MAX) {
                bytes.extend_from_slice(&chunk.bytes);
            }
            let _ = chunks.finalize();
            match self.streams[0] == id {
                true => self.session.handle_bytes(bytes.into()),
                false => self.session.handle_side_bytes(0, bytes.into()),
            }
            loop {
                match self.session.poll_action(limits, now) {
                    Ok(Some(action)) => self.act(action, mood, now),
                    Ok(None) => break,
                    Err(closing) => {
                        byes += usize::from(closing.code == CloseCode::BYE);
                        self.quic.close(now, VarInt::from_u32(closing.code.0), Bytes::new());
                        break;
                    }
                }
            }
        }
        byes
    }

    fn act(&mut self, action: Action, mood: Mood, now: Instant) {
        match action {
            Action::Open(_) if mood == Mood::Deaf => {}
            Action::Open(_) if mood == Mood::Refuses => {
                self.quic.close(now, VarInt::from_u32(CloseCode::UNAUTHORIZED.0), Bytes::from("no"));
            }
            Action::Open(hello) => {
                let hello = Hello::decode(hello).unwrap();
                assert_eq!(hello.usersig, format!("sig of {}", hello.user));
                self.user = hello.user;
                self.session.accept(&Welcome { heartbeat_ms: 25_000, ..Welcome::default() }.encode_to_vec());
            }
            // What the session asks for by itself: there is nothing.
            Action::Request(frame) if frame.kind == Kind::SYNC => {
                self.session.reply(frame.lane, Kind::REPLY, frame.id, &SyncPage::default().encode_to_vec());
            }
            Action::Request(frame) => {
                assert_eq!(
                    (frame.kind, frame.lane, &frame.body[..]),
                    (Kind::GROUP, Lane::Bulk, &b"join"[..])
                );
                self.in_room = true;
                let counts = LiveCounts { taken: vec![1, 2, 3, 4], ..LiveCounts::default() };
                let live = Some(LiveJoined { counts: Some(counts), ..LiveJoined::default() });
                let answer = Answer::Join(GroupJoinOutcome { live, ..GroupJoinOutcome::default() });
                let answer = GroupAnswer { answer: Some(answer) }.encode_to_vec();
                self.session.reply(frame.lane, Kind::REPLY, frame.id, &answer);
            }
            Action::Ack(_) => {}
        }
    }

    fn write(&mut self) {
        for (at, id) in self.streams.iter().enumerate() {
            let outbox = match at {
                0 => Some(self.session.poll_output()),
                _ => self.session.poll_side_output(0),
            };
            for mut chunk in outbox.map(nearport_session::Outbox::take).unwrap_or_default() {
                // The tests say little: it always fits. A closed connection takes nothing.
                let _ = self.quic.send_stream(*id).write_chunks(std::slice::from_mut(&mut chunk));
            }
        }
    }
}

/// A part and a house, with a wire between them.
struct World {
    part: Part,
    house: House,
    seen: Seen,
    now: Instant,
    /// Datagrams to the part, and to the house: pipe and bytes.
    to_part: VecDeque<(u16, Vec<u8>)>,
    /// Every so many datagrams one is lost.
    lose_every: Option<usize>,
    carried: usize,
    logins: super::super::Count,
    joins: super::super::Count,
    left: usize,
}

impl World {
    fn new() -> Self {
        let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let network = NetworkConfig::from_ca_pem(certified.cert.pem().as_bytes()).unwrap();
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, 4433));
        let credentials = Credentials {
            server,
            server_name: "localhost".into(),
            locate: None,
            network: network.clone(),
            app: 1_400_000_000,
            usersig: Box::new(|user| format!("sig of {user}")),
        };
        let plan = Plan {
            server,
            server_name: "localhost".into(),
            quic: network.quic().unwrap(),
            datagrams: true,
            credentials: Arc::new(credentials),
            users: "u".into(),
            join: b"join".to_vec(),
            login_timeout: Duration::from_secs(30),
            logins_max: AT_ONCE,
            joins_max: 3,
        };
        let now = Instant::now();
        let members = 100..100 + MEMBERS;
        Self {
            part: Part::new(Arc::new(plan), members, PIPES, 1, now),
            house: House::new(&certified),
            seen: Seen::default(),
            now,
            to_part: VecDeque::new(),
            lose_every: None,
            carried: 0,
            logins: super::super::Count::new(),
            joins: super::super::Count::new(),
            left: 0,
        }
    }

    fn carries(&mut self) -> bool {
        self.carried += 1;
        self.lose_every.is_none_or(|every| !self.carried.is_multiple_of(every))
    }

    /// Lets everything happen that happens now. Returns whether anything did.
    fn step(&mut self) -> bool {
        while let Some((pipe, datagram)) = self.to_part.pop_front() {
            self.part.handle_datagram(pipe, &datagram, self.now);
        }
        self.part.turn(self.now, &mut self.seen);
        let news = self.part.take_news();
        self.logins.add(news.logins);
        self.joins.add(news.joins);
        self.left += news.left;
        let mut busy = false;
        while let Some((pipe, datagrams)) = self.part.outgoing().take() {
            let from = SocketAddr::from((Ipv4Addr::LOCALHOST, 1000 + pipe));
            for datagram in &datagrams {
                busy = true;
                if self.carries() {
                    self.house.handle_datagram(from, datagram, self.now);
                }
            }
            self.part.outgoing().sent(pipe, datagrams);
        }
        for (to, datagram) in self.house.turn(self.now) {
            busy = true;
            if self.carries() {
                self.to_part.push_back((to.port() - 1000, datagram));
            }
        }
        busy || !self.to_part.is_empty()
    }

    /// Lets so much time pass, in steps of a millisecond.
    fn pass(&mut self, length: Duration) {
        let end = self.now + length;
        loop {
            while self.step() {}
            if self.now >= end {
                return;
            }
            self.now += Duration::from_millis(1);
        }
    }

    /// Everybody is in the room.
    fn all_in() -> Self {
        let mut world = Self::new();
        world.part.log_in();
        world.part.join(None, world.now);
        world.pass(Duration::from_millis(200));
        assert_eq!((world.logins.done, world.joins.done), (MEMBERS, MEMBERS));
        assert_eq!((world.seen.connected, world.seen.joined), ([1; MEMBERS], [1; MEMBERS]));
        world
    }
}

#[test]
fn everybody_joins_hears_all_and_says_good_bye() {
    let mut world = World::all_in();
    assert!((1..=AT_ONCE).contains(&world.house.opening_max), "{} at once", world.house.opening_max);
    // Three sockets, taken in turn.
    let ports =
        world.house.guests.values().map(|guest| (guest.user.clone(), guest.quic.remote_address().port()));
    let ports: HashMap<_, _> = ports.collect();
    let expected = (0..MEMBERS)
        .map(|member| (format!("u-{}", 100 + member), 1000 + u16::try_from(member % PIPES).unwrap()));
    assert_eq!(ports, expected.collect());
    for number in 0..50u8 {
        world.house.say(&[number; 300]);
        world.pass(Duration::from_millis(20));
    }
    let all: Vec<Bytes> = (0..50u8).map(|number| vec![number; 300].into()).collect();
    assert!(world.seen.heard.iter().all(|heard| *heard == all));
    // Heartbeats keep a silent room together.
    world.pass(Duration::from_secs(120));
    assert!(world.seen.lost.is_empty() && world.seen.failed.is_empty());
    world.part.leave();
    world.pass(Duration::from_secs(1));
    assert_eq!((world.left, world.house.byes), (MEMBERS, MEMBERS));
    assert!(world.seen.lost.is_empty());
}

#[test]
fn what_the_network_loses_comes_all_the_same_and_in_order() {
    let mut world = World::all_in();
    world.lose_every = Some(5);
    for number in 0..60u8 {
        world.house.say(&[number; 900]);
        world.pass(Duration::from_millis(7));
    }
    world.lose_every = None;
    world.pass(Duration::from_secs(5));
    let all: Vec<Bytes> = (0..60u8).map(|number| vec![number; 900].into()).collect();
    assert!(world.seen.heard.iter().all(|heard| *heard == all));
}

#[test]
fn a_lost_session_comes_back_once() {
    let mut world = World::all_in();
    let (now, code) = (world.now, VarInt::from_u32(CloseCode::KICKED.0));
    world.house.guest("u-103").quic.close(now, code, Bytes::new());
    world.pass(Duration::from_secs(1));
    assert_eq!(world.seen.lost, [(3, CloseCode::KICKED, false)]);
    assert_eq!((world.seen.connected[3], world.seen.rejoined[3], world.logins.done), (2, 1, MEMBERS));
    world.house.say(b"again");
    world.pass(Duration::from_millis(50));
    assert!(world.seen.heard.iter().all(|heard| heard == &[&b"again"[..]]));
    let now = world.now;
    world.house.guest("u-103").quic.close(now, code, Bytes::new());
    world.pass(Duration::from_secs(1));
    assert_eq!(world.seen.lost[1..], [(3, CloseCode::KICKED, true)]);
    assert_eq!(world.seen.connected[3], 2);
    world.part.leave();
    world.pass(Duration::from_secs(6));
    assert_eq!((world.left, world.house.byes), (MEMBERS, MEMBERS - 1));
}

#[test]
fn who_is_told_behind_joins_again() {
    let mut world = World::all_in();
    world.house.guest("u-104").session.mark_behind();
    world.house.guest("u-104").in_room = false;
    world.pass(Duration::from_millis(100));
    assert_eq!((world.seen.rejoined[4], world.seen.rejoined.iter().sum::<usize>()), (1, 1));
    assert!(world.house.guest("u-104").in_room && world.seen.lost.is_empty());
}

#[test]
fn who_is_not_let_in_is_counted_and_the_others_do_not_wait() {
    let mut world = World::new();
    world.house.mood = Mood::Refuses;
    world.part.log_in();
    world.pass(Duration::from_millis(300));
    assert_eq!((world.logins.done, world.logins.failed), (0, MEMBERS));
    let first = world.logins.first_failure.clone().unwrap();
    assert!(first.contains("UNAUTHORIZED"), "{first}");
    // A server that nobody hears from.
    let mut world = World::new();
    world.lose_every = Some(1);
    world.part.log_in();
    let rounds = MEMBERS.div_ceil(AT_ONCE);
    for _ in 0..rounds * 31 {
        world.pass(Duration::from_millis(1));
        world.now += Duration::from_secs(1);
    }
    assert_eq!((world.logins.done, world.logins.failed), (0, MEMBERS));
    assert!(world.logins.first_failure.unwrap().contains("no log-in in its time"));
}

#[test]
fn who_is_not_heard_tries_again() {
    let mut world = World::new();
    world.house.mood = Mood::Deaf;
    world.part.log_in();
    world.pass(Duration::from_millis(100));
    world.house.mood = Mood::Friendly;
    world.now += Duration::from_secs(10);
    world.pass(Duration::from_millis(500));
    assert_eq!((world.logins.done, world.logins.failed), (MEMBERS, 0));
    assert_eq!(world.seen.connected, [1; MEMBERS]);
    // It took that long.
    assert!(world.logins.latency.quantiles().max.unwrap() >= 10_000.0 && world.seen.lost.is_empty());
}

#[test]
fn joins_keep_their_rate() {
    let mut world = World::new();
    world.part.log_in();
    world.pass(Duration::from_millis(100));
    assert_eq!((world.logins.done, world.joins.done), (MEMBERS, 0));
    world.part.join(Some(20.0), world.now);
    for joined in 1..=MEMBERS {
        // One is due every 50 ms.
        world.pass(Duration::from_millis(if joined == 1 { 25 } else { 50 }));
        assert_eq!(world.joins.done, joined);
        let next = world.now + Duration::from_millis(25);
        assert!(joined == MEMBERS || world.part.poll_timeout().unwrap() <= next);
    }
}
