//! Where people are: countries, and the cities that stand for them.
//!
//! Of a client whose city is not known it is still known how its country's people are spread, so a country is a
//! distribution over cities and not a point: the mean position of the United States is in nobody's reach.

use crate::csv::{self, CsvError};
use crate::place::{Continent, Coordinates, Country};

/// A place with its share of its country's people in cities.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct City {
    /// Where.
    pub at: Coordinates,
    /// Above 0; the shares of a country add up to 1.
    pub share: f64,
}

/// One country.
#[derive(Debug, Clone, PartialEq)]
pub struct Land {
    /// Its code.
    pub country: Country,
    /// Its name, in English.
    pub name: String,
    /// The continent that it counts to.
    pub continent: Continent,
    /// The mean position of its people.
    pub at: Coordinates,
    /// How far from there they live: root mean square, in kilometres.
    pub spread_km: f64,
    /// Inhabitants.
    pub people: f64,
    /// Its cities, at least one.
    pub cities: Vec<City>,
}

/// All countries, ordered by code.
#[derive(Debug, Clone, PartialEq)]
pub struct World {
    lands: Vec<Land>,
}

const COUNTRIES: &str = include_str!("../../../geo/countries.csv");
const CITIES: &str = include_str!("../../../geo/cities.csv");

impl World {
    /// The countries and cities that come with the product (`geo/countries.csv`, `geo/cities.csv`).
    ///
    /// # Errors
    /// None with the files as they are; a test reads them.
    pub fn shipped() -> Result<Self, CsvError> {
        Self::parse(COUNTRIES, CITIES)
    }

    /// Reads countries (`country,continent,lat,lon,spread_km,population,name`) and cities
    /// (`country,lat,lon,thousands`). A country without a city is one at its mean position.
    ///
    /// # Errors
    /// A line that does not parse, a country twice, a city of no country.
    pub fn parse(countries: &str, cities: &str) -> Result<Self, CsvError> {
        let mut lands: Vec<Land> = Vec::new();
        let names = &["country", "continent", "lat", "lon", "spread_km", "population", "name"];
        for record in csv::records(countries, names)? {
            let country = record.parse(0, "a country code")?;
            if lands.iter().any(|land| land.country == country) {
                return Err(CsvError::new(
                    record.line,
                    names[0],
                    format!("{country} is there twice: keep one"),
                ));
            }
            lands.push(Land {
                country,
                continent: record.parse(1, "a continent code")?,
                at: position(&record, 2)?,
                spread_km: record.number(4, 0.0, 20_100.0)?,
                people: record.number(5, 0.0, 1e10)?,
                name: record.text(6).to_owned(),
                cities: Vec::new(),
            });
        }
        lands.sort_by_key(|land| land.country);
        let mut world = Self { lands };
        for record in csv::records(cities, &["country", "lat", "lon", "thousands"])? {
            let country: Country = record.parse(0, "a country code")?;
            let city = City { at: position(&record, 1)?, share: record.number(3, 0.001, 1e6)? };
            let index = world.index(country).ok_or_else(|| record.wrong(0, "a country of the other file"))?;
            world.lands[index].cities.push(city);
        }
        for land in &mut world.lands {
            if land.cities.is_empty() {
                land.cities.push(City { at: land.at, share: 1.0 });
            }
            let total: f64 = land.cities.iter().map(|city| city.share).sum();
            land.cities.iter_mut().for_each(|city| city.share /= total);
        }
        Ok(world)
    }

    /// The countries, ordered by code.
    #[must_use]
    pub fn lands(&self) -> &[Land] {
        &self.lands
    }

    /// One country; `None` if it is not in the files.
    #[must_use]
    pub fn land(&self, country: Country) -> Option<&Land> {
        self.index(country).map(|index| &self.lands[index])
    }

    /// The shortest round trip that light in fibre allows between a client and a place, in milliseconds: from the client's
    /// position, or from the nearest city of its country. `None` where nothing is known of the client.
    #[must_use]
    pub fn floor_ms(
        &self,
        at: Option<Coordinates>,
        country: Option<Country>,
        to: Coordinates,
    ) -> Option<f64> {
        /// As far as a position from a database may be off, and as a city reaches.
        const SLACK_KM: f64 = 100.0;
        let km = match at {
            Some(at) => at.km_to(to),
            None => {
                let cities = &self.land(country?)?.cities;
                cities.iter().map(|city| city.at.km_to(to)).fold(f64::INFINITY, f64::min)
            }
        };
        // 200 km in a millisecond of fibre, there and back.
        Some((km - SLACK_KM).max(0.0) / 100.0)
    }

    fn index(&self, country: Country) -> Option<usize> {
        self.lands.binary_search_by_key(&country, |land| land.country).ok()
    }
}

fn position(record: &csv::Record<'_>, column: usize) -> Result<Coordinates, CsvError> {
    let (lat, lon) = (record.number(column, -90.0, 90.0)?, record.number(column + 1, -180.0, 180.0)?);
    Coordinates::new(lat, lon).ok_or_else(|| record.wrong(column, "a place"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_world_is_whole() {
        let world = World::shipped().unwrap();
        assert_eq!(world.lands().len(), 244);
        for land in world.lands() {
            let total: f64 = land.cities.iter().map(|city| city.share).sum();
            assert!((total - 1.0).abs() < 1e-9, "{}", land.country);
        }
        let (us, ad) =
            (world.land("US".parse().unwrap()).unwrap(), world.land("AD".parse().unwrap()).unwrap());
        assert_eq!((us.cities.len(), ad.cities.len()), (64, 1));
        assert!(us.spread_km > 1_500.0 && us.continent == Continent::NorthAmerica);
    }

    #[test]
    fn files_that_do_not_fit_each_other_are_refused() {
        let head = "country,continent,lat,lon,spread_km,population,name\n";
        let city = "country,lat,lon,thousands\n";
        let sg = format!("{head}SG,AS,1.3,103.8,10,5000000,Singapore\n");
        assert!(World::parse(&sg, city).is_ok());
        let twice = World::parse(&format!("{sg}SG,AS,1,1,1,1,x\n"), city).unwrap_err();
        assert_eq!((twice.line, twice.column.as_str()), (3, "country"));
        let nowhere = World::parse(&sg, &format!("{city}MY,3,101,100\n")).unwrap_err();
        assert_eq!((nowhere.line, nowhere.column.as_str()), (2, "country"));
        let pole = World::parse(&sg, &format!("{city}SG,93,101,100\n")).unwrap_err();
        assert_eq!((pole.line, pole.column.as_str()), (2, "lat"));
    }
}
