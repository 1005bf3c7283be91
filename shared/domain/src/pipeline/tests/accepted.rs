//! What sound documents mean.

use super::super::*;
use super::{ORDERS, RUN, document, run};

fn parsed(source: &str, stage: &str, rest: &str) -> Pipeline {
    Pipeline::parse(&document(source, stage, rest)).unwrap()
}

#[test]
fn the_document_of_the_design_is_accepted() {
    let pipeline = Pipeline::parse(ORDERS).unwrap();
    let csv = Format::Csv { header: true, delimiter: b',', quote: Some(b'"') };
    assert_eq!(pipeline.name, "orders");
    assert_eq!(pipeline.source.prefix, "orders/");
    assert_eq!(pipeline.source.format, csv);
    assert_eq!(pipeline.split, Split::Records(30_000));
    assert_eq!(pipeline.stages[0].process, Process::Orders { table: None });
    assert_eq!(pipeline.stages[0].retry, Retry { attempts: 3, backoff_ms: 2_000 });
    assert_eq!(pipeline.merge.header, MergeHeader::Literal("orderid,confirmationid".into()));
    assert_eq!(pipeline.on_error.max_bad_records, 100);
}

#[test]
fn what_is_left_out_has_its_default() {
    let pipeline = parsed("format: lines", "name: s, process: index", "");
    let explicit = r#"{
        "pipeline": "p",
        "source": {"prefix": "", "suffix": "", "format": "lines", "encoding": "utf-8", "compression": "none",
                   "max_record": "16MiB"},
        "split": {"size": "64MiB"},
        "fan_out": "sqs",
        "deadline": "1d",
        "stages": [{"name": "s", "run_on": "lambda", "process": "index", "order": "parallel", "max_concurrency": 200,
                    "timeout": "5m", "retry": {"attempts": 3, "backoff": "2s"}}],
        "merge": {"key": "{key}_Output", "errors_key": "{key}_Errors", "header": "none"},
        "on_error": {"max_bad_records": 0, "tolerate_failed_chunks": 0, "source_changed": "supersede"},
        "notify": {"on": []},
        "cleanup": {"on": "never", "temporaries": []}
    }"#;
    assert_eq!(pipeline.to_document(), serde_json::from_str::<Json>(explicit).unwrap());
    assert_eq!(Pipeline::parse(explicit), Ok(pipeline));
}

#[test]
fn a_command_is_a_list_with_its_own_fields() {
    let stage = "name: s, command: [./confirm, --fast], header: stdin, credentials: pass, \
         env: {CURRENCY: EUR, _depth2: '7', LANG: de_DE.UTF-8, EMPTY: ''}";
    let pipeline = parsed("format: csv, header: true", stage, "");
    let argv = vec!["./confirm".to_owned(), "--fast".to_owned()];
    let credentials = Credentials::Pass;
    let variables = [("CURRENCY", "EUR"), ("EMPTY", ""), ("LANG", "de_DE.UTF-8"), ("_depth2", "7")];
    let env = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect();
    assert_eq!(
        pipeline.stages[0].process,
        Process::Command { argv, header_on_stdin: true, credentials, env }
    );
    assert_eq!(Pipeline::from_value(&pipeline.to_document()), Ok(pipeline));
}

#[test]
fn orders_may_name_a_table() {
    let pipeline = parsed("format: csv", "name: s, process: orders, with: {table: Orders}", "");
    assert_eq!(pipeline.stages[0].process, Process::Orders { table: Some("Orders".into()) });
}

#[test]
fn a_copy_keeps_the_header_of_its_source_if_there_is_one() {
    let header = |source, merge| parsed(source, "name: s, process: copy", merge).merge.header;
    assert_eq!(header("format: csv, header: true", ""), MergeHeader::Input);
    assert_eq!(header("format: csv, header: true", "merge: {header: none}"), MergeHeader::None);
    assert_eq!(header("format: csv, header: false", ""), MergeHeader::None);
    assert_eq!(header("format: jsonl", ""), MergeHeader::None);
}

#[test]
fn formats_have_their_own_fields() {
    let source = |text| parsed(text, "name: s, process: index", "").source;
    let tabs = source("format: csv, delimiter: \"\\t\", quote: none");
    assert_eq!(tabs.format, Format::Csv { header: false, delimiter: b'\t', quote: None });
    let fixed = source("format: fixed, length: 80B, header: false");
    assert_eq!(fixed.format, Format::Fixed { length_bytes: 80 });
    assert_eq!(source("format: jsonl, encoding: iso-8859-1").encoding, Encoding::Latin1);
    assert_eq!(source("format: lines, max_record: 1GiB").max_record_bytes, 1 << 30);
}

