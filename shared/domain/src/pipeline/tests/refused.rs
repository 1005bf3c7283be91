//! Wrong documents and exactly the mistakes they are refused with.

use super::super::{MAX_DOCUMENT_BYTES, Pipeline};
use super::{ORDERS, document, mistakes};

#[test]
fn every_mistake_is_listed_with_its_path() {
    let text = r#"
pipeline: My Orders
source:   { prefix: orders/, format: cvs, header: yes, colour: red }
split:    { records: 0, size: 64MB }
fan_out:  distributed-maps
deadline: 90d
stages:
  - name: scan
    run_on: aks
    procces: orders
    max_concurrency: 1
    retry: { attempts: "3", backoff: 2 }
  - name: second
merge:    { key: out.csv }
on_error: { max_bad_records: unlimited, tolerate_failed_chunks: 101% }
notify:   { on: [failed, ended, failed] }
schedule: { cron: "0 6 * * * *", rate: 5s, time_zone: Europe/Berln, object: a/ }
cleanup:  { on: sometimes, temporaries: ["tmp/{key}", "../{run}"] }
budget:   5
fan_out:  sqs
"#;
    let expected = r#"budget: found the number 5; allowed: nothing: `budget` is not yet built
fan_out: found the field again; allowed: each field once
pipeline: found "My Orders"; allowed: 1 to 63 of a-z, 0-9, `-`, the first and the last not `-`
source.colour: found an unknown field; allowed: prefix, suffix, format, header, delimiter, quote, encoding, compression, length, max_record, range, items
source.format: found "cvs"; allowed: csv, lines, jsonl, fixed, objects (did you mean `csv`?)
split.size: found "64MB"; allowed: a size from 1KiB to 5GiB, in B, KiB, MiB, GiB, TiB (did you mean 64MiB?)
split.records: found the number 0; allowed: a whole number from 1 to 1000000000
split: found both size and records; allowed: exactly one of size, records
fan_out: found "distributed-maps"; allowed: sqs, distributed-map (did you mean `distributed-map`?)
deadline: found "90d"; allowed: a duration from 1m to 13d, in ms, s, m, h, d
stages[0].procces: found an unknown field; allowed: name, run_on, process, command, image, header, credentials, env, with, order, rate, max_concurrency, timeout, retry, resources, chunks_per_pod, kubernetes, depends, aggregate (did you mean `process`?)
stages[0].name: found "scan"; allowed: 1 to 32 of a-z, 0-9, `-`, the first and the last not `-`, but not `scan`, `plan`
stages[0]: found neither process nor command; allowed: exactly one of process, command
stages[0].run_on: found "aks"; allowed: lambda, eks (did you mean `eks`?)
stages[0].max_concurrency: found the number 1; allowed: a whole number from 2 to 10000
stages[0].retry.attempts: found "3"; allowed: a whole number from 1 to 10 (not in quotes)
stages[0].retry.backoff: found the number 2; allowed: a duration from 0ms to 15m, in ms, s, m, h, d (did you mean 2s?)
merge.key: found "out.csv"; allowed: a text with {key} or {run}, no other braces, no control characters, no `.` or `..` between slashes and at most 512 bytes beside the placeholders
on_error.max_bad_records: found "unlimited"; allowed: a whole number from 0 to 1000000000000
on_error.tolerate_failed_chunks: found "101%"; allowed: a whole number from 0 to 1000000, or from 0% to 100%
schedule.cron: found "0 6 * * * *"; allowed: `?` as exactly one of day of the month, day of the week
schedule.rate: found "5s"; allowed: a whole number from 1 and a unit, minutes, hours or days, of at most 366 days: 5 minutes
schedule.time_zone: found "Europe/Berln"; allowed: the name of a time zone, such as Europe/Berlin
schedule.object: found "a/"; allowed: the key of an object of the input bucket, which each tick processes as it is then: 1 to 1024 bytes that do not end in /
schedule: found both cron and rate; allowed: exactly one of cron, rate
notify.on[1]: found "ended"; allowed: started, stage_finished, succeeded, succeeded_partial, failed, cancelled, superseded
notify.on[2]: found `failed` again; allowed: each milestone once
cleanup.on: found "sometimes"; allowed: never, succeeded, always
cleanup.temporaries[0]: found "tmp/{key}"; allowed: the key of an object in the work bucket, or of all beneath it if it ends in `/`: a text with {run}, perhaps {key}, no other braces, no control characters, no `.` or `..` between slashes and at most 512 bytes beside the placeholders
cleanup.temporaries[1]: found "../{run}"; allowed: the key of an object in the work bucket, or of all beneath it if it ends in `/`: a text with {run}, perhaps {key}, no other braces, no control characters, no `.` or `..` between slashes and at most 512 bytes beside the placeholders"#;
    assert_eq!(mistakes(text), expected);
}

