//! Steering does not allocate, the look-up in the databases included, and neither does answering by DNS. A binary of its own: the allocator that counts is the
//! whole process's.

use std::alloc::System;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nearport_geo::map::Live;
use nearport_geo::{PopTable, World};
use nearport_locate::dns::{Outcome, Responder, Setup, Text, Transport, UDP_BYTES_MAX};
use nearport_locate::forwarded::Header;
use nearport_locate::{Databases, Kept, Now, Service, Settings, Signer, TokenKeys};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static GLOBAL: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[test]
fn steering_does_not_allocate() {
    let settings = Settings {
        trusted: Box::new(|_| false),
        header: Header::XForwardedFor,
        ttl: Duration::from_secs(300),
        pops: None,
    };
    let geo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../geo");
    let databases = Databases::open(&[geo.join("country.mmdb")]).unwrap();
    let to_all =
        "addresses = ['192.0.2.1', '2001:db8::1']\nendpoints = { webtransport = 'https://pop.example/np' }\n";
    let text = include_str!("../../../geo/pops.toml").replace("\n[[pop]]\n", &format!("\n[[pop]]\n{to_all}"));
    let table = PopTable::parse(&text).unwrap();
    let mut live = Live::all(table.all());
    for pop in table.all().iter().step_by(3) {
        live.thin(pop, 0.5);
        live.penalty_ms[pop.get() + 1] = 10.0;
    }
    let signer = Signer::new(&Signer::generate().unwrap()).unwrap();
    let (world, keys) = (World::shipped().unwrap(), TokenKeys::new(&[(1, [7; 32])]));
    let now = Now { unix_s: 1_800_000_000, ms: 0 };
    let kept = Kept::nothing(Arc::new(table));
    let service = Arc::new(Service::new(settings, databases, world, kept, keys, Arc::new(signer), now));
    assert!(service.set_live(live, &service.table()));
    let glue = ["192.0.2.53".parse().unwrap()];
    let setup = Setup::new(&Text {
        zone: "pop.example",
        servers: vec![("ns1", &glue)],
        names: vec!["im"],
        contact: None,
        ttl_s: 30,
        zone_ttl_s: 3_600,
    });
    let responder = Responder::new(setup.unwrap(), service.clone());

    let current = service.current();
    let region = Region::new(GLOBAL);
    let (mut named, mut scopes) = (0, 0_u32);
    for number in 0..10_000_u32 {
        // All over the address space, and some that no database knows.
        let address = Ipv4Addr::from_bits(number.wrapping_mul(0x9e37_79b9));
        let (decision, scope) = service.steer(&current, address.into());
        named += decision.ranked.len();
        scopes += u32::from(scope);
    }
    let change = region.change();
    assert_eq!((change.allocations, change.reallocations), (0, 0));
    assert!(named >= 3 * 10_000 && scopes > 0, "{named} {scopes}");

    // With a /24 of the client each.
    let mut query = b"\0\0\0\0\0\x01\0\0\0\0\0\x01\x02IM\x03pop\x07example\0\0\x01\0\x01".to_vec();
    query.extend(b"\0\0\x29\x04\xd0\0\0\0\0\0\x0b\0\x08\0\x07\0\x01\x18\0\0\0\0");
    let (kind, network) = (12 + 16 + 1, query.len() - 3);
    let mut out = [0; UDP_BYTES_MAX];
    let source = Ipv4Addr::new(192, 0, 2, 1).into();
    let region = Region::new(GLOBAL);
    let mut answered = 0;
    for number in 0..10_000_u32 {
        query[network..].copy_from_slice(&number.wrapping_mul(0x9e37_79b9).to_be_bytes()[..3]);
        // A, HTTPS, MX, and what is malformed.
        query[kind] = [1, 65, 15, 1][(number % 4) as usize];
        let length = query.len() - usize::from(number % 4 == 3);
        let said = responder.answer(&query[..length], source, Transport::Udp, &mut out).unwrap();
        let expected = [Outcome::Answer, Outcome::Answer, Outcome::NoData, Outcome::FormErr];
        answered += usize::from(said.outcome == expected[(number % 4) as usize]);
    }
    let change = region.change();
    assert_eq!((change.allocations, change.reallocations, answered), (0, 0, 10_000));
}
