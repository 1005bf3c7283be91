//! A bus that fails by plan, often half way.

use async_trait::async_trait;
use fanfold_domain::Event;

use super::{Faulty, Kind};
use crate::{Events, PortError, memory::faults::Outcome};

#[async_trait]
impl<T: Events + ?Sized> Events for Faulty<T> {
    async fn put(&self, events: &[Event]) -> Result<(), PortError> {
        let outcome = self.deal("put_events", &"the bus").await;
        if matches!(outcome, Outcome::Transient | Outcome::LostRequest | Outcome::CrashBefore) {
            // Each event fares by itself: some may have been accepted before it fails.
            let accepted = self.faults.accepted(events.len());
            self.inner.put(&events[..accepted]).await?;
        }
        self.perform(Kind::Write, "put_events", "the bus", outcome, self.inner.put(events)).await
    }
}
