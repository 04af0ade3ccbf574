//! A zone with its PoPs, compiled: every record stands there as the octets that an answer copies.
//!
//! Names are kept relative to the zone, sorted, so that one binary search finds them. Owners are a pointer to the question's name,
//! which is the name that they were found by, in the case in which it was asked for (0x20). What a steered name says depends on who
//! asks: it is put together from the records of the PoPs, of which only the priority is written anew.

use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::rr::Name;
use hickory_proto::rr::rdata::svcb::{Alpn, IpHint, SVCB, SvcParamKey, SvcParamValue};
use hickory_proto::serialize::binary::BinEncodable as _;
use nearport_geo::{Pop, PopTable};

use super::query::IN;
use super::setup::{ADDRESSES_MAX, Setup, suffix_at, wire};

/// Record types that are answered.
pub(crate) mod kind {
    pub(crate) const A: u16 = 1;
    pub(crate) const NS: u16 = 2;
    pub(crate) const SOA: u16 = 6;
    pub(crate) const HINFO: u16 = 13;
    pub(crate) const AAAA: u16 = 28;
    pub(crate) const SVCB: u16 = 64;
    pub(crate) const HTTPS: u16 = 65;
    pub(crate) const ANY: u16 = 255;
}

/// The ALPN of our own protocol, over QUIC and over TLS.
const ALPN: &str = "np/1";
/// How long a PoP's own records are kept, in seconds: tables change while a process runs.
const POP_TTL_S: u32 = 300;
/// How long a negative answer is kept, in seconds (RFC 2308): a PoP that is added is there soon.
pub(crate) const NEGATIVE_TTL_S: u32 = 60;
/// Where the priority stands in a record of SVCB: behind owner, type, class, TTL and length.
const PRIORITY_AT: usize = 12;

/// Records of one type and owner, as an answer copies them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Set {
    pub(crate) count: u16,
    pub(crate) bytes: Vec<u8>,
}

impl Set {
    /// With the question's name as owner.
    fn push(&mut self, kind: u16, ttl_s: u32, data: &[u8]) {
        self.push_at(&[0xc0, 12], kind, ttl_s, data);
    }

    fn push_at(&mut self, owner: &[u8], kind: u16, ttl_s: u32, data: &[u8]) {
        self.bytes.extend_from_slice(owner);
        self.bytes.extend(kind.to_be_bytes());
        self.bytes.extend(IN.to_be_bytes());
        self.bytes.extend(ttl_s.to_be_bytes());
        // Names and eight hints of each family: some hundred octets.
        self.bytes.extend(u16::try_from(data.len()).unwrap_or(u16::MAX).to_be_bytes());
        self.bytes.extend_from_slice(data);
        self.count += 1;
    }

    fn addresses(ttl_s: u32, owner: &[u8], all: &[IpAddr], v6: bool) -> Self {
        let mut set = Self::default();
        for ip in all.iter().filter(|ip| ip.is_ipv6() == v6).take(ADDRESSES_MAX) {
            match ip {
                IpAddr::V4(ip) => set.push_at(owner, kind::A, ttl_s, &ip.octets()),
                IpAddr::V6(ip) => set.push_at(owner, kind::AAAA, ttl_s, &ip.octets()),
            }
        }
        set
    }
}

/// What a steered name is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The name itself: addresses, HTTPS, SVCB.
    Name,
    /// `_np._udp` in front of it: SVCB of QUIC.
    Udp,
    /// `_np._tcp` in front of it: SVCB of TLS.
    Tcp,
}

/// A name of the zone. One without anything stands between others that have something (an empty non-terminal).
#[derive(Debug, Default)]
pub(crate) struct Node {
    pub(crate) steered: Option<Part>,
    sets: Vec<(u16, Set)>,
}

impl Node {
    /// What is said to everybody about it.
    pub(crate) fn set(&self, kind: u16) -> Option<&Set> {
        self.sets.iter().find(|(one, _)| *one == kind).map(|(_, set)| set)
    }

    /// Whether it has records of any type.
    pub(crate) fn has_any(&self) -> bool {
        self.steered.is_some() || !self.sets.is_empty()
    }
}

/// What a PoP adds to answers of steered names.
#[derive(Debug, Default)]
pub(crate) struct Records {
    pub(crate) v4: Set,
    pub(crate) v6: Set,
    https: Vec<Vec<u8>>,
    udp: Vec<Vec<u8>>,
    tcp: Vec<Vec<u8>>,
}

