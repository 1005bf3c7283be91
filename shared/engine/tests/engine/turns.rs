//! Turns at a destination, in virtual time: what arrives there, whoever asks and whatever fails.

use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use fanfold_domain::{
    Destination, Pace, Rate, Timestamp,
    pace::{LATE_MS, Reserved},
};
use fanfold_engine::turns::Turns;
use fanfold_ports::{
    Clock, Fault, Pacer, PortError,
    memory::{Faults, Faulty, Invocation, MEMORY_EPOCH, MemoryClock, MemoryPacer, Random, Rates},
};
use proptest::prelude::*;

/// A table that takes its time, more and less of it.
struct Slow {
    inner: Arc<dyn Pacer>,
    clock: MemoryClock,
    most_ms: u64,
}

impl Slow {
    async fn wait(&self) {
        self.clock.sleep_ms(self.clock.random() % (self.most_ms + 1)).await;
    }
}

#[async_trait]
impl Pacer for Slow {
    async fn reserve(
        &self,
        destination: &Destination,
        initial: Rate,
        wanted: NonZeroU32,
        from: Timestamp,
    ) -> Result<Reserved, PortError> {
        self.wait().await;
        let reserved = self.inner.reserve(destination, initial, wanted, from).await;
        self.wait().await;
        reserved
    }

    async fn pace(&self, destination: &Destination) -> Result<Option<Pace>, PortError> {
        self.inner.pace(destination).await
    }

    async fn set_rate(&self, destination: &Destination, rate: Rate) -> Result<(), PortError> {
        self.inner.set_rate(destination, rate).await
    }
}

/// A worker's clock, which is a little wrong.
struct Skewed {
    clock: MemoryClock,
    ahead_ms: u64,
}

#[async_trait]
impl Clock for Skewed {
    fn now(&self) -> Timestamp {
        self.clock.now().plus_ms(self.ahead_ms)
    }

    async fn sleep_ms(&self, ms: u64) {
        self.clock.sleep_ms(ms).await;
    }

    fn random(&self) -> u64 {
        self.clock.random()
    }
}

/// Workers that ask one destination, and the moments at which it was asked.
#[derive(Clone)]
struct Crowd {
    clock: MemoryClock,
    pacer: Arc<MemoryPacer>,
    faults: Faults,
    asked: Arc<Mutex<Vec<u64>>>,
    random: Arc<Random>,
    rate: Rate,
    table_ms: u64,
    answer_ms: u64,
    skew_ms: u64,
}

fn destination() -> Destination {
    Destination::of_stage("p", "s")
}

impl Crowd {
    fn new(seed: u64, rate: &str) -> Self {
        Self {
            clock: MemoryClock::seeded(seed),
            pacer: Arc::default(),
            faults: Faults::none(),
            asked: Arc::default(),
            random: Arc::new(Random::seeded(seed)),
            rate: rate.parse().unwrap(),
            table_ms: 0,
            answer_ms: 0,
            skew_ms: 0,
        }
    }

    fn now_ms(&self) -> u64 {
        self.clock.now().ms_since(MEMORY_EPOCH)
    }

    fn turns(&self, worker: usize) -> Turns {
        let invocation = Invocation::new(format!("worker {worker}"));
        let faulty = Arc::new(Faulty::new(self.pacer.clone(), self.faults.clone(), invocation));
        let slow = Slow { inner: faulty, clock: self.clock.clone(), most_ms: self.table_ms };
        let ahead_ms = if self.skew_ms == 0 { 0 } else { self.random.below(self.skew_ms + 1) };
        let clock = Skewed { clock: self.clock.clone(), ahead_ms };
        Turns::new(Arc::new(slow), Arc::new(clock), destination(), self.rate)
    }

