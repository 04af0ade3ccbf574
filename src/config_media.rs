//! Settings of files of messages.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use crate::duration;

/// Seconds of a day.
const DAY_S: u64 = 86_400;
/// No limit may be above this: a single upload would take a disk.
const BYTES_MAX: u64 = 16 << 30;

/// `media.*`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in KEYS, where `config explain` finds it")]
pub struct Media {
    pub enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<PathBuf>,
    pub image_bytes_max: u64,
    pub sound_bytes_max: u64,
    pub video_bytes_max: u64,
    pub file_bytes_max: u64,
    pub user_bytes_max: u64,
    pub app_bytes_max: u64,
    #[serde(with = "duration::text")]
    pub upload_ttl: Duration,
    pub expiry_days: u32,
    #[serde(with = "duration::text")]
    pub url_ttl: Duration,
    pub chunk_bytes: u32,
    pub origins: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3_endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3_bucket: Option<String>,
    pub s3_region: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3_access_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3_secret_key: Option<Hidden>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3_secret_key_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3_ca: Option<PathBuf>,
}

/// A secret among settings: read, and never shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Hidden(pub String);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hidden")
    }
}

impl Serialize for Hidden {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("hidden")
    }
}

impl Default for Media {
    fn default() -> Self {
        Self {
            enabled: true,
            url: None,
            dir: None,
            // As the contract has them.
            image_bytes_max: 28 << 20,
            sound_bytes_max: 28 << 20,
            video_bytes_max: 100 << 20,
            file_bytes_max: 100 << 20,
            // Two of the largest at once.
            user_bytes_max: 200 << 20,
            app_bytes_max: 10 << 30,
            upload_ttl: Duration::from_hours(24),
            expiry_days: 7,
            url_ttl: Duration::from_hours(7 * 24),
            chunk_bytes: 4 << 20,
            origins: Vec::new(),
            s3_endpoint: None,
            s3_bucket: None,
            s3_region: "us-east-1".into(),
            s3_access_key: None,
            s3_secret_key: None,
            s3_secret_key_file: None,
            s3_ca: None,
        }
    }
}

impl Media {
    /// How long what was uploaded is kept.
    pub(crate) fn expiry(&self) -> Option<Duration> {
        (self.expiry_days > 0).then(|| Duration::from_secs(u64::from(self.expiry_days) * DAY_S))
    }

    /// Rules beyond single types.
    pub(crate) fn check(&self) -> Result<(), (&'static str, String)> {
        let limits = [
            ("media.image_bytes_max", self.image_bytes_max),
            ("media.sound_bytes_max", self.sound_bytes_max),
            ("media.video_bytes_max", self.video_bytes_max),
            ("media.file_bytes_max", self.file_bytes_max),
        ];
        for (key, limit) in limits {
            if !(1..=BYTES_MAX).contains(&limit) {
                return Err((key, "must be 1 byte to 16 GiB".into()));
            }
            if limit > self.user_bytes_max {
                let why = format!("must be at least {key}, or else nobody can send one so large");
                return Err(("media.user_bytes_max", why));
            }
        }
        if self.app_bytes_max < self.user_bytes_max {
            return Err(("media.app_bytes_max", "must be at least media.user_bytes_max".into()));
        }
        let within = |least: Duration, most: Duration, value: Duration| (least..=most).contains(&value);
        if !within(Duration::from_mins(10), Duration::from_hours(7 * 24), self.upload_ttl) {
            return Err(("media.upload_ttl", "must be 10m to 7d".into()));
        }
        if !within(Duration::from_mins(1), Duration::from_hours(365 * 24), self.url_ttl) {
            return Err(("media.url_ttl", "must be 1m to 365d".into()));
        }
        // Below, requests cost more than they carry; above, a cut costs too much.
        if !(64 << 10..=64 << 20).contains(&self.chunk_bytes) {
            return Err(("media.chunk_bytes", "must be 64 KiB to 64 MiB".into()));
        }
        let is_url = |text: &str| {
            text.strip_prefix("https://")
                .or_else(|| text.strip_prefix("http://"))
                .is_some_and(|rest| !rest.is_empty() && !rest.contains(['?', '#', ' ']))
        };
        if self.url.as_deref().is_some_and(|url| !is_url(url)) {
            return Err(("media.url", "must begin with https:// or http:// and have no query".into()));
        }
        let bad =
            self.origins.iter().find(|origin| *origin != "*" && (!is_url(origin) || origin.ends_with('/')));
        if let Some(origin) = bad {
            return Err((
                "media.origins",
                format!("`{origin}`: write scheme and host as https://app.example.org, or *"),
            ));
        }
        self.check_s3(is_url)
    }

