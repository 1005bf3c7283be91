//! Slots of destinations: how often a third party is asked, by all workers together.

use std::num::NonZeroU32;

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
