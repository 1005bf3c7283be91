//! One processing step of a run.

use std::ops::RangeInclusive;

use serde_json::{Map, Value as Json, json};

use super::eks::RunOn;
use super::process::Process;
use super::source::{Format, Source};
use crate::document::Mistakes;
use crate::document::decode::{Fields, Node, Schema, list, quantity, text_that, whole};
use crate::document::quantity::{DAY, DURATION, MINUTE, SECOND};

const SCHEMA: Schema = Schema {
    built: &[
        "name",
        "run_on",
        "process",
        "command",
        "image",
        "header",
        "credentials",
        "with",
        "max_concurrency",
        "timeout",
        "retry",
        "resources",
        "chunks_per_pod",
        "kubernetes",
    ],
    not_yet: &["depends", "aggregate", "order", "rate", "idempotent"],
};
const RETRY_SCHEMA: Schema = Schema { built: &["attempts", "backoff"], not_yet: &[] };

/// At least 2, as SQS wants of a mapping's maximum concurrency.
const MAX_CONCURRENCY: RangeInclusive<u32> = 2..=10_000;
/// A Lambda ends at 15 minutes; the rest is for the part, the completion and the next try's message.
const LAMBDA_TIMEOUT_MS: RangeInclusive<u64> = SECOND..=14 * MINUTE + 30 * SECOND;
const POD_TIMEOUT_MS: RangeInclusive<u64> = SECOND..=DAY;
const ATTEMPTS: RangeInclusive<u32> = 1..=10;
/// SQS delays a message by at most 15 minutes.
const BACKOFF_MS: RangeInclusive<u64> = 0..=15 * MINUTE;

/// One processing step of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// 1 to 32 of a-z, 0-9 and `-`; never `scan`.
    pub name: String,
    /// What is done with a chunk.
    pub process: Process,
    /// Where attempts are made.
    pub run_on: RunOn,
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
    /// Decodes the list of stages, which has exactly one for now.
    pub(super) fn decode_all(
        node: &Node<'_>,
        mistakes: &mut Mistakes,
        source: Option<&Source>,
    ) -> Option<Vec<Self>> {
        let allowed = "a list of one stage";
        let stages = list(node, mistakes, allowed)?;
        let Some((first, more)) = stages.split_first() else {
            return node.refuse(mistakes, allowed);
        };
        for stage in more {
            stage.refuse::<()>(mistakes, "nothing: more than one stage is not yet built");
        }
        Some(vec![Self::decode(first, mistakes, source)?])
    }

    fn decode(node: &Node<'_>, mistakes: &mut Mistakes, source: Option<&Source>) -> Option<Self> {
        let fields = Fields::open(node, &SCHEMA, mistakes)?;
        let name = fields.required("name", NAME, mistakes, |node, m| text_that(node, m, NAME, is_name));
        let process = mistakes.flawless(|m| Process::decode(&fields, &node.path, m));
        if let (Some(process), Some(source)) = (&process, source) {
            check_source(process, source, &fields, mistakes);
        }
        let run_on = RunOn::decode(&fields, process.as_ref(), mistakes);
        let max_concurrency =
            fields.optional("max_concurrency", 200, mistakes, |node, m| whole(node, m, &MAX_CONCURRENCY));
        let timeout_range = match run_on {
            RunOn::Lambda => LAMBDA_TIMEOUT_MS,
            RunOn::Eks(_) => POD_TIMEOUT_MS,
        };
        let timeout_ms = fields.optional("timeout", 5 * MINUTE, mistakes, |node, m| {
            quantity(node, m, &DURATION, &timeout_range)
        });
        let retry = fields.optional("retry", Retry::DEFAULT, mistakes, Retry::decode);
        Some(Self { name: name?, process: process?, run_on, max_concurrency, timeout_ms, retry })
    }

    pub(super) fn to_document(&self) -> Json {
        let mut stage = Map::new();
        stage.insert("name".into(), json!(self.name));
        self.run_on.write(&mut stage);
        self.process.write(&mut stage);
        stage.insert("max_concurrency".into(), json!(self.max_concurrency));
        stage.insert("timeout".into(), json!(DURATION.format(self.timeout_ms)));
        let backoff = DURATION.format(self.retry.backoff_ms);
        stage.insert("retry".into(), json!({ "attempts": self.retry.attempts, "backoff": backoff }));
        Json::Object(stage)
    }
}

const NAME: &str = "1 to 32 of a-z, 0-9, `-`, but not `scan`";

fn is_name(name: &str) -> bool {
    (1..=32).contains(&name.len())
        && name != crate::SCAN
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// Compares what is done with what is read.
fn check_source(process: &Process, source: &Source, stage: &Fields<'_>, mistakes: &mut Mistakes) {
    match process {
        Process::Orders { .. } if !matches!(source.format, Format::Csv { .. }) => {
            let found = "orders on a source that is not csv";
            mistakes.add(stage.path_of("process"), found, "orders with `source.format: csv`");
        }
        Process::Command { header_on_stdin: true, .. } if !source.has_header() => {
            let found = "stdin on a source without a header";
            mistakes.add(stage.path_of("header"), found, "none, or stdin with `source.header: true`");
        }
        Process::Resize(_) if !matches!(source.format, Format::Jsonl) => {
            let found = "resize on a source that is not jsonl";
            mistakes.add(stage.path_of("process"), found, "resize with `source.format: jsonl`");
        }
        Process::Resize(resize) => {
            resize.check_source(source, format!("{}.key", stage.path_of("with")), mistakes);
        }
        _ => {}
    }
}
