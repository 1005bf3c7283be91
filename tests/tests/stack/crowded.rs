//! An account with few functions at once, on a strict stack. Alone, after all other tests: it takes functions, readers and
//! time from whatever runs beside it.

use aws_sdk_lambda::types::ScalingConfig;
use aws_sdk_sqs::types::QueueAttributeName;

use crate::{
    stack::{Stack, variable},
    stages::{run_of, text},
    strict,
};

const AT_ONCE: u64 = 10;
const WINDOW: i32 = 50;
const CHUNKS: u64 = 100;
/// As in a real stack little longer than a chunk takes, so that messages wait for several deliveries.
const VISIBILITY_S: u64 = 7;
const CHUNK_S: u64 = 4;

/// Lets the queue of chunks be read by as many as are in a window, and give back soon what finds no function.
async fn crowd() {
    let sdk = aws_config::load_defaults(aws_config::BehaviorVersion::v2026_01_12()).await;
    let queue = variable("FANFOLD_CHUNKS_QUEUE_URL");
    let lambda = aws_sdk_lambda::Client::new(&sdk);
    let readers = lambda.list_event_source_mappings().send().await.expect("they are listed");
    let name = queue.rsplit('/').next().expect("an address ends in the queue's name");
    let reads = |arn: Option<&str>| arn.is_some_and(|arn| arn.ends_with(&format!(":{name}")));
    let reader = readers.event_source_mappings().iter().find(|reader| reads(reader.event_source_arn()));
    let uuid = reader.and_then(|reader| reader.uuid()).expect("the worker reads the queue");
    let scaling = ScalingConfig::builder().maximum_concurrency(WINDOW).build();
    let update = lambda.update_event_source_mapping().uuid(uuid).scaling_config(scaling);
    update.send().await.expect("the reader is changed");
    let sqs = aws_sdk_sqs::Client::new(&sdk);
    let visibility = (QueueAttributeName::VisibilityTimeout, VISIBILITY_S.to_string());
    let update = sqs.set_queue_attributes().queue_url(queue).attributes(visibility.0, visibility.1);
    update.send().await.expect("the queue is changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_finds_no_function_free_at_any_delivery_is_not_failed() {
    let stack = Stack::connect().await;
    crowd().await;
    strict::set(&format!(r#"{{"concurrency": {AT_ONCE}}}"#)).await;
    let rest = format!(
        "source: {{ range: {{ count: {CHUNKS} }} }}\nsplit: {{ records: 1 }}\nstages:\n\
         - {{ name: slow, command: [/bin/sh, -c, 'sleep {CHUNK_S}; cat'], max_concurrency: {WINDOW} }}\n"
    );
    let run = run_of(&stack, "crowded", &rest).await;
    let counted = strict::counted().await;
    let expected: String = (1..=CHUNKS).map(|id| id.to_string() + "\n").collect();
    assert_eq!(text(&stack, &run).await, expected);
    assert!(counted.keys().any(|name| name.starts_with("given back ")), "nothing waited: {counted:?}");
}
