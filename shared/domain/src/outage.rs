//! How long a cluster that fails is left out: pure.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// How long a cluster is left out after its first failure, in milliseconds; each further one doubles it.
const FIRST_MS: u64 = 5_000;
/// The longest that a cluster is left out before it is asked again, in milliseconds.
const LONGEST_MS: u64 = 5 * 60_000;
/// How long a cluster fails before what it was given is given to others, in milliseconds.
const GIVEN_UP_MS: u64 = 2 * 60_000;

/// A cluster that failed when it was last asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outage {
    /// How often on end.
    pub failures: u32,
    /// Since when.
    pub since: Timestamp,
    /// Until when it is not to be asked.
    pub until: Timestamp,
    /// What it answered last, for a person to act on.
    pub reason: String,
}

impl Outage {
    /// The outage after one more failure. Failures while it is left out are calls that were under way: they make it
    /// no longer.
    #[must_use]
    pub fn after(before: Option<&Self>, now: Timestamp, reason: String) -> Self {
        let (failures, since) = match before {
            Some(outage) if now < outage.until => return Self { reason, ..outage.clone() },
            Some(outage) => (outage.failures.saturating_add(1), outage.since),
            None => (1, now),
        };
        let left_out_ms = FIRST_MS.saturating_mul(1 << (failures - 1).min(16)).min(LONGEST_MS);
        Self { failures, since, until: now.plus_ms(left_out_ms), reason }
    }

    /// Whether the cluster is not to be asked now.
    pub fn leaves_out(&self, now: Timestamp) -> bool {
        now < self.until
    }

    /// Whether what the cluster was given is to be given to others.
    pub fn gives_up(&self, now: Timestamp) -> bool {
        now.ms_since(self.since) >= GIVEN_UP_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_left_out_for_a_growing_while() {
        let first = Outage::after(None, Timestamp(1_000), "timed out".into());
        assert!(first.leaves_out(Timestamp(5_999)) && !first.leaves_out(Timestamp(6_000)));
        let meanwhile = Outage::after(Some(&first), Timestamp(2_000), "refused".into());
        assert_eq!(
            (meanwhile.failures, meanwhile.until, meanwhile.reason.as_str()),
            (1, first.until, "refused")
        );
        let mut outage = first;
        let mut longest = 0;
        for failures in 2..40 {
            let now = outage.until;
            outage = Outage::after(Some(&outage), now, "timed out".into());
            assert_eq!((outage.failures, outage.since), (failures, Timestamp(1_000)));
            let left_out = outage.until.ms_since(now);
            assert!(left_out >= longest && left_out <= LONGEST_MS);
            longest = left_out;
        }
        assert_eq!(longest, LONGEST_MS);
        assert!(outage.gives_up(outage.until) && !outage.gives_up(Timestamp(100_000)));
    }
}
