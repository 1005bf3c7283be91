//! The canonical document of a pipeline is that pipeline.

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

use super::super::*;

fn byte() -> impl Strategy<Value = u8> {
    (0u8..128).prop_filter("line ends delimit records", |byte| !matches!(byte, b'\n' | b'\r'))
}

fn format() -> impl Strategy<Value = Format> {
    let csv = (any::<bool>(), byte(), of(byte()))
        .prop_filter("the quote is not the delimiter", |(_, delimiter, quote)| *quote != Some(*delimiter))
        .prop_map(|(header, delimiter, quote)| Format::Csv { header, delimiter, quote });
    let fixed = (1u64..=16 << 20).prop_map(|length_bytes| Format::Fixed { length_bytes });
    prop_oneof![4 => csv, 1 => Just(Format::Lines), 1 => Just(Format::Jsonl), 1 => fixed]
}

fn source() -> impl Strategy<Value = Source> {
    let encoding = prop_oneof![Just(Encoding::Utf8), Just(Encoding::Ascii), Just(Encoding::Latin1)];
    ("\\PC{0,20}", "\\PC{0,5}x?", format(), encoding, (16u64 << 20)..=1 << 30)
        .prop_filter("folders start nothing", |(_, suffix, ..)| !suffix.ends_with('/'))
        .prop_map(|(prefix, suffix, format, encoding, max_record_bytes)| Source {
            prefix,
            suffix,
            format,
            encoding,
            max_record_bytes,
        })
}

/// A process that suits the format.
fn process(source: &Source) -> BoxedStrategy<Process> {
    let header = source.has_header();
    let credentials = prop_oneof![Just(Credentials::None), Just(Credentials::Pass)];
    let command = (vec("[^\0]{1,20}", 1..4), any::<bool>(), credentials).prop_map(
        move |(argv, on_stdin, credentials)| Process::Command {
            argv,
            header_on_stdin: on_stdin && header,
            credentials,
        },
    );
    let orders = of("[a-zA-Z0-9_.-]{3,20}").prop_map(|table| Process::Orders { table });
    if matches!(source.format, Format::Csv { .. }) {
        prop_oneof![orders, Just(Process::Copy), Just(Process::Index), command].boxed()
    } else {
        prop_oneof![Just(Process::Copy), Just(Process::Index), command].boxed()
    }
}

/// Pods of a stage; an image only for a command.
fn run_on(is_command: bool) -> BoxedStrategy<RunOn> {
    let image = if is_command { of("[a-z0-9./:-]{1,40}").boxed() } else { Just(None).boxed() };
    let name = "[a-z]([a-z0-9-]{0,20}[a-z0-9])?";
    let effect = prop_oneof![Just("NoSchedule"), Just("PreferNoSchedule"), Just("NoExecute")];
    let toleration = (of("[a-z./]{1,20}"), of("[a-z]{1,9}"), of(effect))
        .prop_map(|(key, value, effect)| Toleration { key, value, effect });
    let node_selector = proptest::collection::btree_map("[a-z./]{1,20}", "[a-z]{0,9}", 0..3);
    let pods = (image, 10u32..=256_000, (32u64 << 20)..=1 << 40, of(1u32..=1_000));
    let kubernetes = (name, name, node_selector, vec(toleration, 0..3), 1u32..=4_000_000_000);
    let eks = (pods, kubernetes).prop_map(
        |(
            (image, cpu_millis, memory_bytes, chunks_per_pod),
            (queue, service_account, node_selector, tolerations, run_as_user),
        )| {
            RunOn::Eks(Box::new(Eks {
                image,
                cpu_millis,
                memory_bytes,
                chunks_per_pod,
                queue,
                service_account,
                node_selector,
                tolerations,
                run_as_user,
            }))
        },
    );
    prop_oneof![Just(RunOn::Lambda), eks].boxed()
}

fn stage(source: &Source) -> impl Strategy<Value = Stage> + use<> {
    let retry = (1u32..=10, 0u64..=900_000).prop_map(|(attempts, backoff_ms)| Retry { attempts, backoff_ms });
    let name = "[a-z0-9-]{1,32}".prop_filter("scan is reserved", |name| name != "scan");
    let process = process(source).prop_flat_map(|process| {
        let run_on = run_on(matches!(process, Process::Command { .. }));
        (Just(process), run_on)
    });
    (name, process, 2u32..=10_000, 1_000u64..=870_000, retry).prop_map(
        |(name, (process, run_on), max_concurrency, timeout_ms, retry)| Stage {
            name,
            process,
            run_on,
            max_concurrency,
            timeout_ms,
            retry,
        },
    )
}

