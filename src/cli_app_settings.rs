//! `nearport app set|unset|settings`: what an App has other than the files of settings say, also beside a running server.

use std::collections::BTreeMap;

use clap::Args;
use nearport_chat::admin::checked;
use nearport_chat::apps::{AppSettings, SETTINGS, canonical, shown};
use nearport_chat::directory::Directory;
use nearport_chat::key::AppId;
use serde_json::json;

use crate::cli::{Failure, SettingsArgs};
use crate::cli_app::{find, open};
use crate::cli_audit::act;
use crate::config::Config;

/// Set a setting of an App; servers have it in effect within a second.
#[derive(Debug, Args)]
pub(crate) struct Set {
    #[command(flatten)]
    settings: SettingsArgs,
    /// sdkappid.
    app: u32,
    /// Which, as `nearport app settings` lists them.
    key: String,
    /// As in a file of settings: true, 10, 5m, ["word"].
    value: String,
}

/// Have a setting of an App as the files of settings say again.
#[derive(Debug, Args)]
pub(crate) struct Unset {
    #[command(flatten)]
    settings: SettingsArgs,
    /// sdkappid.
    app: u32,
    /// Which.
    key: String,
}

/// One JSON line per setting of an App, with its value and where that is from; without an App what there is to set.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    #[command(flatten)]
    settings: SettingsArgs,
    /// sdkappid.
    app: Option<u32>,
}

impl Set {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let value = Some(self.value);
        change(&self.settings, self.app, self.key, value)
    }
}

impl Unset {
    pub(crate) fn run(self) -> Result<(), Failure> {
        change(&self.settings, self.app, self.key, None)
    }
}

fn change(settings: &SettingsArgs, app: u32, key: String, value: Option<String>) -> Result<(), Failure> {
    let changes = checked(&[(key, value)]).map_err(Failure::usage)?;
    let rows: Vec<_> = changes.iter().map(|(name, value)| (*name, value.as_deref())).collect();
    let (name, value) = rows[0];
    let directory = open(settings)?;
    let what = if value.is_some() { "app set" } else { "app unset" };
    directory.set_app_settings(AppId(app), &rows, &act(app, what))?;
    let config = settings.load()?.config;
    println!("{}", line(&config, &*directory, app, name)?);
    Ok(())
}

impl Settings {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let Some(app) = self.app else {
            let config = self.settings.load()?.config.backend();
            let defaults = AppSettings::of(&config);
            for setting in SETTINGS {
                let (value, takes) = (defaults.shown(setting), setting.kind.takes());
                let of_all =
                    json!({ "name": setting.name, "value": value, "takes": takes, "doc": setting.doc });
                println!("{of_all}");
            }
            return Ok(());
        };
        let directory = open(&self.settings)?;
        let config = self.settings.load()?.config;
        find(&*directory, app)?;
        for setting in SETTINGS {
            println!("{}", line(&config, &*directory, app, setting.name)?);
        }
        Ok(())
    }
}

/// A setting as it holds for servers with these files of settings.
fn line(
    config: &Config,
    directory: &dyn Directory,
    app: u32,
    name: &'static str,
) -> Result<serde_json::Value, Failure> {
    let live = own(directory, app)?;
    let config = config.backend();
    let file = config.apps.get(&app).into_iter().flatten();
    // One that another version of this program has written is not shown as if it counted.
    let live: Vec<_> = live.iter().filter(|(of, value)| canonical(of, value).is_ok()).collect();
    let origin = match name {
        _ if live.iter().any(|(of, _)| *of == name) => "live",
        _ if file.clone().any(|(of, _)| of == name) => "file",
        _ => "process",
    };
    let values = file.map(|(of, value)| (&**of, &**value));
    let values = values.chain(live.into_iter().map(|(of, value)| (&**of, &**value)));
    let (settings, wrong) = AppSettings::of(&config).with_own(values);
    if let Some(why) = wrong.into_iter().next() {
        return Err(Failure::config(why));
    }
    let setting = nearport_chat::apps::setting(name).map_err(Failure::usage)?;
    Ok(json!({ "name": name, "value": settings.shown(setting), "origin": origin }))
}

/// What an App has in the directory, as it is shown.
pub(crate) fn own_shown(directory: &dyn Directory, app: u32) -> Result<BTreeMap<String, String>, Failure> {
    let hide = |(name, value): (String, String)| {
        let value = shown(&name, &value).to_owned();
        (name, value)
    };
    Ok(own(directory, app)?.into_iter().map(hide).collect())
}

fn own(directory: &dyn Directory, app: u32) -> Result<BTreeMap<String, String>, Failure> {
    let rows = directory.apps_state()?.settings.into_iter().filter(|row| row.app == AppId(app));
    Ok(rows.map(|row| (row.name, row.value)).collect())
}