    fn check_s3(&self, is_url: impl Fn(&str) -> bool) -> Result<(), (&'static str, String)> {
        let Some(_) = &self.s3_bucket else {
            return match &self.s3_endpoint {
                Some(_) => Err(("media.s3_endpoint", "it needs media.s3_bucket beside it".into())),
                None => Ok(()),
            };
        };
        match &self.s3_endpoint {
            Some(endpoint) if is_url(endpoint) => {}
            Some(_) => return Err(("media.s3_endpoint", "must begin with https:// or http://".into())),
            None => return Err(("media.s3_bucket", "it needs media.s3_endpoint beside it".into())),
        }
        if self.s3_access_key.is_none() {
            return Err(("media.s3_bucket", "it needs media.s3_access_key beside it".into()));
        }
        match (&self.s3_secret_key, &self.s3_secret_key_file) {
            (None, None) => Err((
                "media.s3_access_key",
                "it needs media.s3_secret_key or media.s3_secret_key_file".into(),
            )),
            (Some(_), Some(_)) => {
                Err(("media.s3_secret_key_file", "media.s3_secret_key is set too: which one counts?".into()))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bad_value_is_named() {
        Media::default().check().unwrap();
        type Spoil = fn(&mut Media);
        let s3 = |media: &mut Media| {
            media.s3_bucket = Some("b".into());
            media.s3_endpoint = Some("http://127.0.0.1:1".into());
            media.s3_access_key = Some("id".into());
            media.s3_secret_key = Some(Hidden("key".into()));
        };
        let mut good = Media::default();
        s3(&mut good);
        good.check().unwrap();
        let bad: [(Spoil, &str); 12] = [
            (|m| m.image_bytes_max = 0, "media.image_bytes_max"),
            (|m| m.file_bytes_max = 201 << 20, "media.user_bytes_max"),
            (|m| m.app_bytes_max = 1, "media.app_bytes_max"),
            (|m| m.upload_ttl = Duration::ZERO, "media.upload_ttl"),
            (|m| m.url_ttl = Duration::ZERO, "media.url_ttl"),
            (|m| m.chunk_bytes = 1, "media.chunk_bytes"),
            (|m| m.url = Some("files.example.org".into()), "media.url"),
            (|m| m.origins = vec!["https://a.example/".into()], "media.origins"),
            (|m| m.s3_endpoint = None, "media.s3_bucket"),
            (|m| m.s3_bucket = None, "media.s3_endpoint"),
            (|m| m.s3_secret_key = None, "media.s3_access_key"),
            (|m| m.s3_secret_key_file = Some("f".into()), "media.s3_secret_key_file"),
        ];
        for (spoil, key) in bad {
            let mut media = good.clone();
            spoil(&mut media);
            assert_eq!(media.check().unwrap_err().0, key);
        }
    }

    #[test]
    fn a_secret_is_read_and_never_shown() {
        let media: Media = toml::from_str("s3_secret_key = \"abc\"").unwrap();
        assert_eq!(media.s3_secret_key, Some(Hidden("abc".into())));
        let shown = format!("{media:?}{}", toml::to_string(&media).unwrap());
        assert!(shown.contains("hidden") && !shown.contains("abc"), "{shown}");
    }
}
