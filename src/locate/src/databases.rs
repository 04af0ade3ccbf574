//! The databases in use: several files, asked in order, each replaced by itself when it changes.
//!
//! A file that is damaged, cut short or gone never takes the place of one that works: the old one stays, the error is logged,
//! counted and shown by [`Databases::states`]. So it does not matter how a file is replaced, at once or in pieces; a file caught
//! half written is looked at again when it has changed once more.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::UNIX_EPOCH;

use crate::mmdb::{Database, Error, Place, whole};

/// Files that are asked for one address.
pub const FILES_MAX: usize = 16;

/// What a file is like from outside. If none of it has changed, the content has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// Follows symbolic links. `None` for a file that is not there.
    fn of(path: &Path) -> Option<Self> {
        let meta = fs::metadata(path).ok()?;
        Some(Self {
            file: (meta.dev(), meta.ino()),
            bytes: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        })
    }
}

/// A file that does not work, by name.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub struct FileError {
    /// Which file.
    pub path: PathBuf,
    /// Why.
    pub source: Error,
}

/// One file as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Which file.
    pub path: PathBuf,
    /// What its maker calls the one in use; `None` while there is none.
    pub kind: Option<String>,
    /// Why the file as it lies there is not in use.
    pub error: Option<String>,
}

#[derive(Debug)]
struct Slot {
    path: PathBuf,
    /// Of the last attempt, whether it worked or not.
    stamp: Option<Stamp>,
    current: Option<Arc<Database>>,
    error: Option<String>,
}

/// Those that work, in the order of the configuration. A clone is a pointer.
#[derive(Debug, Clone)]
pub struct Set(Arc<[Arc<Database>]>);

impl Set {
    /// What the files say of an address: each value from the first one that knows it. Nothing for addresses that are in no
    /// network which is routed, see [`is_public`]; that is said of all of their bits, for none of it holds for others. Does not allocate.
    #[must_use]
    pub fn look_up(&self, ip: IpAddr) -> Place {
        let ip = ip.to_canonical();
        if !is_public(ip) {
            return Place { bits: whole(ip), ..Place::default() };
        }
        let mut place = Place::default();
        for database in self.0.iter() {
            place.fill_from(database.look_up(ip));
        }
        place
    }
}

/// The files of a node. Lookups take the set as it is and are never kept waiting by a file that is being read.
#[derive(Debug)]
pub struct Databases {
    /// Locked for as long as a pointer is read or written.
    set: RwLock<Set>,
    /// Held while files are read.
    slots: Mutex<Vec<Slot>>,
}

impl Databases {
    /// Loads every file. Blocks while they are read.
    ///
    /// # Errors
    /// [`FileError`] for the first one that does not work: at a start nothing is in use yet that could stay.
    pub fn open(paths: &[PathBuf]) -> Result<Self, FileError> {
        let mut slots = Vec::new();
        for path in paths.iter().take(FILES_MAX) {
            let stamp = Stamp::of(path);
            let loaded = Database::load(path);
            let database = loaded.map_err(|source| FileError { path: path.clone(), source })?;
            announce(path, &database);
            slots.push(Slot { path: path.clone(), stamp, current: Some(Arc::new(database)), error: None });
        }
        let set = set(&slots);
        Ok(Self { set: RwLock::new(set), slots: Mutex::new(slots) })
    }

    /// None at all: every address is unknown.
    #[must_use]
    pub fn none() -> Self {
        Self { set: RwLock::new(Set(Arc::new([]))), slots: Mutex::new(Vec::new()) }
    }

