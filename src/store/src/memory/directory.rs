//! [`MemoryDirectory`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{accounts, apps, numbers, people};

/// A directory in memory. Clones share it; every change is durable at once, so it outlives simulated crashes.
///
/// Each area has its tables and its trait in a file beside this one.
#[derive(Debug, Clone, Default)]
pub struct MemoryDirectory(Arc<Mutex<Tables>>);

#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) accounts: accounts::Tables,
    pub(super) apps: apps::Tables,
    pub(super) groups: super::groups::Tables,
    pub(super) numbers: numbers::Tables,
    pub(super) people: people::Tables,
}

impl MemoryDirectory {
    /// An empty directory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
