//! Where records begin and end, in CSV, lines, JSON Lines and fixed-width data.
//!
//! The crate answers four questions, each over bytes that the caller already holds:
//!
//! - which record comes next in a stream of bytes: [`Framer`];
//! - which fields a CSV record has: [`fields()`];
//! - how many records a stretch of a source holds and where they may be cut, without knowing what came
//!   before it: [`Scanner`], [`Summary`] and [`RangeSummary`];
//! - where a chunk may begin near a wished offset: [`first_boundary`], [`boundary_in_block`],
//!   [`nth_record_start`], [`fixed_boundary`]; and where the data begin: [`preamble()`].
//!
//! One table of rules stands behind all four, [`Automaton`]; everything faster is tested against it.
//!
//! Architecture invariant: this crate is pure. It must not know objects, requests, chunks, runs or
//! processors, does no I/O, reads no clock and no environment, and never holds a source's bytes longer
//! than a call.
//!
//! Offsets are bytes, absolute in the source where they are `u64`, relative to the slice at hand where
//! they are `usize`; ranges are half-open; records are counted from 0.

mod automaton;
mod boundary;
mod dialect;
mod encoding;
mod fields;
mod frame;
mod framer;
mod preamble;
mod quotes;
mod range;
mod scan;
mod summary;
mod word;

pub use automaton::{Automaton, State, Step};
pub use boundary::{Window, boundary_in_block, first_boundary, fixed_boundary, nth_record_start};
pub use dialect::{Dialect, DialectError, Locating};
pub use encoding::DecodeError;
pub use fields::{Field, Fields, count_fields, fields, split_fields};
pub use frame::{CUT, Ending, Frame, Rest};
pub use framer::Framer;
pub use preamble::{Header, Preamble, PreambleError, preamble};
pub use range::{RangeScan, RangeSummary, block_of_record};
pub use scan::Scanner;
pub use summary::{Outcome, Position, Summary};

/// The unit of the parallel scan, in bytes: one [`Summary`] is kept a block, and a boundary costs one read
/// of one block.
pub const BLOCK: usize = 64 * 1024;
