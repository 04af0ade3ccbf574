//! What a datagram is, from its first octets, before anything is copied or decrypted.
//!
//! Only the invariant part of the header is read (RFC 8999) and the packet type of QUIC v1 (RFC 9000 §17.2). What a
//! datagram claims here is not proved: the endpoint checks it again with keys.

use nearport_wire::probe;

use crate::cid::CID_LEN;

/// The version that this edge speaks.
const QUIC_V1: u32 = 1;

/// Every Initial of a client fills at least this many bytes, later ones of a handshake too (RFC 9000 §14.1).
const INITIAL_BYTES_MIN: usize = 1200;

/// A client chooses at least eight octets for its first destination id (RFC 9000 §7.2), and no id is longer than
/// twenty (§17.2).
const FIRST_ID_BYTES_MIN: usize = 8;
const ID_BYTES_MAX: usize = 20;

const LONG_HEADER: u8 = 0x80;

/// What a datagram is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class<'a> {
    /// A packet of a connection that exists, or one that costs no more than a look-up to refuse.
    Pass,
    /// The first packet is an Initial: it may begin a connection, and costs keys and perhaps a signature.
    Initial(Initial<'a>),
    /// Whether somebody is there, see [`nearport_wire::probe`].
    Probe,
    /// Dropped without an answer.
    Drop(Dropped),
}

/// The parts of an Initial that admission looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Initial<'a> {
    /// Where it goes: an id that the client made up, or one of ours later in the handshake.
    pub destination: &'a [u8],
    /// The client's own connection id: the same in every Initial of one handshake, also after a Retry.
    pub source: &'a [u8],
    /// Whether it carries a token, good or bad.
    pub has_token: bool,
}

/// Why a datagram was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// An Initial in less than 1200 bytes.
    Short,
    /// A version that is not spoken here. A list of versions in answer would serve nobody: there is one version.
    Version,
    /// No QUIC header, or a packet type that a server has no use for.
    Form,
}

/// Looks at a datagram. For packets of live connections this is one comparison.
#[must_use]
pub fn classify(datagram: &[u8]) -> Class<'_> {
    match datagram.first() {
        Some(first) if first & LONG_HEADER == 0 => Class::Pass,
        Some(first) => long(*first, datagram).unwrap_or(Class::Drop(Dropped::Form)),
        None => Class::Drop(Dropped::Form),
    }
}

/// `None` if the header does not fit the datagram.
fn long(first: u8, datagram: &[u8]) -> Option<Class<'_>> {
    let version = u32::from_be_bytes(datagram.get(1..5)?.try_into().ok()?);
    if version != QUIC_V1 {
        if probe::is_probe(datagram) {
            return Some(Class::Probe);
        }
        return Some(Class::Drop(Dropped::Version));
    }
    let (destination, rest) = id(datagram.get(5..)?)?;
    let (source, rest) = id(rest)?;
    match (first >> 4) & 3 {
        // Initial.
        0 if datagram.len() < INITIAL_BYTES_MIN => Some(Class::Drop(Dropped::Short)),
        0 if destination.len() >= FIRST_ID_BYTES_MIN => {
            // A token length of zero is one octet, in the shortest form or in none that a sane client uses.
            let has_token = *rest.first()? != 0;
            Some(Class::Initial(Initial { destination, source, has_token }))
        }
        // Handshake: by then the client uses the id that we gave it.
        2 if destination.len() == CID_LEN => Some(Class::Pass),
        // 0-RTT is not accepted, Retry is a server's packet.
        _ => None,
    }
}

fn id(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first()?;
    let len = usize::from(*len);
    (len <= ID_BYTES_MAX).then(|| rest.split_at_checked(len))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(first: u8, version: u32, ids: [usize; 2], token: &[u8], len: usize) -> Vec<u8> {
        let mut packet = vec![first];
        packet.extend(version.to_be_bytes());
        for (octet, len) in (7..).zip(ids) {
            packet.push(u8::try_from(len).unwrap());
            packet.extend(std::iter::repeat_n(octet, len));
        }
        packet.extend(token);
        packet.resize(packet.len().max(len), 0);
        packet
    }

    #[test]
    fn each_form_has_its_class() {
        let initial =
            |has_token| Class::Initial(Initial { destination: &[7; 8], source: &[8; 5], has_token });
        let dropped = Class::Drop;
        for (name, packet, class) in [
            ("nothing", vec![], dropped(Dropped::Form)),
            ("short header", vec![0x40], Class::Pass),
            ("short header without the fixed bit", vec![0], Class::Pass),
            ("an Initial", packet(0xc0, 1, [8, 5], &[0], 1200), initial(false)),
            ("an Initial with a token", packet(0xc0, 1, [8, 5], &[3, 1, 2, 3], 1200), initial(true)),
            ("an Initial in 1199 bytes", packet(0xc0, 1, [8, 5], &[0], 1199), dropped(Dropped::Short)),
            ("version 2", packet(0xc0, 0x6b33_43cf, [8, 5], &[0], 1200), dropped(Dropped::Version)),
            ("a probe", packet(0xc0, probe::VERSION, [8, 8], &[], 1200), Class::Probe),
            (
                "a probe in 1199 bytes",
                packet(0xc0, probe::VERSION, [8, 8], &[], 1199),
                dropped(Dropped::Version),
            ),
            ("version negotiation", packet(0x80, 0, [8, 5], &[0], 1200), dropped(Dropped::Version)),
            ("a short id", packet(0xc0, 1, [7, 5], &[0], 1200), dropped(Dropped::Form)),
            ("a long id", packet(0xc0, 1, [21, 5], &[0], 1200), dropped(Dropped::Form)),
            ("a long source id", packet(0xc0, 1, [8, 21], &[0], 1200), dropped(Dropped::Form)),
            ("0-RTT", packet(0xd0, 1, [17, 5], &[], 1200), dropped(Dropped::Form)),
            ("Handshake", packet(0xe0, 1, [17, 5], &[], 100), Class::Pass),
            ("Handshake to a foreign id", packet(0xe0, 1, [8, 5], &[], 100), dropped(Dropped::Form)),
            ("Retry", packet(0xf0, 1, [17, 5], &[], 1200), dropped(Dropped::Form)),
            ("half a header", vec![0xc0, 0, 0, 0, 1, 8, 1], dropped(Dropped::Form)),
        ] {
            assert_eq!(classify(&packet), class, "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_class(bytes in proptest::collection::vec(any::<u8>(), 0..1400)) {
            let class = classify(&bytes);
            if let Class::Initial(initial) = class {
                prop_assert!(bytes.len() >= INITIAL_BYTES_MIN && initial.source.len() <= ID_BYTES_MAX);
            }
        }
    }
}
