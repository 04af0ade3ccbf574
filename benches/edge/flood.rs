//! Users who are logged in, while somebody begins three times as many handshakes as the server can do.
//!
//! On one server process: how much a handshake costs it; then users at a modest rate of messages, quiet; then the same
//! as a flood begins; then, when all have their replies, with the flood for longer. A few honest clients log in
//! meanwhile, in all windows.
//!
//! The capacity is what the server's threads could do if they did nothing else and had the machine for themselves: threads
//! divided by CPU per full handshake. What a server completes here, where the clients' halves cost as much, is half of it.
//! The flood is made of first datagrams from a pool ([`Initials`]), sent from addresses all over 127.0.0.0/8 and never
//! heard of again; sending one costs 2 to 3 µs, mostly the kernel's for the server's receiving half.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use hdrhistogram::Histogram;
use nix::time::{ClockId, clock_gettime};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::Server;
use crate::codec::{Codec, Request};
use crate::handshakes::{handshakes, login};
use crate::initials::Initials;
use crate::pacer::Pacer;
use crate::plan::{Case, FLOOD, FLOOD_USERS, FLOOD_USERS_PER_S, Measure, Plan};
use crate::process::ServerProcess;
use crate::rng::Rng;
use crate::sample::{Sample, Samples};
use crate::swarm::Swarm;
use crate::tally::{histogram_us, quantile_ms};
use crate::transport::{SHARDS, client_endpoints};

/// Source addresses of the flood, each with a port of its own.
const SOURCES: u16 = 256;

/// The flood goes out this often, in portions.
const PORTION_EVERY: Duration = Duration::from_micros(250);

/// What the flood catches up with at once after its thread had to wait for a core: a flood that comes over a network does
/// not come in lumps.
const PORTIONS_MAX: u32 = 8;

/// Honest clients that log in during each window.
const LOGINS_PER_S: u32 = 20;

/// Users of a chat do not wait longer.
const LOGIN_PATIENCE: Duration = Duration::from_secs(5);

pub(crate) async fn run(
    server: Server,
    codec: Arc<dyn Codec>,
    plan: &Plan,
    mut rng: Rng,
) -> Result<Vec<Sample>> {
    let process = ServerProcess::start(server, None)?;
    let measured = handshakes(&process, Arc::clone(&codec), plan.warm_up, plan.window).await?;
    ensure!(measured.count > 0, "no handshake came through");
    let cpu_s = measured.server_cpu.as_secs_f64() / measured.count as f64;
    let capacity_per_s = threads(server) / cpu_s;

    let mut flooded = Flooded { process, plan, samples: Samples::default() };
    flooded.add(Measure::CapacityPerS, capacity_per_s);
    let per_s = capacity_per_s * FLOOD;
    let count = (per_s * (plan.warm_up * 2 + plan.window).as_secs_f64()).ceil();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some 100,000")]
    let initials = Initials::make(count as usize, flooded.process.certificate.clone(), &mut rng)?;

    let mut swarm = Swarm::connect(&flooded.process, Arc::clone(&codec), FLOOD_USERS).await?;
    let Plan { warm_up, window, .. } = *plan;
    let quiet = flooded.window(&mut swarm, &codec, rng.fork(), warm_up, window).await.context("quiet")?;
    let flood = Flood::new(initials, flooded.process.address, per_s)?;
    let flood = flood.start(warm_up)?;
    let onset = flooded.window(&mut swarm, &codec, rng.fork(), Duration::ZERO, warm_up).await;
    let onset = onset.context("as the flood began")?;
    let (flood, _) = flood.join()?;
    let flood = flood.start(warm_up + window)?;
    let loud = flooded.window(&mut swarm, &codec, rng.fork(), warm_up, window).await.context("flooded")?;
    let (_, sent) = flood.join()?;
    swarm.close();
    flooded.report(&quiet, &onset, &loud, sent);
    Ok(flooded.samples.0)
}

/// Threads of the server that can shake hands at the same time.
fn threads(server: Server) -> f64 {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let threads = if server == Server::Default { cores } else { cores.min(usize::from(SHARDS)) };
    threads as f64
}

