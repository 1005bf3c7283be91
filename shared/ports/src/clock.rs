//! Time and chance, so that a test sets the one and seeds the other.

use async_trait::async_trait;
use fanfold_domain::Timestamp;

/// The time of day, waiting, and random numbers.
#[async_trait]
pub trait Clock: Send + Sync {
    /// The present moment.
    fn now(&self) -> Timestamp;

    /// Waits for `ms` milliseconds.
    async fn sleep_ms(&self, ms: u64);

    /// A uniformly random number; used for attempt ids and jitter, never for secrets.
    fn random(&self) -> u64;
}
