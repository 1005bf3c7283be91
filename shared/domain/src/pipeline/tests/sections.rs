//! Wrong sections of otherwise sound documents and exactly the mistakes they are refused with.

use super::{document, mistakes};

/// A spoilt section of an otherwise sound document, and its mistakes.
type Case<'a> = (&'a str, &'a [&'a str]);

fn check<'a>(cases: &[Case<'a>], spoil: impl Fn(&'a str) -> String) {
    for (spoilt, expected) in cases {
        assert_eq!(mistakes(&spoil(spoilt)), expected.join("\n"), "of {spoilt}");
    }
}

#[test]
fn wrong_sources_are_refused() {
    let only_csv = "allowed: nothing: only a csv source has it";
    let no_header = "allowed: false: only a csv source has a header (lines with one are `format: csv` with `quote: none`)";
    let quote = "none, or one ASCII character other than a line end and the delimiter";
    let length = "a size from 1B to 16MiB, in B, KiB, MiB, GiB, TiB";
    check(
        &[
            ("", &["source.format: found no such field; allowed: csv, lines, jsonl, fixed, objects"]),
            (
                "format: null",
                &["source.format: found nothing (null); allowed: csv, lines, jsonl, fixed, objects"],
            ),
            (
                "format: CSV",
                &[
                    "source.format: found \"CSV\"; allowed: csv, lines, jsonl, fixed, objects (did you mean `csv`?)",
                ],
            ),
            ("format: csv, header: yes", &["source.header: found \"yes\"; allowed: true or false"]),
            ("format: lines, header: true", &[&format!("source.header: found true; {no_header}")]),
            (
                "format: jsonl, delimiter: ';', quote: none",
                &[
                    &format!("source.delimiter: found \";\"; {only_csv}"),
                    &format!("source.quote: found \"none\"; {only_csv}"),
                ],
            ),
            (
                "format: csv, delimiter: '||'",
                &["source.delimiter: found \"||\"; allowed: one ASCII character other than a line end"],
            ),
            (
                "format: csv, delimiter: 1",
                &[
                    "source.delimiter: found the number 1; allowed: one ASCII character other than a line end (a text: put it in quotes)",
                ],
            ),
            (
                "format: csv, delimiter: §",
                &["source.delimiter: found \"§\"; allowed: one ASCII character other than a line end"],
            ),
            ("format: csv, quote: ','", &[&format!("source.quote: found \",\"; allowed: {quote}")]),
            (
                "format: csv, delimiter: '\"'",
                &[
                    "source.quote: found no such field, so the quote is the delimiter; allowed: none, or another character",
                ],
            ),
            (
                "format: lines, encoding: utf-16",
                &["source.encoding: found \"utf-16\"; allowed: utf-8, ascii, latin-1, iso-8859-1"],
            ),
            (
                "format: lines, compression: gzip",
                &["source.compression: found \"gzip\"; allowed: none (`gzip` is not yet built)"],
            ),
            ("format: fixed", &[&format!("source.length: found no such field; allowed: {length}")]),
            (
                "format: fixed, length: 80",
                &[&format!("source.length: found the number 80; allowed: {length} (did you mean 80B?)")],
            ),
            (
                "format: fixed, length: 17MiB",
                &[&format!("source.length: found \"17MiB\"; allowed: {length}")],
            ),
            (
                "format: fixed, length: 80B, max_record: 79B",
                &[
                    "source.max_record: found \"79B\"; allowed: a size from 80B to 1GiB, in B, KiB, MiB, GiB, TiB",
                ],
            ),
            (
                "format: csv, length: 80B",
                &["source.length: found \"80B\"; allowed: nothing: only a fixed source has it"],
            ),
            (
                "format: lines, suffix: in/",
                &[
                    "source.suffix: found \"in/\"; allowed: a text of at most 1024 bytes that does not end in / (keys that do are folders)",
                ],
            ),
            ("items: []", &["source.items: found a list of 0; allowed: plan"]),
        ],
        |source| document(source, "name: s, process: index", ""),
    );
}

