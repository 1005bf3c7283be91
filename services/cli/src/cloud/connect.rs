//! Where the stack is: what `scripts/stack env` prints, or a deployment's outputs.

use std::sync::Arc;

use anyhow::{Context, anyhow};
use fanfold_aws::{Aws, QueueUrls, ScheduleGroup, Settings};
use fanfold_domain::{Reach, cluster::DEFAULT_NAMESPACE, pipeline::Pipeline};
use fanfold_ports::{Fleet, ItemList, Ports, Schedules, UnreadableItem, ledger::KeptPipeline};

use super::reach;
use crate::Failed;

/// A deployed stack.
pub(crate) struct Stack {
    /// Its services.
    pub(crate) ports: Ports,
    /// Its clusters, as the table knows them.
    pub(crate) fleet: Arc<dyn Fleet>,
    /// Its schedules, where the environment names what they need.
    pub(crate) schedules: Option<Arc<dyn Schedules>>,
    /// The namespace of Jobs on clusters that name none.
    pub(crate) namespace: String,
    /// What its roles may reach, as far as that is told.
    pub(crate) reach: Reach,
    /// The bucket that starts runs.
    pub(crate) input_bucket: String,
    /// The bucket of manifests.
    pub(crate) work_bucket: String,
    /// The document of the pipeline that it was deployed with, where that is told.
    pub(crate) default_pipeline: Option<String>,
}

/// The outputs of the stack that the command line needs, as variables.
const LEDGER_TABLE: &str = "FANFOLD_LEDGER_TABLE";
const INPUT_BUCKET: &str = "FANFOLD_INPUT_BUCKET";
const WORK_BUCKET: &str = "FANFOLD_WORK_BUCKET";
const INTAKE_QUEUE_URL: &str = "FANFOLD_INTAKE_QUEUE_URL";
/// What may be missing: the bus of events, the document of the stack's own pipeline, the namespace of its Jobs, and all
/// that a schedule needs.
const EVENT_BUS: &str = "FANFOLD_EVENT_BUS";
const DEFAULT_PIPELINE: &str = "FANFOLD_DEFAULT_PIPELINE";
const KUBERNETES_NAMESPACE: &str = "FANFOLD_KUBERNETES_NAMESPACE";
pub(super) const SCHEDULES: [&str; 4] = [
    "FANFOLD_SCHEDULE_GROUP",
    "FANFOLD_SCHEDULE_ROLE_ARN",
    "FANFOLD_INTAKE_QUEUE_ARN",
    "FANFOLD_EVENTS_DEAD_QUEUE_ARN",
];

impl Stack {
    /// Connects to the stack that the environment names, and does `work` with it.
    pub(crate) fn with(work: impl AsyncFnOnce(&Self) -> Result<(), Failed>) -> Result<(), Failed> {
        let mut missing = Vec::new();
        let mut read = |name: &'static str| {
            let value = crate::variable(name);
            if value.is_none() {
                missing.push(name);
            }
            value.unwrap_or_default()
        };
        let (table, input_bucket) = (read(LEDGER_TABLE), read(INPUT_BUCKET));
        let (work_bucket, intake) = (read(WORK_BUCKET), read(INTAKE_QUEUE_URL));
        if !missing.is_empty() {
            return Err(Failed::Usage(anyhow!(
                "{} not set: name the stack's outputs, for the local stack by eval \"$(scripts/stack env)\"",
                missing.join(", ")
            )));
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(async move {
            let whole_checksum = crate::variable("FANFOLD_S3_WHOLE_CHECKSUM").as_deref() != Some("off");
            let aws = Aws::connect(Settings { endpoint: None, whole_checksum }).await;
            let queues = QueueUrls { intake: Some(intake), ..QueueUrls::default() };
            let fleet = Arc::new(aws.ledger(table.clone()));
            // What has no bus to announce it is announced by the sweeper.
            let events = Arc::new(aws.events(crate::variable(EVENT_BUS)));
            let ports = Ports { events, ..aws.ports(table, queues) };
            let default_pipeline = crate::variable(DEFAULT_PIPELINE);
            let schedules =
                schedule_group().map(|group| Arc::new(aws.schedules(group)) as Arc<dyn Schedules>);
            let namespace =
                crate::variable(KUBERNETES_NAMESPACE).unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
            let reach = reach::told(&input_bucket);
            let stack = Self {
                ports,
                fleet,
                schedules,
                namespace,
                reach,
                input_bucket,
                work_bucket,
                default_pipeline,
            };
            work(&stack).await
        })
    }

    /// All pipelines, as the splitter has them: those of the table, and the stack's own, at version 0, unless the
    /// table has one of its name, readable or not.
    pub(crate) async fn pipelines(&self) -> Result<ItemList<KeptPipeline>, Failed> {
        let mut kept = self.ports.ledger.pipelines().await?;
        if let Some(document) = &self.default_pipeline {
            let own = Pipeline::parse_stored(document).context(DEFAULT_PIPELINE).map_err(Failed::Usage)?;
            let is_replaced = kept.items.iter().any(|kept| kept.pipeline.name == own.name)
                || kept.unreadable.iter().any(|item| item.name == own.name);
            if !is_replaced {
                kept.items.push(KeptPipeline { version: 0, pipeline: own });
            }
        }
        Ok(kept)
    }

    /// The pipeline of that name, which there must be.
    pub(crate) async fn pipeline(&self, name: &str) -> Result<Pipeline, Failed> {
        let ItemList { items: kept, unreadable } = self.pipelines().await?;
        if let Some(item) = unreadable.iter().find(|item| item.name == name) {
            return Err(Failed::Usage(anyhow!("{}", cannot_be_read(item))));
        }
        if let Some(found) = kept.iter().find(|kept| kept.pipeline.name == name) {
            return Ok(found.pipeline.clone());
        }
        let names: Vec<_> = kept.iter().map(|kept| kept.pipeline.name.as_str()).collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let own = match self.default_pipeline {
            Some(_) => String::new(),
            None => format!("; the stack's own is not known, since {DEFAULT_PIPELINE} is not set"),
        };
        Err(Failed::Usage(anyhow!("there is no pipeline {name:?}; there are: {names}{own}")))
    }
}

/// What is told of a pipeline that this command line cannot read.
pub(super) fn cannot_be_read(UnreadableItem { name, reason, .. }: &UnreadableItem) -> String {
    format!(
        "pipeline {name:?} cannot be read: {reason}; use the version that wrote it, or apply it again with this one"
    )
}

/// Where schedules are, if all of it is named.
fn schedule_group() -> Option<ScheduleGroup> {
    let [name, role_arn, intake_arn, dead_arn] = SCHEDULES.map(crate::variable);
    Some(ScheduleGroup { name: name?, role_arn: role_arn?, intake_arn: intake_arn?, dead_arn: dead_arn? })
}
