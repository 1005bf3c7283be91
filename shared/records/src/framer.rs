//! One record after the other from a stream of bytes: the engine's hot path.

use memchr::{memchr, memchr2};

use crate::automaton::{Automaton, Quoting};
use crate::quotes::Quotes;
use crate::word::{WIDTH, Word, padded};
use crate::{CUT, Dialect, Ending, Frame, Rest};

/// Finds the records of a stream whose bytes come in buffers of any size.
///
/// The caller owns the buffer, and keeps the bytes of the record under way until it is whole; the framer
/// remembers how far it has looked, and never starts over however small the buffers. A caller that
/// passes up to `max_record + 2` bytes (at least [`CUT`]` + 1`) never has to hold more: a longer record is
/// reported and then skipped piece by piece.
///
/// ```
/// use fanfold_records::{Dialect, Frame, Framer};
///
/// let mut framer = Framer::new(Dialect::CSV, 0, 1 << 20);
/// let mut bytes: &[u8] = b"1,\"a\nb\"\n\n2,c";
/// let mut records = Vec::new();
/// loop {
///     let raw_len = match framer.next(bytes, true) {
///         Frame::Record { body_len, raw_len, .. } => {
///             records.push(&bytes[..body_len]);
///             raw_len
///         }
///         Frame::Blank { raw_len } => raw_len,
///         Frame::End => break,
///         bad => panic!("{bad:?}"),
///     };
///     bytes = &bytes[raw_len..];
/// }
/// assert_eq!(records, [&b"1,\"a\nb\""[..], b"2,c"]);
/// ```
#[derive(Clone, Debug)]
pub struct Framer {
    kind: Kind,
    /// Whether an empty line is no record.
    skips_blank: bool,
    max_record: u64,
    /// Absolute offset of the first byte of the next call's bytes.
    offset: u64,
    /// How many of those bytes have been looked at.
    scanned: usize,
    /// The line ends found but not yet told; bit i is the byte at `word + i` (wrapping) of those bytes.
    pending: u64,
    word: usize,
    quotes: Quotes,
    /// Whether the record under way was reported as too long.
    skipping: bool,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Plain,
    Quoted(Quoting),
    /// Fixed width, and how many bytes are left of the record that is skipped.
    Fixed {
        length: u64,
        left: u64,
    },
}

impl Framer {
    /// Begins at a record's start (or the blank lines before one), at the absolute offset `offset`, which
    /// must be past the preamble. A record's body may have up to `max_record` bytes.
    pub fn new(dialect: Dialect, offset: u64, max_record: u64) -> Self {
        let automaton = Automaton::new(dialect);
        let kind = match (dialect, automaton.and_then(|automaton| automaton.quoting)) {
            (Dialect::Fixed { length }, _) => Kind::Fixed { length, left: 0 },
            (_, Some(quoting)) => Kind::Quoted(quoting),
            (_, None) => Kind::Plain,
        };
        Self {
            kind,
            skips_blank: automaton.is_some_and(|automaton| !automaton.blank_lines_are_records),
            max_record,
            offset,
            scanned: 0,
            pending: 0,
            word: 0,
            quotes: Quotes::AT_START,
            skipping: false,
        }
    }

    /// Returns the absolute offset of the first byte that the next call is to be given: that of the record
    /// about to be told, or of the rest of the one that is skipped.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Tells what stands at the start of `bytes`.
    ///
    /// `bytes` begin at [`offset`](Self::offset), and hold at least what the last call was given from there
    /// on; `at_end` says that nothing follows them.
    ///
    /// # Panics
    ///
    /// If `bytes` are fewer than were given before from this offset on.
    #[inline]
    pub fn next(&mut self, bytes: &[u8], at_end: bool) -> Frame {
        if self.pending != 0 { self.pending_line(bytes) } else { self.search(bytes, at_end) }
    }

