//! A prefix tree, flattened: longest match by one search in sorted ranges.
//!
//! Prefixes nest, so the tree cuts the address space into ranges that one prefix decides each. Kept are the starts of
//! the ranges, and where those of the first 16 bits begin: a look-up is an index and a short binary search, and needs
//! no allocation. IPv4 and IPv6 are the same tree over 128 bits (IPv4 in `::ffff:0:0/96`).

use std::net::IpAddr;

/// A network: an address whose bits beyond the length are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    bits: u128,
    len: u8,
}

/// Bits in front of a mapped IPv4 address.
const MAPPED: u8 = 96;

fn bits_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

impl Prefix {
    /// The network of an address; bits beyond the length are cleared. `None` if it is longer than an address.
    #[must_use]
    pub fn new(address: IpAddr, len: u8) -> Option<Self> {
        let len = match address {
            IpAddr::V4(_) if len <= 32 => MAPPED + len,
            IpAddr::V6(_) if len <= 128 => len,
            _ => return None,
        };
        Some(Self { bits: bits_of(address) & mask(len), len })
    }

    /// Whether it holds an address.
    #[must_use]
    pub fn has(self, address: IpAddr) -> bool {
        bits_of(address) & mask(self.len) == self.bits
    }

    /// Its first address, and its length in bits of that family.
    #[must_use]
    pub fn network(self) -> (IpAddr, u8) {
        let address = IpAddr::from(self.bits.to_be_bytes()).to_canonical();
        match address {
            IpAddr::V4(_) if self.len >= MAPPED => (address, self.len - MAPPED),
            _ => (IpAddr::from(self.bits.to_be_bytes()), self.len),
        }
    }

    fn last(self) -> u128 {
        self.bits | !mask(self.len)
    }
}

fn mask(len: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0)
}

/// Values by longest prefix.
#[derive(Debug, Clone)]
pub struct Prefixes {
    /// Where ranges start, sorted; the first is 0.
    starts: Vec<u128>,
    /// The value of each range.
    values: Vec<Option<u32>>,
    /// By the 16 bits that tell addresses apart best (those after `::ffff:` of IPv4, the first of IPv6): the first range
    /// that may hold them. Empty where there is one range.
    v4: Vec<u32>,
    v6: Vec<u32>,
}

impl Prefixes {
    /// Builds the tree; of equal prefixes the last counts.
    #[must_use]
    pub fn build(mut entries: Vec<(Prefix, u32)>) -> Self {
        // Stable: an outer prefix before its inner ones, the last of equals last.
        entries.sort_by_key(|(prefix, _)| *prefix);
        let mut ranges: Vec<(u128, Option<u32>)> = vec![(0, None)];
        let mut open: Vec<(Prefix, u32)> = Vec::new();
        for (prefix, value) in entries {
            while let Some((top, _)) = open.last().copied().filter(|(top, _)| top.last() < prefix.bits) {
                open.pop();
                close(&mut ranges, top, open.last());
            }
            start(&mut ranges, prefix.bits, Some(value));
            open.push((prefix, value));
        }
        while let Some((top, _)) = open.pop() {
            close(&mut ranges, top, open.last());
        }
        let (starts, values): (Vec<u128>, Vec<Option<u32>>) = ranges.into_iter().unzip();
        // One range is all that there is: nothing to search for.
        if starts.len() == 1 {
            return Self { starts, values, v4: Vec::new(), v6: Vec::new() };
        }
        // Both go upwards, so one pass over the ranges does for all.
        let index = |from: u128, shift: u32| -> Vec<u32> {
            let mut at = 0;
            let first = |n: u32| {
                let edge = from + (u128::from(n) << shift);
                while starts.get(at + 1).is_some_and(|next| *next <= edge) {
                    at += 1;
                }
                u32::try_from(at).unwrap_or(0)
            };
            (0..=0xffff_u32).map(first).collect()
        };
        let (v4, v6) = (index(0xffff_u128 << 32, 16), index(0, 112));
        Self { starts, values, v4, v6 }
    }

    /// The value of the longest prefix that holds an address.
    #[must_use]
    pub fn get(&self, address: IpAddr) -> Option<u32> {
        self.values[self.range(address)]
    }

