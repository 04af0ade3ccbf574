//! DNS over HTTPS (RFC 8484), `/dns-query`: the same answers, on the HTTP API.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::respond::{STREAM_BYTES_MAX, Transport};
use super::responder::Responder;
use crate::http::{Shared, limited, refusal};

/// The type of both bodies (RFC 8484, 6).
const TYPE: &str = "application/dns-message";
/// Octets of a query.
const QUERY_BYTES_MAX: usize = 4_096;
/// How long a query's body may take.
const BODY_MAX: Duration = Duration::from_secs(5);

/// The route. Requests must carry the peer's address as [`ConnectInfo`].
pub fn router(responder: Arc<Responder>) -> Router {
    let shared = Shared::new(responder.service().clone());
    Router::new().route("/dns-query", get(from_url).post(from_body)).with_state((shared, responder))
}

type Doh = State<(Shared, Arc<Responder>)>;

async fn from_url(
    State((shared, responder)): Doh,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    RawQuery(text): RawQuery,
) -> Response {
    let text = text.unwrap_or_default();
    let dns = text.split('&').find_map(|pair| pair.strip_prefix("dns="));
    // Four characters hold three octets.
    let dns = dns.filter(|dns| dns.len() <= QUERY_BYTES_MAX / 3 * 4);
    match dns.and_then(|dns| URL_SAFE_NO_PAD.decode(dns).ok()) {
        Some(query) => answer(&shared, &responder, peer, &headers, &query),
        None => refusal(StatusCode::BAD_REQUEST, "dns must be a message in base64url without padding"),
    }
}

async fn from_body(
    State((shared, responder)): Doh,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    if headers.get(header::CONTENT_TYPE).is_none_or(|kind| kind != TYPE) {
        return refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the type must be application/dns-message");
    }
    match tokio::time::timeout(BODY_MAX, to_bytes(body, QUERY_BYTES_MAX)).await {
        Ok(Ok(query)) => answer(&shared, &responder, peer, &headers, &query),
        Ok(Err(_)) => refusal(StatusCode::PAYLOAD_TOO_LARGE, "a query has at most 4096 bytes"),
        Err(_) => refusal(StatusCode::REQUEST_TIMEOUT, "the query did not come"),
    }
}

fn answer(
    shared: &Shared,
    responder: &Responder,
    peer: SocketAddr,
    headers: &HeaderMap,
    query: &[u8],
) -> Response {
    let client = shared.client(peer, headers);
    if !shared.may_ask(client.ip()) {
        return limited();
    }
    // Who hides counts as nobody: no address of the forwarder's stands in for his.
    let source = client.ip().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let mut out = vec![0; STREAM_BYTES_MAX];
    let Some(answered) = responder.answer(query, source, Transport::Stream, &mut out) else {
        return refusal(StatusCode::BAD_REQUEST, "that is no DNS query");
    };
    out.truncate(answered.bytes);
    // No longer than the shortest TTL (RFC 8484, 5.1), and for who asked: the answer depends on where he is.
    let keep = match answered.ttl_s {
        Some(ttl_s) => format!("private, max-age={ttl_s}"),
        None => "no-store".to_owned(),
    };
    ([(header::CONTENT_TYPE, TYPE.to_owned()), (header::CACHE_CONTROL, keep)], out).into_response()
}
