//! Figures of a shard: plain numbers on its own thread, carried to the metrics registry once a second.

/// Counters and gauges of one shard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Turns run.
    pub turns: u64,
    /// Datagrams received.
    pub datagrams_in: u64,
    /// Those of them that were laid aside because many waited and they were short.
    pub datagrams_aside: u64,
    /// Datagrams that are laid aside now.
    pub aside: u64,
    /// Acknowledgements that waited for their connection to be touched.
    pub datagrams_deferred: u64,
    /// Acknowledgements that wait now.
    pub deferred: u64,
    /// Datagrams handed over for sending.
    pub datagrams_out: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Connection attempts refused because the shard drains.
    pub refused: u64,
    /// Connection attempts ignored because a bound was reached.
    pub ignored: u64,
    /// Retry packets sent.
    pub retries: u64,
    /// First packets that failed to decrypt or to parse.
    pub handshake_failures: u64,
    /// TCP connections accepted.
    pub streams_accepted: u64,
    /// TCP connections closed at once: the shard drains, or a bound was reached.
    pub streams_refused: u64,
    /// Times that the system gave no new TCP connection, for want of descriptors or memory.
    pub accept_errors: u64,
    /// TLS handshakes of byte streams that succeeded.
    pub tls_handshakes: u64,
    /// Those of them that a ticket made short.
    pub tls_resumed: u64,
    /// TLS connections that ended by an error: bad handshakes, bad records, alerts.
    pub tls_failures: u64,
    /// WebSockets opened.
    pub websocket_upgrades: u64,
    /// HTTP requests that open no WebSocket.
    pub upgrade_refusals: u64,
    /// Connections of trusted proxies without a PROXY header that can be read.
    pub proxy_refusals: u64,
    /// Sessions ended.
    pub closed: u64,
    /// Steps that panicked, each at the cost of one connection.
    pub panics: u64,
    /// Connections closed with ABUSE.
    pub abuses: u64,
    /// Requests refused for the rate of their session.
    pub requests_limited: u64,
    /// Live pushes left out for want of speed; their clients are told how many.
    pub pushes_folded: u64,
    /// Live pushes left out for all members of a room at once, because too many went round.
    pub rounds_dropped: u64,
    /// Pauses between visits of live rooms, because others wanted the core.
    pub room_pauses: u64,
    /// Sessions closed because nothing that waited was read for too long.
    pub slow_closes: u64,
    /// Sessions closed because too much waited for them.
    pub output_overflows: u64,
    /// Sessions closed because too much waited for all of them, and most for these.
    pub output_sheds: u64,
    /// Bytes that wait to be read.
    pub output_bytes: u64,
    /// Messages sent up to the backend.
    pub ups: u64,
    /// Messages that the backend had no room for.
    pub ups_refused: u64,
    /// Messages received from the backend.
    pub downs: u64,
    /// Times that the way down overflowed and all sessions were marked behind.
    pub link_losses: u64,
    /// Times that the backend went without another one in its place.
    pub backend_losses: u64,
    /// Sessions announced to a backend that took over from another.
    pub adoptions: u64,
    /// Pushes written to sessions.
    pub pushes: u64,
    /// Pushes dropped for slow sessions.
    pub pushes_dropped: u64,
    /// Pushes sent as datagrams, which are among `pushes`.
    pub pushes_as_datagrams: u64,
    /// Copies of frames sent as datagrams because the path loses packets.
    pub hedges_sent: u64,
    /// HEDGE frames that came.
    pub hedges_received: u64,
    /// HEDGE frames that brought a request before its stream did.
    pub hedges_used: u64,
    /// Resume tokens given to clients.
    pub resume_sealed: u64,
    /// Resume tokens that came back good.
    pub resume_opened: u64,
    /// Resume tokens that were not taken: expired, of a key that is gone, changed, or somebody else's.
    pub resume_refused: u64,
    /// Open connections, draining ones included.
    pub connections: u64,
    /// Open TLS connections that carry frames.
    pub connections_tls: u64,
    /// Open WebSockets.
    pub connections_websocket: u64,
    /// Open connections with a WebTransport session.
    pub connections_webtransport: u64,
    /// Handshakes in progress.
    pub handshakes: u64,
    /// CPU time of a handshake, in nanoseconds, as measured of late.
    pub handshake_cost_ns: u64,
    /// In what time clients that log in now are to come back if the shard is lost, in milliseconds; 0: they are told none.
    pub return_window_ms: u64,
    /// Live sessions.
    pub sessions: u64,
    /// Topics with members.
    pub topics: u64,
    /// Datagrams that the kernel gave to this shard and that another one owns.
    pub handed_over: u64,
    /// Those of them that found no room there.
    pub hand_over_dropped: u64,
    /// Datagrams sent on to a process that still holds connections of an earlier generation.
    pub forwarded: u64,
    /// Those of them that found no room on the way.
    pub forward_dropped: u64,
    /// Datagrams that came from the process that has taken over.
    pub foreign: u64,
    /// Times that the socket's buffer was full.
    pub send_blocked: u64,
    /// Datagrams that the system refused to send.
    pub send_failed: u64,
    /// 1 if the system refused a train of datagrams, after which all go singly.
    pub trains_refused: u64,
    /// Probes answered.
    pub probes: u64,
    /// Probes that were not answered, because much waited for the socket or they could not be read.
    pub probes_dropped: u64,
    /// What happened at the gate.
    pub gate: crate::admission::Counts,
    /// The shard takes no new connections.
    pub draining: bool,
}

