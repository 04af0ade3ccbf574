//! The command line as people use it, against the real program: first run, offline messages, crashes, mistakes.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Command, Output};
use std::time::Instant;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::node::{Node, STUCK, nearport, output, serve};
use crate::pty::Terminal;

fn dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Runs a line as a shell would; it must succeed.
fn shell(dir: &Path, line: &str) -> String {
    let output = output(Command::new("sh").args(["-c", line]).current_dir(dir));
    assert!(output.status.success(), "{line}: {}", stderr(&output));
    stdout(&output)
}

fn messages(output: &Output) -> Vec<String> {
    let line = |line: &str| serde_json::from_str::<Value>(line).unwrap()["text"].as_str().unwrap().to_owned();
    stdout(output).lines().map(line).collect()
}

#[test]
fn the_printed_commands_work_as_typed() {
    let dir = dir();
    let node = Node::start(dir.path(), &[]);
    let commands = node.commands();
    let [alice, bob, send, recv] = commands[..] else { panic!("{}", node.greeting) };

    let mut bob = Terminal::run(bob, dir.path());
    bob.see("-- no messages yet");
    let mut alice = Terminal::run(alice, dir.path());
    alice.see("alice → bob > ");
    alice.press("hi bpb\x7f\x7fob\r");
    alice.see("…  you: hi bob");
    bob.see("alice: hi bob");
    // Stored, then read: bob's terminal has shown it.
    alice.see("\x1b[7C✓✓");
    bob.press("hello\r");
    alice.see("bob: hello");
    alice.press("/histroy\r");
    alice.see("unknown command /histroy: /help lists all");
    alice.press("/quit\r");
    assert!(alice.end().success());
    bob.press("\x04");
    assert!(bob.end().success());

    // Everything so far was shown in the chat, but another device of bob has not seen it.
    let sent: Value = serde_json::from_str(&shell(dir.path(), send)).unwrap();
    assert_eq!(sent["seq"], 3);
    assert!(sent["msg_key"].as_str().unwrap().starts_with("3_"));
    let received = shell(dir.path(), recv);
    let received: Vec<Value> = received.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(received.len(), 2, "what alice sent");
    assert_eq!((&received[0]["text"], &received[1]["text"]), (&"hi bob".into(), &"hello bob".into()));
    for field in ["msg_key", "seq", "time"] {
        assert_eq!(received[1][field], sent[field]);
    }
}

#[test]
fn a_chat_shows_history_on_entry_and_reconnects_by_itself() {
    let dir = dir();
    let node = Node::start(dir.path(), &[]);
    for text in ["one", "two"] {
        assert!(node.nearport(&["send", "--user", "alice", "--to", "bob", text]).status.success());
    }
    let edge = format!("edge.listen={}", node.edge);
    let mut bob = Terminal::run(node.commands()[1], dir.path());
    bob.see("alice: one");
    bob.see("alice: two");
    bob.see("bob → alice > ");
    node.kill();
    let node = Node::start(dir.path(), &["--set", &edge]);
    // The client learns from a stateless reset when its next packet meets the new process.
    bob.press("are you there?\r");
    bob.see("…  you: are you there?");
    bob.see("\x1b[7C✓ ");
    let received = node.nearport(&["recv", "--user", "alice", "--count", "1"]);
    assert_eq!(messages(&received), ["are you there?"]);
}

