//! Clocks of machines that are off, each by its own, and corrected as they are on AWS: by the second that each answer of
//! a service names.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;
use fanfold_domain::{Timestamp, skew::MOST_OFF_MS};
use fanfold_ports::{Clock, SyncedClock, memory::MemoryClock};

/// How long a call takes at most where clocks are off, in milliseconds, with some to spare.
const CALL_MS: u64 = 100;

/// A clock that is off.
#[derive(Debug)]
pub(crate) struct OffClock {
    right: MemoryClock,
    off_ms: i64,
}

#[async_trait]
impl Clock for OffClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.right.now().0.saturating_add_signed(self.off_ms))
    }

    async fn sleep_ms(&self, ms: u64) {
        self.right.sleep_ms(ms).await;
    }

    fn random(&self) -> u64 {
        self.right.random()
    }
}

/// The clock of one machine, and when its calls were made by that.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) clock: SyncedClock<OffClock>,
    asked: Mutex<BTreeMap<u32, Timestamp>>,
}

impl Machine {
    pub(crate) fn new(right: MemoryClock, off_ms: i64) -> Self {
        Self { clock: SyncedClock::new(OffClock { right, off_ms }), asked: Mutex::default() }
    }

    /// Notes that a call of this number is made.
    pub(crate) fn asks(&self, call: u32) {
        let now = self.clock.own.now();
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).insert(call, now);
    }

    /// The second in which a service answers now.
    pub(crate) fn second(&self) -> Timestamp {
        Timestamp(self.clock.own.right.now().0 / 1_000 * 1_000)
    }

    /// Takes the answer to a call into account.
    pub(crate) fn answered(&self, call: u32, second: Timestamp) {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner).remove(&call);
        if let Some(asked) = asked {
            self.clock.answered(asked, second);
        }
    }
}

#[async_trait]
impl Clock for Machine {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn sleep_ms(&self, ms: u64) {
        self.clock.sleep_ms(ms).await;
    }

    fn random(&self) -> u64 {
        self.clock.random()
    }
}

/// How far two corrected clocks may be apart, where clocks are off by up to `skew_ms`, in milliseconds.
pub(crate) fn apart_ms(skew_ms: u64) -> u64 {
    if skew_ms == 0 { 0 } else { 2 * skew_ms.min(MOST_OFF_MS + CALL_MS) }
}
