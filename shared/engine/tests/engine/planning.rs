//! Planning: what it costs, and what it refuses.

use fanfold_domain::{LineEnd, pipeline::Split};
use fanfold_engine::plan::PlanError;

use crate::world::{World, block_on, pipeline, replace_source};

fn plan_error(source: &str, bytes: &[u8]) -> String {
    let mut world = World::new(pipeline(source, "process: copy"), bytes.to_vec());
    block_on(world.plan(Split::Records(1))).unwrap_err().to_string()
}

#[test]
fn a_split_by_size_reads_a_small_share_of_the_source() {
    let bytes = b"0123456789012345678901234567890123456789\n".repeat(1 << 20);
    let mut world = World::new(pipeline("format: lines", "process: copy"), bytes.clone());
    let planned = block_on(world.plan(Split::SizeBytes(1 << 20))).unwrap();
    assert_eq!(planned.chunks.len(), 41);
    let head = 64 << 10;
    assert!(planned.bytes_read - head < bytes.len() as u64 / 1000, "{}", planned.bytes_read);
    assert_eq!(world.objects.bytes_read(), planned.bytes_read);
}

#[test]
fn a_source_of_one_long_record_is_read_once_and_not_once_a_cut() {
    let bytes = b"x".repeat(20 << 20);
    for source in ["format: lines", "format: csv"] {
        let mut world = World::new(pipeline(source, "process: copy"), bytes.clone());
        let planned = block_on(world.plan(Split::SizeBytes(64 << 10))).unwrap();
        assert_eq!(planned.chunks.len(), 1);
        assert!(planned.bytes_read <= 21 << 20, "{source}: {}", planned.bytes_read);
    }
}

#[test]
fn many_cuts_in_a_block_take_one_read_of_it() {
    let bytes = b"a,\"b\"\n".repeat(100_000);
    for split in [Split::Records(1), Split::Records(10), Split::SizeBytes(64)] {
        let mut world = World::new(pipeline("format: csv", "process: copy"), bytes.clone());
        let planned = block_on(world.plan(split)).unwrap();
        assert!(planned.bytes_read <= 2 * bytes.len() as u64 + (64 << 10), "{}", planned.bytes_read);
        assert!(planned.chunks.len() >= 9_000);
    }
}

#[test]
fn the_line_end_is_that_of_the_first_line_outside_quotes() {
    let shows = |source: &str, bytes: &[u8]| {
        let mut world = World::new(pipeline(source, "process: copy"), bytes.to_vec());
        block_on(world.plan(Split::Records(1))).unwrap().plan.line_end
    };
    assert_eq!(shows("format: csv", b"\"a\nb\"\r\nc\r\n"), LineEnd::CrLf);
    assert_eq!(shows("format: csv", b"\r\na\r\n"), LineEnd::CrLf);
    assert_eq!(shows("format: csv, header: true", b"a\r\n1\n"), LineEnd::CrLf);
    assert_eq!(shows("format: lines", b"a\nb\r\n"), LineEnd::Lf);
    assert_eq!(shows("format: lines", b"a"), LineEnd::Lf);
    assert_eq!(shows("format: fixed, length: 4B", b"ab\r\n"), LineEnd::Lf);
}

#[test]
fn what_cannot_be_read_is_refused_with_the_reason() {
    let with_header = "format: csv, header: true";
    assert!(plan_error(with_header, b"\xff\xfea\0,\0b\0").contains("UTF-16"));
    assert!(plan_error(with_header, b"a\0,\0b\0").contains("UTF-16"));
    assert!(plan_error(with_header, b"a,\"b\n1,2\n").contains("the quote at byte 2, in the header"));
    let blank = b"\n".repeat(17 << 20);
    assert!(plan_error(with_header, &blank).contains("longer than 16777216 bytes"));
    let lines = b"\n".repeat(1_000_001);
    let error = plan_error("format: lines", &lines);
    assert!(error.contains("1000001 chunks, and a stage has at most 1000000"), "{error}");
}

#[test]
fn a_replaced_source_is_told_from_a_failed_read() {
    let mut world = World::new(pipeline("format: lines", "process: copy"), &b"a\n"[..]);
    replace_source(&world, b"b\n");
    let error = block_on(world.plan(Split::Records(1))).unwrap_err();
    assert!(matches!(error, PlanError::SourceChanged(_)), "{error}");
}

#[test]
fn too_many_chunks_are_refused_with_what_fits_in_the_terms_of_the_split() {
    let bytes = b"a\n".repeat(1_000_001);
    for source in ["format: lines", "format: fixed, length: 2B"] {
        let error = plan_error(source, &bytes);
        assert_eq!(
            error,
            "the split gives 1000001 chunks, and a stage has at most 1000000: a split of at least 2 records a \
             chunk fits"
        );
    }
}
