//! Datagrams by hand, and a client that writes its first ones and then does what a test wants.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Instant;

use quinn_proto::crypto::rustls::QuicClientConfig;
use quinn_proto::{
    ClientConfig, Connection, ConnectionHandle, DatagramEvent, Endpoint, EndpointConfig, Event,
};
use rustls::crypto::aws_lc_rs::{self, kx_group};

/// A socket at another address of this host, in another network, so that each looks like another client.
pub(crate) fn socket_at(third: u8) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, third, 1), 0)).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

/// All datagrams that have come.
pub(crate) fn received(socket: &UdpSocket) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut buffer = [0; 2048];
    loop {
        match socket.recv(&mut buffer) {
            Ok(count) => all.push(buffer[..count].to_vec()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return all,
            Err(error) => panic!("{error}"),
        }
    }
}

/// The head of a long packet: ids, no token, a length of 1,152 bytes.
pub(crate) fn long_header(first: u8, version: u32, destination: &[u8], source: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    packet.extend(version.to_be_bytes());
    for id in [destination, source] {
        packet.push(u8::try_from(id.len()).unwrap());
        packet.extend(id);
    }
    packet.extend([0, 0x44, 0x80]);
    packet
}

/// The second bit may be anything: clients say that they do not mind (RFC 9287).
pub(crate) fn is_retry(datagram: &[u8]) -> bool {
    datagram[0] & 0xb0 == 0xb0 && datagram[1..5] == [0, 0, 0, 1]
}

/// The beginning of a client's handshake. It trusts nobody, so it never ends well.
pub(crate) struct Beginning {
    /// The datagrams of its hello: the first, and those that follow if it needs more.
    pub(crate) first: Vec<u8>,
    pub(crate) more: Vec<Vec<u8>>,
    endpoint: Endpoint,
    handle: ConnectionHandle,
    connection: Connection,
    server: SocketAddr,
}

impl Beginning {
    /// With a hello that fits one datagram.
    pub(crate) fn new(server: SocketAddr) -> Self {
        Self::with(server, vec![kx_group::X25519])
    }

    /// As clients of today begin: with a post-quantum share, in two datagrams.
    pub(crate) fn large(server: SocketAddr) -> Self {
        Self::with(server, vec![kx_group::X25519MLKEM768])
    }

    fn with(server: SocketAddr, kx_groups: Vec<&'static dyn rustls::crypto::SupportedKxGroup>) -> Self {
        let provider = rustls::crypto::CryptoProvider { kx_groups, ..aws_lc_rs::default_provider() };
        let mut tls = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        tls.alpn_protocols = vec![nearport_wire::ALPN.to_vec()];
        let config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
        let mut endpoint = Endpoint::new(Arc::new(EndpointConfig::default()), None, false, None);
        let (handle, connection) = endpoint.connect(Instant::now(), config, server, "localhost").unwrap();
        let mut begun = Self { first: Vec::new(), more: Vec::new(), endpoint, handle, connection, server };
        let mut datagrams = begun.datagrams().into_iter();
        begun.first = datagrams.next().unwrap();
        begun.more = datagrams.collect();
        begun
    }

    /// What it has to say now.
    pub(crate) fn datagrams(&mut self) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        loop {
            let mut buffer = Vec::new();
            if self.connection.poll_transmit(Instant::now(), 1, &mut buffer).is_none() {
                return all;
            }
            all.push(buffer);
        }
    }

    /// Gives it a datagram of the server.
    pub(crate) fn receive(&mut self, datagram: &[u8]) {
        let (now, from) = (Instant::now(), self.server);
        let event = self.endpoint.handle(now, from, None, None, datagram.into(), &mut Vec::new());
        if let Some(DatagramEvent::ConnectionEvent(handle, event)) = event {
            assert_eq!(handle, self.handle);
            self.connection.handle_event(event);
        }
    }

    /// Why it ended, if it has.
    pub(crate) fn lost(&mut self) -> Option<quinn_proto::ConnectionError> {
        while let Some(event) = self.connection.poll() {
            if let Event::ConnectionLost { reason } = event {
                return Some(reason);
            }
        }
        None
    }
}

/// Numbers that look random and are the same in every run.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..count.div_ceil(8)).flat_map(|_| self.next().to_be_bytes()).collect();
        bytes.truncate(count);
        bytes
    }
}
