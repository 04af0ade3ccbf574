//! The one metrics recorder of the process.

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::{Error, process};

/// Histogram buckets of everything that is named `..._seconds`: from a group commit on a fast disk (100 µs) to the
/// longest wait that a client bears (10 s), about three per decade.
const SECONDS: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Buckets of every other histogram: items of a batch, powers of two up to the ledger's largest batch (2,048).
const COUNTS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0];

/// Collects what every crate counts. Handles made before [`Recorder::install`] count into nothing, so it comes
/// first in a process.
#[derive(Clone)]
pub struct Recorder(PrometheusHandle);

impl Recorder {
    /// Installs the recorder.
    ///
    /// # Errors
    /// [`Error::Recorder`] if one is installed already.
    pub fn install() -> Result<Self, Error> {
        let failed = |error: metrics_exporter_prometheus::BuildError| Error::Recorder(error.to_string());
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), SECONDS)
            .and_then(|builder| builder.set_buckets(COUNTS))
            .map_err(failed)?
            .build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).map_err(|error| Error::Recorder(error.to_string()))?;
        Ok(Self(handle))
    }

    /// Everything in the text format of Prometheus, with the process's own CPU time, memory and descriptors.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = self.0.render();
        text.push_str(&process::exposition());
        text
    }

    /// Moves histogram samples out of their buffers. Without a scrape they would pile up, so it has to be called
    /// every few seconds.
    pub fn run_upkeep(&self) {
        self.0.run_upkeep();
    }
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Recorder")
    }
}