#[test]
fn wrong_stages_are_refused() {
    let only_command = "allowed: nothing: only a command has it";
    let command = "a list of texts, the program first, such as [./confirm, --fast]";
    let argument = "a text that is not empty and has no NUL";
    check(
        &[
            (
                "name: s, process: order",
                &[
                    "stages[0].process: found \"order\"; allowed: orders, copy, index, http, resize (did you mean `orders`?)",
                ],
            ),
            (
                "name: s, process: orders",
                &[
                    "stages[0].process: found orders on a source that is not csv; allowed: orders with `source.format: csv`",
                ],
            ),
            (
                "name: s, process: copy, command: [./x]",
                &["stages[0]: found both process and command; allowed: exactly one of process, command"],
            ),
            (
                "name: s, process: copy, header: none, credentials: none, env: {}",
                &[
                    &format!("stages[0].header: found \"none\"; {only_command}"),
                    &format!("stages[0].credentials: found \"none\"; {only_command}"),
                    &format!("stages[0].env: found a mapping; {only_command}"),
                ],
            ),
            (
                "name: s, process: copy, with: {table: Orders}",
                &["stages[0].with.table: found an unknown field; allowed: no field"],
            ),
            (
                "name: s, command: [./x], with: {table: Orders}",
                &["stages[0].with: found a mapping; allowed: nothing: only a process has options"],
            ),
            ("name: s, command: ./x", &[&format!("stages[0].command: found \"./x\"; allowed: {command}")]),
            ("name: s, command: []", &[&format!("stages[0].command: found a list of 0; allowed: {command}")]),
            (
                "name: s, command: [./x, 5, '', \"a\\0\"]",
                &[
                    &format!(
                        "stages[0].command[1]: found the number 5; allowed: {argument} (a text: put it in quotes)"
                    ),
                    &format!("stages[0].command[2]: found \"\"; allowed: {argument}"),
                    &format!("stages[0].command[3]: found \"a\\0\"; allowed: {argument}"),
                ],
            ),
            (
                "name: s, command: [./x], header: stdin",
                &[
                    "stages[0].header: found stdin on a source without a header; allowed: none, or stdin with `source.header: true`",
                ],
            ),
            (
                "name: Ship It, process: copy",
                &[
                    "stages[0].name: found \"Ship It\"; allowed: 1 to 32 of a-z, 0-9, `-`, the first and the last not `-`, but not `scan`, `plan`",
                ],
            ),
            (
                "name: s, process: copy, timeout: 15m",
                &["stages[0].timeout: found \"15m\"; allowed: a duration from 1s to 870s, in ms, s, m, h, d"],
            ),
            (
                "name: s, process: copy, max_concurrency: 2.5",
                &["stages[0].max_concurrency: found the number 2.5; allowed: a whole number from 2 to 10000"],
            ),
            (
                "name: s, process: copy, idempotent: true, depends: all",
                &[
                    "stages[0].idempotent: found true; allowed: nothing: `idempotent` is not yet built",
                    "stages[0].depends: found \"all\"; allowed: nothing: the first stage reads the source",
                ],
            ),
        ],
        |stage| document("format: lines", stage, ""),
    );
}

#[test]
fn wrong_variables_are_refused() {
    let name = "a name of letters, digits and `_`, but not HOME, PATH, TMPDIR, FANFOLD_... or AWS_..., which Fanfold sets";
    let reserved = ["PATH", "AWS_REGION", "FANFOLD_X", "2B", "", "a-b"]
        .map(|found| format!("stages[0].env: found the variable {found:?}; allowed: {name}"));
    let long = format!("{{A: {}}}", "a".repeat(4096));
    check(
        &[
            (
                "[A]",
                &[
                    "stages[0].env: found a list of 1; allowed: a mapping of variables to texts, such as { CURRENCY: EUR }",
                ],
            ),
            (
                "{PATH: /x, AWS_REGION: x, FANFOLD_X: x, 2B: x, '': x, a-b: x}",
                &reserved.each_ref().map(String::as_str),
            ),
            (
                "{DEPTH: 7, A: \"a\\0\"}",
                &[
                    "stages[0].env.DEPTH: found the number 7; allowed: a text without NUL (a text: put it in quotes)",
                    "stages[0].env.A: found \"a\\0\"; allowed: a text without NUL",
                ],
            ),
            (
                &long,
                &[
                    "stages[0].env: found 4097 bytes; allowed: at most 4096 bytes of names and values together",
                ],
            ),
        ],
        |env| document("format: lines", &format!("name: s, command: [./x], env: {env}"), ""),
    );
}

