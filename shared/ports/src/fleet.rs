//! What is known of clusters and launches: beside the ledger, in the same table.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use fanfold_domain::{Launch, LaunchIndex, Outage, cluster::Cluster};

use crate::{
    Clusters, ItemList, PortError,
    ledger::{Saved, StageId},
};

/// Clusters as they were declared, their outages, and launches.
///
/// As of the ledger's, an indeterminate error of a write may be answered by the same call again.
#[async_trait]
pub trait Fleet: Send + Sync {
    /// Keeps a cluster under its name, in place of what was kept of it.
    async fn put_cluster(&self, cluster: &Cluster) -> Result<(), PortError>;

    /// All clusters, by name. Consistent.
    async fn clusters(&self) -> Result<ItemList<Cluster>, PortError>;

    /// Keeps that a cluster failed, or with none that it answered. Of two at the same time one stays.
    async fn note_outage(&self, cluster: &str, outage: Option<&Outage>) -> Result<(), PortError>;

    /// The outages, by cluster. One that cannot be read is as if it had not been noted: it is noted anew at the next
    /// failure.
    async fn outages(&self) -> Result<BTreeMap<String, Outage>, PortError>;

    /// Replaces a launch's item if its revision is still `launch.revision` (0: if there is none); the stored one is
    /// one higher.
    async fn save_launch(&self, stage: &StageId, launch: &Launch) -> Result<Saved, PortError>;

    /// Reads a launch. Consistent.
    async fn launch(&self, stage: &StageId, index: LaunchIndex) -> Result<Option<Launch>, PortError>;

    /// The launches of a stage that were kept, by index. Consistent.
    async fn launches(&self, stage: &StageId) -> Result<ItemList<Launch>, PortError>;
}

/// What a service needs that gives chunks to clusters.
#[derive(Clone)]
pub struct KubePorts {
    /// What is known of them.
    pub fleet: Arc<dyn Fleet>,
    /// The clusters themselves.
    pub clusters: Arc<dyn Clusters>,
}
