//! Hand-over between real processes, and a drain that an operator asks for.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use nearport_wire::body::GoAway;
use nearport_wire::close::CloseCode;
use nearport_wire::{Frame, Kind, Lane};
use prost::Message as _;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::node::{Node, PROGRAM, STORED, STUCK, metric, nearport, start_load, wait_for_metric};
use crate::raw_stream::{Carrier, Door, RawStream};

/// Waits until the log of `dir` has `text` at least `times` times. Phases are told there.
fn wait_for_log(dir: &Path, text: &str, times: usize) {
    let begun = Instant::now();
    loop {
        let log = std::fs::read_to_string(dir.join("serve.log")).unwrap_or_default();
        if log.matches(text).count() >= times {
            return;
        }
        assert!(begun.elapsed() < STUCK, "no {text:?} in\n{log}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

fn books(load: Child) -> Value {
    let output = load.wait_with_output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    for verdict in ["lost", "duplicated", "reordered", "errors"] {
        assert_eq!(report[verdict], 0, "{verdict}: {report}");
    }
    report
}

#[test]
fn hand_overs_under_load_lose_nothing_and_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let settings = ["--set", "drain.within=6s"];
    let mut node = Node::start(dir.path(), &settings);
    let address = node.edge;
    let mut load = start_load(dir.path(), 30, 200, 18);
    // The second one comes while the first process still has clients, the third when two are draining.
    let mut old = Vec::new();
    for round in 1..=3u64 {
        wait_for_metric(&node, &mut load, STORED, 120);
        let next = Node::start(dir.path(), &[&settings[..], &["--take-over"]].concat());
        assert_eq!(next.edge, address);
        assert_ne!(next.pid(), node.pid());
        // Later, some are between two connections.
        let adopted = metric(&next, "nearport_chat_adoptions_total");
        assert!(adopted == 30 || round > 1 && adopted > 0, "round {round}: {adopted}");
        old.push(std::mem::replace(&mut node, next));
    }
    for old in old {
        assert!(old.wait().success());
    }
    let report = books(load);
    assert_eq!(report["sent"], report["acked"], "{report}");
    assert!(metric(&node, "nearport_edge_datagrams_forwarded_total") > 0);
    assert_eq!(metric(&node, "nearport_edge_forward_dropped_total"), 0);
    let log = std::fs::read_to_string(dir.path().join("serve.log")).unwrap();
    assert!(!log.contains("did not leave in time"), "{log}");
    node.signal(Signal::TERM);
    assert!(node.wait().success());
}

/// The test in the place of a process that takes over.
struct Heir(UnixStream);

impl Heir {
    fn ask(dir: &Path, protocol: u32, what: &Value) -> (Self, Value) {
        let stream = UnixStream::connect(dir.join("data/control.sock")).unwrap();
        stream.set_read_timeout(Some(STUCK)).unwrap();
        let mut heir = Self(stream);
        heir.say(&json!({ "protocol": protocol, "program": "test", "what": what }));
        let answer = heir.hear();
        (heir, answer)
    }

    fn claim(node: &Node) -> Value {
        json!({ "take_over": {
            "trunk": [1, 1], "edge": node.edge, "ops": node.ops, "shards": null, "tcp": true, "backend": "chat",
        } })
    }

    fn say(&mut self, message: &Value) {
        let json = message.to_string();
        self.0.write_all(&u32::try_from(json.len()).unwrap().to_be_bytes()).unwrap();
        self.0.write_all(json.as_bytes()).unwrap();
    }

    fn hear(&mut self) -> Value {
        let mut head = [0; 4];
        self.0.read_exact(&mut head).unwrap();
        let mut json = vec![0; u32::from_be_bytes(head) as usize];
        self.0.read_exact(&mut json).unwrap();
        serde_json::from_slice(&json).unwrap()
    }
}

#[test]
fn whoever_does_not_fit_is_refused_before_anything_is_disturbed() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), &["--set", "edge.shards=2"]);
    let mut load = start_load(dir.path(), 30, 200, 6);
    wait_for_metric(&node, &mut load, STORED, 50);
    let take_over = |settings: &[&str]| {
        let mut args = vec!["serve", "--take-over", "--set", "edge.listen=127.0.0.1:0"];
        args.extend(["--set", "ops.listen=127.0.0.1:0", "--set", "api.listen=127.0.0.1:0"]);
        args.extend(settings);
        let output = nearport(dir.path(), &args);
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    for (settings, said) in [
        (&["--set", "edge.shards=3"][..], "edge.shards is 2 here and 3 there"),
        (&["--set", "edge.listen=127.0.0.1:1"], "edge.listen is"),
        (&["--set", "ops.listen=127.0.0.2:0"], "ops.listen is"),
        (&["--set", "edge.tcp=false"], "edge.tcp is true here"),
        (&["--backend", "echo"], "the backend is chat here and echo there"),
        (&["--set", "tls.cert=/nowhere", "--set", "tls.key=/nowhere"], "/nowhere"),
        (&["--set", "locate.pops=/nowhere"], "/nowhere"),
    ] {
        let stderr = take_over(settings);
        assert!(stderr.contains(said), "{settings:?}: {stderr}");
    }
    let (_, answer) = Heir::ask(dir.path(), 9, &Heir::claim(&node));
    assert!(answer["refused"]["reason"].as_str().unwrap().contains("speaks 9"), "{answer}");
    let mut claim = Heir::claim(&node);
    claim["take_over"]["trunk"] = json!([7, 9]);
    let (_, answer) = Heir::ask(dir.path(), 1, &claim);
    assert!(answer["refused"]["reason"].as_str().unwrap().contains("trunk"), "{answer}");
    // One that goes away with the offer in its hands.
    let (heir, answer) = Heir::ask(dir.path(), 1, &Heir::claim(&node));
    assert_eq!(answer["offer"]["shards"], 2, "{answer}");
    drop(heir);
    wait_for_log(dir.path(), "that wanted to take over did not", 1);
    assert_eq!(books(load)["reconnects"], 0);
    assert_eq!(node.get("/readyz").0, 200);
    let log = std::fs::read_to_string(dir.path().join("serve.log")).unwrap();
    assert!(!log.contains("the sockets are not read"), "{log}");
    // Without anybody to take over from.
    node.kill();
    assert!(take_over(&[]).contains("no server runs in"));
}

