//! Coming back: tokens instead of UserSigs with the real backend, at one node and at another, and tickets instead of full
//! handshakes.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nearport_chat::directory::{Accounts as _, App, AppKey};
use nearport_chat::key::AppId;
use nearport_chat::usersig::sign_v2;
use nearport_chat::{Chat, Clock};
use nearport_edge::{Config, KeyRing, Secret, resume};
use nearport_store::{MemoryDirectory, MemoryLedger};
use nearport_trunk::Identity;
use nearport_trunk::echo::Echo;
use nearport_wire::body::{self, Content, Element, Hello, Target, Text, Welcome, element, target};
use nearport_wire::close::CloseCode;
use nearport_wire::{Frame, Kind, Lane};
use prost::Message as _;
use rustls::HandshakeKind;

use crate::raw::{Raw, Server};
use crate::raw_stream::Carrier;

const APP: u32 = 1_400_000_000;
const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const DAY: Duration = Duration::from_hours(24);

fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn ring(epoch: u32) -> KeyRing {
    let secret = |epoch: u32| Secret { epoch, bytes: [u8::try_from(epoch).unwrap() + 40; 32] };
    let previous = epoch.checked_sub(1).map(secret);
    KeyRing::new(&secret(epoch), previous.as_ref()).unwrap()
}

/// A backend, and two nodes of a cluster in front of it.
struct Cluster {
    nodes: [Server; 2],
    chat: Arc<Chat>,
    clients: [quinn::Endpoint; 2],
}

impl Cluster {
    fn start() -> Self {
        let directory = MemoryDirectory::new();
        let app = App {
            id: AppId(APP),
            name: "test".into(),
            keys: vec![AppKey::hmac("first", SECRET, 0)],
            proved_from_s: 0,
            admins: Vec::new(),
            disabled: false,
            created_ms: 0,
        };
        directory.create_app(&app).unwrap();
        let clock: Clock = Arc::new(|| unix_s() * 1000);
        let ledger = Arc::new(MemoryLedger::new());
        let chat = Chat::start(ledger, Arc::new(directory), clock, Default::default()).unwrap();
        chat.register(AppId(APP), &["alice", "bob"]).unwrap();
        let chat = Arc::new(chat);
        // The generation is part of a session's id, and both nodes talk to one backend here.
        let nodes = [1, 2].map(|node| {
            let generation = node.into();
            Server::start_config(&*chat, |config| Config {
                node,
                generation,
                shards: 2,
                keys: ring(0),
                ..config
            })
        });
        let clients = [nodes[0].client(), nodes[1].client()];
        Self { nodes, chat, clients }
    }

    async fn say(&self, node: usize, hello: &Hello) -> Result<(Raw, Welcome), (CloseCode, String)> {
        let mut raw = self.nodes[node].connect(&self.clients[node]).await;
        let welcome = raw.say_hello(hello).await?;
        Ok((raw, welcome))
    }

    /// A login by UserSig that must succeed.
    async fn login(&self, node: usize, user: &str) -> (Raw, Welcome) {
        let usersig = sign_v2(SECRET, APP, user, unix_s() - 60, 100 * DAY.as_secs(), None);
        self.say(node, &Hello { usersig, ..hello(user, "phone", &[]) }).await.unwrap()
    }

    /// The number in front of the reason of a login that must be refused for its token.
    async fn refused(&self, node: usize, hello: &Hello) -> u32 {
        let (code, reason) = self.say(node, hello).await.err().expect("refused");
        assert_eq!(code, CloseCode::UNAUTHORIZED, "{reason}");
        reason.split(' ').next().unwrap().parse().unwrap()
    }
}

/// A hello with a token and without a UserSig.
fn hello(user: &str, device: &str, token: &[u8]) -> Hello {
    Hello {
        app: APP,
        user: user.into(),
        device: device.into(),
        resume: token.to_vec().into(),
        ..Hello::default()
    }
}

fn text(to: &str, id: u8) -> body::Send {
    let element = Element::from(element::Element::Text(Text { text: format!("message {id}") }));
    body::Send {
        client_msg_id: vec![id; 16].into(),
        to: Some(Target { target: Some(target::Target::User(to.into())) }),
        content: Some(Content { elements: vec![element], ..Content::default() }),
        ..body::Send::default()
    }
}