    /// One of a worker's lanes: asks one after another, each answered in its time; now and then it falls asleep with a
    /// turn's slot near.
    async fn lane(self, turns: Arc<Turns>, until_ms: u64) {
        while self.now_ms() < until_ms {
            turns.next().await.unwrap();
            self.asked.lock().unwrap().push(self.now_ms());
            self.clock.sleep_ms(1 + self.random.below(2 * self.answer_ms + 1)).await;
        }
    }

    /// Has so many workers with so many lanes each ask for so long; the moments.
    async fn ask(&self, workers: usize, lanes: usize, for_ms: u64) -> Vec<u64> {
        let until_ms = self.now_ms() + for_ms;
        let mut all = Vec::new();
        for worker in 0..workers {
            let turns = Arc::new(self.turns(worker));
            all.extend((0..lanes).map(|_| tokio::spawn(self.clone().lane(turns.clone(), until_ms))));
        }
        for lane in all {
            lane.await.unwrap();
        }
        let mut asked = std::mem::take(&mut *self.asked.lock().unwrap());
        asked.sort_unstable();
        asked
    }
}

/// The most that arrived in any second.
fn most_in_a_second(asked: &[u64]) -> usize {
    let in_second_from = |i: usize| asked[i..].partition_point(|at| *at < asked[i] + 1_000);
    (0..asked.len()).map(in_second_from).max().unwrap_or(0)
}

fn share_used(asked: &[u64], from_ms: u64, to_ms: u64, rate: Rate) -> f64 {
    let used = asked.iter().filter(|at| (from_ms..to_ms).contains(at)).count();
    #[expect(clippy::cast_precision_loss, reason = "counts of a test")]
    let share = used as f64 * rate.interval_us() as f64 / (1_000.0 * (to_ms - from_ms) as f64);
    share
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(work)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_second_has_more_than_the_rate_and_nearly_all_of_it_is_used(
        seed: u64,
        per_second in prop_oneof![2u64..=20, 20u64..=200, 200u64..=1_000],
        workers in 2usize..=24,
        table_ms in 0u64..=20,
        answer_ms in 0u64..=60,
        skew_ms in 0u64..=20,
    ) {
        block_on(async {
            let crowd = Crowd { table_ms, answer_ms, skew_ms, ..Crowd::new(seed, &format!("{per_second}/s")) };
            let lanes = 16;
            let asked = crowd.ask(workers, lanes, 10_000).await;
            let most = most_in_a_second(&asked);
            // A tenth for lateness and clocks, and the one at both ends of a second.
            let allowed = per_second + per_second / 10 + 1;
            prop_assert!(most as u64 <= allowed, "{most} in a second at {per_second}/s");
            // What all of them could ask at best, were there no rate.
            let lanes_could = (workers * lanes) as u64 * 1_000 / (answer_ms + 2 * table_ms + 2);
            if lanes_could >= 2 * per_second {
                let used = share_used(&asked, 1_000, 9_000, crowd.rate);
                prop_assert!(used >= 0.9, "{used} of {per_second}/s used by {workers} workers");
            }
            Ok(())
        })?;
    }

    #[test]
    fn faults_of_the_table_cost_time_and_never_a_burst(seed: u64, per_second in 5u64..=300, workers in 2usize..=8) {
        block_on(async {
            let rates = Rates { transient: 500, lost_request: 200, lost_answer: 300, ..Rates::NONE };
            let crowd = Crowd {
                table_ms: 10,
                answer_ms: 20,
                faults: Faults::seeded(seed, rates),
                ..Crowd::new(seed, &format!("{per_second}/s"))
            };
            let asked = crowd.ask(workers, 8, 10_000).await;
            let most = most_in_a_second(&asked);
            prop_assert!(most as u64 <= per_second + per_second / 10 + 1, "{most} in a second at {per_second}/s");
            prop_assert!(asked.len() as u64 >= per_second * 4, "{} in 10 s at {per_second}/s", asked.len());
            Ok(())
        })?;
    }
}

