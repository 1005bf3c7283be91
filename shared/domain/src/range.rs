//! Half-open byte ranges.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A half-open range of bytes, `start..end`, counted from the object's first byte (0-based).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ByteRange {
    /// The first byte in the range.
    pub start: u64,
    /// The first byte after the range; never before `start`.
    pub end: u64,
}

impl ByteRange {
    /// A range from `start` (inclusive) to `end` (exclusive).
    ///
    /// # Panics
    /// If `end` is before `start`: such a range is a programming error, never input.
    pub fn new(start: u64, end: u64) -> Self {
        assert!(start <= end, "a byte range ends at or after its start: {start}..{end}");
        Self { start, end }
    }

    /// Length in bytes.
    pub fn len(self) -> u64 {
        self.end - self.start
    }

    /// Whether the range holds no byte.
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// Cuts the range into consecutive pieces of `size` bytes, the last one shorter; none for an empty range.
    pub fn pieces(self, size: u64) -> impl Iterator<Item = ByteRange> {
        let count = self.len().div_ceil(size.max(1));
        (0..count).map(move |i| {
            let start = self.start + i * size;
            ByteRange::new(start, (start + size).min(self.end))
        })
    }
}

impl fmt::Display for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_tile_the_range() {
        let pieces: Vec<_> = ByteRange::new(3, 20).pieces(8).collect();
        assert_eq!(pieces, [ByteRange::new(3, 11), ByteRange::new(11, 19), ByteRange::new(19, 20)]);
        assert_eq!(ByteRange::new(4, 4).pieces(8).count(), 0);
    }
}
