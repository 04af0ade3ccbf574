//! A node whose ledger and directory are in PostgreSQL: the promise holds when the node dies, and when the database does.

use crate::node::{Node, STORED, nearport, start_load, wait_for_metric};
use crate::postgres_server::PostgresServer;

/// Kills of the node, and restarts of the database under a running node. Each takes a few seconds.
const ROUNDS: u32 = 2;

/// Messages that must be stored before each, so that it hits a server at work.
const SENDS_BETWEEN: u64 = 60;

#[test]
fn nothing_acknowledged_is_lost_when_the_node_or_postgresql_dies() {
    let database = PostgresServer::start();
    let dir = tempfile::tempdir().unwrap();
    let url = format!("storage.postgres.url={}", database.url());
    let storage = ["--set", "storage.ledger=postgres", "--set", "storage.directory=postgres", "--set", &url];
    let mut node = Node::start(dir.path(), &storage);
    assert!(!dir.path().join("data/directory.db").exists(), "everything is in the database");
    assert_eq!(database.sql("SELECT count(*) FROM apps"), "1;");
    // Another App than that of client.toml: its key is in the database only.
    let made =
        nearport(dir.path(), &[&["app", "create", "--id", "77", "--name", "other"][..], &storage].concat());
    assert!(made.status.success(), "{made:?}");
    let sign = ["usersig", "--user", "alice", "--app", "77"];
    let signed = nearport(dir.path(), &[&sign[..], &storage].concat());
    assert!(signed.status.success() && signed.stdout.len() > 100, "{signed:?}");
    assert!(!nearport(dir.path(), &sign).status.success(), "not in the data directory");
    // From now on the server comes back where its clients look for it.
    let ports = [format!("edge.listen={}", node.edge), format!("ops.listen={}", node.ops)];
    let again = [&storage[..], &["--set", &ports[0], "--set", &ports[1]]].concat();

    let mut load = start_load(dir.path(), 10, 60, 16 * ROUNDS);
    for _ in 0..ROUNDS {
        wait_for_metric(&node, &mut load, STORED, SENDS_BETWEEN);
        node.kill();
        node = Node::start(dir.path(), &again);
        wait_for_metric(&node, &mut load, STORED, SENDS_BETWEEN);
        database.tell("crash");
        database.tell("start");
        wait_for_metric(&node, &mut load, STORED, 2 * SENDS_BETWEEN);
    }
    assert!(load.try_wait().unwrap().is_none(), "the load ended before the last kill");
    let output = load.wait_with_output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    println!("{report}");
    for verdict in ["lost", "duplicated", "reordered", "errors"] {
        assert_eq!(report[verdict], 0, "{verdict}: {report}");
    }
    let stored =
        database.sql("SELECT count(*), count(DISTINCT (sender, client_msg_id)) FROM ledger_messages");
    let acked = report["acked"].as_u64().unwrap();
    let (rows, keys) = stored.trim_end_matches(';').split_once('|').unwrap();
    assert_eq!(rows, keys, "one row per message");
    assert!(rows.parse::<u64>().unwrap() >= acked, "{rows} rows, {acked} acknowledged");
}
