//! `nearport chat` in terminals: files, groups, people, history, against the real program.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use serde_json::Value;

use crate::media::{octets, png};
use crate::node::{Node, PROGRAM, metric};
use crate::pty::Terminal;

/// A terminal in which `user` talks to somebody, or in a group.
fn chat(dir: &Path, user: &str, with: &str) -> Terminal {
    let mut terminal = Terminal::run(&format!("{PROGRAM} chat --user {user} {with}"), dir);
    terminal.see(&format!("{user} → "));
    terminal
}

impl Terminal {
    /// Types a line and waits for what it leads to.
    fn say(&mut self, line: &str, then: &str) {
        self.press(&format!("{line}\r"));
        self.see(then);
    }
}

/// Two people in their terminals: who, what they type (nothing: they only look), and what they see then.
fn play(alice: &mut Terminal, bob: &mut Terminal, script: &[(&str, &str, &str)]) {
    for (who, typed, then) in script {
        let terminal = if *who == "alice" { &mut *alice } else { &mut *bob };
        match *typed {
            "" => terminal.see(then),
            line => terminal.say(line, then),
        }
    }
}

#[test]
fn files_go_from_terminal_to_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let _node = Node::start(dir.path(), &[]);
    let (picture, report) = (png(1600, 1000), octets(3 << 20));
    fs::write(dir.path().join("slope.png"), &picture).unwrap();
    fs::write(dir.path().join("the report.bin"), &report).unwrap();
    fs::create_dir(dir.path().join("got")).unwrap();
    let mut alice = chat(dir.path(), "alice", "--to bob");
    let mut bob = chat(dir.path(), "bob", "--to alice");

    alice.say("/image slope.png", "↑ slope.png is with the server");
    alice.see("…  you: [image, 1600 × 1000");
    alice.see("✓");
    bob.see("alice: [image, 1600 × 1000");
    bob.see(": /get 1]");
    bob.say("/get 1 got/copy.png", "KiB in got/copy.png");
    assert_eq!(fs::read(dir.path().join("got/copy.png")).unwrap(), picture);
    bob.say("/get 1 got/copy.png", "failed: got/copy.png is there already");

    // Tab ends a path with a space in it; a folder takes the name that the sender gave.
    alice.press("/file the\t");
    alice.see("/file the\\ report.bin ");
    alice.say("", "↑ the report.bin is with the server");
    bob.see("alice: [file the report.bin, 3.0 MiB: /get 2]");
    bob.say("/get 2 got", "3.0 MiB in got/the report.bin");
    assert_eq!(fs::read(dir.path().join("got/the report.bin")).unwrap(), report);

    // By its name, and out of the history when it is not on the screen.
    let mut phone = chat(dir.path(), "bob", "--device phone");
    phone.say("/to alice", "[file the report.bin");
    phone.say("/get 1 got/again.png", "KiB in got/again.png");
    bob.say("/get 7", "failed: there is no message #7 here");

    alice.say("/sound slope.png 3", "failed: 415: ");
    alice.say("/video the\\ report.bin 9 slope.png", "you: [video, 9 s, 3.0 MiB]");
    bob.see("alice: [video, 9 s, 3.0 MiB: /get 3]");
    alice.say("/file none.bin", "↑ none.bin failed: No such file");
    alice.say("/cancel", "no file is on its way");
    alice.say("just text", "you: just text");
    bob.see("alice: just text");
}

/// A way to a server that carries so many octets and then nothing, until more are allowed.
struct Gate {
    address: SocketAddr,
    left: Arc<AtomicI64>,
}

impl Gate {
    fn open(octets: i64, to: impl Fn() -> SocketAddr + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let left = Arc::new(AtomicI64::new(octets));
        let budget = Arc::clone(&left);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                let Ok(server) = TcpStream::connect(to()) else { continue };
                let (from_server, to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                let unlimited = Arc::new(AtomicI64::new(i64::MAX));
                std::thread::spawn(move || carry(from_server, to_client, &unlimited));
                let budget = Arc::clone(&budget);
                std::thread::spawn(move || carry(client, server, &budget));
            }
        });
        Self { address, left }
    }
}

