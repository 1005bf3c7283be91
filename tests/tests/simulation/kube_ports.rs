//! The clusters, and what is known of them, as one invocation sees them: through its gate, and watched.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use async_trait::async_trait;
use fanfold_domain::{Launch, LaunchIndex, Outage, StackId, cluster::Cluster};
use fanfold_ports::{
    Clusters, Fleet, ItemList, PortError,
    clusters::{ClusterError, JobCreated, KubeJob, KubeJobState, KubePod},
    ledger::{Saved, StageId},
};

use crate::{kube::is_ours, ports::Watched};

#[async_trait]
impl Fleet for Watched {
    async fn put_cluster(&self, cluster: &Cluster) -> Result<(), PortError> {
        self.world.fleet.put_cluster(cluster).await
    }

    async fn clusters(&self) -> Result<ItemList<Cluster>, PortError> {
        let call = self.gate.enter().await;
        let clusters = self.world.fleet.clusters().await;
        self.gate.leave(call).await;
        clusters
    }

    async fn note_outage(&self, cluster: &str, outage: Option<&Outage>) -> Result<(), PortError> {
        let call = self.gate.enter().await;
        self.record().tell(format!("cluster {cluster}: {outage:?}"));
        self.world.fleet.note_outage(cluster, outage).await?;
        self.gate.leave(call).await;
        Ok(())
    }

    async fn outages(&self) -> Result<BTreeMap<String, Outage>, PortError> {
        let call = self.gate.enter().await;
        let outages = self.world.fleet.outages().await;
        self.gate.leave(call).await;
        outages
    }

    async fn save_launch(&self, stage: &StageId, launch: &Launch) -> Result<Saved, PortError> {
        let call = self.gate.enter().await;
        let saved = self.world.fleet.save_launch(stage, launch).await?;
        if saved == Saved::Now {
            self.record().launch_saved(stage, launch);
        }
        self.gate.leave(call).await;
        Ok(saved)
    }

    async fn launch(&self, stage: &StageId, index: LaunchIndex) -> Result<Option<Launch>, PortError> {
        let call = self.gate.enter().await;
        let launch = self.world.fleet.launch(stage, index).await;
        self.gate.leave(call).await;
        launch
    }

    async fn launches(&self, stage: &StageId) -> Result<ItemList<Launch>, PortError> {
        let call = self.gate.enter().await;
        let launches = self.world.fleet.launches(stage).await;
        self.gate.leave(call).await;
        launches
    }
}

#[async_trait]
impl Clusters for Watched {
    async fn create_job(&self, cluster: &Cluster, job: &KubeJob) -> Result<JobCreated, ClusterError> {
        let call = self.gate.enter().await;
        let created = self.cloud.clusters.create_job(cluster, job).await?;
        if created == JobCreated::Now {
            self.record().job_created(&cluster.name, job);
        }
        self.cloud.is_changed.store(true, Ordering::Relaxed);
        self.gate.leave(call).await;
        Ok(created)
    }

    async fn delete_job(&self, cluster: &Cluster, name: &str) -> Result<(), ClusterError> {
        let call = self.gate.enter().await;
        let found = self.cloud.clusters.job(&cluster.name, name);
        if found.is_some_and(|job| !is_ours(&job.state.labels)) {
            self.record().accuse(format!("Job {name} on {} was deleted, which is another's", cluster.name));
        }
        self.cloud.clusters.delete_job(cluster, name).await?;
        self.record().job_deleted(&cluster.name, name);
        self.cloud.is_changed.store(true, Ordering::Relaxed);
        self.gate.leave(call).await;
        Ok(())
    }

    async fn jobs(&self, cluster: &Cluster, stack: &StackId) -> Result<Vec<KubeJobState>, ClusterError> {
        let call = self.gate.enter().await;
        let jobs = self.cloud.clusters.jobs(cluster, stack).await;
        self.gate.leave(call).await;
        jobs
    }

    async fn job(&self, cluster: &Cluster, name: &str) -> Result<Option<KubeJobState>, ClusterError> {
        let call = self.gate.enter().await;
        let job = Clusters::job(&self.cloud.clusters, cluster, name).await;
        self.gate.leave(call).await;
        job
    }

    async fn pods(&self, cluster: &Cluster, job: &str) -> Result<Vec<KubePod>, ClusterError> {
        let call = self.gate.enter().await;
        let pods = self.cloud.clusters.pods(cluster, job).await;
        self.gate.leave(call).await;
        pods
    }

    async fn log_tail(
        &self,
        cluster: &Cluster,
        pod: &str,
        container: &str,
        lines: u32,
    ) -> Result<String, ClusterError> {
        let call = self.gate.enter().await;
        let tail = self.cloud.clusters.log_tail(cluster, pod, container, lines).await;
        self.gate.leave(call).await;
        tail
    }
}
