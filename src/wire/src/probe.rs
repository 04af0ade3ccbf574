//! The cheapest packet that an edge answers: is somebody there, and how far away?
//!
//! ```text
//! probe  = first:u8 version:u32 8 there:[u8; 8] 8 here:[u8; 8] 0…      ; 1,200 bytes, version 0x6a7a_3a5a
//! answer = first:u8 0:u32       8 here:[u8; 8]  8 there:[u8; 8] version:u32 …
//! ```
//!
//! A probe is a QUIC long header of a version that is reserved for drawing Version Negotiation (RFC 9000 §6.3, §15), and its answer is
//! such a packet (§17.2.1): without keys, without state, and a thirtieth as long as what it answers, so that nobody can be flooded
//! with it in another's name. The sixteen octets of both ids are drawn at random for each probe and come back the other way round;
//! who has not seen a probe cannot answer it. Any QUIC server that follows the RFC answers alike.
//!
//! Of all unknown versions a Nearport edge answers this one only: a client that speaks another version has no use for a list of one.

/// The version of a probe, of the form `0x?a?a?a?a` (RFC 9000 §15).
pub const VERSION: u32 = 0x6a7a_3a5a;

/// Length of a probe: shorter packets of an unknown version draw no answer (RFC 9000 §5.2.2).
pub const PROBE_BYTES: usize = 1200;

/// Longest answer that [`answer`] makes.
pub const ANSWER_BYTES_MAX: usize = 1 + 4 + 2 * (1 + ID_BYTES_MAX) + 8;

/// Length of each of the two ids: the shortest that a first destination id may have (RFC 9000 §7.2).
const ID_BYTES: usize = 8;

/// Longest id of QUIC v1 (RFC 9000 §17.2).
const ID_BYTES_MAX: usize = 20;

/// The version that answers offer.
const QUIC_V1: u32 = 1;

/// Another reserved one, for whoever believes that a list has one entry (RFC 9000 §6.3).
const GREASE: u32 = 0x0a1a_2a3a;

const LONG: u8 = 0xc0;

/// A probe under way: what its answer is told by. Draw it from a good source of randomness, each time anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Probe([u8; 2 * ID_BYTES]);

impl Probe {
    /// The probe of these random octets.
    #[must_use]
    pub fn new(random: [u8; 16]) -> Self {
        Self(random)
    }

    /// The datagram to send, [`PROBE_BYTES`] long. The same one again is the same probe: the round trip is then counted from the
    /// last, at the risk that it was the first that was answered.
    #[must_use]
    pub fn packet(&self) -> [u8; PROBE_BYTES] {
        let mut out = [0; PROBE_BYTES];
        let (there, here) = self.0.split_at(ID_BYTES);
        out[0] = LONG;
        out[1..5].copy_from_slice(&VERSION.to_be_bytes());
        out[5] = 8;
        out[6..14].copy_from_slice(there);
        out[14] = 8;
        out[15..23].copy_from_slice(here);
        out
    }

    /// The probe that `datagram` answers, if it is an answer at all. Whoever has several under way on one socket looks it up
    /// among them; it counts only if it is there.
    #[must_use]
    pub fn answered(datagram: &[u8]) -> Option<Self> {
        let Header { version, destination: here, source: there, rest } = header(datagram)?;
        // At least one version, and whole ones.
        let list = !rest.is_empty() && rest.len().is_multiple_of(4);
        if version != 0 || !list {
            return None;
        }
        let (there, here): (&[u8; ID_BYTES], &[u8; ID_BYTES]) =
            (there.try_into().ok()?, here.try_into().ok()?);
        let mut ids = [0; 2 * ID_BYTES];
        ids[..ID_BYTES].copy_from_slice(there);
        ids[ID_BYTES..].copy_from_slice(here);
        Some(Self(ids))
    }
}

/// Whether `datagram` is a probe that may be answered: of [`VERSION`], and of full length.
#[must_use]
pub fn is_probe(datagram: &[u8]) -> bool {
    datagram.len() >= PROBE_BYTES && datagram[0] & 0x80 != 0 && datagram[1..5] == VERSION.to_be_bytes()
}

/// Appends the answer to a probe, at most [`ANSWER_BYTES_MAX`]. Returns whether there is one.
///
/// Ids of any length up to 20 are sent back (RFC 8999 §6), so that other programs' probes are answered too.
pub fn answer(datagram: &[u8], out: &mut Vec<u8>) -> bool {
    let Some(Header { destination, source, .. }) = header(datagram).filter(|_| is_probe(datagram)) else {
        return false;
    };
    out.push(LONG);
    out.extend_from_slice(&0_u32.to_be_bytes());
    for id in [source, destination] {
        out.push(u8::try_from(id.len()).unwrap_or(0));
        out.extend_from_slice(id);
    }
    for version in [GREASE, QUIC_V1] {
        out.extend_from_slice(&version.to_be_bytes());
    }
    true
}

