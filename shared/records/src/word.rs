//! 64 bytes at a time: where in them a byte occurs, as the bits of a `u64` (bit i is byte i).

use wide::u8x16;

use crate::automaton::Quoting;

/// Bytes in a word.
pub(crate) const WIDTH: usize = 64;

/// Up to 64 bytes, classified.
pub(crate) struct Word<'a> {
    pub(crate) bytes: &'a [u8; WIDTH],
    /// How many of the bytes count, 1 to 64; no mask has a bit beyond.
    pub(crate) len: usize,
    pub(crate) line_feed: u64,
    pub(crate) quote: u64,
    /// Only computed if the word has a quote: nothing asks otherwise.
    pub(crate) delimiter: u64,
}

impl<'a> Word<'a> {
    /// Classifies a full word.
    #[inline]
    pub(crate) fn full(bytes: &'a [u8; WIDTH], quoting: Option<Quoting>) -> Self {
        Self::classify(bytes, WIDTH, quoting)
    }

    /// Classifies the first `len` bytes, at least 1, of a padded word.
    pub(crate) fn partial(bytes: &'a [u8; WIDTH], len: usize, quoting: Option<Quoting>) -> Self {
        let mut word = Self::classify(bytes, len, quoting);
        let counts = u64::MAX >> (WIDTH - len);
        word.line_feed &= counts;
        word.quote &= counts;
        word.delimiter &= counts;
        word
    }

    #[inline]
    fn classify(bytes: &'a [u8; WIDTH], len: usize, quoting: Option<Quoting>) -> Self {
        let line_feed = equal(bytes, b'\n');
        let quote = quoting.map_or(0, |quoting| equal(bytes, quoting.quote));
        let delimiter = match quoting {
            Some(quoting) if quote != 0 => equal(bytes, quoting.delimiter),
            _ => 0,
        };
        Self { bytes, len, line_feed, quote, delimiter }
    }

    /// The last byte that counts.
    #[inline]
    pub(crate) fn last_byte(&self) -> u8 {
        self.bytes[self.len - 1]
    }

    /// The bit of the last byte that counts.
    #[inline]
    pub(crate) fn last_bit(&self) -> u64 {
        1 << (self.len - 1)
    }
}

/// Copies fewer than 64 bytes into a word; the rest is zero.
pub(crate) fn padded(bytes: &[u8]) -> [u8; WIDTH] {
    let mut word = [0; WIDTH];
    word[..bytes.len()].copy_from_slice(bytes);
    word
}

/// Marks the bytes that equal `byte`.
#[inline]
pub(crate) fn equal(word: &[u8; WIDTH], byte: u8) -> u64 {
    let wanted = u8x16::splat(byte);
    let (lanes, _) = word.as_chunks::<16>();
    let mask = |lane: usize| u64::from(u8x16::new(lanes[lane]).simd_eq(wanted).to_bitmask());
    mask(0) | mask(1) << 16 | mask(2) << 32 | mask(3) << 48
}

/// Sets bit i to the parity of bits 0 to i.
#[inline]
pub(crate) fn running_parity(mut bits: u64) -> u64 {
    bits ^= bits << 1;
    bits ^= bits << 2;
    bits ^= bits << 4;
    bits ^= bits << 8;
    bits ^= bits << 16;
    bits ^ (bits << 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_marks_each_place_of_a_byte() {
        for place in 0..WIDTH {
            let mut word = [b'a'; WIDTH];
            word[place] = 0xff;
            assert_eq!(equal(&word, 0xff), 1 << place);
        }
    }

    #[test]
    fn running_parity_turns_at_each_bit() {
        assert_eq!(running_parity(0b1001), 0b0111);
        assert_eq!(running_parity(1), u64::MAX);
    }

    #[test]
    fn padding_is_never_marked() {
        let quoting = Some(Quoting { quote: 0, delimiter: 0 });
        let bytes = padded(b"ab\0");
        let word = Word::partial(&bytes, 3, quoting);
        assert_eq!((word.quote, word.delimiter, word.line_feed), (0b100, 0b100, 0));
    }
}
