//! A client that shares no line with ours: Python on aioquic, written from `docs/protocol.md`, in `tests/interop/`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};

use serde_json::{Value, json};

use crate::node::{Node, STUCK};
use crate::python::python;

/// `np_client.py`, running. Killed when it is dropped.
struct Client {
    child: Child,
    commands: ChildStdin,
    events: Receiver<Value>,
}

impl Client {
    fn start(node: &Node, dir: &Path, user: &str) -> Self {
        let usersig = node.nearport(&["usersig", "--user", user]);
        let usersig = String::from_utf8(usersig.stdout).unwrap();
        let client: toml::Table =
            std::fs::read_to_string(dir.join("data/client.toml")).unwrap().parse().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/np_client.py");
        let mut child = Command::new(python("aioquic", &["aioquic==1.7.2"]))
            .arg(script)
            .args(["--server", &node.edge.to_string(), "--server-name", "localhost"])
            .args(["--ca", client["ca"].as_str().unwrap(), "--app", &client["app"].to_string()])
            .args(["--user", user, "--device", "aioquic", "--usersig", usersig.trim()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let commands = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, events) = sync_channel(1024);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let event = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if sender.send(event).is_err() {
                    return;
                }
            }
        });
        Self { child, commands, events }
    }

    fn tell(&mut self, command: Value) {
        writeln!(self.commands, "{command}").unwrap();
    }

    /// The next event, which must be this one.
    fn expect(&mut self, event: &str) -> Value {
        let next = self.events.recv_timeout(STUCK).unwrap();
        assert_eq!(next["event"], event, "{next}");
        next
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text_of_recv(node: &Node, user: &str, count: &str) -> Vec<String> {
    let output = node.nearport(&["recv", "--user", user, "--count", count, "--timeout", "30s"]);
    let lines = String::from_utf8(output.stdout).unwrap();
    let text = |line: &str| serde_json::from_str::<Value>(line).unwrap()["text"].as_str().unwrap().to_owned();
    lines.lines().map(text).collect()
}

#[test]
fn a_client_written_from_the_document_logs_in_chats_moves_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), &[]);
    let mut alice = Client::start(&node, dir.path(), "alice");
    let live = alice.expect("live");
    assert_eq!((&live["cursor"], &live["resumed"]), (&json!(0), &json!(false)));
    assert_ne!(live["token_bytes"], 0, "a token for the next time");

    alice.tell(json!({"do": "send", "to": "bob", "text": "from another implementation"}));
    assert_eq!(alice.expect("sent")["seq"], 1);
    assert_eq!(text_of_recv(&node, "bob", "1"), ["from another implementation"]);

    node.nearport(&["send", "--user", "bob", "--to", "alice", "answer"]);
    let message = alice.expect("message");
    assert_eq!((&message["text"], &message["position"]), (&json!("answer"), &json!(2)));

    // Another local port in mid-session: the same session answers.
    alice.tell(json!({"do": "move"}));
    alice.expect("moved");
    alice.tell(json!({"do": "ping"}));
    alice.expect("pong");

    // Gone without a word; meanwhile something comes; back with the cursor, and it is shown once.
    alice.tell(json!({"do": "drop"}));
    let live = alice.expect("live");
    assert_eq!(
        (&live["cursor"], &live["resumed"]),
        (&json!(2), &json!(true)),
        "by its token, without a UserSig"
    );
    alice.tell(json!({"do": "send", "to": "bob", "text": "still here"}));
    assert_eq!(alice.expect("sent")["seq"], 3);
    alice.tell(json!({"do": "quit"}));
    alice.expect("over");
    assert_eq!(text_of_recv(&node, "bob", "1"), ["still here"]);
}

#[test]
fn it_follows_a_go_away_to_the_process_that_comes_after_and_misses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), &[]);
    let ports = [format!("edge.listen={}", node.edge), format!("ops.listen={}", node.ops)];
    let mut alice = Client::start(&node, dir.path(), "alice");
    alice.expect("live");
    alice.tell(json!({"do": "send", "to": "bob", "text": "before"}));
    alice.expect("sent");

    node.signal(rustix::process::Signal::TERM);
    let away = alice.expect("go_away");
    assert_eq!(away["reason"], 2000, "{away}");
    node.wait();
    let node = Node::start(dir.path(), &["--set", &ports[0], "--set", &ports[1]]);
    // Its attempts while nobody listened, and the end of the connection that it left, are its own affair.
    let live = std::iter::repeat_with(|| alice.events.recv_timeout(STUCK).unwrap())
        .find(|event| event["event"] == "live")
        .unwrap();
    assert_eq!((&live["resumed"], &live["cursor"]), (&json!(true), &json!(1)), "{live}");
    alice.tell(json!({"do": "send", "to": "bob", "text": "after"}));
    assert_eq!(alice.expect("sent")["seq"], 2);
    alice.tell(json!({"do": "quit"}));
    assert_eq!(text_of_recv(&node, "bob", "2"), ["before", "after"]);
}
