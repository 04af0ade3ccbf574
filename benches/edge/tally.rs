//! What came back, when: counted by many reader tasks, read by the case that runs.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use hdrhistogram::Histogram;

/// Enough that two reader tasks on two cores rarely meet at one lock.
const SHARDS: usize = 16;

/// How long the last replies may take after a window before they count as lost.
const GRACE: Duration = Duration::from_secs(15);

/// Arrivals and their latencies. All times are nanoseconds since `start`.
#[derive(Debug)]
pub(crate) struct Tally {
    start: Instant,
    expected: AtomicU64,
    shards: [Shard; SHARDS],
    /// Latencies are kept for stamps in this range.
    window: (AtomicU64, AtomicU64),
    /// While set, whoever gets a reply sends the next message.
    closed_loop: AtomicBool,
}

#[derive(Debug)]
struct Shard {
    arrived: AtomicU64,
    latency_us: Mutex<Histogram<u64>>,
}

impl Tally {
    /// An empty tally whose stamps count from `start`. Tallies of the same messages share it.
    pub(crate) fn since(start: Instant) -> Self {
        let shard = |_| Shard { arrived: AtomicU64::new(0), latency_us: Mutex::new(histogram_us()) };
        Self {
            start,
            expected: AtomicU64::new(0),
            shards: std::array::from_fn(shard),
            window: (AtomicU64::new(u64::MAX), AtomicU64::new(u64::MAX)),
            closed_loop: AtomicBool::new(false),
        }
    }

    pub(crate) fn now_ns(&self) -> u64 {
        self.ns(Instant::now())
    }

    pub(crate) fn ns(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.start).as_nanos()).unwrap_or(u64::MAX)
    }

    /// `count` more payloads must arrive.
    pub(crate) fn expect(&self, count: usize) {
        self.expected.fetch_add(count as u64, Relaxed);
    }

    /// A payload with this stamp reached connection `link`.
    pub(crate) fn arrived(&self, link: usize, stamp_ns: u64) {
        let shard = &self.shards[link % SHARDS];
        shard.arrived.fetch_add(1, Relaxed);
        if (self.window.0.load(Relaxed)..self.window.1.load(Relaxed)).contains(&stamp_ns) {
            let us = self.now_ns().saturating_sub(stamp_ns) / 1_000;
            locked(&shard.latency_us).saturating_record(us);
        }
    }

    /// Payloads that arrived since the start.
    pub(crate) fn count(&self) -> u64 {
        self.shards.iter().map(|shard| shard.arrived.load(Relaxed)).sum()
    }

    /// Forgets the latencies so far and keeps those of stamps in `from..to`.
    pub(crate) fn open_window(&self, from: Instant, to: Instant) {
        self.window.0.store(u64::MAX, Relaxed);
        for shard in &self.shards {
            locked(&shard.latency_us).reset();
        }
        self.window.1.store(self.ns(to), Relaxed);
        self.window.0.store(self.ns(from), Relaxed);
    }

    /// Latencies of the window, microseconds.
    pub(crate) fn latency_us(&self) -> Histogram<u64> {
        let mut all = histogram_us();
        for shard in &self.shards {
            all.add(&*locked(&shard.latency_us)).expect("both have the same bounds");
        }
        all
    }

    pub(crate) fn set_closed_loop(&self, on: bool) {
        self.closed_loop.store(on, Relaxed);
    }

    pub(crate) fn closed_loop(&self) -> bool {
        self.closed_loop.load(Relaxed)
    }

    /// Waits until everything expected has arrived.
    ///
    /// # Errors
    /// Something is still missing after [`GRACE`], or more came than was asked for: then the figures mean nothing.
    pub(crate) async fn settled(&self) -> Result<()> {
        let deadline = Instant::now() + GRACE;
        loop {
            let (expected, arrived) = (self.expected.load(Relaxed), self.count());
            if arrived == expected {
                return Ok(());
            }
            if arrived > expected || Instant::now() >= deadline {
                bail!("{expected} messages were due, {arrived} arrived");
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// Microseconds up to a minute, three significant digits.
pub(crate) fn histogram_us() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("the bounds are constants that the crate accepts")
}

/// A quantile of a microsecond histogram in milliseconds.
pub(crate) fn quantile_ms(histogram_us: &Histogram<u64>, quantile: f64) -> f64 {
    histogram_us.value_at_quantile(quantile) as f64 / 1e3
}

/// No reader leaves a histogram half changed, so poison says nothing about it.
fn locked(histogram: &Mutex<Histogram<u64>>) -> MutexGuard<'_, Histogram<u64>> {
    histogram.lock().unwrap_or_else(PoisonError::into_inner)
}
