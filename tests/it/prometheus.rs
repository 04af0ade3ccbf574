//! What `/metrics` says, as Prometheus's own checker reads it (`promtool check metrics`): names, units, HELP and TYPE.
//!
//! Without a `promtool` of the system one is taken from Debian's package the first time; it goes into `promtool` in the target
//! directory and stays there. The package is not installed: that would bring a server and a user for it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nearport_client::{Transport, group, text, user};
use serde_json::json;

use crate::node::{Node, output_within};
use crate::rest::BackEnd;
use crate::sdk::{Access, message};

/// 19 MB; a slow mirror must not hang the tests.
const DOWNLOAD: Duration = Duration::from_secs(240);

fn promtool() -> PathBuf {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    if Command::new("promtool").arg("--version").output().is_ok_and(|output| output.status.success()) {
        return "promtool".into();
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let home = target.join("promtool");
    let program = home.join("promtool");
    if program.exists() {
        return program;
    }
    let fresh = target.join(format!("promtool.{}", std::process::id()));
    std::fs::create_dir_all(&fresh).unwrap();
    let done = |command: &mut Command| {
        let output = output_within(command.current_dir(&fresh), DOWNLOAD);
        let said = [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat();
        assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    };
    done(Command::new("apt-get").args(["-q", "download", "prometheus"]));
    let package = std::fs::read_dir(&fresh).unwrap().map(|entry| entry.unwrap().path()).next().unwrap();
    done(Command::new("dpkg").arg("-x").arg(&package).arg("package"));
    std::fs::rename(fresh.join("package/usr/bin/promtool"), fresh.join("promtool")).unwrap();
    std::fs::remove_file(package).unwrap();
    std::fs::remove_dir_all(fresh.join("package")).unwrap();
    std::fs::rename(&fresh, &home).unwrap();
    program
}

/// What the checker finds; empty: nothing.
fn complaints(metrics: &str) -> String {
    let mut command = Command::new(promtool());
    command.args(["check", "metrics"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    // It reads all of its input before it says anything.
    let output = child.wait_with_output().unwrap();
    let said = [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat();
    if output.status.success() { said } else { format!("{}\n{said}", output.status) }
}

#[tokio::test(flavor = "multi_thread")]
async fn promtool_finds_nothing_to_say_about_the_metrics_of_a_node_at_work() {
    assert!(!complaints("# TYPE nearport_x counter\nnearport_x 1\n").is_empty(), "the checker checks");
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), &[]);
    // Something of each part: sessions on three transports, pairs, groups, live rooms, files, REST and what is refused there.
    let access = Access::of(&node, dir.path());
    let alice = access.login("alice", &[]).await;
    let bob = access.login("bob", &[Transport::Tls]).await;
    let carol = access.login("carol", &[Transport::WebSocket]).await;
    alice.send(user("bob"), text("counted")).await.unwrap();
    assert_eq!(message(&bob).await.text(), "counted");
    let back_end = BackEnd::of(dir.path());
    let room = json!({ "Type": "AVChatRoom", "Name": "room", "GroupId": "room", "Owner_Account": "alice" });
    back_end.done("group_open_http_svc/create_group", &room);
    let public = json!({
        "Type": "Public", "Name": "g", "GroupId": "g", "Owner_Account": "alice",
        "MemberList": [{ "Member_Account": "bob" }],
    });
    back_end.done("group_open_http_svc/create_group", &public);
    carol.join_live_room("room").await.unwrap();
    carol.send(group("room"), text("hi")).await.unwrap();
    alice.send(group("g"), text("hi")).await.unwrap();
    back_end.call("openim/sendmsg", &json!({}));
    let (status, metrics) = node.get("/metrics");
    assert_eq!(status, 200);
    for name in ["nearport_edge_turns_total", "nearport_chat_sends_total", "nearport_rest_requests_total"] {
        let has = |line: &str| metrics.contains(&format!("# {line} {name} "));
        assert!(has("HELP") && has("TYPE"), "{name}");
    }
    assert_eq!(complaints(&metrics), "", "{metrics}");
    tokio::join!(alice.close(), bob.close(), carol.close());
}
