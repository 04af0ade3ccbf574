//! Making UserSigs: for the command line, for tests, and for back ends written in Rust.

use aws_lc_rs::{hmac, rand::SystemRandom};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::claims::V1_DEFAULT;
use super::envelope;
use super::key::{self, KeyError};
use super::lines::Lines;

/// Signs a version 2 UserSig for `user` of App `sdkappid`, good for `expire_s` seconds from `issued_s` (Unix seconds).
///
/// `secret` is the App's secret as its text. The result has about 180 to 200 characters of `[A-Za-z0-9*_-]`, plus the
/// userbuf. It fails to verify if the secret is empty, the user's name is empty or holds control characters, or a
/// userbuf of more than about 2 KB pushes it over [`USERSIG_BYTES_MAX`](super::USERSIG_BYTES_MAX).
#[must_use]
pub fn sign_v2(
    secret: &str,
    sdkappid: u32,
    user: &str,
    issued_s: u64,
    expire_s: u64,
    userbuf: Option<&[u8]>,
) -> String {
    let userbuf = userbuf.map(|bytes| STANDARD.encode(bytes));
    let text = Lines {
        user,
        sdkappid: &sdkappid.to_string(),
        issued_s: &issued_s.to_string(),
        expire_s: &expire_s.to_string(),
        userbuf: userbuf.as_deref(),
    }
    .v2();
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let mut fields = json!({
        "TLS.ver": "2.0",
        "TLS.identifier": user,
        "TLS.sdkappid": sdkappid,
        "TLS.time": issued_s,
        "TLS.expire": expire_s,
        "TLS.sig": STANDARD.encode(hmac::sign(&key, text.as_bytes())),
    });
    if let Some(userbuf) = userbuf {
        fields["TLS.userbuf"] = userbuf.into();
    }
    envelope::seal(fields.to_string().as_bytes())
}

/// Signs a version 1 UserSig with a P-256 private key in PEM (`PRIVATE KEY` or `EC PRIVATE KEY`, not encrypted).
///
/// The other arguments and limits are those of [`sign_v2`]. All values are JSON strings, `TLS.appid_at_3rd` and
/// `TLS.account_type` are `"0"`, as most libraries of the contract write them. ECDSA is randomised: two calls differ.
///
/// # Errors
/// [`KeyError`] if the key cannot be read or is not on P-256.
pub fn sign_v1(
    private_key_pem: &str,
    sdkappid: u32,
    user: &str,
    issued_s: u64,
    expire_s: u64,
    userbuf: Option<&[u8]>,
) -> Result<String, KeyError> {
    let key = key::private_key(private_key_pem)?;
    let userbuf = userbuf.map(|bytes| STANDARD.encode(bytes));
    let lines = Lines {
        user,
        sdkappid: &sdkappid.to_string(),
        issued_s: &issued_s.to_string(),
        expire_s: &expire_s.to_string(),
        userbuf: userbuf.as_deref(),
    };
    let text = lines.v1(V1_DEFAULT, V1_DEFAULT);
    let signature = key.sign(&SystemRandom::new(), text.as_bytes()).map_err(|_| KeyError::Sign)?;
    let mut fields = json!({
        "TLS.appid_at_3rd": V1_DEFAULT,
        "TLS.account_type": V1_DEFAULT,
        "TLS.identifier": user,
        "TLS.sdk_appid": lines.sdkappid,
        "TLS.time": lines.issued_s,
        "TLS.expire_after": lines.expire_s,
        "TLS.sig": STANDARD.encode(signature),
    });
    if let Some(userbuf) = lines.userbuf {
        fields["TLS.userbuf"] = userbuf.into();
    }
    Ok(envelope::seal(fields.to_string().as_bytes()))
}
