//! Samples in, medians, ratios and verdicts out.

mod durable;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::Server;
use crate::machine::Machine;
use crate::plan::{Case, FLOOD_RATIO_MAX, Measure, Plan, SLOW_RATIO_MAX};
use crate::sample::Sample;
use crate::spread::Spread;

/// Everything that one run measured.
#[derive(Debug)]
pub(crate) struct Report {
    plan: Plan,
    seed: u64,
    /// The others were only run because these need them.
    shown: BTreeSet<Case>,
    machine: Machine,
    /// Cores that other processes used while each group of cases ran.
    others: Vec<f64>,
    /// One value per repeat.
    values: BTreeMap<(Case, Measure, Server), BTreeMap<usize, f64>>,
}

impl Report {
    pub(crate) fn new(plan: &Plan, shown: BTreeSet<Case>, seed: u64) -> Self {
        Self {
            plan: plan.clone(),
            seed,
            shown,
            machine: Machine::here(),
            others: Vec::new(),
            values: BTreeMap::new(),
        }
    }

    /// Takes what one group of cases found out about `server`, while other processes used `others` cores.
    pub(crate) fn add(&mut self, repeat: usize, server: Server, samples: Vec<Sample>, others: f64) {
        self.others.push(others);
        for Sample { case, measure, value } in samples {
            self.values.entry((case, measure, server)).or_default().insert(repeat, value);
        }
    }

    /// One figure of one repeat, if it is known.
    pub(crate) fn value(&self, repeat: usize, case: Case, measure: Measure, server: Server) -> Option<f64> {
        self.values.get(&(case, measure, server))?.get(&repeat).copied()
    }

    /// For people: one block per case, one line per measure.
    pub(crate) fn table(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(out, "\n{}", self.machine.text());
        if let Some(others) = Spread::of(self.others.iter().copied()) {
            let _ = writeln!(out, "other processes used about {} cores meanwhile", others.text(2));
        }
        let _ = writeln!(
            out,
            "{} repeat(s), windows of {:?}, seed {}; median (min..max); ratios are taken within each repeat",
            self.plan.repeats, self.plan.window, self.seed
        );
        let shown: BTreeSet<_> = self.shown.iter().flat_map(|case| self.servers(*case)).collect();
        let legend: Vec<_> =
            shown.iter().map(|server| format!("{server} = {}", server.explained())).collect();
        let _ = writeln!(out, "{}\n", legend.join(", "));
        for &case in &self.shown {
            let _ = writeln!(out, "{} [{}]", case.title(), case.name());
            let _ = write!(out, "  {:<28}", "");
            for server in self.servers(case) {
                let _ = write!(out, "{server:<28}");
            }
            for (ours, theirs) in self.pairs(case) {
                let _ = write!(out, "{:<22}", format!("{ours}/{theirs}"));
            }
            let _ = writeln!(out);
            for &measure in case.measures() {
                let _ = writeln!(out, "{}", self.line(case, measure).trim_end());
            }
            if let (Case::Durable, Some(sum)) = (case, self.durable_sum()) {
                let _ = writeln!(out, "{}", sum.text());
            }
            for verdict in self.verdicts(case) {
                let _ = writeln!(out, "  {}", verdict.text());
            }
            let _ = writeln!(out);
        }
        out
    }

    fn line(&self, case: Case, measure: Measure) -> String {
        let mut line = format!("  {:<28}", measure.title());
        for server in self.servers(case) {
            let cell =
                self.spread(case, measure, server).map_or_else(String::new, |s| s.text(measure.digits()));
            let _ = write!(line, "{cell:<28}");
        }
        for (ours, theirs) in self.pairs(case) {
            let cell = self.ratio(case, measure, ours, theirs).map_or_else(String::new, |s| s.text(2));
            let _ = write!(line, "{cell:<22}");
        }
        line
    }

    /// For programs: every sample, and the same summary.
    pub(crate) fn json(&self) -> Value {
        let cases: Vec<_> = self.shown.iter().map(|case| self.case_json(*case)).collect();
        json!({
            "bench": "edge",
            "machine": self.machine.json(),
            "other_processes_cores": Spread::of(self.others.iter().copied()).map(Spread::json),
            "seed": self.seed,
            "repeats": self.plan.repeats,
            "window_s": self.plan.window.as_secs_f64(),
            "cases": cases,
        })
    }