    fn search(&mut self, bytes: &[u8], at_end: bool) -> Frame {
        let line_end = match self.kind {
            Kind::Fixed { length, left } => return self.fixed(bytes, at_end, length, left),
            Kind::Plain => self.skim(bytes, memchr(b'\n', &bytes[self.scanned..])),
            Kind::Quoted(quoting) => self.skim_quoted(bytes, quoting),
        };
        match line_end {
            Some(end) => self.line(bytes, end),
            None if self.pending != 0 => self.pending_line(bytes),
            None if at_end => self.last(bytes),
            None => self.more(bytes),
        }
    }

    /// Returns the place after the LF that was found among the bytes not yet looked at; without one, takes
    /// note that they all were.
    #[inline]
    fn skim(&mut self, bytes: &[u8], line_feed: Option<usize>) -> Option<usize> {
        let Some(found) = line_feed else {
            self.scanned = bytes.len();
            return None;
        };
        Some(self.scanned + found + 1)
    }

    /// Skims to the next line end or quote, and from a quote on goes word by word: skimming is the faster
    /// where quotes are rare. Returns the place after a line end, unless that is left in `pending`.
    #[inline]
    fn skim_quoted(&mut self, bytes: &[u8], quoting: Quoting) -> Option<usize> {
        if !self.quotes.inside {
            let rest = &bytes[self.scanned..];
            let found = memchr2(b'\n', quoting.quote, rest);
            if found.is_some_and(|found| rest[found] == b'\n') {
                self.quotes.pass(b'\n', quoting);
                return self.skim(bytes, found);
            }
            let passed = found.unwrap_or(rest.len());
            if let Some(&last) = rest[..passed].last() {
                self.quotes.pass(last, quoting);
            }
            self.scanned += passed;
        }
        self.find_lines(bytes, quoting);
        None
    }

    /// Looks on word by word, up to the first in which a line ends, if there is one.
    #[inline]
    fn find_lines(&mut self, bytes: &[u8], quoting: Quoting) {
        let (words, rest) = bytes[self.scanned..].as_chunks::<WIDTH>();
        // A local copy, which the compiler can keep in registers.
        let mut quotes = self.quotes;
        for word in words {
            let line_ends = quotes.take(&Word::full(word, Some(quoting)), quoting, self.offset, self.scanned);
            self.scanned += WIDTH;
            if line_ends != 0 {
                self.quotes = quotes;
                self.word = self.scanned - WIDTH;
                self.pending = line_ends;
                return;
            }
        }
        self.quotes = quotes;
        self.find_in_rest(rest, quoting);
    }

    /// Looks at the last bytes in view, less than a word.
    #[cold]
    fn find_in_rest(&mut self, rest: &[u8], quoting: Quoting) {
        if rest.is_empty() {
            return;
        }
        let word = padded(rest);
        let word = Word::partial(&word, rest.len(), Some(quoting));
        self.word = self.scanned;
        self.pending = self.quotes.take(&word, quoting, self.offset, self.scanned);
        self.scanned += rest.len();
    }

    #[inline]
    fn pending_line(&mut self, bytes: &[u8]) -> Frame {
        let end = self.word.wrapping_add(self.pending.trailing_zeros() as usize + 1);
        self.line(bytes, end)
    }

    /// Tells a line of which the first `raw_len` bytes are in view, the last being its LF.
    #[inline]
    fn line(&mut self, bytes: &[u8], raw_len: usize) -> Frame {
        let has_cr = raw_len > 1 && bytes[raw_len - 2] == b'\r';
        let body_len = raw_len - 1 - usize::from(has_cr);
        if self.skipping {
            return self.skipped(raw_len);
        }
        if body_len as u64 > self.max_record {
            return self.too_long(body_len);
        }
        self.consume(raw_len);
        if body_len == 0 && self.skips_blank {
            return Frame::Blank { raw_len };
        }
        Frame::Record { body_len, raw_len, ending: if has_cr { Ending::CrLf } else { Ending::Lf } }
    }

