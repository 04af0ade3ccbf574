//! What is counted of connections. Handles are made once: the macros look the key up at every call.

use metrics::{Counter, Gauge, Histogram, Unit};

use super::PgError;

pub(crate) struct Metrics {
    /// Connections that are open.
    pub(super) connections: Gauge,
    /// Seconds that a call waited for a connection, making one included.
    pub(super) wait_seconds: Histogram,
    /// Transactions that ran again because another one was in the way.
    pub(crate) conflicts: Counter,
    errors: [(&'static str, Counter); 5],
}

impl Metrics {
    pub(super) fn new() -> Self {
        metrics::describe_gauge!("nearport_postgres_connections", Unit::Count, "open connections");
        metrics::describe_histogram!(
            "nearport_postgres_wait_seconds",
            Unit::Seconds,
            "waiting for a connection"
        );
        metrics::describe_counter!(
            "nearport_postgres_conflicts_total",
            Unit::Count,
            "transactions run again because another one was in the way"
        );
        metrics::describe_counter!(
            "nearport_postgres_errors_total",
            Unit::Count,
            "calls that failed, by class"
        );
        let class = |class: &'static str| {
            (class, metrics::counter!("nearport_postgres_errors_total", "class" => class))
        };
        Self {
            connections: metrics::gauge!("nearport_postgres_connections"),
            wait_seconds: metrics::histogram!("nearport_postgres_wait_seconds"),
            conflicts: metrics::counter!("nearport_postgres_conflicts_total"),
            errors: ["conflict", "unavailable", "full", "exists", "other"].map(class),
        }
    }

    pub(super) fn count(&self, error: &PgError) {
        if let Some((_, counter)) = self.errors.iter().find(|(class, _)| *class == error.class()) {
            counter.increment(1);
        }
    }
}
