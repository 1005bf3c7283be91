//! End to end, on the deployed stack: stages that a Distributed Map of Step Functions fans out.

use fanfold_domain::{Run, RunState, pipeline::Pipeline};
use fanfold_tests::sales::Style;
use serde_json::Value;

use crate::{
    oracle::confirmations,
    sales,
    stack::{Stack, variable},
    stages::{run_of, text},
    succeeded,
};

/// The execution that fanned a run out, as whoever looks into Step Functions finds it; none if there is none.
async fn execution(run: &Run) -> Option<fanfold_ports::maps::MapStatus> {
    let aws = fanfold_aws::Aws::connect(fanfold_aws::Settings::default()).await;
    let name = fanfold_domain::map::ExecutionName::of(&fanfold_domain::launch::StageName::of(
        run,
        &run.last_stage().name,
    ));
    let maps = aws.maps(variable("FANFOLD_MAP_STATE_MACHINE_ARN"));
    fanfold_ports::Maps::status(&maps, &name).await.expect("Step Functions answers")
}

/// Applies a pipeline of orders, small chunks of which are fanned out so and worked on so.
pub(crate) async fn apply_orders(stack: &Stack, name: &str, fan_out: &str, stage: &str) {
    let document = format!(
        "pipeline: {name}\nsource: {{ prefix: {name}/, format: csv, header: true }}\nsplit: {{ records: 500 }}\n\
         fan_out: {fan_out}\nstages:\n- {{ name: confirm, process: orders, max_concurrency: 8, {stage} }}\n\
         merge: {{ header: 'orderid,confirmationid' }}\n"
    );
    stack.apply(&Pipeline::parse(&document).unwrap_or_else(|error| panic!("{document}\n{error}"))).await;
}

