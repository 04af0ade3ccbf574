//! Small texts that a client keeps for us: sealed with a key that only the cluster has.
//!
//! ```text
//! octet 0       key epoch, modulo 256
//! octets 1..13  nonce, random
//! the rest      AES-256-GCM-SIV of the text, 16 octets longer; octet 0 is authenticated with it
//! ```
//!
//! GCM-SIV (RFC 8452) instead of GCM: every node of a cluster seals under the same key with random nonces, and GCM's
//! limit for those, 2^32 (NIST SP 800-38D §8.3), is five days at 10,000 handshakes a second. GCM-SIV has room for
//! 2^48 of these (RFC 8452 §9), and a nonce that comes twice would show no more than that two texts are equal.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;

/// What sealing adds to a text.
pub(crate) const OVERHEAD: usize = 1 + NONCE_LEN + 16;

/// A key for one purpose in one epoch.
pub(crate) struct SealKey(LessSafeKey);

/// Why something cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OpenError {
    /// Too short to have been sealed here.
    #[error("it was cut short")]
    Malformed,
    /// Sealed with a key that is not there any more, or not yet.
    #[error("its key epoch {0} is not in use here")]
    UnknownEpoch(u8),
    /// Somebody changed it, or made it.
    #[error("its seal is broken")]
    Broken,
}

impl SealKey {
    pub(crate) fn new(bytes: &[u8; 32]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM_SIV, bytes).expect("AES-256 takes 32 bytes");
        Self(LessSafeKey::new(key))
    }

    /// `None` only if the system gives no random bytes.
    pub(crate) fn seal(&self, epoch: u8, plain: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let mut sealed = Vec::with_capacity(OVERHEAD + plain.len());
        sealed.push(epoch);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plain);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let text = &mut sealed[1 + NONCE_LEN..];
        let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from([epoch]), text).ok()?;
        sealed.extend_from_slice(tag.as_ref());
        Some(sealed)
    }

    /// Opens what [`Self::seal`] made; the caller has chosen the key by the first octet.
    pub(crate) fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        if sealed.len() < OVERHEAD {
            return Err(OpenError::Malformed);
        }
        let (head, text) = sealed.split_at(1 + NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(&head[1..]).map_err(|_| OpenError::Malformed)?;
        let mut text = text.to_vec();
        let len = self
            .0
            .open_in_place(nonce, Aad::from([head[0]]), &mut text)
            .map_err(|_| OpenError::Broken)?
            .len();
        text.truncate(len);
        Ok(text)
    }
}
