//! One cluster secret, many keys (RFC 5869), and how they change while everything runs.
//!
//! A cluster has a secret that all its nodes share. From time to time it gets a new one, an **epoch** later. A
//! [`KeyRing`] holds the keys of two epochs: what is made is made with the current one, what comes back may be of either.
//! So nothing that a client holds (a connection id, a ticket, a resume token) is lost by one rotation; two of them end
//! what was made before the first.
//!
//! | key | what for | whose epoch decides |
//! | --- | --- | --- |
//! | reset | stateless reset tokens | that of the connection id which they belong to |
//! | token | Retry tokens | current, then previous: quinn's format has no room for an epoch |
//! | ticket | TLS session tickets | the first octet |
//! | resume | tokens that stand for a UserSig | the first octet |
//! | cid | connection ids | the top three bits of the first octet |
//!
//! [`Keys`] is the one place that all of them are read from. What leaks through one use says nothing about another.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::{hkdf, hmac};
use quinn_proto::crypto::{AeadKey, CryptoError, HandshakeTokenKey, HmacKey};

use crate::cid::{self, CidKey};
use crate::seal::{OpenError, SealKey};

/// Connection ids have three bits for the epoch.
const CID_EPOCHS: u32 = 8;

/// What a cluster shares, in one of its epochs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret {
    /// Which one this is; a later one has a larger number.
    pub epoch: u32,
    /// 32 bytes that nobody can guess.
    pub bytes: [u8; 32],
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secret").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

/// Why secrets make no ring, or why a ring cannot take the place of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RingError {
    /// The newest does not come last.
    #[error("epoch {next} does not come after epoch {previous}: the newest secret stands last")]
    Order {
        /// The one in front.
        previous: u32,
        /// The one behind it.
        next: u32,
    },
    /// Connection ids of the two could not be told apart.
    #[error("epochs {previous} and {next} look the same in three bits: number them one after the other")]
    Same {
        /// The one in front.
        previous: u32,
        /// The one behind it.
        next: u32,
    },
    /// What clients hold would not be readable any more.
    #[error("epoch {0} has another secret than the one in use: give the new secret a new epoch")]
    Changed(u32),
    /// The file went back in time.
    #[error("epoch {next} is older than epoch {current}, which is in use")]
    Older {
        /// In use.
        current: u32,
        /// What was offered.
        next: u32,
    },
}

/// The keys of the current epoch, and of the one before. Cheap to clone.
#[derive(Clone)]
pub struct KeyRing {
    current: Arc<Epoch>,
    previous: Option<Arc<Epoch>>,
}

impl KeyRing {
    /// A ring of the current secret and, if there is one, that of the epoch before.
    ///
    /// # Errors
    /// [`RingError::Order`] and [`RingError::Same`].
    pub fn new(current: &Secret, previous: Option<&Secret>) -> Result<Self, RingError> {
        if let Some(previous) = previous {
            let (previous, next) = (previous.epoch, current.epoch);
            if previous >= next {
                return Err(RingError::Order { previous, next });
            }
            if (next - previous) % CID_EPOCHS == 0 {
                return Err(RingError::Same { previous, next });
            }
        }
        let derive = |secret| Arc::new(Epoch::derive(secret));
        Ok(Self { current: derive(current), previous: previous.map(derive) })
    }

