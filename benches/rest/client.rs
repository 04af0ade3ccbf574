//! The client: connections that are kept alive, each with one request under way.

use std::net::SocketAddr;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A server under test. Killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
    /// Path and query of all requests.
    pub(crate) path: String,
    /// The next message; no two are the same.
    pub(crate) next: AtomicU64,
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How much.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) connections: usize,
    pub(crate) warm_up: Duration,
    pub(crate) window: Duration,
}

/// What the window came to.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) requests: u64,
    pub(crate) took: Duration,
    /// Of the server.
    pub(crate) cpu: Duration,
    /// Microseconds from sending to the whole answer, sorted.
    latencies_us: Vec<u32>,
}

impl Run {
    pub(crate) fn quantile_ms(&self, share: f64) -> f64 {
        let last = self.latencies_us.len().saturating_sub(1);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an index into the vector"
        )]
        let at = (last as f64 * share) as usize;
        self.latencies_us.get(at).map_or(f64::NAN, |us| f64::from(*us) / 1e3)
    }
}

/// Users who write to each other.
pub(crate) const USERS: u64 = 200;

/// The `n`th message: 200 bytes of text.
pub(crate) fn body(n: u64) -> String {
    let (from, to) = (n % USERS, (n * 7 + 1) % USERS);
    let text = format!("{n:0>200}");
    format!(
        r#"{{"From_Account":"u{from}","To_Account":"u{to}","MsgSeq":{},"MsgRandom":{},"MsgBody":[{{"MsgType":"TIMTextElem","MsgContent":{{"Text":"{text}"}}}}]}}"#,
        n >> 32,
        n & 0xffff_ffff
    )
}

/// CPU time of a process so far, threads that have ended included.
fn cpu_of(child: &Child) -> Result<Duration> {
    let clock = clock_getcpuclockid(Pid::from_raw(i32::try_from(child.id())?))
        .context("no CPU clock of the server")?;
    Ok(clock_gettime(clock)?.into())
}

/// Puts `load` on a server.
///
/// # Errors
/// An answer that says anything but success, or no answer.
pub(crate) fn measure(target: &Target, load: &Load) -> Result<Run> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let counted = Arc::new(Counted::default());
        let begins = Instant::now() + load.warm_up;
        let ends = begins + load.window;
        let mut clients = tokio::task::JoinSet::new();
        // Numbers that no other run has.
        let first = target.next.fetch_add(1 << 32, Ordering::Relaxed);
        for _ in 0..load.connections {
            let stream = TcpStream::connect(target.address).await?;
            stream.set_nodelay(true)?;
            let (path, counted) = (target.path.clone(), counted.clone());
            clients.spawn(ask(stream, path, first, counted, begins, ends));
        }
        tokio::time::sleep_until(begins.into()).await;
        let (cpu, began) = (cpu_of(&target.child)?, Instant::now());
        tokio::time::sleep_until(ends.into()).await;
        let (cpu, took) = (cpu_of(&target.child)? - cpu, began.elapsed());
        let mut latencies_us = Vec::new();
        while let Some(client) = clients.join_next().await {
            latencies_us.extend(client??);
        }
        latencies_us.sort_unstable();
        Ok(Run { requests: latencies_us.len() as u64, took, cpu, latencies_us })
    })
}

#[derive(Debug, Default)]
struct Counted {
    next: AtomicU64,
}

/// One connection: latencies of what was answered within the window.
async fn ask(
    mut stream: TcpStream,
    path: String,
    first: u64,
    counted: Arc<Counted>,
    begins: Instant,
    ends: Instant,
) -> Result<Vec<u32>> {
    let (mut latencies, mut answer) = (Vec::new(), Vec::with_capacity(4096));
    while Instant::now() < ends {
        let body = body(first + counted.next.fetch_add(1, Ordering::Relaxed));
        let length = body.len();
        let request =
            format!("POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-length: {length}\r\n\r\n{body}");
        let sent = Instant::now();
        stream.write_all(request.as_bytes()).await?;
        let took = read_answer(&mut stream, &mut answer).await.map(|()| sent.elapsed())?;
        if sent >= begins && Instant::now() <= ends {
            latencies.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
        }
    }
    Ok(latencies)
}

/// Reads one answer, which must say that all went well.
async fn read_answer(stream: &mut TcpStream, answer: &mut Vec<u8>) -> Result<()> {
    answer.clear();
    loop {
        ensure!(stream.read_buf(answer).await? > 0, "the server has closed a connection");
        let Some(head) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let text = std::str::from_utf8(&answer[..head]).context("the head of an answer is no text")?;
        let length = text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
        });
        let length = length.context("an answer without a length")?;
        if answer.len() < head + 4 + length {
            continue;
        }
        let body = String::from_utf8_lossy(&answer[head + 4..]);
        ensure!(
            text.starts_with("HTTP/1.1 200") && body.contains(r#""ErrorCode":0"#),
            "refused: {text}\n{body}"
        );
        return Ok(());
    }
}
