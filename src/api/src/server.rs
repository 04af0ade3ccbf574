//! The listener of the HTTP API: bounded, with TLS or without.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use crate::Error;
use crate::serve::{LIFE_MAX, http1, http2};

/// Connections that are served at once; more wait in the kernel's backlog.
const CONNECTIONS_MAX: usize = 1_024;
/// How long a TLS handshake may take: three round trips on a bad path, and a packet that is repeated. Each has one of the places
/// above, and costs some 200 µs once.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);
/// What a TLS client may ask for by ALPN. Without any it speaks HTTP/1.1.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];
/// How long accepting rests when the process has no descriptors.
const REST: Duration = Duration::from_millis(100);

/// A bound listener that [`ApiServer::run`] serves. Routes find the peer's address as `ConnectInfo<SocketAddr>`.
pub struct ApiServer {
    listener: TcpListener,
    local: SocketAddr,
    tls: Option<TlsAcceptor>,
}

impl std::fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiServer")
            .field("local", &self.local)
            .field("tls", &self.is_tls())
            .finish_non_exhaustive()
    }
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
        Ok(Self { listener, local, tls: None })
    }

    /// From now on it speaks TLS, with HTTP/2 or HTTP/1.1 as the client likes; the ALPN of `config` is replaced.
    #[must_use]
    pub fn with_tls(self, mut config: ServerConfig) -> Self {
        config.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
        Self { tls: Some(TlsAcceptor::from(Arc::new(config))), ..self }
    }

    /// Whether it speaks TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
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
        metrics::describe_counter!(
            "nearport_api_accept_errors_total",
            "Times that the system gave no new connection of the HTTP API."
        );
        metrics::describe_gauge!("nearport_api_connections", "Open connections of the HTTP API.");
        metrics::describe_counter!(
            "nearport_api_handshake_failures_total",
            "TLS handshakes of the HTTP API that failed."
        );
        let refused = metrics::counter!("nearport_api_accept_errors_total");
        let open = metrics::gauge!("nearport_api_connections");
        let failed = metrics::counter!("nearport_api_handshake_failures_total");
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
            let (open, failed) = (open.clone(), failed.clone());
            let tls = self.tls.clone();
            connections.spawn(async move {
                open.increment(1.0);
                // What went wrong with one client is that client's business.
                let _ = match tls {
                    None => tokio::time::timeout(LIFE_MAX, http1(stream, service)).await,
                    Some(tls) => match tokio::time::timeout(HANDSHAKE_MAX, tls.accept(stream)).await {
                        Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(ALPN[0]) => {
                            tokio::time::timeout(LIFE_MAX, http2(stream, service)).await
                        }
                        Ok(Ok(stream)) => tokio::time::timeout(LIFE_MAX, http1(stream, service)).await,
                        Ok(Err(_)) | Err(_) => {
                            failed.increment(1);
                            Ok(())
                        }
                    },
                };
                open.decrement(1.0);
                drop(place);
            });
        }
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
