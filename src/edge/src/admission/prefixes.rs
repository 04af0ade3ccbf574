//! Token buckets of networks, in a table of fixed size.
//!
//! A network is a /24 of IPv4 or a /56 of IPv6: what one customer or one office usually has. Each has three buckets, see
//! [`Toll`].
//!
//! Every network has two places, chosen by a keyed hash, and stands in one of them together with 32 bits of that hash.
//! So one network is never charged for another (but for a chance of 1 in 2^31), and nobody can choose addresses that
//! crowd a third one out. A network that finds both places taken replaces the one with less on its account, which then
//! starts anew with a full bucket: a flood from more networks than the table holds is *not* bounded here. That one meets
//! the budget of a turn and Retry instead. The other choice, a sketch that shares counters, would let such a flood
//! use up the buckets of everybody.

use std::hash::{DefaultHasher, Hasher as _};
use std::net::IpAddr;

/// Places in the table: 80 KiB.
const SLOTS: usize = 4096;

/// A network as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Prefix(u64);

impl Prefix {
    /// The network of an address.
    #[must_use]
    pub fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            // The top bit keeps the families apart: an IPv6 prefix uses the lower 56.
            IpAddr::V4(v4) => Self(1 << 63 | u64::from(v4.to_bits() >> 8)),
            IpAddr::V6(v6) => Self(u64::try_from(v6.to_bits() >> 72).expect("56 bits are left")),
        }
    }
}

impl Prefix {
    /// Whether it is this host itself.
    pub(super) fn is_loopback(self) -> bool {
        // 127.0.0.0/8, and the /56 of ::1, which holds nothing else that sends.
        self.0 >> 16 == 1 << 47 | 127 || self.0 == 0
    }
}

/// What a network pays for, each from a bucket of its own: a forged source address can only use up the first two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Toll {
    /// A handshake whose address nobody has proved.
    Unproved,
    /// A look at what may be no more than noise: a Retry to send, or a token to check.
    Look,
    /// A handshake whose client answered at its address: it returned a token, or opened a TCP connection.
    Proved,
}

/// A bucket's shape.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    /// Handshakes in a second.
    pub(super) per_s: f32,
    /// Handshakes at once.
    pub(super) burst: f32,
}

/// What a network has on its account, falling by the rate.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    tag: u32,
    at_ms: u32,
    /// By [`Toll`].
    level: [f32; 3],
}

/// The table.
#[derive(Debug)]
pub(super) struct Prefixes {
    key: [u64; 2],
    /// By [`Toll`].
    rates: [Rate; 3],
    slots: Box<[Slot]>,
}

impl Prefixes {
    pub(super) fn new(key: [u64; 2], rates: [Rate; 3]) -> Self {
        Self { key, rates, slots: vec![Slot::default(); SLOTS].into() }
    }

    /// Takes one from a network's bucket. `false`: it is empty, nothing was taken. `now_ms` may wrap.
    pub(super) fn charge(&mut self, now_ms: u32, prefix: Prefix, toll: Toll) -> bool {
        let which = toll as usize;
        let slot = self.slot(now_ms, prefix);
        let room = self.slots[slot].level[which] + 1.0 <= self.rates[which].burst;
        if room {
            self.slots[slot].level[which] += 1.0;
        }
        room
    }

    /// The place of a network, brought up to `now_ms`; another one may have to leave it.
    fn slot(&mut self, now_ms: u32, prefix: Prefix) -> usize {
        let hash = keyed_hash(self.key, &prefix.0.to_be_bytes());
        // Tag 0 marks a free place.
        let tag = u32::try_from(hash >> 32).expect("32 bits are left") | 1;
        let places = [hash & (SLOTS as u64 - 1), hash >> 12 & (SLOTS as u64 - 1)];
        let places = places.map(|place| usize::try_from(place).expect("below 4096"));
        for place in places {
            self.decay(place, now_ms);
        }
        let found = places.into_iter().find(|place| self.slots[*place].tag == tag);
        found.unwrap_or_else(|| {
            let weight = |place: usize| self.slots[place].level.iter().sum::<f32>();
            let place = if weight(places[0]) <= weight(places[1]) { places[0] } else { places[1] };
            self.slots[place] = Slot { tag, at_ms: now_ms, level: [0.0; 3] };
            place
        })
    }

