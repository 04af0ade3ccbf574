//! Voices as octets, to be kept over a restart.
//!
//! ```text
//! "nearport voices 1\n" · number of PoPs: 1 · their ids: length 1, octets
//! number of cells: 4 · cells: country 2, degree 1 + (2 + 2), number of voices 1
//!   voices: address family 1 (4 or 6), address 3 or 6, AS number 4 (0: unknown), time 8, number of words 1
//!     words: PoP 1, milliseconds 4, time 8, reports 1
//! SHA-256 of all that: 32
//! ```
//!
//! Numbers are little endian. At most [`BYTES_MAX`] octets, which is what the bounds of [`Voices`] make of it.

use std::net::{Ipv4Addr, Ipv6Addr};

use aws_lc_rs::digest::{SHA256, digest};

use super::{CELLS_MAX, Cell, POPS_MAX, VOICES_MAX, Voice, Voices, Word};
use crate::network::Network;

const HEAD: &[u8] = b"nearport voices 1\n";
const SUM: usize = 32;

/// Longer than any that is written.
pub(crate) const BYTES_MAX: usize = 4_096 + CELLS_MAX * (8 + VOICES_MAX * (20 + POPS_MAX * 14)) + SUM;

/// Octets that are no voices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damaged {
    /// Of something else, or of a later version.
    #[error("it does not begin as voices of version 1 do")]
    Head,
    /// Longer than any that is written.
    #[error("longer than {BYTES_MAX} bytes")]
    TooLong,
    /// Cut short or changed.
    #[error("its sum is not that of its content: it was cut short or changed")]
    Sum,
    /// Sound, and makes no sense.
    #[error("its content makes no sense")]
    Content,
}

impl Voices {
    /// All of them. `ids` are those of the PoPs, by their places in the table.
    #[must_use]
    pub fn encode(&self, ids: &[&str]) -> Vec<u8> {
        let mut out = HEAD.to_vec();
        out.push(count(ids.len()));
        for id in ids {
            out.push(count(id.len()));
            out.extend_from_slice(id.as_bytes());
        }
        out.extend_from_slice(&u32::try_from(self.0.len()).unwrap_or(0).to_le_bytes());
        let mut cells: Vec<_> = self.0.iter().collect();
        cells.sort_unstable_by_key(|(cell, _)| **cell);
        for (cell, voices) in cells {
            out.extend_from_slice(&cell.country);
            out.push(cell.degree.is_some().into());
            let (lat, lon) = cell.degree.unwrap_or_default();
            out.extend_from_slice(&lat.to_le_bytes());
            out.extend_from_slice(&lon.to_le_bytes());
            out.push(count(voices.len()));
            voices.iter().for_each(|voice| voice.encode(&mut out));
        }
        let sum = digest(&SHA256, &out);
        out.extend_from_slice(sum.as_ref());
        out
    }

    /// Reads them; `place` says where a PoP is in the table now. What is said of PoPs that are in none is forgotten.
    ///
    /// # Errors
    /// [`Damaged`]: nothing of it is to be used.
    pub fn decode(octets: &[u8], place: impl Fn(&str) -> Option<u8>) -> Result<Self, Damaged> {
        if octets.len() > BYTES_MAX {
            return Err(Damaged::TooLong);
        }
        if !octets.starts_with(HEAD) {
            return Err(Damaged::Head);
        }
        let (body, sum) = octets.split_last_chunk::<SUM>().ok_or(Damaged::Sum)?;
        if digest(&SHA256, body).as_ref() != sum {
            return Err(Damaged::Sum);
        }
        let mut input = Input(body.get(HEAD.len()..).ok_or(Damaged::Sum)?);
        let voices = Self::read(&mut input, place).ok_or(Damaged::Content)?;
        if input.0.is_empty() { Ok(voices) } else { Err(Damaged::Content) }
    }

    fn read(input: &mut Input<'_>, place: impl Fn(&str) -> Option<u8>) -> Option<Self> {
        let mut places = Vec::new();
        for _ in 0..input.byte()? {
            let len = input.byte()?;
            places.push(place(std::str::from_utf8(input.take(len.into())?).ok()?));
        }
        let cells = usize::try_from(u32::from_le_bytes(input.array()?)).ok()?;
        let mut voices = Self::default();
        if cells > CELLS_MAX {
            return None;
        }
        for _ in 0..cells {
            let country: [u8; 2] = input.array()?;
            let known = input.byte()? != 0;
            let degree = (i16::from_le_bytes(input.array()?), i16::from_le_bytes(input.array()?));
            let cell = Cell { country, degree: known.then_some(degree) };
            let many = usize::from(input.byte()?);
            if many > VOICES_MAX || !country.iter().all(u8::is_ascii_uppercase) {
                return None;
            }
            let read: Option<Vec<Voice>> = (0..many).map(|_| Voice::decode(input, &places)).collect();
            voices.0.insert(cell, read?);
        }
        Some(voices)
    }
}

