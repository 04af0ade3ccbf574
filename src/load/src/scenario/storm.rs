//! What `storm` adds to `chat`: it kills the server, starts it again, and watches the clients come back.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nearport_client::{Client, Event};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep, sleep_until};

use crate::Error;
use crate::fleet::Logins;
use crate::latency::Latency;
use crate::options::Options;
use crate::process::{CpuReading, Process};
use crate::report::{Storm, rounded};
use crate::scenario::Run;

/// How long a killed process may take to be gone, and a server that is told to end.
const END_PATIENCE: Duration = Duration::from_secs(10);

/// How often to look whether it has, and whether all are back.
pub(super) const LOOK: Duration = Duration::from_millis(5);

/// Who is back since the server died.
#[derive(Debug)]
pub(super) struct Returns {
    since_ns: u64,
    back: Vec<bool>,
    count: u64,
    first_ns: Option<u64>,
    last_ns: Option<u64>,
    after: Latency,
}

impl Returns {
    /// The server of so many clients has died at `now_ns`.
    pub(super) fn new(clients: usize, now_ns: u64) -> Self {
        let (first_ns, last_ns) = (None, None);
        Self {
            since_ns: now_ns,
            back: vec![false; clients],
            count: 0,
            first_ns,
            last_ns,
            after: Latency::new(),
        }
    }

    pub(super) fn event(&mut self, index: usize, event: &Event, now_ns: u64) {
        if matches!(event, Event::Connected { .. }) && !std::mem::replace(&mut self.back[index], true) {
            self.count += 1;
            self.first_ns.get_or_insert(now_ns);
            self.last_ns = Some(now_ns);
            self.after.record_ns(self.since_ns, now_ns);
        }
    }

    pub(super) fn all_back(&self) -> bool {
        self.count == self.back.len() as u64
    }

    /// Seconds from the death of the server.
    fn seconds(&self, ns: u64) -> f64 {
        rounded(Duration::from_nanos(ns.saturating_sub(self.since_ns)).as_secs_f64())
    }
}

/// What one login costs, from the first logins of the run.
#[derive(Debug)]
pub(super) struct LoginCost {
    own: Option<Process>,
    before: [Option<CpuReading>; 2],
}

impl LoginCost {
    pub(super) fn begin(run: &Run<'_>) -> Self {
        let own = Process::open(std::process::id()).ok();
        Self { own, before: [run.process, own].map(|process| process?.cpu()) }
    }

    /// CPU time of both ends together, in microseconds. Only where the server's process is on this machine.
    pub(super) fn end(self, run: &Run<'_>, logins: &Logins) -> Option<f64> {
        let now = [run.process, self.own].map(|process| process?.cpu());
        let spent = |at: usize| Some(now[at].as_ref()?.since(self.before[at].as_ref()?));
        let both = spent(0)? + spent(1)?;
        Some(rounded(both.as_secs_f64() * 1e6 / logins.succeeded().max(1) as f64))
    }
}

/// A server that was killed, and its successor if the load tool started one.
#[derive(Debug)]
pub(super) struct Strike {
    /// Since the begin of the window.
    after: Duration,
    rss_steady_bytes: Option<u64>,
    /// Until all were back: what comes later is not the storm's.
    rss_peak_bytes: Option<u64>,
    successor: Option<Successor>,
}

#[derive(Debug)]
struct Successor {
    child: Child,
    process: Option<Process>,
    command: String,
}

/// Waits for its time, kills the server and starts it again; `died` is called at the kill. Never ends if nothing is to be
/// killed. Dropped before its time, nothing happens.
pub(super) async fn strike(run: &Run<'_>, died: impl FnOnce()) -> Result<Strike, Error> {
    let (Some(after), Some(process)) = (run.options.kill_after, run.process) else {
        return std::future::pending().await;
    };
    sleep(run.options.warmup + after).await;
    let rss_steady_bytes = process.rss_bytes();
    kill(process)?;
    died();
    let deadline = Instant::now() + END_PATIENCE;
    while process.is_running() && Instant::now() < deadline {
        sleep(LOOK).await;
    }
    let successor = run.options.restart_cmd.clone().map(Successor::start).transpose()?;
    Ok(Strike { after, rss_steady_bytes, rss_peak_bytes: None, successor })
}

/// Lets the clients look after their sessions, one after the other, evenly over the time that `options` say; from the first poll
/// on. Never ends.
pub(super) async fn notice(options: &Options, clients: &[Client]) {
    let Some(within) = options.notice else { return std::future::pending().await };
    let step = within / u32::try_from(clients.len()).unwrap_or(u32::MAX).max(1);
    let mut due = Instant::now();
    for client in clients {
        sleep_until(due).await;
        client.reconnect();
        due += step;
    }
    std::future::pending().await
}

