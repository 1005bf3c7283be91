//! What a seed makes of a simulation: the pipeline, the sources, when what happens, and how the world is.

use fanfold_domain::pipeline::{CleanupOn, FanOut, Format, Pipeline, Retry, Split, Tolerance};
use fanfold_engine::plan::ScanLimits;
use fanfold_ports::{Queue, clusters::ClusterFault, memory::Rates};

use crate::{
    chance::Chance,
    shape::{Reads, Shape, items, objects},
    source::{Content, source},
    triggers,
};

pub(crate) const INPUT: &str = "input";
pub(crate) const OUTPUT: &str = "output";
pub(crate) const WORK: &str = "work";
pub(crate) const TABLE: &str = "orders";
pub(crate) const KEY: &str = "in/a file.csv";

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;

/// Something that happens to the world, whatever the services do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Act {
    /// Someone uploads a source; its events arrive after these delays, in milliseconds. None: they are lost.
    Upload { bytes: Vec<u8>, event_delays_ms: Vec<u64> },
    /// An event arrives, given as its text.
    Event { body: String },
    /// A person submits a run of the source that is there, under this idempotency key, so many times.
    Submit { idempotency_key: String, times: u32 },
    /// The pipeline's schedule ticks, and the tick arrives so many times.
    Tick { scheduled_at: String, times: u32 },
    /// Somebody who is none of us writes under the output's name.
    ForeignWrite,
    /// Some of the work objects expire.
    Expire,
    /// The consumer of a queue is down for a while, in milliseconds.
    Outage { queue: Queue, ms: u64 },
    /// A person deletes a Job.
    DeleteJob,
    /// A cluster fails so for a while, in milliseconds, and perhaps its pods are lost.
    ClusterFails { cluster: usize, fault: ClusterFault, ms: u64, loses_pods: bool },
    /// A cluster is gone for good, with its Jobs.
    ClusterGone { cluster: usize },
    /// A person declares a cluster with another weight.
    Weight { cluster: usize, weight: u32 },
}

/// The clusters of a simulation, and how their pods fare.
#[derive(Debug, Clone, Default)]
pub(crate) struct KubeScenario {
    /// Names, weights, and most pods of a run. The first is never gone for good.
    pub(crate) clusters: Vec<(String, u32, u32)>,
    /// The longest that a pod takes to start, in milliseconds.
    pub(crate) start_ms: u64,
    /// Of a hundred pods, how many are evicted.
    pub(crate) evictions_percent: u64,
    /// Of a hundred pods, how many have a double.
    pub(crate) doubles_percent: u64,
    /// Of a hundred pods, how many are pending for minutes.
    pub(crate) pendings_percent: u64,
    /// Whether nothing fails but what Kubernetes has to bear: then no chunk may fail without a reason of its own.
    pub(crate) fails_alone: bool,
}

/// How executions of a Map fare, beside their children's own functions.
#[derive(Debug, Clone, Default)]
pub(crate) struct MapScenario {
    /// Of a hundred children that fail, how many die without a word.
    pub(crate) silent_percent: u64,
    /// Of a hundred children, how many are executed twice at once.
    pub(crate) doubles_percent: u64,
    /// Of a hundred executions, how many a person stops.
    pub(crate) stops_percent: u64,
    /// Before so many milliseconds are over.
    pub(crate) stops_within_ms: u64,
    /// Of a hundred ends, how many are told to nobody.
    pub(crate) lost_ends_percent: u64,
}

impl MapScenario {
    fn is_calm(&self) -> bool {
        self.silent_percent + self.doubles_percent + self.stops_percent + self.lost_ends_percent == 0
    }
}

/// What is wrong with one chunk, whichever run it is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sickness {
    /// Its worker dies at this call of each invocation.
    Dies { at_call: u32 },
    /// The source cannot be read.
    Unreadable,
}

