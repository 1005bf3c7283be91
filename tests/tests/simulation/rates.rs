//! A rate over all workers together: never passed, and nearly all of it used where there is enough to ask.

use fanfold_domain::{Destination, Rate, RunState, pace::HORIZON_US, pipeline::Split};
use fanfold_engine::plan::ScanLimits;
use fanfold_ports::memory::{Faults, Rates};

use crate::{
    play,
    ports::lock,
    scenario::{Act, HARSH, Scenario, of_lines},
    third_party::{Carried, ThirdParty, asking},
};

/// The first rate, and those that follow it, each from how many milliseconds on.
const FIRST: &str = "40/s";
const CHANGES: [(u64, &str); 2] = [(8_000, "10/s"), (16_000, "100/s")];
/// When a rate that was set is that of all slots.
const IN_FORCE_MS: u64 = HORIZON_US / 1_000 + 300;

/// A run of so many records, ten a chunk, at rates that change so.
fn scenario(seed: u64, records: usize, changes: &[(u64, &str)]) -> Scenario {
    let small = Scenario::small(ScanLimits::DEFAULT);
    let settings = format!("rate: {FIRST}, max_concurrency: 8, retry: {{attempts: 9}}, ");
    let stage = asking("s", 0, &settings, Carried::NONE, "attempts: 9");
    let mut pipeline = of_lines(&format!("{{name: s, {stage}}}"));
    pipeline.split = Split::Records(10);
    let bytes = (0..records).flat_map(|number| format!("record {number}\n").into_bytes()).collect();
    let mut acts = vec![(0, Act::Upload { bytes, event_delays_ms: vec![0] })];
    let change = |(at, rate): &(u64, &str)| {
        (*at, Act::Rate { destination: Destination::of_stage("p", "s"), rate: rate_of(rate) })
    };
    acts.extend(changes.iter().map(change));
    let third_party = ThirdParty { troubles_percent: 0, answer_ms: 60 };
    Scenario { seed, pipeline, acts, third_party, call_ms: Some(5), concurrency: 8, ..small }
}

fn rate_of(text: &str) -> Rate {
    text.parse().expect("it is a rate")
}

/// Each rate, from when on all have it, and until when.
fn periods() -> [(u64, u64, Rate); 3] {
    let [(first, slow), (second, fast)] = CHANGES;
    [
        (1_500, first, rate_of(FIRST)),
        (first + IN_FORCE_MS, second, rate_of(slow)),
        (second + IN_FORCE_MS, second + IN_FORCE_MS + 5_000, rate_of(fast)),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_rate_is_used_and_never_passed_while_it_changes() {
    for seed in 0..5 {
        let scenario = scenario(seed, 1_300, &CHANGES);
        let driver = play(scenario, Faults::seeded(seed, Rates::NONE), false).await;
        let driver = driver.unwrap_or_else(|wrong| panic!("{wrong}"));
        let record = lock(&driver.record);
        for (from, to, rate) in periods() {
            let asked = record.asked.iter().filter(|asked| (from..to).contains(&asked.at_ms)).count() as u64;
            let percent = asked * rate.interval_us() * 100 / ((to - from) * 1_000);
            assert!(percent >= 90, "seed {seed}: {percent} % of {rate} used from {from} ms to {to} ms");
        }
    }
}

/// What a worker holds when it dies is lost; nobody makes up for it.
#[tokio::test(start_paused = true)]
async fn a_rate_is_never_passed_whatever_fails_while_it_changes() {
    let changes: Vec<_> =
        (8_000..300_000).step_by(8_000).zip(["100/s", "10/s", "25/s"].into_iter().cycle()).collect();
    let mut asked = 0;
    for seed in 0..10 {
        let scenario = Scenario {
            rates: HARSH,
            third_party: ThirdParty { troubles_percent: 20, answer_ms: 60 },
            doubles_percent: 20,
            zombies_permille: 50,
            calm_at_ms: 300_000,
            visibility_ms: 15_000,
            call_ms: None,
            ..scenario(seed, 400, &changes)
        };
        let driver = play(scenario, Faults::seeded(seed, HARSH), false).await;
        let driver = driver.unwrap_or_else(|wrong| panic!("{wrong}"));
        asked += lock(&driver.record).asked.len();
    }
    assert!(asked > 4_000, "hardly any of {asked} requests was made again");
}

/// Each answer of AWS tells a machine the time to a second, and several to less.
#[tokio::test(start_paused = true)]
async fn a_rate_is_used_and_passed_by_no_more_than_the_bound_whatever_the_clocks_say() {
    for (seed, skew_ms) in [2_000, 30_000, 300_000].into_iter().cycle().enumerate().take(6) {
        let seed = seed as u64;
        let scenario = Scenario { skew_ms, ..scenario(seed, 600, &[]) };
        let driver = play(scenario, Faults::seeded(seed, Rates::NONE), false).await;
        let driver = driver.unwrap_or_else(|wrong| panic!("{skew_ms} ms: {wrong}"));
        let record = lock(&driver.record);
        let ends: Vec<_> = record.runs.values().map(|run| (run.state, run.reason.clone())).collect();
        assert_eq!(ends, [(RunState::Succeeded, None)], "seed {seed}, {skew_ms} ms");
        assert_eq!(record.asked.len(), 600, "seed {seed}, {skew_ms} ms: some were asked twice");
        let took_ms = record.asked.iter().map(|asked| asked.at_ms).max().unwrap_or(0);
        assert!(took_ms < 25_000, "seed {seed}, {skew_ms} ms: {took_ms} ms for what 15 s are enough for");
    }
}
