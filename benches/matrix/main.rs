//! `cargo bench --bench matrix` (what `make matrix` calls): every transport on every bad network, and whether a message
//! was lost, shown twice or overtaken.
//!
//! A cell is one transport on one network: a laboratory ([`nearport_lab`]) with `nearport serve` on one side and `nearport load weak`
//! on the other, as separate processes of the program that cargo built with this bench. Packets are lost below TCP and UDP, so both are
//! treated alike. Cells wait for packets, not for a processor, so several run at once, each in namespaces of its own.
//!
//! `--fallback` is another measurement: how much later a client gets in whose UDP vanishes, beside one that goes over TLS at once.
//! `--tuning` is a third: what each part of QUIC's tuning for such networks buys.

#[path = "../edge/machine.rs"]
mod machine;

mod cell;
mod fallback;
mod plan;
mod table;
mod tuning;

use std::collections::VecDeque;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use nearport_impair::Profile;
use serde_json::json;

use crate::cell::Outcome;
use crate::machine::{Machine, Others};
use crate::plan::Transport;

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_nearport");

/// Every transport on every bad network. Needs root; see benches/README.md.
#[derive(Debug, Parser)]
struct Args {
    /// Transports: quic, tls, ws, wt.
    #[arg(long, value_delimiter = ',')]
    transports: Vec<Transport>,
    /// Networks: clean, loss2, loss10, burst20, 3g, udp-blackhole, udp-cut, rebind10, outage60, mtu, reorder25.
    #[arg(long, value_delimiter = ',', value_parser = plan::profile)]
    networks: Vec<Profile>,
    /// Cells at once.
    #[arg(long, default_value_t = 4)]
    parallel: usize,
    /// Clients of a cell, in pairs.
    #[arg(long, default_value_t = 40)]
    connections: u32,
    /// Messages per second of a cell.
    #[arg(long, default_value_t = 80)]
    rate: u32,
    /// Seed of the networks' dice: the same for all transports.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Two short cells: does it run?
    #[arg(long)]
    quick: bool,
    /// Instead: the time until a client is in whose UDP vanishes, beside one that goes over TLS at once; so many times each.
    #[arg(long, value_name = "TIMES", num_args = 0..=1, default_missing_value = "20")]
    fallback: Option<usize>,
    /// Instead: QUIC on the networks that lose packets, with and without each part of its tuning for them.
    #[arg(long, conflicts_with_all = ["fallback", "transports"])]
    tuning: bool,
    /// Where the figures go, as JSON; `-`: stdout. The table goes to stdout, or to stderr then.
    #[arg(long, value_name = "FILE|-")]
    json: Option<PathBuf>,
    /// Keep the directories of the cells, and say where they are.
    #[arg(long)]
    keep: bool,
    /// Given by `cargo bench`, without meaning here.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(what) = nearport_lab::missing() {
        bail!("no network laboratory here: {what}");
    }
    if args.parallel == 0 {
        bail!("--parallel must be at least 1");
    }
    let others = Others::watch()?;
    let (text, figures, good) = match args.fallback {
        Some(times) => {
            let fallback = fallback::measure(times)?;
            (fallback.text(), fallback.json(), true)
        }
        None if args.tuning => {
            let cells = tuning::cells(&args);
            let done = in_parallel(
                cells,
                &args,
                |cell, temporary| tuning::run(cell, &args, temporary),
                |outcome| outcome.as_ref().map_or_else(|error| format!("{error:#}"), |_| "clean".to_owned()),
            )?;
            tuning::render(&done)
        }
        None => matrix(&args)?,
    };
    let machine = Machine::here();
    let busy = others.cores()?;
    let head = format!("{}\nother processes used about {busy:.2} cores meanwhile\n", machine.text());
    let whole = json!({
        "machine": machine.json(),
        "others_cores": busy,
        "commit": option_env!("NEARPORT_COMMIT"),
        "seed": args.seed,
        "connections": args.connections,
        "rate_per_s": args.rate,
        "figures": figures,
    });
    match &args.json {
        Some(path) if path.as_os_str() == "-" => {
            eprint!("{head}{text}");
            println!("{whole}");
        }
        path => {
            print!("{head}{text}");
            if let Some(path) = path {
                std::fs::write(path, format!("{whole:#}\n")).with_context(|| path.display().to_string())?;
            }
        }
    }
    // A slow cell is a figure; a lost message is a fault.
    if good { Ok(()) } else { bail!("not every cell is clean") }
}

fn matrix(args: &Args) -> Result<(String, serde_json::Value, bool)> {
    let cells = plan::cells(args);
    let done =
        in_parallel(cells, args, |cell, temporary| cell::run(cell, args, temporary), Outcome::verdict)?;
    let good = done.iter().all(|(_, outcome)| outcome.is_good());
    let figures = done.iter().map(|(cell, outcome)| outcome.json(cell)).collect();
    Ok((table::render(&done), figures, good))
}

/// Runs all cells, a few at once. They come back in their order.
fn in_parallel<C: Display + Send, T: Send>(
    cells: Vec<C>,
    args: &Args,
    run: impl Fn(&C, &Path) -> T + Sync,
    verdict: impl Fn(&T) -> String + Sync,
) -> Result<Vec<(C, T)>> {
    let temporary = Path::new(env!("CARGO_TARGET_TMPDIR"));
    std::fs::create_dir_all(temporary).with_context(|| temporary.display().to_string())?;
    let total = cells.len();
    let left = Mutex::new(cells.into_iter().enumerate().collect::<VecDeque<_>>());
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..args.parallel.min(total) {
            scope.spawn(|| {
                // Not in the condition itself, which would hold the lock while the cell runs.
                let next = || lock(&left).pop_front();
                while let Some((number, cell)) = next() {
                    let outcome = run(&cell, temporary);
                    let mut done = lock(&done);
                    eprintln!(
                        "{:>3} of {total}  {:<28} {}",
                        done.len() + 1,
                        cell.to_string(),
                        verdict(&outcome)
                    );
                    done.push((number, cell, outcome));
                }
            });
        }
    });
    let mut done: Vec<_> = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(number, ..)| *number);
    Ok(done.into_iter().map(|(_, cell, outcome)| (cell, outcome)).collect())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long a load tool may take beyond what it was asked for: logins on a bad network, waiting for what is missing, good-byes.
const PATIENCE: Duration = Duration::from_secs(240);
