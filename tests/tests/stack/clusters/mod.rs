//! End to end, on the deployed stack and two real clusters, `one` and `two`: what a user uploads, and what comes back.
//!
//! `scripts/test` starts them, and gives them the worker's image and one with some tools; where there can be none it
//! leaves these tests out, and says so.

mod fleet;
mod launched;
mod maps;

use std::collections::BTreeMap;

use fanfold_domain::{Launch, RunState, cluster::Cluster, pipeline::Pipeline};
use fleet::{cluster, declared, kubectl};
use tokio::sync::RwLock;

use crate::{
    oracle::confirmations,
    sales,
    stack::{Stack, variable},
    succeeded,
};
use fanfold_tests::sales::Style;

const TOOLS: &str = "fanfold.local/busybox:1";

/// Whoever stops a cluster is alone.
static CLUSTERS: RwLock<()> = RwLock::const_new(());

/// A stack, and a queue of a test's own that these test clusters take with these weights.
async fn stack_with(queue: &str, clusters: &[(&str, u32)]) -> Stack {
    let stack = Stack::connect().await;
    let image = variable("FANFOLD_WORKER_IMAGE");
    for (name, weight) in clusters {
        let own = format!("{queue}-{name}");
        stack.declare(&declared(&own, name, queue, *weight, "fanfold", &image)).await;
    }
    stack
}

/// Applies a pipeline of lines of that name and queue, with these further fields of its stage.
async fn apply(stack: &Stack, queue: &str, split: &str, stage: &str) {
    let document = format!(
        "pipeline: {queue}\nsource: {{ prefix: {queue}/, format: lines }}\nsplit: {split}\nstages:\n\
         - {{ name: s, run_on: eks, max_concurrency: 8, resources: {{ cpu: 20m, memory: 64MiB }}, \
         kubernetes: {{ queue: {queue} }}, {stage} }}\n"
    );
    stack.apply(&Pipeline::parse(&document).unwrap_or_else(|error| panic!("{document}\n{error}"))).await;
}

fn lines(count: usize) -> Vec<u8> {
    (0..count).flat_map(|n| format!("line {n} of many\n").into_bytes()).collect()
}

fn shares(launches: &[Launch]) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    for launch in launches {
        *shares.entry(launch.cluster.clone().expect("it was given to one")).or_default() += 1;
    }
    shares
}

