//! What a step of the chain brings: PoPs, best first, and what belongs to them. Pure: from text and records to candidates.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use nearport_geo::signed::{Map, MapPop};
use serde::{Deserialize, Serialize};

use super::config::Server;
use crate::network::{Edge, Way};
use crate::transport::Transport;

/// Longest answer over HTTP, in octets.
pub(crate) const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Candidates of an answer that count; the service names 3 or 5.
pub(crate) const CANDIDATES_MAX: usize = 8;

/// PoPs to measure that count; the service names 2.
const PROBES_MAX: usize = 4;

/// Addresses of a PoP that count: one of each family is tried.
pub(crate) const ADDRESSES_MAX: usize = 8;

/// Longest name of a PoP, and longest token, in octets.
const NAME_BYTES_MAX: usize = 253;
const TOKEN_BYTES_MAX: usize = 256;

/// For how long an answer may say that it is good, in seconds.
const TTL_S_MIN: u64 = 10;
const TTL_S_MAX: u64 = 86_400;

/// Where a transport of a PoP listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// A name or an address; its certificate has it.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Of a URL.
    pub(crate) path: Option<String>,
}

/// A PoP that may take the session. Kept as the service writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "SaidPop", try_from = "SaidPop")]
pub(crate) struct Candidate {
    /// Its name; of a record the target, of a list the address.
    pub(crate) pop: String,
    pub(crate) endpoints: BTreeMap<Transport, Endpoint>,
    /// Of the names in its endpoints; nothing has to be resolved with them.
    pub(crate) addresses: Vec<IpAddr>,
}

/// An answer, whoever gave it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// Best first, at least one.
    pub(crate) candidates: Vec<Candidate>,
    /// To be measured in the background.
    #[serde(default)]
    pub(crate) probe: Vec<Candidate>,
    pub(crate) ttl_s: u64,
    #[serde(default)]
    pub(crate) country: Option<String>,
    /// To report with. Not kept: it is good for minutes.
    #[serde(skip)]
    pub(crate) token: Option<String>,
}

#[derive(Deserialize)]
struct Said {
    candidates: Vec<SaidPop>,
    #[serde(default)]
    probe: Vec<SaidPop>,
    ttl_s: u64,
    #[serde(default)]
    country: Option<String>,
    #[serde(default)]
    token: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct SaidPop {
    pop: String,
    endpoints: BTreeMap<String, serde_json::Value>,
    #[serde(default)]
    addresses: Vec<IpAddr>,
}

impl Answer {
    /// Reads the body of `GET /v1/locate`. Transports and fields that are not known are ignored; PoPs without any that is are not
    /// candidates.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, String> {
        if body.len() > ANSWER_BYTES_MAX {
            return Err(format!("the answer is longer than {ANSWER_BYTES_MAX} bytes"));
        }
        let said: Said =
            serde_json::from_slice(body).map_err(|error| format!("the answer is malformed: {error}"))?;
        let pops = |pops: Vec<SaidPop>, most| pops.into_iter().filter_map(SaidPop::read).take(most).collect();
        let answer = Self {
            candidates: pops(said.candidates, CANDIDATES_MAX),
            probe: pops(said.probe, PROBES_MAX),
            ttl_s: said.ttl_s.clamp(TTL_S_MIN, TTL_S_MAX),
            country: said.country.filter(|country| country.len() == 2),
            token: said.token.filter(|token| token.len() <= TOKEN_BYTES_MAX),
        };
        answer.some("the answer names no PoP that can be used")
    }

    /// The candidates of a signed map for a client in `country`.
    ///
    /// # Errors
    /// It has none that can be used.
    pub(crate) fn of_map(map: &Map, country: Option<&str>) -> Result<Self, String> {
        let candidates = map.candidates(country).filter_map(Candidate::of_map).take(CANDIDATES_MAX).collect();
        // Until the service can be asked again.
        let answer = Self { candidates, ttl_s: 60, ..Self::default() };
        answer.some("the map names no PoP that can be used")
    }

