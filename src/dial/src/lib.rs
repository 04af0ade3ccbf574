//! How this program's HTTP clients open connections: HTTP/1.1 by hyper over rustls, with the process's one provider and the roots that
//! they are told.
//!
//! A name is resolved for each connection, its addresses are judged, and it is those that were judged that are connected to: a name that
//! changes between look and use gains nothing. No proxies from the environment, no redirects, no verifier of the platform.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How long a connection is kept for the next request.
const IDLE_MAX: Duration = Duration::from_secs(20);

/// Names that one client looks up at once. The system's resolver holds a thread until it gives up, whoever waits for it, and threads are shared: one client's
/// names that hang hold these and no more.
const LOOKUPS_MAX: usize = 2;

/// No address of a name may be connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its address may not be connected to")]
pub struct NotPermitted;

/// Opens connections. Cheap to clone.
#[derive(Clone)]
pub struct Dial {
    tls: TlsConnector,
    within: Duration,
    permits: fn(IpAddr) -> bool,
    lookups: Arc<Semaphore>,
}

impl std::fmt::Debug for Dial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dial").field("within", &self.within).finish_non_exhaustive()
    }
}

impl Dial {
    /// Connects within so long, from the name to the end of the TLS handshake, to addresses that are permitted: others fail with
    /// [`io::ErrorKind::PermissionDenied`] around [`NotPermitted`].
    #[must_use]
    pub fn new(tls: Arc<ClientConfig>, within: Duration, permits: fn(IpAddr) -> bool) -> Self {
        let lookups = Arc::new(Semaphore::new(LOOKUPS_MAX));
        Self { tls: TlsConnector::from(tls), within, permits, lookups }
    }

    /// A client that keeps up to so many idle connections.
    pub fn client<B>(self, idle_connections_max: usize) -> Client<Self, B>
    where
        B: hyper::body::Body + Send,
        B::Data: Send,
    {
        Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(idle_connections_max)
            .build(self)
    }

    async fn dial(&self, uri: Uri) -> io::Result<Stream> {
        let host = uri.host().ok_or(io::ErrorKind::InvalidInput)?;
        let secure = uri.scheme_str() != Some("http");
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        // An IPv6 address stands in brackets in a URL alone.
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let tcp = self.connect(host, port).await?;
        tcp.set_nodelay(true)?;
        if !secure {
            return Ok(Stream(Either::Plain(tcp)));
        }
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        Ok(Stream(Either::Tls(Box::new(self.tls.connect(name, tcp).await?))))
    }

    async fn look_up(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if let Ok(ip) = host.parse() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let place = self.lookups.clone().acquire_owned().await.map_err(io::Error::other)?;
        let name = host.to_owned();
        // The look-up has the place, not who waits for it: it goes on when they have given up.
        let looked = tokio::task::spawn_blocking(move || {
            let found = (&*name, port).to_socket_addrs().map(Iterator::collect);
            drop(place);
            found
        });
        looked.await.map_err(io::Error::other)?
    }

    /// Connects to the first of a name's addresses that is permitted and takes it.
    async fn connect(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        let mut error = io::Error::from(io::ErrorKind::NotFound);
        for addr in self.look_up(host, port).await? {
            if !(self.permits)(addr.ip()) {
                error = io::Error::new(io::ErrorKind::PermissionDenied, NotPermitted);
                continue;
            }
            match TcpStream::connect(addr).await {
                Ok(tcp) => return Ok(tcp),
                Err(refused) => error = refused,
            }
        }
        Err(error)
    }
}

impl tower_service::Service<Uri> for Dial {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Stream>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let dial = self.clone();
        // Whoever asked may give up before, but the pool may keep a connection that is half open for a later request.
        Box::pin(async move {
            let dialled = tokio::time::timeout(dial.within, dial.dial(uri)).await;
            dialled.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map(TokioIo::new)
        })
    }
}

/// A connection with TLS or without.
pub struct Stream(Either);

enum Either {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stream")
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            Either::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Either::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().0 {
            Either::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Either::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            Either::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Either::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            Either::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Either::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use http_body_util::Empty;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::task::JoinSet;

    use super::*;

    fn dial(permits: fn(IpAddr) -> bool) -> Dial {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let tls = tls.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
        Dial::new(Arc::new(tls), Duration::from_secs(10), permits)
    }

    /// Answers whatever comes first.
    async fn server() -> (u16, JoinSet<()>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.read_buf(&mut Vec::new()).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        });
        (port, serving)
    }

    #[tokio::test]
    async fn a_name_is_connected_to_where_it_is_permitted_and_nowhere_else() {
        let (port, _serving) = server().await;
        let uri: Uri = format!("http://localhost:{port}/").parse().unwrap();
        let refused = dial(|ip| !ip.is_loopback()).dial(uri.clone()).await.unwrap_err();
        assert!(refused.get_ref().is_some_and(|inner| inner.is::<NotPermitted>()), "{refused}");
        // Of a name with several addresses the permitted ones are left.
        let client = dial(|ip| ip.is_ipv4()).client::<Empty<&[u8]>>(1);
        let answer = client.get(uri).await.unwrap();
        assert_eq!(answer.status(), 200);
    }

    #[tokio::test]
    async fn what_cannot_be_dialled_is_an_error() {
        let no_host = dial(|_| true).dial(Uri::from_static("/x")).await;
        assert_eq!(no_host.err().map(|error| error.kind()), Some(io::ErrorKind::InvalidInput));
        let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
        let refused = dial(|_| true).dial(format!("http://{nobody}/").parse().unwrap()).await;
        assert_eq!(refused.err().map(|error| error.kind()), Some(io::ErrorKind::ConnectionRefused));
        // Who speaks no TLS.
        let (port, _serving) = server().await;
        assert!(dial(|_| true).dial(format!("https://127.0.0.1:{port}/").parse().unwrap()).await.is_err());
    }
}