#[test]
fn an_acknowledged_message_survives_kill_9_and_is_shown_once() {
    let dir = dir();
    let node = Node::start(dir.path(), &[]);
    let sent = node.nearport(&["send", "--user", "alice", "--to", "bob", "while you were out"]);
    assert!(sent.status.success(), "{}", stderr(&sent));
    node.kill();

    let node = Node::start(dir.path(), &[]);
    let recv = ["recv", "--user", "bob", "--count", "1"];
    assert_eq!(messages(&node.nearport(&recv)), ["while you were out"]);
    let again = node.nearport(&["recv", "--user", "bob", "--timeout", "500ms"]);
    assert_eq!((stdout(&again), again.status.code()), (String::new(), Some(0)));
    let missing = node.nearport(&["recv", "--user", "bob", "--count", "1", "--timeout", "500ms"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(stderr(&missing).contains("0 of 1 messages came"), "{}", stderr(&missing));
    node.kill();

    let node = Node::start(dir.path(), &[]);
    assert_eq!(
        stdout(&node.nearport(&["recv", "--user", "bob", "--timeout", "500ms"])),
        "",
        "the cursor survives too"
    );
    let other = node.nearport(&["recv", "--user", "bob", "--device", "phone", "--count", "1"]);
    assert_eq!(messages(&other), ["while you were out"], "another device has its own cursor");
    let own = node.nearport(&["recv", "--user", "alice", "--own", "--count", "1"]);
    assert_eq!(messages(&own), ["while you were out"]);
}

#[test]
fn lines_between_pipes_are_messages() {
    let dir = dir();
    let _node = Node::start(dir.path(), &[]);
    let program = crate::node::PROGRAM;
    shell(dir.path(), &format!("printf 'one\\n\\ntwo\\nthree' | {program} chat --user alice --to bob"));
    let received = nearport(dir.path(), &["recv", "--user", "bob", "--count", "3"]);
    assert_eq!(messages(&received), ["one", "two", "three"]);
}

#[test]
fn the_second_start_keeps_what_the_first_one_made() {
    let dir = dir();
    let read = |name: &str| std::fs::read(dir.path().join(name)).unwrap();
    let key = || {
        let table: toml::Table = String::from_utf8(read("data/client.toml")).unwrap().parse().unwrap();
        (table["app"].clone(), table["key"].clone())
    };
    Node::start(dir.path(), &[]).kill();
    let before = (read("data/secret"), read("certs/dev/ca.pem"), read("certs/dev/server.pem"), key());
    Node::start(dir.path(), &[]).kill();
    assert_eq!((read("data/secret"), read("certs/dev/ca.pem"), read("certs/dev/server.pem"), key()), before);
    for name in ["data/secret", "data/client.toml", "certs/dev/ca-key.pem", "certs/dev/server-key.pem"] {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let log = String::from_utf8(read("serve.log")).unwrap();
    assert!(!log.contains(before.3.1.as_str().unwrap()), "a key in the log");
    assert!(
        log.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()),
        "JSON off a terminal: {log}"
    );
}

#[test]
fn bad_settings_end_with_78_and_name_the_place() {
    let dir = dir();
    std::fs::write(dir.path().join("nearport.toml"), "[edge]\n\nlisen = '127.0.0.1:1'\n").unwrap();
    let refused = nearport(dir.path(), &["config", "check"]);
    assert_eq!(refused.status.code(), Some(78));
    assert_eq!(
        stderr(&refused),
        "nearport: nearport.toml:3: unknown key `edge.lisen`: did you mean `edge.listen`?\n"
    );
    let refused = output(&mut serve(dir.path(), &[]));
    assert_eq!(refused.status.code(), Some(78));
    assert!(!dir.path().join("data").exists(), "nothing was touched");

    std::fs::write(dir.path().join("nearport.toml"), "[edge]\nlisten = '127.0.0.1:1'\n").unwrap();
    let refused = output(serve(dir.path(), &[]).env("NEARPORT__LOG__LEVLE", "debug"));
    assert_eq!(refused.status.code(), Some(78));
    assert!(stderr(&refused).contains("did you mean `log.level`?"), "{}", stderr(&refused));
    assert_eq!(nearport(dir.path(), &["config", "check", "--config", "none.toml"]).status.code(), Some(78));

    let explained = stdout(&nearport(dir.path(), &["config", "explain", "--set", "edge.shards=3"]));
    assert!(explained.contains("edge.listen = \"127.0.0.1:1\"\n"), "{explained}");
    assert!(explained.contains("from: nearport.toml:2\n"), "{explained}");
    assert!(explained.contains("from: --set edge.shards\n"), "{explained}");
    let printed = stdout(&nearport(dir.path(), &["config", "print"]));
    std::fs::write(dir.path().join("nearport.toml"), &printed).unwrap();
    assert_eq!(stdout(&nearport(dir.path(), &["config", "print"])), printed);

    let url = "storage.postgres.url=postgres://usr:geheim@127.0.0.1/db?password=geheim";
    for shows in ["print", "explain"] {
        let shown = stdout(&nearport(dir.path(), &["config", shows, "--set", url]));
        let expected = "url = \"postgres://usr:***@127.0.0.1/db?password=***\"";
        assert!(shown.contains(expected) && !shown.contains("geheim"), "{shown}");
    }
}

#[test]
fn commands_that_make_no_sense_end_with_2() {
    let dir = dir();
    let cases: [(&[&str], &str); 6] = [
        (&["serve", "--role", "locate", "--take-over"], "--take-over works for role all"),
        (&["chat", "--user", "a", "--group", "g"], "start `nearport serve` first"),
        (&["recv", "--user", "a"], "start `nearport serve` first"),
        (&["usersig", "--user", "a"], "start `nearport serve` first"),
        (&["usersig", "--user", "a", "--app", "1", "--key", "k", "--expire", "180"], "not a duration"),
        (&["usersig", "--user", "é", "--app", "1", "--key", "k"], "printable ASCII"),
    ];
    for (args, message) in cases {
        let refused = nearport(dir.path(), args);
        assert_eq!(refused.status.code(), Some(2), "{args:?}: {}", stderr(&refused));
        assert!(stderr(&refused).contains(message), "{args:?}: {}", stderr(&refused));
        assert_eq!(stdout(&refused), "");
    }
}

#[test]
fn a_port_in_use_is_named_with_the_key_that_changes_it() {
    let (udp, tcp) = (UdpSocket::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let cases = [("edge.listen", udp.local_addr().unwrap()), ("ops.listen", tcp.local_addr().unwrap())];
    for (key, addr) in cases {
        let dir = dir();
        let refused = output(&mut serve(dir.path(), &["--set", &format!("{key}={addr}")]));
        assert_eq!(refused.status.code(), Some(1));
        let said = stderr(&refused);
        assert!(
            said.contains(&format!("{addr} is in use by another process: stop it or set {key}")),
            "{said}"
        );
        // The start that failed half-way is no obstacle.
        Node::start(dir.path(), &[]);
    }
}

#[test]
fn a_second_server_of_the_same_data_names_the_first() {
    let dir = dir();
    let node = Node::start(dir.path(), &[]);
    let refused = output(&mut serve(dir.path(), &[]));
    assert_eq!(refused.status.code(), Some(1));
    let said = stderr(&refused);
    assert!(said.contains(&format!("is locked by process {}", node.pid())), "{said}");
    let sent = node.nearport(&["send", "--user", "alice", "--to", "bob", "still here"]);
    assert!(sent.status.success(), "{}", stderr(&sent));
    let doctor = node.nearport(&["doctor"]);
    assert!(
        stdout(&doctor).contains(&format!("running server, process {}", node.pid())),
        "{}",
        stdout(&doctor)
    );
}

/// Asks `/readyz` until it says 503, which is a moment after the signal; what it says then.
fn withdrawal(node: &Node) -> String {
    let stuck = Instant::now() + STUCK;
    while Instant::now() < stuck {
        match node.get("/readyz") {
            (200, _) => std::thread::yield_now(),
            (503, body) => return body,
            (other, body) => panic!("{other}: {body}"),
        }
    }
    panic!("still ready");
}

#[test]
fn sigterm_withdraws_first_and_ends_with_0() {
    let dir = dir();
    let node = Node::start(dir.path(), &["--set", "drain.delay=3s"]);
    assert_eq!(node.get("/livez").0, 200);
    node.signal(Signal::TERM);
    let withdrawn = withdrawal(&node);
    assert!(withdrawn.contains("[-] serving: draining"), "{withdrawn}");
    assert_eq!(node.get("/livez").0, 200);
    // Still served: an orchestrator needs time to look.
    assert!(node.nearport(&["send", "--user", "alice", "--to", "bob", "late"]).status.success());
    assert_eq!(node.wait().code(), Some(0));

    let node = Node::start(dir.path(), &[]);
    assert_eq!(messages(&node.nearport(&["recv", "--user", "bob", "--count", "1"])), ["late"]);
    node.signal(Signal::INT);
    assert_eq!(node.wait().code(), Some(0));
}

#[test]
fn a_second_signal_ends_at_once_with_1() {
    let dir = dir();
    let node = Node::start(dir.path(), &["--set", "drain.delay=1h"]);
    node.signal(Signal::TERM);
    withdrawal(&node);
    node.signal(Signal::TERM);
    assert_eq!(node.wait().code(), Some(1));
}

#[test]
fn refused_logins_say_why_by_number() {
    let dir = dir();
    let node = Node::start(dir.path(), &[]);
    let app = "1400000000";
    let sign = |user: &str, rest: &[&str]| {
        let args = [&["usersig", "--user", user][..], rest].concat();
        let signed = node.nearport(&args);
        assert!(signed.status.success(), "{}", stderr(&signed));
        stdout(&signed).trim().to_owned()
    };
    let good = sign("alice", &[]);
    let other_key = sign("alice", &["--key", "0123"]);
    let login = |usersig: &str, app: &str| {
        node.nearport(&["send", "--user", "alice", "--to", "bob", "--usersig", usersig, "--app", app, "hi"])
    };
    assert!(login(&good, app).status.success());
    for (usersig, app, code) in [
        (other_key.as_str(), app, "4000 UNAUTHORIZED: 70009"),
        ("nonsense", app, "4000 UNAUTHORIZED: 7000"),
        (&sign("bob", &[]), app, "4000 UNAUTHORIZED: 70013"),
        (&good, "1400000077", "4001 NO_APP: 70020"),
    ] {
        let refused = login(usersig, app);
        assert_eq!(refused.status.code(), Some(1));
        assert!(stderr(&refused).contains(code), "wanted {code}: {}", stderr(&refused));
    }
    let unknown = node.nearport(&["send", "--user", "alice", "--to", "nobody", "hi"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(stderr(&unknown).contains("20003"), "{}", stderr(&unknown));
}

#[test]
fn a_remote_server_is_checked_by_what_the_system_trusts() {
    let (dir, elsewhere) = (dir(), dir());
    let node = Node::start(dir.path(), &[]);
    let client: toml::Table =
        fs::read_to_string(dir.path().join("data/client.toml")).unwrap().parse().unwrap();
    let server = format!("localhost:{}", node.edge.port());
    let (app, usersig) = (client["app"].to_string(), stdout(&node.nearport(&["usersig", "--user", "alice"])));
    let mut send = Command::new(env!("CARGO_BIN_EXE_nearport"));
    send.args(["send", "--server", &server, "--app", &app, "--usersig", usersig.trim()]);
    send.args(["--user", "alice", "--to", "bob", "hi"]).current_dir(elsewhere.path());
    // What a system trusts stands in this file, if it is named.
    let sent = output(send.env("SSL_CERT_FILE", client["ca"].as_str().unwrap()));
    assert!(sent.status.success(), "{}", stderr(&sent));
}

#[test]
fn an_app_made_beside_a_running_server_works_at_once() {
    let dir = dir();
    let node = Node::start(dir.path(), &[]);
    let created: Value =
        serde_json::from_slice(&node.nearport(&["app", "create", "--name", "second"]).stdout).unwrap();
    let app = created["app"].to_string();
    let first = node.nearport(&["send", "--user", "carol", "--to", "carol", "--app", &app, "note to myself"]);
    assert!(first.status.success(), "{}", stderr(&first));
    let received = node.nearport(&["recv", "--user", "carol", "--app", &app, "--own", "--count", "1"]);
    assert_eq!(messages(&received), ["note to myself"]);
    let listed = stdout(&node.nearport(&["app", "list"]));
    assert_eq!(listed.lines().count(), 2);
    assert!(!listed.contains(created["key"].as_str().unwrap()));
    let shown: Value = serde_json::from_slice(&node.nearport(&["app", "show", &app]).stdout).unwrap();
    assert_eq!(shown, created);
    assert_eq!(node.nearport(&["app", "create", "--id", &app]).status.code(), Some(1));
}

#[test]
fn metrics_tell_what_happened() {
    let dir = dir();
    let node = Node::start(dir.path(), &[]);
    assert!(node.nearport(&["send", "--user", "alice", "--to", "bob", "counted"]).status.success());
    let (status, text) = node.get("/metrics");
    assert_eq!(status, 200);
    for line in ["nearport_ready{check=\"store\"} 1", "nearport_chat_sends_total{outcome=\"stored\"} 1"] {
        assert!(text.lines().any(|have| have == line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("alice"), "no user names in metrics");
}
