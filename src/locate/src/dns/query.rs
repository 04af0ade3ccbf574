//! What a query says, read where it lies: no allocation, no recursion, and nothing behind the packet's end.
//!
//! The whole message is walked, records included that mean nothing here, so that what is malformed anywhere is refused. A name in
//! the question may not be compressed: there is nothing in front of it to point to. Names elsewhere are skipped, their pointers never
//! followed, so no loop can be built.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Octets of a message's header.
pub(crate) const HEADER: usize = 12;
/// Octets of a name at most (RFC 1035, 3.1).
pub(crate) const NAME_BYTES_MAX: usize = 255;
/// The class of everything that is answered.
pub(crate) const IN: u16 = 1;
/// The pseudo-record of EDNS (RFC 6891).
pub(crate) const OPT: u16 = 41;
/// EDNS client subnet (RFC 7871).
pub(crate) const SUBNET: u16 = 8;

/// Response codes in use (RFC 1035, 4.1.1; RFC 6891, 9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rcode {
    NoError = 0,
    FormErr = 1,
    ServFail = 2,
    NxDomain = 3,
    NotImp = 4,
    Refused = 5,
    BadVers = 16,
}

/// A query as far as it could be read.
#[derive(Debug, Clone)]
pub(crate) struct Query<'a> {
    pub(crate) id: [u8; 2],
    pub(crate) opcode: u8,
    /// Recursion desired and checking disabled: they come back as they came (RFC 1035, 4.1.1; RFC 4035, 3.1.6).
    pub(crate) kept: [u8; 2],
    /// Name, type and class as on the wire; empty if there is none that can be read.
    pub(crate) question: &'a [u8],
    pub(crate) qtype: u16,
    pub(crate) class: u16,
    pub(crate) edns: Option<Edns>,
}

impl<'a> Query<'a> {
    /// The name asked for, as on the wire.
    pub(crate) fn name(&self) -> &'a [u8] {
        &self.question[..self.question.len().saturating_sub(4)]
    }
}

/// What an OPT record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Edns {
    /// The longest answer over UDP that is taken.
    pub(crate) payload: u16,
    pub(crate) version: u8,
    pub(crate) dnssec_ok: bool,
    pub(crate) subnet: Option<Subnet>,
}

/// The client's network, as a resolver tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Subnet {
    /// 1 for IPv4, 2 for IPv6; 0 only with no bits at all, as `dig +subnet=0` writes it.
    pub(crate) family: u16,
    /// How many bits there are.
    pub(crate) source: u8,
    /// The bits, the rest 0.
    pub(crate) octets: [u8; 16],
}

impl Subnet {
    /// How many octets of the address are on the wire.
    pub(crate) fn bytes(&self) -> usize {
        usize::from(self.source.div_ceil(8))
    }

    /// Its first address; `None` where the client wants nothing of itself to be used.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        let [a, b, c, d, ..] = self.octets;
        match self.family {
            _ if self.source == 0 => None,
            1 => Some(Ipv4Addr::new(a, b, c, d).into()),
            _ => Some(Ipv6Addr::from(self.octets).into()),
        }
    }

    fn read(option: &[u8]) -> Option<Self> {
        let (&[high, low, source, scope], address) = option.split_first_chunk()?;
        let family = u16::from_be_bytes([high, low]);
        let longest = match family {
            0 => 0,
            1 => 32,
            2 => 128,
            _ => return None,
        };
        let bytes = usize::from(source.div_ceil(8));
        // The scope is for answers to say (RFC 7871, 6); an address has as many octets as it needs, and no bit beyond (same place).
        if source > longest || scope != 0 || address.len() != bytes {
            return None;
        }
        let beyond = source.wrapping_neg() % 8;
        if address.last().is_some_and(|last| last.trailing_zeros() < u32::from(beyond)) {
            return None;
        }
        let mut octets = [0; 16];
        octets[..bytes].copy_from_slice(address);
        Some(Self { family, source, octets })
    }
}

