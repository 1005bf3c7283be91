//! One processing step of a run.

use std::ops::RangeInclusive;

use serde_json::{Map, Value as Json, json};

use super::eks::RunOn;
use super::process::Process;
use super::rate::{ORDERS, Order, RateLimit};
use super::source::{Format, Source};
use super::upstream::{Depends, Upstream};
use crate::cluster::is_dns_label;
use crate::document::Mistakes;
use crate::document::decode::{Fields, Node, Schema, list, quantity, text_that_also, whole, word};
use crate::document::quantity::{DAY, DURATION, MINUTE, SECOND};
use crate::document::value::Value;

const SCHEMA: Schema = Schema {
    built: &[
        "name",
        "run_on",
        "process",
        "command",
        "image",
        "header",
        "credentials",
        "env",
        "with",
        "order",
        "rate",
        "max_concurrency",
        "timeout",
        "retry",
        "resources",
        "chunks_per_pod",
        "kubernetes",
        "depends",
        "aggregate",
    ],
    not_yet: &["idempotent"],
};
const RETRY_SCHEMA: Schema = Schema { built: &["attempts", "backoff"], not_yet: &[] };

/// At least 2, as SQS wants of a mapping's maximum concurrency.
const MAX_CONCURRENCY: RangeInclusive<u32> = 2..=10_000;
/// What stages without `max_concurrency` share: as many workers as a stack has unless it is told otherwise.
const DEFAULT_WINDOW: u32 = 200;
/// A Lambda ends at 15 minutes; the rest is for the part, the completion and the next try's message.
const LAMBDA_TIMEOUT_MS: RangeInclusive<u64> = SECOND..=14 * MINUTE + 30 * SECOND;
const POD_TIMEOUT_MS: RangeInclusive<u64> = SECOND..=DAY;
const ATTEMPTS: RangeInclusive<u32> = 1..=10;
/// SQS delays a message by at most 15 minutes.
const BACKOFF_MS: RangeInclusive<u64> = 0..=15 * MINUTE;

/// The most stages of a pipeline.
pub const MAX_STAGES: usize = 16;

/// One processing step of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// 1 to 32 of a-z, 0-9 and `-`, the first and the last not `-` (but of stored documents); never `scan` or `plan`, and
    /// no other stage's.
    pub name: String,
    /// What it reads; the first stage, which has none, reads the source.
    pub upstream: Option<Upstream>,
    /// What is done with a chunk.
    pub process: Process,
    /// Where attempts are made.
    pub run_on: RunOn,
    /// Whether chunks may be worked on at once.
    pub order: Order,
    /// How often the destination is asked; none means as often as the chunks do.
    pub rate: Option<RateLimit>,
    /// How many chunks may be outstanding at once: the stage's window, or how many pods it has.
    pub max_concurrency: u32,
    /// How long an attempt may take, in milliseconds.
    pub timeout_ms: u64,
    /// What follows a failed attempt.
    pub retry: Retry,
}

/// What follows a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// How many attempts a chunk gets, the first included.
    pub attempts: u32,
    /// How long the second attempt waits after the first, in milliseconds, before jitter; later ones wait longer.
    pub backoff_ms: u64,
}

impl Retry {
    /// What a stage without `retry` says.
    pub(super) const DEFAULT: Self = Self { attempts: 3, backoff_ms: 2 * SECOND };

    fn decode(node: &Node<'_>, mistakes: &mut Mistakes) -> Option<Self> {
        let fields = Fields::open(node, &RETRY_SCHEMA, mistakes)?;
        let Self { attempts, backoff_ms } = Self::DEFAULT;
        Some(Self {
            attempts: fields.optional("attempts", attempts, mistakes, |node, m| whole(node, m, &ATTEMPTS)),
            backoff_ms: fields.optional("backoff", backoff_ms, mistakes, |node, m| {
                quantity(node, m, &DURATION, &BACKOFF_MS)
            }),
        })
    }
}

impl Stage {
    /// Decodes the list of stages: the first reads the source, each other the parts of one before it.
    pub(super) fn decode_all(
        node: &Node<'_>,
        mistakes: &mut Mistakes,
        source: Option<&Source>,
    ) -> Option<Vec<Self>> {
        let nodes = list(node, mistakes, STAGES)?;
        if !(1..=MAX_STAGES).contains(&nodes.len()) {
            return node.refuse(mistakes, STAGES);
        }
        let mut stages: Vec<Self> = Vec::new();
        let mut has_default_window = Vec::new();
        for node in &nodes {
            // Behind one that has mistakes it is not known what a stage may depend on.
            let (stage, is_default) = Self::decode(node, mistakes, source, &stages)?;
            has_default_window.push(is_default);
            if stages.iter().any(|other| other.name == stage.name) {
                mistakes.add(
                    format!("{}.name", node.path),
                    format!("{:?} again", stage.name),
                    "a name of its own",
                );
            }
            stages.push(stage);
        }
        let shares: Vec<u32> = (0..stages.len()).map(|place| default_share(&stages, place)).collect();
        for ((stage, share), is_default) in stages.iter_mut().zip(shares).zip(has_default_window) {
            if is_default {
                stage.max_concurrency = stage.max_concurrency.min(share);
            }
        }
        Some(stages)
    }

