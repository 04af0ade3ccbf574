//! One connection to the server of files, and one request after another on it.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::task::JoinHandle;

use super::{Fault, MediaError};
use crate::network::{Edge, Network};

/// For a connection, from its name to its TLS.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// For an answer, with the content that goes before it: a piece of 256 KiB at 5 KB/s, or a large image that is made smaller.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// Longest answer that is no content.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Where a URL leads.
#[derive(Debug, Clone)]
pub(super) struct Place {
    secure: bool,
    host: String,
    port: u16,
    authority: HeaderValue,
    path: Uri,
}

impl Place {
    pub(super) fn parse(url: &str) -> Result<Self, MediaError> {
        let bad = |why: &str| MediaError::Address(format!("`{url}` {why}"));
        let uri: Uri = url.parse().map_err(|_| bad("is none"))?;
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(bad("begins neither with https:// nor with http://")),
        };
        let authority = uri.authority().ok_or_else(|| bad("has no host"))?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let path = uri.path_and_query().ok_or_else(|| bad("has no path"))?.clone();
        let authority = HeaderValue::from_str(authority.as_str()).map_err(|_| bad("has no usable host"))?;
        Ok(Self { secure, host, port, authority, path: Uri::from(path) })
    }
}

/// A connection, made when it is needed and dropped when anything is wrong with it.
#[derive(Debug)]
pub(super) struct Exchange<'a> {
    network: &'a Network,
    place: Place,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// What the server says when it says no.
#[derive(Debug, Default, Deserialize)]
struct Said {
    #[serde(default)]
    error: String,
    #[serde(default)]
    code: String,
}

impl<'a> Exchange<'a> {
    pub(super) fn new(network: &'a Network, place: Place) -> Self {
        Self { network, place, open: None }
    }

    /// Sends a request to the URL and gives the head of the answer with the content to come.
    ///
    /// Cancel safe: the connection is given up.
    pub(super) async fn send(
        &mut self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Fault> {
        // Taken out, so that a request that is given up takes its connection along.
        let mut open = match self.open.take() {
            Some(open) if !open.sender.is_closed() => open,
            _ => self.connect().await?,
        };
        *request.uri_mut() = self.place.path.clone();
        let headers = request.headers_mut();
        headers.insert(HOST, self.place.authority.clone());
        let agent = concat!("nearport-rust/", env!("CARGO_PKG_VERSION"));
        headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        let answer = tokio::time::timeout(ANSWER_MAX, async {
            open.sender.ready().await?;
            open.sender.send_request(request).await
        });
        let answer = answer.await.map_err(|_| again("the server does not answer"))?;
        let answer = answer.map_err(|error| again(&told(&error)))?;
        self.open = Some(open);
        Ok(answer)
    }

    /// The body of an answer that is no content.
    pub(super) async fn body(&mut self, answer: Response<Incoming>) -> Result<Bytes, Fault> {
        let read = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect();
        match tokio::time::timeout(ANSWER_MAX, read).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) => {
                self.open = None;
                Err(again(&error.to_string()))
            }
            Err(_) => {
                self.open = None;
                Err(again("the answer does not come"))
            }
        }
    }

    /// What an answer that is no success means.
    pub(super) async fn refusal(&mut self, answer: Response<Incoming>) -> Fault {
        let status = answer.status();
        let rest = retry_after(answer.headers());
        let body = self.body(answer).await.unwrap_or_default();
        let said: Said = serde_json::from_slice(&body).unwrap_or_default();
        let why = if said.error.is_empty() { status.to_string() } else { said.error };
        let passes = status.is_server_error()
            || [StatusCode::REQUEST_TIMEOUT, StatusCode::CONFLICT, StatusCode::TOO_MANY_REQUESTS]
                .contains(&status);
        if passes {
            return Fault::Again(why, rest);
        }
        Fault::Final(MediaError::Refused { status: status.as_u16(), code: said.code, why })
    }

    /// Forgets the connection.
    pub(super) fn hang_up(&mut self) {
        self.open = None;
    }

    async fn connect(&self) -> Result<Open, Fault> {
        let connecting = async {
            let address = self.resolve().await?;
            let edge = Edge::new(address, &*self.place.host);
            let failed = |closing: nearport_session::Closing| again(&closing.reason);
            if self.place.secure {
                let tls = self.network.dial_https(&edge).await.map_err(failed)?;
                let (sender, connection) =
                    handshake(TokioIo::new(tls)).await.map_err(|error| again(&told(&error)))?;
                let driver = tokio::spawn(async move { drop(connection.await) });
                return Ok(Open { sender, driver });
            }
            let tcp = self.network.dial_http(&edge).await.map_err(failed)?;
            let (sender, connection) =
                handshake(TokioIo::new(tcp)).await.map_err(|error| again(&told(&error)))?;
            let driver = tokio::spawn(async move { drop(connection.await) });
            Ok(Open { sender, driver })
        };
        tokio::time::timeout(CONNECT_MAX, connecting).await.map_err(|_| again("no connection in time"))?
    }

    async fn resolve(&self) -> Result<SocketAddr, Fault> {
        let found = tokio::net::lookup_host((&*self.place.host, self.place.port)).await;
        let mut found = found.map_err(|error| again(&format!("{}: {error}", self.place.host)))?;
        found.next().ok_or_else(|| again(&format!("{} has no address", self.place.host)))
    }
}

pub(super) fn again(why: &str) -> Fault {
    Fault::Again(why.to_owned(), None)
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok().map(Duration::from_secs)
}

/// A number in a header.
pub(super) fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

/// An error with its cause, which says more.
pub(super) fn told(error: &hyper::Error) -> String {
    use std::error::Error as _;
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let place = Place::parse("https://files.example:8443/v1/media/7/x/original?e=1&s=a").unwrap();
        assert_eq!((place.secure, &*place.host, place.port), (true, "files.example", 8443));
        assert_eq!(place.path, "/v1/media/7/x/original?e=1&s=a");
        let place = Place::parse("http://[::1]/a").unwrap();
        assert_eq!((place.secure, &*place.host, place.port), (false, "::1", 80));
        for bad in ["ftp://a/b", "/a", "", "https://"] {
            assert!(Place::parse(bad).is_err(), "{bad}");
        }
    }
}
