//! What a durable message costs beside the sum of its parts, and how long its acknowledgement takes.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Report, Verdict};
use crate::Server;
use crate::plan::{Case, DURABLE_ACK_P99_MS_MAX, DURABLE_PARTS, DURABLE_RATIO_MAX, Measure};
use crate::spread::Spread;

/// Server CPU per message of D and of its parts, microseconds.
#[derive(Debug)]
pub(super) struct Sum {
    parts: Vec<(&'static str, Spread)>,
    /// By repeat, for those repeats in which everything was measured.
    sums: BTreeMap<usize, f64>,
    ratios: BTreeMap<usize, f64>,
}

impl Report {
    /// `None` before all parts are measured.
    pub(super) fn durable_sum(&self) -> Option<Sum> {
        let part = |(case, server, name)| Some((name, self.spread(case, Measure::CpuUs, server)?));
        let parts = DURABLE_PARTS.into_iter().map(part).collect::<Option<Vec<_>>>()?;
        let (mut sums, mut ratios) = (BTreeMap::new(), BTreeMap::new());
        for (&repeat, durable) in self.values.get(&(Case::Durable, Measure::CpuUs, Server::Durable))? {
            let part = |(case, server, _)| self.value(repeat, case, Measure::CpuUs, server);
            let Some(sum) = DURABLE_PARTS.into_iter().map(part).sum::<Option<f64>>() else { continue };
            sums.insert(repeat, sum);
            ratios.insert(repeat, durable / sum);
        }
        Some(Sum { parts, sums, ratios })
    }

    /// D's acknowledgement at half of its highest rate, beside the bare ledger's.
    pub(super) fn durable_acknowledgement(&self) -> Option<Verdict> {
        let p99 = |case, server| Some(self.spread(case, Measure::AckP99Ms, server)?.median);
        let beside = p99(Case::DurableHalf, Server::Ledger).map_or_else(String::new, |half| {
            let full = p99(Case::Durable, Server::Ledger)
                .map_or_else(String::new, |full| format!(", {full:.2} with 64 in flight"));
            format!("; L's is {half:.2} at the same rate{full}")
        });
        Some(Verdict {
            what: "D's acknowledgement p99 ms",
            median: p99(Case::DurableHalf, Server::Durable)?,
            target: DURABLE_ACK_P99_MS_MAX,
            beside,
        })
    }
}

impl Sum {
    pub(super) fn verdict(&self) -> Option<Verdict> {
        let median = Spread::of(self.ratios.values().copied())?.median;
        Some(Verdict { what: "D / sum", median, target: DURABLE_RATIO_MAX, beside: String::new() })
    }

    pub(super) fn text(&self) -> String {
        let cell = |values: &BTreeMap<usize, f64>, digits| {
            Spread::of(values.values().copied()).map_or_else(String::new, |spread| spread.text(digits))
        };
        let parts: Vec<_> =
            self.parts.iter().map(|(name, spread)| format!("{name} {}", spread.text(1))).collect();
        format!(
            "  {:<28}{}\n  {:<28}{}\n  {:<28}{}",
            "CPU us of the parts",
            parts.join(" + "),
            "their sum",
            cell(&self.sums, 1),
            "D / sum",
            cell(&self.ratios, 2),
        )
    }

    pub(super) fn json(&self) -> Value {
        let series = |values: &BTreeMap<usize, f64>| {
            let samples: Vec<_> = values.values().collect();
            json!({ "samples": samples, "spread": Spread::of(values.values().copied()).map(Spread::json) })
        };
        let parts: Vec<_> = self
            .parts
            .iter()
            .map(|(name, cpu)| json!({ "part": name, "server_cpu_us": cpu.json() }))
            .collect();
        json!({ "parts": parts, "server_cpu_us": series(&self.sums), "ratio": series(&self.ratios) })
    }
}
