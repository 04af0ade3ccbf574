//! `nearport doctor`: what will keep a node from running well on this machine, and what to do about it.

use std::fmt;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use nearport_chat::directory::Accounts as _;
use nearport_client::SurveyStep;
use nearport_edge::Edge;
use nearport_store::{LockError, SqliteDirectory, StoreLock};
use nearport_trunk::echo::Echo;
use rustix::process::{Resource, getrlimit};
use rustls::sign::SingleCertAndKey;
use socket2::{Domain, Socket, Type};

use crate::acme;
use crate::cli::{Failure, SettingsArgs};
use crate::cli_client::AccessArgs;
use crate::cli_client_locate;
use crate::config::{Config, Engine};
use crate::first_run::{Layout, RunFile};
use crate::node_storage::Storage;
use crate::tls;

/// What the edge asks for; see its sockets.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;
/// A full disk stops the ledger: journals take up to 512 MiB, tables as much again while they are merged.
const DISK_BYTES_LOW: u64 = 2 << 30;
/// Below this the store cannot even rotate its journal.
const DISK_BYTES_NONE: u64 = 256 << 20;
/// Descriptors for sockets, tables and room to spare.
const DESCRIPTORS_LOW: u64 = 4096;
/// The server itself begins to warn then, if the certificate lives for two months or more.
const CERTIFICATE_DAYS_LOW: u64 = 14;
/// Before this program existed no clock was right (2026-01-01).
const CLOCK_EARLIEST_S: u64 = 1_767_225_600;
/// UserSigs and certificates made today have ended by then (2100-01-01).
const CLOCK_LATEST_S: u64 = 4_102_444_800;

/// Look for what will keep a node from running well here.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    settings: SettingsArgs,
}

#[derive(Debug, PartialEq, Eq)]
enum Finding {
    Ok(String),
    /// It runs, but not well.
    Warn(String),
    /// It will not run.
    Fail(String),
}

use Finding::{Fail, Ok as Good, Warn};

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Good(text) => write!(f, "ok    {text}"),
            Warn(text) => write!(f, "warn  {text}"),
            Fail(text) => write!(f, "fail  {text}"),
        }
    }
}

impl Doctor {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let config = self.settings.load()?.config;
        let layout = Layout(config.data.clone());
        let server = running(&layout);
        let mut findings = vec![
            data_directory(&layout),
            disk(&layout),
            match config.storage.directory {
                Engine::Embedded => store(&layout, server.as_ref()),
                Engine::Postgres => database(&config),
            },
            clock(SystemTime::now()),
            certificate(&config),
            port("edge", config.edge.listen, server.as_ref().and_then(|run| run.edge), udp_free),
            port("ops", config.ops.listen, server.as_ref().map(|run| run.ops), tcp_free),
            port("api", config.api.listen, server.as_ref().and_then(|run| run.api), tcp_free),
            socket_buffers(),
            loopback(),
            steering(),
            descriptors(),
        ];
        findings.extend(way_to_a_pop(&layout));
        let mut failed = 0;
        for finding in &findings {
            println!("{finding}");
            failed += usize::from(matches!(finding, Fail(_)));
        }
        if failed > 0 {
            return Err(anyhow::anyhow!("{failed} of {} checks failed", findings.len()).into());
        }
        Ok(())
    }
}

/// The server that holds the data directory, if one runs.
fn running(layout: &Layout) -> Option<RunFile> {
    match StoreLock::acquire(&layout.0) {
        Err(LockError::Held { pid, .. }) => {
            layout.read_run_file().ok().flatten().filter(|run| pid == Some(run.pid))
        }
        _ => None,
    }
}

fn data_directory(layout: &Layout) -> Finding {
    let dir = layout.0.display();
    let made = layout.make().map_err(|error| error.to_string());
    let probe = layout.0.join(".doctor");
    let written = made.and_then(|()| {
        let tried = fs::write(&probe, b"x").map_err(|error| error.to_string());
        let _ = fs::remove_file(&probe);
        tried
    });
    match written {
        Ok(()) => Good(format!("data directory {dir} is writable")),
        Err(error) => Fail(format!("data directory {dir}: {error}; choose another one with --data")),
    }
}

fn disk(layout: &Layout) -> Finding {
    let dir = layout.0.display();
    match rustix::fs::statvfs(&layout.0) {
        Err(error) => Warn(format!("free space of {dir} cannot be read: {error}")),
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let text = format!("{} MiB free for {dir}", free >> 20);
            match free {
                ..DISK_BYTES_NONE => Fail(format!("{text}: the store will stop at once; make room")),
                DISK_BYTES_NONE..DISK_BYTES_LOW => {
                    Warn(format!("{text}: a full disk stops every send; make room"))
                }
                _ => Good(text),
            }
        }
    }
}

