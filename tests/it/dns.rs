//! The DNS responder of the real program, asked by `dig` (Debian: `bind9-dnsutils`) and by packets of our own.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::locate::shipped;
use crate::node::{Node, output, serve};

/// An address in Singapore, and one in Brazil, by the country database that ships.
const SG: &str = "202.156.1.0";
const BR: &str = "200.160.2.0";

/// The PoP table that ships, with addresses and endpoints: `198.18.N.1` and `2001:db8:N::1` for the N-th.
fn table() -> String {
    let mut text = String::new();
    let mut number = 0;
    for line in fs::read_to_string(shipped("pops.toml")).unwrap().lines() {
        text.push_str(line);
        text.push('\n');
        let id = line.strip_prefix("id = \"").and_then(|rest| rest.split('"').next());
        if let Some(id) = id {
            number += 1;
            text.push_str(&format!(
                "addresses = [\"198.18.{number}.1\", \"2001:db8:{number}::1\"]\n\
                 endpoints = {{ quic = \"{id}.edge.example:4433\", webtransport = \"https://{id}.edge.example/np\", \
                 websocket = \"wss://{id}.web.example/np\" }}\n"
            ));
        }
    }
    text
}

/// A process that locates and answers DNS.
struct Server {
    child: Child,
    dns: SocketAddr,
    api: SocketAddr,
    ops: SocketAddr,
}