#[tokio::test]
async fn a_token_logs_in_at_either_node_and_is_renewed_each_time() {
    let cluster = Cluster::start();
    let (first, welcome) = cluster.login(0, "alice").await;
    assert_eq!(welcome.resume_ttl_s, 86_400);
    let mut token = welcome.resume_token;
    for node in [0, 1, 1, 0] {
        let (_, welcome) = cluster.say(node, &hello("alice", "phone", &token)).await.unwrap();
        assert_ne!(welcome.resume_token, token);
        token = welcome.resume_token;
    }
    assert_eq!(first.close_code().await, CloseCode::KICKED, "it was the same device");
    // One node reads the new secret first. Until the other does, it cannot open what that one sealed.
    cluster.nodes[0].edge.rotate(ring(1)).unwrap();
    let (_, welcome) = cluster.say(0, &hello("alice", "phone", &token)).await.unwrap();
    assert_eq!(cluster.refused(1, &hello("alice", "phone", &welcome.resume_token)).await, 70001);
    cluster.nodes[1].edge.rotate(ring(1)).unwrap();
    cluster.say(1, &hello("alice", "phone", &welcome.resume_token)).await.unwrap();
    cluster.say(1, &hello("alice", "phone", &token)).await.unwrap();
    cluster.nodes[1].edge.rotate(ring(2)).unwrap();
    assert_eq!(cluster.refused(1, &hello("alice", "phone", &token)).await, 70001, "two epochs old");
}

#[tokio::test]
async fn tokens_that_are_not_good_are_refused_and_a_usersig_still_works() {
    let cluster = Cluster::start();
    let (_, welcome) = cluster.login(0, "alice").await;
    let token = welcome.resume_token.to_vec();
    let with = |change: fn(&mut Vec<u8>)| {
        let mut token = token.clone();
        change(&mut token);
        hello("alice", "phone", &token)
    };
    let who = Identity {
        app: APP,
        user: "alice".into(),
        device: "phone".into(),
        issued_s: unix_s() - 60,
        expires_s: u64::MAX,
    };
    let expired = resume::seal(&ring(0), &who, DAY, unix_s() - 86_400 - 660).unwrap().bytes;
    let nearly = resume::seal(&ring(0), &who, DAY, unix_s() - 86_400 - 300).unwrap().bytes;
    let early = resume::seal(&ring(0), &who, DAY, unix_s() + 900).unwrap().bytes;
    let foreign = resume::seal(&KeyRing::from([9; 32]), &who, DAY, unix_s()).unwrap().bytes;
    let cases = [
        (hello("alice", "desk", &token), 70013),
        (hello("bob", "phone", &token), 70013),
        (Hello { app: APP + 1, ..hello("alice", "phone", &token) }, 70014),
        (with(|token| token.truncate(40)), 70003),
        (with(|token| token.truncate(3)), 70003),
        (with(|token| token.push(0)), 70003),
        (with(|token| token[0] += 1), 70001),
        (with(|token| token[20] ^= 4), 70003),
        (hello("alice", "phone", &expired), 70001),
        (hello("alice", "phone", &early), 70001),
        (hello("alice", "phone", &foreign), 70003),
        (hello("alice", "phone", &[0; 4000]), 70003),
    ];
    for (hello, number) in cases {
        assert_eq!(cluster.refused(0, &hello).await, number, "{hello:?}");
    }
    cluster.say(0, &hello("alice", "phone", &nearly)).await.unwrap();
    cluster.login(0, "alice").await;
    assert_eq!(cluster.refused(0, &hello("alice", "phone", &[])).await, 70002, "nothing to show at all");
}

#[tokio::test]
async fn a_kick_ends_the_session_and_its_tokens() {
    let cluster = Cluster::start();
    let (session, welcome) = cluster.login(0, "alice").await;
    let (bob, _) = cluster.login(1, "bob").await;
    assert_eq!(cluster.chat.kick(AppId(APP), "alice").unwrap(), 1);
    assert_eq!(session.close_code().await, CloseCode::KICKED);
    for node in [0, 1] {
        assert_eq!(cluster.refused(node, &hello("alice", "phone", &welcome.resume_token)).await, 70001);
    }
    assert!(bob.connection.close_reason().is_none());
}

