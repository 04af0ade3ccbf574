//! Files of messages: what users upload, and where others get it from.
//!
//! A client asks over its session for an upload ([`Media::begin`]) and gets a signed URL; the content goes by HTTP to
//! [`Media::router`], in one request or in several, and goes on after a cut or a restart where it was. What is complete is examined
//! (hash, type by its content, pixels), gets its smaller forms if it is an image, and moves to the object store: a directory or a bucket.
//! Downloads are signed URLs too. Nothing else is kept: the token of an upload says what was agreed, the length of a file how
//! far it is, and an object beside the content what it is.
//!
//! - [`sign`](Refusal): what makes a URL good. `id`: names. `kind`: types. `underway`: the books. These are pure.
//! - `staging`, `objects`, `finish`, `pictures`: disks and buckets.
//! - `bans`: what administrators do with files. `made`: files that the server makes itself ([`Making`]), in the same store.
//! - `http`, `upload`, `download`: the routes. The contract is `docs/media.md`.
//!
//! The crate knows no session and no backend: the root gives what clients ask to [`Media`].

mod about;
mod bans;
mod config;
mod download;
mod finish;
mod http_routes;
mod id;
mod kind;
mod made;
mod metrics;
mod objects;
mod pictures;
mod range;
mod s3_http;
mod service;
mod sign;
mod staging;
mod underway;
mod upload;

use std::path::PathBuf;

pub use bans::{Found, NoFile};
pub use config::{Config, S3, StorageConfig};
pub use id::{BadId, MediaId};
pub use kind::Kind;
pub use made::{MakeError, Making};
pub use service::{Begin, Begun, Media, Refused, Urls};
pub use sign::{Refusal, Variant};

/// Why media could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Its directory.
    #[error("{}: {source}", path.display())]
    Directory {
        /// Which one.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The object store.
    #[error("object store: {0}")]
    Store(#[from] object_store::Error),
}
