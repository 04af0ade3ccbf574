//! PROXY protocol, version 2: how a load balancer in front of the TCP port tells who the client is.
//!
//! ```text
//! signature: 12 octets | version 2, command: u8 | family, protocol: u8 | length: u16 | addresses, then TLVs: length octets
//! ```
//!
//! Source: <https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt>, section 2.2. Who may send it is decided by
//! the socket's peer: a [`Cidr`] of the configuration. From such a peer the header is required, since a client that
//! could leave it out would be taken for the load balancer; from anybody else it is never read, since a client that
//! could send it would choose its own address.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// What every header begins with. It is no beginning of TLS or HTTP.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, two octets of what it is, two of length.
const FIXED_BYTES: usize = 16;

/// Longest variable part that is taken. The addresses need 36 octets; the rest is for TLVs, which a load balancer adds
/// to tell about its own TLS and which are skipped.
const VARIABLE_BYTES_MAX: usize = 536;

/// Longest header.
pub(crate) const HEADER_BYTES_MAX: usize = FIXED_BYTES + VARIABLE_BYTES_MAX;

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// Octets it takes; what follows is the client's.
    pub(crate) bytes: usize,
    /// The client's address. `None`: the load balancer speaks for itself (a health check), or does not know.
    pub(crate) client: Option<SocketAddr>,
}

/// Octets that are no header of a kind that makes sense here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("no PROXY protocol v2 header from a source that has to send one")]
    Signature,
    #[error("PROXY protocol version {0}: only 2 is read")]
    Version(u8),
    #[error("PROXY command {0}: only LOCAL (0) and PROXY (1) exist")]
    Command(u8),
    #[error(
        "PROXY address family and protocol {0:#04x}: only TCP over IPv4 (0x11) and IPv6 (0x21) come here"
    )]
    Family(u8),
    #[error("PROXY header of {0} octets after its fixed part: the limit is {VARIABLE_BYTES_MAX}")]
    TooLong(usize),
    #[error("PROXY header of {0} octets after its fixed part: too short for its addresses")]
    TooShort(usize),
}

/// Reads the header in front of `bytes`; `None` if more octets are needed.
///
/// # Errors
/// [`Refusal`] as soon as an octet shows it, whatever is still missing.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Header>, Refusal> {
    let seen = bytes.len().min(SIGNATURE.len());
    if bytes[..seen] != SIGNATURE[..seen] {
        return Err(Refusal::Signature);
    }
    let Some(what) = bytes.get(12) else { return Ok(None) };
    if what >> 4 != 2 {
        return Err(Refusal::Version(what >> 4));
    }
    let local = match what & 0xf {
        0 => true,
        1 => false,
        command => return Err(Refusal::Command(command)),
    };
    let Some(fixed) = bytes.get(..FIXED_BYTES) else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if length > VARIABLE_BYTES_MAX {
        return Err(Refusal::TooLong(length));
    }
    let family = fixed[13];
    // LOCAL may carry any family, which the receiver has to ignore.
    let needed = match family {
        _ if local => 0,
        0x00 => 0,
        0x11 => 12,
        0x21 => 36,
        _ => return Err(Refusal::Family(family)),
    };
    if length < needed {
        return Err(Refusal::TooShort(length));
    }
    let Some(variable) = bytes.get(FIXED_BYTES..FIXED_BYTES + length) else { return Ok(None) };
    let client = if local { None } else { source(family, variable) };
    Ok(Some(Header { bytes: FIXED_BYTES + length, client }))
}

/// The source address: source, destination, source port, destination port, in network order.
fn source(family: u8, variable: &[u8]) -> Option<SocketAddr> {
    let (ip, port) = match family {
        0x11 => {
            let octets: [u8; 4] = variable.get(..4)?.try_into().ok()?;
            (IpAddr::from(Ipv4Addr::from(octets)), variable.get(8..10)?)
        }
        0x21 => {
            let octets: [u8; 16] = variable.get(..16)?.try_into().ok()?;
            (IpAddr::from(Ipv6Addr::from(octets)), variable.get(32..34)?)
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip.to_canonical(), u16::from_be_bytes(port.try_into().ok()?)))
}

