//! The report for people.

use std::fmt::Write as _;

use crate::latency::Quantiles;
use crate::options::Transport;
use crate::relay::RelayCounts;
use crate::report::{Grouped, LiveRoom, Located, Report, Roam, Storm};

/// Lines of a name and what there is to say; lines with nothing to say are left out.
pub(super) fn render(report: &Report) -> String {
    let lines = [
        ("run", Some(run(report))),
        ("logins", logins(report)),
        ("rate", rate(report)),
        ("messages", messages(report)),
        ("faults", Some(faults(report))),
        ("errors", errors(report)),
        ("latency", quantiles(&report.latency_ms)),
        ("acknowledged", quantiles(&report.ack_ms)),
        ("send lag", quantiles(&report.send_lag_ms)),
        ("away", quantiles(&report.away_ms)),
        ("transports", transports(report)),
        ("network", report.impair.clone()),
        ("relay", report.relay.as_ref().map(relay)),
        ("roam", report.roam.as_ref().map(|roam| self::roam(report, roam))),
        ("storm", report.storm.as_ref().map(storm)),
        ("room", report.live.as_ref().map(room)),
        ("pairs, quiet", report.live.as_ref().and_then(|live| quantiles(&live.chat_quiet_ms))),
        ("pairs, busy", report.live.as_ref().and_then(pairs)),
        ("answers", report.locate.as_ref().map(answers)),
        ("groups", report.group.as_ref().map(groups)),
        ("server", server(report)),
    ];
    let mut out = String::new();
    for (name, text) in lines {
        if let Some(text) = text {
            writeln!(out, "{name:<14}{text}").expect("writing to a string cannot fail");
        }
    }
    out
}

pub(super) fn run(report: &Report) -> String {
    let transport = report.transport.to_string();
    let mut text = format!(
        "{} over {}, {} connections, {:.1} s",
        report.scenario,
        if report.locate.is_some() { "http" } else { &transport },
        grouped(report.connections.into()),
        report.duration_s
    );
    if report.warmup_s > 0.0 {
        let _ = write!(text, " after {:.1} s of warm-up", report.warmup_s);
    }
    if let Some(bytes) = report.message_bytes {
        let _ = write!(text, ", {bytes}-byte messages");
    }
    if report.interrupted {
        text.push_str(", interrupted");
    }
    text
}

/// The PoPs that were named most.
fn answers(located: &Located) -> String {
    const SHOWN: usize = 8;
    let mut by_count: Vec<_> = located.answers.iter().collect();
    by_count.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    let total: u64 = by_count.iter().map(|(_, count)| **count).sum();
    let share = |count: u64| 100.0 * count as f64 / total.max(1) as f64;
    let shown = by_count.iter().take(SHOWN).map(|(pop, count)| format!("{pop} {:.1} %", share(**count)));
    let mut text =
        format!("{} networks: {}", grouped(located.networks.into()), shown.collect::<Vec<_>>().join("   "));
    if by_count.len() > SHOWN {
        let _ = write!(text, "   and {} more", by_count.len() - SHOWN);
    }
    text
}

/// Counts by class, in the order of classes.
fn classes(counts: &[u64; 4]) -> String {
    let names = ["system", "gift", "chat", "like"];
    let known = names.into_iter().zip(counts).filter(|(_, count)| **count > 0);
    let known: Vec<_> = known.map(|(name, count)| format!("{} {name}", grouped(*count))).collect();
    if known.is_empty() { "0".into() } else { known.join(", ") }
}