fn lines(name: &str, fan_out: &str, rest: &str) -> Pipeline {
    let document = format!(
        "pipeline: {name}\nsource: {{ prefix: {name}/, format: lines }}\nsplit: {{ records: 1 }}\nfan_out: {fan_out}\n{rest}"
    );
    Pipeline::parse(&document).unwrap_or_else(|error| panic!("{document}\n{error}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_map_gives_the_bytes_that_messages_give() {
    let stack = Stack::connect().await;
    let source = sales(Style::Quoted, 20_000);
    apply_orders(&stack, "ways", "sqs", "timeout: 1m").await;
    // Ids are derived of the version that a submission finds.
    succeeded(&stack.run_of("ways/sales.csv", &source).await);
    let by_messages = stack.run_of_submission_as("ways", "ways/sales.csv", "messages").await;
    succeeded(&by_messages);
    assert_eq!(execution(&by_messages).await, None);
    let expected = stack.read(&by_messages.output).await.expect("it has an output");
    assert!(expected == confirmations(&source, &by_messages, &[]), "the output differs");
    for (way, fan_out, stage) in [
        ("express", "distributed-map", "timeout: 30s"),
        ("standard", "distributed-map", "timeout: 1m"),
        ("single", "{ distributed-map: { batch: 1 } }", "timeout: 30s"),
        ("large", "{ distributed-map: { batch: 1000 } }", "timeout: 30s"),
    ] {
        apply_orders(&stack, "ways", fan_out, stage).await;
        let run = stack.run_of_submission_as("ways", "ways/sales.csv", way).await;
        succeeded(&run);
        assert!(stack.read(&run.output).await.as_ref() == Some(&expected), "{way}: the output differs");
        assert!(execution(&run).await.is_some(), "{way}: nothing was executed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_map_over_objects_gives_the_bytes_that_messages_give() {
    let stack = Stack::connect().await;
    let rest = |fan_out: &str| {
        format!(
            "source: {{ prefix: heap/, format: objects }}\nsplit: {{ records: 4 }}\nfan_out: {fan_out}\n\
             stages: [{{ name: show, command: [/bin/cat], timeout: 30s }}]\nmerge: {{ key: 'heap-{{run}}_Output' }}\n"
        )
    };
    // First, so that what is uploaded is nothing to the stack's own pipeline.
    let lists = format!("pipeline: heap-messages\n{}", rest("sqs"));
    stack.apply(&Pipeline::parse(&lists).expect("the document is right")).await;
    let keys: Vec<String> = (0..25).map(|at| format!("heap/{at:02}")).collect();
    for key in &keys {
        stack.upload(key, key.as_bytes()).await;
    }
    let by_messages = run_of(&stack, "heap-messages", &rest("sqs")).await;
    let expected = text(&stack, &by_messages).await;
    assert_eq!(execution(&by_messages).await, None);
    let listed: Vec<Value> =
        expected.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
    assert_eq!(listed.iter().map(|line| &line["key"]).collect::<Vec<_>>(), keys.iter().collect::<Vec<_>>());
    for (name, fan_out) in
        [("heap-map", "distributed-map"), ("heap-pairs", "{ distributed-map: { batch: 2 } }")]
    {
        let run = run_of(&stack, name, &rest(fan_out)).await;
        assert_eq!(text(&stack, &run).await, expected, "{name}");
        assert_eq!(run.plan.as_ref().map(|plan| plan.grouping.chunks), Some(7), "{name}");
        assert!(execution(&run).await.is_some(), "{name}: nothing was executed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_killed_in_a_map_fails_its_chunk_with_the_reason() {
    let stack = Stack::connect().await;
    let rest = "stages: [{ name: s, command: [/bin/sh, -c, 'case $FANFOLD_CHUNK in 1) kill -KILL $$;; *) cat;; esac'], \
                retry: { attempts: 2, backoff: 1s } }]\non_error: { tolerate_failed_chunks: 1 }";
    stack.apply(&lines("killed-program", "{ distributed-map: { batch: 3 } }", rest)).await;
    let run = stack.run_of("killed-program/a", b"one\ntwo\nthree\n").await;
    assert_eq!(run.state, RunState::SucceededPartial, "{:?}", run.reason);
    assert_eq!(stack.read(&run.output).await, Some(b"one\nthree\n".to_vec()));
    let failures = stack.failures(&run).await;
    let [(chunk, failure)] = &failures[..] else { panic!("{failures:?}") };
    assert_eq!(chunk.0, 1);
    assert!(failure.reason.contains("SIGKILL") && failure.reason.contains("2 tries"), "{}", failure.reason);
}

/// The worker dies with the child, and cannot tell anybody.
#[tokio::test(flavor = "multi_thread")]
async fn a_child_whose_worker_is_killed_becomes_a_failed_chunk_with_its_reason() {
    let stack = Stack::connect().await;
    let rest = "stages: [{ name: s, command: [/bin/sh, -c, 'case $FANFOLD_CHUNK in 1) kill -KILL $PPID;; *) cat;; esac'] }]\n\
                on_error: { tolerate_failed_chunks: 1 }";
    stack.apply(&lines("killed-worker", "{ distributed-map: { batch: 1 } }", rest)).await;
    let run = stack.run_of("killed-worker/a", b"one\ntwo\nthree\n").await;
    assert_eq!(run.state, RunState::SucceededPartial, "{:?}", run.reason);
    assert_eq!(stack.read(&run.output).await, Some(b"one\nthree\n".to_vec()));
    let failures = stack.failures(&run).await;
    let [(chunk, failure)] = &failures[..] else { panic!("{failures:?}") };
    assert_eq!(chunk.0, 1);
    assert!(failure.reason.contains("child of the Map failed: "), "{}", failure.reason);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_event_starts_no_second_map() {
    let stack = Stack::connect().await;
    let rest = "stages: [{ name: s, command: [/bin/sh, -c, 'sleep 2; cat'] }]";
    stack.apply(&lines("again", "distributed-map", rest)).await;
    let etag = stack.upload("again/a", b"one\ntwo\n").await;
    let begun = stack.begun("again/a", &etag).await;
    stack.send_event_again(&begun).await;
    let run = stack.ended(&begun).await;
    succeeded(&run);
    stack.send_event_again(&run).await;
    stack.settle().await;
    assert_eq!(stack.runs_of("again/a").await.len(), 1);
    assert_eq!(stack.run(&run).await, run);
    assert_eq!(stack.read(&run.output).await, Some(b"one\ntwo\n".to_vec()));
}