#[test]
fn a_document_that_is_no_mapping_is_refused() {
    let fields = "a mapping of pipeline, source, plan, split, fan_out, deadline, stages, merge, on_error, schedule, notify, cleanup";
    for (text, found) in [("", "nothing (null)"), ("[1, 2]", "a list of 2"), ("hello", r#""hello""#)] {
        assert_eq!(mistakes(text), format!("(document): found {found}; allowed: {fields}"));
    }
    assert!(mistakes("a: [").starts_with("(document): found "));
    assert!(
        mistakes("a: [").ends_with(
            "; allowed: one well-formed document of YAML or JSON, without anchors, aliases and tags"
        )
    );
    assert_eq!(mistakes("a: [").lines().count(), 1);
}

#[test]
fn an_empty_document_lacks_what_is_required() {
    let expected =
        "pipeline: found no such field; allowed: 1 to 63 of a-z, 0-9, `-`, the first and the last not `-`
source: found no such field; allowed: a mapping with format
stages: found no such field; allowed: a list of 1 to 16 stages";
    assert_eq!(mistakes("{}"), expected);
}

#[test]
fn a_document_is_at_most_64_kib_long() {
    let comment = |bytes: usize| format!("{ORDERS}#{}", " ".repeat(bytes - ORDERS.len() - 1));
    assert_eq!(mistakes(&comment(MAX_DOCUMENT_BYTES)), "");
    assert_eq!(
        mistakes(&comment(MAX_DOCUMENT_BYTES + 1)),
        "(document): found 65537 bytes; allowed: at most 65536 bytes"
    );
}

#[test]
fn a_document_is_at_most_64_kib_long_as_it_is_stored_too() {
    let stage = format!("name: s, command: ['{}']", "\u{9}".repeat(60_000));
    let found = mistakes(&document("format: lines", &stage, ""));
    assert_eq!(found.lines().count(), 1);
    assert!(found.starts_with("(document): found 120"), "{found}");
    assert!(found.ends_with("as JSON with all defaults; allowed: at most 65536 bytes"), "{found}");
}

#[test]
fn repeated_fields_are_refused_in_yaml_and_in_json() {
    let again = "source.format: found the field again; allowed: each field once";
    assert_eq!(mistakes(&document("format: lines, format: lines", "name: s, process: index", "")), again);
    let json = r#"{"pipeline": "p", "source": {"format": "lines", "format": "lines"},
                   "stages": [{"name": "s", "process": "index"}]}"#;
    assert_eq!(mistakes(json), again);
}

#[test]
fn sections_that_are_not_built_yet_are_refused_as_such() {
    let text = document("format: lines", "name: s, process: index", "budget: 5");
    assert_eq!(mistakes(&text), "budget: found the number 5; allowed: nothing: `budget` is not yet built");
}

#[test]
fn empty_splits_and_stages_are_refused() {
    let text = "{pipeline: p, source: {format: lines}, split: {}, stages: []}";
    let expected = "split: found neither size nor records; allowed: exactly one of size, records
stages: found a list of 0; allowed: a list of 1 to 16 stages";
    assert_eq!(mistakes(text), expected);
}

#[test]
fn odd_names_of_fields_are_quoted_and_cut() {
    let text =
        document("format: lines", "name: s, process: index", &format!("\"{}\\n\": 5", "x".repeat(100)));
    let found = mistakes(&text);
    assert!(
        found.starts_with(&format!("[\"{}\"... (101 bytes)]: found an unknown field", "x".repeat(60))),
        "{found}"
    );
}

#[test]
fn merge_keys_and_aliases_are_refused() {
    let text = document("<<: {format: lines}, format: lines", "name: s, process: index", "");
    assert!(mistakes(&text).starts_with("source[\"<<\"]: found an unknown field; allowed: prefix"));
    assert!(mistakes("a: &b 1\nc: *b").starts_with("(document): found "));
}

#[test]
fn a_stored_document_is_checked_like_any_other() {
    let error = serde_json::from_str::<Pipeline>(r#"{"pipeline": "p"}"#).unwrap_err().to_string();
    assert!(error.contains("stages: found no such field"), "{error}");
}

#[test]
fn what_a_stage_depends_on_must_come_before_it() {
    let stages = |later: &str| {
        let text = format!(
            "{{pipeline: p, source: {{format: lines}}, stages: [{{name: a, process: copy}}, {{name: b, process: copy}}, {later}]}}"
        );
        mistakes(&text)
    };
    let late = "stages[2].depends.stage: found \"c\"; allowed: a stage that comes before in the list, so that there is no \
                cycle: a, b";
    assert_eq!(stages("{name: c, process: copy, depends: {stage: c}}"), late);
    assert_eq!(
        stages("{name: a, process: copy}"),
        "stages[2].name: found \"a\" again; allowed: a name of its own"
    );
    assert_eq!(
        stages("{name: c, process: copy, depends: n_to_n, aggregate: {fan_in: 2}}"),
        "stages[2].depends: found n_to_n on a stage that aggregates, and so has another size than the stage before; \
         allowed: all"
    );
    assert_eq!(
        stages("{name: c, process: copy, aggregate: {fan_in: 1}}"),
        "stages[2].aggregate.fan_in: found the number 1; allowed: a whole number from 2 to 10000"
    );
    assert_eq!(
        stages("{name: c, process: orders}"),
        "stages[2].process: found orders on the parts of another stage, which have no header; allowed: orders in the \
         first stage"
    );
    assert_eq!(
        mistakes("{pipeline: p, source: {format: lines}, stages: [{name: a, process: copy, depends: all}]}"),
        "stages[0].depends: found \"all\"; allowed: nothing: the first stage reads the source"
    );
}
