//! The open loop: sends at Poisson times, whether or not the server keeps up.
//!
//! tokio's timer has a resolution of one millisecond, which would turn 10,000/s into batches of ten. So the pacer is a
//! thread that waits for each intended time itself, with the kernel's timer slack (50 µs by default) turned off.
//! When it is late it sends at once and counts from the intended time: delay is never hidden by sending less.

use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use hdrhistogram::Histogram;

use crate::rng::Rng;
use crate::tally::histogram_us;

/// Calls `send` with each of its intended times: those of a Poisson process of `per_s` from now until `end`. Returns
/// how late the sends were, in microseconds. Blocks, and leaves the calling thread without timer slack.
///
/// # Errors
/// The first error of `send`, which ends the loop.
pub(crate) fn pace(
    per_s: f64,
    end: Instant,
    rng: &mut Rng,
    mut send: impl FnMut(Instant, &mut Rng) -> Result<()>,
) -> Result<Histogram<u64>> {
    nix::sys::prctl::set_timerslack(1).context("cannot set the timer slack")?;
    let mut lag_us = histogram_us();
    let mut due = Instant::now();
    loop {
        due += rng.exponential(per_s);
        if due >= end {
            return Ok(lag_us);
        }
        wait_until(due);
        send(due, rng)?;
        lag_us.saturating_record(u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
}

/// [`pace`] on a thread of its own.
#[derive(Debug)]
pub(crate) struct Pacer {
    thread: JoinHandle<Result<Histogram<u64>>>,
}

impl Pacer {
    /// Starts to call `send` as [`pace`] does.
    pub(crate) fn start(
        per_s: f64,
        end: Instant,
        mut rng: Rng,
        send: impl FnMut(Instant, &mut Rng) -> Result<()> + Send + 'static,
    ) -> Result<Self> {
        let body = move || pace(per_s, end, &mut rng, send);
        Ok(Self { thread: thread::Builder::new().name("pacer".to_owned()).spawn(body)? })
    }

    /// Waits for the end; returns how late the sends were, in microseconds. Blocks: call it when the end is near.
    pub(crate) fn join(self) -> Result<Histogram<u64>> {
        self.thread.join().map_err(|_| anyhow!("the pacer panicked"))?
    }
}

fn wait_until(due: Instant) {
    loop {
        let left = due.saturating_duration_since(Instant::now());
        if left == Duration::ZERO {
            return;
        }
        // Nobody unparks this thread; an early return is caught by the loop.
        thread::park_timeout(left);
    }
}
