//! The addressing service of the real program: beside a node, alone, and on the command line.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::Value;

use crate::node::{Node, nearport, serve};

pub(crate) fn shipped(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("geo").join(file)
}

/// Status and body.
fn ask(addr: SocketAddr, path: &str, headers: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

fn pops(answer: &Value) -> Vec<&str> {
    answer["candidates"].as_array().unwrap().iter().map(|pop| pop["pop"].as_str().unwrap()).collect()
}

fn api(dir: &Path) -> SocketAddr {
    let run: toml::Table = fs::read_to_string(dir.join("data/run.toml")).unwrap().parse().unwrap();
    run["api"].as_str().unwrap().parse().unwrap()
}

#[test]
fn a_single_node_sends_everybody_to_itself() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), &[]);
    let (status, answer) = ask(api(dir.path()), "/v1/locate?explain=1", "");
    assert_eq!((status, pops(&answer)), (200, vec!["here"]), "{answer}");
    let endpoints = &answer["candidates"][0]["endpoints"];
    assert_eq!(endpoints["quic"], node.edge.to_string());
    assert_eq!(endpoints["websocket"], format!("wss://{}/np", node.edge));
    // The key of the map is there for clients, and its private half is nobody else's.
    let key = fs::read_to_string(dir.path().join("data/map-key.pub")).unwrap();
    let key: Vec<u8> = (0..32).map(|at| u8::from_str_radix(&key[2 * at..2 * at + 2], 16).unwrap()).collect();
    let (_, map) = ask(api(dir.path()), "/v1/map", "");
    let map =
        nearport_geo::signed::Map::verify(map.to_string().as_bytes(), &[key.try_into().unwrap()]).unwrap();
    assert_eq!(map.pops[0].endpoints["quic"], node.edge.to_string());
}

/// Asks by TLS for `path`, trusting the development CA of `dir` alone.
fn ask_tls(dir: &Path, addr: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(dir.join("certs/dev/ca.pem")).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let config = rustls::ClientConfig::builder_with_provider(provider.into());
    let config = config.with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let name = addr.ip().into();
    let tls = rustls::ClientConnection::new(config.into(), name).unwrap();
    let mut stream = rustls::StreamOwned::new(tls, TcpStream::connect(addr)?);
    stream.sock.set_read_timeout(Some(Duration::from_secs(20)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    match stream.read_to_string(&mut answer) {
        // The server hangs up without TLS's farewell; the length is in the answer.
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(answer),
        outcome => outcome.map(|_| answer),
    }
}

#[test]
fn the_api_speaks_tls_where_it_is_told_to_with_the_certificates_of_the_node() {
    let dir = tempfile::tempdir().unwrap();
    let _node = Node::start(dir.path(), &["--set", "api.tls=always"]);
    let addr = api(dir.path());
    let answer = ask_tls(dir.path(), addr, "/v1/locate").unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"here\""), "{answer}");
    let mut plain = TcpStream::connect(addr).unwrap();
    plain.write_all(b"GET /v1/locate HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");

    // Alone, beyond loopback: TLS by itself, unless it is told not to, and then it says so.
    for (tls, scheme, warned) in [("auto", "https://", false), ("never", "http://", true)] {
        let dir = tempfile::tempdir().unwrap();
        let (tls, pops) =
            (format!("api.tls={tls}"), format!("locate.pops={}", shipped("pops.toml").display()));
        let mut command = serve(dir.path(), &["--role", "locate", "--set", &tls, "--set", &pops]);
        let log = fs::File::create(dir.path().join("serve.log")).unwrap();
        command.args(["--set", "api.listen=0.0.0.0:0"]).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(line.contains(&format!("locates on {scheme}")), "{line}");
        let log = fs::read_to_string(dir.path().join("serve.log")).unwrap();
        assert_eq!(log.contains("without TLS"), warned, "{log}");
    }
}

