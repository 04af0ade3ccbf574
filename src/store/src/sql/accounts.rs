//! Apps and accounts.

use nearport_chat::directory::{Account, Accounts, App, DirectoryError, Mutes};
use nearport_chat::key::{AppId, UserKey};

use super::people::bound;
use super::{Engine, Row, SqlDirectory, Value, apps, params, params_each};

/// Parameters of new rows.
fn columns(accounts: &[Account]) -> Result<Vec<Vec<Value>>, DirectoryError> {
    params_each(accounts, |Account { key, created_ms, valid_from_s, mutes }| {
        let Mutes { users_until_ms, groups_until_ms } = mutes;
        Ok(params![key.app().0, key.name(), created_ms, valid_from_s, users_until_ms, groups_until_ms].into())
    })
}

impl<E: Engine> Accounts for SqlDirectory<E> {
    fn apps(&self) -> Result<Vec<App>, DirectoryError> {
        // One read, so that an App is never seen without its administrators and keys.
        self.read(apps::apps)
    }

    fn create_app(&self, app: &App) -> Result<(), DirectoryError> {
        self.write(|tx| {
            let added = tx.execute(
                "INSERT INTO apps (id, name, disabled, created_ms, proved_from_s)
                 VALUES ($1, $2, $3, $4, $5) ON CONFLICT (id) DO NOTHING",
                &params![app.id.0, app.name, app.disabled, app.created_ms, app.proved_from_s],
            )?;
            if added == 0 {
                return Err(DirectoryError::AppExists(app.id.0));
            }
            let admins = params_each(app.admins.iter().enumerate(), |(ordinal, name)| {
                Ok(params![app.id.0, ordinal, name].into())
            })?;
            tx.execute_each(
                "INSERT INTO app_admins (app_id, ordinal, user_name) VALUES ($1, $2, $3)",
                &admins,
            )?;
            apps::put_keys(tx, app.id, &app.keys)?;
            apps::count_up(tx)
        })
    }

    fn accounts(&self, keys: &[UserKey]) -> Result<Vec<Option<Account>>, DirectoryError> {
        self.read(|tx| {
            let asked = params_each(keys, |key| Ok(params![key.app().0, key.name()].into()))?;
            let found = tx.query_each(
                "SELECT created_ms, valid_from_s, users_muted_until_ms, groups_muted_until_ms FROM accounts
                 WHERE app_id = $1 AND name = $2 AND deleted_ms = 0",
                &asked,
            )?;
            let account = |(key, rows): (&UserKey, Vec<Row>)| {
                let Some(row) = rows.first() else { return Ok(None) };
                Ok(Some(Account {
                    key: key.clone(),
                    created_ms: row.int(0)?,
                    valid_from_s: row.int(1)?,
                    mutes: Mutes { users_until_ms: row.int(2)?, groups_until_ms: row.int(3)? },
                }))
            };
            keys.iter().zip(found).map(account).collect()
        })
    }

    fn members(
        &self,
        app: AppId,
        (after, until): (&str, &str),
        made_ms: u64,
        limit: u32,
    ) -> Result<Vec<UserKey>, DirectoryError> {
        self.read(|tx| {
            let rows = tx.query(
                "SELECT name FROM accounts
                 WHERE app_id = $1 AND name > $2 AND name <= $3 AND created_ms <= $4 AND deleted_ms = 0
                 ORDER BY name LIMIT $5",
                &params![app.0, after, until, bound(made_ms), limit],
            )?;
            let key = |row: &Row| {
                UserKey::new(app, row.text(0)?).map_err(|error| DirectoryError::Engine(error.to_string()))
            };
            rows.iter().map(key).collect()
        })
    }

    fn register(&self, accounts: &[Account]) -> Result<Vec<UserKey>, DirectoryError> {
        let rows = columns(accounts)?;
        let keys =
            params_each(accounts, |account| Ok(params![account.key.app().0, account.key.name()].into()))?;
        self.write(|tx| {
            let added = tx.execute_each(
                "INSERT INTO accounts
                     (app_id, name, created_ms, valid_from_s, users_muted_until_ms, groups_muted_until_ms)
                 VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (app_id, name) DO NOTHING",
                &rows,
            )?;
            if added.iter().all(|added| *added == 1) {
                return Ok(Vec::new());
            }
            let deleted = tx.query_each(
                "SELECT deleted_ms FROM accounts WHERE app_id = $1 AND name = $2 AND deleted_ms > 0",
                &keys,
            )?;
            let deleted = accounts.iter().zip(deleted).filter(|(_, rows)| !rows.is_empty());
            Ok(deleted.map(|(account, _)| account.key.clone()).collect())
        })
    }

    fn import(&self, accounts: &[Account]) -> Result<(), DirectoryError> {
        let rows = columns(accounts)?;
        self.write(|tx| {
            tx.execute_each(
                "INSERT INTO accounts
                     (app_id, name, created_ms, valid_from_s, users_muted_until_ms, groups_muted_until_ms)
                 VALUES ($1, $2, $3, $4, $5, $6)
                 ON CONFLICT (app_id, name) DO UPDATE SET
                     created_ms = $3, valid_from_s = $4, users_muted_until_ms = $5, groups_muted_until_ms = $6,
                     deleted_ms = 0
                 WHERE accounts.deleted_ms > 0",
                &rows,
            )?;
            Ok(())
        })
    }

    fn delete_account(&self, key: &UserKey, now_ms: u64) -> Result<bool, DirectoryError> {
        self.write(|tx| {
            let deleted = tx.execute(
                "UPDATE accounts SET deleted_ms = $1 WHERE app_id = $2 AND name = $3 AND deleted_ms = 0",
                &params![now_ms.max(1), key.app().0, key.name()],
            )?;
            Ok(deleted > 0)
        })
    }

    fn set_valid_from(&self, key: &UserKey, unix_s: u64) -> Result<(), DirectoryError> {
        self.write(|tx| {
            // Two kicks may arrive out of order: the later moment stays.
            tx.execute(
                "UPDATE accounts SET valid_from_s = $1 WHERE app_id = $2 AND name = $3 AND valid_from_s < $1
                     AND deleted_ms = 0",
                &params![unix_s, key.app().0, key.name()],
            )?;
            Ok(())
        })
    }

    fn set_mutes(
        &self,
        key: &UserKey,
        users_until_ms: Option<u64>,
        groups_until_ms: Option<u64>,
    ) -> Result<(), DirectoryError> {
        self.write(|tx| {
            if let Some(until_ms) = users_until_ms {
                tx.execute(
                    "UPDATE accounts SET users_muted_until_ms = $1
                     WHERE app_id = $2 AND name = $3 AND deleted_ms = 0",
                    &params![until_ms, key.app().0, key.name()],
                )?;
            }
            if let Some(until_ms) = groups_until_ms {
                tx.execute(
                    "UPDATE accounts SET groups_muted_until_ms = $1
                     WHERE app_id = $2 AND name = $3 AND deleted_ms = 0",
                    &params![until_ms, key.app().0, key.name()],
                )?;
            }
            Ok(())
        })
    }
}
