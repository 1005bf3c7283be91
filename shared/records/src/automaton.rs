//! The rules of the line formats, one byte at a time: the plainest form, and the oracle of the faster ones.

use crate::Dialect;

/// Where in a record the parser is, between two bytes. Any block of a source may begin in any of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum State {
    /// At the start of a line outside quotes: at the start of the source, or after a line end.
    StartOfRecord = 0,
    /// After a CR that was the first byte of its line: with LF it is a blank line, else it was data.
    StartOfRecordAfterCr = 1,
    /// After a delimiter.
    StartOfField = 2,
    /// Within unquoted data, where a quote is data too.
    Unquoted = 3,
    /// Within quotes.
    Quoted = 4,
    /// After a quote within quotes: it closed the field, or is the first of a doubled one.
    QuoteInQuoted = 5,
}

impl State {
    /// All states, each at its [`index`](Self::index).
    pub const ALL: [Self; 6] = [
        Self::StartOfRecord,
        Self::StartOfRecordAfterCr,
        Self::StartOfField,
        Self::Unquoted,
        Self::Quoted,
        Self::QuoteInQuoted,
    ];

    /// Returns the state's number, 0 to 5; it is part of the encoded form of a summary.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Says whether a record has certainly begun and not ended. After a leading CR that is still open.
    pub const fn is_within_record(self) -> bool {
        !matches!(self, Self::StartOfRecord | Self::StartOfRecordAfterCr)
    }

    /// Says whether a source that ends here has one more record than line ends told: the last one, without
    /// a line end (a bad one if the state is `Quoted`).
    pub const fn has_open_record(self) -> bool {
        !matches!(self, Self::StartOfRecord)
    }
}

/// What one byte does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The state after the byte.
    pub next: State,
    /// Whether the byte ended a record (never true for the LF of a blank line).
    pub ends_record: bool,
}

/// The byte that encloses fields and the one between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quoting {
    pub(crate) quote: u8,
    pub(crate) delimiter: u8,
}

/// The rules of one line format.
///
/// Where quotes have no meaning, delimiters have none either, and the states `StartOfField`, `Quoted` and
/// `QuoteInQuoted` are entered by no byte and left as `Unquoted` is. Where blank lines are records
/// (`Lines`), the same holds for `StartOfRecordAfterCr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Automaton {
    pub(crate) quoting: Option<Quoting>,
    pub(crate) blank_lines_are_records: bool,
}

impl Automaton {
    /// Builds the rules of a dialect; `None` for fixed-width records, whose ends no byte tells.
    pub fn new(dialect: Dialect) -> Option<Self> {
        let quoting = match dialect {
            Dialect::Fixed { .. } => return None,
            Dialect::Csv { delimiter, quote: Some(quote) } => Some(Quoting { quote, delimiter }),
            Dialect::Csv { quote: None, .. } | Dialect::Lines | Dialect::Jsonl => None,
        };
        Some(Self { quoting, blank_lines_are_records: dialect == Dialect::Lines })
    }

    /// Reduces a state that this dialect does not know to the one it behaves as.
    pub(crate) fn normal(self, state: State) -> State {
        match state {
            State::StartOfField | State::Quoted | State::QuoteInQuoted if self.quoting.is_none() => {
                State::Unquoted
            }
            State::StartOfRecordAfterCr if self.blank_lines_are_records => State::Unquoted,
            known => known,
        }
    }

    /// Takes one byte.
    #[inline]
    pub fn step(self, state: State, byte: u8) -> Step {
        let state = self.normal(state);
        let ends_record = byte == b'\n' && self.line_end_ends_record(state);
        Step { next: self.next(state, byte), ends_record }
    }

    fn line_end_ends_record(self, state: State) -> bool {
        match state {
            State::Quoted => false,
            State::StartOfRecord | State::StartOfRecordAfterCr => self.blank_lines_are_records,
            State::StartOfField | State::Unquoted | State::QuoteInQuoted => true,
        }
    }

    fn next(self, state: State, byte: u8) -> State {
        let is_quote = self.quoting.is_some_and(|quoting| byte == quoting.quote);
        let is_delimiter = self.quoting.is_some_and(|quoting| byte == quoting.delimiter);
        match state {
            State::Quoted if is_quote => State::QuoteInQuoted,
            State::Quoted => State::Quoted,
            _ if byte == b'\n' => State::StartOfRecord,
            _ if is_delimiter => State::StartOfField,
            State::StartOfRecord | State::StartOfField | State::QuoteInQuoted if is_quote => State::Quoted,
            State::StartOfRecord if byte == b'\r' && !self.blank_lines_are_records => {
                State::StartOfRecordAfterCr
            }
            _ => State::Unquoted,
        }
    }

    /// Says whether a step from `state` made certain that a record began: with that byte, or, if `state` is
    /// `StartOfRecordAfterCr`, with the CR before it.
    pub(crate) fn begins_record(self, state: State, step: Step) -> bool {
        !self.normal(state).is_within_record() && (step.next.is_within_record() || step.ends_record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(dialect: Dialect, text: &str) -> (State, usize) {
        let automaton = Automaton::new(dialect).unwrap();
        text.bytes().fold((State::StartOfRecord, 0), |(state, ends), byte| {
            let step = automaton.step(state, byte);
            (step.next, ends + usize::from(step.ends_record))
        })
    }

    #[test]
    fn a_quote_opens_a_field_only_at_its_start() {
        assert_eq!(run(Dialect::CSV, "a,5\" pipe\n"), (State::StartOfRecord, 1));
        assert_eq!(run(Dialect::CSV, "a,\"5\n"), (State::Quoted, 0));
        assert_eq!(run(Dialect::CSV, "\"a\"b\"\n"), (State::StartOfRecord, 1));
    }

    #[test]
    fn a_doubled_quote_keeps_the_field_open() {
        assert_eq!(run(Dialect::CSV, "\"a\"\"\n"), (State::Quoted, 0));
        assert_eq!(run(Dialect::CSV, "\"a\"\"\""), (State::QuoteInQuoted, 0));
    }

    #[test]
    fn a_leading_cr_is_a_blank_line_only_with_lf() {
        assert_eq!(run(Dialect::CSV, "\r"), (State::StartOfRecordAfterCr, 0));
        assert_eq!(run(Dialect::CSV, "\r\n"), (State::StartOfRecord, 0));
        assert_eq!(run(Dialect::CSV, "\r\"\n"), (State::StartOfRecord, 1));
        assert_eq!(run(Dialect::CSV, "\r\r\n"), (State::StartOfRecord, 1));
        assert_eq!(run(Dialect::Lines, "\r\n\n"), (State::StartOfRecord, 2));
    }

    #[test]
    fn without_quotes_every_line_end_counts() {
        let plain = Dialect::Csv { delimiter: b',', quote: None };
        assert_eq!(run(plain, "a,\"b\nc\"\n"), (State::StartOfRecord, 2));
        assert_eq!(run(Dialect::Jsonl, "\"\n\n\"\n"), (State::StartOfRecord, 2));
    }

    #[test]
    fn fixed_width_records_have_no_automaton() {
        assert_eq!(Automaton::new(Dialect::Fixed { length: 4 }), None);
    }
}
