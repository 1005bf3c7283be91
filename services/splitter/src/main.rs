//! The splitter as a Lambda.

use std::{process::ExitCode, sync::Arc};

use fanfold_aws::{Aws, QueueUrls, Settings};
use fanfold_domain::{
    Reach, Timestamp,
    pipeline::Pipeline,
    reach::{arns, names},
};
use fanfold_engine::plan::{ScanLimits, Strides};
use fanfold_ports::Ports;
use fanfold_runtime::{
    Invocation, Variables, boot,
    config::{
        FANFOLD_ALLOWED_OUTPUT_BUCKETS, FANFOLD_ALLOWED_PLAN_FUNCTIONS, FANFOLD_ALLOWED_RESULT_BUCKETS,
        FANFOLD_ALLOWED_SOURCE_BUCKETS, FANFOLD_ALLOWED_TABLES, FANFOLD_CHUNKS_QUEUE_URL,
        FANFOLD_DEFAULT_PIPELINE, FANFOLD_EVENT_BUS, FANFOLD_FOLDS_QUEUE_URL, FANFOLD_INPUT_BUCKET,
        FANFOLD_INTAKE_QUEUE_URL, FANFOLD_LAUNCHES_QUEUE_URL, FANFOLD_LEDGER_TABLE,
        FANFOLD_MAP_STATE_MACHINE_ARN, FANFOLD_OUTPUT_BUCKET, FANFOLD_RESULT_PREFIX,
        FANFOLD_S3_WHOLE_CHECKSUM, FANFOLD_SCAN_ALONE_MIB, FANFOLD_WORK_BUCKET, Function,
    },
    sqs::{Delivery, SqsEvent, run_batch_delaying},
};
use fanfold_splitter::{Share, Splitter};

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
    reach: Reach,
}

fn reach(variables: &mut Variables<'_>) -> Reach {
    Reach {
        input_bucket: variables.optional(FANFOLD_INPUT_BUCKET),
        source_buckets: variables.optional(FANFOLD_ALLOWED_SOURCE_BUCKETS).as_deref().map(names),
        output_buckets: variables.optional(FANFOLD_ALLOWED_OUTPUT_BUCKETS).as_deref().map(names),
        result_buckets: variables.optional(FANFOLD_ALLOWED_RESULT_BUCKETS).as_deref().map(names),
        result_prefix: variables.optional(FANFOLD_RESULT_PREFIX),
        tables: variables.optional(FANFOLD_ALLOWED_TABLES).as_deref().map(names),
        plan_functions: variables.optional(FANFOLD_ALLOWED_PLAN_FUNCTIONS).as_deref().map(arns),
    }
}

fn read(variables: &mut Variables<'_>) -> Config {
    Config {
        aws: Settings { endpoint: None, whole_checksum: variables.switch(FANFOLD_S3_WHOLE_CHECKSUM, true) },
        table: variables.required(FANFOLD_LEDGER_TABLE),
        queues: QueueUrls {
            intake: Some(variables.url(FANFOLD_INTAKE_QUEUE_URL)),
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
        reach: reach(variables),
    }
}

/// The longest a message that failed waits, in seconds: less than the visibility timeout of `intake`.
const LONGEST_DELAY_S: u32 = 300;
/// What is left of the function's time when no other stride of a plan is begun: for the one under way, and for the
/// manifest and the first window where it was the last.
const MARGIN_MS: u64 = 120_000;

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
            reach: config.reach,
        });
        Ok(move |event: SqsEvent, invocation: Invocation| {
            let (splitter, visibility) = (splitter.clone(), visibility.clone());
            async move {
                let until = Timestamp(invocation.deadline_at.0.saturating_sub(MARGIN_MS));
                let share = Share { until: Some(until), strides: Strides::DEFAULT };
                let handle = async |message: Delivery| splitter.handle_until(&message.body, share).await;
                let change = async |queue: String, receipt: String, delay_s| {
                    visibility.change(&queue, &receipt, delay_s).await
                };
                Ok(run_batch_delaying(event, LONGEST_DELAY_S, handle, change).await?)
            }
        })
    })
    .await
}