#[test]
fn orders_with_an_unusable_table_are_refused() {
    let stage = "name: s, process: orders, with: {table: my table, tabel: x}";
    let expected = r#"stages[0].with.tabel: found an unknown field; allowed: table (did you mean `table`?)
stages[0].with.table: found "my table"; allowed: a table's name: 3 to 255 of a-z, A-Z, 0-9, `_`, `.`, `-`"#;
    assert_eq!(mistakes(&document("format: csv", stage, "")), expected);
}

#[test]
fn wrong_merges_are_refused() {
    let line = "none, input, or a line that is not empty, without its end";
    let hidden = "a template whose text before or after the placeholders no key of the source must have";
    check(
        &[
            (
                "key: '{run}_Errors', errors_key: '{run}_Errors'",
                &[
                    "merge.errors_key: found `{run}_Errors`, which is the key of the output; allowed: another template than `key`",
                ],
            ),
            (
                &format!("key: '{{key}}{}'", "x".repeat(510)),
                &[
                    "merge.errors_key: found none, and `key` is too long to make it of; allowed: a text with {key} or {run}, no other braces, no control characters, no `.` or `..` between slashes and at most 512 bytes beside the placeholders",
                ],
            ),
            (
                "key: 'in/{run}.csv'",
                &[&format!(
                    "merge.key: found `in/{{run}}.csv`, which every key that the source matches looks like; allowed: {hidden}"
                )],
            ),
            (
                "errors_key: '{key}'",
                &[&format!(
                    "merge.errors_key: found `{{key}}`, which every key that the source matches looks like; allowed: {hidden}"
                )],
            ),
            (
                "header: input",
                &[
                    "merge.header: found input on a source without a header; allowed: none, a line, or input with `source.header: true`",
                ],
            ),
            ("header: \"a\\nb\"", &[&format!("merge.header: found \"a\\nb\"; allowed: {line}")]),
            ("header: ''", &[&format!("merge.header: found \"\"; allowed: {line}")]),
            (
                "bucket: My_Bucket",
                &[
                    "merge.bucket: found \"My_Bucket\"; allowed: a bucket's name: 3 to 63 of a-z, 0-9, `.`, `-`, the first and the last a letter or digit, no two `.` beside each other, no IP address, none of S3's own prefixes (xn--, sthree-, amzn-s3-demo-) and suffixes (-s3alias, --ol-s3, .mrap, --x-s3, --table-s3)",
                ],
            ),
        ],
        |merge| {
            document(
                "prefix: in/, suffix: .csv, format: csv",
                "name: s, process: index",
                &format!("merge: {{{merge}}}"),
            )
        },
    );
}

#[test]
fn wrong_fan_outs_are_refused() {
    let check = |fan_out: &str, stage: &str, expected: &str| {
        let text = document("format: lines", stage, &format!("fan_out: {fan_out}"));
        assert_eq!(mistakes(&text), expected, "of {fan_out}");
    };
    let stage = "name: s, process: copy";
    check("sns", stage, "fan_out: found \"sns\"; allowed: sqs, distributed-map (did you mean `sqs`?)");
    check("{}", stage, "fan_out.distributed-map: found no such field; allowed: a mapping of batch");
    check(
        "{sqs: {}}",
        stage,
        "fan_out.sqs: found an unknown field; allowed: distributed-map\nfan_out.distributed-map: found no such field; allowed: a mapping of batch",
    );
    check(
        "{distributed-map: {batch: 1001, workers: 5}}",
        stage,
        "fan_out.distributed-map.workers: found an unknown field; allowed: batch\n\
         fan_out.distributed-map.batch: found the number 1001; allowed: a whole number from 1 to 1000",
    );
    check(
        "{distributed-map: {batch: 10}}",
        "name: s, process: copy, run_on: eks",
        "fan_out.distributed-map.batch: found the number 10; allowed: nothing: only a stage with `run_on: lambda` has batches",
    );
    check(
        "distributed-map",
        "name: a, process: copy}, {name: b, process: copy, depends: n_to_n",
        "stages[1].depends: found n_to_n into a Map, which begins with all of a stage at once; allowed: all, or `fan_out: sqs`",
    );
    check(
        "{distributed-map: {batch: 10}}",
        "name: s, process: copy, order: sequential",
        "stages[0].order: found sequential in a Map, which keeps no order; allowed: parallel, or `fan_out: sqs`",
    );
}
