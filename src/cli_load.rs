//! `nearport load`

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use nearport_load::{Credentials, Error, Options, Pattern, Progress, Scenario, Transport};
use nearport_store::{LockError, StoreLock};

use crate::cli::Failure;
use crate::cli_app;
use crate::cli_client::{Access, AccessArgs};
use crate::duration;

/// Longer than any run.
const USERSIG_LIFE: Duration = Duration::from_hours(24);

/// Put load on a server and measure it: a table on stderr, JSON where --json says.
///
/// Exit code 0 only if nothing was lost, duplicated, reordered or failed.
#[derive(Debug, Args)]
pub(crate) struct Load {
    /// connect, idle, echo or chat.
    scenario: Scenario,
    #[command(flatten)]
    access: AccessArgs,
    /// Clients, each with its own connection and user.
    #[arg(long)]
    connections: Option<u32>,
    /// Messages per second over all clients.
    #[arg(long)]
    rate: Option<u32>,
    /// Length of the measured window.
    #[arg(long, value_parser = duration::parse)]
    duration: Option<Duration>,
    /// Sending before the window begins.
    #[arg(long, value_parser = duration::parse)]
    warmup: Option<Duration>,
    /// Length of a message's text in bytes.
    #[arg(long)]
    message_bytes: Option<usize>,
    /// Evenly spaced messages instead of random arrivals.
    #[arg(long)]
    fixed: bool,
    /// How clients connect.
    #[arg(long, default_value_t = Transport::Quic)]
    transport: Transport,
    /// Process whose CPU time and memory are reported [default: the local server's, if --data has one].
    #[arg(long)]
    server_pid: Option<u32>,
    /// Write the report as one JSON object to a file, or to stdout with `-`.
    #[arg(long, value_name = "FILE|-")]
    json: Option<PathBuf>,
    /// Write the report as a page.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

impl Load {
    pub(crate) fn run(self) -> Result<(), Failure> {
        if self.html.is_some() {
            return Err(Failure::usage("--html is not available yet: use --json"));
        }
        let access = self.access.clone().resolve()?;
        let options = self.options(&access);
        options.check().map_err(Failure::usage)?;
        let credentials = credentials(access)?;
        let to_stdout = self.json.as_ref().is_some_and(|path| path.as_os_str() == "-");
        let progress = if to_stdout { Progress::hidden() } else { Progress::terminal() };
        let report = nearport_load::run(&options, credentials, &progress).map_err(|error| match error {
            Error::Options(_) => Failure::usage(error),
            other => other.into(),
        })?;
        eprint!("{}", report.table());
        let json = report.to_json();
        match &self.json {
            Some(_) if to_stdout => {
                let mut stdout = std::io::stdout().lock();
                writeln!(stdout, "{json}").and_then(|()| stdout.flush()).context("cannot write to stdout")?;
            }
            Some(path) => {
                std::fs::write(path, format!("{json}\n")).with_context(|| path.display().to_string())?;
            }
            None => {}
        }
        if report.is_clean() { Ok(()) } else { Err(anyhow::anyhow!("the run was not clean").into()) }
    }

    fn options(&self, access: &Access) -> Options {
        let mut options = Options::new(self.scenario);
        options.transport = self.transport;
        options.connections = self.connections.unwrap_or(options.connections);
        options.rate = self.rate.unwrap_or(options.rate);
        options.duration = self.duration.unwrap_or(options.duration);
        options.warmup = self.warmup.unwrap_or(options.warmup);
        options.message_bytes = self.message_bytes.unwrap_or(options.message_bytes);
        options.pattern = if self.fixed { Pattern::Fixed } else { options.pattern };
        options.server_pid = self.server_pid.or_else(|| local_server(access));
        options.commit = option_env!("NEARPORT_COMMIT").map(str::to_owned);
        options
    }
}

/// The server of the data directory, if it is the one that the load goes to and it runs.
fn local_server(access: &Access) -> Option<u32> {
    let run = access.layout.read_run_file().ok().flatten()?;
    let held = matches!(StoreLock::acquire(&access.layout.0), Err(LockError::Held { pid, .. }) if pid == Some(run.pid));
    (held && run.edge.port() == access.addr.port() && access.addr.ip().is_loopback()).then_some(run.pid)
}

fn credentials(access: Access) -> Result<Credentials, Failure> {
    let (app, key) = (access.app, access.key()?);
    Ok(Credentials {
        server: access.addr,
        server_name: access.name,
        ca_pem: access.ca_pem,
        app,
        usersig: Box::new(move |user| cli_app::sign_now(app, &key, user, USERSIG_LIFE)),
    })
}
