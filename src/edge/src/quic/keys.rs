//! Packet keys that take little memory while a connection is idle.
//!
//! An AES-GCM context of aws-lc takes 600 bytes, one for header protection 500. Four of the first (two directions, and
//! the next key phase, which RFC 9001 §9.5 wants derived ahead) and two of the second are 3.9 KB for each connection,
//! of which most is idle at any moment. So a connection keeps its keys and nonces only, 40 bytes each, and the contexts made from
//! them live in a bounded store of the shard's thread ([`Contexts`]) as long as they are in use. To make one again
//! takes a fraction of a microsecond.

use std::cell::RefCell;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use aws_lc_rs::aead::{self, LessSafeKey, UnboundKey, quic::HeaderProtectionKey};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::cipher_suite;
use rustls::crypto::cipher::{AeadKey, Iv, Nonce};
use rustls::quic::{self, Algorithm, Suite, Tag};
use rustls::{ConnectionTrafficSecrets, SupportedCipherSuite, Tls13CipherSuite};

use super::contexts::Contexts;

/// Contexts of each kind that a thread keeps at most: 20 and 16 MB, those of 16,000 connections that send and get something in each
/// second. With 8,192 and a live room of 10,000 members a thread made some anew for each delivery (decision 0008).
const CONTEXTS_MAX: usize = 32 * 1024;

/// The longest key: AES-256 and ChaCha20.
const KEY_BYTES_MAX: usize = 32;

const TAG_BYTES: usize = 16;

thread_local! {
    static PACKET: RefCell<Contexts<LessSafeKey>> = const { RefCell::new(Contexts::new(CONTEXTS_MAX)) };
    static HEADER: RefCell<Contexts<HeaderProtectionKey>> = const { RefCell::new(Contexts::new(CONTEXTS_MAX)) };
}

/// Goes so many [`PARTS`](super::contexts::PARTS) further among this thread's contexts and drops those that were not used since it last came by.
pub(crate) fn sweep_contexts(parts: usize) {
    PACKET.with_borrow_mut(|contexts| contexts.sweep(parts));
    HEADER.with_borrow_mut(|contexts| contexts.sweep(parts));
}

/// Drops this thread's contexts, in use or not.
#[cfg(test)]
pub(crate) fn drop_all_contexts() {
    (0..2).for_each(|_| sweep_contexts(super::contexts::PARTS));
}

/// Replaces how the TLS 1.3 cipher suites of aws-lc make their QUIC keys.
pub(super) fn with_small_keys(provider: &CryptoProvider) -> CryptoProvider {
    let mut provider = provider.clone();
    for suite in &mut provider.cipher_suites {
        if let Some(ours) = SUITES.iter().find(|ours| ours.common.suite == suite.suite()) {
            *suite = SupportedCipherSuite::Tls13(ours);
        }
    }
    provider
}

/// What protects Initial packets (RFC 9001 §5.2).
pub(super) fn initial_suite() -> Suite {
    let suite = &SUITES[0];
    Suite { suite, quic: suite.quic.expect("ours have QUIC") }
}

static SUITES: LazyLock<[Tls13CipherSuite; 3]> = LazyLock::new(|| {
    [
        suite(&cipher_suite::TLS13_AES_128_GCM_SHA256, &AES_128),
        suite(&cipher_suite::TLS13_AES_256_GCM_SHA384, &AES_256),
        suite(&cipher_suite::TLS13_CHACHA20_POLY1305_SHA256, &CHACHA20),
    ]
});

fn suite(base: &SupportedCipherSuite, cipher: &'static Cipher) -> Tls13CipherSuite {
    let base = base.tls13().expect("a suite of TLS 1.3");
    let common = rustls::crypto::CipherSuiteCommon {
        suite: base.common.suite,
        hash_provider: base.common.hash_provider,
        confidentiality_limit: base.common.confidentiality_limit,
    };
    Tls13CipherSuite {
        common,
        hkdf_provider: base.hkdf_provider,
        aead_alg: base.aead_alg,
        quic: Some(cipher),
    }
}

