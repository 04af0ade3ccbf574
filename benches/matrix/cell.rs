//! One cell: a laboratory, a server, a load tool, and what came of it.

use std::path::Path;
use std::time::Duration;

use nearport_lab::{Lab, LabCounts, Node};
use serde_json::{Value, json};

use crate::plan::Cell;
use crate::{Args, PATIENCE, PROGRAM};

/// What came of a cell.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The load tool's report.
    pub(crate) report: Option<Value>,
    /// Why there is none, or why it says nothing.
    complaint: Option<String>,
    counts: LabCounts,
}

pub(crate) fn run(cell: &Cell, args: &Args, temporary: &Path) -> Outcome {
    let mut counts = LabCounts::default();
    match try_run(cell, args, temporary, &mut counts) {
        Ok((report, complaint)) => Outcome { report, complaint, counts },
        Err(error) => Outcome { report: None, complaint: Some(format!("{error:#}")), counts },
    }
}

fn try_run(
    cell: &Cell,
    args: &Args,
    temporary: &Path,
    counts: &mut LabCounts,
) -> anyhow::Result<(Option<Value>, Option<String>)> {
    let mut dir = tempfile::Builder::new().prefix("matrix-").tempdir_in(temporary)?;
    if args.keep {
        dir.disable_cleanup(true);
        eprintln!("{cell}: {}", dir.path().display());
    }
    let lab = Lab::new()?;
    let node = Node::start(&lab, Path::new(PROGRAM), dir.path(), &[])?;
    let (connections, rate) = (args.connections.to_string(), args.rate.to_string());
    let window = format!("{}s", cell.window.as_secs());
    let load = [
        "weak",
        "--transport",
        cell.asked_transport(),
        "--connections",
        &connections,
        "--rate",
        &rate,
        "--duration",
        &window,
        "--drain",
        "120s",
        "--html",
        "weak.html",
    ];
    lab.set(cell.spec.clone());
    let run = node.load(&lab, &load, cell.window + PATIENCE)?;
    *counts = lab.counts();
    node.stop();
    let complaint = match (&run.report, run.status) {
        (_, None) => Some("the load tool did not end".to_owned()),
        (None, Some(status)) => Some(format!("no report, {status}: {}", last_line(&run.stderr))),
        (Some(_), Some(_)) if counts.overrun > 0 => {
            Some(format!("the emulator dropped {} packets by itself", counts.overrun))
        }
        (Some(_), Some(_)) => None,
    };
    Ok((run.report, complaint))
}

fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or_default()
}

impl Outcome {
    /// A count of the report.
    pub(crate) fn count(&self, name: &str) -> Option<u64> {
        self.report.as_ref()?.pointer(name)?.as_u64()
    }

    /// A time of the report.
    pub(crate) fn ms(&self, name: &str) -> Option<f64> {
        self.report.as_ref()?.pointer(name)?.as_f64()
    }

    /// Whether it says something, and nothing was lost, shown twice, overtaken or given up.
    pub(crate) fn is_good(&self) -> bool {
        let none = |name: &str| self.count(name) == Some(0);
        self.complaint.is_none()
            && ["/lost", "/duplicated", "/reordered", "/errors"].into_iter().all(none)
            && self.count("/delivered") == self.count("/sent")
    }

    /// In a few words.
    pub(crate) fn verdict(&self) -> String {
        if let Some(complaint) = &self.complaint {
            return complaint.clone();
        }
        let faults: Vec<String> = ["lost", "duplicated", "reordered", "errors"]
            .into_iter()
            .filter_map(|name| {
                let count = self.count(&format!("/{name}")).filter(|count| *count > 0)?;
                Some(format!("{name} {count}"))
            })
            .collect();
        let first =
            self.report.as_ref().and_then(|report| report["first_error"].as_str()).unwrap_or_default();
        if faults.is_empty() { "clean".into() } else { format!("{} {first}", faults.join(" ")) }
    }

    pub(crate) fn json(&self, cell: &Cell) -> Value {
        let LabCounts { up, down, flows, unmapped, too_long_told, overrun, late_max } = &self.counts;
        let direction = |counts: &nearport_impair::Counts| {
            json!({
                "sent": counts.sent, "arrived": counts.arrived, "lost": counts.lost + counts.lost_in_bursts,
                "closed": counts.closed, "too_long": counts.too_long, "queue_full": counts.queue_full,
            })
        };
        json!({
            "network": cell.network.name(),
            "spec": cell.spec.to_string(),
            "transport": cell.transport.name(),
            "asked_transport": cell.asked_transport(),
            "good": self.is_good(),
            "complaint": self.complaint,
            "packets": {
                "up": direction(up), "down": direction(down), "flows": flows, "unmapped": unmapped,
                "too_long_told": too_long_told, "overrun": overrun, "late_max_ms": ms(*late_max),
            },
            "report": self.report,
        })
    }

    /// The longest time that the emulator held a packet back beyond what it should.
    pub(crate) fn late_max(&self) -> Duration {
        self.counts.late_max
    }
}

fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
