//! The SDK against the real server, over every transport.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nearport_client::groups::GroupCreate;
use nearport_client::{
    Client, Config, Event, HistoryRange, Message, Network, NetworkConfig, Transport, group, live, text, user,
};

use crate::node::{Node, STUCK, nearport};

/// How to reach a node or an edge.
pub(crate) struct Access {
    dir: PathBuf,
    config: Config,
    network: Network,
}

impl Access {
    /// Of a node in `dir`.
    pub(crate) fn of(node: &Node, dir: &Path) -> Self {
        Self::new(node.edge, dir)
    }

    /// As the client commands do: from the `client.toml` of the data directory in `dir`.
    pub(crate) fn new(edge: SocketAddr, dir: &Path) -> Self {
        let file: toml::Table =
            std::fs::read_to_string(dir.join("data/client.toml")).unwrap().parse().unwrap();
        let app = u32::try_from(file["app"].as_integer().unwrap()).unwrap();
        let ca = std::fs::read(dir.join(file["ca"].as_str().unwrap())).unwrap();
        let config = Config::new(edge, "localhost", app, "", "");
        let network = Network::new(NetworkConfig::from_ca_pem(&ca).unwrap()).unwrap();
        Self { dir: dir.to_owned(), config, network }
    }

    /// The same, by way of another address.
    pub(crate) fn at(&self, server: SocketAddr) -> Self {
        Self {
            dir: self.dir.clone(),
            config: Config { server, ..self.config.clone() },
            network: self.network.clone(),
        }
    }

    pub(crate) fn config(&self, name: &str, transports: &[Transport]) -> Config {
        let signed = nearport(&self.dir, &["usersig", "--user", name]);
        let usersig = String::from_utf8(signed.stdout).unwrap().trim().to_owned();
        let transports = transports.to_vec();
        Config { user: name.into(), usersig, transports, ..self.config.clone() }
    }

    pub(crate) fn connect(&self, config: Config) -> Client {
        Client::connect(&self.network, config)
    }

    pub(crate) async fn login(&self, name: &str, transports: &[Transport]) -> Client {
        let client = self.connect(self.config(name, transports));
        client.ready(STUCK).await.unwrap();
        client
    }
}

pub(crate) async fn next(client: &Client) -> Event {
    tokio::time::timeout(STUCK, client.next_event()).await.expect("an event").expect("not stopped")
}

async fn connected(client: &Client) -> Transport {
    loop {
        if let Event::Connected { transport, .. } = next(client).await {
            return transport;
        }
    }
}

pub(crate) async fn message(client: &Client) -> Message {
    loop {
        if let Event::Message(message) = next(client).await {
            return message;
        }
    }
}

#[tokio::test]
async fn every_transport_does_everything() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), &["--set", "edge.shards=2"]);
    let access = Access::of(&node, dir.path());
    for transport in Transport::ALL {
        let alice = access.login("alice", &[transport]).await;
        let bob = access.login("bob", &[transport]).await;
        assert_eq!((connected(&alice).await, connected(&bob).await), (transport, transport));
        // Larger than what one write or one window takes, so that it is cut somewhere.
        let long = "x".repeat(10_000);
        for _ in 0..30 {
            alice.send(user("bob"), text(&*long)).await.unwrap();
        }
        let last = alice.send(user("bob"), text(format!("over {transport}"))).await.unwrap();
        while message(&bob).await.text() != format!("over {transport}") {}
        let page = bob.history(user("alice"), HistoryRange::Newest, 20).await.unwrap();
        assert_eq!((page.messages.len(), page.head), (20, last.seq));
        bob.mark_read(user("alice"), last.seq).await.unwrap();
        bob.post_online_only(user("alice"), text("typing")).unwrap();
        let typing = loop {
            if let Event::Transient(message) = next(&alice).await {
                break message;
            }
        };
        assert_eq!((typing.text(), typing.seq), ("typing".into(), 0));
        bob.flush().await.unwrap();
        tokio::join!(alice.close(), bob.close());
    }
}

