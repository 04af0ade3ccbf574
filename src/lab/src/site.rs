//! One more server of a laboratory: its own network to the clients, a good one to the rest.
//!
//! ```text
//!   clients 10.77.N.2 ── emulator ── 10.77.N.1 site N 10.78.N.2 ── veth ── 10.78.N.1 first server, which forwards
//! ```

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use nearport_impair::Spec;

use crate::Error;
use crate::emulator::{Emulator, LabCounts};
use crate::ip::ip;
use crate::lab::place;
use crate::namespace::Namespace;

/// Sites of one laboratory: their number is an octet of their addresses.
const SITES_MAX: usize = 200;

/// See the module.
#[derive(Debug)]
pub struct Site {
    // Dropped first, and the devices with it.
    emulator: Emulator,
    namespace: Namespace,
    address: Ipv4Addr,
}

impl Site {
    pub(crate) fn new(lab: u32, index: usize, hub: &Namespace, clients: &Namespace) -> Result<Self, Error> {
        let octet = u8::try_from(index + 1).ok().filter(|octet| usize::from(*octet) <= SITES_MAX);
        let octet = octet.ok_or_else(|| Error::Missing(format!("more than {SITES_MAX} sites")))?;
        let namespace = Namespace::create(&format!("{lab}x{octet}"))?;
        let address = Ipv4Addr::new(10, 77, octet, 1);
        let site_device = place(&namespace, format!("x{octet}l{lab}"), address)?;
        let clients_device = place(clients, format!("y{octet}l{lab}"), Ipv4Addr::new(10, 77, octet, 2))?;
        let emulator = Emulator::start(clients_device, site_device).map_err(Error::Emulator)?;
        let (outside, inside) = (Ipv4Addr::new(10, 78, octet, 1), Ipv4Addr::new(10, 78, octet, 2));
        let (one, other) = (format!("nv{octet}"), format!("nw{octet}"));
        ip(&format!(
            "link add {one} netns {} type veth peer name {other} netns {}",
            hub.name(),
            namespace.name()
        ))?;
        hub.ip(&format!("addr add {outside}/24 dev {one}"))?;
        hub.ip(&format!("link set dev {one} up"))?;
        namespace.ip(&format!("addr add {inside}/24 dev {other}"))?;
        namespace.ip(&format!("link set dev {other} up"))?;
        hub.ip(&format!("route add 10.77.{octet}.0/24 via {inside}"))?;
        namespace.ip(&format!("route add default via {outside}"))?;
        hub.forward()?;
        Ok(Self { emulator, namespace, address })
    }

    /// Its address for clients, and for the other sites.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Another network to the clients from now on, at its time zero. What is on its way still arrives.
    pub fn set(&self, spec: Spec) {
        self.emulator.set(spec);
    }

    /// What happened so far between it and the clients.
    #[must_use]
    pub fn counts(&self) -> LabCounts {
        self.emulator.counts()
    }

    /// A command whose process runs there, as [`crate::Lab::on_server`].
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        self.namespace.command(program)
    }

    /// As [`crate::Lab::as_server`].
    ///
    /// # Errors
    /// The thread cannot be moved there.
    pub fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> Result<T, Error> {
        self.namespace.inside(act)
    }
}
