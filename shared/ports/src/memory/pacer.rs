//! Cursors of destinations in memory.

use std::{
    collections::BTreeMap,
    num::NonZeroU32,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use fanfold_domain::{Destination, Pace, Rate, Timestamp, pace::Reserved};

use crate::{Pacer, PortError};

/// Cursors of destinations in memory.
#[derive(Debug, Default)]
pub struct MemoryPacer(Mutex<BTreeMap<Destination, Pace>>);

impl MemoryPacer {
    fn paces(&self) -> MutexGuard<'_, BTreeMap<Destination, Pace>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Pacer for MemoryPacer {
    async fn reserve(
        &self,
        destination: &Destination,
        initial: Rate,
        wanted: NonZeroU32,
        from: Timestamp,
    ) -> Result<Reserved, PortError> {
        let mut paces = self.paces();
        let pace = paces.entry(destination.clone()).or_insert_with(|| Pace::new(initial));
        Ok(pace.reserve(wanted, from))
    }

    async fn pace(&self, destination: &Destination) -> Result<Option<Pace>, PortError> {
        Ok(self.paces().get(destination).copied())
    }

    async fn set_rate(&self, destination: &Destination, rate: Rate) -> Result<(), PortError> {
        self.paces().entry(destination.clone()).or_insert_with(|| Pace::new(rate)).rate = rate;
        Ok(())
    }
}