/// One simulation.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    pub(crate) pipeline: Pipeline,
    /// What stands in the input bucket from the first: of a pipeline that lists objects.
    pub(crate) objects: Vec<(String, Vec<u8>)>,
    /// What a plan step writes, of a pipeline that has one.
    pub(crate) items: Option<Vec<u8>>,
    /// Which sources are scanned by workers, and in what pieces: far smaller ones than in earnest.
    pub(crate) scan_limits: ScanLimits,
    /// The clusters, where the pipeline runs on them.
    pub(crate) kube: Option<KubeScenario>,
    /// How Maps fare, where the pipeline has them.
    pub(crate) map: Option<MapScenario>,
    /// Chunks a group, in place of the usual choice, which would put all of so small a source in one.
    pub(crate) group_chunks: u32,
    pub(crate) is_versioned: bool,
    /// What happens, and when: milliseconds from the start, in order.
    pub(crate) acts: Vec<(u64, Act)>,
    pub(crate) rates: Rates,
    /// When faults, doubles and delays cease, in milliseconds from the start.
    pub(crate) calm_at_ms: u64,
    /// Of a hundred messages, how many are delivered twice.
    pub(crate) doubles_percent: u64,
    /// Of a hundred messages, how many wait longer than they should.
    pub(crate) delays_percent: u64,
    /// Of a thousand invocations, how many hang for long in the middle of a call, and go on.
    pub(crate) zombies_permille: u64,
    /// Of a thousand invocations of the merger.
    pub(crate) zombie_mergers_permille: u64,
    /// Of a hundred attempts, how many see other bytes, as if the program were not deterministic.
    pub(crate) odd_attempts_percent: u64,
    pub(crate) sick_chunk: Option<(u32, Sickness)>,
    /// Eventual reads that see what was there before, after each write.
    pub(crate) lagging_reads: u32,
    /// What every call about is refused for good, as a bucket that does not exist.
    pub(crate) refused: Option<String>,
    pub(crate) has_sweeper: bool,
    pub(crate) visibility_ms: u64,
    /// How long a worker believes that it may run; one that does not know goes on after any pause.
    pub(crate) function_ms: Option<u64>,
    pub(crate) concurrency: usize,
    pub(crate) completions_batch: usize,
    pub(crate) piece_bytes: usize,
}

