//! A large run does not starve a small one: how long a small file takes behind it, in virtual time.

use fanfold_domain::pipeline::Split;
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