impl Records {
    /// Its records of a service. The priority in them is to be written with [`rank`].
    pub(crate) fn service(&self, part: Part, kind: u16) -> &[Vec<u8>] {
        match part {
            Part::Name if kind == kind::HTTPS => &self.https,
            Part::Tcp => &self.tcp,
            // Who asks without saying how takes the best way.
            Part::Name if self.udp.is_empty() => &self.tcp,
            Part::Name | Part::Udp => &self.udp,
        }
    }
}

/// Writes the rank, from 1, into a record of [`Records::service`].
pub(crate) fn rank(record: &mut [u8], rank: u16) {
    if let Some(place) = record.get_mut(PRIORITY_AT..PRIORITY_AT + 2) {
        place.copy_from_slice(&rank.to_be_bytes());
    }
}

/// A compiled zone.
#[derive(Debug)]
pub struct Zone {
    table: Arc<PopTable>,
    origin: Vec<u8>,
    /// By their names in front of the zone's, in wire form and lower case; sorted.
    nodes: Vec<(Vec<u8>, Node)>,
    /// By place in the table.
    pops: Vec<Records>,
    /// Of a negative answer; the owner is to be written.
    pub(crate) soa: Set,
    /// Addresses of the name servers that are inside.
    pub(crate) glue: Set,
    /// The answer to ANY (RFC 8482).
    pub(crate) hinfo: Set,
    /// Names that a PoP should have had and somebody else has.
    taken: Vec<String>,
}

impl Zone {
    /// Compiles the zone for a table of PoPs.
    #[must_use]
    pub fn compile(setup: &Setup, table: Arc<PopTable>) -> Self {
        let mut zone = Self {
            origin: setup.zone.clone(),
            nodes: Vec::new(),
            pops: Vec::with_capacity(table.len()),
            soa: Set::default(),
            glue: Set::default(),
            hinfo: Set::default(),
            taken: Vec::new(),
            table: table.clone(),
        };
        zone.hinfo.push(kind::HINFO, setup.zone_ttl_s, b"\x07RFC8482\x00");
        let soa = soa(setup, &table);
        zone.soa.push(kind::SOA, NEGATIVE_TTL_S.min(setup.zone_ttl_s), &soa);
        let mut ns = Set::default();
        for (name, addresses) in &setup.servers {
            ns.push(kind::NS, setup.zone_ttl_s, name);
            if let Some(start) = suffix_at(name, &setup.zone) {
                let sets = address_sets(setup.zone_ttl_s, addresses);
                zone.node(&name[..start]).sets.extend(sets);
                for v6 in [false, true] {
                    let glue = Set::addresses(setup.zone_ttl_s, name, addresses, v6);
                    zone.glue.bytes.extend(glue.bytes);
                    zone.glue.count += glue.count;
                }
            }
        }
        let mut own_soa = Set::default();
        own_soa.push(kind::SOA, setup.zone_ttl_s, &soa);
        zone.node(&[]).sets.extend([(kind::NS, ns), (kind::SOA, own_soa)]);
        for name in &setup.names {
            let Some(start) = suffix_at(name, &setup.zone) else { continue };
            let front = &name[..start];
            zone.node(front).steered = Some(Part::Name);
            for (label, part) in [(&b"\x04_udp"[..], Part::Udp), (b"\x04_tcp", Part::Tcp)] {
                let service = [b"\x03_np", label, front].concat();
                // A name that is too long cannot be asked for.
                if service.len() + setup.zone.len() <= super::query::NAME_BYTES_MAX {
                    zone.node(&service).steered = Some(part);
                }
            }
        }
        for pop in table.pops() {
            zone.add_pop(pop, setup.ttl_s);
        }
        zone
    }

    fn add_pop(&mut self, pop: &Pop, ttl_s: u32) {
        let label = label(&pop.id);
        let own = Name::from_labels(labels(&label).chain(labels(&self.origin))).ok();
        let mut addresses = pop.addresses.clone();
        if addresses.is_empty() {
            let all = pop.endpoints.by_name().filter_map(|(_, at)| endpoint(at));
            addresses.extend(all.filter_map(|(host, _)| host.parse::<IpAddr>().ok()));
            addresses.sort_unstable();
            addresses.dedup();
        }
        let service = |kind, ttl_s| services(pop, own.as_ref(), &addresses, kind, ttl_s);
        let records = Records {
            v4: Set::addresses(ttl_s, &[0xc0, 12], &addresses, false),
            v6: Set::addresses(ttl_s, &[0xc0, 12], &addresses, true),
            https: service(Service::Https, ttl_s),
            udp: service(Service::Udp, ttl_s),
            tcp: service(Service::Tcp, ttl_s),
        };
        let all = |records: Vec<Vec<u8>>| {
            let count = u16::try_from(records.len()).unwrap_or(0);
            let mut bytes = records;
            bytes.iter_mut().for_each(|record| rank(record, 1));
            Set { count, bytes: bytes.concat() }
        };
        let (udp, tcp) = (service(Service::Udp, POP_TTL_S), service(Service::Tcp, POP_TTL_S));
        let svcb = if udp.is_empty() { tcp } else { udp };
        let mut sets = address_sets(POP_TTL_S, &addresses);
        sets.push((kind::HTTPS, all(service(Service::Https, POP_TTL_S))));
        sets.push((kind::SVCB, all(svcb)));
        sets.retain(|(_, set)| set.count > 0);
        self.pops.push(records);
        let node = self.node(&label);
        match node.has_any() {
            true => self.taken.push(pop.id.clone()),
            false => node.sets = sets,
        }
    }