impl Scenario {
    pub(crate) fn of(seed: u64) -> Self {
        let chance = Chance::of(seed, "scenario");
        let content = match chance.within(0..100) {
            0 => Content::Large,
            1..20 => Content::Sales { bad_percent: chance.one_of(&[0, 0, 5, 30]) },
            _ => Content::Any,
        };
        let is_rough = content != Content::Large && chance.percent(80);
        let of_kube = Chance::of(seed, "clusters");
        let kube = (content != Content::Large && of_kube.percent(25)).then(|| kube(&of_kube, is_rough));
        let per_pod = of_kube.one_of(&[None, Some(1), Some(1), Some(2), Some(5)]);
        let stage = match (&kube, per_pod) {
            (None, _) => String::new(),
            (Some(_), None) => "run_on: eks, ".to_owned(),
            (Some(_), Some(chunks)) => format!("run_on: eks, chunks_per_pod: {chunks}, "),
        };
        let of_map = Chance::of(seed, "maps");
        let map = of_map.percent(if kube.is_some() { 15 } else { 35 }).then(|| map(&of_map, is_rough));
        let of_shape = Chance::of(seed, "shape");
        let shape = Shape::of(&of_shape, content, kube.is_some(), map.is_some());
        let mut pipeline = pipeline(&chance, content, &stage, &shape);
        if map.is_some() {
            let batch = of_map.one_of(&[None, Some(1), Some(1), Some(2), Some(5)]);
            pipeline.fan_out = FanOut::Map { batch: batch.filter(|_| kube.is_none()) };
            pipeline.stages[0].timeout_ms = of_map.one_of(&[10 * SECOND, 5 * MINUTE]);
        }
        for stage in &mut pipeline.stages[1..] {
            stage.max_concurrency = u32::try_from(of_shape.within(2..8)).expect("small");
            stage.retry = retry(&of_shape);
        }
        // Several uploads, and mergers that hang: who publishes last, and over what?
        let is_duel = is_rough && chance.percent(20);
        let mut acts = acts(&chance, &pipeline, content, is_rough, is_duel);
        if shape.reads != Reads::Object {
            acts = submitted(acts);
        }
        if let Some(kube) = &kube
            && is_rough
        {
            acts.extend(kube_acts(&of_kube, kube));
            acts.sort_by_key(|(at, _)| *at);
        }
        let of_triggers = Chance::of(seed, "triggers");
        let pipeline = triggers::with_triggers(&of_triggers, pipeline);
        if is_rough {
            acts.extend(triggers::ticks(&of_triggers, &pipeline));
            acts.sort_by_key(|(at, _)| *at);
        }
        let fails_alone = kube.as_ref().is_some_and(|kube| kube.fails_alone);
        let often = |percent, choices: &[u64]| {
            let often = if is_rough && chance.percent(percent) { chance.one_of(choices) } else { 0 };
            if fails_alone { 0 } else { often }
        };
        Self {
            seed,
            scan_limits: if chance.percent(30) {
                ScanLimits { alone_bytes: chance.within(0..600), range_bytes: chance.within(20..400) }
            } else {
                ScanLimits::DEFAULT
            },
            group_chunks: chance.one_of(&[1, 2, 2, 4, 8]),
            is_versioned: chance.percent(50),
            rates: if is_rough && !fails_alone {
                chance.one_of(&[Rates::NONE, Rates::ROUGH, Rates::ROUGH, HARSH])
            } else {
                Rates::NONE
            },
            calm_at_ms: chance.within(if fails_alone { 20 } else { 1 } * MINUTE..40 * MINUTE),
            doubles_percent: often(50, &[5, 20, 60]),
            delays_percent: often(50, &[10, 40]),
            zombies_permille: often(50, &[10, 50, 300]),
            zombie_mergers_permille: if is_duel && !fails_alone { chance.one_of(&[200, 500]) } else { 0 },
            odd_attempts_percent: often(20, &[10, 50]),
            sick_chunk: (is_rough && chance.percent(15))
                .then(|| {
                    let dies =
                        Sickness::Dies { at_call: u32::try_from(chance.within(0..14)).expect("small") };
                    (
                        u32::try_from(chance.within(0..6)).expect("small"),
                        chance.one_of(&[dies, Sickness::Unreadable]),
                    )
                })
                .or_else(|| {
                    (map.is_some() && kube.is_none() && is_rough).then(|| sick_in_map(&of_map)).flatten()
                }),
            lagging_reads: u32::try_from(often(50, &[1, 3, 10])).expect("small"),
            refused: (is_rough && chance.percent(3)).then(|| {
                let name = chance.one_of(&["input/", "work/", "output/", "output/in/a file.csv_Errors"]);
                format!("s3://{name}")
            }),
            has_sweeper: is_rough || chance.percent(30),
            visibility_ms: chance.one_of(&[40 * SECOND, 2 * MINUTE, 6 * MINUTE]),
            function_ms: chance.percent(50).then_some(40 * SECOND),
            concurrency: usize::try_from(chance.within(1..9)).expect("small"),
            completions_batch: chance.one_of(&[1, 3, 10, 100]),
            piece_bytes: if content == Content::Large {
                256 << 10
            } else {
                chance.one_of(&[7, 100, 64 << 10])
            },
            acts,
            objects: if shape.reads == Reads::Objects { objects(&of_shape) } else { Vec::new() },
            items: (shape.reads == Reads::Items).then(|| items(&of_shape)),
            pipeline,
            kube,
            map,
        }
    }

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
            pipeline,
            kube: None,
            map: None,
            group_chunks: 2,
            is_versioned: true,
            acts: vec![(0, Act::Upload { bytes, event_delays_ms: vec![0] })],
            rates: Rates::NONE,
            calm_at_ms: u64::MAX,
            doubles_percent: 0,
            delays_percent: 0,
            zombies_permille: 0,
            zombie_mergers_permille: 0,
            odd_attempts_percent: 0,
            sick_chunk: None,
            lagging_reads: 0,
            refused: None,
            has_sweeper: true,
            visibility_ms: 2 * MINUTE,
            function_ms: None,
            concurrency: 1,
            completions_batch: 10,
            piece_bytes: 64 << 10,
        }
    }

    /// Whether nothing at all goes wrong: then nothing may be done twice, and nothing left behind.
    pub(crate) fn is_calm(&self) -> bool {
        self.rates == Rates::NONE
            && self.doubles_percent
                + self.delays_percent
                + self.zombies_permille
                + self.zombie_mergers_permille
                + self.odd_attempts_percent
                == 0
            && self.sick_chunk.is_none()
            && self.refused.is_none()
            && self.lagging_reads == 0
            && self.map.as_ref().is_none_or(MapScenario::is_calm)
            && self.acts.len() == 1
            && !self
                .has(|act| matches!(act, Act::Upload { event_delays_ms, .. } if event_delays_ms.len() != 1))
    }

    /// Whether calls fail or hang.
    pub(crate) fn is_faulty(&self) -> bool {
        self.rates != Rates::NONE || self.zombies_permille + self.zombie_mergers_permille > 0
    }

    /// The output's key without what the template adds.
    pub(crate) fn output_stem(&self) -> &str {
        match self.pipeline.source.format {
            Format::Objects => self.pipeline.source.prefix.trim_end_matches('/'),
            Format::Ids(_) | Format::Items => &self.pipeline.name,
            _ => KEY,
        }
    }

    pub(crate) fn has(&self, what: impl Fn(&Act) -> bool) -> bool {
        self.acts.iter().any(|(_, act)| what(act))
    }
}

