//! The back end of an App that hears callbacks: a small HTTP server in the test's process that records what it hears, in order, and
//! answers as it is told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use crate::node::STUCK;

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub(crate) path: String,
    pub(crate) query: BTreeMap<String, String>,
    /// Names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) raw: Vec<u8>,
    pub(crate) body: Value,
}

impl Heard {
    /// Its command.
    pub(crate) fn command(&self) -> &str {
        self.body["CallbackCommand"].as_str().unwrap()
    }

    /// The text of its first element.
    pub(crate) fn text(&self) -> &str {
        self.body["MsgBody"][0]["MsgContent"]["Text"].as_str().unwrap_or_default()
    }
}

/// How a request is answered.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// 200 with this body.
    Json(String),
    /// This status with this header line and no body.
    Status(u16, &'static str),
    /// 200, but only after [`BackEnd::answer_late`].
    Late,
    /// Nothing, ever.
    Hang,
    /// 200 with 100 MB.
    Flood,
}

/// What is answered to what.
pub(crate) type Script = Arc<dyn Fn(&Heard) -> Answer + Send + Sync>;

/// Everything is fine.
pub(crate) fn fine() -> Answer {
    Answer::Json(r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":""}"#.into())
}

#[derive(Default)]
struct Books {
    heard: Mutex<Vec<Heard>>,
    /// Bytes that were written of a flood.
    flooded: Mutex<usize>,
    connections: Mutex<usize>,
    changed: Notify,
    late: Notify,
}

/// The server; it is down after [`BackEnd::stop`] until [`BackEnd::start`].
pub(crate) struct BackEnd {
    pub(crate) addr: SocketAddr,
    books: Arc<Books>,
    script: Script,
    tls: Option<TlsAcceptor>,
    running: Option<JoinSet<()>>,
}

impl BackEnd {
    /// A port is taken; nothing listens yet.
    pub(crate) async fn new(script: impl Fn(&Heard) -> Answer + Send + Sync + 'static) -> Self {
        let addr = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        Self { addr, books: Arc::default(), script: Arc::new(script), tls: None, running: None }
    }

    /// The same over TLS.
    pub(crate) fn with_tls(self, tls: ServerConfig) -> Self {
        Self { tls: Some(Arc::new(tls).into()), ..self }
    }

    pub(crate) async fn start(&mut self) {
        let listener = TcpListener::bind(self.addr).await.unwrap();
        let (books, script, tls) = (self.books.clone(), self.script.clone(), self.tls.clone());
        let mut running = JoinSet::new();
        running.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                *books.connections.lock().unwrap() += 1;
                let (books, script, tls) = (books.clone(), script.clone(), tls.clone());
                connections.spawn(async move {
                    match tls {
                        None => serve(stream, books, script).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, books, script).await;
                            }
                        }
                    }
                });
            }
        });
        self.running = Some(running);
    }

    /// As a process that is killed: every connection breaks.
    pub(crate) async fn stop(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.shutdown().await;
        }
    }

    pub(crate) fn heard(&self) -> MutexGuard<'_, Vec<Heard>> {
        self.books.heard.lock().unwrap()
    }

    /// Bytes that were taken of floods.
    pub(crate) fn flooded(&self) -> usize {
        *self.books.flooded.lock().unwrap()
    }

    /// Lets the answer out that waits for it, or the next one of its kind.
    pub(crate) fn answer_late(&self) {
        self.books.late.notify_one();
    }

    /// It is down for so long: nobody may get through to it.
    pub(crate) async fn stay_down(&self, how_long: Duration) {
        let count = self.heard().len();
        let heard = self.until("nothing", |heard| heard.len() > count);
        assert!(tokio::time::timeout(how_long, heard).await.is_err(), "somebody was heard");
    }

    /// Connections that have come.
    pub(crate) fn connections(&self) -> usize {
        *self.books.connections.lock().unwrap()
    }

    /// Waits until `enough` holds of what was heard. Fails when nothing more is heard.
    pub(crate) async fn until(&self, what: &str, mut enough: impl FnMut(&[Heard]) -> bool) {
        loop {
            let changed = self.books.changed.notified();
            if enough(&self.heard()) {
                return;
            }
            if tokio::time::timeout(2 * STUCK, changed).await.is_err() {
                let heard = self.heard();
                let last: Vec<_> = heard.iter().rev().take(5).collect();
                panic!("{what}: {} requests were heard, the last: {last:?}", heard.len());
            }
        }
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, books: Arc<Books>, script: Script) {
    let mut buffer = Vec::new();
    while let Some(heard) = read(&mut stream, &mut buffer).await {
        let answer = script(&heard);
        books.heard.lock().unwrap().push(heard);
        books.changed.notify_waiters();
        let written = match answer {
            Answer::Json(body) => {
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                stream.write_all(head.as_bytes()).await
            }
            Answer::Status(status, header) => {
                let head = format!("HTTP/1.1 {status} X\r\n{header}content-length: 0\r\n\r\n");
                stream.write_all(head.as_bytes()).await
            }
            Answer::Hang => std::future::pending().await,
            Answer::Late => {
                books.late.notified().await;
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n{\"ErrorCode\":1}").await
            }
            Answer::Flood => {
                let mut written =
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 104857600\r\n\r\n").await;
                let piece = vec![b' '; 64 * 1024];
                for _ in 0..1600 {
                    if written.is_err() {
                        break;
                    }
                    written = stream.write_all(&piece).await;
                    *books.flooded.lock().unwrap() += piece.len();
                }
                written
            }
        };
        if written.is_err() {
            return;
        }
    }
}

async fn read(stream: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> Option<Heard> {
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(buffer[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let request = lines.next().unwrap();
    let mut words = request.split(' ');
    assert_eq!(words.next(), Some("POST"), "{request}");
    let target = words.next().unwrap().to_owned();
    let headers: BTreeMap<String, String> = lines
        .map(|line| line.split_once(':').unwrap())
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .collect();
    let length: usize = headers["content-length"].parse().unwrap();
    while buffer.len() < end + 4 + length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    let raw = buffer[end + 4..end + 4 + length].to_vec();
    buffer.drain(..end + 4 + length);
    let (path, query) = target.split_once('?').unwrap();
    let query = query.split('&').map(|pair| pair.split_once('=').unwrap());
    Some(Heard {
        path: path.to_owned(),
        query: query.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        headers,
        body: serde_json::from_slice(&raw).unwrap(),
        raw,
    })
}