/// A shard's figures in the metrics registry. Handles are made once: the macros look the key up at every call.
pub(crate) struct Exporter {
    counters: Vec<(metrics::Counter, Read)>,
    gauges: Vec<(metrics::Gauge, Read)>,
    /// Those that count less than the unit of their names, and how much.
    times: Vec<(metrics::Gauge, Read, f64)>,
}

/// Which figure a handle shows.
type Read = fn(&Stats) -> u64;

macro_rules! figures {
    ($make:ident, $describe:ident, $shard:expr, $($name:literal $($field:ident).+ $help:literal),+ $(,)?) => {{
        $(metrics::$describe!(concat!("nearport_edge_", $name), $help);)+
        vec![$((metrics::$make!(concat!("nearport_edge_", $name), "shard" => $shard.clone()), (|stats| stats.$($field).+) as Read)),+]
    }};
}

impl Exporter {
    pub(crate) fn new(shard: u8) -> Self {
        let shard = shard.to_string();
        Self {
            counters: figures!(
                counter, describe_counter, shard,
                "turns_total" turns "Turns run.",
                "datagrams_received_total" datagrams_in "Datagrams received.",
                "datagrams_laid_aside_total" datagrams_aside
                    "Datagrams that were laid aside because many waited and they were short.",
                "datagrams_deferred_total" datagrams_deferred
                    "Acknowledgements that waited for their connection to be touched.",
                "datagrams_sent_total" datagrams_out "Datagrams handed over for sending.",
                "connections_accepted_total" accepted "Connections accepted.",
                "connections_refused_total" refused "Connection attempts refused because the shard drains.",
                "connections_ignored_total" ignored "Connection attempts ignored because a bound was reached.",
                "retries_total" retries "Retry packets sent.",
                "handshake_failures_total" handshake_failures "First packets that failed to decrypt or to parse.",
                "streams_accepted_total" streams_accepted "TCP connections accepted.",
                "streams_refused_total" streams_refused "TCP connections closed at once: the shard drains, or a bound was reached.",
                "accept_errors_total" accept_errors "Times that the system gave no new TCP connection, for want of descriptors or memory.",
                "tls_handshakes_total" tls_handshakes "TLS handshakes of byte streams that succeeded.",
                "tls_resumed_total" tls_resumed "TLS handshakes of byte streams that a ticket made short.",
                "tls_failures_total" tls_failures "TLS connections that ended by an error: bad handshakes, bad records, alerts.",
                "websocket_upgrades_total" websocket_upgrades "WebSockets opened.",
                "upgrade_refusals_total" upgrade_refusals "HTTP requests that open no WebSocket.",
                "proxy_refusals_total" proxy_refusals "Connections of trusted proxies without a PROXY header that can be read.",
                "sessions_closed_total" closed "Sessions ended.",
                "panics_total" panics "Steps that panicked, each at the cost of one connection.",
                "abuses_total" abuses "Connections closed with ABUSE.",
                "requests_limited_total" requests_limited "Requests refused for the rate of their session.",
                "pushes_folded_total" pushes_folded "Live pushes left out for want of speed; their clients are told how many.",
                "rounds_dropped_total" rounds_dropped "Live pushes left out for all members of a room at once, because too many went round.",
                "room_pauses_total" room_pauses "Pauses between visits of live rooms, because others wanted the core.",
                "slow_closes_total" slow_closes "Sessions closed because nothing that waited was read for too long.",
                "output_overflow_closes_total" output_overflows "Sessions closed because too much waited for them.",
                "output_shed_closes_total" output_sheds "Sessions closed because too much waited for all of them, and most for these.",
                "backend_messages_sent_total" ups "Messages sent up to the backend.",
                "backend_messages_refused_total" ups_refused "Messages that the backend had no room for.",
                "backend_messages_received_total" downs "Messages received from the backend.",
                "backend_overflows_total" link_losses "Times that the way down overflowed and all sessions were marked behind.",
                "backend_losses_total" backend_losses "Times that the backend went without another one in its place.",
                "adoptions_total" adoptions "Sessions announced to a backend that took over from another.",
                "pushes_total" pushes "Pushes written to sessions.",
                "pushes_dropped_total" pushes_dropped "Pushes dropped for slow sessions.",
                "pushes_as_datagrams_total" pushes_as_datagrams "Pushes sent as datagrams, which are among pushes.",
                "hedges_sent_total" hedges_sent "Copies of frames sent as datagrams because the path loses packets.",
                "hedges_received_total" hedges_received "HEDGE frames that came.",
                "hedges_used_total" hedges_used "HEDGE frames that brought a request before its stream did.",
                "resume_tokens_sealed_total" resume_sealed "Resume tokens given to clients.",
                "resume_tokens_opened_total" resume_opened "Resume tokens that came back good.",
                "resume_tokens_refused_total" resume_refused "Resume tokens that were not taken: expired, of a key that is gone, changed, or somebody else's.",
                "datagrams_handed_over_total" handed_over "Datagrams that the kernel gave to this shard and that another one owns.",
                "hand_over_dropped_total" hand_over_dropped "Datagrams of another shard that found no room there.",
                "datagrams_forwarded_total" forwarded "Datagrams sent on to a process that still holds connections of an earlier generation.",
                "forward_dropped_total" forward_dropped "Datagrams of another process that found no room on the way.",
                "datagrams_foreign_total" foreign "Datagrams that came from the process that has taken over.",
                "send_blocked_total" send_blocked "Times that the socket's buffer was full.",
                "send_failed_total" send_failed "Datagrams that the system refused to send.",
                "trains_refused_total" trains_refused "1 if the system refused a train of datagrams, after which all go singly.",
                "probes_answered_total" probes "Probes answered.",
                "probes_dropped_total" probes_dropped "Probes that were not answered, because much waited for the socket or they could not be read.",
                "short_initials_total" gate.short "Initials in less than 1200 bytes.",
                "unknown_versions_total" gate.version "Packets of another version.",
                "malformed_datagrams_total" gate.form "What is no packet for a server.",
                "initials_overflowed_total" gate.queue_full "Initials that found the queue full.",
                "prefix_rate_refusals_total" gate.prefix_rate "Beginnings, QUIC's and TCP's, of a network that used up its rate.",
                "prefix_connections_refusals_total" gate.prefix_full "Beginnings of a network that has as many connections as it may.",
                "shard_full_refusals_total" gate.shard_full "Beginnings above the bounds of the shard.",
            ),
            gauges: figures!(
                gauge, describe_gauge, shard,
                "connections" connections "Open connections, draining ones included.",
                "connections_tls" connections_tls "Open TLS connections that carry frames.",
                "connections_websocket" connections_websocket "Open WebSockets.",
                "connections_webtransport" connections_webtransport "Open connections with a WebTransport session.",
                "handshakes" handshakes "Handshakes in progress.",
                "sessions" sessions "Live sessions.",
                "topics" topics "Topics with members.",
                "output_bytes" output_bytes "Bytes that wait to be read.",
                "datagrams_aside" aside "Datagrams that are laid aside now.",
                "datagrams_waiting" deferred "Acknowledgements that wait for their connection to be touched.",
            ),
            times: figures!(
                gauge, describe_gauge, shard,
                "handshake_cost_seconds" handshake_cost_ns "CPU time of a handshake, as measured of late.",
                "return_window_seconds" return_window_ms
                    "In what time clients that log in now are to come back if the shard is lost; 0: they are told none.",
            )
            .into_iter()
            .zip([1e-9, 1e-3])
            .map(|((gauge, read), unit)| (gauge, read, unit))
            .collect(),
        }
    }

    pub(crate) fn export(&self, stats: &Stats) {
        self.counters.iter().for_each(|(counter, read)| counter.absolute(read(stats)));
        self.gauges.iter().for_each(|(gauge, read)| gauge.set(read(stats) as f64));
        self.times.iter().for_each(|(gauge, read, unit)| gauge.set(read(stats) as f64 * unit));
    }
}