/// One server, quiet and flooded.
struct Flooded<'a> {
    process: ServerProcess,
    plan: &'a Plan,
    samples: Samples,
}

/// What one window came to.
struct Window {
    latency_us: Histogram<u64>,
    lag_us: Histogram<u64>,
    logins: Logins,
    server: Duration,
    client: Duration,
    rss_peak: u64,
}

impl Flooded<'_> {
    /// Users send at Poisson times, honest clients log in; what `lead` brings does not count.
    async fn window(
        &self,
        swarm: &mut Swarm,
        codec: &Arc<dyn Codec>,
        rng: Rng,
        lead: Duration,
        length: Duration,
    ) -> Result<Window> {
        let from = Instant::now() + lead;
        let to = from + length;
        swarm.tally.open_window(from, to);
        let (links, tally, runtime) = (Arc::clone(&swarm.links), Arc::clone(&swarm.tally), Handle::current());
        let say = move |due: Instant, rng: &mut Rng| {
            tally.expect(1);
            runtime.block_on(links[rng.below(links.len())].say(Request::Echo, tally.ns(due)))
        };
        let pacer = Pacer::start(FLOOD_USERS_PER_S, to, rng, say)?;
        let logins = tokio::spawn(Logins::run(
            client_endpoints(self.process.certificate.clone())?,
            self.process.address,
            Arc::clone(codec),
            (from, to),
        ));
        self.process.forget_peak_rss()?;
        tokio::time::sleep_until(from.into()).await;
        let (server, client) = (self.process.cpu()?, own_cpu()?);
        tokio::time::sleep_until(to.into()).await;
        let (server, client) = (self.process.cpu()? - server, own_cpu()? - client);
        let rss_peak = self.process.rss_peak_bytes()?;
        let lag_us = pacer.join()?;
        let logins = logins.await??;
        swarm.settled().await?;
        Ok(Window { latency_us: swarm.tally.latency_us(), lag_us, logins, server, client, rss_peak })
    }

    fn report(&mut self, quiet: &Window, onset: &Window, loud: &Window, flood: Sent) {
        let window_s = self.plan.window.as_secs_f64();
        let p99 = |window: &Window| quantile_ms(&window.latency_us, 0.99);
        self.add(Measure::FloodedRatio, p99(loud) / p99(quiet));
        self.samples.add_quantiles(Case::Flood, Measure::QuietP50Ms, Measure::QuietP99Ms, &quiet.latency_us);
        self.samples.add_quantiles(
            Case::Flood,
            Measure::FloodedP50Ms,
            Measure::FloodedP99Ms,
            &loud.latency_us,
        );
        self.add(Measure::OnsetP99Ms, p99(onset));
        self.add(Measure::PacerLagP99Ms, quantile_ms(&loud.lag_us, 0.99));
        self.add(Measure::FloodPerS, flood.count as f64 / flood.elapsed.as_secs_f64());
        self.add(Measure::FloodCores, flood.cpu.as_secs_f64() / flood.elapsed.as_secs_f64());
        self.add(Measure::ServerCores, loud.server.as_secs_f64() / window_s);
        self.add(Measure::ClientCores, loud.client.as_secs_f64() / window_s);
        self.add(Measure::QuietLogins, quiet.logins.percent());
        self.add(Measure::FloodedLogins, loud.logins.percent());
        self.add(Measure::LoginP50Ms, quantile_ms(&loud.logins.took_us, 0.50));
        self.add(Measure::QuietRssMib, quiet.rss_peak as f64 / f64::from(1 << 20));
        self.add(Measure::FloodedRssMib, loud.rss_peak as f64 / f64::from(1 << 20));
    }

    fn add(&mut self, measure: Measure, value: f64) {
        self.samples.add(Case::Flood, measure, value);
    }
}

/// CPU of this process so far.
fn own_cpu() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?.into())
}

/// Honest clients that came.
struct Logins {
    tried: u64,
    /// Of those that got their first reply.
    took_us: Histogram<u64>,
}

