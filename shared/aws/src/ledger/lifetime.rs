//! How long items are kept: `expires_at`, in seconds since 1970, after which DynamoDB deletes them.

use fanfold_domain::{Run, Timestamp};
use fanfold_ports::Clock;

use crate::SystemClock;

const DAY_S: u64 = 24 * 60 * 60;

/// How long a run may be redriven after its deadline.
const REDRIVE_WINDOW_S: u64 = 30 * DAY_S;

/// How long what a stage counts is kept after it was last written: a deadline (13 days at most), the window
/// in which a redrive may begin, and that redrive's own deadline, with a few days left.
const COUNTERS_KEPT_S: u64 = 60 * DAY_S;

/// When a run's item may go.
pub(super) fn of_run(run: &Run) -> u64 {
    seconds(run.deadline_at) + REDRIVE_WINDOW_S
}

/// When what is counted now may go.
pub(super) fn of_counters() -> u64 {
    seconds(SystemClock.now()) + COUNTERS_KEPT_S
}

fn seconds(at: Timestamp) -> u64 {
    at.0 / 1000
}
