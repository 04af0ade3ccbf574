//! `cargo bench --bench edge` (what `make bench` calls): what one operation costs the edge, beside two servers
//! that do the same work with high-level quinn.
//!
//! - **N**, Nearport's edge with the echo backend ([`nearport`]);
//! - **A**, quinn as most people would first use it ([`default_quinn`]);
//! - **B**, quinn tuned as far as its API allows ([`tuned_quinn`]).
//!
//! Every server runs in a process of its own: this program started again with `--serve`. One load generator (in the
//! parent, high-level quinn, eight sockets) drives all three, in random order within each repeat, so that whatever
//! else the machine does meets all of them. The figures to compare are the ratios of one repeat, not absolute values.
//!
//! CPU is the run time of all threads of the server process as the scheduler counts it, in nanoseconds. On loopback
//! the kernel charges the receiving half of UDP to the sender: to all servers alike.

mod cases;
mod codec;
mod default_quinn;
mod handshakes;
mod machine;
mod nearport;
mod pacer;
mod plan;
mod process;
mod report;
mod rng;
mod swarm;
mod tally;
mod transport;
mod tuned_quinn;

use std::fmt;
use std::fs;

use anyhow::{Context as _, Result};
use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser, ValueEnum};

use crate::cases::Group;
use crate::machine::Others;
use crate::plan::{Case, Plan};
use crate::report::Report;
use crate::rng::Rng;

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
}

impl Server {
    const ALL: [Self; 3] = [Self::Nearport, Self::Default, Self::Tuned];

    fn serve(self) -> Result<()> {
        match self {
            Self::Nearport => nearport::serve(),
            Self::Default => default_quinn::serve(),
            Self::Tuned => tuned_quinn::serve(),
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Nearport => "N",
            Self::Default => "A",
            Self::Tuned => "B",
        })
    }
}

/// Server CPU, memory and rates of Nearport's edge (N) beside default quinn (A) and tuned quinn (B).
#[derive(Debug, Parser)]
#[command(name = "edge")]
struct Args {
    /// Measure everything this many times; the report shows median and spread
    #[arg(long)]
    repeats: Option<usize>,
    /// One repeat with short windows: does it run, not what does it cost
    #[arg(long)]
    quick: bool,
    /// Only cases whose name starts with one of these: echo-closed, echo-open, idle, handshake, fanout-5000, fanout-1000
    #[arg(long, value_delimiter = ',', value_name = "CASE")]
    only: Vec<String>,
    /// Only these servers
    #[arg(long, value_delimiter = ',', value_name = "SERVER", ignore_case = true)]
    servers: Vec<Server>,
    /// Write every sample and the summary as JSON; with - the table goes to stderr
    #[arg(long, value_name = "FILE|-")]
    json: Option<String>,
    /// Seed of the order of servers and of the arrival times
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Be that server until stdin closes: how this program starts the servers it measures
    #[arg(long, hide = true, value_name = "SERVER")]
    serve: Option<Server>,
    /// Passed by cargo bench
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(server) = args.serve {
        return server.serve().with_context(|| format!("server {server} failed"));
    }
    let plan = if args.quick { Plan::quick() } else { Plan::full() };
    let plan = Plan { repeats: args.repeats.unwrap_or(plan.repeats).max(1), ..plan };
    let cases = chosen_cases(&args.only).unwrap_or_else(|error| error.exit());
    let servers = if args.servers.is_empty() { Server::ALL.to_vec() } else { args.servers.clone() };

    let report = measure(&plan, &cases, servers, args.seed)?;

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

/// Runs every group of cases on every server, `plan.repeats` times, each time in a new order.
fn measure(plan: &Plan, cases: &[Case], mut servers: Vec<Server>, seed: u64) -> Result<Report> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no client runtime")?;
    let mut rng = Rng::new(seed);
    let mut report = Report::new(plan, &servers, seed);
    for repeat in 0..plan.repeats {
        for group in Group::ALL.into_iter().filter(|group| group.holds_any(cases)) {
            rng.shuffle(&mut servers);
            for &server in &servers {
                eprintln!("repeat {}/{}, {group}, server {server}", repeat + 1, plan.repeats);
                let others = Others::watch()?;
                let samples = runtime
                    .block_on(group.run(server, plan, cases, rng.fork()))
                    .with_context(|| format!("repeat {}, {group}, server {server}", repeat + 1))?;
                report.add(repeat, server, samples, others.cores()?);
            }
        }
    }
    Ok(report)
}
