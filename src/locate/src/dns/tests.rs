//! Answers as hickory reads them.

mod answers;
mod properties;
mod subnets;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use hickory_proto::op::{Edns, Message, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsCode, EdnsOption};
use hickory_proto::rr::{Name, RData, RecordType};
use nearport_geo::{PopIndex, PopTable};

use super::*;

/// Three PoPs: `sg` with everything, `de` without IPv6, `us` with addresses for endpoints.
const POPS: &str = r#"
[[pop]]
id = "sg"
place = "Singapore"
country = "SG"
continent = "AS"
lat = 1.35
lon = 103.8
addresses = ["192.0.2.1", "192.0.2.2", "2001:db8::1"]
endpoints = { quic = "sg.edge.example:4433", tls = "sg.edge.example:4434", websocket = "wss://sg.edge.example/np", webtransport = "https://sg.edge.example/np" }
[[pop]]
id = "de"
place = "Frankfurt"
country = "DE"
continent = "EU"
lat = 50.1
lon = 8.7
addresses = ["198.51.100.1"]
endpoints = { tls = "de.edge.example:443", webtransport = "https://de.edge.example:8443/np", websocket = "wss://de.edge.example/np" }
[[pop]]
id = "us"
place = "New York"
country = "US"
continent = "NA"
lat = 40.7
lon = -74.0
endpoints = { quic = "203.0.113.1:4433", tls = "[2001:db8::3]:4433" }
"#;

/// Sends 10/8 to Singapore, 2000::/8 and some of 100/8 to New York, the rest to Frankfurt; who is best comes first.
struct Map;

impl Steer for Map {
    fn steer(&self, address: IpAddr) -> Ranking {
        let (order, scope) = match address {
            IpAddr::V4(ip) if ip.octets()[0] == 10 => ([0, 1, 2], 8),
            // The last octet decides too.
            IpAddr::V4(ip) if ip.octets()[0] == 100 && ip.octets()[3] == 0 => ([2, 1, 0], 30),
            IpAddr::V4(ip) if ip.octets()[0] == 100 => ([0, 1, 2], 30),
            IpAddr::V6(ip) if ip.octets()[0] == 0x20 => ([2, 0, 1], 8),
            IpAddr::V6(_) => ([1, 0, 2], 64),
            IpAddr::V4(_) => ([1, 0, 2], 8),
        };
        Ranking { pops: order.into_iter().filter_map(PopIndex::new).collect(), scope }
    }
}

fn setup() -> Setup {
    let glue: [IpAddr; 2] = ["192.0.2.53".parse().unwrap(), "2001:db8::53".parse().unwrap()];
    Setup::new(&Text {
        zone: "pop.example",
        servers: vec![("ns1", &glue[..]), ("ns2", &glue[..1]), ("ns.provider.example.", &[])],
        names: vec!["im", "deep.er.im", "@"],
        contact: None,
        ttl_s: 30,
        zone_ttl_s: 3_600,
    })
    .unwrap()
}

fn zone() -> Zone {
    Zone::compile(&setup(), Arc::new(PopTable::parse(POPS).unwrap()))
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// From Frankfurt's clients, unless a query says more.
const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 77));

fn query(name: &str, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.id = 0xbeef;
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

fn with_edns(mut message: Message, payload: u16) -> Message {
    let mut edns = Edns::new();
    edns.set_max_payload(payload);
    message.set_edns(edns);
    message
}

fn with_subnet(message: Message, address: &str, source: u8) -> Message {
    let mut message = with_edns(message, 1_232);
    let subnet = EdnsOption::Subnet(ClientSubnet::new(ip(address), source, 0));
    message.edns.as_mut().unwrap().options_mut().insert(subnet);
    message
}

fn raw(zone: &Zone, packet: &[u8], source: IpAddr, transport: Transport) -> Option<(Vec<u8>, Answered)> {
    let mut out = vec![0xaa; if transport == Transport::Stream { STREAM_BYTES_MAX } else { UDP_BYTES_MAX }];
    let answered = respond(packet, source, transport, zone, &Map, &mut out)?;
    out.truncate(answered.bytes);
    Some((out, answered))
}

/// Asks over UDP.
fn ask(message: &Message) -> Message {
    ask_from(message, SOURCE)
}

fn ask_from(message: &Message, source: IpAddr) -> Message {
    let (bytes, _) = raw(&zone(), &message.to_vec().unwrap(), source, Transport::Udp).unwrap();
    let answer = Message::from_vec(&bytes).unwrap();
    assert_eq!(answer.metadata.id, message.metadata.id);
    assert_eq!(answer.metadata.recursion_desired, message.metadata.recursion_desired);
    assert!(!answer.metadata.recursion_available && !answer.metadata.authentic_data);
    answer
}

fn code(answer: &Message) -> ResponseCode {
    answer.metadata.response_code
}

/// Addresses in the answer section.
fn addresses(answer: &Message) -> Vec<IpAddr> {
    let of = |data: &RData| match data {
        RData::A(ip) => Some(IpAddr::V4(ip.0)),
        RData::AAAA(ip) => Some(IpAddr::V6(ip.0)),
        _ => None,
    };
    answer.answers.iter().filter_map(|record| of(&record.data)).collect()
}

fn subnet_of(answer: &Message) -> Option<ClientSubnet> {
    match answer.edns.as_ref()?.option(EdnsCode::Subnet)? {
        EdnsOption::Subnet(subnet) => Some(*subnet),
        other => panic!("{other:?}"),
    }
}
