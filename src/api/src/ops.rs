//! `/livez`, `/readyz` and `/metrics`.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;

use crate::{Error, Health, Recorder};

/// How often histogram buffers are emptied when nobody scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

/// The operations server: a bound listener that [`OpsServer::run`] serves.
///
/// | path | answer |
/// | --- | --- |
/// | `/livez` | 200 as long as the process runs |
/// | `/readyz` | 200, or 503 with one line per failed check; `?verbose` lists all checks |
/// | `/metrics` | text format of Prometheus |
#[derive(Debug)]
pub struct OpsServer {
    listener: TcpListener,
    local: SocketAddr,
    health: Arc<Health>,
    recorder: Recorder,
}

impl OpsServer {
    /// Binds `addr`; port 0 takes any free one.
    ///
    /// # Errors
    /// [`Error::AddrInUse`] or [`Error::Bind`].
    ///
    /// Cancel safe: nothing is bound if the future is dropped.
    pub async fn bind(addr: SocketAddr, health: Arc<Health>, recorder: Recorder) -> Result<Self, Error> {
        let failed = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::AddrInUse => Error::AddrInUse(addr),
            _ => Error::Bind { addr, source },
        };
        // The runtime's own way to bind sets SO_REUSEADDR: a server that is started again need not wait.
        let listener = tokio::net::TcpListener::bind(addr).await.map_err(failed)?;
        Self::on(listener.into_std().map_err(failed)?, health, recorder)
    }

    /// A server on a listener that another process has bound. It must not block.
    ///
    /// # Errors
    /// [`Error::Serve`] if it is no listener.
    pub fn on(listener: TcpListener, health: Arc<Health>, recorder: Recorder) -> Result<Self, Error> {
        let local = listener.local_addr().map_err(Error::Serve)?;
        Ok(Self { listener, local, health, recorder })
    }

    /// Another handle of the listener, for the process that takes over.
    ///
    /// # Errors
    /// Of the operating system.
    pub fn handle(&self) -> std::io::Result<TcpListener> {
        self.listener.try_clone()
    }

    /// The address that is bound.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Serves until the future is dropped. Who connects after that waits until somebody serves again, here or in a
    /// process that has a handle of the listener.
    ///
    /// # Errors
    /// [`Error::Serve`] if accepting stops by itself.
    pub async fn run(&self) -> Result<(), Error> {
        let listener = self.listener.try_clone().and_then(tokio::net::TcpListener::from_std);
        let listener = listener.map_err(Error::Serve)?;
        let app = router(self.health.clone(), self.recorder.clone());
        let upkeep = async {
            let mut ticks = tokio::time::interval(UPKEEP);
            loop {
                ticks.tick().await;
                self.recorder.run_upkeep();
            }
        };
        tokio::select! {
            served = axum::serve(listener, app).into_future() => served.map_err(Error::Serve),
            () = upkeep => Ok(()),
        }
    }
}

#[derive(Clone)]
struct Shared {
    health: Arc<Health>,
    recorder: Recorder,
}

fn router(health: Arc<Health>, recorder: Recorder) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(Shared { health, recorder })
}

async fn readyz(State(shared): State<Shared>, RawQuery(query): RawQuery) -> impl IntoResponse {
    let outcomes = shared.health.outcomes();
    let ready = outcomes.iter().all(|outcome| outcome.result.is_ok());
    let verbose = query.is_some_and(|query| query.split('&').any(|part| part == "verbose"));
    let mut body = String::new();
    for outcome in outcomes {
        let _ = match outcome.result {
            Ok(()) if verbose => writeln!(body, "[+] {} ok", outcome.name),
            Ok(()) => Ok(()),
            Err(reason) => writeln!(body, "[-] {}: {reason}", outcome.name),
        };
    }
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    body.push_str(if ready { "ready\n" } else { "not ready\n" });
    (status, body)
}

async fn metrics(State(shared): State<Shared>) -> impl IntoResponse {
    shared.health.outcomes();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], shared.recorder.render())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Check;
    use std::sync::atomic::{AtomicBool, Ordering};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    async fn fetch(addr: SocketAddr, path: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn the_three_paths_tell_life_readiness_and_metrics() {
        let recorder = Recorder::install().unwrap();
        assert!(matches!(Recorder::install(), Err(Error::Recorder(_))));
        let broken = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&broken);
        let store = Check::new("store", move || {
            if seen.load(Ordering::Relaxed) { Err("the disk is full".to_owned()) } else { Ok(()) }
        });
        let health = Arc::new(Health::new(vec![store]));
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = OpsServer::bind(any, Arc::clone(&health), recorder.clone()).await.unwrap();
        let addr = server.local_addr();
        let taken = OpsServer::bind(addr, Arc::clone(&health), recorder).await.unwrap_err();
        assert!(matches!(taken, Error::AddrInUse(at) if at == addr), "{taken}");

        let asking = async {
            assert!(fetch(addr, "/livez").await.starts_with("HTTP/1.1 200"));
            let ready = fetch(addr, "/readyz?verbose").await;
            assert!(ready.starts_with("HTTP/1.1 200") && ready.contains("[+] store ok"), "{ready}");
            broken.store(true, Ordering::Relaxed);
            let ready = fetch(addr, "/readyz").await;
            assert!(
                ready.starts_with("HTTP/1.1 503") && ready.contains("[-] store: the disk is full"),
                "{ready}"
            );
            let metrics = fetch(addr, "/metrics").await;
            assert!(metrics.contains("nearport_ready{check=\"store\"} 0"), "{metrics}");
            assert!(metrics.contains("process_resident_memory_bytes "), "{metrics}");
            health.withdraw("draining");
            assert!(fetch(addr, "/readyz").await.contains("[-] serving: draining"));
            assert!(fetch(addr, "/livez").await.starts_with("HTTP/1.1 200"));
        };
        tokio::select! {
            ended = server.run() => panic!("{ended:?}"),
            () = asking => {}
        }
    }
}
