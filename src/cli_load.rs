//! `nearport load`

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use nearport_client::NetworkConfig;
use nearport_load::{
    Credentials, Error, LiveClass, Options, Pattern, Progress, RebindBy, Scenario, Spec, Transport, Tuned,
};
use nearport_store::{LockError, StoreLock};

use crate::cli::Failure;
use crate::cli_app;
use crate::cli_client::{Access, AccessArgs};
use crate::cli_serve::raise_descriptor_limit;
use crate::duration;
use crate::first_run::RunFile;

/// Longer than any run.
const USERSIG_LIFE: Duration = Duration::from_hours(24);

const IMPAIR_HELP: &str = "\
A bad network for UDP: the clients go through a relay in this process. A profile (clean, loss2, loss10, burst20, 3g, \
udp-blackhole, udp-cut, rebind10, outage60, mtu, reorder25), words, or a profile and words that change it, separated by commas:

  loss=2%            each datagram on its own     burst=20%/5       share lost in bursts, packets per burst
  delay=50ms         one way                      jitter=10ms       more, evenly spread; order=free lets it reorder
  reorder=25%/20ms   share that comes later       dup=1%            comes twice
  rate=1mbit/64kb    narrow link, its queue       mtu=1200@15s      larger IP packets are dropped, from a time on
  blackhole=udp@15s  UDP vanishes from a time on  outage=60s@20s    nothing passes for so long, from a time on
  rebind=10s         a NAT forgets every so often seed=7            another run of the dice

Words may stand for one direction: up.loss=2% (client to server), down.rate=1mbit.";

/// Put load on a server and measure it: a table on stderr, JSON where --json says.
///
/// Exit code 0 only if nothing was lost, duplicated, reordered or failed.
#[derive(Debug, Args)]
pub(crate) struct Load {
    /// connect, idle, echo, chat, group, live, weak, roam, storm or locate.
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
    /// What the users' names begin with; runs at the same time want different ones.
    #[arg(long, default_value = "load")]
    users: String,
    /// Evenly spaced messages instead of random arrivals.
    #[arg(long)]
    fixed: bool,
    /// How clients connect: quic, tls, ws, wt, or auto for what comes through first.
    #[arg(long, default_value_t = Transport::Quic)]
    transport: Transport,
    /// A bad network for UDP, as a profile or words such as loss=2%,delay=50ms.
    #[arg(long, value_name = "SPEC", long_help = IMPAIR_HELP)]
    impair: Option<Spec>,
    /// Parts of the tuning for bad networks that the clients do without: hedging, rtt-memory, initial-rtt.
    #[arg(long, value_delimiter = ',', value_name = "PART", hide = true)]
    without: Vec<Tuned>,
    /// What clients ask the server to acknowledge within.
    #[arg(long, value_name = "TIME", value_parser = duration::parse, hide = true)]
    ack_delay: Option<Duration>,
    /// How often each client changes its address (roam).
    #[arg(long)]
    rebinds: Option<u32>,
    /// Who changes it: nat (clients do not notice) or client (as when a device changes its network) (roam).
    #[arg(long, value_name = "WHO", default_value = "nat")]
    by: RebindBy,
    /// Kill the server's process so long after the window has begun (storm).
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    kill_after: Option<Duration>,
    /// Shell command that starts the server again; it ends with the run (storm).
    #[arg(long, value_name = "COMMAND")]
    restart_cmd: Option<String>,
    /// Clients learn of the server's death within this time, evenly, as when people look at their devices (storm) [default:
    /// TCP at once, UDP at its next heartbeat].
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    notice: Option<Duration>,
    /// The server's address for operations, whose counters are reported (roam) [default: the local server's].
    #[arg(long, value_name = "IP:PORT")]
    ops: Option<SocketAddr>,
    /// Address of the addressing service, HTTP without TLS; this machine must be in its locate.forwarders (locate) [default: the
    /// local server's].
    #[arg(long, value_name = "IP:PORT")]
    api: Option<SocketAddr>,
    /// Networks that ask (locate).
    #[arg(long)]
    networks: Option<u32>,
    /// Groups (group).
    #[arg(long)]
    groups: Option<u32>,
    /// Members of each group (group).
    #[arg(long)]
    members: Option<u32>,
    /// Members of each group that are online and write (group).
    #[arg(long)]
    online: Option<u32>,
    /// Messages per second in the first group; --rate counts for each of the others (group).
    #[arg(long)]
    hot_rate: Option<u32>,
    /// Members that join in a second (live) [default: as fast as the server takes them].
    #[arg(long)]
    join_rate: Option<u32>,
    /// Classes of what is said, in turn: gift, chat, like (live) [default: chat].
    #[arg(long, value_delimiter = ',', value_name = "CLASS")]
    classes: Vec<LiveClass>,
    /// Messages per second between users in pairs, before the room begins and beside it (live).
    #[arg(long)]
    chat_rate: Option<u32>,
    /// Users in pairs (live).
    #[arg(long)]
    chat_connections: Option<u32>,
    /// How long the pairs are measured before anybody joins (live).
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    quiet: Option<Duration>,
    /// UDP sockets that the clients share.
    #[arg(long)]
    sockets: Option<usize>,
    /// Threads that the clients run on [default: 1].
    ///
    /// live over QUIC: threads of the members that only read along, which do without the SDK and yield the CPU (nice +10) to everything
    /// else, a server of the same terminal or script included; when it is short, their own latencies show it. The 50 that speak and
    /// the pairs are the SDK's, at normal priority.
    #[arg(long)]
    threads: Option<usize>,
    /// Logins under way at once.
    #[arg(long)]
    logins: Option<usize>,
    /// How long to wait at the end for messages that are still missing.
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    drain: Option<Duration>,
    /// Process whose CPU time and memory are reported [default: the local server's, if --data has one].
    #[arg(long)]
    server_pid: Option<u32>,
    /// Write the report as one JSON object to a file, or to stdout with `-`.
    #[arg(long, value_name = "FILE|-")]
    json: Option<PathBuf>,
    /// Write the report as a page with plots that needs nothing but itself.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

impl Load {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let (options, credentials) = match self.scenario {
            Scenario::Locate => self.questions()?,
            _ => {
                let access = self.access.clone().resolve()?;
                let options = self.options(Some(&access));
                if access.locator.is_some() && (options.impair.is_some() || self.scenario == Scenario::Roam) {
                    let why = "a bad network is played in front of one server: name it with --server";
                    return Err(Failure::usage(why));
                }
                (options, credentials(access)?)
            }
        };
        options.check().map_err(Failure::usage)?;
        raise_descriptor_limit();
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
        if let Some(path) = &self.html {
            std::fs::write(path, report.to_html()).with_context(|| path.display().to_string())?;
        }
        if report.is_clean() { Ok(()) } else { Err(anyhow::anyhow!("the run was not clean").into()) }
    }

