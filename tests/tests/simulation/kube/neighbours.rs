//! Jobs in the same namespaces that are not this stack's: another stack's, and those of versions that named no stack.
//! Their runs are in no ledger that the services see, and nothing may happen to them.

use std::collections::BTreeMap;

use fanfold_domain::{Origin, RunId, StackId};
use fanfold_ports::{
    Clusters,
    clusters::{KubeJob, LAUNCH, LAUNCH_GENERATION, MANAGED_BY, RUN, STACK, STAGE},
};
use serde_json::json;

use super::Kube;
use crate::services::stack_id;

/// Whether a Job names this stack.
pub(crate) fn is_ours(labels: &BTreeMap<String, String>) -> bool {
    labels.get(STACK).is_some_and(|stack| stack == stack_id().as_str())
}

impl Kube {
    /// Puts Jobs of others on every cluster.
    pub(crate) async fn add_neighbours(&self) {
        let run = RunId::derive("theirs", &Origin::Submission { idempotency_key: "theirs" });
        for cluster in &self.declared {
            for (name, stack) in [("theirs", Some(StackId::of_ledger("theirs"))), ("older", None)] {
                let mut labels = json!({
                    MANAGED_BY.0: MANAGED_BY.1, RUN: run, STAGE: "s", LAUNCH: "0", LAUNCH_GENERATION: "0",
                });
                if let Some(stack) = stack {
                    labels[STACK] = json!(stack);
                }
                let manifest = json!({
                    "metadata": { "name": name, "labels": labels },
                    "spec": { "template": { "spec": { "containers": [{ "name": "worker" }] } } },
                });
                let job = KubeJob { name: name.to_owned(), manifest };
                self.cloud.clusters.create_job(cluster, &job).await.expect("memory does not fail");
            }
        }
    }
}
