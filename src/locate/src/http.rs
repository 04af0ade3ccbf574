//! The HTTP shell: `GET /v1/locate`, `POST /v1/rtt`, `GET /v1/map`. The contract is `docs/locate.md`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use nearport_geo::map::Why;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::explain::explain;
use crate::forwarded::{Client, client};
use crate::service::{Located, Now, Service, Unheard};

/// Longest report, in octets.
pub const REPORT_BYTES_MAX: usize = 4_096;
/// How long a report's body may take.
const BODY_MAX: Duration = Duration::from_secs(5);
/// Longest query that is read.
const QUERY_BYTES_MAX: usize = 256;

/// What handlers share, those of `dns::doh` too.
#[derive(Clone)]
pub(crate) struct Shared {
    service: Arc<Service>,
    started: Instant,
}

impl Shared {
    pub(crate) fn new(service: Arc<Service>) -> Self {
        Self { service, started: Instant::now() }
    }

    /// Whether a client may ask now; counted if not.
    pub(crate) fn may_ask(&self, client: Option<IpAddr>) -> bool {
        let may = self.service.may_ask(client, self.now());
        if !may {
            self.service.metrics.limited.increment(1);
        }
        may
    }

    fn now(&self) -> Now {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Now { unix_s: unix.as_secs(), ms }
    }

    /// Whose request it is; counts what is odd about it.
    pub(crate) fn client(&self, peer: SocketAddr, headers: &HeaderMap) -> Client {
        let settings = self.service.settings();
        let metrics = &self.service.metrics;
        let peer = peer.ip().to_canonical();
        let trusted = (settings.trusted)(peer);
        let written = |header: crate::forwarded::Header| headers.contains_key(header.name());
        if written(settings.header.other()) || (!trusted && written(settings.header)) {
            metrics.spoofed.increment(1);
        }
        let lines: Vec<_> =
            headers.get_all(settings.header.name()).iter().map(HeaderValue::as_bytes).collect();
        let client = client(peer, settings.header, lines.into_iter(), &settings.trusted);
        if client == Client::Hidden {
            metrics.hidden.increment(1);
        }
        client
    }
}

/// The routes. Requests must carry the peer's address as [`ConnectInfo`].
pub fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route("/v1/locate", get(locate))
        .route("/v1/rtt", post(report))
        .route("/v1/map", get(map))
        .with_state(Shared::new(service))
}

#[derive(Debug, Default)]
struct Query {
    explain: bool,
    ip: Option<IpAddr>,
    app: Option<u32>,
}

/// The parameters that there are; others are ignored, so that old servers answer new clients.
fn query(text: Option<&str>) -> Result<Query, &'static str> {
    let text = text.unwrap_or_default();
    if text.len() > QUERY_BYTES_MAX {
        return Err("the query is too long");
    }
    let mut query = Query::default();
    for pair in text.split('&') {
        match pair.split_once('=').unwrap_or((pair, "")) {
            ("explain", value) => query.explain = !matches!(value, "0" | "false"),
            ("ip", value) => {
                // The one escape that an address can need.
                let value = value.replace("%3A", ":").replace("%3a", ":");
                query.ip = Some(value.parse().map_err(|_| "ip is no address")?);
            }
            ("app", value) => query.app = Some(value.parse().map_err(|_| "app is no number of an App")?),
            _ => {}
        }
    }
    Ok(query)
}

#[derive(Debug, Serialize)]
struct Candidate<'a> {
    pop: &'a str,
    place: &'a str,
    country: &'a str,
    endpoints: serde_json::Map<String, Value>,
    addresses: &'a [IpAddr],
}

#[derive(Debug, Serialize)]
struct Answer<'a> {
    candidates: Vec<Candidate<'a>>,
    probe: Vec<Candidate<'a>>,
    ttl_s: u64,
    serial: u64,
    country: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    explain: Option<Vec<String>>,
}

async fn locate(
    State(shared): State<Shared>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    RawQuery(text): RawQuery,
) -> Response {
    let (service, now) = (&shared.service, shared.now());
    let from = shared.client(peer, &headers);
    if !shared.may_ask(from.ip()) {
        return limited();
    }
    let query = match query(text.as_deref()) {
        Ok(query) => query,
        Err(why) => {
            service.metrics.malformed.increment(1);
            return refusal(StatusCode::BAD_REQUEST, why);
        }
    };
    // Asking for others is for forwarders themselves: a header says that they only pass somebody's question on.
    let forwarder = matches!(from, Client::Socket(ip) if (service.settings().trusted)(ip));
    if query.ip.is_some() && !forwarder {
        return refusal(StatusCode::FORBIDDEN, "ip is for the forwarders in locate.forwarders");
    }
    let located = service.locate(query.ip.or_else(|| from.ip()), query.ip.is_none(), query.app, now);
    service.metrics.answered(located.decision.level);
    if located.decision.why == Why::Static {
        service.metrics.fail_static.increment(1);
    }
    json(StatusCode::OK, &answer(&located, query.explain, service.settings().ttl, service))
}

