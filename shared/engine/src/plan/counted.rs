//! What a scan tells of chunks besides where they are cut: how many records each has, if all of them are whole.
//!
//! Whoever only copies a chunk need not read it for that.

use fanfold_domain::Chunk;
use fanfold_records::{Position, State};

/// Counts the records of each chunk; `cuts` are where chunks begin, in order, and `records` those of all. `None` if
/// a chunk begins elsewhere, but for the first.
pub(super) fn count(chunks: &[Chunk], cuts: &[Position], records: u64) -> Option<Vec<u64>> {
    let before = |chunk: &Chunk| {
        let found = cuts.binary_search_by_key(&chunk.range.start, |cut| cut.offset).ok()?;
        Some(cuts[found].records)
    };
    let mut edges = vec![0];
    for chunk in chunks.iter().skip(1) {
        edges.push(before(chunk)?);
    }
    edges.push(records);
    edges.windows(2).map(|edges| edges[1].checked_sub(edges[0])).collect()
}

/// Says whether it is certain that every record is whole: none is longer than `max_record` bytes, and the last ends
/// outside quotes. `positions` are those of blocks, in order, from the start of the data to their end.
///
/// A record is as long as the blocks are in which it may lie, so that none is certain to be shorter than two blocks.
pub(super) fn are_whole(positions: &[Position], max_record: u64) -> bool {
    let (Some(start), Some(end)) = (positions.first(), positions.last()) else { return false };
    let mut longest = 0;
    // No record that has not ended yet began before.
    let mut from = start.offset;
    for block in positions.windows(2) {
        if block[1].records > block[0].records {
            longest = longest.max(block[1].offset - from);
            from = block[0].offset;
        }
    }
    longest.max(end.offset - from) <= max_record && end.state != State::Quoted
}

#[cfg(test)]
mod tests {
    use fanfold_domain::{ByteRange, ChunkIndex};

    use super::*;

    fn at(offset: u64, records: u64) -> Position {
        Position { records, ..Position::start(offset) }
    }

    #[test]
    fn a_record_is_as_long_as_the_blocks_that_it_may_lie_in() {
        let positions = [at(7, 0), at(17, 2), at(27, 2), at(37, 2), at(47, 3), at(57, 4)];
        assert!(are_whole(&positions, 40), "that of the first block's end to the fourth's");
        assert!(!are_whole(&positions, 39));
        assert!(!are_whole(&[at(7, 0), at(17, 1), at(27, 1), at(30, 1)], 22), "the last, without a line end");
        assert!(!are_whole(&[at(7, 0), Position { state: State::Quoted, ..at(17, 0) }], 100));
    }

    #[test]
    fn chunks_have_the_records_between_their_cuts() {
        let chunk = |i, start, end| Chunk { index: ChunkIndex(i), range: ByteRange::new(start, end) };
        let chunks = [chunk(0, 5, 10), chunk(1, 10, 30), chunk(2, 30, 40)];
        assert_eq!(count(&chunks, &[at(10, 2), at(10, 2), at(30, 2)], 9), Some(vec![2, 0, 7]));
        assert_eq!(count(&chunks, &[at(10, 2)], 9), None);
        assert_eq!(count(&chunks[..1], &[], 9), Some(vec![9]));
    }
}
