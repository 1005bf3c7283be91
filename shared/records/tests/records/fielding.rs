//! The framer and the fields against the `csv` crate.

use std::borrow::Cow;

use fanfold_records::{Dialect, Field, count_fields, fields, split_fields};
use proptest::prelude::*;

use crate::common::{Data, NO_LIMIT, Seen, data, frame, without_blanks};

type Table = Vec<Vec<Vec<u8>>>;

fn by_csv(bytes: &[u8]) -> Table {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes);
    let record = |record: csv::Result<csv::ByteRecord>| {
        record.expect("flexible, and no I/O").iter().map(<[u8]>::to_vec).collect()
    };
    reader.byte_records().map(record).collect()
}

/// `None` if the last quote is never closed: the `csv` crate makes a good record of that.
fn by_us(bytes: &[u8]) -> Option<Table> {
    let table = without_blanks(frame(Dialect::CSV, 0, bytes, NO_LIMIT)).into_iter();
    let record = |seen| match seen {
        Seen::Record { body, .. } => {
            Some(fields(&body, b',', Some(b'"')).map(|field| field.unescape().into_owned()).collect())
        }
        _ => None,
    };
    table.map(record).collect()
}

/// Data in which a CR stands before an LF only: to the `csv` crate a lone CR ends a record, to us it is
/// data. With any other terminator set, that crate would take the CR of CRLF as data instead.
fn without_lone_cr() -> impl Strategy<Value = Data> {
    data().prop_map(|bytes| {
        let mut out: Vec<u8> = Vec::new();
        for byte in bytes.0 {
            if out.last() == Some(&b'\r') && byte != b'\n' {
                out.pop();
            }
            out.push(byte);
        }
        if out.last() == Some(&b'\r') {
            out.pop();
        }
        Data(out)
    })
}

proptest! {
    #![proptest_config(crate::common::cases(1000))]

    #[test]
    fn records_and_fields_are_those_of_the_csv_crate(bytes in without_lone_cr()) {
        if let Some(ours) = by_us(&bytes) {
            prop_assert_eq!(ours, by_csv(&bytes));
        }
    }

    #[test]
    fn fields_joined_are_the_record(bytes in data(), quote in prop::option::of(Just(b'"'))) {
        let raw: Vec<_> = fields(&bytes, b',', quote).map(|field| field.raw()).collect();
        prop_assert_eq!(raw.join(&b","[..]), bytes.0);
    }

    #[test]
    fn counting_and_splitting_agree_with_the_iterator(
        bytes in data(), quote in prop::option::of(Just(b'"')), room in 0usize..30,
    ) {
        let all: Vec<_> = fields(&bytes, b',', quote).collect();
        prop_assert_eq!(count_fields(&bytes, b',', quote), all.len());
        let mut out = vec![Field::default(); room];
        prop_assert_eq!(split_fields(&bytes, b',', quote, &mut out), all.len());
        let filled = room.min(all.len());
        prop_assert_eq!(&out[..filled], &all[..filled]);
    }
}

fn values(body: &str) -> Vec<String> {
    let value = |field: Field<'_>| String::from_utf8(field.unescape().into_owned()).expect("text");
    fields(body.as_bytes(), b',', Some(b'"')).map(value).collect()
}

#[test]
fn quoted_fields_lose_their_quotes_and_keep_delimiters() {
    assert_eq!(values("a,\"b,c\",\"\",d"), ["a", "b,c", "", "d"]);
    assert_eq!(values(""), [""]);
    assert_eq!(values(","), ["", ""]);
}

#[test]
fn doubled_quotes_become_one() {
    assert_eq!(values("\"say \"\"hi\"\"\",\"\"\"\""), ["say \"hi\"", "\""]);
}

#[test]
fn quotes_within_unquoted_data_are_data() {
    assert_eq!(values("5\" pipe,a\"\"b"), ["5\" pipe", "a\"\"b"]);
}

#[test]
fn text_after_a_closing_quote_belongs_to_the_field() {
    assert_eq!(values("\"a\"b\"c,\"\"\"x\"\"\"y,d"), ["ab\"c", "\"x\"y", "d"]);
}

#[test]
fn a_field_that_needs_no_change_is_not_copied() {
    for body in ["plain", "\"quoted\"", "5\" pipe"] {
        let field = fields(body.as_bytes(), b',', Some(b'"')).next().unwrap();
        assert!(matches!(field.unescape(), Cow::Borrowed(_)), "{body}");
    }
}

#[test]
fn without_a_quote_every_delimiter_splits() {
    let raw: Vec<_> = fields(b"\"a;b\";c", b';', None).map(|field| field.raw()).collect();
    assert_eq!(raw, [&b"\"a"[..], b"b\"", b"c"]);
}
