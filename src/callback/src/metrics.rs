//! Metrics of callbacks. Handles are made once.

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};

/// The handles. Made after the process has installed its recorder.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) told: Counter,
    pub(crate) failed: Counter,
    pub(crate) dead: Counter,
    pub(crate) forgotten: Counter,
    pub(crate) answered: Counter,
    pub(crate) unanswered: Counter,
    pub(crate) busy: Counter,
    pub(crate) held: Counter,
    pub(crate) event_seconds: Histogram,
    pub(crate) question_seconds: Histogram,
    /// Entries that wait, of all Apps, about.
    pub(crate) waiting: Gauge,
    /// Back ends that are held for down: told nothing,
    pub(crate) open_events: Gauge,
    /// or asked nothing.
    pub(crate) open_questions: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        describe();
        let event = |outcome: &'static str| counter!("nearport_callback_events_total", "outcome" => outcome);
        let question =
            |outcome: &'static str| counter!("nearport_callback_questions_total", "outcome" => outcome);
        let open = |kind: &'static str| gauge!("nearport_callback_open_breakers", "kind" => kind);
        let seconds = |kind: &'static str| histogram!("nearport_callback_seconds", "kind" => kind);
        Self {
            told: event("told"),
            failed: event("failed"),
            dead: event("dead"),
            forgotten: event("forgotten"),
            answered: question("answered"),
            unanswered: question("unanswered"),
            busy: question("busy"),
            held: question("held"),
            event_seconds: seconds("after"),
            question_seconds: seconds("before"),
            waiting: gauge!("nearport_callback_waiting_events"),
            open_events: open("after"),
            open_questions: open("before"),
        }
    }
}

fn describe() {
    describe_counter!(
        "nearport_callback_events_total",
        Unit::Count,
        "What became of events that back ends are told: told, failed (each try), dead (given up and kept), forgotten (given up \
         long ago and dropped), lost (no room on the way to the outbox)."
    );
    describe_counter!(
        "nearport_callback_questions_total",
        Unit::Count,
        "Questions to back ends: answered, unanswered (the configured default was taken), held (the same without asking, the \
         back end is held for down), busy (not asked, refused)."
    );
    describe_histogram!(
        "nearport_callback_seconds",
        Unit::Seconds,
        "From the first octet of a request to a back end to the end of its answer, or to giving up."
    );
    describe_gauge!(
        "nearport_callback_waiting_events",
        Unit::Count,
        "Events in the outbox that wait to be told, about."
    );
    describe_gauge!(
        "nearport_callback_open_breakers",
        Unit::Count,
        "Back ends that are held for down: they are told (kind after) or asked (kind before) nothing but by probes."
    );
}
