//! The state machine's definition against the rules that the programs go by.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use fanfold_domain::{
    Generation, Origin, RunId, Timestamp,
    map::{
        BatchMessage, Children, EXPRESS_TRY_MS, ExecutionName, INVOCATIONS, MapInput, PERMANENT, TRANSIENT,
        WAITS_MS, is_to_blame,
    },
    message::{LaunchMessage, encode},
    pipeline::Pipeline,
};
use fanfold_ports::contract::sample_run;
use serde_json::{Value, json};

fn definition() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../services/splitter/map.asl.json");
    serde_json::from_str(&fs::read_to_string(path).expect("there is a definition")).expect("it is JSON")
}

/// The Maps by what chooses them.
fn maps() -> BTreeMap<String, Value> {
    let definition = definition();
    let choices = definition["States"]["Children"]["Choices"].as_array().expect("a list").clone();
    choices
        .iter()
        .map(|choice| {
            let name = choice["Next"].as_str().expect("a state's name");
            let children = choice["StringEquals"].as_str().expect("a word");
            (children.to_owned(), definition["States"][name].clone())
        })
        .collect()
}

/// The state in which a child invokes its function.
fn task(map: &Value) -> &Value {
    let processor = &map["ItemProcessor"];
    &processor["States"][processor["StartAt"].as_str().expect("a state's name")]
}

fn input() -> Value {
    let run = sample_run("mapped", Timestamp(0));
    serde_json::to_value(MapInput::new(&run, run.first_stage(), "work", 3, 2)).expect("it is JSON")
}

/// Every path into a state's input that stands in these states, but what a Catch adds.
fn paths(node: &Value, found: &mut BTreeSet<String>) {
    match node {
        Value::String(text) => {
            if let Some(field) = text.strip_prefix("$.").and_then(|path| path.split('.').next())
                && field != "failed"
            {
                found.insert(field.to_owned());
            }
        }
        Value::Array(items) => items.iter().for_each(|item| paths(item, found)),
        Value::Object(fields) => fields.values().for_each(|value| paths(value, found)),
        _ => {}
    }
}

#[test]
fn there_is_a_map_for_each_kind_of_children() {
    let kinds =
        [(Children::Express, "EXPRESS"), (Children::Standard, "STANDARD"), (Children::Launches, "STANDARD")];
    let maps = maps();
    assert_eq!(maps.len(), kinds.len());
    for (children, execution) in kinds {
        let word = json!(children);
        let map = &maps[word.as_str().expect("a word")];
        let config = &map["ItemProcessor"]["ProcessorConfig"];
        assert_eq!((&config["Mode"], &config["ExecutionType"]), (&json!("DISTRIBUTED"), &json!(execution)));
        // What the local AWS leaves out without a word.
        let text = map.to_string();
        assert!(["ItemBatcher", "ResultWriter", "Heartbeat"].iter().all(|word| !text.contains(word)));
    }
}

#[test]
fn every_try_of_an_express_child_fits_into_its_time() {
    let maps = maps();
    let express = task(&maps["express"]);
    let mut waits_s = 0;
    let mut deaths = 0;
    for retrier in express["Retry"].as_array().expect("a list") {
        let attempts = retrier["MaxAttempts"].as_u64().expect("a number");
        if retrier["ErrorEquals"] == json!(["States.ALL"]) {
            deaths = attempts;
        }
        let first = retrier["IntervalSeconds"].as_u64().unwrap_or(1);
        waits_s += (0..attempts).map(|attempt| first << attempt).sum::<u64>();
    }
    assert_eq!((waits_s * 1_000, deaths + 1), (WAITS_MS, INVOCATIONS));
    assert_eq!(express["TimeoutSeconds"].as_u64().map(|s| s * 1_000), Some(EXPRESS_TRY_MS));
}