/// More goes wrong than any service would do.
const HARSH: Rates = Rates {
    transient: 200,
    lost_request: 100,
    lost_answer: 150,
    crash_before: 150,
    crash_after: 150,
    conflict: 300,
    broken_stream: 100,
};

/// Two or three clusters.
fn kube(chance: &Chance, is_rough: bool) -> KubeScenario {
    let often = |percent, choices: &[u64]| {
        if is_rough && chance.percent(percent) { chance.one_of(choices) } else { 0 }
    };
    let clusters = (0..chance.within(2..4))
        .map(|number| {
            let weight = u32::try_from(chance.within(1..5)).expect("small");
            (format!("c{number}"), weight, chance.one_of(&[1, 3, 100]))
        })
        .collect();
    KubeScenario {
        clusters,
        start_ms: chance.one_of(&[500, 20 * SECOND, 2 * MINUTE, 5 * MINUTE]),
        evictions_percent: often(40, &[10, 50]),
        doubles_percent: often(40, &[10, 50]),
        pendings_percent: often(50, &[10, 40]),
        fails_alone: is_rough && chance.percent(40),
    }
}

/// Children of a Map die at every try more often than workers do that messages come to again and again.
fn sick_in_map(chance: &Chance) -> Option<(u32, Sickness)> {
    let at_call = u32::try_from(chance.within(0..14)).expect("small");
    let sick = u32::try_from(chance.within(0..3)).expect("small");
    chance.percent(60).then_some((sick, Sickness::Dies { at_call }))
}

fn map(chance: &Chance, is_rough: bool) -> MapScenario {
    let often = |percent, choices: &[u64]| {
        if is_rough && chance.percent(percent) { chance.one_of(choices) } else { 0 }
    };
    MapScenario {
        silent_percent: often(50, &[30, 100]),
        doubles_percent: often(40, &[10, 50]),
        stops_percent: often(40, &[60, 100]),
        stops_within_ms: chance.one_of(&[20, 200, SECOND]),
        lost_ends_percent: often(50, &[50, 100]),
    }
}

