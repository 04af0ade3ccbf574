//! `PUT`, `HEAD`, `GET` and `DELETE` of an upload.
//!
//! Content is never held: it goes from the connection to its file through a buffer of [`WRITE_BYTES`]. What has come when a connection
//! breaks stays.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::{Buf as _, BytesMut};
use http_body_util::BodyExt as _;
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::about::About;
use crate::finish::Unfit;
use crate::http_routes::{Denied, UPLOAD_COMPLETE, UPLOAD_LENGTH, UPLOAD_OFFSET, answer, drain, number};
use crate::objects::blocking;
use crate::range::{Part, content_range};
use crate::service::{Media, now_s};
use crate::sign::Claims;
use crate::staging::Writing;

/// What is written to disk at once.
const WRITE_BYTES: usize = 256 << 10;
/// Longest silence of a sender.
const STALL_MAX: Duration = Duration::from_secs(20);
/// What a sender has to bring in each such time: 1 KiB a second, below which a place is worth more to others. It goes on later.
const PACE: Duration = Duration::from_secs(30);
const PACE_BYTES: u64 = 32 << 10;

/// What an upload holds of the server while it carries content.
struct Held {
    media: Arc<Media>,
    claims: Claims,
    _slot: OwnedSemaphorePermit,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.media.books().leave_request(&self.claims, now_s());
        self.media.metrics.uploading.decrement(1.0);
    }
}

impl Media {
    pub(crate) async fn upload(self: &Arc<Self>, token: &str, request: Request) -> Response {
        let (head, mut body) = request.into_parts();
        let is_put = head.method == Method::PUT;
        let outcome = match self.keys().open_upload(token, now_s()) {
            Err(refusal) => Err(refusal.into()),
            Ok(claims) => match head.method {
                Method::PUT => self.put(claims, &head.headers, &mut body).await,
                Method::DELETE => self.give_up(&claims).await,
                _ => self.status(&claims).await,
            },
        };
        match outcome {
            Ok((word, response)) => {
                if is_put {
                    self.metrics.uploaded(word);
                }
                response
            }
            Err(denied) => {
                if is_put {
                    self.metrics.uploaded(denied.word);
                    drain(&mut body).await;
                }
                denied.into_response()
            }
        }
    }

    /// How far it is.
    async fn status(&self, claims: &Claims) -> Result<(&'static str, Response), Denied> {
        match self.offset(claims).await? {
            Some(offset) => Ok(("partial", progress(StatusCode::OK, offset, claims.size))),
            None => match self.complete(claims).await? {
                Some(about) => Ok(("known", self.told(StatusCode::OK, claims, &about))),
                None => Ok(("partial", progress(StatusCode::OK, 0, claims.size))),
            },
        }
    }

    async fn give_up(&self, claims: &Claims) -> Result<(&'static str, Response), Denied> {
        let writing = self.writing(claims).await?;
        if self.offset(claims).await?.is_none() && self.complete(claims).await?.is_some() {
            return Err(Denied::new(StatusCode::CONFLICT, "known", "the upload is complete"));
        }
        blocking(move || writing.remove()).await.map_err(|error| Denied::store(&error))?;
        self.books().end(claims.id);
        self.shown();
        Ok(("partial", StatusCode::NO_CONTENT.into_response()))
    }

