//! Beginnings of handshakes that cost nothing to send: a pool of first datagrams, each valid and different, made
//! before they are needed.
//!
//! All carry the same ClientHello (a server cannot tell: it has no memory of hellos), with an own pair of connection ids
//! in header and transport parameters. Each costs a server what any first datagram costs: keys, a key exchange, a
//! signature, a connection to keep. Nobody answers what comes back, as with forged addresses.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::quic::{ClientConnection, DirectionalKeys, Suite, Version};
use rustls::{CipherSuite, Side};

use crate::rng::Rng;
use crate::transport::{SERVER_NAME, client_tls, provider};

/// Bytes of a datagram, as every Initial of a client fills (RFC 9000 §14.1).
pub(crate) const DATAGRAM: usize = 1200;

/// Octets of both connection ids.
const ID: usize = 8;

/// First octet to token: `form and type | version | length, destination id | length, source id | token length`.
const DESTINATION_AT: usize = 6;
const SOURCE_AT: usize = DESTINATION_AT + ID + 1;
const LENGTH_AT: usize = SOURCE_AT + ID + 1;
const NUMBER_AT: usize = LENGTH_AT + 2;
const PAYLOAD_AT: usize = NUMBER_AT + 4;

/// Bytes of AES-128-GCM's tag, and of the sample that masks the header (RFC 9001 §5.4.3).
const TAG: usize = 16;
const SAMPLE: usize = 16;

/// The pool: `DATAGRAM` bytes each.
#[derive(Debug)]
pub(crate) struct Initials(Vec<u8>);

impl Initials {
    /// Makes `count` of them, in about 10 µs each.
    pub(crate) fn make(count: usize, certificate: CertificateDer<'static>, rng: &mut Rng) -> Result<Self> {
        let (suite, template) = template(certificate)?;
        let source_in_hello = find(&template, &PLACEHOLDER).context("no source id in the hello")?;
        let mut pool = Vec::with_capacity(count * DATAGRAM);
        for _ in 0..count {
            let mut datagram = template.clone();
            let (destination, source) = (rng.seed().to_be_bytes(), rng.seed().to_be_bytes());
            datagram[DESTINATION_AT..][..ID].copy_from_slice(&destination);
            datagram[SOURCE_AT..][..ID].copy_from_slice(&source);
            datagram[source_in_hello..][..ID].copy_from_slice(&source);
            let keys = suite.keys(&destination, Side::Client, Version::V1);
            seal(&mut datagram, &keys.local)?;
            pool.extend_from_slice(&datagram);
        }
        Ok(Self(pool))
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len() / DATAGRAM
    }

    /// One of them, each once for all `index` below [`Self::len`].
    pub(crate) fn get(&self, index: usize) -> &[u8] {
        &self.0[index * DATAGRAM..][..DATAGRAM]
    }
}

/// Stands for the source id in the transport parameters until each datagram gets its own.
const PLACEHOLDER: [u8; ID] = *b"\xf1source\xf2";

/// A whole first datagram, not yet encrypted, and what encrypts it.
fn template(certificate: CertificateDer<'static>) -> Result<(Suite, Vec<u8>)> {
    let suite = provider()
        .cipher_suites
        .iter()
        .find(|suite| suite.suite() == CipherSuite::TLS13_AES_128_GCM_SHA256)
        .and_then(|suite| suite.tls13())
        .and_then(|suite| suite.quic_suite())
        .context("no suite for Initials")?;
    let tls = Arc::new(client_tls(certificate)?);
    let name = ServerName::try_from(SERVER_NAME)?;
    let mut client = ClientConnection::new(tls, Version::V1, name, parameters())?;
    let mut hello = Vec::new();
    client.write_hs(&mut hello);

    let mut datagram = vec![0; DATAGRAM];
    // An Initial whose packet number takes four octets: 0.
    datagram[0] = 0xc3;
    datagram[1..5].copy_from_slice(&1u32.to_be_bytes());
    datagram[DESTINATION_AT - 1] = u8::try_from(ID)?;
    datagram[SOURCE_AT - 1] = u8::try_from(ID)?;
    datagram[LENGTH_AT..NUMBER_AT].copy_from_slice(&varint(DATAGRAM - NUMBER_AT)?);
    // CRYPTO at offset 0; the rest is PADDING, which is zeros.
    datagram[PAYLOAD_AT] = 0x06;
    datagram[PAYLOAD_AT + 2..][..2].copy_from_slice(&varint(hello.len())?);
    let room = &mut datagram[PAYLOAD_AT + 4..DATAGRAM - TAG];
    ensure!(hello.len() <= room.len(), "a hello of {} bytes does not fit", hello.len());
    room[..hello.len()].copy_from_slice(&hello);
    Ok((suite, datagram))
}

/// Transport parameters (RFC 9000 §18): idle after 30 s, windows of 1 MiB, four streams, the source id.
fn parameters() -> Vec<u8> {
    let mut parameters = vec![0x01, 0x04, 0x80, 0x00, 0x75, 0x30];
    for window in 0x04..=0x07 {
        parameters.extend([window, 0x04, 0x80, 0x10, 0x00, 0x00]);
    }
    parameters.extend([0x08, 0x01, 0x04, 0x0f, 0x08]);
    parameters.extend(PLACEHOLDER);
    parameters
}

fn seal(datagram: &mut [u8], keys: &DirectionalKeys) -> Result<()> {
    let (header, rest) = datagram.split_at_mut(PAYLOAD_AT);
    let (payload, tag) = rest.split_at_mut(rest.len() - TAG);
    tag.copy_from_slice(keys.packet.encrypt_in_place(0, header, payload)?.as_ref());
    // The sample begins four octets behind the beginning of the packet number, however long that is.
    let (first, rest) = header.split_at_mut(1);
    let number = &mut rest[NUMBER_AT - 1..];
    keys.header.encrypt_in_place(&payload[..SAMPLE], &mut first[0], number)?;
    Ok(())
}

/// A variable-length integer in two octets.
fn varint(value: usize) -> Result<[u8; 2]> {
    ensure!(value < 1 << 14, "{value} needs more than two octets");
    Ok((u16::try_from(value)? | 0x4000).to_be_bytes())
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
