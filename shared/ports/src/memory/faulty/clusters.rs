//! Clusters that fail by plan: whatever is known of a fault, a cluster's caller learns that it was unreachable.

use std::future::Future;

use async_trait::async_trait;
use fanfold_domain::{StackId, cluster::Cluster};

use super::{Faulty, Kind};
use crate::{
    Clusters, PortError,
    clusters::{ClusterError, ClusterFault, JobCreated, KubeJob, KubeJobState, KubePod},
};

/// Why a call failed: by the plan, or by itself.
enum Failed {
    Planned(PortError),
    Itself(ClusterError),
}

impl From<PortError> for Failed {
    fn from(error: PortError) -> Self {
        Self::Planned(error)
    }
}

impl<T: Clusters + ?Sized> Faulty<T> {
    async fn of_cluster<R>(
        &self,
        kind: Kind,
        cluster: &Cluster,
        operation: &'static str,
        object: &str,
        call: impl Future<Output = Result<R, ClusterError>>,
    ) -> Result<R, ClusterError> {
        let subject = format!("{object} on {}", cluster.name);
        let outcome = self.deal(operation, &subject).await;
        let call = async { call.await.map_err(Failed::Itself) };
        let answer: Result<R, Failed> = self.perform(kind, operation, subject, outcome, call).await;
        answer.map_err(|failed| match failed {
            Failed::Itself(error) => error,
            Failed::Planned(error) => {
                ClusterError::new(ClusterFault::Unreachable, &cluster.name, operation, error)
            }
        })
    }
}

#[async_trait]
impl<T: Clusters + ?Sized> Clusters for Faulty<T> {
    async fn create_job(&self, cluster: &Cluster, job: &KubeJob) -> Result<JobCreated, ClusterError> {
        let call = self.inner.create_job(cluster, job);
        self.of_cluster(Kind::Write, cluster, "create job", &job.name, call).await
    }

    async fn delete_job(&self, cluster: &Cluster, name: &str) -> Result<(), ClusterError> {
        self.of_cluster(Kind::Write, cluster, "delete job", name, self.inner.delete_job(cluster, name)).await
    }

    async fn jobs(&self, cluster: &Cluster, stack: &StackId) -> Result<Vec<KubeJobState>, ClusterError> {
        self.of_cluster(Kind::Read, cluster, "list jobs", "all Jobs", self.inner.jobs(cluster, stack)).await
    }

    async fn job(&self, cluster: &Cluster, name: &str) -> Result<Option<KubeJobState>, ClusterError> {
        self.of_cluster(Kind::Read, cluster, "get job", name, self.inner.job(cluster, name)).await
    }

    async fn pods(&self, cluster: &Cluster, job: &str) -> Result<Vec<KubePod>, ClusterError> {
        self.of_cluster(Kind::Read, cluster, "list pods", job, self.inner.pods(cluster, job)).await
    }

    async fn log_tail(
        &self,
        cluster: &Cluster,
        pod: &str,
        container: &str,
        lines: u32,
    ) -> Result<String, ClusterError> {
        let call = self.inner.log_tail(cluster, pod, container, lines);
        self.of_cluster(Kind::Read, cluster, "read log", pod, call).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::memory::{Faults, Invocation, MemoryClock, MemoryClusters, Rates};
    use serde_json::json;

    /// What became of a creation: how it failed, if it did, and whether it happened.
    async fn created_under(rates: Rates) -> (Option<ClusterFault>, bool) {
        let clusters = Arc::new(MemoryClusters::new(MemoryClock::seeded(0)));
        clusters.add("one");
        let faulty = Faulty::new(clusters.clone(), Faults::seeded(1, rates), Invocation::new("i"));
        let cluster = Cluster::parse("{cluster: one, region: us-east-1, worker_image: w}").unwrap();
        let manifest = json!({
            "metadata": { "name": "j" },
            "spec": { "template": { "spec": { "containers": [{ "name": "c" }] } } },
        });
        let created = faulty.create_job(&cluster, &KubeJob { name: "j".to_owned(), manifest }).await;
        (created.err().map(|error| error.fault), clusters.job("one", "j").is_some())
    }

    #[tokio::test]
    async fn an_unreachable_cluster_may_have_done_what_it_was_asked() {
        let transient = Rates { transient: 10_000, ..Rates::NONE };
        let request = Rates { lost_request: 10_000, ..Rates::NONE };
        let answer = Rates { lost_answer: 10_000, ..Rates::NONE };
        assert_eq!(created_under(Rates::NONE).await, (None, true));
        assert_eq!(created_under(transient).await, (Some(ClusterFault::Unreachable), false));
        assert_eq!(created_under(request).await, (Some(ClusterFault::Unreachable), false));
        assert_eq!(created_under(answer).await, (Some(ClusterFault::Unreachable), true));
    }
}
