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
const LARGE_ROWS: usize = 5_000;

fn rows(count: usize) -> Vec<u8> {
    (0..count).flat_map(|number| format!("{number},row\n").into_bytes()).collect()
}

/// A file whose rows are a chunk each, uploaded while another one's are worked on, or alone. Queues keep their order,
/// and every service has as many invocations at once.
fn scenario(with_large: bool) -> Scenario {
    let mut pipeline = of_lines("{name: s, process: index}");
    pipeline.split = Split::Records(1);
    pipeline.stages[0].max_concurrency = 200;
    let mut acts = vec![(UPLOADED_MS, Act::UploadBeside { key: SMALL_KEY, bytes: rows(SMALL_ROWS) })];
    if with_large {
        acts.insert(0, (0, Act::Upload { bytes: rows(LARGE_ROWS), event_delays_ms: vec![0] }));
    }
    Scenario {
        pipeline,
        acts,
        group_chunks: 100,
        has_sweeper: false,
        concurrency: 16,
        call_ms: Some(5),
        is_in_order: true,
        ..Scenario::small(ScanLimits::DEFAULT)
    }
}

/// How long the small run took, and whether the large one outlived it.
async fn took_ms(with_large: bool) -> (u64, bool) {
    let driver = play(scenario(with_large), Faults::seeded(0, Rates::NONE), false).await;
    let driver = driver.unwrap_or_else(|wrong| panic!("{wrong}"));
    let record = lock(&driver.record);
    let small = record.runs.values().find(|run| run.source.object.key == SMALL_KEY).expect("it is there");
    let ended_ms = record.ended_at_ms[&small.id];
    let is_outlived = record.ended_at_ms.values().any(|other| *other > ended_ms);
    (ended_ms - UPLOADED_MS, is_outlived)
}

#[tokio::test(start_paused = true)]
async fn a_small_run_behind_a_large_one_takes_at_most_three_times_as_long_as_alone() {
    let (alone_ms, _) = took_ms(false).await;
    let (behind_ms, is_outlived) = took_ms(true).await;
    assert!(behind_ms <= 3 * alone_ms, "{behind_ms} ms behind the large run, {alone_ms} ms alone");
    assert!(is_outlived, "the large run was over before");
}
