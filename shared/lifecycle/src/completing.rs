//! Into `completing`, and out of it.

use fanfold_domain::{
    Run, RunId, RunState, Stamp, Standing, Sums,
    message::{FoldMessage, encode, truncate},
    pipeline::Stage,
};
use fanfold_ports::{Ports, Queue, ledger::Saved, objects::Upload, queues::Outgoing};

use crate::{
    LifecycleError, TRIES, announce::try_to_announce, changed_all_the_time, ending::send_report,
    fail_for_good, read, supersede,
};

/// Makes a running run `completing`, whose stages have these final sums, or fails it for them.
pub(crate) async fn finish(ports: &Ports, run: &Run, stages: &[Sums]) -> Result<(), LifecycleError> {
    let mut run = run.clone();
    let sums = Run::total(stages);
    for _ in 0..TRIES {
        if let Some(reason) = final_verdict(&run, stages, &sums) {
            return fail_for_good(ports, &run.id, run.generation, &reason).await;
        }
        let completing = Run { sums: Some(sums), ..run.advanced(RunState::Completing, ports.clock.now())? };
        if ports.ledger.save_run_as_owner(&completing).await? == Saved::Now {
            tracing::info!(run_id = %run.id, state = %completing.state, "all groups are folded");
            send_assembly(ports, &run).await?;
            try_to_announce(ports, &saved(completing)).await;
            return Ok(());
        }
        // Another was first, or the output has another owner, or the item was changed and the run goes on.
        let owner = ports.ledger.owner(&run.output).await?;
        let owns = owner.is_some_and(|owner| owner.run == run.id && owner.epoch == run.epoch);
        run = read(&*ports.ledger, &run.id).await?;
        match run.state {
            RunState::Completing => return send_assembly(ports, &run).await,
            RunState::Running if owns => {}
            RunState::Running => {
                supersede(ports, &run.id, run.generation, "another run took over the output").await?;
                return Ok(());
            }
            _ => return Ok(()),
        }
    }
    Err(changed_all_the_time(&run.id).into())
}

/// Each stage's chunks are judged by themselves, bad records all together.
fn final_verdict(run: &Run, stages: &[Sums], total: &Sums) -> Option<String> {
    let of_stage = |(stage, sums): (&Stage, &Sums)| run.verdict(&stage.name, sums);
    let all = Sums { failed_chunks: 0, ..*total };
    let last = &run.last_stage().name;
    run.pipeline.stages.iter().zip(stages).find_map(of_stage).or_else(|| run.verdict(last, &all))
}

pub(crate) async fn send_assembly(ports: &Ports, run: &Run) -> Result<(), LifecycleError> {
    let message = FoldMessage::Assemble { run: run.id.clone(), generation: run.generation };
    Ok(ports.queues.send(Queue::Folds, vec![Outgoing::now(encode(&message))]).await?)
}

/// Ends a run whose output is published: aborts its other uploads, then announces it.
///
/// # Errors
/// A read or write failed.
pub async fn succeed(ports: &Ports, id: &RunId) -> Result<(), LifecycleError> {
    for _ in 0..TRIES {
        let run = read(&*ports.ledger, id).await?;
        if run.state != RunState::Completing {
            return Ok(());
        }
        abort_uploads(ports, &run).await?;
        let failed = run.sums.is_some_and(|sums| sums.failed_chunks > 0);
        let state = if failed { RunState::SucceededPartial } else { RunState::Succeeded };
        let ended = run.advanced(state, ports.clock.now())?;
        // Saved only if no other assembly recorded an upload since: it would be left behind.
        if ports.ledger.save_run(&ended).await? == Saved::Now {
            tracing::info!(run_id = %id, state = %ended.state, "run ended");
            try_to_announce(ports, &saved(ended)).await;
            return Ok(());
        }
    }
    Err(changed_all_the_time(id).into())
}

/// Ends a `completing` run without its output: aborts every recorded upload, looks whether the output is its
/// own after all (then it succeeded), and only then ends it as `state`, failed or superseded.
///
/// # Errors
/// A read or write failed.
pub async fn give_up(ports: &Ports, id: &RunId, state: RunState, reason: &str) -> Result<(), LifecycleError> {
    for _ in 0..TRIES {
        let run = read(&*ports.ledger, id).await?;
        if run.state == RunState::Failed {
            return send_report(ports, &run).await;
        }
        if run.state != RunState::Completing {
            return Ok(());
        }
        abort_uploads(ports, &run).await?;
        let head = match ports.objects.head(&run.output, None).await {
            // Whoever publishes looks there first, with the same right: where looking is refused for good, nothing of
            // this run was ever published, and with its uploads aborted nothing will be.
            Err(refused) if refused.is_permanent() => {
                tracing::warn!(run_id = %id, error = %refused, "the output's name cannot be looked at");
                None
            }
            head => head?,
        };
        if Stamp::of(&run, &run.output).judge(head.as_ref().map(|head| &head.metadata)) == Standing::Ours {
            return succeed(ports, id).await;
        }
        // Saved only if no assembly recorded another upload since: that one could still publish.
        let ended =
            Run { reason: Some(truncate(reason.to_owned())), ..run.advanced(state, ports.clock.now())? };
        if ports.ledger.save_run(&ended).await? == Saved::Now {
            tracing::info!(run_id = %id, state = %ended.state, reason, "run ended");
            if state == RunState::Failed {
                send_report(ports, &ended).await?;
            }
            try_to_announce(ports, &saved(ended)).await;
            return Ok(());
        }
    }
    Err(changed_all_the_time(id).into())
}

/// The run as it stands after it was saved.
fn saved(run: Run) -> Run {
    Run { revision: run.revision + 1, ..run }
}

/// Aborts all uploads that a run has recorded, of its output and of its list of bad records.
pub(crate) async fn abort_uploads(ports: &Ports, run: &Run) -> Result<(), LifecycleError> {
    let outputs = run.uploads.iter().map(|id| (&run.output, id));
    for (object, id) in outputs.chain(run.list_uploads.iter().map(|id| (&run.errors, id))) {
        ports.objects.abort_upload(&Upload { object: object.clone(), id: id.clone() }).await?;
    }
    Ok(())
}
