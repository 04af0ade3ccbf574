//! Settings of media.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::kind::Kind;

/// All settings. The root fills them in.
#[derive(Debug, Clone)]
pub struct Config {
    /// Directory of unfinished uploads, and of everything where no bucket is configured.
    pub dir: PathBuf,
    /// Where complete uploads go.
    pub storage: StorageConfig,
    /// Largest image, octets.
    pub image_bytes_max: u64,
    /// Largest sound, octets.
    pub sound_bytes_max: u64,
    /// Largest video, octets.
    pub video_bytes_max: u64,
    /// Largest file, octets.
    pub file_bytes_max: u64,
    /// Announced and not complete, of one user, octets.
    pub user_bytes_max: u64,
    /// The same of one App: the disk that uploads can take.
    pub app_bytes_max: u64,
    /// How long an upload may take; what is not complete then is forgotten.
    pub upload_ttl: Duration,
    /// How long what was uploaded is kept; `None`: for ever.
    pub expiry: Option<Duration>,
    /// How long a URL for downloading is good, at most.
    pub url_ttl: Duration,
    /// How much one request of an upload should carry.
    pub chunk_bytes: u32,
    /// Origins of web pages that may use it; `*`: all.
    pub origins: Vec<String>,
}

impl Config {
    /// The limit of a kind, octets.
    #[must_use]
    pub fn bytes_max(&self, kind: Kind) -> u64 {
        match kind {
            Kind::Image => self.image_bytes_max,
            Kind::Sound => self.sound_bytes_max,
            Kind::Video => self.video_bytes_max,
            Kind::File => self.file_bytes_max,
        }
    }
}

/// Where complete uploads go.
#[derive(Debug, Clone)]
pub enum StorageConfig {
    /// Below [`Config::dir`].
    Directory,
    /// A bucket.
    S3(S3),
}

/// A bucket of anything that speaks S3.
#[derive(Clone)]
pub struct S3 {
    /// `https://` or `http://`, host and port; the bucket's name is appended as a path.
    pub endpoint: String,
    /// Its name.
    pub bucket: String,
    /// Its region, which is part of each signature.
    pub region: String,
    /// Id of the key.
    pub access_key: String,
    /// The key.
    pub secret_key: String,
    /// Whom to trust.
    pub tls: Arc<rustls::ClientConfig>,
}

impl std::fmt::Debug for S3 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { endpoint, bucket, region, .. } = self;
        f.debug_struct("S3")
            .field("endpoint", endpoint)
            .field("bucket", bucket)
            .field("region", region)
            .finish_non_exhaustive()
    }
}
