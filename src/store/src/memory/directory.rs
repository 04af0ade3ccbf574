//! [`MemoryDirectory`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nearport_chat::directory::{Account, App, Directory, DirectoryError};
use nearport_chat::key::UserKey;

/// A directory in memory. Clones share it; every change is durable at once, so it outlives simulated crashes.
#[derive(Debug, Clone, Default)]
pub struct MemoryDirectory(Arc<Mutex<Tables>>);

#[derive(Debug, Default)]
struct Tables {
    apps: BTreeMap<u32, App>,
    accounts: BTreeMap<UserKey, Account>,
}

impl MemoryDirectory {
    /// An empty directory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Directory for MemoryDirectory {
    fn apps(&self) -> Result<Vec<App>, DirectoryError> {
        Ok(self.tables().apps.values().cloned().collect())
    }

    fn create_app(&self, app: &App) -> Result<(), DirectoryError> {
        let mut tables = self.tables();
        if tables.apps.contains_key(&app.id.0) {
            return Err(DirectoryError::AppExists(app.id.0));
        }
        tables.apps.insert(app.id.0, app.clone());
        Ok(())
    }

    fn accounts(&self, keys: &[UserKey]) -> Result<Vec<Option<Account>>, DirectoryError> {
        let tables = self.tables();
        Ok(keys.iter().map(|key| tables.accounts.get(key).cloned()).collect())
    }

    fn register(&self, accounts: &[Account]) -> Result<(), DirectoryError> {
        let mut tables = self.tables();
        for account in accounts {
            tables.accounts.entry(account.key.clone()).or_insert_with(|| account.clone());
        }
        Ok(())
    }

    fn set_valid_from(&self, key: &UserKey, unix_s: u64) -> Result<(), DirectoryError> {
        if let Some(account) = self.tables().accounts.get_mut(key) {
            account.valid_from_s = account.valid_from_s.max(unix_s);
        }
        Ok(())
    }
}