    /// Tells what is left at the end of the input, where no line ends any more.
    fn last(&mut self, bytes: &[u8]) -> Frame {
        let raw_len = bytes.len();
        let is_open = std::mem::take(&mut self.quotes.inside);
        let quote_offset = self.quotes.opened_at;
        if self.skipping {
            self.skipping = false;
            self.consume(raw_len);
            let rest = if is_open { Rest::Unterminated { quote_offset } } else { Rest::Nothing };
            return Frame::Skipped { raw_len, rest };
        }
        if raw_len == 0 {
            return Frame::End;
        }
        if raw_len as u64 > self.max_record {
            self.quotes.inside = is_open;
            return self.too_long(raw_len);
        }
        self.consume(raw_len);
        if is_open {
            return Frame::Unterminated { raw_len, quote_offset };
        }
        Frame::Record { body_len: raw_len, raw_len, ending: Ending::None }
    }

    /// Tells what to do with the beginning of a record that goes on beyond `bytes`.
    fn more(&mut self, bytes: &[u8]) -> Frame {
        let raw_len = bytes.len();
        if self.skipping && raw_len > 0 {
            self.consume(raw_len);
            return Frame::Skipped { raw_len, rest: Rest::More };
        }
        // The body is longer than allowed even if the last byte in view is the CR of its terminator, and
        // is cut at the same place as if all of it were in view.
        if !self.skipping && raw_len > CUT && raw_len as u64 > self.max_record.saturating_add(1) {
            return self.too_long(raw_len);
        }
        Frame::NeedMore
    }

    fn too_long(&mut self, body_in_view: usize) -> Frame {
        self.skipping = true;
        Frame::TooLong { head_len: body_in_view.min(CUT) }
    }

    fn skipped(&mut self, raw_len: usize) -> Frame {
        self.skipping = false;
        self.consume(raw_len);
        Frame::Skipped { raw_len, rest: Rest::Nothing }
    }

    /// Moves past bytes that have been told, and past the line end they end with.
    #[inline]
    fn consume(&mut self, raw_len: usize) {
        self.offset += raw_len as u64;
        self.scanned = self.scanned.saturating_sub(raw_len);
        self.word = self.word.wrapping_sub(raw_len);
        self.pending &= self.pending.wrapping_sub(1);
    }

    fn fixed(&mut self, bytes: &[u8], at_end: bool, length: u64, left: u64) -> Frame {
        let in_view = bytes.len() as u64;
        if self.skipping {
            return self.fixed_skip(bytes, at_end, length, left);
        }
        if in_view == 0 && at_end {
            return Frame::End;
        }
        let wanted = if at_end { length.min(in_view) } else { length };
        let is_enough = wanted <= in_view || (in_view > self.max_record && in_view >= CUT as u64);
        if wanted > self.max_record && is_enough {
            self.kind = Kind::Fixed { length, left: length };
            return self.too_long(bytes.len().min(usize::try_from(wanted).unwrap_or(usize::MAX)));
        }
        if wanted > in_view {
            return Frame::NeedMore;
        }
        let ending = if wanted < length { Ending::Short } else { Ending::None };
        let raw_len = bytes.len().min(usize::try_from(wanted).unwrap_or(usize::MAX));
        self.consume(raw_len);
        Frame::Record { body_len: raw_len, raw_len, ending }
    }

    fn fixed_skip(&mut self, bytes: &[u8], at_end: bool, length: u64, left: u64) -> Frame {
        let raw_len = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let left = left - raw_len as u64;
        if left == 0 || (at_end && raw_len == bytes.len()) {
            return self.skipped(raw_len);
        }
        if raw_len == 0 {
            return Frame::NeedMore;
        }
        self.kind = Kind::Fixed { length, left };
        self.consume(raw_len);
        Frame::Skipped { raw_len, rest: Rest::More }
    }
}
