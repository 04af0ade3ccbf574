//! Clients that are logged in and use QUIC's own frames against the server: aioquic, which lets one write any frame
//! (`tests/interop/attacks/attack.py`).

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::arena::Arena;
use crate::node::output;
use crate::python::python;

/// What all of them together may add: each may fill QUIC's windows (256 KiB) and its 1,024 pieces, one after the other.
const FRAMES_KIB_MAX: u64 = 16 * 1024;

const ABUSE: u64 = 5007;

/// Attacks and the code that ends each: ABUSE of ours, or what RFC 9000 names.
const ATTACKS: [(&str, u64); 18] = [
    ("path_challenges", ABUSE),
    ("path_responses", ABUSE),
    ("repeated_ids", ABUSE),
    // CONNECTION_ID_LIMIT_ERROR; the first for what waits to be retired
    ("new_ids", 0x09),
    ("too_many_ids", 0x09),
    ("retired_ids", ABUSE),
    // PROTOCOL_VIOLATION
    ("unknown_id_retired", 0x0a),
    // INTERNAL_ERROR: what RFC 9000 §19.8 leaves to an endpoint that holds as many pieces as it wants to
    ("gaps", 0x01),
    ("gaps_again", ABUSE),
    // CRYPTO_BUFFER_EXCEEDED
    ("crypto_gaps", 0x0d),
    // PROTOCOL_VIOLATION
    ("optimistic_acks", 0x0a),
    ("acks", ABUSE),
    ("pings", ABUSE),
    ("windows", ABUSE),
    // STREAM_LIMIT_ERROR, FLOW_CONTROL_ERROR
    ("many_streams", 0x04),
    ("beyond_the_window", 0x03),
    ("open_and_reset", ABUSE),
    ("open_and_end", ABUSE),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_misuse_of_quics_frames_ends_its_connection_and_no_other() {
    let mut arena = Arena::start(&["--set", "edge.shards=1"]).await;
    let usersig = String::from_utf8(arena.node.nearport(&["usersig", "--user", "mallory"]).stdout).unwrap();
    let client: toml::Table =
        std::fs::read_to_string(arena.path().join("data/client.toml")).unwrap().parse().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/attacks/attack.py");
    let mut command = Command::new(python("aioquic", &["aioquic==1.7.2"]));
    command
        .current_dir(arena.path())
        .arg(script)
        .args(["--server", &arena.node.edge.to_string(), "--server-name", "localhost"])
        .args(["--ca", client["ca"].as_str().unwrap(), "--app", &client["app"].to_string()])
        .args(["--user", "mallory", "--usersig", usersig.trim()]);
    for (attack, _) in ATTACKS {
        command.args(["--attack", attack]);
    }
    let output = arena.talk_during(move || output(&mut command), 20).await;
    let said = String::from_utf8(output.stdout).unwrap();
    print!("{said}");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let ends: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(ends.len(), ATTACKS.len());
    for end in &ends {
        let (attack, code) = ATTACKS.iter().find(|(attack, _)| end["attack"] == *attack).unwrap();
        // QUIC holds a CONNECTION_CLOSE back while the congestion window is full, here of answers that the attacker has not
        // acknowledged; its next packet is answered with a reset then. The figures below say what the server ended it with.
        assert!(end["code"] == *code || end["reset"] == true, "{attack}: {end}");
    }

    let abuses = ATTACKS.iter().filter(|(_, code)| *code == ABUSE).count() as u64;
    let figures = arena
        .talk_until("all of them are gone", |figures| {
            // `new_ids` too, if its packets came one by one.
            let counted = figures.sum("nearport_edge_abuses_total");
            (abuses..=abuses + 1).contains(&counted) && figures.sum("nearport_edge_sessions") == 2
        })
        .await;
    assert_eq!(figures.sum("nearport_edge_handshakes"), 0);
    arena.end("misuse of frames", FRAMES_KIB_MAX).await;
}
