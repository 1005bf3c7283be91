//! The tracker as a Lambda.

use std::{process::ExitCode, sync::Arc};

use fanfold_aws::{Aws, QueueUrls, Settings};
use fanfold_lifecycle::RunCache;
use fanfold_ports::Ports;
use fanfold_runtime::{
    Variables, boot,
    config::{
        FANFOLD_CHUNKS_DEAD_QUEUE_ARN, FANFOLD_CHUNKS_QUEUE_URL, FANFOLD_COMPLETIONS_QUEUE_URL,
        FANFOLD_EVENT_BUS, FANFOLD_FOLDS_QUEUE_URL, FANFOLD_INTAKE_QUEUE_URL,
        FANFOLD_LAUNCHES_DEAD_QUEUE_ARN, FANFOLD_LAUNCHES_QUEUE_URL, FANFOLD_LEDGER_TABLE,
        FANFOLD_S3_WHOLE_CHECKSUM, FANFOLD_WORK_BUCKET, Function,
    },
    sqs::{Delivery, Receipts, SqsEvent, run_batch, run_whole_batch},
};
use fanfold_tracker::{Notes, Tracker};

struct Config {
    aws: Settings,
    table: String,
    queues: QueueUrls,
    event_bus: String,
    work_bucket: String,
    chunks_dead: String,
    launches_dead: String,
}

fn read(variables: &mut Variables<'_>) -> Config {
    Config {
        aws: Settings { endpoint: None, whole_checksum: variables.switch(FANFOLD_S3_WHOLE_CHECKSUM, true) },
        table: variables.required(FANFOLD_LEDGER_TABLE),
        queues: QueueUrls {
            intake: Some(variables.url(FANFOLD_INTAKE_QUEUE_URL)),
            chunks: Some(variables.url(FANFOLD_CHUNKS_QUEUE_URL)),
            launches: Some(variables.url(FANFOLD_LAUNCHES_QUEUE_URL)),
            completions: Some(variables.url(FANFOLD_COMPLETIONS_QUEUE_URL)),
            folds: Some(variables.url(FANFOLD_FOLDS_QUEUE_URL)),
        },
        event_bus: variables.required(FANFOLD_EVENT_BUS),
        work_bucket: variables.required(FANFOLD_WORK_BUCKET),
        chunks_dead: variables.arn(FANFOLD_CHUNKS_DEAD_QUEUE_ARN),
        launches_dead: variables.arn(FANFOLD_LAUNCHES_DEAD_QUEUE_ARN),
    }
}

/// The longest a completion that failed waits, in seconds: less than the visibility timeout of `completions`.
const LONGEST_DELAY_S: u32 = 60;
/// Dead letters looked into at once.
const DEAD_AT_ONCE: usize = 4;

#[tokio::main]
async fn main() -> ExitCode {
    boot(async {
        let Config { aws, table, queues, event_bus, work_bucket, chunks_dead, launches_dead } =
            Variables::from_environment(Function::Tracker, read)?;
        let aws = Aws::connect(aws).await;
        let visibility = aws.visibility();
        let events = Arc::new(aws.events(Some(event_bus)));
        let ports = Ports { events, ..aws.ports(table, queues) };
        let tracker = Tracker { ports, work_bucket, runs: RunCache::default(), notes: Notes::default() };
        let shared = Arc::new((tracker, chunks_dead, launches_dead));
        Ok(move |event: SqsEvent, _| {
            let (shared, visibility) = (shared.clone(), visibility.clone());
            async move {
                let (tracker, chunks_dead, launches_dead) = &*shared;
                // A batch is of one queue.
                let queue = event.records.first().and_then(|message| message.event_source_arn.as_deref());
                if queue == Some(chunks_dead) {
                    let handle = async |message: Delivery| tracker.handle_dead(&message.body).await;
                    return Ok(run_batch(event, DEAD_AT_ONCE, handle).await?);
                }
                if queue == Some(launches_dead) {
                    let handle = async |message: Delivery| tracker.handle_dead_launch(&message.body).await;
                    return Ok(run_batch(event, 1, handle).await?);
                }
                let bodies = |batch: Vec<Delivery>| -> Vec<String> {
                    batch.into_iter().map(|message| message.body).collect()
                };
                let receipts = Receipts::of(&event, LONGEST_DELAY_S);
                let response =
                    run_whole_batch(event, async |batch| tracker.handle(&bodies(batch)).await).await?;
                let change = async |queue: String, receipt: String, delay_s| {
                    visibility.change(&queue, &receipt, delay_s).await
                };
                receipts.delay(&response, change).await;
                Ok(response)
            }
        })
    })
    .await
}
