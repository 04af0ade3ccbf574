//! The scenarios, and what they have in common.

use std::sync::Arc;

use nearport_impair::Spec;

use crate::Error;
use crate::clock::Clock;
use crate::fleet::{Fleet, Listener, Logins};
use crate::open_loop::{OpenLoop, Window};
use crate::options::{Credentials, Options, Scenario};
use crate::process::Process;
use crate::progress::Progress;
use crate::relay::Relay;
use crate::report::{Report, Server, rounded};
use crate::stop::Stop;

mod books;
mod chat;
mod echo;
mod group;
mod live;
mod locate;
mod roam;
mod silent;
mod storm;

/// What every scenario needs.
struct Run<'a> {
    options: &'a Options,
    credentials: Arc<Credentials>,
    progress: &'a Progress,
    stop: Stop,
    clock: Clock,
    process: Option<Process>,
    /// Memory of the server before the first login.
    rss_before: Option<u64>,
    /// A bad network, if there is one.
    relay: Option<Relay>,
}

pub(crate) async fn run(
    options: &Options,
    credentials: Arc<Credentials>,
    progress: &Progress,
    stop: Stop,
) -> Result<Report, Error> {
    let process = options.server_pid.map(Process::open).transpose()?;
    let rss_before = process.and_then(|process| process.rss_bytes());
    let relay = network(options).map(|spec| Relay::start(credentials.server, spec)).transpose();
    let relay = relay.map_err(Error::Start)?;
    if let Some(relay) = relay.as_ref().filter(|_| options.scenario != Scenario::Roam) {
        relay.forget();
    }
    let mut run =
        Run { options, credentials, progress, stop, clock: Clock::start(), process, rss_before, relay };
    let report = match options.scenario {
        Scenario::Connect | Scenario::Idle => silent::run(&mut run).await,
        Scenario::Echo => echo::run(&mut run).await,
        Scenario::Group => group::run(&mut run).await,
        Scenario::Live => live::run(&mut run).await,
        Scenario::Locate => locate::run(&mut run).await,
        Scenario::Chat | Scenario::Weak | Scenario::Roam | Scenario::Storm => chat::run(&mut run).await,
    };
    let mut report = report?;
    report.relay = run.relay.map(Relay::stop);
    if let (Some(roam), Some(relay), false) = (&mut report.roam, &report.relay, options.clients_move()) {
        roam.rebinds_min = relay.rebinds_min;
    }
    Ok(report)
}

/// The network that a relay has to play.
fn network(options: &Options) -> Option<Spec> {
    match options.scenario {
        // The relay is the NAT that forgets.
        Scenario::Roam if !options.clients_move() => {
            let spec = options.impair.clone().unwrap_or_default();
            Some(Spec { rebind: Some(options.rebind_period()), ..spec })
        }
        _ => options.impair.clone(),
    }
}

impl<'a> Run<'a> {
    fn open_loop(&self) -> OpenLoop<'a> {
        OpenLoop { options: self.options, clock: self.clock, process: self.process, progress: self.progress }
    }

    /// Logs in all clients, through the relay if there is one.
    async fn log_in(&mut self, listener: &Arc<impl Listener>) -> Result<(Fleet, Logins), Error> {
        let server = self.relay.as_ref().map_or(self.credentials.server, Relay::address);
        Fleet::log_in(self.options, &self.credentials, server, listener, &mut self.stop, self.progress).await
    }

    fn rss_bytes(&self) -> Option<u64> {
        self.process.and_then(|process| process.rss_bytes())
    }

    /// The report of an open loop, without what the scenario itself counts.
    fn report(&self, logins: &Logins, window: &Window) -> Report {
        Report { connect: logins.connect(), ..self.report_without_logins(window) }
    }

    /// The same for who has nobody log in.
    fn report_without_logins(&self, window: &Window) -> Report {
        let seconds = window.length.as_secs_f64();
        let per_s = |count: u64| (seconds > 0.0).then(|| rounded(count as f64 / seconds));
        Report {
            duration_s: rounded(seconds),
            offered_per_s: per_s(window.offered),
            achieved_per_s: per_s(window.done),
            server: self.server(window),
            message_bytes: Some(self.options.text_bytes()),
            warmup_s: rounded(self.options.warmup.as_secs_f64()),
            interrupted: window.interrupted,
            ..Report::new(self.options)
        }
    }

    /// Call it while the clients are still logged in.
    fn server(&self, window: &Window) -> Server {
        let cpu_us = window.cpu.map(|cpu| cpu.as_secs_f64() * 1e6);
        Server {
            cpu_s: window.cpu.map(|cpu| rounded(cpu.as_secs_f64())),
            cpu_us_per_op: cpu_us.filter(|_| window.done > 0).map(|us| rounded(us / window.done as f64)),
            rss_bytes: self.rss_bytes(),
            rss_bytes_per_conn: None,
            rss_before_bytes: self.rss_before,
        }
    }
}