fn store(layout: &Layout, server: Option<&RunFile>) -> Finding {
    if let Some(run) = server {
        return Good(format!("store is in use by a running server, process {}", run.pid));
    }
    if let Err(error) = StoreLock::acquire(&layout.0) {
        return Fail(format!("store: {error}; stop that process"));
    }
    let path = layout.directory();
    if !path.exists() {
        return Good("store does not exist yet: the first `nearport serve` makes it".to_owned());
    }
    // The ledger is not opened: opening recovers, and that is for `serve` to do and to report.
    match SqliteDirectory::open(&path).and_then(|directory| directory.apps()) {
        Ok(apps) => Good(format!("store is free, {} app(s)", apps.len())),
        Err(error) => Fail(format!("store: {error}; restore {} from a backup", path.display())),
    }
}

fn database(config: &Config) -> Finding {
    match Storage::directory_of(config).and_then(|directory| directory.apps()) {
        Ok(apps) => Good(format!("PostgreSQL answers, {} app(s)", apps.len())),
        Err(error) => Fail(format!("store: {error}; see storage.postgres.url")),
    }
}

fn clock(now: SystemTime) -> Finding {
    match now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()) {
        CLOCK_EARLIEST_S..CLOCK_LATEST_S => Good("clock is plausible".to_owned()),
        now_s => {
            Fail(format!("clock says {now_s} s after 1970: UserSigs and certificates fail; set it, run NTP"))
        }
    }
}

/// One line for what was configured, or for the development CA's.
fn certificate(config: &Config) -> Finding {
    let now = SystemTime::now();
    let issued = acme::certificate_file(&config.acme, &config.data);
    let sources = tls::inspect(&config.tls, issued.as_deref());
    if sources.is_empty() {
        if let Some(directory) = &config.acme.directory {
            return Good(format!("no certificate from {directory} yet: `nearport serve` orders it"));
        }
        return dev_certificate(&config.tls.dev_dir);
    }
    let mut soonest: Option<(Duration, String)> = None;
    let mut good = 0;
    for (name, loaded) in sources {
        let certificate = match loaded {
            Err(error) if name == "tls.cert" => return Fail(format!("{name}: {error}")),
            Err(error) => return Warn(format!("certificate {name}: {error}; the others are served")),
            Ok(certificate) => certificate,
        };
        good += 1;
        let left = certificate.left(now);
        let title = format!("{name} ({})", certificate.title());
        if left.is_zero() {
            return Warn(format!("certificate {title} has ended, clients refuse it: renew it"));
        }
        if soonest.as_ref().is_none_or(|(least, _)| left < *least) {
            soonest = Some((left, title));
        }
    }
    let Some((left, title)) = soonest else { return Good("no certificate is configured".to_owned()) };
    let days = left.as_secs() / 86_400;
    let text = format!("{good} certificate(s) with their keys, {title} ends in {days} days");
    if days < CERTIFICATE_DAYS_LOW { Warn(format!("{text}: renew it")) } else { Good(text) }
}

fn dev_certificate(dir: &Path) -> Finding {
    if !dir.join("ca.pem").exists() {
        return Good("development ca does not exist yet: the first `nearport serve` makes it".to_owned());
    }
    let ahead = tls::check_dev(dir, Duration::from_hours(24 * 7));
    match tls::check_dev(dir, Duration::ZERO).and(ahead) {
        Ok(()) => Good("development certificate is good for a week or more".to_owned()),
        Err(error) => Warn(format!("development certificate: {error}; the next start renews it")),
    }
}

fn port(
    name: &str,
    addr: SocketAddr,
    ours: Option<SocketAddr>,
    free: impl Fn(SocketAddr) -> io::Result<()>,
) -> Finding {
    if ours == Some(addr) {
        return Good(format!("{name} {addr} is held by the running server"));
    }
    match free(addr) {
        Ok(()) => Good(format!("{name} {addr} is free")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            Fail(format!("{name} {addr} is in use by another process: stop it or set {name}.listen"))
        }
        Err(error) => {
            Fail(format!("{name} {addr}: {error}; set {name}.listen to an address of this machine"))
        }
    }
}

/// What client commands here would find, if client.toml has them look for a PoP: each step of the chain, as `locate client` shows
/// them.
fn way_to_a_pop(layout: &Layout) -> Vec<Finding> {
    match layout.read_client_file() {
        Ok(file) if file.as_ref().is_none_or(|file| file.locate.is_none()) => return Vec::new(),
        Ok(_) => {}
        Err(error) => return vec![Fail(format!("{error}; client commands do not work with it"))],
    }
    let survey = match AccessArgs::of(layout).resolve().and_then(cli_client_locate::survey) {
        Ok(survey) => survey,
        Err(failure) => return vec![Fail(format!("[locate] of client.toml: {}", failure.reason()))],
    };
    let told = |step: &SurveyStep| match &step.outcome {
        Ok(pops) => Good(format!("pops by {}: {}", step.source, pops.join(", "))),
        Err(reason) => Warn(format!("no pops by {}: {reason}", step.source)),
    };
    let mut findings: Vec<_> = survey.steps.iter().map(told).collect();
    if survey.verdict().is_err() {
        findings.push(Fail("no step leads to a pop: see [locate] of client.toml".to_owned()));
    }
    findings
}

