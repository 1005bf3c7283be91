//! A source that workers scan is planned as if one reader had scanned it.

use fanfold_domain::{ChunkIndex, Scan, Timestamp, pipeline::Split};
use fanfold_engine::{
    chunk::Attempted,
    plan::{Places, PlanError, Planned, ScanLimits, Strides, plan_scanned, scan_chunk, scan_due},
};
use fanfold_ports::{Until, memory::MemoryClock};
use proptest::prelude::*;

use crate::world::{WORK, World, block_on, pipeline};

/// Has all chunks of a scan done, from the last to the first.
async fn scan(world: &mut World, range_bytes: u64) -> Option<Scan> {
    let (run, limits) = (&world.run, ScanLimits { alone_bytes: 0, range_bytes });
    let due = scan_due(world.objects.clone(), &run.pipeline, &run.source, limits).await.unwrap();
    world.run.scan.clone_from(&due);
    for chunk in (0..due.as_ref()?.grouping.chunks).rev() {
        assert!(work(world, chunk).await.unwrap().has_created);
    }
    due
}

async fn work(world: &World, chunk: u32) -> Result<Attempted, PlanError> {
    let scan = world.run.scan.as_ref().unwrap();
    scan_chunk(world.objects.clone(), &world.run, scan, WORK, ChunkIndex(chunk)).await
}

async fn finish(world: &World) -> Result<Planned, PlanError> {
    finish_in(world, Strides::DEFAULT).await
}

/// In invocations that have time for one stride each.
async fn finish_in(world: &World, strides: Strides) -> Result<Planned, PlanError> {
    let (objects, scan) = (world.objects.clone(), world.run.scan.as_ref().unwrap());
    let (clock, over) = (MemoryClock::seeded(0), Some(Timestamp(0)));
    loop {
        let until = Until::at(&clock, over);
        let places = Places::new(&*objects, WORK, "planning/".to_owned(), strides, until);
        let planned = plan_scanned(objects.clone(), &world.run, scan, &places).await;
        if let Some(planned) = planned.transpose() {
            return planned;
        }
    }
}

fn world(source: &str, bytes: &[u8], split: Split) -> World {
    let mut world = World::new(pipeline(source, "process: copy"), bytes.to_vec());
    world.run.pipeline.split = split;
    world
}

#[test]
fn only_what_must_be_scanned_and_is_too_large_is_scanned_by_workers() {
    let due = |source, split, alone_bytes| {
        let world = world(source, &b"a,\"b\nc\"\n".repeat(100), split);
        let limits = ScanLimits { alone_bytes, range_bytes: 64 };
        let due = scan_due(world.objects.clone(), &world.run.pipeline, &world.run.source, limits);
        block_on(due).unwrap().map(|scan| scan.grouping.chunks)
    };
    assert_eq!(due("format: csv", Split::SizeBytes(100), 799), Some(13));
    assert_eq!(due("format: csv", Split::SizeBytes(100), 800), None);
    assert_eq!(due("format: csv, header: true", Split::Records(2), 0), Some(13));
    assert_eq!(due("format: lines", Split::Records(2), 0), Some(13));
    assert_eq!(due("format: lines", Split::SizeBytes(100), 0), None);
    assert_eq!(due("format: csv, quote: none", Split::SizeBytes(100), 0), None);
    assert_eq!(due("format: fixed, length: 8B", Split::Records(2), 0), None);
    assert_eq!(due("format: csv", Split::SizeBytes(800), 0), None);
}

#[test]
fn a_scan_done_twice_is_the_same_and_one_that_is_lost_or_not_ours_is_told_of() {
    block_on(async {
        let mut world = world("format: csv", &b"a,\"b\nc\"\n".repeat(100), Split::Records(3));
        scan(&mut world, 300).await.unwrap();
        let planned = finish(&world).await.unwrap();
        assert!(!work(&world, 1).await.unwrap().has_created);
        assert_eq!(finish(&world).await.unwrap(), planned);

        let name = fanfold_domain::ObjectName::new(WORK, world.run.scan_key(ChunkIndex(1)));
        let mut body = world.objects.contents(&name).unwrap().to_vec();
        world.objects.remove(&name);
        assert!(matches!(finish(&world).await, Err(PlanError::ScanLost(_))));

        let end = body.windows(9).position(|text| text == b"\"end\":600").unwrap();
        body[end + 6] = b'7';
        world.objects.insert(WORK, name.key.clone(), body);
        let error = finish(&world).await.unwrap_err();
        assert!(error.to_string().contains("another range, 300..700"), "{error}");
        world.objects.insert(WORK, name.key, "no scan".repeat(1000));
        assert!(matches!(finish(&world).await, Err(PlanError::Port(_))));
    });
}

