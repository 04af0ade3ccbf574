//! What the responder counts. A worker counts for itself and hands over once for each batch.

use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};

use super::respond::{Answered, Outcome};

/// Handles, made once.
#[derive(Debug)]
pub(crate) struct Metrics {
    answers: [Counter; Outcome::ALL.len()],
    subnets: Counter,
    ignored: Counter,
    limited: [Counter; 2],
    unsent: Counter,
    failed: Counter,
    pub(crate) connections: Gauge,
    pub(crate) crowded: Counter,
    pub(crate) accept_errors: Counter,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        describe();
        let limited = |how: &'static str| counter!("nearport_dns_limited_total", "how" => how);
        Self {
            answers: Outcome::ALL
                .map(|outcome| counter!("nearport_dns_answers_total", "outcome" => outcome.name())),
            subnets: counter!("nearport_dns_subnets_total"),
            ignored: counter!("nearport_dns_ignored_total"),
            limited: ["dropped", "truncated"].map(limited),
            unsent: counter!("nearport_dns_send_errors_total"),
            failed: counter!("nearport_dns_receive_errors_total"),
            connections: gauge!("nearport_dns_tcp_connections"),
            crowded: counter!("nearport_dns_tcp_refused_total"),
            accept_errors: counter!("nearport_dns_tcp_accept_errors_total"),
        }
    }
}

fn describe() {
    describe_counter!("nearport_dns_answers_total", "DNS answers, by outcome.");
    describe_counter!("nearport_dns_subnets_total", "DNS queries that say in what network the client is.");
    describe_counter!("nearport_dns_ignored_total", "Datagrams that are no DNS query.");
    describe_counter!("nearport_dns_limited_total", "DNS queries above the rate of their network.");
    describe_counter!("nearport_dns_send_errors_total", "DNS answers that the system did not take.");
    describe_counter!("nearport_dns_receive_errors_total", "Batches of DNS queries that could not be read.");
    describe_gauge!("nearport_dns_tcp_connections", "Open TCP connections of the DNS responder.");
    describe_counter!(
        "nearport_dns_tcp_refused_total",
        "TCP connections of networks that have enough of them."
    );
    describe_counter!(
        "nearport_dns_tcp_accept_errors_total",
        "Times that the system gave no TCP connection."
    );
}

/// What has happened since it was last handed over.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    answers: [u64; Outcome::ALL.len()],
    subnets: u64,
    ignored: u64,
    pub(crate) dropped: u64,
    pub(crate) truncated: u64,
    pub(crate) unsent: u64,
    /// Batches that could not be read, or were given up.
    pub(crate) failed: u64,
}

impl Tally {
    pub(crate) fn count(&mut self, answered: Option<&Answered>) {
        match answered {
            Some(answered) => {
                self.answers[answered.outcome as usize] += 1;
                self.subnets += u64::from(answered.subnet);
            }
            None => self.ignored += 1,
        }
    }

    /// Hands over, and begins anew.
    pub(crate) fn flush(&mut self, metrics: &Metrics) {
        let single = [
            (&metrics.subnets, self.subnets),
            (&metrics.ignored, self.ignored),
            (&metrics.limited[0], self.dropped),
            (&metrics.limited[1], self.truncated),
            (&metrics.unsent, self.unsent),
            (&metrics.failed, self.failed),
        ];
        let all = metrics.answers.iter().zip(self.answers).chain(single);
        all.filter(|(_, count)| *count > 0).for_each(|(counter, count)| counter.increment(count));
        *self = Self::default();
    }
}
