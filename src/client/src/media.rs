//! Files: uploads that go on after a cut, and downloads.
//!
//! [`Client::upload_image`] and its like upload a file and give the element of a message; [`Client::download`] fetches what somebody's
//! element names:
//!
//! ```no_run
//! use std::path::Path;
//! use nearport_client::{Client, Content, Message, user};
//!
//! # async fn example(alice: &Client, message: &Message) -> Result<(), Box<dyn std::error::Error>> {
//! let image = alice.upload_image(Path::new("holiday.jpg"), |sent, of| println!("{sent} of {of}")).await?;
//! alice.send(user("bob"), Content { elements: vec![image], ..Content::default() }).await?;
//!
//! for attachment in message.attachments() {
//!     let path = Path::new("downloads").join(attachment.file_name());
//!     alice.download(&attachment, &path, 100 << 20, |_, _| {}).await?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! What they are made of: [`begin`] asks over a session for an upload; [`upload()`] sends the content by HTTP, piece by piece, and comes back
//! as often as the way breaks, in another process too if `begun` is kept; [`download()`] fetches a URL. What the server says of a complete
//! upload, [`Uploaded`], makes the element.
//!
//! ```no_run
//! use std::path::Path;
//! use nearport_client::media::{self, MediaKind};
//! use nearport_client::{Client, Network};
//!
//! # async fn example(network: &Network, alice: &Client) -> Result<(), Box<dyn std::error::Error>> {
//! let path = Path::new("holiday.jpg");
//! let begun = media::begin(alice, &media::describe(path, MediaKind::Image).await?).await?;
//! let done = media::upload(network, &begun, path, |sent, of| println!("{sent} of {of}")).await?;
//! println!("{} × {}", done.infos[0].width, done.infos[0].height);
//! # Ok(())
//! # }
//! ```

mod attachment;
mod download;
mod exchange;
mod upload;

use std::io;
use std::path::Path;
use std::time::Duration;

use nearport_wire::Kind;
use nearport_wire::body::{self, MediaAnswer, MediaCall, media_answer, media_call};
use serde::Deserialize;

pub use attachment::{Attachment, Form};
pub use download::download;
pub use nearport_wire::body::{MediaBegin, MediaKind, MediaUpload, MediaUrls};
pub use upload::{describe, upload};

use crate::client::Client;
use crate::error::RequestError;

/// Tries without any progress between them, before a transfer is given up.
const TRIES: u32 = 8;
/// Rest before the second of them; each next is twice as long, up to the bound.
const REST: Duration = Duration::from_millis(300);
const REST_MAX: Duration = Duration::from_secs(5);

/// A transfer that came to no end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MediaError {
    /// The session's request for URLs.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// An answer that makes no sense.
    #[error("the server's answer: {0}")]
    Answer(String),
    /// An address that cannot be used.
    #[error("the address {0}")]
    Address(String),
    /// The server said no, and would again.
    #[error("{status}: {why}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// For programs: `hash`, `type`, `image`, `size`, `expired`, `signature` and others, see docs/media.md.
        code: String,
        /// For people.
        why: String,
    },
    /// The way to the server, tried often enough.
    #[error("given up after {TRIES} tries without progress: {0}")]
    Lost(String),
    /// A file of this device.
    #[error(transparent)]
    File(#[from] io::Error),
    /// More than the caller wanted.
    #[error("it has more than {0} bytes")]
    TooLong(u64),
    /// Not what the element says.
    #[error("it has {is} bytes, its sender says {said}")]
    Size {
        /// Octets, by the element.
        said: u64,
        /// Octets, by the server.
        is: u64,
    },
}

/// What the server says of a complete upload.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Uploaded {
    /// Its name, for elements and for [`sign`].
    pub uuid: String,
    /// As it was announced.
    #[serde(default)]
    pub name: String,
    /// Octets.
    pub size: u64,
    /// Of the content, in hex.
    pub sha256: String,
    /// What it is, by its content.
    pub content_type: String,
    /// Where it is.
    pub url: String,
    /// Unix seconds at which the URLs end.
    pub expires_s: u64,
    /// Images: 1 JPEG, 2 GIF, 3 PNG, 4 BMP, 255 other.
    #[serde(default)]
    pub format: u32,
    /// Images: the original, the large and the small form.
    #[serde(default)]
    pub infos: Vec<ImageInfo>,
}

