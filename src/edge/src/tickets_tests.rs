//! Two ends of rustls in memory: who resumes with what.

use std::sync::Mutex;

use super::*;
use crate::keys::{KeyRing, Secret};
use crate::quic::tls_config;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, ServerConfig, ServerConnection};

#[derive(Debug)]
struct Clock(Mutex<u64>);

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(*self.0.lock().unwrap())))
    }
}

fn ring(epoch: u32) -> KeyRing {
    let secret = |epoch: u32| Secret { epoch, bytes: [u8::try_from(epoch).unwrap(); 32] };
    let previous = epoch.checked_sub(1).map(secret);
    KeyRing::new(&secret(epoch), previous.as_ref()).unwrap()
}

/// A certificate that several servers share, and a client that trusts it and keeps tickets.
struct World {
    server: ServerConfig,
    client: Arc<ClientConfig>,
}

impl World {
    fn new() -> Self {
        let provider = Arc::new(default_provider());
        let certified = rcgen::generate_simple_self_signed(["edge".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
        let chain = vec![certified.cert.der().clone()];
        let key = CertifiedKey::from_der(chain.clone(), key, &provider).unwrap();
        let server = tls_config(provider.clone(), Arc::new(SingleCertAndKey::from(key))).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(chain[0].clone()).unwrap();
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.alpn_protocols = vec![nearport_wire::ALPN.to_vec()];
        Self { server, client: Arc::new(client) }
    }

    /// Another server of the cluster, or the same one after a restart: it has nothing but the secret.
    fn server(&self, ring: KeyRing) -> (Arc<ServerConfig>, Keys) {
        let (mut tls, keys) = (self.server.clone(), Keys::new(ring));
        install(&mut tls, &keys);
        (Arc::new(tls), keys)
    }

    /// How a handshake with `server` goes. The client has its ticket, if there is one, when it returns.
    fn connect(&self, server: &Arc<ServerConfig>) -> HandshakeKind {
        let name = ServerName::try_from("edge").unwrap();
        let mut client = ClientConnection::new(self.client.clone(), name).unwrap();
        let mut server = ServerConnection::new(server.clone()).unwrap();
        while client.wants_write() || server.wants_write() {
            let mut wire = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut wire).unwrap();
            }
            let mut rest = &wire[..];
            while !rest.is_empty() {
                server.read_tls(&mut rest).unwrap();
                server.process_new_packets().unwrap();
            }
            let mut wire = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut wire).unwrap();
            }
            let mut rest = &wire[..];
            while !rest.is_empty() {
                client.read_tls(&mut rest).unwrap();
                client.process_new_packets().unwrap();
            }
        }
        assert_eq!(client.handshake_kind(), server.handshake_kind());
        client.handshake_kind().unwrap()
    }
}

#[test]
fn a_client_resumes_elsewhere_and_over_one_rotation_but_not_over_two() {
    let world = World::new();
    let (first, _) = world.server(ring(0));
    assert_eq!(world.connect(&first), HandshakeKind::Full);
    assert_eq!(world.connect(&first), HandshakeKind::Resumed);
    let (second, keys) = world.server(ring(0));
    assert_eq!(world.connect(&second), HandshakeKind::Resumed, "another node, or a restart");
    // The configuration that shards and streams hold stays; the ring inside changes.
    keys.replace(ring(1)).unwrap();
    assert_eq!(world.connect(&second), HandshakeKind::Resumed, "a ticket of the epoch before");
    keys.replace(ring(2)).unwrap();
    assert_eq!(world.connect(&second), HandshakeKind::Resumed, "each handshake renews the ticket");
    let (first, _) = world.server(ring(0));
    assert_eq!(world.connect(&first), HandshakeKind::Full, "a node that has not got the new secrets");
    keys.replace(ring(3)).unwrap();
    assert_eq!(world.connect(&second), HandshakeKind::Full, "three epochs later");
    assert_eq!(world.connect(&second), HandshakeKind::Resumed);
}

#[test]
fn a_ticket_lives_for_its_time_and_survives_a_step_of_the_clock() {
    let world = World::new();
    let life = LIFETIME.as_secs();
    let begun = 1_800_000_000;
    // (what the clock reads when the client comes back, whether it resumes)
    let cases = [
        (begun, true),
        (begun - 600, true),
        (begun + life + 600, true),
        (begun - 601, false),
        (begun + life + 601, false),
        (0, false),
    ];
    for (reads, resumes) in cases {
        let clock = Arc::new(Clock(Mutex::new(begun)));
        let (mut tls, keys) = (world.server.clone(), Keys::new(ring(0)));
        install_with_clock(&mut tls, &keys, clock.clone());
        let server = Arc::new(tls);
        // A client without tickets of the cases before.
        let mut client = (*world.client).clone();
        client.resumption = rustls::client::Resumption::default();
        let world = World { server: world.server.clone(), client: Arc::new(client) };
        world.connect(&server);
        *clock.0.lock().unwrap() = reads;
        let want = if resumes { HandshakeKind::Resumed } else { HandshakeKind::Full };
        assert_eq!(world.connect(&server), want, "{reads}");
    }
}

#[test]
fn one_ticket_is_sent_and_nothing_that_is_no_ticket_opens() {
    let world = World::new();
    let (server, _) = world.server(ring(0));
    assert_eq!((server.send_tls13_tickets, server.max_early_data_size), (1, 0));
    let ticketer = &server.ticketer;
    assert!(ticketer.enabled());
    assert_eq!(ticketer.lifetime(), 12 * 3600);
    let ticket = ticketer.encrypt(b"session").unwrap();
    assert_eq!(ticketer.decrypt(&ticket).as_deref(), Some(&b"session"[..]));
    for cut in 0..ticket.len() {
        assert_eq!(ticketer.decrypt(&ticket[..cut]), None);
    }
    for bit in 0..ticket.len() * 8 {
        let mut flipped = ticket.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(ticketer.decrypt(&flipped), None, "bit {bit}");
    }
    assert_eq!(ticketer.decrypt(&vec![0; 100_000]), None);
    assert_eq!(ticketer.encrypt(&vec![0; 2000]), None, "no ticket that would not be taken back");
}