/// Carries octets until the end of either, or for as long as there are any allowed; then it reads nothing.
fn carry(mut from: TcpStream, mut to: TcpStream, left: &AtomicI64) {
    let mut buffer = [0; 16 << 10];
    while left.load(Ordering::SeqCst) > 0 {
        match from.read(&mut buffer) {
            Ok(length @ 1..) if to.write_all(&buffer[..length]).is_ok() => {
                left.fetch_sub(i64::try_from(length).unwrap(), Ordering::SeqCst);
            }
            _ => break,
        }
    }
    if left.load(Ordering::SeqCst) <= 0 {
        // Held open: whoever writes here waits.
        std::thread::park();
    }
    let _ = to.shutdown(Shutdown::Both);
}

/// Where the API of the node in `dir` listens, as it says in its log.
fn api(dir: &Path) -> SocketAddr {
    let log = fs::read_to_string(dir.join("serve.log")).unwrap();
    let listening: Value =
        log.lines().rev().find(|line| line.contains("\"listening\"")).unwrap().parse().unwrap();
    let api = listening["fields"]["api"].as_str().or_else(|| listening["api"].as_str()).unwrap();
    api.trim_start_matches("Some(").trim_end_matches(')').parse().unwrap()
}

#[test]
fn an_upload_that_was_given_up_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    let gate = Gate::open(1_500_000, move || api(&path));
    let node = Node::start(dir.path(), &["--set", &format!("media.url=http://{}", gate.address)]);
    let content = octets(3 << 20);
    fs::write(dir.path().join("large.bin"), &content).unwrap();
    let mut alice = chat(dir.path(), "alice", "--to bob");
    // So much of it came; then the way carries nothing any more.
    alice.say("/file large.bin", "░] ");
    alice.see("%");
    while metric(&node, "nearport_media_received_bytes_total") < 100_000 {
        std::thread::yield_now();
    }
    alice.say("/cancel", "↑ large.bin failed: given up");
    gate.left.store(i64::MAX, Ordering::SeqCst);
    alice.say("/file large.bin", "↑ large.bin is with the server");
    assert_eq!(metric(&node, "nearport_media_begun_total{kind=\"file\"}"), 1, "the same upload");
    let mut bob = chat(dir.path(), "bob", "--to alice");
    bob.see("[file large.bin, 3.0 MiB: /get 1]");
    bob.say("/get 1", "failed: large.bin is there already");
    fs::remove_file(dir.path().join("large.bin")).unwrap();
    // Without a path it has the name that its sender gave it, here.
    bob.say("/get 1", "3.0 MiB in large.bin");
    assert_eq!(fs::read(dir.path().join("large.bin")).unwrap(), content);
}

#[test]
fn a_group_is_run_by_slash_commands() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), &[]);
    let made = node
        .nearport(&["group", "create", "--user", "alice", "--type", "Public", "--id", "hikers", "Hikers"]);
    assert!(made.status.success(), "{made:?}");
    let mut alice = chat(dir.path(), "alice", "--group hikers");
    let mut bob = chat(dir.path(), "bob", "--to alice");
    play(
        &mut alice,
        &mut bob,
        &[
            ("bob", "/join hikers let me in", "an administrator of hikers has to agree"),
            ("alice", "", "bob wants to join hikers: let me in"),
            ("alice", "/applications", "bob wants in: let me in"),
            ("alice", "/admit bob", "bob is in hikers"),
            ("bob", "/group hikers", "talking to #hikers"),
            ("alice", "/members", "alice (Owner), bob"),
            ("alice", "/rename Walkers", "it has another name"),
            ("bob", "/about", "hikers  Walkers, Public (2 members)"),
            // Who reads what, and what becomes of messages.
            ("alice", "/receipts on", "it is asked who reads them"),
            ("alice", "who is up?", "…  you: who is up?"),
            ("bob", "", "alice: who is up?"),
            ("alice", "", "✓✓"),
            ("alice", "/read", "read by 1, not by 0: bob"),
            ("alice", "/edit who is awake?", "you: who is awake? (edited)"),
            ("bob", "", "alice: who is awake? (edited)"),
            ("alice", "/recall a slip", "[taken back by alice]"),
            ("bob", "", "[taken back by alice]"),
            // Who is meant sees it in the list until it is read.
            ("alice", "/to bob", "talking to bob"),
            ("bob", "@alice: a bear", "you: @alice: a bear"),
            ("alice", "", "bob wrote in hikers: @alice: a bear"),
            ("alice", "/list", "unread @you"),
            ("alice", "/group hikers", "talking to #hikers"),
            ("alice", "/admin bob", "bob is an administrator"),
            ("alice", "/unadmin bob", "bob is a plain member"),
            ("alice", "/mute bob 1h", "may not speak: bob"),
            ("bob", "can you hear me", "not sent: 10017"),
            ("alice", "/unmute bob", "may speak: bob"),
            ("bob", "and now?", "you: and now?"),
            ("alice", "", "bob: and now?"),
            ("alice", "/card Al", "that is what you are called here"),
            ("alice", "/members", "alice \"Al\" (Owner)"),
            ("alice", "/kick bob", "removed: bob"),
            ("bob", "", "alice removed you from hikers"),
            ("bob", "/groups", "you are in no group: /create NAME makes one"),
            ("bob", "/create Public Bob's own", "talking to #@TGS#"),
            ("bob", "/leave", "not done: "),
            ("bob", "/dismiss", "is no more"),
            ("alice", "/dismiss", "hikers is no more"),
            ("alice", "anybody?", "not sent: 100"),
        ],
    );
}

