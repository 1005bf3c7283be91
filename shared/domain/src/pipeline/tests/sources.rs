//! Sources that are not one object.

use super::super::{Format, IdRange, Pipeline, Process, RunOn, Split};
use super::mistakes;

const STAGES: &str = "stages: [{name: a, process: index}]";

fn parse(rest: &str) -> Pipeline {
    Pipeline::parse(&format!("{{pipeline: p, {rest}, {STAGES}}}")).unwrap()
}

fn refused(rest: &str) -> String {
    mistakes(&format!("{{pipeline: p, {rest}, {STAGES}}}"))
}

#[test]
fn a_range_a_listing_and_items_are_read_back_as_they_were() {
    for text in [
        "source: {range: {from: 5, to: 9}}",
        "source: {range: {count: 40000}}, split: {records: 40}",
        "source: {range: {random: {least: 10, most: 500}}}",
        "source: {prefix: images/, suffix: .jpg, format: objects}",
        "source: {prefix: images/, format: objects}, split: {records: 10, size: 1GiB}",
        "source: {items: plan}, plan: {command: [./plan, --all], timeout: 90s}",
        "source: {items: plan}, plan: {command: [./plan], env: {A: b}}",
        "source: {items: plan}, plan: {lambda: list-items, timeout: 90s}",
        "source: {items: plan}, plan: {lambda: 'list-items:live'}",
        "source: {items: plan}, plan: {lambda: 'arn:aws:lambda:eu-west-1:123456789012:function:list-items:7'}",
    ] {
        let pipeline = parse(text);
        assert_eq!(Pipeline::from_value(&pipeline.to_document()), Ok(pipeline), "{text}");
    }
}

#[test]
fn what_is_no_object_is_split_by_records_and_started_by_no_upload() {
    let range = parse("source: {range: {count: 7}}");
    assert_eq!(range.source.format, Format::Ids(IdRange::Between { from: 1, to: 7 }));
    assert_eq!(range.split, Split::Records(1_000));
    let listing = parse("source: {prefix: images/, format: objects}");
    assert_eq!(listing.split, Split::Records(100));
    assert!(!range.matches("a") && !listing.matches("images/a.jpg"));
}

#[test]
fn a_plan_step_is_one_chunk_of_the_workers_function_wherever_its_stages_run() {
    let stages = "stages: [{name: a, command: [./a], run_on: eks}]";
    let plan = "source: {items: plan}, plan: {lambda: list-items, timeout: 90s}";
    let pipeline = Pipeline::parse(&format!("{{pipeline: p, {plan}, {stages}}}")).unwrap();
    let stage = pipeline.plan.unwrap().stage();
    assert_eq!((stage.run_on, stage.max_concurrency, stage.timeout_ms), (RunOn::Lambda, 1, 90_000));
    assert_eq!(stage.process, Process::Lambda("list-items".parse().unwrap()));
}

#[test]
fn plan_steps_that_are_none_are_refused() {
    let function = "a Lambda function of the stack's region: its name, NAME:ALIAS or its ARN, such as \
         arn:aws:lambda:eu-west-1:123456789012:function:list-items";
    for (step, refusal) in [
        ("{}", "plan: found neither command nor lambda; allowed: exactly one of command, lambda".to_owned()),
        (
            "{command: [./p], lambda: p}",
            "plan: found both command and lambda; allowed: exactly one of command, lambda".to_owned(),
        ),
        ("{lambda: 'list items'}", format!("plan.lambda: found \"list items\"; allowed: {function}")),
        (
            "{lambda: 5}",
            format!("plan.lambda: found the number 5; allowed: {function} (a text: put it in quotes)"),
        ),
        ("{lambda: [p]}", format!("plan.lambda: found a list of 1; allowed: {function}")),
        (
            "{lambda: p, credentials: pass}",
            "plan.credentials: found \"pass\"; allowed: nothing: a function has a role of its own".to_owned(),
        ),
        (
            "{lambda: p, env: {A: b}}",
            "plan.env: found a mapping; allowed: nothing: a function has variables of its own".to_owned(),
        ),
        (
            "{lambda: p, timeout: 15m}",
            "plan.timeout: found \"15m\"; allowed: a duration from 1s to 870s, in ms, s, m, h, d".to_owned(),
        ),
    ] {
        assert_eq!(refused(&format!("source: {{items: plan}}, plan: {step}")), refusal);
    }
}

#[test]
fn sources_that_are_none_are_refused() {
    for (text, refusal) in [
        (
            "source: {range: {from: 9, to: 5}}",
            "source.range.to: found the number 5; allowed: at least `from`, 9",
        ),
        (
            "source: {range: {}}",
            "source.range: found a mapping; allowed: exactly one of `to` (perhaps with `from`), count, random",
        ),
        (
            "source: {range: {count: 0}}",
            "source.range.count: found the number 0; allowed: a whole number from 1 to 9007199254740992",
        ),
        (
            "source: {range: {count: 5}, prefix: a/}",
            "source.prefix: found \"a/\"; allowed: nothing: a source that is a range or items has no object",
        ),
        (
            "source: {range: {count: 5}}, split: {size: 1MiB}",
            "split.size: found a size; allowed: records: ids have no size",
        ),
        (
            "source: {items: plan}",
            "plan: found no such field, and `source.items` is to be written by it; allowed: a mapping with command or lambda",
        ),
        (
            "source: {format: lines}, plan: {command: [./p]}",
            "plan: found a plan step that nothing reads; allowed: none, or `source: {items: plan}`",
        ),
        (
            "source: {format: lines}, split: {size: 1MiB, records: 4}",
            "split: found both size and records; allowed: exactly one of size, records",
        ),
    ] {
        assert_eq!(refused(text), refusal);
    }
}
