//! The canonical document of a pipeline is that pipeline.

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

use super::super::*;
use crate::Milestone;

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
    let env = proptest::collection::btree_map("[b-z_][a-zA-Z0-9_]{0,9}", "[^\0]{0,9}", 0..3);
    let command = (vec("[^\0]{1,20}", 1..4), any::<bool>(), credentials, env).prop_map(
        move |(argv, on_stdin, credentials, env)| Process::Command {
            argv,
            header_on_stdin: on_stdin && header,
            credentials,
            env: env.into_iter().collect(),
        },
    );
    let orders = of("[a-zA-Z0-9_.-]{3,20}").prop_map(|table| Process::Orders { table });
    if matches!(source.format, Format::Csv { .. }) {
        prop_oneof![orders, Just(Process::Copy), Just(Process::Index), command, http()].boxed()
    } else if source.format == Format::Jsonl {
        prop_oneof![Just(Process::Copy), Just(Process::Index), command, http(), resize()].boxed()
    } else {
        prop_oneof![Just(Process::Copy), Just(Process::Index), command, http()].boxed()
    }
}

/// What a third party is asked of any source.
fn http() -> impl Strategy<Value = Process> {
    let url = prop_oneof![
        Just("https://api.example.com/a?x={record}&id={id}"),
        Just("http://[2001:db8::1]:8080/{offset}/{record}"),
    ]
    .prop_map(|url| RequestTemplate::parse(url).unwrap());
    let body = prop_oneof![Just("{\"a\": {record}, \"b\": \"{{x} {id}\"}"), Just("{record}")]
        .prop_map(|body| RequestTemplate::parse(body).unwrap());
    let methods =
        prop_oneof![Just(Method::Post), Just(Method::Put), Just(Method::Patch), Just(Method::Delete)];
    let request = (of(body), methods).prop_map(|(body, method)| match body {
        Some(body) => (Some(body), method),
        None => (None, Method::Get),
    });
    let headers = proptest::collection::btree_map("x-[a-z]{1,9}", "([!-~]([ -~]{0,9}[!-~])?)?", 0..3)
        .prop_map(|headers| headers.into_iter().collect());
    let times = (100u64..=300_000, 1u32..=20, 10u64..=60_000);
    let output = prop_oneof![Just(AnswerLine::Body), Just(AnswerLine::Json)];
    (url, request, headers, 1u32..=64, times, output, 1_024u64..=4 << 20, "[^\n\r]{0,9}").prop_map(
        |(
            url,
            (body, method),
            headers,
            at_once,
            (timeout_ms, attempts, backoff_ms),
            output,
            max_answer_bytes,
            first,
        )| {
            Process::Http(Box::new(Http {
                url,
                method,
                headers,
                body,
                batch: 1,
                at_once,
                timeout_ms,
                attempts,
                backoff_ms,
                output,
                max_answer_bytes,
                first,
            }))
        },
    )
}

fn resize() -> impl Strategy<Value = Process> {
    let fit = prop_oneof![Just(Fit::Inside), Just(Fit::Cover)];
    let format = of(prop::sample::select(ImageFormat::ALL.to_vec()));
    let bucket = of("[b-r][a-z0-9-]{1,20}\\.[a-z0-9]");
    let looks = (1u32..=16_383, 1u32..=16_383, fit, any::<bool>(), 1u8..=100, format);
    (looks, bucket, 1u32..=64, (16u64 << 20)..=8 << 30).prop_map(
        |((width, height, fit, enlarge, quality, format), bucket, at_once, memory_bytes)| {
            // A format that loses nothing has no quality to say.
            let quality = if format == Some(ImageFormat::Png) { 82 } else { quality };
            // No generated suffix ends so.
            let key = "{key}-of-an-image".parse().unwrap();
            let resize =
                Resize { width, height, fit, enlarge, quality, format, key, bucket, at_once, memory_bytes };
            Process::Resize(Box::new(resize))
        },
    )
}

