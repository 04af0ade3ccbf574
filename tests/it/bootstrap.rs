//! A client that finds its PoP by itself: one core, two edges as two PoPs, an addressing service, real processes.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use nearport_client::{
    Client, Config, Event, LocateConfig, Locator, Network, NetworkConfig, Server, Transport, text, user,
};
use nearport_load::Relay;
use tokio::task::JoinSet;

use crate::node::{PROGRAM, STUCK, nearport, output, start_load};
use crate::trunk::{Cluster, Process, books};

/// Two PoPs: a in front by rank in every list, b nearer.
struct Pops {
    cluster: Cluster,
    _core: Process,
    a: Process,
    b: Process,
    /// What a's UDP goes through.
    far: Relay,
    /// Certificate of everybody.
    cert: PathBuf,
}

const NAMES: [&str; 5] = ["127.0.0.1", "locate.test", "a.pop.test", "b.pop.test", "im.pop.test"];

impl Pops {
    fn start() -> Self {
        let (cluster, core) = Cluster::new(&[1, 2]);
        let made = rcgen::generate_simple_self_signed(NAMES.map(str::to_owned)).unwrap();
        let at = |name: &str| cluster.dir.path().join(name);
        fs::write(at("cert.pem"), made.cert.pem()).unwrap();
        fs::write(at("key.pem"), made.signing_key.serialize_pem()).unwrap();
        let args = certificate(cluster.dir.path());
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        let [a, b] = [1, 2].map(|node| cluster.edge_at(node, cluster.core, &args));
        a.wait_until_ready();
        b.wait_until_ready();
        let far = Relay::start(a.address("edge"), "delay=40ms".parse().unwrap()).unwrap();
        Self { cert: at("cert.pem"), cluster, _core: core, a, b, far }
    }

    /// Where a client's UDP goes to.
    fn udp(&self) -> [SocketAddr; 2] {
        [self.far.address(), self.b.address("edge")]
    }

    /// An addressing service whose PoPs have these QUIC and TLS endpoints.
    fn locator(&self, quic: [SocketAddr; 2], tls: [SocketAddr; 2], more: &[&str]) -> Process {
        let mut pops = String::new();
        // Of a client of which nothing is known Asia is nearer than the far end of New Zealand.
        let places = [("a", "SG", "AS", 1.3, 103.8), ("b", "NZ", "OC", -46.4, 168.4)];
        for ((id, country, continent, lat, lon), (quic, tls)) in
            places.into_iter().zip(quic.into_iter().zip(tls))
        {
            pops += &format!(
                "[[pop]]\nid = \"{id}\"\nplace = \"{id}\"\ncountry = \"{country}\"\ncontinent = \"{continent}\"\n\
                 lat = {lat:?}\nlon = {lon:?}\n\
                 addresses = [\"127.0.0.1\"]\nendpoints = {{ quic = \"{quic}\", tls = \"{tls}\" }}\n"
            );
        }
        let dir = self.cluster.dir.path().join("locate");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("pops.toml"), pops).unwrap();
        let mut args = vec!["--role", "locate", "--set", "api.listen=127.0.0.1:0", "--set", "api.tls=always"];
        let certificate = certificate(self.cluster.dir.path());
        args.extend(certificate.iter().map(String::as_str));
        args.extend(["--set", "locate.pops=pops.toml"]);
        args.extend(more);
        Process::start(&dir, &args, "health and metrics")
    }

    fn usual_locator(&self) -> Process {
        self.locator(self.udp(), [self.a.address("edge"), self.b.address("edge")], &[])
    }

    fn network(&self) -> Network {
        Network::new(NetworkConfig::from_ca_pem(&fs::read(&self.cert).unwrap()).unwrap()).unwrap()
    }

    /// A client that asks as `config` says.
    fn client(&self, network: &Network, config: LocateConfig, name: &str) -> (Client, Locator) {
        let locator = Locator::new(config).unwrap();
        let core = self.cluster.dir.path().join("core");
        let signed = nearport(&core, &["usersig", "--user", name]);
        let usersig = String::from_utf8(signed.stdout).unwrap();
        let client_file = fs::read_to_string(core.join("data/client.toml")).unwrap();
        let app = client_file.parse::<toml::Table>().unwrap()["app"].as_integer().unwrap();
        let config = Config::located(&locator, app.try_into().unwrap(), name, usersig.trim());
        (Client::connect(network, config), locator)
    }

    /// Everything that a client may be told about `locator`.
    fn config(&self, locator: &Process, dir: &Path) -> LocateConfig {
        let key = fs::read_to_string(locator.dir.join("data/map-key.pub")).unwrap();
        LocateConfig {
            https: vec![https(locator)],
            map_keys: vec![LocateConfig::map_key(&key).unwrap()],
            dir: Some(dir.to_owned()),
            ..LocateConfig::default()
        }
    }
}

