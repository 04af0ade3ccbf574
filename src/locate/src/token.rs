//! Report tokens: the proof that whoever reports round trips was given an answer before, in the same network.
//!
//! ```text
//! version u8 = 1 | epoch u8 | ends_s u64 | HMAC-SHA256(key, version | epoch | ends_s | network)   as base64url
//! ```
//!
//! A token of its own and not the resume token of a session: clients measure before they log in; a service that only locates has
//! never seen a session; and a report need not say whose it is. The key comes from the cluster's secret, so that each node takes what
//! another has given, and follows its rotation. The network is not in the token but under its seal: one cannot be used elsewhere,
//! which would give one place the voices of many.

use aws_lc_rs::{hkdf, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::network::Network;

/// How long a token is good, in seconds: a race and its probes take a few, and an answer is used for its TTL.
pub const TTL_S: u64 = 600;

/// How far the clocks of two nodes may be apart, in seconds.
const SKEW_S: u64 = 60;

const VERSION: u8 = 1;
const TAG: usize = 32;
const HEAD: usize = 2 + 8;

/// Length of a token as text.
pub const TOKEN_CHARS: usize = (HEAD + TAG) * 4 / 3;

/// Why a token is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Not a token.
    #[error("the token is malformed")]
    Malformed,
    /// Of a key that is not in use.
    #[error("the token's key is not in use here")]
    UnknownKey,
    /// Forged, or given to another network.
    #[error("the token is not good for this network")]
    Broken,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
}

/// The keys of the secrets in use.
#[derive(Clone)]
pub struct TokenKeys(Vec<(u8, hmac::Key)>);

impl std::fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(epoch, _)| epoch)).finish()
    }
}

impl TokenKeys {
    /// Keys of the cluster's secrets with their epochs, the current one first.
    #[must_use]
    pub fn new(secrets: &[(u32, [u8; 32])]) -> Self {
        let key = |(epoch, secret): &(u32, [u8; 32])| {
            let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, b"nearport locate 1").extract(secret);
            let mut key = [0; 32];
            let filled = prk.expand(&[b"report token"], hkdf::HKDF_SHA256).and_then(|okm| okm.fill(&mut key));
            filled.expect("32 bytes are one block");
            (epoch.to_be_bytes()[3], hmac::Key::new(hmac::HMAC_SHA256, &key))
        };
        Self(secrets.iter().map(key).collect())
    }

    /// A token for clients of a network. `now_s` is Unix seconds. `None` without any key.
    #[must_use]
    pub fn issue(&self, network: Network, now_s: u64) -> Option<String> {
        let (epoch, key) = self.0.first()?;
        let mut token = Vec::with_capacity(HEAD + TAG);
        token.extend_from_slice(&[VERSION, *epoch]);
        token.extend_from_slice(&now_s.saturating_add(TTL_S).to_be_bytes());
        let tag = hmac::sign(key, &signed(&token, network));
        token.extend_from_slice(tag.as_ref());
        Some(URL_SAFE_NO_PAD.encode(token))
    }

    /// Whether a token is good at `now_s` for a client of a network.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn check(&self, token: &str, network: Network, now_s: u64) -> Result<(), Refusal> {
        if token.len() != TOKEN_CHARS {
            return Err(Refusal::Malformed);
        }
        let token = URL_SAFE_NO_PAD.decode(token).map_err(|_| Refusal::Malformed)?;
        let Some((head, tag)) = token.split_first_chunk::<HEAD>() else { return Err(Refusal::Malformed) };
        let [version, epoch, ends @ ..] = *head;
        if version != VERSION {
            return Err(Refusal::Malformed);
        }
        let key = self.0.iter().find(|(known, _)| *known == epoch).ok_or(Refusal::UnknownKey)?;
        hmac::verify(&key.1, &signed(head, network), tag).map_err(|_| Refusal::Broken)?;
        let ends_s = u64::from_be_bytes(ends);
        let in_time = now_s <= ends_s.saturating_add(SKEW_S) && ends_s <= now_s + TTL_S + SKEW_S;
        in_time.then_some(()).ok_or(Refusal::Expired)
    }
}

fn signed(head: &[u8], network: Network) -> Vec<u8> {
    [head, &network.octets()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: u64 = 1_800_000_000;

    fn network(text: &str) -> Network {
        Network::of(text.parse().unwrap())
    }

    #[test]
    fn a_token_is_good_in_its_network_and_in_its_time() {
        let keys = TokenKeys::new(&[(2, [2; 32]), (1, [1; 32])]);
        let (here, there) = (network("192.0.2.1"), network("198.51.100.1"));
        let token = keys.issue(here, NOW).unwrap();
        assert_eq!(token.len(), TOKEN_CHARS);
        assert_eq!(keys.check(&token, network("192.0.2.200"), NOW), Ok(()));
        assert_eq!(keys.check(&token, here, NOW + TTL_S + SKEW_S), Ok(()));
        assert_eq!(keys.check(&token, here, NOW + TTL_S + SKEW_S + 1), Err(Refusal::Expired));
        assert_eq!(keys.check(&token, here, NOW - SKEW_S - 1), Err(Refusal::Expired));
        assert_eq!(keys.check(&token, there, NOW), Err(Refusal::Broken));
        // An IPv6 network whose first octets are the same is another one.
        assert_eq!(keys.check(&token, network("c000:200::1"), NOW), Err(Refusal::Broken));
        assert_eq!(TokenKeys::new(&[]).issue(here, NOW), None);
    }

    #[test]
    fn a_rotation_ends_tokens_only_after_two() {
        let here = network("192.0.2.1");
        let token = TokenKeys::new(&[(1, [1; 32])]).issue(here, NOW).unwrap();
        assert_eq!(TokenKeys::new(&[(2, [2; 32]), (1, [1; 32])]).check(&token, here, NOW), Ok(()));
        let later = TokenKeys::new(&[(3, [3; 32]), (2, [2; 32])]);
        assert_eq!(later.check(&token, here, NOW), Err(Refusal::UnknownKey));
        let foreign = TokenKeys::new(&[(1, [9; 32])]);
        assert_eq!(foreign.check(&token, here, NOW), Err(Refusal::Broken));
    }

    proptest! {
        #[test]
        fn nothing_else_is_taken(text in "[A-Za-z0-9_=-]{0,80}", at in 0..TOKEN_CHARS, bit in 0..6u8) {
            let (keys, here) = (TokenKeys::new(&[(1, [1; 32])]), network("192.0.2.1"));
            prop_assert!(keys.check(&text, here, NOW).is_err());
            let token = keys.issue(here, NOW).unwrap();
            let mut bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
            bytes[at * 3 / 4] ^= 1 << bit;
            prop_assert!(keys.check(&URL_SAFE_NO_PAD.encode(bytes), here, NOW).is_err());
        }
    }
}
