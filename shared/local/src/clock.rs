//! The machine's own time and chance.

use std::{
    hash::{BuildHasher, RandomState},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use fanfold_domain::Timestamp;
use fanfold_ports::Clock;

/// The machine's clock.
#[derive(Debug, Default)]
pub struct LocalClock;

#[async_trait]
impl Clock for LocalClock {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "this is the clock that everything else asks")]
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    async fn sleep_ms(&self, ms: u64) {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    fn random(&self) -> u64 {
        // Each state is keyed afresh by the system.
        RandomState::new().hash_one(0)
    }
}