    /// The node of a name, made with all those above it if it is not there.
    fn node(&mut self, front: &[u8]) -> &mut Node {
        let mut start = 0;
        while start < front.len() {
            let above = &front[start..];
            if let Err(at) = self.nodes.binary_search_by(|(name, _)| name[..].cmp(above)) {
                self.nodes.insert(at, (above.to_vec(), Node::default()));
            }
            start += 1 + usize::from(front[start]);
        }
        let found = self.nodes.binary_search_by(|(name, _)| name[..].cmp(front));
        let at = found.unwrap_or_else(|at| {
            self.nodes.insert(at, (front.to_vec(), Node::default()));
            at
        });
        &mut self.nodes[at].1
    }

    /// Where the zone begins in a name in wire form and lower case; `None` if it is not in the zone.
    pub(crate) fn start(&self, name: &[u8]) -> Option<usize> {
        suffix_at(name, &self.origin)
    }

    /// The node of a name in front of the zone.
    pub(crate) fn find(&self, front: &[u8]) -> Option<&Node> {
        let at = self.nodes.binary_search_by(|(name, _)| name[..].cmp(front)).ok()?;
        Some(&self.nodes[at].1)
    }

    /// The records of a PoP of the table.
    pub(crate) fn pop(&self, pop: nearport_geo::PopIndex) -> Option<&Records> {
        self.pops.get(pop.get())
    }

    /// Whether any PoP has records of a type for a part of a steered name.
    pub(crate) fn has(&self, part: Part, kind: u16) -> bool {
        self.pops.iter().any(|pop| match kind {
            kind::A => pop.v4.count > 0,
            kind::AAAA => pop.v6.count > 0,
            _ => !pop.service(part, kind).is_empty(),
        })
    }

    /// The table that it was compiled for.
    #[must_use]
    pub fn table(&self) -> &Arc<PopTable> {
        &self.table
    }

    /// PoPs that have no name of their own in it, because a name server or a steered name is called the same.
    #[must_use]
    pub fn taken(&self) -> &[String] {
        &self.taken
    }
}

fn address_sets(ttl_s: u32, addresses: &[IpAddr]) -> Vec<(u16, Set)> {
    let set = |v6| Set::addresses(ttl_s, &[0xc0, 12], addresses, v6);
    let mut sets = vec![(kind::A, set(false)), (kind::AAAA, set(true))];
    sets.retain(|(_, set)| set.count > 0);
    sets
}

/// One label in wire form.
fn label(id: &str) -> Vec<u8> {
    let mut label = vec![u8::try_from(id.len()).unwrap_or(0)];
    label.extend_from_slice(id.as_bytes());
    label
}

/// The labels of a name in wire form.
fn labels(wire: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = wire;
    std::iter::from_fn(move || {
        let (length, more) = rest.split_first()?;
        let (label, more) = more.split_at_checked(usize::from(*length)).filter(|_| *length > 0)?;
        rest = more;
        Some(label)
    })
}

/// The data of the SOA. The serial is a digest of what the zone says: the same on every node with the same table. Nobody transfers
/// this zone, so it need not grow.
fn soa(setup: &Setup, table: &PopTable) -> Vec<u8> {
    let mut data = setup.servers[0].0.clone();
    data.extend_from_slice(&setup.contact);
    let text = format!("{setup:?}{table:?}");
    // FNV-1a.
    let serial =
        text.bytes().fold(0x811c_9dc5_u32, |hash, octet| (hash ^ u32::from(octet)).wrapping_mul(0x0100_0193));
    for number in [serial.max(1), 3_600, 600, 86_400, NEGATIVE_TTL_S] {
        data.extend(number.to_be_bytes());
    }
    data
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    Https,
    Udp,
    Tcp,
}