    /// The current epoch.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.current.number
    }

    /// Epoch and fingerprint of each secret, the current one first. A fingerprint tells whether two nodes have the same
    /// secret and nothing else about it.
    pub fn fingerprints(&self) -> impl Iterator<Item = (u32, String)> {
        self.epochs().map(|epoch| (epoch.number, hex(&epoch.fingerprint)))
    }

    pub(crate) fn current(&self) -> &Epoch {
        &self.current
    }

    fn epochs(&self) -> impl Iterator<Item = &Epoch> {
        std::iter::once(&*self.current).chain(self.previous.as_deref())
    }

    /// The keys that a connection id beginning with `first` was made with.
    pub(crate) fn of_cid(&self, first: u8) -> Option<&Epoch> {
        self.epochs().find(|epoch| epoch.cid_bits() == first & cid::EPOCH_MASK)
    }

    /// Seals `plain` with the current key of `purpose`. `None` only if the system gives no random bytes.
    pub(crate) fn seal(&self, purpose: Purpose, plain: &[u8]) -> Option<Vec<u8>> {
        self.current.sealing(purpose).seal(self.current.octet(), plain)
    }

    /// Opens what [`Self::seal`] of this epoch or of the one before has made.
    pub(crate) fn open(&self, purpose: Purpose, sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        let octet = *sealed.first().ok_or(OpenError::Malformed)?;
        let epoch =
            self.epochs().find(|epoch| epoch.octet() == octet).ok_or(OpenError::UnknownEpoch(octet))?;
        epoch.sealing(purpose).open(sealed)
    }

    /// Whether this ring may take the place of `old`.
    fn follows(&self, old: &Self) -> Result<(), RingError> {
        if self.epoch() < old.epoch() {
            return Err(RingError::Older { current: old.epoch(), next: self.epoch() });
        }
        let changed = self.epochs().find(|new| {
            old.epochs().any(|old| old.number == new.number && old.fingerprint != new.fingerprint)
        });
        changed.map_or(Ok(()), |epoch| Err(RingError::Changed(epoch.number)))
    }
}

impl From<[u8; 32]> for KeyRing {
    /// A ring of one secret, epoch 0.
    fn from(bytes: [u8; 32]) -> Self {
        Self { current: Arc::new(Epoch::derive(&Secret { epoch: 0, bytes })), previous: None }
    }
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let epochs: Vec<_> = self.epochs().map(|epoch| epoch.number).collect();
        f.debug_struct("KeyRing").field("epochs", &epochs).finish_non_exhaustive()
    }
}

/// What is sealed, each with a key of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// TLS session tickets.
    Ticket,
    /// Resume tokens.
    Resume,
}

/// The keys of one epoch.
pub(crate) struct Epoch {
    number: u32,
    reset: hmac::Key,
    token: hkdf::Prk,
    ticket: SealKey,
    resume: SealKey,
    cid: CidKey,
    fingerprint: [u8; 8],
}

struct Len(usize);

impl hkdf::KeyType for Len {
    fn len(&self) -> usize {
        self.0
    }
}

impl Epoch {
    fn derive(secret: &Secret) -> Self {
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, b"nearport edge 1").extract(&secret.bytes);
        let token: [u8; 32] = expand(&prk, b"address token");
        Self {
            number: secret.epoch,
            reset: hmac::Key::new(hmac::HMAC_SHA256, &expand::<32>(&prk, b"stateless reset")),
            token: hkdf::Salt::new(hkdf::HKDF_SHA256, b"").extract(&token),
            ticket: SealKey::new(&expand(&prk, b"session ticket")),
            resume: SealKey::new(&expand(&prk, b"resume token")),
            cid: CidKey::new(&expand(&prk, b"connection id")),
            fingerprint: expand(&prk, b"fingerprint"),
        }
    }

    /// The epoch in the first octet of what is sealed.
    fn octet(&self) -> u8 {
        self.number.to_be_bytes()[3]
    }

    /// The epoch in the first octet of a connection id, at its place there.
    pub(crate) fn cid_bits(&self) -> u8 {
        self.octet() << cid::EPOCH_SHIFT
    }

    pub(crate) fn cid(&self) -> &CidKey {
        &self.cid
    }

    fn sealing(&self, purpose: Purpose) -> &SealKey {
        match purpose {
            Purpose::Ticket => &self.ticket,
            Purpose::Resume => &self.resume,
        }
    }
}

