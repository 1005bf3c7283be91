//! The deployed stack, as a user sees it.

use std::{collections::HashMap, process::Command, sync::Arc};

use aws_sdk_dynamodb::types::AttributeValue;
use fanfold_aws::{Aws, QueueUrls, Settings};
use fanfold_domain::{
    ChunkIndex, ETag, ObjectName, Origin, Run, RunId, key,
    message::{Failure, Submission, encode},
    pipeline::Pipeline,
};
use fanfold_ports::{
    Clock, Ports, Queue,
    ledger::{Freshness, Saved, StageId},
    objects::{Condition, MAX_LISTED, Metadata, ObjectHead, Pin, Written},
    queues::Outgoing,
};
use futures::TryStreamExt;
use serde_json::json;

/// The longest that a test waits for anything, in milliseconds: a hang fails, a busy machine does not.
const PATIENCE_MS: u64 = 300_000;
const LOOK_EVERY_MS: u64 = 100;

/// The deployed stack.
pub(crate) struct Stack {
    ports: Ports,
    pub(crate) aws: Aws,
    work_bucket: String,
    input_bucket: String,
    pub(crate) orders_table: String,
}

#[expect(clippy::disallowed_methods, reason = "what scripts/test says of the stack it deployed")]
pub(crate) fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run this by scripts/test"))
}