/// What all versions of QUIC have in common (RFC 8999 §5.1).
struct Header<'a> {
    version: u32,
    destination: &'a [u8],
    source: &'a [u8],
    rest: &'a [u8],
}

fn header(datagram: &[u8]) -> Option<Header<'_>> {
    let (first, rest) = datagram.split_first()?;
    let (version, rest) = rest.split_first_chunk()?;
    let (destination, rest) = id(rest)?;
    let (source, rest) = id(rest)?;
    (first & 0x80 != 0).then_some(Header { version: u32::from_be_bytes(*version), destination, source, rest })
}

fn id(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let length = usize::from(*length);
    (length <= ID_BYTES_MAX).then(|| rest.split_at_checked(length))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn answer_to(probe: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        assert!(answer(probe, &mut out));
        out
    }

    /// The vectors of docs/protocol.md.
    #[test]
    fn the_bytes_are_those_of_the_document() {
        let probe = Probe::new(std::array::from_fn(|at| u8::try_from(at).unwrap()));
        let packet = probe.packet();
        assert_eq!(
            packet[..23],
            [0xc0, 0x6a, 0x7a, 0x3a, 0x5a, 8, 0, 1, 2, 3, 4, 5, 6, 7, 8, 8, 9, 10, 11, 12, 13, 14, 15]
        );
        assert!(packet[23..].iter().all(|octet| *octet == 0));
        let answer = answer_to(&packet);
        let expected: &[u8] = &[
            0xc0, 0, 0, 0, 0, 8, 8, 9, 10, 11, 12, 13, 14, 15, 8, 0, 1, 2, 3, 4, 5, 6, 7, 0x0a, 0x1a, 0x2a,
            0x3a, 0, 0, 0, 1,
        ];
        assert_eq!(answer, expected);
        assert_eq!(Probe::answered(&answer), Some(probe));
    }

    #[test]
    fn what_is_not_the_answer_does_not_count() {
        let probe = Probe::new([7; 16]);
        let good = answer_to(&probe.packet());
        assert_ne!(Probe::answered(&good), Some(Probe::new([8; 16])), "another probe's");
        for at in [0, 1, 5, 6, 14, 15, 22] {
            let mut bad = good.clone();
            bad[at] ^= 0x80;
            assert_ne!(Probe::answered(&bad), Some(probe), "octet {at}");
        }
        for length in [0, 1, 22, 23, 24, good.len() - 1] {
            assert_ne!(Probe::answered(&good[..length]), Some(probe), "cut at {length}");
        }
        assert_ne!(Probe::answered(&probe.packet()), Some(probe), "the probe itself");
    }

    #[test]
    fn only_whole_probes_are_answered() {
        let packet = Probe::new([3; 16]).packet();
        let mut out = Vec::new();
        assert!(!answer(&packet[..PROBE_BYTES - 1], &mut out), "short");
        let mut other = packet;
        other[4] = 1;
        assert!(!answer(&other, &mut out), "another version");
        let mut short_header = packet;
        short_header[0] = 0x40;
        assert!(!answer(&short_header, &mut out));
        let mut long_id = packet;
        long_id[5] = 21;
        assert!(!answer(&long_id, &mut out));
        let negotiation = answer_to(&packet);
        assert!(!answer(&negotiation, &mut out), "answers are not answered");
        assert!(out.is_empty());
    }

    proptest! {
        #[test]
        fn each_probe_is_told_by_its_answer(random: [u8; 16], other: [u8; 16]) {
            let probe = Probe::new(random);
            let answer = answer_to(&probe.packet());
            prop_assert_eq!(Probe::answered(&answer), Some(probe));
            prop_assert_eq!(Probe::answered(&answer) == Some(Probe::new(other)), other == random);
        }

        #[test]
        fn any_bytes_are_answered_shorter_or_not_at_all(
            version in prop_oneof![Just(VERSION), any::<u32>()],
            first: u8,
            bytes in proptest::collection::vec(any::<u8>(), 0..1500),
        ) {
            let datagram: Vec<u8> = [&[first][..], &version.to_be_bytes(), &bytes].concat();
            let mut out = Vec::new();
            if answer(&datagram, &mut out) {
                prop_assert!(out.len() <= ANSWER_BYTES_MAX && is_probe(&datagram));
            } else {
                prop_assert!(out.is_empty());
            }
            let _ = Probe::answered(&datagram);
        }
    }
}
