//! `nearport secret`: the secrets that a cluster's nodes share.

use clap::Subcommand;
use serde_json::json;

use crate::cli::{Failure, SettingsArgs};
use crate::first_run::Layout;

/// The cluster's secrets, from which connection ids, tickets and tokens are made.
#[derive(Debug, Subcommand)]
pub(crate) enum Secret {
    /// One JSON line per secret in use: its epoch and a fingerprint, never the secret.
    Show(SettingsArgs),
    /// Add a secret in a new epoch; sessions go on, and tokens of the epoch before stay good until the next rotation.
    Rotate(SettingsArgs),
}

impl Secret {
    pub(crate) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Show(settings) => {
                let layout = Layout(settings.load()?.config.data);
                if !layout.secret_file().exists() {
                    let path = layout.secret_file();
                    return Err(anyhow::anyhow!(
                        "there is no {}: start `nearport serve` first",
                        path.display()
                    )
                    .into());
                }
                show(&layout)
            }
            Self::Rotate(settings) => {
                let layout = Layout(settings.load()?.config.data);
                layout.make()?;
                layout.rotate_secret()?;
                show(&layout)?;
                let path = layout.secret_file();
                eprintln!(
                    "copy {} to every node of the cluster, then send SIGHUP to each server",
                    path.display()
                );
                Ok(())
            }
        }
    }
}

fn show(layout: &Layout) -> Result<(), Failure> {
    let file = layout.secret()?;
    for (at, (epoch, fingerprint)) in file.ring()?.fingerprints().enumerate() {
        let used = if at == 0 { "current" } else { "previous" };
        println!("{}", json!({ "epoch": epoch, "fingerprint": fingerprint, "use": used }));
    }
    if file.ignored() > 0 {
        eprintln!("{} older secrets in the file are ignored: the last two count", file.ignored());
    }
    Ok(())
}
