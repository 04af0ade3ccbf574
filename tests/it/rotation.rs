//! New secrets for a running server: `nearport secret rotate` and SIGHUP.

use std::net::UdpSocket;
use std::path::Path;
use std::process::Stdio;

use bytes::Bytes;
use nearport_wire::body::Hello;
use nearport_wire::close::CloseCode;
use nearport_wire::{Frame, Kind, Lane};
use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tempfile::TempDir;

use crate::node::{self, Node, STUCK, nearport};
use crate::raw::{Raw, endpoint};
use crate::raw_stream::Door;

fn dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// What a command prints, which must succeed.
fn run(dir: &Path, args: &[&str]) -> String {
    let output = nearport(dir, args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Epoch, fingerprint and use of each secret.
fn secrets(printed: &str) -> Vec<(u64, String, String)> {
    let line = |line: &str| {
        let json: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| json[key].as_str().unwrap().to_owned();
        (json["epoch"].as_u64().unwrap(), text("fingerprint"), text("use"))
    };
    printed.lines().map(line).collect()
}

/// Sends SIGHUP and waits until the server has read its secret the `count`th time with this outcome.
fn reload(node: &Node, outcome: &str, count: u32) {
    node.signal(Signal::HUP);
    let line = format!("nearport_reloads_total{{what=\"secret\",outcome=\"{outcome}\"}} {count}");
    let begun = std::time::Instant::now();
    while !node.get("/metrics").1.lines().any(|shown| shown == line) {
        assert!(begun.elapsed() < STUCK, "{line} never came:\n{}", node.get("/metrics").1);
        std::thread::yield_now();
    }
}

/// Asks something and sees the answer.
async fn ask(session: &mut Raw, id: u64) {
    session.send(Frame::new(Lane::Chat, Kind::FLUSH, id, Bytes::new())).await;
    assert_eq!(session.next().await, Ok(Frame::new(Lane::Chat, Kind::REPLY, id, Bytes::new())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn sighup_rotates_under_a_live_session_that_goes_on_and_moves() {
    let dir = dir();
    let node = Node::start(dir.path(), &["--set", "edge.shards=2"]);
    let usersig = run(dir.path(), &["usersig", "--user", "alice"]).trim().to_owned();
    let hello = |device: &str| Hello {
        app: 1_400_000_000,
        user: "alice".into(),
        device: device.into(),
        ..Hello::default()
    };
    let by_token = |token: &Bytes| Hello { resume: token.clone(), ..hello("desk") };
    let client = endpoint(Door::of(&node, dir.path()).quic_tls());
    let connect = async || Raw::connect(&client, node.edge, "localhost").await.unwrap();
    let mut session = connect().await;
    session.say_hello(&Hello { usersig: usersig.clone(), ..hello("phone") }).await.unwrap();
    let token = connect().await.say_hello(&Hello { usersig, ..hello("desk") }).await.unwrap().resume_token;

    let before = secrets(&run(dir.path(), &["secret", "show"]));
    assert_eq!(before.len(), 1);
    let mut tokens = vec![token];
    for n in 1..=2u32 {
        let known = secrets(&run(dir.path(), &["secret", "rotate"]));
        let epochs: Vec<_> = known.iter().map(|(epoch, _, used)| (*epoch, used.as_str())).collect();
        let current = before[0].0 + u64::from(n);
        assert_eq!(epochs, [(current, "current"), (current - 1, "previous")]);
        reload(&node, "ok", n);
        ask(&mut session, u64::from(n) * 10).await;
        // As behind a NAT that forgot it; the ids that route it are older than the secret.
        client.rebind(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
        ask(&mut session, u64::from(n) * 10 + 1).await;
        let welcome = connect().await.say_hello(&by_token(tokens.last().unwrap())).await.unwrap();
        tokens.push(welcome.resume_token);
    }
    let (code, reason) = connect().await.say_hello(&by_token(&tokens[0])).await.unwrap_err();
    assert_eq!((code, reason.split(' ').next()), (CloseCode::UNAUTHORIZED, Some("70001")), "{reason}");

    // A file that makes no sense changes nothing, and says so.
    let path = dir.path().join("data/secret");
    let good = std::fs::read(&path).unwrap();
    std::fs::write(&path, "3 marzipan").unwrap();
    reload(&node, "error", 1);
    std::fs::write(&path, [7; 32]).unwrap();
    reload(&node, "error", 2);
    std::fs::write(&path, good).unwrap();
    reload(&node, "ok", 3);
    connect().await.say_hello(&by_token(&tokens[2])).await.unwrap();
    ask(&mut session, 99).await;
    let log = std::fs::read_to_string(dir.path().join("serve.log")).unwrap();
    assert!(log.contains("is older than epoch 3, which is in use"), "{log}");
    assert!(!log.contains("marzipan"), "a log repeats nothing of the file");
}

#[test]
fn the_secret_file_is_private_and_its_commands_never_print_it() {
    let dir = dir();
    let output = nearport(dir.path(), &["secret", "show"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("start `nearport serve` first"));
    let shown = run(dir.path(), &["secret", "rotate"]) + &run(dir.path(), &["secret", "show"]);
    let path = dir.path().join("data/secret");
    let content = std::fs::read_to_string(&path).unwrap();
    for secret in content.lines().filter_map(|line| line.split_once(' ')).map(|(_, hex)| hex) {
        assert!(!shown.contains(secret));
    }
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    // As earlier versions wrote it.
    std::fs::write(&path, [0x5a; 32]).unwrap();
    assert_eq!(secrets(&run(dir.path(), &["secret", "show"]))[0].0, 0);
    let rotated = secrets(&run(dir.path(), &["secret", "rotate"]));
    assert_eq!(rotated.iter().map(|(epoch, ..)| *epoch).collect::<Vec<_>>(), [1, 0]);
    std::fs::write(&path, "damaged").unwrap();
    let output = nearport(dir.path(), &["secret", "rotate"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "damaged", "what cannot be read is left alone");
}

#[test]
fn a_server_leaves_with_the_terminal_that_it_was_started_in() {
    let dir = dir();
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let slave = std::fs::File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    let mut command = node::serve(dir.path(), &[]);
    command.stdin(slave).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    drop(command);
    let mut greeting = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("Server, CA, app and key") {
        line.clear();
        assert!(std::io::BufRead::read_line(&mut greeting, &mut line).unwrap() > 0, "no greeting");
    }
    let pid = rustix::process::Pid::from_child(&child);
    drop(master);
    rustix::process::kill_process(pid, Signal::HUP).unwrap();
    assert_eq!(node::wait(&mut child).code(), Some(0));
}