/// Reads a packet. `None` for what must never be answered: no message at all, and an answer (two servers would answer each other for
/// ever, RUSTSEC-2023-0041). The code is what the answer is to say, [`Rcode::NoError`] if the query is a good one.
pub(crate) fn read(packet: &[u8]) -> Option<(Query<'_>, Rcode)> {
    let (header, rest) = packet.split_first_chunk::<HEADER>()?;
    let [id_high, id_low, flags, more, counts @ ..] = *header;
    if flags & 0x80 != 0 {
        return None;
    }
    let mut query = Query {
        id: [id_high, id_low],
        opcode: flags >> 3 & 0xf,
        kept: [flags & 0x01, more & 0x10],
        question: &[],
        qtype: 0,
        class: 0,
        edns: None,
    };
    let [q1, q2, a1, a2, n1, n2, d1, d2] = counts;
    let counts = [[q1, q2], [a1, a2], [n1, n2], [d1, d2]].map(u16::from_be_bytes);
    let code = match query.opcode {
        0 => read_sections(&mut query, rest, counts).err().unwrap_or(Rcode::NoError),
        _ => Rcode::NotImp,
    };
    Some((query, code))
}

fn read_sections<'a>(
    query: &mut Query<'a>,
    rest: &'a [u8],
    [questions, answers, authorities, additionals]: [u16; 4],
) -> Result<(), Rcode> {
    // One question or none that counts (RFC 9619).
    if questions != 1 {
        return Err(Rcode::FormErr);
    }
    let name = question_name(rest).ok_or(Rcode::FormErr)?;
    let (question, rest) = rest.split_at_checked(name + 4).ok_or(Rcode::FormErr)?;
    let &[.., t1, t2, c1, c2] = question else { return Err(Rcode::FormErr) };
    (query.question, query.qtype, query.class) =
        (question, u16::from_be_bytes([t1, t2]), u16::from_be_bytes([c1, c2]));
    let mut cursor = Cursor(rest);
    for _ in 0..u32::from(answers) + u32::from(authorities) {
        if cursor.record().ok_or(Rcode::FormErr)?.kind == OPT {
            return Err(Rcode::FormErr);
        }
    }
    for _ in 0..additionals {
        let record = cursor.record().ok_or(Rcode::FormErr)?;
        if record.kind == OPT {
            read_opt(query, &record)?;
        }
    }
    // Behind the last record nothing is left.
    if !cursor.0.is_empty() {
        return Err(Rcode::FormErr);
    }
    match query.edns {
        Some(edns) if edns.version != 0 => Err(Rcode::BadVers),
        _ => Ok(()),
    }
}

fn read_opt(query: &mut Query<'_>, record: &Record<'_>) -> Result<(), Rcode> {
    // One, of the root (RFC 6891, 6.1.1 and 6.1.2).
    if query.edns.is_some() || !record.root {
        return Err(Rcode::FormErr);
    }
    let [_, version, flags, _] = record.ttl;
    // It is there, so the answer has one too, whatever its options are like.
    let edns = query.edns.insert(Edns {
        payload: record.class,
        version,
        dnssec_ok: flags & 0x80 != 0,
        subnet: None,
    });
    // What the options of another version look like is not known.
    if version != 0 {
        return Ok(());
    }
    let (mut subnet, mut cursor) = (None, Cursor(record.data));
    while !cursor.0.is_empty() {
        let (code, length) = (cursor.number().ok_or(Rcode::FormErr)?, cursor.number().ok_or(Rcode::FormErr)?);
        let option = cursor.take(length.into()).ok_or(Rcode::FormErr)?;
        if code == SUBNET {
            let read = Subnet::read(option).ok_or(Rcode::FormErr)?;
            if subnet.replace(read).is_some() {
                return Err(Rcode::FormErr);
            }
        }
    }
    edns.subnet = subnet;
    Ok(())
}

