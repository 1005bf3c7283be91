//! The encoded form of a [`RangeSummary`], as the scan stage leaves it in the work bucket.
//!
//! Little-endian, fixed width, so that the summary of block i is one ranged read at `HEADER + i * WIDTH`:
//!
//! | bytes | what |
//! |---|---|
//! | 0..4 | `FFS1` |
//! | 4..12 | offset of the range's first byte |
//! | 12..20 | length of the range in bytes; it tells the number of blocks and the length of the last |
//! | then 30 a block | six outcomes, in the order of [`State::index`] |
//!
//! An outcome has 5 bytes: the flags; the number of records modulo 65,536 (`u16`); the place after the
//! first record end less one (`u16`, 0 if there is none). In the flags, bits 0 to 2 are the state at the
//! end, bit 6 says that there are 65,536 records more, bit 7 that there is a record end.

use thiserror::Error;

use crate::{BLOCK, Outcome, RangeSummary, State, Summary};

const MAGIC: [u8; 4] = *b"FFS1";
const HEADER: usize = 20;
const OUTCOME: usize = 5;
const WIDTH: usize = 6 * OUTCOME;

const STATE: u8 = 0b0000_0111;
const MANY: u8 = 0b0100_0000;
const HAS_END: u8 = 0b1000_0000;
/// How many records a `u16` cannot tell from none.
const WRAP: u64 = 1 << 16;

/// Bytes that are not the encoded form of a range's summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The bytes do not begin as this form does; it may be that of another version.
    #[error("not a range summary of this version")]
    Magic,
    /// There are not as many bytes as the range's length asks for.
    #[error("a range summary of {found} bytes, where its range's length asks for {wanted}")]
    Length {
        /// Bytes given.
        found: u64,
        /// Bytes that the header asks for.
        wanted: u64,
    },
    /// A block has a state that does not exist, or counts that do not fit its length.
    #[error("block {block} of the range summary is impossible")]
    Block {
        /// The block's index, 0-based.
        block: usize,
    },
}

impl RangeSummary {
    /// Encodes the summary: 20 bytes, and 30 a block (about 120 KiB for 256 MiB of source).
    pub fn encode(&self) -> Vec<u8> {
        let len: u64 = self.blocks.iter().map(|block| block.len).sum();
        let mut out = Vec::with_capacity(HEADER + self.blocks.len() * WIDTH);
        out.extend(MAGIC);
        out.extend(self.offset.to_le_bytes());
        out.extend(len.to_le_bytes());
        for outcome in self.blocks.iter().flat_map(|block| &block.outcomes) {
            out.extend(encode_outcome(outcome));
        }
        out
    }

    /// Decodes what [`encode`](Self::encode) wrote; refuses anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let body = bytes.strip_prefix(&MAGIC).ok_or(DecodeError::Magic)?;
        let found = bytes.len() as u64;
        let short = DecodeError::Length { found, wanted: HEADER as u64 };
        let (offset, body) = body.split_first_chunk().ok_or(short)?;
        let (len, body) = body.split_first_chunk().ok_or(short)?;
        let len = u64::from_le_bytes(*len);
        let wanted = len.div_ceil(BLOCK as u64).saturating_mul(WIDTH as u64).saturating_add(HEADER as u64);
        if found != wanted {
            return Err(DecodeError::Length { found, wanted });
        }
        let (blocks, _) = body.as_chunks::<WIDTH>();
        let decode = |(block, bytes): (usize, &[u8; WIDTH])| {
            let len = (len - (block * BLOCK) as u64).min(BLOCK as u64);
            decode_block(bytes, len).ok_or(DecodeError::Block { block })
        };
        let blocks = blocks.iter().enumerate().map(decode).collect::<Result<_, _>>()?;
        Ok(Self { offset: u64::from_le_bytes(*offset), blocks })
    }
}

fn encode_outcome(outcome: &Outcome) -> [u8; OUTCOME] {
    let low = |count: u64| u16::try_from(count % WRAP).expect("a remainder of 65,536").to_le_bytes();
    let many = if outcome.records >= WRAP { MANY } else { 0 };
    let has_end = if outcome.first_end.is_some() { HAS_END } else { 0 };
    let state = u8::try_from(outcome.end.index()).expect("there are six states");
    let records = low(outcome.records);
    let end = low(outcome.first_end.map_or(0, |end| end - 1));
    [state | many | has_end, records[0], records[1], end[0], end[1]]
}

fn decode_block(bytes: &[u8; WIDTH], len: u64) -> Option<Summary> {
    let mut outcomes = Summary::EMPTY.outcomes;
    for (outcome, bytes) in outcomes.iter_mut().zip(bytes.as_chunks::<OUTCOME>().0) {
        *outcome = decode_outcome(*bytes, len)?;
    }
    Some(Summary { len, outcomes })
}

fn decode_outcome(bytes: [u8; OUTCOME], len: u64) -> Option<Outcome> {
    let [flags, r0, r1, e0, e1] = bytes;
    let end = *State::ALL.get(usize::from(flags & STATE))?;
    let more = if flags & MANY != 0 { WRAP } else { 0 };
    let records = u64::from(u16::from_le_bytes([r0, r1])) + more;
    let first = u64::from(u16::from_le_bytes([e0, e1])) + 1;
    let first_end = (flags & HAS_END != 0).then_some(first);
    let plausible = flags & !(STATE | MANY | HAS_END) == 0
        && records <= len
        && first_end.is_some() == (records > 0)
        && first_end.unwrap_or(1) <= len
        && (first_end.is_some() || first == 1);
    plausible.then_some(Outcome { end, records, first_end })
}
