//! Making a recording: small scenarios are cut at every point between two effects, and as many snapshots are kept as it
//! takes to have everything that there is.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use fanfold_domain::{
    Timestamp,
    message::{ChunkMessage, decode, encode},
    pipeline::{FanOut, Pipeline, Schedule, Split, Times, Tolerance},
};
use fanfold_engine::plan::ScanLimits;
use fanfold_ports::{Ledger as _, clusters::ClusterFault, memory::Faults};
use serde_json::Value;
use tokio::task::LocalSet;

use super::{finished, kinds::kinds, virtually};
use crate::{
    driver::{Cut, Driver},
    scenario::{Act, KEY, MapScenario, Scenario, Sickness, of_lines},
    shape,
};

/// A scenario is cut after so many turns of its driver at most.
const MOST_TURNS: u64 = 400;
/// Of the points between two effects, each so-manieth of most scenarios: a prime, so that points before and after an effect come up.
const STEP: u64 = 7;

/// What is recorded, each under its name.
fn scenarios() -> Vec<(&'static str, Scenario)> {
    let small = || Scenario::small(ScanLimits::DEFAULT);
    let sick = |sickness, tolerated| {
        let mut sick = Scenario { sick_chunk: Some((1, sickness)), ..small() };
        sick.pipeline.on_error.tolerate_failed_chunks = Tolerance::Count(tolerated);
        sick
    };
    let Act::Upload { bytes, .. } = small().acts[0].1.clone() else { unreachable!("it uploads") };
    let upload = |bytes: &[u8]| Act::Upload { bytes: bytes.to_vec(), event_delays_ms: vec![0] };
    let other = [&bytes[..], &bytes[bytes.len() - 60..]].concat();
    let mut spoiled = small();
    spoiled.pipeline.on_error.max_bad_records = 0;
    let mut ticking = small();
    ticking.pipeline.schedule = Some(Schedule {
        times: Times::Rate("1 minute".parse().expect("a rate")),
        object: Some(KEY.to_owned()),
    });
    ticking.acts.push((1, Act::Tick { scheduled_at: "2026-01-01T00:00:00Z".to_owned(), times: 2 }));
    let mut outage = Scenario::small_on_clusters();
    outage.acts.push((
        0,
        Act::ClusterFails { cluster: 0, fault: ClusterFault::Refused, ms: 180_000, loses_pods: false },
    ));
    let lines = |source: &str| {
        let mut pipeline = of_lines("{name: s, process: copy}");
        let text = pipeline.to_document();
        let mut document = text.clone();
        document["source"] = serde_json::from_str(source).expect("it is JSON");
        if source.contains("items") {
            document["plan"] = serde_json::json!({"command": ["./no-such-program"]});
        }
        pipeline = Pipeline::from_value(&document).unwrap_or_else(|error| panic!("{document}: {error}"));
        pipeline.split = Split::Records(2);
        pipeline.stages[0].max_concurrency = 2;
        let acts = vec![(0, Act::Submit { idempotency_key: "one".to_owned(), times: 2 })];
        Scenario { pipeline, acts, ..small() }
    };
    let chance = crate::chance::Chance::of(1, "recorded");
    let stopped = MapScenario { stops_percent: 100, stops_within_ms: 10, ..MapScenario::default() };
    let mut express = Scenario::small_by_map(1, MapScenario::default());
    express.pipeline.stages[0].timeout_ms = 10_000;
    let mut launched = Scenario { map: Some(MapScenario::default()), ..Scenario::small_on_clusters() };
    launched.pipeline.fan_out = FanOut::Map { batch: None };
    let slowly = |scenario: Scenario| Scenario { call_ms: Some(5), ..scenario };
    vec![
        ("object", small()),
        ("scan", Scenario::small(ScanLimits { alone_bytes: 0, range_bytes: 200 })),
        ("stages", Scenario::small_in_stages()),
        ("requests", Scenario::small_asking()),
        ("clusters", Scenario::small_on_clusters()),
        ("map", Scenario::small_by_map(2, MapScenario::default())),
        ("express", express),
        ("launched-map", launched),
        ("stopped-map", Scenario::small_by_map(1, stopped)),
        (
            "dying-child",
            Scenario {
                sick_chunk: Some((1, Sickness::Dies { at_call: 3 })),
                ..Scenario::small_by_map(1, MapScenario::default())
            },
        ),
        ("outage", outage),
        (
            "newer",
            slowly(Scenario {
                is_versioned: false,
                acts: vec![(0, upload(&bytes)), (60, upload(&other))],
                ..small()
            }),
        ),
        ("partial", slowly(sick(Sickness::Unreadable, 1))),
        ("failed", slowly(sick(Sickness::Unreadable, 0))),
        ("dead-chunk", slowly(sick(Sickness::Dies { at_call: 3 }, 1))),
        ("spoiled", slowly(spoiled)),
        ("cancelled", slowly(Scenario { acts: vec![(0, upload(&bytes)), (90, Act::Cancel)], ..small() })),
        ("ticking", ticking),
        (
            "objects",
            Scenario {
                objects: shape::objects(&chance),
                ..lines(r#"{"prefix": "in/", "suffix": ".txt", "format": "objects"}"#)
            },
        ),
        ("items", Scenario { items: Some(shape::items(&chance)), ..lines(r#"{"items": "plan"}"#) }),
    ]
}

/// The world of a scenario, cut there; none if it was over before.
async fn cut(scenario: Scenario, faults: Faults, cut: Cut) -> Option<Value> {
    let mut driver = Driver::new(Scenario { has_sweeper: true, ..scenario }, faults);
    // As a stack has it whose pipelines are applied to its table.
    driver.world.ledger.put_pipeline(&driver.scenario.pipeline).await.expect("memory does not fail");
    driver.cut = Some(cut);
    LocalSet::new().run_until(driver.run()).await.expect("it is driven");
    // A worker that dies by itself is no cut.
    let was_cut = driver.was_cut() && (cut != Cut::AtCrash || !driver.world.faults.dealt().is_empty());
    if was_cut { Some(driver.snapshot().await) } else { None }
}

/// The same world, but that whoever was asked told the first chunk on its way to come back in twenty minutes. No third party
/// of a simulation says that.
fn waiting(snapshot: &Value) -> Option<Value> {
    let mut waiting = snapshot.clone();
    let at = fanfold_ports::memory::MEMORY_EPOCH.0 + snapshot["at_ms"].as_u64()? + 20 * 60_000;
    let messages = waiting["messages"].as_array_mut()?;
    let message = messages.iter_mut().find(|message| message["queue"] == "chunks")?;
    let chunk: ChunkMessage = decode(message["body"].as_str()?).ok()?;
    message["body"] = encode(&ChunkMessage { not_before: Some(Timestamp(at)), ..chunk }).into();
    Some(waiting)
}

/// Snapshots by what they have, one of each.
type Found = BTreeMap<BTreeSet<String>, (&'static str, Value)>;

/// The worlds of all scenarios, cut all over.
fn found() -> Found {
    let mut found = Found::new();
    for (name, scenario) in scenarios() {
        let mut keep = |snapshot: Value| {
            if let Some(waiting) = waiting(&snapshot) {
                found.entry(kinds(&waiting)).or_insert((name, waiting));
            }
            found.entry(kinds(&snapshot)).or_insert((name, snapshot));
        };
        let mut crashed = 0;
        while let Some(snapshot) = virtually(cut(scenario.clone(), Faults::crash_at(crashed), Cut::AtCrash)) {
            keep(snapshot);
            crashed += if matches!(name, "object" | "newer") { 1 } else { STEP };
        }
        let cut_at = |turn| virtually(cut(scenario.clone(), Faults::none(), Cut::AtTurn(turn)));
        let snapshots = (0..MOST_TURNS).step_by(2).map_while(cut_at);
        snapshots.for_each(keep);
        eprintln!("{name}: cut at {crashed} points");
    }
    found
}

/// Of all that was found, keeps the snapshot that has the most of what those have not that were kept before, as long as
/// there is any.
fn record(folder: &Path) {
    let mut found = found();
    let mut numbers: BTreeMap<&str, u32> = BTreeMap::new();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    while let Some((has, (name, mut snapshot))) = {
        found.retain(|has, _| !has.is_subset(&seen));
        let best = found.keys().max_by_key(|has| has.difference(&seen).count()).cloned();
        best.and_then(|best| found.remove_entry(&best))
    } {
        snapshot["finished"] =
            virtually(finished(&snapshot)).unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
        let number = numbers.entry(name).or_default();
        *number += 1;
        let text = serde_json::to_string_pretty(&snapshot).expect("it is JSON");
        fs::write(folder.join(format!("{name}-{number}.json")), format!("{text}\n"))
            .expect("it can be written");
        seen.extend(has);
    }
    for kind in &seen {
        eprintln!("{kind}");
    }
}

/// Does nothing unless a person names a folder for it.
#[test]
#[expect(clippy::disallowed_methods, reason = "a person names where a recording is to be")]
fn a_recording_is_made() {
    if let Ok(folder) = std::env::var("FANFOLD_SIM_RECORD") {
        fs::create_dir_all(&folder).expect("it can be made");
        record(Path::new(&folder));
    }
}
