//! `nearport drain`

use std::time::Duration;

use clap::Args;

use crate::cli::{Failure, SettingsArgs};
use crate::control::{DrainOrder, What};
use crate::control_server::ask;
use crate::{duration, node_drain};

/// Send the clients of the running node away, each in its turn; it stays up and takes no new ones.
#[derive(Debug, Args)]
pub(crate) struct Drain {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Time for the clients; what is left then is closed [default: drain.within].
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    within: Option<Duration>,
    /// Where clients are to go, best first [default: drain.targets; none: they come back here].
    #[arg(long = "target", value_name = "IP:PORT[/NAME]", value_parser = checked)]
    targets: Vec<String>,
    /// End the process when it is empty.
    #[arg(long)]
    exit: bool,
    /// Take clients again after a drain.
    #[arg(long, conflicts_with_all = ["within", "targets", "exit"])]
    undo: bool,
}

fn checked(text: &str) -> Result<String, String> {
    node_drain::target(text).map(|_| text.to_owned())
}

impl Drain {
    /// Exit code 1 if sessions did not leave in time and were closed.
    pub(crate) fn run(self) -> Result<(), Failure> {
        let config = self.settings.load()?.config;
        let what = if self.undo {
            What::Undrain
        } else {
            let within_ms = self.within.map(|within| u64::try_from(within.as_millis()).unwrap_or(u64::MAX));
            What::Drain(DrainOrder { within_ms, targets: self.targets, exit: self.exit })
        };
        let channel = ask(&config.data, &what)?;
        let mut last = None;
        let sessions = node_drain::follow(&channel, |sessions| {
            if last.replace(sessions) != Some(sessions) {
                eprintln!("{sessions} sessions left");
            }
        })?;
        match (self.undo, sessions) {
            (true, _) => eprintln!("the node takes clients again ({sessions} sessions)"),
            (false, 0) => eprintln!("drained: every client has left"),
            (false, closed) => {
                return Err(anyhow::anyhow!("{closed} sessions did not leave in time and were closed").into());
            }
        }
        Ok(())
    }
}