#[test]
fn records_longer_than_ranges_are_not_looked_through() {
    let long = format!("a,\"{}\"\n", "\n".repeat(3 << 20));
    let bytes = [long.as_bytes(), b"b,c\n"].concat();
    let mut world = world("format: csv", &bytes, Split::SizeBytes(100_000));
    block_on(async {
        scan(&mut world, 128 << 10).await.unwrap();
        let planned = finish(&world).await.unwrap();
        assert_eq!(planned.chunks.len(), 2);
        assert_eq!(planned.chunks[1].range.len(), 4);
        assert!(planned.bytes_read < 300_000, "{}", planned.bytes_read);
    });
}

/// Which takes minutes where each cut is looked for on its own.
#[test]
fn many_cuts_within_one_record_are_looked_for_in_one_pass() {
    let bytes = ["a,b\n".to_owned(), "x".repeat(300_000), "\nc\n".to_owned()].concat().into_bytes();
    let mut world = world("format: csv", &bytes, Split::SizeBytes(1));
    block_on(async {
        scan(&mut world, 64 << 10).await.unwrap();
        let found = finish(&world).await.unwrap();
        assert_eq!(found.chunks.len(), 3);
        let expected = world.plan(Split::SizeBytes(1)).await.unwrap();
        assert_eq!(found.chunks, expected.chunks);
    });
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => prop::sample::select(vec!["a", "\"", "\"\"", ",", "\n", "\r\n", "\r", "5\" pipe"]).prop_map(str::to_owned),
        1 => (0usize..40_000).prop_map(|count| "x".repeat(count)),
        1 => (0usize..200).prop_map(|count| "\"q\nq\",z\n".repeat(count)),
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn workers_and_one_reader_find_the_same_chunks(
        bytes in text(),
        source in prop::sample::select(vec!["format: csv", "format: lines", "format: jsonl"]),
        range_bytes in prop_oneof![1u64..300, Just(64 << 10), Just(128 << 10), Just(100_000)],
        split in prop_oneof![(1u64..100_000).prop_map(Split::SizeBytes), (1u64..30).prop_map(Split::Records)],
        (ranges, stretches) in prop_oneof![Just((10_000, 10_000)), (20usize..200, 10usize..100)],
    ) {
        prop_assume!(bytes.len() as u64 / range_bytes < 3_000);
        let mut world = world(source, &bytes, split);
        block_on(async {
            if scan(&mut world, range_bytes).await.is_some() {
                let strides = Strides { ranges, stretches, ..Strides::DEFAULT };
                let found = finish_in(&world, strides).await.unwrap();
                let expected = world.plan(split).await.unwrap();
                assert_eq!((found.plan.preamble, found.plan.header), (expected.plan.preamble, expected.plan.header));
                assert_eq!(found.plan.line_end, expected.plan.line_end);
                assert_eq!(edges(&found, source, &bytes), edges(&expected, source, &bytes));
            }
        });
    }
}

/// Where chunks end. A run of blank lines that goes on beyond a block may be cut at any of its lines, perhaps more than
/// once, and workers' blocks end where their ranges do, which are whole blocks only outside of tests.
fn edges(planned: &Planned, source: &str, bytes: &[u8]) -> Vec<u64> {
    let behind_blank_lines = |edge: u64| {
        let mut at = usize::try_from(edge).unwrap();
        while source != "format: lines" && at < bytes.len() {
            at += match &bytes[at..] {
                [b'\n', ..] => 1,
                [b'\r', b'\n', ..] => 2,
                _ => break,
            };
        }
        at as u64
    };
    let mut edges: Vec<u64> =
        planned.chunks.iter().map(|chunk| behind_blank_lines(chunk.range.end)).collect();
    edges.dedup();
    edges
}

/// Of which one search sees a blank line's end and the other does not.
#[test]
fn a_blank_line_at_the_end_of_a_range_goes_to_either_chunk() {
    let bytes = [vec![b'x'; 89], b"\r\n\r\na".to_vec()].concat();
    let split = Split::SizeBytes(1);
    let mut world = world("format: csv", &bytes, split);
    block_on(async {
        scan(&mut world, 93).await.unwrap();
        let (found, expected) = (finish(&world).await.unwrap(), world.plan(split).await.unwrap());
        assert_eq!((found.chunks[0].range.end, expected.chunks[0].range.end), (91, 93));
        assert_eq!(edges(&found, "format: csv", &bytes), edges(&expected, "format: csv", &bytes));
    });
}
