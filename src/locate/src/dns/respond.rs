//! A query and its answer: pure, without allocation.
//!
//! Nothing here depends on the time: TTLs are constants of the zone, and what changes comes in with [`Steer`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nearport_geo::choose::Ranked;

use super::query::{HEADER, NAME_BYTES_MAX, OPT, Query, Rcode, SUBNET, Subnet, read};
use super::zone::{Node, Part, Set, Zone, kind, rank};

/// Octets of an answer over UDP at most: what no network cuts up (the DNS flag day's figure of 2020).
pub const UDP_BYTES_MAX: usize = 1_232;
/// The same for who does not say that it takes more (RFC 1035, 4.2.1).
const PLAIN_BYTES_MAX: usize = 512;
/// Octets of an answer over a stream: more than any zone has to say.
pub const STREAM_BYTES_MAX: usize = 16 << 10;

/// Bits of a client's address that decide at most, IPv4 and IPv6 (RFC 7871, 11.1): finer scopes name people's lines, and make
/// caches hold an answer for each.
const SCOPE_MAX: (u8, u8) = (24, 56);

/// PoPs for a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ranking {
    /// Best first, of the table that the zone was compiled for.
    pub pops: Ranked,
    /// How many leading bits of the address decided: every address with the same ones gets the same PoPs.
    pub scope: u8,
}

/// Who decides.
pub trait Steer {
    /// Where a client is sent. Does not allocate.
    fn steer(&self, address: IpAddr) -> Ranking;
}

/// How a query came, which says how long its answer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// A datagram; what does not fit comes again over TCP.
    Udp,
    /// A datagram of a network that has had its share: it is told to come over TCP, which shows that it is who it says.
    UdpLimited,
    /// TCP or HTTPS.
    Stream,
}

/// What an answer was, for the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Records.
    Answer,
    /// The name is there, the type is not.
    NoData,
    /// The name is not there.
    NxDomain,
    /// Another zone, another class, or a transfer.
    Refused,
    /// The query is malformed.
    FormErr,
    /// No query but an update, a notification and the like.
    NotImp,
    /// A version of EDNS that there is not yet.
    BadVers,
    /// It did not fit: told to come over TCP.
    Truncated,
    /// It did not fit into anything.
    ServFail,
}

impl Outcome {
    /// All, in their order.
    pub const ALL: [Self; 9] = [
        Self::Answer,
        Self::NoData,
        Self::NxDomain,
        Self::Refused,
        Self::FormErr,
        Self::NotImp,
        Self::BadVers,
        Self::Truncated,
        Self::ServFail,
    ];

    /// The name in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Answer => "answer",
            Self::NoData => "nodata",
            Self::NxDomain => "nxdomain",
            Self::Refused => "refused",
            Self::FormErr => "formerr",
            Self::NotImp => "notimp",
            Self::BadVers => "badvers",
            Self::Truncated => "truncated",
            Self::ServFail => "servfail",
        }
    }
}

/// An answer that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answered {
    /// How many octets of the buffer it has.
    pub bytes: usize,
    /// What it says.
    pub outcome: Outcome,
    /// Whether the query told the client's network.
    pub subnet: bool,
    /// The longest time for which it may be kept, in seconds; `None` where it says nothing that is to be kept.
    pub ttl_s: Option<u32>,
}

