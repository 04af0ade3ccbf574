//! Metrics of the chat backend. Handles are made once: the macros look their key up at every call.

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};
use nearport_wire::close::CloseCode;

/// The handles. Made after the process has installed its recorder; without one they count nothing.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) sessions: Gauge,
    pub(crate) front_batch: Histogram,
    pub(crate) writer_batch: Histogram,
    pub(crate) desk_batch: Histogram,
    pub(crate) posts_lost: Counter,
    /// Requests that wait for the back ends of their Apps.
    pub(crate) held: Gauge,
    pub(crate) commit_items: Histogram,
    pub(crate) stored: Counter,
    pub(crate) duplicates: Counter,
    pub(crate) online_only: Counter,
    pub(crate) not_stored: Counter,
    /// Messages above the rate of their group.
    pub(crate) over_rate: Counter,
    /// Recalls and edits.
    pub(crate) changes: Counter,
    pub(crate) publishes: Counter,
    pub(crate) kicks: Counter,
    pub(crate) adopted: Counter,
    pub(crate) strays: Counter,
    pub(crate) cursors_clamped: Counter,
    pub(crate) app_full: Counter,
    pub(crate) guests: Gauge,
    pub(crate) guests_full: Counter,
    pub(crate) accounts_hits: Counter,
    pub(crate) accounts_misses: Counter,
    pub(crate) accounts_cached: Gauge,
    pub(crate) apps_cached: Gauge,
    /// Version of Apps, keys and settings that is in use.
    pub(crate) apps_version: Gauge,
    /// Looks at the Apps that failed.
    pub(crate) apps_unread: Counter,
    /// Accepted logins, by [`Proof`].
    pub(crate) proofs: [Counter; 2],
    logins: Vec<(Option<CloseCode>, Counter)>,
    errors: [Counter; 10],
}

/// What a login was accepted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    /// A UserSig that was checked here.
    UserSig,
    /// A token that the edge has opened.
    ResumeToken,
}

/// How a login ends: accepted, or the close code of its refusal. Any other code counts as the last one.
const LOGIN_OUTCOMES: [(Option<CloseCode>, &str); 7] = [
    (None, "accepted"),
    (Some(CloseCode::UNAUTHORIZED), "unauthorized"),
    (Some(CloseCode::NO_APP), "no_app"),
    (Some(CloseCode::BAD_BODY), "bad_hello"),
    (Some(CloseCode::BUSY), "busy"),
    (Some(CloseCode::KICKED), "kicked"),
    (Some(CloseCode::UNAVAILABLE), "unavailable"),
];

/// First digit of a five-digit code of the contract: who is to blame can be read from it.
const ERROR_RANGES: [&str; 10] =
    ["other", "10xxx", "20xxx", "30xxx", "40xxx", "50xxx", "60xxx", "70xxx", "80xxx", "90xxx"];

impl Metrics {
    pub(crate) fn new() -> Self {
        describe();
        let login = |(close, outcome): (Option<CloseCode>, &'static str)| {
            (close, counter!("nearport_chat_logins_total", "outcome" => outcome))
        };
        let send = |outcome: &'static str| counter!("nearport_chat_sends_total", "outcome" => outcome);
        let batch = |thread: &'static str| histogram!("nearport_chat_batch_items", "thread" => thread);
        Self {
            sessions: gauge!("nearport_chat_sessions"),
            front_batch: batch("front"),
            writer_batch: batch("writer"),
            desk_batch: batch("desk"),
            held: gauge!("nearport_chat_held_requests"),
            posts_lost: counter!("nearport_chat_posts_lost_total"),
            commit_items: histogram!("nearport_chat_commit_items"),
            stored: send("stored"),
            duplicates: send("duplicate"),
            online_only: send("online_only"),
            not_stored: send("not_stored"),
            over_rate: send("over_rate"),
            changes: counter!("nearport_chat_changes_total"),
            publishes: counter!("nearport_chat_publishes_total"),
            kicks: counter!("nearport_chat_kicks_total"),
            adopted: counter!("nearport_chat_adoptions_total"),
            strays: counter!("nearport_chat_stray_frames_total"),
            cursors_clamped: counter!("nearport_chat_cursors_clamped_total"),
            app_full: counter!("nearport_chat_app_full_refusals_total"),
            guests: gauge!("nearport_chat_guests"),
            guests_full: counter!("nearport_chat_guest_refusals_total"),
            accounts_hits: counter!("nearport_chat_cache_lookups_total", "cache" => "accounts", "hit" => "yes"),
            accounts_misses: counter!("nearport_chat_cache_lookups_total", "cache" => "accounts", "hit" => "no"),
            accounts_cached: gauge!("nearport_chat_cache_entries", "cache" => "accounts"),
            apps_cached: gauge!("nearport_chat_cache_entries", "cache" => "apps"),
            apps_version: gauge!("nearport_chat_apps_version"),
            apps_unread: counter!("nearport_chat_apps_unread_total"),
            proofs: ["usersig", "resume_token"]
                .map(|proof| counter!("nearport_chat_logins_accepted_total", "proof" => proof)),
            logins: LOGIN_OUTCOMES.into_iter().map(login).collect(),
            errors: ERROR_RANGES.map(|range| counter!("nearport_chat_errors_total", "range" => range)),
        }
    }