/// Host and port of an endpoint: `HOST:PORT`, `wss://HOST[:PORT]/…` or `https://HOST[:PORT]/…`.
fn endpoint(text: &str) -> Option<(&str, u16)> {
    let (authority, default) = match text.split_once("://") {
        Some((_, rest)) => (rest.split(['/', '?', '#']).next()?, Some(443)),
        None => (text, None),
    };
    let (host, port) = match authority.rsplit_once(':') {
        // A colon inside of brackets is none of a port.
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
        _ => (authority, default?),
    };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    (!bare.is_empty()).then_some((bare, port))
}

/// The records of one service at one PoP (RFC 9460), without their rank.
fn services(pop: &Pop, own: Option<&Name>, addresses: &[IpAddr], of: Service, ttl_s: u32) -> Vec<Vec<u8>> {
    fn at(text: &Option<String>) -> Option<(&str, u16)> {
        text.as_deref().and_then(endpoint)
    }
    let ends = &pop.endpoints;
    // Where, by which ALPN, and whether what HTTPS speaks by default (HTTP/1.1 over TLS) is there too.
    let mut found: Vec<((&str, u16), Option<&str>, bool)> = Vec::new();
    match of {
        Service::Udp => found.extend(at(&ends.quic).map(|place| (place, Some(ALPN), true))),
        Service::Tcp => found.extend(at(&ends.tls).map(|place| (place, Some(ALPN), true))),
        Service::Https => {
            let (web, socket) = (at(&ends.webtransport), at(&ends.websocket));
            found.extend(web.map(|place| (place, Some("h3"), Some(place) == socket)));
            found.extend(socket.filter(|_| web != socket).map(|place| (place, None, true)));
        }
    }
    let one = |((host, port), alpn, default): ((&str, u16), Option<&str>, bool)| -> Option<Vec<u8>> {
        // Addresses have no records of their own: then it is the PoP's name.
        let target = match host.parse::<IpAddr>() {
            Ok(_) => own?.clone(),
            Err(_) => Name::from_ascii(host).ok()?,
        };
        let mut params = Vec::new();
        if let Some(alpn) = alpn {
            params.push((SvcParamKey::Alpn, SvcParamValue::Alpn(Alpn(vec![alpn.to_owned()]))));
        }
        if !default {
            params.push((SvcParamKey::NoDefaultAlpn, SvcParamValue::NoDefaultAlpn));
        }
        if of != Service::Https || port != 443 {
            params.push((SvcParamKey::Port, SvcParamValue::Port(port)));
        }
        let v4 = addresses.iter().filter_map(|ip| match ip {
            IpAddr::V4(ip) => Some((*ip).into()),
            IpAddr::V6(_) => None,
        });
        let v4: Vec<_> = v4.take(ADDRESSES_MAX).collect();
        if !v4.is_empty() {
            params.push((SvcParamKey::Ipv4Hint, SvcParamValue::Ipv4Hint(IpHint(v4))));
        }
        let v6 = addresses.iter().filter_map(|ip| match ip {
            IpAddr::V4(_) => None,
            IpAddr::V6(ip) => Some((*ip).into()),
        });
        let v6: Vec<_> = v6.take(ADDRESSES_MAX).collect();
        if !v6.is_empty() {
            params.push((SvcParamKey::Ipv6Hint, SvcParamValue::Ipv6Hint(IpHint(v6))));
        }
        // The target in lower case and absolute, never compressed.
        wire(&target)?;
        let mut target = target.to_lowercase();
        target.set_fqdn(true);
        let data = SVCB::new(0, target, params).to_bytes().ok()?;
        let mut set = Set::default();
        set.push(if of == Service::Https { kind::HTTPS } else { kind::SVCB }, ttl_s, &data);
        Some(set.bytes)
    };
    found.into_iter().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_taken_apart() {
        for (text, found) in [
            ("sg.pop.example:4433", Some(("sg.pop.example", 4433))),
            ("192.0.2.1:4433", Some(("192.0.2.1", 4433))),
            ("[2001:db8::1]:4433", Some(("2001:db8::1", 4433))),
            ("wss://sg.pop.example/np", Some(("sg.pop.example", 443))),
            ("https://sg.pop.example:8443/np?x=1", Some(("sg.pop.example", 8443))),
            ("https://[2001:db8::1]/np", Some(("2001:db8::1", 443))),
            ("sg.pop.example", None),
            ("sg:port", None),
            (":1", None),
            ("", None),
        ] {
            assert_eq!(endpoint(text), found, "{text}");
        }
    }
}
