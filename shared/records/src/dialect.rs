//! The formats, as far as they decide where records end.

use thiserror::Error;

/// How the records of a source are told apart.
///
/// In the text formats a record ends with LF or CRLF, neither of which belongs to it; a CR anywhere else is
/// data. A missing last line end is fine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// One record a line; an empty line is an empty record.
    Lines,
    /// One JSON document a line; an empty line is no record and belongs to the record before it.
    Jsonl,
    /// Records of equal length, without a terminator.
    Fixed {
        /// Bytes a record, at least 1.
        length: u64,
    },
    /// Delimited fields; an empty line is no record and belongs to the record before it.
    ///
    /// A quote opens a field only as its first byte, a doubled quote within quotes is one quote, text after
    /// the closing quote belongs to the field as unquoted data, and line ends within quotes are data.
    Csv {
        /// The byte between two fields.
        delimiter: u8,
        /// The byte that encloses a field; `None` if quotes have no meaning.
        quote: Option<u8>,
    },
}

/// What it takes to find the start of a record somewhere in a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locating {
    /// A multiple of the record's length: see [`fixed_boundary`](crate::fixed_boundary).
    Arithmetic,
    /// A look at the bytes around the place: see [`first_boundary`](crate::first_boundary).
    Local,
    /// All bytes before the place, since a line end may be within quotes: see [`Scanner`](crate::Scanner).
    Scan,
}

/// A dialect that no data could be read with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DialectError {
    /// Fixed-width records have no bytes.
    #[error("the length of a fixed-width record is 0")]
    ZeroLength,
    /// The delimiter ends a line, or is the quote too.
    #[error("the delimiter {0:#04x} is a line end or the quote")]
    Delimiter(u8),
    /// The quote ends a line.
    #[error("the quote {0:#04x} is a line end")]
    Quote(u8),
}

impl Dialect {
    /// Comma-separated, with double quotes.
    pub const CSV: Self = Self::Csv { delimiter: b',', quote: Some(b'"') };

    /// Checks that the dialect's bytes can be told apart; the other functions of this crate assume it.
    pub fn check(&self) -> Result<(), DialectError> {
        let is_line_end = |byte: u8| matches!(byte, b'\n' | b'\r');
        match *self {
            Self::Fixed { length: 0 } => Err(DialectError::ZeroLength),
            Self::Csv { quote: Some(quote), .. } if is_line_end(quote) => Err(DialectError::Quote(quote)),
            Self::Csv { delimiter, quote } if is_line_end(delimiter) || quote == Some(delimiter) => {
                Err(DialectError::Delimiter(delimiter))
            }
            _ => Ok(()),
        }
    }

    /// Says what it takes to find a record's start in the middle of a source.
    ///
    /// This is about splits by size; a split by records needs the scan in every format but `Fixed`.
    pub fn locating(&self) -> Locating {
        match self {
            Self::Fixed { .. } => Locating::Arithmetic,
            Self::Csv { quote: Some(_), .. } => Locating::Scan,
            Self::Lines | Self::Jsonl | Self::Csv { .. } => Locating::Local,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_cannot_be_told_apart_are_refused() {
        let csv = |delimiter, quote| Dialect::Csv { delimiter, quote }.check();
        assert_eq!(csv(b',', Some(b'"')), Ok(()));
        assert_eq!(csv(b'\t', None), Ok(()));
        assert_eq!(csv(b'"', Some(b'"')), Err(DialectError::Delimiter(b'"')));
        assert_eq!(csv(b'\r', None), Err(DialectError::Delimiter(b'\r')));
        assert_eq!(csv(b',', Some(b'\n')), Err(DialectError::Quote(b'\n')));
        assert_eq!(Dialect::Fixed { length: 0 }.check(), Err(DialectError::ZeroLength));
    }

    #[test]
    fn only_quotes_need_a_scan() {
        assert_eq!(Dialect::CSV.locating(), Locating::Scan);
        assert_eq!(Dialect::Csv { delimiter: b',', quote: None }.locating(), Locating::Local);
        assert_eq!(Dialect::Lines.locating(), Locating::Local);
        assert_eq!(Dialect::Fixed { length: 3 }.locating(), Locating::Arithmetic);
    }
}
