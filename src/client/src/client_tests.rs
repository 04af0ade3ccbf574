//! The SDK over real sockets, against a server of a few lines: high-level quinn and the pure session machine.

use super::*;
use nearport_session::Closing;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, ServerConfig};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use std::net::{Ipv4Addr, SocketAddr};
use tokio::sync::watch;

use crate::core::model::{Ledger, Peer};
use crate::event::{text, user};
use crate::network::NetworkConfig;

/// A test that hangs shall fail, not wait for ever. No outcome depends on it.
const LONG: Duration = Duration::from_secs(60);

/// Certificate and ledger: they survive a restart of the server.
#[derive(Clone)]
struct House {
    certificate: CertificateDer<'static>,
    key: Arc<PrivatePkcs8KeyDer<'static>>,
    ledger: Arc<Mutex<Ledger>>,
    /// Something was appended from outside, or a closing was ordered.
    news: watch::Sender<()>,
    closing: Arc<Mutex<Option<Closing>>>,
    /// Why clients left, as the server saw it.
    left: Arc<Mutex<Vec<CloseCode>>>,
}

struct Running {
    address: SocketAddr,
    endpoint: Option<Endpoint>,
    crash: oneshot::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl House {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        Self {
            certificate: made.cert.der().clone(),
            key: Arc::new(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der())),
            ledger: Arc::default(),
            news: watch::Sender::default(),
            closing: Arc::default(),
            left: Arc::default(),
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap()
    }

    fn network(&self) -> Network {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        Network::new(NetworkConfig::new(roots)).unwrap()
    }

    fn start(&self, port: u16, alpn: &[u8]) -> Running {
        let mut tls = rustls::ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], self.key.clone_key().into())
            .unwrap();
        tls.alpn_protocols = vec![alpn.to_vec()];
        let crypto = QuicServerConfig::try_from(tls).unwrap();
        let config = ServerConfig::with_crypto(Arc::new(crypto));
        let (tell_endpoint, endpoint) = std::sync::mpsc::sync_channel(1);
        let (crash, crashed) = oneshot::channel::<()>();
        let house = self.clone();
        // A runtime of its own: dropping it takes everything away at once, as a crash does, the port included.
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let endpoint = Endpoint::server(config, (Ipv4Addr::LOCALHOST, port).into()).unwrap();
                tell_endpoint.send(endpoint.clone()).unwrap();
                tokio::select! {
                    _ = crashed => {}
                    () = house.accept(&endpoint) => {}
                }
            });
        });
        let endpoint = endpoint.recv().unwrap();
        Running { address: endpoint.local_addr().unwrap(), endpoint: Some(endpoint), crash, thread }
    }

    async fn accept(&self, endpoint: &Endpoint) {
        while let Some(incoming) = endpoint.accept().await {
            let house = self.clone();
            tokio::spawn(async move { house.serve(incoming).await });
        }
    }

    async fn serve(&self, incoming: quinn::Incoming) {
        let Ok(connection) = incoming.await else { return };
        let Ok((mut send, mut recv)) = connection.accept_bi().await else { return };
        let mut peer = Peer::new(Instant::now());
        let mut news = self.news.subscribe();
        let mut pushed = None;
        loop {
            let outcome = tokio::select! {
                chunk = recv.read_chunk(usize::MAX, true) => match chunk {
                    Ok(Some(chunk)) => peer.handle_bytes(&mut self.ledger(), Instant::now(), chunk.bytes),
                    Ok(None) | Err(_) => return,
                },
                _ = news.changed() => Ok(()),
            };
            if let Some(ordered) = self.closing.lock().unwrap().take() {
                peer.server.close(&ordered, Duration::ZERO);
            }
            let mut output = Vec::new();
            if peer.server.is_live() {
                let ledger = self.ledger();
                let from = *pushed.get_or_insert_with(|| ledger.head());
                let theirs = (from + 1..=ledger.head()).filter(|position| !ledger.is_from(*position, "bob"));
                theirs.for_each(|position| peer.push(&ledger.push(position)));
                pushed = Some(ledger.head());
            }
            output.append(&mut peer.server.poll_output().take());
            if send.write_all_chunks(&mut output).await.is_err() {
                return;
            }
            if let Err(closing) = outcome {
                self.left.lock().unwrap().push(closing.code);
                return connection.close(closing.code.0.into(), b"");
            }
        }
    }

    /// Somebody else writes.
    fn incoming(&self, what: &str) {
        self.ledger().incoming(what);
        self.news.send_replace(());
    }

    fn order_close(&self, code: CloseCode, reason: &str) {
        *self.closing.lock().unwrap() = Some(Closing::new(code, reason));
        self.news.send_replace(());
    }
}

impl Running {
    /// Gone without a word; its port is free again afterwards.
    fn crash(mut self) {
        self.endpoint = None;
        let _ = self.crash.send(());
        self.thread.join().unwrap();
    }
}

fn config(address: SocketAddr) -> Config {
    Config::new(address, "localhost", 1, "bob", "sig")
}

async fn next_message(client: &Client) -> String {
    loop {
        match tokio::time::timeout(LONG, client.next_event()).await.expect("an event") {
            Some(Event::Message(message)) => return message.text(),
            Some(_) => {}
            None => panic!("the client stopped"),
        }
    }
}

