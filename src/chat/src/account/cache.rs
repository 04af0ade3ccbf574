//! Which accounts exist, remembered for a while.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::new_account;
use crate::Error;
use crate::directory::{Account, Directory, DirectoryError, Mutes};
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

/// Two generations: a full young one becomes the old one, whose entries are dropped unless they were asked for again.
struct Cache {
    /// Counts what was withdrawn.
    version: u64,
    /// Counts all changes. Whoever read the directory before one must not remember what it read.
    changes: u64,
    young: HashMap<UserKey, Standing>,
    old: HashMap<UserKey, Standing>,
    half: usize,
}

/// What is remembered of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// UserSigs issued before this Unix second are refused.
    pub(crate) valid_from_s: u64,
    pub(crate) mutes: Mutes,
}

/// Answer of [`Accounts::find`].
#[derive(Debug)]
pub(crate) struct Found {
    /// For [`Accounts::is_current`].
    pub(crate) version: u64,
    /// In the order of the keys. `None`: no such account.
    pub(crate) accounts: Vec<Option<Standing>>,
}

impl Accounts {
    pub(crate) fn new(directory: Arc<dyn Directory>, entries_max: usize, metrics: Arc<Metrics>) -> Self {
        let half = entries_max.div_ceil(2).max(1);
        let cache = Cache { version: 0, changes: 0, young: HashMap::new(), old: HashMap::new(), half };
        Self { directory, cache: Mutex::new(cache), metrics }
    }

    /// The accounts among `keys`; at most one query to the directory.
    pub(crate) fn find(&self, keys: &[UserKey]) -> Result<Found, DirectoryError> {
        let mut cache = self.lock();
        let (version, changes) = (cache.version, cache.changes);
        let mut accounts: Vec<_> = keys.iter().map(|key| cache.get(key)).collect();
        drop(cache);

        let missing = || accounts.iter().zip(keys).filter(|(found, _)| found.is_none()).map(|(_, key)| key);
        let asked: Vec<UserKey> = missing().collect::<BTreeSet<_>>().into_iter().cloned().collect();
        self.metrics.accounts_hits.increment((keys.len() - asked.len()) as u64);
        self.metrics.accounts_misses.increment(asked.len() as u64);
        if asked.is_empty() {
            return Ok(Found { version, accounts });
        }
        let answers = self.directory.accounts(&asked)?;
        let standing = |account: Account| {
            let Account { key, created_ms: _, valid_from_s, mutes } = account;
            (key, Standing { valid_from_s, mutes })
        };
        let found: HashMap<UserKey, Standing> = answers.into_iter().flatten().map(standing).collect();
        for (slot, key) in accounts.iter_mut().zip(keys).filter(|(slot, _)| slot.is_none()) {
            *slot = found.get(key).copied();
        }

        let mut cache = self.lock();
        if cache.changes == changes {
            // In the order of asking: the map's own order would decide which entry is dropped first.
            for key in asked {
                if let Some(standing) = found.get(&key) {
                    cache.insert(key, *standing);
                }
            }
        }
        self.metrics.accounts_cached.set((cache.young.len() + cache.old.len()) as f64);
        Ok(Found { version, accounts })
    }

    /// Whether [`Self::find`] would answer without a query.
    pub(crate) fn remembers(&self, keys: &[UserKey]) -> bool {
        let mut cache = self.lock();
        keys.iter().all(|key| cache.get(key).is_some())
    }

    /// Whether an answer of this version still holds.
    pub(crate) fn is_current(&self, version: u64) -> bool {
        self.lock().version == version
    }

    /// Registers accounts in one transaction; those that exist stay as they are. Gives those that were deleted, which stay so.
    pub(crate) fn register(
        &self,
        keys: BTreeSet<UserKey>,
        now_ms: u64,
    ) -> Result<Vec<UserKey>, DirectoryError> {
        let accounts: Vec<_> = keys.into_iter().map(|key| new_account(key, now_ms)).collect();
        // Not remembered here: one that existed may have other values, the next `find` reads them.
        self.directory.register(&accounts)
    }

    /// The same, and those that were deleted begin anew.
    pub(crate) fn import(&self, keys: BTreeSet<UserKey>, now_ms: u64) -> Result<(), DirectoryError> {
        let accounts: Vec<_> = keys.into_iter().map(|key| new_account(key, now_ms)).collect();
        self.directory.import(&accounts)
    }

    /// Deletes an account and withdraws all earlier answers. Whether it existed.
    pub(crate) fn delete(&self, key: &UserKey, now_ms: u64) -> Result<bool, DirectoryError> {
        let existed = self.directory.delete_account(key, now_ms)?;
        let mut cache = self.lock();
        cache.version += 1;
        cache.forget(key);
        Ok(existed)
    }

    /// Refuses UserSigs issued before `unix_s` and withdraws all earlier answers.
    pub(crate) fn refuse_before(&self, key: &UserKey, unix_s: u64) -> Result<(), Error> {
        self.known(key)?;
        self.directory.set_valid_from(key, unix_s)?;
        let mut cache = self.lock();
        cache.version += 1;
        cache.forget(key);
        Ok(())
    }

    /// As [`crate::directory::Accounts::set_mutes`]. Whoever asks from now on hears of it. No answer is withdrawn: it keeps nobody
    /// from logging in.
    pub(crate) fn set_mutes(
        &self,
        key: &UserKey,
        users_until_ms: Option<u64>,
        groups_until_ms: Option<u64>,
    ) -> Result<(), Error> {
        self.known(key)?;
        self.directory.set_mutes(key, users_until_ms, groups_until_ms)?;
        self.lock().forget(key);
        Ok(())
    }

    /// An account as the directory has it.
    pub(crate) fn known(&self, key: &UserKey) -> Result<Account, Error> {
        self.directory.accounts(std::slice::from_ref(key))?.pop().flatten().ok_or(Error::NoAccount)
    }

    fn lock(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cache {
    fn get(&mut self, key: &UserKey) -> Option<Standing> {
        if let Some(value) = self.young.get(key) {
            return Some(*value);
        }
        let (key, value) = self.old.remove_entry(key)?;
        self.insert(key, value);
        Some(value)
    }

    fn forget(&mut self, key: &UserKey) {
        self.changes += 1;
        self.young.remove(key);
        self.old.remove(key);
    }

    fn insert(&mut self, key: UserKey, value: Standing) {
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
        let mut cache = Cache { version: 0, changes: 0, young: HashMap::new(), old: HashMap::new(), half: 4 };
        let standing = |n| Standing { valid_from_s: n, mutes: Mutes::default() };
        let key = |n: u64| UserKey::new(AppId(1), &n.to_string()).unwrap();
        for n in 0..100 {
            cache.insert(key(n), standing(n));
            assert_eq!(cache.get(&key(0)), Some(standing(0)));
            assert!(cache.young.len() <= 4 && cache.old.len() <= 4);
        }
        assert_eq!(cache.get(&key(99)), Some(standing(99)));
        assert_eq!(cache.get(&key(50)), None);
    }
}
