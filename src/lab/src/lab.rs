//! A laboratory.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use nearport_impair::Spec;
use tun_rs::{DeviceBuilder, SyncDevice};

use crate::Error;
use crate::emulator::{Emulator, LabCounts};
use crate::ip::is_there;
use crate::namespace::{Namespace, remove_stale};
use crate::site::Site;

/// Address of the server in its namespace. The same in every laboratory: they do not see each other.
pub const SERVER_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// Address of the clients in theirs.
pub const CLIENT_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

/// Tells laboratories of this process apart.
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Two namespaces and a network between them, and as many more servers as are asked for ([`Lab::add_site`]). Gone when it is
/// dropped, with everything that still runs in it.
#[derive(Debug)]
pub struct Lab {
    number: u32,
    // Dropped first, and the devices with them.
    sites: Vec<Site>,
    emulator: Emulator,
    server: Namespace,
    clients: Namespace,
}

/// What a laboratory needs and does not find here; `None` if it has everything.
#[must_use]
pub fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        Some("it needs root, to make network namespaces".into())
    } else if !Path::new("/dev/net/tun").exists() {
        Some("there is no /dev/net/tun".into())
    } else if !is_there("ip", "-V") {
        Some("there is no `ip`: install iproute2".into())
    } else {
        None
    }
}

impl Lab {
    /// Builds one, with a network in which nothing is wrong. Removes what killed processes left behind.
    ///
    /// # Errors
    /// [`Error`]; nothing of it is left then.
    pub fn new() -> Result<Self, Error> {
        if let Some(what) = missing() {
            return Err(Error::Missing(what));
        }
        remove_stale()?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let server = Namespace::create(&format!("{number}s"))?;
        let clients = Namespace::create(&format!("{number}c"))?;
        let server_device = place(&server, format!("s{number}"), SERVER_ADDRESS)?;
        let clients_device = place(&clients, format!("c{number}"), CLIENT_ADDRESS)?;
        let emulator = Emulator::start(clients_device, server_device).map_err(Error::Emulator)?;
        Ok(Self { number, sites: Vec::new(), emulator, server, clients })
    }

    /// Another server, in a namespace of its own with a network of its own to the clients, and a good one to the first server and
    /// to its other sites. Returns its number, which [`Self::site`] takes.
    ///
    /// # Errors
    /// [`Error`]; nothing of it is left then.
    pub fn add_site(&mut self) -> Result<usize, Error> {
        let site = Site::new(self.number, self.sites.len(), &self.server, &self.clients)?;
        self.sites.push(site);
        Ok(self.sites.len() - 1)
    }

    /// A site.
    ///
    /// # Panics
    /// If there is none of this number.
    #[must_use]
    pub fn site(&self, number: usize) -> &Site {
        &self.sites[number]
    }

    /// Another network from now on, at its time zero. What is on its way still arrives.
    pub fn set(&self, spec: Spec) {
        self.emulator.set(spec);
    }

    /// What happened so far.
    #[must_use]
    pub fn counts(&self) -> LabCounts {
        self.emulator.counts()
    }

    /// A command whose process runs on the server's side. The process id of what it spawns is that of `program`; it is killed
    /// when the thread that spawns it ends.
    #[must_use]
    pub fn on_server(&self, program: &Path) -> Command {
        self.server.command(program)
    }

    /// The same on the clients' side.
    #[must_use]
    pub fn on_clients(&self, program: &Path) -> Command {
        self.clients.command(program)
    }

    /// Runs `act` on a thread of its own on the server's side: sockets that it makes belong there, wherever they are used.
    ///
    /// # Errors
    /// The thread cannot be moved there.
    pub fn as_server<T: Send>(&self, act: impl FnOnce() -> T + Send) -> Result<T, Error> {
        self.server.inside(act)
    }

    /// The same on the clients' side.
    ///
    /// # Errors
    /// The thread cannot be moved there.
    pub fn as_client<T: Send>(&self, act: impl FnOnce() -> T + Send) -> Result<T, Error> {
        self.clients.inside(act)
    }
}

/// A device in a namespace. `label` tells those of this process apart.
pub(crate) fn place(namespace: &Namespace, label: String, address: Ipv4Addr) -> Result<SyncDevice, Error> {
    let name = format!("np{}{label}", std::process::id());
    let failed = |source| Error::Tun { name: name.clone(), source };
    let device = DeviceBuilder::new().name(name.clone()).build_sync().map_err(failed)?;
    namespace.adopt(&device.name().map_err(failed)?, &format!("{address}/24"))?;
    Ok(device)
}
