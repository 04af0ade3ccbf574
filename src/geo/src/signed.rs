//! The map for who cannot ask: PoPs, their endpoints and the candidates of each country, signed.
//!
//! ```json
//! {"key":"hex of the first 8 octets of the public key","map":"base64url of JSON","signature":"base64url"}
//! ```
//!
//! The signature is Ed25519 over `nearport map 1\n` and the octets of the map. It may lie on a disk for months, come through
//! anybody's cache and be handed from device to device: whoever has the public key knows that it is the operator's, how old it is
//! ([`Map::made_s`]) and which of two is newer ([`Map::serial`]). A map that is out of date is still signed; whether it is better than
//! nothing is for its reader to say.

use std::collections::BTreeMap;
use std::net::IpAddr;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::table::POPS_MAX;

/// Longest signed map that is read, in octets.
pub const MAP_BYTES_MAX: usize = 1 << 20;

/// Candidates of one country at most.
const CANDIDATES_MAX: usize = POPS_MAX;

const CONTEXT: &[u8] = b"nearport map 1\n";

/// One PoP in a map.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MapPop {
    /// Its name.
    pub id: String,
    /// The city, for people.
    pub place: String,
    /// ISO 3166-1 alpha-2.
    pub country: String,
    /// Degrees north.
    pub lat: f64,
    /// Degrees east.
    pub lon: f64,
    /// Where its transports listen, by their names: those of [`crate::Endpoints::by_name`], and later ones.
    pub endpoints: BTreeMap<String, String>,
    /// Its addresses: no name has to be resolved with them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpAddr>,
}

/// What is signed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Map {
    /// 1. Readers ignore fields that they do not know and refuse versions that they do not know.
    pub version: u32,
    /// A later map has a larger one.
    pub serial: u64,
    /// When it was made, in Unix seconds.
    pub made_s: u64,
    /// When a newer one should have been fetched, in Unix seconds.
    pub good_until_s: u64,
    /// The PoPs, 1 to [`POPS_MAX`].
    pub pops: Vec<MapPop>,
    /// Candidates by country, best first, as indices into `pops`.
    pub countries: BTreeMap<String, Vec<u8>>,
    /// Candidates of a client of which nothing is known.
    pub everywhere: Vec<u8>,
}

/// Why a map is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MapError {
    /// Longer than [`MAP_BYTES_MAX`].
    #[error("the map is longer than {MAP_BYTES_MAX} bytes")]
    TooLong,
    /// Not what a server sends.
    #[error("the map is malformed: {0}")]
    Malformed(String),
    /// None of the reader's keys made the signature, or the map was changed.
    #[error("the map is not signed by a key that is known here")]
    Signature,
    /// Of a version that is not known here.
    #[error("the map is of version {0}, which is not known here")]
    Version(u32),
}

#[derive(Serialize, Deserialize)]
struct Envelope {
    key: String,
    map: String,
    signature: String,
}

impl Map {
    /// The PoPs for a client, best first. An unknown country gets those for everybody.
    pub fn candidates(&self, country: Option<&str>) -> impl Iterator<Item = &MapPop> {
        let listed = country.and_then(|country| self.countries.get(country));
        listed.unwrap_or(&self.everywhere).iter().filter_map(|index| self.pops.get(usize::from(*index)))
    }

    /// Signs. The result is text.
    #[must_use]
    pub fn sign(&self, key: &Ed25519KeyPair) -> String {
        let map = serde_json::to_vec(self).unwrap_or_default();
        let signature = key.sign(&[CONTEXT, &map].concat());
        let envelope = Envelope {
            key: key_id(key.public_key().as_ref()),
            map: URL_SAFE_NO_PAD.encode(map),
            signature: URL_SAFE_NO_PAD.encode(signature.as_ref()),
        };
        serde_json::to_string(&envelope).unwrap_or_default()
    }

    /// Reads a signed map. `keys` are the public keys of its operator: the current one, and during a change the next one.
    ///
    /// # Errors
    /// [`MapError`]. Nothing of a map is looked at before its signature is found good.
    pub fn verify(signed: &[u8], keys: &[[u8; 32]]) -> Result<Self, MapError> {
        if signed.len() > MAP_BYTES_MAX {
            return Err(MapError::TooLong);
        }
        let malformed = |error: &dyn std::fmt::Display| MapError::Malformed(error.to_string());
        let envelope: Envelope = serde_json::from_slice(signed).map_err(|error| malformed(&error))?;
        let octets = URL_SAFE_NO_PAD.decode(&envelope.map).map_err(|error| malformed(&error))?;
        let signature = URL_SAFE_NO_PAD.decode(&envelope.signature).map_err(|error| malformed(&error))?;
        let text = [CONTEXT, &octets].concat();
        // The key's name saves time and proves nothing.
        let named = keys.iter().filter(|key| key_id(&key[..]) == envelope.key);
        let good = |key: &[u8; 32]| UnparsedPublicKey::new(&ED25519, key).verify(&text, &signature).is_ok();
        if !named.into_iter().any(good) {
            return Err(MapError::Signature);
        }
        let version: Version = serde_json::from_slice(&octets).map_err(|error| malformed(&error))?;
        if version.version != 1 {
            return Err(MapError::Version(version.version));
        }
        let map: Self = serde_json::from_slice(&octets).map_err(|error| malformed(&error))?;
        map.check().map_err(|reason| MapError::Malformed(reason.to_owned()))?;
        Ok(map)
    }

