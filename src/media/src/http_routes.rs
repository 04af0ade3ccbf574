//! The routes, and what all their answers have in common. The contract is `docs/media.md`.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::service::Media;
use crate::sign::Refusal;

/// How far an upload is, in octets.
pub(crate) const UPLOAD_OFFSET: &str = "upload-offset";
/// How much it will have.
pub(crate) const UPLOAD_LENGTH: &str = "upload-length";
/// `?1`: it is complete.
pub(crate) const UPLOAD_COMPLETE: &str = "upload-complete";

/// What is still read of a request that is refused, so that its sender gets to reading the answer, and for how long.
const DRAIN_BYTES_MAX: usize = 256 << 10;
const DRAIN_MAX: std::time::Duration = std::time::Duration::from_secs(2);

/// An answer that is no success.
#[derive(Debug)]
pub(crate) struct Denied {
    pub(crate) status: StatusCode,
    /// For programs, and for metrics.
    pub(crate) word: &'static str,
    /// For people.
    pub(crate) why: String,
    /// Seconds after which it may go better.
    pub(crate) retry_s: Option<u64>,
    /// Where an upload goes on.
    pub(crate) offset: Option<u64>,
}

impl Denied {
    pub(crate) fn new(status: StatusCode, word: &'static str, why: impl ToString) -> Self {
        Self { status, word, why: why.to_string(), retry_s: None, offset: None }
    }

    pub(crate) fn later(status: StatusCode, word: &'static str, why: impl ToString) -> Self {
        Self { retry_s: Some(1), ..Self::new(status, word, why) }
    }

    pub(crate) fn at(self, offset: u64) -> Self {
        Self { offset: Some(offset), ..self }
    }

    /// For the log: the store said something that is no client's business.
    pub(crate) fn store(error: &dyn std::fmt::Display) -> Self {
        tracing::error!(%error, "media: the store cannot be used");
        Self::later(StatusCode::SERVICE_UNAVAILABLE, "store", "the store cannot be used now, try again")
    }
}

impl From<Refusal> for Denied {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Expired => Self::new(StatusCode::GONE, "expired", refusal),
            refusal => Self::new(StatusCode::FORBIDDEN, "signature", refusal),
        }
    }
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        let mut body = json!({ "error": self.why, "code": self.word });
        if let (Some(offset), Some(object)) = (self.offset, body.as_object_mut()) {
            object.insert("offset".into(), offset.into());
        }
        let mut response = answer(self.status, &body);
        if let Some(offset) = self.offset {
            number(response.headers_mut(), UPLOAD_OFFSET, offset);
        }
        if let Some(retry_s) = self.retry_s {
            number(response.headers_mut(), "retry-after", retry_s);
        }
        response
    }
}

/// JSON for whoever asked, and for no cache.
pub(crate) fn answer(status: StatusCode, body: &Value) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (status, headers, body.to_string()).into_response()
}

pub(crate) fn number(headers: &mut HeaderMap, name: &'static str, value: u64) {
    headers.insert(name, HeaderValue::from(value));
}

/// Reads a little of what a refused request still brings. HTTP/1.1 would else be closed under the sender's hands, and with it the answer.
pub(crate) async fn drain(body: &mut Body) {
    let mut left = DRAIN_BYTES_MAX;
    let read = async {
        while let Some(Ok(frame)) = body.frame().await {
            let len = frame.data_ref().map_or(0, bytes::Bytes::len);
            match left.checked_sub(len) {
                Some(less) => left = less,
                None => break,
            }
        }
    };
    let _ = tokio::time::timeout(DRAIN_MAX, read).await;
}

impl Media {
    /// The routes.
    pub fn router(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/v1/media/upload/{token}", any(upload))
            .route("/v1/media/{app}/{id}/{variant}", any(download))
            .with_state(self.clone())
    }

    /// Lets pages of configured origins see the answer.
    fn cors(&self, origin: Option<&HeaderValue>, mut response: Response) -> Response {
        if self.config.origins.is_empty() {
            return response;
        }
        let headers = response.headers_mut();
        // Caches must not give one origin's answer to another.
        headers.append(header::VARY, HeaderValue::from_static("origin"));
        let Some(origin) = origin else { return response };
        let allowed = |known: &String| known == "*" || known.as_bytes() == origin.as_bytes();
        if self.config.origins.iter().any(allowed) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            let shown = "upload-offset, upload-length, upload-complete, content-range, content-length, etag, retry-after";
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(shown));
        }
        response
    }
}

async fn upload(State(media): State<Arc<Media>>, Path(token): Path<String>, request: Request) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let response = match *request.method() {
        Method::OPTIONS => preflight("GET, HEAD, PUT, DELETE"),
        Method::GET | Method::HEAD | Method::PUT | Method::DELETE => media.upload(&token, request).await,
        _ => not_allowed("GET, HEAD, PUT, DELETE, OPTIONS"),
    };
    media.cors(origin.as_ref(), response)
}

async fn download(
    State(media): State<Arc<Media>>,
    Path((app, id, variant)): Path<(String, String, String)>,
    request: Request,
) -> Response {
    // Without its body, which nobody else may look at.
    let (request, _) = request.into_parts();
    let origin = request.headers.get(header::ORIGIN).cloned();
    let response = match request.method {
        Method::OPTIONS => preflight("GET, HEAD"),
        Method::GET | Method::HEAD => media.download(&app, &id, &variant, &request).await,
        _ => not_allowed("GET, HEAD, OPTIONS"),
    };
    media.cors(origin.as_ref(), response)
}

fn preflight(methods: &'static str) -> Response {
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, methods),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "content-type, content-range, range, if-none-match, if-range"),
        (header::ACCESS_CONTROL_MAX_AGE, "600"),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

fn not_allowed(methods: &'static str) -> Response {
    let denied = Denied::new(StatusCode::METHOD_NOT_ALLOWED, "malformed", format!("ask by {methods}"));
    let mut response = denied.into_response();
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
    response
}
