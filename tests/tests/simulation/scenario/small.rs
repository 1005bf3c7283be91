//! Small scenarios without anything wrong, to be crashed at every point in turn.

use fanfold_domain::pipeline::{CleanupOn, FanOut, Pipeline, Split};
use fanfold_engine::plan::ScanLimits;
use fanfold_ports::memory::Rates;

use super::{Act, KubeScenario, Legs, MINUTE, MapScenario, SECOND, Scenario};
use crate::{
    chance::Chance,
    source::{Content, source},
    third_party::{Carried, ThirdParty, asking},
    triggers,
};

/// A pipeline of lines with these stages, which puts up with a few bad records.
pub(crate) fn of_lines(stages: &str) -> Pipeline {
    let text = format!(
        "pipeline: p\nsource: {{prefix: in/, format: lines}}\nstages: [{stages}]\non_error: {{max_bad_records: 9}}\n"
    );
    Pipeline::parse(&text).unwrap_or_else(|error| panic!("{text}\n{error}"))
}

impl Scenario {
    /// The same on two clusters, whose pods start slowly enough for a look at them in between.
    pub(crate) fn small_on_clusters() -> Self {
        let small = Self::small(ScanLimits::DEFAULT);
        let mut document = small.pipeline.to_document();
        document["stages"][0]["run_on"] = "eks".into();
        document["stages"][0]["chunks_per_pod"] = 2.into();
        let mut pipeline = Pipeline::parse(&document.to_string()).expect("it is a pipeline");
        pipeline.split = small.pipeline.split;
        let clusters = vec![("one".to_owned(), 1, 100), ("two".to_owned(), 1, 100)];
        let kube = KubeScenario {
            clusters,
            start_ms: 50 * SECOND,
            evictions_percent: 0,
            doubles_percent: 0,
            pendings_percent: 0,
            fails_alone: false,
        };
        Self { pipeline, kube: Some(kube), ..small }
    }

    /// The same by a Map, whose batches have so many chunks and which fares so.
    pub(crate) fn small_by_map(batch: u32, map: MapScenario) -> Self {
        let mut small = Self::small(ScanLimits::DEFAULT);
        small.pipeline.fan_out = FanOut::Map { batch: Some(batch) };
        small.pipeline.split = Split::Records(1);
        Self { map: Some(map), ..small }
    }

    /// The same with requests to a third party: at a rate, in order, and of what the stage before was answered.
    pub(crate) fn small_asking() -> Self {
        let small = Self::small(ScanLimits::DEFAULT);
        let with = "at_once: 2, attempts: 3";
        let first = asking("s", 20, "rate: 20/s, ", Carried::NONE, with);
        let second = asking("s1", 0, "order: sequential, depends: n_to_n, ", Carried::SUM, "attempts: 2");
        let mut pipeline = of_lines(&format!("{{name: s, {first}}}, {{name: s1, {second}}}"));
        pipeline.split = Split::Records(2);
        pipeline.stages[0].max_concurrency = 2;
        let pipeline = triggers::cleaned(pipeline, CleanupOn::Always);
        let bytes: Vec<u8> = (0..8).flat_map(|number| format!("record {number}\n").into_bytes()).collect();
        let acts = vec![(0, Act::Upload { bytes, event_delays_ms: vec![0] })];
        Self { pipeline, acts, ..small }
    }

    /// The same in stages, index by index and aggregated, of ids that a submission begins.
    pub(crate) fn small_in_stages() -> Self {
        let small = Self::small(ScanLimits::DEFAULT);
        let text = "pipeline: p\nsource: {range: {count: 5}, max_record: 5B}\nstages:\n  - {name: s, process: index}\n\
             \x20 - {name: s1, process: copy, depends: n_to_n}\n  - {name: s2, process: index, aggregate: {fan_in: 2}}\n\
             on_error: {max_bad_records: 9}\n";
        let mut pipeline = Pipeline::parse(text).expect("it is a pipeline");
        pipeline.split = Split::Records(2);
        for stage in &mut pipeline.stages {
            stage.max_concurrency = 2;
        }
        let pipeline = triggers::cleaned(pipeline, CleanupOn::Always);
        let acts = vec![(0, Act::Submit { idempotency_key: "one".to_owned(), times: 1 })];
        Self { pipeline, acts, ..small }
    }

    /// A small run without anything wrong, to be crashed at every point in turn.
    pub(crate) fn small(scan_limits: ScanLimits) -> Self {
        let text = "pipeline: p\nsource: {prefix: in/, format: csv, header: true}\nstages: [{name: s, process: orders, with: {table: orders}}]\n\
             merge: {header: 'orderid,confirmationid'}\non_error: {max_bad_records: 9}\n";
        let mut pipeline = Pipeline::parse(text).expect("it is a pipeline");
        pipeline.split = Split::Records(2);
        pipeline.stages[0].max_concurrency = 2;
        let pipeline = triggers::cleaned(pipeline, CleanupOn::Always);
        let chance = Chance::of(1, "small");
        let bytes = std::iter::repeat_with(|| {
            source(&chance, pipeline.source.format, Content::Sales { bad_percent: 40 })
        })
        .find(|bytes| bytes.len() < 700 && bytes.windows(7).any(|w| w == b"Carrier"))
        .expect("there is one");
        Self {
            seed: 0,
            objects: Vec::new(),
            items: None,
            scan_limits,
            legs: Legs::WHOLE,
            pipeline,
            kube: None,
            map: None,
            group_chunks: 2,
            is_versioned: true,
            acts: vec![(0, Act::Upload { bytes, event_delays_ms: vec![0] })],
            rates: Rates::NONE,
            third_party: ThirdParty::default(),
            calm_at_ms: u64::MAX,
            doubles_percent: 0,
            delays_percent: 0,
            throttled_percent: 0,
            zombies_permille: 0,
            zombie_mergers_permille: 0,
            odd_attempts_percent: 0,
            sick_chunk: None,
            lagging_reads: 0,
            refused: None,
            has_sweeper: true,
            visibility_ms: 2 * MINUTE,
            function_ms: None,
            skew_ms: 0,
            concurrency: 1,
            call_ms: None,
            is_in_order: false,
            completions_batch: 10,
            piece_bytes: 64 << 10,
            others: Vec::new(),
            corrupts: None,
            loses: None,
        }
    }
}
