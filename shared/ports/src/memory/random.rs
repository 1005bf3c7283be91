//! Seeded chance: a seed replays everything.

use std::sync::atomic::{AtomicU64, Ordering};

/// `SplitMix64` (Steele, Lea and Flood, 2014): a counter and a mix of its bits. Never for secrets.
#[derive(Debug)]
pub struct Random(AtomicU64);

/// The counter's step: 2^64 over the golden ratio.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Random {
    /// The sequence of `seed`.
    pub fn seeded(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// The next number, uniform over all of them.
    pub fn number(&self) -> u64 {
        let mut mixed = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `end`, `end` itself excluded; 0 if `end` is 0. Nearly uniform if `end` is small.
    pub fn below(&self, end: u64) -> u64 {
        self.number().checked_rem(end).unwrap_or(0)
    }

    /// A place in a list of `len`; 0 if it is empty.
    ///
    /// # Panics
    /// Never: it is less than `len`.
    pub fn index(&self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).expect("below a usize")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_the_published_one() {
        let random = Random::seeded(1_234_567);
        assert_eq!(random.number(), 6_457_827_717_110_365_317);
        assert_eq!(random.number(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn every_number_below_the_end_comes_up_and_no_other() {
        let random = Random::seeded(1);
        let mut seen = [0; 5];
        for _ in 0..1_000 {
            seen[random.index(5)] += 1;
        }
        assert!(seen.iter().all(|count| *count > 100), "{seen:?}");
        assert_eq!(random.below(0), 0);
    }
}
