//! The run's clock: nanoseconds since it began.

use std::time::{Duration, Instant};

use crate::schedule::saturating_ns;

/// One per run, so that times inside messages compare.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    epoch: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { epoch: Instant::now() }
    }

    pub(crate) fn now_ns(self) -> u64 {
        self.ns(Instant::now())
    }

    pub(crate) fn ns(self, at: Instant) -> u64 {
        saturating_ns(at.saturating_duration_since(self.epoch))
    }

    pub(crate) fn instant(self, ns: u64) -> Instant {
        self.epoch + Duration::from_nanos(ns)
    }
}