#[tokio::test(start_paused = true)]
async fn one_worker_alone_uses_the_rate() {
    for rate in ["1/s", "20/s", "600/m", "100/s"] {
        let crowd = Crowd { table_ms: 10, answer_ms: 20, ..Crowd::new(3, rate) };
        let asked = crowd.ask(1, 8, 20_000).await;
        let used = share_used(&asked, 1_000, 19_000, crowd.rate);
        assert!((0.9..=1.06).contains(&used), "{used} of {rate}");
    }
}

#[tokio::test(start_paused = true)]
async fn idling_is_never_made_up_for() {
    let crowd = Crowd::new(4, "20/s");
    crowd.ask(3, 8, 2_000).await;
    crowd.clock.sleep_ms(60_000).await;
    let asked = crowd.ask(3, 8, 2_000).await;
    assert!(most_in_a_second(&asked) <= 22, "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_changed_rate_is_kept_by_all_within_two_seconds() {
    for (first, then) in [("20/s", "5/s"), ("5/s", "50/s")] {
        let crowd = Crowd { table_ms: 10, answer_ms: 10, ..Crowd::new(5, first) };
        let asking = tokio::spawn({
            let crowd = crowd.clone();
            async move { crowd.ask(4, 8, 20_000).await }
        });
        crowd.clock.sleep_ms(8_000).await;
        crowd.pacer.set_rate(&destination(), then.parse().unwrap()).await.unwrap();
        let asked = asking.await.unwrap();
        let after: Vec<u64> = asked.iter().copied().filter(|at| *at >= 10_300).collect();
        let used = share_used(&after, 11_000, 19_000, then.parse().unwrap());
        assert!((0.9..=1.05).contains(&used), "{used} of {then} after {first}");
        let most = most_in_a_second(&asked);
        assert!(most <= 56, "{most}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_was_slept_through_is_lost() {
    let crowd = Crowd::new(6, "10/s");
    let turns = crowd.turns(0);
    // Both have a slot; whoever holds them is not looked at for a while, as of a function that is frozen.
    let mut both = std::pin::pin!(futures::future::join(turns.next(), turns.next()));
    assert!(futures::poll!(both.as_mut()).is_pending());
    std::thread::yield_now();
    tokio::time::advance(std::time::Duration::from_secs(5)).await;
    let began = crowd.now_ms();
    let (first, second) = both.await;
    first.unwrap();
    second.unwrap();
    // The first had its slot at once, before it fell asleep; the second gets another, and not in the past.
    assert!(crowd.now_ms() - began <= 100 + LATE_MS, "{}", crowd.now_ms() - began);
    let pace = crowd.pacer.pace(&destination()).await.unwrap().unwrap();
    assert!(pace.next_us >= MEMORY_EPOCH.plus_ms(5_000).us(), "a new slot was reserved");
}

#[tokio::test(start_paused = true)]
async fn a_table_that_is_slow_at_first_delays_and_never_starves() {
    let crowd = Crowd { table_ms: 400, answer_ms: 5, ..Crowd::new(7, "10/s") };
    let asked = crowd.ask(2, 8, 20_000).await;
    assert!(asked.len() > 100, "{}", asked.len());
    assert!(most_in_a_second(&asked) <= 12);
}

/// A table that nobody may use.
struct Refused;

#[async_trait]
impl Pacer for Refused {
    async fn reserve(
        &self,
        destination: &Destination,
        _: Rate,
        _: NonZeroU32,
        _: Timestamp,
    ) -> Result<Reserved, PortError> {
        Err(PortError::new(Fault::Permanent, "reserve", destination, "AccessDenied"))
    }

    async fn pace(&self, _: &Destination) -> Result<Option<Pace>, PortError> {
        Ok(None)
    }

    async fn set_rate(&self, _: &Destination, _: Rate) -> Result<(), PortError> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn without_the_table_nobody_is_asked() {
    let clock = Arc::new(MemoryClock::seeded(0));
    let turns = Turns::new(Arc::new(Refused), clock, destination(), "1/s".parse().unwrap());
    assert!(turns.next().await.unwrap_err().is_permanent());
}
