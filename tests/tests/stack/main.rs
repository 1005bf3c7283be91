//! End to end, on the deployed stack: what a user uploads, and what comes back.
//!
//! `scripts/test` starts the local AWS, deploys the functions and sets what is read here.

mod clusters;
mod crowded;
mod demos;
mod functions;
mod maps;
mod oracle;
mod rates;
mod stack;
mod stages;
mod strict;
mod triggers;

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use fanfold_domain::{Run, RunState, pipeline::Pipeline};
use fanfold_tests::sales::{HEADER, Style, write};
use oracle::{confirmations, order_rows};
use stack::Stack;

const REPLACED_LINES: usize = 2_000;

fn sales(style: Style, count: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut bytes, style, count, 7).expect("writing to memory");
    bytes
}

fn succeeded(run: &Run) {
    assert_eq!(run.state, RunState::Succeeded, "{:?}", run.reason);
}

fn pipeline(name: &str, rest: &str) -> Pipeline {
    let document = format!("pipeline: {name}\nsource: {{ prefix: {name}/, format: lines }}\n{rest}");
    Pipeline::parse(&document).expect("the document is right")
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_of_any_size_come_back_in_order_and_whole() {
    let stack = Stack::connect().await;
    let header = format!("{HEADER}\n").into_bytes();
    let cases = [
        ("empty.csv", Vec::new()),
        ("header.csv", header),
        ("some.csv", sales(Style::Plain, 200)),
        ("many.csv", sales(Style::Quoted, 100_000)),
    ];
    for (key, source) in cases {
        let run = stack.run_of(key, &source).await;
        succeeded(&run);
        let expected = confirmations(&source, &run, &[]);
        assert!(stack.read(&run.output).await.as_ref() == Some(&expected), "{key}: the output differs");
        assert_eq!(stack.read(&run.errors).await, None, "{key}");
        let sums = run.sums.expect("a run that succeeded has sums");
        assert_eq!(sums.bytes_out, expected.len() as u64, "{key}");
        // What scripts/test sets in place of 4 GiB.
        let is_large = source.len() > 4 << 20;
        assert_eq!(run.scan.is_some_and(|scan| scan.grouping.chunks > 10), is_large, "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_event_is_the_same_run() {
    let stack = Stack::connect().await;
    let run = stack.run_of("twice.csv", &sales(Style::Plain, 50)).await;
    succeeded(&run);
    let before = stack.head(&run.output).await;
    stack.send_event_again(&run).await;
    stack.send_event_again(&run).await;
    stack.settle().await;
    assert_eq!(stack.runs_of("twice.csv").await.len(), 1);
    assert_eq!(stack.head(&run.output).await, before);
    assert_eq!(stack.run(&run).await, run);
}

/// Which is read by its version, range by range: the bucket keeps versions.
#[tokio::test(flavor = "multi_thread")]
async fn a_submitted_object_comes_back_as_an_uploaded_one() {
    let stack = Stack::connect().await;
    let source = sales(Style::Quoted, 50_000);
    succeeded(&stack.run_of("submitted.csv", &source).await);
    let run = stack.run_of_submission("orders", "submitted.csv").await;
    succeeded(&run);
    assert!(run.source.version.is_some(), "the version is pinned");
    assert!(stack.read(&run.output).await == Some(confirmations(&source, &run, &[])), "the output differs");
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_records_are_listed_by_number_and_the_others_come_back() {
    let stack = Stack::connect().await;
    let mut source = sales(Style::Plain, 100);
    let first = source.iter().position(|byte| *byte == b'\n').expect("there is a header") + 1;
    source.splice(first..first, *b"not,a,sale\n");
    source.extend_from_slice(b"nor,\"this\n");
    let run = stack.run_of("poison.csv", &source).await;
    succeeded(&run);
    assert!(stack.read(&run.output).await == Some(confirmations(&source, &run, &[1, 102])));
    let listed =
        String::from_utf8(stack.read(&run.errors).await.expect("there is a list")).expect("JSON is UTF-8");
    let listed: Vec<serde_json::Value> =
        listed.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
    let numbers: Vec<_> = listed.iter().map(|bad| bad["record"].as_u64()).collect();
    assert_eq!(numbers, [Some(1), Some(102)]);
    assert_eq!(listed[0]["offset"].as_u64(), Some(first as u64));
    assert_eq!(listed[0]["text"], "not,a,sale");
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_rows_of_a_table_all_columns_under_their_names() {
    let stack = Stack::connect().await;
    let document = format!(
        "pipeline: rows\nsource: {{ prefix: rows/, format: csv, header: true }}\nsplit: {{ records: 400 }}\n\
         stages: [{{ name: confirm, process: orders, with: {{ table: {} }} }}]\nmerge: {{ header: 'orderid,confirmationid' }}\n",
        stack.orders_table
    );
    stack.apply(&Pipeline::parse(&document).expect("the document is right")).await;
    let source = sales(Style::Quoted, 2_010);
    let run = stack.run_of("rows/a.csv", &source).await;
    succeeded(&run);
    assert!(stack.read(&run.output).await == Some(confirmations(&source, &run, &[])));
    let mut found: Vec<Vec<String>> = stack.orders().await.into_iter().map(columns).collect();
    let mut expected = order_rows(&source, &run);
    found.sort();
    expected.sort();
    assert_eq!(found.len(), expected.len());
    assert!(found == expected, "{:?} and {:?}", found[0], expected[0]);
}

/// The columns of a row in the order of the source's, then the confirmation's id; numbers as they are kept.
fn columns(mut row: HashMap<String, AttributeValue>) -> Vec<String> {
    let orderid = row.remove("orderid");
    assert_eq!(orderid.as_ref(), row.get("Order ID"));
    let names = HEADER.split(',').chain(["confirmationid"]);
    let texts = names.map(|name| match row.remove(name) {
        Some(AttributeValue::S(text) | AttributeValue::N(text)) => text,
        other => panic!("{name} is {other:?}"),
    });
    let texts = texts.collect();
    assert!(row.is_empty(), "{row:?}");
    texts
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_killed_for_memory_fails_the_run_with_the_reason() {
    let stack = Stack::connect().await;
    let stages = "stages: [{ name: hungry, command: [/bin/sh, -c, 'kill -KILL $$'], retry: { attempts: 2, backoff: 1s } }]";
    stack.apply(&pipeline("hungry", stages)).await;
    let run = stack.run_of("hungry/a", b"one\ntwo\n").await;
    assert_eq!(run.state, RunState::Failed);
    let reason = run.reason.clone().unwrap_or_default();
    assert!(reason.contains("SIGKILL") && reason.contains("2 tries"), "{reason}");
    assert_eq!(stack.read(&run.output).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn any_program_runs_unchanged_and_its_output_is_in_order() {
    let stack = Stack::connect().await;
    let stages = "split: { size: 1KiB }\nstages: [{ name: upper, command: [tr, a-z, A-Z] }]";
    stack.apply(&pipeline("upper", stages)).await;
    let lines: Vec<String> = (0..2_000).map(|number| format!("line {number}\n")).collect();
    let source = lines.concat();
    let run = stack.run_of("upper/a", source.as_bytes()).await;
    succeeded(&run);
    assert!(run.plan.as_ref().is_some_and(|plan| plan.grouping.chunks > 10));
    assert!(stack.read(&run.output).await == Some(source.to_uppercase().into_bytes()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_replaced_in_mid_run_gives_the_newer_output_alone() {
    let stack = Stack::connect().await;
    let stages = "split: { size: 1KiB }\nstages: [{ name: slow, command: [/bin/sh, -c, 'sleep 1; cat'], max_concurrency: 2 }]";
    stack.apply(&pipeline("slow", stages)).await;
    let old = "old\n".repeat(REPLACED_LINES);
    let etag = stack.upload("slow/a", old.as_bytes()).await;
    let older = stack.begun("slow/a", &etag).await;
    let newer = stack.run_of("slow/a", b"new\n").await;
    succeeded(&newer);
    let older = stack.ended(&older).await;
    // Failed, if its end came before the newer upload's event did.
    let reason = older.reason.clone().unwrap_or_default();
    assert!(older.state == RunState::Superseded || reason.contains("the source was replaced"), "{older:?}");
    assert_eq!(stack.read(&newer.output).await, Some(b"new\n".to_vec()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_in_another_encoding_fails_with_what_was_found() {
    let stack = Stack::connect().await;
    let run = stack.run_of("wide.csv", b"\xff\xfeR\0e\0g\0i\0o\0n\0\n\0").await;
    assert_eq!(run.state, RunState::Failed);
    let reason = run.reason.unwrap_or_default();
    assert!(reason.contains("UTF-16"), "{reason}");
}
