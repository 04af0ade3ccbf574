//! What the service counts. Handles are made once: a lookup by name for each request would cost more than the answer.

use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};
use nearport_geo::map::{Level, Live};

use crate::current::Current;
use crate::service::Unheard;

/// See the module.
#[derive(Debug)]
pub(crate) struct Metrics {
    answers: [(Level, Counter); 6],
    /// Requests with a forwarding header from somebody who is no forwarder.
    pub(crate) spoofed: Counter,
    /// Requests whose forwarders hid or garbled the client's address.
    pub(crate) hidden: Counter,
    pub(crate) limited: Counter,
    pub(crate) malformed: Counter,
    pub(crate) fail_static: Counter,
    reports_taken: Counter,
    reports_refused: [(&'static str, Counter); 6],
    cells: Gauge,
    cells_measured: Gauge,
    voices: Gauge,
    pops_live: Gauge,
    serial: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        describe();
        let answer = |level: Level| (level, counter!("nearport_locate_answers_total", "by" => level.name()));
        let refused = |why| (why, counter!("nearport_locate_reports_total", "outcome" => why));
        Self {
            answers: Level::ALL.map(answer),
            spoofed: counter!("nearport_locate_spoofed_total"),
            hidden: counter!("nearport_locate_hidden_total"),
            limited: counter!("nearport_locate_limited_total"),
            malformed: counter!("nearport_locate_malformed_total"),
            fail_static: counter!("nearport_locate_fail_static_total"),
            reports_taken: counter!("nearport_locate_reports_total", "outcome" => "taken"),
            reports_refused: ["limited", "token", "impossible", "malformed", "nowhere", "full"].map(refused),
            cells: gauge!("nearport_locate_cells"),
            cells_measured: gauge!("nearport_locate_cells_measured"),
            voices: gauge!("nearport_locate_voices"),
            pops_live: gauge!("nearport_locate_pops_live"),
            serial: gauge!("nearport_locate_map_serial"),
        }
    }

    pub(crate) fn answered(&self, level: Level) {
        self.answers.iter().filter(|(one, _)| *one == level).for_each(|(_, counter)| counter.increment(1));
    }

    pub(crate) fn reported(&self, outcome: Result<(), Unheard>) {
        let why = match outcome {
            Ok(()) => return self.reports_taken.increment(1),
            Err(Unheard::TooMany) => "limited",
            Err(Unheard::Token(_)) => "token",
            Err(Unheard::Impossible) => "impossible",
            Err(Unheard::Malformed) => "malformed",
            Err(Unheard::Nowhere) => "nowhere",
            Err(Unheard::Full) => "full",
        };
        self.reports_refused
            .iter()
            .filter(|(one, _)| *one == why)
            .for_each(|(_, counter)| counter.increment(1));
    }

    #[expect(clippy::cast_precision_loss, reason = "gauges are floats")]
    pub(crate) fn built(&self, current: &Current, measured: usize, (cells, voices): (usize, usize)) {
        self.cells.set(cells as f64);
        self.cells_measured.set(measured as f64);
        self.voices.set(voices as f64);
        self.serial.set(current.serial as f64);
        self.live(&current.live);
    }

    #[expect(clippy::cast_precision_loss, reason = "gauges are floats")]
    pub(crate) fn live(&self, live: &Live) {
        self.pops_live.set(live.up.len() as f64);
    }
}

fn describe() {
    describe_counter!(
        "nearport_locate_answers_total",
        "Requests for a PoP, by what the answer was made from."
    );
    describe_counter!("nearport_locate_reports_total", "Reports of clients, by what became of them.");
    describe_counter!(
        "nearport_locate_spoofed_total",
        "Requests with a forwarding header from somebody who is no forwarder."
    );
    describe_counter!(
        "nearport_locate_hidden_total",
        "Requests whose forwarders hid or garbled the address of the client."
    );
    describe_counter!("nearport_locate_limited_total", "Requests above the rate of their network.");
    describe_counter!("nearport_locate_malformed_total", "Requests that could not be read.");
    describe_counter!("nearport_locate_fail_static_total", "Answers without a PoP known to be up.");
    describe_gauge!("nearport_locate_cells", "Cells of the map.");
    describe_gauge!("nearport_locate_cells_measured", "Cells of the map that clients have measured.");
    describe_gauge!("nearport_locate_voices", "Networks that speak for themselves.");
    describe_gauge!("nearport_locate_pops_live", "PoPs that are up.");
    describe_gauge!("nearport_locate_map_serial", "Number of the map in use.");
}