#[test]
fn the_address_goes_over_with_the_node() {
    let dir = tempfile::tempdir().unwrap();
    // A port that was free a moment ago: both processes have to ask for the same one.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let listen = format!("api.listen={free}");
    let old = Node::start(dir.path(), &["--set", &listen]);
    let (_, before) = ask(free, "/v1/locate", "");
    let mut new =
        serve(dir.path(), &["--take-over", "--set", &listen]).stdout(Stdio::piped()).spawn().unwrap();
    let mut greeting = String::new();
    BufReader::new(new.stdout.as_mut().unwrap()).read_line(&mut greeting).unwrap();
    assert!(greeting.contains("listens on"), "{greeting}");
    assert!(old.wait().success(), "nobody is connected, so it ends at once");
    // Bound by then, or within a tick: who connects too early is refused and comes again.
    let answer =
        (0..100_000).find_map(|_| TcpStream::connect(free).ok().map(|_| ask(free, "/v1/locate", "")));
    assert_eq!(pops(&answer.unwrap().1), pops(&before));
    new.kill().unwrap();
    new.wait().unwrap();
}

/// A process that only locates, and its address.
struct Locator {
    child: Child,
    addr: SocketAddr,
}

impl Locator {
    fn start(dir: &Path, args: &[&str]) -> Self {
        let mut command = serve(dir, &["--role", "locate"]);
        let mut child = command.args(args).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let addr = line.trim().rsplit_once("http://").unwrap().1.parse().unwrap();
        Self { child, addr }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Locator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_service_alone_reads_its_files_again_and_leaves_when_told() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::copy(shipped("pops.toml"), at("pops.toml")).unwrap();
    let set = |key: &str, value: String| ["--set".to_owned(), format!("{key}={value}")];
    let args = [
        set("locate.pops", "pops.toml".to_owned()),
        set("locate.databases", format!("['{}']", shipped("country.mmdb").display())),
        set("locate.forwarders", "['127.0.0.0/8']".to_owned()),
        // Only SIGHUP makes it look.
        set("locate.poll", "1h".to_owned()),
    ]
    .concat();
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let mut locator = Locator::start(dir.path(), &args);
    let of = |from: &str| ask(locator.addr, "/v1/locate", &format!("x-forwarded-for: {from}\r\n"));
    assert_eq!(pops(&of("202.156.1.1").1)[0], "sg-singapore");
    assert_eq!(pops(&of("193.0.6.139").1).len(), 3);
    assert_eq!(pops(&of("10.0.0.1").1).len(), 5);

    // Endpoints for two: only they are left. A table that makes no sense before it changes nothing.
    let text = fs::read_to_string(at("pops.toml")).unwrap();
    let with = |id: &str, text: &str| {
        let quic = format!("endpoints = {{ quic = \"{id}.example:4433\" }}\n");
        text.replace(&format!("id = \"{id}\"\n"), &format!("id = \"{id}\"\n{quic}"))
    };
    fs::write(at("pops.toml"), text.replace("gb-london", "sg-singapore")).unwrap();
    locator.signal(Signal::HUP);
    let two = with("gb-london", &with("nl-amsterdam", &text));
    assert_ne!(two, text);
    fs::write(at("new.toml"), two).unwrap();
    fs::rename(at("new.toml"), at("pops.toml")).unwrap();
    locator.signal(Signal::HUP);
    let serial = |answer: &Value| answer["serial"].as_u64().unwrap();
    let first = serial(&of("202.156.1.1").1);
    // Each from a network of its own: one alone has its rate.
    let networks = (0..20_000).map(|number| format!("10.{}.{}.1", number / 250, number % 250));
    let found = networks.map(|from| of(&from).1).find(|answer| pops(answer).len() == 2).unwrap();
    let mut found_pops = pops(&found);
    found_pops.sort_unstable();
    assert_eq!(found_pops, ["gb-london", "nl-amsterdam"]);
    assert!(serial(&found) >= first);

    locator.signal(Signal::TERM);
    assert!(locator.child.wait().unwrap().success());
}

/// The same with a body.
fn tell(addr: SocketAddr, path: &str, headers: &str, body: &str) -> u16 {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let length = body.len();
    let head =
        format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n");
    write!(stream, "{head}{headers}\r\n{body}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn what_clients_measured_survives_a_restart_and_a_damaged_file_starts_anew() {
    let dir = tempfile::tempdir().unwrap();
    let args = [
        "--set".to_owned(),
        format!("locate.pops={}", shipped("pops.toml").display()),
        "--set".to_owned(),
        format!("locate.databases=['{}']", shipped("country.mmdb").display()),
        "--set".to_owned(),
        "locate.forwarders=['127.0.0.0/8']".to_owned(),
    ];
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let from = |network: &str| format!("x-forwarded-for: {network}\r\n");
    // Whether Singapore is sent to Singapore first, and the token.
    let home = |locator: &Locator, network: &str| {
        let answer = ask(locator.addr, "/v1/locate", &from(network)).1;
        (pops(&answer).first() == Some(&"sg-singapore"), answer["token"].as_str().unwrap().to_owned())
    };
    let networks = ["202.156.1.1", "202.166.1.1", "118.189.1.1"];
    let mut locator = Locator::start(dir.path(), &args);
    for network in networks {
        let (at_home, token) = home(&locator, network);
        assert!(at_home);
        let rtt = r#"[{"pop": "sg-singapore", "ms": 240}, {"pop": "jp-tokyo", "ms": 70}]"#;
        let body = format!(r#"{{"token": "{token}", "rtt": {rtt}}}"#);
        assert_eq!(tell(locator.addr, "/v1/rtt", &from(network), &body), 204);
    }
    locator.signal(Signal::TERM);
    assert!(locator.child.wait().unwrap().success());
    let kept = dir.path().join("data/voices");
    let octets = fs::read(&kept).unwrap();
    assert!(octets.starts_with(b"nearport voices 1\n"));

    let mut locator = Locator::start(dir.path(), &args);
    assert!(!home(&locator, "165.21.1.1").0, "known from the start");
    locator.signal(Signal::TERM);
    assert!(locator.child.wait().unwrap().success());

    let mut damaged = fs::read(&kept).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(&kept, damaged).unwrap();
    let locator = Locator::start(dir.path(), &args);
    assert!(home(&locator, "165.21.1.1").0, "nothing is known, and it serves");
}

#[test]
fn what_cannot_be_used_is_said_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("broken.mmdb"), &fs::read(shipped("country.mmdb")).unwrap()[..1_000_000])
        .unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("api.listen={}", taken.local_addr().unwrap());
    for (args, why) in [
        (&["--role", "locate"][..], "locate.pops is not set: --role locate needs it"),
        (&["--set", "locate.databases=['broken.mmdb']"], "broken.mmdb: "),
        (&["--set", "locate.databases=['none.mmdb']"], "none.mmdb: No such file"),
        (&["--set", "locate.pops=none.toml"], "none.toml: No such file"),
        (&["--set", &listen], "set api.listen"),
        (&["--set", "locate.ttl=1s"], "must be 10s to 1d"),
    ] {
        let output = crate::node::output(serve(dir.path(), args).args(["--set", "log.level=off"]));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(why), "{args:?}: {said}");
    }
}

#[test]
fn the_command_line_explains() {
    let dir = tempfile::tempdir().unwrap();
    let databases = format!("locate.databases=['{}']", shipped("country.mmdb").display());
    let output = nearport(dir.path(), &["locate", "--ip", "202.156.1.1", "--set", &databases]);
    let said = String::from_utf8(output.stdout).unwrap();
    for part in
        ["202.156.1.1", "country SG", "1. sg-singapore (Singapore): expected", "light allows", "probe "]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    let output = nearport(dir.path(), &["locate", "--ip", "10.0.0.1", "--set", &databases]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("nothing is known of the address") && said.contains("5. "), "{said}");
    assert_eq!(nearport(dir.path(), &["locate", "--ip", "nonsense"]).status.code(), Some(2));
}
