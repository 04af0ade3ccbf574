//! What the promise costs: `FjallLedger` with whole 1:1 messages (four rows) beside bare fjall (two rows).
//!
//! Every engine runs the same seeded load in a closed loop with group commit (see `nearport_store::bare`), in turn
//! and several times over, so that a noisy neighbour meets all of them. Prints one line per run and the medians.
//!
//!     cargo run --release -p nearport-store --example ledger_bench -- [--seconds 10] [--rounds 3]
//!         [--in-flight 64] [--preload 0] [--dir DIR] [--only NAME]
//!         [--conversations 100000] [--flush-mib 64]
//!
//! `--preload` commits that many messages first, so that compaction has something to do. `commit` is the time
//! inside the engine, split by whether a compaction was running when it began.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use nearport_chat::key::{AppId, ConvKey, UserKey};
use nearport_chat::ledger::{Append, Batch, IdemKey, Ledger, LedgerError};
use nearport_store::bare::{BareLedger, BareMessage, CONVERSATIONS, Figures, Messages, closed_loop};
use nearport_store::{FjallLedger, Options};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

struct Args {
    seconds: u64,
    rounds: usize,
    in_flight: usize,
    preload: usize,
    dir: Option<PathBuf>,
    only: Option<String>,
    conversations: u32,
    flush_mib: u64,
}

impl Args {
    fn parse() -> Outcome<Self> {
        let mut args = Self {
            seconds: 10,
            rounds: 3,
            in_flight: 64,
            preload: 0,
            dir: None,
            only: None,
            conversations: CONVERSATIONS,
            flush_mib: 64,
        };
        let mut given = std::env::args().skip(1);
        while let Some(flag) = given.next() {
            let value = given.next().ok_or_else(|| format!("{flag} needs a value"))?;
            match flag.as_str() {
                "--seconds" => args.seconds = value.parse()?,
                "--rounds" => args.rounds = value.parse()?,
                "--in-flight" => args.in_flight = value.parse()?,
                "--preload" => args.preload = value.parse()?,
                "--conversations" => args.conversations = value.parse()?,
                "--flush-mib" => args.flush_mib = value.parse()?,
                "--only" => args.only = Some(value),
                "--dir" => args.dir = Some(value.into()),
                _ => return Err(format!("unknown flag {flag}").into()),
            }
        }
        Ok(args)
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Engine {
    /// The bare load and the loop, without an engine: what to subtract from bare fjall.
    Loop,
    /// The load of 1:1 messages and the loop: what to subtract from the ledger.
    LoopPairs,
    BareDefault,
    BareTuned,
    Ledger,
    /// Our ledger with fjall's default number of threads.
    LedgerTwoWorkers,
}

const ENGINES: [(Engine, &str); 6] = [
    (Engine::Loop, "loop alone"),
    (Engine::LoopPairs, "loop alone, 1:1"),
    (Engine::BareDefault, "bare fjall, defaults"),
    (Engine::BareTuned, "bare fjall, our settings"),
    (Engine::Ledger, "ledger"),
    (Engine::LedgerTwoWorkers, "ledger, 2 workers"),
];

/// One run: the figures, commit times without and with a running compaction, and size on disk over size of the rows.
struct Run {
    figures: Figures,
    commits: [Vec<Duration>; 2],
    amplification: f64,
}

fn append(message: &BareMessage, id: u64) -> Append {
    let name =
        |number: u32| UserKey::new(AppId(1_400_000_000), &format!("user{number:08}")).expect("a good name");
    let (alice, bob) = (name(message.conversation * 2), name(message.conversation * 2 + 1));
    let (from, to) = if message.user.is_multiple_of(2) { (alice, bob) } else { (bob, alice) };
    let mut client_msg_id = [0; 16];
    // Spread as random ids of clients are.
    client_msg_id[..8].copy_from_slice(&id.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    client_msg_id[8..].copy_from_slice(&id.to_be_bytes());
    Append {
        conv: ConvKey::pair(&from, &to),
        idem: IdemKey { sender: from.clone(), client_msg_id },
        logs: vec![from, to],
        time_ms: id,
        body: Bytes::copy_from_slice(&message.body),
        uncounted: false,
    }
}

/// The load as 1:1 messages.
fn pairs(load: &mut Messages) -> impl FnMut() -> Append {
    let mut id = 0;
    move || {
        id += 1;
        append(&load.next().expect("endless"), id)
    }
}

/// Bytes of keys and values of one message in each engine.
fn row_bytes(engine: Engine) -> f64 {
    match engine {
        Engine::Loop | Engine::LoopPairs => f64::NAN,
        Engine::BareDefault | Engine::BareTuned => 12.0 + 300.0 + 8.0 + 8.0,
        // idem 20 + 16, message 16 + 328, two log entries of 12 + 16.
        Engine::Ledger | Engine::LedgerTwoWorkers => 36.0 + 344.0 + 56.0,
    }
}

fn run(engine: Engine, args: &Args, dir: &Path) -> Outcome<Run> {
    let duration = Duration::from_secs(args.seconds);
    let mut load = Messages::new(42, args.conversations);
    let mut commits = [Vec::new(), Vec::new()];
    let mut total = 0;
    let figures = match engine {
        Engine::Loop => closed_loop(args.in_flight, duration, || load.next().expect("endless"), |_| Ok(()))?,
        Engine::LoopPairs => {
            let mut next = pairs(&mut load);
            let commit = |messages: &[Append]| {
                std::hint::black_box(Batch { appends: messages.to_vec(), ..Batch::default() });
                Ok(())
            };
            closed_loop(args.in_flight, duration, &mut next, commit)?
        }
        Engine::BareDefault | Engine::BareTuned => {
            let mut bare = match engine {
                Engine::BareDefault => BareLedger::open(dir)?,
                _ => BareLedger::open_tuned(dir)?,
            };
            let mut left = args.preload;
            while left > 0 {
                let batch: Vec<_> = load.by_ref().take(left.min(2048)).collect();
                bare.commit(&batch)?;
                left -= batch.len();
            }
            let commit = |messages: &[BareMessage]| {
                let (started, compacting) = (Instant::now(), bare.compacting());
                bare.commit(messages)?;
                total += messages.len();
                commits[usize::from(compacting)].push(started.elapsed());
                Ok(())
            };
            closed_loop(args.in_flight, duration, || load.next().expect("endless"), commit)?
        }
        Engine::Ledger | Engine::LedgerTwoWorkers => {
            let mut options = Options::default();
            options.worker_threads = if engine == Engine::Ledger { 1 } else { 2 };
            options.flush_bytes = args.flush_mib << 20;
            let ledger = FjallLedger::open(dir, options)?;
            let mut next = pairs(&mut load);
            let mut left = args.preload;
            while left > 0 {
                let count = left.min(2048);
                let appends = std::iter::repeat_with(&mut next).take(count).collect();
                ledger.commit(&Batch { appends, ..Batch::default() })?;
                left -= count;
            }
            let commit = |messages: &[Append]| -> Result<(), LedgerError> {
                let (started, compacting) = (Instant::now(), ledger.compacting());
                let batch = Batch { appends: messages.to_vec(), ..Batch::default() };
                ledger.commit(&batch)?;
                total += messages.len();
                commits[usize::from(compacting)].push(started.elapsed());
                Ok(())
            };
            closed_loop(args.in_flight, duration, next, commit)?
        }
    };
    commits.iter_mut().for_each(|times| times.sort_unstable());
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let amplification = disk_bytes(dir)? as f64 / ((args.preload + total) as f64 * row_bytes(engine));
    Ok(Run { figures, commits, amplification })
}

/// Allocated bytes below a directory: holes of preallocated journals do not count.
fn disk_bytes(dir: &Path) -> std::io::Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        sum += if meta.is_dir() { disk_bytes(&entry.path())? } else { meta.blocks() * 512 };
    }
    Ok(sum)
}

fn ms(times: &[Duration], share: f64) -> f64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index into a vector that fits memory"
    )]
    let at = (times.len().saturating_sub(1) as f64 * share) as usize;
    times.get(at).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn columns(run: &Run) -> [f64; 11] {
    let Figures { messages, commits, written_bytes, .. } = &run.figures;
    let [quiet, busy] = &run.commits;
    [
        run.figures.rate(),
        run.figures.cpu_us_per_message(),
        run.figures.ack_ms(0.5),
        run.figures.ack_ms(0.99),
        *written_bytes as f64 / *messages as f64,
        *messages as f64 / *commits as f64,
        ms(quiet, 0.5),
        ms(quiet, 0.99),
        ms(busy, 0.5),
        ms(busy, 0.99),
        run.amplification,
    ]
}

