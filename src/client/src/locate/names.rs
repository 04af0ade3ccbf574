//! PoPs by DNS: ranked records of a steering name (RFC 9460), and addresses where it has none.
//!
//! Three questions at once: `_np._udp.NAME` and `_np._tcp.NAME` for SVCB (QUIC and TLS), NAME for HTTPS (WebSocket). Records of
//! one target are one PoP, whichever of the three named it first. DNS proves nothing, so the name of the certificate must not be what
//! a forger can choose: targets count at or below the zone that the application names, or else at or below NAME itself.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ProtocolConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::rdata::svcb::{SVCB, SvcParamValue};
use hickory_resolver::proto::rr::{RData, RecordType};

use super::answer::{ADDRESSES_MAX, Answer, Candidate, Endpoint};
use super::config::{LocateConfig, Server};
use crate::network::Network;
use crate::transport::Transport;

/// The path of DNS over HTTPS.
const DOH_PATH: &str = "/dns-query";

/// Time for one packet of a question; the chain bounds the whole.
const QUESTION: Duration = Duration::from_secs(2);

/// Records of one answer that count.
const RECORDS_MAX: usize = 32;

/// One that asks `server` by HTTPS.
///
/// # Errors
/// For people.
pub(crate) fn over_https(network: &Network, server: &Server) -> Result<TokioResolver, String> {
    let protocol = ProtocolConfig::Https { server_name: Arc::from(server.name()), path: Arc::from(DOH_PATH) };
    let mut connection = ConnectionConfig::new(protocol);
    connection.port = server.address.port();
    let server = NameServerConfig::new(server.address.ip(), true, vec![connection]);
    let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
    let mut options = ResolverOpts::default();
    (options.attempts, options.use_hosts_file) = (1, ResolveHosts::Never);
    build(config, options, Some(network))
}

/// One that asks whom the system asks. It reads the system's configuration, so that it is that of the present network.
///
/// # Errors
/// For people; also where the system has no configuration.
pub(crate) fn of_system() -> Result<TokioResolver, String> {
    let (config, options) = hickory_resolver::system_conf::read_system_conf()
        .map_err(|error| format!("the system's configuration: {error}"))?;
    if config.name_servers().is_empty() {
        return Err("the system names no server".to_owned());
    }
    build(config, options, None)
}

fn build(
    config: ResolverConfig,
    mut options: ResolverOpts,
    network: Option<&Network>,
) -> Result<TokioResolver, String> {
    // Made for one lookup.
    (options.cache_size, options.timeout) = (32, QUESTION);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    *builder.options_mut() = options;
    if let Some(network) = network {
        builder = builder.with_tls_config(network.dns_tls());
    }
    builder.build().map_err(|error| error.to_string())
}

/// The PoPs of the first of the configured names that has any.
///
/// # Errors
/// For people: what is wrong with each name.
pub(crate) async fn look_up(resolver: &TokioResolver, config: &LocateConfig) -> Result<Answer, String> {
    let mut failures = Vec::new();
    for name in &config.names {
        match look_up_one(resolver, config, name).await {
            Ok(answer) => return Ok(answer),
            Err(reason) => failures.push(format!("{name}: {reason}")),
        }
    }
    Err(failures.join("; "))
}

async fn look_up_one(resolver: &TokioResolver, config: &LocateConfig, name: &str) -> Result<Answer, String> {
    let absolute = format!("{}.", name.trim_end_matches('.'));
    let (udp_name, tcp_name) = (format!("_np._udp.{absolute}"), format!("_np._tcp.{absolute}"));
    let (udp, tcp, https) = tokio::join!(
        resolver.lookup(udp_name.as_str(), RecordType::SVCB),
        resolver.lookup(tcp_name.as_str(), RecordType::SVCB),
        resolver.lookup(absolute.as_str(), RecordType::HTTPS),
    );
    let zone = config.zone.as_deref().unwrap_or(name);
    let mut found = Found { owner: &absolute, zone, ..Found::default() };
    let sets = [(Kind::Udp, &udp), (Kind::Tcp, &tcp), (Kind::Https, &https)];
    for (kind, lookup) in sets.iter().filter_map(|(kind, lookup)| Some((*kind, lookup.as_ref().ok()?))) {
        found.add(kind, lookup);
    }
    if found.strangers > 0 {
        tracing::debug!(name, strangers = found.strangers, zone, "targets beyond the zone are not believed");
    }
    if !found.candidates.is_empty() {
        return Answer::of_records(found.candidates, found.ttl_s, "no record of use");
    }
    let (v4, v6) = tokio::join!(
        resolver.lookup(absolute.as_str(), RecordType::A),
        resolver.lookup(absolute.as_str(), RecordType::AAAA),
    );
    let mut ttl_s = u64::MAX;
    let mut addresses = Vec::new();
    for record in [&v4, &v6].into_iter().flatten().flat_map(Lookup::answers).take(RECORDS_MAX) {
        let ip = match &record.data {
            RData::A(ip) => IpAddr::from(ip.0),
            RData::AAAA(ip) => IpAddr::from(ip.0),
            _ => continue,
        };
        ttl_s = ttl_s.min(record.ttl.into());
        addresses.push(ip);
    }
    let candidates = addresses
        .into_iter()
        .map(|ip| Candidate::at(name.trim_end_matches('.'), SocketAddr::new(ip, config.port)))
        .collect();
    let strange = match found.strangers {
        0 => String::new(),
        count => format!("; {count} targets beyond {zone} are not believed"),
    };
    let error = udp.err().or_else(|| v4.err()).map(|error| error.to_string()).unwrap_or_default();
    Answer::of_records(candidates, ttl_s, &format!("no records{strange}: {error}"))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Udp,
    Tcp,
    Https,
}

