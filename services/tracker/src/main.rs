//! The tracker as a Lambda.

use std::{process::ExitCode, sync::Arc};

use fanfold_aws::{Aws, QueueUrls, Settings};
use fanfold_lifecycle::RunCache;
use fanfold_runtime::{
    Variables, boot,
    config::{
        FANFOLD_CHUNKS_DEAD_QUEUE_ARN, FANFOLD_CHUNKS_QUEUE_URL, FANFOLD_FOLDS_QUEUE_URL,
        FANFOLD_INTAKE_QUEUE_URL, FANFOLD_LEDGER_TABLE, FANFOLD_S3_WHOLE_CHECKSUM, FANFOLD_WORK_BUCKET,
        Function,
    },
    sqs::{Delivery, SqsEvent, run_batch, run_whole_batch},
};
use fanfold_tracker::Tracker;

struct Config {
    aws: Settings,
    table: String,
    queues: QueueUrls,
    work_bucket: String,
    dead_arn: String,
}

fn read(variables: &mut Variables<'_>) -> Config {
    Config {
        aws: Settings { endpoint: None, whole_checksum: variables.switch(FANFOLD_S3_WHOLE_CHECKSUM, true) },
        table: variables.required(FANFOLD_LEDGER_TABLE),
        queues: QueueUrls {
            intake: Some(variables.url(FANFOLD_INTAKE_QUEUE_URL)),
            chunks: Some(variables.url(FANFOLD_CHUNKS_QUEUE_URL)),
            folds: Some(variables.url(FANFOLD_FOLDS_QUEUE_URL)),
            ..QueueUrls::default()
        },
        work_bucket: variables.required(FANFOLD_WORK_BUCKET),
        dead_arn: variables.arn(FANFOLD_CHUNKS_DEAD_QUEUE_ARN),
    }
}

/// Dead letters looked into at once.
const DEAD_AT_ONCE: usize = 4;

#[tokio::main]
async fn main() -> ExitCode {
    boot(async {
        let Config { aws, table, queues, work_bucket, dead_arn } =
            Variables::from_environment(Function::Tracker, read)?;
        let ports = Aws::connect(aws).await.ports(table, queues);
        let tracker = Arc::new(Tracker { ports, work_bucket, runs: RunCache::default() });
        let dead_arn: Arc<str> = dead_arn.into();
        Ok(move |event: SqsEvent, _| {
            let (tracker, dead_arn) = (tracker.clone(), dead_arn.clone());
            async move {
                // A batch is of one queue.
                let queue = event.records.first().and_then(|message| message.event_source_arn.as_deref());
                if queue == Some(&*dead_arn) {
                    let handle = async |message: Delivery| tracker.handle_dead(&message.body).await;
                    return Ok(run_batch(event, DEAD_AT_ONCE, handle).await?);
                }
                let bodies = |batch: Vec<Delivery>| -> Vec<String> {
                    batch.into_iter().map(|message| message.body).collect()
                };
                Ok(run_whole_batch(event, async |batch| tracker.handle(&bodies(batch)).await).await?)
            }
        })
    })
    .await
}