    /// The candidates of a list that came with the application.
    ///
    /// # Errors
    /// It is empty.
    pub(crate) fn of_list(list: &[Server]) -> Result<Self, String> {
        let candidates = list.iter().map(|server| Candidate::at(&server.name(), server.address)).collect();
        let answer = Self { candidates, ttl_s: 60, ..Self::default() };
        answer.some("no list came with the application")
    }

    /// What records say, in the order of their priorities.
    ///
    /// # Errors
    /// `none`, if nothing is left.
    pub(crate) fn of_records(candidates: Vec<Candidate>, ttl_s: u64, none: &str) -> Result<Self, String> {
        let candidates = candidates.into_iter().take(CANDIDATES_MAX).collect();
        let answer = Self { candidates, ttl_s: ttl_s.clamp(TTL_S_MIN, TTL_S_MAX), ..Self::default() };
        answer.some(none)
    }

    fn some(mut self, none: &str) -> Result<Self, String> {
        let mut seen = Vec::new();
        self.candidates.retain(|candidate| {
            let new = !seen.contains(&candidate.pop);
            seen.push(candidate.pop.clone());
            new
        });
        if self.candidates.is_empty() { Err(none.to_owned()) } else { Ok(self) }
    }
}

impl SaidPop {
    fn read(self) -> Option<Candidate> {
        let texts = self.endpoints.iter().filter_map(|(name, at)| Some((name.as_str(), at.as_str()?)));
        Candidate::new(&self.pop, texts, self.addresses)
    }
}

impl From<Candidate> for SaidPop {
    fn from(candidate: Candidate) -> Self {
        let endpoints = candidate.endpoints.into_iter();
        let endpoints =
            endpoints.map(|(transport, at)| (name_of(transport).to_owned(), at.to_string().into()));
        Self { pop: candidate.pop, endpoints: endpoints.collect(), addresses: candidate.addresses }
    }
}

impl TryFrom<SaidPop> for Candidate {
    type Error = &'static str;

    fn try_from(said: SaidPop) -> Result<Self, Self::Error> {
        said.read().ok_or("a pop without an endpoint")
    }
}

impl Candidate {
    fn new<'a>(
        pop: &str,
        endpoints: impl Iterator<Item = (&'a str, &'a str)>,
        mut addresses: Vec<IpAddr>,
    ) -> Option<Self> {
        let endpoints: BTreeMap<_, _> =
            endpoints.filter_map(|(name, at)| Some((transport(name)?, Endpoint::parse(at)?))).collect();
        addresses.truncate(ADDRESSES_MAX);
        let good = !endpoints.is_empty() && (1..=NAME_BYTES_MAX).contains(&pop.len());
        good.then(|| Self { pop: pop.to_owned(), endpoints, addresses })
    }

    fn of_map(pop: &MapPop) -> Option<Self> {
        let endpoints = pop.endpoints.iter().map(|(name, at)| (name.as_str(), at.as_str()));
        Self::new(&pop.id, endpoints, pop.addresses.clone())
    }

    /// A PoP of which an address is known and nothing else: all its transports are there.
    pub(crate) fn at(name: &str, address: SocketAddr) -> Self {
        let host = Endpoint { host: name.to_owned(), port: address.port(), path: None };
        let endpoints = Transport::ALL.into_iter().map(|transport| (transport, host.clone())).collect();
        Self { pop: address.to_string(), endpoints, addresses: vec![address.ip()] }
    }

    /// Whether one of its edges has this address.
    pub(crate) fn is_at(&self, address: SocketAddr) -> bool {
        self.edges().iter().any(|edge| edge.address == address)
    }

    /// The name to look up, if no address is known.
    pub(crate) fn unresolved(&self) -> Option<(&str, u16)> {
        let first = self.first()?;
        let known = !self.addresses.is_empty() || first.host.parse::<IpAddr>().is_ok();
        (!known).then_some((first.host.as_str(), first.port))
    }

    /// What is looked at where one endpoint has to stand for all: QUIC's.
    fn first(&self) -> Option<&Endpoint> {
        self.endpoints.get(&Transport::Quic).or_else(|| self.endpoints.values().next())
    }

    /// How it is dialled: one edge for each address family, `ADDRESSES_MAX` addresses or none.
    pub(crate) fn edges(&self) -> Vec<Edge> {
        let Some(first) = self.first() else { return Vec::new() };
        let literal = first.host.parse::<IpAddr>().ok();
        let addresses = || literal.into_iter().chain(self.addresses.iter().copied());
        let families = [addresses().find(IpAddr::is_ipv4), addresses().find(IpAddr::is_ipv6)];
        let ways: BTreeMap<_, _> = self
            .endpoints
            .iter()
            .map(|(transport, at)| {
                let way = Way {
                    port: at.port,
                    name: Arc::from(at.host.as_str()),
                    path: at.path.as_deref().map(Arc::from),
                };
                (*transport, way)
            })
            .collect();
        let (name, ways) = (Arc::<str>::from(first.host.as_str()), Arc::new(ways));
        let edge = |ip: IpAddr| Edge {
            address: SocketAddr::new(ip, first.port),
            name: Arc::clone(&name),
            path: None,
            ways: Some(Arc::clone(&ways)),
        };
        families.into_iter().flatten().map(edge).collect()
    }
}