/// Answers a packet that came from `source` into `out`, which has room for [`UDP_BYTES_MAX`] or [`STREAM_BYTES_MAX`] octets. `None`:
/// it is not to be answered.
pub fn respond(
    packet: &[u8],
    source: IpAddr,
    transport: Transport,
    zone: &Zone,
    steer: &impl Steer,
    out: &mut [u8],
) -> Option<Answered> {
    let (query, code) = read(packet)?;
    let asked = match (transport, query.edns) {
        (Transport::Stream, _) => out.len(),
        (_, None) => PLAIN_BYTES_MAX,
        (_, Some(edns)) => usize::from(edns.payload).clamp(PLAIN_BYTES_MAX, UDP_BYTES_MAX),
    };
    let room = asked.min(out.len());
    let mut answer = Writer { room, out, at: 0, counts: [0; 3], full: false };
    let mut said = Said { code, authoritative: false, scope: 0, ttl_s: None, outcome: Outcome::FormErr };
    answer.put(&[0; HEADER]);
    answer.put(query.question);
    let sections = answer.at;
    // What comes last is kept free from the beginning.
    let tail = tail_bytes(&query, code);
    answer.room = answer.room.saturating_sub(tail);
    match (code, transport) {
        (Rcode::NoError, Transport::UdpLimited) => said.outcome = Outcome::Truncated,
        (Rcode::NoError, _) => say(&query, source, zone, steer, &mut answer, &mut said),
        (Rcode::NotImp, _) => said.outcome = Outcome::NotImp,
        (Rcode::BadVers, _) => said.outcome = Outcome::BadVers,
        _ => said.outcome = Outcome::FormErr,
    }
    if answer.full {
        said.outcome = match transport {
            Transport::Stream => Outcome::ServFail,
            _ => Outcome::Truncated,
        };
    }
    if matches!(said.outcome, Outcome::Truncated | Outcome::ServFail) {
        (answer.at, answer.counts, answer.full, said.ttl_s) = (sections, [0; 3], false, None);
    }
    if said.outcome == Outcome::ServFail {
        (said.code, said.authoritative) = (Rcode::ServFail, false);
    }
    answer.room = room;
    put_tail(&query, &said, &mut answer);
    let bytes = answer.at;
    let truncated = said.outcome == Outcome::Truncated;
    let [answers, authorities, additionals] = answer.counts;
    let questions = u16::from(!query.question.is_empty());
    let code = said.code as u8;
    let flags = [
        0x80 | query.opcode << 3
            | u8::from(said.authoritative) << 2
            | u8::from(truncated) << 1
            | query.kept[0],
        query.kept[1] | code & 0xf,
    ];
    let counts = [questions, answers, authorities, additionals].map(u16::to_be_bytes);
    for (place, value) in out[..HEADER].chunks_exact_mut(2).zip([query.id, flags].into_iter().chain(counts)) {
        place.copy_from_slice(&value);
    }
    let subnet = query.edns.is_some_and(|edns| edns.subnet.is_some());
    Some(Answered { bytes, outcome: said.outcome, subnet, ttl_s: said.ttl_s })
}

/// What the header and the OPT record will say.
struct Said {
    code: Rcode,
    authoritative: bool,
    scope: u8,
    ttl_s: Option<u32>,
    outcome: Outcome,
}

fn say(
    query: &Query<'_>,
    source: IpAddr,
    zone: &Zone,
    steer: &impl Steer,
    answer: &mut Writer<'_>,
    said: &mut Said,
) {
    let (code, outcome) = (Rcode::Refused, Outcome::Refused);
    let mut lower = [0; NAME_BYTES_MAX];
    let asked = query.name();
    let name = &mut lower[..asked.len()];
    name.copy_from_slice(asked);
    // Length octets are below 64 and no letters.
    name.make_ascii_lowercase();
    let start = zone.start(name);
    // Transfers and what is about one message only (RFC 6895, 3.1) are not for this server.
    let Some(start) =
        start.filter(|_| query.class == super::query::IN && !(249..=254).contains(&query.qtype))
    else {
        (said.code, said.outcome) = (code, outcome);
        return;
    };
    said.authoritative = true;
    let node = zone.find(&name[..start]);
    let found = node.and_then(|node| records(query, node, source, zone, steer, answer, said));
    if let Some(kept) = found {
        (said.outcome, said.ttl_s) = (Outcome::Answer, Some(kept));
        return;
    }
    (said.code, said.outcome) = match node {
        Some(_) => (Rcode::NoError, Outcome::NoData),
        None => (Rcode::NxDomain, Outcome::NxDomain),
    };
    said.ttl_s = Some(super::zone::NEGATIVE_TTL_S);
    // The zone is the end of the question's name, which begins behind the header.
    let owner = u16::try_from(HEADER + start).unwrap_or(0) | 0xc000;
    let at = answer.at;
    answer.section(1, &zone.soa);
    if let Some(place) = answer.out.get_mut(at..at + 2) {
        place.copy_from_slice(&owner.to_be_bytes());
    }
}

