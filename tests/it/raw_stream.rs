//! As [`crate::raw`], over byte streams: tokio-rustls and tokio-websockets, two other implementations of what the edge does
//! by itself.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_core::Stream as _;
use futures_sink::Sink as _;
use http::{HeaderName, HeaderValue};
use nearport_wire::body::{Close, Hello};
use nearport_wire::close::CloseCode;
use nearport_wire::{Decoder, Frame, Kind, Lane, Limits};
use prost::Message as _;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, HandshakeKind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_websockets::{ClientBuilder, Message, WebSocketStream};

use crate::node::Node;
use crate::raw::{Server, client_tls};

/// What carries the frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carrier {
    Tls,
    WebSocket,
}

pub(crate) const CARRIERS: [Carrier; 2] = [Carrier::Tls, Carrier::WebSocket];

enum Wire {
    Tls(Box<TlsStream<TcpStream>>),
    WebSocket(Box<WebSocketStream<TlsStream<TcpStream>>>),
}

/// One connection.
pub(crate) struct RawStream {
    wire: Wire,
    decoder: Decoder,
    /// The WebSocket's close, once it came.
    pub(crate) web_close: Option<(u16, String)>,
}

/// A server's TCP port.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    address: SocketAddr,
    name: &'static str,
    tls: ClientConfig,
}

impl Server {
    pub(crate) fn door(&self) -> Door {
        Door { address: self.edge.local_addr(), name: "edge", tls: self.client_tls(b"") }
    }
}

impl Door {
    /// That of a running program with its development certificate.
    pub(crate) fn of(node: &Node, dir: &Path) -> Self {
        let client: toml::Table =
            std::fs::read_to_string(dir.join("data/client.toml")).unwrap().parse().unwrap();
        let pem = dir.join(client["ca"].as_str().unwrap());
        let ca = CertificateDer::from_pem_file(pem).unwrap();
        Self { address: node.edge, name: "localhost", tls: client_tls(ca) }
    }

    /// The port of another server, for a client that keeps its tickets and trusts whom it trusted.
    pub(crate) fn at(&self, address: SocketAddr) -> Self {
        Self { address, ..self.clone() }
    }

    /// For a client of the same name over QUIC.
    pub(crate) fn quic_tls(&self) -> ClientConfig {
        let mut tls = self.tls.clone();
        tls.alpn_protocols = vec![nearport_wire::ALPN.to_vec()];
        tls
    }

    /// A TLS connection with one protocol name, or with none if it is empty.
    pub(crate) async fn tls(&self, alpn: &[u8]) -> TlsStream<TcpStream> {
        self.tls_on(self.tcp().await, alpn).await.unwrap()
    }

    pub(crate) async fn tcp(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    pub(crate) async fn tls_on(&self, tcp: TcpStream, alpn: &[u8]) -> std::io::Result<TlsStream<TcpStream>> {
        let mut tls = self.tls.clone();
        tls.alpn_protocols = if alpn.is_empty() { Vec::new() } else { vec![alpn.to_vec()] };
        TlsConnector::from(Arc::new(tls)).connect(self.name.try_into().unwrap(), tcp).await
    }

    /// Open, before the hello.
    pub(crate) async fn open(&self, carrier: Carrier) -> RawStream {
        let wire = match carrier {
            Carrier::Tls => Wire::Tls(Box::new(self.tls(b"np/1").await)),
            Carrier::WebSocket => {
                let tls = self.tls(b"http/1.1").await;
                let name = HeaderName::from_static("sec-websocket-protocol");
                let builder = ClientBuilder::new().uri("wss://edge/np").unwrap();
                let builder = builder.add_header(name, HeaderValue::from_static("np.1")).unwrap();
                let (socket, response) = builder.connect_on(tls).await.unwrap();
                assert_eq!(response.headers()["sec-websocket-protocol"], "np.1");
                Wire::WebSocket(Box::new(socket))
            }
        };
        RawStream::new(wire)
    }

    /// Open and logged in.
    pub(crate) async fn login(&self, carrier: Carrier, user: &str) -> RawStream {
        let mut raw = self.open(carrier).await;
        raw.hello(user).await;
        raw
    }
}

impl RawStream {
    fn new(wire: Wire) -> Self {
        Self { wire, decoder: Decoder::new(Limits::client()), web_close: None }
    }

