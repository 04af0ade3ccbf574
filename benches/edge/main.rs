//! `cargo bench --bench edge` (what `make bench` calls): what one operation costs the edge, beside two servers
//! that do the same work with high-level quinn.
//!
//! - **N**, Nearport's edge with the echo backend ([`nearport`]);
//! - **A**, quinn as most people would first use it ([`default_quinn`]);
//! - **B**, quinn tuned as far as its API allows ([`tuned_quinn`]).
//!
//! And what one durable 1:1 message costs the whole node (send, acknowledgement, one delivery), beside its parts:
//!
//! - **D**, edge, chat backend and store ([`durable_server`]);
//! - **L**, the bare ledger ([`bare_ledger`]), to which A's echo and A's delivery are added.
//!
//! Every server runs in a process of its own: this program started again with `--serve`. One load generator (in the
//! parent, high-level quinn, eight sockets) drives all but L, in random order within each repeat, so that whatever
//! else the machine does meets all of them. The figures to compare are the ratios of one repeat, not absolute values.
//!
//! CPU is the run time of all threads of the server process as the scheduler counts it, in nanoseconds. On loopback
//! the kernel charges the receiving half of UDP to the sender: to all servers alike.

mod bare_ledger;
mod cases;
mod codec;
mod default_quinn;
mod durable;
mod durable_server;
mod fan_out;
mod flood;
mod handshakes;
mod initials;
mod machine;
mod measure;
mod nearport;
mod pacer;
mod pairs;
mod plan;
mod process;
mod report;
mod rng;
mod sample;
mod selection;
mod slow;
mod spread;
mod swarm;
mod tally;
mod transport;
mod tuned_quinn;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser, ValueEnum};

use crate::cases::Group;
use crate::machine::Others;
use crate::plan::{Case, Measure, Plan};
use crate::report::Report;
use crate::rng::Rng;
use crate::selection::Selection;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum)]
enum Server {
    /// Nearport's edge
    #[value(name = "N", alias = "n")]
    Nearport,
    /// quinn with its defaults
    #[value(name = "A", alias = "a")]
    Default,
    /// tuned quinn
    #[value(name = "B", alias = "b")]
    Tuned,
    /// Nearport's edge with the chat backend and its store
    #[value(name = "D", alias = "d")]
    Durable,
    /// bare ledger: no network, only rows
    #[value(name = "L", alias = "l")]
    Ledger,
}

impl Server {
    const ALL: [Self; 5] = [Self::Nearport, Self::Default, Self::Tuned, Self::Durable, Self::Ledger];

    fn explained(self) -> &'static str {
        match self {
            Self::Nearport => "Nearport's edge",
            Self::Default => "quinn with defaults",
            Self::Tuned => "tuned quinn",
            Self::Durable => "Nearport's edge, chat and store",
            Self::Ledger => "bare ledger",
        }
    }

    /// Is that server until the bench ends it. D and L keep their data in `dir`.
    fn serve(self, dir: &Path, tcp: bool) -> Result<()> {
        match self {
            Self::Nearport => nearport::serve(tcp),
            Self::Default => default_quinn::serve(),
            Self::Tuned => tuned_quinn::serve(),
            Self::Durable => durable_server::serve(dir),
            Self::Ledger => bare_ledger::serve(dir),
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Nearport => "N",
            Self::Default => "A",
            Self::Tuned => "B",
            Self::Durable => "D",
            Self::Ledger => "L",
        })
    }
}

