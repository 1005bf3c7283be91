//! The merger as a Lambda.

use std::{process::ExitCode, sync::Arc};

use fanfold_aws::{Aws, QueueUrls, Settings};
use fanfold_domain::Timestamp;
use fanfold_merger::Merger;
use fanfold_ports::Ports;
use fanfold_runtime::{
    Invocation, Variables, boot,
    config::{
        FANFOLD_EVENT_BUS, FANFOLD_FOLDS_QUEUE_URL, FANFOLD_INTAKE_QUEUE_URL, FANFOLD_LEDGER_TABLE,
        FANFOLD_S3_WHOLE_CHECKSUM, FANFOLD_WORK_BUCKET, Function,
    },
    sqs::{Delivery, SqsEvent, run_batch_delaying},
};

struct Config {
    aws: Settings,
    table: String,
    queues: QueueUrls,
    event_bus: String,
    work_bucket: String,
}

fn read(variables: &mut Variables<'_>) -> Config {
    Config {
        aws: Settings { endpoint: None, whole_checksum: variables.switch(FANFOLD_S3_WHOLE_CHECKSUM, true) },
        table: variables.required(FANFOLD_LEDGER_TABLE),
        queues: QueueUrls {
            intake: Some(variables.url(FANFOLD_INTAKE_QUEUE_URL)),
            folds: Some(variables.url(FANFOLD_FOLDS_QUEUE_URL)),
            ..QueueUrls::default()
        },
        event_bus: variables.required(FANFOLD_EVENT_BUS),
        work_bucket: variables.required(FANFOLD_WORK_BUCKET),
    }
}

/// The longest a message that failed waits, in seconds: less than the visibility timeout of `folds`.
const LONGEST_DELAY_S: u32 = 900;
/// What is left of the function's time for the copies that are under way when no other is begun: of the largest, 5 GiB,
/// many at once.
const MARGIN_MS: u64 = 180_000;

#[tokio::main]
async fn main() -> ExitCode {
    boot(async {
        let Config { aws, table, queues, event_bus, work_bucket } =
            Variables::from_environment(Function::Merger, read)?;
        let aws = Aws::connect(aws).await;
        let visibility = aws.visibility();
        let events = Arc::new(aws.events(Some(event_bus)));
        let ports = Ports { events, ..aws.ports(table, queues) };
        let merger = Arc::new(Merger { ports, work_bucket });
        Ok(move |event: SqsEvent, invocation: Invocation| {
            let (merger, visibility) = (merger.clone(), visibility.clone());
            async move {
                let until = Timestamp(invocation.deadline_at.0.saturating_sub(MARGIN_MS));
                let handle = async |message: Delivery| merger.handle_until(&message.body, Some(until)).await;
                let change = async |queue: String, receipt: String, delay_s| {
                    visibility.change(&queue, &receipt, delay_s).await
                };
                Ok(run_batch_delaying(event, LONGEST_DELAY_S, handle, change).await?)
            }
        })
    })
    .await
}
