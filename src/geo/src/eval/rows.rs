//! Measurements from a file.

use crate::csv::{self, CsvError};
use crate::place::{Continent, Coordinates, Country};
use crate::world::World;

/// A PoP of the data: the position is that of the server that measured.
#[derive(Debug, Clone, PartialEq)]
pub struct DataPop {
    /// The name in the data.
    pub city: String,
    /// Its country.
    pub country: Country,
    /// Where the server was.
    pub at: Coordinates,
}

/// A client city with what it measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Client {
    /// The name in the data.
    pub city: String,
    /// Its country.
    pub country: Country,
    /// Its continent, by country; that of the nearest country if the country is not known.
    pub continent: Continent,
    /// Where it is.
    pub at: Coordinates,
    /// Milliseconds by PoP; a client may have measured fewer than all.
    pub rtt_ms: Vec<Option<f64>>,
}

/// Several files' clients over one list of PoPs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Data {
    /// The PoPs, in the order in which they first appear; at most [`crate::POPS_MAX`].
    pub pops: Vec<DataPop>,
}

const COLUMNS: &[&str] = &[
    "client_city",
    "client_country",
    "client_lat",
    "client_lon",
    "pop_city",
    "pop_country",
    "pop_lat",
    "pop_lon",
    "rtt_ms_min",
];

impl Data {
    /// Reads clients, adding PoPs that are new. Needed are the columns `client_city`, `client_country`,
    /// `client_lat`, `client_lon`, `pop_city`, `pop_country`, `pop_lat`, `pop_lon` and `rtt_ms_min`, in any order.
    ///
    /// # Errors
    /// Line and column of what does not parse, a pair that is there twice, a PoP or client that moves, too many PoPs.
    pub fn read(&mut self, text: &str, world: &World) -> Result<Vec<Client>, CsvError> {
        let mut clients: Vec<Client> = Vec::new();
        let mut index = std::collections::BTreeMap::new();
        for record in csv::records(text, COLUMNS)? {
            let country: Country = record.parse(1, "a country code of two letters")?;
            let at = position(&record, 2)?;
            let city = record.text(0).to_owned();
            if city.is_empty() {
                return Err(record.wrong(0, "the name of a city"));
            }
            let pop = self.pop(&record)?;
            let rtt = record.number(8, 0.001, 60_000.0)?;
            // Two cities of one name in one country are told apart by where they are.
            let key = (city.clone(), country, at.lat().to_bits(), at.lon().to_bits());
            let client = *index.entry(key).or_insert_with(|| {
                let continent = continent(world, country, at);
                clients.push(Client { city, country, continent, at, rtt_ms: Vec::new() });
                clients.len() - 1
            });
            let rtts = &mut clients[client].rtt_ms;
            rtts.resize(rtts.len().max(pop + 1), None);
            if rtts[pop].replace(rtt).is_some() {
                return Err(record.wrong(4, "new: this client has measured it in an earlier line"));
            }
        }
        for client in &mut clients {
            client.rtt_ms.resize(self.pops.len().max(client.rtt_ms.len()), None);
        }
        if clients.is_empty() {
            return Err(CsvError::new(1, COLUMNS[0], "no measurement follows the header"));
        }
        Ok(clients)
    }

    fn pop(&mut self, record: &csv::Record<'_>) -> Result<usize, CsvError> {
        let country: Country = record.parse(5, "a country code of two letters")?;
        let at = position(record, 6)?;
        if let Some(known) =
            self.pops.iter().position(|pop| pop.city == record.text(4) && pop.country == country)
        {
            if self.pops[known].at != at {
                return Err(record.wrong(6, "where this PoP was in an earlier line"));
            }
            return Ok(known);
        }
        if self.pops.len() == crate::POPS_MAX {
            return Err(
                record.wrong(4, &format!("one of the first {} PoPs, and more are not read", crate::POPS_MAX))
            );
        }
        self.pops.push(DataPop { city: record.text(4).to_owned(), country, at });
        Ok(self.pops.len() - 1)
    }
}

fn position(record: &csv::Record<'_>, column: usize) -> Result<Coordinates, CsvError> {
    let (lat, lon) = (record.number(column, -90.0, 90.0)?, record.number(column + 1, -180.0, 180.0)?);
    Coordinates::new(lat, lon).ok_or_else(|| record.wrong(column, "a place"))
}

fn continent(world: &World, country: Country, at: Coordinates) -> Continent {
    let nearest = || world.lands().iter().min_by(|a, b| a.at.km_to(at).total_cmp(&b.at.km_to(at)));
    world.land(country).or_else(nearest).map_or(Continent::Antarctica, |land| land.continent)
}
