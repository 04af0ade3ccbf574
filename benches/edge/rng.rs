//! Seeded randomness for the order of servers and for arrival times: SplitMix64 (Steele, Lea and Flood, 2014).

use std::time::Duration;

/// A reproducible sequence; not for secrets.
#[derive(Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// An independent sequence, for another owner.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.next())
    }

    /// The seed of an independent sequence, for another process.
    pub(crate) fn seed(&mut self) -> u64 {
        self.next()
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in `0..n`. The bias of the remainder is below n / 2^64.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).expect("smaller than n, which is a usize")
    }

    /// Time to the next arrival of a Poisson process.
    pub(crate) fn exponential(&mut self, per_s: f64) -> Duration {
        // The upper 53 bits are a double in [0, 1); 1 - u is never zero.
        let u = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        Duration::from_secs_f64(-(1.0 - u).ln() / per_s)
    }

    /// Fisher-Yates.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}
