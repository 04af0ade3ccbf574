//! UserSig, the signed pass of a user: made by an App's back end, checked here at login and on REST calls.
//!
//! Two generations of the public contract are alive, and both travel in the same envelope (a flat JSON object,
//! then zlib, then base64 with `*`, `-` and `_` in place of `+`, `/` and `=`):
//!
//! | version | signature | key |
//! | --- | --- | --- |
//! | [`Version::V2`], all newer Apps | HMAC-SHA256 | the App's secret, **as its text**: the hex digits are not decoded |
//! | [`Version::V1`], older Apps | ECDSA P-256 with SHA-256, DER | the App holds the private key, we hold the public one |
//!
//! What is signed is not the JSON but a few lines of text made from its fields, one `name:value` line each. So the
//! same signature may sit in strings that differ in key order, white space or zlib output, and all of them are good:
//! **never compare UserSigs as strings.** A line break inside a field would let one signed text be read as two
//! different sets of fields, therefore control characters are refused in every field.
//!
//! [`verify`] checks in this order and stops at the first failure:
//!
//! 1. empty: 70002
//! 2. at most [`USERSIG_BYTES_MAX`] bytes, only the envelope's alphabet, whole base64: 70003
//! 3. one zlib stream of at most [`JSON_BYTES_MAX`] bytes, holding a flat JSON object without duplicate keys whose
//!    fields have the right form: 70005
//! 4. made for this App: 70014
//! 5. made for this user: 70013
//! 6. the App has a key for this version: 70016
//! 7. the signature: 70009
//! 8. the time: 70001, last, so that only a genuine UserSig is ever called expired
//!
//! All of it is pure: the caller brings the clock, and a hostile string costs at most 4 KiB of base64, 8 KiB of
//! JSON and one signature check.
//!
//! ```
//! use nearport_chat::usersig::{self, Expect, Keys, SigError};
//!
//! let secret = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
//! let issued_s = 1_700_000_000;
//! let pass = usersig::sign_v2(secret, 1_400_000_000, "alice", issued_s, 86_400, None);
//!
//! let keys = Keys { secret: Some(secret), public_key: None };
//! let alice = Expect { sdkappid: 1_400_000_000, user: "alice" };
//! let verified = usersig::verify(&pass, alice, &keys, issued_s + 60)?;
//! assert_eq!(verified.expires_s, issued_s + 86_400);
//!
//! let bob = Expect { user: "bob", ..alice };
//! let refused = usersig::verify(&pass, bob, &keys, issued_s + 60).unwrap_err();
//! assert_eq!(refused.code(), 70013);
//! # Ok::<(), SigError>(())
//! ```

mod claims;
mod envelope;
mod error;
mod fields;
mod key;
mod lines;
mod sign;
#[cfg(test)]
mod tests;

use aws_lc_rs::hmac;

pub use envelope::{JSON_BYTES_MAX, USERSIG_BYTES_MAX};
pub use error::SigError;
pub use key::{KeyError, PublicKey};
pub use sign::{sign_v1, sign_v2};

use claims::Claims;

/// Which generation of UserSig.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// ECDSA-SHA256, `TLS.sdk_appid` and `TLS.expire_after`.
    V1,
    /// HMAC-SHA256, `TLS.ver` = `"2.0"`.
    V2,
}

/// Whom the UserSig must be for, as the request says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expect<'a> {
    /// The App.
    pub sdkappid: u32,
    /// The user's name, compared byte for byte.
    pub user: &'a str,
}

/// A key of the App, or one of each version. A version whose key is `None` is switched off and answers 70016.
#[derive(Clone, Copy, Default)]
pub struct Keys<'a> {
    /// Secret of version 2, as its text. An empty secret counts as none: anybody could sign with it.
    pub secret: Option<&'a str>,
    /// Public key of version 1.
    pub public_key: Option<&'a PublicKey>,
}

impl std::fmt::Debug for Keys<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The secret must never reach a log.
        f.debug_struct("Keys")
            .field("secret", &self.secret.map(|_| "..."))
            .field("public_key", &self.public_key)
            .finish()
    }
}

/// What a good UserSig says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// When it was issued, Unix seconds, by the App's clock. It may lie in the future: the contract sets no limit,
    /// and one signed ahead outlives a kick, which refuses what was issued before it.
    pub issued_s: u64,
    /// The first Unix second at which it is no longer good.
    pub expires_s: u64,
    /// The App's own bytes (the contract uses them for room permissions), covered by the signature.
    pub userbuf: Option<Vec<u8>>,
    /// Which generation it is.
    pub version: Version,
}

/// Checks `usersig` against `expect` with the App's `keys`, at the time `now_unix_s` (Unix seconds).
///
/// Takes no lock and does no I/O. The HMAC is compared in constant time.
///
/// # Errors
/// [`SigError`], whose [`code`](SigError::code) is the 70xxx of the contract. The order of the checks is in the
/// [module docs](self).
pub fn verify(
    usersig: &str,
    expect: Expect<'_>,
    keys: &Keys<'_>,
    now_unix_s: u64,
) -> Result<Verified, SigError> {
    verify_any(usersig, expect, std::slice::from_ref(keys), now_unix_s)
}

/// The same with all keys that the App has: one of them is to have signed it.
///
/// # Errors
/// As [`verify`]. Without a key for the version 70016, without one that fits 70009.
pub fn verify_any(
    usersig: &str,
    expect: Expect<'_>,
    keys: &[Keys<'_>],
    now_unix_s: u64,
) -> Result<Verified, SigError> {
    let json = envelope::open(usersig)?;
    let fields = fields::parse(&json)?;
    let claims = Claims::read(&fields)?;
    if claims.sdkappid != u64::from(expect.sdkappid) {
        return Err(SigError::WrongApp { found: claims.sdkappid, expected: expect.sdkappid });
    }
    if claims.user != expect.user {
        return Err(SigError::WrongUser);
    }
    check_signature(&claims, keys)?;
    if now_unix_s >= claims.expires_s {
        return Err(SigError::Expired { expired_s: claims.expires_s, now_s: now_unix_s });
    }
    Ok(Verified {
        issued_s: claims.issued_s,
        expires_s: claims.expires_s,
        userbuf: claims.userbuf,
        version: claims.version,
    })
}

fn check_signature(claims: &Claims<'_>, keys: &[Keys<'_>]) -> Result<(), SigError> {
    let mut outcome = match claims.version {
        Version::V2 => SigError::NoSecret,
        Version::V1 => SigError::NoPublicKey,
    };
    for keys in keys {
        match check_with(claims, keys) {
            Ok(()) => return Ok(()),
            Err(SigError::BadSignature) => outcome = SigError::BadSignature,
            Err(_) => {}
        }
    }
    Err(outcome)
}

fn check_with(claims: &Claims<'_>, keys: &Keys<'_>) -> Result<(), SigError> {
    let text = claims.signed_text.as_bytes();
    let good = match claims.version {
        Version::V2 => {
            let secret = keys.secret.filter(|s| !s.is_empty()).ok_or(SigError::NoSecret)?;
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
            hmac::verify(&key, text, &claims.signature).is_ok()
        }
        Version::V1 => keys.public_key.ok_or(SigError::NoPublicKey)?.verifies(text, &claims.signature),
    };
    if good { Ok(()) } else { Err(SigError::BadSignature) }
}
