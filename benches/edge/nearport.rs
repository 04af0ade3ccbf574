//! Nearport's edge, with the echo backend as server N, and its frames as the load generator speaks them.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread;

use anyhow::{Context as _, Result, bail};
use bytes::{Bytes, BytesMut};
use nearport_edge::shard::Admission;
use nearport_edge::{Config, Edge, quic};
use nearport_session::ServerLimits;
use nearport_trunk::Backend;
use nearport_trunk::echo::Echo;
use nearport_wire::body::{self, Hello, Platform};
use nearport_wire::{Decoder, Frame, Kind, Lane, Limits, encode_into};
use prost::Message as _;
use rustls::pki_types::CertificateDer;
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use crate::codec::{Codec, Decode, PAYLOAD, Request, Unit};
use crate::process;
use crate::transport::{Identity, SHARDS, provider};

/// Server N; with `tcp` it takes sessions over TLS too, on the same port.
pub(crate) fn serve(tcp: bool) -> Result<()> {
    let (edge, certificate) = start_edge(&Echo::default(), tcp)?;
    process::announce(edge.local_addr(), &certificate)?;
    // The process ends when the bench closes our stdin.
    loop {
        thread::park();
    }
}

/// The edge as `nearport serve` runs it, with its own TLS, transport and limits; only the key exchange is the one that
/// all servers here use. Returns its certificate with it.
pub(crate) fn start_edge(backend: &dyn Backend, tcp: bool) -> Result<(Edge, CertificateDer<'static>)> {
    let identity = Identity::generate()?;
    let certificate = identity.certificate.clone();
    let key = CertifiedKey::from_der(vec![identity.certificate], identity.key, &provider())?;
    let tls = quic::tls_config(provider(), Arc::new(SingleCertAndKey::from(key)))?;
    let config = Config {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        tcp,
        proxy_protocol_from: Vec::new(),
        shards: usize::from(SHARDS),
        // Nobody else shares this cluster.
        keys: [0x6e; 32].into(),
        resume_ttl: std::time::Duration::from_hours(24),
        ack_delay: std::time::Duration::ZERO,
        node: 1,
        backend_away_max: nearport_edge::shard::BACKEND_AWAY_MAX,
        generation: 1,
        kernel_steering: true,
        // What is measured is how much a session can do.
        session: ServerLimits { requests_per_s: 0, ..ServerLimits::default() },
        admission: Admission::default(),
    };
    let edge = Edge::start(&config, tls, backend)?;
    if !edge.is_steered() {
        bail!("the kernel does not steer by connection id here: that would be another server than B");
    }
    Ok((edge, certificate))
}

/// Frames of the session protocol (`docs/protocol.md`), encoded and decoded by `nearport_wire`. The client is not the
/// SDK: what is measured is the server, so the client does as little as it can.
#[derive(Debug)]
pub(crate) struct Frames;

impl Codec for Frames {
    fn hello(&self, link: usize, out: &mut BytesMut) -> bool {
        let hello = Hello {
            app: 1,
            user: format!("user{link}"),
            device: "bench".to_owned(),
            platform: Platform::Linux.into(),
            client: "nearport-bench".to_owned(),
            ..Hello::default()
        };
        encode_into(Lane::Control, Kind::HELLO, 0, &hello.encode_to_vec(), out);
        true
    }

    fn request(&self, request: Request, id: u64, payload: &[u8; PAYLOAD], out: &mut BytesMut) {
        let (lane, kind) = match request {
            Request::Echo => (Lane::Chat, Kind::ECHO),
            Request::Broadcast => (Lane::Chat, Kind::BROADCAST),
            Request::Live => (Lane::Live, Kind::BROADCAST),
        };
        encode_into(lane, kind, id, payload, out);
    }

    fn decoder(&self) -> Box<dyn Decode> {
        Box::new(FrameDecoder(Decoder::new(Limits::client())))
    }
}

#[derive(Debug)]
struct FrameDecoder(Decoder);

impl Decode for FrameDecoder {
    fn feed(&mut self, chunk: Bytes) {
        self.0.feed(chunk);
    }

    fn next_unit(&mut self) -> Result<Option<Unit>> {
        self.0.next_frame()?.map(unit).transpose()
    }
}

/// What a frame means to the load.
///
/// # Errors
/// The server refused a request, left, or dropped pushes: then the figures would compare different work.
pub(crate) fn unit(frame: Frame) -> Result<Unit> {
    match frame.kind {
        Kind::WELCOME => Ok(Unit::Welcome),
        // The reply to a broadcast only says that it is under way.
        Kind::REPLY if frame.body.is_empty() => Ok(Unit::Other),
        Kind::REPLY | Kind::PUSH | Kind::LIVE => Ok(Unit::Payload(frame.body)),
        Kind::PING | Kind::PONG | Kind::RETURN_WINDOW => Ok(Unit::Other),
        Kind::ERROR => {
            let error = body::Error::decode(frame.body).context("unreadable error")?;
            bail!("request {} was refused: {} {}", frame.id, error.code, error.info)
        }
        Kind::CLOSE => {
            let close = body::Close::decode(frame.body).context("unreadable close")?;
            bail!("the server closes: {} {}", close.code, close.reason)
        }
        Kind::FOLDED => bail!("the server left {} live pushes out", frame.id),
        Kind::BEHIND => bail!("the server dropped pushes"),
        other => bail!("frame kind {:#04x} was not expected", other.0),
    }
}