#[tokio::test]
async fn the_first_answer_holds_what_was_missed() {
    let cluster = Cluster::start();
    let (mut alice, welcome) = cluster.login(0, "alice").await;
    assert_eq!((welcome.head, welcome.missed), (0, None));
    let (mut bob, _) = cluster.login(1, "bob").await;
    for id in 1..=3 {
        let body = text("alice", id).encode_to_vec().into();
        bob.send(Frame::new(Lane::Chat, Kind::SEND, id.into(), body)).await;
        assert_eq!(bob.next().await.unwrap().kind, Kind::REPLY);
    }
    for position in 1..=3 {
        assert_eq!(alice.next().await.unwrap().id, position);
    }
    alice.send(Frame::new(Lane::Control, Kind::ACK, 1, bytes::Bytes::new())).await;
    alice.send(Frame::new(Lane::Control, Kind::FLUSH, 7, bytes::Bytes::new())).await;
    assert_eq!(alice.next().await.unwrap().kind, Kind::REPLY);
    drop(alice);

    let token = welcome.resume_token;
    let texts = |welcome: &Welcome| {
        let page = welcome.missed.clone().unwrap();
        assert!(page.complete);
        let of = |entry: &body::LogEntry| {
            let content = entry.delivery.clone()?.message?.content?;
            match content.elements.into_iter().next()?.element? {
                element::Element::Text(text) => Some((entry.position, text.text)),
                _ => None,
            }
        };
        page.entries.iter().map(|entry| of(entry).unwrap()).collect::<Vec<_>>()
    };
    let entry = |position: u64| (position, format!("message {position}"));
    // What the server remembers, what the device says, at whichever node.
    let (_, by_server) = cluster.say(1, &hello("alice", "phone", &token)).await.unwrap();
    assert_eq!((by_server.cursor, texts(&by_server)), (1, vec![entry(2), entry(3)]));
    let cursor = Some(2);
    let (_, by_device) = cluster.say(0, &Hello { cursor, ..hello("alice", "phone", &token) }).await.unwrap();
    assert_eq!((by_device.cursor, texts(&by_device)), (2, vec![entry(3)]));
    let cursor = Some(3);
    let (_, nothing) = cluster.say(0, &Hello { cursor, ..hello("alice", "phone", &token) }).await.unwrap();
    assert_eq!((nothing.head, nothing.missed), (3, None));
}

#[tokio::test]
async fn quic_resumes_at_another_node_and_over_one_rotation_but_not_over_two() {
    let start = || Server::start_config(&Echo::default(), |config| Config { keys: ring(0), ..config });
    let (here, there) = (start(), start());
    // It trusts the certificate of the first server alone: elsewhere, only a resumed handshake succeeds.
    let client = here.client();
    let connect = async |server: &Server| {
        let mut raw = Raw::connect(&client, server.edge.local_addr(), "edge").await?;
        // The ticket comes in front of the welcome.
        raw.say_hello(&hello("alice", "phone", &[])).await.unwrap();
        Ok::<_, quinn::ConnectionError>(())
    };
    assert!(connect(&there).await.is_err(), "no ticket, no trust");
    connect(&here).await.unwrap();
    connect(&there).await.unwrap();
    there.edge.rotate(ring(1)).unwrap();
    connect(&there).await.unwrap();
    there.edge.rotate(ring(2)).unwrap();
    connect(&there).await.unwrap();
    there.edge.rotate(ring(3)).unwrap();
    there.edge.rotate(ring(4)).unwrap();
    assert!(connect(&there).await.is_err(), "two rotations after its ticket");
}

#[tokio::test]
async fn tls_over_tcp_resumes_with_the_same_tickets() {
    let start = || Server::start_config(&Echo::default(), |config| Config { keys: ring(0), ..config });
    let (here, there) = (start(), start());
    let door = here.door();
    let first = door.login(Carrier::Tls, "alice").await;
    assert_eq!(first.handshake_kind(), Some(HandshakeKind::Full));
    let door = door.at(there.edge.local_addr());
    for epoch in 1..=2 {
        let again = door.login(Carrier::Tls, "alice").await;
        assert_eq!(again.handshake_kind(), Some(HandshakeKind::Resumed));
        there.edge.rotate(ring(epoch)).unwrap();
    }
    let web = door.login(Carrier::WebSocket, "alice").await;
    assert_eq!(web.handshake_kind(), Some(HandshakeKind::Resumed));
}
