//! Attempts: created once, whoever was first; kept in the end whatever goes wrong in the middle.

use std::sync::atomic::AtomicU64;

use fanfold_domain::{Chunk, ObjectName, pipeline::Split};
use fanfold_engine::{
    bad::BadRecord,
    chunk::{ATTEMPT, ChunkError},
};
use fanfold_ports::{Fault, Objects, objects::UploadError};

use crate::{
    tampered::Tampered,
    world::{WHOLE, WORK, World, lines_in, pipeline, replace_source},
};

const SOURCE: &[u8] = b"a\nb\nc\n";

fn lines(process: &str) -> World {
    World::new(pipeline("format: lines", process), SOURCE)
}

fn part(world: &World, chunk: Chunk) -> ObjectName {
    ObjectName::new(WORK, world.run.keys(&world.run.last_stage().name).part(chunk.index))
}

#[tokio::test]
async fn of_two_racing_attempts_one_part_remains_and_both_tell_its_statistics() {
    // Each attempt writes another number of bytes.
    let script = "cat > /dev/null; case $FANFOLD_ATTEMPT in 1) echo a;; *) echo bbbbbbb;; esac";
    for _ in 0..10 {
        let mut world = lines(&format!("command: [sh, -c, '{script}']"));
        let chunk = world.plan(WHOLE).await.unwrap().chunks[0];
        let (a, b) = futures::join!(world.attempt(chunk, "1"), world.attempt(chunk, "2"));
        let (a, b) = (a.unwrap(), b.unwrap());
        assert_eq!(a, b);
        let part = part(&world, chunk);
        let body = world.objects.contents(&part).unwrap();
        let head = world.objects.head(&part, None).await.unwrap().unwrap();
        assert_eq!(body, if head.metadata[ATTEMPT] == "1" { "a\n" } else { "bbbbbbb\n" });
        assert_eq!(a.bytes_out, body.len() as u64);
        assert_eq!(world.publish(&[(chunk, b)]).await.output, body);
    }
}

#[tokio::test]
async fn an_attempt_that_finds_the_part_only_tells_what_it_adds() {
    let mut world = lines("process: index");
    let chunk = world.plan(WHOLE).await.unwrap().chunks[0];
    let first = world.attempt(chunk, "1").await.unwrap();
    let read = world.objects.bytes_read();
    assert_eq!(world.attempt(chunk, "2").await.unwrap(), first);
    assert_eq!((first.records, first.bytes_in, first.bytes_out), (3, 6, 18));
    let statistics = world.objects.bytes_read() - read;
    assert!(statistics < 200, "only the statistics were read, not {statistics} bytes");
    assert!(!world.objects.keys(WORK).iter().any(|key| key.contains("-2.")));
}

#[tokio::test]
async fn one_bad_record_too_many_fails_the_chunk_and_keeps_the_list() {
    let mut world = World::new(pipeline("format: csv", "process: orders"), &b"1\n2\n3\n4\n5\n"[..]);
    world.run.pipeline.on_error.max_bad_records = 2;
    let chunk = world.plan(WHOLE).await.unwrap().chunks[0];
    let Err(ChunkError::Permanent(failure)) = world.attempt(chunk, "1").await else { panic!("it has 5") };
    assert_eq!((failure.record, failure.offset), (Some(3), Some(4)));
    assert_eq!(
        failure.reason,
        "3 bad records in this chunk alone, and on_error.max_bad_records is 2; \
         the last, at byte 4: 1 columns, and orders has 14"
    );
    let list = ObjectName::new(WORK, failure.bad_records.unwrap());
    let list = world.objects.contents(&list).unwrap();
    let bad: Vec<BadRecord> =
        list.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    assert_eq!(
        bad.iter().map(|bad| (bad.record.unwrap(), bad.offset)).collect::<Vec<_>>(),
        [(1, 0), (2, 2), (3, 4)]
    );
    assert!(world.objects.contents(&part(&world, chunk)).is_none());
}

#[tokio::test]
async fn a_source_that_was_replaced_or_removed_is_told_so() {
    for removed in [false, true] {
        let mut world = lines("process: copy");
        let chunk = world.plan(WHOLE).await.unwrap().chunks[0];
        if removed {
            world.objects.remove(&world.run.source.object);
        } else {
            replace_source(&world, b"x\ny\nz\n");
        }
        let error = world.attempt(chunk, "1").await.unwrap_err();
        assert!(matches!(error, ChunkError::SourceChanged(_)), "{error}");
        assert!(world.objects.keys(WORK).is_empty());
    }
}

