//! A client that can do wrong: frames by hand on high-level quinn, without the SDK's manners.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use nearport_edge::shard::Admission;
use nearport_edge::{Config, Edge, quic};
use nearport_session::ServerLimits;
use nearport_trunk::Backend;
use nearport_wire::body::{Close, Hello, Welcome};
use nearport_wire::close::CloseCode;
use nearport_wire::{Decoder, Frame, Kind, Lane, Limits};
use prost::Message as _;
use quinn::crypto::rustls::QuicClientConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// A client's TLS that trusts one root.
pub(crate) fn client_tls(root: CertificateDer<'static>) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(root).unwrap();
    rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// An edge on a port of its own, in this process.
pub(crate) struct Server {
    pub(crate) edge: Edge,
    config: Config,
    tls: rustls::ServerConfig,
    certificate: CertificateDer<'static>,
}

impl Server {
    pub(crate) fn start(shards: usize, session: ServerLimits, backend: &dyn Backend) -> Self {
        Self::start_with(shards, session, backend, true)
    }

    /// As [`Self::start`], with or without the kernel's steering.
    pub(crate) fn start_with(
        shards: usize,
        session: ServerLimits,
        backend: &dyn Backend,
        kernel_steering: bool,
    ) -> Self {
        Self::start_config(backend, |config| Config { shards, session, kernel_steering, ..config })
    }

    /// With one shard and what `change` makes of the defaults.
    pub(crate) fn start_config(backend: &dyn Backend, change: impl FnOnce(Config) -> Config) -> Self {
        let certified = rcgen::generate_simple_self_signed(["edge".to_owned()]).unwrap();
        Self::start_certified(backend, &certified.cert, &certified.signing_key, change)
    }

    /// As [`Self::start_config`], with a certificate.
    pub(crate) fn start_certified(
        backend: &dyn Backend,
        certificate: &rcgen::Certificate,
        key: &rcgen::KeyPair,
        change: impl FnOnce(Config) -> Config,
    ) -> Self {
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let certificate = certificate.der().clone();
        let key = CertifiedKey::from_der(vec![certificate.clone()], key, &provider()).unwrap();
        let tls = quic::tls_config(provider(), Arc::new(SingleCertAndKey::from(key))).unwrap();
        let config = Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            tcp: true,
            proxy_protocol_from: Vec::new(),
            shards: 1,
            keys: [5; 32].into(),
            resume_ttl: std::time::Duration::from_hours(24),
            ack_delay: std::time::Duration::ZERO,
            node: 1,
            backend_away_max: nearport_edge::shard::BACKEND_AWAY_MAX,
            generation: 1,
            kernel_steering: true,
            session: ServerLimits::default(),
            admission: Admission::default(),
        };
        let config = change(config);
        let edge = Edge::start(&config, tls.clone(), backend).unwrap();
        Self { edge, config, tls, certificate }
    }

    /// A process of the next generation on the sockets of this one, which it does not read yet.
    pub(crate) fn successor(&self, backend: &dyn Backend) -> Self {
        let config = Config { generation: self.config.generation + 1, ..self.config.clone() };
        let inherited = self.edge.handles().unwrap();
        let edge = Edge::start_on(&config, inherited, self.tls.clone(), backend).unwrap();
        Self { edge, config, tls: self.tls.clone(), certificate: self.certificate.clone() }
    }

    /// What a client needs to trust this server and to speak `alpn`.
    pub(crate) fn client_tls(&self, alpn: &[u8]) -> rustls::ClientConfig {
        let mut tls = client_tls(self.certificate.clone());
        tls.alpn_protocols = vec![alpn.to_vec()];
        tls
    }

    /// A client socket that trusts this server.
    pub(crate) fn client(&self) -> quinn::Endpoint {
        endpoint(self.client_tls(nearport_wire::ALPN))
    }

    pub(crate) async fn connect(&self, endpoint: &quinn::Endpoint) -> Raw {
        Raw::connect(endpoint, self.edge.local_addr(), "edge").await.unwrap()
    }

    /// Connected and logged in.
    pub(crate) async fn login(&self, endpoint: &quinn::Endpoint, user: &str) -> Raw {
        let mut raw = self.connect(endpoint).await;
        raw.hello(user).await;
        raw
    }
}

