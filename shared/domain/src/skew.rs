//! How far the clock of a machine is off that of the services it calls.
//!
//! Each answer of a service names the second in which it was made. A machine that asked at `a` and was answered at `b`,
//! by its own clock, so knows that the difference of the two clocks lies within an interval of one second and the time
//! that the call took. Several answers leave what lies within all their intervals: their seconds began at other moments,
//! so that after a second or two of calls little more is left than the time between two of them.
//!
//! A server need not ask its clock for each answer: each interval is taken to be wider by [`LAG_MS`] at both ends. A
//! clock that may be right is left alone, and one that cannot be right is taken to be off by the middle of what is
//! possible. So a clock that is synchronized, as those of AWS are, is never touched; any other is off by no more than
//! [`MOST_OFF_MS`] and the time that the quickest call took, however wrong it was.

use crate::Timestamp;

/// How old the second may be that a service names, in milliseconds.
pub const LAG_MS: u64 = 500;

/// How far a clock may be off after the first answer, in milliseconds, but for the time that a call takes: by a second,
/// of which a service names no part, and by what is left to the service's own lag.
pub const MOST_OFF_MS: u64 = 1_000 + LAG_MS;

/// A clock gains or loses less than one part in so many, even one that nothing corrects.
const DRIFT: i64 = 10_000;

/// The difference between a service's clock and one's own, in milliseconds: at least and at most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Skew {
    known: Option<Known>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    least: i64,
    most: i64,
    /// By one's own clock.
    at: Timestamp,
}

impl Skew {
    /// Takes an answer into account: asked and answered at these moments by one's own clock, and made within the second
    /// that begins at `second` by the service's.
    #[must_use]
    pub fn seen(self, asked: Timestamp, answered: Timestamp, second: Timestamp) -> Self {
        if answered < asked {
            return self; // The clock was set back meanwhile: nothing can be told.
        }
        let lag = i64::try_from(LAG_MS).unwrap_or(i64::MAX);
        let least = difference(second, answered).saturating_sub(lag);
        let most = difference(second, asked).saturating_add(999 + lag);
        let seen = Known { least, most, at: answered };
        let narrowed = self.known.map(|known| {
            let drift = i64::try_from(answered.ms_since(known.at)).unwrap_or(i64::MAX) / DRIFT;
            let (least, most) = (known.least.saturating_sub(drift), known.most.saturating_add(drift));
            Known { least: seen.least.max(least), most: seen.most.min(most), ..seen }
        });
        // One of the clocks was set where nothing is left: what was known is of before that.
        Self { known: Some(narrowed.filter(|narrowed| narrowed.least <= narrowed.most).unwrap_or(seen)) }
    }

    /// The service's time at `now` by one's own clock.
    pub fn correct(self, now: Timestamp) -> Timestamp {
        let Some(Known { least, most, .. }) = self.known.filter(|known| known.least > 0 || known.most < 0)
        else {
            return now;
        };
        Timestamp(now.0.saturating_add_signed(least.midpoint(most)))
    }
}

fn difference(theirs: Timestamp, own: Timestamp) -> i64 {
    let apart = i64::try_from(theirs.0.abs_diff(own.0)).unwrap_or(i64::MAX);
    if theirs >= own { apart } else { -apart }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EPOCH_MS: i64 = 1_800_000_000_000;

    fn at(ms: i64) -> Timestamp {
        Timestamp(u64::try_from(ms).unwrap())
    }

    /// The skew of a clock that is `off` ahead, after calls at these moments of true time, each of which is answered in
    /// the middle of the time that it takes.
    fn after(off: i64, calls: &[(i64, i64)]) -> Skew {
        calls.iter().fold(Skew::default(), |skew, (asked, took)| {
            let (asked, middle, answered) =
                (EPOCH_MS + asked, EPOCH_MS + asked + took / 2, EPOCH_MS + asked + took);
            skew.seen(at(asked + off), at(answered + off), at(middle / 1_000 * 1_000))
        })
    }

    #[test]
    fn a_clock_that_is_right_is_never_touched() {
        let calls: Vec<_> = (0..5_000).map(|call| (call * 37, call % 90)).collect();
        for count in 0..200 {
            assert_eq!(after(0, &calls[..count]).correct(at(EPOCH_MS)), at(EPOCH_MS));
        }
        assert_eq!(after(0, &calls).correct(at(EPOCH_MS)), at(EPOCH_MS));
    }

    #[test]
    fn a_few_calls_tell_a_skew_to_the_time_between_two() {
        let calls: Vec<_> = (0..40).map(|call| (call * 50, 10)).collect();
        for off in [-300_000, -30_000, -2_000, 2_000, 30_000, 300_000] {
            let corrected = after(off, &calls).correct(at(EPOCH_MS + off));
            assert!(corrected.0.abs_diff(at(EPOCH_MS).0) <= 60, "{off}: {corrected:?}");
        }
    }

    #[test]
    fn a_clock_that_is_set_anew_is_measured_anew() {
        let skew = after(30_000, &[(0, 10), (700, 10)]);
        let skew = skew.seen(at(EPOCH_MS + 2_000), at(EPOCH_MS + 2_010), at(EPOCH_MS + 2_000));
        assert_eq!(skew.correct(at(EPOCH_MS + 3_000)), at(EPOCH_MS + 3_000));
    }

    proptest! {
        #[test]
        fn no_clock_is_off_by_more_than_the_bound_after_any_answer(
            off in -600_000i64..600_000,
            calls in prop::collection::vec((0i64..20_000, 0i64..400), 1..20),
        ) {
            let mut calls = calls;
            calls.sort_unstable();
            let took = u64::try_from(calls.iter().map(|(_, took)| *took).min().unwrap()).unwrap();
            let corrected = after(off, &calls).correct(at(EPOCH_MS + off));
            // A clock's drift is allowed for in whole milliseconds.
            prop_assert!(corrected.0.abs_diff(at(EPOCH_MS).0) <= MOST_OFF_MS + took + 40);
        }
    }
}
