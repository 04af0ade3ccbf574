//! The steering of a whole network: real processes that locate, edges of three PoPs, a core, and operators.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::node::{Node, PROGRAM, STUCK, nearport, serve, wait};
use crate::trunk::{Cluster, Process, metric, send};

/// A core, a process that locates and edges of PoPs.
struct Network {
    cluster: Cluster,
    _core: Process,
    locator: Process,
    edges: Vec<Process>,
}

const POPS: [&str; 3] = ["p1", "p2", "p3"];

impl Network {
    /// Three PoPs with an edge each, all of them known to each other and checked.
    fn new() -> Self {
        let (cluster, core) = Cluster::new(&[1, 2, 3, 4]);
        assert!(nearport(cluster.dir.path(), &["trunk", "cert", "locate"]).status.success());
        // One development CA for all, so that clients may go from one to another.
        let certs = cluster.dir.path().join("dev-certs");
        fs::create_dir_all(&certs).unwrap();
        let at = SocketAddr::from(([127, 0, 0, 1], 0));
        let nobody = [at, at, at].map(|at| SocketAddr::new(at.ip(), 1));
        write_table(&cluster, &nobody);
        let locator = locate(&cluster, at);
        let mut network = Self { cluster, _core: core, locator, edges: Vec::new() };
        for (node, pop) in (1..).zip(POPS) {
            let edge = network.edge(node, pop);
            edge.wait_until_ready();
            network.edges.push(edge);
        }
        let addresses: Vec<_> = network.edges.iter().map(|edge| edge.address("edge")).collect();
        write_table(&network.cluster, &addresses);
        network.locator.signal(Signal::HUP);
        network.until("checks of all by all", |rows| {
            rows.iter().all(|row| row["edges"] == 1 && row["votes"] == 3 && row["votes_down"] == 0)
        });
        network
    }

    fn edge(&self, node: u16, pop: &str) -> Process {
        let dir = self.cluster.dir.path().join(format!("edge-{node}"));
        fs::create_dir_all(&dir).unwrap();
        let shared = dir.join("certs");
        if !shared.exists() {
            std::os::unix::fs::symlink(self.cluster.dir.path().join("dev-certs"), &shared).unwrap();
        }
        let (pop, to) = (format!("steer.pop={pop}"), format!("steer.locators=[\"{}\"]", self.steer()));
        self.cluster.edge_at(node, self.cluster.core, &["--set", &pop, "--set", &to])
    }

    fn steer(&self) -> SocketAddr {
        self.locator.greeted("edges report to ")
    }

    /// What `nearport pop list --json` says.
    fn rows(&self) -> Vec<Value> {
        let listed = nearport(&self.locator.dir, &["pop", "list", "--json"]);
        assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
        let mut listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
        listed["pops"].as_array_mut().unwrap().drain(..).collect()
    }