impl Server {
    fn start(dir: &Path, listen: &str, more: &str) -> Self {
        if !dir.join("pops.toml").exists() {
            fs::write(dir.join("pops.toml"), table()).unwrap();
        }
        let text = format!(
            "[locate]\npops = \"pops.toml\"\ndatabases = [{:?}]\n[dns]\nlisten = [{listen:?}]\nzone = \"pop.example\"\n\
             ns = [{{ name = \"ns1\", addresses = [\"192.0.2.53\"] }}, {{ name = \"ns.provider.example.\" }}]\n{more}\n",
            shipped("country.mmdb")
        );
        fs::write(dir.join("dns.toml"), text).unwrap();
        let mut command = serve(dir, &["--role", "locate", "--config", "dns.toml"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
        let mut after = |mark: &str| -> SocketAddr {
            let line = lines.find(|line| line.as_ref().unwrap().contains(mark)).unwrap().unwrap();
            let rest = line.split_once(mark).unwrap().1;
            let at = rest.split([' ', '/']).next().unwrap();
            at.parse().unwrap_or_else(|error| panic!("{error}: {line}"))
        };
        let (api, ops) = (after("locates on http://"), after("health and metrics: http://"));
        let dns = after("the zone pop.example on ");
        Self { child, dns, api, ops }
    }

    /// What dig prints, with `args` behind the server.
    fn dig(&self, args: &[&str]) -> String {
        let mut command = Command::new("dig");
        command.arg(format!("@{}", self.dns.ip())).arg("-p").arg(self.dns.port().to_string());
        let output = output(command.args(["+tries=1", "+timeout=20", "+nocookie"]).args(args));
        let text = [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat();
        assert!(output.status.success(), "{args:?}: {text}");
        assert!(!text.contains("WARNING: Message") && !text.contains("malformed"), "{text}");
        text
    }

    /// Only the answers' data.
    fn short(&self, args: &[&str]) -> Vec<String> {
        self.dig(&[&["+short"], args].concat()).lines().map(str::to_owned).collect()
    }

    /// Sends octets in a datagram; what comes back, and the answer to a good query that was sent behind it, so that what comes first
    /// tells whether the first was answered.
    fn probe(&self, packet: &[u8]) -> Option<Vec<u8>> {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        socket.connect(self.dns).unwrap();
        socket.send(packet).unwrap();
        let good = query(0x600d);
        socket.send(&good).unwrap();
        let mut buffer = [0; 2_048];
        let mut receive = || {
            let length = socket.recv(&mut buffer).unwrap();
            buffer[..length].to_vec()
        };
        let first = receive();
        if first[..2] == good[..2] {
            return None;
        }
        assert_eq!(receive()[..2], good[..2]);
        Some(first)
    }

    fn metric(&self, line: &str) -> f64 {
        let text = get(self.ops, "/metrics").1;
        let text = String::from_utf8(text).unwrap();
        let value =
            text.lines().find_map(|one| one.strip_prefix(line)).unwrap_or_else(|| panic!("{line}: {text}"));
        value.trim().parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `im.pop.example A`, recursion desired.
fn query(id: u16) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    let header = [high, low, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    [&header[..], b"\x02im\x03pop\x07example\x00\x00\x01\x00\x01"].concat()
}

fn request(at: SocketAddr, text: &[u8]) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(text).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let split = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    (String::from_utf8(answer[..split].to_vec()).unwrap(), answer[split + 4..].to_vec())
}

fn get(at: SocketAddr, path: &str) -> (String, Vec<u8>) {
    request(at, format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes())
}

/// The number of a PoP in the table, from 1.
fn pop(id: &str) -> usize {
    let text = fs::read_to_string(shipped("pops.toml")).unwrap();
    let ids = text.lines().filter_map(|line| line.strip_prefix("id = \""));
    1 + ids.map(|rest| rest.split('"').next().unwrap()).position(|one| one == id).unwrap()
}

#[test]
fn dig_finds_the_pop_of_the_clients_network() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "127.0.0.1:0", "");
    let singapore = pop("sg-singapore");
    let subnet = format!("+subnet={SG}/24");
    let said = server.dig(&["im.pop.example", "A", &subnet]);
    assert!(said.contains("status: NOERROR") && said.contains("flags: qr aa rd;"), "{said}");
    assert!(said.contains(&format!("A\t198.18.{singapore}.1")) && said.contains("\t30\tIN"), "{said}");
    // The scope is a prefix of the database: some bits, and not more than those of a network.
    let scope = said.split_once(&format!("CLIENT-SUBNET: {SG}/24/")).unwrap().1.lines().next().unwrap();
    assert!((8..=24).contains(&scope.parse::<u8>().unwrap()), "{said}");
    assert_eq!(server.short(&["im.pop.example", "AAAA", &subnet]), [format!("2001:db8:{singapore}::1")]);
    let brazil = server.short(&["im.pop.example", "A", &format!("+subnet={BR}/24")]);
    assert_eq!(brazil, [format!("198.18.{}.1", pop("br-saopaulo"))]);
    // IPv6, of the RIPE NCC in the Netherlands.
    let said = server.dig(&["im.pop.example", "A", "+subnet=2001:67c:2e8::/48"]);
    assert!(said.contains("CLIENT-SUBNET: 2001:67c:2e8::/48/") && !said.contains("/48/0"), "{said}");

    // Nothing of the client: the resolver's place decides, and the answer is for everybody.
    let unknown = server.short(&["im.pop.example", "A"]);
    for none in ["+subnet=0", "+subnet=0.0.0.0/0", "+subnet=::/0"] {
        let said = server.dig(&["im.pop.example", "A", none]);
        assert!(said.contains("/0/0\n") && said.contains(&unknown[0]), "{said}");
    }
    let said = server.dig(&["im.pop.example", "A"]);
    assert!(said.contains("EDNS: version: 0") && !said.contains("CLIENT-SUBNET"), "{said}");
    // What does not vary, and what is not there.
    for (name, kind) in [("pop.example", "NS"), ("no.pop.example", "A"), ("im.pop.example", "TXT")] {
        let said = server.dig(&[name, kind, &subnet]);
        assert!(said.contains(&format!("CLIENT-SUBNET: {SG}/24/0\n")), "{said}");
    }
}

#[test]
fn dig_reads_services_servers_and_denials() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "[::1]:0", "");
    let subnet = format!("+subnet={SG}/24");
    let services = server.short(&["im.pop.example", "HTTPS", &subnet]);
    assert_eq!(services.len(), 6, "two places at each of three: {services:?}");
    let singapore = pop("sg-singapore");
    assert_eq!(
        services[0],
        format!(
            "1 sg-singapore.edge.example. alpn=\"h3\" no-default-alpn ipv4hint=198.18.{singapore}.1 ipv6hint=2001:db8:{singapore}::1"
        )
    );
    assert!(services[1].starts_with("1 sg-singapore.web.example. ipv4hint="), "{services:?}");
    assert!(services[2].starts_with("2 ") && services[5].starts_with("3 "), "{services:?}");
    let udp = server.short(&["_np._udp.im.pop.example", "SVCB", &subnet]);
    assert!(
        udp.len() == 3 && udp[0].starts_with("1 sg-singapore.edge.example. alpn=\"np/1\" port=4433 "),
        "{udp:?}"
    );
    // Without EDNS there is no room for those of five PoPs.
    let said = server.dig(&["im.pop.example", "HTTPS", "+noedns", "+ignore"]);
    assert!(said.contains("flags: qr aa tc rd;") && said.contains("ANSWER: 0"), "{said}");
    let said = server.dig(&["im.pop.example", "HTTPS", "+noedns"]);
    assert!(said.contains("(TCP)") && said.contains("ANSWER: 10"), "{said}");

