//! Answering does not allocate. A binary of its own: the allocator that counts is the whole process's.

use std::alloc::System;
use std::time::Duration;

use nearport_geo::map::{Client, Live, Map, Sources};
use nearport_geo::model::{Model, Target, Tuning};
use nearport_geo::{PopTable, World};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static GLOBAL: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[test]
fn a_decision_does_not_allocate() {
    let table = PopTable::parse(include_str!("../../../geo/pops.toml")).unwrap();
    let places: Vec<_> = table.pops().iter().map(Target::from).collect();
    let model = Model::fit(&places, &[], Tuning::default(), Duration::ZERO);
    let world = World::shipped().unwrap();
    let map = Map::compile(&Sources::new(&table, &world, &model));
    let mut live = Live::all(table.all());
    for pop in table.all().iter() {
        live.thin(pop, 0.5);
        live.penalty_ms[pop.get()] = 3.0;
    }
    let address = "192.0.2.1".parse().unwrap();
    let region = Region::new(GLOBAL);
    let mut named = 0;
    for land in world.lands() {
        let client = Client { country: Some(land.country), ..Client::new(address) };
        let cell = map.cell(&client);
        named += map.decide(cell, 7, &live, table.all()).ranked.len();
    }
    let change = region.change();
    assert_eq!((change.allocations, change.reallocations), (0, 0));
    assert!(named > world.lands().len());
}
