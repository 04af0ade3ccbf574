//! Certificates by ACME on a real node, from a real directory; and what a node does when that one does not behave.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::node::{Node, STUCK, nearport};
use crate::pebble::{HTTP_PORT, Setting, TLS_PORT};
use crate::raw::{self, Raw, client_tls};

const NAMES: [&str; 2] = ["chat.nearport.test", "eu.chat.nearport.test"];

/// Waits until `done` gives something. Between two looks others may work.
fn until<T>(dir: &Path, what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let stuck = Instant::now() + STUCK;
    while Instant::now() < stuck {
        if let Some(done) = done() {
            return done;
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    panic!("stuck: {what}\n{}", fs::read_to_string(dir.join("serve.log")).unwrap())
}

/// The value of a metric, if it is there.
fn metric(node: &Node, name: &str) -> Option<f64> {
    let (_, text) = node.get("/metrics");
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.map(|value| value.parse().unwrap())
}

fn orders(node: &Node, outcome: &str) -> f64 {
    metric(node, &format!("nearport_acme_orders_total{{outcome=\"{outcome}\"}}")).unwrap_or(0.0)
}

fn ordered(dir: &Path, node: &Node, outcome: &str, count: f64) {
    until(dir, &format!("{count} orders {outcome}"), || (orders(node, outcome) >= count).then_some(()));
}

/// The first line of the node's log with `text`, with its fields.
fn log_line(dir: &Path, text: &str) -> serde_json::Value {
    let log = fs::read_to_string(dir.join("serve.log")).unwrap();
    let line = log.lines().find(|line| line.contains(text));
    let line = line.unwrap_or_else(|| panic!("{text:?} is not in the log:\n{log}"));
    serde_json::from_str(line).unwrap()
}

/// Settings of a node that gets its certificate for `names` from `directory`.
fn settings(directory: &str, ca: &Path, http: SocketAddr, names: &[&str]) -> Vec<String> {
    let names = serde_json::to_string(names).unwrap();
    let pairs = [
        ("acme.directory", directory.to_owned()),
        ("acme.ca", ca.display().to_string()),
        ("acme.names", names),
        ("acme.email", "ops@nearport.test".to_owned()),
        ("acme.http_listen", http.to_string()),
        ("tls.poll", "100ms".to_owned()),
    ];
    let set = |(key, value): (&str, String)| ["--set".to_owned(), format!("{key}={value}")];
    let backend = ["--backend".to_owned(), "echo".to_owned()];
    backend.into_iter().chain(pairs.into_iter().flat_map(set)).collect()
}

fn start(dir: &Path, settings: &[String]) -> Node {
    Node::start(dir, &settings.iter().map(String::as_str).collect::<Vec<_>>())
}

fn files(dir: &Path) -> (PathBuf, PathBuf) {
    let folder = fs::read_dir(dir.join("data/acme")).unwrap().next().unwrap().unwrap().path();
    (folder.join("account.json"), folder.join("certificate.pem"))
}

/// A client socket that trusts `root` alone.
fn endpoint(root: &CertificateDer<'static>) -> quinn::Endpoint {
    let mut tls = client_tls(root.clone());
    tls.alpn_protocols = vec![nearport_wire::ALPN.to_vec()];
    raw::endpoint(tls)
}

/// A session over QUIC of a client that trusts `root` alone and wants to reach `name`; and the certificate it saw.
async fn session(node: &Node, name: &str, root: &CertificateDer<'static>) -> (Raw, Vec<u8>) {
    let endpoint = endpoint(root);
    let connection = endpoint.connect(node.edge, name).unwrap().await.unwrap();
    let seen = connection.peer_identity().unwrap().downcast::<Vec<CertificateDer<'static>>>().unwrap();
    assert_eq!(seen.len(), 2, "the directory's intermediate is in the chain");
    let mut raw = Raw::over(connection).await;
    raw.hello("alice").await;
    (raw, seen[0].to_vec())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_gets_its_certificate_when_the_directory_can_be_reached_and_keeps_it() {
    let dir = tempfile::tempdir().unwrap();
    let setting = Setting::new(dir.path(), 90 * 86_400);
    let http = SocketAddr::from((setting.address, HTTP_PORT));
    let settings = settings(&setting.directory(), &setting.ca(), http, &NAMES);

    // No directory yet: the node serves all the same, with the development CA's certificate.
    let node = start(dir.path(), &settings);
    ordered(dir.path(), &node, "unreachable", 1.0);
    let failed = log_line(dir.path(), "acme order failed");
    assert!(failed["error"].as_str().unwrap().contains("refused"), "{failed}");
    assert!(failed["hint"].as_str().unwrap().contains("acme.ca"), "{failed}");
    let dev = CertificateDer::from_pem_file(dir.path().join("certs/dev/ca.pem")).unwrap();
    let served = endpoint(&dev).connect(node.edge, "localhost").unwrap().await;
    assert!(served.is_ok(), "{served:?}");

    let pebble = setting.start(false);
    node.signal(Signal::HUP);
    ordered(dir.path(), &node, "issued", 1.0);
    let root = setting.root();
    let mut first = Vec::new();
    for name in NAMES {
        let (mut raw, certificate) = session(&node, name, &root).await;
        raw.echo(1).await;
        first = certificate;
    }
    let (account, certificate) = files(dir.path());
    for private in [&account, &certificate] {
        assert_eq!(fs::metadata(private).unwrap().permissions().mode() & 0o777, 0o600, "{private:?}");
    }
    let log = fs::read_to_string(dir.path().join("serve.log")).unwrap();
    assert!(!log.contains("PRIVATE KEY") && !log.contains("key_pkcs8"), "{log}");
    let doctor = node.nearport(&[
        "doctor",
        "--set",
        &format!("acme.directory={}", setting.directory()),
        "--set",
        &format!("acme.names={}", serde_json::to_string(&NAMES).unwrap()),
    ]);
    let doctor = String::from_utf8(doctor.stdout).unwrap();
    assert!(doctor.contains("acme (chat.nearport.test) ends in 89 days"), "{doctor}");
    node.kill();

    // The stored one serves after a restart, without a new order.
    let node = start(dir.path(), &settings);
    let (_raw, certificate_again) = session(&node, NAMES[0], &root).await;
    assert_eq!(certificate_again, first);
    let next = until(dir.path(), "a next order", || metric(&node, "nearport_acme_next_order_seconds"));
    let day = 86_400.0;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    assert!(next - now > 59.0 * day && next - now < 65.0 * day, "in {} days", (next - now) / day);
    let expiry = metric(&node, "nearport_tls_certificate_expiry_seconds{name=\"acme\"}").unwrap();
    assert!(expiry - now > 89.0 * day && expiry - now < 90.0 * day);

    // The directory has forgotten everybody, and the certificate is lost: a new account, and a new certificate.
    pebble.stop();
    let _pebble = setting.start(false);
    fs::remove_file(&certificate).unwrap();
    node.signal(Signal::HUP);
    ordered(dir.path(), &node, "issued", 1.0);
    log_line(dir.path(), "registering again");
    let (mut raw, _) = session(&node, NAMES[0], &setting.root()).await;
    raw.echo(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_replaces_the_certificate_under_live_sessions() {
    let dir = tempfile::tempdir().unwrap();
    let setting = Setting::new(dir.path(), 15);
    let _pebble = setting.start(true);
    let http = SocketAddr::from((setting.address, HTTP_PORT));
    let node = start(dir.path(), &settings(&setting.directory(), &setting.ca(), http, &NAMES));
    ordered(dir.path(), &node, "issued", 1.0);
    let root = setting.root();
    let (mut before, first) = session(&node, NAMES[0], &root).await;
    before.echo(1).await;
    let end = X509Certificate::from_der(&first).unwrap().1.validity().not_after.timestamp();
    let expiry = || metric(&node, "nearport_tls_certificate_expiry_seconds{name=\"acme\"}").unwrap();
    let end = end as f64;
    assert_eq!(expiry(), end);

    // After two thirds of its 15 s.
    ordered(dir.path(), &node, "issued", 2.0);
    assert!(until(dir.path(), "a later end", || Some(expiry()).filter(|at| *at > end)) <= end + 15.0);
    let (mut after, second) = session(&node, NAMES[0], &root).await;
    assert_ne!(second, first);
    after.echo(1).await;
    before.echo(2).await;
    assert_eq!(node.get("/readyz").0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_on_the_tcp_port_proves_a_name_too() {
    let dir = tempfile::tempdir().unwrap();
    let setting = Setting::new(dir.path(), 90 * 86_400);
    let _pebble = setting.start(false);
    // Nothing listens for the other kind of proof: there is no such address here.
    let http = SocketAddr::from(([192, 0, 2, 1], HTTP_PORT));
    let mut settings = settings(&setting.directory(), &setting.ca(), http, &NAMES);
    let edge = format!("edge.listen={}:{TLS_PORT}", setting.address);
    settings.extend(["--set", "acme.challenge=tls-alpn-01", "--set", &edge].map(str::to_owned));
    let node = start(dir.path(), &settings);
    ordered(dir.path(), &node, "issued", 1.0);
    let root = setting.root();
    for name in NAMES {
        let (mut raw, _) = session(&node, name, &root).await;
        raw.echo(1).await;
    }
}

#[test]
fn a_proof_that_the_directory_does_not_find_is_told_with_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let setting = Setting::new(dir.path(), 86_400);
    let _pebble = setting.start(false);
    // The directory comes to another port.
    let http = SocketAddr::from((setting.address, HTTP_PORT + 1));
    let node = start(dir.path(), &settings(&setting.directory(), &setting.ca(), http, &NAMES[..1]));
    ordered(dir.path(), &node, "unproven", 1.0);
    let failed = log_line(dir.path(), "acme order failed");
    let error = failed["error"].as_str().unwrap();
    assert!(error.contains("chat.nearport.test: http-01 failed") && error.contains("refused"), "{failed}");
    assert!(failed["hint"].as_str().unwrap().contains("port 80 at acme.http_listen"), "{failed}");
    assert_eq!(orders(&node, "issued"), 0.0);
    assert_eq!(node.get("/readyz").0, 200);
    // The port is open for the time of an order alone.
    assert!(std::net::TcpStream::connect(http).is_err());
}

/// An HTTPS server that says one thing to every request of a kind: no directory, for what a good one does not say.
struct Says {
    addr: SocketAddr,
    ca: PathBuf,
}

impl Says {
    fn start(dir: &Path, answer: impl Fn(&str, SocketAddr) -> String + Send + 'static) -> Self {
        let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let ca = dir.join("says.pem");
        fs::write(&ca, own.cert.pem()).unwrap();
        let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config =
            config.with_no_client_auth().with_single_cert(vec![own.cert.der().clone()], key).unwrap();
        let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
        let addr = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let connection = ServerConnection::new(config.clone()).unwrap();
                let mut stream = BufReader::new(StreamOwned::new(connection, stream));
                // A client that does not trust us ends here.
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") && stream.read_line(&mut head).is_ok_and(|n| n > 0) {}
                let length =
                    head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
                let mut body = vec![0; length.unwrap_or(0)];
                let _ = stream.read_exact(&mut body);
                let stream = stream.get_mut();
                let _ = stream.write_all(answer(&head, addr).as_bytes());
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        });
        Self { addr, ca }
    }

    fn settings(&self) -> Vec<String> {
        settings(
            &format!("https://{}/dir", self.addr),
            &self.ca,
            SocketAddr::from(([127, 0, 0, 1], 0)),
            &NAMES,
        )
    }
}

fn http(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

fn directory(at: SocketAddr) -> String {
    let url = |name: &str| format!("https://{at}/{name}");
    let json = serde_json::json!({
        "newNonce": url("nonce"), "newAccount": url("account"), "newOrder": url("order"),
        "revokeCert": url("revoke"), "keyChange": url("key"),
    });
    http("200 OK", "content-type: application/json\r\n", &json.to_string())
}

#[test]
fn a_directory_that_asks_for_patience_gets_it() {
    let dir = tempfile::tempdir().unwrap();
    let says = Says::start(dir.path(), |head, addr| match head.split(' ').next() {
        Some("GET") => directory(addr),
        Some("HEAD") => "HTTP/1.1 200 OK\r\nreplay-nonce: bm9uY2U\r\nconnection: close\r\n\r\n".to_owned(),
        _ => http(
            "429 Too Many Requests",
            "retry-after: 7200\r\ncontent-type: application/problem+json\r\n",
            r#"{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many new accounts","status":429}"#,
        ),
    });
    let node = start(dir.path(), &says.settings());
    ordered(dir.path(), &node, "rate_limited", 1.0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let next = until(dir.path(), "a next order", || {
        metric(&node, "nearport_acme_next_order_seconds").filter(|at| *at > now)
    });
    assert!(next - now > 7_100.0 && next - now < 7_300.0, "in {} s", next - now);
    let failed = log_line(dir.path(), "acme order failed");
    assert!(failed["error"].as_str().unwrap().contains("too many new accounts"), "{failed}");
    assert_eq!(failed["retry_in"], "2h", "{failed}");
}

#[test]
fn a_node_that_drains_orders_nothing_until_it_stays() {
    let dir = tempfile::tempdir().unwrap();
    let says = Says::start(dir.path(), |_, _| http("200 OK", "content-type: text/html\r\n", "no"));
    let node = start(dir.path(), &says.settings());
    ordered(dir.path(), &node, "unreachable", 1.0);
    assert!(nearport(dir.path(), &["drain"]).status.success());
    let log = || fs::read_to_string(dir.path().join("serve.log")).unwrap();
    let said = |text: &str| until(dir.path(), text, || log().contains(text).then_some(()));
    said("no acme orders while the node leaves");
    // Whoever asks for an order now gets it afterwards.
    node.signal(Signal::HUP);
    said("an order is placed now if one is due");
    assert_eq!(orders(&node, "unreachable"), 1.0);
    assert!(nearport(dir.path(), &["drain", "--undo"]).status.success());
    ordered(dir.path(), &node, "unreachable", 2.0);
    assert_eq!(log().matches("acme order begins").count(), 2);
}

#[test]
fn answers_that_make_no_sense_are_told_and_harm_nothing() {
    let page = http("200 OK", "content-type: text/html\r\n", "<html>hello</html>");
    let endless = http("200 OK", "", &"x".repeat(1 << 20));
    let cases = [("JSON", page), ("length limit exceeded", endless), ("connection closed", String::new())];
    for (said, answer) in cases {
        let dir = tempfile::tempdir().unwrap();
        let says = Says::start(dir.path(), move |_, _| answer.clone());
        let node = start(dir.path(), &says.settings());
        ordered(dir.path(), &node, "unreachable", 1.0);
        let failed = log_line(dir.path(), "acme order failed");
        assert!(failed["error"].as_str().unwrap().contains(said), "{said}: {failed}");
        assert_eq!(node.get("/readyz").0, 200);
    }
}

#[test]
fn a_directory_that_is_not_trusted_gets_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let says = Says::start(dir.path(), |_, addr| directory(addr));
    let other = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    fs::write(&says.ca, other.cert.pem()).unwrap();
    let node = start(dir.path(), &says.settings());
    ordered(dir.path(), &node, "unreachable", 1.0);
    let failed = log_line(dir.path(), "acme order failed");
    assert!(failed["error"].as_str().unwrap().contains("invalid peer certificate"), "{failed}");
    assert!(!dir.path().join("data/acme").exists(), "no account without a directory");
}

#[test]
fn settings_that_no_directory_can_fulfil_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let directory = "acme.directory=https://acme.test/dir";
    for (settings, said) in [
        (&["acme.names=['a.test']"][..], "`acme.names`: they need acme.directory"),
        (&[directory], "`acme.names`: must be 1 to 100 names"),
        (&[directory, "acme.names=['*.a.test']"], "wildcards need a DNS challenge"),
        (&[directory, "acme.names=['192.0.2.1']"], "addresses are not supported"),
        (&[directory, "acme.names=['localhost']"], "not the full name of a host"),
        (&[directory, "acme.names=['a b.test']"], "not the full name of a host"),
        (&["acme.directory=http://acme.test/dir", "acme.names=['a.test']"], "must begin with https://"),
        (&[directory, "acme.names=['a.test']", "acme.email=ops"], "not a mail address"),
        (&["acme.challenge=dns-01"], "acme.challenge"),
    ] {
        let args = settings.iter().flat_map(|setting| ["--set", setting]);
        let args: Vec<_> = ["config", "check"].into_iter().chain(args).collect();
        let refused = nearport(dir.path(), &args);
        let stderr = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(78), "{settings:?}: {stderr}");
        assert!(stderr.contains(said), "{settings:?}: {stderr}");
    }
}
