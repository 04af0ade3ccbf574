//! One cluster secret, many keys (RFC 5869): what leaks through one use says nothing about another.

use std::sync::Arc;

use aws_lc_rs::{hkdf, hmac};
use quinn_proto::crypto::{HandshakeTokenKey, HmacKey};

use crate::cid::CidKey;

/// The keys of an edge.
#[derive(Clone)]
pub struct Keys {
    /// Stateless reset tokens: the same after a restart, so that clients of a dead process learn of it at once.
    pub(crate) reset: Arc<dyn HmacKey>,
    /// Retry and address validation tokens.
    pub(crate) token: Arc<dyn HandshakeTokenKey>,
    /// Connection ids.
    pub(crate) cid: CidKey,
}

struct Len(usize);

impl hkdf::KeyType for Len {
    fn len(&self) -> usize {
        self.0
    }
}

impl Keys {
    /// Derives the keys from the cluster's secret.
    #[must_use]
    pub fn derive(secret: &[u8; 32]) -> Self {
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, b"nearport edge 1").extract(secret);
        let reset: [u8; 32] = expand(&prk, b"stateless reset");
        let token: [u8; 32] = expand(&prk, b"address token");
        Self {
            reset: Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &reset)),
            token: Arc::new(hkdf::Salt::new(hkdf::HKDF_SHA256, b"").extract(&token)),
            cid: CidKey::new(&expand(&prk, b"connection id")),
        }
    }
}

fn expand<const N: usize>(prk: &hkdf::Prk, info: &[u8]) -> [u8; N] {
    let mut key = [0; N];
    let filled = prk.expand(&[info], Len(N)).and_then(|okm| okm.fill(&mut key));
    filled.expect("at most 32 bytes, far below 255 blocks");
    key
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys")
    }
}
