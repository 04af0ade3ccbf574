//! Our end of TLS against a client of rustls with keys of its own.

use quinn_proto::crypto::{ServerConfig as _, Session as _};
use rustls::quic::{ClientConnection, DirectionalKeys};
use rustls::server::ResolvesServerCert;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CipherSuite, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use super::*;

fn identity() -> (CertificateDer<'static>, Arc<dyn ResolvesServerCert>) {
    let made = rcgen::generate_simple_self_signed(["edge".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let key = aws_lc_rs::default_provider().key_provider.load_private_key(key).unwrap();
    let certificate = made.cert.der().clone();
    (certificate.clone(), Arc::new(SingleCertAndKey::from(CertifiedKey::new(vec![certificate], key))))
}

struct Pair {
    server: Session,
    client: ClientConnection,
    /// 1-RTT keys of both.
    server_keys: Option<Keys>,
    client_keys: Option<rustls::quic::Keys>,
    client_secrets: Option<Secrets>,
}

impl Pair {
    /// A complete handshake with one cipher suite.
    fn new(suite: CipherSuite) -> Self {
        let (certificate, resolver) = identity();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut tls = super::super::tls_config(provider.clone(), resolver).unwrap();
        tls.send_tls13_tickets = 2;
        let crypto = ServerCrypto::new(tls).unwrap();
        let server = Session {
            rustls: Some(Box::new(
                ServerConnection::new(crypto.0.clone(), Version::V1, b"server parameters".to_vec()).unwrap(),
            )),
            secrets: None,
            protocol: None,
        };
        let mut only = (*provider).clone();
        only.cipher_suites.retain(|offered| offered.suite() == suite);
        if suite != CipherSuite::TLS13_AES_128_GCM_SHA256 {
            assert_eq!(only.cipher_suites.len(), 1);
        }
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate).unwrap();
        let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(only))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![nearport_wire::ALPN.to_vec()];
        let name = ServerName::try_from("edge").unwrap();
        let client = ClientConnection::new(Arc::new(config), Version::V1, name, client_parameters()).unwrap();
        let mut pair = Self { server, client, server_keys: None, client_keys: None, client_secrets: None };
        while pair.exchange() {}
        pair
    }

    /// One flight each way; whether anything was said.
    fn exchange(&mut self) -> bool {
        let mut said = false;
        loop {
            let mut flight = Vec::new();
            let change = self.client.write_hs(&mut flight);
            if flight.is_empty() && change.is_none() {
                break;
            }
            said |= !flight.is_empty();
            if !flight.is_empty() {
                self.server.read_handshake(&flight).unwrap();
            }
            if let Some(KeyChange::OneRtt { keys, next }) = change {
                (self.client_keys, self.client_secrets) = (Some(keys), Some(next));
            }
        }
        loop {
            let mut flight = Vec::new();
            let keys = self.server.write_handshake(&mut flight);
            if flight.is_empty() && keys.is_none() {
                return said;
            }
            said |= !flight.is_empty();
            if keys.is_some() {
                self.server_keys = keys;
            }
            self.client.read_hs(&flight).unwrap();
        }
    }
}

fn client_parameters() -> Vec<u8> {
    vec![0x04, 0x01, 0x20] // initial_max_data = 32
}

/// What the server seals the client opens, and the other way, header and all.
fn assert_same(
    server: &KeyPair<Box<dyn PacketKey>>,
    client: (&dyn rustls::quic::PacketKey, &dyn rustls::quic::PacketKey),
) {
    let (client_local, client_remote) = client;
    let header = [0x41, 1, 2, 3];
    let mut packet = [&header[..], b"to the client", &[0; 16]].concat();
    server.local.encrypt(7, &mut packet, header.len());
    let opened = client_remote.decrypt_in_place(7, &header, &mut packet[4..]).unwrap();
    assert_eq!(opened, b"to the client");
    let mut packet = b"to the server".to_vec();
    let tag = client_local.encrypt_in_place(9, &header, &mut packet).unwrap();
    packet.extend_from_slice(tag.as_ref());
    let mut packet = bytes::BytesMut::from(&packet[..]);
    server.remote.decrypt(9, &header, &mut packet).unwrap();
    assert_eq!(&packet[..], b"to the server");
    let mut forged = bytes::BytesMut::from(&[9; 40][..]);
    assert!(server.remote.decrypt(10, &header, &mut forged).is_err());
}

