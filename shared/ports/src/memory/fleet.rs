//! Clusters, outages and launches in memory.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use fanfold_domain::{Launch, LaunchIndex, Outage, cluster::Cluster};

use crate::{
    Fleet, PortError,
    ledger::{Saved, StageId},
};

/// Clusters, outages and launches in memory.
#[derive(Debug, Default)]
pub struct MemoryFleet(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    clusters: BTreeMap<String, Cluster>,
    outages: BTreeMap<String, Outage>,
    launches: BTreeMap<(StageId, LaunchIndex), Launch>,
}

impl MemoryFleet {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Fleet for MemoryFleet {
    async fn put_cluster(&self, cluster: &Cluster) -> Result<(), PortError> {
        self.state().clusters.insert(cluster.name.clone(), cluster.clone());
        Ok(())
    }

    async fn clusters(&self) -> Result<Vec<Cluster>, PortError> {
        Ok(self.state().clusters.values().cloned().collect())
    }

    async fn note_outage(&self, cluster: &str, outage: Option<&Outage>) -> Result<(), PortError> {
        match outage {
            Some(outage) => self.state().outages.insert(cluster.to_owned(), outage.clone()),
            None => self.state().outages.remove(cluster),
        };
        Ok(())
    }

    async fn outages(&self) -> Result<BTreeMap<String, Outage>, PortError> {
        Ok(self.state().outages.clone())
    }

    async fn save_launch(&self, stage: &StageId, launch: &Launch) -> Result<Saved, PortError> {
        let mut state = self.state();
        let key = (stage.clone(), launch.index);
        if state.launches.get(&key).map_or(0, |kept| kept.revision) != launch.revision {
            return Ok(Saved::Stale);
        }
        state.launches.insert(key, Launch { revision: launch.revision + 1, ..launch.clone() });
        Ok(Saved::Now)
    }

    async fn launch(&self, stage: &StageId, index: LaunchIndex) -> Result<Option<Launch>, PortError> {
        Ok(self.state().launches.get(&(stage.clone(), index)).cloned())
    }

    async fn launches(&self, stage: &StageId) -> Result<Vec<Launch>, PortError> {
        let state = self.state();
        let own = state.launches.iter().filter(|((of, _), _)| of == stage);
        Ok(own.map(|(_, launch)| launch.clone()).collect())
    }
}