/// What was found so far.
#[derive(Debug, Default)]
struct Found<'a> {
    owner: &'a str,
    zone: &'a str,
    candidates: Vec<Candidate>,
    ttl_s: u64,
    strangers: usize,
}

impl Found<'_> {
    fn add(&mut self, kind: Kind, lookup: &Lookup) {
        let mut records: Vec<(&SVCB, u32)> = lookup
            .answers()
            .iter()
            .filter_map(|record| match (&record.data, kind) {
                (RData::SVCB(svcb), Kind::Udp | Kind::Tcp) => Some((svcb, record.ttl)),
                (RData::HTTPS(https), Kind::Https) => Some((&https.0, record.ttl)),
                _ => None,
            })
            // 0 is an alias; a zone of PoPs has none.
            .filter(|(svcb, _)| svcb.svc_priority > 0)
            .take(RECORDS_MAX)
            .collect();
        records.sort_by_key(|(svcb, _)| svcb.svc_priority);
        for (svcb, ttl_s) in records {
            self.add_one(kind, svcb, ttl_s.into());
        }
    }

    fn add_one(&mut self, kind: Kind, svcb: &SVCB, ttl_s: u64) {
        let target = svcb.target_name.to_ascii();
        let target = if target == "." { self.owner } else { &target };
        let target = target.trim_end_matches('.').to_ascii_lowercase();
        if !is_within(&target, self.zone) {
            self.strangers += 1;
            return;
        }
        let said = Said::read(svcb);
        let host = Endpoint {
            host: target.clone(),
            port: said.port.unwrap_or(if kind == Kind::Https { 443 } else { 4433 }),
            path: None,
        };
        let speaks = |alpn: &str| said.alpn.iter().any(|one| one == alpn);
        let ways = match kind {
            Kind::Udp => vec![(Transport::Quic, speaks("np/1"))],
            Kind::Tcp => vec![(Transport::Tls, speaks("np/1"))],
            // Without a word HTTPS is HTTP/1.1 (RFC 9460 §9.1).
            Kind::Https => vec![
                (Transport::WebTransport, speaks("h3")),
                (Transport::WebSocket, speaks("http/1.1") || !said.no_default),
            ],
        };
        let ways: Vec<_> = ways.into_iter().filter(|(_, is)| *is).map(|(way, _)| way).collect();
        if ways.is_empty() {
            return;
        }
        self.ttl_s = if self.candidates.is_empty() { ttl_s } else { self.ttl_s.min(ttl_s) };
        let at = self.candidates.iter().position(|candidate| candidate.pop == target);
        let at = at.unwrap_or_else(|| {
            let (endpoints, addresses) = (BTreeMap::new(), Vec::new());
            self.candidates.push(Candidate { pop: target, endpoints, addresses });
            self.candidates.len() - 1
        });
        let candidate = &mut self.candidates[at];
        for way in ways {
            candidate.endpoints.entry(way).or_insert_with(|| host.clone());
        }
        if candidate.addresses.is_empty() {
            candidate.addresses = said.hints;
        }
    }
}

/// What a record says of its target.
#[derive(Debug, Default)]
struct Said {
    alpn: Vec<String>,
    no_default: bool,
    port: Option<u16>,
    hints: Vec<IpAddr>,
}