fn print(name: &str, columns: &[f64; 11]) {
    let [rate, cpu, p50, p99, written, batch, quiet50, quiet99, busy50, busy99, amplification] = columns;
    println!(
        "| {name:<24} | {rate:>9.0} | {cpu:>6.1} | {p50:>6.2} | {p99:>7.2} | {written:>8.0} | {batch:>5.1} \
         | {quiet50:>5.2} / {quiet99:<6.2} | {busy50:>5.2} / {busy99:<6.2} | {amplification:>5.2} |"
    );
}

fn main() -> Outcome<()> {
    let args = Args::parse()?;
    let base = args.dir.clone().unwrap_or_else(std::env::temp_dir);
    println!(
        "{} in flight, {} s per run, {} rounds, {} messages before each run\n",
        args.in_flight, args.seconds, args.rounds, args.preload
    );
    println!(
        "| engine | messages/s | CPU µs/message | ack p50 ms | ack p99 ms | bytes written/message | messages/commit | commit p50 / p99 ms, no compaction | the same, compaction running | disk/rows |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    let mut results = vec![Vec::new(); ENGINES.len()];
    for _ in 0..args.rounds {
        for ((engine, name), results) in ENGINES.iter().zip(&mut results) {
            if args.only.as_ref().is_some_and(|only| only != name) {
                continue;
            }
            let dir = tempfile::tempdir_in(&base)?;
            let columns = columns(&run(*engine, &args, dir.path())?);
            print(name, &columns);
            results.push(columns);
        }
    }
    println!("\nmedians");
    for ((_, name), results) in ENGINES.iter().zip(&results) {
        let mut columns = [0.0; 11];
        for (at, column) in columns.iter_mut().enumerate() {
            *column = median(results.iter().map(|columns| columns[at]));
        }
        print(name, &columns);
    }
    Ok(())
}
