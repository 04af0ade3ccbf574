//! Files: the seam to whoever signs their URLs.
//!
//! The front asks and passes the answer on; nothing of a file's content ever comes through here. The root gives the backend a signer
//! ([`Chat::serve_media`](crate::Chat::serve_media)); without one media calls are refused.

use std::fmt;
use std::sync::{Arc, OnceLock};

use nearport_wire::body;

use crate::key::UserKey;

/// Signs URLs. Called on the front thread: it must neither block nor wait.
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
