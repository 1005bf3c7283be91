//! Time and chance, so that a test sets the one and seeds the other.

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use fanfold_domain::{Skew, Timestamp};

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

/// A machine's own clock, corrected by what the services say that it calls: so all who call them have nearly one time,
/// whatever their own clocks say ([`Skew`]).
#[derive(Debug, Default)]
pub struct SyncedClock<C> {
    /// The machine's own clock.
    pub own: C,
    skew: Mutex<Skew>,
}

impl<C: Clock> SyncedClock<C> {
    /// A clock that is not corrected yet.
    pub fn new(own: C) -> Self {
        Self { own, skew: Mutex::default() }
    }

    /// Takes an answer into account: asked at this moment by the machine's own clock, answered now, and made within the
    /// second that begins at `second` by the service's. Returns by how many milliseconds the own clock is taken to be
    /// off by now, and was before.
    pub fn answered(&self, asked: Timestamp, second: Timestamp) -> [u64; 2] {
        let now = self.own.now();
        let mut skew = self.skew();
        let before = *skew;
        *skew = before.seen(asked, now, second);
        [*skew, before].map(|skew| skew.correct(now).0.abs_diff(now.0))
    }

    fn skew(&self) -> MutexGuard<'_, Skew> {
        self.skew.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl<C: Clock> Clock for SyncedClock<C> {
    fn now(&self) -> Timestamp {
        let own = self.own.now();
        self.skew().correct(own)
    }

    async fn sleep_ms(&self, ms: u64) {
        self.own.sleep_ms(ms).await;
    }

    fn random(&self) -> u64 {
        self.own.random()
    }
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
