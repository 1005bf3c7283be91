//! Chance with words: everything that a seed decides is drawn here.

use fanfold_ports::memory::Random;

/// The seeded chance of one purpose, so that a draw more for one does not move the others.
#[derive(Debug)]
pub(crate) struct Chance(Random);

impl Chance {
    pub(crate) fn of(seed: u64, purpose: &str) -> Self {
        let salt =
            purpose.bytes().fold(0u64, |salt, byte| salt.wrapping_mul(257).wrapping_add(u64::from(byte)));
        Self(Random::seeded(Random::seeded(seed ^ salt).number()))
    }

    /// Whether something happens that does in `percent` of a hundred times.
    pub(crate) fn percent(&self, percent: u64) -> bool {
        self.0.below(100) < percent
    }

    /// A number of `range`, its end excluded.
    pub(crate) fn within(&self, range: std::ops::Range<u64>) -> u64 {
        range.start + self.0.below(range.end - range.start)
    }

    pub(crate) fn index(&self, len: usize) -> usize {
        self.0.index(len)
    }

    pub(crate) fn one_of<T: Copy>(&self, choices: &[T]) -> T {
        choices[self.index(choices.len())]
    }

    pub(crate) fn number(&self) -> u64 {
        self.0.number()
    }
}
