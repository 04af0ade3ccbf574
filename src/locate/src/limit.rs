//! How often each network may ask (or each cell is given something), in memory of fixed size.
//!
//! A token bucket for each network, in a table with two possible places for each. When both are taken, the one whose bucket is
//! fuller makes room: what is forgotten is the account of whoever has asked least. So a crowd of networks costs accuracy, never
//! memory, and never locks anybody out who was not asking too much.

use std::hash::{BuildHasher, Hash, RandomState};

use crate::network::Network;

/// Networks that are counted.
const PLACES: usize = 8_192;

#[derive(Debug, Clone, Copy)]
struct Bucket<K> {
    network: K,
    tokens: f32,
    at_ms: u64,
}

/// A rate for each network. Time comes in, in milliseconds of any clock that does not go back.
#[derive(Debug)]
pub struct Limiter<K = Network> {
    places: Vec<Option<Bucket<K>>>,
    hasher: RandomState,
    per_ms: f32,
    burst: f32,
}

impl<K: Copy + Eq + Hash> Limiter<K> {
    /// At most `per_s` in a second, and `burst` at once. With a rate of 0 nothing is limited.
    #[must_use]
    pub fn new(per_s: u16, burst: u16) -> Self {
        let places = if per_s == 0 { 0 } else { PLACES };
        Self {
            places: vec![None; places],
            hasher: RandomState::new(),
            per_ms: f32::from(per_s) / 1e3,
            burst: f32::from(burst.max(1)),
        }
    }

    /// Whether a network may ask once more now; if so, it has.
    pub fn take(&mut self, network: K, now_ms: u64) -> bool {
        if self.places.is_empty() {
            return true;
        }
        let hash = self.hasher.hash_one(network);
        // Two independent halves of one hash.
        let [low, high] =
            [hash & 0xffff_ffff, hash >> 32].map(|half| usize::try_from(half).unwrap_or_default());
        let (first, second) = (low % PLACES, high % PLACES);
        let of = |at: usize| self.places[at].filter(|bucket| bucket.network == network);
        let (at, bucket) = match (of(first), of(second)) {
            (Some(bucket), _) => (first, bucket),
            (None, Some(bucket)) => (second, bucket),
            (None, None) => {
                let fill = |at: usize| {
                    self.places[at].map_or(f32::INFINITY, |bucket| self.filled(bucket, now_ms).tokens)
                };
                let at = if fill(second) > fill(first) { second } else { first };
                (at, Bucket { network, tokens: self.burst, at_ms: now_ms })
            }
        };
        let mut bucket = self.filled(bucket, now_ms);
        let allowed = bucket.tokens >= 1.0;
        if allowed {
            bucket.tokens -= 1.0;
        }
        self.places[at] = Some(bucket);
        allowed
    }

    fn filled(&self, mut bucket: Bucket<K>, now_ms: u64) -> Bucket<K> {
        #[expect(clippy::cast_precision_loss, reason = "after 4 hours the bucket is full in any case")]
        let passed = now_ms.saturating_sub(bucket.at_ms) as f32;
        bucket.tokens = passed.mul_add(self.per_ms, bucket.tokens).min(self.burst);
        bucket.at_ms = bucket.at_ms.max(now_ms);
        bucket
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(number: u32) -> Network {
        Network::of(std::net::Ipv4Addr::from_bits(number << 8).into())
    }

    #[test]
    fn each_network_has_its_rate_and_no_other_pays() {
        let mut limiter = Limiter::new(2, 4);
        let allowed = |limiter: &mut Limiter, number, now_ms| {
            (0..10).filter(|_| limiter.take(network(number), now_ms)).count()
        };
        assert_eq!(allowed(&mut limiter, 1, 0), 4);
        assert_eq!(allowed(&mut limiter, 2, 0), 4);
        assert_eq!(allowed(&mut limiter, 1, 1_000), 2);
        assert_eq!(allowed(&mut limiter, 1, 60_000), 4, "no more than a burst is saved");
        // A clock that goes back gives nothing and takes nothing.
        assert_eq!(allowed(&mut limiter, 1, 59_000), 0);
        assert_eq!(allowed(&mut Limiter::new(0, 0), 1, 0), 10);
    }

    #[test]
    fn a_crowd_takes_no_memory_and_frees_nobody_who_asks_too_much() {
        let mut limiter = Limiter::new(1, 10);
        let greedy = network(0xff_ffff);
        for _ in 0..20 {
            limiter.take(greedy, 0);
        }
        for number in 0..4 * 8_192 {
            limiter.take(network(number), 0);
            if number % 1_024 == 0 {
                assert!(!limiter.take(greedy, 0), "after {number}");
            }
        }
        assert_eq!(limiter.places.len(), PLACES);
    }
}
