//! `nearport load` against the real server, where it does more than send: it kills it, moves its clients, draws pages.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::node::{Node, PROGRAM, output};

/// Runs `nearport load` with `args` in `dir`; the report must be clean.
fn load(dir: &Path, args: &[&str]) -> Value {
    let mut command = Command::new(PROGRAM);
    let run = output(command.current_dir(dir).arg("load").args(args).args(["--json", "-"]));
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(run.status.success(), "{args:?}: {said}");
    serde_json::from_slice(&run.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

#[test]
fn a_storm_brings_everybody_back() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), &[]);
    let again = format!(
        "{PROGRAM} serve --set edge.listen={} --set ops.listen={} --set api.listen=127.0.0.1:0 2>>serve.log",
        node.edge, node.ops
    );
    let report = load(
        dir.path(),
        &[
            "storm",
            "--connections",
            "20",
            "--rate",
            "50",
            "--duration",
            "4s",
            "--kill-after",
            "1s",
            "--restart-cmd",
            &again,
        ],
    );
    let storm = &report["storm"];
    assert_eq!(
        (&storm["returned"], &storm["clients"], &report["lost"]),
        (&20.into(), &20.into(), &0.into()),
        "{report}"
    );
    assert_eq!((&report["sent"], &report["delivered"]), (&200.into(), &200.into()), "{report}");
    for known in [
        "killed_at_s",
        "all_back_s",
        "login_cpu_us",
        "ideal_s",
        "rss_steady_bytes",
        "rss_peak_bytes",
        "rss_ratio",
    ] {
        assert!(storm[known].is_number(), "{known}: {report}");
    }
    // The load tool ended the server that it had started: another one gets the directory.
    drop(node);
    Node::start(dir.path(), &[]);
}

#[test]
fn a_run_on_a_bad_network_makes_a_page() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), &["--set", "edge.shards=2"]);
    let weak = ["weak", "--connections", "10", "--rate", "40", "--duration", "3s", "--html", "weak.html"];
    let report =
        load(dir.path(), &[&weak[..], &["--impair", "loss=5%,delay=10ms,reorder=20%/10ms,dup=5%"]].concat());
    assert_eq!((&report["sent"], &report["delivered"]), (&120.into(), &120.into()), "{report}");
    assert!(report["relay"]["up_lost"].as_u64().unwrap() > 0, "{report}");
    let page = std::fs::read_to_string(dir.path().join("weak.html")).unwrap();
    assert_eq!(page.matches("<svg").count(), 4);
    assert!(page.contains("weak over quic") && node.pid() != 0);
}

#[test]
fn a_transport_that_a_relay_cannot_impair_is_refused_with_a_hint() {
    let dir = tempfile::tempdir().unwrap();
    let _node = Node::start(dir.path(), &[]);
    let cases = [
        (&["weak", "--transport", "tls", "--impair", "loss2"][..], "cargo bench --bench matrix"),
        (&["weak", "--impair", "loss=x%"][..], "`loss=x%`, from character 1 on: `x%` is no share"),
        (&["roam", "--transport", "ws"][..], "use quic or wt"),
    ];
    for (args, words) in cases {
        let mut command = Command::new(PROGRAM);
        let run = output(command.current_dir(dir.path()).arg("load").args(args));
        assert_eq!(run.status.code(), Some(2), "{args:?}");
        let said = String::from_utf8_lossy(&run.stderr).into_owned();
        assert!(said.contains(words), "{args:?}: {said}");
    }
}