#[test]
fn limits_themselves_are_allowed() {
    let least = "name: s, process: index, max_concurrency: 2, timeout: 1s, retry: {attempts: 1, backoff: 0s}";
    let pipeline = parsed("format: lines", least, "split: {size: 1KiB}, deadline: 1m");
    assert_eq!(pipeline.split, Split::SizeBytes(1024));
    let most =
        "name: s, process: index, max_concurrency: 10000, timeout: 870s, retry: {attempts: 10, backoff: 15m}";
    let pipeline = parsed("format: lines", most, "split: {size: 5GiB}, deadline: 13d");
    assert_eq!(pipeline.deadline_ms, 13 * 86_400_000);
}

#[test]
fn a_tolerance_is_a_number_or_a_share() {
    let tolerance = |text: &str| {
        let rest = format!("on_error: {{tolerate_failed_chunks: {text}, source_changed: fail}}");
        parsed("format: lines", "name: s, process: index", &rest).on_error.tolerate_failed_chunks
    };
    assert_eq!(tolerance("7"), Tolerance::Count(7));
    assert_eq!(tolerance("5%"), Tolerance::Percent(5));
}

#[test]
fn the_list_of_bad_records_stands_beside_the_output_by_default() {
    for (key, errors_key) in [
        ("{key}_Output", "{key}_Errors"),
        ("x/{key}_Output", "x/{key}_Errors"),
        ("{run}.csv", "{run}.csv_Errors"),
        ("{key}_Errors", "{key}_Errors_Errors"),
    ] {
        let pipeline =
            parsed("format: lines", "name: s, process: index", &format!("merge: {{key: '{key}'}}"));
        assert_eq!(pipeline.merge.errors_key.as_str(), errors_key);
    }
}

#[test]
fn keys_are_made_from_the_templates() {
    let rest = "merge: {bucket: my-results, key: 'out/{run}/{key}', errors_key: 'bad/{run}'}";
    let pipeline = parsed("format: lines", "name: s, process: index", rest);
    assert_eq!(pipeline.merge.bucket.as_deref(), Some("my-results"));
    assert_eq!(pipeline.output_key("a.txt", &run()).unwrap(), format!("out/{RUN}/a.txt"));
    assert_eq!(pipeline.errors_key("a.txt", &run()).unwrap(), format!("bad/{RUN}"));
    assert_eq!(pipeline.output_key(&"a".repeat(1024), &run()).unwrap_err().found_bytes, 1024 + 37);
}

#[test]
fn a_map_may_say_how_large_its_batches_are() {
    let fan_out =
        |text: &str| parsed("format: lines", "name: s, process: index", &format!("fan_out: {text}")).fan_out;
    assert_eq!(fan_out("distributed-map"), FanOut::Map { batch: None });
    assert_eq!(fan_out("{distributed-map: {}}"), FanOut::Map { batch: None });
    assert_eq!(fan_out("{distributed-map: {batch: 10}}"), FanOut::Map { batch: Some(10) });
}

#[test]
fn stages_that_may_be_at_work_at_once_share_the_default_window() {
    let windows = |stages: &str| {
        let pipeline = parsed("format: lines", stages, "");
        pipeline.stages.iter().map(|stage| stage.max_concurrency).collect::<Vec<_>>()
    };
    let check = |stages: &str, expected: &[u32]| assert_eq!(windows(stages), expected, "of {stages}");
    check("name: a, process: copy", &[200]);
    check("name: a, process: copy}, {name: b, process: copy", &[200, 200]);
    check("name: a, process: copy}, {name: b, process: copy, depends: n_to_n", &[100, 100]);
    // What waits for the second waits for the first too.
    check(
        "name: a, process: copy}, {name: b, process: copy, depends: n_to_n}, {name: c, process: copy}, \
         {name: d, process: copy, depends: n_to_n",
        &[100, 100, 100, 100],
    );
    // Two that wait for one stage wait for no other.
    check(
        "name: a, process: copy}, {name: b, process: copy, depends: {stage: a}}, \
         {name: c, process: copy, depends: {stage: a}}, {name: d, process: copy, depends: {stage: a, by: n_to_n}",
        &[100, 66, 66, 50],
    );
    check(
        "name: a, process: copy}, {name: b, process: copy, depends: n_to_n, max_concurrency: 500}, \
         {name: c, process: copy, depends: n_to_n, order: sequential",
        &[66, 500, 1],
    );
    // A scan comes before all of them, and has what they have together.
    let scan = |stages: &str| parsed("format: lines", stages, "").scan_window();
    assert_eq!(scan("name: a, process: copy"), 200);
    assert_eq!(scan("name: a, process: copy, max_concurrency: 7"), 7);
    assert_eq!(scan("name: a, process: copy}, {name: b, process: copy, depends: n_to_n"), 200);
    assert_eq!(scan("name: a, process: copy, max_concurrency: 7}, {name: b, process: copy"), 7);
    assert_eq!(scan("name: a, process: copy, order: sequential"), 200);
    // Pods are not the functions' business.
    check("name: a, process: copy}, {name: b, command: [./b], run_on: eks, depends: n_to_n", &[200, 200]);
}
