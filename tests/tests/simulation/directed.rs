//! What chance hardly gets to: writers that pause between their look and their write while others write, services that
//! are down for long, calls that half succeed, messages that are lost, stores that keep other bytes than they were sent.
//! Each is played at every point of a small run, in turn.

use std::time::Duration;

use fanfold_domain::{
    Run, RunState,
    pipeline::{Pipeline, Split, Tolerance},
};
use fanfold_engine::plan::ScanLimits;
use fanfold_ports::{
    Queue,
    memory::{Call, Faults, Released, Service},
};

use crate::{
    driver::Driver,
    play,
    ports::lock,
    scenario::{Act, Corrupts, Scenario, Sickness},
};

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;

/// The small run in chunks of one record, with calls that take a millisecond each, so that uploads can come in between.
fn small() -> Scenario {
    let mut small = Scenario { call_ms: Some(1), concurrency: 4, ..Scenario::small(ScanLimits::DEFAULT) };
    small.pipeline.split = Split::Records(1);
    small
}

fn upload(bytes: &[u8]) -> Act {
    Act::Upload { bytes: bytes.to_vec(), event_delays_ms: vec![0] }
}

fn source() -> Vec<u8> {
    match small().acts.remove(0).1 {
        Act::Upload { bytes, .. } => bytes,
        other => panic!("{other:?} is no upload"),
    }
}

/// The source with its last record once more.
fn longer_source() -> Vec<u8> {
    let source = source();
    let last = source[..source.len() - 1].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    [&source[..], &source[last..]].concat()
}

async fn played(scenario: &Scenario, faults: Faults, how: &str) -> Driver {
    play(scenario.clone(), faults, false).await.unwrap_or_else(|wrong| panic!("{how}: {wrong}"))
}

/// The calls that a play makes in which nothing goes wrong.
async fn calls(scenario: &Scenario) -> Vec<Call> {
    played(scenario, Faults::noted(), "calm").await.world.faults.made()
}

/// Whether a service makes a call.
fn is_of(call: &Call, service: &str) -> bool {
    call.invocation.starts_with(service)
}

/// Pauses invocations before each of their effects that is wanted, until others had one effect, two, and so on, and at
/// last until nothing else happens any more. Returns how often that was played.
async fn pause_before(
    scenario: &Scenario,
    wanted: impl Fn(&Call) -> bool,
    effects: impl Fn(&Call) -> Vec<u64>,
) -> usize {
    let mut plays = 0;
    for call in calls(scenario).await.into_iter().filter(|call| call.is_write && wanted(call)) {
        for effects in effects(&call) {
            let Call { number, invocation, operation, .. } = &call;
            let how = format!("{invocation} paused before call {number}, {operation}, for {effects} effects");
            let driver = played(scenario, Faults::hold_at(*number, effects), &how).await;
            plays += 1;
            if driver.world.faults.released() != Some(Released::ByEffects) {
                break;
            }
        }
    }
    plays
}

/// How many effects of others a paused invocation waits for: few of all that may be.
fn some(_: &Call) -> Vec<u64> {
    vec![1, 3, 9, 27, u64::MAX]
}

/// Each number of effects before what is shown at once, as an output is, and a few before anything else.
fn each_before_a_completion(call: &Call) -> Vec<u64> {
    if call.operation == "complete_upload" { (1..80).chain([u64::MAX]).collect() } else { some(call) }
}

#[tokio::test(start_paused = true)]
async fn a_pause_before_any_effect_does_no_harm() {
    let plays = pause_before(&small(), |call| !is_of(call, "merger"), some).await;
    assert!(plays > 100, "{plays}");
}

/// A merger's message comes again while it pauses: two assemblies of one run.
#[tokio::test(start_paused = true)]
async fn a_pause_of_the_merger_while_another_does_the_same_does_no_harm() {
    let plays = pause_before(&small(), |call| is_of(call, "merger"), each_before_a_completion).await;
    assert!(plays > 100, "{plays}");
}

/// Three uploads of one key. The run of the second pauses before each effect of its merger, and goes on before, between
/// and after all that the third's does.
async fn duel(third: &[u8], third_at_ms: u64) {
    let second_at_ms = 60 * SECOND;
    let acts =
        vec![(0, upload(&source())), (second_at_ms, upload(&longer_source())), (third_at_ms, upload(third))];
    let scenario = Scenario { acts, ..small() };
    let of_second = |call: &Call| {
        let at_ms = u64::try_from(call.at.as_millis()).expect("small");
        (second_at_ms..third_at_ms).contains(&at_ms) && is_of(call, "merger")
    };
    let plays = pause_before(&scenario, of_second, each_before_a_completion).await;
    assert!(plays > 100, "{plays}");
}