impl Endpoint {
    /// `HOST:PORT`, or a URL of https or wss whose port may be left out.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let rest = ["https://", "wss://"].iter().find_map(|scheme| text.strip_prefix(scheme));
        let (authority, path) = match rest {
            Some(rest) => match rest.find('/') {
                Some(at) => (&rest[..at], Some(rest[at..].to_owned())),
                None => (rest, None),
            },
            None => (text, None),
        };
        // A bracket behind the last colon belongs to an IPv6 address without a port.
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
            _ => (authority, rest.map(|_| 443)?),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let named = !host.contains(':') || host.parse::<IpAddr>().is_ok();
        let path = path.filter(|path| path.len() > 1);
        let plain = path.as_deref().unwrap_or_default().chars().all(|c| c.is_ascii_graphic() && c != '"');
        let good = named
            && plain
            && port != 0
            && (1..=NAME_BYTES_MAX).contains(&host.len())
            && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._:".contains(c));
        good.then(|| Self { host: host.to_owned(), port, path })
    }
}

impl fmt::Display for Endpoint {
    /// As [`Endpoint::parse`] reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        let scheme = if self.path.is_some() { "https://" } else { "" };
        write!(
            f,
            "{scheme}{open}{}{close}:{}{}",
            self.host,
            self.port,
            self.path.as_deref().unwrap_or_default()
        )
    }
}

/// A transport by its name in answers and maps.
fn transport(name: &str) -> Option<Transport> {
    Transport::ALL.into_iter().find(|transport| name_of(*transport) == name)
}

