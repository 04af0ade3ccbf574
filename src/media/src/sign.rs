//! What makes a URL good: HMAC-SHA256 under keys that come from the cluster's secret.
//!
//! ```text
//! upload    /v1/media/upload/TOKEN               TOKEN = base64url(version u8 = 1 | epoch u8 | tag 32 | claims as JSON)
//! download  /v1/media/APP/UUID/VARIANT?e=ENDS&k=EPOCH&s=TAG
//! ```
//!
//! An upload's token holds all that was agreed when it began, so the server need not remember it: any process with the secret
//! takes it up, after any restart. Nothing is listed anywhere; whoever has a URL may use it until it ends. The keys follow the secret's rotation as
//! resume tokens do: what was signed is good through one rotation.

use aws_lc_rs::{hkdf, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::id::MediaId;
use crate::kind::Kind;

/// How far the clocks of two nodes may be apart, in seconds.
const SKEW_S: u64 = 60;

const VERSION: u8 = 1;
const TAG: usize = 32;
const HEAD: usize = 2 + TAG;

/// Longest token that is looked at. A name of 255 bytes makes some 900.
const TOKEN_CHARS_MAX: usize = 2_048;

/// What was agreed when an upload began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    #[serde(rename = "a")]
    pub(crate) app: u32,
    #[serde(rename = "u")]
    pub(crate) user: String,
    #[serde(rename = "i", with = "text")]
    pub(crate) id: MediaId,
    #[serde(rename = "k")]
    pub(crate) kind: Kind,
    #[serde(rename = "s")]
    pub(crate) size: u64,
    /// Of the whole content.
    #[serde(rename = "h", with = "hash", default, skip_serializing_if = "Option::is_none")]
    pub(crate) sha256: Option<[u8; 32]>,
    #[serde(rename = "n", default)]
    pub(crate) name: String,
    #[serde(rename = "t", default)]
    pub(crate) content_type: String,
    /// Unix seconds.
    #[serde(rename = "e")]
    pub(crate) expires_s: u64,
}

/// Which form of what was uploaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Variant {
    /// As it came.
    Original,
    /// An image whose shorter side has at most 720 pixels.
    Large,
    /// An image whose shorter side has at most 198 pixels.
    Thumb,
}

impl Variant {
    /// All of them, as the contract numbers them: 1, 2, 3.
    pub(crate) const ALL: [Self; 3] = [Self::Original, Self::Large, Self::Thumb];

    /// Its word in paths.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Original => "original",
            Self::Large => "large",
            Self::Thumb => "thumb",
        }
    }

    pub(crate) fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|variant| variant.word() == word)
    }
}

/// Why a URL is not good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Not one of ours.
    #[error("the address is malformed")]
    Malformed,
    /// Of a key that is not in use.
    #[error("the address was signed with a key that is not in use here: ask for a new one")]
    UnknownKey,
    /// Forged, or changed.
    #[error("the signature is not good")]
    Broken,
    /// Its time is over.
    #[error("the address has expired: ask for a new one")]
    Expired,
}

/// The keys of the secrets in use.
pub(crate) struct SignKeys(Vec<Epoch>);

struct Epoch {
    number: u8,
    upload: hmac::Key,
    download: hmac::Key,
}