fn kube_acts(chance: &Chance, kube: &KubeScenario) -> Vec<(u64, Act)> {
    let mut acts = Vec::new();
    let soon = || {
        let most = chance.one_of(&[10 * SECOND, MINUTE, 5 * MINUTE]);
        chance.within(0..most)
    };
    let clusters = kube.clusters.len();
    for _ in 0..3 {
        if chance.percent(25) {
            acts.push((soon(), Act::DeleteJob));
        }
        if chance.percent(25) {
            let fault =
                chance.one_of(&[ClusterFault::Unreachable, ClusterFault::Refused, ClusterFault::Full]);
            let ms = chance.one_of(&[30 * SECOND, 3 * MINUTE, 20 * MINUTE]);
            let loses_pods = fault == ClusterFault::Unreachable && chance.percent(50);
            acts.push((soon(), Act::ClusterFails { cluster: chance.index(clusters), fault, ms, loses_pods }));
        }
    }
    if chance.percent(20) {
        acts.push((soon(), Act::ClusterGone { cluster: 1 + chance.index(clusters - 1) }));
    }
    if chance.percent(20) {
        acts.push((soon(), Act::Weight { cluster: 1 + chance.index(clusters - 1), weight: 0 }));
    }
    if chance.percent(15) {
        // For a while no cluster takes anything.
        let (from, ms) = (soon(), chance.one_of(&[MINUTE, 10 * MINUTE, 40 * MINUTE]));
        for (cluster, (_, weight, _)) in kube.clusters.iter().enumerate() {
            acts.push((from, Act::Weight { cluster, weight: 0 }));
            acts.push((from + ms, Act::Weight { cluster, weight: *weight }));
        }
    }
    acts
}

/// The same where nothing is uploaded: what came as events comes as submissions.
fn submitted(acts: Vec<(u64, Act)>) -> Vec<(u64, Act)> {
    let mut submitted = Vec::new();
    for (number, (at, act)) in acts.into_iter().enumerate() {
        match act {
            Act::Upload { event_delays_ms, .. } => {
                let idempotency_key = format!("upload {number}");
                let submit =
                    |delay| (at + delay, Act::Submit { idempotency_key: idempotency_key.clone(), times: 1 });
                submitted.extend(event_delays_ms.into_iter().map(submit));
            }
            act => submitted.push((at, act)),
        }
    }
    submitted.sort_by_key(|(at, _)| *at);
    submitted
}

fn retry(chance: &Chance) -> Retry {
    Retry {
        attempts: u32::try_from(chance.within(1..7)).expect("small"),
        backoff_ms: chance.within(0..8 * SECOND),
    }
}