    /// Counts a login: `None` for accepted, else the close code of the refusal.
    pub(crate) fn login(&self, close: Option<CloseCode>) {
        let known = self.logins.iter().find(|(code, _)| *code == close).or_else(|| self.logins.last());
        if let Some((_, counter)) = known {
            counter.increment(1);
        }
    }

    /// Counts an ERROR answer.
    pub(crate) fn error(&self, code: u32) {
        let range = usize::try_from(code / 10_000).unwrap_or(0);
        self.errors.get(range).unwrap_or(&self.errors[0]).increment(1);
    }
}

fn describe() {
    describe_gauge!(
        "nearport_chat_held_requests",
        Unit::Count,
        "Requests that wait for what the back end of their App says of a message."
    );
    describe_gauge!("nearport_chat_sessions", Unit::Count, "Live sessions.");
    describe_counter!("nearport_chat_logins_total", Unit::Count, "Answered logins by outcome.");
    describe_counter!(
        "nearport_chat_logins_accepted_total",
        Unit::Count,
        "Accepted logins by what proved them."
    );
    describe_counter!(
        "nearport_chat_posts_lost_total",
        Unit::Count,
        "Tips and notices that found no room at the writer."
    );
    describe_counter!("nearport_chat_sends_total", Unit::Count, "Well-formed SENDs by what became of them.");
    describe_counter!("nearport_chat_changes_total", Unit::Count, "Messages that were recalled or edited.");
    describe_counter!("nearport_chat_errors_total", Unit::Count, "ERROR answers by range of their code.");
    describe_counter!("nearport_chat_publishes_total", Unit::Count, "Publishes, one per topic and link.");
    describe_counter!("nearport_chat_kicks_total", Unit::Count, "Sessions ended by the backend.");
    describe_counter!(
        "nearport_chat_adoptions_total",
        Unit::Count,
        "Sessions taken over from another backend."
    );
    describe_counter!(
        "nearport_chat_stray_frames_total",
        Unit::Count,
        "Frames and acks dropped because their session had ended."
    );
    describe_counter!(
        "nearport_chat_cursors_clamped_total",
        Unit::Count,
        "Positions from clients that lay beyond the end of the log: a client bug, or a ledger that lost commits."
    );
    describe_counter!(
        "nearport_chat_app_full_refusals_total",
        Unit::Count,
        "Logins refused because their App had as many sessions as it may."
    );
    describe_gauge!("nearport_chat_guests", Unit::Count, "Sessions of guests, who have no account.");
    describe_counter!(
        "nearport_chat_guest_refusals_total",
        Unit::Count,
        "Guests refused because there were as many as there may be, in all or from their network."
    );
    describe_gauge!(
        "nearport_chat_apps_version",
        Unit::Count,
        "Version of the Apps, their keys and settings that is in use."
    );
    describe_counter!(
        "nearport_chat_apps_unread_total",
        Unit::Count,
        "Looks at the Apps that the directory did not answer."
    );
    describe_counter!("nearport_chat_cache_lookups_total", Unit::Count, "Cache look-ups.");
    describe_gauge!("nearport_chat_cache_entries", Unit::Count, "Entries of a cache.");
    describe_histogram!("nearport_chat_batch_items", Unit::Count, "Items taken from a queue at once.");
    describe_histogram!(
        "nearport_chat_commit_items",
        Unit::Count,
        "Messages and cursors in one group commit."
    );
}