impl SignKeys {
    /// Keys of the cluster's secrets with their epochs, the current one first.
    pub(crate) fn new(secrets: &[(u32, [u8; 32])]) -> Self {
        let epoch = |(epoch, secret): &(u32, [u8; 32])| {
            let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, b"nearport media 1").extract(secret);
            let key = |purpose: &[u8]| {
                let mut key = [0; 32];
                let info = [purpose];
                let filled = prk.expand(&info, hkdf::HKDF_SHA256).and_then(|okm| okm.fill(&mut key));
                filled.expect("32 bytes are one block");
                hmac::Key::new(hmac::HMAC_SHA256, &key)
            };
            Epoch { number: epoch.to_be_bytes()[3], upload: key(b"upload"), download: key(b"download") }
        };
        Self(secrets.iter().map(epoch).collect())
    }

    fn epoch(&self, number: u8) -> Result<&Epoch, Refusal> {
        self.0.iter().find(|epoch| epoch.number == number).ok_or(Refusal::UnknownKey)
    }

    /// The token of an upload. `None` without any key.
    pub(crate) fn upload_token(&self, claims: &Claims) -> Option<String> {
        let epoch = self.0.first()?;
        let json = serde_json::to_vec(claims).ok()?;
        let head = [VERSION, epoch.number];
        let tag = hmac::sign(&epoch.upload, &[&head[..], &json].concat());
        Some(URL_SAFE_NO_PAD.encode([&head[..], tag.as_ref(), &json].concat()))
    }

    /// What [`Self::upload_token`] was given.
    pub(crate) fn open_upload(&self, token: &str, now_s: u64) -> Result<Claims, Refusal> {
        if token.len() > TOKEN_CHARS_MAX {
            return Err(Refusal::Malformed);
        }
        let token = URL_SAFE_NO_PAD.decode(token).map_err(|_| Refusal::Malformed)?;
        let Some((head, json)) = token.split_first_chunk::<HEAD>() else { return Err(Refusal::Malformed) };
        let [version, epoch, tag @ ..] = head;
        if *version != VERSION {
            return Err(Refusal::Malformed);
        }
        let signed = [&[*version, *epoch][..], json].concat();
        hmac::verify(&self.epoch(*epoch)?.upload, &signed, tag).map_err(|_| Refusal::Broken)?;
        let claims: Claims = serde_json::from_slice(json).map_err(|_| Refusal::Malformed)?;
        if now_s > claims.expires_s.saturating_add(SKEW_S) { Err(Refusal::Expired) } else { Ok(claims) }
    }

    /// Path and query of a download that is good until `ends_s`. `None` without any key.
    pub(crate) fn download_path(
        &self,
        app: u32,
        id: MediaId,
        variant: Variant,
        ends_s: u64,
    ) -> Option<String> {
        let epoch = self.0.first()?;
        let tag = hmac::sign(&epoch.download, &download(epoch.number, app, id, variant, ends_s));
        let (word, number) = (variant.word(), epoch.number);
        Some(format!("/v1/media/{app}/{id}/{word}?e={ends_s}&k={number}&s={}", URL_SAFE_NO_PAD.encode(tag)))
    }

    /// Whether such a path is good at `now_s`. Gives the seconds that are left of it.
    pub(crate) fn check_download(
        &self,
        app: u32,
        id: MediaId,
        variant: Variant,
        query: &str,
        now_s: u64,
    ) -> Result<u64, Refusal> {
        let (mut ends, mut number, mut tag) = (None, None, None);
        for pair in query.split('&') {
            match pair.split_once('=') {
                Some(("e", value)) => ends = value.parse::<u64>().ok(),
                Some(("k", value)) => number = value.parse::<u8>().ok(),
                Some(("s", value)) => tag = URL_SAFE_NO_PAD.decode(value).ok(),
                // What proxies and pages add.
                _ => {}
            }
        }
        let (Some(ends_s), Some(number), Some(tag)) = (ends, number, tag) else {
            return Err(Refusal::Malformed);
        };
        let key = &self.epoch(number)?.download;
        hmac::verify(key, &download(number, app, id, variant, ends_s), &tag).map_err(|_| Refusal::Broken)?;
        if now_s > ends_s.saturating_add(SKEW_S) {
            return Err(Refusal::Expired);
        }
        Ok(ends_s.saturating_sub(now_s))
    }
}

fn download(epoch: u8, app: u32, id: MediaId, variant: Variant, ends_s: u64) -> Vec<u8> {
    let mut text = vec![VERSION, epoch];
    text.extend_from_slice(&app.to_be_bytes());
    text.extend_from_slice(id.bytes());
    text.extend_from_slice(variant.word().as_bytes());
    text.push(0);
    text.extend_from_slice(&ends_s.to_be_bytes());
    text
}

mod text {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use crate::id::MediaId;

