//! What a seed makes of a simulation: the pipeline, the sources, when what happens, and how the world is.

use fanfold_domain::pipeline::{Pipeline, Retry, Split, Tolerance};
use fanfold_engine::plan::ScanLimits;
use fanfold_ports::{Queue, memory::Rates};

use crate::{
    chance::Chance,
    source::{Content, source},
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
    /// Somebody who is none of us writes under the output's name.
    ForeignWrite,
    /// Some of the work objects expire.
    Expire,
    /// The consumer of a queue is down for a while, in milliseconds.
    Outage { queue: Queue, ms: u64 },
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
    /// Which sources are scanned by workers, and in what pieces: far smaller ones than in earnest.
    pub(crate) scan_limits: ScanLimits,
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
        let pipeline = pipeline(&chance, content);
        // Several uploads, and mergers that hang: who publishes last, and over what?
        let is_duel = is_rough && chance.percent(20);
        let acts = acts(&chance, &pipeline, content, is_rough, is_duel);
        let often = |percent, choices: &[u64]| {
            if is_rough && chance.percent(percent) { chance.one_of(choices) } else { 0 }
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
            rates: if is_rough {
                chance.one_of(&[Rates::NONE, Rates::ROUGH, Rates::ROUGH, HARSH])
            } else {
                Rates::NONE
            },
            calm_at_ms: chance.within(MINUTE..40 * MINUTE),
            doubles_percent: often(50, &[5, 20, 60]),
            delays_percent: often(50, &[10, 40]),
            zombies_permille: often(50, &[10, 50, 300]),
            zombie_mergers_permille: if is_duel { chance.one_of(&[200, 500]) } else { 0 },
            odd_attempts_percent: often(20, &[10, 50]),
            sick_chunk: (is_rough && chance.percent(15)).then(|| {
                let dies = Sickness::Dies { at_call: u32::try_from(chance.within(0..14)).expect("small") };
                (
                    u32::try_from(chance.within(0..6)).expect("small"),
                    chance.one_of(&[dies, Sickness::Unreadable]),
                )
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
            pipeline,
        }
    }

    /// A small run without anything wrong, to be crashed at every point in turn.
    pub(crate) fn small(scan_limits: ScanLimits) -> Self {
        let text = "pipeline: p\nsource: {prefix: in/, format: csv, header: true}\nstages: [{name: s, process: orders, with: {table: orders}}]\n\
             merge: {header: 'orderid,confirmationid'}\non_error: {max_bad_records: 9}\n";
        let mut pipeline = Pipeline::parse(text).expect("it is a pipeline");
        pipeline.split = Split::Records(2);
        pipeline.stages[0].max_concurrency = 2;
        let chance = Chance::of(1, "small");
        let bytes = std::iter::repeat_with(|| {
            source(&chance, pipeline.source.format, Content::Sales { bad_percent: 40 })
        })
        .find(|bytes| bytes.len() < 700 && bytes.windows(7).any(|w| w == b"Carrier"))
        .expect("there is one");
        Self {
            seed: 0,
            scan_limits,
            pipeline,
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
            && self.acts.len() == 1
            && !self
                .has(|act| matches!(act, Act::Upload { event_delays_ms, .. } if event_delays_ms.len() != 1))
    }

    /// Whether calls fail or hang.
    pub(crate) fn is_faulty(&self) -> bool {
        self.rates != Rates::NONE || self.zombies_permille + self.zombie_mergers_permille > 0
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

fn pipeline(chance: &Chance, content: Content) -> Pipeline {
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
    let mut lines = vec![
        "pipeline: p".to_owned(),
        format!("source: {{prefix: in/, format: {format}}}"),
        format!("stages: [{{name: s, process: {process}}}]"),
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
    stage.retry = Retry {
        attempts: u32::try_from(chance.within(1..7)).expect("small"),
        backoff_ms: chance.within(0..8 * SECOND),
    };
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
