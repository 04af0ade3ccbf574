//! Which accounts exist, remembered for a while.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::new_account;
use crate::Error;
use crate::directory::{Directory, DirectoryError};
use crate::key::UserKey;
use crate::metrics::Metrics;

/// A bounded cache over [`Directory`]. Remembers accounts that exist, never that one does not: it may be registered
/// at any moment.
///
/// An answer has the version of the cache at the time of asking. [`Self::is_current`] says whether anything was
/// withdrawn since then, so a caller can decide and check in one critical section.
pub(crate) struct Accounts {
    directory: Arc<dyn Directory>,
    cache: Mutex<Cache>,
    metrics: Arc<Metrics>,
}

/// Accounts with the second from which their UserSigs are good. Two generations: a full young one becomes the
/// old one, whose entries are dropped unless they were asked for again.
struct Cache {
    version: u64,
    young: HashMap<UserKey, u64>,
    old: HashMap<UserKey, u64>,
    half: usize,
}

/// Answer of [`Accounts::find`].
#[derive(Debug)]
pub(crate) struct Found {
    /// For [`Accounts::is_current`].
    pub(crate) version: u64,
    /// In the order of the keys: UserSigs issued before this Unix second are refused. `None`: no such account.
    pub(crate) valid_from_s: Vec<Option<u64>>,
}

impl Accounts {
    pub(crate) fn new(directory: Arc<dyn Directory>, entries_max: usize, metrics: Arc<Metrics>) -> Self {
        let half = entries_max.div_ceil(2).max(1);
        let cache = Cache { version: 0, young: HashMap::new(), old: HashMap::new(), half };
        Self { directory, cache: Mutex::new(cache), metrics }
    }

    /// The accounts among `keys`; at most one query to the directory.
    pub(crate) fn find(&self, keys: &[UserKey]) -> Result<Found, DirectoryError> {
        let mut cache = self.lock();
        let version = cache.version;
        let mut valid_from_s: Vec<_> = keys.iter().map(|key| cache.get(key)).collect();
        drop(cache);

        let missing =
            || valid_from_s.iter().zip(keys).filter(|(found, _)| found.is_none()).map(|(_, key)| key);
        let asked: Vec<UserKey> = missing().collect::<BTreeSet<_>>().into_iter().cloned().collect();
        self.metrics.accounts_hits.increment((keys.len() - asked.len()) as u64);
        self.metrics.accounts_misses.increment(asked.len() as u64);
        if asked.is_empty() {
            return Ok(Found { version, valid_from_s });
        }
        let answers = self.directory.accounts(&asked)?;
        let found: HashMap<UserKey, u64> =
            answers.into_iter().flatten().map(|account| (account.key, account.valid_from_s)).collect();
        for (slot, key) in valid_from_s.iter_mut().zip(keys).filter(|(slot, _)| slot.is_none()) {
            *slot = found.get(key).copied();
        }

        let mut cache = self.lock();
        if cache.version == version {
            // In the order of asking: the map's own order would decide which entry is dropped first.
            for key in asked {
                if let Some(valid_from_s) = found.get(&key) {
                    cache.insert(key, *valid_from_s);
                }
            }
        }
        self.metrics.accounts_cached.set((cache.young.len() + cache.old.len()) as f64);
        Ok(Found { version, valid_from_s })
    }

    /// Whether an answer of this version still holds.
    pub(crate) fn is_current(&self, version: u64) -> bool {
        self.lock().version == version
    }

    /// Registers accounts in one transaction; those that exist stay as they are.
    pub(crate) fn register(&self, keys: BTreeSet<UserKey>, now_ms: u64) -> Result<(), DirectoryError> {
        let accounts: Vec<_> = keys.into_iter().map(|key| new_account(key, now_ms)).collect();
        // Not remembered here: one that existed may have other values, the next `find` reads them.
        self.directory.register(&accounts)
    }

    /// Refuses UserSigs issued before `unix_s` and withdraws all earlier answers.
    pub(crate) fn refuse_before(&self, key: &UserKey, unix_s: u64) -> Result<(), Error> {
        let known = self.directory.accounts(std::slice::from_ref(key))?;
        if !matches!(known[..], [Some(_)]) {
            return Err(Error::NoAccount);
        }
        self.directory.set_valid_from(key, unix_s)?;
        let mut cache = self.lock();
        cache.version += 1;
        cache.young.remove(key);
        cache.old.remove(key);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cache {
    fn get(&mut self, key: &UserKey) -> Option<u64> {
        if let Some(value) = self.young.get(key) {
            return Some(*value);
        }
        let (key, value) = self.old.remove_entry(key)?;
        self.insert(key, value);
        Some(value)
    }

    fn insert(&mut self, key: UserKey, value: u64) {
        if self.young.len() >= self.half && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accounts").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::AppId;

    #[test]
    fn the_bound_holds_and_what_is_used_stays() {
        let mut cache = Cache { version: 0, young: HashMap::new(), old: HashMap::new(), half: 4 };
        let key = |n: u64| UserKey::new(AppId(1), &n.to_string()).unwrap();
        for n in 0..100 {
            cache.insert(key(n), n);
            assert_eq!(cache.get(&key(0)), Some(0));
            assert!(cache.young.len() <= 4 && cache.old.len() <= 4);
        }
        assert_eq!(cache.get(&key(99)), Some(99));
        assert_eq!(cache.get(&key(50)), None);
    }
}
