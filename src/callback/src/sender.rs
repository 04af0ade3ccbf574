//! Sends one request and reads its answer: HTTP/1.1 by hyper over rustls, with bounds on everything.
//!
//! Connections are kept for the next request, and made by [`Dial`] to addresses that [`guard`] has judged. Redirects are not followed: an
//! answer other than 200 is a failure. An answer above [`ANSWER_BYTES_MAX`] is not read on, and its connection ends.

use std::error::Error as _;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_util::client::legacy::Client;
use nearport_chat::callback::guard;
use nearport_dial::{Dial, NotPermitted};

use crate::render::Rendered;
use crate::target::Target;

/// For everything: name, connection, TLS, request and answer. Of the public contract.
pub const TIME_MAX: Duration = Duration::from_secs(2);
/// Largest answer that is read. One has a few hundred bytes, and with a replaced message 12 KB.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Idle connections that are kept.
const IDLE_CONNECTIONS_MAX: usize = 32;

/// Why there is no good answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failed {
    /// Nothing came within [`TIME_MAX`].
    #[error("no answer within 2 s")]
    Late,
    /// No connection, or it broke.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// Its addresses are not public, and private ones are not allowed.
    #[error("its address is not public")]
    Private,
    /// It was answered by another status than 200.
    #[error("status {0}")]
    Status(u16),
    /// The answer is larger than is read.
    #[error("the answer has more than 64 KiB")]
    TooLong,
    /// The answer makes no sense.
    #[error("the answer makes no sense: {0}")]
    Garbage(String),
}

impl Failed {
    /// Whether somebody answered at all.
    #[must_use]
    pub fn is_answer(&self) -> bool {
        matches!(self, Self::Status(_) | Self::TooLong | Self::Garbage(_))
    }
}

/// Speaks to one back end. Cheap to clone: clones share connections.
#[derive(Clone)]
pub struct Sender {
    client: Client<Dial, Full<Bytes>>,
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sender")
    }
}

impl Sender {
    /// One without connections.
    #[must_use]
    pub fn new(target: &Target) -> Self {
        let permits: fn(IpAddr) -> bool = if target.allow_private { |_| true } else { guard::is_public };
        let client = Dial::new(target.tls.clone(), TIME_MAX, permits).client(IDLE_CONNECTIONS_MAX);
        Self { client }
    }

    /// Sends a request, and gives the body of its answer. Dropping the future gives the request up; it may have been heard.
    ///
    /// # Errors
    /// [`Failed`].
    pub async fn send(&self, rendered: &Rendered) -> Result<Bytes, Failed> {
        tokio::time::timeout(TIME_MAX, self.exchange(rendered)).await.unwrap_or(Err(Failed::Late))
    }

    async fn exchange(&self, rendered: &Rendered) -> Result<Bytes, Failed> {
        let Rendered { uri, body, signature } = rendered;
        let mut request = Request::new(Full::new(body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri.clone();
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("nearport/", env!("CARGO_PKG_VERSION"))));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        if let Some((time, signature)) = signature {
            for (name, value) in [("x-nearport-timestamp", time), ("x-nearport-signature", signature)] {
                let value =
                    HeaderValue::try_from(value).map_err(|error| Failed::Garbage(error.to_string()))?;
                headers.insert(name, value);
            }
        }
        let answer = self.client.request(request).await.map_err(|error| failed(&error))?;
        if answer.status() != StatusCode::OK {
            return Err(Failed::Status(answer.status().as_u16()));
        }
        match Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(Failed::TooLong),
            Err(error) => Err(Failed::Unreachable(error.to_string())),
        }
    }
}

fn failed(error: &hyper_util::client::legacy::Error) -> Failed {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            let private = io.get_ref().is_some_and(|inner| inner.is::<NotPermitted>());
            return if private { Failed::Private } else { Failed::Unreachable(io.to_string()) };
        }
        source = cause.source();
    }
    Failed::Unreachable(error.to_string())
}
