//! Networks of clients: an address without the part that names a person's line.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A /24 of IPv4 or a /48 of IPv6: what one provider hands to one place, and the most that is kept of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Network(IpAddr);

impl Network {
    /// The network of an address. An IPv4 address inside IPv6 counts as IPv4.
    #[must_use]
    pub fn of(ip: IpAddr) -> Self {
        Self(match ip.to_canonical() {
            IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits() & !0xff).into(),
            IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !(u128::MAX >> 48)).into(),
        })
    }

    /// Its first address.
    #[must_use]
    pub fn address(self) -> IpAddr {
        self.0
    }

    /// How many bits of the address it is.
    #[must_use]
    pub fn bits(self) -> u8 {
        if self.0.is_ipv4() { 24 } else { 48 }
    }

    /// Seventeen octets that no other network has.
    pub(crate) fn octets(self) -> [u8; 17] {
        let mut octets = [0; 17];
        let (family, rest) = octets.split_at_mut(1);
        match self.0 {
            IpAddr::V4(ip) => rest[..4].copy_from_slice(&ip.octets()),
            IpAddr::V6(ip) => rest.copy_from_slice(&ip.octets()),
        }
        family[0] = self.bits();
        octets
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.0, self.bits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_a_line_is_gone() {
        let of = |text: &str| Network::of(text.parse().unwrap()).to_string();
        assert_eq!(of("192.0.2.77"), "192.0.2.0/24");
        assert_eq!(of("::ffff:192.0.2.77"), "192.0.2.0/24");
        assert_eq!(of("2001:db8:1:2:3::4"), "2001:db8:1::/48");
    }
}