impl Said {
    fn read(svcb: &SVCB) -> Self {
        let mut said = Self::default();
        for (_, value) in &svcb.svc_params {
            match value {
                SvcParamValue::Alpn(alpn) => said.alpn.clone_from(&alpn.0),
                SvcParamValue::NoDefaultAlpn => said.no_default = true,
                SvcParamValue::Port(port) => said.port = Some(*port),
                SvcParamValue::Ipv4Hint(hints) => {
                    said.hints.extend(hints.0.iter().map(|ip| IpAddr::from(ip.0)))
                }
                SvcParamValue::Ipv6Hint(hints) => {
                    said.hints.extend(hints.0.iter().map(|ip| IpAddr::from(ip.0)))
                }
                _ => {}
            }
        }
        said.hints.truncate(ADDRESSES_MAX);
        said
    }
}

/// Whether a name is the zone or below it.
fn is_within(name: &str, zone: &str) -> bool {
    let zone = zone.trim_end_matches('.').to_ascii_lowercase();
    name.strip_suffix(zone.as_str()).is_some_and(|front| front.is_empty() || front.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_resolver::proto::op::Query;
    use hickory_resolver::proto::rr::rdata::HTTPS;
    use hickory_resolver::proto::rr::rdata::svcb::{Alpn, IpHint, SvcParamKey};
    use hickory_resolver::proto::rr::{Name, Record};

    fn svcb(rank: u16, target: &str, alpn: &[&str], port: Option<u16>, hint: Option<[u8; 4]>) -> SVCB {
        let mut params = Vec::new();
        if !alpn.is_empty() {
            let alpn = alpn.iter().map(|one| (*one).to_owned()).collect();
            params.push((SvcParamKey::Alpn, SvcParamValue::Alpn(Alpn(alpn))));
        }
        params.extend(port.map(|port| (SvcParamKey::Port, SvcParamValue::Port(port))));
        let hint = hint.map(|ip| SvcParamValue::Ipv4Hint(IpHint(vec![std::net::Ipv4Addr::from(ip).into()])));
        params.extend(hint.map(|hint| (SvcParamKey::Ipv4Hint, hint)));
        SVCB::new(rank, Name::from_ascii(target).unwrap(), params)
    }

    fn lookup(records: Vec<(RData, u32)>) -> Lookup {
        let name = Name::from_ascii("im.example.").unwrap();
        let records = records.into_iter().map(|(data, ttl)| Record::from_rdata(name.clone(), ttl, data));
        Lookup::new_with_max_ttl(Query::query(name.clone(), RecordType::SVCB), records)
    }

    fn found() -> Found<'static> {
        Found { owner: "im.example.", zone: "example", ..Found::default() }
    }

    #[test]
    fn ranked_records_of_three_kinds_become_pops() {
        let mut found = found();
        let np = &["np/1"];
        let udp = vec![
            (RData::SVCB(svcb(2, "b.example.", np, Some(4433), Some([192, 0, 2, 2]))), 300),
            (RData::SVCB(svcb(1, "A.example.", np, Some(4433), Some([192, 0, 2, 1]))), 30),
            (RData::SVCB(svcb(0, "alias.example.", np, None, None)), 1),
            (RData::SVCB(svcb(3, "odd.example.", &["smoke"], None, None)), 1),
            (RData::SVCB(svcb(1, "evil.test.", np, Some(4433), Some([203, 0, 113, 66]))), 1),
            (RData::SVCB(svcb(1, "evilexample.", np, Some(4433), Some([203, 0, 113, 66]))), 1),
        ];
        found.add(Kind::Udp, &lookup(udp));
        found.add(Kind::Tcp, &lookup(vec![(RData::SVCB(svcb(1, "b.example.", np, Some(443), None)), 60)]));
        found.add(Kind::Https, &lookup(vec![(RData::HTTPS(HTTPS(svcb(1, ".", &["h3"], None, None))), 60)]));
        assert_eq!((found.strangers, found.ttl_s), (2, 30));
        let answer = Answer::of_records(found.candidates, found.ttl_s, "none").unwrap();
        let pops: Vec<_> = answer.candidates.iter().map(|one| one.pop.as_str()).collect();
        assert_eq!(pops, ["a.example", "b.example", "im.example"]);
        let b = &answer.candidates[1];
        let ports: Vec<_> = b.endpoints.iter().map(|(way, at)| (*way, at.port)).collect();
        assert_eq!(ports, [(Transport::Quic, 4433), (Transport::Tls, 443)]);
        assert_eq!(b.edges()[0].address, "192.0.2.2:4433".parse().unwrap());
        let web: Vec<_> = answer.candidates[2].endpoints.keys().copied().collect();
        assert_eq!(web, [Transport::WebSocket, Transport::WebTransport]);
    }

    #[test]
    fn a_name_is_within_its_zone_by_whole_labels() {
        for (name, within) in [
            ("example", true),
            ("a.example", true),
            ("evilexample", false),
            ("example.evil", false),
            ("", false),
        ] {
            assert_eq!(is_within(name, "Example."), within, "{name}");
        }
    }
}
