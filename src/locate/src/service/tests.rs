use std::path::Path;

use hickory_proto::op::{Edns, Message, Query};
use hickory_proto::rr::Name;
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsCode, EdnsOption};

use super::*;
use crate::dns::{Outcome, Responder, Setup, Text, Transport, UDP_BYTES_MAX};

const NOW: Now = Now { unix_s: 1_800_000_000, ms: 0 };

/// Networks in Singapore, by the database that ships.
const SG: [&str; 3] = ["202.156.1.1", "202.166.1.1", "118.189.1.1"];

fn shipped() -> Databases {
    let geo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../geo");
    Databases::open(&[geo.join("country.mmdb")]).unwrap()
}

fn table(ids: &[&str]) -> PopTable {
    PopTable::parse(&text(ids)).unwrap()
}

fn text(ids: &[&str]) -> String {
    let all = include_str!("../../../../geo/pops.toml");
    let entry = |id: &&str| {
        let entry = all.split("\n[[pop]]\n").find(|entry| entry.starts_with(&format!("id = \"{id}\"")));
        format!("\n[[pop]]\naddresses = ['192.0.2.1', '2001:db8::1']\n{}\n", entry.unwrap())
    };
    ids.iter().map(entry).collect()
}

fn service(table: PopTable) -> Service {
    started(Kept::nothing(Arc::new(table)), None)
}

fn started(kept: Kept, pops: Option<PathBuf>) -> Service {
    let settings = Settings {
        trusted: Box::new(|_| false),
        header: Header::XForwardedFor,
        ttl: Duration::from_secs(300),
        pops,
    };
    let (keys, world) = (TokenKeys::new(&[(1, [7; 32])]), World::shipped().unwrap());
    let signer = Signer::new(&Signer::generate().unwrap()).unwrap();
    Service::new(settings, shipped(), world, kept, keys, Arc::new(signer), NOW)
}

/// The same from three networks, so that it counts.
fn report(service: &Service, rtts: &[(&str, f64)]) -> Result<(), Unheard> {
    let rtts: Vec<_> = rtts.iter().map(|(pop, ms)| ((*pop).to_owned(), *ms)).collect();
    SG.iter().try_for_each(|from| {
        let ip = Some(from.parse().unwrap());
        let token = service.locate(ip, true, None, NOW).token.unwrap();
        service.report(ip, &token, &rtts, NOW)
    })
}

/// What counts, by ids.
fn said(kept: &mut Kept) -> Vec<(String, f32)> {
    let cells = kept.voices.said(NOW.unix_s).cells;
    let of = cells.iter().flat_map(|(_, said)| said);
    let mut said: Vec<_> = of
        .map(|said| {
            (kept.table.get(PopIndex::new(said.pop.into()).unwrap()).unwrap().id.clone(), said.rtt_ms)
        })
        .collect();
    said.sort_by(|a, b| a.0.cmp(&b.0));
    said
}

#[test]
fn what_is_measured_while_the_table_changes_stays_with_its_pop() {
    let (sg, de, us) = ("sg-singapore", "de-frankfurt", "us-ashburn");
    let service = service(table(&[sg, de, us]));
    report(&service, &[(sg, 3.0), (de, 160.0)]).unwrap();
    // A turn that has read the new table and compiles its map: answers are still by the old one.
    let next = Arc::new(table(&[us, sg]));
    lock(&service.kept).renumber(&next);
    assert_eq!(service.table().len(), 3);
    report(&service, &[(us, 230.0)]).unwrap();
    assert_eq!(report(&service, &[(de, 160.0)]), Err(Unheard::Malformed), "it is leaving");
    let expected = [(sg.to_owned(), 3.0), (us.to_owned(), 230.0)];
    assert_eq!(said(&mut lock(&service.kept)), expected);
    // What is written meanwhile is read by any table.
    let mut back = Kept::decode(Arc::new(table(&[de, us, sg])), &service.voices()).unwrap();
    assert_eq!(said(&mut back), expected);
}

