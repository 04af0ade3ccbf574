//! Apps and accounts.

use std::collections::{BTreeMap, BTreeSet};

use nearport_chat::directory::{Account, Accounts, App, DirectoryError};
use nearport_chat::key::{AppId, UserKey};

use super::MemoryDirectory;

#[derive(Debug, Default)]
pub(super) struct Tables {
    accounts: BTreeMap<UserKey, Account>,
    deleted: BTreeSet<UserKey>,
}

impl Tables {
    /// When the accounts of an App were made.
    pub(super) fn made(&self, app: AppId) -> Vec<u64> {
        let accounts = self.accounts.values().filter(|account| account.key.app() == app);
        accounts.map(|account| account.created_ms).collect()
    }
}

impl Accounts for MemoryDirectory {
    fn apps(&self) -> Result<Vec<App>, DirectoryError> {
        Ok(self.tables().apps.apps.values().cloned().collect())
    }

    fn create_app(&self, app: &App) -> Result<(), DirectoryError> {
        let tables = &mut self.tables().apps;
        if tables.apps.contains_key(&app.id.0) {
            return Err(DirectoryError::AppExists(app.id.0));
        }
        tables.apps.insert(app.id.0, app.clone());
        tables.version += 1;
        Ok(())
    }

    fn accounts(&self, keys: &[UserKey]) -> Result<Vec<Option<Account>>, DirectoryError> {
        let accounts = &self.tables().accounts.accounts;
        Ok(keys.iter().map(|key| accounts.get(key).cloned()).collect())
    }

    fn members(
        &self,
        app: AppId,
        (after, until): (&str, &str),
        made_ms: u64,
        limit: u32,
    ) -> Result<Vec<UserKey>, DirectoryError> {
        let tables = self.tables();
        let there = |account: &&Account| {
            let name = account.key.name();
            account.key.app() == app && after < name && name <= until && account.created_ms <= made_ms
        };
        let found = tables.accounts.accounts.values().filter(there).take(limit as usize);
        Ok(found.map(|account| account.key.clone()).collect())
    }

    fn register(&self, accounts: &[Account]) -> Result<Vec<UserKey>, DirectoryError> {
        let mut tables = self.tables();
        let mut deleted = Vec::new();
        for account in accounts {
            if tables.accounts.deleted.contains(&account.key) {
                deleted.push(account.key.clone());
                continue;
            }
            tables.accounts.accounts.entry(account.key.clone()).or_insert_with(|| account.clone());
        }
        Ok(deleted)
    }

    fn import(&self, accounts: &[Account]) -> Result<(), DirectoryError> {
        let mut tables = self.tables();
        for account in accounts {
            tables.accounts.deleted.remove(&account.key);
            tables.accounts.accounts.entry(account.key.clone()).or_insert_with(|| account.clone());
        }
        Ok(())
    }

    fn delete_account(&self, key: &UserKey, _now_ms: u64) -> Result<bool, DirectoryError> {
        let mut tables = self.tables();
        let existed = tables.accounts.accounts.remove(key).is_some();
        if existed {
            tables.accounts.deleted.insert(key.clone());
        }
        Ok(existed)
    }

    fn set_valid_from(&self, key: &UserKey, unix_s: u64) -> Result<(), DirectoryError> {
        if let Some(account) = self.tables().accounts.accounts.get_mut(key) {
            account.valid_from_s = account.valid_from_s.max(unix_s);
        }
        Ok(())
    }

    fn set_mutes(
        &self,
        key: &UserKey,
        users_until_ms: Option<u64>,
        groups_until_ms: Option<u64>,
    ) -> Result<(), DirectoryError> {
        if let Some(Account { mutes, .. }) = self.tables().accounts.accounts.get_mut(key) {
            mutes.users_until_ms = users_until_ms.unwrap_or(mutes.users_until_ms);
            mutes.groups_until_ms = groups_until_ms.unwrap_or(mutes.groups_until_ms);
        }
        Ok(())
    }
}
