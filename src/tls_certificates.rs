//! The certificates of a node: loaded at the start, looked at again every few seconds and on SIGHUP.
//!
//! Files belong to others, who write a chain and its key one after the other, delete, mistype and forget. So each source
//! is taken only whole and checked; whatever is wrong with it, what it gave before stays in use, and the other sources
//! are not concerned. A failure is told after it has been seen in two looks, so that a look between the two halves of a
//! renewal wakes nobody; a SIGHUP tells at once, since somebody waits for the answer.

use std::convert::Infallible;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metrics::{Counter, Gauge, Unit, counter, describe_counter, describe_gauge, gauge};
use tokio::time::MissedTickBehavior;

use crate::config::Tls;
use crate::reload::Reloads;
use crate::tls::{self, TlsError};
use crate::tls_dev as dev;
use crate::tls_expiry::{Reminder, Urgency, urgency};
use crate::tls_pem::Certificate;
use crate::tls_resolver::{Resolver, Table};
use crate::tls_source::{Source, Stamp, list};

/// Name of the development certificate among the sources.
const DEV: &str = "dev";

/// The certificates in use, and where they come from.
#[derive(Debug)]
pub(crate) struct Certificates {
    config: Tls,
    /// Named in the development certificate.
    listen: IpAddr,
    /// Where the ACME client puts chain and key, if there is one.
    acme: Option<PathBuf>,
    resolver: Arc<Resolver>,
    state: Mutex<State>,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct State {
    /// In the order of [`list`]; the development CA's last. At least one has a certificate.
    held: Vec<Held>,
    /// Why `tls.dir` cannot be listed.
    listing: Option<Problem>,
}

/// One source and what it gave.
#[derive(Debug)]
struct Held {
    source: Source,
    stamp: Option<Stamp>,
    certificate: Option<Certificate>,
    problem: Option<Problem>,
    reminder: Reminder,
    expiry: Gauge,
}

/// What is wrong, and in how many looks it was.
#[derive(Debug)]
struct Problem {
    text: String,
    looks: u32,
    told: bool,
}

impl Problem {
    fn see(seen: &mut Option<Self>, text: String) {
        match seen {
            Some(problem) if problem.text == text => problem.looks += 1,
            other => *other = Some(Self { text, looks: 1, told: false }),
        }
    }

    /// Whether it is to be told now: at once if somebody asked, else once, when it was there in two looks.
    fn due(&mut self, asked: bool) -> bool {
        let due = asked || (self.looks > 1 && !self.told);
        self.told |= due;
        due
    }
}

/// What a look at the sources brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// Names of sources that were loaded, in their order.
    pub(crate) loaded: Vec<String>,
    /// Names of sources that are no more.
    pub(crate) removed: Vec<String>,
    /// Names of sources that cannot be taken, with the reason.
    pub(crate) failed: Vec<(String, String)>,
}

#[derive(Debug)]
struct Metrics {
    loaded: Counter,
    failed: Counter,
    served: Gauge,
    failing: Gauge,
}

impl Metrics {
    fn new() -> Self {
        describe_gauge!(
            "nearport_tls_certificate_expiry_seconds",
            Unit::Seconds,
            "end of a certificate in use, as Unix time; NaN once its source is gone"
        );
        describe_counter!("nearport_tls_loads_total", "certificates that were read, by outcome");
        describe_gauge!("nearport_tls_sources", "sources of certificates, by state");
        Self {
            loaded: counter!("nearport_tls_loads_total", "outcome" => "loaded"),
            failed: counter!("nearport_tls_loads_total", "outcome" => "failed"),
            served: gauge!("nearport_tls_sources", "state" => "served"),
            failing: gauge!("nearport_tls_sources", "state" => "failing"),
        }
    }
}

impl Certificates {
    /// Loads what `config` names, and `acme` if it exists. If neither gives anything, makes what is missing of the
    /// development CA's certificate, with `listen` among its names.
    ///
    /// # Errors
    /// [`TlsError`] if `tls.cert` cannot be used, or if `tls.dir` is the only source and gives nothing. Another pair
    /// that cannot be used is logged and counted: one of many names must not keep the others from being served.
    pub(crate) fn open(
        config: &Tls,
        listen: IpAddr,
        acme: Option<&Path>,
        now: SystemTime,
    ) -> Result<Arc<Self>, TlsError> {
        let sources = list(config, acme)?;
        let mut held: Vec<_> = sources.into_iter().map(Held::new).collect();
        let mut report = Report::default();
        for one in &mut held {
            let loaded = one.look(now, true, &mut report, Source::load);
            // What the configuration names itself has to be there; a directory is data.
            if one.source.name == "tls.cert" {
                loaded?;
            }
        }
        if held.iter().all(|one| one.certificate.is_none()) {
            if let (Some(dir), None) = (&config.dir, acme) {
                let reasons = report.failed.iter().map(|(name, why)| format!("; {name}: {why}"));
                let reasons: String = reasons.take(3).collect();
                return Err(tls::pem_error(dir, format!("holds no certificate to serve{reasons}")));
            }
            held.push(Held::dev(config, listen, now, &mut report)?);
        }
        let table = table(&held).expect("one has a certificate, or the development CA's was added");
        let certificates = Self {
            config: config.clone(),
            listen,
            acme: acme.map(Path::to_owned),
            resolver: Arc::new(Resolver::new(table)),
            state: Mutex::new(State { held, listing: None }),
            metrics: Metrics::new(),
        };
        certificates.tell(&mut certificates.lock(), &report, true, now);
        Ok(Arc::new(certificates))
    }

