//! Cursors of destinations for one process: of a local run nobody else knows.

use std::{
    collections::BTreeMap,
    num::NonZeroU32,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use fanfold_domain::{Destination, Pace, Rate, Timestamp, pace::Reserved};

use fanfold_ports::{Pacer, PortError};

/// Cursors of destinations, as long as the process lives.
#[derive(Debug, Default)]
pub struct LocalPacer(Mutex<BTreeMap<Destination, Pace>>);

impl LocalPacer {
    fn paces(&self) -> MutexGuard<'_, BTreeMap<Destination, Pace>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Pacer for LocalPacer {
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
