//! Keys and settings of Apps, and the audit log.

use std::collections::BTreeMap;

use nearport_chat::audit::{Entry, Hash, Mark, Marks, Record, trimmed};
use nearport_chat::directory::{
    APP_KEYS_MAX, App, AppKey, AppStore, AppsState, AuditStore, DirectoryError, SettingRow,
};
use nearport_chat::key::AppId;

use super::MemoryDirectory;

#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) apps: BTreeMap<u32, App>,
    pub(super) version: u64,
    settings: BTreeMap<(u32, String), String>,
    audit: Vec<Record>,
    audit_fails: bool,
    marks: Marks,
}

impl Tables {
    fn append(&mut self, entries: &[Entry]) -> Mark {
        for entry in entries {
            let (record, head) = Record::next(&self.marks.head, entry);
            self.audit.push(record);
            self.marks.head = head;
        }
        self.marks.head
    }

    fn app(&mut self, app: AppId) -> Result<&mut App, DirectoryError> {
        self.apps.get_mut(&app.0).ok_or(DirectoryError::NoApp(app.0))
    }
}

impl AppStore for MemoryDirectory {
    fn apps_version(&self) -> Result<u64, DirectoryError> {
        Ok(self.tables().apps.version)
    }

    fn apps_state(&self) -> Result<AppsState, DirectoryError> {
        let tables = &self.tables().apps;
        let row = |((app, name), value): (&(u32, String), &String)| SettingRow {
            app: AppId(*app),
            name: name.clone(),
            value: value.clone(),
        };
        Ok(AppsState {
            version: tables.version,
            apps: tables.apps.values().cloned().collect(),
            settings: tables.settings.iter().map(row).collect(),
        })
    }

    fn add_app_key(&self, app: AppId, key: &AppKey, act: &Entry) -> Result<(), DirectoryError> {
        let tables = &mut self.tables().apps;
        let keys = &mut tables.app(app)?.keys;
        if keys.iter().any(|known| known.name == key.name) {
            return Err(DirectoryError::KeyExists(key.name.clone()));
        }
        if keys.len() >= APP_KEYS_MAX {
            return Err(DirectoryError::TooManyKeys);
        }
        keys.push(key.clone());
        keys.sort_by(|a, b| (a.created_ms, &a.name).cmp(&(b.created_ms, &b.name)));
        tables.version += 1;
        tables.append(std::slice::from_ref(act));
        Ok(())
    }

    fn withdraw_app_key(
        &self,
        app: AppId,
        name: &str,
        proved_from_s: u64,
        act: &Entry,
    ) -> Result<(), DirectoryError> {
        let tables = &mut self.tables().apps;
        let app = tables.app(app)?;
        if !app.keys.iter().any(|known| known.name == name) {
            return Err(DirectoryError::NoKey(name.to_owned()));
        }
        if app.keys.len() == 1 {
            return Err(DirectoryError::LastKey);
        }
        app.keys.retain(|known| known.name != name);
        app.proved_from_s = app.proved_from_s.max(proved_from_s);
        tables.version += 1;
        tables.append(std::slice::from_ref(act));
        Ok(())
    }

    fn set_app_settings(
        &self,
        app: AppId,
        changes: &[(&str, Option<&str>)],
        act: &Entry,
    ) -> Result<(), DirectoryError> {
        let tables = &mut self.tables().apps;
        tables.app(app)?;
        let mut acts = Vec::with_capacity(changes.len());
        for (name, value) in changes {
            let key = (app.0, (*name).to_owned());
            let before = match value {
                Some(value) => tables.settings.insert(key, (*value).to_owned()),
                None => tables.settings.remove(&key),
            };
            acts.push(act.about_setting(name, before.as_deref(), *value));
        }
        tables.version += 1;
        tables.append(&acts);
        Ok(())
    }
}

impl MemoryDirectory {
    /// Whether records of the audit log are refused from now on, as on a full disk.
    pub fn fail_audit(&self, fails: bool) {
        self.tables().apps.audit_fails = fails;
    }
}

impl AuditStore for MemoryDirectory {
    fn audit_append(&self, entries: &[Entry]) -> Result<Mark, DirectoryError> {
        let tables = &mut self.tables().apps;
        match tables.audit_fails {
            true => Err(DirectoryError::Full("no room for the audit log".to_owned())),
            false => Ok(tables.append(entries)),
        }
    }

    fn audit_marks(&self) -> Result<Marks, DirectoryError> {
        Ok(self.tables().apps.marks)
    }

    fn audit_read(&self, after: u64, limit: usize) -> Result<Vec<Record>, DirectoryError> {
        let tables = &self.tables().apps;
        Ok(tables.audit.iter().filter(|record| record.seq > after).take(limit).cloned().collect())
    }

    fn audit_trim(&self, seq: u64, act: &Entry) -> Result<(), DirectoryError> {
        let tables = &mut self.tables().apps;
        let Some(last) = tables.audit.iter().find(|record| record.seq == seq) else { return Ok(()) };
        let floor = Mark { seq, hash: Hash::read(&last.hash).unwrap_or_default() };
        tables.audit.retain(|record| record.seq > seq);
        tables.marks.floor = floor;
        tables.append(&[trimmed(act, &floor)]);
        Ok(())
    }
}
