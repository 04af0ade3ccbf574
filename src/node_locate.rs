//! The addressing service in a process: alone (`serve --role locate`) or beside the rest of a node.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use nearport_api::{ApiServer, Check, Health, OpsServer, Recorder};
use nearport_geo::{PopTable, World};
use nearport_locate::dns::{BindError, SetupError, doh};
use nearport_locate::{Databases, Now, Service, Settings, Signer, TokenKeys, router};
use nearport_media::Media;
use rustls::ServerConfig;
use tokio::time::MissedTickBehavior;

use crate::config::Config;
use crate::control::What;
use crate::control_server::{ControlServer, LOCATE_SOCKET_FILE, Request, refuse};
use crate::files;
use crate::first_run::{DataError, Layout, dialled};
use crate::node::{Error, Tls, bind_ops, bind_when_free};
use crate::node_dns::Dns;
use crate::node_steer::{self, Steered, Steering};
use crate::node_voices::{self, KeptVoices};
use crate::reload::Reloads;
use crate::tls::{self, Resolver};

/// Where the country database that ships is looked for when `locate.databases` is not set.
pub(crate) const SHIPPED: &str = "geo/country.mmdb";

/// Where what clients measured is kept, in the data directory.
const VOICES: &str = "voices";

/// How often it is written: what a crash costs of what was learnt.
const VOICES_EVERY: Duration = Duration::from_mins(5);

