//! The command line: what can be typed, and what the program says when it does not work.
//!
//! Data goes to stdout, everything else to stderr. Exit codes: 0 done, 1 it did not work, 2 the command makes no
//! sense, 78 the settings make no sense (`EX_CONFIG` of sysexits.h).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config_load::{self, Loaded, Sources};
use crate::{
    cli_app, cli_audit, cli_callbacks, cli_chat, cli_config, cli_doctor, cli_drain, cli_group, cli_import,
    cli_load, cli_locate_ip, cli_message, cli_openapi, cli_pop, cli_secret, cli_serve, cli_store, cli_trunk,
};

/// Read when it is there and no other file is named.
const CONFIG_FILE: &str = "nearport.toml";

#[derive(Debug, Parser)]
#[command(name = "nearport", version, about = "A self-hosted access network and chat service")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a node; the first start makes everything it needs.
    Serve(cli_serve::Serve),
    /// Apps: tenants with users and a key of their own.
    #[command(subcommand)]
    App(cli_app::App),
    /// The audit log: whether it is whole, and what it says.
    #[command(subcommand)]
    Audit(cli_audit::Audit),
    /// The secrets that the nodes of a cluster share.
    #[command(subcommand)]
    Secret(cli_secret::Secret),
    /// Certificates of the links between edges and their core.
    #[command(subcommand)]
    Trunk(cli_trunk::Trunk),
    /// Sign a UserSig, the pass that a user logs in with.
    Usersig(cli_app::UserSig),
    /// Chat in the terminal.
    Chat(cli_chat::Chat),
    /// Send one message; prints JSON once it is on the server's disk.
    Send(cli_message::Send),
    /// Receive what is new; prints one JSON line per message.
    Recv(cli_message::Recv),
    /// Groups: create, join, list, look at, change; prints JSON.
    Group(Box<cli_group::Group>),
    /// Copy ledger and directory to a new directory, also while the node serves.
    Backup(cli_store::Backup),
    /// Put a backup into a data directory without a store.
    Restore(cli_store::Restore),
    /// The store of a node that does not run.
    #[command(subcommand)]
    Store(cli_store::Store),
    /// Bring accounts, relations, groups, members and messages over from another system.
    Import(cli_import::Import),
    /// Print the OpenAPI document of the commands that back ends of Apps call.
    Openapi(cli_openapi::Openapi),
    /// Check, explain or print the settings.
    #[command(subcommand)]
    Config(cli_config::Config),
    /// Send the clients of the running node away, each in its turn; it stays up and takes no new ones.
    Drain(cli_drain::Drain),
    /// What the back ends of Apps could not be told.
    #[command(subcommand)]
    Callbacks(cli_callbacks::Callbacks),
    /// PoPs of the network: who is up, how full, and what is ordered.
    #[command(subcommand)]
    Pop(cli_pop::Pop),
    /// Look for what will keep a node from running well here.
    Doctor(cli_doctor::Doctor),
    /// Put load on a server and measure it.
    Load(Box<cli_load::Load>),
    /// Which PoP is best for whom.
    Locate(cli_locate_ip::Locate),
}

/// Flags that say where settings come from.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct SettingsArgs {
    /// Settings file [default: nearport.toml, if it is there].
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Data directory [default: data].
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// One setting, over the environment and the file; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = parse_set)]
    pub(crate) sets: Vec<(String, String)>,
}

fn parse_set(text: &str) -> Result<(String, String), String> {
    let (key, value) =
        text.split_once('=').ok_or("write KEY=VALUE, for example edge.listen=127.0.0.1:4433")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

impl SettingsArgs {
    /// Reads the file and the environment and merges all layers.
    pub(crate) fn load(&self) -> Result<Loaded, Failure> {
        let file = self.file()?;
        let env: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let mut flags = self.sets.clone();
        if let Some(data) = &self.data {
            flags.push(("data".to_owned(), data.to_string_lossy().into_owned()));
        }
        let file = file.as_ref().map(|(name, text)| (name.as_str(), text.as_str()));
        config_load::load(Sources { flags: &flags, env: &env, file }).map_err(Failure::config)
    }

    fn file(&self) -> Result<Option<(String, String)>, Failure> {
        let path = self.config.clone().unwrap_or_else(|| CONFIG_FILE.into());
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some((path.display().to_string(), text))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && self.config.is_none() => Ok(None),
            Err(error) => Err(Failure::config(format!("{}: {error}", path.display()))),
        }
    }
}

/// Why a command ends with an exit code other than 0.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    error: anyhow::Error,
}

impl Failure {
    /// Exit code 2.
    pub(crate) fn usage(message: impl std::fmt::Display) -> Self {
        Self { code: 2, error: anyhow::anyhow!("{message}") }
    }

    /// Exit code 78.
    pub(crate) fn config(message: impl std::fmt::Display) -> Self {
        Self { code: 78, error: anyhow::anyhow!("{message}") }
    }

    /// The reason with its causes, for a command that goes on.
    pub(crate) fn reason(&self) -> String {
        format!("{:#}", self.error)
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { code: 1, error: error.into() }
    }
}

/// Parses the command line, runs the command and turns its outcome into an exit code.
#[must_use]
pub fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve(command) => command.run(),
        Command::App(command) => command.run(),
        Command::Audit(command) => command.run(),
        Command::Secret(command) => command.run(),
        Command::Trunk(trunk) => trunk.run(),
        Command::Usersig(command) => command.run(),
        Command::Chat(command) => command.run(),
        Command::Send(command) => command.run(),
        Command::Recv(command) => command.run(),
        Command::Group(command) => command.run(),
        Command::Backup(command) => command.run(),
        Command::Restore(command) => command.run(),
        Command::Store(command) => command.run(),
        Command::Import(command) => command.run(),
        Command::Openapi(command) => command.run(),
        Command::Config(command) => command.run(),
        Command::Drain(command) => command.run(),
        Command::Callbacks(command) => command.run(),
        Command::Pop(command) => command.run(),
        Command::Doctor(command) => command.run(),
        Command::Load(command) => command.run(),
        Command::Locate(command) => command.run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("nearport: {:#}", failure.error);
            ExitCode::from(failure.code)
        }
    }
}

/// A runtime for one command: everything it does fits one thread.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_setting_needs_a_key_and_a_value() {
        assert_eq!(parse_set("a.b = c=d"), Ok(("a.b".into(), "c=d".into())));
        assert!(parse_set("a.b").is_err());
    }
}