fn room(live: &LiveRoom) -> String {
    let mut text = format!(
        "joined {}/s (p99 {})   taken {}   folded {}",
        decimal(live.joins_per_s.unwrap_or_default()),
        millis(live.join_ms.p99),
        classes(&live.taken),
        classes(&live.folded),
    );
    match live.left_out {
        Some(left_out) => {
            let _ = write!(
                text,
                "   missing {}, left out by the edge {}",
                grouped(live.missing),
                grouped(left_out)
            );
        }
        None => {
            let _ = write!(text, "   missing {}", grouped(live.missing));
        }
    }
    if let Some(per_s) = live.deliveries_per_s {
        let _ = write!(text, "   {} deliveries/s", decimal(per_s));
    }
    if let Some(us) = live.lean_cpu_us {
        let _ =
            write!(text, "   {} lean members, {us:.1} us of this tool's CPU each", grouped(live.lean as u64));
    }
    text
}

fn pairs(live: &LiveRoom) -> Option<String> {
    let busy = quantiles(&live.chat_busy_ms)?;
    let ratio = live.chat_ratio.map(|ratio| format!("   p99 {ratio:.2} x quiet")).unwrap_or_default();
    let clean = if live.chat_clean == Some(false) { "   NOT CLEAN" } else { "" };
    Some(format!("{busy}{ratio}{clean}"))
}

fn logins(report: &Report) -> Option<String> {
    let connect = &report.connect;
    let per_s = connect.per_s?;
    Some(format!("{}/s   p50 {}   p99 {}", decimal(per_s), millis(connect.p50_ms), millis(connect.p99_ms)))
}

fn rate(report: &Report) -> Option<String> {
    let (offered, achieved) = (report.offered_per_s?, report.achieved_per_s?);
    Some(format!("offered {}/s   achieved {}/s", decimal(offered), decimal(achieved)))
}

fn messages(report: &Report) -> Option<String> {
    let counts = [("sent", report.sent), ("acknowledged", report.acked), ("delivered", report.delivered)];
    let known: Vec<String> =
        counts.into_iter().filter_map(|(name, count)| Some(format!("{name} {}", grouped(count?)))).collect();
    (!known.is_empty()).then(|| known.join("   "))
}

fn faults(report: &Report) -> String {
    let counts = [
        ("lost", report.lost),
        ("duplicated", report.duplicated),
        ("reordered", report.reordered),
        ("errors", Some(report.errors)),
        ("reconnects", Some(report.reconnects)),
    ];
    let known = counts.into_iter().filter_map(|(name, count)| Some(format!("{name} {}", grouped(count?))));
    known.collect::<Vec<_>>().join("   ")
}

fn errors(report: &Report) -> Option<String> {
    let counts = &report.error_counts;
    let kinds = [
        ("never sent", counts.never_sent),
        ("failed", counts.failed),
        ("unanswered", counts.unanswered),
        ("unexpected", counts.unexpected),
        ("logins", counts.logins),
        ("sessions", counts.sessions),
        ("flushes", counts.flushes),
    ];
    let mut text: Vec<String> = kinds
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{name} {}", grouped(count)))
        .collect();
    text.extend(report.first_error.as_ref().map(|first| format!("first: {first}")));
    (!text.is_empty()).then(|| text.join("   "))
}

fn quantiles(quantiles: &Quantiles) -> Option<String> {
    quantiles.p50?;
    Some(format!(
        "p50 {}   p90 {}   p99 {}   p99.9 {}   max {}",
        millis(quantiles.p50),
        millis(quantiles.p90),
        millis(quantiles.p99),
        millis(quantiles.p999),
        millis(quantiles.max)
    ))
}

/// Only where there is something to tell apart.
fn transports(report: &Report) -> Option<String> {
    let used: Vec<String> = report
        .logins_by_transport
        .each()
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{} logins over {name}", grouped(count)))
        .collect();
    (report.transport == Transport::Auto && !used.is_empty()).then(|| used.join("   "))
}

fn relay(relay: &RelayCounts) -> String {
    let mut text = format!(
        "up {} datagrams, {} lost   down {}, {} lost   {} client sockets",
        grouped(relay.up),
        grouped(relay.up_lost),
        grouped(relay.down),
        grouped(relay.down_lost),
        grouped(relay.flows)
    );
    if relay.rebinds > 0 {
        let _ = write!(text, "   {} changes of address", grouped(relay.rebinds));
    }
    if relay.overrun > 0 {
        let _ = write!(text, "   OVERRUN {}: these figures say nothing", grouped(relay.overrun));
    }
    text
}

