//! The one source of chance in a run: a small generator that is the same on every machine and in every version.
//!
//! xoshiro256++ 1.0 with splitmix64 for seeding, both by Blackman and Vigna (public domain). Not for secrets.

use std::ops::RangeInclusive;
use std::time::Duration;

/// A seeded generator. Every part of a world gets its own by [`Rng::fork`], so that one more draw in one part does
/// not change what the others do.
#[derive(Debug, Clone)]
pub struct Rng {
    state: [u64; 4],
}

impl Rng {
    /// The generator of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut state = seed;
        Self { state: std::array::from_fn(|_| splitmix(&mut state)) }
    }

    /// An independent generator; `label` tells the children of one parent apart.
    #[must_use]
    pub fn fork(&mut self, label: u64) -> Self {
        Self::new(self.next_u64() ^ label.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        let [s0, s1, s2, s3] = &mut self.state;
        let result = s0.wrapping_add(*s3).rotate_left(23).wrapping_add(*s0);
        let shifted = *s1 << 17;
        *s2 ^= *s0;
        *s3 ^= *s1;
        *s1 ^= *s2;
        *s0 ^= *s3;
        *s2 ^= shifted;
        *s3 = s3.rotate_left(45);
        result
    }

    /// 32 random bytes, the form that `quinn-proto` takes as a seed.
    pub fn bytes32(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for chunk in bytes.chunks_exact_mut(8) {
            chunk.copy_from_slice(&self.next_u64().to_le_bytes());
        }
        bytes
    }

    /// A number of the range, both ends included. The modulo bias is below 2^-32 for the ranges used here.
    pub fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        let (low, high) = range.into_inner();
        low + self.next_u64() % (high - low + 1)
    }

    /// An index below `len`.
    ///
    /// # Panics
    /// If `len` is 0.
    pub fn index(&mut self, len: usize) -> usize {
        assert!(len > 0, "nothing to choose from");
        usize::try_from(self.within(0..=len as u64 - 1)).expect("below a usize")
    }

    /// A time between the two, in whole microseconds.
    pub fn duration(&mut self, range: RangeInclusive<Duration>) -> Duration {
        let micros = |duration: &Duration| u64::try_from(duration.as_micros()).expect("a few hours at most");
        Duration::from_micros(self.within(micros(range.start())..=micros(range.end())))
    }

    /// True `permille` times in a thousand.
    pub fn chance(&mut self, permille: u32) -> bool {
        self.within(0..=999) < u64::from(permille)
    }
}

fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix_gives_the_published_vectors_of_its_reference() {
        // Seed 1234567, the first values that the reference implementation prints.
        let mut state = 1_234_567;
        assert_eq!(splitmix(&mut state), 6_457_827_717_110_365_317);
        assert_eq!(splitmix(&mut state), 3_203_168_211_198_807_973);
    }

    #[test]
    fn draws_stay_in_their_range_and_chances_are_about_right() {
        let mut rng = Rng::new(7);
        assert!((0..1000).all(|_| (3..=9).contains(&rng.within(3..=9))));
        let hits = (0..10_000).filter(|_| rng.chance(300)).count();
        assert!((2_700..3_300).contains(&hits), "{hits}");
        let (mut a, mut b) = (rng.clone().fork(1), rng.clone().fork(2));
        assert_ne!(a.next_u64(), b.next_u64(), "children of one parent differ");
    }
}
