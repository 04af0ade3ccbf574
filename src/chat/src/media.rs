//! Files: the seam to whoever signs their URLs.
//!
//! The front asks and passes the answer on; nothing of a file's content ever comes through here. The root gives the backend a signer
//! ([`Chat::serve_media`](crate::Chat::serve_media)); without one media calls are refused.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use nearport_wire::body;

use crate::key::{AppId, UserKey};

/// Answers of a store that is asked beside the threads.
pub type Looking<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Signs URLs, for users on the front thread: there it must neither block nor wait.
pub trait MediaSigner: fmt::Debug + Send + Sync {
    /// Begins an upload of a user. Nothing is durable about it: a client that hears nothing begins another one.
    ///
    /// # Errors
    /// [`MediaRefusal`].
    fn begin(
        &self,
        user: &UserKey,
        call: &body::MediaBegin,
        now_ms: u64,
    ) -> Result<body::MediaUpload, MediaRefusal>;

    /// Fresh URLs of what was uploaded in the user's App.
    ///
    /// # Errors
    /// [`MediaRefusal`].
    fn sign(&self, user: &UserKey, uuid: &str, now_ms: u64) -> Result<body::MediaUrls, MediaRefusal>;

    /// A URL of a file that the server made, good until `until_s` at the latest, with the Unix second at which it ends. `None`: there
    /// is none, or it is not kept any more.
    fn url_of(&self, app: AppId, media: &str, until_s: u64, now_ms: u64) -> Option<(String, u64)>;

    /// Serves the file of a URL to nobody any more, which is durable when it is done, or again.
    fn ban(&self, app: AppId, url: String, banned: bool) -> Looking<Result<(), NoFile>>;

    /// What these URLs lead to, in their order.
    fn look(&self, app: AppId, urls: Vec<String>) -> Looking<Vec<Result<Seen, NoFile>>>;
}

/// A file as an administrator is shown it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// A URL of it that is good for 15 minutes.
    Served(String),
    /// It is served to nobody.
    Banned,
}

/// Why a URL leads to no file. The texts are for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoFile {
    /// It is none of this server's, or of another App.
    #[error("{0}")]
    Foreign(String),
    /// There is none.
    #[error("{0}")]
    Absent(String),
    /// The store does not answer.
    #[error("{0}")]
    Unavailable(String),
}

/// Why a media call is refused. The texts are for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MediaRefusal {
    /// Something in the call cannot be.
    #[error("{0}")]
    Malformed(String),
    /// Larger than its kind may be.
    #[error("{0}")]
    TooLarge(String),
    /// A bound, for now.
    #[error("{0}")]
    Busy(String),
    /// Not now.
    #[error("{0}")]
    Unavailable(String),
}

/// The place of the signer: the address that it signs for is known later than the backend is.
pub(crate) type Signer = Arc<OnceLock<Arc<dyn MediaSigner>>>;
