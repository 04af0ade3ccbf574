//! Places: coordinates, countries, continents.

use std::fmt;
use std::str::FromStr;

/// Mean radius of the earth in kilometres (IUGG).
const EARTH_KM: f64 = 6_371.0;

/// A position on the earth. Always finite, −90..=90 and −180..=180 degrees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Coordinates {
    lat: f64,
    lon: f64,
}

impl Coordinates {
    /// A position, in degrees; `None` if there is no such place on the earth.
    #[must_use]
    pub fn new(lat: f64, lon: f64) -> Option<Self> {
        // NaN is in no range.
        ((-90.0..=90.0).contains(&lat) && (-180.0..=180.0).contains(&lon)).then_some(Self { lat, lon })
    }

    /// Degrees north.
    #[must_use]
    pub fn lat(self) -> f64 {
        self.lat
    }

    /// Degrees east.
    #[must_use]
    pub fn lon(self) -> f64 {
        self.lon
    }

    /// The great-circle distance in kilometres (haversine on a sphere: within 0.5 % of the ellipsoid).
    #[must_use]
    pub fn km_to(self, other: Self) -> f64 {
        let (lat_a, lat_b) = (self.lat.to_radians(), other.lat.to_radians());
        let half_lat = ((lat_b - lat_a) / 2.0).sin();
        let half_lon = ((other.lon - self.lon).to_radians() / 2.0).sin();
        let chord = half_lat * half_lat + lat_a.cos() * lat_b.cos() * half_lon * half_lon;
        2.0 * EARTH_KM * chord.sqrt().min(1.0).asin()
    }
}

/// A square of one degree of latitude by one of longitude: as much of a position as is worth a cell of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Degree {
    lat: i16,
    lon: i16,
}

impl Degree {
    /// The one with this south-west corner, in whole degrees; `None` if there is none such.
    #[must_use]
    pub fn new(lat: i16, lon: i16) -> Option<Self> {
        ((-90..=90).contains(&lat) && (-180..=180).contains(&lon)).then_some(Self { lat, lon })
    }

    /// The one that a position is in.
    #[must_use]
    pub fn of(at: Coordinates) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "at most 180")]
        let whole = |degrees: f64| degrees.floor() as i16;
        Self { lat: whole(at.lat()), lon: whole(at.lon()) }
    }

    /// Latitude and longitude of its south-west corner.
    #[must_use]
    pub fn corner(self) -> (i16, i16) {
        (self.lat, self.lon)
    }

    /// Its middle.
    #[must_use]
    pub fn centre(self) -> Coordinates {
        let middle = |degrees: i16, most: f64| (f64::from(degrees) + 0.5).min(most);
        Coordinates { lat: middle(self.lat, 90.0), lon: middle(self.lon, 180.0) }
    }

    /// A dense number below [`Degree::NUMBERS`].
    #[must_use]
    pub fn number(self) -> u32 {
        let from = |degrees: i16, least: i16| u32::try_from(degrees - least).unwrap_or(0);
        from(self.lat, -90) * 361 + from(self.lon, -180)
    }

    /// The one with this number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        let from = |offset: u32, least: i16| Some(i16::try_from(offset).ok()? + least);
        Self::new(from(number / 361, -90)?, from(number % 361, -180)?)
    }

    /// How many numbers [`Degree::number`] can give.
    pub const NUMBERS: u32 = 181 * 361;
}

/// An ISO 3166-1 alpha-2 code, upper case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Country([u8; 2]);

impl Country {
    /// The two letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("??")
    }

    /// A dense number below 676, for tables without hashing.
    #[must_use]
    pub fn number(self) -> usize {
        usize::from(self.0[0] - b'A') * 26 + usize::from(self.0[1] - b'A')
    }

    /// The one with this number.
    #[must_use]
    pub fn from_number(number: usize) -> Option<Self> {
        let letter = |index: usize| u8::try_from(index).ok().map(|index| b'A' + index);
        (number < Self::NUMBERS).then(|| Some(Self([letter(number / 26)?, letter(number % 26)?]))).flatten()
    }

    /// How many numbers [`Country::number`] can give.
    pub const NUMBERS: usize = 26 * 26;
}

impl FromStr for Country {
    type Err = UnknownCode;

