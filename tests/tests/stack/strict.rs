//! End to end, on a stack that is as strict as AWS (`scripts/stack up --strict`): what it would have stopped.

use std::collections::BTreeMap;

use aws_sdk_lambda::{
    primitives::Blob,
    types::{FunctionCode, RecursiveLoop, Runtime},
};
use aws_sdk_sqs::types::QueueAttributeName;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, client::conn::http1, http::request::Builder};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::{
    functions::zip,
    stack::{Stack, variable},
    stages::{run_of, text},
};

const PATH: &str = "/_fanfold/strict";
/// Sends what it is sent to its own queue again, thirty times.
const LOOP: &str = r#"
import boto3

def handler(event, context):
    sqs = boto3.client("sqs")
    for record in event["Records"]:
        count = int(record["body"]) + 1
        if count < 30:
            name = record["eventSourceARN"].rsplit(":", 1)[1]
            sqs.send_message(QueueUrl=sqs.get_queue_url(QueueName=name)["QueueUrl"], MessageBody=str(count))
"#;
/// The most that Lambda lets a chain of requests invoke a function which is not allowed more.
const MOST_HOPS: u64 = 16;
const WINDOWS: u64 = 3 * MOST_HOPS;
const WINDOW: u64 = 2;

/// What the local AWS counted of what it refused, and the longest chain of requests that it saw.
pub(crate) async fn counted() -> BTreeMap<String, u64> {
    asked(Request::get(PATH), "").await
}

/// Sets how strict the local AWS is, from now on.
pub(crate) async fn set(limits: &str) {
    asked(Request::put(PATH), limits).await;
}

async fn asked(request: Builder, body: &str) -> BTreeMap<String, u64> {
    let endpoint = variable("AWS_ENDPOINT_URL");
    let host = endpoint.strip_prefix("http://").expect("it has no TLS").to_owned();
    let stream = TcpStream::connect(&host).await.expect("the local AWS listens");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("it speaks HTTP");
    tokio::spawn(connection);
    let request = request.header("host", host).body(Full::new(Bytes::from(body.to_owned())));
    let answer = sender.send_request(request.expect("it is a request")).await.expect("it answers");
    let body = answer.into_body().collect().await.expect("all of it came").to_bytes();
    serde_json::from_slice(&body).expect("run this on a stack that is up with --strict")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_more_windows_than_a_chain_may_have_hops_ends() {
    let stack = Stack::connect().await;
    let rest = format!(
        "source: {{ range: {{ count: {} }} }}\nsplit: {{ records: 1 }}\n\
         stages: [{{ name: show, command: [/bin/cat], max_concurrency: {WINDOW} }}]\n",
        WINDOW * WINDOWS
    );
    let run = run_of(&stack, "windows", &rest).await;
    let expected: String = (1..=WINDOW * WINDOWS).map(|id| id.to_string() + "\n").collect();
    assert_eq!(text(&stack, &run).await, expected);
    let counted = counted().await;
    let is_of_stack = |name: &&String| name.starts_with("dropped fanfold-") && !name.contains("-test-");
    let dropped: Vec<_> = counted.keys().filter(is_of_stack).collect();
    assert_eq!(dropped, Vec::<&String>::new());
    // Else the SDK or a queue no longer passes the trace header on, and this has tested nothing.
    assert!(counted["longest chain"] > MOST_HOPS, "{counted:?}");
}

/// As a shell tells what it and its children may have.
#[tokio::test(flavor = "multi_thread")]
async fn a_program_has_as_much_memory_and_as_large_files_as_its_function() {
    let stack = Stack::connect().await;
    let rest = "source: { range: { count: 1 } }\n\
        stages: [{ name: tell, command: [/bin/sh, -c, 'cat > /dev/null; ulimit -d; ulimit -f'] }]\n";
    let run = run_of(&stack, "limits", rest).await;
    // 1769 MiB in KiB, and 512 MiB in blocks of 512 bytes.
    assert_eq!(text(&stack, &run).await, format!("{}\n{}\n", 1769 * 1024, 512 * 2048));
}

/// Has a function invoke itself by a queue until it ends or is dropped; whether it ended.
async fn ends(stack: &Stack, name: &str, allowed: RecursiveLoop) -> bool {
    let sdk = aws_config::load_defaults(aws_config::BehaviorVersion::v2026_01_12()).await;
    let (lambda, sqs) = (aws_sdk_lambda::Client::new(&sdk), aws_sdk_sqs::Client::new(&sdk));
    let anybody = r#"{"Version":"2012-10-17","Statement":[
        {"Effect":"Allow","Principal":"*","Action":"sqs:*","Resource":"*"}]}"#;
    let create = sqs.create_queue().queue_name(name).attributes(QueueAttributeName::Policy, anybody);
    let url = create.send().await.expect("the queue is made").queue_url.expect("it has an address");
    let attributes = async || {
        let look = sqs.get_queue_attributes().queue_url(&url).attribute_names(QueueAttributeName::All);
        look.send().await.expect("the queue is there").attributes.expect("it has some")
    };
    let arn = attributes().await[&QueueAttributeName::QueueArn].clone();
    let code = FunctionCode::builder().zip_file(Blob::new(zip("again.py", LOOP.as_bytes()))).build();
    let create = lambda.create_function().function_name(name).runtime(Runtime::Python313).code(code);
    // The queue lets anybody send; any role does that a function may have.
    let create = create.handler("again.handler").timeout(20).role(variable("FANFOLD_LAUNCHER_ROLE_ARN"));
    create.send().await.expect("the function is made");
    let put = lambda.put_function_recursion_config().function_name(name).recursive_loop(allowed);
    put.send().await.expect("it is kept");
    let map = lambda.create_event_source_mapping().function_name(name).event_source_arn(arn).batch_size(1);
    map.send().await.expect("the queue is read");
    sqs.send_message().queue_url(&url).message_body("0").send().await.expect("it is sent");
    let dropped = format!("dropped {name}");
    stack
        .until("the end of a loop", async || {
            if counted().await.contains_key(&dropped) {
                return Some(false);
            }
            let attributes = attributes().await;
            let names = [
                QueueAttributeName::ApproximateNumberOfMessages,
                QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
            ];
            // Each message is sent before the one before it is deleted.
            names.iter().all(|name| attributes[name] == "0").then_some(true)
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_invokes_itself_by_a_queue_is_stopped_unless_it_is_allowed_to() {
    let stack = Stack::connect().await;
    assert!(ends(&stack, "fanfold-test-allowed", RecursiveLoop::Allow).await);
    assert!(!ends(&stack, "fanfold-test-stopped", RecursiveLoop::Terminate).await);
}