    /// For the edge's TLS configuration.
    pub(crate) fn resolver(&self) -> Arc<Resolver> {
        Arc::clone(&self.resolver)
    }

    /// The development CA's certificate, if that is what a client must trust to reach this node.
    pub(crate) fn ca(&self) -> Option<PathBuf> {
        let in_use = self.lock().held.iter().any(|one| one.source.name == DEV);
        let ca = dev::ca(&self.config.dev_dir);
        in_use.then(|| std::path::absolute(&ca).unwrap_or(ca))
    }

    /// Looks at every source now and takes what has changed. New handshakes of all shards see it when this returns.
    /// Failures are told at once. Reads files: blocks for some milliseconds.
    pub(crate) fn reload(&self, now: SystemTime) -> Report {
        self.look(now, true)
    }

    /// Makes SIGHUP read every source again.
    pub(crate) fn reload_with(self: &Arc<Self>, reloads: &mut Reloads) {
        let this = Arc::downgrade(self);
        reloads.add("certificates", move || {
            let this = this.upgrade().ok_or("the node has stopped")?;
            let report = this.reload(SystemTime::now());
            match report.failed.as_slice() {
                [] => Ok(format!("{} new, {} removed", report.loaded.len(), report.removed.len())),
                failed => {
                    let failed: Vec<_> = failed.iter().map(|(name, why)| format!("{name}: {why}")).collect();
                    Err(failed.join("; "))
                }
            }
        });
    }

