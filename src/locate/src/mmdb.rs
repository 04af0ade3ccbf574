//! One MMDB file: what it says about an address.
//!
//! Two layouts are in use, and a file is of one of them throughout:
//!
//! ```text
//! nested (MaxMind)    {"country": {"iso_code": "SG"}, "continent": {"code": "AS"}, "location": {"latitude": 1.3, …}, "city": {"names": {"en": …}}}
//! flat (others)       {"country_code": "SG", "latitude": 1.3, "longitude": 103.8, "city": "Singapore"}
//! both, for networks  {"autonomous_system_number": 7473}
//! ```
//!
//! Unknown values are absent in the one and empty strings in the other. Which layout a file has is seen from its first records
//! when it is loaded.

use std::fs::File;
use std::io::Read as _;
use std::net::IpAddr;
use std::path::Path;
use std::time::SystemTime;

use maxminddb::{MaxMindDbError, Reader, WithinOptions};
use nearport_geo::Continent;
use serde::Deserialize;

/// Longest file that is read. City files of whole continents have 130 MB.
pub const FILE_BYTES_MAX: u64 = 1 << 30;

/// Records that are looked at to learn the layout. The first ones of a file may be about nothing but a network's name.
const SAMPLE: usize = 2_000;

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It cannot be read.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// Longer than anything that is a database.
    #[error("longer than {FILE_BYTES_MAX} bytes")]
    TooLong,
    /// Cut short, damaged, or something else.
    #[error("{0}")]
    Damaged(MaxMindDbError),
    /// A sound file that says nothing about places or networks.
    #[error(
        "it is of type {0:?} and holds neither countries nor positions nor AS numbers in a layout that is known"
    )]
    Useless(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    Nested,
    Flat,
}

/// What is known of an address.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Place {
    /// ISO 3166-1 alpha-2, capitals.
    pub country: Option<[u8; 2]>,
    /// The continent, as [`nearport_geo::Continent`] codes it: of networks that are somewhere in Europe, for example.
    pub continent: Option<Continent>,
    /// Latitude and longitude in degrees, both in range.
    pub position: Option<(f64, f64)>,
    /// The number of its autonomous system.
    pub asn: Option<u32>,
    /// How many bits of the address decided: another one with the same first bits gets the same answer.
    pub bits: u8,
}

impl Place {
    /// The country as text.
    #[must_use]
    pub fn country_str(&self) -> Option<&str> {
        self.country.as_ref().and_then(|code| std::str::from_utf8(code).ok())
    }

    /// Takes from `other` what is not known yet.
    pub(crate) fn fill_from(&mut self, other: Self) {
        self.country = self.country.or(other.country);
        self.continent = self.continent.or(other.continent);
        self.position = self.position.or(other.position);
        self.asn = self.asn.or(other.asn);
        // Both were asked, so both decided, also the one that knew nothing.
        self.bits = self.bits.max(other.bits);
    }
}

/// A loaded and verified file.
pub struct Database {
    reader: Reader<Vec<u8>>,
    layout: Layout,
    bytes: usize,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = &self.reader.metadata().database_type;
        f.debug_struct("Database").field("kind", kind).field("layout", &self.layout).finish_non_exhaustive()
    }
}

impl Database {
    /// Reads and verifies a file. Blocks: a city file of 60 MB takes a second.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn load(path: &Path) -> Result<Self, Error> {
        let mut bytes = Vec::new();
        let file = File::open(path)?;
        // Not what `metadata` says: the file may grow while it is read.
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(Error::TooLong);
        }
        Self::from_bytes(bytes)
    }

    /// The same for a file in memory.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, Error> {
        let len = bytes.len();
        let reader = described(bytes).and_then(Reader::from_source).map_err(Error::Damaged)?;
        reader.verify().map_err(Error::Damaged)?;
        let layout = layout(&reader).map_err(Error::Damaged)?;
        let layout = layout.ok_or_else(|| Error::Useless(reader.metadata().database_type.clone()))?;
        Ok(Self { reader, layout, bytes: len })
    }

    /// What its maker calls it.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.reader.metadata().database_type
    }

    /// When it was made; `None` if it says something impossible.
    #[must_use]
    pub fn built(&self) -> Option<SystemTime> {
        self.reader.metadata().build_time().ok()
    }

    /// Its length in bytes, which is the memory that it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What it says of an address. All unknown for one of the family that it does not hold.
    ///
    /// No allocation. A record that cannot be decoded counts as unknown: the file was verified, so it holds something under a
    /// known name that nobody expects there.
    #[must_use]
    pub fn look_up(&self, ip: IpAddr) -> Place {
        let ip = ip.to_canonical();
        let Ok(found) = self.reader.lookup(ip) else { return Place::default() };
        let mut place = match self.layout {
            Layout::Nested => found.decode::<Nested<'_>>().ok().flatten().map(Place::from),
            Layout::Flat => found.decode::<Flat<'_>>().ok().flatten().map(Place::from),
        }
        .unwrap_or_default();
        place.bits = found
            .network()
            .map_or_else(|_| whole(ip), |network| bits(ip, network.prefix(), network.is_ipv6()));
        place
    }
}

