//! [`Media`]: what sessions ask it, and what the routes share.

use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::Semaphore;

use crate::Error;
use crate::about::{ABOUT_BYTES_MAX, About, Abouts};
use crate::config::Config;
use crate::id::{DAY_S, MediaId};
use crate::kind::Kind;
use crate::metrics::Metrics;
use crate::objects::{Objects, What, blocking};
use crate::sign::{Claims, SignKeys, Variant};
use crate::staging::Staging;
use crate::underway::{Full, Underway};

/// Requests that carry content at once, each with a buffer of 256 KiB or less; more are told to come again.
const UPLOADS_AT_ONCE: usize = 128;
const DOWNLOADS_AT_ONCE: usize = 512;
/// Complete uploads that are examined at once, and the memory for their pixels, MiB. More wait their turn.
const EXAMINED_AT_ONCE: usize = 4;
pub(crate) const PIXEL_MEMORY_MIB: usize = 256;

/// Longest name of a file and of a type, octets.
const NAME_BYTES_MAX: usize = 255;
const TYPE_BYTES_MAX: usize = 127;

/// How often what has expired is looked for, and how much of it goes at once.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
const SWEEP_OBJECTS_MAX: usize = 10_000;
/// Every how many of these the store is asked for old days.
const SWEEPS_PER_OBJECTS: u32 = 10;

/// What a client announces.
#[derive(Debug, Clone)]
pub struct Begin<'a> {
    /// What it is for.
    pub kind: Kind,
    /// As its sender calls it.
    pub name: &'a str,
    /// Octets.
    pub size: u64,
    /// Of the content: 32 octets, or none.
    pub sha256: &'a [u8],
    /// As its sender believes.
    pub content_type: &'a str,
}

/// Where an upload goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    /// Where its content is sent.
    pub upload_url: String,
    /// Unix seconds at which that ends.
    pub expires_s: u64,
    /// How much one request should carry.
    pub chunk_bytes: u32,
    /// Where it is found once it is complete.
    pub urls: Urls,
}

/// Where an upload is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Urls {
    /// Its name.
    pub uuid: String,
    /// As it came.
    pub url: String,
    /// Smaller, if it is an image.
    pub large_url: String,
    /// Smallest, if it is an image.
    pub thumb_url: String,
    /// Unix seconds at which these end.
    pub expires_s: u64,
}

/// Why a call is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// Something in it cannot be.
    #[error("{0}")]
    Malformed(String),
    /// Larger than its kind may be.
    #[error("a {} has at most {most} bytes", kind.word())]
    TooLarge {
        /// What it is for.
        kind: Kind,
        /// The limit.
        most: u64,
    },
    /// A bound of the user, the App or the server.
    #[error("{0}")]
    Busy(String),
    /// Not now: the server is starting, or has no random bytes.
    #[error("media is not available, try again")]
    Unavailable,
}

/// The service. One per process.
pub struct Media {
    pub(crate) config: Config,
    keys: RwLock<Arc<SignKeys>>,
    /// Scheme, host and port in front of the routes.
    base: OnceLock<String>,
    underway: Mutex<Underway>,
    pub(crate) staging: Arc<Staging>,
    pub(crate) objects: Objects,
    abouts: Abouts,
    pub(crate) uploads: Arc<Semaphore>,
    pub(crate) downloads: Arc<Semaphore>,
    pub(crate) examining: Arc<Semaphore>,
    /// In MiB.
    pub(crate) pixels: Arc<Semaphore>,
    pub(crate) metrics: Metrics,
}

impl fmt::Debug for Media {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Media").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Media {
    /// Opens the store and takes up what an earlier process left. `secrets` are the cluster's with their epochs, the current one
    /// first. Blocks.
    ///
    /// # Errors
    /// [`Error`].
    pub fn open(config: Config, secrets: &[(u32, [u8; 32])]) -> Result<Self, Error> {
        let failed = |source| Error::Directory { path: config.dir.clone(), source };
        let staging = Staging::open(config.dir.join("staging")).map_err(failed)?;
        let objects = Objects::open(&config.storage, &config.dir)?;
        let mut underway = Underway::new(config.user_bytes_max, config.app_bytes_max);
        let now_s = now_s();
        for (id, label) in staging.found().map_err(failed)? {
            underway.found(id, label.app, &label.user, label.size, label.expires_s, now_s);
        }
        let semaphore = |places| Arc::new(Semaphore::new(places));
        let media = Self {
            config,
            keys: RwLock::new(Arc::new(SignKeys::new(secrets))),
            base: OnceLock::new(),
            underway: Mutex::new(underway),
            staging: Arc::new(staging),
            objects,
            abouts: Abouts::default(),
            uploads: semaphore(UPLOADS_AT_ONCE),
            downloads: semaphore(DOWNLOADS_AT_ONCE),
            examining: semaphore(EXAMINED_AT_ONCE),
            pixels: semaphore(PIXEL_MEMORY_MIB),
            metrics: Metrics::new(),
        };
        media.shown();
        Ok(media)
    }

