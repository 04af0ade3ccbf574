//! The core, with the service that decides and the zone that fits its table.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use nearport_geo::PopTable;

use super::metrics::{Metrics, Tally};
use super::respond::{Answered, Ranking, Steer, Transport, respond};
use super::setup::Setup;
use super::zone::Zone;
use crate::current::Current;
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
        let zone = RwLock::new(compile(&setup, service.table()));
        Self { setup, service, zone, metrics: Metrics::new() }
    }

    /// The service that decides.
    pub(crate) fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// Answers one packet, see [`respond`], and counts it. Does not allocate unless the table of PoPs has changed.
    pub fn answer(
        &self,
        packet: &[u8],
        source: IpAddr,
        transport: Transport,
        out: &mut [u8],
    ) -> Option<Answered> {
        let view = self.view();
        let answered = respond(packet, source, transport, &view.zone, &view, out);
        let mut tally = Tally::default();
        tally.count(answered.as_ref());
        tally.flush(&self.metrics);
        answered
    }

    /// What a batch is answered with. Compiles the zone if the table has changed, which takes less than a millisecond.
    pub(crate) fn view(&self) -> View<'_> {
        let current = self.service.current();
        let zone = self.zone.read().unwrap_or_else(PoisonError::into_inner).clone();
        if Arc::ptr_eq(zone.table(), &current.table) {
            return View { zone, current, service: &self.service };
        }
        let mut latest = self.zone.write().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have been here.
        if !Arc::ptr_eq(latest.table(), &current.table) {
            *latest = compile(&self.setup, current.table.clone());
        }
        View { zone: latest.clone(), current, service: &self.service }
    }
}

fn compile(setup: &Setup, table: Arc<PopTable>) -> Arc<Zone> {
    let zone = Zone::compile(setup, table);
    for pop in zone.taken() {
        tracing::warn!(
            pop,
            "dns: the PoP has no name of its own: a name server or a steered name is called so"
        );
    }
    Arc::new(zone)
}

/// A zone and what decides, of one moment: an index of a PoP means the same in both.
#[derive(Debug)]
pub(crate) struct View<'a> {
    pub(crate) zone: Arc<Zone>,
    current: Arc<Current>,
    service: &'a Service,
}

impl Steer for View<'_> {
    fn steer(&self, address: IpAddr) -> Ranking {
        let (decision, scope) = self.service.steer(&self.current, address);
        Ranking { pops: decision.ranked, scope }
    }
}
