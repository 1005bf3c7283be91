//! Where a chunk may begin.
//!
//! A chunk begins where a record does, so that the blank lines of CSV and JSON Lines go with the record
//! before them. One exception, for splits by size: where a run of blank lines goes on beyond the bytes in
//! view, the first line start of the run that is not before the wished place is taken, for a chunk may
//! begin with blank lines too (its [`Framer`](crate::Framer) passes them through). With windows of several
//! sizes such a boundary may lie before that of an earlier wished place, which saw further; whoever plans
//! chunks takes the larger of the two.

use memchr::memchr;

use crate::{Automaton, Dialect, Position, State};

/// A few bytes of a source, around the place where a chunk should begin.
#[derive(Clone, Copy, Debug)]
pub struct Window<'a> {
    /// The bytes, beginning one byte *before* the wished place, so that a line end right before it counts.
    pub bytes: &'a [u8],
    /// Absolute offset of the first byte: the wished place less one.
    pub offset: u64,
    /// Whether the source ends with these bytes.
    pub at_end: bool,
}

/// Finds the first record start at or after `window.offset + 1`, where record ends can be told locally.
///
/// Returns its absolute offset, or `None` if there is none in the window: it should be widened, or, if
/// `at_end`, no record begins there any more. For a `dialect` that is not [`Local`](crate::Locating::Local)
/// it is always `None`.
pub fn first_boundary(dialect: Dialect, window: Window<'_>) -> Option<u64> {
    let automaton = Automaton::new(dialect).filter(|automaton| automaton.quoting.is_none())?;
    let line = memchr(b'\n', window.bytes)? + 1;
    let at = Cursor { state: State::StartOfRecord, from: 0, at_end: window.at_end };
    let start = at.first_start(automaton, &window.bytes[line..])?;
    Some(window.offset + (line + start) as u64)
}

/// Returns the first record start at or after `nominal`, for fixed-width records of `length` bytes (at
/// least 1) that begin at `data_start`. All offsets are absolute; the result may lie beyond the source.
pub fn fixed_boundary(length: u64, data_start: u64, nominal: u64) -> u64 {
    data_start + nominal.saturating_sub(data_start).div_ceil(length) * length
}

/// Finds the first record start at or after `from` in a block that the parser enters in `entry`.
///
/// `from` and the result are bytes from the block's start; the result may be the block's length, if its
/// last byte ends a record. `None` if no record starts there: go on with the next block, from 0; or, if
/// `at_end` (the source ends with the block), no record begins there any more. Always `None` for
/// fixed-width records.
pub fn boundary_in_block(
    dialect: Dialect,
    block: &[u8],
    entry: State,
    from: usize,
    at_end: bool,
) -> Option<usize> {
    let automaton = Automaton::new(dialect)?;
    Cursor { state: entry, from, at_end }.first_start(automaton, block)
}

/// A search for a record's start, in bytes before which the parser is in `state`.
struct Cursor {
    state: State,
    from: usize,
    at_end: bool,
}

impl Cursor {
    fn first_start(mut self, automaton: Automaton, bytes: &[u8]) -> Option<usize> {
        // The first line start since `from` after which only blank lines were seen.
        let mut line = (self.state == State::StartOfRecord && self.from == 0).then_some(0);
        for (index, &byte) in bytes.iter().enumerate() {
            let step = automaton.step(self.state, byte);
            if automaton.begins_record(self.state, step) {
                let start = start_of_begun(self.state, index as u64);
                match start.and_then(|start| usize::try_from(start).ok()) {
                    Some(start) if start >= self.from => return Some(start),
                    _ => line = None,
                }
            }
            if step.next == State::StartOfRecord && index + 1 >= self.from {
                line = line.or(Some(index + 1));
            }
            self.state = step.next;
        }
        if !self.at_end {
            return line;
        }
        let lone_cr = bytes.len().checked_sub(1).filter(|start| *start >= self.from);
        lone_cr.filter(|_| self.state == State::StartOfRecordAfterCr)
    }
}

/// Where a record began that was found to have begun by the byte at `index`; `None` if that is before 0.
fn start_of_begun(state: State, index: u64) -> Option<u64> {
    if state == State::StartOfRecordAfterCr { index.checked_sub(1) } else { Some(index) }
}

/// Finds where record `record` (0-based) starts, in the block that [`block_of_record`] names.
///
/// `at` is the true position at the block's start; `at_end` says that the source ends with the block. The
/// result is absolute, and may be one byte before the block (a CR at the end of the one before that turns
/// out to be data). `None` if the record does not start in this block, or for fixed-width records. Blank
/// lines before the record are skipped; those before record 0 belong to it, so its chunk begins at the
/// start of the data instead.
///
/// [`block_of_record`]: crate::block_of_record
pub fn nth_record_start(
    dialect: Dialect,
    block: &[u8],
    at: Position,
    record: u64,
    at_end: bool,
) -> Option<u64> {
    let automaton = Automaton::new(dialect)?;
    let Position { mut state, mut records, .. } = at;
    for (offset, &byte) in (at.offset..).zip(block) {
        let step = automaton.step(state, byte);
        if records == record && automaton.begins_record(state, step) {
            return start_of_begun(state, offset);
        }
        records += u64::from(step.ends_record);
        state = step.next;
    }
    let last = (at.offset + block.len() as u64).checked_sub(1);
    last.filter(|_| at_end && records == record && state == State::StartOfRecordAfterCr)
}
