//! The arrows of a run's state machine, with what each entails, for every service that draws one.
//!
//! Each arrow is one conditional update of the run's item. What follows from it (a message, an aborted
//! upload) is done after it, and done again by whoever finds the arrow drawn already: so a crash between the
//! two is healed by the redelivery of whatever caused it.
//!
//! Architecture invariant: this crate reads no source and makes no part. It knows the ledger, the queues, the
//! bus of events and the uploads of an output, and decides only by the domain's rules.

mod announce;
mod cache;
mod completing;
mod ending;
mod fence;
mod marked;
mod release;
mod stages;

use fanfold_domain::{Run, RunId, run::ForbiddenTransition};
use fanfold_ports::{
    Fault, Ledger, PortError,
    ledger::{Freshness, Saved},
};
use thiserror::Error;

pub use announce::{announce, try_to_announce};
pub use cache::RunCache;
pub use completing::{give_up, succeed};
pub use ending::{cancel, fail, fail_as_read, fail_for_good, source_changed, supersede};
pub use fence::fence_formers;
pub use marked::unmarked;
pub use release::{Besides, Release, releases, window};
pub use stages::{failed_input, finish_if_full, first_window, follow_root, sendable};

/// Why an arrow was not drawn.
#[derive(Debug, Error)]
pub enum LifecycleError {
    /// A read or write failed.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The state machine has no such arrow: a mistake of ours.
    #[error(transparent)]
    Forbidden(#[from] ForbiddenTransition),
    /// There is no such run.
    #[error("run {0} does not exist")]
    Unknown(RunId),
}

/// How often a change is tried against others' changes of the same run.
const TRIES: usize = 8;

/// Changes a run's item: reads it, lets `change` say what it is to become (`None`: as it is), and saves that
/// on the condition that nobody else changed it meanwhile; otherwise once more. Returns the run as it now is.
///
/// # Errors
/// A read or write failed, there is no such run, or others changed it all the time (transient).
pub async fn change(
    ledger: &dyn Ledger,
    id: &RunId,
    mut change: impl FnMut(&Run) -> Result<Option<Run>, LifecycleError> + Send,
) -> Result<Run, LifecycleError> {
    for _ in 0..TRIES {
        let run = read(ledger, id).await?;
        let Some(changed) = change(&run)? else { return Ok(run) };
        if ledger.save_run(&changed).await? == Saved::Now {
            return Ok(Run { revision: changed.revision + 1, ..changed });
        }
    }
    Err(changed_all_the_time(id).into())
}

fn changed_all_the_time(id: &RunId) -> PortError {
    PortError::new(Fault::Transient, "save", id, "the run was changed by others all the time")
}

/// Reads a run as it is now.
///
/// # Errors
/// The read failed, or there is no such run.
pub async fn read(ledger: &dyn Ledger, id: &RunId) -> Result<Run, LifecycleError> {
    ledger.run(id, Freshness::Consistent).await?.ok_or_else(|| LifecycleError::Unknown(id.clone()))
}
