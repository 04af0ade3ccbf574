//! The open loop: sends at Poisson times, whether or not the server keeps up.
//!
//! tokio's timer has a resolution of one millisecond, which would turn 10,000/s into batches of ten. So the pacer is a
//! thread that waits for each intended time itself, with the kernel's timer slack (50 µs by default) turned off.
//! When it is late it sends at once and counts from the intended time: delay is never hidden by sending less.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use hdrhistogram::Histogram;
use tokio::runtime::Handle;

use crate::codec::Request;
use crate::rng::Rng;
use crate::swarm::Swarm;
use crate::tally::histogram_us;

/// A running open loop.
#[derive(Debug)]
pub(crate) struct Pacer {
    thread: JoinHandle<Result<Histogram<u64>>>,
}

impl Pacer {
    /// Sends `per_s` messages per second over all connections of `swarm` from now until `end`. Needs a tokio runtime.
    pub(crate) fn start(swarm: &Swarm, per_s: f64, end: Instant, mut rng: Rng) -> Result<Self> {
        let (links, tally, handle) = (Arc::clone(&swarm.links), Arc::clone(&swarm.tally), Handle::current());
        let body = move || {
            nix::sys::prctl::set_timerslack(1).context("cannot set the timer slack")?;
            let mut lag_us = histogram_us();
            let mut due = Instant::now();
            loop {
                due += rng.exponential(per_s);
                if due >= end {
                    return Ok(lag_us);
                }
                wait_until(due);
                tally.expect(1);
                let link = &links[rng.below(links.len())];
                handle.block_on(link.say(Request::Echo, tally.ns(due)))?;
                lag_us.saturating_record(u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX));
            }
        };
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
