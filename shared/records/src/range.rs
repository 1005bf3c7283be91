//! The summaries of a range, one a block: what a scan leaves behind, and the prefix pass over it.

use crate::{BLOCK, Position, Scanner, Summary};

/// The scan of one range of a source: a summary for each [`BLOCK`] bytes of it, the last may be shorter.
///
/// The first range of a source must begin at the end of the preamble, since a byte order mark before a
/// quote would make that quote data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeSummary {
    /// Absolute offset of the range's first byte.
    pub offset: u64,
    /// The blocks, in order; each but the last covers exactly [`BLOCK`] bytes.
    pub blocks: Vec<Summary>,
}

impl RangeSummary {
    /// Summarizes the whole range, to be composed with those of other ranges.
    pub fn total(&self) -> Summary {
        self.blocks.iter().fold(Summary::EMPTY, |total, block| total.compose(block))
    }

    /// Returns the true position at the start of each block, given that at the start of the range: the
    /// prefix pass. The position after the range is `start.after(&self.total())`.
    ///
    /// `start.offset` must be the range's.
    pub fn positions(&self, start: Position) -> impl Iterator<Item = Position> + '_ {
        debug_assert_eq!(start.offset, self.offset, "the prefix pass begins elsewhere than the range");
        self.blocks.iter().scan(start, |next, block| {
            let position = *next;
            *next = position.after(block);
            Some(position)
        })
    }
}

/// Finds the block to read for the start of record `record` (0-based) among consecutive positions, as
/// [`RangeSummary::positions`] gives them: the last in which the record has not yet begun. Hand it to
/// [`nth_record_start`](crate::nth_record_start).
///
/// Returns its index, or `None` if the record began before the first of the positions. If the source has
/// no such record, the last block is named, in which it will not be found.
pub fn block_of_record(positions: &[Position], record: u64) -> Option<usize> {
    positions.partition_point(|position| !position.has_begun(record)).checked_sub(1)
}

/// A scan that takes its range in pieces of any size, as they come from the network, and buffers nothing.
#[derive(Clone, Debug)]
pub struct RangeScan {
    scanner: Scanner,
    range: RangeSummary,
    /// The block under way; shorter than [`BLOCK`].
    block: Summary,
}

impl RangeScan {
    /// Begins the scan of a range at the absolute offset `offset`.
    pub fn new(scanner: Scanner, offset: u64) -> Self {
        Self { scanner, range: RangeSummary { offset, blocks: Vec::new() }, block: Summary::EMPTY }
    }

    /// Takes the range's next bytes. Pieces of a few KiB or more cost nothing extra.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = usize::try_from(BLOCK as u64 - self.block.len).unwrap_or(BLOCK);
            let (piece, rest) = bytes.split_at(bytes.len().min(room));
            self.block = self.block.compose(&self.scanner.summarize(piece));
            if self.block.len == BLOCK as u64 {
                self.range.blocks.push(std::mem::replace(&mut self.block, Summary::EMPTY));
            }
            bytes = rest;
        }
    }

    /// Ends the range.
    pub fn finish(mut self) -> RangeSummary {
        if self.block.len > 0 {
            self.range.blocks.push(self.block);
        }
        self.range
    }
}