#[tokio::test]
async fn a_large_part_is_a_multipart_upload() {
    let bytes = b"0123456789012345678901234567890123456789012345678901234567890\n".repeat(400_000);
    let mut world = World::new(pipeline("format: lines", "command: [cat]"), bytes.clone());
    let chunk = world.plan(WHOLE).await.unwrap().chunks[0];
    let sums = world.attempt(chunk, "1").await.unwrap();
    assert_eq!((sums.records, sums.bytes_out), (400_000, bytes.len() as u64));
    assert!(world.objects.contents(&part(&world, chunk)).unwrap() == bytes);
    assert_eq!(world.objects.requests()["upload_part"], 3);
    assert_eq!(world.objects.open_uploads(), []);
    // Whoever comes second has its upload discarded: here one that did not see the part before.
    let blind = Tampered { heads_unseen: AtomicU64::new(1), ..Tampered::new(&world) };
    assert_eq!(world.attempt_on(&blind, chunk, "2").await.unwrap(), sums);
    assert_eq!(world.objects.requests()["upload_part"], 6);
    assert_eq!(world.objects.open_uploads(), []);
}

#[tokio::test]
async fn an_upload_is_not_left_behind_by_a_second_pass_that_fails() {
    let script = r#"cat; echo '{"record": 1, "reason": "no"}' >&3"#;
    let bytes = b"0123456789012345678901234567890123456789012345678901234567890\n".repeat(200_000);
    let process = format!("command: [sh, -c, '{}']", script.replace('\'', "''"));
    let mut world = World::new(pipeline("format: lines", &process), bytes);
    world.run.pipeline.on_error.max_bad_records = 0;
    let chunk = world.plan(WHOLE).await.unwrap().chunks[0];
    let Err(ChunkError::Permanent(failure)) = world.attempt(chunk, "1").await else { panic!("it is bad") };
    assert!(failure.bad_records.is_some());
    assert_eq!(world.objects.open_uploads(), []);
}

#[tokio::test]
async fn a_read_that_ends_early_is_tried_again_and_counts_nothing() {
    let mut world = lines("process: copy");
    let chunk = world.plan(WHOLE).await.unwrap().chunks[0];
    let objects = Tampered { reads_end_at: 4, ..Tampered::new(&world) };
    let Err(ChunkError::Port(UploadError::Port(error))) = world.attempt_on(&objects, chunk, "1").await else {
        panic!("two bytes did not come")
    };
    assert_eq!((error.fault, error.detail.as_str()), (Fault::Transient, "2 of 6 bytes did not come"));
    assert!(world.objects.keys(WORK).is_empty());
}

#[tokio::test]
async fn an_empty_chunk_reads_nothing() {
    let mut world = World::new(pipeline("format: lines", "process: index"), &b""[..]);
    let planned = world.plan(Split::Records(1)).await.unwrap();
    assert_eq!(planned.chunks.len(), 1);
    let sums = world.attempt(planned.chunks[0], "1").await.unwrap();
    assert_eq!((sums.records, sums.bytes_out), (0, 0));
    assert!(!world.objects.requests().contains_key("read"));
}

/// 6 MiB of lines, of which the line `odd` is longer than the others.
fn large(odd: &str) -> (World, Vec<u8>) {
    let mut bytes = "0123456789abcde\n".repeat(6 << 16).into_bytes();
    bytes.splice(16..16, format!("{odd}\n").into_bytes());
    let source = "format: lines, max_record: 100B";
    (World::new(pipeline(source, "process: copy"), bytes.clone()), bytes)
}

#[tokio::test]
async fn a_large_chunk_is_copied_where_it_lies_and_not_sent_again() {
    let (mut world, bytes) = large("odd");
    let chunk = world.plan(WHOLE).await.unwrap().chunks[0];
    let sums = world.attempt(chunk, "a").await.unwrap();
    assert_eq!((sums.records, sums.bytes_out), ((6 << 16) + 1, bytes.len() as u64));
    let requests = world.objects.requests();
    assert_eq!((requests.get("copy_part"), requests.get("upload_part")), (Some(&1), None));
    assert!(world.publish(&[(chunk, sums)]).await.output == bytes);
}

#[tokio::test]
async fn a_large_chunk_with_bad_records_is_written_without_them() {
    let odd = "x".repeat(101);
    let (mut world, mut bytes) = large(&odd);
    let chunk = world.plan(WHOLE).await.unwrap().chunks[0];
    let sums = world.attempt(chunk, "a").await.unwrap();
    assert_eq!((sums.records, sums.bad_records), ((6 << 16) + 1, 1));
    bytes.drain(16..16 + 102);
    let outcome = world.publish(&[(chunk, sums)]).await;
    assert!(outcome.output == bytes);
    assert_eq!(lines_in(&outcome.errors), 1);
}

#[tokio::test]
async fn a_source_that_is_replaced_before_it_is_copied_is_told_of() {
    let (mut world, bytes) = large("odd");
    let chunk = world.plan(WHOLE).await.unwrap().chunks[0];
    let objects = Tampered { replaced_before_copies: Some(bytes), ..Tampered::new(&world) };
    let error = world.attempt_on(&objects, chunk, "a").await.unwrap_err();
    assert!(matches!(error, ChunkError::SourceChanged(_)), "{error}");
    assert_eq!(world.objects.open_uploads(), []);
}