    let said = server.dig(&["pop.example", "NS"]);
    assert!(
        said.contains("ns.provider.example.") && said.contains("ns1.pop.example.\t3600\tIN\tA\t192.0.2.53"),
        "{said}"
    );
    let soa = server.short(&["pop.example", "SOA"]);
    assert!(
        soa[0].starts_with("ns1.pop.example. hostmaster.pop.example. ") && soa[0].ends_with(" 60"),
        "{soa:?}"
    );
    assert_eq!(server.short(&["sg-singapore.pop.example", "A"]), [format!("198.18.{singapore}.1")]);
    assert_eq!(server.short(&["im.pop.example", "ANY"]), ["\"RFC8482\" \"\""]);
    for (args, status) in [
        (&["no.pop.example", "A"][..], "NXDOMAIN"),
        (&["im.pop.example", "MX"], "NOERROR"),
        (&["_udp.im.pop.example", "A"], "NOERROR"),
        (&["example.org", "A"], "REFUSED"),
        (&["version.bind", "TXT", "CH"], "REFUSED"),
        (&["im.pop.example", "A", "+edns=1", "+noednsneg"], "BADVERS"),
        (&["im.pop.example", "A", "+opcode=NOTIFY"], "NOTIMP"),
        (&["im.pop.example", "A", "+tcp", "+ednsopt=8:000118000acafe00"], "FORMERR"),
        (&["im.pop.example", "A", "+ednsopt=8:000117000a00ff"], "FORMERR"),
        (&["im.pop.example", "A", "+ednsopt=8:000118180a0000"], "FORMERR"),
        (&["im.pop.example", "A", "+ednsopt=8:000318000a0000"], "FORMERR"),
        (&["im.pop.example", "A", "+ednsopt=8:000118000a0000"], "NOERROR"),
    ] {
        let said = server.dig(args);
        assert!(said.contains(&format!("status: {status}")), "{args:?}: {said}");
        let denied = status == "NXDOMAIN" || said.contains("ANSWER: 0") && status == "NOERROR";
        assert_eq!(denied, said.contains("\t60\tIN\tSOA\t"), "{args:?}: {said}");
    }
    let said = server.dig(&["iM.PoP.eXample", "A"]);
    assert_eq!(said.matches("iM.PoP.eXample.").count(), 2, "{said}");
    let said = server.dig(&["im.pop.example", "A", "+dnssec"]);
    assert!(said.contains("flags: do; udp: 1232") && !said.contains("RRSIG"), "{said}");
}

#[test]
fn packets_that_are_none_cost_nobody_an_answer() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "127.0.0.1:0", "threads = 1");
    let good = query(7);
    let answer = server.probe(&good).unwrap();
    assert_eq!((answer[3] & 0xf, answer[7]), (0, 1));
    // An answer is never answered, nor is what is shorter than a header.
    let mut reply = good.clone();
    reply[2] |= 0x80;
    for silent in [&reply[..], &[], &good[..11]] {
        assert_eq!(server.probe(silent), None, "{silent:02x?}");
    }
    let changed = |at: usize, to: u8| {
        let mut packet = good.clone();
        packet[at] = to;
        packet
    };
    // A pointer to itself, a label that never ends, two questions, records that are not there, too much.
    let long = [&good[..], &[0; 1_400]].concat();
    for packet in
        [changed(12, 0xc0), changed(12, 63), changed(5, 2), changed(11, 1), good[..20].to_vec(), long]
    {
        let answer = server.probe(&packet).unwrap();
        assert_eq!((answer[3] & 0xf, answer[7]), (1, 0), "{packet:02x?}");
    }
    assert!(server.metric("nearport_dns_answers_total{outcome=\"formerr\"}") >= 6.0);
    assert!(server.metric("nearport_dns_ignored_total") >= 3.0);
}

#[test]
fn a_connection_carries_many_queries_and_ends_with_nonsense() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "127.0.0.1:0", "");
    let connect = || {
        let stream = TcpStream::connect(server.dns).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    };
    let framed = |packet: &[u8]| [&u16::try_from(packet.len()).unwrap().to_be_bytes()[..], packet].concat();
    let mut stream = connect();
    // All at once, the last one in two pieces.
    let all: Vec<u8> = (0..100_u16).flat_map(|id| framed(&query(id))).collect();
    stream.write_all(&all[..all.len() - 5]).unwrap();
    stream.write_all(&all[all.len() - 5..]).unwrap();
    for id in 0..100_u16 {
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!((&answer[..2], answer[3] & 0xf), (&id.to_be_bytes()[..], 0));
    }
    let mut reply = query(1);
    reply[2] |= 0x80;
    for nonsense in [framed(&reply), framed(&[1, 2, 3]), vec![0xff, 0xff, 0, 0]] {
        let mut stream = connect();
        stream.write_all(&nonsense).unwrap();
        let mut rest = Vec::new();
        // Reset or ended, in either case without a word.
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.is_empty(), "{nonsense:02x?}");
    }
}