    /// A stage, and whether it says nothing of its window, which then is at most its share of the default one.
    fn decode(
        node: &Node<'_>,
        mistakes: &mut Mistakes,
        source: Option<&Source>,
        before: &[Self],
    ) -> Option<(Self, bool)> {
        let fields = Fields::open(node, &SCHEMA, mistakes)?;
        let name = fields
            .required("name", NAME, mistakes, |node, m| text_that_also(node, m, NAME, is_name, is_dns_label));
        let process = mistakes.flawless(|m| Process::decode(&fields, &node.path, m));
        match (&process, source) {
            (Some(process), Some(source)) if before.is_empty() => {
                check_source(process, source, &fields, mistakes);
            }
            (Some(process), _) if !before.is_empty() => check_parts(process, &fields, mistakes),
            _ => {}
        }
        let upstream = Upstream::decode(&fields, before, mistakes);
        let run_on = RunOn::decode(&fields, process.as_ref(), mistakes);
        let order =
            fields.optional("order", Order::Parallel, mistakes, |node, m| word(node, m, &ORDERS, &[]));
        let rate = fields.optional("rate", None, mistakes, |node, m| RateLimit::decode(node, m).map(Some));
        let (default, allowed) = match (order, &rate) {
            (Order::Sequential, _) => (1, 1..=1),
            (Order::Parallel, Some(rate)) => (rate.chunks_at_once(), MAX_CONCURRENCY),
            (Order::Parallel, None) => (DEFAULT_WINDOW, MAX_CONCURRENCY),
        };
        let window =
            fields.optional("max_concurrency", None, mistakes, |node, m| whole(node, m, &allowed).map(Some));
        let process = process.map(|process| match process {
            // One after another, unless a document says otherwise, which is refused below.
            Process::Http(mut http) if order == Order::Sequential && !names_at_once(&fields) => {
                http.at_once = 1;
                Process::Http(http)
            }
            process => process,
        });
        if let Some(process) = &process {
            check_order(process, order, rate.is_some(), &run_on, &fields, mistakes);
        }
        let timeout_range = match run_on {
            RunOn::Lambda => LAMBDA_TIMEOUT_MS,
            RunOn::Eks(_) => POD_TIMEOUT_MS,
        };
        let timeout_ms = fields.optional("timeout", 5 * MINUTE, mistakes, |node, m| {
            quantity(node, m, &DURATION, &timeout_range)
        });
        let retry = fields.optional("retry", Retry::DEFAULT, mistakes, Retry::decode);
        let stage = Self {
            name: name?,
            upstream,
            process: process?,
            run_on,
            order,
            rate,
            max_concurrency: window.unwrap_or(default),
            timeout_ms,
            retry,
        };
        Some((stage, window.is_none()))
    }

    /// `all` are the stages of the pipeline.
    pub(super) fn to_document(&self, all: &[Self]) -> Json {
        let mut stage = Map::new();
        stage.insert("name".into(), json!(self.name));
        if let Some(upstream) = self.upstream {
            upstream.write(&all[upstream.stage].name, &mut stage);
        }
        self.run_on.write(&mut stage);
        self.process.write(&mut stage);
        stage.insert("order".into(), json!(self.order.name()));
        if let Some(rate) = &self.rate {
            stage.insert("rate".into(), rate.to_document());
        }
        stage.insert("max_concurrency".into(), json!(self.max_concurrency));
        stage.insert("timeout".into(), json!(DURATION.format(self.timeout_ms)));
        let backoff = DURATION.format(self.retry.backoff_ms);
        stage.insert("retry".into(), json!({ "attempts": self.retry.attempts, "backoff": backoff }));
        Json::Object(stage)
    }
}

/// What the stage at `place` has of the default window: stages that may be at work at once share the workers, and so
/// queue behind each other only where their documents ask for more. Pods are no such workers.
fn default_share(stages: &[Stage], place: usize) -> u32 {
    let at_once = at_once_with(stages, place).count();
    DEFAULT_WINDOW / u32::try_from(at_once).expect("at most 16 stages")
}