#[tokio::test]
async fn two_way_traffic_and_a_good_bye() {
    let house = House::new();
    let server = house.start(0, b"np/1");
    let client = Client::connect(&house.network(), config(server.address));
    client.ready(LONG).await.unwrap();
    let sent = client.send(user("alice"), text("hi")).await.unwrap();
    assert_eq!((sent.seq, sent.duplicate), (1, false));
    house.incoming("hello bob");
    assert_eq!(next_message(&client).await, "hello bob");
    client.flush().await.unwrap();
    assert_eq!(house.ledger().acked, 2);
    let page = client.history(user("alice"), HistoryRange::Newest, 10).await.unwrap();
    let texts: Vec<String> = page.messages.iter().map(crate::event::Message::text).collect();
    assert_eq!(texts, ["hello bob", "hi"]);
    client.mark_read(user("alice"), 2).await.unwrap();
    let echo = client.request(Lane::Chat, Kind::ECHO, Bytes::from_static(b"ping")).await.unwrap();
    assert_eq!(echo, "ping");
    let refused = client.request(Lane::Control, Kind::HELLO, Bytes::new()).await;
    assert!(matches!(refused, Err(RequestError::NotARequest { .. })));
    tokio::time::timeout(LONG, client.close()).await.unwrap();
    assert_eq!(client.state(), State::Stopped);
    assert_eq!(*house.left.lock().unwrap(), [CloseCode::BYE]);
    while client.next_event().await.is_some() {}
    server.crash();
}

#[tokio::test]
async fn a_restart_of_the_server_costs_nothing_that_was_sent() {
    let house = House::new();
    let server = house.start(0, b"np/1");
    let address = server.address;
    let mut impatient = config(address);
    impatient.limits.answer_timeout = Duration::from_secs(1);
    let client = Client::connect(&house.network(), impatient);
    client.ready(LONG).await.unwrap();
    client.send(user("alice"), text("before")).await.unwrap();
    server.crash();
    // Sent into the void: the missing answer shows the loss, and the message waits for the next login.
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.send(user("alice"), text("during")).await }
    });
    house.ledger().incoming("missed");
    let server = house.start(address.port(), b"np/1");
    tokio::time::timeout(LONG, waiting).await.unwrap().unwrap().unwrap();
    assert_eq!(house.ledger().texts("bob"), ["before", "during"]);
    assert_eq!(next_message(&client).await, "missed");
    drop(client);
    server.crash();
}

#[tokio::test]
async fn refused_credentials_are_told_and_new_ones_taken() {
    let house = House::new();
    let server = house.start(0, b"np/1");
    let client = Client::connect(&house.network(), config(server.address));
    client.ready(LONG).await.unwrap();
    house.ledger().mute = true;
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.send(user("alice"), text("x")).await }
    });
    while client.unacknowledged() == 0 {
        tokio::task::yield_now().await;
    }
    house.order_close(CloseCode::UNAUTHORIZED, "70001 expired");
    let told = tokio::time::timeout(LONG, waiting).await.unwrap().unwrap();
    let stopped = SendError::Stopped { code: CloseCode::UNAUTHORIZED, reason: "70001 expired".into() };
    assert_eq!(told, Err(stopped));
    let ready = client.ready(LONG).await;
    assert!(matches!(ready, Err(ConnectError::Stopped { code: CloseCode::UNAUTHORIZED, .. })));
    house.ledger().mute = false;
    client.renew_usersig("fresh");
    client.ready(LONG).await.unwrap();
    assert_eq!(house.ledger().hellos.last().unwrap().usersig, "fresh");
    tokio::time::timeout(LONG, client.close()).await.unwrap();
    server.crash();
}

#[tokio::test]
async fn a_server_of_another_protocol_stops_it_and_an_unknown_authority_is_named() {
    let house = House::new();
    let server = house.start(0, b"np/9");
    let client = Client::connect(&house.network(), config(server.address));
    let ready = client.ready(LONG).await;
    assert!(matches!(ready, Err(ConnectError::Stopped { code: CloseCode::VERSION, .. })), "{ready:?}");
    server.crash();

    let server = house.start(0, b"np/1");
    let stranger = Client::connect(&House::new().network(), config(server.address));
    let reason = loop {
        match tokio::time::timeout(LONG, stranger.next_event()).await.unwrap() {
            Some(Event::Disconnected { reason, .. }) => break reason,
            other => assert!(other.is_some()),
        }
    };
    assert!(reason.contains("certificate"), "{reason}");
    drop(stranger);
    server.crash();
}

#[tokio::test]
async fn the_last_handle_says_good_bye() {
    let house = House::new();
    let server = house.start(0, b"np/1");
    let client = Client::connect(&house.network(), config(server.address));
    client.ready(LONG).await.unwrap();
    let other = client.clone();
    drop(client);
    other.send(user("alice"), text("still here")).await.unwrap();
    let shared = Arc::downgrade(other.shared());
    drop(other);
    let task_ends = async {
        while shared.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, task_ends).await.expect("the task ends");
    tokio::time::timeout(LONG, server.endpoint.as_ref().unwrap().wait_idle()).await.unwrap();
    assert_eq!(*house.left.lock().unwrap(), [CloseCode::BYE]);
    server.crash();
}

#[test]
fn a_ca_file_without_a_certificate_is_refused() {
    assert!(NetworkConfig::from_ca_pem(b"nothing here").is_err());
}