fn assert_same_headers(ours: &dyn HeaderKey, theirs: &DirectionalKeys) {
    // Short and long headers with packet numbers of each length, put on by us and taken off by the client.
    for (first, number_len) in [(0x40u8, 1usize), (0x41, 2), (0x43, 4), (0xe0, 1), (0xe3, 4)] {
        let plain: Vec<u8> = std::iter::once(first).chain(1..40).collect();
        let mut packet = plain.clone();
        ours.encrypt(1, &mut packet);
        assert_ne!(packet, plain);
        let (head, sample) = packet.split_at_mut(5);
        let (first, number) = head.split_at_mut(1);
        theirs
            .header
            .decrypt_in_place(&sample[..ours.sample_size()], &mut first[0], &mut number[..4])
            .unwrap();
        assert_eq!(packet[..=number_len], plain[..=number_len]);
        let (head, sample) = packet.split_at_mut(5);
        let (first, number) = head.split_at_mut(1);
        let sample = &sample[..ours.sample_size()];
        theirs.header.encrypt_in_place(sample, &mut first[0], &mut number[..4]).unwrap();
        ours.decrypt(1, &mut packet);
        assert_eq!(packet, plain);
    }
}

#[test]
fn every_cipher_suite_agrees_with_keys_of_rustls_over_key_updates() {
    for suite in [
        CipherSuite::TLS13_AES_128_GCM_SHA256,
        CipherSuite::TLS13_AES_256_GCM_SHA384,
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    ] {
        let mut pair = Pair::new(suite);
        assert_eq!(pair.client.negotiated_cipher_suite().unwrap().suite(), suite);
        let server = pair.server_keys.take().unwrap();
        let client = pair.client_keys.take().unwrap();
        assert_same(&server.packet, (&*client.local.packet, &*client.remote.packet));
        assert_same_headers(&*server.header.local, &client.remote);
        assert_same_headers(&*server.header.remote, &client.local);
        for _ in 0..3 {
            let server = pair.server.next_1rtt_keys().unwrap();
            let client = pair.client_secrets.as_mut().unwrap().next_packet_keys();
            crate::quic::drop_all_contexts();
            assert_same(&server, (&*client.local, &*client.remote));
            assert_eq!(server.local.confidentiality_limit(), client.local.confidentiality_limit());
            assert_eq!(server.remote.integrity_limit(), client.remote.integrity_limit());
        }
    }
}

#[test]
fn after_the_tickets_nothing_of_the_handshake_is_left() {
    let mut pair = Pair::new(CipherSuite::TLS13_AES_256_GCM_SHA384);
    assert_eq!(pair.client.tls13_tickets_received(), 2, "they went before the rest did");
    assert!(pair.server.rustls.is_none());
    assert!(!pair.server.is_handshaking());
    assert_eq!(pair.server.handshake_data().unwrap().downcast_ref(), Some(&Protocol::Np1));
    let error = pair.server.read_handshake(&[24, 0, 0, 1, 0]).unwrap_err(); // TLS KeyUpdate
    assert_eq!(u64::from(error.code), 0x10a);
    assert!(pair.server.write_handshake(&mut Vec::new()).is_none());
}

#[test]
fn a_client_that_speaks_something_else_gets_the_alert() {
    let (_, resolver) = identity();
    let tls = super::super::tls_config(Arc::new(aws_lc_rs::default_provider()), resolver).unwrap();
    let crypto = ServerCrypto::new(tls).unwrap();
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    for (alpn, code) in [(&b"http/0.9"[..], 0x178), (b"", 0x178)] {
        config.alpn_protocols = if alpn.is_empty() { Vec::new() } else { vec![alpn.to_vec()] };
        let name = ServerName::try_from("edge").unwrap();
        let mut client =
            ClientConnection::new(Arc::new(config.clone()), Version::V1, name, client_parameters()).unwrap();
        let mut hello = Vec::new();
        client.write_hs(&mut hello);
        let rustls = ServerConnection::new(crypto.0.clone(), Version::V1, Vec::new()).unwrap();
        let mut server = Session { rustls: Some(Box::new(rustls)), secrets: None, protocol: None };
        let error = server.read_handshake(&hello).unwrap_err();
        assert_eq!(u64::from(error.code), code, "{alpn:?}");
        assert!(server.is_handshaking());
    }
}

#[test]
fn the_retry_tag_is_that_of_rfc_9001_appendix_a_4() {
    let (_, resolver) = identity();
    let tls = super::super::tls_config(Arc::new(aws_lc_rs::default_provider()), resolver).unwrap();
    let crypto = ServerCrypto::new(tls).unwrap();
    let original = ConnectionId::new(&[0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08]);
    let packet = b"\xff\x00\x00\x00\x01\x00\x08\xf0\x67\xa5\x50\x2a\x42\x62\xb5token";
    let tag = crypto.retry_tag(QUIC_V1, &original, packet);
    assert_eq!(tag, *b"\x04\xa2\x65\xba\x2e\xff\x4d\x82\x90\x58\xfb\x3f\x0f\x24\x96\xba");
    assert!(crypto.initial_keys(0xff00_001d, &original).is_err(), "drafts are not spoken");
}