#[tokio::test]
async fn a_guest_hears_a_live_room_over_the_transports_of_browsers_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), &["--set", "chat.guests_max=4"]);
    let access = Access::of(&node, dir.path());
    let alice = access.login("alice", &[]).await;
    let create = GroupCreate {
        r#type: "AVChatRoom".into(),
        name: "room".into(),
        group: "open".into(),
        ..GroupCreate::default()
    };
    alice.create_group(create).await.unwrap();
    alice.join_live_room("open").await.unwrap();
    let guest = Config::guest(node.edge, "localhost", access.config.app);
    for transport in [Transport::WebSocket, Transport::WebTransport] {
        let config = Config { transports: vec![transport], ..guest.clone() };
        let guest = Client::connect(&access.network, config);
        guest.ready(STUCK).await.unwrap();
        assert_eq!(connected(&guest).await, transport);
        let joined = guest.join_live_room("open").await.unwrap();
        assert_eq!(joined.latest, ["alice"], "guests are not named");
        let said = format!("to {transport}");
        alice.send(group("open"), text(&*said)).await.unwrap();
        loop {
            if let Event::Live { frame, .. } = next(&guest).await
                && live::text_of(&frame) == Some(&said)
            {
                break;
            }
        }
        let refused = guest.send(user("alice"), text("hello")).await.unwrap_err().to_string();
        assert!(refused.contains("6014"), "{refused}");
        let refused = guest.group_heads().await.unwrap_err().to_string();
        assert!(refused.contains("6014"), "{refused}");
        guest.quit_group("open").await.unwrap();
        guest.close().await;
    }
    let config = Config { transports: vec![Transport::Quic], ..guest };
    let refused = Client::connect(&access.network, config).ready(STUCK).await.unwrap_err().to_string();
    assert!(refused.contains("guests come over WebSocket or WebTransport"), "{refused}");

    // Another server, as servers are: nobody comes without an account.
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), &[]);
    let access = Access::of(&node, dir.path());
    let guest = Client::guest(&access.network, node.edge, "localhost", access.config.app);
    assert!(guest.ready(STUCK).await.unwrap_err().to_string().contains("70402"));
}

#[tokio::test]
async fn a_session_comes_back_by_its_token_over_another_transport_and_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), &[]);
    let access = Access::of(&node, dir.path());
    let alice = access.login("alice", &[Transport::Tls]).await;
    let bob = access.login("bob", &[]).await;
    assert_eq!(connected(&bob).await, Transport::Quic);
    bob.send(user("alice"), text("1")).await.unwrap();
    assert_eq!(message(&alice).await.text(), "1");
    alice.flush().await.unwrap();
    let kept = alice.resume_state().expect("the server gives tokens");
    alice.close().await;
    bob.send(user("alice"), text("2")).await.unwrap();

    // Another process, without a UserSig, over another transport: it goes on behind what was shown.
    let transports = vec![Transport::WebSocket];
    let config = Config { usersig: String::new(), transports, ..access.config("alice", &[]) };
    let alice = Client::connect(&access.network, Config { resume: Some(kept), ..config });
    assert_eq!(message(&alice).await.text(), "2");

    // The server dies and comes back: both are in again by token, and nothing is lost.
    let listen = format!("edge.listen={}", node.edge);
    node.kill();
    let during = bob.post(user("alice"), text("3")).unwrap();
    let node = Node::start(dir.path(), &["--set", &listen]);
    assert_eq!(message(&alice).await.text(), "3");
    while !matches!(next(&bob).await, Event::Sent { id, .. } if id == during) {}
    let (_, metrics) = node.get("/metrics");
    let by_token = r#"nearport_chat_logins_accepted_total{proof="resume_token"} 2"#;
    assert!(metrics.contains(by_token), "{metrics}");
    tokio::join!(alice.close(), bob.close());
}

#[tokio::test]
async fn a_forged_token_falls_back_to_the_usersig() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), &[]);
    let access = Access::of(&node, dir.path());
    let good_until = std::time::SystemTime::now() + Duration::from_secs(60);
    let forged =
        nearport_client::ResumeState { token: vec![7; 90], good_until, cursor: 0, groups: Vec::new() };
    let config = access.config("alice", &[]);
    let alice = Client::connect(&access.network, Config { resume: Some(forged), ..config });
    assert_eq!(connected(&alice).await, Transport::Quic);
    alice.send(user("bob"), text("hi")).await.unwrap();
    alice.close().await;
}