/// How many chunks of a scan of the source may be outstanding at once: while it goes on no stage is at work, so that it
/// has the windows of all that later are so with the first. An order or a rate holds back no scan.
pub(super) fn scan_window(stages: &[Stage]) -> u32 {
    let first = &stages[0];
    if first.order == Order::Sequential || first.rate.is_some() {
        return DEFAULT_WINDOW;
    }
    at_once_with(stages, 0).map(|stage| stage.max_concurrency).fold(0, u32::saturating_add)
}

/// The stages whose chunks may be at work while those of the one at `place` are, that one among them, by the same
/// workers.
fn at_once_with(stages: &[Stage], place: usize) -> impl Iterator<Item = &Stage> {
    let shares = move |(other, stage): &(usize, &Stage)| {
        let are_functions = stage.run_on == RunOn::Lambda && stages[place].run_on == RunOn::Lambda;
        let is_apart = waits_for(stages, place, *other) || waits_for(stages, *other, place);
        *other == place || are_functions && !is_apart
    };
    stages.iter().enumerate().filter(shares).map(|(_, stage)| stage)
}

/// Whether no chunk of the stage at `place` begins before all of `other` have ended.
fn waits_for(stages: &[Stage], place: usize, other: usize) -> bool {
    let mut waits = false;
    let mut upstream = stages[place].upstream;
    while let Some(Upstream { stage, by, .. }) = upstream {
        waits |= by == Depends::All;
        if stage == other {
            return waits;
        }
        upstream = stages[stage].upstream;
    }
    false
}

const STAGES: &str = "a list of 1 to 16 stages";
const NAME: &str = "1 to 32 of a-z, 0-9, `-`, the first and the last not `-`, but not `scan`, `plan`";

fn is_name(name: &str) -> bool {
    (1..=32).contains(&name.len())
        && !matches!(name, crate::SCAN | crate::PLAN)
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// Compares what is done with what is read.
fn check_source(process: &Process, source: &Source, stage: &Fields<'_>, mistakes: &mut Mistakes) {
    match process {
        Process::Orders { .. } if !matches!(source.format, Format::Csv { .. }) => {
            let found = "orders on a source that is not csv";
            mistakes.add(stage.path_of("process"), found, "orders with `source.format: csv`");
        }
        Process::Http(http) => http.check_source(source, &stage.path_of("with"), mistakes),
        Process::Command { header_on_stdin: true, .. } if !source.has_header() => {
            let found = "stdin on a source without a header";
            mistakes.add(stage.path_of("header"), found, "none, or stdin with `source.header: true`");
        }
        Process::Resize(_) if source.format != Format::Jsonl && !source.is_list() => {
            let found = "resize on a source that lists no objects";
            mistakes.add(
                stage.path_of("process"),
                found,
                "resize with `source.format: objects`, jsonl or items",
            );
        }
        Process::Resize(resize) => {
            resize.check_source(source, format!("{}.key", stage.path_of("with")), mistakes);
        }
        _ => {}
    }
}

/// Compares what is done with what a later stage reads: the parts of another, line by line.
fn check_parts(process: &Process, stage: &Fields<'_>, mistakes: &mut Mistakes) {
    match process {
        Process::Orders { .. } => {
            let found = "orders on the parts of another stage, which have no header";
            mistakes.add(stage.path_of("process"), found, "orders in the first stage");
        }
        Process::Command { header_on_stdin: true, .. } => {
            let found = "stdin in a stage that reads the parts of another, which have no header";
            mistakes.add(stage.path_of("header"), found, "none");
        }
        Process::Http(http) => http.check_parts(&stage.path_of("with"), mistakes),
        _ => {}
    }
}

/// Compares what is done with the order it is done in.
fn check_order(
    process: &Process,
    order: Order,
    has_rate: bool,
    run_on: &RunOn,
    stage: &Fields<'_>,
    mistakes: &mut Mistakes,
) {
    let is_sequential = order == Order::Sequential;
    if has_rate && !matches!(process, Process::Http(_)) {
        mistakes.add(stage.path_of("rate"), "a rate of another process", "a rate of `process: http`");
    }
    if is_sequential && matches!(run_on, RunOn::Eks(_)) {
        mistakes.add(
            stage.path_of("order"),
            "sequential with `run_on: eks`",
            "sequential with `run_on: lambda`",
        );
    }
    let Process::Http(http) = process else { return };
    if is_sequential && http.at_once > 1 {
        let path = format!("{}.at_once", stage.path_of("with"));
        mistakes.add(path, format!("{} with `order: sequential`", http.at_once), "1");
    }
    if !is_sequential && http.needs_previous() {
        mistakes.add(stage.path_of("order"), "{previous} in a stage without order", "sequential");
    }
}

/// Whether the options of the process say how many requests there are at once.
fn names_at_once(stage: &Fields<'_>) -> bool {
    matches!(stage.section("with").value, Value::Map(fields) if fields.iter().any(|(name, _)| name == "at_once"))
}
