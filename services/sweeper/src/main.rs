//! The sweeper as a Lambda.

use std::{process::ExitCode, sync::Arc};

use fanfold_aws::{Aws, QueueUrls, Settings};
use fanfold_domain::{StackId, Timestamp};
use fanfold_eks::EksClusters;
use fanfold_ports::{KubePorts, Ports};
use fanfold_runtime::{
    Error, Invocation, Variables, boot,
    config::{
        FANFOLD_COMPLETIONS_DEAD_QUEUE_ARN, FANFOLD_COMPLETIONS_QUEUE_URL, FANFOLD_EVENT_BUS,
        FANFOLD_EVENTS_DEAD_QUEUE_ARN, FANFOLD_FOLDS_DEAD_QUEUE_ARN, FANFOLD_FOLDS_QUEUE_URL,
        FANFOLD_INTAKE_QUEUE_URL, FANFOLD_LAUNCHES_QUEUE_URL, FANFOLD_LEDGER_TABLE, FANFOLD_LEDGER_TABLE_ARN,
        FANFOLD_MAP_STATE_MACHINE_ARN, FANFOLD_S3_WHOLE_CHECKSUM, FANFOLD_WORK_BUCKET, Function,
    },
    sqs::{Delivery, SqsBatchResponse, SqsEvent, run_batch},
};
use fanfold_sweeper::{DeadQueue, LeftOff, Sweeper, WatchLeftOff, Watcher};
use serde::Deserialize;

struct Config {
    aws: Settings,
    table: String,
    stack: StackId,
    queues: QueueUrls,
    event_bus: String,
    work_bucket: String,
    state_machine: String,
    dead: [(String, DeadQueue); 3],
}

fn read(variables: &mut Variables<'_>) -> Config {
    Config {
        aws: Settings { endpoint: None, whole_checksum: variables.switch(FANFOLD_S3_WHOLE_CHECKSUM, true) },
        table: variables.required(FANFOLD_LEDGER_TABLE),
        stack: StackId::of_ledger(&variables.arn(FANFOLD_LEDGER_TABLE_ARN)),
        queues: QueueUrls {
            intake: Some(variables.url(FANFOLD_INTAKE_QUEUE_URL)),
            launches: Some(variables.url(FANFOLD_LAUNCHES_QUEUE_URL)),
            completions: Some(variables.url(FANFOLD_COMPLETIONS_QUEUE_URL)),
            folds: Some(variables.url(FANFOLD_FOLDS_QUEUE_URL)),
            ..QueueUrls::default()
        },
        event_bus: variables.required(FANFOLD_EVENT_BUS),
        work_bucket: variables.required(FANFOLD_WORK_BUCKET),
        state_machine: variables.arn(FANFOLD_MAP_STATE_MACHINE_ARN),
        dead: [
            (variables.arn(FANFOLD_COMPLETIONS_DEAD_QUEUE_ARN), DeadQueue::Completions),
            (variables.arn(FANFOLD_FOLDS_DEAD_QUEUE_ARN), DeadQueue::Folds),
            (variables.arn(FANFOLD_EVENTS_DEAD_QUEUE_ARN), DeadQueue::Events),
        ],
    }
}

/// What is kept of an invocation's time for the runs that are being swept.
const MARGIN_MS: u64 = 20_000;

/// What invokes the sweeper: dead letters, or else its schedule.
#[derive(Deserialize)]
#[serde(untagged)]
enum Trigger {
    Dead(SqsEvent),
    Schedule {},
}

async fn handle(
    sweeper: &Sweeper,
    watcher: &Watcher,
    dead: &[(String, DeadQueue)],
    trigger: Trigger,
    invocation: Invocation,
) -> Result<Option<SqsBatchResponse>, Error> {
    let Trigger::Dead(event) = trigger else {
        let until = invocation.deadline_at.0.saturating_sub(MARGIN_MS);
        let until = Timestamp(until);
        let (swept, watched) = tokio::join!(sweeper.sweep(until), watcher.watch(until));
        if let Err(error) = &watched {
            tracing::error!(%error, "clusters were not all watched");
        }
        swept?;
        watched?;
        return Ok(None);
    };
    let handle = async |message: Delivery| {
        let source = message.source_arn.as_deref();
        let queue = dead.iter().find(|(arn, _)| source == Some(arn)).map(|(_, queue)| *queue);
        let queue =
            queue.ok_or_else(|| format!("a message of {source:?}, which the sweeper does not read"))?;
        sweeper.handle_dead(queue, &message.body).await.map_err(Error::from)
    };
    Ok(Some(run_batch(event, 1, handle).await?))
}

#[tokio::main]
async fn main() -> ExitCode {
    boot(async {
        let Config { aws, table, stack, queues, event_bus, work_bucket, state_machine, dead } =
            Variables::from_environment(Function::Sweeper, read)?;
        let aws = Aws::connect(aws).await;
        let fleet = Arc::new(aws.ledger(table.clone()));
        let kube = KubePorts { fleet, clusters: Arc::new(EksClusters::connect().await) };
        let events = Arc::new(aws.events(Some(event_bus)));
        let ports = Ports { events, ..aws.ports(table, queues) };
        let left_off = WatchLeftOff::default();
        let watcher =
            Watcher { ports: ports.clone(), kube, stack, work_bucket: work_bucket.clone(), left_off };
        let maps = Arc::new(aws.maps(state_machine));
        let sweeper = Sweeper { ports, maps, work_bucket, left_off: LeftOff::default() };
        let shared = Arc::new((sweeper, watcher, dead));
        Ok(move |trigger: Trigger, invocation: Invocation| {
            let shared = shared.clone();
            async move { handle(&shared.0, &shared.1, &shared.2, trigger, invocation).await }
        })
    })
    .await
}