/// A range of IP addresses: `10.0.0.0/8`, `2001:db8::/32`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cidr {
    network: IpAddr,
    bits: u8,
}

/// Text that is no range of addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    /// The part before the slash.
    #[error("{0:?} is not an IP address: write a range such as 10.0.0.0/8 or 2001:db8::/32")]
    Address(String),
    /// The part behind it.
    #[error("/{0} is not a prefix length: 0 to 32 for IPv4, 0 to 128 for IPv6")]
    Bits(String),
    /// An address inside a range in place of the range.
    #[error("{given} is one address inside a range: write {range}, or /{full} for this one address")]
    HostBits {
        /// What was written.
        given: String,
        /// The range that it lies in.
        range: Cidr,
        /// The prefix length of one address.
        full: u8,
    },
}

impl Cidr {
    /// Whether an address lies in the range. An IPv4 address that a dual-stack socket reports as IPv6 counts as IPv4.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        masked(ip.to_canonical(), self.bits) == Some(self.network)
    }
}

/// The address without its last bits; `None` if it has fewer than `bits`.
fn masked(ip: IpAddr, bits: u8) -> Option<IpAddr> {
    match ip {
        IpAddr::V4(ip) => {
            let shift = 32u32.checked_sub(bits.into())?;
            Some(Ipv4Addr::from_bits(ip.to_bits() & u32::MAX.checked_shl(shift).unwrap_or(0)).into())
        }
        IpAddr::V6(ip) => {
            let shift = 128u32.checked_sub(bits.into())?;
            Some(Ipv6Addr::from_bits(ip.to_bits() & u128::MAX.checked_shl(shift).unwrap_or(0)).into())
        }
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(ip, bits)| (ip, Some(bits)));
        let ip: IpAddr = address.parse().map_err(|_| CidrError::Address(address.to_owned()))?;
        let full = if ip.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => full,
            Some(bits) => bits.parse().map_err(|_| CidrError::Bits(bits.to_owned()))?,
        };
        // An IPv4-mapped range would never match: addresses are compared in their canonical form.
        if ip.to_canonical() != ip {
            return Err(CidrError::Address(address.to_owned()));
        }
        let network = masked(ip, bits).ok_or_else(|| CidrError::Bits(bits.to_string()))?;
        if network != ip {
            return Err(CidrError::HostBits { given: text.to_owned(), range: Self { network, bits }, full });
        }
        Ok(Self { network, bits })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A header with the given command and family in front of addresses.
    pub(crate) fn header(what: u8, family: u8, variable: &[u8]) -> Vec<u8> {
        let length = u16::try_from(variable.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[what, family], &length, variable].concat()
    }

    fn tcp4() -> Vec<u8> {
        header(0x21, 0x11, &[192, 0, 2, 7, 198, 51, 100, 1, 0x30, 0x39, 0x11, 0x51])
    }

    fn tcp6() -> Vec<u8> {
        let mut variable = vec![0; 36 + 7];
        variable[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        variable[15] = 9;
        variable[32..34].copy_from_slice(&[1, 0]);
        variable[36] = 0xee; // a TLV of an unknown type
        header(0x21, 0x21, &variable)
    }

    #[test]
    fn the_clients_address_is_read_and_what_follows_is_left() {
        let cases = [
            (tcp4(), Some("192.0.2.7:12345")),
            (tcp6(), Some("[2001:db8::9]:256")),
            (header(0x20, 0x00, &[]), None),
            (header(0x20, 0x31, &[1; 216]), None), // LOCAL: whatever else it says is ignored
            (header(0x21, 0x00, &[1; 5]), None),
        ];
        for (bytes, client) in cases {
            let with_tail = [&bytes[..], &[0x16, 3, 1]].concat();
            let client = client.map(|text| text.parse().unwrap());
            assert_eq!(parse(&with_tail), Ok(Some(Header { bytes: bytes.len(), client })));
            for cut in 0..bytes.len() {
                assert_eq!(parse(&bytes[..cut]), Ok(None), "cut at {cut}");
            }
        }
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_address_that_it_means() {
        let mut variable = [0; 36];
        variable[10..16].copy_from_slice(&[0xff, 0xff, 10, 1, 2, 3]);
        let header = parse(&header(0x21, 0x21, &variable)).unwrap().unwrap();
        assert_eq!(header.client, Some("10.1.2.3:0".parse().unwrap()));
    }

    #[test]
    fn what_is_no_header_is_refused_at_the_first_octet_that_shows_it() {
        let mut first = tcp4();
        first[0] = 0x16;
        assert_eq!(parse(&first[..1]), Err(Refusal::Signature));
        assert_eq!(parse(b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2\r\n"), Err(Refusal::Signature));
        assert_eq!(parse(&header(0x11, 0x11, &[])[..13]), Err(Refusal::Version(1)));
        assert_eq!(parse(&header(0x22, 0x11, &[])[..13]), Err(Refusal::Command(2)));
        assert_eq!(parse(&header(0x21, 0x12, &[0; 12])[..16]), Err(Refusal::Family(0x12)));
        assert_eq!(parse(&header(0x21, 0x31, &[0; 216])[..16]), Err(Refusal::Family(0x31)));
        assert_eq!(parse(&header(0x21, 0x11, &[0; 11])[..16]), Err(Refusal::TooShort(11)));
        assert_eq!(parse(&header(0x21, 0x21, &[0; 35])[..16]), Err(Refusal::TooShort(35)));
        assert_eq!(parse(&header(0x20, 0x00, &[0; 537])[..16]), Err(Refusal::TooLong(537)));
        assert!(matches!(
            parse(&header(0x20, 0x00, &[0; 536])),
            Ok(Some(Header { bytes: HEADER_BYTES_MAX, .. }))
        ));
    }

    proptest! {
        #[test]
        fn noise_never_panics(noise in proptest::collection::vec(any::<u8>(), 0..600), good in 0usize..17) {
            let mut bytes = tcp4();
            bytes.truncate(good);
            bytes.extend(noise);
            if let Ok(Some(header)) = parse(&bytes) {
                prop_assert!(header.bytes <= bytes.len());
            }
        }

        #[test]
        fn a_range_holds_its_addresses_and_no_others(ip in any::<u32>(), bits in 0u8..=32, flip in 0u8..32) {
            let cidr = Cidr { network: masked(Ipv4Addr::from_bits(ip).into(), bits).unwrap(), bits };
            prop_assert_eq!(cidr.to_string().parse::<Cidr>().unwrap(), cidr);
            prop_assert!(cidr.contains(Ipv4Addr::from_bits(ip).into()));
            prop_assert!(cidr.contains(Ipv4Addr::from_bits(ip).to_ipv6_mapped().into()));
            // Bit 0 is the first one.
            let other = Ipv4Addr::from_bits(ip ^ (1 << (31 - u32::from(flip))));
            prop_assert_eq!(cidr.contains(other.into()), flip >= bits);
        }
    }

    #[test]
    fn a_range_is_read_or_told_what_is_wrong_with_it() {
        let v6: Cidr = "2001:db8::/32".parse().unwrap();
        assert!(v6.contains("2001:db8:1::5".parse().unwrap()) && !v6.contains("2001:db9::".parse().unwrap()));
        assert!(!v6.contains("10.0.0.1".parse().unwrap()));
        assert_eq!("127.0.0.1".parse::<Cidr>().unwrap().to_string(), "127.0.0.1/32");
        let error = |text: &str| text.parse::<Cidr>().unwrap_err().to_string();
        assert!(error("10.0.0.1/8").contains("write 10.0.0.0/8"), "{}", error("10.0.0.1/8"));
        assert!(error("10.0.0.0/33").contains("prefix length"));
        assert!(error("10.0.0.0/x").contains("prefix length"));
        assert!(error("host/8").contains("not an IP address"));
        assert!(error("::ffff:10.0.0.0/104").contains("not an IP address"));
    }
}
