//! How each case is run. Cases that need the same connections share one server process, in an order in which none
//! disturbs the next: memory is read before any load.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tokio::runtime::Handle;

use crate::codec::{Codec, Plain, Request};
use crate::fan_out::fan_out;
use crate::handshakes::handshakes;
use crate::nearport::Frames;
use crate::pacer::Pacer;
use crate::plan::{CROWD, Case, Measure, OPEN_LOOP_PER_S, Plan, WAITING};
use crate::process::ServerProcess;
use crate::rng::Rng;
use crate::sample::{Sample, Samples};
use crate::swarm::Swarm;
use crate::tally::quantile_ms;
use crate::{Server, durable, flood, slow};

/// Connections made and closed before memory is first read, so that the server's code and arenas are resident.
const REHEARSAL: usize = 8;

/// Readings of resident memory before the bench gives up on a server that keeps growing.
const RSS_READINGS_MAX: usize = 20;

/// Cases that share a server process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// Idle memory, open loop, fan-out on [`CROWD`] connections.
    Crowd,
    /// Closed loop, fan-out on [`WAITING`] connections.
    Waiting,
    /// Durable messages, as many as can be.
    Durable,
    /// Durable messages at half of that rate, which is why it comes later.
    DurableHalf,
    /// Connections that come and go.
    Handshakes,
    /// Users who stay, while others begin handshakes without end.
    Flood,
    /// Readers, and clients that never read.
    Slow,
}

impl Group {
    pub(crate) const ALL: [Self; 7] = [
        Self::Crowd,
        Self::Waiting,
        Self::Durable,
        Self::DurableHalf,
        Self::Handshakes,
        Self::Flood,
        Self::Slow,
    ];

    pub(crate) fn cases(self) -> &'static [Case] {
        match self {
            Self::Crowd => &[Case::Idle, Case::EchoOpen, Case::FanoutCrowd, Case::FanoutLive],
            Self::Waiting => &[Case::EchoClosed, Case::FanoutWaiting],
            Self::Durable => &[Case::Durable],
            Self::DurableHalf => &[Case::DurableHalf],
            Self::Handshakes => &[Case::Handshake],
            Self::Flood => &[Case::Flood],
            Self::Slow => &[Case::Slow],
        }
    }

    /// Starts `server`, runs those of its cases that are wanted, stops it. `half_per_s` is half of D's highest rate in
    /// this repeat, once that is known.
    pub(crate) async fn run(
        self,
        server: Server,
        plan: &Plan,
        wanted: &[Case],
        half_per_s: Option<f64>,
        rng: Rng,
    ) -> Result<Vec<Sample>> {
        let per_s = match self {
            Self::DurableHalf => Some(half_per_s.context("nobody has found D's highest rate")?),
            _ => None,
        };
        let codec: Arc<dyn Codec> = match server {
            Server::Nearport => Arc::new(Frames),
            Server::Default | Server::Tuned => Arc::new(Plain),
            Server::Durable => return durable::chat(plan, per_s, rng).await,
            Server::Ledger => return durable::ledger(plan, per_s, rng),
        };
        match self {
            Self::Flood => return flood::run(server, codec, plan, rng).await,
            Self::Slow => return slow::run(server, codec, plan).await,
            _ => {}
        }
        let server = ServerProcess::start(server, None)?;
        let mut run = Run { server, plan, samples: Samples::default() };
        match self {
            Self::Crowd => run.crowd(codec, wanted, rng).await?,
            Self::Waiting => run.waiting(codec, wanted).await?,
            Self::Handshakes => run.handshakes(codec).await?,
            Self::Durable | Self::DurableHalf | Self::Flood | Self::Slow => bail!("it has a way of its own"),
        }
        Ok(run.samples.0)
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crowd => write!(f, "{CROWD} connections"),
            Self::Waiting => write!(f, "{WAITING} connections"),
            Self::Durable => f.write_str("durable"),
            Self::DurableHalf => f.write_str("durable at half rate"),
            Self::Handshakes => f.write_str("handshakes"),
            Self::Flood => f.write_str("flood of handshakes"),
            Self::Slow => f.write_str("clients that never read"),
        }
    }
}

/// One server process and what was found out about it.
struct Run<'a> {
    server: ServerProcess,
    plan: &'a Plan,
    samples: Samples,
}

