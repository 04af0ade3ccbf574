//! How long it takes until a client is in whose UDP vanishes: the SDK tries QUIC, notices, goes over TLS. Beside it a client that goes
//! over TLS at once.
//!
//! Each login is a process of its own: within one, the SDK remembers what came through.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nearport_impair::Profile;
use nearport_lab::{Lab, Node};
use serde_json::{Value, json};

use crate::PROGRAM;

/// How much later it may be.
const LATER_MS: f64 = 150.0;

/// One login on a good machine takes less than a second.
const PATIENCE: Duration = Duration::from_secs(60);

/// Login times in milliseconds.
#[derive(Debug, Default)]
pub(crate) struct Fallback {
    auto: Vec<f64>,
    tls: Vec<f64>,
}

pub(crate) fn measure(times: usize) -> Result<Fallback> {
    let temporary = Path::new(env!("CARGO_TARGET_TMPDIR"));
    std::fs::create_dir_all(temporary).with_context(|| temporary.display().to_string())?;
    let dir = tempfile::Builder::new().prefix("matrix-").tempdir_in(temporary)?;
    let lab = Lab::new()?;
    let node = Node::start(&lab, Path::new(PROGRAM), dir.path(), &[])?;
    lab.set(Profile::UdpBlackhole.spec());
    let mut fallback = Fallback::default();
    for _ in 0..times.max(1) {
        fallback.auto.push(login(&lab, &node, "auto")?);
        fallback.tls.push(login(&lab, &node, "tls")?);
    }
    node.stop();
    Ok(fallback)
}

/// Milliseconds from the first packet to the server's welcome, which is when a message can be sent.
fn login(lab: &Lab, node: &Node, transport: &str) -> Result<f64> {
    let run = node.load(lab, &["connect", "--connections", "1", "--transport", transport], PATIENCE)?;
    let report = run.report.with_context(|| format!("no login over {transport}: {}", run.stderr))?;
    report["connect"]["p50_ms"].as_f64().with_context(|| format!("no login over {transport}: {report}"))
}

impl Fallback {
    pub(crate) fn text(&self) -> String {
        let (auto, tls) = (median(&self.auto), median(&self.tls));
        let mut out = String::new();
        let _ = writeln!(
            out,
            "UDP black-holed ({}, delay one way); medians of {}",
            Profile::UdpBlackhole.words(),
            self.auto.len()
        );
        let _ = writeln!(out, "  the SDK chooses  {auto:.0} ms until a message can be sent");
        let _ = writeln!(out, "  TLS at once      {tls:.0} ms");
        let verdict = if auto <= tls + LATER_MS { "PASS" } else { "MISS" };
        let _ = writeln!(out, "{verdict}: {:.0} ms later, target <= {LATER_MS:.0} ms", auto - tls);
        out
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "network": Profile::UdpBlackhole.words(),
            "auto_ms": self.auto, "tls_ms": self.tls,
            "auto_median_ms": median(&self.auto), "tls_median_ms": median(&self.tls), "target_later_ms": LATER_MS,
        })
    }
}

fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() % 2 {
        1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}
