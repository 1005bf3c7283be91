//! Queues that fail by plan, often half way.

use async_trait::async_trait;

use super::{Faulty, Kind};
use crate::{PortError, Queue, Queues, memory::faults::Outcome, queues::Outgoing};

#[async_trait]
impl<T: Queues + ?Sized> Queues for Faulty<T> {
    async fn send(&self, queue: Queue, messages: Vec<Outgoing>) -> Result<(), PortError> {
        let outcome = self.deal("send", &queue).await;
        if matches!(outcome, Outcome::Transient | Outcome::LostRequest | Outcome::CrashBefore) {
            // Batches are sent one after another: some may have been accepted before it fails.
            let accepted = self.faults.accepted(messages.len());
            self.inner.send(queue, messages[..accepted].to_vec()).await?;
        }
        self.perform(Kind::Write, "send", queue, outcome, self.inner.send(queue, messages)).await
    }
}