#[tokio::test(start_paused = true)]
async fn a_merger_that_pauses_while_a_newer_run_publishes_overwrites_nothing() {
    let other = source().to_ascii_uppercase();
    duel(&other, 62 * SECOND).await;
}

/// What the merger saw under the output's name is there again, with the same entity tag.
#[tokio::test(start_paused = true)]
async fn a_merger_that_pauses_while_a_newer_run_publishes_what_it_had_seen_overwrites_nothing() {
    duel(&source(), 62 * SECOND).await;
}

/// The templates of an output's key and of that of its bad records.
type Keys = (&'static str, &'static str);

fn with_keys(mut pipeline: Pipeline, (output, errors): Keys) -> Pipeline {
    let template = |text: &str| text.parse().expect("it is a template");
    (pipeline.merge.key, pipeline.merge.errors_key) = (template(output), template(errors));
    pipeline
}

/// A pipeline like the small run's, of another prefix.
fn beside() -> Pipeline {
    let mut document = small().pipeline.to_document();
    document["pipeline"] = "q".into();
    document["source"]["prefix"] = "also/".into();
    let mut beside = Pipeline::from_value(&document).expect("it is a pipeline");
    beside.split = small().pipeline.split;
    beside
}

/// An upload for the small run's pipeline, one for another, and one for the first again. What `also/{key}` of the first is,
/// is `{key}` of the other. Mergers of the second pause.
async fn side_by_side(first: Keys, other: Keys) {
    let second_at_ms = 60 * SECOND;
    let second = Act::UploadBeside { key: "also/in/a file.csv", bytes: longer_source() };
    let acts = vec![(0, upload(&source())), (second_at_ms, second), (62 * SECOND, upload(&source()))];
    let pipeline = with_keys(small().pipeline, first);
    let scenario = Scenario { pipeline, acts, others: vec![with_keys(beside(), other)], ..small() };
    let of_second = |call: &Call| {
        call.at >= Duration::from_mins(1) && call.at < Duration::from_secs(62) && is_of(call, "merger")
    };
    let plays = pause_before(&scenario, of_second, some).await;
    assert!(plays > 20, "{plays}");
}

#[tokio::test(start_paused = true)]
async fn two_pipelines_with_one_output_overwrite_nothing_that_is_newer() {
    side_by_side(("also/{key}_Output", "{key}_Errors"), ("{key}_Output", "{key}_Errors")).await;
}

#[tokio::test(start_paused = true)]
async fn two_pipelines_with_one_list_of_bad_records_leave_each_other_s_alone() {
    side_by_side(("{key}_Output", "also/{key}_Errors"), ("{key}_Output", "{key}_Errors")).await;
}

/// Two uploads, the second while the first one's run is under way. The splitter of the newer pauses before each of its
/// effects: it may have taken the output, and not superseded the run that has it taken from.
#[tokio::test(start_paused = true)]
async fn a_splitter_that_pauses_between_taking_an_output_and_what_follows_does_no_harm() {
    let alone = calls(&small()).await;
    let merger = alone.iter().find(|call| is_of(call, "merger")).expect("it is merged");
    let second_at_ms = u64::try_from(merger.at.as_millis()).expect("small").saturating_sub(15);
    let acts = vec![(0, upload(&source())), (second_at_ms, upload(&longer_source()))];
    let scenario = Scenario { acts, ..small() };
    let of_second = |call: &Call| {
        call.at >= Duration::from_millis(second_at_ms)
            && is_of(call, "splitter")
            && !is_of(call, "splitter 1 ")
    };
    let plays = pause_before(&scenario, of_second, |_| (1..16).chain([u64::MAX]).collect()).await;
    assert!(plays > 100, "{plays}");
}

/// One call fails; of what is sent, written or removed together, one was accepted before.
#[tokio::test(start_paused = true)]
async fn a_call_that_fails_or_half_succeeds_is_made_good() {
    for call in calls(&small()).await {
        let is_batch = matches!(call.operation, "send" | "put rows" | "delete" | "put_events");
        for accepted in 0..=usize::from(is_batch) {
            let how = format!("call {}, {}, fails after {accepted}", call.number, call.operation);
            played(&small(), Faults::fail_at(call.number, accepted), &how).await;
        }
    }
}

/// A service answers nothing for half an hour, or every second call, from any effect of a run on. The longest that a
/// message is delivered again and again is less.
#[tokio::test(start_paused = true)]
async fn a_service_that_is_down_or_throttles_for_long_loses_nothing_silently() {
    let effects: Vec<Call> = calls(&small()).await.into_iter().filter(|call| call.is_write).collect();
    for service in [Service::S3, Service::Sqs, Service::DynamoDb, Service::EventBridge] {
        let mut published = 0;
        for (place, call) in effects.iter().enumerate() {
            let how = format!("{service:?} fails from call {} on, {}", call.number, call.operation);
            let outage = Duration::from_mins(30);
            let is_down = place % 2 == 0;
            let fails: fn(Service, u64, Duration) -> Faults =
                if is_down { Faults::down_from } else { Faults::throttled_from };
            let driver = played(&small(), fails(service, call.number, outage), &how).await;
            published += lock(&driver.record).published.len();
        }
        assert!(published > 0, "{service:?}: none of the runs came to anything");
    }
}

