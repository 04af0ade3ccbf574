//! `nearport app key`: the keys that UserSigs of an App are checked against, two at most, so that a new one takes its place before the
//! old one goes.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use nearport_chat::directory::{App, AppKey, Directory, KEY_NAME_BYTES_MAX};
use nearport_chat::key::AppId;
use nearport_chat::usersig::PublicKey;
use serde_json::json;

use crate::cli::{Failure, SettingsArgs};
use crate::cli_app::{find, open};
use crate::cli_audit::act;
use crate::config::Config;
use crate::first_run::{self, Layout};
use crate::node;

/// How long a running server may take to hear of a withdrawn key, seconds, with room for clocks that differ: what was proved until
/// then is proved again.
const HEARD_S: u64 = 5;

/// Keys of an App.
#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Add a key, by default a new secret, which is printed; servers take UserSigs by it within a second.
    Add(Add),
    /// One JSON line per key, without secrets (`app show` has them).
    List(Of),
    /// Take a key away: UserSigs by it are refused within a second, at logins, on REST calls and where a resume token stands for one.
    Withdraw(Withdraw),
}

/// Of which App.
#[derive(Debug, Args)]
pub(crate) struct Of {
    #[command(flatten)]
    settings: SettingsArgs,
    /// sdkappid.
    app: u32,
}

/// A new key.
#[derive(Debug, Args)]
pub(crate) struct Add {
    #[command(flatten)]
    of: Of,
    /// A name for it, of this App's own.
    #[arg(value_parser = checked_name)]
    name: String,
    /// A public key on P-256 in PEM instead of a secret, for UserSigs of version 1.
    #[arg(long, value_name = "FILE", conflicts_with = "secret_file")]
    public_key: Option<PathBuf>,
    /// Take the secret from this file instead of making one: the text of its first line.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
}

/// A key to take away.
#[derive(Debug, Args)]
pub(crate) struct Withdraw {
    #[command(flatten)]
    of: Of,
    /// Its name.
    name: String,
}

fn checked_name(name: &str) -> Result<String, String> {
    match name.len() {
        1..=KEY_NAME_BYTES_MAX if !name.chars().any(char::is_control) => Ok(name.to_owned()),
        _ => Err(format!(
            "a name of a key has 1 to {KEY_NAME_BYTES_MAX} bytes, none of them control characters"
        )),
    }
}

impl Key {
    pub(crate) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Add(add) => add.run(),
            Self::List(of) => {
                for key in find(&*open(&of.settings)?, of.app)?.keys {
                    println!("{}", described(&key, false));
                }
                Ok(())
            }
            Self::Withdraw(withdraw) => withdraw.run(),
        }
    }
}

impl Add {
    fn run(self) -> Result<(), Failure> {
        let directory = open(&self.of.settings)?;
        let now_ms = node::now_ms();
        let key = match (&self.public_key, &self.secret_file) {
            (Some(path), _) => {
                let pem = read(path)?;
                PublicKey::from_pem(&pem)
                    .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
                AppKey::ecdsa(&self.name, pem, now_ms)
            }
            (None, Some(path)) => {
                let text = read(path)?;
                let secret = text.lines().next().unwrap_or_default().trim();
                // Whoever guesses it signs for everybody.
                if !(16..=256).contains(&secret.len()) {
                    let why = "its first line has to be a secret of 16 to 256 bytes";
                    return Err(Failure::usage(format!("{}: {why}", path.display())));
                }
                AppKey::hmac(&self.name, secret, now_ms)
            }
            (None, None) => AppKey::hmac(&self.name, first_run::new_secret()?, now_ms),
        };
        let entry = act(self.of.app, "app key add").with("key", &*key.name).with("kind", key.kind.name());
        directory.add_app_key(AppId(self.of.app), &key, &entry)?;
        println!("{}", described(&key, true));
        Ok(())
    }
}

impl Withdraw {
    fn run(self) -> Result<(), Failure> {
        let directory = open(&self.of.settings)?;
        let before = find(&*directory, self.of.app)?;
        let entry = act(self.of.app, "app key withdraw").with("key", &*self.name);
        let proved_from_s = node::now_ms() / 1000 + HEARD_S;
        directory.withdraw_app_key(AppId(self.of.app), &self.name, proved_from_s, &entry)?;
        let config = self.of.settings.load()?.config;
        renew_client_file(&config, &*directory, &before)?;
        eprintln!(
            "withdrawn; sessions that are online stay until they end: `im_open_login_svc/kick` ends those of a user"
        );
        Ok(())
    }
}

/// Commands of this directory sign by the key in `client.toml`: if that was withdrawn, the one that is left takes its place.
fn renew_client_file(config: &Config, directory: &dyn Directory, before: &App) -> Result<(), Failure> {
    let layout = Layout(config.data.clone());
    let Some(mut file) = layout.read_client_file()?.filter(|file| file.app == before.id.0) else {
        return Ok(());
    };
    let now = find(directory, before.id.0)?;
    let known = |app: &App| app.keys.iter().any(|key| Some(&key.material) == file.key.as_ref());
    if known(before) && !known(&now) {
        file.key = now.secret().map(str::to_owned);
        layout.write_client_file(&file)?;
    }
    Ok(())
}

fn read(path: &std::path::Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
}

/// A key as JSON.
pub(crate) fn described(key: &AppKey, with_material: bool) -> serde_json::Value {
    let mut object = json!({ "name": key.name, "kind": key.kind.name(), "created_ms": key.created_ms });
    if with_material {
        object["key"] = key.material.clone().into();
    }
    object
}
