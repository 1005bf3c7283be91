//! Executions whose starts fail by plan.

use async_trait::async_trait;
use fanfold_domain::map::{ExecutionName, MapInput};

use super::Faulty;
use crate::{Maps, PortError, maps::MapStatus};

#[async_trait]
impl<T: Maps + ?Sized> Maps for Faulty<T> {
    async fn start(&self, input: &MapInput) -> Result<(), PortError> {
        self.write("start", input.name(), self.inner.start(input)).await
    }

    async fn status(&self, name: &ExecutionName) -> Result<Option<MapStatus>, PortError> {
        self.read("status", name, self.inner.status(name)).await
    }
}
