//! Chunks cut at the boundaries found give the records of one sequential pass.

use fanfold_records::{
    Dialect, Position, RangeSummary, Scanner, Window, block_of_record, boundary_in_block, first_boundary,
    fixed_boundary, nth_record_start,
};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::common::{NO_LIMIT, Seen, UNQUOTED_CSV, data, frame, line_dialect, without_blanks};

fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("a small source")
}

/// Frames each chunk by itself. Panics if the boundaries go back.
fn frame_chunks(dialect: Dialect, bytes: &[u8], boundaries: &[u64]) -> Vec<Seen> {
    let mut edges = vec![0];
    edges.extend(boundaries.iter().filter(|boundary| index(**boundary) < bytes.len()));
    edges.push(bytes.len() as u64);
    assert!(edges.is_sorted(), "boundaries never go back: {edges:?}");
    let chunk = |edge: &[u64]| frame(dialect, edge[0], &bytes[index(edge[0])..index(edge[1])], NO_LIMIT);
    without_blanks(edges.windows(2).flat_map(chunk).collect())
}

fn sequential(dialect: Dialect, bytes: &[u8]) -> Vec<Seen> {
    without_blanks(frame(dialect, 0, bytes, NO_LIMIT))
}

/// The wished boundaries of chunks of `size` bytes.
fn nominal(bytes: &[u8], size: usize) -> impl Iterator<Item = usize> {
    (size..bytes.len()).step_by(size)
}

/// Widens a window until it has a boundary, as the splitter does.
fn local(dialect: Dialect, bytes: &[u8], nominal: usize, mut width: usize) -> u64 {
    loop {
        let end = bytes.len().min(nominal - 1 + width);
        let at_end = end == bytes.len();
        let window = Window { bytes: &bytes[nominal - 1..end], offset: nominal as u64 - 1, at_end };
        match first_boundary(dialect, window) {
            Some(boundary) => return boundary,
            None if at_end => return bytes.len() as u64,
            None => width *= 2,
        }
    }
}

/// A source scanned in blocks of any size.
struct Scanned<'a> {
    dialect: Dialect,
    blocks: Vec<&'a [u8]>,
    positions: Vec<Position>,
}

impl<'a> Scanned<'a> {
    fn new(dialect: Dialect, bytes: &'a [u8], block: usize) -> Self {
        let scanner = Scanner::new(dialect).expect("a line format");
        let blocks: Vec<_> = bytes.chunks(block).collect();
        let summaries = blocks.iter().map(|block| scanner.summarize(block)).collect();
        let range = RangeSummary { offset: 0, blocks: summaries };
        let positions = range.positions(Position::start(0)).collect();
        Self { dialect, blocks, positions }
    }

    fn boundary(&self, nominal: usize) -> Option<u64> {
        let size = self.blocks[0].len();
        let mut from = nominal % size;
        for number in nominal / size..self.blocks.len() {
            let (block, at) = (self.blocks[number], self.positions[number]);
            let at_end = number + 1 == self.blocks.len();
            if let Some(found) = boundary_in_block(self.dialect, block, at.state, from, at_end) {
                return Some(at.offset + found as u64);
            }
            from = 0;
        }
        None
    }

    fn record_start(&self, record: u64) -> Option<u64> {
        let number = block_of_record(&self.positions, record)?;
        let at_end = number + 1 == self.blocks.len();
        nth_record_start(self.dialect, self.blocks[number], self.positions[number], record, at_end)
    }
}