#[tokio::test(flavor = "multi_thread")]
async fn clusters_share_a_run_by_weight_and_it_comes_back_in_order() {
    let _shared = CLUSTERS.read().await;
    let stack = stack_with("shared", &[("one", 1), ("two", 3)]).await;
    let document = "pipeline: shared\nsource: { prefix: shared/, format: csv, header: true }\n\
                    split: { size: 256KiB }\nstages:\n- { name: confirm, run_on: eks, process: orders, \
                    max_concurrency: 16, resources: { cpu: 20m, memory: 64MiB }, kubernetes: { queue: shared } }\n\
                    merge: { header: 'orderid,confirmationid' }\n";
    stack.apply(&Pipeline::parse(document).expect("the document is right")).await;
    let source = sales(Style::Quoted, 100_000);
    let run = stack.run_of("shared/sales.csv", &source).await;
    succeeded(&run);
    assert!(stack.read(&run.output).await == Some(confirmations(&source, &run, &[])), "the output differs");
    let chunks = run.plan.as_ref().expect("it was planned").grouping.chunks;
    assert!(chunks >= 40, "{chunks} chunks");
    let shares = shares(&stack.launches(&run).await);
    let (one, two) = (shares["shared-one"], shares["shared-two"]);
    assert!((2..=5).contains(&one) && one + two >= 12, "{one} and {two}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_users_image_runs_unchanged() {
    let _shared = CLUSTERS.read().await;
    let stack = stack_with("upper", &[("one", 1), ("two", 1)]).await;
    apply(&stack, "upper", "{ size: 1KiB }", &format!("image: '{TOOLS}', command: [tr, a-z, A-Z]")).await;
    let source = lines(200);
    let run = stack.run_of("upper/a.txt", &source).await;
    succeeded(&run);
    assert_eq!(stack.read(&run.output).await, Some(source.to_ascii_uppercase()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_is_killed_costs_nothing_but_time() {
    let _shared = CLUSTERS.read().await;
    let stack = stack_with("killed", &[("two", 1)]).await;
    apply(
        &stack,
        "killed",
        "{ size: 1KiB }",
        &format!("image: '{TOOLS}', command: [sh, -c, 'sleep 5; cat']"),
    )
    .await;
    let source = lines(200);
    let etag = stack.upload("killed/a.txt", &source).await;
    let begun = stack.begun("killed/a.txt", &etag).await;
    let label = format!("fanfold.dev/run={}", begun.id);
    let running = ["get", "pods", "-l", &label, "--field-selector", "status.phase=Running", "-o", "name"];
    let pod =
        stack.until("a running pod", async || kubectl("two", &running).lines().next().map(ToOwned::to_owned));
    kubectl("two", &["delete", &pod.await, "--now"]);
    let run = stack.ended(&begun).await;
    succeeded(&run);
    assert_eq!(stack.read(&run.output).await, Some(source));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_needs_too_much_memory_fails_with_the_reason() {
    let _shared = CLUSTERS.read().await;
    let stack = stack_with("hungry", &[("one", 1)]).await;
    let stage = format!("image: '{TOOLS}', command: [tail, /dev/zero], retry: {{ attempts: 1 }}");
    apply(&stack, "hungry", "{ size: 1GiB }", &stage).await;
    let run = stack.run_of("hungry/a.txt", b"x\n").await;
    assert_eq!(run.state, RunState::Failed);
    let reason = run.reason.expect("a run that failed has a reason");
    assert!(reason.contains("memory"), "{reason}");
    assert_eq!(stack.head(&run.output).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_whose_api_server_stops_in_mid_run_loses_nothing() {
    let _alone = CLUSTERS.write().await;
    let stack = stack_with("outage", &[("one", 1), ("two", 1)]).await;
    apply(
        &stack,
        "outage",
        "{ size: 1KiB }",
        &format!("image: '{TOOLS}', command: [sh, -c, 'sleep 1; cat']"),
    )
    .await;
    let source = lines(800);
    let etag = stack.upload("outage/a.txt", &source).await;
    let begun = stack.begun("outage/a.txt", &etag).await;
    cluster(&["fail", "one", "stop"]);
    // Long enough that launches are refused, and not so long that all of them go elsewhere.
    stack.pause(20_000).await;
    cluster(&["fail", "one", "start"]);
    let run = stack.ended(&begun).await;
    succeeded(&run);
    assert_eq!(stack.read(&run.output).await, Some(source));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_a_launch_is_named_and_it_goes_on_once_that_is_right() {
    let _shared = CLUSTERS.read().await;
    let stack = Stack::connect().await;
    let image = variable("FANFOLD_WORKER_IMAGE");
    stack.declare(&declared("nowhere", "nowhere", "wrong", 1, "fanfold", &image)).await;
    stack.declare(&declared("without-rights", "one", "wrong", 1, "forbidden", &image)).await;
    let stranger = declared("stranger", "one", "wrong", 1, "fanfold", &image);
    let role = Some("arn:aws:iam::000000000000:role/nobody".to_owned());
    stack.declare(&Cluster { role, ..stranger }).await;
    apply(&stack, "wrong", "{ size: 1KiB }", "process: copy").await;
    let source = lines(100);
    let etag = stack.upload("wrong/a.txt", &source).await;
    let begun = stack.begun("wrong/a.txt", &etag).await;
    let note = stack.note(&begun, &["nowhere: ", "without-rights: ", "stranger: "]).await;
    assert!(note.contains("forbidden") && !note.contains("left out just now"), "{note}");
    stack.declare(&declared("right", "two", "wrong", 1, "fanfold", &image)).await;
    let run = stack.ended(&begun).await;
    succeeded(&run);
    assert_eq!(stack.read(&run.output).await, Some(source));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_is_reached_is_named_and_waited_for() {
    let _alone = CLUSTERS.write().await;
    let stack = stack_with("quota", &[("one", 1)]).await;
    apply(&stack, "quota", "{ size: 1KiB }", "process: copy").await;
    kubectl("one", &["create", "quota", "no-more-jobs", "--hard=count/jobs.batch=0"]);
    // A quota that nobody has counted against yet keeps nothing back.
    kubectl("one", &["wait", "quota/no-more-jobs", "--for=jsonpath={.status.used}", "--timeout=60s"]);
    let source = lines(100);
    let etag = stack.upload("quota/a.txt", &source).await;
    let begun = stack.begun("quota/a.txt", &etag).await;
    let note = stack.note(&begun, &["exceeded quota", "no-more-jobs"]).await;
    kubectl("one", &["delete", "quota", "no-more-jobs"]);
    assert!(note.contains("quota-one"), "{note}");
    let run = stack.ended(&begun).await;
    succeeded(&run);
    assert_eq!(stack.read(&run.output).await, Some(source));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_cannot_be_pulled_fails_the_run_with_the_clusters_own_words() {
    let _shared = CLUSTERS.read().await;
    let stack = stack_with("absent", &[("one", 1)]).await;
    apply(&stack, "absent", "{ size: 1GiB }", "image: 'fanfold.local/absent:1', command: [cat]").await;
    let run = stack.run_of("absent/a.txt", b"x\n").await;
    assert_eq!(run.state, RunState::Failed);
    let reason = run.reason.expect("a run that failed has a reason");
    assert!(reason.contains("fanfold.local/absent:1") && reason.contains("Pull"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_the_image_does_not_have_fails_the_run_by_its_name() {
    let _shared = CLUSTERS.read().await;
    let stack = stack_with("missing", &[("two", 1)]).await;
    let stage = format!("image: '{TOOLS}', command: [nosuchtool], retry: {{ attempts: 2 }}");
    apply(&stack, "missing", "{ size: 1GiB }", &stage).await;
    let run = stack.run_of("missing/a.txt", b"x\n").await;
    assert_eq!(run.state, RunState::Failed);
    let reason = run.reason.expect("a run that failed has a reason");
    assert!(reason.contains("nosuchtool"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_larger_than_any_node_are_said_to_be() {
    let _shared = CLUSTERS.read().await;
    let stack = stack_with("large", &[("two", 1)]).await;
    let document = "pipeline: large\nsource: { prefix: large/, format: lines }\nstages:\n- { name: s, run_on: eks, \
                    process: copy, resources: { memory: 4096GiB }, kubernetes: { queue: large } }\n";
    stack.apply(&Pipeline::parse(document).expect("the document is right")).await;
    let etag = stack.upload("large/a.txt", b"x\n").await;
    let begun = stack.begun("large/a.txt", &etag).await;
    let note = stack.note(&begun, &["Unschedulable", "memory"]).await;
    assert!(note.contains("Insufficient memory"), "{note}");
}
