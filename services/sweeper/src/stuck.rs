//! What a run needs that has not ended: pure.

use fanfold_domain::{Run, RunState, Timestamp};

/// Longer than a splitter may take, with its redelivery.
const PLANNING_MS: u64 = 10 * 60_000;
/// A run that could not be planned for so long never will be: its splitter dies at every try.
const NEVER_PLANNED_MS: u64 = 60 * 60_000;
/// Longer than a full group waits for its fold.
const RUNNING_MS: u64 = 5 * 60_000;
/// Longer than a merger may take, with its redelivery.
const COMPLETING_MS: u64 = 17 * 60_000;

/// What is to be done about a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repair {
    /// It is past its deadline: end it.
    EndByDeadline,
    /// It was planned again and again for too long: end it.
    EndPlanning,
    /// Have it planned again.
    Plan,
    /// Have full groups folded again, and finish it if all are.
    Fold,
    /// Have it assembled again.
    Assemble,
}

/// What `run` needs at `now`, if anything.
pub(crate) fn repair(run: &Run, now: Timestamp) -> Option<Repair> {
    if run.state.has_ended() {
        return None;
    }
    if now >= run.deadline_at {
        return Some(Repair::EndByDeadline);
    }
    let still_for = now.ms_since(run.updated_at);
    match run.state {
        // A scan by workers takes as long as the source is large; its run ends at the deadline at the latest.
        RunState::Planning if run.scan.is_none() && now.ms_since(run.created_at) >= NEVER_PLANNED_MS => {
            Some(Repair::EndPlanning)
        }
        RunState::Planning if still_for >= PLANNING_MS => Some(Repair::Plan),
        RunState::Running if still_for >= RUNNING_MS => Some(Repair::Fold),
        RunState::Completing if still_for >= COMPLETING_MS => Some(Repair::Assemble),
        _ => None,
    }
}
