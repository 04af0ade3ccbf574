//! The core, with the service that decides and the zone that fits its table.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use super::metrics::Metrics;
use super::respond::{Ranking, Steer};
use super::setup::Setup;
use super::zone::Zone;
use crate::atlas::Atlas;
use crate::service::Service;

/// What all shells share.
#[derive(Debug)]
pub struct Responder {
    setup: Setup,
    service: Arc<Service>,
    zone: RwLock<Arc<Zone>>,
    pub(crate) metrics: Metrics,
}

impl Responder {
    /// A responder for a zone, deciding as `service` does.
    #[must_use]
    pub fn new(setup: Setup, service: Arc<Service>) -> Self {
        let atlas = service.atlas();
        let zone = RwLock::new(compile(&setup, &atlas));
        Self { setup, service, zone, metrics: Metrics::new() }
    }

    /// The service that decides.
    pub(crate) fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// Zone and atlas that belong together, for a batch. Compiles the zone if the table has changed, which takes less than a
    /// millisecond.
    pub(crate) fn view(&self) -> View<'_> {
        let atlas = self.service.atlas();
        let zone = self.zone.read().unwrap_or_else(PoisonError::into_inner).clone();
        if Arc::ptr_eq(zone.table(), atlas.table_arc()) {
            return View { zone, atlas, service: &self.service };
        }
        let mut current = self.zone.write().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have been here.
        if !Arc::ptr_eq(current.table(), atlas.table_arc()) {
            *current = compile(&self.setup, &atlas);
        }
        View { zone: current.clone(), atlas, service: &self.service }
    }
}

fn compile(setup: &Setup, atlas: &Atlas) -> Arc<Zone> {
    let zone = Zone::compile(setup, atlas.table_arc().clone());
    for pop in zone.taken() {
        tracing::warn!(
            pop,
            "dns: the PoP has no name of its own: a name server or a steered name is called so"
        );
    }
    Arc::new(zone)
}

/// What a batch is answered with.
#[derive(Debug)]
pub(crate) struct View<'a> {
    pub(crate) zone: Arc<Zone>,
    atlas: Arc<Atlas>,
    service: &'a Service,
}

impl Steer for View<'_> {
    fn steer(&self, address: IpAddr) -> Ranking {
        let place = self.service.databases().look_up(address);
        let pops = self.atlas.answer(&place, 0).pops.into_iter().collect();
        Ranking { pops, scope: place.bits }
    }
}
