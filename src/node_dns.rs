//! The DNS responder in a process: its sockets, and its life beside the service that decides.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;

use nearport_locate::Service;
use nearport_locate::dns::{BindError, Bound, Responder, Server};

use crate::config::Dns as Settings;
use crate::node::{Error, bind_when_free};
use crate::node_locate::LocateError;

/// A zone that is answered for.
#[derive(Debug)]
pub(crate) struct Dns {
    responder: Arc<Responder>,
    /// `None`: another process still has an address.
    bound: Option<Bound>,
    settings: Settings,
}

impl Dns {
    /// Binds what is configured; `None` without a zone. With `late` addresses that are in use are bound as soon as they are free.
    pub(crate) fn open(
        settings: &Settings,
        service: Arc<Service>,
        late: bool,
    ) -> Result<Option<Self>, Error> {
        // It was checked when it was read.
        let setup = settings.setup().map_err(LocateError::Zone)?;
        let Some(setup) = setup else { return Ok(None) };
        let bound = match bind(settings) {
            Ok(bound) => Some(bound),
            Err(error) if in_use(&error) && late => None,
            Err(error) if in_use(&error) => {
                return Err(Error::AddrInUse { addr: error.addr, key: "dns.listen" });
            }
            Err(error) => return Err(LocateError::Dns(error).into()),
        };
        let responder = Arc::new(Responder::new(setup, service));
        Ok(Some(Self { responder, bound, settings: settings.clone() }))
    }

    /// For the route on the HTTP API.
    pub(crate) fn responder(&self) -> Arc<Responder> {
        self.responder.clone()
    }

    /// The bound addresses, or those that are waited for.
    pub(crate) fn addrs(&self) -> Vec<SocketAddr> {
        self.bound.as_ref().map_or_else(|| self.settings.listen.clone(), Bound::addrs)
    }

    /// Serves for as long as the future is polled.
    ///
    /// Cancel safe: dropping it frees the addresses, within a fifth of a second.
    pub(crate) async fn keep(self) -> io::Result<Infallible> {
        let Self { responder, bound, settings } = self;
        let bound = match bound {
            Some(bound) => bound,
            None => bind_late(&settings).await?,
        };
        Server::start(bound, responder, settings.rate)?.run().await
    }
}

fn bind(settings: &Settings) -> Result<Bound, BindError> {
    let threads = settings.threads.map(NonZeroUsize::from);
    Bound::bind(&settings.listen, threads)
}

fn in_use(error: &BindError) -> bool {
    error.source.kind() == io::ErrorKind::AddrInUse
}

async fn bind_late(settings: &Settings) -> io::Result<Bound> {
    let bound = bind_when_free(|| std::future::ready(bind(settings)), in_use).await;
    let bound = bound.map_err(|error| error.source)?;
    tracing::info!(addrs = ?bound.addrs(), "dns: listening");
    Ok(bound)
}