#[test]
fn people_lists_and_history_by_slash_commands() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), &[]);
    let lines: String = (1..=30).map(|line| format!("line {line}\n")).collect();
    fs::write(dir.path().join("lines"), lines).unwrap();
    let line = format!("{PROGRAM} chat --user bob --to alice < lines");
    let typed =
        crate::node::output(std::process::Command::new("sh").args(["-c", &line]).current_dir(dir.path()));
    assert!(typed.status.success(), "{typed:?}");

    let mut alice = chat(dir.path(), "alice", "--to bob");
    alice.see("bob: line 30");
    alice.say("/numbers", "from here on with their numbers");
    alice.say("/older 3", "bob: line 8  #8");
    alice.see("bob: line 10  #10");
    alice.say("/older", "bob: line 1  #1");
    alice.see("so far; ");
    alice.say("/older", "that was the first message");
    alice.say("/newer 2", "bob: line 9  #9");
    alice.say("/since 1h", "bob: line 30  #30");
    alice.see("that is the newest message");
    alice.say("/delete #30", "1 deleted, for you alone");
    alice.say("/history 1", "bob: line 29  #29");
    alice.say("/clear", "the history up to #30 is deleted, for you alone");
    alice.say("/history", "no messages yet");

    let mut bob = chat(dir.path(), "bob", "--to alice");
    play(
        &mut alice,
        &mut bob,
        &[
            ("bob", "/set nick Bobby", "nick is set"),
            ("bob", "/set allow ask", "allow is set"),
            ("bob", "/status out hiking", "that stands beside your name"),
            ("alice", "/profile bob", "nick: Bobby"),
            ("alice", "/who bob nobody", "bob is online out hiking"),
            ("alice", "", "nobody does not exist"),
            ("alice", "/friend bob it is me", "bob has to agree"),
            ("bob", "/requests", "alice asks for your friendship: it is me"),
            ("bob", "/accept al\t", "alice is a friend now"),
            ("alice", "/friends", "-- bob"),
            ("alice", "/unfriend bob", "bob is no friend any more"),
            ("alice", "/block bob", "bob is not heard any more"),
            ("alice", "/blocked", "-- bob"),
            ("alice", "/unblock bob", "bob is heard again"),
            ("bob", "hello again", "you: hello again"),
            ("alice", "", "bob: hello again"),
            ("alice", "/pin", "bob is on top of the list"),
            ("alice", "/quiet", "messages of bob are not announced"),
            ("alice", "/star", "bob has a star"),
            ("alice", "/draft hm", "that is kept with bob"),
            ("alice", "/list", "bob (pinned) (star) (quiet)"),
            ("alice", "", "bob: hello again  draft: hm"),
            ("alice", "/read", "you have written nothing here yet"),
            ("alice", "hi", "you: hi"),
            ("bob", "", "alice: hi"),
            ("alice", "", "✓✓"),
            ("alice", "/read", "bob has read it"),
            ("alice", "/help", "Tab completes commands, names and paths"),
        ],
    );
    assert_eq!(node.get("/readyz").0, 200);
}
