//! A pacer that fails by plan.

use std::num::NonZeroU32;

use async_trait::async_trait;
use fanfold_domain::{Destination, Pace, Rate, Timestamp, pace::Reserved};

use super::Faulty;
use crate::{Pacer, PortError};

#[async_trait]
impl<T: Pacer + ?Sized> Pacer for Faulty<T> {
    async fn reserve(
        &self,
        destination: &Destination,
        initial: Rate,
        wanted: NonZeroU32,
        from: Timestamp,
    ) -> Result<Reserved, PortError> {
        self.write("reserve", destination, self.inner.reserve(destination, initial, wanted, from)).await
    }

    async fn pace(&self, destination: &Destination) -> Result<Option<Pace>, PortError> {
        self.read("pace", destination, self.inner.pace(destination)).await
    }

    async fn set_rate(&self, destination: &Destination, rate: Rate) -> Result<(), PortError> {
        self.write("set_rate", destination, self.inner.set_rate(destination, rate)).await
    }
}
