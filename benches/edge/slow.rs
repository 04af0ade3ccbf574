//! Clients that never read, among clients that do: what the others notice.
//!
//! On one server process, with the same readers throughout: a fan-out, quiet; then one client in a hundred more, which
//! takes no byte from its connection (QUIC with a stream window of 2 KiB, and TLS with the smallest socket buffer, where
//! the server speaks it), and once the server holds all that it will ever hold for them, the same fan-out; then, when they
//! have gone, the same once more. What the middle one costs is divided by the mean of the other two, so that a server or
//! a machine that drifts does not count.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bytes::{Bytes, BytesMut};
use hdrhistogram::Histogram;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::Server;
use crate::codec::{Codec, Request, Unit};
use crate::fan_out::fan_out;
use crate::plan::{Case, Measure, Plan, SLOW, SLOW_READERS};
use crate::process::ServerProcess;
use crate::sample::{Sample, Samples};
use crate::swarm::{Inbox, Link, Swarm, dial};
use crate::tally::quantile_ms;
use crate::transport::{SERVER_NAME, client_endpoint, client_tls};

/// Broadcasts a second in the windows.
const PER_S: u32 = 10;

/// Broadcasts a second, and how many, until a server has nothing more to add for who does not read: N marks a session
/// behind at 64 KiB, the peers at 64 messages; the kernel holds as much again for TLS.
const FILL_PER_S: u32 = 20;
const FILL: u32 = 450;

/// What a client that never reads lets a server send on its stream: enough for a welcome.
const WINDOW: u32 = 2048;

pub(crate) async fn run(server: Server, codec: Arc<dyn Codec>, plan: &Plan) -> Result<Vec<Sample>> {
    let process = ServerProcess::start_with_tcp(server)?;
    let mut swarm = Swarm::connect(&process, Arc::clone(&codec), SLOW_READERS).await?;
    let before = measure(&process, &mut swarm, plan).await.context("before")?;
    let slow = Slow::connect(&process, server, &codec).await.context("clients that never read")?;
    fill(&mut swarm, plan).await.context("until nothing more is held")?;
    let beside = measure(&process, &mut swarm, plan).await.context("beside clients that never read")?;
    slow.close();
    let after = measure(&process, &mut swarm, plan).await.context("after")?;
    swarm.close();

    let mut samples = Samples::default();
    let mut add = |measure, value| samples.add(Case::Slow, measure, value);
    let mean = |of: fn(&Window) -> f64| f64::midpoint(of(&before), of(&after));
    add(Measure::SlowCpuRatio, beside.cpu_us / mean(|window| window.cpu_us));
    add(Measure::SlowP99Ratio, beside.p99_ms() / mean(Window::p99_ms));
    add(Measure::QuietCpuUs, mean(|window| window.cpu_us));
    add(Measure::BesideCpuUs, beside.cpu_us);
    add(Measure::QuietP50Ms, mean(Window::p50_ms));
    add(Measure::BesideP50Ms, beside.p50_ms());
    add(Measure::QuietP99Ms, mean(Window::p99_ms));
    add(Measure::BesideP99Ms, beside.p99_ms());
    add(Measure::QuietRssMib, before.rss_peak_mib);
    add(Measure::BesideRssMib, beside.rss_peak_mib);
    Ok(samples.0)
}

/// What one window came to.
struct Window {
    /// Of the server, for each delivery to a reader: it pays for the others too.
    cpu_us: f64,
    latency_us: Histogram<u64>,
    rss_peak_mib: f64,
}

impl Window {
    fn p50_ms(&self) -> f64 {
        quantile_ms(&self.latency_us, 0.50)
    }

    fn p99_ms(&self) -> f64 {
        quantile_ms(&self.latency_us, 0.99)
    }
}

/// Two windows long: it is about a tenth.
async fn measure(process: &ServerProcess, swarm: &mut Swarm, plan: &Plan) -> Result<Window> {
    process.forget_peak_rss()?;
    let used = fan_out(process, swarm, (Request::Broadcast, PER_S), plan.warm_up, plan.window * 2).await?;
    Ok(Window {
        cpu_us: used.cpu.as_secs_f64() * 1e6 / used.deliveries as f64,
        latency_us: swarm.tally.latency_us(),
        rss_peak_mib: process.rss_peak_bytes()? as f64 / f64::from(1 << 20),
    })
}

/// Broadcasts until a server has taken all that it takes for who does not read.
async fn fill(swarm: &mut Swarm, plan: &Plan) -> Result<()> {
    let began = Instant::now();
    for round in 0..FILL / plan.shortened {
        let asking = &swarm.links[round as usize % swarm.links.len()];
        swarm.tally.expect(swarm.links.len());
        asking.say(Request::Broadcast, swarm.tally.now_ns()).await?;
        let due = began + Duration::from_secs(1) * (round + 1) / FILL_PER_S;
        tokio::time::sleep_until(due.into()).await;
    }
    swarm.settled().await
}

/// Connections that were welcomed and have not read since.
struct Slow {
    quic: Vec<(Arc<Link>, Inbox)>,
    /// Closed when dropped.
    _tls: Vec<TlsStream<TcpStream>>,
}

impl Slow {
    async fn connect(process: &ServerProcess, server: Server, codec: &Arc<dyn Codec>) -> Result<Self> {
        let over_tls = if server == Server::Nearport { SLOW / 2 } else { 0 };
        let endpoint = client_endpoint(process.certificate.clone(), Some(WINDOW))?;
        let (over_quic, greeted) = (SLOW - over_tls, Arc::clone(codec));
        let greet =
            move |connection, index| Link::open(connection, Arc::clone(&greeted), SLOW_READERS + index);
        let quic = dial(&[endpoint], process.address, over_quic, greet).await?;
        if !codec.hello(0, &mut BytesMut::new()) {
            // Their stream exists once something is on it.
            for (link, _) in &quic {
                link.say(Request::Echo, 0).await?;
            }
        }
        let mut tls = Vec::new();
        for index in SLOW_READERS + over_quic..SLOW_READERS + SLOW {
            tls.push(tls_session(process.address, process.certificate.clone(), codec, index).await?);
        }
        Ok(Self { quic, _tls: tls })
    }

    fn close(self) {
        self.quic.iter().for_each(|(link, _)| link.close());
    }
}

/// A session over TLS, welcomed.
async fn tls_session(
    address: SocketAddr,
    certificate: CertificateDer<'static>,
    codec: &Arc<dyn Codec>,
    index: usize,
) -> Result<TlsStream<TcpStream>> {
    let socket = TcpSocket::new_v4()?;
    // The least that there is.
    socket.set_recv_buffer_size(0)?;
    let connector = TlsConnector::from(Arc::new(client_tls(certificate)?));
    let mut stream =
        connector.connect(ServerName::try_from(SERVER_NAME)?, socket.connect(address).await?).await?;
    let mut hello = BytesMut::new();
    codec.hello(index, &mut hello);
    stream.write_all(&hello).await?;
    stream.flush().await?;
    let (mut decoder, mut chunk) = (codec.decoder(), BytesMut::with_capacity(4096));
    loop {
        if stream.read_buf(&mut chunk).await? == 0 {
            bail!("no welcome over TLS");
        }
        decoder.feed(Bytes::from(chunk.split()));
        while let Some(unit) = decoder.next_unit()? {
            if unit == Unit::Welcome {
                return Ok(stream);
            }
        }
    }
}