    fn check(&self) -> Result<(), &'static str> {
        if !(1..=POPS_MAX).contains(&self.pops.len()) {
            return Err("it has no PoP, or too many");
        }
        let sound = |list: &Vec<u8>| {
            (1..=CANDIDATES_MAX).contains(&list.len())
                && list.iter().all(|index| usize::from(*index) < self.pops.len())
        };
        if !sound(&self.everywhere) || !self.countries.values().all(sound) {
            return Err("it names candidates that it does not have");
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// The name of a public key: its first 8 octets in hex.
#[must_use]
pub fn key_id(public: &[u8]) -> String {
    public.iter().take(8).map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(seed: u8) -> (Ed25519KeyPair, [u8; 32]) {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let public = pair.public_key().as_ref().try_into().unwrap();
        (pair, public)
    }

    fn map() -> Map {
        let pop = |id: &str| MapPop {
            id: id.to_owned(),
            place: "Somewhere".to_owned(),
            country: "SG".to_owned(),
            lat: 1.35,
            lon: 103.8,
            endpoints: [("quic".to_owned(), format!("{id}.example:4433"))].into(),
            addresses: vec!["192.0.2.1".parse().unwrap()],
        };
        Map {
            version: 1,
            serial: 7,
            made_s: 1_800_000_000,
            good_until_s: 1_800_600_000,
            pops: vec![pop("a"), pop("b")],
            countries: [("SG".to_owned(), vec![1, 0])].into(),
            everywhere: vec![0],
        }
    }

    #[test]
    fn a_signed_map_is_read_by_who_has_the_key() {
        let (pair, public) = key(1);
        let signed = map().sign(&pair);
        let (_, other) = key(2);
        let read = Map::verify(signed.as_bytes(), &[other, public]).unwrap();
        assert_eq!(read, map());
        let ids = |country| read.candidates(country).map(|pop| pop.id.as_str()).collect::<Vec<_>>();
        assert_eq!((ids(Some("SG")), ids(Some("FR")), ids(None)), (vec!["b", "a"], vec!["a"], vec!["a"]));
        for keys in [&[other][..], &[]] {
            assert_eq!(Map::verify(signed.as_bytes(), keys), Err(MapError::Signature));
        }
        // Another key under the name of the right one.
        let forged = map().sign(&key(3).0).replace(&key_id(&key(3).1), &key_id(&public));
        assert_eq!(Map::verify(forged.as_bytes(), &[public]), Err(MapError::Signature));
    }

    #[test]
    fn what_is_signed_but_makes_no_sense_is_refused() {
        let (pair, public) = key(1);
        let verify = |map: &Map| Map::verify(map.sign(&pair).as_bytes(), &[public]);
        assert_eq!(verify(&Map { version: 2, ..map() }), Err(MapError::Version(2)));
        let mut broken = [map(), map(), map(), map()];
        broken[0].pops.clear();
        broken[1].everywhere = vec![2];
        broken[2].everywhere.clear();
        broken[3].countries.insert("FR".to_owned(), vec![0, 9]);
        for map in &broken {
            assert!(matches!(verify(map), Err(MapError::Malformed(_))), "{map:?}");
        }
        assert_eq!(Map::verify(&vec![b' '; MAP_BYTES_MAX + 1], &[public]), Err(MapError::TooLong));
    }

    proptest! {
        #[test]
        fn a_changed_letter_is_noticed(at in 0..2_000usize, letter in 0x20..0x7fu8) {
            let (pair, public) = key(1);
            let mut signed = map().sign(&pair).into_bytes();
            let at = at % signed.len();
            prop_assume!(signed[at] != letter);
            signed[at] = letter;
            // Space around the values is the only thing that may differ.
            prop_assert!(Map::verify(&signed, &[public]).is_err());
        }

        #[test]
        fn no_text_panics(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Map::verify(&text, &[key(1).1]);
        }
    }
}