/// A packet cipher with the header protection that belongs to it.
struct Cipher {
    packet: &'static aead::Algorithm,
    header: &'static aead::quic::Algorithm,
    /// Packets that one key may seal, RFC 9001 §6.6.
    confidentiality_limit: u64,
    /// Forged packets that one key may see, RFC 9001 §6.6.
    integrity_limit: u64,
}

static AES_128: Cipher = Cipher {
    packet: &aead::AES_128_GCM,
    header: &aead::quic::AES_128,
    confidentiality_limit: 1 << 23,
    integrity_limit: 1 << 52,
};

static AES_256: Cipher = Cipher {
    packet: &aead::AES_256_GCM,
    header: &aead::quic::AES_256,
    confidentiality_limit: 1 << 23,
    integrity_limit: 1 << 52,
};

static CHACHA20: Cipher = Cipher {
    packet: &aead::CHACHA20_POLY1305,
    header: &aead::quic::CHACHA20,
    confidentiality_limit: u64::MAX,
    integrity_limit: 1 << 36,
};

impl Algorithm for Cipher {
    fn packet_key(&self, key: AeadKey, iv: Iv) -> Box<dyn quic::PacketKey> {
        Box::new(SmallPacketKey { cipher: self.as_static(), key: SmallKey::new(&key), iv })
    }

    fn header_protection_key(&self, key: AeadKey) -> Box<dyn quic::HeaderProtectionKey> {
        Box::new(SmallHeaderKey { cipher: self.as_static(), key: SmallKey::new(&key) })
    }

    fn aead_key_len(&self) -> usize {
        self.packet.key_len()
    }
}

impl Cipher {
    /// The same, from the constants above.
    fn as_static(&self) -> &'static Self {
        [&AES_128, &AES_256, &CHACHA20]
            .into_iter()
            .find(|cipher| std::ptr::eq(*cipher, self))
            .expect("ciphers are these constants")
    }
}

/// A key, and where its context stands if it has one.
struct SmallKey {
    bytes: [u8; KEY_BYTES_MAX],
    /// Unique in the process, so that a context is never taken for another key's.
    id: u64,
    /// Where the context was last.
    place: AtomicU32,
}

impl SmallKey {
    fn new(key: &AeadKey) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let mut bytes = [0; KEY_BYTES_MAX];
        bytes[..key.as_ref().len()].copy_from_slice(key.as_ref());
        Self { bytes, id: NEXT.fetch_add(1, Ordering::Relaxed), place: AtomicU32::new(0) }
    }

    fn with<T, R>(
        &self,
        contexts: &mut Contexts<T>,
        make: impl FnOnce(&[u8]) -> T,
        run: impl FnOnce(&T) -> R,
    ) -> R {
        let place = self.place.load(Ordering::Relaxed);
        let (place, context) = contexts.get(self.id, place, || make(&self.bytes));
        self.place.store(place, Ordering::Relaxed);
        run(context)
    }

    fn drop_from<T>(&self, contexts: &mut Contexts<T>) {
        contexts.remove(self.id, self.place.load(Ordering::Relaxed));
    }
}

/// A key with its nonces. TLS records (RFC 8446 §5.2) are protected as packets are, so byte streams use it too.
pub(crate) struct SmallPacketKey {
    cipher: &'static Cipher,
    key: SmallKey,
    iv: Iv,
}

impl SmallPacketKey {
    /// A key for records; `None` for a suite that is not known here.
    pub(crate) fn for_records(secrets: ConnectionTrafficSecrets) -> Option<Self> {
        let (cipher, key, iv) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20, key, iv),
            _ => return None,
        };
        (key.as_ref().len() == cipher.packet.key_len()).then(|| Self { cipher, key: SmallKey::new(&key), iv })
    }

    fn with<R>(&self, run: impl FnOnce(&LessSafeKey) -> R) -> R {
        let make = |bytes: &[u8]| {
            let bytes = &bytes[..self.cipher.packet.key_len()];
            LessSafeKey::new(UnboundKey::new(self.cipher.packet, bytes).expect("a key of its length"))
        };
        PACKET.with_borrow_mut(|contexts| self.key.with(contexts, make, run))
    }

    fn nonce(&self, packet_number: u64) -> aead::Nonce {
        aead::Nonce::assume_unique_for_key(Nonce::new(&self.iv, packet_number).0)
    }
}

