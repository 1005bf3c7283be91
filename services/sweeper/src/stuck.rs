//! What a run needs that is not settled: pure.

use fanfold_domain::{Cleaning, PLAN, Report, Run, RunState, Timestamp, tries::TRIES_APART_MS};

/// Longer than a splitter may take, with its redelivery.
const PLANNING_MS: u64 = TRIES_APART_MS;
/// A run that did not get on in so many further tries never will: about an hour of them. Only tries that began are
/// counted, so that a run that waits behind others is not failed for it.
const MOST_TRIES: u32 = 5;
/// Longer than a full group waits for its fold.
const RUNNING_MS: u64 = 5 * 60_000;
/// Longer than a merger may take, with its redelivery.
const COMPLETING_MS: u64 = 17 * 60_000;

/// Longer than whoever draws an arrow takes to announce it.
const ANNOUNCED_MS: u64 = 60_000;
/// A bus that takes nothing for so long is not there: runs are not kept for it, or their number would hold up the sweep.
const NEVER_ANNOUNCED_MS: u64 = 24 * 60 * 60_000;
/// Longer than any attempt at a chunk goes on after its run ended (a Lambda: 15 minutes; a pod is deleted sooner), so
/// that nothing is written after the cleaning.
const ATTEMPTS_OVER_MS: u64 = 20 * 60_000;
/// Longer than a merger may clean, with its redelivery.
const CLEANING_MS: u64 = 17 * 60_000;
/// Longer than a merger may list bad records, with its redelivery.
const REPORT_MS: u64 = 17 * 60_000;

/// What is to be done about a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repair {
    /// It is past its deadline: end it.
    EndByDeadline,
    /// It was tried to be planned so often without getting on: end it.
    EndPlanning(u32),
    /// Have it planned again.
    Plan,
    /// Have full groups folded again, and finish it if all are.
    Fold,
    /// Have it assembled again.
    Assemble,
    /// Have its bad records listed.
    Report,
    /// Have its work objects removed.
    CleanUp,
}

/// Whether whoever should have announced something of `run` did not.
pub(crate) fn is_announcement_lost(run: &Run, now: Timestamp) -> bool {
    run.unannounced.iter().any(|announcement| now.ms_since(announcement.passed_at) >= ANNOUNCED_MS)
}

/// Whether no more is to be tried to announce what `run` passed.
pub(crate) fn is_announcement_stale(run: &Run, now: Timestamp) -> bool {
    run.unannounced.iter().all(|announcement| now.ms_since(announcement.passed_at) >= NEVER_ANNOUNCED_MS)
}

/// Never before its end is announced: who is told of it may still want to look.
fn cleaning_due(run: &Run, now: Timestamp) -> bool {
    let waited = match run.cleaning {
        Cleaning::Asked(at) => now.ms_since(at) >= CLEANING_MS,
        _ => now.ms_since(run.updated_at) >= ATTEMPTS_OVER_MS,
    };
    run.is_to_be_cleaned() && run.unannounced.is_empty() && waited
}

/// Whether the message that asks for the list of bad records was lost.
fn is_report_lost(run: &Run, now: Timestamp) -> bool {
    let asked_at = match run.report {
        Report::Asked(at) => at,
        _ => run.updated_at,
    };
    run.is_report_due() && now.ms_since(asked_at) >= REPORT_MS
}

/// How long a run may be planned without a change: a plan step may make all its tries, and is not begun beside itself.
fn planning_ms(run: &Run) -> u64 {
    let step = if run.list.is_none() { run.stage(PLAN) } else { None };
    PLANNING_MS + step.map_or(0, |step| u64::from(step.retry.attempts) * step.timeout_ms)
}

/// What `run` needs at `now`, if anything.
pub(crate) fn repair(run: &Run, now: Timestamp) -> Option<Repair> {
    if is_report_lost(run, now) {
        return Some(Repair::Report);
    }
    if run.state.has_ended() {
        return cleaning_due(run, now).then_some(Repair::CleanUp);
    }
    if now >= run.deadline_at {
        return Some(Repair::EndByDeadline);
    }
    let still_for = now.ms_since(run.stirred_at());
    match run.state {
        RunState::Planning if still_for >= planning_ms(run) => {
            let tries = run.planning_tries.filter(|tries| tries.counted_at > run.updated_at);
            let count = tries.map_or(0, |tries| tries.count);
            Some(if count >= MOST_TRIES { Repair::EndPlanning(count) } else { Repair::Plan })
        }
        RunState::Running if still_for >= RUNNING_MS => Some(Repair::Fold),
        RunState::Completing if still_for >= COMPLETING_MS => Some(Repair::Assemble),
        _ => None,
    }
}