#[test]
fn a_process_that_dies_while_it_takes_over_leaves_the_old_one_serving() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), &[]);
    let mut load = start_load(dir.path(), 30, 200, 12);
    for (round, stored) in [(1, 100), (2, 300)] {
        wait_for_metric(&node, &mut load, STORED, stored);
        let (mut heir, answer) = Heir::ask(dir.path(), 1, &Heir::claim(&node));
        assert!(answer["offer"].is_object(), "{answer}");
        heir.say(&json!("release"));
        let answer = heir.hear();
        assert_eq!(answer["released"]["predecessors"], json!([]), "{answer}");
        if round == 2 {
            // It got further, and then talks nonsense.
            heir.say(&json!("attach"));
        }
        drop(heir);
        wait_for_log(dir.path(), "this process serves again", round);
        assert_eq!(node.get("/readyz").0, 200);
    }
    // And a real one still can.
    let stored = metric(&node, STORED);
    wait_for_metric(&node, &mut load, STORED, stored + 50);
    let next = Node::start(dir.path(), &["--take-over"]);
    assert!(node.wait().success());
    assert_eq!(metric(&next, "nearport_chat_adoptions_total"), 30);
    books(load);
}

#[test]
fn the_clients_of_both_come_back_when_the_new_process_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let settings = ["--set", "drain.within=60s"];
    let old = Node::start(dir.path(), &settings);
    let ports = [format!("edge.listen={}", old.edge), format!("ops.listen={}", old.ops)];
    let mut load = start_load(dir.path(), 30, 200, 15);
    wait_for_metric(&old, &mut load, STORED, 100);
    let new = Node::start(dir.path(), &[&settings[..], &["--take-over"]].concat());
    wait_for_metric(&new, &mut load, STORED, 50);
    new.kill();
    // The old one is of no use without a backend: it closes its clients and says so.
    assert_eq!(old.wait().code(), Some(1));
    let again = [&settings[..], &["--set", &ports[0], "--set", &ports[1]]].concat();
    let node = Node::start(dir.path(), &again);
    wait_for_metric(&node, &mut load, STORED, 50);
    let report = books(load);
    assert!(report["reconnects"].as_u64().unwrap() >= 30, "{report}");
}