    fn case_json(&self, case: Case) -> Value {
        let mut measures = serde_json::Map::new();
        for &measure in case.measures() {
            let mut entry = serde_json::Map::new();
            for server in self.servers(case) {
                if let Some(values) = self.values.get(&(case, measure, server)) {
                    let samples: Vec<_> = values.values().collect();
                    let spread = self.spread(case, measure, server).map(|spread| spread.json());
                    entry.insert(server.to_string(), json!({ "samples": samples, "spread": spread }));
                }
            }
            for (ours, theirs) in self.pairs(case) {
                if let Some(spread) = self.ratio(case, measure, ours, theirs) {
                    entry.insert(format!("{ours}/{theirs}"), spread.json());
                }
            }
            measures.insert(measure.name().to_owned(), Value::Object(entry));
        }
        let verdicts: Vec<_> = self.verdicts(case).iter().map(Verdict::json).collect();
        let mut json = json!({ "case": case.name(), "measures": measures, "verdicts": verdicts });
        if let (Case::Durable, Some(sum)) = (case, self.durable_sum()) {
            json["sum"] = sum.json();
        }
        json
    }

    /// Who was measured in this case.
    fn servers(&self, case: Case) -> Vec<Server> {
        let first = case.measures().first().copied();
        let measured = |server: &Server| {
            first.is_some_and(|measure| self.values.contains_key(&(case, measure, *server)))
        };
        case.servers().iter().copied().filter(measured).collect()
    }

    /// Which server is divided by which: N by the peers, and with no N in the run B by A. What D is compared with is
    /// no server.
    fn pairs(&self, case: Case) -> Vec<(Server, Server)> {
        let servers = self.servers(case);
        [
            (Server::Nearport, Server::Default),
            (Server::Nearport, Server::Tuned),
            (Server::Tuned, Server::Default),
        ]
        .into_iter()
        .filter(|(ours, theirs)| servers.contains(ours) && servers.contains(theirs))
        .collect()
    }

    fn spread(&self, case: Case, measure: Measure, server: Server) -> Option<Spread> {
        Spread::of(self.values.get(&(case, measure, server))?.values().copied())
    }

    fn ratio(&self, case: Case, measure: Measure, ours: Server, theirs: Server) -> Option<Spread> {
        let ours = self.values.get(&(case, measure, ours))?;
        let theirs = self.values.get(&(case, measure, theirs))?;
        Spread::of(ours.iter().filter_map(|(repeat, ours)| Some(ours / theirs.get(repeat)?)))
    }

    fn verdicts(&self, case: Case) -> Vec<Verdict> {
        let cpu = "N's server CPU, with / without,";
        let p99 = "N's p99, with / without,";
        let verdicts = match case {
            Case::Durable => [self.durable_sum().and_then(|sum| sum.verdict()), None],
            Case::DurableHalf => [self.durable_acknowledgement(), None],
            Case::Flood => [self.beside_peers(case, p99, Measure::FloodedRatio, FLOOD_RATIO_MAX), None],
            Case::Slow => [
                self.beside_peers(case, cpu, Measure::SlowCpuRatio, SLOW_RATIO_MAX),
                self.beside_peers(case, p99, Measure::SlowP99Ratio, SLOW_RATIO_MAX),
            ],
            _ => {
                let [default, tuned] = case.targets();
                [
                    self.against(case, "N/A", Server::Default, default),
                    self.against(case, "N/B", Server::Tuned, tuned),
                ]
            }
        };
        verdicts.into_iter().flatten().collect()
    }

    fn against(&self, case: Case, what: &'static str, peer: Server, target: Option<f64>) -> Option<Verdict> {
        let measure = *case.measures().first()?;
        let ratio = self.ratio(case, measure, Server::Nearport, peer)?;
        Some(Verdict { what, median: ratio.median, target: target?, beside: String::new() })
    }

    /// N's figure, with those of the peers for comparison.
    fn beside_peers(&self, case: Case, what: &'static str, measure: Measure, target: f64) -> Option<Verdict> {
        let median = |server| Some(self.spread(case, measure, server)?.median);
        let peer = |server| Some(format!("; {server}'s is {:.2}", median(server)?));
        let beside = [Server::Default, Server::Tuned].into_iter().filter_map(peer).collect();
        Some(Verdict { what, median: median(Server::Nearport)?, target, beside })
    }
}

/// A figure against its target.
#[derive(Clone, Debug)]
struct Verdict {
    what: &'static str,
    median: f64,
    target: f64,
    /// What people should see next to it.
    beside: String,
}

impl Verdict {
    fn pass(&self) -> bool {
        self.median <= self.target
    }

    fn text(&self) -> String {
        let word = if self.pass() { "PASS" } else { "MISS" };
        let Self { what, median, target, beside } = self;
        format!("{word}: {what} {median:.2}, target <= {target:.2}{beside}")
    }

    fn json(&self) -> Value {
        json!({ "what": self.what, "median": self.median, "target_max": self.target, "pass": self.pass() })
    }
}
