//! Schedules of pipelines: what ticks.

use async_trait::async_trait;
use fanfold_domain::pipeline::Schedule;

use crate::PortError;

/// Schedules, one a pipeline at most: its tick reaches the queue `intake` as a
/// [`fanfold_domain::message::Tick`], at least once.
#[async_trait]
pub trait Schedules: Send + Sync {
    /// Makes the schedule of a pipeline, or changes it to this one. The same again changes nothing.
    async fn put(&self, pipeline: &str, schedule: &Schedule) -> Result<(), PortError>;

    /// Deletes the schedule of a pipeline; that there is none is no error. A tick that is under way still arrives.
    async fn delete(&self, pipeline: &str) -> Result<(), PortError>;
}