impl Logins {
    /// [`LOGINS_PER_S`] within a window. Ends when the last one is in, or has given up.
    async fn run(
        endpoints: Vec<quinn::Endpoint>,
        address: SocketAddr,
        codec: Arc<dyn Codec>,
        (from, to): (Instant, Instant),
    ) -> Result<Self> {
        let mut tasks = JoinSet::new();
        let mut logins = Self { tried: 0, took_us: histogram_us() };
        let (mut due, mut index) = (from, FLOOD_USERS);
        while due < to {
            tokio::time::sleep_until(due.into()).await;
            let (endpoint, codec) = (endpoints[index % endpoints.len()].clone(), Arc::clone(&codec));
            tasks.spawn(async move {
                let began = Instant::now();
                let login = login(&endpoint, address, codec, index);
                let done = tokio::time::timeout(LOGIN_PATIENCE, login).await;
                done.is_ok_and(|login| login.is_ok()).then(|| began.elapsed())
            });
            logins.tried += 1;
            due += Duration::from_secs(1) / LOGINS_PER_S;
            index += 1;
        }
        while let Some(took) = tasks.join_next().await {
            if let Some(took) = took? {
                let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
                logins.took_us.saturating_record(took_us);
            }
        }
        Ok(logins)
    }

    /// Of a hundred, how many came in.
    fn percent(&self) -> f64 {
        self.took_us.len() as f64 / self.tried as f64 * 100.0
    }
}

/// What a flood was.
#[derive(Clone, Copy, Debug)]
struct Sent {
    count: u64,
    elapsed: Duration,
    /// Of the sending thread.
    cpu: Duration,
}

/// A flood that waits for its time.
#[derive(Debug)]
struct Flood {
    initials: Initials,
    /// The next of them; each is sent once.
    next: usize,
    sockets: Vec<UdpSocket>,
    per_s: f64,
}

/// A thread that sends one Initial after the other.
#[derive(Debug)]
struct Running(JoinHandle<Result<(Flood, Sent)>>);

impl Running {
    /// Waits for its end, which is known. Blocks: call it then.
    fn join(self) -> Result<(Flood, Sent)> {
        self.0.join().map_err(|_| anyhow!("the flood panicked"))?
    }
}

impl Flood {
    fn new(initials: Initials, server: SocketAddr, per_s: f64) -> Result<Self> {
        let sockets = (0..SOURCES).map(|number| source(number, server)).collect::<Result<Vec<_>>>()?;
        Ok(Self { initials, next: 0, sockets, per_s })
    }

    /// Floods for this long, on a thread of its own.
    fn start(mut self, length: Duration) -> Result<Running> {
        let body = move || {
            let sent = self.send(length)?;
            Ok((self, sent))
        };
        Ok(Running(thread::Builder::new().name("flood".to_owned()).spawn(body)?))
    }

    fn send(&mut self, length: Duration) -> Result<Sent> {
        nix::sys::prctl::set_timerslack(1).context("cannot set the timer slack")?;
        let (began, first) = (Instant::now(), self.next);
        let (mut last, mut owed) = (began, 0.0);
        while last - began < length && self.next < self.initials.len() {
            thread::park_timeout(PORTION_EVERY);
            let now = Instant::now();
            owed += self.per_s * (now - last).min(PORTION_EVERY * PORTIONS_MAX).as_secs_f64();
            last = now;
            while owed >= 1.0 && self.next < self.initials.len() {
                // What the kernel has no room for is lost, as on any network.
                let _ = self.sockets[self.next % self.sockets.len()].send(self.initials.get(self.next));
                self.next += 1;
                owed -= 1.0;
            }
        }
        let cpu = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into();
        Ok(Sent { count: (self.next - first) as u64, elapsed: began.elapsed(), cpu })
    }
}

/// A socket that sends to `server` from an address of its own and keeps no answer.
fn source(number: u16, server: SocketAddr) -> Result<UdpSocket> {
    let [high, low] = number.to_be_bytes();
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    // The least that there is: whatever comes after one datagram is dropped.
    socket.set_recv_buffer_size(0)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::new(127, low, 1 + high, 1), 0)).into())?;
    socket.connect(&server.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}
