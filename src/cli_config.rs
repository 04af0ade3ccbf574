//! `nearport config`

use std::fmt::Write as _;

use clap::Subcommand;

use crate::cli::{Failure, SettingsArgs};
use crate::config::KEYS;
use crate::config_load::Loaded;

/// Check, explain or print the settings.
#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Say whether the settings can be used.
    Check(SettingsArgs),
    /// Every key, its value, where the value is from and what it is for.
    Explain(SettingsArgs),
    /// The settings in use, as a file.
    Print(SettingsArgs),
}

impl Config {
    pub(crate) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Check(settings) => {
                settings.load()?;
                eprintln!("the settings are good");
            }
            Self::Explain(settings) => print!("{}", explain(&settings.load()?)),
            Self::Print(settings) => print!("{}", toml::to_string(&settings.load()?.config)?),
        }
        Ok(())
    }
}

fn explain(loaded: &Loaded) -> String {
    let mut text = String::new();
    for key in KEYS {
        let value = loaded.value(key.name).unwrap_or_else(|| "(unset)".to_owned());
        let _ = writeln!(text, "{} = {value}", key.name);
        let _ = writeln!(text, "    {}\n    from: {}", key.doc, loaded.origin(key.name));
    }
    text
}
