//! What a [`Framer`](crate::Framer) finds.

/// How many of a bad record's first bytes are kept for the report.
pub const CUT: usize = 4096;

/// How a record ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With LF.
    Lf,
    /// With CRLF.
    CrLf,
    /// With the input, or, for a fixed-width record, with its last byte.
    None,
    /// With the input, before the fixed width was reached: the record is bad.
    Short,
}

/// What stands at the start of the bytes given to [`Framer::next`](crate::Framer::next).
///
/// The next call's bytes begin `raw_len` further on; without a `raw_len`, at the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A record: `bytes[..body_len]`, and with its terminator `bytes[..raw_len]`.
    Record {
        /// Bytes of the record without its terminator.
        body_len: usize,
        /// Bytes of the record with its terminator.
        raw_len: usize,
        /// The terminator.
        ending: Ending,
    },
    /// A blank line of CSV or JSON Lines, `bytes[..raw_len]`: no record, nothing to process.
    Blank {
        /// Bytes of the line end.
        raw_len: usize,
    },
    /// A record longer than allowed begins here; it follows as one or more `Skipped`.
    TooLong {
        /// How many of its bytes are in view, up to [`CUT`]: `bytes[..head_len]`. The same however the
        /// input was cut into buffers.
        head_len: usize,
    },
    /// A piece of a record that was reported as too long.
    Skipped {
        /// Bytes of the piece.
        raw_len: usize,
        /// What follows the piece.
        rest: Rest,
    },
    /// A record whose quote is never closed, `bytes[..raw_len]`, the input's last: a bad one.
    Unterminated {
        /// Bytes up to the end of the input.
        raw_len: usize,
        /// Absolute offset of the opening quote.
        quote_offset: u64,
    },
    /// The bytes end within a record: call again with these bytes and at least one more, or with `at_end`.
    NeedMore,
    /// The input is at its end.
    End,
}

/// What follows a piece of a record that is skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// More of the same record.
    More,
    /// The next record, or the end of the input.
    Nothing,
    /// The end of the input, within quotes: the skipped record is bad for this reason too.
    Unterminated {
        /// Absolute offset of the opening quote.
        quote_offset: u64,
    },
}
