//! `connect` and `idle`: clients that log in and say nothing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nearport_client::Event;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::Error;
use crate::clock::Clock;
use crate::fleet::Listener;
use crate::open_loop::Window;
use crate::options::Scenario;
use crate::process::CpuReading;
use crate::progress::REFRESH;
use crate::report::{ErrorCounts, Report};
use crate::scenario::Run;
use crate::scenario::books::Sessions;

/// What the clients told about their sessions.
struct Watch {
    clock: Clock,
    sessions: Mutex<Sessions>,
}

impl Watch {
    fn lock(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener for Watch {
    fn event(&self, index: usize, event: Event) {
        self.lock().event(index, &event, self.clock.now_ns());
    }
}

pub(super) async fn run(run: &mut Run<'_>) -> Result<Report, Error> {
    let sessions = Mutex::new(Sessions::new(run.options.connections as usize));
    let watch = Arc::new(Watch { clock: run.clock, sessions });
    let before = run.process.and_then(|process| process.cpu());
    let (fleet, logins) = run.log_in(&watch).await?;
    let succeeded = logins.succeeded() as u64;
    if succeeded == 0 {
        return Err(if logins.interrupted { Error::Interrupted } else { logins.too_few() });
    }

    let idle = run.options.scenario == Scenario::Idle;
    let window = if idle && !logins.interrupted {
        hold(run).await
    } else {
        let cpu = cpu_since(run, before.as_ref());
        let offered = succeeded + logins.failed;
        Window { length: logins.took, offered, done: succeeded, cpu, interrupted: logins.interrupted }
    };
    let mut report = run.report(&logins, &window);
    report.message_bytes = None;
    report.offered_per_s = None;
    if idle {
        report.achieved_per_s = None;
        let grown = report.server.rss_bytes.zip(run.rss_before).and_then(|(now, then)| now.checked_sub(then));
        report.server.rss_bytes_per_conn = grown.map(|grown| grown / succeeded);
        report.server.cpu_us_per_op = None;
    } else {
        report.sent = Some(window.offered);
        report.acked = Some(succeeded);
        report.latency_ms = logins.latency.quantiles();
    }
    {
        let sessions = watch.lock();
        sessions.fill(&mut report);
        report.error_counts =
            ErrorCounts { logins: logins.failed, sessions: sessions.lost(), ..ErrorCounts::default() };
        let first = logins.first_failure.as_deref().or_else(|| sessions.first_loss());
        report.first_error = first.map(str::to_owned);
    }
    report.errors = report.error_counts.total();
    drop(logins);
    fleet.close(false, &mut run.stop, run.progress).await;
    Ok(report)
}

/// Lets the sessions live with nothing but heartbeats.
async fn hold(run: &mut Run<'_>) -> Window {
    let (start, duration) = (Instant::now(), run.options.duration);
    let before = run.process.and_then(|process| process.cpu());
    run.progress.begin("seconds", duration.as_secs());
    let mut refresh = interval(REFRESH);
    refresh.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let over = sleep(duration);
    tokio::pin!(over);
    let interrupted = loop {
        tokio::select! {
            biased;
            () = run.stop.asked(1) => break true,
            () = &mut over => break false,
            _ = refresh.tick() => run.progress.set(start.elapsed().as_secs(), String::new()),
        }
    };
    let cpu = cpu_since(run, before.as_ref());
    Window { length: start.elapsed(), offered: 0, done: 0, cpu, interrupted }
}

fn cpu_since(run: &Run<'_>, before: Option<&CpuReading>) -> Option<Duration> {
    Some(run.process?.cpu()?.since(before?))
}