    /// Reads the files that have changed since they were last looked at; with `all`, every file. Blocks while they are read.
    ///
    /// Returns how many are new in use.
    ///
    /// # Errors
    /// The first one that was not taken; the others were tried all the same, and what was in use stays.
    pub fn reload(&self, all: bool) -> Result<usize, FileError> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut new, mut failed) = (0, None);
        for slot in slots.iter_mut() {
            // Before the load, so that a change meanwhile is seen next time.
            let stamp = Stamp::of(&slot.path);
            if stamp == slot.stamp && !all {
                continue;
            }
            slot.stamp = stamp;
            match Database::load(&slot.path) {
                Ok(database) => {
                    announce(&slot.path, &database);
                    (slot.current, slot.error) = (Some(Arc::new(database)), None);
                    new += 1;
                }
                Err(source) => {
                    loads(&slot.path, "error").increment(1);
                    slot.error = Some(source.to_string());
                    failed.get_or_insert_with(|| FileError { path: slot.path.clone(), source });
                }
            }
        }
        if new > 0 {
            *self.set.write().unwrap_or_else(PoisonError::into_inner) = set(&slots);
        }
        failed.map_or(Ok(new), Err)
    }

    /// The files as they stand.
    #[must_use]
    pub fn states(&self) -> Vec<State> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let state = |slot: &Slot| State {
            path: slot.path.clone(),
            kind: slot.current.as_ref().map(|database| database.kind().to_owned()),
            error: slot.error.clone(),
        };
        slots.iter().map(state).collect()
    }

    /// Those in use now.
    #[must_use]
    pub fn set(&self) -> Set {
        self.set.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What those in use now say of an address, see [`Set::look_up`].
    #[must_use]
    pub fn look_up(&self, ip: IpAddr) -> Place {
        self.set().look_up(ip)
    }
}

fn set(slots: &[Slot]) -> Set {
    Set(slots.iter().filter_map(|slot| slot.current.clone()).collect())
}

fn loads(path: &Path, outcome: &'static str) -> metrics::Counter {
    metrics::describe_counter!(
        "nearport_locate_mmdb_loads_total",
        "Loads of a database of addresses, by outcome."
    );
    metrics::counter!("nearport_locate_mmdb_loads_total", "file" => path.display().to_string(), "outcome" => outcome)
}

fn announce(path: &Path, database: &Database) {
    loads(path, "error").increment(0);
    loads(path, "ok").increment(1);
    let built = database.built().and_then(|built| built.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    let file = path.display().to_string();
    metrics::describe_gauge!(
        "nearport_locate_mmdb_built_seconds",
        "When the database of addresses in use was built, in seconds since the Unix epoch."
    );
    metrics::gauge!("nearport_locate_mmdb_built_seconds", "file" => file).set(built.as_secs_f64());
    tracing::info!(
        file = %path.display(),
        kind = database.kind(),
        bytes = database.bytes(),
        "addresses: database in use"
    );
}

/// Whether an address can be that of a host on the public Internet: not private, shared (RFC 6598), loopback, link-local, for
/// documentation or benchmarks, multicast, reserved, or unspecified.
#[must_use]
pub fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            !(ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_documentation()
                || a == 0
                || a >= 224
                || (a == 100 && (64..128).contains(&b))
                || (a == 192 && b == 0 && c == 0)
                || (a == 198 && (b == 18 || b == 19)))
        }
        IpAddr::V6(ip) => {
            let [a, b, ..] = ip.segments();
            // 2000::/3 is what has been given out, except what is for documentation.
            (a & 0xe000) == 0x2000 && !(a == 0x2001 && b == 0xdb8) && (a != 0x3fff || b >= 0x1000)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_routes_is_looked_up_nowhere() {
        for ip in [
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.1.1",
            "172.16.0.1",
            "192.168.1.1",
            "192.0.2.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "0.0.0.0",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "2001:db8::1",
            "ff02::1",
            "::ffff:10.0.0.1",
            "3fff::1",
        ] {
            assert!(!is_public(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["1.1.1.1", "100.128.0.1", "172.32.0.1", "198.20.0.1", "2400::1", "::ffff:8.8.8.8"] {
            assert!(is_public(ip.parse().unwrap()), "{ip}");
        }
    }
}
