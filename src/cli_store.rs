//! `nearport backup`, `nearport restore`, `nearport store check`, `nearport store copy`

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use nearport_store::{FjallLedger, StoreLock, TransferError, check_directory, copy_to_postgres};
use serde_json::{Map, json};

use crate::backup::{self, Page};
use crate::cli::{Failure, SettingsArgs};
use crate::config::{Config, Engine};
use crate::control::{Answer, BackupOrder, ControlError, What};
use crate::control_server::ask;
use crate::first_run::Layout;
use crate::node_storage;

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
    /// Move ledger and directory to PostgreSQL; started again, it goes on.
    Copy(Copy),
}

/// Flags of `store check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Flags of `store copy`.
#[derive(Debug, Args)]
pub(crate) struct Copy {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Where to: an empty database. Its password and CA may be in the settings: `storage.postgres.password_file` and `ca`.
    #[arg(long, value_name = "postgres://…")]
    to: String,
}

fn print(page: &Page) {
    println!("{}", json!({ "commit": page.commit, "messages": page.messages, "time_ms": page.time_ms }));
}

fn embedded(config: &Config) -> Result<(), Failure> {
    match [config.storage.ledger, config.storage.directory] {
        [Engine::Embedded, Engine::Embedded] => Ok(()),
        _ => Err(Failure::usage(backup::NOT_EMBEDDED)),
    }
}

fn open(config: &Config, layout: &Layout) -> Result<FjallLedger, Failure> {
    embedded(config)?;
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
        embedded(&config)?;
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
            Self::Copy(copy) => copy.run(),
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

/// Rests between lines of progress, beside one for each table.
const TELL: Duration = Duration::from_secs(1);

impl Copy {
    /// Prints what was copied as one line of JSON, and how far it is on the error output.
    fn run(self) -> Result<(), Failure> {
        let mut config = self.settings.load()?.config;
        let layout = Layout(config.data.clone());
        if !layout.0.exists() {
            return Err(Failure::usage(format!("{} does not exist", layout.0.display())));
        }
        let _lock = StoreLock::acquire(&config.data)?;
        let ledger = open(&config, &layout)?;
        if !layout.directory().exists() {
            return Err(Failure::usage(format!("{} has no directory", layout.0.display())));
        }
        config.storage.postgres.url = Some(self.to);
        let server = node_storage::server(&config).map_err(Failure::usage)?;
        // Idempotency keys and change logs are columns of messages there: only a sound store can be moved.
        eprintln!("checking the store");
        let problems = ledger.check()?.problems + check_directory(&layout.directory())?.len() as u64;
        if problems > 0 {
            return Err(anyhow::anyhow!("the store breaks {problems} rules, see nearport store check").into());
        }
        let mut told: Option<(String, bool, Instant)> = None;
        let done = copy_to_postgres(&ledger, &layout.directory(), &server, &mut |at| {
            let due = told.as_ref().is_none_or(|(table, verifying, when)| {
                (table.as_str(), *verifying) != (at.table, at.verifying) || when.elapsed() >= TELL
            });
            if due {
                let doing = if at.verifying { "verifying" } else { "copying" };
                eprintln!("{doing} {}: {} rows", at.table, at.rows);
                told = Some((at.table.to_owned(), at.verifying, Instant::now()));
            }
            true
        });
        let done = done.map_err(|error| match error {
            TransferError::Refused(reason) => Failure::usage(reason),
            other => other.into(),
        })?;
        let tables: Map<_, _> = done
            .tables
            .iter()
            .map(|moved| {
                let sum = format!("{:016x}", moved.checksum);
                (moved.table.clone(), json!({ "rows": moved.rows, "checksum": sum }))
            })
            .collect();
        let rows: u64 = done.tables.iter().map(|moved| moved.rows).sum();
        println!(
            "{}",
            json!({
                "commit": done.commit,
                "resumed": done.resumed,
                "rows": rows,
                "tables": tables,
                "verified": true,
            })
        );
        Ok(())
    }
}
