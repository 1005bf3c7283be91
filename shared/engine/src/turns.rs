//! Turns at a destination: who waits for one, until when, and what becomes of one that was missed.
//!
//! Slots are reserved as they are needed, never in advance: as many as wait for one at that moment. What a worker holds
//! when it dies, or cannot use in time, is lost to all.

use std::{
    collections::VecDeque,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use fanfold_domain::{
    Destination, Rate, Timestamp,
    pace::{HORIZON_US, LATE_MS, Reserved},
};
use fanfold_ports::{Clock, Pacer, PortError};
use tokio::sync::Mutex;

/// How often a reservation is tried that fails.
const TRIES: u32 = 6;
/// The wait before the second try; each later one is twice as long.
const FIRST_WAIT_MS: u64 = 100;
/// The most that a reservation is taken to last.
const MAX_LEAD_MS: u64 = 1_000;

/// The turns of one worker at a destination.
pub struct Turns {
    pacer: Arc<dyn Pacer>,
    clock: Arc<dyn Clock>,
    destination: Destination,
    initial: Rate,
    /// How many wait for a slot.
    waiting: AtomicU32,
    own: Mutex<Own>,
}

/// What this worker has.
#[derive(Default)]
struct Own {
    slots: VecDeque<Timestamp>,
    /// How long the last reservation took: the next one's slots begin so much later, so that they are not past when it
    /// is answered.
    lead_ms: u64,
}

impl Turns {
    /// Turns at this destination, at the rate in force there; `initial` if there is none yet.
    pub fn new(
        pacer: Arc<dyn Pacer>,
        clock: Arc<dyn Clock>,
        destination: Destination,
        initial: Rate,
    ) -> Self {
        Self { pacer, clock, destination, initial, waiting: AtomicU32::new(0), own: Mutex::default() }
    }

    /// Waits for a turn; what has one is to be sent at once. A slot that is past by more than [`LATE_MS`] is lost, and
    /// never used.
    ///
    /// # Errors
    /// No slot could be reserved.
    pub async fn next(&self) -> Result<(), PortError> {
        loop {
            let slot = self.slot().await?;
            let early_ms = slot.ms_since(self.clock.now());
            if early_ms > 0 {
                self.clock.sleep_ms(early_ms).await;
            }
            if self.is_in_time(slot) {
                return Ok(());
            }
        }
    }

    fn is_in_time(&self, slot: Timestamp) -> bool {
        self.clock.now().ms_since(slot) <= LATE_MS
    }

    /// Takes a slot, of this worker's own or a new one.
    async fn slot(&self) -> Result<Timestamp, PortError> {
        let _waiting = Waiting::at(&self.waiting);
        let mut own = self.own.lock().await;
        let mut failed = 0;
        loop {
            while let Some(slot) = own.slots.pop_front() {
                if self.is_in_time(slot) {
                    return Ok(slot);
                }
            }
            let asked = self.clock.now();
            let wanted = NonZeroU32::new(self.waiting.load(Ordering::Relaxed)).unwrap_or(NonZeroU32::MIN);
            let from = asked.plus_ms(own.lead_ms);
            match self.pacer.reserve(&self.destination, self.initial, wanted, from).await {
                Ok(Reserved::Slots(slots)) => {
                    own.slots = slots.moments().collect();
                    own.lead_ms = self.clock.now().ms_since(asked).min(MAX_LEAD_MS);
                }
                Ok(Reserved::Later(at)) => {
                    // Others hold all of the next two seconds. Who waits comes back while half of them are left, spread
                    // out, so that not all ask at once and the destination is never idle.
                    let spread_ms = self.clock.random() % (HORIZON_US / 2_000);
                    self.clock.sleep_ms(at.ms_since(self.clock.now()) + spread_ms).await;
                }
                Err(error) if failed + 1 < TRIES && !error.is_permanent() => {
                    failed += 1;
                    let wait_ms = FIRST_WAIT_MS << failed;
                    self.clock.sleep_ms(wait_ms / 2 + self.clock.random() % (wait_ms / 2)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Counts one who waits, for as long as it does.
struct Waiting<'a>(&'a AtomicU32);

impl<'a> Waiting<'a> {
    fn at(count: &'a AtomicU32) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