    fn until(&self, what: &str, done: impl Fn(&[Value]) -> bool) {
        let begun = Instant::now();
        loop {
            let rows = self.rows();
            if done(&rows) {
                return;
            }
            assert!(begun.elapsed() < STUCK, "no {what}: {rows:#?}\n{}", self.locator.log());
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// The PoPs that a client is told, sorted.
    fn named(&self) -> Vec<String> {
        let (status, answer) = self.locator.get_at(self.locator.greeted("locates on http://"), "/v1/locate");
        assert_eq!(status, 200, "{answer}");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let candidates = answer["candidates"].as_array().unwrap();
        let mut pops: Vec<_> = candidates.iter().map(|pop| pop["pop"].as_str().unwrap().to_owned()).collect();
        pops.sort();
        pops
    }

    fn until_named(&self, pops: &[&str]) {
        let begun = Instant::now();
        while self.named() != pops {
            assert!(begun.elapsed() < STUCK, "{:?} and not {pops:?}\n{}", self.named(), self.locator.log());
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// Runs `nearport pop`; says what it printed for people.
    fn pop(&self, args: &[&str]) -> (bool, String) {
        let args: Vec<_> = std::iter::once("pop").chain(args.iter().copied()).collect();
        let done = nearport(&self.locator.dir, &args);
        (done.status.success(), String::from_utf8(done.stderr).unwrap())
    }

    fn metric(&self, name: &str) -> u64 {
        metric(self.locator.greeted("health and metrics: http://"), name)
    }
}

fn table_of(cluster: &Cluster) -> PathBuf {
    cluster.dir.path().join("pops.toml")
}

fn write_table(cluster: &Cluster, addresses: &[SocketAddr]) {
    let pop = |(pop, at): (&str, &SocketAddr)| {
        format!(
            "[[pop]]\nid = \"{pop}\"\nplace = \"{pop}\"\ncountry = \"SG\"\ncontinent = \"AS\"\nlat = 1.0\nlon = 104.0\n\
             endpoints = {{ quic = \"{at}\", tls = \"{at}\" }}\n"
        )
    };
    let text: String = POPS.into_iter().zip(addresses).map(pop).collect();
    fs::write(table_of(cluster), text).unwrap();
}

fn locate(cluster: &Cluster, listen: SocketAddr) -> Process {
    let (pops, listen) =
        (format!("locate.pops={}", table_of(cluster).display()), format!("steer.listen={listen}"));
    let certificates = cluster.certificates("locate");
    let mut args = vec!["--role", "locate", "--set", &pops, "--set", &listen];
    args.extend(["--set", "api.listen=127.0.0.1:0"]);
    args.extend(certificates.iter().map(String::as_str));
    Process::start(&cluster.dir.path().join("locate"), &args, "edges report to")
}

fn listen_for(edge: &Process, user: &str) -> Child {
    Command::new(PROGRAM)
        .args(["recv", "--user", user, "--count", "1", "--timeout", "120s"])
        .current_dir(&edge.dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn a_killed_pop_leaves_the_answers_and_a_drained_one_with_its_clients() {
    let mut network = Network::new();
    assert_eq!(network.named(), POPS);
    assert_eq!(network.metric("nearport_steer_edges "), 3);

    // A process dies: out, by what the others see, and not at the first failure.
    network.edges.pop().unwrap().kill();
    let killed = Instant::now();
    network.until_named(&["p1", "p2"]);
    println!("a killed PoP is out of the answers after {} ms", killed.elapsed().as_millis());
    let lost = "nearport_steer_checks_total{pop=\"p3\",outcome=\"lost\"}";
    assert!(network.metric(lost) >= 3, "{}", network.metric(lost));
    let rows = network.rows();
    assert_eq!((&rows[2]["state"], &rows[2]["edges"]), (&"held".into(), &0.into()), "{rows:#?}");

    // Bob listens at the first PoP; then that one is drained, and he is at the second.
    let mut bob = listen_for(&network.edges[0], "bob");
    network.edges[0].wait_for_metric("nearport_edge_sessions", 1);
    network.until("sessions", |rows| rows[0]["sessions"] == 1);
    let (done, said) = network.pop(&["drain", "p1"]);
    assert!(done && said.contains("p1 drained") && said.contains("1 of its edges is linked"), "{said}");
    assert_eq!(network.named(), ["p2"], "from the order on");
    network.edges[1].wait_for_metric("nearport_edge_sessions", 1);
    network.until("an empty PoP", |rows| rows[0]["sessions"] == 0 && rows[0]["draining"] == true);
    send(&network.edges[1], "alice", "bob", "over there");
    assert!(wait(&mut bob).success());
    let mut text = String::new();
    bob.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(text.contains("over there"), "{text}");
    assert_eq!(network.edges[0].metric("nearport_edge_slow_closes_total"), 0);
    assert_eq!(network.edges[0].get("/readyz").0, 503);

    // What would leave nobody is not done by mistake.
    let (done, said) = network.pop(&["drain", "p2"]);
    assert!(!done && said.contains("p2 is the last PoP that is up") && said.contains("--force"), "{said}");
    let (done, said) = network.pop(&["drain", "p9"]);
    assert!(!done && said.contains("there is no PoP `p9`; there are p1, p2, p3"), "{said}");
    let (done, said) = network.pop(&["weight", "p2", "0.5"]);
    assert!(done && said.contains("50 % of its capacity"), "{said}");
    let listed = String::from_utf8(nearport(&network.locator.dir, &["pop", "list"]).stdout).unwrap();
    let line = |pop: &str| listed.lines().find(|line| line.starts_with(pop)).unwrap().to_owned();
    assert!(line("p1").contains("drained") && line("p2").contains("weight 0.5"), "{listed}");
    assert!(line("p3").contains("down, held"), "{listed}");

    // The locator dies: edges stay as they are. It comes again, and knows from its first answer on.
    let steer = network.steer();
    let former =
        std::mem::replace(&mut network.locator, locate(&network.cluster, SocketAddr::new(steer.ip(), 0)));
    former.kill();
    assert_eq!(network.edges[0].get("/readyz").0, 503);
    let (done, said) = network.pop(&["list"]);
    assert!(done, "{said}");
    assert_eq!(network.named(), ["p2", "p3"], "nobody told it yet that the third is dead");
    // Another one on the old address, without what the first kept: the edges bring it.
    fs::remove_file(network.locator.dir.join("data/orders.json")).unwrap();
    let former = std::mem::replace(&mut network.locator, locate(&network.cluster, steer));
    former.kill();
    network.until("orders from the edges", |rows| rows[0]["drained"] == true && rows[0]["edges"] == 1);
    network.until_named(&["p2"]);
    assert!(network.locator.dir.join("data/orders.json").exists());

    let (done, said) = network.pop(&["undrain", "p1"]);
    assert!(done && said.contains("p1 takes clients"), "{said}");
    network.edges[0].wait_until_ready();
    network.until_named(&["p1", "p2"]);
}

#[test]
fn who_may_not_report_is_told_why_and_disturbs_nobody() {
    let network = Network::new();
    let nowhere = network.edge(4, "nowhere");
    let why = "there is no PoP `nowhere`; there are p1, p2, p3";
    nowhere.wait_for_log(why, 1);
    network.locator.wait_for_log(why, 1);
    drop(nowhere);
    // Certificates of another cluster.
    let (other, _core) = Cluster::new(&[4]);
    let strange = {
        let (pop, to) = ("steer.pop=p1", format!("steer.locators=[\"{}\"]", network.steer()));
        other.edge_at(4, other.core, &["--set", pop, "--set", &to])
    };
    strange.wait_for_log("invalid peer certificate", 1);
    network.locator.wait_for_log("steer: no link", 2);
    for noise in [&b"GET /metrics HTTP/1.0\r\n\r\n"[..], &[0xff; 5_000]] {
        let mut socket = TcpStream::connect(network.steer()).unwrap();
        let _ = socket.write_all(noise);
        let _ = socket.read_to_end(&mut Vec::new());
    }
    network.locator.wait_for_log("steer: no link", 4);
    assert_eq!(network.named(), POPS);
    network.until("all three", |rows| rows.iter().all(|row| row["edges"] == 1));
    // An edge has no network to show.
    let asked = nearport(&network.edges[0].dir, &["pop", "list"]);
    assert!(!asked.status.success());
    let said = String::from_utf8(asked.stderr).unwrap();
    assert!(said.contains("does not locate"), "{said}");
}

#[test]
fn a_single_node_is_a_pop_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), &["--set", "steer.pop=here"]);
    let pop = |args: &[&str]| {
        let done = node.nearport(args);
        (
            done.status.success(),
            String::from_utf8(done.stderr).unwrap(),
            String::from_utf8(done.stdout).unwrap(),
        )
    };
    let (done, _, listed) = pop(&["pop", "list"]);
    assert!(done && listed.lines().any(|line| line.starts_with("here") && line.contains("up")), "{listed}");
    assert!(pop(&["pop", "drain", "here"]).1.contains("the last PoP that is up"));
    let until = |status: u16| {
        let begun = Instant::now();
        while node.get("/readyz").0 != status {
            assert!(begun.elapsed() < STUCK, "{:?}", node.get("/readyz"));
            std::thread::park_timeout(Duration::from_millis(5));
        }
    };
    assert!(pop(&["pop", "drain", "here", "--force"]).0);
    until(503);
    assert!(pop(&["pop", "undrain", "here"]).0);
    until(200);
}

#[test]
fn drains_by_hand_and_by_order_end_each_where_they_began() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), &["--set", "steer.pop=here"]);
    let run = |args: &[&str]| {
        let done = node.nearport(args);
        (done.status.success(), String::from_utf8(done.stderr).unwrap())
    };
    let ready = || node.get("/readyz").0 == 200;
    let mut told = (0, 0);
    // Until the edge was told so too.
    let mut order = |args: &[&str], drained: bool| {
        let (done, said) = run(args);
        assert!(done, "{said}");
        let count = if drained { &mut told.0 } else { &mut told.1 };
        *count += 1;
        let begun = Instant::now();
        let log = || fs::read_to_string(dir.path().join("serve.log")).unwrap();
        while log().matches(&format!("\"drained\":{drained}")).count() < *count {
            assert!(begun.elapsed() < STUCK, "{}", log());
            std::thread::park_timeout(Duration::from_millis(5));
        }
    };
    let until = |is_ready: bool| {
        let begun = Instant::now();
        while ready() != is_ready {
            assert!(begun.elapsed() < STUCK, "{:?}", node.get("/readyz"));
            std::thread::park_timeout(Duration::from_millis(5));
        }
    };
    let not_undone = || {
        for args in [&["drain", "--undo"][..], &["drain"]] {
            let (done, said) = run(args);
            assert!(!done && said.contains("`nearport pop undrain here`"), "{said}");
        }
        assert!(!ready());
    };
    // By order only.
    order(&["pop", "drain", "here", "--force"], true);
    until(false);
    not_undone();
    order(&["pop", "undrain", "here"], false);
    until(true);
    // By hand, and by order meanwhile: the end of the one is not that of the other.
    assert!(run(&["drain"]).0);
    order(&["pop", "drain", "here", "--force"], true);
    not_undone();
    order(&["pop", "undrain", "here"], false);
    until(true);
    assert!(run(&["drain"]).0);
    order(&["pop", "drain", "here", "--force"], true);
    order(&["pop", "undrain", "here"], false);
    // Its own words come after those of the order.
    let (done, said) = run(&["drain"]);
    assert!(!done && said.contains("`nearport drain --undo`"), "{said}");
    assert!(!ready());
    assert!(run(&["drain", "--undo"]).0);
    assert!(ready());
}

