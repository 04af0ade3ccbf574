//! A core: the chat backend and its store, without an edge. Edges come to it over the trunk.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use nearport_api::{Check, Health, OpsServer, Recorder};
use nearport_trunk::listen::Listener;
use nearport_trunk::remote::Timing;

use crate::config::Config;
use crate::first_run::{self, ClientFile, Layout, RunFile};
use crate::node::{BackendKind, Error, LOCK_WAIT, bind_ops};
use crate::node_api::CoreApi;
use crate::node_backend::Slot;
use crate::reload::Reloads;
use crate::trunk_tls;

/// A core that listens. [`Core::run`] keeps it until it is told to leave.
#[derive(Debug)]
pub struct Core {
    // Fields are dropped in this order: the lock goes last.
    ops: OpsServer,
    listener: Arc<Listener>,
    backend: Arc<Slot>,
    health: Arc<Health>,
    reloads: Arc<Reloads>,
    api: Option<CoreApi>,
}

impl Core {
    /// Makes what the data directory lacks, opens the store and listens for edges. Blocks its thread while the store recovers.
    ///
    /// # Errors
    /// See [`Error`]; nothing is left running then.
    pub async fn start(config: &Config, kind: BackendKind, recorder: Recorder) -> Result<Self, Error> {
        let layout = Layout(config.data.clone());
        layout.make()?;
        let tls = trunk_tls::core(config)?;
        // Before the store is touched: two cores on one port are found out early.
        let at = config.trunk.listen;
        let socket = TcpListener::bind(at).map_err(|error| match error.kind() {
            std::io::ErrorKind::AddrInUse => Error::AddrInUse { addr: at, key: "trunk.listen" },
            _ => Error::Trunk(error),
        })?;
        let (slot, app) = Slot::open(config, kind, LOCK_WAIT)?;
        let backend = Arc::new(slot);
        let weak = Arc::downgrade(&backend);
        let ready = move || weak.upgrade().map_or_else(|| Err("stopped".to_owned()), |slot| slot.ready());
        let health = Arc::new(Health::new(vec![Check::new("store", ready)]));
        let ops = bind_ops(config, health.clone(), recorder).await?;
        let timing = Timing::between_hosts(config.trunk.silence);
        let listener = Listener::start(socket, tls, backend.clone(), timing).map_err(Error::Trunk)?;
        let listener = Arc::new(listener);

        let mut reloads = Reloads::default();
        let api = match kind {
            BackendKind::Chat => Some(CoreApi::open(config, &layout, &backend, &mut reloads).await?),
            _ => None,
        };
        let (shown, settings) = (Arc::downgrade(&listener), config.clone());
        reloads.add("trunk", move || {
            let listener = shown.upgrade().ok_or("the core has stopped")?;
            listener.set_tls(trunk_tls::core(&settings).map_err(|error| error.to_string())?);
            Ok("for the next link".to_owned())
        });
        let (trunk, ops_addr) = (listener.local_addr(), ops.local_addr());
        let (pid, edge) = (std::process::id(), None);
        layout.write_run_file(&RunFile {
            pid,
            edge,
            trunk: Some(trunk),
            ops: ops_addr,
            api: api.as_ref().map(CoreApi::addr),
            dns: Vec::new(),
        })?;
        if let Some(app) = app {
            // Where edges are it does not know: client commands take --server and --ca beside it.
            let server = first_run::dialled(config.edge.listen).to_string();
            let (app, key) = (app.id.0, app.secret().map(str::to_owned));
            layout.write_client_file(&ClientFile { server, ca: None, app, key, locate: None })?;
        }
        tracing::info!(%trunk, ops = %ops_addr, "core listens");
        Ok(Self { ops, listener, backend, health, reloads: Arc::new(reloads), api })
    }

    /// The bound address of the trunk.
    #[must_use]
    pub fn trunk_addr(&self) -> SocketAddr {
        self.listener.local_addr()
    }

    /// The bound address of the operations server.
    #[must_use]
    pub fn ops_addr(&self) -> SocketAddr {
        self.ops.local_addr()
    }

    /// What SIGHUP makes the core read again.
    pub(crate) fn reloads(&self) -> Arc<Reloads> {
        self.reloads.clone()
    }

    /// Serves until `leave` is ready. Then it takes no link any more, finishes what it holds, says the answers and closes
    /// the store. Edges keep their clients and come back when a core is there again.
    ///
    /// # Errors
    /// [`Error::Ops`] if the operations server stopped by itself, [`Error::Unclean`] if a thread panicked.
    pub async fn run(self, leave: impl Future<Output = ()>) -> Result<(), Error> {
        let Self { ops, listener, backend, health, reloads, api } = self;
        tokio::select! {
            served = ops.run() => served.map_err(Error::Ops)?,
            Some(stopped) = async { Some(api?.keep().await) } => match stopped.map_err(Error::Ops)? {},
            () = leave => {}
        }
        health.withdraw("leaving");
        drop(reloads);
        let stop = move || {
            listener.close();
            let ended = backend.close();
            listener.finish();
            ended
        };
        let stopped = tokio::task::spawn_blocking(stop).await;
        stopped.unwrap_or_else(|panic| Err(Error::Unclean(panic.to_string())))?;
        tracing::info!("left");
        Ok(())
    }
}
