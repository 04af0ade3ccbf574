//! One connection of the API, by HTTP/1.1 or HTTP/2: what a client may send, and for how long.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;

/// How long a request's head may take, and how long a connection may be idle between two.
const HEAD_MAX: Duration = Duration::from_secs(10);
/// Longest head of a request, in octets.
pub(crate) const HEAD_BYTES_MAX: usize = 16 << 10;
/// The same of HTTP/2, which counts 32 octets more for each line.
const HEAD_LIST_BYTES_MAX: u32 = 16 << 10;
/// Header lines of a request.
const HEADERS_MAX: usize = 64;
/// How long a connection may live, whatever it does: a client behind a balancer comes back elsewhere.
pub(crate) const LIFE_MAX: Duration = Duration::from_mins(10);

/// Requests of one HTTP/2 connection that are answered at once; more are refused by the protocol.
const STREAMS_MAX: u32 = 32;
/// What may be under way to us on one stream of HTTP/2, and on all of them: bodies are small.
const WINDOW_BYTES: u32 = 64 << 10;
/// Streams that a client may reset before they were looked at, and be wrong about, before its connection ends.
const RESETS_MAX: usize = 32;

type App = TowerToHyperService<Router>;

/// Serves a connection to its end. Cancel safe: dropping it closes the connection.
pub(crate) async fn http1(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, app: App) {
    let connection = conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), app);
    let _ = connection.await;
}

/// As [`http1`].
pub(crate) async fn http2(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, app: App) {
    let asked = Arc::new(AtomicUsize::new(0));
    let app = Counted { app, asked: Arc::clone(&asked) };
    let connection = conn::http2::Builder::new(Requests::default())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_LIST_BYTES_MAX)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_local_error_reset_streams(RESETS_MAX)
        .serve_connection(TokioIo::new(stream), app);
    let mut connection = pin!(connection);
    let mut seen = 0;
    loop {
        tokio::select! {
            _ = connection.as_mut() => return,
            () = tokio::time::sleep(HEAD_MAX) => {}
        }
        let now = asked.load(Ordering::Relaxed);
        if now == seen {
            break;
        }
        seen = now;
    }
    // Idle. What was asked for in this moment is still answered.
    connection.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(HEAD_MAX, connection).await;
}

/// Counts what is asked for, so that an idle connection is known.
struct Counted {
    app: App,
    asked: Arc<AtomicUsize>,
}

impl Service<Request<Incoming>> for Counted {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = <App as Service<Request<Incoming>>>::Future;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.app.call(request)
    }
}

/// The requests of one HTTP/2 connection: they end with it.
#[derive(Clone, Default)]
struct Requests(Arc<Mutex<JoinSet<()>>>);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Requests {
    fn execute(&self, request: F) {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while running.try_join_next().is_some() {}
        running.spawn(request);
    }
}
