//! [`Groups`]: the groups in memory, loaded when somebody asks.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::record::GroupRecord;
use super::rules::Rules;
use super::state::Group;
use crate::directory::{Directory, DirectoryError};
use crate::key::{GroupKey, UserKey};
use crate::ledger::Ledger;

/// A group as it is shared. Writers of messages read it; only the desk writes it.
pub(crate) type SharedGroup = Arc<RwLock<Group>>;

/// How often a load is repeated because something was changed meanwhile, before its answer is used without being kept.
const LOADS_MAX: usize = 4;

/// Groups in memory, bounded by their members. Two generations: a full young one becomes the old one, whose groups are dropped
/// unless they were asked for again. Whoever still holds one that was dropped sees it as it was then, for a batch at most.
pub(crate) struct Groups {
    directory: Arc<dyn Directory>,
    ledger: Arc<dyn Ledger>,
    rules: Arc<Rules>,
    cache: Mutex<Cache>,
    /// Counts what gets a number in this process.
    numbers: AtomicU64,
}

#[derive(Default)]
struct Cache {
    /// Counts what the desk has changed: an answer that was read before may be older than the cache.
    version: u64,
    young: Generation,
    old: Generation,
}

#[derive(Default)]
struct Generation {
    groups: HashMap<GroupKey, (SharedGroup, usize)>,
    weight: usize,
}

impl Generation {
    fn insert(&mut self, key: GroupKey, group: SharedGroup, weight: usize) {
        self.remove(&key);
        self.weight += weight;
        self.groups.insert(key, (group, weight));
    }

    fn remove(&mut self, key: &GroupKey) -> Option<(SharedGroup, usize)> {
        let removed = self.groups.remove(key)?;
        self.weight -= removed.1;
        Some(removed)
    }
}

impl Cache {
    fn get(&mut self, key: &GroupKey, half: usize) -> Option<SharedGroup> {
        if let Some((group, _)) = self.young.groups.get(key) {
            return Some(group.clone());
        }
        let (group, weight) = self.old.remove(key)?;
        self.insert(key.clone(), group.clone(), weight, half);
        Some(group)
    }

    fn insert(&mut self, key: GroupKey, group: SharedGroup, weight: usize, half: usize) {
        self.old.remove(&key);
        self.young.remove(&key);
        if self.young.weight + weight > half && !self.young.groups.is_empty() {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, group, weight);
    }
}

/// What a group weighs beside its members: its profile and its maps. A topic weighs the same.
const GROUP_WEIGHT: usize = 8;

/// What a group weighs in memory, in members.
fn weight(record: &GroupRecord) -> usize {
    record.members.len() + record.receptions.len() + GROUP_WEIGHT * (1 + record.topics.len())
}

impl Groups {
    pub(crate) fn new(directory: Arc<dyn Directory>, ledger: Arc<dyn Ledger>, rules: Rules) -> Self {
        Self {
            directory,
            ledger,
            rules: Arc::new(rules),
            cache: Mutex::default(),
            numbers: AtomicU64::new(0),
        }
    }

    /// What the operator has decided about groups.
    pub(crate) fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// The next number of this process, for what must differ from what else is made in the same millisecond.
    pub(crate) fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Counts what the desk has changed, each change after it is in the directory.
    pub(crate) fn version(&self) -> u64 {
        self.lock().version
    }

    /// A group, if it exists.
    ///
    /// # Errors
    /// [`DirectoryError`] of the engine.
    pub(crate) fn find(&self, key: &GroupKey) -> Result<Option<SharedGroup>, DirectoryError> {
        Ok(self.find_all(std::slice::from_ref(key))?.pop().flatten())
    }