    async fn put(
        self: &Arc<Self>,
        claims: Claims,
        headers: &HeaderMap,
        body: &mut Body,
    ) -> Result<(&'static str, Response), Denied> {
        let busy = |_| Denied::later(StatusCode::SERVICE_UNAVAILABLE, "no_slot", "too many uploads at once");
        let slot = self.uploads.clone().try_acquire_owned().map_err(busy)?;
        let part = announced(headers, &claims)?;
        let writing = Arc::new(self.writing(&claims).await?);
        // Whether it is complete is known for sure by who alone may write.
        if self.offset(&claims).await?.is_none()
            && let Some(about) = self.complete(&claims).await?
        {
            drain(body).await;
            return Ok(("known", self.told(StatusCode::OK, &claims, &about)));
        }
        let full =
            |full: crate::underway::Full| Denied::later(StatusCode::TOO_MANY_REQUESTS, full.word(), full);
        self.enter(&claims, now_s()).map_err(full)?;
        self.metrics.uploading.increment(1.0);
        let held = Held { media: self.clone(), claims: claims.clone(), _slot: slot };
        self.shown();

        let (guard, opening) = (writing.clone(), claims.clone());
        let opened = blocking(move || guard.open(&opening)).await;
        let (file, at) = opened.map_err(disk)?;
        let mut receiving = Receiving { writing: writing.clone(), file: Arc::new(file), at };
        match part {
            Part::Nothing => {}
            Part::Whole => {
                receiving.cut(0).await.map_err(disk)?;
                self.receive(&mut receiving, 0..claims.size, body).await?;
            }
            Part::Octets(range) if range.start > at => {
                let why = format!("octets {at} to {} are missing in front of these", range.start - 1);
                return Err(Denied::new(StatusCode::CONFLICT, "gap", why).at(at));
            }
            Part::Octets(range) if range.end <= at => drain(body).await,
            Part::Octets(range) => self.receive(&mut receiving, range, body).await?,
        }
        let offset = receiving.at;
        drop(receiving);
        if offset < claims.size {
            return Ok(("partial", progress(StatusCode::ACCEPTED, offset, claims.size)));
        }
        // A task of its own: what was brought to its end is not given up because its sender hangs up. It holds the upload's place.
        let (media, finishing) = (self.clone(), claims.clone());
        let finish = async move {
            let done = media.finish(&finishing, writing).await;
            drop(held);
            done
        };
        let done = tokio::spawn(finish).await.unwrap_or_else(|panic| Err(Unfit::Store(panic.to_string())));
        match done {
            Ok(about) => Ok(("complete", self.told(StatusCode::CREATED, &claims, &about))),
            Err(unfit) => Err(denied(&unfit, claims.size)),
        }
    }

    /// Takes octets as they come, from `receiving.at` on, which lies in `range`.
    async fn receive(
        &self,
        receiving: &mut Receiving,
        range: std::ops::Range<u64>,
        body: &mut Body,
    ) -> Result<(), Denied> {
        let start = receiving.at;
        // What is there already is not written again.
        let mut skip = start - range.start;
        let mut left = range.end - range.start;
        let mut buffer = BytesMut::with_capacity(WRITE_BYTES);
        let (mut since, mut brought) = (Instant::now(), 0_u64);
        loop {
            let frame = tokio::select! {
                () = receiving.writing.displaced() => {
                    receiving.write(&mut buffer).await.map_err(disk)?;
                    let why = "another request writes this upload now";
                    return Err(Denied::new(StatusCode::CONFLICT, "displaced", why).at(receiving.at));
                }
                frame = tokio::time::timeout(STALL_MAX, body.frame()) => frame,
            };
            let mut octets = match frame {
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(octets) => octets,
                    // Trailers.
                    Err(_) => continue,
                },
                Ok(None) => break,
                // The connection broke, or brings nothing: what has come stays.
                Ok(Some(Err(_))) | Err(_) => {
                    receiving.write(&mut buffer).await.map_err(disk)?;
                    return Err(slow("the content stopped coming").at(receiving.at));
                }
            };
            let len = u64::try_from(octets.len()).unwrap_or(u64::MAX);
            self.metrics.bytes_in.increment(len);
            let Some(less) = left.checked_sub(len) else {
                // None of it is taken: a sender that brings too much knows not what it sends.
                receiving.cut(start).await.map_err(disk)?;
                let why =
                    format!("more came than the {} octets that were announced", range.end - range.start);
                return Err(Denied::new(StatusCode::PAYLOAD_TOO_LARGE, "size", why).at(start));
            };
            left = less;
            let skipped = skip.min(len);
            skip -= skipped;
            octets.advance(usize::try_from(skipped).unwrap_or(octets.len()));
            buffer.extend_from_slice(&octets);
            if buffer.len() >= WRITE_BYTES {
                receiving.write(&mut buffer).await.map_err(disk)?;
            }
            brought += len;
            if since.elapsed() >= PACE {
                if brought < PACE_BYTES {
                    receiving.write(&mut buffer).await.map_err(disk)?;
                    return Err(
                        slow("the content comes too slowly, go on when it is faster").at(receiving.at)
                    );
                }
                (since, brought) = (Instant::now(), 0);
            }
        }
        receiving.write(&mut buffer).await.map_err(disk)
    }

    /// Length of its file; `None`: it has none. Nothing waits for this but metadata.
    async fn offset(&self, claims: &Claims) -> Result<Option<u64>, Denied> {
        let (staging, id) = (self.staging.clone(), claims.id);
        blocking(move || staging.len(id)).await.map_err(|error| Denied::store(&error))
    }

    async fn complete(&self, claims: &Claims) -> Result<Option<Arc<About>>, Denied> {
        self.about(claims.app, claims.id).await.map_err(|error| Denied::store(&error))
    }

    async fn writing(&self, claims: &Claims) -> Result<Writing, Denied> {
        let why = "another request writes this upload, or it is being examined";
        let busy = || Denied::later(StatusCode::CONFLICT, "displaced", why);
        self.staging.write(claims.id).await.ok_or_else(busy)
    }

    fn told(&self, status: StatusCode, claims: &Claims, about: &About) -> Response {
        let image = about.picture.is_some();
        let Some(urls) = self.urls(claims.app, claims.id, image, now_s()) else {
            return Denied::store(&"no key or no address").into_response();
        };
        let mut response = answer(status, &about.told(&urls));
        lengths(response.headers_mut(), about.size, about.size, true);
        response
    }
}

