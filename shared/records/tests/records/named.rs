//! The cases that a splitter gets wrong, one by one.

use fanfold_records::{
    BLOCK, Dialect, Ending, Position, RangeScan, Scanner, block_of_record, boundary_in_block,
};

use crate::common::{NO_LIMIT, Seen, UNQUOTED_CSV, bodies, frame, frame_in_pieces, without_blanks};

#[test]
fn line_ends_within_quotes_do_not_end_a_record() {
    assert_eq!(bodies(Dialect::CSV, "1,\"a\nb\r\nc\",2\n3\n"), ["1,\"a\nb\r\nc\",2", "3"]);
    assert_eq!(bodies(UNQUOTED_CSV, "1,\"a\nb\"\n"), ["1,\"a", "b\""]);
}

#[test]
fn doubled_quotes_do_not_end_a_quoted_field() {
    assert_eq!(
        bodies(Dialect::CSV, "\"a \"\"b\"\"\n\",c\n\"\"\"\"\nd\n"),
        ["\"a \"\"b\"\"\n\",c", "\"\"\"\"", "d"]
    );
}

#[test]
fn quotes_within_an_unquoted_field_are_data() {
    assert_eq!(bodies(Dialect::CSV, "5\" pipe,1\n3\" pipe,\"x\ny\"\n"), ["5\" pipe,1", "3\" pipe,\"x\ny\""]);
}

#[test]
fn text_after_a_closing_quote_is_unquoted_data() {
    assert_eq!(bodies(Dialect::CSV, "\"a\"b\"c\nd\n"), ["\"a\"b\"c", "d"]);
}

#[test]
fn a_lone_cr_is_data_and_that_of_crlf_is_not() {
    assert_eq!(bodies(Dialect::CSV, "a\rb\n\rc\r\r\n"), ["a\rb", "\rc\r"]);
    assert_eq!(bodies(Dialect::Lines, "a\r\n\r\n\r"), ["a", "", "\r"]);
}

#[test]
fn crlf_may_be_torn_by_the_edge_of_a_buffer() {
    let expected = Seen::Record { offset: 0, body: b"ab".to_vec(), ending: Ending::CrLf };
    for size in 1..5 {
        let seen = frame_in_pieces(Dialect::CSV, 0, b"ab\r\ncd", NO_LIMIT, &[size], false);
        assert_eq!(seen[0], expected);
    }
}

#[test]
fn blank_lines_are_records_of_lines_only() {
    let text = "\n\r\na\n\n\r\nb\n\n";
    assert_eq!(bodies(Dialect::CSV, text), ["a", "b"]);
    assert_eq!(bodies(Dialect::Jsonl, text), ["a", "b"]);
    assert_eq!(bodies(Dialect::Lines, text), ["", "", "a", "", "", "b", ""]);
    assert_eq!(bodies(Dialect::Jsonl, " \n\t\n"), [" ", "\t"], "white space is data");
}

#[test]
fn blank_lines_are_passed_through() {
    let seen = frame(Dialect::CSV, 0, b"a\n\r\n\n", NO_LIMIT);
    let blank = |offset, raw: &[u8]| Seen::Blank { offset, raw: raw.to_vec() };
    assert_eq!(seen[1..], [blank(2, b"\r\n"), blank(4, b"\n")]);
}

#[test]
fn a_missing_final_line_end_is_fine() {
    let last = frame(Dialect::CSV, 0, b"a\n\"b\"", NO_LIMIT).pop();
    assert_eq!(last, Some(Seen::Record { offset: 2, body: b"\"b\"".to_vec(), ending: Ending::None }));
}

#[test]
fn an_empty_source_has_no_record() {
    for dialect in [Dialect::CSV, Dialect::Lines, Dialect::Jsonl, Dialect::Fixed { length: 3 }] {
        assert_eq!(frame(dialect, 0, b"", NO_LIMIT), []);
        assert_eq!(frame_in_pieces(dialect, 0, b"", NO_LIMIT, &[1], true), []);
    }
}

#[test]
fn a_last_record_shorter_than_its_width_is_told_apart() {
    let seen = frame(Dialect::Fixed { length: 3 }, 0, b"abcde", NO_LIMIT);
    let record = |offset, body: &[u8], ending| Seen::Record { offset, body: body.to_vec(), ending };
    assert_eq!(seen, [record(0, b"abc", Ending::None), record(3, b"de", Ending::Short)]);
}

/// A source of three records whose middle one quotes a table of its own, of the same width, that is longer
/// than any window: seen from within, its lines look like records.
fn a_table_within_a_field() -> Vec<u8> {
    let mut bytes = b"1,x,a\n2,y,\"".to_vec();
    for line in 0..20_000 {
        bytes.extend(format!("{line},z,b\n").bytes());
    }
    bytes.extend(b"\"\n3,w,c\n");
    bytes
}

#[test]
fn csv_text_within_a_field_is_not_cut() {
    let bytes = a_table_within_a_field();
    assert!(bytes.len() > 2 * BLOCK);
    let starts: Vec<_> = frame(Dialect::CSV, 0, &bytes, NO_LIMIT).iter().map(Seen::offset).collect();
    assert_eq!(starts, [0, 6, bytes.len() as u64 - 6]);

    let mut scan = RangeScan::new(Scanner::new(Dialect::CSV).unwrap(), 0);
    scan.feed(&bytes);
    let positions: Vec<_> = scan.finish().positions(Position::start(0)).collect();
    let entered = positions.iter().map(|at| (at.state, at.records)).collect::<Vec<_>>();
    assert!(entered[1..].iter().all(|at| *at == (fanfold_records::State::Quoted, 1)), "{entered:?}");

    let middle = &bytes[BLOCK..2 * BLOCK];
    assert_eq!(boundary_in_block(Dialect::CSV, middle, positions[1].state, 0, false), None);
    assert_eq!(block_of_record(&positions, 2), Some(positions.len() - 1));
}

#[test]
fn a_record_longer_than_a_chunk_leaves_no_boundary_in_it() {
    let mut bytes = b"a,\"".to_vec();
    bytes.extend(vec![b'x'; 3 * BLOCK]);
    bytes.extend(b"\"\nb,c\n");
    let seen = frame_in_pieces(Dialect::CSV, 0, &bytes, NO_LIMIT, &[1000], false);
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[1].offset(), bytes.len() as u64 - 4);
}

#[test]
fn two_blank_lines_and_a_record_are_one_record() {
    assert_eq!(without_blanks(frame(Dialect::Jsonl, 0, b"\r\n\n{}", NO_LIMIT)).len(), 1);
}
