//! How the object store reaches a bucket: HTTP/1.1 by hyper over rustls, with the process's one provider and the roots that it is told.
//!
//! `object_store` brings a client of its own, with a verifier of the platform, a pool of names, redirects and proxies from the
//! environment. It needs one request and one answer.

use std::error::Error as _;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse,
    HttpResponseBody, HttpService,
};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// From the name to the end of the TLS handshake.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// From a request's first octet to the answer's head: a piece of 5 MiB at 200 KB/s.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// How long a connection is kept for the next request, and how many.
const IDLE_MAX: Duration = Duration::from_secs(20);
const IDLE_CONNECTIONS_MAX: usize = 16;

/// Makes the client.
#[derive(Debug)]
pub(crate) struct Connector(Arc<ClientConfig>);

impl Connector {
    pub(crate) fn new(tls: Arc<ClientConfig>) -> Self {
        Self(tls)
    }
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let dial = Dial(TlsConnector::from(self.0.clone()));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .build(dial);
        Ok(HttpClient::new(Service(client)))
    }
}

#[derive(Debug)]
struct Service(Client<Dial, HttpRequestBody>);

// What `async_trait` makes of the trait's method.
impl HttpService for Service {
    fn call<'a, 'b>(
        &'a self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            let answer = tokio::time::timeout(ANSWER_MAX, self.0.request(request)).await;
            let late = |_| HttpError::new(HttpErrorKind::Timeout, io::Error::from(io::ErrorKind::TimedOut));
            let (head, body) = answer.map_err(late)?.map_err(failed)?.into_parts();
            let body = body.map_err(|error| HttpError::new(HttpErrorKind::Interrupted, error));
            Ok(HttpResponse::from_parts(head, HttpResponseBody::new(body)))
        })
    }
}

fn failed(error: ClientError) -> HttpError {
    let hyper = error.source().and_then(|source| source.downcast_ref::<hyper::Error>());
    let kind = match hyper {
        _ if error.is_connect() => HttpErrorKind::Connect,
        // A connection that the server closed while it rested: nothing was looked at.
        Some(hyper) if hyper.is_closed() || hyper.is_canceled() => HttpErrorKind::Request,
        _ => HttpErrorKind::Interrupted,
    };
    HttpError::new(kind, error)
}

/// Opens connections.
#[derive(Clone)]
struct Dial(TlsConnector);

impl std::fmt::Debug for Dial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Dial")
    }
}

impl tower_service::Service<Uri> for Dial {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Stream>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let tls = self.0.clone();
        Box::pin(async move {
            let dial = async {
                let host = uri.host().ok_or(io::ErrorKind::InvalidInput)?;
                let secure = uri.scheme_str() != Some("http");
                let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
                // An IPv6 address stands in brackets in a URL alone.
                let host = host.trim_start_matches('[').trim_end_matches(']');
                let tcp = TcpStream::connect((host, port)).await?;
                tcp.set_nodelay(true)?;
                if !secure {
                    return Ok(Stream::Plain(tcp));
                }
                let name = ServerName::try_from(host.to_owned());
                let name = name.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
                Ok(Stream::Tls(Box::new(tls.connect(name, tcp).await?)))
            };
            let dialled = tokio::time::timeout(CONNECT_MAX, dial).await;
            dialled.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map(TokioIo::new)
        })
    }
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
