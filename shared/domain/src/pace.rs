//! The cursor of a destination: which moments are whose.
//!
//! A request to a destination with a rate takes a slot, a moment of its own. The cursor is the first slot that nobody
//! has; whoever wants slots moves it forward by as many, in one step, and then owns those it passed. Slots are evenly
//! spaced, and a cursor that was left behind begins anew at the present: what was not asked for while nobody asked is
//! lost, and never made up for in a burst.
//!
//! Slots are given in small blocks, so that a worker that dies wastes little, and only those of the next two seconds,
//! so that a changed rate is in force soon.
//!
//! A slot is used when its worker's clock says so, at most [`LATE_MS`] late. So of workers whose clocks are apart by at
//! most d, what is asked within a time t are slots of a stretch of t, d and that: in any second the rate is passed by no
//! more than d of it, and over a long time not at all. [`crate::Skew`] bounds d, whatever the machines' clocks say.

use std::num::NonZeroU32;

use crate::{Rate, Timestamp};

/// How far ahead slots are given, in microseconds: what a changed rate does not reach any more.
pub const HORIZON_US: u64 = 2_000_000;

/// How much time a block of slots is worth at most, in microseconds; it has one slot at least.
const BLOCK_US: u64 = 200_000;

/// How late a slot may be used, in milliseconds: later it is lost. A request that is late by d meets those that follow
/// it, so that this is half of what is tolerated; the other half is the network's and the clocks'.
pub const LATE_MS: u64 = 50;

/// What is known of a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The rate in force.
    pub rate: Rate,
    /// The first slot that nobody has, in microseconds since 1970.
    pub next_us: u64,
}

/// Slots that are the caller's alone, evenly spaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slots {
    /// The first, in microseconds since 1970.
    pub first_us: u64,
    /// Between two of them.
    pub interval_us: u64,
    /// How many.
    pub count: u32,
}

/// What a reservation came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reserved {
    /// These slots.
    Slots(Slots),
    /// None: all of the next two seconds are taken. To be asked again from this moment on.
    Later(Timestamp),
}

impl Slots {
    /// The slots at this rate, as many as are wanted but no more than a block, from this moment on.
    pub fn block(rate: Rate, wanted: NonZeroU32, first_us: u64) -> Self {
        let interval_us = rate.interval_us();
        let most = u32::try_from(BLOCK_US / interval_us).unwrap_or(u32::MAX).max(1);
        Self { first_us, interval_us, count: wanted.get().min(most) }
    }

    /// How long they last, in microseconds.
    pub fn worth_us(self) -> u64 {
        u64::from(self.count) * self.interval_us
    }

    /// The moment of each, rounded up to a millisecond.
    pub fn moments(self) -> impl Iterator<Item = Timestamp> {
        let at_us = move |slot| self.first_us + u64::from(slot) * self.interval_us;
        (0..self.count).map(move |slot| Timestamp(at_us(slot).div_ceil(1_000)))
    }
}

impl Pace {
    /// A destination that nobody has asked yet.
    pub fn new(rate: Rate) -> Self {
        Self { rate, next_us: 0 }
    }

    /// The slots that are due to whoever wants some from this moment on. They are the caller's once the cursor was
    /// moved from `next_us` to their end.
    pub fn due(self, wanted: NonZeroU32, from: Timestamp) -> Reserved {
        let from_us = from.us();
        if self.next_us > from_us.saturating_add(HORIZON_US) {
            return Reserved::Later(Timestamp((self.next_us - HORIZON_US).div_ceil(1_000)));
        }
        Reserved::Slots(Slots::block(self.rate, wanted, self.next_us.max(from_us)))
    }

    /// Moves the cursor over the slots that are due.
    pub fn reserve(&mut self, wanted: NonZeroU32, from: Timestamp) -> Reserved {
        let due = self.due(wanted, from);
        if let Reserved::Slots(slots) = due {
            self.next_us = slots.first_us + slots.worth_us();
        }
        due
    }
}

impl Timestamp {
    /// The moment in microseconds since 1970.
    pub fn us(self) -> u64 {
        self.0.saturating_mul(1_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_700_000_000_000);

    fn many(count: u32) -> NonZeroU32 {
        NonZeroU32::new(count).unwrap()
    }

    fn slots(reserved: Reserved) -> Slots {
        let Reserved::Slots(slots) = reserved else { panic!("{reserved:?}") };
        slots
    }

    #[test]
    fn slots_follow_one_another_and_none_is_given_twice() {
        let mut pace = Pace::new("20/s".parse().unwrap());
        let mut expected_us = NOW.us();
        for wanted in [1, 3, 100, 2] {
            let given = slots(pace.reserve(many(wanted), NOW));
            assert_eq!((given.first_us, given.interval_us), (expected_us, 50_000));
            assert_eq!(given.count, wanted.min(4), "200 ms are a block");
            expected_us += given.worth_us();
        }
    }

    #[test]
    fn what_nobody_asked_for_is_lost() {
        let mut pace = Pace::new("20/s".parse().unwrap());
        pace.reserve(many(1), NOW);
        let later = NOW.plus_ms(60_000);
        assert_eq!(slots(pace.reserve(many(100), later)).first_us, later.us());
        assert_eq!(slots(pace.reserve(many(100), later)).first_us, later.us() + 200_000);
    }

    #[test]
    fn only_the_next_two_seconds_are_given() {
        let mut pace = Pace::new("20/s".parse().unwrap());
        let blocks = (0..100).filter(|_| matches!(pace.reserve(many(4), NOW), Reserved::Slots(_)));
        assert_eq!(blocks.count(), 11, "at 0 ms, 200 ms, up to 2,000 ms");
        assert_eq!(pace.due(many(1), NOW), Reserved::Later(NOW.plus_ms(200)));
        assert!(matches!(pace.due(many(1), NOW.plus_ms(200)), Reserved::Slots(_)));
    }

    #[test]
    fn a_slow_destination_has_one_slot_at_a_time() {
        let mut pace = Pace::new("6/m".parse().unwrap());
        assert_eq!(slots(pace.reserve(many(9), NOW)).count, 1);
        assert_eq!(pace.due(many(1), NOW), Reserved::Later(NOW.plus_ms(8_000)));
        assert_eq!(slots(pace.due(many(1), NOW.plus_ms(8_000))).first_us, NOW.plus_ms(10_000).us());
    }

    #[test]
    fn moments_are_never_before_their_slots() {
        let slots = Slots { first_us: 1_000_500, interval_us: 333, count: 4 };
        let moments: Vec<u64> = slots.moments().map(|at| at.0).collect();
        assert_eq!(moments, [1_001, 1_001, 1_002, 1_002]);
    }
}
