//! Server L: the least that a durable message needs, raw fjall behind a group commit, in a process of its own.
//!
//! The rows and the closed loop are those of `nearport_store::bare`, and fjall has the settings of our ledger: what D
//! costs beyond L is then due to what it writes and does, not to how the engine is set. The main thread plays the
//! clients and its CPU does not count; all others do (the group commit, fjall's flushes and compactions).

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use hdrhistogram::Histogram;
use nearport_chat::ledger::BATCH_ITEMS_MAX;
use nearport_store::bare::{BareLedger, BareMessage, Messages, closed_loop};
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::Server;
use crate::pacer::pace;
use crate::plan::{LEDGER_IN_FLIGHT, WAITING};
use crate::process;
use crate::rng::Rng;
use crate::tally::{histogram_us, quantile_ms};

/// As many as D has: one for each pair of connections.
const CONVERSATIONS: usize = WAITING / 2;

/// Rows that may wait for the group commit in the open loop, as many as in D (`writer_queue_items`). When it is full
/// the generator waits, which counts: latency runs from the intended time.
const WAITING_MAX: usize = 16_384;

/// What the bench asks for: one line of JSON on stdin.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) warm_up: Duration,
    pub(crate) window: Duration,
    /// Poisson arrivals at this rate; without it a closed loop of [`LEDGER_IN_FLIGHT`].
    pub(crate) per_s: Option<f64>,
    pub(crate) seed: u64,
}

/// What the window came to: one line of JSON on stdout.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) rows: u64,
    pub(crate) elapsed: Duration,
    pub(crate) cpu: Duration,
    pub(crate) ack_p50_ms: f64,
    pub(crate) ack_p99_ms: f64,
    /// How late the generator itself was, in the open loop.
    pub(crate) lag_p99_ms: Option<f64>,
}

/// Runs `job` in a process of its own, which keeps its data in `dir`. Blocks until that process has ended.
pub(crate) fn measure(dir: &Path, job: Job) -> Result<Outcome> {
    let mut command = process::command(Server::Ledger, Some(dir))?;
    let mut child = command.stderr(Stdio::inherit()).spawn().context("cannot start the bare ledger")?;
    let mut stdin = child.stdin.take().context("the child has no stdin")?;
    writeln!(stdin, "{}", serde_json::to_string(&job)?)?;
    drop(stdin);
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "the bare ledger failed ({})", output.status);
    serde_json::from_slice(&output.stdout).context("the bare ledger's outcome is unreadable")
}

/// Is the process that [`measure`] starts.
pub(crate) fn serve(dir: &Path) -> Result<()> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    let job: Job = serde_json::from_str(&line).context("no job on stdin")?;
    let mut bare = BareLedger::open_tuned(&dir.join("ledger"))?;
    let rows = Messages::new(job.seed, u32::try_from(CONVERSATIONS)?);
    let outcome = match job.per_s {
        None => waiting(&mut bare, rows, job)?,
        Some(per_s) => paced(&mut bare, rows, job, per_s)?,
    };
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}

/// The closed loop.
fn waiting(bare: &mut BareLedger, mut rows: Messages, job: Job) -> Result<Outcome> {
    let mut run = |duration| {
        let next = || rows.next().expect("the load is endless");
        closed_loop(LEDGER_IN_FLIGHT, duration, next, |batch: &[BareMessage]| bare.commit(batch))
    };
    run(job.warm_up)?;
    let cpu = others_cpu()?;
    let figures = run(job.window)?;
    Ok(Outcome {
        rows: figures.messages,
        elapsed: figures.elapsed,
        cpu: others_cpu()?.saturating_sub(cpu),
        ack_p50_ms: figures.ack_ms(0.50),
        ack_p99_ms: figures.ack_ms(0.99),
        lag_p99_ms: None,
    })
}

/// The open loop.
fn paced(bare: &mut BareLedger, mut rows: Messages, job: Job, per_s: f64) -> Result<Outcome> {
    let (to_writer, waiting) = sync_channel::<(BareMessage, Instant)>(WAITING_MAX);
    let mut rng = Rng::new(job.seed);
    let from = Instant::now() + job.warm_up;
    let to = from + job.window;
    thread::scope(|scope| {
        let writer = scope.spawn(move || group_commit(bare, &waiting, from));
        let mut send = |due: Instant, _: &mut Rng| {
            let row = rows.next().expect("the load is endless");
            to_writer.send((row, due)).map_err(|_| anyhow!("the writer has stopped"))
        };
        let paced = pace(per_s, from, &mut rng, &mut send)
            .and_then(|_| others_cpu())
            .and_then(|cpu| Ok((pace(per_s, to, &mut rng, &mut send)?, others_cpu()?.saturating_sub(cpu))));
        drop(to_writer);
        // Its error is the cause if both have one.
        let ack_us = writer.join().map_err(|_| anyhow!("the writer panicked"))??;
        let (lag_us, cpu) = paced?;
        Ok(Outcome {
            rows: ack_us.len(),
            elapsed: job.window,
            cpu,
            ack_p50_ms: quantile_ms(&ack_us, 0.50),
            ack_p99_ms: quantile_ms(&ack_us, 0.99),
            lag_p99_ms: Some(quantile_ms(&lag_us, 0.99)),
        })
    })
}

/// Commits whatever waits until nobody can send any more. Returns the time from the intended send to the end of the
/// commit, in microseconds, of the rows that were due from `from` on.
fn group_commit(
    bare: &mut BareLedger,
    waiting: &Receiver<(BareMessage, Instant)>,
    from: Instant,
) -> Result<Histogram<u64>> {
    let mut ack_us = histogram_us();
    let (mut rows, mut times) = (Vec::with_capacity(BATCH_ITEMS_MAX), Vec::with_capacity(BATCH_ITEMS_MAX));
    while let Ok(first) = waiting.recv() {
        rows.clear();
        times.clear();
        for (row, due) in std::iter::once(first).chain(waiting.try_iter().take(BATCH_ITEMS_MAX - 1)) {
            rows.push(row);
            times.push(due);
        }
        bare.commit(&rows)?;
        let now = Instant::now();
        for due in times.iter().filter(|due| **due >= from) {
            let us = now.saturating_duration_since(*due).as_micros();
            ack_us.saturating_record(u64::try_from(us).unwrap_or(u64::MAX));
        }
    }
    Ok(ack_us)
}

/// Run time so far of all threads but the calling one, those that have ended included.
fn others_cpu() -> Result<Duration> {
    let all: Duration = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?.into();
    let own: Duration = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into();
    Ok(all.saturating_sub(own))
}