    /// The shortest prefix around an address, in bits of its family, in which every address has the same answer: the
    /// scope of a DNS answer (RFC 7871, 7.2.1).
    #[must_use]
    pub fn scope(&self, address: IpAddr) -> u8 {
        let range = self.range(address);
        let (from, bits) = (self.starts[range], bits_of(address));
        let to = self.starts.get(range + 1).map_or(u128::MAX, |next| next - 1);
        let (least, whole) = if address.is_ipv4() { (MAPPED, 32) } else { (0, 128) };
        let fits = |len: &u8| bits & mask(*len) >= from && bits | !mask(*len) <= to;
        (least..=128).find(fits).map_or(whole, |len| len - least)
    }

    fn range(&self, address: IpAddr) -> usize {
        // Nobody has measured yet: the tables would only cost their way through the caches.
        if self.starts.len() == 1 {
            return 0;
        }
        let bits = bits_of(address);
        let (index, slot) = match address {
            IpAddr::V4(v4) => (&self.v4, v4.to_bits() >> 16),
            IpAddr::V6(_) => (&self.v6, u32::try_from(bits >> 112).unwrap_or(0)),
        };
        let slot = slot as usize;
        let low = index[slot] as usize;
        let high = index.get(slot + 1).map_or(self.starts.len(), |high| *high as usize + 1);
        low + self.starts[low..high].partition_point(|start| *start <= bits) - 1
    }
}

fn start(ranges: &mut Vec<(u128, Option<u32>)>, at: u128, value: Option<u32>) {
    match ranges.last_mut() {
        Some(last) if last.0 == at => last.1 = value,
        _ => ranges.push((at, value)),
    }
}

/// After the end of a prefix its parent goes on.
fn close(ranges: &mut Vec<(u128, Option<u32>)>, prefix: Prefix, parent: Option<&(Prefix, u32)>) {
    let next = prefix.last().checked_add(1);
    // A parent that ends here too closes itself.
    if let Some(next) = next.filter(|next| parent.is_none_or(|(parent, _)| parent.last() >= *next)) {
        start(ranges, next, parent.map(|(_, value)| *value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address() -> impl Strategy<Value = IpAddr> {
        // Few different bits, so that prefixes meet and nest.
        prop_oneof![
            (0..4_u32, any::<u8>())
                .prop_map(|(high, low)| IpAddr::from((high << 30 | u32::from(low)).to_be_bytes())),
            (0..4_u128, any::<u16>())
                .prop_map(|(high, low)| IpAddr::from((high << 126 | u128::from(low) << 64).to_be_bytes())),
        ]
    }

    fn prefix() -> impl Strategy<Value = Prefix> {
        (address(), 0..=128_u8).prop_map(|(address, len)| {
            let len = if address.is_ipv4() { len % 33 } else { len };
            Prefix::new(address, len).unwrap()
        })
    }

    proptest! {
        #[test]
        fn the_tree_says_what_a_search_of_the_list_says(
            prefixes in prop::collection::vec(prefix(), 0..40),
            asked in prop::collection::vec(address(), 1..20),
        ) {
            let entries: Vec<(Prefix, u32)> = prefixes.into_iter().zip(0..).collect();
            let tree = Prefixes::build(entries.clone());
            for address in asked {
                let longest = entries.iter().filter(|(prefix, _)| prefix.has(address)).max_by_key(|(prefix, value)| (prefix.len, *value));
                prop_assert_eq!(tree.get(address), longest.map(|(_, value)| *value));
                let around = Prefix::new(address, tree.scope(address)).unwrap();
                for end in [around.bits, around.last()] {
                    let end = if address.is_ipv4() {
                        IpAddr::from(u32::try_from(end & 0xffff_ffff).unwrap().to_be_bytes())
                    } else {
                        IpAddr::from(end.to_be_bytes())
                    };
                    prop_assert_eq!(tree.get(end), tree.get(address));
                }
            }
        }
    }

    #[test]
    fn an_empty_tree_knows_nobody() {
        let tree = Prefixes::build(Vec::new());
        assert_eq!(tree.v4.len() + tree.v6.len(), 0);
        for address in ["0.0.0.0", "255.255.255.255", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"] {
            let address = address.parse().unwrap();
            assert_eq!((tree.get(address), tree.scope(address)), (None, 0), "{address}");
        }
        assert_eq!(Prefix::new("10.0.0.0".parse().unwrap(), 33), None);
    }
}
