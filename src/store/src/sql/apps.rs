//! Keys and settings of Apps.

use nearport_chat::audit::Entry;
use nearport_chat::directory::{
    APP_KEYS_MAX, App, AppKey, AppStore, AppsState, DirectoryError, KeyKind, SettingRow,
};
use nearport_chat::key::AppId;

use super::{Engine, Row, SqlDirectory, Tx, audit, params, params_each};

/// Name of the version of all this.
const APPS: &str = "apps";

fn key(row: &Row) -> Result<AppKey, DirectoryError> {
    let kind = row.text(1)?;
    let kind = KeyKind::of(kind)
        .ok_or_else(|| DirectoryError::Engine(format!("a key of an app is of the kind {kind:?}")))?;
    Ok(AppKey {
        name: row.text(0)?.to_owned(),
        kind,
        material: row.text(2)?.to_owned(),
        created_ms: row.int(3)?,
    })
}

fn app(row: &Row) -> Result<App, DirectoryError> {
    Ok(App {
        id: AppId(row.int(0)?),
        name: row.text(1)?.to_owned(),
        disabled: row.flag(2)?,
        created_ms: row.int(3)?,
        proved_from_s: row.int(4)?,
        keys: Vec::new(),
        admins: Vec::new(),
    })
}

/// All Apps with their keys and administrators.
pub(super) fn apps(tx: &mut dyn Tx) -> Result<Vec<App>, DirectoryError> {
    let rows = tx.query("SELECT id, name, disabled, created_ms, proved_from_s FROM apps ORDER BY id", &[])?;
    let mut apps = rows.iter().map(app).collect::<Result<Vec<_>, _>>()?;
    let ids = params_each(&apps, |app| Ok(params![app.id.0].into()))?;
    let admins =
        tx.query_each("SELECT user_name FROM app_admins WHERE app_id = $1 ORDER BY ordinal", &ids)?;
    let keys = tx.query_each(
        "SELECT name, kind, material, created_ms FROM app_keys WHERE app_id = $1 ORDER BY created_ms, name",
        &ids,
    )?;
    for ((app, admins), keys) in apps.iter_mut().zip(admins).zip(keys) {
        let names = admins.iter().map(|row| row.text(0).map(str::to_owned));
        app.admins = names.collect::<Result<_, _>>()?;
        app.keys = keys.iter().map(key).collect::<Result<_, _>>()?;
    }
    Ok(apps)
}

/// Puts keys of an App into their table.
pub(super) fn put_keys(tx: &mut dyn Tx, app: AppId, keys: &[AppKey]) -> Result<(), DirectoryError> {
    let rows = params_each(keys, |key| {
        Ok(params![app.0, key.name, key.kind.name(), key.material, key.created_ms].into())
    })?;
    tx.execute_each(
        "INSERT INTO app_keys (app_id, name, kind, material, created_ms) VALUES ($1, $2, $3, $4, $5)",
        &rows,
    )?;
    Ok(())
}

/// Something about Apps has changed.
pub(super) fn count_up(tx: &mut dyn Tx) -> Result<(), DirectoryError> {
    tx.execute(
        "INSERT INTO versions (name, version) VALUES ($1, 1)
         ON CONFLICT (name) DO UPDATE SET version = versions.version + 1",
        &params![APPS],
    )?;
    Ok(())
}

fn version(tx: &mut dyn Tx) -> Result<u64, DirectoryError> {
    let rows = tx.query("SELECT version FROM versions WHERE name = $1", &params![APPS])?;
    rows.first().map_or(Ok(0), |row| row.int(0))
}

/// Names of the keys that an App has.
fn key_names(tx: &mut dyn Tx, app: AppId) -> Result<Vec<String>, DirectoryError> {
    exists(tx, app)?;
    let rows = tx.query("SELECT name FROM app_keys WHERE app_id = $1", &params![app.0])?;
    rows.iter().map(|row| row.text(0).map(str::to_owned)).collect()
}

fn exists(tx: &mut dyn Tx, app: AppId) -> Result<(), DirectoryError> {
    match tx.query("SELECT id FROM apps WHERE id = $1", &params![app.0])?.is_empty() {
        true => Err(DirectoryError::NoApp(app.0)),
        false => Ok(()),
    }
}

impl<E: Engine> AppStore for SqlDirectory<E> {
    fn apps_version(&self) -> Result<u64, DirectoryError> {
        self.read(version)
    }

    fn apps_state(&self) -> Result<AppsState, DirectoryError> {
        self.read(|tx| {
            let rows = tx.query("SELECT app_id, name, value FROM app_settings ORDER BY app_id, name", &[])?;
            let setting = |row: &Row| {
                Ok(SettingRow {
                    app: AppId(row.int(0)?),
                    name: row.text(1)?.to_owned(),
                    value: row.text(2)?.to_owned(),
                })
            };
            let settings = rows.iter().map(setting).collect::<Result<_, DirectoryError>>()?;
            Ok(AppsState { version: version(tx)?, apps: apps(tx)?, settings })
        })
    }

    fn add_app_key(&self, app: AppId, key: &AppKey, act: &Entry) -> Result<(), DirectoryError> {
        self.write(|tx| {
            let names = key_names(tx, app)?;
            if names.contains(&key.name) {
                return Err(DirectoryError::KeyExists(key.name.clone()));
            }
            if names.len() >= APP_KEYS_MAX {
                return Err(DirectoryError::TooManyKeys);
            }
            put_keys(tx, app, std::slice::from_ref(key))?;
            count_up(tx)?;
            audit::append(tx, std::slice::from_ref(act)).map(drop)
        })
    }

    fn withdraw_app_key(
        &self,
        app: AppId,
        name: &str,
        proved_from_s: u64,
        act: &Entry,
    ) -> Result<(), DirectoryError> {
        self.write(|tx| {
            let names = key_names(tx, app)?;
            if !names.iter().any(|known| known == name) {
                return Err(DirectoryError::NoKey(name.to_owned()));
            }
            if names.len() == 1 {
                return Err(DirectoryError::LastKey);
            }
            tx.execute("DELETE FROM app_keys WHERE app_id = $1 AND name = $2", &params![app.0, name])?;
            tx.execute(
                "UPDATE apps SET proved_from_s = $1 WHERE id = $2 AND proved_from_s < $1",
                &params![proved_from_s, app.0],
            )?;
            count_up(tx)?;
            audit::append(tx, std::slice::from_ref(act)).map(drop)
        })
    }

    fn set_app_settings(
        &self,
        app: AppId,
        changes: &[(&str, Option<&str>)],
        act: &Entry,
    ) -> Result<(), DirectoryError> {
        self.write(|tx| {
            exists(tx, app)?;
            let mut acts = Vec::with_capacity(changes.len());
            for (name, value) in changes {
                let before = tx.query(
                    "SELECT value FROM app_settings WHERE app_id = $1 AND name = $2",
                    &params![app.0, *name],
                )?;
                let before = before.first().map(|row| row.text(0)).transpose()?;
                acts.push(act.about_setting(name, before, *value));
                match value {
                    Some(value) => tx.execute(
                        "INSERT INTO app_settings (app_id, name, value) VALUES ($1, $2, $3)
                         ON CONFLICT (app_id, name) DO UPDATE SET value = $3",
                        &params![app.0, *name, *value],
                    )?,
                    None => tx.execute(
                        "DELETE FROM app_settings WHERE app_id = $1 AND name = $2",
                        &params![app.0, *name],
                    )?,
                };
            }
            count_up(tx)?;
            audit::append(tx, &acts).map(drop)
        })
    }
}
