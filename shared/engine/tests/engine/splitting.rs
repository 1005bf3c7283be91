//! Promise 1 on hostile bytes: whatever the split, the pieces and the groups, the output and the list of bad
//! records are those of one pass.

use fanfold_domain::{ByteRange, pipeline::Split};
use fanfold_engine::bad::BadRecord;
use proptest::prelude::*;

use crate::world::{Outcome, WHOLE, World, block_on, lines_in, pipeline};

const DIALECTS: [&str; 8] = [
    "format: csv",
    "format: csv, header: true",
    "format: csv, header: true, delimiter: ';', quote: \"'\"",
    "format: csv, quote: none",
    "format: csv, quote: none, header: true",
    "format: lines",
    "format: jsonl",
    "format: fixed, length: 7B",
];

/// Bytes that make splitting hard.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let tokens: [&[u8]; 18] = [
        b"\n",
        b"\n",
        b"\r\n",
        b"\r",
        b"\n\n",
        b"\r\n\r\n",
        b"\"",
        b"\"\"",
        b",\"",
        b"\",",
        b",",
        b";'",
        b"'",
        b"a",
        b"some words",
        b"\xff",
        b"\0",
        b"0123456789012345678901234567890123456789",
    ];
    let body = prop::collection::vec(prop::sample::select(tokens.to_vec()), 0..80);
    (prop::bool::weighted(0.2), body).prop_map(|(mark, tokens)| {
        let mark: &[u8] = if mark { b"\xef\xbb\xbf" } else { b"" };
        [mark, &tokens.concat()].concat()
    })
}

fn split() -> impl Strategy<Value = Split> {
    prop_oneof![(1u64..200).prop_map(Split::SizeBytes), (1u64..6).prop_map(Split::Records)]
}

#[derive(Debug, Clone)]
struct Case {
    dialect: &'static str,
    bytes: Vec<u8>,
    split: Split,
    piece_bytes: usize,
    group_chunks: u32,
    max_record: u64,
}

fn case() -> impl Strategy<Value = Case> {
    let max_record = prop_oneof![Just(1u64 << 20), 7u64..40];
    (prop::sample::select(DIALECTS.to_vec()), hostile(), split(), 1usize..100, 0u32..3, max_record).prop_map(
        |(dialect, bytes, split, piece_bytes, groups, max_record)| Case {
            dialect,
            bytes,
            split,
            piece_bytes,
            group_chunks: 1 << groups,
            max_record,
        },
    )
}

impl Case {
    fn world(&self, process: &str, piece_bytes: usize) -> World {
        let mut pipeline = pipeline(self.dialect, process);
        pipeline.source.max_record_bytes = self.max_record;
        let mut world = World::with_pieces(pipeline, self.bytes.clone(), piece_bytes);
        world.group_chunks = Some(self.group_chunks);
        world
    }

    /// Split, and in one pass.
    fn both(&self, process: &str) -> (Result<Outcome, String>, Result<Outcome, String>) {
        block_on(async {
            let split = self.world(process, self.piece_bytes).finish(self.split).await;
            let whole = self.world(process, 1 << 20).finish(WHOLE).await;
            (split, whole)
        })
    }
}

fn bad_records(outcome: &Outcome) -> Vec<BadRecord> {
    outcome
        .errors
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn copying_gives_back_every_byte_but_those_of_bad_records(case in case()) {
        let (split, whole) = case.both("process: copy");
        prop_assert_eq!(&split, &whole);
        if let Ok(outcome) = split {
            let bad = bad_records(&outcome);
            prop_assert_eq!(bad.len() as u64, outcome.bad_records);
            if bad.is_empty() {
                prop_assert_eq!(&outcome.output[..], &case.bytes[..]);
            }
            let mut last = 0;
            for BadRecord { record, offset, .. } in bad {
                let record = record.unwrap();
                prop_assert!(record > last && record <= outcome.records, "{} after {}", record, last);
                prop_assert!(offset < case.bytes.len() as u64);
                last = record;
            }
        }
    }

    #[test]
    fn an_index_of_chunks_is_that_of_one_pass(case in case()) {
        let (split, whole) = case.both("process: index");
        prop_assert_eq!(&split, &whole);
        if let Ok(outcome) = split {
            let lines = lines_in(&outcome.output) as u64;
            prop_assert_eq!(lines + outcome.bad_records, outcome.records);
        }
    }

    #[test]
    fn chunks_tile_the_data_and_hold_the_records_asked_for(case in case()) {
        block_on(async {
            let mut world = case.world("process: index", case.piece_bytes);
            let Ok(planned) = world.plan(case.split).await else { return Ok(()) };
            let mut end = planned.plan.preamble.end;
            for (index, chunk) in (0..).zip(&planned.chunks) {
                prop_assert_eq!((chunk.index.0, chunk.range.start), (index, end));
                prop_assert!(chunk.range.end > end || planned.chunks.len() == 1);
                end = chunk.range.end;
            }
            prop_assert_eq!(end, case.bytes.len() as u64);
            let last = planned.chunks.len() - 1;
            for (at, chunk) in planned.chunks.iter().enumerate() {
                let sums = world.attempt(*chunk, "a1").await.unwrap();
                if let Split::Records(count) = case.split {
                    prop_assert!(sums.records == count || (at == last && sums.records <= count));
                }
                if let Some(counted) = &planned.counted {
                    prop_assert_eq!((sums.records, sums.bad_records), (counted[at], 0));
                }
            }
            // What is read to find them is bounded, however long the records are.
            let head = case.bytes.len() as u64;
            let most = head + 2 * head * if matches!(case.split, Split::Records(_)) { 2 } else { 1 };
            prop_assert!(planned.bytes_read <= most + 1, "{} of {}", planned.bytes_read, head);
            Ok(())
        })?;
    }
}

