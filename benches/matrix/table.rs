//! The matrix for people.

use std::fmt::Write as _;

use crate::cell::Outcome;
use crate::plan::{Cell, Transport};
use nearport_impair::Profile;

/// Networks on which QUIC's slowest hundredth is to be faster than TLS's: those that lose 2 % of the packets and more.
const LOSSY: [Profile; 3] = [Profile::Loss2, Profile::Loss10, Profile::Burst20];

pub(crate) fn render(done: &[(Cell, Outcome)]) -> String {
    let mut out = String::from(
        "\ntimes in ms, network delays one way; lost/duplicated/reordered/errors of all messages\n\n",
    );
    let _ = writeln!(
        out,
        "{:<14} {:<4} {:>7} {:>7} {:>7}  {:>7} {:>7} {:>7}  {:>6} {:<9} {:>5}  carried by",
        "network", "", "connect", "p95", "p99", "deliver", "p95", "p99", "sent", "l/d/r/e", "again"
    );
    let mut network = None;
    for (cell, outcome) in done {
        let name = if network == Some(cell.network) { "" } else { cell.network.name() };
        network = Some(cell.network);
        let _ = writeln!(out, "{name:<14} {}", row(cell, outcome));
    }
    out.push('\n');
    for network in LOSSY {
        out.extend(quic_beside_tls(done, network));
    }
    if let Some(late) = done.iter().map(|(_, outcome)| outcome.late_max()).max() {
        let _ = writeln!(out, "the emulator was late by {:.2} ms at most", late.as_secs_f64() * 1e3);
    }
    let bad = done.iter().filter(|(_, outcome)| !outcome.is_good());
    for (cell, outcome) in bad {
        let _ = writeln!(out, "NOT CLEAN: {cell}: {}", outcome.verdict());
    }
    out
}

fn row(cell: &Cell, outcome: &Outcome) -> String {
    if outcome.report.is_none() {
        return format!("{:<4} {}", cell.transport.name(), outcome.verdict());
    }
    let ms = |name| outcome.ms(name).map_or_else(|| "-".to_owned(), |ms| format!("{ms:.0}"));
    let count = |name| outcome.count(name).map_or_else(|| "-".to_owned(), |count| count.to_string());
    let faults = ["/lost", "/duplicated", "/reordered", "/errors"].map(count).join("/");
    format!(
        "{:<4} {:>7} {:>7} {:>7}  {:>7} {:>7} {:>7}  {:>6} {faults:<9} {:>5}  {}",
        cell.transport.name(),
        ms("/connect/p50_ms"),
        ms("/connect/p95_ms"),
        ms("/connect/p99_ms"),
        ms("/latency_ms/p50"),
        ms("/latency_ms/p95"),
        ms("/latency_ms/p99"),
        count("/sent"),
        count("/reconnects"),
        carried(cell, outcome),
    )
}

/// What carried the logins, where the SDK chose.
fn carried(cell: &Cell, outcome: &Outcome) -> String {
    let logins = |transport: &Transport| {
        let count = outcome.count(&format!("/logins_by_transport/{}", transport.name()))?;
        (count > 0).then(|| format!("{} {count}", transport.name()))
    };
    let used: Vec<String> = Transport::ALL.iter().filter_map(logins).collect();
    match cell.asked_transport() {
        "auto" => format!("auto: {}", used.join(", ")),
        _ => used.join(", "),
    }
}

fn quic_beside_tls(done: &[(Cell, Outcome)], network: Profile) -> Option<String> {
    let p99 = |transport| {
        let found = done.iter().find(|(cell, _)| cell.network == network && cell.transport == transport)?;
        found.1.ms("/latency_ms/p99")
    };
    let (quic, tls) = (p99(Transport::Quic)?, p99(Transport::Tls)?);
    let verdict = if quic < tls { "PASS" } else { "MISS" };
    Some(format!("{verdict}: {network}: delivery p99 over QUIC {quic:.0} ms, over TLS {tls:.0} ms\n"))
}
