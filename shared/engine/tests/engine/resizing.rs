//! `resize`: images that a list names, results beside the output, and what is broken.

use std::sync::{Mutex, atomic::AtomicU64};

use bytes::Bytes;
use fanfold_domain::{
    ObjectName, Run, RunId, Stamp,
    pipeline::{Pipeline, Split},
};
use fanfold_engine::{bad::BadRecord, chunk::ChunkError};
use fanfold_ports::{
    Objects,
    memory::{Faults, Faulty, Invocation, Rates},
    objects::{Condition, Metadata},
};
use fanfold_tests::photos::Photo;
use serde_json::{Value, json};

use crate::{
    tampered::Tampered,
    world::{Outcome, WHOLE, World, pipeline},
};

const SIZE: &str = "size: 40x30";

fn photo(seed: u64) -> Bytes {
    Photo::of(160, 120, seed).to_jpeg().unwrap().into()
}

/// A world whose source lists these records, with the images `images/0` and so on in its bucket.
fn world(with: &str, records: &[Value], images: u64) -> World {
    let list = text(records);
    let world = World::with_pieces(
        pipeline("format: jsonl, prefix: orders/", &format!("process: resize, with: {{{with}}}")),
        list,
        100,
    );
    for at in 0..images {
        world.objects.insert("in", key(at), photo(at));
    }
    world
}

fn text(records: &[Value]) -> String {
    records.iter().map(Value::to_string).map(|record| record + "\n").collect()
}

fn key(at: u64) -> String {
    format!("images/{at}")
}

fn list(images: u64) -> Vec<Value> {
    (0..images).map(|at| json!({ "key": key(at) })).collect()
}

