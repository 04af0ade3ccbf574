//! What the ledger counts, under the names of the embedded one. Handles are made once.

use metrics::{Counter, Histogram, Unit};

pub(super) struct Metrics {
    pub(super) commits: Counter,
    pub(super) commit_seconds: Histogram,
    pub(super) batch_items: Histogram,
    pub(super) duplicates: Counter,
    pub(super) write_failures: Counter,
    /// Commits whose answer was lost and that had been made.
    pub(super) resolved: Counter,
    pub(super) trimmed_messages: Counter,
}

impl Metrics {
    pub(super) fn new() -> Self {
        metrics::describe_counter!("nearport_ledger_commits_total", Unit::Count, "durable commits");
        metrics::describe_histogram!("nearport_ledger_commit_seconds", Unit::Seconds, "duration of a commit");
        metrics::describe_histogram!("nearport_ledger_batch_items", Unit::Count, "items per commit");
        metrics::describe_counter!("nearport_ledger_duplicates_total", Unit::Count, "messages sent again");
        metrics::describe_counter!(
            "nearport_ledger_write_failures_total",
            Unit::Count,
            "commits that failed"
        );
        metrics::describe_counter!(
            "nearport_ledger_resolved_commits_total",
            Unit::Count,
            "commits whose answer was lost and that had been made"
        );
        metrics::describe_counter!("nearport_ledger_trimmed_messages_total", Unit::Count, "messages trimmed");
        Self {
            commits: metrics::counter!("nearport_ledger_commits_total"),
            commit_seconds: metrics::histogram!("nearport_ledger_commit_seconds"),
            batch_items: metrics::histogram!("nearport_ledger_batch_items"),
            duplicates: metrics::counter!("nearport_ledger_duplicates_total"),
            write_failures: metrics::counter!("nearport_ledger_write_failures_total"),
            resolved: metrics::counter!("nearport_ledger_resolved_commits_total"),
            trimmed_messages: metrics::counter!("nearport_ledger_trimmed_messages_total"),
        }
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}
