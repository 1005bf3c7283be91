//! Nobody waits behind another: a small file behind a large run, nor a stage behind the one that it reads, in virtual
//! time.

use fanfold_domain::{ChunkIndex, pipeline::Split};
use fanfold_engine::plan::ScanLimits;
use fanfold_ports::memory::{Faults, Rates};

use crate::{
    play,
    ports::lock,
    scenario::{Act, Scenario, of_lines},
};

const SMALL_KEY: &str = "in/small.csv";
/// When the small file is uploaded, in milliseconds from the start: the large run is under way then.
const UPLOADED_MS: u64 = 5_000;
const SMALL_ROWS: usize = 200;
const LARGE_ROWS: usize = 10_000;
const FEWER_ROWS: usize = 2_000;
/// Seeds of which the median counts, where calls fail: what is to be delivered again takes its time, in one as in the other.
const SEEDS: u64 = 3;
/// Some calls fail, and some invocations die.
const FAULTS: Rates = Rates { transient: 3, lost_answer: 1, crash_after: 1, ..Rates::NONE };

fn rows(count: usize) -> Vec<u8> {
    (0..count).flat_map(|number| format!("{number},row\n").into_bytes()).collect()
}

/// A file whose rows are a chunk each, uploaded while another one's are worked on, or alone. Queues keep their order,
/// and every service has as many invocations at once.
fn scenario(large_rows: usize, is_faulty: bool) -> Scenario {
    let mut pipeline = of_lines("{name: s, process: index}");
    pipeline.split = Split::Records(1);
    pipeline.stages[0].max_concurrency = 200;
    let mut acts = vec![(UPLOADED_MS, Act::UploadBeside { key: SMALL_KEY, bytes: rows(SMALL_ROWS) })];
    if large_rows > 0 {
        acts.insert(0, (0, Act::Upload { bytes: rows(large_rows), event_delays_ms: vec![0] }));
    }
    Scenario {
        pipeline,
        acts,
        group_chunks: 100,
        has_sweeper: false,
        concurrency: 16,
        call_ms: Some(5),
        is_in_order: true,
        rates: if is_faulty { FAULTS } else { Rates::NONE },
        doubles_percent: if is_faulty { 10 } else { 0 },
        visibility_ms: 2_000,
        ..Scenario::small(ScanLimits::DEFAULT)
    }
}

/// How long the small run took, and whether the large one outlived it.
async fn took_ms(large_rows: usize, is_faulty: bool, seed: u64) -> (u64, bool) {
    let scenario = scenario(large_rows, is_faulty);
    let faults = Faults::seeded(seed, scenario.rates);
    let driver = play(Scenario { seed, ..scenario }, faults, false).await;
    let driver = driver.unwrap_or_else(|wrong| panic!("{wrong}"));
    let record = lock(&driver.record);
    let small = record.runs.values().find(|run| run.source.object.key == SMALL_KEY).expect("it is there");
    let ended_ms = record.ended_at_ms[&small.id];
    let is_outlived = record.ended_at_ms.values().any(|other| *other > ended_ms);
    (ended_ms - UPLOADED_MS, is_outlived)
}

#[tokio::test(start_paused = true)]
async fn a_small_run_behind_a_large_one_takes_at_most_three_times_as_long_as_alone() {
    let (alone_ms, _) = took_ms(0, false, 0).await;
    let (behind_ms, is_outlived) = took_ms(LARGE_ROWS, false, 0).await;
    assert!(behind_ms <= 3 * alone_ms, "{behind_ms} ms behind the large run, {alone_ms} ms alone");
    assert!(is_outlived, "the large run was over before");
}

#[tokio::test(start_paused = true)]
async fn so_it_does_where_calls_fail_and_messages_come_twice() {
    let (mut alone, mut behind) = (Vec::new(), Vec::new());
    for seed in 0..SEEDS {
        alone.push(took_ms(0, true, seed).await.0);
        behind.push(took_ms(FEWER_ROWS, true, seed).await.0);
    }
    let [alone_ms, behind_ms] = [&mut alone, &mut behind].map(|times| {
        times.sort_unstable();
        times[times.len() / 2]
    });
    assert!(behind_ms <= 3 * alone_ms, "{behind:?} ms behind the large run, {alone:?} ms alone");
}

/// As many workers as a stack has unless it is told otherwise.
const WORKERS: usize = 200;
const STAGED_ROWS: usize = 800;

/// How long chunks of three stages, each of which reads the one before, take from the part that they read to their own,
/// in milliseconds, one after another in order. `window` is each stage's.
async fn waits_ms(rows_count: usize, window: &str) -> Vec<u64> {
    let stage = |name: &str, more: &str| format!("{{name: {name}, process: copy{more}{window}}}");
    let stages =
        [stage("a", ""), stage("b", ", depends: n_to_n"), stage("c", ", depends: n_to_n")].join(", ");
    let mut pipeline = of_lines(&stages);
    pipeline.split = Split::Records(1);
    let scenario = Scenario {
        pipeline,
        acts: vec![(0, Act::Upload { bytes: rows(rows_count), event_delays_ms: vec![0] })],
        group_chunks: 100,
        has_sweeper: false,
        concurrency: WORKERS,
        call_ms: Some(5),
        is_in_order: true,
        ..Scenario::small(ScanLimits::DEFAULT)
    };
    let faults = Faults::seeded(scenario.seed, scenario.rates);
    let driver = play(scenario, faults, false).await.unwrap_or_else(|wrong| panic!("{wrong}"));
    let record = lock(&driver.record);
    let run = record.runs.values().next().expect("it is there");
    let created_ms = |stage: &str, chunk: u32| record.created_at_ms[&run.keys(stage).part(ChunkIndex(chunk))];
    let chunks = 0..u32::try_from(rows_count).expect("it is small");
    let mut waits: Vec<u64> = chunks
        .flat_map(|chunk| {
            [("a", "b"), ("b", "c")].map(|(read, by)| created_ms(by, chunk) - created_ms(read, chunk))
        })
        .collect();
    waits.sort_unstable();
    waits
}

#[tokio::test(start_paused = true)]
async fn a_stage_with_the_default_window_does_not_queue_behind_the_one_that_it_reads() {
    let median = |waits: Vec<u64>| waits[waits.len() / 2];
    let alone_ms = median(waits_ms(1, "").await);
    let shared_ms = median(waits_ms(STAGED_ROWS, "").await);
    let crowded_ms = median(waits_ms(STAGED_ROWS, ", max_concurrency: 200").await);
    assert!(shared_ms <= 2 * alone_ms, "{shared_ms} ms in a crowd of chunks, {alone_ms} ms alone");
    assert!(
        crowded_ms > 2 * shared_ms,
        "{crowded_ms} ms where each stage may take all workers: nothing is tried"
    );
}
