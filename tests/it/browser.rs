//! WebTransport by a browser: headless Chromium runs the page in `tests/browser/` against the edge, and posts what happened.

use std::io;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest;
use nearport_session::ServerLimits;
use nearport_trunk::echo::Echo;
use nearport_wire::close::CloseCode;
use rcgen::{CertificateParams, KeyPair};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::node::STUCK;
use crate::raw::Server;

/// Names that Chromium goes by.
const PROGRAMS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// Longest life of a certificate that a page may name by its hash is 14 days.
const CERTIFICATE_LIFE: Duration = Duration::from_hours(12 * 24);

const PAGE: &str = include_str!("../browser/webtransport.html");
const SCRIPT: &str = include_str!("../browser/webtransport.js");

/// A running browser with all its processes.
struct Browser(Child);

impl Browser {
    /// # Panics
    /// If there is none.
    fn start(profile: &Path, url: &str) -> Self {
        for program in PROGRAMS {
            let started = Command::new(program)
                .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
                .args(["--no-first-run", "--disable-background-networking", "--disable-component-update"])
                .arg(format!("--user-data-dir={}", profile.display()))
                .arg(url)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .process_group(0)
                .spawn();
            match started {
                Ok(child) => return Self(child),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => panic!("{program}: {error}"),
            }
        }
        panic!(
            "this test needs Chromium, which is not installed: `apt-get install chromium`, as .ci/run does \
             (looked for {PROGRAMS:?})"
        );
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let group = Pid::from_raw(i32::try_from(self.0.id()).unwrap()).unwrap();
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.0.wait();
    }
}

/// Serves the page and its script until the page posts its result.
async fn serve_until_result(listener: &TcpListener) -> serde_json::Value {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        if let Some(result) = answer(stream).await {
            return result;
        }
    }
}

/// Answers one request. Gives the body of a POST. A connection that a browser opens ahead of need says nothing.
async fn answer(stream: TcpStream) -> Option<serde_json::Value> {
    let mut stream = BufReader::new(stream);
    let mut request = String::new();
    stream.read_line(&mut request).await.ok()?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().ok()?;
            }
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    let (kind, content) = match request.split(' ').nth(1)?.split('?').next()? {
        "/" => ("text/html", PAGE),
        "/webtransport.js" => ("text/javascript", SCRIPT),
        _ => ("text/plain", ""),
    };
    let response = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{content}",
        content.len()
    );
    stream.get_mut().write_all(response.as_bytes()).await.ok()?;
    stream.get_mut().shutdown().await.ok()?;
    request.starts_with("POST ").then(|| serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn chromium_logs_in_echoes_on_two_lanes_takes_a_datagram_and_learns_why_it_ended() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.not_before = epoch + now.saturating_sub(Duration::from_hours(1));
    params.not_after = epoch + now + CERTIFICATE_LIFE;
    // A page may name P-256 certificates only, which is what this makes.
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let hash = digest::digest(&digest::SHA256, certificate.der());
    let hash: String = hash.as_ref().iter().map(|octet| format!("{octet:02x}")).collect();

    let server = Server::start_certified(&Echo::default(), &certificate, &key, |config| {
        nearport_edge::Config { shards: 2, session: ServerLimits::default(), ..config }
    });
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let url = format!(
        "http://{}/?port={}&hash={hash}",
        listener.local_addr().unwrap(),
        server.edge.local_addr().port()
    );
    let profile = tempfile::tempdir().unwrap();
    let browser = Browser::start(profile.path(), &url);
    let result = tokio::time::timeout(STUCK, serve_until_result(&listener));
    let result = result.await.expect("the page posted nothing: does the browser start here?");
    drop(browser);
    assert_eq!(result["error"], serde_json::Value::Null, "{result}");
    let steps = ["ready", "welcome", "echo", "lane", "datagram", "closed"];
    assert_eq!(result["steps"], serde_json::json!(steps), "{result}");
    assert_eq!(result["closeCode"], serde_json::json!(CloseCode::BYE.0), "{result}");
    assert_eq!(result["reason"], serde_json::json!("client said good-bye"), "{result}");
}