proptest! {
    #![proptest_config(crate::common::cases(1000))]

    #[test]
    fn chunks_cut_locally_give_the_records_of_one_pass(
        dialect in prop_oneof![Just(Dialect::Lines), Just(Dialect::Jsonl), Just(UNQUOTED_CSV)],
        bytes in data(), size in 1usize..300, width in 1usize..80,
    ) {
        let mut boundaries: Vec<_> =
            nominal(&bytes, size).map(|at| local(dialect, &bytes, at, width)).collect();
        // A window that was widened sees further over blank lines than the next one may.
        let mut last = 0;
        for boundary in &mut boundaries {
            last = last.max(*boundary);
            *boundary = last;
        }
        prop_assert_eq!(frame_chunks(dialect, &bytes, &boundaries), sequential(dialect, &bytes));
    }

    #[test]
    fn a_window_that_sees_all_gives_the_first_record_start(
        dialect in prop_oneof![Just(Dialect::Lines), Just(Dialect::Jsonl), Just(UNQUOTED_CSV)],
        bytes in data(), at: Index,
    ) {
        prop_assume!(bytes.len() > 1);
        let at = 1 + at.index(bytes.len() - 1);
        let window = Window { bytes: &bytes[at - 1..], offset: at as u64 - 1, at_end: true };
        let first = sequential(dialect, &bytes).iter().map(Seen::offset).find(|start| index(*start) >= at);
        prop_assert_eq!(first_boundary(dialect, window), first);
    }

    #[test]
    fn chunks_cut_by_the_scan_give_the_records_of_one_pass(
        dialect in line_dialect(), bytes in data(), size in 1usize..300, block in 1usize..200,
    ) {
        prop_assume!(!bytes.is_empty());
        let scanned = Scanned::new(dialect, &bytes, block);
        let boundaries: Vec<_> = nominal(&bytes, size).filter_map(|at| scanned.boundary(at)).collect();
        prop_assert_eq!(frame_chunks(dialect, &bytes, &boundaries), sequential(dialect, &bytes));
    }

    #[test]
    fn a_block_that_has_all_gives_the_first_record_start(
        dialect in line_dialect(), bytes in data(), at: Index,
    ) {
        prop_assume!(bytes.len() > 1);
        let at = 1 + at.index(bytes.len() - 1);
        let first = sequential(dialect, &bytes).iter().map(Seen::offset).find(|start| index(*start) >= at);
        let scanned = Scanned::new(dialect, &bytes, bytes.len());
        prop_assert_eq!(scanned.boundary(at), first);
    }

    #[test]
    fn every_record_is_found_by_its_number(dialect in line_dialect(), bytes in data(), block in 1usize..200) {
        let scanned = Scanned::new(dialect, &bytes, block);
        let starts: Vec<_> = sequential(dialect, &bytes).iter().map(Seen::offset).collect();
        let found: Vec<_> = (0..).map_while(|record| scanned.record_start(record)).collect();
        prop_assert_eq!(found, starts);
    }

    #[test]
    fn chunks_of_n_records_give_the_records_of_one_pass(
        dialect in line_dialect(), bytes in data(), block in 1usize..200, n in 1u64..9,
    ) {
        let scanned = Scanned::new(dialect, &bytes, block);
        let starts: Vec<_> = (1..).map_while(|chunk| scanned.record_start(chunk * n)).collect();
        prop_assert_eq!(frame_chunks(dialect, &bytes, &starts), sequential(dialect, &bytes));
        let wanted = (sequential(dialect, &bytes).len() as u64).div_ceil(n).max(1);
        prop_assert_eq!(starts.len() as u64 + 1, wanted);
    }

    #[test]
    fn fixed_width_chunks_give_the_records_of_one_pass(
        bytes in data(), length in 1u64..100, size in 1usize..300,
    ) {
        let dialect = Dialect::Fixed { length };
        let boundaries: Vec<_> =
            nominal(&bytes, size).map(|at| fixed_boundary(length, 0, at as u64)).collect();
        prop_assert_eq!(frame_chunks(dialect, &bytes, &boundaries), sequential(dialect, &bytes));
    }
}

#[test]
fn fixed_boundaries_count_from_the_start_of_the_data() {
    assert_eq!(fixed_boundary(10, 3, 0), 3);
    assert_eq!(fixed_boundary(10, 3, 3), 3);
    assert_eq!(fixed_boundary(10, 3, 4), 13);
    assert_eq!(fixed_boundary(10, 3, 13), 13);
}

#[test]
fn a_dialect_with_quotes_has_no_local_boundary() {
    let window = Window { bytes: b"a\nb\n", offset: 0, at_end: true };
    assert_eq!(first_boundary(Dialect::CSV, window), None);
    assert_eq!(first_boundary(Dialect::Lines, window), Some(2));
}

#[test]
fn a_line_end_right_before_the_wished_place_makes_it_a_boundary() {
    let window = Window { bytes: b"\nabc\n", offset: 9, at_end: false };
    assert_eq!(first_boundary(Dialect::Jsonl, window), Some(10));
}

#[test]
fn a_crlf_on_the_edge_is_not_cut() {
    let window = Window { bytes: b"\r\nabc\n", offset: 9, at_end: false };
    assert_eq!(first_boundary(Dialect::Lines, window), Some(11));
    assert_eq!(
        boundary_in_block(Dialect::CSV, b"\nabc\n", fanfold_records::State::Unquoted, 0, false),
        Some(1)
    );
}

#[test]
fn blank_lines_go_with_the_record_before_them() {
    let window = Window { bytes: b"a\n\r\n\nb\n", offset: 0, at_end: false };
    assert_eq!(first_boundary(Dialect::Jsonl, window), Some(5));
    assert_eq!(first_boundary(Dialect::Lines, window), Some(2));
}

#[test]
fn blank_lines_beyond_the_window_may_begin_a_chunk() {
    let window = |at_end| Window { bytes: b"a\n\r\n\n\r", offset: 0, at_end };
    assert_eq!(first_boundary(Dialect::Jsonl, window(false)), Some(2));
    assert_eq!(first_boundary(Dialect::Jsonl, window(true)), Some(5), "the lone CR is a record");
}

#[test]
fn blank_lines_at_the_end_of_the_source_begin_no_chunk() {
    let window = Window { bytes: b"a\n\r\n\n", offset: 0, at_end: true };
    assert_eq!(first_boundary(Dialect::Jsonl, window), None);
}
