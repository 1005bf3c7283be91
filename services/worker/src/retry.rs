//! When a chunk that failed is tried again.

use fanfold_domain::pipeline::Retry;
use fanfold_ports::queues::MAX_DELAY_S;

/// Seconds to wait before the next try after `failed_tries` failed ones (at least 1), or `None` if that was
/// the last. The wait doubles each time and is spread over its upper half by `chance`, so that chunks that
/// failed together do not come back together.
pub(crate) fn delay_s(retry: Retry, failed_tries: u32, chance: u64) -> Option<u32> {
    if failed_tries >= retry.attempts {
        return None;
    }
    let doubled = retry.backoff_ms.saturating_mul(1 << (failed_tries - 1).min(20));
    let half = doubled / 2;
    let spread = half + chance % (half + 1);
    Some(u32::try_from(spread.div_ceil(1000)).unwrap_or(MAX_DELAY_S).min(MAX_DELAY_S))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_within_bounds_and_end() {
        let retry = Retry { attempts: 4, backoff_ms: 8_000 };
        for (failed, range) in [(1, 4..=8), (2, 8..=16), (3, 16..=32)] {
            for chance in [0, 1, 12_345, u64::MAX] {
                let delay = delay_s(retry, failed, chance).unwrap();
                assert!(range.contains(&delay), "{failed}: {delay}");
            }
        }
        assert_eq!(delay_s(retry, 4, 0), None);
        let long = Retry { attempts: 10, backoff_ms: 900_000 };
        assert_eq!(delay_s(long, 9, u64::MAX), Some(MAX_DELAY_S));
    }
}
