//! A device's transport: `quinn-proto` as a client, without a socket, as repeatable as its seed.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use bytes::{Bytes, BytesMut};
use nearport_client::core::Path;
use nearport_session::{Closing, Outbox};
use nearport_wire::close::CloseCode;
use quinn_proto::{
    ClientConfig, Connection, ConnectionError, ConnectionHandle, ConnectionId, ConnectionIdGenerator,
    DatagramEvent, Dir, Endpoint, EndpointConfig, Event, IdleTimeout, StreamEvent, StreamId, TransportConfig,
    VarInt,
};

use crate::rng::Rng;
use crate::tls::{SERVER_NAME, Tls};

/// What the transport tells its device.
#[derive(Debug)]
pub(crate) enum Signal {
    /// The handshake is done and the session's stream is open.
    Connected,
    /// Bytes of the main stream.
    Bytes(Bytes),
    /// Bytes of the bulk lane's own stream.
    Bulk(Bytes),
    /// A datagram.
    Datagram(Bytes),
    /// The connection that carried the session is over.
    Lost(Closing),
}

/// The network side of one device: at most one connection that counts, and those that still say good-bye.
#[derive(Debug)]
pub(crate) struct Transport {
    endpoint: Endpoint,
    config: ClientConfig,
    server: SocketAddr,
    links: Vec<QuicLink>,
    signals: VecDeque<Signal>,
}

#[derive(Debug)]
struct QuicLink {
    handle: ConnectionHandle,
    quic: Connection,
    stream: Option<StreamId>,
    /// The bulk lane's own stream.
    bulk: Option<StreamId>,
    /// The device still uses it. The others only drain.
    current: bool,
}

impl Transport {
    pub(crate) fn new(tls: &Tls, server: SocketAddr, mut rng: Rng) -> Self {
        let reset_key = hmac::Key::new(hmac::HMAC_SHA256, &rng.bytes32());
        let mut endpoint = EndpointConfig::new(Arc::new(reset_key));
        let cids = SeededCids(rng.fork(1));
        endpoint.cid_generator(move || Box::new(cids.clone())).rng_seed(Some(rng.bytes32()));
        let mut config = ClientConfig::new(tls.client.clone());
        let first_cids = Mutex::new(SeededCids(rng.fork(2)));
        let first_cid = move || first_cids.lock().unwrap_or_else(PoisonError::into_inner).generate_cid();
        config.transport_config(Arc::new(transport())).initial_dst_cid_provider(Arc::new(first_cid));
        Self {
            endpoint: Endpoint::new(Arc::new(endpoint), None, false, None),
            config,
            server,
            links: Vec::new(),
            signals: VecDeque::new(),
        }
    }

    /// Starts a connection; [`Signal::Connected`] or [`Signal::Lost`] follows.
    pub(crate) fn connect(&mut self, now: Instant) {
        self.abandon(now, CloseCode::LOST);
        let (handle, quic) = self
            .endpoint
            .connect(now, self.config.clone(), self.server, SERVER_NAME)
            .expect("address, name and version are constants that fit");
        self.links.push(QuicLink { handle, quic, stream: None, bulk: None, current: true });
    }

    /// Closes the current connection, if there is one. No signal follows.
    pub(crate) fn abandon(&mut self, now: Instant, code: CloseCode) {
        self.signals.clear();
        for link in self.links.iter_mut().filter(|link| link.current) {
            link.current = false;
            link.quic.close(now, VarInt::from_u32(code.0), Bytes::new());
        }
    }

    /// What the current connection can do.
    pub(crate) fn path(&mut self) -> Path {
        let link = self.links.iter_mut().find(|link| link.current);
        let datagram_bytes_max = link.and_then(|link| link.quic.datagrams().max_size());
        Path { transport: nearport_client::Transport::Quic, bulk_stream: true, datagram_bytes_max }
    }

    /// Its round trip.
    pub(crate) fn rtt(&self) -> Duration {
        self.links.iter().find(|link| link.current).map_or(Duration::ZERO, |link| link.quic.rtt())
    }

    /// Writes what fits into the main stream.
    pub(crate) fn write(&mut self, outbox: &mut Outbox) {
        let Some(link) = self.links.iter_mut().find(|link| link.current) else { return };
        let Some(id) = link.stream else { return };
        link.write(id, outbox);
    }

    /// Writes what fits into the bulk lane's stream, which is opened with the first of it.
    pub(crate) fn write_bulk(&mut self, outbox: &mut Outbox) {
        let Some(link) = self.links.iter_mut().find(|link| link.current && link.stream.is_some()) else {
            return;
        };
        if link.bulk.is_none() && !outbox.is_empty() {
            link.bulk = link.quic.streams().open(Dir::Bi);
        }
        if let Some(id) = link.bulk {
            link.write(id, outbox);
        }
    }

    /// Sends a datagram, which may be lost here already.
    pub(crate) fn send_datagram(&mut self, datagram: Bytes) {
        if let Some(link) = self.links.iter_mut().find(|link| link.current) {
            let _ = link.quic.datagrams().send(datagram, true);
        }
    }

