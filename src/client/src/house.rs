//! A server of a few lines for tests, over real sockets: every transport, the pure session machine, the model ledger.
//! Written apart from the edge, so that a misunderstanding between the two shows.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderValue;
use http::header::SEC_WEBSOCKET_PROTOCOL;
use nearport_session::{Closing, ServerLimits};
use nearport_wire::body::Endpoint;
use nearport_wire::close::CloseCode;
use quinn::ServerConfig;
use quinn::crypto::rustls::QuicServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_websockets::{Message, ServerBuilder, WebSocketStream};

use crate::core::model::{Ledger, Peer};
use crate::network::{Network, NetworkConfig};
use crate::transport::Transport;

/// Certificate and ledger: they survive a restart of the server.
#[derive(Clone)]
pub(crate) struct House {
    certificate: CertificateDer<'static>,
    key: Arc<PrivatePkcs8KeyDer<'static>>,
    ledger: Arc<Mutex<Ledger>>,
    /// Something was appended from outside, or a closing was ordered.
    news: watch::Sender<()>,
    closing: Arc<Mutex<Option<Closing>>>,
    away: Arc<Mutex<Option<Away>>>,
    /// Why clients left, as the server saw it, and over what they had come.
    pub(crate) left: Arc<Mutex<Vec<(Transport, CloseCode)>>>,
    /// Side streams that clients opened.
    pub(crate) sides: Arc<AtomicUsize>,
    /// Datagrams that came.
    pub(crate) datagrams: Arc<Mutex<Vec<Bytes>>>,
    /// The next datagram to send.
    in_datagram: Arc<Mutex<Option<Bytes>>>,
    /// TLS handshakes that resumed an earlier session.
    pub(crate) resumed: Arc<Mutex<usize>>,
}

/// A slot, and where to go.
type Away = (Duration, Vec<Endpoint>);

/// What listens.
#[derive(Clone, Copy)]
pub(crate) struct Doors {
    pub(crate) udp: bool,
    pub(crate) tcp: bool,
    pub(crate) alpn: &'static [u8],
}

pub(crate) const ALL: Doors = Doors { udp: true, tcp: true, alpn: b"np/1" };

pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) endpoint: Option<quinn::Endpoint>,
    crash: oneshot::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl House {
    pub(crate) fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        Self {
            certificate: made.cert.der().clone(),
            key: Arc::new(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der())),
            ledger: Arc::default(),
            news: watch::Sender::default(),
            closing: Arc::default(),
            away: Arc::default(),
            left: Arc::default(),
            sides: Arc::default(),
            datagrams: Arc::default(),
            in_datagram: Arc::default(),
            resumed: Arc::default(),
        }
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap()
    }

    pub(crate) fn network_config(&self) -> NetworkConfig {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        NetworkConfig::new(roots)
    }

    pub(crate) fn network(&self) -> Network {
        Network::new(self.network_config()).unwrap()
    }

    pub(crate) fn tls(&self, alpn: &[&[u8]]) -> rustls::ServerConfig {
        let mut tls = rustls::ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], self.key.clone_key().into())
            .unwrap();
        tls.alpn_protocols = alpn.iter().map(|alpn| alpn.to_vec()).collect();
        tls
    }

    pub(crate) fn start(&self, port: u16, doors: Doors) -> Running {
        // Clones share their session store, as edges share ticket keys.
        let mut tls = self.tls(&[doors.alpn]);
        let quic = QuicServerConfig::try_from(tls.clone()).unwrap();
        let quic = ServerConfig::with_crypto(Arc::new(quic));
        tls.alpn_protocols.push(b"http/1.1".to_vec());
        let tls = TlsAcceptor::from(Arc::new(tls));
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let (crash, crashed) = oneshot::channel::<()>();
        let house = self.clone();
        // A runtime of its own: dropping it takes everything away at once, as a crash does, the port included.
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let (udp, tcp) = bind(port).await;
                let address = udp.local_addr().unwrap();
                // Without UDP the socket stays, so that its port is taken and says nothing.
                let (runtime, config) = (Arc::new(quinn::TokioRuntime), quinn::EndpointConfig::default());
                let deaf = (!doors.udp).then(|| udp.try_clone().unwrap());
                let endpoint =
                    doors.udp.then(|| quinn::Endpoint::new(config, Some(quic), udp, runtime).unwrap());
                tell.send((address, endpoint.clone())).unwrap();
                let tcp = doors.tcp.then_some(tcp);
                tokio::select! {
                    _ = crashed => {}
                    () = house.accept_udp(endpoint) => {}
                    () = house.accept_tcp(tcp, tls) => {}
                }
                drop(deaf);
            });
        });
        let (address, endpoint) = told.recv().unwrap();
        Running { address, endpoint, crash, thread }
    }

    async fn accept_udp(&self, endpoint: Option<quinn::Endpoint>) {
        let Some(endpoint) = endpoint else { return std::future::pending().await };
        while let Some(incoming) = endpoint.accept().await {
            let house = self.clone();
            tokio::spawn(async move {
                let Ok(connection) = incoming.await else { return };
                let Ok((send, recv)) = connection.accept_bi().await else { return };
                house.serve(Io::Quic(Box::new(Quic { connection, send, recv, side: None }))).await;
            });
        }
    }

    async fn accept_tcp(&self, tcp: Option<TcpListener>, tls: TlsAcceptor) {
        let Some(tcp) = tcp else { return std::future::pending().await };
        while let Ok((stream, _)) = tcp.accept().await {
            let (house, tls) = (self.clone(), tls.clone());
            tokio::spawn(async move {
                let Ok(stream) = tls.accept(stream).await else { return };
                if stream.get_ref().1.handshake_kind() == Some(rustls::HandshakeKind::Resumed) {
                    *house.resumed.lock().unwrap() += 1;
                }
                if stream.get_ref().1.alpn_protocol() != Some(b"http/1.1") {
                    return house.serve(Io::Tls(Box::new(stream))).await;
                }
                let answer = ServerBuilder::new()
                    .add_header(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("np.1"))
                    .unwrap();
                let Ok((request, socket)) = answer.accept(stream).await else { return };
                assert_eq!(request.uri().path(), "/np");
                house.serve(Io::WebSocket(Box::new(socket))).await;
            });
        }
    }

    async fn serve(&self, mut io: Io) {
        let mut peer = Peer::new(Instant::now());
        let mut news = self.news.subscribe();
        let mut pushed = None;
        loop {
            let outcome = tokio::select! {
                input = io.read() => match input {
                    Some(Input::Main(chunk)) => peer.handle_bytes(&mut self.ledger(), Instant::now(), chunk),
                    Some(Input::Side(0, chunk)) if chunk.is_empty() => {
                        self.sides.fetch_add(1, Ordering::SeqCst);
                        peer.server.open_side(0, &ServerLimits::default(), Instant::now());
                        Ok(())
                    }
                    Some(Input::Side(number, chunk)) => {
                        peer.server.handle_side_bytes(number, chunk);
                        peer.act(&mut self.ledger(), Instant::now())
                    }
                    Some(Input::Datagram(datagram)) => {
                        self.datagrams.lock().unwrap().push(datagram.clone());
                        peer.handle_datagram(&mut self.ledger(), Instant::now(), datagram);
                        Ok(())
                    }
                    None => return,
                },
                _ = news.changed() => Ok(()),
            };
            if let Some(datagram) = self.in_datagram.lock().unwrap().take()
                && let Io::Quic(quic) = &io
            {
                quic.connection.send_datagram(datagram).unwrap();
            }
            if let Some(ordered) = self.closing.lock().unwrap().take() {
                peer.server.close(&ordered, Duration::ZERO);
            }
            if let Some((slot, targets)) = self.away.lock().unwrap().take() {
                peer.server.go_away(CloseCode::GOING_AWAY, slot, &targets);
            }
            if peer.server.is_live() {
                let ledger = self.ledger();
                let from = *pushed.get_or_insert_with(|| ledger.head());
                let theirs = (from + 1..=ledger.head()).filter(|position| !ledger.is_from(*position, "bob"));
                theirs.for_each(|position| peer.push(&ledger.push(position)));
                pushed = Some(ledger.head());
            }
            if io.write(peer.server.poll_output().take()).await.is_none() {
                return;
            }
            if let (Some(output), Io::Quic(quic)) = (peer.server.poll_side_output(0), &mut io)
                && quic.write_side(output.take()).await.is_none()
            {
                return;
            }
            if let Err(closing) = outcome {
                self.left.lock().unwrap().push((io.transport(), closing.code));
                return io.close(closing.code).await;
            }
        }
    }

    /// Somebody else writes.
    pub(crate) fn incoming(&self, what: &str) {
        self.ledger().incoming(what);
        self.news.send_replace(());
    }

    /// A datagram for whoever is connected over QUIC.
    pub(crate) fn send_datagram(&self, datagram: Bytes) {
        *self.in_datagram.lock().unwrap() = Some(datagram);
        self.news.send_replace(());
    }

    /// Asks whoever is connected to leave.
    pub(crate) fn order_away(&self, slot: Duration, targets: &[SocketAddr]) {
        let endpoint =
            |target: &SocketAddr| Endpoint { address: target.to_string(), server_name: String::new() };
        *self.away.lock().unwrap() = Some((slot, targets.iter().map(endpoint).collect()));
        self.news.send_replace(());
    }

    pub(crate) fn order_close(&self, code: CloseCode, reason: &str) {
        *self.closing.lock().unwrap() = Some(Closing::new(code, reason));
        self.news.send_replace(());
    }
}

/// The same port for UDP and TCP. A port that is free for one may be taken for the other.
async fn bind(port: u16) -> (std::net::UdpSocket, TcpListener) {
    loop {
        let udp = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        match TcpListener::bind(udp.local_addr().unwrap()).await {
            Ok(tcp) => return (udp, tcp),
            Err(error) => assert_eq!(port, 0, "{error}"),
        }
    }
}