fn certificate(dir: &Path) -> Vec<String> {
    let at = |name: &str| dir.join(name).display().to_string();
    [
        "--set".into(),
        format!("tls.cert={}", at("cert.pem")),
        "--set".into(),
        format!("tls.key={}", at("key.pem")),
    ]
    .into()
}

/// Where an api listens, by the name in its certificate.
fn https(locator: &Process) -> Server {
    Server::new(locator.greeted("locates on https://"), "locate.test")
}

/// Reports that a locator has had, taken or not.
fn reports(locator: &Process) -> u64 {
    let ops = locator.greeted("health and metrics: http://");
    let metrics = locator.get_at(ops, "/metrics").1;
    let lines = metrics.lines().filter(|line| line.starts_with("nearport_locate_reports_total"));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

async fn landed(client: &Client) -> SocketAddr {
    client.ready(STUCK).await.unwrap();
    client.edge().unwrap()
}

/// Waits until the client's session is at `edge`.
async fn moved(client: &Client, edge: SocketAddr) {
    // A move ends with a login, which is an event.
    while client.edge() != Some(edge) {
        let event = tokio::time::timeout(STUCK, client.next_event()).await;
        assert!(
            !matches!(event, Err(_) | Ok(None | Some(Event::Stopped { .. }))),
            "{event:?} at {:?}",
            client.edge()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_nearest_is_found_remembered_and_found_again_without_the_service() {
    let pops = Pops::start();
    let locator = pops.usual_locator();
    let kept = pops.cluster.dir.path().join("kept");
    let (config, network) = (pops.config(&locator, &kept), pops.network());
    let [a, b] = pops.udp();

    // First contact: a race of all.
    let (alice, found) = pops.client(&network, config.clone(), "alice");
    assert_eq!(landed(&alice).await, b, "the nearer one");
    let sent = alice.send(user("bob"), text("over the nearest")).await.unwrap();
    assert_eq!(sent.seq, 1);
    found.settled(STUCK).await;
    alice.close().await;
    let map = fs::read_to_string(kept.join("map.json")).unwrap();
    let places = fs::read_to_string(kept.join("places.json")).unwrap();
    assert!(places.contains("\"winner\":\"b\""), "{places}");
    let first = found.survey(&network).await.steps.remove(0).outcome;
    assert_eq!(first, Ok(vec!["a".to_owned(), "b".to_owned()]), "by rank the other one is first");
    // Both round trips were reported, once.
    assert_eq!(reports(&locator), 1);

    // The service is gone. Straight to the winner, whom the list does not even name.
    locator.kill();
    let lost = LocateConfig { list: vec![Server::new(a, "127.0.0.1")], ..config.clone() };
    let (alice, _) = pops.client(&network, lost.clone(), "alice");
    assert_eq!(landed(&alice).await, b, "from memory");
    alice.close().await;

    // Nothing is remembered but the map: a race of its PoPs.
    fs::remove_file(kept.join("places.json")).unwrap();
    let (alice, found) = pops.client(&network, lost.clone(), "alice");
    assert_eq!(landed(&alice).await, b, "by the map");
    found.settled(STUCK).await;
    alice.close().await;

    // Somebody has changed the map: the list is all that is left.
    fs::remove_file(kept.join("places.json")).unwrap();
    let at = map.find("\"map\":\"").unwrap() + 40;
    let (letter, other) = (&map[at..=at], if &map[at..=at] == "A" { "B" } else { "A" });
    assert_ne!(letter, other);
    fs::write(kept.join("map.json"), format!("{}{other}{}", &map[..at], &map[at + 1..])).unwrap();
    let (alice, _) = pops.client(&network, lost, "alice");
    assert_eq!(landed(&alice).await, a, "the one of the list");
    alice.close().await;

    // And without one the error names every step.
    fs::remove_file(kept.join("places.json")).unwrap();
    let (alice, _) = pops.client(&network, config, "alice");
    let error = alice.ready(Duration::from_secs(3)).await.unwrap_err().to_string();
    for part in [
        "no PoP is known",
        "https: ",
        "/locate.test: tcp: Connection refused",
        "map: ",
        "not signed by a key",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pop_that_dies_or_drains_hands_its_clients_to_the_next() {
    let pops = Pops::start();
    let locator = pops.usual_locator();
    let [a, b] = pops.udp();
    let config = LocateConfig { https: vec![https(&locator)], ..LocateConfig::default() };
    let network = pops.network();
    let (alice, _) = pops.client(&network, config.clone(), "alice");
    assert_eq!(landed(&alice).await, b);

    // Under load, by the command line: nothing is lost and nothing comes twice.
    let dir = pops.cluster.dir.path().join("device");
    fs::create_dir_all(dir.join("data")).unwrap();
    let file = fs::read_to_string(pops.cluster.dir.path().join("core/data/client.toml")).unwrap();
    let mut file: toml::Table = file.parse().unwrap();
    file.remove("server");
    file.insert("ca".into(), pops.cert.display().to_string().into());
    let mut locate = toml::Table::new();
    locate.insert("https".into(), vec![https(&locator).to_string()].into());
    file.insert("locate".into(), locate.into());
    fs::write(dir.join("data/client.toml"), file.to_string()).unwrap();
    // A proxy is for what is far, and the service is not.
    let proxied = with_a_dead_proxy(&dir, &["send", "--user", "alice", "--to", "bob", "past the proxy"]);
    assert!(proxied.status.success(), "{}", String::from_utf8_lossy(&proxied.stderr));
    let load = start_load(&dir, 20, 100, 8);
    tokio::task::block_in_place(|| pops.b.wait_for_metric("nearport_edge_sessions", 21));
    let b_dir = pops.b.dir.clone();
    let drained =
        tokio::task::spawn_blocking(move || nearport(&b_dir, &["drain", "--within", "3s"])).await.unwrap();
    assert!(drained.status.success(), "{}", String::from_utf8_lossy(&drained.stderr));
    moved(&alice, a).await;
    alice.send(user("bob"), text("from the second")).await.unwrap();
    let report = tokio::task::spawn_blocking(move || books(load)).await.unwrap();
    assert_eq!(report["sent"], report["acked"], "{report}");
    assert!(report["delivered"].as_u64().unwrap() > 400, "{report}");

    // It takes clients again, and the other one dies.
    let undone = nearport(&pops.b.dir, &["drain", "--undo"]);
    assert!(undone.status.success(), "{}", String::from_utf8_lossy(&undone.stderr));
    let Pops { a: dying, .. } = pops;
    dying.kill();
    // What is waited for an answer to shows it sooner than the next heartbeat.
    let (_, sent) = tokio::join!(moved(&alice, b), alice.send(user("bob"), text("back at the first")));
    sent.unwrap();
    alice.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_fails_is_passed_and_dns_over_https_ranks_pops() {
    let pops = Pops::start();
    let dns = [
        ["--set", "dns.zone=pop.test"],
        ["--set", "dns.ns=[{ name = \"ns1.example.\" }]"],
        ["--set", "dns.names=[\"im\"]"],
    ]
    .concat();
    let locator = pops.locator(pops.udp(), [pops.a.address("edge"), pops.b.address("edge")], &dns);
    let here = https(&locator);
    let wrong = Server::new(here.address, "other.test");
    let config = LocateConfig {
        https: vec![wrong.clone()],
        doh: vec![here.clone()],
        names: vec!["im.pop.test".into()],
        zone: Some("pop.test".into()),
        system_resolver: false,
        ..LocateConfig::default()
    };
    let network = pops.network();
    let (alice, found) = pops.client(&network, config.clone(), "alice");
    assert_eq!(landed(&alice).await, pops.udp()[1], "by its records");
    alice.close().await;
    let survey = found.survey(&network).await;
    let told: Vec<_> =
        survey.steps.iter().map(|step| (step.source.to_string(), step.outcome.clone())).collect();
    let (https, doh) = (&told[0], &told[1]);
    assert_eq!((https.0.as_str(), doh.0.as_str()), ("https", "doh"));
    assert!(https.1.as_ref().unwrap_err().contains("certificate"), "{told:?}");
    let mut named = doh.1.clone().unwrap();
    named.sort();
    assert_eq!(named, ["a.pop.test", "b.pop.test"]);

    // Targets beyond the zone that the application names are not believed.
    let elsewhere = LocateConfig { zone: Some("chat.test".into()), ..config.clone() };
    let survey = Locator::new(elsewhere).unwrap().survey(&network).await;
    let reason = survey.steps[1].outcome.clone();
    assert!(
        survey.steps[1].source.to_string() == "doh" && reason.is_ok_and(|pops| pops[0].ends_with(":4433")),
        "only addresses"
    );

    // The same for people.
    let dir = pops.cluster.dir.path().join("device");
    fs::create_dir_all(dir.join("data")).unwrap();
    fs::write(
        dir.join("data/client.toml"),
        format!(
            "app = 1\nca = \"{}\"\n[locate]\nhttps = [\"{wrong}\"]\ndoh = [\"{here}\"]\nnames = [\"im.pop.test\"]\n\
             zone = \"pop.test\"\nsystem_resolver = false\n",
            pops.cert.display()
        ),
    )
    .unwrap();
    let shown = nearport(&dir, &["locate", "client"]);
    let said = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.status.success(), "{said}{}", String::from_utf8_lossy(&shown.stderr));
    for part in [
        &format!("fail  https {wrong}: tls: "),
        &format!("ok    doh {here}: "),
        "race  b.pop.test (127.0.0.1:",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let examined = nearport(&dir, &["doctor"]);
    let said = String::from_utf8(examined.stdout).unwrap();
    for part in [&format!("warn  no pops by https: {wrong}: tls: "), "ok    pops by doh: "] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

/// Runs a command of a device whose environment names a proxy that is not there.
fn with_a_dead_proxy(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    output(
        command.args(args).current_dir(dir).env("HTTPS_PROXY", "http://127.0.0.1:9").env_remove("NO_PROXY"),
    )
}

#[test]
fn who_looks_for_pops_takes_the_way_of_a_login() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("data")).unwrap();
    let made = rcgen::generate_simple_self_signed(["locate.test".to_owned()]).unwrap();
    fs::write(dir.path().join("ca.pem"), made.cert.pem()).unwrap();
    // Nobody listens at either; the other one is of nobody (RFC 5737).
    for (servers, proxied) in
        [(&["127.0.0.1:9"][..], false), (&["192.0.2.7:9"], true), (&["127.0.0.1:9", "192.0.2.7:9"], true)]
    {
        let file = format!("app = 1\nca = \"ca.pem\"\n[locate]\nhttps = {servers:?}\n");
        fs::write(dir.path().join("data/client.toml"), file).unwrap();
        for command in [&["locate", "client"][..], &["doctor"]] {
            let said = String::from_utf8(with_a_dead_proxy(dir.path(), command).stdout).unwrap();
            let reason = if proxied { "proxy http://127.0.0.1:9: " } else { "tcp: Connection refused" };
            assert!(said.contains(reason), "{servers:?}: {said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_udp_is_blocked_tcp_decides() {
    let pops = Pops::start();
    // Nobody reads there, and nobody says so.
    let silent = [0, 0].map(|_| UdpSocket::bind("127.0.0.1:0").unwrap());
    let quic = [0, 1].map(|at: usize| silent[at].local_addr().unwrap());
    // There is a way to the first, as far as anybody can tell, and no answer: a backlog that is full.
    let full = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::listen(&full, 0).unwrap();
    let fillers: Vec<_> = [0, 0].map(|_| tokio::net::TcpStream::connect(full.local_addr().unwrap())).into();
    let mut held = JoinSet::new();
    fillers.into_iter().for_each(|filler| drop(held.spawn(filler)));
    let locator = pops.locator(quic, [full.local_addr().unwrap(), pops.b.address("edge")], &[]);
    let config = LocateConfig { https: vec![https(&locator)], ..LocateConfig::default() };
    let network = pops.network();
    let (alice, found) = pops.client(&network, config, "alice");
    assert_eq!(landed(&alice).await, quic[1]);
    let race = found.survey(&network).await.race;
    let answered: Vec<_> = race.iter().map(|one| (one.pop.as_str(), one.rtt.is_some())).collect();
    assert_eq!(answered, [("b", true), ("a", false)]);
    let over = loop {
        if let Some(Event::Connected { transport, .. }) = alice.next_event().await {
            break transport;
        }
    };
    assert_eq!(over, Transport::Tls);
    alice.close().await;
}
