//! What is told to the world outside: events, at least once, in any order.

use async_trait::async_trait;
use fanfold_domain::Event;

use crate::PortError;

/// The longest event, in bytes of its detail: what EventBridge takes of an entry, less a kibibyte for all that it counts
/// beside.
pub const MAX_DETAIL_BYTES: usize = 255 << 10;

/// Telling.
#[async_trait]
pub trait Events: Send + Sync {
    /// Puts all events on the stack's bus, batched as the service allows; returns once all were accepted. Nothing to
    /// put is no error.
    ///
    /// # Errors
    /// Some or all were not accepted, or it is not known. Those that were are delivered all the same: the caller puts
    /// everything again, and every consumer tells doubles by the `id` in their details. One that is too long, or no
    /// JSON, is refused as permanent.
    async fn put(&self, events: &[Event]) -> Result<(), PortError>;
}
