//! Backup, restore and check of the store, with the real program.

use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::node::{Node, STUCK, nearport, start_load};

fn json(output: &Output) -> Value {
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {told}"))
}

fn refused(output: &Output, with: &str) {
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.contains(with), "{told}");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary directories have plain names")
}

/// Messages that the node has stored.
fn stored(node: &Node) -> u64 {
    let metrics = node.get("/metrics").1;
    let lines =
        metrics.lines().filter(|line| line.starts_with("nearport_chat_sends_total{outcome=\"stored\""));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[test]
fn a_backup_under_load_restores_to_a_store_that_passes_the_check() {
    let dir = tempfile::tempdir().unwrap();
    let backups = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), &[]);
    let load = start_load(dir.path(), 20, 200, 8);
    let begun = Instant::now();
    while stored(&node) < 200 {
        assert!(begun.elapsed() < STUCK, "no messages");
        std::thread::park_timeout(Duration::from_millis(5));
    }
    let to = backups.path().join("first");
    let page = json(&nearport(dir.path(), &["backup", "--to", text(&to)]));
    assert!(page["messages"].as_u64().unwrap() >= 200, "{page}");
    refused(&nearport(dir.path(), &["backup", "--to", text(&to)]), "is not empty");
    refused(&nearport(dir.path(), &["store", "check"]), "process");

    let report: Value = serde_json::from_slice(&load.wait_with_output().unwrap().stdout).unwrap();
    for verdict in ["lost", "duplicated", "reordered", "errors"] {
        assert_eq!(report[verdict], 0, "{verdict}: {report}");
    }
    node.signal(Signal::TERM);
    assert!(node.wait().success());
    let whole = json(&nearport(dir.path(), &["store", "check"]));
    assert_eq!(whole["problems"], 0);
    assert!(whole["messages"].as_u64() > page["messages"].as_u64(), "the load went on: {whole}");

    // Nobody serves now: the program copies by itself.
    let second = backups.path().join("second");
    let at_rest = json(&nearport(dir.path(), &["backup", "--to", text(&second)]));
    assert_eq!(at_rest["messages"], whole["messages"]);

    for (backup, page) in [(&to, &page), (&second, &at_rest)] {
        let new = tempfile::tempdir().unwrap();
        let restored = json(&nearport(new.path(), &["restore", "--from", text(backup)]));
        assert_eq!(&restored, page);
        let seen = json(&nearport(new.path(), &["store", "check"]));
        assert_eq!((&seen["problems"], &seen["messages"]), (&Value::from(0), &page["messages"]));
        assert_eq!(seen["commit"], page["commit"]);
        refused(&nearport(new.path(), &["restore", "--from", text(backup)]), "is there already");
        // And it serves: the accounts are there, and numbers go on.
        let node = Node::start(new.path(), &[]);
        json(&node.nearport(&["send", "--user", "alice", "--to", "bob", "hello"]));
        node.signal(Signal::TERM);
        assert!(node.wait().success());
    }
}

#[test]
fn what_is_no_backup_is_not_restored() {
    let (dir, from) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    refused(&nearport(dir.path(), &["restore", "--from", text(from.path())]), "not a backup");
    std::fs::write(
        from.path().join("backup.json"),
        r#"{"form":9,"program":"x","time_ms":1,"commit":1,"messages":1}"#,
    )
    .unwrap();
    refused(&nearport(dir.path(), &["restore", "--from", text(from.path())]), "form 9");
    refused(&nearport(dir.path(), &["store", "check"]), "has no store");
    refused(&nearport(dir.path(), &["backup", "--to", text(&from.path().join("b"))]), "has no store");
}