    /// Two ASCII letters, in either case. Whether such a country exists is not asked: the list changes.
    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        match text.as_bytes() {
            [a, b] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => {
                Ok(Self([a.to_ascii_uppercase(), b.to_ascii_uppercase()]))
            }
            _ => Err(UnknownCode),
        }
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is no code of a country or a continent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a code")]
pub struct UnknownCode;

/// A continent, with the codes that GeoNames and MaxMind use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Continent {
    /// `AF`
    Africa,
    /// `AN`
    Antarctica,
    /// `AS`
    Asia,
    /// `EU`
    Europe,
    /// `NA`
    NorthAmerica,
    /// `OC`
    Oceania,
    /// `SA`
    SouthAmerica,
}

impl Continent {
    /// All of them, in the order of their codes.
    pub const ALL: [Self; 7] = [
        Self::Africa,
        Self::Antarctica,
        Self::Asia,
        Self::Europe,
        Self::NorthAmerica,
        Self::Oceania,
        Self::SouthAmerica,
    ];

    /// The two-letter code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Africa => "AF",
            Self::Antarctica => "AN",
            Self::Asia => "AS",
            Self::Europe => "EU",
            Self::NorthAmerica => "NA",
            Self::Oceania => "OC",
            Self::SouthAmerica => "SA",
        }
    }
}

impl FromStr for Continent {
    type Err = UnknownCode;

    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        Self::ALL.into_iter().find(|continent| continent.code() == text).ok_or(UnknownCode)
    }
}

impl fmt::Display for Continent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_the_atlas() {
        let at = |lat, lon| Coordinates::new(lat, lon).unwrap();
        let (london, sydney) = (at(51.5074, -0.1278), at(-33.8688, 151.2093));
        assert!((london.km_to(sydney) - 16_994.0).abs() < 10.0);
        assert!((sydney.km_to(london) - london.km_to(sydney)).abs() < 1e-6);
        // Over the date line, not around the world; and antipodes, where rounding leaves the domain of asin.
        assert!((at(0.0, 179.5).km_to(at(0.0, -179.5)) - 111.2).abs() < 0.1);
        assert!((at(12.3, 45.6).km_to(at(-12.3, -134.4)) - 20_015.0).abs() < 1.0);
    }

    #[test]
    fn places_that_do_not_exist_are_refused() {
        for (lat, lon) in
            [(90.1, 0.0), (-90.1, 0.0), (0.0, 180.1), (0.0, -180.1), (f64::NAN, 0.0), (0.0, f64::INFINITY)]
        {
            assert_eq!(Coordinates::new(lat, lon), None, "{lat} {lon}");
        }
        assert!(Coordinates::new(-90.0, 180.0).is_some());
    }

    #[test]
    fn a_degree_has_a_middle_and_a_number() {
        for (lat, lon, corner) in [(1.3, 103.8, (1, 103)), (-0.1, -0.1, (-1, -1)), (90.0, 180.0, (90, 180))] {
            let degree = Degree::of(Coordinates::new(lat, lon).unwrap());
            assert_eq!(degree.corner(), corner);
            assert_eq!(Degree::from_number(degree.number()), Some(degree));
            assert!(degree.number() < Degree::NUMBERS);
            assert!(Coordinates::new(degree.centre().lat(), degree.centre().lon()).is_some());
        }
        assert_eq!(Degree::new(91, 0), None);
        assert_eq!(Degree::from_number(Degree::NUMBERS), None);
    }

    #[test]
    fn codes_are_two_letters() {
        assert_eq!("sg".parse::<Country>().unwrap().as_str(), "SG");
        assert_eq!("ZZ".parse::<Country>().unwrap().number(), Country::NUMBERS - 1);
        for number in 0..Country::NUMBERS + 2 {
            let back = Country::from_number(number).map(Country::number);
            assert_eq!(back, (number < Country::NUMBERS).then_some(number));
        }
        for bad in ["", "S", "SGP", "S1", "é"] {
            assert!(bad.parse::<Country>().is_err(), "{bad}");
        }
        for continent in Continent::ALL {
            assert_eq!(continent.code().parse(), Ok(continent));
        }
        assert!("XX".parse::<Continent>().is_err());
    }
}
