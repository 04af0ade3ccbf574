//! Threads that take one bounded step after the other and rest in between.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A thread. Dropping it ends it, after the step that it is at.
#[derive(Debug)]
pub(crate) struct Resting {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Resting {
    /// Starts it. `step` says how long it rests, which is `factor` times as long as the step took at least.
    ///
    /// # Errors
    /// If the system has no thread.
    pub(crate) fn start(
        name: &str,
        factor: u32,
        mut step: impl FnMut() -> Duration + Send + 'static,
    ) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = stop.clone();
        let work = move || {
            while !stopping.load(Ordering::Acquire) {
                let started = Instant::now();
                let rest = step();
                wait(rest.max(started.elapsed() * factor), &stopping);
            }
        };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work)?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Resting {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

/// Until the time is over or it is to stop: a thread may be woken for nothing.
fn wait(rest: Duration, stop: &AtomicBool) {
    let until = Instant::now() + rest;
    while !stop.load(Ordering::Acquire)
        && let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    {
        std::thread::park_timeout(left);
    }
}
