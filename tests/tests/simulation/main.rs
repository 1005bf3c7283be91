//! The whole pipeline in one process: the handlers as they are deployed, over memory ports that fail, delay,
//! repeat, reorder and crash, in virtual time, as a seed has it.
//!
//! A failing test names its seed. To play it again, with every step told:
//!
//! ```text
//! FANFOLD_SIM_SEED=123 cargo test -p fanfold-tests --test simulation named_seeds -- --nocapture
//! ```

mod chance;
mod check;
mod directed;
mod driver;
mod fairness;
mod gate;
mod kube;
mod kube_ports;
mod maps;
mod orders;
mod ports;
mod rates;
mod record;
mod recorded;
mod requests;
mod scenario;
mod services;
mod shape;
mod skew;
mod source;
mod stages;
mod tally;
mod third_party;
mod triggers;
mod truth;
mod watch;

use std::fmt::Write;

use fanfold_engine::plan::{ScanLimits, Strides};
use fanfold_ports::memory::Faults;
use tokio::task::LocalSet;

use crate::{
    check::check,
    driver::Driver,
    ports::lock,
    scenario::{Legs, MapScenario, Scenario},
    tally::Tally,
};

/// Plays a scenario; what went wrong, with what a person needs to find out why.
async fn play(scenario: Scenario, faults: Faults, tells_all: bool) -> Result<Driver, String> {
    let mut driver = Driver::new(scenario, faults);
    let driven = LocalSet::new().run_until(driver.run()).await;
    let checked = match driven {
        Ok(()) => check(&driver).await,
        Err(wrong) => Err(wrong),
    };
    if tells_all {
        let record = lock(&driver.record);
        record.trace.iter().for_each(|line| eprintln!("{line}"));
    }
    checked.map_err(|wrong| report(&driver, &wrong))?;
    Ok(driver)
}

fn report(driver: &Driver, wrong: &str) -> String {
    let seed = driver.scenario.seed;
    let mut text = format!("seed {seed}: {wrong}\n");
    for dealt in driver.world.faults.dealt() {
        writeln!(text, "  {dealt}").expect("writing to a String cannot fail");
    }
    let command = "cargo test -p fanfold-tests --test simulation named_seeds -- --nocapture";
    write!(text, "replay it with\n  FANFOLD_SIM_SEED={seed} {command}")
        .expect("writing to a String cannot fail");
    text
}

fn play_seed(seed: u64, tells_all: bool) -> Result<Driver, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime needs nothing");
    runtime.block_on(async {
        let scenario = Scenario::of(seed);
        let faults = Faults::seeded(seed, scenario.rates);
        play(scenario, faults, tells_all).await
    })
}

/// Plays seeds from `first` on; panics with the first few that fail.
fn play_seeds(first: u64, count: u64) -> Tally {
    let mut tally = Tally::default();
    let mut wrong: Vec<String> = Vec::new();
    for seed in first..first + count {
        match play_seed(seed, false) {
            Ok(driver) => tally.add(&driver),
            Err(error) => wrong.push(error),
        }
    }
    let first_lines = wrong.iter().filter_map(|wrong| wrong.lines().next());
    let list = first_lines.collect::<Vec<_>>().join("\n");
    let first = wrong.first().map_or("", String::as_str);
    assert!(wrong.is_empty(), "{} of {count} seeds failed:\n{list}\n\n{first}", wrong.len());
    tally
}

#[test]
fn seeds_0_to_249_keep_every_promise() {
    play_seeds(0, 250).check();
}

#[test]
fn seeds_250_to_499_keep_every_promise() {
    play_seeds(250, 250).check();
}

#[test]
fn seeds_500_to_749_keep_every_promise() {
    play_seeds(500, 250).check();
}

#[test]
fn seeds_750_to_999_keep_every_promise() {
    play_seeds(750, 250).check();
}

/// Plays what `FANFOLD_SIM_SEED` names: one seed, with every step told, or seeds `from..to`.
#[test]
#[expect(clippy::disallowed_methods, reason = "a person names the seeds to be played again")]
fn named_seeds() {
    let Ok(named) = std::env::var("FANFOLD_SIM_SEED") else { return };
    let number = |text: &str| text.parse().expect("FANFOLD_SIM_SEED is a number, or two with .. between");
    if let Some((from, to)) = named.split_once("..") {
        let tally = play_seeds(number(from), number(to) - number(from));
        return eprintln!("{tally:#?}");
    }
    if let Err(wrong) = play_seed(number(&named), true) {
        panic!("{wrong}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_between_any_two_effects_is_healed() {
    crash_at_every_point(Scenario::small(ScanLimits::DEFAULT)).await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_between_any_two_effects_of_a_scan_by_workers_is_healed() {
    crash_at_every_point(Scenario::small(ScanLimits { alone_bytes: 0, range_bytes: 200 })).await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_of_a_splitter_that_plans_one_stride_an_invocation_is_healed() {
    let strides = Strides { ranges: 1, stretches: 1, ..Strides::DEFAULT };
    let small = Scenario::small(ScanLimits { alone_bytes: 0, range_bytes: 200 });
    crash_at_every_point(Scenario { legs: Legs { ms: Some(0), strides }, ..small }).await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_between_any_two_effects_on_clusters_is_healed() {
    crash_at_every_point(Scenario::small_on_clusters()).await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_between_any_two_effects_of_stages_is_healed() {
    crash_at_every_point(Scenario::small_in_stages()).await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_between_any_two_effects_of_requests_is_healed() {
    crash_at_every_point(Scenario::small_asking()).await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_between_any_two_effects_of_a_map_is_healed() {
    crash_at_every_point(Scenario::small_by_map(2, MapScenario::default())).await;
}

/// All but what its children had begun goes on by queues then.
#[tokio::test(start_paused = true)]
async fn a_crash_between_any_two_effects_of_what_follows_a_stopped_map_is_healed() {
    let stopped = MapScenario { stops_percent: 100, stops_within_ms: 10, ..MapScenario::default() };
    let calm = crash_at_every_point(Scenario::small_by_map(1, stopped)).await;
    let counts = &lock(&calm.record).counts;
    assert!(
        counts.contains_key("maps stopped") && counts.contains_key("chunks sent for a map"),
        "{counts:?}"
    );
}

/// The scenario as it goes without a crash.
async fn crash_at_every_point(scenario: Scenario) -> Driver {
    let calm = play(scenario.clone(), Faults::seeded(0, scenario.rates), false).await;
    let calm = calm.unwrap_or_else(|wrong| panic!("{wrong}"));
    for point in 0..calm.world.faults.points() {
        if let Err(wrong) = play(scenario.clone(), Faults::crash_at(point), false).await {
            panic!("crash at point {point}: {wrong}");
        }
    }
    calm
}
