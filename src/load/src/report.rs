//! What a run found, as JSON and as a table.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::latency::Quantiles;
use crate::options::{Options, Scenario, Transport, Tuned};
use crate::relay::RelayCounts;
use crate::timeline::{ByTransport, Slot};

mod html;
mod table;

/// What a run found. `None` is null in JSON: not measured, or without meaning in this scenario.
///
/// Names and order of the first fields are a contract with scripts; fields are only ever added.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// What the clients did.
    pub scenario: Scenario,
    /// How they connected.
    pub transport: Transport,
    /// Clients that were asked for.
    pub connections: u32,
    /// Length of the measured window in seconds: of the logins in `connect`, else as asked for unless interrupted.
    pub duration_s: f64,
    /// Messages that were due, per second of the window.
    pub offered_per_s: Option<f64>,
    /// Acknowledged messages (`chat`), replies (`echo`) or logins (`connect`), per second of the window.
    pub achieved_per_s: Option<f64>,
    /// Messages, requests or logins that were begun, warm-up included.
    pub sent: Option<u64>,
    /// Those with an acknowledgement: for `chat` the message is on the server's disk.
    pub acked: Option<u64>,
    /// Messages that were shown at their receiver, each counted once.
    pub delivered: Option<u64>,
    /// Acknowledged and not shown when the run ended.
    pub lost: Option<u64>,
    /// Shown again.
    pub duplicated: Option<u64>,
    /// Shown behind a later message of the same sender.
    pub reordered: Option<u64>,
    /// Sum of [`Self::error_counts`].
    pub errors: u64,
    /// From the intended send time to the display at the receiver (`chat`), to the reply (`echo`); length of a login
    /// (`connect`).
    pub latency_ms: Quantiles,
    /// The logins.
    pub connect: Connect,
    /// The server's process.
    pub server: Server,
    /// What the program was built from.
    pub commit: Option<String>,
    /// Processors that this process may use.
    pub cores: Option<usize>,
    /// From the intended send time to the acknowledgement (`chat`).
    pub ack_ms: Quantiles,
    /// From the intended send time to the moment at which the client had the message: how late the load tool itself
    /// was. Latencies include it.
    pub send_lag_ms: Quantiles,
    /// Length of a message's text.
    pub message_bytes: Option<usize>,
    /// Sending before the window, in seconds.
    pub warmup_s: f64,
    /// Logins after a lost connection.
    pub reconnects: u64,
    /// Messages at these users that are not of this run.
    pub foreign: u64,
    /// Ended early by the user.
    pub interrupted: bool,
    /// What went wrong, by kind.
    pub error_counts: ErrorCounts,
    /// The first of the errors that had words.
    pub first_error: Option<String>,
    /// The bad network that a relay played, as its words; `None`: there was none.
    pub impair: Option<String>,
    /// What the clients did without.
    pub without: Vec<Tuned>,
    /// Logins, first ones and others, by what carried them.
    pub logins_by_transport: ByTransport,
    /// From the loss of a session to the client's next login.
    pub away_ms: Quantiles,
    /// The relay's counters.
    pub relay: Option<RelayCounts>,
    /// What `roam` found.
    pub roam: Option<Roam>,
    /// What `storm` found.
    pub storm: Option<Storm>,
    /// What `locate` found.
    pub locate: Option<Located>,
    /// What `live` found.
    pub live: Option<LiveRoom>,
    /// The window in slots.
    pub timeline: Vec<Slot>,
    /// What `group` found. `sent` and `acked` count messages, `delivered`, `lost`, `duplicated` and `reordered` count deliveries to
    /// members online.
    pub group: Option<Grouped>,
    /// Points of the distribution of `latency_ms`, for the page: share of messages, and milliseconds.
    #[serde(skip)]
    pub latency_curve: Vec<(f64, f64)>,
}

/// What became of sessions whose clients changed their address again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Roam {
    /// Changes that each client was to see.
    pub rebinds: u32,
    /// Changes of the client that saw the fewest.
    pub rebinds_min: u64,
    /// Clients whose session never ended.
    pub survived: u64,
    /// Datagrams that the server's shards gave to each other in user space meanwhile; `None` if it was not asked.
    pub handed_over: Option<u64>,
}