fn merge(source: &Source) -> impl Strategy<Value = Merge> + use<> {
    let input = if source.has_header() { MergeHeader::Input } else { MergeHeader::None };
    let line = "[^\n\r\0]{1,30}"
        .prop_filter("two words mean something else", |line| !matches!(line.as_str(), "none" | "input"))
        .prop_map(MergeHeader::Literal);
    let header = prop_oneof![Just(MergeHeader::None), Just(input), line];
    // A tail that no generated suffix ends in keeps the outputs apart from the sources.
    let key = prop_oneof!["\\{key\\}", "[a-z/]{0,9}\\{run\\}", "\\{run\\}/\\{key\\}"];
    (of("[a-z0-9][a-z0-9.-]{1,20}[a-z0-9]"), key, header).prop_map(|(bucket, key, header)| Merge {
        bucket,
        key: format!("{key}-of-the-output").parse().unwrap(),
        errors_key: format!("{key}-of-the-errors").parse().unwrap(),
        header,
    })
}

fn on_error() -> impl Strategy<Value = OnError> {
    let tolerance =
        prop_oneof![(0u64..=1_000_000).prop_map(Tolerance::Count), (0u32..=100).prop_map(Tolerance::Percent)];
    let changed = prop_oneof![Just(SourceChanged::Supersede), Just(SourceChanged::Fail)];
    (0u64..=1_000_000_000_000, tolerance, changed).prop_map(
        |(max_bad_records, tolerate_failed_chunks, source_changed)| OnError {
            max_bad_records,
            tolerate_failed_chunks,
            source_changed,
        },
    )
}

fn split() -> impl Strategy<Value = Split> {
    prop_oneof![
        (1024u64..=5 << 30).prop_map(Split::SizeBytes),
        (1u64..=1_000_000_000).prop_map(Split::Records)
    ]
}

/// Batches are of functions alone.
fn fan_out(stage: &Stage) -> impl Strategy<Value = FanOut> + use<> {
    let is_function = stage.run_on == RunOn::Lambda;
    let batch = proptest::option::of(1u32..=1_000);
    let map = batch.prop_map(move |batch| FanOut::Map { batch: batch.filter(|_| is_function) });
    prop_oneof![Just(FanOut::Sqs), map]
}

fn pipeline() -> impl Strategy<Value = Pipeline> {
    let name = "[a-z0-9][a-z0-9-]{0,62}";
    let deadline_ms = 60_000u64..=13 * 86_400_000;
    let parts = source().prop_flat_map(|source| (stage(&source), merge(&source), Just(source)));
    let parts = parts.prop_flat_map(|(stage, merge, source)| (fan_out(&stage), Just((stage, merge, source))));
    (name, parts, split(), deadline_ms, on_error()).prop_map(
        |(name, (fan_out, (stage, merge, source)), split, deadline_ms, on_error)| Pipeline {
            name,
            source,
            split,
            fan_out,
            deadline_ms,
            stages: vec![stage],
            merge,
            on_error,
        },
    )
}

proptest! {
    #[test]
    fn the_canonical_document_gives_the_same_pipeline(pipeline in pipeline()) {
        let document = pipeline.to_document();
        let stored = serde_json::to_string(&pipeline).unwrap();
        prop_assert_eq!(Pipeline::from_value(&document), Ok(pipeline.clone()));
        prop_assert_eq!(serde_json::from_str::<Pipeline>(&stored).unwrap(), pipeline.clone());
        prop_assert_eq!(Pipeline::parse(&stored), Ok(pipeline));
    }

    #[test]
    fn what_a_pipeline_writes_never_starts_it(pipeline in pipeline(), key in "\\PC{1,40}") {
        let run = super::run();
        for written in [pipeline.output_key(&key, &run), pipeline.errors_key(&key, &run)] {
            prop_assert!(!pipeline.matches(&written.unwrap()));
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "(?s).{0,200}") {
        let refused = Pipeline::parse(&text).is_err();
        prop_assert!(refused);
    }

    #[test]
    fn no_spoilt_document_makes_the_parser_panic(at in 0usize..600, with in "[\\x00-\\x7f]{0,3}", cut in 0usize..5) {
        let mut text = super::ORDERS.to_owned();
        let start = at.min(text.len());
        text.replace_range(start..(start + cut).min(text.len()), &with);
        if let Err(error) = Pipeline::parse(&text) {
            prop_assert!(!error.mistakes.is_empty());
        }
    }
}