fn pipeline(chance: &Chance, content: Content, stage: &str, shape: &Shape) -> Pipeline {
    let is_sales = matches!(content, Content::Sales { .. });
    let quote = if chance.percent(70) { "" } else { ", quote: none" };
    let format = match chance.within(0..4) {
        _ if is_sales => "csv, header: true".to_owned(),
        _ if content == Content::Large => "lines".to_owned(),
        0 => format!("csv, header: {}{quote}", chance.percent(50)),
        1 => "lines".to_owned(),
        2 => "jsonl".to_owned(),
        _ => format!("fixed, length: {}B", chance.within(1..12)),
    };
    let process = if is_sales {
        chance.one_of(&["orders", "orders, with: {table: orders}"])
    } else if content == Content::Large {
        "copy"
    } else {
        chance.one_of(&["copy", "index"])
    };
    let first = format!("{{name: s, {stage}process: {process}}}");
    let stages: Vec<&str> =
        std::iter::once(first.as_str()).chain(shape.later.iter().map(String::as_str)).collect();
    let mut lines = vec![
        "pipeline: p".to_owned(),
        shape.source.clone().unwrap_or_else(|| format!("source: {{prefix: in/, format: {format}}}")),
        format!("stages: [{}]", stages.join(", ")),
    ];
    if is_sales {
        lines.push("merge: {header: 'orderid,confirmationid'}".to_owned());
    }
    let text = lines.join("\n");
    let mut pipeline = Pipeline::parse(&text).unwrap_or_else(|error| panic!("{text}\n{error}"));
    pipeline.split = if content == Content::Large {
        Split::SizeBytes(chance.one_of(&[1 << 20, 6 << 20]))
    } else if chance.percent(50) {
        Split::SizeBytes(chance.within(10..300))
    } else {
        Split::Records(chance.within(1..8))
    };
    pipeline.deadline_ms = chance.within(3 * 60..5 * 60) * MINUTE;
    pipeline.on_error.max_bad_records = chance.one_of(&[0, 2, 1_000, 1_000]);
    pipeline.on_error.tolerate_failed_chunks = chance.one_of(&[
        Tolerance::Count(0),
        Tolerance::Count(0),
        Tolerance::Count(2),
        Tolerance::Percent(100),
    ]);
    let stage = &mut pipeline.stages[0];
    stage.max_concurrency = u32::try_from(chance.within(2..8)).expect("small");
    stage.retry = retry(chance);
    pipeline
}

fn acts(
    chance: &Chance,
    pipeline: &Pipeline,
    content: Content,
    is_rough: bool,
    is_duel: bool,
) -> Vec<(u64, Act)> {
    let bytes = || source(chance, pipeline.source.format, content);
    let soon =
        || if chance.percent(60) { chance.within(0..4 * SECOND) } else { chance.within(0..10 * MINUTE) };
    // Some come long after what other uploads and submissions of the key began.
    let when = || if is_duel && chance.percent(20) { chance.within(0..40 * MINUTE) } else { soon() };
    let events = || {
        let doubles = if is_rough && chance.percent(30) { chance.within(1..3) } else { 0 };
        (0..=doubles).map(|_| if is_rough { when() } else { 0 }).collect::<Vec<_>>()
    };
    let first = bytes();
    let mut acts = vec![(0, Act::Upload { bytes: first.clone(), event_delays_ms: events() })];
    let mut sometimes = |percent, act: &dyn Fn() -> Act| {
        if is_rough && chance.percent(percent) {
            acts.push((soon(), act()));
        }
    };
    let again = if is_duel { 70 } else { 15 };
    sometimes(if is_duel { 70 } else { 25 }, &|| Act::Upload { bytes: bytes(), event_delays_ms: events() });
    sometimes(10, &|| Act::Upload { bytes: bytes(), event_delays_ms: events() });
    // The same bytes again: the same entity tags, another run.
    sometimes(again, &|| Act::Upload { bytes: first.clone(), event_delays_ms: events() });
    sometimes(again / 2, &|| Act::Upload { bytes: first.clone(), event_delays_ms: events() });
    sometimes(8, &|| Act::Upload { bytes: bytes(), event_delays_ms: Vec::new() });
    for key in ["one", "two"] {
        sometimes(if is_duel { 40 } else { 8 }, &|| Act::Submit {
            idempotency_key: key.to_owned(),
            times: u32::try_from(chance.within(1..4)).expect("small"),
        });
    }
    for _ in 0..2 {
        sometimes(12, &|| Act::ForeignWrite);
    }
    sometimes(6, &|| Act::Expire);
    sometimes(10, &|| Act::Outage {
        queue: chance.one_of(&[Queue::Intake, Queue::Chunks, Queue::Completions, Queue::Folds]),
        ms: chance.one_of(&[MINUTE, 20 * MINUTE, 6 * 60 * MINUTE]),
    });
    acts.sort_by_key(|(at, _)| *at);
    acts
}