/// Makes a stage sequential, which is so in all its parts.
fn sequential(mut stage: Stage) -> Stage {
    if stage.run_on == RunOn::Lambda {
        (stage.order, stage.max_concurrency) = (Order::Sequential, 1);
        if let Process::Http(http) = &mut stage.process {
            http.at_once = 1;
        }
    }
    stage
}

/// Pods of a stage; an image only for a command.
fn run_on(is_command: bool) -> BoxedStrategy<RunOn> {
    let image = if is_command { of("[a-z0-9./:-]{1,40}").boxed() } else { Just(None).boxed() };
    let name = "[a-z]([a-z0-9-]{0,20}[a-z0-9])?";
    let effect = prop_oneof![Just("NoSchedule"), Just("PreferNoSchedule"), Just("NoExecute")];
    let label = "([a-z]{1,5}\\.[a-z]{1,5}/)?[a-zA-Z]([a-z._-]{0,9}[A-Z0-9])?";
    let toleration = (of(label), of("[a-z]{1,9}"), of(effect)).prop_map(|(key, value, effect)| {
        // Only a key has a value.
        Toleration { value: value.filter(|_| key.is_some()), key, effect }
    });
    let node_selector = proptest::collection::btree_map(label, "([a-z]([a-z._-]{0,9}[A-Z0-9])?)?", 0..3);
    let pods = (image, 10u32..=256_000, (32u64 << 20)..=1 << 40, of(1u32..=1_000));
    let kubernetes = (name, name, node_selector, vec(toleration, 0..3), 1u32..=2_147_483_647);
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
    let reserved = |name: &String| !matches!(name.as_str(), "scan" | "plan");
    let name = "[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?".prop_filter("some are reserved", reserved);
    let process = process(source).prop_flat_map(|process| {
        let run_on = run_on(matches!(process, Process::Command { .. }));
        (Just(process), run_on)
    });
    let rate = prop_oneof!["[1-9]\\.[0-9]{1,3}/[smh]", "[1-9][0-9]{0,2}/[smh]"]
        .prop_map(|rate| rate.parse().unwrap());
    let to = of("[a-z0-9._-]{1,63}").prop_map(|to| to.map(|to| to.parse().unwrap()));
    let rate = of((to, rate).prop_map(|(to, rate)| RateLimit { to, rate }));
    (name, process, rate, 2u32..=10_000, 1_000u64..=870_000, retry, any::<bool>()).prop_map(
        |(name, (process, run_on), rate, max_concurrency, timeout_ms, retry, is_sequential)| {
            let rate = rate.filter(|_| matches!(process, Process::Http(_)));
            let order = Order::Parallel;
            let upstream = None;
            let stage =
                Stage { name, upstream, process, run_on, order, rate, max_concurrency, timeout_ms, retry };
            if is_sequential { sequential(stage) } else { stage }
        },
    )
}

/// What stages behind the first read, each of any before it.
fn behind(first: Stage, more: Vec<(Stage, prop::sample::Index, Option<u32>, bool)>) -> Vec<Stage> {
    let mut stages = vec![first];
    for (mut stage, at, fan_in, is_n_to_n) in more {
        let before = at.index(stages.len());
        let by = if is_n_to_n && fan_in.is_none() { Depends::NToN } else { Depends::All };
        stage.upstream = Some(Upstream { stage: before, by, fan_in: fan_in.unwrap_or(1) });
        match &mut stage.process {
            Process::Command { header_on_stdin, .. } => *header_on_stdin = false,
            process @ Process::Orders { .. } => *process = Process::Index,
            _ => {}
        }
        if stages.iter().all(|other| other.name != stage.name) {
            stages.push(stage);
        }
    }
    stages
}

