//! Executions in memory: they are started, and leave what they do to whoever drives the test.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use fanfold_domain::map::{ExecutionName, MapInput};

use crate::{Maps, PortError, maps::MapStatus};

/// An execution that was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryExecution {
    /// What it was started with.
    pub input: MapInput,
    /// How it stands.
    pub status: MapStatus,
}

/// Executions in memory. Nothing is executed by itself: a driver looks at what was started, does it, and ends it.
#[derive(Debug, Default)]
pub struct MemoryMaps(Mutex<BTreeMap<ExecutionName, MemoryExecution>>);

impl MemoryMaps {
    /// All executions by name, whether they have ended or not.
    pub fn executions(&self) -> BTreeMap<ExecutionName, MemoryExecution> {
        self.state().clone()
    }

    /// Ends an execution; nothing if there is none of that name.
    pub fn end(&self, name: &ExecutionName, how: &str) {
        if let Some(execution) = self.state().get_mut(name) {
            execution.status = MapStatus::Ended { how: how.to_owned() };
        }
    }

    fn state(&self) -> MutexGuard<'_, BTreeMap<ExecutionName, MemoryExecution>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Maps for MemoryMaps {
    async fn start(&self, input: &MapInput) -> Result<(), PortError> {
        let started = MemoryExecution { input: input.clone(), status: MapStatus::Running };
        self.state().entry(input.name()).or_insert(started);
        Ok(())
    }

    async fn status(&self, name: &ExecutionName) -> Result<Option<MapStatus>, PortError> {
        Ok(self.state().get(name).map(|execution| execution.status.clone()))
    }
}
