//! The scan against the automaton, from every state, and what is made of its summaries.

use fanfold_records::{
    Automaton, BLOCK, DecodeError, Dialect, Outcome, Position, RangeScan, RangeSummary, Scanner, State,
    Summary,
};
use proptest::prelude::*;

use crate::common::{NO_LIMIT, data, frame, line_dialect, without_blanks};

fn scanner(dialect: Dialect) -> Scanner {
    Scanner::new(dialect).expect("a line format")
}

fn by_the_rules(dialect: Dialect, bytes: &[u8]) -> Summary {
    let automaton = Automaton::new(dialect).expect("a line format");
    let outcomes = State::ALL.map(|entry| {
        let mut outcome = Outcome { end: entry, records: 0, first_end: None };
        for (place, &byte) in (1..).zip(bytes) {
            let step = automaton.step(outcome.end, byte);
            outcome.end = step.next;
            outcome.records += u64::from(step.ends_record);
            outcome.first_end = outcome.first_end.or(step.ends_record.then_some(place));
        }
        outcome
    });
    Summary { len: bytes.len() as u64, outcomes }
}

proptest! {
    #![proptest_config(crate::common::cases(1000))]

    #[test]
    fn the_scan_follows_the_rules_from_every_state(dialect in line_dialect(), bytes in data()) {
        prop_assert_eq!(scanner(dialect).summarize(&bytes), by_the_rules(dialect, &bytes));
    }

    #[test]
    fn summaries_of_pieces_compose_to_that_of_the_whole(
        dialect in line_dialect(), bytes in data(), sizes in prop::collection::vec(1usize..90, 1..20),
    ) {
        let mut rest = &bytes[..];
        let mut sizes = sizes.iter().cycle();
        let mut total = Summary::EMPTY;
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
            total = total.compose(&scanner(dialect).summarize(piece));
            rest = after;
        }
        prop_assert_eq!(total, scanner(dialect).summarize(&bytes));
    }

    #[test]
    fn the_scan_counts_the_records_of_the_framer(dialect in line_dialect(), bytes in data()) {
        let end = Position::start(0).after(&scanner(dialect).summarize(&bytes));
        let records = without_blanks(frame(dialect, 0, &bytes, NO_LIMIT)).len();
        prop_assert_eq!(end.records_at_end(), records as u64);
        prop_assert_eq!(end.offset, bytes.len() as u64);
    }
}

proptest! {
    #![proptest_config(crate::common::cases(60))]

    #[test]
    fn a_range_in_pieces_is_the_range_in_blocks(
        dialect in line_dialect(),
        pattern in data().prop_filter("some data", |bytes| !bytes.is_empty()),
        len in 1usize..4 * BLOCK,
        sizes in prop::collection::vec(1usize..100_000, 1..10),
    ) {
        let bytes: Vec<u8> = pattern.iter().copied().cycle().take(len).collect();
        let mut scan = RangeScan::new(scanner(dialect), 77);
        let (mut rest, mut sizes) = (&bytes[..], sizes.iter().cycle());
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
            scan.feed(piece);
            rest = after;
        }
        let range = scan.finish();
        let blocks: Vec<_> = bytes.chunks(BLOCK).map(|block| by_the_rules(dialect, block)).collect();
        prop_assert_eq!(&range, &RangeSummary { offset: 77, blocks });
        prop_assert_eq!(range.total(), scanner(dialect).summarize(&bytes));
        prop_assert_eq!(RangeSummary::decode(&range.encode()), Ok(range));
    }

    #[test]
    fn decoding_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut form = b"FFS1".to_vec();
        form.extend(bytes);
        let _: Result<RangeSummary, DecodeError> = RangeSummary::decode(&form);
    }
}

#[test]
fn blocks_full_of_line_ends_are_encoded() {
    let mut scan = RangeScan::new(scanner(Dialect::Lines), 0);
    scan.feed(&vec![b'\n'; 2 * BLOCK + 1]);
    let range = scan.finish();
    assert_eq!(range.blocks[0].outcome(State::StartOfRecord).records, BLOCK as u64);
    assert_eq!(RangeSummary::decode(&range.encode()), Ok(range));
}

#[test]
fn a_record_end_at_the_end_of_a_block_is_encoded() {
    let mut block = vec![b'a'; BLOCK - 1];
    block.push(b'\n');
    let range = RangeSummary { offset: 0, blocks: vec![scanner(Dialect::CSV).summarize(&block)] };
    assert_eq!(range.blocks[0].outcome(State::Unquoted).first_end, Some(BLOCK as u64));
    assert_eq!(RangeSummary::decode(&range.encode()), Ok(range));
}

#[test]
fn an_encoded_range_has_30_bytes_a_block() {
    let mut scan = RangeScan::new(scanner(Dialect::CSV), 0);
    scan.feed(&vec![b'a'; 3 * BLOCK]);
    assert_eq!(scan.finish().encode().len(), 20 + 3 * 30);
}

#[test]
fn what_is_not_a_range_summary_is_refused() {
    let mut scan = RangeScan::new(scanner(Dialect::CSV), 0);
    scan.feed(b"a,b\n");
    let good = scan.finish().encode();
    assert_eq!(RangeSummary::decode(b"FFS0"), Err(DecodeError::Magic));
    assert_eq!(RangeSummary::decode(b"FFS1"), Err(DecodeError::Length { found: 4, wanted: 20 }));
    assert_eq!(RangeSummary::decode(&good[..49]), Err(DecodeError::Length { found: 49, wanted: 50 }));
    let mut bad = good.clone();
    bad[20] |= 0b111;
    assert_eq!(RangeSummary::decode(&bad), Err(DecodeError::Block { block: 0 }));
    let mut bad = good;
    bad[21] = 200;
    assert_eq!(RangeSummary::decode(&bad), Err(DecodeError::Block { block: 0 }));
}

#[test]
fn an_empty_range_has_no_blocks() {
    let range = RangeScan::new(scanner(Dialect::CSV), 5).finish();
    assert_eq!(range.total(), Summary::EMPTY);
    assert_eq!(range.positions(Position::start(5)).count(), 0);
    assert_eq!(RangeSummary::decode(&range.encode()), Ok(range));
}
