//! Server processes: this program started again with `--serve`, and what the kernel says about them.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;
use rustls::pki_types::CertificateDer;
use tempfile::TempDir;

use crate::Server;

/// In the server process: says where it listens and with which certificate, as the first line on stdout, and ends the
/// process when stdin closes, so that no server outlives the bench however that ends.
pub(crate) fn announce(address: SocketAddr, certificate: &CertificateDer<'_>) -> Result<()> {
    let hex: String = certificate.iter().map(|byte| format!("{byte:02x}")).collect();
    println!("{address} {hex}");
    io::stdout().flush()?;
    thread::Builder::new().name("parent".to_owned()).spawn(|| {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    })?;
    Ok(())
}

/// This program again, to be `server`, which keeps its data in `data`.
pub(crate) fn command(server: Server, data: Option<&Path>) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("where is this program?")?);
    command.args(["--serve", &server.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
    if let Some(data) = data {
        command.arg("--dir").arg(data);
    }
    Ok(command)
}

/// A server under test. Killed when dropped.
#[derive(Debug)]
pub(crate) struct ServerProcess {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) certificate: CertificateDer<'static>,
    /// Removed when the process is gone.
    _data: Option<TempDir>,
}

impl ServerProcess {
    /// Starts `server`, which keeps its data in `data`, and waits until it listens.
    pub(crate) fn start(server: Server, data: Option<TempDir>) -> Result<Self> {
        Self::spawn(server, command(server, data.as_ref().map(TempDir::path))?, data)
    }

    /// As [`Self::start`], without data; N listens on TCP too.
    pub(crate) fn start_with_tcp(server: Server) -> Result<Self> {
        let mut command = command(server, None)?;
        command.arg("--tcp");
        Self::spawn(server, command, None)
    }

    fn spawn(server: Server, mut command: Command, data: Option<TempDir>) -> Result<Self> {
        let mut child = command.spawn().context("cannot start a server process")?;
        let mut line = String::new();
        let stdout = child.stdout.take().context("the child has no stdout")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let announced = line.trim().split_once(' ').and_then(|(address, certificate)| {
            Some((address.parse().ok()?, CertificateDer::from(from_hex(certificate)?)))
        });
        match announced {
            Some((address, certificate)) => Ok(Self { child, address, certificate, _data: data }),
            None => {
                let _ = child.kill();
                let status = child.wait()?;
                bail!("server {server} announced no address ({status})")
            }
        }
    }

    /// Time that all its threads have run, those that have ended included: the ledger starts one for each flush.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let clock = clock_getcpuclockid(Pid::from_raw(i32::try_from(self.child.id())?))?;
        Ok(clock.now().context("the server is gone")?.into())
    }

    /// Time that those of its living threads have run whose name starts with `prefix`.
    pub(crate) fn cpu_of_threads(&self, prefix: &str) -> Result<Duration> {
        let mut total = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id())).context("the server is gone")? {
            let path = task?.path();
            // A thread that has ended meanwhile is none of those that stay.
            let Ok(name) = fs::read_to_string(path.join("comm")) else { continue };
            if name.starts_with(prefix) {
                let line =
                    fs::read_to_string(path.join("schedstat")).context("a thread of the server is gone")?;
                let first = line.split_ascii_whitespace().next().context("empty schedstat")?;
                total += first.parse::<u64>().context("schedstat is no number")?;
            }
        }
        Ok(Duration::from_nanos(total))
    }

    /// Resident memory, counted page by page (`VmRSS` in `status` may lag by a batch per thread).
    pub(crate) fn rss_bytes(&self) -> Result<u64> {
        self.memory("smaps_rollup", "Rss:")
    }

    /// The most resident memory since the start or since [`Self::forget_peak_rss`].
    pub(crate) fn rss_peak_bytes(&self) -> Result<u64> {
        self.memory("status", "VmHWM:")
    }

    /// The peak is what is resident now (proc(5), `clear_refs`).
    pub(crate) fn forget_peak_rss(&self) -> Result<()> {
        fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").context("the server is gone")
    }

    fn memory(&self, file: &str, name: &str) -> Result<u64> {
        let text =
            fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).context("the server is gone")?;
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let line = line.with_context(|| format!("{file} without {name}"))?;
        let kib = line.trim().strip_suffix("kB").context("memory not in kB")?.trim().parse::<u64>()?;
        Ok(kib * 1024)
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // It may be gone already; there is nobody to tell.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if digits.is_empty() || !digits.len().is_multiple_of(2) {
        return None;
    }
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}