impl Drop for SmallPacketKey {
    fn drop(&mut self) {
        // A thread that ends has dropped all its contexts.
        let _ = PACKET.try_with(|contexts| self.key.drop_from(&mut contexts.borrow_mut()));
    }
}

impl quic::PacketKey for SmallPacketKey {
    fn encrypt_in_place(&self, number: u64, header: &[u8], payload: &mut [u8]) -> Result<Tag, rustls::Error> {
        let (nonce, header) = (self.nonce(number), aead::Aad::from(header));
        let tag = self.with(|key| key.seal_in_place_separate_tag(nonce, header, payload));
        Ok(Tag::from(tag.map_err(|_| rustls::Error::EncryptError)?.as_ref()))
    }

    fn decrypt_in_place<'a>(
        &self,
        number: u64,
        header: &[u8],
        payload: &'a mut [u8],
    ) -> Result<&'a [u8], rustls::Error> {
        let (nonce, header) = (self.nonce(number), aead::Aad::from(header));
        let plain = self.with(|key| key.open_in_place(nonce, header, payload).map(|plain| plain.len()));
        Ok(&payload[..plain.map_err(|_| rustls::Error::DecryptError)?])
    }

    fn tag_len(&self) -> usize {
        TAG_BYTES
    }

    fn confidentiality_limit(&self) -> u64 {
        self.cipher.confidentiality_limit
    }

    fn integrity_limit(&self) -> u64 {
        self.cipher.integrity_limit
    }
}

struct SmallHeaderKey {
    cipher: &'static Cipher,
    key: SmallKey,
}

impl SmallHeaderKey {
    /// Puts the protection on or off, which differ only in which first octet tells the packet number's length
    /// (RFC 9001 §5.4.1).
    fn apply(
        &self,
        sample: &[u8],
        first: &mut u8,
        number: &mut [u8],
        protected: bool,
    ) -> Result<(), rustls::Error> {
        let make = |bytes: &[u8]| {
            let bytes = &bytes[..self.cipher.header.key_len()];
            HeaderProtectionKey::new(self.cipher.header, bytes).expect("a key of its length")
        };
        let mask = HEADER
            .with_borrow_mut(|contexts| self.key.with(contexts, make, |key| key.new_mask(sample)))
            .map_err(|_| rustls::Error::General("a sample of another length".to_owned()))?;
        let [mask_first, mask_number @ ..] = mask;
        if number.len() > mask_number.len() {
            return Err(rustls::Error::General("packet number too long".to_owned()));
        }
        let is_long = *first & 0x80 != 0;
        let unprotected = *first ^ (mask_first & if is_long { 0x0f } else { 0x1f });
        let length = usize::from(if protected { unprotected } else { *first } & 0x03) + 1;
        *first = unprotected;
        number.iter_mut().zip(mask_number).take(length).for_each(|(octet, mask)| *octet ^= mask);
        Ok(())
    }
}

impl Drop for SmallHeaderKey {
    fn drop(&mut self) {
        let _ = HEADER.try_with(|contexts| self.key.drop_from(&mut contexts.borrow_mut()));
    }
}

impl quic::HeaderProtectionKey for SmallHeaderKey {
    fn encrypt_in_place(
        &self,
        sample: &[u8],
        first: &mut u8,
        number: &mut [u8],
    ) -> Result<(), rustls::Error> {
        self.apply(sample, first, number, false)
    }

    fn decrypt_in_place(
        &self,
        sample: &[u8],
        first: &mut u8,
        number: &mut [u8],
    ) -> Result<(), rustls::Error> {
        self.apply(sample, first, number, true)
    }

    fn sample_len(&self) -> usize {
        self.cipher.header.sample_len()
    }
}
