//! The columns of sales records, and what each must hold.

use std::borrow::Cow;

use fanfold_domain::pipeline::Encoding;
use fanfold_records::{Field, fields};

use crate::processor::ProcessError;

/// What a column must hold.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// Anything but nothing.
    Text,
    /// One of a few words.
    OneOf(&'static [&'static str]),
    /// Month, day, year: `1/31/2017`.
    Date,
    /// Decimal digits, at most 20, which are a name: zeros in front count.
    Id,
    /// Decimal digits, at most 20, which are a number.
    Count,
    /// A decimal number with an optional sign and fraction, at most 38 digits (what DynamoDB keeps).
    Decimal,
}

/// The columns in their order, by the names that the header must have.
pub(super) const COLUMNS: [(&str, Kind); 14] = [
    ("Region", Kind::Text),
    ("Country", Kind::Text),
    ("Item Type", Kind::Text),
    ("Sales Channel", Kind::OneOf(&["Online", "Offline"])),
    ("Order Priority", Kind::OneOf(&["C", "H", "L", "M"])),
    ("Order Date", Kind::Date),
    ("Order ID", Kind::Id),
    ("Ship Date", Kind::Date),
    ("Units Sold", Kind::Count),
    ("Unit Price", Kind::Decimal),
    ("Unit Cost", Kind::Decimal),
    ("Total Revenue", Kind::Decimal),
    ("Total Cost", Kind::Decimal),
    ("Total Profit", Kind::Decimal),
];
pub(super) const ORDER_ID: usize = 6;

/// The text of a field, without its quotes.
#[inline]
pub(super) fn value<'a>(field: &Field<'a>) -> Cow<'a, [u8]> {
    if field.is_quoted() { field.unescape() } else { Cow::Borrowed(field.raw()) }
}

/// Refuses a header that does not name the columns, in their order.
pub(super) fn check_header(header: &[u8], delimiter: u8, quote: Option<u8>) -> Result<(), ProcessError> {
    let names: Vec<String> = fields(header, delimiter, quote)
        .map(|field| String::from_utf8_lossy(&field.unescape()).trim().to_owned())
        .collect();
    if names.len() != COLUMNS.len() {
        let (found, wanted) = (names.len(), COLUMNS.len());
        return Err(ProcessError::Header(format!("the header has {found} columns, and orders has {wanted}")));
    }
    match (1..).zip(names).zip(COLUMNS).find(|((_, found), (name, _))| !found.eq_ignore_ascii_case(name)) {
        None => Ok(()),
        Some(((number, found), (name, _))) => Err(ProcessError::Header(format!(
            "column {number} of the header is {found:?}, and orders has {name:?} there"
        ))),
    }
}

impl Kind {
    /// Whether a column may hold this; `encoding` is that of the source, unless the value is known to be ASCII,
    /// which is text in all of them.
    #[inline]
    pub(super) fn admits(self, value: &[u8], encoding: Option<Encoding>) -> bool {
        match self {
            Self::Text => !value.is_empty() && encoding.is_none_or(|encoding| is_text(value, encoding)),
            Self::OneOf(words) => words.iter().any(|word| is_same(word.as_bytes(), value)),
            Self::Date => is_date(value),
            Self::Id | Self::Count => (1..=20).contains(&value.len()) && digits(value) == value.len(),
            Self::Decimal => is_decimal(value),
        }
    }

    pub(super) fn is_number(self) -> bool {
        matches!(self, Self::Count | Self::Decimal)
    }

    pub(super) fn allowed(self) -> Cow<'static, str> {
        match self {
            Self::Text => "text in the source's encoding, and not empty".into(),
            Self::OneOf(words) => format!("one of {}", words.join(", ")).into(),
            Self::Date => "a date as month/day/year".into(),
            Self::Id | Self::Count => "1 to 20 decimal digits".into(),
            Self::Decimal => "a decimal number of at most 38 digits".into(),
        }
    }
}

fn is_text(value: &[u8], encoding: Encoding) -> bool {
    match encoding {
        Encoding::Utf8 => std::str::from_utf8(value).is_ok(),
        Encoding::Ascii => value.is_ascii(),
        Encoding::Latin1 => true,
    }
}

fn is_date(value: &[u8]) -> bool {
    let Some((month, rest)) = one_or_two_digits(value) else { return false };
    let Some((day, rest)) = one_or_two_digits(rest) else { return false };
    let Ok(year) = <[u8; 4]>::try_from(rest) else { return false };
    if !year.iter().all(u8::is_ascii_digit) {
        return false;
    }
    // Every month has 28 days.
    let year = || year.iter().fold(0, |year, digit| year * 10 + u32::from(digit - b'0'));
    (1..=12).contains(&month) && day >= 1 && (day <= 28 || day <= days_in(month, year()))
}

/// A number and the slash behind it.
#[inline]
fn one_or_two_digits(value: &[u8]) -> Option<(u32, &[u8])> {
    match value {
        [a @ b'0'..=b'9', b'/', rest @ ..] => Some((u32::from(a - b'0'), rest)),
        [a @ b'0'..=b'9', b @ b'0'..=b'9', b'/', rest @ ..] => {
            Some((u32::from(a - b'0') * 10 + u32::from(b - b'0'), rest))
        }
        _ => None,
    }
}

fn days_in(month: u32, year: u32) -> u32 {
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 0,
    }
}

fn is_decimal(value: &[u8]) -> bool {
    let number = value.strip_prefix(b"-").unwrap_or(value);
    let whole = digits(number);
    match &number[whole..] {
        [] => (1..=38).contains(&whole),
        [b'.', fraction @ ..] => {
            let rest = digits(fraction);
            whole > 0 && rest > 0 && rest == fraction.len() && whole + rest <= 38
        }
        _ => false,
    }
}

/// Whether two words are the same: for short ones a call of the C library's costs more than their bytes.
#[inline]
fn is_same(word: &[u8], value: &[u8]) -> bool {
    word.len() == value.len() && word.iter().zip(value).all(|(a, b)| a == b)
}

/// How many digits a text begins with.
#[inline]
fn digits(text: &[u8]) -> usize {
    text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for good in ["1/31/2017", "02/29/2016", "12/1/1999"] {
            assert!(is_date(good.as_bytes()), "{good}");
        }
        for bad in ["2/29/2017", "13/1/2017", "0/1/2017", "1/0/2017", "1/1/17", "1/1/2017/", "2017-01-01", ""]
        {
            assert!(!is_date(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn decimals_have_digits_on_both_sides_of_a_point() {
        for good in ["0", "-12.50", "437.20", "99999999999999999999999999999999999999"] {
            assert!(is_decimal(good.as_bytes()), "{good}");
        }
        for bad in ["", "-", ".5", "5.", "1.2.3", "1e5", "+1", "1,000", " 1"] {
            assert!(!is_decimal(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn a_header_names_the_first_column_that_is_wrong() {
        let names = COLUMNS.map(|(name, _)| name);
        assert!(check_header(names.join(",").as_bytes(), b',', Some(b'"')).is_ok());
        let mut swapped = names;
        swapped.swap(10, 11);
        let error = check_header(swapped.join(",").as_bytes(), b',', Some(b'"')).unwrap_err();
        assert_eq!(
            error.to_string(),
            "column 11 of the header is \"Total Revenue\", and orders has \"Unit Cost\" there"
        );
    }
}