    fn decay(&mut self, place: usize, now_ms: u32) {
        let slot = &mut self.slots[place];
        let passed_s = now_ms.wrapping_sub(slot.at_ms) as f32 / 1000.0;
        slot.at_ms = now_ms;
        for (level, rate) in slot.level.iter_mut().zip(self.rates) {
            *level = (*level - passed_s * rate.per_s).max(0.0);
        }
    }
}

/// SipHash with a key in front of the input, which has a fixed length for each use.
pub(super) fn keyed_hash(key: [u64; 2], bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write_u64(key[0]);
    hasher.write_u64(key[1]);
    hasher.write(bytes);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    fn table() -> Prefixes {
        let rate = |per_s, burst| Rate { per_s, burst };
        let rates = [rate(10.0, 5.0), rate(40.0, 20.0), rate(20.0, 8.0)];
        Prefixes::new([3, 4], rates)
    }

    fn prefix(text: &str) -> Prefix {
        Prefix::of(text.parse().unwrap())
    }

    fn taken(table: &mut Prefixes, now_ms: u32, prefix: Prefix, toll: Toll) -> usize {
        (0..1000).take_while(|_| table.charge(now_ms, prefix, toll)).count()
    }

    #[test]
    fn networks_are_what_a_customer_has() {
        assert_eq!(prefix("192.0.2.1"), prefix("192.0.2.255"));
        assert_eq!(prefix("192.0.2.1"), prefix("::ffff:192.0.2.9"), "one client, two socket families");
        assert_ne!(prefix("192.0.2.1"), prefix("192.0.3.1"));
        assert_eq!(prefix("2001:db8:0:12::1"), prefix("2001:db8:0:34:ffff::"));
        assert_ne!(prefix("2001:db8:0:100::1"), prefix("2001:db8:0:200::1"));
        assert_ne!(prefix("::1"), prefix("0.0.0.0"));
    }

    #[test]
    fn a_bucket_empties_refills_by_its_rate_and_is_the_networks_own() {
        let mut table = table();
        let (ours, theirs) = (prefix("192.0.2.1"), prefix("198.51.100.1"));
        assert_eq!(taken(&mut table, 0, ours, Toll::Unproved), 5);
        assert_eq!(taken(&mut table, 0, ours, Toll::Proved), 8, "proof opens another bucket");
        assert_eq!(taken(&mut table, 0, ours, Toll::Look), 20);
        assert_eq!(taken(&mut table, 0, theirs, Toll::Unproved), 5, "a neighbour is not charged");
        assert_eq!(taken(&mut table, 300, ours, Toll::Unproved), 3);
        assert_eq!(
            taken(&mut table, 60_000, ours, Toll::Unproved),
            5,
            "no more than the burst, however long"
        );
    }

    #[test]
    fn time_wraps_without_locking_anybody_out() {
        let mut table = table();
        let ours = prefix("192.0.2.1");
        assert_eq!(taken(&mut table, u32::MAX - 50, ours, Toll::Unproved), 5);
        assert_eq!(taken(&mut table, 149, ours, Toll::Unproved), 2);
    }

    #[test]
    fn a_flood_over_every_network_leaves_a_quiet_one_its_bucket() {
        let mut table = table();
        for n in 0..200_000u32 {
            table.charge(0, Prefix::of(Ipv4Addr::from_bits(n << 8).into()), Toll::Unproved);
        }
        assert_eq!(taken(&mut table, 1, prefix("203.0.113.7"), Toll::Unproved), 5);
    }

    proptest! {
        #[test]
        fn no_network_gets_more_than_burst_and_rate_while_it_keeps_its_place(
            steps in proptest::collection::vec((0u32..400, 0u8..3, 0usize..3), 1..300),
        ) {
            let mut table = table();
            let (mut now_ms, mut given) = (0, [[0.0f32; 3]; 3]);
            for (wait, network, which) in steps {
                now_ms += wait;
                let toll = [Toll::Unproved, Toll::Look, Toll::Proved][which];
                let prefix = Prefix::of(Ipv4Addr::new(10, 0, network, 1).into());
                if table.charge(now_ms, prefix, toll) {
                    given[usize::from(network)][which] += 1.0;
                }
            }
            for given in given {
                for (given, rate) in given.iter().zip(table.rates) {
                    prop_assert!(*given <= rate.burst + rate.per_s * now_ms as f32 / 1000.0 + 0.01);
                }
            }
        }
    }
}
