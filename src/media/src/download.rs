//! `GET` and `HEAD` of what was uploaded.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use object_store::GetResultPayload;
use tokio::sync::OwnedSemaphorePermit;

use crate::about::About;
use crate::http_routes::{Denied, number};
use crate::id::MediaId;
use crate::objects::{What, blocking};
use crate::range::range;
use crate::service::{Media, now_s};
use crate::sign::Variant;

/// Read from disk at once, for each download: what waits for a slow reader.
const READ_BYTES: u64 = 128 << 10;

/// A page that is opened by itself runs nothing, loads nothing, and is of no origin.
const POLICY: &str =
    "default-src 'none'; media-src 'self'; img-src 'self'; style-src 'unsafe-inline'; sandbox";

/// What a download holds of the server until its last octet.
struct Held {
    media: Arc<Media>,
    _slot: OwnedSemaphorePermit,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.media.metrics.downloading.decrement(1.0);
    }
}

impl Media {
    pub(crate) async fn download(
        self: &Arc<Self>,
        app: &str,
        id: &str,
        variant: &str,
        request: &Parts,
    ) -> Response {
        match self.found(app, id, variant, request).await {
            Ok((word, response)) => {
                self.metrics.downloaded(word);
                response
            }
            Err(denied) => {
                self.metrics.downloaded(denied.word);
                denied.into_response()
            }
        }
    }

    async fn found(
        self: &Arc<Self>,
        app: &str,
        id: &str,
        variant: &str,
        request: &Parts,
    ) -> Result<(&'static str, Response), Denied> {
        let missing = || Denied::new(StatusCode::NOT_FOUND, "missing", "there is no such object");
        let names = (app.parse::<u32>(), id.parse::<MediaId>(), Variant::of_word(variant));
        let (Ok(app), Ok(id), Some(variant)) = names else { return Err(missing()) };
        let (query, now_s) = (request.uri.query().unwrap_or_default(), now_s());
        // Whoever has no good URL learns nothing, not even whether there is something.
        let left_s = self.keys().check_download(app, id, variant, query, now_s)?;
        if self.is_over(id, now_s) {
            return Err(Denied::new(StatusCode::GONE, "expired", "what was uploaded is not kept any more"));
        }
        if self.is_banned(app, id).await.map_err(|error| Denied::store(&error))? {
            let status = StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS;
            return Err(Denied::new(status, "banned", "an administrator has banned this file"));
        }
        let about = self.about(app, id).await.map_err(|error| Denied::store(&error))?.ok_or_else(missing)?;
        let (stored, size, content_type) = about.form(variant).ok_or_else(missing)?;

        let headers = &request.headers;
        let etag = format!("\"{id}-{}\"", stored.word());
        let same = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let mut response = Response::new(Body::empty());
        describe(response.headers_mut(), &about, content_type, &etag, left_s);
        if same(header::IF_NONE_MATCH).is_some_and(|tags| tags == "*" || tags.contains(&etag)) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return Ok(("not_modified", response));
        }
        // Of another version there is no part.
        let whole = same(header::IF_RANGE).is_some_and(|tag| tag != etag);
        let asked = same(header::RANGE).filter(|_| !whole);
        let Ok(part) = range(asked, size) else {
            let mut denied =
                Denied::new(StatusCode::RANGE_NOT_SATISFIABLE, "range", "there are no such octets")
                    .into_response();
            content_range(denied.headers_mut(), &format!("bytes */{size}"));
            return Ok(("range", denied));
        };
        if let Some(part) = &part {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let text = format!("bytes {}-{}/{size}", part.start, part.end - 1);
            content_range(response.headers_mut(), &text);
        }
        let octets = part.clone().unwrap_or(0..size);
        number(response.headers_mut(), "content-length", octets.end - octets.start);
        if request.method == Method::GET {
            let busy =
                |_| Denied::later(StatusCode::SERVICE_UNAVAILABLE, "no_slot", "too many downloads at once");
            let slot = self.downloads.clone().try_acquire_owned().map_err(busy)?;
            self.metrics.downloading.increment(1.0);
            let held = Held { media: self.clone(), _slot: slot };
            let found = self.objects.get(app, id, What::Variant(stored), part).await;
            let found = found.map_err(|error| Denied::store(&error))?.ok_or_else(missing)?;
            *response.body_mut() = match found.payload {
                GetResultPayload::File(file, _) => of_file(file, octets, held),
                GetResultPayload::Stream(parts) => Body::from_stream(parts.map(move |part| {
                    let len = part.as_ref().map_or(0, Bytes::len);
                    held.media.metrics.bytes_out.increment(u64::try_from(len).unwrap_or(u64::MAX));
                    part
                })),
            };
        }
        Ok(("ok", response))
    }
}

