//! What `/readyz` asks.

use std::fmt;
use std::sync::{Mutex, PoisonError};

/// One condition of readiness. The probe is called on the operations thread for each request, so it must be cheap
/// and must not block.
pub struct Check {
    name: &'static str,
    probe: Box<dyn Fn() -> Result<(), String> + Send + Sync>,
}

impl Check {
    /// A check called `name` (lower case, one word; it becomes a metric label). The probe's `Err` is the reason that
    /// an operator reads.
    pub fn new(name: &'static str, probe: impl Fn() -> Result<(), String> + Send + Sync + 'static) -> Self {
        Self { name, probe: Box::new(probe) }
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Check").field(&self.name).finish()
    }
}

/// A check's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Which check.
    pub name: &'static str,
    /// `Err` says why not.
    pub result: Result<(), String>,
}

/// The checks of this process, and whether it is on its way out.
///
/// Ready means: not withdrawn, and every check says so. The gauge `nearport_ready{check}` shows each answer (1 or
/// 0) as of the last time that anybody asked for readiness or metrics.
#[derive(Debug)]
pub struct Health {
    checks: Vec<(Check, metrics::Gauge)>,
    /// Why the process asks for no more clients, whatever the checks say.
    withdrawn: Mutex<Option<&'static str>>,
    withdrawn_gauge: metrics::Gauge,
}

impl Health {
    /// A process that is ready when all of `checks` are.
    #[must_use]
    pub fn new(checks: Vec<Check>) -> Self {
        metrics::describe_gauge!("nearport_ready", "1 if this check says that the process is ready.");
        let gauge = |name| metrics::gauge!("nearport_ready", "check" => name);
        let checks =
            checks.into_iter().map(|check| (gauge(check.name), check)).map(|(g, c)| (c, g)).collect();
        Self { checks, withdrawn: Mutex::new(None), withdrawn_gauge: gauge("serving") }
    }

    /// From now on the process is not ready, because of `reason`, until [`Self::restore`].
    pub fn withdraw(&self, reason: &'static str) {
        *self.withdrawn.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
    }

    /// From now on the checks decide again.
    pub fn restore(&self) {
        *self.withdrawn.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Asks every check. The first outcome, `serving`, is whether the process was withdrawn.
    pub fn outcomes(&self) -> Vec<Outcome> {
        let withdrawn = *self.withdrawn.lock().unwrap_or_else(PoisonError::into_inner);
        let serving =
            Outcome { name: "serving", result: withdrawn.map_or(Ok(()), |why| Err(why.to_owned())) };
        self.withdrawn_gauge.set(f64::from(u8::from(serving.result.is_ok())));
        let checks = self.checks.iter().map(|(check, gauge)| {
            let result = (check.probe)();
            gauge.set(f64::from(u8::from(result.is_ok())));
            Outcome { name: check.name, result }
        });
        std::iter::once(serving).chain(checks).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn every_check_is_asked_each_time_and_a_withdrawal_stays_until_it_is_taken_back() {
        let writable = Arc::new(AtomicBool::new(true));
        let seen = Arc::clone(&writable);
        let store = Check::new("store", move || {
            if seen.load(Ordering::Relaxed) { Ok(()) } else { Err("the disk is full".into()) }
        });
        let health = Health::new(vec![store]);
        let ready = || health.outcomes().iter().all(|outcome| outcome.result.is_ok());
        assert!(ready());
        writable.store(false, Ordering::Relaxed);
        assert_eq!(health.outcomes()[1], Outcome { name: "store", result: Err("the disk is full".into()) });
        writable.store(true, Ordering::Relaxed);
        assert!(ready());
        health.withdraw("draining");
        assert_eq!(health.outcomes()[0], Outcome { name: "serving", result: Err("draining".into()) });
        health.restore();
        assert!(ready());
    }
}