/// Messages of groups.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Grouped {
    /// Groups.
    pub groups: u32,
    /// Members of each.
    pub members: u32,
    /// Of them online.
    pub online: u32,
    /// Messages per second in each group.
    pub rate: u32,
    /// The same in the first one, if it is another.
    pub hot_rate: Option<u32>,
    /// Messages that got a number: they are due at every other member online.
    pub stored: u64,
    /// Messages above a group's rate: told as sent, and nobody gets them.
    pub folded: u64,
    /// Deliveries per second of the window.
    pub deliveries_per_s: Option<f64>,
    /// Messages that the server's ledger wrote meanwhile, of whatever conversation; `None` if it was not asked.
    pub rows: Option<u64>,
    /// The same for each message that got a number.
    pub rows_per_message: Option<f64>,
}

/// Where clients were sent.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Located {
    /// Networks that asked.
    pub networks: u32,
    /// Answers that named a PoP first, by its name.
    pub answers: BTreeMap<String, u64>,
}

/// A live room.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct LiveRoom {
    /// Members that joined in a second.
    pub joins_per_s: Option<f64>,
    /// From the request to the answer.
    pub join_ms: Quantiles,
    /// What the room has taken since the first join, by class: system, gift, chat, like.
    pub taken: [u64; 4],
    /// What of it went to nobody, because more was said than the room's rate.
    pub folded: [u64; 4],
    /// Frames that members did not get of what went out.
    pub missing: u64,
    /// What the server's edge says that it has left out for slow readers; `None` if it was not asked. The report's `lost` is
    /// what is missing beyond.
    pub left_out: Option<u64>,
    /// Messages of the room that members got in a second.
    pub deliveries_per_s: Option<f64>,
    /// Members without the SDK, on threads of their own at a lower priority.
    pub lean: usize,
    /// CPU time of those threads for each message that one of these members got, from the last join to the end, in microseconds.
    pub lean_cpu_us: Option<f64>,
    /// Latency of the pairs before the room began.
    pub chat_quiet_ms: Quantiles,
    /// The same while it was busy.
    pub chat_busy_ms: Quantiles,
    /// The one's p99 by the other's.
    pub chat_ratio: Option<f64>,
    /// Whether nothing of the pairs was lost, duplicated, reordered or failed.
    pub chat_clean: Option<bool>,
}

/// How clients came back after the server had died.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Storm {
    /// When the server was killed, in seconds since the window's begin; `None`: not by the load tool.
    pub killed_at_s: Option<f64>,
    /// Clients that logged in again.
    pub returned: u64,
    /// Clients that were to.
    pub clients: u64,
    /// From the kill to the first login again.
    pub first_back_s: Option<f64>,
    /// From the kill to the last one; `None` if not all came back.
    pub all_back_s: Option<f64>,
    /// From the kill to each client's login.
    pub back_ms: Quantiles,
    /// CPU time of one login during the first logins, in microseconds: the server's and this tool's.
    pub login_cpu_us: Option<f64>,
    /// What that makes for all clients on all cores of this machine, in seconds: the time below which the storm cannot be
    /// over.
    pub ideal_s: Option<f64>,
    /// (`all_back_s` - `first_back_s`) / `ideal_s`.
    pub ratio: Option<f64>,
    /// Resident memory of the server before it was killed, all clients logged in.
    pub rss_steady_bytes: Option<u64>,
    /// The most that the new server had at any time.
    pub rss_peak_bytes: Option<u64>,
    /// The one by the other.
    pub rss_ratio: Option<f64>,
}

/// Logins.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Connect {
    /// Logins per second, from the first begun to the last finished.
    pub per_s: Option<f64>,
    /// Median of a login: transport, TLS, UserSig, welcome.
    pub p50_ms: Option<f64>,
    /// 99 % of the logins.
    pub p99_ms: Option<f64>,
    /// 95 %.
    pub p95_ms: Option<f64>,
    /// The slowest.
    pub max_ms: Option<f64>,
}

