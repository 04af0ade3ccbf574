//! Apps and accounts.

use nearport_chat::directory::{Account, Accounts, App, DirectoryError, Mutes};
use nearport_chat::key::{AppId, UserKey};

use super::{Engine, Row, SqlDirectory, params, params_each};

fn app(row: &Row) -> Result<App, DirectoryError> {
    Ok(App {
        id: AppId(row.int(0)?),
        name: row.text(1)?.to_owned(),
        secret: row.opt_text(2)?.map(str::to_owned),
        public_key_pem: row.opt_text(3)?.map(str::to_owned),
        disabled: row.flag(4)?,
        created_ms: row.int(5)?,
        admins: Vec::new(),
    })
}

impl<E: Engine> Accounts for SqlDirectory<E> {
    fn apps(&self) -> Result<Vec<App>, DirectoryError> {
        // One read, so that an App is never seen without its administrators.
        self.read(|tx| {
            let rows = tx.query(
                "SELECT id, name, secret, public_key_pem, disabled, created_ms FROM apps ORDER BY id",
                &[],
            )?;
            let mut apps = rows.iter().map(app).collect::<Result<Vec<_>, _>>()?;
            let ids = params_each(&apps, |app| Ok(params![app.id.0].into()))?;
            let admins =
                tx.query_each("SELECT user_name FROM app_admins WHERE app_id = $1 ORDER BY ordinal", &ids)?;
            for (app, rows) in apps.iter_mut().zip(admins) {
                let names = rows.iter().map(|row| row.text(0).map(str::to_owned));
                app.admins = names.collect::<Result<_, _>>()?;
            }
            Ok(apps)
        })
    }

    fn create_app(&self, app: &App) -> Result<(), DirectoryError> {
        self.write(|tx| {
            let added = tx.execute(
                "INSERT INTO apps (id, name, secret, public_key_pem, disabled, created_ms)
                 VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (id) DO NOTHING",
                &params![app.id.0, app.name, app.secret, app.public_key_pem, app.disabled, app.created_ms],
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
            Ok(())
        })
    }

    fn accounts(&self, keys: &[UserKey]) -> Result<Vec<Option<Account>>, DirectoryError> {
        self.read(|tx| {
            let asked = params_each(keys, |key| Ok(params![key.app().0, key.name()].into()))?;
            let found = tx.query_each(
                "SELECT created_ms, valid_from_s, users_muted_until_ms, groups_muted_until_ms FROM accounts
                 WHERE app_id = $1 AND name = $2",
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

    fn register(&self, accounts: &[Account]) -> Result<(), DirectoryError> {
        let rows = params_each(accounts, |Account { key, created_ms, valid_from_s, mutes }| {
            let Mutes { users_until_ms, groups_until_ms } = mutes;
            Ok(params![key.app().0, key.name(), created_ms, valid_from_s, users_until_ms, groups_until_ms]
                .into())
        })?;
        self.write(|tx| {
            tx.execute_each(
                "INSERT INTO accounts
                     (app_id, name, created_ms, valid_from_s, users_muted_until_ms, groups_muted_until_ms)
                 VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (app_id, name) DO NOTHING",
                &rows,
            )?;
            Ok(())
        })
    }

    fn set_valid_from(&self, key: &UserKey, unix_s: u64) -> Result<(), DirectoryError> {
        self.write(|tx| {
            // Two kicks may arrive out of order: the later moment stays.
            tx.execute(
                "UPDATE accounts SET valid_from_s = $1 WHERE app_id = $2 AND name = $3 AND valid_from_s < $1",
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
                    "UPDATE accounts SET users_muted_until_ms = $1 WHERE app_id = $2 AND name = $3",
                    &params![until_ms, key.app().0, key.name()],
                )?;
            }
            if let Some(until_ms) = groups_until_ms {
                tx.execute(
                    "UPDATE accounts SET groups_muted_until_ms = $1 WHERE app_id = $2 AND name = $3",
                    &params![until_ms, key.app().0, key.name()],
                )?;
            }
            Ok(())
        })
    }
}
