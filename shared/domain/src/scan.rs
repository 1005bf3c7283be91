//! The scan of a source that is too large for one reader to scan: the internal stage `scan`.

use serde::{Deserialize, Serialize};

use crate::{ByteRange, ChunkIndex, Grouping, group::TooManyChunks};

/// The name of the stage; no stage of a pipeline may have it.
pub const SCAN: &str = "scan";

/// The name of the internal stage of one chunk in which a pipeline's plan step runs; no stage of a pipeline may have
/// it.
pub const PLAN: &str = "plan";

/// How a source's data are divided for its scan. Chunks of the scan are as all others, but that they end
/// anywhere; none is tolerated to fail, and none is folded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scan {
    /// The data: the source's bytes behind its preamble.
    pub data: ByteRange,
    /// Bytes of each chunk but the last.
    pub range_bytes: u64,
    /// Chunks and groups.
    pub grouping: Grouping,
}

impl Scan {
    /// Divides `data`, of which there is at least one byte, into ranges of `range_bytes`.
    ///
    /// # Errors
    /// More ranges than a stage has chunks.
    pub fn new(data: ByteRange, range_bytes: u64) -> Result<Self, TooManyChunks> {
        let grouping = Grouping::choose(data.len().div_ceil(range_bytes), data.len())?;
        Ok(Self { data, range_bytes, grouping })
    }

    /// The bytes of a chunk, half-open; empty for a chunk that the scan does not have.
    pub fn range(&self, chunk: ChunkIndex) -> ByteRange {
        let start = self.data.start + u64::from(chunk.0).saturating_mul(self.range_bytes);
        ByteRange::new(start.min(self.data.end), start.saturating_add(self.range_bytes).min(self.data.end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_ranges_tile_the_data() {
        let scan = Scan::new(ByteRange::new(3, 20), 8).unwrap();
        let ranges: Vec<_> = (0..4).map(|index| scan.range(ChunkIndex(index))).collect();
        let expected = [(3, 11), (11, 19), (19, 20), (20, 20)].map(|(start, end)| ByteRange::new(start, end));
        assert_eq!((scan.grouping.chunks, &ranges[..]), (3, &expected[..]));
    }
}
