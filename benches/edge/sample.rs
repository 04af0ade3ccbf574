//! Figures as the cases find them.

use std::time::Duration;

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;

use crate::plan::{Case, Measure};
use crate::tally::quantile_ms;

/// One figure of one case.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) case: Case,
    pub(crate) measure: Measure,
    pub(crate) value: f64,
}

/// What some cases found out about one server.
#[derive(Debug, Default)]
pub(crate) struct Samples(pub(crate) Vec<Sample>);

impl Samples {
    pub(crate) fn add(&mut self, case: Case, measure: Measure, value: f64) {
        self.0.push(Sample { case, measure, value });
    }

    /// Server CPU of each of `operations`.
    ///
    /// # Errors
    /// There were none.
    pub(crate) fn add_cpu(
        &mut self,
        case: Case,
        measure: Measure,
        cpu: Duration,
        operations: u64,
    ) -> Result<()> {
        ensure!(operations > 0, "{}: nothing happened in the window", case.name());
        self.add(case, measure, cpu.as_secs_f64() * 1e6 / operations as f64);
        Ok(())
    }

    /// Median and 99th percentile of a microsecond histogram.
    pub(crate) fn add_quantiles(&mut self, case: Case, p50: Measure, p99: Measure, us: &Histogram<u64>) {
        self.add(case, p50, quantile_ms(us, 0.50));
        self.add(case, p99, quantile_ms(us, 0.99));
    }
}