/// A file as [`Reader::verify`] wants it, which refuses one without a description before it looks at anything that matters. Some
/// makers leave it empty, so one is put in; whatever else the metadata says must read the same afterwards.
fn described(mut bytes: Vec<u8>) -> Result<Vec<u8>, MaxMindDbError> {
    const MARKER: &[u8] = b"\xab\xcd\xefMaxMind.com";
    // A string of 11 bytes, then a map of no pairs, or of one: "en" with an empty string.
    const NONE: &[u8] = b"\x4bdescription\xe0";
    const SOME: &[u8] = b"\x4bdescription\xe1\x42en\x40";
    let before = Reader::from_source(&bytes[..])?.metadata().clone();
    if !before.description.is_empty() {
        return Ok(bytes);
    }
    let metadata = bytes.windows(MARKER.len()).rposition(|part| part == MARKER).unwrap_or_default();
    let found = bytes[metadata..].windows(NONE.len()).position(|part| part == NONE);
    if let Some(at) = found.map(|at| metadata + at) {
        bytes.splice(at..at + NONE.len(), SOME.iter().copied());
    }
    let mut after = Reader::from_source(&bytes[..])?.metadata().clone();
    after.description.clear();
    if after != before {
        return Err(MaxMindDbError::invalid_database("its description is empty, and its metadata is woven"));
    }
    Ok(bytes)
}

/// All bits of an address.
pub(crate) fn whole(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

/// How many bits of `ip` a network stands for; an IPv4 address in a tree of IPv6 may have been decided above its subtree.
fn bits(ip: IpAddr, network_bits: u8, network_is_v6: bool) -> u8 {
    if ip.is_ipv4() && network_is_v6 { network_bits.saturating_sub(96) } else { network_bits }
}

/// The layout of the first record that says anything.
fn layout(reader: &Reader<Vec<u8>>) -> Result<Option<Layout>, MaxMindDbError> {
    for found in reader.networks(WithinOptions::default())?.take(SAMPLE) {
        let found = found?;
        // An AS number stands at the same place in both: nested files with places are asked first.
        if found.decode::<Nested<'_>>().ok().flatten().is_some_and(|record| record.says_something()) {
            return Ok(Some(Layout::Nested));
        }
        if found.decode::<Flat<'_>>().ok().flatten().is_some_and(|record| record.says_something()) {
            return Ok(Some(Layout::Flat));
        }
    }
    Ok(None)
}

#[derive(Deserialize)]
struct Nested<'a> {
    #[serde(borrow)]
    country: Option<Iso<'a>>,
    #[serde(borrow)]
    registered_country: Option<Iso<'a>>,
    #[serde(borrow)]
    continent: Option<Coded<'a>>,
    location: Option<Location>,
    autonomous_system_number: Option<u32>,
    traits: Option<Traits>,
}

#[derive(Deserialize)]
struct Iso<'a> {
    #[serde(borrow)]
    iso_code: Option<&'a str>,
}

#[derive(Deserialize)]
struct Coded<'a> {
    #[serde(borrow)]
    code: Option<&'a str>,
}

#[derive(Deserialize)]
struct Location {
    latitude: Option<f64>,
    longitude: Option<f64>,
}

#[derive(Deserialize)]
struct Traits {
    autonomous_system_number: Option<u32>,
}

#[derive(Deserialize)]
struct Flat<'a> {
    #[serde(borrow)]
    country_code: Option<&'a str>,
    #[serde(borrow)]
    continent_code: Option<&'a str>,
    latitude: Option<f64>,
    longitude: Option<f64>,
    autonomous_system_number: Option<u32>,
    /// `AS7473`.
    #[serde(borrow)]
    asn: Option<&'a str>,
}