    /// Groups in the order of `keys`; at most one look into the directory for all that are not in memory.
    ///
    /// # Errors
    /// [`DirectoryError`] of the engine.
    pub(crate) fn find_all(&self, keys: &[GroupKey]) -> Result<Vec<Option<SharedGroup>>, DirectoryError> {
        let half = self.half();
        for round in 1.. {
            let mut cache = self.lock();
            let version = cache.version;
            let mut found: Vec<_> = keys.iter().map(|key| cache.get(key, half)).collect();
            drop(cache);
            let mut missing: Vec<_> = found
                .iter()
                .zip(keys)
                .filter(|(found, _)| found.is_none())
                .map(|(_, key)| key.clone())
                .collect();
            if missing.is_empty() {
                return Ok(found);
            }
            missing.sort();
            missing.dedup();
            let loaded = self.load(&missing)?;
            let mut cache = self.lock();
            let current = cache.version == version;
            if !current && round < LOADS_MAX {
                continue;
            }
            for (slot, key) in found.iter_mut().zip(keys).filter(|(slot, _)| slot.is_none()) {
                // Another thread may have loaded it too: there is one of each.
                *slot = cache.get(key, half);
                if let (None, Some((group, weight))) = (&slot, loaded.get(key)) {
                    *slot = Some(group.clone());
                    if current {
                        cache.insert(key.clone(), group.clone(), *weight, half);
                    }
                }
            }
            return Ok(found);
        }
        unreachable!("the last round returns")
    }

    /// The group in whose conversation, or in that of whose topic, something is said: it exists, and so does the topic.
    ///
    /// # Errors
    /// [`DirectoryError`] of the engine.
    pub(crate) fn find_home(&self, at: &GroupKey) -> Result<Option<SharedGroup>, DirectoryError> {
        Ok(self.find_homes(std::slice::from_ref(at))?.pop().flatten())
    }

    /// The same for many, in the order of `keys`.
    ///
    /// # Errors
    /// [`DirectoryError`] of the engine.
    pub(crate) fn find_homes(&self, keys: &[GroupKey]) -> Result<Vec<Option<SharedGroup>>, DirectoryError> {
        let homes: Vec<_> = keys.iter().map(GroupKey::home).collect();
        let mut found = self.find_all(&homes)?;
        for (at, slot) in keys.iter().zip(&mut found).filter(|(at, _)| at.is_topic()) {
            slot.take_if(|group| {
                group.read().unwrap_or_else(PoisonError::into_inner).first_seq(at).is_none()
            });
        }
        Ok(found)
    }

    fn load(&self, keys: &[GroupKey]) -> Result<HashMap<GroupKey, (SharedGroup, usize)>, DirectoryError> {
        let mut loaded = HashMap::new();
        for record in self.directory.groups(keys)?.into_iter().flatten() {
            let key = record.key.clone();
            let weight = weight(&record);
            let head = self.head(&key)?;
            loaded.insert(key, (Arc::new(RwLock::new(Group::new(record, &self.rules, head))), weight));
        }
        Ok(loaded)
    }

    /// Newest message of a group's conversation.
    pub(crate) fn head(&self, key: &GroupKey) -> Result<u64, DirectoryError> {
        self.ledger
            .head(&key.conv())
            .map_err(|error| DirectoryError::Engine(format!("the head of a group: {error}")))
    }

    /// The groups whose messages go to each user's devices, in the order of `users`: the topics of a session.
    ///
    /// # Errors
    /// [`DirectoryError`] of the engine.
    pub(crate) fn of_users(&self, users: &[UserKey]) -> Result<Vec<Vec<GroupKey>>, DirectoryError> {
        let receiving = |joined: Vec<crate::directory::Joined>| {
            joined.into_iter().filter(|joined| joined.receives).map(|joined| joined.group).collect()
        };
        Ok(self.directory.groups_of(users)?.into_iter().map(receiving).collect())
    }

    /// What the desk has changed holds: the directory has it. A dismissed group is forgotten.
    pub(crate) fn settle(&self, key: &GroupKey, group: &SharedGroup) {
        let (dismissed, weight) = {
            let group = group.read().unwrap_or_else(PoisonError::into_inner);
            (group.is_dismissed(), weight(&group.record))
        };
        let half = self.half();
        let mut cache = self.lock();
        cache.version += 1;
        if dismissed {
            cache.young.remove(key);
            cache.old.remove(key);
        } else {
            cache.insert(key.clone(), group.clone(), weight, half);
        }
    }

    /// What is in memory of a group is wrong: the next one who asks loads it.
    pub(crate) fn forget(&self, key: &GroupKey) {
        let mut cache = self.lock();
        cache.version += 1;
        cache.young.remove(key);
        cache.old.remove(key);
    }

    fn half(&self) -> usize {
        self.rules.config.members_cached.div_ceil(2)
    }

    fn lock(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cache = self.lock();
        f.debug_struct("Groups")
            .field("members", &(cache.young.weight + cache.old.weight))
            .finish_non_exhaustive()
    }
}
