//! The figures of the cases, and how they are called.

/// One figure of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Measure {
    /// Server CPU per message, delivery or handshake.
    CpuUs,
    /// Of that: the edge's shards.
    ShardsCpuUs,
    /// Of that: the thread of the chat backend that commits and answers.
    WriterCpuUs,
    /// Of that: every other thread, such as the ledger's flushes and compactions.
    OtherCpuUs,
    /// Cores that the server, and the load generator beside it, kept busy. Where both together come near the cores of
    /// the machine, latencies are those of waiting for a core.
    ServerCores,
    ClientCores,
    /// Messages or handshakes per second; client and server share the machine.
    PerSecond,
    /// UDP datagrams in both directions, as the client counts them: most of a message's cost (DESIGN §12).
    Datagrams,
    /// Growth of the server's resident memory per connection.
    RssBytes,
    /// From the intended send time to the arrival at the client.
    P50Ms,
    P99Ms,
    /// From the intended send time to the acknowledgement at the sender.
    AckP50Ms,
    AckP99Ms,
    /// From the intended send time to the arrival at the partner.
    DeliveryP50Ms,
    DeliveryP99Ms,
    /// How late the generator itself was: what of the latency is not the server's.
    PacerLagP99Ms,
    /// 99th percentile of users during a flood, by the one before it.
    FloodedRatio,
    QuietP50Ms,
    QuietP99Ms,
    FloodedP50Ms,
    FloodedP99Ms,
    /// As the flood began, before the steady state.
    OnsetP99Ms,
    /// Handshakes per second that the server's threads could do with all of the machine: threads by CPU of one.
    CapacityPerS,
    /// Handshakes that the flood began, per second.
    FloodPerS,
    /// Cores that sending them took.
    FloodCores,
    /// Of a hundred honest clients, those that came in within five seconds.
    QuietLogins,
    FloodedLogins,
    /// Until their first reply, during the flood.
    LoginP50Ms,
    /// The most memory that was resident.
    QuietRssMib,
    FloodedRssMib,
    /// Beside clients that never read, by the mean of before and after.
    SlowCpuRatio,
    SlowP99Ratio,
    QuietCpuUs,
    BesideCpuUs,
    BesideP50Ms,
    BesideP99Ms,
    BesideRssMib,
}

impl Measure {
    /// As in the JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CpuUs => "server_cpu_us",
            Self::ShardsCpuUs => "server_cpu_us_shards",
            Self::WriterCpuUs => "server_cpu_us_writer",
            Self::OtherCpuUs => "server_cpu_us_other",
            Self::ServerCores => "server_cores",
            Self::ClientCores => "client_cores",
            Self::PerSecond => "per_s",
            Self::Datagrams => "datagrams",
            Self::RssBytes => "server_rss_bytes",
            Self::P50Ms => "p50_ms",
            Self::P99Ms => "p99_ms",
            Self::AckP50Ms => "ack_p50_ms",
            Self::AckP99Ms => "ack_p99_ms",
            Self::DeliveryP50Ms => "delivery_p50_ms",
            Self::DeliveryP99Ms => "delivery_p99_ms",
            Self::PacerLagP99Ms => "generator_lag_p99_ms",
            Self::FloodedRatio => "flooded_p99_by_quiet",
            Self::QuietP50Ms => "quiet_p50_ms",
            Self::QuietP99Ms => "quiet_p99_ms",
            Self::FloodedP50Ms => "flooded_p50_ms",
            Self::FloodedP99Ms => "flooded_p99_ms",
            Self::OnsetP99Ms => "flood_onset_p99_ms",
            Self::CapacityPerS => "capacity_per_s",
            Self::FloodPerS => "flood_per_s",
            Self::FloodCores => "flood_cores",
            Self::QuietLogins => "quiet_logins_percent",
            Self::FloodedLogins => "flooded_logins_percent",
            Self::LoginP50Ms => "flooded_login_p50_ms",
            Self::QuietRssMib => "quiet_rss_peak_mib",
            Self::FloodedRssMib => "flooded_rss_peak_mib",
            Self::SlowCpuRatio => "beside_slow_cpu_by_without",
            Self::SlowP99Ratio => "beside_slow_p99_by_without",
            Self::QuietCpuUs => "quiet_server_cpu_us",
            Self::BesideCpuUs => "beside_slow_server_cpu_us",
            Self::BesideP50Ms => "beside_slow_p50_ms",
            Self::BesideP99Ms => "beside_slow_p99_ms",
            Self::BesideRssMib => "beside_slow_rss_peak_mib",
        }
    }

    /// As in the table.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::CpuUs => "server CPU us each",
            Self::ShardsCpuUs => "  in the edge's shards",
            Self::WriterCpuUs => "  in the chat writer",
            Self::OtherCpuUs => "  in other threads",
            Self::ServerCores => "cores busy, server",
            Self::ClientCores => "cores busy, generator",
            Self::PerSecond => "per second",
            Self::Datagrams => "datagrams each, both ways",
            Self::RssBytes => "server RSS bytes each",
            Self::P50Ms => "p50 ms",
            Self::P99Ms => "p99 ms",
            Self::AckP50Ms => "acknowledgement p50 ms",
            Self::AckP99Ms => "acknowledgement p99 ms",
            Self::DeliveryP50Ms => "delivery p50 ms",
            Self::DeliveryP99Ms => "delivery p99 ms",
            Self::PacerLagP99Ms => "generator's own lag, p99 ms",
            Self::FloodedRatio => "p99, with / without",
            Self::QuietP50Ms => "p50 ms, without",
            Self::QuietP99Ms => "p99 ms, without",
            Self::FloodedP50Ms => "p50 ms, with",
            Self::FloodedP99Ms => "p99 ms, with",
            Self::OnsetP99Ms => "p99 ms, as the flood began",
            Self::CapacityPerS => "capacity, handshakes/s",
            Self::FloodPerS => "flood, handshakes/s",
            Self::FloodCores => "cores busy, flood",
            Self::QuietLogins => "logins, without, %",
            Self::FloodedLogins => "logins, with, %",
            Self::LoginP50Ms => "login p50 ms, with",
            Self::QuietRssMib => "peak RSS MiB, without",
            Self::FloodedRssMib => "peak RSS MiB, with",
            Self::SlowCpuRatio => "server CPU, with / without",
            Self::SlowP99Ratio => "p99, with / without",
            Self::QuietCpuUs => "server CPU us each, without",
            Self::BesideCpuUs => "server CPU us each, with",
            Self::BesideP50Ms => "p50 ms, with",
            Self::BesideP99Ms => "p99 ms, with",
            Self::BesideRssMib => "peak RSS MiB, with",
        }
    }

    /// Digits after the point in the table.
    pub(crate) fn digits(self) -> usize {
        match self {
            Self::CpuUs | Self::ShardsCpuUs | Self::WriterCpuUs | Self::OtherCpuUs => 1,
            Self::QuietCpuUs | Self::BesideCpuUs | Self::BesideRssMib => 1,
            Self::PerSecond | Self::RssBytes | Self::CapacityPerS | Self::FloodPerS => 0,
            Self::QuietLogins | Self::FloodedLogins => 0,
            Self::QuietRssMib | Self::FloodedRssMib => 1,
            _ => 2,
        }
    }
}