fn udp_free(addr: SocketAddr) -> io::Result<()> {
    UdpSocket::bind(addr).map(drop)
}

fn tcp_free(addr: SocketAddr) -> io::Result<()> {
    TcpListener::bind(addr).map(drop)
}

fn socket_buffers() -> Finding {
    let granted = Socket::new(Domain::IPV4, Type::DGRAM, None).and_then(|socket| {
        socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
        // The kernel reports twice what it grants (socket(7)).
        Ok(socket.recv_buffer_size()? / 2)
    });
    match granted {
        Ok(bytes) if bytes >= SOCKET_BUFFER_BYTES => Good("socket buffers of 4 MiB".to_owned()),
        Ok(bytes) => Warn(format!(
            "socket buffers of {} KiB instead of 4 MiB, bursts are lost: sysctl -w net.core.rmem_max={SOCKET_BUFFER_BYTES} \
             net.core.wmem_max={SOCKET_BUFFER_BYTES}",
            bytes >> 10
        )),
        Err(error) => Fail(format!("udp sockets: {error}")),
    }
}

fn loopback() -> Finding {
    let round_trip = || -> io::Result<()> {
        let (a, b) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
        let mut buffer = [0; 1472];
        for (from, to) in [(&a, &b), (&b, &a)] {
            to.set_read_timeout(Some(Duration::from_secs(1)))?;
            from.send_to(&[7; 1200], to.local_addr()?)?;
            if to.recv(&mut buffer)? != 1200 {
                return Err(io::Error::other("a datagram came back shorter"));
            }
        }
        Ok(())
    };
    match round_trip() {
        Ok(()) => Good("udp round trip on loopback".to_owned()),
        Err(error) => Fail(format!("udp round trip on loopback: {error}; a firewall or sandbox drops it")),
    }
}

/// Starts an edge of two shards on a free port and asks it.
fn steering() -> Finding {
    let steered = || -> anyhow::Result<bool> {
        let config = nearport_edge::Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            tcp: true,
            proxy_protocol_from: Vec::new(),
            shards: 2,
            keys: [0; 32].into(),
            resume_ttl: Duration::ZERO,
            node: 0,
            backend_away_max: nearport_edge::shard::BACKEND_AWAY_MAX,
            generation: 0,
            kernel_steering: true,
            ack_delay: Duration::ZERO,
            session: Default::default(),
            admission: Default::default(),
        };
        let certificate = SingleCertAndKey::from(tls::throwaway()?);
        let tls = nearport_edge::quic::tls_config(tls::provider(), std::sync::Arc::new(certificate))?;
        Ok(Edge::start(&config, tls, &Echo::default())?.is_steered())
    };
    match steered() {
        Ok(true) => Good("datagrams are steered to shards by the kernel (classic BPF)".to_owned()),
        Ok(false) => Warn(
            "the kernel refuses the steering filter: shards hand datagrams over, which costs CPU".to_owned(),
        ),
        Err(error) => Fail(format!("an edge cannot start: {error:#}")),
    }
}

fn descriptors() -> Finding {
    // `serve` raises the soft limit to the hard one.
    match getrlimit(Resource::Nofile).maximum {
        Some(hard @ ..DESCRIPTORS_LOW) => Warn(format!(
            "at most {hard} open files: raise the hard limit (ulimit -Hn, LimitNOFILE) to 65536"
        )),
        Some(hard) => Good(format!("up to {hard} open files")),
        None => Good("any number of open files".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_or_taken_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout(dir.path().join("data"));
        assert!(matches!(data_directory(&layout), Good(_)));
        assert!(matches!(store(&layout, None), Good(text) if text.contains("does not exist yet")));
        let lock = StoreLock::acquire(&layout.0).unwrap();
        assert!(matches!(store(&layout, None), Fail(text) if text.contains("is locked by process")));
        drop(lock);
        fs::write(layout.directory(), b"not a database, but long enough to look at").unwrap();
        assert!(matches!(store(&layout, None), Fail(_)));

        let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
        let addr = taken.local_addr().unwrap();
        assert!(matches!(port("edge", addr, None, udp_free), Fail(text) if text.contains("set edge.listen")));
        assert!(matches!(port("edge", addr, Some(addr), udp_free), Good(_)));
        assert!(matches!(clock(UNIX_EPOCH), Fail(_)));
        let file = Layout(layout.directory().join("below a file"));
        assert!(matches!(data_directory(&file), Fail(_)));
    }
}
