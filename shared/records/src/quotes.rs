//! Which quotes of a word are quotes, and so which of its line ends are.

use crate::automaton::Quoting;
use crate::word::{Word, running_parity};

/// A word whose quotes have been told from data.
pub(crate) struct Resolved {
    /// The quotes that open or close; those within unquoted data are gone.
    pub(crate) quotes: u64,
    /// Bit i: the parser is within quotes after byte i.
    pub(crate) inside: u64,
    /// The LFs outside quotes.
    pub(crate) line_ends: u64,
}

impl Resolved {
    /// The quotes after which the parser is within quotes: those that open a field, and the second ones of
    /// doubled quotes.
    #[inline]
    pub(crate) fn openers(&self) -> u64 {
        self.quotes & self.inside
    }
}

/// Resolves a word that begins within quotes (`inside`), or outside where a quote would open (`may_open`:
/// at the start of a record or field, or after a quote within quotes) or would be data.
///
/// Takes every second quote as an opening one, and checks: such a quote stands after a delimiter, a line
/// end or a quote that closed. The first that does not is data, as is every quote from there to the next
/// delimiter or line end; without those it tries again. So a word costs at most one round more than it has
/// delimiters, and nearly always one.
#[inline]
pub(crate) fn resolve(word: &Word<'_>, inside: bool, may_open: bool) -> Resolved {
    let carry = if inside { u64::MAX } else { 0 };
    if word.quote == 0 {
        return Resolved { quotes: 0, inside: carry, line_ends: word.line_feed & !carry };
    }
    let separators = word.delimiter | word.line_feed;
    let mut quotes = word.quote;
    loop {
        let inside = running_parity(quotes) ^ carry;
        let may_open = (separators | quotes) << 1 | u64::from(may_open);
        let misplaced = quotes & inside & !may_open;
        if misplaced == 0 {
            return Resolved { quotes, inside, line_ends: word.line_feed & !inside };
        }
        quotes &= !unquoted_run(misplaced, separators);
    }
}

/// The bits from the lowest of `misplaced` up to the next separator: unquoted data.
fn unquoted_run(misplaced: u64, separators: u64) -> u64 {
    let first = misplaced & misplaced.wrapping_neg();
    let later = separators & !(first | (first - 1));
    let end = later & later.wrapping_neg();
    // Without a later separator `end` is 0, and the difference has all bits from `first` up.
    end.wrapping_sub(first)
}

/// The state of the quotes after the bytes looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quotes {
    pub(crate) inside: bool,
    may_open: bool,
    /// Whether the last byte was a quote that closed; another one now does not open a field.
    after_quote: bool,
    /// Absolute offset of the quote that opened the field that was open at a word's end, or might be.
    pub(crate) opened_at: u64,
}

impl Quotes {
    /// At the start of a record.
    pub(crate) const AT_START: Self =
        Self { inside: false, may_open: true, after_quote: false, opened_at: 0 };

    /// Passes bytes without a quote, outside quotes, of which `byte` is the last.
    #[inline]
    pub(crate) fn pass(&mut self, byte: u8, quoting: Quoting) {
        self.after_quote = false;
        self.may_open = is_separator(byte, quoting);
    }

    /// Takes the word at `place` of the bytes that begin at the absolute offset `offset`; returns its LFs
    /// outside quotes.
    #[inline]
    pub(crate) fn take(&mut self, word: &Word<'_>, quoting: Quoting, offset: u64, place: usize) -> u64 {
        if word.quote != 0 {
            return self.take_quoted(word, quoting, offset + place as u64);
        }
        if self.inside {
            return 0;
        }
        self.pass(word.last_byte(), quoting);
        word.line_feed
    }

    fn take_quoted(&mut self, word: &Word<'_>, quoting: Quoting, offset: u64) -> u64 {
        let resolved = resolve(word, self.inside, self.may_open);
        let last = word.last_bit();
        let inside = resolved.inside & last != 0;
        let after_quote = resolved.quotes & last != 0 && !inside;
        // After a quote that closed, the next word's first may open the same field again.
        if inside || after_quote {
            self.note_opening(&resolved, offset);
        }
        self.inside = inside;
        self.after_quote = after_quote;
        self.may_open = after_quote || is_separator(word.last_byte(), quoting);
        resolved.line_ends
    }

    /// Remembers where the field was opened that may be open after a word, if that is in this word.
    #[inline]
    fn note_opening(&mut self, resolved: &Resolved, offset: u64) {
        let after_closing = (resolved.quotes & !resolved.inside) << 1 | u64::from(self.after_quote);
        let opened = resolved.openers() & !after_closing;
        if opened != 0 {
            self.opened_at = offset + u64::from(opened.ilog2());
        }
    }
}

#[inline]
fn is_separator(byte: u8, quoting: Quoting) -> bool {
    byte == b'\n' || byte == quoting.delimiter
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::word::padded;

    fn line_ends(text: &str, inside: bool, may_open: bool) -> u64 {
        let bytes = padded(text.as_bytes());
        let word = Word::partial(&bytes, text.len(), Some(Quoting { quote: b'"', delimiter: b',' }));
        resolve(&word, inside, may_open).line_ends
    }

    #[test]
    fn line_ends_within_quotes_are_data() {
        assert_eq!(line_ends("\"\n\"\n", false, true), 0b1000);
        assert_eq!(line_ends("\n\"\n", true, false), 0b100);
    }

    #[test]
    fn a_run_of_quotes_within_unquoted_data_is_data() {
        assert_eq!(line_ends("a\"\"\"\n", false, true), 0b1_0000);
        assert_eq!(line_ends("\"\n,\"\n", false, false), 0b10);
    }
}
