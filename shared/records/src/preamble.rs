//! What stands before the data of a source: a byte order mark, and the header.

use std::ops::Range;

use thiserror::Error;

use crate::{Dialect, Ending, Frame, Framer};

/// What stands before the first record of data. All places are bytes from the start of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preamble {
    /// The length of all of it: where the data begin.
    pub len: u64,
    /// The length of the byte order mark, 0 or 3.
    pub mark_len: usize,
    /// The header; `None` if none was asked for, or if the source has no record at all.
    pub header: Option<Header>,
}

/// The first record of a source, when it is no data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its bytes, without the mark, the blank lines before it and the terminator.
    pub body: Range<usize>,
    /// Its line end, which tells that of the source; `Ending::None` if the source ends with it.
    pub ending: Ending,
}

/// A source whose first bytes cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PreambleError {
    /// The source is not in an encoding that contains ASCII.
    #[error("the source begins with the byte order mark of {found}; only UTF-8 and its kin can be read")]
    Encoding {
        /// The encoding that the mark stands for.
        found: &'static str,
    },
    /// The same, by its first bytes alone.
    #[error(
        "the source begins as {found} does without a byte order mark, with zeros among its first characters; \
         only UTF-8 and its kin can be read"
    )]
    Unmarked {
        /// The encoding in which those bytes are ASCII.
        found: &'static str,
    },
    /// The header is longer than a record may be.
    #[error("the header is longer than {max_record} bytes")]
    TooLong {
        /// The limit in bytes.
        max_record: u64,
    },
    /// The header has a quote that the source never closes.
    #[error("the quote at byte {quote_offset}, in the header, is never closed")]
    Unterminated {
        /// Absolute offset of the quote.
        quote_offset: u64,
    },
    /// The header of a fixed-width source is shorter than its records.
    #[error("the header is shorter than the records' fixed length")]
    Short,
}

/// The byte order marks; one that another begins with stands after it.
const MARKS: [(&[u8], &str); 5] = [
    (b"\xef\xbb\xbf", UTF_8),
    (b"\xff\xfe\0\0", "UTF-32 (little-endian)"),
    (b"\0\0\xfe\xff", "UTF-32 (big-endian)"),
    (b"\xff\xfe", "UTF-16 (little-endian)"),
    (b"\xfe\xff", "UTF-16 (big-endian)"),
];
const UTF_8: &str = "UTF-8";

/// Where zeros stand among the first four bytes of text that begins with characters of ASCII (RFC 4627, section 3).
const ZEROS: [([bool; 4], &str); 4] = [
    ([false, true, true, true], "UTF-32 (little-endian)"),
    ([true, true, true, false], "UTF-32 (big-endian)"),
    ([false, true, false, true], "UTF-16 (little-endian)"),
    ([true, false, true, false], "UTF-16 (big-endian)"),
];

/// Finds where the data of a source begin: after its byte order mark and, with `header`, its first record
/// and the blank lines before that.
///
/// `bytes` are the source's first, `at_end` says that they are all. Returns `None` if more are needed,
/// which never goes beyond the mark, the blank lines and `max_record` (at least [`CUT`](crate::CUT)) bytes.
///
/// Without a mark, UTF-16 and UTF-32 are told by the zeros among the first four bytes. Fixed-width records may be
/// binary, so there only a UTF-8 mark is taken for one, and zeros are data.
pub fn preamble(
    dialect: Dialect,
    header: bool,
    max_record: u64,
    bytes: &[u8],
    at_end: bool,
) -> Result<Option<Preamble>, PreambleError> {
    let Some(mark_len) = mark_len(dialect, bytes, at_end)? else { return Ok(None) };
    if !header {
        return Ok(Some(Preamble { len: mark_len as u64, mark_len, header: None }));
    }
    let mut framer = Framer::new(dialect, mark_len as u64, max_record);
    let mut start = mark_len;
    loop {
        let header = match framer.next(&bytes[start..], at_end) {
            Frame::Blank { raw_len } => {
                start += raw_len;
                continue;
            }
            Frame::NeedMore => return Ok(None),
            Frame::End => None,
            Frame::Record { ending: Ending::Short, .. } => return Err(PreambleError::Short),
            Frame::Record { body_len, ending, .. } => Some(Header { body: start..start + body_len, ending }),
            Frame::TooLong { .. } | Frame::Skipped { .. } => {
                return Err(PreambleError::TooLong { max_record });
            }
            Frame::Unterminated { quote_offset, .. } => {
                return Err(PreambleError::Unterminated { quote_offset });
            }
        };
        return Ok(Some(Preamble { len: framer.offset(), mark_len, header }));
    }
}

/// The length of the byte order mark; `None` if the bytes may still become one.
fn mark_len(dialect: Dialect, bytes: &[u8], at_end: bool) -> Result<Option<usize>, PreambleError> {
    let is_text = !matches!(dialect, Dialect::Fixed { .. });
    for (mark, found) in MARKS {
        if found != UTF_8 && !is_text {
            continue;
        }
        if !at_end && bytes.len() < mark.len() && mark.starts_with(bytes) {
            return Ok(None);
        }
        if bytes.starts_with(mark) {
            return if found == UTF_8 {
                Ok(Some(mark.len()))
            } else {
                Err(PreambleError::Encoding { found })
            };
        }
    }
    if !is_text {
        return Ok(Some(0));
    }
    match bytes.first_chunk::<4>() {
        None if !at_end => Ok(None),
        None => Ok(Some(0)),
        Some(first) => unmarked(*first).map_or(Ok(Some(0)), |found| Err(PreambleError::Unmarked { found })),
    }
}

/// The encoding in which such first bytes are characters of ASCII, if it is not ASCII itself.
fn unmarked(first: [u8; 4]) -> Option<&'static str> {
    let zeros = first.map(|byte| byte == 0);
    ZEROS.iter().find(|(pattern, _)| *pattern == zeros && first.is_ascii()).map(|(_, found)| *found)
}
