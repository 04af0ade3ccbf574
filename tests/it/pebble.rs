//! Pebble, the ACME test server of Let's Encrypt (Debian: `pebble`), with a name server of its own.
//!
//! It validates for real: it looks names up, fetches the challenge path or makes the handshake, checks every signature,
//! and signs with a CA that it makes at its start.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::node::STUCK;

/// Where the directory looks for proofs, instead of ports 80 and 443.
pub(crate) const HTTP_PORT: u16 = 5002;
pub(crate) const TLS_PORT: u16 = 5001;

const ACME_PORT: u16 = 14_000;
const MANAGEMENT_PORT: u16 = 15_000;
const DNS_PORT: u16 = 8053;

/// A loopback address that nobody else in this machine's tests has: the directory has to be told ports beforehand, and
/// on an address of its own they cannot collide.
pub(crate) fn own_address() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = std::process::id().wrapping_mul(16).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
    let [_, a, b, c] = number.to_be_bytes();
    Ipv4Addr::new(127, 64 | a & 63, b, c)
}

/// The address of a directory, its certificate, and the names that lead there.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) address: Ipv4Addr,
    dir: PathBuf,
    /// Seconds; what it signs ends after that.
    life_s: u32,
    _dns: Server,
}

/// A directory that runs. Killed when it is dropped; the next one knows nothing of this one's accounts.
#[derive(Debug)]
pub(crate) struct Pebble(Server);

/// A child that is killed with its handle.
#[derive(Debug)]
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Setting {
    /// Every name leads to [`Self::address`].
    pub(crate) fn new(dir: &Path, life_s: u32) -> Self {
        let (address, dir) = (own_address(), dir.join("pebble"));
        fs::create_dir_all(&dir).unwrap();
        let own = rcgen::generate_simple_self_signed([address.to_string()]).unwrap();
        fs::write(dir.join("directory.pem"), own.cert.pem()).unwrap();
        fs::write(dir.join("directory-key.pem"), own.signing_key.serialize_pem()).unwrap();
        let mut dns = Command::new("pebble-challtestsrv");
        for off in ["-http01", "-https01", "-tlsalpn01", "-defaultIPv6"] {
            dns.args([off, ""]);
        }
        dns.args(["-dns01", &format!("{address}:{DNS_PORT}"), "-management", &format!("{address}:8055")]);
        dns.args(["-defaultIPv4", &address.to_string()]);
        let dns = start(&mut dns, address, &[DNS_PORT]);
        Self { address, dir, life_s, _dns: dns }
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.dir.join("directory.pem")
    }

    pub(crate) fn directory(&self) -> String {
        format!("https://{}:{ACME_PORT}/dir", self.address)
    }

    /// `reuse`: whether a name that was proved need not be proved again.
    pub(crate) fn start(&self, reuse: bool) -> Pebble {
        let at = |port: u16| SocketAddr::from((self.address, port)).to_string();
        let config = serde_json::json!({ "pebble": {
            "listenAddress": at(ACME_PORT), "managementListenAddress": at(MANAGEMENT_PORT),
            "certificate": self.ca(), "privateKey": self.dir.join("directory-key.pem"),
            "httpPort": HTTP_PORT, "tlsPort": TLS_PORT, "certificateValidityPeriod": self.life_s,
        }});
        let file = self.dir.join("config.json");
        fs::write(&file, config.to_string()).unwrap();
        let mut command = Command::new("pebble");
        command.arg("-strict").arg("-config").arg(file).args(["-dnsserver", &at(DNS_PORT)]);
        // No dice: neither pauses, nor nonces that are refused although they are good.
        command.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_WFE_NONCEREJECT", "0");
        command.env("PEBBLE_AUTHZREUSE", if reuse { "100" } else { "0" });
        Pebble(start(&mut command, self.address, &[ACME_PORT, MANAGEMENT_PORT]))
    }

    /// The root of what the running directory signs.
    pub(crate) fn root(&self) -> CertificateDer<'static> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.ca()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::from(std::net::IpAddr::from(self.address));
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let stream = TcpStream::connect((self.address, MANAGEMENT_PORT)).unwrap();
        stream.set_read_timeout(Some(STUCK)).unwrap();
        let mut stream = StreamOwned::new(connection, stream);
        write!(stream, "GET /roots/0 HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.address)
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        CertificateDer::from_pem_slice(answer.as_bytes()).unwrap()
    }
}

impl Pebble {
    /// Ends it.
    pub(crate) fn stop(self) {
        drop(self.0);
    }
}

/// Starts a program and waits until it takes connections at all of `ports`: it says so before it is true.
fn start(command: &mut Command, address: Ipv4Addr, ports: &[u16]) -> Server {
    let (mut output, write_end) = std::io::pipe().unwrap();
    command.stdin(Stdio::null()).stdout(write_end.try_clone().unwrap()).stderr(write_end);
    let child = command.spawn().unwrap_or_else(|error| {
        let program = command.get_program();
        panic!("{program:?}: {error}: the ACME tests need Pebble (Debian: apt-get install pebble)")
    });
    // Our copies of the other end go with the command.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut server = Server(child);
    // It writes all the time, and must not meet a full pipe.
    let said = std::thread::spawn(move || {
        let mut said = Vec::new();
        let _ = output.read_to_end(&mut said);
        String::from_utf8_lossy(&said).into_owned()
    });
    let stuck = Instant::now() + STUCK;
    let ready = || ports.iter().all(|port| TcpStream::connect((address, *port)).is_ok());
    while !ready() {
        if Instant::now() > stuck || server.0.try_wait().unwrap().is_some() {
            drop(server);
            panic!("{command:?} does not start: {}", said.join().unwrap());
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    server
}
