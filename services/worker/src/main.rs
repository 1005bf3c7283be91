//! The worker: as a Lambda, or, told `pod`, as a pod of a Kubernetes Job; told `install FOLDER`, it puts itself there.

mod main_pod;

use std::{process::ExitCode, sync::Arc};

use fanfold_aws::{Aws, QueueUrls, Settings};
use fanfold_engine::processor::{Inherited, PACKAGE};
use fanfold_lifecycle::RunCache;
use fanfold_ports::Functions;
use fanfold_runtime::{
    Invocation, Variables, boot,
    config::{
        FANFOLD_CHUNKS_QUEUE_URL, FANFOLD_COMPLETIONS_QUEUE_URL, FANFOLD_LEDGER_TABLE,
        FANFOLD_S3_WHOLE_CHECKSUM, FANFOLD_WORK_BUCKET, Function, environment,
    },
    program,
    sqs::{Delivery, run_batch},
    step::{Answer, Named, Trigger},
};
use fanfold_web::{Reach, WebClient};
use fanfold_worker::{Delivered, Worker};

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
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => as_lambda().await,
        ["pod"] => program(main_pod::run()).await,
        ["install", folder] => program(async { main_pod::install(folder) }).await,
        _ => program(async { Err("usage: fanfold-worker [pod | install FOLDER]".into()) }).await,
    }
}

/// Who asks third parties. The worker's own machine has what gives a function its events, and is not asked; a local AWS
/// is there itself, and whatever is tried with it.
fn web(aws: &Aws) -> Arc<WebClient> {
    Arc::new(WebClient::new(if aws.is_stand_in() { Reach::Anywhere } else { Reach::Elsewhere }))
}

/// What commands may inherit. In an image commands keep its working directory and its PATH, though the image or Lambda may
/// set the variable that names the folder of a package: a worker that is in a package is called `bootstrap`.
fn inherited() -> Inherited {
    let mut inherited = environment();
    let program = std::env::current_exe().ok();
    if !program.is_some_and(|program| program.ends_with("bootstrap")) {
        inherited.remove(PACKAGE);
    }
    inherited
}

async fn as_lambda() -> ExitCode {
    boot(async {
        let Config { aws, table, queues, work_bucket } = Variables::from_environment(Function::Worker, read)?;
        let aws = Aws::connect(aws).await;
        let (ports, web) = (aws.ports(table, queues), web(&aws));
        let functions: Option<Arc<dyn Functions>> = Some(Arc::new(aws.functions()));
        let runs = RunCache::default();
        let inherited = inherited();
        let worker = Arc::new(Worker { ports, web, functions, work_bucket, inherited, runs });
        Ok(move |trigger: Trigger, invocation: Invocation| {
            let worker = worker.clone();
            async move {
                let ends_at = Some(invocation.deadline_at);
                let event = match trigger {
                    Trigger::Messages(event) => event,
                    Trigger::Item(item) => {
                        let done = worker.handle_batch(&item.to_string(), ends_at).await;
                        done.map_err(|error| Named::of_item(error.is_permanent(), error))?;
                        return Ok(Answer::Item {});
                    }
                };
                let handle = async |message: Delivery| {
                    let Delivery { id, body, receive_count, .. } = &message;
                    worker.handle(Delivered { id, body, receive_count: *receive_count }, ends_at).await
                };
                Ok(Answer::Messages(run_batch(event, 1, handle).await?))
            }
        })
    })
    .await
}
