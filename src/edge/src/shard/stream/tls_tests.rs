//! The machine against rustls' buffered client, in memory.

use std::io::{Read, Write};

use proptest::prelude::*;
use rustls::crypto::aws_lc_rs as provider;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedCipherSuite};
use rustls_pki_types::PrivateKeyDer;

use super::*;
use crate::shard::stream::record::{OVERHEAD_BYTES, PLAINTEXT_BYTES_MAX};

/// A configuration for servers and what a client needs to trust them.
struct Place {
    server: Arc<ServerConfig>,
    roots: RootCertStore,
}

impl Place {
    fn new(tickets: bool) -> Self {
        let certified = rcgen::generate_simple_self_signed(["edge".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(provider::default_provider());
        let chain = vec![certified.cert.der().clone()];
        let key = rustls::sign::CertifiedKey::from_der(chain, key, &provider).unwrap();
        let resolver = Arc::new(rustls::sign::SingleCertAndKey::from(key));
        let mut quic = crate::quic::tls_config(provider, resolver).unwrap();
        if tickets {
            quic.ticketer = provider::Ticketer::new().unwrap();
            quic.send_tls13_tickets = 2;
        }
        let mut roots = RootCertStore::empty();
        roots.add(certified.cert.der().clone()).unwrap();
        Self { server: config(&quic), roots }
    }

    fn client(&self, alpn: &[&[u8]], suites: &[SupportedCipherSuite]) -> Arc<ClientConfig> {
        let mut provider = provider::default_provider();
        if !suites.is_empty() {
            provider.cipher_suites = suites.to_vec();
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Arc::new(config)
    }

    fn pair(&self, client: &Arc<ClientConfig>) -> Pair {
        let name = ServerName::try_from("edge").unwrap();
        let mut client = ClientConnection::new(client.clone(), name).unwrap();
        client.set_buffer_limit(None);
        Pair {
            client,
            server: Tls::new(self.server.clone()).unwrap(),
            established: None,
            received: Vec::new(),
            failure: None,
            to_client: Vec::new(),
        }
    }
}

/// A client and the machine, joined without a network.
struct Pair {
    client: ClientConnection,
    server: Tls,
    established: Option<Established>,
    received: Vec<u8>,
    failure: Option<Failure>,
    to_client: Vec<u8>,
}

impl Pair {
    /// Gives ciphertext to the machine in pieces.
    fn feed(&mut self, bytes: &[u8], cuts: &[usize]) {
        let mut cuts = cuts.iter().cycle();
        let mut bytes = bytes.to_vec();
        let mut rest = &mut bytes[..];
        while !rest.is_empty() {
            let cut = rest.len().min(*cuts.next().unwrap());
            let (mut piece, behind) = rest.split_at_mut(cut);
            rest = behind;
            loop {
                match self.server.next(&mut piece, &mut self.to_client) {
                    Ok(Some(Item::Established(established))) => self.established = Some(established),
                    Ok(Some(Item::Data(data))) => {
                        assert!(!data.is_empty());
                        self.received.extend_from_slice(data);
                    }
                    Ok(None) => break,
                    Err(failure) => {
                        self.server.fail(&failure, &mut self.to_client);
                        self.failure = Some(failure);
                        return;
                    }
                }
            }
        }
    }

    fn client_sends(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    fn deliver(&mut self) -> Result<(), rustls::Error> {
        let bytes = mem::take(&mut self.to_client);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            self.client.read_tls(&mut rest).unwrap();
            self.client.process_new_packets()?;
        }
        Ok(())
    }

    /// Moves everything both ways until there is nothing left.
    fn run(&mut self, cuts: &[usize]) -> Result<(), rustls::Error> {
        loop {
            let bytes = self.client_sends();
            self.feed(&bytes, cuts);
            if let Some(traffic) = self.server.traffic() {
                traffic.poll(&mut self.to_client);
            }
            if bytes.is_empty() && self.to_client.is_empty() {
                return Ok(());
            }
            self.deliver()?;
        }
    }

    /// The server's words, in records of one chunk each.
    fn say(&mut self, chunks: &[&[u8]]) {
        let traffic = self.server.traffic().unwrap();
        for chunk in chunks {
            let start = traffic.begin(&mut self.to_client);
            self.to_client.extend_from_slice(chunk);
            traffic.seal(start, &mut self.to_client);
        }
    }

    fn client_reads(&mut self) -> Vec<u8> {
        let mut got = Vec::new();
        if let Err(error) = self.client.reader().read_to_end(&mut got) {
            assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
        }
        got
    }

    fn held(&mut self) -> usize {
        self.server.traffic().unwrap().held_capacity()
    }
}

const NP: &[&[u8]] = &[b"np/1"];

#[test]
fn every_suite_carries_bytes_both_ways_and_alpn_says_what_they_are() {
    let place = Place::new(false);
    let suites = [
        provider::cipher_suite::TLS13_AES_128_GCM_SHA256,
        provider::cipher_suite::TLS13_AES_256_GCM_SHA384,
        provider::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    let speeches: [(&[&[u8]], Speech); 5] = [
        (NP, Speech::Frames),
        (&[b"http/1.1"], Speech::Http),
        (&[b"h2", b"http/1.1"], Speech::Http),
        (&[], Speech::Http),
        (&[b"acme-tls/1"], Speech::Challenge),
    ];
    for suite in suites {
        for (alpn, speech) in speeches {
            for cut in [1, 7, usize::MAX] {
                let mut pair = place.pair(&place.client(alpn, &[suite]));
                pair.run(&[cut]).unwrap();
                assert_eq!(pair.established, Some(Established { speech, resumed: false }));
                pair.client.writer().write_all(b"hello").unwrap();
                pair.say(&[b"well", b"come"]);
                pair.run(&[cut]).unwrap();
                assert_eq!((&pair.received[..], pair.established.is_some()), (&b"hello"[..], true));
                assert_eq!(pair.client_reads(), b"wellcome");
                assert_eq!(pair.held(), 0, "no buffer is left at rest");
            }
        }
    }
}

#[test]
fn data_right_behind_the_handshake_is_not_lost_in_any_cut() {
    let place = Place::new(true);
    for cut in [1, 2, 3, 50, 999, usize::MAX] {
        let mut pair = place.pair(&place.client(NP, &[]));
        let hello = pair.client_sends();
        pair.feed(&hello, &[cut]);
        pair.deliver().unwrap();
        // The client is done: its Finished and its first data leave together.
        pair.client.writer().write_all(&[1; 40_000]).unwrap();
        let together = pair.client_sends();
        pair.feed(&together, &[cut]);
        assert_eq!(pair.received, vec![1; 40_000], "cut {cut}");
        pair.run(&[cut]).unwrap();
        assert_eq!(pair.held(), 0);
    }
}

#[test]
fn a_ticket_makes_the_next_handshake_short() {
    let place = Place::new(true);
    let client = place.client(NP, &[]);
    for resumed in [false, true, true] {
        let mut pair = place.pair(&client);
        pair.run(&[usize::MAX]).unwrap();
        assert_eq!(pair.established, Some(Established { speech: Speech::Frames, resumed }));
        // The sequence number goes on behind the tickets.
        pair.say(&[&b"x"[..]; 40]);
        pair.run(&[usize::MAX]).unwrap();
        assert_eq!(pair.client_reads(), [b'x'; 40]);
    }
}

#[test]
fn a_client_that_guessed_another_key_exchange_is_asked_again() {
    let place = Place::new(false);
    let mut only_p384 = provider::default_provider();
    only_p384.kx_groups = vec![provider::kx_group::SECP384R1, provider::kx_group::X25519];
    let mut server = provider::default_provider();
    server.kx_groups = vec![provider::kx_group::X25519];
    let place = Place {
        server: {
            let resolver = place.server.cert_resolver.clone();
            config(&crate::quic::tls_config(Arc::new(server), resolver).unwrap())
        },
        roots: place.roots,
    };
    let client = ClientConfig::builder_with_provider(Arc::new(only_p384))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(place.roots.clone())
        .with_no_client_auth();
    let mut pair = place.pair(&Arc::new(client));
    pair.run(&[3]).unwrap();
    assert_eq!(pair.client.handshake_kind(), Some(HandshakeKind::FullWithHelloRetryRequest));
    pair.say(&[b"x"]);
    pair.run(&[3]).unwrap();
    assert_eq!(pair.client_reads(), b"x");
}

#[test]
fn keys_change_when_the_client_asks_and_when_ours_is_worn() {
    let place = Place::new(true);
    for cut in [1, usize::MAX] {
        let mut pair = place.pair(&place.client(NP, &[]));
        pair.run(&[cut]).unwrap();
        for round in 0..5 {
            pair.client.refresh_traffic_keys().unwrap();
            pair.client.writer().write_all(b"a").unwrap();
            let bytes = pair.client_sends();
            pair.feed(&bytes, &[cut]);
            assert_eq!(pair.received.len(), round + 1);
            // The answer to the update goes in front of the next data, once.
            pair.say(&[b"b", b"c"]);
            assert!(!pair.server.has_output());
            pair.run(&[cut]).unwrap();
            assert_eq!(pair.client_reads(), b"bc");
        }
        pair.server.traffic().unwrap().wear_key();
        // The client cannot follow the jump of the counter; what counts is that the next record is under a new key.
        pair.say(&[b"d"]);
        let update = pair.to_client.len() - (OVERHEAD_BYTES + 1);
        assert_eq!(update, OVERHEAD_BYTES + 5, "a KeyUpdate in front of the record");
    }
}

#[test]
fn an_update_without_data_is_answered_by_itself() {
    let place = Place::new(false);
    let mut pair = place.pair(&place.client(NP, &[]));
    pair.run(&[usize::MAX]).unwrap();
    pair.client.refresh_traffic_keys().unwrap();
    let bytes = pair.client_sends();
    pair.feed(&bytes, &[usize::MAX]);
    assert!(pair.server.has_output() && pair.to_client.is_empty());
    pair.run(&[usize::MAX]).unwrap();
    assert!(!pair.server.has_output());
    pair.say(&[b"x"]);
    pair.run(&[usize::MAX]).unwrap();
    assert_eq!(pair.client_reads(), b"x");
}

#[test]
fn both_sides_close() {
    let place = Place::new(false);
    let mut pair = place.pair(&place.client(NP, &[]));
    pair.run(&[usize::MAX]).unwrap();
    pair.client.writer().write_all(b"last").unwrap();
    pair.client.send_close_notify();
    let bytes = pair.client_sends();
    pair.feed(&bytes, &[1]);
    assert!(pair.server.is_peer_closed());
    assert_eq!(pair.received, b"last");
    pair.feed(b"anything behind it is nobody's", &[5]);
    assert_eq!((&pair.received[..], pair.failure.clone()), (&b"last"[..], None));
    pair.say(&[b"we too"]);
    pair.server.close(&mut pair.to_client);
    pair.deliver().unwrap();
    assert_eq!(pair.client_reads(), b"we too");
    let state = pair.client.process_new_packets().unwrap();
    assert!(state.peer_has_closed());
}

#[test]
fn a_changed_octet_ends_the_connection_with_an_alert() {
    let place = Place::new(false);
    for at in [5, 20, 26] {
        let mut pair = place.pair(&place.client(NP, &[]));
        pair.run(&[usize::MAX]).unwrap();
        pair.client.writer().write_all(b"hello").unwrap();
        let mut bytes = pair.client_sends();
        bytes[at] ^= 1;
        pair.feed(&bytes, &[usize::MAX]);
        assert!(pair.failure.is_some() && pair.received.is_empty());
        let error = pair.deliver().unwrap_err();
        assert_eq!(error, rustls::Error::AlertReceived(rustls::AlertDescription::BadRecordMac));
    }
}

/// What the machine makes of octets in the middle of a connection.
fn in_the_middle(bytes: &[u8]) -> (Option<Failure>, Vec<u8>, Pair) {
    let place = Place::new(false);
    let mut pair = place.pair(&place.client(NP, &[]));
    pair.run(&[usize::MAX]).unwrap();
    pair.feed(bytes, &[usize::MAX]);
    (pair.failure.clone(), pair.received.clone(), pair)
}

#[test]
fn headers_that_must_not_come_are_refused_at_once() {
    use rustls::AlertDescription as Alert;
    let cases: [(&[u8], Alert); 7] = [
        (b"GET / HTTP/1.1\r\n", Alert::UnexpectedMessage),
        (&[20, 3, 3, 0, 1, 1], Alert::UnexpectedMessage),
        (&[21, 3, 3, 0, 2, 1, 0], Alert::UnexpectedMessage),
        (&[22, 3, 3, 0, 5], Alert::UnexpectedMessage),
        (&[23, 3, 3, 0x41, 0x01], Alert::RecordOverflow),
        (&[23, 3, 3, 0, 16], Alert::DecodeError),
        (&[23, 3, 3, 0xff, 0xff], Alert::RecordOverflow),
    ];
    for (bytes, alert) in cases {
        let (failure, _, mut pair) = in_the_middle(bytes);
        assert!(failure.is_some(), "{bytes:?}");
        assert_eq!(pair.deliver().unwrap_err(), rustls::Error::AlertReceived(alert), "{bytes:?}");
    }
}

#[test]
fn records_without_data_are_bounded() {
    let place = Place::new(false);
    let mut pair = place.pair(&place.client(NP, &[]));
    pair.run(&[usize::MAX]).unwrap();
    let updates = |pair: &mut Pair, count: usize| {
        for _ in 0..count {
            pair.client.refresh_traffic_keys().unwrap();
        }
        let bytes = pair.client_sends();
        pair.feed(&bytes, &[usize::MAX]);
    };
    updates(&mut pair, 32);
    assert_eq!(pair.failure, None);
    pair.client.writer().write_all(b"data starts the count anew").unwrap();
    updates(&mut pair, 32);
    assert_eq!(pair.failure, None);
    updates(&mut pair, 1);
    assert!(pair.failure.is_some());
}

#[test]
fn what_is_no_tls_is_refused_and_an_endless_hello_too() {
    let place = Place::new(false);
    let mut cases: Vec<Vec<u8>> = vec![
        b"GET /np HTTP/1.1\r\nHost: edge\r\n\r\n".to_vec(),
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec(),
        vec![0; 100],
        vec![0xff; 100],
        [&[22, 3, 1, 0, 4][..], &[99, 0, 0, 0]].concat(),
    ];
    // A hello that announces 64 KiB and keeps coming, in records that are fine.
    let mut endless = [&[22, 3, 1, 0x40, 0][..], &[1, 0, 0xff, 0xff], &[0; 16_380]].concat();
    for _ in 0..3 {
        endless.extend([&[22, 3, 1, 0x40, 0][..], &[0; 16_384]].concat());
    }
    cases.push(endless);
    for bytes in cases {
        let mut pair = place.pair(&place.client(NP, &[]));
        pair.feed(&bytes, &[1000]);
        assert!(pair.failure.is_some(), "{:?}", &bytes[..9]);
    }
}

/// rustls remembers where the pieces of a message lie, also behind an error, and must not be asked about them again.
#[test]
fn a_hello_with_a_wrong_length_ends_without_a_panic() {
    let place = Place::new(false);
    for at in [3, 4, 6, 7, 8] {
        for cut in [1, 600, usize::MAX] {
            let mut pair = place.pair(&place.client(NP, &[]));
            let mut hello = pair.client_sends();
            hello[at] ^= 1;
            pair.feed(&hello, &[cut]);
            for _ in 0..4 {
                pair.feed(&[&[22, 3, 1, 0x40, 0][..], &[9; 16_384]].concat(), &[usize::MAX]);
            }
            assert!(pair.failure.is_some(), "octet {at}");
        }
    }
}

#[test]
fn no_common_protocol_gets_its_alert() {
    let place = Place::new(false);
    let mut pair = place.pair(&place.client(&[b"h2"], &[]));
    let error = pair.run(&[usize::MAX]).unwrap_err();
    assert_eq!(error, rustls::Error::AlertReceived(rustls::AlertDescription::NoApplicationProtocol));
}

#[test]
fn the_largest_record_fits() {
    let place = Place::new(false);
    let mut pair = place.pair(&place.client(NP, &[]));
    pair.run(&[usize::MAX]).unwrap();
    pair.say(&[&[7; PLAINTEXT_BYTES_MAX]]);
    pair.run(&[usize::MAX]).unwrap();
    assert_eq!(pair.client_reads(), vec![7; PLAINTEXT_BYTES_MAX]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_cut_gives_the_same_bytes(
        sizes in proptest::collection::vec(1usize..20_000, 1..5),
        cuts in proptest::collection::vec(prop_oneof![1usize..10, 10usize..5_000], 1..12),
    ) {
        let place = Place::new(true);
        let mut pair = place.pair(&place.client(NP, &[]));
        pair.run(&cuts).unwrap();
        let mut sent = Vec::new();
        for (n, size) in sizes.into_iter().enumerate() {
            let chunk = vec![u8::try_from(n).unwrap(); size];
            pair.client.writer().write_all(&chunk).unwrap();
            sent.extend(chunk);
        }
        pair.run(&cuts).unwrap();
        prop_assert_eq!(&pair.received, &sent);
        prop_assert!(!pair.server.is_mid_record());
    }

    #[test]
    fn noise_in_the_middle_never_panics_and_never_counts(noise in proptest::collection::vec(any::<u8>(), 5..300)) {
        let noise = [&[23, 3, 3][..], &noise].concat();
        let (_, received, _) = in_the_middle(&noise);
        prop_assert!(received.is_empty());
    }

    #[test]
    fn noise_in_the_handshake_never_panics(at in 0usize..1500, octet in any::<u8>(), cut in 1usize..600) {
        let place = Place::new(false);
        let mut pair = place.pair(&place.client(NP, &[]));
        let mut hello = pair.client_sends();
        let at = at % hello.len();
        hello[at] ^= octet;
        pair.feed(&hello, &[cut]);
    }
}