/// Server CPU, memory and rates of Nearport's edge (N) beside default quinn (A) and tuned quinn (B), and of durable
/// messages (D) beside the sum of their parts (A, bare ledger L).
#[derive(Debug, Parser)]
#[command(name = "edge")]
struct Args {
    /// Measure everything this many times; the report shows median and spread
    #[arg(long)]
    repeats: Option<usize>,
    /// One repeat with short windows: does it run, not what does it cost
    #[arg(long)]
    quick: bool,
    /// Only cases whose name starts with one of these: echo-closed, echo-open, idle, handshake, fanout-5000,
    /// fanout-live, fanout-1000, flood, slow, durable, durable-half
    #[arg(long, value_delimiter = ',', value_name = "CASE")]
    only: Vec<String>,
    /// Only these servers, and those that their verdicts need
    #[arg(long, value_delimiter = ',', value_name = "SERVER", ignore_case = true)]
    servers: Vec<Server>,
    /// Write every sample and the summary as JSON; with - the table goes to stderr
    #[arg(long, value_name = "FILE|-")]
    json: Option<String>,
    /// Where D and L keep their data while they run: on a disk, not in memory
    #[arg(long, value_name = "DIR", default_value = env!("CARGO_TARGET_TMPDIR"))]
    dir: PathBuf,
    /// Seed of the order of servers and of the arrival times
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Be that server until stdin closes: how this program starts the servers it measures
    #[arg(long, hide = true, value_name = "SERVER")]
    serve: Option<Server>,
    /// N listens on TCP too
    #[arg(long, hide = true)]
    tcp: bool,
    /// Passed by cargo bench
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(server) = args.serve {
        return server.serve(&args.dir, args.tcp).with_context(|| format!("server {server} failed"));
    }
    let plan = if args.quick { Plan::quick(args.dir) } else { Plan::full(args.dir) };
    let plan = Plan { repeats: args.repeats.unwrap_or(plan.repeats).max(1), ..plan };
    let cases = chosen_cases(&args.only).unwrap_or_else(|error| error.exit());
    let servers = if args.servers.is_empty() { Server::ALL.to_vec() } else { args.servers.clone() };

    let selection = Selection::new(&cases, &servers);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no client runtime")?;
    let report = runtime.block_on(async {
        tokio::select! {
            report = measure(&plan, &selection, args.seed) => report,
            // An error, so that servers are stopped and their data removed on the way out.
            _ = tokio::signal::ctrl_c() => bail!("interrupted"),
        }
    })?;

    match args.json.as_deref() {
        None => print!("{}", report.table()),
        Some("-") => {
            eprint!("{}", report.table());
            println!("{:#}", report.json());
        }
        Some(file) => {
            print!("{}", report.table());
            fs::write(file, format!("{:#}\n", report.json()))
                .with_context(|| format!("cannot write {file}"))?;
        }
    }
    Ok(())
}

/// The cases that `--only` selects, all without it.
fn chosen_cases(only: &[String]) -> Result<Vec<Case>, clap::Error> {
    let starts = |case: &Case, prefix: &String| case.name().starts_with(prefix.as_str());
    if let Some(unknown) = only.iter().find(|prefix| !Case::ALL.iter().any(|case| starts(case, prefix))) {
        let names = Case::ALL.map(Case::name).join(", ");
        let message = format!("no case starts with '{unknown}'; the cases are {names}\n");
        return Err(Args::command().error(ErrorKind::InvalidValue, message));
    }
    let wanted = |case: &Case| only.is_empty() || only.iter().any(|prefix| starts(case, prefix));
    Ok(Case::ALL.into_iter().filter(wanted).collect())
}

/// Runs what is selected, `plan.repeats` times, each time in a new order of servers.
async fn measure(plan: &Plan, selection: &Selection, seed: u64) -> Result<Report> {
    let mut rng = Rng::new(seed);
    let mut report = Report::new(plan, selection.asked().clone(), seed);
    for repeat in 0..plan.repeats {
        for group in Group::ALL {
            let mut servers = selection.servers(group);
            rng.shuffle(&mut servers);
            for server in servers {
                eprintln!("repeat {}/{}, {group}, server {server}", repeat + 1, plan.repeats);
                let highest = report.value(repeat, Case::Durable, Measure::PerSecond, Server::Durable);
                let half_per_s = highest.map(|per_s| per_s / 2.0);
                let others = Others::watch()?;
                let cases = selection.cases(group, server);
                let samples = group
                    .run(server, plan, &cases, half_per_s, rng.fork())
                    .await
                    .with_context(|| format!("repeat {}, {group}, server {server}", repeat + 1))?;
                report.add(repeat, server, samples, others.cores()?);
            }
        }
    }
    Ok(report)
}
