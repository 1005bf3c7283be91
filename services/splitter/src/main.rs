//! The splitter as a Lambda.

use std::{process::ExitCode, sync::Arc};

use fanfold_aws::{Aws, QueueUrls, Settings};
use fanfold_domain::pipeline::Pipeline;
use fanfold_engine::plan::ScanLimits;
use fanfold_ports::Ports;
use fanfold_runtime::{
    Variables, boot,
    config::{
        FANFOLD_CHUNKS_QUEUE_URL, FANFOLD_DEFAULT_PIPELINE, FANFOLD_EVENT_BUS, FANFOLD_FOLDS_QUEUE_URL,
        FANFOLD_INPUT_BUCKET, FANFOLD_LAUNCHES_QUEUE_URL, FANFOLD_LEDGER_TABLE,
        FANFOLD_MAP_STATE_MACHINE_ARN, FANFOLD_OUTPUT_BUCKET, FANFOLD_S3_WHOLE_CHECKSUM,
        FANFOLD_SCAN_ALONE_MIB, FANFOLD_WORK_BUCKET, Function,
    },
    sqs::{Delivery, Receipts, SqsEvent, run_batch},
};
use fanfold_splitter::Splitter;

struct Config {
    aws: Settings,
    table: String,
    queues: QueueUrls,
    event_bus: String,
    input_bucket: String,
    work_bucket: String,
    output_bucket: String,
    default_pipeline: Option<Pipeline>,
    scan_limits: ScanLimits,
    state_machine: String,
}

fn read(variables: &mut Variables<'_>) -> Config {
    Config {
        aws: Settings { endpoint: None, whole_checksum: variables.switch(FANFOLD_S3_WHOLE_CHECKSUM, true) },
        table: variables.required(FANFOLD_LEDGER_TABLE),
        queues: QueueUrls {
            chunks: Some(variables.url(FANFOLD_CHUNKS_QUEUE_URL)),
            launches: Some(variables.url(FANFOLD_LAUNCHES_QUEUE_URL)),
            folds: Some(variables.url(FANFOLD_FOLDS_QUEUE_URL)),
            ..QueueUrls::default()
        },
        event_bus: variables.required(FANFOLD_EVENT_BUS),
        input_bucket: variables.required(FANFOLD_INPUT_BUCKET),
        work_bucket: variables.required(FANFOLD_WORK_BUCKET),
        output_bucket: variables.required(FANFOLD_OUTPUT_BUCKET),
        default_pipeline: variables.parsed(FANFOLD_DEFAULT_PIPELINE, Pipeline::parse),
        scan_limits: variables
            .parsed(FANFOLD_SCAN_ALONE_MIB, str::parse::<u32>)
            .map_or(ScanLimits::DEFAULT, |mib| ScanLimits::alone_up_to(u64::from(mib) << 20)),
        state_machine: variables.arn(FANFOLD_MAP_STATE_MACHINE_ARN),
    }
}

/// The longest a message that failed waits, in seconds: less than the visibility timeout of `intake`.
const LONGEST_DELAY_S: u32 = 300;

#[tokio::main]
async fn main() -> ExitCode {
    boot(async {
        let config = Variables::from_environment(Function::Splitter, read)?;
        let aws = Aws::connect(config.aws).await;
        let visibility = aws.visibility();
        let events = Arc::new(aws.events(Some(config.event_bus)));
        let splitter = Arc::new(Splitter {
            ports: Ports { events, ..aws.ports(config.table, config.queues) },
            maps: Arc::new(aws.maps(config.state_machine)),
            work_bucket: config.work_bucket,
            input_bucket: config.input_bucket,
            output_bucket: config.output_bucket,
            default_pipeline: config.default_pipeline,
            scan_limits: config.scan_limits,
        });
        Ok(move |event: SqsEvent, _| {
            let (splitter, visibility) = (splitter.clone(), visibility.clone());
            async move {
                let receipts = Receipts::of(&event, LONGEST_DELAY_S);
                let handle = async |message: Delivery| splitter.handle(&message.body).await;
                let response = run_batch(event, 1, handle).await?;
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
