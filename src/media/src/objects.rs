//! Where complete uploads are: a directory, or a bucket of anything that speaks S3.
//!
//! ```text
//! objects/DAY/APP/UUID/{original, large, thumb, about, banned}
//! ```
//!
//! `DAY` is the number of the day in the UUID. Every part of a name is a number, a UUID or a word of ours: nothing that a client said
//! becomes a path. `about` says what the others are and is written last, so that what has none is not there. `banned` is empty, and there for what is served to nobody.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    GetOptions, GetResult, ObjectStore, ObjectStoreExt as _, PutPayload, RetryConfig, WriteMultipart,
};

use crate::Error;
use crate::config::{S3, StorageConfig};
use crate::id::MediaId;
use crate::s3_http::Connector;
use crate::sign::Variant;

/// Folder of everything that is complete.
const ROOT: &str = "objects";
/// What goes to a bucket in one piece, and in pieces above; two pieces are under way at once.
const PIECE_BYTES: usize = 5 << 20;
const PIECES: usize = 2;
/// Tries of one request to a bucket, and time for all of them.
const TRIES: usize = 3;
const TRY_FOR: std::time::Duration = std::time::Duration::from_secs(30);

/// What of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Variant(Variant),
    About,
    Banned,
}

/// The store.
#[derive(Debug, Clone)]
pub(crate) struct Objects {
    store: Arc<dyn ObjectStore>,
    /// A directory that holds the unfinished uploads too: they become objects by their name alone.
    local: bool,
}

impl Objects {
    /// Opens a store. A bucket is not asked for anything yet.
    pub(crate) fn open(config: &StorageConfig, dir: &std::path::Path) -> Result<Self, Error> {
        match config {
            StorageConfig::Directory => {
                let failed = |source| Error::Directory { path: dir.to_owned(), source };
                std::fs::create_dir_all(dir.join(ROOT)).map_err(failed)?;
                let store = LocalFileSystem::new_with_prefix(dir)?.with_fsync(true);
                Ok(Self { store: Arc::new(store.with_automatic_cleanup(true)), local: true })
            }
            StorageConfig::S3(s3) => Ok(Self { store: Arc::new(bucket(s3)?), local: false }),
        }
    }

    fn path(app: u32, id: MediaId, what: What) -> Path {
        let word = match what {
            What::Variant(variant) => variant.word(),
            What::About => "about",
            What::Banned => "banned",
        };
        Path::from_iter([ROOT, &id.day().to_string(), &app.to_string(), &id.to_string(), word])
    }

    /// Makes a file of the staging directory the original. It is on disk, and stays where it is unless it is moved.
    pub(crate) async fn take(
        &self,
        app: u32,
        id: MediaId,
        part: PathBuf,
        size: u64,
    ) -> object_store::Result<()> {
        let to = Self::path(app, id, What::Variant(Variant::Original));
        if self.local {
            let name = part.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            return self.store.rename(&Path::from_iter(["staging", name]), &to).await;
        }
        let mut pieces = Pieces::open(part).await?;
        if usize::try_from(size).is_ok_and(|size| size <= PIECE_BYTES) {
            let whole = pieces.next().await?;
            self.store.put(&to, PutPayload::from(whole)).await?;
            return Ok(());
        }
        let mut upload =
            WriteMultipart::new_with_chunk_size(self.store.put_multipart(&to).await?, PIECE_BYTES);
        loop {
            let ready = match upload.wait_for_capacity(PIECES).await {
                Ok(()) => pieces.next().await,
                Err(error) => Err(error),
            };
            match ready {
                Ok(piece) if piece.is_empty() => break upload.finish().await.map(drop),
                Ok(piece) => upload.put(piece),
                Err(error) => {
                    // What a bucket has of an upload that was given up costs money.
                    let _ = upload.abort().await;
                    break Err(error);
                }
            }
        }
    }

