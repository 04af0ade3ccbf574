//! The network matrix in small: the real server and the real load tool with a bad network below UDP and TCP alike. The whole
//! one is `cargo bench --bench matrix`.
//!
//! Needs root, as in CI; without it these tests say so and pass.

use std::path::Path;

use nearport_lab::{Lab, Node, missing};

use crate::node::{PROGRAM, STUCK};

/// A chat over `transport` through the network of `words`: every message arrives once, in order.
fn cell(transport: &str, words: &str) {
    if let Some(what) = missing() {
        assert!(!rustix::process::geteuid().is_root(), "root, and yet: {what}");
        eprintln!("skipped: {what}");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let lab = Lab::new().unwrap();
    let node = Node::start(&lab, Path::new(PROGRAM), dir.path(), &[]).unwrap();
    lab.set(words.parse().unwrap());
    let args = ["weak", "--transport", transport, "--connections", "10", "--rate", "40", "--duration", "3s"];
    let run = node.load(&lab, &args, 2 * STUCK).unwrap();
    let report = run.report.unwrap_or_else(|| panic!("{:?}: {}", run.status, run.stderr));
    for verdict in ["lost", "duplicated", "reordered", "errors"] {
        assert_eq!(report[verdict], 0, "{verdict}: {report}");
    }
    assert_eq!((&report["sent"], &report["delivered"]), (&120.into(), &120.into()), "{report}");
    let counts = lab.counts();
    assert!(counts.up.lost > 0 && counts.down.lost > 0 && counts.up.held_back > 0, "{counts:?}");
    assert_eq!(counts.overrun, 0, "{counts:?}");
    node.stop();
}

const NETWORK: &str = "loss=5%,delay=10ms,reorder=20%/10ms,dup=2%";

#[test]
fn nothing_is_lost_over_quic() {
    cell("quic", NETWORK);
}

#[test]
fn nothing_is_lost_over_tls() {
    cell("tls", NETWORK);
}
