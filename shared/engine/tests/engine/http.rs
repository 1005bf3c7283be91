//! `http` in virtual time, against a third party in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use fanfold_domain::{ChunkIndex, ObjectName, pipeline::Split};
use fanfold_engine::{bad::BadRecord, chunk::ChunkError, processor::Outside};
use fanfold_ports::{
    memory::{MEMORY_EPOCH, MemoryClock, MemoryPacer, MemoryWeb, Reply},
    web::Request,
};
use proptest::prelude::*;
use uuid::Uuid;

use crate::world::{KEY, Outcome, WHOLE, WORK, World, pipeline};

const URL: &str = "https://third.example/x";

/// A world whose third party answers so.
fn world(
    source: &str,
    stage: &str,
    with: &str,
    bytes: impl Into<Bytes>,
    script: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static,
) -> (World, MemoryWeb) {
    let stage = format!("process: http, {stage} with: {{{with}}}");
    let mut world = World::with_pieces(pipeline(source, &stage), bytes.into(), 100);
    let clock = MemoryClock::seeded(1);
    let web = MemoryWeb::new(clock.clone(), script);
    world.outside = Some(Outside {
        web: Arc::new(web.clone()),
        pacer: Arc::new(MemoryPacer::default()),
        functions: None,
        clock: Arc::new(clock),
        ends_at: None,
    });
    (world, web)
}

fn text(lines: impl Iterator<Item = String>) -> String {
    lines.fold(String::new(), |text, line| text + &line)
}

fn lines(count: usize) -> String {
    text((0..count).map(|i| format!("record {i}\n")))
}

/// Answers what it is sent.
fn echo(request: &Request, _: usize) -> Reply {
    Reply::ok(request.body.clone())
}

fn output(outcome: &Outcome) -> &str {
    std::str::from_utf8(&outcome.output).unwrap()
}

fn bad(outcome: &Outcome) -> Vec<BadRecord> {
    outcome
        .errors
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

fn header<'a>(request: &'a Request, name: &str) -> &'a str {
    request.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
}

const TEXT: &str = "headers: {content-type: text/plain}";

#[tokio::test(start_paused = true)]
async fn answers_are_lines_in_the_order_of_the_records() {
    // Later records are answered sooner.
    let backwards = |request: &Request, number: usize| match echo(request, number) {
        Reply::Answer { status, body, retry_after, .. } => {
            let after_ms = 1_000 - (number as u64 * 37) % 900;
            Reply::Answer { status, body, retry_after, after_ms }
        }
        other => other,
    };
    let with = format!("url: '{URL}', body: '<{{record}}>', {TEXT}");
    let (mut world, web) = world("format: lines", "", &with, lines(50), backwards);
    let outcome = world.finish(Split::Records(7)).await.unwrap();
    assert_eq!(output(&outcome), text((0..50).map(|i| format!("<record {i}>\n"))));
    assert_eq!((outcome.records, outcome.bad_records, web.requests().len()), (50, 0, 50));
}

#[tokio::test(start_paused = true)]
async fn a_request_is_what_the_document_says() {
    let with = "url: 'https://third.example/a/{column:Name}?at={offset}&id={id}', \
                body: '{\"name\": \"<{column:Name}>\", \"n\": {field:2}, \"all\": {record}}', headers: {X-Team: blue}";
    let (mut world, web) =
        world("format: csv, header: true", "", with, "Name,N\n\"A \"\"b\"\"/ü\",5\n", echo);
    let outcome = world.finish(WHOLE).await.unwrap();
    let [(_, request)] = &web.requests()[..] else { panic!("one request") };
    let namespace = Uuid::from_u128(0x6f1d_2c0a_94b7_5e53_8a41_c3d0_7be9_12f6);
    let namespace = Uuid::new_v5(&namespace, b"test/one");
    let etag = world.run.source.etag.as_str();
    let id = Uuid::new_v5(&namespace, format!("in/{KEY}@{etag}:7").as_bytes()).to_string();
    assert_eq!(request.url, format!("https://third.example/a/A%20%22b%22%2F%C3%BC?at=7&id={id}"));
    let body = r#"{"name": "<A \"b\"/ü>", "n": "5", "all": "\"A \"\"b\"\"/ü\",5"}"#;
    assert_eq!((request.method, std::str::from_utf8(&request.body).unwrap()), ("POST", body));
    assert_eq!(header(request, "idempotency-key"), id);
    assert_eq!((header(request, "content-type"), header(request, "x-team")), ("application/json", "blue"));
    assert_eq!(output(&outcome), format!("{body}\n"));
}

