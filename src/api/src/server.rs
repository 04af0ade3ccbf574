//! The listener of the HTTP API: bounded, and handed to whoever takes over.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::Semaphore;

use crate::Error;

/// Connections that are served at once; more wait in the kernel's backlog.
const CONNECTIONS_MAX: usize = 1_024;
/// How long a request's head may take, and how long a connection may be idle between two.
const HEAD_MAX: Duration = Duration::from_secs(10);
/// Longest head of a request, in octets.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Header lines of a request.
const HEADERS_MAX: usize = 64;
/// How long a connection may live, whatever it does: a client behind a balancer comes back elsewhere.
const LIFE_MAX: Duration = Duration::from_mins(10);
/// How long accepting rests when the process has no descriptors.
const REST: Duration = Duration::from_millis(100);

/// A bound listener that [`ApiServer::run`] serves. Routes find the peer's address as `ConnectInfo<SocketAddr>`.
#[derive(Debug)]
pub struct ApiServer {
    listener: TcpListener,
    local: SocketAddr,
}

impl ApiServer {
    /// Binds `addr`; port 0 takes any free one.
    ///
    /// # Errors
    /// [`Error::AddrInUse`] or [`Error::Bind`].
    ///
    /// Cancel safe: nothing is bound if the future is dropped.
    pub async fn bind(addr: SocketAddr) -> Result<Self, Error> {
        let failed = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::AddrInUse => Error::AddrInUse(addr),
            _ => Error::Bind { addr, source },
        };
        let listener = tokio::net::TcpListener::bind(addr).await.map_err(failed)?;
        Self::on(listener.into_std().map_err(failed)?)
    }

    /// A server on a listener that another process has bound. It must not block.
    ///
    /// # Errors
    /// [`Error::Serve`] if it is no listener.
    pub fn on(listener: TcpListener) -> Result<Self, Error> {
        let local = listener.local_addr().map_err(Error::Serve)?;
        Ok(Self { listener, local })
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

    /// Serves until the future is dropped, which ends open connections too.
    ///
    /// # Errors
    /// [`Error::Serve`] if the listener does not work at all.
    pub async fn run(&self, app: Router) -> Result<(), Error> {
        let listener = self.listener.try_clone().and_then(tokio::net::TcpListener::from_std);
        let listener = listener.map_err(Error::Serve)?;
        let refused = metrics::counter!("nearport_api_accept_errors_total");
        let open = metrics::gauge!("nearport_api_connections");
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut connections = tokio::task::JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            // Never closed.
            let Ok(place) = places.clone().acquire_owned().await else { return Ok(()) };
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    refused.increment(1);
                    tracing::debug!(%error, "api: accept");
                    tokio::time::sleep(REST).await;
                    continue;
                }
            };
            let _ = stream.set_nodelay(true);
            let service = TowerToHyperService::new(app.clone().layer(axum::Extension(ConnectInfo(peer))));
            let open = open.clone();
            connections.spawn(async move {
                open.increment(1.0);
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEAD_MAX)
                    .max_buf_size(HEAD_BYTES_MAX)
                    .max_headers(HEADERS_MAX)
                    .serve_connection(TokioIo::new(stream), service);
                // What went wrong with one client is that client's business.
                let _ = tokio::time::timeout(LIFE_MAX, connection).await;
                open.decrement(1.0);
                drop(place);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn routes_know_the_peer_and_long_heads_are_refused() {
        let server = ApiServer::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let addr = server.local_addr();
        assert!(matches!(ApiServer::bind(addr).await, Err(Error::AddrInUse(at)) if at == addr));
        let whoami = |ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() };
        let app = Router::new().route("/whoami", get(whoami));
        let asking = async {
            let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
            let own = stream.local_addr().unwrap().to_string();
            // Twice on one connection.
            for close in ["keep-alive", "close"] {
                let request = format!("GET /whoami HTTP/1.1\r\nhost: x\r\nconnection: {close}\r\n\r\n");
                stream.write_all(request.as_bytes()).await.unwrap();
            }
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert_eq!(answer.matches(&own).count(), 2, "{answer}");

            let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
            let request = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(2 * HEAD_BYTES_MAX));
            let _ = stream.write_all(request.as_bytes()).await;
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            let answer = String::from_utf8_lossy(&answer);
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
        };
        tokio::select! {
            ended = server.run(app) => panic!("{ended:?}"),
            () = asking => {}
        }
    }
}
