//! What the ledger counts. Handles are made once: the macros look the key up at every call.

use metrics::{Counter, Histogram, Unit};

pub(super) struct Metrics {
    /// Durable commits.
    pub(super) commits: Counter,
    /// Seconds of one commit, engine and sync included.
    pub(super) commit_seconds: Histogram,
    /// Messages and cursor moves of one commit.
    pub(super) batch_items: Histogram,
    /// Messages that were known already.
    pub(super) duplicates: Counter,
    /// Times that the watermark was synced to disk.
    pub(super) watermark_syncs: Counter,
    /// Commits that failed. More than one per opening means that a caller goes on after an error.
    pub(super) write_failures: Counter,
    /// Seconds that commits waited for flushes and compactions.
    pub(super) stall_seconds: Histogram,
    /// Messages written: one row of a conversation each.
    pub(super) messages: Counter,
    /// Messages that a trim removed.
    pub(super) trimmed_messages: Counter,
    /// Seconds for which one step of a trim kept commits waiting.
    pub(super) trim_seconds: Histogram,
}

impl Metrics {
    pub(super) fn new() -> Self {
        metrics::describe_counter!("nearport_ledger_commits_total", Unit::Count, "durable commits");
        metrics::describe_histogram!("nearport_ledger_commit_seconds", Unit::Seconds, "duration of a commit");
        metrics::describe_histogram!(
            "nearport_ledger_batch_items",
            Unit::Count,
            "messages, changes and cursor moves per commit"
        );
        metrics::describe_counter!("nearport_ledger_messages_total", Unit::Count, "messages written");
        metrics::describe_counter!("nearport_ledger_duplicates_total", Unit::Count, "messages sent again");
        metrics::describe_counter!("nearport_ledger_watermark_syncs_total", Unit::Count, "watermark syncs");
        metrics::describe_counter!(
            "nearport_ledger_write_failures_total",
            Unit::Count,
            "commits that failed"
        );
        metrics::describe_histogram!(
            "nearport_ledger_stall_seconds",
            Unit::Seconds,
            "commits waiting for compaction"
        );
        metrics::describe_counter!(
            "nearport_ledger_trimmed_messages_total",
            Unit::Count,
            "messages removed because of their age"
        );
        metrics::describe_histogram!(
            "nearport_ledger_trim_seconds",
            Unit::Seconds,
            "commits waiting for a step of a trim"
        );
        Self {
            commits: metrics::counter!("nearport_ledger_commits_total"),
            commit_seconds: metrics::histogram!("nearport_ledger_commit_seconds"),
            batch_items: metrics::histogram!("nearport_ledger_batch_items"),
            messages: metrics::counter!("nearport_ledger_messages_total"),
            duplicates: metrics::counter!("nearport_ledger_duplicates_total"),
            watermark_syncs: metrics::counter!("nearport_ledger_watermark_syncs_total"),
            write_failures: metrics::counter!("nearport_ledger_write_failures_total"),
            stall_seconds: metrics::histogram!("nearport_ledger_stall_seconds"),
            trimmed_messages: metrics::counter!("nearport_ledger_trimmed_messages_total"),
            trim_seconds: metrics::histogram!("nearport_ledger_trim_seconds"),
        }
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}