#[tokio::test(start_paused = true)]
async fn json_records_are_sent_as_they_were_written() {
    let records = "{\"id\": 12345678901234567890.10, \"to\": \"a/b\"}\n{\"id\": 2}\nnot json\n";
    let with = format!(
        "url: '{URL}/{{json:/to}}', body: '{{\"id\": {{json:/id}}, \"all\": {{record}}, \"s\": \"{{json:/to}}\"}}'"
    );
    let (mut world, web) = world("format: jsonl", "", &with, records, echo);
    let outcome = world.finish(WHOLE).await.unwrap();
    let exact =
        r#"{"id": 12345678901234567890.10, "all": {"id": 12345678901234567890.10, "to": "a/b"}, "s": "a/b"}"#;
    assert_eq!(output(&outcome), format!("{exact}\n"));
    assert_eq!(web.requests()[0].1.url, format!("{URL}/a%2Fb"));
    let bad = bad(&outcome);
    assert_eq!(bad.iter().map(|bad| bad.record).collect::<Vec<_>>(), [Some(2), Some(3)]);
    assert_eq!(bad[0].reason, "it has nothing at \"/to\"");
    assert!(bad[1].reason.starts_with("not JSON"), "{}", bad[1].reason);
    assert_eq!(web.requests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_one_request_and_one_line() {
    let with = format!("url: '{URL}', body: '[{{records}}]', batch: 4");
    let (mut world, web) =
        world("format: jsonl}, split: {records: 8", "", &with, "1\n2\n3\n4\n5\n6\n7\n8\n9\n", echo);
    let outcome = world.finish(Split::Records(8)).await;
    assert_eq!(output(&outcome.unwrap()), "[1,2,3,4]\n[5,6,7,8]\n[9]\n");
    assert_eq!(web.requests().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_the_third_party_refuses_is_a_bad_record() {
    let refuse = |request: &Request, number: usize| match &request.body[..] {
        b"record 3" | b"record 7" => Reply::status(422),
        _ => echo(request, number),
    };
    let with = format!("url: '{URL}', body: '{{record}}', {TEXT}");
    let (mut world, web) = world("format: lines", "", &with, lines(10), refuse);
    let outcome = world.finish(Split::Records(5)).await.unwrap();
    let good = text((0..10).filter(|i| ![3, 7].contains(i)).map(|i| format!("record {i}\n")));
    assert_eq!(output(&outcome), good);
    let bad = bad(&outcome);
    assert_eq!(
        bad.iter().map(|bad| (bad.record, bad.offset)).collect::<Vec<_>>(),
        [(Some(4), 27), (Some(8), 63)]
    );
    assert_eq!(bad[0].reason, "was answered 422: \"status 422\"");
    assert_eq!(bad[0].text, "record 3");
    assert_eq!(web.requests().len(), 10, "the second pass asks nobody");
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_once_a_chunk_has_failed() {
    let with = format!("url: '{URL}', body: '{{record}}', {TEXT}");
    let (mut world, web) = world("format: lines", "", &with, lines(1_000), |_, _| Reply::status(401));
    world.run.pipeline.on_error.max_bad_records = 20;
    let error = world.finish(WHOLE).await.unwrap_err();
    assert!(error.starts_with("21 bad records in this chunk alone"), "{error}");
    assert!(error.contains("was answered 401"), "{error}");
    let asked = web.requests().len();
    assert!((21..=28).contains(&asked), "{asked}");
}

/// What each id was asked with, by a run of this split.
async fn keys_of_ids(run: u128, split: Split) -> BTreeMap<Bytes, String> {
    let with = format!("url: '{URL}', body: '{{record}}', {TEXT}");
    let (mut world, web) = world("range: {from: 8, to: 120}", "", &with, "", echo);
    world.run.id = format!("{run:032x}").parse().unwrap();
    world.finish(split).await.unwrap();
    let key = |request: &Request| (request.body.clone(), header(request, "idempotency-key").to_owned());
    web.requests().iter().map(|(_, request)| key(request)).collect()
}

#[tokio::test(start_paused = true)]
async fn the_keys_of_ids_are_those_of_their_run_whatever_the_split() {
    let whole = keys_of_ids(1, Split::Records(1_000)).await;
    let distinct: BTreeSet<&String> = whole.values().collect();
    assert_eq!((whole.len(), distinct.len()), (113, 113));
    for records in [1, 7, 100] {
        assert_eq!(keys_of_ids(1, Split::Records(records)).await, whole, "{records} a chunk");
    }
    let another = keys_of_ids(2, Split::Records(1_000)).await;
    assert!(another.values().all(|key| !distinct.contains(key)), "another run asks anew");
}

#[tokio::test(start_paused = true)]
async fn what_may_pass_is_tried_again_with_the_same_key() {
    // Each record's first two tries fail, each in another way.
    let script = {
        let seen: Mutex<Vec<Bytes>> = Mutex::default();
        move |request: &Request, number: usize| {
            let mut seen = seen.lock().unwrap();
            seen.push(request.body.clone());
            match seen.iter().filter(|body| **body == request.body).count() {
                1 => [Reply::status(500), Reply::Breaks, Reply::status(429), Reply::status(408)][number % 4]
                    .clone(),
                2 => Reply::status(503),
                _ => echo(request, number),
            }
        }
    };
    let with = format!("url: '{URL}', body: '{{record}}', {TEXT}");
    let (mut world, web) = world("format: lines", "", &with, lines(20), script);
    let outcome = world.finish(Split::Records(9)).await.unwrap();
    assert_eq!((output(&outcome), outcome.bad_records), (lines(20).as_str(), 0));
    let requests = web.requests();
    assert_eq!(requests.len(), 60);
    for (_, request) in &requests {
        let same = requests.iter().filter(|(_, other)| other.body == request.body);
        let keys: Vec<&str> = same.map(|(_, other)| header(other, "idempotency-key")).collect();
        assert!(keys.len() == 3 && keys.iter().all(|key| *key == keys[0] && key.len() == 36), "{keys:?}");
    }
    let mut keys: Vec<&str> =
        requests.iter().map(|(_, request)| header(request, "idempotency-key")).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 20);
}

#[tokio::test(start_paused = true)]
async fn waits_double_and_retry_after_is_waited_for() {
    for (retry_after, least_ms, most_ms) in [
        (None, [100, 200, 400], [200, 400, 800]),
        (Some("3"), [3_100, 3_200, 3_400], [3_200, 3_400, 3_800]),
        // Three seconds after the clock begins, and past afterwards.
        (Some("Thu, 01 Jan 2026 00:00:03 GMT"), [3_100, 200, 400], [3_200, 400, 800]),
    ] {
        let busy = Reply::Answer {
            status: 429,
            body: Bytes::new(),
            retry_after: retry_after.map(ToOwned::to_owned),
            after_ms: 0,
        };
        let script = move |request: &Request, number: usize| {
            if number < 3 { busy.clone() } else { echo(request, number) }
        };
        let with = format!("url: '{URL}', body: '{{record}}', {TEXT}");
        let (mut world, web) = world("format: lines", "", &with, "x\n", script);
        world.finish(WHOLE).await.unwrap();
        let at: Vec<u64> = web.requests().iter().map(|(at, _)| at.ms_since(MEMORY_EPOCH)).collect();
        for (i, wait) in at.windows(2).map(|pair| pair[1] - pair[0]).enumerate() {
            assert!((least_ms[i]..=most_ms[i]).contains(&wait), "{retry_after:?}: {at:?}");
        }
    }
}

/// The one chunk's error, and whether another attempt is to be made.
async fn failed(world: &mut World) -> (String, bool) {
    let planned = world.plan(WHOLE).await.unwrap();
    match world.attempt(planned.chunks[0], "a1").await.unwrap_err() {
        ChunkError::Permanent(failure) => (failure.reason, false),
        ChunkError::Process(error) => (error.to_string(), true),
        other => panic!("{other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_third_party_that_stays_away_fails_the_attempt() {
    let with = format!("url: '{URL}', body: '{{record}}', {TEXT}, attempts: 3");
    for (reply, why) in [
        (Reply::status(503), "was answered 503: \"status 503\""),
        (Reply::Nobody, "failed: connection refused"),
        (Reply::Breaks, "failed: connection reset"),
    ] {
        let (mut world, web) = world("format: lines", "", &with, "x\ny\n", move |_, _| reply.clone());
        let (reason, may_pass) = failed(&mut world).await;
        assert_eq!(
            reason,
            format!("the request of the record at byte 0 was tried 3 times; the last time {why}")
        );
        assert!(may_pass);
        assert_eq!(world.objects.keys(WORK), Vec::<String>::new());
        drop(web);
    }
}

#[tokio::test(start_paused = true)]
async fn patience_beyond_the_stages_timeout_is_left_to_another_attempt() {
    let busy =
        Reply::Answer { status: 503, body: Bytes::new(), retry_after: Some("600".into()), after_ms: 0 };
    let with = format!("url: '{URL}', body: '{{record}}', {TEXT}");
    let (mut world, _) = world("format: lines", "", &with, "x\n", move |_, _| busy.clone());
    let (reason, may_pass) = failed(&mut world).await;
    assert!(
        reason
            .ends_with("was answered 503, and is to be made again in 600 s, when the attempt has 20 s left"),
        "{reason}"
    );
    assert!(may_pass);
}

#[tokio::test(start_paused = true)]
async fn a_request_has_its_timeout_and_a_chunk_has_the_stages() {
    let slow = |after_ms| Reply::Answer { status: 200, body: Bytes::new(), retry_after: None, after_ms };
    let with = format!("url: '{URL}', body: '{{record}}', {TEXT}, timeout: 1s, attempts: 2");
    let (mut one, _) = world("format: lines", "", &with, "x\n", move |_, _| slow(2_000));
    assert!(failed(&mut one).await.0.ends_with("the last time failed: no answer within 1000 ms"));
    let (mut many, web) = world("format: lines", "", &with, lines(1_000), move |_, _| slow(900));
    let (reason, may_pass) = failed(&mut many).await;
    assert!(
        reason.starts_with("176 requests were answered within the stage's timeout of 20000 ms"),
        "{reason}"
    );
    assert!(may_pass && web.requests().len() <= 184);
}

#[tokio::test(start_paused = true)]
async fn a_record_has_no_way_out_of_its_place() {
    let with = format!("url: '{URL}/{{record}}/y'");
    let (mut world, web) =
        world("format: lines", "", &with, "..\n.\na/../b\n\\..\\\n%2e%2e\n@evil\n\n", |_, _| Reply::ok("ok"));
    let outcome = world.finish(WHOLE).await.unwrap();
    let urls: Vec<String> = web.requests().iter().map(|(_, request)| request.url.clone()).collect();
    let expected =
        ["a%2F..%2Fb", "%5C..%5C", "%252e%252e", "%40evil", ""].map(|segment| format!("{URL}/{segment}/y"));
    assert_eq!(urls, expected);
    assert_eq!(bad(&outcome).iter().map(|bad| bad.offset).collect::<Vec<_>>(), [0, 3]);
}

#[tokio::test(start_paused = true)]
async fn what_is_too_long_is_bad_and_what_is_in_no_encoding_too() {
    let with = format!("url: '{URL}', body: '{{record}}', {TEXT}, max_answer: 1KiB");
    let long = "y".repeat(1_100);
    let source =
        [b"\xff\n".as_slice(), long.as_bytes(), b"\nok\n", "z".repeat(5 << 20).as_bytes(), b"\n"].concat();
    let (mut world, web) = world("format: lines", "", &with, source, echo);
    let outcome = world.finish(WHOLE).await.unwrap();
    assert_eq!(output(&outcome), "ok\n");
    let reasons: Vec<String> = bad(&outcome).into_iter().map(|bad| bad.reason).collect();
    assert_eq!(
        reasons,
        [
            "it is not in the source's encoding",
            "was answered 200 with more than 1024 bytes, which is max_answer",
            "5242880 bytes, and a request has at most 4194304"
        ]
    );
    assert_eq!(web.requests().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_column_that_is_not_there_fails_the_chunk_for_good() {
    let with = format!("url: '{URL}/{{column:c}}'");
    let (mut world, _) = world("format: csv, header: true", "", &with, "a,b\n1,2\n", echo);
    let (reason, may_pass) = failed(&mut world).await;
    assert_eq!(reason, "the header has 0 columns named \"c\", and {column:c} wants one of: a, b");
    assert!(!may_pass);
}

#[tokio::test(start_paused = true)]
async fn requests_keep_the_rate_their_repetitions_too() {
    // One in ten fails.
    let script = |request: &Request, number: usize| {
        if number % 10 == 9 { Reply::status(500) } else { echo(request, number) }
    };
    let with = format!("url: '{URL}', body: '{{record}}', {TEXT}");
    let (mut world, web) = world("format: lines", "rate: 20/s,", &with, lines(100), script);
    let outcome = world.finish(Split::Records(50)).await.unwrap();
    assert_eq!(output(&outcome), lines(100));
    let at: Vec<u64> = web.requests().iter().map(|(at, _)| at.ms_since(MEMORY_EPOCH)).collect();
    assert_eq!(at.len(), 111);
    let most = (0..at.len()).map(|i| at[i..].iter().filter(|later| **later < at[i] + 1_000).count()).max();
    assert!(most <= Some(22), "{most:?}");
    let took_ms = at[at.len() - 1] - at[0];
    assert!((5_000..6_500).contains(&took_ms), "{took_ms}");
}

const CHAINED: &str = "body: '{\"record\": {record}, \"before\": {previous:/sum}}', first: '{\"sum\": 0}'";

/// Adds what it is sent to what it answered before.
fn sum(request: &Request, _: usize) -> Reply {
    let asked: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
    let record: u64 = asked["record"].as_str().unwrap().parse().unwrap();
    if record == 13 {
        return Reply::status(400);
    }
    Reply::ok(format!("{{\"sum\": {}}}\n", record + asked["before"].as_u64().unwrap()))
}

#[tokio::test(start_paused = true)]
async fn in_a_sequential_stage_each_request_has_the_output_before_it() {
    let source = text((1..=30).map(|i| format!("{i}\n")));
    let mut sums = Vec::new();
    for split in [WHOLE, Split::Records(7), Split::Records(1)] {
        let with = format!("url: '{URL}', {CHAINED}");
        let (mut world, web) = world("format: lines", "order: sequential,", &with, source.clone(), sum);
        let outcome = world.finish(split).await.unwrap();
        assert_eq!(bad(&outcome).iter().map(|bad| bad.record).collect::<Vec<_>>(), [Some(13)]);
        assert_eq!(web.requests().len(), 30);
        sums.push(output(&outcome).to_owned());
    }
    assert!(sums[0].ends_with(&format!("{{\"sum\": {}}}\n", 30 * 31 / 2 - 13)), "{}", sums[0]);
    assert!(
        sums.iter().all(|other| *other == sums[0]),
        "whatever the chunks, and with an empty part between them"
    );
}

#[tokio::test(start_paused = true)]
async fn the_last_line_before_a_chunk_may_be_long() {
    let long = |request: &Request, _: usize| {
        let before = request.body.len();
        Reply::ok(if before < 2 { vec![b'a'; 300_000] } else { before.to_string().into_bytes() })
    };
    let with = format!("url: '{URL}', body: '{{previous}}', {TEXT}");
    let (mut world, _) = world("format: lines", "order: sequential,", &with, "1\n2\n3\n", long);
    let outcome = world.finish(Split::Records(1)).await.unwrap();
    assert_eq!(output(&outcome).lines().skip(1).collect::<Vec<_>>(), ["300000", "6"]);
}

#[tokio::test(start_paused = true)]
async fn what_follows_a_failed_chunk_fails_with_it() {
    for stage in [
        "process: http, order: sequential, with: {url: 'https://third.example/'}",
        "process: copy, order: sequential",
    ] {
        let mut world = World::new(pipeline("format: lines", stage), "a\nb\nc\n");
        let planned = world.plan(Split::Records(1)).await.unwrap();
        let error = world.attempt(planned.chunks[2], "a1").await.unwrap_err();
        let ChunkError::Permanent(failure) = error else { panic!("{error}") };
        assert_eq!(failure.reason, "chunk 1, which it follows in a sequential stage, has no part: it failed");
        let before = ObjectName::new(WORK, world.run.keys(&world.run.last_stage().name).part(ChunkIndex(1)));
        world.objects.insert(WORK, before.key, "a line\n");
        let again = world.attempt(planned.chunks[2], "a2").await;
        assert_eq!(again.is_ok(), stage.contains("copy"), "{again:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn whatever_the_chunks_the_output_is_that_of_one_pass(
        records in proptest::collection::vec("[a-z\"\\\\ü]{0,12}", 1..60),
        split in 1u64..20,
        at_once in 1u32..9,
        seed: usize,
    ) {
        let source = records.iter().fold(String::new(), |text, record| text + record + "\n");
        let with = format!("url: '{URL}/{{record}}', body: '{{\"r\": \"{{record}}\", \"id\": {{id}}}}', output: json, at_once: {at_once}");
        // Some are refused, whoever asks and however often; some fail at first.
        let script = move |request: &Request, number: usize| {
            let length = request.body.len();
            match (length + seed) % 7 {
                0 => Reply::status(404),
                1 if number.is_multiple_of(2) => Reply::status(503),
                _ => Reply::Answer { status: 200, body: request.body.clone(), retry_after: None, after_ms: (length as u64 * 31) % 90 },
            }
        };
        let run = |split: Split, with: String| {
            let source = source.clone();
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async move {
                let (mut world, _) = world("format: lines", "", &format!("{with}, attempts: 20"), source, script);
                world.finish(split).await.unwrap()
            })
        };
        let parallel = run(Split::Records(split), with.clone());
        let alone = run(WHOLE, with.replace(&format!("at_once: {at_once}"), "at_once: 1"));
        prop_assert_eq!(parallel, alone);
    }
}