impl Running {
    /// Gone without a word; its port is free again afterwards.
    pub(crate) fn crash(mut self) {
        self.endpoint = None;
        let _ = self.crash.send(());
        self.thread.join().unwrap();
    }
}

/// A QUIC connection with its main stream, and one side stream once the client has opened it.
struct Quic {
    connection: quinn::Connection,
    send: quinn::SendStream,
    recv: quinn::RecvStream,
    side: Option<(quinn::SendStream, quinn::RecvStream)>,
}

/// What came.
enum Input {
    Main(Bytes),
    /// Of a side stream; without bytes when it was opened.
    Side(u8, Bytes),
    Datagram(Bytes),
}

impl Quic {
    /// Cancel-safe.
    async fn read(&mut self) -> Option<Input> {
        let chunk = |chunk: Option<quinn::Chunk>| chunk.map(|chunk| chunk.bytes);
        let side = async {
            match &mut self.side {
                Some((_, recv)) => Ok(recv
                    .read_chunk(usize::MAX, true)
                    .await
                    .ok()
                    .and_then(chunk)
                    .map(|c| Input::Side(0, c))),
                None => Err(self.connection.accept_bi().await),
            }
        };
        tokio::select! {
            main = self.recv.read_chunk(usize::MAX, true) => main.ok().and_then(chunk).map(Input::Main),
            datagram = self.connection.read_datagram() => datagram.ok().map(Input::Datagram),
            side = side => match side {
                Ok(input) => input,
                Err(opened) => {
                    self.side = Some(opened.ok()?);
                    Some(Input::Side(0, Bytes::new()))
                }
            },
        }
    }

    async fn write_side(&mut self, mut output: Vec<Bytes>) -> Option<()> {
        self.side.as_mut()?.0.write_all_chunks(&mut output).await.ok()
    }
}

/// The server's end of a connection.
enum Io {
    Quic(Box<Quic>),
    Tls(Box<TlsStream<TcpStream>>),
    WebSocket(Box<WebSocketStream<TlsStream<TcpStream>>>),
}

impl Io {
    fn transport(&self) -> Transport {
        match self {
            Self::Quic(_) => Transport::Quic,
            Self::Tls(_) => Transport::Tls,
            Self::WebSocket(_) => Transport::WebSocket,
        }
    }

    /// Cancel-safe.
    async fn read(&mut self) -> Option<Input> {
        match self {
            Self::Quic(quic) => quic.read().await,
            Self::Tls(stream) => {
                let mut chunk = bytes::BytesMut::with_capacity(4096);
                let count = stream.read_buf(&mut chunk).await.ok()?;
                (count > 0).then(|| Input::Main(chunk.freeze()))
            }
            Self::WebSocket(socket) => loop {
                let message = next(socket).await?.ok()?;
                if message.is_binary() {
                    return Some(Input::Main(message.into_payload().into()));
                }
            },
        }
    }

    async fn write(&mut self, mut output: Vec<Bytes>) -> Option<()> {
        match self {
            Self::Quic(quic) => quic.send.write_all_chunks(&mut output).await.ok(),
            Self::Tls(stream) => {
                stream.write_all(&output.concat()).await.ok()?;
                stream.flush().await.ok()
            }
            Self::WebSocket(socket) => {
                // A message per chunk, and one without content: a client must not mind where they are cut.
                for chunk in output {
                    start_send(socket, Message::binary(chunk)).await?;
                    start_send(socket, Message::binary(Bytes::new())).await?;
                }
                std::future::poll_fn(|cx| {
                    futures_sink::Sink::poll_flush(std::pin::Pin::new(&mut **socket), cx)
                })
                .await
                .ok()
            }
        }
    }

    async fn close(mut self, code: CloseCode) {
        match &mut self {
            Self::Quic(quic) => quic.connection.close(code.0.into(), b""),
            Self::Tls(stream) => drop(stream.shutdown().await),
            Self::WebSocket(socket) => {
                let closing = std::future::poll_fn(|cx| {
                    futures_sink::Sink::<Message>::poll_close(std::pin::Pin::new(&mut **socket), cx)
                });
                drop(closing.await);
            }
        }
    }
}

type Socket = WebSocketStream<TlsStream<TcpStream>>;

async fn next(socket: &mut Socket) -> Option<Result<Message, tokio_websockets::Error>> {
    std::future::poll_fn(|cx| futures_core::Stream::poll_next(std::pin::Pin::new(&mut *socket), cx)).await
}

async fn start_send(socket: &mut Socket, message: Message) -> Option<()> {
    use futures_sink::Sink as _;
    std::future::poll_fn(|cx| std::pin::Pin::new(&mut *socket).poll_ready(cx)).await.ok()?;
    std::pin::Pin::new(socket).start_send(message).ok()
}