    /// Who asks where to go needs no App and no key.
    fn questions(&self) -> Result<(Options, Credentials), Failure> {
        let local = match self.api {
            Some(_) => None,
            None => self.access.layout()?.read_run_file().ok().flatten(),
        };
        let mut options = self.options(None);
        options.api = options.api.or_else(|| local.as_ref().and_then(|run| run.api));
        let server = options.api.ok_or_else(|| {
            Failure::usage(anyhow::anyhow!(
                "no server runs here: give --api IP:PORT of the addressing service"
            ))
        })?;
        options.server_pid = options.server_pid.or_else(|| local.map(|run| run.pid));
        let network = NetworkConfig::new(rustls::RootCertStore::empty());
        let usersig = Box::new(|_: &str| String::new());
        let server_name = String::new();
        Ok((options, Credentials { server, server_name, locate: None, network, app: 0, usersig }))
    }

    fn options(&self, access: Option<&Access>) -> Options {
        let mut options = Options::new(self.scenario);
        options.transport = self.transport;
        if let Some(connections) = self.connections {
            options.set_connections(connections);
        }
        options.rate = self.rate.unwrap_or(options.rate);
        options.duration = self.duration.unwrap_or(options.duration);
        options.warmup = self.warmup.unwrap_or(options.warmup);
        options.message_bytes = self.message_bytes.unwrap_or(options.message_bytes);
        options.pattern = if self.fixed { Pattern::Fixed } else { options.pattern };
        options.impair.clone_from(&self.impair);
        options.without.clone_from(&self.without);
        options.ack_delay = self.ack_delay;
        options.rebinds = self.rebinds.unwrap_or(options.rebinds);
        options.rebind_by = self.by;
        options.kill_after = self.kill_after;
        options.restart_cmd.clone_from(&self.restart_cmd);
        options.notice = self.notice;
        options.users.clone_from(&self.users);
        options.sockets = self.sockets.unwrap_or(options.sockets);
        options.threads = self.threads.unwrap_or(options.threads);
        options.logins_max = self.logins.unwrap_or(options.logins_max);
        options.drain_timeout = self.drain.unwrap_or(options.drain_timeout);
        options.api = self.api;
        options.networks = self.networks;
        if self.scenario == Scenario::Group {
            let of = |given: Option<u32>, usual| given.unwrap_or(usual);
            let online = of(self.online, options.online);
            let members = of(self.members, options.members.max(online));
            options.set_groups(of(self.groups, options.groups), members, online);
        }
        options.hot_rate = self.hot_rate;
        options.join_rate = self.join_rate.unwrap_or(options.join_rate);
        options.classes.clone_from(&self.classes);
        options.chat_rate = self.chat_rate.unwrap_or(options.chat_rate);
        options.chat_connections = self.chat_connections.unwrap_or(options.chat_connections);
        options.quiet = self.quiet.unwrap_or(options.quiet);
        let local = access.and_then(local_server);
        options.server_pid = self.server_pid.or_else(|| local.as_ref().map(|run| run.pid));
        options.ops = self.ops.or_else(|| local.map(|run| run.ops));
        options.commit = option_env!("NEARPORT_COMMIT").map(str::to_owned);
        options
    }
}

/// The server of the data directory, if it is the one that the load goes to and it runs.
fn local_server(access: &Access) -> Option<RunFile> {
    let run = access.layout.read_run_file().ok().flatten()?;
    let held = matches!(StoreLock::acquire(&access.layout.0), Err(LockError::Held { pid, .. }) if pid == Some(run.pid));
    let here = run.edge.is_some_and(|edge| edge.port() == access.addr.port());
    (held && here && access.addr.ip().is_loopback()).then_some(run)
}

fn credentials(access: Access) -> Result<Credentials, Failure> {
    let (app, key) = (access.app, access.key()?);
    Ok(Credentials {
        server: access.addr,
        server_name: access.name,
        locate: access.locator,
        network: access.network,
        app,
        usersig: Box::new(move |user| cli_app::sign_now(app, &key, user, USERSIG_LIFE)),
    })
}
