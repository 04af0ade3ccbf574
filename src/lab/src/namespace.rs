//! A network namespace with a name, which lasts as long as its handle.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::Error;
use crate::ip::{ip, is_there};

/// Begins the names of all of ours. The process id behind it says whose they are.
const PREFIX: &str = "nplab-";

/// Gone when it is dropped, with what still runs in it.
#[derive(Debug)]
pub(crate) struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes one. `label` tells those of this process apart.
    pub(crate) fn create(label: &str) -> Result<Self, Error> {
        let name = format!("{PREFIX}{}-{label}", std::process::id());
        ip(&format!("netns add {name}"))?;
        let namespace = Self { name };
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Passes packets on between its devices.
    pub(crate) fn forward(&self) -> Result<(), Error> {
        let path = "/proc/sys/net/ipv4/ip_forward";
        self.inside(|| std::fs::write(path, "1"))?
            .map_err(|source| Error::Namespace { name: self.name.clone(), source })
    }

    /// Takes a device of this process's namespace and gives it an address.
    pub(crate) fn adopt(&self, device: &str, address: &str) -> Result<(), Error> {
        ip(&format!("link set dev {device} netns {}", self.name))?;
        self.ip(&format!("addr add {address} dev {device}"))?;
        // A flight of a hundred handshakes fits into the device's queue: drops are the emulator's business.
        self.ip(&format!("link set dev {device} mtu 1500 txqueuelen 10000 up"))
    }

    /// Runs `act` on a thread that lives in here.
    pub(crate) fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> Result<T, Error> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                // Where `ip` keeps the handles of namespaces with names.
                let path = Path::new("/run/netns").join(&self.name);
                let refused = |source| Error::Namespace { name: self.name.clone(), source };
                let handle = File::open(&path).map_err(refused)?;
                move_into_link_name_space(handle.as_fd(), Some(LinkNameSpaceType::Network))
                    .map_err(|error| refused(error.into()))?;
                Ok(act())
            });
            match thread.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    pub(crate) fn ip(&self, words: &str) -> Result<(), Error> {
        ip(&format!("-n {} {words}", self.name)).map(drop)
    }

    /// A command whose process lives in here, and dies with the thread that starts it. Its id is that of the program: `ip`
    /// and `setpriv` replace themselves by it.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]);
        if is_there("setpriv", "--version") {
            command.args(["setpriv", "--pdeathsig", "KILL"]);
        }
        command.arg(program);
        command
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// Removes what killed processes left behind.
pub(crate) fn remove_stale() -> Result<(), Error> {
    for line in ip("netns list")?.lines() {
        let name = line.split_ascii_whitespace().next().unwrap_or_default();
        if owner(name).is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            remove(name);
        }
    }
    Ok(())
}

/// The process whose namespace has this name.
fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}

/// What fails here is already gone, or is tried again by the next laboratory.
fn remove(name: &str) {
    let pids = ip(&format!("netns pids {name}")).unwrap_or_default();
    for pid in pids.lines().filter_map(|pid| Pid::from_raw(pid.trim().parse().ok()?)) {
        let _ = kill_process(pid, Signal::KILL);
    }
    let _ = ip(&format!("netns delete {name}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_whose_it_is() {
        assert_eq!(owner("nplab-123-4s"), Some(123));
        for other in ["nplab-", "nplab-x-1", "blue", "nplab"] {
            assert_eq!(owner(other), None, "{other}");
        }
    }
}