/// Octets of a file, read beside the runtime as fast as they are taken.
fn of_file(file: File, octets: Range<u64>, held: Held) -> Body {
    let state = (Arc::new(file), octets, held);
    Body::from_stream(stream::try_unfold(state, |(file, octets, held)| async move {
        if octets.is_empty() {
            return Ok::<_, io::Error>(None);
        }
        let len = usize::try_from((octets.end - octets.start).min(READ_BYTES)).unwrap_or(0);
        let (source, at) = (file.clone(), octets.start);
        let read = blocking(move || {
            let mut buffer = vec![0; len];
            source.read_exact_at(&mut buffer, at)?;
            Ok(Bytes::from(buffer))
        })
        .await?;
        let len = u64::try_from(read.len()).unwrap_or(u64::MAX);
        held.media.metrics.bytes_out.increment(len);
        Ok(Some((read, (file, octets.start + len..octets.end, held))))
    }))
}

fn describe(headers: &mut HeaderMap, about: &About, content_type: &str, etag: &str, left_s: u64) {
    let texts = [
        (header::CONTENT_TYPE, content_type.to_owned()),
        (header::ETAG, etag.to_owned()),
        // What is under a name never changes; the URL ends.
        (header::CACHE_CONTROL, format!("private, max-age={left_s}, immutable")),
        (header::CONTENT_DISPOSITION, disposition(about.inline, &about.name)),
        (header::CONTENT_SECURITY_POLICY, POLICY.to_owned()),
    ];
    for (name, text) in texts {
        // All are made of printable ASCII.
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(name, value);
        }
    }
    let fixed = [
        ("x-content-type-options", "nosniff"),
        ("accept-ranges", "bytes"),
        ("referrer-policy", "no-referrer"),
        // Pages of the App show it from another origin than theirs.
        ("cross-origin-resource-policy", "cross-origin"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// How a browser treats it, and what it calls the file (RFC 6266).
fn disposition(inline: bool, name: &str) -> String {
    let how = if inline { "inline" } else { "attachment" };
    if name.is_empty() {
        return how.to_owned();
    }
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-._~".contains(&octet);
    let shown: String = name
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() || " -._()".contains(letter) { letter } else { '_' })
        .collect();
    let mut escaped = String::new();
    for octet in name.bytes() {
        match plain(octet) {
            true => escaped.push(char::from(octet)),
            false => escaped.push_str(&format!("%{octet:02X}")),
        }
    }
    format!("{how}; filename=\"{shown}\"; filename*=UTF-8''{escaped}")
}

fn content_range(headers: &mut HeaderMap, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(header::CONTENT_RANGE, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_shown_and_escaped() {
        assert_eq!(disposition(true, ""), "inline");
        let want = "attachment; filename=\"a_b_ _.png\"; filename*=UTF-8''a%22b%0A%20%C3%A9.png";
        assert_eq!(disposition(false, "a\"b\n é.png"), want);
    }

    proptest! {
        #[test]
        fn no_name_breaks_the_header(name in "\\PC{0,100}|[\\x00-\\xff]{0,50}") {
            let text = disposition(false, &name);
            prop_assert!(HeaderValue::from_str(&text).is_ok());
            prop_assert_eq!(text.matches('"').count(), if name.is_empty() { 0 } else { 2 });
        }
    }
}
