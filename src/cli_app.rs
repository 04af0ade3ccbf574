//! `nearport app` and `nearport usersig`: what an operator does with Apps, beside a running server or without one.

use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use nearport_chat::directory::{self, Directory};
use nearport_chat::key::{AppId, UserKey};
use nearport_chat::usersig::sign_v2;
use serde_json::json;

use crate::cli::{Failure, SettingsArgs};
use crate::config::{Config, Engine};
use crate::first_run::{self, FIRST_APP, Layout};
use crate::node_storage::Storage;
use crate::{cli_app_keys, cli_app_settings, cli_audit, duration, node};

/// Apps: tenants with users and a key of their own.
#[derive(Debug, Subcommand)]
pub(crate) enum App {
    /// Make an App with a new key; prints it as JSON. A running server knows it at once.
    Create(Create),
    /// One JSON line per App, without keys.
    List(SettingsArgs),
    /// One App as JSON, with its keys and the settings that it has of its own.
    Show(Show),
    /// Keys, two at most: add one, change over, withdraw the other.
    #[command(subcommand)]
    Key(cli_app_keys::Key),
    /// Set a setting of an App; servers have it in effect within a second.
    Set(cli_app_settings::Set),
    /// Have a setting of an App as the files of settings say again.
    Unset(cli_app_settings::Unset),
    /// Settings of an App, or all that there are to set.
    Settings(cli_app_settings::Settings),
}

/// Make an App.
#[derive(Debug, Args)]
pub(crate) struct Create {
    #[command(flatten)]
    settings: SettingsArgs,
    /// sdkappid, 1 to 4294967295 [default: the next free one from 1400000000].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    id: Option<u32>,
    /// A name for people.
    #[arg(long, default_value = "")]
    name: String,
}

/// Show an App.
#[derive(Debug, Args)]
pub(crate) struct Show {
    #[command(flatten)]
    settings: SettingsArgs,
    /// sdkappid.
    app: u32,
}

impl App {
    pub(crate) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Create(create) => create.run(),
            Self::List(settings) => {
                for app in open(&settings)?.apps()? {
                    println!("{}", describe(&app, false));
                }
                Ok(())
            }
            Self::Show(show) => {
                let directory = open(&show.settings)?;
                let mut shown = describe(&find(&*directory, show.app)?, true);
                shown["settings"] = json!(cli_app_settings::own_shown(&*directory, show.app)?);
                println!("{shown}");
                Ok(())
            }
            Self::Key(key) => key.run(),
            Self::Set(set) => set.run(),
            Self::Unset(unset) => unset.run(),
            Self::Settings(settings) => settings.run(),
        }
    }
}

impl Create {
    fn run(self) -> Result<(), Failure> {
        let directory = open(&self.settings)?;
        let taken: Vec<u32> = directory.apps()?.iter().map(|app| app.id.0).collect();
        let next = (FIRST_APP..=u32::MAX).find(|id| !taken.contains(id));
        let id = self
            .id
            .or(next)
            .ok_or_else(|| anyhow::anyhow!("no free id from {FIRST_APP}: give one with --id"))?;
        let app = first_run::new_app(id, &self.name, node::now_ms())?;
        directory.create_app(&app)?;
        directory.audit_append(&[cli_audit::act(id, "app create").with("name", &*app.name)])?;
        println!("{}", describe(&app, true));
        Ok(())
    }
}

/// The directory of Apps; made if there is none, as `serve` does. Both engines let a server use it at the same time.
pub(crate) fn open(settings: &SettingsArgs) -> Result<Arc<dyn Directory>, Failure> {
    let config = settings.load()?.config;
    Layout(config.data.clone()).make()?;
    Ok(Storage::directory_of(&config)?)
}

/// An App that exists.
pub(crate) fn find(directory: &dyn Directory, app: u32) -> Result<directory::App, Failure> {
    let found = directory.apps()?.into_iter().find(|known| known.id == AppId(app));
    found.ok_or_else(|| anyhow::anyhow!("app {app} does not exist").into())
}

fn describe(app: &directory::App, with_key: bool) -> serde_json::Value {
    let mut object = json!({
        "app": app.id.0,
        "name": app.name,
        "admins": app.admins,
        "disabled": app.disabled,
        "created_ms": app.created_ms,
    });
    if with_key {
        object["key"] = app.secret().into();
        object["settings"] = json!({});
        object["keys"] = app.keys.iter().map(|key| cli_app_keys::described(key, true)).collect();
    }
    object
}

/// Sign a UserSig, the pass that a user logs in with.
#[derive(Debug, Args)]
pub(crate) struct UserSig {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Whom it is for.
    #[arg(long)]
    user: String,
    /// sdkappid [default: the App in client.toml].
    #[arg(long)]
    app: Option<u32>,
    /// How long it is good.
    #[arg(long, default_value = "180d", value_parser = duration::parse)]
    expire: Duration,
    /// Sign with this key [default: the App's, from the data directory].
    #[arg(long)]
    key: Option<String>,
}

impl UserSig {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let config = self.settings.load()?.config;
        let layout = Layout(config.data.clone());
        let file = layout.read_client_file()?;
        let app = self.app.or_else(|| file.as_ref().map(|file| file.app));
        let app = app.ok_or_else(|| Failure::usage(no_client_file(&layout, "--app")))?;
        let key = match self.key {
            Some(key) => key,
            None => key_of(&config, app)?,
        };
        println!("{}", sign(app, &key, &self.user, self.expire)?);
        Ok(())
    }
}

/// Signs with the clock of this machine.
pub(crate) fn sign(app: u32, key: &str, user: &str, expire: Duration) -> Result<String, Failure> {
    UserKey::new(AppId(app), user).map_err(|error| Failure::usage(format!("user `{user}`: {error}")))?;
    if expire.as_secs() == 0 {
        return Err(Failure::usage(
            "a UserSig that expires at once helps nobody: --expire must be at least 1s",
        ));
    }
    Ok(sign_now(app, key, user, expire))
}

/// As [`sign`], for names that are known to be good.
pub(crate) fn sign_now(app: u32, key: &str, user: &str, expire: Duration) -> String {
    sign_v2(key, app, user, node::now_ms() / 1000, expire.as_secs(), None)
}

/// The secret of an App: from `client.toml`, or from the directory.
pub(crate) fn key_of(config: &Config, app: u32) -> Result<String, Failure> {
    let layout = Layout(config.data.clone());
    let file = layout.read_client_file()?;
    if let Some(key) = file.filter(|file| file.app == app).and_then(|file| file.key) {
        return Ok(key);
    }
    // An embedded directory that is looked into is not made.
    let there = config.storage.directory == Engine::Postgres || layout.directory().exists();
    let apps = if there { Storage::directory_of(config)?.apps()? } else { Vec::new() };
    let found = apps
        .into_iter()
        .find(|known| known.id == AppId(app))
        .and_then(|known| known.secret().map(str::to_owned));
    found.ok_or_else(|| {
        anyhow::anyhow!("no key of app {app} in {}: give it with --key", layout.0.display()).into()
    })
}

pub(crate) fn no_client_file(layout: &Layout, flags: &str) -> String {
    format!("there is no {}: start `nearport serve` first, or give {flags}", layout.client_file().display())
}