#[test]
fn orders_and_the_address_for_edges_go_over_with_the_node() {
    let dir = tempfile::tempdir().unwrap();
    for args in [&["trunk", "ca"][..], &["trunk", "cert", "locate", "--node", "0"]] {
        assert!(nearport(dir.path(), args).status.success());
    }
    // A port that was free a moment ago: both processes have to ask for the same one.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let listen = format!("steer.listen={free}");
    let mut args = vec!["--set", "steer.pop=here", "--set", &listen];
    for set in [
        "trunk.ca=certs/trunk/ca.pem",
        "trunk.cert=certs/trunk/locate-0.pem",
        "trunk.key=certs/trunk/locate-0-key.pem",
    ] {
        args.extend(["--set", set]);
    }
    let old = Node::start(dir.path(), &args);
    assert!(TcpStream::connect(free).is_ok());
    assert!(old.nearport(&["pop", "weight", "here", "0.5"]).status.success());
    args.push("--take-over");
    let mut new = serve(dir.path(), &args).stdout(Stdio::piped()).spawn().unwrap();
    let mut greeting = String::new();
    BufReader::new(new.stdout.as_mut().unwrap()).read_line(&mut greeting).unwrap();
    assert!(greeting.contains("listens on"), "{greeting}");
    assert!(old.wait().success(), "nobody is connected, so it ends at once");
    let listed = nearport(dir.path(), &["pop", "list", "--json"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!((&listed["edges"], &listed["pops"][0]["weight"]), (&1.into(), &0.5.into()), "{listed}");
    // Bound by then, or within a tick: who connects too early is refused and comes again.
    let begun = Instant::now();
    while TcpStream::connect(free).is_err() {
        assert!(begun.elapsed() < STUCK, "nobody takes edges");
        std::thread::park_timeout(Duration::from_millis(5));
    }
    new.kill().unwrap();
    new.wait().unwrap();
}

#[test]
fn the_settings_of_deploy_are_steered() {
    let deploy = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let read =
        |file: &str| -> toml::Table { fs::read_to_string(deploy.join(file)).unwrap().parse().unwrap() };
    let (edge, locate) = (read("edge.toml"), read("locate.toml"));
    assert!(edge["steer"]["pop"].is_str() && edge["steer"]["locators"].is_array());
    assert!(locate["steer"]["listen"].is_str() && locate["trunk"]["cert"].is_str());
}
