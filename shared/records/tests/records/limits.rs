//! Records over the limit, and quotes that are never closed.

use std::iter::repeat_n;

use fanfold_records::{CUT, Dialect, Ending};
use proptest::prelude::*;

use crate::common::{NO_LIMIT, Seen, frame, frame_in_pieces};

fn too_long(offset: u64, head: &[u8], quote_offset: Option<u64>) -> Seen {
    Seen::TooLong { offset, head: head.to_vec(), quote_offset }
}

fn record(offset: u64, body: &[u8], ending: Ending) -> Seen {
    Seen::Record { offset, body: body.to_vec(), ending }
}

#[test]
fn a_record_over_the_limit_is_reported_and_skipped() {
    let seen = frame(Dialect::CSV, 0, b"ab\nabcde\r\nabcd\r\n", 4);
    let expected =
        [record(0, b"ab", Ending::Lf), too_long(3, b"abcde", None), record(10, b"abcd", Ending::CrLf)];
    assert_eq!(seen, expected);
}

#[test]
fn a_record_over_the_limit_at_the_end_of_the_input_is_reported() {
    assert_eq!(
        frame(Dialect::Lines, 0, b"a\nabcde", 4),
        [record(0, b"a", Ending::Lf), too_long(2, b"abcde", None)]
    );
}

#[test]
fn the_head_of_a_record_over_the_limit_is_cut() {
    let mut bytes: Vec<u8> = repeat_n(b'x', 3 * CUT).collect();
    bytes.extend(b"\nb\n");
    for sizes in [vec![1], vec![1000], vec![usize::MAX]] {
        let seen = frame_in_pieces(Dialect::CSV, 0, &bytes, 10, &sizes, true);
        let expected = [too_long(0, &bytes[..CUT], None), record(3 * CUT as u64 + 1, b"b", Ending::Lf)];
        assert_eq!(seen, expected);
    }
}

#[test]
fn a_limit_above_the_cut_is_exact_whatever_the_buffers() {
    let limit = 5000;
    for len in [limit - 1, limit, limit + 1, limit + 2, limit + 3] {
        for terminator in [&b""[..], b"\n", b"\r\n"] {
            let mut bytes: Vec<u8> = repeat_n(b'x', len).collect();
            bytes.extend(terminator);
            for sizes in [vec![1], vec![777], vec![usize::MAX]] {
                let seen = frame_in_pieces(Dialect::CSV, 0, &bytes, limit as u64, &sizes, false);
                assert_eq!(seen.len(), 1);
                assert_eq!(matches!(seen[0], Seen::TooLong { .. }), len > limit, "{len} {terminator:?}");
            }
        }
    }
}

#[test]
fn an_unterminated_quote_is_one_bad_record_with_the_offset_of_its_quote() {
    let bytes = b"a,b\nc,\"d\ne,f\n";
    let expected = Seen::Unterminated { offset: 104, raw: bytes[4..].to_vec(), quote_offset: 106 };
    let seen = frame(Dialect::CSV, 100, bytes, NO_LIMIT);
    assert_eq!(seen, [record(100, b"a,b", Ending::Lf), expected]);
}

#[test]
fn doubled_quotes_do_not_move_the_offset_of_an_unterminated_quote() {
    let bytes = b"a,\"b \"\"c\"\" and \"\"\"\"\n";
    let Some(Seen::Unterminated { quote_offset, .. }) = frame(Dialect::CSV, 0, bytes, NO_LIMIT).pop() else {
        panic!("the quote is not closed");
    };
    assert_eq!(quote_offset, 2);
}

#[test]
fn a_run_of_quotes_longer_than_a_word_is_one_open_field() {
    for quotes in (1..300).step_by(2) {
        let bytes = format!("a,b\nc,{}", "\"".repeat(quotes));
        let last = frame(Dialect::CSV, 0, bytes.as_bytes(), NO_LIMIT).pop();
        let raw = bytes.as_bytes()[4..].to_vec();
        assert_eq!(last, Some(Seen::Unterminated { offset: 4, raw, quote_offset: 6 }));
    }
}

#[test]
fn an_unterminated_quote_of_a_record_over_the_limit_has_its_offset_too() {
    let mut bytes = b"x,y\n1,\"ok\",\"open".to_vec();
    bytes.extend(b"\n\"\"z".repeat(5000));
    for sizes in [vec![1], vec![4999], vec![usize::MAX]] {
        let seen = frame_in_pieces(Dialect::CSV, 0, &bytes, 100, &sizes, false);
        assert_eq!(seen, [record(0, b"x,y", Ending::Lf), too_long(4, &bytes[4..4 + CUT], Some(11))]);
    }
}

#[test]
fn fixed_width_records_over_the_limit_are_skipped_one_by_one() {
    let dialect = Dialect::Fixed { length: 10 };
    let seen = frame_in_pieces(dialect, 0, b"0123456789abcdefghijxyz", 4, &[3], true);
    let expected = [
        too_long(0, b"0123456789", None),
        too_long(10, b"abcdefghij", None),
        record(20, b"xyz", Ending::Short),
    ];
    assert_eq!(seen, expected);
}

proptest! {
    #![proptest_config(crate::common::cases(1000))]

    #[test]
    fn the_offset_of_an_unterminated_quote_does_not_depend_on_the_limit(
        before in "[a,\"\n]{0,200}", buffer in 1usize..100, limit in 0u64..50,
    ) {
        let quote = |seen: Option<Seen>| match seen {
            Some(Seen::Unterminated { quote_offset, .. }) => Some(quote_offset),
            Some(Seen::TooLong { quote_offset, .. }) => quote_offset,
            _ => None,
        };
        let whole = frame(Dialect::CSV, 0, before.as_bytes(), NO_LIMIT).pop();
        let pieces = frame_in_pieces(Dialect::CSV, 0, before.as_bytes(), limit, &[buffer], false).pop();
        prop_assert_eq!(quote(pieces), quote(whole));
    }
}
