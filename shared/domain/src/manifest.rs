//! The manifest: a run's chunk list as fixed-width JSON Lines.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{ByteRange, ChunkIndex};

/// One chunk of a source: a range of its bytes that begins and ends between records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// The chunk's index, 0-based.
    pub index: ChunkIndex,
    /// Its bytes, counted from the source's first byte.
    #[serde(flatten)]
    pub range: ByteRange,
}

/// Bytes of a manifest line, its line feed included. Fixed, so that chunk i is one ranged read.
pub const LINE_BYTES: u64 = 66;

/// What is wrong with a manifest.
#[derive(Debug, Error)]
pub enum InvalidManifest {
    /// It is empty or its size is no multiple of a line.
    #[error("a manifest of {found} bytes, and it must be a positive multiple of {LINE_BYTES}")]
    Size {
        /// The size in bytes.
        found: u64,
    },
    /// A line is not a chunk.
    #[error("manifest line {line} is not a chunk")]
    Line {
        /// 0-based.
        line: u64,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// A line is another chunk than its place says.
    #[error("manifest line {line} holds chunk {found}")]
    Misplaced {
        /// 0-based.
        line: u64,
        /// The index it holds.
        found: ChunkIndex,
    },
}

impl Chunk {
    /// Writes the chunk's line: numbers padded with spaces on the left, which JSON allows.
    pub fn write_line(&self, out: &mut String) {
        use std::fmt::Write;
        let before = out.len();
        let ByteRange { start, end } = self.range;
        writeln!(out, r#"{{"index":{:>7},"start":{start:>16},"end":{end:>16}}}"#, self.index.0)
            .expect("writing to a String cannot fail");
        debug_assert_eq!((out.len() - before) as u64, LINE_BYTES, "the line has its width");
    }
}

/// Where the lines of `count` chunks from `first` on stand in the manifest.
pub fn line_range(first: ChunkIndex, count: u32) -> ByteRange {
    let start = u64::from(first.0) * LINE_BYTES;
    ByteRange::new(start, start + u64::from(count) * LINE_BYTES)
}

/// How many chunks a manifest of `bytes` holds.
///
/// # Errors
/// A size that no manifest has.
pub fn chunk_count(bytes: u64) -> Result<u64, InvalidManifest> {
    if bytes == 0 || !bytes.is_multiple_of(LINE_BYTES) {
        return Err(InvalidManifest::Size { found: bytes });
    }
    Ok(bytes / LINE_BYTES)
}

/// Reads the lines from chunk `first` on.
///
/// # Errors
/// Anything that is not exactly those chunks' lines.
pub fn read_lines(bytes: &[u8], first: ChunkIndex) -> Result<Vec<Chunk>, InvalidManifest> {
    chunk_count(bytes.len() as u64)?;
    let width = usize::try_from(LINE_BYTES).expect("a line's width fits");
    let lines = bytes.chunks_exact(width).zip(u64::from(first.0)..);
    lines
        .map(|(bytes, line)| {
            let chunk: Chunk =
                serde_json::from_slice(bytes).map_err(|source| InvalidManifest::Line { line, source })?;
            if u64::from(chunk.index.0) != line {
                return Err(InvalidManifest::Misplaced { line, found: chunk.index });
            }
            Ok(chunk)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_chunk_is_one_ranged_read() {
        let chunks: Vec<_> = (0..20u32)
            .map(|i| Chunk {
                index: ChunkIndex(i),
                range: ByteRange::new(u64::from(i) * (5 << 40) / 20, u64::from(i + 1) * (5 << 40) / 20),
            })
            .collect();
        let mut text = String::new();
        for chunk in &chunks {
            chunk.write_line(&mut text);
        }
        assert_eq!(chunk_count(text.len() as u64).unwrap(), 20);
        let at = line_range(ChunkIndex(7), 2);
        let bytes = &text.as_bytes()[usize::try_from(at.start).unwrap()..usize::try_from(at.end).unwrap()];
        assert_eq!(read_lines(bytes, ChunkIndex(7)).unwrap(), chunks[7..9]);
        assert!(matches!(read_lines(bytes, ChunkIndex(8)), Err(InvalidManifest::Misplaced { line: 8, .. })));
        assert!(matches!(read_lines(&bytes[1..], ChunkIndex(7)), Err(InvalidManifest::Size { .. })));
    }
}
