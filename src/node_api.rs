//! The HTTP API of a node: what back ends of Apps call, and the API of a process that has no edge.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Weak};

use axum::Router;
use axum::http::Uri;
use nearport_api::ApiServer;
use nearport_chat::callback::url;
use nearport_chat::key::AppId;
use nearport_media::Media;
use nearport_rest::{CallbacksFrom, Rest};

use crate::config::{Callback, Config};
use crate::first_run::Layout;
use crate::node::{Error, Tls};
use crate::node_backend::Slot;
use crate::node_media;
use crate::reload::Reloads;
use crate::tls;

/// What back ends of Apps call, for as long as the backend is open. Without routes where it is switched off.
pub(crate) fn rest(config: &Config, backend: &Arc<Slot>) -> Router {
    let settings = &config.rest;
    if !settings.enabled {
        return Router::new();
    }
    let (weak, allow) = (Arc::downgrade(backend), settings.allow.clone());
    let open = Arc::new(move || weak.upgrade()?.admin());
    let allowed = Arc::new(move |address: IpAddr| {
        allow.is_empty() || allow.iter().any(|range| range.contains(address.to_canonical()))
    });
    let commands =
        Rest::new(open, allowed, callbacks_from(&config.callback, Arc::downgrade(backend))).router();
    if settings.docs { commands.merge(nearport_rest::docs()) } else { commands }
}

/// Where callbacks come from: what the operator says, else what the routes of this host say.
fn callbacks_from(settings: &Callback, backend: Weak<Slot>) -> CallbacksFrom {
    let said: Vec<_> = settings.sends_from.iter().map(ToString::to_string).collect();
    Arc::new(move |app: AppId| {
        if !said.is_empty() {
            return said.clone();
        }
        let admin = backend.upgrade().and_then(|backend| backend.admin());
        let back_end = admin.and_then(|admin| url(&admin.settings(app).callback().url).ok());
        source_addresses(back_end.as_ref()).iter().map(ToString::to_string).collect()
    })
}

/// Addresses from which this host sends to a back end, or to addresses elsewhere if its own is not in its URL. Nothing is sent to find out.
fn source_addresses(back_end: Option<&Uri>) -> Vec<IpAddr> {
    let host = back_end.and_then(Uri::host);
    let host = host.and_then(|host| host.trim_matches(['[', ']']).parse::<IpAddr>().ok());
    // Of documents (RFC 5737, RFC 3849): no host has them, so they are where any address elsewhere is.
    let elsewhere = [[192, 0, 2, 1].into(), [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into()];
    let to = host.map_or_else(|| elsewhere.to_vec(), |host| vec![host]);
    let from = |to: IpAddr| {
        let any: SocketAddr = if to.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
        let socket = UdpSocket::bind(any).ok()?;
        socket.connect((to, 9)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    to.into_iter().filter_map(from).collect()
}

/// The API of a core: files, and what back ends of Apps call.
#[derive(Debug)]
pub(crate) struct CoreApi {
    media: Option<Arc<Media>>,
    rest: Router,
    server: ApiServer,
    tls: Option<Tls>,
}

impl CoreApi {
    /// Opens what it serves and binds `api.listen`.
    pub(crate) async fn open(
        config: &Config,
        layout: &Layout,
        backend: &Arc<Slot>,
        reloads: &mut Reloads,
    ) -> Result<Self, Error> {
        let media = node_media::open(config, layout)?;
        let listen = config.api.listen;
        let tls = config.api.speaks_tls().then(|| Tls::open(config, listen.ip())).transpose()?;
        let server = ApiServer::bind(listen).await.map_err(|error| match error {
            nearport_api::Error::AddrInUse(addr) => Error::AddrInUse { addr, key: "api.listen" },
            error => Error::Ops(error),
        })?;
        let server = match &tls {
            Some(tls) => {
                tls.reload_with(reloads);
                server.with_tls(tls::https_config(tls.resolver())?)
            }
            None => server,
        };
        let scheme = if tls.is_some() { "https" } else { "http" };
        if let Some(media) = &media {
            node_media::announce(media, config, layout, scheme, server.local_addr(), reloads);
            backend.serve_media(media)?;
        }
        Ok(Self { media, rest: rest(config, backend), server, tls })
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Serves for as long as the future is polled.
    pub(crate) async fn keep(self) -> Result<Infallible, nearport_api::Error> {
        let Self { media, rest, server, tls } = self;
        let mut app = rest;
        if let Some(media) = &media {
            app = app.merge(media.router());
        }
        tokio::select! {
            served = server.run(app) => served.and(std::future::pending().await),
            Some(never) = async { Some(media?.keep().await) } => match never {},
            Some(never) = async { Some(tls?.keep().await) } => match never {},
        }
    }
}