    /// Where clients reach the routes: scheme, host and port. The first call decides.
    pub fn at(&self, base: &str) {
        let _ = self.base.set(base.trim_end_matches('/').to_owned());
    }

    /// Signs with another secret from now on; `secrets` as for [`Self::open`].
    pub fn rotate(&self, secrets: &[(u32, [u8; 32])]) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(SignKeys::new(secrets));
    }

    /// Begins an upload of a user. Touches no disk.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn begin(&self, app: u32, user: &str, begin: &Begin<'_>, now_ms: u64) -> Result<Begun, Refused> {
        let begun = self.try_begin(app, user, begin, now_ms);
        match &begun {
            Ok(_) => self.metrics.begun[begin.kind as usize].increment(1),
            Err(_) => self.metrics.refused.increment(1),
        }
        begun
    }

    fn try_begin(&self, app: u32, user: &str, begin: &Begin<'_>, now_ms: u64) -> Result<Begun, Refused> {
        let malformed = |why: &str| Refused::Malformed(why.to_owned());
        let Begin { kind, name, size, sha256, content_type } = *begin;
        if size == 0 {
            return Err(malformed("an upload has at least one byte"));
        }
        let most = self.config.bytes_max(kind);
        if size > most {
            return Err(Refused::TooLarge { kind, most });
        }
        let sha256 = match sha256.len() {
            0 => None,
            _ => Some(sha256.try_into().map_err(|_| malformed("sha256 has 32 bytes, or none"))?),
        };
        if name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
            return Err(malformed("the name has at most 255 bytes, and no control characters"));
        }
        let plain = |octet: u8| octet.is_ascii_alphanumeric() || b"/.+-_".contains(&octet);
        // Parameters such as a charset say nothing about what it is.
        let content_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if content_type.len() > TYPE_BYTES_MAX || !content_type.bytes().all(plain) {
            return Err(malformed("the content type has the form image/png"));
        }
        if !kind.may_be(&content_type) {
            return Err(Refused::Malformed(format!("{content_type} is no type of a {}", kind.word())));
        }
        let now_s = now_ms / 1000;
        let id = MediaId::new(now_ms).ok_or(Refused::Unavailable)?;
        let claims = Claims {
            app,
            user: user.to_owned(),
            id,
            kind,
            size,
            sha256,
            // What a browser or an application saves it as must not lead elsewhere.
            name: name.replace(['/', '\\'], "_"),
            content_type,
            expires_s: now_s + self.config.upload_ttl.as_secs(),
        };
        let token = self.keys().upload_token(&claims).ok_or(Refused::Unavailable)?;
        let urls = self.urls(app, id, kind == Kind::Image, now_s).ok_or(Refused::Unavailable)?;
        let base = self.base.get().ok_or(Refused::Unavailable)?;
        self.books().begin(&claims, now_s).map_err(|full| Refused::Busy(full.to_string()))?;
        self.shown();
        let (expires_s, chunk_bytes) = (claims.expires_s, self.config.chunk_bytes);
        Ok(Begun { upload_url: format!("{base}/v1/media/upload/{token}"), expires_s, chunk_bytes, urls })
    }

    /// Fresh URLs of what was uploaded in an App.
    ///
    /// # Errors
    /// [`Refused::Malformed`] for what is no name, [`Refused::Unavailable`].
    pub fn sign(&self, app: u32, uuid: &str, now_ms: u64) -> Result<Urls, Refused> {
        let id: MediaId =
            uuid.parse().map_err(|error: crate::BadId| Refused::Malformed(error.to_string()))?;
        let now_s = now_ms / 1000;
        if self.is_over(id, now_s) {
            return Err(Refused::Malformed("what was uploaded has expired".to_owned()));
        }
        self.metrics.signed.increment(1);
        self.urls(app, id, true, now_s).ok_or(Refused::Unavailable)
    }

    /// Looks for what has expired, for as long as the future is polled.
    ///
    /// Cancel safe.
    pub async fn keep(self: Arc<Self>) -> Infallible {
        let mut ticks = tokio::time::interval(SWEEP_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut turn: u32 = 0;
        loop {
            ticks.tick().await;
            let now_s = now_s();
            self.sweep_uploads(now_s).await;
            if turn.is_multiple_of(SWEEPS_PER_OBJECTS) {
                self.sweep_objects(now_s).await;
            }
            turn = turn.wrapping_add(1);
        }
    }

    pub(crate) async fn sweep_uploads(&self, now_s: u64) {
        let gone = self.books().expire(now_s);
        self.shown();
        for id in gone {
            // One that has just been taken up again has its own word to say.
            let Some(writing) = self.staging.write(id).await else { continue };
            match blocking(move || writing.remove()).await {
                Ok(()) => self.metrics.expired_uploads.increment(1),
                Err(error) => {
                    self.metrics.sweep_errors.increment(1);
                    tracing::warn!(%error, "media: an upload that has expired cannot be removed");
                }
            }
        }
    }

    async fn sweep_objects(&self, now_s: u64) {
        let Some(expiry) = self.config.expiry else { return };
        // A day goes when the last of it has expired.
        let Some(before_day) = now_s.checked_sub(expiry.as_secs()).map(|oldest| oldest / DAY_S) else {
            return;
        };
        match self.objects.expire(before_day, SWEEP_OBJECTS_MAX).await {
            Ok(0) => {}
            Ok(removed) => {
                self.metrics.expired_objects.increment(u64::try_from(removed).unwrap_or(u64::MAX));
                tracing::info!(removed, "media: objects that have expired are removed");
            }
            Err(error) => {
                self.metrics.sweep_errors.increment(1);
                tracing::warn!(%error, "media: objects that have expired cannot be removed");
            }
        }
    }

    pub(crate) fn keys(&self) -> Arc<SignKeys> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn books(&self) -> MutexGuard<'_, Underway> {
        self.underway.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says in the metrics how much is under way.
    pub(crate) fn shown(&self) {
        let (uploads, bytes) = {
            let books = self.books();
            (books.len(), books.bytes())
        };
        self.metrics.underway.set(uploads as f64);
        self.metrics.underway_bytes.set(bytes as f64);
    }

    /// Whether what was uploaded is not kept any more.
    pub(crate) fn is_over(&self, id: MediaId, now_s: u64) -> bool {
        self.config.expiry.is_some_and(|expiry| now_s > id.created_s().saturating_add(expiry.as_secs()))
    }

    /// `None` before [`Self::at`], and without any key.
    pub(crate) fn urls(&self, app: u32, id: MediaId, image: bool, now_s: u64) -> Option<Urls> {
        let ends_s = self.ends_s(id, now_s, self.config.url_ttl);
        let url = |variant| self.url(app, id, variant, ends_s);
        let smaller = |variant| if image { url(variant) } else { Some(String::new()) };
        Some(Urls {
            uuid: id.to_string(),
            url: url(Variant::Original)?,
            large_url: smaller(Variant::Large)?,
            thumb_url: smaller(Variant::Thumb)?,
            expires_s: ends_s,
        })
    }

    /// When a URL ends that is made now: with what it leads to at the latest.
    pub(crate) fn ends_s(&self, id: MediaId, now_s: u64, ttl: Duration) -> u64 {
        let kept_until = self.config.expiry.map(|expiry| id.created_s().saturating_add(expiry.as_secs()));
        (now_s + ttl.as_secs()).min(kept_until.unwrap_or(u64::MAX))
    }

    /// `None` as for [`Self::urls`].
    pub(crate) fn url(&self, app: u32, id: MediaId, variant: Variant, ends_s: u64) -> Option<String> {
        let path = self.keys().download_path(app, id, variant, ends_s)?;
        Some(format!("{}{path}", self.base.get()?))
    }

    /// What a complete upload is; `None`: there is none.
    pub(crate) async fn about(&self, app: u32, id: MediaId) -> object_store::Result<Option<Arc<About>>> {
        if let Some(about) = self.abouts.get(app, id) {
            return Ok(Some(about));
        }
        let Some(found) = self.objects.get(app, id, What::About, None).await? else { return Ok(None) };
        let damaged = |why: String| object_store::Error::Generic { store: "about", source: why.into() };
        if found.meta.size > ABOUT_BYTES_MAX {
            return Err(damaged("it is too long".to_owned()));
        }
        let text = found.bytes().await?;
        let about: About = serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
        let about = Arc::new(about);
        self.abouts.put(app, id, about.clone());
        Ok(Some(about))
    }

    pub(crate) fn remember(&self, app: u32, id: MediaId, about: About) -> Arc<About> {
        let about = Arc::new(about);
        self.abouts.put(app, id, about.clone());
        about
    }

    pub(crate) fn forget(&self, app: u32, id: MediaId) {
        self.abouts.forget(app, id);
    }

    /// A request that carries content begins.
    pub(crate) fn enter(&self, claims: &Claims, now_s: u64) -> Result<(), Full> {
        self.books().enter_request(claims, now_s)
    }
}

/// Unix seconds.
pub(crate) fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
