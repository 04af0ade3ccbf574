//! How the durable cases are run: a message is sent, acknowledged when it is on disk, and delivered to one partner.
//!
//! Highest rate: every connection of D sends its next message when the last one is acknowledged; the bare ledger always
//! has 64 rows waiting. Half of it: both get Poisson arrivals at half of the rate that D reached in the same repeat.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::time::{ClockId, clock_gettime};
use tempfile::TempDir;
use tokio::runtime::Handle;

use crate::Server;
use crate::bare_ledger::{self, Job};
use crate::pacer::Pacer;
use crate::pairs::Pairs;
use crate::plan::{Case, Measure, Plan, WAITING};
use crate::process::ServerProcess;
use crate::rng::Rng;
use crate::sample::{Sample, Samples};
use crate::tally::quantile_ms;

/// Measures D at its highest rate, or with arrivals at `per_s`.
pub(crate) async fn chat(plan: &Plan, per_s: Option<f64>, rng: Rng) -> Result<Vec<Sample>> {
    let server = ServerProcess::start(Server::Durable, Some(fresh_dir(&plan.dir)?))?;
    let pairs = Pairs::connect(&server, WAITING).await?;
    let mut run = Run { server, pairs, plan, samples: Samples::default() };
    match per_s {
        None => run.closed_loop().await?,
        Some(per_s) => run.open_loop(per_s, rng).await?,
    }
    run.pairs.close();
    Ok(run.samples.0)
}

/// Measures the bare ledger in the same way. Blocks.
pub(crate) fn ledger(plan: &Plan, per_s: Option<f64>, mut rng: Rng) -> Result<Vec<Sample>> {
    let dir = fresh_dir(&plan.dir)?;
    let job = Job { warm_up: plan.warm_up, window: plan.window, per_s, seed: rng.seed() };
    let outcome = bare_ledger::measure(dir.path(), job)?;
    let case = if per_s.is_some() { Case::DurableHalf } else { Case::Durable };
    let mut samples = Samples::default();
    samples.add_cpu(case, Measure::CpuUs, outcome.cpu, outcome.rows)?;
    samples.add(case, Measure::PerSecond, outcome.rows as f64 / outcome.elapsed.as_secs_f64());
    samples.add(case, Measure::AckP50Ms, outcome.ack_p50_ms);
    samples.add(case, Measure::AckP99Ms, outcome.ack_p99_ms);
    if let Some(lag) = outcome.lag_p99_ms {
        samples.add(case, Measure::PacerLagP99Ms, lag);
    }
    Ok(samples.0)
}

/// An empty directory in `dir`, removed when dropped.
///
/// # Errors
/// `dir` is in memory, where a sync costs nothing and the figures would mean nothing.
fn fresh_dir(dir: &Path) -> Result<TempDir> {
    let shown = dir.display();
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {shown}"))?;
    let kind = rustix::fs::statfs(dir).with_context(|| format!("what is {shown} on?"))?.f_type;
    ensure!(kind != libc::TMPFS_MAGIC, "{shown} is in memory: choose a directory on a disk with --dir");
    tempfile::Builder::new()
        .prefix("bench-edge-")
        .tempdir_in(dir)
        .with_context(|| format!("cannot make a directory in {shown}"))
}

/// D with its clients.
struct Run<'a> {
    pairs: Pairs,
    server: ServerProcess,
    plan: &'a Plan,
    samples: Samples,
}

/// What has been used so far.
#[derive(Clone, Copy)]
struct Meter {
    cpu: Duration,
    shards: Duration,
    writer: Duration,
    /// CPU of this process, which plays the clients.
    client: Duration,
    datagrams: u64,
}

impl Run<'_> {
    async fn closed_loop(&mut self) -> Result<()> {
        let acks = Arc::clone(&self.pairs.tallies.acks);
        acks.set_closed_loop(true);
        for member in self.pairs.members.iter() {
            member.say(acks.now_ns()).await?;
        }
        tokio::time::sleep(self.plan.warm_up).await;
        let (began, meter, count) = (Instant::now(), self.meter()?, acks.count());
        self.pairs.tallies.open_window(began, began + self.plan.window);
        tokio::time::sleep(self.plan.window).await;
        let (elapsed, used, count) = (began.elapsed(), self.since(meter)?, acks.count() - count);
        acks.set_closed_loop(false);
        self.pairs.settled().await?;
        self.add(Case::Durable, used, count, elapsed)
    }

    async fn open_loop(&mut self, per_s: f64, rng: Rng) -> Result<()> {
        let from = Instant::now() + self.plan.warm_up;
        let to = from + self.plan.window;
        self.pairs.tallies.open_window(from, to);
        let (members, runtime) = (Arc::clone(&self.pairs.members), Handle::current());
        let acks = Arc::clone(&self.pairs.tallies.acks);
        let say = move |due: Instant, rng: &mut Rng| {
            runtime.block_on(members[rng.below(members.len())].say(acks.ns(due)))
        };
        let pacer = Pacer::start(per_s, to, rng, say)?;
        tokio::time::sleep_until(from.into()).await;
        let meter = self.meter()?;
        tokio::time::sleep_until(to.into()).await;
        let used = self.since(meter)?;
        let lag_us = pacer.join()?;
        self.pairs.settled().await?;

        let count = self.pairs.tallies.acks.latency_us().len();
        self.samples.add(Case::DurableHalf, Measure::PacerLagP99Ms, quantile_ms(&lag_us, 0.99));
        self.add(Case::DurableHalf, used, count, self.plan.window)
    }

    fn meter(&self) -> Result<Meter> {
        Ok(Meter {
            cpu: self.server.cpu()?,
            shards: self.server.cpu_of_threads("edge-")?,
            writer: self.server.cpu_of_threads("chat-writer")?,
            client: clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?.into(),
            datagrams: self.pairs.datagrams(),
        })
    }

    fn since(&self, earlier: Meter) -> Result<Meter> {
        let now = self.meter()?;
        Ok(Meter {
            cpu: now.cpu - earlier.cpu,
            shards: now.shards.saturating_sub(earlier.shards),
            writer: now.writer.saturating_sub(earlier.writer),
            client: now.client - earlier.client,
            datagrams: now.datagrams - earlier.datagrams,
        })
    }

    fn add(&mut self, case: Case, used: Meter, count: u64, elapsed: Duration) -> Result<()> {
        let samples = &mut self.samples;
        let other = used.cpu.saturating_sub(used.shards + used.writer);
        samples.add_cpu(case, Measure::CpuUs, used.cpu, count)?;
        samples.add_cpu(case, Measure::ShardsCpuUs, used.shards, count)?;
        samples.add_cpu(case, Measure::WriterCpuUs, used.writer, count)?;
        samples.add_cpu(case, Measure::OtherCpuUs, other, count)?;
        samples.add(case, Measure::ServerCores, used.cpu.as_secs_f64() / elapsed.as_secs_f64());
        samples.add(case, Measure::ClientCores, used.client.as_secs_f64() / elapsed.as_secs_f64());
        samples.add(case, Measure::Datagrams, used.datagrams as f64 / count as f64);
        samples.add(case, Measure::PerSecond, count as f64 / elapsed.as_secs_f64());
        let tallies = &self.pairs.tallies;
        samples.add_quantiles(case, Measure::AckP50Ms, Measure::AckP99Ms, &tallies.acks.latency_us());
        samples.add_quantiles(
            case,
            Measure::DeliveryP50Ms,
            Measure::DeliveryP99Ms,
            &tallies.deliveries.latency_us(),
        );
        Ok(())
    }
}
