//! `nearport callbacks`: what the back ends of Apps could not be told, as the running node has it.

use std::io::Write as _;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::cli::{Failure, SettingsArgs};
use crate::control::{Answer, ControlError, What};
use crate::control_server::{SOCKET_FILE, ask_at};
use crate::node_callback::{Order, Replay, Row};

/// How long the node may take for one page.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the back ends of Apps could not be told.
#[derive(Debug, Subcommand)]
pub(crate) enum Callbacks {
    /// Show what was given up, or what waits; one line of JSON each.
    List(List),
    /// Have what was given up told again; shows it as `list` does.
    Replay(Again),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Of this App only.
    #[arg(long)]
    app: Option<u32>,
    /// What waits to be told, instead of what was given up.
    #[arg(long)]
    waiting: bool,
    /// At most so many.
    #[arg(long, default_value_t = 1000)]
    limit: usize,
    #[command(flatten)]
    settings: SettingsArgs,
}

#[derive(Debug, Args)]
pub(crate) struct Again {
    /// Of this App only; needed with numbers, which every App has of its own.
    #[arg(long, required_unless_present = "all")]
    app: Option<u32>,
    /// All.
    #[arg(long, conflicts_with = "numbers", required_unless_present = "numbers")]
    all: bool,
    /// Those with these numbers, as `list` shows them.
    numbers: Vec<u64>,
    #[command(flatten)]
    settings: SettingsArgs,
}

impl Callbacks {
    pub(crate) fn run(self) -> Result<(), Failure> {
        match self {
            Self::List(List { app, waiting, limit, settings }) => {
                walk(&settings, Order { app, waiting, after: 0, after_app: 0, replay: None }, limit)
            }
            Self::Replay(Again { app, all, numbers, settings }) => {
                let replay = if all { Replay::All } else { Replay::Numbers(numbers) };
                let order = Order { app, waiting: false, after: 0, after_app: 0, replay: Some(replay) };
                walk(&settings, order, usize::MAX)
            }
        }
    }
}

/// Asks page by page and prints the rows.
fn walk(settings: &SettingsArgs, mut order: Order, limit: usize) -> Result<(), Failure> {
    let config = settings.load()?.config;
    let mut left = limit;
    let mut out = std::io::stdout().lock();
    loop {
        let channel = ask_at(&config.data, SOCKET_FILE, &What::Callbacks(order.clone()))?;
        let rows = match channel.answer(PATIENCE)?.0 {
            Answer::Callbacks { rows } => rows,
            other => return Err(ControlError::Garbled(format!("{other:?}")).into()),
        };
        let Some(Row { app, number, .. }) = rows.last() else { return Ok(()) };
        (order.after_app, order.after) = (*app, *number);
        for row in rows.iter().take(left) {
            writeln!(out, "{}", serde_json::to_string(row)?)?;
        }
        left = left.saturating_sub(rows.len());
        if left == 0 {
            return Ok(());
        }
    }
}
