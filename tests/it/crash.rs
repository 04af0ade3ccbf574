//! The promise under `kill -9`: the real server dies again and again in the middle of a load, and nothing that it
//! acknowledged is lost, nothing is shown twice, nothing changes its order.

use crate::node::{Node, STORED, start_load, wait_for_metric};

/// Kills in a normal run; `NEARPORT_KILLS` asks for more. Each takes about two seconds.
const KILLS: u32 = 8;

/// Messages that must be on disk between two kills, so that each kill hits a server at work.
const SENDS_BETWEEN_KILLS: u64 = 150;

#[test]
fn nothing_acknowledged_is_lost_and_nothing_is_shown_twice_under_kill_9() {
    let kills = std::env::var("NEARPORT_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::start(dir.path(), &[]);
    // From now on the server comes back where its clients look for it.
    let ports = [format!("edge.listen={}", node.edge), format!("ops.listen={}", node.ops)];
    let again = ["--set", &ports[0], "--set", &ports[1]];

    let mut load = start_load(dir.path(), 40, 500, 3 * kills);
    let mut killed = 0;
    while killed < kills && load.try_wait().unwrap().is_none() {
        // A different number each time, so that kills meet commits in every phase.
        wait_for_metric(&node, &mut load, STORED, SENDS_BETWEEN_KILLS + u64::from(killed * 37 % 101));
        node.kill();
        killed += 1;
        node = Node::start(dir.path(), &again);
    }
    let output = load.wait_with_output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    println!("{killed} kills: {report}");
    assert_eq!(killed, kills, "the load ended before the kills");
    assert!(report["acked"].as_u64().unwrap() > u64::from(kills) * SENDS_BETWEEN_KILLS, "{report}");
    for verdict in ["lost", "duplicated", "reordered", "errors"] {
        assert_eq!(report[verdict], 0, "{verdict}: {report}");
    }
}
