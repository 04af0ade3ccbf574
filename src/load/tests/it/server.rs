//! A chat server of 200 lines in memory: the session protocol over quinn, a log per user, and bad conduct on request.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use nearport_session::{self as session, Action, Closing, ServerLimits};
use nearport_wire::body::{self, Delivery, Hello, LogEntry, Message, SyncPage, Welcome, target::Target};
use nearport_wire::close::CloseCode;
use nearport_wire::{ALPN, Frame, Kind, Lane, code};
use prost::Message as _;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Connection, Endpoint, Incoming, RecvStream, SendStream, VarInt};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// What the server does wrong. Counts are of stored messages.
#[derive(Debug, Clone, Default)]
pub(crate) struct Conduct {
    /// Acknowledges every n-th message and keeps it from its receiver.
    pub(crate) lose_every: Option<u64>,
    /// Stores every n-th message twice.
    pub(crate) repeat_every: Option<u64>,
    /// Stores every n-th message behind the next one of its conversation.
    pub(crate) swap_every: Option<u64>,
    /// Stores every n-th message and breaks all connections instead of answering.
    pub(crate) cut_every: Option<u64>,
    /// Messages of an earlier run in the log of everybody.
    pub(crate) old_messages: usize,
    pub(crate) refuse_sends: bool,
    pub(crate) refuse_logins: bool,
    /// Has an echo backend.
    pub(crate) echo: bool,
}

/// A running server; ends when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) ca_pem: Vec<u8>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts it on a port of its own, on a thread of its own.
    pub(crate) fn start(conduct: Conduct) -> Self {
        let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let ca_pem = certified.cert.pem().into_bytes();
        let config = server_config(&certified);
        let (stop, stopped) = oneshot::channel();
        let (address_out, address_in) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let endpoint = Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into()).unwrap();
                address_out.send(endpoint.local_addr().unwrap()).unwrap();
                serve(endpoint, conduct, stopped).await;
            });
        });
        let address = address_in.recv().unwrap();
        Self { address, ca_pem, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().unwrap().join();
        if !std::thread::panicking() {
            ended.unwrap();
        }
    }
}

fn server_config(certified: &rcgen::CertifiedKey<rcgen::KeyPair>) -> quinn::ServerConfig {
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let mut tls = rustls::ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    tls.alpn_protocols = vec![ALPN.to_vec()];
    quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()))
}

async fn serve(endpoint: Endpoint, conduct: Conduct, mut stopped: oneshot::Receiver<()>) {
    let ledger = Arc::new(Mutex::new(Ledger { conduct, ..Ledger::default() }));
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stopped => return,
            incoming = endpoint.accept() => {
                let incoming = incoming.unwrap();
                tasks.spawn(converse(incoming, Arc::clone(&ledger)));
            }
        }
    }
}

/// Everything the server knows.
#[derive(Debug, Default)]
struct Ledger {
    conduct: Conduct,
    users: HashMap<String, User>,
    stored: HashMap<Bytes, u64>,
    connections: Vec<Connection>,
}

#[derive(Debug, Default)]
struct User {
    log: Vec<Delivery>,
    /// A message that waits to be stored behind the next.
    held_back: Option<Delivery>,
    session: Option<mpsc::Sender<Bytes>>,
}

