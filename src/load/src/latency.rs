//! Latencies: microseconds up to an hour, three significant digits.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// A distribution of durations.
#[derive(Debug, Clone)]
pub(crate) struct Latency(Histogram<u64>);

/// Quantiles in milliseconds; `None` (null in JSON) where nothing was measured.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Quantiles {
    /// Median.
    pub p50: Option<f64>,
    /// 90 %.
    pub p90: Option<f64>,
    /// 99 %.
    pub p99: Option<f64>,
    /// 99.9 %.
    pub p999: Option<f64>,
    /// The longest.
    pub max: Option<f64>,
    /// 95 %.
    pub p95: Option<f64>,
}

/// An hour; what takes longer counts as this.
const LONGEST_US: u64 = 3_600_000_000;

impl Latency {
    pub(crate) fn new() -> Self {
        Self(
            Histogram::new_with_bounds(1, LONGEST_US, 3)
                .expect("the bounds are constants that the crate accepts"),
        )
    }

    pub(crate) fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(LONGEST_US).min(LONGEST_US));
    }

    /// Records the time from `from_ns` to `to_ns` on one clock.
    pub(crate) fn record_ns(&mut self, from_ns: u64, to_ns: u64) {
        self.record(Duration::from_nanos(to_ns.saturating_sub(from_ns)));
    }

    /// Adds what another one has recorded.
    pub(crate) fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all have the same bounds");
    }

    pub(crate) fn quantiles(&self) -> Quantiles {
        let at =
            |quantile| (!self.0.is_empty()).then(|| ms(self.0.value_at_quantile(quantile).min(self.0.max())));
        Quantiles {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: (!self.0.is_empty()).then(|| ms(self.0.max())),
            p95: at(0.95),
        }
    }

    /// Points of the distribution for a plot: share of values, and milliseconds that this share does not exceed. Denser
    /// towards the slow end, where the interest is.
    pub(crate) fn curve(&self) -> Vec<(f64, f64)> {
        if self.0.is_empty() {
            return Vec::new();
        }
        // 30 points per factor of ten of what is slower, down to the last value.
        let steps = (self.0.len() as f64).log10() * 30.0;
        let share = |step: u32| 1.0 - 10f64.powf(-f64::from(step) / 30.0);
        let point = |share| (share, ms(self.0.value_at_quantile(share).min(self.0.max())));
        (0u32..).take_while(|step| f64::from(*step) <= steps).map(|step| point(share(step))).collect()
    }
}

fn ms(us: u64) -> f64 {
    us as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_a_known_distribution() {
        let mut latency = Latency::new();
        assert_eq!(latency.quantiles(), Quantiles::default());
        for ms in 1..=1000 {
            latency.record(Duration::from_millis(ms));
        }
        let got = latency.quantiles();
        for (got, want) in
            [(got.p50, 500.0), (got.p90, 900.0), (got.p99, 990.0), (got.p999, 999.0), (got.max, 1000.0)]
        {
            let got = got.unwrap();
            assert!((got - want).abs() <= want / 1000.0 + 0.001, "{got} for {want}");
        }
    }

    #[test]
    fn the_longest_counts_as_an_hour() {
        let mut latency = Latency::new();
        latency.record(Duration::MAX);
        latency.record_ns(9, 5);
        let got = latency.quantiles();
        assert!(got.max.unwrap() >= 3_600_000.0 && got.max.unwrap() < 3_610_000.0, "{got:?}");
        assert!(got.p50.unwrap() <= 0.001);
    }
}