    pub(crate) fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) {
        // A client's endpoint answers nothing by itself except version negotiation, which nobody here causes.
        let mut response = Vec::new();
        let event =
            self.endpoint.handle(now, self.server, None, None, BytesMut::from(datagram), &mut response);
        if let Some(DatagramEvent::ConnectionEvent(handle, event)) = event
            && let Some(link) = self.links.iter_mut().find(|link| link.handle == handle)
        {
            link.quic.handle_event(event);
        }
    }

    /// Fires timers, exchanges events with the endpoint and turns connection events into signals.
    pub(crate) fn step(&mut self, now: Instant) {
        for link in &mut self.links {
            while link.quic.poll_timeout().is_some_and(|at| at <= now) {
                link.quic.handle_timeout(now);
            }
            link.exchange_events(&mut self.endpoint);
            link.read(&mut self.signals);
            link.exchange_events(&mut self.endpoint);
        }
        self.links.retain(|link| !link.quic.is_drained());
    }

    pub(crate) fn poll_signal(&mut self) -> Option<Signal> {
        self.signals.pop_front()
    }

    /// The next datagram to the server.
    pub(crate) fn poll_transmit(&mut self, now: Instant) -> Option<Vec<u8>> {
        let mut datagram = Vec::new();
        let transmit = self.links.iter_mut().find_map(|link| link.quic.poll_transmit(now, 1, &mut datagram));
        transmit.map(|_| datagram)
    }

    pub(crate) fn poll_timeout(&mut self) -> Option<Instant> {
        self.links.iter_mut().filter_map(|link| link.quic.poll_timeout()).min()
    }
}

impl QuicLink {
    fn write(&mut self, id: StreamId, outbox: &mut Outbox) {
        while !outbox.is_empty() {
            // Blocked by flow control or closed: the next call, or a signal, follows.
            let Ok(written) = self.quic.send_stream(id).write_chunks(outbox.chunks()) else { return };
            outbox.written(written.chunks, written.bytes);
        }
    }

    fn exchange_events(&mut self, endpoint: &mut Endpoint) {
        while let Some(event) = self.quic.poll_endpoint_events() {
            if let Some(event) = endpoint.handle_event(self.handle, event) {
                self.quic.handle_event(event);
            }
        }
    }

    fn read(&mut self, signals: &mut VecDeque<Signal>) {
        while let Some(event) = self.quic.poll() {
            if !self.current {
                continue;
            }
            match event {
                Event::Connected => {
                    self.stream = self.quic.streams().open(Dir::Bi);
                    signals.push_back(match self.stream {
                        Some(_) => Signal::Connected,
                        None => Signal::Lost(Closing::new(CloseCode::LOST, "the server permits no stream")),
                    });
                }
                Event::Stream(StreamEvent::Readable { id }) => self.read_stream(id, signals),
                Event::DatagramReceived => {
                    signals.extend(std::iter::from_fn(|| self.quic.datagrams().recv()).map(Signal::Datagram));
                }
                Event::ConnectionLost { reason } => {
                    // What came in front of the close is still there, and says more than the close.
                    if let Some(id) = self.stream {
                        self.read_stream(id, signals);
                    }
                    self.current = false;
                    signals.push_back(Signal::Lost(closing(&reason)));
                }
                _ => {}
            }
        }
    }

    fn read_stream(&mut self, id: StreamId, signals: &mut VecDeque<Signal>) {
        let mut stream = self.quic.recv_stream(id);
        let Ok(mut chunks) = stream.read(true) else { return };
        while let Ok(Some(chunk)) = chunks.next(usize::MAX) {
            signals.push_back(match Some(id) == self.bulk {
                true => Signal::Bulk(chunk.bytes),
                false => Signal::Bytes(chunk.bytes),
            });
        }
        // The window update that this may ask for leaves with the next transmit, which follows every step.
        let _ = chunks.finalize();
    }
}

fn closing(reason: &ConnectionError) -> Closing {
    match reason {
        ConnectionError::ApplicationClosed(close) => {
            let code = u32::try_from(close.error_code.into_inner()).unwrap_or(CloseCode::LOST.0);
            Closing::new(CloseCode(code), String::from_utf8_lossy(&close.reason))
        }
        other => Closing::new(CloseCode::LOST, other.to_string()),
    }
}

/// As the SDK sets its connections up, except for what only a kernel can do.
fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(256 * 1024))
        .datagram_receive_buffer_size(Some(32 * 1024))
        .mtu_discovery_config(None)
        .initial_rtt(Duration::from_millis(100))
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(90_000))))
        .enable_segmentation_offload(false);
    transport
}

/// Connection ids from the seed.
#[derive(Debug, Clone)]
struct SeededCids(Rng);

impl ConnectionIdGenerator for SeededCids {
    fn generate_cid(&mut self) -> ConnectionId {
        ConnectionId::new(&self.0.next_u64().to_be_bytes())
    }

    fn cid_len(&self) -> usize {
        8
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}