fn answer<'a>(located: &'a Located, why: bool, ttl: Duration, service: &Service) -> Answer<'a> {
    let candidate = |pop: &nearport_geo::PopIndex| {
        let pop = located.current.table().get(*pop)?;
        let endpoints = pop.endpoints.by_name().map(|(name, at)| (name.to_owned(), at.into())).collect();
        Some(Candidate {
            pop: &pop.id,
            place: &pop.place,
            country: pop.country.as_str(),
            endpoints,
            addresses: &pop.addresses,
        })
    };
    Answer {
        candidates: located.decision.ranked.iter().filter_map(|pop| candidate(&pop)).collect(),
        probe: located.probe.iter().filter_map(candidate).collect(),
        ttl_s: ttl.as_secs(),
        serial: located.current.serial(),
        country: located.place.country_str(),
        token: located.token.as_deref(),
        explain: why.then(|| explain(located, &service.databases().states())),
    }
}

#[derive(Debug, Deserialize)]
struct Report {
    token: String,
    rtt: Vec<Measured>,
}

#[derive(Debug, Deserialize)]
struct Measured {
    pop: String,
    ms: f64,
}

async fn report(
    State(shared): State<Shared>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let service = &shared.service;
    let from = shared.client(peer, &headers);
    let body = match tokio::time::timeout(BODY_MAX, to_bytes(body, REPORT_BYTES_MAX)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => {
            service.metrics.reported(Err(Unheard::Malformed));
            return refusal(StatusCode::PAYLOAD_TOO_LARGE, "a report has at most 4096 bytes");
        }
        Err(_) => return refusal(StatusCode::REQUEST_TIMEOUT, "the report did not come"),
    };
    let outcome = match serde_json::from_slice::<Report>(&body) {
        Ok(report) => {
            let rtts: Vec<_> = report.rtt.into_iter().map(|measured| (measured.pop, measured.ms)).collect();
            service.report(from.ip(), &report.token, &rtts, shared.now())
        }
        Err(_) => Err(Unheard::Malformed),
    };
    service.metrics.reported(outcome);
    match outcome {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(Unheard::TooMany) => limited(),
        // It was a good report of somebody from whom nothing is to be learnt.
        Err(Unheard::Nowhere | Unheard::Full) => StatusCode::NO_CONTENT.into_response(),
        Err(Unheard::Token(why)) => refusal(StatusCode::UNAUTHORIZED, &why.to_string()),
        Err(why @ Unheard::Malformed) => refusal(StatusCode::BAD_REQUEST, &why.to_string()),
        Err(why) => refusal(StatusCode::UNPROCESSABLE_ENTITY, &why.to_string()),
    }
}

async fn map(
    State(shared): State<Shared>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    let service = &shared.service;
    let from = shared.client(peer, &headers);
    if !shared.may_ask(from.ip()) {
        return limited();
    }
    // The same for everybody: caches may keep it.
    let age = format!("public, max-age={}", service.settings().ttl.as_secs());
    let headers = [(header::CONTENT_TYPE, "application/json".to_owned()), (header::CACHE_CONTROL, age)];
    (headers, service.map().to_string()).into_response()
}

pub(crate) fn limited() -> Response {
    let mut response = refusal(StatusCode::TOO_MANY_REQUESTS, "too many requests from this network");
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

pub(crate) fn refusal(status: StatusCode, why: &str) -> Response {
    json(status, &serde_json::json!({ "error": why }))
}

/// Answers are for who asked: no cache may give them to others.
fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let text = serde_json::to_string(body).unwrap_or_default();
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "private, no-store")];
    (status, headers, text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn queries_are_read_and_strangers_in_them_ignored() {
        let parsed = query(Some("explain=1&ip=2001%3Adb8%3a:1&later=x")).unwrap();
        assert_eq!((parsed.explain, parsed.ip), (true, Some("2001:db8::1".parse().unwrap())));
        assert!(query(Some("explain")).unwrap().explain);
        assert!(!query(Some("explain=0")).unwrap().explain && !query(None).unwrap().explain);
        assert_eq!(query(Some("app=1400000001")).unwrap().app, Some(1_400_000_001));
        assert!(query(Some("ip=1.2.3")).is_err() && query(Some("app=-1")).is_err());
        assert!(query(Some(&"a".repeat(QUERY_BYTES_MAX + 1))).is_err());
    }

    proptest! {
        #[test]
        fn no_query_panics(text in "\\PC{0,300}") {
            let _ = query(Some(&text));
        }
    }
}