impl Nested<'_> {
    fn says_something(&self) -> bool {
        self.country.is_some()
            || self.registered_country.is_some()
            || self.location.is_some()
            || self.autonomous_system_number.is_some()
    }
}

impl Flat<'_> {
    fn says_something(&self) -> bool {
        self.country_code.is_some() || self.latitude.is_some() || self.asn.is_some()
    }
}

impl From<Nested<'_>> for Place {
    fn from(record: Nested<'_>) -> Self {
        // Where a network was registered is a hint when nobody knows where it is used.
        let code = |iso: Option<Iso<'_>>| iso.and_then(|iso| country(iso.iso_code?));
        let at = record.location.as_ref();
        Self {
            country: code(record.country).or_else(|| code(record.registered_country)),
            continent: record.continent.and_then(|continent| continent.code?.parse().ok()),
            position: position(at.and_then(|at| at.latitude), at.and_then(|at| at.longitude)),
            asn: record
                .autonomous_system_number
                .or_else(|| record.traits.and_then(|traits| traits.autonomous_system_number))
                .filter(|asn| *asn != 0),
            bits: 0,
        }
    }
}

impl From<Flat<'_>> for Place {
    fn from(record: Flat<'_>) -> Self {
        let text = |asn: &str| asn.strip_prefix("AS").unwrap_or(asn).parse().ok();
        Self {
            country: record.country_code.and_then(country),
            continent: record.continent_code.and_then(|code| code.parse().ok()),
            position: position(record.latitude, record.longitude),
            asn: record
                .autonomous_system_number
                .or_else(|| record.asn.and_then(text))
                .filter(|asn| *asn != 0),
            bits: 0,
        }
    }
}

/// Two letters, in capitals. Anything else (empty, `-`, `None`) is unknown, and so is `ZZ`, which stands for that.
fn country(code: &str) -> Option<[u8; 2]> {
    let code: [u8; 2] = code.as_bytes().try_into().ok()?;
    let code = code.map(|letter| letter.to_ascii_uppercase());
    (code.iter().all(u8::is_ascii_uppercase) && code != *b"ZZ").then_some(code)
}

/// Both in range, or unknown; so is the point at 0, 0, which is in the sea and means that somebody did not know either.
fn position(latitude: Option<f64>, longitude: Option<f64>) -> Option<(f64, f64)> {
    let (latitude, longitude) = (latitude?, longitude?);
    let sound = latitude.abs() <= 90.0 && longitude.abs() <= 180.0 && (latitude, longitude) != (0.0, 0.0);
    sound.then_some((latitude, longitude))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_country_and_no_position_is_unknown() {
        assert_eq!(country("sg"), Some(*b"SG"));
        for code in ["", "S", "SGP", "-", "--", "S1", "ZZ", "é"] {
            assert_eq!(country(code), None, "{code}");
        }
        assert_eq!(position(Some(1.3), Some(103.8)), Some((1.3, 103.8)));
        for (latitude, longitude) in
            [(91.0, 0.5), (0.5, 180.1), (f64::NAN, 1.0), (1.0, f64::INFINITY), (0.0, 0.0)]
        {
            assert_eq!(position(Some(latitude), Some(longitude)), None, "{latitude} {longitude}");
        }
        assert_eq!(position(Some(1.0), None), None);
    }

    #[test]
    fn a_continent_is_known_where_the_country_is_not() {
        let nested: Nested<'_> = serde_json::from_str(r#"{"continent": {"code": "EU"}}"#).unwrap();
        let flat: Flat<'_> = serde_json::from_str(r#"{"country_code": "", "continent_code": "AS"}"#).unwrap();
        let (nested, flat) = (Place::from(nested), Place::from(flat));
        assert_eq!((nested.country, nested.continent), (None, Some(Continent::Europe)));
        assert_eq!((flat.country, flat.continent), (None, Some(Continent::Asia)));
        let unknown: Nested<'_> = serde_json::from_str(r#"{"continent": {"code": "XX"}}"#).unwrap();
        assert_eq!(Place::from(unknown).continent, None);
    }

    #[test]
    fn prefixes_are_of_the_address_that_was_asked() {
        let v4 = IpAddr::from([1, 2, 3, 4]);
        assert_eq!(bits(v4, 24, false), 24);
        assert_eq!(bits(v4, 96, true), 0);
        assert_eq!(bits(v4, 120, true), 24);
        assert_eq!(bits(v4, 3, true), 0);
        assert_eq!(bits("2001:db8::1".parse().unwrap(), 32, true), 32);
    }
}
