//! The map for who cannot ask.

use super::{Cell, Map};
use crate::signed::{self, MapPop};
use crate::table::{Pop, PopTable};
use crate::world::World;

impl Map {
    /// The same answers, of countries, whatever is up and as the policies for all Apps allow: to be signed and kept. `table` and `world` are those that it was
    /// compiled from.
    #[must_use]
    pub fn export(
        &self,
        table: &PopTable,
        world: &World,
        serial: u64,
        made_s: u64,
        good_until_s: u64,
    ) -> signed::Map {
        let pop = |pop: &Pop| MapPop {
            id: pop.id.clone(),
            place: pop.place.clone(),
            country: pop.country.to_string(),
            lat: pop.at.lat(),
            lon: pop.at.lon(),
            endpoints: pop.endpoints.by_name().map(|(name, at)| (name.to_owned(), at.to_owned())).collect(),
            addresses: pop.addresses.clone(),
        };
        let list = |cell: &Cell, country| {
            let allowed = table.allowed(None, country).and(self.pops);
            let kept = cell.ranked.iter().filter(|pop| allowed.has(*pop)).take(cell.size.into());
            let mut ranked = kept.collect();
            self.fill(&mut ranked, cell, allowed);
            ranked.iter().filter_map(|pop| u8::try_from(pop.get()).ok()).collect::<Vec<_>>()
        };
        let countries = world.lands().iter().filter_map(|land| {
            let cell =
                self.countries.get(land.country.number()).and_then(|cell| self.cells.get(*cell as usize));
            Some((land.country.to_string(), list(cell?, Some(land.country))))
        });
        signed::Map {
            version: 1,
            serial,
            made_s,
            good_until_s,
            pops: table.pops().iter().map(pop).collect(),
            countries: countries.collect(),
            everywhere: self.cells.first().map(|cell| list(cell, None)).unwrap_or_default(),
        }
    }
}
