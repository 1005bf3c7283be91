//! Byte order marks and headers.

use fanfold_records::{Dialect, Ending, Header, Preamble, PreambleError, preamble};
use proptest::prelude::*;

use crate::common::{NO_LIMIT, Seen, dialect, frame, likely};

fn whole(dialect: Dialect, header: bool, bytes: &[u8]) -> Result<Preamble, PreambleError> {
    preamble(dialect, header, 1000, bytes, true).map(|found| found.expect("all bytes are there"))
}

fn with_header(mark_len: usize, body: std::ops::Range<usize>, ending: Ending, len: u64) -> Preamble {
    Preamble { len, mark_len, header: Some(Header { body, ending }) }
}

#[test]
fn a_mark_belongs_to_the_header() {
    let found = whole(Dialect::CSV, true, b"\xef\xbb\xbf\"a\nb\",c\r\n1,2\r\n");
    assert_eq!(found, Ok(with_header(3, 3..10, Ending::CrLf, 12)));
}

#[test]
fn without_a_header_the_preamble_is_the_mark() {
    let bare = |len, mark_len| Ok(Preamble { len, mark_len, header: None });
    assert_eq!(whole(Dialect::Jsonl, false, b"\xef\xbb\xbf{}\n"), bare(3, 3));
    assert_eq!(whole(Dialect::Jsonl, false, b"{}\n"), bare(0, 0));
}

#[test]
fn blank_lines_before_the_header_are_skipped() {
    assert_eq!(whole(Dialect::CSV, true, b"\n\r\na,b\n\n1,2\n"), Ok(with_header(0, 3..6, Ending::Lf, 7)));
    assert_eq!(whole(Dialect::Lines, true, b"\na\n"), Ok(with_header(0, 0..0, Ending::Lf, 1)));
}

#[test]
fn a_source_may_be_a_header_only() {
    assert_eq!(whole(Dialect::CSV, true, b"a,b"), Ok(with_header(0, 0..3, Ending::None, 3)));
    assert_eq!(whole(Dialect::CSV, true, b"a,b\n"), Ok(with_header(0, 0..3, Ending::Lf, 4)));
}

#[test]
fn a_source_may_have_nothing_at_all() {
    let nothing = |len, mark_len| Ok(Preamble { len, mark_len, header: None });
    assert_eq!(whole(Dialect::CSV, true, b""), nothing(0, 0));
    assert_eq!(whole(Dialect::CSV, true, b"\xef\xbb\xbf"), nothing(3, 3));
    assert_eq!(whole(Dialect::CSV, true, b"\n\r\n"), nothing(3, 0));
}

#[test]
fn other_encodings_are_told_by_zeros_where_there_is_no_mark() {
    for (bytes, name) in [
        (&b"a\0,\0b\0\n\0"[..], "UTF-16 (little-endian)"),
        (b"\0a\0,\0b\0\n", "UTF-16 (big-endian)"),
        (b"a\0\0\0,\0\0\0", "UTF-32 (little-endian)"),
        (b"\0\0\0a\0\0\0,", "UTF-32 (big-endian)"),
    ] {
        for header in [false, true] {
            let refused = whole(Dialect::CSV, header, bytes).unwrap_err();
            assert_eq!(refused, PreambleError::Unmarked { found: name });
        }
        assert!(whole(Dialect::Fixed { length: 2 }, false, bytes).is_ok());
        assert_eq!(preamble(Dialect::CSV, false, 1000, &bytes[..1], false), Ok(None), "{name}");
    }
    for data in [&b"a\0b,c\n"[..], b"ab\0\0", b"\0\0\0\0", b"a\0", b"\xe9\0\xe9\0"] {
        assert!(whole(Dialect::Lines, false, data).is_ok(), "zeros that are data");
    }
}

#[test]
fn other_encodings_are_refused_by_name() {
    for (bytes, name) in [
        (&b"\xff\xfea\0"[..], "UTF-16 (little-endian)"),
        (b"\xfe\xff\0a", "UTF-16 (big-endian)"),
        (b"\xff\xfe\0\0a\0\0\0", "UTF-32 (little-endian)"),
        (b"\0\0\xfe\xff\0\0\0a", "UTF-32 (big-endian)"),
        (b"\xff\xfe", "UTF-16 (little-endian)"),
    ] {
        let refused = whole(Dialect::Lines, false, bytes).unwrap_err();
        assert_eq!(refused, PreambleError::Encoding { found: name });
        assert!(refused.to_string().contains(name));
    }
}

#[test]
fn fixed_width_records_may_be_binary() {
    let fixed = Dialect::Fixed { length: 4 };
    assert_eq!(whole(fixed, false, b"\xfe\xff\xff\xff").map(|found| found.len), Ok(0));
    assert_eq!(whole(fixed, true, b"\xef\xbb\xbfnameabcd"), Ok(with_header(3, 3..7, Ending::None, 7)));
    assert_eq!(whole(fixed, true, b"abc"), Err(PreambleError::Short));
}

#[test]
fn a_header_that_has_no_end_is_refused() {
    assert_eq!(
        whole(Dialect::CSV, true, b"\xef\xbb\xbfa,\"b\n1,2\n"),
        Err(PreambleError::Unterminated { quote_offset: 5 })
    );
    let found = preamble(Dialect::Lines, true, 1000, &[b'a'; 5000], false);
    assert_eq!(found, Err(PreambleError::TooLong { max_record: 1000 }));
}

#[test]
fn a_beginning_that_may_become_a_mark_needs_more() {
    for bytes in [&b""[..], b"\xef", b"\xef\xbb", b"\xff", b"\xff\xfe", b"\xff\xfe\0", b"\0\0", b"a", b"abc"]
    {
        assert_eq!(preamble(Dialect::CSV, false, 1000, bytes, false), Ok(None), "{bytes:?}");
    }
    assert!(preamble(Dialect::CSV, false, 1000, b"abcd", false).unwrap().is_some());
}

proptest! {
    #![proptest_config(crate::common::cases(500))]

    #[test]
    fn a_prefix_needs_more_or_tells_the_same(dialect in dialect(), header: bool, bytes in likely(), mark: bool) {
        let mut source = if mark { b"\xef\xbb\xbf".to_vec() } else { Vec::new() };
        source.extend(&bytes[..]);
        let found = preamble(dialect, header, NO_LIMIT, &source, true);
        for len in 0..source.len().min(300) {
            let early = preamble(dialect, header, NO_LIMIT, &source[..len], false);
            prop_assert!(early == Ok(None) || early == found, "{:?} {:?}", early, found);
        }
    }

    #[test]
    fn the_header_is_the_first_record(bytes in likely()) {
        let Ok(Some(found)) = preamble(Dialect::CSV, true, NO_LIMIT, &bytes, true) else { return Ok(()) };
        let first = frame(Dialect::CSV, 0, &bytes, NO_LIMIT).into_iter().find_map(|seen| match seen {
            Seen::Record { body, ending, .. } => Some((body, ending)),
            _ => None,
        });
        prop_assert_eq!(found.header.map(|header| (bytes[header.body].to_vec(), header.ending)), first);
    }
}