    pub(crate) async fn put(
        &self,
        app: u32,
        id: MediaId,
        what: What,
        bytes: Vec<u8>,
    ) -> object_store::Result<()> {
        self.store.put(&Self::path(app, id, what), PutPayload::from(bytes)).await.map(drop)
    }

    /// A part of an object. `None`: there is none.
    pub(crate) async fn get(
        &self,
        app: u32,
        id: MediaId,
        what: What,
        range: Option<std::ops::Range<u64>>,
    ) -> object_store::Result<Option<GetResult>> {
        let options = GetOptions::new().with_range(range);
        match self.store.get_opts(&Self::path(app, id, what), options).await {
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            outcome => outcome.map(Some),
        }
    }

    /// Whether there is such an object.
    pub(crate) async fn has(&self, app: u32, id: MediaId, what: What) -> object_store::Result<bool> {
        match self.store.head(&Self::path(app, id, what)).await {
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            outcome => outcome.map(|_| true),
        }
    }

    /// Removes an object, if it is there.
    pub(crate) async fn remove(&self, app: u32, id: MediaId, what: What) -> object_store::Result<()> {
        match self.store.delete(&Self::path(app, id, what)).await {
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            outcome => outcome,
        }
    }

    /// Removes what was uploaded before a day, at most `most` objects. Gives how many it removed.
    pub(crate) async fn expire(&self, before_day: u64, most: usize) -> object_store::Result<usize> {
        let days = self.store.list_with_delimiter(Some(&Path::from(ROOT))).await?.common_prefixes;
        let mut removed = 0;
        for day in days {
            // What is not ours is left alone.
            let number = day.parts().next_back().and_then(|part| part.as_ref().parse::<u64>().ok());
            if number.is_none_or(|number| number >= before_day) {
                continue;
            }
            let old = self.store.list(Some(&day)).map_ok(|object| object.location).take(most - removed);
            let mut gone = self.store.delete_stream(old.boxed());
            while let Some(outcome) = gone.next().await {
                match outcome {
                    Ok(_) | Err(object_store::Error::NotFound { .. }) => removed += 1,
                    Err(error) => return Err(error),
                }
            }
            if removed >= most {
                break;
            }
        }
        Ok(removed)
    }
}

fn bucket(s3: &S3) -> Result<object_store::aws::AmazonS3, Error> {
    let retry = RetryConfig { max_retries: TRIES, retry_timeout: TRY_FOR, ..RetryConfig::default() };
    let builder = AmazonS3Builder::new()
        .with_bucket_name(&s3.bucket)
        .with_region(&s3.region)
        .with_endpoint(&s3.endpoint)
        .with_access_key_id(&s3.access_key)
        .with_secret_access_key(&s3.secret_key)
        .with_allow_http(s3.endpoint.starts_with("http://"))
        .with_retry(retry)
        .with_http_connector(Connector::new(s3.tls.clone()));
    Ok(builder.build()?)
}

/// A file in pieces, read beside the runtime.
struct Pieces(Option<File>);

impl Pieces {
    async fn open(path: PathBuf) -> object_store::Result<Self> {
        Ok(Self(Some(blocking(move || File::open(path)).await.map_err(generic)?)))
    }

    /// The next piece; an empty one is the end.
    async fn next(&mut self) -> object_store::Result<Bytes> {
        let Some(mut file) = self.0.take() else { return Ok(Bytes::new()) };
        let (file, piece) = blocking(move || {
            let mut piece = Vec::with_capacity(PIECE_BYTES);
            let most = u64::try_from(PIECE_BYTES).unwrap_or(u64::MAX);
            file.by_ref().take(most).read_to_end(&mut piece)?;
            Ok((file, piece))
        })
        .await
        .map_err(generic)?;
        self.0 = Some(file);
        Ok(piece.into())
    }
}

fn generic(error: io::Error) -> object_store::Error {
    object_store::Error::Generic { store: "staging", source: error.into() }
}

/// Runs what blocks on the disk beside the runtime.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|panic| Err(io::Error::other(panic)))
}