fn finish(source: &str, process: &str, bytes: &[u8], split: Split) -> Outcome {
    block_on(World::with_pieces(pipeline(source, process), bytes.to_vec(), 5).finish(split)).unwrap()
}

#[tokio::test]
async fn what_a_scan_counts_of_each_chunk_is_what_a_pass_over_it_counts() {
    let records = |n| (0..n).map(|i| format!("{i},\"a\n{}\"\n{}", "b".repeat(i % 700), ["", "\r\n"][i % 2]));
    let bytes: String = records(3000).collect();
    for split in [Split::SizeBytes(70_000), Split::SizeBytes(900), Split::Records(7), WHOLE] {
        let mut world = World::new(pipeline("format: csv", "process: copy"), bytes.clone());
        let planned = world.plan(split).await.unwrap();
        assert_eq!(planned.counted.is_some(), split != WHOLE, "what is not split is not scanned");
        for (chunk, counted) in planned.chunks.iter().zip(planned.counted.iter().flatten()) {
            assert_eq!(world.attempt(*chunk, "a").await.unwrap().records, *counted, "{chunk:?}");
        }
    }
}

#[tokio::test]
async fn nothing_is_told_of_records_that_might_be_too_long_or_have_no_end() {
    let counts = async |source, end| {
        let mut world = World::new(pipeline(source, "process: copy"), "a,b\n".repeat(100_000) + end);
        world.plan(Split::SizeBytes(100_000)).await.unwrap().counted.is_some()
    };
    assert!(counts("format: csv", "a,b").await);
    assert!(!counts("format: csv", "a,\"b").await);
    assert!(counts("format: csv, max_record: 128KiB", "").await);
    assert!(!counts("format: csv, max_record: 127KiB", "").await, "it may lie in two blocks");
}

#[test]
fn copying_keeps_mark_header_blank_lines_and_line_ends() {
    let bytes = b"\xef\xbb\xbfa,b\r\n\r\n1,\"x\r\ny\"\r\n\r\n\r\n2,3\n\n4,5";
    for split in [Split::SizeBytes(1), Split::SizeBytes(9), Split::Records(1), Split::Records(2)] {
        let outcome = finish("format: csv, header: true", "process: copy", bytes, split);
        assert_eq!(outcome.output, bytes[..]);
        assert_eq!((outcome.records, outcome.bad_records), (3, 0));
    }
}

#[test]
fn a_source_without_records_is_copied_too() {
    for bytes in [&b""[..], b"\xef\xbb\xbf", b"a,b", b"a,b\n", b"\n\n\n", b"\r\n"] {
        for source in ["format: csv, header: true", "format: csv", "format: jsonl", "format: lines"] {
            let outcome = finish(source, "process: copy", bytes, Split::Records(1));
            assert_eq!(outcome.output, bytes, "{source}");
        }
    }
}

#[test]
fn each_kind_of_bad_record_is_listed_with_its_number_and_place() {
    let long = format!("1\n2\n{}\n4\n", "x".repeat(100));
    let mut pipeline = pipeline("format: lines", "process: copy");
    pipeline.source.max_record_bytes = 10;
    for split in [WHOLE, Split::SizeBytes(1), Split::Records(1)] {
        let mut world = World::with_pieces(pipeline.clone(), long.clone(), 7);
        let outcome = block_on(world.finish(split)).unwrap();
        assert_eq!(outcome.output, "1\n2\n4\n");
        let [bad] = &bad_records(&outcome)[..] else { panic!("{:?}", outcome.errors) };
        assert_eq!((bad.record, bad.offset, bad.text.len()), (Some(3), 4, 100));
        assert_eq!(bad.reason, "longer than source.max_record, 10 bytes");
    }
    for split in [WHOLE, Split::Records(1)] {
        let outcome = finish("format: csv", "process: copy", b"a\nb,\"c\nd", split);
        let [bad] = &bad_records(&outcome)[..] else { panic!("{:?}", outcome.errors) };
        assert_eq!((bad.record, bad.offset, bad.text.as_str()), (Some(2), 2, "b,\"c\nd"));
        assert_eq!(bad.reason, "the quote at byte 4 is never closed");

        let outcome = finish("format: fixed, length: 4B", "process: copy", b"abcdefghij", split);
        assert_eq!(outcome.output, "abcdefgh");
        let [bad] = &bad_records(&outcome)[..] else { panic!("{:?}", outcome.errors) };
        assert_eq!((bad.record, bad.offset, bad.text.as_str()), (Some(3), 8, "ij"));
    }
}

#[test]
fn a_group_larger_than_memory_is_copied_not_read() {
    // Parts of 3 MiB and 9 MiB in one group: joined and copied upload parts.
    let line = [b"x".repeat(1023), b"\n".to_vec()].concat();
    let bytes = line.repeat(24 << 10);
    for (size, groups) in [(3 << 20, 8), (9 << 20, 2), (20 << 20, 1)] {
        let mut world = World::new(pipeline("format: lines", "process: copy"), bytes.clone());
        world.group_chunks = Some(groups);
        let outcome = block_on(world.finish(Split::SizeBytes(size))).unwrap();
        assert_eq!(outcome.output.len(), bytes.len());
        assert!(outcome.output == bytes);
    }
}

#[test]
fn ranges_of_a_plan_are_half_open() {
    let mut world = World::new(pipeline("format: lines", "process: copy"), &b"a\nb\n"[..]);
    let planned = block_on(world.plan(Split::Records(1))).unwrap();
    let ranges: Vec<_> = planned.chunks.iter().map(|chunk| chunk.range).collect();
    assert_eq!(ranges, [ByteRange::new(0, 2), ByteRange::new(2, 4)]);
}
