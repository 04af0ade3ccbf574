//! The way of a request: path, size, who asks, rate, JSON, handler.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use axum::routing::any;
use http_body_util::{BodyExt as _, Limited};
use nearport_chat::Failure;
use nearport_chat::admin::Admin;
use nearport_chat::audit::{Entry, Hash};
use nearport_chat::key::{AppId, UserKey};

use crate::answer::{Empty, Envelope, Refusal};
use crate::effect::Effect;
use crate::rates::{Over, Rates};
use crate::service;
use crate::sign_in::sign_in;
use crate::table::{self, Call, Command};

/// The largest body that is read: 1,000 relations with all their fields.
const BODY_BYTES_MAX: usize = 2 << 20;
/// How long a body may take to come.
const BODY_MAX: Duration = Duration::from_secs(10);
/// How long a command may take; the contract says 3 s of its server, and callers wait a little longer.
const COMMAND_MAX: Duration = Duration::from_secs(10);

const UNREADABLE: u32 = 60002;
const COMMAND_RATE: u32 = 60007;
const TIMED_OUT: u32 = 60008;
const NOT_FOUND: u32 = 60009;
const APP_RATE: u32 = 60011;
const NOT_ALLOWED: u32 = 60021;
const TOO_LONG: u32 = 93000;

/// Whether an address may call.
pub type Allowed = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// Addresses and networks from which callbacks come to the back end of an App.
pub type CallbacksFrom = Arc<dyn Fn(AppId) -> Vec<String> + Send + Sync>;

/// Gives the backend, if it is open. A handle is kept for as long as one request takes.
pub type Open = Arc<dyn Fn() -> Option<Admin> + Send + Sync>;

/// The API over a backend. Cheap to clone.
#[derive(Clone)]
pub struct Rest {
    backend: Open,
    allowed: Allowed,
    callbacks_from: CallbacksFrom,
    rates: Arc<Rates>,
    metrics: Arc<Metrics>,
}

/// What requests are counted by. Nearly all of them end well, so those handles are kept: to find one by its labels takes half a microsecond.
struct Metrics {
    seconds: metrics::Histogram,
    /// By the place of a command in the table.
    done: Vec<OnceLock<metrics::Counter>>,
}

impl Metrics {
    fn new() -> Self {
        metrics::describe_counter!(
            "nearport_rest_requests_total",
            "REST requests, by service, command and code."
        );
        metrics::describe_histogram!("nearport_rest_seconds", "Time that REST requests took.");
        let done = table::commands().iter().map(|_| OnceLock::new()).collect();
        Self { seconds: metrics::histogram!("nearport_rest_seconds"), done }
    }

    /// Names that are not in the table are the caller's: they do not become labels.
    fn count(&self, found: Option<(usize, &'static Command)>, code: u32) {
        let (service, command) = found.map_or(("", ""), |(_, command)| (command.service.name, command.name));
        let counter = || metrics::counter!("nearport_rest_requests_total", "service" => service, "command" => command, "code" => code.to_string());
        match found {
            Some((place, _)) if code == 0 => self.done[place].get_or_init(counter).increment(1),
            _ => counter().increment(1),
        }
    }
}

impl std::fmt::Debug for Rest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rest").finish_non_exhaustive()
    }
}

impl Rest {
    /// Over this backend.
    #[must_use]
    pub fn new(backend: Open, allowed: Allowed, callbacks_from: CallbacksFrom) -> Self {
        Self { backend, allowed, callbacks_from, rates: Arc::default(), metrics: Arc::new(Metrics::new()) }
    }

    /// The routes below `/v4`.
    pub fn router(&self) -> Router {
        let commands = Router::new().route("/{service}/{command}", any(handle)).fallback(nothing);
        Router::new().nest("/v4", commands).with_state(self.clone())
    }
}

async fn nothing() -> Response {
    answer(refused(false, Refusal::new(NOT_FOUND, "requests go to /v4/{service}/{command}")))
}

async fn handle(
    State(rest): State<Rest>,
    Path((service, command)): Path<(String, String)>,
    peer: axum::Extension<ConnectInfo<SocketAddr>>,
    request: Request,
) -> Response {
    let begun = Instant::now();
    let found = table::find(&service, &command);
    let known = found.as_ref().ok().copied();
    let outcome = match found {
        Ok(found) => rest.answer(found, peer.0.0, request).await,
        Err(refusal) => Err(refusal),
    };
    let (body, code) = match outcome {
        Ok(body) => (body, 0),
        Err(refusal) => {
            let code = refusal.code;
            (refused(service::find(&service).is_some_and(|service| service.display), refusal), code)
        }
    };
    rest.metrics.count(known, code);
    rest.metrics.seconds.record(begun.elapsed());
    answer(body)
}