/// What a person types: what is said, or what is said of why it failed.
pub(crate) fn fanfold(words: &[&str]) -> Result<String, String> {
    let tests = std::env::current_exe().expect("this program has a path");
    let programs = tests.ancestors().nth(2).expect("tests stand in a folder of what was built");
    let done =
        Command::new(programs.join("fanfold")).args(words).output().expect("the command line was built");
    let [said, complained] =
        [done.stdout, done.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    if done.status.success() { Ok(said) } else { Err(complained) }
}

impl Stack {
    pub(crate) async fn connect() -> Self {
        let queues = QueueUrls {
            intake: Some(variable("FANFOLD_INTAKE_QUEUE_URL")),
            folds: Some(variable("FANFOLD_FOLDS_QUEUE_URL")),
            ..QueueUrls::default()
        };
        let aws = Aws::connect(Settings { endpoint: None, whole_checksum: false }).await;
        let ports = aws.ports(variable("FANFOLD_LEDGER_TABLE"), queues);
        let (input_bucket, orders_table) =
            (variable("FANFOLD_INPUT_BUCKET"), variable("FANFOLD_ORDERS_TABLE"));
        let work_bucket = variable("FANFOLD_WORK_BUCKET");
        Self { ports, aws, work_bucket, input_bucket, orders_table }
    }

    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        self.ports.clock.clone()
    }

    pub(crate) async fn apply(&self, pipeline: &Pipeline) {
        self.ports.ledger.put_pipeline(pipeline).await.expect("the pipeline was kept");
    }

    pub(crate) async fn upload(&self, key: &str, body: &[u8]) -> ETag {
        let object = ObjectName::new(&self.input_bucket, key);
        let body = body.to_vec().into();
        let written = self.ports.objects.put(&object, body, Condition::Always, &Metadata::new()).await;
        match written.expect("the upload was answered") {
            Written::Stored(stored) => stored.etag,
            other => panic!("{key} was not uploaded: {other:?}"),
        }
    }

    /// Uploads, and waits for the end of the run that this starts.
    pub(crate) async fn run_of(&self, key: &str, body: &[u8]) -> Run {
        let etag = self.upload(key, body).await;
        let begun = self.begun(key, &etag).await;
        self.ended(&begun).await
    }

    /// Waits until a run of this upload has its first chunks under way.
    pub(crate) async fn begun(&self, key: &str, etag: &ETag) -> Run {
        self.until(&format!("a run of {key}"), async || {
            let runs = self.runs_of(key).await;
            runs.into_iter()
                .find(|run| run.source.etag == *etag && (run.plan.is_some() || run.state.has_ended()))
        })
        .await
    }

    pub(crate) async fn ended(&self, run: &Run) -> Run {
        self.until(&format!("the end of run {} of {}", run.id, run.source.object), async || {
            // Announced too: until then its item still changes.
            Some(self.run(run).await).filter(|run| run.state.has_ended() && run.unannounced.is_empty())
        })
        .await
    }

    pub(crate) async fn run(&self, run: &Run) -> Run {
        let found = self.ports.ledger.run(&run.id, Freshness::Consistent).await.expect("the ledger answered");
        found.expect("a run that was seen is there")
    }

    pub(crate) async fn save(&self, run: &Run) {
        let saved = self.ports.ledger.save_run(run).await.expect("the ledger answered");
        assert_eq!(saved, Saved::Now);
    }

    pub(crate) async fn send(&self, queue: Queue, message: Outgoing) {
        self.ports.queues.send(queue, vec![message]).await.expect("the queue took it");
    }

    /// The keys of a run's work objects, a thousand at most.
    pub(crate) async fn work_of(&self, run: &Run) -> Vec<String> {
        let listed =
            self.ports.objects.list(&self.work_bucket, &key::prefix(&run.id), None, MAX_LISTED).await;
        listed.expect("the bucket is listed").into_iter().map(|listed| listed.key).collect()
    }

    pub(crate) async fn runs_of(&self, key: &str) -> Vec<Run> {
        let recent = self.ports.ledger.recent_runs(100).await.expect("the ledger answered").items;
        recent.into_iter().filter(|run| run.source.object.key == key).collect()
    }

    /// Why chunks of a run failed, by index.
    pub(crate) async fn failures(&self, run: &Run) -> Vec<(ChunkIndex, Failure)> {
        self.ports.ledger.failures(&StageId::last_of(run), 100).await.expect("the ledger answered")
    }

    pub(crate) async fn head(&self, object: &ObjectName) -> Option<ObjectHead> {
        self.ports.objects.head(object, None).await.expect("the object store answered")
    }

    pub(crate) async fn read(&self, object: &ObjectName) -> Option<Vec<u8>> {
        let size = self.head(object).await?.size_bytes;
        if size == 0 {
            return Some(Vec::new());
        }
        let range = fanfold_domain::ByteRange::new(0, size);
        let stream = self.ports.objects.read(object, &Pin::default(), range).await.expect("it can be read");
        Some(stream.try_collect::<Vec<_>>().await.expect("all of it came").concat())
    }

    /// All items of the orders table, read with the SDK alone.
    pub(crate) async fn orders(&self) -> Vec<HashMap<String, AttributeValue>> {
        let sdk = aws_config::load_defaults(aws_config::BehaviorVersion::v2026_01_12()).await;
        let client = aws_sdk_dynamodb::Client::new(&sdk);
        let pages = client.scan().table_name(&self.orders_table).into_paginator().items().send();
        pages.collect::<Result<_, _>>().await.expect("the table can be read")
    }

    /// Sends S3's event of a run's upload once more, as EventBridge may.
    pub(crate) async fn send_event_again(&self, run: &Run) {
        let source = &run.source;
        let mut object = json!({
            "key": source.object.key, "size": source.size_bytes, "etag": source.etag,
            "sequencer": run.sequencer,
        });
        if let Some(version) = &source.version {
            object["version-id"] = json!(version);
        }
        let event = json!({
            "version": "0", "source": "aws.s3", "detail-type": "Object Created",
            "detail": { "bucket": { "name": source.object.bucket }, "object": object },
        });
        let message = vec![Outgoing::now(event.to_string())];
        self.ports.queues.send(Queue::Intake, message).await.expect("the queue took it");
    }

    /// Submits an object that is there, and waits for the end of the run that this starts.
    pub(crate) async fn run_of_submission(&self, pipeline: &str, key: &str) -> Run {
        self.run_of_submission_as(pipeline, key, "a submission").await
    }

    /// The same of one submission among several of an object, which differ in their purpose.
    pub(crate) async fn run_of_submission_as(&self, pipeline: &str, key: &str, purpose: &str) -> Run {
        let object = ObjectName::new(&self.input_bucket, key);
        self.run_submitted(pipeline, Some(object), format!("{purpose} of {key}")).await
    }

    /// Submits a pipeline that reads no single object, once, and waits for the end of its run.
    pub(crate) async fn run_without_object(&self, pipeline: &str) -> Run {
        self.run_submitted(pipeline, None, format!("a submission of {pipeline}")).await
    }

    async fn run_submitted(&self, pipeline: &str, object: Option<ObjectName>, key: String) -> Run {
        let id = RunId::derive(pipeline, &Origin::Submission { idempotency_key: &key });
        let submission =
            Submission { pipeline: pipeline.to_owned(), object, version: None, idempotency_key: key };
        let detail = encode(&submission);
        let body = format!(r#"{{"source":"fanfold","detail-type":"Run Submitted","detail":{detail}}}"#);
        let sent = self.ports.queues.send(Queue::Intake, vec![Outgoing::now(body)]).await;
        sent.expect("the queue took it");
        self.end_of(&id).await
    }

    /// Waits for the end of a run that may not have begun yet.
    pub(crate) async fn end_of(&self, id: &RunId) -> Run {
        self.until(&format!("the end of run {id}"), async || {
            let found = self.ports.ledger.run(id, Freshness::Consistent).await.expect("the ledger answered");
            found.filter(|run| run.state.has_ended())
        })
        .await
    }

    /// Time in which a wrong reaction would show.
    pub(crate) async fn settle(&self) {
        self.pause(3_000).await;
    }

    pub(crate) async fn pause(&self, ms: u64) {
        self.ports.clock.sleep_ms(ms).await;
    }

    pub(crate) async fn until<T>(&self, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
        let clock: &dyn Clock = &*self.ports.clock;
        let since = clock.now();
        while clock.now().ms_since(since) < PATIENCE_MS {
            if let Some(found) = look().await {
                return found;
            }
            clock.sleep_ms(LOOK_EVERY_MS).await;
        }
        panic!("waited in vain for {what}");
    }
}
