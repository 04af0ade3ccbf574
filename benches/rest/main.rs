//! `cargo bench --bench rest` (what `benches/rest.sh` calls): what a durable message costs a back end, beside the least that it could.
//!
//! - **N**: `openim/sendmsg` of the real program with its embedded stores: UserSig, JSON, accounts, the writer's group commit, five rows;
//! - **B**: a bare axum handler that puts the body of the same request as one row into the same engine (fjall with our
//!   settings) behind a group commit of the same shape ([`bare`]).
//!
//! Both serve HTTP/1.1 on loopback, as processes of their own. One client on one thread keeps so many connections alive, each of which sends, waits
//! for the answer and sends again. N and B take turns; a pair is one run of each, in changing order. The ratios of a pair are what
//! counts: absolute figures move with the machine. CPU is the run time of all threads of the server process, as the scheduler counts it.

mod bare;
mod client;
mod node;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use serde_json::{Value, json};

use crate::client::{Run, Target};

/// The ratio of rates that is aimed at.
const RATE_TARGET: f64 = 0.5;

#[derive(Debug, Parser)]
struct Arguments {
    /// Pairs of runs.
    #[arg(long, default_value_t = 5)]
    pairs: u32,
    /// Of one run, after the warm-up.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// In front of each run.
    #[arg(long, default_value_t = 2.0)]
    warm_up: f64,
    /// Connections that are kept alive.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Write every sample to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Where the stores are for the time of the bench [default: the target directory].
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Be the bare server, with its store in this directory.
    #[arg(long, hide = true)]
    serve_bare: Option<PathBuf>,
    /// What cargo says.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    match &arguments.serve_bare {
        Some(dir) => bare::serve(dir),
        None => compare(&arguments),
    }
}

/// What a run came to.
#[derive(Debug, Clone, Copy)]
struct Figures {
    per_s: f64,
    cpu_us: f64,
    p50_ms: f64,
    p99_ms: f64,
}

impl Figures {
    fn of(run: &Run) -> Self {
        let requests = run.requests as f64;
        Self {
            per_s: requests / run.took.as_secs_f64(),
            cpu_us: run.cpu.as_secs_f64() * 1e6 / requests.max(1.0),
            p50_ms: run.quantile_ms(0.5),
            p99_ms: run.quantile_ms(0.99),
        }
    }

    fn json(self) -> Value {
        json!({ "per_s": self.per_s, "cpu_us": self.cpu_us, "p50_ms": self.p50_ms, "p99_ms": self.p99_ms })
    }
}

fn compare(arguments: &Arguments) -> Result<()> {
    ensure!(
        arguments.pairs > 0 && arguments.connections > 0 && arguments.seconds > 0.0,
        "nothing to measure"
    );
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let dir = tempfile::tempdir_in(arguments.dir.as_ref().unwrap_or(&target))
        .context("no directory for the stores")?;
    let nearport = node::start(&dir.path().join("nearport"))?;
    let bare = bare::start(&dir.path().join("bare"))?;
    let load = client::Load {
        connections: arguments.connections,
        warm_up: Duration::from_secs_f64(arguments.warm_up),
        window: Duration::from_secs_f64(arguments.seconds),
    };
    let measure = |target: &Target| client::measure(target, &load).map(|run| Figures::of(&run));
    let mut pairs = Vec::new();
    println!(
        "pair   N req/s   B req/s   N/B rate   N us/req   B us/req   N/B cpu   N p50/p99 ms   B p50/p99 ms"
    );
    for pair in 0..arguments.pairs {
        let (n, b) = match pair % 2 {
            0 => {
                let n = measure(&nearport)?;
                (n, measure(&bare)?)
            }
            _ => {
                let b = measure(&bare)?;
                (measure(&nearport)?, b)
            }
        };
        println!(
            "{:>4} {:>9.0} {:>9.0} {:>10.2} {:>10.1} {:>10.1} {:>9.2}   {:>5.2}/{:<6.2}   {:>5.2}/{:<6.2}",
            pair + 1,
            n.per_s,
            b.per_s,
            n.per_s / b.per_s,
            n.cpu_us,
            b.cpu_us,
            n.cpu_us / b.cpu_us,
            n.p50_ms,
            n.p99_ms,
            b.p50_ms,
            b.p99_ms
        );
        pairs.push((n, b));
    }
    let rate = median(pairs.iter().map(|(n, b)| n.per_s / b.per_s));
    let cpu = median(pairs.iter().map(|(n, b)| n.cpu_us / b.cpu_us));
    let verdict = if rate >= RATE_TARGET { "ok" } else { "MISS" };
    println!(
        "medians of {}: N/B rate {rate:.2} (target {RATE_TARGET}: {verdict}), N/B cpu {cpu:.2}",
        pairs.len()
    );
    if let Some(path) = &arguments.json {
        let samples: Vec<_> =
            pairs.iter().map(|(n, b)| json!({ "nearport": n.json(), "bare": b.json() })).collect();
        let report = json!({
            "connections": arguments.connections, "seconds": arguments.seconds, "pairs": samples,
            "rate_ratio": rate, "cpu_ratio": cpu, "rate_target": RATE_TARGET,
        });
        std::fs::write(path, serde_json::to_string_pretty(&report)?).context("cannot write the samples")?;
    }
    Ok(())
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}