/// What counts as the service's error is tried six times, with growing waits that differ.
#[test]
fn errors_of_the_service_are_tried_again_and_blame_nobody() {
    for (children, map) in maps() {
        let task = task(&map);
        let retrier = &task["Retry"][0];
        let wanted = json!([2, 2, 6, "FULL"]);
        let given = ["IntervalSeconds", "BackoffRate", "MaxAttempts", "JitterStrategy"]
            .map(|name| retrier[name].clone());
        assert_eq!(json!(given), wanted, "{children}");
        let errors: Vec<&str> =
            retrier["ErrorEquals"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
        assert!(
            errors.contains(&"Lambda.TooManyRequestsException") && errors.contains(&TRANSIENT),
            "{children}"
        );
        assert!(errors.iter().all(|error| !is_to_blame(error)), "{children}: {errors:?}");
        assert!(is_to_blame(PERMANENT));
        assert_eq!(task["Retry"][1], json!({ "ErrorEquals": [PERMANENT], "MaxAttempts": 0 }), "{children}");
    }
}

#[test]
fn it_reads_of_its_input_what_the_splitter_gives_and_of_an_item_what_that_has() {
    let mut definition = definition();
    let given: BTreeSet<String> = input().as_object().expect("an object").keys().cloned().collect();
    let run = RunId::derive("p", &Origin::Submission { idempotency_key: "k" });
    let text = "{pipeline: p, source: {format: lines}, stages: [{name: s, process: copy}]}";
    let stage = Pipeline::parse(text).expect("it is one").stages.remove(0);
    let sample = sample_run("mapped", Timestamp(0));
    let batch = BatchMessage::new(
        &sample,
        &stage,
        fanfold_domain::map::Batch { first: fanfold_domain::ChunkIndex(0), count: 1 },
    );
    let launch = LaunchMessage {
        run,
        stage: "s".into(),
        generation: Generation(0),
        launch: fanfold_domain::LaunchIndex(0),
        launch_generation: 0,
        chunks: batch.chunks().collect(),
        waited: 0,
    };
    for (children, map) in maps() {
        let item = if children == "launches" { encode(&launch) } else { encode(&batch) };
        let item: Value = serde_json::from_str(&item).expect("it is JSON");
        let mut read = BTreeSet::new();
        paths(&map["ItemProcessor"], &mut read);
        assert!(read.iter().all(|field| item.get(field).is_some()), "{children}: {read:?}");
    }
    for state in definition["States"].as_object_mut().expect("an object").values_mut() {
        state["ItemProcessor"] = Value::Null;
    }
    let mut read = BTreeSet::new();
    paths(&definition, &mut read);
    read.insert("v".to_owned());
    assert_eq!(read, given, "nothing is given for nothing, but the version");
}

/// Each Map of them, or it would have no limit.
#[test]
fn every_map_has_the_limits_that_the_splitter_gives() {
    for (children, map) in maps() {
        for (limit, path) in [
            ("MaxConcurrencyPath", "$.max_concurrency"),
            ("ToleratedFailurePercentagePath", "$.tolerated_failure_percentage"),
        ] {
            assert_eq!(map[limit], path, "{limit} of {children}");
        }
    }
}

/// As Step Functions demands over all of a state machine.
#[test]
fn every_state_has_a_name_of_its_own() {
    let definition = definition();
    let mut names: Vec<String> = Vec::new();
    for (name, state) in definition["States"].as_object().expect("an object") {
        names.push(name.clone());
        let children = state["ItemProcessor"]["States"].as_object();
        names.extend(children.into_iter().flat_map(|states| states.keys().cloned()));
    }
    let count = names.len();
    assert_eq!(names.into_iter().collect::<BTreeSet<_>>().len(), count);
}

/// Whatever becomes of a Map, the tracker is told.
#[test]
fn every_way_out_of_a_map_tells_its_end() {
    for (children, map) in maps() {
        assert_eq!(map["Next"], "TellEnd", "{children}");
        assert_eq!(
            map["Catch"],
            json!([{ "ErrorEquals": ["States.ALL"], "ResultPath": "$.failed", "Next": "TellEnd" }])
        );
    }
    let run = sample_run("mapped", Timestamp(0));
    let name = ExecutionName::of(&fanfold_domain::launch::StageName::of(&run, &run.last_stage().name));
    assert_eq!(MapInput::new(&run, run.first_stage(), "work", 1, 1).name(), name);
}
