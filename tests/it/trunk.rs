//! Edges apart from their core: real processes, real certificates, and a core that dies.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nearport_client::groups::GroupCreate;
use nearport_client::{Event, group, live, text, user};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::node::{PROGRAM, STUCK, nearport, output, start_load, wait};
use crate::sdk::{self, Access};

/// What a server over HTTP answers: status and body.
pub(crate) fn get_at(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(STUCK)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

/// The sum of all metrics that begin so, at an operations server.
pub(crate) fn metric(ops: SocketAddr, name: &str) -> u64 {
    let metrics = get_at(ops, "/metrics").1;
    let lines = metrics.lines().filter(|line| line.starts_with(name));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

/// A process of a cluster in a directory of its own. Killed when it is dropped.
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) dir: PathBuf,
    /// What it printed up to the line that was waited for.
    greeting: String,
}

impl Process {
    pub(crate) fn start(dir: &Path, args: &[&str], greeting: &'static str) -> Self {
        let mut command = Command::new(PROGRAM);
        command
            .args(["serve", "--set", "ops.listen=127.0.0.1:0", "--set", "api.listen=127.0.0.1:0"])
            .args(args);
        Self::run(command, dir, greeting)
    }

    /// Runs what becomes `nearport serve` in `dir`, until it says `greeting`.
    pub(crate) fn run(mut command: Command, dir: &Path, greeting: &'static str) -> Self {
        fs::create_dir_all(dir).unwrap();
        let log = fs::File::options().create(true).append(true).open(dir.join("serve.log")).unwrap();
        command.current_dir(dir).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, greeted) = sync_channel(1);
        std::thread::spawn(move || {
            let mut text = String::new();
            while !text.contains(greeting) && stdout.read_line(&mut text).unwrap_or(0) > 0 {}
            let _ = sender.send(text);
        });
        let text = greeted.recv_timeout(STUCK).unwrap_or_default();
        let process = Self { child, dir: dir.to_owned(), greeting: text };
        assert!(process.greeting.contains(greeting), "no greeting\n{}", process.log());
        process
    }

    /// The address that its greeting shows behind `text`.
    pub(crate) fn greeted(&self, text: &str) -> SocketAddr {
        let (_, behind) = self.greeting.split_once(text).unwrap();
        let end = |at: char| at.is_whitespace() || at == '/';
        behind.split(end).next().unwrap().parse().unwrap()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.join("serve.log")).unwrap_or_default()
    }

    pub(crate) fn wait_for_log(&self, text: &str, times: usize) {
        let begun = Instant::now();
        while self.log().matches(text).count() < times {
            assert!(begun.elapsed() < STUCK, "no {text:?} in\n{}", self.log());
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    pub(crate) fn address(&self, key: &str) -> SocketAddr {
        let table: toml::Table = fs::read_to_string(self.dir.join("data/run.toml")).unwrap().parse().unwrap();
        table[key].as_str().unwrap().parse().unwrap()
    }

    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        self.get_at(self.address("ops"), path)
    }

    /// The same of another of its addresses.
    pub(crate) fn get_at(&self, address: SocketAddr, path: &str) -> (u16, String) {
        get_at(address, path)
    }

    pub(crate) fn metric(&self, name: &str) -> u64 {
        metric(self.address("ops"), name)
    }

    pub(crate) fn wait_for_metric(&self, name: &str, at_least: u64) {
        let begun = Instant::now();
        while self.metric(name) < at_least {
            assert!(begun.elapsed() < STUCK, "{name} stays at {}", self.metric(name));
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    pub(crate) fn wait_until_ready(&self) {
        let begun = Instant::now();
        while self.get("/readyz").0 != 200 {
            assert!(begun.elapsed() < STUCK, "{:?}\n{}", self.get("/readyz"), self.log());
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn kill(mut self) {
        self.signal(Signal::KILL);
        wait(&mut self.child);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What one core and its edges share.
pub(crate) struct Cluster {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) core: SocketAddr,
}

const STORED: &str = "nearport_chat_sends_total{outcome=\"stored\"";

impl Cluster {
    /// Certificates, a secret, and a core that runs.
    pub(crate) fn new(edges: &[u16]) -> (Self, Process) {
        let dir = tempfile::tempdir().unwrap();
        let run = |args: &[&str]| {
            let made = nearport(dir.path(), args);
            assert!(made.status.success(), "{args:?}: {}", String::from_utf8_lossy(&made.stderr));
        };
        run(&["trunk", "ca"]);
        run(&["trunk", "cert", "core"]);
        for node in edges {
            run(&["trunk", "cert", "edge", "--node", &node.to_string()]);
        }
        run(&["secret", "rotate", "--data", "shared"]);
        let mut cluster = Self { dir, core: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let core = cluster.core();
        cluster.core = core.address("trunk");
        (cluster, core)
    }

    pub(crate) fn certificates(&self, stem: &str) -> Vec<String> {
        let at = |name: String| self.dir.path().join("certs/trunk").join(name).display().to_string();
        [
            format!("trunk.ca={}", at("ca.pem".to_owned())),
            format!("trunk.cert={}", at(format!("{stem}.pem"))),
            format!("trunk.key={}", at(format!("{stem}-key.pem"))),
        ]
        .into_iter()
        .flat_map(|set| ["--set".to_owned(), set])
        .collect()
    }

    /// Starts the core, again on the same port.
    pub(crate) fn core(&self) -> Process {
        let listen = format!("trunk.listen={}", self.core);
        let certificates = self.certificates("core");
        let mut args = vec!["--role", "core", "--set", &listen];
        args.extend(certificates.iter().map(String::as_str));
        Process::start(&self.dir.path().join("core"), &args, "waits for edges on")
    }

    /// Starts an edge that dials `core`, and writes `client.toml` for its clients.
    pub(crate) fn edge_at(&self, node: u16, core: SocketAddr, more: &[&str]) -> Process {
        let dir = self.dir.path().join(format!("edge-{node}"));
        fs::create_dir_all(dir.join("data")).unwrap();
        fs::copy(self.dir.path().join("shared/secret"), dir.join("data/secret")).unwrap();
        let (core, number) = (format!("trunk.core={core}"), format!("edge.node={node}"));
        let certificates = self.certificates(&format!("edge-{node}"));
        let mut args = vec!["--role", "edge", "--set", "edge.listen=127.0.0.1:0"];
        args.extend(["--set", "edge.shards=2", "--set", &core, "--set", &number]);
        args.extend(certificates.iter().map(String::as_str));
        args.extend(more);
        let edge = Process::start(&dir, &args, "of the core at");
        let mut client: toml::Table =
            fs::read_to_string(self.dir.path().join("core/data/client.toml")).unwrap().parse().unwrap();
        client.insert("server".into(), edge.address("edge").to_string().into());
        client.insert("ca".into(), dir.join("certs/dev/ca.pem").display().to_string().into());
        fs::write(dir.join("data/client.toml"), client.to_string()).unwrap();
        edge
    }

    pub(crate) fn edge(&self, node: u16) -> Process {
        let edge = self.edge_at(node, self.core, &[]);
        edge.wait_until_ready();
        edge
    }
}

pub(crate) fn send(edge: &Process, from: &str, to: &str, text: &str) {
    let sent = nearport(&edge.dir, &["send", "--user", from, "--to", to, text]);
    assert!(sent.status.success(), "{}\n{}", String::from_utf8_lossy(&sent.stderr), edge.log());
}

fn receive(edge: &Process, user: &str, count: usize) -> Vec<String> {
    let count = count.to_string();
    let got = nearport(&edge.dir, &["recv", "--user", user, "--count", &count, "--timeout", "30s"]);
    assert!(got.status.success(), "{}\n{}", String::from_utf8_lossy(&got.stderr), edge.log());
    let text = String::from_utf8(got.stdout).unwrap();
    text.lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["text"].as_str().unwrap().to_owned())
        .collect()
}

pub(crate) fn books(load: Child) -> Value {
    let output = load.wait_with_output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    for verdict in ["lost", "duplicated", "reordered", "errors"] {
        assert_eq!(report[verdict], 0, "{verdict}: {report}");
    }
    report
}

#[test]
fn clients_of_two_edges_chat_through_one_core() {
    let (cluster, core) = Cluster::new(&[1, 2]);
    let (one, two) = (cluster.edge(1), cluster.edge(2));
    send(&one, "alice", "bob", "over two edges");
    assert_eq!(receive(&two, "bob", 1), ["over two edges"]);
    send(&two, "bob", "alice", "and back");
    assert_eq!(receive(&one, "alice", 1), ["and back"]);

    // What an edge holds: the cluster's secret, no App and no store.
    let mut held: Vec<_> = fs::read_dir(one.dir.join("data"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "client.toml")
        .collect();
    held.sort();
    assert_eq!(held, ["LOCK", "control.sock", "generation", "run.toml", "secret"]);
    assert_eq!(core.get("/readyz").0, 200);

    // Live delivery: Bob listens at one edge while Alice sends at the other.
    let mut bob = Command::new(PROGRAM)
        .args(["recv", "--user", "bob", "--count", "1", "--timeout", "60s"])
        .current_dir(&two.dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    two.wait_for_metric("nearport_edge_sessions", 1);
    send(&one, "alice", "bob", "live");
    assert!(wait(&mut bob).success());
    let mut text = String::new();
    bob.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(text.contains("live") && !text.contains("over two edges"), "{text}");
}

/// Both ways of the promise: clients are kept and told, and catch up.
#[tokio::test]
async fn clients_of_an_edge_hear_that_their_core_is_away_and_back() {
    let (cluster, core) = Cluster::new(&[1]);
    let edge = cluster.edge(1);
    let access = Access::new(edge.address("edge"), &edge.dir);
    let alice = access.login("alice", &[]).await;
    core.kill();
    while sdk::next(&alice).await != Event::Away {}
    let id = alice.post(user("alice"), text("to myself, later")).unwrap();
    let core = cluster.core();
    while sdk::next(&alice).await != Event::Back {}
    loop {
        match sdk::next(&alice).await {
            Event::Sent { id: sent, .. } if sent == id => break,
            Event::Disconnected { reason, .. } => panic!("it was to be kept: {reason}"),
            _ => {}
        }
    }
    assert_eq!(core.metric(STORED), 1);
}

/// Its members are on both shards of the edge, or else all of them happened to come to one: then too it crosses once.
#[tokio::test]
async fn what_is_said_in_a_live_room_crosses_to_an_edge_once() {
    let (cluster, core) = Cluster::new(&[1]);
    let edge = cluster.edge(1);
    let access = Access::new(edge.address("edge"), &edge.dir);
    let mut members = Vec::new();
    for number in 0..10 {
        members.push(access.login(&format!("member-{number}"), &[]).await);
    }
    let (kind, room) = ("AVChatRoom".to_owned(), "once".to_owned());
    let create =
        GroupCreate { r#type: kind, name: "room".into(), group: room.clone(), ..GroupCreate::default() };
    members[0].create_group(create).await.unwrap();
    for member in &members {
        member.join_live_room(&room).await.unwrap();
    }
    members[0].send(group(&*room), text("once")).await.unwrap();
    for member in &members[1..] {
        loop {
            if let Event::Live { frame, .. } = sdk::next(member).await
                && live::text_of(&frame) == Some("once")
            {
                break;
            }
        }
    }
    let count = |what: &str| core.metric(&format!("nearport_chat_live_{what}_total"));
    let (frames, copies) = (count("frames"), count("copies"));
    assert!(frames > 0 && copies <= frames, "{copies} copies of {frames} frames for one edge");
}

/// Each third time by SIGTERM, under load at one edge, with pauses until work goes on.
#[test]
fn a_core_killed_twenty_times_loses_nothing_and_nobody() {
    let times = 20;
    let (cluster, mut core) = Cluster::new(&[1, 2]);
    let (one, two) = (cluster.edge(1), cluster.edge(2));
    let seconds = u32::try_from(6 + 2 * times).unwrap();
    let mut load = start_load(&one.dir, 30, 150, seconds);
    for round in 1..=times {
        // The counter begins anew with each core.
        let begun = Instant::now();
        while load.try_wait().unwrap().is_none() && core.metric(STORED) < 60 {
            assert!(begun.elapsed() < STUCK, "round {round}: nothing is stored\n{}", one.log());
            std::thread::park_timeout(Duration::from_millis(5));
        }
        if round % 3 == 2 {
            // In order, for once: what it holds is answered.
            core.signal(Signal::TERM);
            assert!(wait(&mut core.child).success(), "{}", core.log());
        } else {
            core.kill();
        }
        core = cluster.core();
        one.wait_until_ready();
        two.wait_until_ready();
    }
    let report = books(load);
    assert_eq!(report["sent"], report["acked"], "{report}");
    assert!(report["delivered"].as_u64().unwrap() > 0, "{report}");
    assert_eq!((one.metric("nearport_trunk_links "), core.metric("nearport_trunk_links ")), (2, 4));
    assert!(one.metric("nearport_edge_adoptions_total") > 0, "sessions were kept and announced anew");
    assert_eq!(one.metric("nearport_edge_panics_total"), 0);
    // Nobody had to log in again: each client has its first session still, but for those that were between two.
    send(&two, "alice", "bob", "after all that");
    assert_eq!(receive(&one, "bob", 1), ["after all that"]);
}

#[test]
fn the_examples_of_deploy_are_settings_that_work() {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    for role in ["edge", "core"] {
        let path = deploy.join(format!("{role}.toml"));
        let checked = output(Command::new(PROGRAM).args(["config", "check", "--config"]).arg(&path));
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
        assert!(fs::read_to_string(&path).unwrap().lines().count() < 20, "{role}");
        let unit = fs::read_to_string(deploy.join(format!("nearport-{role}.service"))).unwrap();
        assert!(unit.contains(&format!("serve --role {role} --config /etc/nearport/{role}.toml")), "{unit}");
    }
}

/// What stands between an edge and its core: passes bytes on until it is told to cut or to stall.
struct Middle {
    address: SocketAddr,
    state: Arc<MiddleState>,
}

#[derive(Default)]
struct MiddleState {
    /// Bytes that may still pass up, over all links; `u64::MAX`: any.
    up_left: AtomicU64,
    /// Nothing is read from the edge.
    stalled: AtomicBool,
    sockets: Mutex<Vec<TcpStream>>,
}

impl Middle {
    fn new(core: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(MiddleState { up_left: AtomicU64::new(u64::MAX), ..MiddleState::default() });
        let shared = state.clone();
        std::thread::spawn(move || {
            for edge in listener.incoming() {
                let (Ok(edge), Ok(core)) = (edge, TcpStream::connect(core)) else { continue };
                let pairs = [(&edge, &core, true), (&core, &edge, false)];
                for (from, to, up) in pairs {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let state = shared.clone();
                    std::thread::spawn(move || pass(from, to, up, &state));
                }
                shared.sockets.lock().unwrap().extend([edge, core]);
            }
        });
        Self { address, state }
    }

    fn cut(&self) {
        for socket in self.state.sockets.lock().unwrap().drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, up: bool, state: &MiddleState) {
    let mut bytes = [0; 4096];
    loop {
        while state.stalled.load(Ordering::Acquire) && up {
            std::thread::park_timeout(Duration::from_millis(5));
        }
        let Ok(count @ 1..) = from.read(&mut bytes) else { break };
        let mut count = count;
        if up && state.up_left.load(Ordering::Acquire) != u64::MAX {
            let take = |left: u64| Some(left.saturating_sub(count as u64));
            let left = state.up_left.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).unwrap_or(0);
            // The last piece is cut wherever it happens to end: in the middle of a record and of a message.
            count = count.min(usize::try_from(left).unwrap_or(count));
        }
        if to.write_all(&bytes[..count]).is_err() || count == 0 {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

#[test]
fn a_link_cut_in_the_middle_of_a_frame_costs_nothing() {
    let (cluster, core) = Cluster::new(&[1]);
    let middle = Middle::new(cluster.core);
    let edge = cluster.edge_at(1, middle.address, &[]);
    edge.wait_until_ready();
    let load = start_load(&edge.dir, 20, 200, 12);
    for round in 1..=6u64 {
        core.wait_for_metric(STORED, 150 * round);
        // Other places in each round; the links that come after have no such bound.
        middle.state.up_left.store(37 + 101 * round, Ordering::Release);
        edge.wait_for_log("the link to the core has ended", usize::try_from(round).unwrap());
        middle.state.up_left.store(u64::MAX, Ordering::Release);
        middle.cut();
        edge.wait_until_ready();
    }
    let report = books(load);
    assert_eq!(report["sent"], report["acked"], "{report}");
    assert!(core.metric("nearport_chat_adoptions_total") > 0);
}

#[test]
fn a_core_that_stops_reading_is_given_up_and_its_clients_are_kept() {
    let (cluster, core) = Cluster::new(&[1]);
    let middle = Middle::new(cluster.core);
    let edge = cluster.edge_at(1, middle.address, &["--set", "trunk.silence=2s"]);
    edge.wait_until_ready();
    let load = start_load(&edge.dir, 10, 100, 15);
    core.wait_for_metric(STORED, 100);
    // The whole process stands still, as one that swaps or that a debugger holds: its sockets stay open.
    core.signal(Signal::STOP);
    edge.wait_for_log("the other side has gone silent", 1);
    edge.wait_for_log("the link to the core has ended", 1);
    assert_eq!(edge.get("/readyz").0, 503);
    core.signal(Signal::CONT);
    edge.wait_until_ready();
    // And one that only does not read: what it says still comes.
    let ended = edge.log().matches("the link to the core has ended").count();
    middle.state.stalled.store(true, Ordering::Release);
    core.wait_for_log("the other side has gone silent", 1);
    edge.wait_for_log("the link to the core has ended", ended + 1);
    middle.state.stalled.store(false, Ordering::Release);
    edge.wait_until_ready();
    let report = books(load);
    assert_eq!(report["sent"], report["acked"], "{report}");
}

#[test]
fn who_has_no_or_another_certificate_is_refused_with_a_reason() {
    let (cluster, core) = Cluster::new(&[1, 2]);
    // Of another CA, with the right names.
    let (other, _core) = Cluster::new(&[1]);
    let foreign = other.edge_at(1, cluster.core, &[]);
    // It does not trust the core either, and says so first.
    foreign.wait_for_log("no link to the core", 1);
    // By its name the CA is the same; by its key it is another.
    assert!(foreign.log().contains("invalid peer certificate: BadSignature"), "{}", foreign.log());
    let ca = format!("trunk.ca={}", cluster.dir.path().join("certs/trunk/ca.pem").display());
    drop(foreign);
    let stranger = other.edge_at(1, cluster.core, &["--set", &ca]);
    core.wait_for_log("invalid peer certificate: BadSignature", 1);
    stranger.wait_for_log("received fatal alert", 1);
    let (status, why) = stranger.get("/readyz");
    assert!(status == 503 && why.contains("core"), "{status} {why}");
    drop(stranger);

    // No certificate at all: TLS from another program.
    let said = output(Command::new("openssl").args([
        "s_client",
        "-connect",
        &cluster.core.to_string(),
        "-quiet",
        "-no_ign_eof",
    ]));
    core.wait_for_log("peer sent no certificates", 1);
    assert!(!said.status.success() || !said.stderr.is_empty());
    // No TLS at all.
    TcpStream::connect(cluster.core).unwrap().write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    core.wait_for_log("trunk: no link", 3);

    // A certificate of our CA, but a core's: nobody's client.
    let at = |name: &str| cluster.dir.path().join("certs/trunk").join(name).display().to_string();
    let edge = cluster.edge(1);
    // A second edge that says it is the first one, with its certificate.
    let twin = cluster.dir.path().join("twin");
    fs::create_dir_all(twin.join("data")).unwrap();
    fs::copy(cluster.dir.path().join("shared/secret"), twin.join("data/secret")).unwrap();
    let core_at = format!("trunk.core={}", cluster.core);
    let files = [
        format!("trunk.ca={}", at("ca.pem")),
        format!("trunk.cert={}", at("edge-1.pem")),
        format!("trunk.key={}", at("edge-1-key.pem")),
    ];
    let mut args = vec!["--role", "edge", "--set", "edge.listen=127.0.0.1:0", "--set", "edge.node=1"];
    args.extend(["--set", "edge.shards=2", "--set", &core_at]);
    files.iter().for_each(|file| args.extend(["--set", file]));
    let twin = Process::start(&twin, &args, "of the core at");
    twin.wait_for_log("each edge needs a number of its own", 1);
    assert_eq!(edge.get("/readyz").0, 200, "the first one is not disturbed");
    // Settings that cannot be right are told at the start.
    let mut wrong = args.clone();
    wrong.extend(["--set", "edge.node=2"]);
    let mut serve = Command::new(PROGRAM);
    serve.current_dir(cluster.dir.path()).arg("serve").args(["--set", "ops.listen=127.0.0.1:0"]).args(&wrong);
    let refused = output(&mut serve);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("is not for edge-2"), "{said}");
}
