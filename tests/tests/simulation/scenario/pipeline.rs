//! The pipeline, as a seed draws it.

use fanfold_domain::pipeline::{Order, Pipeline, Retry, Split, Stage, Tolerance};

use super::{MINUTE, SECOND};
use crate::{chance::Chance, shape::Shape, source::Content};

pub(super) fn retry(chance: &Chance) -> Retry {
    Retry {
        attempts: u32::try_from(chance.within(1..7)).expect("small"),
        backoff_ms: chance.within(0..8 * SECOND),
    }
}

pub(super) fn pipeline(chance: &Chance, content: Content, stage: &str, shape: &Shape) -> Pipeline {
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
    let what = shape.first.clone().unwrap_or_else(|| format!("process: {process}"));
    let first = format!("{{name: s, {stage}{what}}}");
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
    set_window(stage, chance.within(2..8));
    stage.retry = retry(chance);
    pipeline
}

/// Sets how many chunks are outstanding at once, where a stage's order leaves it open.
pub(super) fn set_window(stage: &mut Stage, chunks: u64) {
    if stage.order == Order::Parallel {
        stage.max_concurrency = u32::try_from(chunks).expect("small");
    }
}
