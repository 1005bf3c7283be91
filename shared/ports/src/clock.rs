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

/// A moment from which on an invocation begins nothing more of work that keeps its place: what is left is another
/// invocation's. What is under way then is still finished.
#[derive(Clone, Copy)]
pub struct Until<'a>(Option<(&'a dyn Clock, Timestamp)>);

impl<'a> Until<'a> {
    /// No moment: the work is done to its end.
    pub const NEVER: Self = Self(None);

    /// This moment, by this clock; none if there is none.
    pub fn at(clock: &'a dyn Clock, moment: Option<Timestamp>) -> Self {
        Self(moment.map(|moment| (clock, moment)))
    }

    /// Whether it has come.
    pub fn is_over(&self) -> bool {
        self.0.is_some_and(|(clock, moment)| clock.now() >= moment)
    }
}
