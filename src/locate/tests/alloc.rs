//! Steering does not allocate, the look-up in the databases included. A binary of its own: the allocator that counts is the
//! whole process's.

use std::alloc::System;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use nearport_geo::map::Live;
use nearport_geo::{PopTable, World};
use nearport_locate::forwarded::Header;
use nearport_locate::{Databases, Now, Service, Settings, Signer, TokenKeys};
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
    let table = PopTable::parse(include_str!("../../../geo/pops.toml")).unwrap();
    let mut live = Live::all(table.all());
    for pop in table.all().iter().step_by(3) {
        live.thin(pop, 0.5);
        live.penalty_ms[pop.get() + 1] = 10.0;
    }
    let signer = Signer::new(&Signer::generate().unwrap()).unwrap();
    let (world, keys) = (World::shipped().unwrap(), TokenKeys::new(&[(1, [7; 32])]));
    let now = Now { unix_s: 1_800_000_000, ms: 0 };
    let service = Service::new(settings, databases, world, table, keys, signer, now);
    service.set_live(live);

    let region = Region::new(GLOBAL);
    let (mut named, mut scopes) = (0, 0_u32);
    for number in 0..10_000_u32 {
        // All over the address space, and some that no database knows.
        let address = Ipv4Addr::from_bits(number.wrapping_mul(0x9e37_79b9));
        let steered = service.steer(address.into(), number.into());
        named += steered.pops().count();
        scopes += u32::from(steered.scope);
    }
    let change = region.change();
    assert_eq!((change.allocations, change.reallocations), (0, 0));
    assert!(named >= 3 * 10_000 && scopes > 0, "{named} {scopes}");
}
