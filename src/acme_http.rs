//! HTTPS towards an ACME directory: one bounded request at a time.
//!
//! An order takes about a dozen requests in two months, so each has a connection of its own; what matters is that nothing
//! waits or grows without end, whatever the other side does.

use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::header::{HOST, HeaderValue, RETRY_AFTER};
use hyper::http::uri::{PathAndQuery, Uri};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::tls::{provider, system_roots};
use crate::tls_pem::roots;

/// Name lookup, connection, TLS, request and answer together.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);
/// The largest answer is a chain, some kilobytes.
const ANSWER_BYTES_MAX: usize = 256 << 10;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A client that trusts certain roots.
#[derive(Clone)]
pub(crate) struct Http {
    tls: TlsConnector,
    patience: Patience,
}

/// What the directory asked for with its last refusal (`Retry-After`), which the protocol library keeps to itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Patience(Arc<Mutex<Option<Duration>>>);

impl Patience {
    /// Takes what was asked since the last call.
    pub(crate) fn take(&self) -> Option<Duration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn note(&self, response: &hyper::http::response::Parts) {
        if response.status.is_client_error() || response.status.is_server_error() {
            let asked =
                response.headers.get(RETRY_AFTER).and_then(|value| retry_after(value, SystemTime::now()));
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = asked;
        }
    }
}

impl Http {
    /// Trusts the certificates in `ca`, or without it those that this system trusts.
    ///
    /// # Errors
    /// Says which file or setting is at fault.
    pub(crate) fn new(ca: Option<&Path>) -> Result<Self, String> {
        let roots = match ca {
            Some(path) => roots(path).map_err(|error| format!("acme.ca: {error}"))?,
            None => system_roots().map_err(|error| format!("{error}, or set acme.ca"))?,
        };
        let config = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let config = config.map_err(|error| error.to_string())?;
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { tls: TlsConnector::from(Arc::new(config)), patience: Patience::default() })
    }

    pub(crate) fn patience(&self) -> Patience {
        self.patience.clone()
    }

    async fn exchange(self, request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, BoxError> {
        let target = request.uri().clone();
        if target.scheme_str() != Some("https") {
            return Err(format!("{target}: a directory is reached by https:// only").into());
        }
        let told = |error: BoxError| -> BoxError { format!("{target}: {}", chain_of(&*error)).into() };
        let answered = tokio::time::timeout(REQUEST_LIMIT, self.connected(request, &target)).await;
        let response = match answered {
            Ok(answered) => answered.map_err(told)?,
            Err(_) => return Err(told(format!("no answer within {} s", REQUEST_LIMIT.as_secs()).into())),
        };
        let (parts, body) = response.into_parts();
        self.patience.note(&parts);
        Ok(BytesResponse { parts, body: Box::new(body) })
    }

    async fn connected(
        &self,
        mut request: Request<BodyWrapper<Bytes>>,
        target: &Uri,
    ) -> Result<Response<Bytes>, BoxError> {
        let authority = target.authority().ok_or("no host in the address")?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned())?;
        request.headers_mut().insert(HOST, HeaderValue::from_str(authority.as_str())?);
        let path = target.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        *request.uri_mut() = Uri::from(path);

        let stream = TcpStream::connect((host, authority.port_u16().unwrap_or(443))).await?;
        let stream = self.tls.connect(name, stream).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let mut exchange = pin!(async move {
            let (parts, body) = sender.send_request(request).await?.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await?.to_bytes();
            Ok::<_, BoxError>(Response::from_parts(parts, body))
        });
        tokio::select! {
            done = &mut exchange => done,
            // The server may close behind its answer, which is then still to be read.
            ended = connection => match ended {
                Ok(()) => exchange.await,
                Err(error) => Err(error.into()),
            },
        }
    }
}

impl HttpClient for Http {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let this = self.clone();
        Box::pin(async move { this.exchange(request).await.map_err(Error::Other) })
    }
}

/// An error with its causes: what a person needs is mostly in the last one.
fn chain_of(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// `Retry-After`: seconds, or a date (RFC 9110 §10.2.3).
fn retry_after(value: &HeaderValue, now: SystemTime) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(now).ok(),
    }
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Http")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn patience_is_read_in_both_forms() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let read = |text: &'static str| retry_after(&HeaderValue::from_static(text), now);
        assert_eq!(read("120"), Some(Duration::from_secs(120)));
        assert_eq!(read("Tue, 14 Nov 2023 22:14:20 GMT"), Some(Duration::from_secs(60)));
        for text in ["", "soon", "-1", "1.5", "Tue, 14 Nov 2023 22:13:19 GMT"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn errors_are_shown_with_their_causes_once() {
        let inner = io::Error::new(io::ErrorKind::ConnectionRefused, "refused");
        let outer = io::Error::other(inner);
        assert_eq!(chain_of(&outer), "refused");
    }
}