fn name_of(transport: Transport) -> &'static str {
    match transport {
        Transport::Quic => "quic",
        Transport::Tls => "tls",
        Transport::WebSocket => "websocket",
        Transport::WebTransport => "webtransport",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_answer_of_the_service_is_read_and_what_is_strange_left_out() {
        let body = br#"{
            "candidates": [
                {"pop": "a", "place": "A", "country": "SG", "later": [1],
                 "endpoints": {"quic": "a.example:4433", "tls": "a.example:443", "websocket": "wss://ws.example/np", "smoke": "x", "fax": 7},
                 "addresses": ["2001:db8::1", "192.0.2.1", "192.0.2.2"]},
                {"pop": "signals", "endpoints": {"smoke": "hill:1"}},
                {"pop": "a", "endpoints": {"quic": "again.example:1"}},
                {"pop": "b", "endpoints": {"quic": "[2001:db8::2]:4433"}}
            ],
            "probe": [{"pop": "c", "endpoints": {"quic": "c.example:1"}, "addresses": []}],
            "ttl_s": 300, "serial": 5, "country": "SG", "token": "t"
        }"#;
        let answer = Answer::parse(body).unwrap();
        let pops: Vec<_> = answer.candidates.iter().map(|candidate| candidate.pop.as_str()).collect();
        assert_eq!(pops, ["a", "b"]);
        assert_eq!(
            (answer.ttl_s, answer.country.as_deref(), answer.token.as_deref()),
            (300, Some("SG"), Some("t"))
        );
        let edges = answer.candidates[0].edges();
        let addresses: Vec<_> = edges.iter().map(|edge| edge.address.to_string()).collect();
        assert_eq!(addresses, ["192.0.2.1:4433", "[2001:db8::1]:4433"]);
        let at = |transport| edges[0].at(transport).map(|edge| (edge.address.port(), edge.name.to_string()));
        assert_eq!(at(Transport::Tls), Some((443, "a.example".to_owned())));
        assert_eq!(at(Transport::WebSocket), Some((443, "ws.example".to_owned())));
        assert_eq!(at(Transport::WebTransport), None, "it does not offer it");
        assert_eq!(answer.candidates[1].edges()[0].address, "[2001:db8::2]:4433".parse().unwrap());
        assert_eq!(answer.candidates[1].unresolved(), None);
        assert_eq!(answer.probe[0].unresolved(), Some(("c.example", 1)));
        assert!(answer.probe[0].edges().is_empty());
        // Kept and read again, all but the token.
        let kept = serde_json::to_string(&answer).unwrap();
        let read: Answer = serde_json::from_str(&kept).unwrap();
        assert_eq!(read, Answer { token: None, ..answer });
    }

    #[test]
    fn answers_that_lead_nowhere_are_refused() {
        for body in [
            "",
            "[]",
            "{}",
            r#"{"candidates":[],"ttl_s":1}"#,
            r#"{"candidates":[{"pop":"a","endpoints":{}}],"ttl_s":1}"#,
        ] {
            assert!(Answer::parse(body.as_bytes()).is_err(), "{body}");
        }
        assert!(Answer::parse(&vec![b' '; ANSWER_BYTES_MAX + 1]).unwrap_err().contains("longer"));
    }

    #[test]
    fn endpoints_are_hosts_and_ports_or_urls() {
        let read = |text| Endpoint::parse(text).map(|at| (at.host, at.port, at.path));
        let host =
            |host: &str, port, path: Option<&str>| Some((host.to_owned(), port, path.map(str::to_owned)));
        assert_eq!(read("a.example:4433"), host("a.example", 4433, None));
        assert_eq!(read("[2001:db8::1]:1"), host("2001:db8::1", 1, None));
        assert_eq!(read("wss://a.example/np"), host("a.example", 443, Some("/np")));
        assert_eq!(read("https://[2001:db8::1]/np"), host("2001:db8::1", 443, Some("/np")));
        assert_eq!(read("https://a:8/"), host("a", 8, None));
        for bad in [
            "",
            "a",
            "a:",
            "a:0",
            "a:70000",
            "a b:1",
            "http://a/",
            "wss://",
            "a:b:1",
            "wss://a/\u{e9}",
            "a\r\n:1",
        ] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_panics(body in proptest::collection::vec(any::<u8>(), 0..300), text in "\\PC{0,60}") {
            let _ = Answer::parse(&body);
            if let Some(at) = Endpoint::parse(&text) {
                prop_assert!(at.port != 0 && !at.host.is_empty());
            }
            let said = format!(r#"{{"candidates":[{{"pop":"a","endpoints":{{"quic":{text:?}}}}}],"ttl_s":9}}"#);
            if let Ok(answer) = Answer::parse(said.as_bytes()) {
                prop_assert!(answer.candidates.len() == 1 && answer.candidates[0].edges().len() <= 2);
            }
        }
    }
}
