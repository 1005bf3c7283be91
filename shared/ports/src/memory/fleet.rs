//! Clusters, outages and launches in memory.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use fanfold_domain::{Launch, LaunchIndex, Outage, cluster::Cluster};

use super::ledger::spoiled;
use crate::{
    Fault, Fleet, ItemList, PortError, UnreadableItem,
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
    unreadable_clusters: BTreeMap<String, UnreadableItem>,
    unreadable_launches: BTreeMap<(StageId, LaunchIndex), UnreadableItem>,
}

impl MemoryFleet {
    /// Puts a document in place of a cluster's: one that no cluster can be read from.
    pub fn spoil_cluster(&self, name: &str, document: &str) {
        let mut state = self.state();
        state.clusters.remove(name);
        state.unreadable_clusters.insert(name.to_owned(), spoiled(name, document));
    }

    /// Puts a document in place of a launch's: one that no launch can be read from.
    pub fn spoil_launch(&self, stage: &StageId, index: LaunchIndex, document: &str) {
        let item = spoiled(index, document);
        self.state().unreadable_launches.insert((stage.clone(), index), item);
    }

    /// All launches of all stages.
    pub fn all_launches(&self) -> Vec<(StageId, Launch)> {
        let state = self.state();
        state.launches.iter().map(|((stage, _), launch)| (stage.clone(), launch.clone())).collect()
    }

    /// Puts a launch here as it stood elsewhere, its revision included.
    pub fn restore_launch(&self, stage: StageId, launch: Launch) {
        self.state().launches.insert((stage, launch.index), launch);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Fleet for MemoryFleet {
    async fn put_cluster(&self, cluster: &Cluster) -> Result<(), PortError> {
        let mut state = self.state();
        state.unreadable_clusters.remove(&cluster.name);
        state.clusters.insert(cluster.name.clone(), cluster.clone());
        Ok(())
    }

    async fn clusters(&self) -> Result<ItemList<Cluster>, PortError> {
        let state = self.state();
        let items = state.clusters.values().cloned().collect();
        Ok(ItemList { items, unreadable: state.unreadable_clusters.values().cloned().collect() })
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
        let is_current = state.launches.get(&key).map_or(0, |kept| kept.revision) == launch.revision;
        if !is_current || state.unreadable_launches.contains_key(&key) {
            return Ok(Saved::Stale);
        }
        state.launches.insert(key, Launch { revision: launch.revision + 1, ..launch.clone() });
        Ok(Saved::Now)
    }

    async fn launch(&self, stage: &StageId, index: LaunchIndex) -> Result<Option<Launch>, PortError> {
        let (state, key) = (self.state(), (stage.clone(), index));
        if let Some(item) = state.unreadable_launches.get(&key) {
            return Err(PortError::new(Fault::Permanent, "launch", &item.name, item.reason.clone()));
        }
        Ok(state.launches.get(&key).cloned())
    }

    async fn launches(&self, stage: &StageId) -> Result<ItemList<Launch>, PortError> {
        let state = self.state();
        let own = state.launches.iter().filter(|((of, _), _)| of == stage);
        let read = |(key, launch): (&(StageId, LaunchIndex), &Launch)| {
            state.unreadable_launches.get(key).cloned().map_or_else(|| Ok(launch.clone()), Err)
        };
        Ok(own.map(read).collect())
    }
}
