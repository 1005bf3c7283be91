//! The launcher as a Lambda.

use std::{process::ExitCode, sync::Arc};

use fanfold_aws::{Aws, QueueUrls, Settings};
use fanfold_domain::StackId;
use fanfold_eks::EksClusters;
use fanfold_launcher::{Launcher, spec::Surroundings};
use fanfold_lifecycle::RunCache;
use fanfold_ports::KubePorts;
use fanfold_runtime::{
    Variables, boot,
    config::{
        FANFOLD_COMPLETIONS_QUEUE_URL, FANFOLD_LAUNCHES_QUEUE_URL, FANFOLD_LEDGER_TABLE,
        FANFOLD_LEDGER_TABLE_ARN, FANFOLD_S3_WHOLE_CHECKSUM, FANFOLD_WORK_BUCKET, Function,
    },
    sqs::{Delivery, run_batch_delaying},
    step::{Answer, Named, Trigger},
};

struct Config {
    aws: Settings,
    table: String,
    stack: StackId,
    launches: String,
    completions: String,
    work_bucket: String,
}

fn read(variables: &mut Variables<'_>) -> Config {
    Config {
        aws: Settings { endpoint: None, whole_checksum: variables.switch(FANFOLD_S3_WHOLE_CHECKSUM, true) },
        table: variables.required(FANFOLD_LEDGER_TABLE),
        stack: StackId::of_ledger(&variables.arn(FANFOLD_LEDGER_TABLE_ARN)),
        launches: variables.url(FANFOLD_LAUNCHES_QUEUE_URL),
        completions: variables.url(FANFOLD_COMPLETIONS_QUEUE_URL),
        work_bucket: variables.required(FANFOLD_WORK_BUCKET),
    }
}

/// The longest a message that failed waits, in seconds: less than the visibility timeout of `launches`.
const LONGEST_DELAY_S: u32 = 120;

#[tokio::main]
async fn main() -> ExitCode {
    boot(async {
        let Config { aws: settings, table, stack, launches, completions, work_bucket } =
            Variables::from_environment(Function::Launcher, read)?;
        let whole_checksum = settings.whole_checksum;
        let aws = Aws::connect(settings).await;
        let visibility = aws.visibility();
        let queues = QueueUrls {
            launches: Some(launches),
            completions: Some(completions.clone()),
            ..QueueUrls::default()
        };
        let surroundings = Surroundings {
            region: aws.region().ok_or("AWS_REGION is not set")?,
            ledger_table: table.clone(),
            work_bucket,
            completions_queue_url: completions,
            whole_checksum,
        };
        let clusters = Arc::new(EksClusters::connect().await);
        let kube = KubePorts { fleet: Arc::new(aws.ledger(table.clone())), clusters };
        let ports = aws.ports(table, queues);
        let launcher = Arc::new(Launcher { ports, kube, stack, surroundings, runs: RunCache::default() });
        Ok(move |trigger: Trigger, _| {
            let (launcher, visibility) = (launcher.clone(), visibility.clone());
            async move {
                let event = match trigger {
                    Trigger::Messages(event) => event,
                    Trigger::Item(item) => {
                        let launched = launcher.handle(&item.to_string()).await;
                        launched.map_err(|error| Named::of_item(error.is_permanent(), error))?;
                        return Ok(Answer::Item {});
                    }
                };
                let handle = async |message: Delivery| launcher.handle(&message.body).await;
                let change = async |queue: String, receipt: String, delay_s| {
                    visibility.change(&queue, &receipt, delay_s).await
                };
                Ok(Answer::Messages(run_batch_delaying(event, LONGEST_DELAY_S, handle, change).await?))
            }
        })
    })
    .await
}
