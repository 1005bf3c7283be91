//! Ends without an output, from `planning` and `running`.

use fanfold_domain::{
    Generation, Ownership, Run, RunId, RunState,
    message::{FoldMessage, encode, truncate},
    pipeline::SourceChanged,
};
use fanfold_ports::{Ports, Queue, ledger::Saved, queues::Outgoing};

use crate::{LifecycleError, announce::try_to_announce, change, read};

/// Fails a run of this generation that is planned or running, and has its bad records written. A run that
/// ended or is completing stays so; one that failed already has its bad records written if that is not known to be done.
///
/// # Errors
/// A read or write failed.
pub async fn fail(
    ports: &Ports,
    id: &RunId,
    generation: Generation,
    reason: &str,
) -> Result<Run, LifecycleError> {
    let End { run, is_ours } = end(ports, id, generation, RunState::Failed, reason).await?;
    if run.state == RunState::Failed && run.generation == generation {
        send_report(ports, &run).await?;
    }
    if is_ours {
        try_to_announce(ports, &run).await;
    }
    Ok(run)
}

/// How long a report waits that is sent before its run fails: longer than it takes to fail it.
const REPORT_DELAY_S: u32 = 60;

/// Fails a run for what no message comes back to: should the caller die before it asks for the report of bad records, one
/// is on its way already, long before the sweeper would ask. Of a run that did not fail nothing is reported.
///
/// # Errors
/// A read or write failed.
pub async fn fail_for_good(
    ports: &Ports,
    id: &RunId,
    generation: Generation,
    reason: &str,
) -> Result<(), LifecycleError> {
    let report = encode(&FoldMessage::Report { run: id.clone(), generation });
    ports.queues.send(Queue::Folds, vec![Outgoing { body: report, delay_s: REPORT_DELAY_S }]).await?;
    fail(ports, id, generation, reason).await?;
    Ok(())
}

/// Fails a run on the condition that nothing changed it since it was read. For what was read of it: a run that got on
/// meanwhile is not to fail for that.
///
/// # Errors
/// A read or write failed.
pub async fn fail_as_read(ports: &Ports, run: &Run, reason: &str) -> Result<Saved, LifecycleError> {
    let reason = truncate(reason.to_owned());
    let failed = Run { reason: Some(reason.clone()), ..run.advanced(RunState::Failed, ports.clock.now())? };
    let saved = ports.ledger.save_run(&failed).await?;
    if saved == Saved::Now {
        tracing::info!(run_id = %failed.id, state = %failed.state, reason, "run ended");
        let failed = Run { revision: failed.revision + 1, ..failed };
        send_report(ports, &failed).await?;
        try_to_announce(ports, &failed).await;
    }
    Ok(saved)
}

/// Has the bad records of a failed run written, if it came as far as having chunks and they are not written.
pub(crate) async fn send_report(ports: &Ports, run: &Run) -> Result<(), LifecycleError> {
    if run.is_report_due() {
        let report = FoldMessage::Report { run: run.id.clone(), generation: run.generation };
        ports.queues.send(Queue::Folds, vec![Outgoing::now(encode(&report))]).await?;
    }
    Ok(())
}

/// Ends a run of this generation that is planned or running as superseded.
///
/// # Errors
/// A read or write failed.
pub async fn supersede(
    ports: &Ports,
    id: &RunId,
    generation: Generation,
    reason: &str,
) -> Result<Run, LifecycleError> {
    end_and_announce(ports, id, generation, RunState::Superseded, reason).await
}

/// Ends a run of this generation that is planned or running as cancelled, as a person asks for. One that is completing
/// stays so, for its output may be there at any moment. Attempts that are under way end by themselves, and nobody uses
/// what they make; within seconds, once workers know it ([`crate::RunCache`]), no chunk is begun any more.
///
/// # Errors
/// A read or write failed; whether the run was cancelled is to be asked again.
pub async fn cancel(
    ports: &Ports,
    id: &RunId,
    generation: Generation,
    reason: &str,
) -> Result<Run, LifecycleError> {
    end_and_announce(ports, id, generation, RunState::Cancelled, reason).await
}

/// How long the event of a newer source may lag behind it, and how often its run is looked for.
const EVENT_LAG_MS: u64 = 5_000;
const LOOK_EVERY_MS: u64 = 1_000;

/// Ends a run whose source is no longer what it pinned: superseded if another run owns the output by now or
/// soon, else (or if the pipeline says so) failed.
///
/// # Errors
/// A read or write failed.
pub async fn source_changed(
    ports: &Ports,
    run: &Run,
    generation: Generation,
    found: &str,
) -> Result<Run, LifecycleError> {
    let now = read(&*ports.ledger, &run.id).await?;
    if now.state.has_ended() {
        return Ok(now);
    }
    match newer_owner(ports, run).await? {
        Some(newer) => {
            let reason = format!("the source was replaced; run {} is of the newer one", newer.run);
            supersede(ports, &run.id, generation, &reason).await
        }
        None => {
            let reason = format!("the source was replaced or removed while it was read: {found}");
            fail(ports, &run.id, generation, &reason).await
        }
    }
}

/// The run that supersedes this one, if the pipeline lets it: that of the newer source's event, which may
/// come a little later than the source.
async fn newer_owner(ports: &Ports, run: &Run) -> Result<Option<Ownership>, LifecycleError> {
    if run.pipeline.on_error.source_changed == SourceChanged::Fail {
        return Ok(None);
    }
    let mut waited_ms = 0;
    loop {
        let owner = ports.ledger.owner(&run.output).await?;
        let newer = owner.filter(|owner| owner.run != run.id && owner.epoch > run.epoch);
        if newer.is_some() || waited_ms >= EVENT_LAG_MS {
            return Ok(newer);
        }
        ports.clock.sleep_ms(LOOK_EVERY_MS).await;
        waited_ms += LOOK_EVERY_MS;
    }
}

/// A run that has ended.
struct End {
    run: Run,
    /// Whether it was this call that ended it. Only then it is announced at once: whoever finds it ended leaves that to
    /// whoever ended it, and to the sweeper.
    is_ours: bool,
}

async fn end_and_announce(
    ports: &Ports,
    id: &RunId,
    generation: Generation,
    state: RunState,
    reason: &str,
) -> Result<Run, LifecycleError> {
    let End { run, is_ours } = end(ports, id, generation, state, reason).await?;
    if is_ours {
        try_to_announce(ports, &run).await;
    }
    Ok(run)
}

async fn end(
    ports: &Ports,
    id: &RunId,
    generation: Generation,
    state: RunState,
    reason: &str,
) -> Result<End, LifecycleError> {
    let now = ports.clock.now();
    let mut is_ours = false;
    let run = change(&*ports.ledger, id, |run| {
        is_ours = matches!(run.state, RunState::Planning | RunState::Running) && run.generation == generation;
        if !is_ours {
            return Ok(None);
        }
        let reason = Some(truncate(reason.to_owned()));
        Ok(Some(Run { reason, ..run.advanced(state, now)? }))
    })
    .await?;
    if is_ours {
        tracing::info!(run_id = %id, state = %run.state, reason, "run ended");
    }
    Ok(End { run, is_ours })
}