fn kill(process: Process) -> Result<(), Error> {
    let pid = process.pid();
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).filter(|_| process.is_running());
    let killed = raw.ok_or(rustix::io::Errno::SRCH).and_then(|raw| kill_process(raw, Signal::KILL));
    killed.map_err(|error| Error::NoProcess { pid, source: error.into() })
}

impl Successor {
    fn start(command: String) -> Result<Self, Error> {
        // `exec`: the child is the server itself, not a shell around it.
        let child = Command::new("sh")
            .args(["-c", &format!("exec {command}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|source| Error::Restart { command: command.clone(), source })?;
        let process = Process::open(child.id()).ok();
        Ok(Self { child, process, command })
    }
}

impl Strike {
    /// Whether clients are still missing.
    pub(super) fn is_open(&self) -> bool {
        self.rss_peak_bytes.is_none() && self.successor.is_some()
    }

    /// All are back.
    pub(super) fn close(&mut self) {
        self.rss_peak_bytes = self.peak();
    }

    fn peak(&self) -> Option<u64> {
        self.successor.as_ref()?.process?.peak_rss_bytes()
    }

    /// Why the clients could not come back, if it is known.
    pub(super) fn complaint(&mut self) -> Option<String> {
        let successor = self.successor.as_mut()?;
        let status = successor.child.try_wait().ok()??;
        Some(format!("the restarted server has ended with {status}: {}", successor.command))
    }

    /// Ends the successor: asks it to, and kills it if it does not.
    pub(super) async fn end(mut self) {
        let Some(Successor { child, .. }) = &mut self.successor else { return };
        let _ = kill_process(Pid::from_child(child), Signal::TERM);
        let deadline = Instant::now() + END_PATIENCE;
        while matches!(child.try_wait(), Ok(None)) && Instant::now() < deadline {
            sleep(LOOK).await;
        }
        // Both only fail for a process that is gone.
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// What came of it.
pub(super) fn report(
    clients: u64,
    returns: Option<&Returns>,
    strike: Option<&Strike>,
    login_cpu_us: Option<f64>,
) -> Storm {
    let peak = strike.and_then(|strike| strike.rss_peak_bytes.or_else(|| strike.peak()));
    let steady = strike.and_then(|strike| strike.rss_steady_bytes);
    let mut storm = Storm {
        killed_at_s: strike.map(|strike| rounded(strike.after.as_secs_f64())),
        clients,
        login_cpu_us,
        rss_steady_bytes: steady,
        rss_peak_bytes: peak,
        rss_ratio: peak.zip(steady).map(|(peak, steady)| rounded(peak as f64 / steady as f64)),
        ..Storm::default()
    };
    let cores = std::thread::available_parallelism().ok().map(std::num::NonZero::get);
    storm.ideal_s =
        login_cpu_us.zip(cores).map(|(us, cores)| rounded(us * clients as f64 / 1e6 / cores as f64));
    if let Some(returns) = returns {
        storm.returned = returns.count;
        storm.first_back_s = returns.first_ns.map(|ns| returns.seconds(ns));
        storm.all_back_s = returns.last_ns.filter(|_| returns.all_back()).map(|ns| returns.seconds(ns));
        storm.back_ms = returns.after.quantiles();
    }
    let took = storm.all_back_s.zip(storm.first_back_s).map(|(all, first)| all - first);
    storm.ratio =
        took.zip(storm.ideal_s).filter(|(_, ideal)| *ideal > 0.0).map(|(took, ideal)| rounded(took / ideal));
    storm
}

#[cfg(test)]
mod tests {
    use nearport_client::Transport;

    use super::*;

    fn connected() -> Event {
        Event::Connected { transport: Transport::Quic, resumed: true, cursor: 0, head: 0, time_ms: 0 }
    }

    #[test]
    fn each_client_comes_back_once() {
        const S: u64 = 1_000_000_000;
        let mut returns = Returns::new(2, S);
        returns.event(0, &Event::CaughtUp, 2 * S);
        returns.event(1, &connected(), 3 * S);
        returns.event(1, &connected(), 4 * S);
        assert!(!returns.all_back());
        let storm = report(2, Some(&returns), None, Some(250_000.0));
        assert_eq!((storm.returned, storm.first_back_s, storm.all_back_s), (1, Some(2.0), None));
        returns.event(0, &connected(), 5 * S);
        assert!(returns.all_back());
        let storm = report(2, Some(&returns), None, Some(250_000.0));
        assert_eq!((storm.returned, storm.all_back_s), (2, Some(4.0)));
        assert!((storm.back_ms.max.unwrap() - 4_000.0).abs() < 5.0);
        let cores = std::thread::available_parallelism().unwrap().get() as f64;
        assert_eq!(
            (storm.ideal_s, storm.ratio),
            (Some(rounded(0.5 / cores)), Some(rounded(2.0 / rounded(0.5 / cores))))
        );
    }

    #[test]
    fn a_server_that_nobody_killed_has_no_figures() {
        let storm = report(5, None, None, None);
        assert_eq!(storm, Storm { clients: 5, ..Storm::default() });
    }
}