/// A node on the echo backend with a client that does not go when it is asked to.
async fn stubborn(dir: &Path, settings: &[&str]) -> (Node, Door, RawStream) {
    let node = Node::start(dir, &[&["--backend", "echo"], settings].concat());
    let door = Door::of(&node, dir);
    let mut client = door.login(Carrier::Tls, "stubborn").await;
    client.echo(1).await;
    (node, door, client)
}

async fn go_away(client: &mut RawStream) -> GoAway {
    let frame = client.next().await.unwrap();
    assert_eq!(frame.kind, Kind::GO_AWAY);
    GoAway::decode(frame.body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_sends_clients_to_its_targets_stays_up_and_can_be_undone() {
    let dir = tempfile::tempdir().unwrap();
    let (node, door, mut client) =
        stubborn(dir.path(), &["--set", "drain.targets=[\"192.0.2.9:4433\"]"]).await;
    let drain = |args: &'static [&str]| {
        let mut command = Command::new(PROGRAM);
        command.arg("drain").args(args).current_dir(dir.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let mut draining = drain(&[
        "--within",
        "50s",
        "--target",
        "192.0.2.1:4433/pop-2.test",
        "--target",
        "[2001:db8::1]:4433",
    ]);
    let told = go_away(&mut client).await;
    let targets: Vec<_> =
        told.targets.iter().map(|target| (target.address.as_str(), target.server_name.as_str())).collect();
    assert_eq!(targets, [("192.0.2.1:4433", "pop-2.test"), ("[2001:db8::1]:4433", "")]);
    assert_eq!(CloseCode(told.reason), CloseCode::GOING_AWAY);
    let (status, why) = node.get("/readyz");
    assert!(status == 503 && why.contains("draining"), "{why}");
    // No new ones; a second drain is told; the one who is there is served.
    assert!(door.tls_on(door.tcp().await, b"np/1").await.is_err(), "a new client got in");
    let output = drain(&[]).wait_with_output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("drains or has drained already"));
    client.echo(2).await;
    let (mut stderr, mut progress) = (BufReader::new(draining.stderr.take().unwrap()), String::new());
    stderr.read_line(&mut progress).unwrap();
    assert_eq!(progress, "1 sessions left\n");
    client.send(Frame::new(Lane::Control, Kind::CLOSE, 0, Bytes::new())).await;
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    assert!(draining.wait().unwrap().success() && rest.contains("every client has left"), "{rest}");

    assert!(drain(&["--undo"]).wait_with_output().unwrap().status.success());
    assert_eq!(node.get("/readyz").0, 200);
    let mut client = door.login(Carrier::Tls, "again").await;
    client.echo(1).await;
    assert!(!drain(&["--undo"]).wait_with_output().unwrap().status.success(), "nothing to undo");

    // Who does not leave is closed resumably, and the exit code says so; the settings have the target this time.
    let draining = drain(&["--within", "200ms", "--exit"]);
    assert_eq!(go_away(&mut client).await.targets[0].address, "192.0.2.9:4433");
    assert_eq!(client.close_code().await, CloseCode::GOING_AWAY);
    let output = draining.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("1 sessions did not leave in time"));
    assert!(node.wait().success(), "--exit");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_node_that_is_taken_over_is_fresh_again() {
    let dir = tempfile::tempdir().unwrap();
    let (old, _, mut client) = stubborn(dir.path(), &[]).await;
    client.send(Frame::new(Lane::Control, Kind::CLOSE, 0, Bytes::new())).await;
    assert!(nearport(dir.path(), &["drain"]).status.success());
    let new = Node::start(dir.path(), &["--backend", "echo", "--take-over"]);
    assert!(old.wait().success());
    assert_eq!(new.get("/readyz").0, 200);
    Door::of(&new, dir.path()).login(Carrier::WebSocket, "fresh").await.echo(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_over_tcp_stays_with_its_process_until_it_leaves() {
    let dir = tempfile::tempdir().unwrap();
    let (old, door, mut client) = stubborn(dir.path(), &["--set", "drain.within=50s"]).await;
    let new = Node::start(dir.path(), &["--backend", "echo", "--take-over"]);
    let mut late = door.login(Carrier::Tls, "late").await;
    // Both hear what one says: they are on one backend.
    let body = Bytes::from_static(b"to all");
    late.send(Frame::new(Lane::Chat, Kind::BROADCAST, 1, body.clone())).await;
    let mut kinds = Vec::new();
    while kinds.last() != Some(&Kind::PUSH) {
        kinds.push(client.next().await.unwrap().kind);
    }
    assert!(kinds.contains(&Kind::GO_AWAY) && kinds.contains(&Kind::BEHIND), "{kinds:?}");
    client.echo(2).await;
    client.send(Frame::new(Lane::Control, Kind::CLOSE, 0, Bytes::new())).await;
    assert!(old.wait().success(), "it ends when the last one has left");
    // Figures are a second old at most.
    while metric(&new, "nearport_edge_streams_accepted_total") != 1 {
        std::thread::park_timeout(Duration::from_millis(5));
    }
    wait_for_log(dir.path(), "a process that had handed over has left", 1);
}

/// Not ready, then asked to leave, then closed.
#[tokio::test(flavor = "multi_thread")]
async fn sigterm_says_not_ready_first_then_asks_and_then_closes() {
    let dir = tempfile::tempdir().unwrap();
    let settings = ["--set", "drain.delay=500ms", "--set", "drain.within=500ms"];
    let (node, _, mut client) = stubborn(dir.path(), &settings).await;
    node.signal(Signal::TERM);
    wait_for_log(dir.path(), "not ready any more", 1);
    assert_eq!(node.get("/readyz").0, 503);
    // It is still served, and was not asked yet: the echo comes first.
    client.echo(7).await;
    assert_eq!(go_away(&mut client).await.targets, []);
    assert_eq!(client.close_code().await, CloseCode::GOING_AWAY);
    assert!(node.wait().success());
    let log = std::fs::read_to_string(dir.path().join("serve.log")).unwrap();
    let at = |text: &str| log.find(text).unwrap_or_else(|| panic!("no {text:?} in {log}"));
    assert!(at("not ready any more") < at("are asked to leave"));
    assert!(at("are asked to leave") < at("did not leave in time"));
}

#[test]
fn only_a_question_in_time_gets_an_answer() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), &[]);
    let socket = dir.path().join("data/control.sock");
    // Silent clients keep nobody out, noise is refused.
    let silent: Vec<_> = (0..7).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    let mut noise = UnixStream::connect(&socket).unwrap();
    noise.write_all(&[0xff; 4]).unwrap();
    let mut answer = Vec::new();
    noise.read_to_end(&mut answer).unwrap();
    assert!(String::from_utf8_lossy(&answer).contains("refused"), "{answer:?}");
    assert!(nearport(dir.path(), &["drain", "--undo"]).status.code() == Some(1), "it does not drain");
    drop(silent);
    assert_eq!(node.get("/readyz").0, 200);
}