/// A client socket for QUIC.
pub(crate) fn endpoint(tls: rustls::ClientConfig) -> quinn::Endpoint {
    let mut endpoint = quinn::Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    // This client looks at its stream only.
    let mut transport = quinn::TransportConfig::default();
    transport.datagram_receive_buffer_size(None);
    config.transport_config(Arc::new(transport));
    endpoint.set_default_client_config(config);
    endpoint
}

/// One connection with its stream.
pub(crate) struct Raw {
    pub(crate) connection: quinn::Connection,
    send: quinn::SendStream,
    recv: quinn::RecvStream,
    decoder: Decoder,
}

impl Raw {
    /// Opens the main stream.
    pub(crate) async fn over(connection: quinn::Connection) -> Self {
        let (send, recv) = connection.open_bi().await.unwrap();
        Self { connection, send, recv, decoder: Decoder::new(Limits::client()) }
    }

    /// Logs in where every login is accepted.
    pub(crate) async fn hello(&mut self, user: &str) {
        let hello = Hello { app: 1, user: user.into(), device: "raw".into(), ..Hello::default() };
        self.send(Frame::new(Lane::Control, Kind::HELLO, 0, hello.encode_to_vec().into())).await;
        assert_eq!(self.next().await.unwrap().kind, Kind::WELCOME);
    }

    /// With a stream, before the hello.
    pub(crate) async fn connect(
        endpoint: &quinn::Endpoint,
        address: SocketAddr,
        name: &str,
    ) -> Result<Self, quinn::ConnectionError> {
        Ok(Self::over(endpoint.connect(address, name).unwrap().await?).await)
    }

    /// Says hello: the welcome, or the code and the reason of the close.
    pub(crate) async fn say_hello(&mut self, hello: &Hello) -> Result<Welcome, (CloseCode, String)> {
        self.send(Frame::new(Lane::Control, Kind::HELLO, 0, hello.encode_to_vec().into())).await;
        match self.next().await {
            Ok(frame) if frame.kind == Kind::WELCOME => Ok(Welcome::decode(frame.body).unwrap()),
            Ok(frame) => {
                let close = Close::decode(frame.body).unwrap();
                Err((CloseCode(close.code), close.reason))
            }
            Err(code) => match self.connection.closed().await {
                quinn::ConnectionError::ApplicationClosed(close) => {
                    Err((code, String::from_utf8(close.reason.to_vec()).unwrap()))
                }
                other => panic!("{other}"),
            },
        }
    }

    pub(crate) async fn send(&mut self, frame: Frame) {
        self.send_bytes(&frame.encode()).await;
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.send.write_all(bytes).await.unwrap();
    }

    /// The next frame, or the close code of the connection.
    pub(crate) async fn next(&mut self) -> Result<Frame, CloseCode> {
        loop {
            if let Some(frame) = self.decoder.next_frame().unwrap() {
                return Ok(frame);
            }
            tokio::select! {
                chunk = self.recv.read_chunk(usize::MAX, true) => match chunk {
                    Ok(Some(chunk)) => self.decoder.feed(chunk.bytes),
                    _ => return Err(self.close_code().await),
                },
                // What is not stored comes as a datagram of whole frames.
                Ok(datagram) = self.connection.read_datagram() => {
                    let mut decoder = Decoder::new(Limits::client());
                    decoder.feed(datagram);
                    return Ok(decoder.next_frame().unwrap().unwrap());
                }
            }
        }
    }

    pub(crate) async fn close_code(&self) -> CloseCode {
        match self.connection.closed().await {
            quinn::ConnectionError::ApplicationClosed(close) => {
                CloseCode(u32::try_from(close.error_code.into_inner()).unwrap())
            }
            other => panic!("{other}"),
        }
    }

    /// Sends an ECHO and sees it come back.
    pub(crate) async fn echo(&mut self, id: u64) {
        let body = Bytes::from(format!("echo {id}"));
        self.send(Frame::new(Lane::Chat, Kind::ECHO, id, body.clone())).await;
        assert_eq!(self.next().await, Ok(Frame::new(Lane::Chat, Kind::REPLY, id, body)));
    }
}