/// One connection, to its end.
async fn converse(incoming: Incoming, ledger: Arc<Mutex<Ledger>>) {
    let Ok(connection) = incoming.await else { return };
    let Ok((mut send, mut recv)) = connection.accept_bi().await else { return };
    let (pushes, mut pushes_in) = mpsc::channel(20_000);
    let limits = ServerLimits { push_bytes_max: usize::MAX, requests_per_s: 0, ..ServerLimits::default() };
    let mut session = session::Server::new(&limits, Instant::now());
    let mut user = String::new();
    // Pages have a stream of their own.
    let mut side: Option<(SendStream, RecvStream)> = None;
    loop {
        let side_bytes = async {
            match &mut side {
                Some((_, recv)) => recv.read_chunk(64 * 1024, true).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            chunk = recv.read_chunk(64 * 1024, true) => match chunk {
                Ok(Some(chunk)) => session.handle_bytes(chunk.bytes),
                _ => return,
            },
            Ok(Some(chunk)) = side_bytes => session.handle_side_bytes(0, chunk.bytes),
            Ok(streams) = connection.accept_bi() => {
                session.open_side(0, &limits, Instant::now());
                side = Some(streams);
            }
            Some(push) = pushes_in.recv() => {
                session.push(nearport_wire::Lane::Chat, &push, &limits);
            }
        }
        let closing = loop {
            match session.poll_action(&limits, Instant::now()) {
                Ok(None) => break None,
                Ok(Some(Action::Ack(_))) => {}
                Ok(Some(Action::Open(body))) => {
                    let hello = Hello::decode(body).unwrap();
                    user.clone_from(&hello.user);
                    match ledger.lock().unwrap().open(&hello, &pushes, &connection) {
                        Ok(welcome) => session.accept(&welcome.encode_to_vec()),
                        Err(closing) => break Some(closing),
                    }
                }
                Ok(Some(Action::Request(frame))) => {
                    let answer = ledger.lock().unwrap().answer(&user, &frame);
                    if let Some((kind, body)) = answer {
                        session.reply(frame.lane, kind, frame.id, &body);
                    }
                }
                Err(closing) => break Some(closing),
            }
        };
        if let Some(closing) = &closing {
            session.close(closing, Duration::ZERO);
        }
        if send.write_all_chunks(&mut session.poll_output().take()).await.is_err() {
            return;
        }
        if let (Some((send, _)), Some(output)) = (&mut side, session.poll_side_output(0))
            && send.write_all_chunks(&mut output.take()).await.is_err()
        {
            return;
        }
        if let Some(closing) = closing {
            connection.close(VarInt::from_u32(closing.code.0), closing.reason.as_bytes());
            return;
        }
    }
}

impl Ledger {
    fn open(
        &mut self,
        hello: &Hello,
        pushes: &mpsc::Sender<Bytes>,
        connection: &Connection,
    ) -> Result<Welcome, Closing> {
        if self.conduct.refuse_logins {
            return Err(Closing::new(CloseCode::UNAUTHORIZED, "70001: expired"));
        }
        assert_eq!(hello.usersig, format!("sig of {}", hello.user));
        self.connections.push(connection.clone());
        let old_messages = self.conduct.old_messages;
        let user = self.users.entry(hello.user.clone()).or_insert_with(|| User {
            log: vec![Delivery { seq: 1, ..Delivery::default() }; old_messages],
            ..User::default()
        });
        user.session = Some(pushes.clone());
        let head = user.log.len() as u64;
        let cursor = hello.cursor.unwrap_or(0).min(head);
        Ok(Welcome { head, cursor, heartbeat_ms: 25_000, ..Welcome::default() })
    }

    /// The reply, unless there is none because the connections are cut.
    fn answer(&mut self, user: &str, frame: &Frame) -> Option<(Kind, Vec<u8>)> {
        let body = frame.body.clone();
        match frame.kind {
            Kind::SEND if self.conduct.refuse_sends => Some(error(code::BAD_CONTENT)),
            Kind::SEND => {
                let (sent, cut) = self.store(user, body::Send::decode(body).unwrap());
                if cut {
                    for connection in self.connections.drain(..) {
                        connection.close(VarInt::from_u32(CloseCode::GOING_AWAY.0), b"cut");
                    }
                    return None;
                }
                Some((Kind::REPLY, sent.encode_to_vec()))
            }
            Kind::SYNC => {
                let sync = body::Sync::decode(body).unwrap();
                let log = &self.users[user].log;
                let entries = (sync.after + 1..).zip(&log[usize::try_from(sync.after).unwrap()..]);
                let entries: Vec<LogEntry> = entries
                    .take(sync.limit as usize)
                    .map(|(position, delivery)| LogEntry { position, delivery: Some(delivery.clone()) })
                    .collect();
                let complete = sync.after + entries.len() as u64 == log.len() as u64;
                Some((Kind::REPLY, SyncPage { entries, head: log.len() as u64, complete }.encode_to_vec()))
            }
            Kind::FLUSH => Some((Kind::REPLY, Vec::new())),
            Kind::ECHO if self.conduct.echo => Some((Kind::REPLY, body.to_vec())),
            _ => Some(error(code::UNKNOWN_REQUEST)),
        }
    }

    /// Stores a message once per id, in the sender's log and, by its conduct, in the receiver's. Returns the answer
    /// and whether to cut the connections instead.
    fn store(&mut self, from: &str, send: body::Send) -> (body::Sent, bool) {
        if let Some(seq) = self.stored.get(&send.client_msg_id) {
            return (body::Sent { seq: *seq, duplicate: true, ..body::Sent::default() }, false);
        }
        let seq = self.stored.len() as u64 + 1;
        let every = |n: Option<u64>| n.is_some_and(|n| seq.is_multiple_of(n));
        let conduct = self.conduct.clone();
        self.stored.insert(send.client_msg_id.clone(), seq);
        let Some(Target::User(to)) = send.to.clone().and_then(|to| to.target) else { panic!("to whom?") };
        let message = Message {
            from: from.into(),
            to: send.to,
            client_msg_id: send.client_msg_id,
            content: send.content,
            ..Message::default()
        };
        let delivery =
            Delivery { message: Some(message), seq, time_ms: 1_700_000_000_000, ..Delivery::default() };
        let position = self.users.entry(from.into()).or_default().append(delivery.clone());
        let receiver = self.users.entry(to).or_default();
        if every(conduct.swap_every) && receiver.held_back.is_none() {
            receiver.held_back = Some(delivery);
        } else if !every(conduct.lose_every) {
            receiver.append(delivery.clone());
            if every(conduct.repeat_every) {
                receiver.append(delivery);
            }
            if let Some(earlier) = receiver.held_back.take() {
                receiver.append(earlier);
            }
        }
        (body::Sent { seq, position, ..body::Sent::default() }, every(conduct.cut_every))
    }
}

impl User {
    fn append(&mut self, delivery: Delivery) -> u64 {
        let body = delivery.encode_to_vec();
        self.log.push(delivery);
        let position = self.log.len() as u64;
        if let Some(session) = &self.session {
            let frame = Frame::new(Lane::Chat, Kind::PUSH, position, body.into()).encode();
            // Full or gone: a push is a hint, the log has it.
            let _ = session.try_send(frame);
        }
        position
    }
}

fn error(code: u32) -> (Kind, Vec<u8>) {
    (Kind::ERROR, body::Error { code, info: "no".into(), retry_after_ms: 0 }.encode_to_vec())
}
