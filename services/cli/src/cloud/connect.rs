//! Where the stack is: what `scripts/stack env` prints, or a deployment's outputs.

use std::sync::Arc;

use anyhow::anyhow;
use fanfold_aws::{Aws, QueueUrls, Settings};
use fanfold_ports::{Fleet, Ports};

use crate::Failed;

/// A deployed stack.
pub(crate) struct Stack {
    /// Its services.
    pub(crate) ports: Ports,
    /// Its clusters, as the table knows them.
    pub(crate) fleet: Arc<dyn Fleet>,
    /// The bucket that starts runs.
    pub(crate) input_bucket: String,
    /// The bucket of manifests.
    pub(crate) work_bucket: String,
}

/// The outputs of the stack that the command line needs, as variables.
const LEDGER_TABLE: &str = "FANFOLD_LEDGER_TABLE";
const INPUT_BUCKET: &str = "FANFOLD_INPUT_BUCKET";
const WORK_BUCKET: &str = "FANFOLD_WORK_BUCKET";
const INTAKE_QUEUE_URL: &str = "FANFOLD_INTAKE_QUEUE_URL";

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
            work(&Self { ports: aws.ports(table, queues), fleet, input_bucket, work_bucket }).await
        })
    }
}