#[test]
fn the_api_answers_dns_over_https() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "127.0.0.1:0", "");
    let encoded = |bytes: &[u8]| {
        const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let bits: Vec<u8> =
            bytes.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)).collect();
        let sextet = |bits: &[u8]| (0..6).fold(0, |sum, at| sum << 1 | bits.get(at).copied().unwrap_or(0));
        bits.chunks(6).map(|bits| char::from(LETTERS[usize::from(sextet(bits))])).collect::<String>()
    };
    let (head, by_get) = get(server.api, &format!("/dns-query?dns={}", encoded(&query(0))));
    let lower = head.to_lowercase();
    assert!(lower.contains("200 ok") && lower.contains("content-type: application/dns-message"), "{head}");
    assert!(lower.contains("cache-control: private, max-age=30"), "{head}");
    assert_eq!((by_get[3] & 0xf, by_get[7]), (0, 1));
    let post = |kind: &str, body: &[u8]| {
        let head = format!(
            "POST /dns-query HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        request(server.api, &[head.as_bytes(), body].concat())
    };
    assert_eq!(post("application/dns-message", &query(0)).1, by_get);
    assert!(post("text/plain", &query(0)).0.contains(" 415 "));
    assert!(post("application/dns-message", &[0; 4_097]).0.contains(" 413 "));
    assert!(post("application/dns-message", &[1, 2]).0.contains(" 400 "));
    for path in ["/dns-query", "/dns-query?dns=", "/dns-query?dns=%", "/dns-query?dns=AAA"] {
        assert!(get(server.api, path).0.contains(" 400 "), "{path}");
    }
    // A malformed query is answered as one, and kept by nobody.
    let (head, body) = post("application/dns-message", &query(0)[..20]);
    assert!(head.to_lowercase().contains("cache-control: no-store") && body[3] & 0xf == 1, "{head}");
}

#[test]
fn a_new_table_of_pops_is_answered_from_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "127.0.0.1:0", "");
    let singapore = pop("sg-singapore");
    let ask = || server.short(&["sg-singapore.pop.example", "A"]);
    assert_eq!(ask(), [format!("198.18.{singapore}.1")]);
    let text = table().replace(&format!("\"198.18.{singapore}.1\""), "\"203.0.113.7\"");
    fs::write(dir.path().join("new.toml"), text).unwrap();
    fs::rename(dir.path().join("new.toml"), dir.path().join("pops.toml")).unwrap();
    kill_process(Pid::from_child(&server.child), Signal::HUP).unwrap();
    assert!((0..2_000).any(|_| ask() == ["203.0.113.7"]), "after SIGHUP");
}

#[test]
fn a_node_answers_too_and_the_address_goes_over_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let listen = format!("dns.listen=['{free}']");
    let ns = "dns.ns=[{name='ns1',addresses=['192.0.2.53']}]";
    let args = ["--set", &listen, "--set", "dns.zone=pop.example", "--set", ns];
    let old = Node::start(dir.path(), &args);
    let ask = || {
        let mut command = Command::new("dig");
        let port = free.port().to_string();
        let args = ["@127.0.0.1", "-p", &port, "+short", "+tries=1", "+timeout=1", "im.pop.example"];
        String::from_utf8(output(command.args(args)).stdout).unwrap()
    };
    // Its own address, for want of a table.
    assert_eq!(ask(), "127.0.0.1\n");
    let mut new =
        serve(dir.path(), &[&["--take-over"], &args[..]].concat()).stdout(Stdio::piped()).spawn().unwrap();
    let mut greeting = String::new();
    BufReader::new(new.stdout.as_mut().unwrap()).read_line(&mut greeting).unwrap();
    assert!(greeting.contains("listens on"), "{greeting}");
    assert!(old.wait().success());
    assert!((0..200).any(|_| ask() == "127.0.0.1\n"), "bound within a tick");
    new.kill().unwrap();
    new.wait().unwrap();
}

#[test]
fn what_is_no_zone_is_said_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let listen = format!("dns.listen=['{}']", taken.local_addr().unwrap());
    let zone = ["--set", "dns.zone=pop.example"];
    let ns = ["--set", "dns.ns=[{name='ns1',addresses=['192.0.2.53']}]"];
    for (args, why) in [
        (vec!["--set", "dns.listen=['127.0.0.1:0']"], "it needs dns.zone"),
        (zone.to_vec(), "1 to 8 name servers"),
        ([&zone[..], &["--set", "dns.ns=[{name='ns1'}]"]].concat(), "needs addresses"),
        ([&zone[..], &ns, &["--set", "dns.ttl=5m"]].concat(), "must be 20s to 60s"),
        ([&zone[..], &ns, &["--set", "dns.names=['other.example.']"]].concat(), "not inside the zone"),
        ([&zone[..], &ns, &["--set", &listen]].concat(), "set dns.listen"),
    ] {
        let output = output(serve(dir.path(), &args).args(["--set", "log.level=off"]));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(why), "{args:?}: {said}");
    }
}
