//! The fields of one CSV record.

use std::borrow::Cow;

use memchr::{memchr, memchr_iter};

use crate::word::{WIDTH, equal, padded};

/// One field of a record, as it stands in the source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Field<'a> {
    raw: &'a [u8],
    /// The quote that opens the field, if one does.
    quote: Option<u8>,
}

impl<'a> Field<'a> {
    /// Returns the field's bytes with its quotes.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Says whether the field begins with a quote.
    pub fn is_quoted(&self) -> bool {
        self.quote.is_some()
    }

    /// Returns the field's value: without the enclosing quotes, with doubled ones made single, and with the
    /// text after the closing quote as it stands. Copies only if a doubled quote or such text is there.
    pub fn unescape(&self) -> Cow<'a, [u8]> {
        let Some(quote) = self.quote else { return Cow::Borrowed(self.raw) };
        let content = &self.raw[1..];
        match memchr(quote, content) {
            None => Cow::Borrowed(content),
            Some(close) if close + 1 == content.len() => Cow::Borrowed(&content[..close]),
            Some(close) => Cow::Owned(unescape(quote, content, close)),
        }
    }
}

/// Unescapes what follows an opening quote; `close` is the first quote in it.
fn unescape(quote: u8, mut rest: &[u8], mut close: usize) -> Vec<u8> {
    let mut value = Vec::with_capacity(rest.len());
    while rest.get(close + 1) == Some(&quote) {
        value.extend_from_slice(&rest[..=close]);
        rest = &rest[close + 2..];
        let Some(next) = memchr(quote, rest) else {
            value.extend_from_slice(rest);
            return value;
        };
        close = next;
    }
    value.extend_from_slice(&rest[..close]);
    value.extend_from_slice(rest.get(close + 1..).unwrap_or_default());
    value
}

/// The fields of a record, in order; at least one.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    body: &'a [u8],
    delimiter: u8,
    quote: Option<u8>,
    /// Where the next field starts; `None` after the last.
    start: Option<usize>,
    /// How many bytes of the body have been searched for delimiters.
    scanned: usize,
    /// The delimiters found and not yet passed; bit i is the byte at `word + i`.
    pending: u64,
    word: usize,
}

/// Splits a record's body (without its terminator) into fields. Allocates nothing.
///
/// The rules for quotes are those of [`Dialect::Csv`](crate::Dialect::Csv). An empty body has one empty
/// field; a field whose quote is never closed reaches to the end.
#[inline]
pub fn fields(body: &[u8], delimiter: u8, quote: Option<u8>) -> Fields<'_> {
    Fields { body, delimiter, quote, start: Some(0), scanned: 0, pending: 0, word: 0 }
}

/// Splits a record's body into `out`. Returns how many fields there are, which may be more than `out`
/// holds; the others are then counted only.
pub fn split_fields<'a>(body: &'a [u8], delimiter: u8, quote: Option<u8>, out: &mut [Field<'a>]) -> usize {
    let mut all = fields(body, delimiter, quote);
    let mut count = 0;
    for (slot, field) in out.iter_mut().zip(&mut all) {
        *slot = field;
        count += 1;
    }
    match all.start {
        Some(start) => count + count_fields(&body[start..], delimiter, quote),
        None => count,
    }
}

/// Counts the fields of a record's body.
pub fn count_fields(body: &[u8], delimiter: u8, quote: Option<u8>) -> usize {
    match quote.and_then(|quote| memchr(quote, body)) {
        Some(_) => fields(body, delimiter, quote).count(),
        None => memchr_iter(delimiter, body).count() + 1,
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    #[expect(clippy::inline_always, reason = "else a field goes through memory, at 10 ns each")]
    #[inline(always)]
    fn next(&mut self) -> Option<Field<'a>> {
        let start = self.start?;
        let rest = &self.body[start..];
        let quote = self.quote.filter(|quote| rest.first() == Some(quote));
        if let Some(quote) = quote {
            self.skip_to(start + closing(quote, rest));
        }
        let end = self.next_delimiter();
        self.start = end.map(|end| end + 1);
        Some(Field { raw: &self.body[start..end.unwrap_or(self.body.len())], quote })
    }
}

impl Fields<'_> {
    /// Passes over the delimiters before `place`.
    fn skip_to(&mut self, place: usize) {
        if place >= self.scanned {
            self.scanned = place;
            self.pending = 0;
        } else {
            self.pending &= u64::MAX << place.saturating_sub(self.word);
        }
    }

    #[inline]
    fn next_delimiter(&mut self) -> Option<usize> {
        while self.pending == 0 {
            if self.scanned == self.body.len() {
                return None;
            }
            self.search();
        }
        let place = self.word + self.pending.trailing_zeros() as usize;
        self.pending &= self.pending - 1;
        Some(place)
    }

    /// Searches the next word for delimiters.
    fn search(&mut self) {
        let from = self.scanned;
        self.word = from;
        if let Some(word) = self.body[from..].first_chunk::<WIDTH>() {
            self.pending = equal(word, self.delimiter);
            self.scanned += WIDTH;
            return;
        }
        let left = self.body.len() - from;
        self.scanned = self.body.len();
        self.pending = match self.body.last_chunk::<WIDTH>() {
            // The body's last word again, without what was searched before: cheaper than a copy.
            Some(word) => equal(word, self.delimiter) >> (WIDTH - left),
            None => equal(&padded(&self.body[from..]), self.delimiter) & (u64::MAX >> (WIDTH - left)),
        };
    }
}

/// The place after the quote that closes the field at the start of `rest`; its length if none does.
fn closing(quote: u8, rest: &[u8]) -> usize {
    let mut from = 1;
    while let Some(found) = memchr(quote, &rest[from..]) {
        from += found + 1;
        if rest.get(from) != Some(&quote) {
            return from;
        }
        from += 1;
    }
    rest.len()
}
