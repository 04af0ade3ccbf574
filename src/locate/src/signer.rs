//! The key that signs maps.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use nearport_geo::signed::{Map, key_id};

/// An Ed25519 key.
pub struct Signer(Ed25519KeyPair);

/// Octets that are no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an Ed25519 key in PKCS#8")]
pub struct NoKey;

impl Signer {
    /// A fresh key as PKCS#8, to be kept. `None` if the system gives no random bytes.
    #[must_use]
    pub fn generate() -> Option<Vec<u8>> {
        Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).ok().map(|key| key.as_ref().to_vec())
    }

    /// A key that was kept.
    ///
    /// # Errors
    /// [`NoKey`].
    pub fn new(pkcs8: &[u8]) -> Result<Self, NoKey> {
        Ed25519KeyPair::from_pkcs8(pkcs8).map(Self).map_err(|_| NoKey)
    }

    /// The public key, which clients have.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        self.0.public_key().as_ref().try_into().unwrap_or([0; 32])
    }

    /// Seals any other text. What is signed for clients begins differently, so that neither can be taken for the other.
    #[must_use]
    pub fn seal(&self, text: &[u8]) -> Vec<u8> {
        self.0.sign(text).as_ref().to_vec()
    }

    /// Whether this key sealed it.
    #[must_use]
    pub fn is_sealed(&self, text: &[u8], seal: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0.public_key().as_ref()).verify(text, seal).is_ok()
    }

    pub(crate) fn sign(&self, map: &Map) -> String {
        map.sign(&self.0)
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Signer").field(&key_id(&self.public())).finish()
    }
}