/// One form of an image.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ImageInfo {
    /// 1 original, 2 large, 3 thumbnail.
    #[serde(rename = "type")]
    pub kind: u32,
    /// Octets.
    pub size: u64,
    /// Pixels; 0 where the server does not read the format.
    pub width: u32,
    /// As `width`.
    pub height: u32,
    /// Where it is.
    pub url: String,
}

impl Uploaded {
    /// The content of an image element.
    #[must_use]
    pub fn image(&self) -> body::Image {
        let info = |info: &ImageInfo| {
            let ImageInfo { kind, size, width, height, ref url } = *info;
            body::ImageInfo { r#type: kind, size, width, height, url: url.clone() }
        };
        body::Image {
            uuid: self.uuid.clone(),
            format: self.format,
            infos: self.infos.iter().map(info).collect(),
        }
    }

    /// The content of a file element.
    #[must_use]
    pub fn file(&self) -> body::File {
        let (url, uuid, name) = (self.url.clone(), self.uuid.clone(), self.name.clone());
        body::File { url, uuid, size: self.size, name, download_flag: 2 }
    }

    /// The content of a sound element that lasts so many seconds.
    #[must_use]
    pub fn sound(&self, second: u32) -> body::Sound {
        let (url, uuid) = (self.url.clone(), self.uuid.clone());
        body::Sound { url, uuid, size: self.size, second, download_flag: 2 }
    }
}

/// Asks for an upload.
///
/// Dropped early, the server keeps a place for it until that has expired.
///
/// # Errors
/// [`MediaError::Request`] with the server's code, [`MediaError::Answer`].
pub async fn begin(client: &Client, begin: &MediaBegin) -> Result<MediaUpload, MediaError> {
    match call(client, media_call::Call::Begin(begin.clone())).await? {
        media_answer::Answer::Upload(upload) => Ok(upload),
        media_answer::Answer::Urls(_) => Err(MediaError::Answer("not to this call".into())),
    }
}

/// Asks for fresh URLs of what was uploaded, by the `uuid` of an element.
///
/// # Errors
/// As [`begin`].
pub async fn sign(client: &Client, uuid: &str) -> Result<MediaUrls, MediaError> {
    match call(client, media_call::Call::Sign(body::MediaSign { uuid: uuid.to_owned() })).await? {
        media_answer::Answer::Urls(urls) => Ok(urls),
        media_answer::Answer::Upload(_) => Err(MediaError::Answer("not to this call".into())),
    }
}

async fn call(client: &Client, call: media_call::Call) -> Result<media_answer::Answer, MediaError> {
    // Nothing durable comes of it: who hears no answer asks again.
    let answer: MediaAnswer = client.call(Kind::MEDIA, &MediaCall { call: Some(call) }, true).await?;
    answer.answer.ok_or_else(|| MediaError::Answer("it is empty".into()))
}

/// How a try ended that may be repeated.
#[derive(Debug)]
enum Fault {
    /// Again, after what the server asked for.
    Again(String, Option<Duration>),
    Final(MediaError),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Final(error.into())
    }
}

/// Counts tries, and rests between them.
#[derive(Debug, Default)]
struct Patience(u32);

impl Patience {
    /// Something went on.
    fn renew(&mut self) {
        self.0 = 0;
    }

    /// Rests before the next try. Cancel safe.
    async fn rest(&mut self, why: String, asked: Option<Duration>) -> Result<(), MediaError> {
        self.0 += 1;
        if self.0 >= TRIES {
            return Err(MediaError::Lost(why));
        }
        tracing::debug!(why, tries = self.0, "media: again");
        let rest = REST.saturating_mul(1 << self.0.saturating_sub(1)).min(REST_MAX);
        tokio::time::sleep(asked.unwrap_or(rest).min(Duration::from_secs(30))).await;
        Ok(())
    }
}

/// The last part of a path, as text.
fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Runs what blocks on the disk beside the runtime.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|panic| Err(io::Error::other(panic)))
}
