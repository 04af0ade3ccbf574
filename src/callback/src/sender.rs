//! Sends one request and reads its answer: HTTP/1.1 by hyper over rustls, with bounds on everything.
//!
//! Connections are kept for the next request. Names are resolved for each connection, the addresses judged ([`guard`]), and it is
//! those that were judged that are connected to, so a name that changes between look and use gains nothing. Redirects are not followed:
//! an answer other than 200 is a failure. An answer above [`ANSWER_BYTES_MAX`] is not read on, and its connection ends.

use std::error::Error as _;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use nearport_chat::callback::guard;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::render::Rendered;
use crate::target::Target;

/// For everything: name, connection, TLS, request and answer. Of the public contract.
pub const TIME_MAX: Duration = Duration::from_secs(2);
/// Largest answer that is read. One has a few hundred bytes, and with a replaced message 12 KB.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// How long a connection is kept for the next request.
const IDLE_MAX: Duration = Duration::from_secs(20);
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
        let tls = TlsConnector::from(target.tls.clone());
        let dial = Dial { tls, allow_private: target.allow_private };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .build(dial);
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
            let private = io.get_ref().is_some_and(|inner| inner.is::<NotPublic>());
            return if private { Failed::Private } else { Failed::Unreachable(io.to_string()) };
        }
        source = cause.source();
    }
    Failed::Unreachable(error.to_string())
}

#[derive(Debug, thiserror::Error)]
#[error("its address is not public")]
struct NotPublic;

/// Opens connections.
#[derive(Clone)]
struct Dial {
    tls: TlsConnector,
    allow_private: bool,
}

impl tower_service::Service<Uri> for Dial {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Stream>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self { tls, allow_private } = self.clone();
        let dial = async move {
            let host = uri.host().ok_or(io::ErrorKind::InvalidInput)?;
            let secure = uri.scheme_str() != Some("http");
            let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
            // An IPv6 address stands in brackets in a URL alone.
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let tcp = connect(host, port, allow_private).await?;
            tcp.set_nodelay(true)?;
            if !secure {
                return Ok(TokioIo::new(Stream::Plain(tcp)));
            }
            let name = ServerName::try_from(host.to_owned());
            let name = name.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
            Ok(TokioIo::new(Stream::Tls(Box::new(tls.connect(name, tcp).await?))))
        };
        // Whoever asked gives up after `TIME_MAX`, but the pool may keep a connection that is half open for a later request.
        Box::pin(async {
            tokio::time::timeout(TIME_MAX, dial).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        })
    }
}

/// Connects to the first of a name's addresses that may be connected to and takes it.
async fn connect(host: &str, port: u16, allow_private: bool) -> io::Result<TcpStream> {
    let mut error = io::Error::from(io::ErrorKind::NotFound);
    for addr in tokio::net::lookup_host((host, port)).await? {
        if !allow_private && !guard::is_public(addr.ip()) {
            error = io::Error::new(io::ErrorKind::PermissionDenied, NotPublic);
            continue;
        }
        match TcpStream::connect(addr).await {
            Ok(tcp) => return Ok(tcp),
            Err(refused) => error = refused,
        }
    }
    Err(error)
}

/// A connection with TLS or without.
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
