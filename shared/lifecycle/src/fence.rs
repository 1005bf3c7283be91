//! Keeping former owners of an output from writing it.
//!
//! A writer looks at what stands under the output's name, and writes on the condition that this has not changed:
//! that its entity tag is the same. But equal bytes have equal entity tags. A writer of a former owner that hung
//! between its look and its write would find its condition true again after a later run had written those bytes
//! once more, and would put older ones in their place. So whoever is about to publish first makes sure that no
//! former owner can: all that any run writes under those names are uploads that it recorded before, and an upload
//! that was aborted can never be completed.

use fanfold_domain::{Run, RunState};
use fanfold_ports::{
    Ports,
    ledger::{Freshness, Saved},
};

use crate::{
    LifecycleError, TRIES, changed_all_the_time, completing::abort_uploads, give_up, read, supersede,
};

/// Makes sure that no run that owned the output of `run` before can write it, or its list of bad records, any
/// more.
///
/// # Errors
/// A read or write failed.
pub async fn fence_formers(ports: &Ports, run: &Run) -> Result<(), LifecycleError> {
    let mut unfenced = Vec::new();
    let mut next = run.former.clone();
    while let Some(id) = next.take() {
        // One that is gone by its lifetime is longer dead than any writer lives.
        let Some(former) = ports.ledger.run(&id, Freshness::Consistent).await? else { break };
        if can_write_no_more(&former) {
            break;
        }
        next.clone_from(&former.former);
        unfenced.push(former);
    }
    // The oldest first: one that is fenced says that all before it are.
    for former in unfenced.iter().rev() {
        fence(ports, former, run).await?;
    }
    Ok(())
}

/// A run that succeeded fenced its formers before, and its own uploads at its end.
fn can_write_no_more(run: &Run) -> bool {
    run.is_fenced || matches!(run.state, RunState::Succeeded | RunState::SucceededPartial)
}

async fn fence(ports: &Ports, former: &Run, by: &Run) -> Result<(), LifecycleError> {
    let reason = format!("run {} took over the output", by.id);
    for _ in 0..TRIES {
        let former = read(&*ports.ledger, &former.id).await?;
        if can_write_no_more(&former) {
            return Ok(());
        }
        match former.state {
            RunState::Planning | RunState::Running => {
                supersede(ports, &former.id, former.generation, &reason).await?;
            }
            RunState::Completing => give_up(ports, &former.id, RunState::Superseded, &reason).await?,
            _ => {
                abort_uploads(ports, &former).await?;
                // Saved only if it recorded no other upload since.
                let fenced = Run { is_fenced: true, ..former };
                if ports.ledger.save_run(&fenced).await? == Saved::Now {
                    return Ok(());
                }
            }
        }
    }
    Err(changed_all_the_time(&former.id).into())
}