fn expand<const N: usize>(prk: &hkdf::Prk, info: &[u8]) -> [u8; N] {
    let mut key = [0; N];
    let filled = prk.expand(&[info], Len(N)).and_then(|okm| okm.fill(&mut key));
    filled.expect("at most 32 bytes, far below 255 blocks");
    key
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The keys of a running edge: a [`KeyRing`] that can be replaced while shards use it. Cheap to clone; all clones see
/// the same ring.
///
/// Reading takes a lock that only [`Self::replace`] ever holds for writing. What happens per packet (checking a
/// connection id that no connection has) reads a copy instead, see [`crate::cid::ShardCids`].
#[derive(Clone)]
pub struct Keys(Arc<Shared>);

struct Shared {
    ring: RwLock<KeyRing>,
    /// Counts replacements, so that a copy knows when it is old.
    version: AtomicU64,
}

impl Keys {
    /// Keys that start with `ring`.
    #[must_use]
    pub fn new(ring: KeyRing) -> Self {
        Self(Arc::new(Shared { ring: RwLock::new(ring), version: AtomicU64::new(0) }))
    }

    /// The keys of one secret, epoch 0.
    #[must_use]
    pub fn derive(secret: &[u8; 32]) -> Self {
        Self::new(KeyRing::from(*secret))
    }

    /// The ring as it is now.
    #[must_use]
    pub fn ring(&self) -> KeyRing {
        self.0.ring.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes a new ring into use at once. What was made with an epoch that both rings have goes on.
    ///
    /// # Errors
    /// [`RingError::Changed`] and [`RingError::Older`]: the ring in use stays.
    pub fn replace(&self, ring: KeyRing) -> Result<(), RingError> {
        let mut current = self.0.ring.write().unwrap_or_else(PoisonError::into_inner);
        ring.follows(&current)?;
        *current = ring;
        self.0.version.fetch_add(1, Ordering::Release);
        Ok(())
    }

    pub(crate) fn version(&self) -> u64 {
        self.0.version.load(Ordering::Acquire)
    }

    /// For [`quinn_proto::EndpointConfig`].
    pub(crate) fn reset_key(&self) -> Arc<dyn HmacKey> {
        Arc::new(ResetKey(self.clone()))
    }

    /// For [`quinn_proto::ServerConfig`].
    pub(crate) fn token_key(&self) -> Arc<dyn HandshakeTokenKey> {
        Arc::new(TokenKey(self.clone()))
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Keys").field(&self.ring()).finish()
    }
}

/// Stateless reset tokens: the same after a restart, so that clients of a dead process learn of it at once, and after a
/// rotation, because the connection id says which key its token was made with.
struct ResetKey(Keys);

impl ResetKey {
    fn with<T>(&self, cid: &[u8], with: impl FnOnce(&hmac::Key) -> T) -> T {
        let ring = self.0.ring();
        let epoch = cid.first().and_then(|first| ring.of_cid(*first));
        with(&epoch.unwrap_or_else(|| ring.current()).reset)
    }
}

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        self.with(data, |key| signature_out.copy_from_slice(hmac::sign(key, data).as_ref()));
    }

    fn signature_len(&self) -> usize {
        32
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        self.with(data, |key| hmac::verify(key, data, signature).map_err(|_| CryptoError))
    }
}

/// Retry tokens.
struct TokenKey(Keys);

impl HandshakeTokenKey for TokenKey {
    fn aead_from_hkdf(&self, random_bytes: &[u8]) -> Box<dyn AeadKey> {
        let ring = self.0.ring();
        let current = ring.current.token.aead_from_hkdf(random_bytes);
        match ring.previous {
            None => current,
            Some(previous) => Box::new(EitherAead { current, previous, random: random_bytes.into() }),
        }
    }
}

/// Seals with the current epoch and opens with either.
struct EitherAead {
    current: Box<dyn AeadKey>,
    previous: Arc<Epoch>,
    random: Box<[u8]>,
}

impl AeadKey for EitherAead {
    fn seal(&self, data: &mut Vec<u8>, additional_data: &[u8]) -> Result<(), CryptoError> {
        self.current.seal(data, additional_data)
    }

    fn open<'a>(&self, data: &'a mut [u8], additional_data: &[u8]) -> Result<&'a mut [u8], CryptoError> {
        // An attempt that fails leaves nobody knows what behind.
        let mut copy = data.to_vec();
        if let Ok(plain) = self.current.open(&mut copy, additional_data) {
            let (plain, len) = (&*plain, plain.len());
            data[..len].copy_from_slice(plain);
            return Ok(&mut data[..len]);
        }
        self.previous.token.aead_from_hkdf(&self.random).open(data, additional_data)
    }
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
