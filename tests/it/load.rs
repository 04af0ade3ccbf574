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
fn questions_of_many_networks_are_answered_and_counted_by_pop() {
    let dir = tempfile::tempdir().unwrap();
    let geo = Path::new(env!("CARGO_MANIFEST_DIR")).join("geo");
    let pops = format!("locate.pops={}", geo.join("pops.toml").display());
    let databases = format!("locate.databases=['{}']", geo.join("country.mmdb").display());
    let forwarders = "locate.forwarders=['127.0.0.0/8']";
    let _node = Node::start(dir.path(), &["--set", &pops, "--set", &databases, "--set", forwarders]);
    let args = ["locate", "--rate", "200", "--duration", "3s", "--connections", "8", "--networks", "500"];
    let report = load(dir.path(), &args);
    assert_eq!(
        (&report["sent"], &report["acked"], &report["errors"]),
        (&600.into(), &600.into(), &0.into()),
        "{report}"
    );
    assert!(report["latency_ms"]["p99"].is_number() && report["server"]["cpu_s"].is_number(), "{report}");
    let located = &report["locate"];
    let answers = located["answers"].as_object().unwrap();
    let total: u64 = answers.values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!((&located["networks"], total), (&500.into(), 600), "{report}");
    // All over the world, so to many places.
    assert!(answers.len() > 8, "{report}");
}

#[test]
fn questions_without_a_service_end_with_a_hint() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(PROGRAM);
    let run = output(command.current_dir(dir.path()).args(["load", "locate"]));
    assert_eq!(run.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&run.stderr).contains("--api IP:PORT"));
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = Command::new(PROGRAM);
    let run = output(command.current_dir(dir.path()).args(["load", "locate", "--api", &closed.to_string()]));
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(!run.status.success() && said.contains("no answer to GET /v1/locate"), "{said}");
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
fn what_does_not_apply_is_refused_with_a_hint() {
    let dir = tempfile::tempdir().unwrap();
    let _node = Node::start(dir.path(), &[]);
    let cases = [
        (&["weak", "--transport", "tls", "--impair", "loss2"][..], "cargo bench --bench matrix"),
        (&["weak", "--impair", "loss=x%"][..], "`loss=x%`, from character 1 on: `x%` is no share"),
        (&["roam", "--transport", "ws"][..], "use quic or wt"),
        (&["chat", "--api", "127.0.0.1:8080"][..], "api belongs to scenario locate, not chat"),
        (&["idle", "--networks", "5"][..], "networks belongs to scenario locate, not idle"),
    ];
    for (args, words) in cases {
        let mut command = Command::new(PROGRAM);
        let run = output(command.current_dir(dir.path()).arg("load").args(args));
        assert_eq!(run.status.code(), Some(2), "{args:?}");
        let said = String::from_utf8_lossy(&run.stderr).into_owned();
        assert!(said.contains(words), "{args:?}: {said}");
    }
}

#[test]
fn a_live_room_above_its_rate_folds_and_nobody_misses_more() {
    let dir = tempfile::tempdir().unwrap();
    let _node = Node::start(dir.path(), &[]);
    let args = ["live", "--connections", "150", "--threads", "2", "--sockets", "6", "--join-rate", "500"];
    // What the edge leaves out never comes, and is waited for.
    let said = ["--rate", "120", "--duration", "2s", "--classes", "like,chat", "--drain", "15s"];
    let report = load(dir.path(), &[&args[..], &said].concat());
    let live = &report["live"];
    // What is said: gifts, talk, likes.
    let spoken = |of: &str| (1..4).map(|class| live[of][class].as_u64().unwrap()).sum::<u64>();
    assert_eq!((spoken("taken"), &report["acked"]), (240, &240.into()), "{report}");
    assert!(spoken("folded") > 0, "{report}");
    // On a busy machine the edge leaves something out, and says so.
    let (out, missing) = (live["left_out"].as_u64().unwrap(), live["missing"].as_u64().unwrap());
    let (delivered, due) = (report["delivered"].as_u64().unwrap(), (240 - spoken("folded")) * 150);
    assert_eq!((missing, &report["lost"]), (out, &0.into()), "{report}");
    assert!(delivered <= due && due <= delivered + missing, "{report}");
    assert_eq!(live["lean"], 100, "{report}");
    assert!(live["lean_cpu_us"].is_number() && report["latency_ms"]["p99"].is_number(), "{report}");
    assert_eq!(report["logins_by_transport"]["quic"], 150, "{report}");
}

#[test]
fn a_live_room_over_tls_has_no_lean_members() {
    let dir = tempfile::tempdir().unwrap();
    let _node = Node::start(dir.path(), &[]);
    let args = ["live", "--connections", "60", "--rate", "20", "--duration", "2s", "--transport", "tls"];
    let pairs = ["--chat-rate", "10", "--chat-connections", "4", "--quiet", "1s"];
    let report = load(dir.path(), &[&args[..], &pairs].concat());
    let live = &report["live"];
    let got = report["delivered"].as_u64().unwrap() + live["missing"].as_u64().unwrap();
    assert!(got >= 2_400 && report["lost"] == 0, "{report}");
    assert_eq!((&live["lean"], &live["chat_clean"]), (&0.into(), &true.into()), "{report}");
    assert_eq!(report["logins_by_transport"]["tls"], 60, "{report}");
}