fn roam(report: &Report, roam: &Roam) -> String {
    let mut text = format!(
        "{} of {} sessions survived {} changes of address or more",
        grouped(roam.survived),
        grouped(report.connections.into()),
        roam.rebinds_min
    );
    if let Some(count) = roam.handed_over {
        let _ = write!(text, "   {} datagrams forwarded in user space", grouped(count));
    }
    text
}

fn storm(storm: &Storm) -> String {
    let parts = [
        Some(format!("{} of {} back", grouped(storm.returned), grouped(storm.clients))),
        storm.first_back_s.map(|s| format!("first after {s:.2} s")),
        storm.all_back_s.map(|s| format!("all after {s:.2} s")),
        storm.ideal_s.map(|s| format!("handshakes alone {s:.2} s")),
        storm.ratio.map(|ratio| format!("ratio {ratio:.2}")),
        storm.rss_ratio.map(|ratio| format!("peak memory {ratio:.2} of steady")),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("   ")
}

fn groups(group: &Grouped) -> String {
    let mut text = format!(
        "{} of {} members, {} online, {}/s each",
        grouped(group.groups.into()),
        grouped(group.members.into()),
        grouped(group.online.into()),
        group.rate
    );
    if let Some(rate) = group.hot_rate {
        let _ = write!(text, ", the first {rate}/s");
    }
    let _ = write!(text, "   stored {}   folded {}", grouped(group.stored), grouped(group.folded));
    if let Some(per_s) = group.deliveries_per_s {
        let _ = write!(text, "   {} deliveries/s", decimal(per_s));
    }
    if let Some(rows) = group.rows_per_message {
        let _ = write!(text, "   {rows:.3} rows per message");
    }
    text
}

fn server(report: &Report) -> Option<String> {
    let server = &report.server;
    let parts = [
        server.cpu_s.map(|seconds| format!("cpu {seconds:.2} s")),
        server.cpu_us_per_op.map(|us| format!("{us:.1} µs per operation")),
        server.rss_bytes.map(|bytes| format!("memory {:.1} MiB", bytes as f64 / f64::from(1 << 20))),
        server.rss_bytes_per_conn.map(|bytes| format!("{} bytes per connection", grouped(bytes))),
    ];
    let known: Vec<String> = parts.into_iter().flatten().collect();
    (!known.is_empty()).then(|| known.join("   "))
}

pub(super) fn millis(value: Option<f64>) -> String {
    match value {
        Some(ms) if ms < 10.0 => format!("{ms:.2} ms"),
        Some(ms) if ms < 1_000.0 => format!("{ms:.0} ms"),
        Some(ms) => format!("{:.1} s", ms / 1e3),
        None => "-".into(),
    }
}

/// A rate without false precision.
fn decimal(value: f64) -> String {
    if value < 100.0 { format!("{value:.1}") } else { grouped_f64(value) }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate is not negative; casts saturate"
)]
fn grouped_f64(value: f64) -> String {
    grouped(value.round() as u64)
}

/// `1234567` as `1,234,567`.
pub(super) fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        let cases =
            [(0, "0"), (999, "999"), (1_000, "1,000"), (12_345_678, "12,345,678"), (100_000, "100,000")];
        for (value, want) in cases {
            assert_eq!(grouped(value), want);
        }
        assert_eq!(millis(Some(0.5)), "0.50 ms");
        assert_eq!(millis(Some(250.4)), "250 ms");
        assert_eq!(millis(Some(61_000.0)), "61.0 s");
        assert_eq!(decimal(1999.9), "2,000");
        assert_eq!(decimal(0.5), "0.5");
    }
}