/// The server's process, if its id was given and it lived through the window.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Server {
    /// CPU time in the window, all threads, in seconds.
    pub cpu_s: Option<f64>,
    /// The same per message, request or login that was acknowledged in the window, in microseconds.
    pub cpu_us_per_op: Option<f64>,
    /// Resident memory at the end of the window, all clients still logged in.
    pub rss_bytes: Option<u64>,
    /// What `idle` adds to it per logged-in client: from before the first login to the end of the window.
    pub rss_bytes_per_conn: Option<u64>,
    /// Resident memory before the first login.
    pub rss_before_bytes: Option<u64>,
}

/// What went wrong, by kind. A message is in at most one of the first three, and in none if it was shown after all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct ErrorCounts {
    /// Messages that the client never took, because its outbox stayed full.
    pub never_sent: u64,
    /// Messages or requests that were refused or given up.
    pub failed: u64,
    /// Messages without an answer at the end.
    pub unanswered: u64,
    /// Deliveries and answers that belong to nothing: damaged, at the wrong user, never sent.
    pub unexpected: u64,
    /// Clients that could not log in.
    pub logins: u64,
    /// Sessions that ended for good; in `idle` every session that was lost.
    pub sessions: u64,
    /// Clients whose last acknowledgements did not reach the server's disk.
    pub flushes: u64,
}

impl ErrorCounts {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        let Self { never_sent, failed, unanswered, unexpected, logins, sessions, flushes } = *self;
        never_sent + failed + unanswered + unexpected + logins + sessions + flushes
    }
}

impl Report {
    /// A report of nothing yet.
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            scenario: options.scenario,
            transport: options.transport,
            connections: options.connections,
            duration_s: 0.0,
            offered_per_s: None,
            achieved_per_s: None,
            sent: None,
            acked: None,
            delivered: None,
            lost: None,
            duplicated: None,
            reordered: None,
            errors: 0,
            latency_ms: Quantiles::default(),
            connect: Connect::default(),
            server: Server::default(),
            commit: options.commit.clone(),
            cores: std::thread::available_parallelism().ok().map(std::num::NonZero::get),
            ack_ms: Quantiles::default(),
            send_lag_ms: Quantiles::default(),
            message_bytes: None,
            warmup_s: 0.0,
            reconnects: 0,
            foreign: 0,
            interrupted: false,
            error_counts: ErrorCounts::default(),
            first_error: None,
            impair: options.impair.as_ref().map(ToString::to_string),
            without: options.without.clone(),
            logins_by_transport: ByTransport::default(),
            away_ms: Quantiles::default(),
            relay: None,
            roam: None,
            storm: None,
            locate: None,
            live: None,
            timeline: Vec::new(),
            group: None,
            latency_curve: Vec::new(),
        }
    }

    /// One JSON object, on one line, without a line end.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a struct of numbers and strings is always JSON")
    }

    /// For people: a page that needs nothing but itself, with plots.
    #[must_use]
    pub fn to_html(&self) -> String {
        html::render(self)
    }

    /// For people: a few aligned lines, ending with a line end.
    #[must_use]
    pub fn table(&self) -> String {
        table::render(self)
    }

    /// Whether nothing was lost, duplicated, reordered or failed, and, where that is the question, every session survived or came
    /// back. A program that checks a server exits with it.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let faults = [self.lost, self.duplicated, self.reordered];
        let all_survived = self.roam.is_none_or(|roam| roam.survived == u64::from(self.connections));
        let pairs_clean = self.live.as_ref().and_then(|live| live.chat_clean).unwrap_or(true);
        let all_back = self.storm.is_none_or(|storm| storm.returned == storm.clients);
        self.errors == 0
            && faults.into_iter().flatten().all(|count| count == 0)
            && all_survived
            && all_back
            && pairs_clean
    }
}

/// Three decimals: what a measurement is worth, and short in JSON.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