/// Writes the records of a name; `None` if it has none of the type. Otherwise for how many seconds they are kept.
fn records(
    query: &Query<'_>,
    node: &Node,
    source: IpAddr,
    zone: &Zone,
    steer: &impl Steer,
    answer: &mut Writer<'_>,
    said: &mut Said,
) -> Option<u32> {
    let kind = query.qtype;
    if kind == kind::ANY {
        return node.has_any().then(|| answer.section(0, &zone.hinfo));
    }
    if let Some(set) = node.set(kind) {
        let ttl_s = answer.section(0, set);
        if kind == kind::NS {
            answer.additional(&zone.glue);
        }
        return Some(ttl_s);
    }
    let part = node.steered?;
    let steered = match part {
        Part::Name => matches!(kind, kind::A | kind::AAAA | kind::HTTPS | kind::SVCB),
        Part::Udp | Part::Tcp => kind == kind::SVCB,
    };
    if !steered {
        return None;
    }
    let subnet = query.edns.and_then(|edns| edns.subnet);
    let told = subnet.as_ref().and_then(Subnet::address).map(short);
    let ranking = steer.steer(told.unwrap_or(source));
    let scope = match told {
        Some(IpAddr::V4(_)) => ranking.scope.min(SCOPE_MAX.0),
        Some(IpAddr::V6(_)) => ranking.scope.min(SCOPE_MAX.1),
        None => 0,
    };
    let ttl_s = match kind {
        kind::A | kind::AAAA => {
            let of = |pop| {
                let records = zone.pop(pop)?;
                let set = if kind == kind::A { &records.v4 } else { &records.v6 };
                (set.count > 0).then_some(set)
            };
            // Not only the first one: caches may take "no such address" for an answer to everybody (RFC 7871, 7.4).
            let set = ranking.pops.iter().find_map(of);
            set.map(|set| answer.section(0, set))
        }
        _ => {
            let services = ranking.pops.iter().filter_map(|pop| {
                let records = zone.pop(pop)?.service(part, kind);
                (!records.is_empty()).then_some(records)
            });
            let mut ttl_s = None;
            for (records, place) in services.zip(1..) {
                for record in records {
                    ttl_s = Some(answer.record(0, record, place));
                }
            }
            ttl_s
        }
    };
    // What nobody has does not vary; what only these PoPs lack does.
    said.scope = if ttl_s.is_some() || zone.has(part, kind) { scope } else { 0 };
    ttl_s
}

/// What decides of an address that was told: others with the same bits get the same answer.
fn short(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits() & !(u32::MAX >> SCOPE_MAX.0)).into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !(u128::MAX >> SCOPE_MAX.1)).into(),
    }
}

fn echoed(query: &Query<'_>, code: Rcode) -> Option<Subnet> {
    let told = query.edns.and_then(|edns| edns.subnet);
    told.filter(|_| matches!(code, Rcode::NoError | Rcode::NxDomain | Rcode::ServFail))
}

/// Octets of the OPT record at the end of the answer.
fn tail_bytes(query: &Query<'_>, code: Rcode) -> usize {
    let subnet = echoed(query, code).map_or(0, |subnet| 8 + subnet.bytes());
    query.edns.map_or(0, |_| 11 + subnet)
}

fn put_tail(query: &Query<'_>, said: &Said, answer: &mut Writer<'_>) {
    let Some(edns) = query.edns else { return };
    let subnet = echoed(query, said.code);
    let data = subnet.map_or(0, |subnet| 8 + subnet.bytes());
    let number = |number: usize| u16::try_from(number).unwrap_or(0).to_be_bytes();
    let ([p1, p2], [o1, o2], [d1, d2]) = (number(UDP_BYTES_MAX), OPT.to_be_bytes(), number(data));
    let high = said.code as u8 >> 4;
    // Version 0; DO comes back, though nothing is signed (RFC 3225, 3).
    let flags = u8::from(edns.dnssec_ok) << 7;
    answer.put(&[0, o1, o2, p1, p2, high, 0, flags, 0, d1, d2]);
    answer.counts[2] += 1;
    if let Some(subnet) = subnet {
        let ([c1, c2], [l1, l2], [f1, f2]) =
            (SUBNET.to_be_bytes(), number(4 + subnet.bytes()), subnet.family.to_be_bytes());
        answer.put(&[c1, c2, l1, l2, f1, f2, subnet.source, said.scope]);
        answer.put(&subnet.octets[..subnet.bytes()]);
    }
}

/// An answer under way: octets that fit are there, and it remembers if some did not.
struct Writer<'a> {
    out: &'a mut [u8],
    at: usize,
    /// Where it must end.
    room: usize,
    /// Answers, authorities, additionals.
    counts: [u16; 3],
    full: bool,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) {
        let end = self.at + bytes.len();
        match self.out.get_mut(self.at..end).filter(|_| end <= self.room) {
            Some(place) => {
                place.copy_from_slice(bytes);
                self.at = end;
            }
            None => self.full = true,
        }
    }

    /// Writes records that help and that nobody misses.
    fn additional(&mut self, set: &Set) {
        if self.at + set.bytes.len() <= self.room {
            self.section(2, set);
        }
    }

    /// Writes records and returns their TTL.
    fn section(&mut self, section: usize, set: &Set) -> u32 {
        self.put(&set.bytes);
        self.counts[section] += set.count;
        ttl_of(&set.bytes)
    }

    /// Writes one record with a rank and returns its TTL.
    fn record(&mut self, section: usize, record: &[u8], place: u16) -> u32 {
        let at = self.at;
        self.put(record);
        if !self.full {
            rank(&mut self.out[at..], place);
        }
        self.counts[section] += 1;
        ttl_of(record)
    }
}

/// The TTL of a record whose owner is a pointer.
fn ttl_of(record: &[u8]) -> u32 {
    record.get(6..10).and_then(|ttl| ttl.try_into().ok()).map_or(0, u32::from_be_bytes)
}
