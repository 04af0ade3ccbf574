//! Counts refused UserSigs.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use crate::key::UserKey;

/// Length of a counting window: the contract says "retry after 1 minute" (70050).
const WINDOW_MS: u64 = 60_000;

/// Failures per user and address in the current minute.
///
/// By address as well, so that a stranger cannot lock a user out. IPv6 addresses count by their /64, the part
/// that a network gives to one customer (RFC 6177). Windows are fixed: across a border twice the number passes.
/// When the table is full, further pairs are not counted until the window ends: what they gain is a check that
/// they fail.
#[derive(Debug)]
pub(crate) struct Throttle {
    failures_max: u32,
    entries_max: usize,
    window: u64,
    failures: HashMap<(UserKey, IpAddr), u32>,
}

impl Throttle {
    pub(crate) fn new(failures_max: u32, entries_max: usize) -> Self {
        Self { failures_max, entries_max, window: 0, failures: HashMap::new() }
    }

    /// Whether this pair has failed too often.
    pub(crate) fn is_blocked(&mut self, user: &UserKey, peer: IpAddr, now_ms: u64) -> bool {
        self.turn(now_ms);
        !self.failures.is_empty()
            && self
                .failures
                .get(&(user.clone(), network(peer)))
                .is_some_and(|count| *count >= self.failures_max)
    }

    /// Milliseconds until nothing that failed so far counts any more.
    pub(crate) fn ends_in_ms(now_ms: u64) -> u32 {
        u32::try_from(WINDOW_MS - now_ms % WINDOW_MS).expect("at most a minute")
    }

    /// Counts a failure.
    pub(crate) fn failed(&mut self, user: &UserKey, peer: IpAddr, now_ms: u64) {
        self.turn(now_ms);
        let full = self.failures.len() >= self.entries_max;
        let key = (user.clone(), network(peer));
        match self.failures.get_mut(&key) {
            Some(count) => *count = count.saturating_add(1),
            None if full => {}
            None => {
                self.failures.insert(key, 1);
            }
        }
    }

    fn turn(&mut self, now_ms: u64) {
        let window = now_ms / WINDOW_MS;
        if window != self.window {
            self.window = window;
            // A new map gives the memory of an attack back.
            self.failures = HashMap::new();
        }
    }
}

/// The part of an address that one customer has.
pub(crate) fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::AppId;

    #[test]
    fn counts_by_user_and_network_for_a_minute_within_its_bound() {
        let user = |name| UserKey::new(AppId(1), name).unwrap();
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let mut throttle = Throttle::new(2, 2);
        for _ in 0..2 {
            assert!(!throttle.is_blocked(&user("eve"), ip("2001:db8::1"), 70_000));
            throttle.failed(&user("eve"), ip("2001:db8::1"), 70_000);
        }
        assert!(throttle.is_blocked(&user("eve"), ip("2001:db8::ffff"), 70_000), "same /64");
        assert!(!throttle.is_blocked(&user("eve"), ip("2001:db8:0:1::1"), 70_000), "another network");
        assert!(!throttle.is_blocked(&user("bob"), ip("2001:db8::1"), 70_000), "another user");
        throttle.failed(&user("bob"), ip("10.0.0.1"), 70_000);
        for _ in 0..3 {
            throttle.failed(&user("carol"), ip("10.0.0.1"), 70_000);
        }
        assert!(!throttle.is_blocked(&user("carol"), ip("10.0.0.1"), 70_000), "the table is full");
        assert!(!throttle.is_blocked(&user("eve"), ip("2001:db8::1"), 120_000), "the next minute");
        assert_eq!((Throttle::ends_in_ms(70_000), Throttle::ends_in_ms(120_000)), (50_000, 60_000));
    }
}
