//! When a chunk that failed is tried again.

use fanfold_domain::pipeline::Retry;

/// The longest wait that grows with the tries.
const MAX_BACKOFF_MS: u64 = 900_000;

/// Milliseconds to wait before the next try after `failed_tries` failed ones (at least 1), or `None` if that was
/// the last. The wait doubles each time and is spread over its upper half by `chance`, so that chunks that
/// failed together do not come back together.
pub(crate) fn delay_ms(retry: Retry, failed_tries: u32, chance: u64) -> Option<u64> {
    if failed_tries >= retry.attempts {
        return None;
    }
    let doubled = retry.backoff_ms.saturating_mul(1 << (failed_tries - 1).min(20)).min(MAX_BACKOFF_MS);
    let half = doubled / 2;
    Some(half + chance % (half + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_within_bounds_and_end() {
        let retry = Retry { attempts: 4, backoff_ms: 8_000 };
        for (failed, range) in [(1, 4_000..=8_000), (2, 8_000..=16_000), (3, 16_000..=32_000)] {
            for chance in [0, 1, 12_345, u64::MAX] {
                let delay = delay_ms(retry, failed, chance).unwrap();
                assert!(range.contains(&delay), "{failed}: {delay}");
            }
        }
        assert_eq!(delay_ms(retry, 4, 0), None);
        let long = Retry { attempts: 10, backoff_ms: 900_000 };
        assert_eq!(delay_ms(long, 9, 450_000), Some(MAX_BACKOFF_MS));
    }
}