fn merge(source: &Source) -> impl Strategy<Value = Merge> + use<> {
    let input = if source.has_header() { MergeHeader::Input } else { MergeHeader::None };
    let line = "[^\n\r\0]{1,30}"
        .prop_filter("two words mean something else", |line| !matches!(line.as_str(), "none" | "input"))
        .prop_map(MergeHeader::Literal);
    let header = prop_oneof![Just(MergeHeader::None), Just(input), line];
    // A tail that no generated suffix ends in keeps the outputs apart from the sources.
    let key = prop_oneof!["\\{key\\}", "[a-z/]{0,9}\\{run\\}", "\\{run\\}/\\{key\\}"];
    (of("[b-r][a-z0-9-]{1,20}\\.[a-z0-9]"), key, header).prop_map(|(bucket, key, header)| Merge {
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

fn schedule() -> impl Strategy<Value = Schedule> {
    let crons =
        prop_oneof![Just("0 6 * * ? *"), Just("0/5 8-17 ? JAN,JUL MON-FRI *"), Just("0 0 L * ? 2030")];
    let zones = prop_oneof![Just(UTC), Just("Europe/Berlin"), Just("America/Argentina/Buenos_Aires")];
    let cron = (crons, zones)
        .prop_map(|(cron, zone)| Times::Cron { cron: cron.parse().unwrap(), time_zone: zone.to_owned() });
    let rate = (1u32..=366, prop_oneof![Just("minutes"), Just("hours"), Just("days")])
        .prop_map(|(count, unit)| Times::Rate(format!("{count} {unit}").parse().unwrap()));
    // No generated template gives a key that ends so.
    (prop_oneof![cron, rate], "\\PC{0,20}x")
        .prop_map(|(times, object)| Schedule { times, object: Some(object) })
}

fn notify() -> impl Strategy<Value = Notify> {
    let milestone = prop::sample::select(&Milestone::ALL);
    proptest::collection::btree_set(milestone, 0..7).prop_map(|on| Notify { on })
}

fn cleanup() -> impl Strategy<Value = Cleanup> {
    let on = prop_oneof![Just(CleanupOn::Never), Just(CleanupOn::Succeeded), Just(CleanupOn::Always)];
    (on, vec("[a-z]{0,5}\\{run\\}(/\\{key\\}|/)?", 0..4)).prop_map(|(on, temporaries)| Cleanup {
        on,
        temporaries: temporaries.iter().map(|template| template.parse().unwrap()).collect(),
    })
}

/// Batches are of functions alone.
/// A Map begins with all of a stage at once.
fn fan_out(stages: &[Stage]) -> BoxedStrategy<FanOut> {
    let waits = |stage: &Stage| stage.upstream.is_none_or(|upstream| upstream.by == Depends::All);
    if !stages.iter().all(|stage| waits(stage) && stage.order == Order::Parallel) {
        return Just(FanOut::Sqs).boxed();
    }
    let is_function = stages.iter().any(|stage| stage.run_on == RunOn::Lambda);
    let batch = proptest::option::of(1u32..=1_000);
    let map = batch.prop_map(move |batch| FanOut::Map { batch: batch.filter(|_| is_function) });
    prop_oneof![Just(FanOut::Sqs), map].boxed()
}

fn pipeline() -> impl Strategy<Value = Pipeline> {
    let name = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?";
    let deadline_ms = 60_000u64..=13 * 86_400_000;
    let parts = source().prop_flat_map(|source| {
        let more =
            vec((stage(&source), any::<prop::sample::Index>(), of(2u32..=10_000), any::<bool>()), 0..4);
        let stages = (stage(&source), more).prop_map(|(first, more)| behind(first, more));
        (stages, merge(&source), Just(source))
    });
    let parts =
        parts.prop_flat_map(|(stages, merge, source)| (fan_out(&stages), Just((stages, merge, source))));
    let follows = (of(schedule()), notify(), cleanup());
    (name, parts, split(), deadline_ms, on_error(), follows).prop_map(
        |(
            name,
            (fan_out, (stages, merge, source)),
            split,
            deadline_ms,
            on_error,
            (schedule, notify, cleanup),
        )| {
            Pipeline {
                name,
                source,
                plan: None,
                // A rate must be one by which a chunk of so many records ends in time.
                split: if stages[0].rate.is_some() { Split::SizeBytes(64 << 20) } else { split },
                fan_out,
                deadline_ms,
                stages,
                merge,
                on_error,
                schedule,
                notify,
                cleanup,
            }
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
