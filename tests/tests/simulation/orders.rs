//! Stages whose chunks go one after another, where chunks fail and others hang.

use fanfold_domain::pipeline::{Split, Tolerance};
use fanfold_engine::plan::ScanLimits;
use fanfold_ports::memory::{Faults, Rates};

use crate::{
    play,
    ports::lock,
    scenario::{Act, Scenario, of_lines},
    third_party::{Carried, ThirdParty, asking},
};

const SEEDS: u64 = 100;

/// Chunks that have one try, whose messages come twice and late, and whose workers hang.
fn scenario(seed: u64) -> Scenario {
    let settings = "order: sequential, retry: {attempts: 1}, ";
    let stage = asking("s", 5, settings, Carried::SUM, "attempts: 1, timeout: 1s");
    let mut pipeline = of_lines(&format!("{{name: s, {stage}}}"));
    pipeline.split = Split::Records(2);
    pipeline.on_error.tolerate_failed_chunks = Tolerance::Percent(100);
    let bytes = (0..24).flat_map(|number| format!("record {number}\n").into_bytes()).collect();
    Scenario {
        seed,
        pipeline,
        acts: vec![(0, Act::Upload { bytes, event_delays_ms: vec![0] })],
        third_party: ThirdParty { troubles_percent: 6, answer_ms: 100 },
        doubles_percent: 60,
        delays_percent: 20,
        zombies_permille: 300,
        visibility_ms: 5_000,
        concurrency: 4,
        ..Scenario::small(ScanLimits::DEFAULT)
    }
}

#[tokio::test(start_paused = true)]
async fn what_follows_a_failed_chunk_fails_with_it_whoever_hangs() {
    let mut failed = 0;
    for seed in 0..SEEDS {
        let driver = play(scenario(seed), Faults::seeded(seed, Rates::NONE), false).await;
        let driver = driver.unwrap_or_else(|wrong| panic!("{wrong}"));
        let record = lock(&driver.record);
        failed += record.runs.values().filter_map(|run| run.sums).map(|sums| sums.failed_chunks).sum::<u64>();
    }
    assert!(failed > SEEDS, "only {failed} chunks failed");
}
