//! A whole network of PoPs, end to end: one core, one process that locates, three edges in network namespaces at different
//! distances from their clients, and the SDK, which is told nothing but where to ask.
//!
//! Needs root, as in CI; without it this says so and passes.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nearport_lab::{Lab, SERVER_ADDRESS, missing};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustix::process::{Pid, Signal, kill_process};

use crate::node::{PROGRAM, STUCK, nearport, output};
use crate::trunk::{Process, books, get_at};

/// PoPs in the order of the table, which is not that of their distance: one way, to their clients.
const POPS: [(&str, &str); 3] = [("far", "delay=60ms"), ("near", "delay=5ms"), ("second", "delay=25ms")];

const CLIENTS: u64 = 12;

struct Net {
    lab: Lab,
    dir: tempfile::TempDir,
    core: Process,
    locator: Process,
    edges: Vec<Process>,
}

impl Net {
    fn new() -> Option<Self> {
        if let Some(what) = missing() {
            assert!(!rustix::process::geteuid().is_root(), "root, and yet: {what}");
            eprintln!("skipped: {what}");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let mut lab = Lab::new().unwrap();
        for (_, words) in POPS {
            let site = lab.add_site().unwrap();
            lab.site(site).set(words.parse().unwrap());
        }
        for args in [&["trunk", "ca"][..], &["trunk", "cert", "core"], &["trunk", "cert", "locate"]] {
            run(dir.path(), args);
        }
        run(dir.path(), &["secret", "rotate", "--data", "shared"]);
        certificate(dir.path());
        fs::write(dir.path().join("pops.toml"), table(&lab)).unwrap();

        let hub = |more: Vec<String>| {
            let mut command = lab.on_server(Path::new(PROGRAM));
            command.args(["serve", "--set", "ops.listen=127.0.0.1:0"]).args(more);
            command
        };
        let mut args = words("--role core --set trunk.listen=0.0.0.0:4434");
        args.extend(trunk(dir.path(), "core"));
        let core = Process::run(hub(args), &dir.path().join("core"), "waits for edges on");
        let mut args = words("--role locate --set api.listen=10.77.0.1:8443 --set steer.listen=0.0.0.0:4435");
        args.extend(set("locate.pops", &dir.path().join("pops.toml")));
        args.extend(trunk(dir.path(), "locate"));
        args.extend(tls(dir.path()));
        let locator = Process::run(hub(args), &dir.path().join("locator"), "edges report to");
        let mut net = Self { lab, dir, core, locator, edges: Vec::new() };
        for site in 0..POPS.len() {
            let edge = net.edge(site);
            net.edges.push(edge);
        }
        net.until("every PoP is checked by all and reports", |net| {
            let rows = net.rows();
            rows.iter().all(|row| row["edges"] == 1 && row["votes"] == 3 && row["votes_down"] == 0)
        });
        Some(net)
    }

    fn edge(&self, site: usize) -> Process {
        let (pop, _) = POPS[site];
        let node = site + 1;
        let dir = self.dir.path().join(pop);
        fs::create_dir_all(dir.join("data")).unwrap();
        run(self.dir.path(), &["trunk", "cert", "edge", "--node", &node.to_string()]);
        fs::copy(self.dir.path().join("shared/secret"), dir.join("data/secret")).unwrap();
        let hub = Ipv4Addr::new(10, 78, u8::try_from(node).unwrap(), 1);
        let address = self.lab.site(site).address();
        let mut args = words(&format!(
            "serve --role edge --set ops.listen=127.0.0.1:9090 --set edge.listen={address}:4433 --set edge.node={node} \
             --set trunk.core={hub}:4434 --set steer.pop={pop} --set steer.locators=[\"{hub}:4435\"] --set edge.shards=2 --set drain.within=6s"
        ));
        args.extend(trunk(self.dir.path(), &format!("edge-{node}")));
        args.extend(tls(self.dir.path()));
        let mut command = self.lab.site(site).command(Path::new(PROGRAM));
        command.args(args);
        Process::run(command, &dir, "of the core at")
    }

    /// What `nearport pop list --json` says.
    fn rows(&self) -> Vec<serde_json::Value> {
        let listed = nearport(&self.locator.dir, &["pop", "list", "--json"]);
        assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
        let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
        listed["pops"].as_array().unwrap().clone()
    }

    /// Sessions of each PoP, in the order of the table.
    fn sessions(&self) -> [u64; 3] {
        [0, 1, 2].map(|site| {
            let ops = SocketAddr::from(([127, 0, 0, 1], 9090));
            let metrics = self.lab.site(site).inside(|| get_at(ops, "/metrics").1).unwrap();
            let of = |line: &str| {
                let value = line.strip_prefix("nearport_edge_sessions")?.strip_prefix(['{', ' '])?;
                value.rsplit(' ').next()?.trim().parse::<u64>().ok()
            };
            metrics.lines().filter_map(of).sum()
        })
    }

    fn until(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !done(self) {
            let logs: Vec<_> =
                self.edges.iter().chain([&self.locator, &self.core]).map(Process::log).collect();
            assert!(
                begun.elapsed() < STUCK,
                "not: {what}; sessions {:?}\n{:#?}\n{}",
                self.sessions(),
                self.rows(),
                logs.join("\n--\n")
            );
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    /// A client's directory: the App's key, the CA, and where to ask.
    fn client(&self, name: &str) -> PathBuf {
        let dir = self.dir.path().join(name);
        fs::create_dir_all(dir.join("data")).unwrap();
        let of_core = fs::read_to_string(self.core.dir.join("data/client.toml")).unwrap();
        let mut client: toml::Table = of_core.parse().unwrap();
        client.remove("server");
        client.insert("ca".into(), self.dir.path().join("ca.pem").display().to_string().into());
        let key = fs::read_to_string(self.locator.dir.join("data/map-key.pub")).unwrap();
        let list = POPS
            .iter()
            .enumerate()
            .map(|(site, (pop, _))| format!("{}:4433/{pop}.pop.test", self.lab.site(site).address()));
        let locate: toml::Table = format!(
            "https = [\"{SERVER_ADDRESS}:8443/locate.pop.test\"]\nmap_keys = [\"{}\"]\nsystem_resolver = false\nlist = {:?}",
            key.trim(),
            list.collect::<Vec<_>>()
        )
        .parse()
        .unwrap();
        client.insert("locate".into(), locate.into());
        fs::write(dir.join("data/client.toml"), client.to_string()).unwrap();
        dir
    }

    /// `nearport` with `args` of a client.
    fn by(&self, client: &Path, args: &[&str]) -> Command {
        let mut command = self.lab.on_clients(Path::new(PROGRAM));
        command.args(args).current_dir(client);
        command
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_ascii_whitespace().map(str::to_owned).collect()
}

fn set(key: &str, path: &Path) -> [String; 2] {
    ["--set".to_owned(), format!("{key}={}", path.display())]
}

fn trunk(dir: &Path, stem: &str) -> Vec<String> {
    let at = |file: &str| dir.join("certs/trunk").join(file);
    [
        set("trunk.ca", &at("ca.pem")),
        set("trunk.cert", &at(&format!("{stem}.pem"))),
        set("trunk.key", &at(&format!("{stem}-key.pem"))),
    ]
    .concat()
}

fn tls(dir: &Path) -> Vec<String> {
    [set("tls.cert", &dir.join("server.pem")), set("tls.key", &dir.join("server-key.pem"))].concat()
}

fn run(dir: &Path, args: &[&str]) {
    let made = nearport(dir, args);
    assert!(made.status.success(), "{args:?}: {}", String::from_utf8_lossy(&made.stderr));
}

/// One CA, and one certificate for the names of all.
fn certificate(dir: &Path) {
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
    let names = ["far", "near", "second"].map(|pop| format!("{pop}.pop.test"));
    let names = names.into_iter().chain(["locate.pop.test".to_owned()]).collect::<Vec<_>>();
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(names).unwrap().signed_by(&key, &ca).unwrap();
    fs::write(dir.join("ca.pem"), ca.pem()).unwrap();
    fs::write(dir.join("server.pem"), server.pem()).unwrap();
    fs::write(dir.join("server-key.pem"), key.serialize_pem()).unwrap();
}

/// By the table all are equally far from an address of which nothing is known: only the race can tell them apart.
fn table(lab: &Lab) -> String {
    let pop = |(site, (pop, _)): (usize, &(&str, &str))| {
        let address = lab.site(site).address();
        format!(
            "[[pop]]\nid = \"{pop}\"\nplace = \"{pop}\"\ncountry = \"SG\"\ncontinent = \"AS\"\nlat = 1.35\nlon = 103.8\n\
             addresses = [\"{address}\"]\nendpoints = {{ quic = \"{pop}.pop.test:4433\", tls = \"{pop}.pop.test:4433\" }}\n\n"
        )
    };
    POPS.iter().enumerate().map(pop).collect()
}

#[test]
fn clients_find_the_nearest_pop_follow_a_drain_and_need_no_locator_to_come_back() {
    let Some(net) = Net::new() else { return };
    let client = net.client("client");
    let load = net
        .by(&client, &["load", "chat", "--rate", "60", "--duration", "120s", "--json", "-"])
        .args(["--connections", &CLIENTS.to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    net.until("all are at the nearest", |net| net.sessions() == [0, CLIENTS, 0]);
    run(&net.locator.dir, &["pop", "drain", "near"]);
    net.until("all are at the second", |net| net.sessions() == [0, 0, CLIENTS]);
    // Has seen enough: it takes what is under way, and reports.
    kill_process(Pid::from_child(&load), Signal::INT).unwrap();
    let report = books(load);
    assert_eq!(report["sent"], report["acked"], "{report}");
    assert_eq!(report["sent"], report["delivered"], "{report}");

    // Who comes anew is sent to the second at once, and keeps what it learnt.
    let send = |net: &Net, client: &Path, text: &str| {
        let sent = output(&mut net.by(client, &["send", "--user", "alice", "--to", "bob", text]));
        assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    };
    let before = net.lab.site(1).counts().up.arrived;
    let anew = net.client("anew");
    send(&net, &anew, "with a locator");
    let drained = net.lab.site(1).counts().up.arrived - before;
    assert!(drained < 5, "{drained} packets went to the PoP that is drained");

    // The addressing service is switched off: with what is on disk, and with nothing but what the application came with.
    net.locator.signal(Signal::KILL);
    send(&net, &anew, "without, from what it knows");
    fs::remove_dir_all(anew.join("data/locate")).unwrap();
    send(&net, &anew, "without, from its list");
    let got = output(&mut net.by(&anew, &["recv", "--user", "bob", "--count", "3", "--timeout", "30s"]));
    let got = String::from_utf8(got.stdout).unwrap();
    for text in ["with a locator", "from what it knows", "from its list"] {
        assert!(got.contains(text), "{text:?} is not in {got}");
    }
}
