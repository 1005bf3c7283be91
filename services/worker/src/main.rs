//! The worker as a Lambda.

use std::{process::ExitCode, sync::Arc};

use fanfold_aws::{Aws, QueueUrls, Settings};
use fanfold_lifecycle::RunCache;
use fanfold_runtime::{
    Variables, boot,
    config::{
        FANFOLD_CHUNKS_QUEUE_URL, FANFOLD_COMPLETIONS_QUEUE_URL, FANFOLD_LEDGER_TABLE,
        FANFOLD_S3_WHOLE_CHECKSUM, FANFOLD_WORK_BUCKET, Function, environment,
    },
    sqs::{Delivery, SqsEvent, run_batch},
};
use fanfold_worker::Worker;

struct Config {
    aws: Settings,
    table: String,
    queues: QueueUrls,
    work_bucket: String,
}

fn read(variables: &mut Variables<'_>) -> Config {
    Config {
        aws: Settings { endpoint: None, whole_checksum: variables.switch(FANFOLD_S3_WHOLE_CHECKSUM, true) },
        table: variables.required(FANFOLD_LEDGER_TABLE),
        queues: QueueUrls {
            chunks: Some(variables.url(FANFOLD_CHUNKS_QUEUE_URL)),
            completions: Some(variables.url(FANFOLD_COMPLETIONS_QUEUE_URL)),
            ..QueueUrls::default()
        },
        work_bucket: variables.required(FANFOLD_WORK_BUCKET),
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    boot(async {
        let Config { aws, table, queues, work_bucket } = Variables::from_environment(Function::Worker, read)?;
        let ports = Aws::connect(aws).await.ports(table, queues);
        let runs = RunCache::default();
        let worker = Arc::new(Worker { ports, work_bucket, inherited: environment(), runs });
        Ok(move |event: SqsEvent, _| {
            let worker = worker.clone();
            async move {
                let handle = async |message: Delivery| worker.handle(&message.body).await;
                Ok(run_batch(event, 1, handle).await?)
            }
        })
    })
    .await
}
