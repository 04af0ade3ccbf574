//! `nearport backup`, `nearport restore`, `nearport store check`

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use clap::{Args, Subcommand};
use nearport_store::{FjallLedger, StoreLock, check_directory};
use serde_json::json;

use crate::backup::{self, Page};
use crate::cli::{Failure, SettingsArgs};
use crate::config::{Config, Engine};
use crate::control::{Answer, BackupOrder, ControlError, What};
use crate::control_server::ask;
use crate::first_run::Layout;

/// Copy ledger and directory to a new directory, also while the node serves.
#[derive(Debug, Args)]
pub(crate) struct Backup {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Where to: a directory that does not exist or is empty.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
}

/// Put a backup into a data directory without a store.
#[derive(Debug, Args)]
pub(crate) struct Restore {
    #[command(flatten)]
    settings: SettingsArgs,
    /// What `nearport backup` has made.
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
}

/// The store of a node that does not run.
#[derive(Debug, Subcommand)]
pub(crate) enum Store {
    /// Read everything and check that it makes sense; of a backup: --data BACKUP.
    Check(Check),
}

/// Flags of `store check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    #[command(flatten)]
    settings: SettingsArgs,
}

fn print(page: &Page) {
    println!("{}", json!({ "commit": page.commit, "messages": page.messages, "time_ms": page.time_ms }));
}

fn open(config: &Config, layout: &Layout) -> Result<FjallLedger, Failure> {
    let storage = &config.storage;
    if [storage.ledger, storage.directory] != [Engine::Embedded; 2] {
        return Err(Failure::usage(backup::NOT_EMBEDDED));
    }
    let mut options = nearport_store::Options::default();
    options.cache_bytes = config.store.cache_bytes;
    // A store that is looked at is not made.
    if !layout.ledger().exists() {
        return Err(Failure::usage(format!("{} has no store", layout.0.display())));
    }
    Ok(FjallLedger::open(&layout.ledger(), options)?)
}

impl Backup {
    /// Prints what the backup holds as one line of JSON.
    pub(crate) fn run(self) -> Result<(), Failure> {
        let config = self.settings.load()?.config;
        let layout = Layout(config.data.clone());
        let to = std::path::absolute(&self.to)?;
        if !layout.0.exists() {
            return Err(Failure::usage(format!("{} does not exist", layout.0.display())));
        }
        let page = match StoreLock::acquire(&config.data) {
            // Nobody serves: the copy is made here, and nobody can begin to meanwhile.
            Ok(_lock) => {
                let ledger = open(&config, &layout)?;
                backup::make(&ledger, &layout, &to, &AtomicBool::new(false)).map_err(anyhow::Error::msg)?
            }
            Err(_held) => {
                let channel = ask(&config.data, &What::Backup(BackupOrder { to }))?;
                // As long as it takes; if the node goes, the connection ends.
                match channel.recv_forever()?.0 {
                    Answer::BackedUp { page } => page,
                    Answer::Refused { reason } | Answer::Failed { reason } => {
                        return Err(anyhow::anyhow!(reason).into());
                    }
                    other => return Err(ControlError::Garbled(format!("{other:?}")).into()),
                }
            }
        };
        print(&page);
        Ok(())
    }
}

impl Restore {
    /// Prints what was restored as one line of JSON.
    pub(crate) fn run(self) -> Result<(), Failure> {
        let config = self.settings.load()?.config;
        let layout = Layout(config.data.clone());
        layout.make()?;
        let _lock = StoreLock::acquire(&config.data)?;
        let page = backup::restore(&self.from, &layout).map_err(anyhow::Error::msg)?;
        print(&page);
        Ok(())
    }
}

impl Store {
    pub(crate) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Check(check) => check.run(),
        }
    }
}

impl Check {
    /// Prints what was seen as one line of JSON, and what is wrong on the error output; exit code 1 if something is.
    fn run(self) -> Result<(), Failure> {
        let config = self.settings.load()?.config;
        let layout = Layout(config.data.clone());
        if !layout.0.exists() {
            return Err(Failure::usage(format!("{} does not exist", layout.0.display())));
        }
        let _lock = StoreLock::acquire(&config.data)?;
        let seen = open(&config, &layout)?.check()?;
        let directory = check_directory(&layout.directory())?;
        for problem in seen.told.iter().chain(&directory) {
            eprintln!("{problem}");
        }
        let problems = seen.problems + directory.len() as u64;
        println!(
            "{}",
            json!({
                "commit": seen.commit,
                "users": seen.users,
                "conversations": seen.conversations,
                "messages": seen.messages,
                "log_entries": seen.log_entries,
                "problems": problems,
            })
        );
        match problems {
            0 => Ok(()),
            problems => Err(anyhow::anyhow!("the store breaks {problems} rules").into()),
        }
    }
}