    pub(super) fn serialize<S: Serializer>(id: &MediaId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<MediaId, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

mod hash {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        hash: &Option<[u8; 32]>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hash.map(|hash| URL_SAFE_NO_PAD.encode(hash)).unwrap_or_default())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<[u8; 32]>, D::Error> {
        let bytes = URL_SAFE_NO_PAD.decode(String::deserialize(deserializer)?);
        let bytes = bytes.map_err(serde::de::Error::custom)?;
        bytes.try_into().map(Some).map_err(|_| serde::de::Error::custom("not 32 bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: u64 = 1_800_000_000;

    fn claims() -> Claims {
        Claims {
            app: 7,
            user: "alice".into(),
            id: MediaId::new(NOW * 1000).unwrap(),
            kind: Kind::Image,
            size: 12,
            sha256: Some([3; 32]),
            name: "a \"picture\".png".into(),
            content_type: "image/png".into(),
            expires_s: NOW + 100,
        }
    }

    #[test]
    fn a_token_is_what_was_agreed_until_its_time_is_over() {
        let keys = SignKeys::new(&[(2, [2; 32]), (1, [1; 32])]);
        for claims in [claims(), Claims { sha256: None, ..claims() }] {
            let token = keys.upload_token(&claims).unwrap();
            assert_eq!(keys.open_upload(&token, NOW + 100 + SKEW_S), Ok(claims));
            assert_eq!(keys.open_upload(&token, NOW + 101 + SKEW_S), Err(Refusal::Expired));
        }
        assert_eq!(SignKeys::new(&[]).upload_token(&claims()), None);
    }

    #[test]
    fn a_download_is_good_for_what_it_names_alone() {
        let keys = SignKeys::new(&[(2, [2; 32])]);
        let id = MediaId::new(NOW * 1000).unwrap();
        let path = keys.download_path(7, id, Variant::Large, NOW + 100).unwrap();
        let (path, query) = path.split_once('?').unwrap();
        assert_eq!(path, format!("/v1/media/7/{id}/large"));
        let check = |app, id, variant, query: &str, now| keys.check_download(app, id, variant, query, now);
        assert_eq!(check(7, id, Variant::Large, query, NOW), Ok(100));
        assert_eq!(check(7, id, Variant::Large, &format!("{query}&utm=1"), NOW), Ok(100));
        assert_eq!(check(7, id, Variant::Large, query, NOW + 161), Err(Refusal::Expired));
        assert_eq!(check(7, id, Variant::Original, query, NOW), Err(Refusal::Broken));
        assert_eq!(check(8, id, Variant::Large, query, NOW), Err(Refusal::Broken));
        let other = MediaId::new(NOW * 1000).unwrap();
        assert_eq!(check(7, other, Variant::Large, query, NOW), Err(Refusal::Broken));
        let later = query.replace(&format!("e={}", NOW + 100), &format!("e={}", NOW + 999));
        assert_eq!(check(7, id, Variant::Large, &later, NOW), Err(Refusal::Broken));
        assert_eq!(check(7, id, Variant::Large, "", NOW), Err(Refusal::Malformed));
    }

    #[test]
    fn a_rotation_ends_urls_only_after_two() {
        let (claims, id) = (claims(), MediaId::new(NOW * 1000).unwrap());
        let first = SignKeys::new(&[(1, [1; 32])]);
        let token = first.upload_token(&claims).unwrap();
        let path = first.download_path(7, id, Variant::Thumb, NOW).unwrap();
        let query = path.split_once('?').unwrap().1;
        let second = SignKeys::new(&[(2, [2; 32]), (1, [1; 32])]);
        assert!(second.open_upload(&token, NOW).is_ok());
        assert!(second.check_download(7, id, Variant::Thumb, query, NOW).is_ok());
        let third = SignKeys::new(&[(3, [3; 32]), (2, [2; 32])]);
        assert_eq!(third.open_upload(&token, NOW), Err(Refusal::UnknownKey));
        assert_eq!(third.check_download(7, id, Variant::Thumb, query, NOW), Err(Refusal::UnknownKey));
        assert_eq!(SignKeys::new(&[(1, [9; 32])]).open_upload(&token, NOW), Err(Refusal::Broken));
    }

    proptest! {
        #[test]
        fn nothing_else_is_taken(text in "[A-Za-z0-9_-]{0,300}", at in 0..200usize, bit in 0..8u8) {
            let keys = SignKeys::new(&[(1, [1; 32])]);
            prop_assert!(keys.open_upload(&text, NOW).is_err());
            let mut bytes = URL_SAFE_NO_PAD.decode(keys.upload_token(&claims()).unwrap()).unwrap();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            prop_assert!(keys.open_upload(&URL_SAFE_NO_PAD.encode(bytes), NOW).is_err());
        }

        #[test]
        fn no_query_panics(query in "\\PC{0,200}|e=[0-9]{0,30}&k=[0-9]{0,4}&s=[A-Za-z0-9_-]{0,60}") {
            let id = MediaId::new(NOW * 1000).unwrap();
            let checked = SignKeys::new(&[(1, [1; 32])]).check_download(7, id, Variant::Thumb, &query, NOW);
            prop_assert!(checked.is_err());
        }
    }
}
