//! What every pacer keeps to.

use std::{num::NonZeroU32, sync::Arc};

use fanfold_domain::{
    Destination, Rate, Timestamp,
    pace::{Reserved, Slots},
};

use crate::Pacer;

/// A pacer under test.
#[derive(Clone)]
pub struct PacerUnderTest {
    /// The pacer. Others may use it too.
    pub pacer: Arc<dyn Pacer>,
    /// From this all destinations of the test are named (a-z, 0-9, `-`, at most 40 bytes); no other test's.
    pub unique: String,
}

const NOW: Timestamp = Timestamp(1_800_000_000_000);

impl PacerUnderTest {
    fn destination(&self, name: &str) -> Destination {
        format!("{}/{name}", self.unique).parse().expect("it is a name")
    }

    async fn ask(&self, name: &str, rate: &str, wanted: u32, from: Timestamp) -> Reserved {
        let wanted = NonZeroU32::new(wanted).expect("some are wanted");
        let reserved = self.pacer.reserve(&self.destination(name), self::rate(rate), wanted, from).await;
        reserved.expect("the reservation was answered")
    }

    async fn slots(&self, name: &str, rate: &str, wanted: u32, from: Timestamp) -> Slots {
        match self.ask(name, rate, wanted, from).await {
            Reserved::Slots(slots) => slots,
            Reserved::Later(at) => panic!("not before {at:?}"),
        }
    }
}

fn rate(text: &str) -> Rate {
    text.parse().expect("it is a rate")
}

/// From the moment that was asked for on, evenly spaced, in blocks.
pub async fn slots_follow_one_another(t: &PacerUnderTest) {
    let mut expected_us = NOW.us();
    for (wanted, count) in [(1, 1), (3, 3), (100, 4), (2, 2)] {
        let slots = t.slots("follow", "20/s", wanted, NOW).await;
        assert_eq!(slots, Slots { first_us: expected_us, interval_us: 50_000, count });
        expected_us += slots.worth_us();
    }
}

/// However long nobody asked.
pub async fn idling_saves_nothing_up(t: &PacerUnderTest) {
    t.slots("idle", "20/s", 1, NOW).await;
    let later = NOW.plus_ms(3_600_000);
    assert_eq!(t.slots("idle", "20/s", 9, later).await.first_us, later.us());
    // Nor does a clock that is behind move the cursor back.
    assert_eq!(t.ask("idle", "20/s", 9, NOW).await, Reserved::Later(Timestamp(later.0 - 1_800)));
    assert_eq!(t.slots("idle", "20/s", 9, later).await.first_us, later.us() + 200_000);
}

/// Whoever asks for more is told when to ask again.
pub async fn only_the_next_two_seconds_are_given(t: &PacerUnderTest) {
    for block in 0..11 {
        assert_eq!(t.slots("ahead", "20/s", 4, NOW).await.first_us, NOW.us() + block * 200_000);
    }
    assert_eq!(t.ask("ahead", "20/s", 4, NOW).await, Reserved::Later(NOW.plus_ms(200)));
    assert_eq!(t.slots("ahead", "20/s", 4, NOW.plus_ms(200)).await.first_us, NOW.us() + 2_200_000);
}

/// Racing on the cursor, from clocks that differ a little, also when it is the first that anybody asks.
pub async fn no_slot_is_given_twice(t: &PacerUnderTest) {
    let racers = (0..12).map(|racer| async move {
        t.slots("race", "100/s", 1 + racer % 5, NOW.plus_ms(u64::from(racer % 3))).await
    });
    let mut all: Vec<u64> = Vec::new();
    for slots in futures::future::join_all(racers).await {
        all.extend((0..slots.count).map(|slot| slots.first_us + u64::from(slot) * slots.interval_us));
    }
    all.sort_unstable();
    assert!(all.windows(2).all(|pair| pair[1] - pair[0] >= 10_000), "{all:?}");
}

/// Not the asker's own, once one is kept.
pub async fn the_rate_in_force_is_the_one_that_is_kept(t: &PacerUnderTest) {
    let destination = t.destination("rate");
    let kept = async || t.pacer.pace(&destination).await.expect("the read was answered");
    assert_eq!(kept().await, None);
    assert_eq!(t.slots("rate", "20/s", 1, NOW).await.interval_us, 50_000);
    let pace = kept().await.expect("it is kept");
    assert_eq!((pace.rate, pace.next_us), (rate("20/s"), NOW.us() + 50_000));
    assert_eq!(t.slots("rate", "600/m", 1, NOW).await.interval_us, 50_000);
    for _ in 0..2 {
        t.pacer.set_rate(&destination, rate("5/s")).await.expect("the rate was changed");
    }
    let slots = t.slots("rate", "20/s", 9, NOW).await;
    assert_eq!((slots.interval_us, slots.count), (200_000, 1));
    // What was given before stays as it is.
    assert_eq!(slots.first_us, NOW.us() + 100_000);
    assert_eq!(kept().await.map(|pace| pace.rate), Some(rate("5/s")));
}

/// Before anybody asked.
pub async fn a_rate_may_be_set_beforehand(t: &PacerUnderTest) {
    t.pacer.set_rate(&t.destination("before"), rate("1/s")).await.expect("the rate was set");
    let slots = t.slots("before", "100/s", 9, NOW).await;
    assert_eq!(slots, Slots { first_us: NOW.us(), interval_us: 1_000_000, count: 1 });
}

/// Tests a pacer: the argument names an `async fn() -> PacerUnderTest`.
#[macro_export]
macro_rules! pacer_contract {
    ($instance:path) => {
        $crate::contract_tests!(
            pacer,
            $instance,
            [
                slots_follow_one_another,
                idling_saves_nothing_up,
                only_the_next_two_seconds_are_given,
                no_slot_is_given_twice,
                the_rate_in_force_is_the_one_that_is_kept,
                a_rate_may_be_set_beforehand,
            ]
        );
    };
}
