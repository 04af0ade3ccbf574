use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::io::Write as _;

use super::*;

mod properties;
mod refusals;
mod vectors;

const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Throw-away keys made for these tests: one P-256 key in both private forms, and one on P-384.
const PKCS8: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgm2qyn2+KtHZluRVe
j+g4brU907gAAJ7aOGMwhiOQlXGhRANCAATfD9irAzr9cIazJqqwQIy5XR1hSFDD
3kl3POss3cGsoC3Z+b4VOKsROmtmLh+Oy4Ohl1zp43TYLyGO5DILPFIJ
-----END PRIVATE KEY-----
";
const SEC1: &str = "\
-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIJtqsp9virR2ZbkVXo/oOG61PdO4AACe2jhjMIYjkJVxoAoGCCqGSM49
AwEHoUQDQgAE3w/YqwM6/XCGsyaqsECMuV0dYUhQw95JdzzrLN3BrKAt2fm+FTir
ETprZi4fjsuDoZdc6eN02C8hjuQyCzxSCQ==
-----END EC PRIVATE KEY-----
";
const PUBLIC: &str = "\
-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE3w/YqwM6/XCGsyaqsECMuV0dYUhQ
w95JdzzrLN3BrKAt2fm+FTirETprZi4fjsuDoZdc6eN02C8hjuQyCzxSCQ==
-----END PUBLIC KEY-----
";
const PUBLIC_P384: &str = "\
-----BEGIN PUBLIC KEY-----
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAE0AncSXq+yQqzELNi9ljNwFka4vqQQUAm
7npIYpexhMccGzGp3VcT80L6JPfE/s995j3zRnhmfpejqtHWIBOQxsDoxnfAHrl4
+o3VWWsuNUNXmspRXUtotwtsSfMwhItU
-----END PUBLIC KEY-----
";
const PKCS8_P384: &str = "\
-----BEGIN PRIVATE KEY-----
MIG2AgEAMBAGByqGSM49AgEGBSuBBAAiBIGeMIGbAgEBBDCWIcc43mGXeDyfa7Xb
fM93gXa96U3n3sb4r6+/U/MrpTuZA0nzIwivwzvt216CfWKhZANiAATQCdxJer7J
CrMQs2L2WM3AWRri+pBBQCbuekhil7GExxwbMandVxPzQvok98T+z33mPfNGeGZ+
l6Oq0dYgE5DGwOjGd8AeuXj6jdVZay41Q1eaylFdS2i3C2xJ8zCEi1Q=
-----END PRIVATE KEY-----
";

const APP: u32 = 1_400_000_000;
const ISSUED: u64 = 1_700_000_000;
const EXPIRE: u64 = 86_400;
const ALICE: Expect<'static> = Expect { sdkappid: APP, user: "alice" };

fn secret_keys() -> Keys<'static> {
    Keys { secret: Some(SECRET), public_key: None }
}

fn public_key() -> PublicKey {
    PublicKey::from_pem(PUBLIC).unwrap()
}

/// The JSON inside a UserSig.
fn fields_of(usersig: &str) -> Value {
    serde_json::from_slice(&envelope::open(usersig).unwrap()).unwrap()
}

/// zlib and base64 around any bytes, as an attacker can make them.
fn seal_zlib(zlib: &[u8]) -> String {
    STANDARD.encode(zlib).replace('+', "*").replace('/', "-").replace('=', "_")
}

fn zlib(content: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// Fields of version 2 with a signature over exactly the texts given, so that only their form can be refused.
fn signed_v2(user: &str, issued: &Value, expire: &Value) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let signed_text = lines::Lines {
        user,
        sdkappid: &APP.to_string(),
        issued_s: &text(issued),
        expire_s: &text(expire),
        userbuf: None,
    }
    .v2();
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let sig = STANDARD.encode(hmac::sign(&key, signed_text.as_bytes()));
    let fields = json!({
        "TLS.ver": "2.0", "TLS.identifier": user, "TLS.sdkappid": APP, "TLS.time": issued, "TLS.expire": expire,
        "TLS.sig": sig,
    });
    envelope::seal(fields.to_string().as_bytes())
}
