//! Schedules in memory: they never tick by themselves.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
};

use async_trait::async_trait;
use fanfold_domain::pipeline::Schedule;

use crate::{PortError, Schedules};

/// Schedules by the names of their pipelines.
#[derive(Debug, Default)]
pub struct MemorySchedules(Mutex<BTreeMap<String, Schedule>>);

impl MemorySchedules {
    /// The schedule of a pipeline.
    pub fn of(&self, pipeline: &str) -> Option<Schedule> {
        self.schedules().get(pipeline).cloned()
    }

    fn schedules(&self) -> MutexGuard<'_, BTreeMap<String, Schedule>> {
        self.0.lock().expect("nothing panics while it holds the lock")
    }
}

#[async_trait]
impl Schedules for MemorySchedules {
    async fn put(&self, pipeline: &str, schedule: &Schedule) -> Result<(), PortError> {
        self.schedules().insert(pipeline.to_owned(), schedule.clone());
        Ok(())
    }

    async fn delete(&self, pipeline: &str) -> Result<(), PortError> {
        self.schedules().remove(pipeline);
        Ok(())
    }
}
