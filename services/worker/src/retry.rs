//! What becomes of a chunk of which an attempt gave no part: pure.
//!
//! A failed try of the user's program, or of a third party, counts towards the stage's `retry.attempts`. A fault of the
//! platform does not: the chunk is sent again with a growing delay, for at most [`PATIENCE_MS`] from the first of
//! several faults in a row, and at least until there were [`LEAST_FAULTS`]. So an outage of S3 costs time, and not chunks.

use fanfold_domain::{Timestamp, message::ChunkMessage, message::PlatformFaults, pipeline::Retry};

use crate::attempt::Vain;

/// The longest wait that grows with the tries.
const MAX_BACKOFF_MS: u64 = 900_000;
/// The wait after the first fault of the platform. S3 splits a throttled prefix within minutes.
const FIRST_PAUSE_MS: u64 = 2_000;
/// The longest wait after a fault of the platform: what a chunk loses at most when an outage is over.
const MAX_PAUSE_MS: u64 = 300_000;
/// How long faults of the platform are borne in a row, in milliseconds: longer than most outages, and far shorter than a
/// run's usual deadline, so that a person learns of it in time.
const PATIENCE_MS: u64 = 2 * 60 * 60_000;
/// Fewer faults than these are borne however long ago the first was: a message may have waited for a worker meanwhile,
/// behind others or because its receives were throttled, and that is no fault.
const LEAST_FAULTS: u32 = 8;

/// What becomes of the chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    /// It is tried again.
    Again(Again),
    /// It has failed, for this reason.
    Fail(String),
}

/// Another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Again {
    /// When it may be made.
    pub(crate) at: Timestamp,
    /// How many tries failed before it.
    pub(crate) failed_tries: u32,
    /// What faults of the platform there were since the last of those.
    pub(crate) platform_faults: Option<PlatformFaults>,
}

/// Decides over the chunk of a message after one more attempt in vain, which ended at `now`. `chance` spreads the waits.
pub(crate) fn next(message: &ChunkMessage, vain: &Vain, now: Timestamp, chance: u64) -> Next {
    // After its deadline there is no run, and its end would be told as the chunk's.
    let is_in_time = |at: &Timestamp| *at < vain.run.deadline_at;
    if !vain.cause.counts_as_try() {
        return match after_fault(message, now, chance).filter(|again| is_in_time(&again.at)) {
            Some(again) => Next::Again(again),
            None => Next::Fail(faulted(one_more(message.platform_faults, now), now, &vain.error)),
        };
    }
    let failed_tries = message.failed_tries + 1;
    let wait_ms = backoff_ms(vain.retry, failed_tries, chance);
    let at = wait_ms.map(|ms| now.plus_ms(vain.wait_ms.saturating_add(ms))).filter(is_in_time);
    match at {
        Some(at) => Next::Again(Again { at, failed_tries, platform_faults: None }),
        None => Next::Fail(format!("{} (after {failed_tries} tries)", vain.error)),
    }
}

/// The attempt that follows one more fault of the platform; none if such faults have gone on for too long.
pub(crate) fn after_fault(message: &ChunkMessage, now: Timestamp, chance: u64) -> Option<Again> {
    let faults = one_more(message.platform_faults, now);
    let at = now.plus_ms(doubling_ms(FIRST_PAUSE_MS, MAX_PAUSE_MS, faults.count, chance));
    let is_borne = at.ms_since(faults.since) < PATIENCE_MS || faults.count < LEAST_FAULTS;
    let again = Again { at, failed_tries: message.failed_tries, platform_faults: Some(faults) };
    is_borne.then_some(again)
}

fn one_more(faults: Option<PlatformFaults>, now: Timestamp) -> PlatformFaults {
    let faults = faults.unwrap_or(PlatformFaults { count: 0, since: now });
    PlatformFaults { count: faults.count.saturating_add(1), ..faults }
}

/// Why a chunk failed that faults of the platform kept from being tried.
fn faulted(PlatformFaults { count, since }: PlatformFaults, now: Timestamp, error: &str) -> String {
    let minutes = now.ms_since(since).div_ceil(60_000);
    format!(
        "{count} attempts within {minutes} min met with a fault of AWS and none with an end; the last: {error}"
    )
}

/// Milliseconds to wait before the next try after `failed_tries` failed ones (at least 1), or `None` if that was
/// the last.
fn backoff_ms(retry: Retry, failed_tries: u32, chance: u64) -> Option<u64> {
    let is_last = failed_tries >= retry.attempts;
    (!is_last).then(|| doubling_ms(retry.backoff_ms, MAX_BACKOFF_MS, failed_tries, chance))
}

/// The `times`-th wait, from 1. It doubles each time and is spread over its upper half by `chance`, so that chunks that
/// failed together do not come back together.
fn doubling_ms(first_ms: u64, most_ms: u64, times: u32, chance: u64) -> u64 {
    let doubled = first_ms.saturating_mul(1 << (times - 1).min(20)).min(most_ms);
    let half = doubled / 2;
    half + chance % (half + 1)
}