impl Run<'_> {
    async fn crowd(&mut self, codec: Arc<dyn Codec>, wanted: &[Case], rng: Rng) -> Result<()> {
        let rehearsal = Swarm::connect(&self.server, Arc::clone(&codec), REHEARSAL).await?;
        rehearsal.close();
        drop(rehearsal);
        let before = self.settled_rss().await?;
        let mut swarm = Swarm::connect(&self.server, codec, CROWD).await?;
        if wanted.contains(&Case::Idle) {
            let grown = self.settled_rss().await?.saturating_sub(before);
            self.add(Case::Idle, Measure::RssBytes, grown as f64 / CROWD as f64);
        }
        if wanted.contains(&Case::EchoOpen) {
            self.open_loop(&mut swarm, rng).await.context("open loop")?;
        }
        if wanted.contains(&Case::FanoutCrowd) {
            self.fan_out(&mut swarm, Case::FanoutCrowd, (Request::Broadcast, 2)).await.context("fan-out")?;
        }
        if wanted.contains(&Case::FanoutLive) {
            self.fan_out(&mut swarm, Case::FanoutLive, (Request::Live, 2)).await.context("live room")?;
        }
        swarm.close();
        Ok(())
    }

    async fn waiting(&mut self, codec: Arc<dyn Codec>, wanted: &[Case]) -> Result<()> {
        let mut swarm = Swarm::connect(&self.server, codec, WAITING).await?;
        if wanted.contains(&Case::EchoClosed) {
            self.closed_loop(&mut swarm).await.context("closed loop")?;
        }
        if wanted.contains(&Case::FanoutWaiting) {
            self.fan_out(&mut swarm, Case::FanoutWaiting, (Request::Broadcast, 10))
                .await
                .context("fan-out")?;
        }
        swarm.close();
        Ok(())
    }

    async fn handshakes(&mut self, codec: Arc<dyn Codec>) -> Result<()> {
        let measured = handshakes(&self.server, codec, self.plan.warm_up, self.plan.window).await?;
        self.add_cpu(Case::Handshake, measured.server_cpu, measured.count)?;
        self.add(Case::Handshake, Measure::Datagrams, measured.datagrams as f64 / measured.count as f64);
        self.add(Case::Handshake, Measure::PerSecond, measured.count as f64 / measured.elapsed.as_secs_f64());
        Ok(())
    }

    /// Every connection sends, waits for its reply, sends again.
    async fn closed_loop(&mut self, swarm: &mut Swarm) -> Result<()> {
        let tally = Arc::clone(&swarm.tally);
        tally.set_closed_loop(true);
        tally.expect(swarm.links.len());
        for link in swarm.links.iter() {
            link.say(Request::Echo, tally.now_ns()).await?;
        }
        tokio::time::sleep(self.plan.warm_up).await;
        let datagrams = swarm.datagrams();
        let (began, cpu, count) = (Instant::now(), self.server.cpu()?, tally.count());
        tally.open_window(began, began + self.plan.window);
        tokio::time::sleep(self.plan.window).await;
        let (elapsed, cpu, count) = (began.elapsed(), self.server.cpu()? - cpu, tally.count() - count);
        let datagrams = swarm.datagrams() - datagrams;
        tally.set_closed_loop(false);
        swarm.settled().await?;

        self.add_cpu(Case::EchoClosed, cpu, count)?;
        self.add(Case::EchoClosed, Measure::Datagrams, datagrams as f64 / count as f64);
        self.add(Case::EchoClosed, Measure::PerSecond, count as f64 / elapsed.as_secs_f64());
        self.add_latency(Case::EchoClosed, swarm);
        Ok(())
    }

    /// Messages at Poisson times on random connections.
    async fn open_loop(&mut self, swarm: &mut Swarm, rng: Rng) -> Result<()> {
        let from = Instant::now() + self.plan.warm_up;
        let to = from + self.plan.window;
        swarm.tally.open_window(from, to);
        let (links, tally, runtime) = (Arc::clone(&swarm.links), Arc::clone(&swarm.tally), Handle::current());
        let say = move |due: Instant, rng: &mut Rng| {
            tally.expect(1);
            runtime.block_on(links[rng.below(links.len())].say(Request::Echo, tally.ns(due)))
        };
        let pacer = Pacer::start(OPEN_LOOP_PER_S, to, rng, say)?;
        tokio::time::sleep_until(from.into()).await;
        let (cpu, datagrams) = (self.server.cpu()?, swarm.datagrams());
        tokio::time::sleep_until(to.into()).await;
        let (cpu, datagrams) = (self.server.cpu()? - cpu, swarm.datagrams() - datagrams);
        let lag_us = pacer.join()?;
        swarm.settled().await?;

        let count = swarm.tally.latency_us().len();
        self.add_cpu(Case::EchoOpen, cpu, count)?;
        self.add(Case::EchoOpen, Measure::Datagrams, datagrams as f64 / count as f64);
        self.add_latency(Case::EchoOpen, swarm);
        self.add(Case::EchoOpen, Measure::PacerLagP99Ms, quantile_ms(&lag_us, 0.99));
        Ok(())
    }

    /// Broadcasts at an even rate.
    async fn fan_out(&mut self, swarm: &mut Swarm, case: Case, load: (Request, u32)) -> Result<()> {
        let Plan { warm_up, window, .. } = *self.plan;
        let used = fan_out(&self.server, swarm, load, warm_up, window).await?;
        self.add_cpu(case, used.cpu, used.deliveries)?;
        self.add(case, Measure::Datagrams, used.datagrams as f64 / used.deliveries as f64);
        self.add_latency(case, swarm);
        Ok(())
    }

    /// Resident memory once two readings agree.
    async fn settled_rss(&self) -> Result<u64> {
        let mut last = self.server.rss_bytes()?;
        for _ in 0..RSS_READINGS_MAX {
            tokio::time::sleep(self.plan.settle).await;
            let now = self.server.rss_bytes()?;
            if now == last {
                return Ok(now);
            }
            last = now;
        }
        anyhow::bail!("the idle server's memory keeps changing, {last} bytes at last")
    }

    fn add(&mut self, case: Case, measure: Measure, value: f64) {
        self.samples.add(case, measure, value);
    }

    fn add_cpu(&mut self, case: Case, cpu: Duration, operations: u64) -> Result<()> {
        self.samples.add_cpu(case, Measure::CpuUs, cpu, operations)
    }

    fn add_latency(&mut self, case: Case, swarm: &Swarm) {
        self.samples.add_quantiles(case, Measure::P50Ms, Measure::P99Ms, &swarm.tally.latency_us());
    }
}
