//! The addressing service by HTTPS: one request on one connection, bounded.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use std::pin::pin;

use super::config::Server;
use crate::network::{Edge, Network};

/// `GET path`: the body of a 200 that has at most `most` octets.
///
/// Cancel safe: nothing is left of it.
///
/// # Errors
/// For people: what is wrong with the server, the path to it, or its answer.
pub(crate) async fn get(
    network: &Network,
    server: &Server,
    path: &str,
    most: usize,
) -> Result<Bytes, String> {
    let (status, body) = exchange(network, server, Method::GET, path, Bytes::new(), most).await?;
    if status == StatusCode::OK { Ok(body) } else { Err(format!("HTTP {status}")) }
}

/// `POST path` with a body of JSON, to which nothing is answered.
///
/// # Errors
/// As [`get`].
pub(crate) async fn post(network: &Network, server: &Server, path: &str, body: Bytes) -> Result<(), String> {
    let (status, _) = exchange(network, server, Method::POST, path, body, 4_096).await?;
    if status.is_success() { Ok(()) } else { Err(format!("HTTP {status}")) }
}

async fn exchange(
    network: &Network,
    server: &Server,
    method: Method,
    path: &str,
    body: Bytes,
    most: usize,
) -> Result<(StatusCode, Bytes), String> {
    let server = Edge::new(server.address, server.name());
    let tls = network.dial_https(&server).await.map_err(|closing| closing.reason)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(tls)).await.map_err(|error| told(&error))?;
    let host = HeaderValue::from_str(&server.authority()).map_err(|error| error.to_string())?;
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().map_err(|_| format!("path `{path}`"))?;
    let headers = request.headers_mut();
    headers.insert(HOST, host);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers
        .insert(USER_AGENT, HeaderValue::from_static(concat!("nearport-rust/", env!("CARGO_PKG_VERSION"))));
    let mut exchange = pin!(async move {
        let answer = sender.send_request(request).await.map_err(|error| told(&error))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), most).collect().await;
        let body = body.map_err(|error| format!("the answer does not come whole: {error}"))?;
        Ok((status, body.to_bytes()))
    });
    tokio::select! {
        done = &mut exchange => done,
        // The server may close behind its answer, which is then still to be read; some do without a word of TLS's.
        ended = connection => match (exchange.await, ended) {
            (Err(_), Err(error)) => Err(told(&error)),
            (done, _) => done,
        },
    }
}

/// An error with its cause, which says more.
fn told(error: &hyper::Error) -> String {
    use std::error::Error as _;
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
