//! Samples in, medians, ratios and verdicts out.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::Server;
use crate::cases::Sample;
use crate::machine::Machine;
use crate::plan::{Case, Measure, Plan};

/// Everything that one run measured.
#[derive(Debug)]
pub(crate) struct Report {
    plan: Plan,
    seed: u64,
    servers: Vec<Server>,
    machine: Machine,
    /// Cores that other processes used while each group of cases ran.
    others: Vec<f64>,
    /// One value per repeat.
    values: BTreeMap<(Case, Measure, Server), BTreeMap<usize, f64>>,
}

impl Report {
    pub(crate) fn new(plan: &Plan, servers: &[Server], seed: u64) -> Self {
        let mut servers = servers.to_vec();
        servers.sort_unstable();
        servers.dedup();
        Self {
            plan: *plan,
            seed,
            servers,
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
        let _ = writeln!(out, "N = Nearport's edge, A = quinn with defaults, B = tuned quinn\n");
        for case in Case::ALL.into_iter().filter(|case| self.measured(*case)) {
            let _ = writeln!(out, "{} [{}]", case.title(), case.name());
            let _ = write!(out, "  {:<28}", "");
            for server in &self.servers {
                let _ = write!(out, "{server:<28}");
            }
            for (ours, theirs) in self.pairs() {
                let _ = write!(out, "{:<22}", format!("{ours}/{theirs}"));
            }
            let _ = writeln!(out);
            for &measure in case.measures() {
                let _ = writeln!(out, "{}", self.line(case, measure).trim_end());
            }
            if let Some(verdict) = self.verdict(case) {
                let _ = writeln!(out, "  {}", verdict.text());
            }
            let _ = writeln!(out);
        }
        out
    }

    fn line(&self, case: Case, measure: Measure) -> String {
        let mut line = format!("  {:<28}", measure.title());
        for &server in &self.servers {
            let cell =
                self.spread(case, measure, server).map_or_else(String::new, |s| s.text(measure.digits()));
            let _ = write!(line, "{cell:<28}");
        }
        for (ours, theirs) in self.pairs() {
            let cell = self.ratio(case, measure, ours, theirs).map_or_else(String::new, |s| s.text(2));
            let _ = write!(line, "{cell:<22}");
        }
        line
    }

    /// For programs: every sample, and the same summary.
    pub(crate) fn json(&self) -> Value {
        let cases: Vec<_> = Case::ALL
            .into_iter()
            .filter(|case| self.measured(*case))
            .map(|case| self.case_json(case))
            .collect();
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
            for &server in &self.servers {
                if let Some(values) = self.values.get(&(case, measure, server)) {
                    let samples: Vec<_> = values.values().collect();
                    let spread = self.spread(case, measure, server).map(|spread| spread.json());
                    entry.insert(server.to_string(), json!({ "samples": samples, "spread": spread }));
                }
            }
            for (ours, theirs) in self.pairs() {
                if let Some(spread) = self.ratio(case, measure, ours, theirs) {
                    entry.insert(format!("{ours}/{theirs}"), spread.json());
                }
            }
            measures.insert(measure.name().to_owned(), Value::Object(entry));
        }
        let verdict = self.verdict(case).map(|verdict| {
            json!({ "ratio": "N/A", "median": verdict.median, "target_max": verdict.target, "pass": verdict.pass() })
        });
        json!({ "case": case.name(), "measures": measures, "verdict": verdict })
    }

    fn measured(&self, case: Case) -> bool {
        self.values.keys().any(|key| key.0 == case)
    }

    /// Which server is divided by which: N by the peers, and with no N in the run B by A.
    fn pairs(&self) -> Vec<(Server, Server)> {
        [
            (Server::Nearport, Server::Default),
            (Server::Nearport, Server::Tuned),
            (Server::Tuned, Server::Default),
        ]
        .into_iter()
        .filter(|(ours, theirs)| self.servers.contains(ours) && self.servers.contains(theirs))
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

    fn verdict(&self, case: Case) -> Option<Verdict> {
        let target = case.target_against_default()?;
        let ratio = self.ratio(case, *case.measures().first()?, Server::Nearport, Server::Default)?;
        Some(Verdict { median: ratio.median, target })
    }
}

/// The first measure of a case against its target.
#[derive(Clone, Copy, Debug)]
struct Verdict {
    median: f64,
    target: f64,
}

impl Verdict {
    fn pass(self) -> bool {
        self.median <= self.target
    }

    fn text(self) -> String {
        let word = if self.pass() { "PASS" } else { "MISS" };
        format!("{word}: N/A {:.2}, target <= {:.2}", self.median, self.target)
    }
}

/// Median and range of one figure over the repeats.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Spread {
    min: f64,
    median: f64,
    max: f64,
}

impl Spread {
    /// `None` without finite values: a ratio to zero says nothing.
    fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<_> = values.filter(|value| value.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let upper = sorted.len() / 2;
        let lower = (sorted.len() - 1) / 2;
        Some(Self { min, median: f64::midpoint(sorted[lower], sorted[upper]), max })
    }

    fn text(self, digits: usize) -> String {
        format!("{:.digits$} ({:.digits$}..{:.digits$})", self.median, self.min, self.max)
    }

    fn json(self) -> Value {
        json!({ "median": self.median, "min": self.min, "max": self.max })
    }
}
