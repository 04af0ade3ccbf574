//! Settings of the App that a back end speaks for, and the audit log.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::{Admin, Asker};
use crate::apps::{
    AppSettings, CALLBACK_SIGN, CALLBACK_TOKEN, CALLBACK_URL, SETTINGS, Shown, canonical, setting,
};
use crate::audit::Entry;
use crate::audit::log::AuditLog;
use crate::directory::DirectoryError;
use crate::key::AppId;
use crate::reply::Failure;

/// A setting or its value is wrong.
const BAD_SETTING: u32 = 60003;
/// The setting is the operator's.
const NOT_YOURS: u32 = 60010;
/// The store does not answer.
const INTERNAL: u32 = 60008;

impl Admin {
    /// What holds for an App now.
    #[must_use]
    pub fn settings(&self, app: AppId) -> Arc<AppSettings> {
        self.shared.settings(app)
    }

    /// Whether an App of this id was there when Apps were read last.
    #[must_use]
    pub fn knows(&self, app: u32) -> bool {
        self.shared.apps.knows(app)
    }

    /// The audit log.
    #[must_use]
    pub fn audit(&self) -> &Arc<AuditLog> {
        &self.shared.audit
    }

    /// All settings of an App, with where each is from. Blocks for a look into the directory.
    ///
    /// # Errors
    /// 60008.
    pub fn app_settings(&self, app: AppId) -> Result<Vec<Shown>, Failure> {
        self.shared.apps.poll(self.now_ms());
        let live = live(self, app)?;
        Ok(self.shared.apps.shown(app, &live))
    }

    /// Sets (`Some`) or unsets (`None`) settings of the App, all or none: in effect here when it returns, and wherever else the
    /// directory is read within a second. Blocks for a transaction.
    ///
    /// # Errors
    /// 60003 with what is wrong and what is taken, 60010 for what only the operator sets, 60008. Then nothing has changed.
    pub fn set_app_settings(
        &self,
        asker: &Asker,
        peer: IpAddr,
        changes: &[(String, Option<String>)],
    ) -> Result<Vec<Shown>, Failure> {
        for (name, _) in changes {
            let setting = setting(name).map_err(|why| Failure::new(BAD_SETTING, why))?;
            if !setting.by_app {
                let info = format!("{name}: only the operator sets it, by `nearport app set`");
                return Err(Failure::new(NOT_YOURS, info));
            }
        }
        let changes = checked(changes).map_err(|why| Failure::new(BAD_SETTING, why))?;
        if changes.iter().any(|(name, _)| *name == CALLBACK_URL) {
            let new = self.shared.apps.changed(asker.app, &live(self, asker.app)?, &changes);
            if new.callback().is_refused() {
                let info = format!(
                    "{CALLBACK_URL}: its address is not public, and only the operator permits such (callback.allow_private): \
                     nothing was changed"
                );
                return Err(Failure::new(BAD_SETTING, info));
            }
        }
        let act = Entry {
            time_ms: self.now_ms(),
            app: asker.app.0,
            who: asker.admin.to_string(),
            from: peer.to_string(),
            act: "app set".to_owned(),
            ..Entry::default()
        };
        let rows: Vec<_> = changes.iter().map(|(name, value)| (*name, value.as_deref())).collect();
        self.shared.directory.set_app_settings(asker.app, &rows, &act).map_err(unread)?;
        self.app_settings(asker.app)
    }
}

impl Admin {
    /// The token that the App's back end is told by, if it is the App's own; that of all Apps is the operator's. Blocks for a look into the
    /// directory.
    ///
    /// # Errors
    /// 60008.
    pub fn callback_token(&self, app: AppId) -> Result<String, Failure> {
        let own = live(self, app)?.remove(CALLBACK_TOKEN);
        Ok(own.or_else(|| self.shared.apps.in_file(app, CALLBACK_TOKEN)).unwrap_or_default())
    }

    /// Sets the token, and whether requests are signed with it. As [`Self::set_app_settings`].
    ///
    /// # Errors
    /// Those.
    pub fn set_callback_token(
        &self,
        asker: &Asker,
        peer: IpAddr,
        token: String,
        sign: bool,
    ) -> Result<(), Failure> {
        let changes = [(CALLBACK_TOKEN, token), (CALLBACK_SIGN, sign.to_string())];
        let changes = changes.map(|(name, value)| (name.to_owned(), Some(value)));
        self.set_app_settings(asker, peer, &changes).map(drop)
    }
}

fn live(admin: &Admin, app: AppId) -> Result<BTreeMap<String, String>, Failure> {
    let state = admin.shared.directory.apps_state().map_err(unread)?;
    let own = state.settings.into_iter().filter(|row| row.app == app);
    Ok(own.map(|row| (row.name, row.value)).collect())
}

fn unread(error: DirectoryError) -> Failure {
    match error {
        DirectoryError::NoApp(app) => Failure::new(BAD_SETTING, format!("app {app} does not exist")),
        error => {
            tracing::error!(%error, "settings of an app");
            Failure::later(INTERNAL, "the store does not answer, try again", 1000)
        }
    }
}

/// Changes in the form that is stored, with the names of the table.
///
/// # Errors
/// The first thing that is wrong.
pub fn checked(changes: &[(String, Option<String>)]) -> Result<Vec<(&'static str, Option<String>)>, String> {
    if changes.is_empty() || changes.len() > SETTINGS.len() {
        return Err(format!("name 1 to {} settings", SETTINGS.len()));
    }
    let mut checked: Vec<(&'static str, Option<String>)> = Vec::with_capacity(changes.len());
    for (name, value) in changes {
        let known = setting(name)?.name;
        if checked.iter().any(|(other, _)| *other == known) {
            return Err(format!("{name}: it stands twice"));
        }
        checked.push((known, value.as_deref().map(|value| canonical(known, value)).transpose()?));
    }
    Ok(checked)
}