impl Rest {
    async fn answer(
        &self,
        (place, command): (usize, &'static Command),
        peer: SocketAddr,
        request: Request,
    ) -> Result<Vec<u8>, Refusal> {
        if request.method() != axum::http::Method::POST {
            return Err(Refusal::new(UNREADABLE, "commands are POST requests"));
        }
        if request.headers().contains_key(header::CONTENT_ENCODING) {
            return Err(Refusal::new(UNREADABLE, "bodies are sent as they are, without Content-Encoding"));
        }
        let service = command.service;
        let query = request.uri().query().unwrap_or_default().to_owned();
        let peer = peer.ip().to_canonical();
        let admin =
            (self.backend)().ok_or_else(|| Refusal::new(TIMED_OUT, "the backend is closed, try again"))?;
        if !(self.allowed)(peer) {
            admin.audit().refused(door_entry(&admin, "rest address refused", peer, NOT_ALLOWED));
            return Err(Refusal::new(NOT_ALLOWED, "this address may not call"));
        }
        let asker = sign_in(&admin, service, &query, peer)?;
        let limits = admin.settings(asker.app).rest();
        let per_s = if limits.command_rates { command.per_s } else { 0 };
        let counted = self.rates.count(asker.app.0, place, (per_s, limits.app_calls_per_s), admin.now_ms());
        counted.map_err(|over| match over {
            Over::Command { first } => {
                if first {
                    admin.over_limit(&asker, (service.name, command.name), per_s);
                }
                Refusal::new(COMMAND_RATE, format!("at most {per_s} calls of this command in a second"))
            }
            Over::App { first } => {
                if first {
                    admin.over_limit(&asker, (service.name, command.name), limits.app_calls_per_s);
                }
                Refusal::new(APP_RATE, "the App calls too often")
            }
        })?;
        let body = body(request.into_body()).await?;
        let recorded = match command.effect {
            Effect::Reads => false,
            Effect::Changes => true,
            Effect::Sends => admin.audit().messages(),
        };
        let act = format!("rest {}/{}", service.name, command.name);
        // Room for the record before anything is done.
        let permit = recorded.then(|| {
            let entry = door_entry(&admin, &act, peer, 0).with("digest", Hash::of(&body).to_string());
            let entry = Entry { app: asker.app.0, who: asker.admin.to_string(), ..entry };
            admin.audit().permit(entry)
        });
        let permit = permit.transpose().map_err(|error| Refusal::new(service.internal, error.to_string()))?;
        let callbacks_from = self.callbacks_from.clone();
        let call = Call { admin: admin.clone(), asker: asker.clone(), service, peer, callbacks_from };
        let done = tokio::time::timeout(COMMAND_MAX, (command.run)(call, body)).await;
        let done = done.unwrap_or_else(|_| {
            Err(Refusal::new(TIMED_OUT, "this took too long; it may have been done all the same"))
        });
        let code = done.as_ref().map_or_else(|refusal| refusal.code, |_| 0);
        match permit {
            Some(permit) => match permit.record(code).await {
                Some(Ok(())) => {}
                _ => {
                    let info = "this may have been done, but the audit log cannot be written";
                    return Err(Refusal::new(service.internal, info));
                }
            },
            None if command.effect == Effect::Sends => {
                admin.audit().count(asker.app.0, &asker.admin, act, code, admin.now_ms());
            }
            None => {}
        }
        done
    }
}

/// What is known of a call before it is known who calls.
pub(crate) fn door_entry(admin: &Admin, act: &str, peer: IpAddr, code: u32) -> Entry {
    let (act, from) = (act.to_owned(), peer.to_string());
    Entry { time_ms: admin.now_ms(), from, act, code, ..Entry::default() }
}

impl Call {
    /// Runs what blocks its thread for a look into a store.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        internal: u32,
        work: impl FnOnce(&Admin) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Refusal> {
        let admin = self.admin.clone();
        let done = tokio::task::spawn_blocking(move || work(&admin)).await;
        let done = done.map_err(|error| {
            tracing::error!(%error, "rest: a command panicked");
            Refusal::new(internal, "internal error")
        })?;
        Ok(done?)
    }

    /// Which of these accounts exist. On this thread if none has to be looked up.
    pub(crate) async fn exist(&self, internal: u32, users: &[UserKey]) -> Result<Vec<bool>, Refusal> {
        if self.admin.remembers(users) {
            return Ok(self.admin.exist(users)?);
        }
        let users = users.to_vec();
        self.blocking(internal, move |admin| admin.exist(&users)).await
    }
}

async fn body(body: Body) -> Result<Vec<u8>, Refusal> {
    let collected = tokio::time::timeout(BODY_MAX, Limited::new(body, BODY_BYTES_MAX).collect()).await;
    let collected = collected.map_err(|_| Refusal::new(TIMED_OUT, "the body did not come in time"))?;
    match collected {
        Ok(body) => Ok(body.to_bytes().into()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            Err(Refusal::new(TOO_LONG, format!("the body is longer than {BODY_BYTES_MAX} bytes")))
        }
        Err(_) => Err(Refusal::new(UNREADABLE, "the body did not come to its end")),
    }
}

fn refused(display: bool, refusal: Refusal) -> Vec<u8> {
    serde_json::to_vec(&Envelope::<Empty>::refused(display, refusal)).unwrap_or_default()
}

/// Status 200 for everything that was handled.
fn answer(body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("X-Requested-With"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
    response
}