#[cfg(test)]
mod tests {
    use fanfold_domain::{ChunkIndex, Run};
    use fanfold_engine::cause::Cause;
    use fanfold_ports::contract::sample_run;

    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000_000);
    const RETRY: Retry = Retry { attempts: 3, backoff_ms: 2_000 };

    fn run() -> Run {
        sample_run("tried", NOW)
    }

    fn first() -> ChunkMessage {
        ChunkMessage::first(&run(), "s", ChunkIndex(0))
    }

    fn vain(cause: Cause) -> Vain {
        let error = "read of s3://b/k: SlowDown (transient)".to_owned();
        Vain { run: Box::new(run()), retry: RETRY, cause, error, wait_ms: 0 }
    }

    /// All attempts of a chunk that meets with nothing but such ends: when each is made, and why it failed then.
    fn play(cause: Cause, deadline_ms: u64) -> (Vec<u64>, String) {
        let mut vain = vain(cause);
        vain.run.deadline_at = NOW.plus_ms(deadline_ms);
        let (mut message, mut now, mut made) = (first(), NOW, Vec::new());
        for chance in (0..1_000_u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)) {
            match next(&message, &vain, now, chance) {
                Next::Again(Again { at, failed_tries, platform_faults }) => {
                    message = ChunkMessage { failed_tries, platform_faults, ..message };
                    now = at;
                    made.push(now.ms_since(NOW));
                }
                Next::Fail(reason) => return (made, reason),
            }
        }
        panic!("it never ends: {message:?}");
    }

    #[test]
    fn waits_double_within_bounds_and_end() {
        let retry = Retry { attempts: 4, backoff_ms: 8_000 };
        for (failed, range) in [(1, 4_000..=8_000), (2, 8_000..=16_000), (3, 16_000..=32_000)] {
            for chance in [0, 1, 12_345, u64::MAX] {
                let delay = backoff_ms(retry, failed, chance).unwrap();
                assert!(range.contains(&delay), "{failed}: {delay}");
            }
        }
        assert_eq!(backoff_ms(retry, 4, 0), None);
        let long = Retry { attempts: 10, backoff_ms: 900_000 };
        assert_eq!(backoff_ms(long, 9, 450_000), Some(MAX_BACKOFF_MS));
    }

    #[test]
    fn only_what_is_not_the_platforms_fault_ends_with_the_tries() {
        for cause in [Cause::Program, Cause::ThirdParty, Cause::OutOfTime, Cause::Refused] {
            let (made, reason) = play(cause, 24 * 3_600_000);
            assert_eq!(made.len(), 2, "{cause:?}");
            assert!(reason.ends_with("(after 3 tries)"), "{reason}");
        }
    }

    #[test]
    fn faults_of_the_platform_are_borne_for_two_hours_with_growing_waits() {
        let (made, reason) = play(Cause::Platform, 24 * 3_600_000);
        let last = *made.last().unwrap();
        assert!((PATIENCE_MS - MAX_PAUSE_MS..PATIENCE_MS).contains(&last), "{last}");
        assert!((1_000..=2_000).contains(&made[0]), "{made:?}");
        let waits: Vec<u64> = made.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(waits.iter().all(|wait| (2_000..=MAX_PAUSE_MS).contains(wait)), "{waits:?}");
        assert!((25..60).contains(&made.len()), "{}", made.len());
        let minutes = last.div_ceil(60_000);
        let count = made.len() + 1;
        assert!(reason.starts_with(&format!("{count} attempts within {minutes} min")), "{reason}");
        assert!(reason.ends_with("the last: read of s3://b/k: SlowDown (transient)"), "{reason}");
    }

    /// A message that waited for hours behind others, or whose receives were throttled, meets with its second fault.
    #[test]
    fn a_wait_for_a_worker_is_no_fault() {
        let since = Timestamp(NOW.0 - 2 * PATIENCE_MS);
        let waited =
            |count| ChunkMessage { platform_faults: Some(PlatformFaults { count, since }), ..first() };
        for count in 1..LEAST_FAULTS - 1 {
            assert!(
                matches!(next(&waited(count), &vain(Cause::Platform), NOW, 0), Next::Again(_)),
                "{count}"
            );
        }
        assert!(matches!(next(&waited(LEAST_FAULTS - 1), &vain(Cause::Platform), NOW, 0), Next::Fail(_)));
    }

    #[test]
    fn faults_are_not_borne_beyond_the_runs_deadline() {
        let (made, _) = play(Cause::Platform, 600_000);
        assert!(made.iter().all(|at| *at < 600_000) && made.len() > 5, "{made:?}");
    }

    #[test]
    fn a_try_that_counts_ends_a_row_of_faults_and_a_fault_leaves_the_tries_as_they_were() {
        let since = Timestamp(NOW.0 - PATIENCE_MS + 1);
        let faulted = ChunkMessage {
            failed_tries: 1,
            platform_faults: Some(PlatformFaults { count: 9, since }),
            ..first()
        };
        assert!(matches!(next(&faulted, &vain(Cause::Platform), NOW, 0), Next::Fail(_)));
        let Next::Again(again) = next(&faulted, &vain(Cause::Program), NOW, 0) else {
            panic!("it is tried again")
        };
        assert_eq!((again.failed_tries, again.platform_faults), (2, None));
        let message = ChunkMessage { platform_faults: None, ..faulted };
        let Next::Again(again) = next(&message, &vain(Cause::Platform), NOW, 0) else {
            panic!("it is tried again")
        };
        let once = PlatformFaults { count: 1, since: NOW };
        assert_eq!((again.failed_tries, again.platform_faults), (1, Some(once)));
    }
}