fn lines(outcome: &Outcome) -> Vec<Value> {
    let text = std::str::from_utf8(&outcome.output).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn reasons(outcome: &Outcome) -> Vec<(u64, String)> {
    let bad = outcome.errors.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let read = |line| serde_json::from_slice::<BadRecord>(line).unwrap();
    bad.map(read).map(|bad| (bad.record.unwrap(), bad.reason)).collect()
}

#[tokio::test]
async fn each_image_has_a_result_and_a_line_in_the_order_of_the_list() {
    let mut world = world(SIZE, &list(30), 30);
    world.group_chunks = Some(2);
    let outcome = world.finish(Split::Records(7)).await.unwrap();
    assert_eq!((outcome.records, outcome.bad_records), (30, 0));
    let lines = lines(&outcome);
    assert_eq!(lines.len(), 30);
    for (at, line) in (0..).zip(&lines) {
        let result = format!("resized/{}", key(at));
        let body = world.objects.contents(&ObjectName::new("out", &result)).unwrap();
        let expected = json!({
            "source": key(at), "bucket": "out", "key": result, "width": 40, "height": 30, "bytes": body.len(),
        });
        assert_eq!(*line, expected);
        assert!(body.starts_with(&[0xff, 0xd8]), "the format stays");
    }
}

#[tokio::test]
async fn any_split_and_any_number_at_once_give_the_same_bytes() {
    let one = world(&format!("{SIZE}, at_once: 1"), &list(12), 12).finish(WHOLE).await.unwrap();
    for at_once in [3, 64] {
        // Memory for little more than one image, so that they wait for one another too.
        let with = format!("{SIZE}, at_once: {at_once}, memory: 16MiB");
        let many = world(&with, &list(12), 12).finish(Split::SizeBytes(90)).await.unwrap();
        assert_eq!(many.output, one.output);
    }
}

#[tokio::test]
async fn whatever_is_broken_is_a_bad_record_with_its_name_and_the_rest_is_made() {
    let etag = "0123";
    let records = [
        json!({ "key": "images/0" }),
        json!({ "key": "images/none" }),
        json!({ "key": "images/text.jpg" }),
        json!({ "key": "images/half" }),
        json!({ "key": "images/0", "etag": etag }),
        json!({ "key": "images/0", "size": 5 }),
        json!({ "key": "images/empty" }),
        json!({ "name": "images/0" }),
        json!({ "key": "" }),
        json!("images/0"),
        json!({ "key": "images/1", "bucket": "in" }),
    ];
    let mut world = world(SIZE, &records, 2);
    world.objects.insert("in", "images/text.jpg", &b"no image at all"[..]);
    world.objects.insert("in", "images/half", photo(9).slice(..2000));
    world.objects.insert("in", "images/empty", Bytes::new());
    let outcome = world.finish(Split::Records(4)).await.unwrap();
    let size = photo(0).len();
    let expected = [
        (2, "s3://in/images/none does not exist".to_owned()),
        (
            3,
            "s3://in/images/text.jpg: no jpeg, png or webp: it begins with 6e 6f 20 69 6d 61 67 65"
                .to_owned(),
        ),
        (4, "s3://in/images/half: a broken jpeg: ".to_owned()),
        (5, "s3://in/images/0 is not what was pinned".to_owned()),
        (6, format!("s3://in/images/0 has {size} bytes, and the list says 5")),
        (7, "s3://in/images/empty: no jpeg, png or webp: it begins with nothing: it is empty".to_owned()),
        (8, "no image: unknown field `name`".to_owned()),
        (9, "a key of 0 bytes, and it has 1 to 1024".to_owned()),
        (10, "no image: invalid type: string".to_owned()),
    ];
    let found = reasons(&outcome);
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for ((record, reason), (number, beginning)) in found.iter().zip(&expected) {
        assert!(record == number && reason.starts_with(beginning), "{record}: {reason}");
    }
    let keys: Vec<_> = lines(&outcome).iter().map(|line| line["source"].clone()).collect();
    assert_eq!(keys, ["images/0", "images/1"]);
}

#[tokio::test]
async fn an_image_over_the_memory_of_its_stage_is_refused_and_harms_no_other() {
    let mut world = world(&format!("{SIZE}, memory: 16MiB"), &list(3), 3);
    let large = Photo { is_progressive: true, ..Photo::of(2400, 1600, 1) }.to_jpeg().unwrap();
    world.objects.insert("in", "images/1", large);
    world.objects.insert("in", "images/2", vec![0xff; 5 << 20]);
    let outcome = world.finish(WHOLE).await.unwrap();
    let found = reasons(&outcome);
    assert!(
        found[0].1.contains("2400x1600 pixels take") && found[0].1.contains("12582912 are allowed"),
        "{found:?}"
    );
    assert!(found[1].1.ends_with("5242880 bytes, and a file may have 4194304 of with.memory"), "{found:?}");
    assert_eq!(lines(&outcome).len(), 1);
}

#[tokio::test]
async fn too_many_broken_images_fail_the_chunk_and_are_listed() {
    let mut world = world(SIZE, &list(50), 1);
    world.run.pipeline.on_error.max_bad_records = 1;
    let chunk = world.plan(WHOLE).await.unwrap().chunks[0];
    let ChunkError::Permanent(failure) = world.attempt(chunk, "1").await.unwrap_err() else {
        panic!("for good")
    };
    assert_eq!(failure.record, Some(3));
    assert!(failure.reason.contains("s3://in/images/2 does not exist"), "{}", failure.reason);
    let list = world.objects.contents(&ObjectName::new("work", failure.bad_records.unwrap())).unwrap();
    assert_eq!(crate::world::lines_in(&list), 2);
}

/// All requests fail now and then; what did not end is tried again, and nothing is made twice of the same.
#[tokio::test]
async fn faults_are_tries_that_failed_and_the_next_finds_what_was_made() {
    let mut tries_in_vain = 0;
    for seed in 0..20 {
        let mut world = world(SIZE, &list(9), 9);
        let chunk = world.plan(WHOLE).await.unwrap().chunks[0];
        let rates = Rates { crash_before: 0, crash_after: 0, ..Rates::ROUGH };
        let faulty =
            Faulty::new(world.objects.clone(), Faults::seeded(seed, rates), Invocation::new("worker"));
        let sums = loop {
            match world.attempt_on(&faulty, chunk, "a").await {
                Ok(sums) => break sums,
                Err(error) => {
                    assert!(!matches!(error, ChunkError::Permanent(_)), "{error}");
                    tries_in_vain += 1;
                }
            }
        };
        assert_eq!((sums.records, sums.bad_records), (9, 0));
        let outcome = world.publish(&[(chunk, sums)]).await;
        let clean = self::world(SIZE, &list(9), 9).finish(WHOLE).await.unwrap();
        assert_eq!(outcome.output, clean.output);
    }
    assert!(tries_in_vain > 5, "{tries_in_vain}");
}

#[tokio::test]
async fn a_second_run_of_the_same_reads_no_image_and_writes_none() {
    for pinned in [false, true] {
        let mut world = world(SIZE, &[], 3);
        let record = |at| {
            let etag = world.objects.insert("in", key(at), photo(at)).etag;
            if pinned { json!({ "key": key(at), "etag": etag }) } else { json!({ "key": key(at) }) }
        };
        let records: Vec<Value> = (0..3).map(record).collect();
        let objects = world.objects.clone();
        world = self::world(SIZE, &records, 0);
        world.objects = objects.clone();
        let source = text(&records);
        let head = objects.insert("in", crate::world::KEY, source);
        (world.run.source.etag, world.run.source.size_bytes) = (head.etag, head.size_bytes);
        let first = world.finish(WHOLE).await.unwrap();
        let modified = |at: u64| {
            let result = ObjectName::new("out", format!("resized/{}", key(at)));
            let objects = objects.clone();
            async move { objects.head(&result, None).await.unwrap().unwrap() }
        };
        let before = modified(1).await;
        let read = objects.bytes_read();
        world.run.id = "0123456789abcdef0123456789abcdef".parse().unwrap();
        assert_eq!(world.finish(WHOLE).await.unwrap(), first);
        assert_eq!(modified(1).await.metadata, before.metadata, "the first run's is left there");
        let read = objects.bytes_read() - read;
        assert!(read < photo(0).len() as u64, "{read} bytes were read");
    }
}

#[tokio::test]
async fn a_replaced_image_and_other_options_give_new_results() {
    let mut world = world(SIZE, &list(1), 1);
    let result = ObjectName::new("out", "resized/images/0");
    world.finish(WHOLE).await.unwrap();
    let first = world.objects.contents(&result).unwrap();
    world.objects.insert("in", "images/0", photo(77));
    world.run.id = "00000000000000000000000000000001".parse().unwrap();
    world.finish(WHOLE).await.unwrap();
    let second = world.objects.contents(&result).unwrap();
    assert_ne!(first, second);
    world.run.pipeline = pipeline("format: jsonl", "process: resize, with: {size: 40x30, quality: 50}");
    world.run.id = "00000000000000000000000000000002".parse().unwrap();
    world.finish(WHOLE).await.unwrap();
    assert!(world.objects.contents(&result).unwrap().len() < second.len());
}

/// The run whose result stands under the name, and the result.
async fn standing(world: &World, result: &ObjectName) -> (RunId, Bytes) {
    let head = world.objects.head(result, None).await.unwrap().unwrap();
    (Stamp::read(&head.metadata).unwrap().run, world.objects.contents(result).unwrap())
}

#[tokio::test]
async fn pipelines_that_give_one_key_replace_each_others_results_and_no_output() {
    let mut world = world(SIZE, &list(2), 2);
    let (result, output) =
        (ObjectName::new("out", "resized/images/0"), ObjectName::new("out", "resized/images/1"));
    let of_another = Run { id: "ffffffffffffffffffffffffffffffff".parse().unwrap(), ..world.run.clone() };
    let metadata: Metadata = Stamp::of(&of_another, &output).to_metadata();
    world.objects.put(&output, "an output".into(), Condition::Always, &metadata).await.unwrap();
    let mut made = Vec::new();
    for (number, (name, size)) in
        [("one", "40x30"), ("two", "20x15"), ("one", "40x30")].into_iter().enumerate()
    {
        world.run.id = format!("{number:032x}").parse().unwrap();
        let process = format!("process: resize, with: {{size: {size}}}");
        world.run.pipeline = Pipeline { name: name.to_owned(), ..pipeline("format: jsonl", &process) };
        let outcome = world.finish(WHOLE).await.unwrap();
        let expected = format!("{output} is what run {} put out, and is not replaced", of_another.id);
        assert_eq!(reasons(&outcome), [(2, expected)]);
        assert_eq!(lines(&outcome)[0]["bytes"], world.objects.contents(&result).unwrap().len());
        let (run, bytes) = standing(&world, &result).await;
        assert_eq!(run, world.run.id, "the newest stands there");
        made.push(bytes);
    }
    assert_eq!(world.objects.contents(&output).unwrap(), "an output");
    assert!(made[0] == made[2] && made[1].len() < made[0].len());
}

#[tokio::test]
async fn a_result_names_its_run_so_that_it_starts_none_and_replaces_no_output() {
    let mut world = world(SIZE, &list(2), 2);
    let another = ObjectName::new("out", "resized/images/1");
    let metadata: Metadata = Stamp::of(&world.run, &another).to_metadata();
    world.objects.put(&another, "an output".into(), Condition::Always, &metadata).await.unwrap();
    let outcome = world.finish(WHOLE).await.unwrap();
    let result = ObjectName::new("out", "resized/images/0");
    let head = world.objects.head(&result, None).await.unwrap().unwrap();
    assert_eq!(Stamp::read(&head.metadata), Some(Stamp::of(&world.run, &result)));
    let expected = format!("{another} is what run {} put out, and is not replaced", world.run.id);
    assert_eq!(reasons(&outcome), [(2, expected)]);
    assert_eq!(world.objects.contents(&another).unwrap(), "an output");
}

#[tokio::test]
async fn two_tries_at_once_write_one_result() {
    let mut world = world(SIZE, &list(1), 1);
    world.finish(WHOLE).await.unwrap();
    let result = ObjectName::new("out", "resized/images/0");
    let before = world.objects.head(&result, None).await.unwrap().unwrap();
    world.run.id = "0123456789abcdef0123456789abcdef".parse().unwrap();
    let chunk = world.plan(WHOLE).await.unwrap().chunks[0];
    // Neither the part nor the result is there as this try begins.
    let late = Tampered { heads_unseen: AtomicU64::new(2), ..Tampered::new(&world) };
    assert_eq!(world.attempt_on(&late, chunk, "late").await.unwrap().bad_records, 0);
    assert_eq!(world.objects.head(&result, None).await.unwrap().unwrap(), before);
}

#[tokio::test]
async fn a_result_of_what_an_image_was_never_replaces_one_of_what_it_is() {
    for pinned in [false, true] {
        let etag = world(SIZE, &[], 0).objects.insert("in", "images/0", photo(0)).etag;
        let record = if pinned { json!({ "key": key(0), "etag": etag }) } else { json!({ "key": key(0) }) };
        let mut world = world(SIZE, &[record], 1);
        let chunk = world.plan(WHOLE).await.unwrap().chunks[0];
        let result = ObjectName::new("out", "resized/images/0");
        let newer = [(ObjectName::new("in", "images/0"), photo(5)), (result.clone(), "of the newer".into())];
        let slow = Tampered { replaced_before_put: Mutex::new(newer.into()), ..Tampered::new(&world) };
        let sums = world.attempt_on(&slow, chunk, "slow").await.unwrap();
        let there = world.objects.contents(&result).unwrap();
        if pinned {
            assert_eq!((sums.bad_records, &there[..]), (1, &b"of the newer"[..]));
        } else {
            let alone = self::world(SIZE, &list(1), 0);
            alone.objects.insert("in", "images/0", photo(5));
            let mut alone = alone;
            alone.finish(WHOLE).await.unwrap();
            assert_eq!(there, alone.objects.contents(&result).unwrap());
        }
    }
}