/// Of the messages that a sweep sends again, each is lost once.
#[tokio::test(start_paused = true)]
async fn a_lost_message_is_made_good_by_a_sweep() {
    let scan = ScanLimits { alone_bytes: 0, range_bytes: 200 };
    let staged = Scenario::small_in_stages();
    for scenario in [small(), Scenario::small(scan), staged] {
        for lost in 0.. {
            let scenario = Scenario { loses: Some(lost), ..scenario.clone() };
            let driver = played(&scenario, Faults::none(), &format!("message {lost} is lost")).await;
            let record = lock(&driver.record);
            if !record.counts.contains_key("messages lost") {
                assert!(lost >= 3, "only {lost} messages");
                break;
            }
            assert!(record.runs.values().all(has_succeeded), "message {lost} is lost: {:?}", record.runs);
        }
    }
}

fn has_succeeded(run: &Run) -> bool {
    matches!(run.state, RunState::Succeeded | RunState::SucceededPartial)
}

/// Any one chunk of a window of two fails, and all others are done.
#[tokio::test(start_paused = true)]
async fn a_chunk_that_fails_releases_the_others() {
    let calm = played(&small(), Faults::none(), "calm").await;
    let plan = lock(&calm.record).runs.values().find_map(|run| run.plan.clone()).expect("it is planned");
    let (chunks, window) = (plan.grouping.chunks, small().pipeline.stages[0].max_concurrency);
    assert!(chunks > window, "{chunks} chunks in a window of {window}");
    for sickness in [Sickness::Unreadable, Sickness::Dies { at_call: 3 }] {
        for sick in 0..chunks {
            let mut scenario = Scenario { sick_chunk: Some((sick, sickness)), ..small() };
            scenario.pipeline.on_error.tolerate_failed_chunks = Tolerance::Percent(100);
            let driver = played(&scenario, Faults::none(), &format!("chunk {sick}: {sickness:?}")).await;
            let record = lock(&driver.record);
            let run = record.runs.values().next().expect("there is one");
            assert_eq!(run.state, RunState::SucceededPartial, "{:?}", run.reason);
            assert_eq!(run.sums.map(|sums| sums.failed_chunks), Some(1));
        }
    }
}

/// A store that keeps other bytes than it was sent is found out before anything is published.
#[tokio::test(start_paused = true)]
async fn what_is_stored_otherwise_than_it_was_sent_is_not_published() {
    let kinds: [fn(usize) -> Corrupts; 2] = [Corrupts::UploadPart, Corrupts::Group];
    for kind in kinds {
        for at in 0.. {
            let scenario = Scenario { corrupts: Some(kind(at)), ..small() };
            let driver = played(&scenario, Faults::none(), &format!("{:?}", kind(at))).await;
            if !lock(&driver.record).counts.contains_key("bytes changed") {
                assert!(at > 0, "nothing was changed");
                break;
            }
        }
    }
}

/// A merger dies at any point, and no message reaches another until the run is past its deadline: then the output that it
/// published, if it did, says how the run ended.
#[tokio::test(start_paused = true)]
async fn a_run_is_not_given_up_that_has_published() {
    let mut scenario = small();
    scenario.pipeline.deadline_ms = 20 * MINUTE;
    scenario.acts.push((SECOND, Act::Outage { queue: Queue::Folds, ms: 61 * MINUTE }));
    let mut succeeded = 0;
    let calls = calls(&scenario).await.into_iter();
    for call in
        calls.filter(|call| call.is_write && call.at < Duration::from_secs(1) && is_of(call, "merger"))
    {
        for point in [2 * call.number, 2 * call.number + 1] {
            let how = format!("{} died at point {point}, {}", call.invocation, call.operation);
            let driver = played(&scenario, Faults::crash_at(point), &how).await;
            succeeded += lock(&driver.record).runs.values().filter(|run| has_succeeded(run)).count();
        }
    }
    assert!(succeeded > 0, "none had published");
}

/// Lists of runs and other eventual reads that are far behind.
#[tokio::test(start_paused = true)]
async fn reads_that_lag_far_behind_hide_nothing_for_good() {
    let scenario = Scenario { lagging_reads: 20, ..small() };
    for call in calls(&scenario).await.into_iter().filter(|call| call.is_write) {
        played(
            &scenario,
            Faults::crash_at(2 * call.number + 1),
            &format!("crash after call {}", call.number),
        )
        .await;
    }
}
