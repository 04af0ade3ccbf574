//! The way up: piece by piece, from where the server is.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use bytes::Bytes;
use http::header::CONTENT_RANGE;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use nearport_wire::body::{MediaBegin, MediaKind, MediaUpload};

use super::exchange::{Exchange, Place, number};
use super::{Fault, MediaError, Patience, Uploaded, blocking, name_of};
use crate::network::Network;

/// First piece. Pieces grow to what the server wants as long as each takes less than [`PIECE_TIME`]: on a slow way a cut costs little
/// and progress is seen.
const FIRST_PIECE: usize = 128 << 10;
const PIECE_TIME: Duration = Duration::from_secs(1);
/// Largest piece, whatever the server says: it is in memory.
const PIECE_MAX: usize = 8 << 20;
const READ_BYTES: usize = 256 << 10;

/// What is to be said of a file to begin its upload: its name, size and hash. Reads it once.
///
/// # Errors
/// The file cannot be read.
pub async fn describe(path: &Path, kind: MediaKind) -> io::Result<MediaBegin> {
    let (file, name) = (path.to_owned(), name_of(path));
    let (size, sha256) = blocking(move || {
        let mut file = File::open(file)?;
        let mut context = digest::Context::new(&digest::SHA256);
        let (mut size, mut buffer) = (0, vec![0; READ_BYTES]);
        loop {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                break Ok((size, context.finish()));
            }
            size += u64::try_from(read).unwrap_or(u64::MAX);
            context.update(&buffer[..read]);
        }
    })
    .await?;
    let sha256 = Bytes::copy_from_slice(sha256.as_ref());
    // The server finds out what it is.
    Ok(MediaBegin { kind: kind.into(), name, size, sha256, content_type: String::new() })
}

/// Uploads a file to where [`begin`](super::begin) said. `progress` hears how many octets the server has, and of how many.
///
/// A way that breaks is tried again from where the server is, which may be another process by then; so may a later call with the same
/// `begun` and file.
///
/// Cancel safe: what has come stays with the server until `begun` has expired.
///
/// # Errors
/// [`MediaError`].
pub async fn upload(
    network: &Network,
    begun: &MediaUpload,
    path: &Path,
    mut progress: impl FnMut(u64, u64),
) -> Result<Uploaded, MediaError> {
    let path = path.to_owned();
    let (file, size) = blocking(move || {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        Ok((file, size))
    })
    .await?;
    let most = usize::try_from(begun.chunk_bytes).unwrap_or(PIECE_MAX).clamp(1, PIECE_MAX);
    let exchange = Exchange::new(network, Place::parse(&begun.upload_url)?);
    let piece = FIRST_PIECE.min(most);
    let mut upload = Upload { exchange, file: Arc::new(file), size, at: None, piece, most };
    let mut patience = Patience::default();
    let mut best = 0;
    loop {
        match upload.step().await {
            Ok(Some(done)) => {
                progress(size, size);
                return Ok(done);
            }
            Ok(None) => {
                let at = upload.at.unwrap_or_default();
                progress(at, size);
                if at > best {
                    best = at;
                    patience.renew();
                }
            }
            Err(Fault::Again(why, rest)) => {
                // Where it is, is asked again: it may be more than was heard of.
                upload.at = None;
                upload.piece = FIRST_PIECE.min(most);
                upload.exchange.hang_up();
                patience.rest(why, rest).await?;
            }
            Err(Fault::Final(error)) => return Err(error),
        }
    }
}

struct Upload<'a> {
    exchange: Exchange<'a>,
    file: Arc<File>,
    size: u64,
    /// How far the server is; `None`: not known.
    at: Option<u64>,
    piece: usize,
    most: usize,
}

impl Upload<'_> {
    /// One request. Gives what the server says of the whole, once it is complete.
    async fn step(&mut self) -> Result<Option<Uploaded>, Fault> {
        let Some(at) = self.at else { return self.look().await };
        let len = usize::try_from(self.size - at).unwrap_or(usize::MAX).min(self.piece);
        let file = Arc::clone(&self.file);
        let octets = blocking(move || {
            let mut octets = vec![0; len];
            file.read_exact_at(&mut octets, at)?;
            Ok(Bytes::from(octets))
        })
        .await?;
        let range = match len {
            // All is there and was not examined, or the answer was lost.
            0 => format!("bytes */{}", self.size),
            len => format!("bytes {at}-{}/{}", at + u64::try_from(len).unwrap_or_default() - 1, self.size),
        };
        let begun = Instant::now();
        let request = Request::builder().method(Method::PUT).header(CONTENT_RANGE, range);
        let answer = self.exchange.send(request.body(Full::new(octets)).map_err(unsendable)?).await?;
        match answer.status() {
            StatusCode::OK | StatusCode::CREATED => {
                let body = self.exchange.body(answer).await?;
                serde_json::from_slice(&body).map(Some).map_err(senseless)
            }
            StatusCode::ACCEPTED => {
                let offset = number(answer.headers(), "upload-offset").filter(|offset| *offset <= self.size);
                self.exchange.body(answer).await?;
                if begun.elapsed() < PIECE_TIME {
                    self.piece = self.piece.saturating_mul(2).min(self.most);
                }
                // No progress would be asked for in vain for ever.
                if offset.is_none_or(|offset| offset <= at) {
                    return Err(Fault::Again("the server takes nothing".into(), None));
                }
                self.at = offset;
                Ok(None)
            }
            _ => Err(self.exchange.refusal(answer).await),
        }
    }

    /// Asks how far it is.
    async fn look(&mut self) -> Result<Option<Uploaded>, Fault> {
        let request = Request::get("/").body(Full::default()).map_err(unsendable)?;
        let answer = self.exchange.send(request).await?;
        if answer.status() != StatusCode::OK {
            return Err(self.exchange.refusal(answer).await);
        }
        let (length, offset) =
            (number(answer.headers(), "upload-length"), number(answer.headers(), "upload-offset"));
        let complete = answer.headers().get("upload-complete").is_some_and(|flag| flag == "?1");
        let body = self.exchange.body(answer).await?;
        if length != Some(self.size) {
            let why = format!("the upload was begun with another size than {}", self.size);
            return Err(Fault::Final(MediaError::Answer(why)));
        }
        if complete {
            return serde_json::from_slice(&body).map(Some).map_err(senseless);
        }
        self.at = offset.filter(|offset| *offset <= self.size);
        if self.at.is_none() {
            return Err(Fault::Final(MediaError::Answer("it does not say how far the upload is".into())));
        }
        Ok(None)
    }
}

fn unsendable(error: http::Error) -> Fault {
    Fault::Final(MediaError::Address(error.to_string()))
}

fn senseless(error: serde_json::Error) -> Fault {
    Fault::Final(MediaError::Answer(error.to_string()))
}
