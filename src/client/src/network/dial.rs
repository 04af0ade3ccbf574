//! One attempt to bring a transport up: from an address to a [`Link`] that a hello can go on.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use http::header::SEC_WEBSOCKET_PROTOCOL;
use nearport_session::Closing;
use nearport_wire::ALPN;
use nearport_wire::close::CloseCode;
use quinn::ConnectError;
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, ClientConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_websockets::{ClientBuilder, Limits};

use super::Network;
use super::tls::ALPN_HTTP;
use super::udp::Backlog;
use crate::link::{BytesLink, Capped, Link, QuicLink, WebSocketLink, closing_of};
use crate::transport::Transport;

/// Where a session is offered over WebSocket and WebTransport.
pub(crate) const PATH: &str = "/np";

/// Subprotocol of the WebSocket.
const SUBPROTOCOL: &str = "np.1";

/// Longest answer to an upgrade.
const UPGRADE_BYTES_MAX: usize = 8 * 1024;

/// Longest message of a WebSocket server: its largest frame and room for others around it.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// An edge. Every transport uses the same address and port, unless `ways` says otherwise.
#[derive(Debug, Clone)]
pub(crate) struct Edge {
    pub(crate) address: SocketAddr,
    /// Name in its certificate.
    pub(crate) name: Arc<str>,
    /// Of its URL, where that is not [`PATH`].
    pub(crate) path: Option<Arc<str>>,
    /// Its transports, where they differ; one that is missing is not offered.
    pub(crate) ways: Option<Arc<BTreeMap<Transport, Way>>>,
}

/// How one transport of an edge is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) port: u16,
    pub(crate) name: Arc<str>,
    pub(crate) path: Option<Arc<str>>,
}

impl Edge {
    /// An edge with all transports at one address.
    pub(crate) fn new(address: SocketAddr, name: impl Into<Arc<str>>) -> Self {
        Self { address, name: name.into(), path: None, ways: None }
    }

    /// Where it is for `transport`; `None` if it does not offer it.
    pub(crate) fn at(&self, transport: Transport) -> Option<Self> {
        let Some(ways) = &self.ways else { return Some(self.clone()) };
        let way = ways.get(&transport)?;
        let address = SocketAddr::new(self.address.ip(), way.port);
        Some(Self { address, name: Arc::clone(&way.name), path: way.path.clone(), ways: None })
    }

    pub(crate) fn offers(&self, transport: Transport) -> bool {
        self.ways.as_ref().is_none_or(|ways| ways.contains_key(&transport))
    }

    fn path(&self) -> &str {
        self.path.as_deref().unwrap_or(PATH)
    }

    /// The name that its address can be looked up by, if it has one.
    pub(super) fn host_name(&self) -> Option<&str> {
        self.name.parse::<IpAddr>().is_err().then_some(&*self.name)
    }

    /// Name and port as they stand in a URL.
    pub(crate) fn authority(&self) -> String {
        let port = self.address.port();
        match self.name.parse::<Ipv6Addr>() {
            Ok(ip) => format!("[{ip}]:{port}"),
            Err(_) => format!("{}:{port}", self.name),
        }
    }
}

impl Network {
    /// Brings a transport up. `rtt` is the round trip of the last visit. Dropped early, the attempt is given up.
    pub(crate) async fn dial(
        self,
        edge: Edge,
        transport: Transport,
        rtt: Option<Duration>,
    ) -> Result<Link, Closing> {
        let Some(edge) = edge.at(transport) else {
            return Err(unavailable(format!("{} does not offer {transport}", edge.name)));
        };
        match transport {
            Transport::Quic => self.dial_quic(&edge, rtt).await,
            Transport::Tls => {
                let tls = self.dial_tls(&edge, &self.shared.tls.frames).await?;
                // A proxy that ends TLS by itself, or a captive portal, may answer without choosing.
                if tls.get_ref().1.alpn_protocol() != Some(ALPN) {
                    return Err(unavailable("the server does not speak np/1 over tls"));
                }
                Ok(Link::Tls(Box::new(BytesLink::new(tls))))
            }
            Transport::WebSocket => self.dial_websocket(&edge).await,
            Transport::WebTransport => self.dial_webtransport(&edge, rtt).await,
        }
    }

    async fn dial_quic(&self, edge: &Edge, rtt: Option<Duration>) -> Result<Link, Closing> {
        let (connecting, backlog) = self.begin_quic(edge, false, rtt)?;
        let connection = connecting.await.map_err(closing_of)?;
        Ok(Link::Quic(QuicLink::open(connection, backlog, self.shared.tuning.datagrams).await?))
    }