/// A file that grows.
struct Receiving {
    /// Held by every write, so that nobody else writes before a write that was given up is over.
    writing: Arc<Writing>,
    file: Arc<File>,
    /// Where the next octet goes.
    at: u64,
}

impl Receiving {
    async fn write(&mut self, buffer: &mut BytesMut) -> io::Result<()> {
        if buffer.is_empty() {
            return Ok(());
        }
        let (guard, file, at, octets) = (self.writing.clone(), self.file.clone(), self.at, buffer.split());
        let len = u64::try_from(octets.len()).unwrap_or(u64::MAX);
        blocking(move || {
            let written = Writing::put(&file, &octets, at);
            drop(guard);
            written
        })
        .await?;
        self.at += len;
        Ok(())
    }

    async fn cut(&mut self, len: u64) -> io::Result<()> {
        let (guard, file) = (self.writing.clone(), self.file.clone());
        blocking(move || {
            let cut = file.set_len(len);
            drop(guard);
            cut
        })
        .await?;
        self.at = len;
        Ok(())
    }
}

/// What a request brings, as its head says it.
fn announced(headers: &HeaderMap, claims: &Claims) -> Result<Part, Denied> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let malformed = |why: &str| Denied::new(StatusCode::BAD_REQUEST, "malformed", why);
    let part = content_range(text(header::CONTENT_RANGE), claims.size).map_err(malformed)?;
    let len = text(header::CONTENT_LENGTH).map(str::parse::<u64>);
    let len = len.transpose().map_err(|_| malformed("Content-Length is no number"))?;
    let want = match &part {
        Part::Whole => claims.size,
        Part::Octets(range) => range.end - range.start,
        Part::Nothing => 0,
    };
    match len {
        Some(len) if len > want => {
            let why = format!("{len} octets come where {want} were announced");
            Err(Denied::new(StatusCode::PAYLOAD_TOO_LARGE, "size", why))
        }
        Some(len) if len < want => {
            let why = format!("{len} octets come where {want} were announced: name a part by Content-Range");
            Err(Denied::new(StatusCode::BAD_REQUEST, "size", why))
        }
        _ => Ok(part),
    }
}

fn progress(status: StatusCode, offset: u64, size: u64) -> Response {
    let mut response = answer(status, &json!({ "complete": false, "offset": offset, "size": size }));
    lengths(response.headers_mut(), offset, size, false);
    response
}

fn lengths(headers: &mut HeaderMap, offset: u64, size: u64, complete: bool) {
    number(headers, UPLOAD_OFFSET, offset);
    number(headers, UPLOAD_LENGTH, size);
    let complete = if complete { "?1" } else { "?0" };
    headers.insert(UPLOAD_COMPLETE, axum::http::HeaderValue::from_static(complete));
}

fn slow(why: &str) -> Denied {
    Denied::later(StatusCode::REQUEST_TIMEOUT, "slow", why)
}

/// What a disk says, to a client.
fn disk(error: io::Error) -> Denied {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            tracing::error!(%error, "media: no room for uploads");
            Denied::later(StatusCode::INSUFFICIENT_STORAGE, "store", "there is no room for it now, try again")
        }
        _ => Denied::store(&error),
    }
}

fn denied(unfit: &Unfit, size: u64) -> Denied {
    let (status, word) = match unfit {
        Unfit::Hash(_) => (StatusCode::UNPROCESSABLE_ENTITY, "hash"),
        Unfit::Lie(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "type"),
        Unfit::Image(_) => (StatusCode::UNPROCESSABLE_ENTITY, "image"),
        // The reason is in the log.
        Unfit::Store(_) => {
            let why = "the upload cannot be stored now, try again";
            return Denied::later(StatusCode::SERVICE_UNAVAILABLE, "store", why).at(size);
        }
    };
    Denied::new(status, word, unfit).at(0)
}