    /// Frames directly on TLS.
    pub(crate) fn on_tls(tls: TlsStream<TcpStream>) -> Self {
        Self::new(Wire::Tls(Box::new(tls)))
    }

    pub(crate) async fn hello(&mut self, user: &str) {
        let hello = Hello { app: 1, user: user.into(), device: "raw".into(), ..Hello::default() };
        self.send(Frame::new(Lane::Control, Kind::HELLO, 0, hello.encode_to_vec().into())).await;
        assert_eq!(self.next().await.unwrap().kind, Kind::WELCOME);
    }

    /// Whether the handshake was a full one.
    pub(crate) fn handshake_kind(&self) -> Option<HandshakeKind> {
        let tls = match &self.wire {
            Wire::Tls(tls) => tls,
            Wire::WebSocket(socket) => socket.get_ref(),
        };
        tls.get_ref().1.handshake_kind()
    }

    pub(crate) async fn send(&mut self, frame: Frame) {
        self.send_bytes(&frame.encode()).await;
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        match &mut self.wire {
            Wire::Tls(tls) => {
                tls.write_all(bytes).await.unwrap();
                tls.flush().await.unwrap();
            }
            Wire::WebSocket(_) => self.send_message(Message::binary(bytes.to_vec())).await,
        }
    }

    /// A WebSocket message.
    pub(crate) async fn send_message(&mut self, message: Message) {
        let Wire::WebSocket(socket) = &mut self.wire else { panic!("no WebSocket") };
        poll_fn(|cx| Pin::new(&mut *socket).poll_ready(cx)).await.unwrap();
        Pin::new(&mut *socket).start_send(message).unwrap();
        poll_fn(|cx| Pin::new(&mut *socket).poll_flush(cx)).await.unwrap();
    }

    /// The next WebSocket message; `None` at the end.
    pub(crate) async fn next_message(&mut self) -> Option<Message> {
        let Wire::WebSocket(socket) = &mut self.wire else { panic!("no WebSocket") };
        poll_fn(|cx| Pin::new(&mut *socket).poll_next(cx)).await.and_then(Result::ok)
    }

    /// The next frame; `None` at the end of the connection.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.decoder.next_frame().unwrap() {
                return Some(frame);
            }
            let bytes = match &mut self.wire {
                Wire::Tls(tls) => {
                    let mut buffer = vec![0; 16 * 1024];
                    // An end without close_notify is an error here, which no server may cause.
                    let count = tls.read(&mut buffer).await.unwrap();
                    buffer.truncate(count);
                    Bytes::from(buffer)
                }
                Wire::WebSocket(_) => {
                    let message = self.next_message().await?;
                    if let Some((code, reason)) = message.as_close() {
                        self.web_close = Some((code.into(), reason.to_owned()));
                        continue;
                    }
                    if message.is_pong() {
                        continue;
                    }
                    assert!(message.is_binary(), "{message:?}");
                    Bytes::copy_from_slice(message.as_payload())
                }
            };
            if bytes.is_empty() {
                return None;
            }
            self.decoder.feed(bytes);
        }
    }

    /// Reads to the end. Gives the code of the CLOSE frame, which must be the last one.
    pub(crate) async fn close_code(&mut self) -> CloseCode {
        let mut last = None;
        while let Some(frame) = self.next().await {
            last = Some(frame);
        }
        let last = last.expect("a CLOSE frame");
        assert_eq!(last.kind, Kind::CLOSE);
        CloseCode(Close::decode(last.body).unwrap().code)
    }

    /// Sends an ECHO and sees it come back.
    pub(crate) async fn echo(&mut self, id: u64) {
        let body = Bytes::from(format!("echo {id}"));
        self.send(Frame::new(Lane::Chat, Kind::ECHO, id, body.clone())).await;
        assert_eq!(self.next().await, Some(Frame::new(Lane::Chat, Kind::REPLY, id, body)));
    }

    /// The socket below, to do wrong with.
    pub(crate) fn socket(&mut self) -> &mut TlsStream<TcpStream> {
        match &mut self.wire {
            Wire::Tls(tls) => tls,
            Wire::WebSocket(socket) => socket.get_mut(),
        }
    }
}