#[test]
fn a_restart_compiles_once_with_what_was_kept() {
    let all = PopTable::parse(include_str!("../../../../geo/pops.toml")).unwrap();
    let before = service(all.clone());
    let first = |service: &Service| {
        let ip = Some(SG[0].parse().unwrap());
        service.locate(ip, true, None, NOW).decision.ranked.first().unwrap()
    };
    // Another PoP is a little better there, which moves nobody who is well off.
    let near = first(&before);
    let (near, far) = (all.get(near).unwrap().id.as_str(), "my-kualalumpur");
    report(&before, &[(near, 9.0), (far, 8.0)]).unwrap();
    let kept = Kept::decode(Arc::new(all), &before.voices()).unwrap();
    assert_eq!(kept.networks(), SG.len());
    let after = started(kept, None);
    let said = lock(&after.kept).voices.said(NOW.unix_s);
    assert!(!said.cells.is_empty());
    let build = |previous: Option<&Current>| {
        let from = Ingredients::new(shipped().set(), after.table(), Arc::new(World::shipped().unwrap()));
        let now = Duration::from_secs(NOW.unix_s);
        Current::build(Ingredients { said: &said, previous, now, serial: NOW.unix_s * 1_000, ..from })
    };
    let shown = |current: &Current| current.export(0, 1);
    assert_ne!(shown(&build(Some(&before.current()))), shown(&build(None)), "or this test says nothing");
    assert_eq!(shown(&after.current()), shown(&build(None)));
}

#[test]
fn answers_to_clients_count_as_sent_and_those_of_dns_do_not() {
    let (service, query) = (Arc::new(service(table(&["sg-singapore", "de-frankfurt"]))), asked(1, None));
    let responder = responder(&service);
    for host in 0..=255 {
        let from = IpAddr::from([202, 156, 1, host]);
        let answered = responder.answer(&query, from, Transport::Udp, &mut [0; UDP_BYTES_MAX]).unwrap();
        assert_eq!(answered.outcome, Outcome::Answer);
    }
    assert_eq!(service.take_sent().count(), 0);
    let located = service.locate(Some(SG[0].parse().unwrap()), true, None, NOW);
    let first = located.decision.ranked.first().unwrap();
    assert_eq!(service.take_sent().collect::<Vec<_>>(), [(first, 1)]);
}

#[test]
fn what_was_sent_by_another_table_is_not_counted_by_this_one() {
    let (sg, de) = ("sg-singapore", "de-frankfurt");
    let dir = tempfile::tempdir().unwrap();
    let pops = dir.path().join("pops.toml");
    let service = started(Kept::nothing(Arc::new(table(&[sg, de]))), Some(pops.clone()));
    let locate = || drop(service.locate(Some(SG[0].parse().unwrap()), true, None, NOW));
    for (ids, counted) in [([sg, de], 1), ([de, sg], 0)] {
        locate();
        std::fs::write(&pops, text(&ids)).unwrap();
        service.turn(NOW, false).unwrap();
        assert_eq!(service.take_sent().count(), counted, "{ids:?}");
    }
}

#[test]
fn what_is_said_to_a_network_that_nobody_routes_is_for_it_alone() {
    let service = Arc::new(service(table(&["sg-singapore", "de-frankfurt"])));
    let responder = responder(&service);
    let scope = |address: &str, bits| {
        let mut out = [0; UDP_BYTES_MAX];
        let query = asked(1, Some((address.parse().unwrap(), bits)));
        let answered = responder.answer(&query, SG[0].parse().unwrap(), Transport::Udp, &mut out).unwrap();
        let answer = Message::from_vec(&out[..answered.bytes]).unwrap();
        match answer.edns.unwrap().option(EdnsCode::Subnet) {
            Some(EdnsOption::Subnet(subnet)) => subnet.scope_prefix(),
            other => panic!("{other:?}"),
        }
    };
    // A scope of 0 would be for everybody (RFC 7871, 7.2.1).
    assert_eq!((scope("10.1.2.0", 24), scope("fd00::", 56)), (24, 56));
    assert!((1..=24).contains(&scope("202.156.1.0", 24)));
}

fn responder(service: &Arc<Service>) -> Responder {
    let glue = ["192.0.2.53".parse().unwrap()];
    let setup = Setup::new(&Text {
        zone: "pop.example",
        servers: vec![("ns1", &glue)],
        names: vec!["im"],
        contact: None,
        ttl_s: 30,
        zone_ttl_s: 3_600,
    });
    Responder::new(setup.unwrap(), service.clone())
}

/// A query for im.pop.example: the type, and a client's network with so many bits.
fn asked(kind: u16, subnet: Option<(IpAddr, u8)>) -> Vec<u8> {
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_ascii("im.pop.example.").unwrap(), kind.into()));
    if let Some((address, bits)) = subnet {
        let mut edns = Edns::new();
        edns.options_mut().insert(EdnsOption::Subnet(ClientSubnet::new(address, bits, 0)));
        message.set_edns(edns);
    }
    message.to_vec().unwrap()
}