impl Voice {
    fn encode(&self, out: &mut Vec<u8>) {
        let octets = self.network.octets();
        // A /24 has three octets that count, a /48 six.
        let (family, len) = if self.network.address().is_ipv4() { (4, 3) } else { (6, 6) };
        out.push(family);
        out.extend_from_slice(&octets[1..=len]);
        out.extend_from_slice(&self.asn.unwrap_or(0).to_le_bytes());
        out.extend_from_slice(&self.at_s.to_le_bytes());
        out.push(count(self.words.len()));
        for word in &self.words {
            out.push(word.pop);
            out.extend_from_slice(&word.rtt_ms.to_le_bytes());
            out.extend_from_slice(&word.at_s.to_le_bytes());
            out.push(word.reports);
        }
    }

    fn decode(input: &mut Input<'_>, places: &[Option<u8>]) -> Option<Self> {
        let network = match input.byte()? {
            4 => {
                let [a, b, c]: [u8; 3] = input.array()?;
                Network::of(Ipv4Addr::new(a, b, c, 0).into())
            }
            6 => {
                let mut octets = [0; 16];
                octets[..6].copy_from_slice(input.take(6)?);
                Network::of(Ipv6Addr::from(octets).into())
            }
            _ => return None,
        };
        let asn = Some(u32::from_le_bytes(input.array()?)).filter(|asn| *asn != 0);
        let at_s = u64::from_le_bytes(input.array()?);
        let many = input.byte()?;
        if usize::from(many) > POPS_MAX {
            return None;
        }
        let mut words = Vec::with_capacity(many.into());
        for _ in 0..many {
            let pop = places.get(usize::from(input.byte()?))?;
            let rtt_ms = f32::from_le_bytes(input.array()?);
            let (at_s, reports) = (u64::from_le_bytes(input.array()?), input.byte()?);
            if !(0.0..=super::RTT_MAX_MS).contains(&rtt_ms) {
                return None;
            }
            words.extend(pop.map(|pop| Word { pop, rtt_ms, at_s, reports }));
        }
        Some(Self { network, asn, at_s, words })
    }
}

/// What is left to read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }
}

/// PoPs, voices and words are fewer than 256.
fn count(len: usize) -> u8 {
    u8::try_from(len).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const IDS: [&str; 4] = ["a", "b", "sg-singapore", "d"];

    fn same(id: &str) -> Option<u8> {
        IDS.iter().position(|one| *one == id).map(count)
    }

    fn voices() -> impl Strategy<Value = Voices> {
        let report = (0..30_u32, any::<bool>(), 0..3_u32, 0..4_u8, 0.0..6_000.0_f32, 0..1_000_u64);
        prop::collection::vec(report, 0..200).prop_map(|reports| {
            let mut voices = Voices::default();
            for (number, v6, asn, pop, rtt, at_s) in reports {
                let ip = match v6 {
                    false => Ipv4Addr::from_bits(0x0a00_0000 | number << 8).into(),
                    true => Ipv6Addr::from_bits(0x2001 << 112 | u128::from(number) << 80).into(),
                };
                let degree = (number % 2 == 0).then_some((-1, i16::try_from(number).unwrap()));
                let cell = Cell { country: [b'A' + u8::try_from(number % 7).unwrap(), b'Z'], degree };
                let asn = Some(asn).filter(|asn| *asn != 0);
                voices.hear(cell, Network::of(ip), asn, &[(pop, rtt)], at_s);
            }
            voices
        })
    }

    proptest! {
        #[test]
        fn what_was_kept_comes_back(voices in voices()) {
            let octets = voices.encode(&IDS);
            prop_assert!(octets.len() <= BYTES_MAX);
            prop_assert_eq!(Voices::decode(&octets, same), Ok(voices));
        }

        #[test]
        fn a_changed_octet_is_noticed(voices in voices(), at in any::<prop::sample::Index>(), flip in 1..=255_u8, cut in any::<prop::sample::Index>()) {
            let mut octets = voices.encode(&IDS);
            let at = at.index(octets.len());
            octets[at] ^= flip;
            prop_assert!(Voices::decode(&octets, same).is_err());
            octets[at] ^= flip;
            octets.truncate(cut.index(octets.len()));
            prop_assert!(Voices::decode(&octets, same).is_err());
        }

        #[test]
        fn no_content_panics(content in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut octets = [HEAD, &content].concat();
            octets.extend_from_slice(digest(&SHA256, &octets).as_ref());
            let _ = Voices::decode(&octets, same);
        }
    }

    #[test]
    fn pops_are_found_again_by_their_ids() {
        let mut voices = Voices::default();
        let cell = Cell { country: *b"SG", degree: None };
        for number in 0..3 {
            let network = Network::of(Ipv4Addr::from_bits(number << 8).into());
            voices.hear(cell, network, None, &[(2, 9.0), (1, 70.0)], 5);
        }
        let moved = |id: &str| (id == "sg-singapore").then_some(0);
        let mut back = Voices::decode(&voices.encode(&IDS), moved).unwrap();
        let said = back.said(5).cells;
        assert_eq!(said[0].1.iter().map(|said| (said.pop, said.voices)).collect::<Vec<_>>(), [(0, 3)]);
        assert_eq!(Voices::decode(b"something else", moved), Err(Damaged::Head));
        assert_eq!(Voices::decode(&vec![0; BYTES_MAX + 1], moved), Err(Damaged::TooLong));
    }
}