    /// Looks every `tls.poll`, for as long as the future is polled. Cancel safe.
    pub(crate) async fn keep(self: Arc<Self>) -> Infallible {
        let mut ticks = tokio::time::interval(self.config.poll);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let this = Arc::clone(&self);
            let looked = tokio::task::spawn_blocking(move || this.look(SystemTime::now(), false));
            if let Err(error) = looked.await {
                tracing::error!(%error, "the look at certificates panicked");
            }
        }
    }

    fn look(&self, now: SystemTime, asked: bool) -> Report {
        let mut state = self.lock();
        let mut report = Report::default();
        let mut before = std::mem::take(&mut state.held);
        match list(&self.config, self.acme.as_deref()) {
            Ok(sources) => {
                state.listing = None;
                for source in sources {
                    let known = before.iter().position(|one| one.source == source);
                    state.held.push(known.map_or_else(|| Held::new(source), |index| before.remove(index)));
                }
            }
            Err(error) => {
                report.failed.push(("tls.dir".to_owned(), error.to_string()));
                Problem::see(&mut state.listing, error.to_string());
                state.held.append(&mut before);
            }
        }
        self.look_at(&mut state.held, now, asked, &mut report);
        if state.held.iter().all(|one| one.certificate.is_none()) {
            // Nothing is left to serve: what was served last goes on, until there is something else.
            self.look_at(&mut before, now, asked, &mut report);
            state.held.append(&mut before);
        }
        for gone in before {
            gone.expiry.set(f64::NAN);
            report.removed.push(gone.source.name);
        }
        if !(report.loaded.is_empty() && report.removed.is_empty())
            && let Some(table) = table(&state.held)
        {
            self.resolver.replace(table);
        }
        self.tell(&mut state, &report, asked, now);
        report
    }

    fn look_at(&self, held: &mut [Held], now: SystemTime, asked: bool, report: &mut Report) {
        for one in held {
            // What fails is in the report.
            let _ = if one.source.name == DEV {
                let left = one.certificate.as_ref().map(|certificate| certificate.left(now));
                let renew = left.is_some_and(|left| left < dev::RENEW_BEFORE);
                let make = |_: &Source| dev::make(&self.config.dev_dir, self.listen, now);
                one.look(now, asked || renew, report, make)
            } else {
                one.look(now, asked, report, Source::load)
            };
        }
    }

    /// Logs and counts.
    fn tell(&self, state: &mut State, report: &Report, asked: bool, now: SystemTime) {
        self.metrics.loaded.increment(report.loaded.len() as u64);
        for name in &report.removed {
            tracing::info!(name, "certificate is no longer there: not served any more");
        }
        if let Some(problem) = &mut state.listing
            && problem.due(asked)
        {
            self.metrics.failed.increment(1);
            let error = &problem.text;
            tracing::error!(error, "tls.dir cannot be listed: what was loaded from it stays in use");
        }
        for one in &mut state.held {
            one.tell(report, asked, &self.metrics.failed, now);
        }
        let serving = state.held.iter().filter(|one| one.certificate.is_some()).count();
        self.metrics.served.set(serving as f64);
        self.metrics.failing.set(report.failed.len() as f64);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn new(source: Source) -> Self {
        let expiry = gauge!("nearport_tls_certificate_expiry_seconds", "name" => source.name.clone());
        Self { source, stamp: None, certificate: None, problem: None, reminder: Reminder::default(), expiry }
    }

    fn dev(config: &Tls, listen: IpAddr, now: SystemTime, report: &mut Report) -> Result<Self, TlsError> {
        let (chain, key) = dev::server(&config.dev_dir);
        let mut held = Self::new(Source::new(DEV, &chain, &key));
        held.look(now, true, report, |_| dev::make(&config.dev_dir, listen, now))?;
        Ok(held)
    }

    /// Loads the source if it has changed, if it failed the last time, or if somebody insists.
    fn look(
        &mut self,
        now: SystemTime,
        asked: bool,
        report: &mut Report,
        load: impl FnOnce(&Source) -> Result<Certificate, TlsError>,
    ) -> Result<(), TlsError> {
        let stamp = self.source.stamp();
        let changed = self.stamp != Some(stamp);
        if !changed && self.problem.is_none() && !asked {
            return Ok(());
        }
        self.stamp = Some(stamp);
        let loaded = load(&self.source).and_then(|new| match &self.certificate {
            Some(old) => better(old, &new, now).map(|()| new).map_err(|why| self.source.refuse(why)),
            None => Ok(new),
        });
        match loaded {
            Ok(new) => {
                let same = self.certificate.as_ref().is_some_and(|old| old.key.cert == new.key.cert);
                self.problem = None;
                if !same {
                    let end = new.not_after.duration_since(UNIX_EPOCH).unwrap_or_default();
                    self.expiry.set(end.as_secs_f64());
                    self.certificate = Some(new);
                    report.loaded.push(self.source.name.clone());
                }
                Ok(())
            }
            Err(error) => {
                report.failed.push((self.source.name.clone(), error.to_string()));
                Problem::see(&mut self.problem, error.to_string());
                Err(error)
            }
        }
    }

    fn tell(&mut self, report: &Report, asked: bool, failed: &Counter, now: SystemTime) {
        let name = &self.source.name;
        if let Some(problem) = &mut self.problem
            && problem.due(asked)
        {
            failed.increment(1);
            let error = &problem.text;
            match self.certificate.as_ref().map(|old| days(old.left(now))) {
                Some(days_left) => {
                    tracing::error!(
                        name,
                        error,
                        days_left,
                        "certificate not taken: the one before stays in use"
                    );
                }
                None => tracing::error!(name, error, "certificate not taken: nothing is served from here"),
            }
        }
        let Some(certificate) = &self.certificate else { return };
        let (covers, days_left) = (certificate.names.join(" "), days(certificate.left(now)));
        if report.loaded.contains(name) {
            tracing::info!(name, covers, days_left, "certificate in use");
            if certificate.not_before > now {
                tracing::warn!(
                    name,
                    covers,
                    "certificate is not good yet, clients refuse it: look at the clocks"
                );
            }
        }
        match self.reminder.due(urgency(certificate, now), now) {
            None => {}
            Some(Urgency::Ended) => {
                tracing::warn!(name, covers, "certificate has ended, clients refuse it: renew it");
            }
            Some(Urgency::Now) => {
                tracing::warn!(name, covers, days_left, "certificate ends in days: renew it")
            }
            Some(Urgency::Soon) => tracing::warn!(name, covers, days_left, "certificate ends soon: renew it"),
        }
    }
}

/// A certificate in use is replaced by one that clients accept, or not at all: an old backup must not end service.
fn better(old: &Certificate, new: &Certificate, now: SystemTime) -> Result<(), String> {
    let serving = !old.left(now).is_zero() && old.not_before <= now;
    if serving && new.left(now).is_zero() {
        return Err(format!(
            "has ended, while the certificate in use is good for {} more days",
            days(old.left(now))
        ));
    }
    if serving && new.not_before > now {
        return Err("is not good yet: look at the clocks of this machine and of its issuer".to_owned());
    }
    Ok(())
}

fn days(left: Duration) -> u64 {
    left.as_secs() / 86_400
}

/// `None` if nothing can be served.
fn table(held: &[Held]) -> Option<Table> {
    let mut certificates = held.iter().filter_map(|one| one.certificate.as_ref());
    Some(Table::new(certificates.next()?, certificates))
}

/// What `config` names, loaded or not, for `nearport doctor`. Makes nothing.
pub(crate) fn inspect(config: &Tls, acme: Option<&Path>) -> Vec<(String, Result<Certificate, String>)> {
    match list(config, acme) {
        Ok(sources) => {
            let loaded = |source: Source| {
                let certificate = source.load().map_err(|error| error.to_string());
                (source.name, certificate)
            };
            sources.into_iter().map(loaded).collect()
        }
        Err(error) => vec![("tls.dir".to_owned(), Err(error.to_string()))],
    }
}

#[cfg(test)]
#[path = "tls_certificates_tests.rs"]
mod tests;
