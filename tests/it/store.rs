//! Backup, restore, check and move of the store, with the real program.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use nearport_client::{HistoryRange, Transport, group, text, user};
use rustix::process::Signal;
use serde_json::Value;

use crate::node::{Node, PROGRAM, STORED, STUCK, metric, nearport, start_load};
use crate::postgres_server::PostgresServer;
use crate::sdk::Access;

fn json(output: &Output) -> Value {
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {told}"))
}

fn refused(output: &Output, with: &str) {
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.contains(with), "{told}");
}

fn named(path: &Path) -> &str {
    path.to_str().expect("temporary directories have plain names")
}

#[test]
fn a_backup_under_load_restores_to_a_store_that_passes_the_check() {
    let dir = tempfile::tempdir().unwrap();
    let backups = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), &[]);
    let load = start_load(dir.path(), 20, 200, 8);
    let begun = Instant::now();
    while metric(&node, STORED) < 200 {
        assert!(begun.elapsed() < STUCK, "no messages");
        std::thread::park_timeout(Duration::from_millis(5));
    }
    let to = backups.path().join("first");
    let page = json(&nearport(dir.path(), &["backup", "--to", named(&to)]));
    assert!(page["messages"].as_u64().unwrap() >= 200, "{page}");
    refused(&nearport(dir.path(), &["backup", "--to", named(&to)]), "is not empty");
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
    let at_rest = json(&nearport(dir.path(), &["backup", "--to", named(&second)]));
    assert_eq!(at_rest["messages"], whole["messages"]);

    for (backup, page) in [(&to, &page), (&second, &at_rest)] {
        let new = tempfile::tempdir().unwrap();
        let restored = json(&nearport(new.path(), &["restore", "--from", named(backup)]));
        assert_eq!(&restored, page);
        let seen = json(&nearport(new.path(), &["store", "check"]));
        assert_eq!((&seen["problems"], &seen["messages"]), (&Value::from(0), &page["messages"]));
        assert_eq!(seen["commit"], page["commit"]);
        refused(&nearport(new.path(), &["restore", "--from", named(backup)]), "is there already");
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
    refused(&nearport(dir.path(), &["restore", "--from", named(from.path())]), "not a backup");
    std::fs::write(
        from.path().join("backup.json"),
        r#"{"form":9,"program":"x","time_ms":1,"commit":1,"messages":1}"#,
    )
    .unwrap();
    refused(&nearport(dir.path(), &["restore", "--from", named(from.path())]), "form 9");
    refused(&nearport(dir.path(), &["store", "check"]), "has no store");
    let elsewhere =
        ["--set", "storage.ledger=postgres", "--set", "storage.postgres.url=postgres://u@127.0.0.1/d"];
    for command in [&["store", "check"][..], &["restore", "--from", named(from.path())]] {
        refused(&nearport(dir.path(), &[command, &elsewhere[..]].concat()), "are in PostgreSQL");
    }
    refused(&nearport(dir.path(), &["backup", "--to", named(&from.path().join("b"))]), "has no store");
}

/// What alice and bob see of each other and of their group, with marks of reading.
async fn seen(access: &Access) -> Vec<String> {
    let mut all = Vec::new();
    for (name, other) in [("alice", "bob"), ("bob", "alice")] {
        let client = access.login(name, &[Transport::Quic]).await;
        for with in [user(other), group("team")] {
            let page = client.history(with, HistoryRange::Newest, 50).await.expect("a page");
            all.push(format!("{page:?}"));
        }
        client.close().await;
    }
    all
}

#[tokio::test]
async fn a_store_moves_to_postgresql_over_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), &[]);
    let load = start_load(dir.path(), 10, 400, 6);
    json(&node.nearport(&["send", "--user", "alice", "--to", "bob", "shown before"]));
    let recv = ["recv", "--user", "bob", "--timeout", "500ms"];
    let shown = node.nearport(&recv);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("shown before"));
    let group_made = ["group", "create", "--user", "alice", "--id", "team", "--members", "bob", "Team"];
    assert!(node.nearport(&group_made).status.success());
    let access = Access::of(&node, dir.path());
    let alice = access.login("alice", &[Transport::Quic]).await;
    let bob = access.login("bob", &[Transport::Quic]).await;
    for number in 0..20 {
        alice.send(user("bob"), text(format!("pair {number}"))).await.unwrap();
        alice.send(group("team"), text(format!("group {number}"))).await.unwrap();
    }
    alice.recall(user("bob"), 3, "a slip").await.unwrap();
    alice.recall(group("team"), 5, "a slip").await.unwrap();
    bob.delete(user("alice"), vec![7]).await.unwrap();
    bob.mark_read(user("alice"), 9).await.unwrap();
    tokio::join!(alice.close(), bob.close());
    let report: Value = serde_json::from_slice(&load.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!((&report["lost"], &report["errors"]), (&Value::from(0), &Value::from(0)), "{report}");
    let before = seen(&access).await;
    let database = PostgresServer::start();
    let copy = ["store", "copy", "--to", database.url()];
    refused(&nearport(dir.path(), &copy), "process");
    node.signal(Signal::TERM);
    assert!(node.wait().success());
    let whole = json(&nearport(dir.path(), &["store", "check"]));
    assert!(whole["messages"].as_u64().unwrap() > 2_000, "{whole}");

    let mut killed = Command::new(PROGRAM)
        .args(copy)
        .current_dir(dir.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(killed.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().starts_with("copying ledger_logs")), "it ended early");
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_eq!(database.sql("SELECT verified FROM nearport_copy"), "f;");
    let url = format!("storage.postgres.url={}", database.url());
    let storage = ["--set", "storage.ledger=postgres", "--set", "storage.directory=postgres", "--set", &url];
    refused(&nearport(dir.path(), &[&["serve"][..], &storage].concat()), "has not come to its end");

    let done = json(&nearport(dir.path(), &copy));
    assert_eq!((&done["verified"], &done["resumed"]), (&Value::from(true), &Value::from(true)));
    assert_eq!(done["tables"]["ledger_messages"]["rows"], whole["messages"]);
    assert_eq!(done["tables"]["ledger_logs"]["rows"], whole["log_entries"]);
    assert_eq!(done["tables"]["ledger_conversations"]["rows"], whole["conversations"]);
    refused(&nearport(dir.path(), &copy), "complete copy");

    std::fs::remove_dir_all(dir.path().join("data/ledger")).unwrap();
    std::fs::remove_file(dir.path().join("data/directory.db")).unwrap();
    let node = Node::start(dir.path(), &storage);
    let access = Access::of(&node, dir.path());
    assert_eq!(seen(&access).await, before);
    // The device that has shown the first message gets the others only, and numbers go on.
    let rest = node.nearport(&recv);
    let rest = String::from_utf8_lossy(&rest.stdout).into_owned();
    assert!(rest.contains("pair 19") && !rest.contains("shown before"), "{rest}");
    let sent = json(&node.nearport(&["send", "--user", "alice", "--to", "bob", "afterwards"]));
    assert_eq!(sent["seq"], 22, "{sent}");
}
