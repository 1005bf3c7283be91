//! Slots of destinations: how often a third party is asked, by all workers together.

use std::{
    collections::BTreeMap,
    num::NonZeroU32,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use fanfold_domain::{Destination, Pace, Rate, Timestamp, pace::Reserved};

use crate::PortError;

/// One cursor a destination, shared by all who ask it ([`Pace`]).
#[async_trait]
pub trait Pacer: Send + Sync {
    /// Takes slots of a destination, at most as many as are wanted, from this moment on, at the rate in force: the one
    /// that is kept with the destination, or, if nothing is kept of it yet, `initial`, which then is.
    ///
    /// # Errors
    /// After an indeterminate one the slots may have been taken: they are lost, and others are to be asked for. No slot
    /// is ever given twice.
    async fn reserve(
        &self,
        destination: &Destination,
        initial: Rate,
        wanted: NonZeroU32,
        from: Timestamp,
    ) -> Result<Reserved, PortError>;

    /// What is kept of a destination. Consistent.
    async fn pace(&self, destination: &Destination) -> Result<Option<Pace>, PortError>;

    /// Changes the rate in force, from the next reservation on. Slots that were given stay as they are. Idempotent.
    async fn set_rate(&self, destination: &Destination, rate: Rate) -> Result<(), PortError>;
}

/// Cursors of destinations in memory, as long as the process lives: what a local run has, of which nobody else knows,
/// and what tests have.
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
