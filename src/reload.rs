//! What a running node reads again when it is told to: on SIGHUP, or when a file changes.
//!
//! Each part registers a hook with [`Reloads::add`]. A hook that fails leaves what is in use as it is, says why in the log
//! and in `nearport_reloads_total`, and does not keep the others from theirs.

use std::fmt;

/// What a hook says: for people, what is in use now or why nothing changed.
pub(crate) type Outcome = Result<String, String>;

struct Hook {
    what: &'static str,
    reload: Box<dyn Fn() -> Outcome + Send + Sync>,
}

/// The hooks, in the order in which they run.
#[derive(Default)]
pub(crate) struct Reloads(Vec<Hook>);

impl Reloads {
    /// Adds a hook. `what` is its name in the log and in the metric; the hook reads its file and takes it into use, and
    /// may block on the disk.
    pub(crate) fn add(&mut self, what: &'static str, reload: impl Fn() -> Outcome + Send + Sync + 'static) {
        // So that the metric is there before the first reload: a counter that appears with 1 has no rate.
        for outcome in ["ok", "error"] {
            counter(what, outcome).increment(0);
        }
        self.0.push(Hook { what, reload: Box::new(reload) });
    }

    /// Runs every hook. Blocks while files are read.
    pub(crate) fn run(&self) {
        for hook in &self.0 {
            let outcome = match (hook.reload)() {
                Ok(now) => {
                    tracing::info!(what = hook.what, now, "reloaded");
                    "ok"
                }
                Err(error) => {
                    tracing::error!(what = hook.what, error, "not reloaded, what was in use stays");
                    "error"
                }
            };
            counter(hook.what, outcome).increment(1);
        }
    }
}

fn counter(what: &'static str, outcome: &'static str) -> metrics::Counter {
    metrics::describe_counter!(
        "nearport_reloads_total",
        "What was read again, on SIGHUP or for a change, by outcome."
    );
    metrics::counter!("nearport_reloads_total", "what" => what, "outcome" => outcome)
}

impl fmt::Debug for Reloads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|hook| hook.what)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn one_that_fails_does_not_keep_the_others() {
        let ran = Arc::new(AtomicU32::new(0));
        let mut reloads = Reloads::default();
        let (first, second) = (ran.clone(), ran.clone());
        reloads.add("a", move || {
            first.fetch_add(1, Ordering::Relaxed);
            Err("no such file".to_owned())
        });
        reloads.add("b", move || {
            second.fetch_add(10, Ordering::Relaxed);
            Ok("new".to_owned())
        });
        reloads.run();
        reloads.run();
        assert_eq!(ran.load(Ordering::Relaxed), 22);
    }
}
