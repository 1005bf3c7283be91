//! A fleet that fails by plan.

use std::collections::BTreeMap;

use async_trait::async_trait;
use fanfold_domain::{Launch, LaunchIndex, Outage, cluster::Cluster};

use super::Faulty;
use crate::{
    Fleet, ItemList, PortError,
    ledger::{Saved, StageId},
};

#[async_trait]
impl<T: Fleet + ?Sized> Fleet for Faulty<T> {
    async fn put_cluster(&self, cluster: &Cluster) -> Result<(), PortError> {
        self.write("put_cluster", &cluster.name, self.inner.put_cluster(cluster)).await
    }

    async fn clusters(&self) -> Result<ItemList<Cluster>, PortError> {
        self.read("clusters", "the table", self.inner.clusters()).await
    }

    async fn note_outage(&self, cluster: &str, outage: Option<&Outage>) -> Result<(), PortError> {
        self.write("note_outage", cluster, self.inner.note_outage(cluster, outage)).await
    }

    async fn outages(&self) -> Result<BTreeMap<String, Outage>, PortError> {
        self.read("outages", "the table", self.inner.outages()).await
    }

    async fn save_launch(&self, stage: &StageId, launch: &Launch) -> Result<Saved, PortError> {
        let subject = format!("launch {} of {}", launch.index, stage.run);
        self.write("save_launch", subject, self.inner.save_launch(stage, launch)).await
    }

    async fn launch(&self, stage: &StageId, index: LaunchIndex) -> Result<Option<Launch>, PortError> {
        self.read("launch", &stage.run, self.inner.launch(stage, index)).await
    }

    async fn launches(&self, stage: &StageId) -> Result<ItemList<Launch>, PortError> {
        self.read("launches", &stage.run, self.inner.launches(stage)).await
    }
}