/// How many octets the name at the front has, its end included; `None` if it is compressed, too long or cut off.
fn question_name(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let label = usize::from(*bytes.get(at)?);
        at += 1 + label;
        if label > 63 || at > NAME_BYTES_MAX {
            return None;
        }
        if label == 0 {
            return Some(at);
        }
    }
}

struct Record<'a> {
    /// Whether its owner is the root.
    root: bool,
    kind: u16,
    class: u16,
    ttl: [u8; 4],
    data: &'a [u8],
}

/// What is left of a message.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u16> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u16::from_be_bytes(*number))
    }

    fn record(&mut self) -> Option<Record<'a>> {
        let root = self.0.first() == Some(&0);
        self.skip_name()?;
        let (kind, class) = (self.number()?, self.number()?);
        let (ttl, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        let length = self.number()?;
        Some(Record { root, kind, class, ttl: *ttl, data: self.take(length.into())? })
    }

    fn skip_name(&mut self) -> Option<()> {
        let mut bytes = 0;
        loop {
            let length = self.take(1)?[0];
            match length {
                0 => return Some(()),
                // A pointer ends a name.
                0xc0.. => return self.take(1).map(drop),
                1..=63 => self.take(length.into())?,
                _ => return None,
            };
            bytes += 1 + usize::from(length);
            if bytes >= NAME_BYTES_MAX {
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_is_read_to_the_bit() {
        let read = |bytes: &[u8]| Subnet::read(bytes);
        let subnet = read(&[0, 1, 24, 0, 192, 0, 2]).unwrap();
        assert_eq!(subnet.address(), Some("192.0.2.0".parse().unwrap()));
        assert_eq!(
            read(&[0, 1, 21, 0, 192, 0, 0xf8]).unwrap().address(),
            Some("192.0.248.0".parse().unwrap())
        );
        let subnet = read(&[0, 2, 32, 0, 0x20, 1, 0xd, 0xb8]).unwrap();
        assert_eq!(subnet.address(), Some("2001:db8::".parse().unwrap()));
        for nothing in [&[0, 1, 0, 0][..], &[0, 2, 0, 0], &[0, 0, 0, 0]] {
            assert_eq!(read(nothing).unwrap().address(), None);
        }
        for (bad, why) in [
            (&[0, 1, 24, 0, 192, 0, 2, 0][..], "an octet too many"),
            (&[0, 1, 24, 0, 192, 0], "one too few"),
            (&[0, 1, 21, 0, 192, 0, 0xfc], "a bit beyond"),
            (&[0, 1, 1, 0, 0x40], "a bit beyond"),
            (&[0, 1, 24, 24, 192, 0, 2], "a scope in a query"),
            (&[0, 1, 33, 0, 1, 2, 3, 4, 0], "longer than an address"),
            (&[0, 3, 0, 0], "no such family"),
            (&[0, 0, 8, 0, 1], "bits of no family"),
            (&[0, 1, 0], "cut off"),
        ] {
            assert_eq!(read(bad), None, "{why}");
        }
    }

    #[test]
    fn names_end_where_they_must() {
        assert_eq!(question_name(b"\x01a\x00rest"), Some(3));
        assert_eq!(question_name(b"\x00"), Some(1));
        assert_eq!(question_name(b"\x01a"), None);
        assert_eq!(question_name(b"\xc0\x0c"), None, "compressed");
        assert_eq!(question_name(&[&[64][..], &[0; 100]].concat()), None, "no such label");
        let long = [[63_u8; 64]; 4].concat();
        assert_eq!(question_name(&[&long[..], &[0]].concat()), None, "257 octets");
        let mut longest = [[63_u8; 64]; 3].concat();
        longest.extend([61; 62]);
        longest.push(0);
        assert_eq!(question_name(&longest), Some(NAME_BYTES_MAX));
    }
}
