//! How long an attempt may take in a function that ends at a set time.
//!
//! A stage's `timeout` is the user's and `WorkerTimeout` the stack's. Where the first is longer, Lambda would kill the
//! worker without a word: five deliveries later the chunk's message is dead, and nobody has said why.

use std::{fmt, future::Future, pin::pin};

use fanfold_domain::{Timestamp, pipeline::Stage};
use fanfold_ports::Clock;
use futures::future::{Either, select};

/// What is kept of a function's time for what follows an attempt that is stopped: a look at the part and a message,
/// both tried again and again by the SDK.
pub(crate) const MARGIN_MS: u64 = fanfold_domain::map::TELLING_MS;

/// An attempt that was stopped before its function was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OutOfTime {
    /// What the function had left when the attempt began.
    left_ms: u64,
    timeout_ms: u64,
}

impl fmt::Display for OutOfTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [left_s, timeout_s, margin_s] = [self.left_ms, self.timeout_ms, MARGIN_MS].map(|ms| ms / 1_000);
        let advice = if self.timeout_ms > self.left_ms.saturating_sub(MARGIN_MS) {
            "raise WorkerTimeout or lower the stage's timeout"
        } else {
            "raise WorkerTimeout or make chunks smaller"
        };
        write!(
            f,
            "the stage's timeout is {timeout_s} s, and the function had {left_s} s left, of which the last {margin_s} are \
             for telling how it went: {advice}"
        )
    }
}

/// Awaits `attempt` at a chunk of `stage`, as long as its function has time; without an end as long as it takes.
pub(crate) async fn in_time<T>(
    clock: &dyn Clock,
    function_ends_at: Option<Timestamp>,
    stage: &Stage,
    attempt: impl Future<Output = T>,
) -> Result<T, OutOfTime> {
    let Some(end) = function_ends_at else { return Ok(attempt.await) };
    let left_ms = end.ms_since(clock.now());
    let up = clock.sleep_ms(left_ms.saturating_sub(MARGIN_MS));
    match select(pin!(attempt), up).await {
        Either::Left((attempted, _)) => Ok(attempted),
        Either::Right(_) => Err(OutOfTime { left_ms, timeout_ms: stage.timeout_ms }),
    }
}