/// Why the service did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocateError {
    /// A database.
    #[error("locate.databases: {0}")]
    Database(#[from] nearport_locate::databases::FileError),
    /// The table of PoPs.
    #[error("locate.pops: {0}")]
    Pops(String),
    /// The data that is compiled in.
    #[error("{0}")]
    World(String),
    /// The key that signs maps.
    #[error("{}: {reason}", path.display())]
    Key {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The zone.
    #[error(transparent)]
    Zone(#[from] SetupError),
    /// An address of the DNS responder.
    #[error("dns.listen: {0}")]
    Dns(#[from] BindError),
}

/// The service and its listener.
#[derive(Debug)]
pub(crate) struct Locate {
    service: Arc<Service>,
    /// `None`: another process still has the address.
    server: Option<ApiServer>,
    listen: SocketAddr,
    tls: Option<ServerConfig>,
    dns: Option<Dns>,
    steering: Steering,
    poll: Duration,
    voices: KeptVoices,
    /// Files, on the same listener.
    media: Option<Arc<Media>>,
    /// What back ends of Apps call, on the same listener.
    rest: Option<Router>,
}

impl Locate {
    /// Reads what is configured, and binds `api.listen`. `edge` is this node's own address, for a table of one PoP if there is no
    /// other. With `late` an address that is in use is bound as soon as it is free. `resolver` has the certificates, should the
    /// API speak TLS.
    pub(crate) async fn open(
        config: &Config,
        layout: &Layout,
        resolver: Option<Arc<Resolver>>,
        edge: Option<SocketAddr>,
        late: bool,
    ) -> Result<Self, Error> {
        let listen = config.api.listen;
        let resolver = resolver.filter(|_| config.api.speaks_tls());
        let tls = resolver.map(tls::https_config).transpose()?;
        if tls.is_none() && !listen.ip().is_loopback() {
            tracing::warn!(%listen, "api.tls = never: the API speaks to others without TLS, which is for a proxy in front to add");
        }
        let server = match ApiServer::bind(listen).await {
            Ok(server) => Some(server),
            Err(nearport_api::Error::AddrInUse(_)) if late => None,
            Err(nearport_api::Error::AddrInUse(addr)) => {
                return Err(Error::AddrInUse { addr, key: "api.listen" });
            }
            Err(error) => return Err(Error::Ops(error)),
        };
        let signer = Arc::new(signer(config, layout)?);
        let service = Arc::new(service(config, layout, signer.clone(), edge)?);
        let dns = Dns::open(&config.dns, service.clone(), late)?;
        let steering = Steering::open(config, layout, &service, signer, late)?;
        let poll = config.locate.poll;
        let voices = KeptVoices::new(service.clone(), layout.0.join(VOICES));
        Ok(Self { service, server, listen, tls, dns, steering, poll, voices, media: None, rest: None })
    }

    /// What is known of the network.
    pub(crate) fn steering(&self) -> &Steering {
        &self.steering
    }

    /// Files are served on the same address.
    pub(crate) fn carry(&mut self, media: Arc<Media>) {
        self.media = Some(media);
    }

    /// Back ends of Apps are answered on the same address.
    pub(crate) fn answer_for(&mut self, rest: Router) {
        self.rest = Some(rest);
    }

    /// The edge of this process is steered by this service, too.
    pub(crate) fn join(&mut self, own: Arc<Steered>) {
        self.steering.join(own);
    }

    /// The bound address, or the one that is waited for.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.server.as_ref().map_or(self.listen, ApiServer::local_addr)
    }

    /// The same for DNS.
    pub(crate) fn dns_addrs(&self) -> Vec<SocketAddr> {
        self.dns.as_ref().map(Dns::addrs).unwrap_or_default()
    }

    /// `http` or `https`.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// What SIGHUP makes it read again. Holds nothing alive.
    pub(crate) fn reload_with(&self, reloads: &mut Reloads, layout: &Layout, config: &Config) {
        self.steering.reload_with(reloads, config);
        let (service, layout) = (Arc::downgrade(&self.service), layout.clone());
        reloads.add("locate", move || {
            let service = service.upgrade().ok_or("the addressing service has stopped")?;
            service.rotate(keys(&layout).map_err(|error| error.to_string())?);
            service.turn(now(), true)?;
            let files: Vec<_> = service
                .databases()
                .states()
                .into_iter()
                .map(|file| format!("{} ({})", file.path.display(), file.kind.unwrap_or_default()))
                .collect();
            Ok(format!("{} PoPs, {}", service.table().len(), files.join(", ")))
        });
    }

    /// Serves, and compiles the map every `locate.poll`, for as long as the future is polled. What clients measured is written
    /// from time to time and at the end.
    ///
    /// Cancel safe: dropping it frees the address.
    pub(crate) async fn keep(self) -> Result<Infallible, nearport_api::Error> {
        let Self { service, server, listen, tls, dns, steering, poll, voices, media, rest } = self;
        let steering = steering.keep(service.clone());
        let voices = Arc::new(voices);
        let turning = voices.clone();
        let turns = async move {
            let mut saved = Instant::now();
            let mut ticks = tokio::time::interval(poll);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            // The first one is at once, and the map is new.
            ticks.tick().await;
            let mut told = None;
            loop {
                ticks.tick().await;
                let voices = turning.clone();
                let save = saved.elapsed() >= VOICES_EVERY;
                if save {
                    saved = Instant::now();
                }
                let turn = move || {
                    let outcome = voices.service().turn(now(), false);
                    if save {
                        voices.save();
                    }
                    outcome
                };
                let outcome = tokio::task::spawn_blocking(turn).await;
                let error = match outcome {
                    Ok(outcome) => outcome.err(),
                    Err(panic) => Some(panic.to_string()),
                };
                // Once for each that is new: a file stays broken for many turns.
                if let Some(error) = error.as_ref().filter(|error| told.as_ref() != Some(*error)) {
                    tracing::error!(error, "addresses: not taken, what was in use stays");
                }
                told = error;
            }
        };
        let mut app = router(service);
        if let Some(dns) = &dns {
            app = app.merge(doh::router(dns.responder()));
        }
        if let Some(media) = &media {
            app = app.merge(media.router());
        }
        if let Some(rest) = rest {
            app = app.merge(rest);
        }
        let serving = async move {
            let server = match server {
                Some(server) => server,
                None => bind_late(listen).await?,
            };
            let server = match tls {
                Some(tls) => server.with_tls(tls),
                None => server,
            };
            server.run(app).await
        };
        tokio::select! {
            Some(stopped) = async { Some(dns?.keep().await) } => match stopped {
                Ok(never) => match never {},
                Err(error) => Err(nearport_api::Error::Serve(error)),
            },
            served = serving => match served {
                Ok(()) => std::future::pending().await,
                Err(error) => Err(error),
            },
            stopped = steering => stopped.map_err(nearport_api::Error::Serve),
            never = turns => match never {},
            Some(never) = async { Some(media?.keep().await) } => match never {},
        }
    }
}

async fn bind_late(listen: SocketAddr) -> Result<ApiServer, nearport_api::Error> {
    let in_use = |error: &nearport_api::Error| matches!(error, nearport_api::Error::AddrInUse(_));
    let server = bind_when_free(|| ApiServer::bind(listen), in_use).await?;
    tracing::info!(api = %server.local_addr(), "api: listening");
    Ok(server)
}

/// The databases that are configured. The one that ships need not be there; one that is named must.
pub(crate) fn databases(config: &Config) -> Result<Databases, LocateError> {
    let shipped = vec![PathBuf::from(SHIPPED)];
    match &config.locate.databases {
        Some(paths) => Ok(Databases::open(paths)?),
        None if shipped[0].exists() => Ok(Databases::open(&shipped)?),
        None => {
            tracing::warn!(file = SHIPPED, "no database of addresses: every address counts as unknown");
            Ok(Databases::none())
        }
    }
}

/// The table that is configured.
pub(crate) fn pops(config: &Config) -> Result<Option<PopTable>, LocateError> {
    let Some(path) = &config.locate.pops else { return Ok(None) };
    let failed = |error: &dyn std::fmt::Display| LocateError::Pops(format!("{}: {error}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| failed(&error))?;
    PopTable::parse(&text).map(Some).map_err(|error| failed(&error))
}

/// Where people live, as it is compiled in.
pub(crate) fn world() -> Result<World, LocateError> {
    World::shipped().map_err(|error| LocateError::World(error.to_string()))
}

/// A table of one: this node, which is everybody's nearest.
fn alone(edge: SocketAddr) -> Result<PopTable, LocateError> {
    let at = dialled(edge);
    let text = format!(
        "[[pop]]\nid = \"here\"\nplace = \"This node\"\ncountry = \"ZZ\"\ncontinent = \"EU\"\nlat = 0.0\nlon = 0.0\n\
         endpoints = {{ quic = \"{at}\", tls = \"{at}\", websocket = \"wss://{at}/np\", webtransport = \"https://{at}/np\" }}\n"
    );
    PopTable::parse(&text).map_err(|error| LocateError::Pops(error.to_string()))
}

fn service(
    config: &Config,
    layout: &Layout,
    signer: Arc<Signer>,
    edge: Option<SocketAddr>,
) -> Result<Service, Error> {
    let table = match (pops(config)?, edge) {
        (Some(table), _) => table,
        (None, Some(edge)) => alone(edge)?,
        (None, None) => {
            return Err(Error::Missing("locate.pops", "--role locate"));
        }
    };
    let forwarders = config.locate.forwarders.clone();
    let settings = Settings {
        trusted: Box::new(move |ip| forwarders.iter().any(|range| range.contains(ip))),
        header: config.locate.forwarded_header.into(),
        ttl: config.locate.ttl,
        pops: config.locate.pops.clone(),
    };
    let kept = node_voices::read(&layout.0.join(VOICES), Arc::new(table));
    Ok(Service::new(settings, databases(config)?, world()?, kept, keys(layout)?, signer, now()))
}

fn keys(layout: &Layout) -> Result<TokenKeys, DataError> {
    Ok(TokenKeys::new(&layout.secret()?.used()))
}

/// The key that signs maps: made at the first start, with its public half in hex beside it.
fn signer(config: &Config, layout: &Layout) -> Result<Signer, Error> {
    let path = config.locate.map_key.clone().unwrap_or_else(|| layout.0.join("map-key"));
    let failed = |reason: String| LocateError::Key { path: path.clone(), reason };
    let at = |error: files::FileError| Error::Data(error.into());
    let pkcs8 = match files::read_if_there(&path).map_err(at)? {
        Some(pkcs8) => pkcs8,
        None => {
            let pkcs8 = Signer::generate().ok_or(Error::Data(DataError::Random))?;
            files::replace(&path, &pkcs8, files::PRIVATE).map_err(at)?;
            pkcs8
        }
    };
    let signer = Signer::new(&pkcs8).map_err(|error| failed(error.to_string()))?;
    let hex: String = signer.public().iter().map(|octet| format!("{octet:02x}")).collect();
    let public = layout.0.join("map-key.pub");
    let line = format!("{hex}\n");
    if files::read_if_there(&public).map_err(at)?.as_deref() != Some(line.as_bytes()) {
        files::replace(&public, line.as_bytes(), files::PUBLIC).map_err(at)?;
    }
    Ok(signer)
}

fn now() -> Now {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now { unix_s: unix.as_secs(), ms: 0 }
}

/// A process that only locates.
#[derive(Debug)]
pub struct LocateNode {
    ops: OpsServer,
    control: ControlServer,
    locate: Locate,
    /// Of the API, if it speaks TLS.
    tls: Option<Tls>,
    health: Arc<Health>,
    reloads: Arc<Reloads>,
}

impl LocateNode {
    /// Makes what the data directory lacks and binds `api.listen` and `ops.listen`.
    ///
    /// # Errors
    /// See [`Error`]; nothing is left running then.
    pub async fn start(config: &Config, recorder: Recorder) -> Result<Self, Error> {
        let layout = Layout(config.data.clone());
        layout.make()?;
        let begun = Instant::now();
        let tls = config.api.speaks_tls().then(|| Tls::open(config, config.api.listen.ip())).transpose()?;
        let resolver = tls.as_ref().map(Tls::resolver);
        let locate = Locate::open(config, &layout, resolver, None, false).await?;
        let service = Arc::downgrade(&locate.service);
        let check = Check::new("locate", move || {
            service.upgrade().map(drop).ok_or_else(|| "the addressing service has stopped".to_owned())
        });
        let health = Arc::new(Health::new(vec![check]));
        let ops = bind_ops(config, health.clone(), recorder).await?;
        let mut reloads = Reloads::default();
        if let Some(tls) = &tls {
            tls.reload_with(&mut reloads);
        }
        locate.reload_with(&mut reloads, &layout, config);
        let control = ControlServer::bind_as(&layout.0, LOCATE_SOCKET_FILE).map_err(Error::Control)?;
        let (api, ops_addr) = (locate.addr(), ops.local_addr());
        let pops = locate.service.table().len();
        tracing::info!(%api, ops = %ops_addr, pops, ms = begun.elapsed().as_millis(), "locating");
        Ok(Self { ops, control, locate, tls, health, reloads: Arc::new(reloads) })
    }

    /// The bound address of the API.
    #[must_use]
    pub fn api_addr(&self) -> SocketAddr {
        self.locate.addr()
    }

    /// The bound address where edges report, if they do.
    #[must_use]
    pub fn steer_addr(&self) -> Option<SocketAddr> {
        self.locate.steering.addr()
    }

    /// The bound addresses of the DNS responder.
    #[must_use]
    pub fn dns_addrs(&self) -> Vec<SocketAddr> {
        self.locate.dns_addrs()
    }

    /// Where the API is, as clients write it.
    #[must_use]
    pub fn api_url(&self) -> String {
        format!("{}://{}", self.locate.scheme(), self.locate.addr())
    }

    /// The development CA's certificate, if that is what clients must trust to reach the API.
    #[must_use]
    pub fn ca(&self) -> Option<PathBuf> {
        self.tls.as_ref().and_then(|tls| tls.certificates.ca())
    }

    /// The bound address of the operations server.
    #[must_use]
    pub fn ops_addr(&self) -> SocketAddr {
        self.ops.local_addr()
    }

    /// What SIGHUP makes it read again.
    pub(crate) fn reloads(&self) -> Arc<Reloads> {
        self.reloads.clone()
    }

    /// Serves until `leave` is ready.
    ///
    /// # Errors
    /// [`Error::Ops`] if a server stopped by itself.
    pub async fn run(self, leave: impl Future<Output = ()>) -> Result<(), Error> {
        let Self { ops, mut control, locate, tls, health, .. } = self;
        let locator = locate.steering.locator().clone();
        let asked = async move {
            loop {
                let Request { what, channel, .. } = control.next().await;
                match what {
                    What::Pops => node_steer::answer(Some(&locator), None, &channel),
                    What::Pop(order) => node_steer::answer(Some(&locator), Some(order), &channel),
                    What::TakeOver(_)
                    | What::Drain(_)
                    | What::Undrain
                    | What::Backup(_)
                    | What::Callbacks(_) => {
                        refuse(&channel, "this process only locates: it has no clients and no store");
                    }
                }
            }
        };
        tokio::select! {
            never = asked => never,
            served = ops.run() => served.map_err(Error::Ops),
            Some(never) = async { Some(tls?.keep().await) } => match never {},
            served = locate.keep() => match served.map_err(Error::Ops)? {},
            () = leave => {
                health.withdraw("leaving");
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn the_public_half_is_written_when_it_differs() {
        let dir = tempfile::tempdir().unwrap();
        let (config, layout) = (Config::default(), Layout(dir.path().to_owned()));
        let public = dir.path().join("map-key.pub");
        let start = || signer(&config, &layout).unwrap().public();
        let key = start();
        let (written, file) = (fs::read(&public).unwrap(), fs::metadata(&public).unwrap().ino());
        assert_eq!((start(), fs::metadata(&public).unwrap().ino()), (key, file), "the same file");
        fs::write(&public, "another\n").unwrap();
        assert_eq!((start(), fs::read(&public).unwrap()), (key, written));
    }
}