    async fn dial_webtransport(&self, edge: &Edge, rtt: Option<Duration>) -> Result<Link, Closing> {
        let (connecting, backlog) = self.begin_quic(edge, true, rtt)?;
        let connection = connecting.await.map_err(closing_of)?;
        let url = format!("https://{}{}", edge.authority(), edge.path());
        Ok(Link::Quic(QuicLink::open_web(connection, backlog, &url, self.shared.tuning.datagrams).await?))
    }

    fn begin_quic(
        &self,
        edge: &Edge,
        h3: bool,
        rtt: Option<Duration>,
    ) -> Result<(quinn::Connecting, Arc<Backlog>), Closing> {
        let sockets = &self.shared.sockets;
        let (endpoint, backlog) =
            sockets.endpoint(edge.address).map_err(|error| unavailable(format!("udp socket: {error}")))?;
        let config = self.quic_config(h3, rtt);
        let connecting = endpoint.connect_with(config, edge.address, &edge.name).map_err(|error| {
            if error == ConnectError::EndpointStopping {
                sockets.discard(edge.address, &endpoint);
            }
            unavailable(error.to_string())
        })?;
        Ok((connecting, backlog))
    }

    async fn dial_websocket(&self, edge: &Edge) -> Result<Link, Closing> {
        let tls = self.dial_tls(edge, &self.shared.tls.https).await?;
        if tls.get_ref().1.alpn_protocol().is_some_and(|alpn| alpn != ALPN_HTTP) {
            return Err(unavailable("the server does not speak http/1.1 over tls"));
        }
        let uri = format!("wss://{}{}", edge.authority(), edge.path());
        let refused = |error: &dyn std::fmt::Display| unavailable(format!("websocket: {error}"));
        let builder = ClientBuilder::new()
            .uri(&uri)
            .map_err(|error| refused(&error))?
            .limits(Limits::default().max_payload_len(Some(MESSAGE_BYTES_MAX)))
            .add_header(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL))
            .map_err(|error| refused(&error))?;
        let capped = Capped::new(Box::new(tls) as Box<_>, UPGRADE_BYTES_MAX);
        let (socket, answer) = builder.connect_on(capped).await.map_err(|error| refused(&error))?;
        let chosen = answer.headers().get(SEC_WEBSOCKET_PROTOCOL);
        if chosen.is_none_or(|chosen| chosen.as_bytes() != SUBPROTOCOL.as_bytes()) {
            return Err(unavailable("websocket: the server does not speak np.1"));
        }
        Ok(Link::WebSocket(Box::new(WebSocketLink::new(socket))))
    }

    /// HTTP/1.1 by TLS with a server that is no edge, through the proxy if there is one.
    pub(crate) async fn dial_https(&self, server: &Edge) -> Result<TlsStream<TcpStream>, Closing> {
        self.dial_tls(server, &self.shared.tls.https).await
    }

    /// HTTP without TLS, as servers on this machine speak it, through the proxy if there is one.
    pub(crate) async fn dial_http(&self, server: &Edge) -> Result<TcpStream, Closing> {
        match &self.shared.proxy {
            Some(proxy) => proxy.connect(server).await,
            None => connect(server.address)
                .await
                .map_err(|error| Closing::new(CloseCode::LOST, format!("tcp: {error}"))),
        }
    }

    async fn dial_tls(
        &self,
        edge: &Edge,
        config: &Arc<ClientConfig>,
    ) -> Result<TlsStream<TcpStream>, Closing> {
        let name = ServerName::try_from(edge.name.to_string())
            .map_err(|error| unavailable(format!("server name `{}`: {error}", edge.name)))?;
        let tcp = match &self.shared.proxy {
            Some(proxy) => proxy.connect(edge).await?,
            // Not there, as far as anybody can tell: the same as packets that vanish.
            None => connect(edge.address)
                .await
                .map_err(|error| Closing::new(CloseCode::LOST, format!("tcp: {error}")))?,
        };
        TlsConnector::from(Arc::clone(config)).connect(name, tcp).await.map_err(|error| tls_closing(&error))
    }
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let tcp = TcpStream::connect(address).await?;
    // A message is written whole and waits for nothing.
    tcp.set_nodelay(true)?;
    Ok(tcp)
}

/// What a TLS handshake that failed means to the session.
fn tls_closing(error: &io::Error) -> Closing {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)) => {
            Closing::new(CloseCode::VERSION, error.to_string())
        }
        // Also a certificate that is not trusted: later, because a captive portal causes it too.
        _ => unavailable(format!("tls: {error}")),
    }
}

pub(super) fn unavailable(reason: impl Into<String>) -> Closing {
    Closing::new(CloseCode::UNAVAILABLE, reason)
}
