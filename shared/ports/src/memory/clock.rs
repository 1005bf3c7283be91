//! Time that a test may set, and chance that it seeds.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use fanfold_domain::Timestamp;
use tokio::time::Instant;

use super::Random;
use crate::Clock;

/// The moment at which every memory clock starts: 2026-01-01 00:00:00 UTC.
pub const MEMORY_EPOCH: Timestamp = Timestamp(1_767_225_600_000);

/// The clock of the runtime it was made in, from [`MEMORY_EPOCH`] on: virtual, and moved on as soon as all
/// wait, under `#[tokio::test(start_paused = true)]`. Clones are the same clock.
#[derive(Debug, Clone)]
pub struct MemoryClock {
    start: Instant,
    random: Arc<Random>,
}

impl MemoryClock {
    /// A clock that starts now, with the random numbers of `seed`.
    pub fn seeded(seed: u64) -> Self {
        Self { start: Instant::now(), random: Arc::new(Random::seeded(seed)) }
    }
}

#[async_trait]
impl Clock for MemoryClock {
    fn now(&self) -> Timestamp {
        let elapsed = self.start.elapsed().as_millis();
        MEMORY_EPOCH.plus_ms(u64::try_from(elapsed).expect("a test is shorter than the universe"))
    }

    async fn sleep_ms(&self, ms: u64) {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    fn random(&self) -> u64 {
        self.random.number()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_day_of_waiting_takes_no_time() {
        let clock = MemoryClock::seeded(0);
        clock.sleep_ms(86_400_000).await;
        assert_eq!(clock.now().ms_since(MEMORY_EPOCH), 86_400_000);
    }

    #[test]
    fn a_seed_gives_the_same_numbers_again() {
        let [one, two] = [7, 7].map(MemoryClock::seeded);
        assert_eq!([one.random(), one.random()], [two.random(), two.clone().random()]);
        assert_ne!(one.random(), MemoryClock::seeded(8).random());
    }
}
